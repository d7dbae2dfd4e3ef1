"""The matrix of any layer, however large: exact counts per bin, and two places cell by cell."""

from collections.abc import Callable
from math import prod
from textwrap import fill as wrapped
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convdense._util.arguments import Array
from convdense.display.palette import MASKED
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import bare, by_weight, paint
from convdense.plots.density_bins import Bins, binned
from convdense.plots.panel_layout import at_pixels
from convdense.structure._tie import tie
from convdense.structure.axis import Axis
from convdense.structure.kronecker import Entries, expand, ordered
from convdense.structure.letter_grid import cells, mark
from convdense.structure.tie_map import TieMap
from convdense.structure.weight_order import WeightOrder

BINS = 512  # down and across: each a whole number of pixels wide
CORNER, MEETING = 120, 10  # cells along the sides of the two places
WRITTEN = 12  # cells along a side up to which letters fit
NAMES = 9  # names along a side of the whole matrix
DPI = 100
WIDTH, LEFT, TOP, UNDER = 930, 90, 90, 120  # pixels, around the whole matrix
SIDE, GAP = 240, 40  # pixels, of a place and between the two


def density(layer: Any) -> Figure:
    """Draw the matrix of any layer, however large: how many entries each part has, and two places
    cell by cell.

    Every entry is counted, none is sampled. The bins are whole channels, rows of pixels or pixels,
    so that they repeat as the layer does, and a whole number of pixels each; in a small layer each
    cell is a bin.

    Parameters
    ----------
    layer : anything `tie` knows

    Returns
    -------
    matplotlib Figure
        Its first Axes show the whole, the next the places A and B that are framed there, the last
        the scale.

    Examples
    --------
    >>> from convdense import Conv
    >>> figure = density(Conv((64, 56, 56), out_channels=64, kernel=3, padding=1))  # 112,869,376 entries
    >>> figure.axes[-1].get_xlabel()
    'entries per bin of 392 x 392 cells; grey: none'
    """
    layer = (
        layer.layer if isinstance(layer, TiedDense) else layer
    )  # its name is shown, its values are not
    ties = tie(layer)
    bins, places = binned(ties, BINS), _places(ties)
    size = _size(bins.counts.shape, BINS, ties.shape)
    sizes = [_size((len(rows), len(cols)), SIDE, (len(rows), len(cols))) for rows, cols in places]
    height = TOP + max(size[0] + UNDER, sum(down + GAP for down, _ in sizes))
    figure = Figure((WIDTH / DPI, height / DPI), dpi=DPI)
    figure.text(
        0.5,
        1 - 10 / height,
        f"{wrapped(repr(layer), 125)}\n{_summary(ties)}",
        ha="center",
        va="top",
        parse_math=False,
    )
    whole = at_pixels(figure, LEFT, TOP, *reversed(size))
    image = _whole(whole, ties, bins)
    top = TOP
    for name, (rows, cols), (down, right) in zip("AB", places, sizes, strict=False):
        _place(at_pixels(figure, LEFT + BINS + 60, top, right, down), ties, rows, cols, name)
        _frame(whole, rows, cols, name)
        top += down + GAP
    scale = at_pixels(figure, LEFT, TOP + size[0] + 60, BINS, 12)
    _name_colours(figure.colorbar(image, scale, orientation="horizontal"), bins)
    return figure


