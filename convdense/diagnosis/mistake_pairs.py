"""Two mistakes at once in the structure of a layer: one of its numbers and another, or the order of its weights."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.catalogue import possible_changes, wrong_groups, wrong_tie_maps
from convdense.diagnosis.mistakes.geometry import (
    exists,
    tie_map,
    window_parameters,
    windows,
)
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.weights import Weights, swaps, weight_mistakes
from convdense.diagnosis.mistakes.windows import window_mistakes
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

PROBES = 2  # cells of the first sample on which a pair is tried first
MOST = 10_000_000  # weights of all orders that are tried; of large layers the first orders only
Map = tuple[str, TieMap]


def two_mistakes(layer: Geometry, observed: Observations) -> Mistake | None:
    """Return the first two mistakes that together give exactly what came, in every draw; None if no two do."""
    if not observed.comparable or not isinstance(layer, (Conv, ConvTranspose)):
        return None
    right = tie(layer)
    none = Weights("", np.asarray, np.asarray)
    orders = list(weight_mistakes(right.weight_shape, len(layer.kernel)))[
        : max(1, MOST // right.n_weights)
    ]
    for maps, some in ((wrong_tie_maps(layer), orders), (_double(layer), [none])):
        tried = _tried(observed, some)
        for first, ties in maps:
            for weights in tried(ties):
                found = _joined(first, ties, weights)
                if observed.fits(partial(found.run, name=observed.name)):
                    return found
    swapped = list(swaps(right.weight_shape, len(layer.kernel)))
    both = [_both(a, b) for a in swapped for b in orders if a.sentence != b.sentence]
    for weights in _tried(observed, both)(right) if both else ():
        found = _joined("", right, weights)
        if observed.fits(partial(found.run, name=observed.name)):
            return found
    return None


def _joined(first: str, ties: TieMap, weights: Weights) -> Mistake:
    return Mistake(
        ", and ".join(filter(None, (first, weights.sentence))), ties, weights.read, weights.write
    )


def _both(a: Weights, b: Weights) -> Weights:
    return Weights(
        f"{a.sentence}, and {b.sentence}",
        lambda w: b.read(a.read(w)),
        lambda g: a.write(b.write(g)),
    )


def _double(layer: Conv | ConvTranspose) -> Iterator[Map]:
    """Yield tie maps with two mistakes."""
    n, transposed = window_parameters(layer), isinstance(layer, ConvTranspose)
    single, groups = list(possible_changes(n, transposed)), list(wrong_groups(layer))
    for (first, a), (second, b) in combinations(single, 2):
        axes = windows(n._replace(**a, **b)) if not a.keys() & b.keys() else []
        if axes and exists(axes):
            yield f"{first}, and {second}", tie_map(layer, axes)
    for sentence, changed in single:
        other = n._replace(**changed)
        for words, axis in groups:
            yield f"{sentence}, and {words}", tie_map(layer, windows(other), axis)
        for words, axes in window_mistakes(other, transposed):
            yield f"{sentence}, and {words}", tie_map(layer, axes)


def _tried(observed: Observations, orders: list[Weights]) -> Callable[[TieMap], list[Weights]]:
    """Return, as a function of a tie map, the orders of the weights that fit a few cells of the first draw."""
    call, got = observed.calls[0], np.asarray(observed.returned[0])
    if observed.name == "dw":
        return lambda ties: _writing(
            ties.add_edges(call.x, call.dy).reshape(call.w.shape), got, orders
        )
    read = np.stack([o.read(call.w).ravel() for o in orders])  # (orders, weights)
    bias = 0.0 * got[0] if observed.name == "dx" else _of_bias(observed)
    wrong = np.argsort(-np.abs(got[0] - observed.expected[0][0]).ravel(), kind="stable")[
        :PROBES
    ]  # of the first sample
    wanted = (got[0] - bias).ravel()[wrong]

    def fitting(ties: TieMap) -> list[Weights]:
        kept = np.ones(len(orders), bool)
        for cell, value in zip(wrong, wanted, strict=True):
            own = ties.row(int(cell)) if observed.name == "y" else ties.column(int(cell))
            met = (
                call.x[0].ravel()[own.col] if observed.name == "y" else call.dy[0].ravel()[own.row]
            )
            kept &= read[:, own.index] @ met == value
        return [orders[i] for i in np.flatnonzero(kept)]

    return fitting


def _writing(gradient: Array, got: Array, orders: list[Weights]) -> list[Weights]:
    """Return the orders in which a gradient is written as it came."""
    return [order for order in orders if same(got, order.write(gradient))]


def _of_bias(observed: Observations) -> Array:
    """Return what the bias adds to one sample of y."""
    call = observed.calls[0]
    return np.broadcast_to(
        call.b.reshape(-1, *[1] * (call.dy.ndim - 1 - call.b.ndim)), call.dy.shape[1:]
    )
