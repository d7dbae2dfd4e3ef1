"""Arrays in the layout of another library: the call that brings them into ours."""

from math import prod

import numpy as np

Shape = tuple[int, ...]
# Of weights, the axes to move and where to: Keras and JAX have (*kernel, in, out), TFLite
# (out, *kernel, in), and a transposed convolution has in before out.
_OF_KERNELS = (((-1, -2), (0, 1)), (-1, 1), (0, 1))


def how_to_fit(name: str, got: Shape, needed: Shape, *, batch: bool = False) -> str:
    """Return the call that gives an array the shape needed, or "" where none is known to.

    With `batch` it may have a batch axis in front.
    """
    if not got:
        return f"write np.full({needed}, {name})"
    extra = len(got) - len(needed)
    moves = ((-1, extra), _OF_KERNELS[0]) if batch else _OF_KERNELS
    for axes, to in moves if extra in (0, batch) and len(got) > 1 else ():
        moved = np.moveaxis(np.broadcast_to(0, got), axes, to).shape
        if moved[extra:] == needed:
            why = "out and in" if (axes, to) == (0, 1) else "channels"
            return f"write np.moveaxis({name}, {axes}, {to}): {why} come first here"
    # only where no axis can be meant for another
    if _same_cells(got, needed) and extra:
        return f"write np.reshape({name}, {needed})"
    if batch and (_same_cells(got[1:], needed) or got[-len(needed) :] == needed):
        return f"write np.reshape({name}, {(-1, *needed)})"
    return ""


def _same_cells(got: Shape, needed: Shape) -> bool:
    """Tell whether the one is the other flattened, or without its axes of one cell."""
    return got == (prod(needed),) or [n for n in got if n > 1] == [n for n in needed if n > 1]
