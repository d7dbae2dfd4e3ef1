"""`ties.rows`: any range of rows is the whole's, in every number that a tie map has."""

import pickle
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense.geometry.linear import ChannelScale
from convdense.structure.submatrix import boxes
from tests.strategies import layers
from tests.test_fast_forms import AWKWARD, same
from tests.thinned import examples

SETTINGS = settings(max_examples=examples(80), deadline=None, derandomize=True)
NUMBERS = [
    cd.Conv((2, 3, 4), 3, 2, padding=((1, 0), (2, 1)), padding_value=3),
    cd.Conv((2, 5), 4, 3, padding=2, padding_value=-1, groups=2),
    cd.Conv((1, 4, 3, 2), 2, 2, padding=1, padding_value=2, stride=2),
]
OTHERS = [
    *AWKWARD,
    *NUMBERS,
    cd.Linear(5, 7),
    ChannelScale((3, 2, 4)),
    cd.SumPool((3, 5, 4), 2, stride=2),
    cd.SumPool((2, 5), output=3),
]


def ordered(ties):
    """Return the same map for a weight array whose axes stand in the opposite order."""
    axes = len(ties.weight_shape)
    return replace(ties, weight_order=tuple(reversed(range(axes))))


def judge(ties, start, stop, seed=0):
    """Compare everything that the part says with the rows of the whole."""
    rng = np.random.default_rng(seed)

    def integers(shape):
        return rng.integers(-9, 9, shape, endpoint=True)

    part, rows = ties.rows(start, stop), slice(start, stop)
    assert part.shape == (stop - start, ties.shape[1])
    assert (part.weight_shape, part.bias_shape) == (ties.weight_shape, ties.bias_shape)
    w, b = integers(ties.weight_shape), integers(ties.bias_shape)
    x, dy = integers((2, *ties.in_shape)), integers((2, stop - start))

    whole = ties.matrix(w)
    matrix = part.matrix(w)
    assert same(matrix, whole[rows]) or matrix.nnz == whole[rows].nnz == 0
    times, flat = part.operator(w.astype(float)), x[0].ravel()
    assert np.array_equal(times @ flat, (whole @ flat)[rows])
    assert np.array_equal(times.H @ dy[0], whole[rows].T @ dy[0])
    assert same(part.bias.matrix(b), ties.bias.matrix(b)[rows])
    ones, one_each = (np.ones((2, *t.bias.in_shape), int) for t in (ties, part))
    db = ties.bias.add_edges(ones, within(dy, ties, rows))
    assert np.array_equal(part.bias.add_edges(one_each, dy), db)

    inputs, upstream = x.reshape(2, *part.in_shape), dy.reshape(2, *part.out_shape)
    expected = ties.gradient(x, within(dy, ties, rows).reshape(2, *ties.out_shape))
    assert np.array_equal(part.gradient(inputs, upstream), expected)
    assert np.array_equal(part.add_edges(inputs, upstream), expected)
    constant = ties.from_padding(w)
    if constant is not None:
        assert np.array_equal(part.from_padding(w).ravel(), constant.ravel()[rows])
    X = ties.data_matrix(x[0])
    assert same(part.data_matrix(inputs[0]), X[rows]) or X[rows].nnz == 0
    listed = part.entries()
    due = ties.entries()
    due = due.take((due.row >= start) & (due.row < stop))
    assert np.array_equal(listed.row + start, due.row)
    assert np.array_equal(listed.col, due.col)
    assert np.array_equal(listed.index, due.index)


def within(dy, ties, rows):
    """Return the gradient of all outputs that is zero beside these rows, (batch, outputs)."""
    upstream = np.zeros((len(dy), ties.shape[0]), dy.dtype)
    upstream[:, rows] = dy
    return upstream


@SETTINGS
@given(layers(max_axes=3), st.data())
def test_any_range_is_the_rows_of_the_whole(layer, data):
    ties = cd.tie(layer)
    start = data.draw(st.integers(0, ties.shape[0] - 1))
    stop = data.draw(st.integers(start + 1, ties.shape[0]))
    judge(ties, start, stop)
    judge(ordered(ties), start, stop)


@pytest.mark.parametrize("layer", OTHERS, ids=repr)
@pytest.mark.thinned(3)
def test_the_ranges_of_every_kind_of_layer(layer):
    ties = cd.tie(layer)
    rng = np.random.default_rng(3)
    for _ in range(6):
        start = int(rng.integers(ties.shape[0]))
        judge(ties, start, int(rng.integers(start + 1, ties.shape[0] + 1)))
    judge(ties, 0, ties.shape[0])


