"""Right kernels in plain NumPy, by index arithmetic of their own; an exhibit overrides a step.

Along each axis a table says which cell is met by an output (of a transposed convolution: by an
input) with a tap; whatever lies outside counts as zero.
"""

from functools import reduce
from itertools import zip_longest
from math import prod

import numpy as np

import convdense as cd


def positions(places, taps, stride=1, dilation=1, begin=0):
    """Return (places, taps): the cell that a place of an output meets with a tap."""
    return np.arange(places)[:, None] * stride + np.arange(taps) * dilation - begin


def grid(cells, sizes):
    """Return index arrays that broadcast to (*places, *taps), and where they are inside."""
    n, index, inside = len(cells), [], []
    for axis, (cell, size) in enumerate(zip(cells, sizes, strict=True)):
        shape = [1] * (2 * n)
        shape[axis], shape[n + axis] = cell.shape
        index.append(np.clip(cell, 0, size - 1).reshape(shape))
        inside.append(((cell >= 0) & (cell < size)).reshape(shape))
    return tuple(index), reduce(np.logical_and, inside)


def counts(cells):
    """Return how many places and how many taps there are in all."""
    return prod(len(cell) for cell in cells), prod(cell.shape[1] for cell in cells)


def gather(x, cells):
    """Return (batch, channels, places, taps): what every place meets."""
    index, inside = grid(cells, x.shape[2:])
    met = np.where(inside, x[(slice(None), slice(None), *index)], x.dtype.type(0))
    return met.reshape(*x.shape[:2], *counts(cells))


def scatter(columns, cells, sizes):
    """Return the sum of (batch, channels, places, taps) over what meets each cell."""
    index, inside = grid(cells, sizes)
    flat = np.ravel_multi_index(np.broadcast_arrays(*index), sizes).ravel()
    columns = columns.reshape(prod(columns.shape[:2]), -1)
    columns = np.where(inside.ravel(), columns, columns.dtype.type(0))
    total = np.zeros((prod(sizes), len(columns)), columns.dtype)
    np.add.at(total, flat, columns.T)
    return total.T


def wide(array):
    """Return integers as the 32 bits they are summed in."""
    return array.astype(np.int32) if array.dtype.kind in "iu" else array


def plus(y, b):
    return y if b is None else y + wide(b).reshape(-1, *[1] * (y.ndim - 2))


