"""Where a mistake shows: its first edge; and, for one that nobody knows, what lies behind y, dx and dw."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from convdense.arguments import Array
from convdense.checks.difference import SHOWN
from convdense.checks.mistake import Call, Mistake
from convdense.checks.recover import recover
from convdense.checks.roads import implementation_road
from convdense.checks.seen import WHOLE, Seen
from convdense.geometry import Geometry
from convdense.layers import TiedDense
from convdense.tiemap import TieMap
from convdense.ties import tie

ASKED = 256  # outputs whose dw is asked for one by one


def first_moved(layer: Geometry, mistake: Mistake, seen: Seen) -> str:
    """Return the first edge that the mistake adds, drops or gives another weight, in the channels that are wrong."""
    right, wrong = tie(layer), mistake.ties
    numbers = np.arange(1.0, right.n_weights + 1).reshape(right.weight_shape)  # a weight's own number tells it
    a = right.matrix(numbers)
    b = wrong.matrix(np.ascontiguousarray(mistake.weights(numbers)).reshape(wrong.weight_shape))
    if not mistake.sentence or a.shape != b.shape:
        return ""
    apart = (a - b).tocoo()
    edges = sorted((int(r), int(c)) for r, c, v in zip(apart.row, apart.col, apart.data, strict=True) if v)
    for row, col in edges:
        if _belongs(right, seen, row, col):
            break
    else:
        return ""
    held, wanted = (_weight(m[row, col], right.weight_shape) for m in (b, a))
    return f"output {_at(row, right.out_shape)}, input {_at(col, right.in_shape)}: {held} for {wanted}"


def _belongs(ties: TieMap, seen: Seen, row: int, col: int) -> bool:
    """Tell whether an edge is one of the channels that an explanation is about."""
    if seen.part is WHOLE:
        return True
    first, second = (set(part.ravel().tolist()) for part in seen.part)
    if seen.name == "dw":
        own = ties.row(row)
        pairs = zip(*np.unravel_index(own.index[own.col == col], ties.weight_shape)[:2], strict=True)
        return any(int(i) in first and int(j) in second for i, j in pairs)
    return (row * ties.out_shape[0] // ties.shape[0] if seen.name == "y" else
            col * ties.in_shape[0] // ties.shape[1]) in second  # fmt: skip


def _at(number: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(number, shape))


def _weight(number: float, shape: tuple[int, ...]) -> str:
    """Return the weight that a number stands for; where several meet in one cell, it stands for none."""
    if number == 0:
        return "no weight"
    if number != int(number) or abs(number) > prod(shape):
        return "several weights"
    return f"{'minus ' if number < 0 else ''}weight {_at(int(abs(number)) - 1, shape)}"


def behind(layer: Geometry, implementation: Any, name: str, call: Call) -> str:
    """Return how the matrix behind y, dx or dw differs from the layer's, where it can be recovered."""
    run = implementation_road(implementation).run
    zeros, w = np.zeros_like(call.b), call.w
    tied = TiedDense(layer, w)
    try:
        if name == "y":
            dy = call.dy
            found = recover(lambda x: run(x, w, zeros, np.zeros((len(x), *dy.shape[1:])))[0], layer.in_shape, tied)
            return f"the matrix behind it: {found.compare(tied)}" if found else str(found)
        if name == "dx":
            found = recover(lambda dy: run(np.zeros((len(dy), *layer.in_shape)), w, zeros, dy)[1], layer.out_shape)
            back = TiedDense(tie(layer).T, w)
            return f"the matrix behind it: {found.compare(back)}" if found else str(found)
        if name == "dw":
            return _paired(layer, run, call)
    except (TypeError, ValueError) as error:  # no array, or another shape each time
        return f"what is behind it cannot be recovered: {error}"
    return ""


def _paired(layer: Geometry, run: Any, call: Call) -> str:
    """Return with which inputs dw pairs its weights, output by output, where that is not as it should be.

    For fixed x dw is linear in dy: one output alone gives, for each weight, the input that it met. The inputs are told
    apart by their values, 1, 2, 3 and so on.
    """
    n, outputs = prod(layer.in_shape), prod(layer.out_shape)
    x = np.arange(1.0, n + 1).reshape(1, *layer.in_shape)
    differing: list[str] = []
    for row in range(min(outputs, ASKED)):
        dy = np.zeros((1, outputs))
        dy[0, row] = 1
        dw = np.asarray(run(x, call.w, np.zeros_like(call.b), dy.reshape(1, *layer.out_shape))[2])
        differing += list(_otherwise(layer, row, dw))[: SHOWN - len(differing)]
        if len(differing) >= SHOWN:
            break
    if not differing:
        asked = "every output" if outputs <= ASKED else f"the first {ASKED} outputs"
        return f"for one sample, and {asked} alone, dw is right: the mistake is in the sum over them"
    return "; ".join(differing)


def _otherwise(layer: Geometry, row: int, dw: Array) -> Iterator[str]:
    """Yield the weights that one output pairs with another input than it should."""
    ties = tie(layer)
    own, n = ties.row(row), prod(layer.in_shape)
    right = np.bincount(own.index, own.col + 1.0, ties.n_weights)
    if dw.size != right.size or dw.dtype.kind not in "iuf":
        raise TypeError(f"dw has shape {dw.shape} for {ties.weight_shape}")
    for index in np.flatnonzero(dw.ravel() != right):
        got, wanted = dw.ravel()[index], own.col[own.index == index]
        met = f"{got:.6g} where inputs are whole numbers up to {n}" if got else "none"
        if got == np.rint(got) and 0 < got <= n:
            met = f"input {_at(int(got) - 1, layer.in_shape)}"
        meant = ", ".join(f"input {_at(int(col), layer.in_shape)}" for col in wanted) or "none"
        weight = _at(int(index), ties.weight_shape)
        yield f"output {_at(row, layer.out_shape)}, weight {weight}: meets {met} for {meant}"
