"""What certify says beside equal and wrong: rounding, precision, behaviour, kinds of wrong."""

import json
from fractions import Fraction
from itertools import cycle
from math import fsum, inf

import numpy as np
import pytest

import convdense as cd
from convdense._util.float_formats import FORMATS, INTEGERS, format_of, rounded_to
from convdense.certificates import (
    Certificate,
    NetworkCertificate,
    behaviour_trials,
    effective_roundoff,
    memory_need,
)
from convdense.certificates.integer_ranges import exact_ranges, narrow_ranges
from convdense.certificates.pool_probes import WindowCoverage, planted
from convdense.certificates.rounding_explainer import Explainer, bits_per_trial
from convdense.direct import conv as direct_conv
from convdense.direct import pool as direct_pool
from convdense.rounding import normwise_bounds
from convdense.rounding.pool_bounds import window_table
from convdense.verdicts.findings import (
    BILINEAR,
    CHANGED,
    DTYPE,
    EQUAL,
    NORMWISE,
    RAISED,
    REFUSED,
    REPEATABLE,
    SHAPE,
    UNDECIDED,
    WITHIN,
    WRONG,
)

pytestmark = pytest.mark.few_calls

CONV = cd.Conv((2, 6, 7), 3, kernel=(3, 2), stride=(2, 1), padding=((1, 0), (0, 2)))
LARGE = cd.Conv((8, 40, 40), 16, kernel=3, padding=1)
TINY = cd.Conv((1, 3, 3), 2, kernel=2)
UP = cd.ConvTranspose((2, 3, 4), 3, kernel=(3, 2), stride=2, padding=1)


class Mine:
    """A right implementation, with steps to be changed: of the operands, and of the results."""

    def __init__(
        self, layer, before=lambda *a: a, y=lambda y: y, gradients=lambda dx, dw, db: (dx, dw, db)
    ):
        self.layer = layer
        self.before = before
        self.y = y
        self.gradients = gradients

    def forward(self, x, w, b):
        x, w, b = self.before(x, w, b)
        return self.y(cd.convolve(self.layer, x, w, b))

    def backward(self, x, w, dy):
        x, w, dy = self.before(x, w, dy)
        return self.gradients(*cd.convolve_backward(self.layer, x, w, dy))


def narrowed(bits):
    """Return what rounds numbers to so many bits, by truncation."""

    def cut(*arrays):
        mask = np.uint64(2**64 - 2 ** (53 - bits))
        return tuple(
            (np.ascontiguousarray(a).view(np.uint64) & mask).view(np.float64) for a in arrays
        )

    return cut


def verdicts(certificate):
    return {f.name: f.verdict for f in certificate.findings}


def said(certificate, name):
    return next(f for f in certificate.behaviour if f.name == name)


@pytest.mark.few_calls(False)
@pytest.mark.parametrize(
    ("layer", "method"),
    [
        (CONV, "random"),
        (UP, "random"),
        (TINY, "exhaustive"),
        (cd.ConvTranspose((1, 3), 2, kernel=2), "exhaustive"),
    ],
    ids=repr,
)
def test_a_right_implementation_has_nothing_to_explain(layer, method):
    certificate = cd.certify(
        layer, Mine(layer), method=method, seed=None if method == "exhaustive" else 3
    ).require()
    assert certificate.exact
    assert [f.verdict for f in certificate.behaviour] == [EQUAL] * len(certificate.behaviour)
    names = {f.name for f in certificate.behaviour}
    assert names >= {
        *(f"batch {n}" for n in (*range(10), 16, 33, 65)),
        *("read-only", "strided views", "negative strides", "zero strides"),
        *("zero x", "zero w", "zero dy", "values of one sign", "values all equal"),
        *("operands changed in place", "results kept", "repeatable"),
    }
    assert {p.name: p.verdict for p in certificate.precision} == dict.fromkeys(
        ("y", "dx", "dw", "db"), WITHIN
    )
    assert all(p.unit <= p.allowed for p in certificate.precision)
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    assert certificate.rerun(Mine(layer)) == certificate


def test_the_librarys_own_evaluator_is_not_reviewed():
    certificate = cd.certify(CONV)
    assert (certificate.behaviour, certificate.precision, certificate.tried_on) == ((), (), None)


# Rounding: within it, right normwise, undecided


def test_a_division_that_rounds_is_within_rounding():
    third = Mine(CONV, before=lambda *a: tuple(v / 3 for v in a), y=lambda y: y * 3)
    third.forward = lambda x, w, b: cd.convolve(CONV, x / 3, w, b / 3) * 3
    third.backward = lambda x, w, dy: tuple(3 * g for g in cd.convolve_backward(CONV, x, w, dy / 3))
    certificate = cd.certify(CONV, third, method="random", seed=0)
    assert certificate["y"].verdict == WITHIN
    assert bool(certificate)
    assert not certificate.exact
    assert certificate.asked < certificate.error < 2**-40
    assert "up to rounding" in str(certificate)


def test_more_than_rounding_is_wrong():
    certificate = cd.certify(
        CONV, Mine(CONV, y=lambda y: y * (1 + 2**-45)), method="random", seed=0
    )
    assert certificate["y"].verdict == WRONG
    assert certificate.refuted


