"""BLAS's threads are held and given back, and our own are as many as there are cores."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import convdense as cd
from convdense._util import threads
from convdense._util.threads import blas_alone, cores, product, spread


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads():
    """Tests run where a machine may have one core: BLAS takes two threads if it is told so."""
    with threadpool_limits(2, user_api="blas"):
        yield
        assert blas_threads() == {2}  # whatever a test did


def test_blas_has_one_thread_within_and_what_it_had_after():
    with blas_alone() as before:
        assert before == 2
        assert blas_threads() == {1}
        with blas_alone() as again:
            assert (again, blas_threads()) == (2, {1})
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_exceptions_give_blas_its_threads_back():
    def fails(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), blas_alone():
        raise ZeroDivisionError
    assert blas_threads() == {2}
    with pytest.raises(ZeroDivisionError):
        list(spread(fails, [1, 2, 3], 1e9))
    assert blas_threads() == {2}


def test_overlapping_uses_in_two_threads_leave_what_was_there():
    inside, leave = threading.Barrier(2), threading.Event()

    def first():
        with blas_alone():
            inside.wait()
        leave.set()

    def second():
        with blas_alone():
            inside.wait()
            leave.wait()
            seen.append(blas_threads())

    seen = []
    workers = [threading.Thread(target=run) for run in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [{1}]  # the first to come has left, and the second is still alone
    assert blas_threads() == {2}


def test_a_product_that_is_given_up_halfway_gives_blas_its_threads_back():
    found = spread(lambda part: part, range(100), 1e9)
    assert next(found) == 0
    assert blas_threads() == {1}
    found.close()
    assert blas_threads() == {2}


@pytest.mark.parametrize("operations", [0, threads.ALONE_FROM, 1e9])
def test_results_come_in_order(operations, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    assert list(spread(lambda n: n * n, range(50), operations)) == [n * n for n in range(50)]


def test_large_work_runs_on_as_many_threads_as_cores_and_small_work_on_none(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    together = threading.Barrier(2, timeout=30)  # two at once, or it breaks
    list(spread(lambda _: together.wait(), range(4), 1e9))
    ours = threading.get_ident()
    assert set(spread(lambda _: threading.get_ident(), range(4), 1)) == {ours}


def test_whoever_holds_blas_to_one_thread_holds_us(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    ours = threading.get_ident()
    with threadpool_limits(1, user_api="blas"):
        assert set(spread(lambda _: threading.get_ident(), range(4), 1e9)) == {ours}
    assert ours not in set(spread(lambda _: threading.get_ident(), range(4), 1e9))


def test_errors_are_told_as_the_caller_wants_them(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(spread(lambda n: np.ones(1) / n, [np.zeros(1)] * 4, 1e9))
    with np.errstate(divide="ignore"):
        list(spread(lambda n: np.ones(1) / n, [np.zeros(1)] * 4, 1e9))


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", None), ("150000 100000", 1.5), ("50000 100000", 0.5)]
)
def test_container_limits_are_read(text, expected, tmp_path, monkeypatch):
    path = tmp_path / "cpu.max"
    path.write_text(text)
    monkeypatch.setattr(threads, "CPU_MAX", path)
    assert threads._container_limit.__wrapped__() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("300000", 3.0)])
def test_limits_of_older_kernels_are_read(quota, expected, tmp_path, monkeypatch):
    for name, text in (("QUOTA", quota), ("PERIOD", "100000")):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(threads, f"CPU_{name}", path)
    monkeypatch.setattr(threads, "CPU_MAX", Path(tmp_path, "none"))
    assert threads._container_limit.__wrapped__() == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, 4), (1.5, 2), (0.2, 1), (9.0, 4)])
def test_cores_are_those_of_the_affinity_and_the_container(limit, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(threads, "_container_limit", lambda: limit)
    assert cores() == expected


def test_elsewhere_cores_are_those_of_the_machine(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads, "_container_limit", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_matrix_product_in_parts_is_the_product(rows, monkeypatch):
    monkeypatch.setattr(threads, "ALONE_FROM", 0)
    monkeypatch.setattr(threads, "SPREAD_FROM", 0)
    monkeypatch.setattr(threads, "ROWS", 3)
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (rows, 5)).astype(float), rng.integers(-9, 9, (5, 4))
    found = product(a, b)
    assert np.array_equal(found, a @ b)
    assert found.dtype == (a @ b).dtype


FORK = """
import os, threading
from threadpoolctl import threadpool_info, threadpool_limits
import numpy
from convdense._util.threads import blas_alone
def blas():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
threadpool_limits(2, user_api="blas")
with blas_alone():
    child = os.fork()
    if not child:
        assert blas() == {2}, blas()
        with blas_alone():
            assert blas() == {1}
        os._exit(0 if blas() == {2} else 1)
    assert os.waitpid(child, 0)[1] == 0
assert blas() == {2}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_starts_with_the_threads_that_were_there():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(
    "layer",
    [
        cd.Conv((4, 9, 8), 6, 3, padding=1, groups=2),
        cd.Conv((2, 9), 3, 1),
        cd.ConvTranspose((4, 5, 6), 6, (3, 2), stride=2, groups=2),
        cd.LocallyConnected((2, 6, 5), 3, 2),
    ],
    ids=repr,
)
def test_direct_convolution_in_parts_is_the_convolution(layer, batch, monkeypatch):
    from convdense.direct import conv
    from convdense.direct.conv_loops import backward, forward

    for module in (conv, threads):
        monkeypatch.setattr(module, "ALONE_FROM", 0)
    monkeypatch.setattr(threads, "SPREAD_FROM", 0)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    rng = np.random.default_rng(0)
    x, w, dy = (
        rng.integers(-9, 9, shape).astype(float)
        for shape in ((batch, *layer.in_shape), layer.weight_shape, (batch, *layer.out_shape))
    )
    assert np.array_equal(cd.convolve(layer, x, w), forward(layer, x, w, None))
    found = cd.convolve_backward(layer, x, w, dy)
    for got, expected in zip(found, backward(layer, x, w, dy), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize(("n", "threads_within"), [(6, 1), (400, 2)])
def test_small_operands_run_on_one_thread_of_torch_and_large_ones_on_its_own(n, threads_within):
    torch = pytest.importorskip("torch")
    from convdense.adapters.torch import implementation

    met = []

    def conv(x, w, b):
        met.append(torch.get_num_threads())
        if x[0, 0, 0, 0] < 0:
            raise ZeroDivisionError
        return torch.nn.functional.conv2d(x, w, b)

    x, w = np.ones((1, 1, n, n)), np.ones((1, 1, 2, 2))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        code = implementation(conv)
        code.forward(x, w, np.ones(1))
        code.backward(x, w, np.ones((1, 1, n - 1, n - 1)))
        with pytest.raises(ZeroDivisionError):
            code.forward(-x, w, np.ones(1))
        assert met == [threads_within] * 3
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
