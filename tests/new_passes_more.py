"""Wrong passes in many hands: transposed, causal, Winograd, pools, tied and linear layers."""

from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()

REVERSED = (("revers",), ("flip",), ("rotated",))
SHIFTED = (("shift",), ("not cropped",), ("begin",))

# Transposed layers

UP = cd.ConvTranspose((2, 4), out_channels=2, kernel=3, stride=2, padding=1)
UP_IMAGE = cd.ConvTranspose((1, 3, 2), out_channels=2, kernel=(2, 3), stride=(1, 2))
UP_FOUR = cd.ConvTranspose((2, 3), out_channels=2, kernel=4, stride=2, padding=1)


def zeros_between(x, stride):
    spread = np.zeros((*x.shape[:2], (x.shape[2] - 1) * stride + 1))
    spread[:, :, ::stride] = x
    return spread


@TABLE.y(UP, *REVERSED)
def zeros_inserted_and_kernel_not_flipped(x, w, b):
    padded = np.pad(zeros_between(x, 2), ((0, 0), (0, 0), (1, 1)))
    return np.einsum("nctk,cok->not", sliding_window_view(padded, 3, axis=2), w) + b[:, None]


@TABLE.y(UP_FOUR, ("padding",), ("crop",), ("shape",))
def zeros_inserted_and_padded_by_p(x, w, b):
    padded = np.pad(zeros_between(x, 2), ((0, 0), (0, 0), (1, 1)))
    windows = sliding_window_view(padded, 4, axis=2)
    return np.einsum("nctk,cok->not", windows, w[:, :, ::-1]) + b[:, None]


@TABLE.y(UP_IMAGE, ("bias", "overlap"), ("bias", "each"), ("bias", "every"), ("bias", "time"))
def bias_spread_with_every_cell(x, w, b):
    y = np.zeros((len(x), 2, 4, 5))
    for (n, c, i, j), value in np.ndenumerate(x):
        y[n, :, i : i + 2, 2 * j : 2 * j + 3] += value * w[c] + b[:, None, None]
    return y


@TABLE.dw(UP_IMAGE, ("first sample",), ("sample 0",))
def dw_forgets_the_batch(x, w, dy):
    taps = [
        [np.einsum("cij,oij->co", x[0], dy[0, :, k : k + 3, m : m + 3 : 2]) for m in range(3)]
        for k in range(2)
    ]
    return np.transpose(taps, (2, 3, 0, 1))


@TABLE.dx(UP_FOUR, *SHIFTED, ("crop",), ("padding",))
def dx_reads_from_the_first_output(x, w, dy):
    longer = np.concatenate([dy, np.zeros((*dy.shape[:2], 2))], axis=2)
    windows = sliding_window_view(longer, 4, axis=2)[:, :, ::2]
    return np.einsum("notk,cok->nct", windows, w)


UP_GROUPS = cd.ConvTranspose((4, 3), out_channels=6, kernel=2, stride=2, groups=2)


@TABLE.y(UP_GROUPS, ("output channel", "interleaved"), ("group", "order"), ("group", "mod"))
def transposed_groups_interleaved(x, w, b):
    y = np.empty((len(x), 6, 6))
    for g in range(2):
        part = np.einsum("nct,cok->notk", x[:, 2 * g : 2 * g + 2], w[2 * g : 2 * g + 2])
        y[:, g::2] = part.reshape(len(x), 3, 6)
    return y + b[:, None]


# Causal layers, sequences

CAUSAL = cd.Conv((2, 8), out_channels=2, kernel=3, padding=((2, 0),))
MAMBA = cd.Conv((3, 8), out_channels=3, kernel=4, padding=((3, 0),), groups=3)


@TABLE.y(MAMBA, *REVERSED)
def first_weight_meets_the_present(x, w, b):
    y = b[:, None] + w[:, 0, :1] * x
    for lag in range(1, 4):
        y[:, :, lag:] += w[:, 0, lag : lag + 1] * x[:, :, :-lag]
    return y


@TABLE.y(CAUSAL, ("sample before",), ("previous sample",), ("between samples",), ("other sample",))
def state_kept_between_sequences(x, w, b):
    state = np.zeros((2, 2))
    y = np.empty((len(x), 2, 8))
    for n, sequence in enumerate(x):
        for t, token in enumerate(sequence.T):
            window = np.column_stack([state, token])
            y[n, :, t] = np.tensordot(w, window, 2) + b
            state = window[:, 1:]
    return y


@TABLE.y(CAUSAL, ("chunk",), ("block",), ("tile",), ("boundar",))
def chunks_forget_what_came_before(x, w, b):
    parts = []
    for begin, end in pairwise([0, 4, 8]):
        chunk = np.pad(x[:, :, begin:end], ((0, 0), (0, 0), (2, 0)))
        parts.append(np.einsum("nctk,ock->not", sliding_window_view(chunk, 3, axis=2), w))
    return np.concatenate(parts, axis=2) + b[:, None]


