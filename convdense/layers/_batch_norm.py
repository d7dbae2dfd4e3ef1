"""Batch normalisation at inference, where mean and variance are numbers: a diagonal dense layer."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, finite, number, shaped
from convdense._util.foreign_names import explained
from convdense.geometry import ChannelScale
from convdense.layers.tied_dense import TiedDense


@explained
def batch_norm(
    in_shape: Sequence[int],
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> TiedDense:
    """Return ``y = (x - mean) / sqrt(var + eps) * weight + bias`` as a diagonal dense layer.

    Its weights are tied within each channel. Ioffe & Szegedy, *Batch Normalization* (2015),
    algorithm 2.

    Parameters
    ----------
    in_shape : tuple of int
        One sample: ``(channels, *axes)``, or ``(features,)``.
    mean, var : (channels,) arrays
        The running mean and variance, of floats; var at least 0.
    weight, bias : (channels,) arrays or None
        None stands for 1 and 0.
    eps : float
        What is added to the variance.

    Returns
    -------
    TiedDense
        Of `ChannelScale(in_shape)`, with weights ``weight / sqrt(var + eps)`` and biases ``bias -
        mean * weights``, rounded: code is judged by them, also where the difference cancels.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> layer = batch_norm((2, 3), mean=[1.0, 2.0], var=[3.0, 0.0], weight=[4.0, 1.0], eps=1.0)
    >>> layer.w, layer.b
    (array([2., 1.]), array([-2., -2.]))
    >>> layer.forward(np.array([[1.0, 2, 3], [1, 2, 3]]))
    array([[ 0.,  2.,  4.],
           [-1.,  0.,  1.]])
    """
    layer = ChannelScale(in_shape)
    given = {"mean": mean, "var": var, "weight": weight, "bias": bias}
    arrays: dict[str, Array] = {}
    for name, value in given.items():
        if value is not None or name in ("mean", "var"):
            arrays[name] = finite(shaped(value, name, layer.weight_shape, layer), name)
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            got, needs = f"dtype {array.dtype}", "real floats"
            raise TypeError(complain(name, got, needs, "use .astype(float)"))
    needs = "a finite number of at least 0"
    if not (isfinite(number(eps, "eps", needs)) and eps >= 0):
        raise ValueError(complain("eps", eps, needs))
    if arrays["var"].min() < 0 or not (arrays["var"] + eps).min() > 0:
        got = f"{arrays['var'].min()} with eps={eps}"
        needs = "a variance of at least 0 and a positive sum with eps"
        raise ValueError(complain("var", got, needs))

    deviation = np.sqrt(arrays["var"] + eps)
    scale = arrays.get("weight", np.ones_like(arrays["var"])) / deviation
    shift = arrays.get("bias", np.zeros_like(scale)) - arrays["mean"] * scale
    return TiedDense(layer, scale, shift)
