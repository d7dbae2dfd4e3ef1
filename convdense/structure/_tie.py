"""tie: the tie map of every kind of layer; the one place where geometry becomes structure."""

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from math import prod

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain_of
from convdense.geometry import (
    AvgPool,
    ChannelScale,
    Conv,
    ConvTranspose,
    Linear,
    LocallyConnected,
    Pool,
    SumPool,
    Windowed,
)
from convdense.structure.axis import (
    Axis,
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


@tie.register
def _(layer: TieMap) -> TieMap:
    return layer


@tie.register
def _(layer: Conv) -> TieMap:
    axes = (channels(layer.out_channels, layer.in_channels, layer.groups), *_windows(layer))
    return with_padding(axes, layer.padding_modes, layer.padding_value)


@tie.register
def _(layer: LocallyConnected) -> TieMap:
    axes = (channels(layer.out_channels, layer.in_channels, layer.groups), *_windows(layer))
    tied = with_padding(axes, layer.padding_modes, layer.padding_value)
    return _untied(tied, n=len(layer.kernel))


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
def _(layer: ConvTranspose) -> TieMap:
    # The transposed map of the convolution with these parameters, whose inputs are the layer's
    # outputs: its channels and sizes stand the other way round.
    channel_axis = channels(layer.in_channels, layer.out_channels, layer.groups)
    return TieMap((channel_axis, *_windows(layer))).T


@tie.register
def _(layer: Linear) -> TieMap:
    return TieMap((channels(layer.out_features, layer.in_features, groups=1),))


@tie.register
def _(layer: ChannelScale) -> TieMap:
    n_channels, *spatial = layer.in_shape
    # One weight for each channel, the same at all positions.
    return TieMap((diagonal(n_channels, shared=False), *map(diagonal, spatial)))


@tie.register
def _(layer: SumPool) -> TieMap:
    return sums(layer)


def sums(pool: Pool) -> TieMap:
    """Return the tie map of the sums over a pool's windows: one weight, each channel by itself."""
    n_channels = pool.in_shape[0]
    # No axis has a weight of its own, so the product of all has one.
    return TieMap((diagonal(n_channels), *pool_axes(pool)))


def pool_axes(pool: Pool, *, padded: bool = False) -> list[Axis]:
    """Return the windows of a pool along each axis, one weight for all their cells.

    Their columns are cells of the input or, if `padded`, of the input with its padding. Cells
    beyond that are dropped.
    """
    if pool.kernel is None:  # adaptive: the sizes alone say which cells belong to an output
        return [parts(*sizes) for sizes in zip(pool.in_spatial, pool.out_spatial, strict=True)]
    options = zip(
        pool.in_spatial,
        pool.out_spatial,
        pool.kernel,
        pool.stride,
        pool.dilation,
        pool.padding,
        strict=True,
    )
    axes = []
    for n, n_out, k, s, d, (before, after) in options:
        if padded:  # the first window starts at cell 0
            n_in, begin = before + n + after, 0
        else:  # the first window starts `before` cells outside
            n_in, begin = n, before
        sliding = window(n_in, n_out, k, stride=s, dilation=d, begin=begin, flip=False)
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
    if pool.count_include_pad:
        counts = padded_counts(pool)
    else:
        counts = [np.bincount(axis.rows) for axis in pool_axes(pool)]
    channels = np.ones(pool.in_shape[0], np.intp)
    return outer([channels, *counts])


def padded_counts(pool: Pool) -> list[Array]:
    """Return how many cells each window has along each axis, (outputs of the axis,).

    Those of the padding count, those beyond it do not. Every window has at least one.
    """
    return [np.bincount(axis.rows) for axis in pool_axes(pool, padded=True)]


def _windows(layer: Windowed | ConvTranspose) -> list[Axis]:
    """Return the windows along each axis; those of a transposed layer slide over its outputs."""
    ins, outs = layer.in_spatial, layer.out_spatial
    if isinstance(layer, ConvTranspose):
        ins, outs = outs, ins
    sizes = zip(
        ins,
        outs,
        layer.kernel,
        layer.stride,
        layer.dilation,
        layer.padding,
        layer.input_dilation,
        layer.padding_modes,
        strict=True,
    )
    return [
        window(
            n_in,
            n_out,
            k,
            stride=s,
            dilation=d,
            begin=begin,
            end=end,
            input_dilation=input_dilation,
            mode=mode,
            flip=layer.flip,
        )
        for n_in, n_out, k, s, d, (begin, end), input_dilation, mode in sizes
    ]
