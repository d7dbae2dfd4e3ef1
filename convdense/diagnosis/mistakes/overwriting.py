"""= for +=: sums of which only what is added last stays, in loops over some channels and axes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import (
    FEW,
    Call,
    Mistake,
    ResultChange,
    ResultMistake,
    all_entries,
    bias_gradient,
    cells_of,
    of_the_call,
    only,
    products,
)
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap

LAST_STAYS = "= where += is needed: what is added last stays"
PROBED = 16  # cells of a quantity that are computed first: all of them take far longer


def overwritten(name: str) -> Iterator[ResultMistake]:
    """Yield = for +=, where the outermost loop is over the outputs, the inputs or the taps."""
    for by in ("output", "input", "tap"):
        yield f"{LAST_STAYS} ({by} by {by})", Overwritten(name, (by,))
    channel, places = {"y": ("input channel", "tap"), "dx": ("output channel", "output")}.get(
        name, ("sample", "output")
    )
    sentence = f"{LAST_STAYS} (loops over {channel} and all {places}s)"
    yield sentence, Overwritten(name, (channel, places))


def overwritten_in_loops(layer: Any, name: str) -> Iterator[ResultMistake]:
    """Yield = for += in loops over some of the channels and axes, the others summed at once.

    In which order the loops are nested is all the same: what a cell gets comes from all
    combinations of some channels and some positions an axis, and the last of each comes last.
    """
    n = len(layer.out_shape) - 1
    # what is met last in memory that is padded can be a padded cell, which leaves 0
    for some in _sets(*_LAST.get(name, ("", "output")), n) if name != "dx" else ():
        yield f"{LAST_STAYS} (loops over {in_words(some)})", _with_last_alone(layer, name, some)
    channels, kinds = {
        "y": (("input channel",), ("input", "tap")),
        "dx": (("output channel",), ("output", "tap")),
        "dw": (("sample",) if n else ("output channel", "input channel"), ("output", "tap")),
        "db": ((), ()),
    }[name]
    sets: dict[tuple[str, ...], None] = {}
    for mixed in product(kinds, repeat=n):
        loops = (*channels, *(f"{kind} axis {axis}" for axis, kind in enumerate(mixed)))
        for size in range(len(loops), 0, -1):
            sets |= dict.fromkeys(combinations(loops, size))
    if name == "y" and n == 1:  # overlapping blocks, as overlap-add has them
        for cells in range(2, layer.in_shape[1]):
            sentence = f"{LAST_STAYS} (blocks of {cells} inputs overlap)"
            yield sentence, Overwritten(name, (f"block {cells}",))
    for some in sets:
        if name != "dw" or some != ("sample",):  # that is the last sample alone
            yield f"{LAST_STAYS} (loops over {in_words(some)})", Overwritten(name, some)


_LAST = dict.fromkeys(("dw", "db"), ("sample", "output")) | {"y": ("input channel", "tap")}


def _with_last_alone(layer: Any, name: str, loops: tuple[str, ...]) -> ResultChange:
    """Return what the last step of all loops gives alone: of dy, or of the weights."""
    if name == "db":
        return lambda _, __, call: bias_gradient(layer, _last_of_dy(loops, call).dy)
    return of_the_call(name, partial(_last_of_w if name == "y" else _last_of_dy, loops))


def _sets(first: str, kind: str, n: int) -> Iterator[tuple[str, ...]]:
    """Yield all sets of loops over a channel or the samples, and axes; the most first."""
    loops = (first, *(f"{kind} axis {axis}" for axis in range(n)))
    for size in range(len(loops), 0, -1):
        yield from combinations(loops, size)


def _last_of_dy(loops: Sequence[str], call: Call) -> Call:
    """Return dy at the last sample or position of each loop, 0 elsewhere."""
    at: list[Any] = [slice(None)] * call.dy.ndim
    for loop in loops:
        at[0 if loop == "sample" else 2 + int(loop.rpartition(" ")[2])] = slice(-1, None)
    return call._replace(dy=only(tuple(at), call.dy))


def _last_of_w(loops: Sequence[str], call: Call) -> Call:
    """Return w at the last input channel or tap of each loop, 0 elsewhere."""
    at: list[Any] = [slice(None)] * call.w.ndim
    first_tap = call.w.ndim - (call.dy.ndim - 2)
    for loop in loops:
        number = loop.rpartition(" ")[2]
        at[1 if number == "channel" else first_tap + int(number)] = slice(-1, None)
    return call._replace(w=only(tuple(at), call.w))


def in_words(loops: Sequence[str]) -> str:
    """Return words for loops: 'output channel, output axis 0 and output axis 1'."""
    *first, last = loops
    return f"{', '.join(first)} and {last}" if first else last


@dataclass(frozen=True)
class Overwritten:
    """y, dx or dw if = stands where += is needed, in loops over channels, positions or samples.

    `loops` are what is looped over, such as "output channel" or "tap axis 0"; "output", "input" and
    "tap" are all axes of these. Within one step of all loops all is added up, and each later step
    overwrites what a cell held.
    """

    name: str
    loops: tuple[str, ...]

    def __call__(self, _: Array, mistake: Mistake, call: Call) -> Array:
        """Return the whole quantity."""
        everywhere = np.arange(_size(self.name, mistake.ties))
        return self._at(everywhere, all_entries(mistake.ties), mistake, call)

    def probe(self, mistake: Mistake, call: Call, cells: int = PROBED) -> Array:
        """Return the quantity at a few cells, NaN elsewhere: enough to rule most quantities out."""
        asked, entries = _of_some_cells(self.name, mistake.ties, cells)
        return self._at(asked, entries, mistake, call)

    def _at(self, asked: Array, entries: Entries, mistake: Mistake, call: Call) -> Array:
        """Return the quantity at some flat cells, of which these are the entries; NaN elsewhere."""
        ties, size = mistake.ties, _size(self.name, mistake.ties)
        steps = None if ties.padding else self._steps(entries, ties)
        if steps is None:  # what a number in the padding adds has no place in these loops
            return np.full((1, size), np.nan)
        cells = cells_of(self.name, entries)
        last_step = np.full(size, -1)  # of each cell
        np.maximum.at(last_step, cells, steps)
        surviving = entries.take(np.flatnonzero(steps == last_step[cells]))

        cells = cells_of(self.name, surviving)
        each = products(self.name, surviving, call._replace(w=mistake.weights(call.w)))
        if self.name == "dw":
            each = each[-1:] if "sample" in self.loops else each.sum(axis=0, keepdims=True)
        sums = [np.bincount(cells, of_sample, size) for of_sample in each]
        result = np.full((len(sums), size), np.nan)  # (batch, cells), of dw (1, cells)
        result[:, asked] = np.stack(sums)[:, asked]

        if self.name == "dw":  # in the mistaken layer's order of the weights: back to that of w
            return np.asarray(mistake.weights_adjoint(result.reshape(call.w.shape)))
        if self.name == "dx":
            return np.asarray(result.reshape(call.x.shape))
        bias = np.repeat(call.b.ravel(), size // call.b.size)  # (outputs,)
        return np.asarray((result + bias).reshape(call.dy.shape))

    def _steps(self, entries: Entries, ties: TieMap) -> Array | None:
        """Return at which step of the loops each entry adds; None if there are no such loops.

        What is not looped over belongs to one step.
        """
        flat = {"output": entries.row, "input": entries.col, "tap": entries.index}
        shapes = {"output": ties.out_shape, "input": ties.in_shape, "tap": ties.weight_shape}
        steps = np.zeros(len(entries.row), int)
        for loop in self.loops:
            kind, _, which = loop.partition(" ")
            if kind == "sample":
                continue
            if kind == "block":  # of so many inputs, along the one axis that there is
                steps = (entries.col % ties.in_shape[-1]) // int(which)
                continue
            shape, leading = shapes[kind], 2 if kind == "tap" else 1
            if not which:  # all positions of a channel, or of a kernel
                n, places = prod(shape[leading:]), flat[kind] % prod(shape[leading:])
            else:
                axis = 0 if which == "channel" else leading + int(which.removeprefix("axis "))
                if axis >= len(shape):  # a mistake has joined the axes into one
                    return None
                n, places = shape[axis], np.unravel_index(flat[kind], shape)[axis]
            steps = steps * n + places
        return steps


def _size(name: str, ties: TieMap) -> int:
    shapes = {"y": ties.out_shape, "dx": ties.in_shape, "dw": ties.weight_shape}
    return prod(shapes[name])


@lru_cache(maxsize=2)  # all loops are probed at the same cells
def _of_some_cells(name: str, ties: TieMap, number: int) -> tuple[Array, Entries]:
    """Return some cells of a quantity, and the entries that add to them."""
    size = _size(name, ties)
    cells = np.unique(np.random.default_rng(0).integers(0, size, number))
    if ties.n_entries <= FEW:
        is_asked = np.zeros(size, bool)
        is_asked[cells] = True
        entries = all_entries(ties)
        return cells, entries.take(np.flatnonzero(is_asked[cells_of(name, entries)]))
    of_cell = {"y": ties.row, "dx": ties.column, "dw": ties.copies}[name]
    each = [of_cell(int(cell)) for cell in cells]
    row, col, index = (np.concatenate(c) for c in zip(*(e[:3] for e in each), strict=True))
    coefficients = [e.coefficient for e in each if e.coefficient is not None]
    entries = Entries(row, col, index, np.concatenate(coefficients) if coefficients else None)
    return cells, entries
