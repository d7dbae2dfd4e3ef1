"""One axis against NumPy's padding; the product of axes against a list of all combinations."""

from itertools import product

import numpy as np
import pytest

from convdense.structure.axis import channels, spread, untied, window
from convdense.structure.kronecker import count, expand, kron, outer, slabs
from convdense.structure.progressions import Axis
from tests.strategies import MODES

# NumPy's name of each mode, and the cells it can supply on one side of n.
PADS = {
    "zeros": ({"constant_values": -1}, lambda n: n + 2),
    "circular": ({"mode": "wrap"}, lambda n: n),
    "reflect": ({"mode": "reflect"}, lambda n: n - 1),
    "replicate": ({"mode": "edge"}, lambda n: n + 2),
    "symmetric": ({"mode": "symmetric"}, lambda n: n),
}


def listed(axis):
    """Return the entries of an axis as (row, column, tap)."""
    return list(zip(axis.rows.tolist(), axis.cols.tolist(), axis.taps.tolist(), strict=True))


def slid(padded, kernel, stride, dilation, flip):
    """Slide a window over padded cells.

    Each is the number of the input cell it copies, or -1 for a zero.
    """
    taps = list(range(kernel))[:: -1 if flip else 1]
    entries, row = [], 0
    while row * stride + (kernel - 1) * dilation < len(padded):
        cells = padded[row * stride :: dilation][:kernel].tolist()
        entries += [(row, cell, tap) for cell, tap in zip(cells, taps, strict=True) if cell >= 0]
        row += 1
    return entries, row


