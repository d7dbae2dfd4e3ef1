"""recover: the tied dense layer that a black box is, if it is affine, found by asking it few questions."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, choice, complain, number, numeric, shape_or_none
from convdense._util.float_formats import gamma
from convdense.geometry import Windowed
from convdense.recovery.recovered_layer import Recovered

SAMPLES = 64  # of one call
FIRST_SPACING = 4  # of a black box of which nothing is expected
DRAWS = 3  # random integers, each once more with its sign turned


def recover(
    function: Callable[[Array], Any],
    in_shape: Any,
    layer: Any = None,
    *,
    rounding: float = 0.0,
    dtype: str = "float64",
    seed: int = 0,
) -> Recovered:
    """Return the tied dense layer that a black box is, if it is affine: its matrix, bias, mask and
    ties.

    Inputs are set together that are so far apart that no output sees two of them: once all to 1 and
    once to numbers of their own, whose ratio tells which one it was. Random integers then confirm
    what was found. Where they do not, the spacing doubles, in the end to one input at a time; what
    fails even there is not affine.

    Parameters
    ----------
    function : callable
        Of an array (batch, *in_shape), returning (batch, *out_shape): a forward pass, or a backward
        pass of dy alone.
    in_shape : tuple of int
        Of one sample: (channels, *axes).
    layer : TiedDense, Dense, Conv, LocallyConnected or None
        What is expected: the first spacing is one wider than its window. See `Recovered.compare`
        for the difference.
    rounding : float
        The largest response that is taken for rounding and not for a weight: for transform methods
        (FFT); 0 for others.
    dtype : {"float64", "float32"}
        Of what the function is given.
    seed : int
        Of the random integers.

    Returns
    -------
    Recovered

    Raises
    ------
    TypeError, ValueError
        If the function does not return one finite array of one shape for each sample.

    Notes
    -----
    Compressed estimation of sparse Jacobians: Curtis, Powell and Reid, *On the estimation of sparse
    Jacobian matrices* (1974).

    Examples
    --------
    >>> from convdense import Conv, TiedDense, convolve
    >>> conv, w = Conv((1, 5), out_channels=1, kernel=3), np.array([[[1.0, 2, 3]]])
    >>> found = recover(lambda x: convolve(conv, x, w[..., ::-1]), (1, 5))
    >>> print(found.compare(TiedDense(conv, w)))
    0 missing, 0 extra, 6 with another weight
      output (0, 0), input (0, 0): got 3.0, expected 1.0
      output (0, 0), input (0, 2): got 1.0, expected 3.0
      output (0, 1), input (0, 1): got 3.0, expected 1.0
      and 3 more
    """
    shape = shape_or_none(in_shape, "in_shape")
    if shape is None:
        raise TypeError(complain("in_shape", "None", "a tuple of sizes, such as (3, 32, 32)"))
    if not callable(function):
        raise TypeError(
            complain("function", repr(function), "a function of an array (batch, *in_shape)")
        )
    if number(rounding, "rounding", "a number of at least 0") < 0:
        raise ValueError(complain("rounding", rounding, "a number of at least 0"))
    box = _Box(function, shape, choice(dtype, "dtype", ("float64", "float32")))
    bias = box.ask(np.zeros((1, prod(shape))))[0]
    spacing = _first_spacing(shape, layer)
    while True:
        alone = all(s >= n for s, n in zip(spacing, shape[1:], strict=True))
        matrix = (
            _matrix(box, bias, spacing, rounding) if not alone else _one_by_one(box, bias, rounding)
        )
        broken = None if matrix is None else _not_affine(box, matrix, bias, rounding, seed)
        if matrix is not None and broken is not None and (alone or not broken.size):
            return Recovered(
                shape, box.out_shape, matrix, bias, broken, box.samples, box.calls, spacing
            )
        spacing = tuple(min(2 * s, n) for s, n in zip(spacing, shape[1:], strict=True))


class _Box:
    """The black box, asked about flattened samples, a few at a time; it remembers how much it was asked."""

    def __init__(
        self, function: Callable[[Array], Any], in_shape: tuple[int, ...], dtype: str
    ) -> None:
        self.function, self.in_shape, self.dtype = function, in_shape, dtype
        self.out_shape: tuple[int, ...] = ()
        self.samples = self.calls = 0

    def ask(self, x: Array) -> Array:
        """Return (samples, outputs) for x of shape (samples, inputs), in float64."""
        return np.concatenate([self._call(x[i : i + SAMPLES]) for i in range(0, len(x), SAMPLES)])

    def _call(self, x: Array) -> Array:
        y = numeric(
            self.function(x.reshape(len(x), *self.in_shape).astype(self.dtype)),
            "the function's result",
        )
        if y.shape[:1] != (len(x),) or (self.calls and y.shape[1:] != self.out_shape):
            needs = (
                f"({len(x)}, {', '.join(map(str, self.out_shape)) if self.calls else '*out_shape'})"
            )
            raise ValueError(complain("the function's result", f"shape {y.shape}", needs))
        if y.dtype.kind == "c" or not np.isfinite(y).all():
            raise ValueError(
                complain(
                    "the function's result", f"{y.dtype}, not all finite", "real, finite numbers"
                )
            )
        self.out_shape, self.calls, self.samples = (
            y.shape[1:],
            self.calls + 1,
            self.samples + len(x),
        )
        return np.asarray(y.reshape(len(x), -1).astype(np.float64))


def _first_spacing(shape: tuple[int, ...], layer: Any) -> tuple[int, ...]:
    """Return one more than the expected window, along each axis beside the channels."""
    geometry = getattr(layer, "layer", layer)
    if isinstance(geometry, Windowed) and len(geometry.kernel) == len(shape) - 1:
        widths = [(k - 1) * d + 2 for k, d in zip(geometry.kernel, geometry.dilation, strict=True)]
    else:
        widths = [FIRST_SPACING] * (len(shape) - 1)
    return tuple(min(w, n) for w, n in zip(widths, shape[1:], strict=True))


def _colours(shape: tuple[int, ...], spacing: tuple[int, ...]) -> Iterator[Array]:
    """Yield, for each colour, its flattened inputs: one channel, and every `spacing`-th position along each axis."""
    inputs = np.arange(prod(shape)).reshape(shape)
    for first in np.ndindex(shape[0], *spacing):
        yield inputs[
            (first[0], *(slice(f, None, s) for f, s in zip(first[1:], spacing, strict=True)))
        ].ravel()


def _matrix(
    box: _Box, bias: Array, spacing: tuple[int, ...], rounding: float
) -> sp.csr_array | None:
    """Return the matrix, or None if some output saw two inputs of one colour."""
    rows: list[Array] = []
    cols: list[Array] = []
    values: list[Array] = []
    colours = list(_colours(box.in_shape, spacing))
    for first in range(0, len(colours), SAMPLES // 2):
        some = colours[first : first + SAMPLES // 2]
        x = np.zeros((2 * len(some), prod(box.in_shape)))
        for k, members in enumerate(some):
            x[2 * k, members], x[2 * k + 1, members] = 1, np.arange(1, len(members) + 1)
        answers = box.ask(x) - bias
        for k, members in enumerate(some):
            found = _single(answers[2 * k : 2 * k + 2], members, (bias, rounding, box.dtype))
            if found is None:
                return None
            for whole, part in zip((rows, cols, values), found, strict=True):
                whole.append(part)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))
    return sp.csr_array(entries, shape=(len(bias), prod(box.in_shape)))


def _one_by_one(box: _Box, bias: Array, rounding: float) -> sp.csr_array:
    """Return the matrix that single inputs tell of, one sample for each."""
    n = prod(box.in_shape)
    parts = []
    for first in range(0, n, SAMPLES):
        answers = box.ask(np.eye(min(SAMPLES, n - first), n, first)) - bias
        parts.append(sp.csr_array(np.where(np.abs(answers) > rounding, answers, 0.0)))
    return sp.csr_array(sp.vstack(parts, format="csr").T)


def _single(
    asked: Array, members: Array, known: tuple[Array, float, str]
) -> tuple[Array, Array, Array] | None:
    """Return rows, columns and weights of one colour, or None if an output saw more than one of its inputs."""
    (ones, numbered), (bias, rounding, dtype) = asked, known
    seen = np.flatnonzero((np.abs(ones) > rounding) | (np.abs(numbered) > rounding * len(members)))
    weight, told = ones[seen], numbered[seen]
    allowed = len(members) * (
        8 * np.finfo(dtype).eps * (np.abs(weight) + np.abs(bias[seen])) + 2 * rounding
    )
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # two that cancel give 0: then there is no place
        place = np.rint(told / weight)  # every input was set to a number of its own
        single = (place >= 1) & (place <= len(members)) & (np.abs(told - place * weight) <= allowed)
    if not single.all():
        return None
    return seen, members[place.astype(np.intp) - 1], weight


def _not_affine(box: _Box, matrix: sp.csr_array, bias: Array, rounding: float, seed: int) -> Array:
    """Return the flattened outputs that random integers of both signs refute.

    A right answer differs by the rounding of both sums, ``gamma_N (|W| |x| + |b|)`` each, and by
    that of the recovered weights, ``2 u (|w| + |b|)`` each.
    """
    x = np.random.default_rng(seed).integers(-9, 10, (DRAWS, matrix.shape[1])).astype(float)
    x = np.concatenate([x, -x])
    expected = (matrix @ x.T).T + bias
    unit = float(np.finfo(box.dtype).eps) / 2
    terms = np.diff(matrix.indptr) + 2
    sizes = (abs(matrix) @ np.abs(x).T).T + np.abs(bias)
    met = (abs(matrix).sign() @ np.abs(x).T).T  # sum of |x| over the inputs an output sees
    allowed = 2 * gamma(terms, unit) * sizes + 4 * unit * (sizes + met * np.abs(bias))
    allowed = allowed + rounding * (1 + 2 * np.abs(x).sum(axis=1, keepdims=True))
    return np.flatnonzero((np.abs(box.ask(x) - expected) > 1.000001 * allowed).any(axis=0))
