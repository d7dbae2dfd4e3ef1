"""Mistakes people make, as tie maps and weights: what a layer would compute if one of its numbers were got wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, permutations
from typing import Any, NamedTuple

import numpy as np

from convdense.arguments import Array
from convdense.axis import Axis, channels, window
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.tiemap import TieMap
from convdense.ties import tie

Reordering = Callable[[Array], Array]


class Call(NamedTuple):
    """The operands of one call."""

    x: Array
    w: Array
    b: Array
    dy: Array


@dataclass(frozen=True)
class Mistake:
    """A layer got wrong: its sentence, the tie map it amounts to, and what it does to the weights.

    Parameters
    ----------
    sentence : str
    ties : TieMap
        Which weight sits where, wrongly or rightly.
    weights : function of a weight array
        Linear; its own adjoint up to `back`.
    back : function of a weight gradient
        The adjoint of `weights`.
    """

    sentence: str
    ties: TieMap
    weights: Callable[[Array], Array] = np.asarray
    back: Callable[[Array], Array] = np.asarray

    def run(self, call: Call, name: str) -> Array:
        """Return the quantity y, dx or dw that this mistake gives."""
        x, w, b, dy = call
        if name == "dw":
            return np.asarray(self.back(self.ties.add_edges(x, dy)))
        matrix = self.ties.matrix(np.ascontiguousarray(self.weights(w)))
        if name == "dx":
            return np.asarray((matrix.T @ dy.reshape(len(dy), -1).T).T.reshape(len(dy), *self.ties.in_shape))
        y = (matrix @ x.reshape(len(x), -1).T).T + self.ties.bias.matrix(b).toarray()[:, 0]
        return np.asarray(y.reshape(len(x), *self.ties.out_shape))


class _Numbers(NamedTuple):
    """The numbers of a convolution along its axes; a transposed one's window slides over its outputs."""

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    mode: str
    flip: tuple[bool, ...]


def mistakes(layer: Geometry) -> Iterator[Mistake]:
    """Yield the right layer first, then one mistake after the other; those that change nothing are left out."""
    right = tie(layer)
    yield Mistake("", right)
    if isinstance(layer, (Conv, ConvTranspose)):
        numbers = _numbers(layer)
        for sentence, changed in chain(_flips(numbers), _strides_and_padding(numbers)):
            if _exists(changed):
                yield Mistake(sentence, _map(layer, changed))
        for sentence, axis in _groups(layer):
            yield Mistake(sentence, _map(layer, numbers, axis))
        yield from _borders(layer, numbers)
        yield from _lost_taps(layer, numbers)
    yield from _weights(layer, right)


def _numbers(layer: Conv | ConvTranspose) -> _Numbers:
    transposed = isinstance(layer, ConvTranspose)
    ins, outs = layer.in_spatial, layer.out_spatial
    if transposed:
        ins, outs = outs, ins  # the window slides over the outputs
    begin, end = (tuple(pair[i] for pair in layer.padding) for i in (0, 1))
    mode = "zeros" if isinstance(layer, ConvTranspose) else layer.padding_mode
    flips = (layer.flip,) * len(ins)
    return _Numbers(ins, outs, layer.kernel, layer.stride, layer.dilation, begin, end, mode, flips)


def _windows(n: _Numbers) -> list[Axis]:
    sizes = zip(n.ins, n.outs, n.kernel, n.stride, n.dilation, n.begin, n.flip, strict=True)
    return [
        window(n_in, n_out, k, stride=s, dilation=d, begin=begin, mode=n.mode, flip=flip)
        for n_in, n_out, k, s, d, begin, flip in sizes
    ]


def _exists(n: _Numbers) -> bool:
    """Tell whether all cells that padding copies exist; a window too far out has none."""
    return all(a.cols.min(initial=0) >= 0 and a.cols.max(initial=0) < a.n_cols for a in _windows(n))


def _map(layer: Geometry, numbers: _Numbers, first: Axis | None = None, axes: Sequence[Axis] | None = None) -> TieMap:
    """Return the tie map of these numbers, the channels' axis changed or as it is."""
    transposed = isinstance(layer, ConvTranspose)
    outs, ins = (layer.in_channels, layer.out_channels) if transposed else (layer.out_channels, layer.in_channels)
    whole = TieMap((first or channels(outs, ins, layer.groups), *(axes or _windows(numbers))))
    return whole.T if transposed else whole


