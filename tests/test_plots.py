"""Figures by their data: which cell has which letters, colours, numbers and lines; no pixel is looked at."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from convdense import Conv, ConvTranspose, LocallyConnected, TiedDense, TieMap, tie
from convdense.cells import cells
from convdense.labels import letter, numbered
from convdense.palette import COLOURS, MASKED, contrast, mixed
from convdense.plots import gradient, gradient_steps, mask, matrix, tied
from convdense.plots.small import CELLS_LIMIT

FIRST = Conv((1, 3, 3), 1, kernel=2)
REFLECTED = Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect")  # the padded input: i2 i1 i2 i1
LAYERS = [
    FIRST,
    Conv((2, 2, 3), 3, kernel=(1, 2), stride=(1, 2), padding=((0, 0), (1, 0))),
    Conv((2, 4), 2, kernel=3, groups=2, flip=True),
    ConvTranspose((1, 2, 2), 2, kernel=(1, 2), stride=(2, 1)),
    LocallyConnected((1, 2, 4), 1, kernel=2),
    TieMap.from_index([[2, -1, 0], [-1, -1, -1], [0, 2, 2]]),
]
SEVERAL = [REFLECTED, Conv((1, 1, 2), 2, kernel=(1, 3), padding=((0, 0), (2, 1)), padding_mode="replicate")]
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
        found = ties.matrix(np.eye(1, ties.n_weights, k, dtype=int).reshape(ties.weight_shape)).toarray()
        for cell in zip(*map(np.ndarray.tolist, np.nonzero(found)), strict=True):
            cells.setdefault(cell, []).extend([k] * found[cell])
    return cells


def ready(layer, seed=0):
    """Return the tied layer and x, dy: integers of both signs."""
    rng = np.random.default_rng(seed)
    x, w, dy = (rng.integers(-9, 10, s) for s in (layer.in_shape, layer.weight_shape, layer.out_shape))
    return TiedDense(layer, w), x, dy


@on_layers
def test_every_cell_of_the_matrix_shows_the_letters_of_its_weights(layer):
    expected = {cell: "+".join(letter(k) for k in weights) for cell, weights in holding(layer).items()}
    assert texts(matrix(layer)) == expected
    assert {cell: [k for k, _ in entries] for cell, entries in cells(tie(layer).entries()).items()} == holding(layer)


def test_coefficients_stand_before_their_letters():
    ties = TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 0]])
    assert texts(matrix(ties)) == {(0, 0): "a", (0, 1): "-a", (0, 2): "1/2 b", (1, 0): "-1/2 b", (1, 2): "0 a"}
    shown = texts(gradient(ties, np.array([[3, 5, 0], [0, 0, 1]]), masked=True))
    assert shown[0, 1] == "-a\n5"


@pytest.mark.parametrize(
    ("draw", "values", "error", "text"),
    [
        (tied, np.ones(5), ValueError, "values: got shape (5,); needs (2,), for"),
        (lambda layer, v: gradient(layer, v, masked=True), np.ones((3, 3)), ValueError, "values: got shape (3, 3)"),
        (tied, ["a", "b"], TypeError, "values: got dtype <U1"),
        (tied, [1j, 0], TypeError, "values: got dtype complex128; needs real numbers; draw .real or .imag"),
    ],
)
def test_numbers_that_do_not_fit_the_layer_are_not_drawn(draw, values, error, text):
    with pytest.raises(error) as refusal:
        draw(TieMap.from_index([[0, 1, -1], [1, 0, 0]]), values)
    assert str(refusal.value).startswith(text)


def test_the_tied_gradient_is_coloured_by_its_values():
    shown = colours(tied(TieMap.from_index([[0, 1, 2]]), np.array([-4.0, 0.0, 4.0]))).reshape(-1, 3)
    least, none, most = shown
    assert least[0] > least[2]  # orange
    assert most[2] > most[0]  # purple
    assert none[0] == pytest.approx(none[2], abs=0.02)


def test_the_letters_of_the_question():
    rows = [["a", "b", "", "c", "d", "", "", "", ""], ["", "a", "b", "", "c", "d", "", "", ""]]
    rows += [["", "", "", "a", "b", "", "c", "d", ""], ["", "", "", "", "a", "b", "", "c", "d"]]
    written = texts(matrix(FIRST))
    assert [[written.get((r, c), "") for c in range(9)] for r in range(4)] == rows


def test_a_cell_where_taps_meet_shows_them_all():
    assert texts(matrix(REFLECTED)) == {(0, 0): "b", (0, 1): "a+c", (1, 0): "a+c", (1, 1): "b"}


def test_a_cell_of_two_weights_reads_unlike_a_cell_of_one():
    """With more than 26 weights "ac" names one of them: the letters of a cell must not run together."""
    layer = Conv((1, 2), 10, kernel=3, padding=1, padding_mode="reflect")
    written, held = texts(matrix(layer)), holding(layer)
    assert (held[0, 1], held[18, 0], letter(28)) == ([0, 2], [28], "ac")
    meanings = {}
    for cell, weights in held.items():
        meanings.setdefault(written[cell], set()).add(tuple(weights))
    assert {text: sorted(weights) for text, weights in meanings.items() if len(weights) > 1} == {}


def test_the_first_nine_weights_have_colours_of_their_own_which_are_not_grey():
    layer = Conv((1, 5, 4), 1, kernel=3)
    shown = colours(matrix(layer))
    by_weight = {k: {tuple(shown[cell]) for cell, held in holding(layer).items() if held == [k]} for k in range(9)}
    assert [len(seen) for seen in by_weight.values()] == [1] * 9
    assert len(set.union(*by_weight.values(), {to_rgb(MASKED), (1.0, 1.0, 1.0)})) == 11
    assert [seen.pop() for seen in by_weight.values()] == [to_rgb(c) for c in COLOURS]


def test_the_tenth_weight_starts_the_colours_again_but_has_its_own_letter():
    layer = Conv((1, 11), 1, kernel=11)
    shown, written = colours(matrix(layer)), texts(matrix(layer))
    assert tuple(shown[0, 9]) == tuple(shown[0, 0])
    assert (written[0, 9], written[0, 0]) == ("j", "a")


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
    lines = {"across": {}, "down": {}}
    for line in ax.lines:
        (x0, x1), (y0, y1) = line.get_data()
        assert (x0, x1) == (0, 1) or (y0, y1) == (0, 1)
        way, at = ("across", y0) if (x0, x1) == (0, 1) else ("down", x0)
        lines[way][at] = line.get_color()
    black = {way: sorted(at for at, colour in found.items() if colour == "black") for way, found in lines.items()}
    assert sorted(lines["across"]) == [k - 0.5 for k in range(rows + 1)]
    assert sorted(lines["down"]) == [k - 0.5 for k in range(cols + 1)]
    assert black["across"] == [k - 0.5 for k in range(0, rows + 1, ties.out_shape[-1])]
    assert black["down"] == [k - 0.5 for k in range(0, cols + 1, ties.in_shape[-1])]


def test_the_block_lines_of_the_question_stand_between_rows_of_pixels():
    black = [line.get_data() for line in matrix(FIRST).lines if line.get_color() == "black"]
    assert sorted(y[0] for x, y in black if list(x) == [0, 1]) == [-0.5, 1.5, 3.5]
    assert sorted(x[0] for x, y in black if list(y) == [0, 1]) == [-0.5, 2.5, 5.5, 8.5]


@on_layers
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
    assert texts(gradient(ties, np.array([[value, 2.0]]), masked=False)) == {(0, 0): text, (0, 1): "2"}
    assert texts(tied(ties, np.array([value, 2])))[0, 0].startswith(f"a\n{text}\n(1 cop")


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
    cells = {divmod(k, width): (letter(k), str(v), str(copies[k])) for k, v in enumerate(sums.ravel().tolist())}
    form = re.compile(r"([a-z]+)\n(-?\d+)\n\((\d+) cop(?:y|ies)\)")
    assert {cell: form.fullmatch(text).groups() for cell, text in texts(ax).items()} == cells
    assert colours(ax).shape == (sums.size // width, width, 3)
    assert (list(ax.get_xticks()), list(ax.get_yticks())) == ([], [])


def test_the_whole_argument_is_one_figure_of_four():
    layer, x, dy = ready(FIRST)
    figure, steps = gradient_steps(layer, x, dy), layer.gradient_steps(x, dy)
    parts = [
        matrix(FIRST),
        gradient(FIRST, steps.dense, masked=False),
        gradient(FIRST, steps.masked, masked=True),
        tied(FIRST, steps.tied),
    ]
    assert isinstance(figure, Figure)
    assert [texts(ax) for ax in figure.axes] == [texts(ax) for ax in parts]
    assert [ax.get_title() for ax in figure.axes] == [ax.get_title() for ax in parts]
    assert all(np.array_equal(colours(ax), colours(part)) for ax, part in zip(figure.axes, parts, strict=True))
    assert len({ax.get_title() for ax in figure.axes}) == 4


def test_the_figure_adds_up():
    """What a reader would do with it: add the numbers of each letter in the third part, find the sum in the fourth."""
    layer, x, dy = ready(FIRST, seed=3)
    _, _, masked, sums = (texts(ax) for ax in gradient_steps(layer, x, dy).axes)
    added = {}
    for text in masked.values():
        name, number = text.split("\n")
        added[name] = added.get(name, 0) + int(number)
    assert added == {text.split("\n")[0]: int(text.split("\n")[1]) for text in sums.values()}
    assert len(set(added.values())) > 1


DRAWN = {
    "matrix": matrix,
    "mask": mask,
    "gradient": lambda layer, ax=None: gradient(layer, np.zeros(tie(layer).shape), masked=True, ax=ax),
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
        "draw a smaller layer of the same kind"
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
    monkeypatch.setattr("convdense.plots.small.CELLS_LIMIT", 17)
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
