"""NaN and infinity: what one of them in x, w or dy reaches; nothing is right or wrong about it."""

from collections.abc import Iterator

import numpy as np

from convdense.implementations.call_contract import LETTERS, Bench, copied, on_each
from convdense.implementations.evaluators import Operands, Results
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import QUANTITIES, REPORTED, Finding


def nonfinite_reach(bench: Bench, operands: Operands) -> Iterator[Finding]:
    """Yield, for NaN and infinity in one cell of each operand, which results are not finite.

    Those that read the cell are told apart from those beyond.
    """
    for value, called in ((np.nan, "NaN"), (np.inf, "infinity")):
        for n in (n for n in (0, 1, 3) if operands[n].size):
            given = copied(operands)
            given[n].flat[given[n].size // 2] = value
            with np.errstate(all="ignore"):
                got = bench.run(given)
            note = "; ".join(_reached(got, _readers(bench, operands, n)))
            yield Finding(f"{called} in {LETTERS[n]}", REPORTED, note=note)


def _readers(bench: Bench, operands: Operands, n: int) -> Results:
    """Return which entries of each result read the cell: those that its value changes."""
    without = on_each(np.ones_like, operands)
    without[n][...] = 0
    ones, minus = copied(without), copied(without)
    ones[n].flat[ones[n].size // 2] = 1
    minus[n].flat[minus[n].size // 2] = -1
    zero, *both = (bench.right(each) for each in (without, ones, minus))
    return tuple(
        None if a is None else (a != b) | (a != c) for a, b, c in zip(zero, *both, strict=True)
    )


def _reached(got: Results, readers: Results) -> Iterator[str]:
    for name, result, reads in zip(QUANTITIES, got, readers, strict=True):
        if reads is None or result is None:
            continue
        if isinstance(result, Raised):
            yield f"{name} raised {result}"
            continue
        lost = ~np.isfinite(np.asarray(result))
        if lost.shape == reads.shape and (lost.any() or reads.any()):
            beyond = int((lost & ~reads).sum())
            text = f"{name} is not finite in {int((lost & reads).sum())} of {int(reads.sum())}"
            yield f"{text} entries that read it" + (f" and in {beyond} beyond" if beyond else "")
