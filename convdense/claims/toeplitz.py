"""The matrix a second way: block Toeplitz and block circulant matrices by scipy.linalg."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import Conv


def block_toeplitz(conv: Conv, w: Array) -> Array:
    """Return the dense matrix of a convolution with stride 1 and zero padding.

    Each block of it, for one input and one output channel, has Toeplitz blocks in Toeplitz order.

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
    steps = {*conv.stride, *conv.input_dilation}
    if steps != {1} or conv.padding_mode != "zeros":
        needs = "stride 1 and zero padding for a block Toeplitz matrix"
        raise ValueError(complain("conv", repr(conv), needs))
    begins = [begin for begin, _ in conv.padding]
    ins, outs = conv.in_spatial, conv.out_spatial
    return _from_channel_pairs(conv, w, partial(_toeplitz, ins=ins, outs=outs, begins=begins))


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
    same_size = conv.in_spatial == conv.out_spatial and min(map(min, conv.padding)) >= 0
    if set(conv.stride) != {1} or not same_size or conv.padding_mode != "circular":
        needs = "stride 1 and circular padding to the same size for a block circulant matrix"
        raise ValueError(complain("conv", repr(conv), needs))
    begins = [begin for begin, _ in conv.padding]
    return _from_channel_pairs(conv, w, partial(_circulant, sizes=conv.in_spatial, begins=begins))


def _from_channel_pairs(conv: Conv, w: Array, block: Callable[[Array], Array]) -> Array:
    """Return the matrix of all channel pairs; one of different groups has a kernel of zeros."""
    ins_of_group = conv.in_channels // conv.groups
    outs_of_group = conv.out_channels // conv.groups
    if conv.flip:
        w = np.flip(w, tuple(range(2, w.ndim)))
    kernels = np.zeros((conv.out_channels, conv.in_channels, *conv.kernel), w.dtype)
    for o in range(conv.out_channels):
        group = o // outs_of_group
        first = group * ins_of_group
        kernels[o, first : first + ins_of_group] = w[o]

    rows = []
    for kernels_of_output in kernels:  # (in_channels, *kernel)
        stretched = [_stretched(kernel, conv.dilation) for kernel in kernels_of_output]
        rows.append([block(kernel) for kernel in stretched])
    return np.block(rows)


def _stretched(kernel: Array, dilation: Sequence[int]) -> Array:
    """Return the kernel with its holes written out as zeros."""
    extent = [(size - 1) * d + 1 for size, d in zip(kernel.shape, dilation, strict=True)]
    stretched = np.zeros(extent, kernel.dtype)
    stretched[tuple(slice(None, None, d) for d in dilation)] = kernel
    return stretched


def _toeplitz(
    kernel: Array, ins: Sequence[int], outs: Sequence[int], begins: Sequence[int]
) -> Array:
    """Return the matrix of one channel pair: on the padded input, block (r, c) is of tap c - r.

    A tap is a number for one axis, and for more the matrix of the axes that remain.
    """
    from scipy.linalg import toeplitz  # noqa: PLC0415  (0.1 s, only here)

    n_in, n_out, begin = ins[0], outs[0], begins[0]
    taps = len(kernel)
    no_tap = taps  # the number after that of the last tap: its block is zero
    width = max(n_out + taps - 1, begin + n_in)  # of the padded input, whose end may meet no window
    column = [0, *[no_tap] * (n_out - 1)]
    row = [*range(taps), *[no_tap] * (width - taps)]
    tap_at = toeplitz(column, row)  # (outputs, padded inputs)
    tap_at = tap_at[:, begin : begin + n_in]  # the padding's cells are zero: their columns go

    if kernel.ndim == 1:
        numbers = np.append(kernel, 0).astype(kernel.dtype)  # (taps + 1,)
        return np.asarray(numbers[tap_at])
    blocks = [_toeplitz(part, ins[1:], outs[1:], begins[1:]) for part in kernel]
    blocks.append(np.zeros_like(blocks[0]))
    return np.block([[blocks[tap] for tap in line] for line in tap_at])


def _circulant(kernel: Array, sizes: Sequence[int], begins: Sequence[int]) -> Array:
    """Return the matrix of one channel pair: block (r, c) depends on (r - c) mod n alone.

    Output r meets cell c = r - begin + tap, so that r - c = begin - tap. Several taps meet in one
    block where the kernel is larger than the input.
    """
    from scipy.linalg import circulant  # noqa: PLC0415  (0.1 s, only here)

    n, begin = sizes[0], begins[0]
    blocks = list(kernel)  # for each tap a number, or the matrix of the axes that remain
    if kernel.ndim > 1:
        blocks = [_circulant(part, sizes[1:], begins[1:]) for part in kernel]
    first_column = [
        sum(block for tap, block in enumerate(blocks) if (begin - tap) % n == r) for r in range(n)
    ]
    if kernel.ndim == 1:
        return np.asarray(circulant(np.asarray(first_column, kernel.dtype)))
    zero = np.zeros_like(blocks[0])  # a sum of no blocks is the number 0
    difference = circulant(np.arange(n))  # (n, n): (r - c) mod n
    return np.block([[first_column[i] + zero for i in line] for line in difference])
