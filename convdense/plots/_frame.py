"""One output of a layer: its window, its row of the matrix, the weights' gradients up to it."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from convdense._util.arguments import Array, Sizes, complain, position
from convdense.display.example_sample import sample_of
from convdense.display.labels import letter
from convdense.display.palette import MASKED, colour
from convdense.display.plane_layout import sheet
from convdense.geometry import HasShapes
from convdense.plots.cell_grid import bare, by_weight, grid, number, paint, surround
from convdense.plots.panel_layout import at_pixels
from convdense.plots.shown import Figure
from convdense.structure._tie import tie
from convdense.structure.letter_grid import cells, fill, mark, require_linear
from convdense.structure.tie_map import TieMap

DPI = 100
WIDTH = 840  # pixels, as all that follow
MARGIN = 30  # left and right of the drawings
HEAD = 55  # above them, for the sentence
TITLE = 40  # above each, for its title
NAMES = 45  # above the matrix, for the names of the inputs
GAP = 50  # between sheets
SHEETS, MATRIX = 420, 420  # that the sheets, and the matrix, may be high
LARGEST, LEAST = 42, 22  # a square of a sheet
LARGEST_EDGE, LEAST_EDGE = 28, 10  # a cell of the matrix
WIDE = 1.5  # a weight's gradient is written in so much larger squares
LATER = "#F7F7F7"  # what no output so far has met

Size = tuple[int, int]  # width and height of a sheet


class Sample(NamedTuple):
    """A layer's tie map with the numbers of one sample."""

    ties: TieMap
    x: Array  # (inputs,)
    dy: Array  # (outputs,)


def frame(
    layer: HasShapes, r: Sizes, x: npt.ArrayLike | None = None, dy: npt.ArrayLike | None = None
) -> Figure:
    """Draw one output: its window, its row of the matrix, what it adds to the weights' gradient.

    The kernel lies on the input, letter by letter, where the output's row of the matrix has these
    letters. Below each weight's letter stands the sum over the outputs up to this one, and in
    brackets what this one adds.

    Parameters
    ----------
    layer : anything `tie` knows
    r : int or sequence of int
        The output, flattened or as (channel, *position).
    x, dy : arrays of one sample, or None
        Input and upstream gradient; None: integers from -3 to 3, always the same.

    Returns
    -------
    matplotlib Figure
        Its Axes show the input, the weights, dC/do, dC/dw so far, and the matrix.

    Raises
    ------
    ValueError
        If the layer is too large to be read, x or dy has another shape, or there is no output r.

    Examples
    --------
    >>> from convdense import Conv
    >>> figure = frame(Conv((1, 3, 3), out_channels=1, kernel=2), 0, dy=[[[1, 0], [0, 0]]])
    >>> [text.get_text().split() for text in figure.axes[3].texts]
    [['a', '2', '(+2)'], ['b', '1', '(+1)'], ['c', '-2', '(-2)'], ['d', '-1', '(-1)']]
    """
    sample = sampled(layer, x, dy)
    at = position(r, "r", sample.ties.out_shape)
    return draw_output(sample, int(np.ravel_multi_index(at, sample.ties.out_shape)))


def sampled(layer: HasShapes, x: npt.ArrayLike | None, dy: npt.ArrayLike | None) -> Sample:
    """Return a layer with its numbers; refuse one that is too large to be read."""
    ties = tie(layer)
    require_linear(ties)
    rows, cols = ties.shape
    too_fine = _edge(ties) < LEAST_EDGE or ties.n_weights > WIDTH
    if too_fine or _arranged(ties)[0] < LEAST:  # no sheet is laid out of a huge layer
        got = f"{ties.n_weights:,} weights in a matrix of {rows:,} x {cols:,}"
        needs = f"fewer, to be told apart in a picture {WIDTH} dots wide"
        smaller = "draw a smaller layer of the same kind"
        do = f"{smaller}, convdense.plots.anatomy(layer, r) or .density(layer)"
        raise ValueError(complain("layer", got, needs, do))
    x, dy = sample_of(x, dy, ties.in_shape, ties.out_shape, "draw")
    return Sample(ties, x.ravel(), dy.ravel())


