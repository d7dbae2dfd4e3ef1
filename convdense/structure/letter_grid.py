"""The matrix of a small layer as a grid of letters: as text, painted for a terminal, or as a table for a notebook."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

from convdense.display.labels import letter, numbered, term, total
from convdense.display.palette import MASKED, colour, mixed
from convdense.display.tables import Cell, facts, table
from convdense.structure.kronecker import Entries

Held = list[tuple[int, Any]]  # the (weight, coefficient) of every entry of one cell
WIDTH, HEIGHT = 120, 40  # characters and lines that a terminal shows whole
EMPTY = "."  # a cell without an entry
BARS, LINES = ("", "|", "||"), ("", "-", "=")  # where nothing ends, a row of pixels, a channel
BORDERS = ("", "1px solid #888", "3px solid #888")  # a grey seen on white and on black
NARROW = "text-align:center;vertical-align:middle;padding:0.15em 0.4em;border:0;white-space:nowrap"
Paint = Callable[[str, str], str]  # a text and its background colour -> the text on that colour


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

    held: dict[tuple[int, int], Held]
    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]

    @staticmethod
    def of(ties: Any) -> "Grid":  # a TieMap, which stands above this file
        """Return the grid of a tie map."""
        return Grid(cells(ties.entries()), ties.out_shape, ties.in_shape)

    def text(self, paint: Paint = lambda text, _: text) -> str:
        """Return letters in columns, "." for what is held at zero, and lines between rows of pixels and channels."""
        outputs, inputs = self._names()
        rows = self._rows()
        widths = [
            max(len(inputs[c]), *(len(row[c][0]) for row in rows)) for c in range(len(inputs))
        ]
        gap = 2 if any(" " in text for row in rows for text, _ in row) else 1  # "1/2 b" is one cell
        left, right, down = max(map(len, outputs)) + 1, _ends(self.in_shape), _ends(self.out_shape)
        lines = [" " * left + _joined(map(str.ljust, inputs, widths), right, gap)]
        for name, row, end in zip(outputs, rows, down, strict=True):
            if end:
                ruled = [LINES[end] * width for width in widths]
                lines.append(" " * left + _joined(ruled, right, gap, LINES[end], "+"))
            padded = [
                (text.ljust(width), look) for (text, look), width in zip(row, widths, strict=True)
            ]
            parts = [paint(text, look) if look else text for text, look in padded]
            lines.append(name.ljust(left) + _joined(parts, right, gap))
        return "\n".join(line.rstrip() for line in lines)

    def html(self, caption: str) -> str:
        """Return the letters as a table, each on the colour of its weight."""
        outputs, inputs = self._names()
        right, down = _ends(self.in_shape), _ends(self.out_shape)
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
        """Return the letters and the colour of every cell, row by row; what is held at zero has no colour."""
        looks = {cell: (mark(held), fill(held)) for cell, held in self.held.items()}
        rows, cols = range(prod(self.out_shape)), range(prod(self.in_shape))
        return [[looks.get((r, c), (EMPTY, "")) for c in cols] for r in rows]


def small(ties: Any) -> Grid | None:
    """Return the grid of a tie map that a terminal shows whole, or None; a large one costs nothing."""
    rows, cols = ties.shape
    if (
        rows > HEIGHT or cols > WIDTH or ties.n_entries > WIDTH * HEIGHT
    ):  # every entry is a letter at least
        return None
    grid = Grid.of(ties)
    lines = grid.text().splitlines()
    return grid if len(lines) <= HEIGHT and max(map(len, lines)) <= WIDTH else None


def printed(ties: Any) -> str:
    """Return what print says of a tie map: its grid below its numbers, where it is small."""
    grid = small(ties)
    return repr(ties) if grid is None else f"{ties!r}\n{grid.text()}"


def shown(ties: Any) -> str:
    """Return what a notebook shows of a tie map: its grid, or its numbers where it is large."""
    grid = small(ties)
    if grid is not None:
        return grid.html(repr(ties))
    shapes = {name: getattr(ties, name) for name in ("in_shape", "out_shape", "weight_shape")}
    return facts(
        "TieMap",
        {**shapes, "shape": "{:,} x {:,}".format(*ties.shape), "n_entries": f"{ties.n_entries:,}"},
    )


def _ends(shape: Sequence[int]) -> list[int]:
    """Return what ends before each pixel, 0 nothing, 1 a row, 2 a channel or slice; those of one pixel do not count."""
    row, channel = (
        shape[-1],
        prod(shape[1:] if len(shape) < 4 else shape[-2:]),
    )  # of a volume, its slices
    ends = [
        2 if channel > 1 and k % channel == 0 else int(row > 1 and k % row == 0)
        for k in range(prod(shape))
    ]
    return [0, *ends[1:]]


def _joined(
    parts: Iterable[str], ends: Sequence[int], gap: int, fill: str = " ", bar: str = "|"
) -> str:
    first, *others = parts
    between = [fill + BARS[end].replace("|", bar) + fill if end else fill * gap for end in ends[1:]]
    return first + "".join(space + part for space, part in zip(between, others, strict=True))


def _style(above: int, before: int) -> str:
    top, left = (
        f"border-{side}:{BORDERS[end]}" if end else ""
        for side, end in (("top", above), ("left", before))
    )
    return ";".join(filter(None, (NARROW, top, left)))


def cells(entries: Entries) -> dict[tuple[int, int], Held]:
    """Return what every cell that holds anything holds, cells and weights in the order of the
    entries.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> cells(tie(Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect")).entries())  # the input: i2 i1 i2 i1
    {(0, 0): [(1, 1)], (0, 1): [(0, 1), (2, 1)], (1, 0): [(0, 1), (2, 1)], (1, 1): [(1, 1)]}
    """
    held: dict[tuple[int, int], Held] = {}
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
    return (
        total([term(number, letter(k)) for k, number in held])
        .replace(" + ", "+")
        .replace("- ", "-")
    )


def fill(held: Held) -> str:
    """Return the colour of a cell: its weight's, the mean where it holds several, grey where it
    holds none.

    Examples
    --------
    >>> fill([(0, 1)]), fill([])
    ('#CC6677', '#DDDDDD')
    """
    return mixed([colour(k) for k, _ in held]) if held else MASKED
