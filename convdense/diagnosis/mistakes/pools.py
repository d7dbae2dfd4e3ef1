"""Mistakes people make in pooling: wrong divisors, padding that wins, gradients to the wrong cells of a window."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.padded_pools import PoolMistake, padded_mistakes
from convdense.diagnosis.mistakes.pool_windows import Choose, choices
from convdense.direct import pool_loops
from convdense.direct.pool_loops import windows
from convdense.geometry import AvgPool, MaxPool, MinPool, Pool, SumPool
from convdense.geometry.pool import same_windows

Wrong = Callable[[Array, Array], Array]  # what a mistake makes of x and dy: y or dx
Counts = tuple[int, int]  # of a window: its cells, and those of the padding with them
Window = Callable[
    [Array, Array, Counts], tuple[Any, Array]
]  # of its values and its dy: its y, and each cell's dx


def pool_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield mistakes in y or dx: each gives the whole quantity for x and dy."""
    if isinstance(pool, AvgPool):
        for sentence, other in _averages(pool):
            yield sentence, _run(other, name)
        yield "the mean is over the cells that are not 0", _by_windows(pool, name, _of_nonzero)
    if isinstance(pool, SumPool):
        for include, words in ((True, ""), (False, ", over the cells inside,")):
            average = same_windows(AvgPool, pool, count_include_pad=include)
            yield f"an average{words} is taken for the sum", _run(average, name)
    if isinstance(pool, (MaxPool, MinPool)):
        yield from _largest(pool, name)
    yield from padded_mistakes(pool, name)
    if name == "dx":
        yield (
            "= where += is needed: cells in several windows keep the last one's share",
            _overwritten(pool),
        )
    for axis in range(len(pool.in_spatial)):
        yield f"the last windows along axis {axis} are left out", _without_last(pool, name, axis)
    for sentence, choose in choices(pool):
        yield sentence, _of_cells(pool, name, choose)
    if name == "dx":
        yield "dx is cut off where the last window ends: leftover cells are missing", _cut(pool)


def _largest(pool: MaxPool | MinPool, name: str) -> Iterator[PoolMistake]:
    """Yield something else taken for the largest, and its gradient given to other cells."""
    sign = 1 if isinstance(pool, MaxPool) else -1
    if name == "y":
        opposite = MinPool if sign > 0 else MaxPool
        yield (
            f"the {'smallest' if sign > 0 else 'largest'} is taken",
            _run(same_windows(opposite, pool), name),
        )
        yield "the average is taken", _run(same_windows(AvgPool, pool), name)
        yield (
            "windows that reach over the border are not a number",
            lambda x, _: _not_numbers(pool, x),
        )
        sentence = "of the cell that is largest in size the value is taken, with its sign"
        yield sentence, _by_windows(pool, name, _signed)
    else:
        yield (
            "where several are largest, the first by columns gets the gradient",
            _sharing(pool, sign, _first_tie, by_columns=True),
        )
        for sentence, share in _SHARES.items():
            yield sentence, _sharing(pool, sign, share)
    yield "the largest in size is taken, whatever its sign", _of_sizes(pool, name)


def _averages(pool: AvgPool) -> Iterator[tuple[str, Pool]]:
    """Yield averages with another divisor."""
    yield "the sum is not divided", same_windows(SumPool, pool)
    if pool.kernel is not None:
        if pool.divisor_override is not None:
            kept = same_windows(AvgPool, pool, count_include_pad=pool.count_include_pad)
            yield "divisor_override is ignored", kept
        for include, word in ((True, "are counted"), (False, "are not counted")):
            other = same_windows(AvgPool, pool, count_include_pad=include)
            yield f"cells of the padding {word} in the divisor", other
        size = prod(pool.kernel)
        sentence = f"every window is divided by the {size} cells of the kernel"
        yield sentence, same_windows(AvgPool, pool, divisor_override=size)


def _run(pool: Pool, name: str) -> Wrong:
    if name == "y":
        return lambda x, _: pool_loops.forward(pool, x)
    return lambda x, dy: pool_loops.backward(pool, x, dy)


def _not_numbers(pool: Pool, x: Array) -> Array:
    y = np.array(pool_loops.forward(pool, x))
    for at, cells, padded in windows(pool):
        if len(cells) < padded:
            y[(..., *at)] = np.nan  # inf - inf, where absent cells are -inf
    return y


def _first_tie(winners: Array) -> Array:
    first = winners.argmax(axis=-1)
    return np.asarray(np.arange(winners.shape[-1]) == first[..., None]).astype(float)


def _last_tie(winners: Array) -> Array:
    return _first_tie(winners[..., ::-1])[..., ::-1]


_SHARES: dict[str, Callable[[Array], Array]] = {
    "where several cells are largest, all get the whole gradient": lambda winners: winners.astype(
        float
    ),
    "where several cells are largest, they share the gradient": lambda winners: (
        winners / winners.sum(axis=-1, keepdims=True)
    ),
    "where several cells are largest, the last gets the gradient, not the first": _last_tie,
    "every cell of the window gets the gradient": lambda winners: np.ones(winners.shape),
}


