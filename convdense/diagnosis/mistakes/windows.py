"""Windows got wrong entry by entry: some left out, cells that wrap, copies counted once, Winograd tiles wrong."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import WindowParameters, exists, subsets, windows
from convdense.structure.axis import Axis, window

TRANSFORMS = {
    "kernel": np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    "input": np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    "output": np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
}


Windows = tuple[str, list[Axis]]  # a sentence, and the axes that it amounts to


def window_mistakes(n: WindowParameters, transposed: bool) -> Iterator[Windows]:
    """Yield axes whose entries are not those of any numbers; a transposed layer's window slides over its outputs."""
    ins, outs = ("outputs", "inputs") if transposed else ("inputs", "outputs")
    for sentence, axes in _all(n, transposed, ins, outs):
        if exists(axes) and all(map(len, axes)):
            yield sentence, axes


def _all(n: WindowParameters, transposed: bool, ins: str, outs: str) -> Iterator[Windows]:
    axes = range(len(n.kernel))
    yield from _left_out(n)
    if n.mode == "zeros" and max(n.stride) > 1:
        sentence = "the stride is undone by repeating values, not by zeros between them"
        yield sentence, [_repeated(n, i, transposed) for i in axes]
    if n.mode == "zeros" and any(n.begin):
        sentence = f"cells before the {ins} are taken from their end (a negative index)"
        yield sentence, [_wrapped(n, i) for i in axes]
    if n.mode == "zeros":
        sentence = f"what belongs before the {outs} is given to their end (a negative index)"
        yield sentence, [_wrapped_rows(n, i) for i in axes]
    if n.mode != "zeros":
        for last, word in ((True, "last"), (False, "first")):
            sentence = f"of the padded cells that copy one cell only the {word} counts"
            yield sentence, [_one_copy(n, i, last) for i in axes]
        for last, word in ((True, "last"), (False, "first")):
            sentence = (
                f"each cell of the matrix holds one weight, the {word} of those that meet there"
            )
            yield sentence, [_one_weight(n, i, last) for i in axes]
    yield from _turned(n, ins, outs)
    if n.mode == "zeros" and len(n.kernel) > 1:
        yield from _pitched(n, outs)


