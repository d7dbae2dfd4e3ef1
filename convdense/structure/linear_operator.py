"""The matrix without storing it: one small matrix product for each product of runs, forward, adjoint and gradient."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from convdense._util.arguments import Array
from convdense.structure.axis import Axis
from convdense.structure.csr_assembly import (
    Plan,
    along,
    assemble,
    check_size,
    make_plan,
    mixed,
    nbytes,
    result_dtype,
    taps_index,
)
from convdense.structure.row_runs import Run

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

BUFFER = (
    1 << 24
)  # bytes of gathered inputs per product: few products, each large enough for its threads
STORED_BELOW = (
    1 << 23
)  # bytes of a matrix so small that products with it beat the overhead of many small ones
STORED_UP_TO = 1 << 30  # bytes of a matrix that is stored because products with it are faster
PIECE, COPY = (
    30.0,
    1.0,
)  # microseconds, roughly: of one product of a piece, of gathering one of its entries


def operator(axes: Sequence[Axis], plan: Plan | None, weights: Array) -> "LinearOperator":
    """Return the matrix as a LinearOperator; small, irregular and untied ones, where nothing is
    gained, are stored.

    So are those in so many pieces (a large kernel on one channel, many groups) that the stored
    product is faster.
    """
    from scipy.sparse.linalg import LinearOperator, aslinearoperator  # noqa: PLC0415  (0.1 s, only here)

    back = make_plan([a.T for a in axes])
    dtype = result_dtype(axes, weights)
    if plan is None or back is None or _better_stored(plan, back, nbytes(axes, dtype)):
        check_size(axes, dtype, None, plan)
        return aslinearoperator(assemble(axes, plan, weights))
    forward, adjoint = mixed(plan, weights), mixed(back, weights.conj())
    return LinearOperator(
        (prod(a.n_rows for a in axes), prod(a.n_cols for a in axes)),
        matvec=lambda x: _times(plan, forward, x),
        matmat=lambda x: _times(plan, forward, x),
        rmatvec=lambda y: _times(back, adjoint, y),
        rmatmat=lambda y: _times(back, adjoint, y),
        dtype=forward.dtype,
    )


def _better_stored(plan: Plan, back: Plan, size: int) -> bool:
    """Tell whether products with the stored matrix, of this many bytes, are the faster ones, or the only ones."""
    if size < STORED_BELOW or not (is_regular(plan) and is_regular(back)):
        return True
    return (
        size <= STORED_UP_TO
        and max(_microseconds(plan), _microseconds(back)) > 2e-3 * plan.n_entries
    )


def _microseconds(plan: Plan) -> float:
    """Return what a product costs beside its arithmetic; the stored product takes some 1e-3 for each entry."""
    pieces = prod(len(runs) for runs in plan.runs)
    copies = len(plan.runs[0]) * prod(sum(len(run.cols) for run in runs) for runs in plan.runs[1:])
    return PIECE * pieces + COPY * copies


def _times(plan: Plan, grid: Array, columns: Array) -> Array:
    """Return the product with columns of shape (inputs, batch), or (inputs,)."""
    batch = prod(columns.shape[1:])
    y = multiply(plan, grid, columns.reshape(*(a.n_cols for a in plan.axes), batch))
    return y.reshape(prod(a.n_rows for a in plan.axes), *columns.shape[1:])


def is_regular(plan: Plan | None) -> bool:
    """Tell whether a plan shares its weights along all axes but the first, so that products of runs pay."""
    return plan is not None and all(
        run.tap_step == 0 or run.count == 1 for axis in plan.runs[1:] for run in axis
    )


def multiply(plan: Plan, grid: Array, x: Array) -> Array:
    """Return ``W x`` for columns x of shape (*inputs of each axis, batch): shape (*outputs of each
    axis, batch).

    Over a product of runs the same weights, a matrix (outputs of axis 0, entries), meet inputs that
    are gathered side by side, (entries, positions and batch): im2col, one piece at a time.
    """
    sizes = [a.n_rows for a in plan.axes]
    y = np.zeros((*sizes, x.shape[-1]), np.result_type(grid, x))
    for piece, rows, gathered in _gathered(plan, x, batch_at=-1):
        weights = grid[taps_index(piece)].reshape(
            -1, prod(len(run.cols) for run in piece)
        )  # (outputs or 1, entries)
        own = gathered.ndim == 3  # every output of axis 0 has inputs of its own
        values = (
            weights[:, None, :] @ gathered if own else weights @ gathered
        )  # (outputs, ..., positions and batch)
        y[rows] = values.reshape(
            len(values), *y[rows].shape[1:]
        )  # rows of axis 0 that are all alike share one result
    return y


def gradient(plan: Plan, x: Array, dy: Array) -> Array:
    """Return the tied gradient, flattened in the order of the product of taps: one matrix product
    for each piece.

    Parameters
    ----------
    plan : Plan
    x, dy : (batch, *axes) arrays, x conjugated
    """
    x, dy = x.swapaxes(0, 1), dy.swapaxes(0, 1)  # (axis 0, batch, *other axes)
    grid = np.zeros([a.n_taps for a in plan.merged], np.result_type(x, dy))
    for piece, rows, gathered in _gathered(plan, x, batch_at=1):
        upstream = dy[(rows[0], slice(None), *rows[1:])].reshape(
            piece[0].count, -1
        )  # (outputs, batch and positions)
        own, inputs = gathered.ndim == 3, gathered.swapaxes(-1, -2)
        sums = (
            (upstream[:, None, :] @ inputs)[:, 0] if own else upstream @ inputs
        )  # (outputs, entries)
        if piece[0].tap_step == 0:
            sums = sums.sum(
                axis=0, keepdims=True, dtype=grid.dtype
            )  # all outputs of axis 0 share these weights
        index = taps_index(piece)
        sums = sums.reshape(np.broadcast_shapes(*(i.shape for i in index)))
        if all(len(np.unique(i)) == i.size for i in index):
            grid[index] += sums
        else:  # a weight occurs twice, where += would keep one of its sums
            np.add.at(grid, index, sums)
    for i, mixing in enumerate(plan.mixing):
        if mixing is not None:
            grid = along(i, mixing.T, grid)  # the adjoint of `mixed`
    return grid.ravel()


def _gathered(
    plan: Plan, x: Array, batch_at: int
) -> Iterator[tuple[tuple[Run, ...], tuple[slice, ...], Array]]:
    """Yield each piece with the index of its rows and its inputs, (entries, positions and batch).

    Where every output of axis 0 reads inputs of its own (depthwise), they are (outputs, entries,
    positions and batch).
    """
    for whole in product(*plan.runs):
        for piece in _chunks(whole, x.shape[batch_at] * x.itemsize):
            rows = tuple(
                slice(r.start, r.start + (r.count - 1) * r.step + 1, r.step) for r in piece
            )
            yield piece, rows, _gather(piece, x, batch_at)


def _gather(piece: tuple[Run, ...], x: Array, batch_at: int) -> Array:
    """Copy the inputs of a piece side by side; the batch stands first or last among the positions, as it does in x."""
    head, *rest = piece
    own = head.col_step != 0
    first = np.arange(head.count if own else 1)[:, None] * head.col_step
    x = x[_contiguous((first + head.cols).ravel())]
    n, positions = [len(run.cols) for run in rest], [run.count for run in rest]
    positions.insert(0 if batch_at == 1 else len(positions), x.shape[batch_at])
    buffer = np.empty((len(x), *n, *positions), x.dtype)
    for entry in np.ndindex(*n):
        source = [_along(run, int(run.cols[j])) for run, j in zip(rest, entry, strict=True)]
        source.insert(0 if batch_at == 1 else len(source), slice(None))
        buffer[(slice(None), *entry)] = x[(slice(None), *source)]
    entries = len(head.cols) * prod(n)
    return buffer.reshape(head.count, entries, -1) if own else buffer.reshape(entries, -1)


def _contiguous(places: Array) -> slice | Array:
    """Return a slice, which makes a view, if the places follow each other."""
    if (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _along(run: Run, first: int) -> slice:
    """Return the columns of one entry over the rows of a run: backward where padding mirrors, one where it repeats."""
    if run.col_step == 0 or run.count == 1:
        return slice(first, first + 1)  # broadcast over the rows
    stop = first + run.count * run.col_step
    return slice(first, stop if stop >= 0 else None, run.col_step)


def _chunks(piece: tuple[Run, ...], size: int) -> Iterator[tuple[Run, ...]]:
    """Cut a piece until its gathered inputs fit the buffer: along positions first, then along axis 0 if it gathers."""
    entries = prod(len(run.cols) for run in piece)
    if not entries or not prod(run.count for run in piece):
        return
    own = piece[0].col_step != 0
    rows = 1 if own else piece[0].count  # what the product makes of the gathered inputs counts too
    cost = max(entries, rows) * size * prod(run.count for run in (piece if own else piece[1:]))
    cut = next(
        (i for i in ((0,) if own else ()) + tuple(range(1, len(piece))) if piece[i].count > 1), None
    )
    if cost <= BUFFER or cut is None:
        yield piece
        return
    run = piece[cut]
    step = max(1, run.count * BUFFER // cost)
    for first in range(0, run.count, step):
        part = run.part(first, min(first + step, run.count))
        yield from _chunks((*piece[:cut], part, *piece[cut + 1 :]), size)
