"""Losses and training against plain arithmetic: exactly, or within a derived rounding bound."""

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from math import log, nan, prod

import numpy as np
import pytest

from convdense import Conv, Flatten, Linear, MaxPool, ReLU, network
from convdense._util.float_formats import gamma, unit_roundoff
from convdense.training import loop, optimizers
from convdense.training import losses as loss_functions
from convdense.training.loop import train
from convdense.training.losses import Loss, half_squared_error, softmax_cross_entropy, squared_error
from convdense.training.optimizers import sgd

SQUARES = {"half_squared_error": Fraction(1, 2), "squared_error": Fraction(1)}
EXACT_SHAPES = [
    (1, 3),
    (2, 2, 2),
    (4,),
    (8, 2),
    (1, 1),
    (16, 1, 3),
]  # batches that are powers of two: exact division


def integers(shape, seed, largest=9):
    return np.random.default_rng(seed).integers(-largest, largest, shape, endpoint=True)


# Squared errors, on integers: exact


def value_in_fractions(factor, o, y):
    total = sum(
        factor * Fraction(int(a) - int(b)) ** 2 for a, b in zip(o.ravel(), y.ravel(), strict=True)
    )
    return total / len(o)


def central_differences(loss, o, y):
    """Return ``(C(o + 1) - C(o - 1)) / 2`` for each output.

    Of a quadratic that is the derivative, without an error.
    """
    gradient = np.zeros(o.shape)
    for i in np.ndindex(o.shape):
        up, down = o.astype(float), o.astype(float)
        up[i], down[i] = up[i] + 1, down[i] - 1
        gradient[i] = (loss(up, y).value - loss(down, y).value) / 2
    return gradient


