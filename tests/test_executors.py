"""Calls on an executor: in order, no more begun than need be, and what goes wrong is one line."""

import multiprocessing
import os
import pickle
import re
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest

from convdense._util.executors import in_order
from convdense.sweeps import _sweep, sweep
from tests.test_sweep import FEW, FEW_TRANSPOSED

NEEDS = "needs one that is open, with living workers that have convdense"


class Counting(ThreadPoolExecutor):
    """Counts what it was given."""

    submitted = 0

    def submit(self, *arguments, **options):
        self.submitted += 1
        return super().submit(*arguments, **options)


def test_results_come_in_order_and_few_are_begun_ahead():
    begun = []

    def items():
        for n in count():
            begun.append(n)
            yield n

    waits = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        results = in_order(pool, lambda n: n if n else (waits.wait(20), n)[1], items(), ahead=6)
        threading.Timer(0.05, waits.set).start()  # the first is the last to end
        with closing(results):
            assert [next(results) for _ in range(30)] == list(range(30))
        assert len(begun) == 36


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, None])
def test_ended_early_what_nobody_has_begun_is_dropped(error):
    ended, ran = threading.Event(), []

    def call(n):
        if n:
            ended.wait(20)
        ran.append(n)
        if n == 0 and error:
            raise error("of number 0")

    with ThreadPoolExecutor(1) as pool:
        results = in_order(pool, call, range(100))
        expected = {ZeroDivisionError: RuntimeError}.get(error, error)
        if expected:
            with pytest.raises(expected):
                next(results)
        else:
            next(results)
            results.close()
        ended.set()
        assert pool.submit(abs, -1).result() == 1  # it is not closed
    assert ran in ([0], [0, 1])


def test_a_call_that_raises_is_one_line():
    def call(n):
        raise ValueError("too long\nsecond line")

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(RuntimeError) as raised:
            list(in_order(pool, call, [1]))
        assert str(raised.value) == f"executor: got ValueError: too long; {NEEDS}"
        assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(RuntimeError, match=rf"^executor: got RuntimeError: cannot sch.*; {NEEDS}$"):
        list(in_order(pool, abs, [1]))


def test_an_item_that_raises_is_not_blamed_on_the_executor():
    def items():
        yield 1
        raise ValueError("mine")

    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match=r"^mine$"):
        list(in_order(pool, abs, items()))


def test_a_process_that_dies_is_one_line():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        with pytest.raises(RuntimeError) as raised:
            list(in_order(pool, os._exit, [3]))
        assert str(raised.value).startswith("executor: got BrokenProcessPool: A process ")
        assert "\n" not in str(raised.value)


# a sweep


def test_a_sweep_on_threads_is_that_of_one_process(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW, FEW_TRANSPOSED))
    alone = sweep(every=19, workers=1)
    with Counting(3) as pool:
        there = sweep(every=19, executor=pool)
        assert pool.submitted == sum(-(-f.geometries // _sweep.CHUNK) for f in alone.families)
        assert pool.submit(abs, -1).result() == 1
    assert alone.geometries > 2 * _sweep.CHUNK
    assert replace(there, seconds=alone.seconds) == alone


def test_failures_come_in_the_same_order(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW, FEW_TRANSPOSED))
    monkeypatch.setattr("convdense.sweeps.all_basis_pairs.TiedDense", None)
    alone = sweep(every=19, workers=1)
    with ThreadPoolExecutor(3) as pool:
        there = sweep(every=19, executor=pool)
    assert len(alone.failures) == _sweep.SHOWN
    assert replace(there, seconds=alone.seconds) == alone


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"executor": 3}, TypeError, "executor: got 3; needs a concurrent.futures.Executor"),
        (
            {"executor": Future(), "workers": 2},
            TypeError,
            "executor: got <Future",
        ),
        (
            {"executor": ThreadPoolExecutor(1), "workers": 2},
            ValueError,
            "workers: got 2; needs None beside executor, which has its own",
        ),
    ],
)
def test_what_is_no_executor_is_refused(options, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        sweep(every=30_000, **options)


# a model


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def small_model(torch):
    nn, functional = torch.nn, torch.nn.functional

    class Own(nn.Conv1d):
        def forward(self, x):
            x = functional.conv1d(functional.relu(x), self.weight, self.bias)
            return functional.max_pool1d(x, 2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.stock = Own(1, 1, 2), nn.Conv1d(1, 1, 2)

        def forward(self, x):
            functional.conv1d(x, self.own.weight, self.own.bias)  # as the one inside
            return self.stock(self.own(self.stock(x))) + self.own(x)[..., :1]

    return Model()


def test_a_model_on_threads_is_certified_as_without(torch, monkeypatch):
    from convdense.adapters import torch as adapter

    met = []

    def judged(call, device, options):
        name = f"{call.label}: {options['seed']} on {device}"
        met.append(call.key)
        return adapter.Outcome("skipped", name, follow=call.name == "Own", listed=False)

    monkeypatch.setattr(adapter, "_judged", judged)
    monkeypatch.setattr(adapter, "certify", lambda *a, **k: None)  # of the options alone
    model, x = small_model(torch), torch.zeros(1, 1, 9)
    alone = adapter.certify_model(model, x, seed=3)
    assert len(met) == len(set(met))  # equal ones once
    with Counting(3) as pool:
        there = adapter.certify_model(model, x, seed=3, executor=pool)
    assert 2 * pool.submitted == len(met)
    assert there == alone
    assert list(there.skipped.items()) == list(alone.skipped.items())
    assert "own: max_pool1d: 3 on cpu" in there.skipped.values()  # in a second round
    with pytest.raises(TypeError, match=r"^executor: got 3; needs a concurrent.futures.Executor$"):
        adapter.certify_model(model, x, executor=3)
    with pytest.raises(RuntimeError, match=rf"^executor: got RuntimeError: .*; {NEEDS}$"):
        adapter.certify_model(model, x, seed=3, executor=pool)


def test_calls_go_through_a_pickle_as_they_are(torch):
    from convdense.adapters.model_calls import Recorder

    functional = torch.nn.functional

    class Model(torch.nn.Module):
        def forward(self, x):
            x = functional.conv2d(x, torch.ones(1, 1, 2, 2), padding=1)
            x = functional.max_pool2d(x, 2)
            return functional.adaptive_avg_pool2d(x, 1)

    recorder = Recorder(Model())
    with recorder.watching():
        recorder.parts["model"](torch.zeros(1, 1, 6, 6))
    assert len(recorder.calls) == 3
    for call in recorder.calls:
        again = pickle.loads(pickle.dumps(call))
        assert again == call
        assert again.source is call.source
        assert again.key == call.key
    module = replace(recorder.calls[0], source=torch.nn.Conv2d(1, 1, 2))
    assert repr(pickle.loads(pickle.dumps(module)).source) == repr(module.source)
