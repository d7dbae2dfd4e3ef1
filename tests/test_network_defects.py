"""Planted defects in whole networks: certify refuses each, and accepts the right network."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import convdense as cd
from convdense import (
    AvgPool,
    Conv,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool,
    MinPool,
    ReLU,
    Residual,
    network,
)
from convdense.direct import conv as direct_conv
from convdense.direct import pool as direct_pool
from convdense.geometry import ChannelScale
from convdense.layers import (
    activations,
    dense,
    direct_form,
    error_bounds,
    flatten,
    max_pool_tournament,
    pooling,
    tied_dense,
)
from convdense.layers.base import Gradients
from convdense.layers.dense_form import Absolute, Divide
from convdense.networks import network as network_module
from convdense.networks import residual
from convdense.structure import tie_map

CONV = Conv((1, 4, 5), out_channels=2, kernel=(2, 3), padding=1)  # gives (2, 5, 5)
NETS = {
    "relu": network(CONV, ReLU(), Flatten(), Linear(50, 3), seed=0),
    "leaky": network(CONV, LeakyReLU(0.25), seed=0),
    "max": network(CONV, MaxPool((2, 5, 5), kernel=3, stride=2, padding=1), seed=0),
    "min": network(CONV, MinPool((2, 5, 5), kernel=(2, 3), ceil_mode=True), seed=0),
    "average": network(
        CONV, AvgPool((2, 5, 5), 3, stride=2, padding=1, count_include_pad=False), ReLU(), seed=0
    ),
    "included": network(CONV, AvgPool((2, 5, 5), 3, stride=2, padding=1), seed=0),
    "residual": network(Residual(Conv((2, 4), 2, 3, padding="same"), ReLU()), seed=0),
    "scale": network(CONV, ChannelScale((2, 5, 5)), ReLU(), seed=0),
}


def relu_passes_zero(self, x, dy):
    return np.where(np.asarray(x) >= 0, dy, self.slope * dy)


def relu_halves_zero(self, x, dy):
    return np.where(x > 0, dy, np.where(x == 0, (1 + self.slope) / 2 * dy, self.slope * dy))


def relu_by_its_output(self, x, dy, _right=activations.LeakyReLU.backward):
    return _right(self, self.forward(x) - 9, dy)


def slopes_exchanged(self, _right=activations.LeakyReLU.shares):
    return _right.fget(self)[0], -_right.fget(self)[1]


def last_of_several(self, x, _right=activations.Abs.slopes):
    return _right(replace(self, slope_at_zero=-self.slope_at_zero), x)


def tie_counted_twice(self, x, dy, _right=max_pool_tournament.Tournament.backward):
    ends = (_right(replace(self, layers=flipped(self.layers)), x, dy), _right(self, x, dy))
    return np.where(ends[0] == ends[1], ends[1], ends[0] + ends[1])


def flipped(parts):
    return tuple(
        replace(part, slope_at_zero=-part.slope_at_zero)
        if isinstance(part, activations.Abs)
        else part
        for part in parts
    )


def padded_with_zeros(self, x, _right=max_pool_tournament.Tournament.forward):
    y, x = _right(self, x), np.asarray(x)
    if self.pool.padding[0][0]:
        y = y.copy()
        y[..., 0, :] = (
            np.maximum(y[..., 0, :], 0) if isinstance(self.pool, MaxPool) else y[..., 0, :]
        )
        y[..., 0] = np.maximum(y[..., 0], 0)
    return y


def largest_divisor_everywhere(pool, _right=pooling.divisors):
    return np.full_like(_right(pool), _right(pool).max())


def division_forgotten_backward(self, x, dy, _right=pooling.SumDivide.backward):
    return _right(replace(self, divisors=None), x, dy)


def mean_of_the_copies(self, x, dy, _right=tie_map.TieMap.add_edges):
    return _right(self, x, dy) / self.counts().weights


def averaged_over_the_batch(self, x, dy, _right=tied_dense.TiedDense.backward):
    dx, dw, db = _right(self, x, dy)
    return Gradients(dx, dw / len(x), db)


def bias_gradient_lost(self, x, dy, _right=tied_dense.TiedDense.backward):
    dx, dw, db = _right(self, x, dy)
    return Gradients(dx, dw, None if db is None else db * (np.arange(db.size) > 0))


def dense_transposed(self, x, dy):
    return Gradients(dy @ self.w, (x[:, : len(self.w)].T @ dy @ self.w) / 1.0, dy.sum(axis=0))


def columns_first(self, x, _right=flatten.Flatten.forward):
    return _right(self, np.ascontiguousarray(np.swapaxes(x, -1, -2)).reshape(np.shape(x)))


def columns_first_backward(self, x, dy, _right=flatten.Flatten.backward):
    dx = _right(self, x, dy)
    return np.ascontiguousarray(np.swapaxes(dx, -1, -2)).reshape(dx.shape)


def identity_forgotten(self, x, dy):
    return self.inner.backward(x, dy)


def identity_twice(self, x, _right=residual.ResidualSum.forward):
    return _right(self, x) + x


def output_for_input(self, values, dy, _right=network_module.Network.pull_back):
    moved = [v if v.shape != w.shape else w for v, w in pairwise(values)]
    return _right(self, [*moved, values[-1]], dy)


def samples_mixed(self, values, dy, _right=network_module.Network.pull_back):
    return _right(self, values, np.repeat(dy[:1], len(dy), axis=0))


def sign_lost(self, values, dy, _right=network_module.Network.pull_back):
    dx, gradients = _right(self, values, dy)
    return np.abs(dx), gradients


def scale_forgotten(self, x, dy, _right=tied_dense.TiedDense.backward):
    result = _right(self, x, dy)
    return result._replace(dx=dy) if isinstance(self.layer, ChannelScale) else result


def listed(change):
    """Return a defect of the list alone: the network's own layers are right."""

    def defect(self, _right=network_module.Network.dense_layers):
        return change(_right(self))

    return defect


