"""Padding: every way to say it, resolved into one (begin, end) pair per axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from convdense._util.arguments import choice, complain, integer, is_integer, is_sequence

Pairs = tuple[tuple[int, int], ...]
Padding = int | str | Sequence[int | Sequence[int]]
WORDS = ("valid", "same", "same_lower", "full")
MODES = ("zeros", "circular", "reflect", "replicate", "symmetric")

# How many cells a mode can supply per side, given the axis length n: reflect does not repeat the
# edge cell.
_LIMITS = {"circular": lambda n: n, "reflect": lambda n: n - 1, "symmetric": lambda n: n}


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
    if is_integer(padding):
        padding = (padding,) * axes
    needs = f"an integer, one per axis ({axes}), a (begin, end) pair per axis, or one of {', '.join(map(repr, WORDS))}"
    if not is_sequence(padding):
        raise TypeError(complain("padding", repr(padding), needs))
    if len(padding) != axes:
        raise ValueError(complain("padding", repr(padding), needs))
    return tuple(_pair(p, needs) for p in padding)


def _pair(value: Any, needs: str) -> tuple[int, int]:
    if is_integer(value):
        value = (value, value)
    if not is_sequence(value):
        raise ValueError(
            complain(
                "padding", repr(value.item() if isinstance(value, np.generic) else value), needs
            )
        )
    if len(value) != 2:
        raise ValueError(complain("padding", repr(value), needs))
    begin, end = (integer(v, "padding", 0) for v in value)
    return begin, end


def split(total: int, word: str) -> tuple[int, int]:
    """Divide the cells of "same" padding: an odd one goes to the end, for "same_lower" to the beginning."""
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
        return tuple((e - 1, e - 1) for e in windows)
    totals = [
        max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(sizes, stride, windows, strict=True)
    ]
    return tuple(split(total, padding) for total in totals)


def check_mode(mode: Any, padding: Pairs, sizes: Sequence[int]) -> str:
    """Return the padding mode if the axes are long enough to supply the cells it asks for."""
    choice(mode, "padding_mode", MODES)
    if mode in _LIMITS:
        for axis, (pair, n) in enumerate(zip(padding, sizes, strict=True)):
            if max(pair) > (limit := _LIMITS[mode](n)):
                needs = f"at most {limit} on axis {axis} of {n} cells for padding_mode={mode!r}"
                raise ValueError(
                    complain("padding", pair, needs, 'pad less, or use "replicate" or "zeros"')
                )
    return str(mode)
