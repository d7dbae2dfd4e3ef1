"""conv_matrix's options, each by a second way: one-hot inputs through direct convolution, permuted.

And the data matrix, against direct convolution and its gradient.
"""

import re
from itertools import product
from math import prod

import numpy as np
import pytest

import convdense as cd
from convdense.direct import pool as direct_pool
from tests.test_conv_matrix import MAGIC_5, MAGIC_5_FULL

RNG = np.random.default_rng(16)


def integers(*shape):
    return RNG.integers(-9, 10, shape)


def columns_of(function, in_shape, order):
    """Return the matrix whose columns are what one-hot inputs give, flattened in this order."""
    n = prod(in_shape)
    one_hot = [np.eye(n, dtype=int)[i].reshape(in_shape, order=order) for i in range(n)]
    return np.stack([np.asarray(function(x)).ravel(order) for x in one_hot], axis=1)


def seen_as(layout, function):
    """Return a function on samples of this layout, of one on (channels, *axes)."""
    if layout == "NCHW":
        return function
    return lambda x: np.moveaxis(function(np.moveaxis(x, -1, 0)), 0, -1)


def in_layout(shape, layout):
    return shape if layout == "NCHW" else (*shape[1:], shape[0])


LAYERS = [
    cd.Conv((3, 4, 5), 2, (2, 3), stride=(2, 1), padding=((1, 0), (0, 2))),
    cd.Conv((4, 5, 3), 6, 2, groups=2, dilation=(2, 1), flip=True),
    cd.Conv((2, 5), 3, 3, padding=2, padding_mode="circular"),
    cd.Conv((2, 3, 4, 2), 1, (2, 3, 1), padding=1),
    cd.ConvTranspose((3, 2, 4), 2, (2, 3), stride=(3, 2), padding=(0, 1), output_padding=(2, 1)),
    cd.ConvTranspose((4, 3), 6, 3, stride=2, groups=2, flip=True),
]


def matrix_of(layer, w, layout="NCHW", kernel_first=False, **options):
    """Return conv_matrix of this layer with the integers w, given as asked for."""
    names = ["stride", "padding", "dilation", "groups", "flip"]
    transposed = isinstance(layer, cd.ConvTranspose)
    names.append("output_padding" if transposed else "padding_mode")
    options = {name: getattr(layer, name) for name in names} | options
    if kernel_first:
        w = w.transpose(*range(2, w.ndim), 1, 0)
        options["weights"] = "HWOI" if transposed else "HWIO"
    shape = in_layout(layer.in_shape, layout)
    return cd.conv_matrix(w, shape, transposed=transposed, layout=layout, **options)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kernel_first", [False, True])
def test_samples_and_weights_in_any_order(layer, layout, order, kernel_first):
    w = integers(*layer.weight_shape)
    A = matrix_of(layer, w, layout, kernel_first, order=order)
    direct = seen_as(layout, lambda x: cd.convolve(layer, x, w))
    expected = columns_of(direct, in_layout(layer.in_shape, layout), order)
    assert np.array_equal(A.toarray(), expected)
    assert A.has_canonical_format
    assert A.dtype == w.dtype
    assert A.nnz == cd.tie(layer).mask().nnz  # weights of 0 are stored


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize(("layout", "order"), [("NCHW", "C"), ("NHWC", "F"), ("NHWC", "C")])
def test_the_bias_as_columns(layer, layout, order):
    x = integers(*in_layout(layer.in_shape, layout))
    w, b = integers(*layer.weight_shape), integers(*layer.bias_shape)
    y = seen_as(layout, lambda x: cd.convolve(layer, x, w, b))(x).ravel(order)

    with_values = matrix_of(layer, w, layout, order=order, bias=b)
    assert with_values.shape == (len(y), x.size + 1)
    assert np.array_equal(with_values @ [*x.ravel(order), 1], y)
    assert with_values.has_canonical_format

    of_each = matrix_of(layer, w, layout, order=order, bias=True)
    assert of_each.shape == (len(y), x.size + len(b))
    assert np.array_equal(of_each @ [*x.ravel(order), *b], y)
    assert set(of_each.toarray()[:, x.size :].ravel()) <= {0, 1}
    assert of_each.dtype == w.dtype


