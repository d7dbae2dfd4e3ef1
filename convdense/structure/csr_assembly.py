"""From a tie map to a stored sparse matrix: entry by entry, or by broadcast assignment over runs of equal pattern."""

from collections.abc import Iterator, Sequence
from concurrent import futures  # which imports its threads when asked for them
from dataclasses import dataclass
from itertools import product
from math import prod
from os import cpu_count
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, integer, physical_memory
from convdense.structure.axis import Axis
from convdense.structure.kronecker import expand, kron, outer, scaled
from convdense.structure.row_runs import Run, merge, runs

PLAIN_BELOW = 4_000  # entries: below this, listing them is faster than looking for runs
PLAIN_MEMORY = 9  # times the bytes of the result: what listing, sorting and summing its entries takes, measured
PIECES_LIMIT = 20_000  # products of runs: above this, so is one assignment each
SLAB = 1 << 22  # entries written by one assignment
TILE = 1 << 16  # entries of a pattern that is copied whole: what the cache close to a core holds
THREADS_FROM = 1 << 25  # bytes of the result


def index_dtype(n_entries: int, n_cols: int) -> Any:
    """Return the dtype of the indices: 64 bits from 2**31 entries or columns on.

    Examples
    --------
    >>> index_dtype(2**31 - 1, 10), index_dtype(2**31, 10), index_dtype(10, 2**31)
    (<class 'numpy.int32'>, <class 'numpy.int64'>, <class 'numpy.int64'>)
    """
    return np.int32 if max(n_entries, n_cols) < 2**31 else np.int64


def assemble_by_entries(axes: Sequence[Axis], weights: Array) -> sp.csr_array:
    """Return the matrix by listing every entry and letting SciPy sort and sum them: slow, and the
    oracle of `fast`.

    Parameters
    ----------
    axes : sequence of Axis
        The tie map.
    weights : array of prod(taps) values
        The weights in the order of the product of taps.

    Returns
    -------
    scipy.sparse.csr_array
        Canonical: sorted, no duplicates; zeros are stored, so the pattern never depends on the
        values.
    """
    shape = _shape(axes)
    entries = expand(axes)
    data = scaled(weights[entries.index], entries.coefficient)
    width = index_dtype(max(len(data), shape[0]), shape[1])
    matrix = sp.csr_array(
        (data, (entries.row.astype(width), entries.col.astype(width))), shape=shape
    )
    matrix.sum_duplicates()
    return matrix


def assemble(axes: Sequence[Axis], plan: "Plan | None", weights: Array) -> sp.csr_array:
    """Return the matrix the faster way."""
    if plan is None or plan.n_entries < PLAIN_BELOW:
        return assemble_by_entries(axes, weights)
    return fast(plan, weights)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a matrix but its weights.

    Parameters
    ----------
    axes : tuple of Axis
        The tie map as it was given.
    merged, mixing
        The same with one entry to a cell, and the matrices that make the merged taps (see `merge`).
    runs : tuple of list of Run
        The runs of each merged axis.
    """

    axes: tuple[Axis, ...]
    merged: tuple[Axis, ...]
    mixing: tuple[sp.csr_array | None, ...]
    runs: tuple[list[Run], ...]

    @property
    def n_entries(self) -> int:
        """Number of stored entries."""
        return prod(len(a) for a in self.merged)


def make_plan(axes: Sequence[Axis]) -> Plan | None:
    """Return the plan of a tie map, or None if it is too irregular to have one."""
    merged, mixing = zip(*map(merge, axes), strict=True)
    found = [runs(axis) for axis in merged]
    if any(f is None for f in found) or prod(len(f or ()) for f in found) > PIECES_LIMIT:
        return None
    return Plan(tuple(axes), merged, mixing, tuple(f or [] for f in found))


def mixed(plan: Plan, weights: Array) -> Array:
    """Return the weights, one axis per axis of the plan, with the merged taps after the others."""
    grid = weights.reshape([a.n_taps for a in plan.axes])
    for i, mixing in enumerate(plan.mixing):
        if mixing is not None:
            grid = along(i, mixing, grid)
    return grid


def along(axis: int, matrix: sp.csr_array, grid: Array) -> Array:
    """Return the matrix applied along one axis; its small numbers are exact in the grid's dtype if that is a float."""
    whole = matrix.dtype.kind in "iu"
    exact = matrix.astype(grid.dtype) if whole or grid.dtype.kind in "fc" else matrix
    moved = np.moveaxis(grid, axis, 0)
    rows = exact @ moved.reshape(len(moved), -1)
    return np.moveaxis(rows.reshape(-1, *moved.shape[1:]), 0, axis)


