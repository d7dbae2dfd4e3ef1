"""Compare two arrays: one finding a quantity, equal, or within the bound of each entry."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, as_array, first_line, numeric, unravelled
from convdense.verdicts.findings import (
    DTYPE,
    EQUAL,
    RAISED,
    SHAPE,
    UNDECIDED,
    WITHIN,
    WRONG,
    Finding,
)

STATED = ", the stated accumulator: floats and other widths wrap around otherwise"
JAX = '; in JAX write dtype="float32", or first jax.config.update("jax_enable_x64", True)'
TOO_LONG = "entries are too long or may overflow"


@dataclass(frozen=True)
class Raised:
    """What an implementation raised in place of a result."""

    error: BaseException

    def __str__(self) -> str:
        """Return the kind of error and the first line of its text."""
        return f"{type(self.error).__name__}: {first_line(self.error)}"


def compare(
    name: str,
    got: Any,
    expected: Array,
    bound: Array | None = None,
    *,
    why: str = TOO_LONG,
    dtype: npt.DTypeLike | None = None,
) -> Finding:
    """Return the verdict on one quantity: equal, or each entry within its own bound.

    Without bounds, equality is asked. `why` says where an infinite bound comes from, under which
    nothing is decided; a `dtype` is the narrowest allowed, of integers that modulo which sums are.
    What was got may be anything: it is what a user's code returned.
    """
    if got is None:
        return Finding(name, SHAPE, note="None where an array is needed")
    if isinstance(got, Raised):
        return Finding(name, RAISED, note=str(got))
    several = f"; a tuple of {len(got)} came, not {name} alone" if isinstance(got, tuple) else ""
    try:
        got = _numbers(got, name, dtype, np.asarray(expected))
    except Exception as error:  # objects, text, ragged rows: whatever will not become an array
        return Finding(name, DTYPE, note=f"{error}{several}")

    expected = np.asarray(expected)
    if got.shape != expected.shape:
        return Finding(name, SHAPE, note=f"{got.shape} where {expected.shape} is needed{several}")
    # where a value and its bound are both infinite, equality says nothing
    if np.array_equal(got, expected) and (
        bound is None or (np.isfinite(got) | np.isfinite(bound)).all()
    ):
        return Finding(name, EQUAL)

    allowed = np.zeros(got.shape) if bound is None else bound
    return _worst(name, got, expected, _differences(got, expected), allowed, why=why)


def _differences(got: Array, expected: Array) -> Array:
    """Return |got - expected|: 0 only where both are equal, infinite where one is NaN."""
    wide = np.result_type(got, expected, np.float64)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(wide) - expected.astype(wide))
    # integers above 2**53 may differ and be the same number in float64
    difference = np.maximum(difference, np.finfo(np.float64).smallest_subnormal)
    difference = np.where(np.isnan(difference), np.inf, difference)
    return np.where(got == expected, 0.0, difference)


def _numbers(value: Any, name: str, dtype: npt.DTypeLike | None, expected: Array) -> Array:
    """Return an array of numbers, no narrower than the dtype that is needed."""
    array = as_array(value, name)
    if dtype is not None:
        needed, kind = np.dtype(dtype), array.dtype.kind
        fits = np.can_cast(needed, array.dtype) and (kind != "c" or needed.kind == "c")
        if needed.kind in "iu":
            fits = fits and kind in "iu" and not _is_uncut(array, expected)
        if not fits:
            of_jax = type(value).__module__[:3] == "jax" or "jax" in sys.modules
            do = JAX * (of_jax and array.dtype == np.float32)
            why = STATED if needed.kind in "iu" else do
            raise TypeError(f"{array.dtype} where {needed} is needed{why}")
    if array.dtype == np.float16:  # which `numeric` refuses; exact in float32
        return array.astype(np.float32)
    return numeric(array, name)


def _is_uncut(sums: Array, expected: Array) -> bool:
    """Tell whether sums are right modulo 2^m alone: they are in more bits, and were not cut."""
    cut = sums.astype(expected.dtype)
    return np.array_equal(cut, expected) and not np.array_equal(sums, expected)


def _worst(
    name: str, got: Array, expected: Array, difference: Array, allowed: Array, *, why: str
) -> Finding:
    """Name the entry with the largest share of its bound.

    If none is wrong and a bound is infinite, which decides nothing, the first such entry.
    """
    with np.errstate(all="ignore"):  # x / 0 is inf: where the bound is 0, any difference is wrong
        share = np.where(difference == 0, 0.0, difference / allowed)
    known = np.isfinite(allowed)
    share = np.where(known, share, 0.0)

    verdict = WITHIN if share.max() <= 1 else WRONG
    flat = int(np.argmax(share))
    note = ""
    if verdict == WITHIN and not known.all():
        verdict = UNDECIDED
        flat = int(np.argmin(known))
        note = f"{int((~known).sum())} {why}"

    at = unravelled(flat, share.shape)
    return Finding(
        name,
        verdict,
        at,
        got=repr(got[at].item()),
        expected=repr(expected[at].item()),
        difference=float(difference[at]),
        bound=float(allowed[at]),
        note=note,
    )
