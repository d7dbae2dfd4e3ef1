"""Evidence: what one layer has to say about one claim, and what pools and networks have to say about theirs."""

from dataclasses import dataclass
from itertools import product
from math import inf, prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.certificates._certify import certify
from convdense.checks.check_layer import check
from convdense.direct.conv import convolve
from convdense.geometry import AvgPool, Pool
from convdense.layers.error_bounds import integer_unit
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.structure._tie import tie
from convdense.verdicts.findings import Judgement

ORDERS = (
    5_000  # inputs of a max pool so small that every order of its cells, ties included, is tried
)


@dataclass(frozen=True)
class Evidence:
    """What one layer has to say about one claim.

    Parameters
    ----------
    layer : geometry, pool or Network
    exact : bool
        Equal on integers, bit for bit.
    error : float
        Probability that the exact check was fooled; 0 where every case was evaluated.
    difference, bound : float
        On floats: the worst difference, and the rounding bound that applies to it.
    trials : int
        Where there is no such probability: how many exact trials there were.
    """

    layer: Any
    exact: bool
    error: float = 0.0
    difference: float = 0.0
    bound: float = 0.0
    trials: int = 0

    @property
    def held(self) -> bool:
        """Whether the claim held here."""
        return self.exact and self.difference <= self.bound


def on_floats(report: Judgement, names: Any) -> tuple[float, float]:
    """Return the difference and the bound of the quantity that takes the largest share of its bound."""
    worst = max(
        (report[name] for name in names), key=lambda finding: (not finding.holds, finding.share)
    )
    return (
        (worst.difference, worst.bound) if worst.holds else (inf, 0.0)
    )  # a wrong shape has no difference to speak of


def of_network(layer: Pool | Network) -> Evidence:
    """Return the evidence of exact trials, and of random reals."""
    certificate, rng = certify(layer), np.random.default_rng(0)
    report = check(
        layer, rng.normal(size=(2, *layer.in_shape)), dy=rng.normal(size=(2, *layer.out_shape))
    )
    names = [finding.name for finding in report.findings]
    return Evidence(
        layer, certificate.exact, 0.0, *on_floats(report, names), trials=certificate.trials
    )


def of_pool(pool: Pool) -> Evidence:
    """Return the same, and of a pool so small that all its cases can be tried, that it is equal on every one."""
    evidence = of_network(pool)
    cases = _basis(pool) if isinstance(pool, AvgPool) else _orders(pool)
    if cases is None:
        return evidence
    net = network(pool)
    exact = evidence.exact and agree(net, *cases)
    return Evidence(pool, exact, 0.0, evidence.difference, evidence.bound)


def of_activation(layer: Any) -> Evidence:
    """Return the evidence of an activation on every coordinate negative, zero and positive, and of random reals."""
    net, n = network(layer), prod(layer.in_shape)
    evidence = of_network(net)
    x = integer_unit(net) * np.repeat(np.arange(-8.0, 9), n).reshape(17, *layer.in_shape)
    exact = evidence.exact and agree(net, x, x[::-1] + integer_unit(net))
    return Evidence(layer, exact, 0.0, evidence.difference, evidence.bound)


def of_second_derivative(layer: Any) -> Evidence:
    """Return the evidence that ``d2y_r / dw_k dx_c`` is how many entries (r, c, k) the tie map has,
    for all r, k, c.

    y is bilinear in w and x, so a mixed difference with step 1 is exact: of direct convolution, at
    random integers.
    """
    rows, cols = tie(layer).shape
    rng, entries, exact = np.random.default_rng(0), tie(layer).entries(), True
    x, w = (rng.integers(-9, 10, shape) for shape in (layer.in_shape, layer.weight_shape))
    steps = np.eye(cols, dtype=np.int64).reshape(
        -1, *layer.in_shape
    )  # e_c for every input, (inputs, *in_shape)
    at, beside = convolve(layer, x, w), convolve(layer, x + steps, w)
    for k in range(w.size):
        step = np.zeros_like(w)
        step.flat[k] = 1
        mixed = convolve(layer, x + steps, w + step) - beside - convolve(layer, x, w + step) + at
        own = entries.index == k
        count = np.zeros((cols, rows), np.int64)
        np.add.at(count, (entries.col[own], entries.row[own]), 1)
        exact &= np.array_equal(mixed.reshape(cols, rows), count)
    return Evidence(layer, bool(exact))


def _basis(pool: Pool) -> tuple[Array, Array]:
    """Return every basis vector, of inputs and of outputs, as multiples that divide evenly."""
    rows, cols, unit = prod(pool.out_shape), prod(pool.in_shape), integer_unit(network(pool))
    x, dy = (
        np.eye(max(rows, cols), n).reshape(-1, *s)
        for n, s in ((cols, pool.in_shape), (rows, pool.out_shape))
    )
    return unit * x, unit * dy


def _orders(pool: Pool) -> tuple[Array, Array] | None:
    """Return inputs in every order their cells can have, ties included: a max depends on nothing else."""
    n = prod(pool.in_shape)
    if n**n > ORDERS:
        return None
    x = np.array(list(product(range(n), repeat=n)), float) - n // 2  # of both signs
    rng = np.random.default_rng(0)
    return x.reshape(-1, *pool.in_shape), rng.integers(-9, 10, (len(x), *pool.out_shape)).astype(
        float
    )


def agree(net: Network, x: Array, dy: Array) -> bool:
    """Tell whether dense layers and |x| and the direct counterpart agree to the last bit, in every quantity."""
    direct = net.direct()
    (dx, own), (expected, gradients) = net.backward(x, dy), direct.backward(x, dy)
    pairs = [
        (net.forward(x), direct.forward(x)),
        (dx, expected),
        *((own[name], g) for name, g in gradients.items()),
    ]
    return all(np.array_equal(a, b) for a, b in pairs)
