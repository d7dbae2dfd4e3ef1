"""Upper bounds from the Gram matrix ``A^H A``, dense or in a band: its eigenvalues are squares.

A must have no more columns than rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.threads import blas_alone
from convdense.norms.definite import SMALLEST, eigenvalue_bound, first_proven, gram_rounding
from convdense.norms.layer_matrix import LayerMatrix

DENSE_UP_TO = 3000  # columns: a factorisation takes a second
# Of a band: entries of the layer's matrix, products in its Gram matrix, cells, and operations.
ENTRIES, PRODUCTS, CELLS, OPERATIONS = 2**25, 2**29, 2**27, 2**37
SPARSER = 64.0  # how many products a dense matrix product makes while a sparse one makes one
FINE, CLOSE = 2.0**-42, 2.0**-34  # relative distances: tried at least, and near enough
ROUNDS = 8
BASIS = 2**26  # numbers in the basis of Lanczos' method
Map = Callable[[Array], Array]


class Gram(NamedTuple):
    """A Gram matrix G: products with it, and with ``(t I - G)^-1`` once that is factorised."""

    times: Map
    factor: Callable[[float], Map]  # raises LinAlgError where t I - G is not positive definite
    band: int | None


def squeezed(matrix: LayerMatrix, gram: Gram, v: Array) -> tuple[float, Array]:
    """Return the bound on ||A||, and a vector that A stretches about as much.

    The distance between the two shrinks by Lanczos' method on ``(t I - G)^-1``, whose factors are
    those of the last proof, until t is `CLOSE` to what v shows. An eigenvalue lies within the
    residual of v from there, as a rule far nearer: so it is tried.
    """
    least = np.inf
    for _ in range(ROUNDS):
        v = v / np.linalg.norm(v)
        image = gram.times(v)
        shown = float(np.vdot(v, image).real)
        residual = float(np.linalg.norm(image - shown * v)) / max(shown, SMALLEST)
        t, solve = first_proven(gram.factor, shown, max(FINE, min(residual, 1.0) / 256))
        least = min(least, t)
        if least <= (1 + CLOSE) * shown:
            break
        v = lanczos(solve, v, FINE, steps=24)
    rounding = gram_rounding(matrix.column_terms, matrix.size + matrix.cell_error)
    largest = eigenvalue_bound(least, len(v), gram.band) + rounding
    return float(np.sqrt(largest)) + matrix.cell_error, v


def lanczos(times: Map, v: Array, tolerance: float, steps: int = 100) -> Array:
    """Return a vector of large <u, times(u)> / <u, u>, from the first steps after v, (n,).

    Golub and Van Loan, *Matrix Computations*, section 10.3, each vector made orthogonal twice.
    Nothing rests on that it converges: it ends where the quotient grows by less than the tolerance.
    """
    from scipy.linalg import eigh_tridiagonal  # noqa: PLC0415  (20 ms that few ask for)

    steps = min(len(v), steps, max(8, BASIS // len(v)))
    basis = np.zeros((steps, len(v)), v.dtype)
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    length, largest = np.linalg.norm(v), -np.inf
    vectors: Array = np.ones((1, 1))
    for k in range(steps):
        basis[k] = v / length
        v = times(basis[k])
        diagonal[k] = np.vdot(basis[k], v).real
        for _ in range(2):
            v = v - (basis[: k + 1].conj() @ v) @ basis[: k + 1]
        length = beside[k] = np.linalg.norm(v)
        values, vectors = eigh_tridiagonal(
            diagonal[: k + 1], beside[:k], select="i", select_range=(k, k)
        )
        grown, largest = values[0] - largest, values[0]
        if length <= 1e-14 * largest or (k > 3 and grown <= tolerance * largest):
            break
    return np.asarray(vectors[:, 0] @ basis[: k + 1])


def dense_gram(matrix: LayerMatrix) -> Gram:
    """Return the Gram matrix of a matrix with few columns, made block by block."""
    from scipy.linalg import cho_solve, cholesky  # noqa: PLC0415  (20 ms that few ask for)

    n = matrix.ties.shape[1]
    gram = np.zeros((n, n), matrix.weights.dtype)
    for _, block in matrix.ties.blocks(matrix.weights, 1 << 28):
        products = float((np.diff(block.indptr).astype(float) ** 2).sum())
        is_sparse = SPARSER * products < block.shape[0] * float(n) ** 2
        rows = block if is_sparse else block.toarray()
        gram += rows.conj().T @ rows

    def factor(t: float) -> Map:
        shifted = -gram
        shifted[np.diag_indices(n)] += t
        factors = cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
        return lambda v: np.asarray(cho_solve((factors, True), v, check_finite=False))

    return Gram(gram.__matmul__, factor, band=None)


def banded_gram(matrix: LayerMatrix) -> Gram | None:
    """Return the Gram matrix in a band, its columns renumbered, or None where it is too wide."""
    from scipy.linalg import cho_solve_banded, cholesky_banded  # noqa: PLC0415  (few ask for it)
    from scipy.sparse.csgraph import reverse_cuthill_mckee  # noqa: PLC0415

    entries, n = matrix.ties.n_entries, matrix.ties.shape[1]
    if entries > ENTRIES or entries * matrix.row_terms > PRODUCTS:
        return None
    stored = matrix.ties.matrix(matrix.weights)
    gram = (stored.conj().T @ stored).tocsr()
    order = reverse_cuthill_mckee(gram, symmetric_mode=True)
    place = np.argsort(order)  # of each column
    cells = gram.tocoo()
    row, col = place[cells.row], place[cells.col]
    band = int(np.abs(row - col).max(initial=0))
    dense = max(n**3 // 8, 2**20) if n <= DENSE_UP_TO else OPERATIONS  # that a dense one takes
    if n * (band + 1) > CELLS or n * (band + 1) ** 2 > min(dense, OPERATIONS):
        return None
    below = row >= col

    def factor(t: float) -> Map:
        shifted = np.zeros((band + 1, n), cells.dtype)
        shifted[(row - col)[below], col[below]] = -cells.data[below]
        shifted[0] += t
        with blas_alone():  # many small products
            factors = cholesky_banded(shifted, overwrite_ab=True, lower=True, check_finite=False)
        return lambda v: np.asarray(
            cho_solve_banded((factors, True), v[order], check_finite=False)[place]
        )

    return Gram(gram.__matmul__, factor, band)
