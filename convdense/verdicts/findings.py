"""What a check found: one verdict a quantity, with the entry that decided it.

`Finding` is the verdict on one quantity; `Judgement` is what a report and a certificate share, true
only if all that is required holds.
"""

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Self

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.display.palette import COLOURS
from convdense.display.tables import Cell, preformatted, table

EQUAL = "equal"
WITHIN = "within rounding"
NORMWISE = "right normwise"
UNDECIDED = "undecided"
REFUSED = "refused"  # it raised on what many do not take: a restriction, neither right nor wrong
REPORTED = "reported"  # what it does where nothing is promised, as with NaN
REMARKS = (REFUSED, REPORTED)
# from the best; any other verdict is below all of these
GRADES = (EQUAL, WITHIN, NORMWISE, UNDECIDED, *REMARKS)

WRONG = "wrong"
# wrong as well, and how: each named after what was asked for, or what happened
BILINEAR = "not bilinear"
REPEATABLE = "not repeatable"
RAISED = "raised"
SHAPE = "wrong shape"
DTYPE = "wrong dtype"
CHANGED = "changed its input"

QUANTITIES = ("y", "dx", "dw", "db")
FORWARD_ALONE = "forward alone"  # said of an evaluator that gives y and no gradient
LONGEST_SENTENCE = 100
LONGEST_ROW = 6  # names of quantities that a repr writes out
# of the words of a verdict
HOLDS_COLOUR = COLOURS[3]  # green
REFUTED_COLOUR = COLOURS[5]  # wine
OPEN_COLOUR = COLOURS[2]  # sand


@dataclass(frozen=True)
class Finding:
    """The verdict on one quantity, or on what was tried, with the entry that decided it.

    Parameters
    ----------
    name : str
        "y", "dx", "dw" or "db", or what was tried beside them, such as "batch 3".
    verdict : str
        "equal", "within rounding", "right normwise" (each error small beside the whole, as of an
        FFT), "undecided", "refused" (raised on what many do not take), "reported" (where nothing is
        promised), "wrong", or what kind of wrong: "not bilinear", "not repeatable", "raised",
        "wrong shape", "wrong dtype", "changed its input".
    at : tuple of int or None
        Position of the worst entry; None where all are equal.
    got, expected : str
        That entry, as it came and as it should be.
    difference, bound : float
        The difference there and what rounding explains (0 where equality was asked).
    note : str
        What else there is to say.
    """

    name: str
    verdict: str
    at: tuple[int, ...] | None = None
    got: str = ""
    expected: str = ""
    difference: float = 0.0
    bound: float = 0.0
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is equal or within rounding."""
        return self.verdict in (EQUAL, WITHIN)

    @property
    def grade(self) -> int:
        """Its place in `GRADES`, 0 for equal, and one more for anything wrong."""
        return GRADES.index(self.verdict) if self.verdict in GRADES else len(GRADES)

    @property
    def refuted(self) -> bool:
        """Whether it is wrong, in whichever way."""
        return self.grade == len(GRADES)

    @property
    def share(self) -> float:
        """Difference over bound: at most 1 where rounding explains it; 0 of an infinite bound."""
        if self.bound > 0:
            return self.difference / self.bound if self.bound < inf else 0.0
        return inf if self.difference else 0.0

    @property
    def worst(self) -> str:
        """The entry that decided it, both values and the bound; empty where all are equal."""
        if self.at is None:
            return ""
        text = f"worst at {self.at}: got {self.got}, expected {self.expected}"
        if not self.bound < inf:  # infinite, or NaN
            return f"{text}, no bound"
        text += f" ± {self.bound:.2g}"
        if self.bound > 0:
            text += f" ({self.share:.2g} of the bound)"
        return text

    def __str__(self) -> str:
        """Return one line: verdict, position, both values, and the bound that applied."""
        line = f"{self.name:<3} {self.verdict}"
        if self.worst:
            line += f", {self.worst}"
        if self.note:
            line += f"; {self.note}"
        return line

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data, floats as text: JSON has no infinity and no NaN."""
        data = asdict(self)
        texts = {name: repr(value) for name, value in data.items() if isinstance(value, float)}
        return data | texts

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Finding":
        """Read back what `to_dict` wrote."""
        values = dict(data)
        if values["at"] is not None:
            values["at"] = tuple(values["at"])
        for name in ("difference", "bound"):
            values[name] = float(values[name])
        return cls(**values)


def worst_of(findings: Iterable[Finding]) -> Finding:
    """Return the first finding of the worst grade."""
    return max(findings, key=lambda finding: finding.grade)


def keep_worst(found: dict[str, Finding], finding: Finding) -> None:
    """Keep a finding under its name, unless one as bad or worse stands there already."""
    name = finding.name
    if name not in found or found[name].grade < finding.grade:
        found[name] = finding


class Requirable:
    """A result that is true or false, and a way to insist on it."""

    def require(self) -> Self:
        """Return self if it is true; raise AssertionError with the whole text if not."""
        if not self:
            raise AssertionError(str(self))
        return self


