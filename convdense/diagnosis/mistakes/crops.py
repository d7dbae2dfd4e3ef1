"""Results of another size: dx with the padding's cells in it or cut too short, y of a layer padded otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.candidate import Call, Mistake
from convdense.diagnosis.mistakes.geometry import numbers
from convdense.geometry import Conv
from convdense.structure._tie import tie

Slip = tuple[str, Callable[[Array, Mistake, Call], Array]]  # a sentence, and what it makes of the value of a call


def sizes_of_dx(layer: Conv) -> Iterator[Slip]:
    """Yield what goes wrong where dx is cut out of the padded input, or ends where the last window does."""
    sizes = tuple(n + sum(pair) for n, pair in zip(layer.in_spatial, layer.padding, strict=True))
    wide = tie(_like(layer, sizes, 0))
    cut: Any = (..., *(slice(begin, -end) for begin, end in layer.padding))

    def padded(_: Array, mistake: Mistake, call: Call) -> Array:
        return replace(mistake, ties=wide).run(call, "dx")

    if sizes != layer.in_spatial:
        yield "dx is not cropped: it has the padding's cells", padded
    if any(not end for _, end in layer.padding):
        yield "dx is cropped by [begin:-end], which is empty where end is 0", lambda v, m, c: padded(v, m, c)[cut]
    over = numbers(layer).left_over
    reach = [
        min(n, n + end - more) for n, more, (_, end) in zip(layer.in_spatial, over, layer.padding, strict=True)
    ]  # up to the last cell that a window reaches
    if tuple(reach) != layer.in_spatial:
        inside: Any = (..., *(slice(0, r) for r in reach))
        yield "dx ends where the last window ends: the leftover cells are missing", lambda v, _, __: v[inside]
        yield "the leftover cells of dx are put in front", partial(_in_front, inside)


def sizes_of_y(layer: Conv) -> Iterator[Slip]:
    """Yield y of a layer that has other sizes."""
    over = numbers(layer).left_over
    more = [(s - o) % s for s, o in zip(layer.stride, over, strict=True)]
    others = {
        "the padding at the end is taken for that at the begin": [(b, b) for b, _ in layer.padding],
        "the padding at the begin is taken for that at the end": [(e, e) for _, e in layer.padding],
        "the padding is forgotten": [(0, 0) for _ in layer.padding],
        "a last window reaches over the end: the size is rounded up": [
            (b, e + m) for (b, e), m in zip(layer.padding, more, strict=True)
        ],
    }
    for sentence, padding in others.items():
        try:
            other = _like(layer, layer.in_spatial, tuple(padding), layer.padding_mode)
        except ValueError:  # no window fits, or padding copies more cells than there are
            continue
        if other.out_spatial != layer.out_spatial:
            yield f"y has another size: {sentence}", partial(_run, other)
    full = tuple(zip(layer.out_spatial, layer.stride, strict=True))
    if any(o > 1 and s > 1 for o, s in full):
        other = _like(layer, layer.in_spatial, layer.padding, layer.padding_mode, stride=1)
        yield "y has another size: the stride is forgotten", partial(_run, other)


def _like(layer: Conv, spatial: tuple[int, ...], padding: Any, mode: str = "zeros", **changed: Any) -> Conv:
    same: dict[str, Any] = {name: getattr(layer, name) for name in ("stride", "dilation", "groups", "flip")}
    options = {**same, "padding": padding, "padding_mode": mode, **changed}
    return Conv((layer.in_channels, *spatial), layer.out_channels, layer.kernel, **options)


def _run(other: Conv, _: Array, mistake: Mistake, call: Call) -> Array:
    dy = np.zeros((len(call.x), *other.out_shape))
    return replace(mistake, ties=tie(other)).run(call._replace(dy=dy), "y")


def _in_front(inside: Any, value: Array, _: Mistake, __: Call) -> Array:
    part, result = value[inside], np.zeros_like(value)
    end: Any = (..., *(slice(n - m, None) for n, m in zip(value.shape[2:], part.shape[2:], strict=True)))
    result[end] = part
    return result
