"""Rounding bounds through a network, layer by layer.

Forward, every value comes with an error: what any order of summation may be off by. Backward, a
gradient also says which of its entries are undecided: past a non-differentiable point whose branch
rounding may flip no bound is known. Products and sums as in Higham, *Accuracy and Stability of
Numerical Algorithms*, ch. 3.
"""

from functools import singledispatch
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import MaxPool, SumPool
from convdense.geometry.pool import same_windows
from convdense.layers.activations import Abs, LeakyReLU
from convdense.layers.base import OfPool
from convdense.layers.dense import Dense, TiedDense
from convdense.layers.direct_form import DirectPool, direct_counterpart
from convdense.layers.flatten import Flatten
from convdense.layers.max_pool_tournament import Tournament
from convdense.layers.pooling import PowerAverage
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.rounding.magnitude_sums import magnitudes
from convdense.rounding.sum_bounds import gamma, magnitude
from convdense.structure._tie import sums
from convdense.structure.kronecker import Counts

SLACK = 1 + 1e-6  # the bounds are rounded sums as well, of less than 10**9 magnitudes


class Value(NamedTuple):
    """A computed value, and what any order of summation may be off by; so two of them differ by twice that at most."""

    value: Array
    error: Array

    @property
    def magnitude(self) -> Array:
        """The largest that any order of summation may give."""
        return np.asarray(magnitude(self.value) + 2 * self.error)


class Slope(NamedTuple):
    """A gradient with its error, and which of its entries are undecided, (batch, ...) bool."""

    value: Array
    error: Array
    undecided: Array

    @property
    def magnitude(self) -> Array:
        """The largest that any order of summation may give."""
        return np.asarray(magnitude(self.value) + 2 * self.error)


def rounded(terms: Any, sums: Array, *dtypes: Any) -> Array:
    """Return the error of sums of that many products, given the sums of their magnitudes, in the
    coarsest dtype.

    Exact zeros stay exact; nothing is known of sums that may overflow.
    """
    info = np.finfo(_coarsest(dtypes))
    error = SLACK * gamma(terms, float(info.eps) / 2) * sums
    tiny = np.where(sums > 0, terms * float(info.smallest_subnormal), 0.0)
    return np.where(sums <= info.max / 2, error + tiny, np.inf)


def halved(numbers: Array, dtype: Any) -> Array:
    """Return the error of halving and adding up again, given the magnitudes: none but below the normal numbers."""
    info = np.finfo(_coarsest((dtype,)))
    small = (numbers > 0) & (numbers < 4 * float(info.smallest_normal))
    return np.where(small, 4 * float(info.smallest_subnormal), 0.0)


def _coarsest(dtypes: Any) -> Any:
    """Return the float dtype with the fewest digits; float64, in which networks run, where there is none."""
    floats = [np.dtype(d) for d in dtypes if np.dtype(d).kind == "f"] or [np.dtype("float64")]
    return max(floats, key=lambda d: float(np.finfo(d).eps))


_KNOWN = "a layer whose rounding is known, made of matrices and |x|"
_REGISTER = "register your own with @forward_error.register and @backward_error.register"
ParameterBounds = dict[str, Array]


def forward_errors(layers: Any, x: Value) -> list[Value]:
    """Return what enters each layer and what leaves the last, each with its error."""
    values = [x]
    for layer in layers:
        values.append(forward_error(layer, values[-1]))
    return values


def backward_errors(layers: Any, values: list[Value], dy: Slope) -> tuple[Slope, ParameterBounds]:
    """Return dx with its error, and the bound on every parameter's gradient, infinite where it is undecided."""
    bounds: ParameterBounds = {}
    for i, x in reversed(list(enumerate(values[:-1]))):
        dy, own = backward_error(layers[i], x, dy)
        bounds.update({f"{i}.{name}": bound for name, bound in own.items()})
    return dy, bounds


@singledispatch
def forward_error(layer: Any, x: Value) -> Value:  # noqa: ARG001  (the kinds below use them)
    """Return what leaves a layer, with its error."""
    raise TypeError(complain("layer", repr(layer), _KNOWN, _REGISTER))


