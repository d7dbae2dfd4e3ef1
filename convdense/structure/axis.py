"""One axis of a tie map as entries (row, column, tap).

A convolution treats its axes independently of each other, so a tie map is made of one small list
of entries for each axis. Stride, dilation, padding, padding mode and flip become indices in
`window` and nowhere else in this folder; direct convolution has its own index arithmetic, in
``direct/``, so that the two can be compared.
"""

from collections.abc import Sequence
from math import gcd

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, as_array, complain, shaped
from convdense.structure.progressions import ROW, TAP, Axis, ceil_div

WEIGHTS_LIMIT = 2**31  # of `listed`: one weight number too large would ask for as many weights


def _progressions(
    firsts: Sequence[npt.ArrayLike],
    steps: Sequence[npt.ArrayLike],
    lengths: npt.ArrayLike,
    sizes: tuple[int, int, tuple[int, ...]],
) -> Axis:
    """Return an axis of progressions, empty ones left out: rows, columns, taps, places of each."""
    each = (*firsts, *steps, lengths)
    held = np.empty((len(each), *np.broadcast(*firsts, lengths).shape), np.intp)
    for row, part in zip(held, each, strict=True):
        row[...] = part
    held = held.reshape(len(each), -1)  # (9, progressions)
    keep = held[-1] > 0
    if not keep.all():
        held = held[:, keep]
    return Axis(held[:4], held[4:8], held[8], *sizes)


