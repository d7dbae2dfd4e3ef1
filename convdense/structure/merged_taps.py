"""Taps that meet: where padding makes two taps of one output read the same input, one merged tap stands for both."""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense.structure.axis import Axis


def merge(axis: Axis) -> tuple[Axis, sp.csr_array | None]:
    """Return an axis with one entry to a cell, sorted, all coefficients 1, and the matrix that makes its taps.

    The matrix is (merged taps, taps): a merged tap is the sum of the coefficients times the taps that meet in one cell.
    It is None where nothing meets, and the taps stay as they are.

    Examples
    --------
    >>> from convdense.structure.axis import window
    >>> axis = window(3, 3, 3, stride=1, dilation=1, begin=1, mode="replicate", flip=False)
    >>> merged, taps = merge(axis)
    >>> merged.taps.tolist()  # the first output reads cell 0 through taps 0 and 1: merged tap 3
    [3, 2, 0, 1, 2, 0, 4]
    >>> taps.toarray()[3].tolist()
    [1, 1, 0]
    """
    if axis.coefficients is None and (np.diff(axis.rows * axis.n_cols + axis.cols) > 0).all():
        return axis, None  # sorted already, as most are, and nothing meets
    order = np.lexsort((axis.taps, axis.cols, axis.rows))
    axis = axis.take(order)
    first = np.ones(len(axis), bool)  # whether an entry is the first of its cell
    first[1:] = (np.diff(axis.rows) != 0) | (np.diff(axis.cols) != 0)
    if first.all() and axis.coefficients is None:
        return axis, None
    numbers = np.ones(len(axis), np.int8) if axis.coefficients is None else axis.coefficients
    starts = np.flatnonzero(first)
    stops = np.append(starts[1:], len(axis))
    known: dict[tuple[tuple[int, Any], ...], int] = {((t, 1),): t for t in range(axis.n_taps)}
    cells = [
        known.setdefault(tuple(zip(axis.taps[a:b].tolist(), numbers[a:b].tolist(), strict=True)), len(known))
        for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
    ]
    made = [(row, tap, number) for meeting, row in known.items() for tap, number in meeting]
    rows, taps, values = (np.array(column) for column in zip(*made, strict=True))
    mixing = sp.csr_array((values.astype(numbers.dtype), (rows, taps)), shape=(len(known), axis.n_taps))
    single = replace(axis.take(starts), taps=np.array(cells, np.intp), tap_shape=(len(known),), coefficients=None)
    return single, mixing
