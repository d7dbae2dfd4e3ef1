"""How long a certificate may take, and how far it is, shown to who waits at a terminal."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import inf, isfinite
from numbers import Real
from time import perf_counter
from typing import Any, TypeVar

from convdense._util.arguments import complain

Step = TypeVar("Step")


@dataclass
class Clock:
    """When to stop, and whether something was left out because of that.

    Attributes
    ----------
    limit : float
        Seconds from the start; infinite for none.
    is_cut : bool
        Whether something was left out, or, of steps that are not looked at ahead, may have been.
    steps : int
        How many steps the last of those counted came to.

    Examples
    --------
    >>> clock = Clock(0.0)
    >>> list(clock.during("abc")), clock.is_cut, list(Clock().during("abc"))
    ([], True, ['a', 'b', 'c'])
    """

    limit: float = inf
    is_cut: bool = False
    steps: int = 0
    start: float = field(default_factory=perf_counter)

    @property
    def is_up(self) -> bool:
        """Whether the time is up; who asks leaves something out then."""
        is_up = perf_counter() - self.start >= self.limit
        self.is_cut |= is_up
        return is_up

    @property
    def left(self) -> float | None:
        """Seconds until the time is up, None without a limit."""
        return None if self.limit == inf else max(0.0, self.start + self.limit - perf_counter())

    @property
    def stopped(self) -> float | None:
        """The limit if something was left out, else None."""
        return self.limit if self.is_cut else None

    def during(
        self, steps: Iterable[Step], what: str = "", total: int = 0, *, ahead: bool = False
    ) -> Iterator[Step]:
        """Yield steps as they are made, until the time is up; none is begun after that.

        Those that cost little until they are used are looked at `ahead`: whether one is left.
        """
        self.steps = 0
        waiting = iter(steps)
        with _bar(what, total) as bar:
            while ahead or not self.is_up:
                try:
                    step = next(waiting)
                except StopIteration:
                    return
                if ahead and self.is_up:
                    return
                self.steps += 1
                yield step
                if bar is not None:
                    bar.update()


def _bar(what: str, total: int) -> AbstractContextManager[Any]:
    """Return a progress bar on a terminal, shown after a second; else nothing."""
    if not what or not sys.stderr.isatty():
        return nullcontext()
    from tqdm import tqdm  # noqa: PLC0415  (only where progress is shown)

    bar: AbstractContextManager[Any] = tqdm(
        total=total or None, desc=what, file=sys.stderr, leave=False, delay=1
    )
    return bar


def limited_time(seconds: object) -> float:
    """Return `time_limit` in seconds, infinite for None, or refuse what is no time."""
    if seconds is None:
        return inf
    needs = "seconds, more than 0, or None"
    if isinstance(seconds, bool) or not isinstance(seconds, Real):
        raise TypeError(complain("time_limit", repr(seconds), needs))
    limit = float(seconds)
    if not (isfinite(limit) and limit > 0):
        raise ValueError(complain("time_limit", seconds, needs))
    return limit
