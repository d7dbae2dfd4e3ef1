"""Direct form: layers with the parameters of those made of matrices, run without a matrix.

Convolutions are run by direct convolution, fully connected layers as the sum they are, pools by
argmax and sums.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, shaped
from convdense.direct import pool as direct_pool
from convdense.direct import pool_loops
from convdense.direct.conv import convolve, convolve_backward
from convdense.geometry import (
    AvgPool,
    ChannelScale,
    ConvTranspose,
    HasWeightShapes,
    Linear,
    LpPool,
    MaxPool,
    Pool,
    SumPool,
    Windowed,
    backward_operands,
    forward_operands,
)
from convdense.geometry.pool import same_windows
from convdense.layers.base import Gradients, OfPool, Runs, ShapesOf, frozen
from convdense.layers.error_bounds import magnitudes


@singledispatch
def direct_counterpart(layer: object) -> Any:
    """Return a layer's direct counterpart: the same parameters and shapes, without a matrix.

    Parameters
    ----------
    layer : TiedDense, Dense, an activation, Flatten, Network, or what `dense_pool` returns
        A layer of your own joins with ``@direct_counterpart.register``.

    Raises
    ------
    TypeError
        For a layer that has no other form: a bare tie map, max pooling with tie_break="split".

    Examples
    --------
    >>> from convdense import MaxPool, dense_pool
    >>> direct_counterpart(dense_pool(MaxPool((1, 4), kernel=2))).forward([[1, 3, 2, 2]])
    array([[3, 2]])
    """
    do = "register its counterpart with @direct_counterpart.register"
    raise TypeError(complain("layer", repr(layer), "a layer that has a direct form", do))


@dataclass(frozen=True, eq=False, repr=False)
class DirectWeighted(ShapesOf, Runs):
    """What direct layers with weights share: a geometry, its weights and its shapes."""

    _part = "layer"
    layer: HasWeightShapes
    w: Array
    b: Array | None

    def __post_init__(self) -> None:
        w = frozen(shaped(self.w, "w", tuple(self.layer.weight_shape), self.layer))
        object.__setattr__(self, "w", w)
        if self.b is not None:
            b = frozen(shaped(self.b, "b", tuple(self.layer.bias_shape), self.layer))
            object.__setattr__(self, "b", b)

    @abstractmethod
    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db, the last two summed over the batch."""

    def with_weights(self, w: Array, b: Array | None = None) -> Self:
        """Return the same layer with other weights."""
        return type(self)(self.layer, w, b)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.layer!r})"


# The kinds below use all three arguments, the refusal names one.
@singledispatch
def with_direct_weights(layer: object, w: Array, b: Array | None) -> DirectWeighted:  # noqa: ARG001
    """Return the direct layer of a geometry and its weights; each kind of geometry registers one.

    It is asked for the geometry of a TiedDense, which the refusal therefore names.

    Raises
    ------
    TypeError
        For a geometry that no direct layer knows, and for a tie map.
    """
    needs = "a TiedDense of a convolution, a Linear or a ChannelScale, which can be run directly"
    raise TypeError(complain("layer", f"TiedDense({layer!r})", needs))


class DirectConv(DirectWeighted):
    """A convolution, run directly."""

    layer: Windowed | ConvTranspose

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y by direct convolution."""
        return convolve(self.layer, x, self.w, self.b)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db by direct convolution."""
        dx, dw, db = convolve_backward(self.layer, x, self.w, dy)
        return Gradients(dx, dw, None if self.b is None else db)


