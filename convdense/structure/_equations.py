"""A small layer written out as equations, in text and in LaTeX.

Forward, and the gradients of weights, inputs and biases, all read off the tie map.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from convdense._util.arguments import choice, complain
from convdense._util.foreign_names import explained
from convdense.display.labels import distinct, term, total
from convdense.geometry import AvgPool, Pool
from convdense.structure._tie import divisors, sums, tie
from convdense.structure.tie_map import TieMap

TERMS_A_LINE = 6  # of LaTeX: what a page is wide enough for
EQUATIONS_LIMIT = 2_000  # terms of each part: some thirty pages


class Name(NamedTuple):
    """Pixel or weight `number`, counted from 0 and written from 1: w1, or its gradient dC/dw1."""

    symbol: str
    number: int
    slope: bool = False


Term = tuple[float | Fraction, Sequence[Name]]  # a coefficient and its factors
Edge = tuple[int, int, int, float | Fraction]  # row, column, weight and coefficient


class Equation(NamedTuple):
    """A name and the terms whose sum it is."""

    left: Name
    terms: list[Term]


def as_text(heading: str, equations: Sequence[Equation]) -> str:
    """Return a heading and an equation a line.

    Examples
    --------
    >>> print(as_text("forward", [Equation(Name("o", 0), [(-0.5, [Name("w", 1), Name("i", 0)])])]))
    forward
      o1 = - 1/2 w2 i1
    """
    lines = [heading]
    for left, terms in equations:
        signed = [term(number, *map(_text, factors)) for number, factors in terms]
        lines.append(f"  {_text(left)} = {total(signed)}")
    return "\n".join(lines)


def as_latex(heading: str, equations: Sequence[Equation]) -> str:
    r"""Return a heading and an ``align*`` block (of amsmath, MathJax and KaTeX).

    Long sums go on in the next line.

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
    written = f"{name.symbol}{name.number + 1}"
    return f"dC/d{written}" if name.slope else written


def _latex(name: Name) -> str:
    """Write a symbol of several letters upright, so that it is not read as a product."""
    symbol = name.symbol.replace("_", r"\_")
    if len(symbol) > 1:
        symbol = rf"\mathrm{{{symbol}}}"
    written = f"{symbol}_{{{name.number + 1}}}"
    return rf"\frac{{\partial C}}{{\partial {written}}}" if name.slope else written


def _fraction(number: Fraction) -> str:
    if number.denominator == 1:
        return str(number)
    return rf"\frac{{{number.numerator}}}{{{number.denominator}}}"


class Equations(str):
    """The equations as text or LaTeX: a str, which a notebook shows typeset."""

    _parts: Mapping[str, Sequence[Equation]]  # by their headings

    def _repr_latex_(self) -> str:
        """Return the parts below each other, as one formula."""
        blocks = [
            as_latex(rf"\text{{{heading}}} \\", part).replace("align*", "aligned")
            for heading, part in self._parts.items()
        ]
        return "$$\\begin{array}{l}\n" + " \\\\[1ex]\n".join(blocks) + "\n\\end{array}$$"


WRITERS = {"text": as_text, "latex": as_latex}


