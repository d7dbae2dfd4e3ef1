"""The matrix of a small layer as a grid of letters, one for each weight.

As text, painted for a terminal, or as a table for a notebook.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple, Protocol

from convdense._util.arguments import complain
from convdense.display.labels import letter, numbered, term, total
from convdense.display.palette import MASKED, colour, mixed
from convdense.display.tables import Cell, facts, table
from convdense.geometry.protocols import HasWeightShapes
from convdense.structure.kronecker import Entries

Held = list[tuple[int, float]]  # the (weight, coefficient) of every entry of one cell
Cells = dict[tuple[int, int], Held]  # (row, column) -> what is held there, where anything is
WIDTH, HEIGHT = 120, 40  # characters and lines that a terminal shows whole
EMPTY = "."  # a cell without an entry
# What stands above a cell, by what ends there: nothing, a row of pixels, a channel (see `_ends`).
RULES = ("", "-", "=")
BORDERS = ("", "1px solid #888", "3px solid #888")  # a grey seen on white and on black
NARROW = "text-align:center;vertical-align:middle;padding:0.15em 0.4em;border:0;white-space:nowrap"
Paint = Callable[[str, str], str]  # a text and its background colour -> the text on that colour


class HasEntries(HasWeightShapes, Protocol):
    """What is read of a `TieMap` here: a protocol, since `TieMap` imports this file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""

    @property
    def n_entries(self) -> int:
        """Number of entries."""

    @property
    def padding(self) -> "Sequence[HasEntries]":
        """Layers of one input, a number that padded cells hold."""

    @property
    def padding_value(self) -> float:
        """That number."""

    def entries(self) -> Entries:
        """Return all entries, sorted."""


