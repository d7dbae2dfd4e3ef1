"""Two mistakes at once in the structure of a layer.

Two of its numbers are wrong, or one of them and the order of its weights, or that order twice.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations, islice

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.catalogue import possible_changes, wrong_groups, wrong_tie_maps
from convdense.diagnosis.mistakes.geometry import (
    exists,
    tie_map,
    window_parameters,
    windows,
)
from convdense.diagnosis.mistakes.mistake import Call, Mistake
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.weights import Weights, swaps, weight_mistakes
from convdense.diagnosis.mistakes.windows import window_mistakes
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

PROBES = 2  # cells of the first sample on which a pair is tried first
MOST = 10_000_000  # weights of all orders that are tried; of large layers the first orders only
Map = tuple[str, TieMap]  # the sentence of a mistake, and the tie map that it gives


def two_mistakes(layer: Geometry, observed: Observations) -> Mistake | None:
    """Return the first two mistakes that together give exactly what came, in every draw."""
    if not observed.comparable or not isinstance(layer, (Conv, ConvTranspose)):
        return None
    for both in _pairs_that_may_fit(layer, observed):
        if observed.fits(partial(both.run, name=observed.name)):
            return both
    return None


def _pairs_that_may_fit(layer: Conv | ConvTranspose, observed: Observations) -> Iterator[Mistake]:
    """Yield the pairs of mistakes that fit a few cells of the first draw."""
    right, axes = tie(layer), len(layer.kernel)
    shape = right.weight_shape
    most = max(1, MOST // right.n_weights)
    orders = list(islice(weight_mistakes(shape, axes), most))
    unchanged = Weights("", np.asarray, np.asarray)
    twice = [
        _one_after_the_other(swap, order)
        for swap in swaps(shape, axes)
        for order in orders
        if swap.sentence != order.sentence
    ]
    attempts: list[tuple[Iterable[Map], list[Weights]]] = [
        (wrong_tie_maps(layer), orders),
        (_two_wrong_numbers(layer), [unchanged]),
        ([("", right)], twice),
    ]
    for maps, weight_orders in attempts:
        if not weight_orders:
            continue
        fitting = _fitting_orders(observed, weight_orders)
        for sentence, ties in maps:
            for weights in fitting(ties):
                yield _joined(sentence, ties, weights)


def _joined(sentence: str, ties: TieMap, weights: Weights) -> Mistake:
    sentences = filter(None, (sentence, weights.sentence))
    return Mistake(", and ".join(sentences), ties, weights.read, weights.write)


def _one_after_the_other(a: Weights, b: Weights) -> Weights:
    return Weights(
        f"{a.sentence}, and {b.sentence}",
        lambda w: b.read(a.read(w)),
        lambda g: a.write(b.write(g)),
    )


def _two_wrong_numbers(layer: Conv | ConvTranspose) -> Iterator[Map]:
    """Yield tie maps with two mistakes in the layer's numbers, its groups or its windows."""
    right, transposed = window_parameters(layer), isinstance(layer, ConvTranspose)
    single, groups = list(possible_changes(right, transposed)), list(wrong_groups(layer))
    for (first, a), (second, b) in combinations(single, 2):
        if a.keys() & b.keys():  # the same number
            continue
        axes = windows(right._replace(**a, **b))
        if axes and exists(axes):
            yield f"{first}, and {second}", tie_map(layer, axes)
    for sentence, changed in single:
        wrong = right._replace(**changed)
        for words, axis in groups:
            yield f"{sentence}, and {words}", tie_map(layer, windows(wrong), axis)
        for words, axes in window_mistakes(wrong, transposed):
            yield f"{sentence}, and {words}", tie_map(layer, axes)


def _fitting_orders(
    observed: Observations, orders: list[Weights]
) -> Callable[[TieMap], list[Weights]]:
    """Return, as a function of a tie map, the orders of the weights that fit a few cells.

    The cells are those of the first draw's first sample that are most wrong. dw, which has no
    samples, is compared as a whole.
    """
    call, got = observed.calls[0], np.asarray(observed.returned[0])

    def that_write_dw(ties: TieMap) -> list[Weights]:
        gradient = ties.add_edges(call.x, call.dy).reshape(call.w.shape)
        return [order for order in orders if same(got, order.write(gradient))]

    if observed.name == "dw":
        return that_write_dw

    of_outputs = observed.name == "y"
    read = np.stack([order.read(call.w).ravel() for order in orders])  # (orders, weights)
    error = np.abs(got[0] - observed.expected[0][0]).ravel()
    probes = np.argsort(-error, kind="stable")[:PROBES]
    linear = got[0] - _bias_of_one_sample(call) if of_outputs else got[0]
    wanted = linear.ravel()[probes]

    def that_read_the_probes(ties: TieMap) -> list[Weights]:
        fits = np.ones(len(orders), bool)
        for cell, value in zip(probes, wanted, strict=True):
            if of_outputs:
                own = ties.row(int(cell))
                met = call.x[0].ravel()[own.col]
            else:
                own = ties.column(int(cell))
                met = call.dy[0].ravel()[own.row]
            # (orders, entries of the cell) @ (entries of the cell,)
            fits &= read[:, own.index] @ met == value
        return [orders[i] for i in np.flatnonzero(fits)]

    return that_read_the_probes


def _bias_of_one_sample(call: Call) -> Array:
    """Return what the bias adds to one sample of y."""
    shape = call.dy.shape[1:]
    trailing = len(shape) - call.b.ndim
    return np.broadcast_to(call.b.reshape(-1, *[1] * trailing), shape)
