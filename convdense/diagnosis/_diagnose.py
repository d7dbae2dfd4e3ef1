"""diagnose: which mistake an implementation makes, found by exact equality with what that mistake would give."""

from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import complain, integer
from convdense.certificates.integer_ranges import exact_ranges
from convdense.diagnosis.first_difference import recovered_difference
from convdense.diagnosis.localise import local_error, parts
from convdense.diagnosis.mistakes.fitted_constants import clipped, multiplied
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.pools import pool_mistakes
from convdense.diagnosis.mistakes.sums import plain_result_mistakes
from convdense.diagnosis.report import Diagnosis, Explanation
from convdense.diagnosis.search import explain, prefixed
from convdense.direct import pool_loops
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
from convdense.implementations.evaluators import (
    caught,
    direct_evaluator,
    implementation_evaluator,
    pool_functions,
)
from convdense.layers.error_bounds import integer_unit
from convdense.networks.builder import network
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, RAISED, Finding

BATCH, DRAWS = 3, 3
LARGEST = 50  # integers drawn; smaller where sums would not be exact
NONE = np.zeros(0)  # the weights of a pool


def diagnose(layer: Geometry | Pool, implementation: Any, *, seed: int = 0) -> Diagnosis:
    """Name the mistake that an implementation makes, in y, dx, dw and db.

    A mistake is named only if what it would give equals what came, exactly, on several draws of
    integers; a constant that is solved for is the same in all of them. Single mistakes are tried
    first, in the whole and then in the samples and channels that are wrong, then pairs: two in the
    layer's structure, or one and a mistake in the sums.

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
        raise TypeError(
            complain(
                "layer", repr(layer), "a Conv, ConvTranspose, LocallyConnected or a pool but LpPool"
            )
        )
    mine, by = implementation_evaluator(implementation), direct_evaluator(layer)
    calls = [_draw(layer, (seed, k)) for k in range(DRAWS)]
    got = [dict(zip(QUANTITIES, mine.run(*map(np.copy, call)), strict=True)) for call in calls]
    right = [dict(zip(QUANTITIES, by.run(*call), strict=True)) for call in calls]
    explanations = []
    for name in QUANTITIES:
        observed = Observations(name, calls, [g[name] for g in got], [r[name] for r in right])
        if observed.returned[0] is None and name == "db":
            continue
        findings = [
            compare(name, v, r) for v, r in zip(observed.returned, observed.expected, strict=True)
        ]
        wrong = [f for f in findings if f.verdict != EQUAL]
        if wrong:
            explanations.append(_explained(layer, implementation, observed, wrong[0]))
    return Diagnosis(layer, tuple(explanations))


def _of_pool(pool: Pool, implementation: Any, seed: int) -> Diagnosis:
    """Do what `diagnose` does for the user's pool, on integers small enough to tie."""
    forward, backward, _ = pool_functions(implementation)
    unit, calls, sign = (
        integer_unit(network(pool)),
        [],
        isinstance(pool, MaxPool) - isinstance(pool, MinPool),
    )
    for k in range(2 * DRAWS):  # ties in some, none in others
        rng, most = np.random.default_rng((seed, k)), 3 if k % 2 else 10_000
        x, dy = (
            rng.integers(-most, most + 1, (BATCH, *s)) for s in (pool.in_shape, pool.out_shape)
        )
        x = (
            x - (k % 3 == 2) * sign * 2**20
        )  # where zeros would win, if something stood for absent cells
        calls.append(Call(unit * x.astype(float), NONE, NONE, unit * dy.astype(float)))
    explanations = []
    both: tuple[Any, ...] = (
        ("y", forward, pool_loops.forward),
        ("dx", backward, pool_loops.backward),
    )
    for name, theirs, ours in both:
        operands = [(c.x,) if name == "y" else (c.x, c.dy) for c in calls]
        values = [caught(theirs, *map(np.copy, given)) for given in operands]
        right = [ours(pool, *given) for given in operands]
        wrong = [f for f in map(compare, [name] * len(calls), values, right) if f.verdict != EQUAL]
        if wrong:
            explanations.append(
                Explanation(
                    name, _pool_sentence(pool, Observations(name, calls, values, right)), wrong[0]
                )
            )
    return Diagnosis(pool, tuple(explanations))


def _pool_sentence(pool: Pool, observed: Observations) -> str:
    """Return the mistake that gives exactly what came in every draw: of pooling, in the whole, or in a part."""
    views = [("", observed), *parts(observed)]
    for words, view in views:
        for sentence, mistake in pool_mistakes(pool, observed.name):
            if view.fits(lambda call, mistake=mistake: mistake(call.x, call.dy)):  # type: ignore[misc]  # bound at once
                return prefixed(words, sentence)
        if sentence := _plain(view):
            return prefixed(words, sentence)
        if sentence := local_error(pool, view):
            return prefixed(words if view.batched else "", sentence)
    return ""


def _plain(observed: Observations) -> str:
    """Return the mistake that needs nothing but the value, or the factor, that explains what came."""
    for sentence, wrong in plain_result_mistakes(observed.name):
        if all(
            same(v, wrong(r), observed.part)
            for v, r in zip(observed.returned, observed.expected, strict=True)
        ):
            return sentence
    if not observed.comparable:
        return ""
    got, right = observed.stacked(observed.returned), observed.stacked(observed.expected)
    return multiplied(got, right) or clipped(got, right)


def _draw(layer: Geometry, seed: tuple[int, int]) -> Call:
    """Return integers of both signs, none of them 0; x and dy such that means over batch and positions are whole."""
    rng, unit = np.random.default_rng(seed), 12 * BATCH * prod(layer.out_spatial)
    most = max(1, min(LARGEST, *(m // unit for m in exact_ranges(layer, "float64", BATCH))))
    shapes = (
        (BATCH, *layer.in_shape),
        layer.weight_shape,
        layer.bias_shape,
        (BATCH, *layer.out_shape),
    )
    x, w, b, dy = (
        rng.integers(1, most, s, endpoint=True) * rng.choice((-1.0, 1.0), s) for s in shapes
    )
    return Call(12 * BATCH * x, w, 12 * BATCH * b, unit * dy)


def _explained(
    layer: Geometry, implementation: Any, observed: Observations, finding: Finding
) -> Explanation:
    """Return what explains a quantity, or, where nothing does, what can be recovered of it."""
    sentence, place = explain(layer, observed) if finding.verdict != RAISED else ("", "")
    if sentence:
        return Explanation(observed.name, sentence, finding, place)
    return Explanation(
        observed.name, "", finding, recovered=recovered_difference(layer, implementation, observed)
    )
