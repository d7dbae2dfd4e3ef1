"""Every sentence of a certificate is forged here: where it would be false, it is absent."""

import json
import re
from dataclasses import replace
from functools import cache
from html import unescape
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense._util.float_formats import rounded_to
from convdense.certificates import Certificate, NetworkCertificate, _certify
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.implementation_review import Review
from convdense.certificates.sentences import SENTENCES
from convdense.direct import pool as direct_pool
from convdense.verdicts import findings as words
from convdense.verdicts.findings import LONGEST_SENTENCE, Finding

CONV = cd.Conv((2, 6, 5), 3, kernel=3)
TINY = cd.Conv((1, 3, 3), 1, kernel=2)
LARGE = cd.Conv((8, 40, 40), 9, kernel=3, padding=1)
POOL = cd.MaxPool((2, 5, 6), kernel=2)
SUMS = cd.SumPool((1, 4, 4), kernel=2)
MANY = cd.Conv((16, 48, 48), 16, kernel=3, padding=1)  # channels to contract
THIRDS = cd.TiedDense(cd.Linear(1, 1), np.array([[1 / 3]]), np.zeros(1))


def same(*arrays):
    return arrays


class Mine:
    """A right implementation of any shape, with steps to be changed."""

    def __init__(self, layer, before=same, y=lambda y: y, gradients=same):
        self.layer, self.before, self.y, self.gradients = layer, before, y, gradients

    def at(self, x, w):
        return replace(self.layer, in_shape=x.shape[1:], out_channels=len(w), kernel=w.shape[2:])

    def forward(self, x, w, b):
        layer = self.at(x, w)
        x, w, b = self.before(x, w, b)
        return self.y(cd.convolve(layer, x, w, b))

    def backward(self, x, w, dy):
        layer = self.at(x, w)
        x, w, dy = self.before(x, w, dy)
        return self.gradients(*cd.convolve_backward(layer, x, w, dy))


class FixedShape(Mine):
    def at(self, x, w):
        return self.layer


class Interpreted(Mine):
    """It says that an interpreter runs it."""

    interpreted = True


class Twice(Mine):
    """It has derivatives of dx and dw as well."""

    def double_backward(self, x, w, dy, v, u):
        of_dx = cd.convolve_backward(self.layer, v, w, dy).dw, cd.convolve(self.layer, v, w)
        of_dw = cd.convolve_backward(self.layer, x, u, dy).dx, cd.convolve(self.layer, x, u)
        return [*of_dx, *of_dw]


def forward_alone_changed(layer, change):
    """Return an implementation whose forward alone sees other operands."""
    return (Mine(layer, before=change).forward, Mine(layer).backward)


def by_thirds(layer):
    def forward(x, w, b):
        return cd.convolve(layer, x / 3, w, b / 3) * 3

    return forward, Mine(layer).backward


def half(layer, change=same, dtype="float16"):
    """Return an implementation that sums in float64 and rounds the results to half precision."""

    def wide(*arrays):
        return change(*(np.asarray(a, np.float64) for a in arrays))

    def backward(x, w, dy):
        gradients = cd.convolve_backward(layer, *(np.asarray(a, np.float64) for a in (x, w, dy)))
        return tuple(rounded_to(g, dtype) for g in gradients)

    return (lambda x, w, b: rounded_to(cd.convolve(layer, *wide(x, w, b)), dtype)), backward


def first_weight(factor):
    def change(x, w, last):
        w = w.copy()
        w.flat[0] *= factor
        return x, w, last

    return change


def no_negative_strides(*arrays):
    if any(stride < 0 for a in arrays for stride in a.strides):
        raise ValueError("some strides are negative\nand more")
    return arrays


def truncated(y):
    y = y.copy()
    y[..., -1, -1] = np.trunc(y[..., -1, -1])
    return y


def raises(*arrays):
    raise RuntimeError("not today")


def pool_functions(pool, y=lambda y: y):
    return (
        lambda x: y(direct_pool.forward(pool, x)),
        lambda x, dy: direct_pool.backward(pool, x, dy),
    )


def in_float32(*arrays):
    return tuple(a.astype(np.float32).astype(np.float64) for a in arrays)


def on_integers(dtype):
    """Return forward alone, on integers, with sums in this dtype."""
    return lambda x, w, b: cd.convolve(CONV, *(a.astype(dtype) for a in (x, w, b)))


def in_ring():
    return certified(CONV, on_integers("int64"), dtype="int64")


def in_int32():
    return certified(CONV, on_integers("int32"), dtype="int8")


