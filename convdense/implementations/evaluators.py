"""Evaluators: ways to compute y, dx, dw and db of a layer; one is judged by another."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from dis import opname
from math import prod
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from convdense._util.arguments import Array, complain, complain_of
from convdense._util.foreign_objects import detached, what_to_write
from convdense.direct.conv import convolve, convolve_backward
from convdense.geometry import ConvTranspose, HasForward, HasShapes, Implementation, Windowed
from convdense.layers.tied_dense import TiedDense
from convdense.structure._tie import tie
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import FORWARD_ALONE, QUANTITIES

Operands = tuple[Array, Array, Array | None, Array]
Drawn = tuple[Array, Array, Array, Array]  # with a bias; of a pool w and b are empty
Results = tuple[Any, ...]
FEW_CELLS = 1 << 14  # of a dense matrix, and edges: more take longer than direct convolution
DENSE, DIRECT = "tied dense layer", "direct convolution"
DENSE_NETWORK, DIRECT_COUNTERPART = "dense layers and |x|", "direct counterpart"


class Functions(NamedTuple):
    """A user's forward and backward, None of forward alone; their name; what the code says of it.

    `compiles`: it is compiled anew for every shape; `interpreted`: an interpreter runs it here in
    the place of a compiler.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any] | None
    name: str
    compiles: bool = False
    interpreted: bool = False


@dataclass(frozen=True)
class Evaluator:
    """One way to compute everything: its name, and ``run(x, w, b, dy) -> (y, dx, dw, db)``.

    Of a user's code also forward(x, w, b) and backward(x, w, dy) alone, and whether its attributes
    say that it `compiles` anew for every shape, or is `interpreted`. Without a backward it is
    forward alone: dx, dw and db are None, and not judged.
    """

    name: str
    run: Callable[[Array, Array, Array | None, Array], Results]
    forward: Callable[..., Any] | None = None
    backward: Callable[..., Results] | None = None
    compiles: bool = False
    interpreted: bool = False

    @property
    def quantities(self) -> tuple[str, ...]:
        """What it gives; y of a forward alone."""
        is_alone = self.forward is not None and self.backward is None
        return QUANTITIES[:1] if is_alone else QUANTITIES


def dense_evaluator(layer: HasShapes) -> Evaluator:
    """Return the tied dense layer: the stored matrix, its adjoint, and the sums over edges."""
    ties = tie(layer)  # planned once for all calls

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        tied = TiedDense(ties, w, b)
        return (tied.forward(x), *tied.backward(x, dy))

    return Evaluator(DENSE, run)


def direct_evaluator(layer: HasShapes) -> Evaluator:
    """Return direct convolution; a layer it does not know is defined by its tied dense layer."""
    if not isinstance(layer, (Windowed, ConvTranspose)):
        return dense_evaluator(layer)

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        return (convolve(layer, x, w, b), *convolve_backward(layer, x, w, dy))

    return Evaluator(DIRECT, run)


def small_evaluator(layer: HasShapes) -> Evaluator:
    """Return direct convolution; where it is small the dense matrix, ten times as fast.

    Its sums are in float64, and its results in the dtype of the operands.
    """
    direct = direct_evaluator(layer)
    ties = tie(layer)
    if direct.name == DENSE or ties.padding or max(ties.n_entries, prod(ties.shape)) > FEW_CELLS:
        return direct
    row, col, index, _ = ties.entries()
    at = row * ties.shape[1] + col  # several edges may share a cell

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        if b is None or any(a.dtype not in (np.float32, np.float64) for a in (x, w, b, dy)):
            return direct.run(x, w, b, dy)
        edges = w.ravel()[index]
        matrix = np.bincount(at, edges, minlength=prod(ties.shape)).reshape(ties.shape)
        cells = x.reshape(len(x), ties.shape[1]).astype(np.float64)
        upstream = dy.reshape(len(dy), ties.shape[0]).astype(np.float64)
        y = (cells @ matrix.T).reshape(dy.shape) + np.expand_dims(b, spatial)
        dx = (upstream @ matrix).reshape(x.shape)
        products = (upstream.T @ cells).ravel()[at]
        dw = np.bincount(index, products, minlength=w.size).reshape(w.shape)
        db = dy.sum(axis=(0, *(1 + axis for axis in spatial)), dtype=np.float64)
        return tuple(result.astype(x.dtype) for result in (y, dx, dw, db))

    spatial = tuple(range(len(ties.bias_shape), len(ties.out_shape)))
    return replace(direct, run=run)


def magnitude_evaluator(layer: HasShapes) -> Evaluator:
    """Return an evaluator that adds up magnitudes when it is given magnitudes.

    The coefficients of a convolution are 1; those of another tie map are taken without their signs.
    """
    if isinstance(layer, Windowed) and layer.padding_value < 0:
        layer = replace(layer, padding_value=-layer.padding_value)
    evaluator = direct_evaluator(layer)
    return evaluator if evaluator.name == DIRECT else dense_evaluator(tie(layer).absolute)


