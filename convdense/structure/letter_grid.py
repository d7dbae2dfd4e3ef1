"""The matrix of a small layer as a grid of letters, one for each weight.

As text, painted for a terminal, or as a table for a notebook.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple, Protocol

from convdense.display.labels import letter, numbered, term, total
from convdense.display.palette import MASKED, colour, mixed
from convdense.display.tables import Cell, facts, table
from convdense.geometry.protocols import HasWeightShapes
from convdense.structure.kronecker import Entries

Held = list[tuple[int, float]]  # the (weight, coefficient) of every entry of one cell
Cells = dict[tuple[int, int], Held]  # (row, column) -> what is held there, where anything is
WIDTH, HEIGHT = 120, 40  # characters and lines that a terminal shows whole
EMPTY = "."  # a cell without an entry
BARS, LINES = ("", "|", "||"), ("", "-", "=")  # where nothing ends, a row of pixels, a channel
BORDERS = ("", "1px solid #888", "3px solid #888")  # a grey seen on white and on black
NARROW = "text-align:center;vertical-align:middle;padding:0.15em 0.4em;border:0;white-space:nowrap"
Paint = Callable[[str, str], str]  # a text and its background colour -> the text on that colour


class HasEntries(HasWeightShapes, Protocol):
    """What is drawn of a tie map. `TieMap` imports this file, which so cannot import it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""

    @property
    def n_entries(self) -> int:
        """Number of entries."""

    def entries(self) -> Entries:
        """Return all entries, sorted."""


