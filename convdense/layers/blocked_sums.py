"""Products with a stored matrix whose long sums are not left to float32.

SciPy adds up one product after the other, so that a sum of n may be off by about n u. Cut into
blocks, whose sums are added up in float64, it is off by about the length of a block times u.
"""

from itertools import pairwise
from math import prod

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense.structure.kronecker import wide
from convdense.structure.progressions import COL
from convdense.structure.tie_map import TieMap

BLOCK = 128  # products that are added up one by one in float32
LONG = 1024  # shorter sums are left alone: cutting them would take longer
PART = 1 << 16  # entries of the rows that are multiplied at a time by the transposed matrix
FEW = 4 * PART  # a matrix of so few entries is itself made float64 for that


def product(matrix: sp.csr_array, x: Array) -> Array:
    """Return W x, (outputs, batch), for x of shape (inputs, batch).

    Examples
    --------
    >>> ones = np.ones((1, 3), np.float32)
    >>> product(sp.csr_array(ones), ones.T)
    array([[3.]], dtype=float32)
    """
    dtype = np.result_type(matrix.dtype, x.dtype)
    sizes = np.diff(matrix.indptr)  # (outputs,) products of each row
    if dtype.char not in "fF" or sizes.max(initial=0) <= LONG:
        return np.asarray(matrix @ x)
    # The same entries, but each row in several that hold at most a block of them.
    pieces = np.maximum(1, -(-sizes // BLOCK))  # (outputs,)
    first = np.cumsum(pieces) - pieces  # (outputs,) the number of its first piece
    number = np.arange(pieces.sum()) - np.repeat(first, pieces)  # (pieces,) 0, 1, ... in its row
    starts = np.repeat(matrix.indptr[:-1], pieces) + BLOCK * number
    indptr = np.append(starts, matrix.indptr[-1]).astype(matrix.indptr.dtype)
    shape = (len(starts), matrix.shape[1])
    in_pieces = sp.csr_array((matrix.data, matrix.indices, indptr), shape=shape)
    return np.add.reduceat(in_pieces @ x, first, axis=0, dtype=wide(dtype)).astype(dtype)


def longest_column(ties: TieMap) -> int:
    """Return the most entries that an input has."""
    return prod(axis.most(COL) for axis in ties.axes)


def adjoint_product(matrix: sp.csr_array, dy: Array, longest: int) -> Array:
    """Return W^H dy, (inputs, batch), for dy of shape (outputs, batch) and columns so long."""
    dtype = np.result_type(matrix.dtype, dy.dtype)
    if dtype.char not in "fF" or longest <= LONG:
        return np.asarray(matrix.conj(copy=False).T @ dy)
    total = np.zeros((matrix.shape[1], dy.shape[1]), wide(dtype))
    if matrix.nnz <= FEW:
        return np.asarray(matrix.astype(total.dtype).conj(copy=False).T @ dy).astype(dtype)
    n_parts = -(-matrix.nnz // max(PART, 4 * matrix.shape[1]))  # each worth adding its product
    bounds = np.linspace(0, len(dy), n_parts + 1).astype(int).tolist()
    for start, stop in pairwise(bounds):
        total += _rows(matrix, start, stop).conj(copy=False).T @ dy[start:stop]
    return total.astype(dtype)


def _rows(matrix: sp.csr_array, start: int, stop: int) -> sp.csr_array:
    """Return rows of a matrix, which share its memory."""
    first, last = matrix.indptr[start], matrix.indptr[stop]
    indptr = matrix.indptr[start : stop + 1] - first
    parts = (matrix.data[first:last], matrix.indices[first:last], indptr)
    return sp.csr_array(parts, shape=(stop - start, matrix.shape[1]))
