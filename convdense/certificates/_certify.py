"""certify: equality without a tolerance, on integers whose sums are exact in every order.

Which trials a layer with weights is judged by, and when its code is judged for another batch size.
"""

from copy import copy
from dataclasses import replace
from math import ceil, log2
from typing import NamedTuple, Unpack, overload

import numpy as np

from convdense._util.arguments import Seed, choice, complain, drawn
from convdense._util.float_formats import COMPLEX, EXACT, HALF, INTEGERS
from convdense._util.foreign_names import explained
from convdense.certificates.certificate_base import certified_again
from convdense.certificates.clock import Clock, limited_time
from convdense.certificates.contraction import MISSED, how_often, pays_off
from convdense.certificates.implementation_review import review_implementation
from convdense.certificates.integer_ranges import exact_ranges, rounded_away
from convdense.certificates.integer_trials import (
    Contracted,
    Setup,
    exhaustive,
    exhaustive_calls,
    random,
)
from convdense.certificates.layer_certificate import Certificate
from convdense.certificates.memory_need import (
    numbers_of_layer,
    numbers_of_network,
    refuse_too_large,
)
from convdense.certificates.network_certificate import (
    NetworkCertificate,
    certify_network,
    certify_pool,
)
from convdense.certificates.options import BATCH, ERROR, Chosen, Options
from convdense.certificates.resolution import Excused, basis_resolution, decided, undecided_all
from convdense.certificates.ring_trials import (
    modular_evaluator,
    review_integers,
    ring_ranges,
    worth,
)
from convdense.certificates.rounding_explainer import Explainer, bits_of_all, bits_per_trial
from convdense.certificates.second_derivatives import double_backward, needs_double_backward
from convdense.geometry import HasShapes, HasWeightShapes, Implementation, Pool, require_cells
from convdense.geometry.base import flag
from convdense.implementations.evaluators import Evaluator, two_evaluators
from convdense.layers.base import AnyShape, is_ready
from convdense.networks.network import Network
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import RAISED, REFUSED, Finding

# up to here every basis pair costs less than a second, and leaves nothing to chance
AUTO_CALLS = 1_000
EXHAUSTIVE_CALLS = 100_000
NO_INTEGERS = "averages, halves and maxima are none of a ring's: use float64"
NO_PROBABILITY = "whose certificate reports what was met and no probability"
ONE_BATCH = 1, 4, 8, 16, 32  # that code may be written for, instead of the default
# of few bits: so many trials, or products in all, are worth their time; the error is recorded
HALF_TRIALS, HALF_PRODUCTS = 16, 2**26
SMALLEST = 5e-324  # a probability that is not 0, however many the trials


@overload
def certify(
    layer: Pool | Network, implementation: Implementation | None = None, **options: Unpack[Options]
) -> NetworkCertificate: ...


@overload
def certify(
    layer: HasWeightShapes, implementation: Implementation | None = None, **options: Unpack[Options]
) -> Certificate: ...