def certified(layer, implementation=None, **options):
    return str(cd.certify(layer, implementation, **{"seed": 0, **options}))


@cache
def texts(key):
    """Return what is printed where a sentence is true, and where it would be false."""
    true, false, *_ = FORGED[key]
    return true(), false()


@cache
def right(layer):
    """Return what is printed of a right implementation."""
    return certified(layer, Mine(layer))


def refusal():
    pool = cd.SumPool((1, 20, 20), kernel=20)
    with pytest.raises(ValueError, match="sums") as error:
        certified(pool, pool_functions(pool), dtype="bfloat16")
    return str(error.value)


EVERYTHING = {"shapes": "near", "nonfinite": True, "threads": True}
OLD = cd.certify(TINY, Mine(TINY), seed=0)
OLD = replace(OLD, rules=2, precision=tuple(replace(p, entries=0) for p in OLD.precision))
# key -> (where it stands, where it would be false, what stands there in its place); and, where the
# template says too little, what must stand in the one and not in the other
FORGED = {
    "proof": (
        lambda: right(TINY),
        lambda: certified(TINY, Mine(TINY, y=lambda y: np.maximum(y, 0))),
        "does not hold: y not bilinear at",
    ),
    "near proof": (
        lambda: certified(TINY, by_thirds(TINY)),
        lambda: right(TINY),
        "every pair of basis vectors tried: a proof if bilinear",
    ),
    "any": (
        lambda: right(CONV),
        lambda: certified(CONV, forward_alone_changed(CONV, first_weight(0))),
        "does not hold: y wrong at",
    ),
    "edge": (
        lambda: certified(CONV, by_thirds(CONV)),
        lambda: certified(
            cd.Conv((64, 6, 6), 2, 3),
            half(cd.Conv((64, 6, 6), 2, 3), first_weight(0)),
            dtype="float16",
        ),
        "undecided: y undecided",
    ),
    "pieces": (
        lambda: certified(POOL, pool_functions(POOL)),
        lambda: certified(POOL, pool_functions(POOL, y=lambda y: -y)),
        "does not hold: y wrong at",
    ),
    "trials": (
        lambda: right(CONV),
        lambda: certified(CONV, Mine(CONV, before=raises)),
        "until it raised or all was wrong",
    ),
    "pairs": (
        lambda: right(TINY),
        lambda: certified(TINY, Mine(TINY, before=raises)),
        "until it raised or all was wrong",
    ),
    "stopped": (
        lambda: certified(TINY, Mine(TINY, before=raises)),
        lambda: right(TINY),
        "compared: every pair of basis vectors",
    ),
    "exact sums": (
        lambda: certified(SUMS, pool_functions(SUMS)),
        refusal,
        "needs at most 8, up to where bfloat16 counts exactly",
    ),
    "equal": (
        lambda: right(CONV),
        lambda: certified(CONV, by_thirds(CONV)),
        r"passes with probability at most 2\^-10",
    ),
    "excused": (
        lambda: certified(CONV, by_thirds(CONV)),
        lambda: right(CONV),
        r"\na relative error below 2\^-\d+ in one product can pass",
    ),
    "excused pairs": (
        lambda: certified(TINY, by_thirds(TINY)),
        lambda: right(TINY),
        r"\na relative error below 2\^-\d+ in one product can pass",
    ),
    "signs": (
        lambda: certified(POOL),
        lambda: certified(SUMS),
        "integers of 7 bits of 53",
    ),
    "cells": (
        lambda: certified(POOL, pool_functions(POOL)),
        lambda: certified(SUMS, pool_functions(SUMS)),
        "of 53: every sum exact",
    ),
    "reals": (
        lambda: right(TINY),
        lambda: certified(TINY, Mine(TINY, y=truncated)),
        r"(?s)y   wrong, worst at \(.*; on random reals",
        r"compared: random reals, all entries, .* of y,",
    ),
    "unit": (
        lambda: right(CONV),
        lambda: certified(CONV, Mine(CONV, before=in_float32)),
        r"roundoff: y 2\^-2\d.\d, wrong: its dtype explains at most 2\^-4\d.*, as in float32",
        r"effective unit roundoff: y 2\^-5\d.\d, ",
    ),
    "right": (
        lambda: right(CONV),
        lambda: certified(CONV, Mine(CONV, before=no_negative_strides)),
        r"\nrefused: negative strides \(.*ValueError: some strides are negative\)\n",
        r"right as well: .*negative strides",
    ),
    "copy": (
        lambda: certified(LARGE, Mine(LARGE)),
        lambda: certified(LARGE, FixedShape(LARGE)),
        "right as well: .*repeatable",
    ),
    "refused": (
        lambda: certified(CONV, Mine(CONV, before=no_negative_strides)),
        lambda: right(CONV),
        "right as well: .*negative strides",
    ),
    "reported": (
        lambda: certified(CONV, Mine(CONV), nonfinite=True),
        lambda: right(CONV),
        "not tried: other shapes, NaN and infinity, threads, double backward",
    ),
    "untried": (
        lambda: right(CONV),
        lambda: certified(CONV, Twice(CONV), gradgrad=True, **EVERYTHING),
        "reported: ",
    ),
    "numbers": (
        lambda: certified(CONV, Mine(CONV, y=lambda y: -y)),
        lambda: right(CONV),
        "right as well: ",
    ),
    "bilinear": (
        lambda: right(TINY),
        lambda: certified(TINY, Mine(TINY, y=np.abs)),
        "y   not bilinear",
    ),
    "contracted": (
        lambda: right(MANY),
        lambda: right(CONV),
        "random trials on integers in float64, batch 2; seed 0\na relative error",
    ),
    "real sums": (
        lambda: right(MANY),
        lambda: certified(MANY, Mine(MANY, y=truncated)),
        "each with its own bound: .* of dx, .* of dw",
        "over the channels, .*: .* of dx, .* of dw",
    ),
    "stopped in time": (
        lambda: certified(CONV, Mine(CONV), time_limit=1e-9),
        lambda: certified(CONV, Mine(CONV), time_limit=1e9),
        "not tried: other shapes, NaN and infinity, threads, double backward\n",
    ),
    "degree": (
        lambda: right(CONV),
        lambda: certified(CONV, Mine(CONV, y=lambda y: y * np.abs(y))),
        "y   not bilinear",
    ),
    "interpreted": (
        lambda: certified(TINY, Interpreted(TINY)),
        lambda: right(TINY),
        "effective unit roundoff",
    ),
    "unseen": (
        lambda: right(CONV),
        lambda: certified(CONV),
        "tied dense layer against direct convolution",
    ),
    "odd": (in_ring, lambda: right(CONV), "a wrong one passes"),
    "ring": (in_ring, in_int32, r"\non int8 up to 128, sums within int32\n"),
    "even": (in_ring, in_int32, r"\non int8 up to 128, sums within int32\n"),
    "integers": (in_int32, in_ring, r"\non all of int64, sums modulo 2\^64\n"),
    "affine": (in_ring, in_int32, "polynomials of degree at most 2"),
    "integer code": (in_int32, lambda: right(CONV), "in float64"),
    "alone": (in_ring, lambda: right(CONV), "  dx  equal"),
    "bilinear y": (
        lambda: certified(TINY, Mine(TINY).forward),
        lambda: certified(TINY, Mine(TINY, y=np.abs).forward),
        "y   not bilinear",
    ),
    "functions": (
        lambda: certified(cd.ReLU((3,)), lambda x: np.maximum(x, 0)),
        lambda: certified(cd.ReLU((3,)), lambda x: -x),
        "until it raised or all was wrong",
    ),
    "rounded sums": (
        lambda: certified(THIRDS, lambda x: x / 3),
        lambda: certified(cd.ReLU((3,)), lambda x: np.maximum(x, 0)),
        "every sum exact in any order",
    ),
    "rules": (
        lambda: str(OLD.rerun(Mine(TINY))),
        lambda: right(TINY),
        "compared: random reals, all entries",
    ),
}


