"""Padding per axis, of a number or below 0; dilated inputs; empty axes; any output_padding.

Three ways to every number: the loops, the fast direct form and the dense layer; PyTorch beside.
"""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest

import convdense as cd
from convdense.certificates.integer_ranges import exact_ranges
from convdense.direct import conv_loops
from convdense.geometry import layer_from_dict
from convdense.geometry.padding import MODES

KINDS = (cd.Conv, cd.LocallyConnected, cd.ConvTranspose)


def drawn(random):
    """Return a layer of numbers drawn at random, or None where they make none."""
    axes = random.choice([1, 1, 2, 2, 3])
    groups = random.choice([1, 1, 2])
    low = random.choice([0, 1, 1])

    def per_axis(least, most):
        return tuple(random.randint(least, most) for _ in range(axes))

    options = {
        "stride": per_axis(1, 3),
        "dilation": per_axis(1, 2),
        "padding": tuple(zip(per_axis(-2, 3), per_axis(-2, 3), strict=True)),
        "groups": groups,
        "flip": random.random() < 0.5,
    }
    kind = random.choice(KINDS)
    if kind is cd.ConvTranspose:
        options["output_padding"] = per_axis(0, 4)
    else:
        if random.random() < 0.6:
            options["padding_mode"] = tuple(random.choice(MODES) for _ in range(axes))
        if random.random() < 0.4:
            options["padding_value"] = random.choice([2, -3, 0.5, 200])
        if random.random() < 0.3:
            options["input_dilation"] = per_axis(1, 3)
    in_shape = (groups * random.randint(1, 2), *per_axis(low, 5))
    try:
        return kind(in_shape, groups * random.randint(1, 2), per_axis(1, 3), **options)
    except ValueError:
        return None


def operands(layer, batch, seed=0, dtype=np.int64):
    rng = np.random.default_rng(seed)
    shapes = (batch, *layer.in_shape), layer.weight_shape, layer.bias_shape
    x, w, b = (rng.integers(-5, 6, shape).astype(dtype) for shape in shapes)
    return x, w, b, rng.integers(-5, 6, (batch, *layer.out_shape)).astype(dtype)


@pytest.mark.claim("forward", "dx", "dw", "db")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.thinned(2)
def test_loops_fast_form_and_dense_layer_agree(seed):
    random = Random(seed)
    layers = [layer for layer in (drawn(random) for _ in range(60)) if layer is not None]
    assert len(layers) > 20
    for layer in layers:
        x, w, b, dy = operands(layer, random.choice([0, 1, 2]), seed)
        dense = cd.TiedDense(layer, w, b)
        y = conv_loops.forward(layer, x, w, b)
        gradients = conv_loops.backward(layer, x, w, dy)
        tied = dense.ties.gradient(x, dy)
        for expected, *others in (
            (y, cd.convolve(layer, x, w, b), dense.forward(x)),
            (gradients[0], cd.convolve_backward(layer, x, w, dy).dx, dense.backward(x, dy).dx),
            (
                gradients[1],
                cd.convolve_backward(layer, x, w, dy).dw,
                dense.backward(x, dy).dw,
                tied,
            ),
            (gradients[2], cd.convolve_backward(layer, x, w, dy).db, dense.backward(x, dy).db),
        ):
            for other in others:
                assert other.dtype == expected.dtype, layer
                assert np.array_equal(other, expected), layer


@pytest.mark.parametrize("seed", range(3))
def test_it_reads_back_from_its_repr_and_from_json(seed):
    random = Random(100 + seed)
    for layer in filter(None, (drawn(random) for _ in range(60))):
        assert eval(repr(layer), vars(cd)) == layer
        assert layer_from_dict(json.loads(json.dumps(layer.to_dict()))) == layer


