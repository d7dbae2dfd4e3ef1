"""Complex numbers: dx = W^H dy and dw = sum of conj(x) dy, certified, diagnosed, recovered."""

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    TiedDense,
    certify,
    check,
    convolve,
    convolve_backward,
    diagnose,
    recover,
)
from convdense.certificates.integer_ranges import exact_ranges
from convdense.testing import assert_backward_matches_dense, conv_checks

pytestmark = pytest.mark.few_calls

CONV = Conv((2, 6, 5), out_channels=3, kernel=(2, 3), padding=1, stride=(2, 1))
DTYPES = "complex64", "complex128"
LAYERS = [
    CONV,
    ConvTranspose((2, 3, 4), out_channels=2, kernel=3, stride=2),
    Conv((2, 5, 6), out_channels=2, kernel=2, padding=1, padding_value=2),
]


def gaussian(shape, seed=0, most=9):
    rng = np.random.default_rng((seed, *shape))
    return rng.integers(-most, most + 1, shape) + 1j * rng.integers(-most, most + 1, shape)


def data(layer, batch=2):
    x, dy = gaussian((batch, *layer.in_shape)), gaussian((batch, *layer.out_shape))
    return x, gaussian(layer.weight_shape), gaussian(layer.bias_shape), dy


def right(layer):
    return (lambda x, w, b: convolve(layer, x, w, b)), (
        lambda x, w, dy: convolve_backward(layer, x, w, dy)
    )


def karatsuba(f, a, b):
    p, q = f(a.real, b.real), f(a.imag, b.imag)
    return p - q + 1j * (f(a.real + a.imag, b.real + b.imag) - p - q)


def gauss(f, a, b):
    k1 = f(a.real + a.imag, b.real)
    k2, k3 = f(a.real, b.imag - b.real), f(a.imag, b.real + b.imag)
    return k1 - k3 + 1j * (k1 + k2)


def three_multiplications(layer, product):
    def forward(x, w, b):
        y = product(lambda a, c: convolve(layer, a, c), x, w)
        return (y + b.reshape(-1, *[1] * (y.ndim - 2))).astype(x.dtype)

    def backward(x, w, dy):
        dx = product(lambda a, c: convolve_backward(layer, x.real, c, a).dx, dy, w.conj())
        dw = product(lambda a, c: convolve_backward(layer, a, w.real, c).dw, x.conj(), dy)
        return dx.astype(x.dtype), dw.astype(x.dtype), dy.sum(axis=(0, *range(2, dy.ndim)))

    return forward, backward


def fft(x, w, b):
    """Return y of a plain Conv((2, 7, 6), 3, 3)."""
    kernel = np.fft.fft2(w[..., ::-1, ::-1], (9, 8))
    y = np.fft.ifft2(np.einsum("nihw,oihw->nohw", np.fft.fft2(x, (9, 8)), kernel))
    return (y[..., 2:7, 2:6] + b[:, None, None]).astype(x.dtype)


