"""The argument in one figure: a dense gradient, masked and summed, is the convolution's own."""

import numpy.typing as npt

from convdense._util.arguments import Array, complain, require
from convdense.checks import check
from convdense.direct.conv import convolve_backward
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import bare, diverging, number, paint, panel_of, require_few, wide
from convdense.plots.matrices import copied, gradient, weights, written
from convdense.plots.panel_layout import HIGHEST, LETTER, WIDEST, Panel, arrange, wrapped
from convdense.plots.shown import Figure
from convdense.structure.kronecker import scaled
from convdense.structure.letter_grid import require_linear

WEIGHT_HEIGHT = 0.55  # inches of the cell of a weight
DENSE = "dense gradient: every edge"
SUM = "↓ tied: the sum over each letter"
LONGEST_SUM = 9  # terms of a sum that is written out
ONE_LINE = 4  # terms of a sum that is written in one line, not two


def gradient_steps(layer: TiedDense, x: npt.ArrayLike, dy: npt.ArrayLike) -> Figure:
    """Draw the gradient of every edge, masked, summed per letter, and the direct one beside it.

    Parameters
    ----------
    layer : TiedDense
    x, dy : arrays
        Input and upstream gradient, as for `TiedDense.backward`.

    Returns
    -------
    matplotlib Figure
        Of a layer without a direct form, such as a `TieMap`, without the direct gradient and the
        difference.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> layer = TiedDense(Conv((1, 3), out_channels=1, kernel=2), w=[[[1, 2]]])
    >>> figure = gradient_steps(layer, x=np.array([[3, 5, 7]]), dy=np.array([[1, -1]]))
    >>> [ax.get_title() for ax in figure.axes if ax.get_title()][3:]
    ["the direct convolution's", 'difference: equal']
    """
    do = "make one with cd.TiedDense(layer, w)"
    refusal = complain("layer", repr(layer), "a TiedDense, which has weights", do)
    require(isinstance(layer, TiedDense), refusal)
    steps = layer.gradient_steps(x, dy)
    sums = _sums(layer, steps.masked)
    geometry = layer.layer
    has_direct = isinstance(geometry, (Windowed, ConvTranspose))
    matrix_lines = _matrix_lines(layer)
    figure, axes = arrange([*matrix_lines, _weight_line(layer, sums, has_direct)])

    gradient(layer, steps.dense, masked=False, ax=axes[0])
    gradient(layer, steps.masked, masked=True, ax=axes[1])
    weights(layer, steps.tied, axes[2], SUM, sums)
    if isinstance(geometry, (Windowed, ConvTranspose)):
        expected = convolve_backward(geometry, x, layer.w, dy).dw
        verdict = check(geometry, x, layer.w, None, dy)["dw"].verdict
        weights(layer, expected, axes[3], "the direct convolution's")
        table = (steps.tied - expected).reshape(-1, expected.shape[-1])
        rows, cols = table.shape
        bare(axes[4], f"difference: {verdict}", rows, cols, wide(axes[4], rows, cols))
        paint(axes[4], diverging(table), written(table))

    if len(matrix_lines) == 2:  # the second matrix stands below the first
        axes[1].set_title("↓ " + axes[1].get_title(), fontsize=10)
    return figure


def _matrix_lines(layer: TiedDense) -> list[list[Panel]]:
    """Return the panels of the two matrices: one line, or two if they do not fit in one."""
    require_few(layer.ties)
    require_linear(layer.ties)
    dense = panel_of(layer.ties, DENSE)
    masked = dense._replace(sign="→")  # its own title is set where it is drawn
    lines = wrapped([dense, masked])
    if len(lines) == 2:  # an arrow to the right would lead nowhere
        return [[dense], [dense]]
    return lines


def _weight_line(layer: TiedDense, sums: list[str], has_direct: bool) -> list[Panel]:
    """Return the panels of the gradients by weight: tied - direct = difference, or tied alone."""
    signs = ["", "\N{MINUS SIGN}", "="] if has_direct else [""]
    cols = layer.weight_shape[-1]
    rows = layer.ties.n_weights // cols
    height = min(WEIGHT_HEIGHT, HIGHEST / rows)  # inches, as the widths

    # As wide as the longest text, in letters a little smaller than those of titles, if that fits.
    longest = max(len(line) for text in sums for line in text.split("\n"))
    wanted_width = longest * LETTER * 0.95
    most_width = WIDEST / cols / len(signs)
    times_height = max(2.0, min(wanted_width, most_width) / height)

    # Each has the title of the first while it is laid out, and its own when it is drawn.
    return [Panel(rows, cols, SUM, sign, cell=height, wide=times_height) for sign in signs]


def _sums(layer: TiedDense, masked: Array) -> list[str]:
    """Return for every weight what is added up, or how much where that is too long to write.

    ``{}`` stands for the sum itself, which `weights` writes there. `masked` is (outputs, inputs).
    """
    entries = layer.ties.entries()
    each = scaled(masked[entries.row, entries.col], entries.coefficient)  # (entries,)
    addends: list[list[str]] = [[] for _ in range(layer.ties.n_weights)]
    for k, value in zip(entries.index.tolist(), each.tolist(), strict=True):
        addends[k].append(number(value))

    if max(map(len, addends)) > LONGEST_SUM:
        return [_counted_sum(terms) for terms in addends]
    return [_written_sum(terms) if terms else _counted_sum(terms) for terms in addends]


def _counted_sum(terms: list[str]) -> str:
    """Return ``{}`` for what a sum comes to, and how many terms it has."""
    return f"{{}} ({copied(len(terms))})"


def _written_sum(terms: list[str]) -> str:
    """Return a sum with ``{}`` for what it comes to, in two lines if it is long."""
    lines = [terms]
    if len(terms) > ONE_LINE:
        half = -(-len(terms) // 2)  # rounded up
        lines = [terms[:half], terms[half:]]
    text = "\n+ ".join(" + ".join(line) for line in lines)
    return text.replace("+ -", "- ") + " = {}"