def fourier(x, w, b):
    sizes = [n + k - 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    X, W = np.fft.rfft2(x, sizes), np.fft.rfft2(w[:, :, ::-1, ::-1], sizes)
    full = np.fft.irfft2(np.einsum("nchw,ochw->nohw", X, W), sizes)
    return full[:, :, 2 : x.shape[2], 2 : x.shape[3]] + b[:, None, None]


def test_a_fast_transform_is_right_normwise_and_not_wrong():
    layer = cd.Conv((1, 40, 40), 2, kernel=3)
    backward = Mine(layer).backward
    quiet = np.ones((40, 40))
    quiet[20:] = (
        2.0**-40
    )  # half of the sample is tiny: entry by entry nothing excuses the error there
    x = quiet * np.random.default_rng(0).normal(size=(1, 1, 40, 40))
    w, b = np.random.default_rng(1).normal(size=(2, 1, 3, 3)), np.zeros(2)
    explain = Explainer(layer, "float64")
    operands = (x, w, b, np.zeros((1, 2, 38, 38)))
    right, got = cd.convolve(layer, x, w, b), fourier(x, w, b)
    finding = explain(operands)(cd.verdicts.comparison.compare("y", got, right), got, right)
    assert finding.verdict == NORMWISE
    assert (finding.holds, finding.refuted) == (False, False)
    assert explain.allowed["y"] > 0
    got[0, 1, 3, 5] += 1e-11  # forty times the normwise bound
    assert (
        explain(operands)(cd.verdicts.comparison.compare("y", got, right), got, right).verdict
        == WRONG
    )
    certificate = cd.certify(layer, (fourier, backward), method="random", seed=0)
    assert not certificate.refuted
    assert certificate["y"].verdict in (WITHIN, NORMWISE)


def test_one_weight_that_is_off_by_less_than_the_norms_is_not_excused():
    def off(x, w, b):
        w = w.copy()
        w[1, 0, 2, 1] *= np.float32(1 + 1e-4)
        return x, w, b

    mine = Mine(LARGE, before=off)
    certificate = cd.certify(LARGE, mine, dtype="float32", seed=0)
    assert {certificate[name].verdict for name in ("y", "dx")} <= {WRONG, NORMWISE}
    assert certificate["y"].verdict == WRONG
    assert not certificate


@pytest.mark.parametrize("name", ["y", "dx", "dw"])
@pytest.mark.parametrize(
    "layer",
    [
        cd.Conv((4, 5, 6), 2, kernel=(2, 3), padding=1, groups=2),
        cd.Conv((2, 5, 4), 3, kernel=3, padding=2, padding_mode="replicate"),
        cd.ConvTranspose((4, 3, 4), 6, kernel=(3, 2), stride=2, groups=2),
    ],
    ids=repr,
)
def test_the_normwise_bound_bounds_what_norms_can_give(layer, name):
    """A result is at most the sum of products of norms, which the bound multiplies.

    That is Cauchy and Schwarz.
    """
    rng = np.random.default_rng(0)
    shapes = ((3, *layer.in_shape), layer.weight_shape, layer.bias_shape, (3, *layer.out_shape))
    for _ in range(20):
        x, w, _, dy = (np.abs(rng.normal(size=s)) * rng.integers(0, 2, s) for s in shapes)
        bound = normwise_bounds.normwise_bound(layer, (x, w, None, dy), name, "float64")
        size = bound / (normwise_bounds.FACTOR * normwise_bounds.log_length(layer) * 2**-53)
        gradients = cd.convolve_backward(layer, x, w, dy)
        value = {"y": cd.convolve(layer, x, w), "dx": gradients.dx, "dw": gradients.dw}[name]
        assert (value <= np.broadcast_to(size, value.shape) * (1 + 1e-12)).all()


def test_layers_without_a_transform_have_no_normwise_bound():
    local = cd.LocallyConnected((1, 3, 3), 1, kernel=2)
    x = np.ones((1, 1, 3, 3))
    w = np.ones(local.weight_shape)
    dy = np.ones((1, 1, 2, 2))
    assert normwise_bounds.normwise_bound(local, (x, w, None, dy), "y", "float64") is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_within_rounding(dtype):
    small = cd.Conv((2, 5, 6), 3, kernel=2)

    def rounding(*arrays):
        return tuple(a.astype(np.float32) for a in arrays)

    mine = Mine(
        small,
        before=rounding,
        y=lambda y: rounded_to(y, dtype),
        gradients=lambda *g: tuple(rounded_to(a, dtype) for a in g),
    )
    certificate = cd.certify(small, mine, dtype=dtype, method="random", seed=0)
    assert set(verdicts(certificate).values()) <= {EQUAL, WITHIN}
    assert bool(certificate), str(certificate)
    mine.y = lambda y: rounded_to(-y, dtype)
    assert cd.certify(small, mine, dtype=dtype, method="random", seed=0)["y"].verdict in (
        WRONG,
        BILINEAR,
    )


def test_half_precision_needs_an_implementation_and_sums_that_are_short():
    with pytest.raises(ValueError, match="dtype: got 'float16'; needs one of 'float32', 'float64'"):
        cd.certify(CONV, dtype="float16")
    long = cd.Conv((64, 9, 9), 2, kernel=3)
    mine = Mine(
        long, before=lambda *a: tuple(v.astype(np.float64) for v in a), y=lambda y: y * (1 + 2**-40)
    )
    certificate = cd.certify(long, mine, dtype="bfloat16", seed=0)
    assert certificate["y"].verdict == WITHIN  # 576 u > 1, but it rounds to what is right
    assert certificate
    mine.y = lambda y: y * (1 + 2**-8)  # as of parts of the sum that were rounded
    certificate = cd.certify(long, mine, dtype="bfloat16", seed=0)
    assert certificate["y"].verdict == UNDECIDED
    assert not certificate
    assert not certificate.refuted


def test_the_probability_with_rounding_counts_what_it_must():
    """By brute force, a v + r stays within B less often than (4 sqrt(B) + 2) / S.

    Here a is an integer form.
    """
    m, worst = 12, 0.0
    values = np.arange(-m, m + 1)
    for allowed in (0.0, 1.0, 4.0):
        for r0 in (-3, 0, 5):
            for r1 in (-40, 0, 7):
                form = (values[:, None] + r0) * values[None, :] + r1  # the slope a = u + r0
                worst = max(
                    worst,
                    float((np.abs(form) <= allowed).mean()) / 2 ** -bits_per_trial(m, allowed),
                )
    assert 0.1 < worst <= 1
    assert bits_per_trial(m, inf) == 0


# Precision


@pytest.mark.parametrize(
    ("bits", "like"), [(24, "as in float32"), (11, "as in TF32 or float16"), (8, "as in bfloat16")]
)
def test_fewer_bits_than_the_dtype_has_are_seen_and_named(bits, like):
    certificate = cd.certify(CONV, Mine(CONV, before=narrowed(bits)), method="random", seed=0)
    assert not certificate
    assert not certificate.refuted  # the structure is right
    assert certificate.exact
    assert any("larger ones are rounded" in f.note for f in certificate.findings)
    assert {p.verdict for p in certificate.precision if p.name != "db"} == {WRONG}
    assert like in str(certificate)
    assert bits - 2.5 < next(p.bits for p in certificate.precision if p.name == "y") < bits + 2.5
    assert certificate.rerun(Mine(CONV, before=narrowed(bits))) == certificate


def test_almost_all_bits_are_too_few():
    certificate = cd.certify(CONV, Mine(CONV, before=narrowed(46)), method="random", seed=0)
    assert {p.name for p in certificate.precision if p.verdict == WRONG} == {"y", "dx", "dw", "db"}
    assert "as in" not in str(certificate)


def test_a_threshold_on_small_numbers_is_seen():
    def small_ones_dropped(*arrays):
        return tuple(np.where(np.abs(a) < 1e-3, 0, a) for a in arrays)

    certificate = cd.certify(CONV, Mine(CONV, before=small_ones_dropped), seed=0)
    assert certificate.exact
    assert {p.verdict for p in certificate.precision} == {WRONG}


def test_what_is_clipped_is_wrong_not_imprecise():
    clipped = Mine(CONV, gradients=lambda dx, dw, db: (np.clip(dx, -1e4, 1e4), dw, db))
    certificate = cd.certify(CONV, clipped, method="random", seed=0)
    assert verdicts(certificate) == {"y": EQUAL, "dx": BILINEAR, "dw": EQUAL, "db": EQUAL}
    assert certificate.behaviour == ()


def test_exact_products_are_exact():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200)) * 2.0 ** rng.integers(-20, 20, (2, 200))
    high, low = effective_roundoff._products(a, b)
    for x, y, *parts in zip(a.tolist(), b.tolist(), high.tolist(), low.tolist(), strict=True):
        assert Fraction(x) * Fraction(y) == sum(map(Fraction, parts))


