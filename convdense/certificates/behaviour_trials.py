"""What a certificate of an implementation tries beside its numbers, and on which layer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS, Format
from convdense.certificates.certificate_base import Extra, misbehaves
from convdense.certificates.integer_ranges import (
    Ranges,
    exact_ranges,
    longest_sums,
    narrow_ranges,
)
from convdense.certificates.integer_trials import draw_operands
from convdense.certificates.other_shapes import try_shapes
from convdense.certificates.rounding_explainer import Explainer
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.array_views import layouts
from convdense.implementations.call_contract import (
    Bench,
    Judge,
    batches,
    calls,
    in_two_threads,
    samples,
)
from convdense.implementations.evaluators import (
    Evaluator,
    Operands,
    direct_evaluator,
    magnitude_evaluator,
)
from convdense.implementations.nonfinite_reach import nonfinite_reach
from convdense.implementations.scaled_calls import Scaling, magnitudes, powers_of_two
from convdense.implementations.special_values import special_values
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import REMARKS, WRONG, Finding

LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it
BATCHES = 0, 1, 2, 3, 4, 5, 8, 16, 33
COMPILED_BATCHES = 1, 2, 3, 4  # of code that compiles anew for every shape
WORK = 100_000_000  # products in a batch of more than four, at most
SMALL = 3  # the largest integer beside those that are scaled


def try_behaviour(
    layer: HasShapes,
    mine: Evaluator,
    dtype: str,
    *,
    batch: int,
    extra: Extra,
    few_bits: bool,
    seed: int,
) -> tuple[tuple[Finding, ...], HasShapes | None]:
    """Return how an implementation behaves, and the small copy on which, None if on the layer.

    A small copy of the layer is tried first: an implementation that takes it needs no large calls.
    """
    copy = small_copy(layer)
    tried: tuple[Finding, ...] = ()
    for on in dict.fromkeys((copy, layer)):
        rng = np.random.default_rng((seed, 3))  # a stream of its own beside the trials'
        bench = _bench(on, mine, dtype)
        operands = _draw(on, rng, dtype, batch, few_bits=few_bits)
        # sums in few bits are those of float32 at most
        form = FORMATS["float32"] if few_bits else FORMATS[dtype]
        scalings = _scalings(on, rng, form, dtype)
        is_large = tie(on).n_entries >= LARGE
        tried = try_all(
            bench, operands, scalings, form, asked=batch, extra=extra, is_large=is_large
        )
        if tried and not misbehaves(tried):
            break

    if extra.shapes is not None and not misbehaves(tried):

        def judged(name: str, shape: HasShapes) -> Finding:
            given = _draw(shape, rng, dtype, batch, few_bits=few_bits)
            return _bench(shape, mine, dtype).tried(name, samples(given, batch))

        tried += tuple(try_shapes(layer, judged))
    return tried, None if on == layer else copy


def _bench(layer: HasShapes, mine: Evaluator, dtype: str) -> Bench:
    return Bench(mine, direct_evaluator(layer), dtype, _judge_with(Explainer(layer, dtype)))


def try_all(
    bench: Bench,
    operands: Operands,
    scalings: list[Scaling],
    form: Format,
    *,
    asked: int,
    extra: Extra,
    is_large: bool,
) -> tuple[Finding, ...]:
    """Return all that is tried on the samples of one large batch; nothing if each is refused.

    Batches are tried first. The rest is tried on three samples, layouts on one as well, or on the
    batch asked for where those are refused.
    """
    usual = COMPILED_BATCHES if bench.mine.compiles else BATCHES
    sizes = sorted(n for n in {*usual, asked} if n <= len(operands[0]))
    found = batches(bench, operands, sizes)
    holding = {finding.name for finding in found if finding.verdict not in REMARKS}
    taken = [n for n in sizes if n and f"batch {n}" in holding]
    if not taken or misbehaves(tuple(found)):  # the rest would only be wrong again
        return tuple(found) if taken else ()

    several = samples(operands, next(n for n in (3, asked, *taken) if n in taken))
    one = samples(operands, next(n for n in (1, asked, *taken) if n in taken))
    other = tuple(-np.roll(operand, 1) for operand in several)
    found += layouts(bench, (several,) if is_large else (one, several))
    found += special_values(bench, several, few=is_large)
    scaled = [s.with_batch(len(one[0])) for s in scalings]
    found += magnitudes(bench, scaled, form, most=2 if is_large else 100)
    found += calls(bench, several, other)
    if extra.threads:
        found.append(in_two_threads(bench, several, other))
    if extra.nonfinite:
        found += nonfinite_reach(bench, one)
    return tuple(found)


def _draw(
    layer: HasShapes, rng: np.random.Generator, dtype: str, asked: int, *, few_bits: bool
) -> Operands:
    """Return a batch of as many samples as are tried, of integers whose sums over it are exact.

    The sums over many samples may be too long where those over few are not. If even those of one
    are, the integers are -1, 0 and 1.
    """
    entries = tie(layer).n_entries
    sizes = {n for n in BATCHES if 0 < n <= 4 or 0 < n * entries <= WORK} | {asked}
    for batch in sorted(sizes, reverse=True):
        try:
            ranges = narrow_ranges(layer, batch) if few_bits else exact_ranges(layer, dtype, batch)
        except ValueError:  # raised by exact_ranges: the sums are too long
            continue
        if ranges is not None:
            return draw_operands(rng, tie(layer), batch, ranges, dtype)
    return draw_operands(rng, tie(layer), 1, Ranges(1, 1, 1, 1), dtype)


def _scalings(
    layer: HasShapes, rng: np.random.Generator, form: Format, dtype: str
) -> list[Scaling]:
    """Return one sample with wide powers of two in x, in w and in dy, small integers beside them.

    A number in the padding is scaled with no x.
    """
    ties = tie(layer)
    terms = max(longest_sums(ties, batch=1).values())
    widest = max(2**form.bits // (SMALL * terms), 2)
    scalings = []
    for letters in ("wb", "d") if ties.padding else ("xb", "wb", "d"):
        x, w, b, dy = draw_operands(rng, ties, 1, Ranges(SMALL, SMALL, SMALL, SMALL), dtype)
        x, w, b, dy = (
            powers_of_two(a, widest, rng) if letter in letters else a
            for letter, a in zip("xwbd", (x, w, b, dy), strict=True)
        )
        sizes = magnitude_evaluator(layer).run(*map(np.abs, (x, w, b, dy)))
        largest = max(float(np.abs(a).max(initial=1)) for a in (*sizes, x, w, b, dy))
        scalings.append(Scaling(letters, (x, w, b, dy), largest))
    return scalings


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
