"""The rounding bounds against exact rationals: true errors stay below, planted ones do not."""

import warnings
from collections import Counter
from fractions import Fraction
from math import prod

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    LocallyConnected,
    TiedDense,
    TieMap,
    check,
    convolve,
    convolve_backward,
    tie,
)
from convdense._util.float_formats import gamma, unit_roundoff
from convdense.rounding.sum_bounds import rounding_bounds, terms

pytestmark = pytest.mark.few_calls

QUANTITIES = ("y", "dx", "dw", "db")
ROUNDOFF = {"float32": 2**-24, "complex64": 2**-24, "float64": 2**-53, "complex128": 2**-53}
LAYERS = [
    Conv((2, 5), 3, kernel=3, stride=2, padding=((2, 1),)),
    Conv((2, 3, 4), 3, kernel=(2, 3), padding=(0, 1), flip=True),
    Conv((1, 2, 3), 2, kernel=(3, 2), padding=((3, 1), (0, 2)), padding_mode="replicate"),
    Conv((4, 3, 2), 2, kernel=(1, 2), groups=2, padding=((0, 0), (1, 1)), padding_mode="circular"),
    ConvTranspose((2, 2, 3), 1, kernel=(2, 3), stride=(1, 2), padding=((0, 1), (0, 0))),
    LocallyConnected((2, 3, 3), 2, kernel=(2, 1), stride=(1, 2)),
]
# 16 taps a side on one replicated pixel, read at 256 positions a side: 2^24 products reach the one
# dx
AT_THE_LIMIT = Conv((1, 1, 1), 1, kernel=16, padding=135, padding_mode="replicate")
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)
on_dtypes = pytest.mark.parametrize("dtype", ROUNDOFF)
on_quantities = pytest.mark.parametrize("name", QUANTITIES)


def shapes(layer, batch=2):
    return (batch, *layer.in_shape), layer.weight_shape, layer.bias_shape, (batch, *layer.out_shape)


def reals(layer, dtype, seed=0, scale=1.0, batch=2):
    """Return x, w, b and dy of both signs and of sizes over three decades."""
    rng = np.random.default_rng(seed)

    def part(shape):
        return rng.normal(size=shape) * 10 ** rng.uniform(-2, 1, shape) * scale

    kind = np.dtype(dtype).kind
    return tuple(
        (part(s) + (1j * part(s) if kind == "c" else 0)).astype(dtype) for s in shapes(layer, batch)
    )


def dense(layer, operands):
    tied = TiedDense(layer, operands[1], operands[2])
    return dict(
        zip(
            QUANTITIES,
            (tied.forward(operands[0]), *tied.backward(operands[0], operands[3])),
            strict=True,
        )
    )


def direct(layer, operands):
    x, w, b, dy = operands
    return dict(
        zip(
            QUANTITIES, (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy)), strict=True
        )
    )


class Complex:
    """Real and imaginary part as object arrays of Fractions: arithmetic that never rounds."""

    def __init__(self, re, im):
        self.re, self.im = re, im

    @classmethod
    def of(cls, array):
        fractions = np.vectorize(Fraction, otypes=[object])
        return cls(fractions(np.real(array).astype(float)), fractions(np.imag(array).astype(float)))

    def __matmul__(self, other):
        re = self.re @ other.re - self.im @ other.im
        return Complex(re, self.re @ other.im + self.im @ other.re)

    def conj(self):
        return Complex(self.re, -self.im)

    def map(self, change):
        return Complex(change(self.re), change(self.im))

    def distance2(self, array):
        """Return the squared distance to an array of floats."""
        other = Complex.of(array)
        return (self.re - other.re) ** 2 + (self.im - other.im) ** 2


