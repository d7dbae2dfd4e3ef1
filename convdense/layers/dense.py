"""The ordinary fully connected layer, forward and backward side by side."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, numeric, shaped
from convdense._util.threads import product
from convdense.display.tables import facts
from convdense.geometry import Linear, backward_operands, forward_operands
from convdense.layers.base import Gradients, MatrixProducts, Runs, frozen
from convdense.layers.dense_form import Affine, Step, dense_steps
from convdense.layers.direct_form import DirectDense, direct_counterpart
from convdense.layers.error_bounds import (
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    magnitudes,
)
from convdense.layers.plain_form import Plain, from_plain, layer_to_plain, reads, to_plain
from convdense.layers.weighted_bounds import (
    absolute_weights,
    weighted_backward_error,
    weighted_forward_error,
)
from convdense.structure._tie import tie
from convdense.structure.kronecker import Counts


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Dense(Runs, MatrixProducts):
    """An ordinary fully connected layer, ``y = w x + b``; it knows nothing of convolution.

    Parameters
    ----------
    w : (outputs, inputs) array
    b : (outputs,) array or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> layer = Dense([[1, 2, 0], [0, 1, 2]], b=[10, 20])
    >>> layer.forward([[1, 2, 3]])
    array([[15, 28]])
    >>> layer.backward([[1, 2, 3]], dy=[[1, -1]]).dw
    array([[ 1,  2,  3],
           [-1, -2, -3]])
    """

    _use_instead = "layer.w is its matrix"
    w: Array
    b: Array | None

    def __init__(self, w: npt.ArrayLike, b: npt.ArrayLike | None = None) -> None:
        weights = numeric(w, "w")
        if weights.ndim != 2:
            do = "" if weights.ndim else "write Linear(in_features, out_features) for a network"
            got, needs = f"shape {weights.shape}", "a matrix (outputs, inputs)"
            raise ValueError(complain("w", got, needs, do))
        object.__setattr__(self, "w", frozen(weights))
        bias = None if b is None else frozen(shaped(b, "b", self.bias_shape, self))
        object.__setattr__(self, "b", bias)

    @property
    def matrix(self) -> Array:
        """The matrix, (outputs, inputs): w."""
        return self.w

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return self.w.shape[1:]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return self.w.shape[:1]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return self.w.shape

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output."""
        return self.w.shape[:1]

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, shape (batch, outputs), for x of shape (batch, inputs) or of one sample."""
        x, w, b, had_batch = forward_operands(self, x, self.w, self.b)
        y = product(x, w.T)  # (batch, outputs)
        if b is not None:
            y = y + b
        return y if had_batch else y[0]

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db for dy: ``dx = w^H dy``, ``dw = dy x^H``, db the sum of dy."""
        x, w, dy, had_batch = backward_operands(self, x, self.w, dy)
        dx = product(dy, w.conj())  # (batch, inputs)
        dw = product(dy.T, x.conj())  # (outputs, inputs), summed over the batch
        db = None if self.b is None else dy.sum(axis=0, dtype=dy.dtype)
        return Gradients(dx if had_batch else dx[0], dw, db)

    def with_weights(self, w: npt.ArrayLike, b: npt.ArrayLike | None = None) -> "Dense":
        """Return the same layer with other weights, of the same shapes."""
        new = object.__new__(type(self))
        Dense.__init__(new, shaped(w, "w", self.weight_shape, self), b)
        return new

    def __repr__(self) -> str:
        return f"Dense({self.w.shape[0]} outputs, {self.w.shape[1]} inputs)"

    def _repr_html_(self) -> str:
        return facts(repr(self), {"w": shape_and_dtype(self.w), "b": shape_and_dtype(self.b)})


def shape_and_dtype(array: Array | None) -> str:
    """Return what a notebook shows of an array."""
    return "None" if array is None else f"{array.shape} {array.dtype}"


@dense_steps.register
def _(layer: Dense, dtype: npt.DTypeLike = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    ties = tie(Linear(layer.w.shape[1], layer.w.shape[0]))
    return [Affine(ties.matrix(layer.w), layer.b, ties=ties)]


direct_counterpart.register(Dense, lambda layer: DirectDense(layer, layer.w, layer.b))
magnitudes.register(Dense, lambda layer: absolute_weights(direct_counterpart(layer)))


def _counts(layer: Dense) -> Counts:
    """Return how many products each output, input and weight takes part in."""
    outputs, inputs = layer.w.shape
    return Counts(np.full(outputs, inputs), np.full(inputs, outputs), np.ones(layer.w.shape, int))


@forward_error.register
def _(layer: Dense, x: Value) -> Value:
    return weighted_forward_error(direct_counterpart(layer), _counts(layer), x)


@backward_error.register
def _(layer: Dense, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    copies_of_bias = np.ones(layer.bias_shape, int)
    return weighted_backward_error(direct_counterpart(layer), _counts(layer), copies_of_bias, x, dy)


@layer_to_plain.register
def _(layer: Dense) -> Plain:
    return {"type": "Dense", "w": to_plain(layer.w), "b": to_plain(layer.b)}


@reads("Dense")
def _(values: Plain) -> Dense:
    return Dense(from_plain(values["w"]), from_plain(values["b"]))
