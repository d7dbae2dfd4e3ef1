"""Mistakes in the sums: a sign, a factor, a mean for a sum, = for +=.

Each is a sentence and a function of (value, mistake, call): what the sums give, of which layer (the
right one, or one with a mistake of its own), on which operands. It returns what they give with the
mistake.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.bias import bias_gradient_mistakes, bias_mistakes
from convdense.diagnosis.mistakes.layout import layouts, moved, sizes_of_dx, sizes_of_y
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Mistake,
    ResultMistake,
    all_entries,
    bias_gradient,
    cells_of,
    flat_samples,
    of_the_call,
    of_the_value,
    products,
)
from convdense.geometry import Conv, Geometry
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap

PROBED = 16  # cells of a quantity that are computed first: all of them take far longer

# The operands of each quantity that lie in memory as (batch, channels, *pixels).
_READS = {"y": ("x",), "dx": ("dy",), "dw": ("x", "dy"), "db": ()}


def result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield each mistake in the sums that may stand beside one in the layer."""
    if name in ("dw", "db"):
        # Before the plain factors: a mean over a batch of 3 is also a division by 3.
        yield from _means(layer)
    for sentence, change in plain_result_mistakes(name):
        yield sentence, of_the_value(change)

    if name == "y":
        yield from _mistakes_of_y(layer)
    elif name == "dx":
        yield from _overwritten("dx")
        yield "dy is taken for ones", of_the_call("dx", _with_ones)
    elif name == "dw":
        yield from _mistakes_of_dw()
    else:
        yield "dy is taken for ones", lambda _, __, call: bias_gradient(layer, _with_ones(call).dy)
        yield from bias_gradient_mistakes(layer)


