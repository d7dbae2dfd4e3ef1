"""A layer that runs as a function of x, its parameters fixed: what bits and rounding its sums need.

It has what is asked of a pool and its table of windows.
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS
from convdense.implementations.evaluators import Operands
from convdense.layers.base import ShapesOf
from convdense.layers.error_bounds import (
    Slope,
    Value,
    backward_errors,
    forward_errors,
    integer_unit,
)
from convdense.networks.network import Network
from convdense.rounding.magnitude_sums import bit_budget


@dataclass(frozen=True, eq=False)
class FixedNetwork(ShapesOf):
    """A network run in its direct form; no cell of it wins a window."""

    _part = "net"
    extremum: ClassVar[int] = 0
    takes_roots: ClassVar[bool] = False
    longest: ClassVar[int] = 1
    net: Network

    @cached_property
    def direct(self) -> Network:
        """Its direct counterpart."""
        return self.net.direct()

    @cached_property
    def unit(self) -> int:
        """What integers must be multiples of for quotients to be whole."""
        return integer_unit(self.net)

    @cached_property
    def cells(self) -> Array:
        """One for each number of an input."""
        return np.ones(self.in_shape, np.int8)

    @cached_property
    def rounds(self) -> bool:
        """Whether a parameter is no whole number, so that sums of integers may round."""
        return any((array != np.rint(array)).any() for array in self.net.parameters.values())

    def bits(self, m: int) -> int:
        """Return the bits of the longest sum of integers up to m, times the unit; 0 if it rounds."""
        shapes = (1, *self.in_shape), (1, *self.out_shape)
        operands = (np.full(shape, float(m * self.unit)) for shape in shapes)
        return 0 if self.rounds else bit_budget(self.net, *operands)

    def forward(self, x: Array) -> Array:
        """Return y by the direct form."""
        return self.direct.forward(x)

    def backward(self, x: Array, dy: Array) -> Array:
        """Return dx by the direct form."""
        return self.direct.backward(x, dy)[0]

    def bound(self, operands: Operands, name: str, dtype: npt.DTypeLike) -> Array:
        """Return what rounding explains of y or dx, carried through; 0 where every sum is exact.

        Infinite where it is as large as the values, or may choose a branch. Parameters may be
        rounded themselves, eight times.
        """
        x, _, _, dy = operands
        values = forward_errors(self.net.layers, Value(x, 0.0 * x))
        of_dy = Slope(dy, 0.0 * dy, np.zeros(dy.shape, bool))
        slope, _ = backward_errors(self.net.layers, values, of_dy)
        found: Any = values[-1] if name == "y" else slope
        whole = all((array == np.rint(array)).all() for array in (x, dy)) and not self.rounds
        if whole and bit_budget(self.net, x, dy) <= FORMATS[str(dtype)].bits:
            return np.zeros(found.value.shape)
        bound = (16 if self.rounds else 2) * found.error  # both forms round
        unknown = ~(bound <= np.abs(found.value).max(initial=0)) & (bound > 0)
        return np.where(unknown | getattr(found, "undecided", False), inf, bound)
