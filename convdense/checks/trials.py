"""Two roads on the same integers: every pair of basis vectors, or random trials."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convdense.arguments import Array
from convdense.checks.ranges import Ranges
from convdense.checks.report import EQUAL, QUANTITIES, Finding
from convdense.checks.roads import Operands, Road, compare_roads
from convdense.tiemap import TieMap


def exhaustive_calls(ties: TieMap, batch: int = 1) -> int:
    """Return how many calls evaluate every pair of basis vectors, for dw those of whole batches."""
    return ties.n_weights + prod(ties.bias_shape) + 1 + batch**2 * prod(ties.shape)


def exhaustive(ties: TieMap, mine: Road, by: Road, dtype: Any, *, batch: int) -> tuple[Finding, ...]:
    """Judge on every pair of basis vectors: (input, weight) for y, (output, weight) for dx, (input, output) for dw."""
    rows, cols = ties.shape
    samples = max(rows, cols)
    inputs = np.eye(samples, cols, dtype=dtype).reshape(samples, *ties.in_shape)  # every basis vector, then zeros
    upstream = np.eye(samples, rows, dtype=dtype).reshape(samples, *ties.out_shape)
    xs = np.eye(batch * cols, dtype=dtype).reshape(-1, batch, *ties.in_shape)  # every basis vector of a batch
    dys = np.eye(batch * rows, dtype=dtype).reshape(-1, batch, *ties.out_shape)

    def calls() -> Iterator[tuple[Operands, tuple[str, ...]]]:
        w, b = np.zeros(ties.weight_shape, dtype), np.zeros(ties.bias_shape, dtype)
        for k in np.ndindex(ties.weight_shape):
            yield (inputs, _unit(w, k), b, upstream), ("y", "dx")
        yield (inputs[:1] * 0, w, b, upstream[:1] * 0), QUANTITIES
        for k in np.ndindex(ties.bias_shape):
            yield (inputs[:1] * 0, w, _unit(b, k), upstream[:1] * 0), ("y",)
        for x, dy in product(xs, dys):
            yield (x, w, b, dy), ("dw", "db")

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
        for name, finding in compare_roads((mine, operands), (by, operands), judged, {}).items():
            if name not in found or found[name].verdict == EQUAL:
                found[name] = finding
    return tuple(found[name] for name in QUANTITIES if name in found)


def _unit(zeros: Array, at: tuple[int, ...]) -> Array:
    unit = zeros.copy()
    unit[at] = 1
    return unit