@TABLE.dx(CAUSAL, ("chunk",), ("block",), ("tile",), ("boundar",))
def chunks_forget_what_comes_after(x, w, dy):
    dx = np.zeros(x.shape)
    for begin in (0, 4):
        for t in range(begin, begin + 4):
            for k in range(3):
                s = t + k - 2
                if begin <= s:
                    dx[:, :, s] += dy[:, :, t] @ w[:, :, k]
    return dx


@TABLE.dw(MAMBA, ("causal",), ("shift",), ("padding", "begin"), ("begin",))
def dw_looks_one_token_back(x, w, dy):
    before = np.pad(x, ((0, 0), (0, 0), (4, 0)))[:, :, :-1]
    taps = [(before[:, :, k : k + 8] * dy).sum(axis=(0, 2)) for k in range(4)]
    return np.stack(taps, axis=-1)[:, None]


# Winograd

SMALL = cd.Conv((2, 4, 6), out_channels=2, kernel=3)


def tile_by_tile(x, w, channels_of, step=2):
    """F(2x2, 3x3), written out by sums and differences."""

    def rows_of_data(d):
        return np.stack([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]])

    def rows_of_kernel(g):
        return np.stack([g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]])

    def rows_of_result(m):
        return np.stack([m[0] + m[1] + m[2], m[1] - m[2] - m[3]])

    def both(rows, array):
        return rows(rows(array).swapaxes(0, 1)).swapaxes(0, 1)

    kernels = both(rows_of_kernel, w.transpose(2, 3, 0, 1))[:, :, None]
    y = np.zeros((len(x), len(w), x.shape[2] - 2, x.shape[3] - 2))
    padded = np.pad(x, ((0, 0), (0, 0), (0, 4), (0, 4)))
    for i in range(0, y.shape[2], 2):
        for j in range(0, y.shape[3], 2):
            r, s = i // 2 * step, j // 2 * step
            d = padded[:, :, r : r + 4, s : s + 4].transpose(2, 3, 0, 1)
            data = both(rows_of_data, d)[:, :, :, None]
            result = both(rows_of_result, channels_of(data, kernels))
            y[:, :, i : i + 2, j : j + 2] = result.transpose(2, 3, 0, 1)
    return y


def summed(data, kernels):
    return (data * kernels).sum(axis=4)


def of_the_last_channel(data, kernels):
    for c in range(data.shape[4]):
        total = data[..., c] * kernels[..., c]
    return total


@TABLE.y(SMALL, ("+=",), ("last", "channel"))
def winograd_keeps_the_last_channel(x, w, b):
    return tile_by_tile(x, w, of_the_last_channel) + b[:, None, None]


@TABLE.y(SMALL, ("tile",), ("winograd",), ("overlap",), ("position",))
def winograd_tiles_do_not_overlap(x, w, b):
    return tile_by_tile(x, w, summed, step=4) + b[:, None, None]


@TABLE.y(SMALL)
def right_winograd_by_sums_and_differences(x, w, b):
    return tile_by_tile(x, w, summed) + b[:, None, None]


# Pools

MAX = cd.MaxPool((2, 5, 7), kernel=2)
WIDE = cd.MaxPool((2, 4, 6), kernel=(2, 3))
AVERAGE = cd.AvgPool((2, 7), kernel=3, stride=2)
PADDED = cd.AvgPool((1, 4, 5), kernel=3, stride=1, padding=1)


@TABLE.y(MAX, *SHIFTED, ("left over",), ("leftover",))
def first_row_dropped_for_the_last(x):
    n, c = x.shape[:2]
    return x[:, :, 1:, 1:].reshape(n, c, 2, 2, 3, 2).max(axis=5).max(axis=3)


@TABLE.dx(MAX, ("all", "larg"), ("all", "max"), ("every", "max"), ("every", "larg"))
def mask_of_the_upsampled_maximum(x, dy):
    y = np.maximum.reduce([x[:, :, i:4:2, j:6:2] for i in (0, 1) for j in (0, 1)])
    up = np.ones((2, 2))
    dx = np.zeros(x.shape)
    dx[:, :, :4, :6] = np.kron(dy, up) * (np.kron(y, up) == x[:, :, :4, :6])
    return dx


@TABLE.dx(WIDE, ("rows", "columns"), ("argmax",), ("column by column",), ("axes",))
def argmax_unravelled_by_the_other_side(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dy.shape):
        best = x[n, c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].argmax()
        column, row = divmod(best, 2)
        dx[n, c, 2 * i + row, 3 * j + column] += dy[n, c, i, j]
    return dx