def square_holds(name, shape, dtype="float64") -> bool:
    """Whether value and gradient of a squared error are right, exactly.

    They are compared with fractions and with central differences.
    """
    loss = getattr(loss_functions, name)
    o, y = integers(shape, 1).astype(dtype), integers(shape, 2).astype(dtype)
    value, gradient = loss(o, y)
    right = Fraction(value) == value_in_fractions(SQUARES[name], o, y)
    return (
        right
        and gradient.shape == o.shape
        and np.array_equal(gradient, central_differences(loss, o, y))
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8"])
@pytest.mark.parametrize("shape", EXACT_SHAPES, ids=str)
@pytest.mark.parametrize("name", SQUARES)
def test_squared_errors_are_exact_on_integers(name, shape, dtype):
    assert square_holds(name, shape, dtype)


@pytest.mark.parametrize("name", SQUARES)
def test_squared_errors_by_hand(name):
    once = {"half_squared_error": 1, "squared_error": 2}[name]
    value, gradient = getattr(loss_functions, name)([[3.0, 1], [0, -1]], [[1.0, 1], [4, 0]])
    assert value == once * (2**2 + 0 + 4**2 + 1**2) / 2 / 2
    assert gradient.tolist() == [[once * 2 / 2, 0], [once * -4 / 2, once * -1 / 2]]


@pytest.mark.parametrize("loss", [half_squared_error, squared_error])
def test_squared_errors_on_floats_are_within_the_bound_of_their_sum(loss):
    """The bound is gamma_(n + 3), by counting roundings.

    A square of a difference has three, a sum of n of them n - 1, and a division one.
    """
    rng = np.random.default_rng(0)
    o, y = rng.normal(size=(2, 3, 5)) * 10.0 ** rng.integers(-8, 8, (2, 3, 5))
    exact = [
        [Fraction(a) - Fraction(b) for a, b in zip(*rows, strict=True)]
        for rows in zip(o, y, strict=True)
    ]
    value = SQUARES[loss.__name__] * sum(d * d for row in exact for d in row) / 3
    got = loss(o, y)
    assert abs(Fraction(got.value) - value) <= Fraction(float(gamma(15 + 3, 2**-53))) * value
    for i in np.ndindex(3, 5):  # one difference, one division
        derivative = 2 * SQUARES[loss.__name__] * exact[i[0]][i[1]] / 3
        assert abs(Fraction(got.gradient[i]) - derivative) <= Fraction(
            float(gamma(2, 2**-53))
        ) * abs(derivative)


@pytest.mark.parametrize("loss", [half_squared_error, squared_error])
def test_gradients_stay_in_the_dtype_of_the_floats(loss):
    for dtype in ("float32", "float64"):
        o, y = np.ones((2, 3), dtype), np.zeros((2, 3), dtype)
        assert loss(o, y).gradient.dtype == dtype
        assert softmax_cross_entropy(o, [0, 1]).gradient.dtype == dtype
        assert type(loss(o, y).value) is type(softmax_cross_entropy(o, [0, 1]).value) is float


def not_over_the_batch(loss):
    return lambda o, y: Loss(loss(o, y).value, loss(o, y).gradient * len(o))


def averaged_over_outputs(loss):
    return lambda o, y: Loss(*(part / prod(np.shape(o)[1:]) for part in loss(o, y)))


def uphill(loss):
    return lambda o, y: Loss(loss(o, y).value, -loss(o, y).gradient)


def value_without_its_half(loss):
    return lambda o, y: Loss(2 * loss(o, y).value, loss(o, y).gradient)


@pytest.mark.parametrize(
    "defect", [not_over_the_batch, averaged_over_outputs, uphill, value_without_its_half]
)
@pytest.mark.parametrize("name", SQUARES)
def test_a_defect_in_a_squared_error_is_seen(name, defect, monkeypatch):
    assert square_holds(name, (8, 2))
    monkeypatch.setattr(loss_functions, name, defect(getattr(loss_functions, name)))
    assert not square_holds(name, (8, 2))


@pytest.mark.parametrize("name", SQUARES)
def test_target_and_output_exchanged_are_seen(name, monkeypatch):
    right = loss_functions._difference
    assert square_holds(name, (2, 3))
    monkeypatch.setattr(
        loss_functions, "_difference", lambda o, y: right(y, o)
    )  # the same value, the other gradient
    assert not square_holds(name, (2, 3))


# Softmax and cross-entropy, against 50 decimal digits

ULPS = {"float64": 2, "float32": 4}  # what NumPy's exp and log may be off by


def entropy_in_decimals(o, labels):
    """Return value and gradient of ``log(sum_k exp o_k) - o_label`` as it stands.

    No exponent is too large.
    """
    with localcontext() as context:
        context.prec = 50
        context.Emax = 10**15
        context.Emin = -(10**15)
        scores = [[Decimal(float(v)) for v in row] for row in o]
        exponentials = [[v.exp() for v in row] for row in scores]
        totals = [sum(row) for row in exponentials]
        n = len(scores)
        each = zip(totals, scores, labels, strict=True)
        value = sum(total.ln() - row[label] for total, row, label in each) / n
        gradient = [
            [(e / total - (k == label)) / n for k, e in enumerate(row)]
            for row, total, label in zip(exponentials, totals, labels, strict=True)
        ]
    return value, gradient


def entropy_bounds(o, value, ulps=2):
    """Return what value and gradient may be off by, with exp and log within `ulps`, that is 2 ulps
    u of their size.

    Of K classes, s = o - max has an error of u |s|, so exp s one of at most (|s| + 2 ulps) u exp s;
    |s| exp s < 1 for s <= 0, and the sum T of K of them is at least 1: it is off by ((1 + 2 ulps) K
    + K) u T at most, and log T by that share and its own 2 ulps u log K: together (4 ulps + 2) K u.
    Taking s_label off adds u |s_label| <= u value and a rounding, u value; the mean of N values
    gamma_N. A share exp s / T is at most 1, so off by (1 + 2 ulps) u + (2 + 2 ulps) K u + u, less 1
    by one rounding more, over N by another: (4 ulps + 6) K u / N."""
    (n, classes), u = o.shape, unit_roundoff(o.dtype)
    of_value = gamma((4 * ulps + 2) * classes, u) + gamma(n + 3, u) * float(value)
    return float(of_value), float(gamma((4 * ulps + 6) * classes, u)) / n


def entropy_holds(o, labels, ulps=2) -> bool:
    """Whether value and gradient are within the bounds of what 50 digits give."""
    value, gradient = entropy_in_decimals(o, labels)
    got = loss_functions.softmax_cross_entropy(o, labels)
    if not (np.isfinite(got.value) and np.isfinite(got.gradient).all()):
        return False
    of_value, of_gradient = entropy_bounds(o, value, ulps)
    differences = [
        abs(Decimal(float(a)) - b)
        for row, exact in zip(got.gradient, gradient, strict=True)
        for a, b in zip(row, exact, strict=True)
    ]
    within = got.gradient.shape == o.shape and max(differences) <= Decimal(of_gradient)
    return abs(Decimal(got.value) - value) <= Decimal(of_value) and within


def scores(n, classes, seed, largest=10.0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, classes)) * largest).astype(dtype), rng.integers(0, classes, n)