def by_group(array, groups):
    """Return (batch, groups, channels of a group, rest)."""
    return array.reshape(len(array), groups, array.shape[1] // groups, prod(array.shape[2:]))


class Layered:
    """Shared by all: the layer, and whether it is the code before the fix or after."""

    def __init__(self, layer, fixed=True):
        self.layer, self.fixed = layer, fixed
        self.groups = getattr(layer, "groups", 1)

    def begin(self, axis):
        return self.layer.padding[axis][0]

    def all_cells(self, of):
        return [self.cells(axis, of) for axis in range(len(self.layer.in_spatial))]

    def columns(self, x, of):
        """Return (batch, groups, channels of a group times taps, places)."""
        cells = self.all_cells(of)
        met = gather(x, cells).swapaxes(2, 3)
        return met.reshape(len(x), self.groups, -1, counts(cells)[0])

    def spread(self, columns, channels, of, sizes):
        """Add what `columns` returns to the cells met: (batch, channels, *sizes)."""
        cells = self.all_cells(of)
        places, taps = counts(cells)
        shape = len(columns), channels, taps, places
        columns = columns.reshape(shape).swapaxes(2, 3)
        return scatter(columns, cells, sizes).reshape(*shape[:2], *sizes)


class Direct(Layered):
    """A convolution."""

    def cells(self, axis, of):
        layer = self.layer
        return positions(
            layer.out_spatial[axis],
            layer.kernel[axis],
            layer.stride[axis],
            layer.dilation[axis],
            self.begin(axis),
        )

    def y(self, x, w):
        x, w = wide(x), wide(w)
        y = w.reshape(self.groups, len(w) // self.groups, -1) @ self.columns(x, "y")
        return y.reshape(len(x), *self.layer.out_shape)

    def dx(self, x, w, dy):
        w = w.reshape(self.groups, len(w) // self.groups, -1)
        columns = w.swapaxes(1, 2) @ by_group(dy, self.groups)
        return self.spread(columns, self.layer.in_shape[0], "dx", self.layer.in_spatial)

    def dw(self, x, w, dy):
        pairs = by_group(dy, self.groups) @ self.columns(x, "dw").swapaxes(2, 3)
        return pairs.sum(axis=0).reshape(w.shape)

    def db(self, dy):
        return dy.sum(axis=(0, *range(2, dy.ndim)))

    def forward(self, x, w, b=None):
        return plus(self.y(x, w), b)

    def backward(self, x, w, dy):
        return self.dx(x, w, dy), self.dw(x, w, dy), self.db(dy)


class Transposed(Layered):
    """A transposed convolution: an input cell adds its kernel to the output."""

    def cells(self, axis, of):
        layer = self.layer
        return positions(
            layer.in_spatial[axis],
            layer.kernel[axis],
            layer.stride[axis],
            layer.dilation[axis],
            self.begin(axis),
        )

    def y(self, x, w):
        w = w.reshape(self.groups, len(w) // self.groups, -1)
        columns = w.swapaxes(1, 2) @ by_group(x, self.groups)
        return self.spread(columns, self.layer.out_channels, "y", self.layer.out_spatial)

    def dx(self, x, w, dy):
        dx = w.reshape(self.groups, len(w) // self.groups, -1) @ self.columns(dy, "dx")
        return dx.reshape(x.shape)

    def dw(self, x, w, dy):
        pairs = by_group(x, self.groups) @ self.columns(dy, "dw").swapaxes(2, 3)
        return pairs.sum(axis=0).reshape(w.shape)

    db, forward, backward = Direct.db, Direct.forward, Direct.backward


class Windows(Layered):
    """A pool: largest cell, the first of several; mean; or sum."""

    def cells(self, axis, of):
        layer = self.layer
        if layer.output is not None:
            return self.parts(layer.in_spatial[axis], layer.output[axis], of)
        return positions(
            layer.out_spatial[axis],
            layer.kernel[axis],
            layer.stride[axis],
            layer.dilation[axis],
            self.begin(axis),
        )

    def parts(self, n, m, of):
        """Return the cells of each of m windows over n cells, -1 where a window has fewer."""
        rows = [range(o * n // m, -(-(o + 1) * n // m)) for o in range(m)]
        return np.array(list(zip_longest(*rows, fillvalue=-1))).T

    def inside(self, of):
        """Return (places, taps): whether a window has a cell there."""
        cells = self.all_cells(of)
        return grid(cells, self.layer.in_spatial)[1].reshape(counts(cells))

    def is_counted(self, axis, of):
        """Return (places, taps): what counts in the divisor of a mean, along one axis."""
        cell, n = self.cells(axis, of), self.layer.in_spatial[axis]
        begin, end = self.layer.padding[axis]
        if not self.layer.count_include_pad:
            begin = end = 0
        return (cell >= -begin) & (cell < n + end)

    def divisors(self, of):
        if self.layer.divisor_override is not None:
            return self.layer.divisor_override
        sizes = (self.is_counted(a, of).sum(axis=1) for a in range(len(self.layer.in_spatial)))
        return reduce(np.multiply.outer, sizes).ravel()

    def winners(self, x, of="dx"):
        """Return (batch, channels, places, taps): 1 for the first largest cell of a window."""
        met = np.where(self.inside(of), gather(x, self.all_cells(of)), -np.inf)
        first = met.argmax(axis=-1)[..., None]
        return (np.arange(met.shape[-1]) == first).astype(x.dtype)

    def forward(self, x):
        met, inside = gather(x, self.all_cells("y")), self.inside("y")
        if isinstance(self.layer, cd.MaxPool):
            y = np.where(inside, met, -np.inf).max(axis=-1)
        else:
            y = np.where(inside, met, 0).sum(axis=-1) / self.divisors("y")
        return y.reshape(len(x), *self.layer.out_shape)

    def shares(self, x, dy):
        """Return (batch, channels, places, taps): what each cell of a window gets."""
        dy = dy.reshape(*dy.shape[:2], -1)
        if isinstance(self.layer, cd.MaxPool):
            return self.winners(x) * dy[..., None]
        return self.inside("dx") * (dy / self.divisors("dx"))[..., None]

    def backward(self, x, dy):
        return scatter(self.shares(x, dy), self.all_cells("dx"), x.shape[2:]).reshape(x.shape)


def in_memory(array):
    """Return the numbers as they lie in memory from where an array starts, taken for contiguous.

    Where that runs over the end of what belongs to the array, it starts again at its beginning.
    """
    cells, start = buffer(array)
    return cells[(start + np.arange(array.size)) % cells.size].reshape(array.shape)


def buffer(array):
    """Return all numbers of the memory that an array is a part of, and where it starts."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    low = np.lib.array_utils.byte_bounds(root)[0]
    start = (array.__array_interface__["data"][0] - low) // array.itemsize
    cells = np.lib.stride_tricks.as_strided(
        root.ravel(order="K"), (root.size,), (root.itemsize,), writeable=False
    )
    return cells, start


def is_channels_last(array):
    """Return whether the channels lie side by side, and more than one of them."""
    moved = np.moveaxis(array, 1, -1)
    return moved.strides[-1] == array.itemsize and not array.flags.c_contiguous