@explained
def certify(
    layer: HasShapes,
    implementation: Implementation | None = None,
    *,
    dtype: object = "float64",
    batch: int = BATCH,
    error: float = ERROR,
    method: str = "auto",
    seed: Seed = None,
    shapes: str | None = None,
    nonfinite: bool = False,
    threads: bool = False,
    accumulator: object = None,
    gradgrad: bool = False,
    time_limit: float | None = None,
) -> Certificate | NetworkCertificate:
    """Decide exactly whether the tied dense layer is direct convolution, or an implementation is.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network
        Of an implementation also a Linear, a TieMap, or any layer that runs (an activation, a batch
        norm, a flatten). An LpPool without one must have p=1.
    implementation : object with forward(x, w, b) and backward(x, w, dy), or None
        ``forward -> y`` adds the bias b, ``backward -> (dx, dw, db)``, or db=None: then it is not
        judged. A function, or an object without a backward, is forward alone: y is judged. For
        a pool, a network or another layer that runs ``forward(x) -> y`` and ``backward(x, dy) ->
        dx``. None judges the tied dense layer.
    dtype : {"float64", "float32", "complex64", "complex128"}, of an implementation also others
        Those are "float16", "bfloat16", "int8" to "int64" and "uint8". Pools, networks and other
        layers that run are of reals: "float64", "float32"; code of a pool also of the two halves.
        Or as NumPy, PyTorch or JAX spell it: np.float32, "f4", torch.float32, jnp.bfloat16.
        The integers are drawn so small that every sum is exact in it, in any order; in half
        precision, where that cannot be, the sums are exact in float32, and the exact sum, rounded
        once, is right. NumPy has no bfloat16: its numbers are held in float32 arrays. Of complex
        numbers dx = W^H dy and dw = sum of conj(x) dy, as in PyTorch.
    batch : int
        Samples per random trial. Code that raises on 2 and takes 1, 4, 8, 16 or 32 is judged there.
    error : float
        Probability that two different implementations pass all random trials, at most; between 0
        and 1. In half precision it may not be reached: the certificate has the one that was.
    method : {"auto", "random", "exhaustive"}
        "exhaustive" evaluates every pair of basis vectors; "auto" does so for small layers, but
        of complex numbers and of integers, which are always drawn at random.
    seed : int, numpy.random.SeedSequence or None
        None draws fresh entropy; it is recorded, as an int.
    shapes : {"near"} or None
        "near" tries an implementation on other channels, pixels and kernels as well, those that
        its operands tell it; to refuse them by an exception is no fault.
    nonfinite : bool
        Report what NaN and infinity in x, w or dy reach, which is neither right nor wrong.
    threads : bool
        Run an implementation in two threads at once as well.
    accumulator : dtype of integers, or None
        What sums of integers are in: if wider than dtype, none wraps around; if dtype itself, all
        integers are drawn, and judged modulo 2^m. Gradients of None are not judged.
    gradgrad : bool
        Judge the derivatives of dx and dw as well, in float64 or float32, which
        `implementation.double_backward(x, w, dy, v, u)` returns: the gradients of <dx, v> by w and
        dy, and those of <dw, u> by x and dy.

    time_limit : float or None
        Seconds after which nothing new is begun; calls of an implementation are not interrupted.
        What could be decided by then is, with the error probability of the trials that were run;
        the rest is named. Without a trial it is undecided.

    Returns
    -------
    Certificate, or NetworkCertificate for a pool, a network or another layer that runs
        The latter with a bit budget and what every |x| met instead of a probability.

    Raises
    ------
    ValueError
        If sums are so long that no integers are exact in this dtype, or a layer is too large for
        "exhaustive".

    Notes
    -----
    Two different polynomials of total degree d agree at a random point of a grid with S values per
    variable with probability at most d / S (Schwartz, Zippel).

    Examples
    --------
    >>> from convdense import Conv
    >>> print(certify(Conv((1, 3, 3), out_channels=1, kernel=2)))  # doctest: +ELLIPSIS
    holds: y, dx, dw, db equal; every pair of basis vectors tried: a proof if bilinear
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    compared: every pair of basis vectors, and random integers of both signs, 170 calls in ...
    >>> bool(certify(Conv((3, 9, 8), out_channels=4, kernel=3, stride=2), dtype="float32"))
    True
    """
    if shapes is not None:
        choice(shapes, "shapes", ("near",))
    asked = {
        "near": shapes is not None,
        "nonfinite": flag(nonfinite, "nonfinite"),
        "threads": flag(threads, "threads"),
        "gradgrad": flag(gradgrad, "gradgrad"),
    }
    extra = tuple(word for word, is_asked in asked.items() if is_asked)
    if implementation is None and extra:
        name = "shapes" if extra[0] == "near" else extra[0]
        got = "'near'" if extra[0] == "near" else "True"
        raise ValueError(complain(name, got, "an implementation, to try it on"))
    clock = Clock(limited_time(time_limit))
    chosen = Chosen(dtype, batch, error, method, seed, extra, accumulator, clock)
    is_code_of_x = implementation is not None and (is_ready(layer) or isinstance(layer, AnyShape))
    of_x = is_code_of_x or isinstance(layer, (Pool, Network))
    layer = copy(layer)  # code that has the layer may change it
    decide = _certify_pool_or_network if of_x else _certify_layer
    certificate = decide(layer, implementation, chosen)
    done = not _raised(certificate) or clock.is_up
    if implementation is None or done or method == "exhaustive":
        return certificate
    # written for one batch size? Basis vectors come in others, and this one may not be asked for
    drawn_alone = chosen if of_x else replace(chosen, method="random")
    for one in ([] if of_x else [batch]) + [*(ONE_BATCH if batch == BATCH else ())]:
        again = decide(layer, implementation, replace(drawn_alone, batch=one))
        # and not one that raises now and then, and refuses no batch
        refuses = again.refuted or any(finding.verdict == REFUSED for finding in again.behaviour)
        if not _raised(again) and refuses:
            return again
    return certificate


