"""The dense layer that is a convolution: weights tied, and none where there is no edge."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util import threads
from convdense._util.arguments import Array, complain, shaped
from convdense._util.frozen import freeze
from convdense.display.tables import LINES, Cell, facts, table
from convdense.geometry import HasShapes, backward_operands, forward_operands
from convdense.geometry.padding import padded_dtype
from convdense.layers.base import Gradients, MatrixProducts, Runs, ShapesOf, as_samples, frozen
from convdense.layers.blocked_sums import adjoint_product, longest_column, product
from convdense.layers.dense import shape_and_dtype
from convdense.layers.dense_form import Affine, Step, dense_steps
from convdense.layers.direct_form import DirectWeighted, direct_counterpart, with_direct_weights
from convdense.layers.error_bounds import (
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    integer_unit,
    magnitudes,
)
from convdense.layers.plain_form import (
    Plain,
    from_plain,
    layer_to_plain,
    plain_to_layer,
    reads,
    to_plain,
)
from convdense.layers.weighted_bounds import (
    absolute_weights,
    weighted_backward_error,
    weighted_forward_error,
)
from convdense.structure._tie import tie
from convdense.structure.kronecker import scaled
from convdense.structure.tie_map import TieMap

GRADIENT_STEPS_LIMIT = 10_000_000  # entries of the dense gradient: 80 MB of float64


class GradientSteps(NamedTuple):
    """The textbook way to the tied gradient: all edges, those that exist, summed per weight."""

    dense: Array
    masked: Array
    tied: Array

    def _repr_html_(self) -> str:
        """Return what each step is, and its numbers, for a notebook."""
        what = ("every edge", "edges that exist", "sums over the copies of a weight")
        return table(
            (name, said, shape_and_dtype(values), Cell(str(values), style=LINES))
            for name, said, values in zip(self._fields, what, self, strict=True)
        )


@dataclass(frozen=True, eq=False, init=False, repr=False)
class TiedDense(ShapesOf, Runs, MatrixProducts):
    """The dense layer that is a convolution: a stored sparse matrix whose weights are tied.

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
    >>> w = np.array([[[[1, 2], [3, 4]]]])
    >>> layer = TiedDense(Conv((1, 3, 3), out_channels=1, kernel=2), w)
    >>> x = np.arange(9).reshape(1, 3, 3)
    >>> layer.forward(x)
    array([[[27, 37],
            [57, 67]]])
    >>> layer.backward(x, dy=np.ones((1, 2, 2), int)).dw
    array([[[[ 8, 12],
             [20, 24]]]])
    """

    _part = "ties"
    _use_instead = "layer.matrix is its matrix, layer.w are its weights"
    layer: HasShapes
    ties: TieMap
    w: Array
    b: Array | None
    matrix: sp.csr_array

    def __init__(self, layer: HasShapes, w: npt.ArrayLike, b: npt.ArrayLike | None = None) -> None:
        self._set(layer, tie(layer), w, b)

    def _set(
        self, layer: HasShapes, ties: TieMap, w: npt.ArrayLike, b: npt.ArrayLike | None
    ) -> None:
        """Set everything that follows from weights; the one moment that this layer is written."""
        weights = frozen(shaped(w, "w", ties.weight_shape, layer))
        bias = None if b is None else frozen(shaped(b, "b", ties.bias_shape, layer))
        matrix = ties.matrix(weights)
        freeze(matrix)
        values = {"layer": layer, "ties": ties, "w": weights, "b": bias, "matrix": matrix}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @cached_property
    def _longest_column(self) -> int:
        return longest_column(self.ties)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return self.ties.weight_shape

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""
        return self.ties.bias_shape

    @cached_property
    def added(self) -> Array | None:
        """What is added to each flattened output, whatever the input; None where nothing is.

        The bias is a tied layer whose one input is 1. Padding that holds a number is another.
        """
        from_padding = self.ties.from_padding(self.w)
        if self.b is None:
            return None if from_padding is None else frozen(from_padding.ravel())
        from_bias = np.asarray(self.ties.bias.matrix(self.b).toarray()[:, 0])
        return frozen(from_bias if from_padding is None else from_padding.ravel() + from_bias)

    def with_weights(self, w: npt.ArrayLike, b: npt.ArrayLike | None = None) -> "TiedDense":
        """Return the same layer with other weights, its tie map used again."""
        new = object.__new__(type(self))
        new._set(self.layer, self.ties, w, b)
        return new

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return ``y = W x + b``, (batch, *out_shape), for (batch, *in_shape) or one sample.

        Where padded cells hold a number, what they add joins b (see `added`).
        """
        x, _, b, had_batch = forward_operands(self, x, self.w, self.b)
        y = product(self.matrix, _columns(x)).T  # (batch, outputs)
        if self.added is not None:
            y = y + self.added
        if self.ties.padding:  # what it adds is wider than a sum with the padded cells would be
            cells = padded_dtype(x.dtype, self.ties.padding_value)
            y = y.astype(np.result_type(cells, self.w, *(() if b is None else (b,))))
        return as_samples(np.ascontiguousarray(y), self.out_shape, had_batch)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Gradients:
        """Return dx, dw, db for the upstream gradient dy of shape (batch, *out_shape).

        ``dx = W^H dy``; ``dw[k]`` is the sum of ``coefficient * conj(x[col]) * dy[row]`` over the
        entries of weight k.
        """
        x, _, dy, had_batch = backward_operands(self, x, self.w, dy)
        dx = adjoint_product(self.matrix, _columns(dy), self._longest_column).T  # (batch, inputs)
        dw = self.ties.add_edges(x, dy)
        db = None
        if self.b is not None:
            ones = np.ones((len(x), 1), dy.dtype)  # the input of the bias, (batch, 1)
            db = self.ties.bias.add_edges(ones, dy).reshape(self.bias_shape)
        return Gradients(as_samples(np.ascontiguousarray(dx), self.in_shape, had_batch), dw, db)

    def gradient_steps(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> GradientSteps:
        """Return the dense gradient ``dy x^H``, the same masked, and the sums over tied edges.

        All edges are written out: for small layers.

        Raises
        ------
        ValueError
            If the dense gradient has more than `GRADIENT_STEPS_LIMIT` entries.
        """
        x, _, dy, _ = backward_operands(self, x, self.w, dy)
        outputs, inputs = self.ties.shape
        if outputs * inputs > GRADIENT_STEPS_LIMIT:
            got = f"{outputs} x {inputs} edges"
            needs = f"at most {GRADIENT_STEPS_LIMIT:,} to write the dense gradient out"
            do = "use backward, which keeps only the edges that exist"
            raise ValueError(complain("layer", got, needs, do))

        dense = threads.product(
            _columns(dy), _columns(x).conj().T
        )  # (outputs, inputs), summed over the batch
        entries = self.ties.entries()
        at_edges = dense[entries.row, entries.col]  # (entries,)
        masked = np.zeros_like(dense)
        masked[entries.row, entries.col] = at_edges

        terms = scaled(at_edges, entries.coefficient)
        tied = np.zeros(self.ties.n_weights, terms.dtype)
        np.add.at(tied, entries.index, terms)  # edges with the same index share a weight
        tied = self.ties.with_padding(tied.reshape(self.ties.weight_shape), x, dy)
        return GradientSteps(dense, masked, tied)

    def __repr__(self) -> str:
        return f"TiedDense({self.layer!r})"

    def _repr_html_(self) -> str:
        arrays = {"w": shape_and_dtype(self.w), "b": shape_and_dtype(self.b)}
        return facts(repr(self), arrays) + self.ties._repr_html_()


def _columns(samples: Array) -> Array:
    """Flatten (batch, *shape) to (features, batch), as a matrix wants to be multiplied."""
    return samples.reshape(len(samples), prod(samples.shape[1:])).T


@dense_steps.register
def _(layer: TiedDense, dtype: npt.DTypeLike = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    has_bias = layer.b is not None
    return [Affine(layer.matrix, layer.added, ties=layer.ties, has_bias=has_bias)]


@direct_counterpart.register
def _(layer: TiedDense) -> DirectWeighted:
    return with_direct_weights(layer.layer, layer.w, layer.b)


tie.register(TiedDense, lambda layer: layer.ties)
magnitudes.register(TiedDense, lambda layer: absolute_weights(direct_counterpart(layer)))


@forward_error.register
def _(layer: TiedDense, x: Value) -> Value:
    return weighted_forward_error(direct_counterpart(layer), layer.ties.counts(), x)


@backward_error.register
def _(layer: TiedDense, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    copies_of_bias = layer.ties.bias.counts().weights
    counts = layer.ties.counts()
    return weighted_backward_error(direct_counterpart(layer), counts, copies_of_bias, x, dy)


@integer_unit.register
def _(layer: TiedDense, leaving: int = 1) -> int:
    number = layer.ties.padding_value
    if number % leaving:
        needs = f"a multiple of {leaving}, so that what leaves {layer!r} stays whole"
        raise ValueError(complain("padding_value", number, needs, "use check"))
    return leaving


@layer_to_plain.register
def _(layer: TiedDense) -> Plain:
    return {
        "type": "TiedDense",
        "layer": layer_to_plain(layer.layer),
        "w": to_plain(layer.w),
        "b": to_plain(layer.b),
    }


@reads("TiedDense")
def _(values: Plain) -> TiedDense:
    layer = plain_to_layer(values["layer"])
    return TiedDense(layer, from_plain(values["w"]), from_plain(values["b"]))