def draw_output(sample: Sample, r: int) -> Figure:
    """Draw one output of a sample: the four sheets in one line or two, below them the matrix."""
    ties = sample.ties
    _, lines = _arranged(ties)
    heights = [max(height for _, height in line) + TITLE for line in lines]
    tops = list(accumulate([HEAD, *heights]))  # of the lines, and of what follows
    edge = _edge(ties)
    matrix_width, matrix_height = edge * ties.shape[1], edge * ties.shape[0]
    matrix_top = tops[-1] + 15 + NAMES
    height = matrix_top + matrix_height + 40

    figure = Figure((WIDTH / DPI, height / DPI), dpi=DPI)
    said = _sentence(sample, r)
    figure.text(0.5, 1 - 12 / height, said, ha="center", va="top", fontsize=12, linespacing=1.4)

    places = _places(lines, [top + TITLE for top in tops[:-1]])
    input_axes, weights_axes, upstream_axes, gradient_axes = (
        at_pixels(figure, *place) for place in places
    )
    _draw_input(input_axes, sample, r)
    _draw_sheet(weights_axes, "weights", ties.weight_shape, *_weights(ties))
    _draw_upstream(upstream_axes, sample, r)
    _draw_gradient(gradient_axes, sample, r)

    left = (WIDTH - matrix_width) // 2
    _draw_matrix(at_pixels(figure, left, matrix_top, matrix_width, matrix_height), ties, r)
    return figure


def sums(sample: Sample, r: int) -> tuple[Array, Array]:
    """Return the weights' gradients over the outputs up to r, and of output r alone: (weights,)."""
    outputs = np.arange(len(sample.dy))
    return _gradient_over(sample, outputs <= r), _gradient_over(sample, outputs == r)


def _gradient_over(sample: Sample, met: Array) -> Array:
    """Return the weights' gradients, (weights,), over the outputs that are met, (outputs,) bool."""
    upstream = np.where(met, sample.dy, 0)
    return sample.ties.add_edges(sample.x[None], upstream[None]).ravel()


def _sentence(sample: Sample, r: int) -> str:
    """Say what is seen, in two lines."""
    name = f"o{r + 1}"
    forward = f"Output {name} of {len(sample.dy)}: the window under the kernel"
    backward = f"Backward, each weight of the row gains dC/d{name} = {number(sample.dy[r])}"
    return f"{forward} is row {name} of the matrix.\n{backward} times its pixel."


