"""Equations as data, and how they are written: as text, or in LaTeX."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from convdense.display.labels import term, total

TERMS_A_LINE = 6  # of LaTeX: what a page is wide enough for


class Name(NamedTuple):
    """Pixel or weight `number`, counted from 0 and written from 1; or the slope of the cost along it, dC/dw1."""

    symbol: str
    number: int
    slope: bool = False


class Equation(NamedTuple):
    """A name and the terms whose sum it is, each a coefficient and its factors."""

    left: Name
    terms: Sequence[tuple[Any, Sequence[Name]]]


def as_text(heading: str, equations: Sequence[Equation]) -> str:
    """Return a heading and an equation a line.

    Examples
    --------
    >>> print(as_text("forward", [Equation(Name("o", 0), [(-0.5, [Name("w", 1), Name("i", 0)])])]))
    forward
      o1 = - 1/2 w2 i1
    """
    lines = [
        f"  {_text(left)} = {total([term(number, *map(_text, factors)) for number, factors in terms])}"
        for left, terms in equations
    ]
    return "\n".join([heading, *lines])


def as_latex(heading: str, equations: Sequence[Equation]) -> str:
    r"""Return a heading and an ``align*`` block (of amsmath, MathJax and KaTeX); long sums go on in the next line.

    Examples
    --------
    >>> print(as_latex("forward", [Equation(Name("o", 0), [(-0.5, [Name("w", 1), Name("i", 0)])])]))
    forward
    \begin{align*}
    o_{1} &= - \frac{1}{2} w_{2} i_{1}
    \end{align*}
    """
    lines = []
    for left, terms in equations:
        signed = [term(number, *map(_latex, factors), ratio=_fraction) for number, factors in terms]
        lines.append(f"{_latex(left)} &= {total(signed[:TERMS_A_LINE])}")
        rest = range(TERMS_A_LINE, len(signed), TERMS_A_LINE)
        lines += [rf"&\quad {' '.join(signed[first : first + TERMS_A_LINE])}" for first in rest]
    return "\n".join([heading, r"\begin{align*}", " \\\\\n".join(lines), r"\end{align*}"])


def _text(name: Name) -> str:
    return f"{'dC/d' if name.slope else ''}{name.symbol}{name.number + 1}"


def _latex(name: Name) -> str:
    """Write a symbol of several letters upright, so that it is not read as a product."""
    symbol = name.symbol.replace("_", r"\_")
    symbol = symbol if len(symbol) == 1 else rf"\mathrm{{{symbol}}}"
    written = f"{symbol}_{{{name.number + 1}}}"
    return rf"\frac{{\partial C}}{{\partial {written}}}" if name.slope else written


def _fraction(number: Fraction) -> str:
    whole = number.denominator == 1
    return str(number) if whole else rf"\frac{{{number.numerator}}}{{{number.denominator}}}"
