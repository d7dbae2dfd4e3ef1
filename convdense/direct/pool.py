"""Direct pooling fast enough for training: one pass per tap over a shifted view of the input.

Nothing is padded. It is proven equal to `pool_loops`, with which it shares nothing but the geometry
and the rule of the divisor. Windows of different sizes (adaptive pooling that does not divide
evenly) are left to the loops.
"""

from collections.abc import Iterator
from itertools import product
from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense.direct import pool_loops
from convdense.geometry import LpPool, Pool, paired_samples, samples

Array = npt.NDArray[Any]
Index = tuple[EllipsisType | slice, ...]


class Sliding(NamedTuple):
    """The numbers of a window that slides along one axis."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    dilation: int
    begin: int  # padding before the first cell


def forward(pool: Pool, x: npt.ArrayLike) -> Array:
    """Return y: of every window its largest, smallest, sum, average or power average."""
    x, had_batch = samples(pool, x)
    axes = _sliding_axes(pool)
    if axes is None:
        y = pool_loops.forward(pool, x)
    elif pool.extremum:
        y, _ = _extrema(pool, axes, x)
    else:
        y = _totals(pool, axes, x)
    return y if had_batch else y[0]


def backward(pool: Pool, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
    """Return dx: every output hands its gradient to the cells of its window."""
    x, dy, had_batch = paired_samples(pool, x, dy)
    axes = _sliding_axes(pool)
    if axes is None:
        dx = pool_loops.backward(pool, x, dy)
    elif pool.extremum:
        dx = _to_winners(pool, axes, x, dy)
    else:
        dx = _to_all(pool, axes, x, dy)
    return dx if had_batch else dx[0]


def _sliding_axes(pool: Pool) -> list[Sliding] | None:
    """Return the numbers of a sliding window along each axis, or None if windows differ in size."""
    sizes = list(zip(pool.in_spatial, pool.out_spatial, strict=True))
    if pool.kernel is None:  # adaptive: n inputs are divided among m outputs
        if any(n % m for n, m in sizes):
            return None
        return [Sliding(n, m, kernel=n // m, stride=n // m, dilation=1, begin=0) for n, m in sizes]
    numbers = zip(pool.out_spatial, pool.numbers(), strict=True)
    return [Sliding(n, m, k, s, d, begin) for m, (n, (begin, _), k, s, d) in numbers]


def _taps(axes: list[Sliding]) -> Iterator[tuple[Index, Index]]:
    """Yield for each tap, in C order, the outputs for which it lies in the input, and its cells."""
    for tap in product(*(range(axis.kernel) for axis in axes)):
        outs: list[slice] = []
        ins: list[slice] = []
        for t, axis in zip(tap, axes, strict=True):
            offset = t * axis.dilation - axis.begin  # output o meets cell o stride + offset
            first = max(0, -(offset // axis.stride))  # -offset / stride, rounded up: from cell 0 on
            last = min(axis.outputs - 1, (axis.inputs - 1 - offset) // axis.stride)
            count = max(0, last + 1 - first)
            start = first * axis.stride + offset
            stop = start + (count - 1) * axis.stride + 1
            outs.append(slice(first, first + count))
            ins.append(slice(start, stop, axis.stride) if count else slice(0))
        yield (..., *outs), (..., *ins)


def _out_shape(pool: Pool, x: Array) -> tuple[int, ...]:
    """Return the shape of y: (batch, channels, *outputs)."""
    return (*x.shape[:2], *pool.out_spatial)


def _extrema(pool: Pool, axes: list[Sliding], x: Array) -> tuple[Array, Array]:
    """Return the largest or smallest of each window, and the number of the tap that has it.

    Both are (batch, channels, *outputs). Taps come in C order and a later one must be better, so
    the first of several largest wins.
    """
    y = np.zeros(_out_shape(pool, x), x.dtype)
    winner = np.full(y.shape, -1, np.int32)  # -1: no tap has been there yet
    better = np.greater if pool.extremum > 0 else np.less  # +1: the largest, -1: the smallest
    for number, (outs, ins) in enumerate(_taps(axes)):
        wins = (winner[outs] < 0) | better(x[ins], y[outs])
        np.copyto(y[outs], x[ins], where=wins)
        np.copyto(winner[outs], number, where=wins)
    return y, winner


def _totals(pool: Pool, axes: list[Sliding], x: Array) -> Array:
    """Return the sum, average or power average, (sum |x|^p)^(1/p), of each window."""
    if isinstance(pool, LpPool):
        root, scale, _ = _scaled_roots(pool, axes, x)
        return np.asarray(root * scale)
    values = x
    if pool.divides and x.dtype.kind in "iu":
        values = x.astype(np.float64)  # small integers would wrap before they are divided
    total = np.zeros(_out_shape(pool, x), values.dtype)
    for outs, ins in _taps(axes):
        total[outs] += values[ins]

    if pool.divides:
        return np.asarray(total / _divisors(pool, axes).astype(total.dtype))
    return total


def _to_winners(pool: Pool, axes: list[Sliding], x: Array, dy: Array) -> Array:
    """Return dx of the largest or smallest: the tap that won gets everything."""
    y, winner = _extrema(pool, axes, x)
    dx = np.zeros(x.shape, np.result_type(y, dy))
    for number, (outs, ins) in enumerate(_taps(axes)):
        dx[ins] += np.where(winner[outs] == number, dy[outs], 0)
    return dx


def _to_all(pool: Pool, axes: list[Sliding], x: Array, dy: Array) -> Array:
    """Return dx of a sum, an average or a power average: every tap gets its share."""
    if isinstance(pool, LpPool):
        return _by_slopes(pool, axes, x, dy)
    y = _totals(pool, axes, x)
    dx = np.zeros(x.shape, np.result_type(y, dy))
    shares = dy / _divisors(pool, axes).astype(dx.dtype) if pool.divides else dy
    for outs, ins in _taps(axes):
        dx[ins] += shares[outs]
    return dx


def _scaled_roots(pool: LpPool, axes: list[Sliding], x: Array) -> tuple[Array, Array, Array]:
    """Return ``(sum |x / scale|^p)^(1/p)`` of each window, its scale, and ``|x|`` as floats."""
    sizes = np.abs(x.astype(np.float64) if x.dtype.kind in "iu" else x)
    largest = np.zeros(_out_shape(pool, x), sizes.dtype)
    for outs, ins in _taps(axes):
        np.maximum(largest[outs], sizes[ins], out=largest[outs])
    scale = pool.scale(largest)
    total = np.zeros_like(largest)
    for outs, ins in _taps(axes):
        total[outs] += (sizes[ins] / scale[outs]) ** pool.p
    return total ** (1 / pool.p), scale, sizes


def _by_slopes(pool: LpPool, axes: list[Sliding], x: Array, dy: Array) -> Array:
    """Return dx of a power average: dy times its slope, 0 in a window of zeros.

    The slope of y = (sum |x|^p)^(1/p) by a cell is sign(x) (|x| / y)^(p - 1).
    """
    root, scale, sizes = _scaled_roots(pool, axes, x)
    dx = np.zeros(x.shape, np.result_type(root, dy))
    for outs, ins in _taps(axes):
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (sizes[ins] / scale[outs] / root[outs]) ** (pool.p - 1)
        dx[ins] += np.sign(x[ins]) * np.where(root[outs] == 0, 0, slope) * dy[outs]
    return dx


def _divisors(pool: Pool, axes: list[Sliding]) -> Array:
    """Return what each output is divided by, (*outputs): cells are counted axis by axis."""
    # products of the counts along the axes so far, (*outputs of these axes)
    inside = np.ones(())  # cells of the input
    padded = np.ones(())  # cells of the input and its padding
    for axis, (_, end) in zip(axes, pool.padding, strict=True):
        starts = np.arange(axis.outputs)[:, None] * axis.stride - axis.begin
        cells = starts + np.arange(axis.kernel) * axis.dilation  # (outputs, kernel)
        in_input = (cells >= 0) & (cells < axis.inputs)
        in_padded = cells < axis.inputs + end  # with ceil_mode the last window may reach further
        inside = np.multiply.outer(inside, in_input.sum(axis=1))
        padded = np.multiply.outer(padded, in_padded.sum(axis=1))
    counts = zip(inside.ravel(), padded.ravel(), strict=True)
    divisors = [pool.divisor(int(n_inside), int(n_padded)) for n_inside, n_padded in counts]
    return np.reshape(divisors, inside.shape)
