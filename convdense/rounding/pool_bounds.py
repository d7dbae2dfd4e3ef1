"""The windows of a pool as a table of cells, and what rounding explains of its sums."""

from functools import lru_cache
from math import lcm
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import widened
from convdense.direct import pool as direct_pool
from convdense.direct.pool_loops import windows
from convdense.geometry import AvgPool, LpPool, MaxPool, MinPool, Pool
from convdense.implementations.evaluators import Operands
from convdense.rounding.sum_bounds import gamma, unit_roundoff


class WindowTable(NamedTuple):
    """The cells of every window, (windows, cells) flattened, -1 where one has fewer.

    `unit` is what inputs must be multiples of for averages to be whole, `longest` the number of
    cells in a window or of windows that meet in one cell.
    """

    cells: Array
    unit: int
    longest: int

    def bits(self, m: int) -> int:
        """Return the bits of the longest sum of integers up to m, times the unit."""
        return (self.longest * m * self.unit).bit_length()


@lru_cache(maxsize=8)
def window_table(pool: Pool) -> WindowTable:
    """Return the windows of a pool.

    Examples
    --------
    >>> from convdense import MaxPool
    >>> window_table(MaxPool((1, 5), kernel=3, stride=2, padding=1))
    WindowTable(cells=array([[ 0,  1, -1],
           [ 1,  2,  3],
           [ 3,  4, -1]]), unit=1, longest=3)
    """
    found = list(windows(pool))
    width = max(len(cells) for _, cells, _ in found)
    flat = np.full((len(found), width), -1)
    for row, (_, cells, _) in zip(flat, found, strict=True):
        row[: len(cells)] = np.ravel_multi_index(tuple(np.transpose(cells)), pool.in_spatial)
    counts = (
        {pool.divisor(len(cells), padded) for _, cells, padded in found}
        if isinstance(pool, AvgPool)
        else {1}
    )
    return WindowTable(flat, lcm(*counts), max(width, int(np.bincount(flat[flat >= 0]).max())))


def pool_bound(pool: Pool, operands: Operands, name: str, dtype: Any) -> Array:
    """Return what rounding explains of y or dx, entry by entry, against the direct pool in float64.

    ``gamma_n`` times the sum of magnitudes, n its terms and two for a division; 0 for what max and
    min pick; infinite for powers and roots, which no two libraries round alike.
    """
    x, _, _, dy = operands
    x, dy = widened(x, dy)
    if isinstance(pool, LpPool):  # nothing is promised of a power
        return np.full((len(x), *(pool.out_shape if name == "y" else pool.in_shape)), np.inf)
    factor = gamma(window_table(pool).longest + 2, unit_roundoff(dtype))
    picks = isinstance(pool, (MaxPool, MinPool))
    if name == "y":
        size = direct_pool.forward(pool, np.abs(x))
        return np.asarray(0 * size if picks else factor * size)
    return np.asarray(factor * direct_pool.backward(pool, x if picks else np.abs(x), np.abs(dy)))
