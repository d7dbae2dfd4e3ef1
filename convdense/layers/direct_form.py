"""Direct form: a layer's own parameters run the other way, by direct convolution and argmax pooling, no matrix."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain, shaped
from convdense.direct import pool as direct_pool
from convdense.direct.conv import convolve, convolve_backward
from convdense.geometry import (
    ChannelScale,
    ConvTranspose,
    HasWeightShapes,
    Windowed,
    backward_operands,
    forward_operands,
    paired_samples,
    samples,
)
from convdense.layers.base import Gradients, OfPool, SameShape, ShapesOf, frozen


@dataclass(frozen=True, eq=False, repr=False)
class _Weighted(ShapesOf):
    """What direct layers with weights share: a geometry, its weights and its shapes."""

    _part = "layer"
    layer: Any
    w: Array
    b: Array | None

    def __post_init__(self) -> None:
        for name, shape in (("w", self.layer.weight_shape), ("b", self.layer.bias_shape)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(
                    self, name, frozen(shaped(value, name, tuple(shape), self.layer))
                )

    def with_weights(self, w: Any, b: Any = None) -> Any:
        """Return the same layer with other weights."""
        return type(self)(self.layer, w, b)

    def __repr__(self) -> str:
        """Return the layer it is."""
        return f"{type(self).__name__}({self.layer!r})"


class DirectConv(_Weighted):
    """A convolution, run directly."""

    layer: Windowed | ConvTranspose

    def forward(self, x: Any) -> Array:
        """Return y by direct convolution."""
        return convolve(self.layer, x, self.w, self.b)

    def backward(self, x: Any, dy: Any) -> Gradients:
        """Return dx, dw, db by direct convolution."""
        dx, dw, db = convolve_backward(self.layer, x, self.w, dy)
        return Gradients(dx, dw, None if self.b is None else db)


class DirectScale(_Weighted):
    """A scale and a shift per channel, by broadcasting."""

    layer: ChannelScale

    def forward(self, x: Any) -> Array:
        """Return w x + b, channel by channel."""
        x, w, b, had_batch = forward_operands(self.layer, x, self.w, self.b)
        y = x * self._along_channels(w)
        y = y if b is None else y + self._along_channels(b)
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> Gradients:
        """Return dx, dw, db, the last two summed over the batch and the positions."""
        x, w, dy, had_batch = backward_operands(self.layer, x, self.w, dy)
        dx, axes = dy * self._along_channels(w.conj()), (0, *range(2, x.ndim))
        dw, db = (x.conj() * dy).sum(axes), None if self.b is None else dy.sum(axes)
        return Gradients(dx if had_batch else dx[0], dw, db)

    def _along_channels(self, values: Array) -> Array:
        return values.reshape(-1, *[1] * (len(self.in_shape) - 1))


class DirectDense(_Weighted):
    """A fully connected layer, written out as the sum it is."""

    layer: HasWeightShapes

    def forward(self, x: Any) -> Array:
        """Return ``y_o = sum_i w_oi x_i + b_o``."""
        x, w, b, had_batch = forward_operands(self.layer, x, self.w, self.b)
        y = np.einsum("oi,ni->no", w, x)
        y = y if b is None else y + b
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> Gradients:
        """Return dx, dw, db, the last two summed over the batch."""
        x, w, dy, had_batch = backward_operands(self.layer, x, self.w, dy)
        dx, dw = np.einsum("oi,no->ni", w.conj(), dy), np.einsum("no,ni->oi", dy, x.conj())
        return Gradients(
            dx if had_batch else dx[0], dw, None if self.b is None else np.einsum("no->o", dy)
        )


@dataclass(frozen=True, eq=False, repr=False)
class DirectPool(OfPool):
    """A pool, run directly: the largest by argmax, averages by sums."""

    pool: Any

    def forward(self, x: Any) -> Array:
        """Return y by direct pooling."""
        return direct_pool.forward(self.pool, x)

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx by direct pooling: the first of several largest gets everything."""
        return direct_pool.backward(self.pool, x, dy)


@dataclass(frozen=True, repr=False)
class DirectReLU(SameShape):
    """ReLU and leaky ReLU by choosing: x where it is positive, slope * x elsewhere."""

    slope: float
    in_shape: tuple[int, ...]

    def forward(self, x: Any) -> Array:
        """Return y."""
        x, had_batch = samples(self, x)
        y = np.where(x > 0, x, np.asarray(self.slope * x) if self.slope else x.dtype.type(0))
        return y if had_batch else y[0]

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx."""
        x, dy, had_batch = paired_samples(self, x, dy)
        dx = np.where(x > 0, dy, np.asarray(self.slope * dy) if self.slope else dy.dtype.type(0))
        return dx if had_batch else dx[0]

    def __repr__(self) -> str:
        """Return the slope and the shape."""
        return f"DirectReLU({self.slope:g}, {self.in_shape})"


@singledispatch
def direct_counterpart(layer: Any) -> Any:
    """Return a layer's direct counterpart: the same parameters and shapes, computed without a
    matrix.

    Parameters
    ----------
    layer : TiedDense, Dense, Abs, ReLU, LeakyReLU, Flatten, Network, or what `dense_pool` returns
        A layer of your own joins with ``@direct_counterpart.register``.

    Raises
    ------
    TypeError
        For a layer that has no other form: a bare tie map, split ties.

    Examples
    --------
    >>> from convdense import MaxPool, dense_pool
    >>> direct_counterpart(dense_pool(MaxPool((1, 4), kernel=2))).forward([[1, 3, 2, 2]])
    array([[3, 2]])
    """
    do = "register its counterpart with @direct_counterpart.register"
    raise TypeError(complain("layer", repr(layer), "a layer that has a direct form", do))


@direct_counterpart.register
def _(layer: OfPool) -> DirectPool:
    if isinstance(layer, DirectPool):
        raise TypeError(
            complain(
                "layer", repr(layer), "a pool as dense layers: this one is run directly already"
            )
        )
    return DirectPool(layer.pool)
