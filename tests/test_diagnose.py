"""diagnose names the mistake that was planted, and nothing where nothing is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings

import convdense as cd
from convdense import (
    AvgPool,
    Conv,
    ConvTranspose,
    LocallyConnected,
    MaxPool,
    MinPool,
    SumPool,
    diagnose,
)
from convdense.diagnosis import draws
from convdense.diagnosis.mistakes.catalogue import mistakes
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.pools import pool_mistakes
from convdense.diagnosis.mistakes.sums import result_mistakes
from convdense.direct import pool_loops
from tests.strategies import layers

SKEW = Conv(
    (4, 7, 6), 6, (3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2
)
SQUARE = Conv((2, 6, 7), 2, 3, padding=1)
CIRCULAR = Conv((2, 5, 7), 3, 3, padding=2, padding_mode="circular")
UP = ConvTranspose((2, 3, 4), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)))
LINE = Conv((1, 9), 2, 3)


def forward(layer, w=lambda w: w, y=lambda y: y, use=None):
    return lambda x, w_, b: y(cd.convolve(use or layer, x, w(w_), b))


def backward(layer, dx=lambda v: v, dw=lambda v: v, db=lambda v: v, w=lambda w: w, use=None):
    def run(x, w_, dy):
        gradients = cd.convolve_backward(use or layer, x, w(w_), dy)
        return dx(gradients.dx), dw(gradients.dw), db(gradients.db)

    return run


def same(v):
    return v


def zeroed(where):
    def lost(v):
        v = v.copy()
        v[where] = 0
        return v

    return lost


def changed(layer, **options):
    names = ("stride", "padding", "dilation", "groups", "flip", "padding_mode")
    kept = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    return type(layer)(layer.in_shape, layer.out_channels, layer.kernel, **{**kept, **options})


def one_sample(layer):
    def run(x, w, dy):
        return cd.convolve_backward(layer, x[:1], w, dy[:1])

    return run


def crossed(x, w, dy):
    """The student's formula: sums of x times sums of dy."""
    dx, dw, db = cd.convolve_backward(LINE, x, w, dy)
    wrong = np.zeros_like(dw)
    for n in range(len(x)):
        for t in range(3):
            wrong[:, 0, t] += x[n, 0, t : t + 7].sum() * dy[n].sum(axis=-1)
    return dx, wrong, db


PLANTED = [  # layer, forward, backward, quantity, the words of the sentence
    (SKEW, {}, {"dw": lambda v: v[:, :, ::-1, ::-1]}, "dw", "the kernel is reversed on all axes"),
    (SKEW, {}, {"dw": lambda v: v[:, :, ::-1]}, "dw", "the kernel is reversed on axis 0"),
    (SKEW, {}, {"w": lambda w: w[..., ::-1]}, "dx", "the kernel is reversed on axis 1"),
    (SQUARE, {"w": lambda w: w[..., ::-1, ::-1]}, {}, "y", "the kernel is reversed on all axes"),
    (
        SQUARE,
        {"w": lambda w: w.swapaxes(2, 3)},
        {},
        "y",
        "axes 0 and 1 of the kernel are transposed",
    ),
    (
        SQUARE,
        {},
        {"w": lambda w: w.swapaxes(0, 1)},
        "dx",
        "input and output channels of the kernel are swapped",
    ),
    (
        SQUARE,
        {},
        {"dw": lambda v: v.swapaxes(2, 3)},
        "dw",
        "axes 0 and 1 of the kernel are transposed",
    ),
    (SQUARE, {"w": zeroed((..., 1, 2))}, {}, "y", "tap (1, 2) of the kernel is lost"),
    (SQUARE, {}, {"w": zeroed((1, 0))}, "dx", "the channel pair (1, 0) of the kernel is lost"),
    (SKEW, {}, {"dx": lambda v: -v}, "dx", "the sign is turned"),
    (SKEW, {"y": lambda v: 2 * v}, {}, "y", "it is multiplied by 2"),
    (SKEW, {}, {"dw": lambda v: v / 2}, "dw", "it is divided by 2"),
    (SKEW, {}, {"dw": lambda v: v / 3}, "dw", "the mean over the batch is taken for the sum"),
    (SKEW, {}, {"db": lambda v: v / 3}, "db", "the mean over the batch is taken for the sum"),
    (
        SQUARE,
        {},
        {"db": lambda v: v / 42},
        "db",
        "the mean over the positions is taken for the sum",
    ),
    (SKEW, {}, {"db": lambda v: 0 * v}, "db", "it is zero"),
    (
        SKEW,
        {"y": lambda v: np.repeat(v[:1], len(v), 0)},
        {},
        "y",
        "every sample is given the result of the first sample",
    ),
    (
        SKEW,
        {},
        {"dx": zeroed(slice(1, None))},
        "dx",
        "only the first sample of the batch is computed",
    ),
    (
        SQUARE,
        {},
        {"dw": lambda v: -v.swapaxes(2, 3)},
        "dw",
        "kernel are transposed, and the sign is turned",
    ),
    (
        SQUARE,
        {},
        {"dw": lambda v: v[..., ::-1, ::-1] / 3},
        "dw",
        "on all axes, and the mean over the batch",
    ),
    (
        CIRCULAR,
        {},
        {"use": changed(CIRCULAR, padding_mode="zeros")},
        "dx",
        "taken for zeros, not for circular",
    ),
    (
        CIRCULAR,
        {"use": changed(CIRCULAR, padding_mode="zeros")},
        {},
        "y",
        "taken for zeros, not for circular",
    ),
    (
        SKEW,
        {"use": changed(SKEW, padding=((0, 1), (2, 0)))},
        {},
        "y",
        "the padding at begin and end is swapped",
    ),
    (UP, {"w": lambda w: w[..., ::-1]}, {}, "y", "the kernel is reversed on axis 1"),
    (UP, {}, {"dw": lambda v: v[:, :, ::-1, ::-1]}, "dw", "the kernel is reversed on all axes"),
    (LocallyConnected((1, 4, 5), 2, 2), {}, {"dw": lambda v: -v}, "dw", "the sign is turned"),
]


