"""Sums of integers: exact where they fit their dtype, else in the ring of integers modulo 2^m.

Residues modulo 2^m are a ring: every order of sums and products gives the same, whatever overflows.
"""

from math import log2
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import choice, complain
from convdense._util.float_formats import INTEGERS, spelled
from convdense.certificates.integer_ranges import Ranges, ranges_within
from convdense.structure.tie_map import TieMap


class Arithmetic(NamedTuple):
    """The dtype of x, w and dy, and that of b and of all sums, which wrap around in no wider one.

    Examples
    --------
    >>> Arithmetic("int8", "int32").wraps, Arithmetic("int64", "int64").wraps
    (False, True)
    """

    dtype: str
    accumulator: str

    @property
    def wraps(self) -> bool:
        """Whether sums are modulo 2^m."""
        return self.dtype == self.accumulator

    @property
    def m(self) -> int:
        """Bits of the dtype."""
        return int(np.iinfo(self.dtype).bits)


def accumulator_of(accumulator: object, dtype: str) -> str:
    """Return the dtype that sums of integers are in, as given or the usual one; "" for floats."""
    if dtype not in INTEGERS:
        if accumulator is not None:
            needs = f"None for {dtype}: only sums of integers have one"
            raise ValueError(complain("accumulator", repr(accumulator), needs))
        return ""
    bits = np.iinfo(dtype).bits
    wider = [name for name in INTEGERS if np.iinfo(name).bits > bits]
    usual = "int32" if bits < 32 else "int64"
    given = usual if accumulator is None else spelled(accumulator)
    return choice(given, "accumulator", (dtype, *wider))


def ring_ranges(ties: TieMap, sums: Arithmetic, batch: int) -> Ranges:
    """Return the largest integers to draw: all of the dtype, or less, so that no sum wraps around.

    Raises
    ------
    ValueError
        For fractions, of which a ring knows none, and for sums too long for the accumulator.
    """
    numbers = [axis.coefficients for axis in ties.axes if axis.coefficients is not None]
    if any(np.asarray(n).dtype.kind == "f" for n in (*numbers, ties.padding_value or 0)):
        needs = f"integers alone in padding and coefficients, with dtype={sums.dtype!r}"
        raise ValueError(complain("layer", "floats", needs, 'use dtype="float64"'))
    least, most = ends(2**64, sums.dtype)
    largest = max(-least, most)
    if sums.wraps:
        return Ranges(largest, largest, largest, largest)
    found = ranges_within(ties, batch, ends(2**64, sums.accumulator)[1], largest=largest)
    if found is None:
        got = f"sums longer than {sums.accumulator} counts"
        raise ValueError(complain("layer", got, "shorter ones", 'use accumulator="int64"'))
    return found._replace(b=found.x * found.w)  # the bias is in the accumulator


def ends(largest: int, dtype: str) -> tuple[int, int]:
    """Return the least and the largest integer of a dtype that are no larger than this.

    Examples
    --------
    >>> ends(128, "int8"), ends(5, "int8"), ends(255, "uint8")
    ((-128, 127), (-5, 5), (0, 255))
    """
    info = np.iinfo(dtype)
    return max(-largest, int(info.min)), min(largest, int(info.max))


def bits_of_ring(m: int) -> float:
    """Return -log2 of the probability that a draw modulo 2^m lets a wrong coefficient pass.

    Let D be the difference of two quantities that are affine in each of two operands x and w, drawn
    from all of Z/2^m, and one of its coefficients be odd. Then D is 0 with a probability of at most
    ``(m + 2) / 2^(m + 1)``. For D is ``sum_i A_i(w) x_i + A_0(w)``, each A_i affine in w:

    * If some A_i with i > 0 has an odd coefficient of a w_j, its value is uniform: divisible by
      2^k and by no more with a probability of ``2^-(k + 1)``, 0 with ``2^-m``. For such a w, D is
      0 with at most ``2^-(m - k)``, over x. Together ``m 2^-(m + 1) + 2^-m``; ``x w`` attains it.
    * If the odd coefficient is that of x_i alone, A_i is odd for every w, and D uniform: ``2^-m``.
      So it is for that of a w_j alone, or of the bias; and an odd constant beside even coefficients
      is never 0.

    If 2^v divides all coefficients, and no more, D is 2^v times such a difference modulo
    ``2^(m - v)``: ``(m + 2 - v) / 2^(m + 1 - v)``, and from v = m on nothing is seen. Affine is
    less than of degree 2: modulo 2^64, x^2 is 0 with a probability of 2^-32, 2^63 x (x - 1) always.

    Examples
    --------
    >>> bits_of_ring(6), round(bits_of_ring(64), 2)
    (4.0, 58.96)
    """
    return m + 1 - log2(m + 2)


def bits_of_draw(sums: Arithmetic, ranges: Ranges) -> float:
    """Return what one trial is worth: in the ring, or with S values a variable -log2(2 / S)."""
    least, largest = ends(min(ranges), sums.dtype)
    return bits_of_ring(sums.m) if sums.wraps else log2((largest - least + 1) / 2)


def odds_in_words(sums: Arithmetic, ranges: Ranges, odds: str) -> str:
    """Return what a certificate says of its trials: on which integers, how sure, if what holds."""
    dtype, accumulator = sums
    alone = f"it is about the code that {dtype} takes, not that of floats"
    if not sums.wraps:
        return (
            f"on {dtype} up to {min(ranges)}, none of whose sums leaves {accumulator}: error "
            f"probability {odds}, if the outputs are polynomials of degree at most 2 in the drawn "
            f"integers, evaluated exactly; {alone}"
        )
    m = sums.m
    return (
        f"on all of {dtype}, sums modulo 2^{m}: error probability {odds} where a coefficient is "
        f"wrong by an odd number (where all are by multiples of 2^v, ({m + 2} - v) / 2^({m + 1} - "
        f"v) a trial, from v = {m} on 1), if the outputs are affine in each of x, w and dy, and b "
        f"is added; {alone}"
    )
