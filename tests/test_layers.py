"""Dense and TiedDense: backpropagation of a dense layer, masked and tied, is convolution's."""

from dataclasses import FrozenInstanceError
from fractions import Fraction
from math import prod

import numpy as np
import pytest

from convdense import Conv, ConvTranspose, Dense, LocallyConnected, TiedDense, TieMap, convolve, tie
from convdense.layers import tied_dense
from tests.test_direct import LAYERS, integers, operands, same

TIED = [
    *LAYERS,
    Conv((1, 1), 2, kernel=3, padding=((4, 3),), padding_mode="replicate"),
    Conv((2, 3), 1, kernel=2, stride=5),  # one window
    TieMap.from_index(
        [[2, -1, 0, 0], [-1, -1, -1, -1], [0, 2, 2, 3]]
    ),  # an output without edges, weight 1 nowhere
    TieMap.from_index([[0, 1, 1], [1, 0, -1]], coefficient=[[1, -1, 2], [1, -3, 9]]),
]
DTYPES = ["int8", "int32", "int64", "float32", "float64", "complex64", "complex128"]

on_all_layers = pytest.mark.parametrize("layer", TIED, ids=repr)
on_all_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def plainly_tied(layer):
    """Tell whether every edge is one weight as it is.

    No cell holds two entries, no entry a coefficient.
    """
    return (
        tie(layer).n_entries == tie(layer).mask().nnz and tie(layer).entries().coefficient is None
    )


def edges(ties):
    """Yield (row, column, flattened weight, coefficient) of every entry."""
    row, col, index, coefficient = ties.entries()
    return zip(
        row, col, index, np.ones(len(row), int) if coefficient is None else coefficient, strict=True
    )


def tied_sum(ties, G):
    """Return the dense gradient G added up over tied edges, one edge at a time."""
    total = np.zeros(ties.n_weights, G.dtype)
    for row, col, index, coefficient in edges(ties):
        total[index] += coefficient * G[row, col]
    return total.reshape(ties.weight_shape)


# An ordinary dense layer


@pytest.mark.claim("steps")
def test_dense_by_hand():
    layer = Dense([[1, 2, 0], [0, -1, 3]], b=[10, -20])
    x, dy = [[1, 2, 3], [-4, 5, 0]], [[1, -1], [2, 4]]
    assert layer.forward(x).tolist() == [[15, -13], [16, -25]]
    dx, dw, db = layer.backward(x, dy)
    assert dx.tolist() == [[1, 3, -3], [2, 0, 12]]
    assert dw.tolist() == [[1 - 8, 2 + 10, 3], [-1 - 16, -2 + 20, -3]]
    assert db.tolist() == [3, 3]


def test_dense_by_hand_complex():
    """Forward multiplies by w, the gradients by the conjugates."""
    layer = Dense([[2 + 1j, 1j]], b=[1j])
    assert layer.forward([1j, 3]).tolist() == [-1 + 6j]
    dx, dw, db = layer.backward([1j, 3], [1 + 1j])
    assert (dx.tolist(), dw.tolist(), db.tolist()) == (
        [3 + 1j, 1 - 1j],
        [[1 - 1j, 3 + 3j]],
        [1 + 1j],
    )


@pytest.mark.claim("steps")
@on_all_dtypes
def test_dense_is_the_sum_of_products(dtype):
    """Against plain Python sums; the dtype is the operands' own, that of db included."""
    w, b, x, dy = (
        integers(shape, seed, dtype) for seed, shape in enumerate([(3, 5), (3,), (4, 5), (4, 3)])
    )
    batch = range(4)
    rows = range(3)
    cols = range(5)
    layer = Dense(w, b)
    y = [[sum(w[r, c] * x[n, c] for c in cols) + b[r] for r in rows] for n in batch]
    dx = [[sum(w[r, c].conj() * dy[n, r] for r in rows) for c in cols] for n in batch]
    dw = [[sum(dy[n, r] * x[n, c].conj() for n in batch) for c in cols] for r in rows]
    db = [sum(dy[n, r] for n in batch) for r in rows]
    for got, expected in zip(
        (layer.forward(x), *layer.backward(x, dy)), (y, dx, dw, db), strict=True
    ):
        np.testing.assert_array_equal(got, np.array(expected, dtype), strict=True)


