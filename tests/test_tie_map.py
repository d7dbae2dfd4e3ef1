"""The tie map: which weight sits where, against entries listed by hand."""

import tracemalloc
from collections import Counter
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import scipy.sparse as sp

from convdense import Conv, ConvTranspose, LocallyConnected, TiedDense, TieMap, tie
from convdense.structure import csr_assembly
from tests.test_direct import LAYERS, integers

LISTED = [  # a layer and all its entries (row, column, index), in order
    (Conv((1, 4), 1, kernel=2), [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 2, 1), (2, 2, 0), (2, 3, 1)]),
    (Conv((1, 3), 1, kernel=2, flip=True), [(0, 0, 1), (0, 1, 0), (1, 1, 1), (1, 2, 0)]),
    (
        Conv((2, 5), 1, kernel=2, stride=2, dilation=2),
        [(0, 0, 0), (0, 2, 1), (0, 5, 2), (0, 7, 3), (1, 2, 0), (1, 4, 1), (1, 7, 2), (1, 9, 3)],
    ),
    (
        Conv((1, 3), 1, kernel=3, padding=((1, 0),)),
        [(0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 1), (1, 2, 2)],
    ),
    (Conv((2, 2), 2, kernel=1, groups=2), [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 3, 1)]),
    (  # outputs 0 and 1 see inputs 0 and 1, outputs 2 and 3 see inputs 2 and 3
        Conv((4, 1), 4, kernel=1, groups=2),
        [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3), (2, 2, 4), (2, 3, 5), (3, 2, 6), (3, 3, 7)],
    ),
    (
        Conv((1, 2, 3), 1, kernel=2),
        [(0, 0, 0), (0, 1, 1), (0, 3, 2), (0, 4, 3), (1, 1, 0), (1, 2, 1), (1, 4, 2), (1, 5, 3)],
    ),
    (  # the one pixel stands under every tap of every window
        Conv((1, 1), 1, kernel=3, padding=10, padding_mode="replicate"),
        [(row, 0, k) for row in range(19) for k in range(3)],
    ),
    (  # 1 0 1 0
        Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect"),
        [(0, 0, 1), (0, 1, 0), (0, 1, 2), (1, 0, 0), (1, 0, 2), (1, 1, 1)],
    ),
    (  # 0 1 0 1
        Conv((1, 2), 1, kernel=3, padding=((2, 0),), padding_mode="circular"),
        [(0, 0, 0), (0, 0, 2), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2)],
    ),
    (  # 1 0 0 1
        Conv((1, 2), 1, kernel=3, padding=((2, 0),), padding_mode="symmetric"),
        [(0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 2)],
    ),
    (
        ConvTranspose((1, 2), 1, kernel=2, stride=2, output_padding=1),
        [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)],
    ),
    (ConvTranspose((2, 1), 1, kernel=2), [(0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 3)]),
    (
        ConvTranspose((1, 3), 1, kernel=3, padding=1),
        [(0, 0, 1), (0, 1, 0), (1, 0, 2), (1, 1, 1), (1, 2, 0), (2, 1, 2), (2, 2, 1)],
    ),
    (LocallyConnected((1, 3), 1, kernel=2), [(0, 0, 0), (0, 1, 1), (1, 1, 2), (1, 2, 3)]),
    (  # weights in the order (row, column, tap row, tap column)
        LocallyConnected((1, 3, 2), 1, kernel=(2, 1)),
        [(0, 0, 0), (0, 2, 1), (1, 1, 2), (1, 3, 3), (2, 2, 4), (2, 4, 5), (3, 3, 6), (3, 5, 7)],
    ),
    (
        TieMap.from_index([[2, -1, 0], [-1, -1, -1], [0, 2, 2]]),
        [(0, 0, 2), (0, 2, 0), (2, 0, 0), (2, 1, 2), (2, 2, 2)],
    ),
]
SIGNED = TieMap.from_index(
    [[1, 0, -1], [0, 1, 1]], coefficient=[[1, -1, 9], [0.5, 1, -2]]
)  # the 9 stands nowhere
MAPS = [tie(layer) for layer in [*LAYERS, *(layer for layer, _ in LISTED), SIGNED]]

on_listed_layers = pytest.mark.parametrize(
    ("layer", "entries"), LISTED, ids=lambda v: "" if type(v) is list else repr(v)
)
on_all_maps = pytest.mark.parametrize("ties", MAPS, ids=repr)


def listed(entries):
    """Return entries as a list of (row, column, index), with the coefficient where there is one."""
    return list(zip(*(part.tolist() for part in entries if part is not None), strict=True))


def position(flat, shape):
    """Return a flattened position as a tuple of ints."""
    return tuple(map(int, np.unravel_index(flat, shape)))


