"""The matrix of any layer, however large: every bin, and every cell of the two places."""

import sys
from functools import cache
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from convdense import Conv, ConvTranspose, Linear, LocallyConnected, SumPool, TiedDense, TieMap, tie
from convdense.display.labels import letter
from convdense.display.palette import MASKED, colour, mixed
from convdense.plots import density
from convdense.plots import density_bins as bins_module
from convdense.plots.density_bins import Bins, binned, together
from convdense.structure.weight_order import WeightOrder
from tests.strategies import calls
from tests.test_defects import plant, rewritten

density_module = sys.modules[density.__module__]  # its name in the package is the function

LAYERS = [
    Conv((1, 5, 5), 1, kernel=3),
    Conv((2, 5, 7), 3, kernel=(3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2)),
    Conv((4, 4, 3), 6, kernel=2, groups=2, padding=1),
    Conv((2, 11), 3, kernel=4),
    Conv((2, 3, 4, 5), 2, kernel=2),
    ConvTranspose((2, 3, 4), 3, kernel=(3, 2), stride=2),
    LocallyConnected((2, 4, 5), 2, kernel=(2, 3)),
    Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect"),
    Conv((2, 3, 3), 1, kernel=3, padding=3, padding_mode="circular"),
    Linear(7, 1),
    SumPool((3, 4, 6), kernel=2),
    TieMap.from_index([[2, -1, 0], [-1, -1, -1], [0, 2, 2]], [[1, 1, -1], [1, 1, 1], [0.5, 0, 2]]),
    TieMap.from_index([[0, 1, -1, 2, -1, 0]]),
]
BIG = Conv((64, 56, 56), 64, kernel=3, padding=1)
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def entry_by_entry(layer, found):
    """Count every entry in the bin whose edges enclose it."""
    expected = np.zeros((len(found.rows) - 1, len(found.cols) - 1), int)
    for slab in tie(layer).slabs(limit=1 << 16):
        places = (
            np.searchsorted(e, at, side="right") - 1 for e, at in zip(found[1:], slab, strict=False)
        )
        np.add.at(expected, tuple(places), 1)
    return expected


def of_the_matrix(layer, found):
    """Add up the matrix of ones between the edges: cells with several entries count them all."""
    ones = (
        tie(TieMap(tuple(strip(a) for a in tie(layer).axes)))
        .matrix(np.ones(flat_weights(layer), int))
        .toarray()
    )
    return np.add.reduceat(np.add.reduceat(ones, found.rows[:-1], axis=0), found.cols[:-1], axis=1)


def strip(axis):
    """Return the axis without its coefficients."""
    return type(axis).of(axis.rows, axis.cols, axis.taps, axis.n_rows, axis.n_cols, axis.tap_shape)


def flat_weights(layer):
    return tuple(n for axis in tie(layer).axes for n in axis.tap_shape)


