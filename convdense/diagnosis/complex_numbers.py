"""Mistakes with complex numbers: what is conjugated and must not be, or the other way round."""

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Call
from convdense.diagnosis.mistakes.observations import Observations
from convdense.implementations.evaluators import Evaluator
from convdense.verdicts.findings import QUANTITIES

# of each quantity, the operands that enter it, and what to say of one that is conjugated wrongly
_OPERANDS = {
    "y": {"w": "w is conjugated", "x": "x is conjugated", "b": "b is conjugated"},
    "dx": {"w": "w is not conjugated: W^T dy for W^H dy", "dy": "dy is conjugated"},
    "dw": {"x": "x is not conjugated: sums of x dy for conj(x) dy", "dy": "dy is conjugated"},
    "db": {},
}


def conjugation_mistake(observed: Observations, by: Evaluator) -> str:
    """Return the mistake that gives exactly what came in every draw; empty if none does."""
    which = QUANTITIES.index(observed.name)

    def conjugated(call: Call, operand: str) -> Array:
        changed = call._replace(**{operand: getattr(call, operand).conj()})
        return np.asarray(by.run(*changed)[which])

    def fits(values: list[Array]) -> bool:
        pairs = zip(observed.returned, values, strict=True)
        return all(isinstance(got, np.ndarray) and np.array_equal(got, v) for got, v in pairs)

    for operand, sentence in _OPERANDS[observed.name].items():
        if fits([conjugated(call, operand) for call in observed.calls]):
            return sentence
    if fits([np.conj(right) for right in observed.expected]):
        return "the result is conjugated"
    dropped = fits([np.real(right) for right in observed.expected])
    return "the imaginary part is dropped" if dropped else ""
