"""Wrong passes as students hand them in: NumPy's and SciPy's routines for signals, fast
transforms, transposed layers.
"""

import numpy as np
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

import convdense as cd
from tests.mistake_rows_base import Table
from tests.student_words import LEFT_OUT, REVERSED, phrases, words

TABLE = Table()


# Routines for signals

SIGNAL = cd.Conv((2, 7), 3, 3, padding=1)


@TABLE.dw(
    SIGNAL,
    *words(*REVERSED, "operand", "arguments"),
    *phrases(
        ("exchang", "swap", "order of"),
        ("x and dy", "dy and x", "factors", "inputs", "roles", "signals", "the two arrays"),
    ),
    name="np.correlate with its operands exchanged",
)
def operands_exchanged(x, w, dy):
    dw = np.zeros(w.shape, dy.dtype)
    x_pad = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    for n in range(len(x)):
        for o, c in np.ndindex(*w.shape[:2]):
            dw[o, c] += np.correlate(dy[n, o], x_pad[n, c], "valid")
    return dw


@TABLE.y(SIGNAL, name="np.convolve with the kernel reversed first")
def convolved_reversed(x, w, b):
    y = np.zeros((len(x), 3, 7), np.result_type(x, w))
    for n, o in np.ndindex(*y.shape[:2]):
        y[n, o] = b[o]
        for c in range(2):
            y[n, o] += np.convolve(x[n, c], w[o, c, ::-1], "same")
    return y


VOLUMES = cd.Conv((3, 5, 4), 2, (2, 3))


@TABLE.y(
    VOLUMES,
    *phrases(("channel",), (*REVERSED, "order", "opposite", "last to first", "wrong input")),
    name="scipy.signal.convolve over channels that were not reversed",
)
def channels_not_reversed(x, w, b):
    out = [
        [
            scipy.signal.convolve(image, k[:, ::-1, ::-1], mode="valid", method="direct")[0] + b[o]
            for o, k in enumerate(w)
        ]
        for image in x
    ]
    return np.array(out, np.result_type(x, w)).reshape(len(x), 2, 4, 2)


@TABLE.y(
    cd.Conv((2, 5, 6), 3, (3, 5), padding=(1, 2)),
    *words("symmetric", "half-sample"),
    *phrases(("edge", "border"), ("repeat", "reflect", "mirror", "twice")),
    name="scipy.signal.correlate2d with a symmetric boundary",
)
def symmetric_boundary(x, w, b):
    y = np.zeros((len(x), len(w), *x.shape[2:]), np.result_type(x, w))
    for n in range(len(x)):
        for o in range(len(w)):
            for c in range(x.shape[1]):
                y[n, o] += scipy.signal.correlate2d(x[n, c], w[o, c], "same", "symm")
            y[n, o] += b[o]
    return y


@TABLE.dx(
    cd.Conv((2, 4, 3, 5), 3, (3, 2, 2)),
    *phrases(
        ("depth", "axis 0", "axis 2", "first axis", "first spatial", "one axis", "(0,)"),
        REVERSED,
    ),
    name="three-dimensional kernel rotated in its planes alone",
)
def rotated_in_planes(x, w, dy):
    dx = np.zeros(x.shape, dy.dtype)
    rotated = np.rot90(w, 2, axes=(3, 4))
    for n in range(len(x)):
        for o, c in np.ndindex(*w.shape[:2]):
            dx[n, c] += scipy.signal.correlate(dy[n, o], rotated[o, c], "full", "direct")
    return dx


# Fast transforms

FOURIER = cd.Conv((2, 6, 5), 3, 3, padding=1)


@TABLE.y(
    FOURIER,
    *words("circular", "wrap", "alias", "periodic", "cyclic"),
    name="Fourier transform of the size of the image",
)
def transform_without_room(x, w, b):
    size = x.shape[2:]
    X, W = np.fft.rfft2(x, s=size), np.fft.rfft2(w, s=size)
    y = np.fft.irfft2(np.einsum("ncuv,ocuv->nouv", X, W.conj()), s=size)
    return np.roll(y, (1, 1), axis=(2, 3)).astype(x.dtype) + b[:, None, None]


@TABLE.y(FOURIER, name="Fourier transform with room for the kernel", rounds=True)
def transform_with_room(x, w, b):
    h, v = x.shape[2:]
    size = (h + 2, v + 2)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    spectrum = np.einsum(
        "ncuv,ocuv->nouv", np.fft.rfft2(padded, s=size), np.fft.rfft2(w, s=size).conj()
    )
    return np.fft.irfft2(spectrum, s=size)[:, :, :h, :v].astype(x.dtype) + b[:, None, None]


