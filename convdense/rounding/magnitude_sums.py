"""How large the sums in a network may grow: the bits that integers need to stay exact in it."""

from math import ceil, isfinite, log2

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import magnitude
from convdense.geometry import Layer
from convdense.layers.base import OfPool, pulled
from convdense.layers.direct_form import window_sums
from convdense.layers.error_bounds import magnitudes
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum


def bit_budget(net: Network, x: Array, dy: Array) -> int:
    """Return how many bits integers need for every sum in both directions to be exact.

    In any order of summation, and halves included.
    """
    size, upstream = magnitude(x), magnitude(dy)
    _, forward = _through(net, size)
    _, backward = _back_through(net, size, upstream)
    largest = max(1.0, _largest(size), _largest(upstream), forward, backward)
    if not isfinite(largest):
        return 1025  # more than floats have
    return ceil(log2(largest)) + 1  # |.| meets halves: one bit below the integers


def _largest(numbers: Array) -> float:
    return float(np.max(numbers, initial=0))


def _through(layer: Layer, x: Array) -> tuple[Array, float]:
    """Return the magnitudes that leave a layer, and the largest sum on the way there."""
    if isinstance(layer, Network):
        peak = 0.0
        for part in layer.layers:
            x, own = _through(part, x)
            peak = max(peak, own)
        return x, peak
    if isinstance(layer, ResidualSum):
        inner, peak = _through(layer.inner, x)
        y = x + inner
        return y, max(peak, _largest(y))

    y = magnitudes(layer).forward(x)
    if isinstance(layer, OfPool) and layer.pool.divides:  # an average is a sum before it is divided
        return y, max(_largest(y), _largest(window_sums(layer.pool).forward(x)))
    return y, _largest(y)


def _back_through(layer: Layer, x: Array, dy: Array) -> tuple[Array, float]:
    """Return the magnitudes that are handed back, and the largest sum on the way.

    The gradients of parameters are sums as well.
    """
    if isinstance(layer, Network):
        entering = [x]
        for part in layer.layers[:-1]:
            y, _ = _through(part, entering[-1])
            entering.append(y)
        peak = 0.0
        for part, before in zip(reversed(layer.layers), reversed(entering), strict=True):
            dy, own = _back_through(part, before, dy)
            peak = max(peak, own)
        return dy, peak
    if isinstance(layer, ResidualSum):
        inner, peak = _back_through(layer.inner, x, dy)
        dx = dy + inner
        return dx, max(peak, _largest(dx))

    dx, gradients = pulled(magnitudes(layer), x, dy)
    return dx, max(map(_largest, (dx, *gradients.values())))
