"""Wrong passes as students hand them in: loops, patches as columns, windows as views, layers.

They were written without knowledge of the diagnosis, and each has one mistake. The other files are
``student_passes_layers`` (classes with a cache; bias, causal, grouped), ``student_passes_more``
(routines for signals, transforms, transposed) and ``student_passes_pools``; beside the wrong passes
stand right ones of the same styles.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import convdense as cd
from tests import student_passes_layers, student_passes_more, student_passes_pools
from tests.mistake_rows_base import Row, Table, pair, plain
from tests.student_words import (
    AVERAGED,
    FORGOTTEN,
    LEFT_OUT,
    OVERWRITTEN,
    PERMUTED,
    SHIFTED,
    phrases,
    words,
)

TABLE = Table()


# Loops over all outputs

WIDE = cd.Conv((2, 4, 7), 3, (2, 3))
COLUMNS_LEFT_OUT = (
    *phrases(("column", "width"), LEFT_OUT),
    *phrases(("last", "right", "beyond", "from index", "first", "only"), ("column",)),
    *phrases(("height", "number of rows", "many rows"), ("width", "columns"), ("!kernel",)),
)


@TABLE.made(
    WIDE,
    name="naive backward whose columns are counted by the height",
    dx=COLUMNS_LEFT_OUT,
    dw=COLUMNS_LEFT_OUT,
)
def columns_by_the_height():
    def conv_backward_naive(x, w, dout):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        num_filters, _, HH, WW = w.shape
        H_out = dout.shape[2]
        for n in range(x.shape[0]):
            for f in range(num_filters):
                for i in range(H_out):
                    for j in range(H_out):
                        dw[f] += dout[n, f, i, j] * x[n, :, i : i + HH, j : j + WW]
                        dx[n, :, i : i + HH, j : j + WW] += dout[n, f, i, j] * w[f]
        return dx, dw, dout.sum(axis=(0, 2, 3))

    return pair(plain(WIDE).forward, conv_backward_naive)


STEPS = cd.Conv((2, 7, 6), 3, (3, 2), stride=2, padding=1)
STRIDE_FORGOTTEN = (*phrases(("stride",), FORGOTTEN), *phrases(("step",), ("by 1", "by one")))


@TABLE.made(
    STEPS,
    name="conv_backward without the stride in its slices",
    dx=STRIDE_FORGOTTEN,
    dw=STRIDE_FORGOTTEN,
)
def no_stride_in_the_slices():
    def conv_backward(A_prev, W, dZ):
        m, n_C, n_H, n_W = dZ.shape
        f_h, f_w = W.shape[2:]
        A_prev_pad = np.pad(A_prev, ((0, 0), (0, 0), (1, 1), (1, 1)))
        dA_prev_pad = np.zeros_like(A_prev_pad)
        dW, db = np.zeros_like(W), np.zeros(n_C, dZ.dtype)
        for i in range(m):
            a_prev_pad, da_prev_pad = A_prev_pad[i], dA_prev_pad[i]
            for h in range(n_H):
                for w in range(n_W):
                    vert_start, vert_end = h, h + f_h
                    horiz_start, horiz_end = w, w + f_w
                    a_slice = a_prev_pad[:, vert_start:vert_end, horiz_start:horiz_end]
                    for c in range(n_C):
                        dZ_c = dZ[i, c, h, w]
                        da_prev_pad[:, vert_start:vert_end, horiz_start:horiz_end] += W[c] * dZ_c
                        dW[c] += a_slice * dZ_c
                        db[c] += dZ_c
        return dA_prev_pad[:, :, 1:-1, 1:-1], dW, db

    return pair(plain(STEPS).forward, conv_backward)


ODD = cd.Conv((2, 9), 3, 3, stride=2)
LAST_OUTPUT = phrases(("last", "final"), ("output", "position", "window", "column", "cell"))


@TABLE.made(
    ODD,
    name="output length rounded down once more",
    y=(*words(" shape", "out_shape", "output length", "output size", "too short"), *LAST_OUTPUT),
    dx=LAST_OUTPUT,
    dw=LAST_OUTPUT,
)
class Conv1dShort:
    S, K = 2, 3

    def out_len(self, x):
        return (x.shape[-1] - self.K + 1) // self.S

    def forward(self, x, w, b):
        cuts = [x[:, :, t * self.S : t * self.S + self.K] for t in range(self.out_len(x))]
        return np.stack([np.tensordot(cut, w, ([1, 2], [1, 2])) + b for cut in cuts], axis=-1)

    def backward(self, x, w, dy):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for t in range(self.out_len(x)):
            cut = np.s_[:, :, t * self.S : t * self.S + self.K]
            dx[cut] += np.tensordot(dy[:, :, t], w, (1, 0))
            dw += np.tensordot(dy[:, :, t], x[cut], (0, 0))
        return dx, dw, dy.sum(axis=(0, 2))


# Patches as columns


def im2col_indices(C, kernel, out, stride=1):
    """Return index arrays (channel, row, column) of shape (C kh kw, positions)."""
    (HH, WW), (out_h, out_w) = kernel, out
    i0, j0 = np.tile(np.repeat(np.arange(HH), WW), C), np.tile(np.arange(WW), HH * C)
    i1 = stride * np.repeat(np.arange(out_h), out_w)
    j1 = stride * np.tile(np.arange(out_w), out_h)
    k = np.repeat(np.arange(C), HH * WW).reshape(-1, 1)
    return k, i0[:, None] + i1, j0[:, None] + j1


PADDED = cd.Conv((2, 5, 4), 3, (3, 2), padding=1)


@TABLE.dx(
    PADDED,
    *words(*OVERWRITTEN),
    *phrases(("overlap",), (*LEFT_OUT, "replac", "last one", "one of", "only one", "only once")),
    name="col2im that adds to the same index twice in one statement",
)
def col2im_buffered(x, w, dout):
    N, F = dout.shape[:2]
    x_padded = np.zeros((N, 2, 7, 6), dout.dtype)
    k, i, j = im2col_indices(2, (3, 2), dout.shape[2:])
    dcols = w.reshape(F, -1).T @ dout.reshape(N, F, -1)
    x_padded[:, k, i, j] += dcols
    return x_padded[:, :, 1:-1, 1:-1]


@TABLE.made(PADDED, name="col2im by np.add.at")
def col2im_added_at():
    k, i, j = im2col_indices(2, (3, 2), (5, 5))

    def forward(x, w, b):
        cols = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, k, i, j]
        out = w.reshape(3, -1) @ cols + b[:, None]
        return out.reshape(len(x), 3, 5, 5)

    def backward(x, w, dout):
        cols = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, k, i, j]
        flat = dout.reshape(len(x), 3, -1)
        dx = np.zeros((len(x), 2, 7, 6), dout.dtype)
        np.add.at(dx, (slice(None), k, i, j), w.reshape(3, -1).T @ flat)
        dw = np.einsum("nfp,nkp->fk", flat, cols).reshape(w.shape)
        return dx[:, :, 1:-1, 1:-1], dw, flat.sum(axis=(0, 2))

    return pair(forward, backward)


COLUMNS = cd.Conv((2, 7, 6), 4, (3, 2), stride=2)


@TABLE.y(
    COLUMNS,
    *phrases(PERMUTED, ("batch", "sample", "image", "example")),
    name="product of columns reshaped with the batch before the positions",
)
def batch_before_positions(x, w, b):
    out_h, out_w = 3, 3
    k, i, j = im2col_indices(2, (3, 2), (out_h, out_w), stride=2)
    cols = x[:, k, i, j].transpose(1, 2, 0).reshape(2 * 3 * 2, -1)
    res = w.reshape(4, -1) @ cols + b.reshape(-1, 1)
    return res.reshape(4, len(x), out_h, out_w).transpose(1, 0, 2, 3)


@TABLE.dw(
    COLUMNS,
    *words("reshape"),
    *phrases(PERMUTED, ("batch", "sample", "image", "example")),
    *phrases(("transpos", "layout", "order", "permut", "flatten"), ("dout", "dy", "gradient")),
    name="dout.reshape(F, -1) without its transpose",
)
def filters_first_without_transposing(x, w, dout):
    F, C, HH, WW = w.shape
    win = sliding_window_view(x, (HH, WW), axis=(2, 3))[:, :, ::2, ::2]
    x_cols = win.transpose(1, 4, 5, 0, 2, 3).reshape(C * HH * WW, -1)
    dout_reshaped = dout.reshape(F, -1)
    return (dout_reshaped @ x_cols.T).reshape(w.shape)


@TABLE.dw(
    WIDE,
    *phrases(("last", "one ", "same", "single"), ("sample", "image", "example", "batch")),
    *phrases(("sample", "image", "batch"), ("overwrit", "other sample", "another sample")),
    name="columns of the last image used for the whole batch",
)
def columns_of_the_last_image(x, w, dout):
    F, C, HH, WW = w.shape
    cols = None
    for img in x:
        patches = [img[:, i : i + HH, j : j + WW].ravel() for i in range(3) for j in range(5)]
        cols = np.stack(patches, axis=1)
    dw = np.zeros((F, C * HH * WW), dout.dtype)
    for d in dout:
        dw += d.reshape(F, -1) @ cols.T
    return dw.reshape(w.shape)


@TABLE.dx(
    cd.Conv((3, 8), 2, 3, stride=2),
    *phrases(("overlap", "count", "number of", "windows that", "how many", "copies"), AVERAGED),
    *phrases(("overlap", "window"), ("normali",)),
    name="folded patches divided by how many overlap",
)
def fold_divided_by_counts(x, w, dy):
    fold, count = np.zeros(x.shape, dy.dtype), np.zeros(x.shape, dy.dtype)
    for t in range(dy.shape[2]):
        patch = np.s_[:, :, 2 * t : 2 * t + 3]
        fold[patch] += np.einsum("nf,fck->nck", dy[:, :, t], w)
        count[patch] += 1
    return fold / np.maximum(count, 1)


# Windows as views

ROWS_SHEARED = (
    *phrases(("stride", "step", "row", "width"), ("memory", "byte", "unpadded", "as_strided")),
    *phrases(("row length", "row step", "step between rows", "width"), ("padd",)),
    *phrases(("row",), ("shear", "skew", "wrap", "shift", "next row", "run into", "drift")),
    *words("shear", "skew", "flat index", "flattened"),
)


@TABLE.made(
    PADDED,
    name="as_strided with the rows of the image before padding",
    y=ROWS_SHEARED,
    dw=ROWS_SHEARED,
)
class StridedConv:
    def windows(self, x, kh=3, kw=2, p=1):
        n, c, h, w = x.shape
        xp = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))))
        hp, wp = h + 2 * p, w + 2 * p
        shape = (n, c, hp - kh + 1, wp - kw + 1, kh, kw)
        steps = np.array([c * hp * wp, hp * wp, w, 1, w, 1]) * xp.itemsize
        return as_strided(xp, shape, steps, writeable=False)

    def forward(self, x, w, b):
        return np.einsum("nchwkl,ockl->nohw", self.windows(x), w) + b[:, None, None]

    def backward(self, x, w, dy):
        dw = np.einsum("nchwkl,nohw->ockl", self.windows(x), dy)
        dpatches = np.einsum("nohw,ockl->nchwkl", dy, w)
        dx = np.zeros((*x.shape[:2], 7, 6), dy.dtype)
        for k, m in np.ndindex(3, 2):
            dx[:, :, k : k + 5, m : m + 5] += dpatches[..., k, m]
        return dx[:, :, 1:-1, 1:-1], dw, dy.sum((0, 2, 3))


SQUARE = cd.Conv((2, 5, 6), 3, 3)


@TABLE.dw(
    SQUARE,
    *phrases(("transpos", "swap", "exchang", "interchang"), ("row", "column", "height", "spatial")),
    *phrases(("transpos",), ("kernel", "filter", "each tap"), ("!channel",)),
    *phrases(("axes", "axis"), ("swap", "exchang", "interchang"), ("!channel",)),
    name="einsum with the last two letters exchanged",
)
def letters_exchanged(x, w, dy):
    windows = sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwkl,nohw->oclk", windows, dy)


@TABLE.dx(
    SQUARE,
    *words("90", "270", "quarter", "rot90"),
    *words("rotated once", "rotates once", "turned once"),
    *phrases(("transpos",), ("flip", "revers", "mirror")),
    name="np.rot90 called once",
)
def rotated_once(x, w, dy):
    w_rot = np.rot90(w, 1, axes=(2, 3))
    dy_pad = np.pad(dy, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return np.einsum("nohwkl,ockl->nchw", sliding_window_view(dy_pad, (3, 3), axis=(2, 3)), w_rot)


BY_TWO = cd.Conv((2, 7, 6), 2, (3, 2), stride=2)


def full_conv(dout, w):
    """Return the full convolution of each map with the kernels of its filter, summed."""
    kh, kw = w.shape[2:]
    padded = np.pad(dout, ((0, 0), (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1)))
    windows = sliding_window_view(padded, (kh, kw), axis=(2, 3))
    return np.einsum("nohwkl,ockl->nchw", windows, w[:, :, ::-1, ::-1])


@TABLE.dx(
    BY_TWO,
    *words("repeat", "copied", "copies", "duplicat", "nearest", "kron", "spread over"),
    *phrases(("zero",), ("between", "insert", "dilat", "interleav", "upsampl")),
    *phrases(("dilat", "upsampl"), ("dy", "gradient", "output")),
    name="dout enlarged by repeating where zeros belong",
)
def enlarged_by_repeating(x, w, dout):
    dilated = np.kron(dout, np.ones((2, 2), dout.dtype))
    return full_conv(dilated, w)[:, :, :7, :6]


@TABLE.dx(BY_TWO, name="dout enlarged by zeros")
def enlarged_by_zeros(x, w, dout):
    n, f, h, wd = dout.shape
    dilated = np.zeros((n, f, 2 * h, 2 * wd), dout.dtype)
    dilated[:, :, ::2, ::2] = dout
    return full_conv(dilated, w)[:, :, :7, :6]


@TABLE.dx(
    cd.Conv((2, 5, 6), 3, (3, 4), padding=(1, 2)),
    *words(*SHIFTED, "crop"),
    *phrases(
        ("padd",), ("begin", "start", "not removed", "cut", "strip", "end", "slice", "offset")
    ),
    name="padding cut off at the end alone",
)
def padding_cut_at_the_end(x, w, dout):
    H, W = x.shape[2:]
    return full_conv(dout, w)[:, :, :H, :W]


STUDENT: list[Row] = [
    *TABLE.wrong,
    *student_passes_layers.TABLE.wrong,
    *student_passes_more.TABLE.wrong,
    *student_passes_pools.TABLE.wrong,
]
STUDENT_RIGHT: list[Row] = [
    *TABLE.right,
    *student_passes_layers.TABLE.right,
    *student_passes_more.TABLE.right,
    *student_passes_pools.TABLE.right,
]
