"""Axes in closed form equal those listed entry by entry, and long ones cost what short ones do."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense._util import arguments
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.plots.density_bins import binned
from convdense.structure import _tie, axis, csr_assembly, progressions, row_runs
from convdense.structure.progressions import COL, ROW, TAP
from tests import listed_axes
from tests.strategies import MODES, layers
from tests.test_defects import plant

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
LONG = cd.Conv((1, 10**9), 1, 3, padding=1)


def entries(a):
    """Return sizes and entries of an axis, in order."""
    each = zip(a.rows.tolist(), a.cols.tolist(), a.taps.tolist(), strict=True)
    return a.n_rows, a.n_cols, a.tap_shape, len(a), list(each)


def both_ways(closed, listed):
    """Yield an axis and what is made of it, in closed form and from listed entries."""
    yield closed, listed
    yield (
        closed.T,
        listed.with_entries(
            rows=listed.cols, cols=listed.rows, n_rows=listed.n_cols, n_cols=listed.n_rows
        ),
    )
    yield axis.all_tied(closed), listed.with_entries(taps=0 * listed.taps, tap_shape=())
    own = listed.rows * listed.n_taps + listed.taps
    shape = (listed.n_rows, *listed.tap_shape)
    yield axis.untied(closed), listed.with_entries(taps=own, tap_shape=shape)
    yield axis.untied(closed).T, axis.untied(listed).T


def agree(closed, listed):
    """Tell whether all ways to ask an axis for something give what its listed entries give."""
    for a, b in both_ways(closed, listed):
        if entries(a) != entries(b):
            return False
        for i, numbers in ((ROW, b.rows), (COL, b.cols), (TAP, b.taps)):
            n = (b.n_rows, b.n_cols, b.n_taps)[i]
            if a.tally(i).tolist() != np.bincount(numbers, minlength=n).tolist():
                return False
            if entries(a.at(i, n // 2)) != entries(a.within(i, n // 2, n // 2 + 1)):
                return False
            for first, stop in ((0, n // 2), (n // 2, n // 2 + 1), (n // 3, n)):
                kept = b.take((numbers >= first) & (numbers < stop))
                if entries(a.within(i, first, stop)) != entries(kept):
                    return False
            if entries(a.cut(i, 2)) != entries(b):
                return False
    return True


def drawn_axes(layer):
    """Yield every axis of a layer in both ways."""
    n = _tie.window_parameters(layer)
    for closed, numbers in zip(_tie.windows(n), zip(*n, strict=True), strict=True):
        yield closed, listed_axes.window(*numbers)
    sizes = (*_tie.window_channels(layer), layer.groups)
    yield axis.channels(*sizes), listed_axes.channels(*sizes)


@settings(SETTINGS, max_examples=20)
@given(layers(max_axes=2))
def test_every_axis_of_a_layer_equals_the_listed_one(layer):
    for closed, listed in drawn_axes(layer):
        assert agree(closed, listed)
        assert entries(axis.outside(closed)) == entries(listed_axes.outside(listed))


@st.composite
def long_windows(draw):
    """Draw the numbers of a window with rows enough that some are left out."""
    mode = draw(st.sampled_from(MODES))
    kernel, stride, dilation = (draw(st.integers(1, high)) for high in (5, 4, 3))
    spread = draw(st.integers(1, 4)) if mode == "zeros" else 1
    n, begin, end = (draw(st.integers(low, high)) for low, high in ((60, 150), (-3, 40), (-2, 4)))
    length = (n - 1) * spread + 1 + begin + end - (kernel - 1) * dilation
    n_out = (length - 1) // stride + 1
    return n, n_out, kernel, stride, dilation, begin, end, mode, draw(st.booleans()), spread


def made(numbers):
    """Return a window, or channels of three numbers, in both ways."""
    if len(numbers) == 3:
        return axis.channels(*numbers), listed_axes.channels(*numbers)
    n_in, n_out, kernel, stride, dilation, begin, end, mode, flip, spread = numbers
    closed = axis.window(
        n_in,
        n_out,
        kernel,
        stride=stride,
        dilation=dilation,
        begin=begin,
        end=end,
        mode=mode,
        flip=flip,
        input_dilation=spread,
    )
    return closed, listed_axes.window(*numbers)


def fields(run):
    """Return a run; from one row there is no step to a next one."""
    steps = (run.col_step, run.tap_step, run.offset_step) if run.count > 1 else ()
    return run.start, run.step, run.count, run.cols.tolist(), run.taps.tolist(), run.offset, *steps


def same_runs(closed, listed):
    """Tell whether runs, merged entries and taps are those that the listed entries give.

    A known period may give fewer runs than the rows themselves, whose entries then are the same.
    """
    merged, mixing = row_runs.merge(listed)
    found, taps, runs = row_runs.regular(closed)
    expected = row_runs.find_runs(merged, closed.period)
    alike = (taps is None) == (mixing is None) and (taps is None or (taps != mixing).nnz == 0)
    same = list(map(fields, runs)) == list(map(fields, expected))
    return alike and same and entries(found) == entries(merged)


@pytest.fixture
def always_condensed(monkeypatch):
    monkeypatch.setattr(row_runs, "CONDENSED_FROM", 0)


@pytest.mark.usefixtures("always_condensed")
@SETTINGS
@given(long_windows())
def test_runs_of_a_long_axis_are_those_of_its_listed_entries(numbers):
    for closed, listed in both_ways(*made(numbers)):
        assert same_runs(closed, listed)


@pytest.mark.usefixtures("always_condensed")
@pytest.mark.parametrize("sizes", [(40, 30, 1), (60, 40, 2), (30, 90, 3), (40, 40, 40)], ids=str)
def test_runs_of_channels_are_those_of_their_listed_entries(sizes):
    for closed, listed in both_ways(axis.channels(*sizes), listed_axes.channels(*sizes)):
        assert same_runs(closed, listed)


SHARED = (90, 91, 3, 1, 1, 2, 1, "zeros", False, 1)
TURNED = (90, 90, 3, 1, 1, 30, 2, "reflect", True, 1)
SPREAD = (90, 88, 4, 2, 1, 3, 0, "zeros", False, 3)
CHANNELS = (12, 30, 3)
PLANTED = {
    "a row too many left out": (
        row_runs.condensed,
        "start = here + kept + gaps[-1].rows",
        "start = here + kept + gaps[-1].rows + 1",
        "start = kept + here + gaps[-1].rows",
        SHARED,
    ),
    "a step along the row taken for that to the next": (
        row_runs.of_whole_rows,
        "+ number * col_step[start]",
        "+ number * row_step[start]",
        "+ col_step[start] * number",
        CHANNELS,
    ),
    "columns after a gap not moved": (
        row_runs.condensed,
        "cols += periods * col_step",
        "cols += 0",
        "cols += col_step * periods",
        SHARED,
    ),
    "a run that ends where a gap does": (
        row_runs._stretched,
        "sum(gap.rows for gap in within) // run.step",
        "sum(gap.rows for gap in within)",
        "sum(gap.rows for gap in within) // max(1, run.step)",
        SPREAD,
    ),
    "entries before a gap forgotten": (
        row_runs._stretched,
        "sum(gap.periods * n for",
        "sum(0 * n for",
        "sum(n * gap.periods for",
        SHARED,
    ),
    "what falls as what rises": (
        progressions.Axis.within.__wrapped__,
        "falls = step < 0",
        "falls = step < step",
        "falls = 0 > step",
        TURNED,
    ),
    "the last of a range": (
        progressions.Axis.within.__wrapped__,
        "1 - np.asarray(stop)",
        "2 - np.asarray(stop)",
        "-np.asarray(stop) + 1",
        TURNED,
    ),
    "the columns of a short axis taken for its rows": (
        progressions._listed_at.__wrapped__,
        "(axis.rows, axis.cols,",
        "(axis.cols, axis.rows,",
        "(*(axis.rows, axis.cols),",
        SHARED,
    ),
    "a bin too few": (
        progressions.Axis.cut.__wrapped__,
        "np.abs(last - first) + 1",
        "np.maximum(np.abs(last - first), 1)",
        "1 + np.abs(last - first)",
        SHARED,
    ),
}


@pytest.mark.usefixtures("always_condensed")
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_seen_and_its_right_neighbour_is_not(name, monkeypatch):
    function, source, wrong, right, numbers = PLANTED[name]

    def all_agree():
        try:
            pairs = list(both_ways(*made(numbers)))
            return agree(*made(numbers)) and all(same_runs(*pair) for pair in pairs)
        except (ValueError, IndexError, TypeError):
            return False  # runs that do not fit each other

    plant(function, source, wrong, right, monkeypatch, all_agree)


def test_a_period_is_common_to_all_strides():
    closed, _ = made(SPREAD)
    assert closed.period == 3
    assert closed.T.period == 2


def test_rows_that_are_never_alike_have_no_runs_and_are_not_listed():
    """Mirrored cells go backward through one tap while another tap's go forward."""
    n = 10**5
    numbers = {"stride": 1, "dilation": 4 * n, "begin": 2 * n, "mode": "reflect", "flip": False}
    closed = axis.window(10 * n, 10 * n, 2, **numbers)
    assert row_runs.regular(closed) is None


