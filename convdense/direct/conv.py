"""Direct convolution fast enough for real layers: one matrix product per tap.

Each tap is multiplied with a shifted view of the padded input. It is proven equal to `conv_loops`,
with which it shares nothing but the geometry. A convolution correlates the padded input with the
kernel; a transposed one stamps the kernel, that is adds multiples of it into a larger array, and
crops; each is the other's backward.

In the names below, `padded` is the side that the window slides over, with its padding, and `small`
the side that has one number for each place of the window: input and output of a convolution, output
and input of a transposed one.
"""

from collections.abc import Callable
from functools import lru_cache, reduce
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.foreign_names import explained
from convdense._util.threads import ALONE_FROM, spread
from convdense.geometry import (
    ConvTranspose,
    LocallyConnected,
    Windowed,
    backward_operands,
    forward_operands,
    known,
)
from convdense.geometry.padding import NUMPY_MODES, crops, dilated, padded_dtype

Array = npt.NDArray[Any]
Layer = Windowed | ConvTranspose
Index = tuple[Any, ...]  # of the last axes: what stands before them is an ellipsis
Taps = tuple[tuple[Index, Index], ...]  # index in the weights, and of the cells that it meets
PARTS = 8  # of a batch that is cut, at most


class ConvolutionGradients(NamedTuple):
    """Gradients with respect to input, weights and bias; the last two summed over the batch."""

    dx: Array
    dw: Array
    db: Array


@explained
def convolve(
    layer: Layer, x: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None = None
) -> Array:
    """Return the layer's output by direct convolution: the second, independent way, no matrix.

    Parameters
    ----------
    layer : Conv, ConvTranspose or LocallyConnected
    x : (batch, *in_shape) array, or one sample
    w : array of ``layer.weight_shape``
    b : array of ``layer.bias_shape``, or None

    Returns
    -------
    (batch, *out_shape) array, or one sample

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> from convdense import Conv
    >>> x, w = np.arange(9).reshape(1, 3, 3), np.array([[[[1, 2], [3, 4]]]])
    >>> convolve(Conv((1, 3, 3), out_channels=1, kernel=2), x, w)
    array([[[27, 37],
            [57, 67]]])
    """
    known(layer)
    x, w, b, had_batch = forward_operands(layer, x, w, b)
    if isinstance(layer, ConvTranspose):
        y = _unpad(layer, _apply(layer, _stamp, x, w), layer.out_spatial)
    else:
        y = _apply(layer, _correlate, _pad(layer, x), w)
    if b is not None:
        shared = tuple(range(b.ndim, len(layer.out_shape)))  # the axes along which b is the same
        y = y + np.expand_dims(b, shared)
    return y if had_batch else y[0]


@explained
def convolve_backward(
    layer: Layer, x: npt.ArrayLike, w: npt.ArrayLike, dy: npt.ArrayLike
) -> ConvolutionGradients:
    """Return dx, dw, db by direct convolution, for the upstream gradient dy.

    Parameters
    ----------
    layer : Conv, ConvTranspose or LocallyConnected
    x : (batch, *in_shape) array, or one sample
    w : array of ``layer.weight_shape``
    dy : (batch, *out_shape) array, or one sample

    Returns
    -------
    dx, dw, db
        dw and db summed over the batch; for complex numbers x and w enter conjugated.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> from convdense import Conv
    >>> x, w = np.arange(9).reshape(1, 3, 3), np.array([[[[1, 2], [3, 4]]]])
    >>> dy = np.ones((1, 2, 2), int)
    >>> convolve_backward(Conv((1, 3, 3), out_channels=1, kernel=2), x, w, dy).dw
    array([[[[ 8, 12],
             [20, 24]]]])
    """
    known(layer)
    x, w, dy, had_batch = backward_operands(layer, x, w, dy)
    if isinstance(layer, ConvTranspose):
        padded = _pad(layer, dy)
        dx = _apply(layer, _correlate, padded, w.conj())
        dw = _kernel_gradient(layer, padded, x.conj())
    else:
        dx = _unpad(layer, _apply(layer, _stamp, dy, w.conj()), layer.in_spatial)
        dw = _kernel_gradient(layer, _pad(layer, x.conj()), dy)
    shared = range(len(layer.bias_shape) + 1, dy.ndim)  # the axes of dy that share a bias
    db = dy.sum(axis=(0, *shared), dtype=dy.dtype)
    return ConvolutionGradients(dx if had_batch else dx[0], dw, db)