def test_no_bias_by_any_word():
    w = integers(2, 1, 3)
    plain = cd.conv_matrix(w, (1, 5)).toarray()
    assert np.array_equal(cd.conv_matrix(w, (1, 5), bias=None).toarray(), plain)
    assert np.array_equal(cd.conv_matrix(w, (1, 5), bias=False).toarray(), plain)
    assert cd.conv_matrix(w.astype(np.uint8), (1, 5), bias=True).dtype == np.uint8
    halves = cd.conv_matrix(w, (1, 5), bias=[0.5, 1.5])
    assert halves.toarray()[:, -1].tolist() == [0.5] * 3 + [1.5] * 3


POOLS = [
    cd.SumPool((2, 5, 4), (2, 3), stride=1, padding=(1, 0)),
    cd.AvgPool((2, 4, 6), 2),
    cd.AvgPool((1, 5), 3, padding=1, count_include_pad=False),
    cd.AvgPool((1, 5), 3, padding=1, stride=2, ceil_mode=True),
    cd.AvgPool((3, 5, 5), 2, divisor_override=8),
    cd.AvgPool((2, 5, 7), output=(2, 3)),
]


@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pools_in_the_same_call(pool, layout, order):
    A = cd.conv_matrix(pool, layout=layout, order=order)
    direct = seen_as(layout, lambda x: direct_pool.forward(pool, x.astype(float)))
    assert np.array_equal(A.toarray(), columns_of(direct, in_layout(pool.in_shape, layout), order))
    assert A.dtype == np.float64
    if (layout, order) == ("NCHW", "C"):
        assert np.array_equal(A.toarray(), cd.dense_pool(pool).matrix().toarray())


def test_matlab_prints_this():
    """As it stands in the Notes: convmtx2(H, 5, 5) of MATLAB's page."""
    H = np.ones((3, 3), int)
    T = cd.conv_matrix(H[None, None], (1, 5, 5), padding="full", flip=True, order="F")
    assert T.shape == (49, 25)
    assert T.nnz == 225
    Y = (T @ MAGIC_5.ravel(order="F")).reshape(7, 7, order="F")
    assert np.array_equal(Y, MAGIC_5_FULL)


def test_matlab_with_an_asymmetric_kernel():
    """What the Notes said before: the axes exchanged instead of the order."""
    H = integers(2, 3)
    T = cd.conv_matrix(H[None, None], (1, 3, 4), padding="full", flip=True, order="F")
    exchanged = cd.conv_matrix(H.T[None, None], (1, 4, 3), padding="full", flip=True)
    assert np.array_equal(T.toarray(), exchanged.toarray())


@pytest.mark.parametrize(
    ("error", "arguments", "options", "message"),
    [
        (ValueError, "w", {"layout": "NCWH"}, "layout: got 'NCWH'; needs one of 'NCHW', 'NHWC'"),
        (ValueError, "w", {"order": "K"}, "order: got 'K'; needs one of 'C', 'F'"),
        (ValueError, "w", {"weights": "IOHW"}, "weights: got 'IOHW'; needs one of 'OIHW', 'HWIO'"),
        (
            ValueError,
            "w",
            {"weights": "OIHW", "transposed": True},
            "weights: got 'OIHW'; needs one of 'IOHW', 'HWOI'",
        ),
        (
            ValueError,
            "w",
            {"weights": "HWIO", "in_shape": (4, 5)},
            "w: got shape (2, 3, 2); needs (2, 4, 2), for Conv((4, 5), out_channels=2, kernel=2)",
        ),
        (
            ValueError,
            "w",
            {"output_padding": 1},
            "output_padding: got 1; needs transposed=True beside it",
        ),
        (
            ValueError,
            "w",
            {"transposed": True, "padding_mode": "circular"},
            "padding_mode: got 'circular'; needs 'zeros' with transposed=True",
        ),
        (TypeError, "w", {"transposed": 1}, "transposed: got 1; needs True or False"),
        (
            ValueError,
            "w",
            {"bias": [1, 2, 3]},
            "bias: got shape (3,); needs (2,), for Conv((3, 5), out_channels=2, kernel=2)",
        ),
        (
            ValueError,
            "pool",
            {"stride": 2},
            "stride: got 2; needs to be left out: the pool says it all",
        ),
        (
            ValueError,
            "pool",
            {"bias": True},
            "bias: got True; needs to be left out: the pool says it all",
        ),
        (
            ValueError,
            "pool",
            {"in_shape": (1, 4)},
            "in_shape: got (1, 4); needs to be left out: the pool says it all",
        ),
        (
            TypeError,
            "max pool",
            {},
            "w: got MaxPool((1, 4), kernel=2); needs an array, a SumPool or an AvgPool; "
            "use cd.dense_pool(pool), which is several layers",
        ),
        (
            ValueError,
            "flat",
            {"layout": "NHWC", "weights": "HWIO"},
            "w: got shape (3, 2); needs (*kernel, in_channels / groups, out_channels); "
            "for one channel give w[..., None, None] and in_shape (*sizes, 1)",
        ),
        (
            ValueError,
            "w",
            {"in_shape": (5, 5, 3), "weights": "HWIO"},
            "w: got shape (2, 3, 2); needs 4 axes, (*kernel, in, out), for in_shape (5, 5, 3); "
            "in_shape is one sample: leave its batch out",
        ),
        (
            TypeError,
            "w",
            {"in_shape": None},
            "in_shape: got None; needs a tuple (channels, *axes), such as (3, 32, 32)",
        ),
    ],
)
def test_refusals_say_what_to_write(error, arguments, options, message):
    w = {"w": np.ones((2, 3, 2)), "flat": np.ones((3, 2))}
    w |= {"pool": cd.AvgPool((1, 4), 2), "max pool": cd.MaxPool((1, 4), 2)}
    own = {} if "pool" in arguments else {"in_shape": (3, 5)}
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        cd.conv_matrix(w[arguments], **own | options)