@pytest.mark.parametrize("dtype", [name for name in FORMATS if name not in INTEGERS])
def test_rounding_to_a_format_is_to_nearest_even(dtype):
    form = FORMATS[dtype]
    step = 2.0 ** (1 - form.bits)
    values = np.array([1, 1 + step / 2, 1 + 3 * step / 2, -1 - step / 4, 1 + 5 * step / 8])
    if form.bits < 53:
        assert rounded_to(values, dtype).tolist() == [1, 1, 1 + 2 * step, -1, 1 + step]
    assert rounded_to(values, dtype).dtype == form.holder
    assert format_of(dtype).unit_roundoff == 2.0**-form.bits


@pytest.mark.parametrize("n", [1, 3, 40, 1000])
def test_the_allowed_unit_covers_sums_in_any_order(n):
    rng, units = np.random.default_rng(n), []
    for order in ("one by one", "pairwise"):
        errors = []
        for _ in range(60):
            products = (rng.normal(size=n) * rng.normal(size=n)).astype(np.float32)
            total = np.float32(0)
            if order == "one by one":
                for p in products:
                    total = np.float32(total + p)
            else:
                total = products.sum(dtype=np.float32)
            exact = fsum(products.tolist())
            errors.append(
                (float(total) - exact) ** 2 / fsum((products.astype(float) ** 2).tolist())
            )
        units.append(np.sqrt(np.mean(errors)))
    deviation = 2.0**-24 * np.sqrt((n + 3) / 2)
    assert max(units) <= deviation  # of which six are allowed, where one entry is looked at
    if n > 3:
        assert units[0] > deviation / 8  # not far above either


