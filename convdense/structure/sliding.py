"""An axis as windows that are all alike, over cells with their padding written out.

Border rows of a convolution have fewer entries, or other ones, than the interior. With the padded
cells written out, as zeros or as copies, every row meets them in the same pattern: few runs, and
few products, whatever the padding.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, require_memory
from convdense.structure.progressions import COL, PART, TAP, Axis, counted
from convdense.structure.row_runs import Run, regular


class Cells(NamedTuple):
    """The padded cells of an axis: the inputs in one piece, and around them zeros or copies."""

    size: int  # padded cells
    begin: int  # the first of them that holds an input
    first: int  # which input that is
    length: int  # inputs that are there, one after the other
    copied: tuple[tuple[int, int], ...] = ()  # (cell, the cell that it copies)


class Sliding(NamedTuple):
    """An axis for products: runs over padded cells, and the matrix that makes their taps."""

    runs: Sequence[Run]
    cells: Cells
    mixing: sp.csr_array | None = None  # (taps of the runs, taps of the axis); None: the same

    @property
    def n_taps(self) -> int | None:
        """Taps of the runs, where they are not those of the axis."""
        return None if self.mixing is None else self.mixing.shape[0]


def slide(axis: Axis) -> Sliding | None:
    """Return the windows of an axis; None where rows differ in more than their place.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> runs, cells, _ = slide(window(4, 4, 3, stride=1, dilation=1, begin=1, flip=False))
    >>> [(run.start, run.count, run.cols.tolist()) for run in runs], cells
    ([(0, 4, [0, 1, 2])], Cells(size=6, begin=1, first=0, length=4, copied=()))
    """
    windows = _windows(axis)
    if windows is not None:
        return windows
    found = regular(axis)
    if found is None or any(run.tap_step and run.count > 1 for run in found[2]):
        return None
    _, mixing, runs = found
    return Sliding(runs, Cells(axis.n_cols, 0, 0, axis.n_cols), mixing)


def over_cells(axis: Axis, windows: Sliding) -> Axis:
    """Return the entries of an axis with padded cells that hold copies for its inputs."""
    runs, taps = windows.runs, axis.n_taps
    # A progression for each entry of a run, (progressions,) each.
    of_run = np.repeat(np.arange(len(runs)), [len(run.cols) for run in runs])
    numbers = np.array([(run.start, run.step, run.count, run.col_step) for run in runs])
    start, step, count, col_step = numbers[of_run].T
    cols, tap = (np.concatenate([getattr(run, of) for run in runs]) for of in ("cols", "taps"))
    firsts = np.array([start, cols, tap, start * taps + tap])
    steps = np.array([step, col_step, 0 * tap, step * taps])
    return Axis(firsts, steps, count, axis.n_rows, windows.cells.size, axis.tap_shape)


def _windows(axis: Axis) -> Sliding | None:
    """Return an axis as windows, one run for each place of a row among those that repeat.

    Output o meets through tap t the cell (s o - c[t]) / u: s is the stride, u the input's dilation.
    In a transposed convolution, where u is the stride, only every u-th output meets tap t.
    """
    if axis.coefficients is not None or not len(axis.lengths) or axis.steps[TAP].any():
        return None
    row, col, tap, _ = axis.firsts  # (progressions,) each, of the first entry
    row_step, col_step, _, _ = axis.steps
    forward = (axis.lengths > 1) & (row_step > 0) & (col_step > 0)
    # Each tap by its longest progression that goes forward: there cells are inputs.
    order = np.lexsort((axis.lengths, forward, tap))
    longest = order[np.append(np.diff(tap[order]) > 0, True)]  # (taps that meet an input,)
    widest = longest[(axis.lengths * forward)[longest].argmax()]
    s = u = 1
    if forward[widest]:
        common = gcd(int(row_step[widest]), int(col_step[widest]))
        s, u = (int(n[widest]) // common for n in (col_step, row_step))
    constant = np.full(axis.n_taps, 0)
    constant[tap[longest]] = s * row[longest] - u * col[longest]  # c, (taps,)
    cell, left_over = np.divmod(s * row - constant[tap], u)
    cell_step, left_over_by_step = np.divmod(s * row_step, u)
    if left_over.any() or left_over_by_step[axis.lengths > 1].any():
        return None

    runs = _runs(axis.n_rows, tap[longest], constant[tap[longest]], s, u)
    cells = _cells(axis, cell, cell_step, runs)
    if cells is None or sum(_entries(run, cells) for run in runs) != len(axis):
        return None
    low = cells.first - cells.begin
    return Sliding([replace(run, cols=run.cols - low) for run in runs], cells)


def _runs(n_rows: int, taps: Array, constant: Array, s: int, u: int) -> list[Run]:
    """Return all rows and taps whose cell is a whole number, in or outside of the input."""
    runs = []
    for start in range(min(u, n_rows)):
        cell, left_over = np.divmod(s * start - constant, u)
        at = np.flatnonzero(left_over == 0)
        at = at[np.argsort(cell[at], kind="stable")]
        count = -(-(n_rows - start) // u)
        if len(at):
            runs.append(Run(start, u, count, cell[at], s, taps[at], 0, 0, 0))
    return runs


def _cells(axis: Axis, cell: Array, cell_step: Array, runs: Sequence[Run]) -> Cells | None:
    """Return what the cells of all runs hold, by the progressions: the input they meet there.

    `cell` is that of the first entry of each progression, and `cell_step` leads to the next. None
    if one cell would hold two inputs, or a copy of an input that is not there.
    """
    col, col_step = axis.firsts[COL], axis.steps[COL]
    itself = (cell == col) & ((cell_step == col_step) | (axis.lengths == 1))
    if not itself.any():
        return None
    last = cell + (axis.lengths - 1) * cell_step
    first, stop = int(cell[itself].min()), int(last[itself].max()) + 1
    low = min(int(run.cols[0]) for run in runs)
    high = max(int(run.cols[-1]) + (run.count - 1) * run.col_step for run in runs)

    others = np.flatnonzero(~itself)
    require_memory("copies of cells", 16 * int(axis.lengths[others].sum()), PART)
    which, number = counted(axis.lengths[others])
    of_copy = (cell[others][which] + number * cell_step[others][which]).tolist()
    inputs = (col[others][which] + number * col_step[others][which]).tolist()
    copied = dict(zip(of_copy, inputs, strict=True))
    if any(copied[at] != of for at, of in zip(of_copy, inputs, strict=True)):
        return None
    if copied and (first or stop < axis.n_cols or any(first <= at < stop for at in copied)):
        return None
    pairs = tuple((at - low, of - low) for at, of in sorted(copied.items()))
    return Cells(high + 1 - low, first - low, first, stop - first, pairs)


def _entries(run: Run, cells: Cells) -> int:
    """Return how many of a run's cells hold an input: those of the input, and the copies."""
    low = cells.first - cells.begin

    def below(bound: int) -> Array:  # rows of each tap whose cell is smaller
        return np.asarray(np.clip(-((run.cols - bound) // run.col_step), 0, run.count))

    inside = below(cells.first + cells.length) - below(cells.first)
    copies = np.array([at + low for at, _ in cells.copied], int)[:, None]  # (copies, 1)
    rows, left_over = np.divmod(copies - run.cols, run.col_step)
    met = (left_over == 0) & (rows >= 0) & (rows < run.count)
    return int(inside.sum()) + int(met.sum())


Ranges = Sequence[tuple[int, int]]  # of each axis, from one padded cell up to another


def is_inside(cells: Sequence[Cells], ranges: Ranges) -> bool:
    """Tell whether all these cells are inputs."""
    pairs = zip(cells, ranges, strict=True)
    return all(c.begin <= low and high <= c.begin + c.length for c, (low, high) in pairs)


def inside(x: Array, cells: Sequence[Cells], ranges: Ranges) -> Array:
    """Return the view of cells that are inputs, of x, (channels, *inputs of each axis, batch)."""
    moved = [c.first - c.begin for c in cells]
    parts = [slice(low + by, high + by) for by, (low, high) in zip(moved, ranges, strict=True)]
    return x[(slice(None), *parts)]


def pad(x: Array, cells: Sequence[Cells], ranges: Ranges, padded: Array) -> None:
    """Write cells, (channels, *cells of each axis, batch), of x: inputs, copies and zeros."""
    padded[...] = 0
    if not any(c.copied for c in cells):
        met = [
            (max(low, c.begin), min(high, c.begin + c.length))
            for c, (low, high) in zip(cells, ranges, strict=True)
        ]
        if all(low < high for low, high in met):
            moved = [slice(a - low, z - low) for (a, z), (low, _) in zip(met, ranges, strict=True)]
            padded[(slice(None), *moved)] = inside(x, cells, met)
        return
    held = [_held(c, *ends) for c, ends in zip(cells, ranges, strict=True)]
    channels = np.arange(len(x))
    there = np.ix_(channels, *(np.flatnonzero(of_axis >= 0) for of_axis in held))
    inputs = np.ix_(channels, *(of_axis[of_axis >= 0] for of_axis in held))
    padded[there] = x[inputs]


def _held(cells: Cells, low: int, high: int) -> Array:
    """Return the input that each cell holds, -1 for none, from one cell up to another."""
    source = np.arange(low, high) - cells.begin
    source[(source < 0) | (source >= cells.length)] = -1
    for cell, copied in cells.copied:
        if low <= cell < high:
            source[cell - low] = copied - cells.begin
    return np.where(source < 0, -1, source + cells.first)


def fold(padded: Array, cells: Sequence[Cells]) -> Array:
    """Return the adjoint of `pad`: what a copy holds is added to the cell that it copies.

    It is done in place, and where copies are all inputs are there: what is left is a view.
    """
    for axis, of_axis in enumerate(cells, start=1):
        in_front = padded.swapaxes(0, axis)
        for cell, copied in of_axis.copied:
            in_front[copied] += in_front[cell]
    return padded[(slice(None), *(slice(c.begin, c.begin + c.length) for c in cells))]
