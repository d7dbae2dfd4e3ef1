"""Both ways on every pair of basis vectors of one small layer, with little else.

`certify` does the same for any implementation and costs a hundred times as much; this is for tens
of thousands of layers. Here the stored
matrix is made once per basis weight, y and dx are run on all basis vectors of a batch at once, and
the weight gradient, which sums over the batch, one pair at a time by the function that computes it
alone. Both share their operands, which neither can write to, and nothing else.
"""

from math import prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.direct.conv import convolve, convolve_backward, weight_gradient
from convdense.geometry import ConvTranspose, Windowed
from convdense.geometry.protocols import HasWeightShapes
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, RAISED, Finding

BATCH = 2  # of the integers drawn beside the basis vectors


class Units(NamedTuple):
    """Every basis vector of x, w, b and dy, scaled, and some integers.

    The scales are integers of both signs, all different within an array, so that no two basis
    vectors can be confused.
    """

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


def basis_pairs(layer: HasWeightShapes) -> int:
    """Return how many pairs of basis vectors a layer has.

    They are (input, weight) for y, (output, weight) for dx and (input, output) for dw. Where padded
    cells hold a number, an input of zeros is one more.

    Examples
    --------
    >>> from convdense import Conv
    >>> basis_pairs(Conv((1, 3), out_channels=1, kernel=2))  # 3 inputs, 2 outputs, 2 weights
    16
    """
    inputs = prod(layer.in_shape) + bool(tie(layer).padding)
    outputs = prod(layer.out_shape)
    weights = prod(layer.weight_shape)
    return inputs * weights + outputs * weights + inputs * outputs


def judge_pairs(layer: Windowed | ConvTranspose) -> Finding | None:
    """Return the first quantity on which tied dense layer and direct convolution differ, or None.

    The position it names starts with the numbers of the two basis vectors: see `PairResults`.

    Examples
    --------
    >>> from convdense import Conv
    >>> judge_pairs(Conv((1, 3), out_channels=1, kernel=2)) is None
    True
    """
    units = _units(layer)
    try:
        got = _dense(layer, units)
        expected = _direct(layer, units)
    except Exception as error:
        # Whatever is raised is a verdict on this layer, and no end of the sweep.
        return Finding("y", RAISED, note=f"{type(error).__name__}: {error}")
    names = 2 * PairResults._fields[:4]
    compared = map(compare, names, (*got[:4], *got.drawn), (*expected[:4], *expected.drawn))
    return next((finding for finding in compared if finding.verdict != EQUAL), None)


def _units(layer: HasWeightShapes) -> Units:
    x = _basis(layer.in_shape)
    if tie(layer).padding:  # y and dw are affine in x
        x = np.concatenate([x, np.zeros((1, *layer.in_shape))])
    w = _basis(layer.weight_shape)
    b = _basis(layer.bias_shape)
    dy = _basis(layer.out_shape)

    rng = np.random.default_rng(0)
    batch_shapes = (BATCH, *layer.in_shape), (BATCH, *layer.out_shape)
    drawn = []
    for shape in (batch_shapes[0], layer.weight_shape, layer.bias_shape, batch_shapes[1]):
        numbers = rng.integers(-9, 9, shape, endpoint=True)
        drawn.append(_read_only(numbers.astype(float)))
    return Units(x, w, b, dy, tuple(drawn))


def _basis(shape: tuple[int, ...]) -> Array:
    """Return (size, *shape): the basis vectors times 1, -2, 3, -4, ..."""
    n = prod(shape)
    scale = np.arange(1.0, n + 1) * (-1) ** np.arange(n)
    return _read_only(np.diag(scale).reshape(n, *shape))


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


def _dense(layer: Windowed | ConvTranspose, units: Units) -> PairResults:
    """Run the stored matrix, its transpose and the sums over edges; the tie map is made once."""
    first = TiedDense(layer, units.w[0], units.b[0])
    plain = [first.with_weights(w) for w in units.w]
    biased = [first.with_weights(first.w, b) for b in units.b]
    zeros = np.zeros((len(units.dy), *layer.in_shape))  # dx does not depend on x
    xs, dys = _batches_of_one(units)
    x, w, b, dy = units.drawn
    drawn = first.with_weights(w, b)
    return PairResults(
        y=np.array([tied.forward(units.x) for tied in (*plain, *biased)]),
        dx=np.array([tied.backward(zeros, units.dy).dx for tied in plain]),
        dw=np.array([[first.ties.add_edges(one_x, one_dy) for one_dy in dys] for one_x in xs]),
        db=np.array([first.backward(xs[0], one_dy).db for one_dy in dys]),
        drawn=(drawn.forward(x), *drawn.backward(x, dy)),
    )


def _direct(layer: Windowed | ConvTranspose, units: Units) -> PairResults:
    first = units.w[0]
    plain = [convolve(layer, units.x, w) for w in units.w]
    biased = [convolve(layer, units.x, first, b) for b in units.b]
    zeros = np.zeros((len(units.dy), *layer.in_shape))  # dx does not depend on x
    xs, dys = _batches_of_one(units)
    x, w, b, dy = units.drawn
    return PairResults(
        y=np.array([*plain, *biased]),
        dx=np.array([convolve_backward(layer, zeros, w, units.dy).dx for w in units.w]),
        dw=np.array([[weight_gradient(layer, one_x, one_dy) for one_dy in dys] for one_x in xs]),
        db=np.array([convolve_backward(layer, xs[0], first, one_dy).db for one_dy in dys]),
        drawn=(convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy)),
    )


def _batches_of_one(units: Units) -> tuple[Array, Array]:
    """Return (inputs, 1, *in_shape) and (outputs, 1, *out_shape)."""
    return units.x[:, None], units.dy[:, None]
