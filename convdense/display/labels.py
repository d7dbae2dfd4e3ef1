"""Names: pixels and weights by number (i1, w1, ...), ties by letter (a, b, ..., z, aa, ...).

The letters i and o stand for pixels and for no weight.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import complain

LETTERS = "abcdefghjklmnpqrstuvwxyz"  # without i and o, which are pixels


def numbered(symbol: str, n: int) -> list[str]:
    """Return n names: the symbol and a number from 1.

    Examples
    --------
    >>> numbered("i", 3)
    ['i1', 'i2', 'i3']
    """
    return [f"{symbol}{k}" for k in range(1, n + 1)]


def blocks(shape: Sequence[int]) -> list[tuple[str, int, int]]:
    """Return kind, size and number of the blocks of a flattened sample.

    Rows come first, then slices, then channels. They are numbered anew within the block around
    them. One channel alone is not named.

    Examples
    --------
    >>> blocks((2, 4, 3)), blocks((1, 5)), blocks((1, 2, 4, 3))
    ([('row', 3, 4), ('channel', 12, 2)], [], [('row', 3, 4), ('slice', 12, 2)])
    """
    found = []
    for axis in reversed(range(len(shape) - 1)):  # the last axis runs within a row
        kind = "slice"
        if axis == 0:
            kind = "channel"
        elif axis == len(shape) - 2:
            kind = "row"
        if kind != "channel" or shape[axis] > 1:
            found.append((kind, prod(shape[axis + 1 :]), shape[axis]))
    return found


def letter(k: int) -> str:
    """Return the letter of weight k, counted from 0.

    Examples
    --------
    >>> letter(0), letter(8), letter(23), letter(24), letter(600)
    ('a', 'j', 'z', 'aa', 'aaa')
    """
    head, last = divmod(k, len(LETTERS))
    return (letter(head - 1) if head else "") + LETTERS[last]


def term(
    coefficient: float | Fraction | np.integer[Any] | np.floating[Any],
    *factors: str,
    ratio: Callable[[Fraction], str] = str,
) -> str:
    """Return one term of a sum: its sign, its coefficient where that is not 1, its factors.

    `ratio` writes the coefficient.

    Examples
    --------
    >>> term(1, "w1", "i1"), term(-0.5, "w1", "i1"), term(0.1, "w1")
    ('+ w1 i1', '- 1/2 w1 i1', '+ 1/10 w1')
    """
    exact = coefficient.item() if isinstance(coefficient, np.generic) else coefficient
    # as it is written: 0.1 is 1/10, not the binary fraction next to it
    number = Fraction(repr(exact)) if isinstance(exact, float) else Fraction(exact)
    sign = "-" if number < 0 else "+"
    size = () if abs(number) == 1 else (ratio(abs(number)),)
    return " ".join((sign, *size, *factors))


def total(terms: list[str]) -> str:
    """Return the sum of terms as made by `term`; no terms sum to 0.

    Examples
    --------
    >>> total(["+ w1 i1", "- w2 i2"]), total([])
    ('w1 i1 - w2 i2', '0')
    """
    return " ".join(terms).removeprefix("+ ") if terms else "0"


def distinct(**symbols: str | None) -> None:
    """Refuse symbols that are no names or can be mistaken: i11 is pixel 11 of i, or 1 of i1."""
    for name, symbol in symbols.items():
        if symbol is None and name == "bias":
            continue
        if not isinstance(symbol, str) or not symbol.isidentifier():
            raise ValueError(complain(name, repr(symbol), "a name made of letters, such as 'i'"))

        others = [
            text for other, text in symbols.items() if other != name and isinstance(text, str)
        ]
        if _stem(symbol) in map(_stem, others):
            do = "give every symbol a different one"
            raise ValueError(complain(name, repr(symbol), "a name of its own", do))


def _stem(symbol: str) -> str:
    return symbol.rstrip("0123456789")
