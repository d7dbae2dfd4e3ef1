"""What rounding may do to a power average, ``y = (sum |x|^p)^(1/p)``, and to its gradient.

In units of the unit roundoff u, to first order, and as ``k u / (1 - k u)`` together (Higham,
*Accuracy and Stability of Numerical Algorithms*, ch. 3): a power is off by 2 `POW_ULPS`, and by p
more if its operand was divided by a scale; a sum of n of them by n more; the root takes a p-th of
that. The rounded exponent 1/p makes ``ln(sum) / p`` of it: ``|ln y|``, or at most ``ln n / p + 1``
beside the scale. A slope ``(|x| / y)^(p-1)`` is off by p - 1 times what y is, or, as ``|x|^(p-1)
sum^(1/p-1)``, by three powers and ``2 p |ln y|``.
"""

from math import log

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import format_of, gamma, magnitude
from convdense.direct import pool as direct_pool
from convdense.geometry import LpPool
from convdense.layers.direct_form import window_sums
from convdense.layers.error_bounds import SLACK
from convdense.structure._tie import sums

POW_ULPS = 4  # how far pow may be off, in units of the last place; glibc's is below 1


def root_error(pool: LpPool, x: Array, dtype: npt.DTypeLike) -> Array:
    """Return what y may be off by in one dtype, entry by entry.

    0 in windows of zeros; infinite where powers that are not scaled may overflow or vanish.

    Examples
    --------
    >>> error = root_error(LpPool((1, 2), kernel=2, p=2), np.array([[[3.0, -4]]]), "float64")
    >>> bool(5 * 2**-53 < error.item() < 100 * 2**-53)
    True
    """
    y = direct_pool.forward(pool, magnitude(x))  # (batch, *out_shape)
    error = SLACK * gamma(_roundings(pool, y), format_of(dtype).unit_roundoff) * y
    return np.where(_leaves_range(pool, y, dtype), np.inf, error)


def slope_error(pool: LpPool, x: Array, dy: Array, dtype: npt.DTypeLike) -> Array:
    """Return what dx may be off by in one dtype, entry by entry; infinite as for y."""
    form, p = format_of(dtype), pool.p
    sizes, upstream = magnitude(x), magnitude(dy)
    y = direct_pool.forward(pool, sizes)
    meeting = int(sums(pool).counts().inputs.max(initial=0))  # windows that share a cell
    direct = (p - 1) * (_roundings(pool, y) + 2)
    roundings = direct + 6 * POW_ULPS + 4 + 2 * p * _logarithm(y) + meeting

    # What is infinite is put in below: times a slope of 0 it would be NaN.
    relative = gamma(roundings, form.unit_roundoff)
    undecided = _leaves_range(pool, y, dtype) | ~np.isfinite(relative)
    shares = np.where(undecided, 0, relative) * upstream
    with np.errstate(divide="ignore", over="ignore"):
        power = np.where((y > 0) & ~undecided, y ** (1 - p), 0)
    vanishing = 2 * POW_ULPS * form.smallest_subnormal * np.maximum(1, power) * upstream

    everywhere = window_sums(pool)
    error = direct_pool.backward(pool, sizes, shares)
    error = SLACK * (error + everywhere.backward(sizes, np.where(y > 0, vanishing, 0)))
    reached = everywhere.backward(sizes, undecided.astype(float)) > 0
    return np.where(reached, np.inf, error)


def _roundings(pool: LpPool, y: Array) -> Array:
    """Return how many units roundoff y may be off by; 2 for the powers that become subnormal."""
    n = int(sums(pool).counts().outputs.max(initial=1))
    power = 2 * POW_ULPS + pool.p
    return np.asarray((n + power + log(n) + 2) / pool.p + _logarithm(y) + 2 * POW_ULPS + 3)


def _logarithm(y: Array) -> Array:
    """Return ``|ln y|``, 0 where y is 0."""
    return np.abs(np.log(np.where(y > 0, y, 1)))


def _leaves_range(pool: LpPool, y: Array, dtype: npt.DTypeLike) -> Array:
    """Tell where the sum of powers overflows, or is too near to the subnormal numbers."""
    form = format_of(dtype)
    n = int(sums(pool).counts().outputs.max(initial=1))
    smallest_normal = form.smallest_subnormal * 2.0 ** (form.bits - 1)
    with np.errstate(over="ignore", under="ignore"):
        total = y**pool.p
    too_small = (y > 0) & (total < 4 * n * smallest_normal)
    return np.asarray(too_small | (total > form.largest / 4))
