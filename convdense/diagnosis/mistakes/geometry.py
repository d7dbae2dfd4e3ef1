"""A layer's hyper-parameters got wrong: a kernel reversed, a stride forgotten, padding swapped."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple, TypeVar

from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.geometry.padding import MODES
from convdense.structure._tie import with_padding
from convdense.structure.axis import Axis, channels, window
from convdense.structure.tie_map import TieMap

# A sentence, and the numbers that it puts in place of the right ones.
Change = tuple[str, dict[str, Any]]
T = TypeVar("T")


class WindowParameters(NamedTuple):
    """The hyper-parameters of a convolution, axis by axis.

    A transposed convolution's window slides over its outputs, which here are `ins`.
    """

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    modes: tuple[str, ...]
    flip: tuple[bool, ...]
    input_dilation: tuple[int, ...]

    @property
    def mode(self) -> str:
        """The padding mode of all axes, or the modes of all where they differ, in words."""
        return " and ".join(dict.fromkeys(self.modes))

    @property
    def crops(self) -> bool:
        """Whether padding below 0 takes cells away."""
        return min(*self.begin, *self.end) < 0

    @property
    def padded(self) -> tuple[int, ...]:
        """How many cells each axis has with its padding."""
        sizes = zip(self.ins, self.begin, self.end, strict=True)
        return tuple(n + begin + end for n, begin, end in sizes)

    @property
    def left_over(self) -> tuple[int, ...]:
        """How many cells at the end no window reaches; where transposed, the output padding."""
        sizes = zip(self.padded, self.outs, self.stride, self.kernel, self.dilation, strict=True)
        # the last window starts at (outs - 1) stride and is (kernel - 1) dilation + 1 cells long
        return tuple(n - (o - 1) * s - (k - 1) * d - 1 for n, o, s, k, d in sizes)


def window_parameters(layer: Conv | ConvTranspose) -> WindowParameters:
    """Return the hyper-parameters of a layer."""
    ins, outs = layer.in_spatial, layer.out_spatial
    if isinstance(layer, ConvTranspose):
        ins, outs = outs, ins  # the window slides over the outputs
    return WindowParameters(
        ins,
        outs,
        layer.kernel,
        layer.stride,
        layer.dilation,
        begin=tuple(begin for begin, _ in layer.padding),
        end=tuple(end for _, end in layer.padding),
        modes=layer.padding_modes,
        flip=(layer.flip,) * len(ins),
        input_dilation=layer.input_dilation,
    )


def windows(n: WindowParameters) -> list[Axis]:
    """Return the axes that these numbers give."""
    sizes = zip(
        n.ins,
        n.outs,
        n.kernel,
        n.stride,
        n.dilation,
        n.begin,
        n.end,
        n.modes,
        n.input_dilation,
        n.flip,
        strict=True,
    )
    return [
        window(
            n_in,
            n_out,
            k,
            stride=s,
            dilation=d,
            begin=begin,
            end=end,
            mode=mode,
            input_dilation=step,
            flip=flip,
        )
        for n_in, n_out, k, s, d, begin, end, mode, step, flip in sizes
    ]


def exists(axes: Sequence[Axis]) -> bool:
    """Tell whether all cells that padding copies exist; a window too far out has none."""
    return all(a.cols.min(initial=0) >= 0 and a.cols.max(initial=0) < a.n_cols for a in axes)


def window_channels(layer: Geometry) -> tuple[int, int]:
    """Return the output and input channels of the window; where transposed, exchanged."""
    if isinstance(layer, ConvTranspose):
        return layer.in_channels, layer.out_channels
    return layer.out_channels, layer.in_channels


def tie_map(
    layer: Conv | ConvTranspose, axes: Sequence[Axis], channel_axis: Axis | None = None
) -> TieMap:
    """Return the tie map of these windows; without a channel axis, with the right one."""
    channel_axis = channel_axis or channels(*window_channels(layer), layer.groups)
    # where a mistake has joined the axes into one, no padding is left
    number = layer.padding_value if len(axes) == len(layer.kernel) else 0
    whole = with_padding((channel_axis, *axes), layer.padding_modes, number)
    return whole.T if isinstance(layer, ConvTranspose) else whole


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


def changes(n: WindowParameters, transposed: bool) -> Iterator[Change]:
    """Yield what people put in place of the right numbers, the most common first."""
    for some, which in subsets(len(n.kernel)):
        flip = tuple(not f if axis in some else f for axis, f in enumerate(n.flip))
        yield f"the kernel is reversed on {which}", {"flip": flip}
    yield from _wrong_steps("dilation", "ignored", n.dilation)
    yield from _wrong_steps("stride", "forgotten", n.stride)
    yield from _wrong_steps("input_dilation", "forgotten", n.input_dilation)
    yield from _wrong_padding(n, transposed)
    yield from _a_cell_more_or_less(n)
    yield from _wrong_halves(n)
    for mode in MODES:
        if mode != n.mode and any((*n.begin, *n.end)) and not n.crops:
            yield (
                f"the padding is taken for {mode}, not for {n.mode}",
                {"modes": (mode,) * len(n.modes)},
            )


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
        yield "the padding is not cropped: everything is shifted by it", {"begin": nothing}
    if len(set(n.begin)) > 1:
        yield (
            "the padding of the axes is in reverse order",
            {"begin": n.begin[::-1], "end": n.end[::-1]},
        )


def _a_cell_more_or_less(n: WindowParameters) -> Iterator[Change]:
    """Yield padding that is off by one."""
    for step, word in ((1, "more"), (-1, "less")):
        sentence = f"one cell of padding {word} at the begin of"
        begin = tuple(b + step for b in n.begin)
        if min(begin) >= 0 or n.crops:
            yield f"{sentence} every axis", {"begin": begin}
        if len(begin) == 1:
            continue
        for axis, b in enumerate(begin):
            if b >= 0 or n.crops:
                yield f"{sentence} axis {axis}", {"begin": replaced(n.begin, axis, b)}


def _wrong_halves(n: WindowParameters) -> Iterator[Change]:
    """Yield the padding of both ends split into halves."""
    if len(n.begin) == 1:
        return
    for more, word in ((0, "smaller"), (1, "larger")):
        halves = tuple((b + e + more) // 2 for b, e in zip(n.begin, n.end, strict=True))
        if halves not in (n.begin, n.end):
            yield (
                f"the padding is split into halves, the {word} one at the begin",
                {"begin": halves},
            )
