"""Calls that an executor of `concurrent.futures` runs, wherever its workers are."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, TypeVar

from convdense._util.arguments import complain, first_line
from convdense._util.foreign_objects import said

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 1_024  # calls that wait: more than a cluster has workers, and soon dropped
NEEDS = "one that is open, with living workers that have convdense"


def executor_or_none(value: Any) -> Executor | None:
    """Return an executor, or None; anything else is refused."""
    if value is None or isinstance(value, Executor):
        return value
    do = "write executor=client.get_executor()" if hasattr(value, "get_executor") else ""
    raise TypeError(complain("executor", said(value), "a concurrent.futures.Executor", do))


def in_order(
    executor: Executor, call: Callable[[T], R], items: Iterable[T], ahead: int = AHEAD
) -> Generator[R, None, None]:
    """Yield what a call returns for each item, in order; ended early, drop what nobody has begun.

    Raises
    ------
    RuntimeError
        If a call raises, or a worker or the executor ends: in one line.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(in_order(pool, abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            with _interrupts_wait():  # it may start a process
                begun.append(in_one_line("executor", executor.submit, call, item))
            if len(begun) > ahead:
                yield in_one_line("executor", begun[0].result)
                begun.popleft()
        while begun:
            yield in_one_line("executor", begun[0].result)
            begun.popleft()
    finally:
        for future in begun:
            future.cancel()


def in_one_line(name: str, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call a function of an executor or client; what it raises becomes one line about it."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        got = f"{type(error).__name__}: {first_line(error)}"
        raise RuntimeError(complain(name, got, NEEDS)) from error


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; a process started meanwhile never sees it.

    Not even while it imports, before it can say that it ignores it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
