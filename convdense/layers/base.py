"""What every layer shares: gradients by name, pools as layers, arrays on their way in and out."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.display.tables import facts


class Gradients(NamedTuple):
    """Gradients with respect to input, weights and bias, weights and bias summed over the batch."""

    dx: Array
    dw: Array
    db: Array | None


class ShapesOf:
    """A layer whose shapes are those of one of its parts: of the attribute that `_part` names."""

    _part: ClassVar[str]

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return tuple(getattr(self, self._part).in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return tuple(getattr(self, self._part).out_shape)


class SameShape:
    """A layer whose outputs have the shape of its inputs."""

    in_shape: tuple[int, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: that of the input."""
        return self.in_shape


class ShapesTable:
    """A layer that a notebook shows by its shapes."""

    def _repr_html_(self) -> str:
        """Return its shapes for a notebook."""
        return facts(repr(self), {name: getattr(self, name) for name in ("in_shape", "out_shape")})


class OfPool(ShapesOf, ShapesTable):
    """What every pool as dense layers has: the pool, its shapes, and a repr that names it."""

    _part = "pool"
    pool: Any

    def __repr__(self) -> str:
        """Return the pool it is."""
        return f"{type(self).__name__}({self.pool!r})"


def as_samples(rows: Array, shape: tuple[int, ...], had_batch: bool) -> Array:
    """Return (batch, features) as (batch, *shape), or as one sample if it came as one."""
    y = rows.reshape(len(rows), *shape)
    return y if had_batch else y[0]


def frozen(array: Array) -> Array:
    """Return a copy that cannot be written to."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def floating(x: Array) -> Array:
    """Return integers as float64, floats as they are."""
    return x.astype(np.float64) if x.dtype.kind in "iu" else x


def pulled(layer: Any, x: Array, dy: Array) -> tuple[Array, Mapping[str, Array]]:
    """Return dx and the gradients by name, in whichever form the layer gives them."""
    result = layer.backward(x, dy)
    dx, *rest = result if isinstance(result, tuple) else (result,)
    if np.shape(dx) != x.shape or not (
        len(rest) in (0, 2) or (len(rest) == 1 and isinstance(rest[0], Mapping))
    ):
        got = f"{len(rest) + 1} results, the first of shape {np.shape(dx)}, from backward"
        needs = f"dx of shape {x.shape}, or (dx, dw, db), or (dx, gradients by name)"
        raise ValueError(complain(f"layer {layer!r}", got, needs))
    if len(rest) == 1:  # a network's
        return dx, rest[0]
    return dx, {name: g for name, g in zip(("w", "b"), rest, strict=False) if g is not None}


def is_ready(layer: Any) -> bool:
    """Tell whether a layer runs: it has forward and backward, and knows its shapes."""
    runs = all(callable(getattr(layer, name, None)) for name in ("forward", "backward"))
    shapes = (getattr(layer, name, None) for name in ("in_shape", "out_shape"))
    return (
        runs and not isinstance(layer, type) and all(isinstance(shape, tuple) for shape in shapes)
    )
