"""diagnose: which mistake an implementation makes.

A mistake is found by exact equality with what it would give, on integers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array, Seed, choice, complain_of, drawn, seed_or_none
from convdense._util.float_formats import COMPLEX, spelled
from convdense._util.foreign_names import explained
from convdense.certificates.integer_ranges import exact_ranges
from convdense.diagnosis.complex_numbers import conjugation_mistake
from convdense.diagnosis.first_difference import recovered_difference
from convdense.diagnosis.localise import local_error, views
from convdense.diagnosis.mistakes.fitted_constants import clipped, multiplied
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations, same
from convdense.diagnosis.mistakes.pools import pool_mistakes
from convdense.diagnosis.mistakes.sums import plain_result_mistakes
from convdense.diagnosis.report import Diagnosis, Explanation
from convdense.diagnosis.search import explain, prefixed
from convdense.direct import pool_loops
from convdense.geometry import Conv, ConvTranspose, Geometry, LocallyConnected, Pool, require_cells
from convdense.geometry.protocols import Implementation
from convdense.implementations.evaluators import (
    caught,
    direct_evaluator,
    implementation_evaluator,
    is_forward_alone,
    pool_functions,
)
from convdense.layers.error_bounds import integer_unit
from convdense.networks.builder import network
from convdense.structure._tie import tie
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, QUANTITIES, RAISED, Finding

BATCH, DRAWS = 3, 3
LARGEST = 50  # integers drawn; smaller where sums would not be exact
NONE = np.zeros(0)  # the weights of a pool


@explained
def diagnose(
    layer: Geometry | Pool, implementation: Implementation, *, seed: Seed = None, dtype: Any = "f8"
) -> Diagnosis:
    """Name the mistake that an implementation makes, in y, dx, dw and db.

    A mistake is named only if what it would give equals what came, exactly, on several draws of
    integers; a constant that is solved for is the same in all of them. Single mistakes are tried
    first, in the whole and then in the samples and channels that are wrong, then pairs: two in the
    layer's structure, or one and a mistake in the sums.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, or any pool but LpPool
    implementation : object with forward(x, w, b) and backward(x, w, dy), or two such functions
        For a pool, with forward(x) and backward(x, dy). Forward alone: then y alone is judged.
    seed : int, numpy.random.SeedSequence or None
        Of the integers; None draws fresh entropy, which the diagnosis records.
    dtype : {"float64", "complex128"}
        Of all operands. In complex numbers what is conjugated wrongly is named, all else on reals.

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
    number = drawn(seed_or_none(seed))
    word = choice(spelled(dtype), "dtype", ("float64", "complex128"))
    if 0 in getattr(layer, "out_shape", ()):  # anything may come, and is refused below
        require_cells(layer)
    if isinstance(layer, Pool) and not layer.takes_roots and word not in COMPLEX:
        quantities = _observe_pool(layer, implementation, number)
    elif isinstance(layer, (Conv, ConvTranspose, LocallyConnected)):
        quantities = _observe(layer, implementation, number, word)
    else:
        needs = "a Conv, ConvTranspose, LocallyConnected or a pool but LpPool"
        raise TypeError(complain_of("layer", layer, needs))

    explanations = []
    for observed in quantities:
        wrong = _first_wrong(observed)
        if wrong is not None:
            explanations.append(_explained(layer, implementation, observed, wrong))
    return Diagnosis(layer, tuple(explanations), number, is_forward_alone(implementation))


def _observe(
    layer: Geometry, implementation: Implementation, seed: int, dtype: str
) -> Iterator[Observations]:
    """Yield what came of each quantity in every draw; db only if the implementation has one."""
    mine, by = implementation_evaluator(implementation), direct_evaluator(layer)
    calls = [_draw(layer, (seed, k), dtype) for k in range(DRAWS)]
    if tie(layer).padding:
        calls[-1].x[0] = 0  # what numbers in the padding add is there without an x
    # copies: a user's code may write into what it is given
    returned = [mine.run(*map(np.copy, call)) for call in calls]
    expected = [by.run(*call) for call in calls]
    for i, name in enumerate(QUANTITIES):
        observed = Observations(name, calls, [r[i] for r in returned], [e[i] for e in expected])
        if name in mine.quantities and (name != "db" or observed.returned[0] is not None):
            yield observed


