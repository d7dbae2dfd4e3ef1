"""Winograd's F(2, 3) with one sign wrong in one of its transforms: still a tie map, with coefficients."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import Numbers
from convdense.structure.axis import Axis

TRANSFORMS = {
    "kernel": np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    "input": np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    "output": np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
}


def winograd_mistakes(n: Numbers) -> Iterator[tuple[str, list[Axis]]]:
    """Yield the axes that a wrong sign amounts to, where kernel, stride and dilation are those of F(2, 3)."""
    ones = (1,) * len(n.kernel)
    if set(n.kernel) != {3} or n.mode != "zeros" or (n.stride, n.dilation) != (ones, ones):
        return
    for name, matrix in TRANSFORMS.items():
        for i, j in np.argwhere(matrix != 0):
            wrong = matrix.copy()
            wrong[i, j] *= -1
            tile = _tile(**{**TRANSFORMS, name: wrong})
            axes = [_tiled(n, axis, tile) for axis in range(len(ones))]
            yield f"the sign at ({i}, {j}) of Winograd's {name} transform is wrong", axes


def _tile(kernel: Array, input: Array, output: Array) -> Array:
    """Return the coefficient of weight t and cell j of a tile in its output i, (2, 3, 4)."""
    return np.asarray(np.einsum("ik,kt,kj->itj", output, kernel, input))


def _tiled(n: Numbers, axis: int, tile: Array) -> Axis:
    """Return tiles of two outputs and four cells, two apart; what lies outside is left out."""
    entries = [(2 * m + i, 2 * m + j - n.begin[axis], t, tile[i, t, j])
               for m, (i, t, j) in product(range(-(-n.outs[axis] // 2)), np.argwhere(tile != 0))]  # fmt: skip
    rows, cols, taps = (np.array(column, int) for column in list(zip(*entries, strict=True))[:3])
    taps = 2 - taps if n.flip[axis] else taps
    keep = (rows < n.outs[axis]) & (cols >= 0) & (cols < n.ins[axis])
    whole = Axis(rows, cols, taps, n.outs[axis], n.ins[axis], (3,), np.array([e[3] for e in entries]))
    return whole.take(keep)