@pytest.mark.parametrize("dtype", ULPS)
@pytest.mark.parametrize("largest", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (1, 2), (3, 5), (8, 10), (5, 40)])
def test_cross_entropy_against_50_digits(n, classes, largest, dtype):
    for seed in range(3):
        assert entropy_holds(*scores(n, classes, seed, largest, dtype), ULPS[dtype])


LARGE = [
    ([[1e4, -1e4, 0.0]], [1]),
    ([[1e4, 1e4, 1e4]], [2]),
    ([[-1e4, -1e4]], [0]),
    (
        [[710.0, 709.0], [-746.0, -745.0]],
        [0, 1],
    ),  # exp overflows above 709.78 and is 0 below -745.13
    ([[1e300, 0.0], [0.0, -1e300]], [0, 0]),
    ([[0.0, 0.0, 0.0, 0.0]], [3]),
]


@pytest.mark.parametrize(("o", "labels"), LARGE, ids=str)
def test_no_score_is_too_large(o, labels):
    if max(map(max, o)) < 1e300:
        assert entropy_holds(np.array(o), labels)
    else:  # exponentials with more digits than anybody needs: the right one wins by all there is
        loss = softmax_cross_entropy(o, labels)
        assert (loss.value, loss.gradient.tolist()) == (0.0, [[0.0, 0.0]] * len(o))


def test_cross_entropy_by_hand():
    """Scores log 1, log 2, log 5 have shares 1/8, 2/8, 5/8."""
    value, gradient = softmax_cross_entropy(np.log([[1.0, 2, 5], [4, 4, 8]]), [1, 2])
    np.testing.assert_allclose(value, (log(4) + log(2)) / 2, rtol=1e-15)
    np.testing.assert_allclose(
        gradient, [[1 / 16, -6 / 16, 5 / 16], [1 / 8, 1 / 8, -2 / 8]], rtol=1e-15
    )


def test_every_integer_dtype_labels_alike():
    o, labels = scores(4, 3, 0)
    expected = softmax_cross_entropy(o, labels)
    for dtype in ("int8", "uint8", "int32", "uint64"):
        got = softmax_cross_entropy(o, labels.astype(dtype))
        assert got.value == expected.value
        assert np.array_equal(got.gradient, expected.gradient)


def test_the_scores_stay_as_they_are():
    o, labels = scores(4, 3, 0)
    before = o.copy(), labels.copy()
    softmax_cross_entropy(o, labels)
    assert np.array_equal(o, before[0])
    assert np.array_equal(labels, before[1])


def naive(o, labels):
    """Softmax as it is written down: exponentials of 1e4 are infinite."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shares = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
        at = np.arange(len(o)), labels
        value = float(-np.log(shares[at]).mean())
    shares[at] -= 1
    return Loss(value, shares / len(o))


def next_label(o, labels, right=softmax_cross_entropy):
    return right(o, (np.asarray(labels) + 1) % o.shape[1])


def without_the_label(o, labels, right=softmax_cross_entropy):
    value, gradient = right(o, labels)
    gradient[np.arange(len(o)), labels] += 1 / len(o)
    return Loss(value, gradient)


def in_float32(o, labels, right=softmax_cross_entropy):
    value, gradient = right(o.astype(np.float32), labels)
    return Loss(value, gradient.astype(o.dtype))


ENTROPY_DEFECTS = {
    "labels off by one": next_label,
    "not one less at the label": without_the_label,
    "not over the batch": not_over_the_batch(softmax_cross_entropy),
    "uphill": uphill(softmax_cross_entropy),
    "half the digits": in_float32,
}


@pytest.mark.parametrize("name", ENTROPY_DEFECTS)
def test_a_defect_in_cross_entropy_is_seen(name, monkeypatch):
    o, labels = scores(3, 5, 0)
    assert entropy_holds(o, labels)
    monkeypatch.setattr(loss_functions, "softmax_cross_entropy", ENTROPY_DEFECTS[name])
    assert not entropy_holds(o, labels)


def test_naive_exponentials_are_seen_on_large_scores_only(monkeypatch):
    small, large = scores(3, 5, 0, 1.0), scores(3, 5, 0, 1e4)
    assert entropy_holds(*large)
    monkeypatch.setattr(loss_functions, "softmax_cross_entropy", naive)
    assert entropy_holds(*small)
    assert not entropy_holds(*large)


@pytest.fixture
def torch():
    """Arrays this small are slower on several threads."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


