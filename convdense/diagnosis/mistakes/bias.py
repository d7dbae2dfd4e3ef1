"""The bias got wrong: not added, or along another axis; its gradient summed over too little."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Index,
    Mistake,
    ResultMistake,
    bias_gradient,
    each_bias_gradient,
    first_cells,
    of_the_call,
)
from convdense.geometry import ConvTranspose, Geometry


def bias_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield what goes wrong where the bias is added to y."""
    yield "the bias is not added", of_the_call("y", lambda call: call._replace(b=0 * call.b))
    sentence = "it is the bias alone: what was summed is overwritten"
    yield sentence, of_the_call("y", lambda call: call._replace(x=0 * call.x))
    yield "the bias is added twice", of_the_call("y", lambda call: call._replace(b=2 * call.b))
    yield "the bias is subtracted", of_the_call("y", lambda call: call._replace(b=-1 * call.b))
    yield "the bias is added to the first sample alone", _to_the_first_sample
    if len(layer.bias_shape) > 1:  # one for each output, not one for each channel
        return
    channels, *positions = layer.out_shape
    for axis, n in enumerate(positions):
        if n == channels:
            yield f"the bias is added along axis {axis}, not to the channels", partial(_along, axis)
    inner = inside_output_padding(layer)
    if inner is not None:
        sentence = "the bias is missing on the cells that output_padding adds"
        yield sentence, partial(_inside, inner)


def _to_the_first_sample(_: Array, mistake: Mistake, call: Call) -> Array:
    first = mistake.run(call, "y")[:1]
    others = mistake.run(call.without_bias, "y")[1:]
    return np.concatenate([first, others])


def _along(axis: int, _: Array, mistake: Mistake, call: Call) -> Array:
    y = mistake.run(call.without_bias, "y")  # (batch, channels, *pixels)
    later_axes = y.ndim - 3 - axis
    return y + call.b.reshape(-1, *(1,) * later_axes)


def _inside(inner: Index, value: Array, mistake: Mistake, call: Call) -> Array:
    y = mistake.run(call.without_bias, "y")
    y[inner] = value[inner]
    return y


def inside_output_padding(layer: Geometry) -> Index | None:
    """Return the outputs that output padding does not add; None if it adds none."""
    if not isinstance(layer, ConvTranspose) or not any(layer.output_padding):
        return None
    sizes = zip(layer.out_spatial, layer.output_padding, strict=True)
    return first_cells(n - extra for n, extra in sizes)


def bias_gradient_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield dy not summed, or summed over too little or too much."""
    for sentence, summed in _wrong_sums(layer):
        yield sentence, partial(_of_dy, summed)


def _of_dy(summed: Callable[[Array], Array], _: Array, __: Mistake, call: Call) -> Array:
    return summed(call.dy)


def _wrong_sums(layer: Geometry) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield what is made of dy, (batch, channels, *pixels), instead of db."""
    yield "it is not summed over the positions", lambda dy: dy.sum(axis=0)
    yield "it is not summed over the batch", lambda dy: each_bias_gradient(layer, dy)
    yield "it is not summed at all", lambda dy: dy
    yield "it is that of one position", lambda dy: dy.reshape(*dy.shape[:2], -1)[..., 0].sum(axis=0)
    yield "it is that of the first sample", lambda dy: each_bias_gradient(layer, dy)[0]
    yield "it is that of the last sample", lambda dy: each_bias_gradient(layer, dy)[-1]
    yield "it is summed over the channels too", lambda dy: np.full(layer.bias_shape, dy.sum())
    axes = len(layer.out_shape) - 1
    if axes and len(layer.bias_shape) == 1:
        sentence = "it keeps its axes: the shape is that of dy with ones"
        yield sentence, lambda dy: bias_gradient(layer, dy).reshape(1, -1, *[1] * axes)
    yield "it is one number, summed over the channels too", lambda dy: np.asarray(dy.sum())
    groups = getattr(layer, "groups", 1)
    if groups > 1 and len(layer.bias_shape) == 1:
        sentence = "every group is given the sum of the first group"
        yield (
            sentence,
            lambda dy: np.tile(bias_gradient(layer, dy)[: dy.shape[1] // groups], groups),
        )
    inner = inside_output_padding(layer)
    if inner is not None:
        sentence = "it misses the cells that output_padding adds"
        yield sentence, lambda dy: bias_gradient(layer, dy[inner])
    if len(layer.bias_shape) > 1:
        return
    channels, *positions = layer.out_shape
    n_axes = 2 + len(positions)
    for axis, n in enumerate(positions):
        if n == channels:
            others = tuple(k for k in range(n_axes) if k != 2 + axis)
            sentence = f"it is summed for the places along axis {axis}, not for the channels"
            yield sentence, partial(np.sum, axis=others)
    yield "the channels are in reverse order", lambda dy: bias_gradient(layer, dy)[::-1]
