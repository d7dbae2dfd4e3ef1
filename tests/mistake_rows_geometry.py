"""Mistakes in where things are: overlaps, stride, dilation, positions, transposed layers."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, plain

TABLE = Table()
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
SIGNAL = cd.Conv((2, 7), out_channels=3, kernel=3)
SAME = cd.Conv((2, 4, 5), out_channels=2, kernel=3, padding=1)
SAME_SIGNAL = cd.Conv((2, 6), out_channels=2, kernel=3, padding=1)
SQUARE = cd.Conv((2, 5, 4), out_channels=3, kernel=2)
STRIDED = cd.Conv((2, 8), out_channels=2, kernel=3, stride=2)  # one cell is left over
STRIDED_IMAGE = cd.Conv((1, 6, 5), out_channels=2, kernel=2, stride=(2, 1))
BOTH = cd.Conv((2, 11), out_channels=2, kernel=3, stride=2, dilation=3)
DILATED = cd.Conv((2, 7), out_channels=3, kernel=3, dilation=2)
UP = cd.ConvTranspose((2, 3, 4), out_channels=2, kernel=3, stride=2, padding=1)
UP_SIGNAL = cd.ConvTranspose((2, 4), out_channels=3, kernel=3, stride=2, padding=1)
UP_DILATED = cd.ConvTranspose((2, 5), out_channels=2, kernel=3, padding=2, dilation=2)
UP_BOTH = cd.ConvTranspose((2, 4), out_channels=2, kernel=2, stride=3, dilation=2)
UP_MORE = cd.ConvTranspose((2, 4), 2, kernel=3, stride=2, padding=1, output_padding=1)
UP_MORE_IMAGE = cd.ConvTranspose((1, 3, 2), 2, 3, stride=(2, 3), padding=1, output_padding=(1, 2))

AVERAGED = (("averag",), ("overlap", "divided"), ("mean", "overlap"), ("divided", "number of"))
EXCHANGED = (("stride", "dilation", "exchanged"), ("stride", "dilation", "swapped"))
CUT = (
    ("cut", "end"),
    ("crop", "end"),
    ("not cropped",),
    ("begin padding", "ignored"),
    ("padding", "begin", "forgotten"),
)
SHIFTED = (("shift",), ("one cell", "far"), ("one cell too",), ("off by", "cell"))
LAST = (("last", "left out"), ("last", "left 0"), ("last", "missing"), ("last", "stays 0"))
REVERSED = (("revers",), ("flip",), ("rotated",))


# Overlaps


@TABLE.dx(IMAGE, *AVERAGED)
def col2im_averages(x, w, dy):
    dx, counts = np.zeros(x.shape), np.zeros(x.shape)
    for i, j in np.ndindex(3, 3):
        columns = np.einsum("fckm,nf->nckm", w, dy[:, :, i, j])
        dx[:, :, i : i + 2, j : j + 3] += columns
        counts[:, :, i : i + 2, j : j + 3] += 1
    return dx / counts


@TABLE.dx(SIGNAL, *AVERAGED)
def col2im_of_a_signal_averages(x, w, dy):
    dx = np.zeros(x.shape)
    for n, c, r in np.ndindex(*x.shape):
        taps = [k for k in range(3) if 0 <= r - k < 5]
        dx[n, c, r] = sum(np.dot(w[:, c, k], dy[n, :, r - k]) for k in taps) / len(taps)
    return dx


@TABLE.y(UP_SIGNAL, *AVERAGED)
def transposed_averages(x, w, b):
    canvas, counts = np.zeros((len(x), 3, 9)), np.zeros(9)
    for i in range(4):
        canvas[:, :, 2 * i : 2 * i + 3] += np.einsum("nc,cok->nok", x[:, :, i], w)
        counts[2 * i : 2 * i + 3] += 1
    return (canvas / counts)[:, :, 1:-1] + b[:, None]


# Stride and dilation


@TABLE.y(BOTH, *EXCHANGED)
def exchanged_forward(x, w, b):
    y = np.zeros((len(x), 2, 3)) + b[:, None]
    for i in range(3):
        for k in range(3):
            y[:, :, i] += x[:, :, 3 * i + 2 * k] @ w[:, :, k].T
    return y


@TABLE.dx(BOTH, *EXCHANGED)
def exchanged_dx(x, w, dy):
    dx = np.zeros(x.shape)
    for i in range(3):
        for k in range(3):
            dx[:, :, 3 * i + 2 * k] += dy[:, :, i] @ w[:, :, k]
    return dx


@TABLE.dw(BOTH, *EXCHANGED)
def exchanged_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for k in range(3):
        dw[:, :, k] = np.einsum("ncp,nop->oc", x[:, :, 2 * k : 2 * k + 7 : 3], dy)
    return dw


@TABLE.y(cd.Conv((1, 7, 8), 2, (2, 3), stride=(2, 1), dilation=(1, 2)), *EXCHANGED)
def exchanged_forward_of_another_shape(x, w, b):
    rows, columns = 7 - 2 * 1, (8 - 1 * 2 - 1) // 2 + 1
    y = np.zeros((len(x), 2, rows, columns))
    for k, m in np.ndindex(2, 3):
        cells = x[:, :, 2 * k : 2 * k + rows, m : m + 2 * columns - 1 : 2]
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], cells)
    return y + b[:, None, None]


@TABLE.dx(UP_BOTH, *EXCHANGED)
def exchanged_transposed_dx(x, w, dy):
    dx = np.zeros(x.shape)
    for i in range(4):
        for k in range(2):
            if 2 * i + 3 * k < dy.shape[2]:
                dx[:, :, i] += dy[:, :, 2 * i + 3 * k] @ w[:, :, k].T
    return dx


@TABLE.dx(STRIDED, ("stride", "ignored"), ("stride", "forgotten"), ("stride", "1"))
def dx_stride_forgotten(x, w, dy):
    dx = np.zeros(x.shape)
    for i in range(3):
        dx[:, :, i : i + 3] += np.einsum("ock,no->nck", w, dy[:, :, i])
    return dx


@TABLE.dw(STRIDED_IMAGE, ("stride", "ignored"), ("stride", "forgotten"), ("stride", "1"))
def dw_stride_forgotten(x, w, dy):
    dw = np.zeros(w.shape)
    for k, m in np.ndindex(2, 2):
        dw[:, :, k, m] = np.einsum("ncij,noij->oc", x[:, :, k : k + 3, m : m + 4], dy)
    return dw


DILATES_INPUT = (("dilation", "input"), ("input_dilation",), ("input", "dilated"))


@TABLE.y(DILATED, *DILATES_INPUT)
def dilates_the_input(x, w, b):
    spread = np.zeros((len(x), 2, 13))
    spread[:, :, ::2] = x
    y = np.zeros((len(x), 3, 3))
    for i in range(3):
        y[:, :, i] = np.einsum("nck,ock->no", spread[:, :, i : i + 3], w) + b
    return y


@TABLE.y(cd.Conv((1, 5, 4), 2, 2, dilation=(2, 1)), *DILATES_INPUT)
def dilates_the_input_and_keeps_the_shape(x, w, b):
    spread = np.zeros((len(x), 1, 9, 4))
    spread[:, :, ::2] = x
    y = np.zeros((len(x), 2, 8, 3))
    for i, j in np.ndindex(8, 3):
        y[:, :, i, j] = np.einsum("nckm,ockm->no", spread[:, :, i : i + 2, j : j + 2], w) + b
    return y


@TABLE.dw(DILATED, ("dilation", "ignored"), ("dilation", "forgotten"), ("dilation", "1"))
def dilation_forgotten_in_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for k in range(3):
        dw[:, :, k] = np.einsum("nci,noi->oc", x[:, :, k : k + 3], dy)
    return dw


# Transposed layers: what is cropped, and what is added


@TABLE.y(UP, *CUT)
def positions_cut_at_the_end(x, w, b):
    y = np.zeros((len(x), 2, 5, 7))
    for i, j, k, m in np.ndindex(3, 4, 3, 3):
        if 2 * i + k < 5 and 2 * j + m < 7:
            y[:, :, 2 * i + k, 2 * j + m] += x[:, :, i, j] @ w[:, :, k, m]
    return y + b[:, None, None]


@TABLE.y(UP_DILATED, *CUT)
def dilated_positions_cut_at_the_end(x, w, b):
    canvas = np.zeros((len(x), 2, 9))
    for k in range(3):
        canvas[:, :, 2 * k : 2 * k + 5] += np.einsum("co,nci->noi", w[:, :, k], x)
    return canvas[:, :, :5] + b[:, None]


@TABLE.dx(UP_SIGNAL, *CUT)
def dx_positions_cut_at_the_end(x, w, dy):
    padded = np.pad(dy, ((0, 0), (0, 0), (0, 2)))
    windows = [padded[:, :, 2 * i : 2 * i + 3] for i in range(4)]
    return np.stack([np.einsum("nok,cok->nc", window, w) for window in windows], axis=2)


@TABLE.dw(UP_SIGNAL, *CUT)
def dw_positions_cut_at_the_end(x, w, dy):
    dw = np.zeros(w.shape)
    for i, k in np.ndindex(4, 3):
        if 2 * i + k < 7:
            dw[:, :, k] += x[:, :, i].T @ dy[:, :, 2 * i + k]
    return dw


@TABLE.y(UP_MORE, ("output_padding",), ("output padding",))
def output_padding_left_0(x, w, b):
    y = plain(UP_MORE).forward(x, w, b)
    y[:, :, -1:] = 0
    return y


@TABLE.y(UP_MORE_IMAGE, ("output_padding",), ("output padding",))
def output_padding_only_the_bias(x, w, b):
    canvas = np.zeros((len(x), 2, 7, 6))
    for i, j in np.ndindex(3, 2):
        canvas[:, :, 2 * i : 2 * i + 3, 3 * j : 3 * j + 3] += np.einsum(
            "nc,cokm->nokm", x[:, :, i, j], w
        )
    y = np.zeros((len(x), 2, 6, 6))
    y[:, :, :5, :4] = canvas[:, :, 1:-1, 1:-1]
    return y + b[:, None, None]


@TABLE.dx(UP_MORE, ("output_padding",), ("output padding",))
def output_padding_not_read_in_dx(x, w, dy):
    padded = np.pad(dy[:, :, :7], ((0, 0), (0, 0), (1, 1)))
    windows = [padded[:, :, 2 * i : 2 * i + 3] for i in range(4)]
    return np.stack([np.einsum("nok,cok->nc", window, w) for window in windows], axis=2)


@TABLE.dw(UP_MORE, ("output_padding",), ("output padding",))
def output_padding_not_read_in_dw(x, w, dy):
    padded = np.pad(dy[:, :, :-1], ((0, 0), (0, 0), (1, 1)))
    taps = [np.einsum("nci,noi->co", x, padded[:, :, k : k + 7 : 2]) for k in range(3)]
    return np.stack(taps, axis=2)


@TABLE.db(UP_MORE_IMAGE, ("output_padding",), ("output padding",))
def output_padding_not_read_in_db(x, w, dy):
    return dy[:, :, :5, :4].sum(axis=(0, 2, 3))


# Where windows and gradients lie


@TABLE.dx(SAME, *CUT, *SHIFTED)
def dx_cropped_at_the_end_alone(x, w, dy):
    padded = np.zeros((len(x), 2, 6, 7))
    for i, j in np.ndindex(4, 5):
        padded[:, :, i : i + 3, j : j + 3] += np.einsum("ockm,no->nckm", w, dy[:, :, i, j])
    return padded[:, :, :4, :5]


@TABLE.dx(STRIDED, *SHIFTED, ("left over",), ("leftover",))
def dx_one_cell_too_far(x, w, dy):
    short = np.zeros((len(x), 2, 7))
    for i in range(3):
        short[:, :, 2 * i : 2 * i + 3] += np.einsum("ock,no->nck", w, dy[:, :, i])
    return np.pad(short, ((0, 0), (0, 0), (1, 0)))


@TABLE.dx(STRIDED, ("left over",), ("leftover",), ("shape",), ("short",))
def dx_without_the_cell_left_over(x, w, dy):
    dx = np.zeros((len(x), 2, 2 * 2 + 3))
    for i in range(3):
        dx[:, :, 2 * i : 2 * i + 3] += np.einsum("ock,no->nck", w, dy[:, :, i])
    return dx


@TABLE.y(IMAGE, *LAST, ("last", "bias"), ("zero", "at 2 along axis 0"))
def last_row_forgotten(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for i in range(4 - 2):
        for j in range(3):
            y[:, :, i, j] = np.einsum("nckm,ockm->no", x[:, :, i : i + 2, j : j + 3], w) + b
    return y


@TABLE.dw(cd.Conv((1, 3, 4, 3), 2, 2), *LAST)
def last_plane_forgotten_in_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for a in range(3 - 2):
        for i, j in np.ndindex(3, 2):
            window = x[:, :, a : a + 2, i : i + 2, j : j + 2]
            dw += np.einsum("ncdkm,no->ocdkm", window, dy[:, :, a, i, j])
    return dw


TRANSPOSED = (("transposed",), ("axes", "exchanged"), ("rows", "columns"), ("axes", "swapped"))


@TABLE.y(SQUARE, *TRANSPOSED)
def kernel_transposed(x, w, b):
    y = np.zeros((len(x), 3, 4, 3)) + b[:, None, None]
    for k, m in np.ndindex(2, 2):
        y += np.einsum("oc,ncij->noij", w[:, :, m, k], x[:, :, k : k + 4, m : m + 3])
    return y


@TABLE.dw(SQUARE, *TRANSPOSED)
def dw_kernel_transposed(x, w, dy):
    dw = np.zeros(w.shape)
    for k, m in np.ndindex(2, 2):
        dw[:, :, m, k] = np.einsum("noij,ncij->oc", dy, x[:, :, k : k + 4, m : m + 3])
    return dw


@TABLE.dx(SIGNAL, *REVERSED)
def dx_kernel_not_reversed(x, w, dy):
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 2)))
    dx = np.zeros(x.shape)
    for k in range(3):
        dx += np.einsum("oc,noi->nci", w[:, :, k], padded[:, :, k : k + 7])
    return dx


@TABLE.y(cd.Conv((2, 4, 4), 2, (2, 3), flip=True), *REVERSED)
def correlation_for_convolution(x, w, b):
    y = np.zeros((len(x), 2, 3, 2)) + b[:, None, None]
    for k, m in np.ndindex(2, 3):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], x[:, :, k : k + 3, m : m + 2])
    return y


# Their nearest right relatives


@TABLE.dx(IMAGE)
def right_col2im(x, w, dy):
    columns = np.einsum("fckm,nfij->nckmij", w, dy)
    dx = np.zeros(x.shape)
    for k, m in np.ndindex(2, 3):
        dx[:, :, k : k + 3, m : m + 3] += columns[:, :, k, m]
    return dx


@TABLE.y(BOTH)
def right_stride_and_dilation(x, w, b):
    y = np.zeros((len(x), 2, 3)) + b[:, None]
    for k in range(3):
        y += np.einsum("oc,nci->noi", w[:, :, k], x[:, :, 3 * k : 3 * k + 5 : 2])
    return y


@TABLE.y(UP_MORE_IMAGE)
def right_output_padding(x, w, b):
    canvas = np.zeros((len(x), 2, 8, 8))
    for i, j in np.ndindex(3, 2):
        canvas[:, :, 2 * i : 2 * i + 3, 3 * j : 3 * j + 3] += np.einsum(
            "nc,cokm->nokm", x[:, :, i, j], w
        )
    return canvas[:, :, 1:7, 1:7] + b[:, None, None]


@TABLE.dx(STRIDED)
def right_cell_left_over(x, w, dy):
    spread = np.zeros((len(x), 2, 5))
    spread[:, :, ::2] = dy
    padded = np.pad(spread, ((0, 0), (0, 0), (2, 3)))
    dx = np.zeros(x.shape)
    for k in range(3):
        dx += np.einsum("oc,noi->nci", w[:, :, 2 - k], padded[:, :, k : k + 8])
    return dx


for layer in (UP, UP_DILATED, UP_BOTH, DILATED):
    TABLE.made(layer, name=f"right taps of {layer}")(lambda layer=layer: plain(layer))
