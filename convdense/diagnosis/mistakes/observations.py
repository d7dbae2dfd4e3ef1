"""What an implementation returned in several draws, beside what was expected; and whether an explanation fits it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

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
        return all(g.shape == r.shape and g.dtype.kind in "iuf" for g, r in pairs)

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

    def may_be(self, probe: Array) -> bool:
        """Tell whether what came in the first draw agrees with a probe: a quantity, NaN where it was not asked for."""
        got, asked = np.asarray(self.returned[0]), np.zeros(probe.shape, bool)
        asked[self.part] = True
        asked &= ~np.isnan(probe)
        return (
            got.shape == probe.shape
            and got.dtype.kind in "iuf"
            and bool((got[asked] == probe[asked]).all())
        )

    def stacked(self, arrays: Sequence[Any]) -> Array:
        """Return (observations, cells): one row for each draw, and for each sample of it that belongs to the part."""
        cells = self.expected[0][0].size if self.batched else self.expected[0].size
        parts = [np.asarray(a)[self.samples] if self.batched else np.asarray(a) for a in arrays]
        return np.concatenate([part.reshape(-1, cells) for part in parts])


def same(value: Any, expected: Array, part: Part = WHOLE) -> bool:
    """Tell whether these are equal numbers of one shape, in a part or everywhere."""
    got = np.asarray(value)
    if got.dtype.kind not in "iuf" or got.shape != expected.shape:
        return False
    return bool(np.array_equal(got[part], expected[part], equal_nan=True))


def multiple(
    got: Array, of: Array, beside: Array | float = 0.0, size: Array | float = 0.0
) -> float | None:
    """Return c if ``got = beside + c of`` in every entry, up to the rounding of a few operations;
    None if not.

    `size` is the sum of sizes of what was added up on the way, times the number of terms, where
    sums are rounded. c is taken from the largest entry; its own error there is allowed in all
    others in proportion.
    """
    of, beside, size = (np.broadcast_to(a, got.shape) for a in (of, beside, size))
    if not of.size or not (largest := np.abs(of).max()):
        return None
    at = np.unravel_index(np.argmax(np.abs(of)), of.shape)
    factor = float((got[at] - beside[at]) / of[at])
    unit = 4 * np.finfo(float).eps  # 8 roundings of half an eps
    rounding = unit * (np.abs(beside) + np.abs(factor * of) + size)
    if (
        np.abs(got - beside) <= unit * (np.abs(beside) + size)
    ).all():  # nothing but rounding is there to explain
        return None
    allowed = rounding + np.abs(of) * (rounding[at] / largest)
    if (
        not factor
        or not np.isfinite(factor)
        or not (np.abs(got - beside - factor * of) <= allowed).all()
    ):
        return None
    return factor