@pytest.mark.parametrize(
    ("layer", "ahead", "back", "name", "words"),
    PLANTED,
    ids=[f"{p[3]}: {p[4][:60]}-{i}" for i, p in enumerate(PLANTED)],
)
def test_the_planted_mistake_is_named(layer, ahead, back, name, words):
    diagnosis = diagnose(layer, (forward(layer, **ahead), backward(layer, **back)), seed=0)
    assert words in diagnosis[name].sentence
    assert not diagnosis
    untouched = {"y"} if back and not ahead else {"dx", "dw", "db"} if ahead and not back else set()
    assert not untouched & {e.name for e in diagnosis.explanations}


def test_mistakes_of_the_bias_are_named():
    for run, words in [
        (lambda x, w, b: cd.convolve(SKEW, x, w), "the bias is not added"),
        (lambda x, w, b: cd.convolve(SKEW, x, w, 2 * b), "the bias is added twice"),
        (lambda x, w, b: cd.convolve(SKEW, x, w, -b), "the bias is subtracted"),
    ]:
        diagnosis = diagnose(SKEW, (run, backward(SKEW)), seed=0)
        assert [(e.name, e.sentence) for e in diagnosis.explanations] == [("y", words)]
    for db, words in [
        (lambda dy: dy.sum(axis=0), "it is not summed over the positions"),
        (lambda dy: dy.sum(axis=(2, 3)), "it is not summed over the batch"),
        (lambda dy: dy, "it is not summed at all"),
        (lambda dy: dy[:1].sum(axis=(0, 2, 3)), "it is that of the first sample"),
    ]:

        def wrong(x, w, dy, db=db):
            return (*cd.convolve_backward(SKEW, x, w, dy)[:2], db(dy))

        assert diagnose(SKEW, (forward(SKEW), wrong), seed=0)["db"].sentence == words


def test_the_students_formula_is_named():
    diagnosis = diagnose(LINE, (forward(LINE), crossed), seed=0)
    said, smallest = str(diagnosis).splitlines()
    assert said == "dw: a product of sums is taken for the sum of products"
    assert smallest == "  already wrong for 1 channel of 3"


def test_only_the_first_sample_of_the_batch():
    def run(x, w, dy):
        return (cd.convolve_backward(LINE, x, w, dy).dx, *one_sample(LINE)(x, w, dy)[1:])

    diagnosis = diagnose(LINE, (forward(LINE), run), seed=0)
    assert diagnosis["dw"].sentence == "only the first sample of the batch counts"
    assert diagnosis["db"].sentence == "it is that of the first sample"


def test_assignment_for_addition_is_named():
    def scattered(x, w, dy):
        _, dw, db = cd.convolve_backward(LINE, x, w, dy)
        wrong = np.zeros_like(x)
        for o in range(7):
            for t in range(3):
                wrong[:, 0, o + t] = (dy[:, :, o] * w[:, 0, t]).sum(axis=1)
        return wrong, dw, db

    single = Conv((1, 9), 1, 3)

    def alone(x, w, dy):
        _, dw, db = cd.convolve_backward(single, x, w, dy)
        wrong = np.zeros_like(x)
        for o in range(7):
            for t in range(3):
                wrong[:, 0, o + t] = dy[:, 0, o] * w[0, 0, t]
        return wrong, dw, db

    assert (
        "= where += is needed" in diagnose(single, (forward(single), alone), seed=0)["dx"].sentence
    )
    assert diagnose(LINE, (forward(LINE), scattered), seed=0)["dx"].sentence.endswith(
        "(output by output)"
    )