@dataclass(frozen=True, repr=False)
class Judgement(Requirable, ABC):
    """What Report and Certificate share: findings, a truth value, and a way to insist on it.

    The evaluator is what was judged, the reference what it was judged by; both are names.
    """

    layer: Any  # a geometry, a pool, a network, or a layer that a user registered
    findings: tuple[Finding, ...]
    evaluator: str
    reference: str

    @property
    def forward_alone(self) -> bool:
        """Whether the evaluator gives y alone, so that no gradient was judged."""
        return self.evaluator.endswith(f"({FORWARD_ALONE})")

    @property
    def exact(self) -> bool:
        """Whether every quantity is equal, bit for bit."""
        return all(f.verdict == EQUAL for f in self.findings)

    @property
    def refuted(self) -> bool:
        """Whether some quantity is wrong.

        What is undecided, or right normwise, neither holds nor is refuted.
        """
        return any(f.refuted for f in self.findings)

    def __bool__(self) -> bool:
        """Return whether every quantity is equal or within rounding."""
        return all(f.holds for f in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding on one quantity, such as "dw"."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        names = ", ".join(f.name for f in self.findings)
        raise KeyError(complain("name", repr(name), f"one of {names}"))

    @property
    @abstractmethod
    def how(self) -> str:
        """How it was judged, in a sentence."""

    @property
    def compared(self) -> str:
        """What was compared with what."""
        return f"{self.evaluator} against {self.reference}"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence of at most 100 characters."""
        if self:
            held = ", ".join(_grouped(self.findings))
            heads = (held, f"all {len(self.findings)} quantities")
            texts = [f"holds{self._restricted}: {head}; {self._sure}" for head in heads]
            return texts[0] if held and len(texts[0]) <= LONGEST_SENTENCE else texts[1]
        wrong = self._wrong()
        return (
            _shortened("does not hold", wrong) if wrong else _shortened("undecided", self._open())
        )

    @property
    @abstractmethod
    def _sure(self) -> str:
        """How sure it is where it holds, in at most 54 characters."""

    @property
    def _restricted(self) -> str:
        """What follows on "holds"."""
        return ""

    def _wrong(self) -> list[str]:
        """Return all that is wrong."""
        return _grouped([finding for finding in self.findings if finding.refuted])

    def _open(self) -> list[str]:
        """Return all that neither holds nor is wrong."""
        left = [f for f in self.findings if not f.holds and not f.refuted]
        return _grouped(left)

    def __str__(self) -> str:
        """Return the verdict, layer and comparison, a line per quantity, and how it was judged."""
        lines = (f"  {finding}" for finding in self.findings)
        head = f"{self.layer!r}: {self.compared}"
        return "\n".join((self.sentence, head, *lines, self.how))

    def __repr__(self) -> str:
        """Return one line: what was judged, and the verdict."""
        return f"{type(self).__name__}({self.layer!r}, {self.sentence})"

    def _repr_html_(self) -> str:
        """Return the same as `str` for a notebook, the verdicts in colour too."""
        rows = [
            (f.name, Cell(f.verdict, _verdict_colour(f)), f.worst, f.note) for f in self.findings
        ]
        findings = table(rows, caption=f"{self.layer!r}: {self.compared}")
        return preformatted(self.sentence) + findings + preformatted(self.how)


def _grouped(findings: Iterable[Finding]) -> list[str]:
    """Return the names of each verdict, as "y, dx wrong", one alone with its position."""
    by_verdict: dict[str, list[Finding]] = {}
    for finding in findings:
        by_verdict.setdefault(finding.verdict, []).append(finding)
    texts = []
    for verdict, alike in by_verdict.items():
        text = f"{in_a_row([finding.name for finding in alike])} {verdict}"
        first = alike[0]
        where = len(alike) == 1 and first.at is not None and first.refuted
        texts.append(f"{text} at {first.at}" if where else text)
    return texts


def _shortened(head: str, items: list[str]) -> str:
    """Return a sentence with as many items as it has room for, and how many are left."""
    for kept in range(len(items), 0, -1):
        left = [f"{len(items) - kept} more"] if kept < len(items) else []
        text = f"{head}: {', '.join(items[:kept] + left)}"
        if len(text) <= LONGEST_SENTENCE:
            return text
    return f"{head}: see below"


def _verdict_colour(finding: Finding) -> str:
    """Return one of three colours: it holds, it is wrong, or neither."""
    if finding.holds:
        return HOLDS_COLOUR
    return REFUTED_COLOUR if finding.refuted else OPEN_COLOUR


def in_a_row(names: list[str]) -> str:
    """Return names in a row; if there are too many, the first few and how many are left."""
    if len(names) <= LONGEST_ROW:
        return ", ".join(names)
    few = names[: LONGEST_ROW - 1]
    return ", ".join([*few, f"{len(names) - len(few)} more"])


def array_to_dict(array: Array) -> dict[str, Any]:
    """Return an array as plain data, byte for byte."""
    data = np.ascontiguousarray(array)
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return {"dtype": data.dtype.str, "shape": list(array.shape), "base64": text}


def array_from_dict(data: dict[str, Any]) -> Array:
    """Read back what `array_to_dict` wrote."""
    raw = base64.b64decode(data["base64"])
    return np.frombuffer(raw, dtype=np.dtype(data["dtype"])).reshape(data["shape"])
