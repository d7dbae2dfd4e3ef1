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
from convdense.plots.grids import bare, diverging, number, paint
from convdense.plots.small import WIDE, copied, gradient, weights

CELL, HIGH = 0.4, 0.55  # inches: an edge, and the height of a weight
ADDENDS = 4  # terms of a sum that is written out
BESIDE = 15  # columns of matrices that stand side by side


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
    ["the direct convolution's gradient", 'difference: equal']
    """
    steps = layer.gradient_steps(x, dy)
    (rows, cols), table = steps.dense.shape, steps.tied.reshape(-1, steps.tied.shape[-1])
    beside, direct = cols <= BESIDE, isinstance(layer.layer, (Windowed, ConvTranspose))
    above = (rows * CELL + 0.9) * (1 if beside else 2)
    below = len(table) * HIGH + 0.5
    width = max(5.0, CELL * cols * (1 + beside) + 1.2, HIGH * WIDE * table.shape[1] * (1 + 2 * direct) + 1)
    figure = Figure(figsize=(width, above + below), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(above, below))  # type: ignore[misc]  # its stub forgets the array
    if beside:
        first, then, second = upper.subplots(1, 3, width_ratios=(1, 0.08, 1))
        _sign(then, "→")
    else:
        first, second = upper.subplots(2, 1)
    gradient(layer, steps.dense, masked=False, ax=first)
    gradient(layer, steps.masked, masked=True, ax=second)
    parts = lower.subplots(1, 5 if direct else 1, squeeze=False, **_widths(direct))[0]
    weights(layer, steps.tied, parts[0], "tied: the sum over each letter", _sums(layer, steps.masked))
    if direct:
        expected = convolve_backward(layer.layer, x, layer.w, dy).dw
        _sign(parts[1], "\N{MINUS SIGN}")
        weights(layer, expected, parts[2], "the direct convolution's gradient")
        _sign(parts[3], "=")
        _difference(parts[4], steps.tied - expected, check(layer.layer, x, layer.w, None, dy)["dw"].verdict)
    return figure


def _widths(direct: bool) -> dict[str, Any]:
    return {"width_ratios": (1, 0.05, 1, 0.05, 1), "gridspec_kw": {"wspace": 0.05}} if direct else {}


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


def _sign(ax: Axes, text: str) -> None:
    """Write what leads from the picture on the left to the one on the right."""
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=18, transform=ax.transAxes)
    ax.set_axis_off()