# What costs nothing however long the axis is


def kilobytes(call):
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1000


ties = cd.tie(LONG)
CHEAP = {
    "tie": lambda: cd.tie(LONG),
    "repr": lambda: repr(cd.tie(LONG)),
    "row": lambda: ties.row(5 * 10**8),
    "column": lambda: ties.column((0, 10**9 - 1)),
    "views": lambda: [ties.T.row(7), ties.absolute, ties.bias.row(3), ties.linear],
    "block": lambda: ties.block((0,), (0,)).row(7),
    "one cell": lambda: ties.block((0, 7), (0, 8)).entries(),
    "sizes": lambda: (ties.shape, ties.weight_shape, csr_assembly.nbytes(ties.axes, "float32")),
    "plan": lambda: (csr_assembly.make_plan(ties.axes), csr_assembly.make_plan(ties.T.axes)),
    "padding": lambda: cd.tie(cd.Conv((1, 10**9), 1, 3, padding=1, padding_value=7)),
    "untied": lambda: cd.tie(cd.LocallyConnected((1, 10**9), 1, 3, padding=1)).row(10**8),
    "transposed": lambda: cd.tie(cd.ConvTranspose((1, 10**9), 1, 3, stride=2)).row(10**8),
    "circular": lambda: cd.tie(cd.Conv((1, 10**9), 1, 3, padding=1, padding_mode="circular")),
    "pool": lambda: cd.tie(cd.SumPool((1, 10**9), kernel=2)).row(10**8),
    "json": lambda: json.dumps(layer_to_plain(ties)),
    "pickle": lambda: pickle.loads(pickle.dumps(ties)),
}


