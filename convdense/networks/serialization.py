"""Layers as plain data and back: geometries by hyper-parameters, tie maps by their axes, networks
by their layers.

Nothing is ever imported.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np

from convdense._util.arguments import complain
from convdense.geometry import layer_from_dict
from convdense.layers.activations import Abs, LeakyReLU, ReLU
from convdense.layers.base import OfPool
from convdense.layers.dense import Dense, TiedDense
from convdense.layers.flatten import Flatten
from convdense.layers.pooling import dense_pool
from convdense.networks.builder import Residual, network
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.structure.axis import Axis
from convdense.structure.tie_map import TieMap


@singledispatch
def layer_to_plain(layer: Any) -> dict[str, Any]:
    """Return a geometry, a tie map, a ready layer or a network as JSON can hold it.

    Raises
    ------
    TypeError
        For a layer of another kind.

    Examples
    --------
    >>> from convdense import Conv
    >>> plain_to_layer(layer_to_plain(Conv((1, 5), out_channels=2, kernel=3)))
    Conv((1, 5), out_channels=2, kernel=3)
    >>> plain_to_layer(layer_to_plain(TieMap.from_index([[0, 1], [1, -1]]))).matrix([5, 7]).toarray()
    array([[5, 7],
           [7, 0]])
    >>> plain_to_layer(layer_to_plain(network(Conv((1, 5), out_channels=2, kernel=3), ReLU())))
    Network(2 layers, (1, 5) -> (2, 3))
    """
    if not hasattr(layer, "to_dict"):
        needs = "a geometry, a tie map, or a layer or network of this library"
        raise TypeError(complain("layer", repr(layer), needs))
    return dict(layer.to_dict())


@layer_to_plain.register
def _(layer: TieMap) -> dict[str, Any]:
    axes = [{name: _plain(value) for name, value in vars(axis).items()} for axis in layer.axes]
    return {
        "type": "TieMap",
        "axes": axes,
        "weight_order": layer.weight_order,
        "bias_axes": layer.bias_axes,
    }


@layer_to_plain.register
def _(layer: TiedDense) -> dict[str, Any]:
    return {
        "type": "TiedDense",
        "layer": layer_to_plain(layer.layer),
        "w": _plain(layer.w),
        "b": _plain(layer.b),
    }


@layer_to_plain.register
def _(layer: Dense) -> dict[str, Any]:
    return {"type": "Dense", "w": _plain(layer.w), "b": _plain(layer.b)}


@layer_to_plain.register
def _(layer: OfPool) -> dict[str, Any]:
    return {
        "type": "dense_pool",
        "pool": layer.pool.to_dict(),
        "tie_break": getattr(layer, "tie_break", "first"),
    }


@layer_to_plain.register(Abs)
@layer_to_plain.register(LeakyReLU)
@layer_to_plain.register(Flatten)
def _(layer: Any) -> dict[str, Any]:
    values = {
        k: v for k, v in vars(layer).items() if not (isinstance(layer, ReLU) and k == "slope")
    }
    return {"type": type(layer).__name__, **values}


@layer_to_plain.register
def _(layer: ResidualSum) -> dict[str, Any]:
    return {"type": "ResidualSum", "layers": [layer_to_plain(part) for part in layer.inner.layers]}


@layer_to_plain.register
def _(layer: Network) -> dict[str, Any]:
    return {"type": "Network", "layers": [layer_to_plain(part) for part in layer.layers]}


def plain_to_layer(data: dict[str, Any]) -> Any:
    """Read back what `layer_to_plain` wrote."""
    values = dict(data)
    reader = _READERS.get(values.pop("type", None))
    return layer_from_dict(data) if reader is None else reader(values)


def _tie_map(values: dict[str, Any]) -> TieMap:
    axes = tuple(Axis(**_arrays(axis)) for axis in values["axes"])
    order = values["weight_order"]
    return TieMap(axes, None if order is None else tuple(order), values["bias_axes"])


def _layers(values: dict[str, Any]) -> list[Any]:
    return [plain_to_layer(part) for part in values["layers"]]


_READERS: dict[Any, Callable[[dict[str, Any]], Any]] = {
    "TieMap": _tie_map,
    "TiedDense": lambda v: TiedDense(plain_to_layer(v["layer"]), _array(v["w"]), _array(v["b"])),
    "Dense": lambda v: Dense(_array(v["w"]), _array(v["b"])),
    "dense_pool": lambda v: dense_pool(layer_from_dict(v["pool"]), v["tie_break"]),
    "Abs": lambda v: Abs(**_arrays(v)),
    "LeakyReLU": lambda v: LeakyReLU(**_arrays(v)),
    "ReLU": lambda v: ReLU(**_arrays(v)),
    "Flatten": lambda v: Flatten(**_arrays(v)),
    "ResidualSum": lambda v: network(Residual(*_layers(v))).layers[0],
    "Network": lambda v: network(*_layers(v)),
}


def _arrays(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _array(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    return (
        {"array": value.tolist(), "dtype": value.dtype.str}
        if isinstance(value, np.ndarray)
        else value
    )


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["array"], np.dtype(value["dtype"]))
    return tuple(value) if isinstance(value, list) else value
