"""The shapes of a tie map, which follow from its axes, and the order of its weights."""

from dataclasses import dataclass
from math import prod

import numpy.typing as npt

from convdense._util.arguments import Array, shaped
from convdense._util.frozen import Frozen
from convdense.structure import kronecker
from convdense.structure.progressions import Axis
from convdense.structure.weight_order import WeightOrder


@dataclass(frozen=True, eq=False, repr=False)
class MapShapes(Frozen):
    """What `TieMap` says of its sizes."""

    axes: tuple[Axis, ...]
    weight_order: tuple[int, ...] | None = None

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return tuple(a.n_cols for a in self.axes)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return tuple(a.n_rows for a in self.axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix: (outputs, inputs) of one sample."""
        return prod(self.out_shape), prod(self.in_shape)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return self._weights.shape

    @property
    def n_entries(self) -> int:
        """Number of entries (row, column, weight); where taps meet, one edge has several."""
        return kronecker.count(self.axes)

    @property
    def n_weights(self) -> int:
        """Number of free weights."""
        return prod(self.weight_shape)

    @property
    def _weights(self) -> WeightOrder:
        taps = [n for a in self.axes for n in a.tap_shape]
        return WeightOrder(tuple(taps), self.weight_order)

    def _by_tap(self, w: npt.ArrayLike) -> Array:
        """Return the weights, checked, flattened in the order of the product of taps."""
        return self._weights.by_tap(shaped(w, "w", self.weight_shape, self))
