"""Flatten: what a dense layer wants to be given; its own dense layer is the identity."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, batched, known_shape, shape_or_none
from convdense.geometry import paired_operands
from convdense.layers.base import ShapesTable
from convdense.layers.dense_form import Step, dense_steps
from convdense.layers.direct_form import direct_counterpart


@dataclass(frozen=True, repr=False)
class Flatten(ShapesTable):
    """One axis for all of a sample's axes, in C order.

    Parameters
    ----------
    in_shape : tuple of int or None
        Shape of one sample; None in a network, which fills it in.

    Examples
    --------
    >>> layer = Flatten((2, 1, 2))
    >>> layer.forward([[[1, 2]], [[3, 4]]]), layer.backward([[[1, 2]], [[3, 4]]], dy=[5, 6, 7, 8]).shape
    (array([1, 2, 3, 4]), (2, 1, 2))
    """

    in_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", shape_or_none(self.in_shape, "in_shape"))

    @property
    def out_shape(self) -> tuple[int, ...] | None:
        """Shape of one output sample."""
        return None if self.in_shape is None else (prod(self.in_shape),)

    def forward(self, x: Any) -> Array:
        """Return y, shape (batch, features), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = batched(x, "x", known_shape(self), self)
        y = x.reshape(len(x), prod(x.shape[1:]))
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx: dy in the shape of x."""
        known_shape(self)
        x, dy, had_batch = paired_operands(self, x, dy)  # type: ignore[arg-type]  # its shapes are known here
        dx = dy.reshape(len(dy), *x.shape[1:])
        return np.asarray(dx if had_batch else dx[0])

    def __repr__(self) -> str:
        """Return the call that makes this layer."""
        return f"Flatten({'' if self.in_shape is None else self.in_shape})"


@dense_steps.register
def _(layer: Flatten, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (flattened samples are as they are)
    known_shape(layer)
    return []


@direct_counterpart.register
def _(layer: Flatten) -> Flatten:
    return layer  # its own definition
