"""Padding: every way to say it, resolved into one (begin, end) pair per axis; and its modes."""

from collections.abc import Sequence
from math import inf, isfinite
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import choice, complain, integer, is_integer, is_sequence
from convdense._util.arguments import number as real

Pairs = tuple[tuple[int, int], ...]
Padding = int | str | Sequence[int | Sequence[int]]
Modes = str | tuple[str, ...]  # one for all axes, or one per axis where they differ
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
_OTHER_MODES: dict[str, str]
_OTHER_MODES = {numpy: f"write {own!r}" for own, numpy in NUMPY_MODES.items()}
_OTHER_MODES |= {"nearest": "write 'replicate'", "mirror": "write 'reflect'"}  # of SciPy
_OTHER_MODES |= {"symm": "write 'symmetric'", "fill": "write 'zeros'"}
OTHER_WORDS = {mode: f"write padding_mode={mode!r} beside padding=1 or more" for mode in MODES}
OTHER_WORDS |= {"same_upper": "write 'same'", "notset": "write padding=0"}
OTHER_WORDS["causal"] = "write padding=((n, 0),), n = dilation * (kernel - 1)"


def most_cells(mode: str, n: int) -> float:
    """Return how many cells a mode can add on one side of an axis of n cells."""
    if n == 0 and mode != "zeros":  # there is no cell to copy
        return 0
    if mode == "reflect":  # the edge cell is the mirror, and is not repeated
        return n - 1
    if mode in ("circular", "symmetric"):  # every cell once
        return n
    return inf


def effective(kernel: int, dilation: int) -> int:
    """Return the cells from the first tap of a window to its last, both counted."""
    return dilation * (kernel - 1) + 1


def dilated(n: int, dilation: int) -> int:
    """Return the cells of an axis of n cells with ``dilation - 1`` zeros between neighbours."""
    return effective(n, dilation) if n else 0


def crops(pair: tuple[int, int]) -> tuple[int, int]:
    """Return how many cells a pair takes away at the two ends: what is below 0 in it."""
    return max(0, -pair[0]), max(0, -pair[1])


def explicit(padding: Any, axes: int, *, crops: bool = False) -> Pairs:
    """Return the pairs for an int, one int per axis, or a (begin, end) pair per axis.

    With `crops` numbers below 0 are taken as well.

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
        do = "leave out what is for batch or channels" if len(padding) > axes else ""
        if len(padding) == 2 * axes and all(map(is_integer, padding)):
            last_axis_first = tuple(zip(padding[::2], padding[1::2], strict=True))[::-1]
            begins_first = tuple(zip(padding[:axes], padding[axes:], strict=True))
            do = f"write {last_axis_first} for those of F.pad, {begins_first} for those of ONNX"
        raise ValueError(complain("padding", repr(padding), needs, do))
    return tuple(_pair(p, needs, crops=crops) for p in padding)


def _pair(value: Any, needs: str, *, crops: bool) -> tuple[int, int]:
    """Return (begin, end) of one axis, for one number or two."""
    if is_integer(value):
        value = (value, value)
    if not is_sequence(value):
        plain = value.item() if isinstance(value, np.generic) else value
        raise ValueError(complain("padding", repr(plain), needs))
    if len(value) != 2:
        raise ValueError(complain("padding", repr(value), needs))
    least = None if crops else 0
    begin, end = (integer(v, "padding", least) for v in value)
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
    *,
    crops: bool = False,
) -> Pairs:
    """Return the (begin, end) pairs of a convolution over axes of these sizes.

    "same" gives ``ceil(size / stride)`` outputs (TensorFlow, ONNX); "full" lets every tap meet
    every cell. With `crops` numbers below 0 are taken as well.

    Examples
    --------
    >>> resolve("same", (5, 6), (3, 3), (1, 2), (1, 1))
    ((1, 1), (0, 1))
    """
    if not isinstance(padding, str):
        return explicit(padding, len(sizes), crops=crops)
    choice(padding, "padding", WORDS, OTHER_WORDS)
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


def check_modes(modes: Any, padding: Pairs, sizes: Sequence[int]) -> Modes:
    """Return the padding mode of all axes, or that of each where they differ.

    The axes must be long enough to supply the cells that their mode asks for.

    Examples
    --------
    >>> check_modes("circular", ((1, 1), (0, 0)), (4, 3))
    'circular'
    >>> check_modes(["circular", "zeros"], ((1, 1), (2, 2)), (4, 3))
    ('circular', 'zeros')
    """
    words = (modes,) * len(sizes) if isinstance(modes, str) else modes
    if not is_sequence(words) or len(words) != len(sizes):
        needs = f"one of {', '.join(map(repr, MODES))}, or one per axis ({len(sizes)})"
        raise ValueError(complain("padding_mode", repr(modes), needs))
    words = tuple(choice(word, "padding_mode", MODES, _OTHER_MODES) for word in words)
    for axis, (word, pair, n) in enumerate(zip(words, padding, sizes, strict=True)):
        left = n - sum(crops(pair))  # a crop comes first, and the rest is copied from
        if left < 0:
            needs = f"to take away at most the {n} cells of axis {axis}"
            raise ValueError(complain("padding", pair, needs))
        limit = most_cells(word, left)
        if max(pair) > limit:
            needs = f"at most {limit} on axis {axis} of {left} cells for padding_mode={word!r}"
            do = 'pad less, or use "replicate" or "zeros"'
            raise ValueError(complain("padding", pair, needs, do))
    return words[0] if len(set(words)) == 1 else words


def check_value(value: Any, modes: Sequence[str]) -> float:
    """Return what cells of padding_mode "zeros" hold: a finite number, 0 as a rule."""
    number = real(value, "padding_value", "a finite real number")
    if not isfinite(number):
        raise ValueError(complain("padding_value", repr(value), "a finite real number"))
    if number and "zeros" not in modes:
        needs = 'padding_mode="zeros" along some axis: the other modes copy cells'
        raise ValueError(complain("padding_value", repr(value), needs))
    is_exact_integer = abs(number) <= 2**53 and number == int(number)
    return int(number) if is_exact_integer else number


def padded_dtype(cells: npt.DTypeLike, value: float) -> np.dtype[Any]:
    """Return the dtype of an array with cells of this dtype and padding of this value.

    It is that of the cells wherever it can hold the value, rounded if it is one of floats.

    Examples
    --------
    >>> padded_dtype("float32", 0.1), padded_dtype("uint8", 128), padded_dtype("uint8", -1)
    (dtype('float32'), dtype('uint8'), dtype('int16'))
    """
    dtype = np.dtype(cells)
    if not value or (dtype.kind in "fc" and abs(value) <= float(np.finfo(dtype).max)):
        return dtype
    is_whole = isinstance(value, int) and dtype.kind in "iu"
    return np.result_type(dtype, np.min_scalar_type(value) if is_whole else np.float64)
