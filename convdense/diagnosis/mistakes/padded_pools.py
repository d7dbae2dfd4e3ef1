"""Pools written over a padded copy of the input, or with the winners' numbers decoded, and what goes wrong there."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import AvgPool, MaxPool, MinPool, Pool, SumPool

PoolMistake = tuple[
    str, Callable[[Array, Array], Array]
]  # a sentence, and what it makes of x and dy
Cell = tuple[Any, ...]
Decode = Callable[
    [Array, Pool], tuple[Array, ...]
]  # of a winner's number in its window, its place there

_PADDINGS: dict[str, Any] = {
    "0": "constant",
    "the edge": "edge",
    "a mirror image": "reflect",
    "the far side": "wrap",
}


def padded_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield padding that holds numbers, which win and lose their gradient, and windows taken for tiles."""
    if pool.kernel is None:
        return
    if isinstance(pool, (MaxPool, MinPool)):
        for word, mode in _PADDINGS.items() if any(map(any, pool.padding)) else ():
            lost = "can win" if name == "y" else "can win, which loses the gradient"
            yield (
                f"cells of the padding are {word} and {lost}",
                partial(_over_padding, pool, name, mode),
            )
        if name == "dx":
            for sentence, decode in _DECODED.items():
                yield sentence, partial(_decoded, pool, decode)
    if isinstance(pool, (AvgPool, SumPool)) and name == "dx":
        for word, sizes in (("kernel", pool.kernel), ("stride", pool.stride)):
            sentence = f"dy is repeated over tiles of the {word}, as if windows did not overlap and left nothing over"
            yield sentence, partial(_repeated, pool, sizes)


def _places(pool: Pool) -> Iterator[tuple[Cell, list[Cell], list[int]]]:
    """Yield each window: its place, its cells in the padded input, and their numbers in the kernel."""
    kernel = pool.kernel or ()
    sizes = [n + sum(pair) for n, pair in zip(pool.in_spatial, pool.padding, strict=True)]
    for at in product(*map(range, pool.out_spatial)):
        cells, numbers = [], []
        for number, tap in enumerate(np.ndindex(*kernel)):
            cell = tuple(
                o * s + t * d
                for o, s, t, d in zip(at, pool.stride, tap, pool.dilation, strict=True)
            )
            if all(c < n for c, n in zip(cell, sizes, strict=True)):
                cells.append(cell)
                numbers.append(number)
        yield at, cells, numbers


def _padded(pool: Pool, mode: Any, x: Array) -> Array | None:
    try:
        return np.pad(x, ((0, 0), (0, 0), *pool.padding), mode=mode)
    except ValueError:  # nothing to copy from
        return None


def _cropped(pool: Pool, rim: Array) -> Array:
    inside: Any = (
        ...,
        *(slice(b, b + n) for n, (b, _) in zip(pool.in_spatial, pool.padding, strict=True)),
    )
    return np.asarray(rim[inside])


def _over_padding(pool: Pool, name: str, mode: Any, x: Array, dy: Array) -> Array:
    """Return y or dx if the largest is sought in a padded copy, and what its rim wins is cropped away."""
    sign, padded = 1 if isinstance(pool, MaxPool) else -1, _padded(pool, mode, x)
    y, rim = (
        np.zeros((*x.shape[:2], *pool.out_spatial)),
        np.zeros(0 if padded is None else padded.shape),
    )
    if padded is None:
        return rim
    for at, cells, _ in _places(pool):
        values = np.stack(
            [sign * padded[(..., *cell)] for cell in cells], axis=-1
        )  # (batch, channels, cells)
        winner, y[(..., *at)] = values.argmax(axis=-1), sign * values.max(axis=-1)
        for k, cell in enumerate(cells) if name == "dx" else ():
            rim[(..., *cell)] += np.where(winner == k, dy[(..., *at)], 0)
    return y if name == "y" else _cropped(pool, rim)


def _decoded(pool: Pool, decode: Decode, x: Array, dy: Array) -> Array:
    """Return dx if the winner's number in its window is taken for another place; what falls outside is lost."""
    sign = 1.0 if isinstance(pool, MaxPool) else -1.0
    padded = np.pad(sign * x, ((0, 0), (0, 0), *pool.padding), constant_values=-np.inf)
    rim = np.zeros(padded.shape)
    n, c = (np.asarray(numbers) for numbers in np.indices(x.shape[:2]))
    for at, cells, numbers in _places(pool):
        values = np.stack(
            [padded[(..., *cell)] for cell in cells], axis=-1
        )  # (batch, channels, cells)
        place = decode(np.take(numbers, values.argmax(axis=-1)), pool)
        cell = [
            np.asarray(o * s + p * d)
            for o, s, p, d in zip(at, pool.stride, place, pool.dilation, strict=True)
        ]
        inside = np.logical_and.reduce(
            [i < size for i, size in zip(cell, padded.shape[2:], strict=True)]
        )
        where: Any = (n[inside], c[inside], *(i[inside] for i in cell))
        np.add.at(rim, where, dy[(..., *at)][inside])
    return _cropped(pool, rim)


_DECODED: dict[str, Decode] = {
    "the winner's number in its window is decoded with the height for the width": lambda number, pool: (
        np.unravel_index(number, (pool.kernel or ())[::-1])
    ),
    "the winner's number in its window is decoded column by column": lambda number, pool: (
        np.unravel_index(number, pool.kernel or (), order="F")
    ),
}


def _repeated(pool: Pool, sizes: tuple[int, ...], _: Array, dy: Array) -> Array:
    tiled = dy / prod(pool.kernel or ()) if isinstance(pool, AvgPool) else dy
    for axis, n in enumerate(sizes):
        tiled = tiled.repeat(n, axis=axis + 2)
    over = [(0, max(0, n - m)) for n, m in zip(pool.in_spatial, tiled.shape[2:], strict=True)]
    inside: Any = (..., *(slice(0, n) for n in pool.in_spatial))
    return np.asarray(np.pad(tiled, ((0, 0), (0, 0), *over))[inside])
