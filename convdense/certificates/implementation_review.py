"""What kind of right or wrong an implementation is: how it rounds, behaves and repeats itself."""

from dataclasses import replace
from functools import partial
from math import ceil, log2
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT
from convdense.certificates.behaviour_trials import prepare_layer, small_copy, try_behaviour
from convdense.certificates.bilinearity import bilinear
from convdense.certificates.effective_roundoff import Precision, precision, reals
from convdense.certificates.integer_ranges import Ranges, narrow_ranges
from convdense.certificates.integer_trials import random
from convdense.certificates.rounding_explainer import Explainer, bits_per_trial
from convdense.geometry import HasShapes
from convdense.implementations.call_contract import repeatable
from convdense.implementations.evaluators import Evaluator, Results
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import EQUAL, QUANTITIES, REPEATABLE, WRONG, Finding

# At most so many: on integers of few bits a trial tells little, and more are not worth their time.
NARROW_TRIALS = 32


class Review(NamedTuple):
    """The findings, some of them named more precisely, and what was found beside them.

    `error` is the error probability of what is equal on narrow integers but not on wide ones, 0
    where nothing is. `tried_on` is the small copy on which behaviour was tried, None where it was
    the layer itself.
    """

    findings: tuple[Finding, ...]
    behaviour: tuple[Finding, ...]
    precision: tuple[Precision, ...]
    error: float
    tried_on: HasShapes | None = None


def review_implementation(
    evaluators: tuple[Evaluator, Evaluator],
    explainer: Explainer,
    findings: tuple[Finding, ...],
    *,
    ranges: Ranges,
    batch: int,
    error: float,
    seed: int,
    extra: tuple[str, ...],
) -> Review:
    """Return what else there is to say about an implementation.

    An implementation that rounds to fewer bits than its dtype has, as on TF32 hardware, differs
    on wide integers though it does the right sums. On integers of few bits it is then equal, and
    what is wrong with it is its precision.
    """
    mine, _reference = evaluators
    layer, dtype = explainer.layer, explainer.dtype
    ties = tie(layer)
    operands = reals(ties, dtype, seed)
    results, repeats = repeatable(mine, operands)
    if isinstance(results[0], Raised):  # it may take the batch asked for alone
        operands = reals(ties, dtype, seed, batch)
        results, repeats = repeatable(mine, operands)
    measurable = _measurable(findings, results, ties)
    measured = precision(layer, operands, measurable, dtype, seed)

    coarse = _wrong_and_imprecise(findings, measured)
    narrow = None
    if coarse and dtype in EXACT:
        narrow = narrow_ranges(layer, batch)
    narrow_error = 0.0  # stays 0 unless something is equal on narrow integers
    if narrow is not None:
        findings, narrow_error = _judge_narrowly(
            ties,
            evaluators,
            findings,
            coarse,
            ranges=narrow,
            dtype=dtype,
            batch=batch,
            error=error,
            seed=seed,
        )
    few_bits = narrow_error > 0
    if narrow is not None and few_bits:
        ranges = narrow

    findings = tuple(
        _kind_of_wrong(finding, ties, mine, repeats, dtype=dtype, ranges=ranges, seed=seed)
        for finding in findings
    )
    right = {finding.name for finding in findings if not finding.refuted}
    measured = tuple(p for p in measured if p.name in right)
    if len(right) < len(findings):  # whatever else is tried, it would only be wrong again
        return Review(findings, (), measured, narrow_error)

    prepare = partial(
        prepare_layer, mine=mine, dtype=dtype, asked=batch, few_bits=few_bits, seed=seed
    )
    layers = tuple(dict.fromkeys((small_copy(layer), layer)))
    tried, on = try_behaviour(layers, prepare, batch, extra)
    tried_on = None if on == layer else on
    return Review(findings, (*tried, repeats), measured, narrow_error, tried_on)


def _measurable(findings: tuple[Finding, ...], results: Results, ties: TieMap) -> dict[str, Array]:
    """Return the results on reals whose rounding can be measured: finite floats of the right shape.

    What is wrong on integers is measured too, unless it is wrong in another way than its numbers.
    """
    named = dict(zip(QUANTITIES, results, strict=True))
    samples = getattr(results[0], "shape", (1,))[:1]
    shapes = {
        "y": (*samples, *ties.out_shape),
        "dx": (*samples, *ties.in_shape),
        "dw": ties.weight_shape,
        "db": ties.bias_shape,
    }
    measurable = {}
    for finding in findings:
        if finding.refuted and finding.verdict != WRONG:
            continue
        array = np.asarray(named[finding.name])
        fits = array.shape == shapes[finding.name] and array.dtype.kind in "fc"
        if fits and np.isfinite(array).all():
            measurable[finding.name] = array
    return measurable


def _wrong_and_imprecise(
    findings: tuple[Finding, ...], measured: tuple[Precision, ...]
) -> set[str]:
    """Return the quantities that are wrong on wide integers and too coarsely rounded on reals."""
    wrong = {finding.name for finding in findings if finding.verdict == WRONG}
    return wrong & {precise.name for precise in measured if precise.verdict == WRONG}


def _judge_narrowly(
    ties: TieMap,
    evaluators: tuple[Evaluator, Evaluator],
    findings: tuple[Finding, ...],
    coarse: set[str],
    *,
    ranges: Ranges,
    dtype: str,
    batch: int,
    error: float,
    seed: int,
) -> tuple[tuple[Finding, ...], float]:
    """Judge coarse quantities on integers so narrow that sums in fewer bits are exact as well.

    Returns the findings, those that are equal there replaced, and the error probability of that; 0
    where nothing is.
    """
    bits = bits_per_trial(min(ranges))  # the smallest of the four ranges tells least
    if bits == 0:  # trials tell nothing
        return findings, 0.0
    # n trials miss a difference with a probability of 2^(-n bits), which is to be at most `error`
    trials = min(NARROW_TRIALS, ceil(-log2(error) / bits))
    found = random(ties, *evaluators, dtype, batch=batch, trials=trials, ranges=ranges, seed=seed)
    note = f"on integers up to {max(ranges.x, ranges.w)}, sums up to 2^24; larger ones are rounded"
    equal = {
        f.name: replace(f, note=note) for f in found if f.verdict == EQUAL and f.name in coarse
    }
    if not equal:
        return findings, 0.0
    return tuple(equal.get(f.name, f) for f in findings), 2 ** (-bits * trials)


def _kind_of_wrong(
    finding: Finding,
    ties: TieMap,
    mine: Evaluator,
    repeats: Finding,
    *,
    dtype: str,
    ranges: Ranges,
    seed: int,
) -> Finding:
    """Return the finding, with "wrong" made precise: not repeatable, or not bilinear."""
    if finding.verdict != WRONG:
        return finding
    # the note's first word is the quantity that came out differently when the call was repeated
    if repeats.verdict == REPEATABLE and repeats.note.startswith(f"{finding.name} "):
        return replace(finding, verdict=REPEATABLE, note=repeats.note)
    try:
        with np.errstate(all="ignore"):  # what is not finite is no evidence
            return bilinear(ties, mine, finding, dtype, ranges=ranges, seed=seed)
    except Exception:  # it takes no zeros, or no batch of one: then it stays wrong
        return finding
