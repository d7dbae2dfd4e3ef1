"""Sums of integers in a dtype: exact where they fit it, in the ring of integers modulo 2^m if not.

Two's complement wraps around, and taking residues modulo 2^m is a ring homomorphism: every order of
sums and products gives the same, whatever overflows on the way.
"""

from math import log2

import numpy as np

from convdense._util.arguments import choice, complain
from convdense._util.float_formats import INTEGERS, spelled
from convdense.certificates.integer_ranges import Ranges, ranges_within
from convdense.structure.tie_map import TieMap


def accumulator_of(accumulator: object, dtype: str) -> str:
    """Return the dtype that sums of integers are in, as given or the usual one; "" for floats.

    Examples
    --------
    >>> accumulator_of(None, "int8"), accumulator_of(np.int16, "int8"), accumulator_of(None, "f4")
    ('int32', 'int16', '')
    """
    if dtype not in INTEGERS:
        if accumulator is not None:
            needs = f"None for {dtype}: sums of integers alone are in a dtype of their own"
            raise ValueError(complain("accumulator", repr(accumulator), needs))
        return ""
    bits = np.iinfo(dtype).bits
    if accumulator is None:
        return "int32" if bits < 32 else "int64"
    wider = [name for name in INTEGERS if np.iinfo(name).bits > bits]
    return choice(spelled(accumulator), "accumulator", (dtype, *wider))


def is_ring(dtype: str, accumulator: str) -> bool:
    """Tell whether sums wrap around: they are in no wider dtype than what is added up."""
    return bool(np.iinfo(dtype).bits == np.iinfo(accumulator).bits)


def ring_ranges(ties: TieMap, dtype: str, accumulator: str, batch: int) -> Ranges:
    """Return the largest integers to draw: all of the dtype, or less, so that no sum wraps around.

    Raises
    ------
    ValueError
        For fractions, of which a ring knows none, and for sums too long for the accumulator.
    """
    number = ties.padding_value
    if number and not isinstance(number, int):
        raise ValueError(complain("padding_value", number, f"an integer, with dtype={dtype!r}"))
    coefficients = [axis.coefficients for axis in ties.axes if axis.coefficients is not None]
    if any(of_axis.dtype.kind not in "iu" for of_axis in coefficients):
        got = "coefficients that are floats"
        needs = f"integers, with dtype={dtype!r}: in a ring there are no halves and no averages"
        raise ValueError(complain("layer", got, needs, 'use dtype="float64"'))

    largest = _largest(dtype)
    if is_ring(dtype, accumulator):
        return Ranges(largest, largest, largest, largest)
    found = ranges_within(ties, batch, int(np.iinfo(accumulator).max), largest=largest)
    if found is None:
        got = f"sums longer than {accumulator} counts, batch {batch}"
        do = 'use accumulator="int64" or a smaller layer'
        raise ValueError(complain("layer", got, "shorter ones", do))
    return found._replace(b=found.x * found.w)  # the bias is in the accumulator


def _largest(dtype: str) -> int:
    return max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


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


def bits_of_draw(dtype: str, accumulator: str, ranges: Ranges) -> float:
    """Return what one random trial is worth: in the ring, or by Schwartz and Zippel over integers.

    Two polynomials of degree 2 agree with a probability of at most 2 / S for S values per variable.
    """
    if is_ring(dtype, accumulator):
        return bits_of_ring(np.iinfo(dtype).bits)
    x, w, _, dy = ranges
    least, largest = ends(min(x, w, dy), dtype)
    return log2((largest - least + 1) / 2)


def odds_in_words(dtype: str, accumulator: str, ranges: Ranges, odds: str) -> str:
    """Return what a certificate says of its trials: on which integers, how sure, if what holds."""
    alone = f"it is about the code that {dtype} takes, not that of floats"
    if not is_ring(dtype, accumulator):
        return (
            f"on {dtype} up to {min(ranges)}, none of whose sums leaves {accumulator}: error "
            f"probability {odds}, if the outputs are polynomials of degree at most 2 in the drawn "
            f"integers, evaluated exactly; {alone}"
        )
    m = np.iinfo(dtype).bits
    return (
        f"on all of {dtype}, sums modulo 2^{m}: error probability {odds} if a coefficient is wrong "
        f"by an odd number (in one trial, by 2^v times one: ({m + 2} - v) / 2^({m + 1} - v); from "
        f"v = {m} on it is never seen), if the outputs are affine in each of x, w and dy, and b is "
        f"added; {alone}"
    )