def pattern(key):
    """Return a template as a regular expression, its gaps open."""
    parts = re.split(r"\{[^}]*\}", SENTENCES[key])
    return ".*?".join(re.escape(part) for part in parts)


def test_every_sentence_is_forged():
    assert set(FORGED) == set(SENTENCES)


@pytest.mark.parametrize("key", FORGED)
def test_a_sentence_stands_where_it_is_true_and_nowhere_else(key):
    _, _, instead, *more = FORGED[key]
    true, forged = texts(key)
    said = more[0] if more else pattern(key)
    if key in ("equal", "excused pairs"):  # each is also the end of the other
        said = rf"\n{said}\n"
    assert re.search(said, true)
    assert not re.search(said, forged), forged
    assert re.search(instead, forged), forged


@pytest.mark.parametrize("key", FORGED)
def test_nothing_is_printed_that_is_no_sentence_of_the_table(key):
    """A line is the verdict, the layer, a finding, what was wrong beside the numbers, or listed."""
    for text in texts(key)[: 1 if key == "exact sums" else 2]:
        first, layer, *lines = text.splitlines()
        assert re.match("(holds(, with restrictions)?|does not hold|undecided): ", first)
        assert re.search(" against ", layer)
        rest = [line for line in lines if not re.match(r"  (y|dx|dw|db) ", line)]
        known = [pattern(name) for name in SENTENCES]
        for line in rest:
            if not any(re.fullmatch(sentence, line) for sentence in known):
                assert re.search("wrong|changed|undecided|raised|not repeatable", line), line