def without_divisions(steps):
    return [step for step in steps if not isinstance(step, Divide)]


def with_slope_one(steps):
    return [Absolute(step.mask) if isinstance(step, Absolute) else step for step in steps]


def without_a_bias(steps):
    first, *rest = steps
    return [first._replace(b=0 * first.b), *rest]


DEFECTS = [
    ("relu", activations.LeakyReLU, "backward", relu_passes_zero),
    ("relu", activations.LeakyReLU, "backward", relu_halves_zero),
    ("leaky", activations.LeakyReLU, "backward", relu_by_its_output),
    ("leaky", activations.LeakyReLU, "shares", property(slopes_exchanged)),
    ("max", activations.Abs, "slopes", last_of_several),
    ("min", activations.Abs, "slopes", last_of_several),
    ("max", max_pool_tournament.Tournament, "backward", tie_counted_twice),
    ("max", max_pool_tournament.Tournament, "forward", padded_with_zeros),
    ("average", pooling.SumDivide, "backward", division_forgotten_backward),
    ("average", tie_map.TieMap, "add_edges", mean_of_the_copies),
    ("relu", tied_dense.TiedDense, "backward", averaged_over_the_batch),
    ("relu", tied_dense.TiedDense, "backward", bias_gradient_lost),
    ("relu", dense.Dense, "backward", dense_transposed),
    ("relu", flatten.Flatten, "forward", columns_first),
    ("relu", flatten.Flatten, "backward", columns_first_backward),
    ("residual", residual.ResidualSum, "backward", identity_forgotten),
    ("residual", residual.ResidualSum, "forward", identity_twice),
    ("scale", network_module.Network, "pull_back", output_for_input),
    ("relu", network_module.Network, "pull_back", samples_mixed),
    ("relu", network_module.Network, "pull_back", sign_lost),
    ("scale", tied_dense.TiedDense, "backward", scale_forgotten),
    ("average", network_module.Network, "dense_layers", listed(without_divisions)),
    ("relu", network_module.Network, "dense_layers", listed(with_slope_one)),
    ("relu", network_module.Network, "dense_layers", listed(without_a_bias)),
]


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "defect"),
    DEFECTS,
    ids=[f"{d[0]}: {getattr(d[3], '__name__', d[2])}" for d in DEFECTS],
)
@pytest.mark.thinned(3)
def test_a_planted_defect_is_refused_and_the_right_network_accepted(
    name, owner, attribute, defect, monkeypatch
):
    net = NETS[name]
    assert cd.certify(net, seed=0).require().exact
    with monkeypatch.context() as planted:
        planted.setattr(owner, attribute, defect)
        certificate = cd.certify(net, seed=0)
        assert not certificate
        assert not certificate.exact
    assert cd.certify(net, seed=0).exact


