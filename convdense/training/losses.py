"""Losses, value and gradient side by side.

Each is one number a sample (the squared ones are summed over its outputs), averaged over the batch;
the gradient is divided by the batch size as well, so that it can be propagated back as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, numeric


class Loss(NamedTuple):
    """The value of a loss, and its gradient with respect to the output, ``dC/do``."""

    value: float
    gradient: Array


LossFunction = Callable[[Array, Array], Loss]  # of outputs and targets


def half_squared_error(o: npt.ArrayLike, y: npt.ArrayLike) -> Loss:
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
    batch = len(difference)
    return Loss(float((difference**2).sum() / (2 * batch)), difference / batch)


def squared_error(o: npt.ArrayLike, y: npt.ArrayLike) -> Loss:
    """Return ``C = sum (o - y)^2`` and ``dC/do = 2 (o - y)``, averaged over the batch.

    This is the cost in the question that the README answers.

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
    batch = len(difference)
    return Loss(float((difference**2).sum() / batch), 2 * difference / batch)


def softmax_cross_entropy(o: npt.ArrayLike, labels: npt.ArrayLike) -> Loss:
    """Return ``C = log(sum_k exp o_k) - o_label``, averaged over the batch, and ``dC/do``.

    The gradient of a sample is ``softmax(o) - onehot``, divided by the batch size.

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
    scores = _outputs(o)
    classes = _class_numbers(labels, scores)

    # exp(o - max) / sum exp(o - max) is the softmax of o: a common factor cancels
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)  # (batch, 1)
    of_the_label = np.arange(len(scores)), classes  # one index for each sample
    value = float((np.log(totals[:, 0]) - shifted[of_the_label]).mean())

    gradient = exponentials / totals
    gradient[of_the_label] -= 1
    return Loss(value, gradient / len(scores))


def _class_numbers(labels: npt.ArrayLike, scores: Array) -> Array:
    """Return one class for each sample; refuse scores and labels that do not fit together."""
    classes = numeric(labels, "labels")
    if scores.ndim != 2:
        raise ValueError(complain("o", f"shape {scores.shape}", "(batch, classes)"))
    batch, n_classes = scores.shape
    if classes.dtype.kind not in "iu":
        needs = "integers: the number of each sample's class"
        raise TypeError(complain("labels", f"dtype {classes.dtype}", needs))
    if classes.shape != (batch,):
        needs = f"{(batch,)}, one label for each sample"
        raise ValueError(complain("labels", f"shape {classes.shape}", needs))

    outside = np.flatnonzero((classes < 0) | (classes >= n_classes))
    if outside.size:
        got = f"{classes[outside[0]]} at {outside[0]}"
        raise ValueError(complain("labels", got, f"0 to {n_classes - 1}, for {n_classes} classes"))
    return classes


def _difference(o: npt.ArrayLike, y: npt.ArrayLike) -> Array:
    outputs, wanted = _outputs(o), numeric(y, "y")
    if wanted.dtype.kind == "c":
        raise TypeError(complain("y", f"dtype {wanted.dtype}", "real numbers"))
    if outputs.shape != wanted.shape:
        needs = f"{outputs.shape}, the shape of o"
        raise ValueError(complain("y", f"shape {wanted.shape}", needs))
    return np.asarray(outputs - wanted)


def _outputs(o: npt.ArrayLike) -> Array:
    """Return what a network gave as an array of floats, at least one sample."""
    array = numeric(o, "o")
    if array.dtype.kind == "c":
        raise TypeError(complain("o", f"dtype {array.dtype}", "real numbers"))
    if array.ndim == 0 or not array.size:
        raise ValueError(complain("o", f"shape {array.shape}", "(batch, ...), at least one sample"))
    return array if array.dtype.kind == "f" else array.astype(np.float64)
