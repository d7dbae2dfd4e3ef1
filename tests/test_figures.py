"""Figures of several pictures by their data, which is read back and computed another way."""

import re
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import convdense as cd
from convdense import plots
from convdense.direct import pool_loops
from convdense.display.labels import letter
from convdense.display.palette import COLOURS, MASKED, channels, contrast, mixed
from convdense.display.plane_layout import sheet
from convdense.layers.activations import Abs
from convdense.plots.differences import EXTRA, MISSING, OTHER_WEIGHT
from convdense.plots.layer_chain import SMALLEST_TEXT
from convdense.plots.panel_layout import WIDEST, Panel, wrapped

FIRST = cd.Conv((1, 3, 3), 1, kernel=2)
PADDED = cd.Conv((1, 3, 3), 1, kernel=3, padding=1)
REFLECTED = cd.Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect")
INDEX = cd.TieMap.from_index([[2, -1, 0], [-1, -1, -1], [0, 2, 2]])
LAYERS = [
    FIRST,
    PADDED,
    REFLECTED,
    INDEX,
    cd.Conv((2, 2, 3), 3, kernel=(1, 2), stride=(1, 2), padding=((0, 0), (1, 0))),
    cd.Conv((4, 5), 2, kernel=2, groups=2, dilation=3, flip=True),
    cd.Conv((1, 2, 2, 3), 2, kernel=(1, 2, 2)),
    cd.Conv((1, 30), 1, kernel=9, stride=3),
    cd.ConvTranspose((1, 2, 2), 2, kernel=(1, 2), stride=(2, 1)),
    cd.LocallyConnected((1, 2, 4), 1, kernel=2),
]
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def texts(ax):
    """Return {(row, column): text}; a cell is written once."""
    cells = [((t.get_position()[1], t.get_position()[0]), t.get_text()) for t in ax.texts]
    assert len(dict(cells)) == len(cells)
    return dict(cells)


def colours(ax):
    """Return {(row, column): "#RRGGBB"} of the cells that are there."""
    array = np.asarray(ax.images[0].get_array(), float)
    there = array[..., 3] > 0 if array.shape[2] == 4 else np.ones(array.shape[:2], bool)
    return {tuple(map(int, at)): to_hex(array[tuple(at)][:3]).upper() for at in np.argwhere(there)}


def framed(ax):
    """Return the cells inside a black frame.

    Those have an odd number of its upright edges to their left.
    """
    edges = [
        [tuple(p) for p in segment.round(6).tolist()]
        for c in ax.collections
        if c.get_zorder() == 5
        for segment in c.get_segments()
    ]
    upright = [(x, min(y0, y1)) for (x, y0), (x1, y1) in edges if x == x1]
    cells = [(r, c) for r, c in np.ndindex(*ax.images[0].get_array().shape[:2])]
    return {(r, c) for r, c in cells if sum(y == r - 0.5 and x < c for x, y in upright) % 2}


@cache
def reading(layer):
    """Return {(output, input): weights} by convolving one input with one weight at a time.

    No tie map is asked.
    """
    weights, found = int(np.prod(layer.weight_shape)), {}
    inputs = int(np.prod(layer.in_shape))
    for k in range(weights):
        w = np.eye(1, weights, k, dtype=int).reshape(layer.weight_shape)
        if isinstance(layer, cd.TieMap):
            answers = layer.matrix(w).toarray().T
        else:
            answers = cd.convolve(
                layer, np.eye(inputs, dtype=int).reshape(inputs, *layer.in_shape), w
            )
        for col, row in np.argwhere(answers.reshape(inputs, -1)).tolist():
            found.setdefault((row, col), []).extend(
                [k] * int(answers.reshape(inputs, -1)[col, row])
            )
    return found


def places(shape):
    """Return the (row, column) of every pixel on its sheet."""
    laid = sheet(shape)
    return list(zip(laid.y.tolist(), laid.x.tolist(), strict=True))