def _left_out(n: WindowParameters) -> Iterator[Windows]:
    """Yield windows over the border, the first and the last windows, and all taps at one place of an axis left out."""
    whole = windows(n)
    met = [
        np.bincount(a.rows, minlength=a.n_rows)[a.rows] for a in whole
    ]  # cells of each entry's window
    inside = [a.take(cells == k) for a, cells, k in zip(whole, met, n.kernel, strict=True)]
    if n.mode == "zeros" and sum(map(len, inside)) < sum(map(len, whole)):
        yield "windows that reach over the border are left out", inside
    for i, axis in enumerate(whole):
        yield (
            f"the last window along axis {i} is left out",
            _with(whole, i, axis.take(axis.rows < axis.n_rows - 1)),
        )
        yield (
            f"the first window along axis {i} is left out",
            _with(whole, i, axis.take(axis.rows > 0)),
        )
    for end, word in ((n.begin, "taken for that at the begin"), ((0,) * len(n.end), "forgotten")):
        fewer = [over - (e - other) for over, e, other in zip(n.left_over, n.end, end, strict=True)]
        kept = [
            a.take(a.rows < a.n_rows + min(f // s, 0))
            for a, s, f in zip(whole, n.stride, fewer, strict=True)
        ]
        if n.mode == "zeros" and sum(map(len, kept)) < sum(map(len, whole)):
            yield f"the padding at the end is {word}: the last windows are left out", kept
    for i, axis in enumerate(whole):
        for tap in range(n.kernel[i]) if n.kernel[i] > 1 and len(whole) > 1 else ():
            yield (
                f"the taps at {tap} of the kernel's axis {i} are left out",
                _with(whole, i, axis.take(axis.taps != tap)),
            )


def _with(axes: list[Axis], i: int, axis: Axis) -> list[Axis]:
    return [*axes[:i], axis, *axes[i + 1 :]]


def _places(n: WindowParameters, i: int) -> tuple[Array, Array, Array]:
    """Return output, step and cell of every place of the window along one axis, cells outside the input too."""
    rows, steps = (a.ravel() for a in np.indices((n.outs[i], n.kernel[i])))
    return rows, steps, rows * n.stride[i] + steps * n.dilation[i] - n.begin[i]


def _axis(n: WindowParameters, i: int, rows: Array, cells: Array, steps: Array) -> Axis:
    """Return one axis with these entries, those outside left out."""
    taps = n.kernel[i] - 1 - steps if n.flip[i] else steps
    whole = Axis(rows, cells, taps, n.outs[i], n.ins[i], (n.kernel[i],))
    return whole.take((cells >= 0) & (cells < n.ins[i]) & (rows >= 0) & (rows < n.outs[i]))


def _repeated(n: WindowParameters, i: int, transposed: bool) -> Axis:
    """Return the window along one axis at every step between two strides, each with the value of the last stride."""
    s, d, k, reach = n.stride[i], n.dilation[i], n.kernel[i], n.ins[i] + n.begin[i] + n.end[i]
    dense = (n.outs[i] - 1) * s + 1 if transposed else reach - (k - 1) * d  # windows of stride 1
    places, steps = (a.ravel() for a in np.indices((min(dense, n.outs[i] * s), k)))
    return _axis(n, i, places // s, places + steps * d - n.begin[i], steps)


def _wrapped(n: WindowParameters, i: int) -> Axis:
    """Return the window along one axis if negative indices wrap, as NumPy's do, and those beyond the end do not."""
    rows, steps, cells = _places(n, i)
    return _axis(n, i, rows, np.where(cells < 0, cells + n.ins[i], cells), steps)


def _wrapped_rows(n: WindowParameters, i: int) -> Axis:
    """Return what each cell gives to the outputs if their negative indices wrap, and those beyond the end do not."""
    cells, steps = (a.ravel() for a in np.indices((n.ins[i], n.kernel[i])))
    rows, rest = np.divmod(cells + n.begin[i] - steps * n.dilation[i], n.stride[i])
    rows = np.where(rows < 0, rows + n.outs[i], rows)
    return _axis(n, i, np.where(rest == 0, rows, -1), cells, steps)


def _one_copy(n: WindowParameters, i: int, last: bool) -> Axis:
    """Return the window along one axis if of all padded cells that copy a cell one hands back its gradient."""
    axis, (_, _, cells) = windows(n)[i], _places(n, i)
    size = n.ins[i] + n.begin[i] + n.end[i]
    source = window(
        n.ins[i], size, 1, stride=1, dilation=1, begin=n.begin[i], mode=n.mode, flip=False
    ).cols
    stays = np.zeros(n.ins[i], int)
    order = np.arange(size) if last else np.arange(size)[::-1]
    stays[source[order]] = order - n.begin[i]  # what is assigned last stays
    return axis.take(cells == stays[axis.cols])


def _one_weight(n: WindowParameters, i: int, last: bool) -> Axis:
    """Return the window along one axis if one of the taps that meet in a cell stays there."""
    axis, (rows, steps, _) = windows(n)[i], _places(n, i)
    stays = np.zeros((n.outs[i], n.ins[i]), int)
    order = np.arange(len(rows)) if last else np.arange(len(rows))[::-1]
    stays[rows[order], axis.cols[order]] = steps[order]
    return axis.take(steps == stays[rows, axis.cols])


def _turned(n: WindowParameters, ins: str, outs: str) -> Iterator[Windows]:
    """Yield outputs or inputs in reverse order, and spectra that are not conjugated: turned about their first cell."""
    whole = windows(n)
    for some, which in subsets(len(whole)):
        turned = [
            replace(a, rows=a.n_rows - 1 - a.rows) if i in some else a for i, a in enumerate(whole)
        ]
        yield f"the order of the {outs} is reversed on {which}", turned
        turned = [
            replace(a, cols=a.n_cols - 1 - a.cols) if i in some else a for i, a in enumerate(whole)
        ]
        yield f"the order of the {ins} is reversed on {which}", turned
    if n.mode == "zeros":
        for sign, what in ((1, "kernel"), (-1, outs)):
            axes = []
            for i in range(len(whole)):
                rows, steps, _ = _places(n, i)
                cells = (
                    sign
                    * (rows * n.stride[i] - steps * n.dilation[i])
                    % (n.ins[i] + n.begin[i] + n.end[i])
                )
                axes.append(_axis(n, i, rows, cells - n.begin[i], steps))
            yield (
                f"the spectrum of the {what} is not conjugated: turned about the first cell, and wrapped around",
                axes,
            )


def _pitched(n: WindowParameters, outs: str) -> Iterator[Windows]:
    """Yield flat memory in which the next row is as far as in an array of another shape."""
    padded = tuple(i + b + e for i, b, e in zip(n.ins, n.begin, n.end, strict=True))
    shapes = {
        "without its padding": n.ins,
        f"of the {outs}": n.outs,
        "turned (height for width)": padded[::-1],
    }
    for words, shape in shapes.items():
        axis = _flat(n, padded, shape) if shape[1:] != padded[1:] else None
        if axis is not None:
            yield f"rows are as far apart in memory as in the shape {words}", [axis]


def _flat(n: WindowParameters, padded: tuple[int, ...], shape: tuple[int, ...]) -> Axis | None:
    """Return all axes as one whose cells are numbered in another shape; None where they leave the channel's memory."""
    n_axes = len(n.kernel)
    places = np.indices((*n.outs, *n.kernel)).reshape(2 * n_axes, -1)
    rows, steps = places[:n_axes], places[n_axes:]
    of = [np.array(v)[:, None] for v in (n.stride, n.dilation, n.begin, n.ins)]
    pitch = np.array([prod(shape[i + 1 :]) for i in range(n_axes)])
    address = pitch @ (rows * of[0] + steps * of[1])
    if address.max() >= prod(padded):
        return None
    cells = np.array(np.unravel_index(address, padded)) - of[2]
    taps = [k - 1 - t if flip else t for k, t, flip in zip(n.kernel, steps, n.flip, strict=True)]
    keep = ((cells >= 0) & (cells < of[3])).all(axis=0)
    flat = [
        np.ravel_multi_index(tuple(p[keep] for p in places), size)
        for places, size in ((rows, n.outs), (cells, n.ins), (taps, n.kernel))
    ]
    return Axis(flat[0], flat[1], flat[2], prod(n.outs), prod(n.ins), n.kernel)


def winograd_mistakes(n: WindowParameters) -> Iterator[tuple[str, list[Axis]]]:
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


def _tiled(n: WindowParameters, axis: int, tile: Array) -> Axis:
    """Return tiles of two outputs and four cells, two apart; what lies outside is left out."""
    entries = [(2 * m + i, 2 * m + j - n.begin[axis], t, tile[i, t, j])
               for m, (i, t, j) in product(range(-(-n.outs[axis] // 2)), np.argwhere(tile != 0))]  # fmt: skip
    rows, cols, taps = (np.array(column, int) for column in list(zip(*entries, strict=True))[:3])
    taps = 2 - taps if n.flip[axis] else taps
    keep = (rows < n.outs[axis]) & (cols >= 0) & (cols < n.ins[axis])
    whole = Axis(
        rows, cols, taps, n.outs[axis], n.ins[axis], (3,), np.array([e[3] for e in entries])
    )
    return whole.take(keep)