def _raised(certificate: Certificate | NetworkCertificate) -> bool:
    return any(finding.verdict == RAISED for finding in certificate.findings)


@certified_again.register
def _(certificate: Certificate, implementation: Implementation | None) -> Certificate:
    c = certificate
    chosen = Chosen(c.dtype, c.batch, c.asked, c.method, c.seed, c.extra, c.accumulator or None)
    return _certify_layer(c.layer, implementation, chosen)


@certified_again.register
def _(certificate: NetworkCertificate, implementation: Implementation | None) -> NetworkCertificate:
    c = certificate
    chosen = Chosen(c.dtype, c.batch, ERROR, "auto", c.seed, c.extra)
    return _certify_pool_or_network(c.layer, implementation, chosen)


def _certify_pool_or_network(
    layer: HasShapes, implementation: Implementation | None, chosen: Chosen
) -> NetworkCertificate:
    """Refuse the options that pools and networks have no answer to, and decide with the others."""
    defaults = {"error": ERROR, "method": "auto", "gradgrad": False}
    for name, default in defaults.items():  # they are only piecewise polynomial
        value = getattr(chosen, name)
        if value != default:
            needs = f"{default!r} for a pool or a network, {NO_PROBABILITY}"
            raise ValueError(complain(name, repr(value), needs))

    users_pool = isinstance(layer, Pool) and implementation is not None
    chosen = chosen.checked((*EXACT, *HALF) if users_pool else EXACT, NO_INTEGERS)
    seed = drawn(chosen.seed)
    stored = implementation is None  # a user's pool is judged by direct pooling
    refuse_too_large(numbers_of_network(layer, chosen.batch, stored=stored), stored=stored)
    how = chosen.dtype, chosen.batch, seed
    if implementation is None:
        return certify_network(layer, *how)
    certificate = certify_pool(layer, implementation, *how, extra=chosen.extra, clock=chosen.clock)
    return replace(certificate, time_limit=chosen.clock.stopped)


def _certify_layer(
    layer: HasShapes, implementation: Implementation | None, chosen: Chosen
) -> Certificate:
    """Decide for one layer with weights, whose outputs are bilinear."""
    evaluators = two_evaluators(layer, implementation)
    of_users = () if implementation is None else (*HALF, *INTEGERS)
    chosen = chosen.checked((*EXACT, *COMPLEX, *of_users), "give an implementation as well")
    if chosen.gradgrad:
        needs_double_backward(implementation)
    ties, sums = tie(layer), chosen.accumulator
    require_cells(layer)
    if sums:
        ranges = ring_ranges(ties, chosen.dtype, sums, chosen.batch)
        evaluators = evaluators[0], modular_evaluator(layer, sums)
    else:
        ranges = exact_ranges(layer, chosen.dtype, chosen.batch)
    stored = implementation is None
    refuse_too_large(numbers_of_layer(ties, chosen.batch, stored=stored), stored=stored)

    explainer = None if implementation is None or sums else Explainer(layer, chosen.dtype)
    # a seed of as many bits as the error asks for, and 64 more
    seed = drawn(chosen.seed, 64 + ceil(-log2(chosen.error)))
    setup = Setup(chosen.dtype, chosen.batch, ranges, seed, chosen.clock)
    trials = _run_trials(ties, evaluators, setup, explainer, chosen)
    evaluator, reference = evaluators
    certificate = Certificate(
        layer,
        evaluator=evaluator.name,
        reference=reference.name,
        dtype=chosen.dtype,
        batch=chosen.batch,
        ranges=ranges,
        asked=chosen.error,
        seed=seed,
        accumulator=sums,
        interpreted=evaluator.interpreted,
        **trials._asdict(),
    )
    if sums:
        of_integers = layer, evaluator, trials.findings, setup
        review = review_integers(*of_integers, accumulator=sums, extra=chosen.extra)
    elif explainer is None:
        return replace(certificate, time_limit=chosen.clock.stopped)
    else:
        how = evaluators, layer, trials.findings, setup
        review = review_implementation(*how, error=chosen.error, extra=chosen.extra)
    behaviour = review.behaviour
    is_right = not any(finding.refuted for finding in review.findings)
    if chosen.gradgrad and is_right and not chosen.clock.is_up:
        behaviour = (double_backward(layer, implementation, setup), *behaviour)
    return replace(
        certificate,
        findings=review.findings,
        error=max(trials.error, review.error),
        behaviour=behaviour,
        precision=review.precision,
        tried_on=review.tried_on,
        extra=chosen.extra,
        time_limit=chosen.clock.stopped,
    )


