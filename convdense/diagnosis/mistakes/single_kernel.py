"""One kernel got wrong, that of one pair of channels: reversed, another pair's, one weight off."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.geometry import subsets
from convdense.diagnosis.mistakes.mistake import Call, Index, Mistake, Reordering, flat_samples
from convdense.diagnosis.mistakes.observations import WHOLE, Observations, multiple
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import tie

PROBES = 8  # cells on which a kernel is tried first
MOST_PAIRS = 4096  # pairs of channels whose kernels are tried in the place of one
Pair = tuple[int, ...]


class Substitute(NamedTuple):
    """What can be in the place of one pair's kernel: some pair's kernel, and what is made of it."""

    sentence: str
    source: Pair
    change: Reordering


def one_kernel(layer: Geometry, observed: Observations) -> tuple[str, Mistake | None]:
    """Return what y or dx had for one pair's kernel, and the layer that it amounts to."""
    whole = observed.comparable and observed.batched and observed.part is WHOLE
    if (
        not whole
        or not isinstance(layer, (Conv, ConvTranspose))
        or not _one_channel_is_wrong(observed)
    ):
        return "", None
    w = observed.calls[0].w
    for pair, more, share in _met(layer, observed):
        for substitute in _substitutes(w.shape, pair):
            change = substitute.change(w[substitute.source]) - w[pair]
            if not np.array_equal(share @ change.ravel(), more):
                continue
            found = _with_kernel(layer, pair, substitute)
            if observed.fits(partial(found.run, name=observed.name)):
                return found.sentence, found
        sentence = _scaled(layer, observed, pair, more, share)
        if sentence:
            return sentence, None
    return "", None


def _one_channel_is_wrong(observed: Observations) -> bool:
    """Tell whether one channel is wrong, as a kernel of one pair leads from one to one."""
    pairs = zip(observed.returned, observed.expected, strict=True)
    wrong = np.any([got != right for got, right in pairs], axis=0)  # (batch, channels, *pixels)
    channels = np.swapaxes(wrong, 0, 1).reshape(wrong.shape[1], -1).any(axis=1)
    return int(channels.sum()) == 1


def _met(layer: Geometry, observed: Observations) -> Iterator[tuple[Pair, Array, Array]]:
    """Yield each pair of channels at the first wrong cells, the cells' excess, and its share.

    The excess is what came less what is right, (probes,). The share is a matrix (probes, taps):
    times the kernel it gives what the pair adds to each probe.
    """
    ties, call = tie(layer), observed.calls[0]
    of_cell = ties.row if observed.name == "y" else ties.column
    difference = flat_samples(np.asarray(observed.returned[0] - observed.expected[0]))
    samples, cells = (at[:PROBES] for at in np.nonzero(difference))  # each (probes,)
    operand = flat_samples(call.x if observed.name == "y" else call.dy)

    shares = np.zeros((len(cells), ties.n_weights))
    for share, sample, cell in zip(shares, samples, cells, strict=True):
        own = of_cell(int(cell))
        source = own.col if observed.name == "y" else own.row
        np.add.at(share, own.index, operand[sample, source])
    taps = prod(ties.weight_shape[2:])
    of_pairs = shares.reshape(len(cells), -1, taps)  # (probes, pairs, taps)
    for number in np.flatnonzero(of_pairs.any(axis=(0, 2))):
        pair = unravelled(number, ties.weight_shape[:2])
        yield pair, difference[samples, cells], of_pairs[:, number]


def _substitutes(shape: tuple[int, ...], pair: Pair) -> Iterator[Substitute]:
    """Yield what is tried in the place of one pair's kernel."""
    n = len(shape) - 2
    yield Substitute("the kernel is zero", pair, np.zeros_like)
    yield Substitute("the kernel has its sign turned", pair, np.negative)
    for some, which in subsets(n):
        yield Substitute(f"the kernel is reversed on {which}", pair, partial(np.flip, axis=some))
    for i, j in combinations(range(n), 2):
        if shape[2 + i] == shape[2 + j]:
            transpose = partial(np.swapaxes, axis1=i, axis2=j)
            yield Substitute(f"the kernel has axes {i} and {j} transposed", pair, transpose)
    if prod(shape[:2]) <= MOST_PAIRS:
        for other in np.ndindex(*shape[:2]):
            if other != pair:
                yield Substitute(f"the kernel is that of the pair {other}", other, np.asarray)
    for tap in np.ndindex(*shape[2:]):
        yield Substitute(f"the weight at tap {tap} is zero", pair, partial(_without, tap))


def _without(tap: Index, kernel: Array) -> Array:
    rest = np.array(kernel)
    rest[tap] = 0
    return rest


def _with_kernel(layer: Geometry, pair: Pair, substitute: Substitute) -> Mistake:
    """Return the layer with a substitute for one pair's kernel."""

    def weights(w: Array) -> Array:
        other = np.array(w)
        other[pair] = substitute.change(w[substitute.source])
        return other

    sentence = f"of the channel pair {pair} {substitute.sentence}"
    return Mistake(sentence, tie(layer), weights)


def _scaled(layer: Geometry, observed: Observations, pair: Pair, more: Array, share: Array) -> str:
    """Return that one weight of the pair, or its whole kernel, is multiplied by a number."""
    kernel = observed.calls[0].w[pair]
    added = share * kernel.ravel()  # (probes, taps): what every weight adds
    sizes = np.abs(added).sum(axis=1) * kernel.size
    candidates: list[tuple[str, Index, Array]] = [("the kernel is", (...,), added.sum(axis=1))]
    for k, tap in enumerate(np.ndindex(*kernel.shape)):
        candidates.append((f"the weight at tap {tap} is", tap, added[:, k]))

    for words, where, column in candidates:
        if multiple(more, column, size=sizes) is None:
            continue
        factor = _times_too_often(layer, observed, (*pair, *where), kernel.size)
        if factor is not None:
            return f"of the channel pair {pair} {words} multiplied by {1 + factor:.8g}"
    return ""


def _times_too_often(
    layer: Geometry, observed: Observations, where: Index, terms: int
) -> float | None:
    """Return c if what some weights add is there 1 + c times, in every draw."""
    name, right = observed.name, Mistake("", tie(layer))
    alone = replace(right, weights=partial(_only, where))
    added = [alone.run(call.without_bias, name) for call in observed.calls]
    sizes = [right.run(Call(*map(np.abs, call)), name) for call in observed.calls]
    return multiple(
        observed.stacked(observed.returned),
        observed.stacked(added),
        observed.stacked(observed.expected),
        observed.stacked(sizes) * terms,
    )


def _only(where: Index, w: Array) -> Array:
    some = np.zeros_like(w)
    some[where] = w[where]
    return some
