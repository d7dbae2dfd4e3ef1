"""Normwise bounds: what fast transforms may lose, measured by the size of the whole.

A convolution through an FFT of length L errs in every entry by a multiple of u times the norms of
both operands (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 24): ``21 log2(L) u
sum_c ||x_c|| ||w_oc||`` for y, and the same with the operands of dx and dw. A large Winograd
transform keeps it as well.
"""

from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense._util.float_formats import magnitude, unit_roundoff
from convdense.geometry import Conv, ConvTranspose, HasShapes
from convdense.implementations.evaluators import Operands

FACTOR = 21


def normwise_bound(
    layer: HasShapes, operands: Operands, name: str, dtype: npt.DTypeLike
) -> Array | None:
    """Return the bound on the entries of y, dx or dw, to be broadcast; None without a transform.

    Examples
    --------
    >>> conv, x, w = Conv((1, 4, 4), 1, kernel=3), np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    >>> bound = normwise_bound(conv, (x, w, None, np.ones((1, 1, 2, 2))), "y", "float64")
    >>> bound.shape, float(bound.item() * 2**53) == 21 * 6 * 4 * 3
    ((1, 1, 1, 1), True)
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or name == "db":
        return None
    x, w, b, dy = operands
    scale = FACTOR * log_length(layer) * unit_roundoff(dtype)

    # Norms of the kernels, (groups, out, in), and of the channels of both sides, (batch, groups,
    # channels); out and in are those of a convolution.
    small, large = (x, dy) if isinstance(layer, ConvTranspose) else (dy, x)
    kernels = _norms(w, 2).reshape(layer.groups, -1, w.shape[1])
    outs = _norms(small, 2).reshape(len(small), layer.groups, -1)
    ins = _norms(large * _copies(layer), 2).reshape(len(large), layer.groups, -1)
    if layer.padding_value and name in ("y", "dw"):
        sizes = zip(layer.in_spatial, layer.padding, strict=True)
        most = prod(n + sum(map(abs, pair)) for n, pair in sizes)  # padded cells, at most
        ins = np.hypot(ins, abs(layer.padding_value) * sqrt(most))
    if name == "dw":
        total = np.einsum("ngo,ngi->goi", outs, ins).reshape(w.shape[:2])
        return np.expand_dims(scale * total, tuple(range(2, w.ndim)))

    correlates = (name == "y") == isinstance(layer, Conv)
    if correlates:
        total = np.einsum("goi,ngi->ngo", kernels, ins)
    else:  # padded cells that copy one cell are added up, as many as they are
        total = np.einsum("goi,ngo->ngi", kernels, outs) * _copies(layer) ** 2
    size = np.expand_dims(total.reshape(len(x), -1), tuple(range(2, x.ndim)))  # of y or dx, at most
    if name != "y" or b is None:
        return np.asarray(scale * size)
    bias = np.abs(b).reshape(1, -1, *[1] * (x.ndim - 2))
    one_more_addition = unit_roundoff(dtype) * (size + bias)
    return np.asarray(scale * size + one_more_addition)


def mean_square_unit(layer: Conv | ConvTranspose, dtype: npt.DTypeLike) -> float:
    """Return the size of errors in the mean square, as a share of the root of the summed squares.

    Independent roundings add up as their squares do, so here the stages count by their root
    (Higham, section 24.1).
    """
    return FACTOR * sqrt(log_length(layer)) * unit_roundoff(dtype)


def log_length(layer: Conv | ConvTranspose) -> int:
    """Return log2 of a transform's length.

    Every axis is padded, has room for the kernel, and is rounded up to a power of two.
    """
    large = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    sizes = zip(
        large, layer.input_dilation, layer.padding, layer.kernel, layer.dilation, strict=True
    )
    lengths = [n * step + sum(map(abs, pair)) + (k - 1) * d for n, step, pair, k, d in sizes]
    return max(1, sum((length - 1).bit_length() for length in lengths))


def _copies(layer: Conv | ConvTranspose) -> float:
    """Return what padding adds to a norm, at most.

    That is the square root of how many cells of the padded input copy one cell.
    """
    # no cell is copied more often
    axes = zip(layer.padding, layer.padding_modes, strict=True)
    return sqrt(prod(1 + sum(map(abs, pair)) for pair, mode in axes if mode != "zeros"))


def _norms(array: Array, first: int) -> Array:
    """Return the 2-norms over all axes from `first` on."""
    flat = magnitude(array).reshape(*array.shape[:first], -1)
    return np.asarray(np.sqrt((flat * flat).sum(axis=-1)))
