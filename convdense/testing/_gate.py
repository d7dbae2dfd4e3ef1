"""gate: one verdict on a generated kernel, in place of `allclose`."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from functools import partial
from math import inf
from time import perf_counter
from timeit import timeit
from typing import Any

import numpy as np

from convdense._util.arguments import Array, Seed, choice, drawn, seed_or_none
from convdense._util.float_formats import EXACT, HALF, rounded_to, spelled
from convdense.certificates import Certificate, NetworkCertificate, certify
from convdense.certificates.behaviour_trials import prepare_layer
from convdense.certificates.certificate_base import ASKED_SHAPE
from convdense.certificates.clock import Clock, limited_time
from convdense.certificates.effective_roundoff import compare_reals
from convdense.certificates.integer_ranges import limited
from convdense.certificates.memory_need import (
    numbers_of_layer,
    numbers_of_network,
    refuse_too_large,
)
from convdense.certificates.options import BATCH
from convdense.certificates.other_shapes import OTHER_SHAPES
from convdense.certificates.pool_certificate import (
    judge_of_pool,
    precision_of_pool,
    prepare_pool,
)
from convdense.geometry import HasWeightShapes, Implementation, Pool
from convdense.geometry.base import flag
from convdense.implementations.call_contract import Bench, aliased, copied, samples, worst
from convdense.implementations.compare_calls import in_double
from convdense.implementations.evaluators import (
    Drawn,
    Functions,
    Results,
    functions,
    implementation_evaluator,
    pool_functions,
)
from convdense.implementations.pool_calls import pool_evaluators
from convdense.implementations.signatures import NO_BIAS, without_bias
from convdense.structure._tie import tie
from convdense.testing.kernel_calls import called, not_arrays, put_back
from convdense.verdicts.findings import (
    EQUAL,
    NORMWISE,
    RAISED,
    REFUSED,
    REPORTED,
    UNDECIDED,
    WRONG,
    Finding,
    worst_of,
)

NEEDS = "a function f(x, w, b), or forward(x, w, b) and backward(x, w, dy)"
NO_TIME = Finding(ASKED_SHAPE, UNDECIDED, note="the time was up before all was tried")
TIMED = 12  # calls in a row, as a benchmark makes them
SMALL = 2.0**-4  # w, b and dy are scaled by this: no sum of usual layers leaves float16
# what benchmarks draw -> how it is drawn
DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal deviates": np.random.Generator.standard_normal,
    "numbers in [0, 1)": np.random.Generator.random,
}


def gate(
    layer: HasWeightShapes | Pool,
    kernel: Implementation,
    dtype: object = "float32",
    *,
    batch: int = BATCH,
    bias: bool = True,
    any_shape: bool = False,
    seed: Seed = None,
    time_limit: float | None = None,
) -> Certificate | NetworkCertificate:
    """Return one verdict on a generated kernel: what a harness asks in place of `allclose`.

    At the shape asked for, reals as benchmarks draw them: each entry within the bound derived for
    its sum in this dtype (of gradients of large layers, sums over channels), so that a kernel more
    accurate than a float32 reference is accepted. Every call has fresh numbers and comes from a
    thread with no frame of this library on its stack; what is right is computed after it, in
    float64 at least. Then calls in a row on the same arrays, as a benchmark makes them; between
    rows one number changes in place. The first of these that is wrong ends them. Then `certify`:
    batches, layouts, special values, state, other shapes. To replace functions of NumPy, the
    built-ins, the clock or this package is wrong, too: they are put back.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, Linear, TieMap, or any pool
    kernel : function f(x, w, b), f(x, w) or, of a pool, f(x); or forward and backward
        As for `certify`: forward alone, an object with both, or a pair. Results are arrays of
        NumPy, PyTorch or JAX, or nested lists: what is computed when it is read is wrong.
    dtype : {"float32", "float64", "float16", "bfloat16"}
        NumPy has no bfloat16: its numbers are held in float32 arrays.
    batch : int
        Samples a call, those of the benchmark.
    bias : bool
        False: f(x, w), and backward(x, w, dy) -> (dx, dw).
    any_shape : bool
        True: to raise on other channels, pixels or kernels is wrong; else it is a restriction,
        listed in the certificate.
    seed : int, numpy.random.SeedSequence or None
        None draws fresh entropy, which a kernel cannot know; it is recorded.
    time_limit : float or None
        Seconds after which nothing new is begun; calls are not interrupted. A certificate that was
        cut says what it left out. Without time for what comes first, nothing is accepted.

    Returns
    -------
    Certificate, or NetworkCertificate for a pool
        True if accepted. ``.behaviour`` begins with what is tried before `certify`; ``.sentence``
        is one line, ``.to_dict()`` JSON; ``.rerun()`` repeats what `certify` did, no more. Right
        normwise, as a fast transform is, is reported and no fault, but not in y, dx, dw or db.

    Raises
    ------
    MemoryError
        If operands, results and bounds would not fit into the physical memory, before any call.

    Notes
    -----
    No finite test sees code that is right for more calls than are made here, or but for one value.
    And none in the same process sees code that finds out, by whatever means, who calls it, that
    replaced functions before, or that tampers with Python itself: against that, run `gate` in a
    process of its own. It judges numbers, never speed.

    Examples
    --------
    >>> import numpy as np
    >>> from convdense import Conv, convolve
    >>> conv = Conv((2, 5, 6), out_channels=3, kernel=3)
    >>> def kernel(x, w, b):
    ...     return convolve(Conv(x.shape[1:], len(w), w.shape[2:]), x, w, b)
    >>> bool(gate(conv, kernel))
    True
    >>> buffer = np.empty((2, 3, 3, 4), "float32")
    >>> def reused(x, w, b):
    ...     buffer[...] = kernel(x, w, b)
    ...     return buffer
    >>> gate(conv, reused).sentence.partition(",")[0]
    'does not hold: asked shape: calls in a row wrong'
    """
    clock = Clock(limited_time(time_limit))
    how: dict[str, Any] = {
        "dtype": choice(spelled(dtype), "dtype", (*EXACT, *HALF)),
        "batch": limited(batch),
        "seed": drawn(seed_or_none(seed)),
    }
    needs = NEEDS if flag(bias, "bias") else NO_BIAS
    flag(any_shape, "any_shape")
    layer = copy(layer)  # a kernel that has the layer may change it
    if isinstance(layer, Pool):
        inner, numbers = pool_functions(kernel), numbers_of_network(layer, batch, stored=False)
    else:
        inner, numbers = functions(kernel, needs), numbers_of_layer(tie(layer), batch, stored=False)
        kernel = kernel if bias else without_bias(kernel)
    refuse_too_large(2 * numbers, stored=False)  # with what is right, and its bounds

    found: list[Finding] = []
    in_its_thread = partial(np.seterr, **np.geterr())  # np.errstate holds there, too
    with put_back() as replaced, ThreadPoolExecutor(1, initializer=in_its_thread) as workers:
        for step in _steps(layer, inner, workers, bias=bias, **how):
            found.append(NO_TIME if clock.is_up else step())
            if clock.is_cut or found[-1].refuted:
                break
        left = None if clock.limit == inf else max(clock.start + clock.limit - perf_counter(), 1e-3)
        certificate = certify(layer, kernel, shapes="near", time_limit=left, **how)
    note = f"replaced: {', '.join(replaced)}" if replaced else ""
    found.append(Finding("functions kept", WRONG if replaced else EQUAL, note=note))
    every = (*found, *certificate.behaviour)
    cut = None if certificate.time_limit is None else clock.limit
    behaviour = tuple(_weighed(finding, any_shape=any_shape) for finding in every)
    return replace(certificate, behaviour=behaviour, time_limit=cut)


def _weighed(finding: Finding, *, any_shape: bool) -> Finding:
    """Return a finding as `gate` takes it: right normwise is no fault, refused shapes may be one.

    Where the numbers themselves are only right normwise, the certificate stays undecided.
    """
    if finding.verdict == NORMWISE:
        return replace(finding, verdict=REPORTED, note="right normwise, as of a fast transform")
    is_refused = finding.verdict == REFUSED and finding.name.startswith(OTHER_SHAPES)
    return replace(finding, verdict=RAISED) if is_refused and any_shape else finding


def _steps(
    layer: Any, inner: Functions, workers: Executor, *, bias: bool, batch: int, **how: Any
) -> Iterator[Callable[[], Finding]]:
    """Yield what is tried at the shape asked for, each a function that returns what it found."""
    late: list[str] = []

    def in_thread(function: Callable[..., Any], *operands: Any) -> Any:
        result = workers.submit(function, *operands).result()
        late.extend(not_arrays(result))
        return result

    plain = called(inner, lambda function, *operands: function(*operands), bias=bias)
    watched = called(inner, in_thread, bias=bias)
    if isinstance(layer, Pool):
        trial = prepare_pool(layer, plain, batch=batch, **how)
        mine, _ = pool_evaluators(layer, watched)
    else:
        of_plain, mine = implementation_evaluator(plain), implementation_evaluator(watched)
        trial = prepare_layer(layer, of_plain, asked=batch, few_bits=False, **how)
    x, w, b, dy = samples(trial.operands, batch)
    like = x, w, b * bias, dy
    bench = replace(trial.bench, mine=mine)
    for turn, (name, draw) in enumerate(DRAWS.items()):
        rng = np.random.default_rng((how["seed"], 8, turn))  # a stream of its own
        reals = _reals(like, partial(draw, rng), how["dtype"])
        yield partial(_on_reals, f"{ASKED_SHAPE}: {name}", layer, bench, reals, late, **how)
    yield partial(_in_a_row, trial.bench, like, np.random.default_rng((how["seed"], 9)))


def _reals(like: Drawn, draw: Callable[..., Array], dtype: str) -> Drawn:
    """Return reals of these shapes in a format; a bias of zeros stays."""
    scales = 1.0, SMALL, SMALL * like[2].any(), SMALL
    x, w, b, dy = (
        rounded_to(scale * draw(a.shape), dtype) for a, scale in zip(like, scales, strict=True)
    )
    return x, w, b, dy


def _on_reals(
    name: str, layer: Any, bench: Bench, operands: Drawn, late: list[str], *, dtype: str, seed: int
) -> Finding:
    """Return the worst finding on reals; what is right is computed after the call, and wider."""
    given = copied(operands)
    results = bench.run(given)
    if late:
        return Finding(name, WRONG, note=f"a {late[0]} came, which may compute when it is read")
    if written := aliased(name, operands, given, results):
        return written
    if isinstance(layer, Pool):
        judge = judge_of_pool(layer, operands, dtype)
        right = bench.by.run(*in_double(operands))
        each = [judge(*three) for three in zip(("y", "dx"), results, right, strict=False)]
        precise = precision_of_pool(layer, bench.by, operands, results, dtype)
        by_norm = {p.name for p in precise if p.verdict == NORMWISE}  # a maximum by sums and |x|
        each = [replace(f, verdict=NORMWISE) if f.name in by_norm else f for f in each]
    else:
        found = compare_reals(layer, bench.by, operands, results, dtype=dtype, seed=seed)
        each = list(found.values())
    return worst(name, [finding for finding in each if finding.name in bench.mine.quantities])


def _in_a_row(bench: Bench, operands: Drawn, rng: np.random.Generator) -> Finding:
    """Return what the last of many calls on the same arrays gives, in which one number changes.

    What an earlier row gave has to stay what it was.
    """
    name, arrays = f"{ASKED_SHAPE}: calls in a row", copied(operands)
    rows: list[tuple[Results, Drawn]] = []
    for place in (None, *bench.places(operands)):
        if place is not None:
            sizes = np.abs(arrays[place]).ravel()
            one = rng.choice(np.flatnonzero(sizes == sizes.max()))
            arrays[place].flat[one] *= -1  # sums, the largest and the smallest feel it
        before = copied(arrays)
        results = _timed(bench, arrays)
        if wrong := aliased(name, before, arrays, results):
            return wrong
        rows.append((results, before))
    found = (bench.judged(name, *row, f"row {n} of {TIMED}") for n, row in enumerate(rows))
    return worst_of(found)


def _timed(bench: Bench, arrays: Drawn) -> Results:
    """Return what the last of many calls gives, with a clock running as in a benchmark."""
    results: deque[Results] = deque(maxlen=1)
    timeit(lambda: results.append(bench.run(arrays)), number=TIMED)
    return results[0]
