"""Convolution by fast transforms, along any axes: never called wrong; with a mistake, always."""

from math import prod

import numpy as np
import pytest
from scipy import fft, signal

import convdense as cd
from convdense.certificates.rounding_explainer import Explainer
from convdense.rounding.normwise_bounds import spread_evenly
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, NORMWISE, WITHIN, WRONG

pytestmark = pytest.mark.few_calls

RIGHT = {EQUAL, WITHIN, NORMWISE}
# those of the issue, whose basis vectors leave whole samples and channels at 0, and larger ones
LAYERS = [
    cd.Conv((1, 5, 5), 1, 3),
    cd.Conv((2, 3, 4), 3, (3, 4)),
    cd.Conv((3, 7, 6), 4, kernel=(2, 3)),
]
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def turned(a):
    return a[..., ::-1, ::-1]


def valid(layer, full):
    (h, v), (kh, kv) = layer.in_spatial, layer.kernel
    return full[..., kh - 1 : h, kv - 1 : v]


def room(layer):
    return [n + k - 1 for n, k in zip(layer.in_spatial, layer.kernel, strict=True)]


def spatial_real(layer, x, w):
    size = room(layer)
    X, W = np.fft.rfft2(x, size), np.fft.rfft2(turned(w), size)
    return valid(layer, np.fft.irfft2(np.einsum("nchw,ochw->nohw", X, W), size))


def spatial_complex(layer, x, w):
    X, W = np.fft.fft2(x), np.fft.fft2(w, layer.in_spatial)  # circular, its valid part is not
    y = np.fft.ifft2(np.einsum("nchw,ochw->nohw", X, W.conj())).real
    return y[..., : layer.out_spatial[0], : layer.out_spatial[1]]


def channels_too(layer, x, w):
    """One transform of (channels, height, width) for each output channel."""
    c = layer.in_channels
    size = (2 * c - 1, *room(layer))
    X = np.fft.fftn(x, size, axes=(1, 2, 3))
    W = np.fft.fftn(w[:, ::-1, ::-1, ::-1], size, axes=(1, 2, 3))
    full = np.fft.ifftn(X[:, None] * W[None], axes=(2, 3, 4)).real
    return valid(layer, full[:, :, c - 1])


def all_axes(layer, x, w):
    """One transform along the batch, both kinds of channels, height and width."""
    c = layer.in_channels
    size = (len(x), len(w), 2 * c - 1, *room(layer))
    X = np.fft.fftn(x[:, None], size, axes=range(5))
    W = np.fft.fftn(w[None, :, ::-1, ::-1, ::-1], size, axes=range(5))
    return valid(layer, np.fft.ifftn(X * W).real[:, :, c - 1])


def batch_in_one(layer, x, w):
    """One transform of the batch, height and width, for each pair of channels."""
    size = (2 * len(x), *room(layer))
    X = fft.rfftn(x, size, axes=(0, 2, 3))
    W = fft.rfftn(turned(w)[None], size, axes=(0, 3, 4))
    product = np.einsum("nchw,nochw->nohw", X, W)
    return valid(layer, fft.irfftn(product, size, axes=(0, 2, 3))[: len(x)])


def fftconvolve(layer, x, w):
    y = [signal.fftconvolve(x, k[None, ::-1, ::-1, ::-1], "valid") for k in w]
    return np.concatenate(y, axis=1)


def oaconvolve(layer, x, w):
    y = [signal.oaconvolve(x, k[None, ::-1, ::-1, ::-1], "valid") for k in w]
    return np.concatenate(y, axis=1)


def correlate(layer, x, w):
    y = [signal.correlate(x, k[None], "valid", method="fft") for k in w]
    return np.concatenate(y, axis=1)


FORWARD = [
    spatial_real,
    spatial_complex,
    channels_too,
    all_axes,
    batch_in_one,
    fftconvolve,
    oaconvolve,
    correlate,
]


