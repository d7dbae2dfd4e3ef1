"""The arrays of one call, checked against the shapes of the layer."""

from math import prod

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, batched, complain, shaped
from convdense.geometry.protocols import HasShapes, HasWeightShapes


def forward_operands(
    layer: HasWeightShapes, x: npt.ArrayLike, w: npt.ArrayLike | None, b: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None, bool]:
    """Return x with a batch axis, w and b, and whether x came with a batch axis.

    All are checked against the shapes of the layer; a w that was forgotten is refused.
    """
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    bias = None if b is None else shaped(b, "b", layer.bias_shape, layer)
    weights = shaped(w, "w", layer.weight_shape, layer)
    return batch, weights, bias, had_batch


def backward_operands(
    layer: HasWeightShapes, x: npt.ArrayLike, w: npt.ArrayLike, dy: npt.ArrayLike
) -> tuple[Array, Array, Array, bool]:
    """Return x, w and dy, x and dy with a batch axis, and whether they came with one."""
    batch, upstream, had_batch = paired_operands(layer, x, dy)
    weights = shaped(w, "w", layer.weight_shape, layer)
    return batch, weights, upstream, had_batch


def paired_operands(
    layer: HasShapes, x: npt.ArrayLike, dy: npt.ArrayLike
) -> tuple[Array, Array, bool]:
    """Return x and dy with a batch axis, and whether they came with one.

    They are checked against the layer and against each other.
    """
    takes, gives = layer.in_shape, layer.out_shape
    ends = _ends(x, gives), _ends(dy, takes)
    fits = (_ends(x, takes), _ends(dy, gives)) == (takes, gives)
    if ends == (gives, takes) and not fits:
        needs = f"{takes} and {gives}"
        raise ValueError(complain("x and dy", "{} and {}".format(*ends), needs, "swap the two"))
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    upstream, dy_had_batch = batched(dy, "dy", layer.out_shape, layer)
    if dy_had_batch != had_batch or len(upstream) != len(batch):
        need = (len(batch), *layer.out_shape) if had_batch else layer.out_shape
        got, do = f"shape {np.shape(dy)}", "give both the same batch"
        raise ValueError(complain("dy", got, f"{need}, the batch of x", do))
    return batch, upstream, had_batch


def _ends(operand: npt.ArrayLike, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(getattr(operand, "shape", ())[-len(shape) :])


def samples(pool: HasShapes, x: npt.ArrayLike) -> tuple[Array, bool]:
    """Return x with a batch axis and whether it came with one, for a layer of real numbers."""
    batch, had_batch = batched(x, "x", pool.in_shape, pool)
    if batch.dtype.kind == "c":
        needs = "real numbers, which can be compared"
        raise TypeError(complain("x", f"dtype {batch.dtype}", needs))
    return batch, had_batch


def paired_samples(
    pool: HasShapes, x: npt.ArrayLike, dy: npt.ArrayLike
) -> tuple[Array, Array, bool]:
    """Return what `paired_operands` does, for a layer of real numbers."""
    samples(pool, x)
    return paired_operands(pool, x, dy)


def require_cells(layer: HasShapes) -> None:
    """Refuse a layer without an input or without an output, of which nothing can be said."""
    n_inputs, n_outputs = prod(layer.in_shape), prod(layer.out_shape)
    if not (n_inputs and n_outputs):
        got = f"{layer!r}, of {n_inputs} inputs and {n_outputs} outputs"
        raise ValueError(complain("layer", got, "some of both, or there is nothing to look at"))
