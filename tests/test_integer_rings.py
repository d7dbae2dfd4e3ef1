"""Integers: stated accumulators, and the ring modulo 2^m with its own probability of error."""

import re
from functools import partial
from itertools import product

import numpy as np
import pytest
import scipy.signal

from convdense import (
    AvgPool,
    Certificate,
    Conv,
    ConvTranspose,
    MaxPool,
    certify,
    check,
    convolve,
    convolve_backward,
    network,
    tie,
)
from convdense.certificates.integer_ranges import ends
from convdense.certificates.ring_trials import bits_of_ring, modular_evaluator, ring_ranges

pytestmark = pytest.mark.few_calls

CONV = Conv((2, 6, 5), out_channels=3, kernel=(3, 2))
INTEGERS = "int8", "int16", "int32", "int64", "uint8"


def wide(layer, accumulator):
    """Return a right implementation: everything is widened first, then summed."""

    def forward(x, w, b):
        return convolve(layer, *(a.astype(accumulator) for a in (x, w, b)))

    def backward(x, w, dy):
        gradients = convolve_backward(layer, *(a.astype(accumulator) for a in (x, w, dy)))
        return tuple(a.astype(accumulator) for a in gradients)

    return forward, backward


def loops(x, w, b):
    """Return y of CONV, by loops over taps, in the dtype of b."""
    n, (_, _, height, width) = len(x), w.shape
    rows, cols = CONV.out_spatial
    y = np.zeros((n, len(w), rows, cols), np.int64)
    for i, j in product(range(height), range(width)):
        cells = x[:, None, :, i : i + rows, j : j + cols].astype(np.int64)
        y += (w[None, :, :, i, j, None, None].astype(np.int64) * cells).sum(axis=2)
    return (y + b[:, None, None]).astype(np.int64)


def windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, CONV.kernel, axis=(2, 3))


def einsum(x, w, b):
    return np.einsum("nihwkl,oikl->nohw", windows(x), w) + b[:, None, None]


def by_scipy(x, w, b, method):
    y = np.zeros((len(x), *CONV.out_shape), np.int64)
    for n, o, i in np.ndindex(len(x), *w.shape[:2]):
        y[n, o] += scipy.signal.correlate(x[n, i], w[o, i], "valid", method)
    return y + b[:, None, None]