def plain_result_mistakes(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the mistakes that need the value alone; layers without weights make them too."""
    yield "it is zero", np.zeros_like
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda value: value / len(value)
        sentence = "every sample is given the first one's result"
        yield sentence, lambda value: np.repeat(value[:1], len(value), axis=0)
        sentence = "only the first sample of the batch is computed"
        yield sentence, lambda value: np.concatenate([value[:1], 0 * value[1:]])
        yield "the samples of the batch are in reverse order", lambda value: value[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)


def _divided(n: float, value: Array) -> Array:
    return np.asarray(value / n)


def _means(layer: Geometry) -> Iterator[ResultMistake]:
    pixels = prod(layer.out_spatial)
    sentence = "the mean over the batch is taken for the sum"
    yield sentence, lambda value, _, call: value / len(call.x)
    yield "the mean over the positions is taken for the sum", lambda value, *_: value / pixels
    sentence = "the mean over batch and positions is taken for the sum"
    yield sentence, lambda value, _, call: value / (len(call.x) * pixels)


def _mistakes_of_y(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield the bias got wrong, a ReLU that does not belong there, and sums written over."""
    yield from bias_mistakes(layer)
    yield "negative outputs are set to 0", lambda value, *_: np.maximum(value, 0)
    sentence = "negative inputs are set to 0"
    yield sentence, of_the_call("y", lambda call: call._replace(x=np.maximum(call.x, 0)))
    yield from _overwritten("y")


def _mistakes_of_dw() -> Iterator[ResultMistake]:
    """Yield samples left out, sums written over, dy not read, and sums multiplied."""
    first, last = partial(_samples, slice(0, 1)), partial(_samples, slice(-1, None))
    yield "only the first sample of the batch counts", of_the_call("dw", first)
    yield "only the last sample of the batch counts", of_the_call("dw", last)
    yield from _overwritten("dw")
    yield "dy is taken for ones", of_the_call("dw", _with_ones)
    yield "a product of sums is taken for the sum of products", _product_of_sums
    sentence = "a product of sums, over all of dy, is taken for the sum of products"
    yield sentence, _product_with_all_of_dy


def _samples(which: slice, call: Call) -> Call:
    return call._replace(x=call.x[which], dy=call.dy[which])


def _with_ones(call: Call) -> Call:
    return call._replace(dy=np.ones_like(call.dy))


def lone_result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield what is tried in the right layer alone.

    Results moved by some cells or read in another memory order, operands read so, and other sizes.
    """
    if name in ("y", "dx"):
        begin = tuple(pair[0] for pair in layer.padding)  # moved by the padding in front
        for sentence, layout in (*moved(len(layer.out_spatial), begin), *layouts()):
            yield sentence, of_the_value(layout)

    for operand in _READS[name]:
        for sentence, layout in layouts():
            read = partial(_read_otherwise, operand, layout)
            yield f"of {operand}, {sentence}", of_the_call(name, read)

    if isinstance(layer, Conv) and name == "y":
        yield from sizes_of_y(layer)
    if isinstance(layer, Conv) and name == "dx" and layer.padding_mode == "zeros":
        yield from sizes_of_dx(layer)


def _read_otherwise(operand: str, layout: Callable[[Array], Array], call: Call) -> Call:
    return call._replace(**{operand: layout(getattr(call, operand))})


def _overwritten(name: str) -> Iterator[ResultMistake]:
    """Yield = for +=, where the outermost loop is over the outputs, the inputs or the taps."""
    sentence = "= where += is needed: what is added last stays"
    for by in ("output", "input", "tap"):
        yield f"{sentence} ({by} by {by})", Overwritten(name, by)


@dataclass(frozen=True)
class Overwritten:
    """y, dx or dw if = stands where += is needed, in loops over outputs, inputs or taps.

    The sums over channels (for dw: over the batch) are right. `by` is the outer loop: within one of
    its steps all is added up, and each later step overwrites what a cell held.
    """

    name: str
    by: str

    def __call__(self, _: Array, mistake: Mistake, call: Call) -> Array:
        """Return the whole quantity."""
        everywhere = np.ones(self._size(mistake.ties), bool)
        return self._at(everywhere, mistake, call)

    def probe(self, mistake: Mistake, call: Call) -> Array:
        """Return the quantity at a few cells, NaN elsewhere: enough to rule most quantities out."""
        size = self._size(mistake.ties)
        asked = np.zeros(size, bool)
        asked[np.random.default_rng(0).integers(0, size, PROBED)] = True
        return self._at(asked, mistake, call)

    def _size(self, ties: TieMap) -> int:
        shapes = {"y": ties.out_shape, "dx": ties.in_shape, "dw": ties.weight_shape}
        return prod(shapes[self.name])

    def _at(self, asked: Array, mistake: Mistake, call: Call) -> Array:
        """Return the quantity at the cells asked for, a mask over its flat cells; NaN elsewhere."""
        if mistake.ties.padding:  # what a number in the padding adds has no place in these loops
            return np.full((1, len(asked)), np.nan)
        entries = all_entries(mistake.ties)
        if not asked.all():
            is_asked = asked[cells_of(self.name, entries)]  # (entries,)
            entries = entries.take(np.flatnonzero(is_asked))
        surviving = self._not_overwritten(entries, mistake.ties, len(asked))

        cells = cells_of(self.name, surviving)
        each = products(self.name, surviving, call._replace(w=mistake.weights(call.w)))
        if self.name == "dw":
            each = each.sum(axis=0, keepdims=True)  # over the batch
        sums = [np.bincount(cells, of_sample, len(asked)) for of_sample in each]
        result = np.stack(sums).astype(float)  # without entries, bincount counts in integers
        result[:, ~asked] = np.nan  # (batch, cells), of dw (1, cells)

        if self.name == "dw":  # in the mistaken layer's order of the weights: back to that of w
            return np.asarray(mistake.weights_adjoint(result.reshape(call.w.shape)))
        if self.name == "dx":
            return np.asarray(result.reshape(call.x.shape))
        bias = mistake.ties.bias.matrix(call.b).toarray()[:, 0]  # (outputs,)
        return np.asarray((result + bias).reshape(call.dy.shape))

    def _not_overwritten(self, entries: Entries, ties: TieMap, n_cells: int) -> Entries:
        """Return, of the entries that add to one cell, those of its last step of the outer loop."""
        cells = cells_of(self.name, entries)
        steps = self._steps(entries, ties)
        last_step = np.full(n_cells, -1)  # of each cell
        np.maximum.at(last_step, cells, steps)
        return entries.take(np.flatnonzero(steps == last_step[cells]))

    def _steps(self, entries: Entries, ties: TieMap) -> Array:
        """Return at which step of the outer loop each entry adds: the position in its channel.

        All channels of a position (of a tap: all kernels) belong to one step.
        """
        if self.by == "output":
            return entries.row % prod(ties.out_shape[1:])
        if self.by == "input":
            return entries.col % prod(ties.in_shape[1:])
        return entries.index % prod(ties.weight_shape[2:])


def _product_of_sums(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw if each weight's inputs and the dy of its outputs are summed, then multiplied."""
    rows = all_entries(mistake.ties).row
    return _inputs_times(_summed_by_weight(mistake.ties, call.dy, rows), mistake, call)


def _product_with_all_of_dy(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return the same, dy summed over its whole channel: outputs that meet padding count too."""
    ties, entries = mistake.ties, all_entries(mistake.ties)
    channels = np.zeros(ties.n_weights, int)  # the output channel of each weight
    channels[entries.index] = entries.row // prod(ties.out_shape[1:])
    of_channels = call.dy.reshape(*call.dy.shape[:2], -1).sum(axis=2)  # (batch, channels)
    return _inputs_times(of_channels[:, channels], mistake, call)


def _inputs_times(gradients: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw: the sum of each weight's inputs times the sum of dy given, (batch, weights)."""
    inputs = _summed_by_weight(mistake.ties, call.x, all_entries(mistake.ties).col)
    dw = (inputs * gradients).sum(axis=0)
    return np.asarray(mistake.weights_adjoint(dw.reshape(call.w.shape)))


def _summed_by_weight(ties: TieMap, operand: Array, cells: Array) -> Array:
    """Return the sum, for each weight, of an operand's cells over its entries, (batch, weights)."""
    weights = all_entries(ties).index  # (entries,), as `cells`
    samples = flat_samples(operand)
    return np.stack([np.bincount(weights, flat[cells], ties.n_weights) for flat in samples])
