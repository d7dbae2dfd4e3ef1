"""How fast, run by hand: ``python tests/benchmark.py [--json] [PART ...]``. Medians, and ratios
within one run.

Every figure has its limit beside it; the exit status is 1 if one is missed. What is compared with
other packages (torch, sparse_convolution), and what needs a browser, is skipped with one line where
they are not installed."""

import argparse
import gc
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import convdense as cd
from convdense._util.threads import cores
from convdense.display.tables import aligned
from convdense.layers.constant import Fixed
from convdense.structure import linear_operator
from convdense.training.loop import train

REPEATS = 7
SHORTEST = 5e-3  # seconds: what is shorter is repeated within one measurement
MB = 1e6
CASES = 60  # geometries on which both ways of the operator are compared
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Figure(NamedTuple):
    """One line of the table: a value, its limit, and the times of a ratio."""

    part: str
    what: str
    against: str
    value: float
    unit: str
    limit: float
    sense: str = "at most"
    ours: float | None = None  # seconds
    theirs: float | None = None

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit


class Skipped(NamedTuple):
    """What was not measured, and why."""

    part: str
    reason: str


class Times(NamedTuple):
    """Median seconds of two functions timed in turn, and the median ratio of the pairs."""

    ours: float
    theirs: float
    ratio: float


def seconds(function: Callable[[], Any], loops: int) -> float:
    """Return the seconds of one call, over `loops` calls."""
    start = perf_counter()
    for _ in range(loops):
        function()
    return (perf_counter() - start) / loops


def typical(function: Callable[[], Any]) -> float:
    """Return the median seconds of a call."""
    n = loops_for(function)
    return median(seconds(function, n) for _ in range(REPEATS))


def loops_for(function: Callable[[], Any]) -> int:
    function()  # the first call plans, allocates and warms up
    return max(1, round(SHORTEST / max(seconds(function, 1), 1e-9)))


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int = REPEATS) -> Times:
    """Time two functions in turn, A B A B ..., so that a drift of the machine meets both."""
    n, m = loops_for(ours), loops_for(theirs)
    gc.collect()
    gc.disable()
    try:
        pairs = [(seconds(ours, n), seconds(theirs, m)) for _ in range(repeats)]
    finally:
        gc.enable()
    return Times(
        median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)
    )


def peak_mb(function: Callable[[], Any]) -> float:
    """Return the most memory (MB) that one call held, its result included."""
    function()
    gc.collect()
    tracemalloc.start()
    try:
        kept = function()
        del kept
        return tracemalloc.get_traced_memory()[1] / MB
    finally:
        tracemalloc.stop()


def ratio(part: str, what: str, against: str, times: Times, limit: float) -> Figure:
    return Figure(part, what, against, times.ratio, "x", limit, "at most", times.ours, times.theirs)


def speedup(part: str, what: str, against: str, times: Times, limit: float) -> Figure:
    """Return how many times faster ours is than theirs; the two were timed as (theirs, ours)."""
    return Figure(
        part, what, against, times.ratio, "x", limit, "at least", times.theirs, times.ours
    )


def weights(layer: Any, dtype: str) -> np.ndarray:
    return (
        np.random.default_rng(0).integers(-4, 5, layer.weight_shape).astype(dtype)
    )  # whole: every sum is exact


def size_of(matrix: sp.csr_array) -> int:
    return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)


def filler(matrix: sp.csr_array) -> Callable[[], Any]:
    """Return what assembly is measured against: filling fresh memory of the result's bytes."""
    arrays = [(a.shape, a.dtype) for a in (matrix.data, matrix.indices, matrix.indptr)]
    return lambda: [np.full(shape, 1, dtype) for shape, dtype in arrays]


def builder(layer: Any, dtype: str) -> tuple[Callable[[], sp.csr_array], int, int]:
    """Return a function that builds the matrix, its number of entries and its bytes."""
    ties, w = cd.tie(layer), weights(layer, dtype)
    matrix = ties.matrix(w)
    return lambda: ties.matrix(w), matrix.nnz, size_of(matrix)


