"""A layer beside what `recover` found: which edges are missing, extra, or of another weight."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from convdense._util.arguments import Array, complain, require
from convdense.display.palette import COLOURS
from convdense.geometry import Linear
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import (
    Cell,
    bare,
    blank,
    diverging,
    draw_thin_lines,
    grid,
    hatch,
    number,
    paint,
    panel_of,
    real_numbers,
    require_few,
    surround,
)
from convdense.plots.panel_layout import Panel, arrange, wrapped
from convdense.plots.shown import Figure
from convdense.recovery.matrix_difference import Difference, Place
from convdense.recovery.recovered_layer import Recovered
from convdense.structure._tie import tie
from convdense.structure.letter_grid import cells, mark
from convdense.structure.tie_map import TieMap


class Kind(NamedTuple):
    """How an entry differs: in words, by sign and by colour."""

    words: str
    sign: str
    colour: str


MISSING = Kind("missing", "\N{MINUS SIGN}", COLOURS[1])
EXTRA = Kind("extra", "+", COLOURS[2])
OTHER_WEIGHT = Kind("with another weight", "≠", COLOURS[0])
OTHER_BIAS = Kind("with another bias", "≠", COLOURS[0])
LEGEND = 0.35  # inches
WIDE = 1.4  # times its height: a bias


class Labelled(NamedTuple):
    """A matrix with the bias as its last column, and what is written on its cells.

    Texts stand on every edge that exists and on every bias, and nowhere else.
    """

    values: Array  # (outputs, inputs + 1)
    texts: dict[Cell, str]


def difference(layer: TiedDense | Dense, found: Recovered) -> Figure:
    """Draw a layer's matrix, the one that `recover` found, and where they differ.

    Parameters
    ----------
    layer : TiedDense or Dense
        What was expected, with its weights.
    found : Recovered
        What `recover` found; outputs that are not affine are hatched.

    Returns
    -------
    matplotlib Figure
        Biases stand in a column of their own where either has one.

    Raises
    ------
    TypeError, ValueError
        For a layer without weights or of another shape, and for a matrix of more than 10,000 cells.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv, convolve, recover
    >>> conv, w = Conv((1, 3), out_channels=1, kernel=2), np.array([[[1.0, 2]]])
    >>> found = recover(lambda x: convolve(conv, x, w[..., ::-1]), (1, 3))
    >>> figure = difference(TiedDense(conv, w), found)
    >>> figure.get_suptitle()
    '0 missing, 0 extra, 4 with another weight'
    >>> [text.get_text() for text in figure.axes[-1].texts]
    ['≠', '≠', '≠', '≠']
    """
    do = "give what cd.recover(function, in_shape) returns"
    refusal = complain("found", type(found).__name__, "a Recovered", do)
    require(isinstance(found, Recovered), refusal)
    differences = found.compare(layer)
    if isinstance(layer, TiedDense):
        ties = layer.ties
    else:  # of a Dense none are tied
        outputs, inputs = layer.w.shape
        ties = tie(Linear(inputs, outputs))
    require_few(ties)
    expected = _expected(layer, ties)
    got = _found(found)
    has_bias = bool(expected.values[:, -1].any() or got.values[:, -1].any())

    legend = _legend(differences, found)
    panels = _panels(ties, has_bias)
    foot = LEGEND if legend else 0.0
    figure, axes = arrange(wrapped(panels), _title(differences, found), foot)
    n = len(axes) // 3  # Axes of each picture: a matrix and, with a bias, a column beside it
    expected_axes = axes[:n]
    found_axes = axes[n : 2 * n]
    difference_axes = axes[2 * n :]

    kinds = _kinds(differences, found)
    n_inputs = ties.shape[1]
    differing_edges = [(row, col) for row, col in kinds if col < n_inputs]  # no bias
    # (2, outputs, inputs + 1, 3): both on one scale
    colours = diverging(np.stack([expected.values, got.values]))
    _draw(expected_axes, ties, _greyed(colours[0], expected.texts), expected.texts)
    _draw(found_axes, ties, _greyed(colours[1], got.texts), got.texts)
    surround(expected_axes[0], differing_edges)
    surround(found_axes[0], differing_edges)
    signs = {cell: kind.sign for cell, kind in kinds.items()}
    _draw(difference_axes, ties, _colours_by_kind(expected, got, kinds), signs)

    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(panel.title, fontsize=10)
    for output in found.broken.tolist():  # not affine
        hatch(found_axes[0], output, n_inputs)
        hatch(difference_axes[0], output, n_inputs)
    if legend:
        cols = len(legend)
        figure.legend(handles=legend, loc="lower center", ncols=cols, fontsize=9, frameon=False)
    return figure


def _expected(layer: TiedDense | Dense, ties: TieMap) -> Labelled:
    """Return the layer's matrix, with letters where weights are shared."""
    matrix = real_numbers(ties.matrix(layer.w).toarray(), "w", ties.shape, layer)
    bias = np.zeros(ties.shape[0])
    if layer.b is not None:
        bias = ties.bias.matrix(layer.b).toarray()[:, 0]  # of (outputs, 1): its one input is 1
    values = np.column_stack([matrix, bias])

    held = cells(ties.entries())
    texts = {cell: number(values[cell]) for cell in held}
    most_copies = ties.counts().weights.max(initial=0)
    if most_copies > 1:
        texts = {cell: f"{mark(entries)}\n{texts[cell]}" for cell, entries in held.items()}
    return Labelled(values, texts | _bias_texts(values))


