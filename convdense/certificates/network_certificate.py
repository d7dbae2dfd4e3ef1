"""NetworkCertificate: dense layers and |x|, or a user's code, against the direct counterpart.

What `certify` does for pools, networks and other layers that run, and what it found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain
from convdense._util.float_formats import FORMATS
from convdense.certificates.certificate_base import ImplementationJudgement, parts_from_plain, rerun
from convdense.certificates.clock import Clock
from convdense.certificates.pool_certificate import DRAWS, LARGEST, judge_pool
from convdense.certificates.sentences import say
from convdense.geometry import HasShapes, Implementation, Pool
from convdense.implementations.evaluators import DENSE_NETWORK, DIRECT_COUNTERPART, pool_functions
from convdense.implementations.pool_calls import DIRECT_POOL
from convdense.layers.base import require_real
from convdense.layers.dense_form import Absolute, Step, back_through
from convdense.layers.error_bounds import integer_unit
from convdense.layers.plain_form import plain_to_layer
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.rounding.fixed_network import FixedNetwork, Judged
from convdense.rounding.magnitude_sums import bit_budget
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, Finding, keep_worst
from convdense.verdicts.schema import upgraded


@dataclass(frozen=True, repr=False)
class NetworkCertificate(ImplementationJudgement):
    """What `certify` found on a pool, a network or another layer that runs; true if all holds.

    Equal is bit for bit, or within rounding where powers and roots, or parameters, let sums round.

    Attributes
    ----------
    layer, findings
        What was judged; one `Finding` for y, dx, and each parameter's gradient, the worst seen.
    dtype, batch, trials, seed
        What to repeat.
    bits : int
        The bit budget: integers of the longest sum of magnitudes, at most 24 or 53; 0 where a
        network's own parameters, which the user's code is held to, let sums round.
    coverage : tuple of float, or None where there is no |x|
        The shares of the coordinates of |x| that were seen positive, zero and negative.
    met : tuple of float, or None
        Of the user's max or min pool: the shares of a window's cells that won alone, and of their
        pairs that tied.
    behaviour, precision
        Of the user's code, as for `Certificate`.
    extra : tuple of str
        What was tried because it was asked for: "near", "nonfinite", "threads".
    interpreted : bool
        As for `Certificate`.
    rules, rerun_of : int
        As for `Certificate`.

    Examples
    --------
    >>> from convdense import MaxPool, certify
    >>> certificate = certify(MaxPool((1, 4), kernel=2), seed=0)
    >>> bool(certificate), certificate.bits, certificate.coverage
    (True, 5, (1.0, 1.0, 1.0))
    >>> NetworkCertificate.from_dict(certificate.to_dict()) == certificate
    True
    """

    batch: int
    trials: int
    bits: int
    coverage: tuple[float, float, float] | None
    met: tuple[float, float] | None = None

    @property
    def how(self) -> str:
        """What was compared and tried, on what; a piecewise polynomial allows no probability."""
        fields = ("trials", "dtype", "batch", "seed")
        key = "trials"
        if self._is_implementation and self.reference == DIRECT_COUNTERPART:
            key = "functions"
        # as soon as all is wrong, the trials of a user's code end
        if self._is_implementation and all(f.refuted for f in self.findings):
            key = "stopped"
        sums = say("exact sums", bits=self.bits, most=FORMATS[self.dtype].bits)
        compared = [
            say(key, **{name: getattr(self, name) for name in fields}),
            sums if self.bits else say("rounded sums"),
        ]
        if self.coverage is not None:
            positive, zero, negative = self.coverage
            compared.append(say("signs", positive=positive, zero=zero, negative=negative))
        if self.met is not None:
            won, tied = self.met
            compared.append(say("cells", won=won, tied=tied))
        return self._lines(compared, [])

    @property
    def _sure(self) -> str:
        return say("pieces", trials=self.trials)

    def rerun(self, implementation: Implementation | None = None) -> "NetworkCertificate":
        """Repeat the very same trials, by today's rules; the implementation must be given again."""
        return rerun(self, implementation, lambda c: f"{c.trials} trials, {c.bits} bits")

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        return self._to_plain("network certificate", _PLAIN)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "NetworkCertificate":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        fields: dict[str, Any] = {name: data.get(name) for name in _PLAIN}
        for name in ("coverage", "met"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        layer = plain_to_layer(data["layer"])
        of_users_pool = isinstance(layer, Pool) and fields["evaluator"] != DENSE_NETWORK
        return cls(
            layer=layer,
            reference=DIRECT_POOL if of_users_pool else DIRECT_COUNTERPART,
            **parts_from_plain(data),
            **fields,
        )


# the fields that are in the JSON as they are
_PLAIN = ("evaluator", "dtype", "batch", "trials", "seed", "bits", "coverage", "met")


def certify_pool(
    pool: HasShapes,
    implementation: Implementation,
    dtype: str,
    batch: int,
    seed: int,
    *,
    extra: tuple[str, ...] = (),
    clock: Clock,
) -> NetworkCertificate:
    """Decide on integers whether the user's pool, or other code of x, is right, ties included."""
    reference = DIRECT_POOL if isinstance(pool, Pool) else DIRECT_COUNTERPART
    held: Judged = pool if isinstance(pool, Pool) else FixedNetwork(_judgeable(pool))
    how: dict[str, Any] = {"dtype": dtype, "batch": batch, "seed": seed}
    review = judge_pool(held, implementation, **how, extra=extra, clock=clock)
    mine = pool_functions(implementation)
    return NetworkCertificate(
        pool,
        evaluator=mine.name,
        reference=reference,
        dtype=dtype,
        batch=batch,
        seed=seed,
        coverage=None,
        extra=extra,
        interpreted=mine.interpreted,
        **review._asdict(),
    )


def certify_network(layer: HasShapes, dtype: str, batch: int, seed: int) -> NetworkCertificate:
    """Decide on integers whether dense layers and |x| are the direct network, ties included."""
    net = _judgeable(layer)
    unit = integer_unit(net)
    budgets = _fitting_budgets(net, unit, dtype, batch)
    trials = [
        trial
        for m in budgets
        for trial in _drawn(net, unit, m, dtype=dtype, batch=batch, seed=seed)
    ]

    findings: dict[str, Finding] = {}
    met = []
    for trial, x, dy in trials:
        steps = trial.dense_layers()
        met.append(_signs_met(steps, x))
        for finding in _compared(trial, steps, x, dy):
            keep_worst(findings, finding)

    # each (coordinates of |x|,): seen in any of the trials
    positive, zero, negative = (np.logical_or.reduce(parts) for parts in zip(*met, strict=True))
    coverage = None
    if positive.size:
        coverage = float(positive.mean()), float(zero.mean()), float(negative.mean())
    return NetworkCertificate(
        layer,
        tuple(findings.values()),
        evaluator=DENSE_NETWORK,
        reference=DIRECT_COUNTERPART,
        dtype=dtype,
        batch=batch,
        trials=len(trials),
        seed=seed,
        bits=max(budgets.values()),
        coverage=coverage,
    )


def _judgeable(layer: HasShapes) -> Network:
    """Return a layer as a network, or refuse what has no exact answer."""
    net = layer if isinstance(layer, Network) else network(layer)
    net.direct()  # a layer without a direct form is refused here
    require_real(net.parameters, "certify")
    return net


def _fitting_budgets(net: Network, unit: int, dtype: str, batch: int) -> dict[int, int]:
    """Return the largest integers whose sums are exact, each with the bits that its sums need."""
    exact = FORMATS[dtype].bits

    def needed(m: int) -> int:  # bits of sums of integers up to m, at most: with all of them at m
        return bit_budget(*_filled(net, unit, batch, lambda n, times: np.full(n, float(m * times))))

    budgets = {m: needed(m) for m in LARGEST}
    fitting = {m: bits for m, bits in budgets.items() if bits <= exact}
    if not fitting:
        needs = f"at most {exact}, up to where {dtype} counts exactly"
        wider = "" if dtype == "float64" else 'dtype="float64", '
        do = (
            f"use {wider}a smaller batch, a shorter network, or divisors and slopes of few bits; "
            "or check, for floats"
        )
        raise ValueError(complain("layer", f"sums of {min(budgets.values())} bits", needs, do))
    return fitting


def _drawn(
    net: Network, unit: int, m: int, *, dtype: str, batch: int, seed: int
) -> Iterator[tuple[Network, Array, Array]]:
    """Yield networks of whole parameters, x and dy: multiples of what leaves quotients whole."""

    def whole_numbers(rng: np.random.Generator, shape: tuple[int, ...], times: int) -> Array:
        drawn = rng.integers(-m, m, shape, endpoint=True)
        return np.asarray((times * drawn).astype(dtype))

    for draw in range(DRAWS):
        rng = np.random.default_rng((seed, m, draw))
        yield _filled(net, unit, batch, partial(whole_numbers, rng))


def _filled(
    net: Network, unit: int, batch: int, fill: Callable[[tuple[int, ...], int], Array]
) -> tuple[Network, Array, Array]:
    """Return the network with parameters, x and dy that `fill` makes: multiples of a number.

    x and dy are multiples of the unit, and so is a bias, which is added to x.
    """
    parameters = {
        name: fill(array.shape, unit if name.rpartition(".")[2] == "b" else 1)
        for name, array in net.parameters.items()
    }
    x, dy = (fill((batch, *shape), unit) for shape in (net.in_shape, net.out_shape))
    return net.with_parameters(parameters), x, dy


def _signs_met(steps: list[Step], x: Array) -> tuple[Array, Array, Array]:
    """Return which coordinates of |x| were positive, zero and negative: (coordinates,) each."""
    values = x.reshape(len(x), -1)
    bent = [values[:, :0]]  # what enters each |x|, (batch, its coordinates)
    for step in steps:
        if isinstance(step, Absolute):
            bent.append(values[:, step.mask])
        values = step.forward(values)
    entered = np.concatenate(bent, axis=1)
    return np.any(entered > 0, axis=0), np.any(entered == 0, axis=0), np.any(entered < 0, axis=0)


def _compared(net: Network, steps: list[Step], x: Array, dy: Array) -> Iterator[Finding]:
    """Yield the verdicts of one trial: on the layers, and on the dense layers they consist of."""
    direct = net.direct()
    y = direct.forward(x)
    dx, gradients = direct.backward(x, dy)
    own_dx, own = net.backward(x, dy)
    listed_y, listed_dx, listed = back_through(
        steps, x.reshape(len(x), -1), dy.reshape(len(dy), -1)
    )

    results = {"y": (net.forward(x), listed_y, y), "dx": (own_dx, listed_dx, dx)}
    results |= {name: (own[name], listed[name], gradient) for name, gradient in gradients.items()}
    for name, (got, in_a_row, expected) in results.items():
        finding = compare(name, got, expected)
        if finding.verdict == EQUAL:
            finding = compare(name, in_a_row.reshape(expected.shape), expected)
        yield finding
