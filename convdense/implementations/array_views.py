"""Layouts: numbers at other places in memory; between the cells of a view is NaN."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convdense._util.arguments import Array
from convdense.implementations.call_contract import LETTERS, Bench, on_each, restriction
from convdense.implementations.evaluators import Drawn
from convdense.verdicts.findings import RAISED, Finding, worst_of


def layouts(bench: Bench, several: Drawn, one: Drawn | None) -> Iterator[Finding]:
    """Yield a finding for each layout of which an array could be made, on several samples.

    On one, if it is given, each operand is laid out alone; else on those several, where an
    exception refuses all of them at once.
    """
    needed = {LETTERS[n] for n in bench.places(several)}
    read = [n for n in LETTERS if n in {*needed, "b"}]
    for name, change in VIEWS.items():
        views = on_each(partial(_changed, change), several)
        made = {LETTERS[n] for n in _laid_out(views)}
        found = [bench.tried(name, views)] if made else []
        if one is not None or (found and found[0].verdict == RAISED):
            views = on_each(partial(_changed, change), several if one is None else one)
            each = [n for n in _laid_out(views) if LETTERS[n] in needed]
            made.update(LETTERS[n] for n in each)
            found += [bench.tried(name, _alone(views, n), LETTERS[n]) for n in each]
        if found:
            of = "" if made >= needed else f" of {', '.join(n for n in read if n in made)}"
            yield replace(worst_of(map(restriction, found)), name=name + of)


def _changed(change: Callable[[Array], Array], a: Array) -> Array:
    return change(a) if a.size else a  # of no cell there is but one layout


def _laid_out(views: Drawn) -> list[int]:
    """Return which are not plain; C order asks nothing of the strides of axes of one cell."""
    plain = [view.flags.c_contiguous and view.flags.writeable for view in views]
    return [n for n, view in enumerate(views) if view.size and not plain[n]]


def _alone(views: Drawn, n: int) -> Drawn:
    """Return the same numbers, all but one operand in C order."""
    x, w, b, dy = (view if i == n else view.copy("C") for i, view in enumerate(views))
    return x, w, b, dy


def _within(array: Array, shape: Sequence[int], index: Any) -> Array:
    """Return these numbers as a part of a larger array of NaN."""
    between = np.nan if array.dtype.kind in "fc" else 85  # no integer is NaN
    view: Array = np.full(shape, between, array.dtype)[index]
    view[...] = array
    return view


def _one_number(a: Array) -> Array:
    one = _within(np.abs(a).max(keepdims=True).astype(a.dtype), a.shape, (slice(1),) * a.ndim)
    return as_strided(one, a.shape, (0,) * a.ndim)


VIEWS: dict[str, Callable[[Array], Array]] = {
    "read-only": lambda a: as_strided(a.copy(), writeable=False),
    "strided views": lambda a: _within(a, (*a.shape[:-1], 2 * a.shape[-1]), np.s_[..., ::2]),
    "strided channels": lambda a: (
        _within(a, (a.shape[0], 2 * a.shape[1], *a.shape[2:]), np.s_[:, ::2]) if a.ndim > 1 else a
    ),
    "slices": lambda a: _within(a, [n + 2 for n in a.shape], (slice(1, -1),) * a.ndim),
    "transposed views": np.asfortranarray,
    "channels last in memory": lambda a: (
        np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim > 2 else a
    ),
    "negative strides": lambda a: np.flip(np.flip(a).copy()),
    # all samples the first one, all weights those of the first output
    "zero strides along the first axis": lambda a: as_strided(
        _within(a[:1], a.shape, np.s_[:1]), a.shape, (0, *a.copy().strides[1:])
    ),
    "zero strides": _one_number,  # as the gradient of a sum
}