# Kinds of wrong


def test_what_is_not_bilinear_is_called_so():
    squared = Mine(CONV, before=lambda x, w, last: (x * np.abs(x), w, last))
    assert verdicts(cd.certify(CONV, squared, seed=0)) == {
        "y": BILINEAR,
        "dx": EQUAL,
        "dw": BILINEAR,
        "db": EQUAL,
    }
    rectified = Mine(TINY, y=lambda y: np.maximum(y, 0))
    certificate = cd.certify(TINY, rectified, method="exhaustive", seed=0)
    assert certificate["y"].verdict == BILINEAR
    assert "not linear in x" in certificate["y"].note
    lost = Mine(
        CONV, before=lambda x, w, last: (x, w * (np.arange(2) != 1), last)
    )  # wrong, and bilinear
    assert cd.certify(CONV, lost, seed=0)["y"].verdict == WRONG


def test_what_differs_from_call_to_call_is_called_so():
    rng = np.random.default_rng(0)
    noisy = Mine(CONV, y=lambda y: y * (1 + rng.random(y.shape)))
    certificate = cd.certify(CONV, noisy, method="random", seed=0)
    assert certificate["y"].verdict == REPEATABLE
    turns = cycle([0, 1])
    quiet = Mine(CONV, gradients=lambda dx, dw, db: (dx, dw * (1 + next(turns) * 2.0**-52), db))
    certificate = cd.certify(CONV, quiet, method="random", seed=0)
    assert certificate["dw"].verdict == WITHIN  # on integers, where a plain sum is equal
    assert "reported: repeatable: dw is another, by rounding, when the call" in str(certificate)


def test_a_buffer_that_is_written_again_hides_no_difference():
    buffer, calls = np.zeros((1, *CONV.out_shape)), []

    def forward(x, w, b):
        calls.append(len(x))
        y = cd.convolve(CONV, x, w, b)
        if len(x) > 1:
            return y
        buffer[...] = y * (1 + 2**-52 * (len(calls) % 2))
        return buffer

    mine = (forward, Mine(CONV).backward)
    certificate = cd.certify(CONV, mine, method="random", batch=1, seed=0)
    assert not said(certificate, "repeatable").holds


def test_the_sums_of_three_samples_may_be_too_long(monkeypatch):
    def short(layer, dtype, batch):
        if batch > 1:
            raise ValueError("too long")
        return exact_ranges(layer, dtype, batch)

    monkeypatch.setattr(behaviour_trials, "exact_ranges", short)
    certificate = cd.certify(CONV, Mine(CONV), batch=1, seed=0).require()
    assert [f.name for f in certificate.behaviour if f.name.startswith("batch")] == [
        "batch 0",
        "batch 1",
    ]


def test_fewer_bits_are_told_from_a_batch_of_three_too():
    """Sums over three samples are longer than those over two: they are drawn to fit."""
    long = cd.Conv((4, 40, 40), 4, kernel=3, padding=1)
    for seed in range(5):
        certificate = cd.certify(long, Mine(long, before=narrowed(24)), seed=seed)
        assert not certificate.refuted, str(certificate)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda y: y.astype(np.float32), DTYPE),
        (lambda y: np.rint(y).astype(np.int64), DTYPE),
        (lambda y: y[:, :, ::-1][:, :, :-1], SHAPE),
        (lambda y: y.astype(str), DTYPE),
    ],
)
def test_results_of_another_dtype_or_shape_are_called_so(change, verdict):
    assert cd.certify(CONV, Mine(CONV, y=change), seed=0)["y"].verdict == verdict
    wider = Mine(CONV, y=lambda y: y.astype(np.float64))
    assert cd.certify(CONV, wider, dtype="float32", seed=0)["y"].verdict == EQUAL


# Behaviour: each thing tried is seen to fail, alone


def one_sample(*arrays):
    if len(arrays[0]) == 1:
        raise ZeroDivisionError("one sample has no deviation")
    return arrays


