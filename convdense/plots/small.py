"""Small layers cell by cell: ties by colour and letter, masked cells grey, numbers where there are numbers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from convdense.arguments import Array, complain, finite, shaped
from convdense.cells import cells, fill, mark
from convdense.labels import letter, numbered
from convdense.layers import TiedDense
from convdense.palette import MASKED, ink
from convdense.tiemap import TieMap
from convdense.ties import tie

CELLS_LIMIT = 10_000


def matrix(layer: Any, ax: Axes | None = None) -> Axes:
    """Draw the layer's matrix: one colour and letter per weight, grey where the mask holds an edge at zero.

    A cell that holds several entries shows all their letters, such as a+b.

    Parameters
    ----------
    layer : anything `tie` knows
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the matrix has more than `CELLS_LIMIT` cells.

    Examples
    --------
    >>> from convdense import Conv
    >>> ax = matrix(Conv((1, 3, 3), out_channels=1, kernel=2))
    >>> [text.get_text() for text in ax.texts[:4]]
    ['a', 'b', 'c', 'd']
    """
    ties = tie(layer)
    ax = _grid(ties, ax, "matrix: one letter, one weight")
    colours = np.full((*ties.shape, 3), to_rgb(MASKED))
    for (row, col), entries in cells(ties.entries()).items():
        colours[row, col] = to_rgb(fill(entries))
        _write(ax, (row, col), mark(entries), colours[row, col])
    ax.imshow(colours, aspect="equal")
    return ax


def mask(layer: Any, ax: Axes | None = None) -> Axes:
    """Draw the layer's mask: white where an edge may carry a weight, grey where it is held at zero."""
    ties = tie(layer)
    ax = _grid(ties, ax, f"mask: {len(cells(ties.entries()))} of {ties.shape[0] * ties.shape[1]} edges exist")
    colours = np.full((*ties.shape, 3), to_rgb(MASKED))
    for cell in cells(ties.entries()):
        colours[cell] = 1.0
    ax.imshow(colours, aspect="equal")
    return ax


def gradient(layer: Any, values: Array, masked: bool, ax: Axes | None = None) -> Axes:
    """Draw a dense gradient, (outputs, inputs), as numbers; with `masked`, edges that do not exist are grey."""
    ties = tie(layer)
    values = _real(values, ties.shape, layer)
    title = "masked: edges that exist" if masked else "dense gradient: every edge"
    ax = _grid(ties, ax, title)
    colours, held = _diverging(values), cells(ties.entries())
    for cell in np.ndindex(*ties.shape):
        if masked and cell not in held:
            colours[cell] = to_rgb(MASKED)
        else:
            letters = mark(held[cell]) if masked else ""
            _write(ax, cell, f"{letters}\n{_number(values[cell])}".strip(), colours[cell])
    ax.imshow(colours, aspect="equal")
    return ax


def tied(layer: Any, values: Array, ax: Axes | None = None) -> Axes:
    """Draw the tied gradient: for each weight its letter, the sum over its copies, and how many copies it has."""
    ties = tie(layer)
    values = _real(values, ties.weight_shape, layer)
    if ties.n_weights > CELLS_LIMIT:
        needs = f"at most {CELLS_LIMIT:,} to be drawn one by one"
        raise ValueError(
            complain("layer", f"{ties.n_weights:,} weights", needs, "draw a smaller layer of the same kind")
        )
    copies = ties.counts().weights.ravel()
    rows = int(np.prod(ties.weight_shape[:-1]))
    ax = _axes(ax, "tied: the sum over each letter")
    table, colours = values.reshape(rows, -1), _diverging(values.reshape(rows, -1))
    for k, cell in enumerate(np.ndindex(*table.shape)):
        _write(
            ax,
            cell,
            f"{letter(k)}\n{_number(table[cell])}\n({copies[k]} {'copy' if copies[k] == 1 else 'copies'})",
            colours[cell],
        )
    ax.imshow(colours, aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def gradient_steps(layer: TiedDense, x: Array, dy: Array) -> Figure:
    """Draw the argument in one figure: the matrix, the dense gradient, the same masked, and summed over the ties.

    Parameters
    ----------
    layer : TiedDense
    x, dy : arrays
        Input and upstream gradient, as for `TiedDense.backward`.

    Returns
    -------
    matplotlib Figure
    """
    steps = layer.gradient_steps(x, dy)
    rows, cols = layer.ties.shape
    figure = Figure(figsize=(11, 1.6 + 9.6 * rows / cols), layout="constrained")
    ((a, b), (c, d)) = figure.subplots(2, 2)
    matrix(layer.layer, a)
    gradient(layer.layer, steps.dense, masked=False, ax=b)
    gradient(layer.layer, steps.masked, masked=True, ax=c)
    tied(layer.layer, steps.tied, d)
    return figure


def _real(values: Any, shape: tuple[int, ...], layer: Any) -> Array:
    """Return the numbers to draw, real and finite, of this shape."""
    array = finite(shaped(values, "values", shape, layer), "values")
    if array.dtype.kind == "c":
        raise TypeError(complain("values", f"dtype {array.dtype}", "real numbers", "draw .real or .imag"))
    return array


def _axes(ax: Axes | None, title: str) -> Axes:
    ax = Figure(layout="constrained").subplots() if ax is None else ax
    ax.set_title(title, fontsize=11)
    return ax


def _grid(ties: TieMap, ax: Axes | None, title: str) -> Axes:
    """Return Axes with output pixels on the rows, input pixels on the columns, and lines between the blocks."""
    rows, cols = ties.shape
    if rows * cols > CELLS_LIMIT:
        needs = f"at most {CELLS_LIMIT:,} to be drawn cell by cell"
        raise ValueError(complain("layer", f"{rows} x {cols} cells", needs, "draw a smaller layer of the same kind"))
    ax = _axes(ax, title)
    ax.set_yticks(range(rows), numbered("o", rows))
    ax.set_xticks(range(cols), numbered("i", cols), rotation=90 if cols > 12 else 0)
    ax.tick_params(length=0, labelsize=8)
    for k in range(rows + 1):
        ax.axhline(k - 0.5, **_line(k % ties.out_shape[-1] == 0))
    for k in range(cols + 1):
        ax.axvline(k - 0.5, **_line(k % ties.in_shape[-1] == 0))
    return ax


def _line(block: bool) -> dict[str, Any]:
    """Return the style of a line between cells, black between blocks (an output row meets an input row)."""
    return {"color": "black" if block else "#AAAAAA", "lw": 1.4 if block else 0.6, "zorder": 2}


def _diverging(values: Array) -> Array:
    """Return colours of PuOr centred on 0: purple above, orange below."""
    from matplotlib import colormaps  # noqa: PLC0415  (reads its data files)

    size = float(np.abs(values).max()) or 1.0
    return np.asarray(colormaps["PuOr"](0.5 + values / (2 * size)))[..., :3]


def _write(ax: Axes, cell: tuple[int, ...], text: str, behind: Array) -> None:
    row, col = cell
    ax.text(col, row, text, ha="center", va="center", fontsize=8, color=ink(to_hex(tuple(behind))), zorder=3)


def _number(value: Any) -> str:
    return f"{int(value)}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"
