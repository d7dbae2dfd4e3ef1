"""Normwise bounds: what fast transforms may lose, measured by the size of the whole.

A transform of length L by butterflies takes every term through log2(L) additions and products with
rounded roots of unity, each of which costs at most ``eta = u + gamma_4 (sqrt(2) + u) < 6.7 u``
(Higham, *Accuracy and Stability of Numerical Algorithms*, theorem 24.2). So an entry of a
convolution, two transforms, a product and a transform back, errs by at most ``3 eta log2(L) / L``
times the sum of ``|F x| |F w|``, which by Cauchy, Schwarz and Parseval is at most ``L ||x||
||w||``: together ``21 log2(L) u ||x|| ||w||``. A sum of n such products, over channels or samples,
adds ``n u ||x|| ||w||``. The norms are those of everything that the transform may have mixed: of
whole arrays, for it may run along the batch and the channels too, and along both at once. It
is not derived for transforms by Winograd, whose constants are others.
"""

from itertools import product
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
    >>> bound.shape, float(bound.item() * 2**53) == (21 * 6 + 1) * 4 * 3
    ((1, 1, 1, 1), True)
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or name == "db":
        return None
    left, right = _norms(layer, operands, name)  # (rows, summed) and (summed, columns)
    u = unit_roundoff(dtype)
    roundings = FACTOR * log_length(layer, len(operands[0])) + len(right)
    size = float(_norms_over(left, 0) * _norms_over(right, 0))  # of y, dx or dw, at most
    bound = np.full((1,) * operands[1].ndim, roundings * u * size)  # a bias is one more addition
    _, _, b, _ = operands
    if name != "y" or b is None:
        return bound
    return np.asarray(bound + u * (size + magnitude(b).reshape(1, -1, *[1] * (bound.ndim - 2))))


@np.errstate(over="ignore")  # of wrong results
def spread_evenly(
    layer: Conv | ConvTranspose, operands: Operands, name: str, dtype: npt.DTypeLike, error: Array
) -> bool:
    """Tell whether errors are as small in the mean square, and as even, as those of a transform.

    A weight that is wrong by less than the norms allow is not. Errors of the frequencies reach all
    positions alike (Parseval), so that the squares in a channel add up to ``mean_square_unit^2
    sum_c ||x_c||^2 ||w_c||^2`` at most. Samples and channels that a transform has mixed have the
    mean of all of them in their place.
    """
    left, right = _norms(layer, operands, name)
    left_size, right_size = (norms.max(initial=0) or 1 for norms in (left, right))
    left, right = (left / left_size) ** 2, (right / right_size) ** 2  # no square underflows
    errors = (_norms_over(error, 2) / left_size / right_size) ** 2  # (rows, columns)

    _, w, b, _ = operands
    added: Array = np.zeros(1)  # y is rounded once more when the bias is added
    if name == "y" and b is not None:
        added = (b / left_size / right_size) ** 2 * prod(error.shape[2:])
    for rows, summed, columns in product((False, True), repeat=3):  # mixed, or not
        of_rows = left.mean(axis=0, keepdims=True) if rows else left
        of_columns = right.mean(axis=1, keepdims=True) if columns else right
        each = of_rows @ of_columns
        if summed:  # sum_c mean_c ||x_c||^2 mean_c ||w_c||^2
            each = of_rows.sum(axis=1, keepdims=True) * of_columns.mean(axis=0)
        squares = np.broadcast_to(each, (len(left), right.shape[1])) + added
        if name == "dw":  # only pairs of channels within a group
            squares = np.take_along_axis(squares, _in_group(layer, w), axis=1)
        if (errors <= mean_square_unit(layer, dtype, len(operands[0])) ** 2 * squares).all():
            return True
    return False


def mean_square_unit(layer: Conv | ConvTranspose, dtype: npt.DTypeLike, batch: int = 1) -> float:
    """Return the size of errors in the mean square, as a share of the root of the summed squares.

    Independent roundings add up as their squares do: stages count by their root (Higham, section
    24.1), and so do n sums over channels or samples, as six times ``u sqrt((n + 3) / 2)``.
    """
    summed = max(batch, layer.in_channels, layer.out_channels) / layer.groups
    stages = FACTOR**2 * log_length(layer, batch) + 18 * (summed + 3)
    return sqrt(stages) * unit_roundoff(dtype)


def log_length(layer: Conv | ConvTranspose, batch: int = 1) -> int:
    """Return log2 of a transform's length along every axis, batch and channels among them.

    Each is padded, has room for the kernel or for all lags, and is rounded up to a power of two.
    """
    large = layer.out_spatial if isinstance(layer, ConvTranspose) else layer.in_spatial
    sizes = zip(
        large, layer.input_dilation, layer.padding, layer.kernel, layer.dilation, strict=True
    )
    lengths = [n * step + sum(map(abs, pair)) + (k - 1) * d for n, step, pair, k, d in sizes]
    lengths += [2 * n - 1 for n in (batch, layer.in_channels, layer.out_channels)]
    return max(1, sum((length - 1).bit_length() for length in lengths if length > 0))


def _norms(layer: Conv | ConvTranspose, operands: Operands, name: str) -> tuple[Array, Array]:
    """Return the norms whose product bounds y, dx or dw: (rows, summed) and (summed, columns)."""
    x, w, _, dy = operands
    # Of samples, (batch, channels), and of kernels, (small channels, large channels), 0 between
    # groups: a convolution leads from the large side to the small one.
    small, large = (x, dy) if isinstance(layer, ConvTranspose) else (dy, x)
    outs, ins = _norms_over(small, 2), _norms_over(large, 2) * _copies(layer)
    kernels = np.zeros((outs.shape[1], ins.shape[1]))
    np.put_along_axis(kernels, _in_group(layer, w), _norms_over(w, 2), axis=1)
    if layer.padding_value and name != "dx":
        sizes = zip(layer.in_spatial, layer.padding, strict=True)
        most = prod(n + sum(map(abs, pair)) for n, pair in sizes)  # padded cells, at most
        ins = np.hypot(ins, abs(layer.padding_value) * sqrt(most))

    if name == "dw":
        return outs.T, ins
    if (name == "y") == isinstance(layer, Conv):
        return ins, kernels.T
    # padded cells that copy one cell are added up, as many as they are
    return outs * _copies(layer) ** 2, kernels


def _in_group(layer: Conv | ConvTranspose, w: Array) -> Array:
    """Return which channels of the large side each channel of the small one meets."""
    small, each = w.shape[:2]
    groups = np.arange(small) // (small // layer.groups)
    return np.asarray(groups[:, None] * each + np.arange(each))


def _copies(layer: Conv | ConvTranspose) -> float:
    """Return what padding adds to a norm: the root of how many cells copy one cell, at most."""
    axes = zip(layer.padding, layer.padding_modes, strict=True)
    return sqrt(prod(1 + sum(map(abs, pair)) for pair, mode in axes if mode != "zeros"))


def _norms_over(array: Array, first: int) -> Array:
    """Return the 2-norms over all axes from `first` on, without overflow or underflow."""
    flat = magnitude(array).reshape(*array.shape[:first], prod(array.shape[first:]))
    largest = flat.max(initial=0) or 1.0
    return np.asarray(largest * np.sqrt(((flat / largest) ** 2).sum(axis=-1)))
