"""Axes listed entry by entry: the second way to the closed forms of `structure/axis.py`."""

import numpy as np

from convdense.structure.axis import _source
from convdense.structure.progressions import Axis


def window(n_in, n_out, kernel, stride, dilation, begin, end, mode, flip, input_dilation):
    """Every pair of an output and a step of the window, output by output."""
    rows = np.repeat(np.arange(n_out), kernel)
    steps = np.tile(np.arange(kernel), n_out)
    cells = rows * stride + steps * dilation - begin
    taps = kernel - 1 - steps if flip else steps
    if mode != "zeros":
        first = max(0, -begin)
        cols = first + _source(cells - first, n_in - first - max(0, -end), mode)
        return Axis.of(rows, cols, taps, n_out, n_in, (kernel,))
    inside = (cells >= 0) & (cells < n_in * input_dilation) & (cells % input_dilation == 0)
    return Axis.of(rows, cells // input_dilation, taps, n_out, n_in, (kernel,)).take(inside)


def channels(n_out, n_in, groups):
    """Every output channel with every input channel of its group."""
    per_group = n_in // groups
    rows = np.repeat(np.arange(n_out), per_group)
    within = np.tile(np.arange(per_group), n_out)
    cols = rows // (n_out // groups) * per_group + within
    return Axis.of(rows, cols, rows * per_group + within, n_out, n_in, (n_out, per_group))


def outside(axis):
    """Every output and tap that meet no input."""
    rows = np.repeat(np.arange(axis.n_rows), axis.n_taps)
    taps = np.tile(np.arange(axis.n_taps), axis.n_rows)
    meets = set(zip(axis.rows.tolist(), axis.taps.tolist(), strict=True))
    alone = [pair not in meets for pair in zip(rows.tolist(), taps.tolist(), strict=True)]
    return Axis.of(rows, 0 * rows, taps, axis.n_rows, 1, axis.tap_shape).take(np.array(alone, bool))
