"""norm_bounds: two numbers between which the operator norm of a layer certainly lies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, finite, require_memory, shaped
from convdense.geometry.protocols import HasShapes
from convdense.norms.definite import SLACK
from convdense.norms.gram_matrix import DENSE_UP_TO, banded_gram, dense_gram, lanczos, squeezed
from convdense.norms.layer_matrix import LayerMatrix
from convdense.norms.symbol import symbol_bound
from convdense.structure._tie import tie

VECTORS = 16  # of outputs and inputs, at least, that are held at once
EXACT = 2**53  # up to which float64 holds every integer


@dataclass(frozen=True)
class NormBounds:
    """What the operator norm lies between, and how the upper bound was found.

    ``lower, upper = bounds`` unpacks the two.
    """

    lower: float
    upper: float
    how: str

    def __iter__(self) -> Iterator[float]:
        return iter((self.lower, self.upper))


def norm_bounds(layer: HasShapes, w: npt.ArrayLike) -> NormBounds:
    """Return proven bounds on the operator norm: the largest singular value of a layer's matrix.

    All rounding is included: the norm of the exact matrix with these weights lies between the two.
    The lower bound is a Rayleigh quotient ||A v|| / ||v|| less its rounding error, however good v
    is. The upper one comes from a Cholesky factorisation of ``u^2 I - A^H A`` where A has at most
    3,000 rows or columns, or A^H A lies in a narrow band; then both differ by about 1e-9. Else it
    is the least of some that always hold: the symbol's supremum (see `convdense.norms.symbol`),
    norms of blocks, and sqrt(||A||_1 ||A||_inf).

    Parameters
    ----------
    layer : TieMap, Conv, or another layer that `tie` takes
    w : array of its `weight_shape`
        float32, float64, complex64, complex128, or integers up to 2^53. A number in the padding
        adds a constant, and is no part of the matrix.

    Returns
    -------
    NormBounds
        Unpacks to (lower, upper); `how` says how the upper one was found.

    Raises
    ------
    TypeError, ValueError
        For weights of another shape or dtype, NaN or infinity, or such as float64 cannot hold.
    MemoryError
        Where a few vectors of the layer's size do not fit. Time grows with the layer: of 10^6 cells
        it is half a minute.

    Examples
    --------
    >>> from convdense import Conv
    >>> layer = Conv((1, 20, 20), out_channels=1, kernel=3)
    >>> lower, upper = norm_bounds(layer, np.array([[[[2, 7, -1], [1, 3, -8], [5, -3, 1]]]]))
    >>> print(f"{lower:.8f} {upper:.8f}", upper - lower < 1e-9 * lower)
    22.67943198 22.67943198 True
    """
    ties = tie(layer)
    require_memory("vectors of this layer", VECTORS * 8 * sum(ties.shape), "take a smaller layer")
    weights = _in_float64(finite(shaped(w, "w", ties.weight_shape, ties), "w"))
    parts = weights.view(np.float64)  # of complex numbers both
    if not ties.n_entries or not parts.any():
        return NormBounds(0.0, 0.0, "no entry that is not 0")

    exponent = int(np.frexp(np.abs(parts).max())[1])
    scaled = np.ldexp(parts, -exponent).view(weights.dtype)  # up to 1: nothing over- or underflows
    upright = ties if ties.shape[0] >= ties.shape[1] else ties.T
    matrix = LayerMatrix(upright, scaled.reshape(ties.weight_shape))
    v, upper, how = _upper_bound(matrix)
    lower = matrix.lower_bound(v)
    with np.errstate(over="ignore"):  # to infinity, which is an upper bound
        ends = np.ldexp([lower, upper * SLACK], exponent)
    lower, upper = np.nextafter(ends, [0, np.inf]).tolist()
    return NormBounds(lower, upper, how)


def _in_float64(w: Array) -> Array:
    """Return the weights, flattened, in float64 or complex128, without a rounding."""
    if w.dtype.kind in "iu" and w.size and (most := max(-int(w.min()), int(w.max()))) > EXACT:
        needs = "integers up to 2**53, which float64 holds exactly"
        raise ValueError(complain("w", f"integers up to {most}", needs))
    exact = w.astype(np.complex128 if w.dtype.kind == "c" else np.float64).ravel()
    if (exact != w.ravel()).any():
        got, needs = f"dtype {w.dtype.name}", "numbers that float64 holds exactly"
        do = "round them first, with .astype(float)"
        raise TypeError(complain("w", f"{got}, not all of it in float64", needs, do))
    return exact


def _upper_bound(matrix: LayerMatrix) -> tuple[Array, float, str]:
    """Return a vector that A stretches much, an upper bound on ||A||, and how it was found."""
    ties, operator = matrix.ties, matrix.operator
    start = np.random.default_rng(0).normal(size=ties.shape[1]).astype(matrix.weights.dtype)
    gram = banded_gram(matrix)
    if gram is None and ties.shape[1] <= DENSE_UP_TO:
        gram = dense_gram(matrix)
    if gram is not None:
        upper, v = squeezed(matrix, gram, lanczos(gram.times, start, 1e-4))
        return v, upper, "Cholesky" if gram.band is None else "banded Cholesky"

    found = [(matrix.size, "sqrt(||A||_1 ||A||_inf)")]
    if ties.weight_order is None:  # the channels are a convolution's, upright or transposed
        of_both = (symbol_bound(axes, matrix.weights) for axes in (ties.axes, ties.T.axes))
        found += [bound for bound in of_both if bound is not None]
    upper, how = min(found)
    return lanczos(lambda v: operator.H @ (operator @ v), start, 1e-3), upper, how
