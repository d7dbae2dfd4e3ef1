"""How two matrices differ: entries missing, extra, and with another weight, named by output and input pixel."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, unravelled
from convdense.display.tables import AsText

SHOWN = 3  # entries of a text


class Place(NamedTuple):
    """One entry: which output, which input (None for a bias), what was found there and what was expected."""

    output: tuple[int, ...]
    input: tuple[int, ...] | None
    got: float
    expected: float

    def __str__(self) -> str:
        """Return one line."""
        where = f"output {self.output}, " + (
            "bias" if self.input is None else f"input {self.input}"
        )
        return f"{where}: got {self.got}, expected {self.expected}"


@dataclass(frozen=True, repr=False)
class Difference(AsText):
    """What a matrix has too little, too much and otherwise; false if nothing differs.

    Attributes
    ----------
    missing, extra, wrong, bias : tuple of Place
        Expected and not found; found and not expected; with another weight; with another bias.
    """

    missing: tuple[Place, ...]
    extra: tuple[Place, ...]
    wrong: tuple[Place, ...]
    bias: tuple[Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """All of them, by output and then input."""
        whole = (*self.missing, *self.extra, *self.wrong)
        return (*sorted(whole, key=lambda p: (p.output, p.input)), *self.bias)

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.places)

    @property
    def _counts(self) -> str:
        """How many differ, in words."""
        if not self:
            return "no difference"
        line = f"{len(self.missing)} missing, {len(self.extra)} extra, {len(self.wrong)} with another weight"
        return line + (f", {len(self.bias)} with another bias" if self.bias else "")

    def __repr__(self) -> str:
        """Return how many differ, in one line."""
        return f"Difference({self._counts})"

    def __str__(self) -> str:
        """Return how many differ, and the first of them."""
        lines = [self._counts, *(f"  {place}" for place in self.places[:SHOWN])]
        return "\n".join(
            lines + ([f"  and {len(self.places) - SHOWN} more"] if len(self.places) > SHOWN else [])
        )


def difference(
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    got: tuple[Any, Array],
    expected: tuple[Any, Array],
) -> Difference:
    """Return how a matrix and a bias differ from those expected, exactly.

    Examples
    --------
    >>> right, none = sp.csr_array(np.array([[1.0, 2], [0, 1]])), np.zeros(2)
    >>> wrong = sp.csr_array(np.array([[1.0, 0], [4, 3]]))
    >>> print(difference((2,), (2,), (wrong, none), (right, none)))
    1 missing, 1 extra, 1 with another weight
      output (0,), input (1,): got 0.0, expected 2.0
      output (1,), input (0,): got 4.0, expected 0.0
      output (1,), input (1,): got 3.0, expected 1.0
    """
    apart = sp.coo_array(got[0] - expected[0])
    kinds: dict[str, list[Place]] = {"missing": [], "extra": [], "wrong": []}
    keep = np.flatnonzero(apart.data)
    rows, cols = apart.row[keep], apart.col[keep]
    found, wanted = (_entries(m, rows, cols) for m in (got[0], expected[0]))
    for r, c, a, b in zip(rows, cols, found, wanted, strict=True):
        kind = "missing" if a == 0 else "extra" if b == 0 else "wrong"
        kinds[kind].append(
            Place(unravelled(r, out_shape), unravelled(c, in_shape), float(a), float(b))
        )
    biases = [
        Place(unravelled(r, out_shape), None, float(got[1][r]), float(expected[1][r]))
        for r in np.flatnonzero(np.asarray(got[1]) != np.asarray(expected[1]))
    ]
    return Difference(**{kind: tuple(places) for kind, places in kinds.items()}, bias=tuple(biases))


def _entries(matrix: Any, rows: Array, cols: Array) -> Array:
    return np.asarray(matrix[rows, cols]).ravel() if len(rows) else np.zeros(0)