def _by_windows(
    pool: Pool, name: str, one: Window, choose: Choose = lambda _, cells: cells
) -> Wrong:
    """Return y or dx, window by window: what `one` makes of the cells that are chosen, and hands back to each."""

    def value(x: Array, dy: Array) -> Array:
        y, dx = np.zeros((*x.shape[:2], *pool.out_spatial)), np.zeros(x.shape)
        for at, cells, padded in windows(pool):
            kept = choose(at, cells)
            if not kept:
                continue
            values = np.stack(
                [x[(..., *cell)] for cell in kept], axis=-1
            )  # (batch, channels, cells)
            counts = (len(kept), len(kept)) if pool.kernel is None else (len(cells), padded)
            y[(..., *at)], shares = one(values, dy[(..., *at)][..., None], counts)
            for k, cell in enumerate(kept) if name == "dx" else ():
                dx[(..., *cell)] += shares[..., k]
        return y if name == "y" else dx

    return value


def _sharing(
    pool: Pool, sign: int, share: Callable[[Array], Array], *, by_columns: bool = False
) -> Wrong:
    """Return dx if the winners of each window, its cells in C order or column by column, share the gradient so."""

    def one(values: Array, dy: Array, _: Counts) -> tuple[Any, Array]:
        return 0, share(sign * values == (sign * values).max(axis=-1, keepdims=True)) * dy

    if by_columns:
        return _by_windows(
            pool, "dx", one, lambda _, cells: sorted(cells, key=lambda cell: cell[::-1])
        )
    return _by_windows(pool, "dx", one)


def _of_cells(pool: Pool, name: str, choose: Choose) -> Wrong:
    """Return y or dx if each window has other cells; a divisor stays as it is, but for parts, whose own it is."""

    def one(values: Array, dy: Array, counts: Counts) -> tuple[Any, Array]:
        if isinstance(pool, (MaxPool, MinPool)):
            sign = 1 if isinstance(pool, MaxPool) else -1
            winner = (sign * values).argmax(axis=-1)[..., None]
            return sign * (sign * values).max(axis=-1), (np.arange(values.shape[-1]) == winner) * dy
        scale = pool_loops.divisor(pool, *counts) if isinstance(pool, AvgPool) else 1
        return values.sum(axis=-1) / scale, np.ones(values.shape) / scale * dy

    return _by_windows(pool, name, one, choose)


def _signed(values: Array, dy: Array, _: Counts) -> tuple[Any, Array]:
    largest = np.abs(values).argmax(axis=-1)[..., None]
    return np.take_along_axis(values, largest, -1)[..., 0], 0 * dy


def _of_nonzero(values: Array, dy: Array, _: Counts) -> tuple[Any, Array]:
    """Return the mean of a window, and its cells' shares, if zeros are taken for padding, which does not count."""
    counts = np.maximum((values != 0).sum(axis=-1, keepdims=True), 1)
    return values.sum(axis=-1) / counts[..., 0], np.where(values != 0, dy / counts, 0)


def _overwritten(pool: Pool) -> Wrong:
    """Return dx if every window writes its cells anew."""

    def dx(x: Array, dy: Array) -> Array:
        total = np.zeros(x.shape)
        for at, cells, _ in windows(pool):
            alone = np.zeros(dy.shape)
            alone[(..., *at)] = dy[(..., *at)]
            share = pool_loops.backward(pool, x, alone)
            for cell in cells:
                kept = share[(..., *cell)]
                place = total[(..., *cell)]
                if isinstance(pool, (MaxPool, MinPool)):
                    place[kept != 0] = kept[kept != 0]  # only the winner's cell is written
                else:
                    place[...] = kept
        return total

    return dx


def _without_last(pool: Pool, name: str, axis: int) -> Wrong:
    last: Any = (..., -1, *[slice(None)] * (len(pool.in_spatial) - 1 - axis))

    def value(x: Array, dy: Array) -> Array:
        less = np.array(pool_loops.forward(pool, x) if name == "y" else dy)
        less[last] = 0
        return less if name == "y" else pool_loops.backward(pool, x, less)

    return value


def _of_sizes(pool: Pool, name: str) -> Wrong:
    run = _run(pool, name)
    return lambda x, dy: run(np.abs(x), dy)


def _cut(pool: Pool) -> Wrong:
    """Return dx without the cells that no window reaches at the end."""
    reach = np.zeros(len(pool.in_spatial), int)
    for _, cells, _ in windows(pool):
        reach = np.maximum(reach, np.max(cells, axis=0) + 1)
    inside: Any = (..., *(slice(0, int(n)) for n in reach))
    return lambda x, dy: pool_loops.backward(pool, x, dy)[inside]
