"""Layers as plain data and back: every layer registers how it is written and how it is read.

Geometries are written by their hyper-parameters, tie maps by their axes, arrays by their entries
and dtype. Reading knows the names that are registered; nothing is ever imported.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np

from convdense._util.arguments import complain
from convdense.geometry import layer_from_dict
from convdense.structure.progressions import HELD, LISTED, Axis
from convdense.structure.tie_map import TieMap

LISTED_UP_TO = 1 << 22  # entries: a longer axis is written by its progressions
Plain = dict[str, Any]
T = TypeVar("T")
Reader = TypeVar("Reader", bound=Callable[[Plain], Any])
_READERS: dict[str, Callable[[Plain], Any]] = {}


@singledispatch
def layer_to_plain(layer: object) -> Plain:
    """Return a geometry, a tie map, a ready layer or a network as JSON can hold it.

    Raises
    ------
    TypeError
        For a layer of another kind.

    Examples
    --------
    >>> from convdense import Conv, ReLU, network
    >>> plain_to_layer(layer_to_plain(Conv((1, 5), out_channels=2, kernel=3)))
    Conv((1, 5), out_channels=2, kernel=3)
    >>> ties = plain_to_layer(layer_to_plain(TieMap.from_index([[0, 1], [1, -1]])))
    >>> ties.matrix([5, 7]).toarray()
    array([[5, 7],
           [7, 0]])
    >>> plain_to_layer(layer_to_plain(network(Conv((1, 5), out_channels=2, kernel=3), ReLU())))
    Network(2 layers, (1, 5) -> (2, 3))
    """
    if not hasattr(layer, "to_dict"):
        needs = "a geometry, a tie map, or a layer or network of this library"
        raise TypeError(complain("layer", repr(layer), needs))
    plain: Plain = layer.to_dict()
    return plain


def plain_to_layer(data: Plain) -> Any:
    """Read back what `layer_to_plain` wrote."""
    values = dict(data)
    reader = _READERS.get(values.pop("type", ""))
    return layer_from_dict(data) if reader is None else reader(values)


def reads(name: str) -> Callable[[Reader], Reader]:
    """Register a function that makes a layer of what is written under this type."""

    def register(reader: Reader) -> Reader:
        _READERS[name] = reader
        return reader

    return register


def reads_fields(kind: type[T]) -> type[T]:
    """Register a layer that is made again of what is written under the names of its fields."""

    def reader(values: Plain) -> T:
        return kind(**fields_from_plain(values))

    _READERS[kind.__name__] = reader
    return kind


def to_plain(value: Any) -> Any:
    """Return an array as plain data, anything else as it is."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str}
    return value


def from_plain(value: Any) -> Any:
    """Read back what `to_plain` wrote; lists become tuples, as shapes are."""
    if isinstance(value, dict):
        return np.array(value["array"], np.dtype(value["dtype"]))
    return tuple(value) if isinstance(value, list) else value


def fields_from_plain(values: Plain) -> dict[str, Any]:
    """Read back every value of a dictionary, for the fields of a layer by name."""
    return {name: from_plain(value) for name, value in values.items()}


@layer_to_plain.register
def _(layer: TieMap) -> Plain:
    axes = []
    for axis in layer.axes:
        names = LISTED if axis.is_listed or len(axis) <= LISTED_UP_TO else HELD
        axes.append({name: to_plain(getattr(axis, name)) for name in names})
    return {
        "type": "TieMap",
        "axes": axes,
        "weight_order": layer.weight_order,
        "bias_axes": layer.bias_axes,
    }


@reads("TieMap")
def _(values: Plain) -> TieMap:
    axes = []
    for axis in values["axes"]:
        make = Axis if "firsts" in axis else Axis.of
        axes.append(make(**fields_from_plain(axis)))
    return TieMap(tuple(axes), from_plain(values["weight_order"]), values["bias_axes"])
