"""Mistakes in pooling: wrong divisors, padding that wins, gradients given to the wrong cells."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import permutations
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Index, first_cells
from convdense.diagnosis.mistakes.padded_pools import PoolChange, PoolMistake, padded_mistakes
from convdense.diagnosis.mistakes.pool_windows import Cell, Choose, gathered, pool_window_mistakes
from convdense.direct import pool_loops
from convdense.direct.pool_loops import Counts, window_shares, window_value, windows
from convdense.geometry import AvgPool, MaxPool, MinPool, Pool, SumPool
from convdense.geometry.pool import same_windows

# Of a window's values (batch, channels, cells) and its dy (batch, channels, 1): its y, and what
# each cell gets of dx.
WindowRule = Callable[[Array, Array, Counts], tuple[Any, Array]]


def pool_mistakes(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield mistakes in y or dx: each gives the whole quantity for x and dy."""
    if isinstance(pool, AvgPool):
        for sentence, other in _averages(pool):
            yield sentence, _of_pool(other, name)
        yield "the mean is over the cells that are not 0", _by_windows(pool, name, _of_nonzero)
        summed = same_windows(SumPool, pool)
        for sentence, choose in pool_window_mistakes(summed):
            both = _by_windows(summed, name, partial(_of_window, summed), choose)
            yield f"the sum is not divided, and {sentence}", both
    if isinstance(pool, SumPool):
        inside = "an average, over the cells inside, is taken for the sum"
        averages = [*_average("an average is taken for the sum", pool, counted=True)]
        for sentence, other in (*averages, *_average(inside, pool, counted=False)):
            yield sentence, _of_pool(other, name)
    if pool.extremum:
        others = _not_the_largest(pool) if name == "y" else _other_winners(pool)
        yield from others
        sentence = "the largest in size is taken, whatever its sign"
        yield sentence, lambda x, dy: _of_pool(pool, name)(np.abs(x), dy)
    yield from padded_mistakes(pool, name)
    if name == "dx":
        yield from _overwritten_mistakes(pool)
    elif not pool.extremum:
        sentence = "= where += is needed: of a window only the last tap counts"
        yield sentence, _by_windows(pool, name, partial(_of_window, pool), lambda _, c: c[-1:])
    yield from _other_strides(pool, name)
    for axis in range(len(pool.in_spatial)):
        yield f"the last windows along axis {axis} are left out", _without_last(pool, name, axis)
    for sentence, choose in pool_window_mistakes(pool):
        yield sentence, _by_windows(pool, name, partial(_of_window, pool), choose)
    if name == "dx":
        yield "dx is cut off where the last window ends: leftover cells are missing", _cut(pool)


def _averages(pool: AvgPool) -> Iterator[tuple[str, Pool]]:
    """Yield averages with another divisor."""
    yield "the sum is not divided", same_windows(SumPool, pool)
    if pool.kernel is None:
        return
    if pool.divisor_override is not None:
        yield from _average("divisor_override is ignored", pool, counted=pool.count_include_pad)
    counted = "cells of the padding are counted in the divisor"
    yield from _average(counted, pool, counted=True)
    uncounted = "cells of the padding are not counted in the divisor"
    yield from _average(uncounted, pool, counted=False)
    size = prod(pool.kernel)
    fixed = same_windows(AvgPool, pool, divisor_override=size)
    yield f"every window is divided by the {size} cells of the kernel", fixed


def _average(sentence: str, pool: Pool, *, counted: bool) -> Iterator[tuple[str, Pool]]:
    """Yield the mean of a pool's windows, unless one without a cell has none."""
    with suppress(ValueError):
        yield sentence, same_windows(AvgPool, pool, count_include_pad=counted)


def _not_the_largest(pool: Pool) -> Iterator[PoolMistake]:
    """Yield y if something else is taken for the largest, or, of a MinPool, the smallest."""
    if pool.extremum > 0:
        yield "the smallest is taken", _of_pool(same_windows(MinPool, pool), "y")
    else:
        yield "the largest is taken", _of_pool(same_windows(MaxPool, pool), "y")
    yield "the extremum is taken over the channels too", partial(_over_channels, pool)
    yield "the average is taken", _of_pool(same_windows(AvgPool, pool), "y")
    yield "windows that reach over the border are not a number", partial(_not_numbers, pool)
    sentence = "of the cell that is largest in size the value is taken, with its sign"
    yield sentence, _by_windows(pool, "y", _signed)


