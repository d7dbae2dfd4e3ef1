"""The tie map: which weight sits where in the dense layer, kept as one small map per axis (a Kronecker product)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense import assemble
from convdense.arguments import Array, complain, is_integer, numeric, shaped
from convdense.axis import Axis, spread
from convdense.entries import Entries, count, expand, kron, outer, slabs

Position = int | Sequence[int]


class Counts(NamedTuple):
    """How many entries each output, input and weight takes part in (copies of a weight: its multiplicity)."""

    outputs: Array
    inputs: Array
    weights: Array


@dataclass(frozen=True, eq=False, repr=False)
class TieMap:
    """Which weight sits where: ``W = sum of coefficient * w[index] at (row, col)`` over the entries.

    Made by `tie` or `TieMap.from_index`. Row is the flattened output, column the flattened input of one sample (C
    order), index the flattened weight. One cell may hold several entries.

    Parameters
    ----------
    axes : tuple of Axis
        The factors of the Kronecker product, channels first.
    weight_order : tuple of int or None
        Axis i of the weight array is tap axis ``weight_order[i]`` of the product; None: they agree.
    bias_axes : int
        How many leading output axes the bias tells apart: 1 for one bias per channel.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> ties = tie(Conv((1, 3, 3), out_channels=1, kernel=2))
    >>> ties
    TieMap(in=(1, 3, 3), out=(1, 2, 2), weights=(1, 1, 2, 2), entries=16)
    >>> import numpy as np
    >>> ties.matrix(np.array([[[[1, 2], [3, 4]]]])).toarray()
    array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
           [0, 1, 2, 0, 3, 4, 0, 0, 0],
           [0, 0, 0, 1, 2, 0, 3, 4, 0],
           [0, 0, 0, 0, 1, 2, 0, 3, 4]])
    """

    axes: tuple[Axis, ...]
    weight_order: tuple[int, ...] | None = None
    bias_axes: int = 1

    @staticmethod
    def from_index(index: Any, coefficient: Any = None) -> "TieMap":
        """Return the tie map of a small matrix of weight numbers; -1 holds an edge at zero.

        Parameters
        ----------
        index : (outputs, inputs) array of int
            ``index[r, c]`` is the number of the weight at that edge, from 0, or -1.
        coefficient : (outputs, inputs) array or None
            Small exact numbers (1, -1, 1/2) the weights are multiplied with.

        Raises
        ------
        TypeError, ValueError
            If index is not a matrix of integers of at least -1.

        Examples
        --------
        >>> TieMap.from_index([[0, 1], [1, -1]]).matrix([5, 7]).toarray()
        array([[5, 7],
               [7, 0]])
        """
        array = numeric(index, "index")
        if array.dtype.kind not in "iu":
            raise TypeError(complain("index", f"dtype {array.dtype}", "integers: the number of each edge's weight"))
        if array.ndim != 2 or array.size == 0:
            raise ValueError(complain("index", f"shape {array.shape}", "a matrix (outputs, inputs)"))
        if array.min() < -1 or array.max() < 0:
            needs = "numbers from -1 (held at zero) up, at least one of them a weight"
            raise ValueError(complain("index", f"{array.min()} to {array.max()}", needs))
        rows, cols = np.nonzero(array >= 0)
        taps = array[rows, cols].astype(np.intp)
        numbers = None if coefficient is None else shaped(coefficient, "coefficient", array.shape, "index")[rows, cols]
        n_rows, n_cols = array.shape
        return TieMap((Axis(rows, cols, taps, n_rows, n_cols, (int(taps.max()) + 1,), numbers),))

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return tuple(a.n_cols for a in self.axes)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return tuple(a.n_rows for a in self.axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix: (outputs, inputs) of one sample."""
        return prod(self.out_shape), prod(self.in_shape)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        product = [n for a in self.axes for n in a.tap_shape]
        return tuple(product[i] for i in self._order)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""
        return self.out_shape[: self.bias_axes]

    @property
    def n_entries(self) -> int:
        """Number of entries: edges of the dense layer that carry a weight."""
        return count(self.axes)

    @property
    def n_weights(self) -> int:
        """Number of free weights."""
        return prod(self.weight_shape)

    @property
    def T(self) -> "TieMap":  # noqa: N802  (NumPy's name)
        """The tie map of the transposed matrix: rows and columns exchanged, weights as they are."""
        return replace(self, axes=tuple(a.T for a in self.axes))

    @property
    def bias(self) -> "TieMap":
        """The tie map of the bias: a layer whose one input is 1."""
        return TieMap(tuple(spread(a.n_rows, shared=i >= self.bias_axes) for i, a in enumerate(self.axes)))

    def entries(self) -> Entries:
        """Return all entries, sorted by row, then column, then index."""
        return _sorted(expand(self.axes, self._table()))

    def slabs(self, limit: int = 1 << 20) -> Iterator[Entries]:
        """Yield all entries in slabs of about `limit`, in no particular order: for maps larger than memory."""
        return slabs(self.axes, self._table(), limit)

    def row(self, r: Position) -> Entries:
        """Return the entries of one output, given flattened or as (channel, *position)."""
        at = _position(r, "r", self.out_shape)
        return self._where(lambda axis, i: axis.rows == at[i])

    def column(self, c: Position) -> Entries:
        """Return the entries of one input, given flattened or as (channel, *position)."""
        at = _position(c, "c", self.in_shape)
        return self._where(lambda axis, i: axis.cols == at[i])

    def copies(self, k: Position) -> Entries:
        """Return the entries that share one weight, given flattened or by its position in the weight array."""
        taps = self._taps_of(_position(k, "k", self.weight_shape))
        return self._where(lambda axis, i: axis.taps == taps[i])

    def block(self, i: Position, j: Position) -> "TieMap":
        """Return one block of the matrix: output channel i, input channel j, or the same for more leading axes.

        ``block((0, 2), (1, 3))`` is the block of output row 2 of channel 0 and input row 3 of channel 1. The block
        takes the same weight array as the whole.
        """
        rows, cols = np.atleast_1d(i), np.atleast_1d(j)
        if not 1 <= len(rows) == len(cols) <= len(self.axes):
            needs = f"two positions of equal length, at most {len(self.axes)}"
            raise ValueError(complain("i, j", f"{i!r}, {j!r}", needs))
        _position(rows, "i", self.out_shape[: len(rows)])
        _position(cols, "j", self.in_shape[: len(cols)])
        fixed = [a.cell(r, c) for a, r, c in zip(self.axes, rows, cols, strict=False)]
        return replace(self, axes=(*fixed, *self.axes[len(fixed) :]))

    def matrix(self, w: Any) -> sp.csr_array:
        """Return the dense layer's matrix for the weights w, as a canonical CSR array.

        Parameters
        ----------
        w : array of `weight_shape`

        Returns
        -------
        scipy.sparse.csr_array of `shape`
            dtype of w; sorted, no duplicates; a weight of 0 is stored, so the pattern depends on the layer alone.
        """
        return assemble.plain(self.axes, self._by_tap(shaped(w, "w", self.weight_shape, self)))

    def mask(self) -> sp.csr_array:
        """Return the pattern: True where the matrix may be non-zero."""
        pattern = self.matrix(np.ones(self.weight_shape, np.int8))
        return sp.csr_array((np.ones(pattern.nnz, bool), pattern.indices, pattern.indptr), shape=pattern.shape)

    def counts(self) -> Counts:
        """Return how many entries each output, input and weight takes part in."""
        weights = outer([np.bincount(a.taps, minlength=a.n_taps) for a in self.axes])
        return Counts(
            outer([np.bincount(a.rows, minlength=a.n_rows) for a in self.axes]).reshape(self.out_shape),
            outer([np.bincount(a.cols, minlength=a.n_cols) for a in self.axes]).reshape(self.in_shape),
            self._by_weight(weights),
        )

    def __repr__(self) -> str:
        """Return shapes and number of entries."""
        return (
            f"TieMap(in={self.in_shape}, out={self.out_shape}, weights={self.weight_shape}, entries={self.n_entries:,})"
        )

    @property
    def _order(self) -> tuple[int, ...]:
        n = sum(len(a.tap_shape) for a in self.axes)
        return tuple(range(n)) if self.weight_order is None else self.weight_order

    def _by_tap(self, w: Array) -> Array:
        """Flatten a weight array into the order of the product of taps."""
        return w.transpose(np.argsort(self._order)).ravel()

    def _by_weight(self, taps: Array) -> Array:
        """Undo `_by_tap`."""
        return taps.reshape([n for a in self.axes for n in a.tap_shape]).transpose(self._order)

    def _table(self) -> Array | None:
        if self.weight_order is None:
            return None
        return self._by_tap(np.arange(self.n_weights).reshape(self.weight_shape))

    def _taps_of(self, at: tuple[int, ...]) -> list[int]:
        """Return the flattened tap on each axis of one position in the weight array."""
        product = iter([at[i] for i in np.argsort(self._order)])
        own = [[np.array([next(product)]) for _ in a.tap_shape] for a in self.axes]
        return [int(kron(p, a.tap_shape)[0]) if p else 0 for p, a in zip(own, self.axes, strict=True)]

    def _where(self, keep: Callable[[Axis, int], Array]) -> Entries:
        return _sorted(expand([a.take(keep(a, i)) for i, a in enumerate(self.axes)], self._table()))


def _position(value: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return one position in an array of this shape, given flattened or as one integer per axis."""
    if is_integer(value):
        if not 0 <= value < prod(shape):
            raise ValueError(complain(name, repr(value), f"0 to {prod(shape) - 1}, a flattened position in {shape}"))
        return tuple(int(i) for i in np.unravel_index(value, shape))
    at = tuple(value) if isinstance(value, (Sequence, np.ndarray)) else ()
    if len(at) != len(shape) or not all(is_integer(i) and 0 <= i < n for i, n in zip(at, shape, strict=False)):
        raise ValueError(complain(name, repr(value), f"an integer, or {len(shape)} integers within {shape}"))
    return tuple(int(i) for i in at)


def _sorted(entries: Entries) -> Entries:
    order = np.lexsort((entries.index, entries.col, entries.row))
    coefficient = None if entries.coefficient is None else entries.coefficient[order]
    return Entries(entries.row[order], entries.col[order], entries.index[order], coefficient)
