"""The two orders of the weights: in their array, and as the product of the axes' taps counts them.

They differ where a layer's weight array has its axes in another order than the tie map its axes:
that of a `LocallyConnected` layer lists all positions before the kernel.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array


class WeightOrder(NamedTuple):
    """Axis i of the weight array is tap axis ``order[i]`` of the product; None: both are the same.

    Parameters
    ----------
    taps : tuple of int
        Sizes of the tap axes of the product.
    order : tuple of int or None

    Examples
    --------
    >>> order = WeightOrder((2, 3), order=(1, 0))
    >>> order.shape, order.by_tap(np.arange(6).reshape(3, 2)).tolist()
    ((3, 2), [0, 2, 4, 1, 3, 5])
    >>> order.tap_of(1), order.weight_of(np.array([3]))
    (3, array([1]))
    """

    taps: tuple[int, ...]
    order: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""
        return tuple(self.taps[i] for i in self._order)

    def by_tap(self, w: Array) -> Array:
        """Flatten a weight array into the order of the product of taps."""
        return w.transpose(np.argsort(self._order)).ravel()

    def by_weight(self, taps: Array) -> Array:
        """Undo `by_tap`."""
        return taps.reshape(self.taps).transpose(self._order)

    def table(self) -> Array | None:
        """Return the flattened weight of each tap, (taps,) int; None where they are the same."""
        if self.order is None:
            return None
        weights = np.arange(prod(self.taps)).reshape(self.shape)
        return self.by_tap(weights)

    def weight_of(self, tap: Array) -> Array:
        """Return the flattened weight at some taps, without the table: for a few among many."""
        if self.order is None:
            return tap
        at = np.unravel_index(tap, self.taps)
        return np.asarray(np.ravel_multi_index([at[i] for i in self.order], self.shape))

    def tap_of(self, k: int) -> int:
        """Return the tap of the product at which one flattened weight stands."""
        table = self.table()
        return k if table is None else int(np.flatnonzero(table == k)[0])

    @property
    def _order(self) -> tuple[int, ...]:
        return tuple(range(len(self.taps))) if self.order is None else self.order
