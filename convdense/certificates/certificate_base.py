"""What every certificate shares: what it holds a user's code to, how it says so, and its JSON."""

from typing import Any

from convdense.certificates.effective_roundoff import Precision
from convdense.implementations.call_contract import LAYOUTS
from convdense.layers.plain_form import layer_to_plain
from convdense.verdicts.findings import RAISED, WRONG, Finding, Judgement
from convdense.verdicts.schema import with_schema

_PARTS = ("findings", "behaviour", "precision")


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
            f"{f.name} {f.verdict}" for f in self.behaviour if not f.holds and not _optional(f)
        ]
        coarse = [
            f"precision of {p.name} {p.verdict}" for p in self.precision if p.verdict == WRONG
        ]
        return [*super()._verdicts(), *wrong, *coarse]

    def __bool__(self) -> bool:
        """Return whether every quantity holds, as precise as its dtype, and all required behaviour is right."""
        return super().__bool__() and sound(self.behaviour, self.precision)

    def _to_plain(self, kind: str, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
        """Return what every certificate is as plain data, these of its numbers and some more before its findings."""
        parts = {name: [part.to_dict() for part in getattr(self, name)] for name in _PARTS}
        data = {name: getattr(self, name) for name in names}
        head = {"kind": kind, "layer": layer_to_plain(self.layer), "holds": bool(self)}
        return with_schema({**head, **data, **more, **parts})


def parts_from_plain(data: dict[str, Any]) -> dict[str, Any]:
    """Read back the findings, the behaviour and the precision of a certificate."""
    kinds = (Finding.from_dict, Finding.from_dict, lambda part: Precision(**part))
    return {
        name: tuple(map(kind, data.get(name, ()))) for name, kind in zip(_PARTS, kinds, strict=True)
    }


def sound(behaviour: tuple[Finding, ...], precise: tuple[Precision, ...]) -> bool:
    """Return whether all required behaviour is right, and precision nowhere wrong."""
    return all(f.holds or _optional(f) for f in behaviour) and all(
        p.verdict != WRONG for p in precise
    )


def misbehaves(behaviour: tuple[Finding, ...]) -> bool:
    """Return whether something required was seen to be wrong."""
    return any(f.refuted and not _optional(f) for f in behaviour)


def _optional(finding: Finding) -> bool:
    """Tell whether it merely raises where many do: on an empty batch, or on arrays that it cannot take as they are."""
    return finding.verdict == RAISED and finding.name in ("batch 0", *LAYOUTS)


def lines(
    behaviour: tuple[Finding, ...], precise: tuple[Precision, ...], tried_on: Any = None
) -> list[str]:
    """Return what a certificate says of both: one line for all that is right, and one for each thing that is not."""
    right = ", ".join(f.name for f in behaviour if f.holds)
    where = "" if tried_on is None else f"; all but the last on a small copy, {tried_on!r}"
    text = [f"  right as well: {right}{where}"] if right else []
    text += [
        f"  {f}" + ("; not required" if _optional(f) else "") for f in behaviour if not f.holds
    ]
    fine = [str(p) for p in precise if p.verdict != WRONG]
    text += [f"  effective unit roundoff: {', '.join(fine)}"] if fine else []
    return text + [f"  effective unit roundoff: {p}" for p in precise if p.verdict == WRONG]
