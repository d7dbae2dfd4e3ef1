"""Direct convolution fast enough for real layers: one matrix product per tap on a shifted view of
the padded input.

Proven equal to the loops of `direct`, with which it shares nothing but the geometry. A convolution
correlates the padded input with the kernel; a transposed one stamps the kernel and crops; each is
the other's backward.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense.geometry import (
    ConvTranspose,
    LocallyConnected,
    Windowed,
    backward_operands,
    forward_operands,
    known,
)

Array = npt.NDArray[Any]
Layer = Windowed | ConvTranspose
Index = tuple[Any, ...]  # an index with an ellipsis in front: the batch and channel axes
_NUMPY_MODE: dict[str, Any] = {
    "zeros": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "symmetric": "symmetric",
}


class ConvolutionGradients(NamedTuple):
    """Gradients with respect to input, weights and bias, weights and bias summed over the batch."""

    dx: Array
    dw: Array
    db: Array


def convolve(layer: Layer, x: Any, w: Any, b: Any = None) -> Array:
    """Return the layer's output by direct convolution: the second, independent way, no matrix
    anywhere.

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
        y = _unpad(layer, _stamp(layer, x, w), layer.out_spatial)
    else:
        y = _correlate(layer, _pad(layer, x), w)
    if b is not None:
        y = y + np.expand_dims(b, tuple(range(b.ndim, len(layer.out_shape))))
    return y if had_batch else y[0]


def convolve_backward(layer: Layer, x: Any, w: Any, dy: Any) -> ConvolutionGradients:
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
    >>> convolve_backward(Conv((1, 3, 3), out_channels=1, kernel=2), x, w, np.ones((1, 2, 2), int)).dw
    array([[[[ 8, 12],
             [20, 24]]]])
    """
    known(layer)
    x, w, dy, had_batch = backward_operands(layer, x, w, dy)
    if isinstance(layer, ConvTranspose):
        padded, small = _pad(layer, dy), x.conj()
        dx = _correlate(layer, padded, w.conj())
    else:
        padded, small = _pad(layer, x.conj()), dy
        dx = _unpad(layer, _stamp(layer, dy, w.conj()), layer.in_spatial)
    dw, shared = _pair(layer, padded, small), tuple(range(len(layer.bias_shape) + 1, dy.ndim))
    return ConvolutionGradients(
        dx if had_batch else dx[0], dw, dy.sum(axis=(0, *shared), dtype=dy.dtype)
    )


def weight_gradient(layer: Layer, x: Array, dy: Array) -> Array:
    """Return the dw of `convolve_backward` alone; x and dy are arrays with a batch axis, and not
    checked again.

    Examples
    --------
    >>> from convdense import Conv
    >>> x, dy = np.arange(3).reshape(1, 1, 3), np.array([[[10, 1]]])
    >>> weight_gradient(Conv((1, 3), out_channels=1, kernel=2), x, dy)
    array([[[ 1, 12]]])
    """
    padded, small = (dy, x.conj()) if isinstance(layer, ConvTranspose) else (x.conj(), dy)
    return _pair(layer, _pad(layer, padded), small)


def _small(layer: Layer) -> tuple[int, ...]:
    """Return the window's positions: outputs of a convolution, inputs of a transposed one."""
    return layer.in_spatial if isinstance(layer, ConvTranspose) else layer.out_spatial


def _taps(layer: Layer) -> Iterator[tuple[Index, Index]]:
    """Yield each tap's index in the weight array and the index of its view of the padded cells, shape `_small`."""
    numbers = list(zip(_small(layer), layer.stride, layer.dilation, strict=True))
    for tap in product(*map(range, layer.kernel)):
        view = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, (n, s, d) in zip(tap, numbers, strict=True)
        )
        stored = (
            tuple(k - 1 - t for t, k in zip(tap, layer.kernel, strict=True)) if layer.flip else tap
        )
        yield (..., *stored), (..., *view)