def test_dense_says_its_sizes():
    layer = Dense(np.ones((2, 3)))
    assert repr(layer) == "Dense(2 outputs, 3 inputs)"
    assert (layer.in_shape, layer.out_shape, layer.weight_shape, layer.bias_shape) == (
        (3,),
        (2,),
        (2, 3),
        (2,),
    )


# The tied layer is a dense layer whose gradient is masked and added up


@pytest.mark.claim("forward", "dx", "dw", "db", "steps")
@pytest.mark.parametrize("dtype", ["int64", "float32", "complex128"])
@on_all_layers
def test_tied_is_dense_masked_and_tied(layer, dtype):
    x, w, b, dy = operands(tie(layer), dtype=dtype)
    tied = TiedDense(layer, w, b)
    dense = Dense(tied.matrix.toarray())
    flat_x, flat_dy = x.reshape(2, -1), dy.reshape(2, -1)
    over_positions = b.reshape(b.shape + (1,) * (dy.ndim - 1 - b.ndim))
    assert same(tied.forward(x), dense.forward(flat_x).reshape(dy.shape) + over_positions)
    (dx, dw, db), dense_gradients = tied.backward(x, dy), dense.backward(flat_x, flat_dy)
    assert same(dx, dense_gradients.dx.reshape(x.shape))
    assert same(dw, tied_sum(tied.ties, dense_gradients.dw))
    assert same(db, dy.sum(axis=(0, *range(1 + b.ndim, dy.ndim))))


@pytest.mark.claim("steps")
@pytest.mark.parametrize("dtype", ["int64", "float32", "complex128"])
@on_all_layers
def test_gradient_steps(layer, dtype):
    x, w, _, dy = operands(tie(layer), dtype=dtype)
    tied = TiedDense(layer, w)
    G = Dense(tied.matrix.toarray()).backward(x.reshape(2, -1), dy.reshape(2, -1)).dw
    steps = tied.gradient_steps(x, dy)
    assert same(steps.dense, G)
    assert same(steps.masked, np.where(tied.ties.mask().toarray(), G, np.zeros_like(G)))
    assert same(steps.tied, tied_sum(tied.ties, G))
    assert same(steps.tied, tied.backward(x, dy).dw)


def test_gradient_steps_of_one_sample():
    x, w, _, dy = operands(LAYERS[0], batch=(1,))
    layer = TiedDense(LAYERS[0], w)
    for alone, batched in zip(
        layer.gradient_steps(x[0], dy[0]), layer.gradient_steps(x, dy), strict=True
    ):
        assert same(alone, batched)


@pytest.mark.claim("steps")
def test_gradient_steps_by_hand():
    """The thesis' own case, one row: i1 i2 i3 under w1 w2.

    The two edges that do not exist drop out.
    """
    dense, masked, tied = TiedDense(Conv((1, 3), 1, kernel=2), [[[1, 1]]]).gradient_steps(
        [[2, 3, 5]], [[1, -10]]
    )
    assert dense.tolist() == [[2, 3, 5], [-20, -30, -50]]
    assert masked.tolist() == [[2, 3, 0], [0, -30, -50]]
    assert tied.tolist() == [[[2 - 30, 3 - 50]]]


@pytest.mark.claim("dw")
@on_all_layers
def test_weights_stay_masked_and_tied(layer):
    """Three steps down the gradient, exactly: a cell stays its weight, none appears."""
    ties = tie(layer)
    x, w, _, dy = operands(ties)
    mask, start = ties.mask().toarray(), w
    for _ in range(3):
        w = w - 2 * TiedDense(layer, w).backward(x, dy).dw
        matrix = TiedDense(layer, w).matrix.toarray()
        expected = np.zeros_like(matrix)
        for row, col, index, coefficient in edges(ties):
            expected[row, col] += coefficient * w.flat[index]
        np.testing.assert_array_equal(matrix, expected)
        assert not matrix[~mask].any()
    assert (w != start).any()


