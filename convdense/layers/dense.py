"""Layers: dense ones, forward and backward side by side; the tied one is a convolution and does not know it."""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, numeric, shaped
from convdense.display.tables import facts
from convdense.geometry import (
    ChannelScale,
    ConvTranspose,
    Linear,
    Windowed,
    backward_operands,
    forward_operands,
)
from convdense.layers.base import Gradients, ShapesOf, as_samples, frozen
from convdense.layers.dense_form import Affine, Step, dense_steps
from convdense.layers.direct_form import DirectConv, DirectDense, DirectScale, direct_counterpart
from convdense.structure._tie import tie
from convdense.structure.kronecker import scaled
from convdense.structure.tie_map import TieMap

GRADIENT_STEPS_LIMIT = 10_000_000  # entries of the dense gradient: 80 MB of float64


class GradientSteps(NamedTuple):
    """The textbook way to the tied gradient: of every edge, of the edges that exist, added up per weight."""

    dense: Array
    masked: Array
    tied: Array


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Dense:
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

    w: Array
    b: Array | None

    def __init__(self, w: Any, b: Any = None) -> None:
        weights = numeric(w, "w")
        if weights.ndim != 2:
            raise ValueError(complain("w", f"shape {weights.shape}", "a matrix (outputs, inputs)"))
        object.__setattr__(self, "w", frozen(weights))
        object.__setattr__(
            self, "b", None if b is None else frozen(shaped(b, "b", self.bias_shape, self))
        )

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

    def forward(self, x: Any) -> Array:
        """Return y of shape (batch, outputs) for x of shape (batch, inputs); one sample goes without the batch axis."""
        x, w, b, had_batch = forward_operands(self, x, self.w, self.b)
        y: Array = x @ w.T if b is None else x @ w.T + b  # (batch, outputs)
        return y if had_batch else y[0]

    def backward(self, x: Any, dy: Any) -> Gradients:
        """Return dx, dw, db for the upstream gradient dy: ``dx = w^H dy``, ``dw = dy x^H``, db the sum of dy."""
        x, w, dy, had_batch = backward_operands(self, x, self.w, dy)
        dx = dy @ w.conj()  # (batch, inputs)
        dw = dy.T @ x.conj()  # (outputs, inputs), summed over the batch
        return Gradients(
            dx if had_batch else dx[0],
            dw,
            None if self.b is None else dy.sum(axis=0, dtype=dy.dtype),
        )

    def with_weights(self, w: Any, b: Any = None) -> "Dense":
        """Return the same layer with other weights, of the same shapes."""
        new = object.__new__(type(self))
        Dense.__init__(new, shaped(w, "w", self.weight_shape, self), b)
        return new

    def __repr__(self) -> str:
        """Return sizes."""
        return f"Dense({self.w.shape[0]} outputs, {self.w.shape[1]} inputs)"

    def _repr_html_(self) -> str:
        """Return the shapes of weights and bias for a notebook."""
        return facts(repr(self), {"w": _facts(self.w), "b": _facts(self.b)})


