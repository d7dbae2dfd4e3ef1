"""Somebody's pool and the direct one as roads, and what rounding explains of a difference between them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT
from convdense.certificates.pool_probes import table
from convdense.direct import pool as direct_pool
from convdense.geometry import LpPool, MaxPool, MinPool, Pool
from convdense.implementations.evaluators import Operands, Results, Road, caught, pool_functions
from convdense.rounding.sum_bounds import gamma, unit_roundoff
from convdense.verdicts.findings import CHANGED, RAISED, Finding

DIRECT_POOL = "direct pooling"
POWERS = "entries are roots of sums of powers, for which no bound is known"


def pool_roads(pool: Pool, implementation: Any) -> tuple[Road, Road]:
    """Return somebody's pool and the direct one as roads: w and b are not read, dw and db are None."""
    forward, backward, name = pool_functions(implementation)

    def mine(x: Array, w: Any, b: Any, dy: Array) -> Results:  # noqa: ARG001  (a road takes all four)
        return caught(forward, x), caught(backward, x, dy), None, None

    def direct(x: Array, w: Any, b: Any, dy: Array) -> Results:  # noqa: ARG001  (a road takes all four)
        return direct_pool.forward(pool, x), direct_pool.backward(pool, x, dy), None, None

    return Road(name, mine), Road(DIRECT_POOL, direct)


Judge = Callable[[str, Any, Array], Finding]  # a quantity, what came, what is right


def compare_pools(pool: Pool, implementation: Any, x: Array, dy: Array, judge: Judge) -> list[Finding]:
    """Return the verdicts on y and dx; what writes to its operands is wrong."""
    forward, backward, _ = pool_functions(implementation)
    wide_x, wide_dy = widened(x, dy)
    right = direct_pool.forward(pool, wide_x), direct_pool.backward(pool, wide_x, wide_dy)
    findings = []
    for name, function, given, expected in zip(("y", "dx"), (forward, backward), ((x,), (x, dy)), right, strict=True):
        copies = [array.copy() for array in given]
        finding = judge(name, caught(function, *copies), expected)
        if finding.verdict != RAISED and not all(map(np.array_equal, copies, given)):
            finding = Finding(name, CHANGED, note="an operand was written to in place")
        findings.append(finding)
    return findings


def pool_bound(pool: Pool, operands: Operands, name: str, dtype: Any) -> Array:
    """Return what rounding explains of y or dx, entry by entry, against the direct pool in float64.

    ``gamma_n`` times the sum of sizes, n its terms and two for a division; 0 for what max and min pick; infinite for
    powers and roots, which no two libraries round alike.
    """
    x, _, _, dy = operands
    x, dy = widened(x, dy)
    if isinstance(pool, LpPool):  # nothing is promised of a power
        return np.full((len(x), *(pool.out_shape if name == "y" else pool.in_shape)), np.inf)
    factor = gamma(table(pool).longest + 2, unit_roundoff(dtype))
    picks = isinstance(pool, (MaxPool, MinPool))
    if name == "y":
        size = direct_pool.forward(pool, np.abs(x))
        return np.asarray(0 * size if picks else factor * size)
    return np.asarray(factor * direct_pool.backward(pool, x if picks else np.abs(x), np.abs(dy)))


def widened(*arrays: Any) -> Any:
    """Return arrays in float64, in which float16 and bfloat16 are exact, or as they are."""
    return tuple(a if a is None or a.dtype.name in EXACT else a.astype(np.float64) for a in arrays)
