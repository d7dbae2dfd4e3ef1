"""A cluster of two processes: what it computes is what one process does, whatever befalls it."""

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import convdense as cd
from convdense.sweeps import _sweep, sweep
from tests.test_fast_forms import same
from tests.test_sweep import FEW, FEW_TRANSPOSED

pytest.importorskip("dask.array", reason="dask is not installed: pip install '.[dask]'")
distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed: pip install '.[dask]'"
)
dask_adapter = pytest.importorskip("convdense.adapters.dask")

LAYERS = [
    cd.Conv((3, 9, 8), 5, 3, padding=1, padding_value=2),
    cd.Conv((2, 7, 6), 4, (3, 2), stride=2, padding=1, padding_mode="reflect", groups=2),
    cd.ConvTranspose((2, 5), 1, 3, stride=2),
    cd.LocallyConnected((1, 4, 5), 1, 2),
]


@pytest.fixture(scope="module")
def cluster():
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(cd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    options = {"host": "127.0.0.1", "scheduler_port": 0, "dashboard_address": ":0"}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="1GB", silence_logs=50, **options
    ) as found:
        yield found


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as found:
        found.wait_for_workers(2)
        yield found


def integers(shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 9, shape, endpoint=True)


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [*zip(LAYERS, ["int64", "complex64", "float64", "int32"], strict=True)],
    ids=repr,
)
def test_products_are_those_of_one_process(client, layer, dtype):
    ties = cd.tie(layer)
    w = integers(ties.weight_shape).astype(dtype)
    if dtype == "complex64":
        w = w + w[::-1] * 1j
    whole = ties.matrix(w)
    A = dask_adapter.operator(ties, w, client)
    assert (A.shape, A.dtype) == (whole.shape, whole.dtype)
    x, y = integers((whole.shape[1], 3)), integers((whole.shape[0], 3))
    w[...] = 0  # later changes of w change nothing
    assert np.array_equal(A @ x, whole @ x)
    assert np.array_equal(A @ x[:, 0], whole @ x[:, 0])
    assert np.array_equal(A.H @ y, whole.conj().T @ y)
    assert np.array_equal(A.H @ y[:, 0], whole.conj().T @ y[:, 0])


@pytest.mark.parametrize("layer", LAYERS[:2], ids=repr)
@pytest.mark.parametrize("chunks", [1_000_000, 7, "3 kB", "auto"])
def test_the_matrix_is_that_of_one_process(client, layer, chunks):
    ties, w = cd.tie(layer), integers(layer.weight_shape)
    whole = ties.matrix(w)
    A = dask_adapter.matrix(ties, w, chunks)
    assert isinstance(A._meta, sp.csr_array)
    assert (A.shape, A.dtype) == (whole.shape, whole.dtype)
    if chunks == 7:
        assert set(A.chunks[0][:-1]) <= {7}
    found = A.compute()
    assert (found != whole).nnz == 0
    assert found.nnz == whole.nnz
    x = integers(whole.shape[1])
    times = A.map_blocks(lambda block: block @ x, dtype=int, drop_axis=1)
    assert np.array_equal(times.compute(), whole @ x)


@pytest.mark.parametrize("chunks", ["auto", "1 kB", 3])
def test_a_layer_without_outputs_is_empty_there_too(client, chunks):
    ties = cd.tie(cd.Conv((2, 5, 0), 2, (2, 1)))
    w = np.ones(ties.weight_shape)
    assert dask_adapter.matrix(ties, w, chunks).compute().shape == (0, 0)
    assert (dask_adapter.operator(ties, w, client) @ np.zeros(0)).shape == (0,)


def test_blocks_of_so_many_bytes_are_no_larger():
    ties, w = cd.tie(LAYERS[0]), np.ones(LAYERS[0].weight_shape)
    A = dask_adapter.matrix(ties, w, "5 kB")
    blocks = [A.blocks[i].compute(scheduler="sync") for i in range(A.numblocks[0])]
    sizes = [b.data.nbytes + b.indices.nbytes + b.indptr.nbytes for b in blocks]
    assert 2_000 < max(sizes) <= 5_000
    assert same(sp.vstack(blocks, format="csr"), ties.matrix(w))


def test_each_worker_holds_rows_and_they_are_whole_channels():
    assert dask_adapter._slices((4, 10), 2) == [slice(0, 20), slice(20, 40)]
    assert dask_adapter._slices((3, 10), 2) == [slice(0, 10), slice(10, 30)]
    assert dask_adapter._slices((1, 4, 10), 3) == [slice(0, 10), slice(10, 20), slice(20, 40)]
    assert dask_adapter._slices((2,), 5) == [slice(0, 1), slice(1, 2)]


def test_products_run_where_the_rows_are(client, monkeypatch):
    ties, submit, places = cd.tie(LAYERS[0]), client.submit, {}

    def kept(function, *arguments, **options):
        future = submit(function, *arguments, **options)
        assert options.get("allow_other_workers", True)  # where the place is lost
        places.setdefault(function.__name__, []).extend(options.get("workers", ()))
        return future

    monkeypatch.setattr(client, "submit", kept)
    A = dask_adapter.operator(ties, np.ones(ties.weight_shape), client)
    A @ np.ones(A.shape[1])
    A.H @ np.ones(A.shape[0])
    assert sorted(places["_operator"]) == sorted(client.nthreads())
    assert places["matmul"] == places["_adjoint_times"] == places["_operator"]


