"""Precision: how much an implementation rounds, measured on random reals against exact sums.

A structure can be right and its sums taken in fewer bits than the dtype has: float32 inside
float64, TF32, truncation.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import fsum, inf, log2, sqrt
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import CALLED, FORMATS, gamma, rounded_to
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.evaluators import Operands
from convdense.rounding.normwise_bounds import mean_square_unit, normwise_bound
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import NORMWISE, QUANTITIES, UNDECIDED, WITHIN, WRONG

# positions looked at in each quantity: 12, or fewer where their sums are long, but at least 4
ENTRIES = 12
LEAST = 4
TERMS = 50_000
DEVIATIONS = 6  # of the mean square that roundings may have: see `precision`
NEAR = 1.5  # bits from those of a format within which numbers are called its


@dataclass(frozen=True)
class Precision:
    """How precise one quantity is.

    Attributes
    ----------
    name : str
        "y", "dx", "dw" or "db".
    verdict : str
        "within rounding" if no entry differs by more than its bound and the unit is at most the one
        allowed, "right normwise" as of a fast transform, "undecided" where sums are too long for a
        bound, or "wrong".
    unit : float
        The effective unit roundoff: the root mean square of error / sqrt(sum of the squares of the
        products).
    allowed : float
        What the dtype's own unit roundoff u explains in sums of N random products: ``6 u sqrt((N +
        3) / 2)``.
    """

    name: str
    verdict: str
    unit: float
    allowed: float

    @property
    def bits(self) -> float:
        """How many bits its numbers seem to have: 53 for float64, about."""
        return -log2(self.unit) if self.unit else inf

    def __str__(self) -> str:
        """Return the unit as a power of two, and what is amiss where it is not within rounding."""
        text = f"{self.name} 2^{-self.bits:.1f}" if self.unit else f"{self.name} exact"
        if self.verdict == WITHIN:
            return text
        if self.verdict != WRONG:
            return f"{text} ({self.verdict})"
        if self.unit <= self.allowed:
            why = "an entry is off by more than its bound"
        else:
            why = f"its dtype explains at most 2^{log2(self.allowed):.1f}"
        alike = [name for bits, name in CALLED.items() if abs(self.bits - bits) < NEAR]
        return f"{text}, wrong: {why}" + (f", as in {alike[0]}" if alike else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def reals(ties: TieMap, dtype: str, seed: int) -> Operands:
    """Return one sample of uniform x, w, b and dy in a format: x in [-1, 1), the others small."""
    rng = np.random.default_rng((seed, 1))
    # beside an x of size 1, a threshold in w, b or dy would not be hidden; a power of 2 rounds
    # nothing. In float16 products of small numbers would be subnormal.
    few_exponents = FORMATS[dtype].smallest_subnormal > 2.0**-64
    small = 1.0 if few_exponents else 2.0**-10

    def drawn(shape: tuple[int, ...], scale: float) -> Array:
        return rounded_to((2 * scale) * (rng.random(shape) - 0.5), dtype)

    x = drawn((1, *ties.in_shape), 1.0)
    w = drawn(ties.weight_shape, small)
    b = drawn(ties.bias_shape, small)
    dy = drawn((1, *ties.out_shape), small)
    return x, w, b, dy


def precision(
    layer: HasShapes, operands: Operands, results: dict[str, Array], dtype: str, seed: int
) -> tuple[Precision, ...]:
    """Return the precision of an implementation's results, from a few entries of each quantity.

    Notes
    -----
    Summed in any order, with independent roundings of mean 0 and size at most u, N products of
    random reals err by at most ``u sqrt((N + 3) / 2)`` times the root of the sum of their squares,
    in the mean square: a partial sum of k of them has a mean square of k, and these add up to at
    most N (N + 1) / 2, one after the other. Allowed is six times that, for few entries are looked
    at: such sums of bounded terms exceed six deviations with a probability of at most ``2
    exp(-18)`` (Hoeffding; Higham and Mary, *A New Approach to Probabilistic Rounding Error
    Analysis*, 2019).
    """
    ties = tie(layer)
    sums = {name: _picked_sums(ties, operands, name, seed) for name in results}
    return tuple(
        _judged(layer, operands, name, result, sums[name], dtype=dtype)
        for name, result in results.items()
    )


class Sum(NamedTuple):
    """One entry of a quantity, and the pairs of numbers whose products are summed there."""

    position: tuple[int, ...]
    left: Array  # (terms,)
    right: Array  # (terms,)


def _judged(
    layer: HasShapes, operands: Operands, name: str, result: Array, sums: list[Sum], *, dtype: str
) -> Precision:
    """Return the precision of one quantity: its errors beside what its dtype explains."""
    errors, sizes, squares = _measured(result, sums)
    some = squares > 0
    unit = 0.0
    if some.any():
        unit = sqrt(float(np.mean(errors[some] ** 2 / squares[some])))

    longest = max(len(terms.left) for terms in sums)
    u = FORMATS[dtype].unit_roundoff
    allowed = DEVIATIONS * u * sqrt((longest + 3) / 2)
    with np.errstate(invalid="ignore"):  # nothing is known of long sums, but those of zeros are 0
        relative = np.where(sizes > 0, gamma(longest, u) * sizes, 0.0)
    bound = relative + longest * FORMATS[dtype].smallest_subnormal
    if unit <= allowed and (errors <= bound).all():
        verdict = WITHIN if np.isfinite(bound).all() else UNDECIDED
        return Precision(name, verdict, unit, allowed)

    normwise = normwise_bound(layer, operands, name, dtype)
    if (
        normwise is None
        or not isinstance(layer, (Conv, ConvTranspose))
        or unit > mean_square_unit(layer, dtype)
    ):
        return Precision(name, WRONG, unit, allowed)
    everywhere = np.broadcast_to(normwise, result.shape)
    there = np.array([everywhere[terms.position] for terms in sums])
    return Precision(name, NORMWISE if (errors <= there).all() else WRONG, unit, allowed)


def _measured(result: Array, sums: list[Sum]) -> tuple[Array, Array, Array]:
    """Return errors, sums of magnitudes and sums of squares of the products: (entries,) each."""
    errors = []
    sizes = []
    squares = []
    for position, left, right in sums:
        high, low = _products(left.astype(np.float64), right.astype(np.float64))
        # fsum rounds once, at the end: the difference from the exact sum
        errors.append(abs(fsum((*high, *low, -float(result[position])))))
        sizes.append(float(np.abs(high).sum()))
        squares.append(float((high * high).sum()))
    return np.array(errors), np.array(sizes), np.array(squares)


def _picked_sums(ties: TieMap, operands: Operands, name: str, seed: int) -> list[Sum]:
    """Return the sums at a few random positions of a quantity: a sample each for y and dx."""
    x = operands[0]
    rng = np.random.default_rng((seed, 2))
    shapes = dict(
        zip(
            QUANTITIES,
            (ties.out_shape, ties.in_shape, ties.weight_shape, ties.bias_shape),
            strict=True,
        )
    )
    sums: list[Sum] = []
    terms = 0
    for number in range(ENTRIES):
        if number >= LEAST and terms > TERMS:
            break
        position = tuple(int(rng.integers(n)) for n in shapes[name])
        if name in ("y", "dx"):
            entries = ties.row(position) if name == "y" else ties.column(position)
            sums += _sums_over_weights(ties, operands, name, position, entries)
        else:
            entries = ties.copies(position) if name == "dw" else ties.bias.copies(position)
            sums.append(_sum_over_copies(operands, name, position, entries))
        terms += len(x) * len(entries.col)
    return sums


def _sums_over_weights(
    ties: TieMap, operands: Operands, name: str, position: tuple[int, ...], entries: Entries
) -> Iterator[Sum]:
    """Yield the sum at one position of y or dx, for every sample: weights times x or dy."""
    x, w, b, dy = operands
    weights = _exactly(entries.coefficient, w.ravel()[None, entries.index])[0]
    bias = np.empty(0)
    if name == "y" and b is not None:
        bias = b.ravel()[ties.bias.row(position).index]
    for n in range(len(x)):
        cells = x[n].ravel()[entries.col] if name == "y" else dy[n].ravel()[entries.row]
        if len(cells):  # once more where a product with a coefficient is two numbers
            cells = np.tile(cells, len(weights) // len(cells))
        ones = np.ones(len(bias))
        yield Sum((n, *position), np.append(weights, bias), np.append(cells, ones))


def _sum_over_copies(
    operands: Operands, name: str, position: tuple[int, ...], entries: Entries
) -> Sum:
    """Return the sum at one position of dw or db: over all samples and copies, x or 1 times dy."""
    x, _, _, dy = operands
    inputs = np.ones((len(x), len(entries.col)))  # (batch, copies)
    if name == "dw":
        inputs = x.reshape(len(x), -1)[:, entries.col]
    left = _exactly(entries.coefficient, inputs)
    right = dy.reshape(len(dy), -1)[:, entries.row]
    # once more where a product with a coefficient is two numbers
    right = np.tile(right, left.shape[1] // max(1, len(entries.col)))
    return Sum(position, left.ravel(), right.ravel())


def _exactly(coefficients: Array | None, values: Array) -> Array:
    """Return values, (rows, entries), times coefficients: two numbers each, (rows, 2 entries)."""
    if coefficients is None:
        return values
    wide = np.broadcast_to(coefficients.astype(np.float64), values.shape)
    return np.concatenate(_products(wide, values.astype(np.float64)), axis=1)


def _products(a: Array, b: Array) -> tuple[Array, Array]:
    """Return each product as its rounding and the error of it, which are exact together.

    Dekker's product (*A Floating-Point Technique for Extending the Available Precision*, 1971),
    with Veltkamp's splitting.
    """
    high = a * b
    a1, a2 = _halves(a)
    b1, b2 = _halves(b)
    # products of halves are exact, and so is every difference when taken from the largest on
    low = a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)
    return high, low


def _halves(a: Array) -> tuple[Array, Array]:
    """Return a as a sum of two numbers of 26 bits."""
    scaled = a * (2.0**27 + 1)
    first = scaled - (scaled - a)
    return first, a - first
