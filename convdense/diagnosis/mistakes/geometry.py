"""A layer's hyper-parameters got wrong: a kernel reversed, a stride forgotten, padding swapped."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, TypeVar

from convdense.geometry.padding import MODES
from convdense.structure import _tie
from convdense.structure._tie import WindowParameters
from convdense.structure.progressions import SHORT, Axis

# A sentence, and the numbers that it puts in place of the right ones.
Change = tuple[str, dict[str, Any]]
T = TypeVar("T")
NOT_CROPPED = "the padding is not cropped: everything is shifted by it"
CUT_AT_END = "the begin is not cropped, the end is cut off instead: everything is shifted"
_NUMBERS = {1: "one", 2: "two", 3: "three"}
KEPT = 256  # short axes, which hundreds of mistakes share


def windows(n: WindowParameters) -> list[Axis]:
    """Return the axes that these numbers give; short ones that were asked for before, again."""
    each = zip(*n, strict=True)
    return [_again(*one) if one[1] * one[2] <= SHORT else _window(*one) for one in each]


def _window(*numbers: Any) -> Axis:
    return _tie.windows(WindowParameters(*((number,) for number in numbers)))[0]


_again = lru_cache(KEPT)(_window)


def exists(axes: Sequence[Axis]) -> bool:
    """Tell whether all cells that padding copies exist; a window too far out has none."""
    return all(a.cols.min(initial=0) >= 0 and a.cols.max(initial=0) < a.n_cols for a in axes)


def subsets(n: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield some of n axes, the most first, and the words for them."""
    for size in range(n, 0, -1):
        for some in combinations(range(n), size):
            yield some, axes_in_words(some, n)


def axes_in_words(some: tuple[int, ...], n: int) -> str:
    """Return the words for some of n axes: 'axis 1', 'axes (0, 2)', 'all axes'."""
    if len(some) == 1:
        return f"axis {some[0]}"
    return "all axes" if len(some) == n else f"axes {some}"


def replaced(values: Sequence[T], axis: int, value: T) -> tuple[T, ...]:
    """Return the values of all axes with another one on one axis."""
    return (*values[:axis], value, *values[axis + 1 :])


def changes(n: WindowParameters, transposed: bool, *, rare: bool = True) -> Iterator[Change]:
    """Yield what people put in place of the right numbers, the most common first.

    Without the `rare` ones any two of those that change other numbers may come together.
    """
    for some, which in subsets(len(n.kernel)):
        flip = tuple(not f if axis in some else f for axis, f in enumerate(n.flip))
        yield f"the kernel is reversed on {which}", {"flip": flip}
    yield from _wrong_steps("dilation", "ignored", n.dilation)
    yield from _wrong_steps("stride", "forgotten", n.stride)
    yield from _wrong_steps("input_dilation", "forgotten", n.input_dilation)
    if rare:
        yield from _exchanged_steps(n)
        yield from _steps_off_by_one(n)
    yield from _wrong_padding(n, transposed)
    yield from _shifted(n, rare=rare)
    yield from _wrong_halves(n)
    for mode in MODES:
        if mode != n.mode and any((*n.begin, *n.end)) and not n.crops:
            sentence = f"the padding is taken for {mode}, not for {n.mode}"
            yield sentence, {"modes": (mode,) * len(n.modes)}


def _exchanged_steps(n: WindowParameters) -> Iterator[Change]:
    """Yield the stride and the dilation in each other's place, or the input dilated."""
    if n.stride != n.dilation:
        swapped = {"stride": n.dilation, "dilation": n.stride}
        yield "stride and dilation are exchanged", swapped
    ones = (1,) * len(n.dilation)
    if n.dilation not in (ones, n.input_dilation):
        dilated = {"input_dilation": n.dilation, "dilation": ones}
        yield "the dilation is applied to the input, not to the kernel", dilated


def _steps_off_by_one(n: WindowParameters) -> Iterator[Change]:
    """Yield a stride or a dilation, and with it the zeros between, one too large or too small."""
    for name, right in (("stride", n.stride), ("dilation", n.dilation)):
        for more, words in ((1, "one too many"), (-1, "one too few")):
            other = tuple(step + more for step in right)
            if max(right) > 1 and min(other) > 0:
                yield f"the {name} is {other[0]}, and the zeros between are {words}", {name: other}


