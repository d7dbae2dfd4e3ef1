"""Right sums that are rounded: to whole numbers or multiples, or as a narrower format has them."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import gamma, rounded_to, unit_roundoff
from convdense.certificates.effective_roundoff import reals
from convdense.diagnosis.mistakes.mistake import Call
from convdense.direct import pool_loops
from convdense.geometry import Implementation, Pool
from convdense.implementations.evaluators import (
    caught,
    direct_evaluator,
    implementation_evaluator,
    pool_functions,
)
from convdense.rounding.sum_bounds import terms
from convdense.structure._tie import tie
from convdense.verdicts.findings import QUANTITIES

BATCH = 2
NONE = np.zeros(0)  # the weights of a pool
LARGEST = 9  # of the integers whose sums are looked at
STEPS = tuple(2**k for k in range(9))  # multiples of which sums may be rounded to
FORMATS = "float16", "bfloat16", "float32"


def half_away(values: Array) -> Array:
    """Return whole numbers, halves away from zero.

    Examples
    --------
    >>> half_away(np.array([0.5, -1.5, 2.4]))
    array([ 1., -2.,  2.])
    """
    return np.asarray(np.copysign(np.floor(np.abs(values) + 0.5), values))


_MODES: dict[str, Callable[[Array], Array]] = {
    "half to even": np.rint,
    "half away from zero": half_away,
    "half up": lambda values: np.floor(values + 0.5),
    "down, by floor": np.floor,
    "towards zero, truncated": np.trunc,
}


def rounded_to_multiples(layer: Any, implementation: Implementation, seed: int) -> dict[str, str]:
    """Return for each quantity how it is rounded to multiples of a number, where it is."""
    draws = [_results(layer, implementation, _small(layer, (seed, 8, k))) for k in range(2)]
    found: dict[str, str] = {}
    for name in draws[0][0]:
        pairs = [(np.asarray(got[name]), right[name]) for got, right in draws]
        if any(got.shape != right.shape or got.dtype.kind != "f" for got, right in pairs):
            continue
        if all(np.array_equal(got, right) for got, right in pairs):
            continue
        for step in STEPS:
            for words, mode in _MODES.items():
                if all(np.array_equal(got, step * mode(right / step)) for got, right in pairs):
                    to = "whole numbers, integers" if step == 1 else f"multiples of {step}"
                    found.setdefault(name, f"it is rounded to {to}, {words}")
    return found


def rounded_as(layer: Any, implementation: Implementation, seed: int) -> dict[str, str]:
    """Return for each quantity in which narrower format it is summed, where that is so.

    On reals below 1 all that came are numbers of that format, within the bound of its rounding.
    """
    if isinstance(layer, Pool):
        return _pool_rounded_as(layer, implementation, seed)
    call = Call(*reals(tie(layer), "float64", BATCH, seed))
    got, right = _results(layer, implementation, call)
    sizes = direct_evaluator(layer).run(*map(np.abs, call))
    counts = terms(layer, BATCH)
    found: dict[str, str] = {}
    for name, expected in right.items():
        result = np.asarray(got[name])
        if result.shape != expected.shape or result.dtype != expected.dtype:
            continue
        error = np.abs(result - expected)
        for narrow in FORMATS:
            bound = gamma(counts[name] + 2, unit_roundoff(narrow)) * sizes[QUANTITIES.index(name)]
            is_narrow = np.array_equal(rounded_to(result, narrow), result)
            if is_narrow and error.any() and (error <= bound).all():
                found.setdefault(name, f"its sums are rounded as in {narrow}")
    return found


def _pool_rounded_as(pool: Pool, implementation: Implementation, seed: int) -> dict[str, str]:
    """Return of a pool the same where all that came are numbers of the narrower format."""
    rng = np.random.default_rng((seed, 9))
    x, dy = (rng.uniform(-1, 1, (BATCH, *s)) for s in (pool.in_shape, pool.out_shape))
    got, right = _results(pool, implementation, Call(x, NONE, NONE, dy))
    found: dict[str, str] = {}
    for name, expected in right.items():
        result = np.asarray(got[name])
        if result.shape != expected.shape or result.dtype != expected.dtype:
            continue
        for narrow in ("float16", "float32"):
            rounded = result.astype(narrow)
            near = np.abs(result - expected) <= prod(pool.in_shape) * unit_roundoff(narrow)
            if (rounded == result).all() and near.all() and (result != expected).any():
                found.setdefault(name, f"it is rounded as in {narrow}")
    return found


def _small(layer: Any, seed: tuple[int, ...]) -> Call:
    """Return small integers of all residues, none a multiple of anything on purpose."""
    rng = np.random.default_rng(seed)
    shapes = [(BATCH, *layer.in_shape), (0,), (0,), (BATCH, *layer.out_shape)]
    if not isinstance(layer, Pool):
        shapes[1:3] = layer.weight_shape, layer.bias_shape
    x, w, b, dy = (rng.integers(-LARGEST, LARGEST + 1, shape).astype(float) for shape in shapes)
    return Call(x, w, b, dy)


def _results(
    layer: Any, implementation: Implementation, call: Call
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what came and what is right, by the names of the quantities."""
    if isinstance(layer, Pool):
        forward, backward, *_ = pool_functions(implementation)
        got = {"y": caught(forward, call.x.copy())}
        right = {"y": pool_loops.forward(layer, call.x)}
        if backward is not None:
            got["dx"] = caught(backward, call.x.copy(), call.dy.copy())
            right["dx"] = pool_loops.backward(layer, call.x, call.dy)
        return got, right
    mine = implementation_evaluator(implementation)
    came = mine.run(*map(np.copy, call))
    by = direct_evaluator(layer).run(*call)
    named = {n: (a, b) for n, a, b in zip(QUANTITIES, came, by, strict=True) if a is not None}
    return {n: a for n, (a, _) in named.items()}, {n: b for n, (_, b) in named.items()}