@TABLE.dx(AVERAGE, ("divi",), ("multiplied",))
def divided_by_the_stride(x, dy):
    dx = np.zeros(x.shape)
    for t in range(3):
        dx[..., 2 * t : 2 * t + 3] += dy[..., t, None] / 2
    return dx


@TABLE.y(AVERAGE, ("first", "cell"), ("tap",), ("first", "left out"))
def running_sum_off_by_one(x):
    running = np.concatenate([np.zeros((*x.shape[:2], 1)), np.cumsum(x, axis=2)], axis=2)
    begins = np.arange(3) * 2
    return (running[:, :, begins + 3] - running[:, :, begins + 1]) / 3


@TABLE.dx(PADDED, *SHIFTED, ("crop",))
def padding_cut_from_one_side(x, dy):
    share = np.pad(dy / 9, ((0, 0), (0, 0), (2, 2), (2, 2)))
    spread = sliding_window_view(share, (3, 3), axis=(2, 3)).sum(axis=(4, 5))
    return spread[:, :, :-2, :-2]


@TABLE.y(MAX, ("channel",))
def maximum_over_channels_too(x):
    windows = sliding_window_view(x, (2, 2), axis=(2, 3))[:, :, ::2, ::2]
    return np.repeat(windows.max(axis=(1, 4, 5))[:, None], 2, axis=1)


@TABLE.y(WIDE, ("absolute",), ("magnitude",), ("sign",))
def largest_magnitude(x):
    windows = sliding_window_view(x, (2, 3), axis=(2, 3))[:, :, ::2, ::3]
    return abs(windows).max(axis=(-2, -1))


@TABLE.y(cd.SumPool((2, 3, 4), kernel=(2, 2)), ("mean",), ("divi",), ("average",))
def mean_for_sum(x):
    return np.mean([x[:, :, i:2:2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


@TABLE.y(cd.MaxPool((1, 6), kernel=3, stride=2, ceil_mode=True), ("ceil",), ("shape",))
def ceil_mode_ignored(x):
    outputs = (x.shape[-1] - 3) // 2 + 1
    return np.stack([x[..., 2 * t : 2 * t + 3].max(axis=-1) for t in range(outputs)], axis=-1)


@TABLE.dx(cd.MinPool((2, 8), kernel=3, stride=2), ("max",), ("larg",))
def argmax_for_argmin(x, dy):
    windows = sliding_window_view(x, 3, axis=2)[:, :, ::2]
    at = windows.argmax(axis=-1) + 2 * np.arange(3)
    dx = np.zeros(x.shape)
    for index, cell in np.ndenumerate(at):
        dx[(*index[:2], cell)] += dy[index]
    return dx


@TABLE.dx(cd.AvgPool((2, 3, 4), output=1), ("divi",), ("sum",), ("multiplied",))
def global_average_gradient_not_divided(x, dy):
    return np.ones(x.shape) * dy


# Without a window


@TABLE.dw(cd.Linear(3, 2), ("+=",), ("last", "sample"))
def outer_product_of_the_last_sample(x, w, dy):
    for row, gradient in zip(x, dy, strict=True):
        dw = gradient[:, None] @ row[None, :]
    return dw


LOCAL = cd.LocallyConnected((1, 5), out_channels=2, kernel=2)


class OwnWeights:
    """One kernel for each position."""

    def forward(self, x, w, b):
        return np.einsum("nctk,octk->not", sliding_window_view(x, 2, axis=2), w) + b

    def backward(self, x, w, dy):
        shares = np.einsum("not,octk->nctk", dy, w)
        dx = np.zeros(x.shape)
        dx[:, :, :-1] += shares[..., 0]
        dx[:, :, 1:] += shares[..., 1]
        return dx, self.dw(x, w, dy), dy.sum(axis=0)

    def dw(self, x, w, dy):
        return np.einsum("not,nctk->octk", dy, sliding_window_view(x, 2, axis=2))


@TABLE.made(LOCAL, dw=(("tied",), ("positions", "sum"), ("shared",), ("position", "same")))
def gradient_of_shared_weights():
    class Shared(OwnWeights):
        def dw(self, x, w, dy):
            own = super().dw(x, w, dy)
            return np.broadcast_to(own.sum(axis=2, keepdims=True), own.shape).copy()

    return Shared()


TABLE.made(LOCAL, name="right own weights")(OwnWeights)


@TABLE.y(MAMBA)
def right_lags(x, w, b):
    y = b[:, None] + w[:, 0, 3:] * x
    for lag in range(1, 4):
        y[:, :, lag:] += w[:, 0, 3 - lag : 4 - lag] * x[:, :, :-lag]
    return y


@TABLE.made(cd.MinPool((2, 8), kernel=3, stride=2))
def right_minimum_by_signs():
    of_max = plain(cd.MaxPool((2, 8), kernel=3, stride=2))
    return pair(lambda x: -of_max.forward(-x), lambda x, dy: of_max.backward(-x, dy))
