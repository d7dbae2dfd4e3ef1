"""What every certificate shares: what it holds a user's code to, how it says so, and its JSON."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeVar

from convdense._util.arguments import complain
from convdense._util.float_formats import COMPLEX
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.other_shapes import OTHER_SHAPES
from convdense.certificates.second_derivatives import DOUBLE_BACKWARD
from convdense.certificates.sentences import say
from convdense.geometry import HasShapes, Implementation
from convdense.implementations.evaluators import DENSE, DENSE_NETWORK, needs_implementation
from convdense.layers.plain_form import layer_to_plain
from convdense.verdicts.findings import NORMWISE, REFUSED, REMARKS, WRONG, Finding, Judgement
from convdense.verdicts.schema import SCHEMA, changed_rules, with_schema

# what to try besides, and what the names of its findings hold
BESIDES = {
    OTHER_SHAPES: OTHER_SHAPES,
    "NaN and infinity": "nan in ",
    "threads": "threads",
    "double backward": DOUBLE_BACKWARD,
    "magnitudes": " of 2^",
}

ASKED_SHAPE = "asked shape"  # begins the names of what `gate` tries, on the layer itself
# what may be left out for want of time, and what the name of its last finding holds
IN_TIME = {
    "all batches": "batch ",
    "all layouts": "zero strides",
    "all special values": "0.0 beside -0.0",
    "calls after each other": "results kept",
    "the same call twice": "repeatable",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class ImplementationJudgement(Judgement):
    """A judgement that also holds the user's code to its behaviour and its precision."""

    dtype: str
    seed: int
    behaviour: tuple[Finding, ...] = ()
    precision: tuple[Precision, ...] = ()
    tried_on: HasShapes | None = None
    extra: tuple[str, ...] = ()
    rules: int = SCHEMA
    rerun_of: int | None = None
    time_limit: float | None = None
    interpreted: bool = False

    @property
    def refuted(self) -> bool:
        """Whether some quantity, or behaviour that is required, is wrong; precision apart."""
        return super().refuted or misbehaves(self.behaviour)

    def _wrong(self) -> list[str]:
        """Return all that is wrong: quantities, behaviour, and precision."""
        behaviour = [f"{f.name} {f.verdict}" for f in self.behaviour if f.refuted]
        coarse = [p.name for p in self.precision if p.verdict == WRONG]
        precision = [f"precision of {', '.join(coarse)} wrong"] if coarse else []
        return [*super()._wrong(), *behaviour, *precision]

    def _open(self) -> list[str]:
        """Return all that neither holds nor is wrong, and is no remark."""
        undecided = [
            f"{f.name} {f.verdict}"
            for f in self.behaviour
            if not f.holds and not f.refuted and f.verdict not in REMARKS
        ]
        return [*super()._open(), *undecided]

    @property
    def _restricted(self) -> str:
        refuses = any(finding.verdict == REFUSED for finding in self.behaviour)
        restricted = ", with restrictions" * refuses
        so_far = " so far" if refuses else ", so far"
        return restricted + so_far * self._is_cut

    @property
    def _is_cut(self) -> bool:
        """Whether something was left out, for the time was up."""
        return self.time_limit is not None

    @property
    def _is_implementation(self) -> bool:
        return self.evaluator not in (DENSE, DENSE_NETWORK)

    def _lines(self, compared: list[str], assumed: list[str]) -> str:
        """Return what was compared, what was tried, and what is assumed and not known."""
        known = [*self._of_reals(), *self._tried()]
        if self.forward_alone:
            known.insert(0, say("alone"))
        unknown = [*assumed, *[say("interpreted")] * self.interpreted]
        if self._is_cut:
            unknown.append(say("stopped in time", seconds=self.time_limit))
        if self._is_implementation:
            unknown += [*self._untried(), say("unseen")]
        changes = []
        if self.rerun_of is not None and self._is_implementation:
            told = changed_rules(self.rerun_of)
            changes = [say("rules", schema=self.rerun_of, change=change) for change in told]
        return "\n".join([*compared, *known, *unknown, *changes])

    def _of_reals(self) -> list[str]:
        """Return how many reals were compared, and the unit roundoff measured."""
        numbers = "complex numbers" if self.dtype in COMPLEX else "reals"
        lines = []
        for key, contracted in (("reals", False), ("real sums", True)):
            each = [
                f"{p.entries:,} of {p.name}" + " by its norm alone" * (p.verdict == NORMWISE)
                for p in self.precision
                if p.entries and p.contracted == contracted
            ]
            lines += [say(key, numbers=numbers, counts=", ".join(each))] if each else []
        fine = ", ".join(str(p) for p in self.precision if p.verdict != WRONG)
        coarse = [str(p) for p in self.precision if p.verdict == WRONG]
        return lines + [say("unit", units=units) for units in (fine, *coarse) if units]

    def _tried(self) -> list[str]:
        """Return what was tried beside the numbers: all that is right in a line, else one each."""
        held = [finding for finding in self.behaviour if finding.holds]
        right = [f"{f.name} ({f.note})" if f.note else f.name for f in held]
        lines = [say("right", names=", ".join(right))] if right else []
        if self.tried_on is not None:
            on_itself = filter(self._has_tried, (OTHER_SHAPES, DOUBLE_BACKWARD))
            names = ["repeatable", *on_itself]
            names += [ASKED_SHAPE] if any(ASKED_SHAPE in f.name for f in self.behaviour) else []
            lines.append(say("copy", copy=repr(self.tried_on), names=", ".join(names)))
        for finding in self.behaviour:
            if finding.verdict in REMARKS:  # "refused", "reported": the keys of their sentences
                lines.append(say(finding.verdict, name=finding.name, why=finding.note))
            elif not finding.holds:
                lines.append(str(finding))
        return lines

    def _untried(self) -> list[str]:
        """Return what no call of the implementation tried."""
        if not self.behaviour and not self._is_cut:
            return [say("numbers")]
        besides = {**BESIDES, **(IN_TIME if self._is_cut else {})}
        tried = [finding.name for finding in self.behaviour]
        left = [what for what, part in besides.items() if not any(part in name for name in tried)]
        return [say("untried", names=", ".join(left))] if left else []

    def _has_tried(self, what: str) -> bool:
        return any(BESIDES[what] in finding.name for finding in self.behaviour)

    def __bool__(self) -> bool:
        """Return whether all quantities hold, as precise as their dtype, and all behaviour."""
        return super().__bool__() and sound(self.behaviour, self.precision)

    def _to_plain(self, kind: str, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
        """Return a certificate as plain data: the fields of these names, and some more."""
        head = {"kind": kind, "layer": layer_to_plain(self.layer), "holds": bool(self)}
        fields = {name: getattr(self, name) for name in names}
        parts = {
            "findings": [finding.to_dict() for finding in self.findings],
            "behaviour": [finding.to_dict() for finding in self.behaviour],
            "precision": [precision.to_dict() for precision in self.precision],
            "rules": self.rules,
            "rerun_of": self.rerun_of,
        }
        if self._is_cut:
            more["time_limit"] = self.time_limit
        if self.extra:
            more["extra"] = list(self.extra)
        if self.interpreted:
            more["interpreted"] = True
        return with_schema({**head, **fields, **more, **parts})


def parts_from_plain(data: dict[str, Any]) -> dict[str, Any]:
    """Read back findings, behaviour, precision and what else was asked for."""
    return {
        "findings": tuple(Finding.from_dict(plain) for plain in data.get("findings", ())),
        "behaviour": tuple(Finding.from_dict(plain) for plain in data.get("behaviour", ())),
        "precision": tuple(Precision(**plain) for plain in data.get("precision", ())),
        "rules": data["rules"],
        "rerun_of": data.get("rerun_of"),
        "extra": tuple(data.get("extra", ())),
        "time_limit": data.get("time_limit"),
        "interpreted": data.get("interpreted", False),
    }


AnyCertificate = TypeVar("AnyCertificate", bound=ImplementationJudgement)


def rerun(
    recorded: AnyCertificate,
    implementation: Implementation | None,
    told: Callable[[AnyCertificate], str],
) -> AnyCertificate:
    """Repeat a certificate by today's rules; under the same rules what is told must repeat."""
    needs_implementation(recorded.evaluator, implementation)
    if recorded.seed is None:  # edited JSON may say null
        raise ValueError(complain("seed", None, "the seed the trials were drawn with"))
    again: AnyCertificate = certified_again(recorded, implementation)
    if recorded.rules < SCHEMA:
        return replace(again, rerun_of=recorded.rules)
    if recorded.time_limit is not None:  # this time all of it was run
        return again
    then, now = told(recorded), told(again)
    if then != now:
        raise ValueError(complain("certificate", then, now, "was it edited?"))
    return again


@singledispatch
def certified_again(certificate: Any, implementation: Implementation | None) -> Any:
    """Return what `certify` says now, given the options that a certificate recorded.

    `_certify`, which imports the certificates, registers both kinds.
    """
    # A kind that nobody has registered: a fault of this library, no refusal of a user.
    raise NotImplementedError(type(certificate).__name__)


def sound(behaviour: tuple[Finding, ...], precision: tuple[Precision, ...]) -> bool:
    """Return whether all required behaviour is right, and precision nowhere wrong."""
    return all(finding.holds or finding.verdict in REMARKS for finding in behaviour) and not any(
        measured.verdict == WRONG for measured in precision
    )


def misbehaves(behaviour: tuple[Finding, ...]) -> bool:
    """Return whether something required was seen to be wrong."""
    return any(finding.refuted for finding in behaviour)