BASE = cd.Conv((64, 56, 56), 64, 3, padding=1)
OTHERS = {
    "stride 2": (cd.Conv((64, 112, 112), 64, 3, padding=1, stride=2), 2),
    "dilation 2": (cd.Conv((64, 56, 56), 64, 3, padding=2, dilation=2), 2),
    "groups 4": (cd.Conv((128, 56, 56), 128, 3, padding=1, groups=4), 2),
    "circular": (cd.Conv((64, 56, 56), 64, 3, padding=1, padding_mode="circular"), 2),
    "reflect": (cd.Conv((64, 56, 56), 64, 3, padding=1, padding_mode="reflect"), 2),
    "1-D": (cd.Conv((128, 2048), 128, 3, padding=1), 2),
    "3-D": (cd.Conv((24, 14, 14, 14), 24, 3, padding=1), 1.2),
    "transposed, stride 2": (
        cd.ConvTranspose((64, 56, 56), 64, 3, stride=2, padding=1, output_padding=1),
        1.2,
    ),
}


def assembly() -> Iterator[Figure]:
    """The matrix at the speed of memory."""
    part = "assembly"
    build, entries, size = builder(BASE, "float32")
    fill = filler(build())
    yield ratio(
        part, "64 -> 64, 3x3, 56x56, float32", "filling fresh memory", paired(build, fill), 1.2
    )
    over = peak_mb(build) - 1.1 * size / MB
    yield Figure(part, "64 -> 64: peak memory above 1.1 times the result", "", over, "MB", 64)
    for name, (layer, limit) in OTHERS.items():
        other, n, _ = builder(layer, "float32")
        times = paired(other, build)
        per_entry = Times(times.ours, times.theirs, times.ratio * entries / n)
        yield ratio(part, f"{name}: per entry", "64 -> 64, 3x3, 56x56", per_entry, limit)
    for kernel, dtype in ((3, "float32"), (5, "float64")):
        image, _, _ = builder(cd.Conv((1, 1024, 1024), 1, kernel), dtype)
        what = f"1 -> 1, 1024x1024, {kernel}x{kernel}, {dtype}"
        yield ratio(part, what, "filling fresh memory", paired(image, filler(image())), 1.1)
    tiny = paired(builder(cd.Conv((1, 16, 16), 1, 3), "float64")[0], lambda: None)
    yield Figure(part, "1 -> 1, 16x16, 3x3", "", tiny.ours * 1e3, "ms", 0.3)
    short, few, _ = builder(cd.Conv((64, 56, 56), 6, 3, padding=1), "float32")
    times = paired(build, short)
    growth = Times(times.ours, times.theirs, times.ratio * few / entries)
    what = f"64 -> 64: per entry at {entries:,} entries"
    yield ratio(part, what, f"64 -> 6, {few:,} entries", growth, 1.3)


def by_scipy_kron(layer: cd.Conv, w: np.ndarray) -> sp.csr_array:
    """The sum over taps of ``scipy.sparse.kron``: what people write today."""
    taps = []
    for tap in np.ndindex(*layer.kernel):
        axes = zip(layer.out_spatial, layer.in_spatial, tap, layer.padding, strict=True)
        shifts = [
            sp.eye_array(n, m, k=t - begin, format="csr", dtype=w.dtype)
            for n, m, t, (begin, _) in axes
        ]
        pixels = sp.kron(*shifts, format="csr")
        taps.append(sp.kron(sp.csr_array(w[(..., *tap)]), pixels, format="csr"))
    return sum(taps[1:], taps[0])


def today() -> Iterator[Figure | Skipped]:
    """Beside what people do today."""
    part = "today"
    layer = cd.Conv((32, 56, 56), 32, 3, padding=1)
    ties, w = cd.tie(layer), weights(layer, "float32")
    times = paired(lambda: by_scipy_kron(layer, w), lambda: ties.matrix(w), 5)
    yield speedup(part, "32 -> 32, 3x3, 56x56", "scipy.sparse.kron, summed over taps", times, 10)
    yield _beside_sparse_convolution(part)
    yield _beside_one_hot(part)


def _beside_sparse_convolution(part: str) -> Figure | Skipped:
    if importlib.util.find_spec("sparse_convolution") is None:
        return Skipped(part, "sparse_convolution is not installed: pip install sparse_convolution")
    from sparse_convolution import Toeplitz_convolution2d

    w, x = (
        np.random.default_rng(0).integers(-4, 5, shape).astype(float)
        for shape in ((5, 5), (512, 512))
    )
    ties = cd.tie(cd.Conv((1, 512, 512), 1, 5, padding=2, flip=True))

    def theirs() -> Any:
        return Toeplitz_convolution2d(x_shape=(512, 512), k=w, mode="same", method="precomputed")

    assert np.array_equal(
        theirs()(x, batching=False).ravel(), ties.matrix(w[None, None]) @ x.ravel()
    )
    times = paired(theirs, lambda: ties.matrix(w[None, None]), 5)
    return speedup(part, "1 -> 1, 5x5, 512x512", "sparse_convolution", times, 5)


