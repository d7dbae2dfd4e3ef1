"""Weights got wrong: axes or channels transposed, stored in another order, some of them lost."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Index, Reordering


class Weights(NamedTuple):
    """Weights got wrong, in words; how they are read; its adjoint, how their gradient is written.

    Both are linear: `read` takes a weight array, `write` a weight gradient.
    """

    sentence: str
    read: Reordering
    write: Reordering

    def then(self, other: "Weights") -> "Weights":
        """Return weights read in this order and then another; adjoints go the other way round."""
        return Weights(
            f"{self.sentence}, and {other.sentence}",
            read=lambda w: other.read(self.read(w)),
            write=lambda gradient: self.write(other.write(gradient)),
        )


def weight_mistakes(shape: tuple[int, ...], n: int) -> Iterator[Weights]:
    """Yield weights in another order, or some of them lost; the last n axes are the kernel's."""
    yield from swaps(shape, n)
    in_order = tuple(range(len(shape)))
    for order in permutations(in_order):
        if order != in_order:
            yield _stored(shape, order)
    if not n:  # no window: nothing is lost tap by tap
        return
    for tap in np.ndindex(*shape[-n:]):
        yield _lost(f"tap {tap} of the kernel is lost", (..., *tap))
    if shape[0] * shape[1] > 1:
        for pair in np.ndindex(*shape[:2]):
            yield _lost(f"the channel pair {pair} of the kernel is lost", pair)


def swaps(shape: tuple[int, ...], n: int) -> Iterator[Weights]:
    """Yield two axes of the kernel transposed, or its channels, where they are equally many."""
    first = len(shape) - n  # axis of the kernel
    for i, j in combinations(range(n), 2):
        if shape[first + i] == shape[first + j]:
            yield _swapped(f"axes {i} and {j} of the kernel are transposed", first + i, first + j)
    for axis, word in ((0, "first"), (1, "second")):
        if n and shape[axis] > 1:
            channels = f"the channels along the {word} axis of the weights are in reverse order"
            turned = partial(np.flip, axis=axis)
            yield Weights(channels, turned, turned)
    if len(shape) > 1 and shape[0] == shape[1] > 1:
        if not n:
            yield _swapped("the weights are transposed", 0, 1)
            return
        yield _swapped("input and output channels of the kernel are swapped", 0, 1)


def _swapped(sentence: str, i: int, j: int) -> Weights:
    def swapped(w: Array) -> Array:
        return np.swapaxes(w, i, j)

    return Weights(sentence, swapped, swapped)


def _stored(shape: tuple[int, ...], order: tuple[int, ...]) -> Weights:
    """Return a weight array read with its axes in another order, and the gradient written so."""
    stored = tuple(shape[axis] for axis in order)
    back = tuple(np.argsort(order).tolist())
    return Weights(
        f"the weights are read as if their axes were stored in the order {order}",
        lambda w: np.ascontiguousarray(w).reshape(stored).transpose(back),
        lambda gradient: np.ascontiguousarray(gradient.transpose(order)).reshape(shape),
    )


def _lost(sentence: str, where: Index) -> Weights:
    def lost(w: Array) -> Array:
        kept = np.array(w)
        kept[where] = 0
        return kept

    return Weights(sentence, lost, lost)
