"""From a tie map to a stored CSR matrix: entry by entry, or many rows at once.

Rows of a convolution's matrix look alike but for the borders: the same weights, the columns moved
on. `row_runs` finds such rows along each axis; here every combination of runs, one from each axis,
is written by one broadcast assignment into a strided view of the matrix' arrays.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures  # which imports its threads when asked for them
from dataclasses import dataclass
from itertools import product
from math import prod
from os import cpu_count
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, integer, physical_memory
from convdense.structure.axis import Axis
from convdense.structure.kronecker import (
    coefficient_dtype,
    count,
    expand,
    kron,
    matrix_shape,
    outer,
    scaled,
)
from convdense.structure.row_runs import Piece, Run, cut_piece, merge, runs

PLAIN_BELOW = 4_000  # entries: below this, listing them is faster than looking for runs
PLAIN_MEMORY = 9  # times the result's bytes: what listing, sorting and summing takes, measured
PIECES_LIMIT = 20_000  # products of runs: above this, so is one assignment each
SLAB = 1 << 22  # entries written by one assignment
TILE = 1 << 16  # entries of a pattern that is copied whole: what the cache close to a core holds
THREADS_FROM = 1 << 25  # bytes of the result


def index_dtype(n_entries: int, n_cols: int) -> type[np.int32] | type[np.int64]:
    """Return the dtype of the indices: 64 bits from 2**31 entries or columns on.

    Examples
    --------
    >>> index_dtype(2**31 - 1, 10), index_dtype(2**31, 10), index_dtype(10, 2**31)
    (<class 'numpy.int32'>, <class 'numpy.int64'>, <class 'numpy.int64'>)
    """
    return np.int32 if max(n_entries, n_cols) < 2**31 else np.int64


def assemble_by_entries(axes: Sequence[Axis], weights: Array) -> sp.csr_array:
    """Return the matrix by listing every entry and letting SciPy sort and sum them.

    Slow, and what `fast` is held against in the tests.

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
    shape = matrix_shape(axes)
    entries = expand(axes)
    data = scaled(weights[entries.index], entries.coefficient)
    width = index_dtype(max(len(data), shape[0]), shape[1])
    places = entries.row.astype(width), entries.col.astype(width)
    matrix = sp.csr_array((data, places), shape=shape)
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
    regular = tuple(of_axis for of_axis in found if of_axis is not None)
    if len(regular) < len(found) or prod(map(len, regular)) > PIECES_LIMIT:
        return None
    return Plan(tuple(axes), merged, mixing, regular)


def mixed(plan: Plan, weights: Array) -> Array:
    """Return the weights by merged tap, (merged taps of axis 0, of axis 1, ...)."""
    grid = weights.reshape([a.n_taps for a in plan.axes])
    for i, mixing in enumerate(plan.mixing):
        if mixing is not None:
            grid = along(i, mixing, grid)
    return grid


def along(axis: int, matrix: sp.csr_array | sp.csc_array, grid: Array) -> Array:
    """Return a grid of weights with a matrix of coefficients applied along one of its axes."""
    exact = matrix.astype(coefficient_dtype(matrix.dtype, grid.dtype), copy=False)
    moved = np.moveaxis(grid, axis, 0)
    rows = exact @ moved.reshape(len(moved), -1)
    return np.moveaxis(rows.reshape(-1, *moved.shape[1:]), 0, axis)


def fast(plan: Plan, weights: Array, threads: int | None = None) -> sp.csr_array:
    """Return the same matrix as `assemble_by_entries`, at the speed of writing it.

    Along each axis the rows fall into a few runs with one pattern; over a product of runs all rows
    share one pattern up to an offset, and `data` and `indices` of all of them are one broadcast
    assignment each into a strided view. No entry is looked at one by one.
    """
    grid = np.ascontiguousarray(mixed(plan, weights))
    shape = matrix_shape(plan.axes)
    width = index_dtype(plan.n_entries, shape[1])
    data = np.empty(plan.n_entries, grid.dtype)
    indices = np.empty(plan.n_entries, width)

    # The entries of a row are all combinations of entries of its rows along the axes.
    sizes = outer([np.bincount(a.rows, minlength=a.n_rows) for a in plan.merged])
    indptr = np.zeros(shape[0] + 1, width)
    np.cumsum(sizes, out=indptr[1:])

    def write(piece: Piece) -> None:
        _write(plan, piece, grid, data, indices)

    pieces = (part for piece in product(*plan.runs) for part in _parts(piece))
    if threads is None:
        threads = min(cpu_count() or 1, 4)
    if threads > 1 and data.nbytes + indices.nbytes >= THREADS_FROM:
        # NumPy releases the interpreter lock while it writes, and no two pieces share an entry.
        with futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(write, pieces))
    else:
        for piece in pieces:
            write(piece)
    matrix = sp.csr_array((data, indices, indptr), shape=shape)
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def nbytes(axes: Sequence[Axis], dtype: npt.DTypeLike) -> int:
    """Return the bytes of the stored matrix, from sizes alone.

    A cell counts once for each of its entries, so that this is an upper bound where taps meet.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> ties = tie(Conv((64, 224, 224), out_channels=64, kernel=3, padding=1))
    >>> nbytes(ties.axes, np.dtype("float32"))
    14722400260
    """
    return _csr_bytes(count(axes), *matrix_shape(axes), dtype)