class DirectScale(DirectWeighted):
    """A scale and a shift per channel, by broadcasting."""

    layer: ChannelScale

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return w x + b, channel by channel."""
        x, w, b, had_batch = forward_operands(self.layer, x, self.w, self.b)
        y = x * self._along_channels(w)
        if b is not None:
            y = y + self._along_channels(b)
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db, the last two summed over the batch and the positions."""
        x, w, dy, had_batch = backward_operands(self.layer, x, self.w, dy)
        dx = dy * self._along_channels(w.conj())
        batch_and_positions = (0, *range(2, x.ndim))  # all axes but the channels
        dw = (x.conj() * dy).sum(batch_and_positions)
        db = None if self.b is None else dy.sum(batch_and_positions)
        return Gradients(dx if had_batch else dx[0], dw, db)

    def _along_channels(self, values: Array) -> Array:
        """Return (channels,) as (channels, 1, 1, ...), for broadcasting."""
        return values.reshape(-1, *[1] * (len(self.in_shape) - 1))


class DirectDense(DirectWeighted):
    """A fully connected layer, written out as the sum it is."""

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return ``y_o = sum_i w_oi x_i + b_o``."""
        x, w, b, had_batch = forward_operands(self.layer, x, self.w, self.b)
        y = np.einsum("oi,ni->no", w, x)
        if b is not None:
            y = y + b
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db, the last two summed over the batch."""
        x, w, dy, had_batch = backward_operands(self.layer, x, self.w, dy)
        dx = np.einsum("oi,no->ni", w.conj(), dy)
        dw = np.einsum("no,ni->oi", dy, x.conj())
        db = None if self.b is None else np.einsum("no->o", dy)
        return Gradients(dx if had_batch else dx[0], dw, db)


with_direct_weights.register(Windowed | ConvTranspose, DirectConv)
with_direct_weights.register(ChannelScale, DirectScale)
with_direct_weights.register(Linear, DirectDense)


@dataclass(frozen=True, eq=False, repr=False)
class DirectPool(OfPool):
    """A pool, run directly: the largest by argmax, averages by sums."""

    pool: Pool

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y by direct pooling."""
        return direct_pool.forward(self.pool, x)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx by direct pooling: the first of several largest gets everything."""
        return direct_pool.backward(self.pool, x, dy)

    def indices(self, x: npt.ArrayLike) -> Array:
        """Return where each window's winner stands, by argmax: see `Tournament.indices`."""
        if not self.pool.extremum:
            needs = "a MaxPool or a MinPool, whose windows one cell wins"
            raise TypeError(complain("pool", repr(self.pool), needs))
        return pool_loops.indices(self.pool, x)


def window_sums(pool: Pool) -> DirectPool:
    """Return the layer that sums each window; backward, each cell sums the dy of its windows."""
    return DirectPool(same_windows(SumPool, pool))


@dataclass(frozen=True, eq=False, repr=False)
class LargestMagnitude(OfPool):
    """The magnitudes of a max or min pool: as large as its results are whichever cells win.

    Forward, the winner of a window is at most its largest magnitude. Backward, each cell may have
    won every window that it is in, and then gets the sum of their dy.
    """

    pool: Pool

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return the largest magnitude of every window."""
        return DirectPool(same_windows(MaxPool, self.pool)).forward(x)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return the sums of dy over the windows each cell is in."""
        return window_sums(self.pool).backward(x, dy)


direct_counterpart.register(OfPool, lambda layer: DirectPool(layer.pool))


# A DirectPool is an OfPool as well, but no pool as dense layers.
@direct_counterpart.register
def _(layer: DirectPool) -> DirectPool:
    needs = "a pool as dense layers: this one is run directly already"
    raise TypeError(complain("layer", repr(layer), needs))


# The layer for rounding bounds, run on magnitudes and on no number below 0.
@magnitudes.register
def _(layer: OfPool) -> DirectPool | LargestMagnitude:
    pool = layer.pool
    if pool.extremum:  # a max or min pool
        return LargestMagnitude(pool)
    if isinstance(pool, LpPool):
        if pool.p != 1:
            raise TypeError(complain("layer", repr(layer), "p=1: powers are no sums of products"))
        return window_sums(pool)  # with p=1 the sum of |x|; of magnitudes, |x| is x
    if isinstance(pool, AvgPool) and pool.divisor_override is not None:
        return DirectPool(same_windows(AvgPool, pool, divisor_override=abs(pool.divisor_override)))
    return DirectPool(pool)
