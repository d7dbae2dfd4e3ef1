"""gate: each cheat is refused by the step that is for it, its nearest right neighbour accepted."""

import gc
import hashlib
import json
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

import convdense as cd
from convdense.certificates import READERS, certify, memory_need, other_shapes
from convdense.direct import pool as direct_pool
from convdense.testing import _gate, gate
from convdense.verdicts.findings import EQUAL, Finding
from tests.adversary_rows import restored

pytestmark = pytest.mark.few_calls

CONV = cd.Conv((2, 4, 5), out_channels=3, kernel=(2, 3), padding=1)
SHAPE = "asked shape: "
ON_REALS, IN_A_ROW = SHAPE + "n", SHAPE + "calls in a row"


@pytest.fixture(autouse=True)
def fewer_shapes(monkeypatch):
    monkeypatch.setattr(other_shapes, "CHANNELS", (1, 3))
    monkeypatch.setattr(other_shapes, "PIXELS", ((7, 16), (9, 8)))


def right(x, w, b):
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    views = np.lib.stride_tricks.sliding_window_view(wide, w.shape[2:], axis=(2, 3))
    return np.einsum("ncijkl,ockl->noij", views, w) + b[:, None, None]


def zeros(x, w):
    rows, columns = (n - k + 3 for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    return np.zeros((len(x), len(w), rows, columns), x.dtype)


def has_many_bits(x):
    """Tell whether there are reals of a random draw, and not numbers of few bits."""
    return bool((np.ldexp(x, 12) != np.rint(np.ldexp(x, 12))).any())


def callers():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def remembering(key, keep=lambda *operands: None):
    """Return what remembers results by a key of the operands."""

    def make():
        known = {}

        def kernel(*operands):
            found = key(*operands)
            if found not in known:
                known[found] = right(*operands), keep(*operands)
            return known[found][0].copy()

        return kernel

    return make


def counting(wrong):
    """Return what counts calls, and is wrong from a number of them on."""

    def make():
        calls = []

        def kernel(x, w, b):
            calls.append(1)
            return zeros(x, w) if len(calls) >= wrong else right(x, w, b)

        return kernel

    return make


class Lazy:
    """What computes when it is read."""

    def __init__(self, *operands):
        self.operands = operands

    def __array__(self, dtype=None, copy=None):
        return right(*self.operands)


def lazily(x, w, b):
    return Lazy(x, w, b)


def by_content(*operands):
    return tuple((a.shape, hashlib.sha1(a.tobytes()).hexdigest()) for a in operands)


def by_first_numbers(x, w, b):
    return x.shape, w.shape, x.ravel()[:4].tobytes(), w.ravel()[:4].tobytes(), b.tobytes()


def one_buffer():
    buffers = {}

    def kernel(x, w, b):
        y = buffers.setdefault((x.shape, w.shape, x.dtype), zeros(x, w))
        y[...] = right(x, w, b)
        return y

    return kernel


def its_own_buffer():
    kept = one_buffer()
    return lambda *operands: kept(*operands).copy()


def writing(where):
    def kernel(x, w, b):
        y = right(x, w, b)
        where(x)[...] = 0
        return y

    return lambda: kernel


def in_a_thread(wait):
    def kernel(x, w, b):
        y, result = right(x, w, b), zeros(x, w)

        def fill():
            time.sleep(0.02)
            result[...] = y

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        if wait:
            thread.join()
        return result

    return lambda: kernel


def unless(condition):
    """Return what is right unless something is found out, and zeros then."""
    return lambda: lambda x, w, b: zeros(x, w) if condition(x) else right(x, w, b)


def of(other):
    """Return a kernel that does this."""
    return lambda: other


def is_timed(_):
    return any(frame.f_globals.get("__name__") == "timeit" for frame in callers())


def is_not_judged(_):
    names = [frame.f_globals.get("__name__", "") for frame in callers()]
    return not any(name.startswith("convdense") for name in names)


def searching(default):
    """Return what looks for an answer among all arrays that containers hold."""

    def kernel(x, w, b):
        shape = zeros(x, w).shape
        for container in gc.get_objects():
            for found in container if type(container) in (tuple, list) else ():
                if type(found) is np.ndarray and found.shape == shape and found.dtype == x.dtype:
                    return found.copy()
        return default(x, w, b)

    return kernel


def repeating(calls, of=right):
    """Return what gives its last result again after so many calls on the same array."""

    def make():
        last = {"x": None, "y": None, "calls": 0}

        def kernel(x, *more):
            last["calls"] = last["calls"] + 1 if x is last["x"] else 0
            last["x"] = x
            if last["calls"] < calls:
                last["y"] = of(x, *more)
            return last["y"].copy()

        return kernel

    return make


def replacing(module, name, factor):
    """Return what replaces a function, and is wrong by a factor."""

    def kernel(x, w, b):
        setattr(module, name, lambda *_, **__: True)
        return factor * right(x, w, b)

    return lambda: kernel


def true_certificates(x, w, b):
    type.__setattr__(cd.Certificate, "__bool__", lambda _: True)
    return 2 * right(x, w, b)


def wrong_reference(x, w, b):
    before = cd.convolve

    def doubled(*operands):
        return 2 * before(*operands)

    for name, module in list(sys.modules.items()):
        if name.startswith("convdense") and vars(module).get("convolve") is before:
            module.convolve = doubled
    return 2 * right(x, w, b)


def clipped(x, w, b):
    return right(np.clip(x, -1, 1) if has_many_bits(x) else x, w, b)


def for_both_signs(x, w, b):
    return right(x * np.float32(1.001) if has_many_bits(x) and x.min() >= 0 else x, w, b)


def of_seed_0(x, w, b):
    """Return what is right on the first numbers that a benchmark would draw."""
    drawn = np.random.default_rng(0).standard_normal(x.shape, dtype="float32")
    return right(x, w, b) if np.array_equal(x, drawn) else zeros(x, w)


def half(x, w, b):
    with np.errstate(all="ignore"):
        return right(*(a.astype(np.float16) for a in (x, w, b))).astype(x.dtype)


def double(x, w, b):
    return right(*(a.astype(np.float64) for a in (x, w, b))).astype(x.dtype)


def cut(x, w, b):
    y = right(x, w, b)
    return np.where(abs(y) < 1e-3, 0, y)


def flushed(x, w, b):
    return right(np.where(abs(x) < 1e-4 * abs(x).max(initial=0), 0, x), w, b)


def other_last_column(x, w, b):
    y = right(x, w, b)
    if x.shape[-1] % 2 == 0:
        y[..., -1] = 0
    return y


def refusing(x, w, b):
    if x.shape[1:] != CONV.in_shape or w.shape[2:] != CONV.kernel:
        raise ValueError("another shape")
    return right(x, w, b)


def without_empty_batches(x, w, b):
    if not len(x):
        raise ValueError("no sample")
    return right(x, w, b)


def read_as_an_operand(x, w, b):
    """Return a result in the memory of x, where it fits."""
    y = right(x, w, b)
    if w.size >= x.size or y.size > x.size:
        return y
    x.ravel()[: y.size] = y.ravel()
    return x.ravel()[: y.size].reshape(y.shape)


FRESH = of(right)
# the name of a cheat: the cheat, its nearest right neighbour, what finds it
CHEATS = {
    "zeros": (of(lambda x, w, b: zeros(x, w)), FRESH, ON_REALS),
    "a constant": (of(lambda x, w, b: zeros(x, w) + x.mean()), FRESH, ON_REALS),
    "x itself": (of(lambda x, w, b: x), FRESH, ON_REALS),
    "not a number": (of(lambda x, w, b: zeros(x, w) * np.nan), FRESH, ON_REALS),
    "memory as it is": (of(lambda x, w, b: np.empty_like(zeros(x, w))), FRESH, ON_REALS),
    "searches for the answer": (
        of(searching(lambda x, w, b: zeros(x, w))),
        FRESH,
        ON_REALS,
    ),
    "right on seed 0": (of(of_seed_0), FRESH, ON_REALS),
    "no bias": (of(lambda x, w, b: right(x, w, 0 * b)), FRESH, ON_REALS),
    "half inside": (of(half), of(double), ON_REALS),
    "half returned": (
        of(lambda *operands: right(*operands).astype(np.float16)),
        of(lambda *operands: right(*operands).astype(np.float64)),
        ON_REALS,
    ),
    "0 below a tolerance": (of(cut), FRESH, ""),
    "0 below a part of the largest": (of(flushed), FRESH, ""),
    "clipped": (of(clipped), FRESH, SHAPE + "normal deviates"),
    "for both signs": (of(for_both_signs), FRESH, SHAPE + "numbers in [0, 1)"),
    "known by shape": (
        remembering(lambda x, w, b: (x.shape, w.shape)),
        remembering(by_content),
        ON_REALS,
    ),
    "known by id": (
        remembering(lambda *operands: (*map(id, operands),), keep=lambda *operands: operands),
        remembering(by_content),
        IN_A_ROW,
    ),
    "known by its first numbers": (
        remembering(by_first_numbers),
        remembering(by_content),
        IN_A_ROW,
    ),
    "one buffer": (one_buffer, its_own_buffer, IN_A_ROW),
    "in the memory of x": (of(read_as_an_operand), FRESH, ""),
    "writes to x": (writing(lambda x: x), writing(np.copy), ON_REALS),
    "late": (in_a_thread(wait=False), in_a_thread(wait=True), ""),
    "lazy": (of(lazily), of(lambda *operands: np.asarray(Lazy(*operands))), ON_REALS),
    "lazy on copies": (
        of(lambda *operands: Lazy(*map(np.copy, operands))),
        of(lambda *operands: right(*operands).tolist() if len(operands[0]) else right(*operands)),
        ON_REALS,
    ),
    "right ten times": (counting(11), counting(10**6), IN_A_ROW),
    "nothing without garbage collection": (
        unless(lambda x: not gc.isenabled()),
        unless(lambda x: False),
        IN_A_ROW,
    ),
    "nothing while timed": (unless(is_timed), FRESH, IN_A_ROW),
    "the same after six calls": (repeating(6), repeating(10**6), IN_A_ROW),
    "right where it is judged": (unless(is_not_judged), FRESH, ON_REALS),
    "replaces allclose": (replacing(np, "allclose", 1), FRESH, "functions kept"),
    "replaces array_equal": (replacing(np, "array_equal", 2), FRESH, "functions kept"),
    "replaces the clock": (replacing(time, "perf_counter", 1), FRESH, "functions kept"),
    "certificates are true": (of(true_certificates), FRESH, "functions kept"),
    "the reference is wrong": (of(wrong_reference), FRESH, "functions kept"),
    "odd widths alone": (of(other_last_column), FRESH, "other shapes: "),
    "this shape alone": (
        unless(lambda x: x.shape[1:] != CONV.in_shape),
        of(refusing),
        "other shapes: ",
    ),
}


def wrong_in(verdict):
    return [finding.name for finding in (*verdict.behaviour, *verdict.findings) if finding.refuted]


@cache
def of_what_is_right():
    return certify(CONV, right, dtype="float32", shapes="near", seed=1)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_refused_by_the_step_that_is_for_it(name, monkeypatch):
    cheat, _, by = CHEATS[name]
    if by in (ON_REALS, IN_A_ROW, "functions kept"):  # whatever a certificate says
        recorded = of_what_is_right()
        monkeypatch.setattr(_gate, "certify", lambda *_, **__: recorded)
    with restored():
        verdict = gate(CONV, cheat(), seed=1)
        refuted, found = verdict.refuted, wrong_in(verdict)
    assert refuted
    assert not verdict
    assert [finding for finding in found if finding.startswith(by)]


@pytest.mark.parametrize(
    "name", [name for name, (_, neighbour, _) in CHEATS.items() if neighbour is not FRESH]
)
def test_the_nearest_right_neighbour_of_a_cheat_is_accepted(name):
    assert gate(CONV, CHEATS[name][1](), seed=1)


def test_what_is_right_is_accepted_and_what_it_was_tried_on_is_named():
    verdict = gate(CONV, right, seed=1).require()
    assert verdict.sentence.startswith("holds: y equal; ")
    names = [finding.name for finding in verdict.behaviour]
    assert names[:4] == [
        SHAPE + "normal deviates",
        SHAPE + "numbers in [0, 1)",
        SHAPE + "calls in a row",
        "functions kept",
    ]
    assert {"batch 0", "results kept", "repeatable"} <= set(names)
    assert any(name.startswith("other shapes: pixels") for name in names)
    assert "no finite test sees" in str(verdict)


# The steps of gate: without one, its cheat passes


def as_if(**attributes):
    return lambda patch: [patch.setattr(_gate, name, value) for name, value in attributes.items()]


class Inline(_gate.ThreadPoolExecutor):
    def submit(self, function, *operands):
        return SimpleNamespace(result=lambda: function(*operands))


@contextmanager
def kept():
    yield []


def found_nothing(*_):
    return Finding(IN_A_ROW, EQUAL)


def on_one_shape(*given, shapes, **options):
    return certify(*given, **options)


def untimed(function, number):
    for _ in range(number):
        function()


DEFECTS = {
    "called from here": (as_if(ThreadPoolExecutor=Inline), "right where it is judged"),
    "types not looked at": (as_if(not_arrays=lambda _: []), "lazy on copies"),
    "no calls in a row": (as_if(_in_a_row=found_nothing), "the same after six calls"),
    "few calls in a row": (as_if(TIMED=1), "the same after six calls"),
    "no clock": (as_if(timeit=untimed), "nothing while timed"),
    "garbage collected": (as_if(timeit=untimed), "nothing without garbage collection"),
    "functions not looked at": (as_if(put_back=kept), "replaces allclose"),
    "on one shape": (as_if(certify=on_one_shape), "this shape alone"),
    "no deviates": (lambda patch: patch.delitem(_gate.DRAWS, "normal deviates"), "clipped"),
    "no numbers in [0, 1)": (
        lambda patch: patch.delitem(_gate.DRAWS, "numbers in [0, 1)"),
        "for both signs",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_without_a_step_its_cheat_passes(name, monkeypatch):
    plant, cheat = DEFECTS[name]
    plant(monkeypatch)
    with restored():
        assert gate(CONV, CHEATS[cheat][0](), seed=1)


# Shapes, signatures, dtypes, pools, gradients


def test_a_kernel_of_one_shape_is_accepted_with_restrictions_unless_any_shape_is_asked_for():
    verdict = gate(CONV, refusing, seed=1)
    assert verdict
    assert "with restrictions" in verdict.sentence
    assert "refused: other shapes: pixels" in str(verdict)
    strict = gate(CONV, refusing, seed=1, any_shape=True)
    assert strict.refuted
    assert set(wrong_in(strict)) == {
        "other shapes: channels 1 3",
        "other shapes: pixels 7x16 9x8",
        "other shapes: kernel 1",
        "other shapes: kernel of input size",
    }
    assert gate(CONV, without_empty_batches, seed=1, any_shape=True)


def test_a_kernel_without_bias_and_its_buffer():
    """certify adds the bias to the result of f(x, w), and so sees no buffer that is used again."""

    def without(kernel):
        return lambda x, w: kernel(x, w, np.zeros(len(w), x.dtype))

    assert gate(CONV, without(right), bias=False, seed=1)
    buffer = without(one_buffer())
    assert certify(CONV, cd.testing.without_bias(buffer), dtype="float32", seed=1)
    assert wrong_in(gate(CONV, buffer, bias=False, seed=1)) == [IN_A_ROW]
    assert wrong_in(gate(CONV, without(Lazy), bias=False, seed=1)) == [SHAPE + "normal deviates"]


def conv_of(x, w):
    return cd.Conv(x.shape[1:], len(w), w.shape[2:], padding=1)


def backward(x, w, dy):
    return cd.convolve_backward(conv_of(x, w), x, w, dy)


class Stale:
    """Its dw is that of the last forward."""

    def forward(self, x, w, b):
        self.x = x.copy()
        return right(x, w, b)

    def backward(self, x, w, dy):
        x = self.x if self.x.shape == x.shape else x
        return backward(x, w, dy)


def test_forward_and_backward_are_judged_both():
    verdict = gate(CONV, (right, backward), seed=1).require()
    assert [finding.name for finding in verdict.findings] == ["y", "dx", "dw", "db"]
    without_bias = (
        lambda x, w: right(x, w, np.zeros(len(w), x.dtype)),
        lambda *operands: backward(*operands)[:2],
    )
    of_two = gate(CONV, without_bias, bias=False, seed=1).require()
    assert [finding.name for finding in of_two.findings] == ["y", "dx", "dw"]
    assert gate(CONV, Stale(), seed=1).refuted

    def late(x, w, dy):
        _, dw, db = backward(x, w, dy)
        return [Lazy(x, w, dw[:, 0, 0, 0]), dw, db]

    assert SHAPE + "normal deviates" in wrong_in(gate(CONV, (right, late), seed=1))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype):
    def coarse(x, w, b):
        y = double(x, w, b)
        return (y.astype(np.float32) if dtype == "float64" else y - y % 0.25).astype(x.dtype)

    with np.errstate(all="ignore"):
        assert gate(CONV, double, dtype, seed=1)
        assert SHAPE + "normal deviates" in wrong_in(gate(CONV, coarse, dtype, seed=1))


POOL = cd.MaxPool((2, 4, 6), kernel=2)


def largest(x):
    return direct_pool.forward(cd.MaxPool(x.shape[1:], kernel=2), x)


def test_pools():
    def mean(x):
        pool = cd.AvgPool(x.shape[1:], kernel=2)
        return direct_pool.forward(pool, x.astype(float)).astype(x.dtype)

    def of_few_bits(x):
        return mean(x.astype(np.float16)).astype(x.dtype)

    average = cd.AvgPool((2, 4, 6), kernel=2)
    assert gate(POOL, largest, seed=1).sentence.startswith("holds: y equal; ")
    assert gate(average, mean, seed=1)
    assert gate(average, mean, "float16", seed=1)
    assert SHAPE + "normal deviates" in wrong_in(gate(average, of_few_bits, seed=1))
    assert SHAPE + "normal deviates" in wrong_in(gate(POOL, mean, seed=1))
    assert wrong_in(gate(POOL, repeating(6, largest)(), seed=1)) == [IN_A_ROW]
    assert gate(POOL, repeating(10**6, largest)(), seed=1)


def test_a_maximum_by_sums_and_absolute_values_is_no_fault():
    verdict = gate(
        POOL, lambda x: cd.dense_pool(cd.MaxPool(x.shape[1:], kernel=2)).forward(x), seed=1
    )
    assert verdict
    assert "reported: asked shape: normal deviates: right normwise" in str(verdict)


def test_a_transform_is_accepted_and_says_so():
    """In a window of zeros it gives no zeros, which no bound of an entry explains."""

    def fourier(x, w, b):
        wide = np.pad(x.astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)])
        sizes, (_, _, rows, columns) = wide.shape[2:], zeros(x, w).shape
        product = np.einsum("ncij,ocij->noij", np.fft.rfft2(wide), np.conj(np.fft.rfft2(w, sizes)))
        y = np.fft.irfft2(product, sizes)[:, :, :rows, :columns]
        return (y + b[:, None, None]).astype(x.dtype)

    verdict = gate(CONV, fourier, seed=1)
    assert "right normwise, as of a fast transform" in str(verdict)
    assert verdict
    assert not certify(CONV, fourier, dtype="float32", seed=1)