def even(*arrays):
    x, w, last = arrays
    half = 2 * (len(x) // 2)
    return np.concatenate([x[:half], 0 * x[half:]]), w, last


def contiguous(*arrays):
    """Take what lies in memory for what the array says, as a pointer without strides does."""
    return tuple(a.ravel(order="K").reshape(a.shape) for a in arrays)


def from_the_start(*arrays):
    """Read from the first address on, as if strides were positive."""
    return tuple(a[..., ::-1] if a.strides[-1] < 0 else a for a in arrays)


def refuse_locked(*arrays):
    if not all(a.flags.writeable for a in arrays):
        raise ValueError("assignment destination is read-only")
    return arrays


def no_empty(*arrays):
    if not len(arrays[0]):
        raise ValueError("empty batch")
    return arrays


@pytest.mark.few_calls(False)
@pytest.mark.parametrize(
    ("before", "name", "verdict", "holds"),
    [
        (one_sample, "batch 1", REFUSED, True),
        (even, "batch 3", WRONG, False),
        (contiguous, "transposed views", WRONG, False),
        (from_the_start, "negative strides", WRONG, False),
        (refuse_locked, "read-only", REFUSED, True),
        (no_empty, "batch 0", REFUSED, True),
    ],
)
def test_each_thing_tried_is_seen_to_fail(before, name, verdict, holds):
    mine = Mine(CONV, before=before)
    certificate = cd.certify(CONV, mine, batch=2, method="random", seed=0)
    assert said(certificate, name).verdict == verdict
    assert (bool(certificate), certificate.refuted) == (holds, not holds)
    assert (f"refused: {name} (" in str(certificate)) == holds


@pytest.mark.few_calls(False)
def test_zeros_give_the_bias_and_nothing():
    def forward(x, w, b):
        return cd.convolve(CONV, x, w, b if x.any() else 0 * b)

    certificate = cd.certify(CONV, (forward, Mine(CONV).backward), method="random", seed=0)
    assert [f.name for f in certificate.behaviour if not f.holds] == [
        "zero x",
        "0.0 beside -0.0",
    ]
    assert not certificate

    def backward(x, w, dy):
        dx, dw, db = cd.convolve_backward(CONV, x, w, dy)
        return dx, dw if dy.any() or not len(x) else np.full_like(dw, np.nan), db

    certificate = cd.certify(CONV, (Mine(CONV).forward, backward), method="random", seed=0)
    assert [f.name for f in certificate.behaviour if not f.holds] == [
        "zero dy",
        "one-hot values",
        "0.0 beside -0.0",
    ]
    one_hot = next(f for f in certificate.behaviour if f.name == "one-hot values")
    assert one_hot.note.startswith("x; in dy 0.0 beside -0.0: dw")


def test_a_large_layer_is_tried_on_a_copy_if_the_implementation_takes_it():
    class AnyShape(Mine):
        def at(self, x, w):
            return cd.Conv(x.shape[1:], len(w), kernel=3, padding=1)

        def forward(self, x, w, b):
            return cd.convolve(self.at(x, w), x, w, b)

        def backward(self, x, w, dy):
            return cd.convolve_backward(self.at(x, w), x, w, dy)

    layer = cd.Conv((16, 40, 40), 16, kernel=3, padding=1)
    certificate = cd.certify(layer, AnyShape(layer), seed=0).require()
    assert certificate.tried_on == behaviour_trials.small_copy(layer) != layer
    assert "on a small copy, Conv((2, 6, 6), out_channels=2, kernel=3, padding=1)" in str(
        certificate
    )
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    fixed = cd.certify(layer, Mine(layer), seed=0).require()
    assert fixed.tried_on is None
    assert all(f.holds for f in fixed.behaviour)


@pytest.mark.parametrize(
    "layer",
    [
        cd.Conv(
            (64, 56, 55),
            256,
            kernel=(3, 2),
            stride=(2, 3),
            padding=(2, 1),
            dilation=(1, 2),
            groups=4,
        ),
        cd.Conv((64, 57, 56), 64, kernel=3, padding=2, padding_mode="reflect"),
        cd.ConvTranspose((64, 28, 28), 32, kernel=3, stride=2, padding=1, output_padding=1),
        cd.Conv((512, 7, 7), 512, kernel=3, padding=1),
    ],
    ids=repr,
)
def test_a_copy_keeps_what_matters(layer):
    copy = behaviour_trials.small_copy(layer)
    assert copy != layer
    assert cd.tie(copy).n_entries < 5_000
    names = ("kernel", "stride", "dilation", "groups", "padding", "flip")
    assert [getattr(copy, n) for n in names] == [getattr(layer, n) for n in names]
    if isinstance(layer, cd.Conv):
        for n, m, s in zip(layer.in_spatial, copy.in_spatial, layer.stride, strict=True):
            assert (n - m) % s == 0  # as many cells are left over
    assert cd.certify(copy)


# Pools


class Pool:
    def __init__(self, pool, y=lambda y: y, dx=lambda dx: dx, before=lambda *a: a):
        self.pool = pool
        self.y = y
        self.dx = dx
        self.before = before

    def forward(self, x):
        return self.y(direct_pool.forward(self.pool, *self.before(x)))

    def backward(self, x, dy):
        return self.dx(direct_pool.backward(self.pool, *self.before(x, dy)))


POOLS = [
    cd.MaxPool((2, 5, 6), kernel=(3, 2), stride=(2, 1), padding=1),
    cd.MinPool((3, 6, 5), kernel=2),
    cd.MaxPool((2, 7, 5), output=(3, 2)),
    cd.AvgPool((2, 5, 6), kernel=3, padding=1, count_include_pad=False),
    cd.SumPool((1, 6, 6), kernel=2),
]
on_pools = pytest.mark.parametrize("pool", POOLS, ids=repr)


@on_pools
def test_a_right_pool_is_certified_with_all_that_it_met(pool):
    certificate = cd.certify(pool, Pool(pool), seed=2).require()
    assert certificate.exact
    assert certificate.met == ((1.0, 1.0) if isinstance(pool, (cd.MaxPool, cd.MinPool)) else None)
    assert {f.verdict for f in certificate.behaviour} == {EQUAL}
    assert (
        NetworkCertificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    )
    assert certificate.rerun(Pool(pool)) == certificate


@on_pools
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_right_pool_is_certified_in_narrower_formats(pool, dtype):
    if window_table(pool).bits(1) > FORMATS[dtype].bits:
        with pytest.raises(
            ValueError, match=f"needs at most 8, up to where {dtype} counts exactly"
        ):
            cd.certify(pool, Pool(pool), dtype=dtype)
        return
    wide = Pool(pool, lambda y: rounded_to(y, dtype), lambda dx: rounded_to(dx, dtype))
    wide.before = lambda *a: tuple(v.astype(np.float64) for v in a)
    assert cd.certify(pool, wide, dtype=dtype, seed=2).require().exact


@on_pools
def test_a_pool_that_sees_fewer_bits_is_imprecise(pool):
    certificate = cd.certify(pool, Pool(pool, before=narrowed(24)), seed=2)
    assert not certificate
    picks = isinstance(pool, (cd.MaxPool, cd.MinPool))
    assert (certificate.refuted, certificate.exact) == (
        picks,
        not picks,
    )  # what is picked is one of the numbers given


def test_an_average_as_a_product_with_one_ninth_is_within_rounding():
    pool = cd.AvgPool((2, 6, 7), kernel=3, stride=1)
    sums = cd.SumPool((2, 6, 7), kernel=3, stride=1)
    ninth = Pool(sums, lambda y: y * (1 / 9), lambda dx: dx * (1 / 9))
    certificate = cd.certify(pool, ninth, seed=0)
    assert bool(certificate)
    off = Pool(sums, lambda y: y * (1 / 9 + 1e-13), lambda dx: dx * (1 / 9))
    assert verdicts(cd.certify(pool, off, seed=0)) == {
        "y": WRONG,
        "dx": EQUAL if certificate.exact else WITHIN,
    }


def test_a_tie_that_random_integers_would_hardly_meet_is_met():
    """Only where cells 2 and 7 of a window of 9 are both largest does it go wrong."""
    pool = cd.MaxPool((1, 3, 3), kernel=3)

    def backward(x, dy):
        dx = direct_pool.backward(pool, x, dy)
        flat, out = x.reshape(len(x), 9), dx.reshape(len(x), 9)
        both = (
            (flat[:, 2] == flat[:, 7])
            & (flat[:, 2] == flat.max(axis=1))
            & ((flat == flat[:, 2:3]).sum(axis=1) == 2)
        )
        out[both] = out[both][:, ::-1]
        return dx

    assert not cd.certify(pool, (Pool(pool).forward, backward), seed=0)


@on_pools
def test_planted_inputs_make_every_cell_win_and_every_pair_tie(pool):
    if not isinstance(pool, (cd.MaxPool, cd.MinPool)):
        assert list(planted(pool, iter([]), np.random.default_rng(0))) == []
        return
    rng, met = np.random.default_rng(0), WindowCoverage(pool)
    flat = (np.zeros((1, *pool.in_shape)) for _ in iter(int, 1))
    for x in planted(pool, flat, rng):
        met.see(x)
    assert met.shares[0] == 1.0
    fresh = WindowCoverage(pool)
    fresh.see(np.arange(float(np.prod(pool.in_shape))).reshape(1, *pool.in_shape))
    assert fresh.shares[0] < 1
    assert fresh.shares[1] == 0


def test_the_windows_of_a_pool_are_those_of_the_loops():
    pool = POOLS[0]
    numbers = np.arange(30.0).reshape(1, 1, 5, 6).repeat(2, axis=1)
    some = window_table(pool)
    largest = np.where(some.cells >= 0, numbers[0, 0].ravel()[some.cells], -inf).max(axis=1)
    assert np.array_equal(
        largest.reshape(pool.out_spatial), direct_pool.forward(pool, numbers)[0, 0]
    )
    assert (
        window_table(
            cd.AvgPool((1, 5, 5), kernel=5, stride=1, padding=2, count_include_pad=False)
        ).unit
        == 3600
    )


def test_a_pool_that_writes_is_said_to_change_its_input():
    pool = POOLS[0]

    def forward(x):
        y = direct_pool.forward(pool, x)
        x[0] = 0
        return y

    assert verdicts(cd.certify(pool, (forward, Pool(pool).backward), seed=0)) == {
        "y": CHANGED,
        "dx": EQUAL,
    }


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 64, 500])
def test_a_pool_of_powers_is_certified_within_its_bound(p):
    pool = cd.LpPool((2, 5, 6), kernel=2, p=p, stride=1)
    assert cd.certify(pool, Pool(pool), seed=0)
    assert cd.certify(pool, Pool(pool, y=lambda y: y * (1 + 2**-52)), seed=0)
    for wrong in (Pool(pool, y=lambda y: y * 1.001), Pool(pool, dx=lambda dx: dx * 1.001)):
        assert cd.certify(pool, wrong, seed=0).refuted


