"""What kind of right or wrong an implementation is: how it rounds, behaves and repeats itself."""

from dataclasses import replace
from functools import partial
from math import ceil, log2
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT
from convdense.certificates.behaviour_trials import judge_with, prepare_layer, try_behaviour
from convdense.certificates.bilinearity import bilinear
from convdense.certificates.effective_roundoff import (
    Measured,
    Precision,
    compare_reals,
    measure_precision,
    reals,
)
from convdense.certificates.integer_ranges import narrow_ranges
from convdense.certificates.integer_trials import Setup, random
from convdense.certificates.rounding_explainer import Explainer, bits_per_trial
from convdense.certificates.sentences import ON_REALS
from convdense.geometry import HasShapes
from convdense.implementations.call_contract import repeatable
from convdense.implementations.evaluators import Evaluator, Results
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import EQUAL, GRADES, QUANTITIES, REPEATABLE, WRONG, Finding

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
    layer: HasShapes,
    findings: tuple[Finding, ...],
    setup: Setup,
    *,
    error: float,
    extra: tuple[str, ...],
) -> Review:
    """Return what else there is to say about an implementation.

    An implementation that rounds to fewer bits than its dtype has, as on TF32 hardware, differs
    on wide integers though it does the right sums. On integers of few bits it is then equal, and
    what is wrong with it is its precision.
    """
    mine, by = evaluators
    dtype, batch, _, seed, clock = setup
    if clock.is_up:
        return Review(findings, (), (), 0.0)
    ties = tie(layer)
    operands = reals(ties, dtype, batch, seed)
    judge = partial(judge_with, Explainer(layer, dtype), operands)
    results, repeats = repeatable(mine, operands, judge)
    on_reals = compare_reals(layer, by, operands, results, dtype=dtype, seed=seed)
    measurable = _measurable(findings, results, on_reals)
    measured = measure_precision(layer, operands, measurable, on_reals, dtype=dtype, seed=seed)

    # wrong on wide integers, and too coarsely rounded on reals
    wrong = {finding.name for finding in findings if finding.verdict == WRONG}
    coarse = {name for name in wrong & set(measured) if measured[name][0].verdict == WRONG}
    narrow = _judge_narrowly(evaluators, coarse, layer, setup, error)
    judged = []
    for finding in findings:
        named = narrow.equal.get(finding.name) or _with_reals(finding, on_reals, measured)
        judged.append(_kind_of_wrong(named, ties, mine, repeats, narrow.setup))
    right = [finding.name for finding in judged if not finding.refuted]
    precise = tuple(measured[name][0] for name in right if name in measured)
    review = Review(tuple(judged), (), precise, narrow.error)
    if len(right) < len(findings):  # whatever else is tried, it would only be wrong again
        return review

    prepare = partial(
        prepare_layer, mine=mine, dtype=dtype, asked=batch, few_bits=bool(narrow.equal), seed=seed
    )
    tried, tried_on = try_behaviour(layer, prepare, batch, extra, clock)
    return review._replace(behaviour=(*tried, repeats), tried_on=tried_on)


def _measurable(
    findings: tuple[Finding, ...], results: Results, on_reals: dict[str, Finding]
) -> dict[str, Array]:
    """Return the results on reals whose rounding can be measured: finite floats of the right shape.

    What is wrong is measured too, unless it is wrong in another way than its numbers.
    """
    named = dict(zip(QUANTITIES, results, strict=True))
    in_numbers = (*GRADES, WRONG)
    measurable = {}
    for name, verdict in ((finding.name, finding.verdict) for finding in findings):
        if verdict in in_numbers and name in on_reals and on_reals[name].verdict in in_numbers:
            array = np.asarray(named[name])
            if np.isfinite(array).all():
                measurable[name] = array
    return measurable


def _with_reals(
    finding: Finding, on_reals: dict[str, Finding], measured: dict[str, Measured]
) -> Finding:
    """Return the finding on integers, or that on reals if it alone is wrong, in few entries.

    If most entries are off there, the sums are taken in too few bits: that is precision.
    """
    other = on_reals.get(finding.name)
    if finding.refuted or other is None or not other.refuted:
        return finding
    _, few_alone = measured.get(finding.name, (None, True))
    if not few_alone:
        return finding
    return replace(other, note="; ".join(filter(None, (ON_REALS, other.note))))


class Narrow(NamedTuple):
    """What is equal on narrow integers, how those were drawn, and the error probability of that.

    Where nothing is, how the wide ones were drawn.
    """

    equal: dict[str, Finding]
    setup: Setup
    error: float = 0.0


def _judge_narrowly(
    evaluators: tuple[Evaluator, Evaluator],
    coarse: set[str],
    layer: HasShapes,
    setup: Setup,
    error: float,
) -> Narrow:
    """Judge coarse quantities on integers so narrow that sums in fewer bits are exact as well."""
    nothing = Narrow({}, setup)
    ranges = narrow_ranges(layer, setup.batch) if coarse and setup.dtype in EXACT else None
    # the smallest of the four ranges tells least
    bits = 0.0 if ranges is None else bits_per_trial(min(ranges))
    if ranges is None or bits == 0:  # trials tell nothing
        return nothing
    # n trials miss a difference with a probability of 2^(-n bits), which is to be at most `error`
    trials = min(NARROW_TRIALS, ceil(-log2(error) / bits))
    setup = setup._replace(ranges=ranges)
    found = random(tie(layer), *evaluators, setup, trials)
    note = f"on integers up to {max(ranges.x, ranges.w)}, sums up to 2^24; larger ones are rounded"
    equal = {
        f.name: replace(f, note=note) for f in found if f.verdict == EQUAL and f.name in coarse
    }
    return Narrow(equal, setup, 2 ** (-bits * trials)) if equal else nothing


def _kind_of_wrong(
    finding: Finding, ties: TieMap, mine: Evaluator, repeats: Finding, setup: Setup
) -> Finding:
    """Return the finding, with "wrong" made precise: not repeatable, or not bilinear."""
    if finding.verdict != WRONG:
        return finding
    # the note's first word is the quantity that came out differently when the call was repeated
    if repeats.verdict == REPEATABLE and repeats.note.startswith(f"{finding.name} "):
        return replace(finding, verdict=REPEATABLE, note=repeats.note)
    try:
        with np.errstate(all="ignore"):  # what is not finite is no evidence
            return bilinear(ties, mine, finding, setup)
    except Exception:  # it takes no zeros, or no batch of one: then it stays wrong
        return finding
