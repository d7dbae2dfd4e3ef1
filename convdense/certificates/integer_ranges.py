"""How large the integers of an exact check may be, counted on the tie map."""

from fractions import Fraction
from math import isqrt, prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import complain, integer
from convdense._util.float_formats import EXACT, FORMATS
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import QUANTITIES

PRECISION = {name: FORMATS[name].bits for name in EXACT}  # integers up to 2**bits are exact


class Ranges(NamedTuple):
    """The largest integers drawn: ``|x| <= x`` and so on."""

    x: int
    w: int
    b: int
    dy: int


def exact_ranges(layer: Any, dtype: str, batch: int) -> Ranges:
    """Return the largest integers whose sums of products stay exact in any order: within 2**24 or
    2**53.

    The number of terms is counted on the tie map: per output (with bias), per input, per weight and
    bias times batch. In float16 and bfloat16, if sums are too long for that, the integers are exact
    and their sums finite.

    Raises
    ------
    ValueError
        If not even 1 is small enough.

    Examples
    --------
    >>> from convdense import Conv
    >>> exact_ranges(Conv((64, 56, 56), out_channels=64, kernel=3, padding=1), "float32", batch=1)
    Ranges(x=73, w=398, b=29054, dy=73)
    """
    bits = FORMATS[dtype].bits
    exact, most = 2**bits, 2**bits
    found = _ranges(layer, batch, exact, most)
    if found is None and dtype in _LIMITS:
        exact, most = _LIMITS[dtype]
        found = _ranges(layer, batch, exact, most)
    if found is None:
        got = f"sums of {max(longest_sums(tie(layer), batch).values()):,} terms"
        until = "counts exactly" if exact == 2**bits else "stays far from overflow"
        needs = f"at most {exact // _scale(tie(layer)):,}, up to where {dtype} {until}"
        raise ValueError(
            complain("layer", got, needs, 'use dtype="float64", a smaller batch or a smaller layer')
        )
    return found


def narrow_ranges(layer: Any, batch: int) -> Ranges | None:
    """Return integers of 8 bits whose sums stay within 24: exact for float32 sums of TF32 or
    bfloat16 operands, too.

    None if there are none.
    """
    return _ranges(layer, batch, 2 ** PRECISION["float32"], 2 ** FORMATS["bfloat16"].bits)


def _ranges(layer: Any, batch: int, exact: int, most: int) -> Ranges | None:
    """Return the largest integers up to `most` whose sums of magnitudes stay within `exact`; None if there are none."""
    longest, limit = longest_sums(tie(layer), batch), exact // _scale(tie(layer))
    xw, wdy, xdy, dy = (
        limit // max(1, longest[name]) for name in QUANTITIES
    )  # bounds on the products drawn
    least = min(isqrt(min(xw, wdy, xdy)), dy, most)
    if least < 1:
        return None
    x = upstream = least
    w = min(xw // x, wdy // upstream, most)
    x = min(xw // w, xdy // upstream, most)
    upstream = min(wdy // w, xdy // x, dy, most)
    return Ranges(x, w, min(x * w, most), upstream)


def longest_sums(ties: TieMap, batch: int) -> dict[str, int]:
    """Return the most products one entry of y (with its bias), dx, dw and db sums: a product of the
    axes' own counts.

    Examples
    --------
    >>> from convdense import Conv
    >>> longest_sums(tie(Conv((2, 1), out_channels=1, kernel=3, padding=10, padding_mode="replicate")), batch=2)
    {'y': 7, 'dx': 57, 'dw': 38, 'db': 38}
    """
    most = {
        part: prod(int(np.bincount(getattr(a, part)).max(initial=0)) for a in ties.axes)
        for part in _COUNTED
    }
    db = prod(int(np.bincount(a.taps).max(initial=0)) for a in ties.bias.axes)
    return {"y": most["rows"] + 1, "dx": most["cols"], "dw": most["taps"] * batch, "db": db * batch}


def limited(batch: Any) -> int:
    """Return a batch of at least 1 and at most 2**31."""
    number = integer(batch, "batch", 1)
    if number > 2**31:
        raise ValueError(complain("batch", number, "at most 2**31"))
    return number


_LIMITS = {
    "float16": (2**14, 2**11),
    "bfloat16": (2**53, 2**8),
}  # sums far from overflow; integers exact
_COUNTED = ("rows", "cols", "taps")


def _scale(ties: TieMap) -> int:
    """Return the largest coefficient, counted in the smallest power of two that divides all of them."""
    scale = 1
    for axis in ties.axes:
        if axis.coefficients is not None:
            fractions = [Fraction(c.item()) for c in np.unique(np.abs(axis.coefficients))]
            unit = max(f.denominator for f in fractions)
            scale *= int(max(*fractions, Fraction(1)) * unit)  # a bias has the coefficient 1
    return scale
