"""check for pools and networks: this data, in floats; the whole by bounds carried through, and layer by layer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import Pool, paired_operands
from convdense.layers.base import floating, pulled
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    Slope,
    Value,
    backward_error,
    backward_errors,
    forward_error,
    forward_errors,
)
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import EQUAL, UNDECIDED, Finding

FLIPPABLE = "entries pass a non-differentiable point whose branch rounding may flip"
LOOSE = "entries have a bound as large as the values"
LAYERS = "layers"  # the name of the finding that every layer has its part in


def judge_network(layer: Pool | Network, x: Array, dy: Array | None) -> list[Finding]:
    """Compare dense layers and |x| with the direct counterpart; without dy, only what goes forward.

    Bounds that are carried through many layers grow loose: beside the whole, every layer is judged
    on the same input.
    """
    net, asked = network(layer) if isinstance(layer, Pool) else layer, dy is not None
    if dy is None:
        dy = np.zeros((*x.shape[: x.ndim - len(net.in_shape)], *net.out_shape), x.dtype)
    x, dy = map(floating, paired_operands(net, x, dy)[:2])
    for name, array in {"x": x, "dy": dy, **net.parameters}.items():
        if array.dtype.kind == "c":
            raise TypeError(
                complain(
                    name, f"dtype {array.dtype}", "real numbers", "check complex layers one by one"
                )
            )
    direct = net.direct()
    with np.errstate(over="ignore", invalid="ignore"):  # said by _finite, or judged
        _finite(direct, x)
        values = forward_errors(net.layers, Value(x, np.zeros(x.shape)))
        findings = [_whole("y", net.forward(x), direct.forward(x), 2 * values[-1].error, LOOSE)]
        if asked:
            slope, bounds = backward_errors(net.layers, values, _exact(dy))
            (dx, own), (expected, gradients) = net.backward(x, dy), direct.backward(x, dy)
            allowed = np.where(slope.undecided, np.inf, 2 * slope.error)
            findings.append(_whole("dx", dx, expected, allowed, FLIPPABLE))
            findings += [
                _whole(name, own[name], g, bounds[name], FLIPPABLE) for name, g in gradients.items()
            ]
        each = [found for part in _parts(net, x, dy, "") for found in _one(*part, asked)]
    return [*findings, max(each, key=_badness)]


def _badness(finding: Finding) -> tuple[bool, bool, float]:
    """Return what tells the worst finding: wrong before undecided before the largest share of a bound."""
    undecided = finding.verdict == UNDECIDED
    return not (finding.holds or undecided), undecided, finding.share


def _whole(name: str, got: Array, expected: Array, bound: Array, why: str) -> Finding:
    """Compare one quantity of the whole network; a bound as large as the largest value decides nothing."""
    bound = np.where(np.isnan(bound), np.inf, bound)
    largest = max(float(np.abs(a).max(initial=0)) for a in (got, expected))
    loose = (bound > largest) & np.isfinite(bound) & (bound > 0) & (largest > 0)
    return compare(
        name, got, expected, np.where(loose, np.inf, bound), why=LOOSE if loose.any() else why
    )


def _parts(
    net: Network, x: Array, dy: Array, place: str
) -> Iterator[tuple[str, Any, Array, Array]]:
    """Yield every layer, those inside others too, with what enters it and what is handed to it by the direct form."""
    values, counterparts = [x], [direct_counterpart(layer) for layer in net.layers]
    for counterpart in counterparts:
        values.append(counterpart.forward(values[-1]))
    for i, layer in reversed(list(enumerate(net.layers))):
        here = f"{place}{i}"
        yield here, layer, values[i], dy
        if isinstance(layer, (Network, ResidualSum)):
            inner = layer if isinstance(layer, Network) else layer.inner
            yield from _parts(inner, values[i], dy, f"{here}.")
        dy, _ = pulled(counterparts[i], values[i], dy)


def _one(place: str, layer: Any, x: Array, dy: Array, asked: bool) -> Iterator[Finding]:
    """Yield what one layer and its direct counterpart make of the same input, each within its own bound."""
    counterpart, entering = direct_counterpart(layer), Value(x, np.zeros(x.shape))
    pairs = {
        "y": (layer.forward(x), counterpart.forward(x), 2 * forward_error(layer, entering).error)
    }
    if asked:
        slope, bounds = backward_error(layer, entering, _exact(dy))
        (dx, own), (expected, gradients) = pulled(layer, x, dy), pulled(counterpart, x, dy)
        pairs["dx"] = (dx, expected, np.where(slope.undecided, np.inf, 2 * slope.error))
        pairs |= {name: (own[name], g, bounds[name]) for name, g in gradients.items()}
    for name, (got, expected, bound) in pairs.items():
        finding = compare(
            LAYERS, got, expected, np.where(np.isnan(bound), np.inf, bound), why=FLIPPABLE
        )
        said = f"{name} of layer {place}" + (f"; {finding.note}" if finding.note else "")
        yield finding if finding.verdict == EQUAL else replace(finding, note=said)


def _exact(dy: Array) -> Slope:
    return Slope(dy, np.zeros(dy.shape), np.zeros(dy.shape, bool))


def _finite(direct: Network, x: Array) -> None:
    """Refuse what overflows in the direct form: infinity bounds nothing."""
    for i, value in enumerate(direct.trace(x)):
        if not np.isfinite(value).all():
            got = f"{value[~np.isfinite(value)].flat[0]} in the output of layer {i - 1}, {direct.layers[i - 1]!r}"
            do = "scale the data down, or use float64"
            raise ValueError(complain("x", got, f"numbers that stay finite in {value.dtype}", do))
