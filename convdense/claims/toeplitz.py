"""The matrix a second way: doubly block Toeplitz and block circulant matrices, put together by scipy.linalg."""

from collections.abc import Callable, Sequence

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import Conv


def block_toeplitz(conv: Conv, w: Array) -> Array:
    """Return the dense matrix of a convolution with stride 1 and zero padding: Toeplitz blocks in
    Toeplitz order.

    Raises
    ------
    ValueError
        For any other stride or padding mode, where the matrix is not of this form.

    Examples
    --------
    >>> block_toeplitz(Conv((1, 4), out_channels=1, kernel=2), np.array([[[1, 2]]]))
    array([[1, 2, 0, 0],
           [0, 1, 2, 0],
           [0, 0, 1, 2]])
    """
    if set(conv.stride) != {1} or conv.padding_mode != "zeros":
        raise ValueError(
            complain("conv", repr(conv), "stride 1 and zero padding for a block Toeplitz matrix")
        )
    begins = [begin for begin, _ in conv.padding]
    return _channels(
        conv, w, lambda kernel: _toeplitz(kernel, conv.in_spatial, conv.out_spatial, begins)
    )


def block_circulant(conv: Conv, w: Array) -> Array:
    """Return the dense matrix of a convolution with stride 1 and circular padding to the same size.

    Raises
    ------
    ValueError
        For any other geometry, where the matrix is not of this form.

    Examples
    --------
    >>> conv = Conv((1, 3), out_channels=1, kernel=2, padding=((0, 1),), padding_mode="circular")
    >>> block_circulant(conv, np.array([[[1, 2]]]))
    array([[1, 2, 0],
           [0, 1, 2],
           [2, 0, 1]])
    """
    if (
        set(conv.stride) != {1}
        or conv.in_spatial != conv.out_spatial
        or conv.padding_mode != "circular"
    ):
        needs = "stride 1 and circular padding to the same size for a block circulant matrix"
        raise ValueError(complain("conv", repr(conv), needs))
    begins = [begin for begin, _ in conv.padding]
    return _channels(conv, w, lambda kernel: _circulant(kernel, conv.in_spatial, begins))


def _channels(conv: Conv, w: Array, one: Callable[[Array], Array]) -> Array:
    """Return the matrix of all channel pairs; a pair from different groups has a kernel of zeros."""
    ins, outs = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    kernels = np.zeros((conv.out_channels, conv.in_channels, *conv.kernel), w.dtype)
    for o in range(conv.out_channels):
        first = o // outs * ins
        kernels[o, first : first + ins] = (
            np.flip(w[o], tuple(range(1, w.ndim - 1))) if conv.flip else w[o]
        )
    return np.block([[one(_stretched(kernel, conv.dilation)) for kernel in row] for row in kernels])


def _stretched(kernel: Array, dilation: Sequence[int]) -> Array:
    """Return the kernel with its holes written out as zeros."""
    holes = np.zeros(
        [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=True)], kernel.dtype
    )
    holes[tuple(slice(None, None, d) for d in dilation)] = kernel
    return holes


def _toeplitz(
    kernel: Array, ins: Sequence[int], outs: Sequence[int], begins: Sequence[int]
) -> Array:
    """Return the matrix of one channel pair: on the padded input, block (r, c) belongs to tap c - r."""
    from scipy.linalg import toeplitz  # noqa: PLC0415  (0.1 s, only here)

    taps, none = len(kernel), len(kernel)
    width = max(
        outs[0] + taps - 1, begins[0] + ins[0]
    )  # padded cells; the last may be met by no window
    column = [0, *[none] * (outs[0] - 1)]
    row = [*range(taps), *[none] * (width - taps)]
    order = toeplitz(column, row)[
        :, begins[0] : begins[0] + ins[0]
    ]  # the padded cells are zero: their columns go
    if kernel.ndim == 1:
        return np.asarray(np.append(kernel, 0).astype(kernel.dtype)[order])
    blocks = [_toeplitz(inner, ins[1:], outs[1:], begins[1:]) for inner in kernel]
    blocks.append(np.zeros_like(blocks[0]))
    return np.block([[blocks[t] for t in line] for line in order])


def _circulant(kernel: Array, sizes: Sequence[int], begins: Sequence[int]) -> Array:
    """Return the matrix of one channel pair: block (r, c) depends on (r - c) mod n alone; taps may meet there."""
    from scipy.linalg import circulant  # noqa: PLC0415  (0.1 s, only here)

    n = sizes[0]
    inner = (
        kernel if kernel.ndim == 1 else [_circulant(part, sizes[1:], begins[1:]) for part in kernel]
    )
    first = [
        sum(part for t, part in enumerate(inner) if (begins[0] - t) % n == r) for r in range(n)
    ]
    if kernel.ndim == 1:
        return np.asarray(circulant(np.asarray(first, kernel.dtype)))
    zero = np.zeros_like(inner[0])
    return np.block([[first[t] + zero for t in line] for line in circulant(np.arange(n))])
