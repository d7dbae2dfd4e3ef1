"""The user's pool and the direct one as evaluators, and how they compare."""

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import widened
from convdense.direct import pool as direct_pool
from convdense.geometry import Implementation, Pool
from convdense.implementations.call_contract import Judge
from convdense.implementations.evaluators import Evaluator, Results, caught, pool_functions
from convdense.verdicts.findings import CHANGED, RAISED, Finding

DIRECT_POOL = "direct pooling"
POWERS = "entries are roots of sums of powers, for which no bound is known (PyTorch's: see LpPool)"


def pool_evaluators(pool: Pool, implementation: Implementation) -> tuple[Evaluator, Evaluator]:
    """Return the user's pool and the direct one; w and b are not read, dw and db are None."""
    forward, backward, name = pool_functions(implementation)

    def dx(x: Array, _w: Array, dy: Array) -> Results:
        return caught(backward, x, dy), None, None

    def mine(x: Array, w: Array, _b: Array | None, dy: Array) -> Results:
        return (caught(forward, x), *dx(x, w, dy))

    def direct(x: Array, _w: Array, _b: Array | None, dy: Array) -> Results:
        return direct_pool.forward(pool, x), direct_pool.backward(pool, x, dy), None, None

    compiles = getattr(implementation, "compiles", False)
    judged = Evaluator(name, mine, lambda x, *_: caught(forward, x), dx, compiles)
    return judged, Evaluator(DIRECT_POOL, direct)


def compare_pools(
    pool: Pool, implementation: Implementation, x: Array, dy: Array, judge: Judge
) -> list[Finding]:
    """Return the verdicts on y and dx; what writes to its operands is wrong."""
    forward, backward, _ = pool_functions(implementation)
    wide_x, wide_dy = widened(x, dy)
    right_y = direct_pool.forward(pool, wide_x)
    right_dx = direct_pool.backward(pool, wide_x, wide_dy)
    findings = []
    for name, function, given, expected in (
        ("y", forward, (x,), right_y),
        ("dx", backward, (x, dy), right_dx),
    ):
        copies = [array.copy() for array in given]
        finding = judge(name, caught(function, *copies), expected)
        if finding.verdict != RAISED and not all(map(np.array_equal, copies, given)):
            finding = Finding(name, CHANGED, note="an operand was written to in place")
        findings.append(finding)
    return findings