def test_coefficients_come_along():
    rng = np.random.default_rng(0)
    index = rng.integers(-1, 4, (6, 5))
    halves = cd.TieMap.from_index(index, rng.integers(1, 5, (6, 5)) / 2)
    product = replace(halves, axes=(*halves.axes, *cd.tie(cd.Linear(2, 3)).axes))
    judge(halves, 1, 4)
    for ends in ((1, 2), (2, 11), (3, 9), (17, 18)):
        judge(product, *ends)


def test_a_part_of_a_part_is_a_part():
    ties = cd.tie(cd.Conv((2, 5, 4), 3, 2, padding=1, padding_value=2))
    w = np.arange(24).reshape(ties.weight_shape)
    part, direct = ties.rows(7, 80).rows(4, 60), ties.rows(11, 67)
    assert same(part.matrix(w), direct.matrix(w))
    assert np.array_equal(part.from_padding(w).ravel(), direct.from_padding(w).ravel())
    assert same(part.bias.matrix([1, 2, 3]), direct.bias.matrix([1, 2, 3]))


def test_the_transpose_and_a_block_of_a_part_have_a_bias_of_their_own():
    part = cd.tie(cd.Conv((2, 5, 4), 3, 2)).rows(12, 24)
    assert part.T.bias_shape == (part.in_shape[0],)
    assert part.block(0, 1).bias_shape == (1,)


@SETTINGS
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_boxes_are_the_range_in_order(shape, data):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    start = data.draw(st.integers(0, numbers.size - 1))
    stop = data.draw(st.integers(start + 1, numbers.size))
    found = list(boxes(shape, start, stop))
    met = [numbers[tuple(slice(*ends) for ends in box)].ravel() for box in found]
    assert np.concatenate(met).tolist() == list(range(start, stop))
    assert len(found) <= 2 * len(shape) - 1


def test_a_range_that_is_a_product_stays_one():
    ties = cd.tie(cd.Conv((3, 20, 30), 4, 3, padding=1))
    for start, stop, out_shape in (
        (600, 1800, (2, 20, 30)),  # whole channels
        (1290, 1500, (1, 7, 30)),  # whole image rows of one channel
        (1293, 1299, (1, 1, 6)),  # a part of one image row
        (0, 2400, (4, 20, 30)),
    ):
        part = ties.rows(start, stop)
        assert (part.in_shape, part.out_shape) == (ties.in_shape, out_shape)
    assert ties.rows(570, 660).out_shape == (3, 30)  # over the end of a channel
    assert len(ties.rows(570, 660).axes) == 2  # the last axis stays as it is


def test_memory_is_that_of_the_part():
    ties = cd.tie(cd.Conv((64, 224, 224), 64, 3, padding=1))  # 1.8e9 entries
    bias = ties.bias  # made once
    assert bias.shape == (ties.shape[0], 1)
    tracemalloc.start()
    part = ties.rows(100_003, 100_403)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part.n_entries < 400 * 576
    assert peak < 100 * part.n_entries


def test_a_pickle_is_small_and_says_the_same():
    ties = cd.tie(cd.Conv((64, 224, 224), 64, 3, padding=1, padding_value=1))
    assert ties.bias.shape[1] == 1
    assert ties.n_entries
    again = pickle.dumps(ties)
    assert len(again) < 1 << 20
    small = cd.tie(NUMBERS[0])
    w = np.arange(24).reshape(small.weight_shape)
    assert same(pickle.loads(pickle.dumps(small.rows(5, 33))).matrix(w), small.matrix(w)[5:33])


@pytest.mark.parametrize(
    ("ends", "error", "text"),
    [
        ((2.0, 3), TypeError, "start: got 2.0; needs an integer of at least 0"),
        ((-1, 3), ValueError, "start: got -1; needs an integer of at least 0"),
        ((3, 3), ValueError, "start: got 3; needs less than stop=3"),
        ((0, 0), ValueError, "stop: got 0; needs an integer of at least 1"),
        ((0, 13), ValueError, "stop: got 13; needs at most 12, the number of outputs"),
    ],
)
def test_what_is_no_range_is_refused(ends, error, text):
    ties = cd.tie(cd.Conv((1, 4, 5), 1, 2))
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ties.rows(*ends)
    assert ties.rows(11, 12).shape == (1, 20)
