"""Run two evaluators and compare what they return."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense.implementations.evaluators import Evaluator, Operands
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import CHANGED, EQUAL, QUANTITIES, RAISED, WRONG, Finding

READS = {"y": "xwb", "dx": "wd", "dw": "xd", "db": "d"}  # d for dy
# a difference, what came, what is right -> what becomes of it
Explain = Callable[[Finding, Any, Array], Finding]
Settle = Callable[[dict[str, Any]], set[str]]  # what came -> what is known to be equal


def may_be_none(name: str, got: Any, right: Array) -> bool:
    """Tell whether a result is None and may be: a db, and of integers, any gradient."""
    return got is None and (name == "db" or (name != "y" and right.dtype.kind in "iu"))


def in_double(operands: Operands) -> Operands:
    """Return floats in double precision or wider, to judge by, and integers as they are."""

    def wide(a: Array) -> Array:
        return a if a.dtype.kind in "iu" else a.astype(np.result_type(a, np.float64), copy=False)

    x, w, b, dy = operands
    return wide(x), wide(w), None if b is None else wide(b), wide(dy)


def compare_evaluators(
    mine: tuple[Evaluator, Operands],
    by: tuple[Evaluator, Operands],
    judged: Sequence[str],
    bounds: dict[str, Array],
    *,
    explain: Explain | None = None,
    dtype: npt.DTypeLike | None = None,
    settle: Settle | None = None,
) -> dict[str, Finding]:
    """Run both evaluators, each on its operands, and compare what is judged.

    One that writes to its operands is wrong. A db of None, and what is not given, is not judged.
    `explain` may find that a difference is rounding; a `dtype` is the narrowest that results may
    have. What `settle` knows to be equal is not compared, and if that is all, the other is not run.
    """
    evaluator, operands = mine
    other, other_operands = by
    x, w, b, dy = operands
    copies = x.copy(), w.copy(), None if b is None else b.copy(), dy.copy()
    got = dict(zip(QUANTITIES, evaluator.run(*copies), strict=True))
    written_to = {
        letter
        for letter, before, after in zip("xwbd", operands, copies, strict=True)
        if before is not None and not np.array_equal(before, np.asarray(after))
    }

    del copies
    equal = set() if settle is None else settle(got)
    given = [name for name in judged if name in evaluator.quantities]
    if "db" in given and got["db"] is None:
        given.remove("db")
    is_settled = equal.issuperset(given)
    right = (None,) * len(QUANTITIES) if is_settled else other.run(*other_operands)
    expected = dict(zip(QUANTITIES, right, strict=True))
    findings = {}
    for name in given:
        if name in equal:
            finding = Finding(name, EQUAL)
        elif may_be_none(name, got[name], expected[name]):
            continue
        else:
            finding = compare(name, got[name], expected[name], bounds.get(name), dtype=dtype)
        if finding.verdict == WRONG and explain is not None:
            finding = explain(finding, got[name], expected[name])
        if finding.verdict != RAISED and written_to.intersection(READS[name]):
            finding = replace(finding, verdict=CHANGED, note="an operand was written to in place")
        findings[name] = finding
    return findings
