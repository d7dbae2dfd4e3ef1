"""What kind of right or wrong an implementation is: how it rounds, how it behaves, whether it repeats."""

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
from convdense.geometry import Conv, ConvTranspose
from convdense.implementations.call_contract import behaviour, repeatable
from convdense.implementations.evaluators import Evaluator, Operands, direct_evaluator
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, REPEATABLE, WRONG, Finding

NARROW_TRIALS = (
    32  # on integers of few bits each is worth little; more would cost more than they tell
)
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
    tried_on: Any = None


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
    (mine, by), dtype = evaluators, explainer.dtype
    ties = tie(explainer.layer)
    operands = reals(ties, dtype, seed)
    results, repeats = repeatable(mine, operands)
    named = {f.name: (f, results[QUANTITIES.index(f.name)]) for f in findings}
    usable = {name: value for name, (f, value) in named.items() if _sum_like(f, value, ties, name)}
    precise = precision(explainer.layer, operands, usable, dtype, seed)
    coarse = {p.name for p in precise if p.verdict == WRONG and named[p.name][0].verdict == WRONG}
    odds, narrow = 0.0, narrow_ranges(explainer.layer, batch) if coarse and dtype in EXACT else None
    if narrow is not None and bits_per_trial(min(narrow)) > 0:
        bits = bits_per_trial(min(narrow))
        trials = min(NARROW_TRIALS, ceil(-log2(error) / bits))
        how: dict[str, Any] = {"batch": batch, "trials": trials, "ranges": narrow, "seed": seed}
        equal = {
            f.name for f in random(ties, mine, by, dtype, **how) if f.verdict == EQUAL
        } & coarse
        note = f"on integers up to {max(narrow[:2])}, sums up to 2^24; larger ones are rounded"
        findings = tuple(
            Finding(f.name, EQUAL, note=note) if f.name in equal else f for f in findings
        )
        odds, ranges = (2 ** (-bits * trials), narrow) if equal else (0.0, ranges)
    findings = tuple(_kind(f, ties, mine, repeats, (dtype, ranges, seed)) for f in findings)
    right = {f.name for f in findings if not f.refuted}
    precise = tuple(p for p in precise if p.name in right)
    if len(right) < len(findings):  # whatever else is tried, it would only be wrong again
        return Review(findings, (), precise, odds)
    for layer in dict.fromkeys(
        (small_copy(explainer.layer), explainer.layer)
    ):  # a copy first, if it takes one
        tried = _tried(layer, mine, dtype, narrow=odds > 0, seed=seed)
        if not misbehaves(tried):
            break
    return Review(
        findings, (*tried, repeats), precise, odds, None if layer == explainer.layer else layer
    )


def _tried(
    layer: Any, mine: Evaluator, dtype: str, *, narrow: bool, seed: int
) -> tuple[Finding, ...]:
    """Return what an implementation does with zeros, strides and batches of 0, 1 and 3, on the layer or a copy."""
    for batch in (3, 2, 1):  # the sums of three may be too long where those of one are not
        try:
            ranges = narrow_ranges(layer, batch) if narrow else exact_ranges(layer, dtype, batch)
        except ValueError:
            continue
        if ranges is not None:
            break
    several = draw_operands(
        np.random.default_rng((seed, 3)), tie(layer), batch, ranges or Ranges(1, 1, 1, 1), dtype
    )
    return behaviour(
        mine, direct_evaluator(layer), several, dtype, judge=_judge(Explainer(layer, dtype))
    )


def _sum_like(finding: Finding, value: Any, ties: Any, name: str) -> bool:
    """Tell whether a result on reals can be measured: right, or merely wrong in its numbers."""
    batch = (1,) if name in ("y", "dx") else ()
    shapes = {
        "y": ties.out_shape,
        "dx": ties.in_shape,
        "dw": ties.weight_shape,
        "db": ties.bias_shape,
    }
    if finding.refuted and finding.verdict != WRONG:
        return False
    array = np.asarray(value)
    return (
        array.shape == (*batch, *shapes[name])
        and array.dtype.kind == "f"
        and bool(np.isfinite(array).all())
    )


def _kind(
    finding: Finding, ties: Any, mine: Evaluator, repeats: Finding, run: tuple[str, Ranges, int]
) -> Finding:
    """Return the finding; one that is wrong may be wrong because it differs from call to call, or is not bilinear."""
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


def _judge(explainer: Explainer) -> Any:
    """Return what judges a quantity on given operands: equal, or as rounding explains it."""
    holder = FORMATS[explainer.dtype].holder

    def on(operands: Operands) -> Any:
        said = explainer(operands)

        def judge(name: str, got: Any, expected: Array) -> Finding:
            finding = compare(name, got, expected, dtype=holder)
            return (
                said(finding, got, expected)
                if finding.verdict == WRONG and len(operands[0])
                else finding
            )

        return judge

    return on


def small_copy(layer: Any) -> Any:
    """Return a layer of the same numbers with fewer channels and cells, or the layer itself if it
    is not large.

    Examples
    --------
    >>> small_copy(Conv((64, 56, 56), out_channels=256, kernel=3, stride=2, padding=1, groups=2))
    Conv((4, 8, 8), out_channels=4, kernel=3, stride=2, padding=1, groups=2)
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or tie(layer).n_entries < LARGE:
        return layer
    g = layer.groups
    channels = min(layer.in_channels, 2 * g)
    cells = []
    numbers = zip(
        layer.in_spatial, layer.kernel, layer.stride, layer.dilation, layer.padding, strict=True
    )
    for n, k, s, d, padding in numbers:
        least = (
            (k - 1) * d + 1 + 2 * s + max(padding)
        )  # three windows, and padding that copies cells has enough
        cells.append(min(n, least + (n - least) % s))  # the same cells left over
    return replace(layer, in_shape=(channels, *cells), out_channels=min(layer.out_channels, 2 * g))
