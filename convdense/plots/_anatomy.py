"""One output pixel four times: its window, the kernel, the pixel, and its row of the matrix."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from convdense._util.arguments import Array, Sizes, position
from convdense.display.example_sample import one_sample
from convdense.display.labels import letter, numbered, term, total
from convdense.display.palette import MASKED, colour
from convdense.display.plane_layout import sheet
from convdense.geometry import HasShapes, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import (
    bare,
    by_weight,
    grid,
    number,
    outline,
    paint,
    pale,
    panel_of,
    real_numbers,
    require_few,
    require_few_weights,
    surround,
)
from convdense.plots.panel_layout import LETTER, LINE, WIDEST, Panel, across, arrange, largest_cell
from convdense.plots.shown import Figure
from convdense.structure._tie import tie
from convdense.structure.letter_grid import Held, cells, fill, mark, require_linear
from convdense.structure.tie_map import TieMap

TERMS = 24  # of an equation that is written in full
SPACING = 1.3  # of the lines of an equation
BELOW = 0.12  # inches: free below it
NO_BREAK = "\N{NO-BREAK SPACE}"


def anatomy(layer: HasShapes, output: Sizes = 0, x: npt.ArrayLike | None = None) -> Figure:
    """Draw one output pixel four times: its window, the kernel, the pixel, its row of the matrix.

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
    require_linear(ties)
    at = position(output, "output", ties.out_shape)  # (channel, *position)
    row = int(np.ravel_multi_index(at, ties.out_shape))
    require_few(ties)
    require_few_weights(ties)
    sample = None if x is None else one_sample(x, "x", ties.in_shape, "draw").ravel()  # (inputs,)

    held = cells(ties.entries())
    window = {col: entries for (r, col), entries in held.items() if r == row}
    panel_lines = _panels(layer, ties, row, window)

    # The equation is broken at the width of the drawing, and the drawing leaves room below for it.
    width = max(across(line) for line in panel_lines)  # inches, as LETTER and LINE
    equation = _equation(layer, row, window, sample, int(width / LETTER))
    figure, axes = arrange(panel_lines, foot=LINE * SPACING * (equation.count("\n") + 1))

    input_axes, kernel_axes, output_axes, matrix_axes = axes
    _draw_input(input_axes, ties, window, sample)
    _draw_kernel(kernel_axes, layer, ties, window)
    _draw_output(output_axes, layer, ties, row, sample)
    _draw_matrix(matrix_axes, layer, ties, held, row)

    panels = [panel for line in panel_lines for panel in line]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(panel.title, fontsize=10)
    bottom = BELOW / figure.get_figheight()
    figure.text(0.5, bottom, equation, ha="center", va="bottom", size=10, linespacing=SPACING)
    return figure


def _panels(
    layer: HasShapes, ties: TieMap, row: int, window: Mapping[int, Held]
) -> list[list[Panel]]:
    """Return input, kernel and output, in one line if they fit, and below them the matrix."""
    # Arrays of any number of axes, laid out in the plane.
    sheets = [sheet(shape) for shape in (ties.in_shape, ties.weight_shape, ties.out_shape)]
    titles = (_window_title(layer, row, window), "the kernel", f"the output: o{row + 1}")
    signs = ("", "\N{MULTIPLICATION SIGN}", "=")

    # All three have squares of one size, so that the kernel fits its window.
    cell = min(largest_cell(laid.height, laid.width) for laid in sheets)

    panels = [
        Panel(laid.height, laid.width, title, sign, cell)
        for laid, title, sign in zip(sheets, titles, signs, strict=True)
    ]
    lines = [panels] if across(panels) <= WIDEST else [[panel] for panel in panels]
    title = f"↓ the matrix: row o{row + 1} is this window, laid flat"
    return [*lines, [panel_of(ties, title)]]


def _window_title(layer: HasShapes, row: int, window: Mapping[int, Held]) -> str:
    """Return in words what the pixel reads; where padding cuts its window, how many taps remain."""
    geometry = layer.layer if isinstance(layer, TiedDense) else layer
    if isinstance(geometry, Windowed):
        # An entry of the row is a tap that meets the input; in the padding there is none.
        entries = sum(map(len, window.values()))
        taps = geometry.in_channels // geometry.groups * prod(geometry.kernel)
        if entries < taps:
            return f"the window of o{row + 1}:\n{entries} of {taps} taps meet the input"
    return f"the window of o{row + 1} on the input"


def _draw_input(ax: Axes, ties: TieMap, window: Mapping[int, Held], x: Array | None) -> None:
    """Draw the input: pixels of the window in the colours and with the letters of their weights."""
    n_inputs = ties.shape[1]
    names = numbered("i", n_inputs) if x is None else [number(value) for value in x.tolist()]
    texts = [
        f"{mark(window[col])}\n{name}" if col in window else name for col, name in enumerate(names)
    ]
    colours = [to_rgb(fill(window.get(col, []))) for col in range(n_inputs)]  # grey outside it
    _draw_sheet(ax, ties.in_shape, np.array(colours), texts, framed=window)


