"""certify for the user's pool: exact sums, and every cell of the windows made to win and to tie."""

from collections.abc import Iterator
from functools import partial
from math import ceil, log2, prod
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain
from convdense._util.float_formats import FORMATS, gamma, rounded_to, widened
from convdense.certificates.behaviour_trials import BATCHES, LARGE, WORK, Trial, try_behaviour
from convdense.certificates.clock import Clock
from convdense.certificates.effective_roundoff import Precision
from convdense.certificates.pool_probes import WindowCoverage, planted
from convdense.geometry import Implementation, LpPool, Pool
from convdense.implementations.call_contract import Bench, Judge, repeatable
from convdense.implementations.evaluators import Drawn, Evaluator, Results
from convdense.implementations.pool_calls import compare_pools, pool_evaluators
from convdense.implementations.scaled_calls import powers_of_two
from convdense.rounding.fixed_network import Judged
from convdense.rounding.pool_bounds import pool_bound, sums_of, window_table
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import NORMWISE, UNDECIDED, WITHIN, WRONG, Finding, keep_worst

LARGEST = (1, 2, 4, 16)  # integers drawn: small ones meet many ties, larger ones few
DRAWS = 3  # of each
PIXELS = 511  # twice as far as those of an image, which are taken modulo 256
NONE = np.zeros(0)  # the w and b of a pool


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


def judge_pool(
    pool: Judged,
    implementation: Implementation,
    *,
    dtype: str,
    batch: int,
    seed: int,
    extra: tuple[str, ...],
    clock: Clock,
) -> PoolReview:
    """Judge y and dx on integers, then behaviour, and precision on random reals."""
    mine, by = pool_evaluators(pool, implementation)
    bits = _fitting_bits(pool, dtype)
    largest = max(bits)

    found: dict[str, Finding] = {}
    trials = 0
    coverage = None
    # an empty axis may leave no window
    if isinstance(pool, Pool) and pool.extremum and prod(pool.out_shape):
        coverage = WindowCoverage(pool)
    for operands in _trials(pool, list(bits), dtype=dtype, batch=batch, seed=seed):
        trials += 1
        x, _, _, dy = operands
        judge = judge_of_pool(pool, operands, dtype)
        for finding in compare_pools(pool, implementation, x, dy, judge):
            keep_worst(found, finding)
        if coverage is not None:
            coverage.see(x[:1])
        if all(finding.refuted for finding in found.values()):
            break

    findings = tuple(found.values())
    review = PoolReview(
        findings,
        behaviour=(),
        precision=(),
        trials=trials,
        bits=bits[largest],
        met=None if coverage is None else coverage.shares,
    )
    # whatever else is tried, it would only be wrong again
    if any(finding.refuted for finding in findings):
        return review

    reals = _reals(pool, dtype, (seed, 1), batch)
    results, repeats = repeatable(mine, reals, judge_of_pool(pool, reals, dtype))
    how: dict[str, Any] = {"dtype": dtype, "batch": batch, "seed": seed}
    prepare = partial(prepare_pool, implementation=implementation, **how)
    tried, _ = try_behaviour(pool, prepare, batch, extra, clock)
    measured = precision_of_pool(pool, by, reals, results, dtype)
    return review._replace(behaviour=(*tried, repeats), precision=measured)


