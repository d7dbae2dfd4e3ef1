"""A mistake: the tie map that a wrong layer amounts to and what it does to the weights; and a call to try it on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from convdense.arguments import Array
from convdense.entries import Entries
from convdense.tiemap import TieMap

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
        Which weight sits where, wrongly or rightly. Its axes may be merged: their sizes count, not their number.
    weights : function of a weight array
        Linear; its own adjoint up to `back`.
    back : function of a weight gradient
        The adjoint of `weights`.
    """

    sentence: str
    ties: TieMap
    weights: Reordering = np.asarray
    back: Reordering = np.asarray

    def run(self, call: Call, name: str) -> Array:
        """Return the quantity y, dx or dw that this mistake gives."""
        x, w, b, dy = call
        if name == "dw":
            return np.asarray(self.back(self.ties.add_edges(x, dy).reshape(w.shape)))
        matrix = self.ties.matrix(np.ascontiguousarray(self.weights(w)).reshape(self.ties.weight_shape))
        if name == "dx":
            dx = (matrix.T @ dy.reshape(len(dy), -1).T).T  # (batch, inputs)
            return _of_samples(dx, x.shape[1:], self.ties.in_shape)
        y = (matrix @ x.reshape(len(x), -1).T).T + self.ties.bias.matrix(b).toarray()[:, 0]  # (batch, outputs)
        return _of_samples(y, dy.shape[1:], self.ties.out_shape)


@lru_cache(maxsize=1)
def all_entries(ties: TieMap) -> Entries:
    """Return all entries in no particular order, kept until another map's are asked for."""
    return next(ties.slabs(ties.n_entries))


def _of_samples(flat: Array, meant: tuple[int, ...], own: tuple[int, ...]) -> Array:
    """Return (batch, cells) in the shape that is meant, or, where a mistake has more or fewer cells, in its own."""
    return flat.reshape(len(flat), *(meant if prod(meant) == flat.shape[1] else own))