def faults(figure, layer, row):
    """Return what is wrong with the letters and colours of an anatomy.

    They are compared with what convolving shows.
    """
    seen, kernel, pixel, whole = figure.axes
    held = reading(layer)
    window = {col: ks for (r, col), ks in held.items() if r == row}
    marks = {col: "+".join(map(letter, ks)) for col, ks in window.items()}
    found = []
    at = places(layer.in_shape)
    if texts(seen) != {
        at[c]: (f"{marks[c]}\n" if c in marks else "") + f"i{c + 1}" for c in range(len(at))
    }:
        found.append("letters of the window")
    looks = [
        mixed([COLOURS[k % 9] for k in window[c]]) if c in window else MASKED
        for c in range(len(at))
    ]
    if colours(seen) != dict(zip(at, looks, strict=True)):
        found.append("colours of the window")
    if framed(seen) != {at[c] for c in window}:
        found.append("frame of the window")
    used, taps = {k for ks in window.values() for k in ks}, places(layer.weight_shape)
    strong = {c for c, look in colours(kernel).items() if look in COLOURS}
    if strong != {taps[k] for k in used} or texts(kernel) != {
        c: letter(k) for k, c in enumerate(taps)
    }:
        found.append("kernel")
    pixels = places(layer.out_shape)
    white = {c for c, look in colours(pixel).items() if look == "#FFFFFF"}
    if white != {pixels[row]} or framed(pixel) != white:
        found.append("output pixel")
    if framed(whole) != {(row, c) for c in range(len(at))}:
        found.append("frame of the row")
    if texts(whole) != {cell: "+".join(map(letter, ks)) for cell, ks in held.items()}:
        found.append("letters of the matrix")
    full, shown = colours(plots.matrix(layer)), colours(whole)
    if {c: look for c, look in shown.items() if c[0] == row} != {
        c: look for c, look in full.items() if c[0] == row
    }:
        found.append("colours of the row")
    if any(min(channels(look)) < 128 for c, look in shown.items() if c[0] != row):
        found.append("other rows are not pale")
    (line,) = [
        text
        for text in cd.equations(layer, bias=None).split("\n")
        if text.startswith(f"  o{row + 1} = ")
    ]
    said = re.sub(r"w(\d+)", lambda m: letter(int(m[1]) - 1), line.strip())
    if figure.texts[-1].get_text().replace("\n", " ") != said:
        found.append("equation")
    return found


