"""Pictures placed to the inch, in lines, their cells of one size.

So the rows of a matrix stand beside the numbers that leave it, and the outputs of one layer meet
the inputs of the next.
"""

from collections.abc import Sequence
from typing import NamedTuple

from convdense.plots.shown import Axes, Figure, add_axes

LARGEST_CELL = 0.4  # inches
WIDEST, HIGHEST = 14.0, 10.0  # inches: of a line, and of one picture
LETTER, LINE = 0.078, 0.17  # inches: of a title
MARGIN, SIGN = 0.2, 0.3  # inches: around the whole, and of the sign between two pictures
STAYS = ("", "=")  # signs of pictures that stay in a line with the one before


class Panel(NamedTuple):
    """One picture: how many cells, of what size, its title, and the sign that leads to it.

    Cells are `wide` times as wide as high. `left`, `below` (inches) and `above` (lines) are the
    room for names.
    """

    rows: int
    cols: int
    title: str
    sign: str = ""
    cell: float = LARGEST_CELL
    wide: float = 1.0
    left: float = 0.0
    below: float = 0.0
    above: int = 0

    @property
    def width(self) -> float:
        """Inches across, names and title included, without the sign."""
        return max(self.left + self.cells_width, text_width(self.title))

    @property
    def cells_width(self) -> float:
        """Inches across of the cells alone."""
        return self.cols * self.cell * self.wide

    @property
    def cells_height(self) -> float:
        """Inches down of the cells alone."""
        return self.rows * self.cell

    @property
    def before(self) -> float:
        """Inches for the sign, or for air."""
        return max(SIGN, LETTER * 1.6 * len(self.sign) + 0.1) if self.sign else 0.12

    @property
    def head(self) -> float:
        """Inches above the cells."""
        return LINE * (self.title.count("\n") + 1 + self.above) + 0.1


def largest_cell(rows: int, cols: float, share: float = 1.0) -> float:
    """Return how large, in inches, cells may be within one picture and a share of a line."""
    return min(LARGEST_CELL, share * WIDEST / cols, HIGHEST / rows)


def text_width(text: str, size: float = 1.0) -> float:
    """Return how many inches a title of one line or several takes, letters `size` times as wide."""
    return LETTER * size * max(map(len, text.split("\n")))


def wrapped(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return lines of pictures, none wider than `WIDEST` unless one picture is.

    A picture whose sign is among `STAYS` stays in a line with the one before.

    Examples
    --------
    >>> wide = Panel(1, 30, "", "→")
    >>> [len(line) for line in wrapped([wide, Panel(1, 1, "", "="), wide])]
    [2, 1]
    """
    together: list[list[Panel]] = []
    for panel in panels:
        if together and panel.sign in STAYS:
            together[-1].append(panel)
        else:
            together.append([panel])

    lines: list[list[Panel]] = []
    for inseparable in together:
        if lines and across(lines[-1]) + across(inseparable) <= WIDEST:
            lines[-1] += inseparable
        else:
            lines.append(list(inseparable))
    return lines


def arrange(
    lines: Sequence[Sequence[Panel]], title: str = "", foot: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with Axes for every panel, just as large as its cells, and signs between.

    `foot` inches stay free below. The lines stand below each other, their pictures centred on one
    height.
    """
    top = LINE * 1.4 * (title.count("\n") + 1) + MARGIN if title else 0.0
    widest = max(across(line) for line in lines)
    width = max(widest, text_width(title, size=1.2), 2.0) + 2 * MARGIN
    height = top + sum(_height(line) for line in lines) + foot + 2 * MARGIN
    figure = Figure(figsize=(width, height))
    if title:
        figure.suptitle(title, fontsize=11, y=1 - MARGIN / height, parse_math=False)

    axes = []
    y = height - MARGIN - top  # inches from the bottom: the upper edge of the line
    for line in lines:
        axes += _arrange_line(figure, line, y)
        y -= _height(line)
    return figure, axes


def _arrange_line(figure: Figure, line: Sequence[Panel], y: float) -> list[Axes]:
    """Add the Axes and the signs of one line, whose upper edge is `y` inches from the bottom."""
    width, height = figure.get_size_inches()
    head = max(panel.head for panel in line)
    below = max(panel.below for panel in line)
    middle = y - head - (_height(line) - head - below - MARGIN) / 2
    x = (width - across(line)) / 2

    axes = []
    for panel in line:
        if panel.sign:
            centre = ((x + panel.before / 2) / width, middle / height)
            figure.text(*centre, panel.sign, ha="center", va="center", size=15)
        x += panel.before

        # Cells stand in the middle of what their title takes, behind the names of the outputs.
        wide, high = panel.cells_width, panel.cells_height
        left = x + panel.left + (panel.width - panel.left - wide) / 2
        bottom = middle - high / 2
        axes.append(add_axes(figure, left / width, bottom / height, wide / width, high / height))
        x += panel.width
    return axes


def across(line: Sequence[Panel]) -> float:
    """Return how many inches a line of pictures takes across."""
    return sum(panel.before + panel.width for panel in line)


def _height(line: Sequence[Panel]) -> float:
    """Return how many inches a line of pictures takes down."""
    head = max(panel.head for panel in line)
    below = max(panel.below for panel in line)
    return head + max(panel.cells_height for panel in line) + below + MARGIN


def at_pixels(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Return Axes at these pixels, counted from the top left corner."""
    whole_width, whole_height = figure.bbox.size
    bottom = 1 - (top + height) / whole_height
    return add_axes(figure, left / whole_width, bottom, width / whole_width, height / whole_height)
