"""Magnitudes: operands times powers of two, which scale what is linear in them bit for bit.

In any order of summation f(2^k x, w, 2^k b) = 2^k f(x, w, b) as long as nothing overflows or
underflows: a flush, a limit or an epsilon shows without a tolerance.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil, log2
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import Format
from convdense.implementations.call_contract import LETTERS, Bench, copied, worst
from convdense.implementations.evaluators import Operands, Results
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, REPORTED, Finding

# What no scaling shows, in the words of a certificate.
INVISIBLE = "thresholds relative to the largest entry move with it: scaling does not show them"
MARGIN = 8  # bits left free at both ends: a fast algorithm adds and halves before it multiplies
LINEAR_IN = {"y": "xw", "dx": "wd", "dw": "xd", "db": "d"}  # first letters of the operands


class Scaling(NamedTuple):
    """Integers, some of them (by first letter) to be scaled; no sum of sizes exceeds `largest`."""

    letters: str
    operands: Operands
    largest: float

    def with_batch(self, batch: int) -> "Scaling":
        """Return the same sample so many times."""
        x, w, b, dy = self.operands
        return self._replace(operands=(x.repeat(batch, 0), w, b, dy.repeat(batch, 0)))

    def sizes(self) -> tuple[float, float]:
        """Return the log2 of the smallest and of the largest of those to be scaled, x, w or dy."""
        scaled = self.operands["xwbd".index(self.letters[0])]
        bits = np.log2(np.abs(scaled[scaled != 0]))
        return float(bits.min()), float(bits.max())


def powers_of_two(like: Array, widest: int, rng: np.random.Generator) -> Array:
    """Return powers of two of both signs, from 1 to at most `widest`, both among them."""
    powers = rng.integers(0, int(log2(widest)), like.shape, endpoint=True)
    powers.flat[:1], powers.flat[-1:] = 0, int(log2(widest))
    return np.ldexp(rng.choice([-1.0, 1.0], like.shape), powers).astype(like.dtype)


class Span(NamedTuple):
    """The powers k to try, and whether results are exact, so that they must scale bit for bit."""

    ks: tuple[int, ...]
    step: int
    exact: bool
    results: Results


def magnitudes(
    bench: Bench, scalings: Sequence[Scaling], form: Format, most: int
) -> Iterator[Finding]:
    """Yield whether results scale over the normal numbers, at most so many steps, and below them.

    A step is the factor between the smallest and the largest number scaled, so that any absolute
    threshold has numbers on both sides in one of the calls. What rounds on integers already is held
    to be as right as unscaled, and farther from both ends. Subnormal numbers are reported: to
    flush them to zero is common.
    """
    spans = [_span(bench, scaling, form, most) for scaling in scalings]
    if not spans or not all(span.ks for span in spans):  # no room between the ends
        return
    each = list(zip(scalings, spans, strict=True))
    low = max(span.ks[0] + ceil(scaling.sizes()[0]) for scaling, span in each)
    high = min(span.ks[-1] + int(scaling.sizes()[1]) for scaling, span in each)
    step = max(span.step for span in spans)
    name = f"magnitudes 2^{low} to 2^{high} in steps of 2^{step}"
    found = [_scaled(bench, name, *one, k) for one in each for k in one[1].ks]
    yield max(found, key=lambda finding: finding.grade)

    if all(span.exact for span in spans):
        least = round(log2(form.smallest_subnormal))
        found = [_scaled(bench, "subnormals", *one, least) for one in each]
        below = max(found, key=lambda finding: finding.grade)
        yield replace(below, verdict=REPORTED) if below.refuted else below


def _span(bench: Bench, scaling: Scaling, form: Format, most: int) -> Span:
    """Return the powers of two between underflow and overflow, as close as the sizes ask for."""
    results = bench.run(copied(scaling.operands))
    judged = _pairs(results, bench.right(scaling.operands))
    exact = all(compare(*one).verdict == EQUAL for one in judged)
    down, up = (MARGIN, MARGIN) if exact else (2 * form.bits, form.bits)
    first = round(log2(form.smallest_subnormal)) + form.bits - 1 + down
    last = round(log2(form.largest)) - ceil(log2(scaling.largest)) - up
    smallest, largest = scaling.sizes()
    step = max(1, int(largest - smallest), ceil((last - first) / most))
    ks = (*range(first, last, step), last) if first <= last else ()
    return Span(ks, step, exact, results)


def _scaled(bench: Bench, name: str, scaling: Scaling, span: Span, k: int) -> Finding:
    """Return the worst finding on what is given with these letters times 2^k."""
    letters = scaling.letters
    x, w, b, dy = (
        np.ldexp(a, k) if letter[0] in letters else a.copy()
        for letter, a in zip(LETTERS, scaling.operands, strict=True)
    )
    got = bench.run((x, w, b, dy))
    powers = [k * any(n in letters for n in LINEAR_IN[quantity]) for quantity in QUANTITIES]
    what = f"{letters} times 2^{k}"
    if span.exact:
        expected = map(_times, span.results, powers)
        return worst(name, [compare(*one) for one in _pairs(got, tuple(expected))], what)
    unscaled = tuple(_times(result, -power) for result, power in zip(got, powers, strict=True))
    return bench.judged(name, unscaled, scaling.operands, what)


def _pairs(got: Results, right: Results) -> list[tuple[str, Any, Array]]:
    """Return each quantity, what came and what is right, of those that there are."""
    each = zip(QUANTITIES, got, right, strict=True)
    return [(n, a, b) for n, a, b in each if b is not None and not (n == "db" and a is None)]


def _times(result: Any, power: int) -> Any:
    """Return a result times 2^power; what is no array of numbers stays."""
    with suppress(TypeError, ValueError):
        return np.ldexp(result, power)
    return result