def test_the_first_place_is_named_by_output_input_and_weight():
    diagnosis = diagnose(LINE, (forward(LINE, w=lambda w: w[..., ::-1]), backward(LINE)), seed=0)
    assert (
        diagnosis["y"].place == "output (0, 0), input (0, 0): weight (0, 0, 2) for weight (0, 0, 0)"
    )
    lost = diagnose(LINE, (forward(LINE, w=zeroed((1, 0, 1))), backward(LINE)), seed=0)
    assert lost["y"].sentence == "in output channel 1 alone: tap (1,) of the kernel is lost"
    assert lost["y"].place == "output (1, 0), input (0, 1): no weight for weight (1, 0, 1)"
    tap = diagnose(LINE, (forward(LINE, w=zeroed((..., 1))), backward(LINE)), seed=0)
    assert tap["y"].sentence == "tap (1,) of the kernel is lost"
    assert tap["y"].place == "output (0, 0), input (0, 1): no weight for weight (0, 0, 1)"


def test_what_no_mistake_explains_is_said_and_what_is_behind_it_shown():
    def wrong(x, w, dy):
        dx, dw, db = cd.convolve_backward(SQUARE, x, w, dy)
        dx = dx.copy()
        dx[:, 1, 2, 3] += 7 * dy[:, 0, 0, 0]
        dw = dw.copy()
        dw[0, 1, 2, 2] += (x[:, 0, 0, 0] * dy[:, 1, 5, 6]).sum()
        return dx, dw, db

    text = str(diagnose(SQUARE, (forward(SQUARE), wrong), seed=0))
    assert "dx: no mistake that is known here explains it" in text
    assert "its matrix: 0 missing, 1 extra, 0 with another weight" in text
    assert "output (1, 2, 3), input (0, 0, 0): got 7.0, expected 0.0" in text
    assert "dw: no mistake that is known here explains it" in text
    assert "worst at (0, 1, 2, 2)" in text
    assert text.endswith("output (1, 5, 6), weight (0, 1, 2, 2): meets input (0, 0, 0) for none")


@given(layers())
@settings(max_examples=15, deadline=None, derandomize=True)
@pytest.mark.few_calls
def test_nothing_is_said_where_nothing_is_wrong(layer):
    diagnosis = diagnose(layer, (forward(layer), backward(layer)), seed=0)
    assert diagnosis
    assert str(diagnosis) == f"{layer!r}: nothing is wrong"
    assert diagnosis.require() is diagnosis


def test_a_right_float32_or_fused_implementation_is_not_blamed():
    matrix = cd.TiedDense(SQUARE, np.zeros(SQUARE.weight_shape))

    class Mine:
        def forward(self, x, w, b):
            return matrix.with_weights(w, b).forward(x)

        def backward(self, x, w, dy):
            return matrix.with_weights(w, np.zeros(2)).backward(x, dy)

    assert diagnose(SQUARE, Mine(), seed=0)


@given(layers((Conv, ConvTranspose)))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_every_mistake_runs_and_the_first_is_none(layer):
    shapes = (2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape)
    rng = np.random.default_rng(0)
    call = Call(*(rng.integers(-9, 10, s).astype(float) for s in shapes))
    right = {
        "y": cd.convolve(layer, *call[:3]),
        **dict(
            zip(("dx", "dw"), cd.convolve_backward(layer, call.x, call.w, call.dy)[:2], strict=True)
        ),
    }
    for k, mistake in enumerate(mistakes(layer)):
        for name, value in right.items():
            got = mistake.run(call, name)
            assert got.shape == value.shape
            assert k > 0 or np.array_equal(got, value)


def test_sentences_are_told_apart():
    for layer in (SKEW, SQUARE, CIRCULAR, UP):
        sentences = [m.sentence for m in mistakes(layer)]
        assert len(set(sentences)) == len(sentences)
        for name in ("y", "dx", "dw", "db"):
            words = [sentence for sentence, _ in result_mistakes(layer, name)]
            assert len(set(words)) == len(words)


# Pools