@pytest.mark.parametrize("flip", [False, True], ids=["as is", "flipped"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.thinned(2)
def test_window_slides_over_what_numpy_pads(mode, flip):
    options, limit = PADS[mode]
    copied = 0
    for n, kernel, stride, dilation in product(range(1, 6), range(1, 5), range(1, 4), range(1, 3)):
        for begin, end in product(range(limit(n) + 1), repeat=2):
            expected, n_out = slid(
                np.pad(np.arange(n), (begin, end), **options), kernel, stride, dilation, flip
            )
            if n_out == 0:
                continue
            axis = window(
                n,
                n_out,
                kernel,
                stride=stride,
                dilation=dilation,
                begin=begin,
                mode=mode,
                flip=flip,
            )
            assert listed(axis) == expected
            assert (axis.n_rows, axis.n_cols, axis.tap_shape, axis.n_taps) == (
                n_out,
                n,
                (kernel,),
                kernel,
            )
            assert axis.coefficients is None
            copied += len({entry[:2] for entry in expected}) < len(expected)
    assert (copied > 0) is (
        mode != "zeros"
    )  # several entries in one cell did occur, and never with zeros


def test_window_without_a_mode_pads_with_zeros():
    numbers = {"stride": 1, "dilation": 1, "begin": 1, "flip": False}
    assert listed(window(3, 4, 2, **numbers)) == listed(window(3, 4, 2, **numbers, mode="zeros"))
    assert listed(window(3, 4, 2, **numbers)) == [
        (0, 0, 1),
        (1, 0, 0),
        (1, 1, 1),
        (2, 1, 0),
        (2, 2, 1),
        (3, 2, 0),
    ]


def test_window_may_meet_nothing():
    """One cell of input between two of padding, and taps that step over it."""
    axis = window(1, 1, 2, stride=1, dilation=2, begin=1, flip=False)
    assert (listed(axis), len(axis), axis.n_rows, axis.n_cols) == ([], 0, 1, 1)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_channels_are_dense_within_a_group_and_nothing_across(groups):
    for ins, outs in product(range(1, 4), range(1, 4)):  # per group
        axis = channels(groups * outs, groups * ins, groups)
        expected = [
            (group * outs + out, group * ins + inp, (group * outs + out) * ins + inp)
            for group, out, inp in product(range(groups), range(outs), range(ins))
        ]
        assert listed(axis) == expected
        assert (axis.n_rows, axis.n_cols, axis.tap_shape) == (
            groups * outs,
            groups * ins,
            (groups * outs, ins),
        )


ROWS = [0, 0, 0, 2, 2]
COLS = [1, 1, 3, 0, 1]
TAPS = [0, 2, 1, 2, 0]
COEFFICIENTS = [1, -1, 2, -3, 5]


def irregular(coefficients=None):
    """Return an axis with two entries in cell (0, 1), none in row 1 and none in column 2."""
    arrays = (np.array(v) for v in (ROWS, COLS, TAPS))
    return Axis.of(*arrays, 3, 4, (3,), None if coefficients is None else np.array(coefficients))


@pytest.mark.parametrize("coefficients", [None, COEFFICIENTS], ids=["ones", "coefficients"])
class TestAxis:
    def parts(self, axis):
        """Return sizes, entries and coefficients."""
        numbers = None if axis.coefficients is None else axis.coefficients.tolist()
        return (axis.n_rows, axis.n_cols, axis.tap_shape), listed(axis), numbers

    def expected(self, sizes, chosen, coefficients):
        """Return what `parts` gives for the chosen entries of the irregular axis."""
        entries = [(ROWS[i], COLS[i], TAPS[i]) for i in chosen]
        return sizes, entries, None if coefficients is None else [COEFFICIENTS[i] for i in chosen]

    def test_length_is_the_number_of_entries(self, coefficients):
        assert len(irregular(coefficients)) == len(ROWS)

    def test_transpose_exchanges_rows_and_columns(self, coefficients):
        axis = irregular(coefficients)
        sizes, entries, numbers = self.parts(axis.T)
        assert sizes == (4, 3, (3,))
        assert entries == list(zip(COLS, ROWS, TAPS, strict=True))
        assert numbers == coefficients
        assert self.parts(axis.T.T) == self.parts(axis)

    @pytest.mark.parametrize(
        ("keep", "chosen"),
        [
            (np.array([True, False, True, False, True]), [0, 2, 4]),
            (np.array([4, 0]), [4, 0]),
            (slice(1, 4), [1, 2, 3]),
            (slice(0, 0), []),
        ],
        ids=["mask", "indices", "slice", "nothing"],
    )
    def test_take_keeps_the_sizes(self, coefficients, keep, chosen):
        assert self.parts(irregular(coefficients).take(keep)) == self.expected(
            (3, 4, (3,)), chosen, coefficients
        )

    @pytest.mark.parametrize(("first", "stop"), [(0, 3), (0, 1), (1, 3), (2, 3), (1, 1)])
    def test_between_renumbers_the_outputs(self, coefficients, first, stop):
        chosen = [i for i, row in enumerate(ROWS) if first <= row < stop]
        sizes, entries, numbers = self.parts(irregular(coefficients).between(first, stop))
        assert sizes == (stop - first, 4, (3,))
        assert entries == [(ROWS[i] - first, COLS[i], TAPS[i]) for i in chosen]
        assert numbers == (None if coefficients is None else [COEFFICIENTS[i] for i in chosen])

    @pytest.mark.parametrize(("row", "col"), list(product(range(3), range(4))))
    def test_cell_is_an_axis_of_one_output_and_one_input(self, coefficients, row, col):
        chosen = [i for i in range(len(ROWS)) if (ROWS[i], COLS[i]) == (row, col)]
        sizes, entries, numbers = self.parts(irregular(coefficients).cell(row, col))
        assert sizes == (1, 1, (3,))
        assert entries == [(0, 0, TAPS[i]) for i in chosen]
        assert numbers == (None if coefficients is None else [COEFFICIENTS[i] for i in chosen])

    def test_untied_gives_every_output_a_weight_of_its_own(self, coefficients):
        sizes, entries, numbers = self.parts(untied(irregular(coefficients)))
        assert sizes == (3, 4, (3, 3))
        own = [np.ravel_multi_index(at, (3, 3)) for at in zip(ROWS, TAPS, strict=True)]
        assert entries == list(zip(ROWS, COLS, own, strict=True))
        assert numbers == coefficients


def test_untied_of_several_taps():
    axis = untied(channels(2, 4, groups=2))
    assert listed(axis) == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 2, 6),
        (1, 3, 7),
    ]  # tap (row, out, in) of (2, 2, 2)
    assert (axis.tap_shape, axis.n_taps) == ((2, 2, 2), 8)


@pytest.mark.parametrize(
    ("shared", "taps", "tap_shape"),
    [(True, [0, 0, 0], ()), (False, [0, 1, 2], (3,))],
    ids=["shared", "each its own"],
)
def test_spread_reaches_every_output_from_one_input(shared, taps, tap_shape):
    axis = spread(3, shared)
    assert listed(axis) == [(row, 0, tap) for row, tap in enumerate(taps)]
    assert (axis.n_rows, axis.n_cols, axis.tap_shape, axis.n_taps) == (
        3,
        1,
        tap_shape,
        len(set(taps)),
    )


