"""What kind of right or wrong an implementation is: how it rounds, behaves and repeats itself."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil, log2
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import EXACT, FORMATS
from convdense.certificates.bilinearity import bilinear
from convdense.certificates.certificate_base import misbehaves
from convdense.certificates.effective_roundoff import Precision, precision, reals
from convdense.certificates.integer_ranges import Ranges, exact_ranges, narrow_ranges
from convdense.certificates.integer_trials import draw_operands, random
from convdense.certificates.rounding_explainer import Explainer, bits_per_trial
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.call_contract import Judge, behaviour, repeatable
from convdense.implementations.evaluators import Evaluator, Operands, Results, direct_evaluator
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, REPEATABLE, WRONG, Finding

# on integers of few bits each trial is worth little; more would cost more than they tell
NARROW_TRIALS = 32
LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it


class Review(NamedTuple):
    """The findings, some of them named more precisely, and what was found beside them.

    `error` is the error probability of what is equal on narrow integers alone, 0 where nothing is;
    `tried_on` the small copy on which behaviour was tried, None where it was the layer itself.
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
) -> Review:
    """Return what else there is to say about an implementation.

    What differs on wide integers and rounds on reals as a narrower format does may be right in
    structure: then it is equal on integers of few bits, and its precision is what is wrong.
    """
    mine, _ = evaluators
    layer, dtype = explainer.layer, explainer.dtype
    ties = tie(layer)
    operands = reals(ties, dtype, seed)
    results, repeats = repeatable(mine, operands)
    measured = precision(layer, operands, _measurable(findings, results, ties), dtype, seed)

    odds = 0.0
    coarse = _wrong_in_both(findings, measured)
    narrow = narrow_ranges(layer, batch) if coarse and dtype in EXACT else None
    if narrow is not None:
        findings, odds = _judge_narrowly(
            ties, evaluators, findings, coarse, ranges=narrow, run=(dtype, batch, error, seed)
        )
        if odds > 0:
            ranges = narrow

    findings = tuple(
        _kind_of_wrong(finding, ties, mine, repeats, (dtype, ranges, seed)) for finding in findings
    )
    right = {finding.name for finding in findings if not finding.refuted}
    measured = tuple(p for p in measured if p.name in right)
    if len(right) < len(findings):  # whatever else is tried, it would only be wrong again
        return Review(findings, (), measured, odds)

    tried, tried_on = _behaviour(layer, mine, dtype, narrow=odds > 0, seed=seed)
    return Review(findings, (*tried, repeats), measured, odds, tried_on)


def _measurable(findings: tuple[Finding, ...], results: Results, ties: TieMap) -> dict[str, Array]:
    """Return the results on reals that can be measured: right, or merely wrong in their numbers."""
    named = dict(zip(QUANTITIES, results, strict=True))
    shapes = {
        "y": (1, *ties.out_shape),
        "dx": (1, *ties.in_shape),
        "dw": ties.weight_shape,
        "db": ties.bias_shape,
    }
    measurable = {}
    for finding in findings:
        if finding.refuted and finding.verdict != WRONG:
            continue
        array = np.asarray(named[finding.name])
        fits = array.shape == shapes[finding.name] and array.dtype.kind == "f"
        if fits and np.isfinite(array).all():
            measurable[finding.name] = array
    return measurable


def _wrong_in_both(findings: tuple[Finding, ...], measured: tuple[Precision, ...]) -> set[str]:
    """Return the quantities that are wrong on wide integers and coarse on reals."""
    wrong = {finding.name for finding in findings if finding.verdict == WRONG}
    return wrong & {precise.name for precise in measured if precise.verdict == WRONG}


def _judge_narrowly(
    ties: TieMap,
    evaluators: tuple[Evaluator, Evaluator],
    findings: tuple[Finding, ...],
    coarse: set[str],
    *,
    ranges: Ranges,
    run: tuple[str, int, float, int],
) -> tuple[tuple[Finding, ...], float]:
    """Judge coarse quantities on integers so narrow that sums in fewer bits are exact as well.

    Returns the findings, those that are equal there replaced, and the error probability of that; 0
    where nothing is.
    """
    dtype, batch, error, seed = run
    bits = bits_per_trial(min(ranges))
    if bits == 0:  # trials tell nothing
        return findings, 0.0
    trials = min(NARROW_TRIALS, ceil(-log2(error) / bits))
    found = random(ties, *evaluators, dtype, batch=batch, trials=trials, ranges=ranges, seed=seed)
    note = f"on integers up to {max(ranges.x, ranges.w)}, sums up to 2^24; larger ones are rounded"
    equal = {
        f.name: replace(f, note=note) for f in found if f.verdict == EQUAL and f.name in coarse
    }
    if not equal:
        return findings, 0.0
    return tuple(equal.get(f.name, f) for f in findings), 2 ** (-bits * trials)


