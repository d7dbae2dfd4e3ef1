"""Upper bounds from the symbol of a convolution, ``P(theta) = sum_t W_t exp(i lag_t theta)``.

A convolution on all integers (a Laurent operator) has the norm ``sup ||P(theta)||``, channels being
the rows and columns of P, and a part of its rows and columns no larger one: that is a layer with
zero padding (Araujo et al., *On Lipschitz regularization of convolutional layers using Toeplitz
matrix theory*, 2021; Yi, *Asymptotic singular value distribution of linear convolutional layers*,
2020). A layer that pads by copying reads cells through a matrix of ones, one to a row, whose norm
is the root of how many cells copy one. With stride s a cell is one of s channels of a coarser axis,
by its remainder. A circulant matrix has the values of P at roots of unity (Sedghi, Gupta and Long,
*The singular values of convolutional layers*, 2019): no norm above the supremum.

A real trigonometric polynomial of degree d that is largest, M, at one point is at least ``M cos(d
x)`` at a distance x <= pi / d from there (M. Riesz; Duffin and Schaeffer, 1938, where 2 d may be
odd). So with N > 2 d points on a circle the largest of a grid is at least ``M cos(pi d / N)``; for
``Re u^H P v`` one axis after the other: the supremum is at most the grid's largest norm over the
product of these cosines.
"""

from collections.abc import Sequence
from math import ceil, cos, gcd, pi, prod, sqrt
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import gamma
from convdense.norms.definite import SLACK, U, norm_of_stack, size_bound
from convdense.structure.axis import channels
from convdense.structure.progressions import Axis

BUDGET, MOST = 2e10, 1e12  # operations on a grid: as many as are made, and as would be too many
FEWEST, FINEST = 4, 128  # points of a grid for each lag
CHUNK = 1 << 21  # numbers of the symbol held at a time
ROOT_ERROR = 64  # u: of a rounded root of unity, its angle a sum of a few rounded parts
SYMBOL, TAPS = "supremum of the symbol", "sum of the norms of the taps"


class Section(NamedTuple):
    """An axis as a part of a convolution on all integers, after its cells were copied."""

    taps: Array  # those that meet an input, (used,)
    lags: Array  # of each, from 0, on the axis that the stride makes coarser
    phases: Array  # of each: the remainder
    stride: int
    copies: int  # how many cells copy one, at most


def section(axis: Axis) -> Section | None:
    """Return an axis as a section, or None; it is verified entry by entry, whatever the padding.

    Output r reads cell ``c = stride r + offset_t`` through tap t, and the cell holds input f(c), a
    function of c alone; every pair of an output and a tap whose cell holds an input is an entry.
    """
    if axis.coefficients is not None or not len(axis):
        return None
    taps, which = np.unique(axis.taps, return_inverse=True)
    stride, gap = _steps(axis)
    along = gap * axis.cols - stride * axis.rows  # the offset, where nothing is copied
    offsets = np.array([int(np.median(along[which == t])) for t in range(len(taps))])
    found = np.unique(axis.rows * stride + offsets[which], return_index=True, return_inverse=True)
    cells, first, back = found
    inputs = axis.cols[first]  # f, of each cell
    every = (np.arange(axis.n_rows) * stride)[:, None] + offsets  # (rows, taps)
    pairs = np.unique(axis.rows * len(taps) + which)
    complete = np.isin(every, cells).sum() == len(axis) == len(pairs)
    if not complete or (axis.cols != inputs[back]).any() or len(np.unique(offsets)) < len(taps):
        return None

    n = axis.n_cols
    circles = n % stride == 0 and axis.n_rows * stride <= n and every.size == len(axis)
    is_circulant = circles and len(np.unique((inputs - cells) % n)) == 1  # rows of one
    copies = 1 if is_circulant else int(np.bincount(inputs).max())
    lags, phases = np.divmod(offsets, stride)
    return Section(taps, lags - lags.min(), phases, stride, copies)


def _steps(axis: Axis) -> tuple[int, int]:
    """Return the cells from output to output and from input to input, as most entries have them."""
    order = np.lexsort((axis.rows, axis.taps))
    same = np.diff(axis.taps[order]) == 0
    steps = np.stack((np.diff(axis.cols[order])[same], np.diff(axis.rows[order])[same]))
    kinds, counts = np.unique(steps[:, steps.min(axis=0) > 0], axis=1, return_counts=True)
    if not len(counts):
        return 1, 1
    of_cols, of_rows = kinds[:, counts.argmax()].tolist()
    common = gcd(of_cols, of_rows)
    return of_cols // common, of_rows // common


