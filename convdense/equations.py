"""A small layer written out as text: forward, and the gradients of weights, inputs and biases."""

from collections.abc import Iterator
from math import prod
from typing import Any

from convdense.arguments import complain
from convdense.entries import Entries
from convdense.labels import distinct, numbered, term, total
from convdense.tiemap import TieMap
from convdense.ties import tie

EQUATIONS_LIMIT = 2_000  # terms of each part: some thirty pages


def equations(
    layer: Any, input: str = "i", weight: str = "w", output: str = "o", bias: str | None = "b"
) -> str:  # the names are the arguments a reader types, `input` among them
    """Return the layer's equations, read off its tie map: forward, dC/dw, dC/di and dC/db.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, TieMap, or anything `tie` knows
    input, weight, output, bias : str
        Symbols; pixels and weights are numbered from 1 in C order. ``bias=None`` leaves the bias out.

    Returns
    -------
    str
        One equation a line, four parts with a heading each.

    Raises
    ------
    ValueError
        If the layer has more than `EQUATIONS_LIMIT` entries, or two symbols are alike.

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
    """
    ties = tie(layer)
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
    return "\n".join(line for heading, lines in parts.items() for line in (heading, *("  " + text for text in lines)))


def _forward(ties: TieMap, input: str, weight: str, output: str, bias: str | None) -> list[str]:
    outputs, inputs, weights = _names(ties, input, weight, output)
    sums: list[list[str]] = [[] for _ in outputs]
    for row, col, k, c in _each(ties.entries()):
        sums[row].append(term(c, weights[k], inputs[col]))
    if bias is not None:
        biases = numbered(bias, ties.bias.n_weights)
        for row, _, k, c in _each(ties.bias.entries()):
            sums[row].append(term(c, biases[k]))
    return [f"{name} = {total(terms)}" for name, terms in zip(outputs, sums, strict=True)]


def _of_weights(ties: TieMap, input: str | None, weight: str, output: str) -> list[str]:
    """Write dC/dw; without an input symbol the one input is 1 and not written (a bias)."""
    outputs, inputs, weights = _names(ties, input or "", weight, output)
    sums: list[list[str]] = [[] for _ in weights]
    for row, col, k, c in _each(ties.entries()):
        factors = (inputs[col],) if input else ()
        sums[k].append(term(c, *factors, f"dC/d{outputs[row]}"))
    return [f"dC/d{name} = {total(terms)}" for name, terms in zip(weights, sums, strict=True)]


def _of_inputs(ties: TieMap, input: str, weight: str, output: str) -> list[str]:
    outputs, inputs, weights = _names(ties, input, weight, output)
    sums: list[list[str]] = [[] for _ in inputs]
    for row, col, k, c in _each(ties.entries()):
        sums[col].append(term(c, weights[k], f"dC/d{outputs[row]}"))
    return [f"dC/d{name} = {total(terms)}" for name, terms in zip(inputs, sums, strict=True)]


def _names(ties: TieMap, input: str, weight: str, output: str) -> tuple[list[str], list[str], list[str]]:
    rows, cols = ties.shape
    return numbered(output, rows), numbered(input, cols), numbered(weight, prod(ties.weight_shape))


def _each(entries: Entries) -> Iterator[tuple[int, int, int, Any]]:
    coefficients = [1] * len(entries.row) if entries.coefficient is None else entries.coefficient
    return zip(entries.row.tolist(), entries.col.tolist(), entries.index.tolist(), coefficients, strict=True)