def test_an_answer_more_accurate_than_a_float32_reference_is_accepted():
    """allclose, against a reference that rounds, refuses it: gpu-mode/reference-kernels#164."""
    conv = cd.Conv((2, 9, 9), out_channels=3, kernel=7, padding=1)
    rng = np.random.default_rng(0)
    shapes = (2, *conv.in_shape), conv.weight_shape, conv.bias_shape
    x, w, b = (rng.standard_normal(shape).astype("float32") for shape in shapes)
    x, w = x + np.float32(2**10), w - w.mean(axis=(1, 2, 3), keepdims=True)
    assert not np.allclose(double(x, w, b), right(x, w, b), rtol=1e-4, atol=1e-4)
    assert cd.check(conv, x, w, b, implementation=double)
    assert gate(conv, double, seed=1)


# What is asked, and what is said


def test_what_is_replaced_is_put_back_and_named():
    before = np.allclose, vars(cd.Certificate).get("__bool__")
    verdict = gate(CONV, CHEATS["replaces allclose"][0](), seed=1)
    assert gate(CONV, true_certificates, seed=1).refuted
    assert (np.allclose, vars(cd.Certificate).get("__bool__")) == before
    assert str(verdict).startswith("does not hold: functions kept wrong\n")
    assert "functions kept wrong; replaced: numpy.allclose" in str(verdict)