def test_transposed_groups_are_an_integer():
    with pytest.raises(TypeError, match=r"^groups: got '2'; needs an integer of at least 1"):
        cd.conv_matrix(np.ones((2, 3, 2)), (2, 5), transposed=True, groups="2")


def test_a_pool_too_large_is_refused():
    with pytest.raises(MemoryError, match=r"^matrix: got about"):
        cd.conv_matrix(cd.AvgPool((8, 64, 64), 2), max_bytes=1000)


DATA_LAYERS = [
    *LAYERS,
    cd.Conv((2, 4, 4), 3, 3, padding=1, padding_mode="reflect"),
    cd.Conv((1, 2), 1, 3, padding=2, padding_mode="replicate"),
    cd.LocallyConnected((2, 4, 3), 2, 2, padding=1),
    cd.LocallyConnected((2, 5), 4, 2, groups=2),
    cd.Linear(4, 3),
    cd.Conv((8, 12, 12), 8, 3, padding=1),  # large enough to be assembled by runs
]


@pytest.mark.parametrize("layer", DATA_LAYERS, ids=repr)
@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_the_data_matrix_times_weights_is_the_output(layer, batch):
    ties = cd.tie(layer)
    x, w = integers(*batch, *layer.in_shape), integers(*layer.weight_shape)
    dy = integers(*batch, *layer.out_shape)
    X = ties.data_matrix(x)
    assert X.shape == (dy.size, w.size)
    assert X.dtype == x.dtype
    assert X.has_canonical_format
    if isinstance(layer, cd.Linear):
        y, dw = x @ w.T, dy.reshape(-1, 3).T @ x.reshape(-1, 4)
    else:
        y, dw = cd.convolve(layer, x, w), cd.convolve_backward(layer, x, w, dy).dw
    assert np.array_equal(X @ w.ravel(), y.ravel())
    assert np.array_equal(X.T @ dy.ravel(), dw.ravel())