def fast(plan: Plan, weights: Array, threads: int | None = None) -> sp.csr_array:
    """Return the same matrix as `assemble_by_entries`, at the speed of writing it: no entry is
    looked at one by one.

    Along each axis the rows fall into a few runs with one pattern; over a product of runs all rows
    share one pattern up to an offset, and `data` and `indices` of all of them are one broadcast
    assignment each into a strided view.
    """
    grid, shape = np.ascontiguousarray(mixed(plan, weights)), _shape(plan.axes)
    width = index_dtype(plan.n_entries, shape[1])
    data, indices = np.empty(plan.n_entries, grid.dtype), np.empty(plan.n_entries, width)
    sizes = outer([np.bincount(a.rows, minlength=a.n_rows) for a in plan.merged])
    indptr = np.zeros(shape[0] + 1, width)
    np.cumsum(sizes, out=indptr[1:])

    def write(piece: tuple[Run, ...]) -> None:
        _write(plan, piece, grid, data, indices)

    pieces = (part for piece in product(*plan.runs) for part in _parts(piece))
    threads = min(cpu_count() or 1, 4) if threads is None else threads
    if threads > 1 and data.nbytes + indices.nbytes >= THREADS_FROM:
        with futures.ThreadPoolExecutor(
            threads
        ) as pool:  # NumPy releases the interpreter lock while it writes
            list(pool.map(write, pieces))
    else:
        for piece in pieces:
            write(piece)
    matrix = sp.csr_array((data, indices, indptr), shape=shape)
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def nbytes(axes: Sequence[Axis], dtype: Any) -> int:
    """Return the bytes of the stored matrix, from sizes alone; cells with several entries count
    once for each.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> nbytes(tie(Conv((64, 224, 224), out_channels=64, kernel=3, padding=1)).axes, np.dtype("float32"))
    14722400260
    """
    entries, (rows, cols) = prod(len(a) for a in axes), _shape(axes)
    width = int(np.dtype(index_dtype(entries, cols)).itemsize)
    return entries * (int(np.dtype(dtype).itemsize) + width) + (rows + 1) * width


def result_dtype(axes: Sequence[Axis], weights: Array) -> Any:
    """Return the dtype of the matrix: that of the weights, but of floats where an integer is multiplied by 1/2."""
    fractions = [
        a.coefficients.dtype
        for a in axes
        if a.coefficients is not None and a.coefficients.dtype.kind == "f"
    ]
    return np.result_type(weights, *fractions) if weights.dtype.kind in "iu" else weights.dtype


def check_size(
    axes: Sequence[Axis], dtype: Any, max_bytes: int | None, plan: "Plan | None"
) -> None:
    """Refuse a matrix larger than max_bytes, or than the physical memory, before anything is
    allocated.

    Without a plan every entry is listed and sorted on the way, which the physical memory must hold
    as well.
    """
    limit = physical_memory() if max_bytes is None else integer(max_bytes, "max_bytes", 0)
    needed = nbytes(axes, dtype) * (PLAIN_MEMORY if plan is None and max_bytes is None else 1)
    if limit is not None and needed > limit:
        do = "use ties.operator(w), which stores no matrix, or ties.blocks(w, max_bytes), block by block"
        raise MemoryError(
            complain("matrix", f"about {needed:,} bytes", f"at most max_bytes={limit:,}", do)
        )


def blocks(
    axes: Sequence[Axis], weights: Array, max_bytes: int
) -> Iterator[tuple[slice, sp.csr_array]]:
    """Yield (rows, matrix of these rows), each of at most max_bytes, by halving the first axis that
    has rows.

    What cannot be done is refused at the call, before the first block; later changes of the weights
    change nothing.
    """
    integer(max_bytes, "max_bytes", 0)
    needed = _longest_row(axes, result_dtype(axes, weights))
    if needed > max_bytes:
        raise ValueError(
            complain("max_bytes", f"{max_bytes:,}", f"at least {needed:,}, the size of one row")
        )
    return _halves(tuple(axes), weights.copy(), max_bytes, 0)


def _longest_row(axes: Sequence[Axis], dtype: Any) -> int:
    """Return the bytes of the longest row as a block of its own."""
    entries = prod(int(np.bincount(a.rows, minlength=1).max()) for a in axes)
    width = int(np.dtype(index_dtype(entries, _shape(axes)[1])).itemsize)
    return entries * (int(np.dtype(dtype).itemsize) + width) + 2 * width


