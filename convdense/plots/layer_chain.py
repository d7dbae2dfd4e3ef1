"""Steps in a row: matrices, and beside each the numbers that leave it, with what is done to them, such as |x|."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from convdense._util.arguments import Array, complain
from convdense.display.palette import MASKED
from convdense.layers.dense_form import Absolute, Affine, Divide
from convdense.plots.cell_grid import (
    bare,
    blank,
    cell_size,
    diverging,
    number,
    paint,
    real,
    ruled,
    text_size,
)
from convdense.plots.panel_layout import HIGHEST, LARGEST_CELL, WIDEST, Panel, arrange, wrapped
from convdense.structure.letter_grid import Held, cells, fill, mark

CHAIN_LIMIT = 40_000  # cells of all matrices together
SMALLEST_TEXT = 4.5  # points
Draw = Callable[[Axes], None]
COLUMN = 1.6  # cells that one number is wide


class Pointwise(NamedTuple):
    """What is done to every coordinate by itself, written with ``x`` for the number, such as ``|x|`` or ``x/4``."""

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
    >>> pointwise(Absolute(np.array([False, True]))).forms, pointwise(Divide(np.array([4, 1]))).forms
    (['x', '|x|'], ['x/4', 'x'])
    """
    if isinstance(step, Absolute):
        return Pointwise(["|x|" if taken else "x" for taken in step.mask.tolist()], step.forward)
    return Pointwise([f"x/{d}" if d != 1 else "x" for d in step.divisors.tolist()], step.forward)


def chain(links: Sequence[Link], x: Array | None, title: str) -> Figure:
    """Draw steps in a row, their matrices in cells of one size; with x, (inputs,), the numbers that
    flow through.

    Below a matrix stand the numbers that enter its columns, beside it those that leave its rows.

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
    cell = min([LARGEST_CELL, *(min(0.9 * WIDEST / cols, HIGHEST / rows) for rows, cols in shapes)])
    parts = list(_parts(links, _values(links, x), cell))
    figure, axes = arrange(wrapped([panel for panel, _ in parts]), title)
    for ax, (panel, draw) in zip(axes, parts, strict=True):
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


def _parts(
    links: Sequence[Link], values: list[list[str]] | None, cell: float
) -> Iterator[tuple[Panel, Draw]]:
    """Yield every picture and what draws it; without numbers, a column only where something is done to it."""
    for i, (step, title) in enumerate(links):
        then = links[i + 1].step if i + 1 < len(links) else None
        entering = None if values is None else values[i]
        if isinstance(step, Affine):
            sign, below = "→" if i else "", 0.0 if entering is None else 0.35
            rows, cols = step.W.shape
            yield (
                Panel(rows, cols, title, sign, cell, below=below),
                partial(_matrix, step=step, entering=entering),
            )
        else:
            sign = "=" if i and values is not None else ""
            yield (
                _column(len(step.forms), title or _only(step.forms), sign, cell),
                partial(_numbers, forms=step.forms, values=entering),
            )
        if values is not None and (
            then is None or (isinstance(step, Affine) and isinstance(then, Affine))
        ):
            leaving = values[i + 1]
            draw = partial(_numbers, forms=["x"] * len(leaving), values=leaving)
            yield _column(len(leaving), "", "=", cell), draw


def _column(rows: int, title: str, sign: str, cell: float) -> Panel:
    return Panel(rows, 1, title, sign, cell, COLUMN)


def _only(forms: list[str]) -> str:
    """Return what is done, if it is one thing: cells may be too small for words."""
    done = sorted({form for form in forms if form != "x"})
    return done[0] if len(done) == 1 else ""


def _matrix(ax: Axes, step: Affine, entering: list[str] | None) -> None:
    """Draw a matrix: where it has ties in their colours, by value elsewhere."""
    values = real(step.W.toarray(), "W", step.W.shape, step)
    stored = step.W.tocoo()  # a weight of 0 is an edge too
    at = list(zip(stored.row.tolist(), stored.col.tolist(), strict=True))
    colours, by_value = blank(values.shape), diverging(values)
    for cell in at:
        colours[cell] = by_value[cell]
    texts = {cell: [number(values[cell])] for cell in at}
    for cell, entries in _tied(step).items():
        colours[cell] = to_rgb(fill(entries))
        texts[cell] = [mark(entries), number(values[cell])]
    paint(ax, colours, _legible(ax, values.shape, texts))
    points = cell_size(ax, *values.shape)[0]
    ruled(ax, values.shape[0], values.shape[1], points)
    size = min(8.0, 0.55 * points)
    if entering is not None and size >= SMALLEST_TEXT:
        upright = 0.62 * size * max(map(len, entering)) > points
        ax.set_xticks(range(len(entering)), entering, fontsize=size, rotation=90 if upright else 0)
        ax.tick_params(length=0)


def _tied(step: Affine) -> dict[tuple[int, int], Held]:
    """Return what the cells hold whose weights have copies; in a residual they stand after the identity."""
    if step.ties is None or step.ties.counts().weights.max(initial=0) <= 1:
        return {}
    down, right = (n - m for n, m in zip(step.W.shape, step.ties.shape, strict=True))
    return {
        (row + down, col + right): held for (row, col), held in cells(step.ties.entries()).items()
    }


def _legible(
    ax: Axes, shape: tuple[int, int], texts: dict[tuple[int, int], list[str]]
) -> dict[tuple[int, int], str]:
    """Return the lines of every cell if they can be read; if not, the first one; if not that, nothing."""
    for lines in (2, 1):
        short = {cell: "\n".join(text[:lines]) for cell, text in texts.items()}
        if text_size(*cell_size(ax, *shape), short.values()) >= SMALLEST_TEXT:
            return short
    return {}


def _numbers(ax: Axes, forms: list[str], values: list[str] | None) -> None:
    """Draw a column of numbers, and what is done to each; white where something is, grey where it passes."""
    colours = np.array([to_rgb(MASKED if form == "x" else "white") for form in forms])[:, None]
    shown = (
        [form.replace("x", value) for form, value in zip(forms, values, strict=True)]
        if values
        else forms
    )
    texts = {(k, 0): [text] for k, text in enumerate(shown) if text != "x"}
    paint(ax, colours, _legible(ax, (len(forms), 1), texts))
    ruled(ax, len(forms), 1, cell_size(ax, len(forms), 1)[1])
