"""Gradient descent as a pure function: parameters and gradients in, parameters out."""

from collections.abc import Mapping
from math import isfinite

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, number

Arrays = Mapping[str, Array]
_RATE, _MOMENTUM = "a finite number of at least 0", "a number from 0 up to, not including, 1"


def sgd(
    parameters: Arrays,
    gradients: Arrays,
    velocity: Arrays | None = None,
    *,
    rate: float,
    momentum: float = 0.0,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return new parameters and velocity: ``v = momentum v + g``, then ``p = p - rate v``.

    This is momentum as PyTorch's SGD has it: the rate multiplies the whole velocity.

    Parameters
    ----------
    parameters, gradients : mappings of arrays, by the same names
    velocity : mapping of arrays, or None at the first step
    rate : float
        The learning rate, at least 0.
    momentum : float
        From 0 up to, not including, 1.

    Raises
    ------
    TypeError, ValueError
        For names, shapes and dtypes that do not agree, and numbers out of range.

    Examples
    --------
    >>> p, v = sgd({"w": np.array([1.0])}, {"w": np.array([2.0])}, rate=0.25, momentum=0.5)
    >>> p, v
    ({'w': array([0.5])}, {'w': array([2.])})
    >>> sgd(p, {"w": np.array([2.0])}, v, rate=0.25, momentum=0.5)
    ({'w': array([-0.25])}, {'w': array([3.])})
    """
    if not (isfinite(number(rate, "rate", _RATE)) and rate >= 0):
        raise ValueError(complain("rate", rate, _RATE))
    if not 0 <= number(momentum, "momentum", _MOMENTUM) < 1:
        raise ValueError(complain("momentum", momentum, _MOMENTUM))
    _check_agreement("gradients", gradients, parameters)
    if velocity is not None:
        _check_agreement("velocity", velocity, parameters)
    for name, parameter in parameters.items():
        dtype = np.asarray(parameter).dtype
        if dtype.kind not in "fc":
            got = f"{name!r} of dtype {dtype}"
            raise TypeError(complain("parameters", got, "floats, which can move a little"))

    if velocity is None:
        moved = {name: np.array(g) for name, g in gradients.items()}  # a copy: v starts at g
    else:
        moved = {
            name: _in_dtype_of(g, momentum * velocity[name] + g) for name, g in gradients.items()
        }
    stepped = {name: _in_dtype_of(p, p - rate * moved[name]) for name, p in parameters.items()}
    return stepped, moved


def _check_agreement(what: str, arrays: Arrays, parameters: Arrays) -> None:
    """Refuse gradients or velocities that are not one for each parameter, of its shape."""
    if set(arrays) != set(parameters):
        got = ", ".join(map(repr, arrays)) or "none"
        names = ", ".join(map(repr, parameters)) or "none"
        raise ValueError(complain(what, got, f"{names}, the names of the parameters"))

    for name, parameter in parameters.items():
        shape, wanted = np.shape(arrays[name]), np.shape(parameter)
        if shape != wanted:
            got = f"{name!r} of shape {shape}"
            raise ValueError(complain(what, got, f"{wanted}, the shape of the parameter"))


def _in_dtype_of(replaced: Array, value: npt.ArrayLike) -> Array:
    """Return the value in the dtype of what it replaces, so that float32 stays float32."""
    return np.asarray(value, replaced.dtype)