def implementation_evaluator(implementation: Implementation) -> Evaluator:
    """Return the user's implementation: an object with forward and backward, or two such functions.

    ``forward(x, w, b) -> y`` and ``backward(x, w, dy) -> (dx, dw, db)``; a db of None is not
    judged. Forward alone is taken too: then y alone is.
    """
    needs = "an object with forward(x, w, b) and backward(x, w, dy), or a pair of such functions"
    mine = functions(implementation, needs)
    forward, backward = mine.forward, mine.backward

    def y(x: Array, w: Array, b: Array | None) -> Any:
        return caught(forward, x, w, b)

    def gradients(x: Array, w: Array, dy: Array) -> Results:
        if backward is None:
            return None, None, None
        results = caught(backward, x, w, dy)
        if isinstance(results, Raised):
            return results, results, results
        if not isinstance(results, (tuple, list)) or len(results) != 3:
            needs = "three results: dx, dw and db (or None)"
            raise TypeError(complain("backward", type(results).__name__, needs))
        return tuple(map(detached, results))

    def run(x: Array, w: Array, b: Array | None, dy: Array) -> Results:
        return (y(x, w, b), *gradients(x, w, dy))

    of_operands = y, gradients if backward else None
    return Evaluator(mine.name, run, *of_operands, mine.compiles, mine.interpreted)


def caught(function: Callable[..., Any], *operands: Any) -> Any:
    """Return what the user's function returns, or what it raised: that is a verdict as well.

    `sys.exit` in it is no end of this program; Ctrl-C is.
    """
    try:
        return detached(function(*operands))
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return Raised(error)


def is_ctrl_c(error: BaseException) -> bool:
    """Tell whether it is a KeyboardInterrupt that no ``raise`` in Python raised.

    Ctrl-C comes between any two instructions.
    """
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if not isinstance(error, KeyboardInterrupt) or innermost is None:
        return isinstance(error, KeyboardInterrupt)
    instruction = innermost.tb_frame.f_code.co_code[innermost.tb_lasti]
    return opname[instruction] != "RAISE_VARARGS"


def pool_functions(implementation: Implementation) -> Functions:
    """Return forward(x) and backward(x, dy) of the user's pool, and its name."""
    needs = "an object with forward(x) -> y and backward(x, dy) -> dx, or a pair of such functions"
    return functions(implementation, f"{needs}, for a pool or another function of x")


def is_forward_alone(given: object) -> TypeGuard[HasForward | Callable[..., Any]]:
    """Tell whether this is a function, not PyTorch's own, or an object without a backward."""
    if isinstance(given, type) or what_to_write(given, "implementation"):
        return False
    of_torch = str(getattr(given, "__module__", "")).partition(".")[0] == "torch"
    forward, backward = getattr(given, "forward", given), getattr(given, "backward", None)
    return callable(forward) and backward is None and not of_torch


def functions(implementation: Implementation, needs: str) -> Functions:
    """Return the functions of an implementation, with their name and what it says of itself."""
    given: Any = implementation  # anything may come: then `needs` says what should have
    alone = is_forward_alone(given)
    if isinstance(given, (tuple, list)) and len(given) == 2:
        forward, backward = given
        named = forward
    else:
        forward = getattr(given, "forward", given if alone else None)
        backward = getattr(given, "backward", None)
        named = given
    if not callable(forward) or not (callable(backward) or alone):
        do = "write (forward, backward); torch: convdense.adapters.torch.implementation(forward)"
        raise TypeError(complain_of("implementation", given, needs, do if callable(given) else ""))
    name = str(getattr(named, "__name__", type(named).__name__))
    ending = f" ({FORWARD_ALONE})" * alone
    name = name.replace("<lambda>", "implementation").removesuffix(ending)  # a wrapper's name
    compiles, interpreted = (bool(getattr(given, a, False)) for a in ("compiles", "interpreted"))
    return Functions(forward, backward, name + ending, compiles, interpreted)


def two_evaluators(
    layer: HasShapes, implementation: Implementation | None
) -> tuple[Evaluator, Evaluator]:
    """Return the evaluator to judge and the one to judge it by."""
    by = direct_evaluator(layer)
    if implementation is not None:
        return implementation_evaluator(implementation), by
    if by.name == DENSE:
        needs = "a Conv, ConvTranspose or LocallyConnected, which have a direct form"
        do = "or give an implementation to judge by this layer"
        raise TypeError(complain_of("layer", layer, needs, do))
    return dense_evaluator(layer), by


def needs_implementation(evaluator: str, implementation: object) -> None:
    """Refuse to run a verdict on an implementation again without it."""
    if evaluator not in (DENSE, DENSE_NETWORK) and implementation is None:
        do = "call rerun(implementation)"
        needs = f"{evaluator}, which this is a verdict on"
        raise TypeError(complain("implementation", "None", needs, do))