def _over_channels(pool: Pool, x: Array, _: Array) -> Array:
    y = pool.extremum * pool_loops.forward(pool, x)
    return np.broadcast_to(pool.extremum * y.max(axis=1, keepdims=True), y.shape)


def _other_winners(pool: Pool) -> Iterator[PoolMistake]:
    """Yield dx if other cells get a window's gradient."""
    kinds = {1: (MinPool, "smallest", "largest"), -1: (MaxPool, "largest", "smallest")}
    kind, word, meant = kinds[pool.extremum]
    opposite = same_windows(kind, pool)
    yield f"the {word} gets the gradient, not the {meant}", _of_pool(opposite, "dx")

    def by_columns(_: Cell, cells: list[Cell]) -> list[Cell]:
        return sorted(cells, key=lambda cell: cell[::-1])

    sentence = "where several are largest, the first by columns gets the gradient"
    yield sentence, _by_windows(pool, "dx", partial(_sharing, pool, _first_tie), by_columns)
    for sentence, share in _SHARES.items():
        yield sentence, _by_windows(pool, "dx", partial(_sharing, pool, share))


def _first_tie(winners: Array) -> Array:
    first = winners.argmax(axis=-1)[..., None]
    return np.asarray(np.arange(winners.shape[-1]) == first).astype(float)


def _last_tie(winners: Array) -> Array:
    return _first_tie(winners[..., ::-1])[..., ::-1]


# Of a mask of a window's largest cells, (batch, channels, cells), the part of dy each cell gets.
_SHARES: dict[str, Callable[[Array], Array]] = {
    "where several cells are largest, all get the whole gradient": (
        lambda winners: winners.astype(float)
    ),
    "where several cells are largest, they share the gradient": (
        lambda winners: winners / winners.sum(axis=-1, keepdims=True)
    ),
    "where several cells are largest, the last gets the gradient, not the first": _last_tie,
    "every cell of the window gets the gradient": lambda winners: np.ones(winners.shape),
    "windows that are flat, all cells alike, are given no gradient": (
        lambda winners: _first_tie(winners) * ~winners.all(axis=-1, keepdims=True)
    ),
}


def _of_pool(pool: Pool, name: str) -> PoolChange:
    if name == "y":
        return lambda x, _: pool_loops.forward(pool, x)
    return lambda x, dy: pool_loops.backward(pool, x, dy)


def _not_numbers(pool: Pool, x: Array, _: Array) -> Array:
    y = np.array(pool_loops.forward(pool, x))
    for at, cells, padded in windows(pool):
        if len(cells) < padded:
            y[(..., *at)] = np.nan  # inf - inf, where absent cells are -inf
    return y


def _by_windows(
    pool: Pool, name: str, rule: WindowRule, choose: Choose = lambda _, cells: cells
) -> PoolChange:
    """Return y or dx, window by window: what a rule makes of the cells that are chosen."""

    def value(x: Array, dy: Array) -> Array:
        y = np.zeros((*x.shape[:2], *pool.out_spatial))
        dx = np.zeros(x.shape)
        for at, own, padded in windows(pool):
            cells = choose(at, own) if own else own
            if not cells:
                continue
            # A divisor stays as it is, but for adaptive pooling, where it is the window's own.
            counts = (len(cells), len(cells)) if pool.kernel is None else (len(own), padded)
            y[(..., *at)], shares = rule(gathered(x, cells), dy[(..., *at)][..., None], counts)
            if name == "dx":
                for k, cell in enumerate(cells):
                    dx[(..., *cell)] += shares[..., k]
        return y if name == "y" else dx

    return value


def _sharing(
    pool: Pool, share: Callable[[Array], Array], values: Array, dy: Array, _: Counts
) -> tuple[Any, Array]:
    """Return a window's dx if its winners share the gradient so; y is not asked for."""
    signed = pool.extremum * values
    winners = signed == signed.max(axis=-1, keepdims=True)
    return 0, share(winners) * dy


def _of_window(pool: Pool, values: Array, dy: Array, counts: Counts) -> tuple[Any, Array]:
    """Return a window's y and dx as the pool has it."""
    return window_value(pool, values, counts), window_shares(pool, values, dy, counts)


def _signed(values: Array, dy: Array, _: Counts) -> tuple[Any, Array]:
    """Return the value of the cell that is largest in size; dx is not asked for."""
    largest = np.abs(values).argmax(axis=-1)[..., None]
    return np.take_along_axis(values, largest, -1)[..., 0], 0 * dy


