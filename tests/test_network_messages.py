"""Networks, pools and training refuse what makes no sense; the nearest right input passes."""

import ast
import importlib
import re
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import nan
from pathlib import Path

import numpy as np
import pytest

from convdense import (
    Conv,
    Dense,
    Flatten,
    LeakyReLU,
    LpPool,
    MaxPool,
    Network,
    ReLU,
    Residual,
    SumPool,
    TiedDense,
    TieMap,
    batch_norm,
    certify,
    check,
    convolve,
    dense_pool,
    network,
)
from convdense._util.files import read_arrays
from convdense._util.float_formats import INTEGERS, spelled
from convdense.geometry import AvgPool, ChannelScale, Linear
from convdense.layers.activations import Abs
from convdense.layers.dense_form import dense_steps
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import backward_error, forward_error, magnitudes
from convdense.training.loop import train
from convdense.training.losses import Loss, half_squared_error, softmax_cross_entropy, squared_error
from convdense.training.optimizers import sgd

CONV = Conv((1, 4), 2, kernel=3)
NET = network(CONV, ReLU(), Flatten(), Linear(4, 3), seed=0)
LINE = Dense([[1.0]], [0.0])
POOL = MaxPool((1, 4), kernel=2)
HALVES = dense_pool(POOL, tie_break="split")
POWER = dense_pool(LpPool((1, 4), kernel=2, p=2))
TIES = TieMap.from_index([[0, 1], [1, 0]])
SCALE = TiedDense(ChannelScale((2, 3)), np.ones(2), np.ones(2))
ONES = {"0.w": np.ones((2, 1, 3)), "0.b": np.ones(2), "3.w": np.ones((3, 4)), "3.b": np.ones(3)}


