"""Channels last: an implementation on (batch, *axes, channels) as one on this library's arrays.

Those are (batch, channels, *axes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np

from convdense._util.arguments import Array, choice
from convdense.geometry import Implementation
from convdense.implementations.evaluators import functions
from convdense.implementations.signatures import Wrapper

PICTURE, KERNEL, AS_IT_IS = "picture", "kernel", "as it is"  # what an array is
NEEDS = (
    "an object with forward and backward, or a pair of such functions, "
    "on arrays with the channels last"
)


@dataclass(frozen=True)
class ChannelsLast(Wrapper):
    """An implementation on arrays with the channels last; `channels_last` makes one.

    With `views`, what comes as a view is handed on as one, and what is read-only stays so.
    """

    weights: str
    views: bool = False

    def forward(self, x: Array, *weights: Any) -> Any:
        """Return y of x, w and b, for a pool of x."""
        y = self._call(self.inner.forward, (x, *weights), (PICTURE, KERNEL, AS_IT_IS))
        return self._channels_first(y, PICTURE)

    def _backward(self, backward: Callable[..., Any], x: Array, *rest: Any) -> Any:
        is_pool = len(rest) == 1
        parts = (PICTURE, PICTURE) if is_pool else (PICTURE, KERNEL, PICTURE)
        results = self._call(backward, (x, *rest), parts)
        if not isinstance(results, (tuple, list)):
            return self._channels_first(results, PICTURE)
        result_parts = chain((PICTURE, KERNEL), repeat(AS_IT_IS))  # dx, dw, and whatever else came
        return tuple(map(self._channels_first, results, result_parts))

    def _call(
        self, function: Callable[..., Any], given: Sequence[Any], parts: Sequence[str]
    ) -> Any:
        """Call a function on arrays in its order; of a pool fewer are given than `parts` names.

        What it writes to them is written to those given as well, so that the verdict can tell.
        """
        handed = [
            self._channels_last(array, part) for array, part in zip(given, parts, strict=False)
        ]
        result = function(*handed)
        for array, moved, part in zip(given, handed, parts, strict=False):
            if array is None:  # no bias
                continue
            now = self._channels_first(moved, part)
            if not np.array_equal(now, array):
                array[...] = now
        return result

    def _channels_last(self, array: Any, part: str) -> Any:
        if part == PICTURE:  # (batch, channels, *axes) -> (batch, *axes, channels)
            moved = np.moveaxis(array, 1, -1)
        elif part == KERNEL and self.weights == "HWIO":  # (out, in, *kernel) -> (*kernel, in, out)
            moved = array.transpose(*range(2, array.ndim), 1, 0)
        else:
            return array
        if self.views and not array.flags.c_contiguous:
            return moved
        moved = np.ascontiguousarray(moved)
        if self.views:
            moved.flags.writeable = array.flags.writeable
        return moved

    def _channels_first(self, value: Any, part: str) -> Any:
        """Return an array in this library's order; the verdict refuses what has too few axes."""
        array = None if value is None else np.asarray(value)
        if array is None or array.ndim < 3:  # pictures and kernels have at least three axes
            return value
        if part == PICTURE:
            return np.moveaxis(array, -1, 1)
        if part == KERNEL and self.weights == "HWIO":  # (*kernel, in, out) -> (out, in, *kernel)
            return array.transpose(-1, -2, *range(array.ndim - 2))
        return array


def channels_last(implementation: Implementation, *, weights: str = "OIHW") -> ChannelsLast:
    """Return an implementation on arrays with the channels last as one that can be judged here.

    `certify`, `check` and `diagnose` take it, and the checks over the table of geometries.

    Parameters
    ----------
    implementation : object with forward and backward, two such functions, or forward alone
        x, y, dx and dy are handed over as (batch, *axes, channels), on any number of axes.
    weights : {"OIHW", "HWIO"}
        "HWIO": w and dw as (*kernel, in / groups, out), as Keras has them (transposed: (*kernel,
        out / groups, in)), instead of this library's order. The bias stays what it is.

    Returns
    -------
    object with forward and backward

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> conv = Conv((2, 4, 5), out_channels=3, kernel=1)
    >>> def forward(x, w, b):  # (n, h, w, in), (1, 1, in, out), (out,)
    ...     return x @ w[0, 0] + b
    >>> def backward(x, w, dy):
    ...     dw = np.einsum("nhwi,nhwo->io", x, dy)
    ...     return dy @ w[0, 0].T, dw[None, None], dy.sum(axis=(0, 1, 2))
    >>> bool(certify(conv, channels_last((forward, backward), weights="HWIO")))
    True
    """
    choice(weights, "weights", ("OIHW", "HWIO"))
    return ChannelsLast(functions(implementation, NEEDS), weights)
