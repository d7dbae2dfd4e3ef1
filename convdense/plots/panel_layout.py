"""Pictures placed to the inch, in lines: cells of one size, so that the outputs of one meet the inputs of the next."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
        return max(
            self.left + self.cols * self.cell * self.wide,
            LETTER * max(map(len, self.title.split("\n"))),
        )

    @property
    def before(self) -> float:
        """Inches for the sign, or for air."""
        return max(SIGN, LETTER * 1.6 * len(self.sign) + 0.1) if self.sign else 0.12

    @property
    def head(self) -> float:
        """Inches above the cells."""
        return LINE * (self.title.count("\n") + 1 + self.above) + 0.1


def wrapped(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return lines of pictures, none wider than `WIDEST` unless one picture is; some stay with the
    one before.

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
    for some in together:
        if lines and _across(lines[-1]) + _across(some) <= WIDEST:
            lines[-1] += some
        else:
            lines.append(list(some))
    return lines


def arrange(
    lines: Sequence[Sequence[Panel]], title: str = "", foot: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with Axes for every panel, each just as large as its cells, and the signs
    between them.

    `foot` inches stay free below. The lines stand below each other, their pictures centred on one
    height.
    """
    top = LINE * 1.4 * (title.count("\n") + 1) + MARGIN if title else 0.0
    heights = [_high(line) for line in lines]
    width = (
        max(*map(_across, lines), LETTER * 1.2 * max(map(len, title.split("\n"))), 2.0) + 2 * MARGIN
    )
    height = top + sum(heights) + foot + 2 * MARGIN
    figure = Figure(figsize=(width, height))
    if title:
        figure.suptitle(title, fontsize=11, y=1 - MARGIN / height, parse_math=False)
    axes = []
    y = height - MARGIN - top
    for line, high in zip(lines, heights, strict=True):
        head, below = max(p.head for p in line), max(p.below for p in line)
        middle = y - head - (high - head - below - MARGIN) / 2
        x = (width - _across(line)) / 2
        for panel in line:
            if panel.sign:
                figure.text(
                    (x + panel.before / 2) / width,
                    middle / height,
                    panel.sign,
                    ha="center",
                    va="center",
                    size=15,
                )
            x += panel.before
            wide, tall = panel.cols * panel.cell * panel.wide, panel.rows * panel.cell
            start = x + panel.left + (panel.width - panel.left - wide) / 2
            axes.append(
                figure.add_axes(
                    (start / width, (middle - tall / 2) / height, wide / width, tall / height)
                )
            )
            x += panel.width
        y -= high
    return figure, axes


def _across(line: Sequence[Panel]) -> float:
    return sum(panel.before + panel.width for panel in line)


def _high(line: Sequence[Panel]) -> float:
    cells = max(p.rows * p.cell for p in line)
    return max(p.head for p in line) + cells + max(p.below for p in line) + MARGIN


def at_pixels(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Return Axes at these pixels, counted from the top left corner: for pictures of whole pixels."""
    across, down = figure.bbox.size
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )
