"""What rounding can hide: how small an error in one product passes, and what is not decided."""

from dataclasses import replace
from math import log

from convdense._util.float_formats import EXACT, FORMATS, gamma
from convdense.certificates.integer_ranges import Ranges, longest_sums
from convdense.geometry import HasShapes
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap
from convdense.verdicts.findings import UNDECIDED, WITHIN, Finding

CHANCE = 2.0**-10  # with which an error above the resolution may pass random trials
NOT_PLAIN = "not a plain sum in this dtype"
Excused = tuple[tuple[str, float], ...]  # a quantity, the largest difference that was excused


def largest_products(layer: HasShapes, ranges: Ranges) -> dict[str, int | float]:
    """Return the largest product of the integers drawn, of each quantity."""
    x, w, _, dy = ranges
    number = abs(tie(layer).padding_value)  # it takes the place of an x
    least = min(x, number) if number else x
    return {"y": least * w, "dx": w * dy, "dw": least * dy, "db": dy}


def random_resolution(layer: HasShapes, ranges: Ranges, trials: int, excused: Excused) -> float:
    """Return the relative error in one product that passes with a probability of 2^-10 at most.

    What is excused is at most B, before and after rounding together 2 B. A product of two uniform
    numbers is below a share t of the largest with probability ``t (1 - log t)``, in all trials with
    the power of that.
    """
    share = 0.5
    while (share * (1 - log(share))) ** trials > CHANCE:
        share /= 2
    products = largest_products(layer, ranges)
    return max(2 * bound / (share * products[name]) for name, bound in excused)


def basis_resolution(ties: TieMap, dtype: str, batch: int) -> float:
    """Return the relative error in one product that is seen where a basis vector meets another.

    There the bound of rounding is ``2 gamma_N`` times that product alone, and counts twice.
    """
    longest = max(longest_sums(ties, batch).values()) + 2
    return 4 * float(gamma(longest, FORMATS[dtype].unit_roundoff))


def decided(finding: Finding, excused: Excused, dtype: str, *, is_bounded: bool) -> Finding:
    """Return a finding within rounding with what that means, undecided where it says nothing.

    Nothing is said where an edge lost or added could pass: its probability is not below 1, or,
    where basis vectors met, their resolution is not.
    """
    if finding.verdict != WITHIN:
        return finding
    if not is_bounded:
        allowed = dict(excused).get(finding.name, 0.0)
        note = f"differences up to {allowed:.2g} pass for rounding, and a wrong edge may be smaller"
        return replace(finding, verdict=UNDECIDED, note=note)
    return replace(finding, note=NOT_PLAIN) if dtype in EXACT else finding


def undecided_all(findings: list[Finding], names: tuple[str, ...], note: str) -> list[Finding]:
    """Return findings of which only what is wrong is decided."""
    wrong = {finding.name: finding for finding in findings if finding.refuted}
    return [wrong.get(name, Finding(name, UNDECIDED, note=note)) for name in names]
