"""The arrays of one call, checked against the shapes of the layer."""

from typing import Any

import numpy as np

from convdense._util.arguments import Array, batched, complain, shaped
from convdense.geometry.protocols import HasShapes, HasWeightShapes


def forward_operands(
    layer: HasWeightShapes, x: Any, w: Any, b: Any
) -> tuple[Array, Array, Array | None, bool]:
    """Return x (with a batch axis), w and b, checked against the layer, and whether x came with a batch axis."""
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    bias = None if b is None else shaped(b, "b", layer.bias_shape, layer)
    return batch, shaped(w, "w", layer.weight_shape, layer), bias, had_batch


def backward_operands(
    layer: HasWeightShapes, x: Any, w: Any, dy: Any
) -> tuple[Array, Array, Array, bool]:
    """Return x and dy (with a batch axis) and w, checked against the layer, and whether x came with a batch axis."""
    x, dy, had_batch = paired_operands(layer, x, dy)
    return x, shaped(w, "w", layer.weight_shape, layer), dy, had_batch


def paired_operands(layer: HasShapes, x: Any, dy: Any) -> tuple[Array, Array, bool]:
    """Return x and dy with a batch axis, checked against the layer and each other, and whether x came with one."""
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    upstream, dy_had_batch = batched(dy, "dy", layer.out_shape, layer)
    if (len(upstream), dy_had_batch) != (len(batch), had_batch):
        need = (*((len(batch),) if had_batch else ()), *layer.out_shape)
        raise ValueError(
            complain(
                "dy", f"shape {np.shape(dy)}", f"{need}, the batch of x", "give both the same batch"
            )
        )
    return batch, upstream, had_batch


def samples(pool: HasShapes, x: Any) -> tuple[Array, bool]:
    """Return the real x with a batch axis, checked against a pool, and whether it came with one."""
    batch, had_batch = batched(x, "x", pool.in_shape, pool)
    if batch.dtype.kind == "c":
        raise TypeError(
            complain("x", f"dtype {batch.dtype}", "real numbers, which can be compared")
        )
    return batch, had_batch


def paired_samples(pool: HasShapes, x: Any, dy: Any) -> tuple[Array, Array, bool]:
    """Return the real x and dy with a batch axis, checked against a pool, and whether x came with one."""
    samples(pool, x)
    return paired_operands(pool, x, dy)
