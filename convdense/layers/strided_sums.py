"""Dense layers along one axis of a sample, the identity on all others, as sums of strided slices.

Rows of such a matrix that look alike are added up at once, in the order of their columns, as a
product with the stored matrix does. Zeros alone differ: that starts from 0 and never gives -0.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense._util.frozen import freeze
from convdense.layers.activations import Abs
from convdense.structure.csr_assembly import (
    assemble,
    make_plan,
    multiply_axis,
    weights_by_merged_tap,
)
from convdense.structure.progressions import Axis
from convdense.structure.row_runs import Run

BLOCK = 1 << 16  # cells that all layers run on at a time: what the cache close to a core holds
RUNS_LIMIT = 16  # an axis with more runs is as well multiplied by its matrix


def blocks(*arrays: Array) -> Iterator[list[Array]]:
    """Yield arrays of (batch, channels, *axes) as views of (planes, 1, *axes), block by block.

    All layers run on one block before the next: what one hands to the other stays in the cache.
    """
    if not all(a.size for a in arrays):
        return
    planes = [a.reshape(prod(a.shape[:2]), 1, *a.shape[2:]) for a in arrays]
    each = max(1, BLOCK // planes[0][0].size)
    for first in range(0, len(planes[0]), each):
        yield [a[first : first + each] for a in planes]


class Strided(NamedTuple):
    """Layers along axes and |.|, of which none mixes channels: they run on one after the other.

    The numbers are those that the layers give one by one. Only |.| is taken in place, and zeros get
    their sign at the end.
    """

    layers: "tuple[AlongAxis | Abs, ...]"

    def forward(self, planes: Array, slopes: list[Array] | None = None) -> Array:
        """Return what leaves the last layer; append the slopes of every |.| on the way."""
        y = planes
        for layer in self.layers:
            if isinstance(layer, Abs):
                if slopes is not None:
                    slopes.append(layer.slopes(y))
                np.abs(y[layer.where], out=y[layer.where])
            else:
                y = layer.forward(y)  # a new array
        return self._from_zero(y)

    def backward(self, planes: Array, dy: Array) -> Array:
        """Return what the first layer hands back."""
        slopes: list[Array] = []
        self.forward(planes, slopes)
        gradient = dy
        for layer in reversed(self.layers):
            if isinstance(layer, Abs):
                gradient[layer.where] *= slopes.pop()
            else:
                gradient = layer.backward(gradient)  # a new array
        return self._from_zero(gradient)

    def _from_zero(self, sums: Array) -> Array:
        """Return sums as if they had started from 0, as those of stored matrices do: never -0."""
        return sums + sums.dtype.type(0) if self.layers else sums


class AlongAxis(NamedTuple):
    """The layer whose weights are 1, on floats of shape (batch, *shape)."""

    at: int  # axis of the samples, behind the batch
    weights: "Sums"
    transposed: "Sums"

    def forward(self, x: Array) -> Array:
        """Return W x."""
        return self.weights.along(self.at, x)

    def backward(self, dy: Array) -> Array:
        """Return W^T dy."""
        return self.transposed.along(self.at, dy)


def along_axis(axes: tuple[Axis, ...]) -> AlongAxis:
    """Return the layer of these axes, all but one of which leave samples as they are.

    Examples
    --------
    >>> from convdense.structure.axis import diagonal, window
    >>> pairs = window(4, 2, 2, stride=2, dilation=1, begin=0, flip=False)
    >>> along_axis((diagonal(1), pairs)).forward(np.array([[[1.0, 2.0, 3.0, 4.0]]]))
    array([[[3., 7.]]])
    """
    at = next((i for i, axis in enumerate(axes) if not axis.is_identity), 0)
    return AlongAxis(1 + at, _sums(axes[at]), _sums(axes[at].T))


class Term(NamedTuple):
    """A number times the cells of a slice."""

    number: float
    cells: slice


class Sums(NamedTuple):
    """The matrix of an axis, and what its rows add up; no rows where the matrix is to be used."""

    matrix: sp.csr_array
    rows: list[tuple[slice, list[Term]]]

    def along(self, at: int, x: Array) -> Array:
        """Return the sums along one axis of x, as a new array."""
        if not self.rows:
            return multiply_axis(at, self.matrix, x)
        sizes = {abs(term.number) for _, terms in self.rows for term in terms}
        multiples = {size: x if size == 1 else x * x.dtype.type(size) for size in sizes}
        before = (slice(None),) * at
        y = np.empty((*x.shape[:at], self.matrix.shape[0], *x.shape[at + 1 :]), x.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # as SciPy, which says nothing
            for rows, terms in self.rows:
                target, total = y[(*before, rows)], np.zeros((), x.dtype)
                if not terms:
                    target[...] = 0
                for i, (number, cells) in enumerate(terms):
                    addend = multiples[abs(number)][(*before, cells)]
                    if i == 0 and number > 0 and len(terms) > 1:
                        total = addend
                    else:
                        add = np.add if number > 0 else np.subtract
                        total = add(total, addend, out=target)
        return y


def _sums(axis: Axis) -> Sums:
    weights = np.ones(axis.n_taps)
    plan = make_plan((axis,))
    matrix = assemble((axis,), plan, weights)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        freeze(array)
    runs = [part for run in plan.runs[0] for part in _of_equal_taps(run)] if plan else []
    if len(runs) > RUNS_LIMIT or any(run.col_step < 0 for run in runs) or plan is None:
        return Sums(matrix, [])
    numbers = weights_by_merged_tap(plan, weights)  # (taps,): what each tap multiplies with
    return Sums(matrix, [_rows(run, numbers) for run in runs])


def _of_equal_taps(run: Run) -> list[Run]:
    """Return a run, or row by row if its rows do not share their taps."""
    if not run.tap_step:
        return [run] if run.count else []
    return [run.part(i, i + 1) for i in range(run.count)]


def _rows(run: Run, numbers: Array) -> tuple[slice, list[Term]]:
    """Return the rows of a run, and what they add up."""
    cells = [_slice(col, run.col_step, run.count) for col in run.cols.tolist()]
    terms = [Term(*pair) for pair in zip(numbers[run.taps].tolist(), cells, strict=True)]
    return _slice(run.start, run.step, run.count), terms


def _slice(start: int, step: int, count: int) -> slice:
    """Return `count` positions; one, which all rows share, where they do not move on."""
    return slice(start, start + (count - 1) * step + 1, max(1, step))
