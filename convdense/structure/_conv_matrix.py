"""conv_matrix: the one call people ask for, the sparse matrix of a convolution or a pool."""

from collections.abc import Sequence
from inspect import signature
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import (
    Array,
    Sizes,
    choice,
    complain,
    integer,
    is_sequence,
    numeric,
    shaped,
)
from convdense._util.foreign_names import explained
from convdense.geometry import AvgPool, Conv, ConvTranspose, HasShapes, Pool, SumPool
from convdense.geometry.base import flag, sample_shape
from convdense.geometry.padding import Padding
from convdense.structure._data_matrix import reordered
from convdense.structure._tie import pool_matrix, tie

# The axes of w in the order of the letters; HW stands for a kernel on any number of axes.
AXES = {
    "OIHW": "(out_channels, in_channels / groups, *kernel)",
    "HWIO": "(*kernel, in_channels / groups, out_channels)",
    "IOHW": "(in_channels, out_channels / groups, *kernel)",  # transposed
    "HWOI": "(*kernel, out_channels / groups, in_channels)",
}


@explained
def conv_matrix(
    w: npt.ArrayLike | Pool,
    in_shape: Sequence[int] | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    flip: bool = False,
    transposed: bool = False,
    output_padding: Sizes = 0,
    bias: npt.ArrayLike | bool | None = False,
    layout: str = "NCHW",
    weights: str | None = None,
    order: str = "C",
    max_bytes: int | None = None,
) -> sp.csr_array:
    """Return the sparse matrix of a convolution: its Toeplitz matrix.

    ``conv_matrix(w, x.shape) @ x.ravel()`` is the flattened output for one sample x, bias left out.
    Elsewhere it is called ``convmtx2`` or ``convolution_matrix``.

    Parameters
    ----------
    w : (out_channels, in_channels / groups, *kernel) array, or a SumPool or AvgPool
        A pool, with its 1/k, takes `layout`, `order` and `max_bytes` alone.
    in_shape : tuple of int
        One sample: ``(in_channels, *axes)``.
    stride, padding, dilation, groups, padding_mode, flip
        As for `Conv`. The default is cross-correlation, "valid".
    transposed, output_padding
        True: the matrix of a `ConvTranspose`; w is (in_channels, out_channels / groups, *kernel).
    bias : bool or array of bias_shape
        An array becomes the last column: ``A @ [*x, 1] = y``. True adds a column of 0 and 1 for
        each bias: ``A @ [*x, *b] = y``.
    layout : {"NCHW", "NHWC"}
        "NHWC": in_shape, x and y have the channels last, on any number of axes.
    weights : {"OIHW", "HWIO"}, if transposed {"IOHW", "HWOI"}, or None
        The axes of w: output and input channels of the layer, and the kernel on any number of axes.
        None: the first, as PyTorch has it; the second is Keras'.
    order : {"C", "F"}
        How a sample is flattened: ``A @ x.ravel(order) = y.ravel(order)``.
    max_bytes : int or None
        Refuse a larger matrix; None stands for the physical memory.

    Returns
    -------
    scipy.sparse.csr_array
        (outputs, inputs) of one sample, dtype of w, float64 for a pool; canonical, zero weights
        stored.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.
    MemoryError
        If the matrix would be larger than `max_bytes`, naming the size and the alternatives.

    Notes
    -----
    MATLAB's ``convmtx2(H, m, n)`` counts pixels down the columns, is full and flips the kernel:
    ``conv_matrix(H[None, None], (1, m, n), padding="full", flip=True, order="F")``.
    ``convmtx(h, n)`` and ``scipy.linalg.convolution_matrix(a, n)`` are ``conv_matrix(a[None, None],
    (1, n), padding="full", flip=True)``; for n >= len(a), ``mode="same"`` is
    ``padding="same_lower"`` and ``mode="valid"`` is ``padding="valid"``.

    Examples
    --------
    >>> import numpy as np
    >>> conv_matrix(np.array([[[1, 2]]]), (1, 4)).toarray()
    array([[1, 2, 0, 0],
           [0, 1, 2, 0],
           [0, 0, 1, 2]])
    >>> w = np.array([[[-1, 4, -2]]])
    >>> conv_matrix(w, (1, 5), padding="same_lower", flip=True) @ [1, 2, 0, -3, 0.5]
    array([  2. ,   6. ,  -1. , -12.5,   8. ])
    >>> conv_matrix(AvgPool((1, 4), kernel=2)).toarray()
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    choice(layout, "layout", ("NCHW", "NHWC"))
    choice(order, "order", ("C", "F"))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    options |= {"groups": groups, "padding_mode": padding_mode, "flip": flip}
    options |= {"transposed": transposed, "output_padding": output_padding}
    if isinstance(w, Pool):
        options |= {"in_shape": in_shape, "bias": bias, "weights": weights}
        _refuse(options, "to be left out: the pool says it all")
        if not isinstance(w, (SumPool, AvgPool)):
            do = "use cd.dense_pool(pool), which is several layers"
            raise TypeError(complain("w", repr(w), "an array, a SumPool or an AvgPool", do))
        return _in_order(pool_matrix(w, max_bytes=max_bytes), w, layout, order)

    layer, values = _layer(w, in_shape, layout, weights, options)
    matrix = tie(layer).matrix(values, max_bytes=max_bytes)
    if bias is not None and bias is not False:
        ties = tie(layer).bias
        if bias is True:  # the matrix that the biases are multiplied with
            columns = ties.data_matrix(np.ones(ties.in_shape, matrix.dtype))
        else:
            columns = ties.matrix(shaped(bias, "bias", layer.bias_shape, layer))
        matrix = sp.csr_array(sp.hstack([matrix, columns], format="csr"))
    return _in_order(matrix, layer, layout, order)


def _layer(
    w: npt.ArrayLike, in_shape: Any, layout: str, weights: str | None, options: dict[str, Any]
) -> tuple[Conv | ConvTranspose, Array]:
    """Return the layer and its weights, channels first."""
    transposed = flag(options.pop("transposed"), "transposed")
    words = ("IOHW", "HWOI") if transposed else ("OIHW", "HWIO")
    word = words[0] if weights is None else choice(weights, "weights", words)
    values = numeric(w, "w")
    if np.ndim(in_shape) > 1:
        sample_shape(in_shape)  # an image in place of its shape is refused
    last = layout == "NHWC"
    if values.ndim < 3 or values.size == 0:
        given = "w[None, None]" if word == words[0] else "w[..., None, None]"
        do = f"for one channel give {given} and in_shape {'(*sizes, 1)' if last else '(1, *sizes)'}"
        raise ValueError(complain("w", f"shape {values.shape}", AXES[word], do))
    if is_sequence(in_shape) and values.ndim != len(in_shape) + 1:
        names = AXES[word].replace("_channels", "").replace(" / groups", "")
        needs = f"{len(in_shape) + 1} axes, {names}, for in_shape {tuple(in_shape)}"
        do = "in_shape is one sample: leave its batch out" if values.ndim == len(in_shape) else ""
        raise ValueError(complain("w", f"shape {values.shape}", needs, do))
    if is_sequence(in_shape) and last:
        in_shape = (in_shape[-1], *in_shape[:-1])

    kernel = range(values.ndim)[2:]
    axes = (0, 1, *kernel) if word == words[0] else (*kernel, 1, 0)  # axis i of w is our axes[i]
    own = values.transpose(np.argsort(axes))
    layer: Conv | ConvTranspose
    if transposed:
        _refuse({"padding_mode": options.pop("padding_mode")}, "'zeros' with transposed=True")
        out_channels = own.shape[1] * integer(options["groups"], "groups", 1)
        layer = ConvTranspose(in_shape, out_channels, own.shape[2:], **options)
    else:
        _refuse({"output_padding": options.pop("output_padding")}, "transposed=True beside it")
        layer = Conv(in_shape, len(own), own.shape[2:], **options)
    needed = tuple(layer.weight_shape[axis] for axis in axes)
    if weights is None and values.shape != needed and values.shape[-2] == needed[1]:
        do = f"write weights={words[1]!r}, the axes {AXES[words[1]]}"
        raise ValueError(complain("w", f"shape {values.shape}", f"{needed}, for {layer!r}", do))
    shaped(values, "w", needed, layer)
    return layer, own


def _refuse(options: dict[str, Any], needs: str) -> None:
    """Refuse options that are not at their default."""
    for name, value in options.items():
        default = signature(conv_matrix).parameters[name].default
        if value is not default and not np.array_equal(value, default):
            raise ValueError(complain(name, repr(value), needs))


def _in_order(matrix: sp.csr_array, layer: HasShapes, layout: str, order: str) -> sp.csr_array:
    """Return the matrix for samples in this layout, flattened in this order."""
    if (layout, order) == ("NCHW", "C"):
        return matrix
    rows, inputs = (_flattened(shape, layout, order) for shape in (layer.out_shape, layer.in_shape))
    biases = np.arange(len(inputs), matrix.shape[1])  # their columns stay the last
    return reordered(matrix, rows, np.append(np.argsort(inputs), biases))


def _flattened(shape: tuple[int, ...], layout: str, order: str) -> Array:
    """Return the numbers that the cells of a sample have here, in the order asked for."""
    numbers = np.arange(prod(shape)).reshape(shape)
    if layout == "NHWC":
        numbers = np.moveaxis(numbers, 0, -1)
    return numbers.ravel("F" if order == "F" else "C")
