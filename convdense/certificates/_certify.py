"""certify: equality without a tolerance, on integers whose sums are exact in every order.

An option of `certify` is defined here and nowhere else: its default, its check, and what a layer
with weights makes of it.
"""

from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Any, NamedTuple, TypedDict, Unpack, overload

from convdense._util.arguments import Seed, choice, complain, drawn, seed_or_none
from convdense._util.float_formats import EXACT, FORMATS, HALF, spelled
from convdense._util.foreign_names import explained
from convdense.certificates.certificate_base import certified_again
from convdense.certificates.implementation_review import review_implementation
from convdense.certificates.integer_ranges import Ranges, exact_ranges, limited
from convdense.certificates.integer_trials import exhaustive, exhaustive_calls, random
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
from convdense.certificates.rounding_explainer import Explainer, bits_of_all, bits_per_trial
from convdense.geometry import HasShapes, HasWeightShapes, Implementation, Pool, require_cells
from convdense.implementations.evaluators import Evaluator, two_evaluators
from convdense.networks.network import Network
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import Finding

ERROR = 2**-64  # the probability of error that is asked for by default
# up to here every basis pair costs less than a second, and leaves nothing to chance
AUTO_CALLS = 1_000
EXHAUSTIVE_CALLS = 100_000
SMALLEST = 5e-324  # a probability that is not 0, however many the trials


class Options(TypedDict, total=False):
    """The options of `certify`, as both of its signatures have them."""

    dtype: object
    batch: int
    error: float
    method: str
    seed: Seed


@dataclass(frozen=True)
class Chosen:
    """The options of one call; `checked` returns them as plain data."""

    dtype: Any  # a str once it is checked, as seed is an int then
    batch: int
    error: float
    method: str
    seed: Any

    def checked(self, formats: tuple[str, ...]) -> "Chosen":
        """Return the options as plain Python numbers and words, or refuse what they cannot be."""
        seed = seed_or_none(self.seed)
        choice(self.method, "method", ("auto", "random", "exhaustive"))
        error = _probability(self.error)
        batch = limited(self.batch)
        dtype = choice(spelled(self.dtype), "dtype", formats)
        return Chosen(dtype, batch, error, self.method, seed)


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
    batch: int = 2,
    error: float = ERROR,
    method: str = "auto",
    seed: Seed = None,
) -> Certificate | NetworkCertificate:
    """Decide exactly whether the tied dense layer is direct convolution, or an implementation is.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network
    implementation : object with forward(x, w, b) and backward(x, w, dy), or None
        ``forward -> y`` adds the bias b, ``backward -> (dx, dw, db)``, or db=None: then it is not
        judged. For a pool ``forward(x) -> y`` and ``backward(x, dy) -> dx``; a network is judged
        itself. None judges the tied dense layer.
    dtype : {"float64", "float32"}, of an implementation also {"float16", "bfloat16"}
        Or as NumPy, PyTorch or JAX spell it: np.float32, "f4", torch.float32, jnp.bfloat16.
        The integers are drawn so small that every sum is exact in it, in any order; in the last
        two, where that cannot be, sums are within rounding. NumPy has no bfloat16: its numbers are
        held in float32 arrays.
    batch : int
        Samples per random trial.
    error : float
        Probability that two different implementations pass all random trials, at most; between 0
        and 1.
    method : {"auto", "random", "exhaustive"}
        "exhaustive" evaluates every pair of basis vectors; "auto" does so for small layers.
    seed : int, numpy.random.SeedSequence or None
        None draws fresh entropy; it is recorded, as an int.

    Returns
    -------
    Certificate, or NetworkCertificate for a pool or a network
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
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    every pair of basis vectors, and random integers of both signs, 170 calls in float64, ...
    >>> bool(certify(Conv((3, 9, 8), out_channels=4, kernel=3, stride=2), dtype="float32"))
    True
    """
    chosen = Chosen(dtype, batch, error, method, seed)
    if isinstance(layer, (Pool, Network)):
        return _certify_pool_or_network(layer, implementation, chosen)
    return _certify_layer(layer, implementation, chosen)


@certified_again.register
def _(certificate: Certificate, implementation: Implementation | None) -> Certificate:
    c = certificate
    chosen = Chosen(c.dtype, c.batch, error=c.asked, method=c.method, seed=c.seed)
    return _certify_layer(c.layer, implementation, chosen)


@certified_again.register
def _(certificate: NetworkCertificate, implementation: Implementation | None) -> NetworkCertificate:
    c = certificate
    chosen = Chosen(c.dtype, c.batch, ERROR, "auto", c.seed)
    return _certify_pool_or_network(c.layer, implementation, chosen)


