"""Mistakes in the sums: a sign, a factor, a mean for a sum, = for +=.

Each is a sentence and a function of (value, mistake, call): what the sums give, of which layer (the
right one, or one with a mistake of its own), on which operands. It returns what they give with the
mistake.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from math import prod

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.bias import bias_gradient_mistakes, bias_mistakes
from convdense.diagnosis.mistakes.layout import layouts, moved, sizes_of_dx, sizes_of_y
from convdense.diagnosis.mistakes.mistake import (
    FEW,
    Call,
    Mistake,
    ResultMistake,
    all_entries,
    bias_gradient,
    cells_of,
    flat_samples,
    of_the_call,
    of_the_value,
    products,
)
from convdense.geometry import Conv, Geometry
from convdense.structure.kronecker import Entries
from convdense.structure.tie_map import TieMap

LAST_STAYS = "= where += is needed: what is added last stays"
PROBED = 16  # cells of a quantity that are computed first: all of them take far longer

# The operands of each quantity that lie in memory as (batch, channels, *pixels).
_READS = {"y": ("x",), "dx": ("dy",), "dw": ("x", "dy"), "db": ()}


def result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield each mistake in the sums that may stand beside one in the layer."""
    if name in ("dw", "db"):
        # Before the plain factors: a mean over a batch of 3 is also a division by 3.
        yield from _means(layer)
    for sentence, change in plain_result_mistakes(name):
        yield sentence, of_the_value(change)

    if name == "y":
        yield from _mistakes_of_y(layer)
    elif name == "dx":
        yield from _overwritten("dx")
        yield "dy is taken for ones", of_the_call("dx", _with_ones)
    elif name == "dw":
        yield from _mistakes_of_dw()
    else:
        yield "dy is taken for ones", lambda _, __, call: bias_gradient(layer, _with_ones(call).dy)
        yield from bias_gradient_mistakes(layer)


