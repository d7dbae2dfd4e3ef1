"""diagnose: which mistake an implementation makes, found by exact equality with what that mistake would give."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from convdense import direct_pool
from convdense.arguments import Array, complain, integer
from convdense.build import network
from convdense.checks.diagnosis import Diagnosis, Explanation
from convdense.checks.mistakes import Call, Mistake, mistakes
from convdense.checks.pool_mistakes import pool_mistakes
from convdense.checks.ranges import exact_ranges
from convdense.checks.recover import recover
from convdense.checks.report import EQUAL, Finding, compare
from convdense.checks.roads import caught, direct_road, implementation_road, pool_functions
from convdense.checks.sizes import whole
from convdense.checks.slips import Slip, bias_gradient, plain_slips, slips
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    Geometry,
    LocallyConnected,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
)
from convdense.layers import TiedDense
from convdense.ties import tie

BATCH, DRAWS = 3, 3
LARGEST = 50  # integers drawn; smaller where sums would not be exact


def diagnose(layer: Geometry | Pool, implementation: Any, *, seed: int = 0) -> Diagnosis:
    """Name the mistake that an implementation makes, in y, dx, dw and db.

    A mistake is named only if what it would give equals what came, exactly, on several draws of integers. Single
    mistakes are tried first, then pairs: a wrong layer and a slip in the sums.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, SumPool, AvgPool, MaxPool or MinPool
    implementation : object with forward(x, w, b) and backward(x, w, dy), or two such functions
        For a pool, with forward(x) and backward(x, dy).
    seed : int
        Of the integers.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError
        For anything that is not such a layer or implementation.

    Examples
    --------
    >>> from convdense import Conv, convolve, convolve_backward
    >>> conv = Conv((1, 5, 6), out_channels=2, kernel=(2, 3))
    >>> def backward(x, w, dy):
    ...     dx, dw, db = convolve_backward(conv, x, w, dy)
    ...     return dx, dw[:, :, ::-1, ::-1], db / len(x)
    >>> print(diagnose(conv, (lambda x, w, b: convolve(conv, x, w, b), backward)))
    dw: the kernel is reversed on all axes
      first at output (0, 0, 0), input (0, 0, 0): weight (0, 0, 1, 2) for weight (0, 0, 0, 0)
    db: the mean over the batch is taken for the sum
    """
    integer(seed, "seed", 0)
    if isinstance(layer, (SumPool, AvgPool, MaxPool, MinPool)):
        return _of_pool(layer, implementation, seed)
    if not isinstance(layer, (Conv, ConvTranspose, LocallyConnected)):
        raise TypeError(complain("layer", repr(layer), "a Conv, ConvTranspose, LocallyConnected or a pool but LpPool"))
    mine, by = implementation_road(implementation), direct_road(layer)
    calls = [_draw(layer, (seed, k)) for k in range(DRAWS)]
    got = [dict(zip(("y", "dx", "dw", "db"), mine.run(*map(np.copy, call)), strict=True)) for call in calls]
    right = [dict(zip(("y", "dx", "dw", "db"), by.run(*call), strict=True)) for call in calls]
    explanations = []
    for name in ("y", "dx", "dw", "db"):
        values = [g[name] for g in got]
        if values[0] is None and name == "db":
            continue
        findings = [compare(name, v, r[name]) for v, r in zip(values, right, strict=True)]
        wrong = [f for f in findings if f.verdict != EQUAL]
        if wrong:
            explanations.append(_explained(layer, implementation, name, (calls, values, wrong[0])))
    return Diagnosis(layer, tuple(explanations))


def _of_pool(pool: Pool, implementation: Any, seed: int) -> Diagnosis:
    """Do what `diagnose` does for somebody's pool, on integers small enough to tie."""
    forward, backward, _ = pool_functions(implementation)
    unit, calls = whole(network(pool)), []
    for k in range(2 * DRAWS):  # ties in some, none in others
        rng, most = np.random.default_rng((seed, k)), 3 if k % 2 else 10_000
        x, dy = (rng.integers(-most, most + 1, (BATCH, *s)) for s in (pool.in_shape, pool.out_shape))
        calls.append((unit * x.astype(float), unit * dy.astype(float)))
    explanations = []
    for name in ("y", "dx"):
        values = [
            caught(forward, x.copy()) if name == "y" else caught(backward, x.copy(), dy.copy()) for x, dy in calls
        ]
        right = [direct_pool.forward(pool, x) if name == "y" else direct_pool.backward(pool, x, dy) for x, dy in calls]
        wrong = [f for f in map(compare, [name] * len(calls), values, right) if f.verdict != EQUAL]
        if wrong:
            explanations.append(Explanation(name, _pool_sentence(pool, name, calls, (values, right)), wrong[0]))
    return Diagnosis(pool, tuple(explanations))


def _pool_sentence(pool: Pool, name: str, calls: Any, seen: tuple[list[Any], list[Array]]) -> str:
    """Return the mistake that gives exactly what came in every draw: one of pooling, or a slip in the whole."""
    values, right = seen
    for sentence, mistake in pool_mistakes(pool, name):
        if all(_same(value, mistake(x, dy)) for value, (x, dy) in zip(values, calls, strict=True)):
            return sentence
    for sentence, slip in plain_slips(name):
        if all(map(_same, values, map(slip, right))):
            return sentence
    return ""


