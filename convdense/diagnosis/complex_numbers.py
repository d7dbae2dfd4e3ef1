"""Mistakes with complex numbers: what is conjugated and must not be, or the other way round."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense._util.foreign_objects import detached
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations
from convdense.geometry.protocols import Implementation
from convdense.implementations.evaluators import Evaluator, functions
from convdense.verdicts.findings import QUANTITIES

# Of each quantity: the operand that enters conjugated where it must not, or not where it must.
_OPERANDS = {
    "y": {"w": "the weights are conjugated", "x": "x is conjugated", "b": "b is conjugated"},
    "dx": {
        "w": "the weights are not conjugated: W^T dy in place of W^H dy",
        "dy": "dy is conjugated: W^H conj(dy) in place of W^H dy",
    },
    "dw": {
        "x": "x is not conjugated: sums of x dy in place of conj(x) dy",
        "dy": "dy is conjugated: sums of conj(x dy) in place of conj(x) dy",
    },
    "db": {},
}


def conjugation_mistake(observed: Observations, by: Evaluator) -> str:
    """Return the mistake that gives exactly what came in every draw; empty if none does."""
    for sentence, value in _mistakes(observed.name, by):
        draws = zip(observed.returned, observed.calls, strict=True)
        if all(isinstance(got, np.ndarray) and np.array_equal(got, value(c)) for got, c in draws):
            return sentence
    return ""


def _mistakes(name: str, by: Evaluator) -> Iterator[tuple[str, Callable[[Call], Array]]]:
    """Yield sentences, and what a quantity is then in a call."""
    which = QUANTITIES.index(name)

    def right(call: Call) -> Array:
        return np.asarray(by.run(*call)[which])

    def conjugated(operand: str) -> Callable[[Call], Array]:
        return lambda call: right(call._replace(**{operand: getattr(call, operand).conj()}))

    for operand, sentence in _OPERANDS[name].items():
        yield sentence, conjugated(operand)
    yield "the result is conjugated", lambda call: right(call).conj()
    yield "the imaginary part is dropped", lambda call: right(call).real


def on_reals(implementation: Implementation) -> Implementation:
    """Return an implementation on complex numbers as one on real numbers, which it is given alone.

    Results that are not real after all stay complex.
    """
    forward, backward, _ = functions(implementation, "an object with forward and backward")

    def forward_on_reals(*operands: Array) -> Any:
        return _real(forward(*map(_complex, operands)))

    def backward_on_reals(*operands: Array) -> Any:
        gradients = backward(*map(_complex, operands))
        return tuple(map(_real, gradients)) if isinstance(gradients, (tuple, list)) else gradients

    return forward_on_reals, backward_on_reals


def _complex(operand: Array) -> Array:
    return operand.astype(np.complex128)


def _real(result: Any) -> Any:
    array = detached(result)
    is_complex = isinstance(array, np.ndarray) and array.dtype.kind == "c"
    return array.real if is_complex and not array.imag.any() else array
