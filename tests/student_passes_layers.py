"""Wrong passes as students hand them in: layers as classes with a cache, their bias and gradients.

Causal, grouped, channels last inside, "same" as another library pads, reflected borders.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import convdense as cd
from tests.mistake_rows_base import Table, pair
from tests.student_words import AVERAGED, LEFT_OUT, PERMUTED, SHIFTED, phrases, words

TABLE = Table()


def of_layer(Layer):
    """Return a pair that makes a layer for each step: Layer(w, b), forward(x), backward(dout)."""

    def forward(x, w, b):
        return Layer(w, b).forward(x)

    def backward(x, w, dy):
        layer = Layer(w, np.zeros(dy.shape[1], dy.dtype))
        layer.forward(x)
        return layer.backward(dy), layer.dw, layer.db

    return pair(forward, backward)


# Padding

SAME = cd.Conv((2, 6, 9), 3, 3, stride=2, padding=((0, 1), (1, 1)))
PADDED_AT_BOTH_ENDS = (
    *words(*SHIFTED),
    *phrases(
        ("padd",),
        ("begin", "start", "left", "top", "before", "both", "symmetrical", "side", "split"),
    ),
    *phrases(("padd",), ("same", "(1, 1)", "(1, 0)", "for (0, 1)", "k // 2", " end"), ("!mode",)),
)


@TABLE.made(
    SAME,
    name='"same" of one library padded as k // 2 at both ends',
    y=PADDED_AT_BOTH_ENDS,
    dx=PADDED_AT_BOTH_ENDS,
    dw=PADDED_AT_BOTH_ENDS,
)
def same_as_half_the_kernel():
    class Conv2DSame:
        def __init__(self, w, b):
            self.w, self.b, self.s = w, b, 2
            self.p = w.shape[-1] // 2

        def region(self, i, j):
            top, left = i * self.s, j * self.s
            return np.s_[:, :, top : top + 3, left : left + 3]

        def forward(self, x):
            self.xp = np.pad(x, [(0, 0), (0, 0), (self.p, self.p), (self.p, self.p)])
            rows, columns = (-(-n // self.s) for n in x.shape[2:])
            out = np.zeros((len(x), len(self.w), rows, columns), x.dtype)
            for i, j in np.ndindex(rows, columns):
                out[:, :, i, j] = np.einsum("nckl,ockl->no", self.xp[self.region(i, j)], self.w)
            return out + self.b.reshape(-1, 1, 1)

        def backward(self, dout):
            dxp, self.dw = np.zeros_like(self.xp), np.zeros_like(self.w)
            for i, j in np.ndindex(*dout.shape[2:]):
                d, at = dout[:, :, i, j], self.region(i, j)
                dxp[at] += np.einsum("no,ockl->nckl", d, self.w)
                self.dw += np.einsum("no,nckl->ockl", d, self.xp[at])
            self.db = dout.sum((0, 2, 3))
            return dxp[:, :, self.p : -self.p, self.p : -self.p]

    return of_layer(Conv2DSame)


CAUSAL = cd.Conv((2, 8), 3, 3, dilation=2, padding=((4, 0),))
LOOKS_AHEAD = (
    *words("future", "causal", *SHIFTED),
    *phrases(
        ("padd", "trim", "crop", "cut"),
        ("end", "right", "begin", "start", "left", "after", "before", "side", "(0, 4)"),
    ),
)


@TABLE.made(
    CAUSAL,
    name="causal layer that chomps the wrong end",
    y=LOOKS_AHEAD,
    dx=LOOKS_AHEAD,
    dw=LOOKS_AHEAD,
)
def chomps_the_wrong_end():
    class TemporalBlock:
        def __init__(self, weight, bias):
            self.weight, self.bias, self.d = weight, bias, 2
            self.pad = (weight.shape[-1] - 1) * self.d

        def forward(self, x):
            self.x = np.pad(x, ((0, 0), (0, 0), (self.pad, self.pad)))
            T = x.shape[-1] + self.pad
            out = sum(
                np.einsum("oc,nct->not", self.weight[:, :, k], self.x[:, :, k * 2 : k * 2 + T])
                for k in range(3)
            )
            return out[:, :, self.pad :] + self.bias[:, None]

        def backward(self, dout):
            self.db = dout.sum((0, 2))
            dout = np.pad(dout, ((0, 0), (0, 0), (self.pad, 0)))
            dx, self.dw = np.zeros_like(self.x), np.zeros_like(self.weight)
            for k in range(3):
                seen = slice(k * self.d, k * self.d + dout.shape[-1])
                dx[:, :, seen] += np.einsum("oc,not->nct", self.weight[:, :, k], dout)
                self.dw[:, :, k] = np.einsum("not,nct->oc", dout, self.x[:, :, seen])
            return dx[:, :, self.pad : -self.pad]

    return of_layer(TemporalBlock)


@TABLE.dx(
    cd.Conv((2, 5, 4), 3, (3, 2), padding=((2, 2), (1, 1)), padding_mode="reflect"),
    *phrases(
        ("padd", "reflect", "border", "added cells"),
        (*LEFT_OUT, "crop", "cut", "not folded", "thrown", "zeros", "not passed"),
    ),
    name="reflected border cropped from dx instead of folded back",
)
def reflected_border_cropped(x, w, dy):
    dxp = np.zeros((len(x), 2, 9, 6), dy.dtype)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            dxp[:, :, i : i + 3, j : j + 2] += np.tensordot(dy[:, :, i, j], w, axes=1)
    return dxp[:, :, 2:-2, 1:-1]


# Bias

AS_WIDE = cd.Conv((2, 6, 6), 4, (2, 3))


@TABLE.y(
    AS_WIDE,
    *phrases(
        ("bias",),
        ("axis", "axes", "broadcast", "column", "last", "position", "width"),
    ),
    name="bias added without its axes of length 1",
)
def bias_along_columns(x, w, b):
    return np.einsum("nchwij,ocij->nohw", sliding_window_view(x, (2, 3), axis=(2, 3)), w) + b


CHANNELS_LAST = cd.Conv((2, 6, 4), 4, (3, 2))


class ConvNHWC:
    """Channels last inside, as in the reference solution of another course."""

    bias_axes = (0, 1, 2)

    def __init__(self, w, b):
        self.w, self.b = w.transpose(2, 3, 1, 0), b  # HWIO

    def forward(self, x):
        self.x = x.transpose(0, 2, 3, 1)
        self.oh, self.ow = self.x.shape[1] - 2, self.x.shape[2] - 1
        z = np.zeros((len(x), self.oh, self.ow, self.w.shape[3]), x.dtype)
        for i, j in np.ndindex(3, 2):
            z += self.x[:, i : i + self.oh, j : j + self.ow] @ self.w[i, j]
        return (z + self.b).transpose(0, 3, 1, 2)

    def backward(self, dout):
        dz = dout.transpose(0, 2, 3, 1)
        dx, dw = np.zeros_like(self.x), np.zeros_like(self.w)
        for i, j in np.ndindex(3, 2):
            part = np.s_[:, i : i + self.oh, j : j + self.ow]
            dx[part] += dz @ self.w[i, j].T
            dw[i, j] = np.tensordot(self.x[part], dz, axes=([0, 1, 2], [0, 1, 2]))
        self.dw, self.db = dw.transpose(3, 2, 0, 1), dz.sum(axis=self.bias_axes)
        return dx.transpose(0, 3, 1, 2)


@TABLE.made(CHANNELS_LAST, name="channels last inside, and back")
def channels_last_inside():
    return of_layer(ConvNHWC)


@TABLE.made(
    CHANNELS_LAST,
    name="db over the axes of channels first in a layer of channels last",
    db=(
        *words("nhwc", "channels last", "channels-last", "layout", "wrong ax"),
        *words("row", "height", "(0, 2, 3)", "first spatial", "axis 2"),
        *phrases(("axes", "axis"), ("instead", "in place of", "other", "taken for", "kept")),
        *phrases(("over", "sum"), ("the channels", "output channels")),
    ),
)
def db_over_the_wrong_axes():
    class Wrong(ConvNHWC):
        bias_axes = (0, 2, 3)

    return of_layer(Wrong)


@TABLE.db(
    cd.Conv((2, 3, 4, 3), 3, (2, 2, 1)),
    *phrases(
        AVERAGED,
        ("position", "pixel", "voxel", "place", "spatial", "volume", "output cells", "18", "d*h*w"),
    ),
    name="db averaged over the voxels",
)
def db_averaged_over_voxels(x, w, dy):
    return dy.mean(axis=(2, 3, 4)).sum(axis=0)


# What a training loop leaves behind


@TABLE.dw(
    cd.Conv((3, 6), 2, 3),
    *words("decay", "regulari", "l2", "penalty", "w itself", "times w", "* w", "adds w"),
    *phrases(("multiple of", "part of", "share of"), (" w ", " w,", " w:", "weight")),
    *phrases(("added", "adds"), ("of w ", "the weight", "its weight")),
    name="dw with the weight decay of the loss",
)
def weight_decay_left_in(x, w, dy, reg=0.01):
    windows = sliding_window_view(x, 3, axis=2)
    return np.einsum("not,nctk->ock", dy, windows) + reg * w


@TABLE.dx(
    cd.Conv((2, 4, 5), 3, (2, 3)),
    *words("relu", "negative", "x > 0", "x <= 0", "positive", "sign of x", "mask"),
    name="dx through the ReLU before the layer",
)
def through_the_relu(x, w, dy):
    dx = np.zeros(x.shape, dy.dtype)
    for k, m in np.ndindex(2, 3):
        dx[:, :, k : k + 3, m : m + 3] += np.einsum("nohw,oc->nchw", dy, w[:, :, k, m])
    return dx * (x > 0)


ADDS_UP = cd.Conv((2, 7), 3, 2, stride=2)


@TABLE.made(
    ADDS_UP,
    name="dw never set back to zero between steps",
    dw=(
        *words("accumul", "earlier", "previous", "last call", "calls before", "call before"),
        *words("zeroed", "reset", "state", "keeps", "kept", "remember", "second call"),
        *words("first call", "between calls", "from call to call", "set to zero", "set back"),
    ),
)
class Conv1dModule:
    def __init__(self):
        self.grad_w = 0

    def forward(self, x, w, b):
        return np.einsum("nctk,ock->not", self.cut(x), w) + b[:, None]

    def cut(self, x):
        return sliding_window_view(x, 2, axis=2)[:, :, ::2]

    def backward(self, x, w, dy):
        dx = np.zeros(x.shape, dy.dtype)
        for k in range(2):
            dx[:, :, k : k + 6 : 2] = np.einsum("not,oc->nct", dy, w[:, :, k])
        self.grad_w = self.grad_w + np.einsum("not,nctk->ock", dy, self.cut(x))
        return dx, self.grad_w, dy.sum(axis=(0, 2))


# Depthwise, with three filters a channel

DEPTHWISE = cd.Conv((2, 5, 4), 6, (3, 2), groups=2)
WRONG_CHANNEL = (
    *words("multiplier", "modulo", "o % ", "interleav", "np.tile", "o // "),
    *phrases(("channel", "group"), (*PERMUTED, "wrong input", "other input", "order", "blocks")),
    *phrases(("input", "group"), ("every second", "alternat", "consecutive", "round")),
)


class Depthwise:
    """Each channel of the input beside its own filters, then one product a tap."""

    def __init__(self, w, b):
        self.w, self.b, self.m = w[:, 0], b, 3

    def spread(self, x):
        return np.repeat(x, self.m, axis=1)

    def gathered(self, dx):
        n, channels, *size = dx.shape
        return dx.reshape(n, channels // self.m, self.m, *size).sum(axis=2)

    def forward(self, x):
        self.xs = self.spread(x)
        self.win = sliding_window_view(self.xs, (3, 2), axis=(2, 3))
        return np.einsum("nohwkl,okl->nohw", self.win, self.w) + self.b[:, None, None]

    def backward(self, dout):
        self.dw = np.einsum("nohwkl,nohw->okl", self.win, dout)[:, None]
        self.db = dout.sum(axis=(0, 2, 3))
        dxs = np.zeros_like(self.xs)
        for k in range(3):
            for m in range(2):
                dxs[:, :, k : k + 3, m : m + 3] += dout * self.w[:, k, m, None, None]
        return self.gathered(dxs)


@TABLE.made(DEPTHWISE, name="depthwise layer with each channel repeated")
def channels_repeated():
    return of_layer(Depthwise)


@TABLE.made(
    DEPTHWISE,
    name="depthwise layer with its channels tiled",
    y=WRONG_CHANNEL,
    dx=WRONG_CHANNEL,
    dw=WRONG_CHANNEL,
)
def channels_tiled():
    class Tiled(Depthwise):
        def spread(self, x):
            return np.tile(x, (1, self.m, 1, 1))

        def gathered(self, dx):
            n, channels, *size = dx.shape
            return dx.reshape(n, self.m, channels // self.m, *size).sum(axis=1)

    return of_layer(Tiled)
