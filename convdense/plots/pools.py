"""A pool as its layers: a tournament's matrices with |x| between them, or sums and a division."""

from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from matplotlib.figure import Figure

from convdense.display.example_sample import one_sample
from convdense.geometry import MaxPool
from convdense.layers.dense_form import Absolute, Affine, dense_steps
from convdense.layers.max_pool_tournament import Tournament
from convdense.layers.pooling import PowerAverage, SumDivide, dense_pool
from convdense.plots.cell_grid import number
from convdense.plots.layer_chain import Link, Pointwise, chain, pointwise


def pooling(pool: Any, x: Any = None) -> Figure:
    """Draw a pool as its layers in a row: of max and min pooling the tournament, matrices and |x|.

    Each level of a tournament pairs neighbours: half sums and half differences, |x| of the
    differences, and ``sum + |difference|``, the larger one. Matrices show their values; grey cells
    hold no edge.

    Parameters
    ----------
    pool : SumPool, AvgPool, MaxPool, MinPool or LpPool
    x : array of the pool's in_shape, or None
        One sample, whose numbers then flow through: below each matrix what enters it, beside it
        what leaves it.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError, ValueError
        For what is no pool, for x of another shape, and for matrices too large to be drawn.

    Examples
    --------
    >>> from convdense import MaxPool
    >>> figure = pooling(MaxPool((1, 2), kernel=2), x=[[3, 5]])
    >>> [[text.get_text() for text in ax.texts] for ax in figure.axes]
    [['0.5', '0.5', '0.5', '-0.5'], ['4', '|-1|'], ['1', '1'], ['5']]
    """
    layer = dense_pool(pool)
    numbers = None if x is None else one_sample(x, "x", layer.in_shape, "draw")
    return chain(_links(layer), numbers, repr(pool))


def _links(layer: SumDivide | Tournament | PowerAverage) -> list[Link]:
    """Return the steps of a pool with their titles."""
    if isinstance(layer, PowerAverage):
        total = Affine(layer.total.total.matrix("float64"))
        return [
            Link(_powers(layer)),
            Link(total, "sums"),
            *([] if layer.pool.p == 1 else [Link(_roots(layer))]),
        ]
    steps = dense_steps(layer) or [
        Affine(sp.eye_array(prod(layer.in_shape), format="csr"))
    ]  # nothing to compare
    absolutes = [isinstance(step, Absolute) for step in steps]
    links = []
    for step, after, before in zip(
        steps, [False, *absolutes], [*absolutes[1:], False], strict=False
    ):
        if not isinstance(step, Affine):
            links.append(Link(pointwise(step)))
        elif isinstance(layer, SumDivide):
            links.append(Link(step, "sums"))
        elif after:
            sign = "+" if isinstance(layer.pool, MaxPool) else "\N{MINUS SIGN}"
            links.append(Link(step, f"sum {sign} |difference|"))
        else:
            links.append(Link(step, "half sums,\nhalf differences" if before else "selection"))
    return links


def _powers(layer: PowerAverage) -> Pointwise:
    p = layer.pool.p
    form = "|x|" if p == 1 else f"|x|^{number(p)}"
    return Pointwise([form] * prod(layer.in_shape), lambda x: np.abs(x) ** p)


def _roots(layer: PowerAverage) -> Pointwise:
    p = layer.pool.p
    return Pointwise([f"x^(1/{number(p)})"] * prod(layer.out_shape), lambda x: x ** (1 / p))
