"""Run two evaluators and compare what they return."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.implementations.evaluators import Evaluator, Operands
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import CHANGED, QUANTITIES, WRONG, Finding

READS = {"y": "xwb", "dx": "wd", "dw": "xd", "db": "d"}  # d for dy
Explain = Callable[
    [Finding, Any, Array], Finding
]  # a difference, both values -> what becomes of it


def compare_evaluators(
    mine: tuple[Evaluator, Operands],
    by: tuple[Evaluator, Operands],
    judged: Sequence[str],
    bounds: dict[str, Array],
    *,
    explain: Explain | None = None,
    dtype: Any = None,
) -> dict[str, Finding]:
    """Run both evaluators, each on its operands, and compare what is judged; one that writes to its
    operands is wrong.

    Only a db may be None: then it is not judged. `explain` may find that a difference is rounding;
    a `dtype` is the narrowest that results may have.
    """
    evaluator, operands = mine
    expected = dict(zip(QUANTITIES, by[0].run(*by[1]), strict=True))
    x, w, b, dy = operands
    given = x.copy(), w.copy(), None if b is None else b.copy(), dy.copy()
    got = dict(zip(QUANTITIES, evaluator.run(*given), strict=True))
    kept = [
        a is None or np.array_equal(a, np.asarray(g)) for a, g in zip(operands, given, strict=True)
    ]
    findings = {}
    for name in judged:
        if name == "db" and got[name] is None:
            continue
        finding = compare(name, got[name], expected[name], bounds.get(name), dtype=dtype)
        if finding.verdict == WRONG and explain is not None:
            finding = explain(finding, got[name], expected[name])
        if not all(
            same for same, operand in zip(kept, "xwbd", strict=True) if operand in READS[name]
        ):
            finding = replace(finding, verdict=CHANGED, note="an operand was written to in place")
        findings[name] = finding
    return findings
