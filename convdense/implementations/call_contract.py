"""Behaviour: what an implementation owes beside its numbers, tried on a few calls of its own.

Zeros in give the bias out, and gradients of zero; batches of any size are taken, arrays may be
read-only, strided or reversed in memory, and the same call twice gives the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT
from convdense.implementations.evaluators import Evaluator, Operands, Results
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import CHANGED, EQUAL, QUANTITIES, REPEATABLE, Finding

LAYOUTS = "read-only", "non-contiguous", "negative strides"
Judge = Callable[[str, Any, Array], Finding]  # a quantity, what came, what is right


def behaviour(
    mine: Evaluator,
    by: Evaluator,
    several: Operands,
    dtype: str,
    *,
    judge: Callable[[Operands], Judge],
) -> tuple[Finding, ...]:
    """Return one finding for each thing tried on a few samples, or the first; on integers right ones are equal."""
    none, one = ((several[0][:n], *several[1:3], several[3][:n]) for n in (0, 1))
    right = by.run(*_wide(one, dtype))

    def tried(name: str, operands: Operands, expected: Results) -> Finding:
        before = on_each(np.array, operands)
        finding = _first(name, _run(mine, operands), expected, judge(before))
        unchanged = (
            np.array_equal(a, np.asarray(now)) for a, now in zip(before, operands, strict=True)
        )
        if not finding.refuted and not all(unchanged):
            return Finding(name, CHANGED, note="an operand was written to in place")
        return finding

    found, kept = (
        [tried("batch 1", on_each(np.array, one), right)],
        _run(mine, on_each(np.array, one)),
    )
    changes: tuple[Callable[[Array], Array], ...] = (_locked, np.asfortranarray, _negative)
    if not found[0].refuted:  # else they would fail for the same reason
        found += [
            tried(name, on_each(change, one), right)
            for name, change in zip(LAYOUTS, changes, strict=True)
        ]
    found += _of_zeros(mine, one, right, judge)
    if not any(finding.refuted for finding in found):  # other calls have been made since
        found.append(_first("results kept", kept, right, judge(one)))
    found.append(tried(f"batch {len(several[0])}", several, by.run(*_wide(several, dtype))))
    return (*found, tried("batch 0", none, by.run(*_wide(none, dtype))))


def repeatable(mine: Evaluator, operands: Operands) -> tuple[Results, Finding]:
    """Return what an implementation gives, and whether it gives the same again, to the last bit."""
    first = [
        np.array(r) if isinstance(r, np.ndarray) else r
        for r in mine.run(*on_each(np.array, operands))
    ]
    second = mine.run(*on_each(np.array, operands))  # which may write to the arrays that came first
    for name, a, b in zip(QUANTITIES, first, second, strict=True):
        if not _same(a, b):
            return tuple(first), Finding(
                "repeatable", REPEATABLE, note=f"{name} is another when the call is repeated"
            )
    return tuple(first), Finding("repeatable", EQUAL)


def _of_zeros(
    mine: Evaluator, one: Operands, right: Results, judge: Callable[[Operands], Judge]
) -> Iterator[Finding]:
    """Yield what zeros give: for an input of zeros the bias and no weight gradient, for dy of zeros nothing."""
    x, w, b, dy = one
    empty, silent = (0 * x, w, b, dy), (x, w, b, 0 * dy)
    y, _, dw, _ = _run(mine, empty)
    bias: Any = (
        0 if b is None or not b.size else np.expand_dims(b, tuple(range(b.ndim, right[0].ndim - 1)))
    )
    nothing = [None if a is None else 0 * a for a in right]  # a pool has no dw and no db
    yield _first("zero x", (y, dw), (nothing[0] + bias, nothing[2]), judge(empty), ("y", "dw"))
    _, *gradients = _run(mine, silent)
    yield _first("zero dy", gradients, nothing[1:], judge(silent), QUANTITIES[1:])
    if w is not None and w.size:
        y, dx, *_ = _run(mine, (x, 0 * w, b, dy))
        yield _first(
            "zero w",
            (y, dx),
            (nothing[0] + bias, nothing[1]),
            judge((x, 0 * w, b, dy)),
            ("y", "dx"),
        )


def _first(name: str, got: Any, expected: Any, judge: Judge, names: Any = QUANTITIES) -> Finding:
    """Return the worst finding on several quantities, under the name of what was tried."""
    judged = zip(names, got, expected, strict=True)
    findings = [
        judge(q, g, e) for q, g, e in judged if e is not None and (g is not None or q != "db")
    ]
    worst = max(findings, key=lambda finding: finding.grade)
    note = f"{worst.name}: {worst.note}" if worst.note else worst.name
    return replace(worst, name=name, note=note) if worst.refuted else Finding(name, worst.verdict)


def _run(mine: Evaluator, operands: Operands) -> Results:
    try:
        return mine.run(*operands)
    except Exception as error:  # backward gave no three results
        return (Raised(error),) * 4


def _wide(operands: Operands, dtype: str) -> Any:
    return operands if dtype in EXACT else on_each(lambda a: a.astype(np.float64), operands)


def on_each(change: Callable[[Array], Array], operands: Any) -> Any:
    """Return what a change makes of every operand."""
    return tuple(change(operand) for operand in operands)


def _locked(array: Array) -> Array:
    array = array.copy()
    array.setflags(write=False)
    return array


def _negative(array: Array) -> Array:
    return array[..., ::-1].copy()[..., ::-1]


def _same(a: Any, b: Any) -> bool:
    """Tell whether two answers are the same arrays of numbers; of what is no such array, that it is none twice."""
    numbers = [isinstance(answer, np.ndarray) and answer.dtype.kind in "iufc" for answer in (a, b)]
    return np.array_equal(a, b, equal_nan=True) if all(numbers) else not any(numbers)