def _beside_one_hot(part: str) -> Figure | Skipped:
    if importlib.util.find_spec("torch") is None:
        return Skipped(part, "torch is not installed: pip install torch")
    import torch

    layer = cd.Conv((3, 32, 32), 16, 3, padding=1)
    ties, w = cd.tie(layer), weights(layer, "float32")
    kernel = torch.from_numpy(w)
    inputs = int(np.prod(layer.in_shape))

    def theirs() -> Any:
        one_hot = torch.eye(inputs).reshape(inputs, *layer.in_shape)
        return torch.nn.functional.conv2d(one_hot, kernel, padding=1).reshape(inputs, -1).T

    assert np.array_equal(theirs().numpy(), ties.matrix(w).toarray())
    times = paired(theirs, lambda: ties.matrix(w), 5)
    return speedup(part, "3 -> 16, 3x3, 32x32", "one-hot inputs through torch (dense)", times, 50)


def products() -> Iterator[Figure | Skipped]:
    """The matrix without storing it, at batch 8."""
    for dtype, limit in (("float32", 8), ("float64", 5)):
        yield from _without_matrix(dtype, limit, batch=8)
    for channels in (1, 3):
        yield _few_channels(cd.Conv((channels, 224, 224), channels, 3, padding=1), batch=8)
    yield _few_channels(cd.Conv((1, 224, 224), 1, 31, padding=15), batch=8)
    yield _few_channels(cd.Conv((128, 56, 56), 128, 3, padding=1, groups=64), batch=8)
    yield _beside_torch(batch=8)


def _without_matrix(dtype: str, limit: float, batch: int) -> Iterator[Figure]:
    A, operator, x = _both(BASE, dtype, batch)
    forward = paired(lambda: A @ x, lambda: operator @ x)
    yield speedup("operator", f"64 -> 64, 56x56, {dtype}", "the CSR product", forward, limit)
    dy = np.random.default_rng(2).normal(size=(batch, *BASE.out_shape)).astype(dtype)
    ties, samples = cd.tie(BASE), np.ascontiguousarray(x.T).reshape(batch, *BASE.in_shape)
    gradient = paired(lambda: ties.gradient(samples, dy), lambda: operator @ x)
    yield ratio("operator", f"gradient, {dtype}", "the operator's forward", gradient, 3)
    extra = peak_mb(lambda: operator @ x) - A.shape[0] * batch * x.itemsize / MB
    yield Figure("operator", f"forward, {dtype}: temporaries", "", extra, "MB", 64)
    extra = peak_mb(lambda: ties.gradient(samples, dy))
    yield Figure("operator", f"gradient, {dtype}: temporaries and result", "", extra, "MB", 64)


def _few_channels(layer: cd.Conv, batch: int) -> Figure:
    A, operator, x = _both(layer, "float32", batch)
    times = paired(lambda: operator @ x, lambda: A @ x)
    return ratio("operator", f"{layer!r}", "the CSR product", times, 2)


def _both(layer: Any, dtype: str, batch: int) -> tuple[sp.csr_array, Any, np.ndarray]:
    """Return the stored matrix, the operator, and columns for both, on which they agree."""
    ties, w = cd.tie(layer), weights(layer, dtype)
    A, operator = ties.matrix(w), ties.operator(w)
    x = np.random.default_rng(1).integers(-4, 5, (A.shape[1], batch)).astype(dtype)
    assert np.array_equal(A @ x, operator @ x)
    return A, operator, x


def _beside_torch(batch: int) -> Figure | Skipped:
    if importlib.util.find_spec("torch") is None:
        return Skipped("operator", "torch is not installed: pip install torch")
    import torch

    operator = cd.tie(BASE).operator(weights(BASE, "float32"))
    x = np.random.default_rng(1).normal(size=(operator.shape[1], batch)).astype("float32")
    samples = torch.from_numpy(np.ascontiguousarray(x.T).reshape(batch, *BASE.in_shape))
    kernel = torch.from_numpy(weights(BASE, "float32"))
    times = paired(
        lambda: operator @ x, lambda: torch.nn.functional.conv2d(samples, kernel, padding=1)
    )
    return ratio(
        "operator",
        "64 -> 64, 56x56, float32",
        f"torch.conv2d, {torch.get_num_threads()} threads",
        times,
        4,
    )


