"""network: geometries in, a network out.

Geometries get seeded He weights, ready layers keep theirs.
"""

import sys
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple, Union

import numpy as np

from convdense._util.arguments import (
    Array,
    Seed,
    choice,
    complain,
    complain_of,
    is_sequence,
    seed_or_none,
)
from convdense._util.float_formats import spelled
from convdense._util.foreign_names import explained, named_here
from convdense._util.foreign_objects import what_to_write
from convdense.geometry import ChannelScale, HasShapes, Layer, Linear, Pool
from convdense.geometry.base import Hyperparameters
from convdense.layers.base import AnyShape, is_ready
from convdense.layers.dense import Dense
from convdense.layers.plain_form import Plain, plain_to_layer, reads
from convdense.layers.pooling import dense_pool
from convdense.layers.tied_dense import TiedDense
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.structure._tie import tie
from convdense.structure.tie_map import TieMap

LayerLike = Union[HasShapes, AnyShape, "Residual"]  # what `network` takes


class Context(NamedTuple):
    """What a layer is made ready with."""

    place: str  # for messages, such as "layer 2"
    in_shape: tuple[int, ...] | None  # what reaches it; None for the first layer
    rng: np.random.Generator
    dtype: str


@dataclass(frozen=True, init=False)
class Residual:
    """Layers whose input is added to their output; a network makes them ready.

    Parameters
    ----------
    *layers
        As for `network`; together of equal input and output shape.

    Examples
    --------
    >>> from convdense import Conv, ReLU, network
    >>> conv = Conv((2, 5), out_channels=2, kernel=3, padding="same")
    >>> sorted(network(Residual(conv, ReLU(), conv), ReLU(), seed=0).parameters)
    ['0.0.b', '0.0.w', '0.2.b', '0.2.w']
    """

    layers: tuple[LayerLike, ...]

    def __init__(self, *layers: "LayerLike") -> None:
        object.__setattr__(self, "layers", layers)

    def __repr__(self) -> str:
        return f"Residual({', '.join(map(repr, self.layers))})"


@explained
def network(*layers: LayerLike, seed: Seed = None, dtype: object = "float64") -> Network:
    """Return layers as one network of dense layers and |x|.

    Parameters
    ----------
    *layers
        Geometries: Conv, ConvTranspose, LocallyConnected, Linear, ChannelScale, any pool, any
        activation, Flatten, Residual; or ready layers: TiedDense, Dense, Abs, a Network, or a layer
        of your own (see `Network`).
    seed : int, numpy.random.SeedSequence or None
        Of the weights; None draws fresh entropy.
    dtype : {"float64", "float32"}
        Of the weights that are drawn.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        For no layers, what is no layer, and layers that do not fit together, named by position.

    Notes
    -----
    Weights are normal with standard deviation ``sqrt(2 / n)``, n the most edges into one output,
    counted on the tie map (He et al., *Delving deep into rectifiers*, 2015, eq. 10); biases are 0,
    channel scales 1.

    Examples
    --------
    >>> from convdense import Conv, Flatten, Linear, MaxPool, ReLU
    >>> conv, pool = Conv((1, 6, 6), out_channels=4, kernel=3), MaxPool((4, 4, 4), kernel=2)
    >>> net = network(conv, ReLU(), pool, Flatten(), Linear(16, out_features=10), seed=0)
    >>> net
    Network(5 layers, (1, 6, 6) -> (10,))
    >>> net.forward(np.zeros((7, 1, 6, 6))).shape
    (7, 10)
    """
    word = choice(spelled(dtype), "dtype", ("float64", "float32"))
    rng = np.random.default_rng(seed_or_none(seed))
    return Network(_made(layers, Context("", None, rng, word)))


def _made(layers: tuple[LayerLike, ...], context: Context) -> tuple[Layer, ...]:
    """Return layers that run, each told what the one before it gives."""
    made: list[Layer] = []
    separator = "." if context.place else "layer "
    shape = context.in_shape
    for i, layer in enumerate(layers):
        place = f"{context.place}{separator}{i}"
        made.append(ready(layer, context._replace(place=place, in_shape=shape)))
        shape = tuple(made[-1].out_shape)
    return tuple(made)


@singledispatch
def ready(layer: object, context: Context) -> Layer:
    """Return a layer that runs, from its numbers; one that runs is returned as it is."""
    if not is_ready(layer):
        needs = (
            "a geometry, or a ready layer with in_shape, out_shape, forward(x) and backward(x, dy)"
        )
        do = "write network(*layers)" if is_sequence(layer) and layer else ""
        if what_to_write(layer, "layer"):  # a module of another framework
            needs += named_here(type(layer).__name__, sys.modules["convdense"].__all__)
        raise TypeError(complain_of(context.place, layer, needs, do))
    return layer


@ready.register
def _(layer: Hyperparameters | TieMap, context: Context) -> TiedDense:
    bias = np.zeros(tie(layer).bias_shape, context.dtype)
    return TiedDense(layer, _he_weights(layer, context), bias)


@ready.register
def _(layer: Linear, context: Context) -> Dense:
    return Dense(_he_weights(layer, context), np.zeros(layer.bias_shape, context.dtype))


@ready.register
def _(layer: ChannelScale, context: Context) -> TiedDense:
    w = np.ones(layer.weight_shape, context.dtype)
    return TiedDense(layer, w, np.zeros_like(w))


@ready.register
def _(layer: Pool, context: Context) -> Layer:  # noqa: ARG001  (a pool has no weights)
    return dense_pool(layer)


@ready.register
def _(layer: AnyShape, context: Context) -> Layer:
    if layer.in_shape is None and context.in_shape is None:
        needs = f"{type(layer).__name__}(in_shape=...), or a layer before it that says its shape"
        raise ValueError(complain(context.place, repr(layer), needs))
    if layer.in_shape is None and context.in_shape is not None:
        layer = layer.with_in_shape(context.in_shape)
    assert is_ready(layer)
    return layer


@ready.register
def _(layer: Residual, context: Context) -> ResidualSum:
    made = _made(layer.layers, context)
    try:
        return ResidualSum(Network(made))
    except ValueError as error:  # none, or some that do not fit together: say where
        raise ValueError(f"{context.place}, Residual, {error}") from None


def _he_weights(layer: HasShapes, context: Context) -> Array:
    """Return normal weights of standard deviation sqrt(2 / n), n the most edges into one output."""
    edges = max(1, int(tie(layer).counts().outputs.max(initial=0)))
    weights = context.rng.normal(scale=np.sqrt(2 / edges), size=tie(layer).weight_shape)
    return np.asarray(weights.astype(context.dtype))


@reads("Network")
def _(values: Plain) -> Network:
    return network(*(plain_to_layer(part) for part in values["layers"]))


@reads("ResidualSum")
def _(values: Plain) -> Layer:
    inner = Residual(*(plain_to_layer(part) for part in values["layers"]))
    return network(inner).layers[0]
