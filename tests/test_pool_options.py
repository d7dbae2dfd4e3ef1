"""Pools: wide padding, empty axes, negative divisors, winners' indices, powers, one API."""

import json
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense import AvgPool, LpPool, MaxPool, MinPool, SumPool, certify, check, dense_pool, plots
from convdense.direct import pool as direct_pool
from convdense.direct import pool_loops
from convdense.geometry import layer_from_dict
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import Slope, Value, backward_error, forward_error
from convdense.verdicts.findings import WITHIN, WRONG
from tests.test_pooling import operands, pools

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
adapter = pytest.importorskip("convdense.adapters.torch")


def three_ways(pool):
    """Return forward and backward of the dense layers, the fast direct pool and the loops."""
    dense = dense_pool(pool)
    return (
        (dense.forward, dense.backward),
        (lambda x: direct_pool.forward(pool, x), lambda x, dy: direct_pool.backward(pool, x, dy)),
        (lambda x: pool_loops.forward(pool, x), lambda x, dy: pool_loops.backward(pool, x, dy)),
    )


# Windows without a cell, and axes without one

WIDE = [
    SumPool((2, 3), 2, stride=1, padding=3),
    SumPool((1, 2, 3), (2, 1), stride=1, padding=((3, 0), (1, 2))),
    SumPool((1, 1), 2, dilation=3, padding=((2, 1),)),
    AvgPool((2, 3), 2, padding=((2, 3),)),
    AvgPool((1, 3), 2, padding=3, ceil_mode=True, stride=3),
    AvgPool((1, 2, 2), 2, padding=3, count_include_pad=False, divisor_override=-4),
    LpPool((1, 3), 2, padding=3, p=1),
]
EMPTY = [
    SumPool((2, 0), 2),
    SumPool((1, 0, 3), 2, padding=((2, 1), (0, 0))),
    SumPool((1, 0, 3), output=2),
    AvgPool((1, 0), 2, padding=1),
    AvgPool((1, 0), 2, ceil_mode=True),
    AvgPool((1, 0), output=2, divisor_override=2),
    MaxPool((2, 0, 4), 2),
    MinPool((1, 3, 0), 2, stride=1),
    LpPool((1, 0), 2, padding=2, p=1),
]


@pytest.mark.parametrize("pool", WIDE + EMPTY, ids=repr)
def test_windows_and_axes_without_a_cell_give_zeros_each_way(pool):
    x, dy = (a.astype(float) for a in operands(pool))
    padded = [n + sum(pair) for n, pair in zip(pool.in_spatial, pool.padding, strict=True)]
    found = [(forward(x), backward(x, dy)) for forward, backward in three_ways(pool)]
    for y, dx in found:
        assert y.shape == (2, *pool.out_shape)
        assert dx.shape == x.shape
        assert np.array_equal(y, found[0][0])
        assert np.array_equal(dx, found[0][1])
    if (
        pool.kernel and not pool.ceil_mode
    ):  # by a third way: NumPy pads with what absent cells count
        wide = np.pad(np.abs(x) if isinstance(pool, LpPool) else x, [(0, 0), (0, 0), *pool.padding])
        assert list(wide.shape[2:]) == padded
        for at in np.ndindex(*pool.out_spatial):
            cells = tuple(
                slice(o * s, o * s + d * (k - 1) + 1, d)
                for o, s, k, d in zip(at, pool.stride, pool.kernel, pool.dilation, strict=True)
            )
            total = wide[(..., *cells)].sum(axis=tuple(range(2, wide.ndim)))
            divisor = 1
            if isinstance(pool, AvgPool):
                divisor = pool.divisor_override or np.prod(pool.kernel)
            assert np.array_equal(found[0][0][(..., *at)] * divisor, total)