def _size(bins: tuple[int, ...], room: int, cells: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a picture, a whole number of pixels for each bin; `cells` tell its proportions."""
    share = min(5.0, max(0.2, cells[0] / cells[1]))
    height, width = room * min(1.0, share), room * min(1.0, 1 / share)
    down, right = bins
    return down * max(1, int(height / down)), right * max(1, int(width / right))


def rectangle(ties: TieMap, rows: range, cols: range) -> Entries:
    """Return the entries of a rectangle of the matrix, sorted as `TieMap.entries` is; the others
    are not written out.

    Examples
    --------
    >>> from convdense import Conv, tie
    >>> rectangle(tie(Conv((1, 3, 3), 1, kernel=2)), range(1, 3), range(0, 4)).index.tolist()
    [0, 1, 0]
    """
    down, right = _met(rows, ties.out_shape), _met(cols, ties.in_shape)
    axes = [
        axis.take(r[axis.rows] & c[axis.cols])
        for axis, r, c in zip(ties.axes, down, right, strict=True)
    ]
    found = expand(axes)
    inside = (
        (found.row >= rows.start)
        & (found.row < rows.stop)
        & (found.col >= cols.start)
        & (found.col < cols.stop)
    )
    kept = found.take(inside)
    order = WeightOrder(tuple(n for axis in axes for n in axis.tap_shape), ties.weight_order)
    return ordered(kept._replace(index=order.weight_of(kept.index)))


def _met(numbers: range, shape: tuple[int, ...]) -> list[Array]:
    """Return for each axis which of its positions occur among some flattened ones."""
    whole = len(numbers) == prod(shape)
    met = [np.full(n, whole) for n in shape]
    for axis, places in zip(
        met, () if whole else np.unravel_index(numbers, shape), strict=not whole
    ):
        axis[places] = True
    return met


def _summary(ties: TieMap) -> str:
    """Return size, entries, weights and the share of cells that hold no entry."""
    rows, cols = ties.shape
    zero = f"{1 - prod(map(_held, ties.axes)) / (rows * cols):.4%} of {rows * cols:,} cells held at zero"
    return f"{rows:,} x {cols:,}: {ties.n_entries:,} entries of {ties.n_weights:,} weights; {zero}"


def _held(axis: Axis) -> int:
    """Return how many cells of one axis hold an entry, or several."""
    flat = np.sort(
        axis.rows * axis.n_cols + axis.cols, kind="stable"
    )  # fast where it is sorted already
    return int(np.count_nonzero(np.diff(flat, prepend=-1)))


def _whole(ax: Axes, ties: TieMap, bins: Bins) -> Any:
    """Draw the whole matrix: entries per bin on a logarithmic scale, grey where there are none."""
    colours = colormaps["viridis"].with_extremes(bad=MASKED)
    counts = np.ma.masked_equal(bins.counts, 0)
    image = ax.pcolorfast(
        bins.cols, bins.rows, counts, cmap=colours, norm=LogNorm(1, max(10, bins.counts.max()))
    )
    ax.invert_yaxis()
    ax.set_title(f"the whole matrix: {counts.shape[0]} x {counts.shape[1]} bins", fontsize=10)
    ax.set_ylabel(_name_blocks(ax.set_yticks, "output", ties.out_shape))
    ax.set_xlabel(_name_blocks(ax.set_xticks, "input", ties.in_shape))
    return image


def _name_colours(bar: Any, bins: Bins) -> None:
    """Name the numbers beside the colours."""
    down, right = bins.cells
    ragged = " (fewer at the end of a block)" if bins.ragged else ""
    bar.ax.set_xlabel(f"entries per bin of {down:,} x {right:,} cells{ragged}; grey: none")
    bar.ax.minorticks_off()
    bar.ax.xaxis.set_major_formatter("{x:,.0f}")


def _name_blocks(
    set_ticks: Callable[[list[float], list[str]], Any], kind: str, shape: tuple[int, ...]
) -> str:
    """Write numbers along a side at some of its largest blocks, and return what these are."""
    first = _outermost(shape)
    n, size = shape[first], prod(shape[first + 1 :])
    shown = range(0, n, -(-n // NAMES))
    set_ticks([(k + 0.5) * size for k in shown], [f"{k + 1:,}" for k in shown])
    if first == 0:
        unit = " channel" if len(shape) > 1 else ""
    else:
        unit = [" pixel", " row of pixels", " slice"][min(2, len(shape) - 1 - first)]
    each = f", {' x '.join(f'{n:,}' for n in shape[first + 1 :])} pixels each" if size > 1 else ""
    return kind + unit + each


def _places(ties: TieMap) -> list[tuple[range, range]]:
    """Return the corner, and where blocks meet in the middle of the diagonal if that is not the same."""
    rows, cols = ties.shape
    row = _border(ties.out_shape)
    middle = row * cols // rows
    read = rectangle(
        ties, range(row, row + 1), range(cols)
    ).col  # what the first row of the block reads
    col = int(read[np.argmin(np.abs(read - middle))]) if len(read) else middle
    corner = _around(0, CORNER, rows), _around(0, CORNER, cols)
    meeting = _around(row, MEETING, rows), _around(col, MEETING, cols)
    return [corner, meeting] if corner != meeting else [corner]


def _border(shape: tuple[int, ...]) -> int:
    """Return the first position of the block in the middle, among the largest blocks."""
    first = _outermost(shape)
    return shape[first] // 2 * prod(shape[first + 1 :])


def _outermost(shape: tuple[int, ...]) -> int:
    """Return the axis of the largest blocks: the first that has several."""
    return next((i for i, n in enumerate(shape) if n > 1), len(shape) - 1)


def _around(at: int, side: int, n: int) -> range:
    """Return `side` of n positions, with this one in their middle if it is not near an end."""
    first = max(0, min(at - side // 2, n - side))
    return range(first, min(n, first + side))


def _place(ax: Axes, ties: TieMap, rows: range, cols: range, name: str) -> None:
    """Draw a rectangle of the matrix cell by cell, with letters where they fit."""
    size = len(rows), len(cols)
    bare(ax, "", *size, wide=ax.bbox.width / size[1] * size[0] / ax.bbox.height)
    held = {
        (row - rows.start, col - cols.start): h
        for (row, col), h in cells(rectangle(ties, rows, cols)).items()
    }
    letters = {cell: mark(entries) for cell, entries in held.items()}
    paint(ax, by_weight(size, held), letters if max(size) <= WRITTEN else {})
    _lines(ax.axhline, rows, ties.out_shape)
    _lines(ax.axvline, cols, ties.in_shape)
    ax.set_title(f"{name}: {_span('rows', rows)}\n{_span('columns', cols)}", fontsize=9)


def _span(name: str, numbers: range) -> str:
    """Return which rows or columns are shown, counted from 1."""
    return f"{name} {numbers.start + 1:,} to {numbers.stop:,}"


def _lines(draw: Callable[..., Any], numbers: range, shape: tuple[int, ...]) -> None:
    """Draw thin lines between rows of pixels, thick ones between channels."""
    for k in range(numbers.start + 1, numbers.stop):
        if k % prod(shape[1:]) == 0 and len(shape) > 1:
            draw(k - numbers.start - 0.5, color="black", lw=2, zorder=2)
        elif k % shape[-1] == 0:
            draw(k - numbers.start - 0.5, color="black", lw=0.5, zorder=2)


def _frame(ax: Axes, rows: range, cols: range, name: str) -> None:
    """Frame a place on the whole matrix, with its name beside, or inside where there is no room beside."""
    ax.add_patch(
        Rectangle(
            (cols.start, rows.start), len(cols), len(rows), fill=False, ec="black", lw=1.5, zorder=3
        )
    )
    beside = cols.stop < 0.9 * ax.get_xlim()[1]
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
