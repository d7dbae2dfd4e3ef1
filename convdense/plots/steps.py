"""The argument in one figure: the dense gradient, masked, summed per letter, and the direct convolution's beside it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convdense.arguments import Array
from convdense.checks import check
from convdense.direct_fast import convolve_backward
from convdense.entries import scaled
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers import TiedDense
from convdense.plots.grids import BELOW, NAMES, bare, diverging, number, paint, require_few
from convdense.plots.placing import HIGHEST, LARGEST_CELL, WIDEST, Panel, arrange, wrapped
from convdense.plots.small import WIDE, copied, gradient, weights

HIGH = 0.55  # inches: a weight
SUM = "tied: the sum over each letter"
ADDENDS = 4  # terms of a sum that is written out


def gradient_steps(layer: TiedDense, x: Array, dy: Array) -> Figure:
    """Draw the argument in one figure: the gradient of every edge, masked, summed per letter, and the direct one.

    Parameters
    ----------
    layer : TiedDense
    x, dy : arrays
        Input and upstream gradient, as for `TiedDense.backward`.

    Returns
    -------
    matplotlib Figure
        Of a layer that no direct road knows, such as a `TieMap`, without the direct gradient and the difference.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> layer = TiedDense(Conv((1, 3), out_channels=1, kernel=2), w=[[[1, 2]]])
    >>> figure = gradient_steps(layer, x=np.array([[3, 5, 7]]), dy=np.array([[1, -1]]))
    >>> [ax.get_title() for ax in figure.axes if ax.get_title()][3:]
    ["the direct convolution's", 'difference: equal']
    """
    steps = layer.gradient_steps(x, dy)
    direct = isinstance(layer.layer, (Windowed, ConvTranspose))
    figure, axes = arrange(_panels(layer, direct))
    gradient(layer, steps.dense, masked=False, ax=axes[0])
    gradient(layer, steps.masked, masked=True, ax=axes[1])
    weights(layer, steps.tied, axes[2], SUM, _sums(layer, steps.masked))
    if direct:
        expected = convolve_backward(layer.layer, x, layer.w, dy).dw
        weights(layer, expected, axes[3], "the direct convolution's")
        _difference(axes[4], steps.tied - expected, check(layer.layer, x, layer.w, None, dy)["dw"].verdict)
    return figure


def _panels(layer: TiedDense, direct: bool) -> list[list[Panel]]:
    """Return the pictures: the matrices beside each other where there is room, the gradients of the weights below."""
    rows, cols = layer.ties.shape
    require_few(rows, cols)
    cell = min(LARGEST_CELL, WIDEST / cols, HIGHEST / rows)
    room: dict[str, Any] = {"cell": cell, "left": NAMES, "below": BELOW, "above": len(layer.in_shape) - 1}
    first, second = Panel(rows, cols, "dense gradient: every edge", **room), Panel(rows, cols, "", "→", **room)
    width = layer.weight_shape[-1]
    high = layer.ties.n_weights // width
    size = min(HIGH, WIDEST / (width * WIDE * (1 + 2 * direct)), HIGHEST / high)
    titles = [
        ("tied: the sum over each letter", ""),
        ("the direct convolution's", "\N{MINUS SIGN}"),
        ("difference:", "="),
    ]
    sums = [Panel(high, width, title, sign, size, WIDE) for title, sign in titles[: 1 + 2 * direct]]
    return [*wrapped([first, second]), sums]


def _sums(layer: TiedDense, masked: Array) -> list[str]:
    """Return for every weight what is added up, or how much where that is too long to write."""
    entries = layer.ties.entries()
    each = scaled(masked[entries.row, entries.col], entries.coefficient)  # (entries,)
    addends: list[list[str]] = [[] for _ in range(layer.ties.n_weights)]
    for k, value in zip(entries.index.tolist(), each.tolist(), strict=True):
        addends[k].append(number(value))
    if max(map(len, addends)) > ADDENDS:
        return [f"{{}} ({copied(len(terms))})" for terms in addends]
    return [" + ".join(terms).replace("+ -", "- ") + " = {}" if terms else f"{{}} ({copied(0)})" for terms in addends]


def _difference(ax: Axes, values: Array, verdict: str) -> None:
    """Draw the difference of the two gradients, and how it is judged."""
    table = values.reshape(-1, values.shape[-1])
    bare(ax, f"difference: {verdict}", *table.shape, WIDE)
    paint(ax, diverging(table), {cell: number(table[cell]) for cell in np.ndindex(*table.shape)})
