"""Channels contracted: judged like direct convolution, exactly, and every difference is seen."""

import json
import time
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense.certificates import Certificate, _certify, contraction
from convdense.certificates import clock as clock_module
from convdense.certificates.clock import Clock
from convdense.certificates.contraction import LIMIT, disagreeing, pays_off, primes
from convdense.certificates.integer_trials import Contracted
from convdense.direct.conv import convolve, convolve_backward
from convdense.verdicts import findings as words
from tests.strategies import integers_for, layers, seeds
from tests.test_certificate_words import Mine
from tests.test_readme import PROGRAM, as_run

QUANTITIES = ("y", "dx", "dw")
LAYER = cd.Conv((16, 48, 48), 16, kernel=3, padding=1)  # large enough to be contracted
CONTRACTED = layers((cd.Conv, cd.ConvTranspose))


def results(layer, x, w, b, dy):
    dx, dw, _ = convolve_backward(layer, x, w, dy)
    return {"y": convolve(layer, x, w, b), "dx": dx, "dw": dw}


# The verdict is that of direct convolution


@settings(max_examples=150, deadline=None)
@given(CONTRACTED, seeds, st.sampled_from([2, 1000, 2**22]), st.integers(1, 3))
def test_what_is_right_agrees_for_every_option(layer, seed, magnitude, rounds):
    operands = integers_for(layer, seed, magnitude=magnitude)
    due = results(layer, *operands)
    rng = np.random.default_rng(seed)
    assert disagreeing(layer, operands, due, rounds, rng) == set()


@settings(max_examples=100, deadline=None)
@given(CONTRACTED, seeds, st.sampled_from(QUANTITIES), st.data())
def test_one_entry_that_differs_is_seen(layer, seed, name, data):
    """By 1, by much, by a multiple of one prime, or of two; anywhere."""
    operands = integers_for(layer, seed, magnitude=2**20)
    got = results(layer, *operands)
    if not got[name].size:
        return
    at = data.draw(st.one_of(st.just(0), st.just(-1), st.integers(0, got[name].size - 1)))
    one, other = primes()[data.draw(st.integers(0, 38_634))], primes()[seed % 38_635]
    off = data.draw(st.sampled_from([1.0, -1.0, 2.0**40, one, 3 * one, one * other]))
    before = got[name].flat[at]
    got[name].flat[at] += off if abs(before + off) < LIMIT else -off
    assert got[name].flat[at] != before
    rng = np.random.default_rng(seed)
    assert disagreeing(layer, operands, got, 3, rng) == {name}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", QUANTITIES)
def test_every_sample_channel_and_corner_counts(name, groups):
    layer = cd.Conv((4, 5, 4), 6, 2, stride=(2, 1), padding=1, groups=groups)
    operands = integers_for(layer, 1, magnitude=50)
    due = results(layer, *operands)
    rng = np.random.default_rng(0)
    for at in range(due[name].size):
        got = {key: value.copy() for key, value in due.items()}
        got[name].flat[at] += 1
        assert disagreeing(layer, operands, got, 2, rng) == {name}


def test_differences_that_cancel_over_the_channels_are_seen():
    layer = cd.Conv((4, 5, 4), 6, 2)
    operands = integers_for(layer, 1)
    got = results(layer, *operands)
    got["y"][:, 0] += 1
    got["y"][:, 1] -= 1
    rng = np.random.default_rng(0)
    assert disagreeing(layer, operands, got, 1, rng) == {"y"}


@pytest.mark.parametrize("value", [0.5, 2.0**-60, np.nan, np.inf, -np.inf, LIMIT + 2, -(2.0**60)])
def test_what_is_not_whole_or_too_large_is_not_judged_here(value):
    layer = cd.Conv((4, 5, 4), 6, 2)
    operands = integers_for(layer, 1)
    got = results(layer, *operands)
    got["dx"][0, 1, 2, 3] = value
    assert disagreeing(layer, operands, got, 1, np.random.default_rng(0)) == {"dx"}


