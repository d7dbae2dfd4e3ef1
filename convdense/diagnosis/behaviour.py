"""What a certificate says of code whose numbers are right on integers: carried over in words."""

from typing import Any

from convdense.certificates._certify import certify
from convdense.certificates.clock import Clock
from convdense.diagnosis.report import Explanation
from convdense.geometry import Implementation
from convdense.verdicts.findings import WRONG, Finding

PRECISION = "its precision: "
LEAST = 0.1  # seconds that a certificate is given, however little time is left


def misbehaviour(
    layer: Any, implementation: Implementation, seed: int, dtype: str, clock: Clock
) -> list[Explanation]:
    """Return what a certificate finds beside the numbers: its calls, its dtypes, how it rounds."""
    left = None if clock.left is None else max(LEAST, clock.left)
    return carried_over(certify(layer, implementation, dtype=dtype, seed=seed, time_limit=left))


def carried_over(certificate: Any) -> list[Explanation]:
    """Return what a certificate refused, in its own words; nothing if it holds."""
    found = [
        Explanation(finding.name, _in_words(finding), finding)
        for finding in (*certificate.findings, *certificate.behaviour)
        if finding.refuted
    ]
    for precision in certificate.precision:
        if precision.verdict == WRONG:
            finding = Finding(precision.name, WRONG, note=str(precision))
            found.append(Explanation(precision.name, f"{PRECISION}{precision}", finding))
    return found


def _in_words(finding: Finding) -> str:
    """Return the kind of wrong, and what else there is to say."""
    return f"{finding.verdict}: {finding.note}" if finding.note else finding.verdict
