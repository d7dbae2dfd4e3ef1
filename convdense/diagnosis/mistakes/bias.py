"""The bias got wrong: not added, or along another axis; its gradient summed over too little."""

from collections.abc import Iterator
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
)
from convdense.geometry import ConvTranspose, Geometry


def bias_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield what goes wrong where the bias is added to y."""
    yield "the bias is not added", partial(_with_bias, 0)
    yield "the bias is added twice", partial(_with_bias, 2)
    yield "the bias is subtracted", partial(_with_bias, -1)
    yield "the bias is added to the first sample alone", _bias_of_the_first
    if len(layer.bias_shape) > 1:  # one for every output, not one for a channel
        return
    for axis, n in enumerate(layer.out_spatial):
        if n == layer.out_channels:
            yield f"the bias is added along axis {axis}, not to the channels", partial(_along, axis)
    inner = _inside_output_padding(layer)
    if inner is not None:
        yield (
            "the bias is missing on the cells that output_padding adds",
            partial(_bias_inside, inner),
        )


def _with_bias(times: float, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(b=times * call.b), "y")


def _bias_of_the_first(_: Array, mistake: Mistake, call: Call) -> Array:
    first = mistake.run(call, "y")[:1]
    rest = mistake.run(call.without_bias, "y")[1:]
    return np.concatenate([first, rest])


def _along(axis: int, _: Array, mistake: Mistake, call: Call) -> Array:
    y = mistake.run(call.without_bias, "y")
    later_axes = y.ndim - 3 - axis
    return y + call.b.reshape(-1, *(1,) * later_axes)


def _inside_output_padding(layer: Geometry) -> Index | None:
    """Return the outputs that output padding does not add; None if it adds none."""
    if not isinstance(layer, ConvTranspose) or not any(layer.output_padding):
        return None
    sizes = zip(layer.out_spatial, layer.output_padding, strict=True)
    return first_cells(n - extra for n, extra in sizes)


def _bias_inside(inner: Index, value: Array, mistake: Mistake, call: Call) -> Array:
    y = mistake.run(call.without_bias, "y")
    y[inner] = value[inner]
    return y


def bias_gradient_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield dy not summed, or summed over too little or too much; dy is (batch, channels, *pixels)."""
    yield "it is not summed over the positions", lambda _, __, call: call.dy.sum(axis=0)
    yield (
        "it is not summed over the batch",
        lambda _, __, call: each_bias_gradient(layer, call.dy),
    )
    yield "it is not summed at all", lambda _, __, call: call.dy
    yield (
        "it is that of one position",
        lambda _, __, call: call.dy.reshape(*call.dy.shape[:2], -1)[..., 0].sum(axis=0),
    )
    yield (
        "it is that of the first sample",
        lambda _, __, call: each_bias_gradient(layer, call.dy)[0],
    )
    yield (
        "it is that of the last sample",
        lambda _, __, call: each_bias_gradient(layer, call.dy)[-1],
    )
    yield (
        "it is summed over the channels too",
        lambda value, _, call: np.full(value.shape, call.dy.sum()),
    )
    yield (
        "it is one number, summed over the channels too",
        lambda _, __, call: np.asarray(call.dy.sum()),
    )
    inner = _inside_output_padding(layer)
    if inner is not None:
        yield (
            "it misses the cells that output_padding adds",
            lambda _, __, call: bias_gradient(layer, call.dy[inner]),
        )
    if len(layer.bias_shape) == 1:
        yield from _along_an_axis(layer)


def _along_an_axis(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield the channels taken for another axis that has as many places, and their order reversed."""
    n_axes = 2 + len(layer.out_spatial)
    for axis, n in enumerate(layer.out_spatial):
        if n == layer.out_channels:
            others = tuple(k for k in range(n_axes) if k != axis + 2)
            yield (
                f"it is summed for the places along axis {axis}, not for the channels",
                partial(_summed_over, others),
            )
    yield "the channels are in reverse order", lambda value, *_: value[::-1]


def _summed_over(axes: tuple[int, ...], _: Array, __: Mistake, call: Call) -> Array:
    return np.asarray(call.dy.sum(axis=axes))
