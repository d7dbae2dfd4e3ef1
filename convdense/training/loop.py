"""Training: epochs of shuffled batches.

Each batch is a forward pass, plain backpropagation and one step of gradient descent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import (
    Array,
    Seed,
    as_array,
    batched,
    complain,
    integer,
    seed_or_none,
)
from convdense.networks.network import Network
from convdense.training.losses import LossFunction, softmax_cross_entropy
from convdense.training.optimizers import Arrays, sgd


@dataclass(frozen=True)
class Epoch:
    """Where training stands after an epoch: the network, and the mean loss over its samples.

    The loss of a sample was taken before the step of its batch.
    """

    network: Network
    loss: float


def train(
    net: Network,
    x: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    loss: LossFunction = softmax_cross_entropy,
    epochs: int = 10,
    batch: int = 64,
    rate: float = 0.1,
    momentum: float = 0.9,
    seed: Seed = None,
) -> Iterator[Epoch]:
    """Return an iterator over the network after each epoch.

    Dense layers and their direct counterparts take the same steps.

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
    seed : int, numpy.random.SeedSequence or None
        Of the order of the samples, drawn anew for each epoch; None draws fresh entropy.

    Returns
    -------
    iterator of Epoch

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.
    FloatingPointError
        If a layer's output, the loss or a parameter is no longer finite, naming the step and the
        layer.

    Examples
    --------
    >>> from convdense import Linear, network
    >>> from convdense.training.losses import squared_error
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> net = network(Linear(2, 1), seed=0)
    >>> epochs = train(net, x, x @ [[3.0], [1.0]], loss=squared_error, epochs=200)
    >>> [*_, last] = epochs
    >>> np.round(last.network.parameters["0.w"], 3)
    array([[3., 1.]])
    """
    samples, targets = _samples_and_targets(net, x, target, loss)
    epochs = integer(epochs, "epochs", 1)
    batch = integer(batch, "batch", 1)
    sgd({}, {}, rate=rate, momentum=momentum)  # a wrong rate is refused before the first step
    seed_number = seed_or_none(seed)

    def run() -> Iterator[Epoch]:
        rng = np.random.default_rng(seed_number)
        velocity: Arrays | None = None
        now = net
        step = 0
        for _ in range(epochs):
            order = rng.permutation(len(samples))
            total = 0.0
            for first in range(0, len(order), batch):
                chosen = order[first : first + batch]
                value, gradients = _loss_and_gradients(
                    now, samples[chosen], targets[chosen], loss, step
                )
                with np.errstate(over="ignore", invalid="ignore"):  # said below, with the parameter
                    parameters, velocity = sgd(
                        now.parameters, gradients, velocity, rate=rate, momentum=momentum
                    )
                for name, array in parameters.items():  # such as "0.w"
                    where = f"in parameter {name!r}, layer {name.split('.')[0]}, after step {step}"
                    _check_finite(array, where)
                now = now.with_parameters(parameters)
                total += value * len(chosen)
                step += 1
            yield Epoch(now, total / len(order))

    return run()


def _samples_and_targets(
    net: object, x: npt.ArrayLike, target: npt.ArrayLike, loss: object
) -> tuple[Array, Array]:
    """Return samples and targets, one for each; refuse what is no network or no loss."""
    if not isinstance(net, Network):
        raise TypeError(complain("net", repr(net), "a Network", "make one with network(...)"))
    if not callable(loss):
        raise TypeError(complain("loss", repr(loss), "a function of (o, target)"))
    samples, had_batch = batched(x, "x", net.in_shape, net)
    if not had_batch or not len(samples):
        needs = "(samples, *in_shape), at least one sample"
        raise ValueError(complain("x", f"shape {np.shape(x)}", needs))
    targets = as_array(target, "target")
    if targets.shape[:1] != samples.shape[:1]:
        needs = f"({len(samples)}, ...), one for each sample"
        raise ValueError(complain("target", f"shape {targets.shape}", needs))
    return samples, targets


def _loss_and_gradients(
    net: Network, x: Array, target: Array, loss: LossFunction, step: int
) -> tuple[float, Arrays]:
    """Return the loss and the gradients; refuse to go on with NaN or infinity."""
    values: list[Array] = []  # the input, then the output of each layer
    with np.errstate(over="ignore", invalid="ignore"):  # said at once, with step and layer
        for i, array in enumerate(net.trace(x), start=-1):
            where = "in the input" if i < 0 else f"in the output of layer {i}, {net.layers[i]!r},"
            _check_finite(array, f"{where} at step {step}")
            values.append(array)
        result: object = loss(values[-1], target)
    if not isinstance(result, tuple) or len(result) != 2:
        needs = "a Loss(value, gradient) from the function"
        raise TypeError(complain("loss", f"a {type(result).__name__}", needs))

    value, gradient = result
    last = f"at step {step}, after layer {len(net.layers) - 1}, {net.layers[-1]!r}"
    _check_finite(np.asarray(value), f"as the loss {last}")
    _check_finite(np.asarray(gradient), f"as the gradient of the loss {last}")
    _, gradients = net.pull_back(values, gradient)
    return float(value), gradients


def _check_finite(array: Array, where: str) -> None:
    """Refuse NaN and infinity, saying where."""
    finite = np.isfinite(array)
    if not finite.all():
        got = f"{array[~finite].flat[0]} {where}"
        raise FloatingPointError(
            complain("training", got, "finite numbers", "use a smaller rate, or look at the data")
        )
