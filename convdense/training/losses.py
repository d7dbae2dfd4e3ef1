"""Losses, value and gradient side by side: each summed over a sample's outputs and averaged over the batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain, numeric


class Loss(NamedTuple):
    """The value of a loss, and its gradient with respect to the output, ``dC/do``."""

    value: float
    gradient: Array


LossFunction = Callable[[Any, Any], Loss]


def half_squared_error(o: Any, y: Any) -> Loss:
    """Return ``C = sum (o - y)^2 / 2`` and ``dC/do = o - y``, averaged over the batch.

    Parameters
    ----------
    o : (batch, *shape) array
        What a network gave.
    y : array of the shape of o
        What it should have given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> half_squared_error([[3.0, 1.0]], [[1.0, 1.0]])
    Loss(value=2.0, gradient=array([[2., 0.]]))
    """
    difference = _difference(o, y)
    return Loss(float((difference**2).sum() / (2 * len(difference))), difference / len(difference))


def squared_error(o: Any, y: Any) -> Loss:
    """Return the student's ``C = sum (o - y)^2`` and ``dC/do = 2 (o - y)``, averaged over the
    batch.

    Parameters
    ----------
    o, y : (batch, *shape) arrays

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> squared_error([[3.0, 1.0]], [[1.0, 1.0]])
    Loss(value=4.0, gradient=array([[4., 0.]]))
    """
    difference = _difference(o, y)
    return Loss(float((difference**2).sum() / len(difference)), 2 * difference / len(difference))


def softmax_cross_entropy(o: Any, labels: Any) -> Loss:
    """Return ``C = log(sum_k exp o_k) - o_label`` and ``dC/do = softmax(o) - onehot``, averaged
    over the batch.

    Parameters
    ----------
    o : (batch, classes) array
        Scores; the largest is subtracted first, so that none overflows.
    labels : (batch,) array of int
        From 0 to classes - 1.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed; a label out of range with its place.

    Examples
    --------
    >>> loss = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss.value, 6), loss.gradient
    (0.693147, array([[ 0.5, -0.5]]))
    """
    o, labels = _outputs(o), numeric(labels, "labels")
    if o.ndim != 2:
        raise ValueError(complain("o", f"shape {o.shape}", "(batch, classes)"))
    if labels.dtype.kind not in "iu":
        raise TypeError(
            complain(
                "labels", f"dtype {labels.dtype}", "integers: the number of each sample's class"
            )
        )
    if labels.shape != o.shape[:1]:
        raise ValueError(
            complain("labels", f"shape {labels.shape}", f"{o.shape[:1]}, one label for each sample")
        )
    if (bad := np.flatnonzero((labels < 0) | (labels >= o.shape[1]))).size:
        got = f"{labels[bad[0]]} at {bad[0]}"
        raise ValueError(
            complain("labels", got, f"0 to {o.shape[1] - 1}, for {o.shape[1]} classes")
        )
    shifted = o - o.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    right = np.arange(len(o)), labels
    value = float((np.log(totals[:, 0]) - shifted[right]).mean())
    gradient = exponentials / totals
    gradient[right] -= 1
    return Loss(value, gradient / len(o))


def _difference(o: Any, y: Any) -> Array:
    o, y = _outputs(o), numeric(y, "y")
    if y.dtype.kind == "c":
        raise TypeError(complain("y", f"dtype {y.dtype}", "real numbers"))
    if o.shape != y.shape:
        raise ValueError(complain("y", f"shape {y.shape}", f"{o.shape}, the shape of o"))
    return np.asarray(o - y)


def _outputs(o: Any) -> Array:
    array = numeric(o, "o")
    if array.dtype.kind == "c":
        raise TypeError(complain("o", f"dtype {array.dtype}", "real numbers"))
    if array.ndim == 0 or not array.size:
        raise ValueError(complain("o", f"shape {array.shape}", "(batch, ...), at least one sample"))
    return array if array.dtype.kind == "f" else array.astype(np.float64)
