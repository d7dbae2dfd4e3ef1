"""A pool as dense layers: sum and divide; |.|, a power, a sum and a root; or a tournament."""

from dataclasses import dataclass
from functools import singledispatch
from math import lcm, prod
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, choice, complain, complain_of
from convdense._util.float_formats import magnitude
from convdense.geometry import (
    AvgPool,
    LpPool,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
    layer_from_dict,
    paired_samples,
    samples,
)
from convdense.layers.base import NoMatrix, OfPool, as_samples, floating, frozen
from convdense.layers.constant import Fixed
from convdense.layers.dense_form import Absolute, Affine, Divide, Step, dense_steps
from convdense.layers.direct_form import direct_counterpart, window_sums
from convdense.layers.error_bounds import (
    SLACK,
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    forward_error,
    integer_unit,
    magnitudes,
    rounded,
)
from convdense.layers.max_pool_tournament import Tournament, tournament, windows_that_share_a_cell
from convdense.layers.plain_form import Plain, layer_to_plain, reads
from convdense.layers.power_errors import root_error, slope_error
from convdense.structure._tie import divisors, pool_matrix, sums


@dataclass(frozen=True, eq=False, repr=False)
class SumDivide(OfPool):
    """Sum and average pooling: a dense layer with one weight, which is 1, then one division.

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

    @property
    def layers(self) -> tuple[Fixed | Divide, ...]:
        """What is run, in this order."""
        return (self.total,) if self.divisors is None else (self.total, Divide(self.divisors))

    def matrix(self, dtype: npt.DTypeLike = "float64") -> sp.csr_array:
        """Return the matrix of the whole layer, with its entries 1/d, rounded to the dtype."""
        return pool_matrix(self.pool, dtype)

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y = S x / d, (batch, *out_shape), for (batch, *in_shape) or one sample."""
        x, had_batch = samples(self, x)
        if self.divisors is not None:
            x = floating(x)  # small integers would wrap before they are divided
        y = self.total.forward(x.reshape(len(x), prod(self.in_shape)))  # (batch, outputs)
        return as_samples(self._divided(y), self.out_shape, had_batch)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return dx = S^T (dy / d)."""
        x, dy, had_batch = paired_samples(self, x, dy)
        upstream = dy.reshape(len(dy), prod(self.out_shape)).astype(np.result_type(x, dy))
        shares = self._divided(upstream)  # (batch, outputs)
        return as_samples(self.total.backward(x, shares), self.in_shape, had_batch)

    def _divided(self, y: Array) -> Array:
        """Return y / divisors in the dtype of y, or float64 for integers; y where none divide."""
        if self.divisors is None:
            return y
        dtype = y.dtype if y.dtype.kind == "f" else np.float64
        return np.asarray(y / self.divisors.astype(dtype))


class Power(NamedTuple):
    """``|x|^p`` of every coordinate."""

    exponent: float

    def forward(self, x: Array) -> Array:
        """Return ``|x|^p``."""
        return np.asarray(np.abs(x) ** self.exponent)

    def backward(self, x: Array, dy: Array) -> Array:
        """Return dx, ``p |x|^(p - 1) sign(x) dy``, and 0 where x is 0."""
        slope = self.exponent * np.abs(np.where(x == 0, 1, x)) ** (self.exponent - 1)
        return np.asarray(np.sign(x) * slope * dy)


@dataclass(frozen=True, eq=False, repr=False)
class PowerAverage(NoMatrix, OfPool):
    """Power-average pooling, ``(sum |x|^p)^(1/p)``: |.|, a power, the sum as a dense layer, a root.

    Run entry by entry of the sum, each cell divided by about the largest of its window, so that no
    power overflows or vanishes.

    Parameters
    ----------
    pool : LpPool
    total : SumDivide
        The sum of the powers.
    """

    pool: LpPool
    total: SumDivide

    @property
    def layers(self) -> tuple[Power | Fixed | Divide, ...]:
        """What it is, in this order; `forward` runs it scaled."""
        return Power(self.pool.p), *self.total.layers, Power(1 / self.pool.p)

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        x, had_batch = samples(self, x)
        _, root, scale = self._scaled(x)
        return as_samples(root * scale, self.out_shape, had_batch)

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> Array:
        """Return ``dx = sign(x) S^T (dy (|x| / y)^(p-1))``.

        In a window of zeros it is 0, a subgradient.
        """
        x, dy, had_batch = paired_samples(self, x, dy)
        ratios, root, _ = self._scaled(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = (ratios / self._each(root)) ** (self.pool.p - 1)  # (batch, entries)
        slopes = np.where(self._each(root) == 0, 0, slopes)
        shares = slopes * self._each(dy.reshape(root.shape))
        rows = x.reshape(len(x), prod(self.in_shape))
        cells, size = self._pattern.indices, rows.shape[1]
        dx = np.zeros(rows.shape, shares.dtype)
        for sample, of_sample in zip(dx, shares, strict=True):
            sample[:] = np.bincount(cells, of_sample, size)  # summed over the windows of a cell
        return as_samples(np.sign(rows) * dx, self.in_shape, had_batch)

    def _scaled(self, x: Array) -> tuple[Array, Array, Array]:
        """Return ``|x| / scale`` of every entry, and of every window its root and its scale."""
        rows = floating(x).reshape(len(x), prod(self.in_shape))
        sizes = np.abs(rows)[:, self._pattern.indices]  # (batch, entries), window by window
        starts = self._pattern.indptr[:-1]
        filled = np.diff(self._pattern.indptr) > 0  # windows that meet a cell
        largest, total = np.zeros((2, len(x), len(starts)), sizes.dtype)
        largest[:, filled] = np.maximum.reduceat(sizes, starts[filled], axis=1)
        scale = self.pool.scale(largest)
        ratios = sizes / self._each(scale)
        total[:, filled] = np.add.reduceat(ratios**self.pool.p, starts[filled], axis=1)
        return ratios, total ** (1 / self.pool.p), scale

    @property
    def _pattern(self) -> sp.csr_array:
        """The matrix of the sum: a one for each cell of a window."""
        return self.total.total.matrix("float64")

    def _each(self, of_windows: Array) -> Array:
        """Return what belongs to the window of each entry, (batch, entries) of (batch, windows)."""
        return np.repeat(of_windows, np.diff(self._pattern.indptr), axis=1)


DensePool = SumDivide | Tournament | PowerAverage


def dense_pool(pool: Pool, tie_break: str = "first") -> DensePool:
    """Return a pool as dense layers, with ``forward(x)`` and ``backward(x, dy) -> dx``.

    Its ``layers`` are what it is made of, in order. ``matrix(dtype)`` returns the one matrix that a
    sum or an average is, ``indices(x)`` where the winners of a MaxPool or MinPool stand.

    Parameters
    ----------
    pool : SumPool, AvgPool, MaxPool, MinPool or LpPool
    tie_break : {"first", "split"}
        Who gets the gradient where several cells are largest, for MaxPool and MinPool; see
        `Tournament`.

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
    choice(tie_break, "tie_break", ("first", "split"))
    return _dense_form(pool, tie_break)


