"""Max and min pooling as a network: a tournament of ``max(x, y) = (x + y + |x - y|) / 2``.

It is made of dense layers and |.| alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, finite
from convdense.geometry import MaxPool, MinPool, Pool, paired_samples, samples
from convdense.layers.activations import Abs
from convdense.layers.base import NoMatrix, OfPool, as_samples, floating
from convdense.layers.constant import Fixed
from convdense.layers.dense_form import Step, dense_steps
from convdense.layers.direct_form import DirectPool, direct_counterpart, window_sums
from convdense.layers.error_bounds import (
    SLACK,
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    halved,
    magnitudes,
    rounded,
)
from convdense.layers.strided_sums import Strided, along_axis, blocks
from convdense.structure._tie import pool_axes, sums
from convdense.structure.axis import diagonal
from convdense.structure.progressions import Axis
from convdense.structure.tie_map import TieMap

# Up to here halves, sums and differences of two integers are exact in float64.
LARGEST_INTEGER = 2**52


@dataclass(frozen=True, eq=False, repr=False)
class Tournament(NoMatrix, OfPool):
    """Max or min pooling as a network: levels of a dense layer, |.|, and a dense layer.

    A level pairs neighbours in each window: half their sum and half their difference, then ``sum +
    |difference|`` (for the smallest: minus). Absent cells are dropped, so that windows may differ
    in size; a cell without a partner passes. The last axis comes first: so a tie within a row falls
    to its first cell and a tie between rows to the first row, that is, to the first in C order.

    Parameters
    ----------
    pool : MaxPool or MinPool
    tie_break : {"first", "split"}
        Who gets the gradient where several cells are largest: the first, as in the frameworks, or
        each pair halves it.
    layers : tuple of Fixed and Abs
        What is run, in this order.
    """

    pool: Pool
    tie_break: str
    layers: tuple[Fixed | Abs, ...]

    @property
    def depth(self) -> int:
        """Number of comparisons between an input and its output, at most."""
        return sum(isinstance(layer, Abs) for layer in self.layers)

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, shape (batch, *out_shape).

        In floats it is within ``gamma_2L max|window|`` of the largest, L the depth, ``gamma_n = n u
        / (1 - n u)`` and u the unit roundoff.

        Raises
        ------
        ValueError
            For NaN and infinity, whose differences say nothing (inf - inf), and for integers above
            2**52.
        """
        x, had_batch = samples(self, x)
        y = np.empty((len(x), *self.out_shape), x.dtype)
        for cells, winners in blocks(_comparable(x, "x"), y):
            self._strided.forward(cells, winners)
        return as_samples(y, self.out_shape, had_batch)

    def indices(self, x: npt.ArrayLike) -> Array:
        """Return where each window's winner stands, flattened in its channel's plane (PyTorch).

        The index travels with the winner, through the same layers: where these add half a
        difference of two cells or take it off, so they do with their indices. Floats are
        compared as they came; only halves of subnormal numbers round.

        Raises
        ------
        ValueError
            As for `forward`, and for tie_break="split", where a tie has no winner.

        Examples
        --------
        >>> tournament(MaxPool((1, 2, 4), kernel=2)).indices([[[1, 3, 2, 2], [0, 3, 2, 0]]])
        array([[[1, 2]]])
        """
        if self.tie_break != "first":
            needs = '"first": where several cells are largest, none of them wins'
            raise ValueError(complain("tie_break", repr(self.tie_break), needs))
        x, had_batch = samples(self, x)
        planes = _comparable(x, "x").reshape(len(x), self.in_shape[0], prod(self.in_shape[1:]))
        places = np.broadcast_to(np.arange(float(planes.shape[2])), planes.shape)
        index = halves = places.reshape(len(x), prod(self.in_shape))
        for layer, following in zip(self.layers, (*self.layers[1:], None), strict=False):
            if isinstance(layer, Abs):  # turns the sign of half a difference where x is below y
                shape = (-1, *layer.in_shape)
                turned = layer.backward(halves.reshape(shape), index.reshape(shape))
                index = turned.reshape(index.shape)
                continue
            if isinstance(following, Abs):  # a round: it compares the cells, not rounded winners
                by_plane = index.reshape(*planes.shape[:2], index.shape[1] // planes.shape[1])
                cells = np.take_along_axis(planes, by_plane.astype(np.intp), axis=2)
                halves = layer.forward(cells.reshape(index.shape))
            index = layer.forward(index)
        return as_samples(index.astype(np.int64), self.out_shape, had_batch)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx: what the layers hand back.

        A dense layer does so by its transpose, |.| by the signs of what it made positive.
        """
        x, dy, had_batch = paired_samples(self, x, dy)
        dtype = np.result_type(x, dy)
        if dtype.kind in "iu" and self.tie_break == "split":
            dtype = np.dtype(np.float64)  # a split gradient is halved
        dx = np.zeros((len(x), *self.in_shape), dtype)
        cells, upstream = _comparable(x, "x"), _comparable(dy, "dy")
        for of_x, of_dy, of_dx in blocks(cells, upstream, dx):
            self._strided.backward(of_x, of_dy, of_dx)
        return as_samples(dx, self.in_shape, had_batch)

    @cached_property
    def _strided(self) -> Strided:
        return Strided(
            tuple(x if isinstance(x, Abs) else along_axis(x.ties.axes) for x in self.layers)
        )


def tournament(pool: MaxPool | MinPool, tie_break: str = "first") -> Tournament:
    """Return the tournament of a pool, axis by axis, the last axis first."""
    if not prod(pool.out_shape):  # nothing to compare
        return Tournament(pool, tie_break, (Fixed(sums(pool)),))
    # The winner is (x + y + e |x - y|) / 2, e = +1 or -1; its derivative by x is (1 + e s) / 2, s
    # the slope of |.|. So where x = y the first, x, gets all if s = e there, and half if s = 0.
    slope_at_zero = 0 if tie_break == "split" else pool.extremum
    axes = [diagonal(n) for n in pool.in_shape]  # what leaves the layers so far passes unchanged
    layers: list[Fixed | Abs] = []
    all_windows = pool_axes(pool)  # along axes 1, 2, ...; axis 0 are the channels
    for i in range(len(all_windows), 0, -1):
        windows = all_windows[i - 1]
        for level in _levels(windows, pool.extremum):
            halves = _along(axes, i, level.halves)
            axes[i] = diagonal(level.halves.n_rows)
            shape = tuple(axis.n_rows for axis in axes)
            start, stop = level.differences
            absolute = Abs(shape, i, start, stop, slope_at_zero=slope_at_zero)
            winners = _along(axes, i, level.winners)
            axes[i] = diagonal(level.winners.n_rows)
            layers += [Fixed(halves), absolute, Fixed(winners)]
        selected = _selected(windows)
        if selected is not None:
            layers.append(Fixed(_along(axes, i, selected)))
            axes[i] = diagonal(selected.n_rows)
    return Tournament(pool, tie_break, tuple(layers))


def _along(axes: list[Axis], i: int, axis: Axis) -> TieMap:
    """Return the tie map of these axes with another one in the place of axis i."""
    return TieMap((*axes[:i], axis, *axes[i + 1 :]))


class Level(NamedTuple):
    """One level of a tournament along one axis: a dense layer, |.| of some outputs, a dense layer.

    The first gives the p half sums, then the p half differences of the pairs, then the s cells
    without a partner. `differences` says where the half differences stand: from p up to 2 p. The
    second gives one winner for each pair and each single cell, in the order of the windows.
    """

    halves: Axis  # (2 p + s, cells)
    differences: tuple[int, int]
    winners: Axis  # (p + s, 2 p + s)


def _levels(windows: Axis, sign: int) -> Iterator[Level]:
    """Yield the levels of a tournament along one axis, until every window has one cell left.

    Cells 0 and 1, 2 and 3, ... of each window are paired: ``max(x, y) = (x + y)/2 + |(x - y)/2|``,
    for the smallest with a minus.
    """
    window, cell = _sorted_cells(windows)  # (candidates,) each: whose it is, and where it stands
    n_cells = windows.n_cols
    while len(window) > windows.n_rows:  # every window has a cell, and some have several
        size = np.bincount(window)  # (windows,) candidates in each
        start = np.cumsum(size) - size  # (windows,) the number of its first one
        place = np.arange(len(window)) - start[window]  # (candidates,) 0, 1, ... within its window
        first = np.flatnonzero(place % 2 == 0)  # (p + s,) candidates 0, 2, ... of their windows
        has_partner = place[first] + 1 < size[window[first]]  # (p + s,)
        yield _level(cell, first, has_partner, n_cells, sign)

        # The winners are the candidates of the next level; they stand in the order of `first`.
        window = window[first]
        cell = np.arange(len(first))
        n_cells = len(first)


def _level(cell: Array, first: Array, has_partner: Array, n_cells: int, sign: int) -> Level:
    """Return one level.

    The candidates stand at `cell`. Those of `first` are candidates 0, 2, ... of each window; where
    one `has_partner`, the next candidate is its partner. `sign` is +1 for max, -1 for min.
    """
    x = cell[first[has_partner]]  # (p,)
    y = cell[first[has_partner] + 1]  # (p,) the partner comes next
    single = cell[first[~has_partner]]  # (s,)
    p, s = len(x), len(single)
    half_sum = np.arange(p)  # the rows of the first layer, and the columns of the second
    half_difference = p + half_sum
    passed = 2 * p + np.arange(s)

    # (x + y) / 2, (x - y) / 2, and the cells without a partner as they are
    half, one = np.full(p, 0.5), np.ones(s)
    halves = _axis(
        rows=[half_sum, half_sum, half_difference, half_difference, passed],
        cols=[x, y, x, y, single],
        coefficients=[half, half, half, -half, one],
        shape=(2 * p + s, n_cells),
    )

    # sum + |difference|, or sum - |difference|, each at the place of its window
    place = np.arange(p + s)
    of_pair, of_single = place[has_partner], place[~has_partner]
    winners = _axis(
        rows=[of_pair, of_pair, of_single],
        cols=[half_sum, half_difference, passed],
        coefficients=[np.ones(p), np.full(p, float(sign)), one],
        shape=(p + s, 2 * p + s),
    )
    return Level(halves, (p, 2 * p), winners)


def _selected(windows: Axis) -> Axis | None:
    """Return the axis that picks the cells of windows of one cell each.

    None if there is nothing to pick: levels have left the winners, or all cells pass in order.
    """
    window, cell = _sorted_cells(windows)
    if len(window) > windows.n_rows or np.array_equal(cell, np.arange(windows.n_cols)):
        return None
    shape = (windows.n_rows, windows.n_cols)
    return _axis([window], [cell], [np.ones(len(window))], shape)


def _sorted_cells(windows: Axis) -> tuple[Array, Array]:
    """Return the window and the position of every cell, sorted by window and then by position."""
    order = np.lexsort((windows.cols, windows.rows))
    return windows.rows[order], windows.cols[order]


def _axis(
    rows: Sequence[Array],
    cols: Sequence[Array],
    coefficients: Sequence[Array],
    shape: tuple[int, int],
) -> Axis:
    """Return an axis with a single weight, which `Fixed` holds at 1, from blocks of entries."""
    row = np.concatenate(rows)
    taps = np.zeros(len(row), np.intp)
    n_rows, n_cols = shape
    numbers = np.concatenate(coefficients)
    return Axis.of(row, np.concatenate(cols), taps, n_rows, n_cols, (), numbers)


def _comparable(x: Array, name: str) -> Array:
    """Return x as floats that can be halved and subtracted: exactly if they were integers."""
    if x.dtype.kind in "iu" and x.size:
        largest = max(-int(x.min()), int(x.max()))
        if largest > LARGEST_INTEGER:
            got = f"integers above {LARGEST_INTEGER:,}"
            needs = "at most 2**52, to be halved exactly"
            raise ValueError(complain(name, got, needs, "scale them down"))
    return floating(finite(x, name, "in (x + y + |x - y|) / 2 infinity meets itself"))


@dense_steps.register
def _(layer: Tournament, dtype: npt.DTypeLike = "float64") -> list[Step]:
    return [step for part in layer.layers for step in dense_steps(part, dtype)]


@direct_counterpart.register
def _(layer: Tournament) -> DirectPool:
    if layer.tie_break != "first":
        first = "the direct pool hands everything to the first of several largest"
        raise TypeError(complain("layer", repr(layer), f'tie_break="first": {first}'))
    return DirectPool(layer.pool)


def windows_that_share_a_cell(pool: Pool) -> int:
    """Return how many windows meet in one cell, at most."""
    windows = sums(pool).counts().inputs  # (*in_shape,) how many each cell is in
    return int(windows.max(initial=0))


@forward_error.register
def _(layer: Tournament, x: Value) -> Value:
    largest = magnitudes(layer)  # forward: the largest of each window; max is off by no more
    roundings = 2 * layer.depth  # a sum and a difference for each comparison
    own = rounded(roundings, largest.forward(x.magnitude), x.value.dtype)
    y = direct_counterpart(layer).forward(x.value)
    return Value(y, SLACK * largest.forward(x.error) + own)


@backward_error.register
def _(layer: Tournament, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    direct = direct_counterpart(layer)  # backward: each gradient to the winner of its window
    everywhere = window_sums(layer.pool)  # backward: each gradient to all cells of its window
    # A cell gets back half a gradient from the sum and plus or minus half from the difference:
    # together all of it or nothing, without rounding. Only where windows share a cell are their
    # gradients added up and rounded: at most 2 * shared halves at a level, bounded as one more.
    shared = windows_that_share_a_cell(layer.pool)
    terms = (2 * shared + 1) * layer.depth if shared > 1 else 0
    # One cell of the window has it all: the errors go where direct pooling sends them.
    carried = direct.backward(x.value.astype(float), dy.error)
    passed = everywhere.backward(x.magnitude, dy.magnitude)
    dtype = dy.value.dtype
    # `halved` is the error of halving, 0 but below the normal numbers.
    error = SLACK * carried + rounded(terms, passed, dtype) + halved(passed, dtype)

    undecided_windows = dy.undecided | ~_decided(layer, x)
    reached = everywhere.backward(x.magnitude, undecided_windows.astype(float))
    return Slope(direct.backward(x.value, dy.value), error, reached > 0), {}


def _decided(layer: Tournament, x: Value) -> Array:
    """Return which windows have the same winner in any order of summation, (batch, *out_shape).

    Those are windows with one cell far enough ahead, and those whose cells are all equal and carry
    no error.
    """
    batch, outputs = len(x.value), prod(layer.out_shape)
    edges = sums(layer.pool).entries()  # an entry for each window (row) and cell of it (col)

    # The smallest wins in a min pool: with the sign turned that is the largest as well.
    sign = layer.pool.extremum
    values = sign * x.value.reshape(batch, prod(layer.in_shape)).astype(float)
    winners = direct_counterpart(layer).forward(x.value).reshape(batch, outputs)
    top = sign * winners.astype(float)

    # The largest error in each window, and what the comparisons themselves round.
    largest = magnitudes(layer)
    error = largest.forward(x.error).reshape(batch, outputs)
    size = largest.forward(x.magnitude)
    own = rounded(2 * layer.depth, size, x.value.dtype).reshape(batch, outputs)

    # (batch, entries): whether a cell of the window may be its largest; whether it equals it. Two
    # orders of summation differ by 2 `error`, in the cell as in the top; `own` may come to either.
    near = values[:, edges.col] >= (top - 4 * error - 2 * own)[:, edges.row]
    equal = values[:, edges.col] == top[:, edges.row]
    rivals = _count_in_windows(near, edges.row, outputs)
    equals = _count_in_windows(equal, edges.row, outputs)
    cells = np.bincount(edges.row, minlength=outputs)  # (outputs,)
    decided = (rivals == 1) | ((equals == cells) & (error == 0))
    return np.asarray(decided.reshape(batch, *layer.out_shape))


def _count_in_windows(flags: Array, window: Array, outputs: int) -> Array:
    """Return how many entries of each window are flagged, (batch, outputs) of (batch, entries)."""
    counts = np.zeros((len(flags), outputs), int)
    for of_sample, flagged in zip(counts, flags, strict=True):
        of_sample[:] = np.bincount(window, flagged, minlength=outputs)
    return counts