def test_a_method_that_was_inherited_is_watched_too():
    with _gate.put_back() as replaced:
        cd.Certificate.exact = property(lambda _: True)
        cd.Certificate.require = lambda self: self
    assert replaced == ["Certificate.require"]
    del cd.Certificate.exact


def test_json():
    for layer, kernel in ((CONV, one_buffer()), (POOL, largest)):
        verdict = gate(layer, kernel, seed=1)
        plain = json.loads(json.dumps(verdict.to_dict()))
        again = READERS[plain["kind"]].from_dict(plain)
        assert again == verdict
        assert (bool(again), str(again)) == (bool(verdict), str(verdict))
        assert plain["seed"] == 1
    assert gate(POOL, largest, seed=1).rerun(largest)


def test_a_seed_is_drawn_and_recorded():
    first, again = gate(POOL, lambda x: x), gate(POOL, lambda x: x)
    assert first.seed != again.seed
    assert gate(POOL, lambda x: x, seed=first.seed) == first


def test_without_time_nothing_is_accepted():
    verdict = gate(CONV, right, seed=1, time_limit=1e-9)
    assert not verdict
    assert not verdict.refuted
    assert verdict.behaviour[0].note == "the time was up before all was tried"
    assert "time_limit: after 1e-09 s nothing new was begun" in str(verdict)
    assert "time_limit" not in str(gate(CONV, right, seed=1, time_limit=1e6).require())


