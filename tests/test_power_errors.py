"""The bounds of power averages: true errors of any way to compute them stay below."""

import numpy as np
import pytest

import convdense as cd
from convdense.layers.power_errors import root_error, slope_error

POOLS = [
    cd.LpPool((2, 6, 5), kernel=(2, 3), p=p, stride=1, padding=1) for p in (1, 1.5, 2, 3, 7.3, 80)
]
on_pools = pytest.mark.parametrize("pool", POOLS, ids=lambda pool: f"p={pool.p}")


def naive(pool, x, dy):
    """Return y and dx as written, without a scale: autograd's order of operations."""
    p, (kh, kw) = x.dtype.type(pool.p), pool.kernel
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    tiles = np.lib.stride_tricks.sliding_window_view(wide, (kh, kw), axis=(2, 3))
    with np.errstate(all="ignore"):
        total = (np.abs(tiles) ** p).sum(axis=(-2, -1))
        y = total ** (1 / p)
        root_slope = np.where(total == 0, 0, total ** (1 / p - 1)) * dy
        slopes = np.sign(tiles) * np.abs(tiles) ** (p - 1) * root_slope[..., None, None]
    dx = np.zeros_like(wide)
    for i in range(kh):
        for j in range(kw):
            h, v = y.shape[2:]
            dx[:, :, i : i + h, j : j + v] += slopes[..., i, j]
    return y, dx[:, :, 1:-1, 1:-1]


def exact(pool, x, dy):
    """Return both with extended precision, by the same formula scaled."""
    wide = x.astype(np.longdouble)
    size = max(float(np.abs(x).max()), 1e-300)
    y, dx = naive(pool, wide / size, dy.astype(np.longdouble))
    return y * size, dx


def operands(pool, dtype, scale=1.0):
    rng = np.random.default_rng(0)
    x = scale * rng.normal(size=(3, *pool.in_shape)) * 10 ** rng.uniform(-2, 1)
    x[0, 0] = 0  # windows of zeros
    return x.astype(dtype), rng.normal(size=(3, *pool.out_shape)).astype(dtype)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_pools
def test_true_errors_stay_below_the_bound_and_not_far(pool, dtype, scale):
    x, dy = operands(pool, dtype, scale)
    y_error, dx_error = root_error(pool, x, dtype), slope_error(pool, x, dy, dtype)
    right_y, right_dx = exact(pool, x, dy)
    layer = cd.dense_pool(pool)
    scaled = layer.forward(x), layer.backward(x, dy)
    for y, dx in (naive(pool, x, dy), scaled):
        known = np.isfinite(y_error)
        assert (np.abs(y - right_y) <= y_error)[known].all()
        assert (np.abs(dx - right_dx) <= dx_error)[np.isfinite(dx_error)].all()
    if pool.p <= 3:
        assert np.isfinite(y_error).all()
        u = np.finfo(dtype).eps / 2
        assert (y_error <= 60 * u * right_y).all()
        assert (y_error[right_y == 0] == 0).all()


@on_pools
def test_check_decides_both_ways(pool):
    x, dy = operands(pool, "float64")
    backward = lambda x, dy: naive(pool, x, dy)[1]  # noqa: E731  (one line)
    zero_y = np.zeros((3, *pool.out_shape))
    mine = (lambda x: naive(pool, x, zero_y)[0]), backward
    if pool.p < 80:
        assert cd.check(pool, x, dy=dy, implementation=mine).require()
    assert cd.check(pool, x, dy=dy)  # the dense form, scaled
    lost = (lambda x: np.where(mine[0](x) == 0, np.nan, mine[0](x))), backward
    report = cd.check(pool, x, dy=dy, implementation=lost)
    assert (report["y"].verdict, report["y"].got) == ("wrong", "nan")
    signed = mine[0], lambda x, dy: -backward(x, dy)
    assert cd.check(pool, x, dy=dy, implementation=signed)["dx"].verdict == "wrong"


def test_a_network_with_a_power_average_is_decided():
    net = cd.network(cd.Conv((1, 6, 6), 2, 3), cd.ReLU(), cd.LpPool((2, 4, 4), 2, p=2), seed=0)
    rng = np.random.default_rng(0)
    report = cd.check(net, rng.normal(size=(2, 1, 6, 6)))
    assert report, str(report)
