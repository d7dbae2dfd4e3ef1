"""Layers along one axis as sums of slices are the products with their matrices."""

import numpy as np
import pytest

from convdense.layers.activations import Abs
from convdense.layers.strided_sums import Pieces, along_axis
from convdense.structure.axis import diagonal, listed, parts, window
from convdense.structure.csr_assembly import assemble_by_entries

AXES = {
    "pairs": window(6, 3, 2, stride=2, dilation=1, begin=0, flip=False),
    "padded": window(6, 6, 3, stride=1, dilation=1, begin=1, flip=False),
    "mirrored": window(9, 11, 3, stride=1, dilation=1, begin=2, end=2, mode="reflect", flip=False),
    "repeated": window(5, 7, 2, stride=1, dilation=1, begin=2, end=1, mode="replicate", flip=True),
    "parts": parts(7, 3),
    "signed": listed([[0, -1], [0, 1], [-1, 0]], [[-1, 1], [0.5, -2], [1, 1]]),
    "upside down": listed([[-1, -1, 0], [-1, 0, -1], [0, -1, -1]]),
    "nothing changes": diagonal(4),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", AXES)
def test_sums_along_an_axis_are_the_product_with_its_matrix(name, turned):
    axis = AXES[name].T if turned else AXES[name]
    layer = along_axis((diagonal(2), axis))
    matrix = assemble_by_entries((axis,), np.ones(axis.n_taps))
    rng = np.random.default_rng(0)
    x, dy = (rng.integers(-9, 9, (3, 2, n)).astype(float) for n in matrix.shape[::-1])
    y, dx = (
        sums.sums(Pieces.along(1 + layer.axis, samples)).joined()
        for sums, samples in ((layer.weights, x), (layer.transposed, dy))
    )
    assert np.array_equal(y, x @ matrix.toarray().T)
    assert np.array_equal(dx, dy @ matrix.toarray())


@pytest.mark.parametrize("name", AXES)
def test_samples_cut_anywhere_have_the_same_sums(name):
    axis = AXES[name]
    layer = along_axis((diagonal(2), axis))
    at = 1 + layer.axis
    x = np.random.default_rng(0).integers(-9, 9, (3, 2, axis.n_cols)).astype(float)
    whole = layer.weights.sums(Pieces.along(at, x)).joined()
    for cut in range(1, x.shape[at]):
        pieces = Pieces(at, [0, cut, x.shape[at]], np.split(x, [cut], axis=at))
        assert np.array_equal(layer.weights.sums(pieces).joined(), whole)
        absolute = Abs((2, axis.n_rows), layer.axis, start=0, stop=min(cut, whole.shape[at]))
        assert np.array_equal(layer.weights.sums(pieces, absolute).joined(), whole)
