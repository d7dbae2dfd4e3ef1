"""recover finds the matrix of a black box exactly, and says what is not affine."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense import (
    Conv,
    ConvTranspose,
    Dense,
    LocallyConnected,
    MaxPool,
    TiedDense,
    TieMap,
    recover,
)
from convdense.recovery import _recover as module
from tests.strategies import integers_for, layers, seeds
from tests.thinned import examples


def black_box(layer, w, b=None):
    return lambda x: cd.convolve(layer, x, w, b)


def bias_of(layer, b):
    return cd.tie(layer).bias.matrix(b).toarray()[:, 0]


@pytest.mark.claim("forward")
@settings(max_examples=examples(120), deadline=None, derandomize=True)
@given(layers(), seeds)
def test_any_convolution_is_recovered_to_the_last_bit(layer, seed):
    _, w, b, _ = integers_for(layer, seed)
    found = recover(black_box(layer, w, b), layer.in_shape, seed=0)
    expected = cd.tie(layer).matrix(w).toarray()
    assert found
    assert np.array_equal(found.matrix.toarray(), expected)
    assert np.array_equal(found.mask.toarray(), expected != 0)
    assert np.array_equal(found.bias, bias_of(layer, b))
    if found.matrix.nnz:
        assert np.array_equal(found.ties.matrix(found.weights).toarray(), expected)
    assert not found.compare(TiedDense(layer, w, b))


@pytest.mark.claim("dx")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(layers(), seeds)
def test_the_backward_pass_is_the_transposed_matrix(layer, seed):
    _, w, _, _ = integers_for(layer, seed)
    found = recover(
        lambda dy: cd.convolve_backward(layer, np.zeros((len(dy), *layer.in_shape)), w, dy)[0],
        layer.out_shape,
        seed=0,
    )
    assert np.array_equal(found.matrix.toarray(), cd.tie(layer).matrix(w).toarray().T)


def test_few_questions_are_enough():
    conv = Conv((3, 32, 32), 8, 3, padding=1)
    w = np.random.default_rng(0).integers(1, 9, conv.weight_shape).astype(float)
    found = recover(black_box(conv, w), conv.in_shape, conv, seed=0)
    assert found.spacing == (4, 4)
    assert found.samples <= 2 * 3 * 16 + 13  # two for each colour, one of zeros, twelve to confirm
    assert found.calls <= 5
    assert not found.compare(TiedDense(conv, w))


def test_spacing_doubles_until_no_output_sees_two():
    conv = Conv((1, 40), 1, 3, dilation=8)
    w = np.array([[[1.0, 2, 3]]])
    found = recover(black_box(conv, w), conv.in_shape, seed=0)
    assert found.spacing in ((32,), (40,))
    assert not found.compare(TiedDense(conv, w))
    dense = np.random.default_rng(0).integers(-9, 10, (5, 12)).astype(float)
    whole = recover(lambda x: x.reshape(len(x), 12) @ dense.T, (1, 12), seed=0)
    assert np.array_equal(whole.matrix.toarray(), dense)
    assert whole.samples <= 12 + 2 * (4 + 8) + 13 + 12


def test_an_expected_layer_sets_the_first_spacing():
    wide = Conv((1, 40), 1, 3, dilation=8)
    found = recover(
        black_box(wide, np.array([[[1.0, 2, 3]]])),
        wide.in_shape,
        TiedDense(wide, np.ones((1, 1, 3))),
        seed=0,
    )
    assert found.spacing == (18,)


def test_a_features_layer_is_asked_one_input_at_a_time():
    layer = Dense([[1.0, 2, 0], [0, 3, 4]], [5.0, 6.0])
    found = recover(layer.forward, (3,), seed=0)
    assert not found.compare(layer)
    assert found.bias.tolist() == [5, 6]


# Floats


@given(layers((Conv, ConvTranspose), max_axes=2, modes=("zeros",)), seeds)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_floats_are_recovered_with_their_ties(layer, seed):
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=layer.weight_shape), rng.normal(size=layer.bias_shape)
    found, expected = (
        recover(black_box(layer, w, b), layer.in_shape, seed=0),
        cd.tie(layer).matrix(w),
    )
    assert found
    assert np.array_equal(found.mask.toarray(), expected.toarray() != 0)
    # an entry is (w + b) - b: two roundings of at most |w| + |b|
    allowed = 2.1 * 2**-53 * (np.abs(expected.toarray()) + 2 * np.abs(bias_of(layer, b))[:, None])
    assert (np.abs(found.matrix.toarray() - expected.toarray()) <= allowed).all()
    assert len(found.weights) == len(np.unique(expected.data))


def test_float32_black_boxes_are_recovered():
    conv, rng = Conv((2, 6, 5), 3, 3, padding=1), np.random.default_rng(0)
    w = rng.normal(size=conv.weight_shape).astype(np.float32)
    found = recover(black_box(conv, w), conv.in_shape, conv, dtype="float32", seed=0)
    assert not found.compare(TiedDense(conv, w.astype(float)))


def test_a_transform_method_is_recovered_beyond_its_rounding():
    from scipy.signal import fftconvolve

    w = np.array([[1.0, -2, 3], [4, 5, -6]])

    def by_fft(x):
        return np.stack([fftconvolve(s[0], w[::-1, ::-1], mode="valid")[None] for s in x])

    found = recover(by_fft, (1, 7, 9), rounding=1e-12, seed=0)
    conv = Conv((1, 7, 9), 1, (2, 3))
    assert found
    expected = cd.tie(conv).matrix(w[None, None]).toarray()
    assert np.array_equal(found.mask.toarray(), expected != 0)
    assert np.abs(found.matrix.toarray() - expected).max() < 1e-12


# Not affine


def test_what_is_not_affine_is_named():
    conv, w = Conv((1, 5), 2, 2), np.array([[[1.0, 2]], [[3.0, -4]]])

    def half(x):
        y = cd.convolve(conv, x, w)
        y[:, 1, 2] = np.maximum(y[:, 1, 2], 0)
        return y

    found = recover(half, conv.in_shape, seed=0)
    assert not found
    assert found.broken.tolist() == [6]
    assert "NOT affine at 1 of 8 outputs" in str(found)
    assert "first at output (1, 2)" in str(found)
    with pytest.raises(AssertionError, match="NOT affine"):
        found.require()
    assert recover(black_box(conv, w), conv.in_shape, seed=0).require()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: cd.dense_pool(MaxPool((1, 6), 2)).forward(x),
        np.abs,
        lambda x: x**2,
        lambda x: x * x.sum(axis=(1, 2), keepdims=True),
        lambda x: np.round(x / 2),
    ],
)
def test_absolutes_powers_and_products_are_not_affine(wrong):
    assert not recover(wrong, (1, 6), seed=0)


def test_samples_that_mix_are_not_affine():
    assert not recover(lambda x: x + 0.5 * x[::-1], (1, 6), seed=0)
    assert not recover(lambda x: x - x.mean(axis=0), (1, 6), seed=0)
    assert recover(lambda x: x + 0.5 * x[..., ::-1], (1, 6), seed=0)


# What differs from a given layer


def test_a_lost_tap_a_swapped_weight_and_a_bias_are_named():
    conv = Conv((2, 4, 5), 3, (2, 3), stride=(1, 2))
    rng = np.random.default_rng(0)
    w, b = rng.integers(1, 9, conv.weight_shape).astype(float), np.array([1.0, 2, 3])
    expected = TiedDense(conv, w, b)
    lost, swapped = w.copy(), w.copy()
    lost[1, 0, 0, 2] = 0
    swapped[2, 1] = swapped[2, 1, ::-1]
    a = recover(black_box(conv, lost, b), conv.in_shape, conv, seed=0).compare(expected)
    assert (len(a.missing), len(a.extra), len(a.wrong), len(a.bias)) == (6, 0, 0, 0)
    assert {p.output[0] for p in a.missing} == {1}
    assert all(p.expected == w[1, 0, 0, 2] and p.got == 0 for p in a.missing)
    c = recover(black_box(conv, swapped, b), conv.in_shape, conv, seed=0).compare(expected)
    assert not c.missing
    assert {p.output[0] for p in c.wrong} == {2}
    d = recover(black_box(conv, w, [*b[:2], b[2] + 1]), conv.in_shape, conv, seed=0).compare(
        expected
    )
    assert [p.output for p in d.bias] == [(2, r, s) for r in range(3) for s in range(2)]
    assert str(d.bias[0]) == "output (2, 0, 0), bias: got 4.0, expected 3.0"
    assert not recover(black_box(conv, w, b), conv.in_shape, conv, seed=0).compare(expected)


def test_an_extra_edge_is_named():
    conv, w = Conv((1, 4), 1, 2), np.array([[[1.0, 2]]])

    def leaking(x):
        y = cd.convolve(conv, x, w)
        y[:, 0, 0] += 7 * x[:, 0, 3]
        return y

    difference = recover(leaking, conv.in_shape, seed=0).compare(TiedDense(conv, w))
    assert str(difference) == (
        "0 missing, 1 extra, 0 with another weight\n"
        "  output (0, 0), input (0, 3): got 7.0, expected 0.0"
    )


def test_ties_of_a_recovered_matrix_are_a_tie_map():
    local = LocallyConnected((1, 4), 1, 2)
    w = np.arange(1.0, 7).reshape(local.weight_shape)
    found = recover(black_box(local, w), local.in_shape, seed=0)
    assert isinstance(found.ties, TieMap)
    assert found.weights.tolist() == [1, 2, 3, 4, 5, 6]
    assert found.ties.counts().weights.tolist() == [1] * 6


# Defects of recover itself are seen


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("_not_affine", lambda *arguments: np.zeros(0, int)),
        ("FIRST_SPACING", 2),
    ],
)
def test_without_its_confirmation_it_would_be_fooled(name, defect, monkeypatch):
    assert not recover(np.abs, (1, 6), seed=0)
    monkeypatch.setattr(module, name, defect)
    fooled = bool(recover(np.abs, (1, 6), seed=0))
    assert fooled is (name == "_not_affine")


# Messages

RESULT = "the function's result: got"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: recover(3, (1, 4), seed=0),
         "function: got 3; needs a function of an array (batch, *in_shape)"),
        (lambda: recover(np.abs, None, seed=0),
         "in_shape: got None; needs a tuple of sizes, such as (3, 32, 32)"),
        (lambda: recover(np.abs, (1, 4), rounding=-1, seed=0),
         "rounding: got -1; needs a finite number of at least 0"),
        (lambda: recover(np.abs, (1, 4), dtype="int8", seed=0),
         "dtype: got 'int8'; needs one of 'float64', 'float32', 'complex64', 'complex128'"),
        (lambda: recover(lambda x: x[0], (1, 4), seed=0), f"{RESULT} shape (1, 4); needs (4, 4)"),
        (lambda: recover(lambda x: x[0], (3, 4)), f"{RESULT} shape (3, 4); needs (1, *out_shape)"),
        (lambda: recover(lambda x: x * np.nan, (1, 4), seed=0),
         f"{RESULT} float64, not all finite; needs real, finite"),
        (lambda: recover(lambda x: "text", (1, 4), seed=0),
         f"{RESULT} dtype <U4; needs an array of integers, "),
        (
            lambda: recover(np.negative, (1, 4), seed=0).compare(Conv((1, 4), 1, 1)),
            "layer: got Conv((1, 4), out_channels=1, kernel=1); "
            "needs a TiedDense or Dense, which has weights",
        ),
        (
            lambda: recover(np.negative, (1, 4), seed=0).compare(Dense([[1.0, 2]])),
            "layer: got a matrix of 1 x 2; needs 4 x 4, as found",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(call, text):
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(text)):
        call()


@given(st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_colours_are_a_partition_of_the_inputs(n, spacing):
    shape = (2, n, 5)
    parts = list(module._colours(shape, (min(spacing, n), 2)))
    assert sorted(np.concatenate(parts).tolist()) == list(range(10 * n))