def _edge(ties: TieMap) -> int:
    """Return how many pixels a cell of the matrix gets."""
    rows, cols = ties.shape
    return min(LARGEST_EDGE, (WIDTH - 2 * MARGIN) // cols, MATRIX // rows)


def _arranged(ties: TieMap) -> tuple[int, list[list[Size]]]:
    """Return the pixels of a square, and the sizes of the four sheets in one line or in two."""
    shapes = (ties.in_shape, ties.weight_shape, ties.out_shape)
    sheets = [(1.0 * laid.width, 1.0 * laid.height) for laid in map(sheet, shapes)]  # in squares
    _, (width, height), _ = sheets
    sheets.append((WIDE * width, WIDE * height))  # the weights again, with their gradient

    one_line, two_lines = [sheets], [sheets[:2], sheets[2:]]
    lines = max(one_line, two_lines, key=_square)  # where squares are larger
    square = _square(lines)
    sizes = [
        [(round(wide * square), round(high * square)) for wide, high in line] for line in lines
    ]
    return square, sizes


def _square(lines: list[list[tuple[float, float]]]) -> int:
    """Return how many pixels a square may have if the sheets, sizes in squares, stand in lines."""
    across = min(
        (WIDTH - 2 * MARGIN - GAP * (len(line) - 1)) / sum(wide for wide, _ in line)
        for line in lines
    )
    rows = sum(max(high for _, high in line) for line in lines)
    down = (SHEETS - TITLE * (len(lines) - 1)) / rows
    return int(min(LARGEST, across, down))


def _places(lines: list[list[Size]], tops: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield left, top, width and height of every sheet, each line spread over the figure."""
    for line, top in zip(lines, tops, strict=True):
        space = (WIDTH - sum(width for width, _ in line)) // (len(line) + 1)
        left = space
        for width, height in line:
            yield left, top, width, height
            left += width + space


def _draw_sheet(
    ax: Axes, title: str, shape: tuple[int, ...], looks: Sequence[str], texts: Sequence[str]
) -> None:
    """Draw an array as squares of these colours with these texts; between its blocks, nothing."""
    laid = sheet(shape)
    places = list(zip(laid.y.tolist(), laid.x.tolist(), strict=True))
    background = rcParams["figure.facecolor"]
    colours = np.full((laid.height, laid.width, 3), to_rgb(background))
    for place, look in zip(places, looks, strict=True):
        colours[place] = to_rgb(look)

    bare(ax, title, laid.height, laid.width)
    paint(ax, colours, {place: text for place, text in zip(places, texts, strict=True) if text})

    # Lines in the colour of the background part the squares, and are not seen between the blocks.
    ax.spines[:].set_visible(False)
    across, along = np.arange(laid.height + 1) - 0.5, np.arange(laid.width + 1) - 0.5
    ax.hlines(across, -0.5, laid.width - 0.5, colors=background, linewidths=1)
    ax.vlines(along, -0.5, laid.height - 0.5, colors=background, linewidths=1)


def _frame_squares(ax: Axes, shape: tuple[int, ...], inside: Sequence[int]) -> None:
    laid = sheet(shape)
    surround(ax, [(int(laid.y[k]), int(laid.x[k])) for k in inside])


def _weights(ties: TieMap) -> tuple[list[str], list[str]]:
    """Return colour and letter of every weight."""
    numbers = range(ties.n_weights)
    return [colour(k) for k in numbers], [letter(k) for k in numbers]


def _draw_input(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the input, and on every pixel that output r reads the weight that reads it."""
    read = {col: held for (_, col), held in cells(sample.ties.row(r)).items()}
    numbers = [number(value) for value in sample.x]
    looks = [fill(read[k]) if k in read else LATER for k in range(len(numbers))]
    texts = [f"{mark(read[k])}\n{text}" if k in read else text for k, text in enumerate(numbers)]
    _draw_sheet(ax, "input, and the kernel on it", sample.ties.in_shape, looks, texts)
    _frame_squares(ax, sample.ties.in_shape, list(read))


def _draw_upstream(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the upstream gradient: grey where it has been met, output r framed."""
    looks = [MASKED if k <= r else LATER for k in range(len(sample.dy))]
    texts = [number(value) for value in sample.dy]
    _draw_sheet(ax, "dC/do", sample.ties.out_shape, looks, texts)
    _frame_squares(ax, sample.ties.out_shape, [r])


def _draw_gradient(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the weights' gradients so far: letter, sum, and in brackets what output r adds."""
    looks, letters = _weights(sample.ties)
    so_far, added = sums(sample, r)
    texts = [f"{name}\n{number(total)}\n" for name, total in zip(letters, so_far, strict=True)]
    for k in set(sample.ties.row(r).index.tolist()):
        sign = "+" if added[k] >= 0 else ""
        texts[k] += f"({sign}{number(added[k])})"

    last = r == len(sample.dy) - 1
    title = "dC/dw, the whole" if last else "dC/dw so far"
    _draw_sheet(ax, title, sample.ties.weight_shape, looks, texts)


def _draw_matrix(ax: Axes, ties: TieMap, r: int) -> None:
    """Draw the matrix, the rows after r as if nothing were there, row r framed."""
    held = {cell: entries for cell, entries in cells(ties.entries()).items() if cell[0] <= r}
    grid(ties, ax, "")
    colours = by_weight(ties.shape, held)
    colours[r + 1 :] = to_rgb(LATER)
    paint(ax, colours, {cell: mark(entries) for cell, entries in held.items()})
    surround(ax, [(r, col) for col in range(ties.shape[1])])
