"""Layers as plain data and back: geometries by their numbers, tie maps by their axes. Nothing is ever imported."""

from typing import Any

import numpy as np

from convdense.axis import Axis
from convdense.geometry import layer_from_dict
from convdense.tiemap import TieMap


def layer_to_plain(layer: Any) -> dict[str, Any]:
    """Return a geometry or a tie map as JSON can hold it.

    Examples
    --------
    >>> from convdense import Conv
    >>> plain_to_layer(layer_to_plain(Conv((1, 5), out_channels=2, kernel=3)))
    Conv((1, 5), out_channels=2, kernel=3)
    >>> plain_to_layer(layer_to_plain(TieMap.from_index([[0, 1], [1, -1]]))).matrix([5, 7]).toarray()
    array([[5, 7],
           [7, 0]])
    """
    if not isinstance(layer, TieMap):
        return dict(layer.to_dict())
    axes = [{name: _plain(value) for name, value in vars(axis).items()} for axis in layer.axes]
    return {"type": "TieMap", "axes": axes, "weight_order": layer.weight_order, "bias_axes": layer.bias_axes}


def plain_to_layer(data: dict[str, Any]) -> Any:
    """Read back what `layer_to_plain` wrote."""
    if data.get("type") != "TieMap":
        return layer_from_dict(data)
    axes = tuple(Axis(**{name: _array(value) for name, value in axis.items()}) for axis in data["axes"])
    order = data["weight_order"]
    return TieMap(axes, None if order is None else tuple(order), data["bias_axes"])


def _plain(value: Any) -> Any:
    return {"array": value.tolist(), "dtype": value.dtype.str} if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["array"], np.dtype(value["dtype"]))
    return tuple(value) if isinstance(value, list) else value
