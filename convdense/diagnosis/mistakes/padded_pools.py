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

PoolChange = Callable[[Array, Array], Array]  # a wrong pool: from x and dy to its y or its dx
PoolMistake = tuple[str, PoolChange]

PadMode = Literal["constant", "edge", "reflect", "wrap"]

# What stands in the padding's cells, and how NumPy pads so.
_PADDINGS: dict[str, PadMode] = {
    "0": "constant",
    "the edge": "edge",
    "a mirror image": "reflect",
    "the far side": "wrap",
}

# A function that turns a tap's number in its window, given the kernel, into its place on each axis;
# here are wrong ones. Right is np.unravel_index(number, kernel).
Decode = Callable[[Array, tuple[int, ...]], tuple[Array, ...]]
_WRONG_DECODINGS: dict[str, Decode] = {
    "the winner's number in its window is decoded with the height for the width": (
        lambda number, kernel: np.unravel_index(number, kernel[::-1])
    ),
    "the winner's number in its window is decoded column by column": (
        lambda number, kernel: np.unravel_index(number, kernel, order="F")
    ),
}


def padded_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield the mistakes of y or dx, whichever is named.

    The padding holds numbers, which can win; or dx is handed to other cells than the winners.
    """
    kernel = pool.kernel
    if kernel is None:  # an adaptive pool has neither padding nor a kernel
        return
    padded = any(before or after for before, after in pool.padding)
    if pool.extremum and padded:  # +1 for the largest of a window, -1 for the smallest, 0 for sums
        can_win = "can win" if name == "y" else "can win, which loses the gradient"
        for word, mode in _PADDINGS.items():
            sentence = f"cells of the padding are {word} and {can_win}"
            yield sentence, partial(_with_padding_that_wins, pool, name, mode)
    if name == "dx":
        yield from _dx_in_wrong_cells(pool, kernel)


def _dx_in_wrong_cells(pool: Pool, kernel: tuple[int, ...]) -> Iterator[PoolMistake]:
    """Yield dx that is handed to other cells: winners' numbers decoded wrongly, or tiles."""
    if pool.extremum:
        for sentence, decode in _WRONG_DECODINGS.items():
            yield sentence, partial(_dx_of_decoded_winners, pool, kernel, decode)
    if isinstance(pool, (AvgPool, SumPool)):
        divisor = prod(kernel) if isinstance(pool, AvgPool) else 1
        for word, sizes in (("kernel", kernel), ("stride", pool.stride)):
            sentence = (
                f"dy is repeated over tiles of the {word}, "
                "as if windows did not overlap and left nothing over"
            )
            yield sentence, partial(_dx_of_tiles, pool, sizes, divisor)


def _padded_windows(pool: Pool) -> Iterator[tuple[Cell, list[Cell], list[int]]]:
    """Yield for each window its output's place, its cells in the padded input, and their taps.

    A tap is numbered in the kernel. The last windows may reach beyond the padding (ceil mode):
    those cells and taps are left out.
    """
    limits = [n + sum(pair) for n, pair in zip(pool.in_spatial, pool.padding, strict=True)]
    for at in product(*map(range, pool.out_spatial)):
        cells: list[Cell] = []
        numbers: list[int] = []
        for number, tap in enumerate(np.ndindex(*(pool.kernel or ()))):  # here never None
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


def _with_padding_that_wins(pool: Pool, name: str, mode: PadMode, x: Array, dy: Array) -> Array:
    """Return y or dx of a pool over a padded copy: the gradient of a cell of the padding is lost.

    The smallest of a window is minus the largest of what is negated.
    """
    try:
        padded = np.pad(x, ((0, 0), (0, 0), *pool.padding), mode=mode)
    except ValueError:  # too few cells for this mode to copy: return what equals nothing
        return np.zeros(0)
    y = np.zeros((*x.shape[:2], *pool.out_spatial))
    dx = np.zeros(padded.shape)
    for at, cells, _ in _padded_windows(pool):
        values = pool.extremum * gathered(padded, cells)  # (batch, channels, cells)
        y[(..., *at)] = pool.extremum * values.max(axis=-1)
        if name == "y":
            continue
        winner = values.argmax(axis=-1)  # (batch, channels)
        for k, cell in enumerate(cells):
            dx[(..., *cell)] += np.where(winner == k, dy[(..., *at)], 0)  # (batch, channels)
    return y if name == "y" else _cropped(pool, dx)


def _dx_of_decoded_winners(
    pool: Pool, kernel: tuple[int, ...], decode: Decode, x: Array, dy: Array
) -> Array:
    """Return dx if the winner's number is taken for another place; what falls outside is lost."""
    signed = float(pool.extremum) * x  # floats, which can hold the -inf of the padding
    padded = np.pad(signed, ((0, 0), (0, 0), *pool.padding), constant_values=-np.inf)
    limits = np.reshape(padded.shape[2:], (-1, 1, 1))  # (axes, 1, 1)
    at_sample = np.indices(x.shape[:2])  # (2, batch, channels)
    dx = np.zeros(padded.shape)
    for at, cells, numbers in _padded_windows(pool):
        winner = gathered(padded, cells).argmax(axis=-1)  # (batch, channels), among `cells`
        tap_number = np.take(numbers, winner)  # (batch, channels), among all taps of the kernel
        places = decode(tap_number, kernel)  # for each axis (batch, channels)
        steps = zip(at, pool.stride, places, pool.dilation, strict=True)
        cell = np.array([o * s + place * d for o, s, place, d in steps])  # (axes, batch, channels)
        inside = (cell < limits).all(axis=0)
        where = (*at_sample[:, inside], *cell[:, inside])  # each (cells inside,)
        np.add.at(dx, where, dy[(..., *at)][inside])
    return _cropped(pool, dx)


def _dx_of_tiles(pool: Pool, sizes: tuple[int, ...], divisor: int, _x: Array, dy: Array) -> Array:
    """Return dx if each dy is repeated over a tile of these sizes, cut off or filled up with 0."""
    tiled = dy / divisor
    for axis, n in enumerate(sizes, start=2):  # after batch and channels
        tiled = tiled.repeat(n, axis=axis)
    missing = [(0, max(0, n - m)) for n, m in zip(pool.in_spatial, tiled.shape[2:], strict=True)]
    filled = np.pad(tiled, ((0, 0), (0, 0), *missing))
    return np.asarray(filled[first_cells(pool.in_spatial)])
