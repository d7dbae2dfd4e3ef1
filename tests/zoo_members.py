"""A zoo of implementations, right and wrong.

`python -m tests.zoo_members` sees that each is what it says.
"""

import numpy as np

import convdense as cd
from convdense.direct import pool_loops
from convdense.geometry import Pool
from tests.zoo_right import RIGHT, Member
from tests.zoo_wrong import WRONG

__all__ = ["RIGHT", "WRONG", "Member"]
LOOSE = ("fourier convolve", "single precision")
SCALE = 27720  # every average of a window of up to 12 cells is an integer


def answers(layer, implementation=None, seed=0, dtype=float):
    """What the implementation, or direct convolution, gives on small integers of both signs."""
    rng = np.random.default_rng(seed)
    scale = SCALE if isinstance(layer, cd.AvgPool) else 1
    x = (scale * rng.integers(-3, 4, (3, *layer.in_shape))).astype(dtype)
    dy = (scale * rng.integers(-5, 6, (3, *layer.out_shape))).astype(dtype)
    if isinstance(layer, Pool):
        if implementation is None:
            return {"y": pool_loops.forward(layer, x), "dx": pool_loops.backward(layer, x, dy)}
        return {"y": implementation.forward(x), "dx": implementation.backward(x, dy)}
    w, b = (
        rng.integers(-5, 6, shape).astype(dtype) for shape in (layer.weight_shape, layer.bias_shape)
    )
    if implementation is None:
        y, gradients = cd.convolve(layer, x, w, b), cd.convolve_backward(layer, x, w, dy)
    else:
        y, gradients = implementation.forward(x, w, b), implementation.backward(x, w, dy)
    return {"y": y, **dict(zip(("dx", "dw", "db"), gradients, strict=True))}


def differing(member, layer, seed=0, dtype=float):
    """The quantities in which the member differs from the library on this layer."""
    got, expected = (
        answers(layer, member.make(layer), seed, dtype),
        answers(layer, None, seed, dtype),
    )
    equal = (
        np.array_equal
        if member.name not in LOOSE
        else lambda a, b: np.allclose(a, b, rtol=0, atol=1e-3)
    )
    return {name for name in expected if not equal(got[name], expected[name])}


def verdict(member):
    """'ok', or what is not as the member says; and the wrong quantities per layer."""
    found = [differing(member, layer) for layer in member.layers]
    seen = set().union(*found)
    return "ok" if seen == set(
        member.wrong_in
    ) else f"NOT AS SAID: {sorted(seen)} for {member.wrong_in}", found


if __name__ == "__main__":
    for kind, members in (("right", RIGHT), ("wrong", WRONG)):
        for member in members:
            said, found = verdict(member)
            shown = "; ".join(
                " ".join(q for q in ("y", "dx", "dw", "db") if q in f) or "-" for f in found
            )
            print(f"{kind}  {said}  {member.name} [{shown}]  {member.story}")
    print(len(RIGHT), "right,", len(WRONG), "wrong")
