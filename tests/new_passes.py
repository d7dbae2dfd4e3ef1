"""Wrong passes in many hands: written as students and kernel authors write them.

They were written without knowledge of what a diagnosis knows, each in a style of its own, and are
judged by ``python -m tests.mistake_rows --new``. This file has convolutions; `new_passes_more` has
transposed, causal and pooling layers, `new_passes_classes` classes that remember, and the bias.
"""

from functools import reduce

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from scipy import signal

import convdense as cd
from tests import new_passes_classes, new_passes_more
from tests.mistake_rows_base import Table

TABLE = Table()
IMAGE = cd.Conv((2, 5, 4), out_channels=3, kernel=2)
SQUARE = cd.Conv((3, 5, 5), out_channels=3, kernel=2)
SIGNAL = cd.Conv((2, 8), out_channels=3, kernel=3)
HALVED = cd.Conv((2, 6, 5), out_channels=2, kernel=(3, 2), stride=2)

EXACT = cd.Conv((2, 5, 6), out_channels=2, kernel=(3, 2), stride=2)

REVERSED = (("revers",), ("flip",), ("rotated",))
TRANSPOSED = (("transposed",), ("axes", "exchanged"), ("axes", "swapped"), ("rows", "columns"))
ORDER = (("order",), ("reshape",), ("layout",), ("channels last",))
CHANNELS = (("channels", "exchanged"), ("channels", "swapped"), ("transposed",))
LAST = (("last", "left out"), ("last", "missing"), ("last", "0"), ("zero", "at"))


# Views


@TABLE.y(IMAGE, *TRANSPOSED)
def strides_of_the_window_in_another_order(x, w, b):
    x = np.ascontiguousarray(x)
    per_sample, per_channel, per_row, per_column = x.strides
    shape = (len(x), 2, 4, 3, 2, 2)
    strides = (per_sample, per_channel, per_row, per_column, per_column, per_row)
    windows = as_strided(x, shape, strides, writeable=False)
    return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + b.reshape(
        3, 1, 1
    )


@TABLE.dw(SIGNAL, ("pairs", "sample"), ("mix", "sample"), ("other sample",), ("every sample",))
def batch_has_two_letters(x, w, dy):
    windows = sliding_window_view(x, 3, axis=2)
    return np.einsum("not,mctk->ock", dy, windows)


@TABLE.y(SQUARE, *CHANNELS)
def letters_of_the_weights_exchanged(x, w, b):
    windows = sliding_window_view(x, (2, 2), axis=(2, 3))
    return np.einsum("ncijkl,cokl->noij", windows, w) + b[None, :, None, None]


@TABLE.dx(SIGNAL, ("sum", "sample"), ("sum", "batch"), ("all samples",), ("every sample",))
def gradient_summed_over_the_batch(x, w, dy):
    total = np.zeros_like(x[0])
    for k in range(w.shape[-1]):
        total[:, k : k + dy.shape[-1]] += np.einsum("oc,not->ct", w[..., k], dy)
    return np.broadcast_to(total, x.shape).copy()


# Columns, matrix products, reshapes


def im2col(x, k, m):
    """Return (cells of a window, samples * positions), channels outermost."""
    rows, columns = x.shape[2] - k + 1, x.shape[3] - m + 1
    cells = [
        x[:, c, i : i + rows, j : j + columns].ravel()
        for c in range(x.shape[1])
        for i in range(k)
        for j in range(m)
    ]
    return np.array(cells)


@TABLE.y(IMAGE, *ORDER)
def columns_have_channels_innermost(x, w, b):
    patches = np.stack([x[:, :, i : i + 4, j : j + 3] for i in (0, 1) for j in (0, 1)], axis=1)
    columns = patches.reshape(len(x), 4 * 2, 12)
    return (w.reshape(3, -1) @ columns + b[:, None]).reshape(len(x), 3, 4, 3)


@TABLE.y(IMAGE, ("sample", "channel"), *ORDER)
def reshaped_where_axes_should_move(x, w, b):
    product = w.reshape(3, 8) @ im2col(x, 2, 2) + b[:, None]
    return product.reshape(len(x), 3, 4, 3)


@TABLE.dw(IMAGE, ("sample", "channel"), *ORDER)
def dy_reshaped_where_axes_should_move(x, w, dy):
    return (dy.reshape(3, -1) @ im2col(x, 2, 2).T).reshape(w.shape)


@TABLE.y(SQUARE, *TRANSPOSED)
def back_from_channels_last_with_two_axes_exchanged(x, w, b):
    nhwc = x.transpose(0, 2, 3, 1)
    hwio = w.transpose(2, 3, 1, 0)
    y = np.zeros((len(x), 4, 4, 3))
    for i in range(2):
        for j in range(2):
            y += nhwc[:, i : i + 4, j : j + 4] @ hwio[i, j]
    return (y + b).transpose(0, 3, 2, 1)


