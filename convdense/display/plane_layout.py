"""A sample or a weight array laid out in the plane, every pixel a unit square: for pictures of any number of axes."""

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
    """Lay an array out: the last axis to the right, the one before it down, the first down again,
    others to the right.

    So channels stand below each other, slices of a volume side by side, and of weights ``(out, in,
    rows, columns)`` the input channels side by side. `gap` squares stay free between the blocks.

    Examples
    --------
    >>> sheet((2, 1, 3))
    Sheet(x=array([0, 1, 2, 0, 1, 2]), y=array([0, 0, 0, 2, 2, 2]), width=3, height=3)
    >>> sheet((4,)).y
    array([0, 0, 0, 0])
    """
    whole = (shape[0], 1, shape[1]) if len(shape) == 2 else (1,) * (3 - len(shape)) + tuple(shape)
    first, *middle, rows, cols = whole
    block, right, row, col = np.indices((first, prod(middle), rows, cols)).reshape(4, -1)
    return Sheet(
        right * (cols + gap) + col,
        block * (rows + gap) + row,
        prod(middle) * (cols + gap) - gap,
        first * (rows + gap) - gap,
    )
