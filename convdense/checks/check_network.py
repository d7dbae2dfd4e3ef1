"""check for pools and networks: the whole by bounds carried through, and layer by layer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import HasShapes, Layer, Pool, paired_operands
from convdense.layers.base import floating, pulled, require_real
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import Slope, Value, backward_error, forward_error
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
    alone, on the input that it has in the direct form, and the worst finding is added.
    """
    net = network(layer) if isinstance(layer, Pool) else layer
    backward = dy is not None
    x, dy, _ = paired_operands(net, x, dy_or_zeros(net, x, dy))
    x, dy = floating(x), floating(dy)
    require_real({"x": x, "dy": dy, **net.parameters}, "check")

    # NumPy need not warn: overflow of the direct form is refused, any other is seen in comparing.
    with np.errstate(over="ignore", invalid="ignore"):
        _refuse_overflow(net.direct(), x)
        findings = [
            _compare_whole(name, *result, LOOSE if name == "y" else FLIPPABLE)
            for name, result in _results(net, x, dy, backward=backward).items()
        ]
        parts = _parts(net, x, dy, "")
        each = [found for part in parts for found in _judge_part(part, backward=backward)]
    # what is wrong before what is undecided; then the largest share of what is allowed
    worst = max(each, key=lambda f: (f.refuted, f.verdict == UNDECIDED, f.share))
    return [*findings, worst]


def dy_or_zeros(layer: HasShapes, x: Array, dy: Array | None) -> Array:
    """Return dy, or where it is absent zeros, with a batch axis if, and only if, x has one."""
    if dy is not None:
        return dy
    batch = x.shape[: x.ndim - len(layer.in_shape)]  # empty for one sample
    return np.zeros((*batch, *layer.out_shape), x.dtype)


def _results(
    layer: Layer, x: Array, dy: Array, *, backward: bool
) -> dict[str, tuple[Array, Array, Array]]:
    """Return, by name, what a layer gives, what its counterpart gives, what they may differ by."""
    counterpart = direct_counterpart(layer)
    entering = Value(x, np.zeros(x.shape))  # it has no error
    # Both forms round, each by this error at most: they may differ by twice that.
    allowed = 2 * forward_error(layer, entering).error
    results = {"y": (layer.forward(x), counterpart.forward(x), allowed)}
    if not backward:
        return results

    # Unlike the error of dx, the bounds on the parameters' gradients are doubled already.
    exact = Slope(dy, np.zeros(dy.shape), np.zeros(dy.shape, bool))
    slope, bounds = backward_error(layer, entering, exact)
    # infinite where rounding may choose the branch
    allowed_dx = np.where(slope.undecided, np.inf, 2 * slope.error)
    dx, gradients = pulled(layer, x, dy)
    expected_dx, expected = pulled(counterpart, x, dy)
    results["dx"] = (dx, expected_dx, allowed_dx)
    return results | {name: (gradients[name], expected[name], bounds[name]) for name in expected}


def _compare_whole(name: str, got: Array, expected: Array, bound: Array, why: str) -> Finding:
    """Compare one quantity of the whole; a bound above its largest value decides nothing.

    `why` says where infinite bounds come from, unless some are merely loose: then that is said.
    """
    bound = _unbounded_where_nan(bound)
    largest = max(float(np.abs(a).max(initial=0)) for a in (got, expected))
    loose = (bound > largest) & np.isfinite(bound) & (largest > 0)
    bound = np.where(loose, np.inf, bound)
    return compare(name, got, expected, bound, why=LOOSE if loose.any() else why)


def _unbounded_where_nan(bound: Array) -> Array:
    """Return a bound that is infinite where its computation met inf * 0 or inf - inf."""
    return np.where(np.isnan(bound), np.inf, bound)


class Part(NamedTuple):
    """A layer somewhere in a network, what enters it, and the gradient that is handed to it."""

    place: str  # "2", or "2.0" for the first layer inside layer 2
    layer: Layer
    x: Array
    dy: Array


def _parts(net: Network, x: Array, dy: Array, prefix: str) -> Iterator[Part]:
    """Yield every layer, the last first, those inside others too, with x and dy of direct forms."""
    counterparts = [direct_counterpart(layer) for layer in net.layers]
    values = [x]  # what enters each layer, and what leaves the last
    for counterpart in counterparts:
        values.append(counterpart.forward(values[-1]))

    for i, layer in reversed(list(enumerate(net.layers))):
        place = f"{prefix}{i}"
        yield Part(place, layer, values[i], dy)
        if isinstance(layer, (Network, ResidualSum)):
            inner = layer if isinstance(layer, Network) else layer.inner
            yield from _parts(inner, values[i], dy, f"{place}.")
        dy, _ = pulled(counterparts[i], values[i], dy)  # for the layer before


def _judge_part(part: Part, *, backward: bool) -> Iterator[Finding]:
    """Yield how a layer and its direct counterpart compare on the same input, within its bound."""
    place, layer, x, dy = part
    for name, (got, right, bound) in _results(layer, x, dy, backward=backward).items():
        finding = compare(LAYERS, got, right, _unbounded_where_nan(bound), why=FLIPPABLE)
        if finding.verdict != EQUAL:
            note = f"{name} of layer {place}" + (f"; {finding.note}" if finding.note else "")
            finding = replace(finding, note=note)
        yield finding


def _refuse_overflow(direct: Network, x: Array) -> None:
    """Refuse what overflows in the direct form: infinity bounds nothing."""
    for i, value in enumerate(direct.trace(x)):
        if not np.isfinite(value).all():
            bad = value[~np.isfinite(value)].flat[0]
            # values before layer i: x itself is finite, so i is at least 1
            got = f"{bad} in the output of layer {i - 1}, {direct.layers[i - 1]!r}"
            needs = f"numbers that stay finite in {value.dtype}"
            raise ValueError(complain("x", got, needs, "scale the data down, or use float64"))
