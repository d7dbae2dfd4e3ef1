"""What a certificate of an implementation tries beside its numbers, and on which layer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS, HALF, Format
from convdense.certificates.certificate_base import misbehaves
from convdense.certificates.clock import Clock
from convdense.certificates.integer_ranges import Ranges, exact_ranges, longest_sums, narrow_ranges
from convdense.certificates.integer_trials import draw_operands
from convdense.certificates.other_shapes import try_shapes
from convdense.certificates.rounding_explainer import Explainer
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.array_views import layouts
from convdense.implementations.call_contract import (
    Bench,
    batches,
    calls,
    in_two_threads,
    on_each,
    samples,
)
from convdense.implementations.evaluators import Drawn, Evaluator, small_evaluator
from convdense.implementations.scaled_calls import magnitudes, powers_of_two
from convdense.implementations.special_values import nonfinite_reach, on_special_values
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import REMARKS, UNDECIDED, WRONG, Finding

LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it
BATCHES = *range(10), 16, 33, 65
COMPILED_BATCHES = 1, 2, 3, 4  # of code that compiles anew for every shape
WORK = 100_000_000  # products in a batch of more than four, at most
SMALL = 3  # the largest integer beside those that are scaled


class Trial(NamedTuple):
    """What is needed to try a layer: operands of a large batch, and of one sample to be scaled."""

    bench: Bench
    operands: Drawn
    scaled: dict[str, Drawn]  # first letters of those to be scaled -> operands
    form: Format
    is_large: bool


def try_behaviour(
    layer: Any,
    prepare: Callable[[Any], Trial],
    asked: int,
    extra: tuple[str, ...],
    clock: Clock,
) -> tuple[tuple[Finding, ...], HasShapes | None]:
    """Return how an implementation behaves, and the small copy on which it was tried, if any.

    An implementation that takes the copy and is right there needs no large calls. `extra` are the
    words of `certify`'s options for what else to try: "near", "nonfinite", "threads" here.
    """
    found: tuple[Finding, ...] = ()
    copy = None
    for tried_on in dict.fromkeys((small_copy(layer), layer)):
        steps = _try_all(prepare(tried_on), asked, extra)
        found = tuple(clock.during(steps, "behaviour"))
        found = tuple(finding for finding in found if finding.verdict != UNDECIDED)
        copy = tried_on if tried_on != layer else None
        if found and not misbehaves(found):
            break
    if "near" in extra and not misbehaves(found):

        def tried(shape: HasShapes) -> Finding:
            trial = prepare(shape)
            return trial.bench.tried("", samples(trial.operands, asked))

        found += tuple(clock.during(try_shapes(layer, tried), "shapes"))
    return found, copy


def _try_all(trial: Trial, asked: int, extra: tuple[str, ...]) -> Iterator[Finding]:
    """Yield all that is tried on one layer; nothing if it refuses every batch.

    Batches are tried first. The rest is tried on three samples, layouts on one as well, or on the
    batch asked for where those are refused. What decides nothing is left out later.
    """
    bench, operands, scaled, form, is_large = trial
    usual = COMPILED_BATCHES if bench.mine.compiles else BATCHES
    sizes = sorted(n for n in {*usual, asked} if n <= len(operands[0]))
    found = batches(bench, operands, sizes)
    holding = {finding.name for finding in found if finding.verdict not in REMARKS}
    taken = [n for n in sizes if n and f"batch {n}" in holding]
    if taken:
        yield from found
    if not taken or misbehaves(tuple(found)):  # the rest would only be wrong again
        return

    several, one = (
        samples(operands, next(n for n in (most, asked, *taken) if n in taken)) for most in (3, 1)
    )
    other = on_each(lambda a: -np.roll(a, 1), several)
    yield from layouts(bench, several, None if is_large else one)
    yield from on_special_values(bench, several, one, few=is_large)
    for letters, (x, w, b, dy) in scaled.items():
        if letters == "d" and bench.mine.backward is None:
            continue
        again = x.repeat(len(one[0]), 0), w, b, dy.repeat(len(one[0]), 0)
        yield from magnitudes(bench, letters, again, form, few=is_large)
    yield from calls(bench, several, other)
    if "threads" in extra:
        yield in_two_threads(bench, several, other)
    if "nonfinite" in extra:
        yield from nonfinite_reach(bench, one)


def prepare_layer(
    layer: HasShapes, mine: Evaluator, dtype: str, asked: int, *, few_bits: bool, seed: int
) -> Trial:
    """Return what is needed to try a layer with weights: integers whose sums are exact.

    The sums over many samples may be too long where those over few are not. If even those of one
    are, the integers are -1, 0 and 1. Sums in few bits are those of float32 at most.
    """
    ties = tie(layer)
    rng = np.random.default_rng((seed, 3))  # a stream of its own beside the trials'
    form = FORMATS["float32"] if few_bits else FORMATS[dtype]
    batch, ranges = _largest_exact_batch(layer, dtype, asked, few_bits=few_bits)
    operands = draw_operands(rng, ties, batch, ranges, dtype)

    terms = max(longest_sums(ties, batch=1).values())
    widest = max(2**form.bits / (SMALL * terms), 2)
    scaled = {}
    for letters in ("xb", "wb", "d")[bool(ties.padding) :]:  # padding that is a number stays
        small = draw_operands(rng, ties, 1, Ranges(SMALL, SMALL, SMALL, SMALL), dtype)
        scaled[letters] = powers_of_two(small, letters, widest, rng)
    bench = Bench(mine, small_evaluator(layer), dtype, partial(judge_with, Explainer(layer, dtype)))
    return Trial(bench, operands, scaled, form, ties.n_entries >= LARGE)


def _largest_exact_batch(
    layer: HasShapes, dtype: str, asked: int, *, few_bits: bool
) -> tuple[int, Ranges]:
    """Return as many samples as are tried, and integers whose sums over them are exact."""
    entries = tie(layer).n_entries
    sizes = {n for n in BATCHES if 0 < n <= 4 or 0 < n * entries <= WORK} | {asked}
    for batch in sorted(sizes, reverse=True):
        try:
            ranges = narrow_ranges(layer, batch) if few_bits else exact_ranges(layer, dtype, batch)
        except ValueError:  # raised by exact_ranges: the sums are too long
            continue
        if ranges is None:
            continue
        if dtype in HALF:  # values all alike make the longest sums: these do not overflow either
            longest = max(longest_sums(tie(layer), batch).values())
            most = max(1, isqrt(int(FORMATS[dtype].largest / 4) // longest))
            ranges = Ranges(*(min(largest, most) for largest in ranges))
        return batch, ranges
    return 1, Ranges(1, 1, 1, 1)


def judge_with(
    explainer: Explainer, operands: Drawn, name: str, got: Any, expected: Array
) -> Finding:
    """Compare bit for bit, and where that fails ask whether rounding explains it."""
    finding = compare(name, got, expected, dtype=FORMATS[explainer.dtype].holder)
    if finding.verdict != WRONG or not len(operands[0]):  # no rounding in an empty batch
        return finding
    return explainer(operands)(finding, got, expected)


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
