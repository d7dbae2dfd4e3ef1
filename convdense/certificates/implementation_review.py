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

# At most so many: on integers of few bits a trial tells little, and more are not worth their time.
NARROW_TRIALS = 32
LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it


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

    tried, tried_on = _try_behaviour(layer, mine, dtype, few_bits=few_bits, seed=seed)
    return Review(findings, (*tried, repeats), measured, narrow_error, tried_on)


def _measurable(findings: tuple[Finding, ...], results: Results, ties: TieMap) -> dict[str, Array]:
    """Return the results on reals whose rounding can be measured: finite floats of the right shape.

    What is wrong on integers is measured too, unless it is wrong in another way than its numbers.
    """
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


def _try_behaviour(
    layer: HasShapes, mine: Evaluator, dtype: str, *, few_bits: bool, seed: int
) -> tuple[tuple[Finding, ...], HasShapes | None]:
    """Return how an implementation behaves, and the small copy on which, None if on the layer.

    A small copy of the layer is tried first: an implementation that takes it needs no large calls.
    """
    copy = small_copy(layer)
    if copy != layer:
        tried = _behaviour_on(copy, mine, dtype, few_bits=few_bits, seed=seed)
        if not misbehaves(tried):
            return tried, copy
    return _behaviour_on(layer, mine, dtype, few_bits=few_bits, seed=seed), None


def _behaviour_on(
    layer: HasShapes, mine: Evaluator, dtype: str, *, few_bits: bool, seed: int
) -> tuple[Finding, ...]:
    """Return what an implementation does with zeros, strides and batches of 0, 1 and 3."""
    batch, ranges = _largest_exact_batch(layer, dtype, few_bits=few_bits)
    rng = np.random.default_rng((seed, 3))  # a stream of its own beside the trials'
    several = draw_operands(rng, tie(layer), batch, ranges, dtype)
    judge = _judge_with(Explainer(layer, dtype))
    return behaviour(mine, direct_evaluator(layer), several, dtype, judge_for=judge)


def _largest_exact_batch(layer: HasShapes, dtype: str, *, few_bits: bool) -> tuple[int, Ranges]:
    """Return a batch of at most three samples, and integers whose sums over it are exact.

    The sums over three samples may be too long where those over one are not. If even those are,
    the integers are -1, 0 and 1.
    """
    for batch in (3, 2, 1):
        try:
            ranges = narrow_ranges(layer, batch) if few_bits else exact_ranges(layer, dtype, batch)
        except ValueError:  # raised by exact_ranges: the sums are too long
            continue
        if ranges is not None:
            return batch, ranges
    return 1, Ranges(1, 1, 1, 1)


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


def _judge_with(explainer: Explainer) -> Callable[[Operands], Judge]:
    """Return a function that makes, of operands, the judge of quantities computed from them.

    The judge compares bit for bit, and where that fails asks whether rounding explains it.
    """
    holder = FORMATS[explainer.dtype].holder

    def judge_on(operands: Operands) -> Judge:
        explain = explainer(operands)

        def judge(name: str, got: Any, expected: Array) -> Finding:
            finding = compare(name, got, expected, dtype=holder)
            if finding.verdict != WRONG or not len(operands[0]):  # no rounding in an empty batch
                return finding
            return explain(finding, got, expected)

        return judge

    return judge_on


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
        window = (k - 1) * d + 1
        # room for three windows, and cells enough for padding that copies them
        least = window + 2 * s + max(padding)
        # behind the last window as many cells are left over as in the layer
        left_over = (n - least) % s
        cells.append(min(n, least + left_over))

    most = 2 * layer.groups
    in_channels = min(layer.in_channels, most)
    out_channels = min(layer.out_channels, most)
    return replace(layer, in_shape=(in_channels, *cells), out_channels=out_channels)
