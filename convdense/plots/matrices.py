"""Small layers cell by cell: ties by colour and letter, masked cells grey, values as numbers."""

from typing import overload

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from convdense._util.arguments import Array
from convdense.display.labels import letter
from convdense.display.palette import colour
from convdense.geometry import HasShapes
from convdense.layers.tied_dense import TiedDense
from convdense.plots.cell_grid import (
    bare,
    blank,
    by_weight,
    diverging,
    grid,
    number,
    paint,
    real_numbers,
    require_few_weights,
    wide,
)
from convdense.plots.shown import Axes as OwnAxes
from convdense.structure._tie import tie
from convdense.structure.letter_grid import cells, cells_of, mark

WIDE = 2.6  # times its height: of the cell of a weight, for its sum, where its size is not given


@overload
def matrix(layer: HasShapes, ax: None = None) -> OwnAxes: ...
@overload
def matrix(layer: HasShapes, ax: Axes) -> Axes: ...
def matrix(layer: HasShapes, ax: Axes | None = None) -> Axes:
    """Draw the layer's matrix: a colour and letter per weight, grey where an edge is held at zero.

    Rows are output pixels, columns input pixels; a number in the padding is one more input, last. A
    cell that holds several entries shows all their letters, such as a+b. Of a `TiedDense` the
    values are written too: a weight of 0 is no masked edge.

    Parameters
    ----------
    layer : anything `tie` knows
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes, those given or new ones, which a notebook shows and ``.save(path)`` writes

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
    ax = grid(ties, ax, "matrix: one letter, one weight", with_number=True)
    held = cells_of(ties)
    texts = {cell: mark(entries) for cell, entries in held.items()}
    if isinstance(layer, TiedDense):
        numbers = _with_number(layer)
        values = real_numbers(numbers, "values", numbers.shape, layer)
        texts = {cell: f"{text}\n{number(values[cell])}" for cell, text in texts.items()}
    rows, cols = ties.shape
    drawn = rows, cols + bool(ties.padding)  # where padding holds a number, it has a column
    return paint(ax, by_weight(drawn, held), texts)


def _with_number(layer: TiedDense) -> Array:
    """Return the matrix and, where padding holds a number, what the number is multiplied with."""
    matrix = layer.matrix.toarray()
    parts = [part.matrix(layer.w).toarray() for part in layer.ties.padding]  # (outputs, 1) each
    return np.hstack([matrix, np.sum(parts, axis=0)]) if parts else matrix


@overload
def mask(layer: HasShapes, ax: None = None) -> OwnAxes: ...
@overload
def mask(layer: HasShapes, ax: Axes) -> Axes: ...
def mask(layer: HasShapes, ax: Axes | None = None) -> Axes:
    """Draw the layer's mask: white where an edge may carry a weight, grey where it is held at zero.

    Parameters
    ----------
    layer : anything `tie` knows
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes, those given or new ones, which a notebook shows and ``.save(path)`` writes

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
    held = cells(ties.entries())
    rows, cols = ties.shape
    ax.set_title(f"mask: {len(held)} of {rows * cols} edges exist", fontsize=10)
    colours = blank(ties.shape)
    for cell in held:
        colours[cell] = 1.0
    return paint(ax, colours, {})


@overload
def gradient(layer: HasShapes, values: npt.ArrayLike, masked: bool, ax: None = None) -> OwnAxes: ...
@overload
def gradient(layer: HasShapes, values: npt.ArrayLike, masked: bool, ax: Axes) -> Axes: ...
def gradient(layer: HasShapes, values: npt.ArrayLike, masked: bool, ax: Axes | None = None) -> Axes:
    """Draw a dense gradient as numbers, by value; with `masked`, only on the edges that exist.

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
    matplotlib Axes, those given or new ones, which a notebook shows and ``.save(path)`` writes

    Raises
    ------
    TypeError, ValueError
        If values are not real and finite or of another shape, or the matrix has more than 10,000
        cells.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv
    >>> conv = Conv((1, 3), out_channels=1, kernel=2)
    >>> ax = gradient(conv, np.array([[5, 6, 7], [8, 9, 10]]), masked=True)
    >>> [text.get_text() for text in ax.texts]
    ['a\\n5', 'b\\n6', 'a\\n9', 'b\\n10']
    """
    ties = tie(layer)
    numbers = real_numbers(values, "values", ties.shape, layer)
    if not masked:
        ax = grid(ties, ax, "dense gradient: every edge")
        return paint(ax, diverging(numbers), written(numbers))

    ax = grid(ties, ax, "masked: edges that exist")
    held = cells(ties.entries())
    texts = {cell: f"{mark(entries)}\n{number(numbers[cell])}" for cell, entries in held.items()}
    return paint(ax, by_weight(ties.shape, held), texts)


@overload
def tied(layer: HasShapes, values: npt.ArrayLike, ax: None = None) -> OwnAxes: ...
@overload
def tied(layer: HasShapes, values: npt.ArrayLike, ax: Axes) -> Axes: ...
def tied(layer: HasShapes, values: npt.ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw the tied gradient: each weight's letter, the sum over its copies, and their number.

    Parameters
    ----------
    layer : anything `tie` knows
    values : array of the weight's shape
    ax : matplotlib Axes, or None for a new figure

    Returns
    -------
    matplotlib Axes, those given or new ones, which a notebook shows and ``.save(path)`` writes

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
    counts = ties.counts().weights.ravel()
    said = [f"{{}} ({copied(n)})" for n in counts.tolist()]
    return weights(layer, values, ax, "tied: the sum over each letter", said)


def copied(n: int) -> str:
    """Return how many copies there are, in words."""
    return f"{n} {'copy' if n == 1 else 'copies'}"


def weights(
    layer: HasShapes,
    values: npt.ArrayLike,
    ax: Axes | None,
    title: str,
    said: list[str] | None = None,
) -> Axes:
    """Draw a number per weight in the weight's colour, with its letter.

    `said` are the texts below the letters, with ``{}`` for the number; None: the number alone.
    """
    ties = tie(layer)
    numbers = real_numbers(values, "values", ties.weight_shape, layer)
    require_few_weights(ties)

    table = numbers.reshape(-1, ties.weight_shape[-1])  # (all but the last axis, the last)
    rows, cols = table.shape
    ax = bare(ax, title, rows, cols, WIDE if ax is None else wide(ax, rows, cols))
    colours = np.array([to_rgb(colour(k)) for k in range(table.size)]).reshape(rows, cols, 3)

    texts = {}
    for k, (cell, value) in enumerate(np.ndenumerate(table)):
        form = said[k] if said else "{}"
        texts[cell] = f"{letter(k)}\n{form.format(number(value))}"
    return paint(ax, colours, texts)


def written(table: Array) -> dict[tuple[int, int], str]:
    """Return the number of every cell as it is written."""
    return {cell: number(value) for cell, value in np.ndenumerate(table)}
