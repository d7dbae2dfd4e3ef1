"""Pools over a padded copy of the input, or with winners' numbers decoded, and what goes wrong."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import prod
from typing import Literal

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Index, first_cells
from convdense.diagnosis.mistakes.pool_windows import Cell, gathered
from convdense.geometry import AvgPool, Pool, SumPool

PoolChange = Callable[[Array, Array], Array]  # what a mistake makes of x and dy: y or dx
PoolMistake = tuple[str, PoolChange]

PadMode = Literal["constant", "edge", "reflect", "wrap"]

# What stands in the padding's cells, and how NumPy pads so.
_PADDINGS: dict[str, PadMode] = {
    "0": "constant",
    "the edge": "edge",
    "a mirror image": "reflect",
    "the far side": "wrap",
}

# Of winners' numbers in their windows and the kernel, the winners' places along each axis.
Decode = Callable[[Array, tuple[int, ...]], tuple[Array, ...]]
_DECODED: dict[str, Decode] = {
    "the winner's number in its window is decoded with the height for the width": (
        lambda number, kernel: np.unravel_index(number, kernel[::-1])
    ),
    "the winner's number in its window is decoded column by column": (
        lambda number, kernel: np.unravel_index(number, kernel, order="F")
    ),
}


def padded_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield padding that holds numbers, which can win, and dx handed to other cells."""
    kernel = pool.kernel
    if kernel is None:
        return
    if pool.extremum and any(map(any, pool.padding)):
        lost = "can win" if name == "y" else "can win, which loses the gradient"
        for word, mode in _PADDINGS.items():
            sentence = f"cells of the padding are {word} and {lost}"
            yield sentence, partial(_over_padding, pool, name, mode)
    if name == "dx":
        yield from _wrong_places(pool, kernel)


def _wrong_places(pool: Pool, kernel: tuple[int, ...]) -> Iterator[PoolMistake]:
    """Yield dx that is handed to other cells: winners' numbers decoded wrongly, or tiles."""
    if pool.extremum:
        for sentence, decode in _DECODED.items():
            yield sentence, partial(_decoded, pool, kernel, decode)
    if isinstance(pool, (AvgPool, SumPool)):
        scale = prod(kernel) if isinstance(pool, AvgPool) else 1
        for word, sizes in (("kernel", kernel), ("stride", pool.stride)):
            tiles = f"dy is repeated over tiles of the {word}"
            sentence = f"{tiles}, as if windows did not overlap and left nothing over"
            yield sentence, partial(_repeated, pool, sizes, scale)


def _places(pool: Pool) -> Iterator[tuple[Cell, list[Cell], list[int]]]:
    """Yield each window's place, its cells in the padded input, and their numbers in the kernel."""
    limits = [n + sum(pair) for n, pair in zip(pool.in_spatial, pool.padding, strict=True)]
    for at in product(*map(range, pool.out_spatial)):
        cells, numbers = [], []
        for number, tap in enumerate(np.ndindex(*(pool.kernel or ()))):
            steps = zip(at, pool.stride, tap, pool.dilation, strict=True)
            cell = tuple(o * s + t * d for o, s, t, d in steps)
            if all(c < n for c, n in zip(cell, limits, strict=True)):
                cells.append(cell)
                numbers.append(number)
        yield at, cells, numbers


def _cropped(pool: Pool, dx: Array) -> Array:
    """Return dx without the cells of the padding."""
    pairs = zip(pool.in_spatial, pool.padding, strict=True)
    inside: Index = (..., *(slice(begin, begin + n) for n, (begin, _) in pairs))
    return np.asarray(dx[inside])


def _over_padding(pool: Pool, name: str, mode: PadMode, x: Array, dy: Array) -> Array:
    """Return y or dx if the largest is sought in a padded copy; what its padding wins is lost."""
    try:
        padded = np.pad(x, ((0, 0), (0, 0), *pool.padding), mode=mode)
    except ValueError:  # nothing to copy from
        return np.zeros(0)
    y = np.zeros((*x.shape[:2], *pool.out_spatial))
    dx = np.zeros(padded.shape)
    for at, cells, _ in _places(pool):
        values = pool.extremum * gathered(padded, cells)
        y[(..., *at)] = pool.extremum * values.max(axis=-1)
        if name == "y":
            continue
        winner = values.argmax(axis=-1)  # (batch, channels)
        for k, cell in enumerate(cells):
            dx[(..., *cell)] += np.where(winner == k, dy[(..., *at)], 0)
    return y if name == "y" else _cropped(pool, dx)


def _decoded(pool: Pool, kernel: tuple[int, ...], decode: Decode, x: Array, dy: Array) -> Array:
    """Return dx if the winner's number is taken for another place; what falls outside is lost."""
    signed = float(pool.extremum) * x
    padded = np.pad(signed, ((0, 0), (0, 0), *pool.padding), constant_values=-np.inf)
    limits = np.reshape(padded.shape[2:], (-1, 1, 1))  # (axes, 1, 1)
    at_sample = np.indices(x.shape[:2])  # (2, batch, channels)
    dx = np.zeros(padded.shape)
    for at, cells, numbers in _places(pool):
        winner = gathered(padded, cells).argmax(axis=-1)  # (batch, channels)
        places = decode(np.take(numbers, winner), kernel)
        steps = zip(at, pool.stride, places, pool.dilation, strict=True)
        cell = np.array([o * s + place * d for o, s, place, d in steps])  # (axes, batch, channels)
        inside = (cell < limits).all(axis=0)
        where = (*at_sample[:, inside], *cell[:, inside])
        np.add.at(dx, where, dy[(..., *at)][inside])
    return _cropped(pool, dx)


def _repeated(pool: Pool, sizes: tuple[int, ...], scale: int, _: Array, dy: Array) -> Array:
    """Return dx if each dy is repeated over a tile of these sizes, cut off or filled up with 0."""
    tiled = dy / scale
    for axis, n in enumerate(sizes):
        tiled = tiled.repeat(n, axis=axis + 2)
    missing = [(0, max(0, n - m)) for n, m in zip(pool.in_spatial, tiled.shape[2:], strict=True)]
    filled = np.pad(tiled, ((0, 0), (0, 0), *missing))
    return np.asarray(filled[first_cells(pool.in_spatial)])