# bool, exit status and text never disagree

VERDICTS = sorted(
    {value for name, value in vars(words).items() if name.isupper() and isinstance(value, str)}
    - {words.HOLDS_COLOUR, words.REFUTED_COLOUR, words.OPEN_COLOUR, words.FORWARD_ALONE}
)
MEASURED = (words.WITHIN, words.NORMWISE, words.UNDECIDED, words.WRONG)


DRAWN = cd.certify(CONV, method="random", seed=0)


@st.composite
def judgements(draw):
    """Draw certificates of any findings, behaviour and precision."""
    of = st.sampled_from(VERDICTS)
    numbers = tuple(Finding(name, draw(of), at=(10, 200, 3000, 40)) for name in words.QUANTITIES)
    tried = st.sampled_from([*VERDICTS, *[words.EQUAL] * 20])
    names = ("batch 0", "negative strides", "x of 2^-1014 to 2^1012", "repeatable")
    behaviour = tuple(Finding(name, draw(tried), note="E: why") for name in names)
    if draw(st.booleans()):
        numbers = tuple(replace(f, verdict=words.EQUAL) for f in numbers)
    precision = tuple(
        Precision(name, draw(st.sampled_from(MEASURED)), 2.0**-50, 2.0**-49, 7)
        for name in words.QUANTITIES[: draw(st.integers(0, 4))]
    )
    error = draw(st.sampled_from([0.0, 5e-324, 2.0**-72, 0.3, 1.0]))
    excused = draw(st.sampled_from([(), (("y", 0.5),)]))
    method = "random" if error else "exhaustive"
    return replace(
        DRAWN,
        findings=numbers,
        behaviour=behaviour,
        precision=precision,
        error=error,
        excused=excused,
        method=method,
        evaluator="Mine",
    )


@settings(max_examples=100, deadline=None)
@given(judgements())
def test_truth_text_and_json_agree(certificate):
    first = str(certificate).splitlines()[0]
    assert len(first) <= LONGEST_SENTENCE
    assert certificate.sentence == first
    assert first.startswith("holds") == bool(certificate) == certificate.to_dict()["holds"]
    coarse = any(p.verdict == words.WRONG for p in certificate.precision)
    assert first.startswith("does not hold") == (certificate.refuted or coarse)
    assert certificate.refuted <= (not certificate)
    assert first in repr(certificate)
    assert first in unescape(certificate._repr_html_())
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    if certificate:
        assert certificate.require() is certificate
        restricted = any(f.verdict == words.REFUSED for f in certificate.behaviour)
        assert first.startswith("holds, with restrictions") == restricted
    else:
        with pytest.raises(AssertionError) as error:
            certificate.require()
        assert str(error.value).splitlines()[0] == first


def test_many_names_and_long_ones_still_fit_the_first_line():
    net = cd.certify(POOL, seed=0)
    assert isinstance(net, NetworkCertificate)
    many = tuple(Finding(f"layer{i}.with.a.long.name.w", words.EQUAL) for i in range(40))
    assert replace(net, findings=many).sentence == (
        "holds: all 40 quantities; 12 trials, no probability is known"
    )
    wrong = tuple(replace(f, verdict=words.WRONG) for f in many)
    assert len(replace(net, findings=wrong).sentence) <= LONGEST_SENTENCE


# What passes is below the resolution

QUIET = cd.Conv((4, 6, 6), 2, kernel=3)


