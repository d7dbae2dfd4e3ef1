"""The operator norm lies between the bounds: decided exactly, over the rationals.

``u^2 I - A^T A`` is positive definite if and only if u is above the norm of A. For integer weights
and a bound u, which as every float is a rational number, Gauss' elimination over the rationals
decides it without a rounding (Sylvester). A is made of direct convolutions of unit vectors.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense.norms import _norm_bounds, gram_matrix, symbol
from convdense.norms._norm_bounds import NormBounds, norm_bounds
from convdense.norms.definite import eigenvalue_bound, norm_of_stack
from tests.strategies import calls, seeds, signed_integers


def dense(layer, w):
    """Return the matrix by direct convolution of unit vectors, as integers."""
    n = int(np.prod(layer.in_shape))
    units = np.eye(n).reshape(n, *layer.in_shape)
    if getattr(layer, "padding_value", 0):
        zero = cd.convolve(layer, units[:1] * 0, w)
        return (cd.convolve(layer, units, w) - zero).reshape(n, -1).T
    return cd.convolve(layer, units, w).reshape(n, -1).T


def is_positive_definite(matrix):
    """Decide it for Hermitian rows of rational numbers: every pivot is above 0."""
    rows = [list(row) for row in matrix]
    for k, pivot_row in enumerate(rows):
        if pivot_row[k] <= 0:
            return False
        for row in rows[k + 1 :]:
            if row[k]:
                factor = row[k] / pivot_row[k]
                row[k:] = [a - factor * b for a, b in zip(row[k:], pivot_row[k:], strict=True)]
    return True


def is_above(u, matrix):
    """Decide whether u is above the norm of an integer matrix, complex ones as real ones."""
    if np.iscomplexobj(matrix):  # the same singular values, twice
        re, im = matrix.real, matrix.imag
        matrix = np.block([[re, -im], [im, re]])
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    whole = matrix.astype(np.int64)
    assert (whole == matrix).all()
    square = Fraction(u) ** 2
    gram = (whole.T @ whole).tolist()
    return is_positive_definite(
        [[square * (i == j) - g for j, g in enumerate(row)] for i, row in enumerate(gram)]
    )


def enclosed(bounds, matrix):
    """Tell whether the norm of an integer matrix lies between the bounds, which may touch it."""
    if not matrix.any():
        return bounds.lower == 0 <= bounds.upper
    return is_above(bounds.upper, matrix) and not is_above(bounds.lower, matrix)


def small(call, most=30):
    layer = call.layer()
    return min(np.prod(layer.in_shape), np.prod(layer.out_shape)) <= most


@pytest.fixture
def too_large(monkeypatch):
    """As if every layer were too large for its Gram matrix."""
    monkeypatch.setattr(gram_matrix, "ENTRIES", -1)
    monkeypatch.setattr(_norm_bounds, "DENSE_UP_TO", -1)
    monkeypatch.setattr(symbol, "BUDGET", 1e6)


small_calls = calls().filter(small)


@given(small_calls, seeds, st.sampled_from(["float64", "float32", "complex64", "int32"]))
@settings(max_examples=30, deadline=None)
def test_the_norm_lies_between_the_bounds(call, seed, dtype):
    layer = call.layer()
    w = signed_integers(seed, layer.weight_shape, 9, dtype)
    bounds = norm_bounds(layer, w)
    matrix = dense(layer, w.astype(complex if dtype == "complex64" else float))
    assert enclosed(bounds, matrix)
    assert bounds.lower == 0 or bounds.upper <= (1 + 1e-9) * bounds.lower
    assert bounds == norm_bounds(cd.tie(layer), w)  # a tie map says the same


@given(small_calls, seeds, st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.usefixtures("too_large")
def test_it_does_where_the_gram_matrix_is_too_large(call, seed, is_complex):
    layer = call.layer()
    dtype = np.complex128 if is_complex else np.float64
    w = signed_integers(seed, layer.weight_shape, 9, dtype)
    assert enclosed(norm_bounds(layer, w), dense(layer, w))


# Norms known in closed form


@pytest.mark.parametrize("n", [1, 7, 200, 3500])
@pytest.mark.parametrize("how", ["banded Cholesky", "supremum of the symbol"])
def test_a_tridiagonal_toeplitz_matrix(n, how, monkeypatch):
    """[1, 1, 1] on n cells has the norm 1 + 2 cos(pi / (n + 1))."""
    if how == "supremum of the symbol":
        monkeypatch.setattr(gram_matrix, "ENTRIES", -1)
        monkeypatch.setattr(_norm_bounds, "DENSE_UP_TO", -1)
    layer = cd.Conv((1, n), 1, 3, padding=1)
    lower, upper = bounds = norm_bounds(layer, np.ones((1, 1, 3)))
    norm = 1 + 2 * np.cos(np.pi / (n + 1))
    assert lower <= norm * (1 + 1e-15)
    assert norm * (1 - 1e-15) <= upper <= 3.001
    if how == "banded Cholesky":
        assert upper / lower - 1 < 1e-9
        assert bounds.how == how


@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize(
    ("layer", "kernel", "supremum"),
    [
        (cd.Conv((1, 50), 1, 2), [1, -1], 2),  # |1 - exp(i theta)|
        (cd.Conv((1, 50), 1, 3, padding=1), [1, 0, 1], 2),
        (cd.Conv((1, 50), 1, 3, dilation=4, padding=(2,)), [1, 0, -1], 2),
        (cd.Conv((1, 51), 1, 3, stride=3), [1, 2, 2], 3),  # windows that do not overlap
        (cd.Conv((1, 50), 1, 2, stride=3), [3, 4], 5),
        (cd.ConvTranspose((1, 50), 1, 3, stride=3), [1, 2, 2], 3),
        (cd.Conv((1, 50), 1, 3, input_dilation=3), [1, 2, 2], 3),
        (cd.Conv((2, 30), 4, 1, groups=2), [0, 1, 3, 4], 5),  # pointwise
        (cd.Conv((1, 20), 1, 3, padding=1, padding_mode="circular"), [1, 0, 1], 2),
        (cd.Conv((1, 20), 1, 2, padding=((0, 1),), padding_mode="circular"), [1, -1], 2),
    ],
    ids=repr,
)
def test_the_supremum_of_the_symbol_is_found_and_is_close(layer, kernel, supremum):
    bounds = norm_bounds(layer, np.reshape(kernel, layer.weight_shape))
    assert bounds.how == "supremum of the symbol" or bounds.upper < supremum * (1 + 1e-12)
    assert supremum * (1 - 1e-12) <= bounds.upper <= 1.001 * supremum


def test_a_grid_of_any_phase_is_below_the_supremum():
    """cos(theta - turn) is 1 somewhere; a grid that just misses it sees the least possible."""
    for turn in np.linspace(0, np.pi / 4, 9):
        taps = np.array([np.exp(1j * turn), 0, np.exp(-1j * turn)]) / 2
        plane = np.multiply.outer(taps, taps)  # two axes, two cosines
        for matrices, spans in ((taps, (3,)), (plane, (3, 3))):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(symbol, "FINEST", 4)  # 8 points
                found, _ = symbol._largest_on_grid(matrices.reshape(-1, 1, 1, 1), spans)
            assert found >= 1
            assert found <= 1 / np.cos(np.pi / 8) ** len(spans) + 1e-3


@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize("mode", ["reflect", "replicate", "symmetric", "circular"])
def test_copied_cells_take_the_norm_above_the_symbol(mode):
    """[1, 1, 1] has 3 as its symbol's supremum; all cells of a wide padding copy some inputs."""
    layer = cd.Conv((1, 4), 1, 3, padding=3 if mode != "replicate" else 9, padding_mode=mode)
    w = np.ones((1, 1, 3))
    assert is_above(np.linalg.norm(dense(layer, w), 2) - 0.1, np.array([[3]]))
    assert enclosed(norm_bounds(layer, w), dense(layer, w))


