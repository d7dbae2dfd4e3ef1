"""Two evaluators on the same integers: every pair of basis vectors, or random trials."""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT, FORMATS
from convdense.certificates.integer_ranges import Ranges
from convdense.implementations.compare_calls import Explain, compare_evaluators
from convdense.implementations.evaluators import Evaluator, Operands
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import QUANTITIES, RAISED, Finding

Explained = Callable[[Operands], Explain]  # what becomes of a difference seen with these operands
DRAWS = (
    4  # integers drawn beside the basis vectors, each once more with every operand's sign turned
)


def exhaustive_calls(ties: TieMap, batch: int = 1) -> int:
    """Return how many calls evaluate every pair of basis vectors, for dw those of whole batches, and the draws."""
    return (
        ties.n_weights
        + prod(ties.bias_shape)
        + 1
        + batch**2 * prod(ties.shape)
        + DRAWS * (1 + len(Ranges._fields))
    )


def exhaustive(
    ties: TieMap,
    mine: Evaluator,
    by: Evaluator,
    dtype: str,
    *,
    batch: int,
    ranges: Ranges,
    explain: Explained | None = None,
) -> tuple[Finding, ...]:
    """Judge on every pair of basis vectors: (input, weight) for y, (output, weight) for dx, (input,
    output) for dw.

    The basis vectors are scaled by integers of both signs, and what a quantity must not read is
    drawn at random. What is not bilinear (a ReLU too many, a sign lost, a square) can agree on all
    of them: random integers, each operand once with its sign turned, are there to refute it.
    """
    return _first_differences(mine, by, _every_pair(ties, dtype, batch, ranges), dtype, explain)


def _every_pair(
    ties: TieMap, dtype: str, batch: int, ranges: Ranges
) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield the operands of every call, and the quantities it judges."""
    rng = np.random.default_rng(0)
    samples = max(ties.shape)
    shapes = (ties.in_shape, ranges.x), (ties.out_shape, ranges.dy)
    # every basis vector of one sample, (samples, *shape), and of a whole batch, (batch * size,
    # batch, *shape)
    inputs, upstream = (
        _basis(rng, m, samples, prod(s), dtype).reshape(samples, *s) for s, m in shapes
    )
    xs, dys = (
        _basis(rng, m, batch * prod(s), batch * prod(s), dtype).reshape(-1, batch, *s)
        for s, m in shapes
    )
    ws = _basis(rng, ranges.w, ties.n_weights, ties.n_weights, dtype).reshape(
        -1, *ties.weight_shape
    )
    bs = _basis(rng, ranges.b, prod(ties.bias_shape), prod(ties.bias_shape), dtype).reshape(
        -1, *ties.bias_shape
    )
    b = _draw(rng, ranges.b, ties.bias_shape, dtype)
    for w in ws:
        yield (inputs, w, b, upstream), ("y", "dx")
    yield (inputs[:1] * 0, ws[0] * 0, b * 0, upstream[:1] * 0), QUANTITIES
    for unit in bs:
        yield (
            (
                inputs[:1] * 0,
                _draw(rng, ranges.w, ties.weight_shape, dtype),
                unit,
                upstream[:1] * 0,
            ),
            ("y",),
        )
    for x, dy in product(xs, dys):
        yield (x, _draw(rng, ranges.w, ties.weight_shape, dtype), b, dy), ("dw", "db")
    for _ in range(DRAWS):
        drawn = draw_operands(rng, ties, batch, ranges, dtype)
        yield drawn, QUANTITIES
        for i, operand in enumerate(drawn):
            yield (*drawn[:i], -operand, *drawn[i + 1 :]), QUANTITIES


def random(
    ties: TieMap,
    mine: Evaluator,
    by: Evaluator,
    dtype: str,
    *,
    batch: int,
    trials: int,
    ranges: Ranges,
    seed: int,
    explain: Explained | None = None,
) -> tuple[Finding, ...]:
    """Judge on integers drawn from the ranges, all four quantities in every trial."""
    rng = np.random.default_rng(seed)
    calls = ((draw_operands(rng, ties, batch, ranges, dtype), QUANTITIES) for _ in range(trials))
    return _first_differences(mine, by, calls, dtype, explain)


def _first_differences(
    mine: Evaluator,
    by: Evaluator,
    calls: Iterable[tuple[Any, tuple[str, ...]]],
    dtype: str,
    explain: Explained | None,
) -> tuple[Finding, ...]:
    """Return one finding per quantity, the first of the worst grade, up to what is raised; None is not judged."""
    found: dict[str, Finding] = {}
    narrowest = None if explain is None else FORMATS[dtype].holder
    for operands, judged in calls:
        wide = (
            operands
            if dtype in EXACT
            else tuple(operand.astype(np.float64) for operand in operands)
        )
        still = [name for name in judged if name not in found or not found[name].refuted]
        said = None if explain is None else explain(operands)
        results = compare_evaluators(
            (mine, operands), (by, wide), still, {}, explain=said, dtype=narrowest
        )
        for name, finding in results.items():
            if name not in found or found[name].grade < finding.grade:
                found[name] = finding
        if any(f.verdict == RAISED for f in found.values()) or _all_refuted(found):
            break  # it would raise again and again; there is nothing left to judge
    return tuple(found[name] for name in QUANTITIES if name in found)


def _all_refuted(found: dict[str, Finding]) -> bool:
    return len(found) == len(QUANTITIES) and all(finding.refuted for finding in found.values())


def draw_operands(
    rng: np.random.Generator, ties: TieMap, batch: int, ranges: Ranges, dtype: str
) -> Any:
    """Return x, w, b and dy of integers within the ranges."""
    shapes = ((batch, *ties.in_shape), ties.weight_shape, ties.bias_shape, (batch, *ties.out_shape))
    return tuple(_draw(rng, m, shape, dtype) for shape, m in zip(shapes, ranges, strict=True))


def _draw(rng: np.random.Generator, m: int, shape: tuple[int, ...], dtype: str) -> Array:
    small = np.int32 if m < 2**31 else np.int64  # half the random bits
    return rng.integers(-m, m, shape, small, endpoint=True).astype(FORMATS[dtype].holder)


def _basis(rng: np.random.Generator, m: int, rows: int, size: int, dtype: str) -> Array:
    """Return (rows, size): every basis vector times an integer up to m, signs in turn, never 0; then rows of zeros."""
    scale = rng.integers(1, m, size, endpoint=True) * (-1) ** np.arange(size)
    basis = np.zeros((rows, size), FORMATS[dtype].holder)
    basis[np.arange(size), np.arange(size)] = scale
    return basis