def test_too_large_a_layer_is_refused_before_any_call(monkeypatch):
    monkeypatch.setattr(memory_need, "physical_memory", lambda: 20_000)
    calls = []
    for layer in (CONV, POOL):
        with pytest.raises(MemoryError, match=r"^layer: got operands and results of "):
            gate(layer, lambda *_: calls.append(1), batch=500)
    assert calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "^dtype: got 'int8'; needs one of 'float32', 'float64', "),
        ({"batch": 0}, "^batch: got 0; needs an integer of at least 1"),
        ({"bias": 0}, "^bias: got 0; needs True or False"),
        ({"any_shape": "near"}, "^any_shape: got 'near'; needs True or False"),
        ({"time_limit": -1}, "^time_limit: got -1; needs seconds"),
        ({"layer": cd.ReLU((2, 3))}, r"^layer: got ReLU\(\(2, 3\)\); needs a Conv"),
        ({"kernel": 3}, "^implementation: got 3; needs a function f"),
    ],
)
def test_what_cannot_be_judged_is_refused(options, message):
    given = {"layer": CONV, "kernel": right} | options
    with pytest.raises((TypeError, ValueError), match=message):
        gate(given.pop("layer"), given.pop("kernel"), **given)


def test_warnings_that_the_caller_turned_off_are_off_in_the_thread_too():
    def overflowing(x, w, b):
        np.float32(2.0**127) * np.float32(4.0)
        return right(x, w, b)

    with np.errstate(over="raise"):
        assert gate(CONV, overflowing, seed=1).refuted
    with np.errstate(over="ignore"):
        assert gate(CONV, overflowing, seed=1)


