"""Residual addition, ready to run: x plus what a network makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, batched, complain
from convdense.geometry import paired_operands
from convdense.layers.base import ShapesOf, ShapesTable
from convdense.layers.dense_form import Affine, Step, dense_steps, sums, twice, with_identity
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    SLACK,
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    integer_unit,
    magnitudes,
    rounded,
)
from convdense.layers.plain_form import Plain, layer_to_plain
from convdense.networks.network import Network


@dataclass(frozen=True, eq=False, repr=False)
class ResidualSum(ShapesOf, ShapesTable):
    """x plus what a network makes of it.

    As dense layers: ``[I; I]`` copies x, the network runs on one copy beside the identity on the
    other, and ``[I I]`` adds both. It is made by `network` from a `Residual`.
    """

    _part = "inner"  # whose in_shape and out_shape `ShapesOf` returns
    inner: Network  # of equal input and output shape

    def __post_init__(self) -> None:
        if self.inner.in_shape != self.inner.out_shape:
            got = f"{self.inner.in_shape} -> {self.inner.out_shape}"
            needs, do = "equal shapes, for both are added", "pad convolutions with 'same'"
            raise ValueError(complain("layers", got, needs, do))

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Those of the inner network."""
        return self.inner.parameters

    def with_parameters(self, parameters: Mapping[str, npt.ArrayLike]) -> "ResidualSum":
        """Return the same layer with other parameters."""
        return ResidualSum(self.inner.with_parameters(parameters))

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return x + inner(x)."""
        x, had_batch = batched(x, "x", self.in_shape, self)
        y = x + self.inner.forward(x)
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> tuple[Array, dict[str, Array]]:
        """Return dx, dy plus what the inner network hands back, and the inner gradients."""
        x, dy, had_batch = paired_operands(self, x, dy)
        inner_dx, gradients = self.inner.backward(x, dy)
        dx = dy + inner_dx  # x enters both terms of the sum
        return np.asarray(dx if had_batch else dx[0]), gradients

    def __repr__(self) -> str:
        return f"ResidualSum({', '.join(map(repr, self.inner.layers))})"

    def _repr_html_(self) -> str:
        return super()._repr_html_() + self.inner._repr_html_()


# What every layer registers for itself: the functions in `layers` say what they return.


@dense_steps.register
def _(layer: ResidualSum, dtype: npt.DTypeLike = "float64") -> list[Step]:
    n = prod(layer.in_shape)
    copy_x = Affine(twice(n, dtype))  # [I; I]
    inner = [with_identity(step, n, dtype) for step in dense_steps(layer.inner, dtype)]
    add = Affine(sums(n, dtype))  # [I I]
    return [copy_x, *inner, add]


direct_counterpart.register(ResidualSum, lambda layer: ResidualSum(layer.inner.direct()))
magnitudes.register(ResidualSum, lambda layer: ResidualSum(magnitudes(layer.inner)))
# a multiple of `leaving`, as x itself must be
integer_unit.register(ResidualSum, lambda layer, leaving=1: integer_unit(layer.inner, leaving))


@forward_error.register
def _(layer: ResidualSum, x: Value) -> Value:
    # Beside the errors of both terms there is one rounding: at most u times the sum of magnitudes.
    inner = forward_error(layer.inner, x)
    sum_of_magnitudes = x.magnitude + inner.magnitude
    error_of_adding = rounded(1, sum_of_magnitudes, x.value.dtype, inner.value.dtype)
    error = SLACK * (x.error + inner.error) + error_of_adding
    return Value(np.asarray(x.value + inner.value), error)


@backward_error.register
def _(layer: ResidualSum, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    dx, bounds = backward_error(layer.inner, x, dy)
    sum_of_magnitudes = dy.magnitude + dx.magnitude
    error_of_adding = rounded(1, sum_of_magnitudes, dy.value.dtype, dx.value.dtype)
    error = SLACK * (dy.error + dx.error) + error_of_adding
    undecided = dy.undecided | dx.undecided
    return Slope(np.asarray(dy.value + dx.value), error, undecided), bounds


@layer_to_plain.register
def _(layer: ResidualSum) -> Plain:
    inner = [layer_to_plain(part) for part in layer.inner.layers]
    return {"type": "ResidualSum", "layers": inner}