class Unknown:
    """A layer that runs, and of which nothing else is known."""

    in_shape = out_shape = (1, 4)

    def forward(self, x):
        return x

    def backward(self, x, dy):
        return dy

    def __repr__(self):
        return "Unknown()"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Run where relative paths are the same in every run, and a message can be compared whole."""
    monkeypatch.chdir(tmp_path)
    Path("folder.npz").mkdir()


# Every call below is right as it stands: a row of a table changes one argument.


def half(**changed):
    return half_squared_error(**{"o": np.ones((2, 3)), "y": np.ones((2, 3)), **changed})


def square(**changed):
    return squared_error(**{"o": np.ones((2, 3)), "y": np.ones((2, 3)), **changed})


def entropy(**changed):
    return softmax_cross_entropy(**{"o": np.ones((2, 3)), "labels": [0, 2], **changed})


def step(**changed):
    given = {
        name: {"w": np.ones(2), "b": np.ones(1)} for name in ("parameters", "gradients", "velocity")
    }
    return sgd(**{**given, "rate": 0.1, "momentum": 0.9, **changed})


def trained(**changed):
    right = {"net": NET, "x": np.ones((4, 1, 4)), "target": [0, 1, 2, 0], "epochs": 1, "batch": 3}
    return list(train(**{**right, **changed}))


def line(**changed):
    right = {
        "net": network(LINE),
        "x": [[1.0]],
        "target": [[0.0]],
        "loss": half_squared_error,
        "epochs": 2,
    }
    return list(train(**{**right, "rate": 0.5, "momentum": 0.0, **changed}))


def built(**changed):
    return network(*changed.pop("layers", (CONV, ReLU())), **changed)


def frozen(**changed):
    return Network(**{"layers": NET.layers, **changed})


def direct_weights(layer, **weights):
    return direct_counterpart(layer).with_weights(**weights)


def winners(pool):
    return direct_counterpart(dense_pool(pool)).indices([[1, 2, 3, 4]])


def forward(layer, x):
    return layer.forward(x)


def backward(**changed):
    right = {"layer": NET, "x": np.ones((3, 1, 4)), "dy": np.ones((3, 3)), **changed}
    return right.pop("layer").backward(**right)


def replaced(**changed):
    return NET.with_parameters(changed.get("parameters", ONES))


def saved(path="net.npz"):
    NET.save(path)
    return NET.load(path)


def loaded(arrays=None, net=NET):
    np.savez("net.npz", **(ONES if arrays is None else arrays))
    return net.load("net.npz")


def read(path="net.npz"):
    np.savez("net.npz", **ONES)
    np.save("one.npy", np.ones(3))
    Path("one.npy").rename("one.npz")
    np.savez("objects.npz", w=np.array([{}], object))
    Path("cut.npz").write_bytes(Path("net.npz").read_bytes()[:-30])
    Path("text.npz").write_text("no arrays")
    Path("empty.npz").touch()
    return read_arrays(Path(path))


def taken_apart(layer=NET):
    return dense_steps(layer)


def listed(layer=POOL):
    return network(layer).dense_layers()


def counterpart(layer=NET):
    return direct_counterpart(layer)


def leaky(**changed):
    return LeakyReLU(**{"slope": 0.25, **changed})


def bent(**changed):
    right = {"layer": ReLU((2,)), "x": [[1.0, 2.0]], **changed}
    return right["layer"].forward(right["x"])


def bent_back(**changed):
    right = {"layer": ReLU((2,)), "x": [[1.0, 2.0]], "dy": [[1.0, 1.0]], **changed}
    return right.pop("layer").backward(**right)


def some_abs(**changed):
    return Abs(**{"in_shape": (4,), "axis": 0, "start": 2, "stop": 4, **changed})


def flat(**changed):
    return forward(**{"layer": Flatten((2, 3)), "x": np.ones((4, 2, 3)), **changed})


def flat_back(**changed):
    return backward(
        **{"layer": Flatten((2, 3)), "x": np.ones((4, 2, 3)), "dy": np.ones((4, 6)), **changed}
    )


def norm(**changed):
    return batch_norm(
        **{"in_shape": (2, 3), "mean": np.ones(2), "var": np.ones(2), "eps": 0.5, **changed}
    )


def linear(**changed):
    return Linear(**{"in_features": 3, "out_features": 2, **changed})


def scale(**changed):
    return ChannelScale(**{"in_shape": (3, 4), **changed})


MANY = AvgPool((1, 23), kernel=23)


RIGHT = partial(convolve, Conv((1, 3), 1, kernel=2))


def certified(**changed):
    return certify(**{"layer": POOL, "seed": 0, **changed})


def proven(**changed):
    """Certify a layer with weights: what it may be asked beside, a pool or a network may not."""
    return certify(**{"layer": Conv((1, 3), 1, kernel=2), "seed": 0, **changed})


def again(certificate, **changed):
    return replace(certificate, **changed).rerun()


def drawn_again(**changed):
    return again(proven(method="random"), **changed)


def judged_again(implementation=HALVES):
    return certified(implementation=HALVES).rerun(implementation)


def checked(**changed):
    return check(**{"layer": NET, "x": np.ones((3, 1, 4)), "dy": np.ones((3, 3)), **changed})


def pooled(**changed):
    return check(**{"layer": POOL, "x": np.ones((3, 1, 4)), "dy": np.ones((3, 1, 2)), **changed})


def checked_conv(**changed):
    right = {
        "layer": CONV,
        "x": np.ones((3, 1, 4)),
        "w": np.ones((2, 1, 3)),
        "dy": np.ones((3, 2, 2)),
    }
    return check(**{**right, **changed})


def sized(layer=NET):
    return magnitudes(layer)


def rounded(layer=LINE):
    return (
        forward_error.dispatch(type(layer))(layer, None)
        if isinstance(layer, Unknown)
        else forward(layer, [1.0])
    )


def rounded_back(layer=LINE):
    if isinstance(layer, Unknown):
        return backward_error.dispatch(type(layer))(layer, None, None)
    return backward(layer=layer, x=[1.0], dy=[1.0])


NUMBERS = "needs an array of integers, float32, float64, complex64 or complex128"
CONVERT = "convert it first, e.g. with .astype(float)"
ONE_LENGTH = "needs an array, all rows of one length"
ONE_UP, ZERO_UP = "needs an integer of at least 1", "needs an integer of at least 0"
SAME_BATCH = "the batch of x; give both the same batch"
WITHOUT_KIND = "labels: got dtype {}; needs integers: the number of each sample's class"
FLOATS = np.ones(2, np.float32)
FRACTION = "needs a number from 0 to 1"
DTYPES = "needs one of 'float64', 'float32'"
PRECISIONS = "needs one of 'float32', 'float64'"
NO_RING = "averages, halves and maxima are none of a ring's: use float64"
COMPLEX = f"{PRECISIONS}, 'complex64', 'complex128'"
OF_CODE = "give an implementation as well"

LOSSES = (
    [
        (call, {"o": bad}, error, f"o: got {message}", {})
        for call in (half, square, entropy)
        for bad, error, message in [
            (np.ones((2, 3), complex), TypeError, "dtype complex128; needs real numbers"),
            (np.ones((2, 3), bool), TypeError, f"dtype bool; {NUMBERS}; {CONVERT}"),
            (np.ones((2, 3), np.float16), TypeError, f"dtype float16; {NUMBERS}; {CONVERT}"),
            ([[1, 2], [3]], ValueError, f"rows of different lengths; {ONE_LENGTH}"),
            (1.0, ValueError, "shape (); needs (batch, ...), at least one sample"),
            (np.ones((0, 3)), ValueError, "shape (0, 3); needs (batch, ...), at least one sample"),
            (np.ones((2, 0)), ValueError, "shape (2, 0); needs (batch, ...), at least one sample"),
        ]
    ]
    + [
        (call, {"y": bad}, error, f"y: got {message}", {"y": good})
        for call in (half, square)
        for bad, error, message, good in [
            (
                np.ones((2, 3), complex),
                TypeError,
                "dtype complex128; needs real numbers",
                np.ones((2, 3), int),
            ),
            ([["a", "b", "c"]] * 2, TypeError, f"dtype <U1; {NUMBERS}; {CONVERT}", [[1, 2, 3]] * 2),
            (
                [[1, 2, 3], [3]],
                ValueError,
                f"rows of different lengths; {ONE_LENGTH}",
                [[1, 2, 3], [3, 2, 1]],
            ),
            (np.ones(3), ValueError, "shape (3,); needs (2, 3), the shape of o", np.ones((2, 3))),
            (
                np.ones((3, 2)),
                ValueError,
                "shape (3, 2); needs (2, 3), the shape of o",
                np.ones((2, 3)),
            ),
            (1, ValueError, "shape (); needs (2, 3), the shape of o", np.ones((2, 3))),
        ]
    ]
    + [
        (
            entropy,
            {"o": np.ones(3)},
            ValueError,
            "o: got shape (3,); needs (batch, classes)",
            {"o": np.ones((2, 3))},
        ),
        (
            entropy,
            {"o": np.ones((2, 3, 1))},
            ValueError,
            "o: got shape (2, 3, 1); needs (batch, classes)",
            {},
        ),
        (
            entropy,
            {"labels": [0.0, 2.0]},
            TypeError,
            WITHOUT_KIND.format("float64"),
            {"labels": [0, 2]},
        ),
        (
            entropy,
            {"labels": [0j, 2]},
            TypeError,
            WITHOUT_KIND.format("complex128"),
            {"labels": np.uint8([0, 2])},
        ),
        (
            entropy,
            {"labels": [True, False]},
            TypeError,
            f"labels: got dtype bool; {NUMBERS}; {CONVERT}",
            {},
        ),
        (
            entropy,
            {"labels": ["0", "2"]},
            TypeError,
            f"labels: got dtype <U1; {NUMBERS}; {CONVERT}",
            {"labels": [0, 2]},
        ),
        (
            entropy,
            {"labels": [0]},
            ValueError,
            "labels: got shape (1,); needs (2,), one label for each sample",
            {},
        ),
        (
            entropy,
            {"labels": 0},
            ValueError,
            "labels: got shape (); needs (2,), one label for each sample",
            {},
        ),
        (
            entropy,
            {"labels": [[1, 0, 0], [0, 0, 1]]},
            ValueError,
            "labels: got shape (2, 3); needs (2,), one label for each sample",
            {"labels": [0, 2]},
        ),
        (
            entropy,
            {"labels": [0, 3]},
            ValueError,
            "labels: got 3 at 1; needs 0 to 2, for 3 classes",
            {"labels": [0, 2]},
        ),
        (
            entropy,
            {"labels": [-1, 3]},
            ValueError,
            "labels: got -1 at 0; needs 0 to 2, for 3 classes",
            {"labels": [0, 2]},
        ),
    ]
)

FINITE, BELOW_ONE = (
    "needs a finite number of at least 0",
    "needs a number from 0 up to, not including, 1",
)
STEPS = [
    (step, {"rate": bad}, ValueError, f"rate: got {bad}; {FINITE}", {"rate": good})
    for bad, good in ((-0.1, 0.0), (nan, 0), (float("inf"), 1e300))
] + [
    (step, {"momentum": bad}, ValueError, f"momentum: got {bad}; {BELOW_ONE}", {"momentum": good})
    for bad, good in ((-0.1, 0.0), (1, 0.999), (1.0, 0), (nan, 0.5))
] + [
    (step, {name: bad}, ValueError,
     f"{name}: got {got}; needs 'w', 'b', the names of the parameters", {name: good})
    for name in ("gradients", "velocity")
    for good in [{"b": np.ones(1), "w": np.ones(2)}]  # the order is no matter
    for bad, got in [
        ({"w": np.ones(2)}, "'w'"),
        ({**good, "c": 1}, "'b', 'w', 'c'"),
        ({}, "none"),
    ]
] + [
    (
        step,
        {"parameters": {}, "velocity": None},
        ValueError,
        "gradients: got 'w', 'b'; needs none, the names of the parameters",
        {"parameters": {}, "gradients": {}, "velocity": None},
    ),
    (
        step,
        {"gradients": {"w": np.ones((3, 2)), "b": np.ones(1)}},
        ValueError,
        "gradients: got 'w' of shape (3, 2); needs (2,), the shape of the parameter",
        {"gradients": {"w": np.ones(2), "b": np.ones(1)}},
    ),
    (
        step,
        {"parameters": {"w": np.ones(2, int), "b": np.ones(1)}},
        TypeError,
        "parameters: got 'w' of dtype int64; needs floats, which can move a little",
        {"parameters": {"w": np.ones(2, np.float32), "b": np.ones(1)}},
    ),
    (step, {"rate": "a"}, TypeError, f"rate: got 'a'; {FINITE}", {"rate": np.float32(0.5)}),
    (step, {"momentum": True}, TypeError, f"momentum: got True; {BELOW_ONE}", {"momentum": 0}),
]  # fmt: skip

DOWN = "use a smaller rate, or look at the data"
IN_LINE = "layer 0, Dense(1 outputs, 1 inputs)"
ONE_OF = "one for each sample"
TRAINING = [
    (trained, {name: bad}, error, f"{name}: got {bad!r}; {ONE_UP}", {name: 1})
    for name in ("batch", "epochs")
    for bad, error in (
        (0, ValueError),
        (-1, ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ("1", TypeError),
    )
] + [
    (
        trained,
        {"x": np.ones((4, 4))},
        ValueError,
        f"x: got shape (4, 4); needs (1, 4) or (batch, 1, 4), for {NET!r}",
        {"x": np.ones((4, 1, 4))},
    ),
    (
        trained,
        {"x": np.ones((4, 1, 4), bool)},
        TypeError,
        f"x: got dtype bool; {NUMBERS}; {CONVERT}",
        {},
    ),
    (
        trained,
        {"x": np.ones((1, 4)), "target": [0]},
        ValueError,
        "x: got shape (1, 4); needs (samples, *in_shape), at least one sample",
        {"x": np.ones((1, 1, 4)), "target": [0]},
    ),
    (
        trained,
        {"x": np.ones((0, 1, 4)), "target": []},
        ValueError,
        "x: got shape (0, 1, 4); needs (samples, *in_shape), at least one sample",
        {"x": np.ones((1, 1, 4)), "target": [0]},
    ),
    (
        trained,
        {"target": [0, 1, 2]},
        ValueError,
        f"target: got shape (3,); needs (4, ...), {ONE_OF}",
        {},
    ),
    (trained, {"target": 0}, ValueError, f"target: got shape (); needs (4, ...), {ONE_OF}", {}),
    (
        trained,
        {"target": [[0, 1, 2, 0]]},
        ValueError,
        f"target: got shape (1, 4); needs (4, ...), {ONE_OF}",
        {},
    ),
    (trained, {"rate": -1.0}, ValueError, f"rate: got -1.0; {FINITE}", {"rate": 0.0}),
    (
        trained,
        {"momentum": 1.0},
        ValueError,
        f"momentum: got 1.0; {BELOW_ONE}",
        {"momentum": 0.0},
    ),
    (
        line,
        {"x": [[nan]]},
        FloatingPointError,
        f"training: got nan in the input at step 0; needs finite numbers; {DOWN}",
        {"x": [[0.0]]},
    ),
    (
        # w = 1 and b = 0 give 1; one step down w is 1 - rate, b is -rate, and there is no -3e308
        line,
        {"rate": 1.5e308},
        FloatingPointError,
        f"training: got -inf in the output of {IN_LINE}, at step 1; needs finite numbers; {DOWN}",
        {"rate": 1.0},
    ),
    (
        line,  # -2e200 there is, but not its square
        {"rate": 1e200},
        FloatingPointError,
        f"training: got inf as the loss at step 1, after {IN_LINE}; needs finite numbers; {DOWN}",
        {"rate": 1e100},
    ),
    (
        line,
        {"loss": lambda o, y: 1.0},
        TypeError,
        "loss: got a float; needs a Loss(value, gradient) from the function",
        {"loss": lambda o, y: (1.0, o)},
    ),
    (
        line,
        {"loss": lambda o, y: Loss(1.0, nan * o)},
        FloatingPointError,
        f"training: got nan as the gradient of the loss at step 0, after {IN_LINE}; "
        f"needs finite numbers; {DOWN}",
        {"loss": lambda o, y: Loss(1.0, o)},
    ),
    (
        line,
        {"rate": 1.5e308, "target": [[-2.0]], "epochs": 1},
        FloatingPointError,
        "training: got -inf in parameter '0.w', layer 0, after step 0; needs finite numbers; "
        f"{DOWN}",
        {"rate": 1e300, "target": [[-2.0]], "epochs": 1},
    ),
    (
        line,
        {"loss": lambda o, y: Loss(nan, o)},
        FloatingPointError,
        f"training: got nan as the loss at step 0, after {IN_LINE}; needs finite numbers; {DOWN}",
        {"loss": lambda o, y: Loss(0.0, o)},
    ),
    (
        line,
        {"net": network(LINE, Dense([[1.0]]), ReLU()), "loss": lambda o, y: Loss(nan, o)},
        FloatingPointError,
        "training: got nan as the loss at step 0, after layer 2, ReLU((1,)); "
        f"needs finite numbers; {DOWN}",
        {"net": network(LINE, Dense([[1.0]]), ReLU())},
    ),
    (
        line,
        {
            "net": network(LINE, Dense([[2e308 / 2], [1.0]])),
            "target": [[0.0, 0.0]],
            "x": [[4.0]],
        },
        FloatingPointError,
        "training: got inf in the output of layer 1, Dense(2 outputs, 1 inputs), at step 0; "
        f"needs finite numbers; {DOWN}",
        {"net": network(LINE, Dense([[2.0], [1.0]])), "target": [[0.0, 0.0]], "x": [[4.0]]},
    ),
]

A_READY_LAYER = (
    "needs a geometry, or a ready layer with in_shape, out_shape, forward(x) and backward(x, dy)"
)
FLATTEN = "put a Flatten() between them"
BUILT = [
    (
        built,
        {"layers": ()},
        ValueError,
        "layers: got none; needs at least one layer",
        {"layers": (CONV,)},
    ),
    (
        winners,
        {"pool": SumPool((1, 4), 2)},
        TypeError,
        "pool: got SumPool((1, 4), kernel=2); "
        "needs a MaxPool or a MinPool, whose windows one cell wins",
        {"pool": MaxPool((1, 4), 2)},
    ),
    (frozen, {"layers": ()}, ValueError, "layers: got none; needs at least one layer", {}),
    (
        frozen,
        {"layers": (ReLU(),)},
        ValueError,
        "layer 0: got ReLU(); needs a ready layer: forward(x), backward(x, dy), "
        "and the shapes in_shape and out_shape, known; use network(...), which makes it ready",
        {"layers": (ReLU((2,)),)},
    ),
    (
        built,
        {"layers": (Residual(),)},
        ValueError,
        "layer 0, Residual, layers: got none; needs at least one layer",
        {},
    ),
    *(
        (
            built,
            {"layers": (CONV, bad)},
            TypeError,
            f"layer 1: got {bad!r}; {A_READY_LAYER}",
            {"layers": (CONV, good)},
        )
        for bad, good in (
            (3, ReLU()),
            ("relu", ReLU()),
            (None, ReLU()),
            (ReLU, ReLU()),
            ({}, ReLU()),
            ((), ReLU()),
        )
    ),
    (
        built,
        {"layers": (Conv,)},
        TypeError,
        f"layer 0: got {Conv!r}; {A_READY_LAYER}",
        {"layers": (CONV,)},
    ),
    (
        built,
        {"layers": (CONV, Residual(ReLU(), "relu"))},
        TypeError,
        f"layer 1.1: got 'relu'; {A_READY_LAYER}",
        {"layers": (CONV, Residual(ReLU(), ReLU()))},
    ),
    *(
        (
            built,
            {"layers": (bad,)},
            ValueError,
            f"layer {place}: got {shown}; needs {name}(in_shape=...), "
            "or a layer before it that says its shape",
            {"layers": (good,)},
        )
        for place, bad, shown, name, good in [
            ("0", ReLU(), "ReLU()", "ReLU", ReLU((2,))),
            ("0", LeakyReLU(0.25), "LeakyReLU(0.25)", "LeakyReLU", LeakyReLU(0.25, (2,))),
            ("0", Flatten(), "Flatten()", "Flatten", Flatten((2,))),
            ("0.0", Residual(ReLU()), "ReLU()", "ReLU", Residual(ReLU((2,)))),
        ]
    ),
    (
        built,
        {"layers": (CONV, Linear(5, 1))},
        ValueError,
        "layer 1, Dense(1 outputs, 5 inputs): got an input of shape (5,); "
        f"needs (2, 2), which layer 0, TiedDense({CONV!r}), gives",
        {"layers": (CONV, Flatten(), Linear(4, 1))},
    ),
    (
        built,
        {"layers": (CONV, Linear(4, 1))},
        ValueError,
        "layer 1, Dense(1 outputs, 4 inputs): got an input of shape (4,); "
        f"needs (2, 2), which layer 0, TiedDense({CONV!r}), gives; {FLATTEN}",
        {"layers": (CONV, Flatten(), Linear(4, 1))},
    ),
    (
        built,
        {"layers": (CONV, ReLU(), MaxPool((2, 3), kernel=2))},
        ValueError,
        "layer 2, Tournament(MaxPool((2, 3), kernel=2)): got an input of shape (2, 3); "
        "needs (2, 2), which layer 1, ReLU((2, 2)), gives",
        {"layers": (CONV, ReLU(), MaxPool((2, 2), kernel=2))},
    ),
    (
        built,
        {"layers": (CONV, ReLU((4, 1)))},
        ValueError,
        "layer 1, ReLU((4, 1)): got an input of shape (4, 1); "
        f"needs (2, 2), which layer 0, TiedDense({CONV!r}), gives",
        {"layers": (CONV, ReLU((2, 2)))},
    ),
    (
        frozen,
        {"layers": (LINE, Dense([[1.0, 2.0]]))},
        ValueError,
        "layer 1, Dense(1 outputs, 2 inputs): got an input of shape (2,); "
        "needs (1,), which layer 0, Dense(1 outputs, 1 inputs), gives",
        {"layers": (LINE, LINE)},
    ),
    (
        built,
        {"layers": (Residual(CONV),)},
        ValueError,
        "layer 0, Residual, layers: got (1, 4) -> (2, 2); needs equal shapes, for both are added; "
        "pad convolutions with 'same'",
        {"layers": (Residual(Conv((1, 4), 1, kernel=3, padding="same")),)},
    ),
    *(
        (
            built,
            {"dtype": bad},
            ValueError,
            f"dtype: got {spelled(bad)!r}; {DTYPES}",
            {"dtype": good},
        )
        for bad, good in (
            ("float16", "float32"),
            ("int64", "float64"),
            (np.int8, np.float32),
            (None, "float64"),
        )
    ),
    *(
        (built, {"seed": bad}, error, f"seed: got {bad!r}; {ZERO_UP}", {"seed": good})
        for bad, error, good in (
            (-1, ValueError, 0),
            (1.0, TypeError, 1),
            (True, TypeError, None),
            ("1", TypeError, 1),
        )
    ),
]

FOR_NET = "for Network(4 layers, (1, 4) -> (3,))"
# x and dy: the layer, its shapes and what its messages name (of a counterpart: the original)
PAIRS = [
    (NET, (1, 4), (3,), f"{NET!r}"),
    (network(Residual(LINE)).layers[0], (1,), (1,), "ResidualSum(Dense(1 outputs, 1 inputs))"),
    (Flatten((2, 3)), (2, 3), (6,), "Flatten((2, 3))"),
    (LINE, (1,), (1,), "Dense(1 outputs, 1 inputs)"),
    (SCALE, (2, 3), (2, 3), "TiedDense(ChannelScale((2, 3)))"),
    (direct_counterpart(network(CONV).layers[0]), (1, 4), (2, 2), f"{CONV!r}"),
    (direct_counterpart(SCALE), (2, 3), (2, 3), "ChannelScale((2, 3))"),
    (direct_counterpart(LINE), (1,), (1,), "Dense(1 outputs, 1 inputs)"),
    (direct_counterpart(dense_pool(POOL)), (1, 4), (1, 2), f"{POOL!r}"),
    (direct_counterpart(ReLU((2,))), (2,), (2,), "DirectReLU(0, (2,))"),
    (direct_counterpart(LeakyReLU(0.25, (2,))), (2,), (2,), "DirectReLU(0.25, (2,))"),
]
RUN = (
    [
        row
        for layer, in_shape, out_shape, name in PAIRS
        for right in [
            {"layer": layer, "x": np.ones((3, *in_shape)), "dy": np.ones((3, *out_shape))}
        ]
        for alone in [{"layer": layer, "x": right["x"]}]
        for wide_in, wide_out in [
            [f"(batch, {str(shape)[1:-1].rstrip(',')})" for shape in (in_shape, out_shape)]
        ]
        for long, short in [((3, 7, *out_shape), (2, *out_shape))]
        for x_needs in [f"needs {in_shape} or {wide_in}, for {name}"]
        for row in [
            (
                forward,
                {**alone, "x": np.ones(7)},
                ValueError,
                f"x: got shape (7,); {x_needs}",
                alone,
            ),
            (
                forward,
                {**alone, "x": np.ones((3, 7))},
                ValueError,
                f"x: got shape (3, 7); {x_needs}",
                alone,
            ),
            (
                forward,
                {**alone, "x": right["x"] > 0},
                TypeError,
                f"x: got dtype bool; {NUMBERS}; {CONVERT}",
                alone,
            ),
            (
                backward,
                {**right, "x": np.ones(7)},
                ValueError,
                f"x: got shape (7,); {x_needs}",
                right,
            ),
            (
                backward,
                {**right, "dy": np.ones(long)},
                ValueError,
                f"dy: got shape {long}; needs {out_shape} or {wide_out}, for {name}",
                right,
            ),
            (
                backward,
                {**right, "dy": np.ones(short)},
                ValueError,
                f"dy: got shape {short}; needs {(3, *out_shape)}, {SAME_BATCH}",
                right,
            ),
            (
                backward,
                {**right, "dy": np.ones(out_shape)},
                ValueError,
                f"dy: got shape {out_shape}; needs {(3, *out_shape)}, {SAME_BATCH}",
                right,
            ),
            (
                backward,
                {**right, "dy": right["dy"] > 0},
                TypeError,
                f"dy: got dtype bool; {NUMBERS}; {CONVERT}",
                right,
            ),
        ]
    ]
    + [
        (
            forward,
            {"layer": layer, "x": [[1], [1, 2]]},
            ValueError,
            f"x: got rows of different lengths; {ONE_LENGTH}",
            {"layer": layer, "x": np.ones(layer.in_shape)},
        )
        for layer in (
            NET,
            Flatten((2, 3)),
            LINE,
            direct_counterpart(LINE),
            direct_counterpart(ReLU((2,))),
        )
    ]
    + [
        (
            forward,
            {"layer": direct_counterpart(ReLU((2,))), "x": np.ones((3, 2), complex)},
            TypeError,
            "x: got dtype complex128; needs real numbers, which can be compared",
            {"layer": direct_counterpart(ReLU((2,))), "x": np.ones((3, 2))},
        ),
        (
            backward,
            {
                "layer": direct_counterpart(ReLU((2,))),
                "x": np.ones((3, 2), complex),
                "dy": np.ones((3, 2)),
            },
            TypeError,
            "x: got dtype complex128; needs real numbers, which can be compared",
            {"layer": direct_counterpart(ReLU((2,))), "x": np.ones((3, 2)), "dy": np.ones((3, 2))},
        ),
        *(
            (
                direct_weights,
                {"layer": layer, **weights},
                ValueError,
                f"{message}, for {name}",
                {"layer": layer, "w": layer.w, "b": layer.b},
            )
            for layer, name in (
                (SCALE, "ChannelScale((2, 3))"),
                (LINE, "Dense(1 outputs, 1 inputs)"),
            )
            for weights, message in [
                ({"w": np.ones(3)}, f"w: got shape (3,); needs {layer.weight_shape}"),
                ({"w": layer.w, "b": np.ones(3)}, f"b: got shape (3,); needs {layer.bias_shape}"),
            ]
        ),
    ]
)

NAMES = "'0.w', '0.b', '3.w', '3.b'"
FEWER = {name: a for name, a in ONES.items() if name != "0.b"}
TURNED = {**ONES, "3.w": np.ones((4, 3))}
PARAMETERS = [
    (call, {argument: bad}, ValueError, message, {argument: ONES})
    for call, argument in ((replaced, "parameters"), (loaded, "arrays"))
    for bad, message in [
        (FEWER, f"parameters: got no '0.b'; needs {NAMES}"),
        ({**ONES, "1.w": np.ones(2)}, f"parameters: got '1.w', which is unknown; needs {NAMES}"),
        (
            {**FEWER, "0.B": np.ones(2)},
            f"parameters: got no '0.b', '0.B', which is unknown; needs {NAMES}",
        ),
        ({}, f"parameters: got no '0.b', no '0.w', no '3.b', no '3.w'; needs {NAMES}"),
        (TURNED, "3.w: got shape (4, 3); needs (3, 4), as here"),
        ({**ONES, "0.b": np.ones((1, 2))}, "0.b: got shape (1, 2); needs (2,), as here"),
        ({**ONES, "0.b": np.ones(())}, "0.b: got shape (); needs (2,), as here"),
    ]
] + [
    (
        loaded,
        {"net": network(ReLU((2,)))},
        ValueError,
        "parameters: got '0.b', which is unknown, '0.w', which is unknown, '3.b', "
        "which is unknown, '3.w', which is unknown; needs none",
        {"net": network(ReLU((2,))), "arrays": {}},
    ),
    (
        loaded,
        {"arrays": {**ONES, "3.b": np.ones(3, np.float32)}},
        ValueError,
        '3.b: got dtype float32; needs float64, as here; make the network with dtype="float32"',
        {"arrays": {**ONES, "3.b": np.ones(3)}},
    ),
    (
        loaded,
        {"net": network(CONV, ReLU(), Flatten(), Linear(4, 3), dtype="float32")},
        ValueError,
        '0.w: got dtype float64; needs float32, as here; make the network with dtype="float64"',
        {},
    ),
]

NPZ = "needs an .npz file of arrays, as numpy.savez writes it"
FILES = [
    (
        saved,
        {"path": "net"},
        ValueError,
        "path: got net; needs a name that ends in .npz",
        {"path": "net.npz"},
    ),
    (
        saved,
        {"path": "net.npy"},
        ValueError,
        "path: got net.npy; needs a name that ends in .npz",
        {},
    ),
    (
        saved,
        {"path": "net.NPZ"},
        ValueError,
        "path: got net.NPZ; needs a name that ends in .npz",
        {},
    ),
    (
        saved,
        {"path": Path("net.mtx")},
        ValueError,
        "path: got net.mtx; needs a name that ends in .npz",
        {},
    ),
    (
        saved,
        {"path": ".npz"},
        ValueError,
        "path: got .npz; needs a name that ends in .npz",
        {"path": "a.npz"},
    ),
    (
        saved,
        {"path": "folder.npz"},
        ValueError,
        "path: got folder.npz, which is a folder; needs the name of a file",
        {"path": "folder.npz/a.npz"},
    ),
    (
        saved,
        {"path": "nowhere/net.npz"},
        ValueError,
        f"path: got {Path('nowhere/net.npz')}; needs a folder that exists, which nowhere does not",
        {"path": "folder.npz/net.npz"},
    ),
    (
        read,
        {"path": "no.npz"},
        ValueError,
        "path: got no.npz (No such file or directory); needs an .npz file that can be read",
        {"path": "net.npz"},
    ),
    *(
        (
            read,
            {"path": f"{name}.npz"},
            ValueError,
            f"path: got {name}.npz; {NPZ}",
            {"path": "net.npz"},
        )
        for name in ("one", "objects", "cut", "text", "empty")
    ),
]

OWN_STEPS = "register your own with @dense_steps.register"
OWN_MAGNITUDES = "register your own with @magnitudes.register"
OWN_COUNTERPART = "register its counterpart with @direct_counterpart.register"
DIRECTLY = (
    "needs a TiedDense of a convolution, a Linear or a ChannelScale, which can be run directly"
)
FIRST = 'needs tie_break="first": the direct pool hands everything to the first of several largest'
TAKEN_APART = [
    (call, {"layer": bad}, TypeError, f"layer: got {bad!r}; {needs}", {"layer": good})
    for call, needs in (
        (taken_apart, f"needs a layer made of matrices and |x|; {OWN_STEPS}"),
        (counterpart, f"needs a layer that has a direct form; {OWN_COUNTERPART}"),
        (sized, "needs a layer whose sums are known, made of matrices and |x|; " + OWN_MAGNITUDES),
    )
    for bad, good in (
        (3, LINE),
        (CONV, network(CONV).layers[0]),
        (POOL, dense_pool(POOL)),
        (Unknown(), LINE),
    )
] + [
    (
        taken_apart,
        {"layer": bad},
        ValueError,
        f"layer: got {shown}; needs one that knows its in_shape; write {name}(in_shape=...), "
        "or let network fill it in",
        {"layer": good},
    )
    for bad, shown, name, good in [
        (ReLU(), "ReLU()", "ReLU", ReLU((2,))),
        (LeakyReLU(0.25), "LeakyReLU(0.25)", "LeakyReLU", LeakyReLU(0.25, (2,))),
        (Flatten(), "Flatten()", "Flatten", Flatten((2,))),
    ]
] + [
    (
        call,
        {"layer": bad},
        TypeError,
        f"layer: got {POWER!r}; needs p=1: other powers are neither matrices nor |x|; "
        "use an AvgPool or a MaxPool",
        {"layer": good},
    )
    for call, bad, good in (
        (taken_apart, POWER, dense_pool(LpPool((1, 4), kernel=2, p=1))),
        (listed, POWER.pool, LpPool((1, 4), kernel=2, p=1)),
    )
] + [
    (counterpart, {"layer": bad}, TypeError, f"layer: got {bad!r}; {needs}", {"layer": good})
    for bad, needs, good in [
        (TiedDense(TIES, np.ones(2)), DIRECTLY, TiedDense(CONV, np.ones((2, 1, 3)))),
        (TiedDense(SumPool((1, 4), kernel=2), np.ones(())), DIRECTLY,
         dense_pool(SumPool((1, 4), kernel=2))),
        (HALVES, FIRST, dense_pool(POOL, tie_break="first")),
    ]
]  # fmt: skip

ELEMENTWISE = (
    [
        (leaky, {"slope": bad}, error, f"slope: got {shown}; {FRACTION}", {"slope": good})
        for bad, error, shown, good in [
            (-0.1, ValueError, "-0.1", 0.0),
            (1.5, ValueError, "1.5", 1.0),
            (2, ValueError, "2", 1),
            (nan, ValueError, "nan", 0.5),
            (True, TypeError, "True", 1),
            ("0.1", TypeError, "'0.1'", 0.1),
            (None, TypeError, "None", 0),
            (0.5j, TypeError, "0.5j", 0.5),
        ]
    ]
    + [
        (call, {"x": bad}, error, f"x: got {message}", {"x": [[1.0, 2.0]]})
        for call in (bent, bent_back)
        for bad, error, message in [
            ([[1j, 2]], TypeError, "dtype complex128; needs real numbers, which have a sign"),
            ([[True, False]], TypeError, f"dtype bool; {NUMBERS}; {CONVERT}"),
            ([[1, 2], [3]], ValueError, f"rows of different lengths; {ONE_LENGTH}"),
            ([[1, 2, 3]], ValueError, "shape (1, 3); needs (2,) or (batch, 2), for ReLU((2,))"),
            (1.0, ValueError, "shape (); needs (2,) or (batch, 2), for ReLU((2,))"),
        ]
    ]
    + [
        (
            bent,
            {"layer": LeakyReLU(0.25, (2,)), "x": [1.0]},
            ValueError,
            "x: got shape (1,); needs (2,) or (batch, 2), for LeakyReLU(0.25, in_shape=(2,))",
            {"layer": LeakyReLU(0.25, (2,)), "x": [1.0, 2.0]},
        ),
        (
            bent_back,
            {"dy": [[1j, 2]]},
            TypeError,
            "dy: got dtype complex128; needs real numbers, which have a sign",
            {},
        ),
        (
            bent_back,
            {"dy": [["1", "2"]]},
            TypeError,
            f"dy: got dtype <U1; {NUMBERS}; {CONVERT}",
            {},
        ),
        (
            bent_back,
            {"dy": [1.0, 2.0]},
            ValueError,
            "dy: got shape (2,); needs (1, 2), the shape of x",
            {},
        ),
        (
            bent_back,  # where the layer knows no shape, x says it
            {"layer": ReLU(), "dy": np.ones((1, 3))},
            ValueError,
            "dy: got shape (1, 3); needs (1, 2), the shape of x",
            {"layer": ReLU()},
        ),
        (some_abs, {"axis": -1}, ValueError, f"axis: got -1; {ZERO_UP}", {"axis": 0}),
        (some_abs, {"axis": 0.0}, TypeError, f"axis: got 0.0; {ZERO_UP}", {"axis": 0}),
    ]
)

REAL_FLOATS = "needs real floats; use .astype(float)"
VARIANCE = "needs a variance of at least 0 and a positive sum with eps"
CHANNELS = "needs a tuple (channels, *axes) or (features,), such as (3, 32, 32)"
AN_AXIS = "needs (channels, *axes) or (features,)"
NORMS = [
    (norm, {name: bad}, error, f"{name}: got {message}", {name: np.ones(2)})
    for name in ("mean", "var", "weight", "bias")
    for bad, error, message in [
        (np.ones(3), ValueError, "shape (3,); needs (2,), for ChannelScale((2, 3))"),
        (np.ones((2, 3)), ValueError, "shape (2, 3); needs (2,), for ChannelScale((2, 3))"),
        (1.0, ValueError, "shape (); needs (2,), for ChannelScale((2, 3))"),
        ([1, 1], TypeError, f"dtype int64; {REAL_FLOATS}"),
        ([1j, 1], TypeError, f"dtype complex128; {REAL_FLOATS}"),
        ([True, True], TypeError, f"dtype bool; {NUMBERS}; {CONVERT}"),
        ([1.0, nan], ValueError,
         "nan at (1,); needs finite numbers; remove NaN and infinity first"),
        ([-float("inf"), 1.0], ValueError,
         "-inf at (0,); needs finite numbers; remove NaN and infinity first"),
    ]
] + [
    (norm, {"eps": bad}, TypeError,
     f"eps: got {bad!r}; needs a finite number of at least 0", {"eps": good})
    for bad, good in ((True, 1), ("0", 0), (None, 1e-5), (1j, 1.0))
] + [
    (norm, {"var": [1.0, -0.5]}, ValueError,
     f"var: got -0.5 with eps=0.5; {VARIANCE}", {"var": [1.0, 0.0]}),
    (norm, {"eps": -0.5}, ValueError,
     "eps: got -0.5; needs a finite number of at least 0", {"eps": 0}),
    (norm, {"eps": nan}, ValueError,
     "eps: got nan; needs a finite number of at least 0", {"eps": 0.0}),
    (
        norm,
        {"var": [1.0, 0.0], "eps": 0.0},
        ValueError,
        f"var: got 0.0 with eps=0.0; {VARIANCE}",
        {"var": [1.0, 0.25], "eps": 0.0},
    ),
    (norm, {"in_shape": 2}, TypeError, f"in_shape: got 2; {CHANNELS}", {"in_shape": (2,)}),
]  # fmt: skip

FEATURES = [
    (linear, {name: bad}, error, f"{name}: got {bad!r}; {ONE_UP}", {name: 1})
    for name in ("in_features", "out_features")
    for error, wrong in ((ValueError, (0, -2)), (TypeError, (2.0, True, (2,))))
    for bad in wrong
] + [
    (
        scale,
        {"in_shape": bad},
        TypeError,
        f"in_shape: got {bad!r}; {CHANNELS}",
        {"in_shape": good},
    )
    for bad, good in ((3, (3,)), ("34", [3, 4]), (None, (3, 4)), (np.array(3), np.array([3])))
] + [
    (scale, {"in_shape": ()}, ValueError, f"in_shape: got (); {AN_AXIS}", {"in_shape": (3,)}),
    (scale, {"in_shape": (0,)}, ValueError, f"in_shape: got 0; {ONE_UP}", {"in_shape": (1,)}),
    (scale, {"in_shape": (3, -4)}, ValueError, f"in_shape: got -4; {ONE_UP}", {"in_shape": (3, 4)}),
    (scale, {"in_shape": (3, 4.0)}, TypeError,
     f"in_shape: got 4.0; {ONE_UP}", {"in_shape": (3, 4)}),
    (scale, {"in_shape": (True, 4)}, TypeError,
     f"in_shape: got True; {ONE_UP}", {"in_shape": (1, 4)}),
]  # fmt: skip

NO_PROBABILITY = (
    "for a pool or a network, whose certificate reports what was met and no probability"
)
A_PROBABILITY = "needs a probability between 0 and 1, such as 2**-64"
SHORTER = (
    'use dtype="float64", a smaller batch, a shorter network, or divisors and slopes of few bits; '
    "or check, for floats"
)
BY_A_HUGE_NUMBER = AvgPool(
    (1, 2), kernel=2, divisor_override=2**25
)  # what enters is a multiple of it, and one bit is for halves
CERTIFIED = [
    (
        call,
        {"dtype": bad},
        ValueError,
        f"dtype: got {spelled(bad)!r}; {needs}" + f"; {do}" * (spelled(bad) in INTEGERS),
        {"dtype": good},
    )
    for call, needs, do in ((certified, PRECISIONS, NO_RING), (proven, COMPLEX, OF_CODE))
    for bad, good in (
        ("float16", "float32"),
        ("int64", "float64"),
        (np.int8, np.float32),
        (np.dtype("int8"), np.dtype("float64")),
        (None, "float64"),
    )
    for bad in [bad.name if isinstance(bad, np.dtype) else bad]
] + [
    (call, {name: bad}, error, f"{name}: got {bad!r}; {needs}", {name: good})
    for call in (certified, proven)
    for name, needs, bad, error, good in [
        ("batch", ONE_UP, 0, ValueError, 1),
        ("batch", ONE_UP, 1.0, TypeError, 1),
        ("batch", ONE_UP, True, TypeError, 1),
        ("seed", ZERO_UP, -1, ValueError, 0),
        ("seed", ZERO_UP, 1.0, TypeError, 1),
        ("seed", ZERO_UP, "1", TypeError, None),
    ]
] + [
    (
        proven,
        {"threads": True},
        ValueError,
        "threads: got True; needs an implementation, to try it on",
        {"threads": False},
    ),
    (
        proven,
        {"dtype": "complex128", "method": "exhaustive"},
        ValueError,
        "method: got 'exhaustive'; needs random for complex128: basis vectors tell of real "
        "numbers alone",
        {"dtype": "complex128", "method": "random"},
    ),
    (
        proven,
        {"dtype": "bfloat16", "gradgrad": True, "implementation": RIGHT},
        ValueError,
        "gradgrad: got True in bfloat16; needs float32 or float64",
        {"dtype": "bfloat16", "gradgrad": False, "implementation": RIGHT},
    ),
] + [
    (certified, {"layer": layer, "error": 0.5}, ValueError,
     f"error: got 0.5; needs {2**-64!r} {NO_PROBABILITY}", {})
    for layer in (POOL, NET)
] + [
    (certified, {"layer": layer, "method": bad}, ValueError,
     f"method: got {bad!r}; needs 'auto' {NO_PROBABILITY}", {})
    for layer in (POOL, NET)
    for bad in ("random", "exhaustive", "fast", None)
] + [
    (
        certified,
        {"layer": NET, "implementation": 3},
        TypeError,
        "implementation: got 3; needs an object with forward(x) -> y and "
        "backward(x, dy) -> dx, or a pair of such functions, for a pool or another function of x",
        {"layer": NET},
    ),
    (
        certified,
        {"layer": MANY, "implementation": dense_pool(MANY), "dtype": "bfloat16"},
        ValueError,
        "layer: got sums of 10 bits; needs at most 8, up to where bfloat16 counts exactly; "
        'use dtype="float64", a smaller batch or a smaller layer',
        {"layer": MANY, "implementation": dense_pool(MANY), "dtype": "float32"},
    ),
    (
        certified,
        {"implementation": 3},
        TypeError,
        "implementation: got 3; needs an object with forward(x) -> y and backward(x, dy) -> dx, "
        "or a pair of such functions, for a pool or another function of x",
        {"implementation": dense_pool(POOL)},
    ),
    (
        judged_again,
        {"implementation": None},
        TypeError,
        "implementation: got None; needs Tournament, which this is a verdict on; "
        "call rerun(implementation)",
        {},
    ),
    (
        certified,
        {"layer": BY_A_HUGE_NUMBER, "dtype": "float32"},
        ValueError,
        "layer: got sums of 27 bits; needs at most 24, up to where float32 counts exactly; "
        f"{SHORTER}",
        {"layer": BY_A_HUGE_NUMBER, "dtype": "float64"},
    ),
    (
        certified,
        {"layer": POWER.pool},
        TypeError,
        f"layer: got {POWER!r}; needs p=1: powers are no sums of products",
        {"layer": LpPool((1, 4), kernel=2, p=1)},
    ),
    *(
        (certified, {"layer": network(bad)}, TypeError,
         f"layer: got {bad!r}; {needs}", {"layer": network(good)})
        for bad, needs, good in [
            (Unknown(), f"needs a layer that has a direct form; {OWN_COUNTERPART}", ReLU((1, 4))),
            (TiedDense(TIES, np.ones(2)), DIRECTLY, Dense(np.ones((2, 2)))),
            (HALVES, FIRST, POOL),
        ]
    ),
    *(
        (proven, {"error": bad}, error, f"error: got {bad!r}; {A_PROBABILITY}", {"error": 0.5})
        for error, wrong in ((ValueError, (0, 1, nan)), (TypeError, ("0.5", None)))
        for bad in wrong
    ),
    (
        proven,
        {"method": "fast"},
        ValueError,
        "method: got 'fast'; needs one of 'auto', 'random', 'exhaustive'",
        {"method": "random"},
    ),
    (proven, {"batch": 2**32}, ValueError,
     f"batch: got {2**32}; needs at most 2**31", {"batch": 2}),
    (
        proven,
        {"layer": Conv((1, 400), 1, kernel=1), "method": "exhaustive"},
        ValueError,
        'layer: got 640,023 basis pairs; needs at most 100,000 calls for method="exhaustive"; '
        'use method="random"',
        {"layer": Conv((1, 400), 1, kernel=1), "method": "random"},
    ),
    (drawn_again, {"seed": None}, ValueError,
     "seed: got None; needs the seed the trials were drawn with", {"seed": 1}),
    (
        drawn_again,
        {"trials": 99},
        ValueError,
        "certificate: got 99 trials, {0}, error {1}; "
        "needs {2} trials, {0}, error {1}; was it edited?".format(
            (random := proven(method="random")).ranges, random.error, random.trials
        ),
        {},
    ),
]  # fmt: skip

ITS_OWN = "needs None for a pool, or a network, which has parameters of its own"
REMOVE = "needs finite numbers; remove NaN and infinity first"
CHECKED = [
    (call, {name: bad}, TypeError, f"{name}: got {type(bad).__name__}; {ITS_OWN}", {name: None})
    for call in (checked, pooled)
    for name, bad in (("w", np.ones(3)), ("b", [1.0]))
] + [
    (
        checked,
        {"implementation": Unknown()},
        TypeError,
        "implementation: got Unknown(); needs none for a network; check its layers",
        {"implementation": None},
    ),
    (
        pooled,
        {"implementation": 3},
        TypeError,
        "implementation: got 3; needs an object with forward(x) -> y and backward(x, dy) -> dx, "
        "or a pair of such functions, for a pool or another function of x",
        {"implementation": dense_pool(POOL)},
    ),
] + [
    (call, {name: bad}, ValueError, f"{name}: got {message}", {})
    for call, name, shape, needs in [
        (checked, "x", (3, 1, 4), f"needs (1, 4) or (batch, 1, 4), {FOR_NET}"),
        (checked, "dy", (3, 3), f"needs (3,) or (batch, 3), {FOR_NET}"),
        (pooled,
         "x", (3, 1, 4), "needs (1, 4) or (batch, 1, 4), for Network(1 layers, (1, 4) -> (1, 2))"),
        (pooled,
         "dy", (3, 1, 2), "needs (1, 2) or (batch, 1, 2), for Network(1 layers, (1, 4) -> (1, 2))"),
        (checked_conv, "x", (3, 1, 4), f"needs (1, 4) or (batch, 1, 4), for {CONV!r}"),
        (checked_conv, "dy", (3, 2, 2), f"needs (2, 2) or (batch, 2, 2), for {CONV!r}"),
    ]
    for place in [tuple(n - 1 for n in shape)]
    for last in [np.arange(np.prod(shape)).reshape(shape) == np.prod(shape) - 1]
    for bad, message in [
        (np.where(last, -np.inf, 1), f"-inf at {place}; {REMOVE}"),
        (np.where(last, nan, 1), f"nan at {place}; {REMOVE}"),
        (np.ones((9, 9, 9, 9)), f"shape (9, 9, 9, 9); {needs}"),
        ([[1], [1, 2]], f"rows of different lengths; {ONE_LENGTH}"),
    ]
] + [
    (checked, {"dy": np.ones((2, 3))}, ValueError,
     f"dy: got shape (2, 3); needs (3, 3), {SAME_BATCH}", {}),
    (pooled, {"dy": np.ones((1, 2))}, ValueError,
     f"dy: got shape (1, 2); needs (3, 1, 2), {SAME_BATCH}", {}),
    (checked, {"x": np.ones((3, 1, 4), bool)}, TypeError,
     f"x: got dtype bool; {NUMBERS}; {CONVERT}", {}),
    *(
        (call, {name: np.full(shape, 1j)}, TypeError, f"{name}: got dtype complex128; {REAL}", {})
        for REAL in ["needs real numbers; check complex layers one by one"]
        for call, _, name, shape in [
            (checked, NET, "x", (3, 1, 4)),
            (checked, NET, "dy", (3, 3)),
            (pooled, POOL, "x", (3, 1, 4)),
            (pooled, POOL, "dy", (3, 1, 2)),
        ]
    ),
    *(
        (
            checked,
            {"layer": network(bad), "x": np.ones(good.in_shape), "dy": None},
            TypeError,
            f"layer: got {bad!r}; {needs}",
            {"layer": network(good), "x": np.ones(good.in_shape), "dy": None},
        )
        for bad, needs, good in [
            (Unknown(), f"needs a layer that has a direct form; {OWN_COUNTERPART}", ReLU((1, 4))),
            (TiedDense(TIES, np.ones(2)), DIRECTLY, Dense(np.ones((2, 2)))),
            (HALVES, FIRST, POOL),
        ]
    ),
    *(
        (
            call,
            {"layer": Unknown()},
            TypeError,
            "layer: got Unknown(); needs a layer whose rounding is known, "
            "made of matrices and |x|; register your own with @forward_error.register and "
            "@backward_error.register",
            {"layer": LINE},
        )
        for call in (rounded, rounded_back)
    ),
]  # fmt: skip


class Ready:
    """A layer of one's own, of which one part is changed."""

    in_shape = out_shape = (2,)

    def __init__(self, y=lambda x: x, dx=lambda x, dy: dy, w=None):
        self.forward, self.backward = y, dx
        if w is not None:
            self.w = w

    def __repr__(self):
        return "Ready()"