def by_torch(torch, layer, x, w, b):
    """Return y as PyTorch makes it of a dilated, cropped and padded input: no word of ours."""
    functional = torch.nn.functional
    axes = len(layer.kernel)
    x, w, b = (torch.from_numpy(a.astype(np.float64)) for a in (x, w, b))
    for axis, step in enumerate(layer.input_dilation, start=2):
        shape = list(x.shape)
        shape[axis] = (shape[axis] - 1) * step + 1
        spread = torch.zeros(shape, dtype=x.dtype)
        spread[(slice(None),) * axis + (slice(None, None, step),)] = x
        x = spread
    for axis, (pair, mode) in enumerate(zip(layer.padding, layer.padding_modes, strict=True)):
        pads = [0, 0] * axes
        place = 2 * (axes - 1 - axis)  # PyTorch counts from the last axis
        pads[place : place + 2] = [min(n, 0) for n in pair]
        x = functional.pad(x, pads)
        pads[place : place + 2] = [max(n, 0) for n in pair]
        options = {"mode": mode} if mode != "zeros" else {"value": float(layer.padding_value)}
        x = functional.pad(x, pads, **options)
    conv = getattr(functional, f"conv{axes}d")
    if layer.flip:
        w = w.flip(tuple(range(2, 2 + axes)))
    options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    return conv(x, w, b, **options).numpy()


@pytest.mark.parametrize("seed", range(4))
def test_pytorch_gives_the_same_of_the_padded_input(seed):
    torch = pytest.importorskip("torch")
    random = Random(200 + seed)
    tried = 0
    for layer in filter(None, (drawn(random) for _ in range(120))):
        known = {"zeros", "circular", "reflect", "replicate"}
        same_kind = type(layer) is cd.Conv and 0 not in (*layer.in_shape, *layer.out_shape)
        if not same_kind or not set(layer.padding_modes) <= known:
            continue
        x, w, b, _ = operands(layer, 2, seed)
        try:
            expected = by_torch(torch, layer, x, w, b)
        except NotImplementedError:  # PyTorch pads three axes at once, or none
            continue
        tried += 1
        assert np.array_equal(cd.convolve(layer, x, w, b), expected), layer
    assert tried > 8


# published values and facts of bug reports


def test_a_cylinder_wraps_around_one_axis():
    conv = cd.Conv((1, 2, 3), 1, (1, 3), padding=(0, 1), padding_mode=("zeros", "circular"))
    around = cd.Conv((1, 2, 3), 1, (3, 1), padding=(1, 0), padding_mode=("circular", "zeros"))
    x = np.arange(6).reshape(1, 2, 3)
    assert cd.convolve(conv, x, [[[[1, 0, 0]]]]).tolist() == [[[2, 0, 1], [5, 3, 4]]]
    assert cd.convolve(around, x, [[[[1], [0], [0]]]]).tolist() == [[[3, 4, 5], [0, 1, 2]]]
    assert conv.padding_mode == ("zeros", "circular")
    assert repr(cd.Conv((1, 2, 3), 1, 1, padding_mode=("zeros", "zeros"))) == (
        "Conv((1, 2, 3), out_channels=1, kernel=1)"
    )


def test_ones_around_an_image_as_larq_has_them():
    conv = cd.Conv((1, 2, 2), 1, 3, padding=1, padding_value=1)
    w = np.ones((1, 1, 3, 3), int)
    assert cd.convolve(conv, np.full((1, 2, 2), -1), w).tolist() == [[[1, 1], [1, 1]]]
    # 5 of the 9 cells of every window are padding: 5 - 4
    assert cd.tie(conv).from_padding(w).tolist() == [[[5, 5], [5, 5]]]
    assert cd.TiedDense(conv, w).backward(np.zeros((1, 2, 2)), np.ones((1, 2, 2))).dw.tolist() == [
        [[[3, 2, 3], [2, 0, 2], [3, 2, 3]]]
    ]


def test_a_zero_point_is_what_padding_holds():
    """Quantised x stands for x - z, whose zeros are cells of z (tvm#4807, #13364)."""
    conv = cd.Conv((2, 3, 4), 2, 3, padding=1, padding_value=7)
    x, w, _, _ = operands(conv, 2)
    moved = cd.convolve(replace(conv, padding_value=0), x - 7, w)
    sums = w.sum(axis=(1, 2, 3))[:, None, None]  # (out, 1, 1)
    assert np.array_equal(cd.convolve(conv, x, w) - 7 * sums, moved)
    assert np.array_equal(cd.TiedDense(conv, w).forward(x) - 7 * sums, moved)


def test_numbers_take_the_dtype_of_the_cells_that_they_stand_beside():
    """A fraction makes floats of integers, never float16; float32 stays, whatever the number."""
    for value, cells, expected in (
        (0.1, "uint8", "float64"),
        (128, "uint8", "uint8"),
        (-1, "uint8", "int16"),
        (70000, "float32", "float32"),
        (1e20, "complex64", "complex64"),
        (1e300, "float32", "float64"),
    ):
        conv = cd.Conv((1, 3), 1, 2, padding=1, padding_value=value)
        x, w = np.ones((1, 3), cells), np.ones((1, 1, 2), cells)
        ways = cd.convolve(conv, x, w), cd.TiedDense(conv, w).forward(x)
        assert {y.dtype.name for y in ways} == {np.result_type(expected, cells).name}
        assert np.array_equal(*ways)
        assert cd.check(conv, x, w) or cells == "complex64"


