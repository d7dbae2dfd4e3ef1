"""Right results that lie elsewhere, or have another size: axes exchanged in memory, moved by a cell, cropped."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import window_parameters
from convdense.diagnosis.mistakes.mistake import Call, Mistake, ResultMistake
from convdense.geometry import Conv
from convdense.structure._tie import tie

Layout = tuple[
    str, Callable[[Array], Array]
]  # a sentence, and where it puts the values of (batch, channels, *pixels)


def layouts() -> Iterator[Layout]:
    """Yield arrays of batch, channels and pixels that are read in another order than they were written in."""
    yield "samples and pixels are mixed up: all pixels are cut up in another order", _pixels_first
    yield "samples and pixels are mixed up: all pixels are cut up sample by sample", _samples_first
    yield (
        "batch and channels are exchanged by reshape, where they need transposing",
        _channels_first,
    )
    yield "channels and batch are exchanged by reshape, where they need transposing", _batch_first
    yield (
        "channels are moved to their place by reshape, where they need transposing",
        _channels_last,
    )
    yield (
        "channels are moved to the end by reshape, where they need transposing",
        _from_channels_last,
    )


def _pixels_first(v: Array) -> Array:
    n, c = v.shape[:2]
    flat = v.reshape(n, c, -1)  # (batch, channels, pixels)
    return flat.transpose(1, 2, 0).reshape(c, n, -1).swapaxes(0, 1).reshape(v.shape)


def _samples_first(v: Array) -> Array:
    n, c = v.shape[:2]
    return v.reshape(n, c, -1).swapaxes(0, 1).reshape(c, -1, n).transpose(2, 0, 1).reshape(v.shape)


def _channels_first(v: Array) -> Array:
    return v.swapaxes(0, 1).reshape(v.shape)


def _batch_first(v: Array) -> Array:
    return v.reshape(v.shape[1], v.shape[0], *v.shape[2:]).swapaxes(0, 1)


def _channels_last(v: Array) -> Array:
    return np.moveaxis(v, 1, -1).reshape(v.shape)


def _from_channels_last(v: Array) -> Array:
    return np.moveaxis(v.reshape(v.shape[0], *v.shape[2:], v.shape[1]), -1, 1)


def moved(n: int, begins: tuple[tuple[int, ...], ...]) -> Iterator[Layout]:
    """Yield n axes exchanged in memory, and everything moved by a cell, or by the padding at the begin."""
    for i, j in combinations(range(2, 2 + n), 2):
        yield f"axes {i - 2} and {j - 2} are exchanged in memory", partial(_exchanged, i, j)
        yield (
            f"axes {i - 2} and {j - 2} are read as if exchanged in memory",
            partial(_exchanged_back, i, j),
        )
    for axis in range(n):
        for step, word in ((1, "forward"), (-1, "backward")):
            sentence = f"it is moved {word} by a cell along axis {axis}"
            yield sentence, partial(np.roll, shift=step, axis=axis + 2)
            yield f"{sentence}, and zeros come in", partial(_shifted, axis + 2, step)
        for step in dict.fromkeys(begin[axis] for begin in begins):
            if step > 1:
                sentence = f"it is moved forward by {step} cells of padding along axis {axis}, and zeros come in"
                yield sentence, partial(_shifted, axis + 2, step)


def _exchanged(i: int, j: int, value: Array) -> Array:
    return np.ascontiguousarray(value.swapaxes(i, j)).reshape(value.shape)


def _exchanged_back(i: int, j: int, value: Array) -> Array:
    shape = list(value.shape)
    shape[i], shape[j] = shape[j], shape[i]
    return value.reshape(shape).swapaxes(i, j)


def _shifted(axis: int, step: int, value: Array) -> Array:
    result = np.roll(value, step, axis)
    result[(slice(None),) * axis + (slice(0, step) if step > 0 else slice(step, None),)] = 0
    return result


def sizes_of_dx(layer: Conv) -> Iterator[ResultMistake]:
    """Yield what goes wrong where dx is cut out of the padded input, or ends where the last window does."""
    sizes = tuple(n + sum(pair) for n, pair in zip(layer.in_spatial, layer.padding, strict=True))
    wide = tie(_like(layer, sizes, 0))
    cut: Any = (..., *(slice(begin, -end) for begin, end in layer.padding))

    def padded(_: Array, mistake: Mistake, call: Call) -> Array:
        return replace(mistake, ties=wide).run(call, "dx")

    if sizes != layer.in_spatial:
        yield "dx is not cropped: it has the padding's cells", padded
    if any(not end for _, end in layer.padding):
        yield (
            "dx is cropped by [begin:-end], which is empty where end is 0",
            lambda v, m, c: padded(v, m, c)[cut],
        )
    over = window_parameters(layer).left_over
    reach = [
        min(n, n + end - more)
        for n, more, (_, end) in zip(layer.in_spatial, over, layer.padding, strict=True)
    ]  # up to the last cell that a window reaches
    if tuple(reach) != layer.in_spatial:
        inside: Any = (..., *(slice(0, r) for r in reach))
        yield (
            "dx ends where the last window ends: the leftover cells are missing",
            lambda v, _, __: v[inside],
        )
        yield "the leftover cells of dx are put in front", partial(_in_front, inside)


def sizes_of_y(layer: Conv) -> Iterator[ResultMistake]:
    """Yield y of a layer that has other sizes."""
    over = window_parameters(layer).left_over
    more = [(s - o) % s for s, o in zip(layer.stride, over, strict=True)]
    others = {
        "the padding at the end is taken for that at the begin": [(b, b) for b, _ in layer.padding],
        "the padding at the begin is taken for that at the end": [(e, e) for _, e in layer.padding],
        "the padding is forgotten": [(0, 0) for _ in layer.padding],
        "a last window reaches over the end: the size is rounded up": [
            (b, e + m) for (b, e), m in zip(layer.padding, more, strict=True)
        ],
    }
    for sentence, padding in others.items():
        try:
            other = _like(layer, layer.in_spatial, tuple(padding), layer.padding_mode)
        except ValueError:  # no window fits, or padding copies more cells than there are
            continue
        if other.out_spatial != layer.out_spatial:
            yield f"y has another size: {sentence}", partial(_run, other)
    full = tuple(zip(layer.out_spatial, layer.stride, strict=True))
    if any(o > 1 and s > 1 for o, s in full):
        other = _like(layer, layer.in_spatial, layer.padding, layer.padding_mode, stride=1)
        yield "y has another size: the stride is forgotten", partial(_run, other)


def _like(
    layer: Conv, spatial: tuple[int, ...], padding: Any, mode: str = "zeros", **changed: Any
) -> Conv:
    same: dict[str, Any] = {
        name: getattr(layer, name) for name in ("stride", "dilation", "groups", "flip")
    }
    options = {**same, "padding": padding, "padding_mode": mode, **changed}
    return Conv((layer.in_channels, *spatial), layer.out_channels, layer.kernel, **options)


def _run(other: Conv, _: Array, mistake: Mistake, call: Call) -> Array:
    dy = np.zeros((len(call.x), *other.out_shape))
    return replace(mistake, ties=tie(other)).run(call._replace(dy=dy), "y")


def _in_front(inside: Any, value: Array, _: Mistake, __: Call) -> Array:
    part, result = value[inside], np.zeros_like(value)
    end: Any = (
        ...,
        *(slice(n - m, None) for n, m in zip(value.shape[2:], part.shape[2:], strict=True)),
    )
    result[end] = part
    return result
