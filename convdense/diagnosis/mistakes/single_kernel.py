"""One kernel got wrong: that of one pair of channels reversed, transposed, another pair's, or one weight of it off."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.geometry import subsets
from convdense.diagnosis.mistakes.mistake import Call, Mistake, Reordering
from convdense.diagnosis.mistakes.observations import WHOLE, Observations, multiple
from convdense.geometry import Geometry, LocallyConnected
from convdense.structure._tie import tie

PROBES = 8  # cells on which a kernel is tried first
MOST_PAIRS = 4096  # pairs of channels whose kernels are tried in the place of one
Pair = tuple[int, ...]


def one_kernel(layer: Geometry, observed: Observations) -> tuple[str, Mistake | None]:
    """Return what y or dx had in place of one pair's kernel, in every draw, and the layer that it amounts to."""
    if (
        not observed.comparable
        or not observed.batched
        or observed.part is not WHOLE
        or isinstance(layer, LocallyConnected)
    ):
        return "", None
    wrong = np.any(
        [g != r for g, r in zip(observed.returned, observed.expected, strict=True)], axis=0
    )
    if (
        len(np.flatnonzero(wrong.any(axis=(0, *range(2, wrong.ndim))))) != 1
    ):  # a pair has one channel on either side
        return "", None
    for pair, probes, taps in _met(layer, observed):
        for sentence, source, change in _kernels(layer, observed.calls[0].w.shape, pair):
            first = observed.calls[0].w
            if np.array_equal(taps @ (change(first[source]) - first[pair]).ravel(), probes):
                said = f"of the channel pair {pair} {sentence}"
                found = _with_kernel(layer, pair, (source, change), said)
                if observed.fits(partial(found.run, name=observed.name)):
                    return found.sentence, found
        if sentence := _scaled(layer, observed, pair, probes, taps):
            return sentence, None
    return "", None


def _met(layer: Geometry, observed: Observations) -> Iterator[tuple[Pair, Array, Array]]:
    """Yield each pair of channels that meets the first wrong cells, what they have too much, and
    the pair's share.

    The share is a matrix (probes, taps): times the kernel it gives what the pair adds to each
    probe.
    """
    ties, call = tie(layer), observed.calls[0]
    entries, each = ties.entries(), prod(ties.weight_shape[2:])
    more = np.asarray(observed.returned[0] - observed.expected[0])
    more = more.reshape(len(more), -1)
    sample, cell = (at[:PROBES] for at in np.nonzero(more))
    meets, others, operand = (
        (entries.row, entries.col, call.x)
        if observed.name == "y"
        else (entries.col, entries.row, call.dy)
    )
    flat, share = operand.reshape(len(operand), -1), np.zeros((len(cell), ties.n_weights))
    for probe, (n, c) in enumerate(zip(sample, cell, strict=True)):
        of = meets == c
        np.add.at(share[probe], entries.index[of], flat[n, others[of]])
    pairs = share.reshape(len(cell), -1, each)
    for number in np.flatnonzero(pairs.any(axis=(0, 2))):
        pair = unravelled(number, ties.weight_shape[:2])
        yield pair, more[sample, cell], pairs[:, number]


def _kernels(
    layer: Geometry, shape: tuple[int, ...], pair: Pair
) -> Iterator[tuple[str, Pair, Reordering]]:
    """Yield what can be in the place of one pair's kernel: which pair's kernel is taken, and what is made of it."""
    n = len(layer.kernel)
    yield "the kernel is zero", pair, np.zeros_like
    yield "the kernel has its sign turned", pair, np.negative
    for some, which in subsets(n):
        yield f"the kernel is reversed on {which}", pair, partial(np.flip, axis=some)
    for i, j in combinations(range(n), 2):
        if shape[2 + i] == shape[2 + j]:
            yield (
                f"the kernel has axes {i} and {j} transposed",
                pair,
                partial(np.swapaxes, axis1=i, axis2=j),
            )
    for other in np.ndindex(*shape[:2]) if prod(shape[:2]) <= MOST_PAIRS else ():
        if other != pair:
            yield f"the kernel is that of the pair {other}", other, np.asarray
    for tap in np.ndindex(*shape[2:]):
        yield f"the weight at tap {tap} is zero", pair, partial(_without, tap)


def _without(tap: Pair, kernel: Array) -> Array:
    rest = np.array(kernel)
    rest[tap] = 0
    return rest


def _with_kernel(
    layer: Geometry, pair: Pair, put: tuple[Pair, Reordering], sentence: str
) -> Mistake:
    """Return the layer whose weights hold another kernel for one pair: what is made of some pair's."""
    source, change = put

    def weights(w: Array) -> Array:
        other = np.array(w)
        other[pair] = change(w[source])
        return other

    return Mistake(sentence, tie(layer), weights)


def _scaled(layer: Geometry, observed: Observations, pair: Pair, more: Array, share: Array) -> str:
    """Return that one weight of the pair, or its whole kernel, is multiplied by a number."""
    kernel = observed.calls[0].w[pair]
    each = share * kernel.ravel()  # (probes, taps): what every weight adds
    columns = [
        (f"the weight at tap {tap} is", each[:, k], tap)
        for k, tap in enumerate(np.ndindex(*kernel.shape))
    ]
    for words, column, where in [("the kernel is", each.sum(axis=1), (...,)), *columns]:
        if multiple(more, column, size=np.abs(each).sum(axis=1) * each.shape[1]) is None:
            continue

        def part(w: Array, where: Any = where) -> Array:
            only = np.zeros_like(w)
            only[pair][where] = w[pair][where]
            return only

        alone = Mistake("", tie(layer), part)
        got, right = (observed.stacked(arrays) for arrays in (observed.returned, observed.expected))
        calls = [call._replace(b=0 * call.b) for call in observed.calls]
        sizes = observed.stacked(
            [
                Mistake("", tie(layer)).run(Call(*map(np.abs, call)), observed.name)
                for call in observed.calls
            ]
        )
        factor = multiple(
            got,
            observed.stacked([alone.run(call, observed.name) for call in calls]),
            right,
            sizes * share.shape[1],
        )
        if factor is not None:
            return f"of the channel pair {pair} {words} multiplied by {1 + factor:.8g}"
    return ""
