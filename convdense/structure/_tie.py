"""tie: the tie map of every kind of layer; the one place where geometry becomes structure."""

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain_of
from convdense.geometry import (
    AvgPool,
    ChannelScale,
    Conv,
    ConvTranspose,
    Geometry,
    Linear,
    LocallyConnected,
    Pool,
    SumPool,
    Windowed,
)
from convdense.structure.axis import (
    all_tied,
    channels,
    diagonal,
    every_tap,
    one_input,
    outside,
    parts,
    untied,
    window,
)
from convdense.structure.kronecker import outer
from convdense.structure.progressions import ROW, Axis
from convdense.structure.tie_map import TieMap


@singledispatch
def tie(layer: object) -> TieMap:
    """Return the tie map of a layer: which weight sits where in the dense layer that it is.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, Linear, ChannelScale, SumPool, TieMap, TiedDense
        A layer of your own joins with ``@tie.register``.

    Raises
    ------
    TypeError
        For a kind of layer that is not registered.

    Examples
    --------
    >>> from convdense import Conv
    >>> tie(Conv((64, 56, 56), out_channels=64, kernel=3, padding=1))
    TieMap(in=(64, 56, 56), out=(64, 56, 56), weights=(64, 64, 3, 3), entries=112,869,376)
    """
    needs = "a Conv, ConvTranspose, LocallyConnected, SumPool or TieMap"
    if isinstance(layer, Pool):
        do = "look at cd.dense_pool(layer), which lists its layers"
        needs += ": this one is several layers, not one"
    else:
        do = "register your own kind with @convdense.tie.register"
    raise TypeError(complain_of("layer", layer, needs, do))


tie.register(TieMap, lambda layer: layer)


@tie.register
def _(layer: Conv | ConvTranspose) -> TieMap:
    return tie_map(layer, windows(window_parameters(layer)))


@tie.register
def _(layer: LocallyConnected) -> TieMap:
    return _untied(tie_map(layer, windows(window_parameters(layer))), n=len(layer.kernel))


def _untied(ties: TieMap, n: int) -> TieMap:
    """Return a tie map of n windows with a weight of its own for each position.

    And a bias of its own for each output.
    """
    channel_axis, *windows = ties.axes
    # Taps come as (out, in, o1, k1, o2, k2, ...), weights as (out, in, o1, o2, ..., k1, k2, ...).
    positions = range(2, 2 + 2 * n, 2)
    kernel = range(3, 3 + 2 * n, 2)
    return replace(
        ties,
        axes=(channel_axis, *map(untied, windows)),
        weight_order=(0, 1, *positions, *kernel),
        bias_axes=1 + n,
        padding=tuple(_untied(part, n) for part in ties.padding),
    )


class WindowParameters(NamedTuple):
    """The hyper-parameters of a convolution, axis by axis.

    A transposed convolution's window slides over its outputs, which here are `ins`.
    """

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    modes: tuple[str, ...]
    flip: tuple[bool, ...]
    input_dilation: tuple[int, ...]

    @property
    def mode(self) -> str:
        """The padding mode of all axes, or the modes of all where they differ, in words."""
        return " and ".join(dict.fromkeys(self.modes))

    @property
    def crops(self) -> bool:
        """Whether padding below 0 takes cells away."""
        return min(*self.begin, *self.end) < 0

    @property
    def padded(self) -> tuple[int, ...]:
        """How many cells each axis has with its padding."""
        sizes = zip(self.ins, self.begin, self.end, strict=True)
        return tuple(n + begin + end for n, begin, end in sizes)

    @property
    def left_over(self) -> tuple[int, ...]:
        """How many cells at the end no window reaches; where transposed, the output padding."""
        sizes = zip(self.padded, self.outs, self.stride, self.kernel, self.dilation, strict=True)
        # the last window starts at (outs - 1) stride and is (kernel - 1) dilation + 1 cells long
        return tuple(n - (o - 1) * s - (k - 1) * d - 1 for n, o, s, k, d in sizes)


def window_parameters(layer: Windowed | ConvTranspose) -> WindowParameters:
    """Return the hyper-parameters of a layer."""
    ins, outs = layer.in_spatial, layer.out_spatial
    if isinstance(layer, ConvTranspose):
        ins, outs = outs, ins  # the window slides over the outputs
    begin, end = zip(*layer.padding, strict=True)
    return WindowParameters(
        ins,
        outs,
        layer.kernel,
        layer.stride,
        layer.dilation,
        begin,
        end,
        modes=layer.padding_modes,
        flip=(layer.flip,) * len(ins),
        input_dilation=layer.input_dilation,
    )