def _draw(layer: Geometry, seed: tuple[int, int]) -> Call:
    """Return integers of both signs, none of them 0; x and dy such that means over batch and positions are whole."""
    rng, unit = np.random.default_rng(seed), 12 * BATCH * prod(layer.out_spatial)
    most = max(1, min(LARGEST, *(m // unit for m in exact_ranges(layer, "float64", BATCH))))
    shapes = (BATCH, *layer.in_shape), layer.weight_shape, layer.bias_shape, (BATCH, *layer.out_shape)
    x, w, b, dy = (rng.integers(1, most, s, endpoint=True) * rng.choice((-1.0, 1.0), s) for s in shapes)
    return Call(12 * BATCH * x, w, 12 * BATCH * b, unit * dy)


def _explained(
    layer: Geometry, implementation: Any, name: str, seen: tuple[list[Call], list[Any], Finding]
) -> Explanation:
    """Return the first mistake, or pair of a mistake and a slip, that gives exactly what came in every draw."""
    calls, values, finding = seen
    for mistake, slip in _pairs(layer, name, calls[0], values[0]):
        if all(
            _same(v, slip[1](_value(layer, mistake, name, c), mistake, c)) for c, v in zip(calls, values, strict=True)
        ):
            sentences = [sentence for sentence in (mistake.sentence, slip[0]) if sentence]
            return Explanation(name, ", and ".join(sentences), finding, _first_moved(layer, mistake))
    sentence = _constant(layer, name, calls, values)
    if sentence:
        return Explanation(name, sentence, finding)
    return Explanation(name, "", finding, recovered=_behind(layer, implementation, name, calls[0]))


def _constant(layer: Geometry, name: str, calls: list[Call], values: list[Any]) -> str:
    """Return that a constant factor explains it, or a multiple of the weights that is added; up to their rounding."""
    right = [_value(layer, Mistake("", tie(layer)), name, call) for call in calls]
    got = [np.asarray(v) for v in values]
    if any(g.shape != r.shape or g.dtype.kind not in "iuf" for g, r in zip(got, right, strict=True)):
        return ""
    if (factor := _multiple(got, right, [0 * r for r in right])) is not None:
        return f"it is multiplied by {factor:.6g}"
    if name == "dw" and (decay := _multiple(got, [call.w for call in calls], right)) is not None:
        return f"{decay:.6g} times the weights is added"
    return ""


def _multiple(got: list[Array], of: list[Array], beside: list[Array]) -> float | None:
    """Return c if ``got = beside + c of`` in every entry, up to the rounding of a few operations; None if not."""
    a, b, c = (np.concatenate([part.ravel() for part in parts]) for parts in (got, of, beside))
    if not (b != 0).any():
        return None
    factor = float(np.median((a - c)[b != 0] / b[b != 0]))
    allowed = 8 * np.finfo(float).eps * (np.abs(c) + np.abs(factor * b))
    return factor if factor and (np.abs(a - c - factor * b) <= allowed).all() else None


def _pairs(layer: Geometry, name: str, call: Call, value: Any) -> Iterator[tuple[Mistake, Slip]]:
    """Yield the pairs that fit the first draw: slips alone first, then mistakes, each with none and with every slip."""
    for mistake in [Mistake("", tie(layer))] if name == "db" else mistakes(layer):
        base = _value(layer, mistake, name, call)
        for slip in slips(layer, name):
            if _same(value, slip[1](base, mistake, call)):
                yield mistake, slip


def _value(layer: Geometry, mistake: Mistake, name: str, call: Call) -> Array:
    return bias_gradient(layer, call.dy) if name == "db" else mistake.run(call, name)


def _same(value: Any, expected: Array) -> bool:
    got = np.asarray(value)
    return got.dtype.kind in "iuf" and bool(np.array_equal(got, expected, equal_nan=True))


def _first_moved(layer: Geometry, mistake: Mistake) -> str:
    """Return the first edge that the mistake adds, drops or gives another weight."""
    if not mistake.sentence:
        return ""
    right, wrong = tie(layer), mistake.ties
    numbers = np.arange(1.0, right.n_weights + 1).reshape(right.weight_shape)  # a weight's own number tells it
    a, b = right.matrix(numbers), wrong.matrix(np.ascontiguousarray(mistake.weights(numbers)))
    apart = (a - b).tocoo()
    edges = sorted((int(r), int(c)) for r, c, v in zip(apart.row, apart.col, apart.data, strict=True) if v)
    if not edges:
        return ""
    row, col = edges[0]
    output, pixel = np.unravel_index(row, right.out_shape), np.unravel_index(col, right.in_shape)
    held, wanted = (_weight(m[row, col], right.weight_shape) for m in (b, a))
    where = f"output {tuple(map(int, output))}, input {tuple(map(int, pixel))}"
    return f"{where}: {held} for {wanted}"


def _weight(number: float, shape: tuple[int, ...]) -> str:
    """Return the weight that a number stands for; where several meet in one cell, it stands for none."""
    if number == 0:
        return "no weight"
    if number != int(number) or number > prod(shape):
        return "several weights"
    return f"weight {tuple(int(i) for i in np.unravel_index(int(number) - 1, shape))}"


def _behind(layer: Geometry, implementation: Any, name: str, call: Call) -> str:
    """Return how the matrix behind y or dx differs from the layer's, where it can be recovered."""
    run = implementation_road(implementation).run
    zeros, w = np.zeros_like(call.b), call.w
    tied = TiedDense(layer, w)
    try:
        if name == "y":
            dy = call.dy
            found = recover(lambda x: run(x, w, zeros, np.zeros((len(x), *dy.shape[1:])))[0], layer.in_shape, tied)
            return f"the matrix behind it: {found.compare(tied)}" if found else str(found)
        if name == "dx":
            found = recover(lambda dy: run(np.zeros((len(dy), *layer.in_shape)), w, zeros, dy)[1], layer.out_shape)
            back = TiedDense(tie(layer).T, w)
            return f"the matrix behind it: {found.compare(back)}" if found else str(found)
    except (TypeError, ValueError) as error:  # no array, or another shape each time
        return f"what is behind it cannot be recovered: {error}"
    return ""