def in_order(edges, shape, most):
    """Tell whether the edges are at most `most` runs, equal but for the last of each block."""
    sizes, total = np.diff(edges), prod(shape)
    smaller = edges[1:][sizes < sizes.max()]  # where the smaller bins end
    blocks = [prod(shape[k:]) for k in range(len(shape)) if prod(shape[k:]) >= sizes.max()]
    aligned = any(
        (smaller % block == 0).all() and len(smaller) in (0, total // block) for block in blocks
    )
    return (
        (edges[0], edges[-1]) == (0, total) and sizes.min() > 0 and len(sizes) <= most and aligned
    )


def agrees(layer, most):
    """Tell whether the bins are in order and every count is right, by both other ways."""
    ties, found = tie(layer), binned(tie(layer), most)
    return (
        in_order(found.rows, ties.out_shape, most)
        and in_order(found.cols, ties.in_shape, most)
        and np.array_equal(found.counts, entry_by_entry(layer, found))
        and np.array_equal(found.counts, of_the_matrix(layer, found))
        and found.counts.sum() == ties.n_entries
    )


@pytest.mark.parametrize("most", [1, 2, 3, 7, 10, 512])
@on_layers
def test_every_bin_counts_the_entries_between_its_edges(layer, most):
    assert agrees(layer, most)


@settings(max_examples=60, deadline=None)
@given(calls(), st.integers(1, 40))
def test_bins_of_any_layer_count_its_entries(call, most):
    assert agrees(call.layer(), most)


@on_layers
def test_with_a_bin_for_each_cell_the_counts_are_the_matrix_of_ones(layer):
    found = binned(tie(layer), 10_000)
    assert found.cells == (1, 1)
    assert not found.ragged
    expected = np.zeros(tie(layer).shape, int)
    entries = tie(layer).entries()
    np.add.at(expected, (entries.row, entries.col), 1)
    assert np.array_equal(found.counts, expected)


def test_a_layer_of_some_million_entries_is_counted_exactly():
    layer = Conv((16, 31, 29), 8, kernel=5, padding=2, stride=(1, 2))
    found = binned(tie(layer), 100)
    assert tie(layer).n_entries > 1_000_000
    assert found.ragged
    assert np.array_equal(found.counts, entry_by_entry(layer, found))


TOGETHER = [
    ((64, 56, 56), 512, [1, 7, 56]),  # 8 bins a channel
    ((64, 56, 56), 64, [1, 56, 56]),
    ((64, 56, 56), 63, [2, 56, 56]),  # 32 bins of two channels, none is smaller
    ((64, 56, 56), 1, [64, 56, 56]),
    ((3, 57, 5), 512, [1, 1, 5]),  # a row of pixels a bin rather than 3 and 2 pixels
    ((3, 57, 4), 512, [1, 1, 2]),
    ((1, 1009), 512, [1, 2]),  # a prime number: the last bin is smaller
    ((1, 1, 7), 7, [1, 1, 1]),
    ((2, 9, 9), 40, [1, 1, 9]),  # 18 rows of pixels: one even bin each rather than 5 and 4 pixels
    ((5,), 3, [2]),
]


@pytest.mark.parametrize(("sizes", "most", "parts"), TOGETHER, ids=repr)
def test_bins_follow_the_axes_and_divide_evenly_where_they_can(sizes, most, parts):
    assert together(sizes, most) == parts


def test_a_bin_has_its_size_and_smaller_ones_are_told():
    even = Bins(np.ones((2, 1), int), np.array([0, 3, 6]), np.array([0, 4]))
    assert (even.cells, even.ragged) == ((3, 4), False)
    assert Bins(even.counts, np.array([0, 3, 5]), even.cols).ragged
    assert Bins(even.counts, np.array([0, 3, 5]), even.cols).cells == (3, 4)


ODD = Conv((2, 5, 7), 3, kernel=(3, 2), padding=1)
COUNTED = bins_module._counted
BINNED = binned
PUT_TOGETHER = together
EDGES = bins_module._edges
DEFECTS = {
    "rows for columns": (
        COUNTED,
        "cut(ROW, down).cut(COL, right)",
        "cut(ROW, right).cut(COL, down)",
        "cut(COL, right).cut(ROW, down)",
    ),
    "at most one entry": (COUNTED, "parts.lengths)", "1)", "1 * parts.lengths)"),
    "bins of the other side": (
        COUNTED,
        "parts.firsts[COL] // right",
        "parts.firsts[COL] // down",
        "parts.firsts[COL][:] // right",
    ),
    "axes reversed": (
        BINNED,
        "ties.axes, down, right",
        "ties.axes[::-1], down, right",
        "ties.axes[:], down, right",
    ),
    "edges of the other side": (
        BINNED,
        "out_shape, down)",
        "in_shape, right)",
        "out_shape, down[:])",
    ),
    "edges one late": (
        EDGES,
        "np.arange(0, n, part)",
        "np.arange(part > 1, n, part)",
        "np.arange(n)[::part]",
    ),
    "bins that are no runs": (
        PUT_TOGETHER,
        "parts.append(n)",
        "parts.append(min(n, 2))",
        "parts.append(max(n, 1))",
    ),
    "too many bins": (
        PUT_TOGETHER,
        "(most // bins)",
        "max(1, most // bins + 1)",
        "int(most // bins)",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_of_the_bins_is_seen_and_its_right_neighbour_accepted(defect, monkeypatch):
    function, source, wrong, right = DEFECTS[defect]

    def all_agree():
        try:
            return all(agrees(ODD, most) for most in (5, 8, 12))
        except (ValueError, IndexError):
            return False  # bins that do not fit each other

    plant(function, source, wrong, right, monkeypatch, all_agree)


@cache
def drawn(layer):
    """Return the Axes of the whole, of the places, and of the scale."""
    whole, *places, scale = density(layer).axes
    return whole, places, scale


def place(ax):
    """Return the rows and columns, from 0, that a place says it shows."""
    texts = ax.get_title().replace(",", "").replace("\n", " ").split()
    numbers = [int(t) for t in texts if t.isdigit()]
    return range(numbers[0] - 1, numbers[1]), range(numbers[2] - 1, numbers[3])


@on_layers
def test_the_whole_shows_the_counts_and_leaves_empty_bins_out(layer):
    whole, _, scale = drawn(layer)
    (image,) = whole.images
    found, shown = binned(tie(layer), 512), image.get_array()
    assert np.array_equal(np.ma.getmaskarray(shown), found.counts == 0)
    assert np.array_equal(shown.filled(0), found.counts)
    assert to_hex(image.cmap(np.ma.masked)) == MASKED.lower()
    assert MASKED.lower() not in {
        to_hex(image.cmap(image.norm(k))) for k in (1, found.counts.max())
    }
    assert (image.norm.vmin, image.norm.vmax) == (1, max(10, found.counts.max()))
    down, right = found.cells
    assert scale.get_xlabel() == f"entries per bin of {down} x {right} cells; grey: none"


def test_the_first_row_is_at_the_top_and_the_first_column_at_the_left():
    whole, _, _ = drawn(ODD)
    assert whole.get_xlim() == (0, tie(ODD).shape[1])
    assert whole.get_ylim() == (tie(ODD).shape[0], 0)


def test_smaller_bins_are_told():
    _, _, scale = drawn(Conv((3, 1009), 2, kernel=3))
    assert (
        scale.get_xlabel()
        == "entries per bin of 4 x 10 cells (fewer at the end of a block); grey: none"
    )


def weights_in(layer, rows, cols):
    """Return {cell: weights} of a rectangle, one row of the matrix after the other."""
    found = {}
    for row in rows:
        entries = tie(layer).row(row)
        for col, k in zip(entries.col.tolist(), entries.index.tolist(), strict=True):
            if col in cols:
                found.setdefault((row - rows.start, col - cols.start), []).append(k)
    return found


LARGER = [
    Conv((4, 20, 20), 6, kernel=3, padding=1),
    Conv((8, 20, 20), 4, kernel=3, groups=4, stride=2),
    LocallyConnected((2, 14, 13), 3, kernel=3),
    ConvTranspose((4, 9, 9), 2, kernel=4, stride=2),
    Conv((2, 300), 3, kernel=5, padding=2, padding_mode="reflect"),
    Conv((1, 40, 40), 1, kernel=5),
    Conv((2, 5, 6, 7), 2, kernel=3, padding=1),
    Linear(700, 3),
]


@pytest.mark.parametrize("layer", LAYERS + LARGER, ids=repr)
def test_the_places_show_every_cell_with_its_colour_and_letters(layer):
    _, places, _ = drawn(layer)
    assert places
    for ax in places:
        rows, cols = place(ax)
        held = weights_in(layer, rows, cols)
        colours = np.asarray(ax.images[0].get_array())
        assert colours.shape == (len(rows), len(cols), 3)
        for cell in np.ndindex(*colours.shape[:2]):
            look = mixed([colour(k) for k in held[cell]]) if cell in held else MASKED
            assert to_hex(colours[cell]) == look.lower()
        texts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in ax.texts}
        if max(len(rows), len(cols)) > 12:
            assert texts == {}
        elif tie(layer).entries().coefficient is None:
            assert texts == {
                cell: "+".join(letter(k) for k in weights) for cell, weights in held.items()
            }
        else:
            assert texts.keys() == held.keys()


@pytest.mark.parametrize("layer", LARGER, ids=repr)
def test_the_second_place_is_where_blocks_meet_and_holds_something(layer):
    _, (_, meeting), _ = drawn(layer)
    (rows, cols), ties = place(meeting), tie(layer)
    first = next(i for i, n in enumerate(ties.out_shape) if n > 1)
    block = prod(ties.out_shape[first + 1 :])
    assert any(row % block == 0 for row in rows[1:])
    assert weights_in(layer, rows, cols)


@pytest.mark.parametrize("layer", LARGER, ids=repr)
def test_the_places_are_framed_on_the_whole(layer):
    whole, places, _ = drawn(layer)
    frames = [p for p in whole.patches if not p.get_fill()]
    spans = [(p.get_y(), p.get_x(), p.get_height(), p.get_width()) for p in frames]
    shown = [place(ax) for ax in places]
    assert spans == [(rows.start, cols.start, len(rows), len(cols)) for rows, cols in shown]
    assert [text.get_text() for text in whole.texts] == ["A", "B"]
    assert [text.xy for text in whole.texts] == [(cols.stop, rows.start) for rows, cols in shown]
    assert [ax.get_title()[:2] for ax in places] == ["A:", "B:"]


def test_lines_part_rows_of_pixels_thinly_and_channels_thickly():
    layer = Conv((3, 4, 5), 2, kernel=2, padding=1)  # 2 x 5 x 6 outputs
    rows, cols = (range(25, 36), range(15, 25))
    ax = Figure().subplots()
    density_module._draw_place(ax, tie(layer), (rows, cols), "B")
    across = {
        float(line.get_ydata()[0]): line.get_linewidth()
        for line in ax.lines
        if line.get_xdata()[0] == 0
    }
    down = {
        float(line.get_xdata()[0]): line.get_linewidth()
        for line in ax.lines
        if line.get_ydata()[0] == 0
    }
    assert across == {30 - 25 - 0.5: 2}
    assert down == {20 - 15 - 0.5: 2}
    ax = Figure().subplots()
    density_module._draw_place(ax, tie(layer), (range(20), range(11)), "A")
    across = {
        float(line.get_ydata()[0]): line.get_linewidth()
        for line in ax.lines
        if line.get_xdata()[0] == 0
    }
    assert across == {5.5: 0.5, 11.5: 0.5, 17.5: 0.5}


def test_a_matrix_as_small_as_a_place_is_shown_once():
    _, places, _ = drawn(Conv((1, 2), 1, kernel=2, padding=1))
    assert [ax.get_title() for ax in places] == ["A: rows 1 to 3\ncolumns 1 to 2"]


SUMMARIES = {
    BIG: (
        "200,704 x 200,704: 112,869,376 entries of 36,864 weights; "
        "99.7198% of 40,282,095,616 cells held at zero"
    ),
    LAYERS[0]: "9 x 25: 81 entries of 9 weights; 64.0000% of 225 cells held at zero",
    # two cells hold two entries each
    LAYERS[7]: "2 x 2: 6 entries of 3 weights; 0.0000% of 4 cells held at zero",
    LAYERS[-1]: "1 x 6: 4 entries of 3 weights; 33.3333% of 6 cells held at zero",
}


@pytest.mark.parametrize(("layer", "summary"), SUMMARIES.items(), ids=repr)
def test_the_figure_says_size_entries_weights_and_the_share_held_at_zero(layer, summary):
    (text,) = drawn(layer)[0].figure.texts
    assert text.get_text() == f"{layer!r}\n{summary}"


@on_layers
def test_the_share_held_at_zero_is_that_of_the_mask(layer):
    held = prod(map(density_module._count_filled, tie(layer).axes))
    assert held == len(
        {(r, c) for r, c in zip(*(part.tolist() for part in tie(layer).entries()[:2]), strict=True)}
    )


def test_a_tied_layer_is_drawn_as_its_layer():
    layer = TiedDense(LAYERS[0], np.ones(LAYERS[0].weight_shape))
    assert [t.get_text() for t in density(layer).texts] == [
        t.get_text() for t in density(LAYERS[0]).texts
    ]


SIDES = [
    (
        BIG,
        "output channel, 56 x 56 pixels each",
        ["1", "9", "17", "25", "33", "41", "49", "57"],
        28 * 56,
    ),
    (Conv((1, 5, 4), 1, kernel=3), "output row of pixels, 2 pixels each", ["1", "2", "3"], 1),
    (Conv((1, 5), 1, kernel=3), "output pixel", ["1", "2", "3"], 0.5),
    (Conv((1, 4, 4, 5), 1, kernel=3), "output slice, 2 x 3 pixels each", ["1", "2"], 3),
    (TieMap.from_index([[0], [1]]), "output", ["1", "2"], 0.5),
    (
        Linear(2, 2000),
        "output",
        ["1", "224", "447", "670", "893", "1,116", "1,339", "1,562", "1,785"],
        0.5,
    ),
]


@pytest.mark.parametrize(("layer", "name", "ticks", "first"), SIDES, ids=lambda v: repr(v)[:40])
def test_the_largest_blocks_are_numbered_along_the_sides(layer, name, ticks, first):
    whole, _, _ = drawn(layer)
    assert whole.get_ylabel() == name
    assert [t.get_text() for t in whole.get_yticklabels()] == ticks
    assert whole.get_yticks()[0] == first


@pytest.mark.parametrize("layer", [BIG, *LAYERS, *LARGER], ids=repr)
def test_every_bin_and_every_cell_is_a_whole_number_of_pixels(layer):
    whole, places, _ = drawn(layer)
    figure = whole.figure
    for ax in (whole, *places):
        down, right = ax.images[0].get_array().shape[:2]
        pixels = np.array([ax.bbox.x0, ax.bbox.y1, ax.bbox.width / right, ax.bbox.height / down])
        assert np.allclose(pixels, pixels.round(), atol=1e-6)
        assert pixels.round().min() >= 1
    assert all(ax.bbox.x1 <= figure.bbox.width and ax.bbox.y0 >= 0 for ax in figure.axes)


def part_is_right(layer):
    rows = range(30, 42)
    cols = range(34, 50)
    found = {}
    entries = density_module.rectangle(tie(layer), rows, cols)
    for row, col, k in zip(*(part.tolist() for part in entries[:3]), strict=True):
        found.setdefault((row - rows.start, col - cols.start), []).append(k)
    assert found == weights_in(layer, rows, cols)


@pytest.mark.parametrize("layer", LARGER[:-1], ids=repr)
def test_a_rectangle_holds_its_entries_and_no_others(layer):
    part_is_right(layer)


def test_a_rectangle_of_a_locally_connected_layer_needs_no_table_of_its_weights(monkeypatch):
    monkeypatch.setattr(
        WeightOrder, "table", lambda self: pytest.fail("a table as long as the weights")
    )
    assert len(density_module.rectangle(tie(LARGER[2]), range(30, 40), range(5, 50)).index)


@on_layers
def test_the_rectangle_that_is_the_whole_matrix_is_all_entries(layer):
    ties = tie(layer)
    found, entries = density_module.rectangle(ties, *map(range, ties.shape)), ties.entries()
    assert all(np.array_equal(a, b) for a, b in zip(found[:3], entries[:3], strict=True))
    assert (found.coefficient is None) == (entries.coefficient is None)
    assert found.coefficient is None or np.array_equal(found.coefficient, entries.coefficient)


WHOLE = test_the_whole_shows_the_counts_and_leaves_empty_bins_out
PLACES = test_the_places_show_every_cell_with_its_colour_and_letters
FRAMES = test_the_places_are_framed_on_the_whole
MEET = test_the_second_place_is_where_blocks_meet_and_holds_something
ALL = test_the_rectangle_that_is_the_whole_matrix_is_all_entries
PLANTED = [
    (
        density_module._draw_whole,
        "bins.counts, 0)",
        "bins.counts, 1)",
        "bins.counts, 0 + 0)",
        WHOLE,
    ),
    (
        density_module._draw_place,
        "col - cols.start)",
        "col - cols.start - 1)",
        "-cols.start + col)",
        PLACES,
    ),
    (density_module.rectangle, "< rows.stop", "<= rows.stop", "<= rows.stop - 1", part_is_right),
    (density_module.rectangle, ">= cols.start", "> cols.start", "> cols.start - 1", part_is_right),
    (density_module.rectangle, "ties.weight_order)", "None)", "ties.weight_order or None)", ALL),
    (
        density_module._occurring,
        "(numbers.stop - 1) // inner",
        "numbers.start // inner",
        "(-1 + numbers.stop) // inner",
        part_is_right,
    ),
    (
        density_module._frame_place,
        "(cols.start, rows.start)",
        "(rows.start, cols.start)",
        "(cols[0], rows[0])",
        FRAMES,
    ),
    (
        density_module._start_of_middle_block,
        "shape[first] // 2 *",
        "shape[first] // 2 + 9 +",
        "shape[first] // 2 * 1 *",
        MEET,
    ),
    (density_module._places, "row, MEETING", "row + MEETING, MEETING", "row + 0, MEETING", MEET),
]


@pytest.mark.parametrize(("function", "source", "wrong", "right", "test"), PLANTED)
def test_a_planted_defect_of_the_figure_is_seen_and_its_right_neighbour_accepted(
    function, source, wrong, right, test, monkeypatch
):
    layer = LARGER[2]  # locally connected, several channels, more columns than rows
    monkeypatch.setattr(function, "__code__", rewritten(function, source, wrong))
    drawn.cache_clear()
    with pytest.raises((AssertionError, IndexError)):
        test(layer)
    monkeypatch.undo()
    monkeypatch.setattr(function, "__code__", rewritten(function, source, right))
    drawn.cache_clear()
    test(layer)


def test_numbers_in_another_order_are_those_of_a_table():
    table = np.arange(24).reshape(2, 3, 4)  # the product's order (2, 3, 4) read as (4, 2, 3)
    moved = WeightOrder((2, 3, 4), (2, 0, 1)).weight_of(np.arange(24))
    assert np.array_equal(table.transpose(2, 0, 1).ravel()[moved], np.arange(24))
    assert np.array_equal(WeightOrder((2, 3, 4), None).weight_of(np.array([5, 7])), [5, 7])


def test_a_hundred_thousand_million_entries_are_drawn_at_once():
    """The time of a figure does not grow with the entries.

    The figures of memory and time are the benchmark's.
    """
    figure = density(Conv((512, 224, 224), 512, kernel=3, padding=1))
    assert "117,676,441,600 entries" in figure.texts[0].get_text()