def test_results_near_the_limit_are_judged_exactly():
    layer = cd.Conv((8, 3), 8, 1)
    x, w, b, dy = (a.astype(float) for a in integers_for(layer, 1, magnitude=1))
    x = x * (2**25 - 7)
    w = w * (2**25 - 5)
    operands = x, w, b, dy
    got = results(layer, *operands)
    assert np.abs(got["y"]).max() > 2**51
    assert not disagreeing(layer, operands, got, 2, np.random.default_rng(0))
    got["y"].flat[np.abs(got["y"]).argmax()] += 1
    assert disagreeing(layer, operands, got, 2, np.random.default_rng(0)) == {"y"}


# The arithmetic is Python's


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(1, 3000), st.sampled_from([1, 2**19, 2**34, 2**53 - 2**20]))
def test_sums_of_products_modulo_a_prime_are_those_of_python(seed, channels, largest):
    rng = np.random.default_rng(seed)
    p = rng.choice(primes(), (2, 1))
    factors = contraction._residue(np.floor(rng.random((2, channels)) * p), p)
    cells = rng.integers(-largest, largest, (channels, 3), endpoint=True)
    cells[rng.random(cells.shape) < 0.3] = largest  # sums as long as they can be
    got = contraction._combined(factors, cells.astype(float), p)
    right = factors.astype(int).astype(object) @ cells.astype(object)
    for row in range(2):
        pairs = zip(got[row], right[row], strict=True)
        assert [(int(a) - b) % int(p[row, 0]) for a, b in pairs] == [0, 0, 0]
    assert np.abs(got).max() <= contraction.HALF


@given(st.integers(-LIMIT, LIMIT), st.integers(0, 38_634))
def test_a_residue_is_zero_for_multiples_alone(number, at):
    p = primes()[at]
    residue = int(contraction._residue(np.array([float(number)]), np.array([p]))[0])
    assert (number - residue) % int(p) == 0
    assert abs(residue) <= p / 2 + 2
    assert (residue == 0) == (number % int(p) == 0)


def test_the_primes_are_all_of_them():
    assert [n for n in range(2**19, 2**19 + 200) if all(n % d for d in range(2, 725))] == [
        int(p) for p in primes()[primes() < 2**19 + 200]
    ]
    assert min(primes()) ** 3 > 2**54  # no difference has three of them


def test_a_round_misses_no_more_often_than_is_said():
    """With small primes, where misses are seen: p and a multiple of p are as often as they may."""
    layer = cd.Conv((8, 2), 8, 1)
    x, w, b, dy = integers_for(layer, 1)
    y = convolve(layer, x, w, b)
    y[0, 0, 0] += 7
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(contraction, "primes", lambda: np.array([5.0, 7.0, 11.0, 13.0]))
        tries = [disagreeing(layer, (x, w, b, dy), {"y": y}, 1, rng) for _ in range(2000)]
    missed = sum(not wrong for wrong in tries) / 2000
    often = (1 + 1 / 5 + 1 / 11 + 1 / 13) / 4  # always modulo 7
    assert abs(missed - often) < 0.04


# In a certificate


def test_a_large_layer_is_contracted_and_says_so():
    certificate = cd.certify(LAYER, Mine(LAYER), seed=0)
    assert certificate
    S = 2 * min(certificate.ranges) + 1
    each = 2 / S + contraction.MISSED**certificate.rounds
    assert certificate.rounds == 2
    assert certificate.error == pytest.approx(each**certificate.trials, rel=1e-9)
    assert certificate.error <= 2**-64
    assert [p.contracted for p in certificate.precision] == [True, True, True, False]
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    assert certificate.rerun(Mine(LAYER)) == certificate


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_entry_is_found_by_direct_convolution(name, dtype):
    def off(result):
        result = result.copy()
        result[-1, -1, 1, 2] += 1
        return result

    def gradients(dx, dw, db):
        return (off(dx) if name == "dx" else dx), (off(dw) if name == "dw" else dw), db

    mine = Mine(LAYER, y=off if name == "y" else lambda y: y, gradients=gradients)
    finding = cd.certify(LAYER, mine, dtype=dtype, seed=0)[name]
    assert (finding.verdict, finding.at[1:]) == (words.WRONG, (15, 1, 2))