@pytest.mark.parametrize("pool", WIDE + EMPTY, ids=repr)
def test_pools_with_such_windows_are_certified_checked_and_read_back(pool):
    assert layer_from_dict(json.loads(json.dumps(pool.to_dict()))) == pool
    assert eval(repr(pool), vars(cd)) == pool
    x, dy = (a / 3 for a in operands(pool))
    assert check(pool, x, dy=dy)
    assert certify(pool, seed=0)
    if isinstance(pool, LpPool):
        return
    direct = direct_counterpart(dense_pool(pool))
    assert certify(pool, direct, seed=0)
    if np.prod(pool.out_shape):
        wrong = (lambda x: direct.forward(x) + 1, lambda x, dy: direct.backward(x, dy) - 3)
        assert not certify(pool, wrong, seed=0)
        assert not cd.diagnose(pool, wrong, seed=0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: MaxPool((1, 3), 2, padding=2),
            "padding: got (2, 2); needs less than the window's 2 cells on axis 0; "
            "such a window would hold nothing but padding, and give -infinity",
        ),
        (
            lambda: MinPool((1, 3), 2, padding=2),
            "padding: got (2, 2); needs less than the window's 2 cells on axis 0; "
            "such a window would hold nothing but padding, and give infinity",
        ),
        (
            lambda: AvgPool((1, 3), 2, padding=2, count_include_pad=False),
            "padding: got (2, 2); needs less than the window's 2 cells on axis 0; "
            "such a window would hold nothing but padding, and give 0/0",
        ),
        (
            lambda: MaxPool((1, 1), 2, dilation=3, padding=((2, 1),)),
            "kernel: got 2 with dilation 3, whose window 0 on axis 0 meets no cell of the input; "
            "needs windows with a cell in each; "
            "pad or dilate less: one without a cell gives -infinity",
        ),
        (
            lambda: MaxPool((1, 0), 2, padding=1),
            "kernel: got 2 with dilation 1, whose window 0 on axis 0 meets no cell of the input; "
            "needs windows with a cell in each; "
            "pad or dilate less: one without a cell gives -infinity",
        ),
        (
            lambda: MaxPool((1, 0), output=1),
            "in_shape: got (1, 0); needs a cell on axis 0; a window without a cell gives -infinity",
        ),
        (
            lambda: AvgPool((1, 2, 0), output=1),
            "in_shape: got (1, 2, 0); needs a cell on axis 1; a window without a cell gives 0/0",
        ),
        (
            lambda: SumPool((0, 3), 2),
            "in_shape: got 0; needs an integer of at least 1",
        ),
        (
            lambda: AvgPool((1, 4), 2, divisor_override=0),
            "divisor_override: got 0; needs an integer other than 0",
        ),
        (
            lambda: AvgPool((1, 4), 2, divisor_override=1.5),
            "divisor_override: got 1.5; needs an integer other than 0",
        ),
        (
            lambda: AvgPool((1, 4), 2, divisor_override=True),
            "divisor_override: got True; needs an integer other than 0",
        ),
        (
            lambda: LpPool((1, 4), 2, p=float("inf")),
            "p: got inf; needs a finite number of at least 1; the limit p = inf is max |x|",
        ),
        (
            lambda: dense_pool(MaxPool((1, 4), 2), tie_break="split").indices([[1, 2, 3, 4]]),
            "tie_break: got 'split'; needs \"first\": where several cells are largest, "
            "none of them wins",
        ),
        (
            lambda: direct_counterpart(dense_pool(SumPool((1, 4), 2))).indices([[1, 2, 3, 4]]),
            "pool: got SumPool((1, 4), kernel=2); "
            "needs a MaxPool or a MinPool, whose windows one cell wins",
        ),
        (
            lambda: dense_pool(MaxPool((1, 4), 2)).matrix(),
            "layer: got Tournament(MaxPool((1, 4), kernel=2)); needs a sum or an average: "
            "this one is no single matrix; look at the .layers of what cd.dense_pool returns",
        ),
        (
            lambda: dense_pool(LpPool((1, 4), 2, p=2)).matrix("float32"),
            "layer: got PowerAverage(LpPool((1, 4), kernel=2, p=2)); needs a sum or an average: "
            "this one is no single matrix; look at the .layers of what cd.dense_pool returns",
        ),
    ],
)
def test_what_has_no_answer_is_refused_with_the_reason(make, text):
    with pytest.raises((TypeError, ValueError)) as refusal:
        make()
    assert str(refusal.value) == text


# The largest kernel


def made(kind, n, k, **options):
    try:
        return kind((1, n), k, **options), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", [SumPool, MaxPool])
def test_the_largest_window_that_a_message_names_is_accepted_and_one_more_is_refused(kind):
    """A dilated window of a MaxPool may be refused for another reason: it meets no cell."""
    named = 0
    for n, stride, begin, end, dilation, ceil_mode in product(
        (1, 2, 3, 4), (1, 2, 3), (0, 1), (0, 1), (1, 2), (False, True)
    ):
        options = {"stride": stride, "padding": ((begin, end),), "dilation": dilation}
        options["ceil_mode"] = ceil_mode
        refused = [made(kind, n, k, **options)[1] for k in range(1, 12)]
        said = {int(m) for text in refused for m in re.findall(r"a window of at most (\d+)", text)}
        assert len(said) == 1
        most = said.pop()
        k = (most - 1) // dilation + 1
        pool, text = made(kind, n, k, **options)
        empty = "meets no cell" in text or "nothing but padding" in text
        assert pool is not None or (kind is MaxPool and dilation > 1 and empty)
        assert f"a window of at most {most} cells" in made(kind, n, k + 1, **options)[1]
        named += 1
    assert named == 192


