"""The order of the weights in their array, and the order in which the tie map counts them.

The tie map counts combinations of taps, one from each of its axes, in C order: each is one weight.
A weight array has the same axes, but may have them in another order: that of a `LocallyConnected`
layer has all output positions before the kernel, while the tie map has both side by side.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array


class WeightOrder(NamedTuple):
    """How the axes of a weight array follow from the tap axes of the tie map.

    A *tap* is the number of a combination of taps; a *weight* is a flat index of the weight array.

    Examples
    --------
    >>> order = WeightOrder((2, 3), order=(1, 0))
    >>> order.shape, order.by_tap(np.arange(6).reshape(3, 2)).tolist()
    ((3, 2), [0, 2, 4, 1, 3, 5])
    >>> order.tap_of(1), order.weight_of(np.array([3]))
    (3, array([1]))
    """

    tap_sizes: tuple[int, ...]  # how many taps each tap axis has
    order: tuple[int, ...] | None  # axis i of the weight array is tap axis order[i]; None: the same

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return tuple(self.tap_sizes[i] for i in self._permutation)

    def by_tap(self, w: Array) -> Array:
        """Return a weight array, of shape `shape`, in the order of the taps, (taps,)."""
        inverse = np.argsort(self._permutation)
        return w.transpose(inverse).ravel()

    def by_weight(self, flat: Array) -> Array:
        """Return numbers in the order of the taps, (taps,), as a weight array: undo `by_tap`."""
        return flat.reshape(self.tap_sizes).transpose(self._permutation)

    def table(self) -> Array | None:
        """Return the weight of each tap, (taps,) int; None where both orders are the same."""
        if self.order is None:
            return None
        weights = np.arange(prod(self.tap_sizes)).reshape(self.shape)
        return self.by_tap(weights)

    def weight_of(self, taps: Array) -> Array:
        """Return the weights of some taps, both (n,) int, without the table: for a few of many."""
        if self.order is None:
            return taps
        along = np.unravel_index(taps, self.tap_sizes)  # for each tap axis (n,)
        of_array = [along[i] for i in self.order]  # for each axis of the weight array (n,)
        return np.asarray(np.ravel_multi_index(of_array, self.shape))

    def tap_of(self, k: int) -> int:
        """Return the tap of weight k."""
        along = np.unravel_index(k, self.shape)  # for each axis of the weight array
        inverse = np.argsort(self._permutation)
        return int(np.ravel_multi_index([along[i] for i in inverse], self.tap_sizes))

    @property
    def _permutation(self) -> tuple[int, ...]:
        """`order`, written out where it is None."""
        return tuple(range(len(self.tap_sizes))) if self.order is None else self.order
