"""Magnitudes: the sum of absolute products of every number of a network, by its direct form run on |w| and |x|."""

from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from math import ceil, isfinite, lcm, log2
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain, known_shape
from convdense.geometry import LpPool, MaxPool, MinPool, Pool, SumPool
from convdense.geometry.pool import same_windows
from convdense.layers.activations import Abs, LeakyReLU
from convdense.layers.base import OfPool, SameShape, ShapesOf, pulled
from convdense.layers.dense import Dense, TiedDense
from convdense.layers.direct_form import DirectPool, direct_counterpart
from convdense.layers.flatten import Flatten
from convdense.layers.pooling import SumDivide
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.rounding.sum_bounds import magnitude


@dataclass(frozen=True)
class Passes(SameShape):
    """Magnitudes that pass as they are, through |.| and whatever is made of halves."""

    in_shape: tuple[int, ...]

    def forward(self, x: Array) -> Array:
        """Return x."""
        return x

    def backward(self, x: Array, dy: Array) -> Array:  # noqa: ARG002  (every layer's backward takes both)
        """Return dy."""
        return dy


@dataclass(frozen=True)
class Largest(ShapesOf):
    """Magnitudes through max and min pooling: forward the largest of a window, backward everything to every cell."""

    _part = "pool"
    pool: Pool

    def forward(self, x: Array) -> Array:
        """Return the largest magnitude of every window."""
        return DirectPool(same_windows(MaxPool, self.pool)).forward(x)

    def backward(self, x: Array, dy: Array) -> Array:
        """Return the sums of dy over the windows each cell is in."""
        return DirectPool(same_windows(SumPool, self.pool)).backward(x, dy)


@singledispatch
def magnitudes(layer: Any) -> Any:
    """Return the layer that adds up magnitudes where this one adds up numbers.

    Raises
    ------
    TypeError
        For a layer whose sums are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Dense
    >>> magnitudes(Dense([[1.0, -2.0]], b=[-3.0])).forward(np.array([[1.0, 1.0]]))
    array([[6.]])
    """
    do = "register your own with @magnitudes.register"
    raise TypeError(
        complain("layer", repr(layer), "a layer whose sums are known, made of matrices and |x|", do)
    )


@magnitudes.register(TiedDense)
@magnitudes.register(Dense)
def _(layer: Any) -> Any:
    return direct_counterpart(layer).with_weights(
        magnitude(layer.w), None if layer.b is None else magnitude(layer.b)
    )


@magnitudes.register
def _(layer: OfPool) -> Any:
    pool = layer.pool
    if isinstance(pool, (MaxPool, MinPool)):
        return Largest(pool)
    if isinstance(pool, LpPool):
        if pool.p != 1:
            raise TypeError(complain("layer", repr(layer), "p=1: powers are no sums of products"))
        return DirectPool(same_windows(SumPool, pool))
    return DirectPool(pool)


@magnitudes.register(LeakyReLU)
@magnitudes.register(Abs)
def _(layer: Any) -> Passes:
    return Passes(known_shape(layer))


@magnitudes.register
def _(layer: Flatten) -> Flatten:
    return layer


@magnitudes.register
def _(layer: ResidualSum) -> ResidualSum:
    return ResidualSum(magnitudes(layer.inner))


@magnitudes.register
def _(layer: Network) -> Network:
    return Network(tuple(map(magnitudes, layer.layers)))


def bit_budget(net: Network, x: Array, dy: Array) -> int:
    """Return how many bits integers need for every sum in both directions to be exact in any order, halves included."""
    _, forward = _through(net, magnitude(x))
    _, backward = _back_through(net, magnitude(x), magnitude(dy))
    largest = max(
        1.0,
        float(np.max(magnitude(x), initial=0)),
        float(np.max(magnitude(dy), initial=0)),
        forward,
        backward,
    )
    if not isfinite(largest):
        return 1025  # more than floats have
    return ceil(log2(largest)) + 1  # |.| meets halves: one bit below the integers


def _through(layer: Any, x: Array) -> tuple[Array, float]:
    """Return the magnitudes that leave a layer, and the largest sum on the way, those inside it too."""
    if isinstance(layer, Network):
        peaks = [0.0]
        for part in layer.layers:
            x, peak = _through(part, x)
            peaks.append(peak)
        return x, max(peaks)
    if isinstance(layer, ResidualSum):
        y, peak = _through(layer.inner, x)
        return x + y, max(peak, float((x + y).max(initial=0)))
    y = magnitudes(layer).forward(x)
    sums = (
        DirectPool(same_windows(SumPool, layer.pool)).forward(x)
        if isinstance(layer, SumDivide)
        else y
    )
    return y, max(
        float(y.max(initial=0)), float(sums.max(initial=0))
    )  # an average is a sum before it is divided


def _back_through(layer: Any, x: Array, dy: Array) -> tuple[Array, float]:
    """Return the magnitudes that are handed back, and the largest sum on the way, parameters' gradients too."""
    if isinstance(layer, Network):
        values, peaks = [x], [0.0]
        for part in layer.layers:
            values.append(_through(part, values[-1])[0])
        for part, before in zip(reversed(layer.layers), reversed(values[:-1]), strict=True):
            dy, peak = _back_through(part, before, dy)
            peaks.append(peak)
        return dy, max(peaks)
    if isinstance(layer, ResidualSum):
        dx, peak = _back_through(layer.inner, x, dy)
        return dx + dy, max(peak, float((dx + dy).max(initial=0)))
    dx, own = pulled(magnitudes(layer), x, dy)
    return dx, max(float(g.max(initial=0)) for g in (dx, *own.values()))


@singledispatch
def integer_unit(layer: Any) -> int:  # noqa: ARG001  (the kinds below use it)
    """Return what the numbers that enter a layer must be multiples of, for whole numbers to leave it."""
    return 1


@integer_unit.register
def _(layer: SumDivide) -> int:
    return 1 if layer.divisors is None else lcm(*map(int, np.unique(layer.divisors)))


@integer_unit.register
def _(layer: LeakyReLU) -> int:
    return max(Fraction(share).denominator for share in layer.shares) if layer.slope else 1


@integer_unit.register
def _(layer: Network) -> int:
    unit = 1
    for part in layer.layers:
        unit *= integer_unit(part)
    return unit


@integer_unit.register
def _(layer: ResidualSum) -> int:
    return integer_unit(layer.inner)
