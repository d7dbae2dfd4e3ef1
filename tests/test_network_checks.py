"""What certify and check of pools and networks must not be fooled by, and must not call wrong."""

import json

import numpy as np
import pytest

import convdense as cd
from convdense import (
    AvgPool,
    Conv,
    Dense,
    Flatten,
    LeakyReLU,
    Linear,
    LpPool,
    MaxPool,
    ReLU,
    Residual,
    SumPool,
    TiedDense,
    network,
)
from convdense.cli._main import main
from convdense.layers import base, tied_dense
from convdense.layers.activations import Abs
from convdense.layers.dense_form import Absolute
from convdense.rounding.magnitude_sums import bit_budget

# The bit budget sees every sum


LONG = AvgPool((1, 71, 71), output=1)


@pytest.mark.parametrize(
    "net",
    [
        network(ReLU((1, 71, 71)), LONG),
        network(LONG),
        network(network(LONG), Flatten()),
        network(Residual(SumPool((1, 1), kernel=1))),
        network(
            network(
                ReLU((1, 5001)),
                SumPool((1, 5001), kernel=5001),
                AvgPool((1, 1), 1, divisor_override=5001),
            )
        ),
    ],
    ids=["after ReLU", "alone", "nested", "small", "inside"],
)
def test_a_sum_before_a_division_or_inside_another_layer_is_counted(net):
    try:
        assert cd.certify(net, dtype="float32", seed=0).exact
    except ValueError as refusal:
        # a proof or this refusal: either is right, a wrong verdict is not
        assert "bits; needs at most 24" in str(refusal)  # noqa: PT017


def test_the_budget_of_a_nested_network_is_that_of_its_layers():
    parts = Conv((1, 6), 2, 3), ReLU(), AvgPool((2, 4), 2), Flatten(), Linear(4, 3)
    flat, rng = network(*parts, seed=0), np.random.default_rng(0)
    nested = network(network(*parts[:3], seed=0), *parts[3:], seed=0)
    x, dy = rng.integers(-9, 9, (2, 1, 6)).astype(float), rng.integers(-9, 9, (2, 3)).astype(float)
    nested = nested.with_parameters(
        dict(zip(nested.parameters, flat.parameters.values(), strict=True))
    )
    assert bit_budget(nested, x, dy) == bit_budget(flat, x, dy)


def test_what_is_drawn_does_not_decide_whether_it_is_judged():
    """A divisor so large that only zeros would fit: refused, not certified on zeros."""
    with pytest.raises(ValueError, match="bits; needs at most 53"):
        cd.certify(AvgPool((1, 2), kernel=2, divisor_override=2**53), batch=1, seed=12)
    assert cd.certify(AvgPool((1, 2), kernel=2, divisor_override=2**20), batch=1, seed=12).exact


class Twice(TiedDense):
    def forward(self, x):
        return 2 * super().forward(x)


class TwiceDense(Dense):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_defect_in_a_subclass_stays_when_weights_are_drawn():
    conv = Conv((1, 4, 4), 2, 3)
    for layer in (Twice(conv, np.ones(conv.weight_shape)), TwiceDense(np.ones((3, 2)))):
        assert type(layer.with_weights(layer.w)) is type(layer)
        assert not cd.certify(network(layer), seed=0)
    assert cd.certify(network(TiedDense(conv, np.ones(conv.weight_shape))), seed=0)


# The user's pool


def test_a_pool_that_writes_to_its_operands_is_wrong():
    pool = MaxPool((1, 4), kernel=2)
    right = cd.dense_pool(pool)

    def greedy(x, dy):
        dx = right.backward(x, dy)
        dy[...] = 0
        return dx

    assert cd.certify(pool, (right.forward, right.backward), seed=0)
    certificate = cd.certify(pool, (right.forward, greedy), seed=0)
    assert (certificate["y"].verdict, certificate["dx"].verdict) == ("equal", "changed its input")
    assert certificate["dx"].note == "an operand was written to in place"


# Floats, layer by layer


def deep(last=Dense, dtype="float32", depth=10):
    rng = np.random.default_rng(0)
    layers_ = [part for _ in range(depth) for part in (Linear(64, 64), ReLU())]
    w = rng.normal(size=(10, 64)).astype(dtype)
    return network(*layers_, last(w), seed=0, dtype=dtype)


def operands(net, dtype):
    rng = np.random.default_rng(1)
    return tuple(
        rng.normal(size=(2, *shape)).astype(dtype) for shape in (net.in_shape, net.out_shape)
    )


def test_a_defect_deep_in_a_network_is_seen_where_carried_bounds_see_nothing():
    net = deep(TwiceDense)
    x, dy = operands(net, "float32")
    report = cd.check(net, x, dy=dy)
    assert report["y"].verdict == "undecided"
    assert "a bound as large as the values" in report["y"].note
    assert report["layers"].verdict == "wrong"
    assert report["layers"].note.startswith("y of layer 20")
    right = cd.check(deep(), x, dy=dy)
    assert right["layers"].holds
    assert right["layers"].share > 0


@pytest.mark.parametrize("quantity", ["dx", "w", "b"])
def test_a_wrong_gradient_of_an_inner_layer_is_named(quantity, monkeypatch):
    conv = Conv((2, 4), 2, 3, padding="same")
    net = network(Residual(conv, ReLU(), conv), Flatten(), Linear(8, 3), seed=0)
    x, dy = operands(net, "float64")
    assert cd.check(net, x, dy=dy)["layers"].holds
    place = {"dx": 0, "w": 1, "b": 2}[quantity]
    right = tied_dense.TiedDense.backward

    def wrong(self, x, dy):
        result = list(right(self, x, dy))
        result[place] = result[place] * (1 + 1e-9)
        return base.Gradients(*result)

    monkeypatch.setattr(tied_dense.TiedDense, "backward", wrong)
    report = cd.check(net, x, dy=dy)
    assert report["layers"].verdict == "wrong"
    assert (
        f"{quantity} of layer 0.2" in report["layers"].note
        or f"{quantity} of layer 0" in report["layers"].note
    )


