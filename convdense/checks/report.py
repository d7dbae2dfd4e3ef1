"""What a check found: one verdict per quantity, worst entry first; true only if everything required holds."""

import base64
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from convdense.arguments import Array, complain

EQUAL, WITHIN, UNDECIDED, WRONG = "equal", "within rounding", "undecided", "wrong"
QUANTITIES = ("y", "dx", "dw", "db")


@dataclass(frozen=True)
class Finding:
    """The verdict on one quantity, with the entry that decided it.

    Parameters
    ----------
    name : str
        "y", "dx", "dw" or "db".
    verdict : str
        "equal", "within rounding", "undecided" or "wrong".
    at : tuple of int or None
        Position of the worst entry; None where all are equal.
    got, expected : str
        That entry on both roads.
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
    def share(self) -> float:
        """Difference over bound: at most 1 where rounding explains it."""
        if self.bound > 0:
            return self.difference / self.bound
        return float("inf") if self.difference else 0.0

    def __str__(self) -> str:
        """Return one line: verdict, position, both values, and the bound that applied."""
        line = f"{self.name:<3} {self.verdict}"
        if self.at is not None:
            line += f", worst at {self.at}: got {self.got}, expected {self.expected} ± {self.bound:.2g}"
            line += f" ({self.share:.2g} of the bound)" if self.bound > 0 else ""
        return line + (f"; {self.note}" if self.note else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data, infinities and NaN as text."""
        data = asdict(self)
        return {k: repr(v) if isinstance(v, float) else v for k, v in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Finding":
        """Read back what `to_dict` wrote."""
        values = dict(data)
        at = values.pop("at")
        difference, bound = float(values.pop("difference")), float(values.pop("bound"))
        return cls(at=None if at is None else tuple(at), difference=difference, bound=bound, **values)


@dataclass(frozen=True)
class Judgement(ABC):
    """What Report and Certificate share: findings, a truth value, and a way to insist on it."""

    layer: Any
    findings: tuple[Finding, ...]

    @property
    def exact(self) -> bool:
        """Whether every quantity is equal, bit for bit."""
        return all(f.verdict == EQUAL for f in self.findings)

    def __bool__(self) -> bool:
        """Return whether every quantity is equal or within rounding."""
        return all(f.verdict in (EQUAL, WITHIN) for f in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding on one quantity, such as "dw"."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(complain("name", repr(name), "one of " + ", ".join(f.name for f in self.findings)))

    def require(self) -> Self:
        """Return self if it is true; raise AssertionError with the whole text if not."""
        if not self:
            raise AssertionError(str(self))
        return self

    @property
    @abstractmethod
    def how(self) -> str:
        """How it was judged, in a sentence."""

    @property
    @abstractmethod
    def compared(self) -> str:
        """What was compared with what."""

    def __str__(self) -> str:
        """Return layer, comparison, one line per quantity, and how it was judged."""
        lines = (f"  {finding}" for finding in self.findings)
        return "\n".join((f"{self.layer!r}: {self.compared}", *lines, self.how))


def compare(name: str, got: Array, expected: Array, bound: Array | None = None) -> Finding:
    """Return the verdict on one quantity: equality, or each entry within its own bound if bounds are given."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        return Finding(name, WRONG, note=f"shape {got.shape} where {expected.shape} is needed")
    if np.array_equal(got, expected):
        return Finding(name, EQUAL)
    wide = np.result_type(got, expected, np.float64)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(wide) - expected.astype(wide))
    difference = np.where(got == expected, 0.0, np.where(np.isnan(difference), np.inf, difference))
    allowed = np.zeros(got.shape) if bound is None else bound
    return _worst(name, got, expected, difference, allowed)


def _worst(name: str, got: Array, expected: Array, difference: Array, allowed: Array) -> Finding:
    """Name the entry with the largest share of its bound; a bound that is not finite decides nothing."""
    with np.errstate(all="ignore"):
        share = np.where(difference == 0, 0.0, difference / allowed)  # x / 0 is inf: any difference is too much
    share = np.where(np.isfinite(allowed), share, 0.0)
    flat = int(np.argmax(share))
    at = tuple(int(i) for i in np.unravel_index(flat, share.shape))
    if share[at] > 1:
        verdict, note = WRONG, ""
    elif np.isfinite(allowed).all():
        verdict, note = WITHIN, ""
    else:
        verdict, note = UNDECIDED, f"no bound for {int((~np.isfinite(allowed)).sum())} entries: too long, or overflow"
    values = repr(got[at].item()), repr(expected[at].item())
    return Finding(name, verdict, at, *values, float(difference[at]), float(allowed[at]), note)


def array_to_dict(array: Array) -> dict[str, Any]:
    """Return an array as plain data, byte for byte."""
    data = np.ascontiguousarray(array)
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return {"dtype": data.dtype.str, "shape": list(array.shape), "base64": text}


def array_from_dict(data: dict[str, Any]) -> Array:
    """Read back what `array_to_dict` wrote."""
    raw = base64.b64decode(data["base64"])
    return np.frombuffer(raw, dtype=np.dtype(data["dtype"])).reshape(data["shape"])
