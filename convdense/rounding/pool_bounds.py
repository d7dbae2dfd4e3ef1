"""The windows of a pool as a table of cells, and what rounding explains of its sums."""

from functools import lru_cache
from math import lcm
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import gamma, unit_roundoff, widened
from convdense.direct import pool as direct_pool
from convdense.direct.pool_loops import windows
from convdense.geometry import LpPool, Pool
from convdense.implementations.evaluators import Operands
from convdense.layers.direct_form import window_sums
from convdense.layers.max_pool_tournament import windows_that_share_a_cell
from convdense.layers.power_errors import root_error, slope_error
from convdense.rounding.fixed_network import FixedNetwork, Judged


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
    width = max((len(cells) for _, cells, _ in found), default=0)
    flat = np.full((len(found), width), -1)  # (windows, cells)
    for row, (_, cells, _) in zip(flat, found, strict=True):
        if cells:
            row[: len(cells)] = np.ravel_multi_index(tuple(np.transpose(cells)), pool.in_spatial)
    divisors = {pool.divisor(len(cells), padded) for _, cells, padded in found}
    meeting = np.bincount(flat[flat >= 0])  # how many windows each cell is in
    return WindowTable(flat, lcm(*divisors), max(width, int(meeting.max(initial=0))))


def sums_of(pool: Judged) -> WindowTable | FixedNetwork:
    """Return what knows `unit`, `longest` and `bits` of the sums: a network does itself."""
    return pool if isinstance(pool, FixedNetwork) else window_table(pool)


def pool_bound(pool: Judged, operands: Operands, name: str, dtype: npt.DTypeLike) -> Array:
    """Return what rounding explains of y or dx, entry by entry, against the direct pool in float64.

    ``gamma_n`` times the sum of magnitudes, n its terms and two for a division; 0 for what max and
    min pick; of powers and roots as in `layers.power_errors`, for both sides.
    """
    if isinstance(pool, FixedNetwork):
        return pool.bound(operands, name, dtype)
    x, _, _, dy = operands
    x, dy = widened(x, dy)
    if isinstance(pool, LpPool):
        error = root_error(pool, x, dtype) if name == "y" else slope_error(pool, x, dy, dtype)
        return 2 * error

    factor = gamma(window_table(pool).longest + 2, unit_roundoff(dtype))
    if name == "y":
        size = np.abs(direct_pool.forward(pool, np.abs(x)))  # a divisor may be negative
        return np.zeros_like(size) if pool.extremum else np.asarray(factor * size)
    sizes = np.abs(dy)
    if not pool.extremum:
        return np.asarray(factor * np.abs(direct_pool.backward(pool, np.abs(x), sizes)))
    # Max and min send the gradient where x says. A tournament adds up halves in all cells of a
    # window, which cancel but for rounding where windows share a cell: as in its `backward_error`.
    shared = windows_that_share_a_cell(pool)
    if shared <= 1:
        return np.asarray(factor * direct_pool.backward(pool, x, sizes))
    depth = window_table(pool).cells.shape[1].bit_length() + len(pool.in_spatial)  # at most
    halves = gamma((2 * shared + 1) * depth, unit_roundoff(dtype))
    return np.asarray(halves * window_sums(pool).backward(x, sizes))