def _halves(
    axes: tuple[Axis, ...], weights: Array, max_bytes: int, start: int
) -> Iterator[tuple[slice, sp.csr_array]]:
    needed, rows = nbytes(axes, result_dtype(axes, weights)), _shape(axes)[0]
    if needed <= max_bytes:
        yield slice(start, start + rows), assemble(axes, make_plan(axes), weights)
        return
    cut = next(
        i for i, a in enumerate(axes) if a.n_rows > 1
    )  # one row is small enough, as `blocks` has made sure
    n, each = axes[cut].n_rows, rows // axes[cut].n_rows
    for first, stop in ((0, n // 2), (n // 2, n)):
        part = axes[cut].between(first, stop)
        yield from _halves(
            (*axes[:cut], part, *axes[cut + 1 :]), weights, max_bytes, start + first * each
        )


def _write(plan: Plan, piece: tuple[Run, ...], grid: Array, data: Array, indices: Array) -> None:
    """Write the rows of one product of runs: views of shape (*rows of each run, *entries of each run)."""
    n, counts = [len(run.cols) for run in piece], [run.count for run in piece]
    totals = [len(a) for a in plan.merged]
    # Row (r0, r1, r2) starts at S0 T1 T2 + n0 S1 T2 + n0 n1 S2: n entries in the row, S before it,
    # T in its whole axis.
    scale = [prod(n[:i]) * prod(totals[i + 1 :]) for i in range(len(n))]
    start = sum(run.offset * s for run, s in zip(piece, scale, strict=True))
    steps = [run.offset_step * s for run, s in zip(piece, scale, strict=True)]
    inner = [prod(n[i + 1 :]) for i in range(len(n))]

    def view(array: Array) -> Array:
        size = array.itemsize
        return np.ndarray(
            (*counts, *n), array.dtype, array, start * size, [k * size for k in (*steps, *inner)]
        )

    # Rows of the last axis that follow each other are written as one where that is cheap: long
    # inner loops.
    last = counts[-1] if steps[-1] == prod(n) and counts[-1] * prod(n) <= TILE else 1
    values = _values(grid, piece)
    if last > 1 and values.shape[len(n) - 1] == 1 and last * values.size <= 4 * TILE:
        values = np.repeat(values, last, axis=len(n) - 1)
    view(data)[...] = values
    first, pattern = _columns(plan, piece, indices.dtype, last)
    np.add(first, pattern, out=view(indices))


def taps_index(piece: tuple[Run, ...]) -> tuple[Array, ...]:
    """Return the index of the weights of a piece, one array per axis, broadcast to (*rows, *entries)."""
    d = len(piece)
    index = []
    for i, run in enumerate(piece):
        rows = np.arange(run.count if run.tap_step else 1) * run.tap_step
        shape = [1] * (2 * d)
        shape[i], shape[d + i] = len(rows), len(run.taps)
        index.append((rows[:, None] + run.taps).reshape(shape))
    return tuple(index)


def _values(grid: Array, piece: tuple[Run, ...]) -> Array:
    """Return the weights of a piece, (*rows or 1 where they share them, *entries):
    ``grid[taps_index(piece)]``, faster.

    The taps of a convolution are evenly spaced along each axis, so that a strided view finds them.
    """
    spacings = [np.diff(run.taps) for run in piece]
    if not all((s == s[0]).all() for s in spacings if len(s)):
        return np.asarray(grid[taps_index(piece)])
    rows, entries = (
        [run.count if run.tap_step else 1 for run in piece],
        [len(run.taps) for run in piece],
    )
    down = [run.tap_step * s for run, s in zip(piece, grid.strides, strict=True)]
    along = [int(k[0]) * s if len(k) else 0 for k, s in zip(spacings, grid.strides, strict=True)]
    start = sum(int(run.taps[0]) * s for run, s in zip(piece, grid.strides, strict=True))
    values = np.ndarray((*rows, *entries), grid.dtype, grid, start, (*down, *along))
    return values if max(rows[1:], default=1) > 1 else np.ascontiguousarray(values)


def _columns(plan: Plan, piece: tuple[Run, ...], width: Any, last: int) -> tuple[Array, Array]:
    """Return two arrays whose broadcast sum is the columns, (*rows, *entries): where each row
    starts, and its pattern.

    The pattern has `last` rows of the last axis in it: all of them, or one.
    """
    sizes, n = [a.n_cols for a in plan.axes], [len(run.cols) for run in piece]
    steps = [(np.arange(run.count) * run.col_step).astype(width) for run in piece]
    pattern = kron([run.cols.astype(width) for run in piece], sizes).reshape(n)
    if last > 1:
        pattern = steps[-1].reshape(-1, *[1] * len(n)) + pattern  # (last, *entries)
        steps[-1] = steps[-1][:1]
    first = kron(steps, sizes).reshape(*map(len, steps), *[1] * len(n))
    return first, pattern


def _parts(piece: tuple[Run, ...]) -> Iterator[tuple[Run, ...]]:
    """Cut a product of runs along its first axes until an assignment writes about a slab."""
    entries = prod(run.count * len(run.cols) for run in piece)
    axis = next((i for i, run in enumerate(piece) if run.count > 1), None)
    if entries <= SLAB or axis is None:
        if entries:
            yield piece
        return
    run = piece[axis]
    step = max(1, run.count * SLAB // entries)
    for first in range(0, run.count, step):
        part = run.part(first, min(first + step, run.count))
        yield from _parts((*piece[:axis], part, *piece[axis + 1 :]))


def _shape(axes: Sequence[Axis]) -> tuple[int, int]:
    return prod(a.n_rows for a in axes), prod(a.n_cols for a in axes)
