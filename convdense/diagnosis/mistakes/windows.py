"""Windows got wrong entry by entry: some left out, cells that wrap, Winograd tiles wrong."""

from collections.abc import Iterator
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import exists, replaced, subsets, windows
from convdense.structure._tie import WindowParameters
from convdense.structure.axis import window
from convdense.structure.progressions import Axis

# Two and four outputs of a kernel of three: output @ ((kernel @ w) * (input @ x)).
# Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", section 4.
TRANSFORMS: dict[str, dict[str, Array]] = {
    "F(2, 3)": {
        "kernel": np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
        "input": np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        "output": np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    },
    "F(4, 3)": {
        "kernel": np.array(
            [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
        )
        / 24,
        "input": np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ]
        ),
        "output": np.array(
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
        ),
    },
}

Windows = tuple[str, list[Axis]]  # a sentence, and the axes that it amounts to


def window_mistakes(n: WindowParameters, transposed: bool) -> Iterator[Windows]:
    """Yield axes whose entries are not those of any numbers.

    A transposed layer's window slides over its outputs.
    """
    for sentence, axes in _candidates(n, transposed):
        if exists(axes) and all(map(len, axes)):
            yield sentence, axes


def _candidates(n: WindowParameters, transposed: bool) -> Iterator[Windows]:
    """Yield the same, and axes that have no entries or meet cells that do not exist."""
    ins, outs = ("outputs", "inputs") if transposed else ("inputs", "outputs")
    yield from _border_left_out(n)
    yield from _last_or_first_left_out(n)
    yield from _windows_over_the_end_left_out(n)
    yield from _taps_left_out(n)
    if n.mode == "zeros":
        yield from _absent_cells_held(n, transposed, ins, outs)
    elif "zeros" not in n.modes and not n.crops:
        yield from _copies_counted_once(n)
    yield from _turned(n, ins, outs)
    if n.mode == "zeros" and len(n.kernel) > 1:
        yield from _wrong_row_lengths(n, outs)


def _border_left_out(n: WindowParameters) -> Iterator[Windows]:
    """Yield only the windows that have all their cells."""
    right = windows(n)
    inside = []
    for axis, taps in zip(right, n.kernel, strict=True):
        cells = np.bincount(axis.rows, minlength=axis.n_rows)  # (outputs,)
        inside.append(axis.take(cells[axis.rows] == taps))
    if n.mode == "zeros" and sum(map(len, inside)) < sum(map(len, right)):
        yield "windows that reach over the border are left out", inside


def _last_or_first_left_out(n: WindowParameters) -> Iterator[Windows]:
    """Yield all windows but those at one end of an axis."""
    right = windows(n)
    for i, axis in enumerate(right):
        for word, kept in (("last", axis.rows < axis.n_rows - 1), ("first", axis.rows > 0)):
            others = replaced(right, i, axis.take(kept))
            yield f"the {word} window along axis {i} is left out", list(others)
    if len(right) > 1:
        for word in ("last", "first"):
            all_axes = [
                a.take(a.rows < a.n_rows - 1 if word == "last" else a.rows > 0) for a in right
            ]
            yield f"the {word} windows along all axes are left out", all_axes
    if set(n.stride) == {1}:
        yield from _stopped_at_blocks(right)


