"""Runs: rows of one axis that share a pattern up to an offset, so that many are written at once; taps merged."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense.structure.axis import Axis

RUNS_LIMIT = 4_096  # an axis with more runs than this is irregular: entry by entry is as good


@dataclass(frozen=True, eq=False)
class Run:
    """Rows ``start, start + step, ...`` whose entries differ by constant steps only.

    Parameters
    ----------
    start, step, count : int
        The rows.
    cols, taps : (entries,) arrays
        Sorted columns, and taps, of the first row; each further row adds `col_step` and `tap_step`
        to all of them.
    offset, offset_step : int
        Entries of the axis stored before the first row, and how many more before each further row.
    """

    start: int
    step: int
    count: int
    cols: Array
    col_step: int
    taps: Array
    tap_step: int
    offset: int
    offset_step: int

    def part(self, first: int, stop: int) -> "Run":
        """Return the rows from number `first` up to `stop` of this run."""
        return Run(
            self.start + first * self.step,
            self.step,
            stop - first,
            self.cols + first * self.col_step,
            self.col_step,
            self.taps + first * self.tap_step,
            self.tap_step,
            self.offset + first * self.offset_step,
            self.offset_step,
        )


def runs(axis: Axis) -> list[Run] | None:
    """Return the runs of an axis whose entries are sorted, one to a cell; None if there are too
    many.

    Along a convolution they are the begin border, the interior and the end border; where rows that
    share a pattern are ``stride`` apart (a transposed convolution), the runs interleave.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> axis = window(9, 9, 3, stride=1, dilation=1, begin=1, flip=False)
    >>> [(run.start, run.count, run.taps.tolist()) for run in runs(axis)]
    [(0, 1, [1, 2]), (1, 7, [0, 1, 2]), (8, 1, [0, 1])]
    """
    sizes = np.bincount(axis.rows, minlength=axis.n_rows)  # (rows,) entries of each row
    offsets = np.cumsum(sizes) - sizes
    firsts = np.minimum(
        offsets, max(len(axis) - 1, 0)
    )  # an empty row has no first entry: any will do
    if not len(axis):
        return [Run(0, 1, axis.n_rows, axis.cols, 0, axis.taps, 0, 0, 0)]
    where = np.column_stack((axis.cols[firsts], axis.taps[firsts], offsets))  # (rows, 3)
    pattern = _pattern(axis, sizes, offsets, where)
    chains = [
        c
        for c in (_chains(pattern, where, period) for period in _periods(pattern))
        if c is not None
    ]
    if not chains:
        return None
    return [_run(axis, where, sizes, chain) for chain in min(chains, key=len)]


def _pattern(axis: Axis, sizes: Array, offsets: Array, where: Array) -> Array:
    """Return (rows, 1 + 2 longest) numbers, equal for rows alike: size, columns and taps counted from the first."""
    pattern = np.full((axis.n_rows, 1 + 2 * int(sizes.max())), -1, np.intp)
    pattern[:, 0] = sizes
    place = 1 + np.arange(len(axis)) - np.repeat(offsets, sizes)  # (entries,) number within its row
    pattern[axis.rows, place] = axis.cols - np.repeat(where[:, 0], sizes)
    pattern[axis.rows, place + int(sizes.max())] = axis.taps - np.repeat(where[:, 1], sizes)
    return pattern


def _periods(pattern: Array) -> list[int]:
    """Return how far apart rows alike may be: neighbours, and the first row like the middle one."""
    middle = len(pattern) // 2
    alike = np.flatnonzero((pattern[middle + 1 :] == pattern[middle]).all(axis=1))
    return [1] if not len(alike) or alike[0] == 0 else [1, int(alike[0]) + 1]


def _chains(pattern: Array, where: Array, period: int) -> list[tuple[int, int, int]] | None:
    """Return (start, step, count) of the longest chains of rows alike, `period` apart, with constant differences."""
    n = len(pattern)
    order = np.concatenate([np.arange(first, n, period) for first in range(min(period, n))])
    here, there = order[:-1], order[1:]
    alike = (there - here == period) & (pattern[here] == pattern[there]).all(axis=1)
    steps = where[there] - where[here]  # (links, 3)
    turns = np.concatenate(([False], (steps[1:] != steps[:-1]).any(axis=1)))[: len(alike)]
    breaks = [-1]
    for link in np.flatnonzero(~alike | turns).tolist():
        if not alike[link] or link - 1 != breaks[-1]:  # a chain of one row takes any first step
            breaks.append(link)
        if len(breaks) > RUNS_LIMIT:
            return None
    edges = [*breaks, n - 1]
    return [(int(order[a + 1]), period, b - a) for a, b in pairwise(edges)]


def _run(axis: Axis, where: Array, sizes: Array, chain: tuple[int, int, int]) -> Run:
    start, step, count = chain
    col_step, tap_step, offset_step = (
        (where[start + step] - where[start]).tolist() if count > 1 else (0, 0, 0)
    )
    offset = int(where[start, 2])
    entries = slice(offset, offset + int(sizes[start]))
    return Run(
        start,
        step,
        count,
        axis.cols[entries],
        col_step,
        axis.taps[entries],
        tap_step,
        offset,
        offset_step,
    )


def merge(axis: Axis) -> tuple[Axis, sp.csr_array | None]:
    """Return an axis with one entry to a cell, sorted, all coefficients 1, and the matrix that
    makes its taps.

    The matrix is (merged taps, taps): a merged tap is the sum of the coefficients times the taps
    that meet in one cell. It is None where nothing meets, and the taps stay as they are.

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
    if axis.coefficients is None and (np.diff(axis.rows * axis.n_cols + axis.cols) > 0).all():
        return axis, None  # sorted already, as most are, and nothing meets
    order = np.lexsort((axis.taps, axis.cols, axis.rows))
    axis = axis.take(order)
    first = np.ones(len(axis), bool)  # whether an entry is the first of its cell
    first[1:] = (np.diff(axis.rows) != 0) | (np.diff(axis.cols) != 0)
    if first.all() and axis.coefficients is None:
        return axis, None
    numbers = np.ones(len(axis), np.int8) if axis.coefficients is None else axis.coefficients
    starts = np.flatnonzero(first)
    stops = np.append(starts[1:], len(axis))
    known: dict[tuple[tuple[int, Any], ...], int] = {((t, 1),): t for t in range(axis.n_taps)}
    cells = [
        known.setdefault(
            tuple(zip(axis.taps[a:b].tolist(), numbers[a:b].tolist(), strict=True)), len(known)
        )
        for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
    ]
    made = [(row, tap, number) for meeting, row in known.items() for tap, number in meeting]
    rows, taps, values = (np.array(column) for column in zip(*made, strict=True))
    mixing = sp.csr_array(
        (values.astype(numbers.dtype), (rows, taps)), shape=(len(known), axis.n_taps)
    )
    single = replace(
        axis.take(starts), taps=np.array(cells, np.intp), tap_shape=(len(known),), coefficients=None
    )
    return single, mixing
