"""sweep: every geometry of a small scope, on every pair of basis vectors, on all cores."""

import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from time import perf_counter
from typing import Any

from convdense._util.arguments import complain, integer
from convdense._util.executors import executor_or_none, in_order
from convdense._util.threads import cores
from convdense.display.tables import InParts, Rows
from convdense.geometry import Conv, ConvTranspose
from convdense.implementations.evaluators import DENSE, DIRECT
from convdense.sweeps.all_basis_pairs import basis_pairs, judge_pairs
from convdense.sweeps.scope import FAMILIES, count, geometries
from convdense.verdicts.findings import Finding
from convdense.verdicts.schema import with_schema

SHOWN = 10  # failures that are kept
CHUNK = 16  # geometries handed to a process at once: some tenths of a second
AHEAD = 8  # chunks that wait for each process: enough to keep it busy, soon dropped


@dataclass(frozen=True)
class Swept:
    """What came of one family: its scope in words, and how much was judged and failed."""

    family: str
    scope: str
    geometries: int
    pairs: int
    failed: int


@dataclass(frozen=True)
class Failure:
    """A geometry on which the two ways differ, as the call that makes it, and where they do."""

    layer: str
    finding: Finding

    def __str__(self) -> str:
        return f"{self.layer}: {self.finding}"


