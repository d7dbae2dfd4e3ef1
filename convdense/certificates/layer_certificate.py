"""Certificate: what `certify` found on one layer with weights, how sure it is, and its JSON."""

from dataclasses import dataclass
from math import ceil, floor, log2
from typing import Any

from convdense._util.float_formats import FORMATS
from convdense.certificates.certificate_base import ImplementationJudgement, parts_from_plain, rerun
from convdense.certificates.integer_ranges import Ranges
from convdense.certificates.resolution import (
    Excused,
    basis_resolution,
    largest_products,
    random_resolution,
)
from convdense.certificates.sentences import ON_REALS, say
from convdense.geometry import Implementation
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.structure._tie import tie
from convdense.verdicts.findings import RAISED
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
        What to repeat.
    ranges : Ranges
        The largest integers drawn.
    error : float
        Upper bound on the probability that a wrong implementation passes, over the seed; 0 for
        "exhaustive", but where larger integers are rounded and equality was seen on random narrow
        ones. With 1 nothing is decided.
    asked : float
        The probability that `certify` was asked for.
    behaviour : tuple of Finding
        Of an implementation: what was tried beside the numbers. To raise on what many do not take
        (layouts, batches, other shapes) is "refused", a restriction and not wrong.
    tried_on : geometry or None
        The small copy of a large layer on which behaviour was tried, if the implementation takes
        it.
    extra : tuple of str
        What was tried because it was asked for: "near", "nonfinite", "threads", "gradgrad".
    interpreted : bool
        Whether an interpreter ran the code, as its attribute of this name says.
    accumulator : str
        The dtype of sums of integers; "" for floats.
    excused : tuple of (str, float)
        The quantities that differ within rounding on integers, and by how much they may.
    rounds : int
        How often each trial contracted the channels, modulo a random prime; 0: every number was
        computed. See docs/how_sure.md.
    rules, rerun_of : int
        The schema under whose rules it was judged; and, of a rerun, that of what it repeats.
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
    batch: int
    trials: int
    ranges: Ranges
    error: float
    asked: float
    accumulator: str = ""
    excused: Excused = ()
    rounds: int = 0

    def __bool__(self) -> bool:
        """Return whether all holds, and something is bounded."""
        return super().__bool__() and self.error < 1

    def _open(self) -> list[str]:
        return super()._open() or ["no probability is below 1"]

    @property
    def resolution(self) -> float:
        """Relative size below which an error in one product can pass.

        The product is that of the largest integers drawn. Where differences up to B were excused,
        an error above it still passes random trials with a probability of at most 2^-10.
        """
        if self.excused and self.method == "random":
            return random_resolution(self.layer, self.ranges, self.trials, self.excused)
        if self.excused:
            return basis_resolution(tie(self.layer), self.dtype, self.batch)
        products = largest_products(self.layer, self.ranges)
        judged = [products[finding.name] for finding in self.findings if finding.name != "db"]
        return 1 / (2 * min(judged))

    @property
    def _wraps(self) -> bool:
        """Whether sums are taken modulo a power of two."""
        return bool(self.accumulator) and self.accumulator == self.dtype

    @property
    def _sure(self) -> str:
        if self.error == 0:
            return say("near proof" if self.excused else "proof")
        power = floor(log2(self.error)) + 1  # the least power of two above it
        if self._wraps:
            return say("odd", power=power)
        return say("edge" if self.excused else "any", power=power)

    @property
    def how(self) -> str:
        """What was compared and tried, on what; what is assumed, and what no test sees."""
        return self._lines(self._compared(), self._assumed() if self else [])

    def _compared(self) -> list[str]:
        """Return on what it was compared, and how small an error can pass."""
        key = "pairs" if self.method == "exhaustive" else "trials"
        # as soon as something raises, or all is wrong, the trials end; reals come after them
        wrong = [f for f in self.findings if f.refuted and not f.note.startswith(ON_REALS)]
        if len(wrong) == len(self.findings) or any(f.verdict == RAISED for f in wrong):
            key = "stopped"
        fields = ("trials", "dtype", "batch", "seed")
        lines = [say(key, **{name: getattr(self, name) for name in fields})]
        if self.rounds:
            lines.append(say("contracted", rounds=self.rounds))
        if self.accumulator:
            return [*lines, *self._of_integers()]
        if not self or not (self.exact or self.excused):
            return lines
        power = ceil(log2(self.resolution))
        if not self.excused:
            return [*lines, say("equal", power=power)]
        bound = ", ".join(f"{allowed:.2g} in {name}" for name, allowed in self.excused)
        key = "excused" if self.method == "random" else "excused pairs"
        return [*lines, say(key, bound=bound, power=power)]

    def _of_integers(self) -> list[str]:
        """Return where the sums of integers are taken, and what passes there."""
        m = FORMATS[self.dtype].bits
        if self._wraps:
            return [say("ring", dtype=self.dtype, m=m), say("even", m=m, above=m + 2, one=m + 1)]
        largest = min(self.ranges)
        return [say("integers", dtype=self.dtype, largest=largest, accumulator=self.accumulator)]

    def _assumed(self) -> list[str]:
        of_integers = [say("integer code", dtype=self.dtype)] if self.accumulator else []
        if self._wraps:
            return [say("affine"), *of_integers]
        if self.method == "random":
            return [say("degree"), *of_integers]
        of_y, of_dw = "bilinear in x and w", "dw in x and dy"
        if tie(self.layer).padding:  # then x = 0 is among the basis vectors
            of_y, of_dw = "affine in x and linear in w", "dw affine in x and linear in dy"
        holds = "holds within rounding" if self.excused else "is a proof"
        if self.forward_alone:
            return [say("bilinear y", of_y=of_y, holds=holds)]
        return [say("bilinear", of_y=of_y, of_dw=of_dw, holds=holds)]

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data (JSON)."""
        more = {"ranges": self.ranges._asdict(), "excused": [list(pair) for pair in self.excused]}
        data = self._to_plain("certificate", _PLAIN, **more)
        data["tried_on"] = None if self.tried_on is None else layer_to_plain(self.tried_on)
        data |= {"accumulator": self.accumulator} if self.accumulator else {}
        data |= {"rounds": self.rounds} if self.rounds else {}
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Certificate":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        plain = parts_from_plain(data) | {name: data[name] for name in _PLAIN}
        plain["accumulator"] = data.get("accumulator", "")
        plain["rounds"] = data.get("rounds", 0)
        plain["tried_on"] = plain_to_layer(data["tried_on"]) if data.get("tried_on") else None
        plain["excused"] = tuple((name, bound) for name, bound in data.get("excused", ()))
        return cls(plain_to_layer(data["layer"]), ranges=Ranges(**data["ranges"]), **plain)

    def rerun(self, implementation: Implementation | None = None) -> "Certificate":
        """Repeat the very same trials, by today's rules; the implementation must be given again."""

        def told(certificate: Certificate) -> str:
            text = f"{certificate.trials} trials, {certificate.ranges}"
            # one that rounds otherwise by now leaves another probability of error
            same = certificate.exact == self.exact
            return f"{text}, error {certificate.error if same else self.error}"

        return rerun(self, implementation, told)


# the fields that are in the JSON as they are
_PLAIN = ("evaluator", "reference", "method", "dtype", "batch", "trials", "error", "asked", "seed")
