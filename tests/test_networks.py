"""Whole networks: dense layers and |x|, their list, and the direct counterpart are one."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import seed as first_seed
from hypothesis import strategies as st

import convdense as cd
from convdense import (
    AvgPool,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    LeakyReLU,
    Linear,
    LocallyConnected,
    LpPool,
    MaxPool,
    MinPool,
    ReLU,
    Residual,
    SumPool,
    TiedDense,
    batch_norm,
    network,
)
from convdense._util.float_formats import gamma
from convdense.certificates.network_certificate import NetworkCertificate
from convdense.direct import pool as direct_pool
from convdense.direct import pool_loops
from convdense.geometry import ChannelScale, layer_from_dict
from convdense.layers.activations import Abs
from convdense.layers.dense_form import Absolute, Affine, Divide, dense_steps
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import magnitudes
from convdense.layers.plain_form import layer_to_plain, plain_to_layer
from convdense.rounding.magnitude_sums import bit_budget
from tests.test_pooling import operands, pools
from tests.thinned import examples

SEEN = Counter()


# Random small networks


def window(draw, n):
    return draw(st.integers(1, min(3, n)))


def conv_on(draw, shape):
    kernel = tuple(window(draw, n) for n in shape[1:])
    return Conv(
        shape,
        draw(st.integers(1, 3)),
        kernel,
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 1)),
    )


def local_on(draw, shape):
    return LocallyConnected(
        shape, draw(st.integers(1, 2)), tuple(window(draw, n) for n in shape[1:])
    )


def transpose_on(draw, shape):
    return ConvTranspose(
        shape, draw(st.integers(1, 2)), draw(st.integers(1, 2)), stride=draw(st.integers(1, 2))
    )


def residual_on(draw, shape):
    conv = Conv(shape, shape[0], 3, padding="same")
    return Residual(conv, draw(st.sampled_from([ReLU(), LeakyReLU(0.5)])), conv)


def pool_on(draw, shape):
    kind = draw(st.sampled_from([MaxPool, MaxPool, MinPool, AvgPool, SumPool]))
    if draw(st.booleans()):
        return kind(shape, output=tuple(draw(st.integers(1, n)) for n in shape[1:]))
    return kind(
        shape,
        tuple(window(draw, n) for n in shape[1:]),
        stride=draw(st.integers(1, 2)),
        ceil_mode=True,
    )


def ceil_safe(make):
    def tried(draw, shape):
        try:
            return make(draw, shape)
        except ValueError:  # a window without a cell
            return ReLU(shape)

    return tried


CHOICES = {
    "conv": conv_on,
    "local": local_on,
    "transpose": transpose_on,
    "residual": residual_on,
    "pool": ceil_safe(pool_on),
    "relu": lambda draw, shape: ReLU(shape),
    "leaky": lambda draw, shape: LeakyReLU(draw(st.sampled_from([0, 0.25, 0.5, 1])), shape),
    "scale": lambda draw, shape: ChannelScale(shape),
    "abs": lambda draw, shape: Abs(shape, 0, 0, shape[0], draw(st.sampled_from([-1, 0, 1]))),
    "power": lambda draw, shape: LpPool(shape, output=1, p=1),
}


@st.composite
def networks(draw, kind=None):
    """Draw a network of up to four layers, one of them of this kind if one is given."""
    shape = (
        draw(st.integers(1, 2)),
        *(draw(st.integers(2, 5)) for _ in range(draw(st.sampled_from([1, 2, 2])))),
    )
    layers, names = [], []
    n_layers = draw(st.integers(1, 4))
    place = draw(st.integers(0, n_layers - 1))
    for i in range(n_layers):
        any_kind = st.sampled_from([*sorted(CHOICES), "residual", "residual"])
        name = kind if kind and i == place else draw(any_kind)
        layer = CHOICES[name](draw, shape)
        layers.append(layer)
        names.append(name)
        shape = network(*layers, seed=0).out_shape
    if draw(st.booleans()):
        layers += [Flatten(), Linear(int(np.prod(shape)), draw(st.integers(1, 3)))]
        names.append("linear")
    SEEN.update(names)
    return network(*layers, seed=draw(st.integers(0, 9)))


def certify_random_networks(kind, number):
    """Certify 16 networks that have a layer of this kind, by default 8."""

    @first_seed(number)
    @settings(max_examples=examples(16), database=None, deadline=None)
    @given(networks(kind), st.integers(0, 99), st.sampled_from(["float64", "float64", "float32"]))
    def random_networks(net, seed, dtype):
        try:
            certificate = cd.certify(net, dtype=dtype, seed=seed)
        except ValueError as refusal:
            assert "bits" in str(refusal)  # noqa: PT017  (too long for exact sums: said so)
            SEEN["refused"] += 1
            return
        assert certificate.require().exact
        assert certificate.bits <= {"float64": 53, "float32": 24}[dtype]
        SEEN["exact"] += 1

    random_networks()


@pytest.mark.claim("network", "relu", "max", "average")
def test_random_small_networks_are_exact_on_integers_and_every_kind_of_layer_was_drawn():
    SEEN.clear()
    for number, kind in enumerate(CHOICES):
        certify_random_networks(kind, number)
    assert {name: SEEN[name] for name in (*CHOICES, "linear") if SEEN[name] < 8} == {}
    assert SEEN["exact"] > 5 * SEEN["refused"]


@pytest.mark.claim("network")
@settings(max_examples=examples(40), deadline=None, derandomize=True)
@given(networks(), st.integers(0, 99), st.sampled_from(["float64", "float32"]))
def test_random_small_networks_stay_within_their_bounds_on_floats(net, seed, dtype):
    rng = np.random.default_rng(seed)
    net = net.with_parameters(
        {name: rng.normal(size=a.shape).astype(dtype) for name, a in net.parameters.items()}
    )
    x, dy = (rng.normal(size=(2, *shape)).astype(dtype) for shape in (net.in_shape, net.out_shape))
    report = cd.check(net, x, dy=dy)
    assert [f for f in report.findings if f.verdict == "wrong"] == []
    assert report["y"].holds


# The list of dense layers


def lenet(seed=0, dtype="float64"):
    return network(
        *(Conv((1, 8, 8), 3, kernel=3, padding=1), ReLU(), MaxPool((3, 8, 8), kernel=2)),
        *(Conv((3, 4, 4), 4, kernel=3, padding=1), ReLU(), AvgPool((4, 4, 4), kernel=2), Flatten()),
        Linear(16, out_features=5),
        seed=seed,
        dtype=dtype,
    )


def run_list(steps, x, dy):
    """Plain dense backpropagation, once more: y, dx, and dW and db of every dense layer."""
    values = [x.reshape(len(x), -1)]
    for step in steps:
        v = values[-1]
        if isinstance(step, Affine):
            values.append(v @ step.W.toarray().T + (0 if step.b is None else step.b))
        elif isinstance(step, Absolute):
            values.append(np.where(step.mask, np.abs(v), v))
        else:
            values.append(v / step.divisors)
    g, dW = dy.reshape(len(dy), -1), {}
    for k, (step, v) in reversed(list(enumerate(zip(steps, values, strict=False)))):
        if isinstance(step, Affine):
            dW[k] = g.T @ v, g.sum(axis=0)
            g = g @ step.W.toarray()
        elif isinstance(step, Absolute):
            slope = np.sign(v)
            slope[v == 0] = step.slope_at_zero
            g = np.where(step.mask, g * slope, g)
        else:
            g = g / step.divisors
    return values[-1], g, dW


def whole_numbers(net, seed):
    rng = np.random.default_rng(seed)
    net = net.with_parameters(
        {k: rng.integers(-2, 3, a.shape).astype(float) for k, a in net.parameters.items()}
    )
    shapes = (2, *net.in_shape), (2, *net.out_shape)
    return net, *(4 * rng.integers(-3, 4, shape).astype(float) for shape in shapes)


@pytest.mark.claim("network")
def test_plain_dense_backpropagation_through_the_list_gives_every_gradient_once_tied():
    net, x, dy = whole_numbers(lenet(), 3)
    steps = net.dense_layers()
    y, dx, dW = run_list(steps, x, dy)
    own_dx, gradients = net.backward(x, dy)
    assert np.array_equal(y, net.forward(x))
    assert np.array_equal(dx.reshape(x.shape), own_dx)
    places = {0: 0, 8: 3, 13: 7}  # step of the list -> layer: 1 conv, 3 ReLU, 4 + 2 pool, ...
    affine = [k for k, step in enumerate(steps) if isinstance(step, Affine) and step.b is not None]
    for k, i in zip(affine, places.values(), strict=True):
        layer, (G, g) = net.layers[i], dW[k]
        ties = cd.tie(layer.layer) if isinstance(layer, TiedDense) else cd.tie(Linear(16, 5))
        edges = ties.entries()
        tied = np.bincount(edges.index, G[edges.row, edges.col], ties.n_weights).reshape(
            ties.weight_shape
        )
        assert np.array_equal(tied, gradients[f"{i}.w"])
        assert np.array_equal(g.reshape(ties.bias_shape[0], -1).sum(axis=1), gradients[f"{i}.b"])


@pytest.mark.claim("network")
def test_the_list_holds_matrices_absolute_values_and_divisions_and_nothing_else():
    steps = lenet().dense_layers()
    assert Counter(type(step).__name__ for step in steps) == {
        "Affine": 12,
        "Absolute": 4,
        "Divide": 1,
    }
    assert {step.slope_at_zero for step in steps if isinstance(step, Absolute)} == {-1, 1}
    assert set(next(step for step in steps if isinstance(step, Divide)).divisors) == {4}
    assert [
        step.W.dtype for step in lenet(dtype="float32").dense_layers() if isinstance(step, Affine)
    ] == ["f4"] * 12


def test_a_residual_is_two_copies_side_by_side():
    conv = Conv((1, 3), 1, 3, padding="same")
    net = network(Residual(conv, ReLU()), seed=0).with_parameters(
        {"0.0.w": [[[1.0, 2, 3]]], "0.0.b": [10.0]}
    )
    first, second, *_, last = net.dense_layers()
    assert np.array_equal(first.W.toarray(), np.vstack([np.eye(3), np.eye(3)]))
    assert np.array_equal(second.W.toarray()[:3], np.hstack([np.eye(3), np.zeros((3, 3))]))
    assert np.array_equal(
        second.W.toarray()[3:, 3:], cd.tie(conv).matrix(np.array([[[1.0, 2, 3]]])).toarray()
    )
    assert second.b.tolist() == [0, 0, 0, 10, 10, 10]
    assert np.array_equal(last.W.toarray(), np.hstack([np.eye(3), np.eye(3)]))
    x = np.array([[[1.0, -2, 3]]])
    assert np.array_equal(
        net.forward(x), x + np.maximum(cd.convolve(conv, x, [[[1.0, 2, 3]]], [10.0]), 0)
    )


# PyTorch as a judge from outside


@pytest.mark.claim("network")
def test_pytorch_computes_the_same_network():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    net, x, dy = whole_numbers(lenet(), 5)
    parameters = {
        k: torch.from_numpy(np.array(a)).requires_grad_() for k, a in net.parameters.items()
    }
    functional, tensor = torch.nn.functional, torch.from_numpy(x).requires_grad_()
    h = functional.conv2d(tensor, parameters["0.w"], parameters["0.b"], padding=1)
    h = functional.max_pool2d(functional.relu(h), 2)
    h = functional.relu(functional.conv2d(h, parameters["3.w"], parameters["3.b"], padding=1))
    y = functional.linear(
        functional.avg_pool2d(h, 2).flatten(1), parameters["7.w"], parameters["7.b"]
    )
    y.backward(torch.from_numpy(dy))
    dx, gradients = net.backward(x, dy)
    assert np.array_equal(net.forward(x), y.detach().numpy())
    assert np.array_equal(dx, tensor.grad.numpy())
    assert {
        k: np.array_equal(g, parameters[k].grad.numpy()) for k, g in gradients.items()
    } == dict.fromkeys(gradients, True)


@pytest.mark.claim("relu")
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.25, 1.0])
def test_pytorch_has_the_same_slopes_at_zero(slope):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    tensor = torch.from_numpy(x).requires_grad_()
    torch.nn.functional.leaky_relu(tensor, slope).sum().backward()
    expected = tensor.grad.numpy()
    layer = ReLU() if slope == 0 else LeakyReLU(slope)
    # (1 + a)/2 and (1 - a)/2, each rounded, times 1, and their sum: four roundings of sizes that
    # add up to 1
    assert (np.abs(layer.backward(x, np.ones(4)) - expected) <= 4.1 * 2**-53).all()


def test_pytorch_has_the_same_batch_norm_at_inference():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    rng = np.random.default_rng(0)
    mean = rng.normal(size=3)
    var = rng.uniform(0.5, 2, 3)
    weight = rng.normal(size=3)
    bias = rng.normal(size=3)
    for axes in ((), (4,), (4, 5)):
        x = rng.normal(size=(2, 3, *axes))
        theirs = torch.nn.functional.batch_norm(
            *map(torch.from_numpy, (x, mean, var, weight, bias)), eps=1e-3
        )
        layer = batch_norm((3, *axes), mean, var, weight, bias, eps=1e-3)
        # either way rounds a scale (sum, root, quotient), a shift and a product with a sum: seven
        # times, on sizes |w| (|x| + |mean|) + |bias|; theirs in another order as often
        along = (3, *[1] * len(axes))
        w = np.abs(layer.w.reshape(along))
        sizes = w * (np.abs(x) + np.abs(mean.reshape(along))) + np.abs(bias.reshape(along))
        assert (np.abs(layer.forward(x) - theirs.numpy()) <= gamma(14, 2**-53) * sizes).all()


# ReLU


@pytest.mark.claim("relu")
def test_relu_is_exact_in_floats_and_keeps_integers():
    x = np.concatenate(
        [
            np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-300, 300, 0.6),
            [0.0, -0.0],
        ]
    )
    for dtype in ("float64", "float32"):
        with np.errstate(over="ignore", under="ignore"):
            narrow = x.astype(dtype)
        narrow = narrow[np.isfinite(narrow) & ((narrow == 0) | (np.abs(narrow) > 1e-30))]
        assert np.array_equal(ReLU().forward(narrow), np.maximum(narrow, 0))
        assert ReLU().forward(narrow).dtype == dtype
    whole_numbers = np.arange(-5, 6)
    assert ReLU().forward(whole_numbers).tolist() == [0] * 6 + [1, 2, 3, 4, 5]


def test_one_sample_goes_without_a_batch_axis_and_an_empty_batch_stays_empty():
    net, x, dy = whole_numbers(lenet(), 1)
    for run in (net, net.direct()):
        assert np.array_equal(run.forward(x[0]), run.forward(x)[0])
        (one, gradients), (empty, none) = run.backward(x[0], dy[0]), run.backward(x[:0], dy[:0])
        assert one.shape == net.in_shape
        assert empty.shape == (0, *net.in_shape)
        assert all(
            np.array_equal(g, run.backward(x[:1], dy[:1])[1][k]) for k, g in gradients.items()
        )
        assert not any(g.any() for g in none.values())


# Parameters


def test_weights_are_seeded_and_of_the_right_spread():
    a, b, other = (network(Conv((8, 40, 40), 32, 3), seed=s) for s in (0, 0, 1))
    assert np.array_equal(a.parameters["0.w"], b.parameters["0.w"])
    assert not np.array_equal(a.parameters["0.w"], other.parameters["0.w"])
    assert not a.parameters["0.b"].any()
    w = a.parameters[
        "0.w"
    ]  # 2304 of them: their variance is off by sqrt(2 / 2304), 3 %, so 15 % are five sigma
    assert abs(w.var() / (2 / 72) - 1) < 0.15
    assert not np.array_equal(
        network(Linear(3, 2)).parameters["0.w"], network(Linear(3, 2)).parameters["0.w"]
    )


def test_ready_layers_keep_their_parameters_and_others_are_drawn_in_the_dtype():
    ready = TiedDense(Conv((1, 4), 2, 3), np.ones((2, 1, 3)))
    net = network(ready, ReLU(), Flatten(), Linear(4, 3), seed=0, dtype="float32")
    assert net.layers[0] is ready
    assert list(net.parameters) == ["0.w", "3.w", "3.b"]  # no bias of its own: none is added
    assert net.parameters["3.w"].dtype == np.float32
    assert network(net, Dense(np.ones((1, 3)))).parameters.keys() == {
        "0.0.w",
        "0.3.w",
        "0.3.b",
        "1.w",
    }


def test_new_parameters_make_a_new_network_and_reuse_the_tie_map():
    net = lenet()
    other = net.with_parameters({name: a + 1 for name, a in net.parameters.items()})
    assert other.layers[0].ties is net.layers[0].ties
    assert np.array_equal(other.parameters["3.w"], net.parameters["3.w"] + 1)
    with pytest.raises(TypeError):
        net.parameters["0.w"] = 0  # a view: nothing can be changed that the matrix does not know
    for change in ("popitem", "clear"):
        with pytest.raises(TypeError, match=r"write net\.with_parameters"):
            getattr(net.parameters, change)()
    with pytest.raises(TypeError, match=r"write net\.with_parameters"):
        net.parameters.update({"0.w": 0})
    with pytest.raises(ValueError, match="read-only"):
        net.parameters["0.w"][0] = 0


def test_parameters_are_saved_and_loaded_bit_for_bit(tmp_path):
    net, path = lenet(seed=3), tmp_path / "lenet.npz"
    net.save(path)
    loaded = lenet(seed=4).load(str(path))
    assert all(np.array_equal(a, loaded.parameters[k]) for k, a in net.parameters.items())
    assert [p.name for p in tmp_path.iterdir()] == ["lenet.npz"]
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == sorted(net.parameters)


def test_a_save_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    net, path = lenet(seed=3), tmp_path / "lenet.npz"
    net.save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        lenet(seed=5).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["lenet.npz"]


def test_the_summary_counts_what_the_list_holds():
    net = lenet()
    text = str(net).splitlines()
    assert len(text) == 2 + len(net.layers)
    assert text[2].split()[:2] == ["0", "TiedDense(Conv((1,"]
    assert "1: 192 x 64" in text[2]
    assert f"{cd.tie(Conv((1, 8, 8), 3, kernel=3, padding=1)).n_entries:,}" in text[2]
    assert text[2].split()[-3] == "30"  # 27 weights and 3 biases
    assert repr(net) == "Network(8 layers, (1, 8, 8) -> (5,))"


def test_a_layer_of_ones_own_runs_in_a_network():
    class Double:
        in_shape = out_shape = (2,)

        def forward(self, x):
            return 2 * x

        def backward(self, x, dy):
            return 2 * dy

    net = network(Linear(3, 2), Double(), seed=0)
    x, dy = np.ones((1, 3)), np.ones((1, 2))
    assert np.array_equal(net.forward(x), 2 * (x @ net.parameters["0.w"].T))
    assert np.array_equal(net.backward(x, dy)[0], 2 * dy @ net.parameters["0.w"])
    with pytest.raises(TypeError, match="a layer made of matrices and"):
        net.dense_layers()
    with pytest.raises(TypeError, match="a layer that has a direct form"):
        net.direct()


# Fast direct pooling is the loops


@pytest.mark.claim("average", "max")
@settings(max_examples=examples(300), deadline=None, derandomize=True)
@given(pools(), st.sampled_from(["float64", "float32", "int64"]))
def test_fast_direct_pooling_is_the_loops(pool, dtype):
    x, dy = (a.astype(dtype) for a in operands(pool))
    pairs = [
        (direct_pool.forward(pool, x), pool_loops.forward(pool, x)),
        (direct_pool.backward(pool, x, dy), pool_loops.backward(pool, x, dy)),
        (direct_pool.backward(pool, x[0], dy[0]), pool_loops.backward(pool, x, dy)[0]),
    ]
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_fast_direct_power_averages_are_the_loops_up_to_the_order_of_a_sum(p):
    pool = LpPool((2, 5, 4), (3, 2), stride=1, padding=1, p=p)
    x, dy = (np.random.default_rng(0).normal(size=(2, *s)) for s in (pool.in_shape, pool.out_shape))
    # two powers, a sum of at most six terms and a root, as in test_pooling: each way rounds a few
    # times as often
    terms = 4 * (6 + 8)
    y, loops = direct_pool.forward(pool, x), pool_loops.forward(pool, x)
    assert (np.abs(y - loops) <= gamma(terms, 2**-53) * loops).all()
    dx, by_loops = direct_pool.backward(pool, x, dy), pool_loops.backward(pool, x, dy)
    shares = pool_loops.backward(
        SumPool((2, 5, 4), (3, 2), stride=1, padding=1), x, np.abs(dy)
    )  # |slope| is at most 1
    assert (np.abs(dx - by_loops) <= gamma(terms + 6, 2**-53) * shares).all()


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("_divisors", lambda pool, axes: np.full(pool.out_spatial, 9)),
        ("_sliding_axes", lambda pool: [axis._replace(begin=0) for axis in sliding_axes(pool)]),
    ],
)
def test_a_defect_in_fast_direct_pooling_is_seen(monkeypatch, name, defect):
    pool = AvgPool((1, 5, 5), 3, stride=2, padding=1, count_include_pad=False)
    x, _ = operands(pool)
    assert np.array_equal(direct_pool.forward(pool, x), pool_loops.forward(pool, x))
    monkeypatch.setattr(direct_pool, name, defect)
    assert not np.array_equal(direct_pool.forward(pool, x), pool_loops.forward(pool, x))


def sliding_axes(pool, _right=direct_pool._sliding_axes):
    return _right(pool)


# Certificates and reports come back


def test_certificates_and_reports_of_networks_come_back_from_json_and_run_again():
    net = network(
        Residual(Conv((1, 4), 1, 3, padding="same"), LeakyReLU(0.5)),
        MaxPool((1, 4), 2),
        Flatten(),
        seed=0,
    )
    certificate = cd.certify(net, seed=7)
    back = NetworkCertificate.from_dict(json.loads(json.dumps(certificate.to_dict())))
    assert back.findings == certificate.findings
    assert back.rerun().findings == certificate.findings
    assert back.rerun().coverage == certificate.coverage
    x, dy = np.random.default_rng(0).normal(size=(2, 1, 4)), np.ones((2, 2))
    report = cd.check(net, x, dy=dy)
    again = cd.Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again.rerun().findings == report.findings
    assert [f.name for f in cd.check(net, x).findings] == ["y", "layers"]


def test_a_network_comes_back_from_plain_data_with_its_parameters():
    net = network(
        Residual(Conv((1, 4, 4), 1, 3, padding="same"), ReLU()),
        *(batch_norm((1, 4, 4), [1.0], [2.0]), Abs((1, 4, 4), 0, 0, 1), LeakyReLU(0.25)),
        *(
            cd.dense_pool(MaxPool((1, 4, 4), 2), tie_break="split"),
            AvgPool((1, 2, 2), 2),
            Flatten(),
            Linear(1, 2),
        ),
        seed=0,
    )
    back = plain_to_layer(json.loads(json.dumps(layer_to_plain(net))))
    x = np.random.default_rng(0).normal(size=(3, 1, 4, 4))
    assert np.array_equal(back.forward(x), net.forward(x))
    assert np.array_equal(back.backward(x, np.ones((3, 2)))[0], net.backward(x, np.ones((3, 2)))[0])
    assert [repr(layer) for layer in back.layers] == [repr(layer) for layer in net.layers]
    for layer in (Linear(3, 2), ChannelScale((2, 3))):
        assert layer_from_dict(layer.to_dict()) == layer


def test_the_bit_budget_bounds_every_number_of_both_ways():
    net, x, dy = whole_numbers(lenet(), 2)
    bits = bit_budget(net, x, dy)
    for run in (net, net.direct()):
        numbers = [*run.trace(x), *run.backward(x, dy)[1].values(), run.backward(x, dy)[0]]
        assert max(np.abs(n).max() for n in numbers) <= 2.0 ** (bits - 1)
    assert all((magnitudes(layer).forward(np.abs(v)) >= np.abs(layer.forward(v))).all()
               for layer, v in zip(net.layers, net.trace(x), strict=False))  # fmt: skip


def test_direct_counterparts_share_no_matrix():
    for layer in lenet().direct().layers:
        assert not any(hasattr(layer, name) for name in ("matrix", "ties", "total", "layers"))
    assert isinstance(
        direct_counterpart(cd.dense_pool(MaxPool((1, 4), 2))).forward(np.zeros((1, 1, 4))),
        np.ndarray,
    )
    assert dense_steps(Flatten((2, 2))) == []