def _observe_pool(pool: Pool, implementation: Implementation, seed: int) -> Iterator[Observations]:
    """Yield what came of y and of dx in every draw."""
    forward, backward, *_ = pool_functions(implementation)
    unit = integer_unit(network(pool))
    calls = [_draw_of_pool(pool, unit, (seed, k)) for k in range(2 * DRAWS)]

    y = [caught(forward, np.copy(call.x)) for call in calls]
    yield Observations("y", calls, y, [pool_loops.forward(pool, call.x) for call in calls])

    if backward is None:
        return
    dx = [caught(backward, np.copy(call.x), np.copy(call.dy)) for call in calls]
    right = [pool_loops.backward(pool, call.x, call.dy) for call in calls]
    yield Observations("dx", calls, dx, right)


def _draw(layer: Geometry, seed: tuple[int, int], dtype: str) -> Call:
    """Return integers of both signs, none of them 0.

    x, b and dy are multiples of 12 times the batch size, dy also of the positions: means are whole,
    and halves, thirds and quarters too.
    """
    rng = np.random.default_rng(seed)
    unit = 12 * BATCH * prod(layer.out_spatial)
    most = max(1, min(LARGEST, *(m // unit for m in exact_ranges(layer, dtype, BATCH))))

    def signed(shape: tuple[int, ...]) -> Array:
        sizes = rng.integers(1, most, shape, endpoint=True)
        real = np.asarray(sizes * rng.choice((-1.0, 1.0), shape))
        return real + 1j * rng.permuted(real) if dtype in COMPLEX else real

    x = signed((BATCH, *layer.in_shape))
    w = signed(layer.weight_shape)
    b = signed(layer.bias_shape)
    dy = signed((BATCH, *layer.out_shape))
    return Call(12 * BATCH * x, w, 12 * BATCH * b, unit * dy)


def _draw_of_pool(pool: Pool, unit: int, seed: tuple[int, int]) -> Call:
    """Return multiples of the unit, in every other draw so small that windows have ties."""
    rng, number = np.random.default_rng(seed), seed[1]
    most = 3 if number % 2 else 10_000
    x = rng.integers(-most, most + 1, (BATCH, *pool.in_shape))
    dy = rng.integers(-most, most + 1, (BATCH, *pool.out_shape))
    if number % 3 == 2:
        # all of one sign, so that a zero put in the place of an absent cell would win
        x = x - pool.extremum * 2**20
    return Call(unit * x.astype(float), NONE, NONE, unit * dy.astype(float))


def _first_wrong(observed: Observations) -> Finding | None:
    """Return the finding of the first draw in which a quantity is not what was expected."""
    for got, right in zip(observed.returned, observed.expected, strict=True):
        finding = compare(observed.name, got, right)
        if finding.verdict != EQUAL:
            return finding
    return None


def _explained(
    layer: Geometry | Pool, implementation: Implementation, observed: Observations, finding: Finding
) -> Explanation:
    """Return what explains a quantity, or, where nothing does, what can be recovered of it."""
    if isinstance(layer, Pool):
        return Explanation(observed.name, _pool_sentence(layer, observed), finding)

    sentence, place = "", ""
    if observed.expected[0].dtype.kind == "c":
        sentence = conjugation_mistake(observed, direct_evaluator(layer))
        on_reals = () if sentence else diagnose(layer, implementation, seed=0).explanations
        found = [explanation for explanation in on_reals if explanation.name == observed.name]
        return found[0] if found else Explanation(observed.name, sentence, finding)
    if finding.verdict != RAISED:
        sentence, place = explain(layer, observed)
    recovered = "" if sentence else recovered_difference(layer, implementation, observed)
    return Explanation(observed.name, sentence, finding, place, recovered)


def _pool_sentence(pool: Pool, observed: Observations) -> str:
    """Return the mistake of a pool that gives exactly what came, in the whole or in a part."""
    for words, view in views(observed):
        for sentence, mistake in pool_mistakes(pool, observed.name):
            if view.fits(partial(_on_call, mistake)):
                return prefixed(words, sentence)
        sentence = _from_result_alone(view) or local_error(pool, view)
        if sentence:
            return prefixed(words, sentence)
    return ""


def _on_call(mistake: Callable[[Array, Array], Array], call: Call) -> Array:
    return mistake(call.x, call.dy)


def _from_result_alone(observed: Observations) -> str:
    """Return the mistake that is told by what is right alone: a sign, a factor, a limit."""
    for sentence, change in plain_result_mistakes(observed.name):
        pairs = zip(observed.returned, observed.expected, strict=True)
        if all(same(got, change(right), observed.part) for got, right in pairs):
            return sentence
    if not observed.comparable:
        return ""
    got, right = observed.stacked(observed.returned), observed.stacked(observed.expected)
    return multiplied(got, right) or clipped(got, right)
