"""The argument in one figure: a dense gradient, masked and summed, is the convolution's own."""

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convdense._util.arguments import Array, complain, require
from convdense.checks import check
from convdense.direct.conv import convolve_backward
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import bare, diverging, number, paint, panel_of, require_few, wide
from convdense.plots.matrices import copied, gradient, weights, written
from convdense.plots.panel_layout import HIGHEST, LETTER, WIDEST, Panel, arrange, wrapped
from convdense.structure.kronecker import scaled

HIGH = 0.55  # inches: a weight
DENSE, SUM = "dense gradient: every edge", "↓ tied: the sum over each letter"
ADDENDS, IN_LINE = 9, 4  # terms of a sum that is written out, and of one line of it


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
    lines = _panels(layer, sums, has_direct)
    figure, axes = arrange(lines)

    gradient(layer, steps.dense, masked=False, ax=axes[0])
    gradient(layer, steps.masked, masked=True, ax=axes[1])
    weights(layer, steps.tied, axes[2], SUM, sums)
    if isinstance(geometry, (Windowed, ConvTranspose)):
        expected = convolve_backward(geometry, x, layer.w, dy).dw
        verdict = check(geometry, x, layer.w, None, dy)["dw"].verdict
        weights(layer, expected, axes[3], "the direct convolution's")
        _draw_difference(axes[4], steps.tied - expected, verdict)

    if len(lines) == 3:  # the second matrix stands below the first
        axes[1].set_title("↓ " + axes[1].get_title(), fontsize=10)
    return figure


def _panels(layer: TiedDense, sums: list[str], has_direct: bool) -> list[list[Panel]]:
    """Return the matrices, beside each other if they fit, and below them the weights' gradients."""
    require_few(layer.ties)
    dense = panel_of(layer.ties, DENSE)
    above = wrapped([dense, dense._replace(sign="→")])
    if len(above) > 1:  # an arrow to the right would lead nowhere
        above = [[panel._replace(sign="") for panel in line] for line in above]

    cols = layer.weight_shape[-1]
    rows = layer.ties.n_weights // cols
    size = min(HIGH, HIGHEST / rows)
    longest = max(len(line) for text in sums for line in text.split("\n"))
    wanted = longest * LETTER * 0.95  # inches across of a weight
    available = WIDEST / cols / (3 if has_direct else 1)
    broad = max(2.0, min(wanted, available) / size)
    below = [Panel(rows, cols, SUM, sign, size, broad) for sign in ("", "\N{MINUS SIGN}", "=")]
    return [*above, below if has_direct else below[:1]]


def _sums(layer: TiedDense, masked: Array) -> list[str]:
    """Return for every weight what is added up, or how much where that is too long to write."""
    entries = layer.ties.entries()
    each = scaled(masked[entries.row, entries.col], entries.coefficient)  # (entries,)
    addends: list[list[str]] = [[] for _ in range(layer.ties.n_weights)]
    for k, value in zip(entries.index.tolist(), each.tolist(), strict=True):
        addends[k].append(number(value))

    too_long = max(map(len, addends)) > ADDENDS
    return [
        f"{{}} ({copied(len(terms))})" if too_long or not terms else _written_sum(terms)
        for terms in addends
    ]


def _written_sum(terms: list[str]) -> str:
    """Return a sum with ``{}`` for what it comes to, in two lines if it is long."""
    lines = [terms]
    if len(terms) > IN_LINE:
        half = -(-len(terms) // 2)  # rounded up
        lines = [terms[:half], terms[half:]]
    text = "\n+ ".join(" + ".join(line) for line in lines)
    return text.replace("+ -", "- ") + " = {}"


def _draw_difference(ax: Axes, values: Array, verdict: str) -> None:
    """Draw the difference of the two gradients, and how it is judged."""
    table = values.reshape(-1, values.shape[-1])  # (all but the last axis, the last)
    rows, cols = table.shape
    bare(ax, f"difference: {verdict}", rows, cols, wide(ax, rows, cols))
    paint(ax, diverging(table), written(table))
