"""Windows of pools got wrong: cells left out, the dilation ignored, leftover cells taken in."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import axes_in_words
from convdense.geometry import Pool

Cell = tuple[Any, ...]
# Of a window's place and its cells, the cells that it is given instead.
Choose = Callable[[Cell, list[Cell]], list[Cell]]


def gathered(x: Array, cells: Sequence[Cell]) -> Array:
    """Return the values of some cells, (batch, channels, cells)."""
    return np.stack([x[(..., *cell)] for cell in cells], axis=-1)


def choices(pool: Pool) -> Iterator[tuple[str, Choose]]:
    """Yield sentences, and the other cells that the windows have."""
    n = len(pool.in_spatial)
    single = [(axis,) for axis in range(n)]
    for some in dict.fromkeys([*single, tuple(range(n))]):
        along = f"the windows along {axes_in_words(some, n)} are left out"
        yield f"the last cells of {along}", partial(_without_edge, some, max)
        yield f"the first cells of {along}", partial(_without_edge, some, min)
    if pool.kernel is None:
        yield "parts end at floor, not at ceil: they never overlap", partial(_floored, pool)
        return
    if max(pool.dilation) > 1:
        yield "the dilation is ignored", partial(_undilated, pool, pool.kernel)
    yield "leftover cells belong to the last window", partial(_greedy, pool)


def _without_edge(
    axes: tuple[int, ...], edge: Callable[..., int], _: Cell, cells: list[Cell]
) -> list[Cell]:
    """Return the cells but those with the largest, or smallest, number along some axes."""
    edges = {axis: edge(cell[axis] for cell in cells) for axis in axes}
    return [cell for cell in cells if all(cell[axis] != value for axis, value in edges.items())]


def _floored(pool: Pool, at: Cell, _: list[Cell]) -> list[Cell]:
    """Return the cells from floor(o n / m) up to floor((o + 1) n / m) for output o of m."""
    sizes = zip(at, pool.in_spatial, pool.out_spatial, strict=True)
    return list(product(*(range(o * n // m, (o + 1) * n // m) for o, n, m in sizes)))


def _undilated(pool: Pool, kernel: tuple[int, ...], at: Cell, _: list[Cell]) -> list[Cell]:
    """Return as many neighbouring cells as the kernel has, those in the input."""
    axes = []
    sizes = zip(at, pool.stride, kernel, pool.padding, pool.in_spatial, strict=True)
    for output, stride, taps, (begin, _end), n in sizes:
        first = output * stride - begin
        axes.append(range(max(first, 0), min(first + taps, n)))
    return list(product(*axes))


def _greedy(pool: Pool, at: Cell, cells: list[Cell]) -> list[Cell]:
    """Return, for the last window of an axis, its cells and all after them."""
    axes = []
    for axis, (output, outputs) in enumerate(zip(at, pool.out_spatial, strict=True)):
        own = sorted({cell[axis] for cell in cells})
        if output == outputs - 1:
            own += range(own[-1] + 1, pool.in_spatial[axis])
        axes.append(own)
    return list(product(*axes))
