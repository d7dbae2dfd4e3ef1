"""The right half of the zoo: layers, and right implementations as different people write them."""

import importlib.util
import re
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from scipy import signal

from convdense import AvgPool, Conv, ConvTranspose, MaxPool, SumPool


class Member(NamedTuple):
    name: str
    layers: tuple[Any, ...]
    make: Callable[[Any], Any]
    wrong_in: tuple[str, ...]
    story: str


HAS_TORCH = importlib.util.find_spec("torch") is not None
PAD_MODES = {
    "zeros": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "symmetric": "symmetric",
}

PLAIN = Conv((2, 5, 6), 3, (2, 3))
PADDED = Conv((2, 5, 4), 3, (3, 2), padding=((1, 2), (0, 1)))
EVEN_PADS = Conv((2, 4, 5), 3, (3, 2), padding=((1, 1), (2, 2)))
STRIDED = Conv(
    (2, 7, 8), 3, (3, 2), stride=(2, 3), padding=((1, 1), (0, 2))
)  # leaves two columns over
UNEVEN_STRIDE = Conv((2, 6, 7), 3, (2, 3), stride=(1, 2))
DILATED = Conv((2, 7, 6), 3, (3, 2), dilation=(2, 3), padding=((2, 1), (1, 0)))
GROUPED = Conv((4, 5, 4), 6, (2, 3), groups=2, padding=((1, 0), (1, 2)))
DEPTHWISE = Conv((3, 5, 4), 6, (3, 2), groups=3, padding=((1, 0), (0, 1)))
LINE = Conv((2, 9), 3, 4, stride=2, padding=((2, 1),))
VOLUME = Conv((2, 3, 4, 5), 3, (2, 1, 3), stride=(1, 2, 2), padding=((1, 0), (0, 0), (2, 1)))
FLIPPED = Conv((2, 5, 6), 3, (3, 2), padding=((0, 1), (1, 1)), flip=True)
CIRCULAR = Conv((2, 5, 4), 3, (3, 2), padding=((2, 1), (1, 2)), padding_mode="circular")
REFLECT = Conv((2, 5, 4), 3, (3, 2), padding=((2, 1), (0, 1)), padding_mode="reflect")
REFLECT_ONE = Conv((2, 5, 4), 3, 3, padding=1, padding_mode="reflect")
REPLICATE = Conv(
    (2, 3, 4), 3, (3, 2), stride=(2, 1), padding=((2, 3), (1, 0)), padding_mode="replicate"
)
SYMMETRIC = Conv((2, 4, 5), 3, (3, 2), padding=((2, 1), (1, 2)), padding_mode="symmetric")
MIXED = Conv(
    (4, 9, 8), 6, (3, 2), stride=(2, 1), dilation=(1, 3), groups=2, padding=((1, 0), (2, 1))
)
SQUARE_KERNEL = Conv((2, 5, 7), 3, 3, padding=((1, 0), (1, 2)))
SQUARE_CHANNELS = Conv((3, 5, 6), 3, (2, 3), padding=((0, 1), (1, 0)))
SAME_EVEN = Conv((2, 5, 6), 3, (2, 4), padding="same")
SAME_ODD = Conv((2, 5, 4), 3, (3, 5), padding="same")

UP = ConvTranspose(
    (2, 4, 3), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)), output_padding=(1, 2)
)
UP_PLAIN = ConvTranspose((2, 4, 3), 3, (2, 3))
UP_GROUPED = ConvTranspose((4, 3, 4), 6, (3, 2), stride=(1, 2), groups=2, padding=((0, 1), (1, 0)))
UP_DILATED = ConvTranspose(
    (2, 4, 3), 3, (3, 2), stride=2, dilation=(1, 3), padding=((1, 2), (1, 0))
)
UP_FLIPPED = ConvTranspose((2, 3, 4), 3, (2, 3), stride=(2, 1), padding=((0, 1), (1, 1)), flip=True)
UP_SQUARE = ConvTranspose((3, 4, 3), 3, (3, 2), stride=(1, 2), padding=((1, 0), (0, 0)))
UP_LINE = ConvTranspose((2, 5), 3, 4, stride=3, padding=((1, 2),), output_padding=1)

MAX_TILES = MaxPool((2, 4, 6), (2, 3))
MAX = MaxPool((2, 6, 7), (3, 2), stride=(2, 1))
MAX_PADDED = MaxPool((2, 5, 6), (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)))
MAX_CEIL = MaxPool((2, 6, 8), (3, 2), stride=(2, 3), ceil_mode=True)
MAX_DILATED = MaxPool((2, 7, 6), (2, 3), stride=(2, 1), dilation=(3, 2), padding=((1, 0), (1, 2)))
MAX_LINE = MaxPool((2, 9), 3, stride=2)
MAX_PARTS = MaxPool((2, 7, 5), output=(3, 2))
AVG_TILES = AvgPool((2, 4, 6), (2, 3))
AVG = AvgPool((2, 6, 7), (3, 2), stride=(2, 1))
AVG_PADDED = AvgPool((2, 5, 6), (3, 2), stride=(2, 1), padding=((1, 2), (0, 1)))
AVG_INSIDE = AvgPool(
    (2, 5, 6), (3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), count_include_pad=False
)
AVG_CEIL = AvgPool((2, 6, 8), (3, 2), stride=(2, 3), padding=((0, 0), (1, 0)), ceil_mode=True)
AVG_OVERRIDE = AvgPool((2, 5, 6), (3, 2), stride=(1, 2), divisor_override=7)
AVG_PARTS = AvgPool((2, 7, 5), output=(3, 2))
SUM = SumPool((2, 6, 7), (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)))
SUM_TILES = SumPool((2, 5, 6), (2, 3))  # leaves a row over

