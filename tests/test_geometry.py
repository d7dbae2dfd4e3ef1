"""Sizes, text and equality of the layers, counted by hand and by PyTorch where there is one."""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from itertools import product

import numpy as np
import pytest

import convdense as cd
from convdense import Conv, ConvTranspose, LocallyConnected
from tests.strategies import KINDS

on_all_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
SIZES = range(1, 8)
KERNELS = range(1, 5)
STRIDES = range(1, 4)
DILATIONS = range(1, 4)
PADS = range(4)


def cells_of_window(kernel, dilation):
    """Return the cells under a window that starts at 0, one per tap."""
    return [tap * dilation for tap in range(kernel)]


def count_windows(n, pads, kernel, stride, dilation):
    """Count the positions at which every tap lies on a cell of the padded input."""
    corner = count = 0
    while corner + max(cells_of_window(kernel, dilation)) < n + sum(pads):
        corner, count = corner + stride, count + 1
    return count


def count_stamped(n, pads, kernel, stride, dilation, extra):
    """Count the cells from the first stamp of a kernel to the last, less what is cropped."""
    last = max(i * stride + cell for i in range(n) for cell in cells_of_window(kernel, dilation))
    return last + 1 - sum(pads) + extra


def least_padding(n, wanted, kernel, stride, dilation, first):
    """Add cells one by one, to either side in turn, until there are as many windows as wanted."""
    pads, side = [0, 0], first
    while count_windows(n, pads, kernel, stride, dilation) < wanted:
        pads[side] += 1
        side = 1 - side
    return tuple(pads)


def numbers(*ranges):
    """Return every combination of input size, kernel, stride, dilation and further ranges."""
    return product(SIZES, KERNELS, STRIDES, DILATIONS, *ranges)


def one_axis(kind, n, kernel, stride, dilation, **options):
    return kind((1, n), 1, kernel, stride=stride, dilation=dilation, **options)


@pytest.mark.parametrize("kind", [Conv, LocallyConnected], ids=lambda kind: kind.__name__)
def test_sizes_are_the_windows_counted(kind):
    """Dumoulin & Visin, relation 6, with dilation and one pad for either side."""
    for n, k, s, d, begin, end in numbers(PADS, PADS):
        expected = count_windows(n, (begin, end), k, s, d)
        if expected:
            assert one_axis(kind, n, k, s, d, padding=((begin, end),)).out_spatial == (expected,)
        else:
            with pytest.raises(ValueError, match=r"^kernel: "):
                one_axis(kind, n, k, s, d, padding=((begin, end),))


def test_transposed_sizes_are_the_stamps_counted():
    """Dumoulin & Visin, relation 14, with dilation and one crop for either side."""
    for n, k, s, d, begin, end, extra in numbers(PADS, PADS, range(3)):
        expected = count_stamped(n, (begin, end), k, s, d, extra)
        options = {"padding": ((begin, end),), "output_padding": extra}
        if expected > 0:
            layer = one_axis(ConvTranspose, n, k, s, d, **options)
            assert layer.out_spatial == (expected,)
            if extra < s:  # the convolution that leads back
                assert count_windows(expected, (begin, end), k, s, d) == n
        else:
            with pytest.raises(ValueError, match=r"^padding: "):
                one_axis(ConvTranspose, n, k, s, d, **options)


@pytest.mark.parametrize(("word", "first"), [("same", 1), ("same_lower", 0)])
def test_same_adds_the_least_that_gives_an_output_per_stride(word, first):
    """TensorFlow's SAME and ONNX's SAME_UPPER start at the end, SAME_LOWER at the beginning."""
    for n, k, s, d in numbers():
        wanted = len(range(0, n, s))
        layer = one_axis(Conv, n, k, s, d, padding=word)
        assert layer.padding == (least_padding(n, wanted, k, s, d, first),)
        assert layer.out_spatial == (wanted,)


def test_full_lets_every_tap_meet_every_cell():
    for n, k, s, d in numbers():
        reach = max(cells_of_window(k, d))
        starts = [corner for corner in range(-reach, n) if (corner + reach) % s == 0]
        layer = one_axis(Conv, n, k, s, d, padding="full")
        assert layer.out_spatial == (len(starts),)
        assert layer.padding == ((-starts[0],) * 2,)
        if s == 1:
            assert np.array_equal(cd.tie(layer).counts().weights.ravel(), [n] * k)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_valid_adds_nothing(kind):
    layer = kind((2, 5, 7), 3, kernel=(2, 3), padding="valid")
    assert layer.padding == ((0, 0), (0, 0))
    assert layer == kind((2, 5, 7), 3, kernel=(2, 3))


