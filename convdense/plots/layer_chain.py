"""Steps in a row: matrices, and beside each the numbers that leave it, with |x| and the like."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from convdense._util.arguments import Array, complain
from convdense.display.palette import MASKED
from convdense.layers.dense_form import Absolute, Affine, Divide
from convdense.plots.cell_grid import (
    Cell,
    bare,
    blank,
    cell_size,
    diverging,
    draw_thin_lines,
    number,
    paint,
    real_numbers,
    text_size,
)
from convdense.plots.panel_layout import LARGEST_CELL, Panel, arrange, largest_cell, wrapped
from convdense.plots.shown import Figure
from convdense.structure.letter_grid import Held, cells, fill, mark

CHAIN_LIMIT = 40_000  # cells of all matrices together
SMALLEST_TEXT = 4.5  # points
COLUMN = 1.6  # width over height of a cell in a column of numbers
ENTERING = 0.35  # inches below a matrix, for the numbers that enter it

Draw = Callable[[Axes], None]


class Pointwise(NamedTuple):
    """What is done to every coordinate by itself, as written of x, such as ``|x|`` or ``x/4``."""

    forms: list[str]
    forward: Callable[[Array], Array]


class Link(NamedTuple):
    """One step and its title."""

    step: Affine | Pointwise
    title: str = ""


def pointwise(step: Absolute | Divide) -> Pointwise:
    """Return a step as it is written.

    Examples
    --------
    >>> pointwise(Absolute(np.array([False, True]))).forms
    ['x', '|x|']
    >>> pointwise(Divide(np.array([4, 1]))).forms
    ['x/4', 'x']
    """
    if isinstance(step, Absolute):
        forms = ["|x|" if taken else "x" for taken in step.mask.tolist()]
    else:
        forms = ["x" if d == 1 else f"x/{d}" for d in step.divisors.tolist()]
    return Pointwise(forms, step.forward)


def chain(links: Sequence[Link], x: Array | None, title: str) -> Figure:
    """Draw steps in a row, their matrices in cells of one size, with the numbers that flow through.

    Below a matrix stand the numbers that enter its columns, beside it those that leave its rows:
    those of x, (inputs,), or none if there is no x.

    Raises
    ------
    ValueError
        If the matrices have more than `CHAIN_LIMIT` cells together.
    """
    shapes = [link.step.W.shape for link in links if isinstance(link.step, Affine)]
    total = sum(rows * cols for rows, cols in shapes)
    if total > CHAIN_LIMIT:
        needs = f"at most {CHAIN_LIMIT:,} to be drawn cell by cell"
        do = "convdense.plots.density(layer) shows one large layer"
        raise ValueError(complain("layers", f"matrices of {total:,} cells together", needs, do))

    # At most 0.9 of a line each, which leaves room for a column of numbers beside it.
    sizes = [largest_cell(rows, cols, share=0.9) for rows, cols in shapes]
    cell = min(sizes, default=LARGEST_CELL)
    pictures = list(_pictures(links, _values(links, x), cell))
    figure, axes = arrange(wrapped([panel for panel, _ in pictures]), title)
    for ax, (panel, draw) in zip(axes, pictures, strict=True):
        bare(ax, "", panel.rows, panel.cols, panel.wide)
        draw(ax)
        ax.set_title(panel.title, fontsize=9)
    return figure


def _values(links: Sequence[Link], x: Array | None) -> list[list[str]] | None:
    """Return the numbers that enter each step, and those that leave the last."""
    if x is None:
        return None
    values = [np.asarray(x, float).reshape(1, -1)]
    for link in links:
        values.append(link.step.forward(values[-1]))
    return [[number(v) for v in value[0].tolist()] for value in values]


def _pictures(
    links: Sequence[Link], values: list[list[str]] | None, cell: float
) -> Iterator[tuple[Panel, Draw]]:
    """Yield every picture and what draws it; without numbers, no column of plain numbers."""
    for i, link in enumerate(links):
        entering = None if values is None else values[i]
        yield _picture(link, entering, cell, first=i == 0)

        # What a matrix hands to |x| is written in the column of |x|, what |x| hands to a matrix
        # below that matrix: only what two matrices hand on, and the result, needs a column.
        following = links[i + 1].step if i + 1 < len(links) else None
        between_matrices = isinstance(link.step, Affine) and isinstance(following, Affine)
        if values is not None and (following is None or between_matrices):
            leaving = values[i + 1]
            column = Panel(len(leaving), cols=1, title="", sign="=", cell=cell, wide=COLUMN)
            yield column, partial(_draw_numbers, forms=["x"] * len(leaving), values=leaving)


def _picture(
    link: Link, entering: list[str] | None, cell: float, first: bool
) -> tuple[Panel, Draw]:
    """Return the picture of a step, and what draws it with the numbers that enter it."""
    step, title = link
    if isinstance(step, Affine):
        rows, cols = step.W.shape
        sign = "" if first else "→"
        below = 0.0 if entering is None else ENTERING
        panel = Panel(rows, cols, title, sign, cell, below=below)
        return panel, partial(_draw_matrix, step=step, entering=entering)

    sign = "" if first or entering is None else "="
    done = {form for form in step.forms if form != "x"}
    if not title and len(done) == 1:  # one thing is said above: cells may be too small for it
        (title,) = done
    panel = Panel(len(step.forms), cols=1, title=title, sign=sign, cell=cell, wide=COLUMN)
    return panel, partial(_draw_numbers, forms=step.forms, values=entering)


def _draw_matrix(ax: Axes, step: Affine, entering: list[str] | None) -> None:
    """Draw a matrix: a tied weight in its colour and with its letter, other cells by value."""
    values = real_numbers(step.W.toarray(), "W", step.W.shape, step)
    by_value = diverging(values)  # (rows, cols, 3)
    colours = blank(values.shape)  # (rows, cols, 3)
    texts: dict[Cell, list[str]] = {}  # (row, col) -> the lines written there
    stored = step.W.tocoo()  # a weight of 0 is an edge too
    for at in zip(stored.row.tolist(), stored.col.tolist(), strict=True):
        colours[at] = by_value[at]
        texts[at] = [number(values[at])]
    for at, entries in _tied(step).items():
        colours[at] = to_rgb(fill(entries))
        texts[at] = [mark(entries), number(values[at])]
    paint(ax, colours, _legible(ax, values.shape, texts))

    rows, cols = values.shape
    width, _ = cell_size(ax, rows, cols)  # points
    draw_thin_lines(ax, rows, cols)
    size = min(8.0, 0.55 * width)  # points: two letters fit below a cell
    if entering is not None and size >= SMALLEST_TEXT:
        too_long = 0.62 * size * max(map(len, entering)) > width  # a letter is 0.62 as wide as high
        turn = 90 if too_long else 0
        ax.set_xticks(range(len(entering)), entering, fontsize=size, rotation=turn)
        ax.tick_params(length=0)


def _tied(step: Affine) -> dict[Cell, Held]:
    """Return which weights each cell of a matrix holds; nothing where no weight has copies."""
    if step.ties is None:
        return {}
    copies = step.ties.counts().weights  # of each weight
    if copies.max(initial=0) <= 1:
        return {}

    # In a residual the identity stands before them, with rows and columns of its own.
    rows, cols = step.ties.shape
    down, right = step.W.shape[0] - rows, step.W.shape[1] - cols
    held = cells(step.ties.entries())
    return {(row + down, col + right): entries for (row, col), entries in held.items()}


def _legible(ax: Axes, shape: Cell, texts: dict[Cell, list[str]]) -> dict[Cell, str]:
    """Return the text of every cell: two lines if they can be read, else the first, else none."""
    width, height = cell_size(ax, *shape)  # points
    for n_lines in (2, 1):
        shown = {cell: "\n".join(lines[:n_lines]) for cell, lines in texts.items()}
        if text_size(width, height, shown.values()) >= SMALLEST_TEXT:
            return shown
    return {}


def _draw_numbers(ax: Axes, forms: list[str], values: list[str] | None) -> None:
    """Draw a column of numbers, and what is done to each: white where something is, else grey."""
    n = len(forms)
    colours = np.array([to_rgb(MASKED if form == "x" else "white") for form in forms])
    shown = forms
    if values:
        shown = [form.replace("x", value) for form, value in zip(forms, values, strict=True)]
    # Without its number, an x that nothing is done to is left blank.
    texts = {(k, 0): [text] for k, text in enumerate(shown) if text != "x"}
    paint(ax, colours[:, None], _legible(ax, (n, 1), texts))  # (n, 1, 3): one column
    draw_thin_lines(ax, n, 1)