@pytest.mark.parametrize("largest", [1.0, 30.0, 1e4])
def test_pytorch_has_the_same_cross_entropy(largest, torch):
    """Both are within the bound of the exact one, so within twice of each other."""
    for seed in range(5):
        o, labels = scores(4, 7, seed, largest)
        tensor = torch.from_numpy(o.copy()).requires_grad_()
        theirs = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels))
        theirs.backward()
        ours = softmax_cross_entropy(o, labels)
        of_value, of_gradient = entropy_bounds(o, ours.value)
        assert abs(ours.value - theirs.item()) <= 2 * of_value
        assert np.abs(ours.gradient - tensor.grad.numpy()).max() <= 2 * of_gradient


# Gradient descent, against fractions and PyTorch

RATE, MOMENTUM = 0.25, 0.5
SHAPES = {"0.w": (2, 1, 3), "0.b": (2,), "2.w": ()}


def arrays(seed, dtype="float64"):
    return {
        name: integers(shape, (seed, i)).astype(dtype)
        for i, (name, shape) in enumerate(SHAPES.items())
    }


def descended(steps, dtype="float64", rate=RATE, momentum=MOMENTUM):
    """Return the parameters and velocities after each of some steps with `optimizers.sgd`."""
    parameters = arrays(0, dtype)
    velocity = None
    seen = []
    for i in range(1, steps + 1):
        parameters, velocity = optimizers.sgd(
            parameters, arrays(i, dtype), velocity, rate=rate, momentum=momentum
        )
        seen.append((parameters, velocity))
    return seen


def in_fractions(steps, rate=RATE, momentum=MOMENTUM):
    """Return the same by a plain loop over numbers."""
    parameters = {name: [Fraction(int(v)) for v in a.ravel()] for name, a in arrays(0).items()}
    velocity, seen = {name: [Fraction(0)] * len(a) for name, a in parameters.items()}, []
    for i in range(1, steps + 1):
        gradients = arrays(i)
        for name, numbers in parameters.items():
            for j, g in enumerate(gradients[name].ravel()):
                velocity[name][j] = Fraction(momentum) * velocity[name][j] + Fraction(int(g))
                numbers[j] -= Fraction(rate) * velocity[name][j]
        seen.append(
            tuple({name: list(a) for name, a in state.items()} for state in (parameters, velocity))
        )
    return seen