class Trials(NamedTuple):
    """What trials found, and what repeats them; "exhaustive" leaves no error."""

    findings: tuple[Finding, ...]
    method: str
    trials: int
    error: float
    excused: Excused
    rounds: int = 0


def _run_trials(
    ties: TieMap,
    evaluators: tuple[Evaluator, Evaluator],
    setup: Setup,
    explainer: Explainer | None,
    chosen: Chosen,
) -> Trials:
    """Judge on every pair of basis vectors, or on as many random integers as the error asks for."""
    calls = exhaustive_calls(ties, chosen.batch, evaluators[0].quantities)
    # of forward alone it proves no larger layers: its calls are fewer, but of large batches
    is_small = exhaustive_calls(ties, chosen.batch) <= AUTO_CALLS
    # the basis vectors are held all at once, however few the calls
    size = max(calls, 20 * chosen.batch * max(ties.shape))
    if chosen.method == "exhaustive" and size > EXHAUSTIVE_CALLS:
        needs = f'at most {EXHAUSTIVE_CALLS:,} calls for method="exhaustive"'
        do = 'use method="random"'
        raise ValueError(complain("layer", f"{calls:,} basis pairs", needs, do))
    every_pair = chosen.method == "exhaustive" or (chosen.method == "auto" and is_small)
    if not every_pair or chosen.dtype not in (*EXACT, *HALF):
        return _run_random_trials(ties, evaluators, setup, explainer, chosen)

    findings = exhaustive(ties, *evaluators, setup, explainer)
    excused = () if explainer is None else tuple(explainer.allowed.items())
    resolution = basis_resolution(ties, chosen.dtype, chosen.batch)
    judged = [decided(f, excused, chosen.dtype, is_bounded=resolution < 1) for f in findings]
    if setup.clock.is_cut:  # no proof
        judged = undecided_all(
            judged, evaluators[0].quantities, "not every pair of basis vectors was met in time"
        )
        return Trials(tuple(judged), "exhaustive", setup.clock.steps, 1.0, excused)
    return Trials(tuple(judged), "exhaustive", calls, 0.0, excused)


def _run_random_trials(
    ties: TieMap,
    evaluators: tuple[Evaluator, Evaluator],
    setup: Setup,
    explainer: Explainer | None,
    chosen: Chosen,
) -> Trials:
    """Judge on as many random integers as the error asks for, and say what that error is."""
    bits, sums, ranges = -log2(chosen.error), chosen.accumulator, setup.ranges
    rounded = 0.0 if sums else rounded_away(ties, chosen.batch, chosen.dtype, ranges)
    of_floats = bits_per_trial(min(ranges), rounded=rounded)
    each = worth(chosen.dtype, sums, ranges) if sums else of_floats
    number = max(HALF_TRIALS, HALF_PRODUCTS // max(1, ties.n_entries))
    if chosen.dtype not in HALF or each * number > bits:
        number = ceil(bits / each)
    contracted, missed = None, 0.0
    layer = None if explainer is None else explainer.layer
    if chosen.dtype in EXACT and pays_off(layer, setup.batch):
        number, rounds = how_often(number, each, bits)
        missed = MISSED**rounds
        rng = np.random.default_rng((setup.seed, 6))  # a stream of its own beside the trials'
        contracted = Contracted(layer, chosen.dtype, rounds, rng)
    mine, by = evaluators
    dtype = sums or None  # that results need
    found = random(
        ties, mine, by, setup, number, explain=explainer, needed=dtype, contracted=contracted
    )

    if setup.clock.is_cut:
        number = setup.clock.steps
    excused = () if explainer is None else tuple(explainer.allowed.items())
    left = each if sums else bits_of_all(ranges, dict(excused), rounded)
    findings = []
    for finding in found:
        allowed = {name: bound for name, bound in excused if name == finding.name}
        is_bounded = bits_of_all(ranges, allowed, rounded) > 0
        findings.append(decided(finding, excused, chosen.dtype, is_bounded=is_bounded))
    error = max((2**-left + missed) ** number, SMALLEST)
    if not number:
        findings = undecided_all([], evaluators[0].quantities, "no trial was run in time")
    rounds = 0 if contracted is None else contracted.rounds
    return Trials(tuple(findings), "random", number, error, excused, rounds)