class Scaled(Ready):
    """One that can be given other weights."""

    w = np.ones(1)

    def with_weights(self, w):
        return self


def forward_of(**changed):
    return network(Ready(**changed)).forward(np.ones((3, 2)))


def backward_of(**changed):
    return network(Ready(**changed)).backward(np.ones((3, 2)), np.ones((3, 2)))


def given(parameters):
    return network(LINE).with_parameters(parameters)


def given_own(layer):
    return network(layer).with_parameters({"0.w": [1.0]})


def absolute(**changed):
    return Abs(
        **{"in_shape": (2, 3), "axis": 1, "start": 0, "stop": 3, "slope_at_zero": 1, **changed}
    )


def saved_to(path):
    with suppress(ValueError):  # a right kind of name, though not a right name
        network(LINE).save(path)


def run_again(**changed):
    return replace(certify(POOL, seed=0), **changed).rerun()


LAYERS = "a tuple of sizes, such as (3, 32, 32)"
OWN = "layer Ready(): got"
EDITED = "needs 12 trials, 5 bits; was it edited?"
OWN_LAYERS = [
    (
        forward_of,
        {"y": lambda x: x[0]},
        ValueError,
        "layer 0, Ready(): got an output of shape (2,); needs (3, 2), its batch and out_shape",
        {},
    ),
    *(
        (
            backward_of,
            {"dx": lambda x, dy, results=results: results(dy)},
            ValueError,
            f"{OWN} {got}, from backward; needs dx of shape (3, 2), or (dx, dw, db), "
            "or (dx, gradients by name)",
            {"dx": lambda x, dy: (dy, None, None)},
        )
        for results, got in [
            (lambda dy: dy[0], "1 results, the first of shape (2,)"),
            (lambda dy: (dy, dy), "2 results, the first of shape (3, 2)"),
            (lambda dy: (dy, dy, dy, dy), "4 results, the first of shape (3, 2)"),
        ]
    ),
    (
        given_own,
        {"layer": Ready(w=np.ones(1))},
        TypeError,
        "layer: got Ready(); needs a layer with with_weights(w, b), to be given new ones",
        {"layer": Scaled()},
    ),
    *(
        (
            given,
            {"parameters": bad},
            TypeError,
            f"parameters: got {type(bad).__name__}; needs a mapping, such as {{'0.w': ...}}",
            {"parameters": {"0.w": [[1.0]], "0.b": [0.0]}},
        )
        for bad in (None, ["0.w", "0.b"])
    ),
    (
        counterpart,
        {"layer": direct_counterpart(dense_pool(POOL))},
        TypeError,
        "layer: got DirectPool(MaxPool((1, 4), kernel=2)); "
        "needs a pool as dense layers: this one is run directly already",
        {"layer": dense_pool(POOL)},
    ),
    (trained, {"net": 3}, TypeError, "net: got 3; needs a Network; make one with network(...)", {}),
    (trained, {"loss": 3}, TypeError, "loss: got 3; needs a function of (o, target)", {}),
    (absolute, {"in_shape": None}, TypeError, f"in_shape: got None; needs {LAYERS}", {}),
    (absolute, {"in_shape": 5}, TypeError, f"in_shape: got 5; needs {LAYERS}, or None", {}),
    (
        absolute,
        {"axis": 2},
        ValueError,
        "axis: got 2; needs 0 to 1, an axis of (2, 3)",
        {"axis": 1},
    ),
    (
        absolute,
        {"start": 4},
        ValueError,
        "start: got 4; needs at most 3, the size of axis 1",
        {"start": 3},
    ),
    (
        absolute,
        {"stop": 4},
        ValueError,
        "stop: got 4; needs at most 3, the size of axis 1",
        {"stop": 2},
    ),
    (
        absolute,
        {"slope_at_zero": 5},
        ValueError,
        "slope_at_zero: got 5; needs 1, -1 or 0",
        {"slope_at_zero": -1},
    ),
    (
        saved_to,
        {"path": 3},
        TypeError,
        "path: got 3; needs the name of a file",
        {"path": Path("no/where.npz")},
    ),
    (
        run_again,
        {"seed": None},
        ValueError,
        "seed: got None; needs the seed the trials were drawn with",
        {"seed": 1},
    ),
    (
        run_again,
        {"bits": 7},
        ValueError,
        f"certificate: got 12 trials, 7 bits; {EDITED}",
        {"bits": 5},
    ),
    (
        run_again,
        {"trials": 1},
        ValueError,
        f"certificate: got 1 trials, 5 bits; {EDITED}",
        {"trials": 12},
    ),
    (
        certified,
        {"layer": network(Dense([[1j, 2.0]]))},
        TypeError,
        "0.w: got dtype complex128; needs real numbers; certify complex layers one by one",
        {"layer": network(Dense([[1.0, 2.0]]))},
    ),
    (checked, {"x": None}, TypeError, "x: got None; needs an array of samples", {}),
    (
        checked,
        {
            "layer": network(Dense(np.array([[1, 1, -1]], np.float32)), ReLU()),
            "x": np.full((2, 3), 3e38, np.float32),
            "dy": np.ones((2, 1), np.float32),
        },
        ValueError,
        "x: got inf in the output of layer 0, DirectDense(Dense(1 outputs, 3 inputs)); "
        "needs numbers that stay finite in float32; scale the data down, or use float64",
        {},
    ),
]


