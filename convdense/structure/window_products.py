"""Products of windows with weights, and their gradient: im2col, in parts of the size of a cache.

Where rows of the matrix meet the same weights (see `window_families`), their inputs are gathered
side by side, and one small dense product serves all of them.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.threads import SPREAD_FROM, spread
from convdense.structure.csr_assembly import taps_index, weights_of_piece
from convdense.structure.sliding import Cells, inside, is_inside, pad
from convdense.structure.window_families import (
    SLAB,
    THIN,
    Family,
    Windows,
    by_place,
    cells_of,
    spacing,
)

COLUMNS = 256  # columns of a product, at least: fewer would read the weights too often
ROWS = 128  # rows of a product, at least, where it is cut along them
PARTS = 4  # of a product that is worth threads, at least


def family_weights(family: Family, grid: Array) -> Array:
    """Return the weights of a family as dense matrices, (groups, rows, entries).

    Where all groups have the same weights there is one matrix for all of them.
    """
    head = family.heads[0]
    each = [weights_of_piece(grid, (run, *family.rest)) for run in family.heads]
    # (groups, outputs, entries of axis 0, ..., entries of the last axis)
    entries = [len(run.cols) for run in (head, *family.rest)]
    outputs = family.outputs
    if family.own:
        weights = each[0].reshape(-1, 1, *entries)
    else:
        weights = np.stack([w.reshape(-1, *entries) for w in each])
        weights = np.broadcast_to(weights, (len(each), outputs, *entries))
    if family.block > 1:
        meets, columns = cells_of(family)
        spread_out = np.zeros(
            (*weights.shape[:2], family.block, *entries[:-1], columns), grid.dtype
        )
        for row, cells in enumerate(meets):
            spread_out[:, :, row, ..., cells] = np.moveaxis(weights, -1, 0)
        weights = spread_out
    return np.ascontiguousarray(weights.reshape(len(weights), family.rows, family.entries))


def multiply(found: Windows, weights: Sequence[Array], x: Array) -> Array:
    """Return ``W x`` for columns x of shape (*inputs of each axis, batch).

    The result has the shape (*outputs of each axis, batch). `weights` has what `family_weights`
    makes of each family.
    """
    batch = x.shape[-1]
    y = np.zeros((*found.shape, batch), np.result_type(x, *weights))
    if not batch:
        return y
    for family, matrices in zip(found.families, weights, strict=True):
        space = Workspace(y.dtype)
        of = family, _reach(found.cells, family)
        run = partial(_multiply_part, of, matrices, x, y, space=space)
        for _ in spread(run, list(_parts(family, y.dtype, batch)), _operations(family, batch)):
            pass
    return y


def _multiply_part(
    of: "tuple[Family, Reach]",
    weights: Array,
    x: Array,
    y: Array,
    part: "Part",
    *,
    space: "Workspace",
) -> None:
    """Write the products of a part where they belong in y."""
    family, reach = of
    inputs = _inputs(x, reach, part, space)
    columns = _columns(inputs, family, space)  # (groups, entries, places and batch)
    groups, rows = part.at(family)
    shared = len(weights) == 1  # by all groups
    own = weights[slice(None) if shared else groups, rows]  # (groups, rows, entries)
    shape = (len(columns), own.shape[1], columns.shape[2])
    _write(y, family, part, np.matmul(own, columns, out=space.array("products", shape)))


def gradient_by_tap(found: Windows, grid_shape: Sequence[int], x: Array, dy: Array) -> Array:
    """Return the tied gradient for each tap, an axis for those of each axis: `grid_shape`.

    Every output o that reads input i through tap t adds ``dy[o] x[i]`` to the gradient of t. Over a
    family that is one matrix product of upstream gradients and gathered inputs, summed over places
    and batch. x, conjugated, and dy are (batch, *axes).
    """
    grid = np.zeros(grid_shape, np.result_type(x, dy))
    batch = len(x)
    if not batch:
        return grid
    columns = np.moveaxis(x, 0, -1)
    upstream = np.moveaxis(dy, 0, -1)
    for family in found.families:
        parts = list(_parts(family, grid.dtype, batch))
        of = family, _reach(found.cells, family)
        run = partial(_gradient_part, of, columns, upstream, Workspace(grid.dtype))
        total = np.zeros((family.groups, family.rows, family.entries), grid.dtype)
        products = spread(run, parts, _operations(family, batch))
        for part, tied in zip(parts, products, strict=True):
            total[part.at(family)] += tied
        _add(grid, family, total)
    return grid


def _gradient_part(
    of: "tuple[Family, Reach]", x: Array, dy: Array, space: "Workspace", part: "Part"
) -> Array:
    """Return the gradient of the weights of a part, (groups, rows, entries)."""
    family, reach = of
    inputs = _inputs(x, reach, part, space)
    inputs = np.moveaxis(inputs, -1, 1 + inputs.ndim // 2)  # the batch before the places
    columns = _columns(inputs, family, space)
    return np.asarray(_upstream(dy, family, part) @ columns.swapaxes(1, 2))


class Workspace(threading.local):
    """Arrays that a thread uses again, part by part: new memory costs more than filling it."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.held: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return an array of this shape, whatever is in it."""
        size = prod(shape)
        if name not in self.held or self.held[name].size < size:
            self.held[name] = np.empty(size, self.dtype)
        return self.held[name][:size].reshape(shape)