def test_the_message_says_what_ceil_mode_adds():
    _, text = made(AvgPool, 3, 7, stride=3, ceil_mode=True)
    assert text == (
        "kernel: got 7 with dilation 1; needs a window of at most 5 cells on axis 0: "
        "3, padding (0, 0) and 2 past the end; use a smaller kernel"
    )
    x = torch.arange(3.0)[None, None]
    y = torch.nn.functional.avg_pool1d(x, 5, 3, ceil_mode=True).numpy()
    assert np.array_equal(
        direct_pool.forward(made(AvgPool, 3, 5, stride=3, ceil_mode=True)[0], x), y
    )


# Negative divisors


def test_a_negative_divisor_as_in_pytorch():
    pool = AvgPool((2, 5, 6), (3, 2), stride=(1, 2), divisor_override=-2)
    x, dy = (a.astype(float) for a in operands(pool))
    tensor = torch.from_numpy(x).requires_grad_()
    y = torch.nn.functional.avg_pool2d(tensor, (3, 2), (1, 2), divisor_override=-2)
    y.backward(torch.from_numpy(dy))
    for forward, backward in three_ways(pool):
        assert np.array_equal(forward(x), y.detach().numpy())
        assert np.array_equal(backward(x, dy), tensor.grad.numpy())
    module = torch.nn.AvgPool2d((3, 2), (1, 2), divisor_override=-2)
    assert adapter.certify_module(module, (2, 5, 6), seed=0)
    rng = np.random.default_rng(0)
    report = check(pool, rng.normal(size=x.shape), dy=rng.normal(size=dy.shape))
    assert report
    assert {f.name: f.share <= 1 for f in report.findings} == dict.fromkeys(
        ("y", "dx", "layers"), True
    )
    mine = direct_counterpart(dense_pool(pool))
    assert check(pool, rng.normal(size=x.shape), dy=rng.normal(size=dy.shape), implementation=mine)
    ulp = 1 + 2.0**-52  # rounded otherwise: within the bounds of y and dx
    near = (lambda x: mine.forward(x) * ulp, lambda x, dy: mine.backward(x, dy) * ulp)
    report = check(
        pool, rng.normal(size=x.shape), dy=rng.normal(size=dy.shape), implementation=near
    )
    assert [finding.verdict for finding in report.findings] == [WITHIN, WITHIN]
    dense = dense_pool(pool)
    value = forward_error(dense, Value(x, 0 * x))
    slope, _ = backward_error(dense, Value(x, 0 * x), Slope(dy, 0 * dy, dy > 99))
    assert (value.error[value.value != 0] > 0).all()
    assert (slope.error[slope.value != 0] > 0).all()
    off = (lambda x: mine.forward(x) * (1 + 1e-9), lambda x, dy: mine.backward(x, dy) * (1 + 1e-9))
    report = check(pool, rng.normal(size=x.shape), dy=rng.normal(size=dy.shape), implementation=off)
    assert [finding.verdict for finding in report.findings] == [WRONG, WRONG]


# Indices


