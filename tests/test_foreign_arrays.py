"""What newcomers hand in as arrays: taken, or refused with what to write in its place."""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

import convdense as cd
from convdense._util.arguments import as_array, numeric
from convdense._util.layout_hints import how_to_fit

CONV = cd.Conv((2, 5, 6), out_channels=3, kernel=(3, 2))
X = np.arange(60.0).reshape(CONV.in_shape)
W = np.arange(36.0).reshape(CONV.weight_shape)
DY = np.ones(CONV.out_shape)
B = np.arange(3.0)
NUMBERS = "needs an array of numbers"


@dataclass
class Held:
    """What pandas, xarray, dask and JAX have in common: an object that NumPy asks for its array."""

    values: np.ndarray

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Refuses(Held):
    """An object that answers NumPy in words of its own library, as CuPy's and traced arrays do."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


class Traced(Refuses):
    """As those of JAX, which know their shape and have no numbers."""

    aval = "float32[2]"


def torch_kinds():
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(W)
    return {
        "requires grad": w.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(w.clone()),
        "bfloat16": w.bfloat16(),
        "parameter of bfloat16": torch.nn.Parameter(w.bfloat16()),
        "not resolved": torch.imag(torch.complex(w, -w).conj()),
        "strided": w.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    }


TORCH_KINDS = (
    "requires grad",
    "parameter",
    "bfloat16",
    "parameter of bfloat16",
    "not resolved",
    "strided",
)


@pytest.mark.parametrize("kind", TORCH_KINDS)
def test_tensors_are_taken_for_their_numbers(kind):
    tensor = torch_kinds()[kind]
    taken = numeric(tensor, "w")
    assert type(taken) is np.ndarray
    assert np.array_equal(taken, W)  # 0 to 35 are exact in bfloat16
    assert taken.dtype == (np.float32 if "bfloat16" in kind else np.float64)
    y = cd.convolve(CONV, X, tensor)
    assert np.array_equal(y, cd.TiedDense(CONV, tensor).forward(X))
    assert np.array_equal(cd.conv_matrix(tensor, CONV.in_shape) @ X.ravel(), y.ravel())
    assert bool(cd.check(CONV, X, tensor, dy=DY))


def test_a_tensor_that_is_yet_to_be_conjugated_is_conjugated():
    torch = pytest.importorskip("torch")
    z = W + 1j * W[::-1]
    assert np.array_equal(numeric(torch.from_numpy(z).conj(), "w"), z.conj())


def test_bfloat16_keeps_every_bit_in_float32():
    torch = pytest.importorskip("torch")
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    bits = as_array(every, "x").view(np.uint32)
    # its 16 bits are the upper half of those of a float32: a second way, without PyTorch's cast
    assert np.array_equal(bits[~np.isnan(as_array(every, "x"))] >> 16, _numbers_of_16_bits())
    assert not (bits & 0xFFFF).any()


def _numbers_of_16_bits():
    patterns = np.arange(2**16, dtype=np.uint32)
    return patterns[~np.isnan((patterns << 16).view(np.float32))]


def test_every_entry_takes_tensors_that_require_grad():
    torch = pytest.importorskip("torch")
    x, w, b, dy = (torch.tensor(a, requires_grad=True) for a in (X, W, B, DY))
    right = cd.convolve_backward(CONV, X, W, DY)
    layer = cd.TiedDense(CONV, w, b)
    for got in (layer.backward(x, dy), cd.convolve_backward(CONV, x, w, dy)):
        assert all(map(np.array_equal, got, right))
    assert np.array_equal(layer.gradient_steps(x, dy).tied, right.dw)
    assert np.array_equal(cd.tie(CONV).gradient(x, dy), right.dw)
    assert np.array_equal(cd.convolve(CONV, x, w, b), layer.forward(X))
    net = cd.network(layer, cd.ReLU(), cd.MaxPool(CONV.out_shape, 2))
    assert np.array_equal(net.forward(x), net.forward(X))
    assert bool(cd.check(CONV, x, w, b, dy))
    assert x.grad is None


@pytest.mark.parametrize(
    "value",
    [
        Held(W),
        np.ones((1, 2)).view(np.matrix),
        np.ma.masked_array(W),
        np.ma.masked_array(W, W > 99),
    ],
    ids=["__array__", "matrix", "masked array", "nothing masked"],
)
def test_what_gives_its_array_is_taken(value):
    taken = numeric(value, "w")
    assert type(taken) is np.ndarray
    assert np.array_equal(taken, np.asarray(value))


def test_a_dtype_that_is_called_bfloat16_comes_in_float32(monkeypatch):
    converted = SimpleNamespace(
        dtype=SimpleNamespace(name="bfloat16", kind="V"), astype=lambda dtype: np.ones(2, dtype)
    )
    monkeypatch.setattr("convdense._util.foreign_objects.np.asarray", lambda _: converted)
    from convdense._util.foreign_objects import to_numpy

    assert to_numpy(3).dtype == np.float32


def message(call, *arguments, **named):
    with pytest.raises((TypeError, ValueError)) as refused:
        call(*arguments, **named)
    return str(refused.value)


REFUSED = [
    (None, "w: got None; needs an array; w was forgotten"),
    (sp.csr_array(W[0, 0]), f"w: got csr_array; {NUMBERS}; write w.toarray()"),
    (sp.coo_matrix(W[0, 0]), f"w: got coo_matrix; {NUMBERS}; write w.toarray()"),
    (np.ma.masked_array(W, W > 3), "w: got masked cells; needs a number in each; use .filled(0)"),
    (
        Refuses(TypeError("Implicit conversion is not allowed; use .get()")),
        f"w: got Refuses; {NUMBERS}; convert it to a NumPy array of numbers first",
    ),
    (
        Refuses(ValueError("tracer")),
        f"w: got Refuses; {NUMBERS}; convert it to a NumPy array of numbers first",
    ),
    (
        Traced(TypeError("The numpy.ndarray conversion method was called on a traced array")),
        f"w: got Traced; {NUMBERS}; call it outside of jit, grad and vmap",
    ),
    ({1, 2}, f"w: got set; {NUMBERS}; convert it to a NumPy array of numbers first"),
    (
        SimpleNamespace(data_vars={"a": 1}),
        f'w: got SimpleNamespace; {NUMBERS}; write w["name"], one of its variables',
    ),
    ([[1, 2], [3]], "w: got rows of different lengths; needs an array, all rows of one length"),
    (
        W > 3,
        "w: got dtype bool; needs an array of integers, float32, float64, complex64 or "
        "complex128; convert it first, e.g. with .astype(float)",
    ),
    (
        10**30,
        "w: got dtype object; needs an array of integers, float32, float64, complex64 or "
        "complex128; convert it first, e.g. with .astype(float)",
    ),
]


@pytest.mark.parametrize(("value", "text"), REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_what_is_no_array_is_refused_with_what_to_write(value, text):
    assert message(numeric, value, "w") == text
    assert message(cd.TiedDense, CONV, value) == text
    assert message(cd.convolve, CONV, X, value) == text


def test_what_torch_cannot_give_is_refused_in_our_words():
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(W)
    first = "convert it to a NumPy array of numbers first"
    assert message(numeric, w.to_sparse(), "w") == f"w: got Tensor; {NUMBERS}; write w.to_dense()"
    assert message(numeric, w.to("meta"), "w") == f"w: got Tensor; {NUMBERS}; {first}"
    listed = [torch.tensor(1.0, requires_grad=True)]
    assert message(numeric, listed, "w") == f"w: got list; {NUMBERS}; {first}"
    module = torch.nn.Conv2d(2, 3, (3, 2))
    numbers = f"w: got Conv2d; {NUMBERS}; hand in its numbers, such as module.weight"
    assert message(cd.conv_matrix, module, CONV.in_shape) == numbers
    assert np.array_equal(numeric(w.to_sparse().to_dense(), "w"), W)
    assert cd.conv_matrix(module.weight, CONV.in_shape).shape == (45, 60)


@pytest.mark.parametrize(("library", "make"), [
    ("jax", lambda m: m.numpy.asarray(W)),
    ("jax", lambda m: m.numpy.asarray(W, m.numpy.bfloat16)),
    ("ml_dtypes", lambda m: W.astype(m.bfloat16)),
    ("xarray", lambda m: m.DataArray(W)),
    ("dask.array", lambda m: m.asarray(W)),
])  # fmt: skip
def test_the_real_libraries(library, make):
    module = pytest.importorskip(library)
    value = make(module)
    assert np.array_equal(cd.convolve(CONV, X, value), cd.convolve(CONV, X, W))


def test_the_real_pandas():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame([[1, 2, 0], [0, 1, 2]])
    layer = cd.Dense(table, b=pandas.Series([10, 20]))
    assert layer.forward(pandas.Series([1, 2, 3])).tolist() == [15, 28]
    assert "dtype object" in message(cd.Dense, table.astype(str).astype(object))


# The call that brings an array into our layout.

HINTS = [
    ("w", (3, 2, 2, 3), "write np.moveaxis(w, (-1, -2), (0, 1)): channels come first here"),
    ("w", (3, 3, 2, 2), "write np.moveaxis(w, -1, 1): channels come first here"),
    ("w", (2, 3, 3, 2), "write np.moveaxis(w, 0, 1): out and in come first here"),
    ("w", (1, 3, 2, 3, 2), "write np.reshape(w, (3, 2, 3, 2))"),
    ("w", (36,), "write np.reshape(w, (3, 2, 3, 2))"),
    ("w", (3, 2, 3), ""),
    ("w", (4, 2, 3, 2), ""),
    ("b", (), "write np.full((3,), b)"),
    ("b", (3, 1, 1), "write np.reshape(b, (3,))"),
    ("b", (4,), ""),
    ("x", (5, 6, 2), "write np.moveaxis(x, -1, 0): channels come first here"),
    ("x", (4, 5, 6, 2), "write np.moveaxis(x, -1, 1): channels come first here"),
    ("x", (4, 3, 2, 5, 6), "write np.reshape(x, (-1, 2, 5, 6))"),
    ("x", (4, 60), "write np.reshape(x, (-1, 2, 5, 6))"),
    ("x", (60,), "write np.reshape(x, (2, 5, 6))"),
    ("x", (5, 6), ""),
    ("x", (3, 5, 6), ""),
    ("dy", (3, 5, 3), "write np.moveaxis(dy, -1, 0): channels come first here"),
    ("dy", (2, 5, 6), ""),
]  # fmt: skip
NEEDED = {"x": CONV.in_shape, "dy": CONV.out_shape, "w": CONV.weight_shape, "b": CONV.bias_shape}


@pytest.mark.parametrize(("name", "shape", "hint"), HINTS)
def test_a_wrong_layout_is_answered_with_the_call_that_fits(name, shape, hint):
    right = {"x": X, "w": W, "b": B, "dy": DY}
    call = cd.convolve_backward if name == "dy" else cd.convolve
    operands = {k: v for k, v in right.items() if k != ("b" if name == "dy" else "dy")}
    given = np.zeros(shape)
    said = message(call, CONV, **{**operands, name: given})
    *_, last = said.split("; ")
    assert (last if last.startswith("write") else "") == hint
    if hint:  # what it says is tried: it gives the shape that is needed
        code = re.fullmatch(r"write (np\..*\))(: .*)?", hint)[1]
        fitted = eval(code, {"np": np, name: given})
        call(CONV, **{**operands, name: fitted})


def test_the_numbers_of_a_kernel_of_keras_come_into_our_order():
    keras = np.empty((3, 2, 2, 3))  # (*kernel, in, out)
    for o, i, r, c in np.ndindex(W.shape):
        keras[r, c, i, o] = W[o, i, r, c]
    hint = message(cd.TiedDense, CONV, keras).split("; write ")[1].split(": ")[0]
    assert np.array_equal(eval(hint, {"np": np, "w": keras}), W)


def test_a_missing_channel_axis_is_put_in():
    assert how_to_fit("x", (5, 6), (1, 5, 6), batch=True) == "write np.reshape(x, (1, 5, 6))"
    assert how_to_fit("x", (9, 5, 6), (1, 5, 6), batch=True) == "write np.reshape(x, (-1, 1, 5, 6))"
    assert how_to_fit("w", (3, 2), (1, 1, 3, 2)) == "write np.reshape(w, (1, 1, 3, 2))"


# What a user's code returns.


class Returns:
    """A right or wrong implementation whose results are tensors."""

    def __init__(self, wrapped):
        self.wrapped = wrapped

    def forward(self, x, w, b):
        return self.wrapped(cd.convolve(CONV, x, w, b))

    def backward(self, x, w, dy):
        return tuple(map(self.wrapped, cd.convolve_backward(CONV, x, w, dy)))


def test_results_that_require_grad_are_judged():
    torch = pytest.importorskip("torch")
    right = Returns(lambda a: torch.tensor(a, requires_grad=True))
    assert bool(cd.certify(CONV, right))
    assert bool(cd.check(CONV, X, W, B, DY, implementation=right))
    assert bool(cd.diagnose(CONV, right, seed=0))
    wrong = Returns(lambda a: torch.tensor(-a, requires_grad=True))
    assert not cd.certify(CONV, wrong)
    assert str(cd.diagnose(CONV, wrong, seed=0)).splitlines()[0] == "y: the sign is turned"


# Layers of other frameworks.

MODULE = (
    "write layer_of(module, in_shape), or for a verdict certify_module(module, in_shape) "
    "or certify_model(model, x), of convdense.adapters.torch"
)
CODE = "write implementation(module), of convdense.adapters.torch"


def layer_calls(layer):
    plots = cd.plots
    return [
        lambda: cd.certify(layer),
        lambda: cd.tie(layer),
        lambda: cd.TiedDense(layer, W),
        lambda: cd.check(layer, X, W),
        lambda: cd.diagnose(layer, Returns(np.asarray), seed=0),
        lambda: cd.equations(layer),
        lambda: cd.convolve(layer, X, W),
        lambda: cd.dense_pool(layer),
        lambda: cd.network(layer),
        lambda: cd.network(cd.Residual(layer)),
        lambda: plots.matrix(layer),
    ]


def test_a_module_as_a_layer_is_answered_with_the_call_that_reads_it():
    nn = pytest.importorskip("torch").nn
    for module in (nn.Conv2d(2, 3, (3, 2)), nn.MaxPool2d(2), nn.Sequential(nn.ReLU(), nn.ReLU())):
        for call in layer_calls(module):
            said = message(call)
            assert said.endswith(f"; {MODULE}"), said
            assert "\n" not in said
    from convdense.adapters.torch import implementation, layer_of

    module = nn.Conv2d(2, 3, (3, 2))
    assert layer_of(module, CONV.in_shape) == CONV
    for call in (cd.certify, cd.diagnose):
        assert message(call, CONV, module).endswith(f"; {CODE}")
        assert bool(call(CONV, implementation(module)))
    pool = cd.MaxPool((1, 4, 4), 2)
    assert message(cd.certify, pool, nn.MaxPool2d(2)).endswith(f"; {CODE}")
    assert message(cd.check, CONV, X, W, implementation=module).endswith(f"; {CODE}")


@pytest.mark.parametrize("module", ["keras.src.layers", "flax.linen.linear", "keras"])
def test_a_layer_of_keras_or_flax_is_answered_too(module):
    layer = type("Conv2D", (), {"__module__": module})()
    by_hand = "; write Conv(in_shape, out_channels, kernel) or what else it is, by hand"
    for call in layer_calls(layer):
        assert message(call).endswith(by_hand)
    assert message(cd.certify, CONV, layer).endswith("; call it in two such functions of your own")
    assert message(numeric, layer, "w") == (
        f"w: got Conv2D; {NUMBERS}; hand in its kernel, np.moveaxis(kernel, (-1, -2), (0, 1)), "
        "as a NumPy array"
    )


@pytest.mark.parametrize("module", ["keras_of_mine", "mine.keras", "torch", "flaxen"])
def test_a_class_of_another_module_is_no_layer_of_a_framework(module):
    layer = type("Conv2D", (), {"__module__": module})()
    assert message(cd.tie, layer).endswith("; register your own kind with @convdense.tie.register")