class Fourier:
    """A right implementation by transforms, the gradients too; `before` changes what comes."""

    def __init__(self, layer, forward, before=lambda *a: a):
        self.layer, self.run, self.before = layer, forward, before

    def forward(self, x, w, b):
        x, w = self.before(x, w)
        return (self.run(self.layer, x, w) + b[:, None, None]).astype(x.dtype)

    def backward(self, x, w, dy):
        x, w = self.before(x, w)
        dx = sum(  # one transform of the batch, (o, c) lags and all positions
            signal.fftconvolve(dy[:, o : o + 1], k[None], "full") for o, k in enumerate(w)
        )
        # over the batch too, in one transform: dy (n, o), x (n, c) -> (o, c)
        dw = [
            [
                signal.correlate(x[:, c], dy[:, o], "valid", method="fft")[0]
                for c in range(len(w[0]))
            ]
            for o in range(len(w))
        ]
        dtype = x.dtype
        return dx.astype(dtype), np.array(dw).astype(dtype), dy.sum(axis=(0, 2, 3))


def explained(layer, operands, name, got, right):
    explain = Explainer(layer, "float64")(operands)
    return explain(compare(name, got, right), got, right).verdict


def integers(layer, seed, batch=2):
    rng = np.random.default_rng(seed)
    shapes = ((batch, *layer.in_shape), layer.weight_shape, layer.bias_shape)
    x, w, b = (rng.integers(-(2**20), 2**20, shape).astype(float) for shape in shapes)
    return x, w, b, rng.integers(-(2**20), 2**20, (batch, *layer.out_shape)).astype(float)


def basis(layer, k):
    """Return operands of the exhaustive run: a unit a sample, and one weight."""
    _, w, b, _ = integers(layer, k)
    cells = prod(layer.in_shape)
    units = 1e9 * np.eye(cells).reshape(cells, *layer.in_shape)
    unit = np.where(np.arange(w.size) == k % w.size, 3e6, 0.0).reshape(w.shape)
    return units, unit, b, np.zeros((cells, *layer.out_shape))


@pytest.mark.parametrize("forward", FORWARD)
@on_layers
def test_a_transform_along_any_axes_is_not_called_wrong(layer, forward):
    mine = Fourier(layer, forward)
    for operands in (
        *(basis(layer, 5 * k) for k in range(3)),
        *(integers(layer, k) for k in (1, 2)),
    ):
        x, w, b, _ = operands
        right = cd.convolve(layer, x, w, b)
        assert explained(layer, operands, "y", mine.forward(x, w, b), right) in RIGHT


@pytest.mark.parametrize("layer", LAYERS[:2], ids=repr)
@pytest.mark.thinned(2)
def test_its_certificate_is_not_refuted_in_the_exhaustive_run(layer):
    certificate = cd.certify(layer, Fourier(layer, all_axes), method="exhaustive", seed=0)
    assert not certificate.refuted, str(certificate)
    assert {f.verdict for f in certificate.findings} <= RIGHT


@pytest.mark.parametrize("name", ["dx", "dw"])
@on_layers
def test_neither_are_its_gradients(layer, name):
    """A unit a sample in x and in dy, so that most of dw is 0."""
    x, w, b, dy = integers(layer, 3)
    for keep in (1, x.size):
        x.ravel()[keep:] = 0
        dy.ravel()[keep:] = 0
        operands = x, w, b, dy
        dx, dw, _ = Fourier(layer, all_axes).backward(x, w, dy)
        right = cd.convolve_backward(layer, x, w, dy)
        got, expected = {"dx": (dx, right.dx), "dw": (dw, right.dw)}[name]
        assert explained(layer, operands, name, got, expected) in RIGHT
        got = got.copy()
        got.ravel()[-1] += 1.0  # 2^-40 of a product
        assert explained(layer, operands, name, got, expected) == WRONG


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_in_a_random_run(dtype):
    layer = LAYERS[2]
    mine = Fourier(layer, fftconvolve)
    certificate = cd.certify(layer, mine, dtype=dtype, method="random", seed=0)
    assert not certificate.refuted, str(certificate)


