"""Mistakes in the sums: a sign, a factor, a mean for a sum, = for +=.

Each is a sentence and a function of (value, mistake, call): what the sums give, of which layer (the
right one, or one with a mistake of its own), on which operands. It returns what they give with the
mistake.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.bias import (
    bias_gradient_mistakes,
    bias_mistakes,
    inside_output_padding,
)
from convdense.diagnosis.mistakes.layout import layouts, moved, sizes_of_dx, sizes_of_y
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Index,
    Mistake,
    ResultMistake,
    bias_gradient,
    of_the_call,
    of_the_value,
    only,
)
from convdense.diagnosis.mistakes.overwriting import overwritten
from convdense.geometry import Conv, ConvTranspose, Geometry, LocallyConnected
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

# The operands of each quantity that lie in memory as (batch, channels, *pixels).
_READS = {"y": ("x",), "dx": ("dy",), "dw": ("x", "dy"), "db": ()}


def result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield each mistake in the sums that may stand beside one in the layer."""
    if name in ("dw", "db"):
        # Before the plain factors: a mean over a batch of 3 is also a division by 3.
        yield from _means(layer)
    channels = _channels_summed(layer, name)
    if name == "dx" and channels > 1:
        sentence = "the mean over the output channels is taken for the sum"
        yield sentence, lambda value, *_: value / channels
    if name != "db":
        yield from _means_of_entries(layer, name)
    for sentence, change in plain_result_mistakes(name):
        yield sentence, of_the_value(change)

    if name == "y":
        yield from _mistakes_of_y(layer)
    elif name == "dx":
        yield from _output_padding_not_read(layer, "dx")
        sentence = "it is 0 where x is not positive, as through a ReLU before the layer"
        yield sentence, lambda value, _, call: value * (call.x > 0)
        yield from overwritten("dx")
        yield "dy is taken for ones", of_the_call("dx", _with_ones)
    elif name == "dw":
        yield from _output_padding_not_read(layer, "dw")
        yield from _mistakes_of_dw()
    else:
        yield "dy is taken for ones", lambda _, __, call: bias_gradient(layer, _with_ones(call).dy)
        yield from bias_gradient_mistakes(layer)


def common_result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield those of the sums that are tried beside every mistake in the layer's structure."""
    if name == "dw":
        yield from _means(layer)
    yield "the sign is turned", of_the_value(np.negative)
    if name in ("y", "dx"):
        yield "it is divided by the batch size", of_the_value(lambda value: value / len(value))
    for n in (2.0, 4.0):
        yield f"it is multiplied by {n:g}", of_the_value(partial(np.multiply, n))
        yield f"it is divided by {n:g}", of_the_value(partial(_divided, n))
    if name == "y":
        yield "the bias is not added", of_the_call("y", lambda call: call.without_bias)
        yield "negative outputs are set to 0", of_the_value(lambda value: np.maximum(value, 0))
    if name == "dw":
        first = partial(_samples, slice(0, 1))
        yield "only the first sample of the batch counts", of_the_call("dw", first)
    if name != "db":
        yield from overwritten(name)


