"""Magnitudes: operands times powers of two, which scale what is linear in them bit for bit.

In any order of summation f(2^k x, w, 2^k b) = 2^k f(x, w, b) as long as nothing overflows or
underflows: a flush, a limit or an epsilon shows without a tolerance.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from math import log2
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import Format, by_parts
from convdense.implementations.call_contract import (
    LETTERS,
    Bench,
    aliased,
    copied,
    kept,
    there_are,
    worst,
)
from convdense.implementations.evaluators import Drawn
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, REPORTED, Finding, worst_of

MARGIN = 8  # bits left free at both ends: a fast algorithm adds and halves before it multiplies
LINEAR_IN = {"y": "xw", "dx": "wd", "dw": "xd", "db": "d"}  # first letters of the operands


def magnitudes(
    bench: Bench, letters: str, operands: Drawn, form: Format, *, few: bool
) -> Iterator[Finding]:
    """Yield whether results scale with the operands of these first letters, and below the normal.

    What is done below or above an absolute threshold, but not scaled, shows in an outermost call.
    What is done between two shows where a number lies between them: those of one call span a step,
    and calls follow each other by a step near 1, by four times as many further out (if not `few`).

    Sums of sizes stay within `form.bits`. What rounds on integers already is held to be as right as
    unscaled, and farther from both ends. To flush subnormal numbers is common, so it is reported.
    Nothing is yielded where what is right does not scale: of a bias that stays, say.
    """
    results = kept(bench.run(copied(operands)))
    pairs = there_are(results, bench.right(operands))
    exact = all(compare(*pair).verdict == EQUAL for pair in pairs)
    sizes = np.abs(operands["xwbd".index(letters[0])])
    low, high = (round(log2(size)) for size in (sizes[sizes > 0].min(), sizes.max()))
    least, most = round(log2(form.smallest_subnormal)), round(log2(form.largest))
    first = least + form.bits - 1 + (MARGIN if exact else 2 * form.bits)
    last = most - form.bits - (MARGIN if exact else form.bits)
    if first > last:
        return
    right = bench.right(operands)
    for k in (first, last):
        due = map(_times, right, _powers(letters, k))
        if not all(map(_same, bench.right(_scaled(operands, letters, k)), due)):
            return
    step = high - low + 1
    away = [0] if few else [0, *(step * 4**n for n in range(6))]
    ks = {first, last, *(k for n in away for k in (n, -n) if first < k < last)}

    def scaled(name: str, k: int) -> Finding:
        given = _scaled(operands, letters, k)
        before = copied(given)
        got = bench.run(given)
        if wrong := aliased(name, before, given, got):
            return wrong
        powers = _powers(letters, k)
        if exact:
            expected = tuple(map(_times, results, powers))
            found = [compare(*pair) for pair in there_are(got, expected)]
            return worst(name, found, f"times 2^{k}")
        unscaled = tuple(_times(result, -n) for result, n in zip(got, powers, strict=True))
        return bench.judged(name, unscaled, operands, f"times 2^{k}")

    of = " and ".join(letter for letter in LETTERS if letter[0] in letters)
    name = f"{of} of 2^{first + low} to 2^{last + high}"
    found = worst_of(scaled(name, k) for k in sorted(ks))
    note = (
        f"{len(ks)} steps" if few else f"steps of 2^{step} near 1, four times as many further out"
    )
    yield replace(found, note=found.note or note)
    if exact:
        below = scaled(f"subnormal {of}", least - low)
        flushed = "what is that small comes out otherwise, flushed to zero for example"
        yield replace(below, verdict=REPORTED, note=flushed) if below.refuted else below


def powers_of_two(
    operands: Drawn, letters: str, widest: float, rng: np.random.Generator, unit: int = 1
) -> Drawn:
    """Return operands with powers of two, from 1 to at most `widest` units, at these letters."""

    def powers(like: Array) -> Array:
        drawn = rng.integers(0, int(log2(widest)), like.shape, endpoint=True)
        drawn.flat[:1], drawn.flat[-1:] = 0, int(log2(widest))
        values: Array = unit * np.ldexp(rng.choice([-1.0, 1.0], like.shape), drawn)
        return values.astype(like.dtype)

    x, w, b, dy = (powers(a) if n in letters else a for n, a in zip("xwbd", operands, strict=True))
    return x, w, b, dy


def _scaled(operands: Drawn, letters: str, k: int) -> Drawn:
    """Return copies, those of these first letters times 2^k."""
    x, w, b, dy = (
        _times(a, k) if letter[0] in letters else a.copy()
        for letter, a in zip(LETTERS, operands, strict=True)
    )
    return x, w, b, dy


def _powers(letters: str, k: int) -> list[int]:
    """Return the powers of two by which y, dx, dw and db change then."""
    return [k * any(n in letters for n in LINEAR_IN[name]) for name in QUANTITIES]


def _same(a: Any, b: Any) -> bool:
    return a is None or np.array_equal(a, b)


def _times(result: Any, power: int) -> Any:
    """Return a result times 2^power; what is no array of numbers stays."""
    with suppress(TypeError, ValueError), np.errstate(all="ignore"):  # of wrong results
        return by_parts(lambda a: np.ldexp(a, power), np.asarray(result))
    return result
