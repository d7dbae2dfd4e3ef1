"""What becomes of a difference on integers: rounding explains it, or it is wrong.

Rounding may explain it entry by entry, or as a whole; and what had to be allowed for it lowers what
a random trial is worth.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite, log2, sqrt

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import HALF, rounded_to, unit_roundoff
from convdense.certificates.integer_ranges import Ranges
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.compare_calls import Explain
from convdense.implementations.evaluators import Operands
from convdense.rounding.normwise_bounds import normwise_bound, spread_evenly
from convdense.rounding.sum_bounds import rounding_bounds
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import NORMWISE, UNDECIDED, WITHIN, Finding

HIDES = 0.5  # a bound in which a product of 1, or half of it, can hide: draws of few bits have many
FEW_BITS = "not the exact sum, rounded once; so few bits hide a lost product"


@dataclass(frozen=True)
class Explainer:
    """Explains differences by the rounding of one dtype, and keeps the largest that it allowed.

    Parameters
    ----------
    layer : geometry or TieMap
    dtype : str
        A name of `float_formats.FORMATS`.
    allowed : dict
        Quantity -> the largest bound that was needed so far.
    """

    layer: HasShapes
    dtype: str
    allowed: dict[str, float] = field(default_factory=dict)

    def __call__(self, operands: Operands) -> Explain:
        """Return what explains differences seen with these operands."""
        return partial(self._explained, operands)

    def _explained(
        self, operands: Operands, finding: Finding, got: npt.ArrayLike, expected: Array
    ) -> Finding:
        """Return a finding that rounding explains as what it is then, any other as it came."""
        name = finding.name
        if self.dtype in HALF and _is_rounded_sum(operands, name, got, expected, self.dtype):
            size = np.abs(expected) + np.abs(expected).max(initial=0)
            return compare(name, got, expected, 4 * unit_roundoff(self.dtype) * size)
        bound = rounding_bounds(self.layer, operands, {name: self.dtype})[name]
        within = compare(name, got, expected, bound)
        if within.verdict == UNDECIDED:
            return within
        if within.verdict == WITHIN and self.dtype in HALF and bound.max() >= HIDES:
            return replace(within, verdict=UNDECIDED, note=FEW_BITS)
        if within.verdict != WITHIN:
            normwise = normwise_bound(self.layer, operands, name, self.dtype)
            if normwise is None or not isinstance(self.layer, (Conv, ConvTranspose)):
                return finding
            bound = np.broadcast_to(normwise, np.shape(expected))
            within = compare(name, got, expected, bound)
            wide = np.result_type(expected, np.float64)
            error = np.subtract(got, expected, dtype=wide)
            is_even = spread_evenly(self.layer, operands, name, self.dtype, error)
            if within.verdict != WITHIN or not is_even:
                return finding
            within = replace(within, verdict=NORMWISE)
        self.allowed[name] = max(self.allowed.get(name, 0.0), float(bound.max(initial=0.0)))
        return within


def _is_rounded_sum(
    operands: Operands, name: str, got: npt.ArrayLike, expected: Array, dtype: str
) -> bool:
    """Tell whether all is the exact sum, rounded once, or y again when the bias was added."""
    rounded = rounded_to(np.asarray(got, np.float64), dtype)
    is_right = rounded == rounded_to(expected, dtype)
    _, _, b, _ = operands
    if name == "y" and b is not None:
        bias = b.astype(np.float64).reshape(*b.shape, *[1] * (expected.ndim - 1 - b.ndim))
        without = rounded_to(expected - bias, dtype)
        is_right |= rounded == rounded_to(without + bias, dtype)
    return bool(is_right.all())


def bits_per_trial(m: float, allowed: float = 0.0, rounded: float = 0.0) -> float:
    """Return -log2 of the probability that one trial on integers up to m lets a wrong edge pass.

    Two different polynomials of degree 2 agree at a random point of S = 2 m + 1 values per variable
    with probability at most ``2 / S`` (Schwartz, Zippel). Where differences up to B are allowed,
    what was wrong before it was rounded by as much stays within 2 B: a difference ``a v + r`` in
    one operand v, whose slope a is itself an integer form in the other, does so with probability at
    most ``(4 B / A + 1) / S`` once ``|a| >= A``, and ``|a| < A`` has at most ``(2 A + 1) / S``: for
    A = sqrt(2 B) together ``(4 sqrt(2 B) + 2) / S``. An entry that is so large that it is rounded,
    with probability `rounded` at most, tells nothing.

    Examples
    --------
    >>> bits_per_trial(32767.5), bits_per_trial(32767.5, allowed=0.125)
    (15.0, 14.0)
    >>> bits_per_trial(1, allowed=4.0)
    0.0
    """
    if not isfinite(allowed):
        return 0.0
    values = 2 * m + 1
    return max(0.0, log2(values / (4 * sqrt(2 * allowed) + 2 + values * rounded)))


def bits_of_linear(m: float, allowed: float = 0.0) -> float:
    """Return the same for a difference that is linear in one operand alone, as in a bias.

    It stays within 2 B with a probability of at most ``(4 B + 1) / S``.

    Examples
    --------
    >>> bits_of_linear(63.5), bits_of_linear(63.5, allowed=0.25)
    (7.0, 6.0)
    """
    if not isfinite(allowed):
        return 0.0
    return max(0.0, log2((2 * m + 1) / (4 * allowed + 1)))


def bits_of_all(ranges: Ranges, allowed: dict[str, float], rounded: float) -> float:
    """Return what one trial is worth: the least of all quantities, after what was allowed."""
    bits = [bits_per_trial(min(ranges), max(allowed.values(), default=0.0), rounded)]
    if "y" in allowed:  # linear in the bias
        bits.append(bits_of_linear(ranges.b, allowed["y"]))
    if "db" in allowed:  # linear in dy
        bits.append(bits_of_linear(ranges.dy, allowed["db"]))
    return min(bits)