def added_up(ties, w):
    """Return the matrix written out entry by entry, in plain Python."""
    matrix = np.zeros(ties.shape, np.result_type(w, 1.0))
    for row, col, index, *coefficient in listed(ties.entries()):
        matrix[row, col] += prod(coefficient) * w.flat[index]
    return matrix


@pytest.fixture(params=["small", "large"])
def at_any_size(request, monkeypatch):
    """Run a test as it is, and once more with every map taken for a large one.

    The matrix of a large map is written run by run.
    """
    if request.param == "large":
        monkeypatch.setattr(csr_assembly, "PLAIN_BELOW", 0)


@on_listed_layers
def test_entries_listed_by_hand(layer, entries):
    ties = tie(layer)
    assert listed(ties.entries()) == entries
    assert ties.n_entries == len(entries)


def test_entries_with_coefficients():
    assert listed(SIGNED.entries()) == [
        (0, 0, 1, 1),
        (0, 1, 0, -1),
        (1, 0, 0, 0.5),
        (1, 1, 1, 1),
        (1, 2, 1, -2),
    ]
    assert listed(SIGNED.T.entries()) == [
        (0, 0, 1, 1),
        (0, 1, 0, 0.5),
        (1, 0, 0, -1),
        (1, 1, 1, 1),
        (2, 1, 1, -2),
    ]


@on_all_maps
def test_entries_are_sorted_and_distinct(ties):
    triples = [entry[:3] for entry in listed(ties.entries())]
    assert triples == sorted(set(triples))


@pytest.mark.parametrize("limit", [1, 7, 50, 10**6])
@on_all_maps
def test_slabs_hold_every_entry_once(ties, limit):
    slabs = [listed(slab) for slab in ties.slabs(limit)]
    assert max(map(len, slabs)) <= limit
    assert Counter(entry for slab in slabs for entry in slab) == Counter(listed(ties.entries()))


@pytest.mark.claim("forward")
@on_all_maps
def test_matrix_adds_up_the_entries(ties, at_any_size):
    w = integers(ties.weight_shape, 1).astype(float)
    np.testing.assert_array_equal(ties.matrix(w).toarray(), added_up(ties, w), strict=True)