def descends(steps=6, dtype="float64", rate=RATE, momentum=MOMENTUM) -> bool:
    """Whether descent on dyadic numbers, which need few bits, is that of fractions."""
    got, expected = descended(steps, dtype, rate, momentum), in_fractions(steps, rate, momentum)
    return all(
        {name: [Fraction(float(v)) for v in a.ravel()] for name, a in mine.items()} == plain
        for states in zip(got, expected, strict=True)
        for mine, plain in zip(*states, strict=True)
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("rate", [0.0, 0.25, 2.0])
def test_sgd_is_exact_on_dyadic_numbers(rate, momentum, dtype):
    assert descends(6, dtype, rate, momentum)


def test_the_dtype_and_the_shape_of_parameters_stay():
    for dtype in ("float32", "float64"):
        for state in descended(3, dtype, rate=0.1, momentum=0.9):
            for parts in state:
                assert {name: (a.dtype.name, a.shape) for name, a in parts.items()} == {
                    name: (dtype, shape) for name, shape in SHAPES.items()
                }


def test_nothing_is_changed_in_place():
    given = {"parameters": arrays(0), "gradients": arrays(1), "velocity": arrays(2)}
    before = {name: {k: a.copy() for k, a in parts.items()} for name, parts in given.items()}
    for parts in given.values():
        for a in parts.values():
            a.setflags(write=False)
    parameters, velocity = sgd(**given, rate=RATE, momentum=MOMENTUM)
    for name, parts in given.items():
        assert list(parts) == list(before[name])
        assert all(np.array_equal(a, before[name][k]) for k, a in parts.items())
    assert not any(np.shares_memory(parameters[k], given["parameters"][k]) for k in parameters)
    assert not any(np.shares_memory(velocity[k], given["velocity"][k]) for k in velocity)


def test_the_first_velocity_is_the_gradient():
    parameters, velocity = sgd(arrays(0), arrays(1), rate=RATE, momentum=MOMENTUM)
    assert all(np.array_equal(velocity[k], g) for k, g in arrays(1).items())
    zeros = {k: np.zeros_like(a) for k, a in arrays(0).items()}
    from_zero, _ = sgd(arrays(0), arrays(1), zeros, rate=RATE, momentum=MOMENTUM)
    assert all(np.array_equal(parameters[k], a) for k, a in from_zero.items())


def momentum_forgotten(p, g, v=None, *, rate, momentum=0.0):
    return sgd(p, g, v, rate=rate)


def velocity_forgotten(p, g, v=None, *, rate, momentum=0.0):
    return sgd(p, g, None, rate=rate, momentum=momentum)


def dampened(p, g, v=None, *, rate, momentum=0.0):
    return sgd(
        p,
        g if v is None else {k: a * (1 - momentum) for k, a in g.items()},
        v,
        rate=rate,
        momentum=momentum,
    )


def nesterov(p, g, v=None, *, rate, momentum=0.0):
    _, moved = sgd(p, g, v, rate=rate, momentum=momentum)
    return {k: a - rate * (g[k] + momentum * moved[k]) for k, a in p.items()}, moved


def rate_in_the_velocity(p, g, v=None, *, rate, momentum=0.0):
    return sgd(p, {k: rate * a for k, a in g.items()}, v, rate=1, momentum=momentum)


def step_up(p, g, v=None, *, rate, momentum=0.0):
    down, moved = sgd(p, g, v, rate=rate, momentum=momentum)
    return {k: 2 * a - down[k] for k, a in p.items()}, moved


SGD_DEFECTS = [
    momentum_forgotten,
    velocity_forgotten,
    dampened,
    nesterov,
    rate_in_the_velocity,
    step_up,
]


@pytest.mark.parametrize("defect", SGD_DEFECTS)
def test_a_defect_in_gradient_descent_is_seen(defect, monkeypatch):
    assert descends()
    monkeypatch.setattr(optimizers, "sgd", defect)
    assert not descends()


def against_pytorch(torch, dtype, steps=12, rate=0.1, momentum=0.9):
    """Return the largest difference from torch.optim.SGD, as a share of the bound.

    Per step and number a velocity is rounded twice, m v and + g, a parameter twice, rate v and the
    difference; PyTorch may fuse each pair and round once. An error in v is carried on by the factor
    m, and rate times it enters p in every step after: with sizes V and P of the largest numbers
    met, ``e_v <= 2 u V / (1 - m)`` and ``e_p <= steps (rate e_v + u (rate V + P))``, each evaluator
    as much."""
    rng = np.random.default_rng(0)
    ours, velocity = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}, None
    theirs = {k: torch.from_numpy(a.copy()).requires_grad_() for k, a in ours.items()}
    judge = torch.optim.SGD(theirs.values(), lr=rate, momentum=momentum)
    u = unit_roundoff(dtype)
    V = 0.0
    P = 0.0
    worst = 0.0
    for i in range(1, steps + 1):
        gradients = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
        for k, tensor in theirs.items():
            tensor.grad = torch.from_numpy(np.array(gradients[k]))
        judge.step()
        ours, velocity = optimizers.sgd(ours, gradients, velocity, rate=rate, momentum=momentum)
        V, P = (
            max(size, *(np.abs(a).max() for a in s.values()))
            for size, s in ((V, velocity), (P, ours))
        )
        bound = 2 * i * (rate * 2 * u * V / (1 - momentum) + u * (rate * V + P))
        differences = [
            np.abs(ours[k] - tensor.detach().numpy()).max() for k, tensor in theirs.items()
        ]
        worst = max(
            worst, max(differences) / (1.01 * bound)
        )  # second order, and sizes that are rounded themselves
    return worst


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_takes_the_same_steps(dtype, torch, monkeypatch):
    assert against_pytorch(torch, dtype) <= 1
    for defect in SGD_DEFECTS:
        if defect is not rate_in_the_velocity:  # the same steps, as long as the rate stays
            monkeypatch.setattr(optimizers, "sgd", defect)
            assert against_pytorch(torch, dtype) > 1


