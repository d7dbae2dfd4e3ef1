"""Trials in integer dtypes: a user's sums, in the accumulator that is stated, against int64's."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from math import ceil, log2
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, drawn
from convdense.certificates.behaviour_trials import small_copy
from convdense.certificates.certificate_base import misbehaves
from convdense.certificates.layer_certificate import Certificate
from convdense.certificates.ring_arithmetic import bits_of_draw, ends, ring_ranges
from convdense.geometry import HasShapes, require_cells
from convdense.implementations.call_contract import behaviour, copied, repeatable, worst
from convdense.implementations.compare_calls import compare_evaluators
from convdense.implementations.evaluators import Evaluator, Operands, Results, direct_evaluator
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import QUANTITIES, RAISED, Finding, keep_worst

SAMPLES = 3  # on which behaviour is tried
Pick = Callable[[int, int, tuple[int, ...], str], Array]  # least, largest, shape, dtype


class Dtypes(NamedTuple):
    """The dtype of x, w and dy, and that of b and of all sums."""

    dtype: str
    accumulator: str


def certify_integers(
    layer: HasShapes,
    evaluators: tuple[Evaluator, Evaluator],
    dtypes: Dtypes,
    *,
    batch: int,
    error: float,
    seed: int | None,
) -> Certificate:
    """Decide whether an implementation's sums of integers are right, in the accumulator.

    A gradient that is None is not judged, nor are those of a backward that raises
    NotImplementedError: autodiff knows no integers.
    """
    require_cells(layer)
    ranges = ring_ranges(tie(layer), *dtypes, batch)
    bits = bits_of_draw(*dtypes, ranges)
    number = ceil(-log2(error) / bits)
    seed = drawn(seed, 64 + ceil(-log2(error)))
    rng = np.random.default_rng(seed)

    mine = _with_gradients(evaluators[0])
    draws = _drawn(layer, batch, dtypes, partial(rng.integers, endpoint=True))
    first = next(draws)
    results, repeats = repeatable(mine, first)
    absent = {n for n, r in zip(QUANTITIES[1:], results[1:], strict=True) if r is None}
    right = _modular(layer, dtypes.accumulator, absent)
    found: dict[str, Finding] = {}
    for operands in chain([first], islice(draws, number - 1)):
        given = [name for name in QUANTITIES if name not in absent]
        calls = (mine, operands), (right, operands)
        for finding in compare_evaluators(*calls, given, {}, dtype=dtypes.accumulator).values():
            keep_worst(found, finding)
        if any(finding.verdict == RAISED for finding in found.values()):
            break

    tried: tuple[Finding, ...] = (repeats,) if repeats.refuted else ()
    tried_on = None
    if not any(finding.refuted for finding in found.values()):
        extremes = _extremes(layer, (mine, right), dtypes, rng)
        contract, tried_on = _contract(layer, mine, absent, dtypes, rng)
        tried = (*contract, *extremes, repeats)
    return Certificate(
        layer,
        tuple(found[name] for name in QUANTITIES if name in found),
        evaluators[0].name,
        evaluators[1].name,
        method="random",
        dtype=dtypes.dtype,
        batch=batch,
        trials=number,
        ranges=ranges,
        error=2 ** (-bits * number),
        asked=error,
        seed=seed,
        behaviour=tried,
        tried_on=tried_on,
        accumulator=dtypes.accumulator,
    )


def _modular(layer: HasShapes, accumulator: str, absent: set[str]) -> Evaluator:
    """Return direct convolution in int64, which wraps around, its results cut to a dtype.

    What is absent from the user's results is None here as well.
    """
    direct = direct_evaluator(layer)

    def run(*operands: Any) -> Results:
        results = direct.run(*(operand.astype(np.int64) for operand in operands))
        cut = [result.astype(accumulator) for result in results]
        return tuple(
            None if name in absent else result for name, result in zip(QUANTITIES, cut, strict=True)
        )

    return Evaluator(direct.name, run)


def _with_gradients(mine: Evaluator) -> Evaluator:
    """Return an evaluator whose gradients are None where the user's code has none of integers."""

    def run(*operands: Any) -> Results:
        y, *gradients = mine.run(*operands)
        errors = [getattr(gradient, "error", None) for gradient in gradients]
        pairs = zip(gradients, errors, strict=True)
        return y, *(None if isinstance(e, NotImplementedError) else g for g, e in pairs)

    return Evaluator(mine.name, run)


def _drawn(layer: HasShapes, batch: int, dtypes: Dtypes, pick: Pick) -> Iterator[Operands]:
    """Yield x, w, b and dy, picked within the ranges, again and again."""
    ties = tie(layer)
    ranges = ring_ranges(ties, *dtypes, batch)
    dtype, accumulator = dtypes

    def picked(largest: int, shape: tuple[int, ...], dtype: str) -> Array:
        return np.asarray(pick(*ends(largest, dtype), shape, dtype))

    while True:
        x = picked(ranges.x, (batch, *ties.in_shape), dtype)
        w = picked(ranges.w, ties.weight_shape, dtype)
        b = picked(ranges.b, ties.bias_shape, accumulator)
        dy = picked(ranges.dy, (batch, *ties.out_shape), dtype)
        yield x, w, b, dy


def _extremes(
    layer: HasShapes,
    evaluators: tuple[Evaluator, Evaluator],
    dtypes: Dtypes,
    rng: np.random.Generator,
) -> Iterator[Finding]:
    """Yield what becomes of the longest sums, which show an accumulator that saturates."""

    def lowest(least: int, _: int, shape: tuple[int, ...], dtype: str) -> Array:
        return np.full(shape, least, dtype)

    def either(least: int, largest: int, shape: tuple[int, ...], dtype: str) -> Array:
        return np.where(rng.random(shape) < 0.5, least, largest).astype(dtype)

    mine, right = evaluators
    judge = partial(compare, dtype=dtypes.accumulator)
    picks: dict[str, Pick] = {"least integers": lowest, "least and largest integers": either}
    for name, pick in picks.items():
        operands = next(_drawn(layer, 1, dtypes, pick))
        yield worst(name, mine.run(*copied(operands)), right.run(*operands), judge)


def _contract(
    layer: HasShapes, mine: Evaluator, absent: set[str], dtypes: Dtypes, rng: np.random.Generator
) -> tuple[tuple[Finding, ...], HasShapes | None]:
    """Return how an implementation behaves, and the small copy on which, None if on the layer."""

    def tried(of: HasShapes) -> tuple[Finding, ...]:
        several = next(_drawn(of, SAMPLES, dtypes, partial(rng.integers, endpoint=True)))
        right = _modular(of, dtypes.accumulator, absent)
        judge = partial(compare, dtype=dtypes.accumulator)
        return behaviour(mine, right, several, dtypes.dtype, judge_for=lambda _: judge)

    copy = small_copy(layer)
    found = tried(copy)
    if copy == layer or not misbehaves(found):
        return found, None if copy == layer else copy
    return tried(layer), None
