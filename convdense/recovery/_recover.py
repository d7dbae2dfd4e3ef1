"""recover: the tied dense layer that a black box is, if it is affine.

An affine function is known once every input was set alone. Where each output sees a small window
far fewer samples do: inputs so far apart that no output sees two of them are set together.
"""

from collections.abc import Callable, Iterator, Sequence
from math import inf, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import (
    Array,
    Seed,
    choice,
    complain,
    number,
    numeric,
    require,
    seed_or_none,
    shape_or_none,
)
from convdense._util.float_formats import COMPLEX, gamma, spelled
from convdense._util.foreign_names import explained
from convdense._util.foreign_objects import said, what_to_write
from convdense.geometry import Windowed
from convdense.geometry.protocols import HasShapes
from convdense.recovery.recovered_layer import Recovered

SAMPLES = 64  # of one call
FIRST_SPACING = 4  # of a black box of which nothing is expected
DRAWS = 3  # random integers, each once more with its sign turned
SCALES = 2.0**-10, 1.0, 2.0**10  # of reals: code may round, shrink small ones or limit large ones


@explained
def recover(
    function: Callable[[Array], npt.ArrayLike],
    in_shape: Sequence[int],
    layer: HasShapes | None = None,
    *,
    rounding: float = 0.0,
    dtype: object = "float64",
    seed: Seed = None,
) -> Recovered:
    """Return the matrix, bias, mask and ties of a black box, if it is affine.

    Inputs are set together that are so far apart that no output sees two of them: once all to 1 and
    once each to a number of its own. An output answers its weight, and its weight times that
    number: the ratio tells which input it saw. Random integers and reals then confirm what was
    found. Where they do not, the spacing doubles, in the end to one input at a time; what fails
    even there is not affine.

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
    dtype : {"float64", "float32", "complex64", "complex128"}
        Of what the function is given. A function that conjugates its input is not affine.
    seed : int, numpy.random.SeedSequence or None
        Of the random integers and reals; None draws fresh entropy.

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
    needs = "a function of an array (batch, *in_shape)"
    do = what_to_write(function, "function")
    refusal = complain("function", said(function), needs, do)
    require(callable(function), refusal)
    require(not do, refusal)
    if not 0 <= number(rounding, "rounding", "a number of at least 0") < inf:
        raise ValueError(complain("rounding", rounding, "a finite number of at least 0"))
    word = choice(spelled(dtype), "dtype", ("float64", "float32", *COMPLEX))
    box = _Box(function, shape, word)
    seed_number = seed_or_none(seed)
    bias = box.ask(np.zeros((1, prod(shape))))[0]  # (outputs,)
    known = _Known(bias, rounding, word)

    spacing = _first_spacing(shape, layer)
    while True:
        alone = all(s >= n for s, n in zip(spacing, shape[1:], strict=True))
        matrix = _one_by_one(box, known) if alone else _colour_by_colour(box, known, spacing)
        if matrix is not None:
            broken = _not_affine(box, matrix, known, seed_number)
            # One input at a time is the last word: an output that fails there is not affine.
            if alone or not broken.size:
                return Recovered(
                    in_shape=shape,
                    out_shape=box.out_shape,
                    matrix=matrix,
                    bias=bias,
                    broken=broken,
                    samples=box.samples,
                    calls=box.calls,
                    spacing=spacing,
                )
        spacing = tuple(min(2 * s, n) for s, n in zip(spacing, shape[1:], strict=True))


class _Known(NamedTuple):
    """What is known of a black box before its matrix is: its bias, and how exactly it answers."""

    bias: Array  # (outputs,)
    rounding: float
    dtype: str


class _Box:
    """The black box, asked about flattened samples; it counts how much it was asked."""

    def __init__(
        self, function: Callable[[Array], npt.ArrayLike], in_shape: tuple[int, ...], dtype: str
    ) -> None:
        self.function = function
        self.in_shape = in_shape
        self.dtype = dtype
        self.out_shape: tuple[int, ...] = ()
        self.samples = 0
        self.calls = 0

    def ask(self, x: Array) -> Array:
        """Return (samples, outputs) for x of shape (samples, inputs), in float64."""
        return np.concatenate([self._call(x[i : i + SAMPLES]) for i in range(0, len(x), SAMPLES)])

    def _call(self, x: Array) -> Array:
        name = "the function's result"
        batch = x.reshape(len(x), *self.in_shape).astype(self.dtype)
        y = numeric(self.function(batch), name)

        # The first call tells the shape of the outputs, and all others have to agree.
        if y.shape[:1] != (len(x),) or (self.calls and y.shape[1:] != self.out_shape):
            sizes = ", ".join(map(str, self.out_shape)) if self.calls else "*out_shape"
            raise ValueError(complain(name, f"shape {y.shape}", f"({len(x)}, {sizes})"))
        wide = np.complex128 if self.dtype in COMPLEX else np.float64
        if not np.can_cast(y.dtype, wide, "same_kind") or not np.isfinite(y).all():
            got = f"{y.dtype}, not all finite"
            raise ValueError(complain(name, got, "real, finite numbers"))
        self.out_shape = y.shape[1:]
        self.calls += 1
        self.samples += len(x)
        return np.asarray(y.reshape(len(x), -1).astype(wide))


def _first_spacing(shape: tuple[int, ...], layer: HasShapes | None) -> tuple[int, ...]:
    """Return one more than the expected window, along each axis beside the channels."""
    geometry = getattr(layer, "layer", layer)  # a TiedDense holds the layer it is made of
    if isinstance(geometry, Windowed) and len(geometry.kernel) == len(shape) - 1:
        # A window is (k - 1) d + 1 cells wide; one cell further no output sees both.
        widths = [(k - 1) * d + 2 for k, d in zip(geometry.kernel, geometry.dilation, strict=True)]
    else:
        widths = [FIRST_SPACING] * (len(shape) - 1)
    return tuple(min(w, n) for w, n in zip(widths, shape[1:], strict=True))


def _colours(shape: tuple[int, ...], spacing: tuple[int, ...]) -> Iterator[Array]:
    """Yield the flattened inputs of each colour: one channel, every `spacing`-th along each axis.

    A colour is a set of inputs that are asked about together, as in Coleman and Moré, *Estimation
    of sparse Jacobian matrices and graph coloring problems* (1983).
    """
    inputs = np.arange(prod(shape)).reshape(shape)
    for channel, *firsts in np.ndindex(shape[0], *spacing):
        members = tuple(slice(f, None, s) for f, s in zip(firsts, spacing, strict=True))
        yield inputs[(channel, *members)].ravel()


def _colour_by_colour(box: _Box, known: _Known, spacing: tuple[int, ...]) -> sp.csr_array | None:
    """Return the matrix, or None if some output saw two inputs of one colour."""
    parts: list[tuple[Array, Array, Array]] = []  # of every colour rows, columns and weights
    n_inputs = prod(box.in_shape)
    colours = list(_colours(box.in_shape, spacing))
    at_once = SAMPLES // 2  # a colour takes two samples
    for first in range(0, len(colours), at_once):
        asked = colours[first : first + at_once]
        questions = np.zeros((len(asked), 2, n_inputs))
        for k, members in enumerate(asked):
            questions[k, 0, members] = 1
            questions[k, 1, members] = np.arange(1, len(members) + 1)

        answers = box.ask(questions.reshape(-1, n_inputs)) - known.bias  # (2 colours, outputs)
        for members, answer in zip(asked, answers.reshape(len(asked), 2, -1), strict=True):
            found = _decoded(answer, members, known)
            if found is None:
                return None
            parts.append(found)
    rows, cols, values = map(np.concatenate, zip(*parts, strict=True))
    return sp.csr_array((values, (rows, cols)), shape=(len(known.bias), n_inputs))


def _one_by_one(box: _Box, known: _Known) -> sp.csr_array:
    """Return the matrix that single inputs tell of, one sample for each."""
    n = prod(box.in_shape)
    parts = []
    for first in range(0, n, SAMPLES):
        questions = np.eye(min(SAMPLES, n - first), n, first)  # (samples, inputs), from `first` on
        answers = box.ask(questions) - known.bias  # (samples, outputs): columns of the matrix
        parts.append(sp.csr_array(np.where(np.abs(answers) > known.rounding, answers, 0.0)))
    return sp.csr_array(sp.vstack(parts, format="csr").T)


def _decoded(answer: Array, members: Array, known: _Known) -> tuple[Array, Array, Array] | None:
    """Return rows, columns and weights of one colour, or None if an output saw two of its inputs.

    `answer`, (2, outputs), is that to all members set to 1 and to all set to 1, 2, 3, ...
    """
    bias, rounding, dtype = known
    ones, numbered = answer
    n = len(members)
    # In the second answer inputs, and with them rounding, are up to n times as large.
    rows = np.flatnonzero((np.abs(ones) > rounding) | (np.abs(numbered) > rounding * n))
    weight = ones[rows]
    times_place = numbered[rows]

    # An answer is (w place + b) - b with place at most n: product, sum and difference are rounded,
    # and so is place * weight below. In all that is less than 4 eps n (|w| + |b|). What the user
    # calls rounding is in both answers, n times as large in one and multiplied by n in the other.
    eps = np.finfo(dtype).eps
    allowed = n * (8 * eps * (np.abs(weight) + np.abs(bias[rows])) + 2 * rounding)
    # Two weights seen together may cancel to 0: then place is infinite or NaN, and not single.
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.rint((times_place / weight).real)
        exact = np.abs(times_place - place * weight) <= allowed
        single = (place >= 1) & (place <= n) & exact
    if not single.all():
        return None
    return rows, members[place.astype(np.intp) - 1], weight


def _not_affine(box: _Box, matrix: sp.csr_array, known: _Known, seed: int | None) -> Array:
    """Return the flattened outputs that random numbers of both signs refute.

    A right answer differs by the rounding of both sums, ``gamma_N (|W| |x| + |b|)`` each, and by
    that of the recovered weights, ``2 u (|w| + |b|)`` for each of them, of which twice is allowed.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(-9, 10, (DRAWS, matrix.shape[1])).astype(known.bias.dtype)
    terms = np.diff(matrix.indptr) + 2  # (outputs,) N: the entries of a row, and two more
    reals = rng.uniform(-1, 1, draws.shape) * np.array(SCALES)[:, None]
    if box.dtype in COMPLEX:
        draws += 1j * rng.integers(-9, 10, draws.shape)  # what conjugates its input is not affine
        reals = reals + 1j * rng.uniform(-1, 1, draws.shape) * np.array(SCALES)[:, None]
        terms *= 5  # as three multiplications a product err, see `effective_roundoff`
    # (samples, inputs), as the function gets them, in the wide dtype
    x = np.concatenate([draws, -draws, reals, -reals]).astype(box.dtype).astype(known.bias.dtype)
    expected = (matrix @ x.T).T + known.bias  # (samples, outputs)

    sizes = (abs(matrix) @ np.abs(x).T).T + np.abs(known.bias)  # |W| |x| + |b|
    seen = (abs(matrix).sign() @ np.abs(x).T).T  # sum of |x| over the inputs an output sees
    unit = float(np.finfo(box.dtype).eps) / 2  # u
    of_sums = 2 * gamma(terms, unit) * sizes
    of_weights = 4 * unit * (sizes + seen * np.abs(known.bias))
    # The user's rounding for each unit of x, in the recovered weights and in the answer, and once
    # in the bias.
    of_user = known.rounding * (1 + 2 * np.abs(x).sum(axis=1, keepdims=True))
    allowed = of_sums + of_weights + of_user
    # The factor is for the rounding of these bounds themselves.
    refuted = np.abs(box.ask(x) - expected) > 1.000001 * allowed
    return np.flatnonzero(refuted.any(axis=0))
