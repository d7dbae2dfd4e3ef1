"""Where a mistake shows: its first edge; and, for one that is not in the catalogue, the matrix of y, dx or dw."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, unravelled
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.observations import WHOLE, Observations
from convdense.geometry import Geometry
from convdense.implementations.evaluators import implementation_evaluator
from convdense.layers.tied_dense import TiedDense
from convdense.recovery._recover import recover
from convdense.recovery.matrix_difference import SHOWN
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

ASKED = 128  # outputs whose dw is asked for one by one


def first_moved(layer: Geometry, mistake: Mistake, observed: Observations) -> str:
    """Return the first edge that the mistake adds, drops or gives another weight, in the channels that are wrong."""
    right, wrong = tie(layer), mistake.ties
    numbers = np.arange(1.0, right.n_weights + 1).reshape(
        right.weight_shape
    )  # a weight's own number tells it
    a = right.matrix(numbers)
    b = wrong.matrix(np.ascontiguousarray(mistake.weights(numbers)).reshape(wrong.weight_shape))
    if not mistake.sentence or a.shape != b.shape:
        return ""
    apart = (a - b).tocoo()
    edges = sorted(
        (int(r), int(c)) for r, c, v in zip(apart.row, apart.col, apart.data, strict=True) if v
    )
    for row, col in edges:
        if _belongs(right, observed, row, col):
            break
    else:
        return ""
    held, wanted = (_weight(m[row, col], right.weight_shape) for m in (b, a))
    return f"output {unravelled(row, right.out_shape)}, input {unravelled(col, right.in_shape)}: {held} for {wanted}"


def _belongs(ties: TieMap, observed: Observations, row: int, col: int) -> bool:
    """Tell whether an edge is one of the channels that an explanation is about."""
    if observed.part is WHOLE:
        return True
    first, second = (set(part.ravel().tolist()) for part in observed.part)
    if observed.name == "dw":
        own = ties.row(row)
        pairs = zip(
            *np.unravel_index(own.index[own.col == col], ties.weight_shape)[:2], strict=True
        )
        return any(int(i) in first and int(j) in second for i, j in pairs)
    return (row * ties.out_shape[0] // ties.shape[0] if observed.name == "y" else
            col * ties.in_shape[0] // ties.shape[1]) in second  # fmt: skip


def _weight(number: float, shape: tuple[int, ...]) -> str:
    """Return the weight that a number stands for; where several meet in one cell, it stands for none."""
    if number == 0:
        return "no weight"
    if number != int(number) or abs(number) > prod(shape):
        return "several weights"
    return f"{'minus ' if number < 0 else ''}weight {unravelled(int(abs(number)) - 1, shape)}"


def recovered_difference(layer: Geometry, implementation: Any, observed: Observations) -> str:
    """Return how the matrix of y, dx or dw differs from the layer's, where it can be recovered."""
    run, name, call = implementation_evaluator(implementation).run, observed.name, observed.calls[0]
    zeros, w = np.zeros_like(call.b), call.w
    tied = TiedDense(layer, w)
    try:
        if name == "y":
            dy = call.dy
            found = recover(
                lambda x: run(x, w, zeros, np.zeros((len(x), *dy.shape[1:])))[0],
                layer.in_shape,
                tied,
            )
            return f"its matrix: {found.compare(tied)}" if found else str(found)
        if name == "dx":
            found = recover(
                lambda dy: run(np.zeros((len(dy), *layer.in_shape)), w, zeros, dy)[1],
                layer.out_shape,
            )
            back = TiedDense(tie(layer).T, w)
            return f"its matrix: {found.compare(back)}" if found else str(found)
        if name == "dw" and observed.comparable:
            return _paired(layer, run, observed)
    except (TypeError, ValueError) as error:  # no array, or another shape each time
        return f"its matrix cannot be recovered: {error}"
    return ""


def _paired(layer: Geometry, run: Any, observed: Observations) -> str:
    """Return with which inputs dw pairs its weights, output by output, where that is not as it
    should be.

    For fixed x dw is linear in dy: one output alone gives, for each weight, the input that it met.
    The inputs are told apart by their values, drawn so large that no sum of a few of them is likely
    to be another. The outputs that the first wrong weight serves are asked first.
    """
    call, entries, outputs = observed.calls[0], tie(layer).entries(), prod(layer.out_shape)
    x = np.random.default_rng(0).integers(1, 2**40, (1, *layer.in_shape)).astype(float)
    first = entries.row[
        entries.index == np.argmax(np.asarray(observed.returned[0]) != observed.expected[0])
    ]
    rows = list(dict.fromkeys([*first.tolist(), *range(outputs)]))[:ASKED]
    differing: list[str] = []
    for row in rows:
        dy = np.zeros((1, outputs))
        dy[0, row] = 1
        dw = np.asarray(run(x, call.w, np.zeros_like(call.b), dy.reshape(1, *layer.out_shape))[2])
        differing += list(_otherwise(layer, row, dw, x))[: SHOWN - len(differing)]
        if len(differing) >= SHOWN:
            break
    asked = f"for one sample and one output at a time ({len(rows)} of {outputs} asked) dw is right"
    return "; ".join(differing) or asked


def _otherwise(layer: Geometry, row: int, dw: Array, x: Array) -> Iterator[str]:
    """Yield the weights that one output pairs with another input than it should."""
    ties = tie(layer)
    own, values = ties.row(row), x.ravel()
    right = np.bincount(own.index, values[own.col], ties.n_weights)
    if dw.size != right.size or dw.dtype.kind not in "iuf":
        raise TypeError(f"dw has shape {dw.shape} for {ties.weight_shape}")
    for index in np.flatnonzero(dw.ravel() != right):
        got, wanted = float(dw.ravel()[index]), own.col[own.index == index]
        meant = (
            " and ".join(f"input {unravelled(int(col), layer.in_shape)}" for col in wanted)
            or "none"
        )
        met = _inputs(got, values, layer.in_shape)
        if not met and (more := _inputs(got - right[index], values, layer.in_shape)):
            met = f"{meant} and {more}"
        weight = unravelled(int(index), ties.weight_shape)
        yield f"output {unravelled(row, layer.out_shape)}, weight {weight}: meets {met or 'a number'} for {meant}"


def _inputs(value: float, values: Array, shape: tuple[int, ...]) -> str:
    """Return the input that has a value, or its sign turned; "none" for 0, empty where it is no input."""
    if value == 0:
        return "none"
    found = np.flatnonzero(values == abs(value))
    return (
        f"{'minus ' if value < 0 else ''}input {unravelled(int(found[0]), shape)}"
        if len(found)
        else ""
    )
