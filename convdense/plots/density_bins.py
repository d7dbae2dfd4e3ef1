"""How full each part of a matrix is: entries counted in bins that follow the layer's axes."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.structure.kronecker import kron
from convdense.structure.progressions import COL, ROW, Axis
from convdense.structure.tie_map import TieMap


class Bins(NamedTuple):
    """Entries per bin; bin ``(i, j)`` holds rows from ``rows[i]`` on, columns from ``cols[j]``."""

    counts: Array  # (bins down, bins across) int64
    rows: Array  # (bins down + 1,) int64
    cols: Array  # (bins across + 1,) int64

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of a whole bin; the last one of each block can have fewer."""
        return int(np.diff(self.rows).max()), int(np.diff(self.cols).max())

    @property
    def ragged(self) -> bool:
        """Whether some bins have fewer rows or columns than the others."""
        return any(len(np.unique(np.diff(edges))) > 1 for edges in (self.rows, self.cols))


def binned(ties: TieMap, most: int) -> Bins:
    """Count the entries of a tie map in at most `most` x `most` bins of whole rows and columns.

    A bin is a run of whole channels, of whole rows of pixels in one channel, or of pixels in one
    row. So the bins are a Kronecker product as the entries are, and so are their counts: nothing
    but the axes is ever counted. Where the number of positions has no fitting divisor, the last bin
    of each block has fewer rows or columns than the others.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> conv = Conv((1, 4, 4), out_channels=1, kernel=3, padding=1)
    >>> binned(tie(conv), most=2)  # two rows of pixels a bin
    Bins(counts=array([[40, 10],
           [10, 40]]), rows=array([ 0,  8, 16]), cols=array([ 0,  8, 16]))
    """
    down, right = together(ties.out_shape, most), together(ties.in_shape, most)
    counts = reduce(np.kron, map(_counted, ties.axes, down, right))  # (bins down, bins across)
    return Bins(counts, _edges(ties.out_shape, down), _edges(ties.in_shape, right))


def together(sizes: Sequence[int], most: int) -> list[int]:
    """Return how many positions of each axis share a bin, at most `most` bins in all.

    A bin is a run of flattened positions: one position of each axis until the first that has to be
    divided, a part of that, and all of those after it. Bins may be up to twice as large as they
    must if they divide their axis evenly.

    Examples
    --------
    >>> together((64, 56, 56), most=512), together((3, 57, 4), most=512)
    ([1, 7, 56], [1, 1, 2])
    >>> together((1, 1000), most=300)
    [1, 4]
    """
    parts: list[int] = []
    bins = 1
    for n in sizes:
        if any(part > 1 for part in parts):  # a bin holds several positions of an outer axis
            parts.append(n)
            continue
        least = -(-n // (most // bins))  # positions a bin must have, rounded up
        fair = range(min(least, n), min(2 * least, n) + 1)
        part = fair[int(np.argmin(-n % np.array(fair)))]  # the fewest left over, then the least
        parts.append(part)
        bins *= -(-n // part)
    return parts


def _counted(axis: Axis, down: int, right: int) -> Array:
    """Return the entries of one axis per bin of `down` outputs and `right` inputs."""
    counts = np.zeros((-(-axis.n_rows // down), -(-axis.n_cols // right)), np.intp)
    parts = axis.cut(ROW, down).cut(COL, right)  # progressions each within one bin
    np.add.at(counts, (parts.firsts[ROW] // down, parts.firsts[COL] // right), parts.lengths)
    return counts


def _edges(sizes: Sequence[int], parts: Sequence[int]) -> Array:
    """Return the first flattened position of each bin, and the end of the last."""
    starts = [np.arange(0, n, part) for n, part in zip(sizes, parts, strict=True)]
    return np.append(kron(starts, sizes), np.prod(sizes))  # (bins + 1,)