@TABLE.y(
    cd.Conv((2, 7), 3, 3),
    *words("irfft", "odd", "n=", "frequen", "one shorter", "n - 1", "6 points", "6 samples"),
    *phrases(("length", "size", "number of points"), ("transform", "fft", "fourier", "inverse")),
    name="np.fft.irfft without the odd length",
)
def inverse_without_the_length(x, w, b):
    T, K = x.shape[-1], w.shape[-1]
    spectrum = np.einsum("nct,oct->not", np.fft.rfft(x), np.fft.rfft(w, T).conj())
    y = np.fft.irfft(spectrum)
    return (y[:, :, : T - K + 1] + b[:, None]).astype(x.dtype)


WINOGRAD = cd.Conv((2, 8), 3, 3)


def winograd(x, w, b, last_sign):
    """Return F(2, 3): tiles of four inputs, two outputs each, four products."""
    BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], x.dtype)
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], x.dtype)
    AT = np.array([[1, 1, 1, 0], [0, 1, -1, last_sign]], x.dtype)
    tiles = sliding_window_view(x, 4, axis=2)[:, :, ::2]
    products = np.einsum("ij,nctj,kl,ocl,ik->noti", BT, tiles, G, w, np.eye(4, dtype=x.dtype))
    y = np.einsum("ai,noti->nota", AT, products)
    return y.reshape(len(x), len(w), -1) + b[:, None]


@TABLE.y(
    WINOGRAD,
    *words("winograd", "every second", "every other", "alternate", "odd ", "a^t"),
    *phrases(("each tile", "per tile", "tiles"), ("second", "sign", "transform")),
    name="sign in the last column of Winograd's A^T",
)
def winograd_sign(x, w, b):
    return winograd(x, w, b, last_sign=1)


@TABLE.y(WINOGRAD, name="Winograd's F(2, 3)")
def winograd_right(x, w, b):
    return winograd(x, w, b, last_sign=-1)


# Transposed layers


@TABLE.y(
    cd.ConvTranspose((2, 4), 3, 3, stride=2),
    *phrases(
        ("bias", "b is added", "b[o]"),
        ("times", "once", "every", "each", "overlap", "stamp", "tap", "several", "twice", "again"),
    ),
    name="bias added with every stamp",
)
def bias_with_every_stamp(x, w, b):
    y = np.zeros((len(x), 3, 9), np.result_type(x, w))
    for t in range(x.shape[2]):
        stamp = np.einsum("nc,cok->nok", x[:, :, t], w) + b[:, None]
        y[:, :, 2 * t : 2 * t + 3] += stamp
    return y


@TABLE.y(
    cd.ConvTranspose((2, 3, 4), 3, (3, 2), stride=2, padding=1, output_padding=1),
    *words("output_padding", "output padding"),
    *phrases(
        ("last", "final", "end"),
        ("row", "column", "output", "position", "cell"),
        ("zero", "is 0", "are 0", "at 0", "with 0", "bias", "empty", *LEFT_OUT),
    ),
    name="output padding filled with zeros",
)
def output_padding_of_zeros(x, w, b):
    n, _, h, v = x.shape
    canvas = np.zeros((n, 3, 2 * (h - 1) + 3, 2 * (v - 1) + 2), np.result_type(x, w))
    for i, j in np.ndindex(h, v):
        canvas[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2] += np.tensordot(x[:, :, i, j], w, 1)
    cropped = canvas[:, :, 1:-1, 1:-1]
    return np.pad(cropped, ((0, 0), (0, 0), (0, 1), (0, 1))) + b[:, None, None]


@TABLE.dx(
    cd.ConvTranspose((4, 5), 6, 2, stride=2, groups=2),
    *phrases(("group",), ("first", "same", "other", "group 0", "every", "shared", "own")),
    name="filters of the first group for every group of a transposed layer",
)
def filters_of_the_first_group(x, w, dy):
    dx, per_group = [], x.shape[1] // 2
    for group in np.split(dy, 2, axis=1):
        windows = sliding_window_view(group, 2, axis=2)[:, :, ::2]
        dx.append(np.einsum("notk,cok->nct", windows, w[:per_group]))
    return np.concatenate(dx, axis=1)


@TABLE.y(
    cd.ConvTranspose((2, 4, 3), 3, (3, 2), stride=(2, 1), padding=(1, 0)),
    name="transposed layer as a convolution of the input with zeros put in",
)
def zeros_put_in(x, w, b):
    n, c, h, v = x.shape
    spread = np.zeros((n, c, 2 * h - 1, v), x.dtype)
    spread[:, :, ::2] = x
    padded = np.pad(spread, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 2), axis=(2, 3))
    return np.einsum("nchwkl,cokl->nohw", windows, w[:, :, ::-1, ::-1]) + b[:, None, None]
