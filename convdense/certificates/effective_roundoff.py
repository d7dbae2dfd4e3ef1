"""Precision: how much an implementation rounds, measured on random reals against sums that are
exact.

A structure can be right and its sums taken in fewer bits than the dtype has: float32 inside
float64, TF32, truncation.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import fsum, inf, log2, sqrt
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import FORMATS, gamma, rounded_to
from convdense.implementations.evaluators import Operands
from convdense.rounding.normwise_bounds import mean_square_unit, normwise_bound
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import NORMWISE, UNDECIDED, WITHIN, WRONG

LEAST, ENTRIES, TERMS = (
    4,
    12,
    50_000,
)  # positions looked at in each quantity: fewer where their sums are long
DEVIATIONS = 6
NAMES, NEAR = (
    {"float32": 24, "TF32 or float16": 11, "bfloat16": 8},
    1.5,
)  # bits, and how near to them is called so


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
        """Return the effective unit roundoff as a power of two, and more where it is not within rounding."""
        text = f"{self.name} 2^{-self.bits:.1f}" if self.unit else f"{self.name} exact"
        if self.verdict == WRONG:
            like = next(
                (f", as in {name}" for name, bits in NAMES.items() if abs(self.bits - bits) < NEAR),
                "",
            )
            small = "an entry is off by more than its bound" if self.unit <= self.allowed else ""
            text += f", wrong: {small or f'its dtype explains at most 2^{log2(self.allowed):.1f}'}{like}"
        return text if self.verdict in (WITHIN, WRONG) else f"{text} ({self.verdict})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def reals(ties: TieMap, dtype: str, seed: int) -> Operands:
    """Return one sample of x, w, b and dy in a format: uniform in [-1, 1), w, b and dy in far smaller units."""
    rng = np.random.default_rng((seed, 1))
    small = (
        1.0 if dtype == "float16" else 2.0**-10
    )  # a power of 2, that x of size 1 does not hide thresholds

    def drawn(shape: tuple[int, ...], scale: float) -> Array:
        return rounded_to((2 * scale) * (rng.random(shape) - 0.5), dtype)

    x, w = drawn((1, *ties.in_shape), 1.0), drawn(ties.weight_shape, small)
    return x, w, drawn(ties.bias_shape, small), drawn((1, *ties.out_shape), small)


def precision(
    layer: Any, operands: Operands, results: dict[str, Any], dtype: str, seed: int
) -> tuple[Precision, ...]:
    """Return the precision of what an implementation gave for these reals, from a few entries of
    each quantity.

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
    picked = {name: list(_entries(tie(layer), operands, name, seed)) for name in results}
    return tuple(
        _judged(layer, operands, (name, value, picked[name]), dtype)
        for name, value in results.items()
    )


def _judged(
    layer: Any, operands: Operands, seen: tuple[str, Any, list[Any]], dtype: str
) -> Precision:
    name, value, picked = seen
    u, got = FORMATS[dtype].unit_roundoff, np.asarray(value)
    longest = max(len(a) for _, a, _ in picked)
    errors, sizes, squares, at = [], [], [], []
    for position, a, b in picked:
        high, low = _products(a.astype(np.float64), b.astype(np.float64))
        errors.append(abs(fsum((*high, *low, -float(got[position])))))
        sizes.append(float(np.abs(high).sum()))
        squares.append(float((high * high).sum()))
        at.append(position)
    err, size, square = map(np.array, (errors, sizes, squares))
    some = square > 0
    unit = sqrt(float(np.mean(err[some] ** 2 / square[some]))) if some.any() else 0.0
    allowed = DEVIATIONS * u * sqrt((longest + 3) / 2)
    bound = gamma(longest, u) * size + longest * FORMATS[dtype].smallest_subnormal
    if unit <= allowed and (err <= bound).all():
        return Precision(name, WITHIN if np.isfinite(bound).all() else UNDECIDED, unit, allowed)
    wide = normwise_bound(layer, operands, name, dtype)
    if wide is None or unit > mean_square_unit(layer, dtype):
        return Precision(name, WRONG, unit, allowed)
    there = np.array([np.broadcast_to(wide, got.shape)[position] for position in at])
    return Precision(name, NORMWISE if (err <= there).all() else WRONG, unit, allowed)


def _entries(
    ties: TieMap, operands: Operands, name: str, seed: int
) -> Iterator[tuple[tuple[int, ...], Array, Array]]:
    """Yield a few positions of a quantity, and the pairs of numbers whose products are summed there."""
    x, w, b, dy = operands
    flat_x, flat_w, flat_b = (
        x.reshape(len(x), -1),
        w.ravel(),
        np.empty(0) if b is None else b.ravel(),
    )
    flat_dy = dy.reshape(len(dy), -1)
    shape = {
        "y": ties.out_shape,
        "dx": ties.in_shape,
        "dw": ties.weight_shape,
        "db": ties.bias_shape,
    }[name]
    rng, terms = np.random.default_rng((seed, 2)), 0
    for number in range(ENTRIES):
        if number >= LEAST and terms > TERMS:
            return
        position = tuple(int(rng.integers(n)) for n in shape)
        if name in ("dw", "db"):
            e = ties.copies(position) if name == "dw" else ties.bias.copies(position)
            terms += len(x) * len(e.col)
            left = flat_x[:, e.col] if name == "dw" else np.ones((len(x), len(e.col)))
            times = _exactly(e.coefficient, left)
            yield (
                position,
                times.ravel(),
                np.tile(flat_dy[:, e.row], times.shape[1] // max(1, len(e.col))).ravel(),
            )
            continue
        e = ties.row(position) if name == "y" else ties.column(position)
        terms += len(x) * len(e.col)
        weights = _exactly(e.coefficient, flat_w[None, e.index])[0]
        bias = (
            flat_b[ties.bias.row(position).index] if name == "y" and b is not None else flat_b[:0]
        )  # times 1
        for n in range(len(x)):
            cells = flat_x[n, e.col] if name == "y" else flat_dy[n, e.row]
            cells = np.tile(cells, len(weights) // len(cells)) if len(cells) else cells
            yield (n, *position), np.append(weights, bias), np.append(cells, np.ones(len(bias)))


def _exactly(coefficients: Array | None, values: Array) -> Array:
    """Return (rows, entries) values times their coefficients; exactly, as two numbers each: (rows, 2 entries)."""
    if coefficients is None:
        return values
    wide = np.broadcast_to(coefficients.astype(np.float64), values.shape)
    return np.concatenate(_products(wide, values.astype(np.float64)), axis=1)


def _products(a: Array, b: Array) -> tuple[Array, Array]:
    """Return each product as its rounding and the error of it, exactly (Dekker 1971, with Veltkamp's splitting)."""
    high = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return high, a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: Array) -> tuple[Array, Array]:
    """Return a as a sum of two numbers of 26 bits."""
    scaled = a * (2.0**27 + 1)
    first = scaled - (scaled - a)
    return first, a - first
