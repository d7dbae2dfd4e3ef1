"""Rounding bounds, derived and not chosen: what a right implementation may differ by, entry by
entry.

Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3: a sum of n products computed in any
order differs from the exact one by at most ``gamma_n * sum |products|``, ``gamma_n = n u / (1 - n
u)``.
"""

from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import format_of
from convdense.implementations.evaluators import Operands, magnitude_evaluator
from convdense.structure._tie import tie
from convdense.structure.axis import Axis


def gamma(n: Any, unit_roundoff: float) -> Array:
    """Return ``n u / (1 - n u)``, infinite from ``n u >= 1`` on, where nothing is known.

    Examples
    --------
    >>> float(gamma(1, 0.25)), float(gamma(4, 0.25))
    (0.3333333333333333, inf)
    """
    nu = np.asarray(n, np.float64) * unit_roundoff
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(nu < 1, nu / np.where(nu < 1, 1 - nu, 1), np.inf)


def unit_roundoff(dtype: Any) -> float:
    """Return u, half the distance from 1 to the next number of this dtype.

    Examples
    --------
    >>> unit_roundoff("float64") == 2**-53, unit_roundoff("bfloat16") == 2**-8
    (True, True)
    """
    return format_of(dtype).unit_roundoff


def terms(layer: Any, batch: int) -> dict[str, Array]:
    """Return how many products each entry of y, dx, dw and db sums, counted on the tie map (y: one
    more, the bias).

    A coefficient that is no power of two is one more rounding in every product.
    """
    ties = tie(layer)
    counts, more = ties.counts(), int(any(map(_rounds, ties.axes)))
    return {
        "y": counts.outputs + 1 + more,
        "dx": counts.inputs + more,
        "dw": counts.weights * batch + more,
        "db": ties.bias.counts().weights * batch,
    }


def _rounds(axis: Axis) -> bool:
    """Tell whether a product with one of the axis' coefficients may round."""
    return axis.coefficients is not None and bool((np.frexp(axis.coefficients)[0] % 0.5 != 0).any())


def rounding_bounds(layer: Any, operands: Operands, dtypes: dict[str, Any]) -> dict[str, Array]:
    """Return the bound on every entry of the quantities in `dtypes`, between one evaluation and a
    float64 reference.

    `dtypes` gives the float dtype (or "bfloat16"), or all a quantity may be rounded in on its way:
    then the coarsest counts.

    ``(gamma_N + gamma_ref) (|W| |x| + |b|)`` with N from the tie map, plus N smallest subnormals
    for underflow; infinite where N is too long or the sum may overflow. A complex product costs at
    most ``sqrt(2) gamma_2 < gamma_3`` (Higham, lemma 3.5), so there N grows by 2.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        x, w, b, dy = operands
        sums = magnitude_evaluator(layer).run(
            magnitude(x), magnitude(w), None if b is None else magnitude(b), magnitude(dy)
        )
    counts = terms(layer, len(operands[0]))
    named = dict(zip(counts, sums, strict=True))
    some = {
        name: dtype for name, dtype in dtypes.items() if named[name] is not None
    }  # without a b there is no db
    return {name: _bound(counts[name], named[name], dtype) for name, dtype in some.items()}


def _bound(n: Array, sums: Array, dtypes: Any) -> Array:
    dtypes = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    coarsest = max(dtypes, key=unit_roundoff)
    is_complex = any(np.dtype(d).kind == "c" for d in dtypes if not isinstance(d, str))
    steps = n + 2 if is_complex else n
    form = format_of(coarsest)
    reference = gamma(steps, unit_roundoff(np.result_type(form.holder, np.float64)))
    tiny = (
        4 if is_complex else 1
    ) * form.smallest_subnormal  # underflow in each of a product's real products
    with np.errstate(over="ignore", invalid="ignore"):
        exact = sums / (
            1 - reference
        )  # the sum of magnitudes is a rounded sum as well: the exact one is at most this
        bound = (gamma(steps, unit_roundoff(coarsest)) + reference) * exact + n * tiny
    return np.where(np.isfinite(bound) & (exact <= form.largest / 2), bound, np.inf)


def magnitude(array: Array) -> Array:
    """Return the absolute values, in float64 at least."""
    return np.asarray(np.abs(array.astype(np.result_type(array, np.float64))))
