"""The tie map: which weight sits where in the dense layer.

It is kept as one small map per axis, whose Kronecker product it is, so that a large layer costs no
more than a small one until entries or a matrix are asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, Sizes, batched, complain, is_sequence, position, shaped
from convdense.geometry import paired_operands
from convdense.geometry.padding import padded_dtype
from convdense.structure import csr_assembly, kronecker, linear_operator
from convdense.structure._data_matrix import data_matrix
from convdense.structure.axis import listed, spread
from convdense.structure.kronecker import Counts, Entries, expand
from convdense.structure.map_shapes import MapShapes
from convdense.structure.progressions import COL, ROW, TAP
from convdense.structure.submatrix import checked, row_range

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

EDGE_PRODUCTS = 1 << 20  # of an edge and a sample: what `add_edges` holds at a time


@dataclass(frozen=True, eq=False, repr=False)
class TieMap(MapShapes):
    """Which weight sits where: ``W = sum of coefficient * w[index] at (row, col)`` over entries.

    Made by `tie` or `TieMap.from_index`. Row is the flattened output, column the flattened input of
    one sample, index the flattened weight, all in C order. One cell may hold several entries.

    Parameters
    ----------
    axes : tuple of Axis
        The factors of the Kronecker product, channels first.
    weight_order : tuple of int or None
        Axis i of the weight array is tap axis ``weight_order[i]`` of the product; None: they agree.
    bias_axes : int
        How many leading output axes the bias tells apart: 1 for one bias per channel.
    padding : tuple of TieMap
        Where weights meet padded cells that hold a number: layers of one input, with the same
        weights. What they add joins the bias.
    padding_value : float
        That number, their input.
    own_bias : TieMap or None
        The bias of a part; None: of the axes.

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

    _use_instead = "ties.matrix(w) is the matrix for the weights w"
    bias_axes: int = 1
    padding: "tuple[TieMap, ...]" = ()
    padding_value: float = 0
    own_bias: "TieMap | None" = None

    @staticmethod
    def from_index(
        index: npt.ArrayLike, coefficient: Array | Sequence[Sequence[float]] | None = None
    ) -> "TieMap":
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
        return TieMap((listed(index, coefficient),))

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""
        return self.own_bias.weight_shape if self.own_bias else self.out_shape[: self.bias_axes]

    @property
    def T(self) -> "TieMap":  # noqa: N802  (NumPy's name)
        """The tie map of the transposed matrix: rows and columns exchanged, weights as they are."""
        return replace(self.linear, axes=tuple(a.T for a in self.axes), own_bias=None)

    @property
    def linear(self) -> "TieMap":
        """The tie map without what padding adds: that of the matrix alone."""
        return replace(self, padding=(), padding_value=0)

    @property
    def absolute(self) -> "TieMap":
        """The tie map with the sizes of its coefficients and of what padding holds."""
        axes = tuple(a.absolute for a in self.axes)
        return replace(self, axes=axes, padding_value=abs(self.padding_value))

    @cached_property
    def bias(self) -> "TieMap":
        """The tie map of the bias: a layer whose one input is 1."""
        axes = (spread(a.n_rows, shared=i >= self.bias_axes) for i, a in enumerate(self.axes))
        return self.own_bias or TieMap(tuple(axes))

    def entries(self) -> Entries:
        """Return all entries, sorted by row, then column, then index."""
        return kronecker.ordered(expand(self.axes, self._weights.table()))

    def slabs(self, limit: int = 1 << 20) -> Iterator[Entries]:
        """Yield all entries in slabs of about `limit`, unsorted: for maps larger than memory."""
        return kronecker.slabs(self.axes, self._weights.table(), limit)

    def row(self, r: Sizes) -> Entries:
        """Return the entries of one output, given flattened or as (channel, *position)."""
        at = position(r, "r", self.out_shape)
        return self._at(ROW, at)

    def column(self, c: Sizes) -> Entries:
        """Return the entries of one input, given flattened or as (channel, *position)."""
        at = position(c, "c", self.in_shape)
        return self._at(COL, at)

    def copies(self, k: Sizes) -> Entries:
        """Return the entries that share one weight, given flattened or by its position."""
        at = position(k, "k", self.weight_shape)
        tap = self._weights.tap_of(int(np.ravel_multi_index(at, self.weight_shape)))
        return self._at(TAP, np.unravel_index(tap, [a.n_taps for a in self.axes]))

    def block(self, i: Sizes, j: Sizes) -> "TieMap":
        """Return one block of the matrix: output channel i, input channel j, or more leading axes.

        ``block((0, 2), (1, 3))`` is the block of output row 2 of channel 0 and input row 3 of
        channel 1. The block takes the same weight array as the whole.
        """
        depth, of_j = (len(at) if is_sequence(at) else 1 for at in (i, j))  # type: ignore[arg-type]  # a sequence has a length
        if not 1 <= depth == of_j <= len(self.axes):
            needs = f"two positions of equal length, at most {len(self.axes)}"
            raise ValueError(complain("i, j", f"{i!r}, {j!r}", needs))
        rows = position(i, "i", self.out_shape[:depth])
        cols = position(j, "j", self.in_shape[:depth])
        fixed = [a.cell(r, c) for a, r, c in zip(self.axes, rows, cols, strict=False)]
        return replace(self.linear, axes=(*fixed, *self.axes[len(fixed) :]), own_bias=None)

    def rows(self, start: int, stop: int) -> "TieMap":
        """Return the tie map of the flattened outputs from `start` up to `stop`: any, at any time.

        It takes the weights and the bias of the whole. Axes that the range cuts unevenly are one
        axis of the part: x and dy are given in its own `in_shape` and `out_shape`.

        Examples
        --------
        >>> TieMap.from_index([[0, 1], [1, -1], [0, 0]]).rows(1, 3).matrix([5, 7]).toarray()
        array([[7, 0],
               [5, 5]])
        """
        ends = checked(start, stop, self.shape[0])
        if ends == (0, 0):
            return self
        padding = tuple(replace(p, axes=row_range(p.axes, *ends)) for p in self.padding)
        bias = TieMap(row_range(self.bias.axes, *ends))
        axes = row_range(self.axes, *ends)
        return replace(self, axes=axes, padding=padding, own_bias=bias)

    def matrix(self, w: npt.ArrayLike, *, max_bytes: int | None = None) -> sp.csr_array:
        """Return the dense layer's matrix for the weights w, as a canonical CSR array.

        Parameters
        ----------
        w : array of `weight_shape`
        max_bytes : int or None
            Refuse a larger matrix; None stands for the physical memory, where it is known.

        Returns
        -------
        scipy.sparse.csr_array of `shape`
            dtype of w (floats where integers meet 1/2); sorted, no duplicates; a weight of 0 is
            stored as well.

        Raises
        ------
        MemoryError
            If it would be larger than `max_bytes`, naming the size and the alternatives.
        """
        weights = self._by_tap(w)
        dtype = csr_assembly.result_dtype(self.axes, weights)
        csr_assembly.check_size(self.axes, dtype, max_bytes, self._plan)
        return csr_assembly.assemble(self.axes, self._plan, weights)

    def blocks(self, w: npt.ArrayLike, max_bytes: int) -> Iterator[tuple[slice, sp.csr_array]]:
        """Yield (rows, CSR array of these rows), each of at most `max_bytes`: for large matrices.

        Examples
        --------
        >>> ties = TieMap.from_index([[0, 1], [1, -1], [0, 0]])
        >>> [(rows, block.toarray().tolist()) for rows, block in ties.blocks([5, 7], max_bytes=50)]
        [(slice(0, 1, None), [[5, 7]]), (slice(1, 3, None), [[7, 0], [5, 5]])]
        """
        weights = shaped(w, "w", self.weight_shape, self).copy()  # later changes change nothing
        dtype = csr_assembly.result_dtype(self.axes, weights)
        parts = csr_assembly.row_slices(self.axes, dtype, max_bytes)
        whole = self.linear
        return (
            (p, whole.rows(p.start, p.stop).matrix(weights, max_bytes=max_bytes)) for p in parts
        )

    def operator(self, w: npt.ArrayLike, *, max_bytes: int | None = None) -> "LinearOperator":
        """Return the matrix as a `scipy.sparse.linalg.LinearOperator`, for svds, lsqr, eigsh.

        It stores no matrix where gathering inputs is faster; elsewhere (small and untied maps, few
        channels and many columns) up to `max_bytes` of it, at the first product that needs it.
        None: 2 GB, and no more than an eighth of the physical memory. An irregular map has no other
        way and is stored whole. Weights must be finite: padding is written out, as zeros that they
        are multiplied with.

        Examples
        --------
        >>> A = TieMap.from_index([[0, 1, -1, -1], [-1, 0, 1, -1], [-1, -1, 0, 1]]).operator([1, 2])
        >>> A @ [1, 1, 1, 5], A.H @ [1, 0, 0]
        (array([ 3,  3, 11]), array([1, 2, 0, 0]))
        """
        kept = np.array(w)  # later changes of w change nothing
        weights = self._by_tap(kept)
        stored = partial(self.matrix, kept)
        return linear_operator.operator(self.axes, self._products, weights, stored, max_bytes)

    def data_matrix(self, x: npt.ArrayLike, *, max_bytes: int | None = None) -> sp.csr_array:
        """Return X with ``X @ w.ravel() = y.ravel()``: the layer is linear in its weights, too.

        So ``lsqr(X, y.ravel())`` fits weights, and ``X.conj().T @ dy.ravel()`` is their gradient.
        x is one sample, for (outputs, weights), or (batch, *in_shape), for (batch * outputs,
        weights). As `matrix`, it is canonical, in the dtype of x, and refused where too large.

        Examples
        --------
        >>> from convdense import Conv, tie
        >>> tie(Conv((1, 4), out_channels=1, kernel=2)).data_matrix([[5, 6, 7, 8]]).toarray()
        array([[5, 6],
               [6, 7],
               [7, 8]])
        """
        batch, _ = batched(x, "x", self.in_shape, self)
        found = data_matrix(self.axes, self._weights.table(), batch, max_bytes)
        for part in self.padding:
            found = found + part.data_matrix(self._in_padding(batch), max_bytes=max_bytes)
        return found

    def from_padding(self, w: npt.ArrayLike) -> Array | None:
        """Return what padding of a number adds to each output, of `out_shape`; None where none is.

        Examples
        --------
        >>> from convdense import Conv, tie
        >>> conv = Conv((1, 3), out_channels=1, kernel=2, padding=1, padding_value=10)
        >>> tie(conv).from_padding([[[1, 2]]])
        array([[10,  0,  0, 20]])
        """
        if not self.padding:
            return None
        weights = np.asarray(w)
        if weights.dtype.kind in "iu":  # what they are added to may be wider
            weights = weights.astype(np.int64)
        sums = [part.matrix(weights).toarray()[:, 0] for part in self.padding]  # (outputs,) each
        total: Array = np.sum(sums, axis=0, dtype=sums[0].dtype)
        number = self.padding_value
        added = np.multiply(total, number, dtype=padded_dtype(total.dtype, number))
        return np.asarray(added.reshape(self.out_shape))

    def gradient(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return the tied gradient, of `weight_shape` and summed over the batch.

        Made by small matrix products, without a gradient for each edge, where the map is regular.
        x has shape (batch, *in_shape), dy (batch, *out_shape), or both are one sample; x enters
        conjugated.

        Examples
        --------
        >>> ties = TieMap.from_index([[0, 1, -1, -1], [-1, 0, 1, -1], [-1, -1, 0, 1]])
        >>> ties.gradient([1, 2, 3, 4], [1, 0, -1])
        array([-2, -2])
        """
        batch, upstream, _ = paired_operands(self, x, dy)
        if self._products is not None:
            by_tap = linear_operator.gradient(self._products, batch.conj(), upstream)
            return self.with_padding(self._weights.by_weight(by_tap), batch, upstream)
        return self.add_edges(batch, upstream)

    def add_edges(self, x: Array, dy: Array) -> Array:
        """Return the tied gradient the long way: one gradient per edge, then added up.

        x has shape (batch, *in_shape), dy (batch, *out_shape).
        """
        dtype = np.result_type(x, dy)
        sum_dtype = dtype
        if dtype.kind in "iu":  # integers times 1/2 are floats, floats stay as they are
            coefficients = [a.coefficients.dtype for a in self.axes if a.coefficients is not None]
            sum_dtype = np.result_type(dtype, *coefficients)
        total = np.zeros(self.n_weights, kronecker.wide(sum_dtype))

        inputs = x.reshape(len(x), prod(self.in_shape)).conj()  # (batch, inputs)
        upstream = dy.reshape(len(dy), prod(self.out_shape))  # (batch, outputs)
        # A product of floats is a fast matrix product, of integers it is not.
        if dtype.kind in "fc" and kronecker.few_edges(self.shape, self.n_entries):
            kronecker.add_all_edges([self._all_entries], inputs, upstream, total)
        else:
            slabs = self.slabs(limit=max(1, EDGE_PRODUCTS // max(1, len(x))))
            kronecker.add_edges(slabs, inputs, upstream, total)
        return self.with_padding(total.astype(sum_dtype).reshape(self.weight_shape), x, dy)

    def with_padding(self, dw: Array, x: Array, dy: Array) -> Array:
        """Return dw with what padding of a number adds to it; x and dy have a batch axis."""
        if not self.padding:
            return dw
        gradients = [part.add_edges(self._in_padding(x), dy) for part in self.padding]
        return np.asarray(dw + np.sum(gradients, axis=0, dtype=gradients[0].dtype))

    def _in_padding(self, x: Array) -> Array:
        """Return the inputs of the layers in `padding`: its number, (batch, 1, ..., 1)."""
        shape = (len(x), *[1] * len(self.axes))
        return np.full(shape, self.padding_value, padded_dtype(x.dtype, self.padding_value))

    def mask(self) -> sp.csr_array:
        """Return the pattern: True where the matrix may be non-zero."""
        ones = self.matrix(np.ones(self.weight_shape, np.int8))
        return sp.csr_array((np.ones(ones.nnz, bool), ones.indices, ones.indptr), shape=ones.shape)

    def counts(self) -> Counts:
        """Return how many entries each output, input and weight takes part in; padding counts."""
        kronecker.check_counts(self.axes)
        each = [kronecker.outer([a.tally(i) for a in self.axes]) for i in (ROW, COL, TAP)]
        rows, cols, taps = each
        weights = self._weights.by_weight(taps)
        counts = Counts(rows.reshape(self.out_shape), cols.reshape(self.in_shape), weights)
        for part in self.padding:  # its entries meet no input of this layer
            outputs, _, more = part.counts()
            counts = Counts(counts.outputs + outputs, counts.inputs, counts.weights + more)
        return counts

    def __repr__(self) -> str:
        shapes = f"in={self.in_shape}, out={self.out_shape}, weights={self.weight_shape}"
        value = f", padding_value={self.padding_value}" if self.padding else ""
        return f"TieMap({shapes}, entries={self.n_entries:,}{value})"

    def __str__(self) -> str:
        """Return what `repr` does, and below it the matrix in letters where it is small."""
        from convdense.structure.letter_grid import printed  # noqa: PLC0415  (2 ms that few ask for)

        return printed(self)

    def _repr_html_(self) -> str:
        """Return the matrix in letters where it is small, else its numbers, for a notebook."""
        from convdense.structure.letter_grid import shown  # noqa: PLC0415  (2 ms that few ask for)

        return shown(self)

    @cached_property
    def _plan(self) -> csr_assembly.Plan | None:
        return csr_assembly.make_plan(self.axes)

    @cached_property
    def _products(self) -> linear_operator.Products | None:
        return linear_operator.products(self.axes)

    @cached_property
    def _all_entries(self) -> Entries:
        """All entries, unsorted, kept for the next gradient: of a small map."""
        return expand(self.axes, self._weights.table())

    def _at(self, i: int, at: Sequence[Any]) -> Entries:
        """Return the entries whose ROW, COL or TAP along every axis is this one."""
        axes = [a.at(i, place) for a, place in zip(self.axes, at, strict=True)]
        found = expand(axes)
        return kronecker.ordered(found._replace(index=self._weights.weight_of(found.index)))