def layer_at(at):
    return network(LINE, ReLU())[at]


AT = "needs an integer from -2 to 1, or a slice; net.parameters has arrays by name"


class NoParameters:
    """A network's look-alike, whose parameters are a plain dict that can be called."""

    def __init__(self):
        self.parameters = type("Other", (dict,), {"__call__": lambda _: None})()


def called(net):
    net.parameters()


def written_to(net):
    net.parameters["0.w"] = 0


NEEDS_A_CALL = "parameters: got a call; needs no (): it is a mapping"
PARAMETERS_OF_A_NETWORK = [
    (called, {"net": network(LINE)}, TypeError,
     f"{NEEDS_A_CALL}; write net.parameters.values() or .items()", {"net": NoParameters()}),
    (written_to, {"net": network(LINE)}, TypeError,
     "parameters: got another; needs the arrays that the network has; "
     "write net.with_parameters(...)", {"net": NoParameters()}),
]  # fmt: skip


ONE_LAYER = [
    (layer_at, {"at": "0.w"}, TypeError, f"layer: got '0.w'; {AT}", {"at": 0}),
    (layer_at, {"at": 2}, IndexError, f"layer: got 2; {AT}", {"at": -2}),
]
REFUSED = [
    *OWN_LAYERS,
    *ONE_LAYER,
    *PARAMETERS_OF_A_NETWORK,
    *LOSSES,
    *STEPS,
    *TRAINING,
    *BUILT,
    *RUN,
    *PARAMETERS,
    *FILES,
    *TAKEN_APART,
    *ELEMENTWISE,
    *NORMS,
    *FEATURES,
    *CERTIFIED,
    *CHECKED,
]


