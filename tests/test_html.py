"""What notebooks show: read back by a parser; escaped whatever it is; words beside every colour."""

import re
from html.parser import HTMLParser
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

from convdense import (
    AvgPool,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    LeakyReLU,
    Linear,
    LocallyConnected,
    MaxPool,
    Network,
    ReLU,
    Report,
    Residual,
    TiedDense,
    TieMap,
    certify,
    check,
    convolve,
    convolve_backward,
    dense_pool,
    diagnose,
    network,
    recover,
    tie,
)
from convdense.adapters.model_report import ModelReport
from convdense.display.palette import MASKED, contrast
from convdense.display.tables import Cell, facts, preformatted, table
from convdense.geometry import ChannelScale
from convdense.layers.activations import Abs
from convdense.structure.letter_grid import Grid
from convdense.sweeps._sweep import Failure, Sweep
from convdense.verdicts.findings import BILINEAR, EQUAL, NORMWISE, UNDECIDED, WITHIN, WRONG, Finding

CONV = Conv((1, 3, 3), 1, kernel=2)
REFLECTED = Conv((2, 1, 2), 2, kernel=(1, 3), padding=(0, 1), padding_mode="reflect")
LARGE = Conv((64, 56, 56), 64, kernel=3, padding=1)
W = np.arange(1.0, 5).reshape(1, 1, 2, 2)
STEPS = TiedDense(CONV, W).gradient_steps(
    np.arange(9).reshape(1, 3, 3), np.array([[[1, -1], [2, 0]]])
)
NET = network(Conv((1, 4, 4), 2, kernel=2), ReLU(), MaxPool((2, 3, 3), kernel=2), seed=0)
EVIL = "<script>alert('&\"')</script>"
ALONE = {"br", "meta", "img"}


