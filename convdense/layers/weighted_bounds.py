"""Rounding bounds of a layer with weights, from its direct form and the number of its products."""

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import magnitude
from convdense.layers.direct_form import DirectWeighted
from convdense.layers.error_bounds import SLACK, ParameterBounds, Slope, Value, rounded
from convdense.structure.kronecker import Counts

Direct = TypeVar("Direct", bound=DirectWeighted)


def absolute_weights(layer: Direct) -> Direct:
    """Return the layer with |w| and |b|: given |x|, it adds up magnitudes."""
    b = None if layer.b is None else magnitude(layer.b)
    return _with_padding(layer.with_weights(magnitude(layer.w), b), abs(_number(layer)))


def _with_padding(layer: Direct, number: float) -> Direct:
    """Return the layer with another number in the padding, if there is any."""
    if not _number(layer):
        return layer
    geometry: Any = layer.layer
    return type(layer)(replace(geometry, padding_value=number), layer.w, layer.b)


def _number(layer: DirectWeighted) -> float:
    """Return the number that padded cells hold; 0 of a layer that has no padding."""
    return float(getattr(layer.layer, "padding_value", 0))


def weighted_forward_error(direct: DirectWeighted, counts: Counts, x: Value) -> Value:
    """Return y of a layer with weights and its error.

    The error of x goes through |W|; and each output is a sum of its products and the bias.
    """
    adding = absolute_weights(direct)
    # the bias, and a number in the padding, are the same in every order
    carried = _with_padding(adding, 0).with_weights(adding.w).forward(x.error)
    roundings = counts.outputs + 1 + _of_padding(direct)
    own = rounded(roundings, adding.forward(x.magnitude), *_summed_in(direct, x.value.dtype))
    return Value(direct.forward(x.value), SLACK * carried + own)


def weighted_backward_error(
    direct: DirectWeighted, counts: Counts, copies_of_bias: Array, x: Value, dy: Slope
) -> tuple[Slope, ParameterBounds]:
    """Return dx of a layer with weights and its error, and the bounds on dw and db."""
    batch = len(x.value)
    adding = absolute_weights(direct)
    carried = adding.backward(x.magnitude, dy.error)  # what the error of dy makes of dx, dw, db
    longest = adding.backward(x.magnitude, dy.magnitude)  # the sums of magnitudes themselves

    # Whatever an undecided entry of dy reaches is undecided: with ones for the weights, what it
    # gives to dx, dw and db is positive.
    pattern = adding.with_weights(np.ones_like(adding.w), adding.b)
    reached = pattern.backward(np.sign(x.magnitude), dy.undecided.astype(float))

    dx = Slope(
        direct.backward(x.value, dy.value).dx,
        SLACK * carried.dx
        + rounded(counts.inputs, longest.dx, *_summed_in(direct, dy.value.dtype)),
        reached.dx > 0,
    )

    # dw = x dy, and both may be off. Two evaluations differ by twice the error.
    of_x = _with_padding(adding, 0).backward(x.error, dy.magnitude).dw
    product_dtype = np.result_type(x.value, dy.value)
    own = rounded(counts.weights * batch + _of_padding(direct), longest.dw, product_dtype)
    dw = SLACK * (of_x + carried.dw) + own
    bounds = {"w": np.where(reached.dw > 0, np.inf, 2 * dw)}
    if carried.db is not None and longest.db is not None and reached.db is not None:
        own = rounded(copies_of_bias * batch, longest.db, dy.value.dtype)
        bounds["b"] = np.where(reached.db > 0, np.inf, 2 * (SLACK * carried.db + own))
    return dx, bounds


def _of_padding(layer: DirectWeighted) -> int:
    """Return how often a number in the padding is rounded: itself, and times a sum of weights."""
    return 2 if _number(layer) else 0


def _summed_in(layer: DirectWeighted, entering: npt.DTypeLike) -> tuple[np.dtype, ...]:
    """Return what sums over a layer's edges are rounded in.

    Weights that meet in one cell of the matrix are summed in their own dtype.
    """
    product = np.result_type(entering, layer.w)
    with_bias = product if layer.b is None else np.result_type(product, layer.b)
    return layer.w.dtype, product, with_bias