def test_a_wrong_divisor_of_the_network_is_refused(monkeypatch):
    pool = AvgPool((2, 5, 5), 3, stride=2, padding=1, count_include_pad=False)
    assert cd.certify(network(CONV, pool, seed=0), seed=0).exact
    monkeypatch.setattr(pooling, "divisors", largest_divisor_everywhere)
    assert not cd.certify(network(CONV, pool, seed=0), seed=0)


# Defects of the other form are seen as well


def stamped_without_cropping(layer, padded, sizes, _right=direct_conv._unpad):
    return np.roll(_right(layer, padded, sizes), 1, axis=-1)


def scale_is_one(self, x, dy):
    return Gradients(dy, (x * dy).sum((0, 2, 3)), dy.sum((0, 2, 3)))


def pooled_over_zeros(pool, x, _right=direct_pool.forward):
    return np.maximum(_right(pool, x), 0)


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "defect"),
    [
        ("relu", direct_conv, "_unpad", stamped_without_cropping),
        ("min", direct_pool, "forward", pooled_over_zeros),
        ("relu", activations.DirectReLU, "backward", lambda self, x, dy: np.where(x >= 0, dy, 0)),
        (
            "scale",
            direct_form.DirectScale,
            "backward",
            lambda self, x, dy: Gradients(dy, dy.sum((0, 2, 3)), dy.sum((0, 2, 3))),
        ),
    ],
)
def test_a_defect_of_the_direct_counterpart_is_refused(name, owner, attribute, defect, monkeypatch):
    assert cd.certify(NETS[name], seed=0).exact
    monkeypatch.setattr(owner, attribute, defect)
    assert not cd.certify(NETS[name], seed=0)


# The user's pool


class MyPool:
    """Max pooling as people write it; `last` takes the last of several largest."""

    def __init__(self, pool, last=False):
        self.pool, self.last = pool, last

    def forward(self, x):
        return direct_pool.forward(self.pool, x)

    def backward(self, x, dy):
        if not self.last:
            return direct_pool.backward(self.pool, x, dy)
        mirrored = MaxPool(self.pool.in_shape, kernel=2)
        return direct_pool.backward(mirrored, x[..., ::-1], dy[..., ::-1])[..., ::-1]


def test_a_users_pool_is_judged_and_named():
    pool = MaxPool((2, 6), kernel=2)
    right, wrong = (
        cd.certify(pool, MyPool(pool), seed=0),
        cd.certify(pool, MyPool(pool, last=True), seed=0),
    )
    assert right.exact
    assert right.evaluator == "MyPool"
    assert (wrong["y"].verdict, wrong["dx"].verdict) == ("equal", "wrong")
    assert right.rerun(MyPool(pool)).findings == right.findings


# Floats: absolutes that rounding may turn, and nothing else, are undecided


def thirds():
    net = network(Conv((1, 4), 1, 3), ReLU(), seed=0)
    return net.with_parameters({"0.w": [[[0.1, 0.2, -0.3]]], "0.b": [0.0]})


def test_a_branch_within_rounding_is_undecided_and_beside_it_decided():
    net = thirds()
    x = np.array([[[1.0, 1, 1, 2]]])
    dy = np.ones((1, 1, 2))
    values = error_bounds.forward_errors(net.layers, error_bounds.Value(x, 0 * x))
    start = error_bounds.Slope(dy, 0 * dy, np.zeros(dy.shape, bool))
    dx, bounds = error_bounds.backward_errors(net.layers, values, start)
    assert dx.undecided.ravel().tolist() == [
        True,
        True,
        True,
        False,
    ]  # o1 = .1 + .2 - .3; o2 = .1 + .2 - .6 is < 0
    assert np.isinf(bounds["0.w"]).all()
    assert np.isinf(bounds["0.b"]).all()
    assert abs(values[1].value[0, 0, 0]) <= 2 * values[1].error[0, 0, 0] < 1e-15
    decided = error_bounds.forward_errors(net.layers, error_bounds.Value(2.0 * (x > 1), 0 * x))
    # exact zeros have no error: both ways give the slope at 0
    assert not decided[1].may_change_sign.any()


