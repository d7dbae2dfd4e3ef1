"""diagnose names what is wrong at a few cells, in some samples or channels, or two at once."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings

import convdense as cd
from convdense import AvgPool, Conv, ConvTranspose, MaxPool, diagnose
from convdense.diagnosis.draws import _draw
from convdense.diagnosis.localise import cells_in_words
from convdense.diagnosis.mistakes.catalogue import mistakes
from convdense.diagnosis.mistakes.fitted_constants import clipped, multiplied
from convdense.diagnosis.mistakes.layout import layouts, moved
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.observations import Observations, multiple
from convdense.diagnosis.mistakes.windows import TRANSFORMS, window_mistakes, winograd_mistakes
from convdense.diagnosis.search import explanations
from convdense.direct import pool_loops
from convdense.structure._tie import window_parameters
from tests import zoo_members as zoo
from tests.few_calls import is_everything_tried
from tests.strategies import layers

PADDED = Conv((2, 5, 4), 3, (3, 2), padding=((1, 2), (0, 1)))
STRIDED = Conv((2, 7, 8), 3, (3, 2), stride=(2, 3), padding=((1, 1), (0, 2)))
SQUARE = Conv((3, 5, 6), 3, 3, padding=1)
MIXED = Conv((2, 9, 8), 3, (3, 2), stride=(2, 1), dilation=(1, 3), padding=((1, 0), (2, 1)))
REPLICATE = Conv(
    (2, 3, 4), 3, (3, 2), stride=(2, 1), padding=((2, 3), (1, 0)), padding_mode="replicate"
)
UP = ConvTranspose(
    (2, 4, 3), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)), output_padding=(1, 2)
)
BY_RESHAPE = "batch and channels are exchanged by reshape, where they need transposing"
SWAPPED = "input and output channels of the kernel are swapped"


def implementation(layer, change, name):
    """An implementation that is right but for one quantity.

    `change` makes that of the right one and the operands.
    """

    def forward(x, w, b):
        y = cd.convolve(layer, x, w, b)
        return change(y, x, w, b) if name == "y" else y

    def backward(x, w, dy):
        gradients = cd.convolve_backward(layer, x, w, dy)._asdict()
        if name != "y":
            gradients[name] = change(gradients[name].copy(), x, w, dy)
        return tuple(gradients.values())

    return forward, backward


def said(layer, change, name):
    """The sentence about a quantity that is changed so; nothing is said about the others."""
    diagnosis = diagnose(layer, implementation(layer, change, name), seed=0)
    assert [e.name for e in diagnosis.explanations] == [name]
    return diagnosis[name].sentence


def set_to(where, value):
    def change(v, *_):
        v = v.copy()
        v[where] = value(v) if callable(value) else value
        return v

    return change


CORNER = np.s_[:, -1, -1, -1]
LOCAL = [  # layer, quantity, change, sentence
    (PADDED, "y", set_to(CORNER, 0), "it is zero at output (2, 5, 3) alone"),
    (PADDED, "y", set_to(CORNER, lambda y: -y[CORNER]),
     "the sign is turned at output (2, 5, 3) alone"),
    (
        PADDED,
        "y",
        set_to(CORNER, lambda y: y[:, -1, -1, -2]),
        "it holds at output (2, 5, 3) what belongs to output (2, 5, 2)",
    ),
    (PADDED, "y", set_to(CORNER, lambda y: 1.0001 * y[CORNER]),
     "it is multiplied by 1.0001 at output (2, 5, 3) alone"),
    (PADDED, "dx", set_to(np.s_[:, 0, 1, 2], 0), "it is zero at input (0, 1, 2) alone"),
    (PADDED, "dx", set_to(np.s_[:, 1], lambda v: 3 * v[:, 1]),
     "it is multiplied by 3 at channel 1 alone"),
    (PADDED, "dx", set_to(np.s_[:, 1], lambda v: v[:, 0]),
     "it holds at channel 1 what belongs to channel 0"),
    (PADDED, "dx", set_to(np.s_[:, :, 2], 0), "it is zero at the inputs at 2 along axis 0 alone"),
    (PADDED, "dw", set_to((1, 0, 1, 0), 0), "it is zero at weight (1, 0, 1, 0) alone"),
    (
        PADDED,
        "dw",
        set_to((1, 0, 1, 0), lambda v: (1 + 1e-4) * v[1, 0, 1, 0]),
        "it is multiplied by 1.0001 at weight (1, 0, 1, 0) alone",
    ),
    (
        PADDED,
        "dw",
        set_to((1, 0, 1, 0), lambda v: v[1, 0, 0, 0]),
        "it holds at weight (1, 0, 1, 0) what belongs to weight (1, 0, 0, 0)",
    ),
    (SQUARE, "dw", set_to((1, 2), lambda v: v[2, 1]),
     "it holds at weight[1, 2] what belongs to weight[2, 1]"),
    (SQUARE, "dw", set_to((1, 2), lambda v: v[1, 2, ::-1]),
     "in weight[1, 2] alone: the kernel is reversed on axis 0"),
    (
        SQUARE,
        "dw",
        set_to(1, lambda v: v[1].swapaxes(1, 2)),
        "in weight[1] alone: axes 0 and 1 of the kernel are transposed",
    ),
    (SQUARE, "db", set_to(1, lambda v: v[0]), "it holds at bias (1,) what belongs to bias (0,)"),
    (SQUARE, "y", set_to(np.s_[1:], lambda v: -v[1:]),
     "from the second sample on: the sign is turned"),
    (SQUARE, "y", set_to(2, 0), "in sample 2 alone: it is zero"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "name", "change", "sentence"), LOCAL, ids=[row[3] for row in LOCAL]
)
def test_what_is_wrong_at_a_few_cells_is_named(layer, name, change, sentence):
    assert said(layer, change, name) == sentence


def test_a_product_that_is_missing_or_counted_twice_is_named():
    def less(v, x, w, dy):
        v[2, 1, 0, 1] -= (
            x[:, 1, 2, 3] * dy[:, 2, 3, 2]
        ).sum()  # begin padding 1: row 3 reads row 2 by tap 0
        return v

    sentence = (
        "at weight (2, 1, 0, 1) it misses the product of output (2, 3, 2) and input (1, 2, 3)"
    )
    assert said(PADDED, less, "dw") == sentence

    def of_one_sample(v, x, w, dy):
        v[2, 1, 0, 1] += x[1, 1, 2, 3] * dy[1, 2, 3, 2]
        return v

    sentence = (
        "at weight (2, 1, 0, 1) it counts twice "
        "the product of output (2, 3, 2) and input (1, 2, 3) of sample 1"
    )
    assert said(PADDED, of_one_sample, "dw") == sentence

    def of_dx(v, x, w, dy):
        v[:, 1, 2, 3] -= w[2, 1, 0, 1] * dy[:, 2, 3, 2]
        return v

    sentence = (
        "at input (1, 2, 3) it misses the product of output (2, 3, 2) and weight (2, 1, 0, 1)"
    )
    assert said(PADDED, of_dx, "dx") == sentence

    def of_y(v, x, w, b):
        v[:, 2, 3, 2] -= w[2, 1, 0, 1] * x[:, 1, 2, 3]
        return v

    sentence = (
        "at output (2, 3, 2) it misses the product of input (1, 2, 3) and weight (2, 1, 0, 1)"
    )
    assert said(PADDED, of_y, "y") == sentence

    def of_an_edge_that_does_not_exist(v, x, w, dy):
        v[2, 1, 0, 1] -= (x[:, 1, 2, 2] * dy[:, 2, 3, 2]).sum()
        return v

    diagnosis = diagnose(
        PADDED, implementation(PADDED, of_an_edge_that_does_not_exist, "dw"), seed=0
    )
    assert diagnosis["dw"].sentence == ""
    assert "output (2, 3, 2), weight (2, 1, 0, 1): meets" in diagnosis["dw"].recovered


def test_a_bias_that_is_elsewhere_is_named():
    def bare(layer, x, w):
        return cd.convolve(layer, x, w)

    wide = Conv((2, 5, 4), 3, (3, 2))  # 3 x 3 outputs for 3 channels
    assert (
        said(wide, lambda y, x, w, b: bare(wide, x, w) + b, "y")
        == "the bias is added along axis 1, not to the channels"
    )
    rows = said(wide, lambda y, x, w, b: bare(wide, x, w) + b[:, None], "y")
    assert rows == "the bias is added along axis 0, not to the channels"
    assert (
        said(wide, lambda v, x, w, dy: dy.sum(axis=(0, 1, 2)), "db")
        == "it is summed for the places along axis 1, not for the channels"
    )
    assert (
        said(wide, lambda v, x, w, dy: np.full(3, dy.sum()), "db")
        == "it is summed over the channels too"
    )
    assert said(wide, lambda v, x, w, dy: v[::-1], "db") == "the channels are in reverse order"

    def inner(y, x, w, b):
        y[..., 0] -= b[:, None]
        return y

    assert said(wide, inner, "y") == "the bias is missing at the outputs at 0 along axis 1 alone"
    assert (
        said(wide, lambda y, x, w, b: y + 5 * b[:, None, None], "y") == "the bias is added 6 times"
    )

    def bare_end(y, x, w, b):
        y[:, :, -1:] -= b[:, None, None]
        y[:, :, :-1, -2:] -= b[:, None, None]
        return y

    assert said(UP, bare_end, "y") == "the bias is missing on the cells that output_padding adds"

    def without_the_end(v, x, w, dy):
        return dy[:, :, :-1, :-2].sum(axis=(0, 2, 3))

    assert said(UP, without_the_end, "db") == "it misses the cells that output_padding adds"


def test_output_pixels_left_out_are_named():
    def block(v, x, w, dy):
        kept = dy.swapaxes(0, 1).reshape(3, -1)  # sample by sample
        kept[:, kept.shape[1] // 8 * 8 :] = 0
        return kept.reshape(3, len(x), *dy.shape[2:]).swapaxes(0, 1)

    # 3 samples of 6 x 5 outputs, in blocks of 8
    lost = "the last 2 of the batch's 90 output pixels are left out"
    even = Conv((2, 8, 6), 3, (3, 2))
    assert (
        said(
            even, lambda v, x, w, dy: cd.convolve_backward(even, x, w, block(v, x, w, dy)).dw, "dw"
        )
        == lost
    )
    assert said(even, lambda v, x, w, dy: block(v, x, w, dy).sum(axis=(0, 2, 3)), "db") == lost

    def without(v, x, w, dy):
        dy = dy.copy()
        dy[:, :, 2, 3] = 0
        return cd.convolve_backward(even, x, w, dy)

    for name in ("dx", "dw", "db"):

        def one_of_them(*call, name=name):
            return getattr(without(*call), name)

        assert said(even, one_of_them, name) == "the output pixel (2, 3) is left out"

    def later(v, x, w, dy):
        first = cd.convolve_backward(even, x[:1], w, dy[:1]).dw
        return first + cd.convolve_backward(even, x[1:], w, dy[1:]).dw[:, :, ::-1]

    assert said(even, later, "dw") == "from the second sample on: the kernel is reversed on axis 0"


def test_constants_are_solved_for():
    def updated(v, x, w, dy):
        dw = cd.convolve_backward(STRIDED, x, w, dy).dw
        return cd.convolve_backward(STRIDED, x, w - 0.1 * dw / len(x), dy).dx

    sentence = "the weights were updated before: -0.0333333 times dw is added to them"
    assert said(STRIDED, updated, "dx") == sentence
    assert (
        said(STRIDED, lambda v, *_: np.clip(v, -2.5e6, 1e6), "dx")
        == "it is clipped to [-2.5e+06, 1e+06]"
    )
    assert (
        said(STRIDED, lambda v, *_: np.maximum(v, -100), "dw") == "it is clipped to at least -100"
    )
    assert said(STRIDED, lambda v, *_: np.minimum(v, 100), "dx") == "it is clipped to at most 100"
    signs = said(STRIDED, lambda v, *_: np.sign(v), "dx")
    assert signs == "it is clipped to [-1, 1], or its sign is taken 1 times"
    assert said(STRIDED, lambda v, x, w, dy: v + 0.3 * w, "dw") == "0.3 times the weights is added"
    assert said(STRIDED, lambda v, *_: 0.7 * v, "dx") == "it is multiplied by 0.7"


def test_noise_is_not_given_a_factor():
    """What rounding alone explains is no multiple of anything."""
    rng = np.random.default_rng(0)
    right = rng.integers(-99, 99, 50) * 1.0
    noisy = right * (1 + 2.0**-52 * rng.integers(-1, 2, 50))
    assert multiplied(noisy, right) == ""
    assert multiple(noisy, rng.normal(size=50), right) is None
    assert multiple(right * 3, right) == 3
    assert multiple(right * 3 + (np.arange(50) == 7), right) is None
    assert clipped(right, right) == clipped(0 * right, right) == clipped(np.abs(right), right) == ""
    almost = np.where(np.arange(50) == right.argmax(), right.max() - 1, right)
    assert clipped(almost, right) == ""  # one entry alone is no limit


@pytest.mark.parametrize("name", ["y", "dx"])
def test_one_kernel_got_wrong_is_named(name):
    def with_pair(kernel, pair=(0, 2)):
        def change(v, x, w, other):
            w = w.copy()
            w[pair] = kernel(w)
            return (
                cd.convolve(SQUARE, x, w, other)
                if name == "y"
                else cd.convolve_backward(SQUARE, x, w, other).dx
            )

        return said(SQUARE, change, name)

    for kernel, words in [
        (lambda w: w[2, 0], "the kernel is that of the pair (2, 0)"),
        (lambda w: w[0, 2, ::-1, ::-1], "the kernel is reversed on all axes"),
        (lambda w: w[0, 2].T, "the kernel has axes 0 and 1 transposed"),
        (lambda w: -w[0, 2], "the kernel has its sign turned"),
        (lambda w: w[0, 2] * (np.arange(9).reshape(3, 3) != 5), "the weight at tap (1, 2) is zero"),
        (lambda w: 1.5 * w[0, 2], "the kernel is multiplied by 1.5"),
        (
            lambda w: w[0, 2] * (1 + 1e-4 * (np.arange(9).reshape(3, 3) == 5)),
            "the weight at tap (1, 2) is multiplied by 1.0001",
        ),
    ]:
        assert with_pair(kernel) == f"of the channel pair (0, 2) {words}"
    assert with_pair(lambda w: w[0, 2] + w[1, 1][::-1]) == ""


def run_of(layer, mistake, name):
    """What `explain` says of one quantity that a mistake gives."""
    calls = [_draw(layer, (5, k), "float64", 3) for k in range(3)]
    values = [mistake.run(call, name) for call in calls]
    right = [Mistake("", cd.tie(layer)).run(call, name) for call in calls]
    if all(map(np.array_equal, values, right)):
        return None, values, calls
    found = next(explanations(layer, Observations(name, calls, values, right)), "")
    return str(found), values, calls


STRUCTURES = [
    (PADDED, "dw"),
    (STRIDED, "dw"),
    (SQUARE, "dw"),
    (MIXED, "dx"),
    (REPLICATE, "dx"),
    (UP, "y"),
    (Conv((4, 5), 4, 3, groups=2, padding=1), "dx"),
]


@pytest.mark.parametrize(("layer", "name"), STRUCTURES)
@pytest.mark.thinned(2)
def test_every_structural_mistake_is_named_by_itself_or_by_one_that_is_the_same_here(layer, name):
    known, own, tried = list(mistakes(layer)), 0, 0
    step = 1 if is_everything_tried() else 11
    for k, mistake in islice(enumerate(known), 1, None, step):
        tried += 1
        sentence, values, calls = run_of(layer, mistake, name)
        own += sentence == mistake.sentence
        if sentence in (None, mistake.sentence):
            continue
        assert sentence
        for other in known[:k]:
            if other.sentence == sentence:  # an earlier one gives the same values on this layer
                assert all(
                    np.array_equal(other.run(c, name), v)
                    for c, v in zip(calls, values, strict=True)
                )
    assert own > 0.6 * tried


def test_two_structural_mistakes_are_named_together():
    def other(layer, **changed):
        names = ("stride", "padding", "dilation", "groups", "flip", "padding_mode")
        return Conv(
            layer.in_shape,
            layer.out_channels,
            layer.kernel,
            **{**{n: getattr(layer, n) for n in names}, **changed},
        )

    swapped = tuple(pair[::-1] for pair in MIXED.padding)
    undilated = tuple(
        (b, e - (k - 1) * (d - 1))
        for (b, e), k, d in zip(swapped, MIXED.kernel, MIXED.dilation, strict=True)
    )
    wrong = other(MIXED, padding=undilated, dilation=1)
    assert wrong.out_shape == MIXED.out_shape
    changes = {
        "y": lambda v, x, w, b: cd.convolve(wrong, x, w, b),
        "dx": lambda v, x, w, dy: cd.convolve_backward(wrong, x, w, dy).dx,
        "dw": lambda v, x, w, dy: cd.convolve_backward(wrong, x, w, dy).dw,
    }
    for name, change in changes.items():
        diagnosis = diagnose(MIXED, implementation(MIXED, change, name), seed=0)
        words = "the dilation is ignored, and the padding at begin and end is swapped"
        assert diagnosis[name].sentence == words
        assert diagnosis[name].place

    strided = Conv((2, 7, 8), 3, 3, stride=2, padding=1)
    dense = Conv((2, 7, 8), 3, 3, padding=1)

    def flipped_and_dense(v, x, w, dy):
        wide = np.zeros((len(x), 3, 7, 8))
        wide[:, :, : dy.shape[2], : dy.shape[3]] = dy
        return cd.convolve_backward(dense, x, w[:, :, ::-1, ::-1], wide).dx

    sentence = "the kernel is reversed on all axes, and the stride is forgotten"
    assert said(strided, flipped_and_dense, "dx") == sentence

    def transposed_and_lost(v, x, w, b):
        return cd.convolve(SQUARE, x, w.swapaxes(2, 3) * (np.arange(9).reshape(3, 3) != 1), b)

    both = "axes 0 and 1 of the kernel are transposed, and tap (0, 1) of the kernel is lost"
    assert said(SQUARE, transposed_and_lost, "y") == both
    circular = other(SQUARE, padding_mode="circular")

    def circular_and_swapped(v, x, w, dy):
        return cd.convolve_backward(circular, x, w, dy).dw.swapaxes(0, 1)

    assert (
        said(SQUARE, circular_and_swapped, "dw")
        == "the padding is taken for circular, not for zeros, and " + SWAPPED
    )


def test_where_results_lie_elsewhere_that_is_named():
    layer = Conv(
        (2, 7, 8), 4, (3, 2), stride=(2, 3), padding=((1, 1), (0, 2))
    )  # 4 channels, 3 samples
    for sentence, layout in (*layouts(), *moved(2, ())):
        for name in ("y", "dx"):
            found = said(layer, lambda v, *_, layout=layout: layout(v), name)
            assert found
            if (
                "exchanged in memory" not in sentence
            ):  # which is the same one way and back on some sizes
                assert (
                    found == sentence or "one cell of padding" in found
                )  # what comes in may be zeros anyway
    read = said(
        STRIDED,
        lambda v, x, w, dy: cd.convolve_backward(STRIDED, x, w, dict(layouts())[BY_RESHAPE](dy)).dw,
        "dw",
    )
    assert read == f"of dy, {BY_RESHAPE}"
    with_zeros = said(
        STRIDED, lambda v, *_: np.pad(v, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1], "dx"
    )
    assert with_zeros == "it is moved forward by a cell along axis 0, and zeros come in"


def test_another_size_is_named():
    for padding, words in [
        (((1, 1), (0, 0)), "the padding at the end is taken for that at the begin"),
        (((2, 2), (1, 1)), "the padding at the begin is taken for that at the end"),
        (0, "the padding is forgotten"),
    ]:
        wrong = Conv((2, 5, 4), 3, (3, 2), padding=padding)
        found = said(PADDED, lambda y, x, w, b, wrong=wrong: cd.convolve(wrong, x, w, b), "y")
        assert found == f"y has another size: {words}"
    cut = said(Conv((2, 5, 5), 3, 3, padding=((0, 0), (1, 1))), lambda v, *_: v[:, :, 0:-0], "dx")
    assert cut == "dx is cropped by [begin:-end], which is empty where end is 0"


def unknown(rng):
    """Changes that have no name."""
    order = rng.permutation(20)
    return [
        ("y", lambda y, x, w, b: y + 1),
        (
            "y",
            lambda y, x, w, b: y.reshape(*y.shape[:2], -1)[..., order % y[0, 0].size].reshape(
                y.shape
            ),
        ),
        ("y", lambda y, x, w, b: cd.convolve(PADDED, x, w**2, b)),
        ("y", lambda y, x, w, b: np.tanh(y / 1e4)),
        ("y", set_to(np.s_[:, 1, 2, 3], 17)),
        ("y", set_to(np.s_[:, 1], lambda y: y[:, 1] + 3 * y[:, 0])),
        ("dx", set_to(np.s_[1:], lambda v: v[1:] + np.arange(v[1:].size).reshape(v[1:].shape))),
        ("dx", set_to(np.s_[0, 0, 0], lambda v: v[0, 0, 0] + np.arange(4))),
        ("dx", lambda v, *_: v + v[:, :, ::-1]),
        ("dw", lambda v, *_: np.round(v, -6)),
        ("dw", lambda v, *_: v * (1 + 1e-3 * np.arange(v.size).reshape(v.shape))),
        ("dw", set_to((0, 0), lambda v: v[0, 0] * [[1, 2], [1, 3], [1, 1]])),
        ("dw", lambda v, x, w, dy: v + (x[:, :1, :3, :2].sum(axis=0) * dy[0, 0, 0, 0])),
        ("db", lambda v, *_: v + np.array([0, 1, 0])),
        ("db", lambda v, *_: v * [1, 2, 3]),
    ]


@pytest.mark.parametrize("k", range(15))
@pytest.mark.thinned(3)
def test_what_is_wrong_in_an_unknown_way_is_given_no_name(k):
    name, change = unknown(np.random.default_rng(1))[k]
    sentence = said(PADDED, change, name)
    assert sentence == "" or sentence.startswith(("raised: ", "its shape is wrong: "))


def test_nothing_that_is_known_fits():
    """The worst case: a layer of 3x3 taps on which every quantity is wrong in an unknown way."""
    layer, rng = Conv((2, 7, 8), 3, 3, padding=1), np.random.default_rng(0)
    noise = [rng.integers(1, 9, (3, *s)) for s in (layer.out_shape, layer.in_shape)]

    def backward(x, w, dy):
        dx, dw, db = cd.convolve_backward(layer, x, w, dy)
        return dx + noise[1][:1], dw + w**2, db + np.array([1, 5, 2])

    forward = lambda x, w, b: cd.convolve(layer, x, w, b) + noise[0][:1]  # noqa: E731  (short)
    diagnosis = diagnose(layer, (forward, backward), seed=0)
    assert [e.sentence for e in diagnosis.explanations] == [""] * 4
    assert all(e.recovered for e in diagnosis.explanations if e.name != "db")


@given(layers(max_axes=2))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_every_layer_can_be_asked_about_an_unknown_mistake(layer):
    """Noise, wrong shapes and errors are met on layers of every kind; what is right stays so."""

    def noisy(v):
        return v + np.arange(1.0, v.size + 1).reshape(v.shape) ** 2

    def forward(x, w, b):
        return noisy(cd.convolve(layer, x, w, b))

    def backward(x, w, dy):
        return tuple(map(noisy, cd.convolve_backward(layer, x, w, dy)))

    diagnosis = diagnose(layer, (forward, backward), seed=0)
    assert {e.name for e in diagnosis.explanations} == {"y", "dx", "dw", "db"}
    if (
        min(cd.tie(layer).n_weights, *cd.tie(layer).shape) > 4
    ):  # of a few numbers much is a multiple
        assert [e.sentence for e in diagnosis.explanations if e.name != "db"] == [""] * 3
    broken = diagnose(layer, (lambda x, w, b: x[:0], lambda x, w, dy: (x[0], 1 / 0, None)), seed=0)
    assert broken["y"].sentence.startswith("its shape is wrong: ")
    assert broken["dx"].sentence.startswith("raised: ")


@given(layers((Conv, ConvTranspose)))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_windows_got_wrong_exist_and_are_told_apart_by_their_sentences(layer):
    n, transposed = window_parameters(layer), isinstance(layer, ConvTranspose)
    sentences = [sentence for sentence, _ in window_mistakes(n, transposed)]
    assert len(set(sentences)) == len(sentences)
    for _, axes in window_mistakes(n, transposed):
        for axis in axes:
            assert axis.rows.min() >= 0
            assert axis.rows.max() < axis.n_rows
            assert axis.cols.min() >= 0
            assert axis.cols.max() < axis.n_cols


def test_the_transforms_of_winograd_are_right_before_a_sign_is_turned():
    for transforms in TRANSFORMS.values():
        kernel, cells, outputs = transforms.values()
        m, n = outputs.shape
        tile = np.einsum("ik,kt,kj->itj", outputs, kernel, cells)
        right = [[[j == i + t for j in range(n)] for t in range(3)] for i in range(m)]
        assert np.array_equal(tile.round(12), right)
    sentences = [sentence for sentence, _ in winograd_mistakes(window_parameters(SQUARE))]
    assert len(set(sentences)) == len(sentences) > 40
    assert any(", or equivalently the sign at" in sentence for sentence in sentences)
    assert not list(winograd_mistakes(window_parameters(STRIDED)))


def test_cells_are_named_by_what_they_have_in_common():
    cells = np.arange(24).reshape(2, 3, 4)
    assert cells_in_words("y", cells[1, 2, 3:], (2, 3, 4)) == "output (1, 2, 3)"
    assert cells_in_words("dx", cells[1].ravel(), (2, 3, 4)) == "channel 1"
    assert cells_in_words("dx", cells[:, 1].ravel(), (2, 3, 4)) == "the inputs at 1 along axis 0"
    assert (
        cells_in_words("dx", cells[:, 1, :2].ravel(), (2, 3, 4))
        == "4 inputs, the first at (0, 1, 0),"
    )
    assert cells_in_words("dw", cells[1, 2], (2, 3, 4)) == "weight[1, 2]"
    assert cells_in_words("dw", cells[1].ravel(), (2, 3, 4)) == "weight[1]"
    assert cells_in_words("dw", cells[:, 2].ravel(), (2, 3, 4)) == "weight[:, 2]"
    assert cells_in_words("dw", cells[..., 3].ravel(), (2, 3, 4)) == "the weights at 3 along axis 0"


# Pools

LARGEST = MaxPool((2, 5, 6), (3, 2), stride=(2, 1), padding=1)
AVERAGE = AvgPool((2, 6, 7), (3, 2), stride=(2, 1))


def pool_said(pool, change, name):
    """The sentence about y or dx of a pool that is changed so."""

    def forward(x):
        y = pool_loops.forward(pool, x)
        return change(y.copy(), x) if name == "y" else y

    def backward(x, dy):
        dx = pool_loops.backward(pool, x, dy)
        return change(dx.copy(), x, dy) if name == "dx" else dx

    diagnosis = diagnose(pool, (forward, backward), seed=0)
    assert [e.name for e in diagnosis.explanations] == [name]
    return diagnosis[name].sentence


def test_what_is_wrong_at_a_few_cells_of_a_pool_is_named():
    corner = "it is multiplied by 1.0001 at 2 outputs, the first at (0, 1, 5), alone"
    assert (
        pool_said(AVERAGE, set_to(np.s_[..., -1, -1], lambda y: (1 + 1e-4) * y[..., -1, -1]), "y")
        == corner
    )
    assert (
        pool_said(LARGEST, set_to(np.s_[:, 1, 0, 0], 0), "y")
        == "it is zero at output (1, 0, 0) alone"
    )
    assert (
        pool_said(LARGEST, set_to(np.s_[1:], 0), "dx")
        == "only the first sample of the batch is computed"
    )
    later = set_to(np.s_[1:], lambda v: -v[1:])
    assert pool_said(LARGEST, later, "dx") == "from the second sample on: the sign is turned"
    assert pool_said(LARGEST, lambda v, *_: np.clip(v, -5, 9), "dx") == "it is clipped to [-5, 9]"
    assert pool_said(LARGEST, lambda v, *_: v + 1, "dx") == ""
    assert pool_said(LARGEST, set_to(np.s_[:, 1, 0, 0], lambda v: v[:, 1, 0, 0] + 2), "dx") == ""


def test_pools_over_a_padded_copy_are_named():
    padded = [(0, 0), (0, 0), (1, 1), (1, 1)]

    def edges(v, x, dy):
        copy = np.pad(x, padded, mode="edge")
        wide = MaxPool((2, 7, 8), (3, 2), stride=(2, 1))
        return pool_loops.backward(wide, copy, dy)[:, :, 1:-1, 1:-1]

    assert (
        pool_said(LARGEST, edges, "dx")
        == "cells of the padding are the edge and can win, which loses the gradient"
    )

    def repeated(v, x, dy):
        tiled = (dy / 6).repeat(3, axis=2).repeat(2, axis=3)[..., :7]
        return np.pad(tiled, ((0, 0), (0, 0), (0, 6 - tiled.shape[2]), (0, 7 - tiled.shape[3])))

    words = (
        "dy is repeated over tiles of the kernel, "
        "as if windows did not overlap and left nothing over"
    )
    assert pool_said(AVERAGE, repeated, "dx") == words
    override = AvgPool((2, 6, 7), (3, 2), divisor_override=5)
    plain = AvgPool((2, 6, 7), (3, 2))
    assert (
        pool_said(override, lambda v, x: pool_loops.forward(plain, x), "y")
        == "divisor_override is ignored"
    )


def test_what_dw_pairs_is_told_where_no_mistake_is_known():
    def crossed(v, x, w, dy):
        v[0, 0, 0] += (x[:, 1, 0, :2].T * dy[:, 0, 1, 1]).sum(axis=1)
        v[0, 0, 1] -= (x[:, 0, 4, :2].T * dy[:, 0, 1, 1]).sum(axis=1)
        return v

    explanation = diagnose(PADDED, implementation(PADDED, crossed, "dw"), seed=0)["dw"]
    first, *others = explanation.recovered.split("; ")
    assert first == (
        "output (0, 1, 1), weight (0, 0, 0, 0): "
        "meets input (0, 0, 1) and input (1, 0, 0) for input (0, 0, 1)"
    )
    assert others[1].endswith(
        "weight (0, 0, 1, 0): meets input (0, 1, 1) and minus input (0, 4, 0) for input (0, 1, 1)"
    )
    assert len(others) == 2

    def of_several(v, x, w, dy):
        return v + (len(x) > 1) * w**2

    explanation = diagnose(PADDED, implementation(PADDED, of_several, "dw"), seed=0)["dw"]
    assert (
        explanation.recovered
        == "for one sample and one output at a time (72 of 72 asked) dw is right"
    )
    refused = diagnose(PADDED, implementation(PADDED, lambda v, *_: v[0], "dw"), seed=0)["dw"]
    assert str(refused) == "dw: its shape is wrong: (2, 3, 2) where (3, 2, 3, 2) is needed"


@pytest.mark.parametrize("member", zoo.WRONG, ids=lambda member: member.name)
@pytest.mark.thinned(3)
def test_what_is_wrong_in_the_zoo_is_named_in_every_quantity(member):
    named_in = set()
    for layer in member.layers:
        if zoo.differing(member, layer):
            explanations = diagnose(layer, member.make(layer), seed=0).explanations
            named_in |= {e.name for e in explanations if e.sentence}
            assert all(e.sentence for e in explanations)
    assert named_in == set(member.wrong_in)


def test_wrong_implementations_are_not_blamed_where_they_are_right():
    """The nearest right neighbours: layers on which the mistakes of the zoo change nothing."""
    met = 0
    for member in zoo.WRONG:
        for layer in member.layers:
            if not zoo.differing(member, layer):
                found = diagnose(layer, member.make(layer), seed=0)
                met += 1
                assert found, member.name
    assert met >= 40