def exactly(layer, operands):
    """Return y, dx, dw and db as the tie map defines them, in Fractions."""
    ties, entries = tie(layer), tie(layer).entries()
    x, w, b, dy = (Complex.of(a) for a in operands)
    batch = len(operands[0])
    x, dy = (a.map(lambda part: part.reshape(batch, -1)) for a in (x, dy))

    def placed(part):
        matrix = np.full(ties.shape, Fraction(0))
        np.add.at(matrix, (entries.row, entries.col), part.ravel()[entries.index])
        return matrix

    def gathered(part):
        total = np.full(ties.n_weights, Fraction(0))
        np.add.at(total, entries.index, part[entries.row, entries.col])
        return total.reshape(ties.weight_shape)

    W = w.map(placed)
    y = (x @ W.map(np.transpose)).map(lambda part: part.reshape(batch, *layer.out_shape))
    ones = (1,) * (len(layer.out_shape) - len(layer.bias_shape))
    y = Complex(*(a + c.reshape(layer.bias_shape + ones) for a, c in ((y.re, b.re), (y.im, b.im))))
    dx = (dy @ W.conj()).map(lambda part: part.reshape(batch, *layer.in_shape))
    dw = (dy.map(np.transpose) @ x.conj()).map(gathered)
    per_bias = (batch, prod(layer.bias_shape), -1)
    db = dy.map(lambda part: part.reshape(per_bias).sum(axis=(0, 2)).reshape(layer.bias_shape))
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def exact_gamma(n, u):
    return Fraction(int(n)) * Fraction(u) / (1 - int(n) * Fraction(u))


def fractions(array):
    return np.vectorize(Fraction, otypes=[object])(np.asarray(array, float))


def bounds_for(layer, operands):
    return rounding_bounds(layer, operands, dict.fromkeys(QUANTITIES, operands[0].dtype))


@pytest.mark.parametrize("u", [2**-24, 2**-53, 0.25])
@pytest.mark.parametrize("n", [1, 2, 3, 577, 10**6])
def test_gamma_is_what_rational_arithmetic_says(n, u):
    got = float(gamma(n, u))
    if n * u >= 1:
        assert got == np.inf
    else:  # n u is exact; one subtraction and one division round, by 2^-53 each
        exact = exact_gamma(n, u)
        assert abs(Fraction(got) - exact) <= exact * 3 * Fraction(2) ** -53


def test_gamma_is_infinite_from_n_u_equal_1_on_and_says_so_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = gamma(np.array([0, 2**24 - 1, 2**24, 2**24 + 1, 2**62]), 2**-24)
    assert values.tolist() == [0, 2**24 - 1, np.inf, np.inf, np.inf]


@on_dtypes
def test_unit_roundoff_is_half_the_step_after_1(dtype):
    one = np.ones((), dtype).real
    assert unit_roundoff(dtype) == float(np.nextafter(one, 2 * one) - one) / 2 == ROUNDOFF[dtype]


@pytest.mark.parametrize("batch", [1, 3])
@on_layers
def test_terms_are_the_entries_counted_one_by_one(layer, batch):
    ties, counted = tie(layer), terms(layer, batch)
    row, col, index, _ = ties.entries()
    brute = {"y": Counter(row.tolist()), "dx": Counter(col.tolist()), "dw": Counter(index.tolist())}
    per_output = {"y": (1, 1), "dx": (1, 0), "dw": (batch, 0)}  # times, plus
    for name, (times, plus) in per_output.items():
        flat = counted[name].ravel()
        assert flat.tolist() == [brute[name][k] * times + plus for k in range(flat.size)]
    assert [a.shape for a in counted.values()] == [
        layer.out_shape,
        layer.in_shape,
        layer.weight_shape,
        layer.bias_shape,
    ]
    assert counted["db"].ravel().tolist() == [
        batch * prod(layer.out_shape) // prod(layer.bias_shape)
    ] * prod(layer.bias_shape)


def test_a_replicated_pixel_sums_57_products_not_3():
    counted = terms(Conv((1, 1), 1, kernel=3, padding=10, padding_mode="replicate"), batch=1)
    assert counted["dx"].tolist() == [[57]]
    assert counted["y"].tolist() == [[4] * 19]
    assert counted["dw"].tolist() == [[[19] * 3]]