def weight_gradient(layer: Layer, x: Array, dy: Array) -> Array:
    """Return the dw of `convolve_backward` alone.

    x and dy are arrays with a batch axis, and not checked again.

    Examples
    --------
    >>> from convdense import Conv
    >>> x, dy = np.arange(3).reshape(1, 1, 3), np.array([[[10, 1]]])
    >>> weight_gradient(Conv((1, 3), out_channels=1, kernel=2), x, dy)
    array([[[ 1, 12]]])
    """
    if isinstance(layer, ConvTranspose):
        return _kernel_gradient(layer, _pad(layer, dy), x.conj())
    return _kernel_gradient(layer, _pad(layer, x.conj()), dy)


def _small(layer: Layer) -> tuple[int, ...]:
    """Return the window's positions: outputs of a convolution, inputs of a transposed one."""
    return layer.in_spatial if isinstance(layer, ConvTranspose) else layer.out_spatial


def _parts(layer: Layer, batch: int) -> tuple[list[tuple[slice, Taps]], int]:
    """Return (samples, taps) of each part that is done by itself, and how many products there are.

    A large batch is cut into samples, one sample into halves of its taps. How many parts there are
    depends on the layer alone, so that no sum depends on the machine.
    """
    taps = _taps(layer)
    places = prod(_small(layer)) if not isinstance(layer, LocallyConnected) else 1
    operations = batch * places * prod(layer.weight_shape)
    if operations < ALONE_FROM:
        return [(slice(None), taps)], operations
    if batch == 1:
        half = (len(taps) + 1) // 2
        return [(slice(None), some) for some in (taps[:half], taps[half:]) if some], operations
    step = -(-batch // PARTS)
    cuts = [slice(first, first + step) for first in range(0, batch, step)]
    return [(cut, taps) for cut in cuts], operations


def _apply(
    layer: Layer, function: Callable[[Layer, Taps, Array, Array], Array], cells: Array, w: Array
) -> Array:
    """Return `_correlate` or `_stamp` of all samples, some at once."""
    parts, operations = _parts(layer, len(cells))
    if len(parts) == 1:
        return function(layer, parts[0][1], cells, w)

    def of_part(part: tuple[slice, Taps]) -> Array:
        return function(layer, part[1], cells[part[0]], w)

    found = list(spread(of_part, parts, operations))
    return np.concatenate(found) if len(cells) > 1 else np.add(*found)


@lru_cache(maxsize=4)
def _taps(layer: Layer) -> Taps:
    """Return each tap's index in the weights, and that of the padded cells it meets, *small."""
    taps = []
    axes = list(zip(_small(layer), layer.stride, layer.dilation, strict=True))
    for tap in product(*map(range, layer.kernel)):
        view = []
        for t, (n, s, d) in zip(tap, axes, strict=True):
            # at the window's n positions tap t meets the cells t d, t d + s, ..., t d + (n - 1) s
            view.append(slice(t * d, t * d + (n - 1) * s + 1 if n else t * d, s))
        stored = tap
        if layer.flip:  # the weights are stored in reverse order
            stored = tuple(k - 1 - t for t, k in zip(tap, layer.kernel, strict=True))

        index_in_weights: Index = (..., *stored)
        index_in_padded: Index = (..., *view)
        taps.append((index_in_weights, index_in_padded))
    return tuple(taps)


def _kernels(layer: Layer, w: Array) -> Array:
    """Return the weights as (groups, out, in, *kernel); before the kernel positions, if not shared.

    Weights have shape (out, in, *kernel), those of a locally connected layer, shared by no two
    positions, (out, in, *positions, *kernel). For a transposed layer `out` means its input channels
    here and below, `in` its outputs: so they stand in its weights.
    """
    positions = (prod(layer.out_spatial),) if isinstance(layer, LocallyConnected) else ()
    outs = w.shape[0] // layer.groups
    return w.reshape(layer.groups, outs, w.shape[1], *positions, *layer.kernel)


def _grouped(layer: Layer, cells: Array) -> Array:
    """Return (batch, groups, channels per group, positions) of (batch, channels, *axes)."""
    batch, channels, *axes = cells.shape
    return cells.reshape(batch, layer.groups, channels // layer.groups, prod(axes))


def _correlate(layer: Layer, taps: Taps, padded: Array, w: Array) -> Array:
    """Return (batch, out, *small): every tap multiplies its view of the padded cells."""
    y: Array | None = None  # the first tap's product, to which the others are added
    kernels, is_local = _kernels(layer, w), isinstance(layer, LocallyConnected)
    for tap, view in taps:
        cells = _grouped(layer, padded[view])  # (batch, groups, in, positions)
        kernel = kernels[tap].copy()  # (groups, out, in), and positions; in one piece for BLAS
        # (batch, groups, out, positions)
        part = np.einsum("goip,ngip->ngop", kernel, cells) if is_local else kernel @ cells
        y = part if y is None else np.add(y, part, out=y)
    assert y is not None  # a kernel has a tap
    return np.reshape(y, (len(padded), w.shape[0], *_small(layer)))


def _stamp(layer: Layer, taps: Taps, small: Array, w: Array) -> Array:
    """Return (batch, in, *padded): every tap adds its products to its view.

    This is the adjoint of `_correlate`, but for the conjugation of w.
    """
    # of the side that is padded
    cells = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    numbers = zip(layer.padding, cells, layer.input_dilation, strict=True)
    sizes = [max(0, sum(pair) + dilated(n, step)) for pair, n, step in numbers]
    full = np.zeros((len(small), w.shape[1] * layer.groups, *sizes), np.result_type(small, w))
    grouped = _grouped(layer, small)  # (batch, groups, out, positions)
    kernels, is_local = _kernels(layer, w), isinstance(layer, LocallyConnected)
    for tap, view in taps:
        kernel = kernels[tap].copy()  # (groups, out, in), and positions; in one piece for BLAS
        if is_local:
            part = np.einsum("goip,ngop->ngip", kernel, grouped)
        else:
            part = kernel.swapaxes(1, 2) @ grouped  # (batch, groups, in, positions)
        target = full[view]  # a view: what is added to it is added to full
        target += part.reshape(target.shape)
    return full


def _kernel_gradient(layer: Layer, padded: Array, small: Array) -> Array:
    """Return dw: for each tap, the products of both sides, summed over batch and positions.

    Each position of a locally connected layer has a weight, and so a sum, of its own.
    """
    parts, operations = _parts(layer, len(small))
    if len(parts) == 1:
        return _taps_gradient(layer, parts[0][1], padded, small)

    def of_part(part: tuple[slice, Taps]) -> Array:
        samples, taps = part
        return _taps_gradient(layer, taps, padded[samples], small[samples])

    return reduce(np.add, spread(of_part, parts, operations))


def _taps_gradient(layer: Layer, taps: Taps, padded: Array, small: Array) -> Array:
    """Return the dw of some taps and samples, zero for other taps."""
    dw = np.zeros(layer.weight_shape, np.result_type(padded, small))
    small_cells = _grouped(layer, small)  # (batch, groups, out, positions)
    is_local = isinstance(layer, LocallyConnected)
    for tap, view in taps:
        cells = _grouped(layer, padded[view])  # (batch, groups, in, positions)
        if is_local:
            total = np.einsum("ngop,ngip->goip", small_cells, cells)
        else:
            products = small_cells @ cells.swapaxes(2, 3)  # (batch, groups, out, in)
            # with a dtype, since NumPy would widen sums of small integers
            total = products.sum(axis=0, dtype=dw.dtype)
        target = dw[tap]  # a view
        target[...] = total.reshape(target.shape)
    return dw


def _pad(layer: Layer, cells: Array) -> Array:
    """Return (batch, channels, *padded) of (batch, channels, *axes): dilated, cropped, padded."""
    for axis, step in enumerate(layer.input_dilation, start=2):
        if step > 1 and cells.shape[axis]:
            shape = list(cells.shape)
            shape[axis] = dilated(shape[axis], step)
            spread = np.zeros(shape, cells.dtype)
            spread[_along(axis, slice(None, None, step))] = cells
            cells = spread
    for axis, (begin, end) in enumerate(layer.padding, start=2):
        cropped = crops((begin, end))
        if any(cropped):
            stop = cells.shape[axis] - cropped[1]
            cells = cells[_along(axis, slice(cropped[0], stop))]

    added = [(max(0, begin), max(0, end)) for begin, end in layer.padding]
    value = layer.padding_value
    cells = cells.astype(padded_dtype(cells.dtype, value), copy=False)
    for mode in sorted(set(layer.padding_modes)):  # axes of one mode are padded at once
        alike = [of_axis == mode for of_axis in layer.padding_modes]
        pairs = [pair if same else (0, 0) for pair, same in zip(added, alike, strict=True)]
        if not any(map(any, pairs)):
            continue
        if mode == "zeros":  # np.pad takes several times as long for a small layer
            axes = cells.shape[2:]
            sizes = [n + sum(pair) for n, pair in zip(axes, pairs, strict=True)]
            full = np.full((*cells.shape[:2], *sizes), value, cells.dtype)
            inner = [slice(begin, begin + n) for n, (begin, _) in zip(axes, pairs, strict=True)]
            index: Index = (..., *inner)
            full[index] = cells
            cells = full
        else:
            cells = np.pad(cells, [(0, 0), (0, 0), *pairs], mode=NUMPY_MODES[mode])
    return cells


def _along(axis: int, part: slice) -> Index:
    """Return the index of a part of one axis."""
    return (*[slice(None)] * axis, part)


def _unpad(layer: Layer, padded: Array, sizes: tuple[int, ...]) -> Array:
    """Return the adjoint of `_pad`: the rim is dropped where it held numbers, else added back.

    What a padded cell receives belongs to the cell that it copies. Where the input was cropped or
    dilated, its other cells get zeros or every so many cells are taken.
    """
    numbers = zip(sizes, layer.padding, layer.input_dilation, layer.padding_modes, strict=True)
    for axis, (n, pair, step, mode) in enumerate(numbers, start=2):
        if step == 1 and not any(pair):
            continue
        cells = np.moveaxis(padded, axis, 0)  # the axis in front
        cropped = crops(pair)
        begin, end = max(0, pair[0]), max(0, pair[1])
        left = max(0, dilated(n, step) - sum(cropped))
        core = cells[begin : begin + left]
        if mode != "zeros" and begin + end:
            # the cell that each padded cell copies
            source = np.pad(np.arange(left), (begin, end), mode=NUMPY_MODES[mode])
            core = core.copy()
            rim = (*range(begin), *range(begin + left, begin + left + end))
            for i in rim:
                core[source[i]] += cells[i]
        if any(cropped):
            core = np.pad(core, [cropped, *[(0, 0)] * (core.ndim - 1)])
        padded = np.moveaxis(core[::step][:n], 0, axis)  # restored along this axis and those before
    return padded