@pytest.mark.parametrize(("word", "first"), [("same", 1), ("same_lower", 0)])
def test_transposed_same_gives_an_output_per_stride_and_input(word, first):
    for n, k, s, d in numbers():
        layer = one_axis(ConvTranspose, n, k, s, d, padding=word)
        assert layer.out_spatial == (n * s,)
        surplus = count_stamped(n, (0, 0), k, s, d, 0) - n * s
        begin, end = layer.padding[0]
        assert (begin + end, layer.output_padding[0]) == (max(surplus, 0), max(-surplus, 0))
        assert (begin - end, end - begin)[first] == (
            begin + end
        ) % 2  # the odd one comes first there


def test_transposed_full_crops_what_full_adds():
    layer = ConvTranspose((1, 7, 6), 1, kernel=(3, 2), dilation=(1, 2), padding="full")
    assert (layer.padding, layer.out_spatial) == (((2, 2), (2, 2)), (5, 4))


def test_axes_do_not_mix():
    """Every axis has numbers of its own; together they give what each gives alone."""
    sizes = (9, 11, 6, 8)
    kernel = (2, 3, 4, 1)
    stride = (1, 3, 2, 4)
    dilation = (3, 2, 1, 1)
    pads, extra = (1, (0, 2), 3, (1, 0)), (2, 1, 0, 3)
    shared = {"stride": stride, "dilation": dilation, "padding": pads}
    conv = Conv((1, *sizes), 1, kernel, **shared)
    up = ConvTranspose((1, *sizes), 1, kernel, **shared, output_padding=extra)
    for axis, one in enumerate(zip(sizes, kernel, stride, dilation, strict=True)):
        assert (
            conv.out_spatial[axis : axis + 1]
            == one_axis(Conv, *one, padding=(pads[axis],)).out_spatial
        )
        alone = one_axis(ConvTranspose, *one, padding=(pads[axis],), output_padding=extra[axis])
        assert up.out_spatial[axis : axis + 1] == alone.out_spatial


TABLE = [  # layer, out_shape, weight_shape, bias_shape
    (Conv((3, 32, 32), 8, 3, stride=2, padding=1), (8, 16, 16), (8, 3, 3, 3), (8,)),
    (Conv((3, 227, 227), 96, 11, stride=4), (96, 55, 55), (96, 3, 11, 11), (96,)),  # AlexNet, conv1
    (
        Conv((3, 224, 224), 64, 7, stride=2, padding=3),
        (64, 112, 112),
        (64, 3, 7, 7),
        (64,),
    ),  # ResNet, conv1
    (
        Conv((32, 112, 112), 32, 3, padding="same", groups=32),
        (32, 112, 112),
        (32, 1, 3, 3),
        (32,),
    ),  # MobileNet
    (Conv((6, 10), 4, 3, dilation=4, groups=2), (4, 2), (4, 3, 3), (4,)),
    (Conv((2, 5, 6, 7, 8), 3, (1, 2, 3, 4)), (3, 5, 5, 5, 5), (3, 2, 1, 2, 3, 4), (3,)),
    (
        ConvTranspose((8, 16, 16), 3, 3, stride=2, padding=1, output_padding=1),
        (3, 32, 32),
        (8, 3, 3, 3),
        (3,),
    ),
    (
        ConvTranspose((100, 1, 1), 512, 4),
        (512, 4, 4),
        (100, 512, 4, 4),
        (512,),
    ),  # DCGAN, first layer
    (ConvTranspose((6, 4), 4, 5, stride=3, groups=2), (4, 14), (6, 2, 5), (4,)),
    (LocallyConnected((2, 5, 7), 4, (3, 2), groups=2), (4, 3, 6), (4, 1, 3, 6, 3, 2), (4, 3, 6)),
    (LocallyConnected((1, 6), 2, 3, stride=2, padding=1), (2, 3), (2, 1, 3, 3), (2, 3)),
]


