"""Every fast form equals its slow one, exactly, on random layers."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense._util import threads
from convdense.structure import (
    csr_assembly,
    linear_operator,
    sliding,
    window_families,
    window_products,
)
from convdense.structure.axis import parts, window
from convdense.structure.progressions import Axis
from convdense.structure.row_runs import find_runs, merge
from tests.strategies import integers_for, layers
from tests.thinned import examples

SETTINGS = settings(max_examples=examples(120), deadline=None, derandomize=True)
AWKWARD = (
    cd.Conv((2, 1), 3, 3, padding=10, padding_mode="replicate"),  # 57 terms meet in one cell
    cd.Conv((2, 3, 2), 3, 3, padding=2, padding_mode="symmetric"),
    cd.Conv((2, 2, 3), 2, (2, 3), padding=2, padding_mode="circular", stride=2),
    cd.Conv((1, 6), 1, 6, padding="full"),  # every row has a pattern of its own
    cd.ConvTranspose((2, 4, 3), 3, (3, 2), stride=(3, 2), dilation=(2, 1), output_padding=(2, 1)),
    cd.ConvTranspose((1, 3), 2, 2, stride=4),  # rows without any entry
    cd.Conv((6, 5), 4, 2, groups=2),
    cd.Conv((5, 5, 4), 10, 2, groups=5),
    cd.LocallyConnected((2, 5, 4), 3, (2, 3), stride=(2, 1), padding=1, padding_mode="replicate"),
)


def integers(layer, dtype=np.int64, seed=1):
    return (
        np.random.default_rng(seed).integers(-9, 9, layer.weight_shape, endpoint=True).astype(dtype)
    )


def same(left: sp.csr_array, right: sp.csr_array) -> bool:
    """Equal in every stored number and in dtype: not only in value."""
    parts = ("data", "indices", "indptr")
    equal = all(np.array_equal(getattr(left, p), getattr(right, p)) for p in parts)
    return equal and left.shape == right.shape and left.dtype == right.dtype


def forced(layer, w) -> sp.csr_array:
    """The fast assembly, however small the layer."""
    ties = cd.tie(layer)
    return csr_assembly.assemble_by_runs(csr_assembly.make_plan(ties.axes), ties._weights.by_tap(w))


def listed(layer, w) -> sp.csr_array:
    ties = cd.tie(layer)
    return csr_assembly.assemble_by_entries(ties.axes, ties._weights.by_tap(w))


@pytest.mark.claim("forward", "dx")
@SETTINGS
@given(layers(max_axes=4), st.sampled_from(["int64", "float32", "complex64"]))
def test_fast_assembly_is_the_plain_one(layer, dtype):
    w = integers(layer, dtype)
    assert same(forced(layer, w), listed(layer, w))


@pytest.mark.claim("forward", "dx")
@pytest.mark.parametrize("layer", AWKWARD, ids=repr)
@pytest.mark.parametrize(
    "dtype", ["int32", "int64", "float32", "float64", "complex64", "complex128"]
)
def test_awkward_layers_are_assembled_alike(layer, dtype):
    w = integers(layer, dtype)
    matrix = forced(layer, w)
    assert same(matrix, listed(layer, w))
    assert matrix.has_canonical_format
    assert sp.csr_array(
        (matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape
    ).has_canonical_format


@pytest.mark.parametrize("layer", AWKWARD, ids=repr)
def test_threads_and_slabs_write_the_same(layer, monkeypatch):
    w = integers(layer)
    monkeypatch.setattr(csr_assembly, "SLAB", 5)
    monkeypatch.setattr(csr_assembly, "THREADS_FROM", 0)
    assert same(forced(layer, w), listed(layer, w))


@pytest.mark.parametrize("layer", AWKWARD, ids=repr)
def test_zero_weights_are_stored(layer):
    pattern = forced(layer, np.ones(layer.weight_shape))
    zeros = forced(layer, np.zeros(layer.weight_shape))
    assert np.array_equal(pattern.indices, zeros.indices)
    assert zeros.nnz == pattern.nnz > 0


def test_matrix_takes_the_fast_way_for_large_layers_and_the_plain_way_where_nothing_repeats(
    monkeypatch,
):
    taken = Counter()
    for name in ("assemble_by_entries", "assemble_by_runs"):
        real = getattr(csr_assembly, name)
        monkeypatch.setattr(
            csr_assembly, name, lambda *a, name=name, real=real: taken.update([name]) or real(*a)
        )
    large, small = cd.Conv((3, 20, 20), 4, 3), cd.Conv((1, 4), 1, 2)
    for layer, way in ((large, "assemble_by_runs"), (small, "assemble_by_entries")):
        cd.tie(layer).matrix(integers(layer))
        assert taken == {way: 1}
        taken.clear()
    rng = np.random.default_rng(0)
    irregular = cd.TieMap.from_index(rng.integers(-1, 50, (5000, 8)))
    assert irregular._plan is None
    irregular.matrix(np.arange(irregular.n_weights))
    assert taken == {"assemble_by_entries": 1}


# Runs and merged taps


@SETTINGS
@given(layers(max_axes=2))
def test_runs_hold_every_entry_of_an_axis_once_and_in_place(layer):
    for axis in cd.tie(layer).axes:
        merged, _ = merge(axis)
        found = set()
        for run in find_runs(merged):
            for i in range(run.count):
                part = run.part(i, i + 1)
                for j, (col, tap) in enumerate(
                    zip(part.cols.tolist(), part.taps.tolist(), strict=True)
                ):
                    found.add((part.offset + j, run.start + i * run.step, col, tap))
        number = range(len(merged))
        assert found == set(
            zip(
                number,
                merged.rows.tolist(),
                merged.cols.tolist(),
                merged.taps.tolist(),
                strict=True,
            )
        )


def test_a_convolution_has_three_runs_and_a_transposed_one_few():
    assert len(find_runs(window(100, 100, 3, stride=1, dilation=1, begin=1, flip=False))) == 3
    transposed = merge(window(200, 100, 3, stride=2, dilation=1, begin=1, flip=False).T)[0]
    assert len(find_runs(transposed)) <= 5


def test_an_irregular_axis_has_no_runs():
    rng = np.random.default_rng(0)
    rows, cols = (
        np.repeat(np.arange(9000), 3),
        rng.permuted(np.tile(np.arange(9), (9000, 1)), axis=1)[:, :3].ravel(),
    )
    axis = merge(Axis.of(rows, cols, rng.integers(0, 5, 27000), 9000, 9, (5,)))[0]
    assert find_runs(axis) is None


# Windows over padded cells


def entries_of(found, axis):
    """Every (row, column, tap) of windows, by the runs and by what their cells hold."""
    cells = found.cells
    holds = {cells.begin + i: cells.first + i for i in range(cells.length)}
    holds |= {cell: holds[copied] for cell, copied in cells.copied}
    entries = Counter()
    for run in found.runs:
        for i in range(run.count):
            for cell, tap in zip((run.cols + i * run.col_step).tolist(), run.taps, strict=True):
                assert 0 <= cell < cells.size
                if cell in holds:
                    entries[run.start + i * run.step, holds[cell], int(tap)] += 1
    return entries


@SETTINGS
@given(layers(max_axes=2))
def test_windows_hold_every_entry_of_an_axis_once(layer):
    for axis in cd.tie(layer).axes[1:]:
        for one in (axis, axis.T):
            found = sliding._windows(one)
            if found is not None:
                plain = zip(one.rows.tolist(), one.cols.tolist(), one.taps.tolist(), strict=True)
                assert entries_of(found, one) == Counter(plain)


@pytest.mark.parametrize("mode", ["zeros", "circular", "replicate", "reflect", "symmetric"])
def test_padding_leaves_one_run_and_its_adjoint_one_for_each_place(mode):
    padded = window(9, 9, 5, stride=1, dilation=1, begin=2, end=2, mode=mode, flip=False)
    found = sliding._windows(padded)
    assert [run.count for run in found.runs] == [9]
    assert found.cells.size == 13
    assert len(found.cells.copied) == (0 if mode == "zeros" else 4)
    strided = window(20, 9, 5, stride=2, dilation=1, begin=1, flip=False)
    assert len(sliding._windows(strided.T).runs) == 2
    assert [run.count for run in sliding._windows(sliding.over_cells(padded, found).T).runs] == [13]


def test_rows_with_weights_of_their_own_are_no_windows():
    local = cd.tie(cd.LocallyConnected((1, 9), 1, 3)).axes[1]
    assert sliding._windows(local) is None
    assert sliding.slide(local) is None
    assert sliding._windows(parts(7, 3)) is None
    assert sliding.slide(parts(7, 3)) is not None  # all with one weight, row by row


# Operator and gradient


@pytest.fixture(params=["the best blocks", "large blocks", "small parts"])
def never_stored(request, monkeypatch):
    monkeypatch.setattr(linear_operator, "STORED_UP_TO", -1)
    if request.param != "the best blocks":  # as many rows of the last axis together as there can be
        monkeypatch.setattr(window_families, "cost", lambda family, *_: -family.block)
    if request.param == "small parts":
        for name in ("SLAB", "COLUMNS", "ROWS"):
            monkeypatch.setattr(window_products, name, 1)
        for name in ("ALONE_FROM", "SPREAD_FROM"):
            monkeypatch.setattr(threads, name, 0)
        monkeypatch.setattr(window_products, "SPREAD_FROM", 0)
        monkeypatch.setattr(threads, "cores", lambda: 2)


@pytest.mark.usefixtures("never_stored")
class TestOperator:
    @SETTINGS
    @given(
        layers(max_axes=4), st.integers(0, 3), st.sampled_from(["int64", "float64", "complex128"])
    )
    def test_products_and_adjoints_are_those_of_the_matrix(self, layer, batch, dtype):
        w = integers(layer, dtype)
        A, op = listed(layer, w), cd.tie(layer).operator(w)
        rng = np.random.default_rng(2)
        X, Y = (rng.integers(-9, 9, (n, batch)).astype(dtype) for n in A.shape[::-1])
        assert np.array_equal(op.matmat(X), A @ X)
        assert np.array_equal(op.rmatmat(Y), A.conj().T @ Y)
        if batch:
            assert np.array_equal(op.matvec(X[:, 0]), A @ X[:, 0])
            assert np.array_equal(op.rmatvec(Y[:, 0]), A.conj().T @ Y[:, 0])

    @SETTINGS
    @given(layers(max_axes=4))
    def test_the_gradient_is_the_sum_over_edges(self, layer):
        x, _, _, dy = integers_for(layer, 3, batch=3)
        ties = cd.tie(layer)
        assert np.array_equal(ties.gradient(x, dy), ties.add_edges(x, dy))
        assert np.array_equal(
            ties.gradient(x + 1j * x[::-1], dy), ties.add_edges(x + 1j * x[::-1], dy + 0j)
        )

    @pytest.mark.parametrize("layer", AWKWARD, ids=repr)
    def test_awkward_layers_are_multiplied_alike(self, layer):
        x, w, _, dy = integers_for(layer, 3, batch=3)
        op, A = cd.tie(layer).operator(w), listed(layer, w)
        assert np.array_equal(op @ x.reshape(3, -1).T, A @ x.reshape(3, -1).T)
        assert np.array_equal(op.H @ dy.reshape(3, -1).T, A.T @ dy.reshape(3, -1).T)
        assert np.array_equal(cd.tie(layer).gradient(x, dy), cd.tie(layer).add_edges(x, dy))

    def test_a_regular_layer_stores_no_matrix_and_an_untied_one_does(self, monkeypatch):
        stored = []
        real = csr_assembly.assemble
        monkeypatch.setattr(csr_assembly, "assemble", lambda *a: stored.append(a) or real(*a))
        regular, untied = cd.Conv((2, 6, 5), 3, 2), cd.LocallyConnected((2, 6, 5), 3, 2)
        cd.tie(regular).operator(integers(regular, float)) @ np.ones(60)
        assert not stored
        cd.tie(untied).operator(integers(untied, float))
        assert stored

    def test_float32_stays_float32(self):
        layer = cd.Conv((2, 6, 5), 3, 2)
        x, w, _, dy = integers_for(layer, 1, dtype=np.float32)
        op = cd.tie(layer).operator(w)
        assert (op.dtype, (op @ x[0].ravel()).dtype) == (np.float32, np.float32)
        assert cd.tie(layer).gradient(x, dy).dtype == np.float32

    def test_scipy_finds_the_singular_values_of_the_matrix(self):
        from scipy.sparse.linalg import lsqr, svds

        layer = cd.Conv((2, 7, 6), 3, 3, padding=1)
        w = np.random.default_rng(0).normal(size=layer.weight_shape)
        op, A = cd.tie(layer).operator(w), cd.tie(layer).matrix(w)
        truth = np.linalg.svd(A.toarray(), compute_uv=False)[0]
        # A singular value moves by at most the norm of the perturbation (Weyl): N u per product,
        # 200 steps.
        slack = 200 * A.shape[1] * 2**-53 * np.linalg.norm(A.toarray())
        assert abs(svds(op, k=1, return_singular_vectors=False, random_state=0)[0] - truth) <= slack
        x = np.random.default_rng(1).normal(size=A.shape[1])
        assert np.linalg.norm(
            A @ lsqr(op, A @ x, atol=1e-12, btol=1e-12)[0] - A @ x
        ) <= 1e-9 * np.linalg.norm(A @ x)


def test_small_matrices_are_stored_because_that_is_faster(monkeypatch):
    stored = []
    real = csr_assembly.assemble
    monkeypatch.setattr(csr_assembly, "assemble", lambda *a: stored.append(a) or real(*a))
    layer = cd.Conv((1, 16, 16), 1, 3)
    operator = cd.tie(layer).operator(integers(layer, float))
    operator @ np.ones(256)
    operator.H @ np.ones(14 * 14)
    assert len(stored) == 1


# Memory


@SETTINGS
@given(layers(), st.integers(1, 12))
def test_blocks_are_the_rows_of_the_matrix(layer, parts):
    w = integers(layer)
    ties = cd.tie(layer)
    whole = ties.matrix(w)
    row = (
        int(ties.counts().outputs.max()) * 12 + 16
    )  # bytes of the longest row, 12 an entry, and its two pointers
    limit = max(csr_assembly.nbytes(ties.axes, w.dtype) // parts, row)
    place, blocks = 0, list(ties.blocks(w, limit))
    for rows, block in blocks:
        assert rows.start == place
        assert same(block, whole[rows]) or block.nnz == 0
        assert block.data.nbytes + block.indices.nbytes + block.indptr.nbytes <= limit
        place = rows.stop
    assert place == whole.shape[0]


def test_a_block_smaller_than_a_row_is_refused():
    ties = cd.tie(cd.Conv((1, 3), 1, 2))
    with pytest.raises(
        ValueError, match=r"^max_bytes: got 10; needs at least 32, the size of one row$"
    ):
        list(ties.blocks([[[1, 2]]], 10))
    assert len(list(ties.blocks([[[1, 2]]], 32))) == 2


def test_a_matrix_larger_than_allowed_is_refused_before_anything_is_allocated():
    large = cd.tie(cd.Conv((512, 2048, 2048), 512, 3, padding=1))
    w = np.zeros(large.weight_shape, np.float32)
    with pytest.raises(MemoryError) as refused:
        large.matrix(w)
    text = str(refused.value)
    assert text.startswith("matrix: got about 118,687,138,840,584 bytes; needs at most max_bytes=")
    assert text.endswith(
        "; use ties.operator(w), which stores no matrix, or ties.blocks(w, max_bytes), "
        "block by block"
    )


def test_the_estimate_is_the_size_and_the_limit_is_sharp():
    layer = cd.Conv((3, 20, 20), 4, 3)
    ties, w = cd.tie(layer), integers(layer, np.float32)
    A = ties.matrix(w)
    size = A.data.nbytes + A.indices.nbytes + A.indptr.nbytes
    assert csr_assembly.nbytes(ties.axes, np.float32) == size
    assert same(ties.matrix(w, max_bytes=size), A)
    with pytest.raises(MemoryError, match=f"max_bytes={size - 1:,}"):
        ties.matrix(w, max_bytes=size - 1)


@pytest.mark.parametrize(
    ("entries", "cols", "width"),
    [
        (2**31 - 1, 5, np.int32),
        (2**31, 5, np.int64),
        (5, 2**31 - 1, np.int32),
        (5, 2**31, np.int64),
    ],
)
def test_indices_have_64_bits_from_two_to_the_31_on(entries, cols, width):
    assert csr_assembly.index_dtype(entries, cols) is width


def test_wide_indices_reach_the_matrix(monkeypatch):
    layer = cd.Conv((2, 6, 5), 3, 2)
    w = integers(layer)
    monkeypatch.setattr(csr_assembly, "index_dtype", lambda *_: np.int64)
    matrix = forced(layer, w)
    assert (matrix.indices.dtype, matrix.indptr.dtype) == (np.int64, np.int64)
    assert same(matrix, listed(layer, w))


# Maps where one weight, or one row, occurs again and again

REPEATING = (
    cd.TieMap.from_index([[0, 0]]),
    cd.TieMap.from_index([[0, 1, 0], [1, 0, 1]]),
    cd.TieMap.from_index(np.zeros((4, 5), int)),
    cd.TieMap.from_index(np.tile(np.arange(5), (4, 1))),
    cd.TieMap.from_index(np.tile(np.arange(4)[:, None], (1, 5))),
    cd.TieMap.from_index([[0, 0, 1], [1, -1, 0]], [[1, -1, 0.5], [-0.5, 1, 2]]),
    cd.tie(cd.Conv((1, 3), 1, 1, padding=1, padding_mode="replicate")).T,
    cd.tie(cd.Conv((2, 3, 4), 2, 2, padding=1, padding_mode="symmetric")).T,
    cd.tie(cd.ConvTranspose((2, 3), 2, 3, stride=2)).T,
    cd.tie(cd.SumPool((2, 5, 4), kernel=2, stride=1)),
)


@pytest.mark.parametrize("ties", REPEATING, ids=repr)
@pytest.mark.parametrize("batch", [1, 40])  # columns fewer and more than entries of the matrix
def test_the_adjoint_by_a_stored_complex_matrix_is_exact(ties, batch, monkeypatch):
    monkeypatch.setattr(linear_operator, "STORED_CALL", -np.inf)
    rng = np.random.default_rng(0)
    w, y = (
        rng.integers(-9, 9, s) + 1j * rng.integers(-9, 9, s)
        for s in (ties.weight_shape, (ties.shape[0], batch))
    )
    assert np.array_equal(ties.operator(w).H @ y, ties.matrix(w).toarray().conj().T @ y)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_infinity_and_nan_reach_the_outputs_that_read_them_and_no_others(bad):
    ties = cd.tie(cd.Conv((2, 20, 24), 2, 7, padding=3))
    w = np.random.default_rng(0).integers(1, 9, ties.weight_shape).astype(float)
    A, stored = ties.operator(w, max_bytes=0), ties.matrix(w)
    for batch in (1, 8):
        x = np.ones((960, batch))
        assert np.array_equal(A @ x, stored @ x)
        x[200, 0] = bad
        for got, wanted in ((A @ x, stored @ x), (A.H @ x, stored.T @ x)):
            assert np.array_equal(got, wanted, equal_nan=True)
    assert any(family.block > 1 for plan in plans(A) for family in plan.families)


def plans(A):
    """Return what an operator has planned for its products."""
    return list(A._CustomLinearOperator__matvec_impl._plans.values())


def test_layers_without_outputs_have_blocks():
    ties = cd.tie(cd.Conv((2, 5, 0), 2, (2, 1)))
    assert ties.shape == (0, 0)
    ((rows, block),) = ties.blocks(np.ones(ties.weight_shape), 1000)
    assert (rows, block.shape) == (slice(0, 0), (0, 0))


def test_the_first_block_of_a_thousand_million_rows():
    ties = cd.tie(cd.Conv((2, 10**9), 2, 3, padding=1))
    w = np.arange(12.0).reshape(ties.weight_shape)
    rows, block = next(iter(ties.blocks(w, 1000)))
    assert (block != ties.rows(0, rows.stop).matrix(w)).nnz == 0
    assert block[[0]].data.tolist() == [1, 2, 4, 5]  # taps 1 and 2 of both channels


def test_an_operator_stores_no_more_than_it_may(monkeypatch):
    ties = cd.tie(cd.Conv((2, 5, 6), 3, 3, padding=1))
    w = np.random.default_rng(0).integers(-9, 9, ties.weight_shape).astype(float)
    x, size = np.arange(60.0), csr_assembly.nbytes(ties.axes, np.dtype(float))
    made = []

    class Counted(linear_operator.Stored):
        @property
        def matrix(self):
            made.append(1)
            return self.make()

    monkeypatch.setattr(linear_operator, "Stored", Counted)
    wanted = ties.matrix(w) @ x
    for max_bytes, n in ((0, 0), (size - 1, 0), (size, 1), (None, 2)):
        assert np.array_equal(ties.operator(w, max_bytes=max_bytes) @ x, wanted)
        assert len(made) == n
    monkeypatch.setattr(linear_operator, "physical_memory", lambda: linear_operator.SHARE * size)
    ties.operator(w) @ x
    assert len(made) == 3
    monkeypatch.setattr(
        linear_operator, "physical_memory", lambda: linear_operator.SHARE * size - 1
    )
    ties.operator(w) @ x
    assert len(made) == 3
    for wrong, error in ((-1, ValueError), ("1 GB", TypeError)):
        with pytest.raises(error, match="max_bytes: got"):
            ties.operator(w, max_bytes=wrong)


@pytest.mark.parametrize("ties", REPEATING, ids=repr)
def test_a_weight_or_row_that_occurs_again_is_counted_each_time(ties, monkeypatch):
    monkeypatch.setattr(linear_operator, "STORED_UP_TO", -1)
    rng = np.random.default_rng(0)
    x, dy, w = (
        rng.integers(-9, 9, s).astype(float)
        for s in ((3, *ties.in_shape), (3, *ties.out_shape), ties.weight_shape)
    )
    A, stored = ties.operator(w), ties.matrix(w)
    columns, rows = x.reshape(3, -1).T, dy.reshape(3, -1).T
    assert np.array_equal(A @ columns, stored @ columns)
    assert np.array_equal(A @ columns[:, 0], stored @ columns[:, 0])
    assert np.array_equal(A.H @ rows, stored.T @ rows)
    assert np.array_equal(ties.gradient(x, dy), ties.add_edges(x, dy))


def test_operators_and_blocks_keep_the_weights_they_were_given():
    ties = cd.tie(cd.Conv((2, 300, 300), 2, 3, padding=1))
    w = np.ones(ties.weight_shape) + 1j
    A, blocks = ties.operator(w), ties.blocks(w, 10**7)
    x = np.ones(ties.shape[1])
    y, back = A @ x, A.H @ np.ones(ties.shape[0])
    w *= 2
    assert np.array_equal(A @ x, y)
    assert np.array_equal(A.H @ np.ones(ties.shape[0]), back)
    assert np.array_equal(np.concatenate([block @ x for _, block in blocks]), y)


def test_halves_of_integers_are_counted_as_the_floats_they_become():
    ties, w = (
        cd.TieMap.from_index(np.zeros((7, 5), int), np.full((7, 5), 0.5)),
        np.array([1], np.int8),
    )
    size = sum(getattr(ties.matrix(w), part).nbytes for part in ("data", "indices", "indptr"))
    with pytest.raises(MemoryError):
        ties.matrix(w, max_bytes=size - 1)
    assert ties.matrix(w, max_bytes=size).dtype == np.float64
    blocks = [block for _, block in ties.blocks(w, 68)]
    assert max(b.data.nbytes + b.indices.nbytes + b.indptr.nbytes for b in blocks) <= 68


def test_blocks_that_cannot_be_made_are_refused_at_the_call():
    ties = cd.TieMap.from_index([[0, -1, -1, -1], [0, -1, -1, -1], [0, 1, 0, 1]])
    for limit, error in ((30, ValueError), (-5, ValueError), (None, TypeError)):
        with pytest.raises(error, match="max_bytes: got"):
            ties.blocks(np.array([1.0, 2.0]), limit)
    assert len(list(ties.blocks(np.array([1.0, 2.0]), 56))) == 3


def test_temporaries_stay_small_where_one_input_has_many_outputs():
    conv = cd.Conv((1, 256, 256), 64, 3, padding=1)
    ties, rng = cd.tie(conv), np.random.default_rng(0)
    A, x = ties.operator(rng.normal(size=conv.weight_shape)), rng.normal(size=(ties.shape[1], 4))
    tracemalloc.start()
    y = A @ x
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - y.nbytes < 64e6


@pytest.mark.parametrize(
    ("layer", "batch", "stored"),
    [
        (cd.Conv((64, 56, 56), 64, 3, padding=1), 1, False),
        (cd.Conv((1, 128, 128), 1, 31, padding=15), 1, False),
        (cd.Conv((16, 56, 56), 16, 3, padding=1, groups=16), 64, True),  # one row to a product
        (cd.Conv((1, 8, 8), 1, 3), 1, True),  # small
    ],
    ids=repr,
)
def test_the_operator_stores_its_matrix_only_where_that_is_faster(
    layer, batch, stored, monkeypatch
):
    asked = []
    real = csr_assembly.assemble
    monkeypatch.setattr(csr_assembly, "assemble", lambda *a: asked.append(1) or real(*a))
    ties = cd.tie(layer)
    ties.operator(np.ones(layer.weight_shape, np.float32)) @ np.ones((ties.shape[1], batch), "f4")
    assert bool(asked) == stored


def test_a_matrix_the_operator_must_store_is_refused_if_it_cannot_be_held(monkeypatch):
    monkeypatch.setattr(csr_assembly, "physical_memory", lambda: 10**6)
    layer = cd.LocallyConnected((2, 100, 100), 3, 3)
    with pytest.raises(
        MemoryError, match=r"matrix: got about .* bytes; needs at most max_bytes=1,000,000"
    ):
        cd.tie(layer).operator(np.ones(layer.weight_shape))


def test_a_matrix_that_must_be_listed_needs_the_memory_of_the_list_too(monkeypatch):
    irregular = cd.TieMap.from_index(np.random.default_rng(0).integers(-1, 50, (5000, 8)))
    w = np.ones(irregular.n_weights)
    size = csr_assembly.nbytes(irregular.axes, w.dtype)
    monkeypatch.setattr(csr_assembly, "physical_memory", lambda: 2 * size)
    with pytest.raises(MemoryError):
        irregular.matrix(w)
    assert irregular.matrix(w, max_bytes=2 * size).nnz > 0  # whoever names a limit means the matrix
    monkeypatch.setattr(csr_assembly, "physical_memory", lambda: csr_assembly.PLAIN_MEMORY * size)
    assert irregular.matrix(w).nnz > 0
