"""assert_backward_matches_dense: an implementation judged; the error names the mistake."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy.typing as npt

from convdense._util.arguments import complain, first_line
from convdense._util.float_formats import COMPLEX
from convdense.certificates import certify
from convdense.certificates.options import Options
from convdense.checks import check
from convdense.diagnosis._diagnose import diagnose
from convdense.geometry import HasShapes, HasWeightShapes, Implementation, Pool
from convdense.verdicts.findings import Judgement

RIGHT_ON_INTEGERS = (
    "nothing is wrong on small integers: it rounds more than its arrays do, "
    "or errs on some inputs only"
)


def assert_backward_matches_dense(  # noqa: PLR0917  (the order that the whole library has)
    layer: HasWeightShapes | Pool,
    implementation: Implementation,
    x: npt.ArrayLike | None = None,
    w: npt.ArrayLike | None = None,
    b: npt.ArrayLike | None = None,
    dy: npt.ArrayLike | None = None,
    **options: Unpack[Options],
) -> None:
    """Raise AssertionError unless an implementation's forward and backward are the dense layer's.

    That is the tied dense layer of the same hyper-parameters, whose gradients are plain
    backpropagation.

    Parameters
    ----------
    layer : Conv, ConvTranspose, LocallyConnected, TieMap, or any pool
    implementation : object with forward(x, w, b) and backward(x, w, dy), or two such functions
        ``forward -> y`` adds the bias b, ``backward -> (dx, dw, db)``, or db=None: then it is not
        judged. For a pool ``forward(x) -> y`` and ``backward(x, dy) -> dx``. A function, or an
        object without a backward, is forward alone: y is judged.
    x, w, b, dy : arrays, or None
        None of them: integers are drawn, and all of a certificate holds (`certify`). Data: every
        entry is within its own derived rounding bound (`check`). Without b, db is not judged;
        without dy, y alone is. A pool takes no data.
    **options
        Those of `certify`, without data: dtype, batch, error, method, seed, shapes, nonfinite,
        threads, accumulator, gradgrad.

    Raises
    ------
    AssertionError
        With the whole verdict, and with the mistake by name where `diagnose` knows it.
    TypeError, ValueError
        For a layer, an implementation or data that cannot be judged.

    Examples
    --------
    >>> from convdense import Conv, convolve, convolve_backward
    >>> conv = Conv((2, 5, 6), out_channels=3, kernel=(2, 3), padding=1)
    >>> def forward(x, w, b):
    ...     return convolve(conv, x, w, b)
    >>> def backward(x, w, dy):
    ...     return convolve_backward(conv, x, w, dy)
    >>> assert_backward_matches_dense(conv, (forward, backward))
    >>> def reversed_dw(x, w, dy):
    ...     dx, dw, db = convolve_backward(conv, x, w, dy)
    ...     return dx, dw[:, :, ::-1, ::-1], db
    >>> assert_backward_matches_dense(conv, (forward, reversed_dw))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: does not hold: dw wrong at ...
    Conv((2, 5, 6), ...): forward against direct convolution
      y   equal
      dx  equal
      dw  wrong, worst at ...
      db  equal
    ...
    dw: the kernel is reversed on all axes
    ...
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    verdict = judge(layer, implementation, {"x": x, "w": w, "b": b, "dy": dy}, options)
    if not verdict:
        raise AssertionError(explained(verdict, layer, implementation))


def judge(
    layer: HasWeightShapes | Pool,
    implementation: Implementation | None,
    data: Mapping[str, npt.ArrayLike | None],
    options: Options,
) -> Judgement:
    """Return the certificate of an implementation, or with data the report on it."""
    # Given None, `certify` and `check` would judge the tied dense layer itself, and find it right.
    if implementation is None:
        needs = "an object with forward and backward, or a pair of such functions"
        raise TypeError(complain("implementation", "None", needs))
    given = [name for name, array in data.items() if array is not None]
    if not given:
        return certify(layer, implementation, **options)

    if isinstance(layer, Pool):
        do = "leave it out: a pool is certified on integers"
        raise TypeError(complain(given[0], "data", "none for a pool", do))
    if options:
        name, value = next(iter(options.items()))
        got = f"{value!r} beside {given[0]}"
        raise TypeError(complain(name, got, "no data", f"leave {name} out"))
    x, w = data["x"], data["w"]
    if x is None or w is None:
        missing = "x" if x is None else "w"
        got, needs = f"None with {given[0]}", "an array beside the others"
        raise TypeError(complain(missing, got, needs, "give x, w and dy, or no data at all"))
    return check(layer, x, w, data["b"], data["dy"], implementation=implementation)


def explained(verdict: Judgement, layer: HasShapes, implementation: Implementation) -> str:
    """Return a verdict that does not hold with the diagnosis below it."""
    dtype = getattr(verdict, "dtype", "float64")  # a report has none
    return f"{verdict}\n\n{diagnosis(layer, implementation, dtype)}"


def diagnosis(layer: HasShapes, implementation: Implementation, dtype: str = "float64") -> str:
    """Return what `diagnose` says of an implementation that was refused, or why it says nothing."""
    candidate: Any = layer  # of any type: `diagnose` refuses what it does not know, and says why
    try:
        found = diagnose(candidate, implementation, dtype="c16" if dtype in COMPLEX else "f8")
    except Exception as error:  # whatever it is: the verdict must not be lost for want of a name
        return f"not diagnosed: {first_line(error)}"
    nothing_wrong = bool(found)
    return RIGHT_ON_INTEGERS if nothing_wrong else str(found)