def _stopped_at_blocks(right: list[Axis]) -> Iterator[Windows]:
    """Yield windows that do not reach from one block of cells into the next."""
    for i, axis in enumerate(right):
        for cells in range(2, axis.n_cols):
            kept = axis.take(axis.rows // cells == axis.cols // cells)
            where = f" along axis {i}" * (len(right) > 1)
            sentence = f"windows stop at the boundaries of blocks of {cells} cells{where}"
            yield sentence, list(replaced(right, i, kept))


def _windows_over_the_end_left_out(n: WindowParameters) -> Iterator[Windows]:
    """Yield the windows for which there is room if the padding at the end is another."""
    nothing = (0,) * len(n.end)
    for end, word in ((n.begin, "taken for that at the begin"), (nothing, "forgotten")):
        right = windows(n)
        kept = []
        sizes = zip(right, n.stride, n.left_over, n.end, end, strict=True)
        for axis, stride, left_over, right_end, wrong_end in sizes:
            room = left_over - right_end + wrong_end  # cells after the last window; missing if < 0
            lost = max(-(room // stride), 0)
            kept.append(axis.take(axis.rows < axis.n_rows - lost))
        if n.mode == "zeros" and sum(map(len, kept)) < sum(map(len, right)):
            yield f"the padding at the end is {word}: the last windows are left out", kept


def _taps_left_out(n: WindowParameters) -> Iterator[Windows]:
    """Yield kernels without the taps at one place of an axis; single taps are `weight_mistakes`."""
    right = windows(n)
    if len(right) == 1:
        return
    for i, axis in enumerate(right):
        if n.kernel[i] == 1:
            continue
        for tap in range(n.kernel[i]):
            others = axis.take(axis.taps != tap)
            sentence = f"the taps at {tap} of the kernel's axis {i} are left out"
            yield sentence, list(replaced(right, i, others))


def _absent_cells_held(
    n: WindowParameters, transposed: bool, ins: str, outs: str
) -> Iterator[Windows]:
    """Yield zeros, between strides or in the padding, taken for cells that hold values."""
    axes = range(len(n.kernel))
    if max(n.stride) > 1:
        sentence = "the stride is undone by repeating values, not by zeros between them"
        yield sentence, [_repeated(n, axis, transposed) for axis in axes]
    if any(n.begin):
        sentence = f"cells before the {ins} are taken from their end (a negative index)"
        yield sentence, [_wrapped(n, axis) for axis in axes]
    sentence = f"what belongs before the {outs} is given to their end (a negative index)"
    yield sentence, [_wrapped_rows(n, axis) for axis in axes]


def _copies_counted_once(n: WindowParameters) -> Iterator[Windows]:
    """Yield one entry where padding copies cells and so several entries meet."""
    axes = range(len(n.kernel))
    for last, word in ((True, "last"), (False, "first")):
        sentence = f"of the padded cells that copy one cell only the {word} counts"
        yield sentence, [_one_copy(n, axis, last) for axis in axes]
    for last, word in ((True, "last"), (False, "first")):
        sentence = f"each cell of the matrix holds one weight, the {word} of those that meet there"
        yield sentence, [_one_weight(n, axis, last) for axis in axes]


def _places(n: WindowParameters, i: int) -> tuple[Array, Array, Array]:
    """Return output, step and cell of every place of a window, cells outside the input too."""
    rows, steps = np.indices((n.outs[i], n.kernel[i])).reshape(2, -1)
    return rows, steps, rows * n.stride[i] + steps * n.dilation[i] - n.begin[i]


def _axis(
    n: WindowParameters,
    i: int,
    rows: Array,
    cells: Array,
    steps: Array,
    *,
    coefficients: Array | None = None,
) -> Axis:
    """Return one axis with these entries, those outside left out."""
    taps = n.kernel[i] - 1 - steps if n.flip[i] else steps
    whole = Axis.of(rows, cells, taps, n.outs[i], n.ins[i], (n.kernel[i],), coefficients)
    return whole.take((cells >= 0) & (cells < n.ins[i]) & (rows >= 0) & (rows < n.outs[i]))


def _repeated(n: WindowParameters, i: int, transposed: bool) -> Axis:
    """Return the window at every cell between two strides, with the value of the last stride."""
    stride = n.stride[i]
    reach = (n.kernel[i] - 1) * n.dilation[i]
    dense = (n.outs[i] - 1) * stride + 1 if transposed else n.padded[i] - reach
    n_windows = min(dense, n.outs[i] * stride)  # with stride 1
    places, steps = np.indices((n_windows, n.kernel[i])).reshape(2, -1)
    cells = places + steps * n.dilation[i] - n.begin[i]
    return _axis(n, i, places // stride, cells, steps)


def _wrapped(n: WindowParameters, i: int) -> Axis:
    """Return the window if negative cells wrap, as NumPy's do, and those after the end do not."""
    rows, steps, cells = _places(n, i)
    wrapped = np.where(cells < 0, cells + n.ins[i], cells)
    return _axis(n, i, rows, wrapped, steps)


def _wrapped_rows(n: WindowParameters, i: int) -> Axis:
    """Return what each cell gives to the outputs if negative outputs wrap."""
    cells, steps = np.indices((n.ins[i], n.kernel[i])).reshape(2, -1)
    # output * stride = cell + begin - step * dilation, where the stride divides that
    rows, rest = np.divmod(cells + n.begin[i] - steps * n.dilation[i], n.stride[i])
    wrapped = np.where(rows < 0, rows + n.outs[i], rows)
    rows = np.where(rest == 0, wrapped, -1)  # -1: left out
    return _axis(n, i, rows, cells, steps)


def _one_copy(n: WindowParameters, i: int, last: bool) -> Axis:
    """Return the window if of all padded cells that copy a cell one hands back its gradient."""
    size = n.padded[i]
    copies = window(
        n.ins[i], size, 1, stride=1, dilation=1, begin=n.begin[i], mode=n.modes[i], flip=False
    )
    order = np.arange(size) if last else np.arange(size)[::-1]
    stays = np.zeros(n.ins[i], int)
    stays[copies.cols[order]] = order - n.begin[i]  # what is assigned last stays

    _, _, cells = _places(n, i)
    axis = windows(n)[i]
    return axis.take(cells == stays[axis.cols])


def _one_weight(n: WindowParameters, i: int, last: bool) -> Axis:
    """Return the window if one of the taps that meet in a cell of the matrix stays there."""
    axis = windows(n)[i]
    rows, steps, _ = _places(n, i)
    order = np.arange(len(rows)) if last else np.arange(len(rows))[::-1]
    stays = np.zeros((n.outs[i], n.ins[i]), int)
    stays[rows[order], axis.cols[order]] = steps[order]  # what is assigned last stays
    return axis.take(steps == stays[rows, axis.cols])


def _turned(n: WindowParameters, ins: str, outs: str) -> Iterator[Windows]:
    """Yield outputs or inputs in reverse order, and spectra that are not conjugated."""
    right = windows(n)
    rows_reversed = [axis.with_entries(rows=axis.n_rows - 1 - axis.rows) for axis in right]
    cols_reversed = [axis.with_entries(cols=axis.n_cols - 1 - axis.cols) for axis in right]
    for some, which in subsets(len(right)):
        for words, turned in ((outs, rows_reversed), (ins, cols_reversed)):
            axes = [turned[i] if i in some else axis for i, axis in enumerate(right)]
            yield f"the order of the {words} is reversed on {which}", axes
    if n.mode == "zeros":
        how = "is not conjugated: turned about the first cell, and wrapped around"
        for words, sign in (("kernel", 1), (outs, -1)):
            axes = [_turned_about(n, i, sign) for i in range(len(right))]
            yield f"the spectrum of the {words} {how}", axes


def _turned_about(n: WindowParameters, i: int, sign: int) -> Axis:
    """Return the window turned about its first cell, or, with sign -1, its outputs about theirs.

    The product of the input's spectrum with the kernel's conjugate correlates: x[row + step]. Not
    conjugated, it convolves: x[row - step]. With the input's conjugate it gives x[step - row].
    """
    rows, steps, _ = _places(n, i)
    padded_cells = sign * (rows * n.stride[i] - steps * n.dilation[i]) % n.padded[i]
    return _axis(n, i, rows, padded_cells - n.begin[i], steps)


def _wrong_row_lengths(n: WindowParameters, outs: str) -> Iterator[Windows]:
    """Yield flat memory in which the next row is as far as in an array of another shape."""
    shapes = {
        "without its padding": n.ins,
        f"of the {outs}": n.outs,
        "turned (height for width)": n.padded[::-1],
    }
    for words, shape in shapes.items():
        if shape[1:] == n.padded[1:]:  # the number of rows does not tell their distance
            continue
        axis = _read_in_shape(n, shape)
        if axis is not None:
            yield f"rows are as far apart in memory as in the shape {words}", [axis]


def _read_in_shape(n: WindowParameters, shape: tuple[int, ...]) -> Axis | None:
    """Return all axes as one whose padded cells are addressed as if they had another shape.

    None where addresses leave the channel's memory.
    """
    n_axes = len(n.kernel)
    places = np.indices((*n.outs, *n.kernel)).reshape(2 * n_axes, -1)  # (2 axes, entries)
    rows, steps = places[:n_axes], places[n_axes:]
    stride, dilation = _column(n.stride), _column(n.dilation)
    distances = np.array([prod(shape[i + 1 :]) for i in range(n_axes)])  # of neighbours on an axis
    addresses = distances @ (rows * stride + steps * dilation)  # (entries,)
    if addresses.max() >= prod(n.padded):
        return None

    cells = np.array(np.unravel_index(addresses, n.padded)) - _column(n.begin)
    taps = np.where(_column(n.flip), _column(n.kernel) - 1 - steps, steps)
    inside = ((cells >= 0) & (cells < _column(n.ins))).all(axis=0)
    return Axis.of(
        np.ravel_multi_index(tuple(rows[:, inside]), n.outs),
        np.ravel_multi_index(tuple(cells[:, inside]), n.ins),
        np.ravel_multi_index(tuple(taps[:, inside]), n.kernel),
        prod(n.outs),
        prod(n.ins),
        n.kernel,
    )


def _column(numbers: tuple[int, ...]) -> Array:
    """Return one number for each axis as (axes, 1)."""
    return np.array(numbers)[:, None]


def winograd_mistakes(n: WindowParameters) -> Iterator[Windows]:
    """Yield what one wrong sign amounts to, where the window is that of F(2, 3)."""
    ones = (1,) * len(n.kernel)
    if set(n.kernel) != {3} or n.mode != "zeros" or (n.stride, n.dilation) != (ones, ones):
        return
    for algorithm, transforms in TRANSFORMS.items():
        same: dict[bytes, tuple[list[str], Array]] = {}
        for sentence, changed in _wrong_transforms(algorithm, transforms):
            kernel, cells, outputs = (transforms | changed).values()
            # the coefficient of weight t and cell j of a tile in its output i, (2, 3, 4)
            tile = np.einsum("ik,kt,kj->itj", outputs, kernel, cells).round(12)
            same.setdefault(tile.tobytes(), ([], tile))[0].append(sentence)
        for sentences, tile in same.values():
            axes = [_tiled(n, axis, tile) for axis in range(len(ones))]
            yield ", or equivalently ".join(sentences), axes


def _wrong_transforms(
    algorithm: str, transforms: dict[str, Array]
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield transforms with one sign wrong, or one row of the kernel's without its fraction."""
    of = "Winograd's" if algorithm == "F(2, 3)" else f"Winograd's {algorithm}"
    for name, matrix in transforms.items():
        for i, j in np.argwhere(matrix != 0):
            wrong = matrix.copy()
            wrong[i, j] *= -1
            yield f"the sign at ({i}, {j}) of {of} {name} transform is wrong", {name: wrong}
    kernel = transforms["kernel"]
    for row, numbers in enumerate(kernel):
        fraction = np.abs(numbers[numbers != 0]).min()
        if fraction < 1:
            wrong = kernel.copy()
            wrong[row] /= fraction
            sentence = f"the fraction in row {row} of {of} kernel transform is forgotten"
            yield sentence, {"kernel": wrong}


def _tiled(n: WindowParameters, axis: int, tile: Array) -> Axis:
    """Return tiles, such as two outputs of four cells, side by side; without what is outside."""
    outputs, weights, cells = np.argwhere(tile != 0).T  # each (coefficients of a tile,)
    n_tiles = -(-n.outs[axis] // len(tile))
    first = len(tile) * np.arange(n_tiles)[:, None]  # its outputs, and padded cells
    rows = (first + outputs).ravel()
    cols = (first + cells - n.begin[axis]).ravel()
    steps = np.tile(weights, n_tiles)
    coefficients = np.tile(tile[outputs, weights, cells], n_tiles)
    return _axis(n, axis, rows, cols, steps, coefficients=coefficients)
