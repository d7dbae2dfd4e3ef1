"""Where a mistake shows first, and how a matrix differs where no known mistake explains it.

A known mistake is shown by the first edge that it moves. An unknown one by the matrix of y or dx,
recovered from the user's code, or by the inputs that dw pairs with its weights.
"""

from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.observations import WHOLE, Observations
from convdense.geometry import Geometry
from convdense.geometry.protocols import Implementation
from convdense.implementations.evaluators import Evaluator, implementation_evaluator
from convdense.layers.tied_dense import TiedDense
from convdense.recovery._recover import recover
from convdense.recovery.matrix_difference import SHOWN
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import Raised

SLAB = 500_000  # entries of the rows that are compared at a time, about
ASKED = 128  # outputs whose dw is asked for one by one


def first_moved(layer: Geometry, mistake: Mistake, observed: Observations) -> str:
    """Return the first edge that a mistake adds, drops or gives another weight.

    Of a mistake in some channels alone, the first edge of those.
    """
    if not mistake.sentence:
        return ""
    right, wrong = tie(layer), mistake.ties
    # with 1, 2, 3, ... for the weights, a cell of the matrix tells which weight it holds
    numbers = np.arange(1.0, right.n_weights + 1).reshape(right.weight_shape)
    numbers_read = np.ascontiguousarray(mistake.weights(numbers)).reshape(wrong.weight_shape)
    if right.shape != wrong.shape:
        return ""
    rows = max(1, SLAB * right.shape[0] // max(1, right.n_entries))
    for first in range(0, right.shape[0], rows):
        last = min(first + rows, right.shape[0])
        wanted = right.rows(first, last).matrix(numbers)  # (rows, inputs)
        held = wrong.rows(first, last).matrix(numbers_read)
        apart = (wanted - held).tocoo()
        differ = apart.data != 0
        edges = zip(apart.row[differ].tolist(), apart.col[differ].tolist(), strict=True)
        for row, col in sorted(edges):
            if _is_of_part(observed, right, first + row, col):
                output = unravelled(first + row, right.out_shape)
                met = unravelled(col, right.in_shape)
                got = _weight_in_words(held[row, col], right.weight_shape)
                meant = _weight_in_words(wanted[row, col], right.weight_shape)
                return f"output {output}, input {met}: {got} for {meant}"
    return ""


def _is_of_part(observed: Observations, ties: TieMap, row: int, col: int) -> bool:
    """Tell whether an edge is one of the channels that an explanation is about."""
    if observed.part is WHOLE:
        return True
    # samples and channels of y and dx, output and input channels of dw
    first, second = (set(axis.ravel().tolist()) for axis in observed.part)
    if observed.name == "dw":
        own = ties.row(row)
        weights = own.index[own.col == col]
        outs, ins, *_ = np.unravel_index(weights, ties.weight_shape)
        pairs = zip(outs.tolist(), ins.tolist(), strict=True)
        return any(out in first and into in second for out, into in pairs)

    cell, cells, channels = row, ties.shape[0], ties.out_shape[0]
    if observed.name == "dx":
        cell, cells, channels = col, ties.shape[1], ties.in_shape[0]
    return cell * channels // cells in second


def _weight_in_words(number: float, shape: tuple[int, ...]) -> str:
    """Return the weight that a number in a cell stands for; a sum of several stands for none."""
    if number == 0:
        return "no weight"
    if number != int(number) or abs(number) > prod(shape):
        return "several weights"
    sign = "minus " if number < 0 else ""
    return f"{sign}weight {unravelled(int(abs(number)) - 1, shape)}"


def recovered_difference(
    layer: Geometry, implementation: Implementation, observed: Observations
) -> str:
    """Return how the matrix of y, dx or dw differs from the layer's, where it can be recovered."""
    if any(isinstance(result, Raised) for result in observed.returned):
        return ""
    mine = implementation_evaluator(implementation)
    try:
        if observed.name in ("y", "dx"):
            return _difference_of_matrix(layer, mine, observed)
        if observed.name == "dw" and observed.comparable:
            return _differing_pairs(layer, mine, observed)
    except (TypeError, ValueError) as error:  # no array, or another shape each time
        return f"its matrix cannot be recovered: {error}"
    return ""


def _difference_of_matrix(layer: Geometry, mine: Evaluator, observed: Observations) -> str:
    """Return how the matrix of y, or that of dx, differs from the layer's, or its transpose."""
    call, of_y = observed.calls[0], observed.name == "y"
    right = TiedDense(layer if of_y else tie(layer).T, call.w)

    def without_bias(operand: Array) -> Any:  # a user's code may return anything
        other = np.zeros((len(operand), *right.out_shape))
        x, dy = (operand, other) if of_y else (other, operand)
        y, dx, _, _ = mine.run(x, call.w, np.zeros_like(call.b), dy)
        return y if of_y else dx

    found = recover(without_bias, right.in_shape, right if of_y else None)
    return f"its matrix: {found.compare(right)}" if found else str(found)


def _differing_pairs(layer: Geometry, mine: Evaluator, observed: Observations) -> str:
    """Return where dw pairs a weight with another input than it should, output by output.

    For fixed x dw is linear in dy: one output alone gives, for each weight, the input that it met.
    The inputs are told apart by their values, drawn so large that no sum of a few of them is likely
    to be another.
    """
    call, outputs = observed.calls[0], prod(layer.out_shape)
    x = np.random.default_rng(0).integers(1, 2**40, (1, *layer.in_shape)).astype(float)

    # the outputs that the first wrong weight serves are asked first
    first_wrong = np.argmax(np.asarray(observed.returned[0]) != observed.expected[0])
    serves = tie(layer).copies(int(first_wrong)).row.tolist()
    asked = list(dict.fromkeys([*serves, *range(outputs)]))[:ASKED]

    differing: list[str] = []
    for row in asked:
        dy = np.zeros((1, outputs))
        dy[0, row] = 1
        _, _, dw, _ = mine.run(x, call.w, np.zeros_like(call.b), dy.reshape(1, *layer.out_shape))
        found = _wrong_pairs(layer, row, np.asarray(dw), x)
        differing += islice(found, SHOWN - len(differing))
        if len(differing) >= SHOWN:
            break
    right = f"for one sample and one output at a time ({len(asked)} of {outputs} asked) dw is right"
    return "; ".join(differing) or right


def _wrong_pairs(layer: Geometry, row: int, dw: Array, x: Array) -> Iterator[str]:
    """Yield the weights that one output pairs with another input than it should."""
    ties = tie(layer)
    own, values = ties.row(row), x.ravel()
    right = np.bincount(own.index, values[own.col], ties.n_weights)
    if dw.size != right.size or dw.dtype.kind not in "iuf":
        raise TypeError(f"dw has shape {dw.shape} for {ties.weight_shape}")

    output = unravelled(row, layer.out_shape)
    for index in np.flatnonzero(dw.ravel() != right):
        inputs = [unravelled(col, layer.in_shape) for col in own.col[own.index == index]]
        meant = " and ".join(f"input {at}" for at in inputs) or "none"
        got = float(dw.ravel()[index])
        met = _input_in_words(got, x)
        more = _input_in_words(got - right[index], x)  # one beside what is meant
        met = met or (f"{meant} and {more}" if more else "a number")
        weight = unravelled(index, ties.weight_shape)
        yield f"output {output}, weight {weight}: meets {met} for {meant}"


def _input_in_words(value: float, x: Array) -> str:
    """Return the input that has this value, or its negative; "none" for 0, empty if none has."""
    if value == 0:
        return "none"
    found = np.flatnonzero(x == abs(value))
    if not len(found):
        return ""
    sign = "minus " if value < 0 else ""
    return f"{sign}input {unravelled(found[0], x.shape[1:])}"