@pytest.mark.parametrize(
    ("layer", "out_shape", "weight_shape", "bias_shape"), TABLE, ids=[repr(r[0]) for r in TABLE]
)
def test_shapes(layer, out_shape, weight_shape, bias_shape):
    assert (layer.out_shape, layer.weight_shape, layer.bias_shape) == (
        out_shape,
        weight_shape,
        bias_shape,
    )
    assert (layer.in_channels, *layer.in_spatial) == layer.in_shape
    assert (layer.out_channels, *layer.out_spatial) == layer.out_shape


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip(
        "torch", reason="PyTorch, the outside judge of sizes, is not installed"
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_sizes_are_pytorchs(torch, axes):
    """On PyTorch's device without memory: shapes only.

    Every axis takes its numbers from another place of the sweep.
    """
    sweep = [
        row for row in product((5, 6, 9), (1, 2, 3), STRIDES, (1, 2), (0, 1)) if row[-1] < row[1]
    ]
    for i in range(0, len(sweep), axes):
        rows = [sweep[(i + 5 * axis) % len(sweep)] for axis in range(axes)]
        sizes, kernel, stride, dilation, padding = (
            list(column) for column in zip(*rows, strict=True)
        )
        numbers = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 2}
        extra = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
        for kind, options in ((Conv, {}), (ConvTranspose, {"output_padding": extra})):
            layer = kind((4, *sizes), 6, kernel, **numbers, **options)
            module = getattr(torch.nn, f"{kind.__name__}{axes}d")(
                4, 6, kernel, **numbers, **options, device="meta"
            )
            assert layer.out_shape == tuple(
                module(torch.empty(1, 4, *sizes, device="meta")).shape[1:]
            )
            assert layer.weight_shape == tuple(module.weight.shape)
            assert layer.bias_shape == tuple(module.bias.shape)


TEXTS = [
    (Conv((3, 32, 32), 8, 3), "Conv((3, 32, 32), out_channels=8, kernel=3)"),
    (Conv((1, 5), 2, [3], stride=[1], padding=[(0, 0)]), "Conv((1, 5), out_channels=2, kernel=3)"),
    (
        Conv((4, 9, 9), 6, (3, 2), stride=(2, 2), padding=1, dilation=(1, 2), groups=2, flip=True),
        "Conv((4, 9, 9), out_channels=6, kernel=(3, 2), stride=2, padding=1, dilation=(1, 2), "
        "groups=2, flip=True)",
    ),
    (
        Conv((1, 4, 6), 1, 3, padding=(1, (0, 2)), padding_mode="reflect"),
        "Conv((1, 4, 6), out_channels=1, kernel=3, padding=(1, (0, 2)), padding_mode='reflect')",
    ),
    (
        Conv((1, 7, 7), 1, 2, padding=((0, 1), (0, 1))),
        "Conv((1, 7, 7), out_channels=1, kernel=2, padding=((0, 1), (0, 1)))",
    ),
    (
        Conv((1, 7), 1, 2, padding="same"),
        "Conv((1, 7), out_channels=1, kernel=2, padding=((0, 1),))",
    ),
    (
        Conv((1, 7), 1, 2, padding="same_lower"),
        "Conv((1, 7), out_channels=1, kernel=2, padding=((1, 0),))",
    ),
    (
        Conv((1, 7, 8), 1, (3, 2), padding="full"),
        "Conv((1, 7, 8), out_channels=1, kernel=(3, 2), padding=(2, 1))",
    ),
    (
        LocallyConnected((2, 5), 3, 2, stride=2),
        "LocallyConnected((2, 5), out_channels=3, kernel=2, stride=2)",
    ),
    (
        ConvTranspose((8, 16, 16), 3, 3, stride=2, padding=1, output_padding=1),
        "ConvTranspose((8, 16, 16), out_channels=3, kernel=3, stride=2, padding=1, "
        "output_padding=1)",
    ),
    (
        ConvTranspose((1, 4, 4), 1, (1, 4), stride=(3, 2), padding="same"),
        "ConvTranspose((1, 4, 4), out_channels=1, kernel=(1, 4), stride=(3, 2), padding=(0, 1), "
        "output_padding=(2, 0))",
    ),
]


