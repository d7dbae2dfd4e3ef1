"""A diagnosis names mistakes on a small copy of the layer, confirms them, and says where else."""

from dataclasses import replace

import numpy as np
import pytest

import convdense as cd
from convdense import Conv, ConvTranspose, MaxPool, diagnose
from convdense.diagnosis import _diagnose as module
from convdense.diagnosis import draws
from convdense.diagnosis.mistakes.observations import Observations
from convdense.diagnosis.smaller import (
    Corner,
    copies,
    corners,
    entries_of,
    in_words,
    smallest,
    with_sizes,
)
from convdense.diagnosis.wrong_entries import pattern

LARGE = Conv((16, 30, 31), out_channels=16, kernel=3, padding=1)
LAYERS = [
    LARGE,
    Conv((64, 40), out_channels=32, kernel=9, stride=4, dilation=2, groups=4, padding=((8, 3),)),
    Conv((3, 20, 21), out_channels=5, kernel=(2, 3), padding=2, padding_mode="circular"),
    ConvTranspose((8, 9, 10), out_channels=6, kernel=3, stride=2, output_padding=1, groups=2),
    cd.LocallyConnected((2, 12, 13), out_channels=3, kernel=(3, 2)),
    MaxPool((8, 40, 41), kernel=(3, 2), stride=2, ceil_mode=True),
    cd.AvgPool((4, 50, 60), output=(7, 5)),
]


def of_its_shape(layer):
    """Code that takes any shape, for its hyper-parameters alone."""

    def own(x, w):
        return replace(layer, in_shape=x.shape[1:], out_channels=len(w), kernel=w.shape[2:])

    def forward(x, w, b):
        return cd.convolve(own(x, w), x, w, b)

    def backward(x, w, dy):
        return cd.convolve_backward(own(x, w), x, w, dy)

    return forward, backward


def with_reversed_dw(code):
    def backward(x, w, dy):
        dx, dw, db = code[1](x, w, dy)
        return dx, dw[..., ::-1], db

    return code[0], backward


def of_one_shape(layer):
    return (
        lambda x, w, b: cd.convolve(layer, x, w, b),
        lambda x, w, dy: cd.convolve_backward(layer, x, w, dy),
    )


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_copies_are_smaller_layers_of_the_same_numbers(layer):
    found = list(copies(layer))
    assert found
    for copy in found:
        assert entries_of(copy) <= entries_of(layer)
        assert (copy.stride, copy.padding, copy.dilation) == (
            layer.stride,
            layer.padding,
            layer.dilation,
        )
        assert all(a <= b for a, b in zip(copy.in_shape, layer.in_shape, strict=True))


