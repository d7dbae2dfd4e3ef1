"""Precision: how much an implementation rounds, measured on random reals against exact sums.

A structure can be right and its sums taken in fewer bits than the dtype has: float32 inside
float64, TF32, truncation.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import fsum, hypot, inf, log2, sqrt
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense._util.float_formats import COMPLEX, EXACT, FORMATS, NAMES_BY_BITS, gamma, rounded_to
from convdense._util.threads import blas_alone
from convdense.certificates.contraction import (
    Draw,
    bias_gradient,
    factors_of,
    pays_off,
    random_draw,
    result_sums,
    right_sums,
)
from convdense.certificates.integer_ranges import longest_sums
from convdense.certificates.rounding_explainer import Explainer
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.compare_calls import in_double
from convdense.implementations.evaluators import Drawn, Evaluator, Operands, Results
from convdense.rounding.normwise_bounds import mean_square_unit
from convdense.rounding.sum_bounds import rounding_bounds
from convdense.structure._tie import tie
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import NORMWISE, QUANTITIES, UNDECIDED, WITHIN, WRONG, Finding

# positions looked at in each quantity; after the least, no more once so many terms were added up
POSITIONS = 12
LEAST_POSITIONS = 4
ENOUGH_TERMS = 50_000
DEVIATIONS = 6  # the allowed unit is so many times what roundings come to: see `measure_precision`
# of a quantity whose sums over channels were near enough
CONTRACTED = Finding("", WITHIN, note="channels contracted")
NEAR = 1.5  # where the unit is so few bits from that of a format, the format is named


@dataclass(frozen=True)
class Precision:
    """How precise one quantity is.

    Attributes
    ----------
    name : str
        "y", "dx", "dw" or "db".
    verdict : str
        "within rounding" if no entry differs by more than its bound and the unit is at most the one
        allowed, "right normwise" as of a fast transform or of a max pool by sums and |x|,
        "undecided" where sums are too long for a bound, or "wrong". Only the last spoils a
        certificate.
    unit : float
        The effective unit roundoff: the root mean square of error / sqrt(sum of the squares of the
        products).
    allowed : float
        What the dtype's own unit roundoff u explains in sums of N random products: ``6 u sqrt((N +
        3) / 2)``.
    entries : int
        How many entries were compared with their bounds: all; 0 under rules that compared 12.
    contracted : bool
        Whether sums over channels were, with the mean of the channels' bounds.
    """

    name: str
    verdict: str
    unit: float
    allowed: float
    entries: int = 0
    contracted: bool = False

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
        alike = [name for bits, name in NAMES_BY_BITS.items() if abs(self.bits - bits) < NEAR]
        return f"{text}, wrong: {why}" + (f", as in {alike[0]}" if alike else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        plain = asdict(self)
        if not self.contracted:
            del plain["contracted"]
        return plain


def reals(ties: TieMap, dtype: str, batch: int, seed: int) -> Drawn:
    """Return uniform x, w, b and dy in a format: x in [-1, 1), the others small."""
    rng = np.random.default_rng((seed, 1))
    # Code that takes small numbers for 0 shows on small operands alone. A power of 2 rounds
    # nothing. float16 ends at 2^-24: there products of small numbers would be subnormal.
    few_exponents = FORMATS[dtype].smallest_subnormal > 2.0**-64
    small = 1.0 if few_exponents else 2.0**-10

    def drawn(shape: tuple[int, ...], scale: float) -> Array:
        if dtype in COMPLEX:
            both = rng.random((*shape, 2)) - 0.5
            return rounded_to((2 * scale) * both, COMPLEX[dtype]).view(dtype)[..., 0]
        values = rng.random(shape)
        values -= 0.5
        values *= 2 * scale
        return rounded_to(values, dtype)

    x = drawn((batch, *ties.in_shape), 1.0)
    w = drawn(ties.weight_shape, small)
    b = drawn(ties.bias_shape, small)
    dy = drawn((batch, *ties.out_shape), small)
    return x, w, b, dy


def compare_reals(
    layer: HasShapes, by: Evaluator, operands: Drawn, results: Results, *, dtype: str, seed: int
) -> dict[str, Finding]:
    """Return a finding a quantity: all its entries on reals, each within its own bound.

    What is right is computed in float64. A quantity that the implementation leaves out has none.
    Where contracted sums of y, dx and dw are all near enough, these have a finding CONTRACTED, and
    nothing else is computed.
    """
    x, _, _, dy = operands
    if (
        dtype in EXACT
        and pays_off(layer, len(x))
        and _are_near(layer, operands, results, dtype, seed)
    ):
        found = dict.fromkeys(QUANTITIES[:3], CONTRACTED)
        if results[3] is not None:
            expected, sizes = (bias_gradient(a.astype(np.float64)) for a in (dy, np.abs(dy)))
            allowed = 2 * gamma(dy[:, 0].size, FORMATS[dtype].unit_roundoff) * sizes
            found["db"] = compare("db", results[3], expected, allowed, dtype=FORMATS[dtype].holder)
        return {name: replace(f, name=name) for name, f in found.items()}
    right = by.run(*in_double(operands))
    bounds = rounding_bounds(layer, operands, dict.fromkeys(QUANTITIES, dtype))
    explain = Explainer(layer, dtype)(operands)
    found = {}
    for name, got, expected in zip(QUANTITIES, results, right, strict=True):
        if expected is None or (name == "db" and got is None):
            continue
        finding = compare(name, got, expected, bounds[name], dtype=FORMATS[dtype].holder)
        if finding.verdict == WRONG:  # each entry small beside the whole, as of an FFT?
            finding = explain(finding, got, expected)
        found[name] = finding
    return found


def _are_near(layer: Any, operands: Drawn, results: Results, dtype: str, seed: int) -> bool:
    """Tell whether y, dx and dw are right where channels are contracted, by random reals.

    A sum over n channels may be off by what one of them explains on average, gamma_N times the sum
    of magnitudes, over n; or by what independent roundings come to, over sqrt(n N). Where they come
    to more, each entry is compared.
    """
    x, w, b, dy = in_double(operands)
    named = dict(zip(QUANTITIES[:3], results, strict=False))
    for (name, result), like in zip(named.items(), (dy, x, w), strict=True):
        holder = FORMATS[dtype].holder
        if not isinstance(result, np.ndarray) or result.dtype != holder:
            return False
        if result.shape != like.shape or not np.isfinite(result).all():
            return False
        named[name] = result.astype(np.float64, copy=False)
    draw = random_draw(layer, np.random.default_rng(seed))
    assert b is not None  # it was drawn
    with blas_alone():
        due = right_sums(layer, (x, w, b, dy), draw)
        magnitudes = np.abs(x), np.abs(w), np.abs(b), np.abs(dy)
        sizes = right_sums(layer, magnitudes, Draw(np.abs(draw.small), np.abs(draw.big)))
        got = result_sums(layer, named, draw)
    longest = longest_sums(tie(layer), len(x))
    for name, each in got.items():
        relative = 2 * float(gamma(longest[name], FORMATS[dtype].unit_roundoff))
        channels = factors_of(layer, draw, name).shape[-1]
        share = 1 / min(channels, sqrt(channels * longest[name]))
        if not (np.abs(each - due[name]) <= relative * share * sizes[name]).all():
            return False
    return True


# The precision of one quantity, and whether few entries alone spoil it: most of the sampled errors
# are no larger than roundings of the dtype come to.
Measured = tuple[Precision, bool]


def measure_precision(
    layer: HasShapes,
    operands: Operands,
    results: dict[str, Array],
    found: dict[str, Finding],
    *,
    dtype: str,
    seed: int,
) -> dict[str, Measured]:
    """Return the precision of an implementation's results on reals.

    The unit roundoff is measured at a few entries of each quantity, against exact sums; whether
    entries are within their bounds was `found` of all.

    Notes
    -----
    Take N random products of mean square 1, and roundings that are independent, of mean 0, and at
    most u times what is rounded. In units of u^2, the N roundings of the products have a mean
    square of at most N together. A partial sum of k products has a mean square of k, so those of
    the sums add at most 1 + 2 + ... + N, one after the other (other orders add less). Together
    that is N (N + 3) / 2; divided by N, the sum of the squares of the products, and under the
    root, it is ``u sqrt((N + 3) / 2)``.

    Allowed is six times that, for few entries are looked at: such sums of bounded terms exceed six
    deviations with a probability of at most ``2 exp(-18)`` (Hoeffding; Higham and Mary, *A New
    Approach to Probabilistic Rounding Error Analysis*, 2019).
    """
    ties = tie(layer)
    measured = {}
    for name, result in results.items():
        sums = _picked_sums(ties, operands, name, seed)
        units = _units(result, sums)
        unit = sqrt(float(np.mean(units**2))) if units.size else 0.0
        longest = max(len(terms.left) for terms in sums)
        if dtype in COMPLEX:
            # In three multiplications a part errs by 3 gamma_(N + 4) |products|; 3 sqrt(2) < 5: for
            # (|a| + |b|) (|c| + |d|) + |a c| + |b d| <= 3 |a + i b| |c + i d|.
            longest = 5 * (longest + 4)
        expected = FORMATS[dtype].unit_roundoff * sqrt((longest + 3) / 2)
        allowed = DEVIATIONS * expected
        verdict = _verdict(layer, found[name], unit, allowed, dtype)
        contracted = found[name].note == CONTRACTED.note
        few_alone = not units.size or float(np.median(units)) <= expected
        precision = Precision(name, verdict, unit, allowed, result.size, contracted)
        measured[name] = precision, few_alone
    return measured


class Sum(NamedTuple):
    """One entry of a quantity: the sum of left * right, term by term."""

    position: tuple[int, ...]
    left: Array  # (terms,)
    right: Array  # (terms,)


def _verdict(layer: HasShapes, finding: Finding, unit: float, allowed: float, dtype: str) -> str:
    """Return what entries and the measured unit say together of one quantity."""
    if finding.holds and unit <= allowed:
        return WITHIN
    # A fast transform errs more, in proportion to the norms of the operands. It computes
    # convolutions alone, and no db: of anything else there is no such bound.
    if isinstance(layer, (Conv, ConvTranspose)) and finding.name != "db":
        allowed = max(allowed, mean_square_unit(layer, dtype))
    if finding.refuted or unit > allowed:
        return WRONG
    return UNDECIDED if finding.verdict == UNDECIDED else NORMWISE


def _units(result: Array, sums: list[Sum]) -> Array:
    """Return the errors of some entries over the roots of their summed squares: (sums,)."""
    units = []
    for position, left, right in sums:
        error = _error(result[position], left, right)
        sizes = np.abs(np.multiply(left, right, dtype=np.result_type(left, right, np.float64)))
        squares = float((sizes * sizes).sum())
        if squares > 0:  # a sum of zeros says nothing of roundings
            units.append(error / sqrt(squares))
    return np.array(units)


def _error(value: Any, left: Array, right: Array) -> float:
    """Return by how much a value misses a sum of products, exactly; of complex ones the modulus."""
    if left.dtype.kind == "c" or right.dtype.kind == "c":
        a, b, c, d = left.real, left.imag, right.real, right.imag
        real = _error(value.real, np.append(a, -b), np.append(c, d))
        return hypot(real, _error(value.imag, np.append(a, b), np.append(d, c)))
    high, low = _products(left.astype(np.float64), right.astype(np.float64))
    # fsum adds up exactly and rounds once, at the end
    return abs(fsum((*high, *low, -float(value))))


def _picked_sums(ties: TieMap, operands: Operands, name: str, seed: int) -> list[Sum]:
    """Return the sums at a few random positions of a quantity; of y and dx, in every sample."""
    rng = np.random.default_rng((seed, 2))  # other numbers than those of `reals`
    # of each quantity its shape, in one sample, and the entries that one position sums
    known = {
        "y": (ties.out_shape, ties.row),
        "dx": (ties.in_shape, ties.column),
        "dw": (ties.weight_shape, ties.copies),
        "db": (ties.bias_shape, ties.bias.copies),
    }
    shape, entries_at = known[name]
    sums: list[Sum] = []
    terms = 0
    for number in range(POSITIONS):
        if number >= LEAST_POSITIONS and terms > ENOUGH_TERMS:
            break
        position = tuple(int(rng.integers(n)) for n in shape)
        entries = entries_at(position)
        sums += _sums_at(ties, operands, name, position, entries)
        terms += len(operands[0]) * len(entries.col)
    return sums


def _sums_at(
    ties: TieMap, operands: Operands, name: str, position: tuple[int, ...], entries: Entries
) -> Iterator[Sum]:
    """Yield the sum at one position: of y and dx one a sample, of dw and db one over all."""
    x, w, _, dy = operands
    cells, upstream = x.reshape(len(x), -1), dy.reshape(len(dy), -1)
    if name in ("y", "dx"):
        left = w.ravel()[entries.index][None]  # (1, entries)
    else:
        left = cells[:, entries.col] if name == "dw" else np.ones((len(x), len(entries.col)))
    right = cells[:, entries.col] if name == "y" else upstream[:, entries.row]
    # W^H dy, and conj(x) dy; twice as many where each factor is two numbers
    left = _times_coefficients(entries.coefficient, left if name == "y" else left.conj())
    right = np.tile(right, left.shape[1] // max(1, len(entries.col)))
    more = _more(ties, operands, name, position)
    all_left = np.append(left, more.left)
    if name in ("y", "dx"):
        for n, of_sample in enumerate(right):
            yield Sum((n, *position), all_left, np.append(of_sample, more.right))
    else:
        yield Sum(position, all_left, np.append(right, more.right))


def _more(ties: TieMap, operands: Operands, name: str, position: tuple[int, ...]) -> Sum:
    """Return what a sum has beside its entries: the bias, and what meets the padding's number."""
    x, w, b, dy = operands
    left, right = np.empty(0), np.empty(0)
    number = float(np.asarray(ties.padding_value, x.real.dtype))  # as it stands in an array like x
    if name == "y" and b is not None:
        left = b.ravel()[ties.bias.row(position).index]
        right = np.ones(len(left))
    for part in ties.padding if name in ("y", "dw") else ():
        if name == "y":
            meeting = w.ravel()[part.row(position).index]
        else:
            meeting = dy.reshape(len(dy), -1)[:, part.copies(position).row].ravel()
        left = np.append(left, meeting)
        right = np.append(right, np.full(len(meeting), number))
    return Sum(position, left, right)


