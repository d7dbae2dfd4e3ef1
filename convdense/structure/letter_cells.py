"""What each cell of the matrix holds: a weight, or several where taps meet; and how that is written."""

from typing import Any

from convdense.display.labels import letter, term, total
from convdense.display.palette import MASKED, colour, mixed
from convdense.structure.kronecker import Entries

Held = list[tuple[int, Any]]  # the (weight, coefficient) of every entry of one cell


def cells(entries: Entries) -> dict[tuple[int, int], Held]:
    """Return what every cell that holds anything holds, cells and weights in the order of the entries.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> cells(tie(Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect")).entries())  # the input: i2 i1 i2 i1
    {(0, 0): [(1, 1)], (0, 1): [(0, 1), (2, 1)], (1, 0): [(0, 1), (2, 1)], (1, 1): [(1, 1)]}
    """
    held: dict[tuple[int, int], Held] = {}
    numbers = [1] * len(entries.row) if entries.coefficient is None else entries.coefficient.tolist()
    parts = zip(entries.row.tolist(), entries.col.tolist(), entries.index.tolist(), numbers, strict=True)
    for row, col, k, number in parts:
        held.setdefault((row, col), []).append((k, number))
    return held


def mark(held: Held) -> str:
    """Return what a cell holds, in letters.

    Examples
    --------
    >>> mark([(0, 1)]), mark([(0, 1), (2, 1)]), mark([(1, -1)]), mark([(1, 0.5)])
    ('a', 'a+c', '-b', '1/2 b')
    """
    return total([term(number, letter(k)) for k, number in held]).replace(" + ", "+").replace("- ", "-")


def fill(held: Held) -> str:
    """Return the colour of a cell: its weight's, the mean where it holds several, grey where it holds none.

    Examples
    --------
    >>> fill([(0, 1)]), fill([])
    ('#CC6677', '#DDDDDD')
    """
    return mixed([colour(k) for k, _ in held]) if held else MASKED
