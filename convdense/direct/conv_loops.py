"""Direct convolution in plain loops, forward and backward: the definition anyone can check by eye.
Slow.

Nothing here is shared with the tie map but the numbers of the geometry. `edges` slides the window;
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

Array = npt.NDArray[Any]
Layer = Windowed | ConvTranspose
Position = tuple[Any, ...]
Edge = tuple[Position, Position, Position]
NUMPY_MODES: dict[str, Any] = {
    "circular": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "symmetric": "symmetric",
}


def edges(layer: Layer) -> Iterator[Edge]:
    """Yield (output, input, weight) positions of every product, in plain loops; the kernel is never flipped here."""
    if isinstance(layer, Windowed):
        return _sliding(layer)
    return _transposed(layer)


def _sliding(layer: Windowed) -> Iterator[Edge]:
    outs, ins = layer.out_channels // layer.groups, layer.in_channels // layer.groups  # per group
    cells = [padded_cells(layer, axis) for axis in range(len(layer.kernel))]
    for group, out, inp in product(range(layer.groups), range(outs), range(ins)):
        o, c = group * outs + out, group * ins + inp
        for corner in product(*map(range, layer.out_spatial)):
            for tap in product(*map(range, layer.kernel)):
                at = [
                    p * s + t * d
                    for p, s, t, d in zip(corner, layer.stride, tap, layer.dilation, strict=True)
                ]
                source = [int(axis[i]) for axis, i in zip(cells, at, strict=True)]
                if min(source) >= 0:  # not a padded zero
                    own = corner if isinstance(layer, LocallyConnected) else ()
                    yield (o, *corner), (c, *source), (o, inp, *own, *tap)


def _transposed(layer: ConvTranspose) -> Iterator[Edge]:
    outs, ins = layer.out_channels // layer.groups, layer.in_channels // layer.groups  # per group
    for group, out, inp in product(range(layer.groups), range(outs), range(ins)):
        o, c = group * outs + out, group * ins + inp
        for p in product(*map(range, layer.in_spatial)):
            for tap in product(
                *map(range, layer.kernel)
            ):  # every input pixel stamps a kernel, then the rim is cropped
                stamp = [
                    i * s + t * d
                    for i, s, t, d in zip(p, layer.stride, tap, layer.dilation, strict=True)
                ]
                at = [i - begin for i, (begin, _) in zip(stamp, layer.padding, strict=True)]
                if all(0 <= i < n for i, n in zip(at, layer.out_spatial, strict=True)):
                    yield (o, *at), (c, *p), (c, out, *tap)


def padded_cells(layer: Windowed, axis: int) -> Array:
    """Return which input cell each padded cell holds along one axis, -1 for a zero: NumPy pads, we only ask it."""
    numbers = np.arange(layer.in_spatial[axis])
    if layer.padding_mode == "zeros":
        return np.pad(numbers, layer.padding[axis], constant_values=-1)
    return np.pad(numbers, layer.padding[axis], mode=NUMPY_MODES[layer.padding_mode])


def forward(layer: Layer, x: Any, w: Any, b: Any = None) -> Array:
    """Return y: every edge adds ``w * x`` to its output; then the bias."""
    known(layer)
    x, w, b, had_batch = forward_operands(layer, x, w, b)
    kernel = flipped(layer, w)
    y = np.zeros(
        (len(x), *layer.out_shape), np.result_type(x, w) if b is None else np.result_type(x, w, b)
    )
    for out, inp, k in edges(layer):
        y[_all(out)] += kernel[k] * x[_all(inp)]
    if b is not None:
        y += over_outputs(b, layer)
    return y if had_batch else y[0]


def backward(layer: Layer, x: Any, w: Any, dy: Any) -> tuple[Array, Array, Array]:
    """Return dx, dw, db: every edge hands ``w * dy`` to its input and ``x * dy`` to its weight (x, w conjugated)."""
    known(layer)
    x, w, dy, had_batch = backward_operands(layer, x, w, dy)
    kernel = flipped(layer, w)
    dx = np.zeros((len(x), *layer.in_shape), np.result_type(w, dy))
    dkernel = np.zeros(layer.weight_shape, np.result_type(x, dy))
    for out, inp, k in edges(layer):
        dx[_all(inp)] += kernel[k].conj() * dy[_all(out)]
        dkernel[k] += (x[_all(inp)].conj() * dy[_all(out)]).sum()
    return dx if had_batch else dx[0], flipped(layer, dkernel), bias_gradient(layer, dy)


def _all(position: Position) -> Position:
    """Return the index of this position in every sample of the batch."""
    return (slice(None), *position)


def flipped(layer: Layer, w: Array) -> Array:
    """Return the kernel as it slides: reversed along its axes, the last ones of w, if the layer says so."""
    return np.flip(w, tuple(range(-len(layer.kernel), 0))) if layer.flip else w


def over_outputs(b: Array, layer: Layer) -> Array:
    """Return the bias with one axis per output axis, for broadcasting."""
    return b.reshape(b.shape + (1,) * (len(layer.out_shape) - b.ndim))


def bias_gradient(layer: Layer, dy: Array) -> Array:
    """Return db: dy of shape (batch, *out_shape) summed over the batch and over the axes that share a bias."""
    db: Array = dy.sum(axis=(0, *range(1 + len(layer.bias_shape), dy.ndim)), dtype=dy.dtype)
    return db
