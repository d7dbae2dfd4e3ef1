"""The Kronecker product of axes, written out as entries (row, column, index).

A convolution's matrix is one block per pair of channels, each block made of blocks per pair of
rows, and so on. Its entries are all combinations of one entry from each axis, and the flattened
row, column and weight follow from those of the axes as a C-order index does.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, require_memory
from convdense._util.threads import product
from convdense.structure.progressions import LISTING, PART, Axis

# A dense gradient is made whole up to this many edges (32 MB of float64) and up to this many for
# each edge that exists: beyond, most of the product would be thrown away.
ALL_EDGES = 1 << 22
EDGES_PER_ENTRY = 32


class Entries(NamedTuple):
    """Edges of the dense layer, one array of shape (entries,) for each of their properties.

    ``W[row, col]`` is the sum of ``coefficient * w[index]`` over its entries; several entries may
    share one cell. `coefficient` is None where all of them are 1.
    """

    row: Array
    col: Array
    index: Array  # type: ignore[assignment]  # hides tuple.index, which nobody asks of three arrays
    coefficient: Array | None = None

    def take(self, at: Array) -> "Entries":
        """Return some of the entries, or all of them in another order."""
        coefficient = None if self.coefficient is None else self.coefficient[at]
        return Entries(self.row[at], self.col[at], self.index[at], coefficient)

    def plain(self) -> Iterator[tuple[int, int, int, float]]:
        """Return row, column, weight and coefficient of every entry, as Python's numbers."""
        numbers = [1] * len(self.row) if self.coefficient is None else self.coefficient.tolist()
        return zip(self.row.tolist(), self.col.tolist(), self.index.tolist(), numbers, strict=True)


class Counts(NamedTuple):
    """How many entries each output, input and weight takes part in, in the shapes of the three.

    That of a weight is the number of its copies.
    """

    outputs: Array
    inputs: Array
    weights: Array