@pytest.mark.parametrize(("layer", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_repr_is_the_shortest_call_that_makes_it(layer, text):
    assert repr(layer) == text


NUMBERS = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "flip": True}
VARIED = {
    "kernel": 3,
    "stride": 1,
    "padding": 2,
    "dilation": 1,
    "groups": 1,
    "flip": False,
    "out_channels": 6,
}


def make(kind, in_shape=(4, 6, 7), out_channels=4, kernel=2, **options):
    return kind(in_shape, out_channels, kernel, **{**NUMBERS, **options})


@on_all_kinds
def test_equal_however_it_is_said(kind):
    layer = make(kind)
    spelled = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": [2, 2]}
    typed = {
        "stride": np.int64(2),
        "padding": np.array([1, 1]),
        "dilation": np.array([2, 2]),
        "groups": np.int8(2),
    }
    for other in (
        make(kind, in_shape=[4, 6, 7], kernel=[2, 2], **spelled),
        make(
            kind,
            in_shape=np.array([4, 6, 7]),
            out_channels=np.int64(4),
            kernel=np.array([2, 2]),
            **typed,
        ),
        copy.deepcopy(layer),
    ):
        assert other == layer
        assert hash(other) == hash(layer)
        assert repr(other) == repr(layer)


@on_all_kinds
def test_any_other_number_makes_another_layer(kind):
    extra = {"output_padding": 1} if kind is ConvTranspose else {"padding_mode": "replicate"}
    others = [make(kind, **{name: value}) for name, value in {**VARIED, **extra}.items()]
    others += [
        make(kind, in_shape=shape)
        for shape in ((6, 6, 7), (4, 7, 7), (4, 6, 8), (4, 7, 6), (4, 6, 7, 2))
    ]
    everything = [make(kind), *others]
    assert len(set(everything)) == len({repr(layer) for layer in everything}) == len(everything)
    assert all(other != everything[0] for other in others)


def test_kinds_differ():
    assert len({make(kind) for kind in KINDS}) == len(KINDS)


@on_all_kinds
def test_cannot_be_changed(kind):
    layer = make(kind)
    before = repr(layer)
    for name in (field.name for field in fields(layer)):
        with pytest.raises(FrozenInstanceError):
            setattr(layer, name, getattr(layer, name))
        with pytest.raises(FrozenInstanceError):
            delattr(layer, name)
    for name in ("out_shape", "weight_shape", "in_channels"):
        with pytest.raises(AttributeError):
            setattr(layer, name, getattr(layer, name))
    assert repr(layer) == before


@on_all_kinds
def test_misspelled_attribute_is_refused(kind):
    with pytest.raises(AttributeError):
        make(kind).strides = 3


@on_all_kinds
def test_four_axes(kind):
    layer = kind(
        (2, 3, 4, 2, 5), 2, (2, 3, 1, 2), stride=(1, 1, 2, 2), padding=(0, 1, 0, (1, 0)), groups=2
    )
    rng = np.random.default_rng(4)
    shapes = (2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape)
    x, w, b, dy = (rng.integers(-9, 10, shape) for shape in shapes)
    tied = cd.TiedDense(layer, w, b)
    assert np.array_equal(tied.forward(x), cd.convolve(layer, x, w, b))
    for got, expected in zip(
        tied.backward(x, dy), cd.convolve_backward(layer, x, w, dy), strict=True
    ):
        assert np.array_equal(got, expected)


def test_to_dict_names_every_number():
    assert ConvTranspose((2, 5, 4), 3, 2, stride=(2, 3), padding="full").to_dict() == {
        "type": "ConvTranspose",
        "in_shape": (2, 5, 4),
        "out_channels": 3,
        "kernel": (2, 2),
        "stride": (2, 3),
        "padding": ((1, 1), (1, 1)),
        "dilation": (1, 1),
        "groups": 1,
        "flip": False,
        "output_padding": (0, 0),
    }


@pytest.mark.parametrize(
    "how", [lambda layer: pickle.loads(pickle.dumps(layer)), copy.copy, copy.deepcopy]
)
def test_a_copy_or_pickle_holds_the_fields_alone(how):
    for layer in (
        cd.Conv((2, 6, 5), 4, 3, groups=2),
        cd.ConvTranspose((2, 3), 2, 2),
        cd.MaxPool((1, 5), 2),
        cd.Linear(3, 2),
    ):
        fresh = pickle.dumps(layer)
        known = layer.out_shape, repr(layer), hash(layer)  # computed, and kept beside the fields
        assert pickle.dumps(layer) == fresh
        copied = how(layer)
        held, read_only = layer.__getstate__()
        assert (copied, vars(copied), read_only) == (layer, held, [])
        assert (copied.out_shape, repr(copied), hash(copied)) == known


OF_EACH_KIND = Conv((2, 6, 5), 4, 3), LocallyConnected((1, 5), 2, 3), cd.MaxPool((1, 5, 4), 2)


@pytest.mark.parametrize("layer", OF_EACH_KIND, ids=repr)
def test_a_size_is_computed_once(layer):
    """A tuple is made anew by every call of a property: the same one again was kept."""
    names = ("in_spatial", "out_spatial", "out_shape", "weight_shape", "bias_shape")
    sizes = [name for name in names if hasattr(layer, name)]
    assert len(sizes) >= 3
    assert [name for name in sizes if getattr(layer, name) is not getattr(layer, name)] == []