# Training

SAMPLES, BATCH = 7, 3


def tiny(seed=0, dtype="float64"):
    return network(
        Conv((1, 5), 2, kernel=2),
        ReLU(),
        MaxPool((2, 4), kernel=2),
        Flatten(),
        Linear(4, 3),
        seed=seed,
        dtype=dtype,
    )


def labelled(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 2, (SAMPLES, 1, 5), endpoint=True).astype(float), rng.integers(
        0, 3, SAMPLES
    )


def by_hand(net, x, target, loss, *, epochs, batch, rate, momentum, seed):
    """Return parameters and mean loss after each epoch, by a plain loop."""
    rng, seen = np.random.default_rng(seed), []
    p = {k: a.copy() for k, a in net.parameters.items()}
    v = {k: np.zeros_like(a) for k, a in p.items()}
    for _ in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        while len(order):
            now, order = order[:batch], order[batch:]
            net = net.with_parameters(p)
            value, do = loss(net.forward(x[now]), target[now])
            _, g = net.backward(x[now], do)
            v = {k: momentum * a + g[k] for k, a in v.items()}
            p = {k: a - rate * v[k] for k, a in p.items()}
            total += value * len(now)
        seen.append((p, total / len(x)))
    return seen


PLAN = {"epochs": 3, "batch": BATCH, "rate": 0.1, "momentum": 0.9, "seed": 5}


def trains(**plan) -> bool:
    """Whether training takes the steps of the plain loop, bit for bit."""
    x, labels = labelled()
    plan = {**PLAN, **plan}
    got = list(train(tiny(), x, labels, **plan))
    expected = by_hand(tiny(), x, labels, softmax_cross_entropy, **plan)
    return len(got) == len(expected) and all(
        epoch.loss == loss
        and set(epoch.network.parameters) == set(p)
        and all(np.array_equal(epoch.network.parameters[k], a) for k, a in p.items())
        for epoch, (p, loss) in zip(got, expected, strict=True)
    )


@pytest.mark.claim("network")
@pytest.mark.parametrize(
    "plan", [{}, {"epochs": 1}, {"batch": 1}, {"batch": SAMPLES}, {"batch": 99}, {"momentum": 0.0}]
)
def test_training_is_a_plain_loop_bit_for_bit(plan):
    assert trains(**plan)


def halved_rate(p, g, v=None, *, rate, momentum=0.0):
    return sgd(p, g, v, rate=rate / 2, momentum=momentum)


@pytest.mark.parametrize("defect", [*SGD_DEFECTS[:4], halved_rate, step_up])
def test_a_defect_in_the_steps_is_seen(defect, monkeypatch):
    assert trains()
    monkeypatch.setattr(loop, "sgd", defect)
    assert not trains()


def gradient_of_another_loss(net, x, target, loss, step, right=loop._loss_and_gradients):
    value, gradients = right(net, x, target, loss, step)
    return value, {k: 2 * g for k, g in gradients.items()}


def one_bias_forgotten(net, x, target, loss, step, right=loop._loss_and_gradients):
    value, gradients = right(net, x, target, loss, step)
    return value, {**gradients, "0.b": 0 * gradients["0.b"]}


def targets_out_of_step(net, x, target, loss, step, right=loop._loss_and_gradients):
    return right(net, x, np.roll(target, 1), loss, step)


@pytest.mark.parametrize(
    "defect", [gradient_of_another_loss, one_bias_forgotten, targets_out_of_step]
)
def test_a_defect_in_the_gradients_is_seen(defect, monkeypatch):
    assert trains()
    monkeypatch.setattr(loop, "_loss_and_gradients", defect)
    assert not trains()


def step_down(w, b, gradient, rate):
    """Return w and b one step down; a row of the gradient ends with that of the bias."""
    steps = zip(w, gradient, strict=True)
    stepped = [[v - rate * s for v, s in zip(row, g[:-1], strict=True)] for row, g in steps]
    return stepped, [v - rate * g[-1] for v, g in zip(b, gradient, strict=True)]


