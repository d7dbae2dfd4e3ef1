"""Double backward: the derivatives of dx and dw, which are products of the same layer."""

from typing import Any

import numpy as np

from convdense._util.arguments import complain_of
from convdense._util.float_formats import FORMATS
from convdense.certificates.integer_trials import Setup, draw_operands
from convdense.geometry import HasShapes
from convdense.implementations.evaluators import caught, direct_evaluator
from convdense.structure._tie import tie
from convdense.verdicts.comparison import Raised, compare
from convdense.verdicts.findings import EQUAL, RAISED, SHAPE, Finding

DOUBLE_BACKWARD = "double backward"


def needs_double_backward(implementation: object) -> None:
    """Refuse an implementation without the method double_backward(x, w, dy, v, u)."""
    if not callable(getattr(implementation, "double_backward", None)):
        needs = "an object with double_backward(x, w, dy, v, u), for gradgrad=True"
        do = "write implementation(f), of convdense.adapters.torch"
        raise TypeError(complain_of("implementation", implementation, needs, do))


def double_backward(layer: HasShapes, implementation: Any, setup: Setup) -> Finding:
    """Judge the gradients of <dx, v> = <dy, y(v, w)> and of <dw, u> = <dy, y(x, u)>, on integers.

    They are dw of v and y of v, without bias and what the padding holds; dx of u, and y of u.
    """
    dtype, batch, ranges, seed, _ = setup
    by = direct_evaluator(layer).run
    rng = np.random.default_rng((seed, 7))  # a stream of its own
    x, w, b, dy = draw_operands(rng, tie(layer), batch, ranges, dtype)
    v, u, _, _ = draw_operands(rng, tie(layer), batch, ranges, dtype)
    got = caught(implementation.double_backward, *(a.copy() for a in (x, w, dy, v, u)))
    if isinstance(got, Raised):
        return Finding(DOUBLE_BACKWARD, RAISED, note=str(got))
    if not isinstance(got, (tuple, list)) or len(got) != 4:
        return Finding(DOUBLE_BACKWARD, SHAPE, note=f"{type(got).__name__} where four are needed")
    y_of_v, _, dw_of_v, _ = by(v, w, b, dy)
    y_of_0, _, dw_of_0, _ = by(0 * v, w, b, dy)
    y_of_u, dx_of_u, _, _ = by(x, u, 0 * b, dy)
    names = "<dx, v> by w", "<dx, v> by dy", "<dw, u> by x", "<dw, u> by dy"
    due = dw_of_v - dw_of_0, y_of_v - y_of_0, dx_of_u, y_of_u
    for name, result, right in zip(names, got, due, strict=True):
        finding = compare(DOUBLE_BACKWARD, result, right, dtype=FORMATS[dtype].holder)
        if not finding.holds:
            return Finding(
                DOUBLE_BACKWARD, finding.verdict, note=f"{name}: {finding.worst or finding.note}"
            )
    return Finding(DOUBLE_BACKWARD, EQUAL)
