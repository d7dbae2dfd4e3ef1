"""The bias got wrong: not added, added along another axis or to some cells; its gradient summed over too little."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Mistake,
    ResultMistake,
    bias_gradient,
    each_bias_gradient,
)
from convdense.geometry import ConvTranspose, Geometry


def bias_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield what goes wrong where the bias is added to y."""
    for sentence, times in (("not added", 0), ("added twice", 2), ("subtracted", -1)):
        yield f"the bias is {sentence}", partial(_with_bias, times)
    yield "the bias is added to the first sample alone", _bias_of_the_first
    if len(layer.bias_shape) > 1:
        return
    for i, n in enumerate(layer.out_spatial):
        if n == layer.out_channels:
            yield f"the bias is added along axis {i}, not to the channels", partial(_along, i)
    if (inner := _inner(layer)) is not None:
        yield "the bias is missing on the cells that output_padding adds", partial(_inside, inner)


def _with_bias(times: float, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(b=times * call.b), "y")


def _bias_of_the_first(_: Array, mistake: Mistake, call: Call) -> Array:
    first, rest = mistake.run(call, "y")[:1], mistake.run(call._replace(b=0 * call.b), "y")[1:]
    return np.concatenate([first, rest])


def _along(axis: int, _: Array, mistake: Mistake, call: Call) -> Array:
    y = _with_bias(0, _, mistake, call)
    return y + call.b.reshape(-1, *[1] * (y.ndim - 3 - axis))


def _inner(layer: Geometry) -> Any:
    """Return the cells of an output that output padding does not add; None if there is none that it adds."""
    if not isinstance(layer, ConvTranspose) or not any(layer.output_padding):
        return None
    sizes = zip(layer.out_spatial, layer.output_padding, strict=True)
    return (..., *(slice(0, n - extra) for n, extra in sizes))


def _inside(inner: Any, value: Array, mistake: Mistake, call: Call) -> Array:
    y = _with_bias(0, value, mistake, call)
    y[inner] = value[inner]
    return y


def bias_gradient_mistakes(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield sums of dy that were forgotten, or taken over too little or too much."""
    yield "it is not summed over the positions", lambda _, __, c: c.dy.sum(axis=0)
    yield "it is not summed over the batch", lambda _, __, c: each_bias_gradient(layer, c.dy)
    yield "it is not summed at all", lambda _, __, c: c.dy
    yield (
        "it is that of one position",
        lambda _, __, c: c.dy.reshape(*c.dy.shape[:2], -1)[..., 0].sum(axis=0),
    )
    yield "it is that of the first sample", lambda _, __, c: each_bias_gradient(layer, c.dy)[0]
    yield "it is that of the last sample", lambda _, __, c: each_bias_gradient(layer, c.dy)[-1]
    yield "it is summed over the channels too", lambda v, _, c: np.full(v.shape, c.dy.sum())
    yield "it is one number, summed over the channels too", lambda _, __, c: np.asarray(c.dy.sum())
    if (inner := _inner(layer)) is not None:
        sentence = "it misses the cells that output_padding adds"
        yield sentence, lambda _, __, c: bias_gradient(layer, c.dy[inner])
    if len(layer.bias_shape) == 1:
        yield from _along_an_axis(layer)


def _summed(axes: tuple[int, ...], _: Array, __: Mistake, call: Call) -> Array:
    return np.asarray(call.dy.sum(axis=axes))


def _along_an_axis(layer: Geometry) -> Iterator[ResultMistake]:
    for i, n in enumerate(layer.out_spatial):
        if n == layer.out_channels:
            others = tuple(k for k in range(2 + len(layer.out_spatial)) if k != i + 2)
            yield (
                f"it is summed for the places along axis {i}, not for the channels",
                partial(_summed, others),
            )
    yield "the channels are in reverse order", lambda v, _, __: v[::-1]
