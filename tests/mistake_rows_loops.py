"""`=` for `+=`, in the loops of textbooks: over samples, channels, rows, columns and taps.

Where a loop is inside another sum, only its own terms are overwritten: "at rows" is a sum over the
columns of the last row alone.
"""

from itertools import product

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair

TABLE = Table()
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
STRIDED = cd.Conv((2, 5, 4), out_channels=2, kernel=(3, 2), stride=(2, 1), padding=(1, 0))
SIGNAL = cd.Conv((2, 7), out_channels=3, kernel=3)
VOLUME = cd.Conv((2, 3, 4, 3), out_channels=2, kernel=(2, 3, 2))
GROUPED = cd.Conv((4, 7), out_channels=2, kernel=3, groups=2)
UP = cd.ConvTranspose((2, 3, 4), out_channels=3, kernel=(3, 2), stride=(2, 1))
UP_SIGNAL = cd.ConvTranspose((3, 4), out_channels=2, kernel=3, stride=2)

ANY = (("+=",), ("last", "overwrit"))


def over(*loops):
    """Return the alternatives where one loop overwrites, and the others are summed."""
    others = {"sample", "channel", "row", "column"} - set(loops)
    found = tuple(("+=", loop) for loop in loops) + tuple(("last", loop) for loop in loops)
    return (*found, ("+=", *(f"!{other}s" for other in sorted(others))))


# Forward


@TABLE.y(IMAGE, *ANY)
def forward_innermost(x, w, b):
    n_out, n_in, rows, columns = w.shape
    y = np.zeros((len(x), n_out, x.shape[2] - rows + 1, x.shape[3] - columns + 1))
    for n, o, i, j in np.ndindex(*y.shape):
        for c, k, m in np.ndindex(n_in, rows, columns):
            y[n, o, i, j] = x[n, c, i + k, j + m] * w[o, c, k, m]
        y[n, o, i, j] += b[o]
    return y


@TABLE.y(SIGNAL, *ANY, ("last", "tap"))
def forward_taps_outside(x, w, b):
    width = x.shape[2] - 2
    for k in range(3):
        y = np.einsum("oc,nci->noi", w[:, :, k], x[:, :, k : k + width])
    return y + b[:, None]


@TABLE.y(VOLUME, *over("channel"))
def forward_input_channels_outside(x, w, b):
    y = np.zeros((len(x), 2, 2, 2, 2))
    for n, o in np.ndindex(len(x), 2):
        for c in range(2):
            total = np.zeros((2, 2, 2))
            for d, k, m in np.ndindex(2, 3, 2):
                total += w[o, c, d, k, m] * x[n, c, d : d + 2, k : k + 2, m : m + 2]
            y[n, o] = total
        y[n, o] += b[o]
    return y


@TABLE.y(STRIDED, *over("row"), ("last", "tap"))
def forward_rows_of_the_kernel(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        for k in range(3):
            y[:, :, i, j] = np.einsum("oct,nct->no", w[:, :, k], padded[:, :, 2 * i + k, j : j + 2])
    return y + b[:, None, None]


@TABLE.y(IMAGE, ("+=", "bias", "!tap"), ("only the bias",), ("bias alone",))
def forward_bias_overwrites(x, w, b):
    y = np.zeros((len(x), 3, 3, 3))
    for k, m in np.ndindex(2, 3):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], x[:, :, k : k + 3, m : m + 3])
    for o in range(3):
        y[:, o] = b[o]
    return y


@TABLE.y(UP, *ANY)
def transposed_forward_scatters(x, w, b):
    y = np.zeros((len(x), 3, 7, 5))
    for n, c, i, j in np.ndindex(*x.shape):
        for o, k, m in np.ndindex(3, 3, 2):
            y[n, o, 2 * i + k, j + m] = x[n, c, i, j] * w[c, o, k, m]
    return y + b[:, None, None]


@TABLE.y(UP_SIGNAL, *ANY, ("last", "tap"))
def transposed_forward_taps_outside(x, w, b):
    y = np.zeros((len(x), 2, 9))
    for k in range(3):
        y[:, :, k : k + 8 : 2] = np.einsum("co,nci->noi", w[:, :, k], x)
    return y + b[:, None]


# The three gradients in one loop, as courses write it, in every order of its loops