@pytest.fixture
def torch():
    """Return torch on one thread: more only wait for each other where other work runs beside."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


# The probability


@pytest.mark.parametrize("m", [3, 4, 5])
def test_probability_of_ring_is_that_of_counting(m):
    size = 2**m
    x, w = np.arange(size)[:, None], np.arange(size)[None]
    most = np.zeros(m + 1)
    # with constants of one value each parity and valuation: all that the count depends on
    few = range(size) if m == 3 else sorted({0, 1, 2, 3, size // 2, size - 1})
    for coefficients in product(range(size), few, few, few):
        c, a, d, e = coefficients
        v = min((k & -k).bit_length() - 1 if k else m for k in coefficients)
        passes = ((c * x * w + a * x + d * w + e) % size == 0).mean()
        most[v] = max(most[v], passes)
    # of an odd coefficient, and of 2^v: m - v takes the place of m
    expected = [2 ** -bits_of_ring(m - v) for v in range(m)]
    assert np.allclose(most[:-1], expected, rtol=1e-12, atol=0)
    assert most[m] == 1  # divisible by 2^m: it is 0


def test_degree_two_is_not_affine():
    m = 6
    x = np.arange(2**m)
    assert (x**2 % 2**m == 0).mean() == 2 ** -(m // 2) > 2 ** -bits_of_ring(m)
    assert (2 ** (m - 1) * x * (x - 1) % 2**m == 0).all()


def test_bits_of_ring():
    assert 2 ** -bits_of_ring(64) == pytest.approx(66 / 2**65)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_ends(dtype):
    info = np.iinfo(dtype)
    assert ends(2**64, dtype) == (info.min, info.max)
    assert ends(3, dtype) == (max(info.min, -3), 3)


def test_sums_stay_within_the_accumulator():
    ranges = ring_ranges(tie(CONV), "int8", "int16", 2)
    largest = [
        np.full(s, n) for s, n in (((2, *CONV.in_shape), ranges.x), (CONV.weight_shape, ranges.w))
    ]
    y = convolve(CONV, *largest, np.full(3, ranges.b))
    dx, dw, db = convolve_backward(CONV, *largest, np.full((2, *CONV.out_shape), ranges.dy))
    assert max(a.max() for a in (y, dx, dw, db)) < 2**15
    assert ring_ranges(tie(CONV), "int8", "int32", 2).x == 128


# The reference, a second way: Python's integers


@pytest.mark.parametrize("accumulator", ["int64", "int32", "uint8"])
def test_reference_is_that_of_python_integers(accumulator):
    rng = np.random.default_rng(0)
    full = [
        rng.integers(-(2**63), 2**63 - 1, s)
        for s in ((1, 2, 6, 5), CONV.weight_shape, (3,), (1, 3, 4, 4))
    ]
    x, w, b, dy = (a.astype(object) for a in full)
    bits = np.iinfo(accumulator).bits
    found = modular_evaluator(CONV, accumulator).run(*full)
    y = np.zeros((1, 3, 4, 4), object) + b[:, None, None]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for o, i, r, c, k, m in product(range(3), range(2), range(4), range(4), range(3), range(2)):
        y[0, o, r, c] += w[o, i, k, m] * x[0, i, r + k, c + m]
        dx[0, i, r + k, c + m] += w[o, i, k, m] * dy[0, o, r, c]
        dw[o, i, k, m] += x[0, i, r + k, c + m] * dy[0, o, r, c]
    for got, right in zip(found, (y, dx, dw, dy.sum(axis=(0, 2, 3))), strict=True):
        assert got.dtype == accumulator
        assert ((got.astype(object) - right) % 2**bits == 0).all()


# Right implementations


@pytest.mark.parametrize(
    ("dtype", "accumulator", "trials"),
    [
        ("int8", "int32", 10),
        ("int8", "int8", 12),
        ("int16", "int32", 5),
        ("int32", "int64", 3),
        ("int32", "int32", 3),
        ("int64", "int64", 2),
        ("uint8", "int32", 10),
    ],
)
def test_right_sums(dtype, accumulator, trials):
    certificate = certify(
        CONV, wide(CONV, accumulator), dtype=dtype, accumulator=accumulator, seed=3
    )
    assert certificate.require().exact
    assert certificate.trials == trials
    assert certificate.error <= 2**-64
    assert [finding.name for finding in certificate.findings] == ["y", "dx", "dw", "db"]
    assert Certificate.from_dict(certificate.to_dict()) == certificate
    assert certificate.rerun(wide(CONV, accumulator)) == certificate


def test_default_accumulators():
    def of(dtype):
        return certify(CONV, wide(CONV, "int64"), dtype=dtype, error=0.1, seed=0).accumulator

    assert [of(dtype) for dtype in INTEGERS] == ["int32", "int32", "int64", "int64", "int32"]
    assert of(np.int16) == of("i2") == "int32"


@pytest.mark.parametrize(
    "layer",
    [
        ConvTranspose((2, 3, 4), out_channels=2, kernel=3, stride=2),
        Conv((2, 5, 6), out_channels=2, kernel=2, padding=1, padding_value=3),
        Conv((4, 7), out_channels=2, kernel=3, padding=2, padding_mode="reflect", groups=2),
        tie(CONV),
    ],
)
def test_other_layers(layer):
    evaluator = modular_evaluator(layer, "int64")

    def forward(x, w, b):
        dy = np.zeros((len(x), *layer.out_shape), int)
        return evaluator.run(x, w, b, dy)[0]

    def backward(x, w, dy):
        return evaluator.run(x, w, np.zeros(layer.bias_shape, int), dy)[1:]

    assert certify(layer, (forward, backward), dtype="int64", seed=0)


@pytest.mark.parametrize("forward", [loops, einsum, partial(by_scipy, method="direct")])
def test_forward_alone(forward):
    certificate = certify(CONV, forward, dtype="int64", seed=0)
    assert certificate.require()
    assert [finding.name for finding in certificate.findings] == ["y"]


def test_gradients_of_none_are_not_judged():
    right, backward = wide(CONV, "int64")
    none = certify(CONV, (right, lambda *_: (None, None, None)), dtype="int64", seed=0).require()
    assert [finding.name for finding in none.findings] == ["y"]
    dw = certify(CONV, (right, lambda *a: (None, backward(*a)[1], None)), dtype="int64", seed=0)
    assert [finding.name for finding in dw.require().findings] == ["y", "dw"]
    # of floats they are needed
    assert not certify(CONV, (right, lambda *_: (None, None, None)), seed=0)


def test_no_y():
    assert certify(CONV, lambda *_: None, dtype="int64", seed=0)["y"].verdict == "wrong shape"


def test_torch(torch):
    from convdense.adapters.torch import implementation

    for dtype in ("int64", "int8"):
        mine = implementation(torch.nn.functional.conv2d, dtype=dtype)
        certificate = certify(CONV, mine, dtype=dtype, accumulator=dtype, seed=0).require()
        assert [finding.name for finding in certificate.findings] == ["y"]
    # without its dtype the adapter computes in floats
    floats = certify(CONV, implementation(torch.nn.functional.conv2d), dtype="int64", seed=0)
    assert floats["y"].verdict == "wrong dtype"


# Wrong ones


def refused(forward, dtype, accumulator=None, seed=0):
    certificate = certify(CONV, forward, dtype=dtype, accumulator=accumulator, seed=seed)
    assert not certificate
    return certificate


def test_accumulator_that_overflows():
    def int16(x, w, b):
        return (einsum(x.astype(np.int16), w.astype(np.int16), 0 * b[:]) + b[:, None, None]).astype(
            np.int32
        )

    assert refused(int16, "int8")["y"].verdict == "wrong"
    assert refused(lambda *a: einsum(*a).astype(np.int32), "int8")["y"].verdict == "wrong"


def test_sums_in_more_bits():
    """They are right where none wraps around, and not cut to the ring where all do."""

    def backward(x, w, dy):
        dx, dw, _ = convolve_backward(CONV, *(a.astype(np.int32) for a in (x, w, dy)))
        return dx, dw, dy.astype(np.int32).sum(axis=(0, 2, 3))  # in int64

    def forward(x, w, b):
        return convolve(CONV, *(a.astype(np.int32) for a in (x, w, b)))

    assert certify(CONV, (forward, backward), dtype="int8", seed=0)
    ring = certify(CONV, (forward, backward), dtype="int32", accumulator="int32", seed=0)
    assert ring["db"].verdict == "wrong dtype"
    assert ring["db"].note.startswith("int64 where int32 is needed, the stated accumulator")
    off = certify(CONV, lambda *a: forward(*a).astype(np.int64) + 1, dtype="int8", seed=0)
    assert off["y"].verdict == "wrong"


@pytest.mark.few_calls(False)
def test_accumulator_that_saturates():
    def saturated(limit, x, w, b):
        y = einsum(*(a.astype(np.int64) for a in (x, w, b)))
        return np.clip(y, -limit - 1, limit).astype(np.int32)

    assert refused(partial(saturated, 2**15 - 1), "int8").refuted
    # eight deviations of such a sum: it shows in the longest sums alone
    only_the_longest = refused(partial(saturated, 11 * 120**2), "int8")
    assert only_the_longest["y"].verdict == "equal"
    assert any(f.name == "values all equal" and f.refuted for f in only_the_longest.behaviour)


def test_one_weight_missing():
    def forward(x, w, b):
        w = w.copy()
        w[1, 1, 2, 0] = 0
        return einsum(x, w, b)

    assert refused(forward, "int64")["y"].verdict == "wrong"


def test_halves_and_signs():
    assert refused(lambda x, w, b: einsum(np.abs(x), w, b), "int64")["y"].verdict == "wrong"
    assert refused(lambda x, w, b: einsum(x, w // 2 * 2, b), "int64")["y"].verdict == "wrong"
    twice_missing = refused(lambda x, w, b: einsum(x, w, b) + 2**62 * x[:, :1, :4, :4], "int64")
    assert twice_missing["y"].verdict == "wrong"


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_scipy_fft_returns_int64_and_is_wrong():
    assert refused(partial(by_scipy, method="fft"), "int64")["y"].verdict == "wrong"


@pytest.mark.parametrize(
    ("came", "needed"), [("float64", "int64"), ("int32", "int64"), ("int64", "int32")]
)
def test_results_in_another_dtype(came, needed):
    forward, _ = wide(CONV, came)
    finding = refused(forward, needed, needed)["y"]
    assert finding.verdict == "wrong dtype"
    start = f"{came} where {needed} is needed, the stated accumulator: "
    assert finding.note == start + "floats and other widths wrap around otherwise"


def test_wrong_gradient():
    forward, backward = wide(CONV, "int64")

    def wrong(x, w, dy):
        dx, dw, db = backward(x, w, dy)
        return dx, dw[:, :, ::-1], db

    certificate = refused((forward, wrong), "int64")
    assert [f.verdict for f in certificate.findings] == ["equal", "equal", "wrong", "equal"]


def test_writing_to_operands_and_contiguous_memory_alone():
    def doubled(x, w, b):
        x *= 1
        y = einsum(x, w, b)
        x *= 2
        return y

    assert refused(doubled, "int64")["y"].verdict == "changed its input"

    def raw(x, w, b):  # reads memory as if it were in C order
        memory = np.frombuffer(np.asarray(x.base if x.base is not None else x).tobytes(), x.dtype)
        return einsum(np.resize(memory, x.shape) if x.flags.c_contiguous else x * 0, w, b)

    assert refused(raw, "int64").refuted


# Texts


def test_texts():
    ring = str(certify(CONV, einsum, dtype="int64", seed=1))
    assert ring.startswith("holds: y equal; one wrong by odd numbers passes with probability below")
    for sentence in (
        "on all of int64, sums modulo 2^64",
        "a coefficient wrong by 2^v times an odd number passes a trial with probability at most "
        "(66 - v) / 2^(65 - v), from v = 64 on always",
        "assumed: the outputs are affine in each of x, w and dy, and the seed is random",
        "it is about the code for int64, not that for floats",
    ):
        assert sentence in ring.splitlines()
    narrow = str(certify(CONV, wide(CONV, "int16"), dtype="int8", accumulator="int16", seed=1))
    assert re.search(r"\non int8 up to \d\d, sums within int16\n", narrow)
    assert "it is about the code for int8, not that for floats" in narrow.splitlines()
    assert "for rounding" not in ring + narrow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dtype": "int64", "accumulator": "int8"},
            "accumulator: got 'int8'; needs one of 'int64'",
        ),
        (
            {"accumulator": "int32"},
            "accumulator: got 'int32'; needs None for float64: only sums of integers have one",
        ),
        (
            {"dtype": "int8", "method": "exhaustive"},
            "method: got 'exhaustive'; needs random for int8: "
            "basis vectors tell of real numbers alone",
        ),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        certify(CONV, einsum, **options)


def test_refused_layers():
    with pytest.raises(ValueError, match="give an implementation as well"):
        certify(CONV, dtype="int64")
    half = Conv((1, 4), out_channels=1, kernel=2, padding=1, padding_value=0.5)
    with pytest.raises(ValueError, match="integers alone in padding and coefficients"):
        certify(half, einsum, dtype="int8")
    pools = "averages, halves and maxima are none of a ring's: use float64"
    for layer in (AvgPool((1, 4, 4), 2), MaxPool((1, 4, 4), 2), network(MaxPool((1, 4, 4), 2))):
        with pytest.raises(ValueError, match=pools):
            certify(layer, dtype="int64")
    with pytest.raises(ValueError, match=pools):
        certify(MaxPool((1, 4, 4), 2), (abs, abs), dtype="int8")


def test_check_of_integers_is_as_before():
    rng = np.random.default_rng(0)
    x, w, dy = (rng.integers(-9, 9, s) for s in ((2, 2, 6, 5), CONV.weight_shape, (2, 3, 4, 4)))
    assert check(CONV, x, w, None, dy).exact