@pytest.mark.parametrize("name", CHEAP)
def test_a_thousand_million_rows_take_kilobytes(name):
    CHEAP[name]()  # what is imported on the way
    assert kilobytes(CHEAP[name]) < 100


def test_a_thousand_million_rows_have_the_right_entries():
    middle = 5 * 10**8
    row = ties.row(middle)
    assert row.col.tolist() == [middle - 1, middle, middle + 1]
    assert row.index.tolist() == [0, 1, 2]
    column = ties.column(10**9 - 1)
    assert (column.row.tolist(), column.index.tolist()) == ([10**9 - 2, 10**9 - 1], [2, 1])
    assert ties.n_entries == 3 * 10**9 - 2
    (_, runs), (_, back) = (csr_assembly.make_plan(t.axes).runs for t in (ties, ties.T))
    assert [(run.start, run.count) for run in runs] == [(0, 1), (1, 10**9 - 2), (10**9 - 1, 1)]
    assert [(run.start, run.count) for run in back] == [(0, 1), (1, 10**9 - 2), (10**9 - 1, 1)]


def test_a_thousand_million_outputs_of_one_bias_are_one_run():
    runs = row_runs.regular(axis.spread(10**9, shared=True))[2]
    assert [(run.count, run.col_step, run.tap_step) for run in runs] == [(10**9, 0, 0)]


