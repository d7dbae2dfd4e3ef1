"""The kinds of layer by name, for reading one back from plain data."""

from typing import Any

from convdense._util.arguments import complain
from convdense.geometry.base import Geometry, Hyperparameters
from convdense.geometry.conv import Conv, LocallyConnected
from convdense.geometry.conv_transpose import ConvTranspose
from convdense.geometry.linear import ChannelScale, Linear
from convdense.geometry.pool import AvgPool, LpPool, MaxPool, MinPool, SumPool

_CONVOLUTIONS: tuple[type[Geometry], ...] = (Conv, LocallyConnected, ConvTranspose)
_OTHERS: tuple[type[Hyperparameters], ...] = (
    AvgPool,
    LpPool,
    MaxPool,
    MinPool,
    SumPool,
    Linear,
    ChannelScale,
)
_KINDS: dict[str, type[Hyperparameters]] = {
    kind.__name__: kind for kind in (*_CONVOLUTIONS, *_OTHERS)
}


def layer_from_dict(data: dict[str, Any]) -> Any:
    """Return the layer that `Geometry.to_dict` wrote; only the kinds of this module are known,
    nothing is imported.

    Examples
    --------
    >>> layer_from_dict(Conv((1, 5), out_channels=2, kernel=3).to_dict())
    Conv((1, 5), out_channels=2, kernel=3)
    """
    values = dict(data)
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(complain("type", repr(kind), "one of " + ", ".join(map(repr, _KINDS))))
    return _KINDS[kind](**values)


def known(layer: Any) -> None:
    """Refuse anything that is not a convolution of this module."""
    if not isinstance(layer, _CONVOLUTIONS):
        *names, last = (kind.__name__ for kind in _CONVOLUTIONS)
        raise TypeError(complain("layer", repr(layer), f"a {', '.join(names)} or {last}"))
