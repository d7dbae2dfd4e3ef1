"""A small copy of a large layer: as few channels and cells as still meet its kernel, groups, stride and padding."""

from dataclasses import replace
from typing import Any

from convdense.geometry import Conv, ConvTranspose
from convdense.structure._tie import tie

LARGE = 1_000_000  # entries of the dense layer from which on a copy is worth it


def shrunken(layer: Any) -> Any:
    """Return a layer of the same numbers with fewer channels and cells, or the layer itself if it is not large.

    Examples
    --------
    >>> shrunken(Conv((64, 56, 56), out_channels=256, kernel=3, stride=2, padding=1, groups=2))
    Conv((4, 8, 8), out_channels=4, kernel=3, stride=2, padding=1, groups=2)
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or tie(layer).n_entries < LARGE:
        return layer
    g = layer.groups
    channels = min(layer.in_channels, 2 * g)
    cells = []
    numbers = zip(layer.in_spatial, layer.kernel, layer.stride, layer.dilation, layer.padding, strict=True)
    for n, k, s, d, padding in numbers:
        least = (k - 1) * d + 1 + 2 * s + max(padding)  # three windows, and padding that copies cells has enough
        cells.append(min(n, least + (n - least) % s))  # the same cells left over
    return replace(layer, in_shape=(channels, *cells), out_channels=min(layer.out_channels, 2 * g))
