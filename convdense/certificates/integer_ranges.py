"""How large the integers of an exact check may be, counted on the tie map."""

from fractions import Fraction
from math import ceil, isqrt, prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import complain, integer
from convdense._util.float_formats import FORMATS, HALF
from convdense.geometry import HasShapes
from convdense.structure._tie import tie
from convdense.structure.progressions import COL, ROW, TAP
from convdense.structure.tie_map import TieMap

# (a + b) (c + d) - a c - b d, as three multiplications have it, adds up to 4 + 1 + 1 products
COMPLEX_SUMS = 6
LEAST_EXACT = 2  # fewer integers tell little: then sums are exact in float32, not in half precision
LARGEST_HALF = 32  # integers tried for that


class Ranges(NamedTuple):
    """The largest integers drawn: ``|x| <= x`` and so on."""

    x: int
    w: int
    b: int
    dy: int


def exact_ranges(layer: HasShapes, dtype: str, batch: int) -> Ranges:
    """Return the largest integers whose sums of products stay exact in any order of summation.

    The sums stay within ``2**24`` in float32 and ``2**53`` in float64. The number of terms is
    counted on the tie map: per output (with bias), per input, per weight and bias times batch. In
    half precision, where that leaves hardly any, sums are exact in float32, and integers so small
    that most sums are exact in the narrow format as well: see `rounded_away`. Of complex numbers
    both parts are drawn; three multiplications a product are exact as well as four.

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
    ties = tie(layer)
    form = FORMATS[dtype]
    limit = 2**form.bits // (COMPLEX_SUMS if form.holder.kind == "c" else 1)
    until = "counts exactly"
    found = ranges_within(ties, batch, limit, largest=limit)
    if dtype in HALF and (found is None or min(found) < LEAST_EXACT):
        limit = 2 ** FORMATS["float32"].bits
        until = "is summed exactly in float32"
        found = _short_ranges(ties, batch, limit, dtype)

    if found is None:
        number = Fraction(ties.padding_value)
        if number.denominator > 2**16 or abs(number) > 2**16:
            needs = "a small integer or short binary fraction, such as 0.5: sums with it stay exact"
            raise ValueError(complain("padding_value", ties.padding_value, needs, "use check"))
        got = f"sums of {max(longest_sums(ties, batch).values()):,} terms"
        needs = f"at most {limit // _scale(ties):,}, up to where {dtype} {until}"
        do = 'use dtype="float64", a smaller batch or a smaller layer'
        raise ValueError(complain("layer", got, needs, do))
    return found


def rounded_away(ties: TieMap, batch: int, dtype: str, ranges: Ranges) -> float:
    """Return the probability that half precision rounds an entry, at most; 0 where all are exact.

    Different products are not correlated: sums of n of integers of mean square v have a mean square
    of at most n v^2, of single integers n v. They exceed ``T = 2**bits - |b|`` with a probability
    of at most that over T^2 (Chebyshev).
    """
    limit = 2.0 ** FORMATS[dtype].bits
    m = min(ranges)
    terms = max(longest_sums(ties, batch).values())
    if dtype not in HALF or m != max(ranges) or _scale(ties) * terms * m**2 <= limit:
        return 0.0
    v = m * (m + 1) / 3
    number = max(1, abs(ties.padding_value))  # in the padding; a bias and db sum no products
    squares = float(_scale(ties) ** 2 * terms * number * v * max(1.0, v))
    return min(1.0, squares / (limit - m) ** 2)


def _short_ranges(ties: TieMap, batch: int, limit: int, dtype: str) -> Ranges | None:
    """Return integers whose trials tell most in half precision, sums within a limit; or None."""
    widest = ranges_within(ties, batch, limit, largest=LARGEST_HALF)
    each = [Ranges(m, m, m, m) for m in range(1, 1 + min(widest or (0,)))]
    # the probability that a trial misses a difference, as in `bits_per_trial`
    missed = [2 / (2 * r.x + 1) + rounded_away(ties, batch, dtype, r) for r in each]
    return each[missed.index(min(missed))] if each else None


def narrow_ranges(layer: HasShapes, batch: int) -> Ranges | None:
    """Return integers of 8 bits whose sums stay within 24 bits; None if there are none.

    They are exact even where operands are rounded to TF32 or bfloat16 and summed in float32.
    """
    limit = 2 ** FORMATS["float32"].bits
    return ranges_within(tie(layer), batch, limit, largest=2 ** FORMATS["bfloat16"].bits)


def ranges_within(ties: TieMap, batch: int, limit: int, *, largest: int) -> Ranges | None:
    """Return the largest integers whose sums of magnitudes stay within a limit, or None."""
    units = limit // _scale(ties)
    most = {name: units // max(1, terms) for name, terms in longest_sums(ties, batch).items()}
    # y sums products x w, dx products w dy, dw products x dy, and db sums dy alone
    x_w, w_dy, x_dy = most["y"], most["dx"], most["dw"]
    least = min(isqrt(min(x_w, w_dy, x_dy)), most["db"], largest)
    if least < 1:
        return None

    # all three at `least` keep every limit; now each in turn as large as the others leave room for
    x = dy = least
    w = min(x_w // x, w_dy // dy, largest)
    x = min(x_w // w, x_dy // dy, largest)
    dy = min(w_dy // w, x_dy // x, most["db"], largest)
    return Ranges(x, w, b=min(x * w, largest), dy=dy)


def longest_sums(ties: TieMap, batch: int) -> dict[str, int]:
    """Return the most products that one entry of y (with its bias), dx, dw and db sums.

    The counts of a Kronecker product are the products of its axes' counts. A product with a number
    c in the padding counts as |c| products.

    Examples
    --------
    >>> from convdense import Conv
    >>> conv = Conv((2, 1), out_channels=1, kernel=3, padding=10, padding_mode="replicate")
    >>> longest_sums(tie(conv), batch=2)
    {'y': 7, 'dx': 57, 'dw': 38, 'db': 38}
    """
    y = prod(axis.most(ROW) for axis in ties.axes)
    dx = prod(axis.most(COL) for axis in ties.axes)
    dw = prod(axis.most(TAP) for axis in ties.axes)
    for part in ties.padding:
        each = ceil(abs(ties.padding_value))
        y += each * prod(axis.most(ROW) for axis in part.axes)
        dw += each * prod(axis.most(TAP) for axis in part.axes)
    db = prod(axis.most(TAP) for axis in ties.bias.axes)
    return {"y": y + 1, "dx": dx, "dw": dw * batch, "db": db * batch}


def ends(largest: int, dtype: str) -> tuple[int, int]:
    """Return the least and the largest of a dtype's integers, if |.| is at most `largest`."""
    return max(-largest, int(np.iinfo(dtype).min)), min(largest, int(np.iinfo(dtype).max))


def limited(batch: object) -> int:
    """Return a batch of at least 1 and at most 2**31."""
    number = integer(batch, "batch", 1)
    if number > 2**31:
        raise ValueError(complain("batch", number, "at most 2**31"))
    return number


def _scale(ties: TieMap) -> int:
    """Return the largest coefficient in units of the power of two that divides all of them.

    For such multiples of a unit, sums are exact as those of integers are.
    """
    scale = Fraction(ties.padding_value).denominator
    for axis in ties.axes:
        if axis.coefficients is not None:
            fractions = [Fraction(c.item()) for c in np.unique(np.abs(axis.coefficients))]
            # floats have powers of two as denominators: the largest is a multiple of all
            units_in_one = max(fraction.denominator for fraction in fractions)
            largest = max(*fractions, Fraction(1))  # a bias has the coefficient 1
            scale *= int(largest * units_in_one)
    return scale