def argmax_pool(x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Max pooling 2x2, stride 2, forward and backward, as people write it in NumPy.

    ``x`` is (batch, channels, rows, columns).
    """
    n, c, h, w = x.shape
    tiles = (
        x.reshape(n, c, h // 2, 2, w // 2, 2)
        .transpose(0, 1, 2, 4, 3, 5)
        .reshape(n, c, h // 2, w // 2, 4)
    )
    winner = tiles.argmax(axis=-1)[..., None]
    y = np.take_along_axis(tiles, winner, axis=-1)[..., 0]
    dtiles = np.zeros_like(tiles)
    np.put_along_axis(dtiles, winner, dy[..., None], axis=-1)
    return y, dtiles.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(
        x.shape
    )


def pooling() -> Iterator[Figure]:
    """Max pooling as a network of dense layers and |x|."""
    pool, rng = cd.MaxPool((64, 112, 112), kernel=2), np.random.default_rng(0)
    x = rng.integers(-9, 9, (1, *pool.in_shape)).astype(float)
    dy = rng.integers(-9, 9, (1, *pool.out_shape)).astype(float)
    layer = cd.dense_pool(pool)

    def network() -> tuple[np.ndarray, np.ndarray]:
        return layer.forward(x), layer.backward(x, dy)

    assert all(np.array_equal(a, b) for a, b in zip(network(), argmax_pool(x, dy), strict=True))
    times = paired(network, lambda: argmax_pool(x, dy))
    yield ratio(
        "pooling", "max 2x2, 64x112x112, forward and backward", "argmax in NumPy", times, 1.0
    )
    stored = sum(
        size_of(step.matrix("float64")) for step in layer.layers if isinstance(step, Fixed)
    )
    yield Figure("pooling", "its matrices", "the input", stored / x.nbytes, "x", 8)
    yield Figure(
        "pooling", "its other memory", "the input", peak_mb(network) * MB / x.nbytes, "x", 12
    )


def lenet() -> cd.Network:
    """The network of examples/05_training.py."""
    return cd.network(
        *(cd.Conv((1, 8, 8), 16, 3, padding=1), cd.ReLU(), cd.MaxPool((16, 8, 8), kernel=2)),
        *(
            cd.Conv((16, 4, 4), 32, 3, padding=1),
            cd.ReLU(),
            cd.AvgPool((32, 4, 4), kernel=2),
            cd.Flatten(),
        ),
        cd.Linear(128, 10),
        seed=0,
    )


def training() -> Iterator[Figure]:
    """One training step of a LeNet, batch 64.

    Forward, loss, backward, a step of SGD, and the new matrices.
    """
    rng = np.random.default_rng(0)
    x, labels = rng.uniform(size=(64, 1, 8, 8)), rng.integers(0, 10, 64)

    def step(net: cd.Network) -> cd.Network:
        *_, last = train(net, x, labels, epochs=1, batch=64)
        return last.network

    net = lenet()
    direct = net.direct()
    assert cd.certify(net, seed=0).exact
    times = paired(lambda: step(net), lambda: step(direct))
    yield ratio(
        "training", "LeNet, a step of 64 digits, as dense layers", "the direct form", times, 1.2
    )


# The distinct convolution layers of ResNet-50 at 224 x 224: channels, cells, output channels,
# kernel, stride, padding
RESNET_50 = (
    *((3, 224, 64, 7, 2, 3), (64, 56, 64, 1, 1, 0), (64, 56, 64, 3, 1, 1), (64, 56, 256, 1, 1, 0)),
    *(
        (256, 56, 64, 1, 1, 0),
        (256, 56, 128, 1, 1, 0),
        (128, 56, 128, 3, 2, 1),
        (256, 56, 512, 1, 2, 0),
    ),
    *(
        (128, 28, 512, 1, 1, 0),
        (512, 28, 128, 1, 1, 0),
        (128, 28, 128, 3, 1, 1),
        (512, 28, 256, 1, 1, 0),
    ),
    *(
        (256, 28, 256, 3, 2, 1),
        (512, 28, 1024, 1, 2, 0),
        (256, 14, 1024, 1, 1, 0),
        (1024, 14, 256, 1, 1, 0),
    ),
    *(
        (256, 14, 256, 3, 1, 1),
        (1024, 14, 512, 1, 1, 0),
        (512, 14, 512, 3, 2, 1),
        (1024, 14, 2048, 1, 2, 0),
    ),
    *((512, 7, 2048, 1, 1, 0), (2048, 7, 512, 1, 1, 0), (512, 7, 512, 3, 1, 1)),
)
SMALL = cd.Conv((16, 32, 32), 16, kernel=3, padding=1)


def certifying() -> Iterator[Figure | Skipped]:
    """A certificate to 2**-64 in float64, and a diagnosis in which nothing fits."""
    own = typical(lambda: cd.certify(SMALL))
    yield Figure("certify", "3x3, 16 -> 16, 32x32: its own dense layer", "", own, "s", 0.3)
    tiny, mine = cd.Conv((2, 7, 8), 3, kernel=3, stride=2, padding=1), Unlike()
    assert not cd.diagnose(tiny, mine)["y"].sentence
    took = typical(lambda: cd.diagnose(tiny, mine))
    yield Figure("certify", "a diagnosis of 3x3, 2 -> 3, 7x8: nothing fits", "", took, "s", 2)
    if importlib.util.find_spec("torch") is None:
        yield Skipped("certify", "torch is not installed: pip install torch")
        return
    ours, theirs = [], []
    for numbers in tqdm(RESNET_50, desc="ResNet-50", disable=None, leave=False):
        times, trials = _beside_autograd(*numbers)
        ours.append(times.ours)
        theirs.append(trials * times.theirs)
    what = f"to 2^-64, the {len(RESNET_50)} layers of ResNet-50 together"
    yield Figure(
        "certify",
        what,
        "trials x torch",
        sum(ours) / sum(theirs),
        "x",
        8,
        "at most",
        sum(ours),
        sum(theirs),
    )
    each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    yield Figure("certify", "the same, the median layer", "trials x torch", median(each), "x", 8)
    yield Figure("certify", "the same, the worst layer", "trials x torch", each[-1], "x", 16)
    mine = _functional(BASE)
    yield Figure(
        "certify", "64 -> 64, 56x56: memory", "", peak_mb(lambda: cd.certify(BASE, mine)), "MB", 150
    )


class Unlike:
    """What no known mistake explains: squares."""

    def forward(self, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = cd.convolve(cd.Conv(x.shape[1:], len(w), kernel=3, stride=2, padding=1), x, w, b)
        return y + y**2

    def backward(self, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, ...]:
        conv = cd.Conv(x.shape[1:], len(w), kernel=3, stride=2, padding=1)
        return tuple(g + g**2 for g in cd.convolve_backward(conv, x, w, dy))


def _functional(conv: cd.Conv) -> Any:
    """Return torch's function for a convolution as an implementation."""
    import torch

    from convdense.adapters.torch import implementation

    (stride, _), ((padding, _), _) = conv.stride, conv.padding
    return implementation(lambda x, w, b: torch.nn.functional.conv2d(x, w, b, stride, padding))


def _beside_autograd(
    c: int, n: int, o: int, kernel: int, stride: int, padding: int
) -> tuple["Times", int]:
    """Return a certificate's time beside torch's own at its batch, and its trials.

    Torch runs forward and backward once.
    """
    import torch

    conv = cd.Conv((c, n, n), o, kernel=kernel, stride=stride, padding=padding)
    mine, rng = _functional(conv), np.random.default_rng(0)
    certificate = cd.certify(conv, mine, seed=0).require()
    shapes = (2, *conv.in_shape), conv.weight_shape, conv.bias_shape, (2, *conv.out_shape)
    *operands, dy = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)

    def autograd() -> None:
        leaves = [operand.clone().requires_grad_() for operand in operands]
        torch.nn.functional.conv2d(*leaves, stride, padding).backward(dy)

    return paired(lambda: cd.certify(conv, mine, seed=0), autograd), certificate.trials