Some = tuple[int, int]  # the first of some, and how many
Places = tuple[Some, ...]  # of each axis but the first


class Part(NamedTuple):
    """Some groups of a family, some outputs of axis 0 in each, at some places."""

    groups: Some
    outputs: Some
    places: Places

    def at(self, family: Family) -> tuple[slice, slice]:
        """Return which groups these are, and which rows of their product."""
        (group, n_groups), (output, outputs) = self.groups, self.outputs
        first, rows = output * family.block, outputs * family.block
        return slice(group, group + n_groups), slice(first, first + rows)


def _operations(family: Family, batch: int) -> float:
    """Return roughly how many products and copies a family takes."""
    columns = family.positions * batch
    return float(family.groups * family.entries * columns * (family.rows + THIN))


def _parts(family: Family, dtype: np.dtype[Any], batch: int) -> Iterator[Part]:
    """Cut a family until what a part gathers fits the cache, and there are parts for all cores.

    Groups are cut first, then places, where enough are left for a product, then its rows.
    """
    outputs = family.outputs
    least = PARTS if _operations(family, batch) >= SPREAD_FROM else 1
    columns = family.positions * batch
    size = family.entries * columns * dtype.itemsize  # bytes of a group
    together = max(1, min(SLAB // size, family.groups // least))
    cuts = -(-size // SLAB) if family.groups >= least else max(-(-size // SLAB), least)
    places = max(COLUMNS, family.rows // 2, columns // cuts) // batch
    pieces = list(_cut([run.count for run in family.wide], max(1, places)))
    has_enough = len(pieces) * family.groups >= least
    rows = outputs if has_enough else max(ROWS, -(-outputs // least))
    for first in range(0, family.groups, together):
        groups = first, min(together, family.groups - first)
        for piece in pieces:
            for start in range(0, outputs, rows):
                yield Part(groups, (start, min(rows, outputs - start)), piece)


def _cut(counts: Sequence[int], most: int) -> Iterator[Places]:
    """Cut places until there are at most so many together, along the first axes."""
    places = prod(counts)
    axis = next((i for i, n in enumerate(counts) if n > 1), None)
    if places <= most or axis is None:
        yield tuple((0, n) for n in counts)
        return
    step = max(1, most * counts[axis] // places)
    for first in range(0, counts[axis], step):
        count = min(step, counts[axis] - first)
        for part in _cut((*counts[:axis], count, *counts[axis + 1 :]), most):
            at, n = part[axis]
            yield (*part[:axis], (first + at, n), *part[axis + 1 :])


class Reach(NamedTuple):
    """Which inputs a family meets, along each axis: of its first group and place, and the next."""

    cells: tuple[Cells, ...]  # of each axis but the first
    entries: tuple[Array, ...]  # of the first group and place, (entries,) each
    gaps: tuple[int, ...] | None  # between them; None where they are not evenly spaced
    bases: tuple[int, ...]  # the first of them
    spans: tuple[int, ...]  # from the first to the last
    steps: tuple[int, ...]  # what the next group or place adds


def _reach(cells: tuple[Cells, ...], family: Family) -> Reach:
    _, step = family.channel("cols")
    entries = (family.heads[0].cols, *(run.cols for run in family.wide))
    gaps = tuple(gap for gap in map(spacing, entries) if gap is not None)
    return Reach(
        cells,
        entries,
        gaps if len(gaps) == len(entries) else None,
        tuple(int(cols[0]) for cols in entries),
        tuple(int(cols[-1] - cols[0]) for cols in entries),
        (step, *(run.col_step for run in family.wide)),
    )


def _inputs(x: Array, reach: Reach, part: Part, space: Workspace) -> Array:
    """Return the inputs that each entry meets at each place, a view if they are evenly spaced.

    (groups, *entries of each axis, *places of each axis but the first, batch). The padded cells of
    the part are written out, where it has any.
    """
    firsts, counts = zip(part.groups, *part.places, strict=True)
    low, high, corner = [], [], []
    numbers = zip(reach.bases, reach.spans, reach.steps, firsts, counts, strict=True)
    for base, span, step, first, count in numbers:
        at, far = base + first * step, (count - 1) * step
        low.append(at + min(0, far))
        high.append(at + span + max(0, far) + 1)
        corner.append(-min(0, far))
    x = x[low[0] : high[0]]
    ranges = list(zip(low[1:], high[1:], strict=True))
    if is_inside(reach.cells, ranges):
        padded = inside(x, reach.cells, ranges)
    else:
        sizes = (stop - start for start, stop in ranges)
        padded = space.array("padded", (len(x), *sizes, x.shape[-1]))
        pad(x, reach.cells, ranges, padded)

    n = len(counts)
    if reach.gaps is None:
        index = []
        numbers_of = zip(reach.entries, reach.bases, reach.steps, counts, corner, strict=True)
        for i, (cols, base, step, count, start) in enumerate(numbers_of):
            alone = [1] * (2 * n)
            alone[i], alone[n + i] = len(cols), count
            places = (cols - base + start)[:, None] + np.arange(count) * step
            index.append(places.reshape(alone))
        return np.moveaxis(padded[tuple(index)], n, 0)
    sizes_of = padded.strides
    by_entry = [gap * size for gap, size in zip(reach.gaps, sizes_of, strict=False)]
    by_place = [step * size for step, size in zip(reach.steps, sizes_of, strict=False)]
    return np.lib.stride_tricks.as_strided(
        padded[tuple(slice(start, None) for start in corner)],
        (counts[0], *map(len, reach.entries), *counts[1:], padded.shape[-1]),
        (by_place[0], *by_entry, *by_place[1:], sizes_of[-1]),
    )


def _columns(inputs: Array, family: Family, space: Workspace) -> Array:
    """Return inputs side by side, (groups, entries, places and batch): im2col.

    They are gathered where they do not lie so already.
    """
    n = inputs.ndim // 2  # axes of entries
    shape = len(inputs), prod(inputs.shape[1 : n + 1]), prod(inputs.shape[n + 1 :])
    if all(len(run.cols) == 1 and run.col_step == 1 for run in family.wide):
        return inputs.reshape(shape)
    if by_place(family, inputs.shape[-1]):
        # One place after the other: the inputs of each lie side by side.
        places = inputs.transpose(0, *range(n + 1, inputs.ndim), *range(1, n + 1))
        gathered = space.array("columns", places.shape)
        gathered[...] = places
        return gathered.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2)
    gathered = space.array("columns", inputs.shape)
    gathered[...] = inputs
    return gathered.reshape(shape)


def _write(y: Array, family: Family, part: Part, products: Array) -> None:
    """Write products, (groups, rows, places and batch), where they belong in y."""
    target = _target(y, family, part)
    places = [count for _, count in part.places]
    if family.block == 1:
        target[...] = products.reshape(target.shape)
        return
    shaped = products.reshape(*target.shape[:2], family.block, *places, y.shape[-1])
    # A block's rows go behind its place: (groups, outputs, ..., blocks and their rows, batch).
    behind = np.moveaxis(shaped, 2, -2)
    merged = behind.reshape(*behind.shape[:-3], -1, y.shape[-1])
    target[...] = merged[..., : target.shape[-2], :]


def _upstream(dy: Array, family: Family, part: Part) -> Array:
    """Return the upstream gradients of a part, (groups, rows, batch and places)."""
    source = np.moveaxis(_target(dy, family, part), -1, 2)  # (groups, outputs, batch, *places)
    n_groups, outputs, _, *counts = source.shape
    if family.block > 1:
        blocks = part.places[-1][1]
        whole = np.zeros((*source.shape[:-1], blocks * family.block), dy.dtype)
        whole[..., : counts[-1]] = source
        in_blocks = whole.reshape(*source.shape[:-1], blocks, family.block)
        source = np.moveaxis(in_blocks, -1, 2)  # (groups, outputs, block, batch, *places)
    return source.reshape(n_groups, outputs * family.block, -1)


def _target(y: Array, family: Family, part: Part) -> Array:
    """Return the view of the outputs of a part, (groups, outputs, *places, batch)."""
    first, group_step = family.channel("start")
    step = family.heads[0].step
    (group, n_groups), (output, outputs) = part.groups, part.outputs
    corner = [first + group * group_step + output * step]
    counts, steps = [n_groups, outputs], [group_step, step]
    for i, (run, (place, count)) in enumerate(zip(family.rest, part.places, strict=True)):
        block = family.block if i == len(part.places) - 1 else 1
        corner.append(run.start + place * block * run.step)
        counts.append(min(count * block, run.count - place * block))
        steps.append(run.step)
    sizes = (y.strides[0], *y.strides[:-1])
    strides = [step * size for step, size in zip(steps, sizes, strict=True)]
    return np.lib.stride_tricks.as_strided(
        y[tuple(slice(start, None) for start in corner)],
        (*counts, y.shape[-1]),
        (*strides, y.strides[-1]),
    )


def _add(grid: Array, family: Family, total: Array) -> None:
    """Add the gradient of a family's weights, (groups, rows, entries), to those of the taps."""
    head = family.heads[0]
    outputs = family.outputs
    before = [len(run.cols) for run in (head, *family.rest[:-1])]
    if family.block > 1:
        meets, columns = cells_of(family)
        tied = total.reshape(family.groups, outputs, family.block, *before, columns)
        # (groups, outputs, entries of each axis), summed over the rows of a block
        rows = [tied[:, :, row][..., cells] for row, cells in enumerate(meets)]
        total = np.sum(rows, axis=0, dtype=grid.dtype)
    entries = [len(run.cols) for run in (head, *family.rest)]
    total = total.reshape(family.groups, outputs, *entries)
    if head.tap_step == 0:  # all outputs of axis 0 share their weights
        axes = (0, 1) if family.own else (1,)
        total = total.sum(axis=axes, keepdims=True, dtype=grid.dtype)
    if family.own:
        add_at(grid, taps_index((head, *family.rest)), total)
        return
    for run, of_group in zip(family.heads, total, strict=True):
        add_at(grid, taps_index((run, *family.rest)), of_group)


def add_at(grid: Array, index: tuple[Array, ...], values: Array) -> None:
    """Add values to the grid at an index as `taps_index` makes it."""
    values = values.reshape(np.broadcast_shapes(*(of_axis.shape for of_axis in index)))
    if all(len(np.unique(of_axis)) == of_axis.size for of_axis in index):
        grid[index] += values
    else:  # a weight occurs twice, where += would keep one of its values
        np.add.at(grid, index, values)
