"""Mistakes with a constant in them, which is solved for: a factor, weight decay, a step of the optimiser, a limit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.mistake import Call, Mistake
from convdense.diagnosis.mistakes.observations import RIGHT, WHOLE, Observations, multiple
from convdense.geometry import Geometry
from convdense.structure._tie import tie


def fitted(layer: Geometry, observed: Observations) -> str:
    """Return what explains a quantity with one constant, the same in every draw; empty if nothing does."""
    if not observed.comparable:
        return ""
    got, right = (_joined(observed, arrays) for arrays in (observed.returned, observed.expected))
    if sentence := multiplied(got, right):
        return sentence
    if observed.part is not WHOLE:
        return ""
    return _added(layer, observed, got, right) or clipped(got, right)


def multiplied(got: Array, right: Array) -> str:
    """Return by which number, the same in every draw, what is right is multiplied; empty if by none."""
    factor = multiple(got, right)
    right_but_for_rounding = factor is None or abs(factor - 1) <= RIGHT
    return "" if right_but_for_rounding else f"it is multiplied by {factor:.6g}"


def _added(layer: Geometry, observed: Observations, got: Array, right: Array) -> str:
    """Return what is added a number of times: the weights, the bias, or to the weights of dx their gradient."""
    if observed.name in ("dw", "db"):
        of, word = ("w", "weights") if observed.name == "dw" else ("b", "bias")
        decay = multiple(
            got, _joined(observed, [getattr(call, of) for call in observed.calls]), right
        )
        return "" if decay is None else f"{decay:.6g} times the {word} is added"
    if observed.name == "y":
        bare = _joined(
            observed,
            [Mistake("", tie(layer)).run(c._replace(b=0 * c.b), "y") for c in observed.calls],
        )
        times = multiple(got, right - bare, bare)
        return "" if times is None else f"the bias is added {times:.6g} times"
    step = _updated(layer, observed, got, right)
    return (
        ""
        if step is None
        else f"the weights were updated before: {step:.6g} times dw is added to them"
    )


def _joined(observed: Observations, arrays: Sequence[Any]) -> Array:
    return np.concatenate([np.asarray(a)[observed.part].ravel() for a in arrays])


def _updated(layer: Geometry, observed: Observations, got: Array, right: Array) -> float | None:
    """Return c if dx is that of the weights ``w + c dw``."""
    right_layer = Mistake("", tie(layer))
    dw = [right_layer.run(call, "dw") for call in observed.calls]

    def joined(of: Callable[[Call, Array], Call]) -> Array:
        return np.concatenate(
            [
                right_layer.run(of(c, g), "dx").ravel()
                for c, g in zip(observed.calls, dw, strict=True)
            ]
        )

    of = joined(lambda call, g: call._replace(w=g))
    guess = float(np.median((got - right)[of != 0] / of[of != 0])) if (of != 0).any() else 0.0
    sizes = joined(
        lambda call, g: call._replace(w=np.abs(call.w) + abs(guess) * np.abs(g), dy=np.abs(call.dy))
    )
    terms = int(tie(layer).counts().inputs.max())
    return multiple(got, of, right, terms * sizes)


def clipped(got: Array, right: Array) -> str:
    """Return between which limits values were clipped, the same in every draw; empty if they were not."""
    low, high = got.min(), got.max()
    cut = np.clip(right, low, high)
    if low == high or not np.array_equal(cut, got) or (cut != right).sum() < 2:
        return ""
    limits = f"at most {high:.6g}" if low == right.min() else f"[{low:.6g}, {high:.6g}]"
    limits = limits if high < right.max() else f"at least {low:.6g}"
    only_signs = low == -high and (np.abs(got) == high)[right != 0].all()
    return f"it is clipped to {limits}" + (
        f", or its sign is taken {high:.6g} times" if only_signs else ""
    )