@on_dtypes
@on_layers
def test_true_errors_of_both_ways_stay_below_their_part_of_the_bound(layer, dtype):
    operands = reals(layer, dtype)
    wide = [a.astype(np.result_type(a, np.float64)) for a in operands]
    truth = exactly(layer, operands)
    bounds = bounds_for(layer, operands)
    counted = terms(layer, 2)
    more = 2 if np.dtype(dtype).kind == "c" else 0
    evaluators = [
        (dense, operands, ROUNDOFF[dtype]),
        (direct, operands, ROUNDOFF[dtype]),
        (direct, wide, 2**-53),
    ]
    for evaluator, given, u in evaluators:
        for name, got in evaluator(layer, given).items():
            n = np.broadcast_to(counted[name] + more, got.shape)
            both = [exact_gamma(k, ROUNDOFF[dtype]) + exact_gamma(k, 2**-53) for k in n.flat]
            share = [
                exact_gamma(k, u) / total if total else 0
                for k, total in zip(n.flat, both, strict=True)
            ]
            part = np.reshape(np.array(share, dtype=object), got.shape) * fractions(bounds[name])
            assert (truth[name].distance2(got) <= part**2).all(), (evaluator.__name__, name)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_one_complex_product_may_cost_more_than_one_real_one(dtype):
    layer = Conv((1, 1), 1, kernel=1)  # one product for each dx
    operands = reals(layer, dtype, seed=12, batch=400)
    u = ROUNDOFF[dtype]
    part = (
        fractions(bounds_for(layer, operands)["dx"])
        * exact_gamma(3, u)
        / (exact_gamma(3, u) + exact_gamma(3, 2**-53))
    )
    distance2 = exactly(layer, operands)["dx"].distance2(dense(layer, operands)["dx"])
    assert (distance2 <= part**2).all()
    assert (
        distance2 > (part * exact_gamma(1, u) / exact_gamma(3, u)) ** 2
    ).any()  # gamma_1 would not do


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_layers
def test_the_bound_is_the_derived_one_and_no_larger(layer, dtype):
    operands = reals(layer, dtype, seed=1)
    sizes = exactly(layer, [np.abs(a) for a in operands])
    subnormal = Fraction(float(np.finfo(dtype).smallest_subnormal))
    for name, bound in bounds_for(layer, operands).items():
        n = np.broadcast_to(terms(layer, 2)[name], bound.shape)
        both = [exact_gamma(k, ROUNDOFF[dtype]) + exact_gamma(k, 2**-53) for k in n.flat]
        derived = (
            np.reshape(np.array(both, dtype=object), n.shape) * sizes[name].re
            + n.astype(object) * subnormal
        )
        got = fractions(bound)
        assert (
            got <= derived * (1 + Fraction(2) ** -44)
        ).all()  # some 60 roundings of its own, 2^-53 each
        assert (got >= derived * (1 - Fraction(2) ** -50)).all()


@on_dtypes
@on_layers
def test_right_evaluators_are_within_rounding(layer, dtype):
    report = check(layer, *reals(layer, dtype, seed=2))
    assert report.require() is report
    assert all(finding.share <= 1 for finding in report.findings)


@pytest.mark.parametrize("wide", range(4), ids=["x", "w", "b", "dy"])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
@on_layers
def test_operands_of_different_dtypes_are_judged_by_the_least_precise_sums(layer, dtype, wide):
    operands = list(reals(layer, "float32", seed=11))
    operands[wide] = (10 * operands[wide]).astype(dtype)
    assert check(layer, *operands).require()


