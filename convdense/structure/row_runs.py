"""Runs: rows of one axis that share a pattern up to an offset, so that many are written at once.

Before runs are looked for, `condensed` leaves out the rows in the middle of a long axis, which are
like those beside them, and `merge` leaves one entry to a cell: taps that meet in one cell, as
padding that copies cells makes them, become a tap of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense._util.frozen import Frozen, freeze
from convdense.structure.progressions import COL, ROW, TAP, Axis, joined

CONDENSED_FROM = 1 << 14  # entries or rows of an axis: shorter ones are listed as quickly
KEPT = 2  # periods of rows beside each gap: what borders do to the first and last rows, and one
RUNS_LIMIT = 4_096  # an axis with more runs than this is irregular: entry by entry is as good


@dataclass(frozen=True, eq=False)
class Run(Frozen):
    """`count` rows ``start, start + step, ...`` whose entries differ by constant steps only."""

    start: int
    step: int
    count: int
    cols: Array  # (entries,) sorted columns of the first row
    col_step: int  # what each further row adds to all of them
    taps: Array  # (entries,) taps of the first row
    tap_step: int  # as `col_step`
    offset: int  # entries of the axis stored before the first row
    offset_step: int  # how many more before each further row

    def __post_init__(self) -> None:
        freeze(self.cols)
        freeze(self.taps)

    def part(self, first: int, stop: int) -> "Run":
        """Return the rows from number `first` up to `stop` of this run."""
        return replace(
            self,
            start=self.start + first * self.step,
            count=stop - first,
            cols=self.cols + first * self.col_step,
            taps=self.taps + first * self.tap_step,
            offset=self.offset + first * self.offset_step,
        )


Piece = tuple[Run, ...]  # one run of each axis, and all combinations of their rows


def cut_piece(piece: Piece, axis: int, rows: int) -> Iterator[Piece]:
    """Yield a piece in parts of so many rows of one of its runs."""
    run = piece[axis]
    for first in range(0, run.count, rows):
        part = run.part(first, min(first + rows, run.count))
        yield (*piece[:axis], part, *piece[axis + 1 :])


class Gap(NamedTuple):
    """Rows that a condensed axis leaves out: whole periods, each like the one before it."""

    at: int  # the row, of the condensed axis, before which they stood
    period: int  # rows of one period
    periods: int  # how many are left out
    col_step: int  # what each period adds to the columns after it
    tap_step: int  # as `col_step`

    @property
    def rows(self) -> int:
        """How many rows are left out."""
        return self.period * self.periods


def regular(axis: Axis) -> tuple[Axis, sp.csr_array | None, list[Run]] | None:
    """Return an axis with one entry to a cell, the matrix of its taps (see `merge`), and its runs.

    None if it is irregular: if it has too many runs.
    """
    whole_rows = of_whole_rows(axis)
    if whole_rows is not None:
        sorted_axis, runs = whole_rows
        return sorted_axis, None, runs
    found = condensed(axis)
    if found is None:
        return None
    short, gaps = found
    single, mixing = merge(short if short.is_listed else short.by_rows())
    if mixing is not None and any(gap.tap_step for gap in gaps):  # a tap of its own in each row
        single, mixing = merge(axis)
        gaps = []
    found_runs = find_runs(single, axis.period, gaps)
    if found_runs is None:
        return None
    whole = _of_runs(found_runs, axis, single.tap_shape) if gaps else single
    return whole, mixing, found_runs


def of_whole_rows(axis: Axis) -> tuple[Axis, list[Run]] | None:
    """Return an axis in the order of its rows, and its runs, without listing entries.

    None if not each of its progressions is a row, as those of channels are.

    Examples
    --------
    >>> from convdense.structure.axis import channels
    >>> _, runs = of_whole_rows(channels(2048, 512, 2))
    >>> [(run.start, run.count, run.tap_step) for run in runs]
    [(0, 1024, 256), (1024, 1024, 256)]
    """
    if axis.n_rows <= CONDENSED_FROM and not axis.steps[COL].any():
        axis = axis.turned()
    row, col, tap, _ = axis.firsts  # (rows,) each, where all progressions are rows
    row_step, col_step, tap_step, _ = axis.steps
    is_sorted = (axis.lengths == 1) | ((row_step == 0) & (col_step > 0))
    if axis.coefficients is not None or not is_sorted.all():
        return None
    if not np.array_equal(row, np.arange(axis.n_rows)) or not axis.n_rows:
        return None
    offsets = np.cumsum(axis.lengths) - axis.lengths
    where = np.column_stack((col, tap, offsets))
    beside = axis.lengths > 1  # of a single entry the step to the next says nothing
    pattern = np.column_stack((axis.lengths, col_step * beside, tap_step * beside))
    chains = _chains(pattern, where, 1)
    if chains is None:
        return None
    runs = []
    for start, step, count in chains:
        number = np.arange(axis.lengths[start])
        cols, taps = col[start] + number * col_step[start], tap[start] + number * tap_step[start]
        to_next = where[start + step] - where[start] if count > 1 else np.zeros(3, int)
        of_cols, of_taps, of_offsets = to_next.tolist()
        offset = int(offsets[start])
        runs.append(Run(start, step, count, cols, of_cols, taps, of_taps, offset, of_offsets))
    return axis.by_rows(), runs


def condensed(axis: Axis) -> tuple[Axis, list[Gap]] | None:
    """Return a long axis without rows that are like those before and after them, and these gaps.

    Columns and taps after a gap go on as if nothing had stood in it. None if it has too many runs.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> axis = window(10**9, 10**9, 3, stride=1, dilation=1, begin=1, flip=False)
    >>> short, gaps = condensed(axis)
    >>> short.n_rows, [gap.rows for gap in gaps]
    (10, [499999995, 499999995])
    """
    if axis.is_listed or len(axis) <= CONDENSED_FROM:
        return axis, []
    # Between these rows no progression begins or ends: there all rows one period apart are alike.
    ends = axis.firsts[ROW] + (axis.lengths - 1) * axis.steps[ROW]
    first, last = np.minimum(axis.firsts[ROW], ends), np.maximum(axis.firsts[ROW], ends)
    n = axis.n_rows
    edges = sorted({0, n // 2, n, *first.tolist(), *(last + 1).tolist()})
    period = axis.period
    kept = KEPT * period

    gaps: list[Gap] = []
    parts = []
    start = left_out = cols = taps = 0  # of the rows so far
    for here, there in pairwise(edges):
        if there - here <= 2 * kept + period:
            continue
        active = (first <= here) & (last >= there - 1)
        steps = axis.steps[COL : TAP + 1, active] * (period // axis.steps[ROW, active])
        periods = (there - here - 2 * kept) // period
        if (steps != steps[:, :1]).any():  # no two rows are alike
            if periods > RUNS_LIMIT:
                return None
            continue
        col_step, tap_step = steps[:, 0].tolist() if steps.size else (0, 0)
        parts.append(axis.between(start, here + kept).moved(start - left_out, -cols, -taps))
        gaps.append(Gap(here + kept - left_out, period, periods, col_step, tap_step))
        start = here + kept + gaps[-1].rows
        left_out += gaps[-1].rows
        cols += periods * col_step
        taps += periods * tap_step
    parts.append(axis.between(start, n).moved(start - left_out, -cols, -taps))
    return replace(joined(parts), n_rows=n - left_out), gaps


def most_in_a_row(axis: Axis) -> int:
    """Return the most entries that a row has; those left out of a long axis have no more."""
    found = condensed(axis)
    return (axis if found is None else found[0]).most(ROW)


def _of_runs(runs: list[Run], axis: Axis, tap_shape: tuple[int, ...]) -> Axis:
    """Return the axis that has these runs, and the sizes of another: a progression an entry."""
    firsts, steps, lengths = [], [], []
    for run in runs:
        of_each = np.ones_like(run.cols)
        places = run.offset + np.arange(len(run.cols))
        firsts.append([run.start * of_each, run.cols, run.taps, places])
        steps.append([n * of_each for n in (run.step, run.col_step, run.tap_step, run.offset_step)])
        lengths.append(run.count * of_each)
    at, by = (np.concatenate(each, axis=1) for each in (firsts, steps))
    return Axis(at, by, np.concatenate(lengths), axis.n_rows, axis.n_cols, tap_shape)


def find_runs(axis: Axis, period: int = 1, gaps: Sequence[Gap] = ()) -> list[Run] | None:
    """Return the runs of an axis, sorted and with one entry to a cell; None if there are too many.

    Along a convolution they are the begin border, the interior and the end border; where rows that
    share a pattern are ``stride`` apart (a transposed convolution), the runs interleave. Rows
    are alike `period` apart; those left out in `gaps` belong to the runs around them.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> axis = window(9, 9, 3, stride=1, dilation=1, begin=1, flip=False)
    >>> [(run.start, run.count, run.taps.tolist()) for run in find_runs(axis)]
    [(0, 1, [1, 2]), (1, 7, [0, 1, 2]), (8, 1, [0, 1])]
    """
    if not len(axis):  # all rows are empty, and so alike
        return [Run(0, 1, axis.n_rows, axis.cols, 0, axis.taps, 0, 0, 0)]
    sizes = np.bincount(axis.rows, minlength=axis.n_rows)  # (rows,) entries of each row
    offsets = np.cumsum(sizes) - sizes  # (rows,) entries before each row

    # Where each row starts, (rows, 3): its first column, its first tap, the entries before it. An
    # empty row has no first entry and takes any: the one after it, or the last of the axis.
    firsts = np.minimum(offsets, len(axis) - 1)
    where = np.column_stack((axis.cols[firsts], axis.taps[firsts], offsets))
    pattern = _pattern(axis, sizes, offsets, where)
    middle = (axis.n_rows + sum(gap.rows for gap in gaps)) // 2
    for gap in gaps:
        middle -= gap.rows if gap.at < middle else 0
    periods = dict.fromkeys([*_periods(pattern, middle), period])
    candidates = [_chains(pattern, where, distance) for distance in periods]
    found = [chains for chains in candidates if chains is not None and _span(chains, gaps)]
    if not found:
        return None
    fewest = min(found, key=len)
    runs = [_run(axis, where, sizes, chain) for chain in fewest]
    return [_stretched(run, where, gaps) for run in runs] if gaps else runs


def _pattern(axis: Axis, sizes: Array, offsets: Array, where: Array) -> Array:
    """Return what a row looks like apart from where it starts: rows alike have equal numbers.

    Row by row: its size, its columns and its taps, both counted from the row's first and filled up
    with -1 to the longest row, (rows, 1 + 2 * longest).
    """
    longest = int(sizes.max())
    pattern = np.full((axis.n_rows, 1 + 2 * longest), -1, np.intp)
    pattern[:, 0] = sizes
    number = np.arange(len(axis)) - np.repeat(offsets, sizes)  # (entries,) number within its row
    pattern[axis.rows, 1 + number] = axis.cols - np.repeat(where[:, 0], sizes)
    pattern[axis.rows, 1 + longest + number] = axis.taps - np.repeat(where[:, 1], sizes)
    return pattern


def _periods(pattern: Array, middle: int) -> list[int]:
    """Return how far apart rows alike may be: neighbours, and the first row like the middle one."""
    alike = np.flatnonzero((pattern[middle + 1 :] == pattern[middle]).all(axis=1))
    if not len(alike) or alike[0] == 0:
        return [1]
    return [1, int(alike[0]) + 1]


def _chains(pattern: Array, where: Array, period: int) -> list[tuple[int, int, int]] | None:
    """Return the longest chains of rows alike that are `period` apart, as (start, step, count).

    From each row of a chain to the next, column, tap and offset grow by the same numbers. None
    stands for more chains than `RUNS_LIMIT`.
    """
    n = len(pattern)
    # Rows 0, period, 2 period, ..., then 1, period + 1, ...: links join neighbours in this order.
    order = np.concatenate([np.arange(first, n, period) for first in range(min(period, n))])
    here, there = order[:-1], order[1:]
    alike = (there - here == period) & (pattern[here] == pattern[there]).all(axis=1)  # (links,)
    steps = where[there] - where[here]  # (links, 3)
    turns = np.zeros(len(alike), bool)  # whether a link goes on by other steps than that before it
    turns[1:] = (steps[1:] != steps[:-1]).any(axis=1)

    # A chain ends at each of these links. A turn does not end a chain of one row, which takes any
    # first step.
    breaks = [-1]
    for link in np.flatnonzero(~alike | turns).tolist():
        if not alike[link] or link - 1 != breaks[-1]:
            breaks.append(link)
        if len(breaks) > RUNS_LIMIT:
            return None
    breaks.append(n - 1)
    return [(int(order[a + 1]), period, b - a) for a, b in pairwise(breaks)]


def _run(axis: Axis, where: Array, sizes: Array, chain: tuple[int, int, int]) -> Run:
    """Return a chain as a run: the entries of its first row, and the steps to its second."""
    start, step, count = chain
    col_step = tap_step = offset_step = 0
    if count > 1:
        col_step, tap_step, offset_step = (where[start + step] - where[start]).tolist()
    offset = int(where[start, 2])
    entries = slice(offset, offset + int(sizes[start]))
    cols, taps = axis.cols[entries], axis.taps[entries]
    return Run(start, step, count, cols, col_step, taps, tap_step, offset, offset_step)


def _span(chains: list[tuple[int, int, int]], gaps: Sequence[Gap]) -> bool:
    """Tell whether every gap lies within as many chains as stand side by side there."""
    for gap in gaps:
        spanning = sum(
            start < gap.at <= start + (count - 1) * step for start, step, count in chains
        )
        step = chains[0][1]  # of all chains
        if spanning != step or gap.rows % step:
            return False
    return True


def _stretched(run: Run, where: Array, gaps: Sequence[Gap]) -> Run:
    """Return a run of a condensed axis as that of the whole one."""
    last = run.start + (run.count - 1) * run.step
    before = [gap for gap in gaps if gap.at <= run.start]
    within = [gap for gap in gaps if run.start < gap.at <= last]
    in_period = [int(where[gap.at, 2] - where[gap.at - gap.period, 2]) for gap in before]  # entries
    return replace(
        run,
        start=run.start + sum(gap.rows for gap in before),
        count=run.count + sum(gap.rows for gap in within) // run.step,
        cols=run.cols + sum(gap.periods * gap.col_step for gap in before),
        taps=run.taps + sum(gap.periods * gap.tap_step for gap in before),
        offset=run.offset + sum(gap.periods * n for gap, n in zip(before, in_period, strict=True)),
    )


def merge(axis: Axis) -> tuple[Axis, sp.csr_array | None]:
    """Return an axis with one entry to a cell, sorted, and the matrix that makes its taps.

    The matrix is (merged taps, taps): a merged tap is the sum of the coefficients times the taps
    that meet in one cell, so that the axis needs no coefficients any more. It is None where nothing
    meets, and the taps stay as they are.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> axis = window(3, 3, 3, stride=1, dilation=1, begin=1, mode="replicate", flip=False)
    >>> merged, taps = merge(axis)
    >>> merged.taps.tolist()  # the first output reads cell 0 through taps 0 and 1: merged tap 3
    [3, 2, 0, 1, 2, 0, 4]
    >>> taps.toarray()[3].tolist()
    [1, 1, 0]
    """
    rows, cols = axis.rows, axis.cols
    further, right = rows[1:] - rows[:-1], cols[1:] - cols[:-1]
    if axis.coefficients is None and ((further > 0) | ((further == 0) & (right > 0))).all():
        return axis, None  # sorted already, as most are, and nothing meets
    axis = axis.take(np.lexsort((axis.taps, axis.cols, axis.rows)))
    first = np.ones(len(axis), bool)  # whether an entry is the first of its cell
    first[1:] = (np.diff(axis.rows) != 0) | (np.diff(axis.cols) != 0)
    if first.all() and axis.coefficients is None:
        return axis, None

    numbers = np.ones(len(axis), np.int8) if axis.coefficients is None else axis.coefficients
    starts = np.flatnonzero(first)
    bounds = [*starts.tolist(), len(axis)]
    # Combination of taps, as ((tap, coefficient), ...), -> its number. A single tap keeps its own.
    known: dict[tuple[tuple[int, float], ...], int] = {((t, 1),): t for t in range(axis.n_taps)}
    merged_taps = []  # of every cell
    for start, stop in pairwise(bounds):
        pairs = zip(axis.taps[start:stop].tolist(), numbers[start:stop].tolist(), strict=True)
        merged_taps.append(known.setdefault(tuple(pairs), len(known)))

    triples = [(row, tap, number) for terms, row in known.items() for tap, number in terms]
    rows, taps, values = (np.array(column) for column in zip(*triples, strict=True))
    shape = len(known), axis.n_taps
    mixing = sp.csr_array((values.astype(numbers.dtype), (rows, taps)), shape=shape)
    single = axis.take(starts).with_entries(
        taps=np.array(merged_taps, np.intp),
        tap_shape=(len(known),),
        coefficients=None,
    )
    return single, mixing