def textbook(order, dx="+=", dw="+=", db="+="):
    """Return the backward pass of STRIDED, looping over samples, output channels, rows, columns."""

    def backward(x, w, dy):
        sizes = dict(zip("nfij", dy.shape, strict=True))
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
        d_padded, d_w, d_b = np.zeros(padded.shape), np.zeros(w.shape), np.zeros(2)
        for step in product(*(range(sizes[letter]) for letter in order)):
            n, f, i, j = (step[order.index(letter)] for letter in "nfij")
            window = (slice(None), slice(2 * i, 2 * i + 3), slice(j, j + 2))
            gradient = dy[n, f, i, j]
            if dx == "+=":
                d_padded[n][window] += w[f] * gradient
            else:
                d_padded[n][window] = w[f] * gradient
            if dw == "+=":
                d_w[f] += padded[n][window] * gradient
            else:
                d_w[f] = padded[n][window] * gradient
            if db == "+=":
                d_b[f] += gradient
            else:
                d_b[f] = gradient
        return d_padded[:, :, 1:-1], d_w, d_b

    return backward


def strided_forward(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        window = padded[:, :, 2 * i : 2 * i + 3, j : j + 2]
        y[:, :, i, j] = np.einsum("nckm,fckm->nf", window, w) + b
    return y


def in_order(order, **signs):
    words = dict.fromkeys(signs, ANY)
    name = f"textbook, loops over {', '.join(order)}, = in {' '.join(signs) or 'none'}"
    TABLE.made(STRIDED, name=name, **words)(lambda: pair(strided_forward, textbook(order, **signs)))


for loops in ("nfij", "jinf", "fnji", "ijfn"):
    in_order(loops)
    in_order(loops, dx="=")
for loops in ("nfij", "ijnf"):
    in_order(loops, dw="=")
in_order("fijn", db="=")
in_order("injf", dx="=", dw="=", db="=")


# dx


@TABLE.dx(IMAGE, *ANY)
def dx_taps_outside(x, w, dy):
    dx = np.zeros(x.shape)
    for k, m in np.ndindex(2, 3):
        for n, c, i, j in np.ndindex(len(x), 2, 3, 3):
            dx[n, c, i + k, j + m] = np.dot(w[:, c, k, m], dy[n, :, i, j])
    return dx


@TABLE.dx(IMAGE, *ANY)
def dx_rows_by_tap_columns_by_position(x, w, dy):
    dx = np.zeros(x.shape)
    for k, j in product(range(2), range(3)):
        for i, m in product(range(3), range(3)):
            for n, c in np.ndindex(len(x), 2):
                for o in range(3):
                    dx[n, c, i + k, j + m] = w[o, c, k, m] * dy[n, o, i, j]
    return dx


@TABLE.dx(IMAGE, *ANY)
def dx_channels_summed_positions_not(x, w, dy):
    dx = np.zeros(x.shape)
    for i, j in np.ndindex(3, 3):
        dx[:, :, i : i + 2, j : j + 3] = np.einsum("fckm,nf->nckm", w, dy[:, :, i, j])
    return dx


@TABLE.dx(IMAGE, *over("channel"))
def dx_output_channels_overwrite(x, w, dy):
    dx = np.zeros(x.shape)
    for n, f in np.ndindex(len(x), 3):
        of_channel = np.zeros(x.shape[1:])
        for i, j in np.ndindex(3, 3):
            of_channel[:, i : i + 2, j : j + 3] += w[f] * dy[n, f, i, j]
        dx[n] = of_channel
    return dx


@TABLE.dx(IMAGE, *over("row"))
def dx_rows_overwrite(x, w, dy):
    dx = np.zeros(x.shape)
    for i in range(3):
        band = np.zeros((len(x), 2, 2, 5))
        for f, j in np.ndindex(3, 3):
            band[:, :, :, j : j + 3] += np.einsum("ckm,n->nckm", w[f], dy[:, f, i, j])
        dx[:, :, i : i + 2] = band
    return dx


@TABLE.dx(IMAGE, *over("column"))
def dx_columns_overwrite(x, w, dy):
    dx = np.zeros(x.shape)
    for j in range(3):
        band = np.zeros((len(x), 2, 4, 3))
        for i in range(3):
            band[:, :, i : i + 2] += np.einsum("fckm,nf->nckm", w, dy[:, :, i, j])
        dx[:, :, :, j : j + 3] = band
    return dx


@TABLE.dx(IMAGE, ("+=",), ("first", "overwrit"))
def dx_loops_run_backwards(x, w, dy):
    dx = np.zeros(x.shape)
    for n, f in np.ndindex(len(x), 3):
        for i in reversed(range(3)):
            for j in reversed(range(3)):
                dx[n, :, i : i + 2, j : j + 3] = w[f] * dy[n, f, i, j]
    return dx


@TABLE.dx(VOLUME, *ANY)
def dx_of_a_volume(x, w, dy):
    dx = np.zeros(x.shape)
    for n, f, a, i, j in np.ndindex(*dy.shape):
        dx[n, :, a : a + 2, i : i + 3, j : j + 2] = w[f] * dy[n, f, a, i, j]
    return dx


@TABLE.dx(GROUPED, *ANY)
def dx_of_groups(x, w, dy):
    dx = np.zeros(x.shape)
    for n, o, i in np.ndindex(*dy.shape):
        dx[n, 2 * o : 2 * o + 2, i : i + 3] = w[o] * dy[n, o, i]
    return dx


@TABLE.dx(UP_SIGNAL, *ANY, ("last", "tap"))
def transposed_dx_gathers(x, w, dy):
    dx = np.zeros(x.shape)
    for n, c, i in np.ndindex(*x.shape):
        for k in range(3):
            dx[n, c, i] = np.dot(w[c, :, k], dy[n, :, 2 * i + k])
    return dx


# dw


@TABLE.dw(IMAGE, *over("sample", "batch"))
def dw_samples_overwrite(x, w, dy):
    dw = np.zeros(w.shape)
    for n in range(len(x)):
        for k, m in np.ndindex(2, 3):
            dw[:, :, k, m] = np.einsum("cij,fij->fc", x[n, :, k : k + 3, m : m + 3], dy[n])
    return dw


@TABLE.dw(IMAGE, *over("row"))
def dw_rows_overwrite(x, w, dy):
    dw = np.zeros(w.shape)
    for f, c, k, m in np.ndindex(*w.shape):
        for i in range(3):
            dw[f, c, k, m] = np.sum(x[:, c, i + k, m : m + 3] * dy[:, f, i])
    return dw


@TABLE.dw(STRIDED, *over("column"))
def dw_columns_overwrite(x, w, dy):
    dw = np.zeros(w.shape)
    for j in range(3):
        for f, c, k, m in np.ndindex(*w.shape):
            total = 0
            for n, i in np.ndindex(len(x), 3):
                if 0 <= 2 * i + k - 1 < 5:
                    total += x[n, c, 2 * i + k - 1, j + m] * dy[n, f, i, j]
            dw[f, c, k, m] = total
    return dw


@TABLE.dw(IMAGE, *ANY)
def dw_positions_overwrite_samples_summed(x, w, dy):
    dw = np.zeros(w.shape)
    for i, j in np.ndindex(3, 3):
        dw[...] = np.einsum("nckm,nf->fckm", x[:, :, i : i + 2, j : j + 3], dy[:, :, i, j])
    return dw


PADDED = cd.Conv((2, 5), out_channels=2, kernel=3, padding=1)


@TABLE.dw(PADDED, *ANY)
def dw_skips_padded_cells(x, w, dy):
    dw = np.zeros(w.shape)
    for n, f, i in np.ndindex(*dy.shape):
        for c, k in np.ndindex(2, 3):
            if 0 <= i + k - 1 < 5:
                dw[f, c, k] = x[n, c, i + k - 1] * dy[n, f, i]
    return dw


@TABLE.dw(UP_SIGNAL, *ANY)
def transposed_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for n, c, i in np.ndindex(*x.shape):
        dw[c] = x[n, c, i] * dy[n, :, 2 * i : 2 * i + 3]
    return dw


# db


@TABLE.db(VOLUME, *over("sample", "batch"))
def db_samples_overwrite(x, w, dy):
    db = np.zeros(2)
    for n in range(len(dy)):
        db[:] = dy[n].sum(axis=(1, 2, 3))
    return db


@TABLE.db(IMAGE, *over("row"))
def db_rows_overwrite(x, w, dy):
    for i in range(3):
        db = dy[:, :, i].sum(axis=(0, 2))
    return db


# Their nearest right relatives


@TABLE.y(UP)
def right_transposed_scatter(x, w, b):
    y = np.zeros((len(x), 3, 7, 5))
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, :, 2 * i : 2 * i + 3, j : j + 2] += x[n, c, i, j] * w[c]
    return y + b[:, None, None]


@TABLE.dx(IMAGE)
def right_dx_backwards(x, w, dy):
    dx = np.zeros(x.shape)
    for j in reversed(range(3)):
        for i in reversed(range(3)):
            dx[:, :, i : i + 2, j : j + 3] += np.einsum("fckm,nf->nckm", w, dy[:, :, i, j])
    return dx


@TABLE.dx(IMAGE)
def right_dx_assigned_once(x, w, dy):
    """Assign each cell its whole sum: = is right here."""
    dx = np.zeros(x.shape)
    for n, c, r, s in np.ndindex(*x.shape):
        taps = [(k, m) for k in range(2) for m in range(3) if 0 <= r - k < 3 and 0 <= s - m < 3]
        dx[n, c, r, s] = sum(np.dot(w[:, c, k, m], dy[n, :, r - k, s - m]) for k, m in taps)
    return dx


@TABLE.dw(STRIDED)
def right_dw_assigned_once(x, w, dy):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    dw = np.zeros(w.shape)
    for f, c, k, m in np.ndindex(*w.shape):
        dw[f, c, k, m] = np.sum(padded[:, c, k : k + 5 : 2, m : m + 3] * dy[:, f])
    return dw
