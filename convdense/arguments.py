"""Arguments: turn what came into what is needed, or say which argument, what came and what to do."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Sizes = int | Sequence[int]


def complain(name: str, got: object, needs: str, do: str = "") -> str:
    """Return the one form every message of this library has.

    Examples
    --------
    >>> complain("stride", 0, "an integer of at least 1", "use stride=1 to visit every position")
    'stride: got 0; needs an integer of at least 1; use stride=1 to visit every position'
    """
    return f"{name}: got {got}; needs {needs}" + (f"; {do}" if do else "")


def is_integer(value: object) -> bool:
    """Tell whether value is an integer in Python's or NumPy's sense; True and False are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def integer(value: Any, name: str, least: int) -> int:
    """Return value as an int of at least `least`."""
    if not is_integer(value):
        raise TypeError(complain(name, repr(value), f"an integer of at least {least}"))
    if value < least:
        raise ValueError(complain(name, repr(value), f"an integer of at least {least}"))
    return operator.index(value)


def per_axis(value: Any, name: str, axes: int, least: int) -> tuple[int, ...]:
    """Return one integer per axis: an int is repeated, a sequence must have one entry per axis."""
    if is_integer(value):
        return (integer(value, name, least),) * axes
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(complain(name, repr(value), f"an integer, or a sequence of {axes} (one per axis)"))
    if len(value) != axes:
        needs = f"an integer, or a sequence of {axes} (one per axis)"
        raise ValueError(complain(name, repr(value), needs, f"the layer has {axes} axes beside the channels"))
    return tuple(integer(v, name, least) for v in value)


def choice(value: Any, name: str, allowed: Sequence[str]) -> str:
    """Return value if it is one of the allowed words."""
    if value not in allowed:
        raise ValueError(complain(name, repr(value), "one of " + ", ".join(repr(a) for a in allowed)))
    return str(value)


def numeric(value: Any, name: str) -> Array:
    """Return value as an array of integers, floats or complex numbers.

    Raises
    ------
    TypeError
        For text, objects, booleans and float16, which SciPy's sparse matrices cannot hold.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iufc" or array.dtype == np.float16:
        needs = "an array of integers, float32, float64, complex64 or complex128"
        raise TypeError(complain(name, f"dtype {array.dtype}", needs, "convert it first, e.g. with .astype(float)"))
    return array


def finite(array: Array, name: str) -> Array:
    """Return array if no entry is NaN or infinite; a check of sums means nothing otherwise."""
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(complain(name, f"{array[at]} at {at}", "finite numbers", "remove NaN and infinity first"))
    return array


def shaped(value: Any, name: str, shape: tuple[int, ...], of: object) -> Array:
    """Return value as a numeric array of exactly this shape."""
    array = numeric(value, name)
    if array.shape != shape:
        raise ValueError(complain(name, f"shape {array.shape}", f"{shape}, for {of!r}"))
    return array


def batched(value: Any, name: str, shape: tuple[int, ...], of: object) -> tuple[Array, bool]:
    """Return value with a batch axis in front, and whether it came with one."""
    array = numeric(value, name)
    if array.shape == shape:
        return array[None], False
    if array.shape[1:] == shape and array.ndim == len(shape) + 1:
        return array, True
    with_batch = "(batch, " + ", ".join(map(str, shape)) + ")"
    raise ValueError(complain(name, f"shape {array.shape}", f"{shape} or {with_batch}, for {of!r}"))
