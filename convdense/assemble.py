"""From a tie map to a stored sparse matrix."""

from collections.abc import Sequence
from math import prod

import numpy as np
import scipy.sparse as sp

from convdense.arguments import Array
from convdense.axis import Axis
from convdense.entries import expand


def plain(axes: Sequence[Axis], weights: Array) -> sp.csr_array:
    """Return the matrix by listing every entry and letting SciPy sort and sum them.

    Parameters
    ----------
    axes : sequence of Axis
        The tie map.
    weights : array of prod(taps) values
        The weights in the order of the product of taps.

    Returns
    -------
    scipy.sparse.csr_array
        Canonical: sorted, no duplicates; zeros are stored, so the pattern never depends on the values.
    """
    shape = (prod(a.n_rows for a in axes), prod(a.n_cols for a in axes))
    entries = expand(axes)
    data = weights[entries.index]
    if entries.coefficient is not None:
        data = data * entries.coefficient
    width = np.int32 if max(*shape, len(data)) < 2**31 else np.int64
    matrix = sp.csr_array((data, (entries.row.astype(width), entries.col.astype(width))), shape=shape)
    matrix.sum_duplicates()
    return matrix
