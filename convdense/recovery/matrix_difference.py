"""How two matrices differ: entries missing, extra, and with another weight.

Each is named by its output and input pixel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, unravelled
from convdense.display.tables import preformatted, table

SHOWN = 3  # entries of a text


class Place(NamedTuple):
    """One entry: its output and input (None for a bias), what was found and what was expected."""

    output: tuple[int, ...]
    input: tuple[int, ...] | None
    got: complex
    expected: complex

    def __str__(self) -> str:
        """Return one line."""
        source = "bias" if self.input is None else f"input {self.input}"
        return f"output {self.output}, {source}: got {self.got}, expected {self.expected}"


@dataclass(frozen=True, repr=False)
class Difference:
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
        counts = [
            f"{len(self.missing)} missing",
            f"{len(self.extra)} extra",
            f"{len(self.wrong)} with another weight",
        ]
        if self.bias:
            counts.append(f"{len(self.bias)} with another bias")
        return ", ".join(counts)

    def __repr__(self) -> str:
        """Return how many differ, in one line."""
        return f"Difference({self._counts})"

    def __str__(self) -> str:
        """Return how many differ, and the first of them."""
        lines = [self._counts, *(f"  {place}" for place in self.places[:SHOWN])]
        if len(self.places) > SHOWN:
            lines.append(f"  and {len(self.places) - SHOWN} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the same for a notebook, a row for each place."""
        counts, *lines = str(self).splitlines()
        shown = self.places[:SHOWN]
        rows = [(str(p.output), str(p.input or "bias"), str(p.got), str(p.expected)) for p in shown]
        places = table(rows, ("output", "input", "got", "expected")) if rows else ""
        return preformatted(counts) + places + "".join(map(preformatted, lines[SHOWN:]))


def difference(
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    got: tuple[sp.csr_array, Array],
    expected: tuple[sp.csr_array, Array],
) -> Difference:
    """Return how a matrix and a bias, (outputs, inputs) and (outputs,), differ from those expected.

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
    matrix, bias = got
    expected_matrix, expected_bias = expected
    apart = sp.coo_array(matrix - expected_matrix)
    keep = np.flatnonzero(apart.data)
    rows, cols = apart.row[keep], apart.col[keep]
    found = _entries(matrix, rows, cols)
    wanted = _entries(expected_matrix, rows, cols)

    missing, extra, wrong = [], [], []
    for r, c, a, b in zip(rows, cols, found, wanted, strict=True):
        place = Place(unravelled(r, out_shape), unravelled(c, in_shape), a.item(), b.item())
        if a == 0:
            missing.append(place)
        elif b == 0:
            extra.append(place)
        else:
            wrong.append(place)
    biases = [
        Place(unravelled(r, out_shape), None, bias[r].item(), expected_bias[r].item())
        for r in np.flatnonzero(np.asarray(bias) != np.asarray(expected_bias))
    ]
    return Difference(tuple(missing), tuple(extra), tuple(wrong), tuple(biases))


def _entries(matrix: sp.csr_array, rows: Array, cols: Array) -> Array:
    """Return the entries at some places, (places,)."""
    if not len(rows):  # no place gives a sparse array, which NumPy cannot flatten
        return np.zeros(0)
    return np.asarray(matrix[rows, cols]).ravel()