@pytest.mark.claim("dw")
@pytest.mark.parametrize("layer", [x for x in TIED if plainly_tied(x)], ids=repr)
def test_tied_gradient_is_multiplicity_times_the_projection(layer):
    """The chain rule sums, the projection takes the mean: dw / multiplicity is the tied matrix
    nearest to G.

    P is that projection exactly when it is tied and what it leaves, G - P, is orthogonal to every
    tied matrix."""
    ties = tie(layer)
    x, w, _, dy = operands(ties)
    G = TiedDense(layer, w).gradient_steps(x, dy).dense
    dw, multiplicity = TiedDense(layer, w).backward(x, dy).dw.ravel(), ties.counts().weights.ravel()
    assert not dw[multiplicity == 0].any()
    left = [Fraction(0)] * ties.n_weights  # <G - P, tied matrix of weight k>
    for row, col, index, _ in edges(ties):
        left[index] += int(G[row, col]) - Fraction(int(dw[index]), int(multiplicity[index]))
    assert left == [0] * ties.n_weights


def test_the_weight_of_an_edge_outside_the_input_has_gradient_zero():
    layer = Conv(
        (1, 2), 1, kernel=5, padding=2
    )  # taps 0 and 4 of this 5-tap kernel only ever meet padding
    x, w, _, dy = operands(layer)
    assert tie(layer).counts().weights.tolist() == [[[0, 1, 2, 1, 0]]]
    assert TiedDense(layer, w).backward(x, dy).dw[0, 0, [0, 4]].tolist() == [0, 0]


# Every basis vector: the layer is linear, so this is all of it


@pytest.mark.claim("forward")
@pytest.mark.parametrize("layer", [x for x in LAYERS if prod(tie(x).shape) < 1000], ids=repr)
def test_every_basis_vector(layer):
    """The column of input i is the convolution of a picture whose one lit pixel is i."""
    w = integers(layer.weight_shape, 1)
    basis = np.eye(prod(layer.in_shape), dtype=int).reshape(-1, *layer.in_shape)
    expected = convolve(layer, basis, w).reshape(len(basis), -1).T
    np.testing.assert_array_equal(TiedDense(layer, w).matrix.toarray(), expected, strict=True)


# Batches, dtypes, biases

KINDS = [
    Conv((2, 3, 4), 2, kernel=2),
    Conv((2, 3), 1, kernel=3, padding=((2, 1),), padding_mode="symmetric"),
    ConvTranspose((2, 3), 2, kernel=2, stride=2),
    LocallyConnected((1, 3, 4), 2, kernel=2),
    TieMap.from_index([[0, 1], [1, -1], [2, 2]]),
    TieMap.from_index([[0, 1], [1, -1]], coefficient=np.array([[1, -1], [2, 1]], np.int8)),
]
on_all_kinds = pytest.mark.parametrize("layer", KINDS, ids=repr)


def both(layer, w, b):
    """Return the tied layer and the dense one that is the same, each with its bias."""
    tied = TiedDense(layer, w, b)
    dense_b = None if b is None else tied.ties.bias.matrix(b).toarray()[:, 0]
    return tied, Dense(tied.matrix.toarray(), dense_b)


@on_all_dtypes
@on_all_kinds
def test_dtype_stays(layer, dtype):
    x, w, b, dy = operands(tie(layer), dtype=dtype)
    tied, dense = both(layer, w, b)
    flat = x.reshape(2, -1), dy.reshape(2, -1)
    results = {
        "tied": (tied.forward(x), *tied.backward(x, dy), *tied.gradient_steps(x, dy)),
        "dense": (dense.forward(flat[0]), *dense.backward(*flat)),
    }
    wrong = {name: [r.dtype.name for r in arrays] for name, arrays in results.items()}
    assert wrong == {"tied": [dtype] * 7, "dense": [dtype] * 4}