def _certify_pool_or_network(
    layer: Pool | Network, implementation: Implementation | None, chosen: Chosen
) -> NetworkCertificate:
    """Refuse the options that pools and networks have no answer to, and decide with the others."""
    defaults = {"error": ERROR, "method": "auto"}
    for name, default in defaults.items():  # they are only piecewise polynomial
        value = getattr(chosen, name)
        if value != default:
            needs = (
                f"{default!r} for a pool or a network, "
                "whose certificate reports what was met and no probability"
            )
            raise ValueError(complain(name, repr(value), needs))

    users_pool = isinstance(layer, Pool) and implementation is not None
    chosen = chosen.checked(tuple(FORMATS) if users_pool else EXACT)
    seed = drawn(chosen.seed)
    stored = implementation is None  # a user's pool is judged by direct pooling
    refuse_too_large(numbers_of_network(layer, chosen.batch, stored=stored), stored=stored)
    if isinstance(layer, Pool) and implementation is not None:
        return certify_pool(layer, implementation, chosen.dtype, chosen.batch, seed)
    return certify_network(layer, implementation, chosen.dtype, chosen.batch, seed)


def _certify_layer(
    layer: HasShapes, implementation: Implementation | None, chosen: Chosen
) -> Certificate:
    """Decide for one layer with weights, whose outputs are bilinear."""
    evaluators = two_evaluators(layer, implementation)
    chosen = chosen.checked(EXACT if implementation is None else (*EXACT, *HALF))
    ties = tie(layer)
    require_cells(layer)
    ranges = exact_ranges(layer, chosen.dtype, chosen.batch)
    stored = implementation is None
    refuse_too_large(numbers_of_layer(ties, chosen.batch, stored=stored), stored=stored)

    explainer = None if implementation is None else Explainer(layer, chosen.dtype)
    trials = _run_trials(ties, evaluators, ranges, explainer, chosen)
    evaluator, reference = evaluators
    certificate = Certificate(
        layer,
        trials.findings,
        evaluator.name,
        reference.name,
        method=trials.method,
        dtype=chosen.dtype,
        batch=chosen.batch,
        trials=trials.number,
        ranges=ranges,
        error=trials.error,
        asked=chosen.error,
        seed=trials.seed,
    )
    if explainer is None:
        return certificate

    review = review_implementation(
        evaluators,
        explainer,
        trials.findings,
        ranges=ranges,
        batch=chosen.batch,
        error=chosen.error,
        seed=trials.seed or 0,
    )
    return replace(
        certificate,
        findings=review.findings,
        error=max(trials.error, review.error),
        behaviour=review.behaviour,
        precision=review.precision,
        tried_on=review.tried_on,
    )


class Trials(NamedTuple):
    """What trials found, and what repeats them: "exhaustive" has no seed and leaves no error."""

    findings: tuple[Finding, ...]
    method: str
    number: int
    seed: int | None
    error: float


def _run_trials(
    ties: TieMap,
    evaluators: tuple[Evaluator, Evaluator],
    ranges: Ranges,
    explainer: Explainer | None,
    chosen: Chosen,
) -> Trials:
    """Judge on every pair of basis vectors, or on as many random integers as the error asks for."""
    calls = exhaustive_calls(ties, chosen.batch)
    how: dict[str, Any] = {"batch": chosen.batch, "ranges": ranges, "explain": explainer}
    # the basis vectors are held all at once, however few the calls
    size = max(calls, 20 * chosen.batch * max(ties.shape))
    if chosen.method == "exhaustive" and size > EXHAUSTIVE_CALLS:
        needs = f'at most {EXHAUSTIVE_CALLS:,} calls for method="exhaustive"'
        do = 'use method="random"'
        raise ValueError(complain("layer", f"{calls:,} basis pairs", needs, do))
    if chosen.method == "exhaustive" or (chosen.method == "auto" and calls <= AUTO_CALLS):
        findings = exhaustive(ties, *evaluators, chosen.dtype, **how)
        return Trials(findings, "exhaustive", calls, seed=None, error=0.0)

    bits = -log2(chosen.error)
    # a seed of as many bits as the error asks for, and 64 more
    seed = drawn(chosen.seed, 64 + ceil(bits))
    number = ceil(bits / bits_per_trial(min(ranges)))
    findings = random(ties, *evaluators, chosen.dtype, trials=number, seed=seed, **how)
    allowed = {} if explainer is None else explainer.allowed
    error = max(2 ** (-bits_of_all(ranges, allowed) * number), SMALLEST)
    return Trials(findings, "random", number, seed, error)


def _probability(value: Any) -> float:
    needs = "a probability between 0 and 1, such as 2**-64"
    if not isinstance(value, (int, float)):
        raise TypeError(complain("error", repr(value), needs))
    if not 0 < value < 1:
        raise ValueError(complain("error", value, needs))
    return float(value)
