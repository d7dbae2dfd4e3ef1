"""A pool as its layers: a tournament's matrices with |x| between them, or sums and a division."""

from math import prod

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import complain
from convdense.display.example_sample import one_sample
from convdense.geometry import Pool
from convdense.layers.dense_form import Absolute, Affine, dense_steps
from convdense.layers.pooling import DensePool, PowerAverage, dense_pool
from convdense.plots.cell_grid import number
from convdense.plots.layer_chain import Link, Pointwise, chain, pointwise
from convdense.plots.shown import Figure


def pooling(pool: Pool, x: npt.ArrayLike | None = None) -> Figure:
    """Draw a pool as its layers in a row, those of max and min pooling as their tournament.

    Each level of a tournament pairs neighbours: half sums and half differences, |x| of the
    differences, and ``sum + |difference|``, the larger one. Matrices show their values; grey cells
    hold no edge.

    Parameters
    ----------
    pool : any pool
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
    if not prod(layer.in_shape) or not prod(layer.out_shape):
        raise ValueError(complain("pool", repr(pool), "cells to draw: an axis has none"))
    numbers = None if x is None else one_sample(x, "x", layer.in_shape, "draw")
    return chain(_links(layer), numbers, repr(pool))


def _links(layer: DensePool) -> list[Link]:
    """Return the steps of a pool with their titles."""
    if isinstance(layer, PowerAverage):
        return _power_links(layer)
    steps = dense_steps(layer)
    if not steps:  # windows of one cell: nothing to compare
        steps = [Affine(sp.eye_array(prod(layer.in_shape), format="csr"))]

    links = []
    for i, step in enumerate(steps):
        if not isinstance(step, Affine):
            links.append(Link(pointwise(step)))
        elif not layer.pool.extremum:
            links.append(Link(step, "sums"))
        elif i > 0 and isinstance(steps[i - 1], Absolute):
            sign = "+" if layer.pool.extremum > 0 else "\N{MINUS SIGN}"
            links.append(Link(step, f"sum {sign} |difference|"))
        elif i + 1 < len(steps) and isinstance(steps[i + 1], Absolute):
            links.append(Link(step, "half sums,\nhalf differences"))
        else:
            links.append(Link(step, "selection"))
    return links


def _power_links(layer: PowerAverage) -> list[Link]:
    """Return the steps of a power average: ``|x|^p``, sums, and the root, which p = 1 needs not."""
    p = layer.pool.p
    power = "|x|" if p == 1 else f"|x|^{number(p)}"
    root = f"x^(1/{number(p)})"
    powers = Pointwise([power] * prod(layer.in_shape), lambda x: np.abs(x) ** p)
    roots = Pointwise([root] * prod(layer.out_shape), lambda x: x ** (1 / p))

    links = [Link(powers), Link(Affine(layer.total.total.matrix("float64")), "sums")]
    return links if p == 1 else [*links, Link(roots)]
