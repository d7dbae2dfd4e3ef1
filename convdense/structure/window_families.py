"""Rows of a matrix that one small dense product serves, and what that costs.

Neighbouring rows of the last axis may be taken together, as one block of the Toeplitz matrix: more
products, many of them with 0, but fewer copies, and an output channel becomes as many rows of the
dense product. For one channel and a large kernel that is the faster way by far.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.structure.row_runs import Piece, Run
from convdense.structure.sliding import Cells, Sliding

BLOCKS = 1, 2, 4, 8, 16, 32, 64  # rows of the last axis that are taken together

# Nanoseconds, measured with one thread on a 2.5 GHz core with AVX-512; only their ratios matter.
CALL = 150_000.0  # of one family, whatever its size
PART = 100_000.0  # of each of its parts, about as large as a slab
SLAB = 1 << 22  # bytes gathered for one product: few enough for a cache, worth a call of Python's
PADDED_COPY = 3.0  # a byte of padded cells, where some are copies: they are gathered one by one
BYTE_COPIED = 0.25  # of a gathered input, written and read once more
RUN_COPIED = 15.0  # of each stretch of them that lies in one piece
PRODUCT = {"f4": 0.03, "f8": 0.06, "c8": 0.12, "c16": 0.24}  # and one addition, in a large product
INTEGER_PRODUCT = 1.0  # NumPy's own, without BLAS
THIN = 8.0  # a product of few rows takes as long as one with so many more


class Family(NamedTuple):
    """Rows of the matrix that share a pattern: groups of channels, alike, and a run of each axis.

    Entries are inputs that are gathered for a row, or for a block of rows.
    """

    heads: tuple[Run, ...]  # of axis 0, one for each group; one for all, where they are `own`
    rest: Piece  # of the other axes
    wide: Piece  # the same; the last counts blocks of rows, and has the columns of all of them
    block: int  # rows of the last axis in a block

    @property
    def own(self) -> bool:
        """Whether every output of axis 0 is a group that reads inputs of its own (depthwise)."""
        return self.heads[0].col_step != 0

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return self.heads[0].count if self.own else len(self.heads)

    @property
    def rows(self) -> int:
        """Rows of the dense product of a group: outputs of axis 0, times rows in a block."""
        return self.block * self.outputs

    @property
    def outputs(self) -> int:
        """Outputs of axis 0 in a group."""
        return 1 if self.own else self.heads[0].count

    @property
    def entries(self) -> int:
        """Columns of its weights: inputs gathered for a row, or for a block of rows."""
        return len(self.heads[0].cols) * prod(len(run.cols) for run in self.wide)

    @property
    def positions(self) -> int:
        """Places, or blocks of places, of one output channel."""
        return prod(run.count for run in self.wide)

    def channel(self, of: str) -> tuple[int, int]:
        """Return "start", "cols" or "taps" of the first group, and what each further one adds."""
        head = self.heads[0]
        if self.own:
            step = {"start": head.step, "cols": head.col_step, "taps": head.tap_step}[of]
            return int(np.ravel(getattr(head, of))[0]), step
        first = [int(np.ravel(getattr(run, of))[0]) for run in self.heads[:2]]
        return first[0], first[-1] - first[0]


class Windows(NamedTuple):
    """What products with a matrix need beside its weights."""

    shape: tuple[int, ...]  # outputs of each axis
    cells: tuple[Cells, ...]  # of each axis but the first
    families: tuple[Family, ...]


def windows(
    shape: Sequence[int],
    heads: Sequence[Run],
    axes: Sequence[Sliding],
    dtype: np.dtype[Any],
    batch: int,
    *,
    blocks: Sequence[int] = BLOCKS,
) -> Windows:
    """Return the families of a matrix, each in those of the blocks that take least time.

    `shape` has the outputs of each axis, `heads` the runs of the first, `axes` the others.
    """
    families = []
    for alike in _alike(heads):
        for rest in product(*(of_axis.runs for of_axis in axes)):
            runs = (alike[0], *rest)
            if all(run.count and len(run.cols) for run in runs):
                ways = [_in_blocks(alike, rest, n) for n in blocks]
                possible = [way for way in ways if way is not None]
                families.append(min(possible, key=lambda way: cost(way, dtype, batch)))
    return Windows(tuple(shape), tuple(s.cells for s in axes), tuple(families))


def cost(family: Family, dtype: np.dtype[Any], batch: int) -> float:
    """Return about how many nanoseconds a product takes: bytes moved, and products."""
    columns = family.groups * family.positions * batch
    gathered = columns * family.entries
    size = dtype.itemsize
    moved = size * BYTE_COPIED * columns * family.rows * (1 if family.block == 1 else 2)
    if not all(len(run.cols) == 1 and run.col_step == 1 for run in family.wide):
        side_by_side = max(_stretch(family, batch), _beside(family, batch))
        moved += gathered * (size * BYTE_COPIED + RUN_COPIED / side_by_side)
    each = PRODUCT.get(dtype.str[1:], INTEGER_PRODUCT)
    parts = max(1.0, gathered * size / SLAB)
    return CALL + PART * parts + moved + each * gathered * (family.rows + THIN)


def padding_cost(found: Windows, inputs: int, dtype: np.dtype[Any]) -> float:
    """Return about how many nanoseconds it takes to write out the padded cells of all inputs."""
    has_copies = any(cells.copied for cells in found.cells)
    return inputs * dtype.itemsize * (PADDED_COPY if has_copies else BYTE_COPIED)


def _stretch(family: Family, batch: int) -> int:
    """Return how many inputs lie side by side that one entry meets."""
    last = family.wide[-1] if family.wide else None
    return batch * (last.count if last is not None and last.col_step == 1 else 1)


def _beside(family: Family, batch: int) -> int:
    """Return how many inputs lie side by side that one place meets."""
    if batch > 1 or not family.wide:
        return 1
    last = family.wide[-1]
    return len(last.cols) if spacing(last.cols) == 1 else 1


def by_place(family: Family, batch: int) -> bool:
    """Tell whether inputs are gathered place by place."""
    return _beside(family, batch) > _stretch(family, batch)


def _alike(heads: Sequence[Run]) -> Iterator[tuple[Run, ...]]:
    """Yield the runs of axis 0 in families: groups of channels, evenly spaced."""
    family: list[Run] = []
    for run in heads:
        if family and not _continues(family, run):
            yield tuple(family)
            family = []
        family.append(run)
    if family:
        yield tuple(family)


def _continues(family: list[Run], run: Run) -> bool:
    """Tell whether a run is like those before it, and as far away as they are from each other."""
    last = family[-1]
    sizes = [(r.count, r.step, r.col_step, r.tap_step, len(r.cols)) for r in (last, run)]
    if sizes[0] != sizes[1] or run.col_step or not len(run.cols):
        return False
    steps = _distance(last, run)
    if len(family) > 1:
        return np.array_equal(steps, _distance(family[-2], last))
    entries = len(run.cols)
    return len(set(steps[:entries].tolist())) == 1 == len(set(steps[entries:-1].tolist()))


def _distance(a: Run, b: Run) -> Array:
    """Return how far columns, taps and start of one run are from those of another, in a row."""
    return np.concatenate((b.cols - a.cols, b.taps - a.taps, [b.start - a.start]))


def _in_blocks(heads: tuple[Run, ...], rest: Piece, block: int) -> Family | None:
    """Return a family with so many rows of the last axis taken together; None if they cannot be."""
    if block == 1:
        return Family(heads, rest, rest, 1)
    last = rest[-1] if rest else None
    if last is None or last.count < block or last.col_step <= 0 or len(last.cols) == 1:
        return None
    gap = spacing(last.cols)
    if not gap:  # uneven, or several taps that meet in one cell
        return None
    # The rows of a block meet every g-th cell, from the first entry of its first row to the last
    # of its last one.
    g = gcd(gap, last.col_step)
    span = int(last.cols[-1] - last.cols[0]) + (block - 1) * last.col_step
    cols = last.cols[0] + np.arange(0, span + 1, g)
    run = replace(
        last,
        step=block * last.step,
        count=-(-last.count // block),
        cols=cols,
        col_step=block * last.col_step,
        taps=np.zeros_like(cols),
    )
    return Family(heads, rest, (*rest[:-1], run), block)


def spacing(numbers: Array) -> int | None:
    """Return the constant distance of positions along an axis, 1 for a single one, or None."""
    if len(numbers) == 1:
        return 1
    steps = np.diff(numbers)
    return int(steps[0]) if (steps == steps[0]).all() else None


def cells_of(family: Family) -> tuple[Array, int]:
    """Return which column of a block each row and entry of the last axis meets, (block, entries).

    The second number counts the columns of a block.
    """
    last, wide = family.rest[-1], family.wide[-1]
    g = int(wide.cols[1] - wide.cols[0])
    rows = np.arange(family.block)[:, None] * last.col_step
    return (rows + last.cols - last.cols[0]) // g, len(wide.cols)