@pytest.mark.parametrize(
    ("mode", "copies"), [("reflect", 2), ("replicate", 3), ("symmetric", 2), ("circular", 1)]
)
def test_an_axis_that_copies_is_a_section_that_says_so(mode, copies):
    axis = cd.tie(cd.Conv((1, 9), 1, 3, dilation=2, padding=2, padding_mode=mode)).axes[1]
    assert symbol.section(axis).copies == copies
    assert symbol.section(axis).lags.tolist() == [0, 2, 4]
    wide = cd.tie(cd.Conv((1, 9), 1, 3, padding=2, padding_mode=mode)).axes[1]
    assert symbol.section(wide).copies == {"circular": 2}.get(mode, copies)  # 11 outputs of 9


def test_an_axis_that_is_no_section_has_no_symbol():
    axes = cd.tie(cd.Conv((1, 9), 1, 3)).axes
    without_one = axes[1].take(np.arange(len(axes[1])) != 4)
    assert symbol.section(axes[1]).lags.tolist() == [0, 1, 2]
    assert symbol.section(without_one) is None
    assert symbol.section(cd.tie(cd.LocallyConnected((1, 9), 1, 3)).axes[1]) is None
    assert symbol.section(cd.tie(cd.SumPool((1, 9), 3)).axes[1]) is None


