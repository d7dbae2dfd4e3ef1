"""Rounding bounds, derived and not chosen: what a right implementation may differ by.

Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3: a sum of n products computed in any
order differs from the exact one by at most ``gamma_n * sum |products|``, ``gamma_n = n u / (1 - n
u)``.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import HALF, format_of, gamma, magnitude, unit_roundoff
from convdense.geometry import HasShapes
from convdense.implementations.evaluators import Operands, magnitude_evaluator
from convdense.structure._tie import tie
from convdense.structure.progressions import Axis

ROUNDINGS = 3  # of float32 sums to half precision: a part of the sum, all of it, and with a bias
Dtypes = npt.DTypeLike | tuple[npt.DTypeLike, ...]  # one, or all that a sum may be rounded in


def terms(layer: HasShapes, batch: int) -> dict[str, Array]:
    """Return how many products each entry of y, dx, dw and db sums, counted on the tie map.

    An entry of y sums one more, the bias. A coefficient that is no power of two is one more
    rounding in every product; a number in the padding is rounded itself, and may be multiplied with
    the sum of its weights: two more.
    """
    ties = tie(layer)
    counts = ties.counts()
    more = int(any(map(_rounds, ties.axes))) + 2 * bool(ties.padding)
    return {
        "y": counts.outputs + 1 + more,
        "dx": counts.inputs + more,
        "dw": counts.weights * batch + more,
        "db": ties.bias.counts().weights * batch,
    }


def _rounds(axis: Axis) -> bool:
    """Tell whether a product with one of the axis' coefficients may round."""
    if axis.coefficients is None:
        return False
    significand, _ = np.frexp(axis.coefficients)  # 1/2 for a power of two
    return bool((significand % 0.5 != 0).any())


def rounding_bounds(
    layer: HasShapes, operands: Operands, dtypes: Mapping[str, Dtypes]
) -> dict[str, Array]:
    """Return the bound on every entry of some quantities, against a float64 reference.

    `dtypes` gives for each quantity its float dtype (or "bfloat16"), or all that it may be rounded
    in on its way: then the coarsest counts. In half precision, sums in float32 of which at most
    `ROUNDINGS` parts are rounded to the narrow format stay within the bound as well.

    ``(gamma_N + gamma_ref) (|W| |x| + |b|)`` with N from the tie map, plus N smallest subnormals
    for underflow; infinite where N is too long or the sum may overflow. A complex product costs at
    most ``sqrt(2) gamma_2 < gamma_3`` (Higham, lemma 3.5), so there N grows by 2.
    """
    x, w, b, dy = operands
    with np.errstate(over="ignore", invalid="ignore"):
        size_of_b = None if b is None else magnitude(b)
        evaluator = magnitude_evaluator(layer)
        sums = evaluator.run(magnitude(x), magnitude(w), size_of_b, magnitude(dy))
    counts = terms(layer, len(x))

    bounds: dict[str, Array] = {}
    for (name, count), size in zip(counts.items(), sums, strict=True):
        if name in dtypes and size is not None:  # without a b there is no db
            bounds[name] = _bound(count, size, dtypes[name])
    return bounds


def _bound(n: Array, sums: Array, dtypes: Dtypes) -> Array:
    """Return the bound on sums of n products, given the sums of their magnitudes."""
    several = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    coarsest = max(several, key=unit_roundoff)
    is_complex = any(np.dtype(d).kind == "c" for d in several if str(d) != "bfloat16")
    steps = n + 2 if is_complex else n
    form = format_of(coarsest)
    reference = gamma(steps, unit_roundoff(np.result_type(form.holder, np.float64)))
    products = 4 if is_complex else 1  # real ones in each product, each of which may underflow
    tiny = products * form.smallest_subnormal
    with np.errstate(over="ignore", invalid="ignore"):
        # The sum of magnitudes is a rounded sum as well: the exact one is at most this.
        exact = sums / (1 - reference)
        relative = gamma(steps, unit_roundoff(coarsest))
        if coarsest in HALF:
            in_float32 = gamma(steps, unit_roundoff("float32"))
            in_float32 = in_float32 + ROUNDINGS * unit_roundoff(coarsest)
            relative = np.fmax(np.where(np.isfinite(relative), relative, 0), in_float32)
        bound = (relative + reference) * exact + n * tiny
    decided = np.isfinite(bound) & (exact <= form.largest / 2)
    return np.where(decided, bound, np.inf)
