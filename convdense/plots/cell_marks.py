"""What is put on cells that stand out or back: frames, hatches, pale colours; and thin lines around every cell."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle

from convdense._util.arguments import Array

FINE = 2.0  # points: cells of less have no lines between them
STRENGTH = 0.3  # of a colour that stands back


def pale(colours: Array) -> Array:
    """Return colours nearer to white, from 0 to 1."""
    return 1 - STRENGTH * (1 - colours)


def surround(ax: Axes, cells: Iterable[tuple[Any, Any]]) -> None:
    """Frame the cells (row, column) together, black within white: seen on every colour."""
    inside = set(cells)
    edges = [
        [(col + x - 0.5, row + y - 0.5), (col + x + abs(down) - 0.5, row + y + abs(right) - 0.5)]
        for row, col in inside
        for down, right, y, x in ((-1, 0, 0, 0), (1, 0, 1, 0), (0, -1, 0, 0), (0, 1, 0, 1))
        if (row + down, col + right) not in inside
    ]
    for look, wide, above in (("white", 4.5, 4), ("black", 2, 5)):
        style: dict[str, Any] = {"colors": look, "linewidths": wide, "zorder": above, "clip_on": False}
        ax.add_collection(LineCollection(edges, capstyle="projecting", **style))


def outline(ax: Axes, cells: Iterable[tuple[Any, Any]]) -> None:
    """Draw thin lines around the cells (row, column), and no others."""
    squares = [Rectangle((col - 0.5, row - 0.5), 1, 1) for row, col in cells]
    ax.add_collection(PatchCollection(squares, facecolor="none", edgecolor="#AAAAAA", linewidth=0.6, zorder=2))
    ax.spines[:].set_visible(False)


def hatch(ax: Axes, row: int, cols: int) -> None:
    """Hatch a row of cells, behind what is written on them."""
    place = (-0.5, row - 0.5)
    ax.add_patch(Rectangle(place, cols, 1, fill=False, hatch="//", edgecolor="#888888", linewidth=0, zorder=1.5))


def ruled(ax: Axes, rows: int, cols: int, points: float) -> None:
    """Draw thin lines between all cells, of so many points."""
    if points < FINE:
        return
    style: dict[str, Any] = {"colors": "#AAAAAA", "linewidths": min(0.6, points / 12), "zorder": 2}
    ax.hlines([k - 0.5 for k in range(1, rows)], -0.5, cols - 0.5, **style)
    ax.vlines([k - 0.5 for k in range(1, cols)], -0.5, rows - 0.5, **style)