@dataclass(frozen=True, eq=False, init=False, repr=False)
class TiedDense(ShapesOf):
    """The dense layer that is a convolution: a stored sparse matrix whose weights are tied and
    masked.

    Forward multiplies by the stored matrix, backward by its adjoint; the weight gradient treats
    every edge as its own weight and then adds up the edges that share one. New weights make a new
    layer, so the matrix cannot go stale.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, TieMap, or anything `tie` knows
    w : array of ``layer.weight_shape``
    b : array of ``layer.bias_shape``, or None

    Attributes
    ----------
    ties : TieMap
    matrix : scipy.sparse.csr_array

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> layer = TiedDense(Conv((1, 3, 3), out_channels=1, kernel=2), w=np.array([[[[1, 2], [3, 4]]]]))
    >>> x = np.arange(9).reshape(1, 3, 3)
    >>> layer.forward(x)
    array([[[27, 37],
            [57, 67]]])
    >>> layer.backward(x, dy=np.ones((1, 2, 2), int)).dw
    array([[[[ 8, 12],
             [20, 24]]]])
    """

    _part = "ties"
    layer: Any
    ties: TieMap
    w: Array
    b: Array | None
    matrix: sp.csr_array

    def __init__(self, layer: Any, w: Any, b: Any = None) -> None:
        self._set(layer, tie(layer), w, b)

    def _set(self, layer: Any, ties: TieMap, w: Any, b: Any) -> None:
        weights = frozen(shaped(w, "w", ties.weight_shape, layer))
        bias = None if b is None else frozen(shaped(b, "b", ties.bias_shape, layer))
        matrix = ties.matrix(weights)
        for part in (matrix.data, matrix.indices, matrix.indptr):
            part.setflags(write=False)
        values = {"layer": layer, "ties": ties, "w": weights, "b": bias, "matrix": matrix}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return self.ties.weight_shape

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""
        return self.ties.bias_shape

    def with_weights(self, w: Any, b: Any = None) -> "TiedDense":
        """Return the same layer with other weights, its tie map used again."""
        new = object.__new__(type(self))
        new._set(self.layer, self.ties, w, b)
        return new

    def forward(self, x: Any) -> Array:
        """Return ``y = W x + b``, shape (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        x, _, b, had_batch = forward_operands(self, x, self.w, self.b)
        y = (self.matrix @ _columns(x)).T  # (batch, outputs)
        if b is not None:
            y = (
                y + self.ties.bias.matrix(b).toarray()[:, 0]
            )  # the bias is a tied layer whose one input is 1
        return as_samples(np.ascontiguousarray(y), self.out_shape, had_batch)

    def backward(self, x: Any, dy: Any) -> Gradients:
        """Return dx, dw, db for the upstream gradient dy of shape (batch, *out_shape).

        ``dx = W^H dy``; ``dw[k]`` is the sum of ``coefficient * conj(x[col]) * dy[row]`` over the
        entries of weight k.
        """
        x, _, dy, had_batch = backward_operands(self, x, self.w, dy)
        dx = (self.matrix.conj().T @ _columns(dy)).T  # (batch, inputs)
        db = None
        if self.b is not None:
            db = self.ties.bias.add_edges(np.ones((len(x), 1), dy.dtype), dy).reshape(
                self.bias_shape
            )
        dx = as_samples(np.ascontiguousarray(dx), self.in_shape, had_batch)
        return Gradients(dx, self.ties.add_edges(x, dy), db)

    def gradient_steps(self, x: Any, dy: Any) -> GradientSteps:
        """Return the dense gradient ``dy x^H``, the same masked, and the sums over tied edges: for
        small layers.

        Raises
        ------
        ValueError
            If the dense gradient has more than `GRADIENT_STEPS_LIMIT` entries.
        """
        x, _, dy, _ = backward_operands(self, x, self.w, dy)
        if prod(self.ties.shape) > GRADIENT_STEPS_LIMIT:
            got = f"{self.ties.shape[0]} x {self.ties.shape[1]} edges"
            needs = f"at most {GRADIENT_STEPS_LIMIT:,} to write the dense gradient out"
            raise ValueError(
                complain("layer", got, needs, "use backward, which keeps only the edges that exist")
            )
        dense = _columns(dy) @ _columns(x).conj().T  # (outputs, inputs), summed over the batch
        entries = self.ties.entries()
        masked = np.zeros_like(dense)
        masked[entries.row, entries.col] = dense[entries.row, entries.col]
        each = scaled(masked[entries.row, entries.col], entries.coefficient)
        tied = np.zeros(self.ties.n_weights, each.dtype)
        np.add.at(tied, entries.index, each)
        return GradientSteps(dense, masked, tied.reshape(self.ties.weight_shape))

    def __repr__(self) -> str:
        """Return the layer it is."""
        return f"TiedDense({self.layer!r})"

    def _repr_html_(self) -> str:
        """Return the shapes of weights and bias, and the tie map, for a notebook."""
        return (
            facts(repr(self), {"w": _facts(self.w), "b": _facts(self.b)}) + self.ties._repr_html_()
        )


@tie.register
def _(layer: TiedDense) -> TieMap:
    return layer.ties


def _columns(samples: Array) -> Array:
    """Flatten (batch, *shape) to (features, batch), as a matrix wants to be multiplied."""
    return samples.reshape(len(samples), prod(samples.shape[1:])).T


def _facts(array: Array | None) -> str:
    return "None" if array is None else f"{array.shape} {array.dtype}"


@dense_steps.register
def _(layer: TiedDense, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    bias = None if layer.b is None else layer.ties.bias.matrix(layer.b).toarray()[:, 0]
    return [Affine(layer.matrix, bias, ties=layer.ties)]


@dense_steps.register
def _(layer: Dense, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    ties = tie(Linear(layer.w.shape[1], layer.w.shape[0]))
    return [Affine(ties.matrix(layer.w), layer.b, ties=ties)]


@direct_counterpart.register
def _(layer: TiedDense) -> Any:
    if isinstance(layer.layer, Linear):
        return DirectDense(layer.layer, layer.w, layer.b)
    if isinstance(layer.layer, ChannelScale):
        return DirectScale(layer.layer, layer.w, layer.b)
    if isinstance(layer.layer, (Windowed, ConvTranspose)):
        return DirectConv(layer.layer, layer.w, layer.b)
    needs = "a TiedDense of a convolution, a Linear or a ChannelScale, which can be run directly"
    raise TypeError(complain("layer", repr(layer), needs))


@direct_counterpart.register
def _(layer: Dense) -> DirectDense:
    return DirectDense(layer, layer.w, layer.b)
