"""Smaller layers on which code is still wrong: copies to name its mistake on, and the smallest.

Stride, dilation, padding and what else code holds stay; channels, cells, groups and the kernel,
which its operands tell it, become fewer.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import Conv, ConvTranspose, Implementation, LocallyConnected, Pool
from convdense.implementations.evaluators import Results, implementation_evaluator
from convdense.structure._tie import tie

NAMED_ON = 5_000  # entries up to which every mistake is tried on the layer itself
COPIED_TO = 20_000  # entries of a copy, at most
LONGEST_KERNEL = 5  # along an axis of a copy, where a longer one would make it large
Sized = Conv | ConvTranspose | LocallyConnected | Pool
Sizes = dict[str, int]


def entries_of(layer: Any) -> int:
    """Return how many entries a layer's matrix has; of a pool, as many as its windows have cells.

    Examples
    --------
    >>> entries_of(Conv((1, 3, 3), out_channels=2, kernel=2))
    32
    """
    if not isinstance(layer, Pool):
        return tie(layer).n_entries
    return prod(layer.out_shape) * prod(layer.kernel or (2,))


def copies(layer: Any) -> Iterator[Sized]:
    """Yield smaller layers of the same kind: axes of unlike size first, as more shows there.

    Examples
    --------
    >>> next(copies(Conv((64, 56, 56), out_channels=64, kernel=3, padding=1)))
    Conv((2, 5, 6), out_channels=2, kernel=3, padding=1)
    """
    if not isinstance(layer, Sized):
        return
    found = []
    for unlike, longer in ((1, 0), (0, 0), (1, 2)):
        for channels in ((2, 2), (2, 3), (3, 2), (1, 1)):
            sizes = _few(layer, channels) | _cells(layer, unlike, longer)
            for kernel in ({}, _short_kernel(layer)):
                copy = with_sizes(layer, sizes | kernel)
                if copy is None or copy == layer or copy in found:
                    continue
                if entries_of(copy) <= min(COPIED_TO, entries_of(layer)):
                    found.append(copy)
                    yield copy
                    break


def _few(layer: Sized, channels: tuple[int, int]) -> Sizes:
    """Return at most two groups, and of each at most so many channels in and out."""
    sizes = sizes_of(layer)
    most = {"groups": 2, "ins": channels[0], "outs": channels[1], "channels": 2}
    return {name: min(n, sizes[name]) for name, n in most.items() if name in sizes}


def _cells(layer: Sized, unlike: int, longer: int) -> Sizes:
    """Return as few cells as have a border, an interior, and what is left over at the end."""
    sizes = {}
    if isinstance(layer, Pool) and layer.kernel is None:
        for i, (n, parts) in enumerate(zip(layer.in_spatial, layer.out_spatial, strict=True)):
            more = parts * (1 + longer + unlike * i)
            sizes[f"cells {i}"] = min(n, more + (n % parts if n > more else 0))
        return sizes
    axes = zip(layer.in_spatial, layer.kernel or (), layer.stride, layer.dilation, strict=True)
    for i, (n, k, s, d) in enumerate(axes):
        if isinstance(layer, ConvTranspose):
            sizes[f"cells {i}"] = min(n, 3 + longer + unlike * i)
            continue
        window = (k - 1) * d + 1
        least = max(window, window + 2 * s - sum(layer.padding[i]) // 2) + (1 + longer) * s
        least += unlike * i * s
        # behind the last window as many cells are left over as in the layer
        sizes[f"cells {i}"] = min(n, least + (n - least) % s)
    return sizes


def _short_kernel(layer: Sized) -> Sizes:
    """Return a kernel that is short, where it is an operand that tells it."""
    if isinstance(layer, Pool):
        return {}
    return {f"kernel {i}": min(k, LONGEST_KERNEL) for i, k in enumerate(layer.kernel)}


def sizes_of(layer: Any) -> Sizes:
    """Return what may become smaller: groups, channels of a group, cells, and the kernel.

    Examples
    --------
    >>> sizes_of(Conv((2, 6), out_channels=3, kernel=2))
    {'groups': 1, 'ins': 2, 'outs': 3, 'cells 0': 6, 'kernel 0': 2}
    """
    if not isinstance(layer, Sized):
        return {}
    if isinstance(layer, Pool):
        sizes = {"channels": layer.in_shape[0]}
    else:
        g = layer.groups
        sizes = {"groups": g, "ins": layer.in_channels // g, "outs": layer.out_channels // g}
    sizes |= {f"cells {i}": n for i, n in enumerate(layer.in_spatial)}
    if not isinstance(layer, Pool):
        sizes |= {f"kernel {i}": k for i, k in enumerate(layer.kernel)}
    return sizes


def with_sizes(layer: Any, sizes: Sizes) -> Any:
    """Return the layer with these sizes, the others as they are; None if there is no such layer."""
    all_sizes = sizes_of(layer) | sizes
    n = len(layer.in_spatial)
    cells = tuple(all_sizes[f"cells {i}"] for i in range(n))
    with suppress(ValueError):
        if isinstance(layer, Pool):
            in_shape = (all_sizes["channels"], *cells)
            if layer.output is not None:  # all else follows
                return type(layer)(in_shape, output=layer.output)
            return replace(layer, in_shape=in_shape)
        groups = all_sizes["groups"]
        kernel = tuple(all_sizes[f"kernel {i}"] for i in range(n))
        in_shape, out = (groups * all_sizes["ins"], *cells), groups * all_sizes["outs"]
        changed = replace(layer, in_shape=in_shape, out_channels=out, kernel=kernel, groups=groups)
        return changed if prod(changed.out_shape) else None
    return None


def smallest(
    layer: Any, batch: int, is_wrong: Callable[[Any, int], bool], *, is_fixed: bool = False
) -> tuple[Any, int]:
    """Return a layer and a batch of which nothing can be made smaller and still be wrong.

    One size after the other becomes the least at which `is_wrong(layer, batch)` says so. Code of
    one fixed shape keeps its kernel.
    """
    for fewer in range(1, batch):
        if is_wrong(layer, fewer):
            batch = fewer
            break
    changed = True
    while changed:
        changed = False
        for name, size in sizes_of(layer).items():
            if is_fixed and name.startswith("kernel"):
                continue
            for less in range(1, size):
                smaller = with_sizes(layer, {name: less})
                if smaller is not None and is_wrong(smaller, batch):
                    layer, changed = smaller, True
                    break
    return layer, batch


def in_words(small: Any, batch: int, layer: Any) -> str:
    """Return words for a smaller layer: what differs from one channel, sample and the kernel.

    Examples
    --------
    >>> layer = Conv((64, 56, 56), out_channels=64, kernel=3, padding=1)
    >>> in_words(Conv((1, 3, 4), out_channels=2, kernel=3, padding=1), 2, layer)
    '1 channel of 3 x 4, 2 output channels, 2 samples'
    """

    def counted(number: int, word: str) -> str:
        return f"{number} {word}{'s' * (number > 1)}"

    words = [f"{counted(small.in_shape[0], 'channel')} of {' x '.join(map(str, small.in_spatial))}"]
    if not isinstance(small, Pool):
        if small.out_channels > 1:
            words.append(counted(small.out_channels, "output channel"))
        if small.groups > 1:
            words.append(counted(small.groups, "group"))
        if small.kernel != layer.kernel:
            words.append(f"a kernel of {' x '.join(map(str, small.kernel))}")
    if batch > 1:
        words.append(counted(batch, "sample"))
    return ", ".join(words)


@dataclass(frozen=True)
class Corner:
    """Code of one fixed shape as an implementation of a smaller layer: the other cells are zero.

    The smaller layer lies at the first channels of each group, and at the first or at the last
    cells: then a multiple of the stride away. Padding must be zeros, which the cells beside it
    replace. What is linear in its operands cannot tell it from the smaller layer.
    """

    implementation: Implementation
    layer: Conv | ConvTranspose
    small: Conv | ConvTranspose
    at_end: bool = False

    def forward(self, x: Array, w: Array, b: Array | None) -> Any:
        """Return y of the smaller layer."""
        y, *_ = self._run(x, w, b, None)
        return y

    def backward(self, x: Array, w: Array, dy: Array) -> Results:
        """Return dx, dw and db of the smaller layer."""
        _, dx, dw, db = self._run(x, w, None, dy)
        return dx, dw, db

    def _run(self, x: Array, w: Array, b: Array | None, dy: Array | None) -> Results:
        ins, outs = (self._channels(name) for name in ("in_channels", "out_channels"))
        cells, positions = self._places()
        of_x, of_y = np.ix_(range(len(x)), ins, *cells), np.ix_(range(len(x)), outs, *positions)
        per_group = w.shape[1]
        first = ins if isinstance(self.layer, ConvTranspose) else outs
        of_w = np.ix_(first, range(per_group), *map(range, w.shape[2:]))

        def within(values: Array | None, shape: tuple[int, ...], at: Any) -> Array:
            whole = np.zeros(shape, x.dtype)
            if values is not None:
                whole[at] = values
            return whole

        n = len(x)
        mine = implementation_evaluator(self.implementation)
        large_x = within(x, (n, *self.layer.in_shape), of_x)
        large_w = within(w, self.layer.weight_shape, of_w)
        if dy is None:
            assert mine.forward is not None
            y = mine.forward(large_x, large_w, within(b, self.layer.bias_shape, np.array(outs)))
            return _part(y, (n, *self.layer.out_shape), of_y), None, None, None
        if mine.backward is None:
            return None, None, None, None
        dx, dw, db = mine.backward(large_x, large_w, within(dy, (n, *self.layer.out_shape), of_y))
        return (
            None,
            _part(dx, large_x.shape, of_x),
            _part(dw, large_w.shape, of_w),
            _part(db, self.layer.bias_shape, np.array(outs)),
        )

    def _channels(self, name: str) -> list[int]:
        groups = self.small.groups
        many, few = (getattr(one, name) // one.groups for one in (self.layer, self.small))
        return [group * many + channel for group in range(groups) for channel in range(few)]

    def _places(self) -> tuple[list[range], list[range]]:
        """Return the cells and the outputs of the smaller layer, axis by axis."""
        cells, positions = [], []
        for n, m, s, out in zip(
            self.layer.in_spatial,
            self.small.in_spatial,
            self.layer.stride,
            self.small.out_spatial,
            strict=True,
        ):
            transposed = isinstance(self.layer, ConvTranspose)
            steps = (n - m) // (1 if transposed else s) if self.at_end else 0
            cell, position = (steps, steps * s) if transposed else (steps * s, steps)
            cells.append(range(cell, cell + m))
            positions.append(range(position, position + out))
        return cells, positions


def _part(result: Any, shape: tuple[int, ...], at: Any) -> Any:
    """Return a part of a result of this shape; anything else as it came."""
    is_array = isinstance(result, np.ndarray) and result.shape == shape
    return result[at] if is_array else result


def takes_corners(layer: Any) -> bool:
    """Tell whether zeros beside a part of the operands are what padding would be there."""
    if not isinstance(layer, (Conv, ConvTranspose)):
        return False
    has_number = getattr(layer, "padding_value", 0) != 0
    return set(getattr(layer, "padding_modes", ("zeros",))) == {"zeros"} and not has_number


def corners(layer: Any, implementation: Implementation) -> Iterator[tuple[Any, Corner]]:
    """Yield smaller layers, and code of one fixed shape cut down to them."""
    if not takes_corners(layer):
        return
    for small in copies(layer):
        if small.kernel != layer.kernel or not isinstance(small, (Conv, ConvTranspose)):
            continue
        for at_end in (False, True):
            yield small, Corner(implementation, layer, small, at_end)