def _draw_kernel(ax: Axes, layer: HasShapes, ties: TieMap, window: Mapping[int, Held]) -> None:
    """Draw the weights: pale those that this output does not use."""
    weights = range(ties.n_weights)
    used = {k for entries in window.values() for k, _ in entries}
    unused = [k for k in weights if k not in used]
    colours = np.array([to_rgb(colour(k)) for k in weights])  # (weights, 3)
    colours[unused] = pale(colours[unused])

    texts = [letter(k) for k in weights]
    if isinstance(layer, TiedDense):
        values = real_numbers(layer.w, "w", ties.weight_shape, layer).ravel().tolist()
        texts = [f"{text}\n{number(value)}" for text, value in zip(texts, values, strict=True)]
    _draw_sheet(ax, ties.weight_shape, colours, texts, framed=())


def _draw_output(ax: Axes, layer: HasShapes, ties: TieMap, row: int, x: Array | None) -> None:
    """Draw the output, grey but for the one pixel; with weights and x, the values that come out."""
    n_outputs = ties.shape[0]
    texts = numbered("o", n_outputs)
    if isinstance(layer, TiedDense) and x is not None:
        y = layer.forward(x.reshape(ties.in_shape))
        texts = [number(value) for value in y.ravel().tolist()]

    colours = np.full((n_outputs, 3), to_rgb(MASKED))
    colours[row] = 1.0  # white
    _draw_sheet(ax, ties.out_shape, colours, texts, framed=[row])


def _draw_sheet(
    ax: Axes, shape: Sequence[int], colours: Array, texts: Sequence[str], framed: Iterable[int]
) -> None:
    """Draw an array, a square per pixel: colours (pixels, 3), texts, and a frame round some."""
    laid = sheet(shape)  # where each pixel lies: laid.y and laid.x, (pixels,)
    bare(ax, "", laid.height, laid.width)

    # Squares that stay free between the channels are transparent.
    rgba = np.zeros((laid.height, laid.width, 4))
    rgba[laid.y, laid.x] = np.column_stack([colours, np.ones(len(colours))])

    places = list(zip(laid.y.tolist(), laid.x.tolist(), strict=True))
    paint(ax, rgba, dict(zip(places, texts, strict=True)))
    outline(ax, places)
    surround(ax, [places[k] for k in framed])


def _draw_matrix(
    ax: Axes, layer: HasShapes, ties: TieMap, held: Mapping[tuple[int, int], Held], row: int
) -> None:
    """Draw the matrix, all rows but one pale."""
    grid(ties, ax, "")  # the lines between cells, and the names of pixels beside them
    colours = by_weight(ties.shape, held)  # (outputs, inputs, 3)
    others = np.arange(len(colours)) != row
    colours[others] = pale(colours[others])

    texts = {cell: mark(entries) for cell, entries in held.items()}
    if isinstance(layer, TiedDense):
        values = layer.matrix.toarray()
        texts = {cell: f"{text}\n{number(values[cell])}" for cell, text in texts.items()}
    paint(ax, colours, texts)
    surround(ax, [(row, col) for col in range(ties.shape[1])])


def _equation(
    layer: HasShapes, row: int, window: Mapping[int, Held], x: Array | None, width: int
) -> str:
    """Return the row's equation in letters and, where there are numbers, below it in numbers."""
    start = f"o{row + 1} = "
    # input, weight and coefficient of every entry of the row
    entries = [(col, k, c) for col, held in window.items() for k, c in held]
    terms = [term(c, letter(k), f"i{col + 1}") for col, k, c in entries]
    if not isinstance(layer, TiedDense):
        return _written_sum(start, terms, "", width)

    if layer.b is not None:
        terms.append("+ bias")
    in_letters = _written_sum(start, terms, "", width)
    if x is None:
        return in_letters

    w = layer.w.ravel()
    y = layer.forward(x.reshape(layer.in_shape)).ravel()
    products = [_product(c, w[k], x[col]) for col, k, c in entries]
    if layer.b is not None:
        biases = layer.ties.bias.matrix(layer.b).toarray()  # (outputs, 1)
        products.append(f"+ {_factor(float(biases[row, 0]))}")
    in_numbers = _written_sum("= ", products, f" = {number(y[row])}", width)
    return f"{in_letters}\n{in_numbers}"


def _product(coefficient: float, weight: float, value: float) -> str:
    """Return a term in numbers, with points between its factors: ``+ 1/2·3·(-4)``."""
    sign, *factors = term(coefficient, _factor(weight), _factor(value)).split(" ")
    return f"{sign} {'·'.join(factors)}"


def _factor(value: float) -> str:
    """Return a number that stands within a sum, in brackets if it is negative."""
    return number(value) if value >= 0 else f"({number(value)})"


def _written_sum(before: str, terms: list[str], after: str, width: int) -> str:
    """Return a sum in lines of `width` letters, its middle left out where it has many terms."""
    if len(terms) > TERMS:
        omitted = f"+ ... ({len(terms) - TERMS} more terms) ..."
        half = TERMS // 2
        terms = [*terms[:half], omitted, *terms[-half:]]

    first = total(terms[:1])  # without its plus
    # `wrap` breaks lines at spaces; within a term none may be broken.
    pieces = [piece.replace(" ", NO_BREAK) for piece in (first, *terms[1:])]
    lines = wrap(before + " ".join(pieces) + after, max(width, 40), break_long_words=False)
    return "\n".join(lines).replace(NO_BREAK, " ")
