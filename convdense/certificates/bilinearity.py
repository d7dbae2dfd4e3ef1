"""Whether a wrong result is linear in each operand: if not, that is what is wrong with it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS
from convdense.certificates.integer_ranges import Ranges
from convdense.certificates.integer_trials import Setup, draw_operands
from convdense.implementations.call_contract import LETTERS, copied
from convdense.implementations.compare_calls import READS
from convdense.implementations.evaluators import Evaluator
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import BILINEAR, QUANTITIES, WRONG, Finding


def bilinear(ties: TieMap, mine: Evaluator, finding: Finding, setup: Setup) -> Finding:
    """Return the finding on a wrong quantity, or that it is not even linear in one of its operands.

    f(p) + f(q) - f(0) is held against f(p + q), and f(-p) + f(p) against 2 f(0), for integers p and
    q.
    """
    if finding.verdict != WRONG or finding.at is None:
        return finding
    dtype, _, ranges, seed, _ = setup
    rng = np.random.default_rng((seed, 4))
    half = Ranges(*(max(1, m // 2) for m in ranges))  # p + q stays within the ranges
    base = draw_operands(rng, ties, 1, half, dtype)
    other = draw_operands(rng, ties, 1, half, dtype)
    # far above what rounding can do, beside the size of the results
    slack = 64 * ties.n_entries * FORMATS[dtype].unit_roundoff
    which = QUANTITIES.index(finding.name)

    for i, (letter, name) in enumerate(zip("xwbd", LETTERS, strict=True)):
        if letter not in READS[finding.name]:
            continue

        def result(operand: Array, i: int = i) -> Array:
            """Return the quantity for this operand, the others as they were drawn."""
            x, w, b, dy = (operand if n == i else drawn for n, drawn in enumerate(base))
            value = np.asarray(mine.run(*copied((x, w, b, dy)))[which])
            return value.astype(np.result_type(value, np.float64))

        differs = _not_linear(result, base[i], other[i], slack)
        if differs is None:  # infinity says nothing
            return finding
        if differs:
            note = f"not linear in {name}: {differs} is not what f(p) says"
            return replace(finding, verdict=BILINEAR, note=note)
    return finding


def _not_linear(f: Callable[[Array], Array], p: Array, q: Array, slack: float) -> str | None:
    """Return where f is not linear, "" where it may be, None where it is not finite."""
    at_zero = f(0 * p)
    at_p = f(p)
    at_q = f(q)
    of_sum = f(p + q) + at_zero - (at_p + at_q)
    of_minus = f(-p) + at_p - 2 * at_zero
    if not (np.isfinite(of_sum).all() and np.isfinite(of_minus).all()):
        return None

    size = max(float(np.abs(value).max(initial=0)) for value in (at_zero, at_p, at_q))
    if not (np.abs(of_sum) <= slack * size).all():
        return "f(p + q)"
    if not (np.abs(of_minus) <= slack * size).all():
        return "f(-p)"
    return ""