def in_fractions_by_hand(w1, b1, w2, b2, x, y, order, batch):
    """Return both layers after one epoch of backpropagation, number by number.

    Half squared errors, rate 1/4, no momentum;
    ``h = max(w1 x + b1, 0)``, ``o = w2 h + b2``, each number a fraction.
    """
    rate = Fraction(1, 4)
    hidden, outs = range(len(w1)), range(len(w2))
    for first in range(0, len(order), batch):
        now = order[first : first + batch]
        g1 = [[Fraction(0)] * (len(w1[0]) + 1) for _ in w1]  # the bias at the end
        g2 = [[Fraction(0)] * (len(w2[0]) + 1) for _ in w2]
        for n in now:
            a = [sum(w * v for w, v in zip(w1[i], x[n], strict=True)) + b1[i] for i in hidden]
            h = [max(v, Fraction(0)) for v in a]
            d = [
                (sum(w * v for w, v in zip(w2[j], h, strict=True)) + b2[j] - y[n][j]) / len(now)
                for j in outs
            ]
            for j in outs:
                g2[j] = [g + d[j] * v for g, v in zip(g2[j], [*h, 1], strict=True)]
            for i in hidden:
                da = sum(w2[j][i] * d[j] for j in outs) * (a[i] > 0)
                g1[i] = [g + da * v for g, v in zip(g1[i], [*x[n], 1], strict=True)]
        w1, b1 = step_down(w1, b1, g1, rate)
        w2, b2 = step_down(w2, b2, g2, rate)
    return w1, b1, w2, b2


def fractions(array):
    return [fractions(row) for row in array] if np.ndim(array) else Fraction(float(array))


def exact_epoch(direct=False) -> bool:
    """Whether one epoch on small integers, in batches of 2 and 1, is that of fractions.

    All numbers fit in 53 bits.
    """
    net = network(Linear(3, 4), ReLU(), Linear(4, 2), seed=0)
    start = {k: integers(a.shape, i, 2) for i, (k, a) in enumerate(net.parameters.items())}
    net = net.with_parameters({k: a.astype(float) for k, a in start.items()})
    x, y = integers((5, 3), 7, 2).astype(float), integers((5, 2), 8, 4).astype(float)
    options = {
        "loss": loss_functions.half_squared_error,
        "rate": 0.25,
        "momentum": 0.0,
        "batch": 2,
        "seed": 3,
    }
    (epoch,) = train(net.direct() if direct else net, x, y, epochs=1, **options)
    order = np.random.default_rng(3).permutation(5)
    expected = in_fractions_by_hand(
        *map(fractions, start.values()), fractions(x), fractions(y), order, 2
    )
    return [fractions(a) for a in epoch.network.parameters.values()] == list(expected)


@pytest.mark.parametrize("direct", [False, True])
def test_an_epoch_in_fractions(direct):
    assert exact_epoch(direct)


def test_an_undivided_gradient_is_seen_in_fractions(monkeypatch):
    assert exact_epoch()
    monkeypatch.setattr(
        loss_functions, "half_squared_error", not_over_the_batch(half_squared_error)
    )
    assert not exact_epoch()


def batches(seed=0, epochs=2, batch=BATCH):
    """Return which samples each batch had, by the first number of each, which is its own."""
    seen = []

    def listening(o, y):
        seen.append(y[:, 0].astype(int).tolist())
        return half_squared_error(o, y)

    x = np.arange(SAMPLES, dtype=float)[:, None]
    list(
        train(
            network(Linear(1, 1), seed=0),
            x,
            x,
            loss=listening,
            epochs=epochs,
            batch=batch,
            rate=0.0,
            seed=seed,
        )
    )
    return seen


def test_the_last_batch_is_smaller_and_no_sample_is_left_out():
    seen = batches()
    assert [len(b) for b in seen] == [3, 3, 1] * 2
    for epoch in (seen[:3], seen[3:]):
        assert sorted(n for b in epoch for n in b) == list(range(SAMPLES))
    assert seen[:3] != seen[3:]  # drawn anew


def test_the_same_seed_gives_the_same_order_and_another_another():
    assert batches(0) == batches(0)
    assert len({str(batches(seed)) for seed in range(5)}) == 5


