"""Roads: ways to compute y, dx, dw and db of a layer; what is judged is one road against another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convdense.arguments import Array, complain
from convdense.direct_fast import convolve, convolve_backward
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers import TiedDense

Operands = tuple[Array, Array, Array | None, Array]
Results = tuple[Any, ...]


@dataclass(frozen=True)
class Road:
    """One way to compute everything: its name, and ``run(x, w, b, dy) -> (y, dx, dw, db)``."""

    name: str
    run: Callable[[Array, Array, Array | None, Array], Results]


def dense_road(layer: Any) -> Road:
    """Return the tied dense layer: the stored matrix, its adjoint, and the sums over edges."""

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        tied = TiedDense(layer, w, b)
        return (tied.forward(x), *tied.backward(x, dy))

    return Road("tied dense layer", run)


def direct_road(layer: Any) -> Road:
    """Return direct convolution; layers it does not know have the tied dense layer as their definition."""
    if not isinstance(layer, (Windowed, ConvTranspose)):
        return dense_road(layer)

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        return (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy))

    return Road("direct convolution", run)


def implementation_road(implementation: Any) -> Road:
    """Return somebody's implementation: an object with forward and backward, or two such functions.

    ``forward(x, w, b) -> y`` and ``backward(x, w, dy) -> (dx, dw, db)``; a db of None is not judged.
    """
    if isinstance(implementation, (tuple, list)) and len(implementation) == 2:
        forward, backward = implementation
    else:
        forward = getattr(implementation, "forward", None)
        backward = getattr(implementation, "backward", None)
    if not callable(forward) or not callable(backward):
        needs = "an object with forward(x, w, b) and backward(x, w, dy), or a pair of such functions"
        raise TypeError(complain("implementation", repr(implementation), needs))

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        return (forward(x, w, b), *backward(x, w, dy))

    return Road(getattr(implementation, "__name__", type(implementation).__name__), run)


def two_roads(layer: Any, implementation: Any) -> tuple[Road, Road]:
    """Return the road to judge and the road to judge it by."""
    by = direct_road(layer)
    if implementation is not None:
        return implementation_road(implementation), by
    if by.name == "tied dense layer":
        needs = "a Conv, ConvTranspose or LocallyConnected, which have a second road"
        raise TypeError(complain("layer", repr(layer), needs, "or give an implementation to judge by this layer"))
    return dense_road(layer), by