class Grid(NamedTuple):
    """What the cells of a matrix hold, and the shapes of its outputs and inputs.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> print(Grid.of(tie(Conv((1, 2, 3), out_channels=1, kernel=2))).text())
       i1 i2 i3 | i4 i5 i6
    o1 a  b  .  | c  d  .
    o2 .  a  b  | .  c  d
    """

    held: Cells
    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]

    @staticmethod
    def of(ties: HasEntries) -> "Grid":
        """Return the grid of a tie map."""
        return Grid(cells(ties.entries()), ties.out_shape, ties.in_shape)

    def text(self, paint: Paint = lambda text, _: text) -> str:
        """Return letters in columns, "." for what is held at zero.

        Lines stand between rows of pixels and between channels.
        """
        outputs, inputs = self._names()
        rows = self._rows()
        texts = [[text for text, _ in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(inputs, *texts, strict=True)]
        spaced = any(" " in "".join(row) for row in texts)
        gap = 2 if spaced else 1  # "1/2 b" is one cell
        right = _ends(self.in_shape)
        down = _ends(self.out_shape)

        indent = max(map(len, outputs)) + 1
        lines = [" " * indent + _joined(map(str.ljust, inputs, widths), right, gap)]
        for name, row, end in zip(outputs, rows, down, strict=True):
            if end:
                ruled = [LINES[end] * width for width in widths]
                lines.append(" " * indent + _joined(ruled, right, gap, LINES[end], "+"))
            parts = []
            for (text, look), width in zip(row, widths, strict=True):
                padded = text.ljust(width)
                parts.append(paint(padded, look) if look else padded)
            lines.append(name.ljust(indent) + _joined(parts, right, gap))
        return "\n".join(line.rstrip() for line in lines)

    def html(self, caption: str) -> str:
        """Return the letters as a table, each on the colour of its weight."""
        outputs, inputs = self._names()
        right = _ends(self.in_shape)
        down = _ends(self.out_shape)
        header = [Cell(name, style=_style(0, end)) for name, end in zip(inputs, right, strict=True)]
        rows = []
        for name, row, above in zip(outputs, self._rows(), down, strict=True):
            held = [
                Cell(text, look, _style(above, end))
                for (text, look), end in zip(row, right, strict=True)
            ]
            rows.append([Cell(name, style=_style(above, 0)), *held])
        return table(rows, ["", *header], caption)

    def _names(self) -> tuple[list[str], list[str]]:
        return numbered("o", prod(self.out_shape)), numbered("i", prod(self.in_shape))

    def _rows(self) -> list[list[tuple[str, str]]]:
        """Return the letters and the colour of every cell, row by row; none where it is empty."""
        looks = {cell: (mark(held), fill(held)) for cell, held in self.held.items()}
        rows = range(prod(self.out_shape))
        cols = range(prod(self.in_shape))
        return [[looks.get((r, c), (EMPTY, "")) for c in cols] for r in rows]


def small(ties: HasEntries) -> Grid | None:
    """Return the grid of a tie map that a terminal shows whole, or None."""
    # What is too large by its sizes alone is not written out. Every entry is a letter at least.
    rows, cols = ties.shape
    if rows > HEIGHT or cols > WIDTH or ties.n_entries > WIDTH * HEIGHT:
        return None
    grid = Grid.of(ties)
    lines = grid.text().splitlines()
    fits = len(lines) <= HEIGHT and max(map(len, lines)) <= WIDTH
    return grid if fits else None


def printed(ties: HasEntries) -> str:
    """Return what print says of a tie map: its grid below its numbers, where it is small."""
    grid = small(ties)
    return repr(ties) if grid is None else f"{ties!r}\n{grid.text()}"


def shown(ties: HasEntries) -> str:
    """Return what a notebook shows of a tie map: its grid, or its numbers where it is large."""
    grid = small(ties)
    if grid is not None:
        return grid.html(repr(ties))
    numbers = {
        "in_shape": ties.in_shape,
        "out_shape": ties.out_shape,
        "weight_shape": ties.weight_shape,
        "shape": "{:,} x {:,}".format(*ties.shape),
        "n_entries": f"{ties.n_entries:,}",
    }
    return facts("TieMap", numbers)


def _ends(shape: Sequence[int]) -> list[int]:
    """Return what ends before each pixel: 0 nothing, 1 a row, 2 a channel, or slice of a volume.

    Rows and channels of a single pixel do not count.
    """
    row = shape[-1]
    channel = prod(shape[1:]) if len(shape) < 4 else prod(shape[-2:])
    ends = [0]
    for k in range(1, prod(shape)):
        if channel > 1 and k % channel == 0:
            ends.append(2)
        elif row > 1 and k % row == 0:
            ends.append(1)
        else:
            ends.append(0)
    return ends


def _joined(
    parts: Iterable[str], ends: Sequence[int], gap: int, fill: str = " ", bar: str = "|"
) -> str:
    """Join the cells of a line by gaps, and by bars where a row of pixels or a channel ends."""
    first, *others = parts
    between = [fill + BARS[end].replace("|", bar) + fill if end else fill * gap for end in ends[1:]]
    return first + "".join(space + part for space, part in zip(between, others, strict=True))


def _style(above: int, before: int) -> str:
    """Return the style of a table cell, with borders for what ends above and before it."""
    borders = [
        f"border-{side}:{BORDERS[end]}" for side, end in (("top", above), ("left", before)) if end
    ]
    return ";".join([NARROW, *borders])


def cells(entries: Entries) -> Cells:
    """Return what each cell holds, cells and weights in the order of the entries.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> ties = tie(Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect"))
    >>> cells(ties.entries())  # the padded input: i2 i1 i2 i1
    {(0, 0): [(1, 1)], (0, 1): [(0, 1), (2, 1)], (1, 0): [(0, 1), (2, 1)], (1, 1): [(1, 1)]}
    """
    held: Cells = {}
    for row, col, k, number in entries.plain():
        held.setdefault((row, col), []).append((k, number))
    return held


def mark(held: Held) -> str:
    """Return what a cell holds, in letters.

    Examples
    --------
    >>> mark([(0, 1)]), mark([(0, 1), (2, 1)]), mark([(1, -1)]), mark([(1, 0.5)])
    ('a', 'a+c', '-b', '1/2 b')
    """
    terms = [term(number, letter(k)) for k, number in held]
    return total(terms).replace(" + ", "+").replace("- ", "-")


def fill(held: Held) -> str:
    """Return the colour of a cell: its weight's, the mean of several, grey where it holds none.

    Examples
    --------
    >>> fill([(0, 1)]), fill([])
    ('#CC6677', '#DDDDDD')
    """
    return mixed([colour(k) for k, _ in held]) if held else MASKED