def test_nothing_but_the_code_runs_the_whole_layer_where_it_is_right(monkeypatch):
    trials = []

    def run(*operands):
        trials.append(1)
        raise AssertionError

    explained = _certify.two_evaluators

    def judged(layer, mine):
        code, by = explained(layer, mine)
        return code, replace(by, run=run)

    monkeypatch.setattr(_certify, "two_evaluators", judged)
    assert cd.certify(LAYER, Mine(LAYER), seed=0)
    with pytest.raises(AssertionError):
        cd.certify(LAYER, Mine(LAYER, y=lambda y: y + 1), seed=0)


def test_one_entry_wrong_on_reals_alone_is_seen_through_the_channels():
    def truncated(y):
        y = y.copy()
        y[1, 3, -1, -1] = np.trunc(y[1, 3, -1, -1])
        return y

    for dtype in ("float64", "float32"):
        finding = cd.certify(LAYER, Mine(LAYER, y=truncated), dtype=dtype, seed=1)["y"]
        assert (finding.verdict, finding.at) == (words.WRONG, (1, 3, 47, 47))
        assert finding.note == "on random reals"


def test_what_rounds_otherwise_is_not_refused():
    mine = Mine(LAYER)

    def forward(x, w, b):
        return convolve(mine.at(x, w), x / 3, w, b / 3) * 3

    certificate = cd.certify(LAYER, (forward, mine.backward), seed=0)
    assert certificate["y"].verdict == words.WITHIN
    assert certificate


@pytest.mark.parametrize(
    ("layer", "contracted"),
    [
        (LAYER, True),
        (cd.ConvTranspose((16, 48, 48), 16, kernel=3, padding=1), True),
        (cd.Conv((512, 48, 48), 512, kernel=3, groups=512), False),
        (cd.Conv((2, 480, 480), 2, kernel=3), False),
        (cd.Conv((16, 4, 4), 16, kernel=3), False),
        (replace(LAYER, padding_value=1), False),
        (cd.LocallyConnected((16, 48, 48), 16, kernel=3), False),
        (cd.tie(LAYER), False),
    ],
)
def test_few_channels_and_what_has_no_contraction_stay_as_they_were(layer, contracted):
    assert pays_off(layer, 2) == contracted


def test_forward_alone_and_a_missing_db_are_judged():
    assert cd.certify(LAYER, Mine(LAYER).forward, seed=0)
    without = Mine(LAYER, gradients=lambda dx, dw, db: (dx, dw, None))
    names = [finding.name for finding in cd.certify(LAYER, without, seed=0).findings]
    assert names == ["y", "dx", "dw"]


def test_results_of_another_shape_or_dtype_are_told_as_before():
    rng = np.random.default_rng(0)
    judge = Contracted(LAYER, "float64", 1, rng)
    operands = integers_for(LAYER, 0)
    due = results(LAYER, *operands)
    got = {"y": due["y"][:1], "dx": due["dx"].astype("f4"), "dw": due["dw"], "db": None}
    assert judge.equal(operands, got) == {"dw"}
    certificate = cd.certify(LAYER, Mine(LAYER, y=lambda y: y[:, :1]), seed=0)
    assert certificate["y"].verdict == words.SHAPE


# A time limit


class Timed(Mine):
    """Every call takes a second of a clock that the test holds."""

    def __init__(self, layer, clock):
        super().__init__(layer)
        self.clock = clock

    def forward(self, x, w, b):
        self.clock[0] += 1
        return super().forward(x, w, b)


