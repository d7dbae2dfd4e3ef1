"""One output of a layer: its window of the input, its row of the matrix, and the weights' gradients up to it."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from convdense._util.arguments import Array, complain, position
from convdense.display.example_sample import sample_of
from convdense.display.labels import letter
from convdense.display.palette import MASKED, colour
from convdense.display.plane_layout import sheet
from convdense.plots.cell_grid import bare, by_weight, grid, number, paint, surround
from convdense.plots.panel_layout import at_pixels
from convdense.structure._tie import tie
from convdense.structure.letter_grid import cells, fill, mark
from convdense.structure.tie_map import TieMap

DPI, WIDTH, MARGIN, GAP, TITLE = (
    100,
    840,
    30,
    50,
    40,
)  # pixels: across, at the sides, between sheets, above them
SHEETS, MATRIX = 420, 420  # pixels that the sheets, and the matrix, may be high
LARGEST, LEAST = 42, 22  # pixels of a square of a sheet
LARGEST_EDGE, LEAST_EDGE = 28, 10  # pixels of a cell of the matrix
WIDE = 1.5  # a weight's gradient is written in so much larger squares
LATER = "#F7F7F7"  # what no output so far has met


class Sample(NamedTuple):
    """A layer's tie map with the numbers of one sample."""

    ties: TieMap
    x: Array  # (inputs,)
    dy: Array  # (outputs,)


def frame(layer: Any, r: int | Sequence[int], x: Any = None, dy: Any = None) -> Figure:
    """Draw one output: its window of the input, its row of the matrix, and what its gradient adds
    to the weights'.

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
    return drawn(sample, int(np.ravel_multi_index(at, sample.ties.out_shape)))


def sampled(layer: Any, x: Any, dy: Any) -> Sample:
    """Return a layer, small enough to be read, with its numbers."""
    ties = tie(layer)
    rows, cols = ties.shape
    if _edge(ties) < LEAST_EDGE or ties.n_weights > WIDTH or _arranged(ties)[0] < LEAST:
        got = f"{ties.n_weights:,} weights in a matrix of {rows:,} x {cols:,}"
        needs = f"fewer, to be told apart in a picture {WIDTH} dots wide"
        do = "draw a smaller layer of the same kind, convdense.plots.anatomy(layer, r) or .density(layer)"
        raise ValueError(complain("layer", got, needs, do))
    x, dy = sample_of(x, dy, ties.in_shape, ties.out_shape, "draw")
    return Sample(ties, x.ravel(), dy.ravel())


def drawn(sample: Sample, r: int) -> Figure:
    """Draw one output of a sample."""
    ties = sample.ties
    _, lines = _arranged(ties)
    high = [max(height for _, height in line) + TITLE for line in lines]
    edge, top = _edge(ties), 55
    matrix = top + sum(high) + 15
    size = WIDTH, matrix + 45 + edge * ties.shape[0] + 40
    figure = Figure((size[0] / DPI, size[1] / DPI), dpi=DPI)
    figure.text(
        0.5,
        1 - 12 / size[1],
        _sentence(sample, r),
        ha="center",
        va="top",
        fontsize=12,
        linespacing=1.4,
    )
    places = _places(lines, [top + TITLE + n for n in accumulate([0, *high[:-1]])])
    axes = [at_pixels(figure, *place) for place in places]
    _input(axes[0], sample, r)
    _sheet(axes[1], "weights", ties.weight_shape, *_weights(ties))
    _upstream(axes[2], sample, r)
    _gradient(axes[3], sample, r)
    wide = edge * ties.shape[1]
    _matrix(
        at_pixels(figure, (WIDTH - wide) // 2, matrix + 45, wide, edge * ties.shape[0]), ties, r
    )
    return figure


def sums(sample: Sample, r: int) -> tuple[Array, Array]:
    """Return the weights' gradients over the outputs up to r, and what output r adds to them: each (weights,)."""
    ties, outputs = sample.ties, np.arange(len(sample.dy))
    so_far, alone = (
        ties.add_edges(sample.x[None], np.where(seen, sample.dy, 0)[None])
        for seen in (outputs <= r, outputs == r)
    )
    return so_far.ravel(), alone.ravel()


def _sentence(sample: Sample, r: int) -> str:
    """Say what is seen, in two lines."""
    name = f"o{r + 1}"
    return (
        f"Output {name} of {len(sample.dy)}: the window under the kernel is row {name} of the matrix.\n"
        f"Backward, each weight of the row gains dC/d{name} = {number(sample.dy[r])} times its pixel."
    )


