"""certify: equality without a tolerance, on integers so small that every order of summation is exact."""

from dataclasses import dataclass
from math import ceil, log2
from secrets import randbits
from typing import Any, overload

import numpy as np

from convdense.arguments import choice, complain, integer
from convdense.checks.exact_network import NetworkCertificate, certify_network
from convdense.checks.ranges import PRECISION, Ranges, exact_ranges, limited
from convdense.checks.report import Finding, Judgement
from convdense.checks.roads import needs_implementation, two_roads
from convdense.checks.trials import exhaustive, exhaustive_calls, random
from convdense.geometry import Pool
from convdense.networks import Network
from convdense.plain import layer_to_plain, plain_to_layer
from convdense.ties import tie

AUTO_CALLS = 1_000  # up to here every basis pair costs less than a second, and leaves nothing to chance
EXHAUSTIVE_CALLS = 100_000


@dataclass(frozen=True)
class Certificate(Judgement):
    """What `certify` found; true if y, dx, dw and db are equal bit for bit in every trial.

    Attributes
    ----------
    layer, findings
        What was judged; one `Finding` for each of y, dx, dw, db, the first difference seen.
    method : str
        "random" or "exhaustive" (every pair of basis vectors).
    dtype, batch, trials, seed
        What to repeat; seed is None for "exhaustive".
    ranges : Ranges
        The largest integers drawn.
    error : float
        Upper bound on the probability that two different implementations pass, over the seed; 0 for "exhaustive".

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> certificate = certify(Conv((2, 6, 5), out_channels=3, kernel=3), method="random", seed=1)
    >>> bool(certificate), certificate.trials, certificate.error <= 2**-64
    (True, 3, True)
    >>> Certificate.from_dict(certificate.to_dict()) == certificate
    True
    """

    road: str
    by: str
    method: str
    dtype: str
    batch: int
    trials: int
    ranges: Ranges
    error: float
    asked: float
    seed: int | None

    @property
    def compared(self) -> str:
        """What was compared with what."""
        return f"{self.road} against {self.by}"

    @property
    def resolution(self) -> float:
        """Relative size below which an error in one product of the largest numbers drawn can hide in a rounding."""
        m = self.ranges
        return 1 / (2 * min(m.x * m.w, m.w * m.dy, m.x * m.dy))

    @property
    def how(self) -> str:
        """How sure it is, with the assumption it rests on."""
        if self.method == "exhaustive":
            return (
                f"every pair of basis vectors, and random integers of both signs, {self.trials} calls in {self.dtype}, "
                f"batch {self.batch}: a proof for "
                "all real inputs of this shape, if y is bilinear in x and w plus linear in b, dx bilinear in w and dy, "
                "dw in x and dy, db linear in dy, all evaluated exactly"
            )
        return (
            f"{self.trials} random trials on integers in {self.dtype}, batch {self.batch}: error probability at most "
            f"2^{ceil(log2(self.error))}, if the outputs are polynomials of degree at most 2 in the drawn integers, "
            f"evaluated exactly; a relative error below 2^{ceil(log2(self.resolution))} in one product can pass; "
            f"over seeds drawn at random, here {self.seed}"
        )

    def rerun(self, implementation: Any = None) -> "Certificate":
        """Repeat the very same trials; a verdict on an implementation needs the implementation."""
        needs_implementation(self.road, implementation)
        if self.method == "random" and self.seed is None:
            raise ValueError(complain("seed", None, "the seed the trials were drawn with"))
        again = certify_bilinear(
            self.layer,
            implementation,
            dtype=self.dtype,
            batch=self.batch,
            error=self.asked,
            method=self.method,
            seed=self.seed,
        )
        if (again.trials, again.ranges, again.error) != (self.trials, self.ranges, self.error):
            got = f"{self.trials} trials, {self.ranges}, error {self.error}"
            raise ValueError(
                complain("certificate", got, f"{again.trials}, {again.ranges}, {again.error}", "was it edited?")
            )
        return again

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        data = {name: getattr(self, name) for name in _PLAIN}
        findings = [f.to_dict() for f in self.findings]
        return {
            "kind": "certificate",
            "layer": layer_to_plain(self.layer),
            "holds": bool(self),
            **data,
            "ranges": self.ranges._asdict(),
            "findings": findings,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Certificate":
        """Read back what `to_dict` wrote."""
        findings = tuple(Finding.from_dict(f) for f in data["findings"])
        plain = {name: data[name] for name in _PLAIN}
        return cls(plain_to_layer(data["layer"]), findings, ranges=Ranges(**data["ranges"]), **plain)


_PLAIN = ("road", "by", "method", "dtype", "batch", "trials", "error", "asked", "seed")


@overload
def certify(
    layer: Pool | Network,
    implementation: Any = None,
    *,
    dtype: str = ...,
    batch: int = ...,
    error: float = ...,
    method: str = ...,
    seed: int | None = ...,
) -> NetworkCertificate: ...


@overload
def certify(
    layer: Any,
    implementation: Any = None,
    *,
    dtype: str = ...,
    batch: int = ...,
    error: float = ...,
    method: str = ...,
    seed: int | None = ...,
) -> Certificate: ...


def certify(
    layer: Any,
    implementation: Any = None,
    *,
    dtype: str = "float64",
    batch: int = 2,
    error: float = 2**-64,
    method: str = "auto",
    seed: int | None = None,
) -> Certificate | NetworkCertificate:
    """Decide exactly whether the tied dense layer (or an implementation) and direct convolution are the same.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, any pool, or a Network
    implementation : object with forward(x, w, b) and backward(x, w, dy), or None for the tied dense layer
        ``forward -> y`` adds the bias b, ``backward -> (dx, dw, db)``, or db=None: then it is not judged. For a pool
        ``forward(x) -> y`` and ``backward(x, dy) -> dx``; a network is judged itself.
    dtype : {"float64", "float32"}
        The integers are drawn so small that every sum is exact in it, in any order.
    batch : int
        Samples per random trial.
    error : float
        Probability that two different implementations pass all random trials, at most; between 0 and 1.
    method : {"auto", "random", "exhaustive"}
        "exhaustive" evaluates every pair of basis vectors; "auto" does so for small layers.
    seed : int or None
        None draws fresh entropy; it is recorded.

    Returns
    -------
    Certificate, or NetworkCertificate for a pool or a network
        The latter with a bit budget and what the kinks met instead of a probability.

    Raises
    ------
    ValueError
        If sums are so long that no integers are exact in this dtype, or a layer is too large for "exhaustive".

    Notes
    -----
    Two different polynomials of total degree d agree at a random point of a grid with S values per variable with
    probability at most d / S (Schwartz, Zippel).

    Examples
    --------
    >>> from convdense import Conv
    >>> print(certify(Conv((1, 3, 3), out_channels=1, kernel=2)))  # doctest: +ELLIPSIS
    Conv((1, 3, 3), out_channels=1, kernel=2): tied dense layer against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    every pair of basis vectors, and random integers of both signs, 170 calls in float64, batch 2: a proof for all ...
    >>> bool(certify(Conv((3, 9, 8), out_channels=4, kernel=3, stride=2), dtype="float32"))
    True
    """
    if isinstance(layer, (Pool, Network)):
        _no_probability(error, method)
        return certify_network(layer, implementation, dtype=dtype, batch=batch, seed=seed)
    chosen: dict[str, Any] = {"dtype": dtype, "batch": batch, "error": error, "method": method, "seed": seed}
    return certify_bilinear(layer, implementation, **chosen)


def certify_bilinear(
    layer: Any, implementation: Any = None, *, dtype: Any, batch: Any, error: Any, method: Any, seed: Any
) -> Certificate:
    """Do what `certify` does for one layer with weights, whose outputs are bilinear."""
    mine, by = two_roads(layer, implementation)
    dtype, batch = _arguments(dtype, batch, error, method, seed)
    ties, ranges = tie(layer), exact_ranges(layer, dtype, batch)
    run: dict[str, Any] = {"road": mine.name, "by": by.name, "dtype": dtype, "batch": batch, "asked": float(error)}
    calls = exhaustive_calls(ties, batch)
    if method == "exhaustive" and max(calls, 20 * batch * max(ties.shape)) > EXHAUSTIVE_CALLS:  # all basis vectors
        needs = f'at most {EXHAUSTIVE_CALLS:,} calls for method="exhaustive"'
        raise ValueError(complain("layer", f"{calls:,} basis pairs", needs, 'use method="random"'))
    if method == "exhaustive" or (method == "auto" and calls <= AUTO_CALLS):
        proof: dict[str, Any] = {"trials": calls, "ranges": ranges, "error": 0.0, "seed": None}
        findings = exhaustive(ties, mine, by, dtype, batch=batch, ranges=ranges)
        return Certificate(layer, findings, method="exhaustive", **run, **proof)
    seed = randbits(64 + ceil(-log2(error))) if seed is None else int(seed)
    bits = log2((2 * min(ranges) + 1) / 2)  # per trial: degree 2, at least 2 m + 1 values of every variable
    trials = ceil(-log2(error) / bits)
    findings = random(ties, mine, by, dtype, batch=batch, trials=trials, ranges=ranges, seed=seed)
    reached = max(2 ** (-bits * trials), 5e-324)
    odds: dict[str, Any] = {"trials": trials, "ranges": ranges, "error": reached, "seed": seed}
    return Certificate(layer, findings, method="random", **run, **odds)


def _no_probability(error: Any, method: Any) -> None:
    """Refuse what pools and networks have no answer to: they are only piecewise polynomial."""
    for name, value, default in (("error", error, 2**-64), ("method", method, "auto")):
        if value != default:
            needs = f"{default!r} for a pool or a network, whose certificate reports what was met and no probability"
            raise ValueError(complain(name, repr(value), needs))


def _arguments(dtype: Any, batch: Any, error: Any, method: Any, seed: Any) -> tuple[str, int]:
    """Return dtype and batch as plain data, all five checked."""
    if seed is not None:
        integer(seed, "seed", 0)
    choice(method, "method", ("auto", "random", "exhaustive"))
    needs = "a probability between 0 and 1, such as 2**-64"
    if not isinstance(error, (int, float)):
        raise TypeError(complain("error", repr(error), needs))
    if not 0 < error < 1:
        raise ValueError(complain("error", error, needs))
    name = choice(dtype.name if isinstance(dtype, np.dtype) else dtype, "dtype", tuple(PRECISION))
    return name, limited(batch)
