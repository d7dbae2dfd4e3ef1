"""conv_matrix: the one call people ask for, the sparse matrix of a convolution."""

from collections.abc import Sequence

import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Sizes, complain, is_sequence, numeric, shaped
from convdense._util.foreign_names import explained
from convdense.geometry import Conv
from convdense.geometry.padding import Padding
from convdense.structure._tie import tie


@explained
def conv_matrix(
    w: npt.ArrayLike,
    in_shape: Sequence[int],
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    flip: bool = False,
    max_bytes: int | None = None,
) -> sp.csr_array:
    """Return the sparse matrix of a convolution: its Toeplitz matrix.

    ``conv_matrix(w, x.shape) @ x.ravel()`` is the flattened output for one sample x, bias left out.
    Elsewhere it is called ``convmtx2`` or ``convolution_matrix``.

    Parameters
    ----------
    w : (out_channels, in_channels / groups, *kernel) array
    in_shape : tuple of int
        One sample: ``(in_channels, *axes)``.
    stride, padding, dilation, groups, padding_mode, flip
        As for `Conv`. The default is cross-correlation, "valid".
    max_bytes : int or None
        Refuse a larger matrix; None stands for the physical memory.

    Returns
    -------
    scipy.sparse.csr_array
        (outputs, inputs) of one sample in C order, dtype of w; canonical, zero weights stored.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.
    MemoryError
        If the matrix would be larger than `max_bytes`, naming the size and the alternatives.

    Notes
    -----
    MATLAB's ``convmtx2(H, m, n)`` counts pixels down the columns, is full and flips the kernel:
    exchange the two axes, ``conv_matrix(H.T[None, None], (1, n, m), padding="full", flip=True)``.
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
    """
    weights = numeric(w, "w")
    if weights.ndim < 3 or weights.size == 0:
        needs = "(out_channels, in_channels / groups, *kernel)"
        do = "for one channel give w[None, None] and in_shape (1, *sizes)"
        raise ValueError(complain("w", f"shape {weights.shape}", needs, do))
    if is_sequence(in_shape) and weights.ndim != len(in_shape) + 1:
        needs = f"{len(in_shape) + 1} axes, (out, in, *kernel), for in_shape {tuple(in_shape)}"
        raise ValueError(complain("w", f"shape {weights.shape}", needs))

    conv = Conv(
        in_shape,
        out_channels=len(weights),
        kernel=weights.shape[2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        flip=flip,
    )
    weights = shaped(weights, "w", conv.weight_shape, conv)
    return tie(conv).matrix(weights, max_bytes=max_bytes)