# Roundings: each is larger than everything else that the bounds allow


@pytest.mark.parametrize("size", [0.99, 1.5])
def test_what_cells_with_several_entries_round_is_added(size):
    """4096 taps meet in one cell; added to 1 one by one, each is lost or counts double."""
    layer = cd.Conv((1, 1), 1, 4096, padding=((4095, 0),), padding_mode="replicate")
    w = np.full(layer.weight_shape, size * 2.0**-53)
    w[0, 0, 0] = 1
    lower, upper = norm_bounds(layer, w)
    norm = sum(map(Fraction, w.ravel().tolist()))
    assert Fraction(lower) <= norm <= Fraction(upper)
    assert upper - lower < 1e-11


def test_what_the_gram_matrix_rounds_is_added():
    """1 + 65536 * 2^-54, where a sum from left to right is 1."""
    w = np.full((65537, 1), 2.0**-27)
    w[0] = 1
    bounds = norm_bounds(cd.Linear(1, 65537), w)
    assert Fraction(bounds.lower) ** 2 <= 1 + Fraction(65536, 2**54) <= Fraction(bounds.upper) ** 2
    assert bounds.upper / bounds.lower - 1 < 1e-9


def test_the_margin_of_a_factorisation():
    """Row j, from 0, may be off by gamma_(j + 2) of its diagonal: Higham, and Rump's sum."""
    for n in (1, 10, 3000):
        u = Fraction(1, 2**53)
        least = 1 + sum((j + 2) * u for j in range(n))
        assert least < Fraction(eigenvalue_bound(1.0, n)) < 1 + 8 * (least - 1) + 100 * u
    assert eigenvalue_bound(1.0, 3000) < 1 + 6e-10
    assert eigenvalue_bound(1.0, 3000, band=2) < 1 + 4e-12


