"""Evidence: what one layer, pool or network has to say about one claim."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import inf, prod

import numpy as np

from convdense._util.arguments import Array
from convdense.certificates._certify import certify
from convdense.checks.check_layer import check
from convdense.direct.conv import convolve
from convdense.geometry import AvgPool, ConvTranspose, HasShapes, Pool, Windowed
from convdense.layers.activations import LeakyReLU
from convdense.layers.error_bounds import integer_unit
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.structure._tie import tie
from convdense.verdicts.findings import Judgement

# inputs of a max pool so small that every order of its cells, ties included, is tried
ORDERS = 5_000
AnyLayer = HasShapes | LeakyReLU  # an activation may have no shape yet


@dataclass(frozen=True)
class Evidence:
    """What one layer has to say about one claim."""

    layer: AnyLayer
    exact: bool  # equal on integers, bit for bit
    error: float = 0.0  # probability that this was fooled; 0 where every case was evaluated
    difference: float = 0.0  # on floats, the worst
    bound: float = 0.0  # the rounding bound that applies to it
    trials: int = 0  # where there is no such probability: how many exact trials there were

    @property
    def held(self) -> bool:
        """Whether the claim held here."""
        return self.exact and self.difference <= self.bound


def on_floats(report: Judgement, names: Iterable[str]) -> tuple[float, float]:
    """Return difference and bound of the quantity that takes the largest share of its bound."""
    worst = max((report[name] for name in names), key=lambda f: (not f.holds, f.share))
    if not worst.holds:  # a wrong shape, for one, has no difference to speak of
        return inf, 0.0
    return worst.difference, worst.bound


def of_network(layer: Pool | Network) -> Evidence:
    """Return the evidence of exact trials, and of random reals."""
    certificate = certify(layer)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *layer.in_shape))
    dy = rng.normal(size=(2, *layer.out_shape))
    report = check(layer, x, dy=dy)
    difference, bound = on_floats(report, [finding.name for finding in report.findings])
    return Evidence(layer, certificate.exact, 0.0, difference, bound, trials=certificate.trials)


def of_pool(pool: Pool) -> Evidence:
    """Return the evidence of a pool; where it is small, by trying every case there is."""
    evidence = of_network(pool)
    cases = _basis_vectors(pool) if isinstance(pool, AvgPool) else _orders(pool)
    if cases is None:
        return evidence
    x, dy = cases
    exact = evidence.exact and agree(network(pool), x, dy)
    return Evidence(pool, exact, 0.0, evidence.difference, evidence.bound)


def of_activation(layer: LeakyReLU) -> Evidence:
    """Return the evidence on every coordinate negative, zero and positive, and on random reals."""
    net = network(layer)
    evidence = of_network(net)
    unit = integer_unit(net)  # its multiples stay integers all the way through
    from_minus_8_to_8 = np.repeat(np.arange(-8.0, 9), prod(net.in_shape))
    x = unit * from_minus_8_to_8.reshape(17, *net.in_shape)  # one sample for each of 17 numbers
    dy = x[::-1] + unit  # another number at every x, at x = 0 not zero
    exact = evidence.exact and agree(net, x, dy)
    return Evidence(layer, exact, 0.0, evidence.difference, evidence.bound)


def of_second_derivative(layer: Windowed | ConvTranspose) -> Evidence:
    """Return whether ``d2y_r / dw_k dx_c`` is how many entries (r, c, k) the tie map has.

    For all r, c and k. y is bilinear in w and x, so the mixed difference
    ``y(x + e_c, w + e_k) - y(x + e_c, w) - y(x, w + e_k) + y(x, w)`` is exact: it is taken of
    direct convolution, at random integers.
    """
    rows, cols = tie(layer).shape
    entries = tie(layer).entries()
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, layer.in_shape)
    w = rng.integers(-9, 10, layer.weight_shape)
    e_c = np.eye(cols, dtype=np.int64).reshape(-1, *layer.in_shape)  # (inputs, *in_shape)
    y = convolve(layer, x, w)
    y_c = convolve(layer, x + e_c, w)  # (inputs, *out_shape): for every c at once
    exact = True
    for k in range(w.size):
        e_k = np.zeros_like(w)
        e_k.flat[k] = 1
        y_k = convolve(layer, x, w + e_k)
        y_ck = convolve(layer, x + e_c, w + e_k)
        mixed = y_ck - y_c - y_k + y
        own = entries.index == k
        count = np.zeros((cols, rows), np.int64)
        np.add.at(count, (entries.col[own], entries.row[own]), 1)
        exact &= np.array_equal(mixed.reshape(cols, rows), count)
    return Evidence(layer, bool(exact))


def _basis_vectors(pool: Pool) -> tuple[Array, Array]:
    """Return every basis vector, of inputs and of outputs, as multiples that divide evenly."""
    rows, cols = prod(pool.out_shape), prod(pool.in_shape)
    unit = integer_unit(network(pool))
    samples = max(rows, cols)  # the shorter of the two is filled up with zeros
    x = np.eye(samples, cols).reshape(-1, *pool.in_shape)
    dy = np.eye(samples, rows).reshape(-1, *pool.out_shape)
    return unit * x, unit * dy


def _orders(pool: Pool) -> tuple[Array, Array] | None:
    """Return inputs in every order that their cells can have, ties included.

    A max depends on nothing else. None: there are too many.
    """
    n = prod(pool.in_shape)
    if n**n > ORDERS:
        return None
    x = np.array(list(product(range(n), repeat=n)), float) - n // 2  # of both signs
    dy = np.random.default_rng(0).integers(-9, 10, (len(x), *pool.out_shape))
    return x.reshape(-1, *pool.in_shape), dy.astype(float)


def agree(net: Network, x: Array, dy: Array) -> bool:
    """Tell whether dense layers and |x| equal the direct counterpart bit for bit, in everything."""
    direct = net.direct()
    dx, gradients = net.backward(x, dy)
    expected_dx, expected = direct.backward(x, dy)
    pairs = [(net.forward(x), direct.forward(x)), (dx, expected_dx)]
    pairs += [(gradients[name], gradient) for name, gradient in expected.items()]
    return all(np.array_equal(got, wanted) for got, wanted in pairs)
