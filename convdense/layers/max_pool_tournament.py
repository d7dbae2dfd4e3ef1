"""Max and min pooling as a network: a tournament of ``max(x, y) = (x + y + |x - y|) / 2``, dense layers and |.|."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain, finite
from convdense._util.deprecation import renamed_attribute
from convdense.geometry import MaxPool, MinPool, Pool, paired_samples, samples
from convdense.layers.activations import Abs
from convdense.layers.base import OfPool, as_samples, floating
from convdense.layers.constant import Fixed
from convdense.layers.dense_form import Step, dense_steps
from convdense.layers.direct_form import DirectPool, direct_counterpart
from convdense.structure._tie import pool_axes
from convdense.structure.axis import Axis, diagonal
from convdense.structure.tie_map import TieMap

LARGEST_INTEGER = (
    2**52
)  # up to here halves, sums and differences of two integers are exact in float64


@dataclass(frozen=True, eq=False, repr=False)
class Tournament(OfPool):
    """Max or min pooling as a network: levels of a dense layer, |.| on some coordinates, and a
    dense layer.

    A level pairs neighbours in each window: half their sum and half their difference, then ``sum +
    |difference|`` (for the smallest: minus). Absent cells are dropped, so that windows may differ
    in size; a cell without a partner passes. One axis after the other, the last one first: then the
    first of several largest cells in C order wins every tie.

    Parameters
    ----------
    pool : MaxPool or MinPool
    tie_break : {"first", "split"}
        Who gets the gradient where several cells are largest: the first, as in the frameworks, or
        each pair halves it.
    layers : tuple of Fixed and Abs
        What is run, in this order.
    """

    pool: Pool
    tie_break: str
    layers: tuple[Fixed | Abs, ...]

    ties = renamed_attribute("ties", "tie_break")

    @property
    def depth(self) -> int:
        """Number of comparisons between an input and its output, at most."""
        return sum(isinstance(layer, Abs) for layer in self.layers)

    def forward(self, x: Any) -> Array:
        """Return y, shape (batch, *out_shape); in floats within ``gamma_2L max|window|`` of the
        largest, L the depth.

        Raises
        ------
        ValueError
            For NaN and infinity, whose differences say nothing (inf - inf), and for integers above
            2**52.
        """
        x, had_batch = samples(self, x)
        y = self._run(_comparable(x, "x"))[-1]
        return as_samples(y.astype(x.dtype), self.out_shape, had_batch)

    def backward(self, x: Any, dy: Any) -> Array:
        """Return dx: what the layers hand back, each by its transpose or by the signs of what it made positive."""
        x, dy, had_batch = paired_samples(self, x, dy)
        dtype = np.result_type(x, dy)
        if dtype.kind in "iu" and self.tie_break == "split":
            dtype = np.dtype(np.float64)  # halves
        values = self._run(_comparable(x, "x"))
        g = _comparable(dy, "dy").reshape(len(dy), prod(self.out_shape))
        for layer, before in zip(reversed(self.layers), reversed(values[:-1]), strict=True):
            if isinstance(layer, Abs):
                g = layer.backward(
                    *(a.reshape(len(a), *layer.in_shape) for a in (before, g))
                ).reshape(g.shape)
            else:
                g = layer.backward(before, g)
        return as_samples(g.astype(dtype), self.in_shape, had_batch)

    def _run(self, x: Array) -> list[Array]:
        """Return what enters each layer, (batch, features), and what leaves the last."""
        values = [x.reshape(len(x), prod(self.in_shape))]
        for layer in self.layers:
            v = values[-1]
            if isinstance(layer, Abs):
                values.append(layer.forward(v.reshape(len(v), *layer.in_shape)).reshape(v.shape))
            else:
                values.append(layer.forward(v))
        return values


def tournament(pool: MaxPool | MinPool, tie_break: str = "first") -> Tournament:
    """Return the tournament of a pool, axis by axis, the last axis first."""
    sign = 1 if isinstance(pool, MaxPool) else -1
    axes = [diagonal(n) for n in pool.in_shape]
    layers: list[Fixed | Abs] = []
    for i, windows in reversed(list(enumerate(pool_axes(pool), start=1))):
        for step in _levels(windows, sign):
            if isinstance(step, Axis):
                layers.append(Fixed(TieMap((*axes[:i], step, *axes[i + 1 :]))))
                axes[i] = diagonal(step.n_rows)
            else:
                slope = 0 if tie_break == "split" else sign
                layers.append(Abs(tuple(a.n_rows for a in axes), i, *step, slope_at_zero=slope))
    return Tournament(pool, tie_break, tuple(layers))


def _levels(windows: Axis, sign: int) -> list[Axis | tuple[int, int]]:
    """Return the layers of a tournament along one axis: axes, and (start, stop) of what |.| is
    taken of.

    Every level pairs cells 0 and 1, 2 and 3, ... of each window. Its first axis gives all half
    sums, then all half differences, then the cells without a partner; its second one adds (for the
    smallest, subtracts) the two.
    """
    order = np.lexsort((windows.cols, windows.rows))
    rows, cols, n_in = windows.rows[order], windows.cols[order], windows.n_cols
    steps: list[Axis | tuple[int, int]] = []
    while len(rows) > windows.n_rows:
        sizes = np.bincount(rows)
        place = np.arange(len(rows)) - np.repeat(
            np.cumsum(sizes) - sizes, sizes
        )  # within its window
        first = np.flatnonzero(place % 2 == 0)
        paired = place[first] + 1 < sizes[rows[first]]
        x, alone = first[paired], first[~paired]
        n, m = len(x), len(alone)
        k = np.arange(n)
        halves = np.concatenate((np.full(3 * n, 0.5), np.full(n, -0.5), np.ones(m)))
        steps.append(
            _unit(
                np.concatenate((k, k, n + k, n + k, 2 * n + np.arange(m))),
                np.concatenate((cols[x], cols[x + 1], cols[x], cols[x + 1], cols[alone])),
                (2 * n + m, n_in),
                halves,
            )
        )
        steps.append((n, 2 * n))
        slots = (
            np.cumsum(paired) - 1,
            np.cumsum(~paired) - 1,
        )  # number of each winner among pairs, among the others
        to = np.arange(len(first))
        ends = np.concatenate((to[paired], to[paired], to[~paired]))
        starts = np.concatenate((slots[0][paired], n + slots[0][paired], 2 * n + slots[1][~paired]))
        signs = np.concatenate((np.ones(n), np.full(n, float(sign)), np.ones(m)))
        steps.append(_unit(ends, starts, (len(first), 2 * n + m), signs))
        rows, cols, n_in = rows[first], to, len(first)
    if not steps and not np.array_equal(cols, np.arange(n_in)):
        steps.append(
            _unit(rows, cols, (windows.n_rows, n_in), np.ones(len(rows)))
        )  # windows of one cell: a selection
    return steps


def _unit(rows: Array, cols: Array, shape: tuple[int, int], coefficients: Array) -> Axis:
    return Axis(rows, cols, np.zeros(len(rows), np.intp), *shape, (), coefficients)


def _comparable(x: Array, name: str) -> Array:
    """Return x as floats whose sums and differences are exact (integers) or rounded once (floats)."""
    if x.dtype.kind in "iu" and x.size and max(-int(x.min()), int(x.max())) > LARGEST_INTEGER:
        needs = "at most 2**52, to be halved exactly"
        raise ValueError(
            complain(name, f"integers above {LARGEST_INTEGER:,}", needs, "scale them down")
        )
    return floating(finite(x, name, "in (x + y + |x - y|) / 2 infinity meets itself"))


@dense_steps.register
def _(layer: Tournament, dtype: Any = "float64") -> list[Step]:
    return [step for part in layer.layers for step in dense_steps(part, dtype)]


@direct_counterpart.register
def _(layer: Tournament) -> DirectPool:
    if layer.tie_break != "first":
        needs = (
            'tie_break="first": the direct pool hands everything to the first of several largest'
        )
        raise TypeError(complain("layer", repr(layer), needs))
    return DirectPool(layer.pool)
