"""The one kink everything else is made of: the absolute value of some coordinates, forward and backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convdense.arguments import Array, integer
from convdense.geometry import paired_samples, samples


@dataclass(frozen=True)
class Abs:
    """The absolute value of some coordinates; the others pass.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one sample.
    axis : int
        The axis whose positions from `start` up to `stop` are made positive.
    start, stop : int
    slope_at_zero : int
        The slope given to |0|: 1, -1, or 0, all of them subgradients.

    Examples
    --------
    >>> layer = Abs((4,), axis=0, start=2, stop=4)
    >>> layer.forward([1, -2, -3, 0]), layer.backward([1, -2, -3, 0], dy=[1, 1, 1, 1])
    (array([ 1, -2,  3,  0]), array([ 1,  1, -1,  1]))
    """

    in_shape: tuple[int, ...]
    axis: int
    start: int
    stop: int
    slope_at_zero: int = 1

    def __post_init__(self) -> None:
        integer(self.axis, "axis", 0)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: that of the input."""
        return self.in_shape

    @property
    def mask(self) -> Array:
        """Which coordinates of a flattened sample are made positive, (inputs,) bool."""
        mask = np.zeros((1, *self.in_shape), bool)
        mask[self._where] = True
        return mask.ravel()

    def forward(self, x: Any) -> Array:
        """Return |x| on the coordinates of the mask, x elsewhere."""
        x, had_batch = samples(self, x)
        y = x.copy()
        np.abs(y[self._where], out=y[self._where])
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx: dy times the sign of x on the coordinates of the mask, dy elsewhere."""
        x, dy, had_batch = paired_samples(self, x, dy)
        slope = np.sign(x[self._where]).astype(dy.dtype)
        slope[slope == 0] = self.slope_at_zero
        dx = dy.copy()
        dx[self._where] *= slope
        return np.asarray(dx if had_batch else dx[0])

    @property
    def _where(self) -> tuple[slice, ...]:
        """The index of these coordinates in every sample of a batch."""
        return (*[slice(None)] * (1 + self.axis), slice(self.start, self.stop))