def kron(parts: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the flattened positions of all combinations of one position from each axis.

    In C order (p0, p1, p2) among sizes (n0, n1, n2) stands at ``(p0 * n1 + p1) * n2 + p2``.

    Examples
    --------
    >>> kron([np.array([0, 1]), np.array([0, 2])], [2, 3])
    array([0, 2, 3, 5])
    """
    flat = parts[0]
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        flat = (flat[:, None] * size + part).ravel()  # (combinations so far, entries of this axis)
    return flat


def outer(parts: Sequence[Array]) -> Array:
    """Return the products of all combinations of one number from each axis, flattened."""
    return reduce(lambda left, right: np.multiply.outer(left, right).ravel(), parts)


def scaled(values: Array, coefficient: Array | None) -> Array:
    """Return coefficient * values, in the dtype of the values wherever that can hold the result.

    Coefficients are small multiples of 1/16, exact in every float dtype. Only integers times 1/2
    become floats.

    Examples
    --------
    >>> scaled(np.array([3, 5], np.float32), np.array([0.5, -1.0]))
    array([ 1.5, -5. ], dtype=float32)
    """
    if coefficient is None:
        return values
    dtype = coefficient_dtype(coefficient.dtype, values.dtype)
    return np.asarray(values * coefficient.astype(dtype, copy=False))


def coefficient_dtype(coefficient: np.dtype[Any], values: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that coefficients take before they meet values: that of the values.

    Only a fraction that meets integers keeps its own, and makes floats of them.
    """
    if coefficient.kind in "iu" or values.kind in "fc":
        return values
    return coefficient


def count(axes: Sequence[Axis]) -> int:
    """Return the number of entries of the product."""
    return prod(len(axis) for axis in axes)


def matrix_shape(axes: Sequence[Axis]) -> tuple[int, int]:
    """Return the shape of the product's matrix, (outputs, inputs)."""
    return prod(axis.n_rows for axis in axes), prod(axis.n_cols for axis in axes)


def check_counts(axes: Sequence[Axis]) -> None:
    """Refuse the counts of outputs, inputs and weights where the memory cannot hold them."""
    each = sum(matrix_shape(axes)) + prod(a.n_taps for a in axes)
    require_memory("counts", 16 * each, PART)  # twice 8: those of the axes so far, multiplied


def expand(axes: Sequence[Axis], table: Array | None = None) -> Entries:
    """Return every entry of the product, in the order of the axes' own entries.

    `table` gives the flattened weight of each product of taps; None means they are the same.
    """
    require_memory("entries", LISTING * count(axes), PART)
    row = kron([a.rows for a in axes], [a.n_rows for a in axes])
    col = kron([a.cols for a in axes], [a.n_cols for a in axes])
    tap = kron([a.taps for a in axes], [a.n_taps for a in axes])
    index = tap if table is None else table[tap]
    if all(a.coefficients is None for a in axes):
        return Entries(row, col, index)

    factors = [np.ones(len(a), np.int8) if a.coefficients is None else a.coefficients for a in axes]
    return Entries(row, col, index, outer(factors))


def ordered(entries: Entries) -> Entries:
    """Return the entries sorted by row, then column, then index."""
    return entries.take(np.lexsort((entries.index, entries.col, entries.row)))


def slabs(
    axes: Sequence[Axis], table: Array | None = None, limit: int = 1 << 20
) -> Iterator[Entries]:
    """Yield all entries in slabs of about `limit`, in the order of `expand`."""
    sizes = [len(a) for a in axes]
    if prod(sizes) <= limit:
        yield expand(axes, table)
        return

    # The first axes entry by entry, the next in parts, the others whole. rest[i] is the number of
    # combinations of the axes after axis i; it is 1 after the last, so that some axis is cut.
    rest = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
    cut = next((i for i, combinations in enumerate(rest) if combinations <= limit), 0)
    step = max(1, limit // rest[cut])
    for start in np.ndindex(*sizes[:cut]):
        before = [a.take(slice(i, i + 1)) for a, i in zip(axes, start, strict=False)]
        for first in range(0, sizes[cut], step):
            part = axes[cut].take(slice(first, first + step))
            yield expand([*before, part, *axes[cut + 1 :]], table)


def few_edges(shape: tuple[int, int], n_entries: int) -> bool:
    """Tell whether the gradient of all edges of a dense layer is the fastest way to the tied one.

    So it is where the layer is small and not too empty: one matrix product makes them all.
    """
    return shape[0] * shape[1] <= min(ALL_EDGES, EDGES_PER_ENTRY * n_entries)


def add_all_edges(edges: Iterable[Entries], x: Array, dy: Array, total: Array) -> None:
    """Add to `total` what `add_edges` does, the textbook way.

    The gradient of every edge of the dense layer, masked, then summed over the ties.
    """
    dense = product(dy.T, x)  # (outputs, inputs), summed over the batch
    for slab in edges:
        each = dense.ravel()[slab.row * dense.shape[1] + slab.col]  # (edges,)
        _add_up(total, slab.index, scaled(each, slab.coefficient))


def add_edges(edges: Iterable[Entries], x: Array, dy: Array, total: Array) -> None:
    """Add to `total` the gradient of every weight the long way: one per edge, summed over the ties.

    x, conjugated, is (batch, inputs), dy (batch, outputs), and `total` (weights,).
    """
    for slab in edges:
        inputs = np.take(x, slab.col, axis=1)  # (batch, edges)
        upstream = np.take(dy, slab.row, axis=1)  # (batch, edges)
        each = np.einsum("ne,ne->e", inputs, upstream)  # (edges,), summed over the batch
        _add_up(total, slab.index, scaled(each, slab.coefficient))


def _add_up(total: Array, index: Array, each: Array) -> None:
    """Add to ``total[index]``; several edges may have the same index."""
    if each.dtype.char in "fd" and len(total) <= len(index):  # several times as fast, in float64
        total += np.bincount(index, each, len(total))
    else:
        np.add.at(total, index, each.astype(total.dtype, copy=False))


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what long sums are made in: twice the digits of float32 and complex64, all else as is.

    Examples
    --------
    >>> wide(np.dtype("float32")), wide(np.dtype("int8"))
    (dtype('float64'), dtype('int8'))
    """
    return np.result_type(dtype, np.float64) if dtype.char in "fF" else dtype
