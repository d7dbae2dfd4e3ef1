"""Published numbers: typed in below with their source, and a whole folder of them where one is."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.linalg import convolution_matrix

import convdense as cd
from convdense import Conv, ConvTranspose
from convdense.direct import conv_loops, pool_loops


class Published(NamedTuple):
    """One printed example; x and w as printed, without batch and channel axes."""

    source: str
    layer: Conv
    x: Any
    w: Any
    y: Any
    matrix: Any = None

    def arrays(self):
        """Return x, w and y in the layer's shapes."""
        shapes = (self.layer.in_shape, self.layer.weight_shape, self.layer.out_shape)
        return tuple(
            np.reshape(v, shape) for v, shape in zip((self.x, self.w, self.y), shapes, strict=True)
        )


MAGIC_5 = [
    [17, 24, 1, 8, 15],
    [23, 5, 7, 14, 16],
    [4, 6, 13, 20, 22],
    [10, 12, 19, 21, 3],
    [11, 18, 25, 2, 9],
]
# V. Dumoulin, F. Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285,
# figures 1.1 and 1.2
GUIDE_X = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
GUIDE_W = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]

PUBLISHED = [
    Published(
        "MathWorks convmtx2: nine times conv2(ones(3)/9, magic(5))",
        Conv((1, 5, 5), 1, kernel=3, padding="full", flip=True),
        x=MAGIC_5,
        w=np.ones((3, 3), int),
        y=[
            [17, 41, 42, 33, 24, 23, 15],
            [40, 69, 77, 59, 61, 53, 31],
            [44, 79, 100, 98, 116, 95, 53],
            [37, 60, 99, 117, 135, 96, 41],
            [25, 61, 118, 136, 134, 77, 34],
            [21, 51, 95, 97, 79, 35, 12],
            [11, 29, 54, 45, 36, 11, 9],
        ],
    ),
    Published(
        "SciPy convolution_matrix: a=[-1, 4, -2], mode same",
        Conv((1, 5), 1, kernel=3, padding="same", flip=True),
        x=[1, 2, 0, -3, 0.5],
        w=[-1, 4, -2],
        y=[2, 6, -1, -12.5, 8],
        matrix=[
            [4, -1, 0, 0, 0],
            [-2, 4, -1, 0, 0],
            [0, -2, 4, -1, 0],
            [0, 0, -2, 4, -1],
            [0, 0, 0, -2, 4],
        ],
    ),
    Published(
        "Dumoulin & Visin, figure 1.1: no padding, stride 1",
        Conv((1, 5, 5), 1, kernel=3),
        x=GUIDE_X,
        w=GUIDE_W,
        y=[[12, 12, 17], [10, 17, 19], [9, 6, 14]],
    ),
    Published(
        "Dumoulin & Visin, figure 1.2: padding 1, stride 2",
        Conv((1, 5, 5), 1, kernel=3, padding=1, stride=2),
        x=GUIDE_X,
        w=GUIDE_W,
        y=[[6, 17, 3], [8, 17, 13], [6, 4, 4]],
    ),
    Published(
        "Dive into Deep Learning: corr2d and kernel2matrix",
        Conv((1, 3, 3), 1, kernel=2),
        x=[[0, 1, 2], [3, 4, 5], [6, 7, 8]],
        w=[[1, 2], [3, 4]],
        y=[[27, 37], [57, 67]],
        matrix=[
            [1, 2, 0, 3, 4, 0, 0, 0, 0],
            [0, 1, 2, 0, 3, 4, 0, 0, 0],
            [0, 0, 0, 1, 2, 0, 3, 4, 0],
            [0, 0, 0, 0, 1, 2, 0, 3, 4],
        ],
    ),
]
FORWARDS = {
    "tied": lambda layer, x, w: cd.TiedDense(layer, w).forward(x),
    "fast": cd.convolve,
    "loops": conv_loops.forward,
}


@pytest.mark.claim("forward")
@pytest.mark.parametrize("evaluator", FORWARDS)
@pytest.mark.parametrize("example", PUBLISHED, ids=lambda example: example.source)
def test_printed_output(example, evaluator):
    x, w, y = example.arrays()
    assert np.array_equal(FORWARDS[evaluator](example.layer, x, w), y)


WITH_MATRIX = [example for example in PUBLISHED if example.matrix is not None]


@pytest.mark.claim("forward", "toeplitz")
@pytest.mark.parametrize("example", WITH_MATRIX, ids=lambda example: example.source)
def test_printed_matrix(example):
    _, w, _ = example.arrays()
    assert np.array_equal(cd.tie(example.layer).matrix(w).toarray(), example.matrix)


def test_convmtx2_is_49_by_25_with_225_entries():
    """MathWorks convmtx2: T for a 3 x 3 filter and a 5 x 5 image."""
    ties = cd.tie(PUBLISHED[0].layer)
    assert (ties.shape, ties.n_entries, ties.mask().nnz) == ((49, 25), 225, 225)