def factors(seed, sizes, coefficients=()):
    """Return axes of these numbers of entries, with random positions.

    Those named by `coefficients` have some.
    """
    rng = np.random.default_rng(seed)
    axes = []
    for i, size in enumerate(sizes):
        n_rows, n_cols, n_taps = rng.integers(2, 6, 3).tolist()
        arrays = [rng.integers(n, size=size) for n in (n_rows, n_cols, n_taps)]
        axes.append(
            Axis.of(
                *arrays,
                n_rows,
                n_cols,
                (n_taps,),
                rng.integers(-3, 4, size) if i in coefficients else None,
            )
        )
    return axes


def combined(axes):
    """Return (row, column, index, coefficient) of every combination of entries.

    The flattening is NumPy's own.
    """
    shapes = [[getattr(a, n) for a in axes] for n in ("n_rows", "n_cols", "n_taps")]
    rows = []
    for chosen in product(*(range(len(a)) for a in axes)):
        at = [
            [getattr(a, n)[i] for a, i in zip(axes, chosen, strict=True)]
            for n in ("rows", "cols", "taps")
        ]
        numbers = [
            1 if a.coefficients is None else a.coefficients[i]
            for a, i in zip(axes, chosen, strict=True)
        ]
        flat = [int(np.ravel_multi_index(p, shape)) for p, shape in zip(at, shapes, strict=True)]
        rows.append((*flat, int(np.prod(numbers))))
    return rows


def as_rows(entries):
    """Return entries in the form of `combined`."""
    numbers = np.ones(len(entries.row), int) if entries.coefficient is None else entries.coefficient
    return list(zip(*(v.tolist() for v in (*entries[:3], numbers)), strict=True))


FACTORS = [
    factors(1, [6]),
    factors(2, [3, 5]),
    factors(3, [2, 4, 3]),
    factors(4, [1, 5, 1, 2]),
    factors(5, [2, 3, 4, 2, 3]),
    factors(6, [4, 3], coefficients=[1]),
    factors(7, [3, 4, 2], coefficients=[0, 2]),
    factors(8, [3, 0, 4]),
]
on_all_factors = pytest.mark.parametrize(
    "axes", FACTORS, ids=lambda axes: " x ".join(str(len(a)) for a in axes)
)


@on_all_factors
def test_expand_lists_every_combination(axes):
    assert as_rows(expand(axes)) == combined(axes)
    assert count(axes) == len(combined(axes))
    assert (expand(axes).coefficient is None) is all(a.coefficients is None for a in axes)


@on_all_factors
def test_expand_reads_the_index_from_a_table(axes):
    table = np.random.default_rng(0).permutation(np.prod([a.n_taps for a in axes]))
    assert as_rows(expand(axes, table)) == [
        (r, c, table[k], number) for r, c, k, number in combined(axes)
    ]


@on_all_factors
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 24, 10**6])
def test_slabs_one_after_another_are_everything(axes, limit):
    table = np.random.default_rng(0).permutation(np.prod([a.n_taps for a in axes]))
    for numbers in (None, table):
        parts = list(slabs(axes, numbers, limit))
        assert [row for part in parts for row in as_rows(part)] == as_rows(expand(axes, numbers))
        assert max(len(part.row) for part in parts) <= limit
        assert len(parts) < 2 or count(axes) > limit


@pytest.mark.parametrize("sizes", [(4,), (2, 5), (3, 2, 4), (1, 3, 1, 2)], ids=str)
def test_kron_is_numpys_flattening_of_all_combinations(sizes):
    rng = np.random.default_rng(0)
    parts = [rng.integers(n, size=3) for n in sizes]
    assert kron(parts, sizes).tolist() == [
        np.ravel_multi_index(at, sizes) for at in product(*parts)
    ]


def test_outer_multiplies_all_combinations():
    parts = [np.array([1, -1, 3]), np.array([2, 5]), np.array([-7, 1, 4])]
    assert outer(parts).tolist() == [a * b * c for a, b, c in product(*(p.tolist() for p in parts))]
    assert outer(parts[:1]).tolist() == [1, -1, 3]
