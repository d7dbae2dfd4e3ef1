"""Every refusal, word for word, and beside it the nearest right input, which passes."""

import inspect
import re

import numpy as np
import pytest

from convdense import (
    Conv,
    ConvTranspose,
    Dense,
    LocallyConnected,
    MaxPool,
    TiedDense,
    TieMap,
    convolve,
    convolve_backward,
    equations,
    tie,
)
from convdense.direct import pool_loops
from convdense.direct.conv_loops import backward, forward
from convdense.geometry import layer_from_dict
from convdense.structure._conv_matrix import conv_matrix
from convdense.testing import (
    assert_backward_matches_dense,
    cases,
    channels_last,
    conv_checks,
    from_cache,
    parametrize_with_conv_checks,
    without_bias,
)

CONV = Conv((1, 3, 4), 2, kernel=2)
TIES = tie(CONV)
MAP = "TieMap(in=(1, 3, 4), out=(2, 2, 3), weights=(2, 1, 2, 2), entries=48)"
POOL = MaxPool((1, 3, 4), kernel=2)
X = np.ones((3, 1, 3, 4))
W = np.ones((2, 1, 2, 2))
B = np.ones(2)
DY = np.ones((3, 2, 2, 3))


# Every call below is right as it stands: a row of a table changes one argument.


def conv(**changed):
    return Conv(**{"in_shape": (4, 6, 5), "out_channels": 6, "kernel": 2, **changed})


def local(**changed):
    return LocallyConnected(**{"in_shape": (4, 6, 5), "out_channels": 6, "kernel": 2, **changed})


def transpose(**changed):
    return ConvTranspose(**{"in_shape": (4, 6, 5), "out_channels": 6, "kernel": 2, **changed})


def from_dict(**changed):
    return layer_from_dict({**CONV.to_dict(), **changed})


def convolved(**changed):
    return convolve(**{"layer": CONV, "x": X, "w": W, "b": B, **changed})


def convolved_back(**changed):
    return convolve_backward(**{"layer": CONV, "x": X, "w": W, "dy": DY, **changed})


def written(**changed):
    return equations(**{"layer": CONV, **changed})


def looped(**changed):
    return forward(**{"layer": CONV, "x": X, "w": W, "b": B, **changed})


def looped_back(**changed):
    return backward(**{"layer": CONV, "x": X, "w": W, "dy": DY, **changed})


def tied(**changed):
    return TiedDense(**{"layer": CONV, "w": W, "b": B, **changed})


def own(layer):
    """The user's code: the library's own."""
    return (lambda x, w, b: convolve(layer, x, w, b)), (
        lambda x, w, dy: convolve_backward(layer, x, w, dy)
    )


def asserted(**changed):
    given = {
        "layer": CONV,
        "implementation": own(CONV),
        "x": X,
        "w": W,
        "b": B,
        "dy": DY,
        **changed,
    }
    return assert_backward_matches_dense(**given)


def asserted_pool(**changed):
    mine = (lambda x: pool_loops.forward(POOL, x)), (lambda x, dy: pool_loops.backward(POOL, x, dy))
    return assert_backward_matches_dense(**{"layer": POOL, "implementation": mine, **changed})


def checked(**changed):
    return next(conv_checks(**{"make": own, "kinds": "conv", **changed}))()


def parametrized(**changed):
    return parametrize_with_conv_checks(**{"make": own, **changed})


def cached(**changed):
    return from_cache(
        **{"layer": CONV, "forward": own(CONV)[0], "backward": own(CONV)[1], **changed}
    )


def turned(**changed):
    return channels_last(**{"implementation": own(CONV), "weights": "HWIO", **changed})


def unbiased(implementation):
    return without_bias(implementation)


def kinds_of(kind):
    return cases(kind)


def tied_forward(x=X):
    return tied().forward(x)


def tied_back(**changed):
    return tied().backward(**{"x": X, "dy": DY, **changed})


def tie_map(layer):
    return tie(layer)


def steps(layer=CONV):
    shapes = layer.weight_shape, layer.in_shape, layer.out_shape
    w, x, dy = (np.ones(shape, np.int8) for shape in shapes)
    return TiedDense(layer, w).gradient_steps(x, dy)


def dense(**changed):
    return Dense(**{"w": np.ones((3, 2)), "b": np.ones(3), **changed})


def dense_forward(x=(1, 2)):
    return dense().forward(x)


def dense_back(**changed):
    return dense().backward(**{"x": np.ones((4, 2)), "dy": np.ones((4, 3)), **changed})


def from_index(**changed):
    return TieMap.from_index(**{"index": [[0, 1], [1, -1]], **changed})


def row(r):
    return TIES.row(r)


def column(c):
    return TIES.column(c)


def copies(k):
    return TIES.copies(k)


