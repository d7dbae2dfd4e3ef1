"""Compare two arrays: one finding a quantity, equal, or within the bound of each entry."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convdense._util.arguments import Array, as_array, numeric, unravelled
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

TOO_LONG = "entries are too long or may overflow"


@dataclass(frozen=True)
class Raised:
    """What an implementation raised in place of a result."""

    error: Exception

    def __str__(self) -> str:
        """Return the kind of error and the first line of its text."""
        return f"{type(self.error).__name__}: {str(self.error).partition(chr(10))[0]}"


def compare(
    name: str,
    got: Any,
    expected: Array,
    bound: Array | None = None,
    *,
    why: str = TOO_LONG,
    dtype: Any = None,
) -> Finding:
    """Return the verdict on one quantity: equality, or each entry within its own bound if bounds
    are given.

    `why` says what an infinite bound, where nothing is decided, comes from; a `dtype` is the
    narrowest float allowed.
    """
    if got is None:
        return Finding(name, SHAPE, note="None where an array is needed")
    if isinstance(got, Raised):
        return Finding(name, RAISED, note=str(got))
    try:
        got, expected = _numbers(got, name, dtype), np.asarray(expected)
    except (
        Exception
    ) as error:  # objects, text, rows of different lengths, what will not become an array
        return Finding(name, DTYPE, note=str(error))
    if got.shape != expected.shape:
        return Finding(name, SHAPE, note=f"{got.shape} where {expected.shape} is needed")
    if np.array_equal(got, expected) and (
        bound is None or (np.isfinite(got) | np.isfinite(bound)).all()
    ):
        return Finding(name, EQUAL)
    allowed = np.zeros(got.shape) if bound is None else bound
    wide = np.result_type(got, expected, np.float64)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(wide) - expected.astype(wide))
    difference = np.where(
        np.isnan(difference),
        np.inf,
        np.maximum(difference, np.finfo(np.float64).smallest_subnormal),
    )
    return _worst(name, got, expected, np.where(got == expected, 0.0, difference), allowed, why=why)


def _numbers(value: Any, name: str, dtype: Any) -> Array:
    """Return an array of numbers, no narrower than the dtype that is needed."""
    array = as_array(value, name)
    if dtype is not None and (not np.can_cast(dtype, array.dtype) or array.dtype.kind == "c"):
        raise TypeError(f"{array.dtype} where {np.dtype(dtype)} is needed")
    return array.astype(np.float32) if array.dtype == np.float16 else numeric(array, name)


def _worst(
    name: str, got: Array, expected: Array, difference: Array, allowed: Array, *, why: str
) -> Finding:
    """Name the entry with the largest share of its bound; a bound that is not finite decides nothing."""
    with np.errstate(all="ignore"):
        share = np.where(
            difference == 0, 0.0, difference / allowed
        )  # x / 0 is inf: any difference is too much
    known = np.isfinite(allowed)
    share = np.where(known, share, 0.0)
    verdict, note, flat = (WITHIN if share.max() <= 1 else WRONG), "", int(np.argmax(share))
    if verdict == WITHIN and not known.all():
        verdict, flat = UNDECIDED, int(np.argmin(known))
        note = f"{int((~known).sum())} {why}"
    at = unravelled(flat, share.shape)
    values = repr(got[at].item()), repr(expected[at].item())
    return Finding(name, verdict, at, *values, float(difference[at]), float(allowed[at]), note)