def test_matrix_by_hand_with_shared_cells(at_any_size):
    """Two taps of one output read the same pixel.

    1 0 1 under (1, 10, 100) is 10 at pixel 0 and 101 at pixel 1.
    """
    ties = tie(Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect"))
    assert ties.matrix([[[1, 10, 100]]]).toarray().tolist() == [[10, 101], [101, 10]]


def test_matrix_of_one_replicated_pixel(at_any_size):
    ties = tie(Conv((1, 1), 1, kernel=3, padding=10, padding_mode="replicate"))
    matrix = ties.matrix([[[1, 10, 100]]])
    assert (matrix.nnz, matrix.toarray().tolist()) == (19, [[111]] * 19)


@pytest.mark.parametrize("value", [0, 1])
@on_all_maps
def test_matrix_is_canonical_and_stores_zeros(ties, value, at_any_size):
    matrix = ties.matrix(np.full(ties.weight_shape, value))
    cells = [entry[:2] for entry in listed(ties.entries())]
    rows = np.repeat(np.arange(ties.shape[0]), np.diff(matrix.indptr)).tolist()
    assert type(matrix) is sp.csr_array
    assert matrix.shape == ties.shape
    assert list(zip(rows, matrix.indices.tolist(), strict=True)) == sorted(set(cells))
    assert matrix.has_canonical_format


DTYPES = [
    "int8",
    "uint8",
    "uint64",
    "int16",
    "int32",
    "int64",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "ties",
    [
        tie(Conv((2, 3), 2, kernel=2)),
        tie(Conv((1, 2), 1, kernel=3, padding=1, padding_mode="reflect")),
        tie(LocallyConnected((1, 3), 1, kernel=2)),
        TieMap.from_index([[0, 0], [-1, 1]]),
    ],
    ids=repr,
)
def test_matrix_keeps_the_dtype(ties, dtype, at_any_size):
    w = np.ones(ties.weight_shape, dtype)
    assert ties.matrix(w).dtype == ties.matrix(w).toarray().dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize(
    "coefficient", [np.array([[1, -1]], np.int8), [[1, -1]], [[1.0, -0.5]]], ids=repr
)
def test_coefficients_leave_the_precision_alone(coefficient, dtype, at_any_size):
    """float32 weights stay float32, in whatever dtype people type the coefficients.

    Coefficients are small exact numbers.
    """
    assert TieMap.from_index([[0, 1]], coefficient).matrix(np.ones(2, dtype)).dtype == dtype


@on_all_maps
def test_mask_is_true_where_an_entry_is(ties, at_any_size):
    mask = ties.mask()
    expected = np.zeros(ties.shape, bool)
    for row, col, *_ in listed(ties.entries()):
        expected[row, col] = True
    assert type(mask) is sp.csr_array
    np.testing.assert_array_equal(mask.toarray(), expected, strict=True)
    assert mask.nnz == expected.sum()


def test_mask_of_a_cell_that_holds_256_entries(at_any_size):
    ties = tie(Conv((1, 1), 1, kernel=256, padding=128, padding_mode="replicate"))
    assert ties.mask().toarray().tolist() == [[True], [True]]


def test_counts_by_hand():
    counts = tie(Conv((1, 3), 1, kernel=3, padding=((1, 0),))).counts()
    assert [part.tolist() for part in counts] == [[[2, 3]], [[2, 2, 1]], [[[1, 2, 2]]]]


@on_all_maps
def test_counts_count_the_entries(ties):
    entries = ties.entries()
    parts = (
        (entries.row, ties.out_shape),
        (entries.col, ties.in_shape),
        (entries.index, ties.weight_shape),
    )
    for got, (positions, shape) in zip(ties.counts(), parts, strict=True):
        expected = np.bincount(positions, minlength=prod(shape)).reshape(shape)
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize(("name", "field"), [("row", 0), ("column", 1), ("copies", 2)], ids=str)
@on_all_maps
def test_row_column_and_copies_select_from_the_entries(ties, name, field):
    shape = (ties.out_shape, ties.in_shape, ties.weight_shape)[field]
    select, entries = getattr(ties, name), listed(ties.entries())
    for flat in np.random.default_rng(0).permutation(prod(shape))[:8]:
        expected = [entry for entry in entries if entry[field] == flat]
        assert listed(select(int(flat))) == listed(select(flat)) == expected
        assert (
            listed(select(position(flat, shape)))
            == listed(select(np.array(position(flat, shape))))
            == expected
        )


@on_all_maps
def test_block_is_a_part_of_the_matrix(ties, at_any_size):
    """Fixing the first axes of the output and of the input cuts out a submatrix."""
    w = integers(ties.weight_shape, 2)
    whole = ties.matrix(w).toarray().reshape(*ties.out_shape, *ties.in_shape)
    rng = np.random.default_rng(3)
    for depth in range(1, len(ties.out_shape) + 1):
        i, j = (
            tuple(rng.integers(0, shape[:depth]).tolist())
            for shape in (ties.out_shape, ties.in_shape)
        )
        block = ties.block(i, j)
        part = whole[i][(..., *j, *[slice(None)] * (len(ties.in_shape) - depth))]
        assert (block.weight_shape, block.out_shape[:depth], block.in_shape[:depth]) == (
            w.shape,
            *[(1,) * depth] * 2,
        )
        np.testing.assert_array_equal(
            block.matrix(w).toarray(), part.reshape(block.shape), strict=True
        )
        if depth == 1:
            assert listed(ties.block(*i, *j).entries()) == listed(block.entries())


def test_block_by_hand(at_any_size):
    ties = tie(Conv((2, 3), 2, kernel=2))
    w = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert ties.block(1, 0).matrix(w).toarray().tolist() == [[5, 6, 0], [0, 5, 6]]
    assert ties.block((0, 1), (1, 2)).matrix(w).toarray().tolist() == [[4]]
    assert ties.block((0, 1), (1, 0)).matrix(w).toarray().tolist() == [[0]]


@pytest.mark.claim("db")
@pytest.mark.parametrize(
    ("layer", "b", "column"),
    [
        (Conv((1, 3), 2, kernel=2), [5, 7], [5, 5, 7, 7]),
        (ConvTranspose((1, 2), 2, kernel=2), [5, 7], [5, 5, 5, 7, 7, 7]),
        (LocallyConnected((1, 3), 2, kernel=2), [[5, 7], [8, 9]], [5, 7, 8, 9]),
        (TieMap.from_index([[0], [-1]]), [5, 7], [5, 7]),
    ],
    ids=repr,
)
def test_bias_is_a_tied_layer_whose_one_input_is_1(layer, b, column, at_any_size):
    bias = tie(layer).bias
    assert bias.matrix(b).toarray().tolist() == [[v] for v in column]
    assert bias.weight_shape == tie(layer).bias_shape == np.shape(b)


@on_all_maps
def test_transposed_map_is_the_transposed_matrix(ties, at_any_size):
    w = integers(ties.weight_shape, 4)
    np.testing.assert_array_equal(
        ties.T.matrix(w).toarray(), ties.matrix(w).toarray().T, strict=True
    )
    assert (ties.T.in_shape, ties.T.out_shape, ties.T.weight_shape) == (
        ties.out_shape,
        ties.in_shape,
        ties.weight_shape,
    )
    assert listed(ties.T.T.entries()) == listed(ties.entries())


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_map_has_the_shapes_of_its_layer(layer):
    ties, names = tie(layer), ("in_shape", "out_shape", "weight_shape", "bias_shape")
    assert {n: getattr(ties, n) for n in names} == {n: getattr(layer, n) for n in names}
    assert (ties.shape, ties.n_weights) == (
        (prod(layer.out_shape), prod(layer.in_shape)),
        prod(layer.weight_shape),
    )


@pytest.mark.claim("transposed")
def test_transposed_convolution_is_the_transposed_map():
    up = ConvTranspose((3, 4), 2, kernel=3, stride=2, padding=1, output_padding=1)
    down = Conv((2, 8), 3, kernel=3, stride=2, padding=1)
    assert listed(tie(up).entries()) == listed(tie(down).T.entries())


@pytest.mark.parametrize(
    ("index", "coefficient", "w", "matrix"),
    [
        ([[0, 1], [1, -1]], None, [5, 7], [[5, 7], [7, 0]]),
        ([[0, -1, 2]], None, [5, 7, 9], [[5, 0, 9]]),  # weight 1 sits nowhere
        ([[0, 0], [0, 0], [0, 0]], None, [-3], [[-3, -3], [-3, -3], [-3, -3]]),
        ([[0, 1], [1, 0]], [[1, -1], [1, 2]], [5, 7], [[5, -7], [7, 10]]),
        ([[0, -1]], [[0.5, 8]], [3], [[1.5, 0]]),
    ],
    ids=str,
)
def test_from_index_is_any_sharing(index, coefficient, w, matrix, at_any_size):
    ties = TieMap.from_index(index, coefficient)
    assert ties.matrix(w).toarray().tolist() == matrix
    assert ties.matrix(w).nnz == np.sum(np.array(index) >= 0)
    assert listed(TieMap.from_index(np.array(index, np.int8), coefficient).entries()) == listed(
        ties.entries()
    )


def test_from_index_counts_weights_that_sit_nowhere():
    assert TieMap.from_index([[0, -1, 2]]).counts().weights.tolist() == [1, 0, 1]


def test_local_weights_stand_by_output_position_then_tap():
    """The weight of output (1, 0), tap (0, 1) reads input (1, 1).

    Weights are numbered (out, in, row, column, tap row, tap column).
    """
    ties = tie(LocallyConnected((1, 3, 4), 1, kernel=2))
    assert listed(ties.copies((0, 0, 1, 0, 0, 1))) == [(3, 5, ((1 * 3 + 0) * 2 + 0) * 2 + 1)]


@on_listed_layers
def test_repr_shows_shapes_and_entries(layer, entries):
    ties = tie(layer)
    shapes = f"in={ties.in_shape}, out={ties.out_shape}, weights={ties.weight_shape}"
    assert repr(ties) == f"TieMap({shapes}, entries={len(entries)})"


def test_repr_of_a_large_map():
    expected = (
        "TieMap(in=(64, 56, 56), out=(64, 56, 56), weights=(64, 64, 3, 3), entries=112,869,376)"
    )
    assert repr(tie(Conv((64, 56, 56), 64, kernel=3, padding=1))) == expected


@dataclass(frozen=True)
class Antisymmetric:
    """The user's own layer: W = -W^T, one weight per pair."""

    n: int


@tie.register
def _(layer: Antisymmetric) -> TieMap:
    rows, cols = np.triu_indices(layer.n, 1)
    index, sign = np.full((layer.n, layer.n), -1), np.ones((layer.n, layer.n), np.int8)
    index[rows, cols] = index[cols, rows] = np.arange(len(rows))
    sign[cols, rows] = -1
    return TieMap.from_index(index, sign)


def test_a_layer_of_your_own():
    layer = TiedDense(Antisymmetric(3), [1, 2, 3])
    assert layer.matrix.toarray().tolist() == [[0, 1, 2], [-1, 0, 3], [-2, -3, 0]]
    assert layer.forward([10, 100, 1000]).tolist() == [2100, 2990, -320]
    assert layer.backward([10, 100, 1000], [1, 0, -1]).dw.tolist() == [100, 1000 + 10, 100]


def test_a_map_is_its_own_map():
    ties = tie(Conv((1, 4), 1, kernel=2))
    assert tie(ties) is ties


def test_the_map_of_a_large_layer_costs_next_to_nothing():
    """113 million entries: the map takes under 5 MB to make and to hold."""
    layer = Conv((64, 56, 56), 64, kernel=3, padding=1)
    tracemalloc.start()
    ties = tie(layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ties.n_entries == 112_869_376
    assert peak < 5_000_000
