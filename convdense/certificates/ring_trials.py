"""Sums of integers in integer dtypes: exact where they fit, else in the ring modulo 2^m."""

from functools import partial
from math import log2
from typing import Any

import numpy as np

from convdense._util.arguments import complain
from convdense._util.float_formats import FORMATS
from convdense.certificates.behaviour_trials import Trial, try_behaviour
from convdense.certificates.implementation_review import Review
from convdense.certificates.integer_ranges import Ranges, ends, ranges_within
from convdense.certificates.integer_trials import Setup, draw_operands
from convdense.geometry import HasShapes
from convdense.implementations.call_contract import Bench, repeatable
from convdense.implementations.evaluators import Evaluator, Results, direct_evaluator
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import Finding

SAMPLES = 5  # of the largest batch tried beside the one asked for


def ring_ranges(ties: TieMap, dtype: str, accumulator: str, batch: int) -> Ranges:
    """Return the largest integers to draw: all of the dtype, or less, so that no sum wraps around.

    Fractions, of which a ring has none, are refused, and sums too long for the accumulator.
    """
    numbers = [axis.coefficients for axis in ties.axes if axis.coefficients is not None]
    if any(np.asarray(n).dtype.kind == "f" for n in (*numbers, ties.padding_value or 0)):
        needs = f"integers alone in padding and coefficients, with dtype={dtype!r}"
        raise ValueError(complain("layer", "floats", needs, 'use dtype="float64"'))
    largest = max(map(abs, ends(2**64, dtype)))
    if dtype == accumulator:
        return Ranges(largest, largest, largest, largest)
    found = ranges_within(ties, batch, ends(2**64, accumulator)[1], largest=largest)
    if found is None:
        raise ValueError(complain("layer", "long sums", f"some that {accumulator} counts"))
    return found


def bits_of_ring(m: int) -> float:
    """Return -log2 of the probability that a draw modulo 2^m lets a wrong coefficient pass.

    Let the difference D of two quantities be affine in each of x and w, drawn from all of Z/2^m,
    and a coefficient odd: D is 0 with at most ``(m + 2) / 2^(m + 1)``. For D is ``sum_i A_i(w) x_i
    + A_0(w)``, A_i affine in w. If an A_i, i > 0, has an odd coefficient of a w_j, it is uniform:
    divisible by 2^k and no more with ``2^-(k + 1)``, 0 with ``2^-m``; D then is 0 with at most
    ``2^-(m - k)``, over x. Together ``m 2^-(m + 1) + 2^-m``, which ``x w`` attains. If the odd
    coefficient is that of x_i, w_j or b alone, D is uniform: ``2^-m``; an odd constant beside even
    coefficients is never 0. If 2^v and no more divides all, D is 2^v times such a difference modulo
    ``2^(m - v)``: ``(m + 2 - v) / 2^(m + 1 - v)``, and from v = m on nothing is seen. Degree 2 is
    more: modulo 2^64, x^2 is 0 with a probability of 2^-32, and 2^63 x (x - 1) always.

    Examples
    --------
    >>> bits_of_ring(6), round(bits_of_ring(64), 2)
    (4.0, 58.96)
    """
    return m + 1 - log2(m + 2)


def worth(dtype: str, accumulator: str, ranges: Ranges) -> float:
    """Return the bits that one trial is worth: with S values a variable it errs with 2 / S."""
    least, largest = ends(min(ranges), dtype)
    of_integers = log2((largest - least + 1) / 2)
    return bits_of_ring(FORMATS[dtype].bits) if dtype == accumulator else of_integers


def modular_evaluator(layer: HasShapes, accumulator: str) -> Evaluator:
    """Return direct convolution in int64, which wraps around, cut to a dtype: right modulo 2^m."""
    direct = direct_evaluator(layer)

    def run(*operands: Any) -> Results:
        results = direct.run(*(operand.astype(np.int64) for operand in operands))
        return tuple(result.astype(accumulator) for result in results)

    return Evaluator(direct.name, run)


def review_integers(
    layer: HasShapes,
    mine: Evaluator,
    findings: tuple[Finding, ...],
    setup: Setup,
    *,
    accumulator: str,
    extra: tuple[str, ...],
) -> Review:
    """Return the findings, and how an implementation behaves."""
    dtype, batch = setup.dtype, max(SAMPLES, setup.batch)
    rng = np.random.default_rng((setup.seed, 3))  # a stream of its own beside the trials'

    def prepare(of: HasShapes) -> Trial:
        ranges = ring_ranges(tie(of), dtype, accumulator, batch)
        operands = draw_operands(rng, tie(of), batch, ranges, dtype)
        right = modular_evaluator(of, accumulator)
        bench = Bench(mine, right, dtype, lambda _, *what: compare(*what, dtype=accumulator))
        return Trial(bench, operands, {}, FORMATS[dtype], is_large=False)  # {}: none is scaled

    operands = prepare(layer).operands
    _, repeats = repeatable(mine, operands, partial(compare, dtype=accumulator))
    if any(finding.refuted for finding in findings):
        return Review(findings, (repeats,) if repeats.refuted else (), (), 0.0)
    tried, on = try_behaviour(layer, prepare, setup.batch, extra, setup.clock)
    return Review(findings, (*tried, repeats), (), 0.0, on)
