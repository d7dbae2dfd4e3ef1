"""Direct convolution: loops against numbers worked out by hand, the fast form against the loops."""

import numpy as np
import pytest

from convdense import Conv, ConvTranspose, LocallyConnected, convolve, convolve_backward
from convdense.direct import conv_loops

EVALUATORS = {
    "loops": (conv_loops.forward, conv_loops.backward),
    "fast": (convolve, convolve_backward),
}

# No two sizes of a layer are alike where the API lets them differ: swapped axes, groups or pads
# cannot hide.
LAYERS = [
    Conv((2, 7), 3, kernel=3),
    Conv((2, 7), 3, kernel=2, stride=3, dilation=2, padding=((2, 1),), flip=True),
    Conv((3, 5, 4), 2, kernel=(2, 3)),
    Conv((4, 6, 7), 6, kernel=(3, 2), stride=(2, 3), padding=(1, 2), groups=2),
    Conv(
        (2, 6, 5), 4, kernel=(2, 3), dilation=(3, 1), padding=((0, 2), (1, 0)), groups=2, flip=True
    ),
    Conv((3, 5, 6), 3, kernel=(1, 4), stride=(3, 1), groups=3),
    Conv((2, 5, 6), 3, kernel=(2, 4), stride=(1, 2), padding="same"),
    Conv((2, 3, 4), 3, kernel=(2, 3), padding="full", flip=True),
    Conv((2, 3, 5), 2, kernel=(3, 4), padding=((3, 1), (2, 4)), padding_mode="circular"),
    Conv(
        (2, 4, 3),
        3,
        kernel=(3, 2),
        stride=(2, 1),
        padding=((3, 1), (0, 2)),
        padding_mode="reflect",
        flip=True,
    ),
    Conv(
        (2, 2, 3),
        2,
        kernel=(4, 2),
        dilation=(1, 3),
        padding=((5, 2), (1, 4)),
        padding_mode="replicate",
    ),
    Conv((4, 3, 2), 2, kernel=(3, 4), padding=((3, 2), (1, 2)), padding_mode="symmetric", groups=2),
    Conv(
        (2, 4, 3, 5), 2, kernel=(2, 1, 3), stride=(1, 2, 3), dilation=(2, 1, 1), padding=(1, 0, 2)
    ),
    ConvTranspose((2, 4), 3, kernel=3, stride=2, padding=((1, 0),), output_padding=1),
    ConvTranspose(
        (4, 3, 2),
        6,
        kernel=(2, 3),
        stride=(3, 1),
        dilation=(1, 2),
        padding=((0, 1), (2, 1)),
        groups=2,
    ),
    ConvTranspose((3, 2, 4), 2, kernel=(2, 3), stride=(2, 3), output_padding=(1, 2), flip=True),
    ConvTranspose((2, 3, 4), 3, kernel=(1, 4), stride=(3, 2), padding="same"),
    LocallyConnected((2, 7), 3, kernel=2, stride=2, padding=((0, 1),)),
    LocallyConnected((2, 3, 2), 3, kernel=(2, 3), padding=((1, 0), (1, 2))),
    LocallyConnected(
        (4, 4, 5), 2, kernel=(3, 2), stride=(1, 2), dilation=(1, 2), groups=2, flip=True
    ),
    LocallyConnected(
        (2, 2, 3), 3, kernel=(3, 2), padding=((2, 1), (0, 3)), padding_mode="replicate"
    ),
]


def integers(shape, seed, dtype=np.int64):
    """Return integers of both signs, without 0, exact in every dtype.

    Complex ones have two such parts.
    """
    rng = np.random.default_rng(seed)
    draw = lambda: rng.integers(1, 5, shape) * rng.choice([-1, 1], shape)  # noqa: E731  (one line)
    return (draw() + 1j * draw() if np.dtype(dtype).kind == "c" else draw()).astype(dtype)


def operands(layer, batch=(2,), dtype=np.int64):
    """Return x, w, b and dy for a layer."""
    shapes = (
        (*batch, *layer.in_shape),
        layer.weight_shape,
        layer.bias_shape,
        (*batch, *layer.out_shape),
    )
    return tuple(integers(shape, seed, dtype) for seed, shape in enumerate(shapes))


