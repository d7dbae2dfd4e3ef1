"""A mistake, as a tie map and what is done to the weights; and a call to try it on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import Geometry
from convdense.structure.kronecker import Entries, scaled
from convdense.structure.tie_map import TieMap

FEW = 50_000  # entries; up to here, adding them up takes less time than planning saves
NEAR = 1e-3  # nearer to a whole number than this, sums of fractions are meant to be it
STORED = 1 << 27  # bytes of a matrix that is stored to multiply with
Reordering = Callable[[Array], Array]
Index = tuple[Any, ...]  # of some cells of an array


class Call(NamedTuple):
    """The operands of one call."""

    x: Array
    w: Array
    b: Array
    dy: Array

    @property
    def without_bias(self) -> "Call":
        """The call with a bias of zeros."""
        return self._replace(b=0 * self.b)


@dataclass(frozen=True)
class Mistake:
    """A layer got wrong: its sentence, its tie map, and what it does to the weights.

    The axes of the tie map may be merged: their sizes count, not their number.
    """

    sentence: str
    ties: TieMap  # which weight sits where, wrongly or rightly
    weights: Reordering = np.asarray  # linear, of a weight array
    weights_adjoint: Reordering = np.asarray  # of a weight gradient

    def run(self, call: Call, name: str) -> Array:
        """Return the quantity y, dx or dw that this mistake gives."""
        if name == "dw":
            return self._dw(call)
        weights = np.ascontiguousarray(self.weights(call.w)).reshape(self.ties.weight_shape)
        sums = _summed(name, self.ties, call._replace(w=weights))
        if any(axis.coefficients is not None for axis in self.ties.axes):
            near = np.rint(sums)  # fractions of what was drawn are whole, but for their rounding
            sums = np.where(np.abs(sums - near) < NEAR, near, sums)
        if name == "dx":
            return _shaped(sums, call.x.shape[1:], self.ties.in_shape)

        # The first axes of an output tell its bias: consecutive outputs share one.
        y = sums + np.repeat(call.b.ravel(), sums.shape[1] // call.b.size)
        from_padding = self.ties.from_padding(weights)
        if from_padding is not None:
            y = y + from_padding.ravel()
        return _shaped(y, call.dy.shape[1:], self.ties.out_shape)

    def _dw(self, call: Call) -> Array:
        inputs = call.x.reshape(len(call.x), *self.ties.in_shape)
        gradients = call.dy.reshape(len(call.dy), *self.ties.out_shape)
        if self.ties.n_entries > FEW:
            dw = self.ties.gradient(inputs, gradients)
        else:
            dw = self.ties.add_edges(inputs, gradients)
        return np.asarray(self.weights_adjoint(dw.reshape(call.w.shape)))


def flat_samples(batch: Array) -> Array:
    """Return a batch with each sample in one row, (batch, cells)."""
    return batch.reshape(len(batch), -1)


def cells_of(name: str, entries: Entries) -> Array:
    """Return to which cell of y, dx or dw each entry adds."""
    return {"y": entries.row, "dx": entries.col, "dw": entries.index}[name]


def products(name: str, entries: Entries, call: Call) -> Array:
    """Return what each entry adds to its cell of y, dx or dw in each sample, (batch, entries)."""
    if name == "dw":
        pairs = flat_samples(call.x)[:, entries.col] * flat_samples(call.dy)[:, entries.row]
        return scaled(pairs, entries.coefficient)
    weights = scaled(np.ravel(call.w)[entries.index], entries.coefficient)
    if name == "dx":
        return np.asarray(weights * flat_samples(call.dy)[:, entries.row])
    return np.asarray(weights * flat_samples(call.x)[:, entries.col])


def first_cells(sizes: Iterable[int]) -> Index:
    """Return the index of the first cells along the last axes, so many along each."""
    return (..., *(slice(0, n) for n in sizes))


def _summed(name: str, ties: TieMap, call: Call) -> Array:
    """Return the matrix W times each sample, or for dx its transpose, as (batch, cells)."""
    if ties.n_entries > FEW:
        operator = ties.operator(call.w, max_bytes=STORED)
        samples = flat_samples(call.dy if name == "dx" else call.x).T  # (cells, batch)
        flat = operator.rmatmat(samples) if name == "dx" else operator.matmat(samples)
        return np.asarray(flat.T)

    entries = all_entries(ties)
    n_outputs, n_inputs = ties.shape
    size = n_inputs if name == "dx" else n_outputs
    cells = cells_of(name, entries)
    sums = [np.bincount(cells, each, size) for each in products(name, entries, call)]
    return np.stack(sums).astype(float)  # without entries, bincount counts in integers


@lru_cache(maxsize=1)
def all_entries(ties: TieMap) -> Entries:
    """Return all entries in no particular order, kept until another map's are asked for."""
    return next(ties.slabs(ties.n_entries))


def _shaped(flat: Array, meant: tuple[int, ...], own: tuple[int, ...]) -> Array:
    """Return (batch, cells) in the shape meant, or, where a mistake has other cells, in its own."""
    shape = meant if prod(meant) == flat.shape[1] else own
    return flat.reshape(len(flat), *shape)


# A mistake that leaves the layer's structure as it is: a sentence, and what it makes of a
# quantity's value, of the layer that gave it (the right one, or a mistake), and of the call.
ResultChange = Callable[[Array, Mistake, Call], Array]
ResultMistake = tuple[str, ResultChange]


def of_the_value(change: Callable[[Array], Array]) -> ResultChange:
    """Return what is made of the value alone."""
    return lambda value, *_: change(value)


def of_the_call(name: str, change: Callable[[Call], Call]) -> ResultChange:
    """Return the quantity y, dx or dw of another call."""
    return lambda _, mistake, call: mistake.run(change(call), name)


def only(at: Index, value: Array) -> Array:
    """Return the values at some cells, 0 elsewhere."""
    result = np.zeros_like(value)
    result[at] = value[at]
    return result


def bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient: dy summed over the batch and the positions that share a bias."""
    return np.asarray(each_bias_gradient(layer, dy).sum(axis=0))


def each_bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient of every sample, (batch, *bias_shape)."""
    # of a bias for each channel, sum over all pixels; of one for each output, over nothing
    positions = tuple(range(1 + len(layer.bias_shape), dy.ndim))
    return np.asarray(dy.sum(axis=positions))