@singledispatch
def _dense_form(pool: Pool, tie_break: str) -> DensePool:  # noqa: ARG001  (the kinds use it)
    """Return a pool as dense layers; each kind registers its own."""
    needs = "a SumPool, AvgPool, MaxPool, MinPool or LpPool"
    raise TypeError(complain_of("pool", pool, needs, "tie(layer) is for convolutions"))


_dense_form.register(MaxPool | MinPool, tournament)


@_dense_form.register
def _(pool: SumPool | AvgPool, tie_break: str) -> SumDivide:  # noqa: ARG001  (no ties to break)
    each = frozen(divisors(pool)) if isinstance(pool, AvgPool) else None
    return SumDivide(pool, Fixed(sums(pool)), each)


@_dense_form.register
def _(pool: LpPool, tie_break: str) -> PowerAverage:  # noqa: ARG001  (as above)
    return PowerAverage(pool, SumDivide(pool, Fixed(sums(pool)), None))


@dense_steps.register
def _(layer: SumDivide, dtype: npt.DTypeLike = "float64") -> list[Step]:
    total = Affine(layer.total.matrix(dtype))
    return [total] if layer.divisors is None else [total, Divide(layer.divisors)]


@dense_steps.register
def _(layer: PowerAverage, dtype: npt.DTypeLike = "float64") -> list[Step]:
    if layer.pool.p != 1:
        needs = "p=1: other powers are neither matrices nor |x|"
        raise TypeError(complain("layer", repr(layer), needs, "use an AvgPool or a MaxPool"))
    everywhere = np.ones(prod(layer.in_shape), bool)
    return [Absolute(everywhere, slope_at_zero=0), *dense_steps(layer.total, dtype)]


