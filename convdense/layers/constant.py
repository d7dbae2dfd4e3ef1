"""A dense layer that learns nothing: one weight, which is 1, for sums, selections and halves."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense._util.frozen import Frozen, freeze
from convdense.layers.dense_form import Affine, dense_steps
from convdense.structure.tie_map import TieMap


@dataclass(frozen=True, eq=False)
class Fixed(Frozen):
    """The dense layer of a tie map whose one weight is 1; its matrix is stored once per dtype.

    Examples
    --------
    >>> from convdense import SumPool, tie
    >>> layer = Fixed(tie(SumPool((1, 4), kernel=2)))
    >>> layer.forward(np.array([[1, 2, 3, 4]])), layer.backward(None, np.array([[10, 20]]))
    (array([[3, 7]]), array([[10, 10, 20, 20]]))
    """

    ties: TieMap  # with one weight, of shape ()

    @cached_property
    def _matrices(self) -> dict[np.dtype, sp.csr_array]:
        return {}

    def matrix(self, dtype: npt.DTypeLike) -> sp.csr_array:
        """Return the stored matrix in this dtype."""
        key = np.dtype(dtype)
        if key not in self._matrices:
            self._matrices[key] = self.ties.matrix(np.ones((), key))
            freeze(self._matrices[key])
        return self._matrices[key]

    def forward(self, x: Array) -> Array:
        """Return W x, (batch, outputs), for x of shape (batch, inputs)."""
        return _times(self.matrix(x.dtype), x)

    def backward(self, x: Array | None, dy: Array) -> Array:  # noqa: ARG002  (every layer's backward takes both)
        """Return W^T dy, (batch, inputs)."""
        return _times(self.matrix(dy.dtype).T, dy)


def _times(matrix: sp.csr_array | sp.csc_array, rows: Array) -> Array:
    """Return the product for each sample, (batch, outputs) of (batch, inputs)."""
    if len(rows) == 1:  # SciPy multiplies one vector faster than a matrix of one column
        return np.asarray(matrix @ rows[0])[None]
    columns = rows.reshape(len(rows), matrix.shape[1]).T  # (inputs, batch)
    return np.ascontiguousarray((matrix @ columns).T)


dense_steps.register(Fixed, lambda layer, dtype="float64": [Affine(layer.matrix(dtype))])
