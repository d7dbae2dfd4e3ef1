"""certify for the user's pool: integers on which sums are exact, every cell of the windows made to win and to tie."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain
from convdense._util.float_formats import FORMATS, gamma, rounded_to, widened
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.pool_probes import WindowCoverage, planted
from convdense.geometry import LpPool, MaxPool, MinPool, Pool
from convdense.implementations.call_contract import behaviour, repeatable
from convdense.implementations.evaluators import Evaluator, Operands, Results
from convdense.implementations.pool_calls import compare_pools, pool_evaluators
from convdense.rounding.pool_bounds import pool_bound, window_table
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import NORMWISE, UNDECIDED, WITHIN, WRONG, Finding

LARGEST = (1, 2, 4, 16)  # integers drawn: small ones meet many ties, larger ones few
DRAWS = 3  # of each
NONE = np.zeros(0)


class PoolReview(NamedTuple):
    """What there is to say about the user's pool.

    `met` has the shares of a window's cells that won alone, and of their pairs that tied; None for
    sums and averages.
    """

    findings: tuple[Finding, ...]
    behaviour: tuple[Finding, ...]
    precision: tuple[Precision, ...]
    trials: int
    bits: int
    met: tuple[float, float] | None


def judge_pool(pool: Pool, implementation: Any, *, dtype: str, batch: int, seed: int) -> PoolReview:
    """Judge an implementation's y and dx on integers, its behaviour, and its precision on random reals."""
    if isinstance(pool, LpPool):
        raise TypeError(
            complain(
                "layer",
                repr(pool),
                "a pool without powers and roots",
                "use check, which decides what is equal",
            )
        )
    mine, by = pool_evaluators(pool, implementation)
    bits = {m: window_table(pool).bits(m) for m in LARGEST}
    fitting = [m for m in LARGEST if bits[m] <= FORMATS[dtype].bits]
    if not fitting:
        needs = f"at most {FORMATS[dtype].bits}, up to where {dtype} counts exactly"
        do = 'use dtype="float64", a smaller batch or a smaller layer'
        raise ValueError(complain("layer", f"sums of {bits[LARGEST[0]]} bits", needs, do))
    found: dict[str, Finding] = {}
    trials, met = 0, WindowCoverage(pool) if isinstance(pool, (MaxPool, MinPool)) else None
    for operands in _trials(pool, fitting, (dtype, batch, seed)):
        trials += 1
        x, _, _, dy = operands
        for finding in compare_pools(pool, implementation, x, dy, _judge(pool, operands, dtype)):
            if finding.name not in found or found[finding.name].grade < finding.grade:
                found[finding.name] = finding
        if met is not None:
            met.see(x[:1])
        if all(finding.refuted for finding in found.values()):
            break
    findings, most = tuple(found.values()), max(fitting)
    run: dict[str, Any] = {
        "trials": trials,
        "bits": bits[most],
        "met": None if met is None else met.shares,
    }
    if any(
        finding.refuted for finding in findings
    ):  # whatever else is tried, it would only be wrong again
        return PoolReview(findings, (), (), **run)
    results, repeats = repeatable(mine, reals := _reals(pool, dtype, seed))
    several = _drawn(pool, np.random.default_rng((seed, 3)), (3, most), dtype)
    tried = behaviour(
        mine, by, several, dtype, judge=lambda operands: _judge(pool, operands, dtype)
    )
    return PoolReview(
        findings, (*tried, repeats), _precision(pool, by, (reals, results), dtype), **run
    )