@dataclass(frozen=True, repr=False)
class Sweep(InParts):
    """What `sweep` found; true if the two ways are equal, bit for bit, on all that was judged."""

    every: int
    families: tuple[Swept, ...]
    failures: tuple[Failure, ...]
    processes: int
    seconds: float

    @property
    def geometries(self) -> int:
        """How many geometries were judged."""
        return sum(family.geometries for family in self.families)

    @property
    def pairs(self) -> int:
        """How many pairs of basis vectors were evaluated, each way."""
        return sum(family.pairs for family in self.families)

    @property
    def failed(self) -> int:
        """How many geometries failed; the first few are in `failures`."""
        return sum(family.failed for family in self.families)

    def __bool__(self) -> bool:
        """Return whether none failed."""
        return not self.failed

    def _parts(self) -> list[str | Rows]:
        """Return a table of families, the totals, and the first failures."""
        which = "every geometry" if self.every == 1 else f"one geometry in {self.every}"
        rows = [
            [s.family, s.scope, f"{s.geometries:,}", f"{s.pairs:,}", f"{s.failed:,}"]
            for s in self.families
        ]
        table = Rows(rows, ["family", "each axis, up to", "geometries", "pairs", "failed"])
        verdict = (
            f"NOT equal on {self.failed:,} of them" if self.failed else "all equal bit for bit"
        )
        processes = "processes" if self.processes > 1 else "process"
        total = (
            f"{self.geometries:,} geometries, {self.pairs:,} pairs of basis vectors, {verdict}; "
            f"{self.seconds:.0f} s on {self.processes} {processes}"
        )
        heading = f"{DENSE} against {DIRECT}, {which} of a small scope"
        failures = [f"  {failure}" for failure in self.failures]
        return [heading, table, "\n".join([total, *failures])]

    def __repr__(self) -> str:
        """Return one line: how many geometries were judged, and how many failed."""
        return f"Sweep({self.geometries:,} geometries, {self.failed:,} failed)"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data (JSON)."""
        return with_schema(
            {
                "kind": "sweep",
                "holds": bool(self),
                "compared": f"{DENSE} against {DIRECT}",
                "geometries": self.geometries,
                "pairs": self.pairs,
                "failed": self.failed,
                "every": self.every,
                "families": [asdict(family) for family in self.families],
                "failures": [
                    {"layer": f.layer, "finding": f.finding.to_dict()} for f in self.failures
                ],
                "processes": self.processes,
                "seconds": self.seconds,
            }
        )


def sweep(every: int = 1, *, workers: int | None = None, executor: Executor | None = None) -> Sweep:
    """Judge every geometry of the families in `scope.FAMILIES`, on every pair of basis vectors.

    Parameters
    ----------
    every : int
        Judge each n-th geometry of a family alone: a thinned sweep.
    workers : int or None
        Processes; None takes all cores, 1 stays in this process. As with every pool of processes, a
        script that calls this with more than one does so below ``if __name__ == "__main__":``.
    executor : concurrent.futures.Executor or None
        What judges them in place of these processes: `client.get_executor()` of a Dask client, for
        the machines of a cluster. It stays open.

    Examples
    --------
    >>> result = sweep(every=20_000, workers=1)
    >>> bool(result), result.geometries, result.failures
    (True, 24, ())
    """
    integer(every, "every", 1)
    processes = cores() if workers is None else integer(workers, "workers", 1)
    if executor_or_none(executor) is not None and workers is not None:
        raise ValueError(complain("workers", workers, "None beside executor, which has its own"))
    start = perf_counter()
    n_judged: Counter[str] = Counter()  # of each family, by its name, and so the other two
    n_pairs: Counter[str] = Counter()
    n_failed: Counter[str] = Counter()
    failures: list[Failure] = []
    total = sum(-(-count(family) // every) for family in FAMILIES)  # -(-a // b) rounds up
    seen = set()  # the processes of an executor
    with closing(_results(_work(every), processes, executor)) as results, _bar(total) as bar:
        for name, judged, process in results:
            seen.add(process)
            failed = [failure for _, failure in judged if failure is not None]
            n_judged[name] += len(judged)
            n_pairs[name] += sum(pairs for pairs, _ in judged)
            n_failed[name] += len(failed)
            failures += failed[: SHOWN - len(failures)]
            bar.update(len(judged))

    families = []
    for family in FAMILIES:
        numbers = n_judged[family.name], n_pairs[family.name], n_failed[family.name]
        families.append(Swept(family.name, str(family.scope), *numbers))
    processes = processes if executor is None else len(seen)
    return Sweep(every, tuple(families), tuple(failures), processes, perf_counter() - start)


def _bar(total: int) -> Any:
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    return tqdm(total=total, desc="geometries", unit="", file=sys.stderr, disable=None, leave=False)


_Chunk = tuple[str, list[Conv | ConvTranspose]]  # a family's name, and some of its geometries
# Of a family, for each geometry its pairs and what failed; and the process, as (machine, number).
_Judged = tuple[str, list[tuple[int, Failure | None]], tuple[str, int]]


def _work(every: int) -> Iterator[_Chunk]:
    """Yield every n-th geometry of each family, so many at once that handing them over is cheap."""
    for family in FAMILIES:
        layers = geometries(family, every)
        while chunk := list(islice(layers, CHUNK)):
            yield family.name, chunk


def _results(
    work: Iterable[_Chunk], processes: int, executor: Executor | None
) -> Generator[_Judged, None, None]:
    """Yield what came of every chunk, in order; closed early, it drops what nobody has begun."""
    if processes == 1 and executor is None:
        yield from map(_judge, work)
        return
    if executor is not None:
        yield from in_order(executor, _judge, work)
        return
    # Spawned processes are the same on every system, and safe beside threads.
    context = multiprocessing.get_context("spawn")
    own = ProcessPoolExecutor(processes, mp_context=context, initializer=_belong_to_the_parent)
    with own:
        yield from in_order(own, _judge, work, AHEAD * processes)


def _belong_to_the_parent() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent, and end with it.

    A parent that is killed cannot say so: a thread waits for its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a worker alone

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _judge(chunk: _Chunk) -> _Judged:
    name, layers = chunk
    judged = [(basis_pairs(layer), _failure(layer)) for layer in layers]
    return name, judged, (platform.node(), os.getpid())


def _failure(layer: Conv | ConvTranspose) -> Failure | None:
    finding = judge_pairs(layer)
    return None if finding is None else Failure(repr(layer), finding)