@pytest.fixture
def torch():
    """Return torch on one thread: more only wait for each other where other work runs beside."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


# What is right


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_are_those_of_the_stored_matrix(layer):
    x, w, b, dy = data(layer)
    matrix = TiedDense(layer, w).matrix.toarray()
    dx, dw, db = convolve_backward(layer, x, w, dy)
    assert np.array_equal(dx.reshape(2, -1).T, matrix.conj().T @ dy.reshape(2, -1).T)
    for got, tied in zip((dx, dw, db), TiedDense(layer, w, b).backward(x, dy), strict=True):
        assert np.array_equal(got, tied)
    # Re <y, dy> has the derivative Re <dw, change> along any change of w
    change = gaussian(layer.weight_shape, seed=1)
    derivative = np.vdot(convolve(layer, x, w + change) - convolve(layer, x, w), dy).real
    assert derivative == np.vdot(change, dw).real
    assert check(layer, x, w, b, dy).exact


def test_torch_has_the_same_convention(torch):
    from convdense.adapters.torch import implementation

    for dtype in DTYPES:
        plain = Conv((2, 6, 5), out_channels=3, kernel=(2, 3), padding=1)
        mine = implementation(lambda x, w, b: torch.nn.functional.conv2d(x, w, b, padding=1))
        x, w, b, dy = (a.astype(dtype) for a in data(plain))
        assert np.array_equal(mine.forward(x, w, b), convolve(plain, x, w, b))
        gradients = zip(mine.backward(x, w, dy), convolve_backward(plain, x, w, dy), strict=True)
        for got, expected in gradients:
            assert got.dtype == dtype
            assert np.array_equal(got, expected)
        assert check(plain, x, w, b, dy, implementation=mine)
    small = Conv((1, 3, 4), out_channels=2, kernel=(2, 3), padding=1)
    assert certify(small, mine, dtype="complex64", seed=0).require()
    to = implementation(torch.nn.functional.conv2d, dtype="complex64")
    assert to.forward(x.real, w.real, b.real).dtype == np.complex64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYERS)
def test_tied_dense_layer(layer, dtype):
    assert certify(layer, dtype=dtype, seed=0).require().exact


@pytest.mark.parametrize("dtype", ["complex64", complex])
def test_right_implementations(dtype):
    certificate = certify(CONV, right(CONV), dtype=dtype, seed=0).require()
    assert certificate.exact
    assert (certificate.method, len(certificate.precision)) == ("random", 4)
    assert certificate.dtype in DTYPES
    assert certificate.behaviour


@pytest.mark.parametrize(("product", "dtype"), [(karatsuba, "complex64"), (gauss, "complex128")])
def test_three_multiplications_are_exact(product, dtype):
    small = Conv((1, 3, 4), out_channels=2, kernel=2)
    assert (
        certify(small, three_multiplications(small, product), dtype=dtype, seed=1).require().exact
    )


def test_ranges_leave_room_for_three_multiplications():
    x, w, *_ = exact_ranges(CONV, "complex64", 2)
    terms = CONV.in_shape[0] * 6 + 1
    assert 6 * terms * x * w <= 2**24 < 6 * terms * (x + 1) * (w + 1) * 1.5
    assert exact_ranges(CONV, "float32", 2).x > x


@pytest.mark.parametrize("dtype", DTYPES)
def test_fft(dtype):
    plain = Conv((2, 7, 6), out_channels=3, kernel=3)
    _, backward = right(plain)
    certificate = certify(plain, (fft, backward), dtype=dtype, seed=0)
    assert certificate["y"].verdict in ("within rounding", "right normwise")
    assert not certificate.refuted


# What is not


def backward_of(change):
    return lambda x, w, dy: convolve_backward(CONV, *change(x, w, dy))


WRONG = [
    (
        "dx",
        "w is not conjugated: W^T dy for W^H dy",
        backward_of(lambda x, w, dy: (x, w.conj(), dy)),
    ),
    (
        "dw",
        "x is not conjugated: sums of x dy for conj(x) dy",
        backward_of(lambda x, w, dy: (x.conj(), w, dy)),
    ),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "sentence", "backward"), WRONG)
def test_gradients_not_conjugated(name, sentence, backward, dtype):
    forward, _ = right(CONV)
    certificate = certify(CONV, (forward, backward), dtype=dtype, seed=0)
    assert [f.name for f in certificate.findings if f.refuted] == [name]
    found = diagnose(CONV, (forward, backward), dtype="complex128", seed=0)
    assert str(found) == f"{name}: {sentence}"
    # on real numbers it is right
    assert diagnose(CONV, (forward, backward))
    with pytest.raises(AssertionError, match=sentence.replace("^", r"\^").split("(")[0]):
        assert_backward_matches_dense(CONV, (forward, backward), dtype=dtype)


@pytest.mark.parametrize(
    ("sentence", "forward"),
    [
        ("w is conjugated", lambda x, w, b: convolve(CONV, x, w.conj(), b)),
        ("x is conjugated", lambda x, w, b: convolve(CONV, x.conj(), w, b)),
        ("b is conjugated", lambda x, w, b: convolve(CONV, x, w, b.conj())),
        ("the result is conjugated", lambda x, w, b: convolve(CONV, x, w, b).conj()),
        ("the imaginary part is dropped", lambda x, w, b: convolve(CONV, x, w, b).real),
    ],
)
def test_forward_conjugated(sentence, forward):
    _, backward = right(CONV)
    certificate = certify(CONV, (forward, backward), dtype=complex, seed=0)
    assert certificate["y"].verdict in ("wrong", "wrong dtype")
    found = diagnose(CONV, (forward, backward), dtype=complex, seed=0)
    assert str(found) == f"y: {sentence}"


def test_gradients_conjugated():
    forward, backward = right(CONV)
    found = diagnose(
        CONV,
        (forward, lambda *a: [g.conj() for g in backward(*a)]),
        dtype=complex,
        seed=0,
    )
    assert [e.sentence for e in found.explanations] == ["the result is conjugated"] * 3
    dy = diagnose(CONV, (forward, backward_of(lambda x, w, dy: (x, w, dy.conj()))), dtype=complex)
    assert [dy["dx"].sentence, dy["dw"].sentence] == ["dy is conjugated"] * 2


def test_what_is_wrong_on_reals_too_is_named_there():
    forward, backward = right(CONV)

    def wrong(x, w, dy):
        dx, dw, db = backward(x, w, dy)
        return dx, dw[:, :, ::-1, ::-1], db / len(x)

    found = diagnose(CONV, (forward, wrong), dtype=complex, seed=0)
    assert found["dw"].sentence == "the kernel is reversed on all axes"
    assert found["db"].sentence == "the mean over the batch is taken for the sum"
    unknown = diagnose(
        CONV, (lambda x, w, b: forward(x, w, b) + x.imag.sum(), backward), dtype=complex
    )
    assert (unknown["y"].sentence, unknown["y"].finding.verdict) == ("", "wrong")
    assert diagnose(CONV, right(CONV), dtype=complex)


def test_spelled():
    spellings = np.complex64, "c8", "complex64", "torch.complex64"
    assert [certify(CONV, dtype=dtype, seed=0).dtype for dtype in spellings] == ["complex64"] * 4


def test_one_weight_made_real():
    def forward(x, w, b):
        w = w.copy()
        w[1, 1, 1, 0] = w[1, 1, 1, 0].real
        return convolve(CONV, x, w, b)

    _, backward = right(CONV)
    assert certify(CONV, (forward, backward), dtype="complex64", seed=0)["y"].verdict == "wrong"


def test_coarse_sums_are_wrong():
    def forward(x, w, b):
        return convolve(CONV, *(a.astype(np.complex64) for a in (x, w, b))).astype(complex)

    _, backward = right(CONV)
    certificate = certify(CONV, (forward, backward), dtype=complex, seed=0)
    assert not certificate


def test_real_results_are_too_narrow():
    forward, backward = right(CONV)
    found = certify(CONV, (lambda *a: forward(*a).real, backward), dtype=complex, seed=0)["y"]
    assert (found.verdict, found.note) == ("wrong dtype", "float64 where complex128 is needed")
    reals = certify(CONV, (lambda *a: forward(*a).astype(complex), backward), seed=0)["y"]
    assert (reals.verdict, reals.note) == ("wrong dtype", "complex128 where float64 is needed")


def test_refusals():
    with pytest.raises(ValueError, match="basis vectors tell of real numbers alone"):
        certify(CONV, right(CONV), dtype=complex, method="exhaustive")
    with pytest.raises(ValueError, match="dtype: got 'complex64'"):
        diagnose(CONV, right(CONV), dtype="complex64")


# recover


@pytest.mark.parametrize("dtype", DTYPES)
def test_recover(dtype):
    w, b = gaussian(CONV.weight_shape).astype(dtype), gaussian(CONV.bias_shape).astype(dtype)
    found = recover(lambda x: convolve(CONV, x, w, b), CONV.in_shape, dtype=dtype, seed=0)
    assert found
    assert not found.compare(TiedDense(CONV, w, b))
    assert found.matrix.dtype == np.complex128
    assert len(found.weights) == len(np.unique(w[w != 0]))
    conjugated = recover(lambda x: convolve(CONV, x, w.conj(), b), CONV.in_shape, dtype=dtype)
    difference = conjugated.compare(TiedDense(CONV, w, b))
    assert not difference.missing
    place = difference.wrong[0]
    assert place.got == np.conj(place.expected) != place.expected


def test_recover_what_is_not_complex_affine():
    w = gaussian(CONV.weight_shape)
    for function in (lambda x: convolve(CONV, x.conj(), w), lambda x: convolve(CONV, x.real, w)):
        assert not recover(function, CONV.in_shape, dtype=complex, seed=0)
    with pytest.raises(ValueError, match="needs real, finite numbers"):
        recover(lambda x: 1j * x, (2, 3))


def test_recover_the_adjoint():
    w, x = gaussian(CONV.weight_shape), np.zeros((64, *CONV.in_shape), complex)
    found = recover(
        lambda dy: convolve_backward(CONV, x[: len(dy)], w, dy).dx, CONV.out_shape, dtype=complex
    )
    assert (found.matrix != TiedDense(CONV, w).matrix.conj().T).nnz == 0


# The checks of a test suite


def test_conv_checks():
    wrong = [name for name, _, _ in WRONG]
    failed = {}
    for check_one in list(conv_checks(right, dtype="complex64"))[:4]:
        check_one()

    def make(layer):
        forward, backward = right(layer)
        return forward, lambda x, w, dy: backward(x.conj(), w.conj(), dy)

    for check_one in list(conv_checks(make, dtype="complex128"))[:5]:
        try:
            check_one()
        except AssertionError as error:
            failed[check_one.quantity] = str(error)
    assert sorted(failed) == sorted(wrong)
    assert "dx: w is not conjugated" in failed["dx"]
