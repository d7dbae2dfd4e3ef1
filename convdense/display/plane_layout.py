"""An array of any number of axes laid out in the plane, every pixel a unit square."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array


class Sheet(NamedTuple):
    """Left and top edge of each pixel, in C order, and the size of the whole."""

    x: Array  # (pixels,) int
    y: Array  # (pixels,) int
    width: int
    height: int


def sheet(shape: Sequence[int], gap: int = 1) -> Sheet:
    """Return where each entry of an array lies in the plane.

    The last axis goes to the right, the one before it down, the first down again, others to the
    right. So channels stand below each other, slices of a volume side by side, and of weights
    ``(out, in, rows, columns)`` the input channels side by side. `gap` squares stay free between
    the blocks.

    Examples
    --------
    >>> sheet((2, 1, 3))
    Sheet(x=array([0, 1, 2, 0, 1, 2]), y=array([0, 0, 0, 2, 2, 2]), width=3, height=3)
    >>> sheet((4,)).y
    array([0, 0, 0, 0])
    """
    if len(shape) == 1:
        shape = (1, 1, *shape)
    elif len(shape) == 2:  # channels of one axis: each a block of one row
        shape = (shape[0], 1, shape[1])
    first, *middle, rows, cols = shape
    side_by_side = prod(middle)
    down, right, row, col = np.indices((first, side_by_side, rows, cols)).reshape(4, -1)
    return Sheet(
        x=right * (cols + gap) + col,
        y=down * (rows + gap) + row,
        width=side_by_side * (cols + gap) - gap,
        height=first * (rows + gap) - gap,
    )
