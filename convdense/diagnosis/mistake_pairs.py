"""Two mistakes at once in the structure of a layer.

Two of its numbers are wrong, or one of them and the order of its weights, or that order twice.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations, islice

import numpy as np

from convdense.certificates.clock import Clock
from convdense.diagnosis.mistakes.catalogue import possible_changes, wrong_groups, wrong_tie_maps
from convdense.diagnosis.mistakes.geometry import exists, windows
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.weights import Weights, swaps, weight_mistakes
from convdense.diagnosis.mistakes.windows import window_mistakes
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import tie, tie_map, window_channels, window_parameters
from convdense.structure.axis import channels
from convdense.structure.tie_map import TieMap

PROBES = 2  # cells of the first sample on which a pair is tried first
MOST = 10_000_000  # numbers held: orders of the weights that are tried, times weights
NamedTieMap = tuple[str, TieMap]  # the sentence of a mistake, and the tie map that it gives


def two_mistakes(
    layer: Geometry, observed: Observations, clock: Clock | None = None, only: str = ""
) -> Mistake | None:
    """Return the first two mistakes that together give exactly what came, in every draw.

    `only` is the sentence of both, if they are known; None as well when the time is up.
    """
    if not observed.comparable or not isinstance(layer, (Conv, ConvTranspose)):
        return None
    for both in _pairs_that_may_fit(layer, observed, clock or Clock(), only):
        if observed.fits(partial(both.run, name=observed.name)):
            return both
    return None


def _pairs_that_may_fit(
    layer: Conv | ConvTranspose, observed: Observations, clock: Clock, only: str
) -> Iterator[Mistake]:
    """Yield the pairs of mistakes that fit a few cells of the first draw."""
    right = tie(layer)
    shape = right.weight_shape
    n_axes = len(layer.kernel)

    most = max(1, MOST // right.n_weights)
    wrong_orders = list(islice(weight_mistakes(shape, n_axes), most))
    right_order = Weights("", read=np.asarray, write=np.asarray)
    two_wrong_orders = [
        swap.then(order)
        for swap in swaps(shape, n_axes)
        for order in wrong_orders
        if swap.sentence != order.sentence
    ]
    attempts: list[tuple[Iterable[NamedTieMap], list[Weights]]] = [
        (wrong_tie_maps(layer), wrong_orders),
        (_two_wrong_numbers(layer), [right_order]),
        ([("", right)], two_wrong_orders),
    ]
    for tie_maps, orders in attempts:
        if not orders:  # of weights with no two axes of one size, there are no swaps
            continue
        orders_that_fit = _filter_of_orders(observed, orders)
        for sentence, ties in clock.during(tie_maps):
            if not only.startswith(sentence) and only:
                continue
            for order in orders_that_fit(ties):
                words = ", and ".join(filter(None, (sentence, order.sentence)))  # right has none
                if only in ("", words):
                    yield Mistake(words, ties, order.read, order.write)


def _two_wrong_numbers(layer: Conv | ConvTranspose) -> Iterator[NamedTieMap]:
    """Yield tie maps with two mistakes in the layer's numbers, its groups or its windows."""
    right = window_parameters(layer)
    right_channels = channels(*window_channels(layer), layer.groups)
    transposed = isinstance(layer, ConvTranspose)
    one_change = list(possible_changes(right, transposed, rare=False))
    for (first, a), (second, b) in combinations(one_change, 2):
        if a.keys() & b.keys():  # both change the same number
            continue
        axes = windows(right._replace(**a, **b))
        if axes and exists(axes):  # each change is possible, but both together may not be
            yield f"{first}, and {second}", tie_map(layer, axes, right_channels)

    groups = list(wrong_groups(layer))
    for sentence, changed in one_change:
        wrong = right._replace(**changed)
        for words, channel_axis in groups:
            yield f"{sentence}, and {words}", tie_map(layer, windows(wrong), channel_axis)
        for words, axes in window_mistakes(wrong, transposed):
            yield f"{sentence}, and {words}", tie_map(layer, axes, right_channels)


def _filter_of_orders(
    observed: Observations, orders: list[Weights]
) -> Callable[[TieMap], list[Weights]]:
    """Return a function of a tie map: which of these orders of the weights may fit with it.

    They fit the cells that are most wrong in the first sample of the first draw. dw, which has no
    samples, is compared as a whole.
    """
    call = observed.calls[0]
    got = np.asarray(observed.returned[0])

    def orders_that_fit_dw(ties: TieMap) -> list[Weights]:
        gradient = ties.add_edges(call.x, call.dy).reshape(call.w.shape)
        return [order for order in orders if same(got, order.write(gradient))]

    if observed.name == "dw":
        return orders_that_fit_dw

    # what does not depend on the tie map is computed once, for all of them
    of_outputs = observed.name == "y"
    reordered = np.stack([order.read(call.w).ravel() for order in orders])  # (orders, weights)
    first_got, first_expected = got[0], observed.expected[0][0]  # first sample of the first draw
    error = np.abs(first_got - first_expected).ravel()
    probes = np.argsort(-error, kind="stable")[:PROBES]
    sums = first_got.ravel()
    if of_outputs:  # consecutive outputs share a bias
        sums = sums - np.repeat(call.b.ravel(), sums.size // call.b.size)
    wanted = sums[probes]

    def orders_that_fit_the_probes(ties: TieMap) -> list[Weights]:
        fits = np.ones(len(orders), bool)
        for cell, value in zip(probes, wanted, strict=True):
            if of_outputs:
                entries = ties.row(int(cell))
                operand = call.x[0].ravel()[entries.col]
            else:
                entries = ties.column(int(cell))
                operand = call.dy[0].ravel()[entries.row]
            # (orders, entries) @ (entries,); the coefficients of all these tie maps are 1
            fits &= reordered[:, entries.index] @ operand == value
        return [orders[i] for i in np.flatnonzero(fits)]

    return orders_that_fit_the_probes
