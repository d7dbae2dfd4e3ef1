"""Training: epochs of shuffled batches, each a forward pass, plain backpropagation and a step downhill."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convdense.arguments import Array, batched, complain, integer
from convdense.losses import LossFunction, softmax_cross_entropy
from convdense.networks import Network
from convdense.optimize import Arrays, sgd


@dataclass(frozen=True)
class Epoch:
    """Where training stands after an epoch: the network, and the mean loss of the epoch's batches."""

    network: Network
    loss: float


def train(
    net: Network,
    x: Any,
    target: Any,
    *,
    loss: LossFunction = softmax_cross_entropy,
    epochs: int = 10,
    batch: int = 64,
    rate: float = 0.1,
    momentum: float = 0.9,
    seed: int = 0,
) -> Iterator[Epoch]:
    """Yield the network after each epoch; one run as dense layers and one run directly take the same steps.

    Parameters
    ----------
    net : Network
    x : (samples, *in_shape) array
    target : (samples, ...) array
        Labels, or what the loss compares with.
    loss : function of (o, target) that returns a `Loss`
    epochs, batch : int
        The last batch of an epoch may be smaller.
    rate, momentum : float
        See `sgd`.
    seed : int
        Of the order of the samples, drawn anew for each epoch.

    Raises
    ------
    ValueError
        For samples and targets that do not fit.
    FloatingPointError
        If a layer's output or the loss is no longer finite, naming the step and the layer.

    Examples
    --------
    >>> from convdense import Linear, network
    >>> from convdense.losses import squared_error
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> epochs = train(network(Linear(2, 1), seed=0), x, x @ [[3.0], [1.0]], loss=squared_error, epochs=200)
    >>> [*_, last] = epochs
    >>> np.round(last.network.parameters["0.w"], 3)
    array([[3., 1.]])
    """
    samples, had_batch = batched(x, "x", net.in_shape, net)
    targets, batch, epochs = np.asarray(target), integer(batch, "batch", 1), integer(epochs, "epochs", 1)
    if not had_batch or not len(samples):
        raise ValueError(complain("x", f"shape {np.shape(x)}", "(samples, *in_shape), at least one sample"))
    if targets.shape[:1] != samples.shape[:1]:
        raise ValueError(complain("target", f"shape {targets.shape}", f"({len(samples)}, ...), one for each sample"))
    rng, velocity, step = np.random.default_rng(seed), None, 0
    for _ in range(epochs):
        order, total = rng.permutation(len(samples)), 0.0
        for first in range(0, len(order), batch):
            chosen = order[first : first + batch]
            value, gradients = _descent(net, samples[chosen], targets[chosen], loss, step)
            parameters, velocity = sgd(net.parameters, gradients, velocity, rate=rate, momentum=momentum)
            net, step, total = net.with_parameters(parameters), step + 1, total + value * len(chosen)
        yield Epoch(net, total / len(order))


def _descent(net: Network, x: Array, target: Array, loss: LossFunction, step: int) -> tuple[float, Arrays]:
    """Return the loss and the gradients; refuse to go on with NaN or infinity."""
    do = "use a smaller rate, or look at the data"
    values: list[Array] = []
    with np.errstate(over="ignore", invalid="ignore"):  # said below, with step and layer
        for value in net.trace(x):
            values.append(value)
            if not np.isfinite(value).all():
                i = len(values) - 2
                where = f"the output of layer {i}, {net.layers[i]!r}," if i >= 0 else "the input"
                got = f"{value[~np.isfinite(value)][0]} in {where} at step {step}"
                raise FloatingPointError(complain("training", got, "finite numbers", do))
        result = loss(values[-1], target)
    if not np.isfinite(result.value):
        got = f"a loss of {result.value} at step {step}, after layer {len(net.layers) - 1}, {net.layers[-1]!r}"
        raise FloatingPointError(complain("training", got, "a finite loss", do))
    return result.value, net.pull_back(values, result.gradient)[1]