def test_the_published_data_matrix_of_a_valid_convolution():
    """Convolution as X vec(k), a row a window: written by hand, as math.SE 4325349 asks for."""
    conv = cd.Conv((1, 3, 3), 1, 2)
    X = cd.tie(conv).data_matrix([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    assert X.toarray().tolist() == [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    true = cd.tie(cd.Conv((1, 3, 3), 1, 2, flip=True)).data_matrix(
        np.arange(1, 10).reshape(1, 3, 3)
    )
    assert np.array_equal(true.toarray(), X.toarray()[:, ::-1])


def test_coefficients_are_in_the_data_matrix():
    ties = cd.TieMap.from_index([[0, 1, 0], [-1, 1, -1]], [[0.5, -1, 1], [1, 2, 1]])
    assert ties.data_matrix([6, 7, 8]).toarray().tolist() == [[11, -7], [0, 14]]
    assert ties.data_matrix(np.array([6, 7, 8], np.float32)).dtype == np.float32
    pool = cd.tie(cd.SumPool((2, 4), 2))
    assert pool.data_matrix([[1, 2, 3, 4], [5, 6, 7, 8]]).toarray().tolist() == [
        [3],
        [7],
        [11],
        [15],
    ]


def test_complex_inputs_and_an_input_of_zero():
    conv = cd.Conv((2, 4), 3, 2)
    x = integers(2, 4) + 1j * integers(2, 4)
    dy = integers(3, 3) - 1j * integers(3, 3)
    X = cd.tie(conv).data_matrix(x)
    dw = cd.convolve_backward(conv, x, np.zeros(conv.weight_shape), dy).dw
    assert np.array_equal(X.conj().T @ dy.ravel(), dw.ravel())
    assert cd.tie(conv).data_matrix(np.zeros((2, 4))).nnz == 3 * 3 * 2 * 2
    assert cd.tie(conv).data_matrix(np.zeros((0, 2, 4))).shape == (0, 12)


def test_least_squares_finds_the_weights():
    from scipy.sparse.linalg import lsqr

    conv = cd.Conv((2, 6, 6), 3, 3, padding=1)
    w, x = integers(*conv.weight_shape).astype(float), RNG.normal(size=(4, 2, 6, 6))
    X = cd.tie(conv).data_matrix(x)
    found = lsqr(X, cd.convolve(conv, x, w).ravel(), atol=1e-12, btol=1e-12)[0]
    assert np.array_equal(np.rint(found).reshape(w.shape), w)


def test_refusals_of_the_data_matrix():
    ties = cd.tie(cd.Conv((1, 4), 1, 2))
    with pytest.raises(
        ValueError, match=r"^x: got shape \(5,\); needs \(1, 4\) or \(batch, 1, 4\)"
    ):
        ties.data_matrix(np.ones(5))
    refusal = (
        r"^matrix: got about [\d,]+ bytes; needs at most max_bytes=50; give fewer samples at a "
        r"time, or use ties\.gradient\(x, dy\), which needs no matrix$"
    )
    with pytest.raises(MemoryError, match=refusal):
        ties.data_matrix(np.ones((1, 4)), max_bytes=50)
    size = 6 * (8 + 4) + 4 * 4  # three rows of two entries: numbers, columns, and where rows begin
    assert ties.data_matrix(np.ones((1, 4)), max_bytes=size).nnz == 6
    with pytest.raises(MemoryError):
        ties.data_matrix(np.ones((2, 1, 4)), max_bytes=size)


def test_the_order_of_keras_written_out():
    """Its Conv2D: y[i, j, o] is the sum of x[i + a, j + b, c] K[a, b, c, o]."""
    x, K = integers(4, 5, 3), integers(2, 3, 3, 2)
    y = np.zeros((3, 3, 2), int)
    for (i, j, o), (a, b, c) in product(np.ndindex(3, 3, 2), np.ndindex(2, 3, 3)):
        y[i, j, o] += x[i + a, j + b, c] * K[a, b, c, o]
    A = cd.conv_matrix(K, (4, 5, 3), layout="NHWC", weights="HWIO")
    assert np.array_equal(A @ x.ravel(), y.ravel())


def test_the_transposed_order_of_keras_written_out():
    """Its Conv2DTranspose: x[i, j, c] K[a, b, o, c] is added to y[2 i + a, 2 j + b, o]."""
    x, K = integers(2, 3, 3), integers(2, 3, 2, 3)
    y = np.zeros((4, 7, 2), int)
    for (i, j, c), (a, b, o) in product(np.ndindex(2, 3, 3), np.ndindex(2, 3, 2)):
        y[2 * i + a, 2 * j + b, o] += x[i, j, c] * K[a, b, o, c]
    options = {"layout": "NHWC", "weights": "HWOI", "transposed": True, "stride": 2}
    A = cd.conv_matrix(K, (2, 3, 3), **options)
    assert np.array_equal(A @ x.ravel(), y.ravel())


def test_the_transposed_order_of_pytorch_written_out():
    """Its ConvTranspose1d: x[c, i] w[c, o, a] is added to y[o, i + a], in two groups."""
    x, w = integers(4, 3), integers(4, 1, 2)
    y = np.zeros((2, 4), int)
    for c, i, a in product(range(4), range(3), range(2)):
        y[c // 2, i + a] += x[c, i] * w[c, 0, a]
    A = cd.conv_matrix(w, (4, 3), transposed=True, groups=2)
    assert np.array_equal(A @ x.ravel(), y.ravel())
