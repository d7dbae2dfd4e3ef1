"""Direct pooling fast enough for training: one pass per tap over a shifted view of the input, no
padding anywhere.

Proven equal to the loops of `direct_pool`, with which it shares nothing but the geometry and the
divisors' rule. Windows of different sizes (adaptive pooling that does not divide evenly) are left
to the loops.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense.direct import pool_loops
from convdense.geometry import AvgPool, LpPool, MaxPool, MinPool, Pool, paired_samples, samples

Array = npt.NDArray[Any]
Index = tuple[Any, ...]
Sliding = tuple[
    int, int, int, int, int, int
]  # inputs, outputs, kernel, stride, dilation, padding before


def forward(pool: Pool, x: Any) -> Array:
    """Return y: of every window its largest, smallest, sum, average or power average."""
    x, had_batch = samples(pool, x)
    axes = _axes(pool)
    y = pool_loops.forward(pool, x) if axes is None else _forward(pool, axes, x)[0]
    return y if had_batch else y[0]


def backward(pool: Pool, x: Any, dy: Any) -> Array:
    """Return dx: every output hands its gradient to the cells of its window."""
    x, dy, had_batch = paired_samples(pool, x, dy)
    axes = _axes(pool)
    dx = pool_loops.backward(pool, x, dy) if axes is None else _backward(pool, axes, x, dy)
    return dx if had_batch else dx[0]


def _axes(pool: Pool) -> list[Sliding] | None:
    """Return the hyper-parameters of a sliding window along each axis, or None if windows differ in size."""
    sizes = zip(pool.in_spatial, pool.out_spatial, strict=True)
    if pool.kernel is None:
        if any(n % m for n, m in sizes):
            return None
        return [
            (n, m, n // m, n // m, 1, 0)
            for n, m in zip(pool.in_spatial, pool.out_spatial, strict=True)
        ]
    begins = [begin for begin, _ in pool.padding]
    return list(
        zip(
            pool.in_spatial,
            pool.out_spatial,
            pool.kernel,
            pool.stride,
            pool.dilation,
            begins,
            strict=True,
        )
    )


def _taps(axes: list[Sliding]) -> Iterator[tuple[Index, Index]]:
    """Yield, tap by tap in C order, the outputs that have this tap in the input, and where in the input it is."""
    for tap in product(*(range(k) for _, _, k, _, _, _ in axes)):
        outs, ins = [], []
        for t, (n, m, _, s, d, begin) in zip(tap, axes, strict=True):
            offset = t * d - begin  # output o meets cell o s + offset
            first = max(0, -(offset // s))
            count = max(0, min(m, (n - 1 - offset) // s + 1) - first)
            start = first * s + offset
            outs.append(slice(first, first + count))
            ins.append(slice(start, start + (count - 1) * s + 1, s) if count else slice(0))
        yield (..., *outs), (..., *ins)


def _forward(pool: Pool, axes: list[Sliding], x: Array) -> tuple[Array, Array]:
    """Return y and, for the largest and the smallest, the number of the tap that won: the first of several."""
    shape = (*x.shape[:2], *pool.out_spatial)
    if not isinstance(pool, (MaxPool, MinPool)):
        return _total(pool, axes, x, shape), np.empty(0)
    y, winner = np.zeros(shape, x.dtype), np.full(shape, -1, np.int32)
    better = np.greater if isinstance(pool, MaxPool) else np.less
    for number, (outs, ins) in enumerate(_taps(axes)):
        wins = (winner[outs] < 0) | better(x[ins], y[outs])
        np.copyto(y[outs], x[ins], where=wins)
        np.copyto(winner[outs], number, where=wins)
    return y, winner


def _total(pool: Pool, axes: list[Sliding], x: Array, shape: tuple[int, ...]) -> Array:
    values = np.abs(x) ** pool.p if isinstance(pool, LpPool) else x
    if isinstance(pool, AvgPool) and x.dtype.kind in "iu":
        values = x.astype(np.float64)  # small integers would wrap before they are divided
    total = np.zeros(shape, values.dtype)
    for outs, ins in _taps(axes):
        total[outs] += values[ins]
    if isinstance(pool, LpPool):
        return np.asarray(total ** (1 / pool.p))
    return (
        np.asarray(total / _divisors(pool, axes).astype(_dtype(total)))
        if isinstance(pool, AvgPool)
        else total
    )


def _backward(pool: Pool, axes: list[Sliding], x: Array, dy: Array) -> Array:
    """Return dx, tap by tap: each tap gets its share of dy."""
    y, winner = _forward(pool, axes, x)
    dx = np.zeros(x.shape, np.result_type(y, dy))
    shares = dy / _divisors(pool, axes).astype(dx.dtype) if isinstance(pool, AvgPool) else dy
    for number, (outs, ins) in enumerate(_taps(axes)):
        if isinstance(pool, (MaxPool, MinPool)):
            dx[ins] += np.where(winner[outs] == number, shares[outs], 0)
        elif isinstance(pool, LpPool):
            dx[ins] += _slope(pool, x[ins], y[outs]) * shares[outs]
        else:
            dx[ins] += shares[outs]
    return dx


def _slope(pool: LpPool, x: Array, y: Array) -> Array:
    """Return dy/dx of a power average, 0 in a window of zeros."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(y == 0, 0, np.sign(x) * (np.abs(x) / y) ** (pool.p - 1))


def _divisors(pool: AvgPool, axes: list[Sliding]) -> Array:
    """Return what each output position is divided by: counted cell by cell along each axis."""
    inside, padded = np.ones(()), np.ones(())
    for (n, m, k, s, d, begin), (_, end) in zip(axes, pool.padding, strict=True):
        cells = [[o * s + t * d - begin for t in range(k)] for o in range(m)]
        inside = np.multiply.outer(inside, [sum(0 <= i < n for i in window) for window in cells])
        padded = np.multiply.outer(padded, [sum(i < n + end for i in window) for window in cells])
    pairs = zip(inside.ravel(), padded.ravel(), strict=True)
    return np.reshape([pool_loops.divisor(pool, int(a), int(b)) for a, b in pairs], inside.shape)


def _dtype(total: Array) -> Any:
    """Return the dtype sums are divided in: of floats for integers."""
    return total.dtype if total.dtype.kind == "f" else np.float64
