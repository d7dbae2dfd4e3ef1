"""Two roads on the same integers: every pair of basis vectors, or random trials."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convdense.arguments import Array
from convdense.checks.ranges import Ranges
from convdense.checks.report import EQUAL, QUANTITIES, RAISED, Finding
from convdense.checks.roads import Operands, Road, compare_roads
from convdense.tiemap import TieMap

DRAWS = 4  # integers drawn beside the basis vectors, each once more with every operand's sign turned


def exhaustive_calls(ties: TieMap, batch: int = 1) -> int:
    """Return how many calls evaluate every pair of basis vectors, for dw those of whole batches, and the draws."""
    return ties.n_weights + prod(ties.bias_shape) + 1 + batch**2 * prod(ties.shape) + DRAWS * (1 + len(Ranges._fields))


def exhaustive(ties: TieMap, mine: Road, by: Road, dtype: Any, *, batch: int, ranges: Ranges) -> tuple[Finding, ...]:
    """Judge on every pair of basis vectors: (input, weight) for y, (output, weight) for dx, (input, output) for dw.

    The basis vectors are scaled by integers of both signs, and what a quantity must not read is drawn at random. What
    is not bilinear (a ReLU too many, a sign lost, a square) can agree on all of them: random integers, each operand
    once with its sign turned, are there to refute it.
    """
    rows, cols = ties.shape
    rng = np.random.default_rng(0)
    sizes = ((cols, ties.in_shape), (rows, ties.out_shape))
    samples = max(rows, cols)
    # every basis vector of one sample, (samples, *shape), and of a whole batch, (batch * size, batch, *shape)
    inputs, upstream = (
        _basis(rng, m, samples, n, dtype).reshape(samples, *shape)
        for (n, shape), m in zip(sizes, (ranges.x, ranges.dy), strict=True)
    )
    xs, dys = (
        _basis(rng, m, batch * n, batch * n, dtype).reshape(-1, batch, *shape)
        for (n, shape), m in zip(sizes, (ranges.x, ranges.dy), strict=True)
    )
    ws = _basis(rng, ranges.w, ties.n_weights, ties.n_weights, dtype).reshape(-1, *ties.weight_shape)
    bs = _basis(rng, ranges.b, prod(ties.bias_shape), prod(ties.bias_shape), dtype).reshape(-1, *ties.bias_shape)
    b = _draw(rng, ranges.b, ties.bias_shape, dtype)

    def calls() -> Iterator[tuple[Operands, tuple[str, ...]]]:
        for w in ws:
            yield (inputs, w, b, upstream), ("y", "dx")
        yield (inputs[:1] * 0, ws[0] * 0, b * 0, upstream[:1] * 0), QUANTITIES
        for unit in bs:
            yield (inputs[:1] * 0, _draw(rng, ranges.w, ties.weight_shape, dtype), unit, upstream[:1] * 0), ("y",)
        for x, dy in product(xs, dys):
            yield (x, _draw(rng, ranges.w, ties.weight_shape, dtype), b, dy), ("dw", "db")
        for _ in range(DRAWS):
            drawn = _operands(rng, ties, batch, ranges, dtype)
            yield drawn, QUANTITIES
            for i, operand in enumerate(drawn):
                yield (*drawn[:i], -operand, *drawn[i + 1 :]), QUANTITIES

    return _first_differences(mine, by, calls())


def random(
    ties: TieMap, mine: Road, by: Road, dtype: Any, *, batch: int, trials: int, ranges: Ranges, seed: int
) -> tuple[Finding, ...]:
    """Judge on integers drawn from the ranges, all four quantities in every trial."""
    rng = np.random.default_rng(seed)
    calls = ((_operands(rng, ties, batch, ranges, dtype), QUANTITIES) for _ in range(trials))
    return _first_differences(mine, by, calls)


def _first_differences(mine: Road, by: Road, calls: Iterable[tuple[Any, tuple[str, ...]]]) -> tuple[Finding, ...]:
    """Return one finding per quantity, the first that is not equal, up to what is raised; None is not judged."""
    found: dict[str, Finding] = {}
    for operands, judged in calls:
        for name, finding in compare_roads((mine, operands), (by, operands), judged, {}).items():
            if name not in found or found[name].verdict == EQUAL:
                found[name] = finding
        if any(finding.verdict == RAISED for finding in found.values()):
            break  # it would raise again and again
    return tuple(found[name] for name in QUANTITIES if name in found)


def _operands(rng: np.random.Generator, ties: TieMap, batch: int, ranges: Ranges, dtype: Any) -> Any:
    shapes = ((batch, *ties.in_shape), ties.weight_shape, ties.bias_shape, (batch, *ties.out_shape))
    return tuple(_draw(rng, m, shape, dtype) for shape, m in zip(shapes, ranges, strict=True))


def _draw(rng: np.random.Generator, m: int, shape: tuple[int, ...], dtype: Any) -> Array:
    return rng.integers(-m, m, shape, endpoint=True).astype(dtype)


def _basis(rng: np.random.Generator, m: int, rows: int, size: int, dtype: Any) -> Array:
    """Return (rows, size): every basis vector times an integer up to m, signs in turn, never 0; then rows of zeros."""
    scale = rng.integers(1, m, size, endpoint=True) * (-1) ** np.arange(size)
    basis = np.zeros((rows, size), dtype)
    basis[np.arange(size), np.arange(size)] = scale
    return basis