def plain_result_mistakes(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the mistakes that need the value alone; layers without weights make them too."""
    yield "it is zero", np.zeros_like
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda value: value / len(value)
        sentence = "every sample is given the result of the first sample"
        yield sentence, lambda value: np.repeat(value[:1], len(value), axis=0)
        yield "it is the sum over all samples, given to every sample", _summed_over_samples
        sentence = "only the first sample of the batch is computed"
        yield sentence, lambda value: np.concatenate([value[:1], 0 * value[1:]])
        yield "the samples of the batch are in reverse order", lambda value: value[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)


def _summed_over_samples(value: Array) -> Array:
    return np.broadcast_to(value.sum(axis=0, keepdims=True), value.shape)


def _divided(n: float, value: Array) -> Array:
    return np.asarray(value / n)


def _means(layer: Geometry) -> Iterator[ResultMistake]:
    pixels = prod(layer.out_shape[1:])
    sentence = "the mean over the batch is taken for the sum"
    yield sentence, lambda value, _, call: value / len(call.x)
    yield "the mean over the positions is taken for the sum", lambda value, *_: value / pixels
    sentence = "the mean over batch and positions is taken for the sum"
    yield sentence, lambda value, _, call: value / (len(call.x) * pixels)


def _mistakes_of_y(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield the bias got wrong, a ReLU that does not belong there, and sums written over."""
    yield from bias_mistakes(layer)
    yield from _ends_left_out(layer)
    n = _channels_summed(layer, "y")
    if n > 1:
        sentence = "the mean over the input channels is taken for the sum"
        yield sentence, lambda value, _, call: (value - _bias(call)) / n + _bias(call)
        yield f"{sentence}, bias included", lambda value, *_: value / n
    yield "negative outputs are set to 0", lambda value, *_: np.maximum(value, 0)
    sentence = "negative inputs are set to 0"
    yield sentence, of_the_call("y", lambda call: call._replace(x=np.maximum(call.x, 0)))
    yield from overwritten("y")


def _bias(call: Call) -> Array:
    """Return the bias as it is added to y, (batch, channels, *pixels)."""
    return call.b.reshape(*call.b.shape, *[1] * (call.dy.ndim - 1 - call.b.ndim))


def _channels_summed(layer: Any, name: str) -> int:
    """Return over how many channels a sum goes, 0 where a layer has none."""
    if not isinstance(layer, Geometry):
        return 0
    channels = {"y": layer.in_channels, "dx": layer.out_channels}.get(name, 0)
    return channels // layer.groups


def _means_of_entries(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield a mean over what meets in a cell, as if a fold were averaged, or over copies."""
    counts = tie(layer).counts()
    if name == "dw":
        of_copies = np.maximum(counts.weights, 1)
        if isinstance(layer, LocallyConnected):
            over = tuple(range(2, 2 + len(layer.out_spatial)))
            sentence = "the weights are taken for tied: it is summed over the positions"
            yield (
                sentence,
                lambda value, *_: np.broadcast_to(value.sum(axis=over, keepdims=True), value.shape),
            )
        sentence = "the mean over the copies of a weight is taken for the sum"
        yield sentence, lambda value, *_: value / of_copies
        return
    if name == "y" and isinstance(layer, ConvTranspose):
        windows_met = counts.outputs // max(1, _channels_summed(layer, name))
        sentence = "the bias is added once for every window that meets a cell"
        yield sentence, lambda value, _, call: value + (windows_met - 1) * _bias(call)
    is_scattered = name == "dx" or isinstance(layer, ConvTranspose)
    channels = max(1, _channels_summed(layer, name))
    met = np.maximum((counts.inputs if name == "dx" else counts.outputs) // channels, 1)
    if is_scattered and met.max() > 1:
        sentence = "where windows overlap, their mean is taken for the sum: it is averaged"
        yield (
            sentence,
            lambda value, _, call: (
                value / met if name == "dx" else (value - _bias(call)) / met + _bias(call)
            ),
        )


def _ends_left_out(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield outputs that stay 0 at the ends of an axis, or where output padding adds them."""
    parts = []
    inner = inside_output_padding(layer)
    if inner is not None:
        parts.append(("cells that output_padding adds", inner))
    n = len(layer.out_shape) - 1
    for axis in range(n):
        for word, kept in (("last", slice(None, -1)), ("first", slice(1, None))):
            rest: Index = (..., kept, *[slice(None)] * (n - 1 - axis))
            parts.append((f"{word} outputs along axis {axis}", rest))
    for words, rest in parts:
        yield f"the {words} are left 0", partial(_left_out, rest, bias=False)
        yield f"the {words} hold the bias alone", partial(_left_out, rest, bias=True)


def _left_out(rest: Index, value: Array, _: Mistake, call: Call, *, bias: bool) -> Array:
    """Return y at the rest; elsewhere 0, or the bias."""
    return only(rest, value - _bias(call)) + _bias(call) if bias else only(rest, value)


def _output_padding_not_read(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield dx or dw without the dy of the cells that output padding adds."""
    inner = inside_output_padding(layer)
    if inner is not None:
        sentence = "dy of the cells that output_padding adds is not read"
        change = of_the_call(name, lambda call: call._replace(dy=only(inner, call.dy)))
        yield sentence, change


def _mistakes_of_dw() -> Iterator[ResultMistake]:
    """Yield samples left out, sums written over, dy not read, and sums multiplied."""
    first, last = partial(_samples, slice(0, 1)), partial(_samples, slice(-1, None))
    yield "only the first sample of the batch counts", of_the_call("dw", first)
    yield "only the last sample of the batch counts", of_the_call("dw", last)
    for word, at in (("last", slice(-1, None)), ("first", slice(0, 1))):
        sentence = f"the {word} sample of x is used for every sample of dy"
        yield sentence, of_the_call("dw", partial(_one_x, at))
    yield "every sample of x is paired with every sample of dy", of_the_call("dw", _summed_samples)
    yield from overwritten("dw")
    yield "dy is taken for ones", of_the_call("dw", _with_ones)
    yield "a product of sums is taken for the sum of products", _product_of_sums
    sentence = "a product of sums, over all of dy, is taken for the sum of products"
    yield sentence, _product_with_all_of_dy


def _samples(which: slice, call: Call) -> Call:
    return call._replace(x=call.x[which], dy=call.dy[which])


def _one_x(at: slice, call: Call) -> Call:
    return call._replace(x=np.broadcast_to(call.x[at], call.x.shape))


def _summed_samples(call: Call) -> Call:
    return call._replace(x=call.x.sum(0, keepdims=True), dy=call.dy.sum(0, keepdims=True))


def _with_ones(call: Call) -> Call:
    return call._replace(dy=np.ones_like(call.dy))


def lone_result_mistakes(layer: Any, name: str) -> Iterator[ResultMistake]:
    """Yield what is tried in the right layer alone.

    Results moved by some cells or read in another memory order, operands read so, and other sizes.
    """
    if name == "dw" and len(layer.weight_shape) == 2:
        yield "it is transposed", of_the_value(np.transpose)
    if name in ("y", "dx"):
        pairs = getattr(layer, "padding", ())
        pairs = () if isinstance(layer, TieMap) else pairs  # its padding are layers
        begin = tuple(pair[0] for pair in pairs)  # moved by the padding in front
        for sentence, layout in (*moved(len(layer.out_shape) - 1, begin), *layouts()):
            yield sentence, of_the_value(layout)

    for operand in _READS[name]:
        for sentence, layout in layouts():
            read = partial(_read_otherwise, operand, layout)
            yield f"of {operand}, {sentence}", of_the_call(name, read)

    if isinstance(layer, (Conv, ConvTranspose)) and name == "y":
        yield from sizes_of_y(layer)
    if isinstance(layer, Conv) and name == "dx" and layer.padding_mode == "zeros":
        yield from sizes_of_dx(layer)


def _read_otherwise(operand: str, layout: Callable[[Array], Array], call: Call) -> Call:
    return call._replace(**{operand: layout(getattr(call, operand))})


def _product_of_sums(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw if each weight's inputs and the dy of its outputs are summed, then multiplied."""
    gradients = _summed_by_weight(mistake.ties, np.ones_like(call.x), call.dy)
    return _inputs_times(gradients, mistake, call)


def _product_with_all_of_dy(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return the same, dy summed over its whole channel: outputs that meet padding count too."""
    of_channels = call.dy.reshape(*call.dy.shape[:2], -1).sum(axis=2)  # (batch, channels)
    # a dy that is the sum everywhere, over the number of outputs that a weight serves
    alike = np.broadcast_to(
        np.expand_dims(of_channels, tuple(range(2, call.dy.ndim))), call.dy.shape
    )
    served = _summed_by_weight(mistake.ties, np.ones_like(call.x), np.ones_like(call.dy))
    summed = _summed_by_weight(mistake.ties, np.ones_like(call.x), alike)
    each = np.divide(summed, served, out=np.zeros_like(summed), where=served != 0)
    return _inputs_times(each, mistake, call)


def _inputs_times(gradients: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw: the sum of each weight's inputs times the sum of dy given, (batch, weights)."""
    inputs = _summed_by_weight(mistake.ties, call.x, np.ones_like(call.dy))
    dw = (inputs * gradients).sum(axis=0)
    return np.asarray(mistake.weights_adjoint(dw.reshape(call.w.shape)))


def _summed_by_weight(ties: TieMap, x: Array, dy: Array) -> Array:
    """Return the gradient of every sample: with ones the sum of the other, (batch, weights)."""
    xs, dys = x.reshape(len(x), *ties.in_shape), dy.reshape(len(dy), *ties.out_shape)
    each = [ties.gradient(xs[n : n + 1], dys[n : n + 1]).ravel() for n in range(len(x))]
    return np.stack(each)