def prepare_pool(
    pool: Judged, implementation: Implementation, dtype: str, batch: int, seed: int
) -> Trial:
    """Return what is needed to try a pool; powers and roots, which round, are not scaled."""
    rng = np.random.default_rng((seed, 3))
    mine, by = pool_evaluators(pool, implementation)
    sums = sums_of(pool)
    cells = prod(pool.in_shape)
    size = max(batch, *(n for n in BATCHES if n <= 4 or n * cells <= WORK // 10))
    fitting = _fitting_bits(pool, dtype, (*LARGEST, PIXELS))
    operands = _drawn(pool, rng, (size, max(fitting)), dtype)

    longest = max(1, sums.longest)  # no window of an empty axis has a cell
    widest = max(2 ** FORMATS[dtype].bits / (longest * sums.unit), 2)
    widest = widest if isinstance(pool, Pool) else max(fitting)
    small = _drawn(pool, rng, (1, 1), dtype)
    is_scaled = small[0].size and small[3].size and not pool.takes_roots
    scaled = {
        letter: powers_of_two(small, letter, widest, rng, sums.unit)
        for letter in ("xd" if is_scaled else "")
    }

    def judge(given: Drawn, name: str, got: Any, expected: Array) -> Finding:
        return judge_of_pool(pool, given, dtype)(name, got, expected)

    bench = Bench(mine, by, dtype, judge, sums.unit)
    return Trial(bench, operands, scaled, FORMATS[dtype], cells >= LARGE)


def _fitting_bits(pool: Judged, dtype: str, sizes: tuple[int, ...] = LARGEST) -> dict[int, int]:
    """Return the largest integers whose sums are exact, each with the bits that its sums need."""
    exact = FORMATS[dtype].bits
    power = pool.p if isinstance(pool, LpPool) else 1
    sums = sums_of(pool)
    bits = {m: sums.bits(m) + ceil((power - 1) * log2(m)) for m in sizes}
    fitting = {m: needed for m, needed in bits.items() if 0 < needed <= exact}
    if 0 in bits.values():  # sums round: then small numbers would only tie
        fitting = {max(LARGEST): 0}
    if not fitting:
        needs = f"at most {exact}, up to where {dtype} counts exactly"
        do = 'use dtype="float64", a smaller batch or a smaller layer'
        raise ValueError(complain("layer", f"sums of {bits[LARGEST[0]]} bits", needs, do))
    return fitting


def _trials(
    pool: Judged, fitting: list[int], *, dtype: str, batch: int, seed: int
) -> Iterator[Drawn]:
    """Yield operands of random integers, then those in which chosen cells win or tie."""
    for m in fitting:
        for draw in range(DRAWS):
            rng = np.random.default_rng((seed, m, draw))
            x, w, b, dy = _drawn(pool, rng, (batch, m), dtype)
            yield _beyond_zero(pool, x, draw, dtype), w, b, dy

    if not isinstance(pool, Pool):
        for draw in range(DRAWS):
            yield _reals(pool, dtype, (seed, draw), batch)
        return
    rng = np.random.default_rng((seed, 5))
    largest = max(fitting)

    def inputs() -> Iterator[Array]:
        while True:
            yield _drawn(pool, rng, (batch, largest), dtype)[0]

    for turn, x in enumerate(planted(pool, inputs(), rng)):
        x_beyond = _beyond_zero(pool, x, turn, dtype)
        dy = _drawn(pool, rng, (len(x), largest), dtype)[3]
        yield x_beyond, NONE, NONE, dy


def _beyond_zero(pool: Judged, x: Array, turn: int, dtype: str) -> Array:
    """Return the input of a max pool with half of its planes far below zero, of a min pool above.

    There a zero, or whatever else stands for absent cells, would win. Other pools' stay.
    """
    if not pool.extremum or not x.size:
        return x
    bits = FORMATS[dtype].bits
    near = float(np.abs(x).max()) + 1
    # just below zero, half way down, and as far as x + y + |x - y| and halves of it stay exact,
    # and that times a power of two
    shifts = (near, max(near, 2.0 ** (bits // 2)), 2.0 ** (bits - 2))
    shift = shifts[turn % 3]
    _, exponent = np.frexp(FORMATS[dtype].largest)
    scale = 2.0 ** (exponent - bits - 2) if turn % 3 == 2 else 1.0
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    is_shifted = (planes + turn // 3) % 2 == 0  # (batch, channels, 1, ..., 1)
    shifted = x - pool.extremum * np.where(is_shifted, shift, 0.0)
    return np.asarray(shifted * scale).astype(x.dtype)


def _drawn(pool: Judged, rng: np.random.Generator, size: tuple[int, int], dtype: str) -> Drawn:
    """Return x and dy of a batch of integers up to m, times what makes averages whole."""
    batch, m = size
    unit = sums_of(pool).unit

    def whole_numbers(shape: tuple[int, ...]) -> Array:
        drawn = unit * rng.integers(-m, m, (batch, *shape), endpoint=True)
        return drawn.astype(FORMATS[dtype].holder)

    x = whole_numbers(pool.in_shape)
    dy = whole_numbers(pool.out_shape)
    return x, NONE, NONE, dy


def _reals(pool: Judged, dtype: str, seed: tuple[int, int], batch: int) -> Drawn:
    rng = np.random.default_rng(seed)
    x = rounded_to(rng.standard_normal((batch, *pool.in_shape)), dtype)
    dy = rounded_to(rng.standard_normal((batch, *pool.out_shape)), dtype)
    return x, NONE, NONE, dy


def judge_of_pool(pool: Judged, operands: Drawn, dtype: str) -> Judge:
    """Return what judges y or dx on these operands: equal, or within the rounding of a pool."""

    def judge(name: str, got: Any, expected: Array) -> Finding:
        finding = compare(name, got, expected, dtype=FORMATS[dtype].holder)
        if finding.verdict != WRONG:
            return finding
        within = compare(name, got, expected, pool_bound(pool, operands, name, dtype))
        return within if within.verdict in (WITHIN, UNDECIDED) else finding

    return judge


def precision_of_pool(
    pool: Judged, by: Evaluator, reals: Drawn, results: Results, dtype: str
) -> tuple[Precision, ...]:
    """Return how far y and dx of random reals are from float64's, in units of their magnitudes."""
    if not isinstance(pool, Pool):
        return ()  # judged on reals already
    terms = window_table(pool).longest + 2  # and two for a division
    # both sides round
    allowed = float(2 * gamma(terms, FORMATS[dtype].unit_roundoff))
    if not np.isfinite(allowed):  # so long that rounding may be anything
        return tuple(Precision(name, UNDECIDED, 0.0, 0.0) for name in ("y", "dx"))

    y, dx, _, _ = by.run(*widened(*reals))
    measured = []
    for name, got, right in (("y", results[0], y), ("dx", results[1], dx)):
        if got is None:  # forward alone
            continue
        bound = 2 * pool_bound(pool, reals, name, dtype)
        finding = compare(name, got, right, bound)
        error = 0.0
        if finding.difference:
            error = float(np.sqrt(np.mean((np.asarray(got, np.float64) - right) ** 2)))
        # the bound is `allowed` times the magnitudes; what max and min pick has none
        size = float(np.sqrt(np.mean((bound / allowed) ** 2))) if bound.any() else 1.0

        verdict = WITHIN if finding.holds else finding.verdict
        if verdict == WRONG and error <= allowed * size:
            verdict = NORMWISE
        measured.append(Precision(name, verdict, error / size, allowed, right.size))
    return tuple(measured)