@pytest.mark.parametrize("layer", LAYERS[:5], ids=repr)
def test_right_code_of_one_shape_is_right_in_every_corner(layer):
    if isinstance(layer, Conv) and layer.padding_mode != "zeros":
        assert not list(corners(layer, of_one_shape(layer)))
        return
    rng = np.random.default_rng(0)
    for small, code in corners(layer, of_one_shape(layer)):
        x, w = rng.integers(-9, 9, (2, *small.in_shape)), rng.integers(-9, 9, small.weight_shape)
        b, dy = rng.integers(-9, 9, small.bias_shape), rng.integers(-9, 9, (2, *small.out_shape))
        x, w, b, dy = (a.astype(float) for a in (x, w, b, dy))
        assert np.array_equal(code.forward(x, w, b), cd.convolve(small, x, w, b))
        pairs = zip(code.backward(x, w, dy), cd.convolve_backward(small, x, w, dy), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("made", [of_its_shape, of_one_shape])
def test_a_large_layer_is_named_on_a_copy_and_confirmed(made, monkeypatch):
    tried = []
    explanations = module.explanations

    def spied(layer, *more):
        tried.append(layer)
        return explanations(layer, *more)

    monkeypatch.setattr(module, "explanations", spied)
    found = diagnose(LARGE, with_reversed_dw(made(LARGE)), seed=0)
    assert [(e.name, e.sentence) for e in found.explanations] == [
        ("dw", "the kernel is reversed on axis 1")
    ]
    assert found["dw"].place.startswith("output (0, 0, 0), input (0, 0, 1): weight (0, 0, 1, 0)")
    assert "already wrong for 1 channel of " in str(found)
    assert tried
    assert all(entries_of(layer) < entries_of(LARGE) for layer in tried)


def test_a_name_that_the_layer_does_not_confirm_is_not_given():
    """Wrong in one way on small layers, in another on the one asked for."""
    right = of_its_shape(LARGE)

    def backward(x, w, dy):
        dx, dw, db = right[1](x, w, dy)
        if x.shape[2] < 20:
            return dx, dw[..., ::-1], db
        return dx, dw[..., ::-1] + dw.sum(), db

    assert diagnose(LARGE, (right[0], backward), seed=0)["dw"].sentence == ""


def test_the_smallest_failing_layer_is_found_size_by_size():
    def is_wrong(layer, batch):
        return layer.in_channels > 1 and layer.in_spatial[1] > 4 and batch > 1

    small, batch = smallest(Conv((3, 8, 9), 4, 3), 3, is_wrong)
    assert (small, batch) == (Conv((2, 1, 5), 1, 1), 2)
    assert in_words(small, batch, LARGE) == "2 channels of 1 x 5, a kernel of 1 x 1, 2 samples"
    fixed, _ = smallest(Conv((3, 8, 9), 4, 3), 3, is_wrong, is_fixed=True)
    assert fixed == Conv((2, 3, 5), 1, 3)
    assert with_sizes(LARGE, {"groups": 3, "outs": 2}).groups == 3
    assert with_sizes(Conv((1, 4), 1, 4), {"cells 0": 2}) is None


def test_what_needs_two_samples_is_said_so():
    right = of_its_shape(LARGE)

    def forward(x, w, b):
        y = right[0](x, w, b)
        return np.concatenate([y[:1], -y[1:]])

    found = diagnose(LARGE, (forward, right[1]), seed=0)
    assert found["y"].sentence == "from the second sample on: the sign is turned"
    assert found["y"].smallest.endswith("2 samples")


def test_time_that_is_up_ends_the_search_and_is_said(monkeypatch):
    right = of_its_shape(LARGE)

    def backward(x, w, dy):
        dx, dw, db = right[1](x, w, dy)
        return dx, np.sort(dw, axis=None).reshape(dw.shape), db

    stopped = diagnose(LARGE, (right[0], backward), seed=0, time_limit=1e-9)
    assert stopped.time_limit == 1e-9
    assert not stopped
    assert [(e.name, e.sentence) for e in stopped.explanations] == [("dw", "")]
    assert "stopped after 1e-09 seconds: not every mistake was tried" in str(stopped)
    with pytest.raises(ValueError, match="time_limit: got 0; needs seconds"):
        diagnose(LARGE, right, time_limit=0)
    assert diagnose(LARGE, right, seed=0).time_limit is None


def test_a_layer_too_large_for_the_memory_is_refused_before_it_is_drawn():
    layer = Conv((64, 2000, 2000), 64, 3)
    with pytest.raises(ValueError, match="GB for one sample with its gradients; needs a layer"):
        diagnose(layer, of_one_shape(layer))
    assert draws.size_of_draws(LARGE, "float64") == (3, 3)
    assert draws.size_of_draws(Conv((64, 224, 224), 64, 3), "float64") != (3, 3)


def test_the_pattern_of_what_is_wrong():
    right = np.zeros((3, 4, 6, 7))

    def said(name="y", **where):
        got = right.copy()
        got[where["at"]] = 1
        return pattern(Observations(name, [], [got], [right]))

    assert said(at=np.s_[...]) == "wrong in all 504 entries"
    assert said(at=np.s_[1:, 2]) == (
        "wrong in 84 of 504 entries: samples 1 to 2 of 3; output channel 2 of 4"
    )
    assert said(at=np.s_[:, :, :, ::2]).endswith("positions along axis 1 0, 2, 4, 6 of 7")
    assert said(at=np.s_[:, :, 0]).endswith("at the border alone")
    assert said("dw", at=np.s_[0]).endswith("output channel 0 of 3")
    assert said(at=np.s_[:0]) == ""


def test_a_corner_hands_on_what_is_no_array():
    code = (lambda x, w, b: None), (lambda x, w, dy: (None, None, None))
    small = next(copies(LARGE))
    corner = Corner(code, LARGE, small)
    x, w, b = np.ones((1, *small.in_shape)), np.ones(small.weight_shape), np.ones(small.bias_shape)
    assert corner.forward(x, w, b) is None
    assert corner.backward(x, w, np.ones((1, *small.out_shape))) == (None, None, None)
