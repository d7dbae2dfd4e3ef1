"""What an implementation returned in several draws, beside what was expected; and what fits it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Call

Part = tuple[Any, ...]  # an index into one draw's value; (...,) is all of it
WHOLE: Part = (...,)
RIGHT = 1e-14  # a factor as near to 1 as this says that all is right but for rounding


class Observations(NamedTuple):
    """One quantity of an implementation: what it returned in every draw, and what was expected.

    `part` is what an explanation must fit: outside it everything is right.
    """

    name: str
    calls: Sequence[Call]
    returned: Sequence[Any]
    expected: Sequence[Array]
    part: Part = WHOLE

    @property
    def comparable(self) -> bool:
        """Whether numbers of the right shape came in every draw."""
        pairs = zip(map(np.asarray, self.returned), self.expected, strict=True)
        return all(_are_numbers(got, right.shape) for got, right in pairs)

    @property
    def batched(self) -> bool:
        """Whether the quantity has a batch axis."""
        return self.name in ("y", "dx")

    @property
    def samples(self) -> Any:
        """Index of the samples that belong to the part."""
        return slice(None) if self.part is WHOLE or not self.batched else self.part[0].ravel()

    def fits(self, value: Callable[[Call], Array]) -> bool:
        """Tell whether an explanation gives exactly what came, in every draw."""
        draws = zip(self.returned, self.calls, strict=True)
        return all(same(got, value(call), self.part) for got, call in draws)

    def may_be(self, probe: Array, draw: int = 0) -> bool:
        """Tell whether a draw agrees with a probe: a quantity, NaN where not asked for."""
        got = np.asarray(self.returned[draw])
        if not _are_numbers(got, probe.shape):
            return False
        asked = np.zeros(probe.shape, bool)
        asked[self.part] = True
        asked &= ~np.isnan(probe)
        return bool((got[asked] == probe[asked]).all())

    def stacked(self, arrays: Sequence[npt.ArrayLike]) -> Array:
        """Return one row for each draw, and for each sample of the part: (observations, cells)."""
        cells = self.expected[0][0].size if self.batched else self.expected[0].size
        parts = [np.asarray(array)[self.samples] for array in arrays]
        return np.concatenate([part.reshape(-1, cells) for part in parts])


def _are_numbers(got: Array, shape: tuple[int, ...]) -> bool:
    return got.shape == shape and got.dtype.kind in "iuf"


def same(value: npt.ArrayLike, expected: Array, part: Part = WHOLE) -> bool:
    """Tell whether these are equal numbers of one shape, in a part or everywhere."""
    got = np.asarray(value)
    if not _are_numbers(got, expected.shape):
        return False
    return bool(np.array_equal(got[part], expected[part], equal_nan=True))


def multiple(
    got: Array, of: Array, beside: Array | float = 0.0, size: Array | float = 0.0
) -> float | None:
    """Return c if ``got = beside + c of`` in every entry, up to rounding; None if not.

    `size` is the sum of sizes of what was added up on the way, times the number of terms, where
    sums are rounded. c is taken from the largest entry; its own error there is allowed in all
    others in proportion.
    """
    of, beside, size = (np.broadcast_to(array, got.shape) for array in (of, beside, size))
    largest = np.abs(of).max(initial=0)
    if not largest:
        return None

    unit = 4 * np.finfo(float).eps  # 8 roundings of at most eps / 2 each
    nothing_to_explain = np.abs(got - beside) <= unit * (np.abs(beside) + size)
    if nothing_to_explain.all():
        return None

    at = np.unravel_index(np.argmax(np.abs(of)), of.shape)
    factor = float((got[at] - beside[at]) / of[at])
    if not factor or not np.isfinite(factor):
        return None
    rounding = unit * (np.abs(beside) + np.abs(factor * of) + size)
    allowed = rounding + np.abs(of) * (rounding[at] / largest)
    fits = np.abs(got - beside - factor * of) <= allowed
    return factor if fits.all() else None
