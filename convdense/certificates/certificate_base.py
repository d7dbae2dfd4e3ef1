"""What every certificate shares: what it holds a user's code to, how it says so, and its JSON."""

from functools import singledispatch
from typing import Any

from convdense.certificates.effective_roundoff import Precision
from convdense.geometry import HasShapes, Implementation
from convdense.layers.plain_form import layer_to_plain
from convdense.verdicts.findings import REMARKS, WRONG, Finding, Judgement
from convdense.verdicts.schema import with_schema


class ImplementationJudgement(Judgement):
    """A judgement that also holds the user's code to its behaviour and its precision."""

    behaviour: tuple[Finding, ...]
    precision: tuple[Precision, ...]

    @property
    def refuted(self) -> bool:
        """Whether some quantity, or behaviour that is required, is wrong; precision apart."""
        return super().refuted or misbehaves(self.behaviour)

    def _verdicts(self) -> list[str]:
        """Return the verdicts on the quantities, and what else is wrong."""
        wrong = [
            f"{finding.name} {finding.verdict}"
            for finding in self.behaviour
            if not finding.holds and finding.verdict not in REMARKS
        ]
        coarse = [
            f"precision of {precision.name} {precision.verdict}"
            for precision in self.precision
            if precision.verdict == WRONG
        ]
        return [*super()._verdicts(), *wrong, *coarse]

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
        }
        return with_schema({**head, **fields, **more, **parts})


def parts_from_plain(data: dict[str, Any]) -> dict[str, Any]:
    """Read back the findings, the behaviour and the precision of a certificate."""
    return {
        "findings": tuple(Finding.from_dict(plain) for plain in data.get("findings", ())),
        "behaviour": tuple(Finding.from_dict(plain) for plain in data.get("behaviour", ())),
        "precision": tuple(Precision(**plain) for plain in data.get("precision", ())),
    }


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


def lines(
    behaviour: tuple[Finding, ...],
    precision: tuple[Precision, ...],
    tried_on: HasShapes | None = None,
) -> list[str]:
    """Return what a certificate says of both: all that is right in a line, else a line each."""
    text = []
    right = ", ".join(finding.name for finding in behaviour if finding.holds)
    if right:
        where = "" if tried_on is None else f"; all but the last on a small copy, {tried_on!r}"
        text.append(f"  right as well: {right}{where}")
    for finding in behaviour:
        if not finding.holds:
            text.append(f"  {finding}" + ("; not required" if finding.verdict in REMARKS else ""))
    return text + _precision_lines(precision)


def _precision_lines(precision: tuple[Precision, ...]) -> list[str]:
    fine = ", ".join(str(measured) for measured in precision if measured.verdict != WRONG)
    coarse = [str(measured) for measured in precision if measured.verdict == WRONG]
    return [f"  effective unit roundoff: {text}" for text in (fine, *coarse) if text]
