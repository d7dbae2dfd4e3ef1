"""Long sums in float32 are cut into blocks: still products with the stored matrix, and accurate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense.layers import blocked_sums
from convdense.layers.blocked_sums import adjoint_product, longest_column, product
from convdense.layers.dense_form import back_through, dense_steps
from convdense.layers.direct_form import direct_counterpart
from tests.strategies import integers_for, layers, seeds

CHANNELS = 11_111


def worst(found, wanted):
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("few", [0, blocked_sums.FEW])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_many_channels_are_as_accurate_as_direct_convolution(dtype, few, monkeypatch):
    monkeypatch.setattr(blocked_sums, "FEW", few)
    monkeypatch.setattr(blocked_sums, "PART", 1024)
    rng = np.random.default_rng(0)
    for conv in (cd.Conv((CHANNELS, 2, 2), 2, 2), cd.Conv((2, 2, 2), CHANNELS, 2)):
        shapes = conv.weight_shape, (3, *conv.in_shape), (3, *conv.out_shape)
        w, x, dy = (rng.uniform(0.5, 1, shape).astype(dtype) for shape in shapes)
        wide = np.result_type(dtype, np.float64)
        tied, exact = cd.TiedDense(conv, w), cd.TiedDense(conv, w.astype(wide))
        y, dx = tied.forward(x), tied.backward(x, dy).dx
        wanted_y = exact.forward(x.astype(wide))
        wanted_dx = exact.backward(x.astype(wide), dy.astype(wide)).dx
        direct = direct_counterpart(tied)
        u = np.finfo(dtype).eps / 2
        assert (y.dtype, dx.dtype) == (w.dtype, w.dtype)
        assert worst(y, wanted_y) <= max(8 * u, worst(direct.forward(x), wanted_y))
        assert worst(dx, wanted_dx) <= max(8 * u, worst(direct.backward(x, dy).dx, wanted_dx))
        (step,) = dense_steps(tied)
        ours = back_through([step], x.reshape(3, -1), dy.reshape(3, -1))
        assert np.array_equal(ours[0].reshape(y.shape), y)
        assert np.array_equal(ours[1].reshape(dx.shape), dx)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_gradients_of_a_shared_weight_and_of_a_bias_are_accurate_too(dtype):
    rng, conv = np.random.default_rng(0), cd.Conv((1, 200, 200), 1, 3)
    shapes = conv.weight_shape, (2, *conv.in_shape), (2, *conv.out_shape), (1,)
    w, x, dy, b = (rng.uniform(0.5, 1, shape).astype(dtype) for shape in shapes)
    found = cd.TiedDense(conv, w, b).backward(x, dy)
    w64, x64, dy64, b64 = (a.astype(np.result_type(dtype, float)) for a in (w, x, dy, b))
    wide = cd.TiedDense(conv, w64, b64).backward(x64, dy64)
    u = np.finfo(dtype).eps / 2
    assert worst(found.dw, wide.dw) <= 2 * u
    assert worst(found.db, wide.db) <= 2 * u
    assert (found.dw.dtype, found.db.dtype) == (w.dtype, w.dtype)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    layers(),
    seeds,
    st.sampled_from(["float32", "complex64", "float64", "int64"]),
    st.integers(1, 9),
    st.sampled_from([0, 0, 10_000]),
)
def test_blocks_give_the_product_with_the_whole_matrix(layer, seed, dtype, block, few):
    """On integers, where no order of summation rounds."""
    x, w, _, dy = integers_for(layer, seed, batch=3, dtype=dtype)
    ties = cd.tie(layer)
    matrix = ties.matrix(w)
    columns, upstream = x.reshape(3, -1).T, dy.reshape(3, -1).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_sums, "BLOCK", block)
        patch.setattr(blocked_sums, "LONG", 0)
        patch.setattr(blocked_sums, "PART", 1)
        patch.setattr(blocked_sums, "FEW", few)
        y = product(matrix, columns)
        dx = adjoint_product(matrix, upstream, longest_column(ties))
    assert (y.dtype, dx.dtype) == (matrix.dtype, matrix.dtype)
    assert np.array_equal(y, matrix @ columns)
    assert np.array_equal(dx, matrix.conj().T @ upstream)


def test_a_row_without_entries_is_zero():
    ties = cd.TieMap.from_index([[-1, -1], [0, 1], [-1, -1]])
    matrix = ties.matrix(np.array([2, 3], np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_sums, "BLOCK", 1)
        patch.setattr(blocked_sums, "LONG", 0)
        assert product(matrix, np.ones((2, 1), np.float32)).ravel().tolist() == [0, 5, 0]
        assert adjoint_product(matrix, np.ones((3, 1), np.float32), 1).ravel().tolist() == [2, 3]