@TABLE.y(IMAGE, *ORDER)
def back_from_channels_last_by_reshape(x, w, b):
    nhwc = np.moveaxis(x, 1, 3)
    y = sum(
        np.dot(nhwc[:, i : i + 4, j : j + 3], w[:, :, i, j].T) for i in range(2) for j in range(2)
    )
    return (y + b).reshape(len(x), 3, 4, 3)


@TABLE.y(IMAGE, *ORDER)
def kernel_of_another_framework_by_reshape(x, w, b):
    hwio = w.reshape(2, 2, 2, 3)
    nhwc = np.moveaxis(x, 1, 3)
    y = np.zeros((len(x), 4, 3, 3)) + b
    for i, j in np.ndindex(2, 2):
        y += nhwc[:, i : i + 4, j : j + 3] @ hwio[i, j]
    return np.moveaxis(y, 3, 1)


@TABLE.dx(EXACT, *LAST, ("last", "window"))
def col2im_ends_one_window_early(x, w, dy):
    columns = np.einsum("ockm,noij->nckmij", w, dy)
    dx = np.zeros(x.shape)
    for a, i in enumerate(range(0, 5 - 3, 2)):
        for c, j in enumerate(range(0, 6 - 2, 2)):
            dx[:, :, i : i + 3, j : j + 2] += columns[..., a, c]
    return dx


# SciPy and Fourier


@TABLE.y(IMAGE, *REVERSED)
def convolve2d_is_not_a_correlation(x, w, b):
    maps = [
        [
            sum(signal.convolve2d(sample[c], w[o, c], mode="valid") for c in range(2)) + b[o]
            for o in range(3)
        ]
        for sample in x
    ]
    return np.array(maps).reshape(len(x), 3, 4, 3)


@TABLE.dw(SIGNAL, *REVERSED)
def convolve_for_correlate_in_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for n, o, c in np.ndindex(len(x), 3, 2):
        dw[o, c] += np.convolve(x[n, c], dy[n, o, ::-1], "valid")[::-1]
    return dw


SAME_EVEN = cd.Conv((1, 6), out_channels=2, kernel=4, padding="same")


@TABLE.y(SAME_EVEN, ("begin", "end"), ("shift",), ("same_lower",), ("begin",))
def mode_same_of_an_even_kernel(x, w, b):
    outs = [signal.fftconvolve(x[:, 0], w[o, :, ::-1], mode="same", axes=1) for o in range(2)]
    return np.stack(outs, axis=1) + b[:, None]


@TABLE.dx(SQUARE, *CHANNELS)
def fourier_dx_with_exchanged_channels(x, w, dy):
    spectrum = np.einsum("nouv,couv->ncuv", np.fft.fft2(dy, (5, 5)), np.fft.fft2(w, (5, 5)))
    return np.fft.ifft2(spectrum).real


# Stride, dilation, padding


@TABLE.dx(cd.Conv((2, 9), 2, 3, stride=2), ("stride", "3"), ("stride", "zeros"), ("dilated by 3",))
def one_zero_too_many_between_the_gradients(x, w, dy):
    spread = np.zeros((len(x), 2, 3 * 3 + 1))
    spread[..., ::3] = dy
    spread = np.pad(spread, ((0, 0), (0, 0), (2, 2)))
    flipped = w[..., ::-1].swapaxes(0, 1)
    windows = sliding_window_view(spread, 3, axis=2)
    return np.einsum("cok,notk->nct", flipped, windows)[..., :9]


@TABLE.y(cd.Conv((2, 8), 2, 3, dilation=2), ("shape",), ("short",), ("last",))
def span_of_a_dilated_kernel_too_long(x, w, b):
    d, k = 2, w.shape[2]
    length = x.shape[2] - d * k + 1
    out = [np.einsum("nck,ock->no", x[:, :, t : t + d * k : d], w) + b for t in range(length)]
    return np.stack(out, axis=-1)


@TABLE.y(cd.Conv((1, 6, 7), 2, 3, stride=2, padding="same"), ("begin",), ("shift",), ("same",))
def same_as_if_the_stride_were_1(x, w, b):
    p = (3 - 1) // 2
    padded = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)])
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("ncijkm,ockm->noij", windows, w)[:, :, :3, :4] + b[:, None, None]


FLAT_PADDING = cd.Conv((1, 4, 5), out_channels=2, kernel=(3, 2), padding=(1, 0))


@TABLE.dx(FLAT_PADDING, ("shape",), ("empty",))
def crop_by_minus_0(x, w, dy):
    p, q = 1, 0
    full = np.zeros((len(x), 1, 4 + 2 * p, 5 + 2 * q))
    for i, j in np.ndindex(3, 2):
        full[:, :, i : i + 4, j : j + 4] += np.einsum("oc,nohw->nchw", w[:, :, i, j], dy)
    return full[:, :, p:-p, q:-q]