def test_a_sample_counts_alike_in_a_small_batch():
    """With a rate of 0 the loss of an epoch is that of all samples at once.

    A mean of the batches' losses is not.
    """
    x, labels = labelled()
    (epoch,) = train(tiny(), x, labels, epochs=1, batch=BATCH, rate=0.0, seed=0)
    whole = softmax_cross_entropy(tiny().forward(x), labels).value
    order = np.random.default_rng(0).permutation(SAMPLES)
    parts = [order[:3], order[3:6], order[6:]]
    means = [softmax_cross_entropy(tiny().forward(x[part]), labels[part]).value for part in parts]
    assert epoch.loss == pytest.approx(whole, rel=1e-14)
    assert np.mean(means) != pytest.approx(whole, rel=1e-3)


def test_the_network_that_came_in_is_unchanged():
    net, (x, labels) = tiny(), labelled()
    before, given = {k: a.copy() for k, a in net.parameters.items()}, (x.copy(), labels.copy())
    epochs = list(train(net, x, labels, **PLAN))
    assert all(np.array_equal(a, before[k]) for k, a in net.parameters.items())
    assert np.array_equal(x, given[0])
    assert np.array_equal(labels, given[1])
    assert all(
        not np.array_equal(one.network.parameters["0.w"], other.network.parameters["0.w"])
        for one, other in pairwise(epochs)
    )


def test_float32_stays_float32():
    x, labels = labelled()
    *_, last = train(tiny(dtype="float32"), x.astype(np.float32), labels, **PLAN)
    assert {a.dtype.name for a in last.network.parameters.values()} == {"float32"}


def apart(direct, epochs=3):
    """Return how far dense layers and their direct counterpart part in some epochs.

    The data are integers.
    """
    x, labels = labelled()
    ends = [
        list(train(net, x, labels, **{**PLAN, "epochs": epochs}))[-1] for net in (tiny(), direct)
    ]
    one, other = (end.network.parameters for end in ends)
    assert list(one) == list(other)
    return max(float(np.abs(one[k] - other[k]).max()) for k in one)


@pytest.mark.claim("network")
def test_dense_and_direct_networks_take_the_same_steps():
    assert apart(tiny().direct()) <= 1e-12


def test_another_network_takes_other_steps():
    assert apart(tiny(seed=1).direct()) > 1e-3
    moved = {k: a + (k == "0.b") * 1e-9 for k, a in tiny().parameters.items()}
    assert apart(tiny().with_parameters(moved).direct()) > 1e-12


LAYER = r"(layer [0-4], (TiedDense\(Conv|ReLU|Tournament|Flatten|Dense)\(.*\))"
NOT_FINITE = (
    r"^training: got {} at step {}; needs finite numbers; use a smaller rate, or look at the data$"
)


def test_a_rate_far_too_large_names_the_step_and_the_layer():
    x, labels = labelled()
    with pytest.raises(FloatingPointError) as refused:
        list(train(tiny(), x, labels, rate=1e6, epochs=500, batch=BATCH, seed=0))
    assert re.match(
        rf"^training: got -?(inf|nan) in the output of {LAYER}, at step \d+; needs finite numbers; "
        rf"|^training: got (inf|nan) as the loss at step \d+, after {LAYER}; "
        r"needs finite numbers; ",
        str(refused.value),
    ), str(refused.value)
    list(train(tiny(), x, labels, rate=1e-2, epochs=20, batch=BATCH, seed=0))


@pytest.mark.parametrize("bad", [nan, np.inf])
def test_what_is_not_finite_in_the_data_is_named_at_its_step(bad):
    x, labels = labelled()
    last = np.random.default_rng(0).permutation(SAMPLES)[-1]
    x[last, 0, 2] = bad
    with pytest.raises(FloatingPointError, match=NOT_FINITE.format(f"{bad} in the input", 2)):
        list(train(tiny(), x, labels, epochs=1, batch=BATCH, seed=0))
    x[last, 0, 2] = 1
    list(train(tiny(), x, labels, epochs=1, batch=BATCH, seed=0))


@pytest.mark.parametrize("bad", [nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_at_its_step(bad):
    x, labels = labelled()
    calls = []

    def loss(o, y):
        calls.append(1)
        value, gradient = softmax_cross_entropy(o, y)
        return Loss(bad if len(calls) == 5 else value, gradient)

    with pytest.raises(
        FloatingPointError,
        match=rf"^training: got {bad} as the loss at step 4, after layer 4, Dense\(",
    ):
        list(train(tiny(), x, labels, loss=loss, epochs=2, batch=BATCH, seed=0))
    list(train(tiny(), x, labels, loss=loss, epochs=2, batch=BATCH, seed=0))
