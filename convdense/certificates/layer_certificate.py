"""certify for one layer with weights: its certificate, how sure it is, and how to ask again."""

from dataclasses import dataclass
from math import ceil, log2, prod
from secrets import randbits
from typing import Any

import numpy as np

from convdense._util.arguments import choice, complain, integer, physical_memory
from convdense._util.deprecation import renamed_attribute
from convdense._util.float_formats import EXACT, HALF
from convdense.certificates.certificate_base import ImplementationJudgement, lines, parts_from_plain
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.implementation_review import review_implementation
from convdense.certificates.integer_ranges import Ranges, exact_ranges, limited
from convdense.certificates.integer_trials import exhaustive, exhaustive_calls, random
from convdense.certificates.rounding_explainer import Explainer, bits_of_all, bits_per_trial
from convdense.implementations.evaluators import needs_implementation, two_evaluators
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.structure._tie import tie
from convdense.verdicts.findings import Finding
from convdense.verdicts.schema import upgraded

AUTO_CALLS = (
    1_000  # up to here every basis pair costs less than a second, and leaves nothing to chance
)
EXHAUSTIVE_CALLS = 100_000


@dataclass(frozen=True, repr=False)
class Certificate(ImplementationJudgement):
    """What `certify` found; true if y, dx, dw and db are equal bit for bit, or within rounding, and
    all else holds.

    Attributes
    ----------
    layer, findings
        What was judged; one `Finding` for each of y, dx, dw, db, the worst seen.
    method : str
        "random" or "exhaustive" (every pair of basis vectors).
    dtype, batch, trials, seed
        What to repeat; seed is None for "exhaustive".
    ranges : Ranges
        The largest integers drawn.
    error : float
        Upper bound on the probability that a wrong implementation passes, over the seed; 0 for
        "exhaustive", but where larger integers are rounded and equality was seen on random narrow
        ones.
    behaviour : tuple of Finding
        Of an implementation: zeros, batches of 0, 1 and 3, strided and read-only arrays, the same
        call twice. To raise on an empty batch or on such arrays is reported, not held against it.
    tried_on : geometry or None
        The small copy of a large layer on which behaviour was tried, if the implementation takes
        it.
    precision : tuple of Precision
        Of an implementation: the effective unit roundoff of each quantity that is right.

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> certificate = certify(Conv((2, 6, 5), out_channels=3, kernel=3), method="random", seed=1)
    >>> bool(certificate), certificate.trials, certificate.error <= 2**-64
    (True, 3, True)
    >>> Certificate.from_dict(certificate.to_dict()) == certificate
    True
    """

    evaluator: str
    reference: str
    by = renamed_attribute("by", "reference")
    method: str
    dtype: str
    batch: int
    trials: int
    ranges: Ranges
    error: float
    asked: float
    seed: int | None
    behaviour: tuple[Finding, ...] = ()
    precision: tuple[Precision, ...] = ()
    tried_on: Any = None

    @property
    def compared(self) -> str:
        """What was compared with what."""
        return f"{self.evaluator} against {self.reference}"

    @property
    def resolution(self) -> float:
        """Relative size below which an error in one product of the largest numbers drawn can hide in a rounding."""
        m = self.ranges
        return 1 / (2 * min(m.x * m.w, m.w * m.dy, m.x * m.dy))

    @property
    def how(self) -> str:
        """How sure it is, with the assumption it rests on."""
        text = self._proof() if self.method == "exhaustive" else self._odds()
        return "\n".join((*lines(self.behaviour, self.precision, self.tried_on), text))

    def _proof(self) -> str:
        exactly = "evaluated exactly" if self.exact else "up to rounding"
        return (
            f"every pair of basis vectors, and random integers of both signs, {self.trials} calls in {self.dtype}, "
            f"batch {self.batch}: a proof for "
            "all real inputs of this shape, if y is bilinear in x and w plus linear in b, dx bilinear in w and dy, "
            f"dw in x and dy, db linear in dy, all {exactly}"
        ) + (
            f"; where larger integers are rounded, error at most 2^{ceil(log2(self.error))}"
            if self.error
            else ""
        )

    def _odds(self) -> str:
        odds = (
            f"at most 2^{ceil(log2(self.error))}"
            if self.error < 1
            else "not bounded, so much can hide in rounding"
        )
        exactly = (
            "evaluated exactly"
            if self.exact or not self
            else "up to rounding, an edge lost or added"
        )
        rounds = any("larger ones are rounded" in finding.note for finding in self.findings)
        narrow = "; what rounds was judged on integers of 8 bits" if rounds else ""
        return (
            f"{self.trials} random trials on integers in {self.dtype}, batch {self.batch}: error probability {odds}, "
            f"if the outputs are polynomials of degree at most 2 in the drawn integers, {exactly}; "
            f"a relative error below 2^{ceil(log2(self.resolution))} in one product can pass; "
            f"over seeds drawn at random, here {self.seed}{narrow}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        data = self._to_plain("certificate", _PLAIN, ranges=self.ranges._asdict())
        return {
            **data,
            "tried_on": None if self.tried_on is None else layer_to_plain(self.tried_on),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Certificate":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        plain = parts_from_plain(data) | {name: data[name] for name in _PLAIN}
        plain["tried_on"] = plain_to_layer(data["tried_on"]) if data.get("tried_on") else None
        return cls(plain_to_layer(data["layer"]), ranges=Ranges(**data["ranges"]), **plain)

    def rerun(self, implementation: Any = None) -> "Certificate":
        """Repeat the very same trials; a verdict on an implementation needs the implementation."""
        needs_implementation(self.evaluator, implementation)
        if self.method == "random" and self.seed is None:
            raise ValueError(complain("seed", None, "the seed the trials were drawn with"))
        names = ("dtype", "batch", "method", "seed")
        chosen: dict[str, Any] = {name: getattr(self, name) for name in names}
        again = certify_bilinear(self.layer, implementation, error=self.asked, **chosen)
        odds = again.error if again.exact == self.exact else self.error  # what rounds tells less
        if (again.trials, again.ranges, odds) != (self.trials, self.ranges, self.error):
            got, needs = (
                f"{self.trials} trials, {self.ranges}, error {self.error}",
                f"{again.trials}, {again.ranges}",
            )
            raise ValueError(complain("certificate", got, f"{needs}, {odds}", "was it edited?"))
        return again


_PLAIN = ("evaluator", "reference", "method", "dtype", "batch", "trials", "error", "asked", "seed")


def certify_bilinear(
    layer: Any,
    implementation: Any = None,
    *,
    dtype: Any,
    batch: Any,
    error: Any,
    method: Any,
    seed: Any,
) -> Certificate:
    """Do what `certify` does for one layer with weights, whose outputs are bilinear."""
    mine, by = two_evaluators(layer, implementation)
    theirs = implementation is not None
    dtype, batch = _arguments(dtype, batch, error, method, seed)
    choice(dtype, "dtype", (*EXACT, *HALF) if theirs else EXACT)
    ties, ranges = tie(layer), exact_ranges(layer, dtype, batch)
    _fits_memory(ties, batch)
    calls = exhaustive_calls(ties, batch)
    if (
        method == "exhaustive" and max(calls, 20 * batch * max(ties.shape)) > EXHAUSTIVE_CALLS
    ):  # all basis vectors
        needs = f'at most {EXHAUSTIVE_CALLS:,} calls for method="exhaustive"'
        raise ValueError(complain("layer", f"{calls:,} basis pairs", needs, 'use method="random"'))
    explainer = Explainer(layer, dtype) if theirs else None
    how: dict[str, Any] = {"batch": batch, "ranges": ranges, "explain": explainer}
    if method == "exhaustive" or (method == "auto" and calls <= AUTO_CALLS):
        method, seed, trials, reached = "exhaustive", None, calls, 0.0
        findings = exhaustive(ties, mine, by, dtype, **how)
    else:
        method, seed = "random", randbits(64 + ceil(-log2(error))) if seed is None else int(seed)
        trials = ceil(-log2(error) / bits_per_trial(min(ranges)))
        findings = random(ties, mine, by, dtype, trials=trials, seed=seed, **how)
        reached = max(
            2 ** (-bits_of_all(ranges, explainer.allowed if explainer else {}) * trials), 5e-324
        )
    run: dict[str, Any] = {
        "evaluator": mine.name,
        "reference": by.name,
        "dtype": dtype,
        "batch": batch,
        "asked": float(error),
    }
    run |= {"method": method, "seed": seed, "trials": trials, "ranges": ranges}
    if explainer is None:
        return Certificate(layer, findings, error=reached, **run)
    review = review_implementation(
        (mine, by),
        explainer,
        findings,
        ranges=ranges,
        batch=batch,
        error=float(error),
        seed=seed or 0,
    )
    odds = max(reached, review.error)
    more = {
        "behaviour": review.behaviour,
        "precision": review.precision,
        "tried_on": review.tried_on,
    }
    return Certificate(layer, review.findings, error=odds, **more, **run)


def _fits_memory(ties: Any, batch: int) -> None:
    """Refuse what does not fit: operands and results of one trial, both ways, in float64."""
    sizes = prod(ties.in_shape) * batch, prod(ties.out_shape) * batch, ties.n_weights
    size, memory = 4 * 8 * sum(sizes), physical_memory()
    if memory is not None and size > memory:
        got, needs = (
            f"operands and results of {size / 1e9:,.1f} GB",
            f"at most the physical memory, {memory / 1e9:,.1f} GB",
        )
        raise MemoryError(
            complain("layer", got, needs, "certify a smaller copy: fewer cells, the same numbers")
        )


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
    return dtype.name if isinstance(dtype, np.dtype) else dtype, limited(batch)
