"""conv_matrix against what MATLAB and SciPy print, and against SciPy where it is at hand."""

import numpy as np
import pytest
from scipy.linalg import convolution_matrix

import convdense as cd

MAGIC_5 = np.array(
    [
        [17, 24, 1, 8, 15],
        [23, 5, 7, 14, 16],
        [4, 6, 13, 20, 22],
        [10, 12, 19, 21, 3],
        [11, 18, 25, 2, 9],
    ]
)
# 9 Y of the convmtx2 page of MATLAB's Image Processing Toolbox: H = ones(3)/9, X = magic(5)
MAGIC_5_FULL = np.array(
    [
        [17, 41, 42, 33, 24, 23, 15],
        [40, 69, 77, 59, 61, 53, 31],
        [44, 79, 100, 98, 116, 95, 53],
        [37, 60, 99, 117, 135, 96, 41],
        [25, 61, 118, 136, 134, 77, 34],
        [21, 51, 95, 97, 79, 35, 12],
        [11, 29, 54, 45, 36, 11, 9],
    ]
)


def convmtx2(H, m, n):
    """MATLAB's, as the docstring of conv_matrix says it is had."""
    return cd.conv_matrix(H.T[None, None], (1, n, m), padding="full", flip=True)


@pytest.mark.claim("forward", "toeplitz")
def test_matlab_prints_this():
    T = convmtx2(np.ones((3, 3), int), 5, 5)
    assert T.shape == (49, 25)
    assert T.nnz == 225
    Y = (T @ MAGIC_5.ravel(order="F")).reshape(7, 7, order="F")
    assert np.array_equal(Y, MAGIC_5_FULL)


@pytest.mark.claim("forward", "toeplitz")
def test_matlab_counts_down_the_columns():
    """An asymmetric kernel on an image that is not square: a full true convolution."""
    H, X = np.array([[1, 2, -3], [4, 0, 5]]), np.arange(12).reshape(3, 4) - 5
    full = np.zeros((4, 6), int)
    for (a, b), h in np.ndenumerate(H):
        full[a : a + 3, b : b + 4] += h * X
    Y = convmtx2(H, 3, 4) @ X.ravel(order="F")
    assert np.array_equal(Y.reshape(4, 6, order="F"), full)
    assert not np.array_equal(
        (convmtx2(H[::-1], 3, 4) @ X.ravel(order="F")).reshape(4, 6, order="F"), full
    )


@pytest.mark.claim("forward", "toeplitz")
@pytest.mark.parametrize(
    ("mode", "padding"), [("full", "full"), ("same", "same_lower"), ("valid", "valid")]
)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_scipy_builds_the_same(mode, padding, length):
    a = np.array([-1, 4, -2, 7, 3])[:length]
    for n in (5, 6, 9):
        ours = cd.conv_matrix(a[None, None], (1, n), padding=padding, flip=True)
        assert np.array_equal(ours.toarray(), convolution_matrix(a, n, mode))


@pytest.mark.claim("forward", "toeplitz")
def test_scipy_prints_this():
    """The example of scipy.linalg.convolution_matrix."""
    A = cd.conv_matrix([[[-1, 4, -2]]], (1, 5), padding="same_lower", flip=True)
    assert (A @ [1, 2, 0, -3, 0.5]).tolist() == [2, 6, -1, -12.5, 8]


def test_every_option_reaches_the_layer():
    options = {
        "stride": 2,
        "padding": 1,
        "dilation": (1, 2),
        "groups": 2,
        "padding_mode": "reflect",
        "flip": True,
    }
    conv = cd.Conv((4, 6, 7), 2, (3, 2), **options)
    w = np.random.default_rng(0).integers(-9, 9, conv.weight_shape)
    expected = cd.tie(conv).matrix(w).toarray()
    assert np.array_equal(cd.conv_matrix(w, (4, 6, 7), **options).toarray(), expected)
    for name, other in {
        "stride": 1,
        "padding": 2,
        "dilation": 1,
        "padding_mode": "zeros",
        "flip": False,
    }.items():
        changed = cd.conv_matrix(w, (4, 6, 7), **options | {name: other}).toarray()
        assert not np.array_equal(changed, expected), name


@pytest.mark.parametrize(
    "dtype", ["int32", "int64", "float32", "float64", "complex64", "complex128"]
)
def test_dtype_is_kept(dtype):
    assert cd.conv_matrix(np.ones((2, 3, 3, 3), dtype), (3, 9, 8)).dtype == dtype


def test_bad_weights_are_named():
    with pytest.raises(
        ValueError,
        match=r"^w: got shape \(3, 3\); needs \(out_channels, .*; for one channel give w",
    ):
        cd.conv_matrix(np.ones((3, 3)), (1, 5, 5))
    with pytest.raises(ValueError, match=r"^w: got shape \(2, 1, 3\); needs \(2, 3, 3\), for Conv"):
        cd.conv_matrix(np.ones((2, 1, 3)), (3, 5))
    with pytest.raises(MemoryError, match=r"^matrix: got about"):
        cd.conv_matrix(np.ones((2, 3, 3)), (3, 5), max_bytes=100)
    assert cd.conv_matrix(np.ones((1, 1, 3, 3)), (1, 5, 5)).shape == (9, 25)
