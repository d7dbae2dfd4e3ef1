"""The matrix whose norm is asked for, with what is known of its size and of its roundings."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import gamma
from convdense.norms.definite import SLACK, U
from convdense.structure.tie_map import TieMap

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


@dataclass(frozen=True)
class LayerMatrix:
    """The matrix A of a tie map, no wider than high, for float64 or complex weights of about 1."""

    ties: TieMap
    weights: Array

    @cached_property
    def operator(self) -> "LinearOperator":
        """A, as products: sums in any order, no fast transform."""
        return self.ties.operator(self.weights)

    @cached_property
    def row_terms(self) -> int:
        """Roundings in an entry of ``A v``: products, coefficients, and two of complex numbers."""
        return _most(axis.rows for axis in self.ties.axes) + self._coefficients + 2

    @cached_property
    def column_terms(self) -> int:
        """The same of ``A^H u``; an entry of A^H A sums no more products."""
        return _most(axis.cols for axis in self.ties.axes) + self._coefficients + 2

    @property
    def _coefficients(self) -> int:
        return sum(axis.coefficients is not None for axis in self.ties.axes)

    @cached_property
    def size(self) -> float:
        """A bound on || |A| || and ||A||, sqrt(||A||_1 ||A||_inf): Schur's test.

        The size of a cell with several entries is the sum of theirs.
        """
        sizes = self.ties.absolute.operator(np.abs(self.weights))
        rows, cols = sizes.shape
        most = (sizes @ np.ones(cols)).max() * (sizes.H @ np.ones(rows)).max()
        # each sum is off by gamma, |w| of a complex number by another rounding or two
        rounding = gamma(self.row_terms + self.column_terms + 4, U)
        return float(np.sqrt(most) * (1 + rounding)) * SLACK

    @cached_property
    def cell_error(self) -> float:
        """How far, in norm, the matrix as stored is from A: 0 where a cell holds one weight."""
        cells = (axis.rows * axis.n_cols + axis.cols for axis in self.ties.axes)
        roundings = _most(cells) - 1 + self._coefficients
        return float(gamma(roundings, U)) * self.size * SLACK

    def lower_bound(self, v: Array) -> float:
        """Return a lower bound on ||A||: ||A v|| / ||v|| less its rounding error.

        ``|fl(A v) - A v| <= gamma |A| |v|`` (Higham, section 3.5), in norm at most ``gamma size
        ||v||``, in any order of summation. A norm of n numbers is off by gamma_(n + 2).
        """
        stretch = np.linalg.norm(self.operator @ v) / np.linalg.norm(v)
        of_norms = float(gamma(sum(self.ties.shape) + 4, U))
        rounding = float(gamma(self.row_terms, U)) * self.size * SLACK
        return max(0.0, float(stretch) * (1 - of_norms) - rounding) / SLACK


def _most(ends: Iterable[Array]) -> int:
    """Return how many entries of a product of axes meet at most, given where those of each do."""
    return prod(int(np.unique(of_axis, return_counts=True)[1].max(initial=1)) for of_axis in ends)
