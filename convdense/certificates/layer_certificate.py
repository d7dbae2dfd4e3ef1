"""Certificate: what `certify` found on one layer with weights, how sure it is, and its JSON."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from convdense._util.arguments import complain
from convdense._util.deprecation import renamed_attribute
from convdense.certificates.behaviour_trials import NOTHING, Extra, asked_for
from convdense.certificates.certificate_base import (
    ImplementationJudgement,
    certified_again,
    lines,
    parts_from_plain,
)
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.integer_ranges import Ranges
from convdense.geometry import HasShapes, Implementation
from convdense.implementations.evaluators import needs_implementation
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.structure._tie import tie
from convdense.verdicts.findings import Finding
from convdense.verdicts.schema import upgraded


@dataclass(frozen=True, repr=False)
class Certificate(ImplementationJudgement):
    """What `certify` found; true if y, dx, dw and db are equal and all else holds.

    Equal is bit for bit, or within rounding where integers could not be small enough.

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
        Of an implementation: what was tried beside the numbers. To raise on what many do not take
        (layouts, batches, other shapes) is reported, not held against it.
    tried_on : geometry or None
        The small copy of a large layer on which behaviour was tried, if the implementation takes
        it.
    extra : Extra
        What was tried because it was asked for.
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
    tried_on: HasShapes | None = None
    extra: Extra = NOTHING

    @property
    def by(self) -> str:
        """The old name of `reference`; it warns."""
        return renamed_attribute(self.reference, "by", "reference")

    @property
    def resolution(self) -> float:
        """Relative size below which an error in one product can hide in a rounding.

        The product is that of the largest integers drawn.
        """
        x, w, _, dy = self.ranges
        number = abs(tie(self.layer).padding_value)  # it takes the place of an x
        least = min(x, number) if number else x
        return 1 / (2 * min(least * w, w * dy, least * dy))

    @property
    def how(self) -> str:
        """How sure it is, with the assumption it rests on."""
        text = self._proof() if self.method == "exhaustive" else self._odds()
        return "\n".join((*lines(self.behaviour, self.precision, self.tried_on), text))

    def _proof(self) -> str:
        exactly = "evaluated exactly" if self.exact else "up to rounding"
        of_y, of_dw = "bilinear in x and w", "dw in x and dy"
        if tie(self.layer).padding:  # then x = 0 is among the basis vectors
            of_y, of_dw = "affine in x and linear in w", "dw affine in x and linear in dy"
        text = (
            f"every pair of basis vectors, and random integers of both signs, {self.trials} calls "
            f"in {self.dtype}, batch {self.batch}: a proof for all real inputs of this shape, "
            f"if y is {of_y} plus linear in b, dx bilinear in w and dy, "
            f"{of_dw}, db linear in dy, all {exactly}"
        )
        if self.error:
            text += f"; where larger integers are rounded, error {_at_most(self.error)}"
        return text

    def _odds(self) -> str:
        odds = "not bounded, so much can hide in rounding"
        if self.error < 1:
            odds = _at_most(self.error)
        exactly = "up to rounding, an edge lost or added"
        if self.exact or not self:
            exactly = "evaluated exactly"
        text = (
            f"{self.trials} random trials on integers in {self.dtype}, batch {self.batch}: "
            f"error probability {odds}, if the outputs are polynomials of degree at most 2 "
            f"in the drawn integers, {exactly}; "
            f"a relative error below 2^{ceil(log2(self.resolution))} in one product can pass; "
            f"over seeds drawn at random, here {self.seed}"
        )
        if any("larger ones are rounded" in finding.note for finding in self.findings):
            text += "; what rounds was judged on integers of 8 bits"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        data = self._to_plain(
            "certificate", _PLAIN, ranges=self.ranges._asdict(), **asked_for(self.extra)
        )
        data["tried_on"] = None if self.tried_on is None else layer_to_plain(self.tried_on)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Certificate":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        plain = parts_from_plain(data) | {name: data[name] for name in _PLAIN}
        plain["tried_on"] = plain_to_layer(data["tried_on"]) if data.get("tried_on") else None
        plain["extra"] = Extra(**data.get("extra", {}))
        return cls(plain_to_layer(data["layer"]), ranges=Ranges(**data["ranges"]), **plain)

    def rerun(self, implementation: Implementation | None = None) -> "Certificate":
        """Repeat the very same trials; a verdict on an implementation needs the implementation."""
        needs_implementation(self.evaluator, implementation)
        if self.method == "random" and self.seed is None:
            raise ValueError(complain("seed", None, "the seed the trials were drawn with"))
        again: Certificate = certified_again(self, implementation)
        # an implementation that rounds otherwise by now leaves another probability of error
        odds = again.error if again.exact == self.exact else self.error
        if (again.trials, again.ranges, odds) != (self.trials, self.ranges, self.error):
            got = f"{self.trials} trials, {self.ranges}, error {self.error}"
            needs = f"{again.trials}, {again.ranges}, {odds}"
            raise ValueError(complain("certificate", got, needs, "was it edited?"))
        return again


def _at_most(error: float) -> str:
    return f"at most 2^{ceil(log2(error))}"


# the fields that are in the JSON as they are
_PLAIN = ("evaluator", "reference", "method", "dtype", "batch", "trials", "error", "asked", "seed")