def _wrong_steps(name: str, word: str, right: tuple[int, ...]) -> Iterator[Change]:
    """Yield the stride or the dilation left out, or taken from another axis."""
    ones = (1,) * len(right)
    if right == ones:
        return
    yield f"the {name} is {word}", {name: ones}

    axes_differ = len(set(right)) > 1
    for axis, step in enumerate(right):
        if step == 1:
            continue
        without = replaced(right, axis, 1)
        if without != ones:
            yield f"the {name} is {word} on axis {axis}", {name: without}
        if axes_differ:
            yield f"the {name} of axis {axis} is used on every axis", {name: (step,) * len(right)}
    if axes_differ:
        yield f"the {name} of the axes is in reverse order", {name: right[::-1]}


def _wrong_padding(n: WindowParameters, transposed: bool) -> Iterator[Change]:
    """Yield padding swapped, forgotten, or with the cells that are left over in front."""
    if n.begin != n.end:
        yield "the padding at begin and end is swapped", {"begin": n.end, "end": n.begin}
    if any(n.left_over):
        what = "output_padding is" if transposed else "the cells left over are"
        begin = tuple(b - over for b, over in zip(n.begin, n.left_over, strict=True))
        yield f"{what} put in front: everything is shifted by it", {"begin": begin}
    if any(n.begin):
        nothing = (0,) * len(n.begin)
        cut = (
            "the padding at the begin is not cropped, the end is cut off more: all is shifted by it"
        )
        yield cut if transposed else NOT_CROPPED, {"begin": nothing}
    if len(set(n.begin)) > 1:
        sentence = "the padding of the axes is in reverse order"
        yield sentence, {"begin": n.begin[::-1], "end": n.end[::-1]}


def _shifted(n: WindowParameters, *, rare: bool) -> Iterator[Change]:
    """Yield windows that are shifted by some cells, on all axes or on one; causal ones centred."""
    reach = [(k - 1) * d for k, d in zip(n.kernel, n.dilation, strict=True)]
    is_causal = (
        any(n.begin)
        and not any(n.end)
        and all(b in (0, r) for b, r in zip(n.begin, reach, strict=True))
    )
    of_padding = "of causal padding" if is_causal else "of padding"
    if is_causal and rare:
        centred = tuple(b // 2 for b in n.begin)
        by = _cells(max(b - half for b, half in zip(n.begin, centred, strict=True)))
        sentence = f"the causal padding is centred, half of it at the end: all is shifted by {by}"
        yield sentence, {"begin": centred}
    may_be_below = n.mode == "zeros" if rare else n.crops
    for size in range(1, (max(reach, default=0) if rare else 1) + 1):
        cells = _cells(size)
        for step, word in ((size, "more"), (-size, "less")):
            sentence = f"{cells} {of_padding} {word} at the begin of"
            begin = tuple(b + step for b in n.begin)
            if min(begin) >= 0 or may_be_below:
                yield f"{sentence} every axis: all is shifted", {"begin": begin}
            if len(begin) == 1:
                continue
            for axis, b in enumerate(begin):
                if b >= 0 or may_be_below:
                    shifted = {"begin": replaced(n.begin, axis, b)}
                    yield f"{sentence} axis {axis}: all is shifted", shifted


def _cells(number: int) -> str:
    """Return words: 'one cell', '5 cells'."""
    return f"{_NUMBERS.get(number, number)} cell{'s' * (number > 1)}"


def _wrong_halves(n: WindowParameters) -> Iterator[Change]:
    if len(n.begin) == 1:
        return
    for more, word in ((0, "smaller"), (1, "larger")):
        halves = tuple((b + e + more) // 2 for b, e in zip(n.begin, n.end, strict=True))
        if halves not in (n.begin, n.end):
            sentence = f"the padding is split into halves, the {word} one at the begin"
            yield sentence, {"begin": halves}
