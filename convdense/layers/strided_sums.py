"""Dense layers along one axis of a sample, the identity on all others, as sums of strided slices.

Rows of such a matrix that look alike are added up at once, in the order of their columns, as a
product with the stored matrix does. Zeros alone differ: that starts from 0 and never gives -0.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
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

BLOCK = 1 << 17  # cells that all layers run on at a time: what the cache close to a core holds
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


class Pieces(NamedTuple):
    """Samples cut along one axis into contiguous arrays.

    Half sums in one and half differences in another are added up faster than side by side.
    """

    at: int  # axis of the samples, behind the batch
    bounds: list[int]  # where each array begins along it, and the end
    arrays: list[Array]

    @classmethod
    def along(cls, at: int, samples: "Array | Pieces") -> "Pieces":
        """Return samples in one piece, or as they are if they are cut along this axis."""
        if isinstance(samples, Pieces):
            return samples if samples.at == at else cls.along(at, samples.joined())
        return cls(at, [0, samples.shape[at]], [samples])

    def joined(self) -> Array:
        """Return the samples as one array."""
        return self.arrays[0] if len(self.arrays) == 1 else np.concatenate(self.arrays, self.at)

    def view(self, cells: slice) -> Array:
        """Return a view of cells along the axis, all of one array."""
        i = bisect_right(self.bounds, cells.start) - 1
        start = self.bounds[i]
        within = slice(cells.start - start, cells.stop - start, cells.step)
        return np.asarray(self.arrays[i][(*[slice(None)] * self.at, within)])

    def times(self, number: float) -> "Pieces":
        """Return the samples times a number, in their dtype."""
        if number == 1:
            return self
        return self._replace(arrays=[array * array.dtype.type(number) for array in self.arrays])


def _is_cut(parts: Iterable[slice], bounds: Sequence[int]) -> bool:
    """Tell whether one of these parts has cells on both sides of a bound."""
    return any(part.start < bound < part.stop for part in parts for bound in bounds)


class Strided(NamedTuple):
    """Layers along axes and |.|, of which none mixes channels: they run on one after the other.

    The numbers are those that the layers give one by one. Only |.| is taken in place, and zeros get
    their sign at the end.
    """

    layers: "tuple[AlongAxis | Abs, ...]"

    def forward(self, planes: Array, out: Array) -> None:
        """Write what leaves the last layer."""
        _from_zero(self._through(planes, self.layers), out)

    def _through(
        self,
        planes: Array,
        layers: "Sequence[AlongAxis | Abs]",
        slopes: list[Array] | None = None,
    ) -> "Array | Pieces":
        """Return what leaves the last of these layers, and append the slopes of every |.|."""
        y: Array | Pieces = planes
        for layer, following in zip(layers, (*layers[1:], None), strict=False):
            y = Pieces.along(1 + layer.axis, y)
            if isinstance(layer, Abs):
                cells = y.view(slice(layer.start, layer.stop))
                if slopes is not None:
                    slopes.append(layer.slopes(cells))
                np.abs(cells, out=cells)
            else:
                y = layer.weights.sums(y, following)
        return y

    def backward(self, planes: Array, dy: Array, out: Array) -> None:
        """Write what the first layer hands back."""
        slopes: list[Array] = []
        up_to_abs = [i + 1 for i, layer in enumerate(self.layers) if isinstance(layer, Abs)]
        self._through(planes, self.layers[: max(up_to_abs, default=0)], slopes)
        gradient: Array | Pieces = dy
        turned = self.layers[::-1]
        for layer, before in zip(turned, (*turned[1:], None), strict=False):
            gradient = Pieces.along(1 + layer.axis, gradient)
            if isinstance(layer, Abs):
                cells = gradient.view(slice(layer.start, layer.stop))
                cells *= slopes.pop()
            else:
                gradient = layer.transposed.sums(gradient, before)
        _from_zero(gradient, out)


def _from_zero(sums: Array | Pieces, out: Array) -> None:
    """Write sums as if they had started from 0, as those of stored matrices do: never -0."""
    if isinstance(sums, Pieces):
        np.add(sums.joined(), 0, out=out, casting="unsafe")  # of integers, all are integers
    else:
        out[...] = sums  # no layer has run


class AlongAxis(NamedTuple):
    """The layer whose weights are 1, on floats of shape (batch, *shape), and its transpose."""

    axis: int  # of a sample
    weights: "Sums"
    transposed: "Sums"


def along_axis(axes: tuple[Axis, ...]) -> AlongAxis:
    """Return the layer of these axes, all but one of which leave samples as they are.

    Examples
    --------
    >>> from convdense.structure.axis import diagonal, window
    >>> pairs = window(4, 2, 2, stride=2, dilation=1, begin=0, flip=False)
    >>> axis, weights, _ = along_axis((diagonal(1), pairs))
    >>> weights.sums(Pieces.along(1 + axis, np.array([[[1.0, 2.0, 3.0, 4.0]]]))).joined()
    array([[[3., 7.]]])
    """
    at = next((i for i, axis in enumerate(axes) if not axis.is_identity), 0)
    return AlongAxis(at, _sums(axes[at]), _sums(axes[at].T))


class Term(NamedTuple):
    """A number times the cells of a slice."""

    number: float
    cells: slice


class Sums(NamedTuple):
    """The matrix of an axis, and what its rows add up; no rows where the matrix is to be used."""

    matrix: sp.csr_array
    rows: list[tuple[slice, list[Term]]]

    def sums(self, x: Pieces, following: "Abs | AlongAxis | None" = None) -> Pieces:
        """Return the sums along the axis of x, in new arrays.

        What an |.| that follows makes positive is an array of its own, but where rows that are
        added up at once lie on both sides.
        """
        if not self.rows:
            return Pieces.along(x.at, multiply_axis(x.at, self.matrix, x.joined()))
        terms = [term for _, terms in self.rows for term in terms]
        if _is_cut((term.cells for term in terms), x.bounds):
            x = Pieces.along(x.at, x.joined())
        y = self._empty(x, following)
        with np.errstate(over="ignore", invalid="ignore"):  # as SciPy, which says nothing
            multiples = {size: x.times(size) for size in {abs(term.number) for term in terms}}
            for rows, of_rows in self.rows:
                target, total = y.view(rows), np.zeros((), y.arrays[0].dtype)
                if not of_rows:
                    target[...] = 0
                for i, (number, cells) in enumerate(of_rows):
                    addend = multiples[abs(number)].view(cells)
                    if i == 0 and number > 0 and len(of_rows) > 1:
                        total = addend
                    else:
                        add = np.add if number > 0 else np.subtract
                        total = add(total, addend, out=target)
        return y

    def _empty(self, x: Pieces, following: "Abs | AlongAxis | None") -> Pieces:
        """Return arrays for the rows."""
        bounds = [0, self.matrix.shape[0]]
        if isinstance(following, Abs):
            cuts = sorted({*bounds, following.start, following.stop})
            bounds = bounds if _is_cut((rows for rows, _ in self.rows), cuts) else cuts
        like = x.arrays[0]
        before, behind = like.shape[: x.at], like.shape[x.at + 1 :]
        shapes = [(*before, stop - start, *behind) for start, stop in pairwise(bounds)]
        return Pieces(x.at, bounds, [np.empty(shape, like.dtype) for shape in shapes])


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
