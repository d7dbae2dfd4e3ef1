"""Other shapes: what only the operands tell code about, its channels, its pixels and its kernel."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from convdense.geometry import Conv, ConvTranspose, HasShapes, Pool
from convdense.implementations.call_contract import restriction
from convdense.verdicts.findings import REFUSED, Finding, worst_of

OTHER_SHAPES = "other shapes"
CHANNELS = 1, 2, 3, 17, 63, 64, 65, 128, 129
# around powers of two, along two axes
PIXELS = (7, 16), (31, 9), (8, 33), (15, 32), (17, 8), (33, 15), (16, 31), (9, 17), (32, 7)


def try_shapes(layer: HasShapes, tried: Callable[[Any], Finding]) -> Iterator[Finding]:
    """Yield a finding for each kind of shapes, which names them, and one for those refused."""
    for kind, shapes in layers_of_other_shapes(layer).items():
        each = {name: restriction(tried(shape)) for name, shape in shapes.items()}
        refused = {name for name, finding in each.items() if finding.verdict == REFUSED}
        for names in filter(None, (refused, each.keys() - refused)):
            shown = " ".join(name for name in each if name in names)
            name = f"{OTHER_SHAPES}: {kind} {shown}".strip()
            yield replace(worst_of(each[name] for name in names), name=name)


def layers_of_other_shapes(layer: HasShapes) -> dict[str, dict[str, Any]]:
    """Return layers of other shapes by name, under what they have in common.

    Stride, padding, dilation and groups stay. Shapes that cannot be are left out.

    Examples
    --------
    >>> shapes = layers_of_other_shapes(Conv((2, 6), out_channels=3, kernel=3, stride=4))
    >>> list(shapes)[2:]
    ['kernel 1', 'kernel of input size', 'stride above kernel', 'output 1']
    >>> shapes["pixels"]["16"].in_shape, shapes["kernel 1"][""].kernel
    ((2, 16), (1,))
    """
    if not isinstance(layer, (Conv, ConvTranspose, Pool)):
        return {}
    groups, kernel = getattr(layer, "groups", 1), layer.kernel or layer.out_spatial
    found: dict[str, dict[str, Any]] = {}

    def add(kind: str, name: str, cells: tuple[int, ...], channels: int = 2, **more: Any) -> None:
        if isinstance(layer, Pool):  # no operand tells it another kernel
            more.clear()
        with suppress(ValueError):
            shape = replace(layer, in_shape=(groups * channels, *cells), **more)
            if kind != "output 1" or max(shape.out_spatial) == 1:
                found.setdefault(kind, {})[name] = shape

    def window(sizes: tuple[int, ...], more: int, padded: int) -> tuple[int, ...]:
        axes = zip(sizes, layer.dilation, layer.padding, strict=True)
        return tuple(max(1, (k - 1) * d + 1 + more + padded * sum(p)) for k, d, p in axes)

    short = window(kernel, 2, 1)
    for c, out in zip(CHANNELS, reversed(CHANNELS), strict=True):
        add("channels", str(groups * c), short, c, out_channels=groups * out)
    for pixels in PIXELS:
        cells = (*pixels, *short[2:])[: len(short)]
        add("pixels", "x".join(map(str, cells)), cells)
    if not isinstance(layer, Pool):
        longer, below = tuple(k + 1 for k in kernel), tuple(max(1, s - 1) for s in layer.stride)
        add("kernel 1", "", short, kernel=1)
        add("kernel of input size", "", window(longer, 0, 0), kernel=longer)
        if max(layer.stride) > 1:
            add("stride above kernel", "", window(kernel, max(layer.stride), 1), kernel=below)
    add("output 1", "", window(kernel, 0, -1))
    return found
