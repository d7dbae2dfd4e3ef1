"""Mistakes of narrow numbers: sums that saturate, wrap around or are rounded another way.

In half precision and in integers a certificate decides; here what it refused is named.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS, HALF, INTEGERS, gamma, unit_roundoff
from convdense.certificates._certify import certify
from convdense.certificates.clock import Clock
from convdense.certificates.integer_ranges import Ranges, ends
from convdense.certificates.integer_trials import draw_operands
from convdense.diagnosis.behaviour import carried_over
from convdense.diagnosis.mistakes.mistake import Call, cells_of, products
from convdense.diagnosis.report import Explanation
from convdense.geometry import Conv, Implementation
from convdense.implementations.evaluators import direct_evaluator, implementation_evaluator
from convdense.rounding.sum_bounds import terms
from convdense.structure._tie import tie
from convdense.verdicts.findings import QUANTITIES

BATCH, DRAWS = 2, 3
LISTED = 100_000  # entries that are written out one by one
ZERO_POINT = 128  # of bytes
# What is made of a call, and of what is right for it in wide numbers: another result.
Change = Callable[[Call, Array], Array]


def narrow_explanations(
    layer: Any,
    implementation: Implementation,
    seed: int,
    clock: Clock,
    **formats: Any,
) -> list[Explanation]:
    """Return what a certificate in some dtype refused, with the mistake where one is known.

    `formats` are dtype and accumulator, as `certify` takes them.
    """
    certificate = certify(layer, implementation, seed=seed, time_limit=clock.left, **formats)
    wrong = {finding.name for finding in certificate.findings if finding.refuted}
    named = _named(layer, implementation, seed, certificate, wrong) if wrong else {}
    return [
        replace(explanation, sentence=named.get(explanation.name, explanation.sentence))
        for explanation in carried_over(certificate)
    ]


def _named(
    layer: Any, implementation: Implementation, seed: int, certificate: Any, wrong: set[str]
) -> dict[str, str]:
    """Return for each wrong quantity the first mistake that gives what came in every draw."""
    dtype, sums = certificate.dtype, certificate.accumulator
    ties, rng = tie(layer), np.random.default_rng((seed, 7))
    calls, returned, right = [], [], []
    for turn in range(DRAWS):
        ranges = certificate.ranges
        if dtype in HALF and turn:  # sums of these are rounded, and exact in float32
            ranges = Ranges(*(2 ** FORMATS["bfloat16"].bits,) * 4)
        operands = draw_operands(rng, ties, BATCH, ranges, dtype)
        returned.append(implementation_evaluator(implementation).run(*map(np.copy, operands)))
        wide = Call(*(operand.astype(_wide(dtype)) for operand in operands))
        calls.append(wide)
        right.append(direct_evaluator(layer).run(*wide))
    named = {}
    for name in wrong & set(QUANTITIES):
        i = QUANTITIES.index(name)
        came = [np.asarray(results[i]) for results in returned]
        meant = [results[i] for results in right]
        if any(got.shape != r.shape for got, r in zip(came, meant, strict=True)):
            continue
        for sentence, change in _changes(layer, name, dtype, sums):
            given = [change(call, r) for call, r in zip(calls, meant, strict=True)]
            is_it = all(map(np.array_equal, came, given))
            if is_it and not all(map(np.array_equal, given, meant)):
                named[name] = sentence
                break
        else:
            named |= _by_bound(layer, name, came, meant, calls)
    return named


def _wide(dtype: str) -> str:
    """Return the dtype in which what is right is computed."""
    return "int64" if dtype in INTEGERS else "float64"


def _changes(layer: Any, name: str, dtype: str, sums: str) -> Iterator[tuple[str, Change]]:
    """Yield mistakes of integers, or of half precision."""
    if dtype in HALF:
        bits = FORMATS[dtype].bits
        sentence = "half is rounded away from zero, not to even"
        yield sentence, lambda _, right: rounded(right, bits, "away")
        yield "it is truncated, rounded towards zero", lambda _, right: rounded(right, bits, "zero")
        return
    for narrow in dict.fromkeys((dtype, "int8", "int16", sums)):
        least, most = np.iinfo(narrow).min, np.iinfo(narrow).max
        yield f"the sums saturate in {narrow}", partial(_clipped, least, most)
        if narrow != sums:
            yield f"the sums wrap around in {narrow}", partial(_wrapped, narrow)
    if tie(layer).n_entries <= LISTED:
        sentence = f"each product wraps around in {dtype}, before it is added"
        yield sentence, partial(_of_wrapped_products, layer, name, dtype)
    other = dtype.removeprefix("u") if dtype.startswith("u") else f"u{dtype}"
    by = direct_evaluator(layer)
    at = QUANTITIES.index(name)
    for operand in ("x", "w", "dy"):
        read = partial(_with_operand, by, at, operand)
        sign = f"{operand} is read as {other}: its sign is another"
        yield sign, partial(read, lambda a: a.astype(other).astype(np.int64))
        for number in (ZERO_POINT, -ZERO_POINT):
            sentence = f"the zero point of {operand} is not subtracted: {number} is added to it"
            yield sentence, partial(read, lambda a, number=number: a + number)
    if isinstance(layer, Conv) and not layer.padding_value:
        for number in (ZERO_POINT, -ZERO_POINT, *ends(2**64, dtype), 1, -1):
            padded = direct_evaluator(replace(layer, padding_value=number))
            sentence = f"the padding holds the constant {number}, not the zero point 0"
            yield sentence, partial(_with_operand, padded, at, "x", lambda a: a)


def _clipped(least: int, most: int, _: Call, right: Array) -> Array:
    return np.asarray(np.clip(right, least, most))


def _wrapped(narrow: str, _: Call, right: Array) -> Array:
    return np.asarray(right.astype(narrow))


def _of_wrapped_products(layer: Any, name: str, dtype: str, call: Call, right: Array) -> Array:
    """Return sums of products that are cut to a dtype each."""
    if name == "db":
        return right
    entries = tie(layer).entries()
    each = products(name, entries, call).astype(dtype).astype(np.int64)
    if name == "dw":
        each = each.sum(axis=0, keepdims=True)
    summed = np.zeros((len(each), right.size // len(each)), np.int64)
    for row, of_sample in zip(summed, each, strict=True):
        np.add.at(row, cells_of(name, entries), of_sample)
    if name != "y":
        return summed.reshape(right.shape)
    bias = np.repeat(call.b.ravel(), summed.shape[1] // call.b.size)
    return np.asarray((summed + bias).reshape(right.shape))


def _with_operand(
    by: Any, at: int, operand: str, change: Callable[[Array], Array], call: Call, _: Array
) -> Array:
    """Return the quantity with another operand."""
    changed = call._replace(**{operand: change(getattr(call, operand))})
    return np.asarray(by.run(*changed)[at])


def rounded(values: Array, bits: int, towards: str) -> Array:
    """Return numbers rounded to so many bits, halves away from zero or all of it towards zero.

    Examples
    --------
    >>> rounded(np.array([5.0, 7.0, -5.0]), bits=2, towards="away")
    array([ 6.,  8., -6.])
    >>> rounded(np.array([5.0, 7.0, -5.0]), bits=2, towards="zero")
    array([ 4.,  6., -4.])
    """
    significand, exponent = np.frexp(np.abs(values))
    scaled = np.ldexp(significand, bits)
    whole = np.floor(scaled + 0.5) if towards == "away" else np.trunc(scaled)
    return np.asarray(np.copysign(np.ldexp(whole, exponent - bits), values))


def _by_bound(
    layer: Any, name: str, came: list[Array], right: list[Array], calls: list[Call]
) -> dict[str, str]:
    """Return in which narrower format the sums may be taken, by the bound of their rounding."""
    counts = terms(layer, BATCH)[name]
    of_magnitudes = direct_evaluator(layer)
    at = QUANTITIES.index(name)
    for narrow in ("float32", "bfloat16", "float16"):
        allowed = gamma(counts + 1, unit_roundoff(narrow))
        fits = []
        for got, expected, call in zip(came, right, calls, strict=True):
            size = of_magnitudes.run(*map(np.abs, call))[at]
            error = np.abs(got.astype(np.float64) - expected)
            fits.append(bool((error <= allowed * np.abs(size)).all()))
        exact = all(map(np.array_equal, came, right))
        if all(fits) and not exact:
            return {name: f"its sums are rounded as in {narrow}"}
    return {}
