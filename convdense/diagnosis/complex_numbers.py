"""Mistakes with complex numbers: what is conjugated and must not be, or the other way round."""

import numpy as np

from convdense.diagnosis.mistakes.observations import Observations
from convdense.implementations.evaluators import Evaluator
from convdense.verdicts.findings import QUANTITIES

# of each quantity, what to say of an operand that is conjugated wrongly
_OPERANDS = {
    "y": {"w": "w is conjugated", "x": "x is conjugated", "b": "b is conjugated"},
    "dx": {"w": "w is not conjugated: W^T dy for W^H dy", "dy": "dy is conjugated"},
    "dw": {"x": "x is not conjugated: sums of x dy for conj(x) dy", "dy": "dy is conjugated"},
    "db": {},
}


def conjugation_mistake(observed: Observations, by: Evaluator) -> str:
    """Return the mistake that gives exactly what came in every draw; empty if none does."""
    given = {"the result is conjugated": [right.conj() for right in observed.expected]}
    given["the imaginary part is dropped"] = [right.real for right in observed.expected]
    for operand, sentence in _OPERANDS[observed.name].items():
        changed = [c._replace(**{operand: getattr(c, operand).conj()}) for c in observed.calls]
        given[sentence] = [by.run(*call)[QUANTITIES.index(observed.name)] for call in changed]
    for sentence, values in given.items():
        pairs = zip(observed.returned, values, strict=True)
        if all(isinstance(got, np.ndarray) and np.array_equal(got, v) for got, v in pairs):
            return sentence
    return ""