def windows(n: WindowParameters) -> list[Axis]:
    """Return the axes that these numbers give."""
    options = ("stride", "dilation", "begin", "end", "mode", "flip", "input_dilation")
    numbers = list(zip(*n, strict=True))
    axes = {  # axes with the same numbers, as of a square image, are one
        each: window(*each[:3], **dict(zip(options, each[3:], strict=True)))
        for each in dict.fromkeys(numbers)
    }
    return [axes[each] for each in numbers]


def window_channels(layer: Geometry) -> tuple[int, int]:
    """Return the output and input channels of the window; where transposed, exchanged."""
    if isinstance(layer, ConvTranspose):
        return layer.in_channels, layer.out_channels
    return layer.out_channels, layer.in_channels


def tie_map(
    layer: Windowed | ConvTranspose, axes: Sequence[Axis], channel_axis: Axis | None = None
) -> TieMap:
    """Return the tie map of these windows; without a channel axis, with the right one."""
    channel_axis = channel_axis or channels(*window_channels(layer), layer.groups)
    # where a mistake has joined the axes into one, no padding is left
    number = layer.padding_value if len(axes) == len(layer.kernel) else 0
    whole = with_padding((channel_axis, *axes), layer.padding_modes, number)
    return whole.T if isinstance(layer, ConvTranspose) else whole


def with_padding(axes: Sequence[Axis], modes: Sequence[str], number: float) -> TieMap:
    """Return the tie map of channels and windows, whose cells of padding of zeros hold a number.

    What the number adds are layers of one input. A padded cell lies outside along some axis: by the
    first that it does so along, they fall into products, inside before that axis, outside along it,
    anywhere after it.
    """
    if not number:
        return TieMap(tuple(axes))
    parts = []
    for i, (axis, mode) in enumerate(zip(axes[1:], modes, strict=True), start=1):
        if mode == "zeros":
            before = map(one_input, axes[:i])
            after = map(every_tap, axes[i + 1 :])
            parts.append(TieMap((*before, outside(axis), *after)))
    return TieMap(tuple(axes), padding=tuple(parts), padding_value=number)


@tie.register
def _(layer: Linear) -> TieMap:
    return TieMap((channels(layer.out_features, layer.in_features, groups=1),))


@tie.register
def _(layer: ChannelScale) -> TieMap:
    n_channels, *spatial = layer.in_shape
    # One weight for each channel, the same at all positions.
    return TieMap((diagonal(n_channels, shared=False), *map(diagonal, spatial)))


def sums(pool: Pool) -> TieMap:
    """Return the tie map of the sums over a pool's windows: one weight, each channel by itself."""
    n_channels = pool.in_shape[0]
    # No axis has a weight of its own, so the product of all has one.
    return TieMap((diagonal(n_channels), *pool_axes(pool)))


tie.register(SumPool, sums)


def pool_axes(pool: Pool, *, padded: bool = False) -> list[Axis]:
    """Return the windows of a pool along each axis, one weight for all their cells.

    Their columns are cells of the input or, if `padded`, of the input with its padding. Cells
    beyond that are dropped.
    """
    if pool.kernel is None:  # adaptive: the sizes alone say which cells belong to an output
        return [parts(*sizes) for sizes in zip(pool.in_spatial, pool.out_spatial, strict=True)]
    axes = []
    for n_out, (n, (begin, end), k, s, d) in zip(pool.out_spatial, pool.numbers(), strict=True):
        # the first window starts `begin` cells outside, or at the first cell of the padding
        n_in, first = (begin + n + end, 0) if padded else (n, begin)
        sliding = window(n_in, n_out, k, stride=s, dilation=d, begin=first, flip=False)
        axes.append(all_tied(sliding))
    return axes


def pool_matrix(
    pool: Pool, dtype: npt.DTypeLike = "float64", max_bytes: int | None = None
) -> sp.csr_array:
    """Return the matrix of a pool that sums or averages, with its 1/k, rounded to the dtype."""
    matrix = sums(pool).matrix(np.ones((), dtype), max_bytes=max_bytes)
    if isinstance(pool, AvgPool):
        matrix.data /= np.repeat(divisors(pool), np.diff(matrix.indptr)).astype(dtype)
    return matrix


def divisors(pool: AvgPool) -> Array:
    """Return what each flattened output is divided by: a product of the axes' own counts."""
    if pool.divisor_override is not None:
        return np.full(prod(pool.out_shape), pool.divisor_override)
    # How many cells each window has along each axis, (outputs of the axis,): at least one.
    axes = pool_axes(pool, padded=pool.count_include_pad)
    counts = [axis.tally(ROW) for axis in axes]
    channels = np.ones(pool.in_shape[0], np.intp)
    return outer([channels, *counts])
