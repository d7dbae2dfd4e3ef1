"""Two mistakes at once, of those that are made most often."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
SQUARE = cd.Conv((2, 5, 4), out_channels=3, kernel=2)
SIGNAL = cd.Conv((2, 7), out_channels=3, kernel=3)
EVEN_CHANNELS = cd.Conv((2, 6), out_channels=2, kernel=3)
DILATED = cd.Conv((2, 7), out_channels=2, kernel=3, dilation=2)
STRIDED = cd.Conv((2, 7), out_channels=2, kernel=3, stride=2)
SAME = cd.Conv((2, 6), out_channels=2, kernel=3, padding=1)
AVERAGE = cd.AvgPool((2, 7), kernel=3, stride=2)

REVERSED = (("revers",), ("flip",))
NO_BIAS = (("bias", "left out"), ("bias", "forgotten"), ("no bias",), ("bias", "not added"))
MEAN = (("mean", "batch"), ("mean", "sample"))
STRIDE = (("stride", "forgotten"), ("stride", "ignored"), ("stride", "1"))
DILATION = (("dilation", "forgotten"), ("dilation", "ignored"), ("dilation", "1"))
TRANSPOSED = (("transposed",), ("axes", "exchanged"), ("rows", "columns"))
CHANNELS = (
    ("channels", "exchanged"),
    ("channels", "swapped"),
    ("transposed", "channel"),
    ("transposed",),
)
FIRST_SAMPLE = (("first sample",), ("sample", "first one"), ("sample 0",))
SHIFTED = (("shift",), ("begin",), ("crop", "end"), ("cut", "end"))
EQUALS = (("+=",),)


def both(one, other):
    """Return the alternatives of a sentence that names two mistakes."""
    return tuple((*a, *b) for a in one for b in other)


@TABLE.y(IMAGE, *both(REVERSED, NO_BIAS))
def reversed_and_no_bias(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for i, j in np.ndindex(3, 3):
        window = x[:, :, i : i + 2, j : j + 3]
        y[:, :, i, j] = np.einsum("nckm,ockm->no", window, w[:, :, ::-1, ::-1])
    return y


@TABLE.y(DILATED, *both(DILATION, NO_BIAS))
def dilation_forgotten_and_no_bias(x, w, b):
    y = np.zeros((len(x), 2, 3))
    for k in range(3):
        y += np.einsum("oc,nci->noi", w[:, :, k], x[:, :, k : k + 3])
    return y


@TABLE.y(EVEN_CHANNELS, *both(REVERSED, CHANNELS))
def reversed_and_channels_exchanged(x, w, b):
    y = np.zeros((len(x), 2, 4)) + b[:, None]
    for k in range(3):
        y += np.einsum("co,nci->noi", w[:, :, 2 - k], x[:, :, k : k + 4])
    return y


@TABLE.y(STRIDED, *both(STRIDE, REVERSED))
def stride_forgotten_and_reversed(x, w, b):
    y = np.zeros((len(x), 2, 3)) + b[:, None]
    for i, k in np.ndindex(3, 3):
        y[:, :, i] += x[:, :, i + k] @ w[:, :, 2 - k].T
    return y


@TABLE.dw(SQUARE, *both(TRANSPOSED, MEAN))
def dw_transposed_and_mean(x, w, dy):
    dw = np.zeros(w.shape)
    for k, m in np.ndindex(2, 2):
        dw[:, :, m, k] = np.einsum("ncij,noij->oc", x[:, :, k : k + 4, m : m + 3], dy)
    return dw / len(x)


@TABLE.dw(SIGNAL, *both(REVERSED, FIRST_SAMPLE))
def dw_reversed_of_the_first_sample(x, w, dy):
    dw = np.zeros(w.shape)
    for k in range(3):
        dw[:, :, 2 - k] = np.einsum("ci,oi->oc", x[0, :, k : k + 5], dy[0])
    return dw


@TABLE.dw(DILATED, *both(DILATION, MEAN))
def dw_dilation_forgotten_and_mean(x, w, dy):
    dw = np.zeros(w.shape)
    for k in range(3):
        dw[:, :, k] = np.einsum("nci,noi->oc", x[:, :, k : k + 3], dy) / len(x)
    return dw


@TABLE.dw(EVEN_CHANNELS, *both(CHANNELS, MEAN))
def dw_channels_exchanged_and_mean(x, w, dy):
    windows = np.stack([x[:, :, k : k + 4] for k in range(3)], axis=2)
    return np.einsum("ncki,noi->cok", windows, dy) / len(x)


@TABLE.dx(SAME, *both(REVERSED, SHIFTED))
def dx_not_reversed_and_cropped_at_the_end(x, w, dy):
    padded = np.zeros((len(x), 2, 8))
    for i, k in np.ndindex(6, 3):
        padded[:, :, i + k] += dy[:, :, i] @ w[:, :, 2 - k]
    return padded[:, :, :6]


@TABLE.dx(STRIDED, *both(STRIDE, EQUALS))
def dx_stride_forgotten_and_overwritten(x, w, dy):
    dx = np.zeros(x.shape)
    for n, o, i in np.ndindex(*dy.shape):
        dx[n, :, i : i + 3] = w[o] * dy[n, o, i]
    return dx


@TABLE.db(
    IMAGE, ("mean", "batch", "pixel"), ("mean", "batch", "position"), ("mean", "sample", "pix")
)
def db_mean_of_all(x, w, dy):
    return dy.mean(axis=(0, 2, 3))


@TABLE.y(AVERAGE, *both(STRIDE, (("divi",), ("sum",))))
def average_stride_forgotten_and_not_divided(x):
    return np.stack([x[:, :, i : i + 3].sum(axis=2) for i in range(3)], axis=2)


@TABLE.made(SIGNAL, y=REVERSED, dw=MEAN, db=FIRST_SAMPLE)
def another_mistake_in_each():
    right = plain(SIGNAL)

    def forward(x, w, b):
        y = np.zeros((len(x), 3, 5)) + b[:, None]
        for k in range(3):
            y += np.einsum("oc,nci->noi", w[:, :, 2 - k], x[:, :, k : k + 5])
        return y

    def backward(x, w, dy):
        dx, dw, _ = right.backward(x, w, dy)
        return dx, dw / len(x), dy[0].sum(axis=1)

    return pair(forward, backward)
