"""What `diagnose` found: for each quantity that is wrong a sentence, and where it shows first."""

from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from convdense._util.arguments import complain
from convdense.display.tables import LINES, Cell, preformatted, table
from convdense.verdicts.findings import FORWARD_ALONE, Finding, Requirable


@dataclass(frozen=True)
class Explanation:
    """What is wrong with one quantity, and where it shows first.

    Parameters
    ----------
    name : str
        "y", "dx", "dw" or "db".
    sentence : str
        The mistake; empty where none that is known fits.
    finding : Finding
        The entry that differs most.
    place : str
        The first edge, by output pixel, input pixel and weight, that the mistake moves; empty where
        it moves none.
    recovered : str
        Where no mistake fits: how its matrix differs from the layer's, or with which inputs dw
        pairs weights.
    smallest : str
        The smallest layer and batch at which it is wrong in the same way, in words; empty where
        that is the layer itself.
    pattern : str
        Where no mistake fits: which entries are wrong.
    """

    name: str
    sentence: str
    finding: Finding
    place: str = ""
    recovered: str = ""
    smallest: str = ""
    pattern: str = ""

    def __str__(self) -> str:
        """Return the quantity, the sentence, and where it shows."""
        lines = [f"{self.name}: {self.sentence or 'no mistake that is known here explains it'}"]
        if self.place:
            lines.append(f"  first at {self.place}")
        if not self.sentence:
            lines.append(f"  {self.finding}")
        if self.pattern:
            lines.append(f"  {self.pattern}")
        if self.smallest:
            lines.append(f"  already wrong for {self.smallest}")
        lines += [f"  {line}" for line in self.recovered.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Diagnosis(Requirable):
    """What `diagnose` found; true if nothing is wrong.

    Attributes
    ----------
    layer : geometry
    explanations : tuple of Explanation
        One for each quantity that is wrong.
    seed, forward_alone : int or None, bool
        Of the integers that it was found on; whether y alone was judged.
    time_limit : float or None
        The seconds after which it was stopped; None where everything was tried.

    Examples
    --------
    >>> from convdense import Conv, convolve, convolve_backward, diagnose
    >>> conv = Conv((1, 5, 6), out_channels=2, kernel=(2, 3))
    >>> def backward(x, w, dy):
    ...     return convolve_backward(conv, x, w, -dy)
    >>> print(diagnose(conv, (lambda x, w, b: convolve(conv, x, w, b), backward)))
    dx: the sign is turned
      already wrong for 1 channel of 2 x 3
    dw: the sign is turned
      already wrong for 1 channel of 2 x 3
    db: the sign is turned
      already wrong for 1 channel of 2 x 3
    """

    layer: Any
    explanations: tuple[Explanation, ...]
    seed: int | None = field(default=None, compare=False)
    forward_alone: bool = False
    time_limit: float | None = None

    def __bool__(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.explanations

    def __getitem__(self, name: str) -> Explanation:
        """Return what is wrong with one quantity, such as "dw"."""
        for explanation in self.explanations:
            if explanation.name == name:
                return explanation
        names = ", ".join(explanation.name for explanation in self.explanations)
        raise KeyError(complain("name", repr(name), f"one of {names}"))

    def __str__(self) -> str:
        """Return one sentence for each quantity that is wrong."""
        said = "\n".join(map(str, self.explanations)) or f"{self.layer!r}: nothing is wrong"
        if self.time_limit is not None:
            said += f"\nstopped after {self.time_limit:g} seconds: not every mistake was tried"
        return f"{said}\n{FORWARD_ALONE} was given" if self.forward_alone else said

    def _repr_html_(self) -> str:
        """Return the same as `str` for a notebook, a row for each quantity."""
        rows: list[tuple[str | Cell, ...]] = []
        for explanation in self.explanations:
            said, _, where = str(explanation).partition("\n")
            rows.append((*said.split(": ", 1), Cell(dedent(where), style=LINES)))
        return table(rows) if rows else preformatted(str(self))

    def __repr__(self) -> str:
        """Return one line: the layer, and what is wrong with each quantity."""
        said = [f"{e.name}: {e.sentence or 'unknown'}" for e in self.explanations]
        alone = f"; {FORWARD_ALONE} was given" * self.forward_alone
        return f"Diagnosis({self.layer!r}, {'; '.join(said) or 'nothing is wrong'}{alone})"
