"""Results that are right and lie elsewhere: axes exchanged in memory, samples mixed with pixels, moved by a cell."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import numpy as np

from convdense._util.arguments import Array

Layout = tuple[str, Callable[[Array], Array]]  # a sentence, and where it puts the values of (batch, channels, *pixels)


def layouts() -> Iterator[Layout]:
    """Yield arrays of batch, channels and pixels that are read in another order than they were written in."""
    yield "samples and pixels are mixed up: all pixels are cut up in another order", _pixels_first
    yield "samples and pixels are mixed up: all pixels are cut up sample by sample", _samples_first
    yield "batch and channels are exchanged by reshape, where they need transposing", _channels_first
    yield "channels and batch are exchanged by reshape, where they need transposing", _batch_first
    yield "channels are moved to their place by reshape, where they need transposing", _channels_last
    yield "channels are moved to the end by reshape, where they need transposing", _from_channels_last


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
        yield f"axes {i - 2} and {j - 2} are read as if exchanged in memory", partial(_exchanged_back, i, j)
    for axis in range(n):
        for step, word in ((1, "forward"), (-1, "backward")):
            sentence = f"it is moved {word} by a cell along axis {axis}"
            yield sentence, partial(_rolled, axis + 2, step)
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


def _rolled(axis: int, step: int, value: Array) -> Array:
    return np.roll(value, step, axis)


def _shifted(axis: int, step: int, value: Array) -> Array:
    result = np.roll(value, step, axis)
    result[(slice(None),) * axis + (slice(0, step) if step > 0 else slice(step, None),)] = 0
    return result