@on_pools
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_pool_is_checked_on_this_data_too(pool, dtype):
    rng = np.random.default_rng(0)
    x, dy = (
        (100 * rng.normal(size=(3, *shape))).astype(dtype)
        for shape in (pool.in_shape, pool.out_shape)
    )
    mine = Pool(pool)
    report = cd.check(pool, x, dy=dy, implementation=mine).require()
    assert report.compared == "Pool against direct pooling"
    assert type(report).from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert report.rerun(mine) == report
    assert cd.check(pool, x[0], dy=dy[0], implementation=mine)
    assert [f.name for f in cd.check(pool, x[0], implementation=mine).findings] == ["y"]
    for wrong, name in (
        (Pool(pool, y=lambda y: y * 1.001), "y"),
        (Pool(pool, dx=lambda dx: dx * 1.001), "dx"),
    ):
        report = cd.check(pool, x, dy=dy, implementation=wrong)
        assert [f.name for f in report.findings if not f.holds] == [name]
        assert report[name].verdict == WRONG


def test_a_pool_of_powers_is_equal_within_its_bound_or_wrong():
    pool = cd.LpPool((2, 5, 6), p=2, kernel=2)
    x, dy = np.random.default_rng(0).normal(size=(2, *pool.in_shape)), np.ones((2, *pool.out_shape))
    assert cd.check(pool, x, dy=dy, implementation=Pool(pool)).exact
    report = cd.check(pool, x, dy=dy, implementation=Pool(pool, y=lambda y: y * (1 + 2**-52)))
    assert report["y"].verdict == WITHIN
    for wrong in (
        Pool(pool, y=lambda y: y * (1 + 2**-44)),
        Pool(pool, dx=lambda dx: np.where(dx == dx.max(), np.nan, dx)),
    ):
        report = cd.check(pool, x, dy=dy, implementation=wrong)
        assert report.refuted
    assert report["dx"].got == "nan"  # the entry named is a wrong one
    vast = cd.check(pool, 1e200 * x, dy=dy, implementation=Pool(pool, y=lambda y: y * np.inf))
    assert vast["y"].verdict == UNDECIDED  # x^2 overflows where it is not scaled
    assert "powers that overflow or vanish" in vast["y"].note