def label(row):
    """Return an id: the call and how its message begins."""
    call, _, _, message, _ = row
    return f"{call.__name__}-{message.split(';')[0]}"[:70]


def refusal(call, bad):
    """Return the error and its message, whole."""
    with pytest.raises((TypeError, ValueError, FloatingPointError, IndexError)) as refused:
        call(**bad)
    # tests/test_foreign_arrays.py has the calls that would fit
    return refused.type, re.sub(r"; write np\.(reshape|moveaxis|full)\(.*$", "", str(refused.value))


@pytest.mark.parametrize(
    ("call", "bad", "error", "message", "good"), REFUSED, ids=map(label, REFUSED)
)
def test_refused_word_for_word_and_the_nearest_right_accepted(call, bad, error, message, good):
    assert refusal(call, bad) == (error, message)
    call(**good)


def is_clear(message):
    """Tell whether a message names something, what came and what is needed."""
    return bool(re.fullmatch(r"[^:]+: got .+; needs .+", message))


def test_every_message_names_something_what_came_and_what_is_needed():
    assert [message for _, _, _, message, _ in REFUSED if not is_clear(message)] == []


@pytest.mark.parametrize(
    "message", ["rate: got -1", "rate: needs 0", "got -1; needs 0", "rate must be at least 0"]
)
def test_an_unclear_message_is_seen(message):
    assert is_clear("rate: got -1; needs 0")
    assert not is_clear(message)


