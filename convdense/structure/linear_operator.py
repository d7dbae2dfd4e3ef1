"""Products with the matrix, its adjoint and the tied gradient, without storing the matrix.

Where the rows of a combination of runs (see `csr_assembly`) share their weights, their inputs are
gathered side by side (im2col) and multiplied with these weights: one small matrix product each.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from convdense._util.arguments import Array
from convdense.structure.axis import Axis
from convdense.structure.csr_assembly import (
    Plan,
    assemble,
    check_size,
    make_plan,
    multiply_axis,
    nbytes,
    result_dtype,
    taps_index,
    weights_by_merged_tap,
)
from convdense.structure.kronecker import matrix_shape
from convdense.structure.row_runs import Piece, Run, cut_piece

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

BUFFER = 1 << 24  # bytes of inputs gathered for a product: few, each large enough for its threads
STORED_BELOW = 1 << 23  # bytes of a matrix so small that one product with it beats many small ones
STORED_UP_TO = 1 << 30  # bytes of a matrix that is stored because products with it are faster

# Microseconds, roughly: of one product of a piece, of gathering one of its entries, and, twice, of
# one entry in a product with the stored matrix, which so has to be faster by a clear margin.
PIECE = 30.0
COPY = 1.0
STORED_ENTRY = 2e-3


def operator(axes: Sequence[Axis], plan: Plan | None, weights: Array) -> "LinearOperator":
    """Return the matrix as a LinearOperator, stored where not storing it gains nothing.

    That is so for small, irregular and untied ones, and for those in so many pieces (a large kernel
    on one channel, many groups) that the stored product is faster.
    """
    from scipy.sparse.linalg import LinearOperator, aslinearoperator  # noqa: PLC0415  (0.1 s, only here)

    back = make_plan([a.T for a in axes])
    dtype = result_dtype(axes, weights)
    if plan is None or back is None or _better_stored(plan, back, nbytes(axes, dtype)):
        check_size(axes, dtype, None, plan)
        return aslinearoperator(assemble(axes, plan, weights))
    grid = weights_by_merged_tap(plan, weights)
    adjoint_grid = weights_by_merged_tap(back, weights.conj())
    times = partial(_times, plan, grid)
    adjoint_times = partial(_times, back, adjoint_grid)
    return LinearOperator(
        matrix_shape(axes),
        matvec=times,
        matmat=times,
        rmatvec=adjoint_times,
        rmatmat=adjoint_times,
        dtype=grid.dtype,
    )


def _better_stored(plan: Plan, back: Plan, size: int) -> bool:
    """Tell whether the matrix, of this many bytes, is better stored."""
    if size < STORED_BELOW or not (is_regular(plan) and is_regular(back)):
        return True
    if size > STORED_UP_TO:
        return False
    overhead = max(_microseconds(plan), _microseconds(back))
    return overhead > STORED_ENTRY * plan.n_entries


def _microseconds(plan: Plan) -> float:
    """Return what a product costs beside its arithmetic."""
    pieces = prod(len(runs) for runs in plan.runs)
    # For each run of axis 0, the entries of all combinations of the other axes' runs are gathered.
    entries = [sum(len(run.cols) for run in runs) for runs in plan.runs[1:]]
    copies = len(plan.runs[0]) * prod(entries)
    return PIECE * pieces + COPY * copies


def _times(plan: Plan, grid: Array, columns: Array) -> Array:
    """Return the product with columns of shape (inputs, batch), or (inputs,)."""
    sizes = [a.n_cols for a in plan.axes]
    batch = prod(columns.shape[1:])
    y = multiply(plan, grid, columns.reshape(*sizes, batch))
    return y.reshape(matrix_shape(plan.axes)[0], *columns.shape[1:])


def is_regular(plan: Plan) -> bool:
    """Tell whether all axes of a plan but the first share their weights between rows.

    Then rows of one product of runs that differ along these axes meet the same weights, and one
    matrix product serves all of them.
    """
    positions = [run for of_axis in plan.runs[1:] for run in of_axis]
    return all(run.tap_step == 0 or run.count == 1 for run in positions)


def multiply(plan: Plan, grid: Array, x: Array) -> Array:
    """Return ``W x`` for columns x of shape (*inputs of each axis, batch).

    The result has the shape (*outputs of each axis, batch). Over a product of runs the same
    weights, a matrix (outputs of axis 0, entries), meet inputs that are gathered side by side,
    (entries, positions and batch): im2col, one piece at a time.
    """
    sizes = [a.n_rows for a in plan.axes]
    y = np.zeros((*sizes, x.shape[-1]), np.result_type(grid, x))
    for piece, rows, gathered in _gathered(plan, x, batch_at=-1):
        entries = prod(len(run.cols) for run in piece)
        weights = grid[taps_index(piece)].reshape(-1, entries)  # (outputs or 1, entries)
        own = gathered.ndim == 3  # every output of axis 0 has inputs of its own
        # (outputs, 1, positions and batch), or (outputs or 1, positions and batch): where rows of
        # axis 0 are all alike, one output stands for all of them and is broadcast.
        products = weights[:, None, :] @ gathered if own else weights @ gathered
        y[rows] = products.reshape(len(products), *y[rows].shape[1:])
    return y


def gradient(plan: Plan, x: Array, dy: Array) -> Array:
    """Return the tied gradient, flattened in the order of the product of taps.

    Every output o that reads input i through tap t adds ``dy[o] x[i]`` to the gradient of t. Over a
    product of runs that is one matrix product of upstream gradients and gathered inputs, summed
    over positions and batch. x, conjugated, and dy are (batch, *axes).
    """
    x = x.swapaxes(0, 1)  # (axis 0, batch, *other axes)
    dy = dy.swapaxes(0, 1)
    grid = np.zeros([a.n_taps for a in plan.merged], np.result_type(x, dy))
    for piece, rows, gathered in _gathered(plan, x, batch_at=1):
        first, *positions = rows
        upstream = dy[(first, slice(None), *positions)]
        upstream = upstream.reshape(piece[0].count, -1)  # (outputs, batch and positions)
        inputs = gathered.swapaxes(-1, -2)  # (batch and positions, entries), or for each output
        own = gathered.ndim == 3  # every output of axis 0 has inputs of its own
        # (outputs, entries), summed over positions and batch
        tied = (upstream[:, None, :] @ inputs)[:, 0] if own else upstream @ inputs
        if piece[0].tap_step == 0:  # all outputs of axis 0 share these weights
            tied = tied.sum(axis=0, keepdims=True, dtype=grid.dtype)
        _add_at(grid, taps_index(piece), tied)

    for i, mixing in enumerate(plan.mixing):
        if mixing is not None:
            grid = multiply_axis(i, mixing.T, grid)  # the adjoint of `weights_by_merged_tap`
    return grid.ravel()


def _add_at(grid: Array, index: tuple[Array, ...], values: Array) -> None:
    """Add values to the grid at an index as `taps_index` makes it."""
    values = values.reshape(np.broadcast_shapes(*(of_axis.shape for of_axis in index)))
    if all(len(np.unique(of_axis)) == of_axis.size for of_axis in index):
        grid[index] += values
    else:  # a weight occurs twice, where += would keep one of its values
        np.add.at(grid, index, values)


def _gathered(
    plan: Plan, x: Array, batch_at: int
) -> Iterator[tuple[Piece, tuple[slice, ...], Array]]:
    """Yield each piece with the index of its rows and its inputs, (entries, positions and batch).

    Where every output of axis 0 reads inputs of its own (depthwise), they are (outputs, entries,
    positions and batch).
    """
    for whole in product(*plan.runs):
        for piece in _chunks(whole, x.shape[batch_at] * x.itemsize):
            rows = tuple(
                slice(run.start, run.start + (run.count - 1) * run.step + 1, run.step)
                for run in piece
            )
            yield piece, rows, _gather(piece, x, batch_at)


def _gather(piece: Piece, x: Array, batch_at: int) -> Array:
    """Copy the inputs of a piece side by side: im2col.

    The batch stands first (``batch_at=1``) or last (-1) among the positions, as it does in x.
    """
    head, *rest = piece
    own = head.col_step != 0  # whether every output of axis 0 reads inputs of its own
    starts = np.arange(head.count if own else 1) * head.col_step
    channels = (starts[:, None] + head.cols).ravel()
    adjacent = (np.diff(channels) == 1).all()  # then a slice makes a view
    x = x[channels[0] : channels[-1] + 1] if adjacent else x[channels]

    entries = [len(run.cols) for run in rest]
    positions = [run.count for run in rest]
    batch_position = 0 if batch_at == 1 else len(rest)
    positions.insert(batch_position, x.shape[batch_at])
    buffer = np.empty((len(x), *entries, *positions), x.dtype)
    for entry in np.ndindex(*entries):
        # The inputs that one entry of the window meets at all positions: a strided slice of x.
        source = [_along(run, int(run.cols[i])) for run, i in zip(rest, entry, strict=True)]
        source.insert(batch_position, slice(None))
        buffer[(slice(None), *entry)] = x[(slice(None), *source)]

    n_entries = len(head.cols) * prod(entries)
    if own:
        return buffer.reshape(head.count, n_entries, -1)
    return buffer.reshape(n_entries, -1)


def _along(run: Run, first: int) -> slice:
    """Return the columns that one entry meets over the rows of a run.

    They go backward where padding mirrors, and are one and the same where it repeats.
    """
    if run.col_step == 0 or run.count == 1:
        return slice(first, first + 1)  # broadcast over the rows
    stop = first + run.count * run.col_step
    return slice(first, stop if stop >= 0 else None, run.col_step)


def _chunks(piece: Piece, size: int) -> Iterator[Piece]:
    """Cut a piece until its gathered inputs, `size` bytes an entry, fit the buffer.

    Along axis 0 first, where every output there gathers inputs of its own, then along positions.
    """
    entries = prod(len(run.cols) for run in piece)
    counts = [run.count for run in piece]
    if not entries or not prod(counts):
        return
    own = piece[0].col_step != 0
    # What the product makes of the gathered inputs, a row for each output of axis 0, counts too.
    rows = 1 if own else piece[0].count
    first_cut = 0 if own else 1
    cost = max(entries, rows) * size * prod(counts[first_cut:])
    cut = next((i for i in range(first_cut, len(piece)) if counts[i] > 1), None)
    if cost <= BUFFER or cut is None:
        yield piece
        return
    for part in cut_piece(piece, cut, max(1, counts[cut] * BUFFER // cost)):
        yield from _chunks(part, size)
