"""A pool as dense layers: sum and divide; |.|, a power, a sum and a root; or a tournament."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, choice, complain
from convdense._util.deprecation import UNSET, renamed_argument
from convdense.geometry import (
    AvgPool,
    LpPool,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
    paired_samples,
    samples,
)
from convdense.layers.base import OfPool, as_samples, floating
from convdense.layers.constant import Fixed
from convdense.layers.dense_form import Absolute, Affine, Divide, Step, dense_steps
from convdense.layers.max_pool_tournament import Tournament, tournament
from convdense.structure._tie import padded_counts, pool_axes, sums
from convdense.structure.kronecker import outer


@dataclass(frozen=True, eq=False, repr=False)
class SumDivide(OfPool):
    """Sum and average pooling: a dense layer with one weight, which is 1, then one division per
    output.

    ``49 * (1/49) != 1`` in floats, so that the sum comes first and is divided once, as frameworks
    do.

    Parameters
    ----------
    pool : SumPool or AvgPool
    total : Fixed
        The sums.
    divisors : (outputs,) array of int, or None
        What each output is divided by.
    """

    pool: Pool
    total: Fixed
    divisors: Array | None

    def matrix(self, dtype: Any = "float64") -> sp.csr_array:
        """Return the matrix of the whole layer, with its entries 1/d, rounded to the dtype."""
        matrix = self.total.matrix(dtype).copy()
        if self.divisors is not None:
            matrix.data /= np.repeat(self.divisors, np.diff(matrix.indptr)).astype(dtype)
        return matrix

    def forward(self, x: Any) -> Array:
        """Return y = S x / d, shape (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = samples(self, x)
        x = (
            x if self.divisors is None else floating(x)
        )  # small integers would wrap before they are divided
        y = self.total.forward(x.reshape(len(x), prod(self.in_shape)))  # (batch, outputs)
        return as_samples(
            y if self.divisors is None else _divided(y, self.divisors), self.out_shape, had_batch
        )

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx = S^T (dy / d)."""
        x, dy, had_batch = paired_samples(self, x, dy)
        dtype = np.result_type(x, dy)
        upstream = dy.reshape(len(dy), prod(self.out_shape)).astype(dtype)
        shares = upstream if self.divisors is None else _divided(upstream, self.divisors)
        return as_samples(self.total.backward(x, shares), self.in_shape, had_batch)


@dataclass(frozen=True, eq=False, repr=False)
class PowerAverage(OfPool):
    """Power-average pooling, ``(sum |x|^p)^(1/p)``: |.|, a power, the sum as a dense layer, a root.

    Parameters
    ----------
    pool : LpPool
    total : SumDivide
        The sum of the powers.
    """

    pool: LpPool
    total: SumDivide

    def forward(self, x: Any) -> Array:
        """Return y, shape (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = samples(self, x)
        y = self.total.forward(np.abs(floating(x)) ** self.pool.p) ** (1 / self.pool.p)
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> Array:
        """Return ``dx = |x|^(p-1) sign(x) S^T (dy y^(1-p))``, and 0, a subgradient, in a window of zeros."""
        x, dy, had_batch = paired_samples(self, x, dy)
        x, y = floating(x), self.forward(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(y == 0, 0, dy * y ** (1 - self.pool.p)).astype(np.result_type(x, dy))
        dx = np.sign(x) * np.abs(x) ** (self.pool.p - 1) * self.total.backward(x, shares)
        return np.asarray(dx if had_batch else dx[0])


def dense_pool(
    pool: Any, tie_break: str = "first", *, ties: Any = UNSET
) -> SumDivide | Tournament | PowerAverage:
    """Return a pool as dense layers, with ``forward(x)`` and ``backward(x, dy) -> dx``.

    Parameters
    ----------
    pool : SumPool, AvgPool, MaxPool, MinPool or LpPool
    tie_break : {"first", "split"}
        Who gets the gradient where several cells are largest, for MaxPool and MinPool; see
        `Tournament`.
    ties
        The old name of `tie_break`; it warns.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> layer = dense_pool(MaxPool((1, 2, 4), kernel=2))
    >>> x = [[[3, 1, -2, -2], [0, 3, -5, -2]]]
    >>> layer.forward(x)
    array([[[ 3, -2]]])
    >>> layer.backward(x, dy=[[[10, 20]]])  # the first of several largest
    array([[[10,  0, 20,  0],
            [ 0,  0,  0,  0]]])
    >>> dense_pool(AvgPool((1, 3), kernel=2, stride=1)).matrix().toarray()
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5]])
    """
    tie_break = renamed_argument("ties", "tie_break", ties, tie_break, "first")
    choice(tie_break, "tie_break", ("first", "split"))
    if isinstance(pool, (MaxPool, MinPool)):
        return tournament(pool, tie_break)
    if isinstance(pool, SumPool):
        return SumDivide(pool, Fixed(sums(pool)), None)
    if isinstance(pool, AvgPool):
        return SumDivide(pool, Fixed(sums(pool)), _divisors(pool))
    if isinstance(pool, LpPool):
        return PowerAverage(pool, SumDivide(pool, Fixed(sums(pool)), None))
    raise TypeError(complain("pool", repr(pool), "a SumPool, AvgPool, MaxPool, MinPool or LpPool"))


def _divisors(pool: AvgPool) -> Array:
    """Return what each flattened output is divided by: a product of the axes' own counts."""
    if pool.divisor_override is not None:
        return np.full(prod(pool.out_shape), pool.divisor_override)
    counts = (
        padded_counts(pool)
        if pool.count_include_pad
        else [np.bincount(a.rows) for a in pool_axes(pool)]
    )
    return outer([np.ones(pool.in_shape[0], np.intp), *counts])


def _divided(y: Array, divisors: Array) -> Array:
    """Return y / divisors in the dtype of y, or float64 for integers."""
    return np.asarray(y / divisors.astype(y.dtype if y.dtype.kind == "f" else np.float64))


@dense_steps.register
def _(layer: SumDivide, dtype: Any = "float64") -> list[Step]:
    total = Affine(layer.total.matrix(dtype))
    return [total] if layer.divisors is None else [total, Divide(layer.divisors)]


@dense_steps.register
def _(layer: PowerAverage, dtype: Any = "float64") -> list[Step]:
    if layer.pool.p != 1:
        needs = "p=1: other powers are neither matrices nor |x|"
        raise TypeError(complain("layer", repr(layer), needs, "use an AvgPool or a MaxPool"))
    return [
        Absolute(np.ones(prod(layer.in_shape), bool), slope_at_zero=0),
        *dense_steps(layer.total, dtype),
    ]
