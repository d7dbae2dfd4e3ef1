"""Inputs in which chosen cells of a pool's windows win or tie, and which of them were seen to."""

from collections.abc import Iterator
from itertools import combinations
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import Pool
from convdense.rounding.pool_bounds import WindowTable, window_table

PLANTED = 64  # inputs at most in which cells are made to win or to tie
TRIED = 64  # windows that an input plants its cells in, at most


def planted(pool: Pool, inputs: Iterator[Array], rng: np.random.Generator) -> Iterator[Array]:
    """Yield inputs changed so that every cell of a window wins once, and every pair ties once.

    Every plane (sample and channel) plants one cell or one pair, in as many windows as share no
    cell. Nothing for pools that sum.
    """
    if not pool.extremum:
        return
    windows = window_table(pool)
    each = range(windows.cells.shape[1])
    jobs: list[tuple[int, ...]] = [(cell,) for cell in each]
    jobs += combinations(each, 2)

    done = 0
    for _ in range(PLANTED):
        if done >= len(jobs):
            return
        x = next(inputs)
        planes = x.reshape(-1, prod(pool.in_spatial))
        for plane, job in zip(planes, jobs[done:], strict=False):
            _plant(pool, windows, plane, job, rng)
        done += len(planes)
        yield x


def _plant(
    pool: Pool, windows: WindowTable, plane: Array, job: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Make the chosen cells win some windows that share no cell; of a min pool the smallest win."""
    best = pool.extremum * (pool.extremum * plane).max() + pool.extremum
    chosen = list(job)
    able = np.flatnonzero((windows.cells[:, chosen] >= 0).all(axis=1))
    taken = np.zeros(plane.size + 1, bool)  # one more, at -1, for the cells that are absent
    for window in rng.permutation(able)[:TRIED]:
        cells = windows.cells[window]
        if not taken[cells].any():
            plane[cells[chosen]] = best
            taken[cells] = True
            taken[-1] = False


class WindowCoverage:
    """Which cells of a window were seen to win alone, and which pairs of them to tie.

    It grows as inputs are seen.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.windows: WindowTable = window_table(pool)
        n = self.windows.cells.shape[1]
        self.alone: Array = np.zeros(n, bool)
        self.pairs: Array = np.zeros((n, n), bool)

    def see(self, x: Array) -> None:
        """Take in one input, (batch, channels, *axes)."""
        cells = self.windows.cells
        for plane in x.reshape(-1, prod(self.pool.in_spatial)):
            signed = self.pool.extremum * plane[cells].astype(np.float64)
            values = np.where(cells >= 0, signed, -np.inf)  # (windows, cells)
            best = values == values.max(axis=-1, keepdims=True)
            self.alone |= best[best.sum(axis=1) == 1].any(axis=0)
            # floats, whose products BLAS takes; a product counts the windows in which both are best
            self.pairs |= best.T.astype(np.float32) @ best.astype(np.float32) > 0

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of cells that won alone, and of pairs in one window that tied."""
        there = (self.windows.cells >= 0).astype(np.float32)
        possible = np.triu(there.T @ there > 0, 1)  # pairs that stand in one window together
        pairs = int(possible.sum())
        tied = float((self.pairs & possible).sum() / pairs) if pairs else 1.0
        return float(self.alone.mean()), tied
