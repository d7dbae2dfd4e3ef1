"""Other shapes: what only the operands tell code about, its channels, its pixels and its kernel.

Stride, padding, dilation and groups stay those of the layer.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from convdense.geometry import Conv, ConvTranspose, HasShapes, Pool
from convdense.implementations.call_contract import restriction
from convdense.verdicts.findings import REFUSED, Finding

CHANNELS = 1, 2, 3, 17, 63, 64, 65, 128, 129
PIXELS = 7, 16, 9, 31, 8, 33, 15, 32, 17  # around powers of two; neighbours make rectangles
ROOM = 2  # cells more than a window, along axes that are to be short


def try_shapes(layer: HasShapes, tried: Callable[[str, Any], Finding]) -> Iterator[Finding]:
    """Yield a finding for each kind of shapes, which names them, and one for those refused."""
    for kind, shapes in other_shapes(layer).items():
        each = {name: restriction(tried(f"{kind} {name}", shape)) for name, shape in shapes.items()}
        refused = [name for name, finding in each.items() if finding.verdict == REFUSED]
        for names in (refused, [name for name in each if name not in refused]):
            if names:
                worst = max((each[name] for name in names), key=lambda finding: finding.grade)
                wrong = [worst.name] if worst.refuted else [kind, *names]
                yield replace(worst, name=" ".join(filter(None, wrong)).strip())


def other_shapes(layer: HasShapes) -> dict[str, dict[str, Any]]:
    """Return layers of other shapes by name, under what they have in common.

    Those that cannot be are left out, as a stride above a kernel where the stride is 1.

    Examples
    --------
    >>> shapes = other_shapes(Conv((2, 6), out_channels=3, kernel=3, stride=4))
    >>> list(shapes)[2:]
    ['kernel 1', 'kernel as large as the input', 'stride above kernel', 'output of 1 cell']
    >>> shapes["pixels"]["33"].in_shape, shapes["kernel 1"][""].kernel
    ((2, 33), (1,))
    """
    if not isinstance(layer, (Conv, ConvTranspose, Pool)):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for kind, name, changes in _changes(layer):
        with suppress(ValueError):  # a kernel too large, a reflection too long
            found.setdefault(kind, {})[name] = replace(layer, **changes)
    return {kind: shapes for kind, shapes in found.items() if shapes}


def _changes(layer: Conv | ConvTranspose | Pool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what to change: kind, name, and the arguments of the layer."""
    groups = 1 if isinstance(layer, Pool) else layer.groups
    kernel = layer.kernel or layer.out_spatial
    axes = list(zip(kernel, layer.dilation, layer.padding, layer.stride, strict=True))
    short = tuple((k - 1) * d + 1 + sum(p) + ROOM for k, d, p, _ in axes)

    def of(channels: int, cells: tuple[int, ...], out: int = 1, **more: Any) -> dict[str, Any]:
        outputs = {} if isinstance(layer, Pool) else {"out_channels": groups * out}
        return {"in_shape": (groups * channels, *cells), **outputs, **more}

    for channels, out in zip(CHANNELS, reversed(CHANNELS), strict=True):
        yield "channels", str(groups * channels), of(channels, short, out)
    for n in range(len(PIXELS)):
        cells = (*islice((PIXELS * 2)[n:], min(2, len(short))), *short[2:])
        yield "pixels", "x".join(map(str, cells)), of(2, cells)
    if not isinstance(layer, Pool):
        yield "kernel 1", "", of(2, short, kernel=1)
        longer = tuple(k + 1 for k in kernel)
        sizes = tuple((k - 1) * d + 1 for k, (_, d, _, _) in zip(longer, axes, strict=True))
        yield "kernel as large as the input", "", of(2, sizes, kernel=longer)
        below = tuple(max(1, s - 1) for *_, s in axes)
        if max(layer.stride) > 1:
            cells = tuple(2 * s + n for n, (*_, s) in zip(short, axes, strict=True))
            yield "stride above kernel", "", of(2, cells, kernel=below)
    one = tuple(max(1, (k - 1) * d + 1 - sum(p)) for k, d, p, _ in axes)
    yield "output of 1 cell", "", of(2, one)
