"""Right results that lie elsewhere, or have another size: exchanged in memory, moved, cropped."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Index,
    Mistake,
    ResultMistake,
    first_cells,
    of_the_value,
)
from convdense.geometry import Conv, ConvTranspose
from convdense.geometry.padding import Pairs
from convdense.structure._tie import tie, tie_map, window_parameters, windows
from convdense.structure.tie_map import TieMap

# A sentence, and where it puts the values of (batch, channels, *pixels).
Layout = tuple[str, Callable[[Array], Array]]


# Batch, channels and pixels, by their first letters, as they lie in memory and as they are read.
_MIXED = "samples and pixels are mixed up: all pixels are cut up"
_RESHAPED = "by reshape, where they need transposing"
_ORDERS = {
    f"{_MIXED} in another order": ("cpb", "cbp"),
    f"{_MIXED} sample by sample": ("cbp", "cpb"),
    f"batch and channels are exchanged {_RESHAPED}": ("cbp", "bcp"),
    f"channels and batch are exchanged {_RESHAPED}": ("bcp", "cbp"),
    f"channels are moved to their place {_RESHAPED}": ("bpc", "bcp"),
    f"channels are moved to the end {_RESHAPED}": ("bcp", "bpc"),
}


def layouts() -> Iterator[Layout]:
    """Yield batch, channels and pixels read in another order than they were written in."""
    for sentence, (written, read) in _ORDERS.items():
        yield sentence, partial(_reread, written, read)


def _reread(written: str, read: str, value: Array) -> Array:
    """Return (batch, channels, *pixels) written in one order of these axes and read in another."""
    batch, channels = value.shape[:2]
    as_three_axes = value.reshape(batch, channels, -1)
    sizes = dict(zip("bcp", as_three_axes.shape, strict=True))
    memory = as_three_axes.transpose(["bcp".index(axis) for axis in written])
    misread = memory.reshape([sizes[axis] for axis in read])
    return misread.transpose([read.index(axis) for axis in "bcp"]).reshape(value.shape)


def moved(n: int, begin: tuple[int, ...]) -> Iterator[Layout]:
    """Yield two of n axes exchanged in memory, and all cells moved, by one or by the padding."""
    for i, j in combinations(range(n), 2):
        yield f"axes {i} and {j} are exchanged in memory", partial(_exchanged, 2 + i, 2 + j)
        sentence = f"axes {i} and {j} are read as if exchanged in memory"
        yield sentence, partial(_exchanged_back, 2 + i, 2 + j)
    for axis in range(n):
        for step, word in ((1, "forward"), (-1, "backward")):
            sentence = f"it is moved {word} by a cell along axis {axis}"
            yield sentence, partial(np.roll, shift=step, axis=2 + axis)
            yield f"{sentence}, and zeros come in", partial(_shifted, 2 + axis, step)
        if begin and begin[axis] > 1:
            cells = f"{begin[axis]} cells of padding"
            sentence = f"it is moved forward by {cells} along axis {axis}, and zeros come in"
            yield sentence, partial(_shifted, 2 + axis, begin[axis])


def _exchanged(i: int, j: int, value: Array) -> Array:
    return np.ascontiguousarray(value.swapaxes(i, j)).reshape(value.shape)


def _exchanged_back(i: int, j: int, value: Array) -> Array:
    shape = list(value.shape)
    shape[i], shape[j] = shape[j], shape[i]
    return value.reshape(shape).swapaxes(i, j)


def _shifted(axis: int, step: int, value: Array) -> Array:
    """Return the values moved along an axis, and zeros where none came."""
    result = np.roll(value, step, axis)
    came_around = slice(0, step) if step > 0 else slice(step, None)
    np.moveaxis(result, axis, 0)[came_around] = 0
    return result


def sizes_of_dx(layer: Conv) -> Iterator[ResultMistake]:
    """Yield what goes wrong where dx is cut out of the padded input, or ends with a window."""
    pairs = list(zip(layer.in_spatial, layer.padding, strict=True))
    padded_shape = (layer.in_channels, *(n + begin + end for n, (begin, end) in pairs))
    ties = tie(replace(layer, in_shape=padded_shape, padding=((0, 0),) * len(pairs)))

    def padded(_: Array, mistake: Mistake, call: Call) -> Array:
        return replace(mistake, ties=ties).run(call, "dx")

    if padded_shape != layer.in_shape:
        yield "dx is not cropped: it has the padding's cells", padded
    if any(not end for _, end in layer.padding):
        cropped: Index = (..., *(slice(begin, -end) for begin, end in layer.padding))
        sentence = "dx is cropped by [begin:-end], which is empty where end is 0"
        yield sentence, lambda *given: padded(*given)[cropped]

    # The last window ends `left_over` cells before the end of the padded input.
    left_over = window_parameters(layer).left_over
    ends = zip(pairs, left_over, strict=True)
    reach = tuple(min(n, n + end - over) for (n, (_, end)), over in ends)
    if reach != layer.in_spatial:
        reached = first_cells(reach)
        sentence = "dx ends where the last window ends: the leftover cells are missing"
        yield sentence, lambda value, *_: value[reached]
        sentence = "the leftover cells of dx are put in front"
        yield sentence, of_the_value(partial(_at_the_end, reached))


def _at_the_end(reached: Index, value: Array) -> Array:
    """Return the values of the first cells moved to the last ones, with zeros before them."""
    part = value[reached]
    sizes = zip(value.shape[2:], part.shape[2:], strict=True)
    last_cells: Index = (..., *(slice(n - m, None) for n, m in sizes))
    result = np.zeros_like(value)
    result[last_cells] = part
    return result


def sizes_of_y(layer: Conv | ConvTranspose) -> Iterator[ResultMistake]:
    """Yield y of a layer that has other sizes."""
    ones = (1,) * len(layer.stride)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("the stride is forgotten", {"stride": ones}),
        ("the dilation is ignored", {"dilation": ones}),
        (
            "stride and dilation are exchanged",
            {"stride": layer.dilation, "dilation": layer.stride},
        ),
    ]
    if isinstance(layer, ConvTranspose):
        changes.append(("output_padding is ignored", {"output_padding": 0}))
        changes.append(("the padding is not cropped", {"padding": 0}))
    else:
        changes += [(sentence, {"padding": pairs}) for sentence, pairs in _wrong_paddings(layer)]
    for sentence, changed in changes:
        try:
            other = replace(layer, **changed)
        except ValueError:  # no window fits, or padding copies more cells than there are
            continue
        if other.out_spatial != layer.out_spatial and min(other.out_spatial) > 0:
            yield f"y has another size: {sentence}", partial(_y_of, tie(other))
    if isinstance(layer, Conv) and layer.dilation != ones:
        yield from _of_dilated_input(layer)


def _of_dilated_input(layer: Conv) -> Iterator[ResultMistake]:
    """Yield y of a layer that dilates its input and not its kernel."""
    n = window_parameters(layer)
    axes = zip(n.ins, n.dilation, n.begin, n.end, n.kernel, n.stride, strict=True)
    outs = tuple(((m - 1) * d + b + e - k + 1) // s + 1 for m, d, b, e, k, s in axes)
    if outs != n.outs and min(outs) > 0:
        ones = (1,) * len(outs)
        axes_of_it = windows(n._replace(outs=outs, input_dilation=n.dilation, dilation=ones))
        sentence = "y has another size: the dilation is applied to the input, not to the kernel"
        yield sentence, partial(_y_of, tie_map(layer, axes_of_it))


def _wrong_paddings(layer: Conv) -> Iterator[tuple[str, Pairs]]:
    """Yield padding with which y may have another size."""
    begins = tuple((begin, begin) for begin, _ in layer.padding)
    yield "the padding at the end is taken for that at the begin", begins
    ends = tuple((end, end) for _, end in layer.padding)
    yield "the padding at the begin is taken for that at the end", ends
    yield "the padding of the axes is exchanged", tuple(reversed(layer.padding))
    yield "the padding is forgotten", ((0, 0),) * len(layer.padding)
    # With (stride - left over) more cells one more window fits; where nothing is left over, none.
    left_over = window_parameters(layer).left_over
    steps = zip(layer.padding, layer.stride, left_over, strict=True)
    more = tuple((begin, end + (s - over) % s) for (begin, end), s, over in steps)
    yield "a last window reaches over the end: the size is rounded up", more


def _y_of(ties: TieMap, _: Array, mistake: Mistake, call: Call) -> Array:
    """Return y of another layer that has the same weights and bias."""
    dy = np.zeros((len(call.x), *ties.out_shape))  # its shape tells that of y
    return replace(mistake, ties=ties).run(call._replace(dy=dy), "y")
