"""What a strict client sees: real types, held by mypy where CI checks types; and it runs.

A mistake that a type checker must see has a ``type: ignore`` with its code: mypy refuses one that
is not needed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import matplotlib.axes
import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import convdense as cd
from convdense import plots
from convdense.certificates import Certificate, NetworkCertificate

if TYPE_CHECKING:
    Matrix = sp.csr_array[Any, tuple[int, int]]
    Operator = LinearOperator[Any]
else:  # SciPy's own classes may take no parameters
    Matrix, Operator = sp.csr_array, LinearOperator

CONV = cd.Conv((1, 4, 4), out_channels=2, kernel=3)
W = np.ones((2, 1, 3, 3))


def test_matrices_and_operators_have_types() -> None:
    ties = assert_type(cd.tie(CONV), cd.TieMap)
    matrix = assert_type(cd.conv_matrix(W, (1, 4, 4)), Matrix)
    assert_type(cd.conv_matrix(cd.AvgPool((1, 4, 4), 2), order="F"), Matrix)
    assert_type(cd.conv_matrix(W, (4, 4, 1), layout="NHWC", bias=[1.0, 2.0]), Matrix)
    assert_type(ties.data_matrix(np.ones((1, 4, 4))), Matrix)
    stored = assert_type(ties.matrix(W), Matrix)
    operator = assert_type(ties.operator(W), Operator)
    assert matrix.shape == stored.shape == operator.shape == (8, 16)
    with pytest.raises(AttributeError):
        matrix.nonzeros  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        operator.nnz  # type: ignore[attr-defined]  # noqa: B018


def test_arrays_have_types() -> None:
    x = np.ones((1, 4, 4))
    layer = assert_type(cd.TiedDense(CONV, W), cd.TiedDense)
    assert_type(layer.forward(x), npt.NDArray[Any])
    gradients = layer.backward(x, np.ones((2, 2, 2)))
    assert gradients.dx.shape == x.shape
    assert cd.convolve(CONV, x, W).shape == layer.forward(x).shape == (2, 2, 2)


def test_verdicts_have_types() -> None:
    assert_type(cd.certify(CONV), Certificate)
    assert_type(cd.certify(cd.MaxPool((1, 4, 4), kernel=2)), NetworkCertificate)
    assert_type(cd.check(CONV, np.ones((1, 4, 4)), W), cd.Report)


def test_networks_have_types() -> None:
    net = cd.network(CONV, cd.ReLU(), cd.AvgPool((2, 2, 2), 2), cd.Flatten())
    assert_type(net, cd.Network)
    assert_type(net.out_shape, tuple[int, ...])
    assert_type(net[1:], cd.Network)
    assert_type(net(np.ones((1, 4, 4))), npt.NDArray[Any])
    assert [layer.out_shape for layer in net][-1] == net[-1].out_shape == net.out_shape
    with pytest.raises(TypeError):
        net.forward(net)  # type: ignore[arg-type]


def test_options_have_names() -> None:
    with pytest.raises(TypeError):
        cd.AvgPool((1, 4, 4), 2, strid=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        cd.LpPool((1, 4, 4), 2, p="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cd.certify(CONV, trial=3)  # type: ignore[call-overload]


def test_figures_have_the_types_of_matplotlib_and_save_themselves(tmp_path: Path) -> None:
    conv = cd.Conv((1, 3), out_channels=1, kernel=2)
    own = plots.matrix(conv)
    axes: matplotlib.axes.Axes = own
    figure: matplotlib.figure.Figure = plots.anatomy(conv)
    assert_type(own.save(tmp_path / "matrix.png"), Path)
    assert_type(plots.anatomy(conv).save(tmp_path / "anatomy.png"), Path)
    assert axes.get_title()
    given = assert_type(plots.mask(conv, ax=figure.axes[0]), matplotlib.axes.Axes)
    with pytest.raises(AttributeError):
        matplotlib.figure.Figure().add_subplot().save("a.png")  # type: ignore[attr-defined]
    assert given in figure.axes


def test_equations_are_text() -> None:
    text: str = cd.equations(cd.Conv((1, 3), out_channels=1, kernel=2))
    assert text.startswith("forward")
