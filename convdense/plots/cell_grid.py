"""The grid that figures share: a square per edge, outputs down, inputs across; frames, hatches."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from convdense._util.arguments import Array, complain, finite, shaped
from convdense.display.labels import blocks, numbered
from convdense.display.palette import MASKED, ink
from convdense.geometry import require_cells
from convdense.plots.panel_layout import Panel, arrange, largest_cell
from convdense.structure.letter_grid import Held, fill
from convdense.structure.tie_map import TieMap

FINE = 2.0  # points: cells of less have no lines between them
STRENGTH = 0.3  # of a colour that stands back
CELLS_LIMIT = 10_000
NAMES, BELOW = 0.35, 0.3  # inches: beside a matrix and below it, for the names of its pixels
LARGEST_TEXT, NAMES_FROM = 9.0, 7.0  # points: of a text, and of a cell whose pixels are named
THIN = "#AAAAAA"  # of lines that are seen on white and on colours

# The four neighbours of a cell, as steps down and to the right, and the side that faces each: its
# ends (x, y), seen from the middle of the cell.
SIDES = (
    (-1, 0, (-0.5, -0.5), (0.5, -0.5)),
    (1, 0, (-0.5, 0.5), (0.5, 0.5)),
    (0, -1, (-0.5, -0.5), (-0.5, 0.5)),
    (0, 1, (0.5, -0.5), (0.5, 0.5)),
)

Cell = tuple[int, int]  # row and column


def pale(colours: Array) -> Array:
    """Return colours, from 0 to 1, nearer to white."""
    return 1 - STRENGTH * (1 - colours)


def own_axes(panel: Panel) -> Axes:
    """Return the Axes of a new figure with one panel, its cells as large as there is room."""
    cell = largest_cell(panel.rows, panel.cols * panel.wide)
    _, (ax,) = arrange([[panel._replace(cell=cell)]])
    return ax


def panel_of(
    ties: TieMap, title: str, sign: str = "", share: float = 1.0, *, more: int = 0
) -> Panel:
    """Return the panel of a matrix with room for its names, at most `share` of a line wide.

    It has `more` columns than the matrix.
    """
    rows, cols = ties.shape
    cols += more
    cell = largest_cell(rows, cols, share)
    above = len(blocks(ties.in_shape))
    return Panel(rows, cols, title, sign, cell, left=NAMES, below=BELOW, above=above)


def bare(ax: Axes | None, title: str, rows: int, cols: int, wide: float = 1.0) -> Axes:
    """Return Axes for so many cells, `wide` times as wide as high, without ticks."""
    if ax is None:
        ax = own_axes(Panel(rows, cols, title, wide=wide))
    ax.set_title(title, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.imshow(np.ones((rows, cols, 3)), aspect=1 / wide)
    return ax


def grid(ties: TieMap, ax: Axes | None, title: str, *, with_number: bool = False) -> Axes:
    """Return Axes for a matrix: pixels named on both sides, lines where a row of them ends.

    `with_number`: a number that padded cells hold is one more input, in a last column.
    """
    require_few(ties)
    rows, n_inputs = ties.shape
    names = numbered("i", n_inputs)
    if with_number and ties.padding:
        names.append(str(ties.padding_value))
    cols = len(names)
    if ax is None:
        ax = own_axes(panel_of(ties, title, more=cols - n_inputs))
    bare(ax, title, rows, cols)

    cell, _ = cell_size(ax, rows, cols)
    if cell >= NAMES_FROM:
        size = min(8.0, 0.8 * cell)
        too_long = size * 0.6 * max(map(len, names)) > cell
        turn = 90 if too_long else 0
        ax.set_yticks(range(rows), numbered("o", rows), fontsize=size)
        ax.set_xticks(range(cols), names, fontsize=size, rotation=turn)
    ax.tick_params(length=0)

    places = groups(ties.in_shape, cell)
    if places:
        top = ax.secondary_xaxis("top")
        top.set_xticks(list(places), list(places.values()), fontsize=8)
        top.tick_params(length=0, pad=2)
        top.spines[:].set_visible(False)
    _part_cells(ax, ties, cols)
    return ax


def require_few(ties: TieMap) -> None:
    """Refuse a matrix of too many cells, or of too many entries in them, to be drawn one by one."""
    require_cells(ties)
    rows, cols = ties.shape
    do = "look at convdense.plots.density(layer)"
    if rows * cols > CELLS_LIMIT:
        needs = f"at most {CELLS_LIMIT:,} to be drawn cell by cell"
        raise ValueError(complain("layer", f"{rows:,} x {cols:,} cells", needs, do))
    if max(ties.n_entries, ties.n_weights) > 10 * CELLS_LIMIT:
        got = f"{ties.n_entries:,} entries of {ties.n_weights:,} weights"
        needs = f"at most {10 * CELLS_LIMIT:,} to be written one by one"
        raise ValueError(complain("layer", got, needs, do))


def require_few_weights(ties: TieMap) -> None:
    """Refuse a layer of too many weights to be drawn one by one."""
    if ties.n_weights > CELLS_LIMIT:
        needs = f"at most {CELLS_LIMIT:,} to be drawn one by one"
        do = "draw a smaller layer of the same kind"
        raise ValueError(complain("layer", f"{ties.n_weights:,} weights", needs, do))


def groups(shape: Sequence[int], cell: float) -> dict[float, str]:
    """Name every row, slice and channel of the input at its middle, the outer ones a line higher.

    Blocks whose middles are one place share its lines; `cell` is in points.

    Examples
    --------
    >>> groups((2, 1, 3), cell=20)
    {1.0: 'channel 1\\nrow 1', 4.0: 'channel 2\\nrow 1'}
    """
    places: dict[float, list[str]] = {}
    for level, (kind, width, n) in enumerate(blocks(shape)):
        fits = width * cell > 5 * (len(kind) + 2)  # points that its name takes
        prefix = f"{kind} " if fits else kind[0]  # "row 1" or "r1"
        for k in range(prod(shape) // width):
            middle = width * (k + 0.5) - 0.5
            lines = places.setdefault(middle, [])
            lines += [""] * (level - len(lines))  # where no inner block has this middle
            lines.append(f"{prefix}{k % n + 1}")
    return {middle: "\n".join(reversed(lines)) for middle, lines in sorted(places.items())}


def _part_cells(ax: Axes, ties: TieMap, cols: int) -> None:
    """Draw thin lines between cells, thick black ones where a row of pixels ends."""
    rows, n_inputs = ties.shape
    down, right = ties.out_shape[-1], ties.in_shape[-1]
    for thick in (False, True):
        across = [k - 0.5 for k in range(rows + 1) if (k % down == 0) == thick]
        along = [k - 0.5 for k in range(cols + 1) if (k % right == 0 or k > n_inputs) == thick]
        look = "black" if thick else THIN
        points = 1.4 if thick else 0.6
        ax.hlines(across, -0.5, cols - 0.5, colors=look, linewidths=points, zorder=2)
        ax.vlines(along, -0.5, rows - 0.5, colors=look, linewidths=points, zorder=2)


def paint(ax: Axes, colours: Array, texts: Mapping[Cell, str]) -> Axes:
    """Fill the cells, (rows, columns, 3 or 4) from 0 to 1, and write on them in black or white.

    Letters have one size in all cells, the largest for which there is room.
    """
    rows, cols = colours.shape[:2]
    ax.images[0].set_data(colours)
    size = text_size(*cell_size(ax, rows, cols), texts.values())
    for (row, col), text in texts.items():
        look = ink(to_hex(tuple(colours[row, col])))
        written = ax.text(
            col, row, text, ha="center", va="center", size=size, c=look, zorder=3, linespacing=1.1
        )
        written.set_in_layout(False)  # it fits its cell: nothing has to make room for it
    return ax


def cell_size(ax: Axes, rows: int, cols: int) -> tuple[float, float]:
    """Return how wide and high a cell will be, in points.

    That is a little less than it is now, since names of pixels will need room too.
    """
    aspect = float(ax.get_aspect())  # height by width of a cell; a number, since `bare` set one
    points = 0.95 * 72 / ax.figure.dpi  # of one pixel
    high = points * min(ax.bbox.width * aspect / cols, ax.bbox.height / rows)
    return high / aspect, high


def wide(ax: Axes, rows: int, cols: int) -> float:
    """Return how much wider than high cells are that fill the Axes: at least 1, at most 8 times."""
    return max(1.0, min(8.0, ax.bbox.width / cols * rows / ax.bbox.height))


def text_size(width: float, height: float, texts: Iterable[str]) -> float:
    """Return a size in points at which every text fits a cell of this width and height."""
    lines = [text.split("\n") for text in texts] or [[""]]
    most = max(map(len, lines))  # lines of one text
    # Letters are some 0.62 as wide as high, and spaces half of that.
    longest = max(len(line) - line.count(" ") / 2 for text in lines for line in text)
    by_width = 0.9 * width / (0.62 * max(longest, 1))
    by_height = 0.85 * height / (1.2 * most)
    return max(1.0, min(LARGEST_TEXT, by_width, by_height))


def blank(shape: tuple[int, ...]) -> Array:
    """Return the colours of cells that hold nothing, (rows, columns, 3)."""
    return np.full((*shape, 3), to_rgb(MASKED))


def by_weight(shape: tuple[int, ...], held: Mapping[Cell, Held]) -> Array:
    """Return the colours of cells by what they hold, (rows, columns, 3); grey is nothing."""
    colours = blank(shape)
    for cell, entries in held.items():
        colours[cell] = to_rgb(fill(entries))
    return colours


def diverging(values: Array) -> Array:
    """Return colours of PuOr (ColorBrewer) centred on 0: purple above, orange below."""
    from matplotlib import colormaps  # noqa: PLC0415  (reads its data files)

    size = float(np.abs(values).max(initial=0)) or 1.0
    return np.asarray(colormaps["PuOr"](0.5 + values / (2 * size)))[..., :3]


def number(value: float) -> str:
    """Return a number as short as a cell wants it: whole ones as they are, others to three digits.

    Examples
    --------
    >>> number(-34.0), number(1 / 3)
    ('-34', '0.333')
    """
    if abs(value) < 1e6 and value == int(value):  # of infinity there is no int
        return f"{int(value)}"
    return f"{value:.3g}"


def real_numbers(value: npt.ArrayLike, name: str, shape: tuple[int, ...], of: object) -> Array:
    """Return the numbers to draw, real and finite, of this shape."""
    array = finite(shaped(value, name, shape, of), name)
    if array.dtype.kind == "c":
        got = f"dtype {array.dtype}"
        raise TypeError(complain(name, got, "real numbers", "draw .real or .imag"))
    return array


def surround(ax: Axes, cells: Iterable[Cell]) -> None:
    """Frame the cells together, black within white: seen on every colour."""
    inside = set(cells)
    edges = [
        [(col + x_from, row + y_from), (col + x_to, row + y_to)]
        for row, col in inside
        for down, right, (x_from, y_from), (x_to, y_to) in SIDES
        if (row + down, col + right) not in inside
    ]
    for look, points, above in (("white", 4.5, 4), ("black", 2.0, 5)):
        lines = LineCollection(edges, colors=look, linewidths=points, zorder=above, clip_on=False)
        lines.set_capstyle("projecting")  # so that corners are whole
        ax.add_collection(lines)


def outline(ax: Axes, cells: Iterable[Cell]) -> None:
    """Draw thin lines around these cells, and no others."""
    squares = [Rectangle((col - 0.5, row - 0.5), 1, 1) for row, col in cells]
    ax.add_collection(
        PatchCollection(squares, facecolor="none", edgecolor=THIN, linewidth=0.6, zorder=2)
    )
    ax.spines[:].set_visible(False)


def hatch(ax: Axes, row: int, cols: int) -> None:
    """Hatch a row of cells, under what is written on them."""
    corner = (-0.5, row - 0.5)
    ax.add_patch(Rectangle(corner, cols, 1, fill=False, hatch="//", ec="#888888", lw=0, zorder=1.5))


def draw_thin_lines(ax: Axes, rows: int, cols: int) -> None:
    """Draw thin lines between all cells, unless these are too small."""
    _, points = cell_size(ax, rows, cols)
    if points < FINE:
        return
    across, along = np.arange(1, rows) - 0.5, np.arange(1, cols) - 0.5
    thin = min(0.6, points / 12)
    ax.hlines(across, -0.5, cols - 0.5, colors=THIN, linewidths=thin, zorder=2)
    ax.vlines(along, -0.5, rows - 0.5, colors=THIN, linewidths=thin, zorder=2)
