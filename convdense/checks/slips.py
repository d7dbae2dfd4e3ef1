"""Slips in the sums: a sign, a factor, a mean for a sum, = for +=; each says what it makes of a layer's quantity."""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np

from convdense.arguments import Array
from convdense.checks.mistakes import Call, Mistake
from convdense.geometry import Geometry

Slip = tuple[str, Callable[[Array, Mistake, Call], Array]]  # a sentence, and what it makes of the value of a call


def slips(layer: Geometry, name: str) -> Iterator[Slip]:
    """Yield none first, then each slip that a quantity can suffer."""
    yield "", lambda v, _, __: v
    yield "the sign is turned", lambda v, _, __: -v
    yield from _factors(layer, name)
    yield from _of_samples(name)
    if name == "y":
        for sentence, times in (("not added", 0), ("added twice", 2), ("subtracted", -1)):
            yield f"the bias is {sentence}", partial(_with_bias, times)
    if name in ("dx", "dw"):
        for order, word in ((("row", "index"), "output by output"), (("index", "row"), "tap by tap")):
            yield f"= where += is needed: the last product stays ({word})", partial(_overwritten, name, order)
    if name == "dw":
        yield "a product of sums is taken for the sum of products", _product_of_sums
    if name == "db":
        yield from _of_the_bias(layer)


def plain_slips(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the slips that need nothing but the value itself, for layers without weights."""
    yield "the sign is turned", lambda v: -v
    yield "it is divided by the batch size", lambda v: v / len(v)
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", lambda v, n=n: n * v  # type: ignore[misc]
        yield f"it is divided by {n:g}", lambda v, n=n: v / n  # type: ignore[misc]
    yield "every sample is given the first one's result", lambda v: np.repeat(v[:1], len(v), axis=0)
    yield "only the first sample of the batch is computed", lambda v: np.concatenate([v[:1], 0 * v[1:]])
    yield "the samples of the batch are in reverse order", lambda v: v[::-1]
    if name == "dx":
        yield "it is zero", lambda v: 0 * v


def bias_gradient(layer: Geometry, dy: Array) -> Array:
    """Return the bias gradient: dy summed over the batch and the positions that share a bias."""
    return np.asarray(_each(layer, dy).sum(axis=0))


def _each(layer: Geometry, dy: Array) -> Array:
    return np.asarray(dy.sum(axis=tuple(range(1 + len(layer.bias_shape), dy.ndim))))


def _factors(layer: Geometry, name: str) -> Iterator[Slip]:
    """Yield means for sums, and other constant factors."""
    pixels = prod(layer.out_spatial)
    if name in ("dw", "db"):
        yield "the mean over the batch is taken for the sum", lambda v, _, c: v / len(c.x)
        yield "the mean over the positions is taken for the sum", lambda v, _, __: v / pixels
        yield "the mean over batch and positions is taken for the sum", lambda v, _, c: v / (len(c.x) * pixels)
    else:
        yield "it is divided by the batch size", lambda v, _, c: v / len(c.x)
    for n in (2, 3, 4):
        yield f"it is multiplied by {n}", partial(_times, float(n))
        yield f"it is divided by {n}", partial(_divided, float(n))


def _times(factor: float, value: Array, _: Mistake, __: Call) -> Array:
    return np.asarray(factor * value)


def _divided(factor: float, value: Array, _: Mistake, __: Call) -> Array:
    return np.asarray(value / factor)


def _of_samples(name: str) -> Iterator[Slip]:
    """Yield what goes wrong from the second sample on."""
    if name == "dw":
        yield "only the first sample of the batch counts", partial(_of_one_sample, slice(0, 1))
        yield "only the last sample of the batch counts", partial(_of_one_sample, slice(-1, None))
    elif name in ("y", "dx"):
        yield "every sample is given the first one's result", lambda v, _, __: np.repeat(v[:1], len(v), axis=0)
        yield "only the first sample of the batch is computed", _first_alone
        yield "the samples of the batch are in reverse order", lambda v, _, __: v[::-1]


def _of_one_sample(which: slice, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(x=call.x[which], dy=call.dy[which]), "dw")


def _first_alone(value: Array, _: Mistake, __: Call) -> Array:
    result = np.array(value)
    result[1:] = 0
    return result


def _with_bias(times: float, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(b=times * call.b), "y")


def _overwritten(name: str, order: tuple[str, str], _: Array, mistake: Mistake, call: Call) -> Array:
    """Return dx or dw if every product is written over the one before, in this order of loops."""
    entries = mistake.ties.entries()
    place = np.lexsort(tuple(getattr(entries, part) for part in reversed(order)))
    row, col, index = entries.row[place], entries.col[place], entries.index[place]
    weights = np.ascontiguousarray(mistake.weights(call.w)).ravel()
    x, dy = call.x.reshape(len(call.x), -1), call.dy.reshape(len(call.dy), -1)
    if name == "dx":
        dx = np.zeros_like(x)
        dx[:, col] = weights[index] * dy[:, row]  # the last of equal places stays
        return dx.reshape(call.x.shape)
    dw = np.zeros(weights.size)
    dw[index] = x[-1, col] * dy[-1, row]
    return np.asarray(mistake.back(dw.reshape(call.w.shape)))


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
    yield "it is zero", lambda v, _, __: 0 * v
