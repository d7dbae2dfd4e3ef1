"""A mistake: the tie map that a wrong layer amounts to and what it does to the weights; and a call to try it on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import Geometry
from convdense.structure.kronecker import Entries, scaled
from convdense.structure.tie_map import TieMap

FEW = 50_000  # entries
Reordering = Callable[[Array], Array]


class Call(NamedTuple):
    """The operands of one call."""

    x: Array
    w: Array
    b: Array
    dy: Array


@dataclass(frozen=True)
class Mistake:
    """A layer got wrong: its sentence, the tie map it amounts to, and what it does to the weights.

    Parameters
    ----------
    sentence : str
    ties : TieMap
        Which weight sits where, wrongly or rightly. Its axes may be merged: their sizes count, not
        their number.
    weights : function of a weight array
        Linear.
    weights_adjoint : function of a weight gradient
        The adjoint of `weights`.
    """

    sentence: str
    ties: TieMap
    weights: Reordering = np.asarray
    weights_adjoint: Reordering = np.asarray

    def run(self, call: Call, name: str) -> Array:
        """Return the quantity y, dx or dw that this mistake gives."""
        x, w, b, dy = call
        if name == "dw":
            sums = self.ties.gradient if self.ties.n_entries > FEW else self.ties.add_edges
            cells, outputs = (
                x.reshape(len(x), *self.ties.in_shape),
                dy.reshape(len(dy), *self.ties.out_shape),
            )
            return np.asarray(self.weights_adjoint(sums(cells, outputs).reshape(w.shape)))
        weights = np.ascontiguousarray(self.weights(w)).reshape(self.ties.weight_shape)
        if name == "dx":
            dx = _products(
                self.ties, weights, dy.reshape(len(dy), -1), transposed=True
            )  # (batch, inputs)
            return _of_samples(dx, x.shape[1:], self.ties.in_shape)
        y = _products(
            self.ties, weights, x.reshape(len(x), -1), transposed=False
        )  # (batch, outputs)
        y = y + np.repeat(
            b.ravel(), y.shape[1] // b.size
        )  # the first axes of an output tell its bias
        return _of_samples(y, dy.shape[1:], self.ties.out_shape)


def _products(ties: TieMap, weights: Array, operand: Array, *, transposed: bool) -> Array:
    """Return the matrix, or its transpose, times each sample: entry by entry where building the matrix takes longer."""
    if ties.n_entries > FEW:
        matrix = ties.matrix(weights)
        return np.asarray(((matrix.T if transposed else matrix) @ operand.T).T)
    entries = all_entries(ties)
    to, of = (entries.col, entries.row) if transposed else (entries.row, entries.col)
    each = scaled(weights.ravel()[entries.index], entries.coefficient)
    size = ties.shape[1 if transposed else 0]
    return np.stack([np.bincount(to, each * sample[of], size) for sample in operand]).astype(
        float
    )  # even of none


@lru_cache(maxsize=1)
def all_entries(ties: TieMap) -> Entries:
    """Return all entries in no particular order, kept until another map's are asked for."""
    return next(ties.slabs(ties.n_entries))


def _of_samples(flat: Array, meant: tuple[int, ...], own: tuple[int, ...]) -> Array:
    """Return (batch, cells) in the shape that is meant, or, where a mistake has more or fewer cells, in its own."""
    return flat.reshape(len(flat), *(meant if prod(meant) == flat.shape[1] else own))


# a mistake that leaves the layer's structure right: a sentence, and what it makes of the value of a
# call
ResultMistake = tuple[str, Callable[[Array, Mistake, Call], Array]]


def bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient: dy summed over the batch and the positions that share a bias."""
    return np.asarray(each_bias_gradient(layer, dy).sum(axis=0))


def each_bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient of every sample, (batch, *bias_shape)."""
    return np.asarray(dy.sum(axis=tuple(range(1 + len(layer.bias_shape), dy.ndim))))