ANY_CONV = (
    PADDED,
    STRIDED,
    DILATED,
    MIXED,
    LINE,
    VOLUME,
    FLIPPED,
    CIRCULAR,
    REFLECT,
    REPLICATE,
    SYMMETRIC,
    DEPTHWISE,
)
FLAT_CONV = (PLAIN, PADDED, STRIDED, DILATED)
ANY_UP = (UP, UP_PLAIN, UP_GROUPED, UP_DILATED)
_RIGHT: list[Member] = []


def words(name: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", " ", name).lower()


def right(story: str, *layers: Any) -> Callable[[type], type]:
    def register(kind: type) -> type:
        _RIGHT.append(Member(words(kind.__name__), layers, kind, (), story))
        return kind

    return register


def pad(layer, x):
    return np.pad(x, ((0, 0), (0, 0), *layer.padding), mode=PAD_MODES[layer.padding_mode])


def sources(layer):
    """The flat input cell that every padded cell holds, -1 for a zero."""
    cells = np.arange(np.prod(layer.in_spatial)).reshape(layer.in_spatial)
    if layer.padding_mode == "zeros":
        return np.pad(cells, layer.padding, constant_values=-1)
    return np.pad(cells, layer.padding, mode=PAD_MODES[layer.padding_mode])


def fold(layer, padded):
    """Add every padded cell to the input cell that it holds."""
    where = sources(layer).ravel()
    dx = np.zeros((*padded.shape[:2], int(np.prod(layer.in_spatial))), padded.dtype)
    np.add.at(
        dx,
        (slice(None), slice(None), where[where >= 0]),
        padded.reshape(*padded.shape[:2], -1)[..., where >= 0],
    )
    return dx.reshape(*padded.shape[:2], *layer.in_spatial)


def plus_bias(y, b):
    return y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))


def bias_gradient(dy):
    return dy.sum(axis=(0, *range(2, dy.ndim)))


def turned(layer, w):
    return np.flip(w, tuple(range(2, w.ndim))) if layer.flip else w


def spread(cells, steps):
    """Put steps - 1 zeros between neighbours."""
    out = np.zeros(
        (*cells.shape[:2], *((n - 1) * s + 1 for n, s in zip(cells.shape[2:], steps, strict=True))),
        cells.dtype,
    )
    out[(..., *(slice(None, None, s) for s in steps))] = cells
    return out


def windows(padded, layer):
    """(batch, channels, out rows, out columns, kernel rows, kernel columns) of the padded input."""
    (sh, sw), (dh, dw) = layer.stride, layer.dilation
    reach = tuple((k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True))
    return sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]


