"""Floating-point formats: how many bits they keep, how far they reach, and which NumPy dtype holds their numbers."""

from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array


class Format(NamedTuple):
    """A format with `bits` bits of significand: integers up to ``2**bits`` are exact in it.

    NumPy has no bfloat16: its numbers are held in float32 arrays.
    """

    bits: int
    largest: float
    smallest_subnormal: float
    holder: Any

    @property
    def unit_roundoff(self) -> float:
        """u, half the distance from 1 to the next number."""
        return float(2.0**-self.bits)

    @property
    def far_from_overflow(self) -> int:
        """A power of two that sums may reach: a quarter of the range, and exact in float64."""
        _, exponent = np.frexp(self.largest)  # largest < 2**exponent
        return int(2 ** min(53, int(exponent) - 2))


def _of(dtype: Any) -> Format:
    info = np.finfo(dtype)
    return Format(info.nmant + 1, float(info.max), float(info.smallest_subnormal), np.dtype(dtype))


FORMATS = {
    "float64": _of(np.float64),
    "float32": _of(np.float32),
    "float16": _of(np.float16),
    "bfloat16": Format(8, float(2.0**128 - 2.0**120), 2.0**-133, np.dtype(np.float32)),
}
EXACT = ("float32", "float64")  # those in which sums of enough integers are exact
HALF = tuple(name for name in FORMATS if name not in EXACT)
# bits -> what may have rounded to as many, inside a wider format
CALLED = {24: "float32", 11: "TF32 or float16", 8: "bfloat16"}


def format_of(dtype: Any) -> Format:
    """Return the format of a float dtype, for complex numbers that of their parts; NumPy's, or one
    named in FORMATS.

    Examples
    --------
    >>> format_of("bfloat16").bits, format_of(np.complex64).bits
    (8, 24)
    """
    if isinstance(dtype, str) and dtype in FORMATS:
        return FORMATS[dtype]
    return _of(np.empty(0, dtype).real.dtype)


def rounded_to(values: Array, name: str) -> Array:
    """Return real numbers rounded to a format, to nearest, in the dtype that holds it.

    Examples
    --------
    >>> rounded_to(np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1.004]), "bfloat16").tolist()
    [1.0, 1.0, 1.015625, -1.0078125]
    """
    if name != "bfloat16":
        return values.astype(FORMATS[name].holder)
    bits = values.astype(np.float32).view(np.uint32)
    tie_to_even = (bits >> np.uint32(16)) & np.uint32(1)  # bfloat16 is the upper half of a float32
    return ((bits + np.uint32(0x7FFF) + tie_to_even) & np.uint32(0xFFFF0000)).view(np.float32)


def widened(*arrays: Any) -> Any:
    """Return arrays in float64, in which float16 and bfloat16 are exact, or as they are."""
    return tuple(a if a is None or a.dtype.name in EXACT else a.astype(np.float64) for a in arrays)
