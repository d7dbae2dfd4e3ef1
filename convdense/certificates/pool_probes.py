"""The windows of a pool as a table of cells: how long its sums are, and inputs in which chosen cells win or tie."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import MaxPool, MinPool, Pool
from convdense.rounding.pool_bounds import WindowTable, window_table

PLANTED = 64  # inputs at most in which cells are made to win or to tie
TRIED = 64  # windows that an input plants its cells in, at most


def planted(pool: Pool, inputs: Iterator[Array], rng: np.random.Generator) -> Iterator[Array]:
    """Yield inputs, each changed so that in its windows every cell wins once, and every pair of
    cells ties once.

    Every plane (sample and channel) plants one cell or one pair, in as many windows as share no
    cell.
    """
    if not isinstance(pool, (MaxPool, MinPool)):
        return
    some = window_table(pool)
    each = range(some.cells.shape[1])
    jobs: list[tuple[int, ...]] = [(cell,) for cell in each]
    jobs += combinations(each, 2)
    done = count = 0
    while done < len(jobs) and count < PLANTED:
        x = next(inputs)
        planes = x.reshape(-1, int(np.prod(pool.in_spatial)))
        for plane, job in zip(planes, jobs[done:], strict=False):
            _plant(pool, some, plane, job, rng)
        done, count = done + len(planes), count + 1
        yield x


def _plant(
    pool: Pool, some: WindowTable, plane: Array, job: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Make the chosen cells the largest (of a min pool the smallest) of some windows that share no cell."""
    top = plane.max() + 1 if isinstance(pool, MaxPool) else plane.min() - 1
    able = np.flatnonzero((some.cells[:, list(job)] >= 0).all(axis=1))
    taken = np.zeros(plane.size + 1, bool)
    for window in rng.permutation(able)[:TRIED]:
        cells = some.cells[window]
        if not taken[cells].any():
            plane[cells[list(job)]] = top
            taken[cells] = True
            taken[-1] = False  # absent cells belong to no window


class WindowCoverage:
    """Which cells of a window were seen to win alone, and which pairs of them to tie; it grows as inputs are seen."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.windows = pool, window_table(pool)
        n = self.windows.cells.shape[1]
        self.alone, self.pairs = np.zeros(n, bool), np.zeros((n, n), bool)

    def see(self, x: Array) -> None:
        """Take in one input, (batch, channels, *axes)."""
        sign, cells = 1 if isinstance(self.pool, MaxPool) else -1, self.windows.cells
        for plane in x.reshape(-1, int(np.prod(self.pool.in_spatial))):
            values = np.where(
                cells >= 0, sign * plane[cells].astype(np.float64), -np.inf
            )  # (windows, cells)
            best = values == values.max(axis=-1, keepdims=True)
            self.alone |= best[best.sum(axis=1) == 1].any(axis=0)
            self.pairs |= best.T.astype(np.float32) @ best.astype(np.float32) > 0

    @property
    def shares(self) -> tuple[float, float]:
        """The share of cells that won alone, and of pairs that tied, among those that stand in one window together."""
        there = (self.windows.cells >= 0).astype(np.float32)
        possible = np.triu(there.T @ there > 0, 1)
        pairs = int(possible.sum())
        return float(self.alone.mean()), float(
            (self.pairs & possible).sum() / pairs
        ) if pairs else 1.0