def block(i=0, j=0):
    return TIES.block(i, j)


def matrix(w):
    return TIES.matrix(w)


ONE_UP, ZERO_UP = "needs an integer of at least 1", "needs an integer of at least 0"
PER_AXIS = "needs an integer, or a sequence of 2 (one per axis)"
BESIDE = f"{PER_AXIS}; the layer has 2 axes beside the channels: in_shape is (channels, *axes)"
DIV = "needs a divisor of"
WORDS = "needs one of 'valid', 'same', 'same_lower', 'full'"
CAUSAL = "write padding=((n, 0),), n = dilation * (kernel - 1)"
FLAT = "write ((1, 1), (1, 1)) for those of F.pad, ((1, 1), (1, 1)) for those of ONNX"
PADDING = (
    "needs an integer, one per axis (2), a (begin, end) pair per axis, "
    f"or {WORDS.removeprefix('needs ')}"
)
MODES = "needs one of 'zeros', 'circular', 'reflect', 'replicate', 'symmetric'"
MODES_PER_AXIS = f"{MODES}, or one per axis (2)"
LESS = 'pad less, or use "replicate" or "zeros"'
SMALLER = "use a smaller kernel or more padding"
THE_SIZES = "write (5, *sizes): the sizes of x belong to it"
IN_SHAPE = "needs a tuple (channels, *axes), such as (3, 32, 32)"
AN_AXIS = "needs (channels, *axes) with at least one axis, such as (3, 32, 32)"
POSITION = "needs an integer, or 3 integers within (2, 2, 3)"
KINDS = (
    "needs one of 'Conv', 'LocallyConnected', 'ConvTranspose', 'Linear', 'ChannelScale', "
    "'SumPool', 'MaxPool', 'MinPool', 'AvgPool', 'LpPool'"
)

