"""What the tables of mistakes are made of: a row, ways to write one, and plain right code.

Nothing here knows how a mistake is named. The right code is loops and slices of its own, so that a
row changes one line of what a student would write; it takes nothing of the library but the numbers
of a layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

QUANTITIES = ("y", "dx", "dw", "db")

# A sentence that says it must have all substrings of one alternative, in any case of letters; a
# substring that begins with "!" must not occur.
Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Row:
    """An implementation, and the words that a diagnosis of it must have.

    ``words`` maps each wrong quantity to the alternatives for its sentence; all others are right.
    ``behaviour`` are substrings of the whole text: what is beside the numbers. ``options`` are
    those of certify and diagnose alike. ``rounds``: right code, though not equal in every bit, or
    another rounding than is usual.
    """

    name: str
    layer: Any
    make: Callable[[], Any]
    words: Mapping[str, Alternatives] = field(default_factory=dict)
    behaviour: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    rounds: bool = False

    @property
    def implementation(self):
        """A new one each time: some remember what they were called with."""
        return self.make()


class Table:
    """Rows in the order in which they are written, named after their functions."""

    def __init__(self):
        self.wrong: list[Row] = []
        self.right: list[Row] = []

    def made(self, layer, *, name="", behaviour=(), options=None, rounds=False, **words):
        """Register a function without arguments that returns an implementation."""

        def register(function):
            said = name or function.__name__.replace("_", " ")
            table = self.wrong if words or behaviour else self.right
            given = dict(words), behaviour, options or {}, rounds
            table.append(Row(said, layer, function, *given))
            return function

        return register

    def part(self, quantity, layer, *alternatives, **more):
        """Register a function that computes one quantity, beside right code for the others.

        Right code for y is given as forward alone.
        """

        def register(function):
            words = {quantity: alternatives} if alternatives else {}
            name = more.pop("name", function.__name__.replace("_", " "))
            alone = quantity == "y" and not words
            make = partial(beside, layer, quantity, function)
            self.made(layer, name=name, **words, **more)((lambda: function) if alone else make)
            return function

        return register

    def y(self, layer, *alternatives, **more):
        return self.part("y", layer, *alternatives, **more)

    def dx(self, layer, *alternatives, **more):
        return self.part("dx", layer, *alternatives, **more)

    def dw(self, layer, *alternatives, **more):
        return self.part("dw", layer, *alternatives, **more)

    def db(self, layer, *alternatives, **more):
        return self.part("db", layer, *alternatives, **more)


def pair(forward, backward):
    return SimpleNamespace(forward=forward, backward=backward)


def beside(layer, quantity, function):
    """Return plain right code but for one quantity: function(x, w, b) or (x, w, dy)."""
    right = plain(layer)
    if quantity == "y":
        return pair(function, right.backward)
    if quantity == "dx" and not hasattr(layer, "weight_shape"):
        return pair(right.forward, function)

    def backward(x, w, dy):
        gradients = dict(zip(("dx", "dw", "db"), right.backward(x, w, dy), strict=True))
        gradients[quantity] = function(x, w, dy)
        return tuple(gradients.values())

    return pair(right.forward, backward)


# Plain right code


def plain(layer):
    """Return right code for a layer, from its numbers."""
    kind = type(layer).__name__
    if kind == "Conv":
        return PlainConv(layer)
    if kind == "ConvTranspose":
        return PlainTranspose(layer)
    if kind == "Linear":
        return PlainLinear()
    return PlainPool(layer)


class PlainLinear:
    def forward(self, x, w, b):
        return x @ w.T + b

    def backward(self, x, w, dy):
        return dy @ w, dy.T @ x, dy.sum(axis=0)


class PlainConv:
    """One slice of the padded input for each tap, one group after the other."""

    def __init__(self, layer):
        self.layer = layer
        self.padding = layer.padding
        self.positions = layer.out_spatial
        modes = {"zeros": "constant", "circular": "wrap", "replicate": "edge"}
        self.mode = modes.get(layer.padding_mode, layer.padding_mode)

    def padded(self, x):
        widths = ((0, 0), (0, 0), *self.padding)
        if self.mode == "constant":
            return np.pad(x, widths, constant_values=self.layer.padding_value)
        return np.pad(x, widths, self.mode)

    def taps(self):
        """Yield (position in the kernel, the cells of the padded input that it meets)."""
        steps = list(zip(self.layer.stride, self.layer.dilation, self.positions, strict=True))
        for tap in np.ndindex(*self.layer.kernel):
            cells = [
                slice(t * d, t * d + s * (n - 1) + 1, s)
                for t, (s, d, n) in zip(tap, steps, strict=True)
            ]
            yield self.weight_at(tap), cells

    def weight_at(self, tap):
        if not self.layer.flip:
            return tap
        return tuple(k - 1 - t for k, t in zip(self.layer.kernel, tap, strict=True))

    def groups(self):
        """Yield (output channels, input channels) of each group, as slices."""
        n_in = self.layer.in_channels // self.layer.groups
        n_out = self.layer.out_channels // self.layer.groups
        for g in range(self.layer.groups):
            yield slice(g * n_out, (g + 1) * n_out), slice(g * n_in, (g + 1) * n_in)

    def forward(self, x, w, b):
        padded = self.padded(x)
        y = np.zeros((len(x), self.layer.out_channels, *self.positions), np.result_type(x, w))
        for tap, cells in self.taps():
            for outs, ins in self.groups():
                window = padded[(slice(None), ins, *cells)]
                y[:, outs] += np.einsum("oc,nc...->no...", w[(outs, slice(None), *tap)], window)
        return y + b.reshape(-1, *[1] * len(self.positions))

    def backward(self, x, w, dy):
        padded, w = np.conj(self.padded(x)), np.conj(w)
        d_padded, dw = np.zeros(padded.shape, dy.dtype), np.zeros(w.shape, dy.dtype)
        for tap, cells in self.taps():
            for outs, ins in self.groups():
                of_w, of_x = (outs, slice(None), *tap), (slice(None), ins, *cells)
                window, d_out = padded[of_x], dy[:, outs]
                d_padded[of_x] += np.einsum("oc,no...->nc...", w[of_w], d_out)
                flat = window.reshape(*window.shape[:2], -1), d_out.reshape(*d_out.shape[:2], -1)
                dw[of_w] = np.einsum("ncp,nop->oc", *flat)
        return self.cropped(d_padded), dw, dy.sum(axis=(0, *range(2, dy.ndim)))

    def cropped(self, d_padded):
        """Return dx: what belongs to a padded cell goes to the cell that it was read from."""
        for axis, (size, widths) in enumerate(
            zip(self.layer.in_spatial, self.padding, strict=True), start=2
        ):
            nowhere = {"constant_values": -1} if self.mode == "constant" else {}
            sources = np.pad(np.arange(size), widths, self.mode, **nowhere)
            inside = np.zeros((size, *np.delete(d_padded.shape, axis)), d_padded.dtype)
            for source, cells in zip(sources, np.moveaxis(d_padded, axis, 0), strict=True):
                if source >= 0:
                    inside[source] += cells
            d_padded = np.moveaxis(inside, 0, axis)
        return d_padded


class PlainTranspose:
    """Every input cell spreads over a canvas, from which the padding is cropped."""

    def __init__(self, layer):
        self.layer = layer

    def canvas_shape(self):
        numbers = zip(self.layer.out_spatial, self.layer.padding, strict=True)
        return [n + max(begin, 0) + max(end, 0) for n, (begin, end) in numbers]

    def inside(self):
        numbers = zip(self.layer.padding, self.layer.out_spatial, strict=True)
        return (slice(None), slice(None), *(slice(begin, begin + n) for (begin, _), n in numbers))

    def taps(self):
        layer = self.layer
        steps = list(zip(layer.stride, layer.dilation, layer.in_spatial, strict=True))
        for tap in np.ndindex(*layer.kernel):
            yield (
                tap,
                [
                    slice(t * d, t * d + s * (n - 1) + 1, s)
                    for t, (s, d, n) in zip(tap, steps, strict=True)
                ],
            )

    def groups(self):
        n_in = self.layer.in_channels // self.layer.groups
        n_out = self.layer.out_channels // self.layer.groups
        for g in range(self.layer.groups):
            yield slice(g * n_in, (g + 1) * n_in), slice(g * n_out, (g + 1) * n_out)

    def forward(self, x, w, b):
        shape = (len(x), self.layer.out_channels, *self.canvas_shape())
        canvas = np.zeros(shape, np.result_type(x, w))
        for tap, cells in self.taps():
            for ins, outs in self.groups():
                copies = np.einsum("co,nc...->no...", w[(ins, slice(None), *tap)], x[:, ins])
                canvas[(slice(None), outs, *cells)] += copies
        return canvas[self.inside()] + b.reshape(-1, *[1] * len(self.layer.kernel))

    def backward(self, x, w, dy):
        canvas = np.zeros((len(x), self.layer.out_channels, *self.canvas_shape()), dy.dtype)
        canvas[self.inside()] = dy
        dx, dw = np.zeros(x.shape, dy.dtype), np.zeros(w.shape, dy.dtype)
        for tap, cells in self.taps():
            for ins, outs in self.groups():
                of_w = (ins, slice(None), *tap)
                read = canvas[(slice(None), outs, *cells)]
                dx[:, ins] += np.einsum("co,no...->nc...", w[of_w], read)
                flat = (
                    x[:, ins].reshape(*x[:, ins].shape[:2], -1),
                    read.reshape(*read.shape[:2], -1),
                )
                dw[of_w] = np.einsum("ncp,nop->co", *flat)
        return dx, dw, dy.sum(axis=(0, *range(2, dy.ndim)))


class PlainPool:
    """Windows one by one; a window is the list of its cells along each axis."""

    def __init__(self, layer):
        self.layer = layer
        self.kind = type(layer).__name__

    def windows(self):
        """Yield (position, one list of cells for each axis)."""
        layer = self.layer
        for position in np.ndindex(*layer.out_spatial):
            yield position, [self.cells(axis, i) for axis, i in enumerate(position)]

    def cells(self, axis, i):
        layer = self.layer
        size = layer.in_spatial[axis]
        if layer.output is not None:
            outputs = layer.output[axis]
            return list(range(i * size // outputs, -(-(i + 1) * size // outputs)))
        first = i * layer.stride[axis] - layer.padding[axis][0]
        cells = [first + t * layer.dilation[axis] for t in range(layer.kernel[axis])]
        return [cell for cell in cells if 0 <= cell < size]

    def divisor(self, position, cells):
        layer = self.layer
        if self.kind == "SumPool":
            return 1
        if layer.divisor_override is not None:
            return layer.divisor_override
        if layer.output is not None or not layer.count_include_pad:
            return np.prod([len(some) for some in cells])
        divisor = 1
        for axis, i in enumerate(position):
            begin, end = layer.padding[axis]
            first = i * layer.stride[axis] - begin
            taps = first + layer.dilation[axis] * np.arange(layer.kernel[axis])
            divisor *= np.count_nonzero(taps < layer.in_spatial[axis] + end)
        return divisor

    def forward(self, x):
        y = np.zeros((*x.shape[:2], *self.layer.out_spatial), x.dtype)
        for position, cells in self.windows():
            window = x[(slice(None), slice(None), *np.ix_(*cells))].reshape(*x.shape[:2], -1)
            at = (slice(None), slice(None), *position)
            if self.kind == "MaxPool":
                y[at] = window.max(axis=2)
            elif self.kind == "MinPool":
                y[at] = window.min(axis=2)
            else:
                y[at] = window.sum(axis=2) / self.divisor(position, cells)
        return y

    def backward(self, x, dy):
        dx = np.zeros(x.shape, dy.dtype)
        for position, cells in self.windows():
            at = (slice(None), slice(None), *np.ix_(*cells))
            if self.kind in ("MaxPool", "MinPool"):
                window = x[at].reshape(*x.shape[:2], -1)
                best = window.argmax(axis=2) if self.kind == "MaxPool" else window.argmin(axis=2)
                for n, c in np.ndindex(*x.shape[:2]):
                    cell = np.unravel_index(best[n, c], x[at].shape[2:])
                    where = [some[i] for some, i in zip(cells, cell, strict=True)]
                    dx[(n, c, *where)] += dy[(n, c, *position)]
            else:
                share = dy[(slice(None), slice(None), *position)] / self.divisor(position, cells)
                dx[at] += share.reshape(*share.shape, *[1] * len(cells))
        return dx
