"""Evaluators: ways to compute y, dx, dw and db of a layer; what is judged is one against another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convdense._util.arguments import Array, complain
from convdense.direct.conv import convolve, convolve_backward
from convdense.geometry import ConvTranspose, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.verdicts.comparison import Raised

Operands = tuple[Array, Array, Array | None, Array]
Results = tuple[Any, ...]
DENSE, DIRECT = "tied dense layer", "direct convolution"
DENSE_NETWORK, DIRECT_COUNTERPART = "dense layers and |x|", "direct counterpart"


@dataclass(frozen=True)
class Evaluator:
    """One way to compute everything: its name, and ``run(x, w, b, dy) -> (y, dx, dw, db)``."""

    name: str
    run: Callable[[Array, Array, Array | None, Array], Results]


def dense_evaluator(layer: Any) -> Evaluator:
    """Return the tied dense layer: the stored matrix, its adjoint, and the sums over edges."""

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        tied = TiedDense(layer, w, b)
        return (tied.forward(x), *tied.backward(x, dy))

    return Evaluator(DENSE, run)


def direct_evaluator(layer: Any) -> Evaluator:
    """Return direct convolution; layers it does not know have the tied dense layer as their definition."""
    if not isinstance(layer, (Windowed, ConvTranspose)):
        return dense_evaluator(layer)

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        return (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy))

    return Evaluator(DIRECT, run)


def magnitude_evaluator(layer: Any) -> Evaluator:
    """Return an evaluator that adds up magnitudes when it is given magnitudes: coefficients without their signs."""
    evaluator = direct_evaluator(layer)
    return evaluator if evaluator.name == DIRECT else dense_evaluator(tie(layer).absolute)


def implementation_evaluator(implementation: Any) -> Evaluator:
    """Return the user's implementation: an object with forward and backward, or two such functions.

    ``forward(x, w, b) -> y`` and ``backward(x, w, dy) -> (dx, dw, db)``; a db of None is not
    judged.
    """
    needs = "an object with forward(x, w, b) and backward(x, w, dy), or a pair of such functions"
    forward, backward, name = functions(implementation, needs)

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        y, gradients = caught(forward, x, w, b), caught(backward, x, w, dy)
        if isinstance(gradients, Raised):
            return (y, *[gradients] * 3)
        if not isinstance(gradients, (tuple, list)) or len(gradients) != 3:
            raise TypeError(
                complain(
                    "backward", type(gradients).__name__, "three results: dx, dw and db (or None)"
                )
            )
        return (y, *gradients)

    return Evaluator(name, run)


def caught(function: Callable[..., Any], *operands: Any) -> Any:
    """Return what the user's function returns, or what it raised: that is a verdict as well."""
    try:
        return function(*operands)
    except Exception as error:
        return Raised(error)


def pool_functions(implementation: Any) -> tuple[Callable[..., Any], Callable[..., Any], str]:
    """Return forward(x) and backward(x, dy) of the user's pool, and its name."""
    needs = "an object with forward(x) -> y and backward(x, dy) -> dx, or a pair of such functions, for a pool"
    return functions(implementation, needs)


def functions(
    implementation: Any, needs: str
) -> tuple[Callable[..., Any], Callable[..., Any], str]:
    """Return forward and backward of an implementation, an object or a pair of functions, and its name."""
    pair = isinstance(implementation, (tuple, list)) and len(implementation) == 2
    forward, backward = (
        implementation
        if pair
        else (getattr(implementation, n, None) for n in ("forward", "backward"))
    )
    if not callable(forward) or not callable(backward):
        raise TypeError(complain("implementation", repr(implementation), needs))
    named = forward if pair else implementation
    name = str(getattr(named, "__name__", type(named).__name__))
    return forward, backward, "implementation" if name == "<lambda>" else name


def two_evaluators(layer: Any, implementation: Any) -> tuple[Evaluator, Evaluator]:
    """Return the evaluator to judge and the one to judge it by."""
    by = direct_evaluator(layer)
    if implementation is not None:
        return implementation_evaluator(implementation), by
    if by.name == DENSE:
        needs = "a Conv, ConvTranspose or LocallyConnected, which have a direct form"
        raise TypeError(
            complain(
                "layer", repr(layer), needs, "or give an implementation to judge by this layer"
            )
        )
    return dense_evaluator(layer), by


def needs_implementation(evaluator: str, implementation: Any) -> None:
    """Refuse to run a verdict on an implementation again without it."""
    if evaluator not in (DENSE, DENSE_NETWORK) and implementation is None:
        do = "call rerun(implementation)"
        raise TypeError(
            complain("implementation", "None", f"{evaluator}, which this is a verdict on", do)
        )
