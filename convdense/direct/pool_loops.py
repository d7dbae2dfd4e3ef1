"""Direct pooling in plain loops, forward and backward: the definition anyone can check by eye.
Slow.

Nothing here is shared with the tie map but the numbers of the geometry. `windows` lists the cells
of each output; everything else is one line of NumPy per kind of pool.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense.geometry import AvgPool, LpPool, MaxPool, MinPool, Pool, paired_samples, samples

Array = npt.NDArray[Any]
Position = tuple[Any, ...]
Window = tuple[Position, list[Position], int]


def windows(pool: Pool) -> Iterator[Window]:
    """Yield (output position, its input cells in C order, how many cells it has counting those of the padding)."""
    for at in product(*map(range, pool.out_spatial)):
        axes = [_cells(pool, axis, o) for axis, o in enumerate(at)]
        inside = [
            [i for i in cells if 0 <= i < n] for cells, n in zip(axes, pool.in_spatial, strict=True)
        ]
        yield at, list(product(*inside)), prod(len(cells) for cells in axes)


def _cells(pool: Pool, axis: int, output: int) -> list[int]:
    """Return the cells of one window along one axis that lie in the input or its padding."""
    n, (begin, end) = pool.in_spatial[axis], pool.padding[axis]
    if (
        pool.kernel is None
    ):  # cell i belongs to every part that overlaps [i, i + 1) of n, part o being [o, o + 1) of m
        m = pool.out_spatial[axis]
        return [i for i in range(n) if i * m < (output + 1) * n and output * n < (i + 1) * m]
    cells = [
        output * pool.stride[axis] - begin + tap * pool.dilation[axis]
        for tap in range(pool.kernel[axis])
    ]
    return [i for i in cells if i < n + end]


def forward(pool: Pool, x: Any) -> Array:
    """Return y: of every window its largest, smallest, sum, average or power average."""
    x, had_batch = samples(pool, x)
    y = np.zeros((*x.shape[:2], *pool.out_spatial), _dtype(pool, x))
    for at, cells, padded in windows(pool):
        y[(..., *at)] = _reduce(pool, _take(x, cells), padded)
    return y if had_batch else y[0]


def backward(pool: Pool, x: Any, dy: Any) -> Array:
    """Return dx: every output hands its gradient to the cells of its window."""
    x, dy, had_batch = paired_samples(pool, x, dy)
    dx = np.zeros(x.shape, np.result_type(_dtype(pool, x), dy))
    for at, cells, padded in windows(pool):
        shares = _shares(pool, _take(x, cells), dy[(..., *at)][..., None], padded)
        for k, cell in enumerate(cells):
            dx[(..., *cell)] += shares[..., k]
    return dx if had_batch else dx[0]


def _take(x: Array, cells: list[Position]) -> Array:
    return np.stack([x[(..., *cell)] for cell in cells], axis=-1)  # (batch, channels, cells)


def _reduce(pool: Pool, values: Array, padded: int) -> Array:
    if isinstance(pool, MaxPool):
        return np.asarray(values.max(axis=-1))
    if isinstance(pool, MinPool):
        return np.asarray(values.min(axis=-1))
    if isinstance(pool, LpPool):
        return np.asarray((np.abs(values) ** pool.p).sum(axis=-1) ** (1 / pool.p))
    total = np.asarray(values.sum(axis=-1, dtype=_dtype(pool, values)))
    return total / divisor(pool, values.shape[-1], padded) if isinstance(pool, AvgPool) else total


def _shares(pool: Pool, values: Array, dy: Array, padded: int) -> Array:
    """Return what each cell gets of dy, (batch, channels, cells): the first of several largest gets everything."""
    if isinstance(pool, (MaxPool, MinPool)):
        winner = values.argmax(axis=-1) if isinstance(pool, MaxPool) else values.argmin(axis=-1)
        return np.where(np.arange(values.shape[-1]) == winner[..., None], dy, 0)
    if isinstance(pool, LpPool):
        y = _reduce(pool, values, padded)[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.sign(values) * (np.abs(values) / y) ** (pool.p - 1)
        return (
            np.where(y == 0, 0, slope) * dy
        )  # where all cells are 0, the gradient 0 is a subgradient
    shared = np.broadcast_to(dy, values.shape)
    return shared / divisor(pool, values.shape[-1], padded) if isinstance(pool, AvgPool) else shared


def divisor(pool: AvgPool, inside: int, padded: int) -> int:
    """Return what an average is divided by."""
    return pool.divisor_override or (padded if pool.count_include_pad else inside)


def _dtype(pool: Pool, x: Array) -> Any:
    """Return the dtype of y: that of x, but of floats where an integer is divided or a root taken."""
    divides = isinstance(pool, (AvgPool, LpPool))
    return np.result_type(x, np.float64) if divides and x.dtype.kind in "iu" else x.dtype
