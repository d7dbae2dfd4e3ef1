"""Flatten: what a dense layer wants to be given; its own dense layer is the identity."""

from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, batched, shape_or_none
from convdense.geometry import paired_operands
from convdense.layers.base import AnyShape
from convdense.layers.dense_form import Step, dense_steps
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    magnitudes,
)
from convdense.layers.plain_form import Plain, fields_from_plain, layer_to_plain, reads


@dataclass(frozen=True, repr=False)
class Flatten(AnyShape):
    """One axis for all of a sample's axes, in C order.

    Parameters
    ----------
    in_shape : tuple of int or None
        Shape of one sample; None in a network, which fills it in.

    Examples
    --------
    >>> layer = Flatten((2, 1, 2))
    >>> x = [[[1, 2]], [[3, 4]]]
    >>> layer.forward(x), layer.backward(x, dy=[5, 6, 7, 8]).shape
    (array([1, 2, 3, 4]), (2, 1, 2))
    """

    in_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", shape_or_none(self.in_shape, "in_shape"))

    def with_in_shape(self, in_shape: tuple[int, ...]) -> Self:
        """Return the same layer for samples of this shape."""
        return type(self)(in_shape)

    @property
    def out_shape(self) -> tuple[int, ...] | None:
        """Shape of one output sample."""
        return None if self.in_shape is None else (prod(self.in_shape),)

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, (batch, features), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = batched(x, "x", self.known_shape(), self)
        y = x.reshape(len(x), prod(x.shape[1:]))
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx: dy in the shape of x."""
        self.known_shape()
        x, dy, had_batch = paired_operands(self, x, dy)  # type: ignore[arg-type]  # it has shapes now
        dx = dy.reshape(len(dy), *x.shape[1:])
        return np.asarray(dx if had_batch else dx[0])

    def __repr__(self) -> str:
        """Return the call that makes this layer."""
        return f"Flatten({'' if self.in_shape is None else self.in_shape})"


@dense_steps.register
def _(layer: Flatten, dtype: npt.DTypeLike = "float64") -> list[Step]:  # noqa: ARG001  (it has no matrix)
    layer.known_shape()
    return []  # flattened samples are as they are


@direct_counterpart.register
def _(layer: Flatten) -> Flatten:
    return layer  # its own definition


@magnitudes.register
def _(layer: Flatten) -> Flatten:
    return layer


@forward_error.register
def _(layer: Flatten, x: Value) -> Value:
    return Value(layer.forward(x.value), layer.forward(x.error))


# The shape of x is enough: a flattened gradient goes back as it came.
@backward_error.register
def _(layer: Flatten, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:  # noqa: ARG001
    shape = x.value.shape
    return Slope(dy.value.reshape(shape), dy.error.reshape(shape), dy.undecided.reshape(shape)), {}


@layer_to_plain.register
def _(layer: Flatten) -> Plain:
    return {"type": "Flatten", "in_shape": layer.in_shape}


@reads("Flatten")
def _(values: Plain) -> Flatten:
    return Flatten(**fields_from_plain(values))
