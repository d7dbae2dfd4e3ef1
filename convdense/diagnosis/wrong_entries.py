"""Which entries of a quantity are wrong, in one sentence: samples, channels, positions, borders."""

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.observations import Observations

# of each quantity, its axes before the positions
_LEADING = {
    "y": ("sample", "output channel"),
    "dx": ("sample", "input channel"),
    "dw": ("output channel", "input channel"),
    "db": ("output channel",),
}
SHOWN = 4  # numbers that are written out


def pattern(observed: Observations) -> str:
    """Return which entries are wrong in any draw; empty where they cannot be compared.

    Along an axis it is said where only some positions are, at its ends alone say.
    """
    if not observed.comparable:
        return ""
    pairs = zip(observed.returned, observed.expected, strict=True)
    wrong = np.any([got != right for got, right in pairs], axis=0)
    count, size = int(wrong.sum()), wrong.size
    if not count:
        return ""
    said = f"wrong in {'all' if count == size else f'{count} of'} {size} entries"
    where = [_along(wrong, axis, observed.name) for axis in range(wrong.ndim)]
    border = _of_border(wrong, len(_LEADING[observed.name]))
    return ": ".join(filter(None, (said, "; ".join(filter(None, (*where, border))))))


def _along(wrong: Array, axis: int, name: str) -> str:
    """Return where along one axis anything is wrong, if it is not everywhere."""
    others = tuple(k for k in range(wrong.ndim) if k != axis)
    at = np.flatnonzero(wrong.any(axis=others))
    n = wrong.shape[axis]
    if len(at) == n:
        return ""
    leading = _LEADING[name]
    word = leading[axis] if axis < len(leading) else f"positions along axis {axis - len(leading)}"
    plural = "s" * (len(at) > 1 and axis < len(leading))
    if len(at) > 1 and at[-1] - at[0] == len(at) - 1:
        numbers = f"{at[0]} to {at[-1]}"
    else:
        numbers = ", ".join(map(str, at[:SHOWN])) + (" ..." if len(at) > SHOWN else "")
    return f"{word}{plural} {numbers} of {n}"


def _of_border(wrong: Array, leading: int) -> str:
    """Return that only the border is wrong, where every axis is wrong at both its ends."""
    at = np.asarray(wrong.any(axis=tuple(range(min(leading, wrong.ndim)))))
    if at.ndim < 1 or min(at.shape, default=0) < 3:
        return ""
    inside = at[(slice(1, -1),) * at.ndim]
    return "" if inside.any() else "at the border alone"
