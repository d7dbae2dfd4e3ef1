"""certify: right implementations pass bit for bit, planted mistakes are refused and named."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from scipy.signal import convolve as full_convolve
from scipy.signal import correlate

from convdense import (
    Conv,
    ConvTranspose,
    LocallyConnected,
    TiedDense,
    TieMap,
    certify,
    convolve,
    convolve_backward,
    tie,
)
from convdense.certificates._certify import AUTO_CALLS, EXHAUSTIVE_CALLS
from convdense.certificates.integer_ranges import exact_ranges, longest_sums
from convdense.certificates.integer_trials import DRAWS, exhaustive_calls
from convdense.rounding.sum_bounds import terms
from tests.test_bounds import AT_THE_LIMIT, LAYERS, SIGNED

pytestmark = pytest.mark.few_calls

SMALL = Conv((2, 2, 3), 2, kernel=(2, 3), padding=((0, 0), (1, 0)))
WIDE = Conv((2, 5, 4), 3, kernel=(2, 3), stride=(2, 1), padding=((1, 0), (0, 2)))
BEYOND = Conv((1, 1, 1), 1, kernel=16, padding=((135, 135), (135, 136)), padding_mode="replicate")
HALVES = TieMap.from_index([[0, 1], [1, -1]], coefficient=np.full((2, 2), 0.5))
PRECISION = {"float32": 24, "float64": 53}
RUNS = [
    (SMALL, {"method": "exhaustive"}),
    (SMALL, {"method": "random"}),
    (WIDE, {"method": "random"}),
    (WIDE, {"method": "random", "dtype": "float32", "batch": 3}),
]
on_runs = pytest.mark.parametrize(
    ("layer", "options"), RUNS, ids=[f"{r!r} {' '.join(map(str, o.values()))}" for r, o in RUNS]
)
on_dtypes = pytest.mark.parametrize("dtype", PRECISION)


class PerTap:
    """Convolution with zero padding as one product per tap, summed in float64."""

    def __init__(self, conv):
        self.conv = conv

    def padded(self, x):
        return np.pad(x, [(0, 0), (0, 0), *self.conv.padding]).astype(np.float64)

    def cropped(self, padded):
        (top, bottom), (left, right) = self.conv.padding
        return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]

    def taps(self):
        """Yield every tap (i, j) and the cells of the padded input it meets."""
        (rows, cols), (down, across) = self.conv.out_spatial, self.conv.stride
        for i, j in np.ndindex(self.conv.kernel):
            yield i, j, np.s_[:, :, i : i + rows * down : down, j : j + cols * across : across]

    def forward(self, x, w, b):
        padded = self.padded(x)
        y = sum(
            np.einsum("oc,nchw->nohw", w[:, :, i, j].astype(float), padded[view])
            for i, j, view in self.taps()
        )
        return y + b[:, None, None]

    def backward(self, x, w, dy):
        padded, dw = self.padded(x), np.zeros(w.shape)
        full = np.zeros_like(padded)
        for i, j, view in self.taps():
            full[view] += np.einsum("oc,nohw->nchw", w[:, :, i, j].astype(float), dy)
            dw[:, :, i, j] = np.einsum("nohw,nchw->oc", dy.astype(float), padded[view])
        return self.cropped(full), dw, dy.sum(axis=(0, 2, 3))


class Im2col(PerTap):
    """The textbook matrix product on gathered patches."""

    def columns(self, x):
        windows = np.lib.stride_tricks.sliding_window_view(
            self.padded(x), self.conv.kernel, axis=(2, 3)
        )
        windows = windows[
            :, :, :: self.conv.stride[0], :: self.conv.stride[1]
        ]  # (n, c, h, w, i, j)
        return windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), prod(self.conv.out_spatial), -1)

    def forward(self, x, w, b):
        y = self.columns(x) @ w.reshape(len(w), -1).T + b
        return y.swapaxes(1, 2).reshape(len(x), *self.conv.out_shape)

    def backward(self, x, w, dy):
        rows = dy.reshape(len(dy), len(w), -1).swapaxes(1, 2)  # (n, positions, out)
        numbers = np.arange(1.0, 1 + prod(self.conv.in_shape)).reshape(1, *self.conv.in_shape)
        where = self.columns(numbers)[0].astype(
            int
        )  # the input cell of every patch entry, 0 for padding
        dx = np.zeros((len(x), 1 + prod(self.conv.in_shape)))
        for sample, patches in zip(dx, rows @ w.reshape(len(w), -1), strict=True):
            np.add.at(sample, where, patches)
        dw = np.einsum("npo,npk->ok", rows.astype(float), self.columns(x)).reshape(w.shape)
        return dx[:, 1:].reshape(x.shape), dw, rows.sum(axis=(0, 1))


class SciPy(PerTap):
    """scipy.signal, one pair of channels at a time; a stride spreads dy out with zeros."""

    def spread(self, dy):
        shape = [
            n + sum(p) - k + 1
            for n, p, k in zip(
                self.conv.in_spatial, self.conv.padding, self.conv.kernel, strict=True
            )
        ]
        out = np.zeros((*dy.shape[:2], *shape))
        out[:, :, :: self.conv.stride[0], :: self.conv.stride[1]] = dy
        return out

    def forward(self, x, w, b):
        padded, pairs = self.padded(x), np.ndindex(len(x), len(w))
        y = [
            sum(correlate(p, k, "valid", "direct") for p, k in zip(padded[n], w[o], strict=True))
            for n, o in pairs
        ]
        y = np.reshape(y, (len(x), len(w), *y[0].shape))[
            :, :, :: self.conv.stride[0], :: self.conv.stride[1]
        ]
        return y + b[:, None, None]

    def backward(self, x, w, dy):
        padded, up = self.padded(x), self.spread(dy)
        full, dw = np.zeros_like(padded), np.zeros(w.shape)
        for n, o, c in np.ndindex(len(x), *w.shape[:2]):
            full[n, c] += full_convolve(up[n, o], w[o, c], "full", "direct")
            dw[o, c] += correlate(padded[n, c], up[n, o], "valid", "direct")
        return self.cropped(full), dw, dy.sum(axis=(0, 2, 3))


class Defect:
    """A right implementation, one step of it changed."""

    def __init__(self, conv, forward=None, backward=None):
        right = PerTap(conv)
        self.forward = right.forward if forward is None else lambda *a: forward(right, *a)
        self.backward = right.backward if backward is None else lambda *a: backward(right, *a)


def turned(w):
    return w[:, :, ::-1, ::-1]


def scaled(w, at, factor):
    w = w.astype(np.float64)
    w[at] *= factor
    return w


def gradients(change):
    """Return a backward that changes the right dx, dw, db."""
    return lambda right, x, w, dy: change(*right.backward(x, w, dy))


def dx_by(change):
    return lambda right, x, w, dy: (
        right.backward(x, change(w), dy)[0],
        *right.backward(x, w, dy)[1:],
    )


def uncropped(right, x, w, dy):
    right_dx, dw, db = right.backward(x, w, dy)
    return np.pad(right_dx, [(0, 0), (0, 0), *right.conv.padding]), dw, db


def averaged_db(right, x, w, dy):
    dx, dw, _ = right.backward(x, w, dy)
    return dx, dw, dy.mean(axis=(2, 3)).sum(axis=0)


def mean_over_the_batch(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    return dx, dw / len(x), db / len(x)


def last_sample(right, x, w, dy):
    dx, _, db = right.backward(x, w, dy)
    return dx, right.backward(x[-1:], w, dy[-1:])[1], db


def in_place(right, x, w, dy):
    dy *= 2
    return right.backward(x, w, dy)


def anywhere(at):
    return True


# what was done wrong -> forward, backward, the quantities that are then wrong, where they must be
# seen to be wrong
DEFECTS = {
    "the kernel flipped": (lambda r, x, w, b: r.forward(x, turned(w), b), None, {"y"}, anywhere),
    "one weight off by 1e-4": (
        lambda r, x, w, b: r.forward(x, scaled(w, (1, 0, 1, 2), 1 + 1e-4), b),
        None,
        {"y"},
        lambda at: at[1] == 1,
    ),
    "one tap missing": (
        lambda r, x, w, b: r.forward(x, scaled(w, np.s_[:, :, 1, 0], 0), b),
        None,
        {"y"},
        anywhere,
    ),
    "the bias forgotten": (lambda r, x, w, b: r.forward(x, w, 0 * b), None, {"y"}, anywhere),
    "one bias of two": (
        lambda r, x, w, b: r.forward(x, w, b * (np.arange(len(b)) != 1)),
        None,
        {"y"},
        lambda at: at[1] == 1,
    ),
    "the input channels swapped": (
        lambda r, x, w, b: r.forward(x[:, ::-1], w, b),
        None,
        {"y"},
        anywhere,
    ),
    "dx with the kernel flipped": (None, dx_by(turned), {"dx"}, anywhere),
    "dx with one tap missing": (
        None,
        dx_by(lambda w: scaled(w, np.s_[:, 1, 0, 1], 0)),
        {"dx"},
        lambda at: at[1] == 1,
    ),
    "dx not cropped": (None, uncropped, {"dx"}, lambda at: at is None),
    "dw with its sign turned": (
        None,
        gradients(lambda dx, dw, db: (dx, -dw, db)),
        {"dw"},
        anywhere,
    ),
    "dw with one entry off by 1e-4": (
        None,
        gradients(lambda dx, dw, db: (dx, scaled(dw, (1, 1, 0, 2), 1 + 1e-4), db)),
        {"dw"},
        lambda at: at == (1, 1, 0, 2),
    ),
    "dw with one entry missing": (
        None,
        gradients(lambda dx, dw, db: (dx, scaled(dw, (0, 1, 1, 0), 0), db)),
        {"dw"},
        lambda at: at == (0, 1, 1, 0),
    ),
    "dw with its input channels swapped": (
        None,
        gradients(lambda dx, dw, db: (dx, dw[:, ::-1], db)),
        {"dw"},
        anywhere,
    ),
    "db averaged over the positions": (None, averaged_db, {"db"}, anywhere),
    "db with one entry missing": (
        None,
        gradients(lambda dx, dw, db: (dx, dw, db * (np.arange(len(db)) != 1))),
        {"db"},
        lambda at: at == (1,),
    ),
    "the mean over the batch": (None, mean_over_the_batch, {"dw", "db"}, anywhere),
    "dw of the last sample alone": (None, last_sample, {"dw"}, anywhere),
    "dy changed in place": (None, in_place, {"dx", "dw", "db"}, anywhere),
}


@pytest.mark.parametrize("kind", [PerTap, Im2col, SciPy, Defect])
@on_runs
def test_an_implementation_that_computes_the_same_differently_is_exact(layer, options, kind):
    certificate = certify(layer, kind(layer), **options)
    assert certificate.require().exact
    assert [f.name for f in certificate.findings] == ["y", "dx", "dw", "db"]
    assert certificate.compared == f"{kind.__name__} against direct convolution"


@pytest.mark.parametrize("defect", DEFECTS)
@on_runs
@pytest.mark.thinned(3)
def test_a_mistake_is_refused_and_named(layer, options, defect):
    forward, backward, names, where = DEFECTS[defect]
    certificate = certify(layer, Defect(layer, forward, backward), **options)
    assert not certificate
    assert {f.name for f in certificate.findings if not f.holds} == names
    assert {f.verdict for f in certificate.findings if f.name not in names} <= {"equal"}
    assert all(where(certificate[name].at) for name in names)
    with pytest.raises(
        AssertionError, match="|".join(f"{name} .*(wrong|changed its input)" for name in names)
    ):
        certificate.require()


def test_a_shape_that_is_wrong_is_named():
    certificate = certify(WIDE, Defect(WIDE, backward=uncropped), batch=4)
    assert str(certificate["dx"]) == "dx  wrong shape; (4, 2, 6, 6) where (4, 2, 5, 4) is needed"


def test_the_first_difference_is_reported_with_both_values():
    certificate = certify(
        SMALL, Defect(SMALL, forward=lambda r, x, w, b: r.forward(x, w, 3 * b)), method="exhaustive"
    )
    finding = certificate["y"]
    assert finding.at == (0, 0, 0, 0)
    assert float(finding.got) == 3 * float(finding.expected) != 0
    assert (
        str(finding)
        == f"y   wrong, worst at (0, 0, 0, 0): got {finding.got}, expected {finding.expected} ± 0"
    )


@on_runs
def test_a_pair_of_functions_is_an_implementation_too(layer, options):
    right, wrong = PerTap(layer), Defect(layer, lambda r, x, w, b: r.forward(x, turned(w), b))
    for pair in [(right.forward, right.backward), [right.forward, right.backward]]:
        assert certify(layer, pair, **options)
    assert not certify(layer, (wrong.forward, right.backward), **options)


@on_runs
def test_a_bias_gradient_of_none_is_not_judged(layer, options):
    without = Defect(layer, backward=gradients(lambda dx, dw, db: (dx, dw, None)))
    certificate = certify(layer, without, **options)
    assert certificate
    assert [f.name for f in certificate.findings] == ["y", "dx", "dw"]
    assert not certify(
        layer, Defect(layer, backward=gradients(lambda dx, dw, db: (dx, 2 * dw, None))), **options
    )


def refusal(judge):
    """Return the text of the exception, or the verdict if there is none."""
    try:
        return judge()
    except (TypeError, ValueError) as error:
        return str(error)


@pytest.mark.parametrize("missing", ["y", "dx", "dw"])
@on_runs
def test_only_a_bias_gradient_may_be_missing(layer, options, missing):
    forward = (lambda r, *a: None) if missing == "y" else None
    backward = gradients(
        lambda dx, dw, db: (None if missing == "dx" else dx, None if missing == "dw" else dw, db)
    )
    refused = refusal(lambda: certify(layer, Defect(layer, forward, backward), **options))
    assert missing in refused if isinstance(refused, str) else not refused


def test_a_backward_that_returns_too_little_is_refused_in_words():
    with pytest.raises((TypeError, ValueError), match="backward"):
        certify(SMALL, Defect(SMALL, backward=gradients(lambda dx, dw, db: (dx, dw))))


@pytest.mark.parametrize(
    "implementation",
    [3, (PerTap(SMALL).forward,), (1, 2), object()],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_implementation_is_refused(implementation):
    needs = (
        "needs an object with forward(x, w, b) and backward(x, w, dy), or a pair of such functions"
    )
    with pytest.raises(TypeError) as error:
        certify(SMALL, implementation)
    assert str(error.value) == f"implementation: got {implementation!r}; {needs}"


@pytest.mark.claim("forward", "dx", "dw", "db")
@pytest.mark.parametrize("layer", [*LAYERS, SMALL, WIDE], ids=repr)
@on_dtypes
def test_the_tied_dense_layer_is_the_direct_convolution(layer, dtype):
    for batch in (1, 3):
        certificate = certify(layer, dtype=dtype, batch=batch, method="random")
        assert certificate.require().exact
        assert (certificate.dtype, certificate.batch) == (dtype, batch)
    assert certificate.compared == "tied dense layer against direct convolution"


@pytest.mark.parametrize("ties", [SIGNED, HALVES, tie(WIDE)], ids=repr)
def test_a_tie_map_has_one_evaluator_and_needs_an_implementation(ties):
    with pytest.raises(TypeError) as error:
        certify(ties)
    assert str(error.value) == (
        f"layer: got {ties!r}; needs a Conv, ConvTranspose or LocallyConnected, "
        "which have a direct form; or give an implementation to judge by this layer"
    )
    row, col, index, coefficient = ties.entries()
    coefficient = np.ones(len(row)) if coefficient is None else coefficient

    def edge_by_edge(x, w, b):
        y = np.zeros((len(x), ties.shape[0]))
        for r, c, k, size in zip(row, col, index, coefficient, strict=True):
            y[:, r] += size * w.ravel()[k] * x.reshape(len(x), -1)[:, c]
        return y.reshape(len(x), *ties.out_shape) + b.reshape(
            b.shape + (1,) * (len(ties.out_shape) - b.ndim)
        )

    def backward(x, w, dy):
        return TiedDense(ties, w, np.zeros(ties.bias_shape)).backward(x, dy)

    for method in ("auto", "random"):
        certificate = certify(ties, (edge_by_edge, backward), method=method)
        assert certificate.require().exact
        assert certificate.compared == "edge_by_edge against tied dense layer"
        assert not certify(
            ties, (lambda x, w, b: edge_by_edge(x, w, b) + 1, backward), method=method
        )
        assert not certify(ties, (lambda x, w, b: edge_by_edge(x, -w, b), backward), method=method)


def worst(layer, m, batch):
    """Return the largest sum of absolute values of y, dx, dw, db.

    The unit is the last digit of the smallest coefficient.
    """
    ties = tie(layer)
    row, col, index, coefficient = ties.entries()
    sizes = (
        [Fraction(1)] * len(row)
        if coefficient is None
        else [Fraction(abs(c)) for c in coefficient.tolist()]
    )
    unit = Fraction(1, max(s.denominator for s in sizes))

    def longest(labels):
        totals = dict.fromkeys(labels.tolist(), Fraction(0))
        for label, size in zip(labels.tolist(), sizes, strict=True):
            totals[label] += size
        return max(totals.values())

    positions = prod(ties.out_shape) // prod(ties.bias_shape)
    return [
        (longest(row) * m.x * m.w + m.b) / unit,
        longest(col) * m.w * m.dy / unit,
        longest(index) * batch * m.x * m.dy / unit,
        Fraction(positions * batch * m.dy),
    ]


@pytest.mark.parametrize("batch", [1, 5])
@on_dtypes
@pytest.mark.parametrize("layer", [*LAYERS, SMALL, WIDE, SIGNED, HALVES], ids=repr)
def test_the_integers_drawn_keep_every_sum_exact(layer, dtype, batch):
    m = exact_ranges(layer, dtype, batch)
    assert min(m) >= 1
    assert max(worst(layer, m, batch)) <= 2 ** PRECISION[dtype]


@pytest.mark.parametrize("batch", [1, 5])
@on_dtypes
@pytest.mark.parametrize("layer", [*LAYERS, SMALL, WIDE], ids=repr)
def test_larger_integers_would_not(layer, dtype, batch):
    m = exact_ranges(layer, dtype, batch)
    assert m.b == m.x * m.w
    for larger in (m._replace(x=m.x + 1), m._replace(w=m.w + 1), m._replace(dy=m.dy + 1)):
        assert (
            max(worst(layer, larger._replace(b=larger.x * larger.w), batch)) > 2 ** PRECISION[dtype]
        )


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_float32_really_sums_these_integers_exactly(layer):
    m = exact_ranges(layer, "float32", batch=2)
    shapes = (2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape)
    x, w, b, dy = (np.full(s, size) for s, size in zip(shapes, m, strict=True))
    exact = (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy))
    tied = TiedDense(layer, w.astype(np.float32), b.astype(np.float32))
    got = (
        tied.forward(x.astype(np.float32)),
        *tied.backward(x.astype(np.float32), dy.astype(np.float32)),
    )
    for single, integer in zip(got, exact, strict=True):
        assert single.dtype == np.float32
        assert np.array_equal(single.astype(np.int64), integer)
    assert 2**22 < max(integer.max() for integer in exact) <= 2**24


def test_sums_too_long_for_float32_are_refused():
    text = (
        "layer: got sums of 16,842,752 terms; needs at most 16,777,216, "
        "up to where float32 counts exactly; "
        'use dtype="float64", a smaller batch or a smaller layer'
    )
    for refuse in (
        lambda: exact_ranges(BEYOND, "float32", 1),
        lambda: certify(BEYOND, dtype="float32", batch=1),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
            refuse()
        assert str(error.value) == text
    at_the_limit = exact_ranges(AT_THE_LIMIT, "float32", 1)
    assert (at_the_limit.w, at_the_limit.dy) == (1, 1)
    assert min(exact_ranges(BEYOND, "float64", 1)) > 2**14


def test_sums_of_the_bias_alone_may_be_too_long():
    """The padding is zero: one product reaches the weight, all 17 positions reach the bias."""
    layer = Conv((1, 1), 1, kernel=1, padding=8)
    assert exact_ranges(layer, "float32", batch=2**19).dy == 1
    with pytest.raises(ValueError, match="sums of 17,825,792 terms; needs at most 16,777,216"):
        exact_ranges(layer, "float32", batch=2**20)


class Spy(PerTap):
    """A right implementation that keeps what it is given."""

    def __init__(self, conv):
        super().__init__(conv)
        self.calls = []

    def forward(self, x, w, b):
        self.calls.append([a.copy() for a in (x, w, b)])
        return super().forward(x, w, b)

    def backward(self, x, w, dy):
        self.calls[-1].append(dy.copy())
        return super().backward(x, w, dy)

    def bytes(self):
        return [a.tobytes() for call in self.calls for a in call]


@on_dtypes
def test_random_trials_draw_integers_of_both_signs_within_the_ranges(dtype):
    spy = Spy(WIDE)
    certificate = certify(WIDE, spy, dtype=dtype, batch=7, method="random", seed=1)
    assert len(spy.calls) > certificate.trials > 1
    assert certificate.ranges == exact_ranges(WIDE, dtype, 7)
    shapes = (7, *WIDE.in_shape), WIDE.weight_shape, WIDE.bias_shape, (7, *WIDE.out_shape)
    for drawn, m, shape in zip(
        zip(*spy.calls[: certificate.trials], strict=True), certificate.ranges, shapes, strict=True
    ):
        assert {(a.dtype, a.shape) for a in drawn} == {(np.dtype(dtype), shape)}
        values = np.concatenate([a.ravel() for a in drawn])
        assert np.array_equal(values, np.round(values))
        assert -m <= values.min() < -m / 2 < m / 2 < values.max() <= m


def test_the_seed_decides_what_is_drawn_and_is_recorded():
    first = Spy(WIDE)
    again = Spy(WIDE)
    fresh = Spy(WIDE)
    certificate = certify(WIDE, first)
    assert certificate.rerun(again) == certificate
    assert again.bytes() == first.bytes()
    other = certify(WIDE, fresh)
    assert other.seed != certificate.seed
    assert fresh.bytes() != first.bytes()
    assert certify(WIDE, seed=0).seed == 0


@on_dtypes
@pytest.mark.parametrize("asked", [0.9, 0.5, 2**-10, 2**-64, 1e-30], ids="{:.2g}".format)
def test_the_error_probability_reached_is_at_most_the_one_asked_with_no_trial_to_spare(
    asked, dtype
):
    certificate = certify(WIDE, dtype=dtype, method="random", error=asked)
    per_trial = Fraction(2, 2 * min(certificate.ranges) + 1)
    assert 0 < certificate.error <= asked == certificate.asked
    assert per_trial**certificate.trials <= Fraction(asked) < per_trial ** (certificate.trials - 1)
    assert Fraction(certificate.error) >= per_trial**certificate.trials * (1 - Fraction(2) ** -40)


def test_an_error_too_small_for_a_float_is_still_an_error_and_can_be_printed():
    certificate = certify(SMALL, method="random", error=1e-320)
    assert certificate.error > 0
    assert "a wrong one passes with probability below 2^-10" in str(certificate)


def test_small_layers_are_proven_and_larger_ones_drawn():
    for layer, method in [(SMALL, "exhaustive"), (WIDE, "random")]:
        certificate = certify(layer)
        assert (certificate.method, exhaustive_calls(tie(layer), 2) <= AUTO_CALLS) == (
            method,
            method == "exhaustive",
        )
        assert certificate.seed is not None
        assert (certificate.error == 0) == (method == "exhaustive")
    larger = Conv((1, 5, 5), 1, kernel=2)
    forced, calls = (
        certify(larger, PerTap(larger), method="exhaustive", seed=0),
        exhaustive_calls(tie(larger), 2),
    )
    assert (forced.method, forced.trials, forced.ranges) == (
        "exhaustive",
        calls,
        exact_ranges(larger, "float64", 2),
    )
    assert AUTO_CALLS < calls == 4 + 1 + 1 + 4 * 16 * 25 + 5 * DRAWS
    assert certify(larger).method == "random"
    assert certify(SMALL, method="random").error > 0


def test_a_proof_meets_every_pair_of_basis_vectors():
    spy = Spy(SMALL)
    certificate = certify(SMALL, spy, method="exhaustive", seed=0)
    ties = tie(SMALL)
    rows, cols = ties.shape
    pairs = {"xw": set(), "wdy": set(), "xdy": set(), "b": set()}
    for call in spy.calls[: certificate.trials - 5 * DRAWS]:  # what is drawn beside them comes last
        x, w, b, dy = (
            a.reshape(-1, size)
            for a, size in zip(call, (cols, ties.n_weights, 2, rows), strict=True)
        )
        one = [
            bool((np.count_nonzero(a, axis=1) <= 1).all()) for a in (x, w, b, dy)
        ]  # basis vectors, not drawn
        inputs, weights, biases, upstream = (np.argwhere(a)[:, 1].tolist() for a in (x, w, b, dy))
        assert one[0]
        assert one[3]
        pairs["xw"].update(product(inputs, weights) if one[1] else ())
        pairs["wdy"].update(product(weights, upstream) if one[1] else ())
        pairs["xdy"].update(product(inputs, upstream) if not one[1] else ())
        pairs["b"].update(biases if not x.any() and one[2] else ())
    assert pairs["xw"] == set(np.ndindex(cols, ties.n_weights))
    assert pairs["wdy"] == set(np.ndindex(ties.n_weights, rows))
    assert pairs["xdy"] == set(np.ndindex(cols, rows))
    assert pairs["b"] == {0, 1}
    assert len(spy.calls) > certificate.trials  # behaviour and precision come after


def int8(a):
    return a.astype(np.int8).astype(a.dtype)


NOT_LINEAR = {
    "dw plus a little of w": {
        "backward": lambda r, x, w, dy: _plus(r.backward(x, w, dy), 0.01 * w)
    },
    "negative inputs cut off": {"forward": lambda r, x, w, b: r.forward(np.maximum(x, 0), w, b)},
    "a ReLU too many": {"forward": lambda r, x, w, b: np.maximum(r.forward(x, w, b), 0)},
    "the size of y": {"forward": lambda r, x, w, b: np.abs(r.forward(x, w, b))},
    "the size of b": {"forward": lambda r, x, w, b: r.forward(x, w, np.abs(b))},
    "the size of w": {"forward": lambda r, x, w, b: r.forward(x, np.abs(w), b)},
    "a square": {
        "forward": lambda r, x, w, b: r.forward(x, w, b) + (x[..., :1, :1] * x[..., -1:, -1:])
    },
    "dw from the size of x": {"backward": lambda r, x, w, dy: r.backward(np.abs(x), w, dy)},
    "dx from the size of dy": {"backward": lambda r, x, w, dy: r.backward(x, w, np.abs(dy))},
    "weights in int8": {"forward": lambda r, x, w, b: r.forward(x, int8(w), b)},
    "inputs in int8": {"forward": lambda r, x, w, b: r.forward(int8(x), w, b)},
    "upstream in int8": {"backward": lambda r, x, w, dy: r.backward(x, w, int8(dy))},
}


def _plus(gradients, more):
    return gradients[0], gradients[1] + more, gradients[2]


@pytest.mark.parametrize("defect", NOT_LINEAR.values(), ids=NOT_LINEAR)
@pytest.mark.parametrize(
    "layer", [Conv((1, 3, 3), 1, kernel=2), Conv((1, 3, 1), 1, kernel=1)], ids=repr
)
@pytest.mark.thinned(3)
def test_a_proof_tries_other_values_than_zero_and_one(layer, defect):
    assert certify(layer, Defect(layer)).method == "exhaustive"
    assert certify(layer, Defect(layer))
    assert not certify(layer, Defect(layer, **defect))


def test_a_layer_too_large_for_a_proof_is_refused_before_anything_is_run():
    def never(*operands):
        raise RuntimeError("it runs")

    large, allowed = Conv((1, 318), 1, kernel=2), Conv((1, 316), 1, kernel=2)
    calls = 2 + 1 + 1 + 317 * 318 + 5 * DRAWS
    assert exhaustive_calls(tie(large)) == calls > EXHAUSTIVE_CALLS > exhaustive_calls(tie(allowed))
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        certify(large, (never, never), method="exhaustive", batch=1)
    assert str(error.value) == (
        'layer: got 100,830 basis pairs; needs at most 100,000 calls for method="exhaustive"; '
        'use method="random"'
    )
    ran = certify(allowed, (never, never), method="exhaustive", batch=1)
    assert {(f.verdict, f.note) for f in ran.findings} == {("raised", "RuntimeError: it runs")}
    assert not ran
    assert certify(large).method == "random"


REFUSED = [
    *(({"error": e}, ValueError, "error: got ") for e in (0, 1, -0.1, 2, float("nan"))),
    ({"error": "small"}, TypeError, "error: got "),
    *(({"dtype": d}, ValueError, "dtype: got ") for d in ("float16", "int64", np.int64, None)),
    *(({"method": m}, ValueError, "method: got ") for m in ("proof", "", None)),
    *(({"batch": n}, ValueError, "batch: got ") for n in (0, -1)),
    *(({"batch": n}, TypeError, "batch: got ") for n in (1.5, True, "2")),
    ({"method": "random", "seed": -1}, ValueError, "seed: got -1"),
    (
        {"seed": -1},
        ValueError,
        "seed: got -1",
    ),
    ({"method": "random", "seed": 1.5}, TypeError, "seed: got 1.5"),
]


@pytest.mark.parametrize(("options", "kind", "text"), REFUSED, ids=[str(r[0]) for r in REFUSED])
def test_arguments_that_make_no_sense_are_refused_by_name(options, kind, text):
    with pytest.raises(kind) as error:
        certify(SMALL, **options)
    assert str(error.value).startswith(text)
    assert "; needs " in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": np.int64(3)},
        {"seed": np.uint8(5)},
        {"error": np.float64(0.01)},
        {"dtype": np.dtype("float32")},
    ],
    ids=lambda o: f"{next(iter(o))} as {type(next(iter(o.values()))).__name__}",
)
def test_numpy_spellings_are_recorded_as_plain_data(options):
    certificate = certify(SMALL, method="random", **options)
    data = json.loads(json.dumps(certificate.to_dict()))
    assert {name: data[{"error": "asked"}.get(name, name)] for name in options} == options


@pytest.mark.parametrize(
    "layer",
    [
        ConvTranspose((3, 3, 4), 2, kernel=(3, 2), stride=2),
        LocallyConnected((2, 4, 5), 3, kernel=(3, 2)),
    ],
    ids=repr,
)
def test_other_kinds_of_layer_are_judged_too(layer):
    right = (
        (lambda x, w, b: convolve(layer, x, w, b)),
        (lambda x, w, dy: convolve_backward(layer, x, w, dy)),
    )
    wrong = (lambda x, w, b: convolve(layer, x, w[..., ::-1], b)), right[1]
    assert certify(layer, right)
    assert certify(layer, wrong)["y"].verdict == "wrong"


@pytest.mark.parametrize(
    "answer",
    [lambda y: y.astype(object), lambda y: y.astype(str), lambda y: [[1], [2, 3]]],
    ids=["objects", "text", "ragged"],
)
def test_an_answer_that_is_no_array_of_numbers_is_wrong_and_says_why(answer):
    certificate = certify(
        SMALL, Defect(SMALL, forward=lambda r, x, w, b: answer(r.forward(x, w, b)))
    )
    assert certificate["y"].verdict == "wrong dtype"
    assert certificate["y"].note.startswith("y: got ")
    assert certificate["dx"].verdict == "equal"


@pytest.mark.parametrize("field", ["trials", "ranges", "error"])
def test_an_edited_certificate_is_not_run_again(field):
    certificate = certify(SMALL, method="random", seed=3)
    assert certificate.rerun() == certificate
    edited = {"trials": 1, "ranges": certificate.ranges._replace(x=1), "error": 1e-300}
    with pytest.raises(ValueError, match="was it edited"):
        replace(certificate, **{field: edited[field]}).rerun()


def test_a_random_certificate_without_its_seed_is_not_run_again():
    with pytest.raises(ValueError, match="seed: got None; needs the seed"):
        replace(certify(SMALL, method="random"), seed=None).rerun()


@pytest.mark.parametrize("operand", ["x", "w", "dy"])
@on_runs
def test_an_operand_that_is_overwritten_is_seen(layer, options, operand):
    """Right values, and afterwards zeros where the operand was."""

    def forgetful(r, x, w, dy):
        right = r.backward(x, w, dy)
        {"x": x, "w": w, "dy": dy}[operand][...] = 0
        return right

    certificate = certify(layer, Defect(layer, backward=forgetful), **options)
    wrong = {f.name for f in certificate.findings if f.verdict == "changed its input"}
    assert wrong == {"x": {"y", "dw"}, "w": {"y", "dx"}, "dy": {"dx", "dw", "db"}}[operand]
    assert "an operand was written to in place" in str(certificate)


@pytest.mark.parametrize(
    "layer", [WIDE, SMALL, Conv((2, 1), 3, 3, padding=10, padding_mode="replicate")], ids=repr
)
def test_the_longest_sums_are_those_of_the_tie_map(layer):
    assert longest_sums(tie(layer), 3) == {
        name: int(n.max()) for name, n in terms(layer, 3).items()
    }


def test_a_layer_too_long_to_be_exact_is_refused_before_anything_large_is_counted():
    with pytest.raises(ValueError, match=r"sums of 5,000,000,000 terms; needs at most 16,777,216"):
        certify(Conv((1, 50_000, 50_000), 1, kernel=1), dtype="float32")