@pytest.fixture
def seconds(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("convdense.certificates.clock.perf_counter", lambda: clock[0])
    monkeypatch.setattr(_certify, "Clock", lambda limit: Clock(limit, start=clock[0]))
    return clock


def test_a_time_limit_leaves_what_was_decided_with_its_own_error(seconds):
    full = cd.certify(LAYER, Mine(LAYER), seed=0)
    certificate = cd.certify(LAYER, Timed(LAYER, seconds), seed=0, time_limit=2)
    assert certificate
    assert (certificate.trials, certificate.time_limit, full.time_limit) == (2, 2.0, None)
    assert certificate.error == pytest.approx(full.error ** (2 / full.trials))
    assert certificate.error > certificate.asked
    assert certificate.sentence.startswith("holds, so far: y, dx, dw, db equal; a wrong one")
    assert "time_limit: after 2 s nothing new was begun" in str(certificate)
    assert (
        "not tried: other shapes, NaN and infinity, threads, double backward, magnitudes, "
        in str(certificate)
    )
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    assert certificate.rerun(Mine(LAYER)) == full


def test_without_a_trial_nothing_is_decided(seconds):
    seconds[0] = 1.0
    small = cd.Conv((2, 6, 5), 3, kernel=3)
    for layer, method in ((LAYER, "auto"), (small, "exhaustive"), (small, "random")):
        late = Timed(layer, seconds)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_certify, "Clock", lambda limit: Clock(limit, start=-100.0))
            certificate = cd.certify(layer, late, method=method, seed=0, time_limit=1)
        assert not certificate
        assert not certificate.refuted
        assert certificate.sentence == "undecided: y, dx, dw, db undecided"
        assert certificate.error == 1
    assert seconds[0] == 1.0  # it was never called


def test_a_proof_that_is_cut_short_is_none_and_what_is_wrong_stays_wrong(seconds):
    small = cd.Conv((2, 6, 5), 3, kernel=3)
    certificate = cd.certify(small, Timed(small, seconds), method="exhaustive", time_limit=9)
    assert certificate.sentence == "undecided: y, dx, dw, db undecided"
    assert certificate["y"].note == "not every pair of basis vectors was met in time"
    wrong = Timed(small, seconds)
    wrong.y = lambda y: -y
    assert cd.certify(small, wrong, method="exhaustive", time_limit=9)["y"].refuted


def test_behaviour_is_cut_short_between_two_findings(seconds):
    full = cd.certify(LAYER, Mine(LAYER), seed=0)
    certificate = cd.certify(LAYER, Timed(LAYER, seconds), seed=0, time_limit=40)
    assert certificate
    assert certificate.trials == full.trials
    assert 0 < len(certificate.behaviour) < len(full.behaviour)
    assert "all special values" in str(certificate)
    assert "all batches" not in str(certificate)
    pool = cd.MaxPool((2, 5, 6), kernel=2)
    assert cd.certify(pool, time_limit=5)


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^time_limit: got .*; needs seconds, more than 0, or No"):
        cd.certify(LAYER, time_limit=wrong)


@pytest.mark.parametrize("wrong", ["1 s", True, [1]])
def test_a_time_limit_that_is_no_number_is_refused(wrong):
    with pytest.raises(TypeError, match=r"^time_limit: got .*; needs seconds, more than 0, or No"):
        cd.certify(LAYER, time_limit=wrong)


# The derivation


def test_what_how_sure_shows_is_what_its_code_prints():
    text = (Path(__file__).parent.parent / "docs" / "how_sure.md").read_text(encoding="utf-8")
    assert text.count("```python") == len(PROGRAM.findall(text)) == 2
    assert as_run(text) == text
    assert "38,635" in text
    assert prod(primes()[:3]) > 2**57


def test_the_last_step_may_end_after_the_time_is_up():
    for n, is_cut in ((1, False), (2, True)):
        clock = Clock(0.01)
        steps = [time.sleep(0.02) for _ in clock.during(range(n), ahead=True)]
        assert (len(steps), clock.is_cut, clock.steps) == (1, is_cut, 1)


@pytest.mark.parametrize("seconds", [np.int64(5), np.float32(5), np.float64(5), 5])
def test_a_time_limit_is_any_real_number(seconds):
    assert clock_module.limited_time(seconds) == 5.0