def test_an_average_behind_it_asks_for_a_multiple():
    """What leaves a layer before an average has to be a multiple of its divisor."""
    layers = cd.AvgPool((2, 6, 6), 3), cd.Conv((2, 2, 2), 2, 2)

    def certified(value):
        first = cd.Conv((2, 6, 6), 2, 3, padding=1, padding_value=value)
        return cd.certify(cd.network(first, *layers, seed=0), seed=1)

    assert certified(9)
    with pytest.raises(ValueError, match=r"^padding_value: got 1; needs a multiple of 9, so that"):
        certified(1)


@pytest.mark.parametrize("layer", [cd.Conv((1, 0), 1, 2, padding=1), cd.SumPool((1, 0), 2)])
def test_an_empty_layer_is_named_where_there_is_nothing_to_draw(layer):
    assert str(cd.tie(layer)).startswith("TieMap(in=(1, 0)")
    for draw in (cd.plots.matrix, cd.plots.density, cd.explorer.explore):
        with pytest.raises(ValueError, match=r"^layer: got .* needs some of both"):
            draw(layer)


def test_a_negative_padding_is_a_crop():
    conv = cd.Conv((1, 5), 1, 2, padding=((-1, 1),))
    assert cd.convolve(conv, [[1, 2, 3, 4, 5]], [[[1, 10]]]).tolist() == [[32, 43, 54, 5]]
    dx, _, _ = cd.convolve_backward(conv, np.zeros((1, 5)), np.ones((1, 1, 2)), np.ones((1, 4)))
    assert dx.tolist() == [[0, 1, 2, 2, 2]]
    longer = cd.ConvTranspose((1, 2), 1, 2, padding=((-1, 0),))
    assert cd.convolve(longer, [[1, 2]], [[[1, 10]]]).tolist() == [[0, 1, 12, 20]]


def test_jax_general_form_is_a_transposed_convolution_where_strides_are_1():
    """mlx#1826: padding (6, 15), input dilation 16, kernel 7, flipped: 14 -> 224."""
    general = cd.Conv((1, 14), 1, 7, padding=((6, 15),), input_dilation=16, flip=True)
    up = cd.ConvTranspose((1, 14), 1, 7, stride=16, output_padding=9)
    assert general.out_shape == up.out_shape == (1, 224)
    x, w, _, _ = operands(general, 2)
    assert np.array_equal(cd.convolve(general, x, w), cd.convolve(up, x, w))


def test_output_padding_of_any_size_adds_cells_that_hold_the_bias():
    up = cd.ConvTranspose((1, 3), 1, 2, output_padding=1)  # refused by PyTorch, not by TensorFlow
    assert cd.convolve(up, [[1, 2, 3]], [[[1, 10]]], [7]).tolist() == [[8, 19, 30, 37, 7]]
    assert cd.certify(up)


def test_empty_axes_and_outputs():
    empty = cd.Conv((2, 0, 5), 3, (1, 2))
    assert empty.out_shape == (3, 0, 4)
    x, w, b, dy = operands(empty, 2)
    assert cd.convolve(empty, x, w, b).shape == (2, 3, 0, 4)
    dense = cd.TiedDense(empty, w, b)
    assert dense.matrix.shape == (0, 0)
    dx, dw, db = dense.backward(x, dy)
    assert dx.shape == x.shape
    assert not dw.any()
    assert not db.any()
    padded = cd.Conv((1, 0), 1, 3, padding=2)  # nothing but zeros
    assert cd.convolve(padded, np.zeros((1, 0)), np.ones((1, 1, 3)), [4]).tolist() == [[4, 4]]
    assert cd.tie(padded).matrix(np.ones((1, 1, 3))).shape == (2, 0)


def test_a_certificate_of_nothing_is_refused():
    for layer in (cd.Conv((2, 0, 5), 3, (1, 2)), cd.Conv((1, 0), 1, 3, padding=2)):
        with pytest.raises(ValueError, match=r"^layer: got .* outputs; needs some of both"):
            cd.certify(layer)