@integer_unit.register
def _(layer: SumDivide, leaving: int = 1) -> int:
    if layer.divisors is None:
        return leaving
    return leaving * lcm(*map(int, np.unique(layer.divisors)))


def _takes_roots(layer: SumDivide | PowerAverage) -> TypeGuard[PowerAverage]:
    """Tell whether y is a root of a sum of powers: of p = 1 it is a sum."""
    return isinstance(layer, PowerAverage) and layer.pool.p != 1


@forward_error.register
def _(layer: SumDivide | PowerAverage, x: Value) -> Value:
    direct = direct_counterpart(layer)
    y = direct.forward(x.value)
    if _takes_roots(layer):  # a norm of its window: off by the norm of the errors at most
        own = root_error(layer.pool, x.magnitude, x.value.dtype)
        return Value(y, SLACK * direct.forward(x.error) + own)
    adding = magnitudes(layer)
    roundings = sums(layer.pool).counts().outputs + 1  # its terms, and the division
    own = rounded(roundings, adding.forward(x.magnitude), x.value.dtype)
    return Value(y, SLACK * adding.forward(x.error) + own)


@backward_error.register
def _(layer: SumDivide | PowerAverage, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    if _takes_roots(layer):
        return _slope_of_root(layer, x, dy), {}
    dx = direct_counterpart(layer).backward(x.value, dy.value)
    adding = magnitudes(layer)
    shared = windows_that_share_a_cell(layer.pool)
    own = rounded(shared + 1, adding.backward(x.magnitude, dy.magnitude), dy.value.dtype)
    error = SLACK * adding.backward(x.magnitude, dy.error) + own
    undecided = window_sums(layer.pool).backward(x.magnitude, dy.undecided.astype(float)) > 0
    if isinstance(layer, PowerAverage):  # of |x|
        undecided = undecided | x.may_change_sign
    return Slope(dx, error, undecided), {}


def _slope_of_root(layer: PowerAverage, x: Value, dy: Slope) -> Slope:
    """Return the gradient of a root: no slope is above 1; of an x that is off, none is known."""
    direct, everywhere = direct_counterpart(layer), window_sums(layer.pool)
    own = slope_error(layer.pool, x.value, dy.magnitude, dy.value.dtype)
    error = SLACK * direct.backward(magnitude(x.value), dy.error) + own
    open_windows = dy.undecided | (everywhere.forward(x.error) > 0)
    reached = everywhere.backward(x.magnitude, open_windows.astype(float)) > 0
    return Slope(direct.backward(x.value, dy.value), error, reached)


@layer_to_plain.register
def _(layer: OfPool) -> Plain:
    tie_break = getattr(layer, "tie_break", "first")  # a tournament has one
    return {"type": "dense_pool", "pool": layer.pool.to_dict(), "tie_break": tie_break}


@reads("dense_pool")
def _(values: Plain) -> DensePool:
    pool: Any = layer_from_dict(values["pool"])  # what is no pool is refused
    return dense_pool(pool, values["tie_break"])
