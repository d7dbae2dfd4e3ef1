"""Mistakes in the sums: a sign, a factor, a mean for a sum, = for +=; each says what it makes of a layer's quantity."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.bias import bias_gradient_mistakes, bias_mistakes
from convdense.diagnosis.mistakes.layout import layouts, moved, sizes_of_dx, sizes_of_y
from convdense.diagnosis.mistakes.mistake import (
    Call,
    Mistake,
    ResultMistake,
    all_entries,
    bias_gradient,
)
from convdense.geometry import Conv, Geometry
from convdense.structure.kronecker import scaled
from convdense.structure.tie_map import TieMap

PROBED = 16  # cells of a quantity that are looked at before all of them
_READS = {
    "y": ("x",),
    "dx": ("dy",),
    "dw": ("x", "dy"),
}  # what lies in memory as (batch, channels, *pixels)


def result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield none first, then each mistake in the sums that a quantity can suffer beside a mistake in the layer."""
    yield "", lambda v, _, __: v
    if name in (
        "dw",
        "db",
    ):  # before the plain factors: a mean over a batch of 3 is also a division by 3
        yield from _means(layer)
    for sentence, change in plain_result_mistakes(name):
        yield sentence, partial(_changed, change)
    if name == "dw":
        yield "only the first sample of the batch counts", partial(_of_one_sample, slice(0, 1))
        yield "only the last sample of the batch counts", partial(_of_one_sample, slice(-1, None))
    if name == "y":
        yield from bias_mistakes(layer)
        yield "negative outputs are set to 0", lambda v, _, __: np.maximum(v, 0)
        yield (
            "negative inputs are set to 0",
            lambda _, m, c: m.run(c._replace(x=np.maximum(c.x, 0)), "y"),
        )
    if name in ("y", "dx", "dw"):
        for by, word in (
            ("output", "output by output"),
            ("input", "input by input"),
            ("tap", "tap by tap"),
        ):
            yield f"= where += is needed: what is added last stays ({word})", Overwritten(name, by)
    if name in ("dx", "dw", "db"):
        yield "dy is taken for ones", partial(_of_ones, layer, name)
    if name == "dw":
        yield "a product of sums is taken for the sum of products", partial(_product_of_sums, False)
        yield (
            "a product of sums, over all of dy, is taken for the sum of products",
            partial(_product_of_sums, True),
        )
    if name == "db":
        yield from bias_gradient_mistakes(layer)


def lone_result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield mistakes that are tried in the right layer alone: results that lie elsewhere, or have another size."""
    if name in ("y", "dx"):
        begins = tuple(tuple(pair[0] for pair in p) for p in [getattr(layer, "padding", ())] if p)
        for sentence, layout in moved(len(layer.out_spatial), begins):
            yield sentence, partial(_changed, layout)
        for sentence, layout in layouts():
            yield sentence, partial(_changed, layout)
    for part in _READS.get(name, ()):
        for sentence, layout in layouts():
            yield f"of {part}, {sentence}", partial(_read, name, part, layout)
    if isinstance(layer, Conv) and name == "y":
        yield from sizes_of_y(layer)
    if isinstance(layer, Conv) and name == "dx" and layer.padding_mode == "zeros":
        yield from sizes_of_dx(layer)


def plain_result_mistakes(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the mistakes that need nothing but the value itself, in layers without weights too."""
    yield "it is zero", np.zeros_like
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda v: v / len(v)
        yield (
            "every sample is given the first one's result",
            lambda v: np.repeat(v[:1], len(v), axis=0),
        )
        yield (
            "only the first sample of the batch is computed",
            lambda v: np.concatenate([v[:1], 0 * v[1:]]),
        )
        yield "the samples of the batch are in reverse order", lambda v: v[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)


def _divided(n: float, value: Array) -> Array:
    return np.asarray(value / n)


def _changed(change: Callable[[Array], Array], value: Array, _: Mistake, __: Call) -> Array:
    return change(value)


def _read(
    name: str, part: str, layout: Callable[[Array], Array], _: Array, mistake: Mistake, call: Call
) -> Array:
    return mistake.run(call._replace(**{part: layout(getattr(call, part))}), name)