@given(pools((MaxPool, MinPool)), st.sampled_from(["int64", "float32", "float64"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_indices_travel_with_the_winners_and_argmax_finds_the_same(pool, dtype):
    x, _ = operands(pool, largest=2)
    x = x.astype(dtype)
    if dtype != "int64":  # of many sizes: here the tournament's own y is rounded
        rng = np.random.default_rng(1)
        x = (x * 10.0 ** rng.integers(-12, 13, x.shape) + rng.normal(size=x.shape)).astype(dtype)
    dense = dense_pool(pool)
    places = dense.indices(x)
    assert places.dtype == np.int64
    assert np.array_equal(places, direct_counterpart(dense).indices(x))
    planes = x.reshape(*x.shape[:2], -1)
    flat = places.reshape(*x.shape[:2], -1)
    y = np.take_along_axis(planes, flat, axis=2).reshape(places.shape)
    assert np.array_equal(y, pool_loops.forward(pool, x))


def test_indices_of_one_sample_of_none_and_of_windows_of_one_cell():
    dense = dense_pool(MaxPool((2, 4), 2))
    x = np.array([[1, 3, 2, 2], [5, 5, 0, 9]])
    assert dense.indices(x).tolist() == [[1, 2], [0, 3]]  # each in its channel's own plane
    assert dense.indices(np.zeros((0, 2, 4))).shape == (0, 2, 2)
    assert dense_pool(MinPool((1, 4), 1, stride=2)).indices([[9, 1, 8, 2]]).tolist() == [[0, 2]]
    assert dense_pool(MaxPool((1, 2, 0), 2)).indices(np.zeros((3, 1, 2, 0))).shape == (3, 1, 1, 0)
    # the half sum of the first two is 0 in float32: rounded winners would let the third win
    hidden = np.array([[-1e8, 1, 0.5]], np.float32)
    assert dense_pool(MaxPool((1, 3), 3)).indices(hidden).tolist() == [[1]]


@pytest.mark.parametrize("seed", range(12))
def test_indices_as_pytorch_returns_them(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, padding = (
        int(rng.integers(2, 4)),
        int(rng.integers(1, 4)),
        int(rng.integers(2)),
    )
    ceil_mode, n_axes = bool(rng.integers(2)), int(rng.integers(1, 4))
    shape = (2, *rng.integers(4, 7, n_axes).tolist())
    pool = MaxPool(shape, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    x = rng.integers(-2, 3, (2, *shape)).astype(float)
    pooled = getattr(torch.nn.functional, f"max_pool{n_axes}d")
    _, places = pooled(
        torch.from_numpy(x), kernel, stride, padding, ceil_mode=ceil_mode, return_indices=True
    )
    assert np.array_equal(dense_pool(pool).indices(x), places.numpy())


class LastOfSeveral(torch.nn.MaxPool2d):
    """The index of the last of several largest cells; y is right."""

    def forward(self, x):
        y, places = super().forward(x.flip(-2, -1))
        rows, columns = places // x.shape[-1], places % x.shape[-1]
        turned = (x.shape[-2] - 1 - rows) * x.shape[-1] + x.shape[-1] - 1 - columns
        return y.flip(-2, -1), turned.flip(-2, -1)


def test_a_module_that_returns_indices_is_judged_by_them_too():
    options = {"kernel_size": 2, "return_indices": True}
    right = torch.nn.MaxPool2d(**options)
    assert adapter.certify_module(right, (2, 4, 6), seed=0)
    assert adapter.certify_module(right, (2, 4, 6), seed=0, dtype="bfloat16")
    assert adapter.certify_module(
        torch.nn.AdaptiveMaxPool1d(3, return_indices=True), (2, 7), seed=0
    )
    wrong = adapter.certify_module(LastOfSeveral(**options), (2, 4, 6), seed=0)
    assert not wrong
    assert "ValueError: indices: got " in str(wrong)
    assert "the first of the largest cells of its window" in str(wrong)
    model = torch.nn.Sequential(LastOfSeveral(**options))
    report = adapter.certify_model(model, torch.zeros(1, 2, 4, 6))
    assert not report
    assert list(report.failed) == ["0"]


# Power averages of any size

SIZES = np.array([[1e-120, 1e-120, 1e120, -1e120, 0, 0, 5e-324, 5e-324, 1e-120, 1e120]])


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 64, 65, 1e5])
@pytest.mark.parametrize("way", range(3))
def test_no_power_vanishes_or_overflows_in_any_window(p, way):
    """Two equal cells x give ``2^(1/p) |x|``, and each has slope ``2^(1/p - 1)``."""
    forward, backward = three_ways(LpPool((1, 10), 2, p=p))[way]
    root = 2 ** (1 / p)
    with np.errstate(all="raise", under="ignore"):
        y, dx = forward(SIZES), backward(SIZES, np.ones((1, 5)))
    smallest = np.round(root) * 5e-324
    expected = [1e-120 * root, 1e120 * root, 0, smallest, 1e120]
    assert np.allclose(y, [expected], rtol=1e-14, atol=0)
    slope = root / 2
    tiny = 1.0 if p == 1 else 0.0  # beside 1e120, to a power above 0
    slopes = [slope, slope, slope, -slope, 0, 0, slope, slope, tiny, 1]
    assert np.allclose(dx, [slopes], rtol=1e-15 * (100 + p), atol=1e-100)
    narrow = np.array([[1e-30, 1e-30, 1e30, 1e30]], np.float32)
    forward, backward = three_ways(LpPool((1, 4), 2, p=p))[way]
    y, dx = forward(narrow), backward(narrow, np.ones((1, 2), np.float32))
    assert y.dtype == dx.dtype == np.float32
    assert np.allclose(y, narrow[:, ::2] * root, rtol=1e-5, atol=0)
    assert np.allclose(dx, slope, rtol=1e-7 * (100 + p))


@pytest.mark.parametrize("way", range(3))
def test_small_integers_and_p_1_stay_exact_and_do_not_wrap(way):
    forward, backward = three_ways(LpPool((1, 4), 2, p=2))[way]
    assert forward([[3, 4, 5, 12]]).tolist() == [[5, 13]]
    assert forward(np.array([[-128, 0, 6, 8]], np.int8)).tolist() == [[128, 10]]
    cubes, _ = three_ways(LpPool((1, 4), 2, p=3))[way]
    assert np.allclose(cubes(np.array([[-128, 0, 6, 8]], np.int8)), [[128, 728 ** (1 / 3)]])
    assert backward([[3, -4, 0, 0]], [[5, 5]]).tolist() == [[3, -4, 0, 0]]
    forward, _ = three_ways(LpPool((1, 4), 2, p=1))[way]
    assert forward([[3, -4, 5, 2**40]]).tolist() == [[7, 2**40 + 5]]


def test_pytorchs_convention_is_another_and_said_to_be():
    """A window that runs over is rescaled there, and an odd p keeps signs."""
    pool = LpPool((1, 5), 2, p=2, ceil_mode=True)
    x = np.array([[[3.0, 4, 6, 8, 5]]])
    theirs = adapter.implementation(torch.nn.LPPool1d(2, 2, ceil_mode=True))
    for forward, _ in three_ways(pool):
        assert forward(x).tolist() == [[[5, 10, 5]]]
    assert np.round(theirs.forward(x), 2).tolist() == [[[5, 10, 7.07]]]
    report = check(pool, x, implementation=theirs)
    assert not report
    assert report["y"].verdict == "wrong"
    assert report["y"].at == (0, 0, 2)
    with pytest.raises(TypeError, match=r"PyTorch sums x\^p with the signs that an odd p leaves"):
        adapter.layer_of(torch.nn.LPPool2d(3, 2), (1, 4, 4))


# One API


@pytest.mark.parametrize(
    "pool",
    [
        SumPool((2, 5), 3, stride=1, padding=1),
        AvgPool((2, 5), 3, stride=1, padding=1, count_include_pad=False),
        MaxPool((2, 5), 3, stride=1, padding=1),
        MinPool((2, 5), output=2),
        LpPool((2, 5), 3, stride=1, padding=1, p=3),
    ],
    ids=repr,
)
def test_what_dense_pool_returns_is_its_layers_in_order(pool):
    dense = dense_pool(pool)
    x, dy = (a.astype(float) for a in operands(pool))
    values = [x.reshape(2, -1)]
    for layer in dense.layers:
        shape = getattr(layer, "in_shape", values[-1].shape[1:])
        values.append(layer.forward(values[-1].reshape(2, *shape)).reshape(2, -1))
    assert np.allclose(values[-1].reshape(2, *pool.out_shape), dense.forward(x), rtol=1e-14)
    gradient = dy.reshape(2, -1)
    for layer, before in zip(reversed(dense.layers), reversed(values[:-1]), strict=True):
        shape = getattr(layer, "in_shape", before.shape[1:])
        after = gradient.shape[1:] if not hasattr(layer, "in_shape") else shape
        passed = layer.backward(before.reshape(2, *shape), gradient.reshape(2, *after))
        gradient = passed.reshape(2, -1)
    assert np.allclose(gradient.reshape(x.shape), dense.backward(x, dy), rtol=1e-13)
    if isinstance(pool, (SumPool, AvgPool)):
        matrix = dense.matrix("float64")
        y = (matrix @ x.reshape(2, -1).T).T.reshape(2, *pool.out_shape)
        assert np.allclose(y, dense.forward(x), rtol=1e-14)


def test_a_power_has_its_own_slope():
    power, _, root = dense_pool(LpPool((1, 2), 2, p=3)).layers
    x, dy = np.array([2.0, -2, 0]), np.array([1.0, 1, 1])
    assert power.forward(x).tolist() == [8, 8, 0]
    assert power.backward(x, dy).tolist() == [12, -12, 0]
    assert root.backward(np.array([0.0, 1]), np.ones(2)).tolist() == [0, 1 / 3]


def test_an_empty_pool_is_not_drawn_and_a_negative_divisor_is():
    with pytest.raises(ValueError, match="needs cells to draw: an axis has none"):
        plots.pooling(SumPool((1, 0), 2, padding=2))
    figure = plots.pooling(AvgPool((1, 2), 2, divisor_override=-2), [[3, 5]])
    assert [text.get_text() for text in figure.axes[1].texts] == ["8/-2"]
