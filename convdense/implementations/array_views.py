"""Layouts: the same numbers at other places in memory, as slices, transposes and broadcasts have.

What lies between the cells of a view is NaN: code that reads memory in a row is seen to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convdense._util.arguments import Array
from convdense.implementations.call_contract import LETTERS, Bench, on_each, restriction
from convdense.implementations.evaluators import Operands
from convdense.verdicts.findings import RAISED, Finding


def layouts(bench: Bench, samples: Sequence[Operands]) -> Iterator[Finding]:
    """Yield a finding for each layout of which an array could be made, on any of these operands.

    Where an exception refuses it, each operand is laid out alone.
    """
    every = {n for n, a in zip(LETTERS, samples[-1], strict=True) if np.size(a)}
    for name, change in VIEWS.items():
        found: list[Finding] = []
        made: set[str] = set()
        for operands in samples:
            views: Operands = on_each(lambda a, to=change: to(a) if a.size else a, operands)
            changed = [n for n, view in enumerate(views) if _is_laid_out(view)]
            made.update(LETTERS[n] for n in changed)
            if changed:
                found.append(bench.tried(name, views))
            if changed and found[-1].verdict == RAISED:
                found += [bench.tried(name, _one_view(views, n), LETTERS[n]) for n in changed]
        if found:
            of = ", ".join(letter for letter in LETTERS if letter in made)
            worst = max(map(restriction, found), key=lambda finding: finding.grade)
            yield worst if made >= every - {"b"} else replace(worst, name=f"{name} of {of}")


def _one_view(views: Operands, n: int) -> Operands:
    """Return the same numbers, all but one operand in C order."""
    x, w, b, dy = (view if i == n else np.array(view, order="C") for i, view in enumerate(views))
    return x, w, b, dy


def _is_laid_out(view: Array) -> bool:
    """Tell whether it is not plain; C order asks nothing of the strides of axes of one cell."""
    return bool(view.size) and not (view.flags.c_contiguous and view.flags.writeable)


def _within(array: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Return these numbers as a part of a larger array of NaN."""
    view: Array = np.full(shape, np.nan, array.dtype)[index]
    view[...] = array
    return view


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.setflags(write=False)
    return array


def _every_second(array: Array) -> Array:
    shape = (*array.shape[:-1], 2 * array.shape[-1])
    return _within(array, shape, (..., slice(None, None, 2)))


def _slice(array: Array) -> Array:
    shape = tuple(n + 2 for n in array.shape)
    return _within(array, shape, (slice(1, -1),) * array.ndim)


def _channels_last(array: Array) -> Array:
    """Return (batch, channels, *axes) that is (batch, *axes, channels) in memory."""
    if array.ndim < 3:  # a bias
        return array.copy()
    return np.moveaxis(np.moveaxis(array, 1, -1).copy("C"), -1, 1)


def _backwards(array: Array) -> Array:
    return np.flip(np.flip(array).copy("C"))


def _repeated(array: Array) -> Array:
    """Return the first sample of a batch as all of them, the first output's weights as all."""
    one = _within(array[:1], array.shape, slice(0, 1))
    return as_strided(one, array.shape, (0, *one.strides[1:]))


def _one_number(array: Array) -> Array:
    """Return one number as all cells, as the gradient of a sum is."""
    one = _within(np.abs(array).max(keepdims=True), array.shape, (slice(0, 1),) * array.ndim)
    return as_strided(one, array.shape, (0,) * array.ndim)


VIEWS: dict[str, Callable[[Array], Array]] = {
    "read-only arrays": _read_only,
    "strided views": _every_second,
    "slices of larger arrays": _slice,
    "transposed views": np.asfortranarray,
    "channels last in memory": _channels_last,
    "negative strides": _backwards,
    "zero strides along the first axis": _repeated,
    "zero strides": _one_number,
}
