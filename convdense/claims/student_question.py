"""The question that started this: two small layers, a cost, and the gradient a student wrote.

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
    """The products in the written dC/dw1, by name: of edges that exist, of others."""

    right: list[str]
    crossed: list[str]


def example() -> QuestionCase:
    """Return the integers the demo uses: both signs, no symmetry; z is 77, so 2(z - y) is 2."""
    i = np.array([[[3, -1, 2], [0, 4, -2], [5, 1, -3]]])
    w = np.array([[[[2, -1], [3, 1]]]])
    v = np.array([[[[1, -2], [4, 3]]]])
    return QuestionCase(i, w, v, 76)


def draw(rng: np.random.Generator, m: int) -> QuestionCase:
    """Return random integers of size up to m; m = 100 keeps every number below 2**53."""
    shapes = (FIRST.in_shape, FIRST.weight_shape, SECOND.weight_shape)
    i, w, v = (rng.integers(-m, m, shape, endpoint=True) for shape in shapes)
    y = int(rng.integers(-m, m, endpoint=True))
    return QuestionCase(i, w, v, y)


def cost(case: QuestionCase) -> int:
    """Return C by direct convolution, without a matrix."""
    z = convolve(SECOND, convolve(FIRST, case.i, case.w), case.v)
    return int((z - case.y).item() ** 2)


def central_difference(case: QuestionCase, name: str) -> Array:
    """Return dC/dw or dC/dv, by central differences with step 1, which are exact here.

    C is quadratic in each weight: ``C(w + 1) - C(w - 1) = 2 dC/dw``, without a remainder.
    """
    weights: Array = getattr(case, name)
    gradient = np.zeros_like(weights)
    for k in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[k] = 1
        up = cost(_with(case, name, weights + step))
        down = cost(_with(case, name, weights - step))
        gradient[k] = (up - down) // 2
    return gradient


def _with(case: QuestionCase, name: str, weights: Array) -> QuestionCase:
    return case._replace(w=weights) if name == "w" else case._replace(v=weights)


def backpropagated(case: QuestionCase) -> tuple[Array, Array]:
    """Return dC/dw and dC/dv by plain backpropagation through two tied dense layers."""
    first = TiedDense(FIRST, case.w)
    second = TiedDense(SECOND, case.v)
    o = first.forward(case.i)
    z = second.forward(o)
    back = second.backward(o, 2 * (z - case.y))
    return first.backward(case.i, back.dx).dw, back.dw


def as_written(case: QuestionCase) -> Array:
    """Return dC/dw as the student wrote it: a product of sums where a sum of products is needed."""
    z = convolve(SECOND, convolve(FIRST, case.i, case.w), case.v)
    copies = [tie(FIRST).copies(k) for k in range(case.w.size)]
    sums = [case.i.ravel()[edges.col].sum() for edges in copies]  # i1 + i2 + i4 + i5, ...
    factor = int(case.v.sum()) * 2 * int((z - case.y).item())
    return np.reshape(sums, case.w.shape) * factor


def products(k: int = 0) -> Products:
    """Return the 16 products of the written dC/dw, split by the tie map: 4 exist, 12 do not."""
    edges = tie(FIRST).copies(k)
    i, v = numbered("i", 9), numbered("v", 4)
    exist = set(zip(edges.col.tolist(), edges.row.tolist(), strict=True))
    right: list[str] = []
    crossed: list[str] = []
    for col, row in product(edges.col.tolist(), range(4)):
        term = f"{i[col]} {v[row]}"  # output o_row of the first layer meets v_row in the second
        if (col, row) in exist:
            right.append(term)
        else:
            crossed.append(term)
    return Products(right, crossed)


def judge(trials: int = 13, m: int = 100, seed: int | None = None) -> tuple[bool, float]:
    """Return whether backpropagation is right in every trial, and the error probability.

    Right is what equals the central difference; the formula as written must fail on the same
    numbers. A wrong formula of degree 5 agrees at a random point with probability at most
    ``5 / (2 m + 1)`` (Schwartz, Zippel).
    """
    rng = np.random.default_rng(seed)
    cases = [draw(rng, m) for _ in range(trials)]
    right = written_is_right = True
    for case in cases:
        true_dw = central_difference(case, "w")
        true_dv = central_difference(case, "v")
        dw, dv = backpropagated(case)
        right &= np.array_equal(dw, true_dw) and np.array_equal(dv, true_dv)
        written_is_right &= np.array_equal(as_written(case), true_dw)
    return right and not written_is_right, (DEGREE / (2 * m + 1)) ** trials
