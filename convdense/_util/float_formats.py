"""Number formats: how many bits they keep, how far they reach, which dtype holds them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array


class Format(NamedTuple):
    """A format with `bits` bits of significand: integers up to ``2**bits`` are exact in it.

    Where NumPy has no such dtype (bfloat16), its numbers are held in the arrays of a wider one.
    """

    bits: int
    largest: float
    smallest_subnormal: float
    holder: np.dtype[Any]

    @property
    def unit_roundoff(self) -> float:
        """u, half the distance from 1 to the next number."""
        return float(2.0**-self.bits)


def _numpy_format(dtype: npt.DTypeLike) -> Format:
    info = np.finfo(dtype)
    bits = info.nmant + 1  # the first bit of a significand is always 1 and not stored
    return Format(bits, float(info.max), float(info.smallest_subnormal), np.dtype(dtype))


FORMATS = {
    "float64": _numpy_format(np.float64),
    "float32": _numpy_format(np.float32),
    "float16": _numpy_format(np.float16),
    "bfloat16": Format(8, float(2.0**128 - 2.0**120), 2.0**-133, np.dtype(np.float32)),
}
# Formats whose exact integers, up to 2**bits, suffice for the sums of usual layers.
EXACT = ("float32", "float64")
HALF = tuple(name for name in FORMATS if name not in EXACT)  # half precision
# Complex numbers are two of a real format.
COMPLEX = {"complex64": "float32", "complex128": "float64"}
FORMATS |= {name: FORMATS[of]._replace(holder=np.dtype(name)) for name, of in COMPLEX.items()}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8")  # their bits alone are asked for
FORMATS |= {name: Format(np.iinfo(name).bits, 0.0, 1.0, np.dtype(name)) for name in INTEGERS}
# Code may round to few bits and store the result in a wider format. Bits -> what it then used.
NAMES_BY_BITS = {24: "float32", 11: "TF32 or float16", 8: "bfloat16"}


def spelled(dtype: object) -> object:
    """Return the name of a format however it is spelled, or what names none as it came.

    Examples
    --------
    >>> spelled(np.float32), spelled("<f8"), spelled(float), spelled("torch.bfloat16")
    ('float32', 'float64', 'float64', 'bfloat16')
    """
    said = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or dtype
    word = str(said).rpartition(".")[2]  # torch.float32 says its library too
    with suppress(TypeError, ValueError, SyntaxError):
        word = word if word in FORMATS else np.dtype(word).name
    return word if word in FORMATS or isinstance(dtype, np.dtype) else dtype


def format_of(dtype: npt.DTypeLike) -> Format:
    """Return the format of a dtype of NumPy or a name in FORMATS; of complex, that of its parts.

    Examples
    --------
    >>> format_of("bfloat16").bits, format_of(np.complex64).bits
    (8, 24)
    """
    if isinstance(dtype, str) and dtype in FORMATS:
        return FORMATS[dtype]
    real_dtype = np.empty(0, dtype).real.dtype
    return _numpy_format(real_dtype)


def rounded_to(values: Array, format_name: str) -> Array:
    """Return real numbers rounded to a format, to nearest, in the dtype that holds it.

    Examples
    --------
    >>> rounded_to(np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1.004]), "bfloat16").tolist()
    [1.0, 1.0, 1.015625, -1.0078125]
    """
    form = FORMATS[format_name]
    with np.errstate(over="ignore"):  # what is beyond the format is infinite in it
        held = values.astype(form.holder)
    if form.holder.name == format_name:
        return held
    _, exponent = np.frexp(held)  # |held| < 2**exponent, and half of that at least
    step = np.maximum(np.ldexp(1.0, exponent - form.bits), form.smallest_subnormal)
    rounded = np.rint(held / step) * step  # rint takes the even one of two as near
    beyond = np.abs(rounded) > form.largest
    limited = np.where(beyond, np.copysign(np.inf, rounded), rounded)
    return np.asarray(limited, form.holder)


def widened(*arrays: Array | None) -> tuple[Any, ...]:
    """Return float16 arrays and integers in float64, to compute with; others and None stay.

    So do numbers of bfloat16, which come in float32 arrays.
    """
    kept = (*EXACT, *COMPLEX)
    return tuple(a if a is None or a.dtype.name in kept else a.astype(np.float64) for a in arrays)


def by_parts(change: Callable[[Array], Array], a: Array) -> Array:
    """Return what a change makes of an array, of complex numbers of both parts."""
    return change(a) if a.dtype.kind != "c" else change(a.real) + 1j * change(a.imag)


def unit_roundoff(dtype: npt.DTypeLike) -> float:
    """Return u, half the distance from 1 to the next number of this dtype.

    Examples
    --------
    >>> unit_roundoff("float64") == 2**-53, unit_roundoff("bfloat16") == 2**-8
    (True, True)
    """
    return format_of(dtype).unit_roundoff


def gamma(n: npt.ArrayLike, unit_roundoff: float) -> Array:
    """Return ``n u / (1 - n u)``, infinite from ``n u >= 1`` on, where nothing is known.

    Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3: a sum of n products computed in
    any order differs from the exact one by at most ``gamma_n * sum |products|``.

    Examples
    --------
    >>> float(gamma(1, 0.25)), float(gamma(4, 0.25))
    (0.3333333333333333, inf)
    """
    nu = np.asarray(n, np.float64) * unit_roundoff
    is_known = nu < 1
    with np.errstate(divide="ignore", invalid="ignore"):
        denominator = np.where(is_known, 1 - nu, 1)
        return np.where(is_known, nu / denominator, np.inf)


def magnitude(array: Array) -> Array:
    """Return the absolute values, in float64 at least."""
    wide = array.astype(np.result_type(array, np.float64))
    return np.asarray(np.abs(wide))
