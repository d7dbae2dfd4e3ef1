"""What the tables of adversaries are made of: a row, ways to write one, and operands that show it.

Nothing here knows how a certificate is made. What is right comes from the direct convolution and
pooling in extra precision (80 bits where the machine has them), and an entry is wrong where its
error exceeds a bound on the rounding of its sum in any order.
"""

import builtins
import copy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import convdense as cd
from convdense.direct import pool as direct_pool
from convdense.geometry import Pool

CONVOLVE, CONVOLVE_BACKWARD = cd.convolve, cd.convolve_backward  # as they are before any cheat
WIDE = np.longdouble
ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074  # what a product below the range of float64 may lose


def convolve(layer, x, w, b):
    if isinstance(layer, cd.Linear):
        return x @ w.T + b
    return CONVOLVE(layer, x, w, b)


def convolve_backward(layer, x, w, dy):
    if isinstance(layer, cd.Linear):
        return dy @ w, dy.T @ x, dy.sum(axis=0)
    return tuple(CONVOLVE_BACKWARD(layer, x, w, dy))


class Right:
    """The right implementation of a layer, of which most adversaries are a variation."""

    def __init__(self, layer):
        self.layer = copy.deepcopy(layer)  # whatever is done to the layer handed out

    def forward(self, x, *w_and_b):
        if isinstance(self.layer, Pool):
            return direct_pool.forward(self.layer, x)
        return convolve(self.layer, x, *w_and_b)

    def backward(self, x, *w_and_dy):
        if isinstance(self.layer, Pool):
            return direct_pool.backward(self.layer, x, *w_and_dy)
        return convolve_backward(self.layer, x, *w_and_dy)


class Call(NamedTuple):
    """One use of an implementation, forward and then backward, or one of them alone."""

    x: Any
    w: Any
    b: Any
    dy: Any
    parts: str = "fb"  # f: forward, b: backward, t: from another thread

    def of(self, layer):
        """Return the operands of forward and of backward."""
        if isinstance(layer, Pool):
            return (self.x,), (self.x, self.dy)
        return (self.x, self.w, self.b), (self.x, self.w, self.dy)


Shows = Callable[[Any], Iterator[Call]]


@dataclass(frozen=True)
class Row:
    """An implementation, what is wrong in it, and calls in which a user would see that."""

    name: str
    kind: str
    sentence: str
    layer: Any
    make: Callable[[Any], Any]  # of a layer: an implementation
    shows: Shows
    dtype: str = "float64"
    elsewhere: Any = None  # the layer on which it shows, if not the one that is judged


# Ways to write a row


