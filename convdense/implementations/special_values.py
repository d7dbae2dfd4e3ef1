"""Special values: zeros, one sign, equal cells and others that code treats as a case of its own.

They are integers, or integers over a power of two, with sums as exact as of those they are made of.
"""

from collections.abc import Callable, Iterator

import numpy as np

from convdense._util.arguments import Array
from convdense.implementations.call_contract import LETTERS, Bench
from convdense.implementations.evaluators import Operands
from convdense.verdicts.findings import Finding


def special_values(bench: Bench, operands: Operands, *, few: bool) -> Iterator[Finding]:
    """Yield a finding for each kind of values, put into x, w and dy all at once.

    Unless it is to be few calls, into each alone as well.
    """
    places = tuple(n for n in (0, 1, 3) if operands[n].size)  # a pool has no weights
    for n in places:
        yield bench.tried(f"zero {LETTERS[n]}", _changed(operands, np.zeros_like, (n,)))
    alone = () if few else tuple((n,) for n in places)
    for name, changes in KINDS.items():
        found = [
            bench.tried(name, _changed(operands, change, where), _named(where))
            for change in changes
            for where in (*alone, places)
        ]
        yield max(found, key=lambda finding: finding.grade)


def _named(where: tuple[int, ...]) -> str:
    return ", ".join(LETTERS[n] for n in where)


def _changed(
    operands: Operands, change: Callable[[Array], Array], where: tuple[int, ...]
) -> Operands:
    """Return copies, those at these places changed; beside fractions no bias, for exact sums."""
    x, w, b, dy = (change(a) if n in where else a.copy() for n, a in enumerate(operands))
    return x, w, 0 * b if change is _fractions else b, dy


def _largest(a: Array) -> float:
    return float(np.abs(a).max(initial=1))


def _fractions(a: Array) -> Array:
    return np.abs(a) / 2 ** np.ceil(np.log2(_largest(a))).astype(a.dtype)


def _powers(a: Array) -> Array:
    """Return the largest powers of two of at most this size, and 1 for 0."""
    return np.copysign(np.exp2(np.floor(np.log2(np.maximum(np.abs(a), 1)))), a)


def _one_hot(a: Array) -> Array:
    unit = np.zeros_like(a)
    unit.flat[a.size // 2] = _largest(a)
    return unit


def _sorted(a: Array) -> Array:
    return np.sort(a, axis=None).reshape(a.shape)


KINDS: dict[str, tuple[Callable[[Array], Array], ...]] = {
    "values of one sign": (np.abs, lambda a: -np.abs(a)),
    "values all equal": (
        lambda a: np.full_like(a, _largest(a)),
        lambda a: np.full_like(a, -_largest(a)),
    ),
    "values all 1": (np.ones_like,),
    "values in [0, 1]": (_fractions,),
    "powers of two": (_powers,),
    "two values": (lambda a: np.where(a > 0, _largest(a), -_largest(a)).astype(a.dtype),),
    "one-hot values": (_one_hot,),
    "sorted values": (_sorted, lambda a: -_sorted(a)),
    "values after a ReLU": (lambda a: np.maximum(a, 0),),
    "0.0 beside -0.0": (lambda a: np.copysign(np.zeros_like(a), a),),
}
