"""Activations, forward and backward: the absolute value of some coordinates, and what is made of it elementwise."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import (
    Array,
    batched,
    complain,
    integer,
    known_shape,
    number,
    numeric,
    shape_or_none,
)
from convdense.geometry import paired_samples, samples
from convdense.layers.base import SameShape, ShapesTable, floating
from convdense.layers.dense_form import Absolute, Affine, Step, dense_steps, sums
from convdense.layers.direct_form import DirectReLU, direct_counterpart


@dataclass(frozen=True)
class Abs(SameShape, ShapesTable):
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
        shape = shape_or_none(self.in_shape, "in_shape")
        if shape is None:
            raise TypeError(complain("in_shape", "None", "a tuple of sizes, such as (3, 32, 32)"))
        if integer(self.axis, "axis", 0) >= len(shape):
            raise ValueError(
                complain("axis", self.axis, f"0 to {len(shape) - 1}, an axis of {shape}")
            )
        for name, value in (("start", self.start), ("stop", self.stop)):
            if integer(value, name, 0) > shape[self.axis]:
                raise ValueError(
                    complain(
                        name, value, f"at most {shape[self.axis]}, the size of axis {self.axis}"
                    )
                )
        if self.slope_at_zero not in (-1, 0, 1):
            raise ValueError(complain("slope_at_zero", repr(self.slope_at_zero), "1, -1 or 0"))
        object.__setattr__(self, "in_shape", shape)
        for name in ("axis", "start", "stop", "slope_at_zero"):
            object.__setattr__(
                self, name, int(getattr(self, name))
            )  # plain numbers, also of NumPy's

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
        dx = dy.astype(np.result_type(dy, np.int8))  # signed, and a copy
        slope = np.sign(x[self._where].astype(np.result_type(x, np.int8))).astype(dx.dtype)
        slope[slope == 0] = self.slope_at_zero
        dx[self._where] *= slope
        return np.asarray(dx if had_batch else dx[0])

    @property
    def _where(self) -> tuple[slice, ...]:
        """The index of these coordinates in every sample of a batch."""
        return (*[slice(None)] * (1 + self.axis), slice(self.start, self.stop))


@dataclass(frozen=True, repr=False)
class LeakyReLU(ShapesTable):
    """The larger of x and slope * x, as ``(1 + slope)/2 x + (1 - slope)/2 |x|``; at 0 its slope is
    `slope`.

    Parameters
    ----------
    slope : float
        From 0 to 1: what negative x are multiplied with.
    in_shape : tuple of int or None
        Shape of one sample; None takes any array, and a network fills it in.

    Raises
    ------
    TypeError, ValueError
        For a slope that is no number from 0 to 1, outside of which this is not the larger of the
        two.

    Examples
    --------
    >>> layer = LeakyReLU(0.25)
    >>> layer.forward([4.0, -4.0, 0.0]), layer.backward([4.0, -4.0, 0.0], dy=[1.0, 1.0, 1.0])
    (array([ 4., -1.,  0.]), array([1.  , 0.25, 0.25]))
    """

    slope: float = 0.01
    in_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        needs = "a number from 0 to 1"
        if not 0 <= number(self.slope, "slope", needs) <= 1:
            raise ValueError(complain("slope", self.slope, needs))
        object.__setattr__(self, "slope", float(self.slope))
        object.__setattr__(self, "in_shape", shape_or_none(self.in_shape, "in_shape"))

    @property
    def out_shape(self) -> tuple[int, ...] | None:
        """Shape of one output sample: that of the input."""
        return self.in_shape

    @property
    def shares(self) -> tuple[float, float]:
        """What x and |x| are multiplied with: ``(1 + slope)/2`` and ``(1 - slope)/2``."""
        return (1 + self.slope) / 2, (1 - self.slope) / 2

    def forward(self, x: Any) -> Array:
        """Return y, of the shape of x."""
        x = self._array(x, "x")
        straight, bent = self.shares
        return np.asarray(straight * floating(x) + np.abs(bent * floating(x)))

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx: dy through x, plus or minus dy through |x|, whose slope at 0 is -1."""
        x, dy = self._array(x, "x"), self._array(dy, "dy")
        if x.shape != dy.shape:
            raise ValueError(complain("dy", f"shape {dy.shape}", f"{x.shape}, the shape of x"))
        straight, bent = self.shares
        dy = floating(dy)
        sign = np.where(x > 0, 1, -1).astype(dy.dtype)
        return np.asarray(straight * dy + sign * (bent * dy))

    def _array(self, value: Any, name: str) -> Array:
        array = numeric(value, name)
        if array.dtype.kind == "c":
            raise TypeError(
                complain(name, f"dtype {array.dtype}", "real numbers, which have a sign")
            )
        if self.in_shape is not None:
            batched(array, name, self.in_shape, self)
        return array

    def __repr__(self) -> str:
        """Return the call that makes this layer."""
        known = () if self.in_shape is None else (f"in_shape={self.in_shape}",)
        return f"LeakyReLU({', '.join((f'{self.slope:g}', *known))})"


class ReLU(LeakyReLU):
    """The larger of x and 0, as ``(x + |x|) / 2``; exact in floats, and ``ReLU'(0) = 0`` as the
    frameworks have it.

    Parameters
    ----------
    in_shape : tuple of int or None
        Shape of one sample; None takes any array, and a network fills it in.

    Examples
    --------
    >>> layer = ReLU()
    >>> layer.forward([4.0, -4.0, 0.0]), layer.backward([4.0, -4.0, 0.0], dy=[1.0, 1.0, 1.0])
    (array([4., 0., 0.]), array([1., 0., 0.]))
    """

    def __init__(self, in_shape: tuple[int, ...] | None = None) -> None:
        super().__init__(0.0, in_shape)

    def __repr__(self) -> str:
        """Return the call that makes this layer."""
        return f"ReLU({'' if self.in_shape is None else self.in_shape})"


@dense_steps.register
def _(layer: Abs, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (it has no matrix)
    return [Absolute(layer.mask, layer.slope_at_zero)]


@dense_steps.register
def _(layer: LeakyReLU, dtype: Any = "float64") -> list[Step]:
    n = prod(known_shape(layer))
    straight, bent = (share * sp.eye_array(n, dtype=dtype, format="csr") for share in layer.shares)
    return [
        Affine(sp.csr_array(sp.vstack([straight, bent], format="csr"))),
        Absolute(np.arange(2 * n) >= n, slope_at_zero=-1),
        Affine(sums(n, dtype)),
    ]


@direct_counterpart.register
def _(layer: LeakyReLU) -> DirectReLU:
    return DirectReLU(layer.slope, known_shape(layer))


@direct_counterpart.register
def _(layer: Abs) -> Abs:
    return layer  # its own definition