def one_missing(x, w):
    w = w.copy()
    w[-1, 0, 1, 0] = 0
    return x, w


def shifted(x, w):
    return np.roll(x, 1, axis=3), w


MISTAKES = [one_missing, shifted]


@pytest.mark.parametrize("before", MISTAKES)
@pytest.mark.parametrize("forward", FORWARD)
@on_layers
def test_a_transform_with_a_mistake_is_wrong(layer, forward, before):
    x, w, b, dy = integers(layer, 4)
    got = Fourier(layer, forward, before).forward(x, w, b)
    assert explained(layer, (x, w, b, dy), "y", got, cd.convolve(layer, x, w, b)) == WRONG


def no_conjugate(layer, x, w):
    X, W = np.fft.fft2(x), np.fft.fft2(w, layer.in_spatial)
    y = np.fft.ifft2(np.einsum("nchw,ochw->nohw", X, W)).real
    return y[..., : layer.out_spatial[0], : layer.out_spatial[1]]


@on_layers
def test_a_missing_conjugate_is_wrong(layer):
    mine = Fourier(layer, no_conjugate)
    assert cd.certify(layer, mine, method="random", seed=0)["y"].refuted


def test_what_is_at_0_may_be_as_far_off_as_what_it_was_mixed_with():
    """A sample of zeros, and a pair of channels of zeros: entry by entry no bound but 0."""
    layer = LAYERS[2]
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=layer.weight_shape)
    dy = rng.normal(size=(2, *layer.out_shape))
    x[1], w[2] = 0, 0
    operands = x, w, None, dy
    right = cd.convolve(layer, x, w)
    for forward in FORWARD:
        assert explained(layer, operands, "y", forward(layer, x, w), right) in RIGHT
    # as large as the errors beside it, and no larger
    got = all_axes(layer, x, w)
    got[1, 2, 0, 0] += 1e-12
    assert explained(layer, operands, "y", got, right) == WRONG


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e140])
def test_no_size_overflows_or_vanishes_in_the_norms(scale):
    layer = LAYERS[2]
    rng = np.random.default_rng(1)
    x, w = scale * rng.normal(size=(2, 3, 7, 6)), rng.normal(size=layer.weight_shape)
    operands = x, w, rng.normal(size=4) * scale, np.zeros((2, *layer.out_shape))
    right = cd.convolve(layer, *operands[:3])
    got = spatial_real(layer, x, w) + operands[2][:, None, None]
    assert spread_evenly(layer, operands, "y", "float64", got - right)
    assert not spread_evenly(layer, operands, "y", "float64", got * (1 + 1e-12) - right)


@pytest.mark.parametrize(
    "layer",
    [
        cd.Conv((4, 6, 7), 6, kernel=(2, 3), groups=2, padding=1),
        cd.Conv((2, 5, 4), 3, kernel=3, padding=2, padding_mode="replicate"),
        cd.Conv((2, 5, 4), 3, kernel=3, padding=1, padding_value=3.0),
        cd.ConvTranspose((4, 3, 4), 6, kernel=(3, 2), stride=2, groups=2),
    ],
    ids=repr,
)
def test_noise_as_of_a_transform_is_spread_evenly_and_one_wrong_entry_is_not(layer):
    """Groups, copies, a number in the padding and the transpose: rows and columns stay in place."""
    rng = np.random.default_rng(2)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    operands = tuple(rng.normal(size=shape) for shape in shapes)
    x, w, b, dy = operands
    gradients = cd.convolve_backward(layer, x, w, dy)
    results = {"y": cd.convolve(layer, x, w, b), "dx": gradients.dx, "dw": gradients.dw}
    for name, result in results.items():
        noise = 2.0**-53 * result.std() * rng.normal(size=result.shape)
        assert spread_evenly(layer, operands, name, "float64", noise)
        noise.reshape(-1)[result.size // 2] = 1e-9 * result.std()
        assert not spread_evenly(layer, operands, name, "float64", noise)