@on_layers
@pytest.mark.thinned(3)
def test_the_anatomy_of_every_output_agrees_with_convolving(layer):
    outputs = int(np.prod(layer.out_shape))
    for row in {outputs // 3, outputs - 1}:
        assert faults(plots.anatomy(layer, row), layer, row) == []


def test_the_anatomy_of_another_row_or_kernel_is_seen():
    other = plots.anatomy(FIRST, 1)
    assert faults(other, FIRST, 0) == [
        "letters of the window",
        "colours of the window",
        "frame of the window",
        "output pixel",
        "frame of the row",
        "colours of the row",
        "other rows are not pale",
        "equation",
    ]
    flipped = plots.anatomy(cd.Conv((1, 3, 3), 1, kernel=2, flip=True))
    assert "letters of the window" in faults(flipped, FIRST, 0)
    shifted = plots.anatomy(cd.Conv((1, 4), 1, kernel=2, padding=((0, 1),)))
    assert "letters of the window" in faults(
        shifted, cd.Conv((1, 4), 1, kernel=2, padding=((1, 0),)), 0
    )


def test_an_output_is_named_flat_or_by_its_position():
    flat, named = (plots.anatomy(FIRST, output) for output in (2, (0, 1, 0)))
    assert (
        flat.texts[-1].get_text() == named.texts[-1].get_text() == "o3 = a i4 + b i5 + c i7 + d i8"
    )
    with pytest.raises(ValueError, match="output: got 4; needs 0 to 3"):
        plots.anatomy(FIRST, 4)


TITLES = {
    "o1 of a padded layer": (PADDED, 0, "the window of o1:\n4 of 9 taps meet the input"),
    "its middle": (PADDED, 4, "the window of o5 on the input"),
    "two channels": (
        cd.Conv((2, 3), 1, kernel=3, padding=1),
        2,
        "the window of o3:\n4 of 6 taps meet the input",
    ),
    "reflected": (REFLECTED, 0, "the window of o1 on the input"),
    "with weights": (
        cd.TiedDense(PADDED, np.ones((1, 1, 3, 3))),
        1,
        "the window of o2:\n6 of 9 taps meet the input",
    ),
    "no window": (INDEX, 1, "the window of o2 on the input"),
}


@pytest.mark.parametrize("name", TITLES)
def test_taps_beside_the_input_are_counted(name):
    layer, row, title = TITLES[name]
    assert plots.anatomy(layer, row).axes[0].get_title() == title


def computed(text):
    """Return both sides of ``= 1·2 + (-3)·4 = -10``."""
    _, left, right = text.replace("\n", " ").split("= ")
    return eval(left.replace("·", "*")), int(right)


@pytest.mark.parametrize("layer", [FIRST, PADDED, REFLECTED, LAYERS[4], LAYERS[8]], ids=repr)
def test_the_equation_in_numbers_is_right(layer):
    rng = np.random.default_rng(0)
    x, w, b = (
        rng.integers(-9, 10, s) for s in (layer.in_shape, layer.weight_shape, layer.bias_shape)
    )
    y = cd.convolve(layer, x, w, b).ravel().tolist()
    figure = plots.anatomy(cd.TiedDense(layer, w, b), len(y) - 1, x)
    letters, numbers = figure.texts[-1].get_text().split("\n= ")
    assert computed(f"= {numbers}") == (y[-1], y[-1])
    assert letters.endswith(" + bias")
    assert list(texts(figure.axes[2]).values()) == [str(n) for n in y]
    values = [text.split("\n")[-1] for text in texts(figure.axes[0]).values()]
    assert values == [str(n) for n in x.ravel()]
    assert [text.split("\n")[1] for text in texts(figure.axes[1]).values()] == [
        str(n) for n in w.ravel()
    ]


def test_a_long_equation_keeps_its_ends_and_says_how_much_is_left_out():
    figure = plots.anatomy(cd.Conv((1, 30), 1, kernel=30))
    said = figure.texts[-1].get_text().replace("\n", " ")
    assert said.startswith("o1 = a i1 + b i2 + ")
    assert said.endswith("+ ae i29 + af i30")
    assert " + m i12 + ... (6 more terms) ... + u i19 + " in said
    assert "..." not in plots.anatomy(cd.Conv((1, 24), 1, kernel=24)).texts[-1].get_text()


# Chains: a figure is read back as a network and run.


def is_column(ax):
    return ax.get_aspect() != 1


def value(form, x):
    """Return what a form such as ``|x|^2`` or ``x/4`` makes of a number."""
    code = re.sub(r"\|(.*?)\|", r"abs(\1)", form.replace("x", f"({x!r})")).replace("^", "**")
    return eval(code)


def drawn_matrix(ax):
    """Return the matrix that a picture shows: its numbers, 0 where it is grey."""
    shape = ax.images[0].get_array().shape[:2]
    found = np.zeros(shape)
    written = texts(ax)
    looks = colours(ax)
    for cell, text in written.items():
        found[cell] = float(text.split("\n")[-1])
    assert {cell for cell, look in looks.items() if look != MASKED} == set(written)
    return found


def run(figure, x):
    """Return what the drawn network makes of x; drawn without numbers."""
    values = np.asarray(x, float).ravel()
    for ax in figure.axes:
        if is_column(ax):
            forms = {row: text for (row, _), text in texts(ax).items()}
            values = np.array([value(forms.get(k, "x"), v) for k, v in enumerate(values.tolist())])
        else:
            values = drawn_matrix(ax) @ values
    return values


POOLS = [
    cd.MaxPool((1, 2, 4), kernel=2),
    cd.MaxPool((2, 5), kernel=3, stride=2, padding=1),
    cd.MinPool((1, 3, 2), kernel=(3, 2)),
    cd.MaxPool((1, 5), kernel=1, stride=2),
    cd.MinPool((1, 4, 3), kernel=(2, 1), stride=2),
    cd.AvgPool((1, 4), kernel=2, stride=1, padding=1, count_include_pad=False),
    cd.AvgPool((1, 3, 3), kernel=2, stride=1),
    cd.SumPool((2, 4), kernel=2),
    cd.LpPool((1, 4), kernel=2, p=1),
    cd.LpPool((1, 4), kernel=2, p=3),
]
on_pools = pytest.mark.parametrize("pool", POOLS, ids=repr)


def drawn(shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(float)


@on_pools
def test_a_drawn_pool_pools(pool):
    figure = plots.pooling(pool)
    for seed in range(3):
        x = drawn(pool.in_shape, seed)
        assert run(figure, x) == pytest.approx(pool_loops.forward(pool, x).ravel(), rel=1e-12)


def test_another_pool_is_seen():
    x = drawn((1, 2, 4))
    largest = pool_loops.forward(POOLS[0], x).ravel()
    for other in (cd.MinPool((1, 2, 4), kernel=2), cd.AvgPool((1, 2, 4), kernel=2)):
        assert not np.allclose(run(plots.pooling(other), x), largest)
    figure = plots.pooling(POOLS[0])
    figure.axes[1].texts[0].set_text("x")  # one |x| is forgotten
    x = np.array([[[4, 5, 6, 7], [0, 1, 2, 3]]])
    assert run(plots.pooling(POOLS[0]), x).tolist() == [5, 7]
    assert run(figure, x).tolist() == [4, 7]


def flowing(figure):
    """Check the numbers of a figure against its own matrices.

    Return those that leave the last picture.
    """
    leaving = None
    for ax in figure.axes:
        if is_column(ax):
            shown = [text for _, text in sorted(texts(ax).items())]
            numbers = [re.sub(r"[|]|\^.*|/.*", "", text) for text in shown]
            if leaving is not None:
                assert [float(n) for n in numbers] == pytest.approx(leaving, rel=6e-3)
            leaving = [value(text, 0) for text in shown]
        else:
            entering = [float(t.get_text()) for t in ax.get_xticklabels()]
            if leaving is not None:
                assert entering == pytest.approx(leaving, rel=6e-3)
            leaving = (drawn_matrix(ax) @ entering).tolist()
    return leaving


@on_pools
def test_numbers_flow_through_a_pool(pool):
    x = drawn(pool.in_shape, seed=4)
    figure = plots.pooling(pool, x)
    assert is_column(figure.axes[-1])
    assert flowing(figure) == pytest.approx(pool_loops.forward(pool, x).ravel(), rel=6e-3)
    assert figure.get_suptitle() == repr(pool)


def test_a_wrong_number_that_flows_is_seen():
    figure = plots.pooling(POOLS[0], drawn((1, 2, 4)))
    column = next(ax for ax in figure.axes if is_column(ax))
    column.texts[0].set_text("77")
    with pytest.raises(AssertionError):
        flowing(figure)


def test_levels_of_a_tournament_are_named():
    titles = [ax.get_title() for ax in plots.pooling(cd.MinPool((1, 3), kernel=2, stride=1)).axes]
    assert titles == ["half sums,\nhalf differences", "|x|", "sum \u2212 |difference|"]
    assert plots.pooling(cd.MaxPool((1, 2), kernel=2)).axes[-1].get_title() == "sum + |difference|"
    selection = plots.pooling(POOLS[4], drawn((1, 4, 3)))
    assert next(ax.get_title() for ax in selection.axes if not is_column(ax)) == "selection"
    ragged = plots.pooling(POOLS[5])
    assert [ax.get_title() for ax in ragged.axes] == ["sums", "x/2"]
    assert texts(ragged.axes[1]) == {(1, 0): "x/2", (2, 0): "x/2", (3, 0): "x/2"}


W = np.array([[[[1, -2], [3, 4]]]])
DENSE = cd.Dense(np.array([[1, 0, -2, 1], [0, 3, 1, 1]]))
NETWORKS = {
    "a convolution, ReLU and max": cd.network(
        cd.TiedDense(FIRST, W), cd.ReLU(), cd.MaxPool((1, 2, 2), kernel=2)
    ),
    "LeakyReLU, Flatten and Dense": cd.network(
        cd.TiedDense(FIRST, W), cd.LeakyReLU(0.5), cd.Flatten(), DENSE
    ),
    "an average": cd.network(cd.TiedDense(FIRST, W), cd.AvgPool((1, 2, 2), kernel=2)),
    "a residual": cd.network(
        cd.Residual(
            cd.TiedDense(cd.Conv((1, 4), 1, kernel=3, padding=1), [[[2, 0, -1]]]), cd.ReLU()
        ),
        cd.ReLU(),
    ),
    "|x| first": cd.network(Abs((1, 4), axis=1, start=1, stop=3), cd.SumPool((1, 4), kernel=2)),
    "several weights in a cell": cd.network(cd.TiedDense(REFLECTED, [[[1, 2, 5]]]), cd.ReLU()),
}
on_networks = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)


@on_networks
@pytest.mark.thinned(3)
def test_a_drawn_network_computes(net):
    figure = plots.network(net)
    for seed in range(3):
        x = drawn(net.in_shape, seed)
        assert run(figure, x) == pytest.approx(net.direct().forward(x).ravel(), rel=1e-12)
    assert flowing(plots.network(net, x)) == pytest.approx(
        net.direct().forward(x).ravel(), rel=6e-3
    )


def test_a_network_with_another_weight_or_slope_is_seen():
    net, x = NETWORKS["LeakyReLU, Flatten and Dense"], drawn((1, 3, 3))
    right = net.direct().forward(x).ravel()
    assert np.allclose(run(plots.network(net), x), right)
    for w, slope in ((W + 1, 0.5), (W, 0.25)):
        wrong = cd.network(cd.TiedDense(FIRST, w), cd.LeakyReLU(slope), cd.Flatten(), DENSE)
        assert not np.allclose(run(plots.network(wrong), x), right)


def test_ties_are_drawn_in_their_colours_and_fixed_matrices_by_value():
    figure = plots.network(NETWORKS["a residual"])
    tied = next(ax for ax in figure.axes if any("\n" in text for text in texts(ax).values()))
    assert tied.get_title() == "0.0: ResidualSum\n8 x 8"
    held = {
        (r + 4, c + 4): ks
        for (r, c), ks in reading(cd.Conv((1, 4), 1, kernel=3, padding=1)).items()
    }
    looks, written = colours(tied), texts(tied)
    assert {cell: written[cell].split("\n")[0] for cell in held} == {
        c: letter(ks[0]) for c, ks in held.items()
    }
    assert {cell: looks[cell] for cell in held} == {
        cell: COLOURS[ks[0]] for cell, ks in held.items()
    }
    assert written[5, 5] == "b\n0"  # a weight of 0 is an edge
    assert {cell: written[cell] for cell in written.keys() - held.keys()} == {
        (k, k): "1" for k in range(4)
    }
    dense = plots.network(NETWORKS["LeakyReLU, Flatten and Dense"]).axes[-1]
    assert texts(dense) == {cell: str(DENSE.w[cell]) for cell in np.ndindex(2, 4)}
    for cell, look in colours(dense).items():
        red, _, blue = channels(look)
        assert DENSE.w[cell] == 0 or (blue > red) == (DENSE.w[cell] > 0)


def test_biases_are_in_the_numbers_and_in_the_title():
    net = cd.network(cd.TiedDense(FIRST, W, [100]))
    x = drawn((1, 3, 3))
    figure = plots.network(net, x)
    assert figure.axes[0].get_title() == "0: Conv, + bias\n4 x 9"
    shown = [float(text) for _, text in sorted(texts(figure.axes[1]).items())]
    assert shown == cd.convolve(FIRST, x, W, [100]).ravel().tolist()


def inches(ax):
    """Return width and height of one cell."""
    rows, cols = ax.images[0].get_array().shape[:2]
    wide, high = ax.figure.get_size_inches()
    box = ax.get_position()
    return box.width * wide / cols, box.height * high / rows


def test_cells_of_a_network_are_of_one_size_so_that_heights_match():
    axes = plots.network(NETWORKS["a residual"], drawn((1, 4))).axes
    assert {round(inches(ax)[1], 9) for ax in axes} == {0.4}
    assert {round(inches(ax)[0], 9) for ax in axes if not is_column(ax)} == {0.4}


def test_a_network_of_small_cells_has_colours_but_no_letters():
    net = cd.network(cd.Conv((1, 11, 11), 1, kernel=3), cd.ReLU(), seed=0)
    figure = plots.network(net, drawn(net.in_shape))
    assert [texts(ax) for ax in figure.axes] == [{}] * len(figure.axes)
    assert set(colours(figure.axes[0]).values()) == {*COLOURS, MASKED}
    assert "|x|" in [ax.get_title() for ax in figure.axes]


# Differences: entries are compared one by one.

WEIGHTS = np.array([[[[1.0, 2], [3, 4]]]])


def spoilt(x):
    """Return FIRST with one entry missing, one extra, one with another weight, and another bias."""
    y = cd.convolve(FIRST, x, WEIGHTS, [2.0])
    y[:, 0, 0, 0] -= 2 * x[:, 0, 0, 1]
    y[:, 0, 1, 0] += 7 * x[:, 0, 0, 2]
    y[:, 0, 0, 1] += x[:, 0, 0, 1]
    y[:, 0, 1, 1] -= 1
    return y


def bent(x):
    y = spoilt(x)
    y[:, 0, 1, 0] = abs(y[:, 0, 1, 0])
    return y


def signs_of(expected, found):
    """Return {cell: sign} by looking at every cell."""
    signs = {}
    for cell in np.ndindex(*expected.shape):
        if expected[cell] != found[cell]:
            kind = MISSING if not found[cell] else EXTRA if not expected[cell] else OTHER_WEIGHT
            signs[cell] = (kind.sign, kind.colour)
    return signs


def third(figure, n):
    """Return {cell: (sign, colour)} of the third matrix, of n pictures to each of the three."""
    ax = figure.axes[2 * n]
    return {cell: (text, colours(ax)[cell]) for cell, text in texts(ax).items()}


CASES = {  # what is recovered, and which title is expected
    "the same": (lambda x: cd.convolve(FIRST, x, WEIGHTS), None, "no difference"),
    "reversed": (
        lambda x: cd.convolve(FIRST, x, WEIGHTS[..., ::-1]),
        None,
        "0 missing, 0 extra, 16 with another weight",
    ),
    "spoilt": (spoilt, [2.0], "1 missing, 1 extra, 1 with another weight, 1 with another bias"),
    "bent": (
        bent,
        [2.0],
        "not affine at 1 of 4 outputs; beside that, 1 missing, 1 extra, 1 with another weight, "
        "1 with another bias",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.thinned(2)
def test_every_difference_is_signed_coloured_and_counted(name):
    function, bias, title = CASES[name]
    found = cd.recover(function, FIRST.in_shape, seed=0)
    figure = plots.difference(cd.TiedDense(FIRST, WEIGHTS, bias), found)
    n = 1 if bias is None else 2
    expected = np.array(
        [cd.convolve(FIRST, e.reshape(1, 3, 3), WEIGHTS).ravel() for e in np.eye(9)]
    ).T
    assert figure.get_suptitle() == title
    assert third(figure, n) == signs_of(expected, found.matrix.toarray())
    assert [ax.get_title() for ax in figure.axes[::n]] == ["expected", "found", "where they differ"]
    assert framed(figure.axes[0]) == framed(figure.axes[n]) == set(third(figure, n))
    shown = [
        {c: float(t.split("\n")[-1]) for c, t in texts(figure.axes[k * n]).items()} for k in (0, 1)
    ]
    for numbers, matrix in zip(shown, (expected, found.matrix.toarray()), strict=True):
        assert numbers == {tuple(c): matrix[tuple(c)] for c in np.argwhere(matrix).tolist()}
    signs = [sign for sign, _ in third(figure, n).values()]
    kinds = [kind for kind in (MISSING, EXTRA, OTHER_WEIGHT) if kind.sign in signs]
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels[: len(kinds)] == [
        f"{kind.sign} {kind.words}: {signs.count(kind.sign)}" for kind in kinds
    ]
    assert labels[len(kinds) :] == ["≠ with another bias: 1"] * (n == 2) + ["not affine"] * (
        name == "bent"
    )


def hatched(ax):
    return [
        patch.get_y() + 0.5
        for patch in ax.patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    ]


def test_outputs_that_are_not_affine_are_hatched():
    figure = plots.difference(
        cd.TiedDense(FIRST, WEIGHTS, [2.0]), cd.recover(bent, FIRST.in_shape, seed=0)
    )
    assert [hatched(ax) for ax in figure.axes] == [[], [], [2], [], [2], []]
    assert figure.legends[0].get_texts()[-1].get_text() == "not affine"
    straight = plots.difference(
        cd.TiedDense(FIRST, WEIGHTS, [2.0]), cd.recover(spoilt, FIRST.in_shape, seed=0)
    )
    assert [hatched(ax) for ax in straight.axes] == [[]] * 6


def test_biases_have_a_column_of_their_own():
    figure = plots.difference(
        cd.TiedDense(FIRST, WEIGHTS, [2.0]), cd.recover(spoilt, FIRST.in_shape, seed=0)
    )
    expected, found, apart = figure.axes[1::2]
    assert [ax.get_title() for ax in (expected, found, apart)] == ["bias"] * 3
    assert list(texts(expected).values()) == ["2"] * 4
    assert list(texts(found).values()) == ["2", "2", "2", "1"]
    assert texts(apart) == {(3, 0): "≠"}


def test_both_matrices_are_coloured_by_value_on_one_scale():
    figure = plots.difference(
        cd.TiedDense(FIRST, WEIGHTS, [2.0]), cd.recover(spoilt, FIRST.in_shape, seed=0)
    )
    looks = {}
    for ax in figure.axes[:4]:
        for cell, text in texts(ax).items():
            looks.setdefault(text.split("\n")[-1], set()).add(colours(ax)[cell])
    assert {number: len(seen) for number, seen in looks.items()} == dict.fromkeys("12347", 1)
    assert len(set.union(*looks.values())) == 5


def test_a_dense_layer_is_compared_too():
    found = cd.recover(lambda x: x @ np.array([[1, 2, 0], [0, 1, 3]]).T, (3,), seed=0)
    figure = plots.difference(cd.Dense([[1, 2, 0], [0, 1, 2]]), found)
    assert third(figure, 1) == {(1, 2): ("≠", COLOURS[0])}
    assert texts(figure.axes[0])[0, 2] == "0"  # free weights of 0 are edges


def test_nothing_stands_where_nothing_differs():
    figure = plots.difference(
        cd.TiedDense(FIRST, WEIGHTS),
        cd.recover(lambda x: cd.convolve(FIRST, x, WEIGHTS), FIRST.in_shape, seed=0),
    )
    assert third(figure, 1) == {}
    assert figure.legends == []
    white = {cell for cell, look in colours(figure.axes[2]).items() if look == "#FFFFFF"}
    assert white == set(reading(FIRST))


# All of them.

FIGURES = {
    **{f"anatomy of {layer!r}": lambda layer=layer: plots.anatomy(layer) for layer in LAYERS[1::2]},
    "anatomy with numbers": lambda: plots.anatomy(cd.TiedDense(FIRST, W, [5]), 1, drawn((1, 3, 3))),
    "pooling": lambda: plots.pooling(POOLS[0], drawn((1, 2, 4))),
    "ragged pooling": lambda: plots.pooling(POOLS[1], drawn((2, 5))),
    "powers": lambda: plots.pooling(POOLS[-1], drawn((1, 4))),
    "network": lambda: plots.network(NETWORKS["a convolution, ReLU and max"], drawn((1, 3, 3)) / 7),
    "residual": lambda: plots.network(NETWORKS["a residual"]),
    "difference": lambda: plots.difference(
        cd.TiedDense(FIRST, WEIGHTS, [2.0]), cd.recover(bent, FIRST.in_shape, seed=0)
    ),
}


def overlaps(figure):
    """Return which pictures lie over another, titles and names included, and what is cut off."""
    boxes = [ax.get_tightbbox().shrunk(0.98, 0.98) for ax in figure.axes]
    boxes += [text.get_window_extent() for text in figure.texts]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    found = [(i, k) for (i, a), (k, b) in combinations(enumerate(boxes), 2) if a.overlaps(b)]
    whole = figure.bbox.padded(1)
    return found + [
        i
        for i, b in enumerate(boxes)
        if not (whole.contains(b.x0, b.y0) and whole.contains(b.x1, b.y1))
    ]


@cache
def figure_of(name):
    return FIGURES[name]()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.thinned(3)
def test_nothing_lies_over_anything_and_nothing_is_cut_off(name):
    figure = figure_of(name)
    assert isinstance(figure, Figure)
    assert overlaps(figure) == []


def test_pictures_that_overlap_or_stick_out_are_seen():
    figure = FIGURES["pooling"]()
    box = figure.axes[0].get_position()
    figure.axes[0].set_position([box.x0 + 0.1, box.y0, box.width, box.height])
    assert (0, 1) in overlaps(figure)
    figure.axes[0].set_position([box.x0 - 0.2, box.y0, box.width, box.height])
    assert 0 in overlaps(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_texts_stand_out_from_their_cells(name):
    for ax in figure_of(name).axes:
        looks = colours(ax)
        for text in ax.texts:
            column, row = text.get_position()
            assert contrast(to_hex(text.get_color()), looks[row, column]) >= 4.5
            assert text.get_fontsize() >= SMALLEST_TEXT


def test_lines_of_pictures_are_not_wider_than_they_may_be():
    panels = [Panel(1, 9, "", "→" if k else "", 0.4) for k in range(8)]
    lines = wrapped(panels)
    assert [panel for line in lines for panel in line] == panels
    assert len(lines) > 1
    for line, following in pairwise(lines):
        width = sum(panel.before + panel.width for panel in line)
        assert width <= WIDEST < width + following[0].before + following[0].width
    column = Panel(1, 1, "", "=", 0.4)
    assert [
        len(line) for line in wrapped([Panel(1, 35, ""), column, Panel(1, 35, "", "→"), column])
    ] == [2, 2]


LARGE = cd.Conv((1, 11, 20), 1, kernel=(2, 9))  # 120 x 220 cells
MANY = cd.TieMap.from_index([[10_000]])
REFUSED = {
    "anatomy, cells": (
        lambda: plots.anatomy(LARGE),
        "layer: got 120 x 220 cells; needs at most 10,000 to be drawn cell by cell; "
        "look at convdense.plots.density(layer)",
    ),
    "anatomy, weights": (
        lambda: plots.anatomy(MANY),
        "layer: got 10,001 weights; needs at most 10,000 to be drawn one by one; "
        "draw a smaller layer of the same kind",
    ),
    "anatomy, x": (
        lambda: plots.anatomy(FIRST, 0, np.zeros((2, 3, 3))),
        "x: got shape (2, 3, 3); needs (1, 3, 3), one sample",
    ),
    "pooling": (
        lambda: plots.pooling(cd.SumPool((1, 400), kernel=2)),
        "layers: got matrices of 80,000 cells together; "
        "needs at most 40,000 to be drawn cell by cell; "
        "convdense.plots.density(layer) shows one large layer",
    ),
    "pooling, x": (
        lambda: plots.pooling(POOLS[7], [[1, 2, 3, 4], [1, 2, 3, np.inf]]),
        "x: got inf at (1, 3); needs finite numbers; remove NaN and infinity first",
    ),
    "network": (
        lambda: plots.network(cd.network(cd.Linear(201, 200))),
        "layers: got matrices of 40,200 cells together; "
        "needs at most 40,000 to be drawn cell by cell; "
        "convdense.plots.density(layer) shows one large layer",
    ),
    "network, type": (
        lambda: plots.network(FIRST),
        "net: got Conv; needs a Network; make one of layers with cd.network(...)",
    ),
    "difference, cells": (
        lambda: plots.difference(
            cd.Dense(np.ones((101, 100))),
            cd.recover(lambda x: x @ np.ones((100, 101)), (100,), seed=0),
        ),
        "layer: got 101 x 100 cells; needs at most 10,000 to be drawn cell by cell; "
        "look at convdense.plots.density(layer)",
    ),
    "difference, shape": (
        lambda: plots.difference(cd.Dense([[1, 2]]), cd.recover(lambda x: x, (2,), seed=0)),
        "layer: got a matrix of 1 x 2; needs 2 x 2, as found",
    ),
    "difference, type": (
        lambda: plots.difference(cd.Dense([[1, 2]]), np.ones((1, 2))),
        "found: got ndarray; needs a Recovered; give what cd.recover(function, in_shape) returns",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused_with_a_way_out(name):
    draw, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as error:
        draw()
    assert str(error.value) == message


def test_the_largest_network_that_can_be_drawn_is_drawn():
    assert len(plots.network(cd.network(cd.Linear(200, 200), seed=0)).axes) == 1


def test_a_pool_of_single_cells_is_the_identity():
    figure = plots.pooling(cd.MaxPool((1, 2), kernel=1), [[3, -5]])
    assert [list(texts(ax).values()) for ax in figure.axes] == [["1", "1"], ["3", "-5"]]


def test_coefficients_stand_before_their_factors_in_numbers():
    ties = cd.TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 0]])
    layer, x = cd.TiedDense(ties, [2.5, -3]), [1, -2, 3]
    for row, value in enumerate(layer.forward(x).tolist()):
        said = plots.anatomy(layer, row, x).texts[-1].get_text().split("\n= ")[1]
        left, right = said.split(" = ")
        assert eval(left.replace("·", "*")) == value == float(right)
    assert said == "-1/2·(-3)·1 + 0·2.5·3 = 1.5".replace("-1/2", "- 1/2")


def test_the_anatomy_of_a_layer_with_weights_shows_its_matrix_and_fades_what_is_not_used():
    layer = cd.TiedDense(cd.Conv((1, 3), 1, kernel=3, padding=1), [[[2, 0, -7]]])
    figure = plots.anatomy(layer, 0)
    _, kernel, _, whole = figure.axes
    values = layer.matrix.toarray()
    assert {cell: text.split("\n")[1] for cell, text in texts(whole).items()} == {
        cell: str(values[cell]) for cell in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2))
    }
    looks = np.asarray(kernel.images[0].get_array())[0, :, :3]
    used = [to_rgb(COLOURS[k]) for k in range(3)]
    assert np.allclose(looks[1:], used[1:])
    assert np.allclose(looks[0], 1 - 0.3 * (1 - np.array(used[0])))


def test_layers_beyond_the_tenth_are_named():
    layers = [cd.Conv((1, 2), 1, kernel=1), *[cd.ReLU()] * 10, cd.Conv((1, 2), 1, kernel=2)]
    titles = [ax.get_title() for ax in plots.network(cd.network(*layers, seed=0)).axes]
    assert [titles[0], titles[-1]] == ["0: Conv, + bias\n2 x 2", "11: Conv, + bias\n1 x 2"]
    assert "10: ReLU\n4 x 2" in titles


def test_numbers_beyond_all_bounds_are_written():
    layer = cd.TiedDense(cd.Conv((1, 2), 1, kernel=1), [[[1e200]]])
    assert list(texts(plots.anatomy(layer, 0, [[1e200, 1]]).axes[2]).values()) == ["inf", "1e+200"]
