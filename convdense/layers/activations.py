"""Activations, forward and backward: the absolute value of some coordinates, and ReLU from it."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import (
    Array,
    batched,
    complain,
    integer,
    number,
    numeric,
    shape_or_none,
)
from convdense._util.foreign_names import explain
from convdense.geometry import paired_samples, samples
from convdense.layers.base import AnyShape, SameShape, ShapesTable, floating
from convdense.layers.dense_form import Absolute, Affine, Step, dense_steps, sums
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    SLACK,
    ParameterBounds,
    Passes,
    Slope,
    Value,
    backward_error,
    forward_error,
    halved,
    integer_unit,
    magnitudes,
    rounded,
)
from convdense.layers.plain_form import layer_to_plain, reads_fields


@reads_fields
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
            needs = f"0 to {len(shape) - 1}, an axis of {shape}"
            raise ValueError(complain("axis", self.axis, needs))
        for name, value in (("start", self.start), ("stop", self.stop)):
            if integer(value, name, 0) > shape[self.axis]:
                needs = f"at most {shape[self.axis]}, the size of axis {self.axis}"
                raise ValueError(complain(name, value, needs))
        if self.slope_at_zero not in (-1, 0, 1):
            raise ValueError(complain("slope_at_zero", repr(self.slope_at_zero), "1, -1 or 0"))

        object.__setattr__(self, "in_shape", shape)
        for name in ("axis", "start", "stop", "slope_at_zero"):
            plain = int(getattr(self, name))  # for repr and JSON, where NumPy's integers came in
            object.__setattr__(self, name, plain)

    @property
    def mask(self) -> Array:
        """Which coordinates of a flattened sample are made positive, (inputs,) bool."""
        mask = np.zeros((1, *self.in_shape), bool)
        mask[self.where] = True
        return mask.ravel()

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return |x| on the coordinates of the mask, x elsewhere."""
        x, had_batch = samples(self, x)
        y = x.copy()
        np.abs(y[self.where], out=y[self.where])
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx: dy times the sign of x on the coordinates of the mask, dy elsewhere."""
        x, dy, had_batch = paired_samples(self, x, dy)
        dx = dy.astype(np.result_type(dy, np.int8))  # signed, and a copy
        dx[self.where] *= self.slopes(x[self.where]).astype(dx.dtype, copy=False)
        return np.asarray(dx if had_batch else dx[0])

    def slopes(self, cells: Array) -> Array:
        """Return the slopes on cells of the mask, ``x[self.where]``."""
        made_positive = np.ascontiguousarray(cells)
        # Three times as fast as numpy.sign, but of NaN.
        above = made_positive >= 0 if self.slope_at_zero == 1 else made_positive > 0
        below = made_positive <= 0 if self.slope_at_zero == -1 else made_positive < 0
        slope = above.view(np.int8) - below.view(np.int8)
        if self.slope_at_zero and slope.all():
            return slope
        is_nan = np.isnan(made_positive)
        return np.where(is_nan, made_positive, slope) if is_nan.any() else slope

    @property
    def where(self) -> tuple[slice, ...]:
        """The index of these coordinates in every sample of a batch."""
        return (*[slice(None)] * (1 + self.axis), slice(self.start, self.stop))


class Activation(AnyShape):
    """A function of each number by itself, which takes real arrays of any shape."""

    @property
    def out_shape(self) -> tuple[int, ...] | None:
        """Shape of one output sample: that of the input."""
        return self.in_shape

    def _real(self, value: npt.ArrayLike, name: str) -> Array:
        """Return real numbers of the layer's shape, if it has one."""
        array = numeric(value, name)
        if array.dtype.kind == "c":
            needs = "real numbers, which have a sign"
            raise TypeError(complain(name, f"dtype {array.dtype}", needs))
        if self.in_shape is not None:
            batched(array, name, self.in_shape, self)
        return array

    def _paired(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> tuple[Array, Array]:
        """Return x and dy, the latter as floats, if their shapes are equal."""
        values, upstream = self._real(x, "x"), floating(self._real(dy, "dy"))
        if values.shape != upstream.shape:
            needs = f"{values.shape}, the shape of x"
            raise ValueError(complain("dy", f"shape {upstream.shape}", needs))
        return values, upstream


@reads_fields
@explain
@dataclass(frozen=True, repr=False)
class LeakyReLU(Activation):
    """The larger of x and slope * x; at 0 its slope is `slope`.

    It is ``(1 + slope)/2 x + (1 - slope)/2 |x|``.

    Parameters
    ----------
    slope : float
        From 0 to 1: what negative x are multiplied with.
    in_shape : tuple of int or None
        Shape of one sample; None takes any array, and a network fills it in.

    Raises
    ------
    TypeError, ValueError
        For a slope that is no number from 0 to 1: outside, this is not the larger of the two.

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

    def with_in_shape(self, in_shape: tuple[int, ...]) -> Self:
        """Return the same layer for samples of this shape."""
        return replace(self, in_shape=in_shape)

    @property
    def shares(self) -> tuple[float, float]:
        """What x and |x| are multiplied with: ``(1 + slope)/2`` and ``(1 - slope)/2``."""
        return (1 + self.slope) / 2, (1 - self.slope) / 2

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, of the shape of x."""
        values = floating(self._real(x, "x"))
        straight, bent = self.shares
        return np.asarray(straight * values + np.abs(bent * values))

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx: dy through x, plus or minus dy through |x|, whose slope at 0 is -1."""
        values, upstream = self._paired(x, dy)
        straight, bent = self.shares
        sign = np.where(values > 0, 1, -1).astype(upstream.dtype)
        return np.asarray(straight * upstream + sign * (bent * upstream))

    def __repr__(self) -> str:
        known = () if self.in_shape is None else (f"in_shape={self.in_shape}",)
        return f"LeakyReLU({', '.join((f'{self.slope:g}', *known))})"


@reads_fields
@explain
class ReLU(LeakyReLU):
    """The larger of x and 0, as ``(x + |x|) / 2``: exact in floats.

    ``ReLU'(0) = 0``, as the frameworks have it.

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

    def with_in_shape(self, in_shape: tuple[int, ...]) -> Self:
        """Return the same layer for samples of this shape."""
        return type(self)(in_shape)

    def __repr__(self) -> str:
        return f"ReLU({'' if self.in_shape is None else self.in_shape})"


@dataclass(frozen=True, repr=False)
class DirectReLU(SameShape):
    """ReLU and leaky ReLU by choosing: x where it is positive, slope * x elsewhere."""

    slope: float
    in_shape: tuple[int, ...]

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y."""
        x, had_batch = samples(self, x)
        y = np.where(x > 0, x, self._below(x))
        return y if had_batch else y[0]

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx."""
        x, dy, had_batch = paired_samples(self, x, dy)
        dx = np.where(x > 0, dy, self._below(dy))
        return dx if had_batch else dx[0]

    def _below(self, values: Array) -> Array:
        """Return slope * values; with slope 0 a zero of their dtype, so that integers stay such."""
        return np.asarray(self.slope * values) if self.slope else np.zeros((), values.dtype)

    def __repr__(self) -> str:
        return f"DirectReLU({self.slope:g}, {self.in_shape})"


@dense_steps.register
def _(layer: Abs, dtype: npt.DTypeLike = "float64") -> list[Step]:  # noqa: ARG001  (it has no matrix)
    return [Absolute(layer.mask, layer.slope_at_zero)]


@dense_steps.register
def _(layer: LeakyReLU, dtype: npt.DTypeLike = "float64") -> list[Step]:
    n = prod(layer.known_shape())
    identity = sp.eye_array(n, dtype=np.dtype(dtype), format="csr")
    straight, bent = layer.shares
    both = sp.csr_array(sp.vstack([straight * identity, bent * identity], format="csr"))
    second_half = np.arange(2 * n) >= n
    return [Affine(both), Absolute(second_half, slope_at_zero=-1), Affine(sums(n, dtype))]


direct_counterpart.register(Abs, lambda layer: layer)  # its own definition
direct_counterpart.register(LeakyReLU, lambda layer: DirectReLU(layer.slope, layer.known_shape()))
magnitudes.register(Abs, lambda layer: Passes(layer.in_shape))
magnitudes.register(LeakyReLU, lambda layer: Passes(layer.known_shape()))
forward_error.register(Abs, lambda layer, x: Value(layer.forward(x.value), x.error))
layer_to_plain.register(Abs, lambda layer: {"type": "Abs", **vars(layer)})
layer_to_plain.register(LeakyReLU, lambda layer: {"type": "LeakyReLU", **vars(layer)})
layer_to_plain.register(ReLU, lambda layer: {"type": "ReLU", "in_shape": layer.in_shape})


@integer_unit.register
def _(layer: LeakyReLU, leaving: int = 1) -> int:
    if not layer.slope:
        return leaving  # (x + |x|) / 2 is whole for whole x
    return leaving * max(Fraction(share).denominator for share in layer.shares)


@backward_error.register
def _(layer: Abs, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    at_zero = x.may_change_sign & layer.mask.reshape(layer.in_shape)
    return Slope(layer.backward(x.value, dy.value), dy.error, dy.undecided | at_zero), {}


@forward_error.register
def _(layer: LeakyReLU, x: Value) -> Value:
    surely_below = x.value < -2 * x.error
    carried = np.where(surely_below, layer.slope * x.error, x.error)
    return Value(direct_counterpart(layer).forward(x.value), carried + _own_error(layer, x))


@backward_error.register
def _(layer: LeakyReLU, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    slope = np.where(x.value > 0, 1.0, layer.slope)
    error = SLACK * slope * dy.error + _own_error(layer, dy)
    dx = direct_counterpart(layer).backward(x.value, dy.value)
    return Slope(dx, error, dy.undecided | x.may_change_sign), {}


def _own_error(layer: LeakyReLU, numbers: Value | Slope) -> Array:
    """Return the error of its own operations: four roundings, or with slope 0 halves alone."""
    roundings = 4 if layer.slope else 0
    dtype = numbers.value.dtype
    return rounded(roundings, numbers.magnitude, dtype) + halved(numbers.magnitude, dtype)
