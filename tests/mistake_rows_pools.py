"""Mistakes in pools, forward and backward."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
OVERLAP = cd.MaxPool((2, 4, 5), kernel=(2, 3), stride=1)
MAX = cd.MaxPool((2, 5, 6), kernel=2)
MAX_SIGNAL = cd.MaxPool((2, 8), kernel=3, stride=2)
MAX_PADDED = cd.MaxPool((2, 5, 6), kernel=3, stride=2, padding=1)
MAX_BEGIN = cd.MaxPool((2, 7), kernel=3, stride=2, padding=((1, 1),))
MAX_DILATED = cd.MaxPool((2, 7, 6), kernel=2, stride=(2, 1), dilation=2)
MAX_VOLUME = cd.MaxPool((1, 3, 2, 3), kernel=2, stride=1)
MIN = cd.MinPool((2, 4, 5), kernel=2, stride=1)
AVERAGE = cd.AvgPool((2, 5, 6), kernel=(2, 3), stride=(1, 2))
EDGED = cd.AvgPool((2, 5, 5), kernel=3, stride=2, padding=1, count_include_pad=False)
COUNTED = cd.AvgPool((2, 5, 5), kernel=3, stride=2, padding=1)
ADAPTIVE = cd.AvgPool((2, 8, 5), output=3)
ADAPTIVE_MAX = cd.MaxPool((2, 8), output=3)
CEIL = cd.AvgPool((2, 8), kernel=3, stride=2, ceil_mode=True)
SUM = cd.SumPool((2, 7), kernel=3, stride=2)

EQUALS = (("+=",), ("last", "overwrit"), ("last", "window"))
FLAT = (("flat",), ("all equal",), ("ties", "drop"), ("ties", "no gradient"))


def argmax_cell(window, first=True):
    """Return (row, column) of the largest cell of a window."""
    flat = window.ravel()
    best = flat.argmax() if first else flat.size - 1 - flat[::-1].argmax()
    return np.unravel_index(best, window.shape)


# = for +=


@TABLE.dx(OVERLAP, *EQUALS)
def max_equals(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        k, m = argmax_cell(x[n, c, i : i + 2, j : j + 3])
        dx[n, c, i + k, j + m] = dy[n, c, i, j]
    return dx


@TABLE.dx(OVERLAP, *EQUALS)
def max_equals_columns_first(x, dy):
    dx = np.zeros(x.shape)
    for j, i in np.ndindex(3, 3):
        for n, c in np.ndindex(len(x), 2):
            k, m = argmax_cell(x[n, c, i : i + 2, j : j + 3])
            dx[n, c, i + k, j + m] = dy[n, c, i, j]
    return dx


@TABLE.dx(OVERLAP, *EQUALS)
def max_equals_but_for_zeros(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        if dy[n, c, i, j]:
            k, m = argmax_cell(x[n, c, i : i + 2, j : j + 3])
            dx[n, c, i + k, j + m] = dy[n, c, i, j]
    return dx


@TABLE.dx(OVERLAP, *EQUALS)
def max_mask_overwrites_the_window(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        mask = np.zeros((2, 3))
        mask[argmax_cell(x[n, c, i : i + 2, j : j + 3])] = 1
        dx[n, c, i : i + 2, j : j + 3] = mask * dy[n, c, i, j]
    return dx


@TABLE.dx(MAX_VOLUME, *EQUALS)
def max_equals_in_a_volume(x, dy):
    dx = np.zeros(x.shape)
    for n, c, a, i, j in np.ndindex(*dy.shape):
        window = x[n, c, a : a + 2, i : i + 2, j : j + 2]
        d, k, m = np.unravel_index(window.argmax(), (2, 2, 2))
        dx[n, c, a + d, i + k, j + m] = dy[n, c, a, i, j]
    return dx


@TABLE.dx(MIN, *EQUALS)
def min_equals(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        k, m = divmod(int(x[n, c, i : i + 2, j : j + 2].argmin()), 2)
        dx[n, c, i + k, j + m] = dy[n, c, i, j]
    return dx


@TABLE.dx(AVERAGE, *EQUALS)
def average_equals(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        dx[n, c, i : i + 2, 2 * j : 2 * j + 3] = dy[n, c, i, j] / 6
    return dx


@TABLE.dx(SUM, *EQUALS, ("last", "tap"))
def sum_equals_by_tap(x, dy):
    dx = np.zeros(x.shape)
    for k in range(3):
        dx[:, :, k : k + 5 : 2] = dy
    return dx


@TABLE.y(AVERAGE, *EQUALS, ("last", "tap"))
def average_forward_equals(x):
    y = np.zeros((len(x), 2, 4, 2))
    for k, m in np.ndindex(2, 3):
        y[...] = x[:, :, k : k + 4, m : m + 4 : 2] / 6
    return y


# Strides, padding, dilation, windows


STRIDE = (("stride", "forgotten"), ("stride", "ignored"), ("stride", "1"))


@TABLE.y(MAX, *STRIDE)
def max_stride_forgotten(x):
    y = np.zeros((len(x), 2, 2, 3))
    for i, j in np.ndindex(2, 3):
        y[:, :, i, j] = x[:, :, i : i + 2, j : j + 2].max(axis=(2, 3))
    return y


@TABLE.dx(MAX, *STRIDE)
def max_dx_stride_forgotten(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        k, m = argmax_cell(x[n, c, i : i + 2, j : j + 2])
        dx[n, c, i + k, j + m] += dy[n, c, i, j]
    return dx


@TABLE.y(cd.AvgPool((2, 6, 6), kernel=2), *STRIDE)
def average_as_a_convolution_without_its_stride(x):
    y = np.zeros((len(x), 2, 5, 5))
    for k, m in np.ndindex(2, 2):
        y += x[:, :, k : k + 5, m : m + 5] / 4
    return y


BEGIN = (("begin", "padding"), ("begin", "ignored"), ("padding", "end"), ("shift",))


@TABLE.y(MAX_BEGIN, *BEGIN)
def max_begin_padding_ignored(x):
    padded = np.pad(x, ((0, 0), (0, 0), (0, 2)), constant_values=-np.inf)
    return np.stack([padded[:, :, 2 * i : 2 * i + 3].max(axis=2) for i in range(4)], axis=2)


@TABLE.dx(MAX_BEGIN, *BEGIN)
def max_dx_begin_padding_ignored(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i in np.ndindex(*dy.shape):
        window = x[n, c, 2 * i : 2 * i + 3]
        dx[n, c, 2 * i + window.argmax()] += dy[n, c, i]
    return dx


ONE_KERNEL = (("adaptive",), ("one kernel",), ("same kernel",), ("fixed kernel",))


@TABLE.y(ADAPTIVE, *ONE_KERNEL)
def adaptive_average_by_one_kernel(x):
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        y[:, :, i, j] = x[:, :, 2 * i : 2 * i + 4, j : j + 3].mean(axis=(2, 3))
    return y


@TABLE.dx(ADAPTIVE_MAX, *ONE_KERNEL)
def adaptive_max_dx_by_one_kernel(x, dy):
    step = 8 // 3
    size = 8 - 2 * step
    dx = np.zeros(x.shape)
    for n, c, i in np.ndindex(*dy.shape):
        first = i * step
        dx[n, c, first + x[n, c, first : first + size].argmax()] += dy[n, c, i]
    return dx


ADAPTIVE_SHORT = cd.AvgPool((2, 8), output=3)


@TABLE.y(ADAPTIVE_SHORT, *ONE_KERNEL)
def adaptive_average_by_floor(x):
    return np.stack([x[:, :, 2 * i : 2 * i + 2].mean(axis=2) for i in range(3)], axis=2)


COUNT = (("padding", "counted"), ("count_include_pad",), ("padded", "count"))


@TABLE.y(EDGED, *COUNT)
def average_counts_padding(x):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        y[:, :, i, j] = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].mean(axis=(2, 3))
    return y


@TABLE.dx(EDGED, *COUNT)
def average_dx_counts_padding(x, dy):
    dx = np.zeros((len(x), 2, 7, 7))
    for i, j in np.ndindex(3, 3):
        dx[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += dy[:, :, i, j, None, None] / 9
    return dx[:, :, 1:-1, 1:-1]


@TABLE.y(COUNTED, *COUNT, ("padding", "not counted"))
def average_does_not_count_padding(x):
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        rows = slice(max(2 * i - 1, 0), 2 * i + 2)
        columns = slice(max(2 * j - 1, 0), 2 * j + 2)
        y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


DILATION = (("dilation", "ignored"), ("dilation", "forgotten"), ("dilation", "1"))


@TABLE.dx(MAX_DILATED, *DILATION)
def dilation_ignored_backward(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        k, m = argmax_cell(x[n, c, 2 * i : 2 * i + 2, j : j + 2])
        dx[n, c, 2 * i + k, j + m] += dy[n, c, i, j]
    return dx


@TABLE.y(MAX_DILATED, *DILATION)
def dilation_ignored_forward(x):
    y = np.zeros((len(x), 2, 3, 4))
    for i, j in np.ndindex(3, 4):
        y[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, j : j + 2].max(axis=(2, 3))
    return y


ZEROS = (("pad", "0"), ("pad", "zero"))


@TABLE.y(MAX_PADDED, *ZEROS)
def max_padded_with_zeros(x):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(x), 2, 3, 3))
    for i, j in np.ndindex(3, 3):
        y[:, :, i, j] = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(2, 3))
    return y


@TABLE.y(CEIL, ("ceil",), ("last", "window"), ("divided by", "kernel"))
def ceil_window_divided_by_the_kernel(x):
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1)))
    return np.stack([padded[:, :, 2 * i : 2 * i + 3].sum(axis=2) / 3 for i in range(4)], axis=2)


@TABLE.dx(CEIL, ("ceil",), ("last", "window"))
def ceil_window_gets_no_gradient(x, dy):
    dx = np.zeros(x.shape)
    for i in range(3):
        dx[:, :, 2 * i : 2 * i + 3] += dy[:, :, i, None] / 3
    return dx


# Which cell gets the gradient


@TABLE.dx(MAX, *FLAT)
def flat_windows_dropped(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        window = x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        if window.max() == window.min():
            continue
        k, m = argmax_cell(window)
        dx[n, c, 2 * i + k, 2 * j + m] += dy[n, c, i, j]
    return dx


@TABLE.dx(MAX_SIGNAL, ("all", "larg"), ("all", "max"), ("every", "max"), ("every", "larg"))
def every_maximum_gets_all_of_it(x, dy):
    dx = np.zeros(x.shape)
    for i in range(3):
        window = x[:, :, 2 * i : 2 * i + 3]
        dx[:, :, 2 * i : 2 * i + 3] += (window == window.max(axis=2, keepdims=True)) * dy[
            :, :, i, None
        ]
    return dx


@TABLE.dx(MAX, ("last", "max"), ("last", "larg"))
def last_maximum_gets_it(x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*dy.shape):
        k, m = argmax_cell(x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], first=False)
        dx[n, c, 2 * i + k, 2 * j + m] += dy[n, c, i, j]
    return dx


@TABLE.dx(MAX, ("first sample",), ("sample 0",))
def argmax_of_the_first_sample(x, dy):
    dx = np.zeros(x.shape)
    for c, i, j in np.ndindex(*dy.shape[1:]):
        k, m = argmax_cell(x[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2])
        dx[:, c, 2 * i + k, 2 * j + m] += dy[:, c, i, j]
    return dx


@TABLE.dx(MAX_SIGNAL, ("first channel",), ("channel 0",))
def argmax_of_the_first_channel(x, dy):
    dx = np.zeros(x.shape)
    for n, i in np.ndindex(len(x), 3):
        k = x[n, 0, 2 * i : 2 * i + 3].argmax()
        dx[n, :, 2 * i + k] += dy[n, :, i]
    return dx


@TABLE.dx(AVERAGE, ("divi",), ("sum", "mean"), ("sum", "average"), ("multiplied by 6",))
def average_dx_not_divided(x, dy):
    dx = np.zeros(x.shape)
    for i, j in np.ndindex(4, 2):
        dx[:, :, i : i + 2, 2 * j : 2 * j + 3] += dy[:, :, i, j, None, None]
    return dx


@TABLE.y(MIN, ("max", "min"), ("larg",))
def max_for_min(x):
    y = np.zeros((len(x), 2, 3, 4))
    for i, j in np.ndindex(3, 4):
        y[:, :, i, j] = x[:, :, i : i + 2, j : j + 2].max(axis=(2, 3))
    return y


@TABLE.y(cd.AvgPool((2, 5), kernel=2, divisor_override=3), ("divisor_override",), ("divi",))
def divisor_override_ignored(x):
    return np.stack([x[:, :, 2 * i : 2 * i + 2].mean(axis=2) for i in range(2)], axis=2)


# Their nearest right relatives


for layer in (OVERLAP, MAX_PADDED, MAX_DILATED, AVERAGE, EDGED, ADAPTIVE, ADAPTIVE_MAX, CEIL, MIN):
    TABLE.made(layer, name=f"right windows of {layer}")(lambda layer=layer: plain(layer))


@TABLE.dx(OVERLAP)
def right_mask_added(x, dy):
    dx = np.zeros(x.shape)
    for j, i in np.ndindex(3, 3):
        for n, c in np.ndindex(len(x), 2):
            mask = np.zeros((2, 3))
            mask[argmax_cell(x[n, c, i : i + 2, j : j + 3])] = 1
            dx[n, c, i : i + 2, j : j + 3] += mask * dy[n, c, i, j]
    return dx


@TABLE.made(MAX)
def right_assignment_without_overlaps():
    def forward(x):
        return x[:, :, :4].reshape(len(x), 2, 2, 2, 3, 2).max(axis=(3, 5))

    def backward(x, dy):
        dx = np.zeros(x.shape)
        for n, c, i, j in np.ndindex(*dy.shape):
            k, m = argmax_cell(x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2])
            dx[n, c, 2 * i + k, 2 * j + m] = dy[n, c, i, j]
        return dx

    return pair(forward, backward)