@given(seeds, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_the_norm_of_a_stack_is_bounded(seed, rows, cols, count):
    stack = signed_integers(seed, (count, rows, cols), 9)
    bound = norm_of_stack(stack)
    assert all(is_above(bound, matrix) for matrix in stack)
    assert not all(is_above(bound * (1 - 1e-2), matrix) for matrix in stack)


# What else may come


def test_a_map_with_coefficients_and_without_a_convolution():
    ties = cd.TieMap.from_index([[0, 1, -1], [1, -1, 2]], [[1, 0.5, 0], [-1, 0, 2]])
    bounds = norm_bounds(ties, [6, 4, 3])
    assert enclosed(bounds, np.array([[6, 2, 0], [-4, 0, 6]]))
    assert bounds.upper / bounds.lower - 1 < 1e-12


@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize(
    "layer", [cd.LocallyConnected((2, 5), 2, 3), cd.SumPool((2, 6), 2), cd.Linear(5, 3)], ids=repr
)
def test_layers_without_a_symbol_have_bounds(layer):
    w = signed_integers(0, cd.tie(layer).weight_shape, 9)
    matrix = cd.tie(layer).matrix(w).toarray()
    assert enclosed(norm_bounds(layer, w), matrix)


@pytest.mark.usefixtures("too_large")
def test_with_many_channels_the_norms_of_the_taps_are_added(monkeypatch):
    monkeypatch.setattr(symbol, "MOST", 1)
    layer = cd.Conv((8, 30), 8, 3, padding=1)
    w = signed_integers(1, layer.weight_shape, 9)
    bounds = norm_bounds(layer, w)
    assert bounds.how == "sum of the norms of the taps"
    added = sum(np.linalg.norm(w[..., t], 2) for t in range(3))
    assert added <= bounds.upper < 1.001 * added


@pytest.mark.parametrize("exponent", [-1060, -500, 500, 1018])
def test_bounds_scale_with_the_weights(exponent):
    layer = cd.Conv((2, 6), 2, 3, padding=1)
    w = signed_integers(0, layer.weight_shape, 9)
    lower, upper = norm_bounds(layer, w)
    low, high = norm_bounds(layer, np.ldexp(w, exponent))
    assert np.ldexp(low, -exponent) <= upper  # of one norm
    assert lower <= np.ldexp(high, -exponent)
    assert high <= low * (1 + 1e-9) + 1e-322


def test_a_norm_beyond_the_largest_float_is_at_most_infinite():
    largest = np.finfo(float).max
    lower, upper = norm_bounds(cd.Linear(3, 1), np.full((1, 3), largest))
    assert (lower, upper) == (largest, np.inf)


def test_zeros_and_layers_that_see_nothing():
    nothing = cd.Conv((1, 1, 1), 1, 1, stride=(1, 2), padding=1)
    for layer, w in ((cd.Linear(3, 2), np.zeros((2, 3))), (nothing, np.ones((1, 1, 1, 1)))):
        assert norm_bounds(layer, w) == NormBounds(0.0, 0.0, "no entry that is not 0")


def test_a_number_in_the_padding_is_no_part_of_the_matrix():
    w = signed_integers(0, (2, 1, 3), 9)
    plain, ten = (cd.Conv((1, 6), 2, 3, padding=2, padding_value=v) for v in (0, 10))
    assert norm_bounds(plain, w) == norm_bounds(ten, w)


def test_bounds_unpack():
    bounds = norm_bounds(cd.Linear(2, 1), [[3, 4]])
    lower, upper = bounds
    assert (lower, upper) == (bounds.lower, bounds.upper)
    assert lower <= 5 <= upper
    assert bounds.how == "banded Cholesky"
    assert norm_bounds(cd.Linear(150, 150), np.eye(150) + 1).how == "Cholesky"


@pytest.mark.parametrize(
    ("w", "kind", "message"),
    [
        (
            [[2**53 + 1, 1]],
            ValueError,
            "w: got integers up to 9007199254740993; needs integers up to 2**53, which float64 "
            "holds exactly",
        ),
        ([[np.nan, 1]], ValueError, "w: got nan at (0, 0); needs finite numbers; remove NaN and "),
        ([[1.0]], ValueError, "w: got shape (1, 1); needs (1, 2), for TieMap("),
    ],
)
def test_messages(w, kind, message):
    with pytest.raises(kind) as error:
        norm_bounds(cd.Linear(2, 1), w)
    assert str(error.value).startswith(message)
    assert norm_bounds(cd.Linear(2, 1), [[2**53, 1]]).lower > 2**53 - 100


def test_long_doubles_come_in_where_float64_holds_them():
    w = np.ones((1, 2), np.longdouble)
    assert norm_bounds(cd.Linear(2, 1), w) == norm_bounds(cd.Linear(2, 1), [[1, 1]])
    w[0, 0] += np.finfo(np.longdouble).eps
    if w[0, 0] == w[0, 0].astype(float):
        pytest.skip("long doubles are doubles here")
    needs = "numbers that float64 holds exactly; round them first, with .astype(float)"
    with pytest.raises(TypeError) as error:
        norm_bounds(cd.Linear(2, 1), w)
    assert str(error.value) == f"w: got dtype {w.dtype}, not all of it in float64; needs {needs}"


def test_what_is_no_layer_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^layer: got MaxPool\("):
        norm_bounds(cd.MaxPool((1, 4), 2), [1])


def test_a_layer_whose_vectors_do_not_fit_is_refused_at_once():
    ties = cd.tie(cd.Conv((2, 10**10), 2, 3, padding=1))
    with pytest.raises(MemoryError, match=r"^vectors of this layer: got about .*; take a smaller"):
        cd.norm_bounds(ties, np.ones(ties.weight_shape))
