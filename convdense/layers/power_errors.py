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
    """
    y, _, roundings, undecided = _of_windows(pool, x, dtype)
    error = SLACK * gamma(roundings, format_of(dtype).unit_roundoff) * y
    return np.where(undecided, np.inf, error)


def slope_error(pool: LpPool, x: Array, dy: Array, dtype: npt.DTypeLike) -> Array:
    """Return what dx may be off by in one dtype, entry by entry; infinite as for y."""
    y, logarithm, roundings, undecided = _of_windows(pool, x, dtype)
    form, p, upstream = format_of(dtype), pool.p, magnitude(dy)
    meeting = int(sums(pool).counts().inputs.max(initial=0))  # windows that share a cell
    roundings = (p - 1) * (roundings + 2) + 6 * POW_ULPS + 4 + 2 * p * logarithm + meeting
    relative = gamma(roundings, form.unit_roundoff)

    # What is infinite is put in below: times a slope of 0 it would be NaN.
    undecided = undecided | ~np.isfinite(relative)
    shares = np.where(undecided, 0, relative) * upstream
    power = np.where((y > 0) & ~undecided, y, 1) ** (1 - p)
    lost = 2 * POW_ULPS * form.smallest_subnormal * np.maximum(1, power) * upstream
    everywhere, sizes = window_sums(pool), magnitude(x)
    error = direct_pool.backward(pool, sizes, shares)
    error = SLACK * (error + everywhere.backward(sizes, np.where(y > 0, lost, 0)))
    reached = everywhere.backward(sizes, undecided.astype(float)) > 0
    return np.where(reached, np.inf, error)


def _of_windows(pool: LpPool, x: Array, dtype: npt.DTypeLike) -> tuple[Array, Array, Array, Array]:
    """Return of every window y, ``|ln y|``, how many u y may be off by, and where none is known.

    There the sum of powers overflows, or is so near to the subnormal numbers that more than 2 u of
    it are lost.
    """
    y = direct_pool.forward(pool, magnitude(x))  # (batch, *out_shape)
    logarithm = np.abs(np.log(np.where(y > 0, y, 1)))
    n = int(sums(pool).counts().outputs.max(initial=1))
    of_sum = n + 2 * POW_ULPS + pool.p + log(n) + 2
    form = format_of(dtype)
    smallest_normal = form.smallest_subnormal * 2.0 ** (form.bits - 1)
    with np.errstate(over="ignore", under="ignore"):
        total = y**pool.p
    undecided = ((y > 0) & (total < 4 * n * smallest_normal)) | (total > form.largest / 4)
    return y, logarithm, of_sum / pool.p + logarithm + 2 * POW_ULPS + 3, undecided