def _csr_bytes(entries: int, rows: int, cols: int, dtype: npt.DTypeLike) -> int:
    """Return the bytes of `data`, `indices` and `indptr` of a CSR matrix."""
    number = np.dtype(dtype).itemsize
    index = np.dtype(index_dtype(entries, cols)).itemsize
    return entries * (number + index) + (rows + 1) * index


def result_dtype(axes: Sequence[Axis], weights: Array) -> np.dtype[Any]:
    """Return the dtype of the matrix: that of the weights, or floats where integers meet 1/2."""
    if weights.dtype.kind not in "iu":
        return weights.dtype
    coefficients = [a.coefficients.dtype for a in axes if a.coefficients is not None]
    fractions = [dtype for dtype in coefficients if dtype.kind == "f"]
    return np.result_type(weights, *fractions)


def check_size(
    axes: Sequence[Axis], dtype: npt.DTypeLike, max_bytes: int | None, plan: Plan | None
) -> None:
    """Refuse a matrix larger than max_bytes, or than the physical memory, before it is allocated.

    Without a plan every entry is listed and sorted on the way, which the physical memory must hold
    as well.
    """
    needed = nbytes(axes, dtype)
    if max_bytes is not None:
        limit: int | None = integer(max_bytes, "max_bytes", 0)
    else:
        limit = physical_memory()
        if plan is None:
            needed *= PLAIN_MEMORY
    if limit is not None and needed > limit:
        needs = f"at most max_bytes={limit:,}"
        do = (
            "use ties.operator(w), which stores no matrix, "
            "or ties.blocks(w, max_bytes), block by block"
        )
        raise MemoryError(complain("matrix", f"about {needed:,} bytes", needs, do))


def blocks(
    axes: Sequence[Axis], weights: Array, max_bytes: int
) -> Iterator[tuple[slice, sp.csr_array]]:
    """Return an iterator over (rows, matrix of these rows), each of at most max_bytes.

    What cannot be done is refused at the call, before the first block; later changes of the weights
    change nothing.
    """
    integer(max_bytes, "max_bytes", 0)
    longest_row = prod(int(np.bincount(a.rows, minlength=1).max()) for a in axes)  # its entries
    needed = _csr_bytes(longest_row, 1, matrix_shape(axes)[1], result_dtype(axes, weights))
    if needed > max_bytes:
        needs = f"at least {needed:,}, the size of one row"
        raise ValueError(complain("max_bytes", f"{max_bytes:,}", needs))
    return _halves(tuple(axes), weights.copy(), max_bytes, 0)