# Every place where these modules complain is met by a row above

# Each with the functions that have no word here: they are the command line's, or another layer's
MODULES = {
    "training.losses": (),
    "training.optimizers": (),
    "training.loop": (),
    "networks.network": (),
    "networks.builder": (),
    "networks.residual": (),
    "layers.dense_form": (),
    "layers.direct_form": (),
    "layers.activations": (),
    "layers.flatten": (),
    "layers._batch_norm": (),
    "geometry.linear": (),
    "_util.files": ("read_array",),
    "certificates._certify": (),
    "certificates.memory_need": ("refuse_too_large",),
    "certificates.layer_certificate": (),
    "certificates.pool_certificate": (),
    "certificates.network_certificate": (),
    "checks.check_layer": (),
    "checks.check_network": (),
    "layers.error_bounds": (),
}


def complaints(source, without=()):
    """Return the first and last line of every call of `complain`."""
    tree = ast.parse(source)
    left = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name in without]
    skipped = {id(node) for function in left for node in ast.walk(function)}
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in skipped
    ]
    return [
        (c.lineno, c.end_lineno)
        for c in calls
        if isinstance(c.func, ast.Name) and c.func.id == "complain"
    ]


def unmet(rows, monkeypatch):
    """Return where a module complains and no row makes it, as module:line."""
    met = Counter()
    modules = {name: importlib.import_module(f"convdense.{name}") for name in MODULES}
    for name, module in modules.items():
        if not hasattr(module, "complain"):
            continue

        def listening(*arguments, name=name, right=module.complain):
            met[name, sys._getframe(1).f_lineno] += 1
            return right(*arguments)

        monkeypatch.setattr(module, "complain", listening)
    for call, bad, *_ in rows:
        refusal(call, bad)
    sources = {
        name: Path(module.__file__).read_text(encoding="utf-8") for name, module in modules.items()
    }
    return [
        f"{name}:{first}"
        for name, source in sources.items()
        for first, last in complaints(source, MODULES[name])
        if not any(met[name, line] for line in range(first, last + 1))
    ]


