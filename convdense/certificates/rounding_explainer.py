"""What becomes of a difference on integers: rounding explains it, entry by entry or as a whole, or it is wrong."""

from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite, log2, sqrt
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.certificates.integer_ranges import Ranges
from convdense.implementations.compare_calls import Explain
from convdense.implementations.evaluators import Operands, magnitude_evaluator
from convdense.rounding.normwise_bounds import mean_square_unit, normwise_bound
from convdense.rounding.sum_bounds import rounding_bounds
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import NORMWISE, QUANTITIES, UNDECIDED, WITHIN, Finding


@dataclass(frozen=True)
class Explainer:
    """Explains differences by the rounding of one dtype, and keeps the largest difference it had to
    allow.

    Parameters
    ----------
    layer : geometry or TieMap
    dtype : str
        A name of `float_formats.FORMATS`.
    allowed : dict
        Quantity -> the largest bound that was needed so far.
    """

    layer: Any
    dtype: str
    allowed: dict[str, float] = field(default_factory=dict)

    def __call__(self, operands: Operands) -> Explain:
        """Return what explains differences seen with these operands."""
        return partial(self._explained, operands)

    def _explained(
        self, operands: Operands, finding: Finding, got: Any, expected: Array
    ) -> Finding:
        name = finding.name
        bound = rounding_bounds(self.layer, operands, {name: self.dtype})[name]
        within = compare(name, got, expected, bound)
        if within.verdict == UNDECIDED:
            return within
        if within.verdict != WITHIN:
            wide = normwise_bound(self.layer, operands, name, self.dtype)
            if wide is None:
                return finding
            bound = np.broadcast_to(wide, np.shape(expected))
            within = compare(name, got, expected, bound)
            if within.verdict != WITHIN or not self._small_on_the_whole(
                operands, name, got, expected
            ):
                return finding
            within = replace(within, verdict=NORMWISE)
        self.allowed[name] = max(self.allowed.get(name, 0.0), float(bound.max(initial=0.0)))
        return within

    def _small_on_the_whole(self, operands: Operands, name: str, got: Any, expected: Array) -> bool:
        """Tell whether differences are small in the mean square over every channel, or pair of
        channels, as well.

        A transform spreads its error evenly; a weight that is wrong by less than the norms allow
        does not.
        """
        squares: Any = tuple(None if a is None else a.astype(np.float64) ** 2 for a in operands)
        sums = dict(zip(QUANTITIES, magnitude_evaluator(self.layer).run(*squares), strict=True))[
            name
        ]
        axes = tuple(range(2, expected.ndim))
        error = np.mean((np.asarray(got, np.float64) - expected) ** 2, axis=axes)
        return bool(
            (
                error <= mean_square_unit(self.layer, self.dtype) ** 2 * np.mean(sums, axis=axes)
            ).all()
        )


def bits_per_trial(m: float, allowed: float = 0.0) -> float:
    """Return -log2 of the probability that one trial on integers up to m lets an edge that is wrong
    pass.

    Two different polynomials of degree 2 agree at a random point of S = 2 m + 1 values per variable
    with probability at most ``2 / S`` (Schwartz, Zippel). Where differences up to B are allowed,
    what was wrong before it was rounded by as much stays within 2 B: a difference ``a v + r`` in
    one operand v, whose slope a is itself an integer form in the other, does so with probability at
    most ``(4 B / A + 1) / S`` once ``|a| >= A``, and ``|a| < A`` has at most ``(2 A + 1) / S``: for
    A = sqrt(2 B) together ``(4 sqrt(2 B) + 2) / S``.

    Examples
    --------
    >>> bits_per_trial(32767.5), bits_per_trial(32767.5, allowed=0.125), bits_per_trial(1, allowed=4.0)
    (15.0, 14.0, 0.0)
    """
    if not isfinite(allowed):
        return 0.0
    return max(0.0, log2((2 * m + 1) / (4 * sqrt(2 * allowed) + 2)))


def bits_of_linear(m: float, allowed: float = 0.0) -> float:
    """Return the same for a difference that is linear in one operand alone, as in a bias: ``(4 B +
    1) / S``.

    Examples
    --------
    >>> bits_of_linear(63.5), bits_of_linear(63.5, allowed=0.25)
    (7.0, 6.0)
    """
    return max(0.0, log2((2 * m + 1) / (4 * allowed + 1))) if isfinite(allowed) else 0.0


def bits_of_all(ranges: Ranges, allowed: dict[str, float]) -> float:
    """Return what one trial is worth: the least over all quantities, each with what it had to be allowed."""
    bits = [bits_per_trial(min(ranges), max(allowed.values(), default=0.0))]
    bits += [
        bits_of_linear(m, allowed[name])
        for name, m in (("y", ranges.b), ("db", ranges.dy))
        if name in allowed
    ]
    return min(bits)
