"""What `recover` found of a black box: a matrix, a bias, the ties, and where it is not affine."""

from dataclasses import dataclass, field
from math import prod

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, unravelled
from convdense._util.frozen import Frozen, freeze
from convdense.display.tables import preformatted, table
from convdense.geometry.protocols import HasShapes
from convdense.layers.base import MatrixProducts
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.recovery.matrix_difference import Difference, difference
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import Requirable

TIES_LIMIT = 10_000_000  # edges whose weights are numbered one by one


@dataclass(frozen=True, eq=False)
class Recovered(Frozen, MatrixProducts, Requirable):
    """What `recover` found; true if the black box is affine as far as it was asked.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        Of one sample.
    matrix : scipy.sparse.csr_array, (outputs, inputs)
    bias : (outputs,) array
        What zeros give.
    broken : (k,) array of int
        Flattened outputs that are not an affine function of the input; empty if all are.
    samples, calls : int
        How many inputs it was asked about, in how many calls.
    spacing : tuple of int
        The distance, along each axis, between inputs that were set together.

    Examples
    --------
    >>> from convdense import Conv, convolve, recover
    >>> conv, w = Conv((1, 3, 3), out_channels=1, kernel=2), np.array([[[[1.0, 2], [3, 4]]]])
    >>> found = recover(lambda x: convolve(conv, x, w, [5.0]), (1, 3, 3))
    >>> print(found)
    (1, 3, 3) -> (1, 2, 2): affine, 16 of 36 edges, 4 distinct weights, bias 5.0 everywhere
    >>> found.matrix.toarray()[0]
    array([1., 2., 0., 3., 4., 0., 0., 0., 0.])
    """

    _use_instead = "found.matrix is its matrix"
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    matrix: sp.csr_array = field(repr=False)
    bias: Array = field(repr=False)
    broken: Array = field(repr=False)
    samples: int
    calls: int
    spacing: tuple[int, ...]

    def __post_init__(self) -> None:
        for value in (self.matrix, self.bias, self.broken):
            freeze(value)

    def __bool__(self) -> bool:
        """Return whether no output was seen that is not affine."""
        return not self.broken.size

    @property
    def mask(self) -> sp.csr_array:
        """Where the matrix is not zero, (outputs, inputs) bool."""
        matrix = self.matrix
        ones = np.ones(matrix.nnz, bool)
        return sp.csr_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape)

    @property
    def weights(self) -> Array:
        """The distinct weights, from the smallest; neighbours within rounding count as one."""
        return self._classes()[0]

    @property
    def ties(self) -> TieMap:
        """The tie map of edges that hold equal weights; its weights are those of `weights`.

        Raises
        ------
        ValueError
            For a matrix of more than `TIES_LIMIT` edges, or one of zeros alone.
        """
        if prod(self.matrix.shape) > TIES_LIMIT:
            got = "{} x {} edges".format(*self.matrix.shape)
            needs = f"at most {TIES_LIMIT:,} to number them one by one"
            raise ValueError(complain("ties", got, needs))
        index = np.full(self.matrix.shape, -1)
        entries = self.matrix.tocoo()
        index[entries.row, entries.col] = self._classes()[1]
        return TieMap.from_index(index)

    def compare(self, layer: HasShapes) -> Difference:
        """Return how matrix and bias differ from a layer's.

        Parameters
        ----------
        layer : TiedDense or Dense
            What was expected, with its weights.
        """
        matrix, bias = _expected(layer)
        if matrix.shape != self.matrix.shape:
            got = "a matrix of {} x {}".format(*matrix.shape)
            needs = "{} x {}, as found".format(*self.matrix.shape)
            raise ValueError(complain("layer", got, needs))
        found = self.matrix, self.bias
        return difference(self.in_shape, self.out_shape, found, (matrix, bias))

    def _classes(self) -> tuple[Array, Array]:
        """Return the distinct weights, sorted, and the number of each entry's weight among them."""
        values = self.matrix.data
        if not len(values):
            return values, np.zeros(0, np.intp)
        order = np.argsort(values, kind="stable")
        ascending = values[order]

        # An entry is (weight + bias) - bias: two roundings of numbers of at most that size. Sorted
        # neighbours further apart than those of both have different weights.
        largest = float(np.abs(self.bias).max(initial=0))
        sizes = np.abs(ascending[1:]) + largest if largest else np.zeros(len(values) - 1)
        apart = np.abs(np.diff(ascending)) > 4 * np.finfo(float).eps * sizes
        starts = np.concatenate(([True], apart))  # (entries,) whether a new weight begins
        classes = np.empty(len(values), np.intp)
        classes[order] = np.cumsum(starts) - 1
        return ascending[starts], classes

    def __str__(self) -> str:
        """Return what was found in a line, and where it is not affine in another."""
        outputs = self.matrix.shape[0]
        affine = "affine" if self else f"NOT affine at {self.broken.size} of {outputs} outputs"
        edges = f"{self.matrix.nnz:,} of {prod(self.matrix.shape):,} edges"
        weights = f"{len(self.weights):,} distinct weights"
        biases = np.unique(self.bias)
        bias = f"{len(biases)} distinct biases"
        if len(biases) == 1:
            bias = f"bias {biases[0]} everywhere"
        line = f"{self.in_shape} -> {self.out_shape}: {affine}, {edges}, {weights}, {bias}"
        if self:
            return line
        at = unravelled(self.broken[0], self.out_shape)
        return f"{line}\nfirst at output {at}: it is not the sum of what single inputs give there"

    def _repr_html_(self) -> str:
        """Return the same for a notebook, the line as a row."""
        line, *first = str(self).splitlines()
        shapes, _, found = line.partition(": ")
        return table([found.split(", ")], caption=shapes) + "".join(map(preformatted, first))


def _expected(layer: HasShapes) -> tuple[sp.csr_array, Array]:
    """Return the matrix and the bias of a layer with weights."""
    if isinstance(layer, TiedDense):
        # (outputs,): the bias of a channel stands at each of its outputs
        added = np.zeros(layer.matrix.shape[0]) if layer.added is None else layer.added
        return layer.matrix, added
    if isinstance(layer, Dense):
        bias = np.zeros(len(layer.w)) if layer.b is None else layer.b
        return sp.csr_array(layer.w), bias
    raise TypeError(complain("layer", repr(layer), "a TiedDense or Dense, which has weights"))