def test_every_complaint_is_in_the_tables(monkeypatch):
    assert unmet(REFUSED, monkeypatch) == []


def test_a_complaint_that_is_in_no_table_is_seen(monkeypatch):
    rows = [row for row in REFUSED if row[0] is not step]
    missing = unmet(rows, monkeypatch)
    assert {place.partition(":")[0] for place in missing} == {"training.optimizers"}


@pytest.mark.parametrize(
    ("module", "row"),
    [
        ("training.losses", LOSSES[-1]),
        ("training.optimizers", STEPS[0]),
        ("networks.network", PARAMETERS[-1]),
        ("certificates.options", CERTIFIED[0]),
    ],
    ids=["training.losses", "training.optimizers", "networks.network", "exact_network"],
)
def test_a_message_with_another_word_is_seen(module, row, monkeypatch):
    call, bad, error, message, _ = row
    assert refusal(call, bad) == (error, message)
    loaded_module = importlib.import_module(f"convdense.{module}")
    name = "choice" if module == "certificates.options" else "complain"
    right = getattr(loaded_module, name)

    def other(*arguments):
        try:
            said = right(*arguments)
        except ValueError as refused:
            raise ValueError(f"{refused} ") from None
        return f"{said} " if name == "complain" else said

    monkeypatch.setattr(loaded_module, name, other)
    assert refusal(call, bad) != (error, message)