@explained
def equations(
    layer: object,
    input: str = "i",
    weight: str = "w",
    output: str = "o",
    bias: str | None = "b",
    *,
    format: str = "text",
) -> Equations:  # the names are the arguments a reader types, `input` and `format` among them
    r"""Return the layer's equations, read off its tie map: forward, dC/dw, dC/di and dC/db.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, TieMap, anything `tie` knows, or AvgPool
        A pool has no weights and no bias; an average has its 1/k before each input.
    input, weight, output, bias : str
        Symbols; pixels and weights are numbered from 1 in C order. ``bias=None`` leaves the bias
        out.
    format : {"text", "latex"}
        LaTeX comes in ``align*`` blocks (of amsmath). A notebook shows both typeset.

    Returns
    -------
    str
        One equation a line (in LaTeX a long one goes on in the next); three parts with a heading
        each, and a fourth for the bias.

    Raises
    ------
    ValueError
        If the layer has more than `EQUATIONS_LIMIT` entries, weights, outputs or inputs, two
        symbols are alike, or for another format.

    Examples
    --------
    >>> from convdense import Conv
    >>> print(equations(Conv((1, 3), out_channels=1, kernel=2), bias=None))
    forward
      o1 = w1 i1 + w2 i2
      o2 = w1 i2 + w2 i3
    gradient of the weights
      dC/dw1 = i1 dC/do1 + i2 dC/do2
      dC/dw2 = i2 dC/do1 + i3 dC/do2
    gradient of the inputs
      dC/di1 = w1 dC/do1
      dC/di2 = w2 dC/do1 + w1 dC/do2
      dC/di3 = w2 dC/do2
    >>> latex = equations(Conv((1, 3), out_channels=1, kernel=2), format="latex")
    >>> print(*latex.splitlines()[:3], sep="\n")
    forward
    \begin{align*}
    o_{1} &= w_{1} i_{1} + w_{2} i_{2} + b_{1} \\
    """
    ties = sums(layer) if isinstance(layer, AvgPool) else tie(layer)
    write = WRITERS[choice(format, "format", tuple(WRITERS))]
    distinct(input=input, weight=weight, output=output, bias=bias)
    n_terms = ties.n_entries + sum(part.n_entries for part in ties.padding)
    longest = max(n_terms, ties.n_weights, *ties.shape)
    if longest > EQUATIONS_LIMIT:
        needs = f"at most {EQUATIONS_LIMIT:,} to be written out"
        do = (
            "write out a smaller layer of the same kind, "
            "or look at tie(layer).row(r) and .copies(k)"
        )
        raise ValueError(complain("layer", f"{longest:,} terms", needs, do))
    edges: list[Edge] = list(ties.entries().plain())
    if isinstance(layer, AvgPool):
        k = divisors(layer).tolist()  # (outputs,)
        edges = [(row, col, one, Fraction(1, k[row])) for row, col, one, _ in edges]

    if isinstance(layer, Pool):  # its one weight is 1
        outputs, inputs = _both_ways(ties, edges, input, None, output)
        parts = {"forward": outputs, "gradient of the inputs": inputs}
    else:
        outputs, inputs = _both_ways(ties, edges, input, weight, output)
        for row, k, number in in_padding(ties):
            outputs[row].terms.append((number, (Name(weight, k),)))
        weights = _of_weights(ties, input, weight, output)
        parts = {"forward": outputs, "gradient of the weights": weights}
        parts["gradient of the inputs"] = inputs
        if bias is not None:
            for row, _, number, c in ties.bias.entries().plain():
                outputs[row].terms.append((c, (Name(bias, number),)))
            parts["gradient of the bias"] = _of_weights(ties.bias, None, bias, output)
    written = Equations("\n".join(write(heading, lines) for heading, lines in parts.items()))
    written._parts = parts
    return written


def in_padding(ties: TieMap) -> list[tuple[int, int, float]]:
    """Return output, weight and the number it is multiplied with, where padding holds a number."""
    return sorted(
        (row, k, number * ties.padding_value)
        for part in ties.padding
        for row, _, k, number in part.entries().plain()
    )


def _both_ways(
    ties: TieMap, edges: list[Edge], input: str, weight: str | None, output: str
) -> tuple[list[Equation], list[Equation]]:
    """Write ``o = sum of w i``, and dC/di: the transposed matrix applied to dC/do."""
    outputs = [Equation(Name(output, row), []) for row in range(ties.shape[0])]
    inputs = [Equation(Name(input, col, slope=True), []) for col in range(ties.shape[1])]
    for row, col, k, number in edges:
        factors = (Name(weight, k),) if weight else ()
        outputs[row].terms.append((number, (*factors, Name(input, col))))
        inputs[col].terms.append((number, (*factors, Name(output, row, slope=True))))
    return outputs, inputs


def _of_weights(ties: TieMap, input: str | None, weight: str, output: str) -> list[Equation]:
    """Write dC/dw; without an input symbol the one input is 1 and not written (a bias)."""
    terms: list[list[Term]] = [[] for _ in range(ties.n_weights)]
    for row, col, k, number in ties.entries().plain():
        factors = (Name(input, col),) if input else ()
        terms[k].append((number, (*factors, Name(output, row, slope=True))))
    for row, k, number in in_padding(ties):
        terms[k].append((number, (Name(output, row, slope=True),)))
    return [Equation(Name(weight, k, slope=True), of_weight) for k, of_weight in enumerate(terms)]