def grouped(axes: Sequence[Axis], weights: Array) -> Array | None:
    """Return the weights, (taps of each axis), as (groups, rows, columns, *taps of positions).

    None where axis 0 is not that of a convolution's channels.
    """
    rows, cols = axes[0].n_rows, axes[0].n_cols
    groups = rows * cols // max(1, len(axes[0]))
    if axes[0].coefficients is not None or not groups or rows % groups or cols % groups:
        return None
    regular = channels(rows, cols, groups)
    of_both = ("rows", "cols", "taps")
    if any(not np.array_equal(getattr(axes[0], k), getattr(regular, k)) for k in of_both):
        return None
    return weights.reshape(groups, rows // groups, cols // groups, *(a.n_taps for a in axes[1:]))


def symbol_bound(axes: Sequence[Axis], weights: Array) -> tuple[float, str] | None:
    """Return the bound from the symbol and how it was found, or None where an axis is no section.

    With so many channels that a grid takes too long, the norms of the taps' blocks are added up.
    """
    grid = grouped(axes, weights)
    sections = [found for found in map(section, axes[1:]) if found is not None]
    if grid is None or len(sections) < len(axes) - 1:
        return None
    for part in sections:
        moved = np.moveaxis(grid, 3, 0)[part.taps]  # (used taps, groups, rows, columns, *others)
        spread = np.zeros((part.lags.max() + 1, part.stride, *moved.shape[1:]), grid.dtype)
        spread[part.lags, part.phases] = moved
        spread = np.moveaxis(spread, (0, 1), (-1, 3))  # (groups, rows, columns, phases, ..., lags)
        grid = spread.reshape(*spread.shape[:2], -1, *spread.shape[4:])
    spans = grid.shape[3:] or (1,)
    matrices = np.moveaxis(grid.reshape(*grid.shape[:3], prod(spans)), -1, 0)
    largest, how = _largest_on_grid(matrices, spans)
    return largest * sqrt(prod(part.copies for part in sections)) * SLACK, how


def _largest_on_grid(matrices: Array, spans: Sequence[int]) -> tuple[float, str]:
    """Return the bound on the symbol of matrices (lags, groups, rows, columns), lags in C order."""
    lags, groups, rows, cols = matrices.shape
    cost = 8.0 * groups * rows * cols * (lags + 1.4 * min(rows, cols))  # of one frequency
    degrees = [span - 1 for span in spans]  # twice d
    curved = [n for n in degrees if n]
    per_lag = (BUDGET / cost / prod(curved)) ** (1 / max(1, len(curved)))
    points = [max(1, ceil(min(max(per_lag, FEWEST), FINEST) * n)) for n in degrees]
    if cost * prod(points) > MOST:
        added = sum(map(norm_of_stack, matrices))
        return float(added * (1 + gamma(lags, U))), TAPS

    flat = matrices.reshape(lags, -1)
    error = float(gamma(ROOT_ERROR + 2 * lags + 8, U)) * size_bound(np.abs(matrices).sum(axis=0))
    along = np.unravel_index(np.arange(lags), spans)  # the lag along each axis, (lags,) each
    frequencies = prod(points)
    if points and not np.iscomplexobj(matrices):  # at -theta P is conjugated
        frequencies = (points[0] // 2 + 1) * prod(points[1:])
    largest = 0.0
    step = max(1, CHUNK // flat.shape[1])
    for start in range(0, frequencies, step):
        which = np.arange(start, min(start + step, frequencies))
        turns = np.zeros((len(which), lags))
        for k, lag, n in zip(np.unravel_index(which, points), along, points, strict=True):
            turns += (k[:, None] * lag % n) / n
        roots = np.exp(2j * np.pi * turns)  # (frequencies, lags)
        largest = norm_of_stack((roots @ flat).reshape(-1, rows, cols), largest)
    loss = prod(cos(pi / 2 * n / m) for n, m in zip(degrees, points, strict=True))
    return (largest + error) / loss * SLACK, SYMBOL