def same(left, right):
    """Tell whether two arrays are equal bit for bit, shape and dtype included."""
    return left.dtype == right.dtype and left.shape == right.shape and np.array_equal(left, right)


class Worked:
    """A layer with everything worked out by hand: x, w -> y and dy -> dx, dw, db, one sample."""

    def __init__(self, layer, *, x, w, y, dy, dx, dw, db):
        self.layer = layer
        self.x, self.w, self.dy = (
            np.reshape(v, s) for v, s in zip((x, w, dy), self._shapes(0, 1, 3), strict=True)
        )
        shapes = self._shapes(3, 0, 1, 2)
        self.y, self.dx, self.dw, self.db = (
            np.reshape(v, s) for v, s in zip((y, dx, dw, db), shapes, strict=True)
        )

    def _shapes(self, *which):
        layer = self.layer
        return [
            (layer.in_shape, layer.weight_shape, layer.bias_shape, layer.out_shape)[i]
            for i in which
        ]

    def __repr__(self):
        return repr(self.layer)


def padded(mode, y, dx, dw):
    """Return 1 2 3 padded by two cells in front and one after, under the kernel (1, 10)."""
    layer = Conv((1, 3), 1, kernel=2, padding=((2, 1),), padding_mode=mode)
    return Worked(layer, x=[1, 2, 3], w=[1, 10], y=y, dy=[1, 2, 3, 4, 5], dx=dx, dw=dw, db=15)


WORKED = [
    Worked(  # windows (1, 3) and (4, 6); the cells 2, 5 and 7 are never met
        Conv((1, 7), 1, kernel=2, stride=3, dilation=2),
        x=[1, 2, 3, 4, 5, 6, 7], w=[10, -1], y=[7, 34],
        dy=[2, -3], dx=[20, 0, -2, -30, 0, 3, 0], dw=[-10, -12], db=-1,
    ),
    Worked(  # two input channels add up
        Conv((2, 3), 1, kernel=2),
        x=[[1, 2, 3], [4, 5, 6]], w=[[1, -1], [2, 3]], y=[22, 27],
        dy=[1, -2], dx=[[1, -3, 2], [2, -1, -6]], dw=[[-3, -4], [-6, -7]], db=-1,
    ),
    Worked(  # groups do not see each other
        Conv((2, 2), 2, kernel=1, groups=2),
        x=[[1, 2], [3, 4]], w=[5, -7], y=[[5, 10], [-21, -28]],
        dy=[[1, -1], [2, 3]], dx=[[5, -5], [-14, -21]], dw=[-1, 18], db=[0, 5],
    ),
    Worked(  # the textbook convolution slides (3, 1)
        Conv((1, 3), 1, kernel=2, flip=True),
        x=[1, 2, 4], w=[1, 3], y=[5, 10],
        dy=[1, -1], dx=[3, -2, -1], dw=[-2, -1], db=0,
    ),
    Worked(  # two axes of different lengths
        Conv((1, 2, 3), 1, kernel=2),
        x=[[1, 2, 3], [4, 5, 6]], w=[[1, 2], [3, 5]], y=[42, 53],
        dy=[2, -1], dx=[[2, 3, -2], [6, 7, -5]], dw=[[0, 1], [3, 4]], db=1,
    ),
    Worked(  # 3 4 5 | -6 -8 -10 stamped two apart, the first cell cropped, an empty one added
        ConvTranspose((1, 2), 1, kernel=3, stride=2, padding=((1, 0),), output_padding=1),
        x=[1, -2], w=[3, 4, 5], y=[4, -1, -8, -10, 0],
        dy=[1, 2, 3, 4, 5], dx=[14, 38], dw=[-4, -5, -6], db=15,
    ),
    Worked(  # the input channel comes first in the weights of a transposed layer
        ConvTranspose((2, 1), 2, kernel=1),
        x=[2, 3], w=[[1, 10], [100, 1000]], y=[302, 3020],
        dy=[1, -1], dx=[-9, -900], dw=[[2, -2], [3, -3]], db=[1, -1],
    ),
    Worked(  # every window has weights of its own
        LocallyConnected((1, 3), 1, kernel=2),
        x=[1, 2, 3], w=[[1, 2], [3, 4]], y=[5, 18],
        dy=[1, -1], dx=[1, -1, -4], dw=[[1, 2], [-2, -3]], db=[1, -1],
    ),
    padded("zeros", y=[0, 10, 21, 32, 3], dx=[23, 34, 45], dw=[26, 20]),
    padded("circular", y=[32, 13, 21, 32, 13], dx=[73, 35, 57], dw=[34, 28]),
    padded("reflect", y=[23, 12, 21, 32, 23], dx=[23, 96, 46], dw=[33, 32]),
    padded("replicate", y=[11, 11, 21, 32, 33], dx=[36, 34, 95], dw=[29, 36]),
    padded("symmetric", y=[12, 11, 21, 32, 33], dx=[35, 35, 95], dw=[30, 36]),
    Worked(  # y = w x; the gradients conjugate w and x
        Conv((1, 1), 1, kernel=1),
        x=[1j], w=[2 + 1j], y=[-1 + 2j],
        dy=[1 + 1j], dx=[3 + 1j], dw=[1 - 1j], db=[1 + 1j],
    ),
]  # fmt: skip

