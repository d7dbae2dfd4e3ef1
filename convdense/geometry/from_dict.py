"""The kinds of layer by name, for reading one back from plain data."""

from abc import ABC
from collections.abc import Iterator
from typing import Any

from convdense._util.arguments import complain, complain_of
from convdense.geometry.base import Hyperparameters
from convdense.geometry.conv import Conv, LocallyConnected
from convdense.geometry.conv_transpose import ConvTranspose

_CONVOLUTIONS = (Conv, LocallyConnected, ConvTranspose)


def _kinds(base: type[Hyperparameters]) -> Iterator[type[Hyperparameters]]:
    """Yield every kind of layer that this library defines, none that a user derives from them."""
    for kind in base.__subclasses__():
        is_ours = kind.__module__.startswith("convdense.")
        if is_ours and ABC not in kind.__bases__:
            yield kind
        yield from _kinds(kind)


def layer_from_dict(data: dict[str, Any]) -> Hyperparameters:
    """Return the layer that `to_dict` wrote; only the library's own kinds are known.

    Examples
    --------
    >>> layer_from_dict(Conv((1, 5), out_channels=2, kernel=3).to_dict())
    Conv((1, 5), out_channels=2, kernel=3)
    """
    values = dict(data)
    name = values.pop("type", None)
    kinds = {kind.__name__: kind for kind in _kinds(Hyperparameters)}
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(complain("type", repr(name), "one of " + ", ".join(map(repr, kinds))))
    return kinds[name](**values)


def known(layer: object) -> None:
    """Refuse anything that is not a convolution of this library."""
    if not isinstance(layer, _CONVOLUTIONS):
        *names, last = (kind.__name__ for kind in _CONVOLUTIONS)
        raise TypeError(complain_of("layer", layer, f"a {', '.join(names)} or {last}"))
