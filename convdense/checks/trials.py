"""Two roads on the same integers: every pair of basis vectors, or random trials."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convdense.arguments import Array
from convdense.checks.ranges import Ranges
from convdense.checks.report import EQUAL, QUANTITIES, Finding, compare
from convdense.checks.roads import Operands, Road
from convdense.tiemap import TieMap


def exhaustive_calls(ties: TieMap) -> int:
    """Return how many calls evaluate every pair of basis vectors."""
    return ties.n_weights + prod(ties.bias_shape) + 1 + prod(ties.shape)


def exhaustive(ties: TieMap, mine: Road, by: Road, dtype: Any) -> tuple[Finding, ...]:
    """Judge on every pair of basis vectors: (input, weight) for y, (output, weight) for dx, (input, output) for dw."""
    rows, cols = ties.shape
    batch = max(rows, cols)
    inputs = np.eye(batch, cols, dtype=dtype).reshape(batch, *ties.in_shape)  # every basis vector, then zeros
    upstream = np.eye(batch, rows, dtype=dtype).reshape(batch, *ties.out_shape)

    def calls() -> Iterator[tuple[Operands, tuple[str, ...]]]:
        w, b = np.zeros(ties.weight_shape, dtype), np.zeros(ties.bias_shape, dtype)
        for k in np.ndindex(ties.weight_shape):
            yield (inputs, _unit(w, k), b, upstream), ("y", "dx")
        yield (inputs[:1] * 0, w, b, upstream[:1] * 0), QUANTITIES
        for k in np.ndindex(ties.bias_shape):
            yield (inputs[:1] * 0, w, _unit(b, k), upstream[:1] * 0), ("y",)
        for c, r in product(range(cols), range(rows)):
            yield (inputs[c : c + 1], w, b, upstream[r : r + 1]), ("dw", "db")

    return _first_differences(mine, by, calls())


def random(
    ties: TieMap, mine: Road, by: Road, dtype: Any, *, batch: int, trials: int, ranges: Ranges, seed: int
) -> tuple[Finding, ...]:
    """Judge on integers drawn from the ranges, all four quantities in every trial."""
    rng = np.random.default_rng(seed)
    shapes = ((batch, *ties.in_shape), ties.weight_shape, ties.bias_shape, (batch, *ties.out_shape))

    def draw(shape: tuple[int, ...], m: int) -> Array:
        return rng.integers(-m, m, shape, endpoint=True).astype(dtype)

    calls = ((tuple(map(draw, shapes, ranges)), QUANTITIES) for _ in range(trials))
    return _first_differences(mine, by, calls)


def _first_differences(mine: Road, by: Road, calls: Iterable[tuple[Any, tuple[str, ...]]]) -> tuple[Finding, ...]:
    """Return one finding per quantity, the first that is not equal; a quantity that is None is not judged."""
    found: dict[str, Finding] = {}
    for operands, judged in calls:
        got = dict(zip(QUANTITIES, mine.run(*operands), strict=True))
        expected = dict(zip(QUANTITIES, by.run(*operands), strict=True))
        for name in judged:
            if got[name] is not None and (name not in found or found[name].verdict == EQUAL):
                found[name] = compare(name, got[name], expected[name])
    return tuple(found[name] for name in QUANTITIES if name in found)


def _unit(zeros: Array, at: tuple[int, ...]) -> Array:
    unit = zeros.copy()
    unit[at] = 1
    return unit