def _means(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield means for sums."""
    pixels = prod(layer.out_spatial)
    yield "the mean over the batch is taken for the sum", lambda v, _, c: v / len(c.x)
    yield "the mean over the positions is taken for the sum", lambda v, _, __: v / pixels
    yield (
        "the mean over batch and positions is taken for the sum",
        lambda v, _, c: v / (len(c.x) * pixels),
    )


def _of_one_sample(which: slice, _: Array, mistake: Mistake, call: Call) -> Array:
    return mistake.run(call._replace(x=call.x[which], dy=call.dy[which]), "dw")


@dataclass(frozen=True)
class Overwritten:
    """y, dx or dw if sums over channels (for dw: over the batch) are right and written one over the
    other.

    `by` is the outer loop: what is added at one of its steps stays together, what comes later
    overwrites it.
    """

    name: str
    by: str

    def __call__(self, _: Array, mistake: Mistake, call: Call) -> Array:
        """Return the whole quantity."""
        return self._at(np.ones(self._size(mistake.ties), bool), mistake, call)

    def probe(self, mistake: Mistake, call: Call) -> Array:
        """Return the quantity at a few cells, NaN elsewhere: enough to see that it is not what came."""
        size = self._size(mistake.ties)
        asked = np.zeros(size, bool)
        asked[np.random.default_rng(0).integers(0, size, PROBED)] = True
        return self._at(asked, mistake, call)

    def _size(self, ties: TieMap) -> int:
        return prod({"y": ties.out_shape, "dx": ties.in_shape, "dw": ties.weight_shape}[self.name])

    def _at(self, asked: Array, mistake: Mistake, call: Call) -> Array:
        ties, name, whole = mistake.ties, self.name, all_entries(mistake.ties)
        place = {"y": whole.row, "dx": whole.col, "dw": whole.index}[name]
        if not asked.all():
            some = np.flatnonzero(asked[place])
            whole, place = whole.take(some), place[some]
        outs, ins, taps = (
            prod(ties.out_shape[1:]),
            prod(ties.in_shape[1:]),
            prod(ties.weight_shape[2:]),
        )
        steps = {"output": whole.row % outs, "input": whole.col % ins, "tap": whole.index % taps}[
            self.by
        ]
        last = np.full(len(asked), -1)
        np.maximum.at(last, place, steps)
        stays = np.flatnonzero(steps == last[place])
        place, (row, col, index, part) = place[stays], whole.take(stays)
        x, dy = call.x.reshape(len(call.x), -1), call.dy.reshape(len(call.dy), -1)
        weights = np.ascontiguousarray(mistake.weights(call.w)).ravel()[index]
        if name == "dw":
            each = scaled((x[:, col] * dy[:, row]).sum(axis=0), part)[None]
        else:
            each = scaled(weights, part) * (dy[:, row] if name == "dx" else x[:, col])
        result = np.stack([np.bincount(place, one, len(asked)) for one in each]).astype(
            float
        )  # even of none
        result[:, ~asked] = np.nan
        if name == "dw":
            return np.asarray(mistake.weights_adjoint(result.reshape(call.w.shape)))
        if name == "dx":
            return np.asarray(result.reshape(call.x.shape))
        return np.asarray(
            (result + ties.bias.matrix(call.b).toarray()[:, 0]).reshape(call.dy.shape)
        )


def _of_ones(layer: Geometry, name: str, _: Array, mistake: Mistake, call: Call) -> Array:
    ones = np.ones_like(call.dy)
    return bias_gradient(layer, ones) if name == "db" else mistake.run(call._replace(dy=ones), name)


def _product_of_sums(every: bool, _: Array, mistake: Mistake, call: Call) -> Array:
    """Return, for each weight, the sum of its inputs times the sum of dy, over the batch.

    Of dy at the outputs that it serves, or, where padding is summed as zeros, at every output of
    the channel.
    """
    entries, n = all_entries(mistake.ties), mistake.ties.n_weights
    channels, total = np.zeros(n, int), np.zeros(n)
    channels[entries.index] = entries.row // prod(mistake.ties.out_shape[1:])
    for x, dy in zip(call.x.reshape(len(call.x), -1), call.dy, strict=True):
        sums = dy.reshape(len(dy), -1).sum(axis=1)[channels] if every else 0
        if not every:
            sums = np.bincount(entries.index, dy.ravel()[entries.row], n)
        total += np.bincount(entries.index, x[entries.col], n) * sums
    return np.asarray(mistake.weights_adjoint(total.reshape(call.w.shape)))