@pytest.mark.claim("toeplitz")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("mode", "padding"), [("full", "full"), ("valid", "valid"), ("same", "same_lower")]
)
def test_scipys_convolution_matrix(mode, padding, kernel):
    a = np.array([-1, 4, -2, 7, 5])[:kernel]
    layer = Conv(
        (1, 6), 1, kernel, padding=padding, flip=True
    )  # an even kernel: SciPy's "same" pads more in front
    assert np.array_equal(
        cd.tie(layer).matrix(a.reshape(1, 1, -1)).toarray(), convolution_matrix(a, 6, mode)
    )


FOLDER = os.environ.get("CONVDENSE_CASES")
WITHOUT_FOLDER = "CONVDENSE_CASES is not set to a folder of published cases with a load.py"
POOLS = {"avg_pool": cd.AvgPool, "max_pool": cd.MaxPool, "lp_pool": cd.LpPool}
OPERATIONS = {"conv", "conv_transpose", "shape", *POOLS}


def published_cases():
    """Return the folder's cases as parameters, or one that is skipped."""
    if not FOLDER:
        return [pytest.param(None, id="no folder", marks=pytest.mark.skip(reason=WITHOUT_FOLDER))]
    cases = [case for case in reader().iter_published() if case.op in OPERATIONS]
    assert {case.op for case in cases} == OPERATIONS, f"{FOLDER} lacks some of {OPERATIONS}"
    return [pytest.param(case, id=case.id) for case in cases]


def reader():
    """Import load.py of the folder, which is no part of any package."""
    spec = importlib.util.spec_from_file_location(
        "published_cases_reader", Path(FOLDER) / "load.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks up its own module
    spec.loader.exec_module(module)
    return module


def case_layer(case):
    """Return the layer that a case describes; a case of sizes has no arrays and one channel."""
    params = case.params
    options = {name: params[name] for name in ("stride", "dilation", "groups")}
    options["padding"] = tuple(zip(params["pad_begin"], params["pad_end"], strict=True))
    in_shape = (1, *params["input"]) if case.op == "shape" else case.x.shape[1:]
    if case.op == "conv_transpose" or params.get("transposed"):
        out_channels = 1 if case.w is None else case.w.shape[1] * params["groups"]
        options["output_padding"] = params["output_padding"]
        return ConvTranspose(in_shape, out_channels, params["kernel"], **options)
    out_channels = 1 if case.w is None else len(case.w)
    return Conv(
        in_shape, out_channels, params["kernel"], **options, padding_mode=params["padding_mode"]
    )


def pool_layer(case):
    """Return the pool that a case describes."""
    params = {name: value for name, value in case.params.items() if not name.startswith("pad_")}
    padding = tuple(zip(case.params["pad_begin"], case.params["pad_end"], strict=True))
    return POOLS[case.op](case.x.shape[1:], padding=padding, **params)


def pool_results(pool, case):
    """Yield the name of every array a case can publish and what each evaluator makes of it."""
    layer = cd.dense_pool(pool)
    yield "y", layer.forward(case.x)
    yield "y", pool_loops.forward(pool, case.x)
    if case.gy is not None:
        yield "dx", layer.backward(case.x, case.gy)
        yield "dx", pool_loops.backward(pool, case.x, case.gy)


def results(layer, case):
    """Yield the name of every array a case can publish and what each evaluator makes of it."""
    tied = cd.TiedDense(layer, case.w, case.b)
    yield "matrix", tied.matrix.toarray()
    yield "y", tied.forward(case.x)
    yield "y", cd.convolve(layer, case.x, case.w, case.b)
    if case.gy is not None:
        yield from tied.backward(case.x, case.gy)._asdict().items()
        yield from cd.convolve_backward(layer, case.x, case.w, case.gy)._asdict().items()
    if (
        "w_as_published" in case.extra
    ):  # the source prints a true convolution; its own kernel belongs to flip=True
        numbers = {name: value for name, value in layer.to_dict().items() if name != "type"}
        flipped = type(layer)(**{**numbers, "flip": True})
        w = case.extra["w_as_published"].reshape(layer.weight_shape)
        yield "y", cd.TiedDense(flipped, w, case.b).forward(case.x)
        yield "matrix", cd.tie(flipped).matrix(w).toarray()


@pytest.mark.claim("forward")
@pytest.mark.parametrize("case", published_cases())
def test_folder_of_published_cases(case):
    layer = pool_layer(case) if case.op in POOLS else case_layer(case)
    if case.op == "shape":
        assert list(layer.out_spatial) == list(case.params["output"])
        return
    evaluators = pool_results(layer, case) if case.op in POOLS else results(layer, case)
    published = [(name, got) for name, got in evaluators if getattr(case, name) is not None]
    assert published
    for name, got in published:
        case.check(name, got)
