"""Trials in integer dtypes: a user's sums, in the accumulator that is stated, against int64's."""

from functools import partial
from itertools import chain, islice, repeat
from math import ceil, log2
from typing import Any

import numpy as np

from convdense._util.arguments import Array, drawn
from convdense._util.float_formats import FORMATS
from convdense.certificates.behaviour_trials import Trial, small_copy, try_behaviour
from convdense.certificates.layer_certificate import Certificate
from convdense.certificates.ring_arithmetic import Arithmetic, bits_of_draw, ends, ring_ranges
from convdense.geometry import HasShapes, require_cells
from convdense.implementations.call_contract import Bench, repeatable
from convdense.implementations.compare_calls import compare_evaluators
from convdense.implementations.evaluators import Evaluator, Operands, Results, direct_evaluator
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import QUANTITIES, Finding, keep_worst

SAMPLES = 5  # of the largest batch beside the one asked for


def certify_integers(
    layer: HasShapes,
    evaluators: tuple[Evaluator, Evaluator],
    dtypes: Arithmetic,
    *,
    batch: int,
    error: float,
    seed: int | None,
    extra: tuple[str, ...],
) -> Certificate:
    """Decide whether an implementation's sums of integers are right, in the accumulator."""
    require_cells(layer)
    ranges = ring_ranges(tie(layer), dtypes, batch)
    bits = bits_of_draw(dtypes, ranges)
    number = ceil(-log2(error) / bits)
    seed = drawn(seed, 64 + ceil(-log2(error)))
    rng = np.random.default_rng(seed)
    draws = (_drawn(layer, batch, dtypes, rng) for _ in repeat(None))

    mine, reference = evaluators
    first = next(draws)
    results, repeats = repeatable(mine, first)
    given = [
        "y",
        *(n for n, r in zip(QUANTITIES, results, strict=True) if n != "y" and r is not None),
    ]
    found: dict[str, Finding] = {}
    for operands in chain([first], islice(draws, number - 1)):
        calls = (mine, operands), (_modular(layer, dtypes, given), operands)
        for finding in compare_evaluators(*calls, given, {}, dtype=dtypes.accumulator).values():
            keep_worst(found, finding)

    tried, on = ((repeats,) if repeats.refuted else ()), layer
    if not any(finding.refuted for finding in found.values()):
        layers = tuple(dict.fromkeys((small_copy(layer), layer)))
        prepare = partial(_prepare, mine=mine, dtypes=dtypes, given=given, asked=batch, rng=rng)
        tried, on = try_behaviour(layers, prepare, batch, extra)
        tried += (repeats,)
    return Certificate(
        layer,
        tuple(found[name] for name in given),
        mine.name,
        reference.name,
        method="random",
        dtype=dtypes.dtype,
        batch=batch,
        trials=number,
        ranges=ranges,
        error=2 ** (-bits * number),
        asked=error,
        seed=seed,
        behaviour=tried,
        tried_on=None if on == layer else on,
        extra=extra,
        accumulator=dtypes.accumulator,
    )


def _prepare(
    layer: HasShapes,
    *,
    mine: Evaluator,
    dtypes: Arithmetic,
    given: list[str],
    asked: int,
    rng: np.random.Generator,
) -> Trial:
    """Return what is needed to try a layer: several samples; integers are not scaled."""
    operands = _drawn(layer, max(SAMPLES, asked), dtypes, rng)
    judge = partial(compare, dtype=dtypes.accumulator)
    bench = Bench(mine, _modular(layer, dtypes, given), dtypes.dtype, lambda _: judge)
    return Trial(bench, operands, {}, FORMATS["float64"], is_large=False)


def _modular(layer: HasShapes, dtypes: Arithmetic, given: list[str]) -> Evaluator:
    """Return direct convolution in int64, which wraps around, what is given cut to a dtype."""
    direct = direct_evaluator(layer)

    def run(*operands: Any) -> Results:
        results = direct.run(*(operand.astype(np.int64) for operand in operands))
        named = zip(QUANTITIES, results, strict=True)
        return tuple(r.astype(dtypes.accumulator) if name in given else None for name, r in named)

    return Evaluator(direct.name, run)


def _drawn(layer: HasShapes, batch: int, dtypes: Arithmetic, rng: np.random.Generator) -> Operands:
    """Return x, w and dy in the dtype, and b in the accumulator."""
    ties = tie(layer)
    ranges = ring_ranges(ties, dtypes, batch)
    dtype, accumulator = dtypes

    def draw(largest: int, shape: tuple[int, ...], dtype: str = dtype) -> Array:
        return rng.integers(*ends(largest, dtype), shape, dtype, endpoint=True)

    x, w = draw(ranges.x, (batch, *ties.in_shape)), draw(ranges.w, ties.weight_shape)
    b = draw(ranges.b, ties.bias_shape, accumulator)
    return x, w, b, draw(ranges.dy, (batch, *ties.out_shape))
