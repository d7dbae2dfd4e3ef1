"""The matrix of any layer, however large: exact counts per bin, and one or two places."""

from collections.abc import Callable
from itertools import product
from math import prod
from textwrap import fill as wrapped

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from convdense.display.palette import MASKED
from convdense.geometry import HasShapes, require_cells
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import bare, by_weight, paint
from convdense.plots.density_bins import Bins, binned
from convdense.plots.panel_layout import at_pixels
from convdense.plots.shown import Figure
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries, expand, ordered
from convdense.structure.letter_grid import cells, mark
from convdense.structure.progressions import COL, ROW, Axis, joined
from convdense.structure.row_runs import merge, regular
from convdense.structure.tie_map import TieMap
from convdense.structure.weight_order import WeightOrder

BINS = 512  # down and across: each a whole number of pixels wide
CORNER = 120  # cells along a side of place A, the corner
MEETING = 10  # cells along a side of place B, where blocks meet
WRITTEN = 12  # cells along a side up to which letters fit
NAMES = 9  # names along a side of the whole matrix
DPI = 100
WIDTH = 930  # pixels, of the figure
LEFT, TOP, UNDER = 90, 90, 120  # pixels, around the whole matrix
WHOLE = BINS  # pixels, of the longer side of the whole matrix: one for a bin at least
SIDE, GAP = 240, 40  # pixels, of the longer side of a place, and between the two

Place = tuple[range, range]  # rows and columns of the matrix, to be drawn cell by cell