@pytest.mark.parametrize(
    "dtypes",
    [  # x, w, b, dy -> y, dx, dw, db
        ("float64", "float32", "float32", "float32", "float64", "float32", "float64", "float32"),
        ("float32", "float64", "float32", "float32", "float64", "float64", "float32", "float32"),
        ("float32", "float32", "float64", "float64", "float64", "float64", "float64", "float64"),
        ("int64", "float32", "float32", "float32", "float64", "float32", "float64", "float32"),
        ("int16", "int8", "int8", "int8", "int16", "int8", "int16", "int8"),
        (
            "complex64",
            "float32",
            "float32",
            "float32",
            "complex64",
            "float32",
            "complex64",
            "float32",
        ),
        (
            "float32",
            "complex64",
            "float64",
            "float64",
            "complex128",
            "complex128",
            "float64",
            "float64",
        ),
    ],
    ids="-".join,
)
@on_all_kinds
def test_dtypes_follow_numpy(layer, dtypes):
    x, w, b, dy = (v.astype(d) for v, d in zip(operands(tie(layer)), dtypes[:4], strict=True))
    tied = TiedDense(layer, w, b)
    assert tuple(r.dtype.name for r in (tied.forward(x), *tied.backward(x, dy))) == dtypes[4:]


@on_all_kinds
def test_one_sample_goes_without_a_batch_axis(layer):
    x, w, b, dy = operands(tie(layer), batch=(1,))
    tied, dense = both(layer, w, b)
    for layer_, x_, dy_ in ((tied, x, dy), (dense, x.reshape(1, -1), dy.reshape(1, -1))):
        assert same(layer_.forward(x_[0]), layer_.forward(x_)[0])
        alone, batched = layer_.backward(x_[0], dy_[0]), layer_.backward(x_, dy_)
        assert same(alone.dx, batched.dx[0])
        assert same(alone.dw, batched.dw)
        assert same(alone.db, batched.db)


@pytest.mark.parametrize("dtype", ["int32", "float32", "complex128"])
@on_all_kinds
def test_batch_of_none(layer, dtype):
    x, w, b, dy = operands(tie(layer), batch=(0,), dtype=dtype)
    tied, dense = both(layer, w, b)
    assert same(tied.forward(x), np.zeros((0, *tied.out_shape), dtype))
    assert same(
        dense.forward(x.reshape(0, prod(tied.in_shape))), np.zeros((0, prod(tied.out_shape)), dtype)
    )
    for got, given in zip(tied.backward(x, dy), (x, w, b), strict=True):
        assert same(got, np.zeros_like(given))


@pytest.mark.parametrize("dtype", ["int32", "float32", "complex128"])
@on_all_kinds
def test_gradient_steps_of_a_batch_of_none(layer, dtype):
    x, w, _, dy = operands(tie(layer), batch=(0,), dtype=dtype)
    tied = TiedDense(layer, w)
    steps = tied.gradient_steps(x, dy)
    for got, shape in zip(
        steps, (tied.ties.shape, tied.ties.shape, tied.weight_shape), strict=True
    ):
        assert same(got, np.zeros(shape, dtype))


@on_all_kinds
def test_without_bias_there_is_no_db(layer):
    x, w, b, dy = operands(tie(layer))
    for without, with_bias in zip(both(layer, w, None), both(layer, w, b), strict=True):
        flat = [v.reshape(2, *s) for v, s in ((x, without.in_shape), (dy, without.out_shape))]
        assert without.backward(*flat).db is None
        assert with_bias.backward(*flat).db is not None
        assert same(without.backward(*flat).dw, with_bias.backward(*flat).dw)
        assert not np.array_equal(without.forward(flat[0]), with_bias.forward(flat[0]))


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
@pytest.mark.parametrize("c", [0.5, -1.5])
def test_a_coefficient_with_a_half(c, dtype):
    """One weight of 3 at coefficient c: x = 5 and dy = 7 give y = 15 c, dx = 21 c and dw = 35 c."""
    layer = TiedDense(TieMap.from_index([[0]], [[c]]), [3])
    x, dy = np.array([5], dtype), np.array([7], dtype)
    dx, dw, _ = layer.backward(x, dy)
    results = layer.forward(x), dx, dw, layer.gradient_steps(x, dy).tied
    assert [r.tolist() for r in results] == [[15 * c], [21 * c], [35 * c], [35 * c]]


