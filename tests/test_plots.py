"""Figures by their data: which cell has which letters, colours, numbers and lines."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from convdense import (
    Conv,
    ConvTranspose,
    LocallyConnected,
    TiedDense,
    TieMap,
    convolve_backward,
    tie,
)
from convdense.display.labels import letter, numbered
from convdense.display.palette import COLOURS, MASKED, contrast, luminance, mixed
from convdense.plots import gradient, gradient_steps, mask, matrix, tied
from convdense.plots.cell_grid import CELLS_LIMIT
from convdense.structure.letter_grid import cells

FIRST = Conv((1, 3, 3), 1, kernel=2)
REFLECTED = Conv(
    (1, 2), 1, kernel=3, padding=1, padding_mode="reflect"
)  # the padded input: i2 i1 i2 i1
LAYERS = [
    FIRST,
    Conv((2, 2, 3), 3, kernel=(1, 2), stride=(1, 2), padding=((0, 0), (1, 0))),
    Conv((2, 4), 2, kernel=3, groups=2, flip=True),
    ConvTranspose((1, 2, 2), 2, kernel=(1, 2), stride=(2, 1)),
    LocallyConnected((1, 2, 4), 1, kernel=2),
    TieMap.from_index([[2, -1, 0], [-1, -1, -1], [0, 2, 2]]),
]
SEVERAL = [
    REFLECTED,
    Conv((1, 1, 2), 2, kernel=(1, 3), padding=((0, 0), (2, 1)), padding_mode="replicate"),
]
LARGE = Conv((1, 11, 20), 1, kernel=(2, 9))  # 120 x 220 cells
on_layers = pytest.mark.parametrize("layer", [*LAYERS, *SEVERAL], ids=repr)
on_plain_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def texts(ax):
    """Return {(row, column): text}; a cell is written once."""
    cells = [((t.get_position()[1], t.get_position()[0]), t.get_text()) for t in ax.texts]
    assert len(dict(cells)) == len(cells)
    return dict(cells)


def colours(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def holding(layer):
    """Return {cell: weights} by looking at the matrix of one weight after the other."""
    ties, cells = tie(layer), {}
    for k in range(ties.n_weights):
        found = ties.matrix(
            np.eye(1, ties.n_weights, k, dtype=int).reshape(ties.weight_shape)
        ).toarray()
        for cell in zip(*map(np.ndarray.tolist, np.nonzero(found)), strict=True):
            cells.setdefault(cell, []).extend([k] * found[cell])
    return cells


def ready(layer, seed=0):
    """Return the tied layer and x, dy: integers of both signs."""
    rng = np.random.default_rng(seed)
    x, w, dy = (
        rng.integers(-9, 10, s) for s in (layer.in_shape, layer.weight_shape, layer.out_shape)
    )
    return TiedDense(layer, w), x, dy


@on_layers
def test_every_cell_of_the_matrix_shows_the_letters_of_its_weights(layer):
    expected = {
        cell: "+".join(letter(k) for k in weights) for cell, weights in holding(layer).items()
    }
    assert texts(matrix(layer)) == expected
    assert {
        cell: [k for k, _ in entries] for cell, entries in cells(tie(layer).entries()).items()
    } == holding(layer)


def test_coefficients_stand_before_their_letters():
    ties = TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 0]])
    assert texts(matrix(ties)) == {
        (0, 0): "a",
        (0, 1): "-a",
        (0, 2): "1/2 b",
        (1, 0): "-1/2 b",
        (1, 2): "0 a",
    }
    shown = texts(gradient(ties, np.array([[3, 5, 0], [0, 0, 1]]), masked=True))
    assert shown[0, 1] == "-a\n5"


@pytest.mark.parametrize(
    ("draw", "values", "error", "text"),
    [
        (tied, np.ones(5), ValueError, "values: got shape (5,); needs (2,), for"),
        (
            lambda layer, v: gradient(layer, v, masked=True),
            np.ones((3, 3)),
            ValueError,
            "values: got shape (3, 3)",
        ),
        (tied, ["a", "b"], TypeError, "values: got dtype <U1"),
        (
            tied,
            [1j, 0],
            TypeError,
            "values: got dtype complex128; needs real numbers; draw .real or .imag",
        ),
    ],
)
def test_numbers_that_do_not_fit_the_layer_are_not_drawn(draw, values, error, text):
    with pytest.raises(error) as refusal:
        draw(TieMap.from_index([[0, 1, -1], [1, 0, 0]]), values)
    assert str(refusal.value).startswith(text)


def test_the_tied_gradient_has_the_colours_of_its_weights():
    shown = colours(tied(Conv((1, 5, 5), 1, kernel=3), np.arange(9).reshape(1, 1, 3, 3)))
    assert [tuple(c) for c in shown.reshape(-1, 3)] == [to_rgb(c) for c in COLOURS]


def test_the_letters_of_the_question():
    rows = [["a", "b", "", "c", "d", "", "", "", ""], ["", "a", "b", "", "c", "d", "", "", ""]]
    rows += [["", "", "", "a", "b", "", "c", "d", ""], ["", "", "", "", "a", "b", "", "c", "d"]]
    written = texts(matrix(FIRST))
    assert [[written.get((r, c), "") for c in range(9)] for r in range(4)] == rows


def test_a_cell_where_taps_meet_shows_them_all():
    assert texts(matrix(REFLECTED)) == {(0, 0): "b", (0, 1): "a+c", (1, 0): "a+c", (1, 1): "b"}


def test_a_cell_of_two_weights_reads_unlike_a_cell_of_one():
    """The letters of a cell must not run together.

    With more than 24 weights "ac" names one of them.
    """
    layer = Conv((1, 3), 12, kernel=3, padding=1, padding_mode="reflect")
    written, held = texts(matrix(layer)), holding(layer)
    assert (held[0, 1], held[25, 2], letter(26)) == ([0, 2], [26], "ac")
    meanings = {}
    for cell, weights in held.items():
        meanings.setdefault(written[cell], set()).add(tuple(weights))
    assert {text: sorted(weights) for text, weights in meanings.items() if len(weights) > 1} == {}


def test_the_first_nine_weights_have_colours_of_their_own_which_are_not_grey():
    layer = Conv((1, 5, 4), 1, kernel=3)
    shown = colours(matrix(layer))
    by_weight = {
        k: {tuple(shown[cell]) for cell, held in holding(layer).items() if held == [k]}
        for k in range(9)
    }
    assert [len(seen) for seen in by_weight.values()] == [1] * 9
    assert len(set.union(*by_weight.values(), {to_rgb(MASKED), (1.0, 1.0, 1.0)})) == 11
    assert [seen.pop() for seen in by_weight.values()] == [to_rgb(c) for c in COLOURS]


def test_the_tenth_weight_starts_the_colours_again_but_has_its_own_letter():
    layer = Conv((1, 11), 1, kernel=11)
    shown, written = colours(matrix(layer)), texts(matrix(layer))
    assert tuple(shown[0, 9]) == tuple(shown[0, 0])
    assert (written[0, 9], written[0, 0]) == ("k", "a")


@on_layers
def test_cells_held_at_zero_are_grey_and_no_others(layer):
    shown = colours(matrix(layer))
    assert shown.shape == (*tie(layer).shape, 3)
    grey = {tuple(cell) for cell in np.argwhere((shown == to_rgb(MASKED)).all(axis=2)).tolist()}
    assert grey == set(np.ndindex(tie(layer).shape)) - set(holding(layer))


def test_a_cell_of_several_weights_mixes_their_colours():
    shown = colours(matrix(REFLECTED))
    a, b, c = COLOURS[:3]
    both = to_rgb(mixed([a, c]))
    assert np.array_equal(shown, [[to_rgb(b), both], [both, to_rgb(b)]])


@on_layers
def test_the_mask_is_white_where_a_weight_may_be(layer):
    ax, ties = mask(layer), tie(layer)
    white = np.zeros(ties.shape, bool)
    white[tuple(np.transpose(list(holding(layer))))] = True
    assert np.array_equal((colours(ax) == 1).all(axis=2), white)
    assert np.array_equal((colours(ax) == to_rgb(MASKED)).all(axis=2), ~white)
    assert ax.get_title() == f"mask: {white.sum()} of {white.size} edges exist"
    assert texts(ax) == {}


@pytest.mark.parametrize("draw", [matrix, mask], ids=lambda f: f.__name__)
@on_layers
def test_pixels_are_named_on_the_axes_and_blocks_parted_by_black_lines(layer, draw):
    ax, ties = draw(layer), tie(layer)
    rows, cols = ties.shape
    assert [t.get_text() for t in ax.get_yticklabels()] == numbered("o", rows)
    assert [t.get_text() for t in ax.get_xticklabels()] == numbered("i", cols)
    lines = drawn_lines(ax)
    assert sorted(at for at, _ in lines["across"]) == [k - 0.5 for k in range(rows + 1)]
    assert sorted(at for at, _ in lines["down"]) == [k - 0.5 for k in range(cols + 1)]
    assert black(lines["across"]) == [k - 0.5 for k in range(0, rows + 1, ties.out_shape[-1])]
    assert black(lines["down"]) == [k - 0.5 for k in range(0, cols + 1, ties.in_shape[-1])]


def drawn_lines(ax):
    """Return {"across": [(place, colour)], "down": ...}.

    Every line goes from one end of the matrix to the other.
    """
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    found = {"across": [], "down": []}
    for collection in ax.collections:
        (colour,) = {to_hex(c) for c in collection.get_colors()}
        for (x, y), (to_x, to_y) in collection.get_segments():
            assert (x, to_x) == (x0, x1) or (y, to_y) == (y1, y0)
            found["across" if y == to_y else "down"].append((y if y == to_y else x, colour))
    return found


def black(lines):
    return sorted(at for at, colour in lines if colour == "#000000")


def test_the_block_lines_of_the_question_stand_between_rows_of_pixels():
    lines = drawn_lines(matrix(FIRST))
    assert black(lines["across"]) == [-0.5, 1.5, 3.5]
    assert black(lines["down"]) == [-0.5, 2.5, 5.5, 8.5]


NAMED = {  # layer: the names above the matrix, at the middle of what they name
    Conv((1, 3, 3), 1, kernel=2): {1: "row 1", 4: "row 2", 7: "row 3"},
    Conv((2, 2, 3), 1, kernel=2): {
        1: "row 1",
        2.5: "channel 1",
        4: "row 2",
        7: "row 1",
        8.5: "channel 2",
        10: "row 2",
    },
    Conv((2, 1, 3), 1, kernel=(1, 2)): {1: "channel 1\nrow 1", 4: "channel 2\nrow 1"},
    Conv((2, 5), 1, kernel=2): {2: "channel 1", 7: "channel 2"},
    Conv((1, 5), 1, kernel=2): {},
    TieMap.from_index([[0, 1, 1]]): {},
    Conv((2, 1, 2, 3), 1, kernel=1): {
        1: "row 1",
        2.5: "channel 1\nslice 1\n",
        4: "row 2",
        7: "row 1",
        8.5: "channel 2\nslice 1\n",
        10: "row 2",
    },
}


@pytest.mark.parametrize(("layer", "names"), NAMED.items(), ids=map(repr, NAMED))
def test_rows_and_channels_of_the_input_are_named_above(layer, names):
    ax = matrix(layer)
    tops = (zip(top.get_xticks(), top.get_xticklabels(), strict=True) for top in ax.child_axes)
    shown = {at: label.get_text() for top in tops for at, label in top}
    assert {at: text.rstrip("\n") for at, text in shown.items()} == {
        at: t.rstrip("\n") for at, t in names.items()
    }
    heights = {
        at: text.count("\n") for at, text in shown.items()
    }  # an outer name stands a line higher
    assert all(heights[at] == 0 for at, text in shown.items() if text.startswith("row"))
    assert all("\n" in text for text in shown.values() if text.startswith("slice"))


@on_layers
@pytest.mark.thinned(3)
def test_a_dense_gradient_shows_every_number(layer):
    layer, x, dy = ready(layer)
    dense = layer.gradient_steps(x, dy).dense
    ax = gradient(layer.layer, dense, masked=False)
    assert texts(ax) == {cell: str(dense[cell]) for cell in np.ndindex(dense.shape)}
    assert ax.get_title() == "dense gradient: every edge"


@on_layers
def test_a_masked_gradient_shows_letters_and_numbers_where_edges_exist_and_grey_elsewhere(layer):
    tied_layer, x, dy = ready(layer)
    values, held = tied_layer.gradient_steps(x, dy).masked, holding(layer)
    ax = gradient(layer, values, masked=True)
    assert texts(ax) == {c: f"{'+'.join(letter(k) for k in held[c])}\n{values[c]}" for c in held}
    shown = colours(ax)
    grey = {tuple(cell) for cell in np.argwhere((shown == to_rgb(MASKED)).all(axis=2)).tolist()}
    assert grey == set(np.ndindex(values.shape)) - set(held)


def test_gradients_are_coloured_by_sign_and_size_and_zero_is_in_the_middle():
    values = np.array([[4, -4, 0], [2, -2, 0]])
    shown = colours(gradient(TieMap.from_index([[0, 1, 2], [0, 1, 2]]), values, masked=False))
    assert np.array_equal(shown[0, 2], shown[1, 2])
    purple, orange = shown[0, 0], shown[0, 1]
    assert purple[2] > purple[0] > purple[1]
    assert orange[0] > orange[1] > orange[2]
    middle = shown[0, 2]
    for strong, weak in (shown[:, 0], shown[:, 1]):
        assert np.abs(strong - middle).max() > np.abs(weak - middle).max() > 0


def test_a_gradient_of_nothing_but_zeros_is_drawn():
    ax = gradient(FIRST, np.zeros((4, 9)), masked=False)
    assert set(texts(ax).values()) == {"0"}
    assert len({tuple(c) for c in colours(ax).reshape(-1, 3)}) == 1


NUMBERS = {
    3.0: "3",
    -7.0: "-7",
    -0.0: "0",
    999_999.0: "999999",
    0.5: "0.5",
    -1 / 3: "-0.333",
    1e-20: "1e-20",
    1234.5: "1.23e+03",
    5e6: "5e+06",
}


@pytest.mark.parametrize(("value", "text"), NUMBERS.items(), ids=NUMBERS.values())
def test_integers_are_printed_whole_and_other_numbers_short(value, text):
    ties = TieMap.from_index([[0, 1]])
    assert texts(gradient(ties, np.array([[value, 2.0]]), masked=False)) == {
        (0, 0): text,
        (0, 1): "2",
    }
    assert texts(tied(ties, np.array([value, 2])))[0, 0].startswith(f"a\n{text} (1 cop")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan], ids=str)
def test_a_gradient_that_is_not_finite_is_shown_or_refused_in_words(value):
    ties, values = TieMap.from_index([[0, 1]]), np.array([[value, 2.0]])
    try:
        said = texts(gradient(ties, values, masked=False))[0, 0]
    except ValueError as error:
        said = str(error)
    assert said == str(value) or "needs finite numbers" in said


@on_layers
def test_the_tied_gradient_shows_each_sum_with_its_letter_and_copies(layer):
    tied_layer, x, dy = ready(layer)
    sums, copies = tied_layer.backward(x, dy).dw, tie(layer).counts().weights.ravel()
    ax, width = tied(layer, sums), layer.weight_shape[-1]
    cells = {
        divmod(k, width): (letter(k), str(v), str(copies[k]))
        for k, v in enumerate(sums.ravel().tolist())
    }
    form = re.compile(r"([a-z]+)\n(-?\d+) \((\d+) cop(?:y|ies)\)")
    assert {cell: form.fullmatch(text).groups() for cell, text in texts(ax).items()} == cells
    assert colours(ax).shape == (sums.size // width, width, 3)
    assert (list(ax.get_xticks()), list(ax.get_yticks())) == ([], [])


def parts_of(figure):
    """Return {title: axes} of a figure, the signs between them aside."""
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert len({ax.get_title() for ax in titled}) == len(titled)
    return {ax.get_title(): ax for ax in titled}


DENSE, MASK, SUMS = (
    "dense gradient: every edge",
    "masked: edges that exist",
    "↓ tied: the sum over each letter",
)
DIRECT, EQUAL = "the direct convolution's", "difference: equal"


def number_after(text):
    """Return the number of a cell.

    It stands after the letter and the equals sign, before how many copies there are.
    """
    return int(text.split("\n")[-1].split("= ")[-1].split(" (")[0])


@on_layers
@pytest.mark.thinned(4)
def test_the_whole_argument_is_one_figure(layer):
    layer, x, dy = ready(layer)
    figure, steps = gradient_steps(layer, x, dy), layer.gradient_steps(x, dy)
    parts, direct = parts_of(figure), not isinstance(layer.layer, TieMap)
    beside = [t.get_text() for t in figure.texts] == (["→", "\u2212", "="] if direct else ["→"])
    parts = {title.replace("↓ masked", "masked"): ax for title, ax in parts.items()}
    assert beside or [t.get_text() for t in figure.texts] == (["\u2212", "="] if direct else [])
    assert beside == (parts[DENSE].get_position().y0 == parts[MASK].get_position().y0)
    assert (parts[MASK].get_title() == MASK) == beside
    assert isinstance(figure, Figure)
    assert list(parts) == [DENSE, MASK, SUMS, *([DIRECT, EQUAL] if direct else [])]
    assert texts(parts[DENSE]) == texts(gradient(layer, steps.dense, masked=False))
    assert texts(parts[MASK]) == texts(gradient(layer, steps.masked, masked=True))
    assert [number_after(t) for t in texts(parts[SUMS]).values()] == steps.tied.ravel().tolist()
    if direct:
        expected = convolve_backward(layer.layer, x, layer.w, dy).dw.ravel().tolist()
        assert [t.split("\n") for t in texts(parts[DIRECT]).values()] == [
            [letter(k), str(n)] for k, n in enumerate(expected)
        ]
        assert set(texts(parts[EQUAL]).values()) == {"0"}


def test_the_figure_adds_up():
    """A reader adds the numbers of a letter in the second part: the third has the sum."""
    layer, x, dy = ready(FIRST, seed=3)
    parts = parts_of(gradient_steps(layer, x, dy))
    added = {}
    for text in texts(parts[MASK]).values():
        name, value = text.split("\n")
        added.setdefault(name, []).append(int(value))
    written = [text.split("\n") for text in texts(parts[SUMS]).values()]
    assert {name: sum(numbers) for name, numbers in added.items()} == {
        name: number_after(t) for name, t in written
    }
    assert added == {name: addends(line) for name, line in written}
    assert len({tuple(numbers) for numbers in added.values()}) > 1


def addends(line):
    return [int(n.replace("- ", "-")) for n in re.findall(r"(?:^-|- )?\d+", line.split(" = ")[0])]


@pytest.mark.parametrize(("size", "lines"), [(3, 1), (5, 2), (7, 0)])
def test_a_sum_is_written_out_in_a_line_or_two_and_of_many_copies_counted(size, lines):
    conv = Conv((1, size, size), 1, kernel=size // 2 + 1)
    layer, x, dy = ready(conv)
    copies = (size - size // 2) ** 2
    sums = convolve_backward(conv, x, layer.w, dy).dw.ravel()
    written = list(texts(parts_of(gradient_steps(layer, x, dy))[SUMS]).values())
    if not lines:
        assert written == [f"{letter(k)}\n{n} ({copies} copies)" for k, n in enumerate(sums)]
        return
    for k, text in enumerate(written):
        name, *said = text.split("\n")
        left, right = " ".join(said).split(" = ")
        assert (name, len(said), int(right)) == (letter(k), lines, sums[k])
        terms = [int(n.replace(" ", "")) for n in re.findall(r"(?:^|[+-] )?-?\d+", left)]
        assert (len(terms), sum(terms)) == (copies, sums[k])


def test_a_weight_without_copies_sums_to_nothing():
    layer, x, dy = ready(Conv((1, 1), 1, kernel=3, padding=1))
    assert [
        t.split("\n")[1] for t in texts(parts_of(gradient_steps(layer, x, dy))[SUMS]).values()
    ] == [
        "0 (0 copies)",
        f"{x.item() * dy.item()} = {x.item() * dy.item()}",
        "0 (0 copies)",
    ]


def test_coefficients_are_in_the_sums():
    ties = TieMap.from_index([[0, 0]], [[1, -0.5]])
    figure = gradient_steps(TiedDense(ties, [2.0]), np.array([[3.0, 8]]), np.array([[1.0]]))
    assert texts(parts_of(figure)[SUMS]) == {(0, 0): "a\n3 - 4 = -1"}


def test_a_difference_within_rounding_is_called_so_and_shown():
    layer = TiedDense(FIRST, np.ones(FIRST.weight_shape))
    rng = np.random.default_rng(2)
    x, dy = rng.normal(size=(3, *FIRST.in_shape)), rng.normal(size=(3, *FIRST.out_shape))
    (title,) = [t for t in parts_of(gradient_steps(layer, x, dy)) if t.startswith("difference")]
    assert title in ("difference: within rounding", "difference: equal")


def test_a_wrong_direct_gradient_would_be_seen(monkeypatch):
    """The difference is of what is drawn: a convolution that forgets a sample shows."""
    monkeypatch.setattr(
        "convdense.plots.gradient_figure.convolve_backward",
        lambda layer, x, w, dy: convolve_backward(layer, x, w, 0 * dy),
    )
    layer, x, dy = ready(FIRST)
    shown = [int(t) for t in texts(parts_of(gradient_steps(layer, x, dy))[EQUAL]).values()]
    assert shown == layer.gradient_steps(x, dy).tied.ravel().tolist()
    assert any(shown)


def test_the_values_of_a_tied_dense_layer_are_written_and_zero_is_not_masked():
    layer = TiedDense(FIRST, np.array([[[[2, 0], [-1, 7]]]]))
    ax = matrix(layer)
    values, held = layer.matrix.toarray(), holding(FIRST)
    assert texts(ax) == {c: f"{letter(held[c][0])}\n{values[c]}" for c in held}
    assert texts(ax)[0, 1] == "b\n0"
    assert tuple(colours(ax)[0, 1]) == to_rgb(COLOURS[1])
    assert tuple(colours(ax)[0, 2]) == to_rgb(MASKED)


DRAWN = {
    "matrix": matrix,
    "mask": mask,
    "gradient": lambda layer, ax=None: gradient(
        layer, np.zeros(tie(layer).shape), masked=True, ax=ax
    ),
    "tied": lambda layer, ax=None: tied(layer, np.zeros(layer.weight_shape), ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_passed_in_are_used_and_others_made(name):
    left, right = Figure().subplots(1, 2)
    assert DRAWN[name](FIRST, ax=left) is left
    assert (len(left.images), len(right.images)) == (1, 0)
    made = DRAWN[name](FIRST)
    assert made.figure is not left.figure
    assert len(made.figure.axes) == 1


@pytest.mark.parametrize("name", ["matrix", "mask", "gradient"])
def test_a_layer_too_large_to_be_drawn_is_refused(name):
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        DRAWN[name](LARGE)
    assert str(error.value) == (
        "layer: got 120 x 220 cells; needs at most 10,000 to be drawn cell by cell; "
        "look at convdense.plots.density(layer)"
    )


def test_the_steps_of_a_layer_too_large_to_be_drawn_are_refused():
    layer = TiedDense(LARGE, np.ones(LARGE.weight_shape))
    with pytest.raises(ValueError, match="120 x 220 cells; needs at most 10,000"):
        gradient_steps(layer, np.ones(LARGE.in_shape), np.ones(LARGE.out_shape))


def test_the_largest_layer_that_can_be_drawn_is_drawn():
    rows, cols = 80, 125
    assert rows * cols == CELLS_LIMIT
    ties = TieMap.from_index(np.eye(rows, cols, dtype=int) - 1)
    assert texts(matrix(ties)) == {(k, k): "a" for k in range(rows)}
    with pytest.raises(ValueError, match="81 x 125 cells"):
        mask(TieMap.from_index(np.eye(81, 125, dtype=int) - 1))


def test_more_weights_than_can_be_drawn_are_refused(monkeypatch):
    monkeypatch.setattr("convdense.plots.cell_grid.CELLS_LIMIT", 17)
    layer = Conv((2, 3, 3), 1, kernel=3)
    with pytest.raises(ValueError, match="needs at most 17"):
        tied(layer, np.zeros(layer.weight_shape))


@on_plain_layers
def test_letters_stay_readable_on_their_colour(layer):
    ax = matrix(layer)
    shown = colours(ax)
    for text in ax.texts:
        column, row = text.get_position()
        assert contrast(text.get_color(), to_hex(shown[row, column])) >= 4.5
    assert {text.get_color() for text in matrix(FIRST).texts} == {"#FFFFFF", "#000000"}


LARGER = Conv((64, 56, 56), 64, kernel=3, padding=1)
DEEP = Conv((1, 2), 1, kernel=300_000, padding=300_000, padding_mode="replicate", stride=600_000)


@pytest.mark.parametrize("draw", [matrix, mask], ids=lambda f: f.__name__)
def test_what_is_too_large_is_refused_before_it_is_written_out(draw, monkeypatch):
    monkeypatch.setattr(TieMap, "entries", lambda self: pytest.fail("written out"))
    with pytest.raises(
        ValueError, match=r"^layer: got 200,704 x 200,704 cells; needs at most 10,000"
    ):
        draw(LARGER)


@pytest.mark.parametrize("draw", [matrix, mask], ids=lambda f: f.__name__)
def test_cells_of_very_many_entries_are_refused(draw, monkeypatch):
    monkeypatch.setattr(TieMap, "entries", lambda self: pytest.fail("written out"))
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        draw(DEEP)
    assert str(error.value) == (
        f"layer: got {tie(DEEP).n_entries:,} entries of 300,000 weights; "
        "needs at most 100,000 to be written one by one; look at convdense.plots.density(layer)"
    )


def test_the_steps_of_a_layer_without_weights_are_refused():
    with pytest.raises(TypeError) as error:
        gradient_steps(FIRST, np.ones(FIRST.in_shape), np.ones(FIRST.out_shape))
    assert str(error.value) == (
        "layer: got Conv((1, 3, 3), out_channels=1, kernel=2); "
        "needs a TiedDense, which has weights; make one with cd.TiedDense(layer, w)"
    )


def test_the_verdict_is_that_on_the_weights(monkeypatch):
    verdicts = {"y": "wrong", "dx": "wrong", "dw": "within rounding"}
    found = {name: SimpleNamespace(verdict=verdict) for name, verdict in verdicts.items()}
    monkeypatch.setattr("convdense.plots.gradient_figure.check", lambda *operands: found)
    assert "difference: within rounding" in parts_of(gradient_steps(*ready(FIRST)))


@pytest.mark.parametrize(
    "layer",
    [
        Conv((1, 1), 1, kernel=1),
        Conv((1, 1, 2), 1, kernel=3, padding=1),
        FIRST,
        Conv((2, 3, 3), 2, kernel=2),
    ],
)
def test_no_title_runs_into_another(layer):
    figure = gradient_steps(*ready(layer))
    FigureCanvasAgg(figure).draw()
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert not [(i, j) for j, one in enumerate(boxes) for i in range(j) if one.overlaps(boxes[i])]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_the_luminance_of_red_green_and_blue():
    assert [luminance(c) for c in ("#FF0000", "#00FF00", "#0000FF")] == pytest.approx(
        [0.2126, 0.7152, 0.0722]
    )
    assert luminance("#808080") == pytest.approx(0.2158605, rel=1e-6)  # of WCAG's own formula
