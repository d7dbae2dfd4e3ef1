"""What every layer shares: gradients by name, pools as layers, arrays on their way in and out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeGuard

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, numeric
from convdense._util.frozen import Frozen, freeze
from convdense.display.tables import facts
from convdense.geometry import HasShapes, Layer, Pool


class Gradients(NamedTuple):
    """Gradients with respect to input, weights and bias; the last two summed over the batch."""

    dx: Array
    dw: Array
    db: Array | None


class ShapesOf:
    """A layer whose shapes are those of one of its parts: of the attribute that `_part` names."""

    _part: ClassVar[str]

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        part: HasShapes = getattr(self, self._part)
        return tuple(part.in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        part: HasShapes = getattr(self, self._part)
        return tuple(part.out_shape)


class Runs(Frozen, ABC):
    """A layer that runs, by `forward` or as a function."""

    _use_instead = "layer.forward(x) runs it"

    @abstractmethod
    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y."""

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return ``forward(x)``."""
        return self.forward(x)


class MatrixProducts:
    """Products with the matrix, flattened: what SciPy and PyLops ask a linear operator for.

    The bias is left out: with it, `forward` is not linear.
    """

    if TYPE_CHECKING:  # each subclass has it, as a field or a property

        @property
        def matrix(self) -> sp.csr_array | Array:
            """The matrix, (outputs, inputs)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix: (outputs, inputs)."""
        rows, columns = self.matrix.shape
        return rows, columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the matrix."""
        return self.matrix.dtype

    def matvec(self, x: npt.ArrayLike) -> Array:
        """Return ``W x`` for x of shape (inputs,) or (inputs, columns)."""
        return np.asarray(self.matrix @ _columns(x, self.shape[1]))

    def rmatvec(self, x: npt.ArrayLike) -> Array:
        """Return ``W^H x`` for x of shape (outputs,) or (outputs, columns)."""
        return np.asarray(self.matrix.T @ _columns(x, self.shape[0]).conj()).conj()

    matmat = _matvec = matvec  # with an underscore where PyLops asks
    rmatmat = _rmatvec = rmatvec


class SameShape:
    """A layer whose outputs have the shape of its inputs."""

    in_shape: tuple[int, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: that of the input."""
        return self.in_shape


class ShapesTable(Runs):
    """A layer that a notebook shows by its shapes."""

    def _repr_html_(self) -> str:
        return facts(repr(self), {name: getattr(self, name) for name in ("in_shape", "out_shape")})


class AnyShape(ShapesTable):
    """A layer that takes samples of any shape, until a network says which."""

    in_shape: tuple[int, ...] | None

    @abstractmethod
    def with_in_shape(self, in_shape: tuple[int, ...]) -> Self:
        """Return the same layer for samples of this shape."""

    def known_shape(self) -> tuple[int, ...]:
        """Return its in_shape, or say that nobody has told it.

        Raises
        ------
        ValueError
            If it is not known yet.
        """
        if self.in_shape is None:
            needs = "one that knows its in_shape"
            do = f"write {type(self).__name__}(in_shape=...), or let network fill it in"
            raise ValueError(complain("layer", repr(self), needs, do))
        return self.in_shape


class OfPool(ShapesOf, ShapesTable):
    """What every layer made of a pool has: the pool, its shapes, and a repr that names it."""

    _part = "pool"
    if TYPE_CHECKING:
        # Each subclass has the field `pool`. To type checkers it is a property here, so that a
        # subclass may narrow its type, as `PowerAverage` does to LpPool.

        @property
        def pool(self) -> Pool:
            """The pool it is."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pool!r})"


class NoMatrix:
    """A pool that is several layers, of which no single matrix can be made."""

    def matrix(self, dtype: npt.DTypeLike = "float64") -> sp.csr_array:  # noqa: ARG002  (sums use it)
        """Refuse to return the matrix, which sums and averages alone have."""
        needs = "a sum or an average: this one is no single matrix"
        do = "look at the .layers of what cd.dense_pool returns"
        raise TypeError(complain("layer", repr(self), needs, do))


def _columns(x: npt.ArrayLike, size: int) -> Array:
    """Return x if it is one flattened sample, or one in each column."""
    array = numeric(x, "x")
    if array.ndim not in {1, 2} or len(array) != size:
        needs = f"({size},) or ({size}, columns), as an operator"
        raise ValueError(complain("x", f"shape {array.shape}", needs, "write x.ravel()"))
    return array


def as_samples(rows: Array, shape: tuple[int, ...], had_batch: bool) -> Array:
    """Return (batch, features) as (batch, *shape), or as one sample if it came as one."""
    y = rows.reshape(len(rows), *shape)
    return y if had_batch else y[0]


def frozen(array: Array) -> Array:
    """Return a copy that cannot be written to."""
    copy = np.array(array)
    freeze(copy)
    return copy


def floating(x: Array) -> Array:
    """Return integers as float64, floats as they are."""
    return x.astype(np.float64) if x.dtype.kind in "iu" else x


def require_real(arrays: Mapping[str, Array], verb: str) -> None:
    """Refuse complex numbers in a network, which is judged as a whole."""
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            do = f"{verb} complex layers one by one"
            raise TypeError(complain(name, f"dtype {array.dtype}", "real numbers", do))


def pulled(layer: Layer, x: Array, dy: Array) -> tuple[Array, Mapping[str, Array]]:
    """Pull dy back through a layer: return dx, and the gradients of its parameters by name.

    The layer's backward may give dx alone, (dx, dw, db), or, as a network's does, (dx, gradients by
    name).
    """
    result = layer.backward(x, dy)
    results = result if isinstance(result, tuple) else (result,)
    dx, *rest = results
    by_name = len(rest) == 1 and isinstance(rest[0], Mapping)
    known_form = by_name or len(rest) in (0, 2)
    if np.shape(dx) != x.shape or not known_form:
        got = f"{len(rest) + 1} results, the first of shape {np.shape(dx)}, from backward"
        needs = f"dx of shape {x.shape}, or (dx, dw, db), or (dx, gradients by name)"
        raise ValueError(complain(f"layer {layer!r}", got, needs))
    if by_name:
        return dx, rest[0]
    named = zip(("w", "b"), rest, strict=False)  # rest is dw and db, or empty
    return dx, {name: gradient for name, gradient in named if gradient is not None}


def is_ready(layer: object) -> TypeGuard[Layer]:
    """Tell whether a layer runs: it has forward and backward, and knows its shapes."""
    runs = all(callable(getattr(layer, name, None)) for name in ("forward", "backward"))
    shapes = (getattr(layer, name, None) for name in ("in_shape", "out_shape"))
    knows_shapes = all(isinstance(shape, tuple) for shape in shapes)
    is_class = isinstance(layer, type)  # whose forward and backward are callable too
    return runs and knows_shapes and not is_class
