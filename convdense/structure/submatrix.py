"""A range of flattened rows of a Kronecker product of axes, again as such a product.

A range is few boxes: products of one range along each axis. Axes that it cuts in the same place in
all boxes, or in none, stay factors. Those between are joined to one axis, whose entries are listed.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod

import numpy as np

from convdense._util.arguments import complain, integer, unravelled
from convdense.structure.kronecker import expand, matrix_shape
from convdense.structure.progressions import Axis

Box = tuple[tuple[int, int], ...]  # the first row along each axis, and that after the last


def checked(start: object, stop: object, n_rows: int) -> tuple[int, int]:
    """Return both ends of a range of rows, refused unless it has rows and all of them exist."""
    if n_rows == 0 and start == stop == 0:  # all rows of a map that has none
        return 0, 0
    first, after = integer(start, "start", 0), integer(stop, "stop", 1)
    if first >= after:
        raise ValueError(complain("start", first, f"less than stop={after}"))
    if after > n_rows:
        raise ValueError(complain("stop", after, f"at most {n_rows}, the number of outputs"))
    return first, after


def boxes(shape: Sequence[int], start: int, stop: int) -> Iterator[Box]:
    """Yield the boxes of a range of flattened rows, in order: fewer than two for each axis.

    Examples
    --------
    >>> list(boxes((4, 10), 17, 35))
    [((1, 2), (7, 10)), ((2, 3), (0, 10)), ((3, 4), (0, 5))]
    """
    each = [prod(shape[i + 1 :]) for i in range(len(shape))]  # rows to one position of an axis
    while start < stop:
        at = unravelled(start, tuple(shape))
        # the first axis along which a whole position begins here
        i = next(i for i, n in enumerate(each) if start % n == 0 and start + n <= stop)
        count = min((stop - start) // each[i], shape[i] - at[i])
        fixed = [(p, p + 1) for p in at[:i]]
        yield (*fixed, (at[i], at[i] + count), *((0, n) for n in shape[i + 1 :]))
        start += count * each[i]


def row_range(axes: Sequence[Axis], start: int, stop: int) -> tuple[Axis, ...]:
    """Return the axes of the rows from `start` up to `stop`; time and memory are those of the part.

    Examples
    --------
    >>> from convdense.structure.axis import diagonal
    >>> [len(axis) for axis in row_range((diagonal(4), diagonal(10), diagonal(6)), 60, 150)]
    [15, 6]
    """
    parts = list(boxes([a.n_rows for a in axes], start, stop))
    differ = [i for i, ranges in enumerate(zip(*parts, strict=True)) if len(set(ranges)) > 1]
    cut = slice(differ[0], differ[-1] + 1) if differ else slice(0, 0)
    factors = [[a.between(*ends) for a, ends in zip(axes, box, strict=True)] for box in parts]
    joined = [_stacked([of_box[cut] for of_box in factors])] if differ else []
    return (*factors[0][: cut.start], *joined, *factors[0][cut.stop :])


def _stacked(products: Sequence[Sequence[Axis]]) -> Axis:
    """Return the rows of several products of axes, one below the other, as one axis."""
    entries = [expand(axes) for axes in products]
    heights = [matrix_shape(axes)[0] for axes in products]
    offsets = accumulate(heights, initial=0)
    rows = [part.row + offset for part, offset in zip(entries, offsets, strict=False)]
    coefficients = [part.coefficient for part in entries if part.coefficient is not None]
    return Axis.of(
        np.concatenate(rows),
        np.concatenate([part.col for part in entries]),
        np.concatenate([part.index for part in entries]),
        sum(heights),
        matrix_shape(products[0])[1],
        tuple(n for a in products[0] for n in a.tap_shape),
        np.concatenate(coefficients) if coefficients else None,
    )
