"""What rounding may do to a layer: the operations that every layer registers for itself.

* `magnitudes`: the layer that adds up absolute values where this one adds up numbers.
* `forward_error`, `backward_error`: a computed value or gradient, with what it may be off by.
* `integer_unit`: what integers must be multiples of for multiples of a unit to leave the layer.

Forward, every value comes with an error: what any order of summation may be off by. Backward, a
gradient also says which of its entries are undecided: past a non-differentiable point whose branch
rounding may flip no bound is known. Products and sums as in Higham, *Accuracy and Stability of
Numerical Algorithms*, ch. 3.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain
from convdense._util.float_formats import gamma, magnitude
from convdense.geometry import Layer
from convdense.layers.base import SameShape

SLACK = 1 + 1e-6  # the bounds are rounded sums as well, of less than 10**9 magnitudes
ParameterBounds = dict[str, Array]


class Value(NamedTuple):
    """A computed value, and what any order of summation may be off by.

    So two orders differ by twice that at most.
    """

    value: Array
    error: Array

    @property
    def magnitude(self) -> Array:
        """The largest that any order of summation may give."""
        return np.asarray(magnitude(self.value) + 2 * self.error)

    @property
    def may_change_sign(self) -> Array:
        """Where rounding may put the value on the other side of 0, bool of its shape."""
        return (magnitude(self.value) <= 2 * self.error) & (self.error > 0)


class Slope(NamedTuple):
    """A gradient with its error, and which of its entries are undecided, bool of its shape."""

    value: Array
    error: Array
    undecided: Array

    @property
    def magnitude(self) -> Array:
        """The largest that any order of summation may give."""
        return np.asarray(magnitude(self.value) + 2 * self.error)


class Passes(SameShape):
    """Magnitudes that pass as they are, through |.| and whatever is made of halves."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        self.in_shape = in_shape

    def forward(self, x: Array) -> Array:
        """Return x."""
        return x

    def backward(self, x: Array, dy: Array) -> Array:  # noqa: ARG002  (every layer's backward takes both)
        """Return dy."""
        return dy


def rounded(terms: npt.ArrayLike, sums: Array, *dtypes: npt.DTypeLike) -> Array:
    """Return the error of sums of that many products, given the sums of their magnitudes.

    They are rounded in the coarsest of the dtypes. Exact zeros stay exact; nothing is known of sums
    that may overflow.
    """
    info = np.finfo(_coarsest(dtypes))
    error = SLACK * gamma(terms, float(info.eps) / 2) * sums
    underflow = np.where(sums > 0, np.asarray(terms) * float(info.smallest_subnormal), 0.0)
    return np.where(sums <= info.max / 2, error + underflow, np.inf)


def halved(numbers: Array, dtype: npt.DTypeLike) -> Array:
    """Return the error of halving and adding up again, given the magnitudes.

    Halves are exact, but for those that fall below the normal numbers.
    """
    info = np.finfo(_coarsest((dtype,)))
    small = (numbers > 0) & (numbers < 4 * float(info.smallest_normal))
    return np.where(small, 4 * float(info.smallest_subnormal), 0.0)


def _coarsest(dtypes: Sequence[npt.DTypeLike]) -> np.dtype[Any]:
    """Return the float dtype with the fewest digits; float64, as networks run, if there is none."""
    floats = [np.dtype(d) for d in dtypes if np.dtype(d).kind == "f"]
    return max(floats, key=lambda d: float(np.finfo(d).eps), default=np.dtype("float64"))


@singledispatch
def magnitudes(layer: object) -> Any:
    """Return the layer that adds up magnitudes where this one adds up numbers.

    A layer of your own joins with ``@magnitudes.register``.

    Raises
    ------
    TypeError
        For a layer whose sums are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Dense
    >>> magnitudes(Dense([[1.0, -2.0]], b=[-3.0])).forward(np.array([[1.0, 1.0]]))
    array([[6.]])
    """
    needs = "a layer whose sums are known, made of matrices and |x|"
    do = "register your own with @magnitudes.register"
    raise TypeError(complain("layer", repr(layer), needs, do))


@singledispatch
def integer_unit(layer: object, leaving: int = 1) -> int:  # noqa: ARG001  (the kinds below use it)
    """Return what numbers that enter a layer must be multiples of, for those of a unit to leave."""
    return leaving


_KNOWN = "a layer whose rounding is known, made of matrices and |x|"
_REGISTER = "register your own with @forward_error.register and @backward_error.register"


@singledispatch
def forward_error(layer: object, x: Value) -> Value:  # noqa: ARG001  (the kinds below use it)
    """Return what leaves a layer, with its error.

    A layer of your own joins with ``@forward_error.register``.

    Raises
    ------
    TypeError
        For a layer whose rounding is not known.
    """
    raise TypeError(complain("layer", repr(layer), _KNOWN, _REGISTER))


# The kinds below use x and dy as well.
@singledispatch
def backward_error(layer: object, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:  # noqa: ARG001
    """Return dx with its error, and the bounds on the gradients of the layer's own parameters.

    A bound is on what two evaluations may differ by: twice the error, infinite where undecided. A
    layer of your own joins with ``@backward_error.register``.

    Raises
    ------
    TypeError
        For a layer whose rounding is not known.
    """
    raise TypeError(complain("layer", repr(layer), _KNOWN, _REGISTER))


def forward_errors(layers: Sequence[Layer], x: Value) -> list[Value]:
    """Return what enters each layer and what leaves the last, each with its error."""
    values = [x]
    for layer in layers:
        values.append(forward_error(layer, values[-1]))
    return values


def backward_errors(
    layers: Sequence[Layer], values: list[Value], dy: Slope
) -> tuple[Slope, ParameterBounds]:
    """Return dx with its error, and the bound on every parameter's gradient.

    The bound is infinite where the gradient is undecided.
    """
    bounds: ParameterBounds = {}
    for i, x in reversed(list(enumerate(values[:-1]))):
        dy, own = backward_error(layers[i], x, dy)
        bounds.update({f"{i}.{name}": bound for name, bound in own.items()})
    return dy, bounds
