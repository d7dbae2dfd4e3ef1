"""One axis of a tie map as entries (row, column, tap).

A convolution treats its axes independently of each other, so a tie map is made of one small list
of entries for each axis. Stride, dilation, padding, padding mode and flip become indices in
`window` and nowhere else in this folder; direct convolution has its own index arithmetic, in
``direct/``, so that the two can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, as_array, complain, shaped
from convdense._util.frozen import Frozen, freeze

WEIGHTS_LIMIT = 2**31  # of `listed`: one weight number too large would ask for as many weights


@dataclass(frozen=True, eq=False)
class Axis(Frozen):
    """The entries of one axis: which output position meets which input position through which tap.

    A weight is multiplied with its entry's coefficient, a small exact number.
    """

    rows: Array  # (entries,) int: output position of every entry
    cols: Array  # (entries,) int: input position
    taps: Array  # (entries,) int: flattened tap
    n_rows: int  # output positions
    n_cols: int  # input positions
    tap_shape: tuple[int, ...]  # of this axis' part of the weight array
    coefficients: Array | None = None  # (entries,); None stands for 1 everywhere

    def __post_init__(self) -> None:
        for array in (self.rows, self.cols, self.taps, self.coefficients):
            freeze(array)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_taps(self) -> int:
        """Number of taps."""
        return prod(self.tap_shape)

    @property
    def T(self) -> "Axis":  # noqa: N802  (NumPy's name)
        """The same entries with outputs and inputs exchanged."""
        return replace(self, rows=self.cols, cols=self.rows, n_rows=self.n_cols, n_cols=self.n_rows)

    @property
    def absolute(self) -> "Axis":
        """The same entries with the absolute values of their coefficients."""
        if self.coefficients is None:
            return self
        return replace(self, coefficients=np.abs(self.coefficients))

    def take(self, keep: Array | slice) -> "Axis":
        """Return the entries selected by a mask, an index array or a slice; n_rows, n_cols stay."""
        coefficients = None if self.coefficients is None else self.coefficients[keep]
        rows, cols, taps = self.rows[keep], self.cols[keep], self.taps[keep]
        return replace(self, rows=rows, cols=cols, taps=taps, coefficients=coefficients)

    def between(self, first: int, stop: int) -> "Axis":
        """Return the outputs from `first` up to `stop` as an axis of their own."""
        part = self.take((self.rows >= first) & (self.rows < stop))
        return replace(part, rows=part.rows - first, n_rows=stop - first)

    def cell(self, row: int, col: int) -> "Axis":
        """Return the entries of one cell as an axis of one output and one input."""
        part = self.take((self.rows == row) & (self.cols == col))
        zeros = np.zeros_like(part.rows)
        return Axis(zeros, zeros, part.taps, 1, 1, self.tap_shape, part.coefficients)


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
    # Every pair of an output and a step of the window, (n_out * kernel,), output by output.
    rows = np.repeat(np.arange(n_out), kernel)
    steps = np.tile(np.arange(kernel), n_out)
    cells = rows * stride + steps * dilation - begin  # negative, or n_in and more, in the padding
    taps = kernel - 1 - steps if flip else steps
    if mode != "zeros":
        first = max(0, -begin)  # what is cropped is not copied from
        left = n_in - first - max(0, -end)
        cols = first + _source(cells - first, left, mode)
        return Axis(rows, cols, taps, n_out, n_in, (kernel,))

    inside = (cells >= 0) & (cells < n_in * input_dilation) & (cells % input_dilation == 0)
    cols = cells // input_dilation
    return Axis(rows, cols, taps, n_out, n_in, (kernel,)).take(inside)


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
    per_group = n_in // groups
    rows = np.repeat(np.arange(n_out), per_group)
    within = np.tile(np.arange(per_group), n_out)  # number of the input channel within its group

    # Each group of outputs reads the inputs of its own group, which start at group * per_group.
    group = rows // (n_out // groups)
    cols = group * per_group + within
    taps = rows * per_group + within  # flattened (output channel, input channel within its group)
    return Axis(rows, cols, taps, n_out, n_in, (n_out, per_group))


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
    stop = -(-(outs + 1) * n_in // n_out)  # ceil(a / b) = -floor(-a / b)
    rows = np.repeat(outs, stop - first)
    cols = np.concatenate([np.arange(a, b) for a, b in zip(first, stop, strict=True)])
    return Axis(rows, cols, np.zeros_like(rows), n_out, n_in, ())


def diagonal(n: int, shared: bool = True) -> Axis:
    """Return the entries of an axis left as it is: one weight for all positions, or one for each.

    Such are the channels of a pool (one weight) and of a scale for each channel.

    Examples
    --------
    >>> axis = diagonal(2, shared=False)
    >>> list(zip(axis.rows.tolist(), axis.cols.tolist(), axis.taps.tolist()))
    [(0, 0, 0), (1, 1, 1)]
    """
    each = np.arange(n)
    if shared:
        return Axis(each, each, np.zeros_like(each), n, n, ())
    return Axis(each, each, each, n, n, (n,))


def all_tied(axis: Axis) -> Axis:
    """Return the same entries with one weight for all of them: a window that sums."""
    return replace(axis, taps=np.zeros_like(axis.taps), tap_shape=())


def untied(axis: Axis) -> Axis:
    """Return the same entries with a weight of its own for every output position."""
    taps = axis.rows * axis.n_taps + axis.taps  # flattened (row, tap)
    return replace(axis, taps=taps, tap_shape=(axis.n_rows, *axis.tap_shape))


def spread(n_out: int, shared: bool) -> Axis:
    """Return the entries of a bias along one axis: one weight for all outputs, or one for each.

    The bias is a layer of its own, with a single input that is 1.
    """
    rows = np.arange(n_out)
    zeros = np.zeros_like(rows)
    taps = zeros if shared else rows
    return Axis(rows, zeros, taps, n_out, 1, tap_shape=() if shared else (n_out,))


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
    return replace(axis, cols=np.zeros_like(axis.cols), n_cols=1)


def every_tap(axis: Axis) -> Axis:
    """Return an entry for each output and tap of a window, wherever it may lie: with one input."""
    rows = np.repeat(np.arange(axis.n_rows), axis.n_taps)
    taps = np.tile(np.arange(axis.n_taps), axis.n_rows)
    return Axis(rows, np.zeros_like(rows), taps, axis.n_rows, 1, axis.tap_shape)


def outside(axis: Axis) -> Axis:
    """Return the outputs and taps that meet no input, those in padding of zeros: with one input.

    Examples
    --------
    >>> axis = outside(window(3, 3, 2, stride=1, dilation=1, begin=1, flip=False))
    >>> list(zip(axis.rows.tolist(), axis.taps.tolist()))
    [(0, 0)]
    """
    every = every_tap(axis)
    meets = np.zeros((axis.n_rows, axis.n_taps), bool)
    meets[axis.rows, axis.taps] = True
    return every.take(~meets.ravel())


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
    return Axis(rows, cols, taps, n_rows, n_cols, (n_weights,), coefficients)
