"""Two evaluators on the same integers: every pair of basis vectors, or random trials.

`mine` is the evaluator that is judged, `by` the one that it is judged by.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import COMPLEX, FORMATS, HALF, INTEGERS
from convdense._util.threads import blas_alone
from convdense.certificates.clock import Clock
from convdense.certificates.contraction import bias_gradient, disagreeing
from convdense.certificates.integer_ranges import Ranges, ends
from convdense.geometry import Conv, ConvTranspose
from convdense.implementations.compare_calls import Explain, compare_evaluators, in_double
from convdense.implementations.evaluators import Drawn, Evaluator, Results
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import QUANTITIES, RAISED, Finding, keep_worst

# operands -> a function that says whether a difference in their results is only rounding
ExplainFor = Callable[[Drawn], Explain]
DRAWS = 4  # of random integers beside the basis vectors; each again with every sign turned


class Setup(NamedTuple):
    """What random integers are drawn from: the same seed, the same integers."""

    dtype: str
    batch: int
    ranges: Ranges
    seed: int
    clock: Clock = Clock()  # without a limit it never changes what is run


class Call(NamedTuple):
    """The operands of one call, and the quantities that it judges."""

    operands: Drawn
    judged: tuple[str, ...]


class Contracted(NamedTuple):
    """What judges a trial by contracting the channels: in so many rounds, drawn after the call."""

    layer: Conv | ConvTranspose
    dtype: str
    rounds: int
    rng: np.random.Generator

    def equal(self, operands: Drawn, got: dict[str, Any]) -> set[str]:
        """Return which results are equal to what is right, but for the chance of the rounds."""
        holder = FORMATS[self.dtype].holder
        x, w, b, dy = in_double(operands)
        assert b is not None  # integers are drawn for it
        judged = {}
        for name, like in zip(QUANTITIES, (dy, x, w, b), strict=True):
            result = got[name]
            is_array = isinstance(result, np.ndarray) and result.shape == like.shape
            if is_array and result.dtype.kind == "f" and np.can_cast(holder, result.dtype):
                judged[name] = result.astype(np.float64, copy=False)
        db = judged.pop("db", None)
        with blas_alone():  # products of few rows, on a machine that may be busy
            wrong = disagreeing(self.layer, (x, w, b, dy), judged, self.rounds, self.rng)
        of_bias = {"db"} if db is not None and np.array_equal(db, bias_gradient(dy)) else set()
        return judged.keys() - wrong | of_bias


def exhaustive_calls(ties: TieMap, batch: int = 1, quantities: tuple[str, ...] = QUANTITIES) -> int:
    """Return how many calls evaluate every pair of basis vectors, with the draws beside them.

    It counts what `_every_pair` yields and these quantities need.
    """
    weights_and_zeros = ties.n_weights + 1
    biases = prod(ties.bias_shape)
    inputs = batch * ties.shape[1] + bool(ties.padding)  # whole batches; and zeros
    pairs = (batch * ties.shape[0]) * inputs * ("dw" in quantities)
    draws = DRAWS * (1 + len(Ranges._fields))  # as drawn, and with the sign of x, w, b or dy turned
    return weights_and_zeros + biases + pairs + draws


def exhaustive(
    ties: TieMap, mine: Evaluator, by: Evaluator, setup: Setup, explain: ExplainFor | None = None
) -> tuple[Finding, ...]:
    """Judge on every pair of basis vectors that a quantity is bilinear in.

    Those are (input, weight) for y, (output, weight) for dx and (input, output) for dw. The basis
    vectors are scaled by integers of both signs, and what a quantity must not read is not zero
    throughout: it is the other's basis, or drawn at random (in the calls for the bias, zeros). What
    is not bilinear (a ReLU too many, a sign lost, a square) can agree on all of them: random
    integers, each operand once with its sign turned, are there to refute it.

    Where padded cells hold a number, y and dw are affine in x: x = 0 is one more basis vector.
    """
    pairs = setup.clock.during(_every_pair(ties, setup), "basis vectors", ahead=True)
    return _first_differences(mine, by, pairs, setup.dtype, explain)


def _every_pair(ties: TieMap, setup: Setup) -> Iterator[Call]:
    """Yield the calls that hold every pair of basis vectors, and the draws of both signs."""
    dtype, batch, ranges, seed, _ = setup
    rng = np.random.default_rng(seed)
    # For y and dx: every basis vector is one sample of a batch, (samples, *shape). x and dy need
    # equally many samples: the fewer are filled up with zeros.
    outputs, cells = ties.shape
    samples = max(outputs, cells + bool(ties.padding))  # so that one x is 0 where y is affine in x
    flat_inputs = _basis(rng, ranges.x, samples, prod(ties.in_shape), dtype)
    inputs = flat_inputs.reshape(samples, *ties.in_shape)
    flat_upstream = _basis(rng, ranges.dy, samples, prod(ties.out_shape), dtype)
    upstream = flat_upstream.reshape(samples, *ties.out_shape)
    # For dw, a sum over the batch: every basis vector is a batch, (batch * size, batch, *shape).
    xs = _all_units(rng, ranges.x, (batch, *ties.in_shape), dtype)
    if ties.padding:
        xs = np.concatenate([xs, np.zeros_like(xs[:1])])
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
        drawn = draw_operands(rng, ties, batch, ranges, dtype)
        for turned in (None, *range(len(drawn))):  # as drawn, then each with its sign turned
            x, w, bias, dy = (-a if i == turned else a for i, a in enumerate(drawn))
            yield Call((x, w, bias, dy), QUANTITIES)


def random(
    ties: TieMap,
    mine: Evaluator,
    by: Evaluator,
    setup: Setup,
    trials: int,
    *,
    explain: ExplainFor | None = None,
    needed: str | None = None,
    contracted: Contracted | None = None,
) -> tuple[Finding, ...]:
    """Judge on integers from the ranges, all quantities in every trial; `needed` is their dtype."""
    dtype, batch, ranges, seed, clock = setup
    rng = np.random.default_rng(seed)
    calls = (
        Call(draw_operands(rng, ties, batch, ranges, dtype), QUANTITIES) for _ in range(trials)
    )
    in_time = clock.during(calls, "trials", trials, ahead=True)
    return _first_differences(
        mine, by, in_time, dtype, explain, needed=needed, contracted=contracted
    )


def _first_differences(
    mine: Evaluator,
    by: Evaluator,
    calls: Iterable[Call],
    dtype: str,
    explain: ExplainFor | None,
    *,
    needed: str | None = None,
    contracted: Contracted | None = None,
) -> tuple[Finding, ...]:
    """Return a finding a quantity, the first of the worst grade."""
    found: dict[str, Finding] = {}
    # An implementation, for which there is something to explain, may not return a narrower dtype.
    narrowest = needed if explain is None else FORMATS[dtype].holder
    evaluator = replace(mine, run=partial(_backward_first, mine))
    for operands, judged in calls:
        given = [name for name in judged if name in mine.quantities]
        if not given:  # a call for dw, and forward alone
            continue
        still_open = [name for name in given if name not in found or not found[name].refuted]
        # In half precision what is right is computed in float64, where no sum is rounded.
        right_operands = in_double(operands) if dtype in HALF else operands
        results = compare_evaluators(
            (evaluator, operands),
            (by, right_operands),
            still_open,
            bounds={},  # on integers nothing may differ
            explain=None if explain is None else explain(operands),
            dtype=narrowest,
            settle=None if contracted is None else partial(contracted.equal, operands),
        )
        evaluator = mine
        for finding in results.values():
            keep_worst(found, finding)
        wrong = [finding for finding in found.values() if finding.refuted]
        # all of it, or something raised: then the rest stays as judged
        if len(wrong) == len(mine.quantities) or any(f.verdict == RAISED for f in wrong):
            break
    return tuple(found[name] for name in QUANTITIES if name in found)


def _backward_first(mine: Evaluator, x: Array, w: Array, b: Array | None, dy: Array) -> Results:
    """Run backward before any forward, unless that raises."""
    gradients = mine.backward(x, w, dy) if mine.backward else ()
    if mine.forward is None or not gradients or any(isinstance(g, Raised) for g in gradients):
        return mine.run(x, w, b, dy)
    return mine.forward(x, w, b), *gradients


def draw_operands(
    rng: np.random.Generator, ties: TieMap, batch: int, ranges: Ranges, dtype: str
) -> Drawn:
    """Return x, w, b and dy of integers within the ranges."""
    x = _draw(rng, ranges.x, (batch, *ties.in_shape), dtype)
    w = _draw(rng, ranges.w, ties.weight_shape, dtype)
    b = _draw(rng, ranges.b, ties.bias_shape, dtype)
    dy = _draw(rng, ranges.dy, (batch, *ties.out_shape), dtype)
    return x, w, b, dy


def _draw(rng: np.random.Generator, largest: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return random integers from -largest to largest; as both parts of complex numbers."""
    if FORMATS[dtype].holder.kind == "c":
        return _draw(rng, largest, (*shape, 2), COMPLEX[dtype]).view(dtype)[..., 0]
    if dtype in INTEGERS:
        return rng.integers(*ends(largest, dtype), shape, dtype, endpoint=True)
    drawn_as = np.int32 if largest < 2**31 else np.int64  # 32 bits are drawn twice as fast
    drawn = rng.integers(-largest, largest, shape, drawn_as, endpoint=True)
    return drawn.astype(FORMATS[dtype].holder)


def _all_units(rng: np.random.Generator, largest: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return every basis vector of a shape, times an integer as in `_basis`: (size, *shape)."""
    size = prod(shape)
    return _basis(rng, largest, size, size, dtype).reshape(size, *shape)


def _basis(rng: np.random.Generator, largest: int, rows: int, size: int, dtype: str) -> Array:
    """Return every basis vector times an integer, then rows of zeros: (rows, size).

    The integers are from 1 to `largest`, every second one negative.
    """
    signs = (-1) ** np.arange(size)
    basis = np.zeros((rows, size), FORMATS[dtype].holder)
    np.fill_diagonal(basis, signs * rng.integers(1, largest, size, endpoint=True))
    return basis