def _behaviour(
    layer: HasShapes, mine: Evaluator, dtype: str, *, narrow: bool, seed: int
) -> tuple[tuple[Finding, ...], HasShapes | None]:
    """Try a small copy of the layer first: an implementation that takes it needs no large calls.

    Returned with the copy, or None where it was the layer itself.
    """
    copy = small_copy(layer)
    if copy != layer:
        tried = _tried(copy, mine, dtype, narrow=narrow, seed=seed)
        if not misbehaves(tried):
            return tried, copy
    return _tried(layer, mine, dtype, narrow=narrow, seed=seed), None


def _tried(
    layer: HasShapes, mine: Evaluator, dtype: str, *, narrow: bool, seed: int
) -> tuple[Finding, ...]:
    """Return what an implementation does with zeros, strides and batches of 0, 1 and 3."""
    ranges = None
    for batch in (3, 2, 1):  # the sums of three may be too long where those of one are not
        try:
            ranges = narrow_ranges(layer, batch) if narrow else exact_ranges(layer, dtype, batch)
        except ValueError:
            continue
        if ranges is not None:
            break
    if ranges is None:
        ranges = Ranges(1, 1, 1, 1)
    rng = np.random.default_rng((seed, 3))
    several = draw_operands(rng, tie(layer), batch, ranges, dtype)
    judge = _judge_with(Explainer(layer, dtype))
    return behaviour(mine, direct_evaluator(layer), several, dtype, judge_for=judge)


def _kind_of_wrong(
    finding: Finding, ties: TieMap, mine: Evaluator, repeats: Finding, run: tuple[str, Ranges, int]
) -> Finding:
    """Return the finding; what is wrong may differ from call to call, or not be bilinear."""
    if finding.verdict != WRONG:
        return finding
    if repeats.verdict == REPEATABLE and repeats.note.startswith(f"{finding.name} "):
        return replace(finding, verdict=REPEATABLE, note=repeats.note)
    dtype, ranges, seed = run
    try:
        with np.errstate(all="ignore"):  # what is not finite is no evidence
            return bilinear(ties, mine, finding, dtype, ranges=ranges, seed=seed)
    except Exception:  # it takes no zeros, or no batch of one: then it stays wrong
        return finding


def _judge_with(explainer: Explainer) -> Callable[[Operands], Judge]:
    """Return what judges a quantity on given operands: equal, or as rounding explains it."""
    holder = FORMATS[explainer.dtype].holder

    def on(operands: Operands) -> Judge:
        explain = explainer(operands)

        def judge(name: str, got: Any, expected: Array) -> Finding:
            finding = compare(name, got, expected, dtype=holder)
            if finding.verdict != WRONG or not len(operands[0]):  # no rounding in an empty batch
                return finding
            return explain(finding, got, expected)

        return judge

    return on


def small_copy(layer: HasShapes) -> HasShapes:
    """Return a layer of the same numbers with fewer channels and cells, if it is large.

    Examples
    --------
    >>> small_copy(Conv((64, 56, 56), out_channels=256, kernel=3, stride=2, padding=1, groups=2))
    Conv((4, 8, 8), out_channels=4, kernel=3, stride=2, padding=1, groups=2)
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or tie(layer).n_entries < LARGE:
        return layer
    cells = []
    numbers = zip(
        layer.in_spatial, layer.kernel, layer.stride, layer.dilation, layer.padding, strict=True
    )
    for n, k, s, d, padding in numbers:
        # three windows, and padding that copies cells has enough of them
        least = (k - 1) * d + 1 + 2 * s + max(padding)
        left_over = (n - least) % s  # the same cells as before
        cells.append(min(n, least + left_over))

    most = 2 * layer.groups
    in_channels = min(layer.in_channels, most)
    out_channels = min(layer.out_channels, most)
    return replace(layer, in_shape=(in_channels, *cells), out_channels=out_channels)