# What a layer holds


@pytest.mark.parametrize(
    "kind", [Dense, lambda w, b: TiedDense(KINDS[0], w, b)], ids=["Dense", "TiedDense"]
)
@pytest.mark.parametrize("name", ["w", "b"])
def test_arrays_are_copies_that_cannot_be_written(kind, name):
    shapes = (
        {"w": (2, 3), "b": (2,)}
        if kind is Dense
        else {"w": KINDS[0].weight_shape, "b": KINDS[0].bias_shape}
    )
    given = {n: integers(shape, 1) for n, shape in shapes.items()}
    layer = kind(**given)
    before = getattr(layer, name).copy()
    given[name][...] = 77
    np.testing.assert_array_equal(getattr(layer, name), before)
    with pytest.raises(ValueError, match="read-only"):
        getattr(layer, name)[...] = 0
    with pytest.raises(FrozenInstanceError, match=f"'{name}'"):
        setattr(layer, name, before)


def test_the_matrix_cannot_fall_behind_the_weights():
    layer = TiedDense(KINDS[0], np.ones(KINDS[0].weight_shape))
    with pytest.raises(FrozenInstanceError, match="'matrix'"):
        layer.matrix = 2 * layer.matrix
    with pytest.raises(ValueError, match="read-only"):
        layer.matrix.data[0] = 5


def test_backward_leaves_the_layer_and_the_arguments_alone():
    x, w, b, dy = operands(KINDS[0])
    layer = TiedDense(KINDS[0], w, b)
    x0 = x.copy()
    dy0 = dy.copy()
    y = layer.forward(x)
    layer.backward(x, dy)
    layer.gradient_steps(x, dy)
    assert same(layer.forward(x), y)
    assert same(x, x0)
    assert same(dy, dy0)


@on_all_kinds
def test_tied_says_what_it_is(layer):
    x, w, b, dy = operands(tie(layer))
    tied = TiedDense(layer, w, b)
    assert repr(tied) == f"TiedDense({layer!r})"
    assert (tied.in_shape, tied.out_shape) == (x.shape[1:], dy.shape[1:])
    assert (tied.weight_shape, tied.bias_shape) == (w.shape, b.shape)


def test_gradient_steps_write_out_up_to_the_limit(monkeypatch):
    layer = TiedDense(Conv((1, 4), 1, kernel=2), [[[1, 2]]])
    x, dy = np.ones((1, 4)), np.ones((1, 3))
    monkeypatch.setattr(tied_dense, "GRADIENT_STEPS_LIMIT", 12)
    assert layer.gradient_steps(x, dy).dense.shape == (3, 4)
    monkeypatch.setattr(tied_dense, "GRADIENT_STEPS_LIMIT", 11)
    with pytest.raises(
        ValueError, match=r"^layer: got 3 x 4 edges; needs at most 11 to write the dense"
    ):
        layer.gradient_steps(x, dy)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_nothing_of_the_stored_matrix_can_be_overwritten(part):
    matrix = TiedDense(Conv((1, 3), 1, 2), [[[1, 2]]]).matrix
    with pytest.raises(ValueError, match="read-only"):
        getattr(matrix, part)[0] = 1


def test_a_tie_map_cannot_be_overwritten():
    for axis in tie(Conv((2, 4), 2, 3, padding=1)).axes:
        for part in (axis.rows, axis.cols, axis.taps):
            with pytest.raises(ValueError, match="read-only"):
                part[0] = 1


def test_weights_stored_with_the_other_byte_order_are_as_good():
    conv, w = Conv((1, 3), 1, 2), np.array([[[1.5, -2]]])
    other = TiedDense(conv, w.astype(w.dtype.newbyteorder("S")))
    assert other.matrix.dtype == np.float64
    assert np.array_equal(other.matrix.toarray(), TiedDense(conv, w).matrix.toarray())
