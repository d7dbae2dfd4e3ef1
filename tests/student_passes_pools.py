"""Wrong passes as students hand them in: pools."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair
from tests.student_words import PERMUTED, SCALED, phrases, words

TABLE = Table()


# The largest

TILED = cd.MaxPool((2, 4, 6), (2, 3))


@TABLE.y(
    TILED,
    *words("reshape", "consecutive", "contiguous", "memory", "flat"),
    *phrases(("window", "cells", "axes"), (*PERMUTED, "run of", "order", "one row")),
    name="windows of a pool by reshape with its axes in the wrong order",
)
def windows_by_reshape(x):
    N, C, H, W = x.shape
    return x.reshape(N, C, H // 2, W // 3, 2, 3).max(axis=(4, 5))


@TABLE.dx(
    cd.MaxPool((2, 5, 7), (2, 3), stride=(1, 2)),
    *words("tie", "equal", "every maxim", "all maxim", "several", "more than one", "all largest"),
    name="mask of a max pool true at every maximum",
)
def mask_at_every_maximum(x, dout):
    dx = np.zeros(x.shape, dout.dtype)
    for n, c, i, j in np.ndindex(*dout.shape):
        window = x[n, c, i : i + 2, 2 * j : 2 * j + 3]
        mask = window == np.max(window)
        dx[n, c, i : i + 2, 2 * j : 2 * j + 3] += mask * dout[n, c, i, j]
    return dx


PADDED = cd.MaxPool((2, 5, 4), (3, 2), stride=2, padding=1)
ZEROS_WIN = (
    *phrases(("padd",), ("with 0", "as 0", "are 0", "hold 0", "holds 0", "padding of 0")),
    *phrases(("padd",), ("with zero", "as zero", "are zero", "hold zero", "holds zero")),
    *words("inf", "zero padding", "zero-pad", "padded zero", "max(0", "zeros win", "zero wins"),
)


class PaddedMaxPool:
    """The first largest of each padded window; what wins is remembered as rows and columns."""

    fill = -np.inf

    def padded(self, x):
        widths = ((0, 0), (0, 0), (1, 1), (1, 1))
        return np.pad(x, widths, constant_values=self.fill)

    def forward(self, x):
        xp = self.padded(x)
        y = np.zeros((*x.shape[:2], 3, 3), x.dtype)
        for i, j in np.ndindex(3, 3):
            y[:, :, i, j] = xp[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2].max(axis=(2, 3))
        return y

    def backward(self, x, dy):
        xp = self.padded(x)
        dxp = np.zeros(xp.shape, dy.dtype)
        for n, c, i, j in np.ndindex(*dy.shape):
            window = xp[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2]
            row, column = divmod(int(window.argmax()), window.shape[1])
            dxp[n, c, 2 * i + row, 2 * j + column] += dy[n, c, i, j]
        return dxp[:, :, 1:-1, 1:-1]


@TABLE.made(PADDED, name="max pool padded with minus infinity")
def padded_with_minus_infinity():
    return PaddedMaxPool()


@TABLE.made(PADDED, name="max pool padded with zeros", y=ZEROS_WIN, dx=ZEROS_WIN)
def padded_with_zeros():
    pool = PaddedMaxPool()
    pool.fill = 0
    return pool


@TABLE.dx(
    cd.MaxPool((2, 6, 7), (3, 2), stride=2),
    *words("divmod", "unravel", "row-major", "column-major"),
    *phrases(("height", "rows"), ("width", "columns"), ("kernel", "window", "index", "argmax")),
    *phrases(("argmax", "index", "largest", "maximum"), (*PERMUTED, "wrong cell", "another cell")),
    *phrases(("wrong cell", "another cell", "other cell"), ("window",)),
    name="argmax taken apart by the height of the window",
)
def argmax_by_the_height(x, dout):
    kh, kw = 3, 2
    dx = np.zeros_like(x)
    N, C, H_out, W_out = dout.shape
    for n in range(N):
        for c in range(C):
            for i in range(H_out):
                for j in range(W_out):
                    best = np.argmax(x[n, c, 2 * i : 2 * i + kh, 2 * j : 2 * j + kw])
                    r, s = best // kh, best % kh
                    dx[n, c, 2 * i + r, 2 * j + s] += dout[n, c, i, j]
    return dx


# Averages

CEIL = cd.AvgPool((2, 7, 5), (3, 2), ceil_mode=True)
FULL_DIVISOR = (
    *words("divisor", "full window", "whole window"),
    *phrases(
        ("divi", "mean", "average", "count"),
        ("kernel", "cells inside", "cells beyond", "cells of the window", "size of the window"),
    ),
    *phrases(("divi", "mean", "average", "count"), ("over the end", "last window", "ceil")),
)


def average_of_parts(size_of):
    """Return an average pool whose last windows run over the end; size_of(window) divides."""

    def windows(x):
        for i in range(0, x.shape[2], 3):
            for j in range(0, x.shape[3], 2):
                yield (i // 3, j // 2), np.s_[:, :, i : i + 3, j : j + 2]

    def forward(x):
        y = np.zeros((*x.shape[:2], 3, 3), x.dtype)
        for (i, j), at in windows(x):
            y[:, :, i, j] = x[at].sum(axis=(2, 3)) / size_of(x[at])
        return y

    def backward(x, dy):
        dx = np.zeros(x.shape, dy.dtype)
        for (i, j), at in windows(x):
            dx[at] += dy[:, :, i, j, None, None] / size_of(x[at])
        return dx

    return pair(forward, backward)


@TABLE.made(CEIL, name="last windows of ceil mode divided by their own cells")
def divided_by_their_cells():
    return average_of_parts(lambda window: window.shape[2] * window.shape[3])


@TABLE.made(
    CEIL,
    name="last windows of ceil mode divided by the whole kernel",
    y=FULL_DIVISOR,
    dx=FULL_DIVISOR,
)
def divided_by_the_kernel():
    return average_of_parts(lambda window: 3 * 2)


ADAPTIVE = cd.AvgPool((2, 7, 5), output=(3, 2))
ENDS_EARLY = (
    *words("floor", "ceil", "rounded down", "rounded up", "rounds down"),
    *phrases(("end", "window", "bin"), ("early", "too short", "too few", "smaller", "narrower")),
    *phrases(("last", "end"), ("cell",), ("window", "bin", "part")),
    *words("not overlap", "no overlap", "without overlap", "should overlap", "disjoint"),
)


@TABLE.made(
    ADAPTIVE,
    name="adaptive windows that end where the next begins",
    y=ENDS_EARLY,
    dx=ENDS_EARLY,
)
class AdaptiveAvgPool2d:
    out = (3, 2)

    def bins(self, size):
        rows, columns = (
            [(k * n // m, (k + 1) * n // m) for k in range(m)]
            for n, m in zip(size, self.out, strict=True)
        )
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                yield i, j, slice(top, bottom), slice(left, right)

    def forward(self, x):
        y = np.empty((*x.shape[:2], *self.out), x.dtype)
        for i, j, rows, columns in self.bins(x.shape[2:]):
            y[..., i, j] = x[..., rows, columns].mean(axis=(-2, -1))
        return y

    def backward(self, x, dy):
        dx = np.zeros_like(dy, shape=x.shape)
        for i, j, rows, columns in self.bins(x.shape[2:]):
            part = dx[..., rows, columns]
            part += dy[..., i : i + 1, j : j + 1] / (part.shape[-2] * part.shape[-1])
        return dx


@TABLE.dx(
    cd.AvgPool((3, 3, 2, 4), output=1),
    *words(*SCALED, "too large", "too big"),
    name="global average divided by D and multiplied by H and W",
)
def precedence_of_the_slash(x, dy):
    D, H, W = x.shape[2:]
    return np.ones_like(x) * dy / D * H * W
