"""A small layer written out as text: forward, and the gradients of weights, inputs and biases."""

from collections.abc import Iterator
from typing import Any

from convdense._util.arguments import choice, complain
from convdense.display.labels import distinct
from convdense.structure._tie import tie
from convdense.structure.equation_formats import Equation, Name, as_latex, as_text
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap

FORMATS = {"text": as_text, "latex": as_latex}
EQUATIONS_LIMIT = 2_000  # terms of each part: some thirty pages


def equations(
    layer: Any,
    input: str = "i",
    weight: str = "w",
    output: str = "o",
    bias: str | None = "b",
    *,
    format: str = "text",
) -> str:  # the names are the arguments a reader types, `input` and `format` among them
    r"""Return the layer's equations, read off its tie map: forward, dC/dw, dC/di and dC/db.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, TieMap, or anything `tie` knows
    input, weight, output, bias : str
        Symbols; pixels and weights are numbered from 1 in C order. ``bias=None`` leaves the bias out.
    format : {"text", "latex"}
        LaTeX comes in ``align*`` blocks: for a document with amsmath, or ``IPython.display.Latex`` in a notebook.

    Returns
    -------
    str
        One equation a line, four parts with a heading each.

    Raises
    ------
    ValueError
        If the layer has more than `EQUATIONS_LIMIT` entries, two symbols are alike, or for another format.

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
    >>> print(*equations(Conv((1, 3), out_channels=1, kernel=2), format="latex").splitlines()[:3], sep="\n")
    forward
    \begin{align*}
    o_{1} &= w_{1} i_{1} + w_{2} i_{2} + b_{1} \\
    """
    ties = tie(layer)
    write = FORMATS[choice(format, "format", tuple(FORMATS))]
    distinct(input=input, weight=weight, output=output, bias=bias)
    longest = max(ties.n_entries, ties.n_weights, *ties.shape)
    if longest > EQUATIONS_LIMIT:
        needs = f"at most {EQUATIONS_LIMIT:,} to be written out"
        do = "write out a smaller layer of the same kind, or look at tie(layer).row(r) and .copies(k)"
        raise ValueError(complain("layer", f"{longest:,} terms", needs, do))
    parts = {
        "forward": _forward(ties, input, weight, output, bias),
        "gradient of the weights": _of_weights(ties, input, weight, output),
        "gradient of the inputs": _of_inputs(ties, input, weight, output),
    }
    if bias is not None:
        parts["gradient of the bias"] = _of_weights(ties.bias, None, bias, output)
    return "\n".join(write(heading, lines) for heading, lines in parts.items())


def _forward(ties: TieMap, input: str, weight: str, output: str, bias: str | None) -> list[Equation]:
    sums: list[list[Any]] = [[] for _ in range(ties.shape[0])]
    for row, col, k, c in _each(ties.entries()):
        sums[row].append((c, (Name(weight, k), Name(input, col))))
    if bias is not None:
        for row, _, k, c in _each(ties.bias.entries()):
            sums[row].append((c, (Name(bias, k),)))
    return [Equation(Name(output, row), terms) for row, terms in enumerate(sums)]


def _of_weights(ties: TieMap, input: str | None, weight: str, output: str) -> list[Equation]:
    """Write dC/dw; without an input symbol the one input is 1 and not written (a bias)."""
    sums: list[list[Any]] = [[] for _ in range(ties.n_weights)]
    for row, col, k, c in _each(ties.entries()):
        factors = (Name(input, col),) if input else ()
        sums[k].append((c, (*factors, Name(output, row, slope=True))))
    return [Equation(Name(weight, k, slope=True), terms) for k, terms in enumerate(sums)]


def _of_inputs(ties: TieMap, input: str, weight: str, output: str) -> list[Equation]:
    sums: list[list[Any]] = [[] for _ in range(ties.shape[1])]
    for row, col, k, c in _each(ties.entries()):
        sums[col].append((c, (Name(weight, k), Name(output, row, slope=True))))
    return [Equation(Name(input, col, slope=True), terms) for col, terms in enumerate(sums)]


def _each(entries: Entries) -> Iterator[tuple[int, int, int, Any]]:
    coefficients = [1] * len(entries.row) if entries.coefficient is None else entries.coefficient
    return zip(entries.row.tolist(), entries.col.tolist(), entries.index.tolist(), coefficients, strict=True)