# verdicts


CYLINDER = cd.Conv((1, 3, 3), 1, 2, padding=1, padding_mode=("circular", "zeros"), padding_value=2)
CROPPED = cd.Conv((2, 5), 2, 2, padding=((-1, 2),), padding_mode="replicate")
DILATED = cd.Conv((1, 3, 2), 2, 2, stride=2, padding=1, input_dilation=(3, 2))
LOCAL = cd.LocallyConnected((1, 4), 1, 3, padding=2, padding_value=-5)
LARGE = cd.Conv((8, 20, 20), 8, 3, padding=1, padding_value=128)


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        (CYLINDER, "float64"),
        (CROPPED, "float64"),
        (DILATED, "float64"),
        (LOCAL, "float32"),
        (LARGE, "float32"),
    ],
    ids=repr,
)
@pytest.mark.thinned(2)
def test_certified_and_checked(layer, dtype):
    mine = (
        lambda x, w, b: cd.convolve(layer, x, w, b),
        lambda x, w, dy: cd.convolve_backward(layer, x, w, dy),
    )
    cd.certify(layer, mine, dtype=dtype, seed=1).require()
    rng = np.random.default_rng(0)
    shapes = (2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape)
    x, w, b, dy = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    cd.check(layer, x, w, b, dy).require()
    net = cd.network(layer, cd.ReLU(), cd.Flatten(), cd.Linear(int(np.prod(layer.out_shape)), 2))
    cd.check(net, x).require()


def test_a_network_knows_its_bias_from_what_padding_adds():
    net = cd.network(cd.TiedDense(CYLINDER, np.ones(CYLINDER.weight_shape)), cd.ReLU())
    cd.certify(net, seed=0).require()
    gradients = net.backward(np.ones((1, 3, 3)), np.ones(net.out_shape))[1]
    assert list(gradients) == ["0.w"]