def _found(found: Recovered) -> Labelled:
    """Return the matrix that was found: its edges are those that are not zero."""
    values = np.column_stack([found.matrix.toarray(), found.bias])
    rows, cols = found.matrix.nonzero()
    edges = zip(rows.tolist(), cols.tolist(), strict=True)
    texts = {cell: number(values[cell]) for cell in edges}
    return Labelled(values, texts | _bias_texts(values))


def _bias_texts(values: Array) -> dict[Cell, str]:
    """Return the numbers of the last column, the biases, as they are written on its cells."""
    last = values.shape[1] - 1
    return {(row, last): number(value) for row, value in enumerate(values[:, last].tolist())}


def _by_kind(differences: Difference) -> list[tuple[Kind, tuple[Place, ...]]]:
    """Return the entries that differ in each way."""
    return [
        (MISSING, differences.missing),
        (EXTRA, differences.extra),
        (OTHER_WEIGHT, differences.wrong),
        (OTHER_BIAS, differences.bias),
    ]


def _kinds(differences: Difference, found: Recovered) -> dict[Cell, Kind]:
    """Return how every entry that differs does so, a bias in the column after the last."""
    kinds: dict[Cell, Kind] = {}
    for kind, places in _by_kind(differences):
        kinds |= {_cell(place, found): kind for place in places}
    return kinds


def _cell(place: Place, found: Recovered) -> Cell:
    """Return row and column of an entry, of a bias the column after the last."""
    row = int(np.ravel_multi_index(place.output, found.out_shape))
    if place.input is None:
        return row, found.matrix.shape[1]
    return row, int(np.ravel_multi_index(place.input, found.in_shape))


def _greyed(colours: Array, kept: Iterable[Cell]) -> Array:
    """Return the colours with all other cells grey: no edge."""
    grey = blank(colours.shape[:2])
    for cell in kept:
        grey[cell] = colours[cell]
    return grey


def _colours_by_kind(expected: Labelled, got: Labelled, kinds: Mapping[Cell, Kind]) -> Array:
    """Return the colours of the third picture: white where nothing differs, grey without an edge.

    They are (outputs, inputs + 1, 3).
    """
    colours = blank(expected.values.shape)
    for cell in (*expected.texts, *got.texts):
        colours[cell] = 1.0
    for cell, kind in kinds.items():
        colours[cell] = to_rgb(kind.colour)
    return colours


def _panels(ties: TieMap, has_bias: bool) -> list[Panel]:
    """Return three matrices, each with its bias beside it if there is one."""
    panels = []
    # A blank is a sign that is not seen: it keeps pictures apart, and lets a line end before it.
    for title, sign in (("expected", ""), ("found", " "), ("where they differ", " ")):
        panels.append(panel_of(ties, title, sign, share=0.85))
        if has_bias:
            panels.append(Panel(ties.shape[0], 1, "bias", "", panels[-1].cell, WIDE))
    return panels


def _draw(axes: Sequence[Axes], ties: TieMap, colours: Array, texts: Mapping[Cell, str]) -> None:
    """Draw a matrix and, where there are two Axes, its bias beside it.

    `colours` are (outputs, inputs + 1, 3), the last column those of the bias.
    """
    matrix_ax, *bias_axes = axes
    rows, last = ties.shape
    grid(ties, matrix_ax, "")
    of_edges = {cell: text for cell, text in texts.items() if cell[1] < last}
    paint(matrix_ax, colours[:, :last], of_edges)

    of_biases = {(row, 0): text for (row, col), text in texts.items() if col == last}
    for ax in bias_axes:  # one, or none
        bare(ax, "", rows, 1, WIDE)
        paint(ax, colours[:, last:], of_biases)
        draw_thin_lines(ax, rows, 1)


def _title(differences: Difference, found: Recovered) -> str:
    """Return how many differ, in the words of `Difference`."""
    words, *_places = str(differences).split("\n")
    if found:  # all outputs are affine
        return words
    broken = f"{found.broken.size} of {found.matrix.shape[0]} outputs"
    return f"not affine at {broken}; beside that, {words}"


def _legend(differences: Difference, found: Recovered) -> list[Patch]:
    """Return a patch for every kind that occurs."""
    patches = []
    for kind, places in _by_kind(differences):
        if places:
            label = f"{kind.sign} {kind.words}: {len(places)}"
            patches.append(Patch(facecolor=kind.colour, label=label, edgecolor="black"))
    if not found:  # some output is not affine
        patches.append(Patch(facecolor="white", edgecolor="black", hatch="//", label="not affine"))
    return patches