BORDER = AvgPool((2, 5, 6), 3, stride=2, padding=1, count_include_pad=False)
LARGEST = MaxPool((2, 5, 6), (3, 2), stride=(2, 1), padding=1)
POOLS = [
    (
        BORDER,
        AvgPool((2, 5, 6), 3, stride=2, padding=1),
        "cells of the padding are counted in the divisor",
    ),
    (
        AvgPool((2, 5, 6), 3, stride=2, padding=1),
        BORDER,
        "cells of the padding are not counted in the divisor",
    ),
    (BORDER, SumPool((2, 5, 6), 3, stride=2, padding=1), "the sum is not divided"),
    (SumPool((2, 5, 6), 2), AvgPool((2, 5, 6), 2), "an average is taken for the sum"),
    (
        SumPool((2, 5, 6), output=(2, 3)),
        AvgPool((2, 5, 6), output=(2, 3)),
        "an average is taken for the sum",
    ),
]


def pool_of(pool):
    return (lambda x: pool_loops.forward(pool, x), lambda x, dy: pool_loops.backward(pool, x, dy))


@pytest.mark.parametrize(("pool", "wrong", "sentence"), POOLS)
def test_wrong_divisors_are_named(pool, wrong, sentence):
    diagnosis = diagnose(pool, pool_of(wrong), seed=0)
    assert {e.sentence for e in diagnosis.explanations} == {sentence}
    assert diagnose(pool, pool_of(pool), seed=0)


@pytest.mark.parametrize("pool", [LARGEST, MinPool((1, 7), 3, stride=2, padding=1, ceil_mode=True)])
def test_every_mistake_of_a_max_pool_is_named(pool):
    right = pool_of(pool)
    named = 0
    for name in ("y", "dx"):
        for sentence, mistake in pool_mistakes(pool, name):
            zeros = np.zeros((3, *pool.out_shape))
            wrong = (
                (lambda x, mistake=mistake, zeros=zeros: mistake(x, zeros), right[1]),
                (right[0], mistake),
            )
            diagnosis = diagnose(pool, wrong[name == "dx"], seed=0)
            if (
                diagnosis
            ):  # a mistake that changes nothing here, such as leftover cells where there are none
                words = "leftover", "by columns", "padding are", "decoded", "in size", "channel"
                assert any(word in sentence for word in words)
                continue
            assert [e.name for e in diagnosis.explanations] == [name]
            said = diagnosis[name].sentence
            same = dict(pool_mistakes(pool, name)).get(said, mistake)
            given = [draws._draw_of_pool(pool, 12, (1, k), 3) for k in range(3)]
            assert said == sentence or all(
                np.array_equal(same(c.x, c.dy), mistake(c.x, c.dy)) for c in given
            )
            named += said == sentence
    assert named >= 12
    assert diagnose(pool, right, seed=0)


def test_a_pool_that_no_mistake_explains():
    right = pool_of(LARGEST)
    diagnosis = diagnose(LARGEST, (lambda x: right[0](x) + 1, right[1]), seed=0)
    assert str(diagnosis).startswith("y: no mistake that is known here explains it")


def test_what_cannot_be_diagnosed_is_refused():
    needs = "needs a Conv, ConvTranspose, LocallyConnected, Linear, a TieMap or a pool but LpPool"
    for layer in (cd.LpPool((1, 4), 2, p=2), cd.ReLU((3,)), 3):
        with pytest.raises(TypeError, match=needs):
            diagnose(layer, pool_of(LARGEST), seed=0)
    with pytest.raises(TypeError, match="implementation: got 3; needs an object with forward"):
        diagnose(LARGEST, 3, seed=0)
    with pytest.raises(TypeError, match="implementation: got 3; needs an object with forward"):
        diagnose(LINE, 3, seed=0)
    with pytest.raises(KeyError, match="needs one of y"):
        diagnose(LINE, (forward(LINE, y=lambda y: -y), backward(LINE)), seed=0)["dw"]
    with pytest.raises(AssertionError, match="the sign is turned"):
        diagnose(LINE, (forward(LINE), backward(LINE, dw=lambda v: -v)), seed=0).require()


def test_a_mistake_that_fits_only_one_draw_is_not_named(monkeypatch):
    """Agreement on the first draw alone is not enough."""
    first = draws._draw(LINE, (0, 0), "float64", draws.BATCH)

    def sometimes(x, w, dy):
        dx, dw, db = cd.convolve_backward(LINE, x, w, dy)
        return dx, (-dw if np.array_equal(x, first.x) else dw + 1), db

    assert diagnose(LINE, (forward(LINE), sometimes), seed=0)["dw"].sentence == ""
    monkeypatch.setattr(draws, "FEWER", ((1, draws.BATCH),))
    assert diagnose(LINE, (forward(LINE), sometimes), seed=0)["dw"].sentence == "the sign is turned"
