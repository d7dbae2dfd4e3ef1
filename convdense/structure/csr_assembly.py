"""From a tie map to a stored CSR matrix: entry by entry, or many rows at once.

Rows of a convolution's matrix look alike but for the borders: the same weights, the columns moved
on. `row_runs` finds such rows along each axis. A piece is a combination of runs, one from each
axis: its rows have equally many entries, at constant distances in the matrix' arrays, so that one
broadcast assignment into a strided view writes them all.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures  # loads threads only when they are used
from dataclasses import dataclass
from itertools import product
from math import prod
from os import cpu_count
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, integer, physical_memory
from convdense.structure.kronecker import (
    coefficient_dtype,
    count,
    expand,
    kron,
    matrix_shape,
    outer,
    scaled,
)
from convdense.structure.progressions import ROW, Axis
from convdense.structure.row_runs import Piece, Run, cut_piece, most_in_a_row, regular
from convdense.structure.submatrix import row_range

PLAIN_BELOW = 4_000  # entries: below this, listing them is faster than looking for runs
PLAIN_MEMORY = 9  # times the result's bytes: what listing, sorting and summing takes, measured
PIECES_LIMIT = 20_000  # above this, listing the entries is faster than one assignment each
SLAB = 1 << 22  # entries written by one assignment
TILE = 1 << 16  # entries of a pattern that is copied whole: what the cache close to a core holds
THREADS_FROM = 1 << 25  # bytes of the result
DO = "use ties.operator(w), which stores no matrix, or ties.blocks(w, max_bytes), block by block"


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

    Slow, and what `assemble_by_runs` is held against in the tests. The weights, (taps,), come in
    the order of the product of taps. The matrix is canonical: sorted, no duplicates; zeros are
    stored, so the pattern never depends on the values.
    """
    shape = matrix_shape(axes)
    entries = expand(axes)
    data = scaled(weights[entries.index], entries.coefficient)
    dtype = index_dtype(max(len(data), shape[0]), shape[1])
    places = entries.row.astype(dtype), entries.col.astype(dtype)
    matrix = sp.csr_array((data, places), shape=shape)
    matrix.sum_duplicates()
    return matrix


def assemble(axes: Sequence[Axis], plan: "Plan | None", weights: Array) -> sp.csr_array:
    """Return the matrix by runs, or by entries where it is small or too irregular for a plan."""
    if plan is None or plan.n_entries < PLAIN_BELOW:
        return assemble_by_entries(axes, weights)
    return assemble_by_runs(plan, weights)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a matrix but its weights.

    Taps that meet in a cell are one merged tap; see `merge`.
    """

    axes: tuple[Axis, ...]  # the tie map as it was given
    merged: tuple[Axis, ...]  # the same with one entry to a cell
    # which taps each merged tap of an axis adds up, (merged taps, taps); None: they are the same
    mixing: tuple[sp.csr_array | None, ...]
    runs: tuple[list[Run], ...]  # of each merged axis

    @property
    def n_entries(self) -> int:
        """Number of stored entries."""
        return prod(len(a) for a in self.merged)


def make_plan(axes: Sequence[Axis]) -> Plan | None:
    """Return the plan of a tie map, or None if it is too irregular to have one."""
    known = {axis: regular(axis) for axis in dict.fromkeys(axes)}  # a square image has two as one
    each = [found for axis in axes if (found := known[axis])]  # None: an irregular axis
    if len(each) < len(axes) or prod(len(runs) for _, _, runs in each) > PIECES_LIMIT:
        return None
    merged, mixing, runs = zip(*each, strict=True)
    return Plan(tuple(axes), merged, mixing, runs)


def weights_by_merged_tap(plan: Plan, weights: Array) -> Array:
    """Return the weights as a grid with an axis for each of the plan's, *(merged taps of each)."""
    grid = weights.reshape([a.n_taps for a in plan.axes])
    for i, mixing in enumerate(plan.mixing):
        if mixing is not None:
            grid = multiply_axis(i, mixing, grid)
    return grid


def multiply_axis(axis: int, matrix: sp.csr_array | sp.csc_array, grid: Array) -> Array:
    """Return the grid with one axis multiplied by a matrix, (new length, old length) of it."""
    # In the dtype of the weights wherever coefficients are exact in it: float32 stays float32.
    coefficients = matrix.astype(coefficient_dtype(matrix.dtype, grid.dtype), copy=False)
    in_front = np.moveaxis(grid, axis, 0)  # (old length, *the other axes)
    product_2d = coefficients @ in_front.reshape(len(in_front), -1)  # (new length, all others)
    return np.moveaxis(product_2d.reshape(-1, *in_front.shape[1:]), 0, axis)


def assemble_by_runs(plan: Plan, weights: Array, threads: int | None = None) -> sp.csr_array:
    """Return the same matrix as `assemble_by_entries`, at the speed of writing it.

    `data` and `indices` of a piece are one assignment each; no entry is looked at one by one.
    """
    grid = np.ascontiguousarray(weights_by_merged_tap(plan, weights))
    shape = matrix_shape(plan.axes)
    dtype = index_dtype(plan.n_entries, shape[1])
    data = np.empty(plan.n_entries, grid.dtype)
    indices = np.empty(plan.n_entries, dtype)

    indptr = row_starts(plan.merged, dtype)

    def write(piece: Piece) -> None:
        _write_piece(plan, piece, grid, data, indices)

    pieces = (part for piece in product(*plan.runs) for part in _cut_to_slabs(piece))
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


