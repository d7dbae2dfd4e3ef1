"""A layer taken apart: matrices, absolute values and divisions on flattened samples, and nothing else."""

from functools import singledispatch
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense.activations import Abs, LeakyReLU
from convdense.arguments import Array, complain
from convdense.fixed import Fixed
from convdense.flatten import Flatten
from convdense.layers import Dense, TiedDense
from convdense.pooling import PowerAverage, SumDivide
from convdense.tournament import Tournament


class Affine(NamedTuple):
    """A dense layer, ``W x + b``; b is None where there is no bias."""

    W: Any  # scipy.sparse.csr_array, (outputs, inputs)
    b: Array | None = None

    def forward(self, x: Array) -> Array:
        """Return (batch, outputs) for x of shape (batch, inputs)."""
        y = (self.W @ x.T).T
        return np.asarray(y if self.b is None else y + self.b)

    def backward(self, x: Array, dy: Array) -> Array:  # noqa: ARG002  (every step's backward takes both)
        """Return dx, (batch, inputs)."""
        return np.asarray((self.W.conj().T @ dy.T).T)


class Absolute(NamedTuple):
    """|x| on the coordinates of the mask, x elsewhere; `slope_at_zero` is the slope given to |0|."""

    mask: Array  # (features,) bool
    slope_at_zero: int = 1

    def forward(self, x: Array) -> Array:
        """Return (batch, features)."""
        return np.where(self.mask, np.abs(x), x)

    def backward(self, x: Array, dy: Array) -> Array:
        """Return dx, (batch, features)."""
        slope = np.where(x == 0, self.slope_at_zero, np.sign(x)).astype(dy.dtype)
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


@singledispatch
def dense_steps(layer: Any, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (the kinds below use it)
    """Return the dense layers and absolute values that a layer is, in the order they are run.

    Parameters
    ----------
    layer : TiedDense, Dense, Abs, ReLU, LeakyReLU, Flatten, Network, or what `dense_pool` returns
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
    >>> first, kink, last = dense_steps(ReLU(in_shape=(2,)))
    >>> first.W.toarray().T.tolist(), kink.mask.tolist()
    ([[0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5]], [False, False, True, True])
    >>> last.W.toarray().tolist()
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    needs = "a layer made of matrices and |x|"
    raise TypeError(complain("layer", repr(layer), needs, "register your own with @dense_steps.register"))


@dense_steps.register
def _(layer: TiedDense, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    bias = None if layer.b is None else layer.ties.bias.matrix(layer.b).toarray()[:, 0]
    return [Affine(layer.matrix, bias)]


@dense_steps.register
def _(layer: Dense, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (its weights have a dtype)
    return [Affine(sp.csr_array(layer.w), layer.b)]


@dense_steps.register
def _(layer: Abs, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (it has no matrix)
    return [Absolute(layer.mask, layer.slope_at_zero)]


@dense_steps.register
def _(layer: LeakyReLU, dtype: Any = "float64") -> list[Step]:
    n = prod(_known(layer))
    straight, bent = (share * sp.eye_array(n, dtype=dtype, format="csr") for share in layer.shares)
    return [
        Affine(sp.csr_array(sp.vstack([straight, bent], format="csr"))),
        Absolute(np.arange(2 * n) >= n, slope_at_zero=-1),
        Affine(sums(n, dtype)),
    ]


@dense_steps.register
def _(layer: Flatten, dtype: Any = "float64") -> list[Step]:  # noqa: ARG001  (flattened samples are as they are)
    _known(layer)
    return []


@dense_steps.register
def _(layer: SumDivide, dtype: Any = "float64") -> list[Step]:
    total = Affine(layer.total.matrix(dtype))
    return [total] if layer.divisors is None else [total, Divide(layer.divisors)]


@dense_steps.register
def _(layer: Tournament, dtype: Any = "float64") -> list[Step]:
    return [step for part in layer.layers for step in dense_steps(part, dtype)]


@dense_steps.register
def _(layer: Fixed, dtype: Any = "float64") -> list[Step]:
    return [Affine(layer.matrix(dtype))]


@dense_steps.register
def _(layer: PowerAverage, dtype: Any = "float64") -> list[Step]:
    if layer.pool.p != 1:
        needs = "p=1: other powers are neither matrices nor |x|"
        raise TypeError(complain("layer", repr(layer), needs, "use an AvgPool or a MaxPool"))
    return [Absolute(np.ones(prod(layer.in_shape), bool), slope_at_zero=0), *dense_steps(layer.total, dtype)]


def beside(step: Step, n: int, dtype: Any) -> Step:
    """Return the step with n more coordinates in front that pass unchanged."""
    if isinstance(step, Affine):
        W = sp.csr_array(sp.block_diag([sp.eye_array(n, dtype=dtype), step.W], format="csr"))
        return Affine(W, None if step.b is None else np.concatenate([np.zeros(n, step.b.dtype), step.b]))
    if isinstance(step, Absolute):
        return Absolute(np.concatenate([np.zeros(n, bool), step.mask]), step.slope_at_zero)
    return Divide(np.concatenate([np.ones(n, step.divisors.dtype), step.divisors]))


def twice(n: int, dtype: Any) -> sp.csr_array:
    """Return ``[I; I]``: every coordinate once more."""
    return sp.csr_array(sp.vstack([sp.eye_array(n, dtype=dtype)] * 2, format="csr"))


def sums(n: int, dtype: Any) -> sp.csr_array:
    """Return ``[I I]``: coordinate i of the first half plus that of the second."""
    return sp.csr_array(sp.hstack([sp.eye_array(n, dtype=dtype)] * 2, format="csr"))


def _known(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer that takes any, once a network or the caller has said it."""
    if layer.in_shape is None:
        needs = "one that knows its in_shape"
        raise ValueError(complain("layer", repr(layer), needs, f"write {type(layer).__name__}(in_shape=...)"))
    return tuple(layer.in_shape)
