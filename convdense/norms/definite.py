"""The largest eigenvalue of a Hermitian matrix, bounded by a Cholesky factorisation that succeeds.

Rump, *Verification of positive definiteness* (BIT 46, 2006): where the factorisation of ``B = t I -
G`` runs to its end in floating point, ``R^H R = B + E``. There ``|E_ij| <= gamma_i sum_k |r_ki
r_kj|`` for i <= j (Higham, *Accuracy and Stability of Numerical Algorithms*, theorem 10.3) and
``sum_k |r_kj|^2 <= b_jj / (1 - gamma)``, so that ``||E|| <= sum_j gamma_j b_jj / (1 - gamma)``. As
``R^H R`` has no eigenvalue below 0, G has none above ``t + ||E||``.

Row j, from 0, sums j products and divides once: gamma_(j + 2). Complex numbers, and multiplying
with a reciprocal in place of dividing, add at most 5; gamma_(j + 8) has room for both. This holds
for sums in any order, hence for blocked factorisations, but not for fast matrix multiplication.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import gamma, unit_roundoff

U = unit_roundoff("float64")
# 32 u, for the few roundings of a bound itself. All underflow is far below it, too: weights are
# scaled to about 1, and 10^18 operations lose at most 10^18 * 2^-1074.
SLACK = 1 + 2.0**-48
SMALLEST = 2.0**-40  # in place of 0, where eigenvalues are
GROWTH = 16.0  # from one try to the next
T = TypeVar("T")


def first_proven(factor: Callable[[float], T], guess: float, excess: float) -> tuple[float, T]:
    """Return the first t above the guess at which `factor` does not fail, and what it returns."""
    while True:
        t = guess + excess * max(guess, SMALLEST)
        try:
            return t, factor(t)
        except np.linalg.LinAlgError:
            excess *= GROWTH


def eigenvalue_bound(t: float, n: int, band: int | None = None) -> float:
    """Return the bound on the eigenvalues of G, n x n, where the factorisation of t I - G succeeds.

    The diagonal of ``t I - G`` is rounded, by u t at most. Beyond a band all products are 0.
    """
    reach = n if band is None else min(n, band)
    roundings = float(np.minimum(np.arange(n), reach).sum()) + 8 * n  # of all rows
    return t * (1 + U) * (1 + roundings * U / (1 - 2 * (reach + 8) * U)) * SLACK


def gram_rounding(terms: int, size: float) -> float:
    """Return what a computed Gram matrix, of sums of so many products, is off by in norm.

    ``|fl(A^H A) - A^H A| <= gamma |A|^H |A|`` (Higham, section 3.5; complex products count as two
    more), and the norm of the right side is at most ``gamma size^2`` where ``|| |A| || <= size``.
    """
    return float(gamma(terms + 2, U)) * size * size * SLACK


def size_bound(stack: Array) -> float:
    """Return sqrt(||A||_1 ||A||_inf) >= || |A| || (Schur's test) of all A, (..., rows, columns)."""
    sizes = np.abs(stack)
    rows, cols = sizes.sum(axis=-1), sizes.sum(axis=-2)
    most = (rows.max(axis=-1) * cols.max(axis=-1)).max()
    return float(np.sqrt(most) * (1 + gamma(sum(stack.shape[-2:]) + 4, U))) * SLACK


def norm_of_stack(stack: Array, least: float = 0.0) -> float:
    """Return a bound on the norms of all matrices, (..., rows, columns), and at least `least`."""
    *_, rows, cols = stack.shape
    wide = stack if rows <= cols else stack.swapaxes(-1, -2)
    gram = wide @ wide.conj().swapaxes(-1, -2)
    n, terms = wide.shape[-2:]
    eye = np.eye(n)

    def factor(t: float) -> Array:
        return np.linalg.cholesky(t * eye - gram)

    t = least * least
    try:
        factor(t)
    except np.linalg.LinAlgError:
        t, _ = first_proven(factor, max(t, _estimate(gram.reshape(-1, n, n))), 2.0**-20)
    largest = eigenvalue_bound(t, n) + gram_rounding(terms, size_bound(stack))
    return float(np.sqrt(largest)) * SLACK


def _estimate(grams: Array) -> float:
    """Return about the largest eigenvalue of some matrices: of that whose powers grow most."""
    v = np.random.default_rng(0).normal(size=(len(grams), grams.shape[-1], 1)).astype(grams.dtype)
    growth = np.zeros(len(grams))
    for _ in range(8):
        v = grams @ v
        growth = np.linalg.norm(v, axis=(1, 2))
        v /= np.where(growth > 0, growth, 1)[:, None, None]
    return float(np.linalg.eigvalsh(grams[growth.argmax()])[-1])
