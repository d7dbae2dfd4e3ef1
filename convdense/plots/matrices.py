"""Small layers cell by cell: ties by colour and letter, masked cells grey, numbers where there are numbers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from convdense._util.arguments import Array
from convdense.display.labels import letter
from convdense.display.palette import colour
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import (
    bare,
    blank,
    by_weight,
    diverging,
    grid,
    number,
    paint,
    real,
    require_few_weights,
    wide,
)
from convdense.structure._tie import tie
from convdense.structure.letter_grid import cells, mark

WIDE = 2.6  # times its height: of the cell of a weight, for its sum, where its size is not given


def matrix(layer: Any, ax: Axes | None = None) -> Axes:
    """Draw the layer's matrix: one colour and letter per weight, grey where the mask holds an edge
    at zero.

    Output pixels are on the rows, the rows of the input on the columns. A cell that holds several
    entries shows all their letters, such as a+b. Of a `TiedDense` the values are written too: a
    weight of 0 is no masked edge.

    Parameters
    ----------
    layer : anything `tie` knows
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the matrix has more than 10,000 cells.

    Examples
    --------
    >>> from convdense import Conv
    >>> ax = matrix(Conv((1, 3, 3), out_channels=1, kernel=2))
    >>> [text.get_text() for text in ax.texts[:4]]
    ['a', 'b', 'c', 'd']
    """
    ties = tie(layer)
    ax = grid(ties, ax, "matrix: one letter, one weight")
    held = cells(ties.entries())
    texts = {cell: mark(entries) for cell, entries in held.items()}
    if isinstance(layer, TiedDense):
        values = real(layer.matrix.toarray(), "values", ties.shape, layer)
        texts = {cell: f"{text}\n{number(values[cell])}" for cell, text in texts.items()}
    return paint(ax, by_weight(ties.shape, held), texts)


def mask(layer: Any, ax: Axes | None = None) -> Axes:
    """Draw the layer's mask: white where an edge may carry a weight, grey where it is held at zero.

    Parameters
    ----------
    layer : anything `tie` knows
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the matrix has more than 10,000 cells.

    Examples
    --------
    >>> from convdense import Conv
    >>> mask(Conv((1, 3, 3), out_channels=1, kernel=2)).get_title()
    'mask: 16 of 36 edges exist'
    """
    ties = tie(layer)
    ax = grid(ties, ax, "")
    held, colours = cells(ties.entries()), blank(ties.shape)
    ax.set_title(f"mask: {len(held)} of {ties.shape[0] * ties.shape[1]} edges exist", fontsize=10)
    for cell in held:
        colours[cell] = 1.0
    return paint(ax, colours, {})


def gradient(layer: Any, values: Array, masked: bool, ax: Axes | None = None) -> Axes:
    """Draw a dense gradient as numbers, every edge by its value; with `masked`, edges that exist by
    their weight.

    Parameters
    ----------
    layer : anything `tie` knows
    values : (outputs, inputs) array
    masked : bool
        Whether edges that do not exist are grey, and the others in the colours and with the letters
        of `matrix`.
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError, ValueError
        If values are not real and finite or of another shape, or the matrix has more than 10,000
        cells.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> ax = gradient(Conv((1, 3), out_channels=1, kernel=2), np.array([[5, 6, 7], [8, 9, 10]]), masked=True)
    >>> [text.get_text() for text in ax.texts]
    ['a\\n5', 'b\\n6', 'a\\n9', 'b\\n10']
    """
    ties = tie(layer)
    values = real(values, "values", ties.shape, layer)
    ax = grid(ties, ax, "masked: edges that exist" if masked else "dense gradient: every edge")
    if not masked:
        return paint(ax, diverging(values), {cell: number(values[cell]) for cell in _every(values)})
    held = cells(ties.entries())
    texts = {cell: f"{mark(entries)}\n{number(values[cell])}" for cell, entries in held.items()}
    return paint(ax, by_weight(ties.shape, held), texts)


def tied(layer: Any, values: Array, ax: Axes | None = None) -> Axes:
    """Draw the tied gradient: for each weight its letter, the sum over its copies, and how many
    copies it has.

    Parameters
    ----------
    layer : anything `tie` knows
    values : array of the weight's shape
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError, ValueError
        If values are not real and finite or of another shape, or there are more than 10,000 of
        them.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> ax = tied(Conv((1, 3), out_channels=1, kernel=2), np.array([[[14, 16]]]))
    >>> [text.get_text() for text in ax.texts]
    ['a\\n14 (2 copies)', 'b\\n16 (2 copies)']
    """
    ties = tie(layer)
    said = [f"{{}} ({copied(n)})" for n in ties.counts().weights.ravel().tolist()]
    return weights(layer, values, ax, "tied: the sum over each letter", said)


def copied(n: int) -> str:
    """Return how many copies there are, in words."""
    return f"{n} {'copy' if n == 1 else 'copies'}"


def weights(
    layer: Any, values: Array, ax: Axes | None, title: str, said: list[str] | None = None
) -> Axes:
    """Draw a number per weight in the weight's colour: its letter, and below it the number within what is said."""
    ties = tie(layer)
    values = real(values, "values", ties.weight_shape, layer)
    require_few_weights(ties)
    table = values.reshape(-1, ties.weight_shape[-1])  # (all but the last axis, the last)
    ax = bare(ax, title, *table.shape, WIDE if ax is None else wide(ax, *table.shape))
    looks = np.array([to_rgb(colour(k)) for k in range(table.size)]).reshape(*table.shape, 3)
    lines = zip(said or ["{}"] * table.size, table.ravel(), strict=True)
    texts = [f"{letter(k)}\n{text.format(number(value))}" for k, (text, value) in enumerate(lines)]
    return paint(ax, looks, dict(zip(_every(table), texts, strict=True)))


def _every(values: Array) -> list[tuple[int, int]]:
    return list(np.ndindex(*values.shape))