def _times_coefficients(coefficients: Array | None, values: Array) -> Array:
    """Return values, (rows, entries), times coefficients, without rounding.

    An exact product takes two numbers, so the result is (rows, 2 entries). Without coefficients,
    which means all are 1, the values are returned as they are.
    """
    if coefficients is None:
        return values
    wide = np.broadcast_to(coefficients.astype(np.float64), values.shape)
    of_64_bits = np.multiply(values, 1.0, dtype=np.result_type(values, np.float64))
    return np.concatenate(_products(wide, of_64_bits), axis=1)


def _products(a: Array, b: Array) -> tuple[Array, Array]:
    """Return each product as its rounding and the error of it, which are exact together.

    Dekker's product (*A Floating-Point Technique for Extending the Available Precision*, 1971),
    with Veltkamp's splitting.
    """
    high = a * b
    a1, a2 = _halves(a)
    b1, b2 = _halves(b)
    # a1 b1 + a2 b1 + a1 b2 + a2 b2 - high: products of halves are exact, and so is every difference
    # when taken from the largest on
    low = a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)
    return high, low


def _halves(a: Array) -> tuple[Array, Array]:
    """Return a as a sum of two numbers of 26 bits."""
    scaled = a * (2.0**27 + 1)
    first = scaled - (scaled - a)
    return first, a - first