def test_a_network_is_judged_itself():
    net = cd.network(cd.Conv((1, 3, 3), 1, kernel=2), seed=0)
    with pytest.raises(
        TypeError, match=r"implementation: got .* needs none for a network; check its layers"
    ):
        cd.check(net, np.ones((1, 3, 3)), implementation=Mine(CONV))


def filled(pool, fill, sign=1):
    """Return a pool over a copy of the input that is padded with a number, its backward right."""
    (top, bottom), (left, right) = pool.padding

    def forward(x):
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
        tiles = np.lib.stride_tricks.sliding_window_view(x, pool.kernel, axis=(2, 3))
        tiles = tiles[:, :, :: pool.stride[0], :: pool.stride[1]]
        return sign * (sign * tiles).max(axis=(-2, -1))

    return forward, lambda x, dy: direct_pool.backward(pool, x, dy)


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("fill", [0, -10, -1e9])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3)])
@pytest.mark.thinned(3)
def test_padding_that_wins_is_seen_in_large_windows_too(kernel, padding, fill, seed):
    for kind, sign in ((cd.MaxPool, 1), (cd.MinPool, -1)):
        pool = kind((2, 16, 15), kernel=kernel, stride=2, padding=padding)
        assert not cd.certify(pool, filled(pool, sign * fill, sign), seed=seed)
        assert not cd.diagnose(pool, filled(pool, 0, sign), seed=seed)
    pool = cd.MaxPool((2, 16, 15), kernel=kernel, stride=2, padding=padding)
    assert cd.certify(pool, filled(pool, -np.inf), seed=seed)


def test_a_running_maximum_that_starts_at_zero_is_seen():
    pool = cd.MaxPool((2, 8, 8), output=1)
    started = Pool(pool, y=lambda y: np.maximum(y, 0))
    assert not any(cd.certify(pool, started, seed=seed) for seed in range(4))
    assert not cd.diagnose(pool, started, seed=0)


# Operands, results and memory


def test_a_buffer_that_every_call_returns_is_seen():
    buffers = {}

    def into(name, value):
        buffers.setdefault((name, value.shape), np.empty_like(value))[...] = value
        return buffers[name, value.shape]

    mine = Mine(CONV, y=lambda y: into("y", y))
    certificate = cd.certify(CONV, mine, method="random", seed=0)
    assert [f.name for f in certificate.behaviour if not f.holds] == ["results kept"]
    assert not certificate


def test_what_raises_after_it_wrote_to_an_operand_is_told_what_it_raised():
    def forward(x, w, b):
        x[...] = 0
        raise RuntimeError("boom")

    finding = cd.certify(CONV, forward, seed=0)["y"]
    assert (finding.verdict, finding.note) == (RAISED, "RuntimeError: boom")


def test_an_operand_written_to_for_one_sample_alone_is_seen():
    def backward(x, w, dy):
        gradients = cd.convolve_backward(CONV, x, w, dy)
        if len(x) == 1 and dy.flags.writeable:
            dy *= 2
        return gradients

    certificate = cd.certify(CONV, (Mine(CONV).forward, backward), method="random", seed=0)
    assert said(certificate, "batch 1").verdict == CHANGED


def test_weights_of_zeros_give_the_bias():
    scaled = Mine(CONV, before=lambda x, w, last: (x, w * np.abs(w).max() / np.abs(w).max(), last))
    with np.errstate(invalid="ignore"):
        certificate = cd.certify(CONV, scaled, method="random", seed=0)
    assert not said(certificate, "zero w").holds


def test_complex_results_are_of_the_wrong_dtype():
    assert cd.certify(CONV, Mine(CONV, y=lambda y: y + 0j), seed=0)["y"].verdict == DTYPE


