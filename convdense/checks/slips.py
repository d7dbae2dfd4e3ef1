"""Slips in the sums: a sign, a factor, a mean for a sum, = for +=; each says what it makes of a layer's quantity."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from convdense.arguments import Array
from convdense.checks.mistakes import Call, Mistake
from convdense.geometry import Conv, Geometry
from convdense.tiemap import TieMap
from convdense.ties import tie

Slip = tuple[str, Callable[[Array, Mistake, Call], Array]]  # a sentence, and what it makes of the value of a call


def slips(layer: Geometry, name: str) -> Iterator[Slip]:
    """Yield none first, then each slip that a quantity can suffer."""
    yield "", lambda v, _, __: v
    if name in ("dw", "db"):  # before the plain factors: a mean over a batch of 3 is also a division by 3
        yield from _means(layer)
    for sentence, change in plain_slips(name):
        yield sentence, partial(_changed, change)
    if name == "dw":
        yield "only the first sample of the batch counts", partial(_of_one_sample, slice(0, 1))
        yield "only the last sample of the batch counts", partial(_of_one_sample, slice(-1, None))
    if name == "y":
        for sentence, times in (("not added", 0), ("added twice", 2), ("subtracted", -1)):
            yield f"the bias is {sentence}", partial(_with_bias, times)
        yield "the bias is added to the first sample alone", _bias_of_the_first
        yield "negative outputs are set to 0", lambda v, _, __: np.maximum(v, 0)
        yield "negative inputs are set to 0", lambda _, m, c: m.run(c._replace(x=np.maximum(c.x, 0)), "y")
    if name in ("y", "dx", "dw"):
        for by, word in (("output", "output by output"), ("input", "input by input"), ("tap", "tap by tap")):
            yield f"= where += is needed: what is added last stays ({word})", partial(_overwritten, name, by)
    if name in ("y", "dx"):
        yield from _laid_out(len(layer.out_spatial))
    if name in ("dx", "dw", "db"):
        yield "dy is taken for ones", partial(_of_ones, layer, name)
    if name == "dx" and isinstance(layer, Conv) and layer.padding_mode == "zeros":
        yield from _cropped(layer)
    if name == "dw":
        yield "a product of sums is taken for the sum of products", _product_of_sums
    if name == "db":
        yield from _of_the_bias(layer)


def plain_slips(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the slips that need nothing but the value itself, in layers without weights too."""
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda v: v / len(v)
        yield "every sample is given the first one's result", lambda v: np.repeat(v[:1], len(v), axis=0)
        yield "only the first sample of the batch is computed", lambda v: np.concatenate([v[:1], 0 * v[1:]])
        yield "the samples of the batch are in reverse order", lambda v: v[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)
    if name != "y":
        yield "it is zero", np.zeros_like


def _divided(n: float, value: Array) -> Array:
    return np.asarray(value / n)


def _changed(change: Callable[[Array], Array], value: Array, _: Mistake, __: Call) -> Array:
    return change(value)


def bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient: dy summed over the batch and the positions that share a bias."""
    return np.asarray(_each(layer, dy).sum(axis=0))


def _each(layer: Geometry, dy: Array) -> Array:
    return np.asarray(dy.sum(axis=tuple(range(1 + len(layer.bias_shape), dy.ndim))))


def _means(layer: Geometry) -> Iterator[Slip]:
    """Yield means for sums."""
    pixels = prod(layer.out_spatial)
    yield "the mean over the batch is taken for the sum", lambda v, _, c: v / len(c.x)
    yield "the mean over the positions is taken for the sum", lambda v, _, __: v / pixels
    yield "the mean over batch and positions is taken for the sum", lambda v, _, c: v / (len(c.x) * pixels)


def _of_one_sample(which: slice, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(x=call.x[which], dy=call.dy[which]), "dw")


def _with_bias(times: float, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(b=times * call.b), "y")


def _overwritten(name: str, by: str, _: Array, mistake: Mistake, call: Call) -> Array:
    """Return y, dx or dw if sums over channels (for dw: over the batch) are right and written one over the other.

    `by` is the outer loop: what is added at one of its steps stays together, what comes later overwrites it.
    """
    ties, entries = mistake.ties, mistake.ties.entries()
    weights = np.ascontiguousarray(mistake.weights(call.w)).ravel()
    x, dy = call.x.reshape(len(call.x), -1), call.dy.reshape(len(call.dy), -1)
    outs, ins = prod(ties.out_shape[1:]), prod(ties.in_shape[1:])
    steps = {"output": entries.row % outs, "input": entries.col % ins, "tap": entries.index % _taps(ties)}[by]
    if name == "dw":
        place, each = entries.index, (x[:, entries.col] * dy[:, entries.row]).sum(axis=0)[None]
    elif name == "dx":
        place, each = entries.col, weights[entries.index] * dy[:, entries.row]
    else:
        place, each = entries.row, weights[entries.index] * x[:, entries.col]
    size = {"y": prod(ties.out_shape), "dx": prod(ties.in_shape), "dw": weights.size}[name]
    last = np.full(size, -1)
    np.maximum.at(last, place, steps)
    stays = steps == last[place]
    result = np.stack([np.bincount(place[stays], part[stays], size) for part in each])
    if name == "dw":
        return np.asarray(mistake.back(result.reshape(call.w.shape)))
    if name == "dx":
        return np.asarray(result.reshape(call.x.shape))
    bias = ties.bias.matrix(call.b).toarray()[:, 0]
    return np.asarray((result + bias).reshape(len(x), *ties.out_shape))


def _taps(ties: TieMap) -> int:
    """Return the number of taps of one pair of channels."""
    return prod(ties.weight_shape[2:])


def _of_ones(layer: Geometry, name: str, _: Array, mistake: Mistake, call: Call) -> Array:
    ones = np.ones_like(call.dy)
    return bias_gradient(layer, ones) if name == "db" else mistake.run(call._replace(dy=ones), name)


def _bias_of_the_first(_: Array, mistake: Mistake, call: Call) -> Array:
    first, rest = mistake.run(call, "y")[:1], mistake.run(call._replace(b=0 * call.b), "y")[1:]
    return np.concatenate([first, rest])


def _cropped(layer: Conv) -> Iterator[Slip]:
    """Yield what goes wrong where dx is cut out of the padded input, or ends where the last window does."""
    spatial = zip(layer.in_spatial, layer.padding, strict=True)
    sizes = (layer.in_channels, *(n + sum(pair) for n, pair in spatial))
    numbers = (layer.out_channels, layer.kernel)
    same: dict[str, Any] = {name: getattr(layer, name) for name in ("stride", "dilation", "groups", "flip")}
    wide = tie(Conv(sizes, *numbers, **same))
    cut: Any = (..., *(slice(begin, -end) for begin, end in layer.padding))

    def padded(_: Array, mistake: Mistake, call: Call) -> Array:
        return replace(mistake, ties=wide).run(call, "dx")

    yield "dx is not cropped: it has the padding's cells", padded
    if any(not end for _, end in layer.padding):
        yield "dx is cropped by [begin:-end], which is empty where end is 0", lambda v, m, c: padded(v, m, c)[cut]
    reach = [
        min(n, (o - 1) * s + (k - 1) * d + 1 - begin)
        for n, o, s, k, d, (begin, _) in zip(
            layer.in_spatial, layer.out_spatial, layer.stride, layer.kernel, layer.dilation, layer.padding, strict=True
        )
    ]
    if tuple(reach) != layer.in_spatial:
        inside: Any = (..., *(slice(0, r) for r in reach))
        yield "dx ends where the last window ends: the leftover cells are missing", lambda v, _, __: v[inside]
        yield "the leftover cells of dx are put in front", partial(_in_front, inside)


def _laid_out(n: int) -> Iterator[Slip]:
    """Yield results that are right and lie elsewhere: axes exchanged in memory, or everything moved by a cell."""
    for i, j in combinations(range(2, 2 + n), 2):
        yield f"axes {i - 2} and {j - 2} are exchanged in memory", partial(_exchanged, i, j)
    for axis in range(n):
        for step, word in ((1, "forward"), (-1, "backward")):
            yield f"it is moved {word} by a cell along axis {axis}", partial(_moved, axis + 2, step, 0)
            yield f"from the second sample on it is moved {word} along axis {axis}", partial(_moved, axis + 2, step, 1)


def _exchanged(i: int, j: int, value: Array, _: Mistake, __: Call) -> Array:
    return np.ascontiguousarray(value.swapaxes(i, j)).reshape(value.shape)


def _moved(axis: int, step: int, first: int, value: Array, _: Mistake, __: Call) -> Array:
    return np.concatenate([value[:first], np.roll(value[first:], step, axis)])


def _in_front(inside: Any, value: Array, _: Mistake, __: Call) -> Array:
    part, result = value[inside], np.zeros_like(value)
    end: Any = (..., *(slice(n - m, None) for n, m in zip(value.shape[2:], part.shape[2:], strict=True)))
    result[end] = part
    return result


def _product_of_sums(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return, for each weight, the sum of its inputs times the sum of its outputs' gradients, over the batch."""
    entries, n = mistake.ties.entries(), mistake.ties.n_weights
    total = np.zeros(n)
    for x, dy in zip(call.x.reshape(len(call.x), -1), call.dy.reshape(len(call.dy), -1), strict=True):
        total += np.bincount(entries.index, x[entries.col], n) * np.bincount(entries.index, dy[entries.row], n)
    return np.asarray(mistake.back(total.reshape(call.w.shape)))


def _of_the_bias(layer: Geometry) -> Iterator[Slip]:
    """Yield sums of dy that were forgotten, or taken over too little."""
    yield "it is not summed over the positions", lambda _, __, c: c.dy.sum(axis=0)
    yield "it is not summed over the batch", lambda _, __, c: _each(layer, c.dy)
    yield "it is not summed at all", lambda _, __, c: c.dy
    yield "it is that of one position", lambda _, __, c: c.dy.reshape(*c.dy.shape[:2], -1)[..., 0].sum(axis=0)
    yield "it is that of the first sample", lambda _, __, c: _each(layer, c.dy)[0]
    yield "it is that of the last sample", lambda _, __, c: _each(layer, c.dy)[-1]