@on_quantities
@on_layers
def test_an_error_of_three_bounds_in_one_float32_entry_is_refused_and_named(layer, name):
    operands = reals(layer, "float32", seed=3)
    got, bound = dense(layer, operands), bounds_for(layer, operands)[name]
    at = tuple(int(i) for i in np.unravel_index(got[name].size * 2 // 3, got[name].shape))
    results = {k: v.astype(np.float64) for k, v in got.items()}
    assert check(layer, *operands, implementation=fixed(results))
    results[name][at] += 3 * bound[at]
    report = check(layer, *operands, implementation=fixed(results))
    assert not report
    assert {f.name: f.verdict for f in report.findings if f.verdict == "wrong"} == {name: "wrong"}
    assert (report[name].at, report[name].bound) == (at, bound[at])
    assert 2 < report[name].share < 4


def fixed(results):
    """Return an implementation whose results are already known."""
    return (lambda x, w, b: results["y"]), (
        lambda x, w, dy: (results["dx"], results["dw"], results["db"])
    )


def reversed_kernel(layer):
    turn = lambda w: np.flip(w, tuple(range(2, w.ndim)))  # noqa: E731  (one line)

    def backward(x, w, dy):
        dx, dw, db = convolve_backward(layer, x, turn(w), dy)
        return dx, turn(dw), db

    return (lambda x, w, b: convolve(layer, x, turn(w), b)), backward


@on_quantities
def test_what_allclose_calls_equal_at_weights_of_1e_9_is_wrong(name):
    layer = LAYERS[1]
    x, w, b, dy = reals(layer, "float64", seed=4)
    x = x / 1e3
    w = w * 1e-9
    b = b * 1e-9
    dy = dy * 1e-9
    forward, backward = reversed_kernel(layer)
    mine = dict(zip(QUANTITIES, (forward(x, w, b), *backward(x, w, dy)), strict=True))
    assert np.allclose(mine[name], direct(layer, (x, w, b, dy))[name])
    report = check(layer, x, w, b, dy, implementation=(forward, backward))
    assert report[name].verdict == ("equal" if name == "db" else "wrong")


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float64", 1e-310), ("float64", 1e-160), ("float32", 1e-42), ("float32", 1e-21)],
)
@on_layers
def test_subnormal_numbers_do_not_cry_wolf(layer, dtype, scale):
    operands = reals(layer, dtype, seed=5, scale=scale)
    wide = [a.astype(np.float64) for a in operands]
    truth, bounds = exactly(layer, operands), bounds_for(layer, operands)
    assert (
        min(np.abs(wide[0]).min(), np.abs(direct(layer, wide)["dx"]).min()) < np.finfo(dtype).tiny
    )
    for evaluator, given in ((dense, operands), (direct, wide)):
        for name, got in evaluator(layer, given).items():
            assert (truth[name].distance2(got) <= fractions(bounds[name]) ** 2).all(), (
                evaluator.__name__,
                name,
            )
    assert check(layer, *operands)
    assert check(layer, *operands, implementation=fixed(dense(layer, operands)))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_subnormal_products_do_not_cry_wolf(dtype):
    layer = Conv((1, 1), 1, kernel=1)  # one product for each dx: the bound has no room to spare
    scale = float(np.sqrt(np.finfo(dtype).smallest_subnormal)) * 1e2
    x, w, b, dy = reals(layer, dtype, seed=6, scale=scale, batch=400)
    assert check(layer, x, w, b, dy).require()
    best = {
        k: v.re.astype(float) + 1j * v.im.astype(float)
        for k, v in exactly(layer, (x, w, b, dy)).items()
    }
    assert check(layer, x, w, b, dy, implementation=fixed(best)).require()


def test_a_kernel_reversed_among_subnormal_numbers_is_still_wrong():
    layer = LAYERS[1]
    x, w, b, dy = reals(layer, "float64", seed=7)
    report = check(layer, x, w * 1e-310, b, dy, implementation=reversed_kernel(layer))
    assert report["dx"].verdict == "wrong"


def test_sums_too_long_for_float32_are_undecided_even_when_they_agree_nearly():
    layer = AT_THE_LIMIT
    x, w, dy = (
        np.ones(s, np.float32) for s in (layer.in_shape, layer.weight_shape, layer.out_shape)
    )
    assert terms(layer, 1)["dx"].item() * 2**-24 == 1

    def backward(x, w, dy):
        dx, dw, db = convolve_backward(layer, x, w, dy)
        return dx * np.float32(1 + 2**-20), dw, db

    report = check(
        layer, x, w, None, dy, implementation=(lambda x, w, b: convolve(layer, x, w, b), backward)
    )
    assert {f.name: f.verdict for f in report.findings} == {
        "y": "equal",
        "dx": "undecided",
        "dw": "equal",
    }
    assert not report
    assert report["dx"].bound == np.inf
    assert (
        rounding_bounds(layer, (x[None], w, None, dy[None]), {"dx": np.float64})["dx"].item()
        < 2**24 * 2**-27
    )


def test_sums_that_may_overflow_in_float32_are_undecided():
    layer = LAYERS[0]
    x, w, b, dy = reals(layer, "float32", seed=8)
    report = check(layer, np.sign(x) * np.float32(1e30), np.sign(w) * np.float32(1e30), b, dy)
    assert not report
    assert report["y"].verdict == "undecided"
    assert {report[name].verdict for name in ("dx", "dw", "db")} <= {"equal", "within rounding"}


def test_that_both_ways_overflow_to_the_same_infinity_decides_nothing():
    layer = Conv((1, 3, 4), 2, kernel=2)
    x, w, b, dy = (np.abs(a) for a in reals(layer, "float64", seed=9))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for implementation in (None, reversed_kernel(layer)):
            report = check(layer, x * 1e200, w * 1e200, b, dy, implementation=implementation)
            assert (report["y"].verdict, bool(report)) == ("undecided", False)


def test_overflow_is_reported_in_the_verdict_and_not_as_a_warning():
    layer = Conv((1, 3, 4), 2, kernel=2)
    x, w = np.full(layer.in_shape, 1e200), np.full(layer.weight_shape, 1e200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not check(layer, x, w)


def test_a_sum_whose_size_overflows_though_it_cancels_is_undecided():
    layer = Conv((1, 2), 1, kernel=2)
    x, w = np.array([[1e308, 1e308]]), np.array([[[1.0, -1.0]]])
    off_by_one_in_the_last_place = (
        (lambda x, w, b: np.full((1, 1, 1), 1.0)),
        (lambda x, w, dy: (x * 0, w * 0, None)),
    )
    report = check(layer, x, w, implementation=off_by_one_in_the_last_place)
    assert report["y"].verdict == "undecided"


SIGNED = TieMap.from_index([[0, 1, 2], [2, 0, -1]], coefficient=[[1, -1, 0.5], [-1, -1, 1]])


def test_sizes_count_the_coefficients_without_their_signs():
    x = np.array([[1.0, 2, 3]])
    w = np.array([4.0, 5, 6])
    dy = np.array([[7.0, 8]])
    bounds = rounding_bounds(
        SIGNED, (x, w, None, dy), {"y": np.float64, "dx": np.float64, "dw": np.float64}
    )
    sizes = {
        "y": [[4 + 10 + 9, 6 + 8]],
        "dx": [[28 + 48, 35 + 32, 21]],
        "dw": [7 + 16, 14, 10.5 + 8],
    }
    for name, size in sizes.items():
        derived = 2 * gamma(terms(SIGNED, 1)[name], 2**-53) * size
        assert (derived <= bounds[name]).all()
        assert (bounds[name] <= derived * (1 + 2**-44)).all()


def test_with_negative_coefficients_right_is_right_and_wrong_is_wrong():
    rng = np.random.default_rng(9)
    x, w, b, dy = (rng.normal(size=s) for s in shapes(SIGNED, batch=3))
    forward = lambda x, w, b: TiedDense(SIGNED, w, b).forward(x)  # noqa: E731  (one line)
    backward = lambda x, w, dy: TiedDense(SIGNED, w, b).backward(x, dy)  # noqa: E731  (one line)
    nearly = lambda x, w, b: forward(x, w, b) * (1 + 2**-52)  # noqa: E731  (one line)
    wrong = lambda x, w, b: forward(x, w, b) * 1.5  # noqa: E731  (one line)
    assert (
        check(SIGNED, x, w, b, dy, implementation=(nearly, backward))["y"].verdict
        == "within rounding"
    )
    assert check(SIGNED, x, w, b, dy, implementation=(wrong, backward))["y"].verdict == "wrong"


def test_float32_is_judged_by_float64_even_against_its_own_kind():
    """Direct convolution in float32 equals itself; judged by float64, its rounding shows."""
    conv, rng = Conv((3, 6, 5), 4, kernel=3, padding=1), np.random.default_rng(0)
    shapes = ((2, 3, 6, 5), conv.weight_shape, conv.bias_shape, (2, *conv.out_shape))
    x, w, b, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    itself = (lambda *a: convolve(conv, *a)), (lambda *a: convolve_backward(conv, *a))
    report = check(conv, x, w, b, dy, implementation=itself)
    assert [f.verdict for f in report.findings] == ["within rounding"] * 4
    assert all(0 < f.share <= 1 for f in report.findings)