@right("Nested loops over channels, outputs and taps.", *ANY_CONV)
class Loops:
    def __init__(self, layer):
        self.layer = layer

    def edges(self):
        """Yield every product: its channels and place in the weights, output, cell and tap.

        The first is (output channel, input channel, place); the cell is padded.
        """
        layer = self.layer
        ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        for o, k in product(range(layer.out_channels), range(ins)):
            for at in product(*map(range, layer.out_spatial)):
                for tap in product(*map(range, layer.kernel)):
                    numbers = zip(at, layer.stride, tap, layer.dilation, strict=True)
                    yield (
                        (o, o // outs * ins + k, k),
                        at,
                        tuple(i * s + t * d for i, s, t, d in numbers),
                        tap,
                    )

    def forward(self, x, w, b=None):
        padded, w = pad(self.layer, x), turned(self.layer, w)
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for (o, c, k), at, cell, tap in self.edges():
            y[:, o, *at] += w[o, k, *tap] * padded[:, c, *cell]
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded, w = pad(self.layer, x), turned(self.layer, w)
        rim, dw = np.zeros_like(padded), np.zeros_like(w)
        for (o, c, k), at, cell, tap in self.edges():
            rim[:, c, *cell] += w[o, k, *tap] * dy[:, o, *at]
            dw[o, k, *tap] += (padded[:, c, *cell] * dy[:, o, *at]).sum()
        return fold(self.layer, rim), turned(self.layer, dw), bias_gradient(dy)


@right("One channel product per tap on a shifted view of the padded input.", *ANY_CONV)
class Taps:
    """Every step is a method, so that the wrong ones can override one."""

    def __init__(self, layer):
        self.layer = layer

    def pad(self, x):
        return pad(self.layer, x)

    def unpad(self, padded):
        return fold(self.layer, padded)

    def taps(self):
        return product(*map(range, self.layer.kernel))

    def at(self, tap):
        flip = self.layer.flip
        return (
            ...,
            *(k - 1 - t if flip else t for t, k in zip(tap, self.layer.kernel, strict=True)),
        )

    def view(self, tap):
        numbers = zip(
            tap, self.layer.out_spatial, self.layer.stride, self.layer.dilation, strict=True
        )
        return (..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in numbers))

    def split(self, cells):
        return cells.reshape(len(cells), self.layer.groups, cells.shape[1] // self.layer.groups, -1)

    def part(self, w, tap):
        return w[self.at(tap)].reshape(self.layer.groups, -1, w.shape[1])

    def y(self, x, w):
        padded, y = self.pad(x), np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for tap in self.taps():
            y += np.einsum(
                "goc,ngcp->ngop", self.part(w, tap), self.split(padded[self.view(tap)])
            ).reshape(y.shape)
        return y

    def dx(self, x, w, dy):
        rim = np.zeros_like(self.pad(x))
        for tap in self.taps():
            target = rim[self.view(tap)]
            target += np.einsum("goc,ngop->ngcp", self.part(w, tap), self.split(dy)).reshape(
                target.shape
            )
        return self.unpad(rim)

    def dw(self, x, w, dy):
        padded, dw = self.pad(x), np.zeros_like(w)
        for tap in self.taps():
            pairs = np.einsum("ngop,ngcp->goc", self.split(dy), self.split(padded[self.view(tap)]))
            dw[self.at(tap)] = pairs.reshape(w.shape[:2])
        return dw

    def db(self, dy):
        return bias_gradient(dy)

    def forward(self, x, w, b=None):
        return plus_bias(self.y(x, w), b)

    def backward(self, x, w, dy):
        return self.dx(x, w, dy), self.dw(x, w, dy), self.db(dy)


@right(
    "Accumulates in float32 and returns the input's dtype: exact only while "
    "the sums stay below 2^24.",
    *ANY_CONV,
)
class SinglePrecision(Taps):
    def forward(self, x, w, b=None):
        y = self.y(x.astype(np.float32), w.astype(np.float32))
        return plus_bias(y, None if b is None else b.astype(np.float32)).astype(x.dtype)

    def backward(self, x, w, dy):
        narrow = (a.astype(np.float32) for a in (x, w, dy))
        return tuple(g.astype(x.dtype) for g in super().backward(*narrow))


def im2col_indices(layer):
    """Channel, row and column of every (weight, output) pair in the padded input."""
    c, (kh, kw), (oh, ow) = layer.in_channels, layer.kernel, layer.out_spatial
    (sh, sw), (dh, dw) = layer.stride, layer.dilation
    k = np.repeat(np.arange(c), kh * kw)[:, None]
    i = (
        np.tile(np.repeat(np.arange(kh) * dh, kw), c)[:, None]
        + np.repeat(np.arange(oh) * sh, ow)[None]
    )
    j = np.tile(np.tile(np.arange(kw) * dw, kh), c)[:, None] + np.tile(np.arange(ow) * sw, oh)[None]
    return k, i, j


@right(
    "im2col, one matrix product, col2im with np.add.at, as in a well-known course.",
    *FLAT_CONV,
    CIRCULAR,
)
class Im2col:
    def __init__(self, layer):
        self.layer, self.indices = layer, im2col_indices(layer)

    def forward(self, x, w, b=None):
        columns = pad(self.layer, x)[:, *self.indices]
        y = (w.reshape(len(w), -1) @ columns).reshape(len(x), *self.layer.out_shape)
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded = pad(self.layer, x)
        rows, rim = dy.reshape(*dy.shape[:2], -1), np.zeros_like(padded)
        np.add.at(rim, (slice(None), *self.indices), w.reshape(len(w), -1).T @ rows)
        dw = (rows @ padded[:, *self.indices].swapaxes(1, 2)).sum(axis=0).reshape(w.shape)
        return fold(self.layer, rim), dw, dy.sum(axis=(0, 2, 3))


@right(
    "scipy.signal.fftconvolve per channel pair: right only within a normwise bound.",
    *FLAT_CONV,
    SAME_EVEN,
)
class FourierConvolve:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        padded, (sh, sw) = pad(self.layer, x), self.layer.stride
        kernel = spread(w, self.layer.dilation)[:, :, ::-1, ::-1]
        y = [
            sum(
                signal.fftconvolve(padded[:, c], k[None, c], "valid", axes=(1, 2))
                for c in range(len(k))
            )
            for k in kernel
        ]
        return plus_bias(np.stack(y, axis=1)[:, :, ::sh, ::sw], b).astype(x.dtype)

    def backward(self, x, w, dy):
        padded, wide, kernel = (
            pad(self.layer, x),
            spread(dy, self.layer.stride),
            spread(w, self.layer.dilation),
        )
        rim, dw = np.zeros(padded.shape), np.zeros(w.shape)
        (dh, dv), (kh, kw) = self.layer.dilation, self.layer.kernel
        for o, c in product(range(w.shape[0]), range(w.shape[1])):
            full = signal.fftconvolve(wide[:, o], kernel[o, c][None], axes=(1, 2))
            rim[:, c, : full.shape[1], : full.shape[2]] += full
            lags = signal.fftconvolve(
                padded[:, c], wide[:, o, ::-1, ::-1], "valid", axes=(1, 2)
            ).sum(axis=0)
            dw[o, c] = lags[::dh, ::dv][:kh, :kw]
        return fold(self.layer, rim).astype(x.dtype), dw.astype(x.dtype), dy.sum(axis=(0, 2, 3))


@right(
    "Winograd F(2x2, 3x3); backward through its transforms.",
    SQUARE_KERNEL,
    Conv((2, 6, 4), 3, 3, padding=1),
)
class Winograd:
    BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
    AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

    def __init__(self, layer):
        self.layer = layer
        self.tiles = tuple(-(-n // 2) for n in layer.out_spatial)

    def spectra(self, x, w):
        more = [2 * t - n for t, n in zip(self.tiles, self.layer.out_spatial, strict=True)]
        padded = np.pad(pad(self.layer, x), ((0, 0), (0, 0), (0, more[0]), (0, more[1])))
        tiles = sliding_window_view(padded, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
        return padded.shape, self.BT @ tiles @ self.BT.T, self.G @ w @ self.G.T

    def forward(self, x, w, b=None):
        _, V, U = self.spectra(x, w)
        y = self.AT @ np.einsum("ocij,nctuij->notuij", U, V) @ self.AT.T
        (th, tw), (oh, ow) = self.tiles, self.layer.out_spatial
        y = y.swapaxes(3, 4).reshape(*y.shape[:2], 2 * th, 2 * tw)[:, :, :oh, :ow]
        return plus_bias(y, b).astype(x.dtype)

    def backward(self, x, w, dy):
        shape, V, U = self.spectra(x, w)
        (th, tw), (oh, ow) = self.tiles, self.layer.out_spatial
        even = np.pad(dy, ((0, 0), (0, 0), (0, 2 * th - oh), (0, 2 * tw - ow)))
        M = self.AT.T @ even.reshape(*dy.shape[:2], th, 2, tw, 2).swapaxes(3, 4) @ self.AT
        dw = self.G.T @ np.einsum("notuij,nctuij->ocij", M, V) @ self.G
        tiles = self.BT.T @ np.einsum("ocij,notuij->nctuij", U, M) @ self.BT
        rim = np.zeros(shape, tiles.dtype)
        for i, j in product(range(4), range(4)):
            rim[:, :, i : i + 2 * th : 2, j : j + 2 * tw : 2] += tiles[..., i, j]
        rim = rim[:, :, : shape[2] - 2 * th + oh, : shape[3] - 2 * tw + ow]
        return fold(self.layer, rim).astype(x.dtype), dw.astype(x.dtype), dy.sum(axis=(0, 2, 3))


@right(
    "scipy.signal.correlate forward, signal.convolve on the spread-out dy backward.",
    *FLAT_CONV,
    VOLUME,
    DEPTHWISE,
)
class SignalCorrelate:
    def __init__(self, layer):
        self.layer = layer

    def pairs(self, w):
        outs = len(w) // self.layer.groups
        return [
            (o, o // outs * w.shape[1] + k, k) for o in range(len(w)) for k in range(w.shape[1])
        ]

    def forward(self, x, w, b=None):
        padded, kernel = pad(self.layer, x), spread(w, self.layer.dilation)
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        step = tuple(slice(None, None, s) for s in self.layer.stride)
        for n, (o, c, k) in product(range(len(x)), self.pairs(w)):
            y[n, o] += signal.correlate(padded[n, c], kernel[o, k], "valid", "direct")[step]
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded, wide, kernel = (
            pad(self.layer, x),
            spread(dy, self.layer.stride),
            spread(w, self.layer.dilation),
        )
        rim, dw = np.zeros_like(padded), np.zeros_like(w)
        taps = tuple(
            slice(0, (k - 1) * d + 1, d)
            for k, d in zip(self.layer.kernel, self.layer.dilation, strict=True)
        )
        for n, (o, c, k) in product(range(len(x)), self.pairs(w)):
            full = signal.convolve(wide[n, o], kernel[o, k], "full", "direct")
            rim[n, c, *map(slice, full.shape)] += full
            dw[o, k] += signal.correlate(padded[n, c], wide[n, o], "valid", "direct")[taps]
        return fold(self.layer, rim), dw, bias_gradient(dy)


@right(
    "einsum over sliding windows; dx by windows over the spread-out dy.",
    *FLAT_CONV,
    GROUPED,
    REFLECT,
)
class WindowEinsum:
    def __init__(self, layer):
        self.layer = layer

    def grouped(self, cells):
        return cells.reshape(len(cells), self.layer.groups, -1, *cells.shape[2:])

    def forward(self, x, w, b=None):
        seen = self.grouped(windows(pad(self.layer, x), self.layer))
        kernel = w.reshape(self.layer.groups, -1, *w.shape[1:])
        y = np.einsum("ngcijab,gocab->ngoij", seen, kernel).reshape(len(x), *self.layer.out_shape)
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded, (dh, dv) = pad(self.layer, x), self.layer.dilation
        kernel = w.reshape(self.layer.groups, -1, *w.shape[1:])
        dw = np.einsum(
            "ngcijab,ngoij->gocab", self.grouped(windows(padded, self.layer)), self.grouped(dy)
        )
        reach = [(k - 1) * d for k, d in zip(self.layer.kernel, self.layer.dilation, strict=True)]
        wide = spread(dy, self.layer.stride)
        over = [p - n for p, n in zip(padded.shape[2:], wide.shape[2:], strict=True)]
        wide = np.pad(wide, ((0, 0), (0, 0), (reach[0], over[0]), (reach[1], over[1])))
        seen = self.grouped(
            sliding_window_view(wide, (reach[0] + 1, reach[1] + 1), axis=(2, 3))[..., ::dh, ::dv]
        )
        rim = np.einsum("ngoijab,gocab->ngcij", seen, kernel[..., ::-1, ::-1]).reshape(padded.shape)
        return fold(self.layer, rim), dw.reshape(w.shape), dy.sum(axis=(0, 2, 3))


@right("Every input pixel stamps its products onto the outputs that see it.", *FLAT_CONV, SAME_EVEN)
class Stamp:
    def __init__(self, layer):
        self.layer = layer

    def stamps(self):
        (h, w), (oh, ow), (sh, sw) = (
            self.layer.in_spatial,
            self.layer.out_spatial,
            self.layer.stride,
        )
        (dh, dw), ((top, _), (left, _)) = self.layer.dilation, self.layer.padding
        for i, j, a, b in product(range(h), range(w), *map(range, self.layer.kernel)):
            (r, odd), (q, off) = divmod(i + top - a * dh, sh), divmod(j + left - b * dw, sw)
            if not odd and not off and 0 <= r < oh and 0 <= q < ow:
                yield i, j, a, b, r, q

    def forward(self, x, w, b=None):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j, a, c, r, q in self.stamps():
            y[:, :, r, q] += x[:, :, i, j] @ w[:, :, a, c].T
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i, j, a, c, r, q in self.stamps():
            dx[:, :, i, j] += dy[:, :, r, q] @ w[:, :, a, c]
            dw[:, :, a, c] += dy[:, :, r, q].T @ x[:, :, i, j]
        return dx, dw, dy.sum(axis=(0, 2, 3))


def matrix_entries(layer):
    """(row, column, weight) of every edge of the dense matrix."""
    where, ins = sources(layer), layer.in_channels // layer.groups
    pixels = int(np.prod(layer.in_spatial))
    rows, columns, weights = [], [], []
    for (o, c, k), at, cell, tap in Loops(layer).edges():
        if where[cell] >= 0:
            stored = (
                tuple(n - 1 - t for t, n in zip(tap, layer.kernel, strict=True))
                if layer.flip
                else tap
            )
            rows.append(np.ravel_multi_index((o, *at), layer.out_shape))
            columns.append(c * pixels + where[cell])
            weights.append(
                np.ravel_multi_index((o, k, *stored), (layer.out_channels, ins, *layer.kernel))
            )
    return np.array(rows), np.array(columns), np.array(weights)


@right(
    "Builds the dense matrix and backpropagates through it, edge by edge.",
    PADDED,
    MIXED,
    FLIPPED,
    REPLICATE,
    LINE,
)
class DenseMatrix:
    def __init__(self, layer):
        self.layer, (self.rows, self.columns, self.weights) = layer, matrix_entries(layer)

    def matrix(self, w):
        A = np.zeros((np.prod(self.layer.out_shape), np.prod(self.layer.in_shape)), w.dtype)
        np.add.at(A, (self.rows, self.columns), w.ravel()[self.weights])
        return A

    def forward(self, x, w, b=None):
        y = x.reshape(len(x), -1) @ self.matrix(w).T
        return plus_bias(y.reshape(len(x), *self.layer.out_shape), b)

    def backward(self, x, w, dy):
        flat, dw = dy.reshape(len(dy), -1), np.zeros(w.size, w.dtype)
        G = flat.T @ x.reshape(len(x), -1)
        np.add.at(dw, self.weights, G[self.rows, self.columns])
        return (flat @ self.matrix(w)).reshape(x.shape), dw.reshape(w.shape), bias_gradient(dy)


def tensors(*arrays):
    import torch

    return [
        torch.tensor(a if a.dtype.kind == "f" else a.astype(float), requires_grad=True)
        for a in arrays
    ]


def torch_pads(pairs):
    return [n for pair in reversed(pairs) for n in pair]


class TorchFunctional:
    def __init__(self, layer):
        self.layer = layer

    def convolve(self, x, w, b):
        import torch

        ops = torch.nn.functional
        modes = {
            "zeros": "constant",
            "circular": "circular",
            "reflect": "reflect",
            "replicate": "replicate",
        }
        conv = (ops.conv1d, ops.conv2d, ops.conv3d)[x.ndim - 3]
        x = ops.pad(x, torch_pads(self.layer.padding), mode=modes[self.layer.padding_mode])
        w = torch.flip(w, tuple(range(2, w.ndim))) if self.layer.flip else w
        return conv(x, w, b, self.layer.stride, 0, self.layer.dilation, self.layer.groups)

    def forward(self, x, w, b=None):
        return self.convolve(*tensors(x, w), None if b is None else tensors(b)[0]).detach().numpy()

    def backward(self, x, w, dy):
        x, w, b = tensors(x, w, np.zeros(self.layer.out_channels, w.dtype))
        self.convolve(x, w, b).backward(tensors(dy)[0].detach())
        return x.grad.numpy(), w.grad.numpy(), b.grad.numpy()


class TorchTranspose(TorchFunctional):
    def convolve(self, x, w, b):
        import torch

        ops = torch.nn.functional
        conv = (ops.conv_transpose1d, ops.conv_transpose2d)[x.ndim - 3]
        full = conv(x, w, None, self.layer.stride, 0, 0, self.layer.groups, self.layer.dilation)
        full = ops.pad(full, torch_pads([(0, e) for e in self.layer.output_padding]))
        y = ops.pad(full, [-n for n in torch_pads(self.layer.padding)])
        return y if b is None else y + b.reshape(-1, *[1] * (x.ndim - 2))


if HAS_TORCH:
    right(
        "torch.nn.functional and autograd.", *FLAT_CONV, LINE, VOLUME, FLIPPED, CIRCULAR, REPLICATE
    )(TorchFunctional)
    right("conv_transpose and autograd; torch pads and crops.", *ANY_UP, UP_LINE)(TorchTranspose)


@right(
    "Transposed: every input pixel adds its kernel, one slice per tap, and the rim is cropped.",
    *ANY_UP,
    UP_FLIPPED,
    UP_LINE,
)
class UpStamps:
    """Every step is a method, so that the wrong ones can override one."""

    def __init__(self, layer):
        self.layer = layer

    def taps(self):
        return product(*map(range, self.layer.kernel))

    def view(self, tap):
        numbers = zip(
            tap, self.layer.in_spatial, self.layer.stride, self.layer.dilation, strict=True
        )
        return (..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in numbers))

    def full_shape(self):
        return tuple(
            n + sum(pair)
            for n, pair in zip(self.layer.out_spatial, self.layer.padding, strict=True)
        )

    def crop(self, full):
        return full[
            (
                ...,
                *(
                    slice(b, m - e)
                    for m, (b, e) in zip(full.shape[2:], self.layer.padding, strict=True)
                ),
            )
        ]

    def uncrop(self, dy):
        return np.pad(dy, ((0, 0), (0, 0), *self.layer.padding))

    def split(self, cells):
        return cells.reshape(len(cells), self.layer.groups, cells.shape[1] // self.layer.groups, -1)

    def part(self, w, tap):
        return turned(self.layer, w)[(..., *tap)].reshape(self.layer.groups, -1, w.shape[1])

    def y(self, x, w):
        full = np.zeros((len(x), self.layer.out_channels, *self.full_shape()), x.dtype)
        for tap in self.taps():
            target = full[self.view(tap)]
            target += np.einsum("gco,ngcp->ngop", self.part(w, tap), self.split(x)).reshape(
                target.shape
            )
        return self.crop(full)

    def dx(self, x, w, dy):
        full, dx = self.uncrop(dy), np.zeros_like(x)
        for tap in self.taps():
            dx += np.einsum(
                "gco,ngop->ngcp", self.part(w, tap), self.split(full[self.view(tap)])
            ).reshape(dx.shape)
        return dx

    def dw(self, x, w, dy):
        full, dw = self.uncrop(dy), np.zeros_like(w)
        for tap in self.taps():
            pairs = np.einsum("ngcp,ngop->gco", self.split(x), self.split(full[self.view(tap)]))
            dw[(..., *tap)] = pairs.reshape(w.shape[:2])
        return turned(self.layer, dw)

    def db(self, dy):
        return bias_gradient(dy)

    def forward(self, x, w, b=None):
        return plus_bias(self.y(x, w), b)

    def backward(self, x, w, dy):
        return self.dx(x, w, dy), self.dw(x, w, dy), self.db(dy)


@right(
    "Transposed: zeros between the pixels, then the full correlation with the turned kernel.",
    UP,
    UP_PLAIN,
    UP_DILATED,
)
class UpZeroInsertion:
    def __init__(self, layer):
        self.layer = layer

    def seen(self, x):
        (kh, kw), (dh, dw), ((top, bottom), (left, right_)) = (
            self.layer.kernel,
            self.layer.dilation,
            self.layer.padding,
        )
        (eh, ew), (rh, rw) = self.layer.output_padding, ((kh - 1) * dh, (kw - 1) * dw)
        wide = np.pad(spread(x, self.layer.stride), ((0, 0), (0, 0), (rh, rh + eh), (rw, rw + ew)))
        wide = wide[:, :, top : wide.shape[2] - bottom, left : wide.shape[3] - right_]
        return sliding_window_view(wide, (rh + 1, rw + 1), axis=(2, 3))[..., ::dh, ::dw]

    def forward(self, x, w, b=None):
        return plus_bias(np.einsum("ncijab,coab->noij", self.seen(x), w[..., ::-1, ::-1]), b)

    def backward(self, x, w, dy):
        (sh, sw), (dh, dw), (kh, kw) = self.layer.stride, self.layer.dilation, self.layer.kernel
        (h, v), dx = self.layer.in_spatial, np.zeros_like(x)
        full = np.pad(dy, ((0, 0), (0, 0), *self.layer.padding))
        for a, b in product(range(kh), range(kw)):
            cells = full[
                :,
                :,
                a * dh : a * dh + (h - 1) * sh + 1 : sh,
                b * dw : b * dw + (v - 1) * sw + 1 : sw,
            ]
            dx += np.einsum("co,noij->ncij", w[:, :, a, b], cells)
        dkernel = np.einsum("ncijab,noij->coab", self.seen(x), dy)[..., ::-1, ::-1]
        return dx, dkernel, dy.sum(axis=(0, 2, 3))


@right(
    "Pools: loops over windows; the first largest cell wins.",
    *(
        MAX,
        MAX_PADDED,
        MAX_CEIL,
        MAX_DILATED,
        MAX_LINE,
        MAX_PARTS,
        AVG,
        AVG_PADDED,
        AVG_INSIDE,
        AVG_CEIL,
    ),
    *(AVG_OVERRIDE, AVG_PARTS, SUM, SUM_TILES),
)
class PoolLoops:
    """Every step is a method, so that the wrong ones can override one."""

    def __init__(self, layer):
        self.layer = layer

    def span(self, axis, o):
        """Which cells of this axis window o covers, and how many of them count in an average."""
        layer, n = self.layer, self.layer.in_spatial[axis]
        if layer.output is not None:
            m = layer.output[axis]
            cells = list(range(o * n // m, -(-(o + 1) * n // m)))
            return cells, len(cells)
        first, (begin, end) = o * layer.stride[axis] - layer.padding[axis][0], layer.padding[axis]
        cells = [first + t * layer.dilation[axis] for t in range(layer.kernel[axis])]
        inside = [i for i in cells if 0 <= i < n]
        included = getattr(layer, "count_include_pad", True)
        return inside, len([i for i in cells if -begin <= i < n + end]) if included else len(inside)

    def divisor(self, counts):
        if isinstance(self.layer, SumPool):
            return 1
        return self.layer.divisor_override or int(np.prod(counts))

    def backward_divisor(self, counts):
        return self.divisor(counts)

    def windows(self):
        for at in product(*map(range, self.layer.out_spatial)):
            spans = [self.span(axis, o) for axis, o in enumerate(at)]
            yield at, np.ix_(*(cells for cells, _ in spans)), [count for _, count in spans]

    def winner(self, cells):
        return cells.argmax(axis=-1)

    def reduce(self, cells, counts):
        """(batch, channels, window) to (batch, channels)."""
        return (
            cells.max(axis=-1)
            if isinstance(self.layer, MaxPool)
            else cells.sum(axis=-1) / self.divisor(counts)
        )

    def shares(self, cells, counts):
        """What part of its output's gradient every cell gets, before the division."""
        if isinstance(self.layer, MaxPool):
            return np.arange(cells.shape[-1]) == self.winner(cells)[..., None]
        return np.ones(cells.shape, bool)

    def forward(self, x):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for at, where, counts in self.windows():
            y[:, :, *at] = self.reduce(x[:, :, *where].reshape(*x.shape[:2], -1), counts)
        return y

    def backward(self, x, dy):
        dx = np.zeros_like(x)
        for at, where, counts in self.windows():
            cells = x[:, :, *where]
            shares = self.shares(cells.reshape(*x.shape[:2], -1), counts) * dy[:, :, *at][..., None]
            shares = (
                shares
                if isinstance(self.layer, MaxPool)
                else shares / self.backward_divisor(counts)
            )
            dx[:, :, *where] += shares.reshape(cells.shape)
        return dx


def reach_over(layer):
    """How many cells behind the padding the last window needs, per axis."""
    numbers = zip(
        layer.in_spatial,
        layer.out_spatial,
        layer.kernel,
        layer.stride,
        layer.dilation,
        layer.padding,
        strict=True,
    )
    return [
        max(0, (o - 1) * s + (k - 1) * d + 1 - n - sum(pair)) for n, o, k, s, d, pair in numbers
    ]


def strided_windows(layer, padded):
    (oh, ow), (kh, kw), (sh, sw), (dh, dw) = (
        layer.out_spatial,
        layer.kernel,
        layer.stride,
        layer.dilation,
    )
    n, c, i, j = padded.strides
    shape, strides = (*padded.shape[:2], oh, ow, kh, kw), (n, c, i * sh, j * sw, i * dh, j * dw)
    return as_strided(padded, shape, strides, writeable=False)


@right(
    "Max pool: as_strided windows, argmax, np.add.at.",
    MAX_TILES,
    MAX,
    MAX_PADDED,
    MAX_CEIL,
    MAX_DILATED,
)
class StridedMax:
    def __init__(self, layer):
        self.layer = layer
        self.pads = [
            (b, e + more) for (b, e), more in zip(layer.padding, reach_over(layer), strict=True)
        ]

    def seen(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=-np.inf)
        return strided_windows(self.layer, padded).reshape(
            *x.shape[:2], *self.layer.out_spatial, -1
        )

    def forward(self, x):
        return self.seen(x).max(axis=-1)

    def backward(self, x, dy):
        n, c, i, j = np.indices(dy.shape)
        a, b = np.unravel_index(self.seen(x).argmax(axis=-1), self.layer.kernel)
        (sh, sw), (dh, dw), ((top, _), (left, _)) = (
            self.layer.stride,
            self.layer.dilation,
            self.layer.padding,
        )
        dx = np.zeros_like(x)
        np.add.at(dx, (n, c, i * sh + a * dh - top, j * sw + b * dw - left), dy)
        return dx


@right(
    "Max pool: running maximum over shifted views; a cell wins if nothing before it did.",
    MAX,
    MAX_PADDED,
    MAX_CEIL,
)
class RunningMax(StridedMax):
    def views(self):
        (oh, ow), (sh, sw), (dh, dw) = (
            self.layer.out_spatial,
            self.layer.stride,
            self.layer.dilation,
        )
        for a, b in product(*map(range, self.layer.kernel)):
            yield np.s_[
                :,
                :,
                a * dh : a * dh + (oh - 1) * sh + 1 : sh,
                b * dw : b * dw + (ow - 1) * sw + 1 : sw,
            ]

    def forward(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=-np.inf)
        y = np.full((len(x), *self.layer.out_shape), -np.inf, x.dtype)
        for view in self.views():
            np.maximum(y, padded[view], out=y)
        return y

    def backward(self, x, dy):
        padded, y = (
            np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=-np.inf),
            self.forward(x),
        )
        rim, free = np.zeros_like(padded), np.ones(y.shape, bool)
        for view in self.views():
            wins = free & (padded[view] == y)
            rim[view] += wins * dy
            free &= ~wins
        (top, _), (left, _) = self.layer.padding
        return rim[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def integral(cells):
    return np.pad(
        cells.cumsum(axis=-2).cumsum(axis=-1), [*[(0, 0)] * (cells.ndim - 2), (1, 0), (1, 0)]
    )


@right(
    "Sums and averages by cumulative sums, and their adjoint: exact on integers only.",
    SUM,
    AVG,
    AVG_PADDED,
    AVG_INSIDE,
    AVG_CEIL,
)
class CumulativeSums:
    def __init__(self, layer):
        self.layer, (oh, ow), (kh, kw), (sh, sw) = (
            layer,
            layer.out_spatial,
            layer.kernel,
            layer.stride,
        )
        self.pads = [
            (b, e + more) for (b, e), more in zip(layer.padding, reach_over(layer), strict=True)
        ]
        top, left = np.arange(oh)[:, None] * sh, np.arange(ow)[None] * sw
        self.corners = (
            (1, top + kh, left + kw),
            (-1, top, left + kw),
            (-1, top + kh, left),
            (1, top, left),
        )
        cells = np.ones(layer.in_spatial, int)
        if getattr(layer, "count_include_pad", True):
            cells = np.pad(
                np.pad(cells, layer.padding, constant_values=1), [(0, e) for e in reach_over(layer)]
            )
        else:
            cells = np.pad(cells, self.pads)
        self.counts = (
            1 if isinstance(layer, SumPool) else self.sums(integral(cells)).astype(np.float32)
        )

    def sums(self, table):
        return sum(sign * table[..., i, j] for sign, i, j in self.corners)

    def forward(self, x):
        return self.sums(integral(np.pad(x, ((0, 0), (0, 0), *self.pads)))) / self.counts

    def backward(self, x, dy):
        rim = np.zeros(
            (
                *x.shape[:2],
                *(n + sum(pair) + 1 for n, pair in zip(x.shape[2:], self.pads, strict=True)),
            ),
            x.dtype,
        )
        for sign, i, j in self.corners:
            np.add.at(rim, (slice(None), slice(None), i, j), sign * (dy / self.counts))
        rim = rim[:, :, ::-1, ::-1].cumsum(axis=2).cumsum(axis=3)[:, :, ::-1, ::-1][:, :, 1:, 1:]
        (top, _), (left, _) = self.layer.padding
        return rim[:, :, top : top + x.shape[2], left : left + x.shape[3]]


RIGHT = tuple(_RIGHT)