# Of kernel, stride and dilation alike: bad value, error, what is needed, nearest right value
SIZES = [
    (0, ValueError, ONE_UP, 1),
    (-2, ValueError, ONE_UP, 2),
    (2.0, TypeError, PER_AXIS, 2),
    (True, TypeError, PER_AXIS, 1),
    ("2", TypeError, PER_AXIS, 2),
    (None, TypeError, PER_AXIS, 1),
    ({2}, TypeError, PER_AXIS, [2, 2]),
    ((2,), ValueError, BESIDE, (2, 2)),
    ((2, 1, 1), ValueError, BESIDE, (2, 1)),
    ((), ValueError, BESIDE, (1, 1)),
]
PER_POSITION = [
    (kind, {name: bad}, error, f"{name}: got {bad!r}; {needs}", {name: good})
    for kind in (conv, transpose, local)
    for name in ("kernel", "stride", "dilation")
    for bad, error, needs, good in SIZES
]
ONE_ENTRY = [
    (kind, {name: (1, bad)}, error, f"{name}: got {bad!r}; {ONE_UP}", {name: (1, 1)})
    for kind in (conv, transpose, local)
    for name in ("kernel", "stride", "dilation")
    for bad, error in [
        (0, ValueError),
        (-1, ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ("1", TypeError),
    ]
]

CHANNELS = [
    (
        conv,
        {"in_shape": 5},
        TypeError,
        f"in_shape: got 5; {IN_SHAPE}; {THE_SIZES}",
        {"in_shape": (4, 5, 5)},
    ),
    (
        conv,
        {"in_shape": None},
        TypeError,
        f"in_shape: got None; {IN_SHAPE}",
        {"in_shape": [4, 5, 5]},
    ),
    (
        transpose,
        {"in_shape": "455"},
        TypeError,
        f"in_shape: got '455'; {IN_SHAPE}",
        {"in_shape": (4, 5, 5)},
    ),
    (conv, {"in_shape": ()}, ValueError, f"in_shape: got (); {AN_AXIS}", {"in_shape": (4, 5)}),
    (local, {"in_shape": (4,)}, ValueError, f"in_shape: got (4,); {AN_AXIS}", {"in_shape": (4, 5)}),
    (conv, {"in_shape": (0, 5)}, ValueError, f"in_shape: got 0; {ONE_UP}", {"in_shape": (1, 5)}),
    (conv, {"in_shape": (4, -5)}, ValueError, f"in_shape: got -5; {ZERO_UP}", {"in_shape": (4, 5)}),
    (
        transpose,
        {"in_shape": (4, 5.0)},
        TypeError,
        f"in_shape: got 5.0; {ZERO_UP}",
        {"in_shape": (4, 5)},
    ),
    (
        conv,
        {"in_shape": (True, 5)},
        TypeError,
        f"in_shape: got True; {ONE_UP}",
        {"in_shape": (1, 5)},
    ),
    (
        conv,
        {"in_shape": (4, "5")},
        TypeError,
        "in_shape: got (4, '5'); needs integers; "
        "write the size of every axis, and leave the batch out",
        {"in_shape": (4, 5)},
    ),
    (conv, {"out_channels": 0}, ValueError, f"out_channels: got 0; {ONE_UP}", {"out_channels": 1}),
    (
        local,
        {"out_channels": 2.0},
        TypeError,
        f"out_channels: got 2.0; {ONE_UP}",
        {"out_channels": 2},
    ),
    (
        transpose,
        {"out_channels": (2,)},
        TypeError,
        f"out_channels: got (2,); {ONE_UP}",
        {"out_channels": 2},
    ),
    (conv, {"groups": 0}, ValueError, f"groups: got 0; {ONE_UP}", {"groups": 1}),
    (conv, {"groups": True}, TypeError, f"groups: got True; {ONE_UP}", {"groups": 1}),
    (transpose, {"groups": 2.0}, TypeError, f"groups: got 2.0; {ONE_UP}", {"groups": 2}),
    (
        conv,
        {"groups": 3},
        ValueError,
        f"groups: got 3; {DIV} the 4 channels of in_shape",
        {"groups": 2},
    ),
    (
        local,
        {"groups": 4},
        ValueError,
        "groups: got 4; needs a divisor of the 6 channels of out_channels",
        {"groups": 2},
    ),
    (
        transpose,
        {"groups": 3},
        ValueError,
        f"groups: got 3; {DIV} the 4 channels of in_shape",
        {"groups": 2},
    ),
    (conv, {"flip": 1}, TypeError, "flip: got 1; needs True or False", {"flip": True}),
    (transpose, {"flip": "yes"}, TypeError, "flip: got 'yes'; needs True or False", {"flip": True}),
    (local, {"flip": None}, TypeError, "flip: got None; needs True or False", {"flip": False}),
]

PADDINGS = [
    (kind, {"padding": bad}, error, f"padding: got {shown!r}; {needs}", {"padding": good})
    for kind in (conv, transpose, local)
    for bad, error, shown, needs, good in [
        (1.0, TypeError, 1.0, PADDING, 1),
        (True, TypeError, True, PADDING, 1),
        (None, TypeError, None, PADDING, 0),
        ({0: 1}, TypeError, {0: 1}, PADDING, (0, 1)),
        ((1,), ValueError, (1,), PADDING, (1, 1)),
        ((1, 1, 1, 1), ValueError, (1, 1, 1, 1), f"{PADDING}; {FLAT}", ((1, 1), (1, 1))),
        (((1, 1, 1), 0), ValueError, (1, 1, 1), PADDING, ((1, 1), 0)),
        ((1, (1,)), ValueError, (1,), PADDING, (1, (1, 0))),
        ((1, "1"), ValueError, "1", PADDING, (1, 1)),
        ((0, (0, 1.0)), TypeError, 1.0, "needs an integer", (0, (0, 1))),
        ((0, (0, False)), TypeError, False, "needs an integer", (0, (0, 0))),
        ("SAME", ValueError, "SAME", f"{WORDS}; write 'same'", "same"),
        ("same_upper", ValueError, "same_upper", f"{WORDS}; write 'same'", "same_lower"),
        ("causal", ValueError, "causal", f"{WORDS}; {CAUSAL}", "full"),
        ("", ValueError, "", WORDS, "valid"),
    ]
] + [
    (
        conv,
        {"padding_mode": bad},
        ValueError,
        f"padding_mode: got {bad!r}; "
        + (f"{MODES}; write {good!r}" if isinstance(bad, str) else MODES_PER_AXIS),
        {"padding_mode": good},
    )
    for bad, good in [
        ("constant", "zeros"),
        ("edge", "replicate"),
        ("Reflect", "reflect"),
        (None, "zeros"),
        (0, "zeros"),
    ]
]

ARRAYS = [  # an array without an axis is no sequence, and one of text no word
    (
        conv, {"in_shape": np.array(5)}, TypeError,
        f"in_shape: got array(5); {IN_SHAPE}; "
        "write (5, *sizes): the sizes of x belong to it", {"in_shape": np.array([4, 5])},
    ),
    (
        conv, {"kernel": np.array(2.0)}, TypeError,
        f"kernel: got array(2.); {PER_AXIS}", {"kernel": np.array(2)},
    ),
    (
        local, {"padding": np.array(1.0)}, TypeError,
        f"padding: got array(1.); {PADDING}", {"padding": np.array(1)},
    ),
    (
        transpose, {"padding": np.array([1.0, 0])}, ValueError,
        f"padding: got 1.0; {PADDING}", {"padding": 1},
    ),
    (
        conv, {"padding_mode": np.array(["zeros"])}, ValueError,
        f"padding_mode: got array(['zeros'], dtype='<U5'); {MODES_PER_AXIS}",
        {"padding_mode": np.str_("zeros")},
    ),
    (
        row, {"r": np.array(1.0)}, ValueError,
        f"r: got array(1.); {POSITION}", {"r": np.array(1)},
    ),
]  # fmt: skip

REACH = [  # padding no mode can fill, kernels no input can hold, outputs without a cell
    (
        conv, {"padding": ((0, 0), (0, 5)), "padding_mode": "reflect"}, ValueError,
        "padding: got (0, 5); needs at most 4 on axis 1 of 5 cells for padding_mode='reflect'; "
        f"{LESS}",
        {"padding": ((0, 0), (0, 4)), "padding_mode": "reflect"},
    ),
    (
        local, {"padding": ((7, 1), (0, 0)), "padding_mode": "circular"}, ValueError,
        "padding: got (7, 1); needs at most 6 on axis 0 of 6 cells for padding_mode='circular'; "
        f"{LESS}",
        {"padding": ((6, 1), (0, 0)), "padding_mode": "circular"},
    ),
    (
        conv, {"padding": 6, "padding_mode": "symmetric"}, ValueError,
        "padding: got (6, 6); needs at most 5 on axis 1 of 5 cells for padding_mode='symmetric'; "
        f"{LESS}",
        {"padding": 5, "padding_mode": "symmetric"},
    ),
    (
        conv, {"kernel": (7, 2)}, ValueError,
        "kernel: got 7 with dilation 1, a window of 7 cells, on axis 0; "
        f"needs a window of at most 6 cells there: 6 and padding (0, 0); {SMALLER}",
        {"kernel": (6, 2)},
    ),
    (
        local, {"kernel": (1, 4), "dilation": 3, "padding": (0, (1, 3))}, ValueError,
        "kernel: got 4 with dilation 3, a window of 10 cells, on axis 1; "
        f"needs a window of at most 9 cells there: 5 and padding (1, 3); {SMALLER}",
        {"kernel": (1, 4), "dilation": 3, "padding": (0, (2, 3))},
    ),
    (
        transpose, {"in_shape": (4, 3), "padding": 2}, ValueError,
        "padding: got ((2, 2),); needs less cropping than the full output has cells; "
        "as it stands out_spatial=(0,)",
        {"in_shape": (4, 3), "padding": ((2, 1),)},
    ),
    (
        transpose, {"padding": ((9, 0), 0)}, ValueError,
        "padding: got ((9, 0), (0, 0)); needs less cropping than the full output has cells; "
        "as it stands out_spatial=(-2, 6)",
        {"padding": ((6, 0), 0)},
    ),
    (
        transpose, {"output_padding": (0, 1), "stride": 2, "padding": "same"}, ValueError,
        "output_padding: got (0, 1); needs 0 with padding='same', "
        "where it follows from kernel and stride",
        {"output_padding": (0, 0), "stride": 2, "padding": "same"},
    ),
    (
        transpose, {"output_padding": -1}, ValueError,
        f"output_padding: got -1; {ZERO_UP}", {"output_padding": 0},
    ),
    (
        transpose, {"output_padding": 0.0}, TypeError,
        f"output_padding: got 0.0; {PER_AXIS}", {"output_padding": 0},
    ),
    (
        transpose, {"output_padding": ()}, ValueError,
        f"output_padding: got (); {BESIDE}", {"output_padding": (0, 0)},
    ),
    (
        from_dict, {"type": "Max"}, ValueError,
        f"type: got 'Max'; {KINDS}", {"type": "LocallyConnected"},
    ),
    (from_dict, {"type": None}, ValueError, f"type: got None; {KINDS}", {"type": "Conv"}),
    (from_dict, {"type": ["Conv"]}, ValueError, f"type: got ['Conv']; {KINDS}", {"type": "Conv"}),
    (from_dict, {"type": "conv"}, ValueError, f"type: got 'conv'; {KINDS}", {"type": "Conv"}),
]  # fmt: skip

NUMBERS = "needs an array of integers, float32, float64, complex64 or complex128"
CONVERT = "convert it first, e.g. with .astype(float)"
ONE_LENGTH = "needs an array, all rows of one length"
BATCH = "the batch of x; give both the same batch"
FORWARD = [(convolved, CONV), (looped, CONV), (tied_forward, tied())]
BACKWARD = [(convolved_back, CONV), (looped_back, CONV), (tied_back, tied())]
OF_W = [(call, CONV) for call in (convolved, looped, convolved_back, looped_back, tied)]
OF_B = [(call, CONV) for call in (convolved, looped, tied)]

SHAPES = [  # the array that stands in the call has the right shape
    (
        call,
        {name: np.ones(shape)},
        ValueError,
        f"{name}: got shape {shape}; needs {needs}, for {layer!r}",
        {},
    )
    for calls, name, needs, wrong in [
        (
            FORWARD + BACKWARD,
            "x",
            "(1, 3, 4) or (batch, 1, 3, 4)",
            [(3, 4), (12,), (3, 1, 4, 3), (1, 3, 1, 3, 4)],
        ),
        (
            BACKWARD,
            "dy",
            "(2, 2, 3) or (batch, 2, 2, 3)",
            [(), (3, 12), (3, 2, 3, 2), (3, 3, 2, 3)],
        ),
        (OF_W, "w", "(2, 1, 2, 2)", [(), (8,), (1, 2, 2, 2), (2, 2, 2)]),
        (OF_B, "b", "(2,)", [(), (3,), (1, 2), (2, 2, 3)]),
        ([(dense, dense())], "b", "(3,)", [(), (2,), (3, 1)]),
        (
            [(dense_forward, dense()), (dense_back, dense())],
            "x",
            "(2,) or (batch, 2)",
            [(), (3,), (4, 3), (1, 4, 2)],
        ),
        ([(dense_back, dense())], "dy", "(3,) or (batch, 3)", [(), (2,), (4, 2), (1, 4, 3)]),
    ]
    for call, layer in calls
    for shape in wrong
] + [
    (
        matrix,
        {"w": W[0]},
        ValueError,
        f"w: got shape (1, 2, 2); needs (2, 1, 2, 2), for {MAP}",
        {"w": W},
    ),
    (
        dense,
        {"w": [1, 2, 3]},
        ValueError,
        "w: got shape (3,); needs a matrix (outputs, inputs)",
        {"w": np.ones((3, 1))},
    ),
    (
        dense,
        {"w": 1},
        ValueError,
        "w: got shape (); needs a matrix (outputs, inputs); "
        "write Linear(in_features, out_features) for a network",
        {"w": [[1], [2], [3]]},
    ),
]
BATCHES = [
    (
        call,
        {"x": np.ones(x), "dy": np.ones(dy)},
        ValueError,
        f"dy: got shape {dy}; needs {needs}, {BATCH}",
        good,
    )
    for calls, sample, out in [
        ([call for call, _ in BACKWARD], (1, 3, 4), (2, 2, 3)),
        ([dense_back], (2,), (3,)),
    ]
    for call in calls
    for x, dy, needs in [
        ((3, *sample), (2, *out), (3, *out)),
        ((3, *sample), (0, *out), (3, *out)),
        ((1, *sample), out, (1, *out)),
        (sample, (1, *out), out),
    ]
    for good in [{"x": np.ones(x), "dy": np.ones(needs)}]
]
DTYPES = [
    (
        call,
        {name: bad},
        TypeError,
        f"{name}: got dtype {bad.dtype}; {NUMBERS}; {CONVERT}",
        {name: right.astype(good)},
    )
    for calls, name, right in [
        (FORWARD + BACKWARD, "x", X),
        (BACKWARD, "dy", DY),
        ([*OF_W, (matrix, TIES)], "w", W),
        (OF_B, "b", B),
        ([(dense, None)], "w", np.ones((3, 4))),
        ([(dense, None)], "b", np.ones(3)),
        ([(from_index, None)], "coefficient", np.ones((2, 2))),
    ]
    for call, _ in calls
    for bad, good in [
        (right.astype(object), np.float64),
        (right.astype("U1"), np.int8),
        (right.astype(bool), np.uint8),
        (right.astype(np.float16), np.float32),
        (right.astype("M8[s]"), np.int32),
    ]
]

RAGGED = [
    (
        call,
        {name: [[1, 2], [3]]},
        ValueError,
        f"{name}: got rows of different lengths; {ONE_LENGTH}",
        {name: good},
    )
    for calls, name, good in [
        (FORWARD + BACKWARD, "x", X),
        (BACKWARD, "dy", DY),
        ([*OF_W, (matrix, TIES)], "w", W),
        (OF_B, "b", B),
        ([(dense, None)], "w", np.ones((3, 4))),
        ([(from_index, None)], "index", [[1, 2], [3, -1]]),
        ([(from_index, None)], "coefficient", [[1, 2], [3, 4]]),
    ]
    for call, _ in calls
]

NUMBER_OF = "needs integers: the number of each edge's weight"
EXACT = "needs small exact numbers, such as 1, -1 or 0.5: multiples of 1/16 up to 16"
FROM_MINUS_1 = "needs numbers from -1 (held at zero) up, at least one of them a weight"
INDICES = [
    (
        from_index,
        {"coefficient": np.full((2, 2), 1j)},
        TypeError,
        f"coefficient: got dtype complex128; {EXACT}",
        {},
    ),
    *(
        (
            from_index,
            {"coefficient": [[1, bad], [1, 1]]},
            ValueError,
            f"coefficient: got {float(bad)}; {EXACT}; let a weight carry any other number",
            {"coefficient": [[1, good], [1, 1]]},
        )
        for bad, good in (
            (np.nan, 0.0),
            (np.inf, 16.0),
            (16.5, -16.0),
            (1 / 3, 1 / 16),
            (1 / 32, 0.3125),
        )
    ),
    *(
        (
            from_index,
            {"index": np.array([[0, bad]], np.uint64)},
            ValueError,
            f"index: got {bad}; needs numbers below 2,147,483,648, for there are as many weights; "
            "number the weights from 0 without gaps",
            {"index": [[0, 1]]},
        )
        for bad in (2**31, 2**63)
    ),
    (
        from_index,
        {"coefficient": [1, 2]},
        ValueError,
        "coefficient: got shape (2,); needs (2, 2), for 'index'",
        {},
    ),
] + [
    (from_index, {"index": bad}, error, f"index: got {got}; {needs}", {"index": good})
    for bad, error, got, needs, good in [
        ([[0.0, 1.0]], TypeError, "dtype float64", NUMBER_OF, [[0, 1]]),
        ([[0, 1j]], TypeError, "dtype complex128", NUMBER_OF, [[0, 1]]),
        ([[True, False]], TypeError, "dtype bool", NUMBER_OF, [[1, 0]]),
        ([["0", "1"]], TypeError, "dtype <U1", NUMBER_OF, [[0, 1]]),
        ([[0, None]], TypeError, "dtype object", NUMBER_OF, [[0, 0]]),
        (0, ValueError, "shape ()", "needs a matrix (outputs, inputs)", [[0]]),
        ([0, 1], ValueError, "shape (2,)", "needs a matrix (outputs, inputs)", [[0, 1]]),
        ([[[0]]], ValueError, "shape (1, 1, 1)", "needs a matrix (outputs, inputs)", [[0]]),
        ([[]], TypeError, "dtype float64", NUMBER_OF, [[0]]),
        (
            np.ones((2, 0), int),
            ValueError,
            "shape (2, 0)",
            "needs a matrix (outputs, inputs)",
            np.ones((2, 1), int),
        ),
        ([[0, -2]], ValueError, "-2 to 0", FROM_MINUS_1, [[0, -1]]),
        ([[-1, -1]], ValueError, "-1 to -1", FROM_MINUS_1, [[-1, 0]]),
    ]
]
POSITIONS = [
    (call, {name: bad}, ValueError, f"{name}: got {bad!r}; {needs}", {name: good})
    for call, name, shape in [
        (row, "r", (2, 2, 3)),
        (column, "c", (1, 3, 4)),
        (copies, "k", (2, 1, 2, 2)),
    ]
    for last, axes in [
        (tuple(n - 1 for n in shape), f"needs an integer, or {len(shape)} integers within {shape}")
    ]
    for flat in [f"needs 0 to {np.prod(shape) - 1}, a flattened position in {shape}"]
    for bad, needs, good in [
        (int(np.prod(shape)), flat, int(np.prod(shape)) - 1),
        (-1, flat, 0),
        (1.0, axes, 1),
        (True, axes, 1),
        ("1", axes, 1),
        (None, axes, 0),
        (last[1:], axes, last),
        ((*last, 0), axes, last),
        ((*last[:-1], last[-1] + 1), axes, last),
        ((-1, *last[1:]), axes, (0, *last[1:])),
        ((0.0, *last[1:]), axes, (0, *last[1:])),
    ]
]
TWO_POSITIONS = "needs two positions of equal length, at most 3"
BLOCKS = [
    (block, {name: bad}, ValueError, f"{name}: got {bad!r}; {needs}", {name: 0})
    for name, n in [("i", 2), ("j", 1)]
    for bad, needs in [
        (n, f"needs 0 to {n - 1}, a flattened position in ({n},)"),
        (-1, f"needs 0 to {n - 1}, a flattened position in ({n},)"),
        *[
            (bad, f"needs an integer, or 1 integers within ({n},)")
            for bad in (0.0, True, "a", None, (n,), (-1,))
        ],
    ]
] + [
    (
        block, {"i": (0, 2), "j": (0, 0)}, ValueError,
        "i: got (0, 2); needs an integer, or 2 integers within (2, 2)", {"i": (0, 1), "j": (0, 0)},
    ),
    (
        block, {"i": [1, 1], "j": [0, 3]}, ValueError,
        "j: got [0, 3]; needs an integer, or 2 integers within (1, 3)", {"i": [1, 1], "j": [0, 2]},
    ),
    (
        block, {"i": (0, 0), "j": 0}, ValueError,
        f"i, j: got (0, 0), 0; {TWO_POSITIONS}", {"i": (0, 0), "j": (0, 0)},
    ),
    (
        block, {"i": (), "j": ()}, ValueError,
        f"i, j: got (), (); {TWO_POSITIONS}", {"i": (0,), "j": (0,)},
    ),
    (
        block, {"i": (0,) * 4, "j": (0,) * 4}, ValueError,
        f"i, j: got (0, 0, 0, 0), (0, 0, 0, 0); {TWO_POSITIONS}", {"i": (0,) * 3, "j": (0,) * 3},
    ),
]  # fmt: skip

A_GEOMETRY = "needs a Conv, LocallyConnected or ConvTranspose"
A_LAYER = (
    "needs a Conv, ConvTranspose, LocallyConnected, SumPool or TieMap; "
    "register your own kind with @convdense.tie.register"
)
LAYERS = [
    (call, {"layer": bad}, TypeError, f"layer: got {bad!r}; {A_LAYER}", {"layer": good})
    for call in (tie_map, tied)
    for bad, good in [(3, CONV), (None, TIES), ("Conv", CONV), (Conv, CONV), (CONV.to_dict(), CONV)]
] + [
    (call, {"layer": bad}, TypeError, f"layer: got {bad!r}; {A_GEOMETRY}", {"layer": CONV})
    for call in (convolved, convolved_back, looped, looped_back)
    for bad in ("Conv", None, Conv, TIES, CONV.to_dict())
] + [
    (
        steps, {"layer": Conv((1, 3163), 1, kernel=1)}, ValueError,
        "layer: got 3163 x 3163 edges; needs at most 10,000,000 to write the dense gradient out; "
        "use backward, which keeps only the edges that exist",
        {"layer": Conv((1, 3162), 1, kernel=1)},
    ),
]  # fmt: skip

FORMATS = [
    (
        written, {"format": bad}, ValueError,
        f"format: got {bad!r}; needs one of 'text', 'latex'"
        + ("; write 'latex'" if bad == "LaTeX" else ""),
        {"format": "latex"},
    )
    for bad in ("tex", "LaTeX", None, 3, ["text"])
]  # fmt: skip
IN_TURN = "an object with forward and backward, or a pair of such functions"
KINDS = "one of 'conv', 'transposed', 'local', 'sum', 'avg', 'max', 'min'"
OF_A_KIND = "the name of a check of these kinds"
TESTING = [
    (
        asserted, {"implementation": None}, TypeError,
        f"implementation: got None; needs {IN_TURN}",
        {"implementation": own(CONV)},
    ),
    (
        asserted, {"x": None}, TypeError,
        "x: got None with w; needs an array beside the others; give x, w and dy, or no data at all",
        {"x": X},
    ),
    (
        asserted, {"w": None}, TypeError,
        "w: got None with x; needs an array beside the others; give x, w and dy, or no data at all",
        {"b": None},
    ),
    (
        asserted, {"batch": 3}, TypeError,
        "batch: got 3 beside x; needs no data; leave batch out",
        {"batch": 3, "x": None, "w": None, "b": None, "dy": None},
    ),
    (
        asserted_pool, {"x": X}, TypeError,
        "x: got data; needs none for a pool; leave it out: a pool is certified on integers",
        {"x": None},
    ),
    (kinds_of, {"kind": "pool"}, ValueError, f"kind: got 'pool'; needs {KINDS}", {"kind": "max"}),
    (
        kinds_of, {"kind": ("conv", 3)}, ValueError,
        f"kind: got 3; needs {KINDS}", {"kind": ("conv", "max")},
    ),
    (
        checked, {"make": 3}, TypeError,
        "make: got 3; needs a function of a layer that returns its implementation", {"make": own},
    ),
    (
        checked, {"make": lambda layer: None}, TypeError,
        "make: got None from make(Conv((2, 5, 6), out_channels=3, kernel=(2, 3))); "
        "needs an implementation; return it",
        {"make": own},
    ),
    (
        checked, {"dtype": "float16"}, ValueError,
        "dtype: got 'float16'; needs one of 'float64', 'float32', 'complex64', 'complex128'",
        {"dtype": "float32"},
    ),
    (
        parametrized, {"expected_failed_checks": {"conv-stride-dx": "r"}}, ValueError,
        f"expected_failed_checks: got 'conv-stride-dx'; needs {OF_A_KIND}; "
        "did you mean 'conv-strided-dx', 'conv-strided-dw', 'conv-strided-db'",
        {"expected_failed_checks": {"conv-strided-dx": "r"}},
    ),
    (
        parametrized, {"expected_failed_checks": {"?": "r"}}, ValueError,
        f"expected_failed_checks: got '?'; needs {OF_A_KIND}; print those of conv_checks",
        {"expected_failed_checks": {}},
    ),
    (
        parametrized, {"expected_failed_checks": {"conv-plain-dx": ""}}, TypeError,
        "expected_failed_checks: got '' for 'conv-plain-dx'; needs a reason, as text",
        {"expected_failed_checks": {"conv-plain-dx": "a mean, not a sum"}},
    ),
    (cached, {"forward": 3}, TypeError, "forward: got 3; needs a function", {"forward": own}),
    (
        cached, {"backward": 3}, TypeError,
        "backward: got 3; needs a function", {"backward": own},
    ),
    (
        turned, {"weights": "HWOI"}, ValueError, "weights: got 'HWOI'; needs one of 'OIHW', 'HWIO'",
        {"weights": "OIHW"},
    ),
    (
        turned, {"implementation": 3}, TypeError,
        f"implementation: got 3; needs {IN_TURN}, on arrays with the channels last",
        {"implementation": own(CONV)},
    ),
    (
        unbiased, {"implementation": 3}, TypeError,
        "implementation: got 3; needs an object with forward(x, w) and backward(x, w, dy) -> "
        "(dx, dw), or a pair of such functions",
        {"implementation": own(CONV)},
    ),
]  # fmt: skip

GEOMETRY = PER_POSITION + ONE_ENTRY + CHANNELS + PADDINGS + ARRAYS + REACH
REFUSED = (
    GEOMETRY
    + SHAPES
    + BATCHES
    + DTYPES
    + RAGGED
    + INDICES
    + POSITIONS
    + BLOCKS
    + LAYERS
    + FORMATS
    + TESTING
)


def label(row):
    """Return an id: the call and how its message begins."""
    call, _, _, message, _ = row
    return f"{call.__name__}-{message.split(';')[0]}"[:70]


@pytest.mark.parametrize(
    ("call", "bad", "error", "message", "good"), REFUSED, ids=map(label, REFUSED)
)
def test_refused_word_for_word_and_the_nearest_right_accepted(call, bad, error, message, good):
    with pytest.raises((TypeError, ValueError)) as refusal:
        call(**bad)
    assert (refusal.type, without_hint(refusal.value)) == (error, message)
    call(**good)


def without_hint(error):
    """Return a message without the call that would fit: tests/test_foreign_arrays.py has these."""
    return re.sub(r"; write np\.(reshape|moveaxis|full)\(.*$", "", str(error))


def is_clear(bad, message):
    """Tell whether a message names an argument of the bad call, what came and what is needed."""
    form = re.fullmatch(r"(?P<names>\w+(, \w+)*): got .+; needs .+", message)
    return bool(form) and set(form["names"].split(", ")) <= set(bad)


def test_every_message_names_the_argument_what_came_and_what_is_needed():
    assert [message for _, bad, _, message, _ in REFUSED if not is_clear(bad, message)] == []


@pytest.mark.parametrize(
    ("message", "clear"),
    [
        ("kernel: got 0; needs an integer of at least 1", True),
        ("stride: got 0; needs an integer of at least 1", False),
        ("kernel: needs an integer of at least 1", False),
        ("kernel: got 0", False),
    ],
    ids=str,
)
def test_an_unclear_message_is_seen(message, clear):
    assert is_clear({"kernel": 0}, message) is clear


@pytest.mark.parametrize("call", [TIES.matrix, TIES.blocks])
def test_max_bytes_is_named(call):
    with pytest.raises((TypeError, ValueError), match=r"^max_bytes: got '1 GB'; needs "):
        list(call(W, max_bytes="1 GB"))


@pytest.mark.parametrize(
    "bad", [{"w": W[0, 0]}, {"w": W[0]}, {"in_shape": (1, 3)}, {"in_shape": (2, 3, 4)}], ids=str
)
def test_conv_matrix_names_arguments_it_has(bad):
    """The kernel is a part of w here: no message may blame an argument `kernel`."""
    conv_matrix(W, (1, 3, 4))
    with pytest.raises(ValueError, match=r".+: got .+; needs .+") as refusal:
        conv_matrix(**{"w": W, "in_shape": (1, 3, 4), **bad})
    assert str(refusal.value).partition(":")[0] in inspect.signature(conv_matrix).parameters


@pytest.mark.parametrize("call", [conv, transpose, local])
@pytest.mark.parametrize("name", ["kernel", "stride", "dilation", "padding"])
def test_every_way_to_say_one_number_per_axis(call, name):
    ways = [(2, 2), [2, 2], 2, np.int8(2), np.uint64(2), np.array([2, 2]), (np.int32(2), 2)]
    layers = [call(**{"kernel": 1, name: way}) for way in ways]
    assert layers == [layers[0]] * len(ways)
    assert layers[0] != call(**{"kernel": 1, name: (2, 1)})
