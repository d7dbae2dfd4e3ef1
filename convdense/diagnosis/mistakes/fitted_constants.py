"""Mistakes with a constant, which is solved for: a factor, weight decay, a step taken, a limit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Call, Mistake
from convdense.diagnosis.mistakes.observations import RIGHT, WHOLE, Observations, multiple
from convdense.direct.conv import convolve, convolve_backward
from convdense.geometry import Conv, Geometry
from convdense.structure._tie import tie


def fitted(layer: Geometry, observed: Observations) -> str:
    """Return what explains a quantity with one constant in every draw; empty if nothing does."""
    if not observed.comparable:
        return ""
    got, right = _joined(observed, observed.returned), _joined(observed, observed.expected)
    sentence = multiplied(got, right)
    if sentence or observed.part is not WHOLE:
        return sentence
    return _added(layer, observed, got, right) or clipped(got, right)


def _joined(observed: Observations, arrays: Sequence[npt.ArrayLike]) -> Array:
    """Return the part of every draw in one flat array."""
    return np.concatenate([np.asarray(array)[observed.part].ravel() for array in arrays])


def multiplied(got: Array, right: Array) -> str:
    """Return by which number, the same in every draw, all is multiplied; empty if by none."""
    factor = multiple(got, right)
    right_but_for_rounding = factor is None or abs(factor - 1) <= RIGHT
    return "" if right_but_for_rounding else f"it is multiplied by {factor:.6g}"


def _added(layer: Geometry, observed: Observations, got: Array, right: Array) -> str:
    """Return what is added a number of times, the weights or the bias; empty if nothing is."""
    if observed.name == "y":
        right_layer = Mistake("", tie(layer))
        bare = [right_layer.run(call.without_bias, "y") for call in observed.calls]
        without_bias = _joined(observed, bare)
        times = multiple(got, right - without_bias, without_bias)
        if times is not None:
            return f"the bias is added {times:.6g} times"
        factor = multiple(got, without_bias, right - without_bias)
        if factor is not None:
            return f"it is multiplied by {factor:.6g} before the bias is added"
        return _padded(layer, observed, got, right)

    if observed.name == "dx":
        step = _updated(layer, observed, got, right)
        before = "the weights were updated before"
        return "" if step is None else f"{before}: {step:.6g} times dw is added to them"

    if observed.name == "dw":
        sentence = _padded(layer, observed, got, right)
        if sentence:
            return sentence
        word, parameters = "weights", [call.w for call in observed.calls]
    else:
        word, parameters = "bias", [call.b for call in observed.calls]
    decay = multiple(got, _joined(observed, parameters), right)
    return "" if decay is None else f"{decay:.6g} times the {word} is added"


def _padded(layer: Geometry, observed: Observations, got: Array, right: Array) -> str:
    """Return which number the padding holds if that explains y or dw."""
    modes = set(getattr(layer, "padding_modes", ()))
    if not isinstance(layer, Conv) or "zeros" not in modes or not any(map(any, layer.padding)):
        return ""
    with_ones = replace(layer, padding_value=1.0)
    of_padding = []
    for call in observed.calls:  # what padded cells that hold 1 add: x and the bias are 0
        if observed.name == "y":
            of_padding.append(convolve(with_ones, 0 * call.x, call.w, 0 * call.b))
        else:
            of_padding.append(convolve_backward(with_ones, 0 * call.x, call.w, call.dy)[1])
    more = multiple(got, _joined(observed, of_padding), right)
    if more is None:
        return ""
    number = layer.padding_value
    return f"the padding holds a constant, {number + more:.6g} for {number:g}"


def _updated(layer: Geometry, observed: Observations, got: Array, right: Array) -> float | None:
    """Return c if dx is that of the weights ``w + c dw``."""
    right_layer = Mistake("", tie(layer))
    gradients = [right_layer.run(call, "dw") for call in observed.calls]

    def dx_of(change: Callable[[Call, Array], Call]) -> Array:
        pairs = zip(observed.calls, gradients, strict=True)
        return np.concatenate([right_layer.run(change(c, dw), "dx").ravel() for c, dw in pairs])

    # dx is linear in the weights: got = right + c of.
    of = dx_of(lambda call, dw: call._replace(w=dw))
    met = of != 0
    guess = float(np.median((got - right)[met] / of[met])) if met.any() else 0.0

    def in_size(call: Call, dw: Array) -> Call:
        weights = np.abs(call.w) + abs(guess) * np.abs(dw)
        return call._replace(w=weights, dy=np.abs(call.dy))

    terms = int(tie(layer).counts().inputs.max())
    return multiple(got, of, right, terms * dx_of(in_size))


def clipped(got: Array, right: Array) -> str:
    """Return the limits at which values were cut, the same in every draw; empty if none were."""
    low, high = got.min(), got.max()
    cut = np.clip(right, low, high)
    if low == high or not np.array_equal(cut, got) or (cut != right).sum() < 2:
        return ""
    if high >= right.max():
        limits = f"at least {low:.6g}"
    elif low == right.min():
        limits = f"at most {high:.6g}"
    else:
        limits = f"[{low:.6g}, {high:.6g}]"
    only_signs = low == -high and (np.abs(got) == high)[right != 0].all()
    signs = f", or its sign is taken {high:.6g} times" if only_signs else ""
    return f"it is clipped to {limits}{signs}"