def diagnosing() -> Iterator[Figure]:
    """How long a mistake takes to be named, or found unknown, with code of one fixed shape."""
    large = cd.Conv((64, 56, 56), 64, 3, padding=1)
    for layer, known, limit in (
        (large, True, 15.0),
        (cd.Conv((3, 32, 32), 8, 3), False, 5.0),
        (cd.Conv((16, 32, 32), 16, 3), False, 5.0),
        (cd.Conv((2, 6, 5), 3, 3), True, 0.5),
    ):
        begin = perf_counter()
        found = cd.diagnose(layer, _wrong_code(layer, known=known), seed=1)
        took = perf_counter() - begin
        assert ("reversed on axis 1" in found["dw"].sentence) == known
        what = "one axis of the kernel reversed" if known else "an unknown mistake"
        yield Figure("diagnose", f"{what}, {layer.in_shape}", "", took, "s", limit)


def _wrong_code(layer: cd.Conv, *, known: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return code whose dw is wrong, in a way that diagnose knows or in one that it does not."""

    def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> Any:
        return cd.convolve(layer, x, w, b)

    def backward(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> Any:
        dx, dw, db = cd.convolve_backward(layer, x, w, dy)
        unknown = dw + np.sort(dw, axis=None).reshape(dw.shape)
        return dx, dw[..., ::-1] if known else unknown, db

    return forward, backward


def importing() -> Iterator[Figure]:
    """The price of ``import convdense``."""
    code = (
        "from time import perf_counter as t; import scipy.sparse; start = t(); import convdense; "
        "print(t() - start)"
    )
    times = [
        float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(REPEATS + 1)
    ][1:]
    yield Figure(
        "import", "import convdense", "after import scipy.sparse", median(times) * 1e3, "ms", 100
    )


DENSITY = """
import re
from io import BytesIO
from pathlib import Path
from time import perf_counter, sleep
import convdense as cd
from convdense._util.threads import cores
start = perf_counter()
from convdense.plots import density
density(cd.Conv((64, 56, 56), 64, 3, padding=1)).savefig(BytesIO())
seconds = perf_counter() - start
# ru_maxrss would remember the parent's
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(seconds, int(peak) * 1024 / 1e6)
"""


def drawing() -> Iterator[Figure | Skipped]:
    """Pictures and pages: how soon, and how large."""
    from convdense.explorer import explore
    from convdense.plots import animate, matrix

    if Path("/proc/self/status").exists():
        runs = [
            [float(n) for n in subprocess.check_output([sys.executable, "-c", DENSITY]).split()]
            for _ in range(5)
        ]
        what = "density of 64 -> 64, 56x56, matplotlib imported, drawn and saved"
        yield Figure("drawing", what, "", median(s for s, _ in runs), "s", 3)
        yield Figure(
            "drawing",
            "the same: peak memory of the process",
            "",
            max(mb for _, mb in runs),
            "MB",
            1000,
        )
    else:
        yield Skipped(
            "drawing", "density in a process of its own: its peak memory is read from Linux's /proc"
        )
    conv = cd.Conv((1, 10, 10), 1, kernel=3)
    shown = typical(lambda: matrix(conv).figure.savefig(BytesIO()))
    yield Figure("drawing", "matrix of 64 x 100, drawn and saved", "", shown, "s", 1)
    small = cd.Conv((1, 5, 5), 1, kernel=3)
    yield Figure(
        "drawing", "moving picture, 3x3 on 5x5", "", len(animate(small).gif) / 1e3, "kB", 200
    )
    yield Figure(
        "drawing", "page, 3x3 on 5x5", "", len(explore(small).html.encode()) / 1e3, "kB", 40
    )
    yield from _in_a_browser()


def _in_a_browser() -> Iterator[Figure | Skipped]:
    if importlib.util.find_spec("playwright") is None or BROWSER is None:
        yield Skipped("drawing", "the page in a browser: playwright or Chromium is not installed")
        return
    from playwright.sync_api import sync_playwright

    from convdense.explorer import explore

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as tools:
        path = explore(cd.Conv((1, 28, 28), 1, kernel=3)).save(Path(folder, "page.html"))
        browser = tools.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        load, hover = page_times(browser.new_page(), path.as_uri())
        browser.close()
    yield Figure("drawing", "page, 3x3 on 28x28: load", "", load, "ms", 1000)
    yield Figure("drawing", "page, 3x3 on 28x28: answer to a hover", "", hover, "ms", 30)


def page_times(page: Any, url: str) -> tuple[float, float]:
    """Return how many milliseconds a page takes to load and to answer when pointed at.

    Styles and layout are included.
    """
    loads = []
    for _ in range(3):
        page.goto(url)
        loads.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    return median(loads), median(page.evaluate(HOVER))


HOVER = """() => {
  const svg = document.getElementById("matrix");
  const cells = [...document.getElementById("cells").children];
  const times = [];
  for (let n = 0; n < 60; n++) {
    const box = cells[Math.floor((cells.length * n) / 60)].getBoundingClientRect();
    const middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
    const start = performance.now();
    svg.dispatchEvent(new PointerEvent("pointermove", { ...middle, bubbles: true }));
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times;
}"""


def busy() -> Iterator[Figure | Skipped]:
    """What takes how long while as many processes spin as there are cores.

    Beside its own time alone, held to one thread; a fair share of two cores would be 1.5 times it.
    """
    for part, what, function in worked_on():
        with threadpool_limits(1):
            alone = typical(function)
        with spinning():
            shared = typical(function)
        times = Times(shared, alone, shared / alone)
        yield ratio("busy", f"{part}: {what}", "alone, one thread", times, 2.2)


@contextmanager
def spinning() -> Iterator[None]:
    """Keep every core busy with another process."""
    code = "while True: sum(range(10_000))"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(cores())]
    sleep(0.2)  # until they have started
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def worked_on() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield (part, what, function): the work of the parts operator, training, pooling, certify."""
    for layer, dtype, batch in (
        (BASE, "float32", 8),
        (cd.Conv((1, 512, 512), 1, 5, padding=2), "float64", 1),
        (cd.Conv((3, 64, 64), 8, 3, padding=1), "float32", 64),
    ):
        ties, rng = cd.tie(layer), np.random.default_rng(0)
        A = ties.operator(weights(layer, dtype))
        x, y = (rng.normal(size=(n, batch)).astype(dtype) for n in A.shape[::-1])
        yield "operator", f"{layer!r}, batch {batch}", partial(A.matmat, x)
        yield "operator", f"{layer!r}, batch {batch}, adjoint", partial(A.rmatmat, y)
        samples = x.T.reshape(batch, *ties.in_shape), y.T.reshape(batch, *ties.out_shape)
        yield "operator", f"{layer!r}, batch {batch}, gradient", partial(ties.gradient, *samples)
    rng, net = np.random.default_rng(0), lenet()
    digits, labels = rng.uniform(size=(64, 1, 8, 8)), rng.integers(0, 10, 64)
    for form, what in ((net, "as dense layers"), (net.direct(), "the direct form")):
        step = partial(lambda form: [*train(form, digits, labels, epochs=1, batch=64)], form)
        yield "training", f"LeNet, a step of 64 digits, {what}", step
    pool = cd.MaxPool((64, 112, 112), kernel=2)
    x, dy = (rng.normal(size=(1, *shape)) for shape in (pool.in_shape, pool.out_shape))
    layer = cd.dense_pool(pool)
    yield "pooling", "max 2x2, 64x112x112", lambda: (layer.forward(x), layer.backward(x, dy))
    yield "certify", "3x3, 16 -> 16, 32x32: its own dense layer", partial(cd.certify, SMALL)
    if importlib.util.find_spec("torch") is not None:
        mine = _functional(BASE)
        yield "certify", "64 -> 64, 56x56: torch's", partial(cd.certify, BASE, mine)


def ways() -> Iterator[Figure]:
    """Whether the operator takes the better way: gathered inputs, or the stored matrix."""
    worst = []
    for case in tqdm(range(CASES), desc="geometries", disable=None, leave=False):
        layer, dtype = any_layer(np.random.default_rng(case))
        ratios = list(_beside_the_other_way(layer, dtype))
        worst.append(max(ratios))
        print(f"{worst[-1]:5.2f}  {dtype} {layer!r}", file=sys.stderr)
    good = sum(of_case <= 1.2 for of_case in worst)
    what = f"of {CASES} geometries at most 1.2 times the better of both ways"
    yield Figure("ways", what, "", good, "", 57, "at least")
    yield Figure("ways", "the worst of them", "the better of both", max(worst), "x", 1.5)


def any_layer(rng: np.random.Generator) -> tuple[Any, str]:
    """Draw a layer whose matrix fits 2 GB, and the dtype of its weights."""
    while True:
        axes = int(rng.integers(1, 4))
        cells = [int(2 ** rng.uniform(4, (9, 9, 6)[axes - 1])) for _ in range(axes)]
        kernel = [int(2 ** rng.uniform(0, np.log2(min(31, n)) + 0.01)) for n in cells]
        into, out = (int(2 ** rng.uniform(0, 8.01)) for _ in range(2))
        options: dict[str, Any] = {"kernel": kernel, "stride": int(rng.choice([1, 1, 1, 2, 3]))}
        options["dilation"] = int(rng.choice([1, 1, 1, 2]))
        kind = str(rng.choice(["plain", "plain", "groups", "depthwise", "transposed", "mirrored"]))
        if kind == "groups":
            options["groups"] = groups = int(rng.choice([2, 4, 8]))
            into, out = (max(1, n // groups) * groups for n in (into, out))
        if kind == "depthwise":
            options["groups"], out = into, into
        dtype = str(rng.choice(["float32", "float64", "complex64"]))
        made = cd.ConvTranspose if kind == "transposed" else cd.Conv
        if kind == "mirrored":
            options["padding_mode"] = str(rng.choice(["reflect", "replicate", "circular"]))
        try:
            layer = made((into, *cells), out, padding=[k // 2 for k in kernel], **options)
        except ValueError:  # a window larger than the input, more padding than there is to mirror
            continue
        entries = cd.tie(layer).n_entries
        if 1000 < entries < 2e9 / (np.dtype(dtype).itemsize + 4):
            return layer, dtype


def _beside_the_other_way(layer: Any, dtype: str) -> Iterator[float]:
    """Yield the operator's time by that of the better way, forward and adjoint, for each batch."""
    ties, w, rng = cd.tie(layer), weights(layer, dtype), np.random.default_rng(0)
    A, chosen = ties.matrix(w), ties.operator(w)
    with patch.object(linear_operator, "STORED_UP_TO", -1):
        free = ties.operator(w)
    for batch in (1, 8, 64):
        if ties.n_entries * batch > 2e9 or max(A.shape) * batch > 1e8:  # tens of seconds
            continue
        x, y = (rng.normal(size=(n, batch)).astype(dtype) for n in A.shape[::-1])
        repeats = 3 if ties.n_entries * batch > 2e8 else 5
        for ours, stored, gathered in (
            (partial(chosen.dot, x), partial(A.dot, x), partial(free.dot, x)),
            (partial(chosen.rmatmat, y), partial(A.T.dot, y), partial(free.rmatmat, y)),
        ):
            by_matrix, by_gathering = (paired(ours, way, repeats) for way in (stored, gathered))
            yield max(by_matrix.ratio, by_gathering.ratio)


PARTS: dict[str, Callable[[], Iterator[Figure | Skipped]]] = {
    "assembly": assembly,
    "pooling": pooling,
    "training": training,
    "operator": products,
    # What imports torch comes last: its threads and those of NumPy's BLAS slow each other
    "today": today,
    "ways": ways,
    "busy": busy,
    "certify": certifying,
    "diagnose": diagnosing,
    "drawing": drawing,
    "import": importing,
}


def line(figure: Figure) -> list[str]:
    """Return the cells of one line of the table."""
    times = [f"{1e3 * s:.3g} ms" if s is not None else "" for s in (figure.ours, figure.theirs)]
    value, limit = f"{figure.value:.3g} {figure.unit}", f"{figure.sense} {figure.limit:g}"
    return [
        figure.part,
        figure.what,
        figure.against,
        *times,
        value,
        limit,
        "yes" if figure.met else "NO",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"PART: got {', '.join(sorted(unknown))}; needs some of {', '.join(PARTS)}")
    found: list[Figure | Skipped] = []
    for part in tqdm(arguments.parts or list(PARTS), disable=None, leave=False):
        found += PARTS[part]()
    figures = [f for f in found if isinstance(f, Figure)]
    for skipped in found:
        if isinstance(skipped, Skipped):
            print(f"{skipped.part}: skipped, {skipped.reason}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([f._asdict() | {"met": f.met} for f in figures]))
    else:
        header = ["part", "what", "against", "ours", "theirs", "value", "limit", "met"]
        print(aligned(header, [line(f) for f in figures]))
    return 0 if all(f.met for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
