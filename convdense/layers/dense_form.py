"""A layer taken apart: matrices, absolute values and divisions on flattened samples."""

from functools import singledispatch
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain
from convdense.display.tables import table
from convdense.layers.blocked_sums import adjoint_product, longest_column, product
from convdense.structure.tie_map import TieMap


class Affine(NamedTuple):
    """A dense layer, ``W x + b``; b is None where nothing is added.

    Where it has free weights, `ties` says which edges share them, and `name` whose they are, such
    as "0" for "0.w". In a residual the identity stands before them, for which there are more rows
    and columns than `ties` has. b is what the bias adds together with numbers in the padding;
    without a bias it `has_bias` of its own no more.
    """

    W: sp.csr_array  # (outputs, inputs)
    b: Array | None = None
    name: str = ""
    ties: TieMap | None = None
    has_bias: bool = True

    def forward(self, x: Array) -> Array:
        """Return (batch, outputs) for x of shape (batch, inputs)."""
        y = product(self.W, x.T).T
        return np.asarray(y if self.b is None else y + self.b)

    def backward(self, x: Array, dy: Array) -> Array:  # noqa: ARG002  (every step's backward takes both)
        """Return dx, (batch, inputs)."""
        longest = 1 if self.ties is None else longest_column(self.ties)
        return adjoint_product(self.W, dy.T, longest).T

    def gradients(self, x: Array, dy: Array) -> dict[str, Array]:
        """Return the gradients of its free parameters: of its edges, summed over ties.

        The edges' own gradients are ``dy x^T``, masked.
        """
        if self.ties is None:
            return {}
        rows, cols = self.ties.shape
        own_x = x[:, x.shape[1] - cols :]  # (batch, cols): what passes a residual stands before it
        own_dy = dy[:, dy.shape[1] - rows :]
        samples = own_x.reshape(len(x), *self.ties.in_shape)
        upstream = own_dy.reshape(len(dy), *self.ties.out_shape)
        found = {_joined(self.name, "w"): self.ties.add_edges(samples, upstream)}
        if self.b is not None and self.has_bias:
            ones = np.ones((len(x), 1), dy.dtype)  # the input of the bias
            db = self.ties.bias.add_edges(ones, upstream)
            found[_joined(self.name, "b")] = db.reshape(self.ties.bias_shape)
        return found


class Absolute(NamedTuple):
    """|x| on the coordinates of the mask, x elsewhere; |0| is given the slope `slope_at_zero`."""

    mask: Array  # (features,) bool
    slope_at_zero: int = 1

    def forward(self, x: Array) -> Array:
        """Return (batch, features)."""
        return np.where(self.mask, np.abs(x), x)

    def backward(self, x: Array, dy: Array) -> Array:
        """Return dx, (batch, features)."""
        slope = np.where(x == 0, self.slope_at_zero, np.sign(x)).astype(np.result_type(dy, np.int8))
        return np.where(self.mask, slope * dy, dy)


class Divide(NamedTuple):
    """One division per coordinate, by an integer."""

    divisors: Array  # (features,) int

    def forward(self, x: Array) -> Array:
        """Return (batch, features)."""
        return np.asarray(x / self.divisors.astype(x.dtype))

    def backward(self, x: Array, dy: Array) -> Array:  # noqa: ARG002  (every step's backward takes both)
        """Return dx, (batch, features)."""
        return np.asarray(dy / self.divisors.astype(dy.dtype))


Step = Affine | Absolute | Divide


class DenseLayers(list[Step]):
    """The steps of a network in order: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = ([str(i), *_cells(step)] for i, step in enumerate(self))
        return table(rows, ("", "step", "layer", "matrix", "edges"))


def _cells(step: Step) -> list[str]:
    """Return what a step does; of a dense layer also whose it is, its size and edges."""
    if isinstance(step, Absolute):
        return [f"|x| on {np.count_nonzero(step.mask):,} of {len(step.mask):,}", "", "", ""]
    if isinstance(step, Divide):
        return [f"x / {', '.join(map(str, np.unique(step.divisors)))}", "", "", ""]
    does = "W x" if step.b is None else "W x + b"
    return [does, step.name, "{:,} x {:,}".format(*step.W.shape), f"{step.W.nnz:,}"]


@singledispatch
def dense_steps(layer: object, dtype: npt.DTypeLike = "float64") -> list[Step]:  # noqa: ARG001  (the kinds below use it)
    """Return the dense layers and absolute values that a layer is, in the order they are run.

    Parameters
    ----------
    layer : TiedDense, Dense, an activation, Flatten, Network, or what `dense_pool` returns
        A layer of your own joins with ``@dense_steps.register``.
    dtype : numpy dtype
        Of the matrices of layers without weights.

    Raises
    ------
    TypeError
        For a layer that is not made of these.

    Examples
    --------
    >>> from convdense import ReLU
    >>> first, absolute, last = dense_steps(ReLU(in_shape=(2,)))
    >>> first.W.toarray().T.tolist(), absolute.mask.tolist()
    ([[0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5]], [False, False, True, True])
    >>> last.W.toarray().tolist()
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    needs = "a layer made of matrices and |x|"
    do = "register your own with @dense_steps.register"
    raise TypeError(complain("layer", repr(layer), needs, do))


def named(steps: list[Step], place: str) -> list[Step]:
    """Return the steps with a place before the names of their parameters."""
    return [
        step._replace(name=_joined(place, step.name)) if isinstance(step, Affine) else step
        for step in steps
    ]


def back_through(steps: list[Step], x: Array, dy: Array) -> tuple[Array, Array, dict[str, Array]]:
    """Return y, dx and the gradients by name: plain dense backpropagation through a list of steps.

    x, y, dx and dy are flattened samples, (batch, features).
    """
    values: list[Array] = [x]
    for step in steps:
        values.append(step.forward(values[-1]))

    gradients: dict[str, Array] = {}
    for step, before in zip(reversed(steps), reversed(values[:-1]), strict=True):
        if isinstance(step, Affine):
            gradients |= step.gradients(before, dy)
        dy = step.backward(before, dy)
    return values[-1], dy, gradients


def _joined(*parts: str) -> str:
    return ".".join(filter(None, parts))


def with_identity(step: Step, n: int, dtype: npt.DTypeLike) -> Step:
    """Return the step with n more coordinates in front that pass unchanged."""
    if isinstance(step, Affine):
        identity = sp.eye_array(n, dtype=np.dtype(dtype))
        W = sp.csr_array(sp.block_diag([identity, step.W], format="csr"))
        b = step.b
        if b is not None:
            b = np.concatenate([np.zeros(n, b.dtype), b])
        return step._replace(W=W, b=b)
    if isinstance(step, Absolute):
        return Absolute(np.concatenate([np.zeros(n, bool), step.mask]), step.slope_at_zero)
    return Divide(np.concatenate([np.ones(n, step.divisors.dtype), step.divisors]))


def twice(n: int, dtype: npt.DTypeLike) -> sp.csr_array:
    """Return ``[I; I]``: every coordinate once more."""
    return sp.csr_array(sp.vstack([sp.eye_array(n, dtype=np.dtype(dtype))] * 2, format="csr"))


def sums(n: int, dtype: npt.DTypeLike) -> sp.csr_array:
    """Return ``[I I]``: coordinate i of the first half plus that of the second."""
    return sp.csr_array(sp.hstack([sp.eye_array(n, dtype=np.dtype(dtype))] * 2, format="csr"))
