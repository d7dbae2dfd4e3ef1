"""The question that started this: two small layers, one cost, and the gradient as the student wrote
it.

Input ``i1..i9`` (3x3), filter ``w1..w4`` (2x2) gives ``o1..o4``; filter ``v1..v4`` (2x2) gives one
number ``z``; the cost is ``C = (z - y)^2``.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from convdense._util.arguments import Array
from convdense.direct.conv import convolve
from convdense.display.labels import numbered
from convdense.geometry import Conv
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie

FIRST = Conv((1, 3, 3), out_channels=1, kernel=2)
SECOND = Conv((1, 2, 2), out_channels=1, kernel=2)
DEGREE = 5  # of dC/dw = 2 (z - y) dz/dw in i, w, v and y: z has 3, dz/dw has 2


class QuestionCase(NamedTuple):
    """Numbers for the question: input (1, 3, 3), both filters (1, 1, 2, 2), and the wanted z."""

    i: Array
    w: Array
    v: Array
    y: int


class Products(NamedTuple):
    """The products in dC/dw1, by name: those of edges that exist, and the cross terms of those that do not."""

    right: list[str]
    crossed: list[str]


def example() -> QuestionCase:
    """Return the integers the demo uses: both signs, no symmetry; z is 77, so 2(z - y) is 2."""
    i = np.array([[[3, -1, 2], [0, 4, -2], [5, 1, -3]]])
    return QuestionCase(i, np.array([[[[2, -1], [3, 1]]]]), np.array([[[[1, -2], [4, 3]]]]), 76)


def draw(rng: np.random.Generator, m: int) -> QuestionCase:
    """Return random integers of size up to m; m = 100 keeps every number below 2**53."""
    shapes = (FIRST.in_shape, FIRST.weight_shape, SECOND.weight_shape)
    i, w, v = (rng.integers(-m, m, shape, endpoint=True) for shape in shapes)
    return QuestionCase(i, w, v, int(rng.integers(-m, m, endpoint=True)))


def cost(case: QuestionCase) -> int:
    """Return C by direct convolution, without a matrix."""
    z = convolve(SECOND, convolve(FIRST, case.i, case.w), case.v)
    return int((z - case.y).item() ** 2)


def central_difference(case: QuestionCase, name: str) -> Array:
    """Return dC/dw or dC/dv ("w", "v") with step 1: exact, for the cost is quadratic in each weight."""
    weights: Array = getattr(case, name)
    gradient = np.zeros_like(weights)
    for k in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[k] = 1
        up, down = (cost(_with(case, name, w)) for w in (weights + step, weights - step))
        gradient[k] = (up - down) // 2  # C is quadratic: the difference is even and exact
    return gradient


def _with(case: QuestionCase, name: str, weights: Array) -> QuestionCase:
    return case._replace(w=weights) if name == "w" else case._replace(v=weights)


def backpropagated(case: QuestionCase) -> tuple[Array, Array]:
    """Return dC/dw and dC/dv by plain backpropagation through two tied dense layers."""
    first, second = TiedDense(FIRST, case.w), TiedDense(SECOND, case.v)
    o = first.forward(case.i)
    z = second.forward(o)
    back = second.backward(o, 2 * (z - case.y))
    return first.backward(case.i, back.dx).dw, back.dw


def as_written(case: QuestionCase) -> Array:
    """Return dC/dw as the student wrote it: a product of two sums where a sum of products is needed."""
    z = convolve(SECOND, convolve(FIRST, case.i, case.w), case.v)
    copies = [tie(FIRST).copies(k) for k in range(case.w.size)]
    sums = [case.i.ravel()[edges.col].sum() for edges in copies]  # i1 + i2 + i4 + i5, ...
    factor = int(case.v.sum()) * 2 * int((z - case.y).item())
    return np.reshape(sums, case.w.shape) * factor


def products(k: int = 0) -> Products:
    """Return the 16 products of the written dC/dw, split by the tie map: 4 exist, 12 do not."""
    edges = tie(FIRST).copies(k)
    i, v = numbered("i", 9), numbered("v", 4)
    right = {
        (int(c), int(r)) for c, r in zip(edges.col, edges.row, strict=True)
    }  # o_r meets v_r in the second layer
    pairs = product(edges.col.tolist(), range(4))
    named: dict[bool, list[str]] = {True: [], False: []}
    for c, r in pairs:
        named[(c, r) in right].append(f"{i[c]} {v[r]}")
    return Products(named[True], named[False])


def judge(trials: int = 13, m: int = 100, seed: int | None = None) -> tuple[bool, float]:
    """Return whether backpropagation equals the central difference in every trial, and the error
    probability.

    The formula as written must fail on the same numbers. A wrong formula of degree 5 agrees at a
    random point with probability at most ``5 / (2 m + 1)`` (Schwartz, Zippel).
    """
    rng = np.random.default_rng(seed)
    cases = [draw(rng, m) for _ in range(trials)]
    truth = [central_difference(case, "w") for case in cases]
    right = all(
        np.array_equal(dw, true) and np.array_equal(dv, central_difference(case, "v"))
        for case, true in zip(cases, truth, strict=True)
        for dw, dv in [backpropagated(case)]
    )
    written = all(
        np.array_equal(as_written(case), true) for case, true in zip(cases, truth, strict=True)
    )
    return right and not written, (DEGREE / (2 * m + 1)) ** trials