def _kernel(layer: Layer, w: Array, tap: Index) -> Array:
    """Return one tap's channel matrix, (groups, out, in), for a locally connected layer (groups,
    out, in, positions).

    Out and in are those of a convolution: a transposed layer's input channels stand first in its
    weights too.
    """
    part = w[tap]
    if isinstance(layer, LocallyConnected):
        return part.reshape(layer.groups, -1, w.shape[1], np.prod(layer.out_spatial))
    return part.reshape(layer.groups, -1, w.shape[1])


def _grouped(layer: Layer, cells: Array) -> Array:
    """Return (batch, groups, channels per group, positions) of (batch, channels, *axes)."""
    batch, channels, *axes = cells.shape
    return cells.reshape(batch, layer.groups, channels // layer.groups, int(np.prod(axes)))


def _correlate(layer: Layer, padded: Array, w: Array) -> Array:
    """Return (batch, out, *small): every tap multiplies its view of the padded cells."""
    y: Array | None = None  # the first tap's product, to which the others are added
    for tap, view in _taps(layer):
        cells, kernel = _grouped(layer, padded[view]), _kernel(layer, w, tap)
        # (groups, out, in) @ (batch, groups, in, positions)
        part = kernel @ cells if kernel.ndim == 3 else np.einsum("goip,ngip->ngop", kernel, cells)
        y = part if y is None else np.add(y, part, out=y)
    return np.reshape(y, (len(padded), w.shape[0], *_small(layer)))  # type: ignore[arg-type]  # a kernel has a tap


def _stamp(layer: Layer, small: Array, w: Array) -> Array:
    """Return (batch, in, *padded), the adjoint of `_correlate` without conjugation: every tap adds to its view."""
    sizes = [sum(pair) + n for pair, n in zip(layer.padding, _large(layer), strict=True)]
    full = np.zeros((len(small), w.shape[1] * layer.groups, *sizes), np.result_type(small, w))
    cells = _grouped(layer, small)
    for tap, view in _taps(layer):
        kernel, target = _kernel(layer, w, tap), full[view]
        if kernel.ndim == 3:
            target += (kernel.swapaxes(1, 2) @ cells).reshape(target.shape)
        else:
            target += np.einsum("goip,ngop->ngip", kernel, cells).reshape(target.shape)
    return full


def _pair(layer: Layer, padded: Array, small: Array) -> Array:
    """Return the weight gradient: per tap, products of padded cells and window positions summed over the batch."""
    dw = np.zeros(layer.weight_shape, np.result_type(padded, small))
    right = _grouped(layer, small)  # (batch, groups, out, positions)
    for tap, view in _taps(layer):
        cells = _grouped(layer, padded[view])  # (batch, groups, in, positions)
        if isinstance(layer, LocallyConnected):
            total = np.einsum("ngop,ngip->goip", right, cells)
        else:
            total = (right @ cells.swapaxes(2, 3)).sum(axis=0, dtype=dw.dtype)  # (groups, out, in)
        target = dw[tap]
        target[...] = total.reshape(target.shape)
    return dw


def _large(layer: Layer) -> tuple[int, ...]:
    """Return the side that is padded: inputs of a convolution, outputs of a transposed one."""
    return layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial


def _pad(layer: Layer, cells: Array) -> Array:
    if not any(map(any, layer.padding)):
        return cells
    return np.pad(cells, [(0, 0), (0, 0), *layer.padding], mode=_NUMPY_MODE[layer.padding_mode])


def _unpad(layer: Layer, padded: Array, sizes: tuple[int, ...]) -> Array:
    """Return the adjoint of `_pad`: the rim is added back to the cells it copies, or dropped where it was zero."""
    for axis, (n, (begin, end)) in enumerate(zip(sizes, layer.padding, strict=True), start=2):
        cells = np.moveaxis(padded, axis, 0)
        core = cells[begin : begin + n]
        if layer.padding_mode != "zeros" and begin + end:
            source = np.pad(np.arange(n), (begin, end), mode=_NUMPY_MODE[layer.padding_mode])
            core = core.copy()
            for i in (*range(begin), *range(begin + n, begin + n + end)):
                core[source[i]] += cells[i]
        padded = np.moveaxis(core, 0, axis)
    return padded