def row_starts(axes: Sequence[Axis], dtype: npt.DTypeLike) -> Array:
    """Return how many entries of the product stand before each of its rows, and all, (rows + 1,).

    Before row (r, q) stand ``S[r] T + n[r] S[q]``: S before a row of an axis, n in it, T in all.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> row_starts(tie(Conv((1, 3, 3), out_channels=1, kernel=2)).axes, int).tolist()
    [0, 4, 8, 12, 16]
    """
    flat, in_rows = np.zeros(2, dtype), [np.ones(1, dtype)]  # of the axes so far
    for axis in axes:
        starts, sizes = flat[:-1], outer(in_rows)[:, None]
        in_row = axis.tally(ROW).astype(dtype)
        before = np.cumsum(in_row, dtype=dtype) - in_row
        flat = np.empty(len(sizes) * axis.n_rows + 1, dtype)
        table = np.multiply(sizes, before, out=flat[:-1].reshape(len(sizes), axis.n_rows))
        table += (starts * np.asarray(len(axis), dtype))[:, None]
        in_rows.append(in_row)
    flat[-1] = count(axes)
    return flat


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
    axes: Sequence[Axis],
    dtype: npt.DTypeLike,
    max_bytes: int | None,
    plan: Plan | None,
    do: str = DO,
) -> None:
    """Refuse a matrix larger than max_bytes, or than the physical memory, before it is allocated.

    Without a plan every entry is listed and sorted on the way, which the physical memory must hold
    as well.
    """
    needed = nbytes(axes, dtype)
    limit = physical_memory() if max_bytes is None else integer(max_bytes, "max_bytes", 0)
    if max_bytes is None and plan is None:
        needed *= PLAIN_MEMORY
    if limit is not None and needed > limit:
        needs = f"at most max_bytes={limit:,}"
        raise MemoryError(complain("matrix", f"about {needed:,} bytes", needs, do))


def row_slices(
    axes: Sequence[Axis], dtype: np.dtype[Any], max_bytes: int, name: str = "max_bytes"
) -> Iterator[slice]:
    """Return an iterator over slices of rows, the matrix of each of at most max_bytes.

    What cannot be done is refused at the call, before the first.
    """
    integer(max_bytes, name, 0)
    longest_row = prod(most_in_a_row(a) for a in axes)  # its entries
    needed = _csr_bytes(longest_row, 1, matrix_shape(axes)[1], dtype)
    if needed > max_bytes:
        needs = f"at least {needed:,}, the size of one row"
        raise ValueError(complain(name, f"{max_bytes:,}", needs))
    return _halves(tuple(axes), dtype, max_bytes, 0)


def _halves(
    axes: tuple[Axis, ...], dtype: np.dtype[Any], max_bytes: int, start: int
) -> Iterator[slice]:
    """Yield the slices of a matrix whose first row is number `start`, halved until each fits."""
    rows = matrix_shape(axes)[0]
    if nbytes(axes, dtype) <= max_bytes:
        yield slice(start, start + rows)
        return

    # One row is small enough, as `row_slices` has made sure, so that an axis with several is left.
    cut = next(i for i, a in enumerate(axes) if a.n_rows > 1)
    n = axes[cut].n_rows
    middle = n // 2 * (rows // n)  # rows // n: rows of the matrix to one row of this axis
    for first, stop in ((0, middle), (middle, rows)):
        yield from _halves(row_range(axes, first, stop), dtype, max_bytes, start + first)


def _write_piece(plan: Plan, piece: Piece, grid: Array, data: Array, indices: Array) -> None:
    """Write the rows of one product of runs, through views (*rows of each run, *entries of each).

    Take three axes, and in each of them a row r with S entries before it, n in it and T in the
    whole axis. Row (r0, r1, r2) of the matrix starts at entry ``S0 T1 T2 + n0 S1 T2 + n0 n1 S2``:
    before it stand all rows with a smaller r0, then those with the same r0 and a smaller r1, and so
    on. From row to row of a run S grows by `offset_step`, so that the distances are constant.
    """
    n_axes = len(piece)
    counts = [run.count for run in piece]  # rows
    sizes = [len(run.cols) for run in piece]  # n
    totals = [len(a) for a in plan.merged]  # T
    start = 0  # in entries, as the steps
    to_next_row = []
    for i, run in enumerate(piece):
        factor_of_s = prod(sizes[:i]) * prod(totals[i + 1 :])
        start += run.offset * factor_of_s
        to_next_row.append(run.offset_step * factor_of_s)
    to_next_entry = [prod(sizes[i + 1 :]) for i in range(n_axes)]

    def view(array: Array) -> Array:
        shape = (*counts, *sizes)
        strides = [step * array.itemsize for step in (*to_next_row, *to_next_entry)]
        offset = start * array.itemsize
        return np.ndarray(shape, array.dtype, buffer=array, offset=offset, strides=strides)

    # NumPy's innermost loop runs over one row, which is short, if the right-hand side is broadcast
    # along the rows. Where rows of the last axis follow each other in memory, and are not too many,
    # the right-hand side holds all of them, and one loop runs over them.
    entries = prod(sizes)
    adjacent = to_next_row[-1] == entries and counts[-1] * entries <= TILE
    held_rows = counts[-1] if adjacent else 1  # rows of the last axis

    values = weights_of_piece(grid, piece)  # (*rows of each run, or 1, *entries of each)
    is_shared = values.shape[n_axes - 1] == 1  # by all rows of the last axis
    if held_rows > 1 and is_shared and held_rows * values.size <= 4 * TILE:
        values = np.repeat(values, held_rows, axis=n_axes - 1)
    view(data)[...] = values
    first, pattern = _columns_of_piece(plan, piece, indices.dtype, held_rows)
    np.add(first, pattern, out=view(indices))


