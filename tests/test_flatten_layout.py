"""Flatten in Keras' order: rows, columns, channels."""

import json

import numpy as np
import pytest

from convdense import (
    Conv,
    Dense,
    Flatten,
    Linear,
    ReLU,
    certify,
    check,
    network,
    plots,
)
from convdense.layers import flatten
from convdense.layers.dense_form import dense_steps
from convdense.layers.error_bounds import Slope, Value, backward_error
from convdense.layers.plain_form import layer_to_plain, plain_to_layer

SHAPES = [(3, 2, 4), (2, 5), (4, 2, 1, 3), (6,), (1, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_it_is_a_transposition_and_a_ravel_and_its_dense_layer_a_permutation(shape, dtype):
    layer = Flatten(shape, layout="NHWC")
    x = np.arange(2 * np.prod(shape)).reshape(2, *shape).astype(dtype)
    last = (*range(1, len(shape)), 0)
    expected = np.array([sample.transpose(last).ravel() for sample in x])
    y = layer.forward(x)
    assert (y.dtype, y.tolist()) == (x.dtype, expected.tolist())
    assert np.array_equal(layer.forward(x[0]), expected[0])
    assert np.array_equal(layer.backward(x, y), x)
    assert np.array_equal(layer.backward(x[0], y[0]), x[0])
    (step,) = dense_steps(layer, "float32")
    assert step.W.dtype == np.float32
    assert np.array_equal(step.forward(x.reshape(2, -1)), expected)
    assert np.array_equal(step.backward(x.reshape(2, -1), expected), x.reshape(2, -1))
    assert np.array_equal(step.W.toarray() @ step.W.toarray().T, np.eye(len(expected[0])))


def test_the_default_is_the_order_of_the_axes_as_it_was():
    layer = Flatten((3, 2, 4))
    assert layer.forward(np.arange(24).reshape(3, 2, 4)).tolist() == list(range(24))
    assert (repr(layer), repr(Flatten())) == ("Flatten((3, 2, 4))", "Flatten()")
    assert dense_steps(layer) == []
    assert layer_to_plain(layer) == {"type": "Flatten", "in_shape": (3, 2, 4)}
    assert layer == Flatten((3, 2, 4), layout="NCHW")


def test_a_dense_kernel_of_keras_is_used_as_it_was_saved():
    rng = np.random.default_rng(0)
    pictures = rng.integers(-3, 4, (2, 4, 5, 3)).astype(float)  # (batch, rows, columns, channels)
    kernel = rng.integers(-3, 4, (60, 7)).astype(float)  # (inputs, units), as Keras has it
    expected = pictures.reshape(2, -1) @ kernel
    net = network(Flatten((3, 4, 5), layout="NHWC"), Dense(kernel.T))
    first = pictures.transpose(0, 3, 1, 2)
    assert np.array_equal(net.forward(first), expected)
    as_it_was = network(Flatten((3, 4, 5)), Dense(kernel.T))
    assert not np.array_equal(as_it_was.forward(first), expected)


def model():
    layers = Conv((2, 4, 5), 3, 2), ReLU(), Flatten(layout="NHWC"), Linear(36, 4)
    return network(*layers, seed=0)


def test_a_network_keeps_it_and_is_certified_checked_drawn_and_read_back():
    net = model()
    assert repr(net.layers[2]) == "Flatten((3, 3, 4), layout='NHWC')"
    assert [type(step).__name__ for step in net.dense_layers()].count("Affine") == 5
    certificate = certify(net, seed=0)
    assert certificate
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(2, 4))
    assert check(net, x, dy=dy)
    again = plain_to_layer(json.loads(json.dumps(layer_to_plain(net))))
    assert repr(again.layers[2]) == repr(net.layers[2])
    assert type(certificate).from_dict(json.loads(json.dumps(certificate.to_dict()))).rerun()
    small = network(Flatten((2, 1, 2), layout="NHWC"), Linear(4, 1), seed=0)
    cells = [text.get_text() for text in plots.network(small).axes[0].texts]
    assert cells == ["1", "1", "1", "1"]


@pytest.mark.parametrize("wrong", ["forward", "backward"])
def test_a_network_with_the_other_order_is_refused(wrong, monkeypatch):
    right = getattr(Flatten, wrong)

    def ordered(self, *arrays):
        return right(Flatten(self.in_shape), *arrays)

    net = model()
    assert certify(net, seed=0)
    monkeypatch.setattr(flatten.Flatten, wrong, ordered)
    assert not certify(net, seed=0)


def test_an_undecided_slope_goes_back_to_its_own_cell():
    layer = Flatten((2, 1, 3), layout="NHWC")
    x, dy = np.zeros((1, 2, 1, 3)), np.arange(6.0)[None]
    slope, _ = backward_error(layer, Value(x, x), Slope(dy, 10 * dy, dy == 3))
    assert slope.value.tolist() == [[[[0, 2, 4]], [[1, 3, 5]]]]
    assert slope.error.tolist() == [[[[0, 20, 40]], [[10, 30, 50]]]]
    assert slope.undecided.tolist() == [[[[False, False, False]], [[False, True, False]]]]


def test_another_layout_is_refused_and_named():
    with pytest.raises(ValueError, match="layout: got 'HWC'; needs one of 'NCHW', 'NHWC'"):
        Flatten((2, 3), layout="HWC")