with_both_evaluators = pytest.mark.parametrize("evaluator", EVALUATORS)
on_all_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)
SUPPORTED = {
    Conv: ("forward", "dx", "dw", "db"),
    ConvTranspose: ("transposed",),
    LocallyConnected: ("local",),
}


@pytest.mark.claim("forward", "dx", "dw", "db")
@with_both_evaluators
@pytest.mark.parametrize("case", WORKED, ids=repr)
def test_worked_by_hand(case, evaluator):
    forward, backward = EVALUATORS[evaluator]
    np.testing.assert_array_equal(forward(case.layer, case.x, case.w), case.y, strict=True)
    for got, expected in zip(
        backward(case.layer, case.x, case.w, case.dy), (case.dx, case.dw, case.db), strict=True
    ):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.claim("forward", "dx", "dw", "db")
@with_both_evaluators
@pytest.mark.parametrize("case", WORKED, ids=repr)
def test_worked_by_hand_twice_in_one_batch_with_bias(case, evaluator):
    """The second sample is -3 times the first: y follows, dw and db are summed over the batch."""
    forward, backward = EVALUATORS[evaluator]
    x, dy = np.stack([case.x, -3 * case.x]), np.stack([case.dy, 2 * case.dy])
    b = integers(case.layer.bias_shape, 5)
    over_positions = b.reshape(b.shape + (1,) * (case.y.ndim - b.ndim))
    y = forward(case.layer, x, case.w, b)
    np.testing.assert_array_equal(y, np.stack([case.y, -3 * case.y]) + over_positions, strict=True)
    dx, dw, db = backward(case.layer, x, case.w, dy)
    np.testing.assert_array_equal(dx, np.stack([case.dx, 2 * case.dx]), strict=True)
    np.testing.assert_array_equal(dw, case.dw - 6 * case.dw, strict=True)
    np.testing.assert_array_equal(db, 3 * case.db, strict=True)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.complex128], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(layer, id=repr(layer), marks=pytest.mark.claim(*SUPPORTED[type(layer)]))
        for layer in LAYERS
    ],
)
def test_fast_is_the_loops(layer, dtype):
    x, w, b, dy = operands(layer, dtype=dtype)
    assert same(convolve(layer, x, w, b), conv_loops.forward(layer, x, w, b))
    fast, loops = convolve_backward(layer, x, w, dy), conv_loops.backward(layer, x, w, dy)
    assert [
        name for name, f, slow in zip(fast._fields, fast, loops, strict=True) if not same(f, slow)
    ] == []


@pytest.mark.claim("dx", "dw")
@with_both_evaluators
@on_all_layers
def test_backward_is_the_adjoint_of_forward(layer, evaluator):
    """<dy, f(x, w)> = <dx, x> = <dw, w> = <dy, y>, complex.

    Forward is linear in x and in w, and <.,.> conjugates.
    """
    forward, backward = EVALUATORS[evaluator]
    x, w, b, dy = operands(layer, dtype=np.complex128)
    dx, dw, db = backward(layer, x, w, dy)
    upstream = np.vdot(dy, forward(layer, x, w))
    assert (np.vdot(dx, x), np.vdot(dw, w)) == (upstream, upstream)
    assert np.vdot(db, b) == np.vdot(dy, forward(layer, x, w, b)) - upstream


