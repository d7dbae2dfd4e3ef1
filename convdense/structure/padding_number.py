"""What padding adds whose cells hold a number: layers whose one input is that number.

They have the weights of the layer itself. Their outputs do not depend on its input, and their
weight gradients are part of its own.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array
from convdense.geometry.padding import padded_dtype
from convdense.structure.kronecker import Counts


class OneInput(Protocol):
    """What is asked of a `TieMap` of one input here: a protocol, since `TieMap` imports this."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample, of one cell."""

    def matrix(self, w: npt.ArrayLike) -> sp.csr_array:
        """Return the matrix, (outputs, 1)."""

    def add_edges(self, x: Array, dy: Array) -> Array:
        """Return the weight gradient."""

    def counts(self) -> Counts:
        """Return how many entries each output, input and weight takes part in."""


Part = TypeVar("Part", bound=OneInput)


def added_to_outputs(parts: Sequence[OneInput], number: float, w: npt.ArrayLike) -> Array | None:
    """Return what they add to each output, (outputs,), integers in 64 bits; None without any."""
    if not parts:
        return None
    weights = np.asarray(w)
    if weights.dtype.kind in "iu":  # what they are added to may be wider
        weights = weights.astype(np.int64)
    sums = [part.matrix(weights).toarray()[:, 0] for part in parts]
    total: Array = np.sum(sums, axis=0, dtype=sums[0].dtype)
    return np.multiply(total, number, dtype=padded_dtype(total.dtype, number))


def inputs_of(parts: Sequence[Part], number: float, x: Array) -> Iterator[tuple[Part, Array]]:
    """Yield each with its inputs, (batch, 1, ..., 1): the number in the dtype it has beside x."""
    for part in parts:
        shape = (len(x), *part.in_shape)
        yield part, np.full(shape, number, padded_dtype(x.dtype, number))


def gradient(parts: Sequence[OneInput], number: float, x: Array, dy: Array) -> Array | None:
    """Return what they add to the weight gradient, summed over the batch; None where none are."""
    if not parts:
        return None
    gradients = [part.add_edges(ones, dy) for part, ones in inputs_of(parts, number, x)]
    return np.sum(gradients, axis=0, dtype=gradients[0].dtype)


def counted(parts: Sequence[OneInput], counts: Counts) -> Counts:
    """Return the counts of a layer together with their entries, which meet no input of it."""
    for part in parts:
        more = part.counts()
        outputs = counts.outputs + more.outputs
        counts = counts._replace(outputs=outputs, weights=counts.weights + more.weights)
    return counts
