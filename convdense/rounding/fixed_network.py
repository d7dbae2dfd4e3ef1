"""A network as a function of x: the bits of its sums, and bounds; asked what a pool is asked."""

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import format_of
from convdense.geometry import Pool
from convdense.implementations.evaluators import Operands
from convdense.layers import error_bounds
from convdense.layers.base import ShapesOf
from convdense.networks.network import Network
from convdense.rounding.magnitude_sums import bit_budget


class FixedNetwork(ShapesOf):
    """A network and its direct form; no cell of it wins a window."""

    _part = "net"
    extremum: int = 0
    takes_roots: bool = False
    longest: int = 1

    def __init__(self, net: Network) -> None:
        self.net = net
        self.direct: Network = net.direct()
        self.unit: int = error_bounds.integer_unit(net)

    def bits(self, m: int) -> int:
        """Return the bits of the longest sum of integers up to m units; 0 if sums round."""
        shapes = (1, *self.in_shape), (1, *self.out_shape)
        return self._needed(*(np.full(shape, float(m * self.unit)) for shape in shapes))

    def _needed(self, *x_and_dy: Array) -> int:
        """Return the bits that their sums need; 0 if a number or a parameter is not whole."""
        numbers = *x_and_dy, *self.net.parameters.values()
        whole = all(np.array_equal(array, np.rint(array)) for array in numbers)
        return bit_budget(self.net, *x_and_dy) if whole else 0

    def bound(self, operands: Operands, name: str, dtype: npt.DTypeLike) -> Array:
        """Return what rounding explains of y or dx, also in the parameters; 0 of exact sums.

        Infinite where it is as large as the values, or may choose a branch.
        """
        x, _, _, dy = operands
        values = error_bounds.forward_errors(self.net.layers, error_bounds.Value(x, 0.0 * x))
        of_dy = error_bounds.Slope(dy, 0.0 * dy, np.zeros(dy.shape, bool))
        slope, _ = error_bounds.backward_errors(self.net.layers, values, of_dy)
        found: Any = values[-1] if name == "y" else slope
        if 0 < self._needed(x, dy) <= format_of(dtype).bits:
            return np.zeros(found.value.shape)
        # Both forms round. Code in its own words rounds a parameter, too, up to seven times (a
        # batch norm's scale: sum, root, quotient and product), each as much as a sum's bound.
        roundings = 7 if self.net.parameters else 0
        bound = 2 * (1 + roundings) * found.error
        unknown = ~(bound <= np.abs(found.value).max(initial=0)) & (bound > 0)
        return np.where(unknown | getattr(found, "undecided", False), inf, bound)


Judged = Pool | FixedNetwork
