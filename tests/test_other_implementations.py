"""Code of other layers, for one batch, of lists, of JAX; and what is no affine black box."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convdense as cd
from convdense.certificates import NetworkCertificate
from convdense.direct import pool_loops
from convdense.geometry import ChannelScale
from convdense.layers.activations import Abs
from convdense.rounding.fixed_network import FixedNetwork

pytestmark = pytest.mark.few_calls

CONV = cd.Conv((1, 3, 3), out_channels=1, kernel=2)
SHAPE = (2, 3)


# Layers with weights.


class Matrix:
    """A fully connected layer; of one that is square a transposed matrix has the same shape."""

    def __init__(self, transposed=False):
        self.transposed = transposed

    def forward(self, x, w, b):
        return x @ (w if self.transposed else w.T) + b

    def backward(self, x, w, dy):
        return dy @ w, dy.T @ x, dy.sum(0)


@pytest.mark.parametrize("layer", [cd.Linear(3, 3), cd.tie(cd.Linear(3, 3))], ids=["Linear", "tie"])
def test_linear(layer):
    assert cd.certify(layer, Matrix(), seed=0)
    certificate = cd.certify(layer, Matrix(transposed=True), seed=0)
    assert [f.verdict == "equal" for f in certificate.findings] == [False, True, True, True]


def test_channel_scale_and_locally_connected():
    def scaled(x, w, b):
        return x * w[:, None] + b[:, None]

    assert cd.certify(ChannelScale(SHAPE), scaled, seed=0)
    assert not cd.certify(ChannelScale(SHAPE), lambda x, w, b: x * w[:, None], seed=0)
    local = cd.LocallyConnected((1, 4), 2, 2)
    assert cd.certify(local, partial(cd.convolve, local), seed=0)
    assert not cd.certify(local, lambda x, w, b: cd.convolve(local, x, w[..., ::-1], b), seed=0)


# Functions of x.


@pytest.mark.parametrize("limit", [300.0, 1e4, 1e250])
def test_an_activation_with_a_limit_is_refused(limit):
    mine = (lambda x: np.clip(x, 0, limit), lambda x, dy: dy * (x > 0) * (x < limit))
    certificate = cd.certify(cd.ReLU(SHAPE), mine, seed=0)
    named = [finding.name for finding in certificate.behaviour if finding.refuted]
    assert named[0].startswith("x of 2^" if limit > 511 else "batch")  # which goes to 511


def test_what_does_not_scale_is_tried_at_no_magnitudes_and_says_so():
    net = cd.network(CONV, cd.ReLU(CONV.out_shape))
    dense = (net.forward, net.backward)
    certificate = cd.certify(net, (net.forward, lambda x, dy: net.backward(x, dy)[0]), seed=0)
    names = [finding.name for finding in certificate.require().behaviour]
    has_bias = any(name.startswith("x of 2^") for name in names)
    assert has_bias is not ("magnitudes" in str(certificate)), dense


def relu(x):
    return np.maximum(x, 0)


def leaky(x, slope=0.25):
    return np.where(x > 0, x, slope * x)


OF_X = {  # layer, forward, backward, a wrong forward or backward
    "ReLU": (cd.ReLU(SHAPE), relu, lambda x, dy: dy * (x > 0), (relu, lambda x, dy: dy * (x >= 0))),
    "LeakyReLU": (
        cd.LeakyReLU(0.25, SHAPE),
        leaky,
        lambda x, dy: dy * np.where(x > 0, 1, 0.25),
        (leaky, lambda x, dy: dy * np.where(x >= 0, 1, 0.25)),
    ),
    "Abs": (
        Abs(SHAPE, axis=0, start=0, stop=2),
        np.abs,
        lambda x, dy: dy * np.where(x >= 0, 1, -1),
        (np.abs, lambda x, dy: dy * np.sign(x)),
    ),
    "truncated": (
        cd.ReLU(SHAPE), relu, lambda x, dy: dy * (x > 0), (lambda x: np.trunc(relu(x)), None)
    ),
    "Flatten": (
        cd.Flatten((2, 3)),
        lambda x: x.reshape(len(x), -1),
        lambda x, dy: dy.reshape(x.shape),
        (lambda x: x.transpose(0, 2, 1).reshape(len(x), -1), None),
    ),
    "average": (
        cd.dense_pool(cd.AvgPool((1, 4), 2)),
        lambda x: x.reshape(-1, 1, 2, 2).mean(-1),
        lambda x, dy: np.repeat(dy, 2, -1) / 2,
        (lambda x: x.reshape(-1, 1, 2, 2).mean(-1), lambda x, dy: np.repeat(dy, 2, -1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_X)
def test_functions_of_x(name):
    dtype = "float32" if name == "ReLU" else "float64"
    layer, forward, backward, (wrong, wrong_backward) = OF_X[name]
    certificate = cd.certify(layer, (forward, backward), dtype=dtype, seed=0)
    assert certificate, str(certificate)
    assert certificate.exact
    assert certificate.bits > 0
    assert certificate.reference == "direct counterpart"
    bad = cd.certify(layer, (wrong, wrong_backward or backward), dtype=dtype, seed=0)
    assert bad.refuted
    read = NetworkCertificate.from_dict(json.loads(json.dumps(certificate.to_dict())))
    assert (read.findings, read.reference) == (certificate.findings, certificate.reference)
    if name == "Abs":
        assert read.rerun((forward, backward)).findings == certificate.findings


MEAN, VAR = np.array([0.5, -3.0]), np.array([1.5, 0.2])
WEIGHT, BIAS = np.array([2.0, -0.7]), np.array([0.1, 30.0])


def normalised(x, var, n=None):
    var = var if n is None else var * n / (n - 1)
    scale = WEIGHT / np.sqrt(var + 1e-5)
    return (x - MEAN[:, None]) * scale[:, None] + BIAS[:, None]


def test_batch_norm_with_fixed_statistics():
    layer = cd.batch_norm(SHAPE, MEAN, VAR, WEIGHT, BIAS)
    certificate = cd.certify(layer, lambda x: normalised(x, VAR), seed=0)
    assert certificate
    assert certificate.forward_alone
    assert certificate["y"].verdict == "within rounding"
    assert "sums round: each entry within a bound that is carried through the layers" in str(
        certificate
    )
    assert certificate.bits == 0
    for n in (10, 10**9):  # the variance of n numbers divided by n - 1
        assert cd.certify(layer, lambda x, n=n: normalised(x, VAR, n), seed=0).refuted
    scale = (WEIGHT / np.sqrt(VAR + 1e-5))[:, None]
    assert cd.certify(layer, (lambda x: normalised(x, VAR), lambda x, dy: dy * scale), seed=0)
    assert cd.certify(layer, (lambda x: normalised(x, VAR), lambda x, dy: dy / scale)).refuted


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_batch_norm_in_its_own_words_is_never_blamed(seed):
    rng = np.random.default_rng(seed)
    mean, weight, bias = rng.normal(size=(3, 2)) * 10.0 ** rng.integers(-2, 3, (3, 2))
    var = rng.exponential(size=2)
    layer = cd.batch_norm(SHAPE, mean, var, weight, bias)
    # its bias is rounded: what that loses is not small where it is the difference of larger ones
    scaled = mean * layer.w
    assume((abs(bias) + abs(scaled) <= 8 * abs(layer.b)).all())

    def own(x):
        centred = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]
        return centred * weight[:, None] + bias[:, None]

    held = FixedNetwork(cd.network(layer))
    x = rng.normal(size=(4, *SHAPE))
    bound = held.bound((x, x, None, x), "y", "float64")
    assert (np.abs(own(x) - layer.forward(x)) <= bound).all()


def net(seed=0, whole=False):
    layers = cd.Conv((1, 3, 3), 2, 2), cd.ReLU(), cd.MaxPool((2, 2, 2), 2), cd.Flatten()
    made = cd.network(*layers, cd.Linear(2, 3), seed=seed)
    if whole:
        made = made.with_parameters({k: np.rint(3 * v) for k, v in made.parameters.items()})
    return made


class Own:
    """A network as one would write it: layer after layer."""

    def __init__(self, layers):
        self.layers = layers

    def _trace(self, x):
        values = [x]
        for layer in self.layers:
            values.append(layer.forward(values[-1]))
        return values

    def forward(self, x):
        return self._trace(x)[-1]

    def backward(self, x, dy):
        for layer, entering in zip(self.layers[::-1], self._trace(x)[-2::-1], strict=True):
            result = layer.backward(entering, dy)
            dy = result[0] if isinstance(result, tuple) else result
        return dy


@pytest.mark.parametrize("whole", [True, False])
def test_a_network_with_its_own_parameters(whole):
    held = net(whole=whole)
    certificate = cd.certify(held, Own(held.layers), seed=0)
    assert certificate, str(certificate)
    assert (certificate.bits > 0) == whole
    assert ("every sum exact" in str(certificate)) == whole
    assert cd.certify(held, Own(held.layers).forward, seed=0).forward_alone
    swapped = [held.layers[i] for i in (0, 2, 1, 3, 4)]  # a max and a ReLU may change places
    swapped[1:3] = cd.dense_pool(cd.MaxPool((2, 2, 2), 2)), cd.ReLU()
    by_hand = cd.certify(held, Own(swapped).forward, seed=0)
    assert by_hand
    average = [*held.layers[:2], cd.dense_pool(cd.AvgPool((2, 2, 2), 2)), *held.layers[3:]]
    assert cd.certify(held, Own(average), seed=0).refuted
    assert cd.certify(held, Own(net(1).layers), seed=0).refuted


def test_swapped_layers():
    first, second = cd.Conv((2, 4), 2, 1), cd.Conv((2, 4), 2, 3, padding=1)
    held = cd.network(first, second, seed=0)
    one, two = held.layers
    assert cd.certify(held, Own([one, two]), seed=0)
    assert cd.certify(held, Own([two, one]), seed=0).refuted


def test_what_has_no_shape_or_no_direct_form_is_refused():
    with pytest.raises(ValueError, match=r"ReLU\(in_shape=...\)"):
        cd.certify(cd.ReLU(), relu)
    with pytest.raises(TypeError, match="tie_break"):
        cd.certify(cd.dense_pool(cd.MaxPool((1, 4), 2), "split"), relu)


# One batch size.


def of_batch(n, forward):
    def only(x, *rest):
        if len(x) != n:
            raise ValueError(f"a batch of {n}")
        return forward(x, *rest)

    return only


@pytest.mark.parametrize("n", [1, 2, 8])
def test_code_for_one_batch_is_judged_there(n):
    mine = of_batch(n, partial(cd.convolve, CONV))
    certificate = cd.certify(CONV, mine, seed=0)
    assert certificate, str(certificate)
    assert (certificate.batch, certificate.method) == (n, "random")
    (refused,) = (f for f in certificate.behaviour if f.verdict == "refused")
    assert refused.note == f"y: ValueError: a batch of {n}"
    assert [m.name for m in certificate.precision] == ["y"]
    assert certificate.rerun(mine) == certificate
    assert not cd.certify(CONV, of_batch(n, lambda x, w, b: cd.convolve(CONV, x, -w, b)), seed=0)


def test_the_batch_asked_for_is_the_only_one():
    mine = of_batch(3, partial(cd.convolve, CONV))
    assert cd.certify(CONV, mine, batch=3, seed=0)
    assert cd.certify(CONV, mine, batch=5, seed=0)["y"].verdict == "raised"
    assert cd.certify(CONV, mine, seed=0)["y"].note == "ValueError: a batch of 3"
    pair = mine, of_batch(3, partial(cd.convolve_backward, CONV))
    assert cd.certify(CONV, pair, batch=3, seed=0)


def test_pools_and_functions_for_one_sample():
    pool = cd.MaxPool((1, 4), 2)
    certificate = cd.certify(pool, of_batch(1, partial(pool_loops.forward, pool)), seed=0)
    assert certificate
    assert certificate.batch == 1
    assert cd.certify(cd.ReLU(SHAPE), of_batch(1, relu), seed=0).batch == 1


# Lists, tuples, narrow results.


def in_lists(x, w, b):
    return cd.convolve(CONV, x, w, b).tolist()


def test_results_in_lists_are_taken():
    def gradients(x, w, dy):
        return [array.tolist() for array in cd.convolve_backward(CONV, x, w, dy)]

    certificate = cd.certify(CONV, (in_lists, gradients), seed=0)
    assert certificate, str(certificate)


def test_a_tuple_is_named():
    y = partial(cd.convolve, CONV)
    found = cd.certify(CONV, lambda *a: (y(*a), 3), seed=0)["y"]
    assert found.note.endswith("; a tuple of 2 came, not y alone")
    found = cd.certify(CONV, lambda *a: (y(*a),), seed=0)["y"]
    assert found.verdict == "wrong shape"
    assert found.note.endswith("; a tuple of 1 came, not y alone")
    assert "tuple" not in cd.certify(CONV, lambda *a: y(*a)[:1], seed=0)["y"].note


class Narrow:
    """An array of JAX without x64."""

    __module__ = "jaxlib._jax"

    def __init__(self, array):
        self.array = np.asarray(array, np.float32)

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_jax_without_x64_is_told_what_to_write():
    def narrow(x, w, b):
        return Narrow(cd.convolve(CONV, x, w, b))

    note = cd.certify(CONV, narrow, seed=0)["y"].note
    assert note == (
        'float32 where float64 is needed; in JAX write dtype="float32", '
        'or first jax.config.update("jax_enable_x64", True)'
    )
    assert cd.certify(CONV, narrow, dtype="float32", seed=0)
    plain = cd.certify(CONV, lambda *a: narrow(*a).array, seed=0)["y"].note
    assert plain.startswith("float32 where float64 is needed")


def test_half_of_numpy_says_nothing_of_jax(monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "jax", raising=False)
    note = cd.certify(CONV, lambda x, w, b: cd.convolve(CONV, x, w, b).astype(np.float32))["y"].note
    assert note == "float32 where float64 is needed"


# recover.

ROUNDING = {
    "trunc": np.trunc,
    "rint": np.rint,
    "floor": np.floor,
    "hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "softshrink a little": lambda x: np.where(np.abs(x) > 1e-3, x, 0),
    "clip": lambda x: np.clip(x, -100, 100),
    "fixed point": lambda x: np.rint(x * 16) / 16,
}


@pytest.mark.parametrize("name", ROUNDING)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_affine_on_integers_alone_is_not_recovered(name, dtype):
    assert not cd.recover(ROUNDING[name], (2, 3), seed=0, dtype=dtype)


@given(st.integers(0, 10**6), st.sampled_from(["float64", "float32"]))
@settings(max_examples=25, deadline=None)
def test_what_is_affine_is_recovered(seed, dtype):
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=CONV.weight_shape), rng.normal(size=1) * 10.0 ** rng.integers(-3, 3)
    layer = cd.TiedDense(CONV, w.astype(dtype), b.astype(dtype))
    found = cd.recover(layer.forward, CONV.in_shape, CONV, dtype=dtype, seed=seed)
    assert found, str(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_a_rounding_that_is_none(value):
    with pytest.raises(ValueError, match=r"^rounding: got .*; needs a finite number of at least 0"):
        cd.recover(lambda x: x, (2, 3), rounding=value)
