"""What a certificate of an implementation tries beside its numbers, and on which layer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS
from convdense.certificates.certificate_base import misbehaves
from convdense.certificates.integer_ranges import Ranges, exact_ranges, narrow_ranges
from convdense.certificates.integer_trials import draw_operands
from convdense.certificates.rounding_explainer import Explainer
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.call_contract import Judge, behaviour
from convdense.implementations.evaluators import Evaluator, Operands, direct_evaluator
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import WRONG, Finding

LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it


def try_behaviour(
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
    by = direct_evaluator(layer).limited_to(mine.quantities)
    return behaviour(mine, by, several, dtype, judge_for=judge)


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
