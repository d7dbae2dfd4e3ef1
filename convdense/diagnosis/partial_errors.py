"""A mistake that shows in some samples or channels only: which they are, and what an explanation must fit there."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.candidate import Call, Mistake
from convdense.diagnosis.mistakes.observations import Seen
from convdense.geometry import Geometry
from convdense.structure._tie import tie


def parts(seen: Seen) -> Iterator[tuple[str, Seen]]:
    """Yield words and a narrower view for the samples and channels that are wrong, where not all of them are."""
    if not seen.comparable or np.ndim(seen.right[0]) < 2:
        return
    wrong = np.any([g != r for g, r in zip(seen.values, seen.right, strict=True)], axis=0)
    blocks = wrong.any(axis=tuple(range(2, wrong.ndim)))  # (samples, channels), of dw its first two axes
    rows, cols = np.flatnonzero(blocks.any(axis=1)), np.flatnonzero(blocks.any(axis=0))
    some, few = len(rows) < len(blocks), len(cols) < blocks.shape[1]
    if not some and not few:
        return
    if seen.batched:
        words = [_samples(rows, len(blocks))] * some + [_channels(seen, cols)] * few
    else:
        words = [f"in weight[{_listed(rows) if some else ':'}{f', {_listed(cols)}' if few else ''}] alone"]
    yield ", ".join(words), seen._replace(part=np.ix_(rows, cols))


def _samples(rows: Array, n: int) -> str:
    if len(rows) > 1 and len(rows) == n - rows[0]:
        return "from the second sample on" if rows[0] == 1 else f"from sample {rows[0]} on"
    return f"in sample{'s' if len(rows) > 1 else ''} {_listed(rows)} alone"


def _channels(seen: Seen, cols: Array) -> str:
    which = "output" if seen.name == "y" else "input"
    return f"in {which} channel{'s' if len(cols) > 1 else ''} {_listed(cols)} alone"


def _listed(numbers: Array) -> str:
    return " and ".join(map(str, numbers[:3])) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")


def later_samples(layer: Geometry, seen: Seen, known: Sequence[Mistake]) -> Mistake | None:
    """Return the mistake that dw makes from the second sample on, the first one's share being right."""
    if seen.name != "dw" or not seen.comparable:
        return None
    right = Mistake("", tie(layer))

    def value(mistake: Mistake, call: Call) -> Array:
        first, rest = (call._replace(x=call.x[at], dy=call.dy[at]) for at in (slice(0, 1), slice(1, None)))
        return right.run(first, "dw") + mistake.run(rest, "dw")

    return next((mistake for mistake in known if seen.fits(partial(value, mistake))), None)
