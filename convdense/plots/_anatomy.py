"""One output pixel four times: its window on the input, the kernel, the pixel, and its row of the matrix."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from convdense._util.arguments import Array, Sizes, position
from convdense.display.example_sample import one_sample
from convdense.display.labels import letter, numbered, term, total
from convdense.display.palette import MASKED, colour
from convdense.display.plane_layout import sheet
from convdense.geometry import Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import (
    bare,
    by_weight,
    grid,
    number,
    of_matrix,
    outline,
    paint,
    pale,
    real,
    require_few,
    require_few_weights,
    surround,
)
from convdense.plots.panel_layout import HIGHEST, LARGEST_CELL, LETTER, LINE, WIDEST, Panel, arrange
from convdense.structure._tie import tie
from convdense.structure.letter_grid import Held, cells, fill, mark
from convdense.structure.tie_map import TieMap

TERMS = 24  # of an equation that is written in full


def anatomy(layer: Any, output: Sizes = 0, x: Any = None) -> Figure:
    """Draw one output pixel four times: its window on the input, the kernel, the pixel, and its row
    of the matrix.

    Pixels of the window have the colours and letters of the weights that read them; below stands
    the row's equation.

    Parameters
    ----------
    layer : anything `tie` knows
        Of a `TiedDense` the weights' values are written too.
    output : int or tuple of int
        Which output pixel: flattened, or as (channel, *position).
    x : array of the layer's in_shape, or None
        One sample, written into the input; a `TiedDense` then shows what comes out.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If the matrix has more than 10,000 cells, or the layer as many weights.

    Examples
    --------
    >>> from convdense import Conv
    >>> figure = anatomy(Conv((1, 3, 3), out_channels=1, kernel=2), output=(0, 1, 0))
    >>> figure.texts[-1].get_text()
    'o3 = a i4 + b i5 + c i7 + d i8'
    """
    ties = tie(layer)
    row = int(np.ravel_multi_index(position(output, "output", ties.out_shape), ties.out_shape))
    require_few(ties)
    require_few_weights(ties)
    x = None if x is None else one_sample(x, "x", ties.in_shape, "draw").ravel()
    held = cells(ties.entries())
    window = {col: entries for (r, col), entries in held.items() if r == row}
    lines = _panels(layer, ties, row, window)
    width = max(sum(p.before + p.width for p in line) for line in lines)
    said = _equation(layer, row, window, x, int(width / LETTER))
    figure, axes = arrange(lines, foot=LINE * 1.3 * (said.count("\n") + 1))
    seen, kernel, pixel, whole = axes
    _input(seen, ties, window, x)
    _kernel(kernel, layer, ties, window)
    _output(pixel, layer, ties, row, x)
    _matrix(whole, layer, ties, held, row)
    for ax, panel in zip(axes, (panel for line in lines for panel in line), strict=True):
        ax.set_title(panel.title, fontsize=10)
    figure.text(
        0.5, 0.12 / figure.get_figheight(), said, ha="center", va="bottom", size=10, linespacing=1.3
    )
    return figure


def _panels(layer: Any, ties: TieMap, row: int, window: Mapping[int, Held]) -> list[list[Panel]]:
    """Return the pictures: beside each other where there is room for the first three, below each other where not."""
    sheets = [sheet(shape) for shape in (ties.in_shape, ties.weight_shape, ties.out_shape)]
    cell = min(
        [
            LARGEST_CELL,
            *(WIDEST / laid.width for laid in sheets),
            *(HIGHEST / laid.height for laid in sheets),
        ]
    )
    titles = (_reads(layer, row, window), "the kernel", f"the output: o{row + 1}")
    signs = ("", "\N{MULTIPLICATION SIGN}", "=")
    first = [
        Panel(laid.height, laid.width, title, sign, cell)
        for laid, title, sign in zip(sheets, titles, signs, strict=True)
    ]
    lines = (
        [first]
        if sum(p.before + p.width for p in first) <= WIDEST
        else [[panel] for panel in first]
    )
    title = f"↓ the matrix: row o{row + 1} is this window, laid flat"
    return [*lines, [of_matrix(ties, title)]]


def _reads(layer: Any, row: int, window: Mapping[int, Held]) -> str:
    """Return in words what the pixel reads, and how many taps of its window fall beside the input."""
    numbers = layer.layer if isinstance(layer, TiedDense) else layer
    n = sum(map(len, window.values()))
    if isinstance(numbers, Windowed):
        taps = numbers.in_channels // numbers.groups * int(np.prod(numbers.kernel))
        if n < taps:
            return f"the window of o{row + 1}:\n{n} of {taps} taps meet the input"
    return f"the window of o{row + 1} on the input"


def _input(ax: Axes, ties: TieMap, window: Mapping[int, Held], x: Array | None) -> None:
    names = numbered("i", ties.shape[1]) if x is None else [number(v) for v in x.tolist()]
    looks = [fill(window.get(col, [])) for col in range(ties.shape[1])]
    texts = [
        f"{mark(window[col])}\n{name}" if col in window else name for col, name in enumerate(names)
    ]
    _sheet(ax, ties.in_shape, np.array([to_rgb(look) for look in looks]), texts, window)


def _kernel(ax: Axes, layer: Any, ties: TieMap, window: Mapping[int, Held]) -> None:
    used = {k for entries in window.values() for k, _ in entries}
    looks = np.array([to_rgb(colour(k)) for k in range(ties.n_weights)])
    rest = [k for k in range(ties.n_weights) if k not in used]
    looks[rest] = pale(looks[rest])
    texts = [letter(k) for k in range(ties.n_weights)]
    if isinstance(layer, TiedDense):
        values = real(layer.w, "w", ties.weight_shape, layer).ravel().tolist()
        texts = [f"{text}\n{number(value)}" for text, value in zip(texts, values, strict=True)]
    _sheet(ax, ties.weight_shape, looks, texts, ())


def _output(ax: Axes, layer: Any, ties: TieMap, row: int, x: Array | None) -> None:
    texts = numbered("o", ties.shape[0])
    if isinstance(layer, TiedDense) and x is not None:
        texts = [
            number(value) for value in layer.forward(x.reshape(ties.in_shape)).ravel().tolist()
        ]
    looks = np.full((ties.shape[0], 3), to_rgb(MASKED))
    looks[row] = 1.0
    _sheet(ax, ties.out_shape, looks, texts, (row,))


def _sheet(ax: Axes, shape: Sequence[int], looks: Array, texts: Sequence[str], framed: Any) -> None:
    """Draw an array, a square per pixel: its colours (pixels, 3), texts, and which of them are framed."""
    laid = sheet(shape)
    bare(ax, "", laid.height, laid.width)
    colours = np.zeros((laid.height, laid.width, 4))  # nothing, between the blocks
    colours[laid.y, laid.x] = np.column_stack([looks, np.ones(len(looks))])
    at = list(zip(laid.y.tolist(), laid.x.tolist(), strict=True))
    paint(ax, colours, dict(zip(at, texts, strict=True)))
    outline(ax, at)
    surround(ax, [at[k] for k in framed])


def _matrix(
    ax: Axes, layer: Any, ties: TieMap, held: Mapping[tuple[int, int], Held], row: int
) -> None:
    grid(ties, ax, "")
    colours = by_weight(ties.shape, held)
    others = np.arange(len(colours)) != row
    colours[others] = pale(colours[others])
    texts = {cell: mark(entries) for cell, entries in held.items()}
    if isinstance(layer, TiedDense):
        values = layer.matrix.toarray()
        texts = {cell: f"{text}\n{number(values[cell])}" for cell, text in texts.items()}
    paint(ax, colours, texts)
    surround(ax, [(row, col) for col in range(ties.shape[1])])


def _equation(layer: Any, row: int, window: Mapping[int, Held], x: Array | None, width: int) -> str:
    """Return the row's equation, in letters and, where there are numbers, in numbers; lines of `width` letters."""
    each = [(col, k, c) for col, entries in window.items() for k, c in entries]
    terms = [term(c, letter(k), f"i{col + 1}") for col, k, c in each]
    if not isinstance(layer, TiedDense):
        return _sum(f"o{row + 1} = ", terms, "", width)
    bias = [] if layer.b is None else [float(layer.ties.bias.matrix(layer.b).toarray()[row, 0])]
    said = _sum(f"o{row + 1} = ", [*terms, *("+ bias" for _ in bias)], "", width)
    if x is None:
        return said
    w, y = layer.w.ravel(), layer.forward(x.reshape(layer.in_shape)).ravel()
    products = [_product(term(c, _factor(w[k]), _factor(x[col]))) for col, k, c in each]
    return f"{said}\n{_sum('= ', [*products, *(f'+ {_factor(b)}' for b in bias)], f' = {number(y[row])}', width)}"


def _product(text: str) -> str:
    """Return a term of numbers with a point between them: ``+ 1/2·3·(-4)``."""
    sign, *factors = text.split(" ")
    return f"{sign} {'·'.join(factors)}"


def _factor(value: Any) -> str:
    """Return a number that stands within a sum."""
    return number(value) if value >= 0 else f"({number(value)})"


def _sum(before: str, terms: list[str], after: str, width: int) -> str:
    """Return a sum, its middle left out where it is long, broken between its terms."""
    if len(terms) > TERMS:
        terms = [
            *terms[: TERMS // 2],
            f"+ ... ({len(terms) - TERMS} more terms) ...",
            *terms[-TERMS // 2 :],
        ]
    whole = [text.replace(" ", "\N{NO-BREAK SPACE}") for text in (total(terms[:1]), *terms[1:])]
    lines = wrap(before + " ".join(whole) + after, max(width, 40), break_long_words=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
