"""Direct pooling in plain loops: the definition, which one can check by eye. It is slow.

Nothing is shared with the tie map but the numbers of the geometry. `windows` lists the cells of
each output; what is made of them is one expression for each kind of pool, forward and backward.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense.geometry import LpPool, Pool, paired_samples, samples

Array = npt.NDArray[Any]
Position = tuple[Any, ...]  # one integer per axis
Window = tuple[Position, list[Position], int]  # output position, its cells, n_padded
Counts = tuple[int, int]  # of a window: its cells, and n_padded


def windows(pool: Pool) -> Iterator[Window]:
    """Yield each window: its output position, its input cells in C order, and `n_padded`.

    That is the number of its cells together with those in the padding.
    """
    for output in product(*map(range, pool.out_spatial)):
        cells_by_axis = [_cells(pool, axis, o) for axis, o in enumerate(output)]
        n_padded = prod(len(cells) for cells in cells_by_axis)
        inside_by_axis = []
        for cells, n in zip(cells_by_axis, pool.in_spatial, strict=True):
            inside_by_axis.append([i for i in cells if 0 <= i < n])
        yield output, list(product(*inside_by_axis)), n_padded


def _cells(pool: Pool, axis: int, output: int) -> list[int]:
    """Return the cells of one window along one axis that lie in the input or its padding."""
    n = pool.in_spatial[axis]
    if pool.kernel is None:
        # The axis [0, n) is cut into m equal parts, part o being [o n / m, (o + 1) n / m); a cell
        # [i, i + 1) belongs to every part that it overlaps: i < (o + 1) n / m and o n / m < i + 1.
        m = pool.out_spatial[axis]
        return [i for i in range(n) if i * m < (output + 1) * n and output * n < (i + 1) * m]

    begin, end = pool.padding[axis]
    first = output * pool.stride[axis] - begin
    cells = [first + tap * pool.dilation[axis] for tap in range(pool.kernel[axis])]
    return [i for i in cells if i < n + end]  # with ceil_mode a window may end past the padding


def forward(pool: Pool, x: npt.ArrayLike) -> Array:
    """Return y: of every window its largest, smallest, sum, average or power average."""
    x, had_batch = samples(pool, x)
    y = np.zeros((*x.shape[:2], *pool.out_spatial), _result_dtype(pool, x))
    for output, cells, n_padded in windows(pool):
        counts = (len(cells), n_padded)
        y[(..., *output)] = window_value(pool, _take(x, cells), counts)  # y[..., o1, o2]
    return y if had_batch else y[0]


def backward(pool: Pool, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
    """Return dx: every output hands its gradient to the cells of its window."""
    x, dy, had_batch = paired_samples(pool, x, dy)
    dx = np.zeros(x.shape, np.result_type(_result_dtype(pool, x), dy))
    for output, cells, n_padded in windows(pool):
        upstream = dy[(..., *output)][..., None]  # (batch, channels, 1)
        shares = window_shares(pool, _take(x, cells), upstream, (len(cells), n_padded))
        for k, cell in enumerate(cells):
            dx[(..., *cell)] += shares[..., k]
    return dx if had_batch else dx[0]


def indices(pool: Pool, x: npt.ArrayLike) -> Array:
    """Return where each window's winner stands, flattened in its channel's plane."""
    x, had_batch = samples(pool, x)
    winners = np.zeros((*x.shape[:2], *pool.out_spatial), np.int64)
    for output, cells, _ in windows(pool):
        winner = _winner(pool, _take(x, cells))
        places = [np.ravel_multi_index(cell, pool.in_spatial) for cell in cells]
        winners[(..., *output)] = np.take(places, winner)
    return winners if had_batch else winners[0]


def _winner(pool: Pool, values: Array) -> Array:
    """Return the first of several largest cells, (batch, channels) of (batch, channels, cells)."""
    return np.asarray(values.argmax(axis=-1) if pool.extremum > 0 else values.argmin(axis=-1))


def _take(x: Array, cells: list[Position]) -> Array:
    """Return the values of a window, (batch, channels, cells); it may have no cells."""
    values = np.zeros((*x.shape[:2], len(cells)), x.dtype)
    for k, cell in enumerate(cells):
        values[..., k] = x[(..., *cell)]
    return values


def window_value(pool: Pool, values: Array, counts: Counts) -> Array:
    """Return what a pool makes of one window, (batch, channels) of (batch, channels, cells)."""
    if pool.extremum > 0:
        return np.asarray(values.max(axis=-1))
    if pool.extremum < 0:
        return np.asarray(values.min(axis=-1))
    if isinstance(pool, LpPool):
        root, scale = _scaled_root(pool, values)
        return np.asarray(root * scale)
    total = np.asarray(values.sum(axis=-1, dtype=_result_dtype(pool, values)))
    return total / pool.divisor(*counts) if pool.divides else total


def window_shares(pool: Pool, values: Array, dy: Array, counts: Counts) -> Array:
    """Return what each cell gets of dy, (batch, channels, cells) of (batch, channels, 1)."""
    n_cells = values.shape[-1]
    if pool.extremum:  # the first of several largest gets everything
        winner = _winner(pool, values)[..., None]
        is_winner = np.arange(n_cells) == winner  # (batch, channels, cells)
        return np.where(is_winner, dy, 0)
    if isinstance(pool, LpPool):
        # y = (sum |x|^p)^(1/p), so dy/dx = sign(x) (|x| / y)^(p - 1); `scale` cancels.
        root, scale = (part[..., None] for part in _scaled_root(pool, values))
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.sign(values) * (np.abs(values / scale) / root) ** (pool.p - 1)
        return np.where(root == 0, 0, slope) * dy  # where all cells are 0, 0 is a subgradient
    shared = np.broadcast_to(dy, values.shape)
    return shared / pool.divisor(*counts) if pool.divides else shared


def _scaled_root(pool: LpPool, values: Array) -> tuple[Array, Array]:
    """Return ``(sum |x / scale|^p)^(1/p)`` of one window, and the scale, (batch, channels) each."""
    sizes = np.abs(values.astype(_result_dtype(pool, values)))
    scale = pool.scale(sizes.max(axis=-1, initial=0))
    powers = (sizes / scale[..., None]) ** pool.p
    return powers.sum(axis=-1) ** (1 / pool.p), scale


def _result_dtype(pool: Pool, x: Array) -> np.dtype:
    """Return the dtype of y: that of x, or floats where integers are divided or a root is taken."""
    fractional = pool.divides or isinstance(pool, LpPool)
    if fractional and x.dtype.kind in "iu":
        return np.result_type(x, np.float64)
    return x.dtype