def taps_index(piece: Piece) -> tuple[Array, ...]:
    """Return the index of the weights of a piece in the grid: one array for each axis.

    Broadcast against each other they have the shape (*rows of each run, *entries of each run), 1
    row where the rows of a run share their weights.
    """
    n_axes = len(piece)
    index = []
    for i, run in enumerate(piece):
        tap_shifts = np.arange(_weight_rows(run)) * run.tap_step  # (rows,)
        taps = tap_shifts[:, None] + run.taps  # (rows, entries)
        shape = [1] * (2 * n_axes)
        shape[i] = len(tap_shifts)
        shape[n_axes + i] = len(run.taps)
        index.append(taps.reshape(shape))
    return tuple(index)


def _weight_rows(run: Run) -> int:
    """Return how many rows of weights a run has: one for all of its rows, or one for each."""
    return run.count if run.tap_step else 1


def weights_of_piece(grid: Array, piece: Piece) -> Array:
    """Return the weights of a piece, ``grid[taps_index(piece)]``, faster.

    The taps of a convolution are evenly spaced along each axis, so that a strided view finds them.
    """
    spacings = [np.diff(run.taps) for run in piece]
    even = [(spacing == spacing[:1]).all() for spacing in spacings]  # as a single tap is
    if not all(even):
        return np.asarray(grid[taps_index(piece)])

    start = 0  # in bytes, as the steps
    to_next_row = []
    to_next_entry = []
    for run, spacing, stride in zip(piece, spacings, grid.strides, strict=True):
        start += int(run.taps[0]) * stride
        to_next_row.append(run.tap_step * stride)
        to_next_entry.append(int(spacing[0]) * stride if len(spacing) else 0)
    rows = [_weight_rows(run) for run in piece]
    shape = (*rows, *(len(run.taps) for run in piece))
    strides = (*to_next_row, *to_next_entry)
    values = np.ndarray(shape, grid.dtype, buffer=grid, offset=start, strides=strides)

    # Weights that all positions (axes 1, 2, ... of a convolution) share are read again at each of
    # them, and so are copied side by side first. An untied layer reads each weight once.
    is_untied = any(n > 1 for n in rows[1:])
    return values if is_untied else np.ascontiguousarray(values)


def _columns_of_piece(
    plan: Plan, piece: Piece, dtype: np.dtype[Any], held_rows: int
) -> tuple[Array, Array]:
    """Return two arrays whose sum is the columns: where each row starts, and the pattern of a row.

    Broadcast they have the shape (*rows of each run, *entries of each run). The pattern holds
    `held_rows` rows of the last axis: all of them, or one.
    """
    sizes = [a.n_cols for a in plan.axes]
    entries = [len(run.cols) for run in piece]
    ones = [1] * len(piece)

    # Along an axis the column of an entry is ``row * col_step + cols[entry]``. Flattening is linear
    # in the columns of the axes, so that `kron` flattens the two terms apart.
    starts = [(np.arange(run.count) * run.col_step).astype(dtype) for run in piece]
    pattern = kron([run.cols.astype(dtype) for run in piece], sizes).reshape(entries)
    if held_rows > 1:
        # A column of the last axis counts once in the flattened one: its starts may change over.
        pattern = starts[-1].reshape(-1, *ones) + pattern  # (rows of the last run, *entries)
        starts[-1] = np.zeros(1, dtype)
    row_counts = [len(of_axis) for of_axis in starts]
    first = kron(starts, sizes).reshape(*row_counts, *ones)
    return first, pattern


def _cut_to_slabs(piece: Piece) -> Iterator[Piece]:
    """Cut a product of runs along its first axes until an assignment writes about a slab."""
    entries = prod(run.count * len(run.cols) for run in piece)
    if not entries:
        return
    axis = next((i for i, run in enumerate(piece) if run.count > 1), None)
    if entries <= SLAB or axis is None:
        yield piece
        return
    entries_per_row = entries // piece[axis].count  # of all rows that share this row of the axis
    rows = max(1, SLAB // entries_per_row)
    for part in cut_piece(piece, axis, rows):
        yield from _cut_to_slabs(part)