def _of_nonzero(values: Array, dy: Array, _: Counts) -> tuple[Any, Array]:
    """Return a window's mean if zeros are taken for padding, which does not count."""
    counts = np.maximum((values != 0).sum(axis=-1, keepdims=True), 1)
    return values.sum(axis=-1) / counts[..., 0], np.where(values != 0, dy / counts, 0)


def _overwritten_mistakes(pool: Pool) -> Iterator[PoolMistake]:
    """Yield = for +=, window by window in every order of the axes, or tap by tap."""
    n = len(pool.in_spatial)
    in_order = tuple(range(n))
    for order in permutations(in_order):
        of_order = "" if order == in_order else f", axes in the order {order}"
        sentence = "= where += is needed: cells in several windows keep the last one's share"
        yield f"{sentence}{of_order}", partial(_overwritten, pool, order, whole=False)
        if pool.extremum:
            words = f"{sentence} but where it is 0{of_order}"
            yield words, partial(_overwritten, pool, order, whole=False, nonzero=True)
            sentence = "= where += is needed: the last window overwrites all its cells, with 0 too"
            yield f"{sentence}{of_order}", partial(_overwritten, pool, order, whole=True)
    if not pool.extremum:  # the last tap comes from the first window
        backwards = partial(_overwritten, pool, in_order, whole=True, backwards=True)
        yield "= where += is needed: a cell keeps the share of its last tap", backwards


def _overwritten(
    pool: Pool,
    order: tuple[int, ...],
    x: Array,
    dy: Array,
    *,
    whole: bool,
    backwards: bool = False,
    nonzero: bool = False,
) -> Array:
    """Return dx if every window writes its cells anew, the winner's alone or the whole window."""
    dx = np.zeros(x.shape)
    in_order = sorted(windows(pool), key=lambda window: [window[0][axis] for axis in order])
    for at, cells, padded in reversed(in_order) if backwards else in_order:
        if not cells:
            continue
        values, counts = gathered(x, cells), (len(cells), padded)
        share = window_shares(pool, values, dy[(..., *at)][..., None], counts)
        written = window_shares(pool, values, np.ones((*x.shape[:2], 1)), counts) != 0
        for k, cell in enumerate(cells):
            new, place = share[..., k], dx[(..., *cell)]
            here = written[..., k]  # where a dy of 0 is written as well
            if whole or not pool.extremum:
                here = np.ones_like(here)
            elif nonzero:
                here = new != 0
            place[here] = new[here]
    return dx


def _other_strides(pool: Pool, name: str) -> Iterator[PoolMistake]:
    """Yield y of a pool of stride 1, where it has another size, and winners of one sample."""
    if name == "y" and pool.kernel is not None and max(pool.stride) > 1:
        with suppress(ValueError):
            dense = replace(pool, stride=(1,) * len(pool.stride))
            yield "y has another size: the stride is forgotten", _of_pool(dense, "y")
    if name == "y" and pool.kernel is not None:
        word = "ignored" if pool.ceil_mode else "taken for set"
        with suppress(ValueError):
            other = replace(pool, ceil_mode=not pool.ceil_mode)
            if other.out_shape != pool.out_shape:
                yield f"y has another size: ceil_mode is {word}", _of_pool(other, "y")
    if name == "dx" and pool.extremum:
        for word, first in (("sample", np.s_[:1]), ("channel", np.s_[:, :1])):
            sentence = f"the winners of the first {word} are those of all"
            yield sentence, partial(_winners_of, pool, first)


def _winners_of(pool: Pool, first: Any, x: Array, dy: Array) -> Array:
    """Return dx if all samples or channels have the winners of the first."""
    alike = np.broadcast_to(x[first], x.shape)
    return pool_loops.backward(pool, alike, dy)


def _without_last(pool: Pool, name: str, axis: int) -> PoolChange:
    later_axes = len(pool.in_spatial) - 1 - axis
    last: Index = (..., -1, *[slice(None)] * later_axes)

    def without(outputs: Array) -> Array:
        less = np.array(outputs)
        less[last] = 0
        return less

    if name == "y":
        return lambda x, _: without(pool_loops.forward(pool, x))
    return lambda x, dy: pool_loops.backward(pool, x, without(dy))


def _cut(pool: Pool) -> PoolChange:
    """Return dx without the cells that no window reaches at the end."""
    reach = np.zeros(len(pool.in_spatial), int)
    for _, cells, _ in windows(pool):
        if cells:
            reach = np.maximum(reach, np.max(cells, axis=0) + 1)
    inside = first_cells(reach.tolist())
    return lambda x, dy: pool_loops.backward(pool, x, dy)[inside]
