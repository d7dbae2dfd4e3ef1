"""Mistakes in the sums: a sign, a factor, a mean for a sum, = for +=.

Each is a sentence and a function of (value, mistake, call): what the sums give, of which layer (the
right one, or one with a mistake of its own), on which operands. It returns what they give with the
mistake.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.bias import (
    bias_gradient_mistakes,
    bias_mistakes,
    inside_output_padding,
)
from convdense.diagnosis.mistakes.layout import layouts, moved, sizes_of_dx, sizes_of_y
from convdense.diagnosis.mistakes.mistake import (
    FEW,
    Call,
    Index,
    Mistake,
    ResultChange,
    ResultMistake,
    all_entries,
    bias_gradient,
    cells_of,
    of_the_call,
    of_the_value,
    products,
)
from convdense.geometry import Conv, ConvTranspose, Geometry, LocallyConnected
from convdense.structure._tie import tie
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
    channels = _channels_summed(layer, name)
    if name == "dx" and channels > 1:
        sentence = "the mean over the output channels is taken for the sum"
        yield sentence, lambda value, *_: value / channels
    if name != "db":
        yield from _means_of_entries(layer, name)
    for sentence, change in plain_result_mistakes(name):
        yield sentence, of_the_value(change)

    if name == "y":
        yield from _mistakes_of_y(layer)
    elif name == "dx":
        yield from _output_padding_not_read(layer, "dx")
        sentence = "it is 0 where x is not positive, as through a ReLU before the layer"
        yield sentence, lambda value, _, call: value * (call.x > 0)
        yield from _overwritten("dx")
        yield "dy is taken for ones", of_the_call("dx", _with_ones)
    elif name == "dw":
        yield from _output_padding_not_read(layer, "dw")
        yield from _mistakes_of_dw()
    else:
        yield "dy is taken for ones", lambda _, __, call: bias_gradient(layer, _with_ones(call).dy)
        yield from bias_gradient_mistakes(layer)


def common_result_mistakes(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield those of the sums that are tried beside every mistake in the layer's structure."""
    if name == "dw":
        yield from _means(layer)
    yield "the sign is turned", of_the_value(np.negative)
    if name in ("y", "dx"):
        yield "it is divided by the batch size", of_the_value(lambda value: value / len(value))
    for n in (2.0, 4.0):
        yield f"it is multiplied by {n:g}", of_the_value(partial(np.multiply, n))
        yield f"it is divided by {n:g}", of_the_value(partial(_divided, n))
    if name == "y":
        yield "the bias is not added", of_the_call("y", lambda call: call.without_bias)
        yield "negative outputs are set to 0", of_the_value(lambda value: np.maximum(value, 0))
    if name == "dw":
        first = partial(_samples, slice(0, 1))
        yield "only the first sample of the batch counts", of_the_call("dw", first)
    if name != "db":
        yield from _overwritten(name)