def window(
    n_in: int,
    n_out: int,
    kernel: int,
    *,
    stride: int,
    dilation: int,
    begin: int,
    end: int = 0,
    input_dilation: int = 1,
    mode: str = "zeros",
    flip: bool,
) -> Axis:
    """Return the entries of a kernel sliding along one axis.

    Output o meets cell ``o*stride + t*dilation - begin`` through tap t, or through tap
    ``kernel-1-t`` where the kernel is flipped; `begin` cells of padding stand before the input,
    `end` after it. A cell outside the input is dropped ("zeros") or replaced by the one it copies.
    A dilated input has its cells at the multiples of `input_dilation`.

    Examples
    --------
    >>> axis = window(4, 3, 2, stride=1, dilation=1, begin=0, flip=False)
    >>> list(zip(axis.rows.tolist(), axis.cols.tolist(), axis.taps.tolist()))
    [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 2, 1), (2, 2, 0), (2, 3, 1)]
    """
    steps = np.arange(kernel)[:, None]
    taps = kernel - 1 - steps if flip else steps
    start = steps * dilation - begin  # (kernel, 1): the cell of output 0
    first = 0
    left = n_in * input_dilation
    if mode != "zeros":
        first = max(0, -begin)  # what is cropped is not copied from
        left = n_in - first - max(0, -end)
    edges = first + _edges(left, start - first, (n_out - 1) * stride, mode)

    # A progression for each step of the window and each stretch between edges, (kernel, stretches):
    # the outputs whose cells lie there and, where the input is dilated, are a cell of it.
    bounds = np.minimum(np.maximum(ceil_div(edges - start, stride), 0), n_out)
    common = gcd(stride, input_dilation)
    period = input_dilation // common
    inverse = pow(stride // common, -1, period)
    residue = -start // common * inverse % period  # of the outputs, where there are any
    lowest = bounds[:, :-1]
    rows = lowest + (residue - lowest) % period
    lengths = ceil_div(bounds[:, 1:] - rows, period) * (start % common == 0)

    cells = rows * stride + start
    if mode == "zeros":
        cols, col_steps = cells // input_dilation, stride // common
    else:
        cols = first + _source(cells - first, left, mode)
        col_steps = first + _source(cells + stride - first, left, mode) - cols
    places, place_steps = rows * kernel + steps, period * kernel  # output by output
    return _progressions(
        (rows, cols, taps, places),
        (period, col_steps, 0, place_steps),
        lengths,
        (n_out, n_in, (kernel,)),
    )


def _edges(n: int, start: Array, reach: int, mode: str) -> Array:
    """Return where cells begin to copy by another rule, sorted; zeros: where they are inside.

    `start` are the cells of output 0 and `reach` how much farther the last output's are.
    """
    if mode == "zeros":
        return np.array([0, n])
    low, high = int(start.min()), int(start.max()) + reach + 1
    turns = np.arange(low // n, high // n + 1) if mode == "circular" else np.arange(-1, 2)
    inner = np.append(turns * n, 1 - n)
    return np.unique(np.concatenate(([low, high], inner.clip(low, high))))


def _source(cells: Array, n: int, mode: str) -> Array:
    """Return the input cell whose value each cell copies: its own inside the input.

    A cell is mirrored at most once at each edge, for `Conv` refuses wider padding.
    """
    if mode == "circular":
        return np.mod(cells, n)
    if mode == "replicate":
        return np.asarray(cells.clip(0, n - 1))
    if mode == "reflect":
        # Mirrored at the centre of the edge cell, which is not repeated: first at 0, then at n - 1.
        mirrored = np.abs(cells)
        return np.asarray((n - 1) - np.abs((n - 1) - mirrored))
    if mode == "symmetric":
        # Mirrored at the outer side of the edge cell, which is repeated.
        mirrored = np.where(cells < 0, -1 - cells, cells)
        return np.where(mirrored >= n, 2 * n - 1 - mirrored, mirrored)
    return cells


def channels(n_out: int, n_in: int, groups: int) -> Axis:
    """Return the entries of the channels: dense within each group, nothing across groups.

    Examples
    --------
    >>> axis = channels(2, 4, groups=2)
    >>> list(zip(axis.rows.tolist(), axis.cols.tolist(), axis.taps.tolist()))
    [(0, 0, 0), (0, 1, 1), (1, 2, 2), (1, 3, 3)]
    """
    outs, ins = n_out // groups, n_in // groups  # of each group
    # Each group of outputs reads the inputs of its own group. A progression for each output, from
    # input to input; a tap, the flattened (output, input within its group), is a place as well.
    rows = np.arange(n_out)
    firsts = (rows, rows // outs * ins, rows * ins, rows * ins)
    return _progressions(firsts, (0, 1, 1, 1), ins, (n_out, n_in, (n_out, ins)))


def parts(n_in: int, n_out: int) -> Axis:
    """Return the entries of adaptive pooling: the input in `n_out` parts of nearly one size.

    Output o of m meets the cells, of n, from ``floor(o n / m)`` up to, and without,
    ``ceil((o+1) n / m)``.

    Examples
    --------
    >>> axis = parts(5, 2)
    >>> list(zip(axis.rows.tolist(), axis.cols.tolist()))
    [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 4)]
    """
    outs = np.arange(n_out)
    first = outs * n_in // n_out
    sizes = ceil_div((outs + 1) * n_in, n_out) - first
    places = np.cumsum(sizes) - sizes
    return _progressions((outs, first, 0, places), (0, 1, 0, 1), sizes, (n_out, n_in, ()))


def diagonal(n: int, shared: bool = True) -> Axis:
    """Return the entries of an axis left as it is: one weight for all positions, or one for each.

    Such are the channels of a pool (one weight) and of a scale for each channel.

    Examples
    --------
    >>> axis = diagonal(2, shared=False)
    >>> list(zip(axis.rows.tolist(), axis.cols.tolist(), axis.taps.tolist()))
    [(0, 0, 0), (1, 1, 1)]
    """
    tap_step, tap_shape = (0, ()) if shared else (1, (n,))
    return _progressions(([0], 0, 0, 0), (1, 1, tap_step, 1), n, (n, n, tap_shape))


def all_tied(axis: Axis) -> Axis:
    """Return the same entries with one weight for all of them: a window that sums."""
    return axis.mapped(lambda row, col, tap: (row, col, 0 * tap), tap_shape=())


def untied(axis: Axis) -> Axis:
    """Return the same entries with a weight of its own for every output position."""
    n = axis.n_taps
    shape = (axis.n_rows, *axis.tap_shape)  # taps are flattened (row, tap)
    return axis.mapped(lambda row, col, tap: (row, col, row * n + tap), tap_shape=shape)


def spread(n_out: int, shared: bool) -> Axis:
    """Return the entries of a bias along one axis: one weight for all outputs, or one for each.

    The bias is a layer of its own, with a single input that is 1.
    """
    return one_input(diagonal(n_out, shared))


def _check_exact(coefficients: Array) -> None:
    """Refuse coefficients that are not small multiples of 1/16.

    These are exact in every float dtype, so that they round nowhere; another number might.
    """
    needs = "small exact numbers, such as 1, -1 or 0.5: multiples of 1/16 up to 16"
    if coefficients.dtype.kind == "c":
        raise TypeError(complain("coefficient", f"dtype {coefficients.dtype}", needs))
    with np.errstate(invalid="ignore"):  # infinity % 1 is invalid, and infinity is not small
        small = np.isfinite(coefficients) & (np.abs(coefficients) <= 16)
        exact = small & (np.asarray(coefficients * 16.0) % 1 == 0)
    if not exact.all():
        do = "let a weight carry any other number"
        raise ValueError(complain("coefficient", coefficients[~exact][0], needs, do))


def one_input(axis: Axis) -> Axis:
    """Return the same entries with one input for all, as cells have that hold one number."""
    return axis.mapped(lambda row, col, tap: (row, 0 * col, tap), n_cols=1)


def every_tap(axis: Axis) -> Axis:
    """Return an entry for each output and tap of a window, wherever it may lie: with one input."""
    return _of_one_input(axis, np.zeros(axis.n_taps, np.intp), axis.n_rows, np.arange(axis.n_taps))


def outside(axis: Axis) -> Axis:
    """Return the outputs and taps that meet no input, those in padding of zeros: with one input.

    Examples
    --------
    >>> axis = outside(window(3, 3, 2, stride=1, dilation=1, begin=1, flip=False))
    >>> list(zip(axis.rows.tolist(), axis.taps.tolist()))
    [(0, 0)]
    """
    part = axis if (axis.steps[ROW] == 1).all() else axis.with_entries()
    every = np.arange(part.n_taps)
    # For each tap, the outputs that meet an input lie between 0 and n_rows in stretches. Where one
    # ends, another begins, until the next stretch; from the last of a tap it is less than nothing.
    none, end = np.zeros_like(every), np.full_like(every, part.n_rows)
    taps = np.concatenate((part.firsts[TAP], every, every))
    starts = np.concatenate((part.firsts[ROW], none, end))
    stops = np.concatenate((part.firsts[ROW] + part.lengths, none, end))
    order = np.lexsort((stops, starts, taps))
    here, there = order[:-1], order[1:]
    return _of_one_input(axis, stops[here], starts[there] - stops[here], taps[here])


def _of_one_input(axis: Axis, rows: Array, lengths: npt.ArrayLike, taps: Array) -> Axis:
    """Return so many outputs from some rows on, through these taps, with one input."""
    n = axis.n_taps
    firsts = (rows, 0, taps, rows * n + taps)
    return _progressions(firsts, (1, 0, 0, n), lengths, (axis.n_rows, 1, axis.tap_shape))


def listed(
    index: npt.ArrayLike, coefficient: Array | Sequence[Sequence[float]] | None = None
) -> Axis:
    """Return the entries of a small matrix as one axis.

    `index`, (outputs, inputs), holds the number of each cell's weight, -1 for none; `coefficient`,
    of the same shape, what that weight is multiplied with, 1 if it is absent.
    """
    array = as_array(index, "index")
    if array.dtype.kind not in "iu":
        needs = "integers: the number of each edge's weight"
        raise TypeError(complain("index", f"dtype {array.dtype}", needs))
    if array.ndim != 2 or array.size == 0:
        raise ValueError(complain("index", f"shape {array.shape}", "a matrix (outputs, inputs)"))
    if array.min() < -1 or array.max() < 0:
        needs = "numbers from -1 (held at zero) up, at least one of them a weight"
        raise ValueError(complain("index", f"{array.min()} to {array.max()}", needs))
    if array.max() >= WEIGHTS_LIMIT:
        needs = f"numbers below {WEIGHTS_LIMIT:,}, for there are as many weights"
        do = "number the weights from 0 without gaps"
        raise ValueError(complain("index", array.max(), needs, do))

    rows, cols = np.nonzero(array >= 0)  # (entries,) each
    taps = array[rows, cols].astype(np.intp)
    coefficients = None
    if coefficient is not None:
        coefficients = shaped(coefficient, "coefficient", array.shape, "index")[rows, cols]
        _check_exact(coefficients)

    n_rows, n_cols = array.shape
    n_weights = int(taps.max()) + 1
    return Axis.of(rows, cols, taps, n_rows, n_cols, (n_weights,), coefficients)