def _edge(ties: TieMap) -> int:
    """Return how many pixels a cell of the matrix gets."""
    rows, cols = ties.shape
    return min(LARGEST_EDGE, (WIDTH - 2 * MARGIN) // cols, MATRIX // rows)


def _arranged(ties: TieMap) -> tuple[int, list[list[tuple[int, int]]]]:
    """Return the pixels of a square, and the sizes of the four sheets, in one line or in two: where they are larger."""
    sizes = [
        (1.0 * s.width, 1.0 * s.height)
        for s in map(sheet, (ties.in_shape, ties.weight_shape, ties.out_shape))
    ]
    sizes.append((WIDE * sizes[1][0], WIDE * sizes[1][1]))
    choices = []
    for lines in ([sizes], [sizes[:2], sizes[2:]]):
        across = min(
            (WIDTH - 2 * MARGIN - GAP * (len(line) - 1)) / sum(w for w, _ in line) for line in lines
        )
        down = (SHEETS - TITLE * (len(lines) - 1)) / sum(max(h for _, h in line) for line in lines)
        square = int(min(LARGEST, across, down))
        choices.append(
            (square, [[(round(w * square), round(h * square)) for w, h in line] for line in lines])
        )
    return max(choices, key=lambda choice: choice[0])


def _places(
    lines: list[list[tuple[int, int]]], tops: list[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield left, top, width and height of every sheet, each line of them spread over the figure."""
    for line, top in zip(lines, tops, strict=True):
        space = (WIDTH - sum(width for width, _ in line)) // (len(line) + 1)
        left = space
        for width, height in line:
            yield left, top, width, height
            left += width + space


def _sheet(
    ax: Axes, title: str, shape: tuple[int, ...], looks: Sequence[str], texts: Sequence[str]
) -> None:
    """Draw an array as squares of these colours with these texts; between its blocks there is nothing."""
    laid, ground = sheet(shape), rcParams["figure.facecolor"]
    colours = np.full((laid.height, laid.width, 3), to_rgb(ground))
    at = list(zip(laid.y.tolist(), laid.x.tolist(), strict=True))
    for place, look in zip(at, looks, strict=True):
        colours[place] = to_rgb(look)
    bare(ax, title, laid.height, laid.width)
    paint(ax, colours, {place: text for place, text in zip(at, texts, strict=True) if text})
    ax.spines[:].set_visible(False)
    ax.hlines(np.arange(laid.height + 1) - 0.5, -0.5, laid.width - 0.5, colors=ground, linewidths=1)
    ax.vlines(np.arange(laid.width + 1) - 0.5, -0.5, laid.height - 0.5, colors=ground, linewidths=1)


def _framed(ax: Axes, shape: tuple[int, ...], inside: Sequence[int]) -> None:
    """Frame some squares of a sheet."""
    laid = sheet(shape)
    surround(ax, [(int(laid.y[k]), int(laid.x[k])) for k in inside])


def _weights(ties: TieMap) -> tuple[list[str], list[str]]:
    numbers = range(ties.n_weights)
    return [colour(k) for k in numbers], [letter(k) for k in numbers]


def _input(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the input, and on it the kernel: on every pixel that output r reads the weight it meets."""
    read = {col: held for (_, col), held in cells(sample.ties.row(r)).items()}
    numbers = [number(value) for value in sample.x]
    looks = [fill(read[k]) if k in read else LATER for k in range(len(numbers))]
    texts = [f"{mark(read[k])}\n{text}" if k in read else text for k, text in enumerate(numbers)]
    _sheet(ax, "input, and the kernel on it", sample.ties.in_shape, looks, texts)
    _framed(ax, sample.ties.in_shape, list(read))


def _upstream(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the upstream gradient: grey where it has been met, output r framed."""
    looks = [MASKED if k <= r else LATER for k in range(len(sample.dy))]
    _sheet(ax, "dC/do", sample.ties.out_shape, looks, [number(value) for value in sample.dy])
    _framed(ax, sample.ties.out_shape, [r])


def _gradient(ax: Axes, sample: Sample, r: int) -> None:
    """Draw the weights' gradients so far: letter, sum, and in brackets what output r adds."""
    looks, letters = _weights(sample.ties)
    met = set(sample.ties.row(r).index.tolist())
    so_far, alone = sums(sample, r)
    added = [
        f"({'+' if new >= 0 else ''}{number(new)})" if k in met else ""
        for k, new in enumerate(alone)
    ]
    texts = [f"{a}\n{number(b)}\n{c}" for a, b, c in zip(letters, so_far, added, strict=True)]
    title = "dC/dw so far" if r < len(sample.dy) - 1 else "dC/dw, the whole"
    _sheet(ax, title, sample.ties.weight_shape, looks, texts)


def _matrix(ax: Axes, ties: TieMap, r: int) -> None:
    """Draw the rows of the matrix up to r, the others as grey as if nothing were there, and frame row r."""
    held = {cell: entries for cell, entries in cells(ties.entries()).items() if cell[0] <= r}
    grid(ties, ax, "")
    colours = by_weight(ties.shape, held)
    colours[r + 1 :] = to_rgb(LATER)
    paint(ax, colours, {cell: mark(entries) for cell, entries in held.items()})
    surround(ax, [(r, col) for col in range(ties.shape[1])])