def test_a_bound_has_the_digits_of_what_was_computed(monkeypatch):
    """Weights of float64 make float64 of float32 data: an error of 3e-8 is then too much."""
    conv = Conv((2, 5, 4), 3, 3)
    net, rng = network(conv, seed=0), np.random.default_rng(0)
    x = rng.normal(size=(2, 2, 5, 4))
    right = tied_dense.TiedDense.forward
    monkeypatch.setattr(
        tied_dense.TiedDense, "forward", lambda self, x: right(self, x) * (1 + 3e-8)
    )
    assert cd.check(net, x)["y"].verdict == "wrong"
    assert cd.check(net, x.astype(np.float32))["y"].verdict == "wrong"
    narrow = network(conv, seed=0, dtype="float32")
    assert cd.check(narrow, x.astype(np.float32))["y"].verdict == "within rounding"


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_whole_numbers_run_as_floats_both_ways(dtype):
    nets = [
        network(ReLU((1, 4)), SumPool((1, 4), kernel=2)),
        network(Residual(ReLU((1, 4)), ReLU()), AvgPool((1, 4), kernel=2)),
        network(LpPool((1, 4), kernel=2, p=1)),
    ]
    x = (
        np.array([[[100, 120, 50, 3]]], dtype)
        if dtype == "int8"
        else np.array([[[200, 100, 50, 3]]], dtype)
    )
    for net in nets:
        assert np.array_equal(net.forward(x), net.forward(x.astype(float)))
        assert np.array_equal(net.direct().forward(x), net.forward(x))
        assert cd.check(net, x, dy=np.ones((1, *net.out_shape), dtype))


def test_an_average_of_small_integers_does_not_wrap():
    pool, x = AvgPool((1, 4), kernel=2), np.array([[200, 200, 100, 100]], np.uint8)
    assert cd.dense_pool(pool).forward(x).tolist() == [[200, 100]]
    assert network(pool).direct().forward(x).tolist() == [[200, 100]]


def test_unsigned_gradients_have_a_sign():
    x, dy = np.array([-4.0, 4.0]), np.array([1, 1], np.uint8)
    assert ReLU().backward(x, dy).tolist() == [0, 1]
    assert Abs((2,), 0, 0, 2).backward(x, dy).tolist() == [-1, 1]
    assert Absolute(np.array([True, True])).backward(x[None], dy[None]).tolist() == [[-1, 1]]


def test_an_empty_batch_is_judged():
    for net in (
        network(MaxPool((1, 4), 2)),
        network(Conv((1, 4), 2, 3), LeakyReLU(), AvgPool((2, 2), 2), seed=0),
    ):
        assert cd.check(net, np.zeros((0, *net.in_shape)), dy=np.zeros((0, *net.out_shape)))


def test_what_overflows_is_refused_and_what_nearly_does_is_judged():
    net = network(Dense(np.array([[1, 1, -1]], np.float32)), ReLU())
    x, dy = np.full((2, 3), 3e38, np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(ValueError, match="numbers that stay finite in float32"):
        cd.check(net, x, dy=dy)
    assert cd.check(net, x / 8, dy=dy)
    assert cd.check(net, x.astype(float), dy=dy)


def test_a_network_can_be_printed_whatever_it_is_made_of():
    own = network(Linear(3, 2), LpPoolLike(), seed=0)
    for net in (network(LpPool((1, 4), 2, p=2)), network(MaxPool((1, 4), 2)).direct(), own):
        assert str(net).splitlines()[-1].split()[-4:] == ["-", "0", "-", "-"]
    full = str(network(Dense(np.eye(3)))).splitlines()[-1]
    assert full.endswith("0.0000%")  # free weights that happen to be 0 are not held there


class LpPoolLike:
    in_shape = out_shape = (2,)

    def forward(self, x):
        return x

    def backward(self, x, dy):
        return dy


def test_a_network_forgets_what_it_need_not_remember():
    import tracemalloc

    net, x = network(*[ReLU((1000, 100))] * 12), np.ones((1, 1000, 100))
    net.forward(x)
    tracemalloc.start()
    net.forward(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * x.nbytes


def test_a_tied_linear_has_a_direct_counterpart():
    net = network(TiedDense(Linear(3, 2), np.array([[1.0, 2, 3], [4, 5, 6]])), ReLU())
    assert cd.certify(net, seed=0).exact


def test_a_pool_that_raises_is_a_verdict():
    pool = MaxPool((1, 4), kernel=2)

    def broken(x):
        raise IndexError("out of range")

    certificate = cd.certify(pool, (broken, cd.dense_pool(pool).backward), seed=0)
    assert (certificate["y"].verdict, certificate["y"].note) == (
        "raised",
        "IndexError: out of range",
    )
    assert certificate["dx"].verdict == "equal"


def test_a_certificate_of_a_network_is_run_again_from_its_file(tmp_path, capsys):
    net, path = network(Conv((1, 4), 2, 3), ReLU(), seed=0), tmp_path / "net.json"
    path.write_text(json.dumps(cd.certify(net, seed=3).to_dict()))
    assert main(["certify", "--rerun", str(path)]) == 0
    assert "12 random trials" in capsys.readouterr().out
    edited = {**json.loads(path.read_text()), "trials": 1}
    path.write_text(json.dumps(edited))
    assert main(["certify", "--rerun", str(path)]) == 2
    assert "was it edited?" in capsys.readouterr().err