@singledispatch
def backward_error(layer: Any, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:  # noqa: ARG001  (as above)
    """Return dx with its error, and the bounds on the layer's own gradients."""
    raise TypeError(complain("layer", repr(layer), _KNOWN, _REGISTER))


@forward_error.register(TiedDense)
@forward_error.register(Dense)
def _(layer: Any, x: Value) -> Value:
    adding = magnitudes(layer)
    carried = adding.with_weights(adding.w).forward(
        x.error
    )  # without the bias, which is the same in all of them
    own = rounded(_counts(layer).outputs + 1, adding.forward(x.magnitude), *_dtypes(layer, x.value))
    return Value(direct_counterpart(layer).forward(x.value), SLACK * carried + own)


@backward_error.register(TiedDense)
@backward_error.register(Dense)
def _(layer: Any, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    adding, counts, batch = magnitudes(layer), _counts(layer), len(x.value)
    carried, longest = (
        adding.backward(x.magnitude, dy.error),
        adding.backward(x.magnitude, dy.magnitude),
    )
    pattern = adding.with_weights(np.ones_like(adding.w), adding.b)
    reached = pattern.backward(
        np.sign(x.magnitude), dy.undecided.astype(float)
    )  # by an undecided dy
    off = adding.backward(x.error, dy.magnitude).dw  # dw = x dy: both may be off
    dx = Slope(
        direct_counterpart(layer).backward(x.value, dy.value).dx,
        SLACK * carried.dx + rounded(counts.inputs, longest.dx, *_dtypes(layer, dy.value)),
        reached.dx > 0,
    )
    own = rounded(counts.weights * batch, longest.dw, np.result_type(x.value, dy.value))
    bounds = {"w": SLACK * (off + carried.dw) + own}
    undecided = {"w": reached.dw > 0}
    if layer.b is not None:
        copies = _bias_counts(layer)
        bounds["b"] = SLACK * carried.db + rounded(copies * batch, longest.db, dy.value.dtype)
        undecided["b"] = reached.db > 0
    return dx, {
        name: np.where(undecided[name], np.inf, 2 * bound) for name, bound in bounds.items()
    }


@forward_error.register
def _(layer: OfPool, x: Value) -> Value:
    y = direct_counterpart(layer).forward(x.value)
    if isinstance(layer, PowerAverage) and layer.pool.p != 1:
        return Value(y, np.full(y.shape, np.inf))  # nothing is promised of a power
    adding = magnitudes(layer)
    return Value(
        y,
        SLACK * adding.forward(x.error)
        + rounded(_steps(layer), adding.forward(x.magnitude), x.value.dtype),
    )


@backward_error.register
def _(layer: OfPool, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    value = direct_counterpart(layer).backward(x.value, dy.value)
    if isinstance(layer, PowerAverage) and layer.pool.p != 1:
        return Slope(value, np.zeros(value.shape), np.ones(value.shape, bool)), {}
    cells = int(
        sums(layer.pool).counts().inputs.max(initial=0)
    )  # windows that share a cell, at most
    everywhere = DirectPool(same_windows(SumPool, layer.pool))
    windows = dy.undecided
    if isinstance(layer, Tournament):
        windows = windows | ~_decided(layer, x)
        # Halves of one gradient cancel exactly; only those of several windows that share a cell are
        # rounded.
        longest = (2 * cells + 1) * layer.depth if cells > 1 else 0
        # one cell of the window has it all: the errors go where direct pooling sends them
        carried = direct_counterpart(layer).backward(x.value.astype(float), dy.error)
        passed = everywhere.backward(x.magnitude, dy.magnitude)
        error = (
            SLACK * carried
            + rounded(longest, passed, dy.value.dtype)
            + halved(passed, dy.value.dtype)
        )
    else:
        adding = magnitudes(layer)
        own = rounded(cells + 1, adding.backward(x.magnitude, dy.magnitude), dy.value.dtype)
        error = SLACK * adding.backward(x.magnitude, dy.error) + own
    undecided = everywhere.backward(x.magnitude, windows.astype(float)) > 0
    if isinstance(layer, PowerAverage):
        undecided |= _bent(x)
    return Slope(value, error, undecided), {}


def _decided(layer: Tournament, x: Value) -> Array:
    """Return which windows have the same winner in any order of summation: one far enough ahead, or exact equals."""
    pool = same_windows(SumPool, layer.pool)
    edges = sums(pool).entries()
    sign = 1 if isinstance(layer.pool, MaxPool) else -1
    values = sign * x.value.reshape(len(x.value), prod(layer.in_shape)).astype(float)
    error = (
        magnitudes(layer).forward(x.error).reshape(len(values), prod(layer.out_shape))
    )  # the largest of the window
    adrift = rounded(
        2 * layer.depth, magnitudes(layer).forward(x.magnitude), x.value.dtype
    ).reshape(error.shape)
    top = sign * direct_counterpart(layer).forward(x.value).reshape(error.shape).astype(float)
    near = values[:, edges.col] >= (top - 4 * error - 2 * adrift)[:, edges.row]
    equal = values[:, edges.col] == top[:, edges.row]
    rivals, alike = np.zeros(error.shape, int), np.zeros(error.shape, int)
    for n in range(len(values)):
        rivals[n] = np.bincount(edges.row, near[n], minlength=error.shape[1])
        alike[n] = np.bincount(edges.row, equal[n], minlength=error.shape[1])
    cells = np.bincount(edges.row, minlength=error.shape[1])
    decided = (rivals == 1) | ((alike == cells) & (error == 0))
    return np.asarray(decided.reshape(len(values), *layer.out_shape))


@forward_error.register
def _(layer: LeakyReLU, x: Value) -> Value:
    y = direct_counterpart(layer).forward(x.value)
    below = x.value < -2 * x.error
    error = np.where(below, layer.slope * x.error, x.error)
    return Value(
        y,
        error
        + rounded(4 if layer.slope else 0, x.magnitude, x.value.dtype)
        + halved(x.magnitude, x.value.dtype),
    )


@backward_error.register
def _(layer: LeakyReLU, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    undecided = dy.undecided | _bent(x)
    slope = np.where(x.value > 0, 1.0, layer.slope)
    own = rounded(4 if layer.slope else 0, dy.magnitude, dy.value.dtype) + halved(
        dy.magnitude, dy.value.dtype
    )
    error = SLACK * slope * dy.error + own
    return Slope(direct_counterpart(layer).backward(x.value, dy.value), error, undecided), {}


@forward_error.register
def _(layer: Abs, x: Value) -> Value:
    return Value(layer.forward(x.value), x.error)


@backward_error.register
def _(layer: Abs, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    bent = _bent(x) & layer.mask.reshape(layer.in_shape)
    return Slope(layer.backward(x.value, dy.value), dy.error, dy.undecided | bent), {}


def _bent(x: Value) -> Array:
    """Return where rounding may change the side of 0."""
    return (magnitude(x.value) <= 2 * x.error) & (x.error > 0)


@forward_error.register
def _(layer: Flatten, x: Value) -> Value:
    return Value(*map(layer.forward, x))


@backward_error.register
def _(layer: Flatten, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:  # noqa: ARG001  (a shape is enough)
    return Slope(*(part.reshape(x.value.shape) for part in dy)), {}


@forward_error.register
def _(layer: ResidualSum, x: Value) -> Value:
    inner = forward_error(layer.inner, x)
    error = SLACK * (x.error + inner.error) + rounded(
        1, x.magnitude + inner.magnitude, x.value.dtype, inner.value.dtype
    )
    return Value(np.asarray(x.value + inner.value), error)


@backward_error.register
def _(layer: ResidualSum, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    dx, bounds = backward_error(layer.inner, x, dy)
    error = SLACK * (dy.error + dx.error) + rounded(
        1, dy.magnitude + dx.magnitude, dy.value.dtype, dx.value.dtype
    )
    return Slope(np.asarray(dy.value + dx.value), error, dy.undecided | dx.undecided), bounds


@forward_error.register
def _(layer: Network, x: Value) -> Value:
    return forward_errors(layer.layers, x)[-1]


@backward_error.register
def _(layer: Network, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    return backward_errors(layer.layers, forward_errors(layer.layers, x), dy)


def _steps(layer: OfPool) -> Any:
    """Return how many roundings an output takes: its sum and its division, or two for each comparison."""
    if isinstance(layer, Tournament):
        return 2 * layer.depth
    return sums(layer.pool).counts().outputs + 1


def _counts(layer: Any) -> Counts:
    """Return how many products the outputs, inputs and weights of a layer take part in."""
    if isinstance(layer, TiedDense):
        return layer.ties.counts()
    outputs, inputs = layer.w.shape
    return Counts(np.full(outputs, inputs), np.full(inputs, outputs), np.ones(layer.w.shape, int))


def _dtypes(layer: Any, entering: Array) -> tuple[Any, ...]:
    """Return what sums over a layer's edges are rounded in; weights that meet in one cell are summed in their own."""
    result = np.result_type(entering, layer.w)
    return layer.w.dtype, result, result if layer.b is None else np.result_type(result, layer.b)


def _bias_counts(layer: Any) -> Array:
    """Return how many outputs share each bias."""
    return (
        layer.ties.bias.counts().weights
        if isinstance(layer, TiedDense)
        else np.ones(layer.bias_shape, int)
    )
