"""Products with the matrix, its adjoint and the tied gradient, without storing the matrix.

What is faster, gathered inputs (see `window_products`) or a stored matrix, is told by the bytes
that both move and the products that they take. Both are plain sums of products, in some order:
what is proven of rounding, such as `norm_bounds`, needs no more and no less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, integer, physical_memory
from convdense.structure.csr_assembly import multiply_axis, nbytes, result_dtype
from convdense.structure.kronecker import count, matrix_shape
from convdense.structure.progressions import Axis
from convdense.structure.row_runs import Run, regular
from convdense.structure.sliding import Cells, Sliding, fold, over_cells, slide
from convdense.structure.window_families import BLOCKS, Windows, cost, padding_cost, windows
from convdense.structure.window_products import family_weights, gradient_by_tap, multiply

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

STORED_UP_TO = 2_000_000_000  # bytes of a matrix that is stored because products are faster, ...
SHARE = 8  # ... and no more than the physical memory divided by this
MANY = 8  # columns for which products of many are planned

# Nanoseconds, as those of `window_families`: of one entry of a stored matrix with one column; and
# with several, for which SciPy has another loop, of reading it, and of its product with each.
STORED_CALL = 10_000.0
STORED_ALONE = {"f4": 1.75, "f8": 1.85, "c8": 2.15, "c16": 2.5}
STORED_ENTRY = 3.0
STORED_PRODUCT = {"f4": 0.45, "f8": 0.9, "c8": 2.0, "c16": 4.0}
STORED_INTEGER = 1.0


class Products(NamedTuple):
    """Everything about products with a matrix, in one direction, but its weights."""

    in_sizes: tuple[int, ...]
    out_sizes: tuple[int, ...]  # of each axis; of those with copies, padded cells
    heads: Sequence[Run]  # of the first axis
    slidings: tuple[Sliding, ...]  # of the others
    mixing: tuple[sp.csr_array | None, ...]  # what makes the taps of their runs, for each axis
    taps: tuple[int, ...]  # of each axis
    folded: tuple[Cells, ...] = ()  # where outputs are padded cells, whose copies are added back


def products(axes: Sequence[Axis]) -> Products | None:
    """Return how to multiply with the matrix; None where rows differ in more than their place."""
    first = regular(axes[0])
    known = {axis: slide(axis) for axis in axes[1:]}  # a square image has two axes as one
    found = tuple(of_axis for axis in axes[1:] if (of_axis := known[axis]) is not None)
    if first is None or len(found) < len(axes) - 1:
        return None
    _, mixing, heads = first
    return Products(
        tuple(a.n_cols for a in axes),
        tuple(a.n_rows for a in axes),
        heads,
        found,
        (mixing, *(of_axis.mixing for of_axis in found)),
        tuple(a.n_taps for a in axes),
    )


def adjoint_products(axes: Sequence[Axis], forward: Products) -> Products | None:
    """Return how to multiply with the transposed matrix.

    Where padded cells are copies, the gradients of all padded cells come first; those of the copies
    are then added to the cells that they copy.
    """
    copies = [bool(of_axis.cells.copied) for of_axis in forward.slidings]
    if not any(copies):
        return products([a.T for a in axes])
    turned = [axes[0].T]
    folded = []
    for axis, of_axis, has_copies in zip(axes[1:], forward.slidings, copies, strict=True):
        turned.append(over_cells(axis, of_axis).T if has_copies else axis.T)
        whole = Cells(axis.n_cols, 0, 0, axis.n_cols)
        folded.append(of_axis.cells if has_copies else whole)
    found = products(turned)
    return None if found is None else found._replace(folded=tuple(folded))


def operator(
    axes: Sequence[Axis],
    forward: Products | None,
    weights: Array,
    stored: Callable[[], sp.csr_array],
    max_bytes: int | None = None,
) -> "LinearOperator":
    """Return the matrix as a LinearOperator; `stored` assembles it where that is faster.

    That is told product by product, by the number of columns. It stores `max_bytes` at most.
    """
    from scipy.sparse.linalg import LinearOperator, aslinearoperator  # noqa: PLC0415  (0.1 s, only here)

    if max_bytes is None:
        memory = physical_memory()
        max_bytes = STORED_UP_TO if memory is None else min(STORED_UP_TO, memory // SHARE)
    else:
        integer(max_bytes, "max_bytes", 0)
    back = None if forward is None else adjoint_products(axes, forward)
    if forward is None or back is None:
        return aslinearoperator(stored())
    entries = count(axes) if nbytes(axes, result_dtype(axes, weights)) <= max_bytes else None
    matrix = Stored(stored)
    times = Times(forward, by_tap(forward, weights), entries, matrix)
    adjoint_times = Times(back, by_tap(back, weights.conj()), entries, matrix, is_adjoint=True)
    return LinearOperator(
        matrix_shape(axes),
        matvec=times,
        matmat=times,
        rmatvec=adjoint_times,
        rmatmat=adjoint_times,
        dtype=times.grid.dtype,
    )


@dataclass
class Stored:
    """A matrix that is made when it is first needed."""

    make: Callable[[], sp.csr_array]

    @cached_property
    def matrix(self) -> sp.csr_array:
        """The matrix."""
        return self.make()


@dataclass
class Times:
    """The product with columns, (inputs, batch) or (inputs,), in one direction.

    What it plans, by the number of columns, it keeps for the next product, and not in a pickle.
    """

    direction: Products
    grid: Array  # the weights, for each tap
    entries: int | None  # of the matrix; None where it is too large to be stored
    stored: Stored
    is_adjoint: bool = False

    def __post_init__(self) -> None:
        self._plans: dict[tuple[bool, bool], Windows] = {}  # of many columns, of finite numbers
        self._weights: dict[tuple[int, ...], list[Array]] = {}  # by the blocks of the families
        self._ways: dict[int, bool] = {}  # whether the stored matrix is taken, by columns

    def __reduce__(self) -> tuple[Any, ...]:
        return Times, (self.direction, self.grid, self.entries, self.stored, self.is_adjoint)

    def __call__(self, columns: Array) -> Array:
        """Return the product, (outputs, batch) or (outputs,)."""
        batch = prod(columns.shape[1:])
        if self._ways.get(batch):
            return self._by_matrix(columns)
        if batch not in self._ways:
            self._ways[batch] = self._is_stored(self._plan(batch), batch)
            return self(columns)
        # A block of rows has zeros, which would make NaN of infinity: then each row is by itself.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._plan(batch, is_finite=bool(np.isfinite(columns.sum())))
        blocks = tuple(family.block for family in found.families)
        if blocks not in self._weights:
            each = [family_weights(family, self.grid) for family in found.families]
            self._weights[blocks] = each
        y = multiply(found, self._weights[blocks], columns.reshape(*self.direction.in_sizes, batch))
        if self.direction.folded:
            y = fold(y, self.direction.folded)
        return y.reshape(prod(y.shape[:-1]), *columns.shape[1:])

    def _plan(self, batch: int, *, is_finite: bool = True) -> Windows:
        """Return the windows for so many columns, of finite numbers or not."""
        kind = batch > 1, is_finite
        if kind not in self._plans:
            blocks = BLOCKS if is_finite else BLOCKS[:1]
            many = MANY if batch > 1 else 1
            self._plans[kind] = _planned(self.direction, self.grid.dtype, many, blocks)
        return self._plans[kind]

    def _is_stored(self, found: Windows, batch: int) -> bool:
        """Tell whether the stored matrix takes less time for so many columns."""
        if self.entries is None:
            return False
        dtype, inputs = self.grid.dtype, batch * prod(self.direction.in_sizes)
        free = sum(cost(family, dtype, batch) for family in found.families)
        free += padding_cost(found, inputs, dtype)
        kind = dtype.str[1:]
        each = STORED_ENTRY + batch * STORED_PRODUCT.get(kind, STORED_INTEGER)
        if batch == 1:
            each = STORED_ALONE.get(kind, STORED_ENTRY)
        return STORED_CALL + self.entries * each < free

    def _by_matrix(self, columns: Array) -> Array:
        matrix = self.stored.matrix
        if not self.is_adjoint:
            return np.asarray(matrix @ columns)
        if matrix.dtype.kind != "c":
            return np.asarray(matrix.T @ columns)
        if matrix.nnz < columns.size:  # what is smaller is conjugated, and so copied
            return np.asarray(matrix.conj().T @ columns)
        product = np.asarray(matrix.T @ columns.conj())
        np.conj(product, out=product)
        return product


def _planned(
    direction: Products, dtype: np.dtype[Any], batch: int, blocks: Sequence[int] = BLOCKS
) -> Windows:
    """Return the windows of a direction, in the blocks that are best for this many columns."""
    heads, slidings = direction.heads, direction.slidings
    return windows(direction.out_sizes, heads, slidings, dtype, batch, blocks=blocks)


def by_tap(direction: Products, weights: Array) -> Array:
    """Return the weights as a grid with an axis for each of the product's, of the runs' taps."""
    grid = weights.reshape(direction.taps)
    for i, mixing in enumerate(direction.mixing):
        if mixing is not None:
            grid = multiply_axis(i, mixing, grid)
    return np.ascontiguousarray(grid)


def gradient(direction: Products, x: Array, dy: Array) -> Array:
    """Return the tied gradient, flattened in the order of the product of taps.

    x, conjugated, and dy are (batch, *axes).
    """
    dtype = np.result_type(x, dy)
    found = _planned(direction, dtype, len(x))
    taps = zip(direction.taps, direction.mixing, strict=True)
    sizes = [n if mixing is None else mixing.shape[0] for n, mixing in taps]
    grid = gradient_by_tap(found, sizes, x, dy)
    for i, mixing in enumerate(direction.mixing):
        if mixing is not None:
            grid = multiply_axis(i, mixing.T, grid)  # the adjoint of `by_tap`
    return grid.ravel()