def test_a_worker_killed_in_the_middle_changes_nothing(client):
    ties = cd.tie(cd.Conv((16, 64, 64), 16, 5, padding=2))
    w = integers(ties.weight_shape).astype(float)
    A, alone = dask_adapter.operator(ties, w, client), ties.operator(w)
    x, y = (integers((n, 24)).astype(float) for n in (A.shape[1], A.shape[0]))
    pids = client.run(os.getpid)
    for times, given in ((A.matmat, x), (A.rmatmat, y)):
        found = []
        thread = threading.Thread(target=lambda: found.append(times(given)))  # noqa: B023
        thread.start()
        busy = None
        while busy is None and thread.is_alive():
            for worker, keys in client.processing().items():
                if any("times" in str(key) or "matmul" in str(key) for key in keys):
                    busy = worker
        assert busy is not None
        os.kill(pids[busy], signal.SIGKILL)
        thread.join(60)
        expected = alone @ x if times == A.matmat else alone.H @ y
        assert np.array_equal(found[0], expected)
        client.wait_for_workers(2)
        again = client.run(os.getpid)
        assert pids[busy] not in again.values()  # it was killed indeed
        pids = again


def test_a_closed_client_or_cluster_gives_one_line(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW,))
    ties, w = cd.tie(LAYERS[0]), np.ones(LAYERS[0].weight_shape)
    line = (
        "client: got one that is closed; needs one that is open, with living workers that have "
        "convdense; open another, and make the operator again"
    )
    client = distributed.Client(processes=False, n_workers=3, dashboard_address=":0")
    A = dask_adapter.operator(ties, w, client)
    executor = client.get_executor()
    y = integers(A.shape[0])
    assert np.array_equal(A.H @ y, ties.matrix(w).T @ y)  # of three parts
    client.close()
    for call in (
        lambda: A @ np.ones(A.shape[1]),
        lambda: A.H @ np.ones(A.shape[0]),
        lambda: dask_adapter.operator(ties, w, client),
    ):
        with pytest.raises(RuntimeError, match=f"^{re.escape(line)}$"):
            call()
    text = "^executor: got .*Client.*; needs one that is open, with living workers that have"
    with pytest.raises(RuntimeError, match=text):
        sweep(every=97, executor=executor)

    with distributed.LocalCluster(1, processes=False, dashboard_address=":0") as own:
        client = distributed.Client(own)
        A = dask_adapter.operator(ties, w, client)
    with pytest.raises(RuntimeError, match=r"^client: got .*; needs one that is open, with living"):
        A @ np.ones(A.shape[1])
    client.close()


def test_what_is_no_client_and_what_are_no_chunks_is_refused(client):
    ties, w = cd.tie(LAYERS[2]), np.ones(LAYERS[2].weight_shape)
    for wrong, error, text in (
        (0, ValueError, "chunks: got 0; needs an integer of at least 1"),
        (2.5, TypeError, "chunks: got 2.5; needs an integer"),
        ("many", ValueError, "chunks: got 'many'; needs rows, such as 1000, or bytes"),
        ("10 B", ValueError, "chunks: got 10; needs at least 56, the size of one row"),
    ):
        with pytest.raises(error, match=f"^{re.escape(text)}"):
            dask_adapter.matrix(ties, w, wrong)
    with pytest.raises(TypeError, match=r"^client: got 3; needs a dask.distributed.Client$"):
        dask_adapter.operator(ties, w, 3)
    with pytest.raises(ValueError, match=r"^w: got shape \(2,\); needs"):
        dask_adapter.operator(ties, w[:, 0, 0], client)
    text = r"^executor: got <Client.*; write executor=client.get_executor\(\)$"
    with pytest.raises(TypeError, match=text):
        sweep(every=30_000, executor=client)


def test_a_sweep_on_the_cluster_is_that_of_one_process(client, monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW, FEW_TRANSPOSED))
    alone = sweep(every=19, workers=1)
    there = sweep(every=19, executor=client.get_executor())
    assert alone.geometries > 2 * _sweep.CHUNK
    assert there.processes in (1, 2)
    assert replace(there, processes=1, seconds=alone.seconds) == alone


def test_without_dask_one_line_says_how_to_get_it():
    code = (
        "import sys; sys.modules['dask'] = None\n"
        "try:\n    import convdense.adapters.dask\nexcept ImportError as e:\n    print(e)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cd.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, env=environment, text=True)
    assert printed == (
        "dask: got no module of the name dask; needs dask and distributed; "
        "run pip install '.[dask]' in a clone of convdense\n"
    )


def test_the_guide_shows_what_its_code_prints(capsys):
    text = (Path(cd.__file__).parents[1] / "docs/guide.md").read_text(encoding="utf-8")
    code = re.search(r"## More than one machine\n.*?```py\n(.*?)```", text, re.DOTALL)[1]
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# -> (.*)$", code, re.MULTILINE)
