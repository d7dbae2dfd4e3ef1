"""Windows of pools got wrong: cells left out, the dilation ignored, leftover cells taken in."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import axes_in_words
from convdense.geometry import Pool
from convdense.geometry.padding import Pairs

# One index an axis: of a cell of the input, or of an output, which stands for its window.
Cell = tuple[Any, ...]  # of int, which mypy refuses in x[(..., *cell)]
# Takes an output and the cells of its window; returns the cells that a mistake gives to it instead.
Choose = Callable[[Cell, list[Cell]], list[Cell]]


def gathered(x: Array, cells: Sequence[Cell]) -> Array:
    """Return the values of x, (batch, channels, *axes), at some cells: (batch, channels, cells)."""
    return np.stack([x[(..., *cell)] for cell in cells], axis=-1)


def pool_window_mistakes(pool: Pool) -> Iterator[tuple[str, Choose]]:
    """Yield each mistake: a sentence, and the function that chooses a window's cells wrongly."""
    n = len(pool.in_spatial)
    sets_of_axes: list[tuple[int, ...]] = [(axis,) for axis in range(n)]
    if n > 1:
        sets_of_axes.append(tuple(range(n)))
    for axes in sets_of_axes:
        along = f"the windows along {axes_in_words(axes, n)} are left out"
        yield f"the last cells of {along}", partial(_without_edge, axes, max)
        yield f"the first cells of {along}", partial(_without_edge, axes, min)
    if pool.kernel is None:  # adaptive: every axis is divided into parts, and nothing slides
        yield "parts end at floor, not at ceil: they never overlap", partial(_floored, pool)
        for sentence, kernel_and_stride in _ONE_KERNEL.items():
            words = f"one kernel and stride for all windows of an adaptive pool, {sentence}"
            yield words, partial(_of_one_kernel, pool, kernel_and_stride)
        return
    if max(pool.stride) > 1:
        ones = (1,) * n
        yield "the stride is forgotten", partial(_slid, pool, ones, pool.padding)
    numbers = zip(pool.numbers(), pool.out_spatial, strict=True)
    over = [n + sum(p) - (k - 1) * d - 1 - (m - 1) * s for (n, p, k, s, d), m in numbers]
    if max(over) > 0:
        moved = tuple((b - more, e) for (b, e), more in zip(pool.padding, over, strict=True))
        sentence = "leftover cells are in front, not at the end: everything is shifted"
        yield sentence, partial(_slid, pool, pool.stride, moved)
    if any(begin for begin, _ in pool.padding):
        nothing = ((0, 0),) * n
        sentence = "the begin padding is ignored: everything is shifted"
        yield sentence, partial(_slid, pool, pool.stride, nothing)
    if max(pool.dilation) > 1:
        yield "the dilation is ignored", partial(_undilated, pool, pool.kernel)
    yield "leftover cells belong to the last window", partial(_with_leftover_cells, pool)


def _without_edge(
    axes: tuple[int, ...], edge: Callable[..., int], _: Cell, cells: list[Cell]
) -> list[Cell]:
    """Return the cells without the last (edge = max) or the first (min) along some axes."""
    edges = {axis: edge(cell[axis] for cell in cells) for axis in axes}
    return [cell for cell in cells if all(cell[axis] != value for axis, value in edges.items())]


def _floored(pool: Pool, at: Cell, _: list[Cell]) -> list[Cell]:
    """Return cells floor(o n / m) to floor((o + 1) n / m) - 1: of n cells, for output o of m."""
    axes = zip(at, pool.in_spatial, pool.out_spatial, strict=True)
    return list(product(*(range(o * n // m, (o + 1) * n // m) for o, n, m in axes)))


# Of n cells and m parts, the kernel and the stride that people put in place of adaptive windows.
_ONE_KERNEL: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "n // m for both": lambda n, m: (n // m, n // m),
    "ceil(n / m) for both": lambda n, m: (-(-n // m), -(-n // m)),
    "stride n // m": lambda n, m: (n - (m - 1) * (n // m), n // m),
    "kernel ceil(n / m), stride n // m": lambda n, m: (-(-n // m), n // m),
}


def _of_one_kernel(
    pool: Pool, kernel_and_stride: Callable[[int, int], tuple[int, int]], at: Cell, _: list[Cell]
) -> list[Cell]:
    """Return the cells of a window that slides, those in the input."""
    along = []
    for i, n, m in zip(at, pool.in_spatial, pool.out_spatial, strict=True):
        kernel, stride = kernel_and_stride(n, m)
        along.append(range(min(i * stride, n), min(i * stride + kernel, n)))
    return list(product(*along))


def _slid(
    pool: Pool, stride: tuple[int, ...], padding: Pairs, at: Cell, _: list[Cell]
) -> list[Cell]:
    """Return the cells of a window with another stride or begin, those in the input."""
    along = []
    axes = zip(at, stride, padding, pool.kernel or (), pool.dilation, pool.in_spatial, strict=True)
    for i, s, (begin, _end), k, d, n in axes:
        cells = (i * s - begin + tap * d for tap in range(k))
        along.append([cell for cell in cells if 0 <= cell < n])
    return list(product(*along))


def _undilated(pool: Pool, kernel: tuple[int, ...], at: Cell, _: list[Cell]) -> list[Cell]:
    """Return as many neighbouring cells as the pool's kernel has, those in the input."""
    along = []
    axes = zip(at, pool.stride, kernel, pool.padding, pool.in_spatial, strict=True)
    for output, stride, size, (begin, _end), n in axes:
        first = output * stride - begin
        along.append(range(max(first, 0), min(first + size, n)))
    return list(product(*along))


def _with_leftover_cells(pool: Pool, at: Cell, cells: list[Cell]) -> list[Cell]:
    """Return a window's cells and, where it is the last of an axis, all cells after them."""
    along = []
    for axis, (output, outputs) in enumerate(zip(at, pool.out_spatial, strict=True)):
        indices = sorted({cell[axis] for cell in cells})
        if output == outputs - 1:
            indices += range(indices[-1] + 1, pool.in_spatial[axis])
        along.append(indices)
    return list(product(*along))