def plain_result_mistakes(name: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield the mistakes that need the value alone; layers without weights make them too."""
    yield "it is zero", np.zeros_like
    yield "the sign is turned", np.negative
    if name in ("y", "dx"):
        yield "it is divided by the batch size", lambda value: value / len(value)
        sentence = "every sample is given the result of the first sample"
        yield sentence, lambda value: np.repeat(value[:1], len(value), axis=0)
        yield "it is the sum over all samples, given to every sample", _summed_over_samples
        sentence = "only the first sample of the batch is computed"
        yield sentence, lambda value: np.concatenate([value[:1], 0 * value[1:]])
        yield "the samples of the batch are in reverse order", lambda value: value[::-1]
    for n in (2.0, 3.0, 4.0):
        yield f"it is multiplied by {n:g}", partial(np.multiply, n)
        yield f"it is divided by {n:g}", partial(_divided, n)


def _summed_over_samples(value: Array) -> Array:
    return np.broadcast_to(value.sum(axis=0, keepdims=True), value.shape)


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
    yield from _ends_left_out(layer)
    n = _channels_summed(layer, "y")
    if n > 1:
        sentence = "the mean over the input channels is taken for the sum"
        yield sentence, lambda value, _, call: (value - _bias(call)) / n + _bias(call)
        yield f"{sentence}, bias included", lambda value, *_: value / n
    yield "negative outputs are set to 0", lambda value, *_: np.maximum(value, 0)
    sentence = "negative inputs are set to 0"
    yield sentence, of_the_call("y", lambda call: call._replace(x=np.maximum(call.x, 0)))
    yield from _overwritten("y")


def _bias(call: Call) -> Array:
    """Return the bias as it is added to y, (batch, channels, *pixels)."""
    return call.b.reshape(*call.b.shape, *[1] * (call.dy.ndim - 1 - call.b.ndim))


def _channels_summed(layer: Any, name: str) -> int:
    """Return over how many channels a sum goes, 0 where a layer has none."""
    if not isinstance(layer, Geometry):
        return 0
    channels = {"y": layer.in_channels, "dx": layer.out_channels}.get(name, 0)
    return channels // layer.groups


def _means_of_entries(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield a mean over what meets in a cell, as if a fold were averaged, or over copies."""
    counts = tie(layer).counts()
    if name == "dw":
        of_copies = np.maximum(counts.weights, 1)
        if isinstance(layer, LocallyConnected):
            over = tuple(range(2, 2 + len(layer.out_spatial)))
            sentence = "the weights are taken for tied: it is summed over the positions"
            yield (
                sentence,
                lambda value, *_: np.broadcast_to(value.sum(axis=over, keepdims=True), value.shape),
            )
        sentence = "the mean over the copies of a weight is taken for the sum"
        yield sentence, lambda value, *_: value / of_copies
        return
    if name == "y" and isinstance(layer, ConvTranspose):
        windows_met = counts.outputs // max(1, _channels_summed(layer, name))
        sentence = "the bias is added once for every window that meets a cell"
        yield sentence, lambda value, _, call: value + (windows_met - 1) * _bias(call)
    is_scattered = name == "dx" or isinstance(layer, ConvTranspose)
    channels = max(1, _channels_summed(layer, name))
    met = np.maximum((counts.inputs if name == "dx" else counts.outputs) // channels, 1)
    if is_scattered and met.max() > 1:
        sentence = "where windows overlap, their mean is taken for the sum: it is averaged"
        yield (
            sentence,
            lambda value, _, call: (
                value / met if name == "dx" else (value - _bias(call)) / met + _bias(call)
            ),
        )


def _ends_left_out(layer: Geometry) -> Iterator[ResultMistake]:
    """Yield outputs that stay 0 at the ends of an axis, or where output padding adds them."""
    parts = []
    inner = inside_output_padding(layer)
    if inner is not None:
        parts.append(("cells that output_padding adds", inner))
    n = len(layer.out_shape) - 1
    for axis in range(n):
        for word, kept in (("last", slice(None, -1)), ("first", slice(1, None))):
            rest: Index = (..., kept, *[slice(None)] * (n - 1 - axis))
            parts.append((f"{word} outputs along axis {axis}", rest))
    for words, rest in parts:
        yield f"the {words} are left 0", partial(_left_out, rest, bias=False)
        yield f"the {words} hold the bias alone", partial(_left_out, rest, bias=True)


def _left_out(rest: Index, value: Array, _: Mistake, call: Call, *, bias: bool) -> Array:
    """Return y at the rest; elsewhere 0, or the bias."""
    return _only(rest, value - _bias(call)) + _bias(call) if bias else _only(rest, value)


def _only(at: Index, value: Array) -> Array:
    """Return the values at some cells, 0 elsewhere."""
    result = np.zeros_like(value)
    result[at] = value[at]
    return result


def _output_padding_not_read(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield dx or dw without the dy of the cells that output padding adds."""
    inner = inside_output_padding(layer)
    if inner is not None:
        sentence = "dy of the cells that output_padding adds is not read"
        change = of_the_call(name, lambda call: call._replace(dy=_only(inner, call.dy)))
        yield sentence, change


def _mistakes_of_dw() -> Iterator[ResultMistake]:
    """Yield samples left out, sums written over, dy not read, and sums multiplied."""
    first, last = partial(_samples, slice(0, 1)), partial(_samples, slice(-1, None))
    yield "only the first sample of the batch counts", of_the_call("dw", first)
    yield "only the last sample of the batch counts", of_the_call("dw", last)
    for word, at in (("last", slice(-1, None)), ("first", slice(0, 1))):
        sentence = f"the {word} sample of x is used for every sample of dy"
        yield sentence, of_the_call("dw", partial(_one_x, at))
    yield "every sample of x is paired with every sample of dy", of_the_call("dw", _summed_samples)
    yield from _overwritten("dw")
    yield "dy is taken for ones", of_the_call("dw", _with_ones)
    yield "a product of sums is taken for the sum of products", _product_of_sums
    sentence = "a product of sums, over all of dy, is taken for the sum of products"
    yield sentence, _product_with_all_of_dy


def _samples(which: slice, call: Call) -> Call:
    return call._replace(x=call.x[which], dy=call.dy[which])


def _one_x(at: slice, call: Call) -> Call:
    return call._replace(x=np.broadcast_to(call.x[at], call.x.shape))


def _summed_samples(call: Call) -> Call:
    return call._replace(x=call.x.sum(0, keepdims=True), dy=call.dy.sum(0, keepdims=True))


def _with_ones(call: Call) -> Call:
    return call._replace(dy=np.ones_like(call.dy))


def lone_result_mistakes(layer: Any, name: str) -> Iterator[ResultMistake]:
    """Yield what is tried in the right layer alone.

    Results moved by some cells or read in another memory order, operands read so, and other sizes.
    """
    if name == "dw" and len(layer.weight_shape) == 2:
        yield "it is transposed", of_the_value(np.transpose)
    if name in ("y", "dx"):
        pairs = getattr(layer, "padding", ())
        pairs = () if isinstance(layer, TieMap) else pairs  # its padding are layers
        begin = tuple(pair[0] for pair in pairs)  # moved by the padding in front
        for sentence, layout in (*moved(len(layer.out_shape) - 1, begin), *layouts()):
            yield sentence, of_the_value(layout)

    for operand in _READS[name]:
        for sentence, layout in layouts():
            read = partial(_read_otherwise, operand, layout)
            yield f"of {operand}, {sentence}", of_the_call(name, read)

    if isinstance(layer, (Conv, ConvTranspose)) and name == "y":
        yield from sizes_of_y(layer)
    if isinstance(layer, Conv) and name == "dx" and layer.padding_mode == "zeros":
        yield from sizes_of_dx(layer)


def _read_otherwise(operand: str, layout: Callable[[Array], Array], call: Call) -> Call:
    return call._replace(**{operand: layout(getattr(call, operand))})


def _overwritten(name: str) -> Iterator[ResultMistake]:
    """Yield = for +=, where the outermost loop is over the outputs, the inputs or the taps."""
    for by in ("output", "input", "tap"):
        yield f"{LAST_STAYS} ({by} by {by})", Overwritten(name, by)
    channel, places = {"y": ("input channel", "tap"), "dx": ("output channel", "output")}.get(
        name, ("sample", "output")
    )
    sentence = f"{LAST_STAYS} (loops over {channel} and all {places}s)"
    yield sentence, Overwritten(name, channel, places)


def overwritten_in_loops(layer: Geometry, name: str) -> Iterator[ResultMistake]:
    """Yield = for += in loops over some of the channels and axes, the others summed at once.

    In which order the loops are nested is all the same: what a cell gets comes from all
    combinations of some channels and some positions an axis, and the last of each comes last.
    """
    n = len(layer.out_shape) - 1
    # what is met last in memory that is padded can be a padded cell, which leaves 0
    for some in _sets(*_LAST.get(name, ("", "output")), n) if name != "dx" else ():
        yield f"{LAST_STAYS} (loops over {in_words(some)})", _with_last_alone(layer, name, some)
    channels, kinds = {
        "y": (("input channel",), ("input", "tap")),
        "dx": (("output channel",), ("output", "tap")),
        "dw": (("sample",) if n else ("output channel", "input channel"), ("output", "tap")),
        "db": ((), ()),
    }[name]
    sets: dict[tuple[str, ...], None] = {}
    for mixed in product(kinds, repeat=n):
        loops = (*channels, *(f"{kind} axis {axis}" for axis, kind in enumerate(mixed)))
        for size in range(len(loops), 0, -1):
            sets |= dict.fromkeys(combinations(loops, size))
    if name == "y" and n == 1:  # overlapping blocks, as overlap-add has them
        for cells in range(2, layer.in_shape[1]):
            sentence = f"{LAST_STAYS} (blocks of {cells} inputs overlap)"
            yield sentence, Overwritten(name, f"block {cells}")
    for some in sets:
        if name != "dw" or some != ("sample",):  # that is the last sample alone
            yield f"{LAST_STAYS} (loops over {in_words(some)})", Overwritten(name, *some)


_LAST = dict.fromkeys(("dw", "db"), ("sample", "output")) | {"y": ("input channel", "tap")}


def _with_last_alone(layer: Any, name: str, loops: tuple[str, ...]) -> ResultChange:
    """Return what the last step of all loops gives alone: of dy, or of the weights."""
    if name == "db":
        return lambda _, __, call: bias_gradient(layer, _last_of_dy(loops, call).dy)
    return of_the_call(name, partial(_last_of_w if name == "y" else _last_of_dy, loops))


def _sets(first: str, kind: str, n: int) -> Iterator[tuple[str, ...]]:
    """Yield all sets of loops over a channel or the samples, and axes; the most first."""
    loops = (first, *(f"{kind} axis {axis}" for axis in range(n)))
    for size in range(len(loops), 0, -1):
        yield from combinations(loops, size)


def _last_of_dy(loops: Sequence[str], call: Call) -> Call:
    """Return dy at the last sample or position of each loop, 0 elsewhere."""
    at: list[Any] = [slice(None)] * call.dy.ndim
    for loop in loops:
        at[0 if loop == "sample" else 2 + int(loop.rpartition(" ")[2])] = slice(-1, None)
    return call._replace(dy=_only(tuple(at), call.dy))


def _last_of_w(loops: Sequence[str], call: Call) -> Call:
    """Return w at the last input channel or tap of each loop, 0 elsewhere."""
    at: list[Any] = [slice(None)] * call.w.ndim
    first_tap = call.w.ndim - (call.dy.ndim - 2)
    for loop in loops:
        number = loop.rpartition(" ")[2]
        at[1 if number == "channel" else first_tap + int(number)] = slice(-1, None)
    return call._replace(w=_only(tuple(at), call.w))


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
        row, col, index = (np.concatenate(c) for c in zip(*(e[:3] for e in each), strict=True))
        coefficients = [e.coefficient for e in each if e.coefficient is not None]
        return Entries(row, col, index, np.concatenate(coefficients) if coefficients else None)

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
            if kind == "block":  # of so many inputs, along the one axis that there is
                steps = (entries.col % ties.in_shape[-1]) // int(which)
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
