"""Behaviour: what an implementation owes beside its numbers, tried on a few calls of its own.

Zeros in give the bias out, and gradients of zero; batches of any size are taken, arrays may be
read-only, strided or reversed in memory, and the same call twice gives the same. On integers, where
sums are exact, a right implementation gives equal numbers whatever is tried.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT
from convdense.implementations.evaluators import Evaluator, Operands, Results
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import (
    CHANGED,
    EQUAL,
    QUANTITIES,
    RAISED,
    REFUSED,
    REPEATABLE,
    Finding,
)

LAYOUTS = "read-only", "non-contiguous", "negative strides"
Judge = Callable[[str, Any, Array], Finding]  # a quantity, what came, what is right


def behaviour(
    mine: Evaluator,
    by: Evaluator,
    several: Operands,
    dtype: str,
    *,
    judge_for: Callable[[Operands], Judge],
) -> tuple[Finding, ...]:
    """Return one finding for each thing tried on a few samples.

    `mine` is the user's evaluator, `by` the right one. What rounding explains depends on the
    operands: `judge_for` returns the judge of what was computed from these. Where one sample is
    wrong already, the layouts are left out: they would fail for that reason.
    """
    one, none = _first_samples(several, 1), _first_samples(several, 0)
    right = by.run(*_widened(one, dtype))

    def tried(name: str, operands: Operands, expected: Results) -> Finding:
        before = copied(operands)
        finding = worst(name, _run(mine, operands), expected, judge_for(before))
        after = on_each(np.asarray, operands)
        unchanged = all(map(np.array_equal, before, after))
        if not finding.refuted and not unchanged:
            return Finding(name, CHANGED, note="an operand was written to in place")
        return finding

    found = [tried("batch 1", copied(one), right)]
    kept = _run(mine, copied(one))  # judged below, after other calls: do they overwrite it?
    changes: tuple[Callable[[Array], Array], ...] = (_read_only, np.asfortranarray, _negative)
    if not found[0].refuted:
        for name, change in zip(LAYOUTS, changes, strict=True):
            found.append(restriction(tried(name, on_each(change, one), right)))
    found += _of_zeros((mine, by), one, right, dtype, judge_for)
    if not any(finding.refuted for finding in found):
        found.append(worst("results kept", kept, right, judge_for(one)))
    found.append(tried(f"batch {len(several[0])}", several, by.run(*_widened(several, dtype))))
    found.append(restriction(tried("batch 0", none, by.run(*_widened(none, dtype)))))
    return tuple(found)


def repeatable(mine: Evaluator, operands: Operands) -> tuple[Results, Finding]:
    """Return what an implementation gives, and whether it gives the same again, to the last bit."""
    returned = mine.run(*copied(operands))
    # copies, because the second call may write to the arrays that the first returned
    first = tuple(np.array(r) if isinstance(r, np.ndarray) else r for r in returned)
    second = mine.run(*copied(operands))
    for name, a, b in zip(QUANTITIES, first, second, strict=True):
        if not _same(a, b):
            note = f"{name} is another when the call is repeated"
            return first, Finding("repeatable", REPEATABLE, note=note)
    return first, Finding("repeatable", EQUAL)


def _of_zeros(
    evaluators: tuple[Evaluator, Evaluator],
    one: Operands,
    right: Results,
    dtype: str,
    judge_for: Callable[[Operands], Judge],
) -> Iterator[Finding]:
    """Yield what zeros give: zero x or w the bias and a zero gradient, zero dy zero gradients."""
    mine, by = evaluators
    x, w, b, dy = one
    y_zero, dx_zero, dw_zero, db_zero = (None if a is None else 0 * a for a in right)
    bias: Any = 0
    if b is not None and b.size:  # (out,) -> (out, 1, ..., 1), to be added to (batch, out, *axes)
        bias = np.expand_dims(b, tuple(range(b.ndim, right[0].ndim - 1)))
    y_bias = y_zero + bias

    zero_x = 0 * x, w, b, dy
    y, _, dw, _ = _run(mine, zero_x)
    right_y, _, right_dw, _ = by.run(*_widened(zero_x, dtype))  # numbers in the padding stay
    yield worst("zero x", (y, dw), (right_y, right_dw), judge_for(zero_x), ("y", "dw"))

    zero_dy = x, w, b, 0 * dy
    _, *gradients = _run(mine, zero_dy)
    zeros = (dx_zero, dw_zero, db_zero)
    if dx_zero is not None:  # it is of a forward alone
        yield worst("zero dy", gradients, zeros, judge_for(zero_dy), QUANTITIES[1:])

    if w.size:  # a pool has no weights
        zero_w = x, 0 * w, b, dy
        y, dx, *_ = _run(mine, zero_w)
        yield worst("zero w", (y, dx), (y_bias, dx_zero), judge_for(zero_w), ("y", "dx"))


def worst(
    name: str,
    got: Sequence[Any],
    expected: Sequence[Any],
    judge: Judge,
    quantities: Sequence[str] = QUANTITIES,
) -> Finding:
    """Return the worst finding on several quantities, under the name of what was tried."""
    findings = []
    for quantity, value, right in zip(quantities, got, expected, strict=True):
        no_such_quantity = right is None  # as dw and db of a pool
        left_out = quantity == "db" and value is None
        if not no_such_quantity and not left_out:
            findings.append(judge(quantity, value, right))
    worst = max(findings, key=lambda finding: finding.grade)
    if not worst.refuted:
        return Finding(name, worst.verdict)
    note = f"{worst.name}: {worst.note}" if worst.note else worst.name
    return replace(worst, name=name, note=note)


def restriction(finding: Finding) -> Finding:
    """Return a finding on what many do not take: to raise there is no fault."""
    return replace(finding, verdict=REFUSED) if finding.verdict == RAISED else finding


def _run(mine: Evaluator, operands: Operands) -> Results:
    try:
        return mine.run(*operands)
    except Exception as error:
        # The evaluator catches what the user's functions raise, and raises this itself: backward
        # did not give three results.
        return (Raised(error),) * 4


def _first_samples(operands: Operands, n: int) -> Operands:
    x, w, b, dy = operands
    return x[:n], w, b, dy[:n]


def _widened(operands: Operands, dtype: str) -> Any:
    """Return operands in which sums are exact: in float64, unless they are in such a dtype."""
    if dtype in EXACT:
        return operands
    return on_each(lambda operand: operand.astype(np.float64), operands)


def on_each(change: Callable[[Array], Array], operands: Iterable[Any]) -> Any:
    """Return what a change makes of every operand."""
    return tuple(change(operand) for operand in operands)


def copied(operands: Iterable[Any]) -> Any:
    """Return copies of all operands, which may be written to."""
    return on_each(np.array, operands)


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.setflags(write=False)
    return array


def _negative(array: Array) -> Array:
    """Return an array with the same numbers and a negative stride along the last axis."""
    return array[..., ::-1].copy()[..., ::-1]


def _same(a: object, b: object) -> bool:
    """Tell whether two answers are the same numbers, or neither of them is an array of numbers."""
    if _is_numbers(a) and _is_numbers(b):
        return np.array_equal(a, b, equal_nan=True)
    return not _is_numbers(a) and not _is_numbers(b)


def _is_numbers(answer: object) -> TypeGuard[Array]:
    return isinstance(answer, np.ndarray) and answer.dtype.kind in "iufc"
