"""certify for pools and networks: dense layers and |x| against the direct counterpart, on integers, bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from secrets import randbits
from typing import Any

import numpy as np

from convdense._util.arguments import Array, choice, complain, integer
from convdense._util.float_formats import EXACT, FORMATS
from convdense.certificates.certificate_base import ImplementationJudgement, lines, parts_from_plain
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.integer_ranges import PRECISION, limited
from convdense.certificates.pool_certificate import DRAWS, LARGEST, judge_pool
from convdense.geometry import Pool
from convdense.implementations.evaluators import (
    DENSE_NETWORK,
    DIRECT_COUNTERPART,
    needs_implementation,
    pool_functions,
)
from convdense.implementations.pool_calls import DIRECT_POOL
from convdense.layers.dense_form import Absolute, Step, back_through
from convdense.layers.error_bounds import integer_unit
from convdense.layers.plain_form import plain_to_layer
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.rounding.magnitude_sums import bit_budget
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, Finding
from convdense.verdicts.schema import upgraded


@dataclass(frozen=True, repr=False)
class NetworkCertificate(ImplementationJudgement):
    """What `certify` found on a pool or a network; true if everything is equal bit for bit in every
    trial.

    Attributes
    ----------
    layer, findings
        What was judged; one `Finding` for y, dx, and each parameter's gradient, the first
        difference seen.
    dtype, batch, trials, seed
        What to repeat.
    bits : int
        The bit budget: integers of the longest sum of magnitudes, at most 24 or 53.
    coverage : tuple of float, or None where there is no |x|
        The shares of the coordinates of |x| that were seen positive, zero and negative.
    met : tuple of float, or None
        Of the user's max or min pool: the shares of a window's cells that won alone, and of their
        pairs that tied.
    behaviour, precision
        Of the user's pool, as for `Certificate`.

    Examples
    --------
    >>> from convdense import MaxPool, certify
    >>> certificate = certify(MaxPool((1, 4), kernel=2), seed=0)
    >>> bool(certificate), certificate.bits, certificate.coverage
    (True, 5, (1.0, 1.0, 1.0))
    >>> NetworkCertificate.from_dict(certificate.to_dict()) == certificate
    True
    """

    evaluator: str
    dtype: str
    batch: int
    trials: int
    seed: int
    bits: int
    coverage: tuple[float, float, float] | None
    met: tuple[float, float] | None = None
    behaviour: tuple[Finding, ...] = ()
    precision: tuple[Precision, ...] = ()

    @property
    def compared(self) -> str:
        """What was compared with what."""
        return f"{self.evaluator} against {DIRECT_COUNTERPART if self.evaluator == DENSE_NETWORK else DIRECT_POOL}"

    @property
    def how(self) -> str:
        """How sure it is: what was met, for a piecewise polynomial allows no probability."""
        met = "no |x|"
        if self.coverage is not None:
            met = "|x| met {:.0%} positive, {:.0%} zero and {:.0%} negative of its coordinates".format(
                *self.coverage
            )
        elif self.met is not None:
            met = "{:.0%} of the windows' cells won, {:.0%} of their pairs tied".format(*self.met)
        return "\n".join((*lines(self.behaviour, self.precision), self._trials(met)))

    def _trials(self, met: str) -> str:
        return (
            f"{self.trials} random trials on integers in {self.dtype}, batch {self.batch}, {self.bits} bits of "
            f"{FORMATS[self.dtype].bits}: every sum exact in any order; {met}; seed {self.seed}"
        )

    def rerun(self, implementation: Any = None) -> "NetworkCertificate":
        """Repeat the very same trials; a verdict on an implementation needs the implementation."""
        needs_implementation(self.evaluator, implementation)
        if self.seed is None:
            raise ValueError(complain("seed", None, "the seed the trials were drawn with"))
        again = certify_network(
            self.layer, implementation, dtype=self.dtype, batch=self.batch, seed=self.seed
        )
        if (again.trials, again.bits) != (self.trials, self.bits):
            got, needs = (
                f"{self.trials} trials, {self.bits} bits",
                f"{again.trials} trials, {again.bits} bits",
            )
            raise ValueError(complain("certificate", got, needs, "was it edited?"))
        return again

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        return self._to_plain("network certificate", _PLAIN)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "NetworkCertificate":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        plain = parts_from_plain(data) | {name: data.get(name) for name in _PLAIN}
        plain |= {name: plain[name] and tuple(plain[name]) for name in ("coverage", "met")}
        return cls(plain_to_layer(data["layer"]), **plain)


_PLAIN = ("evaluator", "dtype", "batch", "trials", "seed", "bits", "coverage", "met")


def certify_network(
    layer: Pool | Network, implementation: Any = None, *, dtype: Any, batch: Any, seed: int | None
) -> NetworkCertificate:
    """Decide on integers whether dense layers and |x| (or the user's pool) are the direct network, ties included."""
    theirs = isinstance(layer, Pool) and implementation is not None
    name = choice(
        dtype.name if isinstance(dtype, np.dtype) else dtype,
        "dtype",
        tuple(FORMATS) if theirs else EXACT,
    )
    batch, seed = limited(batch), randbits(64) if seed is None else integer(seed, "seed", 0)
    run: dict[str, Any] = {"dtype": name, "batch": batch, "seed": seed}
    if isinstance(layer, Pool) and theirs:
        judged = judge_pool(layer, implementation, **run)._asdict()
        evaluator = pool_functions(implementation)[2]
        return NetworkCertificate(layer, coverage=None, evaluator=evaluator, **judged, **run)
    net = network(layer) if isinstance(layer, Pool) else layer
    _judgeable(net, implementation)
    unit = integer_unit(net)
    budgets = {m: _budget(net, unit, m, batch) for m in LARGEST}
    fitting = [m for m, bits in budgets.items() if bits <= PRECISION[name]]
    if not fitting:
        needs = f"at most {PRECISION[name]}, up to where {name} counts exactly"
        wider = 'dtype="float64", ' if name == "float32" else ""
        do = f"use {wider}a smaller batch, a shorter network, or divisors and slopes of few bits; or check, for floats"
        raise ValueError(complain("layer", f"sums of {min(budgets.values())} bits", needs, do))
    trials = [trial for m in fitting for trial in _drawn(net, unit, m, (name, batch, seed))]
    findings: dict[str, Finding] = {}
    seen: list[Array] | None = None
    for trial, x, dy in trials:
        steps = trial.dense_layers()
        met = _met(steps, x)
        seen = met if seen is None else [a | b for a, b in zip(seen, met, strict=True)]
        for finding in _compared(trial, steps, x, dy):
            if finding.name not in findings or findings[finding.name].verdict == EQUAL:
                findings[finding.name] = finding
    coverage = None if not seen or not seen[0].size else tuple(float(part.mean()) for part in seen)
    run |= {"trials": len(trials), "bits": max(budgets[m] for m in fitting), "coverage": coverage}
    return NetworkCertificate(layer, tuple(findings.values()), DENSE_NETWORK, **run)


def _judgeable(net: Network, implementation: Any) -> None:
    """Refuse what has no exact answer, and implementations of whole networks."""
    net.direct()  # a layer without a direct form is refused here
    for name, array in net.parameters.items():
        if array.dtype.kind == "c":
            raise TypeError(
                complain(
                    name,
                    f"dtype {array.dtype}",
                    "real numbers",
                    "certify complex layers one by one",
                )
            )
    if implementation is not None:
        raise TypeError(
            complain(
                "implementation", repr(implementation), "none for a network", "certify its layers"
            )
        )


def _budget(net: Network, unit: int, m: int, batch: int) -> int:
    """Return the bits that integers up to m may need, whatever is drawn: those of all of them at their largest."""
    parameters = {
        k: np.full(a.shape, float(m * (unit if _is_bias(k) else 1)))
        for k, a in net.parameters.items()
    }
    x, dy = (np.full((batch, *shape), float(m * unit)) for shape in (net.in_shape, net.out_shape))
    return bit_budget(net.with_parameters(parameters), x, dy)


def _drawn(
    net: Network, unit: int, m: int, run: tuple[str, int, int]
) -> Iterator[tuple[Network, Array, Array]]:
    """Yield networks with whole parameters, x and dy: multiples of the unit, so that divisions leave whole numbers."""
    dtype, batch, seed = run
    for draw in range(DRAWS):
        rng = np.random.default_rng((seed, m, draw))

        def whole_numbers(
            shape: tuple[int, ...], times: int, rng: np.random.Generator = rng
        ) -> Array:
            return np.asarray((times * rng.integers(-m, m, shape, endpoint=True)).astype(dtype))

        parameters = {
            k: whole_numbers(a.shape, unit if _is_bias(k) else 1) for k, a in net.parameters.items()
        }
        x, dy = (whole_numbers((batch, *shape), unit) for shape in (net.in_shape, net.out_shape))
        yield net.with_parameters(parameters), x, dy


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "b"


def _met(steps: list[Step], x: Array) -> list[Array]:
    """Return which coordinates of |x| were positive, zero and negative, each (coordinates,) bool."""
    met: list[list[Array]] = [[np.zeros(0, bool)] for _ in range(3)]
    values = x.reshape(len(x), -1)
    for step in steps:
        if isinstance(step, Absolute):
            bent = values[:, step.mask]
            for part, where in zip(met, (bent > 0, bent == 0, bent < 0), strict=True):
                part.append(where.any(axis=0))
        values = step.forward(values)
    return [np.concatenate(part) for part in met]


def _compared(net: Network, steps: list[Step], x: Array, dy: Array) -> Iterator[Finding]:
    """Yield the verdicts of one trial: the layers one by one, and the list of dense layers they come apart into."""
    direct = net.direct()
    y, (dx, gradients) = direct.forward(x), direct.backward(x, dy)
    listed_y, listed_dx, listed = back_through(
        steps, x.reshape(len(x), -1), dy.reshape(len(dy), -1)
    )
    own_dx, own = net.backward(x, dy)
    results = {"y": (net.forward(x), listed_y, y), "dx": (own_dx, listed_dx, dx)}
    results |= {name: (own[name], listed[name], gradient) for name, gradient in gradients.items()}
    for name, (got, taken_apart, expected) in results.items():
        finding = compare(name, got, expected)
        if finding.verdict == EQUAL:
            finding = compare(name, taken_apart.reshape(expected.shape), expected)
        yield finding
