"""The matrix of the inputs, which the weights are multiplied with; a matrix in another order."""

from collections.abc import Sequence

import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense.structure.axis import spread
from convdense.structure.csr_assembly import assemble, check_size, make_plan, result_dtype
from convdense.structure.progressions import Axis

DO = "give fewer samples at a time, or use ties.gradient(x, dy), which needs no matrix"


def data_matrix(
    axes: Sequence[Axis], table: Array | None, x: Array, max_bytes: int | None
) -> sp.csr_array:
    """Return the matrix of x, (batch, *inputs), of shape (batch * outputs, weights).

    An output is the sum of ``coefficient * w[index] * x[col]``: exchange weights and inputs, and
    what assembles the matrix of w assembles that of x. `table` has the weight of each tap, None
    where they are the same.
    """
    exchanged = [spread(len(x), shared=False)]  # the batch: rows and inputs of its own, one weight
    for a in axes:
        sizes = {"n_cols": a.n_taps, "tap_shape": (a.n_cols,)}
        exchanged.append(a.mapped(lambda row, col, tap: (row, tap, col), **sizes))
    plan = make_plan(exchanged)
    check_size(exchanged, result_dtype(exchanged, x), max_bytes, plan, DO)
    matrix = assemble(exchanged, plan, x.ravel())
    return matrix if table is None else reordered(matrix, slice(None), table)


def reordered(matrix: sp.csr_array, rows: Array | slice, places: Array) -> sp.csr_array:
    """Return the matrix whose row i is row ``rows[i]``, and whose column j goes to ``places[j]``.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = sp.csr_array([[1, 2, 3], [4, 5, 6]])
    >>> reordered(matrix, np.array([1, 0]), np.array([2, 0, 1])).toarray()
    array([[5, 6, 4],
           [2, 3, 1]])
    """
    columns = places.astype(matrix.indices.dtype)[matrix.indices]
    moved = sp.csr_array((matrix.data, columns, matrix.indptr), shape=matrix.shape)[rows]
    moved.sort_indices()
    return moved
