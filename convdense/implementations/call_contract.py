"""Behaviour: what an implementation owes beside its numbers, tried on a few calls of its own.

Batches of any size are taken, results stay what they were, operands may change between calls. On
integers, where sums are exact, a right implementation gives equal numbers whatever is tried.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, TypeGuard

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import HALF
from convdense.implementations.compare_calls import in_double, may_be_none
from convdense.implementations.evaluators import Drawn, Evaluator, Results
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import (
    CHANGED,
    EQUAL,
    QUANTITIES,
    RAISED,
    REFUSED,
    REPEATABLE,
    REPORTED,
    SHAPE,
    WRONG,
    Finding,
    worst_of,
)

LETTERS = "x", "w", "b", "dy"
WRITTEN = "an operand was written to in place"
REMEMBERED = 2**16  # bytes of operands of which what is right is kept
LARGEST = 2**23  # and of larger ones, up to here, ...
RECENT = 4  # ... until so many others have come
ROUNDS = 16  # calls in two threads
Judge = Callable[[str, Any, Array], Finding]  # a quantity, what came, what is right


@dataclass(frozen=True)
class Bench:
    """An implementation under trial, `by` what is right, and the judge of what operands give.

    Every dy is a multiple of `unit`, that of a pool whose averages are to be exact. What is right
    for small operands is `known` from then on, of larger ones for a while: the same numbers come in
    many layouts.
    """

    mine: Evaluator
    by: Evaluator
    dtype: str
    judge: Callable[[Drawn, str, Any, Array], Finding]
    unit: int = 1
    known: dict[Any, Results] = field(default_factory=dict)
    recent: deque[tuple[Any, Results]] = field(default_factory=partial(deque, maxlen=RECENT))

    def places(self, operands: Drawn) -> list[int]:
        """Return which of x, w and dy hold numbers: a pool has no w, forward alone reads no dy."""
        return [n for n in (0, 1, 3)[: 3 if self.mine.backward else 2] if operands[n].size]

    def right(self, operands: Drawn) -> Results:
        """Return what is right, computed where sums are exact."""
        size = sum(operand.nbytes for operand in operands)
        if size > LARGEST:
            return self._computed(operands)
        key = tuple((operand.shape, operand.tobytes()) for operand in operands)
        if size < REMEMBERED:
            if key not in self.known:
                self.known[key] = self._computed(operands)
            return self.known[key]
        found = [right for numbers, right in list(self.recent) if numbers == key]  # no hash of all
        if not found:
            found = [self._computed(operands)]
            self.recent.append((key, found[0]))
        return found[0]

    def _computed(self, operands: Drawn) -> Results:
        wide = in_double(operands) if self.dtype in HALF else operands
        named = zip(QUANTITIES, self.by.run(*wide), strict=True)
        return tuple(value if name in self.mine.quantities else None for name, value in named)

    def run(self, operands: Drawn) -> Results:
        """Return what the implementation gives."""
        try:
            return self.mine.run(*operands)
        except Exception as error:
            # The evaluator catches what the user's functions raise, and raises this itself:
            # backward did not give three results.
            return (Raised(error),) * 4

    def tried(self, name: str, operands: Drawn, what: str = "") -> Finding:
        """Return the worst finding on what a call gives; one that writes to its operands is wrong.

        `what` says in the note which of several calls it was.
        """
        before = copied(operands)
        got = self.run(operands)
        finding = self.judged(name, got, before, what)
        return finding if finding.refuted else aliased(name, before, operands, got) or finding

    def judged(self, name: str, got: Results, operands: Drawn, what: str = "") -> Finding:
        """Return the worst finding on y, dx, dw and db, under the name of what was tried."""
        pairs = there_are(got, self.right(operands))
        if all(_is_equal(*pair) for pair in pairs):  # as nearly always, without a judge
            return Finding(name, EQUAL)
        return worst(name, [self.judge(operands, *pair) for pair in pairs], what)


def _is_equal(_name: str, got: Any, right: Array) -> bool:
    """Tell whether an array of the very dtype came, with the very numbers."""
    if type(got) is not np.ndarray or got.dtype != right.dtype or got.shape != right.shape:
        return False
    return bool((got == right).all())


def aliased(name: str, before: Drawn, after: Drawn, got: Results) -> Finding | None:
    """Return what is wrong if a call wrote to an operand, or a result changes when one does.

    Functions of x alone, a flattening say, may return views; sums with weights are new numbers.
    """
    if not all(map(_same, before, after)):
        return Finding(name, CHANGED, note=WRITTEN)
    shared = _shared(got, after) if after[1].size else ""
    return Finding(name, WRONG, note=shared) if shared else None


def _shared(got: Results, operands: Drawn) -> str:
    """Return which result lies in the memory of which operand, if any does."""
    for i, n in product(range(4), range(4)):
        if isinstance(got[i], np.ndarray) and np.may_share_memory(got[i], operands[n]):
            return f"{QUANTITIES[i]} lies in the memory of {LETTERS[n]}: it changes when that does"
    return ""


def there_are(got: Results, right: Results) -> list[tuple[str, Any, Array]]:
    """Return quantity, what came, what is right, but for what is left out, and a pool's dw, db.

    An empty list, which has no shape, is right where nothing is.
    """
    each = [(n, a, b) for n, a, b in zip(QUANTITIES, got, right, strict=True) if b is not None]
    return [(n, b if _is_empty(a, b) else a, b) for n, a, b in each if not may_be_none(n, a, b)]


def _is_empty(got: Any, right: Array) -> bool:
    return isinstance(got, list) and not got and not right.size


def worst(name: str, findings: Iterable[Finding], what: str = "") -> Finding:
    """Return the worst of several findings, under the name of what was tried."""
    found = worst_of(findings)
    if not found.refuted:
        return Finding(name, found.verdict)
    return replace(found, name=name, note=": ".join(filter(None, (what, found.name, found.note))))


def batches(bench: Bench, operands: Drawn, sizes: Iterable[int]) -> list[Finding]:
    """Return a finding for each size of batch; those that exceptions refuse share one."""
    each = {n: restriction(bench.tried(f"batch {n}", samples(operands, n)), n) for n in sizes}
    found = [finding for finding in each.values() if finding.verdict != REFUSED]
    refused = [n for n, finding in each.items() if finding.verdict == REFUSED]
    if refused:
        found.append(replace(each[refused[0]], name=f"batch {', '.join(map(str, refused))}"))
    return found


def calls(bench: Bench, operands: Drawn, other: Drawn) -> Iterator[Finding]:
    """Yield what several calls do to each other; `other` has the shapes of `operands`."""
    arrays = copied(operands)
    kept = bench.run(arrays)
    if shared := _shared(kept, arrays):
        yield Finding("memory", REPORTED, note=shared)
    arrays = copied(operands)
    found = [bench.tried("operands changed in place", arrays)]
    for letter, array, values in zip(LETTERS, arrays, other, strict=True):
        array[...] = values  # as an optimiser does to its weights
        found.append(bench.tried("operands changed in place", arrays, letter))
    yield worst_of(found)
    forward, backward = bench.mine.forward, bench.mine.backward
    if forward is not None and backward is not None:
        x, w, b, dy = arrays = copied(other)
        forward(x, w, b)
        for array, values in zip(arrays, operands, strict=True):
            array[...] = values  # where the other forward has read
        got = [backward(x, w, dy), backward(x, w, dy)]
        forward(*copied(other)[:3])
        x, w, b, dy = copied(operands)  # other arrays than that forward has read
        got.append(backward(x, w, dy))
        y = bench.right(operands)[0]
        name = "backward after another forward"
        yield worst_of(bench.judged(name, (y, *gradients), operands) for gradients in got)
    bench.run(copied(other))  # does it overwrite them?
    yield bench.judged("results kept", kept, operands)


def in_two_threads(bench: Bench, operands: Drawn, other: Drawn) -> Finding:
    """Return what many calls give of which two run at once, each on operands of its own."""
    given = [copied(operands if turn % 2 else other) for turn in range(ROUNDS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(bench.run, given))
    finally:
        sys.setswitchinterval(interval)
    return worst_of(map(partial(bench.judged, "two threads at once"), results, given))


def repeatable(mine: Evaluator, operands: Drawn, judge: Judge) -> tuple[Results, Finding]:
    """Return what an implementation gives, and whether it gives the same again, to the last bit.

    Sums in another order each time are right: what the judge, given what came first, takes for
    rounding is reported.
    """
    given = copied(operands)
    first = kept(mine.run(*given))
    if not all(map(_same, given, operands)):
        return first, Finding("repeatable", CHANGED, note=WRITTEN)
    del given
    second = mine.run(*copied(operands))
    found = [Finding("repeatable", EQUAL)]
    for name, a, b in zip(QUANTITIES, first, second, strict=True):
        if not _same(a, b):
            is_rounding = _is_numbers(a) and not judge(name, b, a).refuted
            verdict, how = (REPORTED, ", by rounding,") if is_rounding else (REPEATABLE, "")
            note = f"{name} is another{how} when the call is repeated"
            found.append(Finding("repeatable", verdict, note=note))
    return first, worst_of(found)


def kept(results: Results) -> Results:
    """Return copies, for a later call may write to the arrays that an earlier returned."""
    return tuple(np.array(r) if isinstance(r, np.ndarray) else r for r in results)


def restriction(finding: Finding, batch: int = 1) -> Finding:
    """Return a finding on what many do not take: to raise there, or to lose an empty shape."""
    taken_ill = (RAISED,) if batch else (RAISED, SHAPE)
    return replace(finding, verdict=REFUSED) if finding.verdict in taken_ill else finding


def samples(operands: Drawn, size: int) -> Drawn:
    """Return the first samples of a batch."""
    x, w, b, dy = operands
    return x[:size], w, b, dy[:size]


def on_each(change: Callable[[Array], Array], operands: Drawn) -> Drawn:
    """Return what a change makes of every operand."""
    x, w, b, dy = map(change, operands)
    return x, w, b, dy


def copied(operands: Drawn) -> Drawn:
    """Return copies of all operands, which may be written to."""
    return on_each(np.array, operands)


def _same(a: object, b: object) -> bool:
    """Tell whether two answers are the same numbers, or neither of them is an array of numbers."""
    if _is_numbers(a) and _is_numbers(b):
        return np.array_equal(a, b, equal_nan=True)
    return not _is_numbers(a) and not _is_numbers(b)


def _is_numbers(answer: object) -> TypeGuard[Array]:
    return isinstance(answer, np.ndarray) and answer.dtype.kind in "iufc"
