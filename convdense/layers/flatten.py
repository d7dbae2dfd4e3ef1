"""Flatten: what a dense layer wants to be given; its own dense layer is a permutation."""

from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, batched, choice, shape_or_none
from convdense._util.foreign_names import explain
from convdense.geometry import paired_operands
from convdense.layers.base import AnyShape
from convdense.layers.dense_form import Affine, Step, dense_steps
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    magnitudes,
)
from convdense.layers.plain_form import Plain, layer_to_plain, reads_fields


@reads_fields
@explain
@dataclass(frozen=True, repr=False)
class Flatten(AnyShape):
    """One axis for all of a sample's axes, in C order.

    Parameters
    ----------
    in_shape : tuple of int or None
        Shape of one sample; None in a network, which fills it in.
    layout : {"NCHW", "NHWC"}
        "NHWC" puts the channels last before it flattens: the order of a Keras model, and of the
        weights of the dense layer after it.

    Examples
    --------
    >>> layer = Flatten((2, 1, 2))
    >>> x = [[[1, 2]], [[3, 4]]]
    >>> layer.forward(x), layer.backward(x, dy=[5, 6, 7, 8]).shape
    (array([1, 2, 3, 4]), (2, 1, 2))
    >>> Flatten((2, 1, 2), layout="NHWC").forward(x)
    array([1, 3, 2, 4])
    """

    in_shape: tuple[int, ...] | None = None
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", shape_or_none(self.in_shape, "in_shape"))
        choice(self.layout, "layout", ("NCHW", "NHWC"))

    def with_in_shape(self, in_shape: tuple[int, ...]) -> Self:
        """Return the same layer for samples of this shape."""
        return type(self)(in_shape, self.layout)

    @property
    def out_shape(self) -> tuple[int, ...] | None:
        """Shape of one output sample."""
        return None if self.in_shape is None else (prod(self.in_shape),)

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, (batch, features), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = batched(x, "x", self.known_shape(), self)
        if self.layout == "NHWC":
            x = np.moveaxis(x, 1, -1)  # (batch, *axes, channels)
        y = x.reshape(len(x), prod(x.shape[1:]))
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx: dy in the shape of x."""
        self.known_shape()
        x, dy, had_batch = paired_operands(self, x, dy)  # type: ignore[arg-type]  # it has shapes now
        dx = self._unflattened(dy)
        return np.asarray(dx if had_batch else dx[0])

    def _unflattened(self, dy: Array) -> Array:
        """Return (batch, features) as (batch, *in_shape)."""
        channels, *axes = self.known_shape()
        if self.layout == "NCHW":
            return dy.reshape(len(dy), channels, *axes)
        return np.moveaxis(dy.reshape(len(dy), *axes, channels), -1, 1)

    def __repr__(self) -> str:
        shape = [] if self.in_shape is None else [repr(self.in_shape)]
        layout = [] if self.layout == "NCHW" else [f"layout={self.layout!r}"]
        return f"Flatten({', '.join(shape + layout)})"


@dense_steps.register
def _(layer: Flatten, dtype: npt.DTypeLike = "float64") -> list[Step]:
    channels, *axes = layer.known_shape()
    if layer.layout == "NCHW":
        return []  # flattened samples are as they are
    rows = np.arange(channels * prod(axes))
    position, channel = np.divmod(rows, channels)  # of each output: its channels stand together
    cols = channel * prod(axes) + position
    return [Affine(sp.csr_array((np.ones(len(rows), dtype), (rows, cols))))]


direct_counterpart.register(Flatten, lambda layer: layer)  # its own definition
magnitudes.register(Flatten, lambda layer: layer)
forward_error.register(Flatten, lambda layer, x: Value(*map(layer.forward, x)))


# The values of x are not asked for: a flattened gradient goes back as it came.
@backward_error.register
def _(layer: Flatten, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:  # noqa: ARG001
    return Slope(*map(layer._unflattened, dy)), {}


@layer_to_plain.register
def _(layer: Flatten) -> Plain:
    layout = {} if layer.layout == "NCHW" else {"layout": layer.layout}  # as it was before layouts
    return {"type": "Flatten", "in_shape": layer.in_shape, **layout}