@with_both_evaluators
@on_all_layers
def test_float32_is_the_integers(layer, evaluator):
    forward, backward = EVALUATORS[evaluator]
    x, w, b, dy = operands(layer)
    x32, w32, b32, dy32 = (v.astype(np.float32) for v in (x, w, b, dy))
    assert same(forward(layer, x32, w32, b32), forward(layer, x, w, b).astype(np.float32))
    for got, exact in zip(backward(layer, x32, w32, dy32), backward(layer, x, w, dy), strict=True):
        assert same(got, exact.astype(np.float32))


DTYPES = [  # x, w, b -> y, then (with dy like b) dx, dw, db
    ("float32", "float32", "float32", "float32", "float32", "float32", "float32"),
    ("float64", "float32", "float32", "float64", "float32", "float64", "float32"),
    ("float32", "float64", "float32", "float64", "float64", "float32", "float32"),
    ("float32", "float32", "float64", "float64", "float64", "float64", "float64"),
    ("int64", "int64", "int64", "int64", "int64", "int64", "int64"),
    ("int32", "int32", "int32", "int32", "int32", "int32", "int32"),
    ("int16", "int8", "int8", "int16", "int8", "int16", "int8"),
    ("int64", "float32", "float32", "float64", "float32", "float64", "float32"),
    ("complex64", "float32", "float32", "complex64", "float32", "complex64", "float32"),
    ("float32", "complex64", "float64", "complex128", "complex128", "float64", "float64"),
]


@with_both_evaluators
@pytest.mark.parametrize("dtypes", DTYPES, ids="-".join)
@pytest.mark.parametrize("kind", [Conv, ConvTranspose, LocallyConnected], ids=lambda k: k.__name__)
def test_dtypes_follow_numpy(kind, dtypes, evaluator):
    forward, backward = EVALUATORS[evaluator]
    layer = kind((2, 3, 4), 2, kernel=2)
    x, w, b, dy = (
        v.astype(d) for v, d in zip(operands(layer), (*dtypes[:3], dtypes[2]), strict=True)
    )
    results = (forward(layer, x, w, b), *backward(layer, x, w, dy))
    assert tuple(r.dtype.name for r in results) == dtypes[3:]


@pytest.mark.claim("dx")
@with_both_evaluators
def test_leftover_cells_get_gradient_zero(evaluator):
    """Row 5 and columns 2, 5, 6 meet no window; dx keeps its shape.

    Windows start at rows 0, 2 and columns 0, 3.
    """
    layer = Conv((1, 6, 7), 1, kernel=(3, 2), stride=(2, 3))
    x, w, _, _ = operands(layer)
    dx = EVALUATORS[evaluator][1](layer, x, np.ones_like(w), np.ones((2, *layer.out_shape), int))[0]
    met = np.outer([1, 1, 2, 1, 1, 0], [1, 1, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(dx, np.broadcast_to(met, x.shape))


@with_both_evaluators
@on_all_layers
def test_batch_of_none(layer, evaluator):
    forward, backward = EVALUATORS[evaluator]
    x, w, b, dy = operands(layer, batch=(0,))
    assert forward(layer, x, w, b).shape == (0, *layer.out_shape)
    dx, dw, db = backward(layer, x, w, dy)
    assert same(dx, x)
    assert same(dw, np.zeros_like(w))
    assert same(db, np.zeros_like(b))


@with_both_evaluators
@on_all_layers
def test_one_sample_goes_without_a_batch_axis(layer, evaluator):
    forward, backward = EVALUATORS[evaluator]
    x, w, b, dy = operands(layer, batch=(1,))
    assert same(forward(layer, x[0], w, b), forward(layer, x, w, b)[0])
    alone, batched = backward(layer, x[0], w, dy[0]), backward(layer, x, w, dy)
    assert same(alone[0], batched[0][0])
    assert same(alone[1], batched[1])
    assert same(alone[2], batched[2])


@with_both_evaluators
@on_all_layers
def test_arguments_are_left_as_they_were(layer, evaluator):
    forward, backward = EVALUATORS[evaluator]
    given, untouched = operands(layer), operands(layer)
    for array in given:
        array.setflags(write=False)
    x, w, b, dy = given
    forward(layer, x, w, b)
    backward(layer, x, w, dy)
    assert all(map(same, given, untouched))
