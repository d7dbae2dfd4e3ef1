"""The Kronecker product of axes written out as entries (row, column, index), all at once or slab by slab."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.structure.axis import Axis

ALL_EDGES = 1 << 22  # 32 MB of float64
EDGES_PER_ENTRY = 32


class Entries(NamedTuple):
    """Edges of the dense layer: ``W[row, col]`` is the sum of ``coefficient * w[index]`` over its
    entries.

    Several entries may share one cell. `coefficient` is None where all of them are 1.
    """

    row: Array
    col: Array
    index: Array  # type: ignore[assignment]  # hides tuple.index, which nobody asks of three arrays
    coefficient: Array | None = None

    def take(self, at: Array) -> "Entries":
        """Return some of the entries, or all of them in another order."""
        coefficient = None if self.coefficient is None else self.coefficient[at]
        return Entries(self.row[at], self.col[at], self.index[at], coefficient)

    def plain(self) -> Iterator[tuple[int, int, int, Any]]:
        """Return row, column, weight and coefficient of every entry, as Python's numbers."""
        numbers = [1] * len(self.row) if self.coefficient is None else self.coefficient.tolist()
        return zip(self.row.tolist(), self.col.tolist(), self.index.tolist(), numbers, strict=True)


class Counts(NamedTuple):
    """How many entries each output, input and weight takes part in (copies of a weight: its multiplicity)."""

    outputs: Array
    inputs: Array
    weights: Array


def kron(parts: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the flattened positions of the product: ``((p0 * n1 + p1) * n2 + p2) ...`` over all
    combinations.

    Examples
    --------
    >>> kron([np.array([0, 1]), np.array([0, 2])], [2, 3])
    array([0, 2, 3, 5])
    """
    pairs = zip(parts[1:], sizes[1:], strict=True)
    return reduce(lambda outer, p: (outer[:, None] * p[1] + p[0]).ravel(), pairs, parts[0])


def outer(parts: Sequence[Array]) -> Array:
    """Return the flattened products over all combinations."""
    return reduce(lambda left, right: np.multiply.outer(left, right).ravel(), parts)


def scaled(values: Array, coefficient: Array | None) -> Array:
    """Return coefficient * values in the dtype of the values: the coefficients are exact in every
    float dtype.

    Examples
    --------
    >>> scaled(np.array([3, 5], np.float32), np.array([0.5, -1.0]))
    array([ 1.5, -5. ], dtype=float32)
    """
    if coefficient is None:
        return values
    whole = coefficient.dtype.kind in "iu"
    exact = coefficient.astype(values.dtype) if whole or values.dtype.kind in "fc" else coefficient
    return np.asarray(values * exact)


def count(axes: Sequence[Axis]) -> int:
    """Return the number of entries of the product."""
    return prod(len(axis) for axis in axes)


def expand(axes: Sequence[Axis], table: Array | None = None) -> Entries:
    """Return every entry of the product, in the order of the axes' own entries.

    `table` gives the flattened weight of each product of taps; None means they are the same.
    """
    index = kron([a.taps for a in axes], [a.n_taps for a in axes])
    coefficient = None
    if any(a.coefficients is not None for a in axes):
        coefficient = outer(
            [np.ones(len(a), np.int8) if a.coefficients is None else a.coefficients for a in axes]
        )
    return Entries(
        kron([a.rows for a in axes], [a.n_rows for a in axes]),
        kron([a.cols for a in axes], [a.n_cols for a in axes]),
        index if table is None else table[index],
        coefficient,
    )


def ordered(entries: Entries) -> Entries:
    """Return the entries sorted by row, then column, then index."""
    return entries.take(np.lexsort((entries.index, entries.col, entries.row)))


def slabs(
    axes: Sequence[Axis], table: Array | None = None, limit: int = 1 << 20
) -> Iterator[Entries]:
    """Yield all entries in slabs of about `limit`, cut along the first axis that is long enough."""
    sizes = [len(a) for a in axes]
    if prod(sizes) <= limit:
        yield expand(axes, table)
        return
    rest = prod(sizes) // np.array(
        list(accumulate(sizes, lambda a, b: a * b))
    )  # entries beyond axis 0, 0-1, 0-2, ...
    cut = int(np.argmax(rest <= limit))  # the last axis has rest 1, so there is one
    step = max(1, limit // int(rest[cut]))
    for start in np.ndindex(*sizes[:cut]):
        head = [a.take(slice(i, i + 1)) for a, i in zip(axes, start, strict=False)]
        for first in range(0, sizes[cut], step):
            yield expand(
                [*head, axes[cut].take(slice(first, first + step)), *axes[cut + 1 :]], table
            )


def few_edges(shape: tuple[int, int], n_entries: int) -> bool:
    """Tell whether a dense layer is so small and so full that the gradient of every edge is the fastest way."""
    return shape[0] * shape[1] <= min(ALL_EDGES, EDGES_PER_ENTRY * n_entries)


def add_all_edges(edges: Iterable[Entries], x: Array, dy: Array, total: Array) -> None:
    """Add to `total` what `add_edges` does, the textbook way: every edge's gradient, masked, summed over the ties."""
    dense = dy.T @ x  # (outputs, inputs), summed over the batch
    for slab in edges:
        each = dense.ravel()[slab.row * dense.shape[1] + slab.col]  # (edges,)
        np.add.at(total, slab.index, scaled(each, slab.coefficient))


def add_edges(edges: Iterable[Entries], x: Array, dy: Array, total: Array) -> None:
    """Add to `total` the gradient of every weight the long way: one per edge, then summed over the
    edges that share it.

    Parameters
    ----------
    edges : slabs of entries
    x : (batch, inputs) array, conjugated
    dy : (batch, outputs) array
    total : (weights,) array, written to
    """
    for slab in edges:
        cells, outputs = (
            np.take(x, slab.col, axis=1),
            np.take(dy, slab.row, axis=1),
        )  # (batch, edges)
        each = np.einsum("ne,ne->e", cells, outputs)  # (edges,), summed over the batch
        np.add.at(total, slab.index, scaled(each, slab.coefficient))
