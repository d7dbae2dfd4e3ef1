"""Mistakes people make in pooling: wrong divisors, padding that wins, gradients to the wrong cells of a window."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from convdense import direct_pool
from convdense.arguments import Array
from convdense.checks.sizes import same_windows
from convdense.direct_pool import windows
from convdense.geometry import AvgPool, MaxPool, MinPool, Pool, SumPool

PoolMistake = tuple[str, Callable[[Array, Array], Array]]  # a sentence, and what it makes of x and dy


def pool_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield mistakes in y or dx: each gives the whole quantity for x and dy."""
    if isinstance(pool, AvgPool):
        for sentence, other in _averages(pool):
            yield sentence, _run(other, name)
    if isinstance(pool, SumPool):
        yield "an average is taken for the sum", _run(same_windows(AvgPool, pool), name)
    if isinstance(pool, (MaxPool, MinPool)):
        sign = 1 if isinstance(pool, MaxPool) else -1
        if name == "y":
            yield "cells of the padding are 0 and can win", lambda x, _: _over_zeros(pool, sign, x)
            opposite = MinPool if sign > 0 else MaxPool
            yield f"the {'smallest' if sign > 0 else 'largest'} is taken", _run(same_windows(opposite, pool), name)
            yield "the average is taken", _run(same_windows(AvgPool, pool), name)
        else:
            for sentence, share in _SHARES.items():
                yield sentence, _sharing(pool, sign, share)
    if name == "dx":
        yield "= where += is needed: cells in several windows keep the last one's share", _overwritten(pool)
    yield "the last row of windows is left out", _without_last(pool, name)


def _averages(pool: AvgPool) -> Iterator[tuple[str, Pool]]:
    """Yield averages with another divisor."""
    yield "the sum is not divided", same_windows(SumPool, pool)
    if pool.kernel is not None:
        names = ("kernel", "stride", "padding", "dilation", "ceil_mode")
        options = {name: getattr(pool, name) for name in names}
        for include, word in ((True, "are counted"), (False, "are not counted")):
            other = AvgPool(pool.in_shape, **options, count_include_pad=include)
            yield f"cells of the padding {word} in the divisor", other
        size = prod(pool.kernel)
        sentence = f"every window is divided by the {size} cells of the kernel"
        yield sentence, AvgPool(pool.in_shape, **options, divisor_override=size)


def _run(pool: Pool, name: str) -> Callable[[Array, Array], Array]:
    if name == "y":
        return lambda x, _: direct_pool.forward(pool, x)
    return lambda x, dy: direct_pool.backward(pool, x, dy)


def _over_zeros(pool: Pool, sign: int, x: Array) -> Array:
    y = direct_pool.forward(pool, x)
    for at, cells, padded in windows(pool):
        if len(cells) < padded:
            y[(..., *at)] = sign * np.maximum(sign * y[(..., *at)], 0)
    return y


def _all_ties(winners: Array) -> Array:
    return winners.astype(float)


def _shared_ties(winners: Array) -> Array:
    return np.asarray(winners / winners.sum(axis=-1, keepdims=True))


def _last_tie(winners: Array) -> Array:
    n = winners.shape[-1]
    last = n - 1 - winners[..., ::-1].argmax(axis=-1)
    return np.asarray(np.arange(n) == last[..., None]).astype(float)


def _every_cell(winners: Array) -> Array:
    return np.ones(winners.shape)


_SHARES: dict[str, Callable[[Array], Array]] = {
    "where several cells are largest, all get the whole gradient": _all_ties,
    "where several cells are largest, they share the gradient": _shared_ties,
    "where several cells are largest, the last gets the gradient, not the first": _last_tie,
    "every cell of the window gets the gradient": _every_cell,
}


def _sharing(pool: Pool, sign: int, share: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Return dx if the winners of each window share the gradient in this way."""

    def dx(x: Array, dy: Array) -> Array:
        total = np.zeros(x.shape)
        for at, cells, _ in windows(pool):
            values = np.stack([sign * x[(..., *cell)] for cell in cells], axis=-1)  # (batch, channels, cells)
            shares = share(values == values.max(axis=-1, keepdims=True)) * dy[(..., *at)][..., None]
            for k, cell in enumerate(cells):
                total[(..., *cell)] += shares[..., k]
        return total

    return dx


def _overwritten(pool: Pool) -> Callable[[Array, Array], Array]:
    """Return dx if every window writes its cells anew."""

    def dx(x: Array, dy: Array) -> Array:
        total = np.zeros(x.shape)
        for at, cells, _ in windows(pool):
            alone = np.zeros(dy.shape)
            alone[(..., *at)] = dy[(..., *at)]
            share = direct_pool.backward(pool, x, alone)
            for cell in cells:
                kept = share[(..., *cell)]
                place = total[(..., *cell)]
                if isinstance(pool, (MaxPool, MinPool)):
                    place[kept != 0] = kept[kept != 0]  # only the winner's cell is written
                else:
                    place[...] = kept
        return total

    return dx


def _without_last(pool: Pool, name: str) -> Callable[[Array, Array], Array]:
    def value(x: Array, dy: Array) -> Array:
        if name == "y":
            y: Any = direct_pool.forward(pool, x)
            y[..., -1] = 0
            return np.asarray(y)
        less = np.array(dy)
        less[..., -1] = 0
        return direct_pool.backward(pool, x, less)

    return value