class Page(HTMLParser):
    """Read HTML: every tag closed in its turn, all text, the cells of tables."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.styles = []
        self.text = ""
        self.rows = []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        assert tag not in ALONE
        assert {name for name, _ in attributes} <= {"style", "scope"}
        self.tags.append(tag)
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.styles.append(
                dict(part.split(":") for part in dict(attributes)["style"].split(";"))
            )

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._open[-1:] in (["th"], ["td"]):
            self.rows[-1][-1] += data


class Evil:
    """An implementation, and a layer, that call themselves something else."""

    in_shape, out_shape = (1, 3, 3), (1, 3, 3)

    def forward(self, x, w=None, b=None):
        return x if w is None else convolve(CONV, x, w, b)

    def backward(self, x, w=None, dy=None):
        if dy is None:
            return w
        raise ValueError(EVIL)

    def __repr__(self):
        return EVIL


Evil.__name__ = Evil.__qualname__ = EVIL


def halved(by=2):
    """Return an implementation whose dw is wrong, but for 1."""

    def backward(x, w, dy):
        dx, dw, db = convolve_backward(CONV, x, w, dy)
        return dx, dw / by, db

    return (lambda x, w, b: convolve(CONV, x, w, b)), backward


def checked(layer=CONV):
    rng = np.random.default_rng(0)
    shapes = (2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape)
    return check(layer, *(rng.normal(size=shape) for shape in shapes))


def judged(*findings, layer=CONV, evaluator="yours"):
    return Report(layer, findings, evaluator, "direct", {"x": np.ones(1)})


def shown():
    """Return everything that a notebook shows as HTML, by name."""
    refused = certify(CONV, halved(), seed=0)
    return {
        "conv": CONV,
        "transposed": ConvTranspose((1, 2, 2), 1, kernel=2),
        "local": LocallyConnected((1, 3, 3), 1, kernel=2),
        "linear": Linear(3, 2),
        "scale": ChannelScale((2, 3)),
        "max pool": MaxPool((1, 4, 4), kernel=2),
        "adaptive": AvgPool((1, 4, 4), output=2),
        "tournament": dense_pool(MaxPool((1, 4, 4), kernel=2)),
        "average": dense_pool(AvgPool((1, 4, 4), kernel=2)),
        "abs": Abs((1, 4), axis=1, start=0, stop=2),
        "relu": ReLU((1, 4)),
        "leaky": LeakyReLU(0.5),
        "flatten": Flatten((1, 2, 2)),
        "residual": network(Residual(Conv((1, 4), 1, kernel=3, padding=1)), seed=0).layers[0],
        "ties": tie(CONV),
        "large ties": tie(LARGE),
        "tied dense": TiedDense(CONV, W, [1.0]),
        "dense": Dense(np.ones((2, 3))),
        "network": NET,
        "certificate": certify(CONV, seed=0),
        "refused": refused,
        "network certificate": certify(NET, seed=0),
        "report": checked(),
        "raised": certify(CONV, Evil(), seed=0),
        "noted": judged(
            Finding("y", UNDECIDED, (0, 1), "1.0", "2.0", 1.0, inf, "an entry is too long")
        ),
        "diagnosis": diagnose(CONV, halved(), seed=0),
        "recovered": recover(lambda x: convolve(CONV, x, W), (1, 3, 3), seed=0),
        "not affine": recover(lambda x: np.abs(convolve(CONV, x, W, [1.0])), (1, 3, 3), seed=0),
        "difference": recover(lambda x: convolve(CONV, x, W), (1, 3, 3), seed=0).compare(
            TiedDense(CONV, 2 * W)
        ),
        "one bias": recover(lambda x: convolve(CONV, x, W), (1, 3, 3), seed=0).compare(
            Dense(tie(CONV).matrix(W).toarray(), [0.0, 0, 0, 2])
        ),
        "no difference": recover(lambda x: convolve(CONV, x, W), (1, 3, 3), seed=0).compare(
            TiedDense(CONV, W)
        ),
        "right": diagnose(CONV, halved(1), seed=0),
        "unknown": diagnose(CONV, halved(W), seed=0),
        "gradient steps": STEPS,
        "dense layers": network(
            Conv((1, 4, 4), 2, kernel=2), ReLU(), AvgPool((2, 3, 3), kernel=2), seed=0
        ).dense_layers(),
        "model": ModelReport({"a": refused}, {"b": "why"}, {"c": "not known"}, ("d",)),
        "sweep": Sweep(1, (), (Failure(repr(CONV), refused.findings[0]),), 1, 1.0),
    }


SHOWN = shown()
on_all = pytest.mark.parametrize("name", SHOWN)


@on_all
def test_it_is_whole_html_with_nothing_but_inline_style(name):
    text = SHOWN[name]._repr_html_()
    page = Page(text)
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "div", "pre"}
    assert page.text.strip()
    assert "http" not in text


@on_all
def test_colours_come_in_pairs_that_can_be_read(name):
    """A letter has a colour of ours where the background is ours, and only there.

    So it can be read in the dark and in the light.
    """
    for style in Page(SHOWN[name]._repr_html_()).styles:
        assert ("background" in style) == ("color" in style)
        if "color" in style:
            assert contrast(style["color"], style["background"]) >= 4.5


@on_all
def test_rows_are_of_one_length(name):
    lengths = {len(row) for row in Page(SHOWN[name]._repr_html_()).rows}
    assert len(lengths) <= 1 or name in ("tied dense", "residual", "model")  # several


def said(thing):
    """Return the words that print shows, wherever the lines break."""
    return re.sub(r"\s+", "", str(thing))


@pytest.mark.parametrize("name", ["model", "sweep", "right", "no difference"])
def test_tables_and_sentences_are_shown_as_they_are_printed(name):
    rules = re.compile(r"^-+( +-+)*$", re.MULTILINE)  # below the names of columns
    assert said(Page(SHOWN[name]._repr_html_()).text) == said(rules.sub("", str(SHOWN[name])))


@pytest.mark.parametrize("name", ["diagnosis", "unknown"])
def test_a_diagnosis_says_in_rows_what_print_says(name):
    page = Page(SHOWN[name]._repr_html_())
    lines = [f"{quantity}: {mistake}\n{where}" for quantity, mistake, where in page.rows]
    assert said("\n".join(lines)) == said(SHOWN[name])
    assert page.text == "".join("".join(row) for row in page.rows)


def test_where_no_mistake_explains_it_the_lines_stay_lines():
    ((_, _, where),) = Page(SHOWN["unknown"]._repr_html_()).rows
    _, *printed = str(SHOWN["unknown"]).splitlines()
    assert [f"  {line}" for line in where.splitlines()] == printed
    assert len(printed) > 1


@pytest.mark.parametrize("name", ["recovered", "not affine"])
def test_what_was_recovered_is_shown_in_the_words_of_print(name):
    page, found = Page(SHOWN[name]._repr_html_()), SHOWN[name]
    ((first, edges, weights, bias),) = page.rows
    assert (edges, weights) == ("16 of 36 edges", "4 distinct weights")
    shapes = f"{found.in_shape} -> {found.out_shape}"
    line, *where = str(found).splitlines()
    assert line == f"{shapes}: {first}, {edges}, {weights}, {bias}"
    assert page.text == shapes + "".join(page.rows[0]) + "".join(where)
    assert len(where) == (name == "not affine")


def test_several_biases_are_counted():
    found = recover(lambda x: x + np.array([1.0, 2, 2]), (3,), seed=0)
    assert str(found) == "(3,) -> (3,): affine, 3 of 9 edges, 1 distinct weights, 2 distinct biases"
    assert Page(found._repr_html_()).rows[0][-1] == "2 distinct biases"


@pytest.mark.parametrize("name", ["difference", "one bias"])
def test_a_difference_shows_in_rows_the_places_that_print_names(name):
    page, text = Page(SHOWN[name]._repr_html_()), str(SHOWN[name])
    names, *places = page.rows
    assert names == ["output", "input", "got", "expected"]
    counts, *lines = text.splitlines()
    for (output, source, got, expected), line in zip(places, lines, strict=False):
        place = source if source == "bias" else f"input {source}"
        assert line == f"  output {output}, {place}: got {got}, expected {expected}"
    more = lines[len(places) :]
    assert page.text == counts + "".join("".join(row) for row in page.rows) + "".join(more)
    assert (len(places), len(more)) == ((3, 1) if name == "difference" else (1, 0))


def test_gradient_steps_show_the_numbers_of_every_step():
    page = Page(STEPS._repr_html_())
    assert [row[0] for row in page.rows] == ["dense", "masked", "tied"]
    for (name, _, shape, numbers), values in zip(page.rows, STEPS, strict=True):
        assert shape == f"{values.shape} int64"
        read = np.array(re.findall(r"-?\d+", numbers), int).reshape(values.shape)
        assert np.array_equal(read, getattr(STEPS, name))


def test_the_numbers_of_a_large_step_are_not_all_written_out():
    layer = TiedDense(Conv((1, 40, 40), 1, kernel=2), W)
    text = layer.gradient_steps(np.ones((1, 40, 40)), np.ones((1, 39, 39)))._repr_html_()
    assert len(text) < 5000
    assert "..." in text


def test_dense_layers_are_a_list_that_shows_what_each_does():
    layers = SHOWN["dense layers"]
    assert isinstance(layers, list)
    assert repr(layers) == repr(list(layers))
    names, *rows = Page(layers._repr_html_()).rows
    assert names == ["", "step", "layer", "matrix", "edges"]
    assert rows == [
        ["0", "W x + b", "0", "18 x 16", "72"],
        ["1", "W x", "1", "36 x 18", "36"],
        ["2", "|x| on 18 of 36", "", "", ""],
        ["3", "W x", "1", "18 x 36", "36"],
        ["4", "W x", "2", "2 x 18", "8"],
        ["5", "x / 4", "", "", ""],
    ]


@pytest.mark.parametrize(
    "name", ["certificate", "refused", "raised", "network certificate", "report", "noted"]
)
def test_a_verdict_says_in_words_all_that_print_says(name):
    page, verdict = Page(SHOWN[name]._repr_html_()), SHOWN[name]
    lines = [
        f"{quantity:<3} {word}" + (worst and f", {worst}") + (note and f"; {note}")
        for quantity, word, worst, note in page.rows
    ]
    assert lines == [str(finding) for finding in verdict.findings]
    cells = "".join("".join(row) for row in page.rows)
    head = f"{verdict.sentence}{verdict.layer!r}: {verdict.compared}"
    assert page.text == f"{head}{cells}{verdict.how}"


@pytest.mark.parametrize(
    ("verdict", "like"),
    [
        (EQUAL, EQUAL),
        (WITHIN, EQUAL),
        (NORMWISE, UNDECIDED),
        (UNDECIDED, UNDECIDED),
        (WRONG, WRONG),
        (BILINEAR, WRONG),
    ],
)
def test_three_colours_for_what_holds_what_is_open_and_what_is_wrong(verdict, like):
    for other in (EQUAL, UNDECIDED, WRONG):
        page = Page(judged(Finding("y", verdict), Finding("dx", other))._repr_html_())
        first, second = (style["background"] for style in page.styles if "background" in style)
        assert (first == second) is (other == like)


# the matrix


@pytest.mark.parametrize(
    "layer", [CONV, REFLECTED, TieMap.from_index([[0, -1], [1, 0]], [[1, 1], [0.5, -1]])], ids=repr
)
def test_the_table_has_the_letters_of_the_printed_grid(layer):
    ties = tie(layer)
    page = Page(ties._repr_html_())
    lines = [line for line in str(ties).splitlines()[1:] if not re.fullmatch(r" +[-=+]+", line)]
    printed = [re.sub(r"[|\s]", "", line) for line in lines]
    assert ["".join(row).replace(" ", "") for row in page.rows] == printed
    rows, cols = ties.shape
    assert [len(row) for row in page.rows] == [cols + 1] * (rows + 1)
    grid = Grid.of(ties)
    behind = [style.get("background") for style in page.styles]
    inside = np.array(behind).reshape(rows + 1, cols + 1)[1:, 1:]
    coloured = np.argwhere(inside != None)  # noqa: E711  (entry by entry)
    assert {tuple(cell) for cell in coloured.tolist()} == set(grid.held)
    assert MASKED not in behind


def test_lines_between_rows_and_channels():
    page = Page(tie(Conv((2, 2, 3), 2, kernel=(1, 2)))._repr_html_())
    styles = np.array(page.styles, object).reshape(9, 13)  # with the names
    across = [[style.get("border-left", "none")[:3] for style in row] for row in styles]
    lines = {4: "1px", 7: "3px", 10: "1px"}
    assert across == [[lines.get(column, "non") for column in range(13)]] * 9
    down = [row[4].get("border-top", "none")[:3] for row in styles[1:]]
    assert down == ["non", "non", "1px", "non", "3px", "non", "1px", "non"]


def test_a_large_map_is_never_written_out(monkeypatch):
    monkeypatch.setattr(TieMap, "entries", lambda ties: pytest.fail("written out"))
    rows = dict(Page(tie(LARGE)._repr_html_()).rows)
    assert rows["shape"] == "200,704 x 200,704"
    assert rows["n_entries"] == "112,869,376"


@pytest.mark.parametrize(
    "name", ["conv", "transposed", "local", "linear", "scale", "max pool", "adaptive"]
)
def test_numbers_show_their_shapes_and_every_option(name):
    layer, page = SHOWN[name], Page(SHOWN[name]._repr_html_())
    rows = dict(page.rows)
    names = ("in_shape", "out_shape", "weight_shape", "bias_shape")
    shapes = {n: str(getattr(layer, n)) for n in names if hasattr(layer, n)}
    assert rows.items() >= shapes.items()
    assert set(rows) == set(shapes) | (set(layer.to_dict()) - {"type"})
    assert page.text.startswith(repr(layer))


@pytest.mark.parametrize("name", ["tournament", "average", "abs", "relu", "leaky", "flatten"])
def test_layers_without_weights_show_their_shapes(name):
    layer, page = SHOWN[name], Page(SHOWN[name]._repr_html_())
    assert page.text.startswith(repr(layer))
    assert dict(page.rows) == {"in_shape": str(layer.in_shape), "out_shape": str(layer.out_shape)}


def test_a_residual_shows_the_network_inside():
    layer, page = SHOWN["residual"], Page(SHOWN["residual"]._repr_html_())
    assert page.text.startswith(repr(layer))
    assert page.rows[:2] == [["in_shape", "(1, 4)"], ["out_shape", "(1, 4)"]]
    assert page.rows[2:] == Page(layer.inner._repr_html_()).rows


def test_the_tied_layer_shows_weights_bias_and_matrix():
    page = Page(SHOWN["tied dense"]._repr_html_())
    assert page.rows[:2] == [["w", "(1, 1, 2, 2) float64"], ["b", "(1,) float64"]]
    assert page.rows[2:] == Page(tie(CONV)._repr_html_()).rows
    assert dict(Page(SHOWN["dense"]._repr_html_()).rows) == {"w": "(2, 3) float64", "b": "None"}


def test_the_network_shows_the_table_that_is_printed():
    page = Page(NET._repr_html_())
    assert page.text.startswith(repr(NET))
    printed = [line for line in str(NET).splitlines() if not line.startswith("-")]
    assert [said(" ".join(row)) for row in page.rows] == [
        said(line) for line in printed if set(line) - set("- ")
    ]


# whatever text comes in


def evil_network():
    return Network((Evil(), *network(CONV, seed=0).layers))


EVILS = {
    "table": lambda: SimpleNamespace(
        _repr_html_=lambda: table([[EVIL, Cell(EVIL, "#332288")]], [EVIL, EVIL], EVIL)
    ),
    "facts": lambda: SimpleNamespace(_repr_html_=lambda: facts(EVIL, {EVIL: EVIL})),
    "preformatted": lambda: SimpleNamespace(_repr_html_=lambda: preformatted(EVIL)),
    "layer in a network": evil_network,
    "geometry": lambda: type(EVIL, (Conv,), {})((1, 3, 3), 1, kernel=2),
    "tied dense": lambda: TiedDense(type(EVIL, (Conv,), {})((1, 3, 3), 1, kernel=2), W),
    "implementation and what it raises": lambda: certify(CONV, Evil(), seed=0),
    "diagnosis": lambda: diagnose(CONV, Evil(), seed=0),
    "report": lambda: judged(
        Finding(EVIL, EVIL, (0,), EVIL, EVIL, 1.0, 2.0, EVIL), layer=Evil(), evaluator=EVIL
    ),
    "model": lambda: ModelReport(
        {EVIL: certify(CONV, seed=0)}, {EVIL: EVIL}, {EVIL: EVIL}, (EVIL,)
    ),
    "sweep": lambda: Sweep(1, (), (Failure(EVIL, Finding("y", EQUAL, note=EVIL)),), 1, 1.0),
}


@pytest.mark.parametrize("name", EVILS)
def test_text_stays_text(name):
    text = EVILS[name]()._repr_html_()
    page = Page(text)  # which knows no script, and counts the tags
    assert "script" not in page.tags
    assert "<script" not in text
    assert EVIL in page.text


def test_the_reader_of_this_file_sees_what_is_wrong():
    for bad in ("<table><tr></table>", "<td style='a:b' onclick='c'>", "<img src=x>", "<div>"):
        with pytest.raises((AssertionError, IndexError)):
            Page(bad)
    assert Page(f"<div>{EVIL}</div>").tags == ["div", "script"]


def test_lines_are_kept_headings_are_of_their_columns_and_every_sign_is_escaped():
    assert "white-space:pre-wrap" in preformatted("a\nb")
    text = table([["a", "b"]], ["x", "y"])
    assert re.findall(r'<th scope="(\w+)"', text) == ["col", "col", "row"]
    assert preformatted("""&<>"'""").count("&amp;&lt;&gt;&quot;&#x27;") == 1
