"""The argument in one figure: the dense gradient, masked, summed per letter, and the direct convolution's beside it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convdense._util.arguments import Array, complain
from convdense.checks import check
from convdense.direct.conv import convolve_backward
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import bare, diverging, number, of_matrix, paint, require_few, wide
from convdense.plots.matrices import copied, gradient, weights
from convdense.plots.panel_layout import HIGHEST, LETTER, WIDEST, Panel, arrange, wrapped
from convdense.structure.kronecker import scaled

HIGH = 0.55  # inches: a weight
DENSE, SUM = "dense gradient: every edge", "↓ tied: the sum over each letter"
ADDENDS, IN_LINE = 9, 4  # terms of a sum that is written out, and of one line of it


def gradient_steps(layer: TiedDense, x: Array, dy: Array) -> Figure:
    """Draw the argument in one figure: the gradient of every edge, masked, summed per letter, and
    the direct one.

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
    if not isinstance(layer, TiedDense):
        do = "make one with cd.TiedDense(layer, w)"
        raise TypeError(complain("layer", repr(layer), "a TiedDense, which has weights", do))
    steps = layer.gradient_steps(x, dy)
    direct = isinstance(layer.layer, (Windowed, ConvTranspose))
    sums = _sums(layer, steps.masked)
    lines = _panels(layer, sums, direct)
    figure, axes = arrange(lines)
    gradient(layer, steps.dense, masked=False, ax=axes[0])
    gradient(layer, steps.masked, masked=True, ax=axes[1])
    weights(layer, steps.tied, axes[2], SUM, sums)
    if direct:
        expected = convolve_backward(layer.layer, x, layer.w, dy).dw
        weights(layer, expected, axes[3], "the direct convolution's")
        _difference(
            axes[4], steps.tied - expected, check(layer.layer, x, layer.w, None, dy)["dw"].verdict
        )
    if len(lines) == 3:  # the second matrix stands below the first
        axes[1].set_title("↓ " + axes[1].get_title(), fontsize=10)
    return figure


def _panels(layer: TiedDense, sums: list[str], direct: bool) -> list[list[Panel]]:
    """Return the pictures: the matrices beside each other where there is room, the gradients of the weights below."""
    require_few(layer.ties)
    dense = of_matrix(layer.ties, DENSE)
    above = wrapped([dense, dense._replace(sign="→")])
    above = (
        [[panel._replace(sign="") for panel in line] for line in above] if len(above) > 1 else above
    )
    width = layer.weight_shape[-1]
    high = layer.ties.n_weights // width
    size = min(HIGH, HIGHEST / high)
    longest = max(len(line) for text in sums for line in text.split("\n"))
    broad = max(2.0, min(longest * LETTER * 0.95, WIDEST / width / (1 + 2 * direct)) / size)
    below = [Panel(high, width, SUM, sign, size, broad) for sign in ("", "\N{MINUS SIGN}", "=")]
    return [*above, below if direct else below[:1]]


def _sums(layer: TiedDense, masked: Array) -> list[str]:
    """Return for every weight what is added up, or how much where that is too long to write."""
    entries = layer.ties.entries()
    each = scaled(masked[entries.row, entries.col], entries.coefficient)  # (entries,)
    addends: list[list[str]] = [[] for _ in range(layer.ties.n_weights)]
    for k, value in zip(entries.index.tolist(), each.tolist(), strict=True):
        addends[k].append(number(value))
    if max(map(len, addends)) > ADDENDS:
        return [f"{{}} ({copied(len(terms))})" for terms in addends]
    return [_written(terms) if terms else f"{{}} ({copied(0)})" for terms in addends]


def _written(terms: list[str]) -> str:
    """Return a sum, in two lines if it is long."""
    half = len(terms) if len(terms) <= IN_LINE else -(-len(terms) // 2)
    lines = (" + ".join(part) for part in (terms[:half], terms[half:]) if part)
    return "\n+ ".join(lines).replace("+ -", "- ") + " = {}"


def _difference(ax: Axes, values: Array, verdict: str) -> None:
    """Draw the difference of the two gradients, and how it is judged."""
    table = values.reshape(-1, values.shape[-1])
    bare(ax, f"difference: {verdict}", *table.shape, wide(ax, *table.shape))
    paint(ax, diverging(table), {cell: number(table[cell]) for cell in np.ndindex(*table.shape)})