WRONG = {  # what the code computes in place of a layer -> what `diagnose` says of y
    "padding value": (CYLINDER, {"padding_value": 0}, "the padding holds 0, not 2"),
    "a value beside it": (CYLINDER, {"padding_value": 3}, "the padding holds 3, not 2"),
    "a crop of one more": (
        cd.Conv((1, 6), 1, 2, padding=((-1, 1),)),
        {"padding": ((-2, 2),)},
        "one cell of padding less at the begin of every axis",
    ),
    "its sign": (CYLINDER, {"padding_value": -2}, "the padding holds -2, not 2"),
    "input dilation": (
        cd.Conv((1, 3), 1, 2, padding=((3, 3),), input_dilation=3),
        {"input_dilation": 1, "padding": ((3, 7),)},
        "the input_dilation is forgotten",
    ),
    "mode": (
        cd.Conv((1, 3, 3), 1, 2, padding=1, padding_mode=("circular", "zeros")),
        {"padding_mode": "circular"},
        "the padding is taken for circular, not for circular and zeros",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.thinned(2)
def test_a_mistake_is_refused_and_named(name):
    layer, wrong, said = WRONG[name]
    other = replace(layer, **wrong)
    assert other.out_shape == layer.out_shape
    mine = (
        lambda x, w, b: cd.convolve(other, x, w, b),
        lambda x, w, dy: cd.convolve_backward(layer, x, w, dy),
    )
    assert not cd.certify(layer, mine)
    assert f"y: {said}" in str(cd.diagnose(layer, mine, seed=0)).splitlines()


def test_one_wrong_weight_of_the_padding_is_seen_where_x_is_0():
    """y is affine in x: an implementation that is right wherever x is not 0 is wrong."""
    conv = cd.Conv((1, 2), 1, 2, padding=1, padding_value=3)

    def forward(x, w, b):
        y = cd.convolve(conv, x, w, b)
        return y if x.any() else y + 0 * w.sum() + w[0, 0, 0]

    def backward(x, w, dy):
        return cd.convolve_backward(conv, x, w, dy)

    assert not cd.certify(conv, (forward, backward), method="exhaustive")


def test_integers_leave_room_for_the_number():
    small = exact_ranges(cd.Conv((1, 5), 1, 3, padding=1, padding_value=1), "float32", 1)
    large = exact_ranges(cd.Conv((1, 5), 1, 3, padding=1, padding_value=1000), "float32", 1)
    assert large.w * 1000 <= 2**24
    assert large.w < small.w * small.x


def test_a_number_that_is_no_short_binary_fraction_is_checked_not_certified():
    conv = cd.Conv((1, 5), 1, 3, padding=1, padding_value=0.1)
    with pytest.raises(ValueError, match=r"^padding_value: got 0.1; needs a small integer"):
        cd.certify(conv)
    rng = np.random.default_rng(1)
    report = cd.check(conv, rng.normal(size=(1, 5)), rng.normal(size=(1, 1, 3)), dy=np.ones((1, 5)))
    assert report
    assert cd.certify(replace(conv, padding_value=0.5))


# messages


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"padding_value": "1"}, "padding_value: got '1'; needs a finite real number"),
        ({"padding_value": float("inf")}, "padding_value: got inf; needs a finite real number"),
        (
            {"padding_value": 1, "padding_mode": "circular"},
            'padding_value: got 1; needs padding_mode="zeros" along some axis: the other modes '
            "copy cells",
        ),
        (
            {"padding_mode": ("zeros",)},
            "padding_mode: got ('zeros',); needs one of 'zeros', 'circular', 'reflect', "
            "'replicate', 'symmetric', or one per axis (2)",
        ),
        (
            {"padding": ((-6, 0), 9)},
            "padding: got (-6, 0); needs to take away at most the 5 cells of axis 0",
        ),
        (
            {"padding": -1, "padding_mode": "reflect", "in_shape": (1, 3, 5)},
            None,
        ),
        (
            {"padding": ((-1, 2), 0), "padding_mode": "reflect", "in_shape": (1, 3, 5)},
            "padding: got (-1, 2); needs at most 1 on axis 0 of 2 cells for "
            "padding_mode='reflect'; "
            'pad less, or use "replicate" or "zeros"',
        ),
        (
            {"input_dilation": 2, "padding_mode": ("zeros", "circular")},
            "input_dilation: got (2, 2) beside padding_mode=('zeros', 'circular'); "
            "needs 1 there, or padding with zeros",
        ),
        (
            {"input_dilation": 2, "padding_value": 1},
            "input_dilation: got (2, 2) beside padding_value=1; "
            "needs 1 there, or padding with zeros",
        ),
        ({"input_dilation": 0}, "input_dilation: got 0; needs an integer of at least 1"),
    ],
)
def test_refused_word_for_word(options, said):
    arguments = {"in_shape": (1, 5, 5), "out_channels": 1, "kernel": 1} | options
    if said is None:
        assert cd.Conv(**arguments)
        return
    with pytest.raises((TypeError, ValueError)) as refusal:
        cd.Conv(**arguments)
    assert str(refusal.value) == said


# shown


def test_what_padding_adds_is_written_and_drawn():
    conv = cd.Conv((1, 2, 2), 1, 2, padding=1, padding_value=-1)
    grid = str(cd.tie(conv)).splitlines()
    assert grid[1:3] == ["   i1 i2 | i3 i4 || -1", "o1 d  .  | .  .  || a+b+c"]
    lines = cd.equations(conv).splitlines()
    assert lines[1] == "  o1 = w4 i1 - w1 - w2 - w3 + b1"
    assert lines[11].startswith("  dC/dw1 = i1 dC/do5 + i2 dC/do6 + i3 dC/do8 + i4 dC/do9 - dC/do1")
    ax = cd.plots.matrix(cd.TiedDense(conv, np.arange(1, 5).reshape(1, 1, 2, 2)))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["i1", "i2", "i3", "i4", "-1"]
    assert "a+b+c\n6" in [text.get_text() for text in ax.texts]
    for draw in (cd.plots.animate, cd.plots.anatomy, cd.explorer.explore):
        with pytest.raises(ValueError, match=r"^layer: got padding_value=-1; needs 0 here"):
            draw(conv)


def test_steps_of_the_gradient_end_in_the_gradient():
    layer = cd.TiedDense(CYLINDER, np.arange(4).reshape(1, 1, 2, 2))
    x, _, _, dy = operands(CYLINDER, 2)
    assert np.array_equal(layer.gradient_steps(x, dy).tied, layer.backward(x, dy).dw)


def test_a_recovered_layer_has_it_in_its_bias():
    layer = cd.TiedDense(CYLINDER, np.arange(1, 5).reshape(1, 1, 2, 2), np.array([3]))
    assert cd.recover(layer.forward, CYLINDER.in_shape, layer=layer, seed=0)
