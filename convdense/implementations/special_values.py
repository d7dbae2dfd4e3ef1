"""Special values: what code may treat as a case of its own, and what NaN and infinity reach.

All but those two are integers, or integers over a power of two: their sums are as exact.
"""

from collections.abc import Callable, Iterator

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import by_parts
from convdense.implementations.call_contract import LETTERS, Bench, copied, on_each
from convdense.implementations.evaluators import Drawn
from convdense.verdicts.findings import QUANTITIES, REPORTED, Finding, worst_of


def on_special_values(bench: Bench, operands: Drawn, one: Drawn, *, few: bool) -> Iterator[Finding]:
    """Yield a finding for each kind of values, put into x, w, b and dy all at once.

    Into x, beside another kind in dy, and into w alone as well, unless it is to be few calls; ones
    into `one` sample, too.
    """
    places = bench.places(operands)
    has_bias = operands[2].size > 0
    everywhere = sorted([*places, *[2] * has_bias])
    for n in places:
        yield bench.tried(f"zero {LETTERS[n]}", _changed(operands, {n: np.zeros_like}, 1))
    if not places:  # of an empty axis
        return
    drawn, x = operands[places[0]], operands[0]
    kinds = {name: changes for name, changes in KINDS.items() if _fits(changes[0], drawn, x)}
    names = list(kinds)
    for i, (name, changes) in enumerate(kinds.items()):
        # products of two one-hot arrays may all be 0, where a transform has no bound
        together = everywhere if changes[0] not in SPARSE else places[:1]
        calls = {f"{k}": dict.fromkeys(together, change) for k, change in enumerate(changes)}
        if not few:
            other = names[(i + APART) % len(names)]
            pair = {0: changes[0], 3: kinds[other][0]}
            calls[f"x; in dy {other}"] = {n: pair[n] for n in places if n in pair}
        if not few and 1 in places:
            calls["w"] = {1: changes[0]}
        yield worst_of(
            bench.tried(name, _changed(given, call, bench.unit), what * (not what.isdigit()))
            for given in ((operands, one) if changes[0] is np.ones_like else (operands,))
            for what, call in calls.items()
        )


def _fits(change: Callable[[Array], Array], drawn: Array, x: Array) -> bool:
    """Tell whether there are such values: integers have no fractions, and x may not go to 255."""
    goes_far = change is not _bytes or np.abs(x).max(initial=0) >= BYTES - 1
    return goes_far and by_parts(change, drawn).dtype == drawn.dtype


def nonfinite_reach(bench: Bench, operands: Drawn) -> Iterator[Finding]:
    """Yield what NaN and infinity in one cell of each operand reach: neither right nor wrong.

    Results that read the cell, those that its value changes, are told apart from those beyond.
    """
    for n in bench.places(operands):
        cell = operands[n].size // 2
        without, *both = (copied(on_each(np.ones_like, operands)) for _ in range(3))
        for given, number in ((without, 0), (both[0], 2), (both[1], -2)):
            given[n].flat[cell] = number
        zero, *changed = (bench.right(given) for given in (without, *both))
        for value in (np.nan, np.inf):
            poisoned = copied(operands)
            poisoned[n].flat[cell] = value
            with np.errstate(all="ignore"):
                got = bench.run(poisoned)
            parts = []
            for name, result, a, *others in zip(QUANTITIES, got, zero, *changed, strict=True):
                lost = ~np.isfinite(result) if isinstance(result, np.ndarray) else np.True_
                if a is not None and lost.any() and lost.shape == a.shape:
                    beyond = lost & np.all([a == other for other in others], axis=0)
                    parts.append(f"{name} in {lost.sum()} entries, {beyond.sum()} do not read it")
            note = "not finite: " + "; ".join(parts) if parts else "all is finite"
            yield Finding(f"{value} in {LETTERS[n]}", REPORTED, note=note)