def density(layer: HasShapes) -> Figure:
    """Draw the matrix of any layer, however large: entries per bin, and one or two places in cells.

    Every entry is counted, none is sampled. The bins are whole channels, rows of pixels or pixels,
    so that their pattern repeats as the layer's does. On the screen each has a whole number of
    pixels; in a small layer each cell is a bin.

    Parameters
    ----------
    layer : anything `tie` knows

    Returns
    -------
    matplotlib Figure
        Its first Axes show the whole, the next the place A that is framed there and, if there is
        another, B, the last the scale.

    Examples
    --------
    >>> from convdense import Conv
    >>> conv = Conv((64, 56, 56), out_channels=64, kernel=3, padding=1)  # 112,869,376 entries
    >>> figure = density(conv)
    >>> figure.axes[-1].get_xlabel()
    'entries per bin of 392 x 392 cells; grey: none'
    """
    if isinstance(layer, TiedDense):
        layer = layer.layer  # its name is shown, its values are not
    ties = tie(layer)
    require_cells(ties)
    bins = binned(ties, BINS)
    places = _places(ties)

    height, width = _size(bins.counts.shape, WHOLE, ties.shape)
    shapes = [(len(rows), len(cols)) for rows, cols in places]
    sizes = [_size(shape, SIDE, shape) for shape in shapes]
    beside = sum(high + GAP for high, _ in sizes)
    figure_height = TOP + max(height + UNDER, beside)
    figure = Figure((WIDTH / DPI, figure_height / DPI), dpi=DPI)
    heading = f"{wrapped(repr(layer), 125)}\n{_summary(ties)}"
    figure.text(0.5, 1 - 10 / figure_height, heading, ha="center", va="top", parse_math=False)

    whole = at_pixels(figure, LEFT, TOP, width, height)
    image = _draw_whole(whole, ties, bins)
    top = TOP
    for name, place, (high, wide) in zip("AB", places, sizes, strict=False):  # or A alone
        _draw_place(at_pixels(figure, LEFT + WHOLE + 60, top, wide, high), ties, place, name)
        _frame_place(whole, place, name)
        top += high + GAP

    scale = at_pixels(figure, LEFT, TOP + height + 60, WHOLE, 12)
    down, right = bins.cells
    ragged = " (fewer at the end of a block)" if bins.ragged else ""
    bar = figure.colorbar(image, scale, orientation="horizontal")
    bar.ax.set_xlabel(f"entries per bin of {down:,} x {right:,} cells{ragged}; grey: none")
    bar.ax.minorticks_off()
    bar.ax.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _size(bins: tuple[int, ...], room: int, cells: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a picture of so many bins, a whole number of pixels for each.

    `room` is what its longer side may take; `cells`, rows and columns, tell its proportions.
    """
    down, right = bins
    rows, cols = cells
    ratio = min(5.0, max(0.2, rows / cols))  # height by width, never a mere line
    height = room * min(1.0, ratio)
    width = room * min(1.0, 1 / ratio)
    return down * max(1, int(height / down)), right * max(1, int(width / right))


def rectangle(ties: TieMap, rows: range, cols: range) -> Entries:
    """Return the entries of a rectangle of the matrix, sorted as `TieMap.entries` is.

    Those outside it are not written out.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> rectangle(tie(Conv((1, 3, 3), 1, kernel=2)), range(1, 3), range(0, 4)).index.tolist()
    [0, 1, 0]
    """
    # Along each axis, positions that no cell of the rectangle has are dropped. The product of what
    # remains holds the rectangle, and cells beside it that are dropped afterwards.
    outputs = _occurring(rows, ties.out_shape)  # of each axis: what is kept
    inputs = _occurring(cols, ties.in_shape)
    axes = [
        joined([axis.within(ROW, *i).within(COL, *j) for i, j in product(*kept)])
        for axis, *kept in zip(ties.axes, outputs, inputs, strict=True)
    ]
    found = expand(axes)

    in_rows = (found.row >= rows.start) & (found.row < rows.stop)
    in_cols = (found.col >= cols.start) & (found.col < cols.stop)
    inside = found.take(in_rows & in_cols)

    # `expand` numbers weights by the taps of the axes in order; a weight array may have another.
    tap_sizes = tuple(n for axis in axes for n in axis.tap_shape)
    order = WeightOrder(tap_sizes, ties.weight_order)
    return ordered(inside._replace(index=order.weight_of(inside.index)))


def _occurring(numbers: range, shape: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """Return for each axis which of its positions occur among some flattened ones.

    From where and up to where, twice if they begin anew.
    """
    occurring = []
    for i, n in enumerate(shape):
        inner = prod(shape[i + 1 :])
        first, last = numbers.start // inner, (numbers.stop - 1) // inner
        start, stop = first % n, last % n + 1
        if last - first >= n - 1:
            occurring.append([(0, n)])
        elif start < stop:
            occurring.append([(start, stop)])
        else:
            occurring.append([(0, stop), (start, n)])
    return occurring


def _summary(ties: TieMap) -> str:
    """Return size, entries, weights and the share of cells that hold no entry."""
    rows, cols = ties.shape
    n_cells = rows * cols
    filled = prod(map(_count_filled, ties.axes))  # a cell is, if its cell on every axis is
    size = f"{rows:,} x {cols:,}: {ties.n_entries:,} entries of {ties.n_weights:,} weights"
    return f"{size}; {1 - filled / n_cells:.4%} of {n_cells:,} cells held at zero"


def _count_filled(axis: Axis) -> int:
    """Return how many cells of one axis hold an entry, or several."""
    found = regular(axis)
    single, _ = merge(axis) if found is None else found[:2]
    return len(single)


def _draw_whole(ax: Axes, ties: TieMap, bins: Bins) -> ScalarMappable:
    """Draw the whole matrix: entries per bin on a logarithmic scale, grey where there are none."""
    colours = colormaps["viridis"].with_extremes(bad=MASKED)
    counts = np.ma.masked_equal(bins.counts, 0)
    scale = LogNorm(1, max(10, bins.counts.max()))
    # `cols` and `rows` are the edges of the bins.
    image = ax.pcolorfast(bins.cols, bins.rows, counts, cmap=colours, norm=scale)
    ax.invert_yaxis()
    ax.set_title(f"the whole matrix: {counts.shape[0]} x {counts.shape[1]} bins", fontsize=10)
    ax.set_ylabel(_number_blocks(ax.set_yticks, "output", ties.out_shape))
    ax.set_xlabel(_number_blocks(ax.set_xticks, "input", ties.in_shape))
    return image


def _number_blocks(
    set_ticks: Callable[[list[float], list[str]], object], kind: str, shape: tuple[int, ...]
) -> str:
    """Write numbers along a side at some of its largest blocks, and return what these are."""
    first = _outermost(shape)
    n, inner = shape[first], shape[first + 1 :]
    size = prod(inner)
    step = -(-n // NAMES)  # n / NAMES, rounded up
    shown = range(0, n, step)
    set_ticks([(k + 0.5) * size for k in shown], [f"{k + 1:,}" for k in shown])

    if len(shape) == 1:
        name = kind
    elif first == 0:
        name = f"{kind} channel"
    elif not inner:
        name = f"{kind} pixel"
    else:
        name = f"{kind} row of pixels" if len(inner) == 1 else f"{kind} slice"
    if size == 1:
        return name
    sizes = " x ".join(f"{width:,}" for width in inner)
    return f"{name}, {sizes} pixels each"


def _places(ties: TieMap) -> list[Place]:
    """Return the corner, and where blocks meet in the middle if that is another place."""
    rows, cols = ties.shape
    row = _start_of_middle_block(ties.out_shape)
    diagonal = row * cols // rows

    # The column nearest to the diagonal that the first output of the block reads.
    read = rectangle(ties, range(row, row + 1), range(cols)).col
    col = int(read[np.argmin(np.abs(read - diagonal))]) if len(read) else diagonal

    corner = _around(0, CORNER, rows), _around(0, CORNER, cols)
    meeting = _around(row, MEETING, rows), _around(col, MEETING, cols)
    return [corner] if corner == meeting else [corner, meeting]


def _start_of_middle_block(shape: tuple[int, ...]) -> int:
    """Return the first flattened position of the middle one of the largest blocks."""
    first = _outermost(shape)
    return shape[first] // 2 * prod(shape[first + 1 :])


def _outermost(shape: tuple[int, ...]) -> int:
    """Return the axis of the largest blocks: the first that has several, or the last."""
    return next((i for i, n in enumerate(shape) if n > 1), len(shape) - 1)


def _around(at: int, side: int, n: int) -> range:
    """Return `side` of n positions, with this one in their middle if it is not near an end."""
    first = max(0, min(at - side // 2, n - side))
    return range(first, min(n, first + side))


def _draw_place(ax: Axes, ties: TieMap, place: Place, name: str) -> None:
    """Draw a rectangle of the matrix cell by cell, with letters where they fit."""
    rows, cols = place
    size = len(rows), len(cols)
    # Its cells fill the Axes: they are this many times as wide as high.
    wide = ax.bbox.width / len(cols) * len(rows) / ax.bbox.height
    bare(ax, "", *size, wide=wide)
    held = {
        (row - rows.start, col - cols.start): entries
        for (row, col), entries in cells(rectangle(ties, rows, cols)).items()
    }
    letters = {}
    if max(size) <= WRITTEN:
        letters = {cell: mark(entries) for cell, entries in held.items()}
    paint(ax, by_weight(size, held), letters)
    _draw_block_ends(ax.axhline, rows, ties.out_shape)
    _draw_block_ends(ax.axvline, cols, ties.in_shape)
    ax.set_title(f"{name}: {_span('rows', rows)}\n{_span('columns', cols)}", fontsize=9)


def _span(name: str, numbers: range) -> str:
    """Return which rows or columns are shown, counted from 1."""
    return f"{name} {numbers.start + 1:,} to {numbers.stop:,}"


def _draw_block_ends(
    draw_line: Callable[..., object], numbers: range, shape: tuple[int, ...]
) -> None:
    """Draw thin lines between rows of pixels, thick ones between channels."""
    row = shape[-1]  # pixels of a row
    channel = prod(shape[1:])  # pixels of a channel
    for k in range(numbers.start + 1, numbers.stop):
        between = k - numbers.start - 0.5
        if len(shape) > 1 and k % channel == 0:
            draw_line(between, color="black", lw=2, zorder=2)
        elif k % row == 0:
            draw_line(between, color="black", lw=0.5, zorder=2)


def _frame_place(ax: Axes, place: Place, name: str) -> None:
    """Frame a place on the whole matrix, its name beside it, or inside where there is no room."""
    rows, cols = place
    corner = (cols.start, rows.start)
    ax.add_patch(Rectangle(corner, len(cols), len(rows), fill=False, ec="black", lw=1.5, zorder=3))
    beside = cols.stop < 0.9 * ax.get_xlim()[1]  # else the name would leave the matrix
    ax.annotate(
        name,
        (cols.stop, rows.start),
        xytext=(22 if beside else -14, -14),
        textcoords="offset points",
        ha="center",
        va="center",
        color="black",
        bbox={"boxstyle": "circle", "fc": "white", "ec": "black"},
        arrowprops={"arrowstyle": "-", "color": "black"} if beside else None,
        zorder=4,
    )
