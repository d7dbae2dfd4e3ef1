"""Direct convolution in plain loops: the definition, which one can check by eye. It is slow.

Nothing is shared with the tie map but the numbers of the geometry. `edges` slides the window;
forward adds ``w * x`` to y along every edge, backward hands ``dy`` back along the same edges.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense.geometry import (
    ConvTranspose,
    LocallyConnected,
    Windowed,
    backward_operands,
    forward_operands,
    known,
)
from convdense.geometry.padding import NUMPY_MODES, padded_dtype

Array = npt.NDArray[Any]
Layer = Windowed | ConvTranspose
Position = tuple[Any, ...]  # integers, one per axis
Edge = tuple[Position, Position, Position]


def edges(layer: Layer) -> Iterator[Edge]:
    """Yield the positions (output, input, weight) of every product; the kernel is not flipped."""
    if isinstance(layer, Windowed):
        return _sliding(layer)
    return _transposed(layer)


def _channel_pairs(layer: Layer) -> Iterator[tuple[int, int, int, int]]:
    """Yield output and input channel of every pair in a group, in all and then in their group."""
    outs = layer.out_channels // layer.groups
    ins = layer.in_channels // layer.groups
    for group, out, inp in product(range(layer.groups), range(outs), range(ins)):
        yield group * outs + out, group * ins + inp, out, inp


def _sliding(layer: Windowed) -> Iterator[Edge]:
    """Yield the edges of a window that slides over the padded input."""
    for out, cell, weight in _meetings(layer):
        if min(cell) >= 0:  # not in the padding
            yield out, cell, weight


def _meetings(layer: Windowed) -> Iterator[Edge]:
    """Yield (output, cell, weight) of every product; a cell of padding has a number below 0."""
    source = [padded_cells(layer, axis) for axis in range(len(layer.kernel))]
    for o, c, _, inp in _channel_pairs(layer):
        for corner in product(*map(range, layer.out_spatial)):
            for tap in product(*map(range, layer.kernel)):
                at = _tap_cells(layer, corner, tap)
                cells = [int(along[i]) for along, i in zip(source, at, strict=True)]
                own = corner if isinstance(layer, LocallyConnected) else ()
                yield (o, *corner), (c, *cells), (o, inp, *own, *tap)


def in_padding(layer: Layer) -> Iterator[tuple[Position, Position]]:
    """Yield (output, weight) of every product with a cell of padding that holds a number."""
    if isinstance(layer, Windowed) and layer.padding_value:
        for out, cell, weight in _meetings(layer):
            if min(cell) < 0:
                yield out, weight


def _transposed(layer: ConvTranspose) -> Iterator[Edge]:
    """Yield the edges where each input stamps a kernel on the output, whose rim is cropped."""
    for o, c, out, _ in _channel_pairs(layer):
        for corner in product(*map(range, layer.in_spatial)):
            for tap in product(*map(range, layer.kernel)):
                stamped = _tap_cells(layer, corner, tap)
                at = [i - begin for i, (begin, _) in zip(stamped, layer.padding, strict=True)]
                if all(0 <= i < n for i, n in zip(at, layer.out_spatial, strict=True)):
                    yield (o, *at), (c, *corner), (c, out, *tap)


def _tap_cells(layer: Layer, corner: Position, tap: Position) -> list[int]:
    """Return where a tap of the window at a place lies: place * stride + tap * dilation."""
    numbers = zip(corner, layer.stride, tap, layer.dilation, strict=True)
    return [p * s + t * d for p, s, t, d in numbers]


def padded_cells(layer: Windowed, axis: int) -> Array:
    """Return which input cell each padded cell holds along one axis, -1 for none.

    NumPy pads the cells' numbers, so that its rule for each mode is the definition. Before that the
    input is dilated, and cropped where the padding is below 0.
    """
    n, step, pair = layer.in_spatial[axis], layer.input_dilation[axis], layer.padding[axis]
    numbers = np.full(max(0, (n - 1) * step + 1), -1)
    numbers[::step] = np.arange(n)
    begin, end = (max(0, -cells) for cells in pair)
    numbers = numbers[begin : len(numbers) - end]

    added = [max(0, cells) for cells in pair]
    mode = layer.padding_modes[axis]
    if mode == "zeros":
        return np.pad(numbers, added, constant_values=-1)
    return np.pad(numbers, added, mode=NUMPY_MODES[mode])


def forward(
    layer: Layer, x: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None = None
) -> Array:
    """Return y: every edge adds ``w * x`` to its output; then the bias."""
    known(layer)
    x, w, b, had_batch = forward_operands(layer, x, w, b)
    kernel = flipped(layer, w)
    padded = padded_dtype(x.dtype, layer.padding_value)
    dtype = np.result_type(padded, w) if b is None else np.result_type(padded, w, b)
    y = np.zeros((len(x), *layer.out_shape), dtype)
    for out, inp, k in edges(layer):
        y[_in_batch(out)] += kernel[k] * x[_in_batch(inp)]
    for out, k in in_padding(layer):
        y[_in_batch(out)] += kernel[k] * np.asarray(layer.padding_value, padded)
    if b is not None:
        y += over_outputs(b, layer)
    return y if had_batch else y[0]


def backward(
    layer: Layer, x: npt.ArrayLike, w: npt.ArrayLike, dy: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return dx, dw, db: every edge hands ``w * dy`` to its input and ``x * dy`` to its weight.

    For complex numbers, x and w enter conjugated.
    """
    known(layer)
    x, w, dy, had_batch = backward_operands(layer, x, w, dy)
    kernel = flipped(layer, w)
    dx = np.zeros((len(x), *layer.in_shape), np.result_type(w, dy))
    padded = padded_dtype(x.dtype, layer.padding_value)
    dkernel = np.zeros(layer.weight_shape, np.result_type(padded, dy))
    for out, inp, k in edges(layer):
        dx[_in_batch(inp)] += kernel[k].conj() * dy[_in_batch(out)]
        dkernel[k] += (x[_in_batch(inp)].conj() * dy[_in_batch(out)]).sum()
    for out, k in in_padding(layer):
        dkernel[k] += (np.asarray(layer.padding_value, padded) * dy[_in_batch(out)]).sum()
    dw = flipped(layer, dkernel)
    return dx if had_batch else dx[0], dw, bias_gradient(layer, dy)


def _in_batch(position: Position) -> Position:
    return (slice(None), *position)


def flipped(layer: Layer, w: Array) -> Array:
    """Return the kernel as it slides: with `flip` reversed along its axes, the last ones of w."""
    return np.flip(w, tuple(range(-len(layer.kernel), 0))) if layer.flip else w


def over_outputs(b: Array, layer: Layer) -> Array:
    """Return the bias with one axis per output axis, for broadcasting."""
    missing = len(layer.out_shape) - b.ndim
    return b.reshape(b.shape + (1,) * missing)


def bias_gradient(layer: Layer, dy: Array) -> Array:
    """Return db: dy, (batch, *out_shape), summed over the batch and the axes that share a bias."""
    shared = range(1 + len(layer.bias_shape), dy.ndim)
    db: Array = dy.sum(axis=(0, *shared), dtype=dy.dtype)
    return db
