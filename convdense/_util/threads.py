"""Threads: BLAS and OpenMP held to one, and work cut into parts for the cores that are ours.

Many small products on BLAS's own threads wait for the one thread that the machine does not run. So
they run on one thread each, and several of them at once on threads of ours, which wait for nobody.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures  # loads threads only when they are used
from contextlib import contextmanager
from functools import cache
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from convdense._util.arguments import Array

Part = TypeVar("Part")
Result = TypeVar("Result")

ALONE_FROM = 1 << 21  # operations from which on BLAS is held, which itself takes 30 microseconds
SPREAD_FROM = 1 << 22  # operations that are worth threads of ours: about a millisecond
ROWS = 64  # of a matrix product's part, at least
PARTS = 8  # of one large product, at most
AHEAD = 1  # parts handed out beside those that threads work on

# Container limits, as Linux states them: "max 100000" or "150000 100000" microseconds a period.
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")  # of older kernels, -1 for no limit
CPU_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


class _Hold:
    """How many of our products run, and what the libraries had before the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.before: list[tuple[Any, int]] = []

    def enter(self, libraries: Sequence[Any]) -> None:
        """Hold the libraries to one thread, if nobody of ours does."""
        if not self.count:
            self.before = [(library, library.num_threads) for library in libraries]
            _allow([(library, 1) for library in libraries])
        self.count += 1

    def leave(self) -> None:
        """Restore what was there, if nobody of ours is left."""
        self.count -= 1
        if not self.count:
            _allow(self.before)


class _HoldOfThread(_Hold, threading.local):
    """The same for libraries whose limit belongs to the thread that sets it."""


_lock = threading.Lock()
_of_process = _Hold()
_of_thread = _HoldOfThread()
_openmp_of_thread = _HoldOfThread()


@contextmanager
def blas_alone() -> Iterator[int]:
    """Hold BLAS to one thread, and yield how many threads it was allowed before.

    The limit belongs to the whole process (to each thread, where BLAS runs on OpenMP). Overlapping
    uses, nested or in other threads, are counted under a lock: the first sets the limit, the last
    restores what was there, after exceptions too. What others set in between is overwritten then.

    Examples
    --------
    >>> with blas_alone() as before, blas_alone() as again:
    ...     before == again
    True
    """
    shared, of_thread = _libraries("scipy.linalg" in sys.modules)
    with _lock:
        _of_process.enter(shared)
        before = [threads for _, threads in _of_process.before]
    _of_thread.enter(of_thread)
    try:
        yield max([1, *before, *(threads for _, threads in _of_thread.before)])
    finally:
        _of_thread.leave()
        with _lock:
            _of_process.leave()


@cache
def _libraries(_with_scipy: bool) -> tuple[list[Any], list[Any]]:
    """Return the BLAS of NumPy and, once it is loaded, of SciPy: of the process, of threads."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415  (6 ms, only for large products)

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    of_thread = [lib for lib in found if getattr(lib, "threading_layer", "") == "openmp"]
    return [lib for lib in found if lib not in of_thread], of_thread


@contextmanager
def openmp_alone() -> Iterator[None]:
    """Hold OpenMP to one thread, in the thread that asks: for what is too small to be shared.

    Where another process runs, a second thread is waited for 50 times as long as the work takes.
    Nested uses are counted, and what was there is restored, after exceptions too.

    Examples
    --------
    >>> with openmp_alone(), openmp_alone():
    ...     pass
    """
    _openmp_of_thread.enter(_openmp())
    try:
        yield
    finally:
        _openmp_of_thread.leave()


@cache
def _openmp() -> list[Any]:
    """Return the OpenMP libraries that were loaded when it was first asked, with PyTorch say."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415  (6 ms)

    return list(ThreadpoolController().select(user_api="openmp").lib_controllers)


def _allow(threads: Sequence[tuple[Any, int]]) -> None:
    """Set how many threads each library may use."""
    for library, number in threads:
        # From threadpoolctl 3.8 on only the first thread that sets a limit can change it, and what
        # others set is ignored in silence: so each of ours begins anew, and leaves nothing behind.
        forget = getattr(library, "clear_controlling_thread", lambda **_: None)
        forget(force=True)
        library.set_num_threads(number)
        forget(force=True)


def _start_anew() -> None:
    """Let go in a forked process, where the threads that held BLAS do not exist."""
    global _lock  # noqa: PLW0603  (a thread that does not exist here may have it)
    _lock = threading.Lock()
    for hold in (_of_process, _of_thread, _openmp_of_thread):
        if hold.count:
            hold.count = 1
            hold.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def cores() -> int:
    """Return how many cores this process may use: affinity and container limits count.

    Examples
    --------
    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    # Linux knows an affinity; elsewhere a process may use what there is.
    affinity = getattr(os, "sched_getaffinity", None)
    ours = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = _container_limit()
    return ours if limit is None else max(1, min(ours, ceil(limit)))


@cache
def _container_limit() -> float | None:
    """Return how many cores' time a container may use; None for no limit."""
    try:
        if CPU_MAX.exists():
            quota, period = CPU_MAX.read_text().split()
        else:
            quota, period = CPU_QUOTA.read_text(), CPU_PERIOD.read_text()
        limit = float(quota) / float(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return limit if limit > 0 else None


def spread(
    function: Callable[[Part], Result], parts: Sequence[Part], operations: float
) -> Iterator[Result]:
    """Yield the function of each part, in order; of large work several parts at once.

    NumPy's products and copies release the interpreter lock, so that threads do run at once. BLAS
    is held to one thread each. There are as many threads as cores, or fewer where BLAS was allowed
    fewer, and few parts are ahead of the one that is yielded.

    Parameters
    ----------
    function : callable
        Of one part; it writes only what is its own.
    parts : sequence
    operations : float
        Roughly, multiplications and copies of all parts together.

    Examples
    --------
    >>> list(spread(lambda n: n * n, [1, 2, 3], operations=1e9))
    [1, 4, 9]
    """
    if operations < ALONE_FROM:
        yield from map(function, parts)
        return
    with blas_alone() as allowed:
        threads = min(cores(), allowed, len(parts))
        if threads < 2 or operations < SPREAD_FROM:
            yield from map(function, parts)
            return
        errors = np.geterr()  # how the caller wants overflow and the like to be told

        def run(part: Part) -> Result:
            with np.errstate(**errors), blas_alone():
                return function(part)

        with futures.ThreadPoolExecutor(threads) as pool:
            waiting = iter(parts)
            running = [pool.submit(run, part) for part in islice(waiting, AHEAD + threads)]
            try:
                while running:
                    yield running.pop(0).result()
                    running += [pool.submit(run, part) for part in islice(waiting, 1)]
            finally:
                for left in running:
                    left.cancel()


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of two matrices, large ones by rows of a, several at once.

    Examples
    --------
    >>> product(np.eye(2), np.array([[1.0], [2.0]]))
    array([[1.],
           [2.]])
    """
    operations = float(a.size * b.shape[1])
    if operations < ALONE_FROM:
        return np.asarray(a @ b)
    found = np.empty((len(a), b.shape[1]), np.result_type(a, b))
    rows = max(ROWS, -(-len(a) // PARTS))
    parts = [slice(first, first + rows) for first in range(0, len(a), rows)]
    for _ in spread(lambda part: np.matmul(a[part], b, out=found[part]), parts, operations):
        pass
    return found
