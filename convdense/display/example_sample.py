"""One sample to show: the hyper-parameters of a picture, given or always the same."""

from math import isfinite

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, complain, finite, numeric


def sample_of(
    x: npt.ArrayLike | None,
    dy: npt.ArrayLike | None,
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    verb: str,
) -> tuple[Array, Array]:
    """Return the input and the upstream gradient of one sample.

    What is None becomes integers from -3 to 3, always the same.

    Examples
    --------
    >>> sample_of(None, [5, 7], in_shape=(3,), out_shape=(2,), verb="draw")
    (array([2, 1, 0]), array([5, 7]))
    """
    rng = np.random.default_rng(0)
    own_x = rng.integers(-3, 4, in_shape)  # both are drawn: so dy is the same with any x
    own_dy = rng.integers(-3, 4, out_shape)
    x = one_sample(own_x if x is None else x, "x", in_shape, verb)
    dy = one_sample(own_dy if dy is None else dy, "dy", out_shape, verb)

    # no sum of their products, as a gradient is one, is larger
    if not isfinite(_largest(x) * _largest(dy) * max(x.size, dy.size)):
        got = "products beyond the largest number"
        raise ValueError(complain("x, dy", got, "smaller numbers", "scale them down"))
    return x, dy


def one_sample(values: npt.ArrayLike, name: str, shape: tuple[int, ...], verb: str) -> Array:
    """Return the numbers of one sample, real and finite, without a batch axis.

    `verb` is what is done with them, for a message.
    """
    array = numeric(values, name)
    if array.shape not in (shape, (1, *shape)):
        raise ValueError(complain(name, f"shape {array.shape}", f"{shape}, one sample"))
    if array.dtype.kind == "c":
        do = f"{verb} .real or .imag"
        raise TypeError(complain(name, f"dtype {array.dtype}", "real numbers", do))
    if array.dtype.kind == "f":  # of any precision
        array = array.astype(np.float64)
    return finite(array, name).reshape(shape)


def _largest(values: Array) -> float:
    return max(-float(values.min()), float(values.max()))