def _changed(operands: Drawn, changes: dict[int, Callable[[Array], Array]], unit: int) -> Drawn:
    """Return copies, those at these places changed; y of fractions has no bias, for exact sums.

    What becomes of dy are multiples of the unit.
    """
    x, w, b, dy = (
        by_parts(changes[n], a) if n in changes else a.copy() for n, a in enumerate(operands)
    )
    if 3 in changes and unit > 1:
        dy = unit * changes[3](operands[3] / unit)
    has_fractions = any(changes.get(n) in FRACTIONS for n in (0, 1))
    return x, w, 0 * b if has_fractions else b, dy


def _largest(a: Array) -> Array:
    return np.full_like(a, np.abs(a).max(initial=1))


def _fractions(a: Array) -> Array:
    return np.abs(a) / np.exp2(np.ceil(np.log2(_largest(a))))


def _one_hot(a: Array) -> Array:
    """Return one cell for each sample and channel: a transform that mixes them is right, too."""
    planes = np.zeros_like(a).reshape(*a.shape[:2], -1)
    planes[..., planes.shape[-1] // 2] = np.abs(a).max(initial=1)
    return planes.reshape(a.shape)


def _one_value(a: Array) -> Array:
    return np.where(np.arange(a.size).reshape(a.shape) == a.size // 2, _largest(a), 0 * a)


def _without(a: Array, axis: int, at: int) -> Array:
    """Return zeros at one place along an axis, or along the only one."""
    rest = a.copy()
    np.moveaxis(rest, min(axis, a.ndim - 1), 0)[at] = 0
    return rest


def _normalised(a: Array) -> Array:
    """Return powers of two that add up to 1 in every sample, or the weights of an output."""
    rows = np.ones_like(a).reshape(len(a), -1)
    total = 2 ** (rows.shape[1] - 1).bit_length()
    rows[:, : total - rows.shape[1]] = 2
    return np.asarray(rows.reshape(a.shape) / total)


def _bytes(a: Array) -> Array:
    """Return integers as those of an image."""
    return (np.abs(a) % np.float64(BYTES)).astype(a.dtype)


def _halves(a: Array) -> Array:
    return np.asarray(np.trunc(a / 2) + 0.5)


def _sorted(a: Array) -> Array:
    return np.sort(a, axis=None).reshape(a.shape)


BYTES = 256
APART = 5  # places in the table: no two sparse kinds meet
FRACTIONS = _fractions, _halves, _normalised
SPARSE = _one_hot, _one_value
KINDS: dict[str, tuple[Callable[[Array], Array], ...]] = {
    "values of one sign": (
        lambda a: np.maximum(np.abs(a), 1),
        lambda a: -np.maximum(np.abs(a), 1),
    ),
    "values all equal": (_largest, lambda a: -_largest(a)),
    "values all 1": (np.ones_like,),
    "values in [0, 1]": (_fractions,),
    "halves": (_halves,),
    # in every sample, and in the weights of every output
    "values that add up to 0": (lambda a: a // 2 - np.flip(a // 2, axis=tuple(range(1, a.ndim))),),
    "values that add up to 1": (_normalised,),
    "integers from 0 to 255": (_bytes,),
    # the largest below, and 1 for 0
    "powers of two": (
        lambda a: np.copysign(np.exp2(np.floor(np.log2(np.maximum(np.abs(a), 1)))), a),
    ),
    "two values": (lambda a: np.copysign(_largest(a), a),),
    "one-hot values": (_one_hot,),
    "one value": (_one_value,),
    "channels of zeros": (lambda a: _without(a, 1, 0), lambda a: _without(a, 0, -1)),
    "sorted values": (
        _sorted,
        lambda a: -_sorted(a),
        lambda a: 0 * a + np.arange(a.shape[-1], dtype=a.dtype),
    ),
    "values after a ReLU": (lambda a: np.maximum(a, 0),),
    "0.0 beside -0.0": (lambda a: np.copysign(np.zeros_like(a), a),),
}