def _flips(n: _Numbers) -> Iterator[tuple[str, _Numbers]]:
    axes = range(len(n.kernel))
    for size in range(len(axes), 0, -1):
        for some in combinations(axes, size):
            flip = tuple(f != (i in some) for i, f in enumerate(n.flip))
            which = "all axes" if size == len(axes) and size > 1 else f"axis {some[0]}" if size == 1 else f"axes {some}"
            yield f"the kernel is reversed on {which}", n._replace(flip=flip)


def _strides_and_padding(n: _Numbers) -> Iterator[tuple[str, _Numbers]]:
    ones = (1,) * len(n.kernel)
    if n.dilation != ones:
        yield "the dilation is ignored", n._replace(dilation=ones)
    if n.stride != ones:
        yield "the stride is forgotten", n._replace(stride=ones)
    if n.begin != n.end:
        yield "the padding at begin and end is swapped", n._replace(begin=n.end, end=n.begin)
    if any(n.begin):
        yield "the padding is not cropped: everything is shifted by it", n._replace(begin=(0,) * len(ones))
    for step, word in ((1, "more"), (-1, "less")):
        if all(b + step >= 0 for b in n.begin):
            yield (
                f"one cell of padding {word} at the begin of every axis",
                n._replace(begin=tuple(b + step for b in n.begin)),
            )
        for i, b in enumerate(n.begin):
            if len(ones) > 1 and b + step >= 0:
                begin = (*n.begin[:i], b + step, *n.begin[i + 1 :])
                yield f"one cell of padding {word} at the begin of axis {i}", n._replace(begin=begin)
    for mode in ("zeros", "circular", "reflect", "replicate", "symmetric"):
        if mode != n.mode and any((*n.begin, *n.end)):
            yield f"the padding is taken for {mode}, not for {n.mode}", n._replace(mode=mode)


def _groups(layer: Geometry) -> Iterator[tuple[str, Axis]]:
    transposed, g = isinstance(layer, ConvTranspose), layer.groups
    if g == 1:
        return
    outs, ins = (layer.in_channels, layer.out_channels) if transposed else (layer.out_channels, layer.in_channels)
    whole = channels(outs, ins, g)
    per_in, per_out = ins // g, outs // g
    if per_out > 1:
        kept = whole.rows % per_out == per_out - 1
        yield "within a group only the last output channel counts", whole.take(kept)
    if per_in < ins:
        yield (
            "the groups' offset is ignored: all groups meet the first one's channels",
            replace(whole, cols=whole.cols % per_in),
        )
    if per_in > 1:
        mixed = np.arange(ins).reshape(per_in, g).T.ravel()  # channel c of the layer belongs to group c mod g
        yield "the input channels of the groups are interleaved", replace(whole, cols=mixed[whole.cols])
    if per_out > 1:
        mixed = np.arange(outs).reshape(per_out, g).T.ravel()
        yield "the output channels of the groups are interleaved", replace(whole, rows=mixed[whole.rows])
        rows = mixed[whole.rows]
        own = replace(whole, rows=rows, taps=rows * per_in + whole.taps % per_in)
        yield "output channel o belongs to group o mod groups", own


def _borders(layer: Geometry, n: _Numbers) -> Iterator[Mistake]:
    """Yield windows over the border left out, and the last row of windows left out."""
    whole = _windows(n)
    kept, last = [], []
    for axis, k in zip(whole, n.kernel, strict=True):
        inside = np.bincount(axis.rows, minlength=axis.n_rows) == k
        kept.append(axis.take(inside[axis.rows]))
        last.append(axis.take(axis.rows < axis.n_rows - 1))
    if any(len(a) < len(b) for a, b in zip(kept, whole, strict=True)) and n.mode == "zeros":
        yield Mistake("windows that reach over the border are left out", _map(layer, n, axes=kept))
    for i, axis in enumerate(last):
        if len(axis):
            axes = [*whole[:i], axis, *whole[i + 1 :]]
            yield Mistake(f"the last window along axis {i} is left out", _map(layer, n, axes=axes))


