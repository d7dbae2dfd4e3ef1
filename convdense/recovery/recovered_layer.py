"""What `recover` found of a black box: a matrix, a bias, the ties, and where it is not affine."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, unravelled
from convdense.display.tables import AsText
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.recovery.matrix_difference import Difference, difference
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import Requirable

TIES_LIMIT = 10_000_000  # edges whose weights are numbered one by one


@dataclass(frozen=True)
class Recovered(Requirable, AsText):
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

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    matrix: sp.csr_array = field(repr=False)
    bias: Array = field(repr=False)
    broken: Array = field(repr=False)
    samples: int
    calls: int
    spacing: tuple[int, ...]

    def __bool__(self) -> bool:
        """Return whether no output was seen that is not affine."""
        return not self.broken.size

    @property
    def mask(self) -> sp.csr_array:
        """Where the matrix is not zero, (outputs, inputs) bool."""
        ones = np.ones(self.matrix.nnz, bool)
        return sp.csr_array(
            (ones, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape
        )

    @property
    def weights(self) -> Array:
        """The distinct weights, from the smallest; those that rounding may have told apart count as one."""
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
            raise ValueError(
                complain("ties", got, f"at most {TIES_LIMIT:,} to number them one by one")
            )
        index = np.full(self.matrix.shape, -1)
        entries = self.matrix.tocoo()
        index[entries.row, entries.col] = self._classes()[1]
        return TieMap.from_index(index)

    def compare(self, layer: Any) -> Difference:
        """Return how the matrix differs from a layer's: entries missing, extra, and with another
        weight.

        Parameters
        ----------
        layer : TiedDense or Dense
            What was expected, with its weights.
        """
        expected = _expected(layer)
        if expected[0].shape != self.matrix.shape:
            got = "a matrix of {} x {}".format(*expected[0].shape)
            raise ValueError(complain("layer", got, "{} x {}, as found".format(*self.matrix.shape)))
        return difference(self.in_shape, self.out_shape, (self.matrix, self.bias), expected)

    def _classes(self) -> tuple[Array, Array]:
        """Return the distinct weights and the number of each entry's; neighbours within rounding are one."""
        values = self.matrix.data
        order = np.argsort(values, kind="stable")
        largest = float(np.abs(self.bias).max(initial=0))
        # an entry is (weight + bias) - bias: two roundings of numbers of at most that size
        apart = np.diff(values[order]) > 4 * np.finfo(float).eps * (
            largest and largest + np.abs(values[order][1:])
        )
        classes = np.empty(len(values), np.intp)
        classes[order] = np.concatenate(([0], np.cumsum(apart))) if len(values) else []
        first = np.concatenate(([True], apart)) if len(values) else np.zeros(0, bool)
        return values[order][first], classes

    def __str__(self) -> str:
        """Return what was found in a line, and where it is not affine in another."""
        edges, total = self.matrix.nnz, prod(self.matrix.shape)
        line = f"{self.in_shape} -> {self.out_shape}: "
        line += (
            "affine, "
            if self
            else f"NOT affine at {self.broken.size} of {self.matrix.shape[0]} outputs, "
        )
        line += f"{edges:,} of {total:,} edges, {len(self.weights):,} distinct weights, "
        distinct = np.unique(self.bias)
        line += (
            f"bias {distinct[0]} everywhere"
            if len(distinct) == 1
            else f"{len(distinct)} distinct biases"
        )
        if not self:
            at = unravelled(self.broken[0], self.out_shape)
            line += f"\nfirst at output {at}: it is not the sum of what single inputs give there"
        return line


def _expected(layer: Any) -> tuple[sp.csr_array, Array]:
    """Return the matrix and the bias of a layer with weights."""
    if isinstance(layer, TiedDense):
        bias = (
            np.zeros(layer.matrix.shape[0])
            if layer.b is None
            else layer.ties.bias.matrix(layer.b).toarray()[:, 0]
        )
        return layer.matrix, bias
    if isinstance(layer, Dense):
        return sp.csr_array(layer.w), np.zeros(len(layer.w)) if layer.b is None else layer.b
    raise TypeError(complain("layer", repr(layer), "a TiedDense or Dense, which has weights"))