def test_a_gradient_that_depends_on_rounding_is_reported_undecided_unless_equal(monkeypatch):
    net = thirds()
    x = np.array([[[1.0, 1, 1, 2]]])
    dy = np.ones((1, 1, 2))
    monkeypatch.setattr(
        activations.DirectReLU, "backward", lambda self, x, dy: np.where(x > 1e-15, dy, 0) + 0 * dy
    )
    report = cd.check(net, x, dy=dy)
    assert report["dx"].verdict == "undecided"
    assert "non-differentiable point whose branch rounding may flip" in report["dx"].note
    assert not report
    monkeypatch.setattr(
        activations.DirectReLU, "backward", lambda self, x, dy: np.where(x > 1e-15, dy, dy + 1)
    )
    assert (
        cd.check(net, x, dy=dy)["dx"].verdict == "wrong"
    )  # what is decided is judged all the same


@pytest.mark.parametrize(
    ("pool", "x", "decided"),
    [
        (
            MaxPool((1, 3), 3),
            [[0.3, 0.1, 0.3]],
            False,
        ),  # whoever wins the first match may be rounded
        (MaxPool((1, 3), 3), [[0.3, 0.3, 0.3]], True),  # equals stay equal
        (MaxPool((1, 3), 3), [[0.0, 0.0, 0.0]], True),
        (MaxPool((1, 3), 3), [[0.3, 0.1, np.nextafter(0.3, 1)]], False),
        (MaxPool((1, 3), 3), [[0.3, 0.1, 0.3 + 1e-14]], True),
        (MinPool((1, 3), 3), [[-0.3, -0.1, -0.3 - 1e-14]], True),
        (MinPool((1, 3), 3), [[-0.3, -0.1, -0.3]], False),
    ],
)
def test_a_winner_is_decided_if_it_leads_by_more_than_rounding(pool, x, decided):
    x = np.array([x])
    value = error_bounds.Value(x, 0 * x)
    assert max_pool_tournament._decided(cd.dense_pool(pool), value).item() is decided


FLOATS = [
    ("relu", tied_dense.TiedDense, "backward", bias_gradient_lost),
    ("relu", dense.Dense, "backward", dense_transposed),
    ("average", pooling.SumDivide, "backward", division_forgotten_backward),
    ("max", max_pool_tournament.Tournament, "forward", padded_with_zeros),
    ("scale", tied_dense.TiedDense, "backward", scale_forgotten),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "owner", "attribute", "defect"),
    FLOATS,
    ids=[f"{d[0]}: {d[3].__name__}" for d in FLOATS],
)
def test_floats_see_the_defect_too_and_accept_the_right_one(
    name, owner, attribute, defect, dtype, monkeypatch
):
    net, rng = NETS[name], np.random.default_rng(1)
    net = net.with_parameters(
        {k: rng.normal(size=a.shape).astype(dtype) for k, a in net.parameters.items()}
    )
    x, dy = (rng.normal(size=(2, *s)).astype(dtype) for s in (net.in_shape, net.out_shape))
    assert all(f.verdict != "wrong" for f in cd.check(net, x, dy=dy).findings)
    direct = net.direct()
    monkeypatch.setattr(type(net), "direct", lambda self: direct)
    monkeypatch.setattr(owner, attribute, defect)
    assert any(f.verdict == "wrong" for f in cd.check(net, x, dy=dy).findings)


@pytest.mark.parametrize("size", [1e-9, 1e-4])
def test_an_error_a_little_above_the_bound_is_wrong_and_one_below_is_not(size, monkeypatch):
    net, rng = NETS["relu"], np.random.default_rng(1)
    x, dy = (rng.normal(size=(2, *s)) for s in (net.in_shape, net.out_shape))
    bound = cd.check(net, x, dy=dy)["y"]
    right = dense.Dense.forward
    monkeypatch.setattr(dense.Dense, "forward", lambda self, x: right(self, x) + size)
    assert cd.check(net, x, dy=dy)["y"].verdict == "wrong"
    monkeypatch.setattr(dense.Dense, "forward", lambda self, x: right(self, x) + bound.bound * 1e-3)
    assert cd.check(net, x, dy=dy)["y"].verdict == "within rounding"