def _lost_taps(layer: Geometry, n: _Numbers) -> Iterator[Mistake]:
    """Yield all taps at one place of an axis left out, and padded cells before the input that wrap around."""
    whole = _windows(n)
    for i, axis in enumerate(whole):
        for tap in range(n.kernel[i]) if n.kernel[i] > 1 and len(whole) > 1 else ():
            axes = [*whole[:i], axis.take(axis.taps != tap), *whole[i + 1 :]]
            yield Mistake(f"the taps at {tap} of the kernel's axis {i} are left out", _map(layer, n, axes=axes))
    if n.mode == "zeros" and max(n.stride) > 1:
        repeated = [_repeated(n, i, isinstance(layer, ConvTranspose)) for i in range(len(whole))]
        sentence = "the stride is undone by repeating values, not by zeros between them"
        yield Mistake(sentence, _map(layer, n, axes=repeated))
    if n.mode == "zeros" and any(n.begin):
        wrapped = [_wrapped(n, i) for i in range(len(whole))]
        yield Mistake("cells before the input are taken from its end (a negative index)", _map(layer, n, axes=wrapped))


def _repeated(n: _Numbers, i: int, transposed: bool) -> Axis:
    """Return the window along one axis at every step between two strides, each with the value of the last stride."""
    s, d, k, reach = n.stride[i], n.dilation[i], n.kernel[i], n.ins[i] + n.begin[i] + n.end[i]
    dense = (n.outs[i] - 1) * s + 1 if transposed else reach - (k - 1) * d  # windows of stride 1
    steps, taps = (a.ravel() for a in np.meshgrid(np.arange(min(dense, n.outs[i] * s)), np.arange(k), indexing="ij"))
    cells = steps + taps * d - n.begin[i]
    whole = Axis(steps // s, cells, k - 1 - taps if n.flip[i] else taps, n.outs[i], n.ins[i], (k,))
    return whole.take((cells >= 0) & (cells < n.ins[i]))


def _wrapped(n: _Numbers, i: int) -> Axis:
    """Return the window along one axis if negative indices wrap, as NumPy's do, and those beyond the end do not."""
    axis = _windows(n._replace(mode="circular"))[i]
    taps = n.kernel[i] - 1 - axis.taps if n.flip[i] else axis.taps
    cells = axis.rows * n.stride[i] + taps * n.dilation[i] - n.begin[i]
    return axis.take(cells < n.ins[i])


def _weights(layer: Geometry, right: TieMap) -> Iterator[Mistake]:
    """Yield weights put in another order, or one of them lost."""
    shape = right.weight_shape
    n = len(layer.kernel)
    spatial = range(len(shape) - n, len(shape))
    for i, j in combinations(spatial, 2):
        if shape[i] == shape[j]:
            swap = _swapped(i, j)
            yield Mistake(f"axes {i - spatial[0]} and {j - spatial[0]} of the kernel are transposed", right, swap, swap)
    if shape[0] == shape[1] > 1:
        swap = _swapped(0, 1)
        yield Mistake("input and output channels of the kernel are swapped", right, swap, swap)
    for order in permutations(range(len(shape))):
        if order != tuple(range(len(shape))):
            read, write = _stored(shape, order)
            yield Mistake(f"the weights are read as if their axes were stored in the order {order}", right, read, write)
    for tap in np.ndindex(*shape[-n:]):
        lost = _lost((..., *tap))
        yield Mistake(f"tap {tap} of the kernel is lost", right, lost, lost)
    if shape[0] * shape[1] > 1:
        for pair in np.ndindex(*shape[:2]):
            lost = _lost(pair)
            yield Mistake(f"the channel pair {pair} of the kernel is lost", right, lost, lost)


def _swapped(i: int, j: int) -> Callable[[Array], Array]:
    return lambda w: np.swapaxes(w, i, j)


def _stored(
    shape: tuple[int, ...], order: tuple[int, ...]
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return a weight array read with its axes in another order, and the gradient written so."""
    stored, back = tuple(shape[i] for i in order), tuple(int(i) for i in np.argsort(order))
    return (
        lambda w: np.ascontiguousarray(w).reshape(stored).transpose(back),
        lambda g: np.ascontiguousarray(g.transpose(order)).reshape(shape),
    )


def _lost(where: Any) -> Callable[[Array], Array]:
    def lost(w: Array) -> Array:
        kept = np.array(w)
        kept[where] = 0
        return kept

    return lost