class Grid(NamedTuple):
    """What the cells of a matrix hold, and the shapes of its outputs and inputs.

    Where padded cells hold a number it is one more input, in a last column named by the number.

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
    number: float = 0

    @staticmethod
    def of(ties: HasEntries) -> "Grid":
        """Return the grid of a tie map."""
        return Grid(cells_of(ties), ties.out_shape, ties.in_shape, ties.padding_value)

    def text(self, paint: Paint = lambda text, _: text) -> str:
        """Return letters in columns, "." for a cell without an entry.

        Lines stand between rows of pixels and between channels.
        """
        outputs, inputs = self._names()
        rows = self._rows()
        texts = [[text for text, _ in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(inputs, *texts, strict=True)]
        spaced = any(" " in "".join(row) for row in texts)
        gap = 2 if spaced else 1  # "1/2 b" is one cell: two spaces then part it from the next
        row_ends = _ends(self.out_shape)  # before each output
        col_ends = self._col_ends()  # before each input

        indent = max(map(len, outputs)) + 1
        lines = [" " * indent + _joined(map(str.ljust, inputs, widths), col_ends, gap)]
        for name, row, end in zip(outputs, rows, row_ends, strict=True):
            if end:
                rule = RULES[end]
                dashes = [rule * width for width in widths]
                lines.append(" " * indent + _joined(dashes, col_ends, gap, rule, "+"))
            parts = []
            for (text, background), width in zip(row, widths, strict=True):
                padded = text.ljust(width)
                parts.append(paint(padded, background) if background else padded)
            lines.append(name.ljust(indent) + _joined(parts, col_ends, gap))
        return "\n".join(line.rstrip() for line in lines)

    def html(self, caption: str) -> str:
        """Return the letters as a table, each on the colour of its weight."""
        outputs, inputs = self._names()
        row_ends = _ends(self.out_shape)
        col_ends = self._col_ends()
        header = [
            Cell(name, style=_style(0, before))
            for name, before in zip(inputs, col_ends, strict=True)
        ]
        rows = []
        for name, row, above in zip(outputs, self._rows(), row_ends, strict=True):
            letters = [
                Cell(text, background, _style(above, before))
                for (text, background), before in zip(row, col_ends, strict=True)
            ]
            rows.append([Cell(name, style=_style(above, 0)), *letters])
        return table(rows, ["", *header], caption)

    def _names(self) -> tuple[list[str], list[str]]:
        inputs = numbered("i", prod(self.in_shape))
        if self.number:
            inputs.append(str(self.number))
        return numbered("o", prod(self.out_shape)), inputs

    def _col_ends(self) -> list[int]:
        """Return what ends before each column; before that of a number, all inputs do."""
        return [*_ends(self.in_shape), 2] if self.number else _ends(self.in_shape)

    def _rows(self) -> list[list[tuple[str, str]]]:
        """Return letters and background of every cell, row by row: of an empty one "." and ""."""
        filled = {cell: (mark(held), fill(held)) for cell, held in self.held.items()}
        rows = range(prod(self.out_shape))
        cols = range(prod(self.in_shape) + bool(self.number))
        return [[filled.get((r, c), (EMPTY, "")) for c in cols] for r in rows]


def small(ties: HasEntries) -> Grid | None:
    """Return the grid of a tie map that a terminal shows whole, or None."""
    # Sizes alone tell of a large one, before its entries are listed: each takes a letter at least.
    rows, cols = ties.shape
    if rows > HEIGHT or cols > WIDTH or ties.n_entries > WIDTH * HEIGHT or 0 in ties.shape:
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
    row = shape[-1]  # pixels of a row
    is_volume = len(shape) >= 4  # (channels, slices, rows, pixels): a channel ends with its slice
    plane = prod(shape[-2:]) if is_volume else prod(shape[1:])  # pixels of a channel, or slice
    ends = [0]
    for k in range(1, prod(shape)):
        if plane > 1 and k % plane == 0:
            ends.append(2)
        elif row > 1 and k % row == 0:
            ends.append(1)
        else:
            ends.append(0)
    return ends


def _joined(
    parts: Iterable[str], ends: Sequence[int], gap: int, filler: str = " ", bar: str = "|"
) -> str:
    """Join the cells of a line: by one bar where a row of pixels ends, two where a channel does.

    Others are joined by a gap of so many fillers: spaces, or the dashes of a ruled line.
    """
    line, *others = parts
    for part, end in zip(others, ends[1:], strict=True):
        joint = filler + bar * end + filler if end else filler * gap
        line += joint + part
    return line


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
    for row, col, k, coefficient in entries.plain():  # Python's numbers, k of the weight
        held.setdefault((row, col), []).append((k, coefficient))
    return held


def cells_of(ties: HasEntries) -> Cells:
    """Return what each cell of a tie map holds; a number in the padding is the last column.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> cells_of(tie(Conv((1, 2), 1, kernel=2, padding=((1, 0),), padding_value=5)))
    {(0, 0): [(1, 1)], (1, 0): [(0, 1)], (1, 1): [(1, 1)], (0, 2): [(0, 1)]}
    """
    held = cells(ties.entries())
    column = ties.shape[1]
    for part in ties.padding:
        for (row, _), weights in cells(part.entries()).items():
            held[row, column] = sorted(held.get((row, column), []) + weights)
    return held


def require_linear(ties: HasEntries) -> None:
    """Refuse a layer with a number in its padding, of which not all is a product with an input."""
    if ties.padding:
        got = f"padding_value={ties.padding_value}"
        needs = "0 here, where every product is one with an input"
        do = "look at convdense.plots.matrix(layer), whose last column is that number's"
        raise ValueError(complain("layer", got, needs, do))


def mark(held: Held) -> str:
    """Return what a cell holds, in letters.

    Examples
    --------
    >>> mark([(0, 1)]), mark([(0, 1), (2, 1)]), mark([(1, -1)]), mark([(1, 0.5)])
    ('a', 'a+c', '-b', '1/2 b')
    """
    terms = [term(coefficient, letter(k)) for k, coefficient in held]  # "+ a", "- 1/2 b"
    return total(terms).replace(" + ", "+").replace("- ", "-")  # a cell is narrow


def fill(held: Held) -> str:
    """Return the colour of a cell: its weight's, the mean of several, grey where it holds none.

    Examples
    --------
    >>> fill([(0, 1)]), fill([])
    ('#CC6677', '#DDDDDD')
    """
    return mixed([colour(k) for k, _ in held]) if held else MASKED