def _trials(pool: Pool, fitting: list[int], run: tuple[str, int, int]) -> Iterator[Operands]:
    """Yield operands of random integers, then, for max and min, those in which chosen cells win or tie."""
    dtype, batch, seed = run
    for m in fitting:
        for draw in range(DRAWS):
            x, w, b, dy = _drawn(pool, np.random.default_rng((seed, m, draw)), (batch, m), dtype)
            yield _beyond_zero(pool, x, draw, dtype), w, b, dy
    rng = np.random.default_rng((seed, 5))
    drawn = (_drawn(pool, rng, (batch, max(fitting)), dtype) for _ in iter(int, 1))
    for turn, x in enumerate(planted(pool, (operands[0] for operands in drawn), rng)):
        yield (
            _beyond_zero(pool, x, turn, dtype),
            NONE,
            NONE,
            _drawn(pool, rng, (len(x), max(fitting)), dtype)[3],
        )


def _beyond_zero(pool: Pool, x: Array, turn: int, dtype: str) -> Array:
    """Return the input of a max pool with half of its planes far below zero, of a min pool above;
    others as they are.

    There a zero, or whatever else stands for absent cells, would win.
    """
    if not isinstance(pool, (MaxPool, MinPool)) or not x.size:
        return x
    bits = FORMATS[dtype].bits
    near = float(np.abs(x).max()) + 1
    shift = (near, max(near, 2.0 ** (bits // 2)), 2.0 ** (bits - 1))[
        turn % 3
    ]  # both ends stay exact
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    below = np.where((planes + turn // 3) % 2 == 0, shift, 0.0)
    return np.asarray(x - (below if isinstance(pool, MaxPool) else -below)).astype(x.dtype)


def _drawn(pool: Pool, rng: np.random.Generator, size: tuple[int, int], dtype: str) -> Operands:
    """Return x and dy of a batch of integers up to m, times what makes averages whole."""
    (batch, m), unit = size, window_table(pool).unit
    shapes = (batch, *pool.in_shape), (batch, *pool.out_shape)
    x, dy = (
        (unit * rng.integers(-m, m, s, endpoint=True)).astype(FORMATS[dtype].holder) for s in shapes
    )
    return x, NONE, NONE, dy


def _reals(pool: Pool, dtype: str, seed: int) -> Operands:
    rng = np.random.default_rng((seed, 1))
    x, dy = (
        rounded_to(rng.standard_normal((2, *shape)), dtype)
        for shape in (pool.in_shape, pool.out_shape)
    )
    return x, NONE, NONE, dy


def _judge(pool: Pool, operands: Operands, dtype: str) -> Any:
    """Return what judges y or dx on these operands: equal, or within the rounding of sums and divisions."""

    def judge(name: str, got: Any, expected: Array) -> Finding:
        finding = compare(name, got, expected, dtype=FORMATS[dtype].holder)
        if finding.verdict != WRONG:
            return finding
        within = compare(name, got, expected, pool_bound(pool, operands, name, dtype))
        return within if within.verdict in (WITHIN, UNDECIDED) else finding

    return judge


def _precision(
    pool: Pool, by: Evaluator, seen: tuple[Operands, Results], dtype: str
) -> tuple[Precision, ...]:
    """Return how far y and dx of random reals are from the direct ones in float64, in units of their magnitudes."""
    reals, results = seen
    found, allowed = (
        [],
        float(2 * gamma(window_table(pool).longest + 2, FORMATS[dtype].unit_roundoff)),
    )  # both sides round
    if not np.isfinite(allowed):  # so long that rounding may be anything
        return tuple(Precision(name, UNDECIDED, 0.0, 0.0) for name in ("y", "dx"))
    for name, got, right in zip(("y", "dx"), results, by.run(*widened(*reals)), strict=False):
        bound = 2 * pool_bound(pool, reals, name, dtype)
        finding = compare(name, got, right, bound)
        error = finding.difference and np.sqrt(np.mean((np.asarray(got, np.float64) - right) ** 2))
        size = np.sqrt(np.mean((bound / allowed) ** 2)) if bound.any() else 1.0
        verdict = (
            NORMWISE if finding.verdict == WRONG and error <= allowed * size else finding.verdict
        )
        found.append(
            Precision(name, WITHIN if finding.holds else verdict, float(error / size), allowed)
        )
    return tuple(found)
