"""Mistakes in channels and groups, in what is exchanged, in Linear and in tied layers."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
GROUPS = cd.Conv((4, 4, 5), out_channels=6, kernel=2, groups=2)
GROUPS_SIGNAL = cd.Conv((6, 6), out_channels=6, kernel=3, groups=3, padding=1)
DEPTHWISE = cd.Conv((3, 4, 5), out_channels=3, kernel=(2, 3), groups=3)
MULTIPLIER = cd.Conv((3, 6), out_channels=6, kernel=3, groups=3)
UP_GROUPS = cd.ConvTranspose((4, 4), out_channels=4, kernel=3, stride=2, groups=2)
IMAGE = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3))
SQUARE = cd.Conv((3, 5), out_channels=3, kernel=2)
UP_SQUARE = cd.ConvTranspose((2, 3, 3), out_channels=2, kernel=2, stride=2)
POINT = cd.Conv((3, 4), out_channels=2, kernel=1)

IGNORED = (("groups", "ignored"), ("groups", "forgotten"), ("group", "all channels"))
FIRST_GROUP = (("first", "group"), ("group 0",))
INTERLEAVED = (("interleaved",), ("group", "mod"), ("order", "multiplier"), ("group", "order"))
EXCHANGED = (("exchanged",), ("swapped",))
CHANNELS = (("channels", "exchanged"), ("channels", "swapped"), ("transposed",))


def one_group(x, w):
    """Return a convolution of images without bias, stride or padding."""
    rows, columns = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    y = np.zeros((len(x), len(w), rows, columns))
    for k, m in np.ndindex(*w.shape[2:]):
        y += np.einsum("oc,ncij->noij", w[:, :, k, m], x[:, :, k : k + rows, m : m + columns])
    return y


def one_group_back(w, dy):
    dx = np.zeros((len(dy), w.shape[1], dy.shape[2] + 1, dy.shape[3] + 1))
    rows, columns = dy.shape[2:]
    for k, m in np.ndindex(*w.shape[2:]):
        dx[:, :, k : k + rows, m : m + columns] += np.einsum("oc,noij->ncij", w[:, :, k, m], dy)
    return dx


# Groups


@TABLE.dx(GROUPS, *IGNORED)
def groups_ignored_in_dx(x, w, dy):
    dx = np.zeros(x.shape)
    for c in range(4):
        for o in range(6):
            for i, j in np.ndindex(3, 4):
                at = slice(i, i + 2), slice(j, j + 2)
                dx[(slice(None), c, *at)] += w[o, c % 2] * dy[:, o, i, j, None, None]
    return dx


@TABLE.y(GROUPS, *IGNORED)
def groups_ignored_forward(x, w, b):
    return one_group(x, np.concatenate([w, w], axis=1)) + b[:, None, None]


@TABLE.y(GROUPS, *FIRST_GROUP)
def first_group_for_all(x, w, b):
    parts = [one_group(x[:, 2 * g : 2 * g + 2], w[:3]) for g in range(2)]
    return np.concatenate(parts, axis=1) + b[:, None, None]


@TABLE.dx(GROUPS, *FIRST_GROUP)
def first_group_for_all_in_dx(x, w, dy):
    parts = [one_group_back(w[:3], dy[:, 3 * g : 3 * g + 3]) for g in range(2)]
    return np.concatenate(parts, axis=1)


@TABLE.dw(GROUPS_SIGNAL, *FIRST_GROUP)
def first_input_group_for_all_in_dw(x, w, dy):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    dw = np.zeros(w.shape)
    for o, c, k in np.ndindex(*w.shape):
        dw[o, c, k] = np.sum(padded[:, c, k : k + 6] * dy[:, o])
    return dw


@TABLE.y(GROUPS, *INTERLEAVED)
def output_channels_interleaved(x, w, b):
    y = np.zeros((len(x), 6, 3, 4))
    for g in range(2):
        y[:, g::2] = one_group(x[:, 2 * g : 2 * g + 2], w[3 * g : 3 * g + 3])
    return y + b[:, None, None]


@TABLE.dx(GROUPS_SIGNAL, *INTERLEAVED)
def output_channels_interleaved_in_dx(x, w, dy):
    padded = np.zeros((len(x), 6, 8))
    for g in range(3):
        for q in range(2):
            for k in range(3):
                for c in range(2):
                    d_out = dy[:, q * 3 + g]
                    padded[:, 2 * g + c, k : k + 6] += w[2 * g + q, c, k] * d_out
    return padded[:, :, 1:-1]


@TABLE.dw(GROUPS, *INTERLEAVED)
def output_channels_interleaved_in_dw(x, w, dy):
    dw = np.zeros(w.shape)
    for g in range(2):
        of_group, d_out = x[:, 2 * g : 2 * g + 2], dy[:, g::2]
        for k, m in np.ndindex(2, 2):
            window = of_group[:, :, k : k + 3, m : m + 4]
            dw[3 * g : 3 * g + 3, :, k, m] = np.einsum("ncij,noij->oc", window, d_out)
    return dw


@TABLE.y(GROUPS_SIGNAL, *INTERLEAVED)
def input_channels_interleaved(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    y = np.zeros((len(x), 6, 6)) + b[:, None]
    for o in range(6):
        for c, k in np.ndindex(2, 3):
            y[:, o] += w[o, c, k] * padded[:, c * 3 + o // 2, k : k + 6]
    return y


@TABLE.y(MULTIPLIER, *INTERLEAVED, ("multiplier",))
def multiplier_order(x, w, b):
    y = np.zeros((len(x), 6, 4))
    for q in range(2):
        for c in range(3):
            for k in range(3):
                y[:, q * 3 + c] += w[c * 2 + q, 0, k] * x[:, c, k : k + 4]
    return y + b[:, None]


@TABLE.dx(MULTIPLIER, *INTERLEAVED, ("multiplier",))
def multiplier_order_in_dx(x, w, dy):
    dx = np.zeros(x.shape)
    for o in range(6):
        for k in range(3):
            dx[:, o % 3, k : k + 4] += w[o, 0, k] * dy[:, o]
    return dx


@TABLE.dw(DEPTHWISE, ("sum", "channel"), ("all channels",), ("groups", "ignored"))
def depthwise_dw_summed(x, w, dy):
    dw = np.zeros(w.shape)
    for o in range(3):
        for c in range(3):
            for k, m in np.ndindex(2, 3):
                dw[o, 0, k, m] += np.sum(x[:, c, k : k + 3, m : m + 3] * dy[:, o])
    return dw


@TABLE.dx(UP_GROUPS, *FIRST_GROUP)
def transposed_first_group_in_dx(x, w, dy):
    dx = np.zeros(x.shape)
    for c in range(4):
        for i, q, k in np.ndindex(4, 2, 3):
            dx[:, c, i] += w[c % 2, q, k] * dy[:, 2 * (c // 2) + q, 2 * i + k]
    return dx


@TABLE.db(GROUPS, *FIRST_GROUP)
def first_group_for_all_in_db(x, w, dy):
    return np.tile(dy[:, :3].sum(axis=(0, 2, 3)), 2)


# Channels, and what is returned where


OUTPUT_INDEX = (("output channel", "index"), ("output channel", "for the input"), *CHANNELS)


@TABLE.dx(SQUARE, *OUTPUT_INDEX)
def dx_under_the_output_channel(x, w, dy):
    dx = np.zeros(x.shape)
    for n, o, i in np.ndindex(*dy.shape):
        for c, k in np.ndindex(3, 2):
            dx[n, o, i + k] += w[o, c, k] * dy[n, o, i]
    return dx


@TABLE.dx(cd.Conv((3, 3, 4), out_channels=2, kernel=2), *OUTPUT_INDEX)
def dx_under_fewer_output_channels(x, w, dy):
    dx = np.zeros(x.shape)
    for n, o, i, j in np.ndindex(*dy.shape):
        for c in range(3):
            dx[n, o, i : i + 2, j : j + 2] += w[o, c] * dy[n, o, i, j]
    return dx


@TABLE.dw(SQUARE, *CHANNELS)
def dw_channels_exchanged(x, w, dy):
    dw = np.zeros(w.shape)
    for k in range(2):
        dw[:, :, k] = np.einsum("nci,noi->co", x[:, :, k : k + 4], dy)
    return dw


@TABLE.y(UP_SQUARE, *CHANNELS)
def transposed_weights_of_a_convolution(x, w, b):
    y = np.zeros((len(x), 2, 6, 6))
    for k, m in np.ndindex(2, 2):
        y[:, :, k::2, m::2] = np.einsum("oc,ncij->noij", w[:, :, k, m], x)
    return y + b[:, None, None]


@TABLE.made(IMAGE, dx=EXCHANGED, dw=EXCHANGED)
def dx_and_dw_exchanged():
    right = plain(IMAGE)

    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        return dw, dx, db

    return pair(right.forward, backward)


@TABLE.made(POINT, dw=EXCHANGED, db=EXCHANGED)
def dw_and_db_exchanged():
    right = plain(POINT)

    def backward(x, w, dy):
        dx, dw, db = right.backward(x, w, dy)
        return dx, db, dw

    return pair(right.forward, backward)


# Linear layers and tie maps


LINEAR = cd.Linear(4, out_features=3)
LINEAR_SQUARE = cd.Linear(3, out_features=3)
LINEAR_WORDS = (("transposed",), ("inputs and outputs", "exchanged"))


@TABLE.dw(LINEAR, *LINEAR_WORDS)
def linear_dw_transposed(x, w, dy):
    return x.T @ dy


@TABLE.dw(LINEAR_SQUARE, *LINEAR_WORDS)
def square_linear_dw_transposed(x, w, dy):
    dw = np.zeros((3, 3))
    for n in range(len(x)):
        dw += np.outer(x[n], dy[n])
    return dw


@TABLE.y(LINEAR_SQUARE, *LINEAR_WORDS)
def square_linear_weights_transposed(x, w, b):
    return x @ w + b


@TABLE.dx(LINEAR_SQUARE, *LINEAR_WORDS)
def square_linear_dx_transposed(x, w, dy):
    return dy @ w.T


@TABLE.dw(LINEAR, ("mean", "batch"), ("mean", "sample"))
def linear_dw_mean(x, w, dy):
    return dy.T @ x / len(x)


@TABLE.db(LINEAR, ("sum", "batch"), ("per sample",), ("sum", "sample"), ("first sample",))
def linear_db_not_summed(x, w, dy):
    return dy[0]


TIED = cd.TieMap.from_index([[0, 1, -1, 2], [-1, 0, 1, 2], [1, -1, 0, 0]])
INDEX = np.array([[0, 1, -1, 2], [-1, 0, 1, 2], [1, -1, 0, 0]])
SIGNS = np.array([[1, 0, -1], [0, 1, 1]])
SIGNED = cd.TieMap.from_index([[0, -1, 1], [-1, 0, 1]], SIGNS)


class Tied:
    """A layer of tied weights, entry by entry."""

    def matrix(self, w):
        matrix = np.zeros(INDEX.shape)
        for r, c in np.ndindex(*INDEX.shape):
            if INDEX[r, c] >= 0:
                matrix[r, c] = w[INDEX[r, c]]
        return matrix

    def forward(self, x, w, b):
        return x @ self.matrix(w).T + b

    def dw(self, x, w, dy):
        of_entries = dy.T @ x
        dw = np.zeros(len(w))
        for r, c in np.ndindex(*INDEX.shape):
            if INDEX[r, c] >= 0:
                dw[INDEX[r, c]] += of_entries[r, c]
        return dw

    def backward(self, x, w, dy):
        return dy @ self.matrix(w), self.dw(x, w, dy), dy.sum(axis=0)


@TABLE.made(TIED, dw=(("+=",), ("last", "cop"), ("last", "entry")))
def tied_dw_overwritten():
    class Overwritten(Tied):
        def dw(self, x, w, dy):
            of_entries = dy.T @ x
            dw = np.zeros(len(w))
            for r, c in np.ndindex(*INDEX.shape):
                if INDEX[r, c] >= 0:
                    dw[INDEX[r, c]] = of_entries[r, c]
            return dw

    return Overwritten()


@TABLE.made(TIED, dw=(("mean", "cop"), ("mean", "entries"), ("averag",)))
def tied_dw_averaged():
    class Averaged(Tied):
        def dw(self, x, w, dy):
            copies = np.bincount(INDEX[INDEX >= 0])
            return super().dw(x, w, dy) / copies

    return Averaged()


@TABLE.made(SIGNED, dw=(("coefficient",), ("sign",)))
def coefficients_ignored_in_dw():
    def matrix(w):
        return SIGNS * np.array([[w[0], 0, w[1]], [0, w[0], w[1]]])

    def backward(x, w, dy):
        of_entries = dy.T @ x
        dw = [of_entries[0, 0] + of_entries[1, 1], of_entries[0, 2] + of_entries[1, 2]]
        return dy @ matrix(w), np.array(dw), dy.sum(axis=0)

    return pair(lambda x, w, b: x @ matrix(w).T + b, backward)


# Their nearest right relatives


for layer in (GROUPS, GROUPS_SIGNAL, MULTIPLIER, UP_GROUPS, LINEAR):
    TABLE.made(layer, name=f"right channels of {layer}")(lambda layer=layer: plain(layer))
TABLE.made(TIED, name="right ties")(Tied)


@TABLE.dw(LINEAR)
def right_linear_dw(x, w, dy):
    return (x.T @ dy).T


@TABLE.y(MULTIPLIER)
def right_multiplier_order(x, w, b):
    y = np.zeros((len(x), 6, 4)) + b[:, None]
    for q, c, k in np.ndindex(2, 3, 3):
        y[:, c * 2 + q] += w[c * 2 + q, 0, k] * x[:, c, k : k + 4]
    return y