@TABLE.y(FLAT_PADDING, ("padding", "exchanged"), ("padding", "swapped"), ("padding", "axes"))
def padding_of_the_other_axis(x, w, b):
    q, p = 1, 0
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
    windows = sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    return np.tensordot(windows, w, [(1, 4, 5), (1, 2, 3)]).transpose(0, 3, 1, 2) + b.reshape(
        -1, 1, 1
    )


VOLUME = cd.Conv((1, 4, 3, 3), out_channels=2, kernel=2)


@TABLE.y(VOLUME, *REVERSED)
def depth_of_the_kernel_reversed(x, w, b):
    y = np.zeros((len(x), 2, 3, 2, 2))
    for z in range(3):
        for d in range(2):
            plane = x[:, :, z + 1 - d]
            windows = sliding_window_view(plane, (2, 2), axis=(2, 3))
            y[:, :, z] += np.einsum("ncijkm,ockm->noij", windows, w[:, :, d])
    return y + b.reshape(2, 1, 1, 1)


@TABLE.dw(
    cd.Conv((1, 4, 5, 4), 1, 2, stride=(1, 2, 1)),
    ("stride", "forgotten"),
    ("stride", "ignored"),
    ("stride", "1"),
)
def dw_as_a_convolution_by_dy_not_spread(x, w, dy):
    windows = sliding_window_view(x, dy.shape[2:], axis=(2, 3, 4))[:, :, :2, :2, :2]
    return np.einsum("ncabdpqr,nopqr->ocabd", windows, dy)


# Groups


GROUPS = cd.Conv((4, 5), out_channels=4, kernel=2, groups=2)


@TABLE.y(GROUPS, ("group", "order"), ("group", "revers"), ("group", "exchanged"), ("group", "swap"))
def groups_put_together_backwards(x, w, b):
    def one(part, kernel):
        return np.einsum("nctk,ock->not", sliding_window_view(part, 2, axis=2), kernel)

    parts = map(one, np.split(x, 2, axis=1), np.split(w, 2, axis=0))
    together = reduce(lambda done, part: np.concatenate([part, done], axis=1), parts)
    return together + b[:, None]


@TABLE.dw(cd.Conv((3, 6), 6, 2, groups=3), ("interleaved",), ("multiplier",), ("group", "mod"))
def multiplier_reads_channel_o_modulo_c(x, w, dy):
    grad = np.empty_like(w)
    for o in range(6):
        for k in range(2):
            grad[o, 0, k] = np.vdot(x[:, o % 3, k : k + 5], dy[:, o])
    return grad


@TABLE.dx(
    cd.Conv((4, 4, 4), 4, 2, groups=4), ("first", "channel"), ("first", "group"), ("group 0",)
)
def depthwise_dx_with_one_kernel(x, w, dy):
    grad = np.zeros(x.shape)
    kernel = w[0, 0]
    for (i, j), value in np.ndenumerate(kernel):
        grad[..., i : i + 3, j : j + 3] += value * dy
    return grad


# Their nearest right relatives


@TABLE.y(IMAGE)
def right_view(x, w, b):
    x = np.ascontiguousarray(x)
    n, c, i, j = x.strides
    windows = as_strided(x, (len(x), 2, 4, 3, 2, 2), (n, c, i, j, i, j), writeable=False)
    return np.einsum("ncijkl,ockl->noij", windows, w) + b[:, None, None]


@TABLE.y(IMAGE)
def right_columns(x, w, b):
    product = w.reshape(3, 8) @ im2col(x, 2, 2) + b[:, None]
    return product.reshape(3, len(x), 4, 3).swapaxes(0, 1)


@TABLE.dx(FLAT_PADDING)
def right_crop(x, w, dy):
    full = np.zeros((len(x), 1, 6, 5))
    for i, j in np.ndindex(3, 2):
        full[:, :, i : i + 4, j : j + 4] += np.einsum("oc,nohw->nchw", w[:, :, i, j], dy)
    return full[:, :, 1:5]


@TABLE.y(IMAGE)
def right_correlate2d(x, w, b):
    y = np.zeros((len(x), 3, 4, 3)) + b[:, None, None]
    for n, o, c in np.ndindex(len(x), 3, 2):
        y[n, o] += signal.correlate2d(x[n, c], w[o, c], mode="valid")
    return y


@TABLE.y(SQUARE)
def right_channels_last(x, w, b):
    nhwc, hwio = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    y = np.zeros((len(x), 4, 4, 3)) + b
    for i, j in np.ndindex(2, 2):
        y += nhwc[:, i : i + 4, j : j + 4] @ hwio[i, j]
    return y.transpose(0, 3, 1, 2)


PARTS = (TABLE, new_passes_more.TABLE, new_passes_classes.TABLE)
NEW = [row for table in PARTS for row in table.wrong]
NEW_RIGHT = [row for table in PARTS for row in table.right]
