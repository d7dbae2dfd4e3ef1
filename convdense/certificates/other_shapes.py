"""Other shapes: what only the operands tell code about, its channels, its pixels and its kernel."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from convdense.geometry import Conv, ConvTranspose, HasShapes, Pool
from convdense.implementations.call_contract import restriction
from convdense.verdicts.findings import REFUSED, Finding, worst_of

CHANNELS = 1, 2, 3, 17, 63, 64, 65, 128, 129
# around powers of two, along two axes
PIXELS = (7, 16), (31, 9), (8, 33), (15, 32), (17, 8), (33, 15), (16, 31), (9, 17), (32, 7)


def try_shapes(layer: HasShapes, tried: Callable[[Any], Finding]) -> Iterator[Finding]:
    """Yield a finding for each kind of shapes, which names them, and one for those refused."""
    for kind, shapes in other_shapes(layer).items():
        each = {name: restriction(tried(shape)) for name, shape in shapes.items()}
        refused = {name for name, finding in each.items() if finding.verdict == REFUSED}
        for names in (refused, each.keys() - refused):
            if names:
                found = worst_of(each[name] for name in names)
                shown = " ".join(name for name in each if name in names)
                yield replace(found, name=f"{kind} {shown}".strip())


def other_shapes(layer: HasShapes) -> dict[str, dict[str, Any]]:
    """Return layers of other shapes by name, under what they have in common.

    Stride, padding, dilation and groups stay. Shapes that cannot be are left out, as a reflection
    longer than the input.

    Examples
    --------
    >>> shapes = other_shapes(Conv((2, 6), out_channels=3, kernel=3, stride=4))
    >>> list(shapes)[2:]
    ['kernel 1', 'kernel of input size', 'stride above kernel', 'output 1']
    >>> shapes["pixels"]["16"].in_shape, shapes["kernel 1"][""].kernel
    ((2, 16), (1,))
    """
    if not isinstance(layer, (Conv, ConvTranspose, Pool)):
        return {}
    groups, has_weights = getattr(layer, "groups", 1), not isinstance(layer, Pool)
    kernel = layer.kernel or layer.out_spatial
    found: dict[str, dict[str, Any]] = {}

    def add(kind: str, name: str, cells: tuple[int, ...], c: int = 2, out: int = 1, k: Any = None):
        changes: dict[str, Any] = {"in_shape": (groups * c, *cells)}
        changes |= {"out_channels": groups * out} if has_weights else {}
        changes |= {"kernel": k} if k else {}
        with suppress(ValueError):
            found.setdefault(kind, {})[name] = replace(layer, **changes)

    def window(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(sizes, layer.dilation, strict=True))

    padded = tuple(map(sum, layer.padding))
    short = tuple(n + p + 2 for n, p in zip(window(kernel), padded, strict=True))
    for c, out in zip(CHANNELS, reversed(CHANNELS), strict=True):
        add("channels", str(groups * c), short, c, out)
    for cells in PIXELS:
        some = (cells + short[2:])[: len(short)]
        add("pixels", "x".join(map(str, some)), some)
    if has_weights:
        longer = tuple(k + 1 for k in kernel)
        add("kernel 1", "", short, k=1)
        add("kernel of input size", "", window(longer), k=longer)
    if has_weights and max(layer.stride) > 1:
        below = tuple(max(1, s - 1) for s in layer.stride)
        add("stride above kernel", "", tuple(map(sum, zip(short, layer.stride))), k=below)
    least = zip(window(kernel), padded, strict=True)
    add("output 1", "", tuple(max(1, n - p) for n, p in least))
    return {kind: shapes for kind, shapes in found.items() if shapes}