def _halves(
    axes: tuple[Axis, ...], weights: Array, max_bytes: int, start: int
) -> Iterator[tuple[slice, sp.csr_array]]:
    """Yield the blocks of a matrix whose first row is number `start`, halved until each fits."""
    rows = matrix_shape(axes)[0]
    if nbytes(axes, result_dtype(axes, weights)) <= max_bytes:
        yield slice(start, start + rows), assemble(axes, make_plan(axes), weights)
        return

    # One row is small enough, as `blocks` has made sure, so that an axis with several is left.
    cut = next(i for i, a in enumerate(axes) if a.n_rows > 1)
    n = axes[cut].n_rows
    each = rows // n  # rows of the matrix to one row of this axis
    for first, stop in ((0, n // 2), (n // 2, n)):
        part = axes[cut].between(first, stop)
        parts = (*axes[:cut], part, *axes[cut + 1 :])
        yield from _halves(parts, weights, max_bytes, start + first * each)


def _write(plan: Plan, piece: Piece, grid: Array, data: Array, indices: Array) -> None:
    """Write the rows of one product of runs, through views (*rows of each run, *entries of each).

    With S entries before a row in its own axis, n entries in it and T entries in its whole axis,
    row (r0, r1, r2) starts at entry ``S0 T1 T2 + n0 S1 T2 + n0 n1 S2``: before it stand all rows
    with a smaller r0, then those with the same r0 and a smaller r1, and so on.
    """
    d = len(piece)
    sizes = [len(run.cols) for run in piece]  # n
    counts = [run.count for run in piece]
    totals = [len(a) for a in plan.merged]  # T
    start = 0
    to_next_row = []
    for i, run in enumerate(piece):
        scale = prod(sizes[:i]) * prod(totals[i + 1 :])
        start += run.offset * scale
        to_next_row.append(run.offset_step * scale)
    to_next_entry = [prod(sizes[i + 1 :]) for i in range(d)]

    def view(array: Array) -> Array:
        strides = [step * array.itemsize for step in (*to_next_row, *to_next_entry)]
        offset = start * array.itemsize
        return np.ndarray((*counts, *sizes), array.dtype, array, offset, strides)

    # Inner loops of one row are short. Rows of the last axis that follow each other in memory, and
    # that are not too many, are written as one.
    entries = prod(sizes)
    adjacent = to_next_row[-1] == entries and counts[-1] * entries <= TILE
    last = counts[-1] if adjacent else 1

    values = _values(grid, piece)
    shared = values.shape[d - 1] == 1  # by all rows of the last axis
    if last > 1 and shared and last * values.size <= 4 * TILE:
        values = np.repeat(values, last, axis=d - 1)
    view(data)[...] = values
    first, pattern = _columns(plan, piece, indices.dtype, last)
    np.add(first, pattern, out=view(indices))


def taps_index(piece: Piece) -> tuple[Array, ...]:
    """Return the index of the weights of a piece in the grid: one array for each axis.

    Broadcast against each other they have the shape (*rows of each run, *entries of each run), 1
    row where the rows of a run share their weights.
    """
    d = len(piece)
    index = []
    for i, run in enumerate(piece):
        rows = np.arange(_weight_rows(run)) * run.tap_step
        shape = [1] * (2 * d)
        shape[i] = len(rows)
        shape[d + i] = len(run.taps)
        index.append((rows[:, None] + run.taps).reshape(shape))
    return tuple(index)


def _weight_rows(run: Run) -> int:
    """Return how many rows of weights a run has: one for all of its rows, or one for each."""
    return run.count if run.tap_step else 1


def _values(grid: Array, piece: Piece) -> Array:
    """Return the weights of a piece, ``grid[taps_index(piece)]``, faster.

    The taps of a convolution are evenly spaced along each axis, so that a strided view finds them.
    """
    spacings = [np.diff(run.taps) for run in piece]
    if not all((s == s[0]).all() for s in spacings if len(s)):
        return np.asarray(grid[taps_index(piece)])

    start = 0  # bytes
    to_next_row = []
    to_next_entry = []
    for run, spacing, stride in zip(piece, spacings, grid.strides, strict=True):
        start += int(run.taps[0]) * stride
        to_next_row.append(run.tap_step * stride)
        to_next_entry.append(int(spacing[0]) * stride if len(spacing) else 0)
    rows = [_weight_rows(run) for run in piece]
    entries = [len(run.taps) for run in piece]
    strides = (*to_next_row, *to_next_entry)
    values = np.ndarray((*rows, *entries), grid.dtype, grid, start, strides)

    # A view that is read again for every row is copied once, side by side.
    each_row_its_own = max(rows[1:], default=1) > 1
    return values if each_row_its_own else np.ascontiguousarray(values)


def _columns(plan: Plan, piece: Piece, width: np.dtype[Any], last: int) -> tuple[Array, Array]:
    """Return two arrays whose sum is the columns: where each row starts, and the pattern of a row.

    Broadcast they have the shape (*rows of each run, *entries of each run). The pattern has `last`
    rows of the last axis in it: all of them, or one.
    """
    sizes = [a.n_cols for a in plan.axes]
    entries = [len(run.cols) for run in piece]
    ones = [1] * len(piece)

    # The flattened column is linear in those of the axes: `kron` of both parts, added up.
    starts = [(np.arange(run.count) * run.col_step).astype(width) for run in piece]
    pattern = kron([run.cols.astype(width) for run in piece], sizes).reshape(entries)
    if last > 1:
        pattern = starts[-1].reshape(-1, *ones) + pattern  # (last, *entries)
        starts[-1] = starts[-1][:1]
    first = kron(starts, sizes).reshape(*map(len, starts), *ones)
    return first, pattern


def _parts(piece: Piece) -> Iterator[Piece]:
    """Cut a product of runs along its first axes until an assignment writes about a slab."""
    entries = prod(run.count * len(run.cols) for run in piece)
    if not entries:
        return
    axis = next((i for i, run in enumerate(piece) if run.count > 1), None)
    if entries <= SLAB or axis is None:
        yield piece
        return
    rows = max(1, piece[axis].count * SLAB // entries)
    for part in cut_piece(piece, axis, rows):
        yield from _parts(part)
