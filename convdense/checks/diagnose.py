"""diagnose: which mistake an implementation makes, found by exact equality with what that mistake would give."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convdense import direct_pool
from convdense.arguments import Array, complain, integer
from convdense.build import network
from convdense.checks.mistakes import Call, Mistake, mistakes
from convdense.checks.pool_mistakes import pool_mistakes
from convdense.checks.ranges import exact_ranges
from convdense.checks.recover import recover
from convdense.checks.report import EQUAL, Finding, compare
from convdense.checks.roads import direct_road, implementation_road, pool_functions
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


@dataclass(frozen=True)
class Explanation:
    """What is wrong with one quantity, and where it shows first.

    Parameters
    ----------
    name : str
        "y", "dx", "dw" or "db".
    sentence : str
        The mistake; empty where none that is known fits.
    finding : Finding
        The entry that differs most.
    place : str
        The first edge, by output pixel, input pixel and weight, that the mistake moves; empty where it moves none.
    recovered : str
        Where no mistake fits: how the matrix behind it differs from the layer's.
    """

    name: str
    sentence: str
    finding: Finding
    place: str = ""
    recovered: str = ""

    def __str__(self) -> str:
        """Return the quantity, the sentence, and where it shows."""
        lines = [f"{self.name}: {self.sentence or 'no mistake that is known here explains it'}"]
        lines += [f"  first at {self.place}"] if self.place else []
        lines += [f"  {self.finding}"] if not self.sentence else []
        lines += [f"  {line}" for line in self.recovered.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; true if nothing is wrong.

    Attributes
    ----------
    layer : geometry
    explanations : tuple of Explanation
        One for each quantity that is wrong.

    Examples
    --------
    >>> from convdense import Conv, convolve, convolve_backward
    >>> conv = Conv((1, 5, 6), out_channels=2, kernel=(2, 3))
    >>> def backward(x, w, dy):
    ...     return convolve_backward(conv, x, w, -dy)
    >>> print(diagnose(conv, (lambda x, w, b: convolve(conv, x, w, b), backward)))
    dx: the sign is turned
    dw: the sign is turned
    db: the sign is turned
    """

    layer: Any
    explanations: tuple[Explanation, ...]

    def __bool__(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.explanations

    def __getitem__(self, name: str) -> Explanation:
        """Return what is wrong with one quantity, such as "dw"."""
        for explanation in self.explanations:
            if explanation.name == name:
                return explanation
        raise KeyError(complain("name", repr(name), "one of " + ", ".join(e.name for e in self.explanations)))

    def require(self) -> "Diagnosis":
        """Return self if nothing is wrong; raise AssertionError with the whole text if something is."""
        if not self:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        """Return one sentence for each quantity that is wrong."""
        return "\n".join(map(str, self.explanations)) or f"{self.layer!r}: nothing is wrong"


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
    forward, backward = pool_functions(implementation)
    unit, calls = whole(network(pool)), []
    for k in range(2 * DRAWS):  # ties in some, none in others
        rng, most = np.random.default_rng((seed, k)), 3 if k % 2 else 10_000
        x, dy = (rng.integers(-most, most + 1, (BATCH, *s)) for s in (pool.in_shape, pool.out_shape))
        calls.append((unit * x.astype(float), unit * dy.astype(float)))
    explanations = []
    for name in ("y", "dx"):
        values = [forward(x.copy()) if name == "y" else backward(x.copy(), dy.copy()) for x, dy in calls]
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
    """Return integers of both signs, none of them 0, as floats."""
    rng, most = np.random.default_rng(seed), min(LARGEST, *exact_ranges(layer, "float64", BATCH))
    shapes = (BATCH, *layer.in_shape), layer.weight_shape, layer.bias_shape, (BATCH, *layer.out_shape)
    return Call(*(rng.integers(1, most, s, endpoint=True) * rng.choice((-1.0, 1.0), s) for s in shapes))


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
    return Explanation(name, "", finding, recovered=_behind(layer, implementation, name, calls[0]))


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
    return got.dtype.kind in "iuf" and bool(np.array_equal(got, expected))


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
