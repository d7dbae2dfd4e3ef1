"""The user's pool, or another function of x, and the direct one as evaluators, compared."""

from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import widened
from convdense.geometry import Implementation, Pool
from convdense.implementations.call_contract import WRITTEN, Judge
from convdense.implementations.evaluators import Evaluator, Results, caught, pool_functions
from convdense.layers.base import pulled
from convdense.layers.direct_form import DirectPool
from convdense.verdicts.findings import CHANGED, RAISED, Finding

DIRECT_POOL = "direct pooling"
POWERS = "entries are roots of sums of powers that overflow or vanish where they are not scaled"


def pool_evaluators(pool: Any, implementation: Implementation) -> tuple[Evaluator, Evaluator]:
    """Return the user's pool and the direct one; w and b are not read, dw and db are None."""
    right = DirectPool(pool) if isinstance(pool, Pool) else pool.direct
    functions = pool_functions(implementation)
    forward, backward = functions.forward, functions.backward

    def dx(x: Array, _w: Array, dy: Array) -> Results:
        return caught(backward, x, dy) if backward else None, None, None

    def mine(x: Array, w: Array, _b: Array | None, dy: Array) -> Results:
        return (caught(forward, x), *dx(x, w, dy))

    def direct(x: Array, _w: Array, _b: Array | None, dy: Array) -> Results:
        return right.forward(x), pulled(right, x, dy)[0], None, None

    of_x = (lambda x, *_: caught(forward, x)), dx if backward else None
    own = Evaluator(functions.name, mine, *of_x, functions.compiles, functions.interpreted)
    return own, Evaluator(DIRECT_POOL, direct)


def compare_pools(
    pool: Any, implementation: Implementation, x: Array, dy: Array, judge: Judge
) -> list[Finding]:
    """Return the verdicts on y, and dx if it is given; what writes to its operands is wrong."""
    forward, backward, *_ = pool_functions(implementation)
    _, by = pool_evaluators(pool, implementation)
    right_y, right_dx, _, _ = by.run(*widened(x, x, None, dy))  # x stands in for w, not read
    findings = []
    for name, function, given, expected in (
        ("y", forward, (x,), right_y),
        ("dx", backward, (x, dy), right_dx),
    ):
        if function is None:  # forward alone
            continue
        copies = [array.copy() for array in given]
        finding = judge(name, caught(function, *copies), expected)
        if finding.verdict != RAISED and not all(map(np.array_equal, copies, given)):
            finding = Finding(name, CHANGED, note=WRITTEN)
        findings.append(finding)
    return findings