def test_what_cannot_become_an_array_is_a_verdict():
    class Refuses:
        def __array__(self, *_, **__):
            raise RuntimeError("call detach first")

    finding = cd.certify(CONV, Mine(CONV, y=lambda y: Refuses()), seed=0)["y"]
    said = "y: got Refuses; needs an array of numbers; convert it to a NumPy array of numbers first"
    assert (finding.verdict, finding.note) == (DTYPE, said)


def test_a_layer_whose_operands_do_not_fit_is_refused_before_they_are_drawn(monkeypatch):
    huge = cd.Conv((3, 20_000, 20_000), 3, kernel=3)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: 10**10)
    said = r"^layer: got {} of {}\.\d GB; needs at most the physical memory, 10\.0 GB"
    operands, all_of_it = "operands and results", "matrices, operands and results"
    with pytest.raises(MemoryError, match=said.format(operands, 153)):
        cd.certify(huge, Mine(huge))
    with pytest.raises(MemoryError, match=said.format(all_of_it, 931)):  # and the matrix
        cd.certify(huge)
    pool = cd.MaxPool((3, 20_000, 20_000), 3, stride=1)
    with pytest.raises(MemoryError, match=said.format(all_of_it, "1,362")):
        cd.certify(pool)
    with pytest.raises(MemoryError, match=said.format(operands, 153)):
        cd.certify(pool, Mine(pool))


def test_a_network_that_does_not_fit_is_refused_before_it_is_judged(monkeypatch):
    conv = cd.Conv((2, 6, 6), 2, kernel=3, padding=1)
    inner = cd.network(conv, cd.ReLU(), cd.MaxPool((2, 6, 6), 2))
    last = cd.AvgPool((2, 3, 3), output=2), cd.Flatten(), cd.Dense(np.ones((3, 8)))
    net = cd.network(cd.Residual(cd.network(conv)), inner, *last)
    # 4 numbers a cell and sample, in and out of each layer; 3 an entry; of pools 14 a cell of a
    # window (windows of an adaptive one: ceil(3 / 2) + 1 cells at most)
    cells = 2 * (72 + 72) + (72 + 72) + (72 + 18) + (18 + 8) + (8 + 8) + (8 + 3)
    entries = 2 * 3 * cd.tie(conv).n_entries + 14 * 4 * 18 + 14 * 9 * 8 + 3 * 24
    needed = 8 * (4 * 2 * cells + entries)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: needed)
    assert cd.certify(net, seed=0)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: needed - 1)
    with pytest.raises(MemoryError, match=r"got matrices, operands and results of 0\.0 GB"):
        cd.certify(net, seed=0)


def test_coefficients_that_round_are_no_fault():
    ties = cd.TieMap.from_index(np.where(np.eye(8) == 1, np.arange(8), -1), 3 * np.eye(8))

    def backward(x, w, dy):
        return dy * (3 * w), 3 * (x * dy).sum(axis=0), dy.sum(axis=0)

    mine = (lambda x, w, b: x * (3 * w) + b), backward
    for seed in range(10):
        assert cd.certify(ties, mine, seed=seed)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8))
    w = rng.normal(size=8)
    dy = rng.normal(size=(2, 8))
    assert cd.check(ties, x, w, None, dy, implementation=(lambda x, w, b: x * (3 * w), backward))
    assert not cd.check(
        ties, x, w, None, dy, implementation=(lambda x, w, b: x * (3.001 * w), backward)
    )


def test_a_difference_that_is_linear_in_the_bias_is_counted_for_what_it_is():
    """In few bits a bias that is lost can pass for rounding: then no probability is claimed."""
    small = cd.Conv((2, 3), 1, kernel=1)

    def forward(x, w, b):
        y = cd.convolve(small, x.astype(float), w.astype(float), b.astype(float))
        y[1:, :, 0] -= b.astype(float)
        return rounded_to(y, "bfloat16")

    def backward(x, w, dy):
        exact = cd.convolve_backward(small, *(a.astype(float) for a in (x, w, dy)))
        return tuple(rounded_to(g, "bfloat16") for g in exact)

    certificates = [
        cd.certify(small, (forward, backward), dtype="bfloat16", method="random", seed=s)
        for s in range(40)
    ]
    assert sum(map(bool, certificates)) <= sum(
        c.error for c in certificates
    )  # what is claimed, on average


# The parts themselves


def test_narrow_integers_are_exact_for_float32_sums_of_tf32_operands():
    for layer in (CONV, LARGE, UP):
        m = narrow_ranges(layer, 2)
        assert max(m.x, m.w, m.dy) <= 2**8
        wide = exact_ranges(layer, "float32", 2)
        assert all(a <= b for a, b in zip(m[:2], (2**8, 2**8), strict=True))
        assert m.x * m.w <= wide.x * wide.w


def test_ranges_of_half_precision_stay_exact_and_finite():
    for dtype, most in (("float16", 2**11), ("bfloat16", 2**8)):
        m = exact_ranges(CONV, dtype, 2)
        assert max(m) <= most
    sums = direct_conv.convolve(
        CONV,
        np.full((1, *CONV.in_shape), float(exact_ranges(CONV, "float16", 2).x)),
        np.full(CONV.weight_shape, float(exact_ranges(CONV, "float16", 2).w)),
    )
    assert sums.max() < FORMATS["float16"].largest / 2
