"""Whether a wrong result is linear in each operand: if not, that is what is wrong with it."""

from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS
from convdense.certificates.integer_ranges import Ranges
from convdense.certificates.integer_trials import draw_operands
from convdense.implementations.call_contract import on_each
from convdense.implementations.compare_calls import READS
from convdense.implementations.evaluators import Evaluator
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import BILINEAR, QUANTITIES, WRONG, Finding


def bilinear(
    ties: TieMap, mine: Evaluator, finding: Finding, dtype: str, *, ranges: Ranges, seed: int
) -> Finding:
    """Return the finding on a wrong quantity, or that it is not even linear in one of its operands.

    f(p) + f(q) - f(0) is held against f(p + q), and f(-p) + f(p) against 2 f(0), for integers p and
    q.
    """
    if finding.verdict != WRONG or (finding.at is None):
        return finding
    rng = np.random.default_rng((seed, 4))
    half = Ranges(*(max(1, m // 2) for m in ranges))
    base, other = (draw_operands(rng, ties, 1, half, dtype) for _ in range(2))
    which = QUANTITIES.index(finding.name)
    for i, (letter, name) in enumerate(zip("xwbd", ("x", "w", "b", "dy"), strict=True)):
        if letter not in READS[finding.name]:
            continue

        def f(operand: Array, i: int = i) -> Any:
            result = mine.run(*on_each(np.array, (*base[:i], operand, *base[i + 1 :])))[which]
            return np.asarray(result, np.float64)

        zero, p, q = f(0 * base[i]), f(base[i]), f(other[i])
        pairs = (
            (f(base[i] + other[i]) + zero, p + q, "f(p + q)"),
            (f(-base[i]) + p, 2 * zero, "f(-p)"),
        )
        if not all(np.isfinite(a).all() for pair in pairs for a in pair[:2]):
            return finding
        for left, there, what in pairs:
            size = max(float(np.abs(a).max(initial=0)) for a in (zero, p, q))
            slack = (
                64 * ties.n_entries * FORMATS[dtype].unit_roundoff * size
            )  # far above what rounding can do
            if not (np.abs(left - there) <= slack).all():
                return replace(
                    finding,
                    verdict=BILINEAR,
                    note=f"not linear in {name}: {what} is not what f(p) says",
                )
    return finding