class Table(list):
    """Rows in the order in which they are written; each way below is a decorator."""

    def add(self, kind, sentence, make, function, layer, shows, **more):
        name = more.pop("name", None) or function.__name__
        assert name not in [row.name for row in self], name
        self.append(Row(name, kind, sentence, layer, make, shows or given(), **more))
        return function

    def build(self, kind, sentence, layer=None, shows=None, **more):
        """Register a function of the right implementation, which returns another."""

        def register(function):
            def make(layer):
                return function(Right(layer))

            return self.add(kind, sentence, make, function, layer or CONV, shows, **more)

        return register

    def forward(self, kind, sentence, layer=None, shows=None, **more):
        """Register a function (right, x, w, b), of a pool (right, x), that stands for forward."""

        def register(function):
            def make(layer):
                right = Right(layer)
                return pair(lambda *operands: function(right, *operands), right.backward)

            return self.add(kind, sentence, make, function, layer or CONV, shows, **more)

        return register

    def backward(self, kind, sentence, layer=None, shows=None, **more):
        """Register a function (right, x, w, dy), of a pool (right, x, dy), for backward."""

        def register(function):
            def make(layer):
                right = Right(layer)
                return pair(right.forward, lambda *operands: function(right, *operands))

            return self.add(kind, sentence, make, function, layer or CONV, shows, **more)

        return register

    def change(self, part, kind, sentence, layer=None, shows=None, **more):
        """Register a function (y, x, w, b), (dx, x, w, dy) ... that changes one right result.

        It changes the array in place and returns None, or it returns another.
        """

        def register(function):
            def make(layer):
                right = Right(layer)

                def forward(*operands):
                    y = right.forward(*operands)
                    if part != "y":
                        return y
                    other = function(y, *operands)
                    return y if other is None else other

                def backward(*operands):
                    results = right.backward(*operands)
                    if part == "y":
                        return results
                    if isinstance(right.layer, Pool):
                        other = function(results, *operands)
                        return results if other is None else other
                    results = dict(zip(("dx", "dw", "db"), results, strict=True))
                    other = function(results[part], *operands)
                    if other is not None:
                        results[part] = other
                    return tuple(results.values())

                return pair(forward, backward)

            return self.add(kind, sentence, make, function, layer or CONV, shows, **more)

        return register

    def operands(self, where, kind, sentence, layer=None, shows=None, **more):
        """Register a function of the operands of forward ("f"), backward ("b") or both ("fb").

        It returns other operands, for which the right result is computed.
        """

        def register(function):
            def make(layer):
                right = Right(layer)

                def forward(*operands):
                    return right.forward(*(function(*operands) if "f" in where else operands))

                def backward(*operands):
                    return right.backward(*(function(*operands) if "b" in where else operands))

                return pair(forward, backward)

            return self.add(kind, sentence, make, function, layer or CONV, shows, **more)

        return register


def pair(forward, backward):
    return SimpleNamespace(forward=forward, backward=backward)


CONV = cd.Conv((2, 3, 4), out_channels=3, kernel=2)  # 24 cells, all numbers different
SMALL = cd.Conv((1, 3, 3), out_channels=1, kernel=2)  # 9 cells: every pair can be tried
SAME = cd.Conv((2, 3, 4), out_channels=2, kernel=3, padding=1)
SQUARE = cd.Conv((2, 4, 4), out_channels=2, kernel=3)  # channels and axes alike
POINT = cd.Conv((1, 2, 3), out_channels=1, kernel=1)  # one weight: a multiple
MAX = cd.MaxPool((2, 4, 4), kernel=2)
OVERLAP = cd.MaxPool((1, 4, 5), kernel=3, stride=1, padding=1)
AVG = cd.AvgPool((2, 4, 4), kernel=2)
EDGED = cd.AvgPool((1, 5, 5), kernel=3, stride=2, padding=1, count_include_pad=False)


# Operands that show it


def drawn(layer, batch, rng, scale=1.0):
    shapes = [
        (batch, *layer.in_shape),
        getattr(layer, "weight_shape", ()),
        getattr(layer, "bias_shape", ()),
    ]
    return [rng.normal(size=shape) * scale for shape in (*shapes, (batch, *layer.out_shape))]


def given(batch=2, parts="fb", **transforms):
    """Return what yields one call: normal deviates, transformed as told (x=np.abs, w=...)."""

    def shows(layer):
        operands = drawn(layer, batch, np.random.default_rng(3))
        named = dict(zip(("x", "w", "b", "dy"), operands, strict=True))
        for name, transform in transforms.items():
            named[name] = transform(named[name])
        yield Call(**named, parts=parts)

    return shows


def again(times, batch=2, **transforms):
    """Return what yields several calls, each with numbers of its own."""

    def shows(layer):
        rng = np.random.default_rng(4)
        for _ in range(times):
            named = dict(zip(("x", "w", "b", "dy"), drawn(layer, batch, rng), strict=True))
            for name, transform in transforms.items():
                named[name] = transform(named[name])
            yield Call(**named)

    return shows


def times(factor):
    return lambda array: array * factor


def integers(limit=9):
    """Return what makes whole numbers of both signs of normal deviates."""
    return lambda array: np.clip(np.rint(array * limit / 2), -limit, limit) + 0.0


