"""What was found on a whole model of another framework.

One certificate per layer, and for each layer without one the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, TypeVar

from convdense.certificates import READERS, Certificate, NetworkCertificate
from convdense.certificates.certificate_base import sound
from convdense.display.tables import InParts, Rows
from convdense.verdicts.findings import QUANTITIES, Requirable, in_a_row
from convdense.verdicts.schema import upgraded, with_schema

T = TypeVar("T")
_HEADER = ("name", "layer", "dtype", *QUANTITIES, "error probability")


@dataclass(frozen=True, repr=False)
class ModelReport(Requirable, InParts):
    """One certificate per layer and shape.

    It is true if there are certificates, all of them hold, and no layer failed.

    Attributes
    ----------
    certificates : dict of str to Certificate or NetworkCertificate
        By the name of the layer in the model, and its shapes where it was called at several; of a
        function "name: function", the name of the layer that calls it. Equal calls share one.
    failed : dict of str to str
        Layers that raise when they are judged, or whose outputs have another size than their own
        numbers say.
    skipped : dict of str to str
        Layers that were not judged, each with its class and the reason.
    not_called : tuple of str
        Layers that the model did not call on its example.

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> stem = certify(Conv((1, 3, 3), 1, kernel=2))
    >>> report = ModelReport({"stem": stem}, {}, {"act": "ReLU: no window"}, ())
    >>> print(report)  # doctest: +NORMALIZE_WHITESPACE
    name  layer                                      dtype    y      dx     dw     db     error probability
    ----  -----------------------------------------  -------  -----  -----  -----  -----  -----------------
    stem  Conv((1, 3, 3), out_channels=1, kernel=2)  float64  equal  equal  equal  equal  0
    <BLANKLINE>
    1 of 1 judged hold, 1 not judged, 0 never called
    <BLANKLINE>
    not judged  why
    ----------  ---------------
    act         ReLU: no window
    """  # noqa: E501  (a table as it is printed)

    certificates: Mapping[str, Certificate | NetworkCertificate]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]
    not_called: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether layers were judged, and every one of them is right."""
        return bool(self.certificates) and not self.failed and all(self.certificates.values())

    def _parts(self) -> list[str | Rows]:
        """Return a table of the certificates, what is wrong in them, and what was not judged."""
        parts: list[str | Rows] = []
        judged = [(in_a_row(names), c) for names, c in _grouped(self.certificates)]
        if judged:
            parts.append(Rows([_row(names, certificate) for names, certificate in judged], _HEADER))
        parts.append(self._count())

        wrong = [f"{names}: {text}" for names, c in judged for text in _not_right(c)]
        if wrong:
            parts.append("\n".join(wrong))
        for title, reasons in (("failed", self.failed), ("not judged", self.skipped)):
            rows = []
            for names, why in _grouped(reasons):  # "ReLU x 16: ..." where several have it
                kind, colon, text = why.partition(":")
                several = f"{kind} x {len(names)}{colon}{text}"
                rows.append((in_a_row(names), several if len(names) > 1 else why))
            if rows:
                parts.append(Rows(rows, (title, "why")))
        if self.not_called:
            parts.append("never called: " + ", ".join(self.not_called))
        return parts

    def __repr__(self) -> str:
        """Return one line: how many layers were judged, and how many hold."""
        return f"ModelReport({self._count()})"

    def _count(self) -> str:
        held = sum(map(bool, self.certificates.values()))
        judged = len(self.certificates) + len(self.failed)
        return (
            f"{held} of {judged} judged hold, {len(self.skipped)} not judged,"
            f" {len(self.not_called)} never called"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data (JSON)."""
        return with_schema(
            {
                "kind": "model report",
                "holds": bool(self),
                "certificates": {name: c.to_dict() for name, c in self.certificates.items()},
                "failed": dict(self.failed),
                "skipped": dict(self.skipped),
                "not_called": list(self.not_called),
            }
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ModelReport":
        """Read back what `to_dict` wrote, in any schema."""
        data = upgraded(data)
        certificates = {
            name: READERS[plain["kind"]].from_dict(plain)
            for name, plain in data["certificates"].items()
        }
        return cls(
            certificates, dict(data["failed"]), dict(data["skipped"]), tuple(data["not_called"])
        )


def _grouped(named: Mapping[str, T]) -> list[tuple[list[str], T]]:
    """Return the names that share a value, and the value."""
    names: dict[T, list[str]] = {}
    for name, value in named.items():
        names.setdefault(value, []).append(name)
    return [(group, value) for value, group in names.items()]


def _not_right(certificate: Certificate | NetworkCertificate) -> list[object]:
    """Return what of a certificate does not hold: quantities, behaviour, precision."""
    found = [f for f in (*certificate.findings, *certificate.behaviour) if not sound((f,), ())]
    return found + [f"precision of {p}" for p in certificate.precision if not sound((), (p,))]


def _row(name: str, certificate: Certificate | NetworkCertificate) -> tuple[str, ...]:
    verdicts = {f.name: f.verdict for f in certificate.findings}
    shown = (verdicts.get(quantity, "-") for quantity in QUANTITIES)
    probability = _error_probability(certificate)
    return name, repr(certificate.layer), certificate.dtype, *shown, probability


def _error_probability(certificate: Certificate | NetworkCertificate) -> str:
    """Return the bound on the error probability as a power of 2.

    Pools and networks have none: they are polynomials only piece by piece.
    """
    if isinstance(certificate, NetworkCertificate):
        return f"none ({certificate.trials} trials)"
    if certificate.error >= 1:
        return "not bounded"
    if certificate.error == 0:  # every pair of basis vectors was met: a proof
        return "0"
    return f"2^{ceil(log2(certificate.error))}"