def plain_result_mistakes(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the mistakes that need the value alone; layers without weights make them too."""
    yield "it is zero", np.zeros_like
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda value: value / len(value)
        sentence = "every sample is given the first one's result"
        yield sentence, lambda value: np.repeat(value[:1], len(value), axis=0)
        sentence = "only the first sample of the batch is computed"
        yield sentence, lambda value: np.concatenate([value[:1], 0 * value[1:]])
        yield "the samples of the batch are in reverse order", lambda value: value[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)


def _divided(n: float, value: Array) -> Array:
    return np.asarray(value / n)


def _means(layer: Geometry) -> Iterator[ResultMistake]:
    pixels = prod(layer.out_shape[1:])
    sentence = "the mean over the batch is taken for the sum"
    yield sentence, lambda value, _, call: value / len(call.x)
    yield "the mean over the positions is taken for the sum", lambda value, *_: value / pixels
    sentence = "the mean over batch and positions is taken for the sum"
    yield sentence, lambda value, _, call: value / (len(call.x) * pixels)


def _mistakes_of_y(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield the bias got wrong, a ReLU that does not belong there, and sums written over."""
    yield from bias_mistakes(layer)
    yield "negative outputs are set to 0", lambda value, *_: np.maximum(value, 0)
    sentence = "negative inputs are set to 0"
    yield sentence, of_the_call("y", lambda call: call._replace(x=np.maximum(call.x, 0)))
    yield from _overwritten("y")


def _mistakes_of_dw() -> Iterator[ResultMistake]:
    """Yield samples left out, sums written over, dy not read, and sums multiplied."""
    first, last = partial(_samples, slice(0, 1)), partial(_samples, slice(-1, None))
    yield "only the first sample of the batch counts", of_the_call("dw", first)
    yield "only the last sample of the batch counts", of_the_call("dw", last)
    yield from _overwritten("dw")
    yield "dy is taken for ones", of_the_call("dw", _with_ones)
    yield "a product of sums is taken for the sum of products", _product_of_sums
    sentence = "a product of sums, over all of dy, is taken for the sum of products"
    yield sentence, _product_with_all_of_dy


def _samples(which: slice, call: Call) -> Call:
    return call._replace(x=call.x[which], dy=call.dy[which])


def _with_ones(call: Call) -> Call:
    return call._replace(dy=np.ones_like(call.dy))


def lone_result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield what is tried in the right layer alone.

    Results moved by some cells or read in another memory order, operands read so, and other sizes.
    """
    if name != "db":
        yield from _overwritten_in_loops(layer, name)
    if name in ("y", "dx"):
        pairs = getattr(layer, "padding", ()) if isinstance(layer, Geometry) else ()
        begin = tuple(pair[0] for pair in pairs)  # moved by the padding in front
        for sentence, layout in (*moved(len(layer.out_shape) - 1, begin), *layouts()):
            yield sentence, of_the_value(layout)

    for operand in _READS[name]:
        for sentence, layout in layouts():
            read = partial(_read_otherwise, operand, layout)
            yield f"of {operand}, {sentence}", of_the_call(name, read)

    if isinstance(layer, Conv) and name == "y":
        yield from sizes_of_y(layer)
    if isinstance(layer, Conv) and name == "dx" and layer.padding_mode == "zeros":
        yield from sizes_of_dx(layer)


def _read_otherwise(operand: str, layout: Callable[[Array], Array], call: Call) -> Call:
    return call._replace(**{operand: layout(getattr(call, operand))})


def _overwritten(name: str) -> Iterator[ResultMistake]:
    """Yield = for +=, where the outermost loop is over the outputs, the inputs or the taps."""
    for by in ("output", "input", "tap"):
        yield f"{LAST_STAYS} ({by} by {by})", Overwritten(name, by)


def _overwritten_in_loops(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield = for += in loops over some of the channels and axes, the others summed at once.

    In which order the loops are nested is all the same: what a cell gets comes from all
    combinations of some channels and some positions an axis, and the last of each comes last.
    """
    n = len(layer.out_shape) - 1
    channels, kinds = {
        "y": ("input channel", ("input", "tap")),
        "dx": ("output channel", ("output", "tap")),
        "dw": ("sample", ("output",)),
    }[name]
    for kind in kinds:
        loops = (channels, *(f"{kind} axis {axis}" for axis in range(n)))
        sets = [some for size in range(len(loops), 0, -1) for some in combinations(loops, size)]
        for some in sets:
            if name != "dw" or some != ("sample",):  # that is the last sample alone
                yield f"{LAST_STAYS} (loops over {in_words(some)})", Overwritten(name, *some)


def in_words(loops: Sequence[str]) -> str:
    """Return words for loops: 'output channel, output axis 0 and output axis 1'."""
    *first, last = loops
    return f"{', '.join(first)} and {last}" if first else last


class Overwritten:
    """y, dx or dw if = stands where += is needed, in loops over channels, positions or samples.

    `loops` are what is looped over, such as "output channel" or "tap axis 0"; "output", "input" and
    "tap" are all axes of these. Within one step of all loops all is added up, and each later step
    overwrites what a cell held.
    """

    def __init__(self, name: str, *loops: str) -> None:
        """Take the quantity and its loops."""
        self.name = name
        self.loops = loops

    def __call__(self, _: Array, mistake: Mistake, call: Call) -> Array:
        """Return the whole quantity."""
        everywhere = np.arange(self._size(mistake.ties))
        return self._at(everywhere, all_entries(mistake.ties), mistake, call)

    def probe(self, mistake: Mistake, call: Call, cells: int = PROBED) -> Array:
        """Return the quantity at a few cells, NaN elsewhere: enough to rule most quantities out."""
        size = self._size(mistake.ties)
        asked = np.unique(np.random.default_rng(0).integers(0, size, cells))
        return self._at(asked, self._entries_of(asked, mistake.ties), mistake, call)

    def _size(self, ties: TieMap) -> int:
        shapes = {"y": ties.out_shape, "dx": ties.in_shape, "dw": ties.weight_shape}
        return prod(shapes[self.name])

    def _entries_of(self, cells: Array, ties: TieMap) -> Entries:
        """Return the entries that add to some cells."""
        if ties.n_entries <= FEW:
            is_asked = np.zeros(self._size(ties), bool)
            is_asked[cells] = True
            entries = all_entries(ties)
            return entries.take(np.flatnonzero(is_asked[cells_of(self.name, entries)]))
        of_cell = {"y": ties.row, "dx": ties.column, "dw": ties.copies}[self.name]
        each = [of_cell(int(cell)) for cell in cells]
        columns = zip(*each, strict=True)
        return Entries(*(None if c[0] is None else np.concatenate(c) for c in columns))

    def _at(self, asked: Array, entries: Entries, mistake: Mistake, call: Call) -> Array:
        """Return the quantity at some flat cells, of which these are the entries; NaN elsewhere."""
        ties, size = mistake.ties, self._size(mistake.ties)
        steps = None if ties.padding else self._steps(entries, ties)
        if steps is None:  # what a number in the padding adds has no place in these loops
            return np.full((1, size), np.nan)
        cells = cells_of(self.name, entries)
        last_step = np.full(size, -1)  # of each cell
        np.maximum.at(last_step, cells, steps)
        surviving = entries.take(np.flatnonzero(steps == last_step[cells]))

        cells = cells_of(self.name, surviving)
        each = products(self.name, surviving, call._replace(w=mistake.weights(call.w)))
        if self.name == "dw":
            each = each[-1:] if "sample" in self.loops else each.sum(axis=0, keepdims=True)
        sums = [np.bincount(cells, of_sample, size) for of_sample in each]
        result = np.full((len(sums), size), np.nan)  # (batch, cells), of dw (1, cells)
        result[:, asked] = np.stack(sums)[:, asked]

        if self.name == "dw":  # in the mistaken layer's order of the weights: back to that of w
            return np.asarray(mistake.weights_adjoint(result.reshape(call.w.shape)))
        if self.name == "dx":
            return np.asarray(result.reshape(call.x.shape))
        bias = np.repeat(call.b.ravel(), size // call.b.size)  # (outputs,)
        return np.asarray((result + bias).reshape(call.dy.shape))

    def _steps(self, entries: Entries, ties: TieMap) -> Array | None:
        """Return at which step of the loops each entry adds; None if there are no such loops.

        What is not looped over belongs to one step.
        """
        flat = {"output": entries.row, "input": entries.col, "tap": entries.index}
        shapes = {"output": ties.out_shape, "input": ties.in_shape, "tap": ties.weight_shape}
        steps = np.zeros(len(entries.row), int)
        for loop in self.loops:
            kind, _, which = loop.partition(" ")
            if kind == "sample":
                continue
            shape, leading = shapes[kind], 2 if kind == "tap" else 1
            if not which:  # all positions of a channel, or of a kernel
                n, places = prod(shape[leading:]), flat[kind] % prod(shape[leading:])
            else:
                axis = 0 if which == "channel" else leading + int(which.removeprefix("axis "))
                if axis >= len(shape):  # a mistake has joined the axes into one
                    return None
                n, places = shape[axis], np.unravel_index(flat[kind], shape)[axis]
            steps = steps * n + places
        return steps


def _product_of_sums(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw if each weight's inputs and the dy of its outputs are summed, then multiplied."""
    gradients = _summed_by_weight(mistake.ties, np.ones_like(call.x), call.dy)
    return _inputs_times(gradients, mistake, call)


def _product_with_all_of_dy(_: Array, mistake: Mistake, call: Call) -> Array:
    """Return the same, dy summed over its whole channel: outputs that meet padding count too."""
    of_channels = call.dy.reshape(*call.dy.shape[:2], -1).sum(axis=2)  # (batch, channels)
    # a dy that is the sum everywhere, over the number of outputs that a weight serves
    alike = np.broadcast_to(
        np.expand_dims(of_channels, tuple(range(2, call.dy.ndim))), call.dy.shape
    )
    served = _summed_by_weight(mistake.ties, np.ones_like(call.x), np.ones_like(call.dy))
    summed = _summed_by_weight(mistake.ties, np.ones_like(call.x), alike)
    each = np.divide(summed, served, out=np.zeros_like(summed), where=served != 0)
    return _inputs_times(each, mistake, call)


def _inputs_times(gradients: Array, mistake: Mistake, call: Call) -> Array:
    """Return dw: the sum of each weight's inputs times the sum of dy given, (batch, weights)."""
    inputs = _summed_by_weight(mistake.ties, call.x, np.ones_like(call.dy))
    dw = (inputs * gradients).sum(axis=0)
    return np.asarray(mistake.weights_adjoint(dw.reshape(call.w.shape)))


def _summed_by_weight(ties: TieMap, x: Array, dy: Array) -> Array:
    """Return the gradient of every sample: with ones the sum of the other, (batch, weights)."""
    xs, dys = x.reshape(len(x), *ties.in_shape), dy.reshape(len(dy), *ties.out_shape)
    each = [ties.gradient(xs[n : n + 1], dys[n : n + 1]).ravel() for n in range(len(x))]
    return np.stack(each)
