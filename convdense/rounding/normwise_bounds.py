"""Normwise bounds: what fast transforms may lose, measured by the size of the whole and not of each
entry.

A convolution through an FFT of length L errs in every entry by a multiple of u times the norms of
both operands (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 24): ``21 log2(L) u
sum_c ||x_c|| ||w_oc||`` for y, and the same with the operands of dx and dw. A large Winograd
transform keeps it as well.
"""

from math import prod, sqrt
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.geometry import Conv, ConvTranspose
from convdense.implementations.evaluators import Operands
from convdense.rounding.sum_bounds import unit_roundoff

FACTOR = 21


def normwise_bound(layer: Any, operands: Operands, name: str, dtype: Any) -> Array | None:
    """Return the bound on the entries of y, dx or dw, to be broadcast; None for layers without a
    fast transform.

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
    small, large = (x, dy) if isinstance(layer, ConvTranspose) else (dy, x)
    # (groups, out, in) norms of the kernels, out and in those of a convolution; (batch, groups,
    # channels) of both sides
    kernels = _norms(w, 2).reshape(layer.groups, -1, w.shape[1])
    outs, ins = (
        _norms(a, 2).reshape(len(a), layer.groups, -1) for a in (small, large * _copies(layer))
    )
    if name == "dw":
        total = np.einsum("ngo,ngi->goi", outs, ins).reshape(w.shape[:2])
        return np.expand_dims(scale * total, tuple(range(2, w.ndim)))
    if (name == "y") == isinstance(layer, Conv):
        total = np.einsum("goi,ngi->ngo", kernels, ins)
    else:
        total = (
            np.einsum("goi,ngo->ngi", kernels, outs) * _copies(layer) ** 2
        )  # as many padded cells are added up
    size = np.expand_dims(total.reshape(len(x), -1), tuple(range(2, x.ndim)))  # of y or dx, at most
    if name != "y" or b is None:
        return np.asarray(scale * size)
    bias = np.abs(b).reshape(1, -1, *[1] * (x.ndim - 2))
    return np.asarray(scale * size + unit_roundoff(dtype) * (size + bias))  # one more addition


def mean_square_unit(layer: Conv | ConvTranspose, dtype: Any) -> float:
    """Return what errors may be in the mean square, beside the root of the sum of squares of the
    products.

    Independent roundings add up as their squares do, so here the stages count by their root
    (Higham, section 24.1).
    """
    return FACTOR * sqrt(log_length(layer)) * unit_roundoff(dtype)


def log_length(layer: Conv | ConvTranspose) -> int:
    """Return log2 of a transform's length: every axis padded, with room for the kernel, up to a power of two."""
    large = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    sizes = zip(large, layer.padding, layer.kernel, layer.dilation, strict=True)
    return max(1, sum((n + sum(pair) + (k - 1) * d - 1).bit_length() for n, pair, k, d in sizes))


def _copies(layer: Conv | ConvTranspose) -> float:
    """Return the square root of how many cells of the padded input copy one cell: what padding adds to a norm."""
    if isinstance(layer, ConvTranspose) or layer.padding_mode == "zeros":
        return 1.0
    most = [1 + sum(pair) for pair in layer.padding]  # no cell is copied more often
    return sqrt(prod(most))


def _norms(array: Array, first: int) -> Array:
    """Return the 2-norms over all axes from `first` on."""
    flat = array.reshape(*array.shape[:first], -1).astype(np.float64)
    return np.asarray(np.sqrt((flat * flat).sum(axis=-1)))
