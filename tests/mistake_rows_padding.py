"""Mistakes in padding: causal layers, what padded cells hold, where their gradients go."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table

TABLE = Table()
CAUSAL = cd.Conv((2, 8), out_channels=2, kernel=3, padding=((2, 0),))
CAUSAL_DILATED = cd.Conv((2, 9), out_channels=2, kernel=3, dilation=2, padding=((4, 0),))
CAUSAL_DEPTHWISE = cd.Conv((3, 7), out_channels=3, kernel=4, padding=((3, 0),), groups=3)
SAME = cd.Conv((2, 4, 5), out_channels=2, kernel=3, padding=1)
SAME_SIGNAL = cd.Conv((2, 6), out_channels=2, kernel=3, padding=1)
WIDE = cd.Conv((2, 6), out_channels=2, kernel=4, padding=((3, 1),))
EVEN = cd.Conv((2, 5, 6), out_channels=2, kernel=(2, 4), padding="same")
CIRCULAR = cd.Conv((2, 5), out_channels=2, kernel=3, padding=1, padding_mode="circular")
REFLECT = cd.Conv((1, 4, 5), out_channels=2, kernel=3, padding=1, padding_mode="reflect")
MINUS_ONE = cd.Conv((2, 5), out_channels=2, kernel=3, padding=1, padding_value=-1)


def slide(x, w, b, widths, dilation=1, **options):
    """Return a convolution of signals, padded by np.pad as told."""
    padded = np.pad(x, ((0, 0), (0, 0), widths), **options)
    n = padded.shape[2] - dilation * (w.shape[2] - 1)
    y = np.zeros((len(x), len(w), n)) + b[:, None]
    for k in range(w.shape[2]):
        y += np.einsum("oc,nci->noi", w[:, :, k], padded[:, :, dilation * k : dilation * k + n])
    return y


def slide_back(w, dy, dilation=1):
    """Return the gradient of the padded signals."""
    n = dy.shape[2]
    dx = np.zeros((len(dy), w.shape[1], n + dilation * (w.shape[2] - 1)))
    for k in range(w.shape[2]):
        dx[:, :, dilation * k : dilation * k + n] += np.einsum("oc,noi->nci", w[:, :, k], dy)
    return dx


# Causal: a window ends at its own position

# one cell of a centred window lies ahead: then one is missing at the begin
LESS = (("padding", "less", "begin"), ("shift",))
MORE = (("padding", "more", "begin"), ("shift",))
CENTRED = (("causal", "centred"), ("causal", "centered"), ("centred",), ("centered",), *LESS)
OFF = (("causal",), ("shift",), ("off by",))
ONE = (("causal", "1"), ("causal", "one"), ("shift", "1"), ("shift", "one"), ("off by one",))


@TABLE.y(CAUSAL, *CENTRED)
def causal_centred(x, w, b):
    return slide(x, w, b, (1, 1))


@TABLE.y(CAUSAL_DILATED, *CENTRED)
def causal_dilated_centred(x, w, b):
    return slide(x, w, b, (2, 2), dilation=2)


@TABLE.y(CAUSAL, *OFF, ("end",))
def causal_padded_at_the_end(x, w, b):
    return slide(x, w, b, (0, 2))


@TABLE.y(CAUSAL, *ONE, *MORE)
def causal_one_cell_late(x, w, b):
    return slide(x, w, b, (3, 0))[:, :, :8]


@TABLE.y(CAUSAL_DILATED, *ONE, *LESS)
def causal_one_cell_early(x, w, b):
    return slide(x, w, b, (3, 1), dilation=2)


@TABLE.y(CAUSAL_DEPTHWISE, ("causal", "2"), ("causal", "two"), ("shift", "2"), ("shift", "two"))
def causal_depthwise_two_cells_early(x, w, b):
    y = np.zeros(x.shape)
    for c in range(3):
        for t in range(7):
            for k in range(4):
                s = t - 3 + k + 2
                if 0 <= s < 7:
                    y[:, c, t] += w[c, 0, k] * x[:, c, s]
    return y + b[:, None]


@TABLE.dx(CAUSAL_DILATED, *CENTRED)
def causal_dx_centred(x, w, dy):
    return slide_back(w, dy, dilation=2)[:, :, 2:-2]


@TABLE.dx(CAUSAL_DEPTHWISE, *ONE, *MORE)
def causal_depthwise_dx_one_cell_off(x, w, dy):
    dx = np.zeros(x.shape)
    for c in range(3):
        for t in range(7):
            for k in range(4):
                s = t - 3 + k - 1
                if 0 <= s < 7:
                    dx[:, c, s] += w[c, 0, k] * dy[:, c, t]
    return dx


@TABLE.dw(CAUSAL, *CENTRED)
def causal_dw_centred(x, w, dy):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    dw = np.zeros(w.shape)
    for k in range(3):
        dw[:, :, k] = np.einsum("nci,noi->oc", padded[:, :, k : k + 8], dy)
    return dw


# Begin and end

BEGIN_END = (("begin", "end"), ("shift",), ("same_lower",))


@TABLE.y(WIDE, *BEGIN_END)
def begin_and_end_exchanged(x, w, b):
    return slide(x, w, b, (1, 3))


@TABLE.dx(WIDE, *BEGIN_END)
def begin_and_end_exchanged_in_dx(x, w, dy):
    return slide_back(w, dy)[:, :, 1:-3]


@TABLE.y(EVEN, *BEGIN_END, ("begin",))
def same_lower_for_same(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)))
    y = np.zeros((len(x), 2, 5, 6)) + b[:, None, None]
    for k, m in np.ndindex(2, 4):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], padded[:, :, k : k + 5, m : m + 6])
    return y


# What the padded cells hold

CONSTANT = (("constant",), ("padded with 1",), ("padding", "with 1"), ("pad", "holds 1"))


@TABLE.y(SAME_SIGNAL, *CONSTANT)
def padded_with_ones(x, w, b):
    return slide(x, w, b, (1, 1), constant_values=1)


@TABLE.y(SAME, ("constant",), ("pad", "-2"))
def image_padded_with_a_constant(x, w, b):
    padded = np.full((len(x), 2, 6, 7), -2.0)
    padded[:, :, 1:-1, 1:-1] = x
    y = np.zeros((len(x), 2, 4, 5)) + b[:, None, None]
    for k, m in np.ndindex(3, 3):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], padded[:, :, k : k + 4, m : m + 5])
    return y


@TABLE.dw(SAME_SIGNAL, *CONSTANT)
def dw_padded_with_ones(x, w, dy):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=1)
    return np.stack(
        [np.einsum("nci,noi->oc", padded[:, :, k : k + 6], dy) for k in range(3)], axis=2
    )


@TABLE.y(MINUS_ONE, ("constant",), ("padding_value",), ("padded", "0"), ("padding", "0"))
def padding_value_ignored(x, w, b):
    return slide(x, w, b, (1, 1))


@TABLE.y(SAME_SIGNAL, ("replicate",), ("edge",))
def replicates_the_edge(x, w, b):
    return slide(x, w, b, (1, 1), mode="edge")


@TABLE.y(SAME_SIGNAL, ("circular",), ("wrap",))
def wraps_around(x, w, b):
    return slide(x, w, b, (1, 1), mode="wrap")


@TABLE.y(CIRCULAR, ("zero",), ("padded", "0"), ("padding", "0"))
def zeros_for_circular(x, w, b):
    return slide(x, w, b, (1, 1))


@TABLE.y(REFLECT, ("symmetric",), ("replicate",), ("edge",))
def edge_repeated_for_reflect(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="symmetric")
    y = np.zeros((len(x), 2, 4, 5)) + b[:, None, None]
    for k, m in np.ndindex(3, 3):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], padded[:, :, k : k + 4, m : m + 5])
    return y


# Where the gradients of padded cells go

BORDER = (("border",), ("edge",), ("replicate",))


@TABLE.dx(SAME_SIGNAL, *BORDER)
def padded_gradients_added_to_the_border(x, w, dy):
    padded = slide_back(w, dy)
    dx = padded[:, :, 1:-1].copy()
    dx[:, :, 0] += padded[:, :, 0]
    dx[:, :, -1] += padded[:, :, -1]
    return dx


@TABLE.dx(SAME, *BORDER)
def indices_clipped_to_the_image(x, w, dy):
    dx = np.zeros(x.shape)
    for i, j, k, m in np.ndindex(4, 5, 3, 3):
        r, s = np.clip(i + k - 1, 0, 3), np.clip(j + m - 1, 0, 4)
        dx[:, :, r, s] += dy[:, :, i, j] @ w[:, :, k, m]
    return dx


@TABLE.dx(CIRCULAR, ("zero",), ("crop",), ("padd", "drop"), ("padd", "left out"))
def circular_gradients_dropped(x, w, dy):
    return slide_back(w, dy)[:, :, 1:-1]


# Their nearest right relatives


@TABLE.y(CAUSAL)
def right_causal_cut(x, w, b):
    """Pad both sides and cut the end, as many do."""
    return slide(x, w, b, (2, 2))[:, :, :8]


@TABLE.y(CAUSAL_DILATED)
def right_causal_dilated(x, w, b):
    return slide(x, w, b, (4, 0), dilation=2)


@TABLE.dx(CAUSAL_DILATED)
def right_causal_dx(x, w, dy):
    return slide_back(w, dy, dilation=2)[:, :, 4:]


@TABLE.dx(SAME)
def right_indices_left_out(x, w, dy):
    dx = np.zeros(x.shape)
    for i, j, k, m in np.ndindex(4, 5, 3, 3):
        if 0 <= i + k - 1 < 4 and 0 <= j + m - 1 < 5:
            dx[:, :, i + k - 1, j + m - 1] += dy[:, :, i, j] @ w[:, :, k, m]
    return dx


@TABLE.dx(CIRCULAR)
def right_circular_dx(x, w, dy):
    padded = slide_back(w, dy)
    dx = padded[:, :, 1:-1].copy()
    dx[:, :, -1] += padded[:, :, 0]
    dx[:, :, 0] += padded[:, :, -1]
    return dx


@TABLE.y(MINUS_ONE)
def right_padding_value(x, w, b):
    return slide(x, w, b, (1, 1), constant_values=-1)