@pytest.fixture
def numbers_alone(monkeypatch):
    """Judge by the integers alone, without what else is tried."""
    monkeypatch.setattr(
        _certify,
        "review_implementation",
        lambda e, x, findings, *_, **__: Review(findings, (), (), 0.0),
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_passes_is_below_the_resolution_that_is_printed(numbers_alone, dtype):
    rng = np.random.default_rng(0)
    passed = []
    for seed in range(40):
        size = 2.0 ** rng.uniform(-52, -4)

        def off(x, w, b, size=size):
            w = w.astype(np.float64)
            w.flat[0] *= 1 + size
            return x.astype(np.float64), w, b.astype(np.float64)

        mine = forward_alone_changed(QUIET, off)
        certificate = cd.certify(QUIET, mine, dtype=dtype, method="random", seed=seed)
        if certificate:
            passed.append(certificate.exact)
            assert size <= 2.0 ** ceil(log2(certificate.resolution))
            assert ("not a plain sum in this dtype" in str(certificate)) == (not certificate.exact)
    assert False in passed  # some were excused: otherwise this tests nothing


def test_a_relative_error_that_passes_is_not_called_equal(numbers_alone):
    layer = cd.Conv((64, 16, 16), 8, kernel=3, padding=1)
    mine = forward_alone_changed(layer, first_weight(1 + 2**-38))
    certificate = cd.certify(layer, mine, seed=0)
    assert certificate["y"].verdict == words.WITHIN
    assert certificate["y"].note == "not a plain sum in this dtype"
    assert certificate.resolution >= 2**-38
    assert "a wrong edge passes" in certificate.sentence


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_is_bounded_it_is_neither_true_nor_refuted(numbers_alone, seed):
    for layer, dtype, factor in (
        (cd.Conv((64, 6, 6), 2, 3), "float16", 0),
        (cd.Conv((3, 9, 8), 4, 3), "bfloat16", 1.25),
    ):
        mine = half(layer, first_weight(factor), dtype)
        certificate = cd.certify(layer, mine, dtype=dtype, seed=seed)
        assert not certificate
        if not certificate.refuted:
            assert certificate["y"].verdict == words.UNDECIDED
            assert certificate["y"].note


# Reals: all entries


@pytest.mark.parametrize("seed", range(5))  # one in twenty draws is right by chance
def test_one_entry_that_is_wrong_on_reals_alone_is_refused_where_it_is(seed):
    certificate = cd.certify(TINY, Mine(TINY, y=truncated), seed=seed)
    assert certificate["y"].verdict == words.WRONG
    assert certificate["y"].at[-2:] == (1, 1)
    assert certificate["y"].note == "on random reals"
    assert "wrong, worst at" in str(certificate)
    assert certificate.seed is not None


def test_one_column_that_is_wrong_on_reals_alone_is_refused_with_every_seed():
    layer = cd.Conv((3, 32, 32), 8, 3, padding=1)

    def last_column(dx, dw, db):
        dx = dx.copy()
        dx[..., -1] = np.trunc(dx[..., -1])
        return dx, dw, db

    mine = Mine(layer, gradients=last_column)
    found = [cd.certify(layer, mine, seed=seed)["dx"] for seed in range(10)]
    assert {(f.verdict, f.at[-1]) for f in found} == {(words.WRONG, 31)}


@pytest.mark.parametrize("name", ["dw", "db"])
def test_gradients_of_weights_are_compared_in_all_entries_too(name):
    def one_entry(dx, dw, db):
        gradients = {"dw": dw.copy(), "db": db.copy()}
        gradients[name].flat[-1] = np.trunc(gradients[name].flat[-1])
        return dx, gradients["dw"], gradients["db"]

    certificate = cd.certify(CONV, Mine(CONV, gradients=one_entry), seed=0)
    assert [f.name for f in certificate.findings if f.refuted] == [name]
    assert certificate[name].note == "on random reals"


def test_nan_on_reals_is_wrong_and_what_raises_there_raised():
    fractions = Mine(TINY, y=lambda y: y * np.where(y % 1, np.nan, 1))
    assert cd.certify(TINY, fractions, seed=0)["y"].verdict == words.WRONG

    def whole_only(*arrays):
        if any((a % 1).any() for a in arrays):
            raise TypeError("whole numbers alone")
        return arrays

    certificate = cd.certify(TINY, Mine(TINY, before=whole_only), seed=0)
    assert str(certificate["y"]) == "y   raised; on random reals; TypeError: whole numbers alone"
    assert "compared: every pair of basis vectors" in str(certificate)  # before it raised


def test_reals_are_compared_in_the_batch_that_was_asked_for():
    def of_three(*arrays):
        if len(arrays[0]) not in (3, 9):  # basis vectors come nine at once
            raise ValueError("three samples")
        return arrays

    certificate = cd.certify(TINY, Mine(TINY, before=of_three), batch=3, method="random", seed=0)
    assert certificate
    assert [p.entries for p in certificate.precision] == [12, 27, 4, 1]
    assert "all entries, each with its own bound: 12 of y, 27 of dx, 4 of dw, 1 of db" in str(
        certificate
    )
