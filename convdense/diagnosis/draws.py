"""What code gives on integers that are drawn for it, beside what is right."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain
from convdense._util.float_formats import COMPLEX
from convdense.certificates.integer_ranges import exact_ranges
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations
from convdense.direct import pool_loops
from convdense.geometry import HasWeightShapes, Implementation, Pool
from convdense.implementations.evaluators import (
    caught,
    direct_evaluator,
    implementation_evaluator,
    pool_functions,
)
from convdense.layers.error_bounds import integer_unit
from convdense.networks.builder import network
from convdense.rounding.normwise_bounds import normwise_bound
from convdense.rounding.sum_bounds import rounding_bounds
from convdense.structure._tie import tie
from convdense.verdicts.comparison import Raised, compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, Finding

BATCH, DRAWS = 3, 3
FEWER = (3, 3), (2, 3), (2, 2), (1, 2), (1, 1)  # draws and samples of larger and larger layers
OTHER_BATCHES = 1, 2, 4, 8, 16, 32  # that code may be written for
BYTES = 400_000_000  # of all that is drawn and given, at most
FEW_CHANNELS = 8
FRACTIONS = 24**2  # what Winograd's transforms of kernels of three divide by, on two axes
FLAT = 3  # the draw of a pool in which all cells are alike
LARGEST = 50  # integers drawn; smaller where sums would not be exact
NONE = np.zeros(0)  # the weights of a pool
WHOLE_BY = 0.25  # nearer to a whole number than this, and within its bound, a number is meant to be


def observe(
    layer: Any, implementation: Implementation, seed: int, dtype: str = "float64"
) -> list[Observations]:
    """Return what came of each quantity in every draw, y first; db only where there is one.

    Code that raises on three samples is given another number of them.
    """
    draws, batch = size_of_draws(layer, dtype)
    observed = _observe(layer, implementation, seed, dtype, (draws, batch))
    for other in OTHER_BATCHES:
        if not all(isinstance(o.returned[0], Raised) for o in observed):
            break
        again = _observe(layer, implementation, seed, dtype, (1, other))
        if not all(isinstance(o.returned[0], Raised) for o in again):
            return _observe(layer, implementation, seed, dtype, (draws, other))
    return observed


def observe_once(
    layer: Any, implementation: Implementation, seed: int, dtype: str, batch: int
) -> list[Observations]:
    """Return the same of one draw of so many samples, to learn whether something is wrong."""
    return _observe(layer, implementation, seed, dtype, (1, batch))


def observe_again(
    layer: Any, implementation: Implementation, observed: list[Observations]
) -> dict[str, Observations]:
    """Return what the first call gives when it is repeated, by the names of the quantities."""
    call = observed[0].calls[0]
    if isinstance(layer, Pool):
        forward, backward, *_ = pool_functions(implementation)
        again = [caught(forward, np.copy(call.x))]
        again += [caught(backward, np.copy(call.x), np.copy(call.dy))] if backward else []
    else:
        again = list(implementation_evaluator(implementation).run(*map(np.copy, call)))
    named = dict(zip(QUANTITIES, again, strict=False))
    found = {}
    for one in observed:
        is_real = one.expected[0].dtype.kind == "f" and not isinstance(layer, Pool)
        result = named[one.name]
        if is_real:
            result = _whole(layer, one.name, call, result, one.expected[0])
        found[one.name] = Observations(one.name, [call], [result], one.expected[:1])
    return found


def size_of_draws(layer: Any, dtype: str) -> tuple[int, int]:
    """Return how many draws of how many samples are held at a time, below 1 GB with their results.

    Raises
    ------
    ValueError
        If one draw of one sample is too large.
    """
    number = 16 if dtype in COMPLEX else 8
    # x, dx and what is right; y, dy and what is right; of the weights the same
    cells = 3 * (prod(layer.in_shape) + prod(layer.out_shape))
    weights = 0 if isinstance(layer, Pool) else 3 * prod(layer.weight_shape)
    for draws, batch in FEWER:
        if number * draws * (batch * cells + weights) <= BYTES:
            return draws, batch
    got = f"{number * (cells + weights) / 1e9:.1f} GB for one sample with its gradients"
    raise ValueError(complain("layer", got, "a layer that is diagnosed in 1 GB", "cut it down"))


def _observe(
    layer: Any, implementation: Implementation, seed: int, dtype: str, size: tuple[int, int]
) -> list[Observations]:
    if isinstance(layer, Pool):
        return list(_observe_pool(layer, implementation, seed, size))
    return list(_observe_layer(layer, implementation, seed, dtype, size))


def _observe_layer(
    layer: HasWeightShapes,
    implementation: Implementation,
    seed: int,
    dtype: str,
    size: tuple[int, int],
) -> Iterator[Observations]:
    draws, batch = size
    mine, by = implementation_evaluator(implementation), direct_evaluator(layer)
    calls = [_draw(layer, (seed, k), dtype, batch) for k in range(draws)]
    if tie(layer).padding and draws > 1:
        calls[-1].x[0] = 0  # what numbers in the padding add is there without an x
    # copies: a user's code may write into what it is given
    returned = [mine.run(*map(np.copy, call)) for call in calls]
    expected = [by.run(*call) for call in calls]
    for i, name in enumerate(QUANTITIES):
        right = [e[i] for e in expected]
        came = [r[i] for r in returned]
        if name not in mine.quantities or (name == "db" and came[0] is None):
            continue
        pairs = zip(calls, came, right, strict=True)
        is_real = dtype not in COMPLEX
        whole = [_whole(layer, name, *one) if is_real else one[1] for one in pairs]
        yield Observations(name, calls, whole, right)


def _observe_pool(
    pool: Pool, implementation: Implementation, seed: int, size: tuple[int, int]
) -> Iterator[Observations]:
    draws, batch = size
    forward, backward, *_ = pool_functions(implementation)
    unit = integer_unit(network(pool))
    calls = [_draw_of_pool(pool, unit, (seed, k), batch) for k in range(2 * draws)]

    y = [caught(forward, np.copy(call.x)) for call in calls]
    yield Observations("y", calls, y, [pool_loops.forward(pool, call.x) for call in calls])

    if backward is None:
        return
    dx = [caught(backward, np.copy(call.x), np.copy(call.dy)) for call in calls]
    right = [pool_loops.backward(pool, call.x, call.dy) for call in calls]
    yield Observations("dx", calls, dx, right)


def _draw(layer: HasWeightShapes, seed: tuple[int, int], dtype: str, batch: int) -> Call:
    """Return integers of both signs, none of them 0.

    x, b and dy are multiples of 12 times the batch size and a few channels, dy also of the
    positions: means are whole, and halves, thirds and quarters too.
    """
    rng = np.random.default_rng(seed)
    ins, outs = _few_channels(layer)
    twelve = FRACTIONS if set(getattr(layer, "kernel", ())) == {3} else 12
    unit = twelve * batch * prod(layer.out_shape[1:]) * outs
    most = max(1, min(LARGEST, *(m // unit for m in exact_ranges(layer, dtype, batch))))

    def signed(shape: tuple[int, ...]) -> Array:
        sizes = rng.integers(1, most, shape, endpoint=True)
        real = np.asarray(sizes * rng.choice((-1.0, 1.0), shape))
        return real + 1j * rng.permuted(real) if dtype in COMPLEX else real

    x = signed((batch, *layer.in_shape))
    w = signed(layer.weight_shape)
    b = signed(layer.bias_shape)
    dy = signed((batch, *layer.out_shape))
    first = twelve * batch * ins
    return Call(first * x, w, first * b, unit * dy)


def _few_channels(layer: HasWeightShapes) -> tuple[int, int]:
    """Return over how many channels y and dx are summed, 1 where they are many."""
    groups = getattr(layer, "groups", 1)
    channels = (shape[0] // groups for shape in (layer.in_shape, layer.out_shape))
    ins, outs = (n if n <= FEW_CHANNELS else 1 for n in channels)
    return ins, outs


def _draw_of_pool(pool: Pool, unit: int, seed: tuple[int, int], batch: int) -> Call:
    """Return multiples of the unit, in every other draw so small that windows have ties.

    In one draw all cells are alike.
    """
    rng, number = np.random.default_rng(seed), seed[1]
    most = 3 if number % 2 else 10_000
    if number == FLAT:
        most = 0
    x = rng.integers(-most, most + 1, (batch, *pool.in_shape))
    dy = rng.integers(-max(most, 3), max(most, 3) + 1, (batch, *pool.out_shape))
    if number % 3 == 2:
        # all of one sign, so that a zero put in the place of an absent cell would win
        x = x - pool.extremum * 2**20
    return Call(unit * x.astype(float), NONE, NONE, unit * dy.astype(float))


def _whole(layer: HasWeightShapes, name: str, call: Call, got: Any, right: Array) -> Any:
    """Return whole numbers where all of a result are within rounding of them, else what came.

    Fast transforms round what loops do not: on these integers what is right is whole, and what most
    mistakes give is too.
    """
    is_real = isinstance(got, np.ndarray) and got.dtype == np.float64 and got.size
    if not is_real or got.shape != right.shape or not np.isfinite(got).all():
        return got
    near = np.rint(got)
    away = np.abs(got - near)
    farthest = away.max()
    if not 0 < farthest < WHOLE_BY:
        return got
    bound = rounding_bounds(layer, call, {name: "float64"})[name]
    normwise = normwise_bound(layer, call, name, "float64")
    if normwise is not None:
        bound = np.maximum(bound, normwise)
    within = bound.max() < WHOLE_BY and bool((away <= bound).all())
    return near if within else got


def first_wrong(observed: Observations) -> Finding | None:
    """Return the finding of the first draw in which a quantity is not what was expected."""
    for got, right in zip(observed.returned, observed.expected, strict=True):
        finding = compare(observed.name, got, right)
        if finding.verdict != EQUAL:
            return finding
    return None
