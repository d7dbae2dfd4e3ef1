"""check for pools and networks: this data, in floats, each number judged by a bound carried through the layers."""

import numpy as np

from convdense.arguments import Array, complain
from convdense.build import network
from convdense.checks.bounds import unit_roundoff
from convdense.checks.propagate import Rounding, Slope, Value, backward_errors, forward_errors
from convdense.checks.report import Finding, compare
from convdense.geometry import Pool, paired_operands
from convdense.networks import Network

KINK = "entries hang on a kink whose side rounding may change"


def judge_network(layer: Pool | Network, x: Array, dy: Array | None) -> list[Finding]:
    """Compare dense layers and |x| with the direct twin; without dy, y alone."""
    net = network(layer) if isinstance(layer, Pool) else layer
    asked = dy is not None
    if dy is None:
        dy = np.zeros((*x.shape[: x.ndim - len(net.in_shape)], *net.out_shape), x.dtype)
    x, dy, _ = paired_operands(net, x, dy)
    arrays = {"x": x, "dy": dy, **net.parameters}
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            raise TypeError(complain(name, f"dtype {array.dtype}", "real numbers", "check complex layers one by one"))
    dtypes = [array.dtype for array in arrays.values()]
    floats = [d for d in dtypes if d.kind == "f"] or [np.dtype("float64")]
    coarsest = max(floats, key=unit_roundoff)
    rounding = Rounding(unit_roundoff(coarsest), float(np.finfo(coarsest).smallest_subnormal))
    direct = net.direct()
    values = forward_errors(net.layers, Value(x, np.zeros(x.shape)), rounding)
    findings = [compare("y", net.forward(x), direct.forward(x), 2 * values[-1].error)]
    if not asked:
        return findings
    start = Slope(dy, np.zeros(dy.shape), np.zeros(dy.shape, bool))
    slope, bounds = backward_errors(net.layers, values, start, rounding)
    (dx, own), (expected, gradients) = net.backward(x, dy), direct.backward(x, dy)
    allowed = np.where(slope.undecided, np.inf, 2 * slope.error)
    findings.append(compare("dx", dx, expected, allowed, why=KINK))
    findings += [compare(name, own[name], g, bounds[name], why=KINK) for name, g in gradients.items()]
    return findings
