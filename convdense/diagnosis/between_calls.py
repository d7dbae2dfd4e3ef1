"""Mistakes that show between calls and between results: sums never set to 0, results exchanged."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.geometry import Implementation, Pool
from convdense.implementations.evaluators import implementation_evaluator


def accumulated(observed: Observations) -> str:
    """Return whether each call adds to what the one before it returned; empty if not."""
    if not observed.comparable or len(observed.calls) < 2:
        return ""
    returned = [np.asarray(result) for result in observed.returned]
    steps = zip(pairwise(returned), observed.expected[1:], strict=True)
    if not all(same(after - before, right) for (before, after), right in steps):
        return ""
    return "it is accumulated over calls: what an earlier call gave is still in it"


def unrepeatable(observed: Observations, again: Observations | None) -> str:
    """Return whether the first call gave another result when it was repeated; empty if not."""
    first, second = observed.returned[0], again.returned[0] if again else None
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray):
        return ""
    is_same = first.shape == second.shape and np.array_equal(first, second, equal_nan=True)
    return "" if is_same else "not repeatable: the same call gives another result"


def reads_the_last_forward(
    layer: Any, implementation: Implementation, everything: Sequence[Observations]
) -> dict[str, str]:
    """Return the gradients that another forward, between two calls, changes; what they are then."""
    calls = everything[0].calls
    if isinstance(layer, Pool) or len(calls) < 2:
        return {}
    mine = implementation_evaluator(implementation)
    if mine.forward is None or mine.backward is None:
        return {}
    mine.forward(*map(np.copy, calls[1][:3]))
    x, w, _, dy = map(np.copy, calls[0])
    results = dict(zip(("dx", "dw", "db"), mine.backward(x, w, dy), strict=True))
    sentence = "it reads what the last forward was given: another forward in between changes it"
    return {
        one.name: sentence
        for one in everything
        if one.name in results
        and same(one.returned[0], one.expected[0])
        and not same(results[one.name], one.expected[0])
    }


def exchanged(observed: Observations, everything: Sequence[Observations]) -> str:
    """Return with which other gradient this one is exchanged, or which it is; empty if none."""
    for other in everything:
        is_gradient = "y" not in (observed.name, other.name)
        if other.name == observed.name or not is_gradient or not _is(observed, other):
            continue
        both = " and ".join(sorted((observed.name, other.name)))
        return f"{both} are exchanged" if _is(other, observed) else f"{other.name} is returned"
    return ""


def _is(observed: Observations, other: Observations) -> bool:
    pairs = zip(observed.returned, other.expected, strict=True)
    return all(same(got, right) for got, right in pairs)