def test_a_wide_pointwise_layer_is_planned_without_its_entries():
    layer = cd.Conv((2048, 7, 7), 2048, 1)

    def plan():
        a = cd.tie(layer).axes
        return csr_assembly.make_plan(a), csr_assembly.make_plan([part.T for part in a])

    for found in plan():
        (run,) = found.runs[0]
        assert (run.start, run.count, len(run.cols)) == (0, 2048, 2048)
    assert kilobytes(plan) < 5000


def test_a_product_with_a_wide_layer_is_that_of_its_matrix():
    layer = cd.Conv((300, 2, 2), 400, 1, groups=2)
    w = np.random.default_rng(0).integers(-9, 9, layer.weight_shape).astype(float)
    x = np.random.default_rng(1).integers(-9, 9, layer.in_shape).astype(float)
    matrix = csr_assembly.assemble_by_entries(cd.tie(layer).axes, w.ravel())
    assert (cd.tie(layer).matrix(w) != matrix).nnz == 0
    assert np.array_equal(cd.tie(layer).operator(w) @ x.ravel(), matrix @ x.ravel())


def test_the_density_of_a_thousand_million_rows_is_counted():
    found = binned(ties, 512)
    assert found.counts.sum() == ties.n_entries
    small = binned(cd.tie(cd.Conv((1, 1024), 1, 3, padding=1)), 512)
    assert found.counts.shape == small.counts.shape == (512, 512)
    assert np.array_equal(found.counts > 0, small.counts > 0)
    assert "2,999,999,998 entries" in cd.plots.density(LONG).texts[0].get_text()


GIB = 10**9
ENTRIES = "needs at most 1,000,000,000, the physical memory; " + progressions.PART
REFUSED = {
    "entries": (ties.entries, f"entries: got about 95,999,999,936 bytes; {ENTRIES}"),
    "copies": (lambda: ties.copies(1), f"entries: got about 32,000,000,000 bytes; {ENTRIES}"),
    "counts": (ties.counts, f"counts: got about 32,000,000,048 bytes; {ENTRIES}"),
    "rows": (
        lambda: cd.tie(LONG).axes[1].rows,
        f"entries of an axis: got about 95,999,999,936 bytes; {ENTRIES}",
    ),
    "tally": (
        lambda: ties.axes[1].tally(ROW),
        f"counts of an axis: got about 32,000,000,000 bytes; {ENTRIES}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_before_it_is_allocated(name, monkeypatch):
    call, message = REFUSED[name]
    monkeypatch.setattr(arguments, "physical_memory", lambda: GIB)

    def refused():
        with pytest.raises(MemoryError) as found:
            call()
        assert str(found.value) == message

    refused()
    assert kilobytes(refused) < 100


def test_the_matrix_of_a_thousand_million_rows_is_refused(monkeypatch):
    monkeypatch.setattr(csr_assembly, "physical_memory", lambda: GIB)
    with pytest.raises(
        MemoryError, match=r"^matrix: got about 55,999,999,976 bytes; needs at most"
    ):
        ties.matrix(np.ones((1, 1, 3)))
    with pytest.raises(MemoryError, match=r"^matrix: got about"):
        ties.data_matrix(np.broadcast_to(1.0, (1, 10**9)))


@pytest.mark.parametrize("layer", [LONG, cd.Conv((2, 5, 4), 3, 3, groups=1, stride=2)], ids=repr)
def test_plain_data_of_long_and_short_axes_is_read_back(layer):
    data = json.loads(json.dumps(layer_to_plain(cd.tie(layer))))
    again = plain_to_layer(data)
    assert repr(again) == repr(cd.tie(layer))
    last = again.shape[0] - 1
    assert again.row(last).col.tolist() == cd.tie(layer).row(last).col.tolist()
    short = ["rows", "cols", "taps", "n_rows", "n_cols", "tap_shape", "coefficients"]
    held = ["firsts", "steps", "lengths", *short[3:]]
    assert list(data["axes"][1]) == (held if layer is LONG else short)
