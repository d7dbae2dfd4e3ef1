"""Gradient descent as a pure function: parameters and gradients in, parameters out."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

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
    """Return new parameters and velocity: ``v = momentum v + g``, ``p = p - rate v``, as PyTorch's
    SGD has it.

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
    given: dict[str, Any] = {
        "gradients": gradients,
        "velocity": parameters if velocity is None else velocity,
    }
    for name, arrays in given.items():
        if set(arrays) != set(parameters):
            got, needs = (", ".join(map(repr, keys)) for keys in (arrays, parameters))
            raise ValueError(
                complain(name, got or "none", f"{needs or 'none'}, the names of the parameters")
            )
        for key, p in parameters.items():
            if np.shape(arrays[key]) != np.shape(p):
                got, wants = (
                    f"{key!r} of shape {np.shape(arrays[key])}",
                    f"{np.shape(p)}, the shape of the parameter",
                )
                raise ValueError(complain(name, got, wants))
    for key, p in parameters.items():
        if (dtype := np.asarray(p).dtype).kind not in "fc":
            raise TypeError(
                complain(
                    "parameters", f"{key!r} of dtype {dtype}", "floats, which can move a little"
                )
            )
    moved = {
        k: np.array(g) if velocity is None else _of(g, momentum * velocity[k] + g)
        for k, g in gradients.items()
    }
    return {k: _of(p, p - rate * moved[k]) for k, p in parameters.items()}, moved


def _of(like: Array, value: Any) -> Array:
    """Return the value in the dtype of what it replaces, so that float32 stays float32."""
    return np.asarray(value, like.dtype)
