"""Two evaluators on the same integers: every pair of basis vectors, or random trials."""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT, FORMATS
from convdense.certificates.integer_ranges import Ranges
from convdense.implementations.compare_calls import Explain, compare_evaluators
from convdense.implementations.evaluators import Evaluator, Operands
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import QUANTITIES, RAISED, Finding, keep_worst

Explained = Callable[[Operands], Explain]  # what becomes of a difference seen with these operands
# integers drawn beside the basis vectors, each once more with every operand's sign turned
DRAWS = 4


class Call(NamedTuple):
    """The operands of one call, and the quantities that it judges."""

    operands: Operands
    judged: tuple[str, ...]


def exhaustive_calls(ties: TieMap, batch: int = 1) -> int:
    """Return how many calls evaluate every pair of basis vectors, with the draws beside them.

    For dw these are basis vectors of whole batches.
    """
    weights_and_zeros = ties.n_weights + 1
    biases = prod(ties.bias_shape)
    pairs = batch**2 * prod(ties.shape)
    draws = DRAWS * (1 + len(Ranges._fields))
    return weights_and_zeros + biases + pairs + draws


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
    """Judge on every pair of basis vectors that a quantity is bilinear in.

    Those are (input, weight) for y, (output, weight) for dx and (input, output) for dw. The basis
    vectors are scaled by integers of both signs, and what a quantity must not read is drawn at
    random. What is not bilinear (a ReLU too many, a sign lost, a square) can agree on all of them:
    random integers, each operand once with its sign turned, are there to refute it.
    """
    return _first_differences(mine, by, _every_pair(ties, dtype, batch, ranges), dtype, explain)


def _every_pair(ties: TieMap, dtype: str, batch: int, ranges: Ranges) -> Iterator[Call]:
    """Yield a call for every pair of basis vectors, one of zeros, and the draws of both signs."""
    rng = np.random.default_rng(0)
    # every basis vector in one batch, and zeros up to the same length: (samples, *shape)
    samples = max(ties.shape)
    inputs = _basis(rng, ranges.x, samples, prod(ties.in_shape), dtype)
    inputs = inputs.reshape(samples, *ties.in_shape)
    upstream = _basis(rng, ranges.dy, samples, prod(ties.out_shape), dtype)
    upstream = upstream.reshape(samples, *ties.out_shape)
    # every basis vector of a whole batch: (batch * size, batch, *shape)
    xs = _all_units(rng, ranges.x, (batch, *ties.in_shape), dtype)
    dys = _all_units(rng, ranges.dy, (batch, *ties.out_shape), dtype)
    ws = _all_units(rng, ranges.w, ties.weight_shape, dtype)
    bs = _all_units(rng, ranges.b, ties.bias_shape, dtype)
    b = _draw(rng, ranges.b, ties.bias_shape, dtype)

    for w in ws:
        yield Call((inputs, w, b, upstream), ("y", "dx"))

    zero_x = inputs[:1] * 0
    zero_dy = upstream[:1] * 0
    yield Call((zero_x, ws[0] * 0, b * 0, zero_dy), QUANTITIES)
    for unit in bs:
        w = _draw(rng, ranges.w, ties.weight_shape, dtype)
        yield Call((zero_x, w, unit, zero_dy), ("y",))

    for x, dy in product(xs, dys):
        w = _draw(rng, ranges.w, ties.weight_shape, dtype)
        yield Call((x, w, b, dy), ("dw", "db"))

    for _ in range(DRAWS):
        x, w, bias, dy = draw_operands(rng, ties, batch, ranges, dtype)
        yield Call((x, w, bias, dy), QUANTITIES)
        yield Call((-x, w, bias, dy), QUANTITIES)
        yield Call((x, -w, bias, dy), QUANTITIES)
        yield Call((x, w, -bias, dy), QUANTITIES)
        yield Call((x, w, bias, -dy), QUANTITIES)


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
    calls = (
        Call(draw_operands(rng, ties, batch, ranges, dtype), QUANTITIES) for _ in range(trials)
    )
    return _first_differences(mine, by, calls, dtype, explain)


def _first_differences(
    mine: Evaluator,
    by: Evaluator,
    calls: Iterable[Call],
    dtype: str,
    explain: Explained | None,
) -> tuple[Finding, ...]:
    """Return a finding a quantity, the first of the worst grade; a db of None has none."""
    found: dict[str, Finding] = {}
    narrowest = None if explain is None else FORMATS[dtype].holder
    for operands, judged in calls:
        still_open = [name for name in judged if name not in found or not found[name].refuted]
        results = compare_evaluators(
            (mine, operands),
            (by, operands if dtype in EXACT else _in_float64(operands)),
            still_open,
            {},
            explain=None if explain is None else explain(operands),
            dtype=narrowest,
        )
        for finding in results.values():
            keep_worst(found, finding)
        if _is_settled(found):
            break
    return tuple(found[name] for name in QUANTITIES if name in found)


def _is_settled(found: dict[str, Finding]) -> bool:
    """Tell whether more calls can change nothing: all is refuted, or would raise once more."""
    if any(finding.verdict == RAISED for finding in found.values()):
        return True
    return len(found) == len(QUANTITIES) and all(finding.refuted for finding in found.values())


def _in_float64(operands: Operands) -> Operands:
    x, w, b, dy = operands
    wide_b = None if b is None else b.astype(np.float64)
    return x.astype(np.float64), w.astype(np.float64), wide_b, dy.astype(np.float64)


def draw_operands(
    rng: np.random.Generator, ties: TieMap, batch: int, ranges: Ranges, dtype: str
) -> tuple[Array, Array, Array, Array]:
    """Return x, w, b and dy of integers within the ranges."""
    x = _draw(rng, ranges.x, (batch, *ties.in_shape), dtype)
    w = _draw(rng, ranges.w, ties.weight_shape, dtype)
    b = _draw(rng, ranges.b, ties.bias_shape, dtype)
    dy = _draw(rng, ranges.dy, (batch, *ties.out_shape), dtype)
    return x, w, b, dy


def _draw(rng: np.random.Generator, m: int, shape: tuple[int, ...], dtype: str) -> Array:
    small = np.int32 if m < 2**31 else np.int64  # half the random bits
    return rng.integers(-m, m, shape, small, endpoint=True).astype(FORMATS[dtype].holder)


def _all_units(rng: np.random.Generator, m: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return every basis vector of a shape: (size, *shape)."""
    size = prod(shape)
    return _basis(rng, m, size, size, dtype).reshape(size, *shape)


def _basis(rng: np.random.Generator, m: int, rows: int, size: int, dtype: str) -> Array:
    """Return every basis vector times an integer up to m, then rows of zeros: (rows, size).

    The integers are never 0, and of either sign in turn.
    """
    signs = (-1) ** np.arange(size)
    basis = np.zeros((rows, size), FORMATS[dtype].holder)
    basis[np.arange(size), np.arange(size)] = signs * rng.integers(1, m, size, endpoint=True)
    return basis