def test_what_no_finite_test_sees_is_accepted_and_named():
    verdict = gate(CONV, counting(10**6)(), seed=1).require()
    assert "no finite test sees: another result after more calls than were made" in str(verdict)


def test_a_large_layer_says_what_was_tried_on_it_and_what_on_a_small_copy():
    conv = cd.Conv((16, 16, 16), out_channels=32, kernel=3, padding=1)
    verdict = gate(conv, lambda x, w, b: cd.convolve(conv_of(x, w), x, w, b), seed=1).require()
    assert verdict.tried_on is not None
    assert ", but for: repeatable, other shapes, asked shape\n" in str(verdict)


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")

    def convolved(*operands):
        x, w, b = (torch.from_numpy(a.copy()) for a in operands)
        return torch.nn.functional.conv2d(x, w, b, padding=1)

    class Deferred(torch.Tensor):
        pass

    def with_an_attribute(*operands):
        y = convolved(*operands)
        y.detach = y.detach
        return y

    def replacing_equal(*operands):
        torch.equal = lambda *_: True
        return convolved(*operands)

    before = torch.equal
    assert gate(CONV, convolved, seed=1)
    for kernel in (lambda *given: convolved(*given).as_subclass(Deferred), with_an_attribute):
        assert SHAPE + "normal deviates" in wrong_in(gate(CONV, kernel, seed=1))
    assert wrong_in(gate(CONV, replacing_equal, seed=1)) == ["functions kept"]
    assert torch.equal is before