def filled(value):
    return lambda array: np.full_like(array, value)


def entry(value, *index):
    """Return what sets one entry, of all samples where the index has an ellipsis."""

    def transform(array):
        array = array.copy()
        array[index] = value
        return array

    return transform


# Layouts, of the same numbers


def every_second(array):
    """Return a view of every second entry of a larger array, along every axis."""
    large = np.full([2 * n for n in array.shape], 7.5, array.dtype)
    view = large[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def wide_rows(array):
    """Return a view whose rows lie further apart than they are long."""
    large = np.full((*array.shape[:-1], array.shape[-1] + 3), 7.5, array.dtype)
    large[..., : array.shape[-1]] = array
    return large[..., : array.shape[-1]]


def later_part(array):
    """Return a contiguous view that starts in the middle of its buffer."""
    large = np.full((len(array) + 2, *array.shape[1:]), 7.5, array.dtype)
    large[2:] = array
    return large[2:]


def channels_last(array):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def reversed_memory(array):
    backwards = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[backwards])[backwards]


def one_for_all(array):
    """Return the first sample in place of each: a view of stride 0."""
    return np.broadcast_to(array[:1], array.shape)


def one_number(array):
    return np.broadcast_to(array.ravel()[:1], array.shape)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def memory(array):
    """Return the numbers as they lie in memory from where the array starts, taken for contiguous.

    It stays inside the buffer, and starts again at its beginning where that ends.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    root_start = np.lib.array_utils.byte_bounds(root)[0]
    offset = (array.__array_interface__["data"][0] - root_start) // array.itemsize
    cells = np.lib.stride_tricks.as_strided(
        root.ravel(order="K"), (root.size,), (root.itemsize,), writeable=False
    )
    return cells[(offset + np.arange(array.size)) % root.size].reshape(array.shape)


# What is patched is put back


@contextmanager
def restored():
    """Put back, at the end, what cheats replace in NumPy, in the built-ins and in this package."""
    names = [name for name in sys.modules if name.split(".")[0] == "convdense"]
    places = [np, np.testing, builtins, cd.Certificate, *(sys.modules[name] for name in names)]
    before = [dict(vars(place)) for place in places]
    try:
        yield
    finally:
        for place, attributes in zip(places, before, strict=True):
            for name, attribute in attributes.items():
                if vars(place).get(name) is not attribute:
                    setattr(place, name, attribute)
        for name in set(vars(cd.Certificate)) - set(before[places.index(cd.Certificate)]):
            delattr(cd.Certificate, name)  # what it inherits, and did not define itself


# What is wrong


def plain(result):
    """Return the numbers of a result, whatever its class says about comparisons."""
    if isinstance(result, np.ndarray):
        return np.ndarray.view(result, np.ndarray)
    return np.asarray(result)


def expected(layer, call):
    """Return {name: (right result, bound of its rounding)} of a call, forward and backward."""
    wide = [np.array(plain(operand), WIDE) for operand in call[:4]]
    sizes = [abs(operand) for operand in wide]
    forward, backward = Call(*wide).of(layer)
    if isinstance(layer, Pool):
        y, dx = direct_pool.forward(layer, *forward), direct_pool.backward(layer, *backward)
        if layer.extremum:
            of_dx = direct_pool.backward(layer, forward[0], sizes[3])
            return {"y": (y, 0 * y), "dx": (dx, 8 * ROUNDOFF * of_dx)}
        if layer.takes_roots:
            of_dx = abs(direct_pool.backward(layer, sizes[0], sizes[3]))
            return {"y": (y, 99 * ROUNDOFF * y), "dx": (dx, 999 * ROUNDOFF * of_dx)}
        signed = np.sign(getattr(layer, "divisor_override", None) or 1)
        of_y = signed * direct_pool.forward(layer, sizes[0])
        of_dx = signed * direct_pool.backward(layer, sizes[0], sizes[3])
        return {"y": (y, 16 * ROUNDOFF * of_y), "dx": (dx, 16 * ROUNDOFF * of_dx)}

    results = convolve(layer, *forward), *convolve_backward(layer, *backward)
    of_sizes = Call(*sizes)
    forward, backward = of_sizes.of(layer)
    of_results = convolve(layer, *forward), *convolve_backward(layer, *backward)
    terms = 3 + max(np.size(operand) for operand in wide)
    unit = terms * ROUNDOFF / (1 - terms * ROUNDOFF)
    bounds = [unit * of_result + terms * SMALLEST for of_result in of_results]
    return dict(zip(("y", "dx", "dw", "db"), zip(results, bounds, strict=True), strict=True))


def fault(got, right, bound):
    """Return what is wrong in a result, or None."""
    if not isinstance(got, np.ndarray | list | tuple | float):
        return f"a {type(got).__name__}"
    got = plain(got)
    if got.dtype.kind not in "fiuc":
        return f"of dtype {got.dtype}"
    if got.shape != right.shape:
        return f"of shape {got.shape}, not {right.shape}"
    if got.dtype.kind == "c":
        if abs(got.imag).max(initial=0) > 0:
            return "complex"
        got = got.real
    with np.errstate(all="ignore"):
        error = abs(got.astype(WIDE) - right)
        good = (error <= bound) | (np.isinf(got) & (abs(right) > np.finfo(float).max))
        good |= np.isnan(got) & np.isnan(right)
    if not good.all():
        return f"off by {np.max(np.where(good, 0, error)):.3g}"
    return None


def faults(row):
    """Return what a user sees who makes the calls that show the row: a list of sentences."""
    layer = copy.deepcopy(row.elsewhere or row.layer)
    handed_out = copy.deepcopy(layer)
    implementation = row.make(handed_out)
    found, kept = [], []
    number = 0
    for call in row.shows(copy.deepcopy(layer)):  # no enumerate: it keeps the last call alive
        number += 1  # noqa: SIM113
        found_now, kept_now = faults_of_call(layer, implementation, call)
        found += [f"call {number}: {said}" for said in found_now]
        kept += [(f"{name} of call {number}", *results) for name, *results in kept_now]
        del call  # so that its arrays can be freed
    for name, *results in kept:
        said = fault(*results)
        if said:
            found.append(f"{name}, later: {said}")
    if handed_out != layer:
        found.append("the layer is another")
    return found


def faults_of_call(layer, implementation, call):
    """Return what is wrong in a call, and its right results: (name, result, right, bound)."""
    right = expected(layer, call)
    operands = dict(zip(("x", "w", "b", "dy"), call[:4], strict=True))
    before = {name: np.array(operand) for name, operand in operands.items()}
    try:
        with np.errstate(all="ignore"):
            run = in_another_thread if "t" in call.parts else called
            results = run(layer, implementation, call)
    except BaseException as raised:
        return [type(raised).__name__], []
    found, kept = [], []
    for name, got in results.items():
        said = fault(got, *right[name])
        if said:
            found.append(f"{name} {said}")
        else:
            kept.append((name, got, *right[name]))
    for name, operand in operands.items():
        if ((before[name] == operand) | np.isnan(before[name])).all():
            continue
        found.append(f"{name} written to")
        operand[...] = before[name]
    return found, kept


def in_another_thread(*operands):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(called, *operands).result()


def called(layer, implementation, call):
    """Return {name: result} of a call."""
    forward, backward = call.of(layer)
    results = {}
    if "f" in call.parts:
        results["y"] = implementation.forward(*forward)
    if "b" in call.parts:
        gradients = implementation.backward(*backward)
        names = ("dx",) if isinstance(layer, Pool) else ("dx", "dw", "db")
        if isinstance(layer, Pool):
            gradients = (gradients,)
        results.update(zip(names, gradients, strict=True))
    return results
