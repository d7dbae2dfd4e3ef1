"""Padding: every way to say it, resolved into one (begin, end) pair per axis; and its modes."""

from collections.abc import Sequence
from math import inf
from typing import Any, Literal

import numpy as np

from convdense._util.arguments import choice, complain, integer, is_integer, is_sequence

Pairs = tuple[tuple[int, int], ...]
Padding = int | str | Sequence[int | Sequence[int]]
WORDS = ("valid", "same", "same_lower", "full")

# What the added cells hold, and what `numpy.pad` calls it. The direct convolutions pad with NumPy;
# the tie map has its own rule for each mode (structure/axis.py).
NUMPY_MODES: dict[str, Literal["constant", "wrap", "reflect", "edge", "symmetric"]] = {
    "zeros": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "symmetric": "symmetric",
}
MODES = tuple(NUMPY_MODES)


def most_cells(mode: str, n: int) -> float:
    """Return how many cells a mode can add on one side of an axis of n cells."""
    if mode == "reflect":  # the edge cell is the mirror, and is not repeated
        return n - 1
    if mode in ("circular", "symmetric"):  # every cell once
        return n
    return inf


def effective(kernel: int, dilation: int) -> int:
    """Return the cells from the first tap of a window to its last, both counted."""
    return dilation * (kernel - 1) + 1


def explicit(padding: Any, axes: int) -> Pairs:
    """Return the pairs for an int, one int per axis, or a (begin, end) pair per axis.

    Examples
    --------
    >>> explicit(1, 2), explicit((1, (0, 2)), 2)
    (((1, 1), (1, 1)), ((1, 1), (0, 2)))
    """
    words = ", ".join(map(repr, WORDS))
    needs = f"an integer, one per axis ({axes}), a (begin, end) pair per axis, or one of {words}"
    if is_integer(padding):
        padding = (padding,) * axes
    if not is_sequence(padding):
        raise TypeError(complain("padding", repr(padding), needs))
    if len(padding) != axes:
        raise ValueError(complain("padding", repr(padding), needs))
    return tuple(_pair(p, needs) for p in padding)


def _pair(value: Any, needs: str) -> tuple[int, int]:
    """Return (begin, end) of one axis, for one number or two."""
    if is_integer(value):
        value = (value, value)
    if not is_sequence(value):
        plain = value.item() if isinstance(value, np.generic) else value
        raise ValueError(complain("padding", repr(plain), needs))
    if len(value) != 2:
        raise ValueError(complain("padding", repr(value), needs))
    begin, end = (integer(v, "padding", 0) for v in value)
    return begin, end


def split(total: int, word: str) -> tuple[int, int]:
    """Divide the cells of "same" padding between the two sides.

    An odd one goes to the end, for "same_lower" to the beginning.
    """
    small, large = total // 2, total - total // 2
    return (small, large) if word == "same" else (large, small)


def resolve(
    padding: Any,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Pairs:
    """Return the (begin, end) pairs of a convolution over axes of these sizes.

    "same" gives ``ceil(size / stride)`` outputs (TensorFlow, ONNX); "full" lets every tap meet
    every cell.

    Examples
    --------
    >>> resolve("same", (5, 6), (3, 3), (1, 2), (1, 1))
    ((1, 1), (0, 1))
    """
    if not isinstance(padding, str):
        return explicit(padding, len(sizes))
    choice(padding, "padding", WORDS)
    windows = [effective(k, d) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return ((0, 0),) * len(sizes)
    if padding == "full":
        return tuple((window - 1, window - 1) for window in windows)

    pairs = []
    for n, s, window in zip(sizes, stride, windows, strict=True):
        outputs = -(-n // s)  # n / s, rounded up
        total = (outputs - 1) * s + window - n  # what the last window reaches past the input
        pairs.append(split(max(total, 0), padding))
    return tuple(pairs)


def check_mode(mode: Any, padding: Pairs, sizes: Sequence[int]) -> str:
    """Return the padding mode if the axes are long enough to supply the cells it asks for."""
    word = choice(mode, "padding_mode", MODES)
    for axis, (pair, n) in enumerate(zip(padding, sizes, strict=True)):
        limit = most_cells(word, n)
        if max(pair) > limit:
            needs = f"at most {limit} on axis {axis} of {n} cells for padding_mode={word!r}"
            do = 'pad less, or use "replicate" or "zeros"'
            raise ValueError(complain("padding", pair, needs, do))
    return word
