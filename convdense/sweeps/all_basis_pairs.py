"""Both ways on every pair of basis vectors of one small layer, with little else: for tens of
thousands of layers.

`certify` does the same for any implementation and costs a hundred times as much. Here the stored
matrix is made once per basis weight, y and dx are run on all basis vectors of a batch at once, and
the weight gradient, which sums over the batch, one pair at a time by the function that computes it
alone. Both share their operands, which neither can write to, and nothing else.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.direct.conv import convolve, convolve_backward, weight_gradient
from convdense.layers.tied_dense import TiedDense
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, RAISED, Finding

BATCH = 2  # of the integers drawn beside the basis vectors


class Units(NamedTuple):
    """Every basis vector of x, w, b and dy, times integers of both signs that are all different; and some integers."""

    x: Array  # (inputs, *in_shape)
    w: Array  # (weights, *weight_shape)
    b: Array  # (biases, *bias_shape)
    dy: Array  # (outputs, *out_shape)
    drawn: tuple[Array, ...]  # x, w, b and dy, x and dy with a batch of two


class PairResults(NamedTuple):
    """What one way gives on all of them."""

    y: Array  # (weights, inputs, *out_shape), then (biases, inputs, *out_shape) with every bias
    dx: Array  # (weights, outputs, *in_shape)
    dw: Array  # (inputs, outputs, *weight_shape)
    db: Array  # (outputs, *bias_shape)
    drawn: tuple[Any, ...]  # y, dx, dw, db


def basis_pairs(layer: Any) -> int:
    """Return how many pairs of basis vectors a layer has: (input, weight), (output, weight) and
    (input, output).

    Examples
    --------
    >>> from convdense import Conv
    >>> basis_pairs(Conv((1, 3), out_channels=1, kernel=2))  # 3 inputs, 2 outputs, 2 weights
    16
    """
    inputs, outputs, weights = (
        int(prod(shape)) for shape in (layer.in_shape, layer.out_shape, layer.weight_shape)
    )
    return inputs * weights + outputs * weights + inputs * outputs


def judge_pairs(layer: Any) -> Finding | None:
    """Return the first quantity on which the tied dense layer and direct convolution differ
    anywhere, or None.

    The position it names starts with the numbers of the two basis vectors: see `PairResults`.

    Examples
    --------
    >>> from convdense import Conv
    >>> judge_pairs(Conv((1, 3), out_channels=1, kernel=2)) is None
    True
    """
    units = _units(layer)
    try:
        got, expected = _dense(layer, units), _direct(layer, units)
    except (
        Exception
    ) as error:  # whatever is raised is a verdict on this layer, and no end of the sweep
        return Finding("y", RAISED, note=f"{type(error).__name__}: {error}")
    return next((finding for finding in _compared(got, expected) if finding.verdict != EQUAL), None)


def _compared(got: PairResults, expected: PairResults) -> Iterator[Finding]:
    names = PairResults._fields[:4]
    yield from map(compare, names, got[:4], expected[:4])
    yield from map(compare, names, got.drawn, expected.drawn)


def _units(layer: Any) -> Units:
    rng = np.random.default_rng(0)
    x, w, b, dy = (
        _basis(shape)
        for shape in (layer.in_shape, layer.weight_shape, layer.bias_shape, layer.out_shape)
    )
    shapes = (
        (BATCH, *layer.in_shape),
        layer.weight_shape,
        layer.bias_shape,
        (BATCH, *layer.out_shape),
    )
    drawn = tuple(
        _read_only(rng.integers(-9, 9, shape, endpoint=True).astype(float)) for shape in shapes
    )
    return Units(x, w, b, dy, drawn)


def _basis(shape: tuple[int, ...]) -> Array:
    """Return (size, *shape): the basis vectors times 1, -2, 3, -4, ..."""
    n = prod(shape)
    scale = np.arange(1.0, n + 1) * (-1) ** np.arange(n)
    return _read_only(np.diag(scale).reshape(n, *shape))


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


def _dense(layer: Any, units: Units) -> PairResults:
    """Run the stored matrix, its transpose and the sums over edges; the tie map is made once."""
    first = TiedDense(layer, units.w[0], units.b[0])
    plain, biased = (
        [first.with_weights(w) for w in units.w],
        [first.with_weights(first.w, b) for b in units.b],
    )
    x, w, b, dy = units.drawn
    drawn, zeros, xs, dys = (
        first.with_weights(w, b),
        np.zeros((len(units.dy), *layer.in_shape)),
        *_batches_of_one(units),
    )
    return PairResults(
        np.array([tied.forward(units.x) for tied in (*plain, *biased)]),
        np.array([tied.backward(zeros, units.dy).dx for tied in plain]),
        np.array([[first.ties.add_edges(x, dy) for dy in dys] for x in xs]),
        np.array([first.backward(xs[0], dy).db for dy in dys]),
        (drawn.forward(x), *drawn.backward(x, dy)),
    )


def _direct(layer: Any, units: Units) -> PairResults:
    """Run direct convolution."""
    first, (x, w, b, dy) = units.w[0], units.drawn
    zeros, xs, dys = np.zeros((len(units.dy), *layer.in_shape)), *_batches_of_one(units)
    return PairResults(
        np.array(
            [
                *(convolve(layer, units.x, w) for w in units.w),
                *(convolve(layer, units.x, first, b) for b in units.b),
            ]
        ),
        np.array([convolve_backward(layer, zeros, w, units.dy).dx for w in units.w]),
        np.array([[weight_gradient(layer, x, dy) for dy in dys] for x in xs]),
        np.array([convolve_backward(layer, xs[0], first, dy).db for dy in dys]),
        (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy)),
    )


def _batches_of_one(units: Units) -> tuple[Array, Array]:
    """Return (inputs, 1, *in_shape) and (outputs, 1, *out_shape)."""
    return units.x[:, None], units.dy[:, None]
