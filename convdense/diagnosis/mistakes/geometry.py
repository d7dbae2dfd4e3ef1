"""A layer's hyper-parameters got wrong: a kernel reversed, a stride forgotten, padding swapped or shifted by a cell."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure.axis import Axis, channels, window
from convdense.structure.tie_map import TieMap

Change = tuple[
    str, dict[str, Any]
]  # a sentence, and the numbers that it puts in place of the right ones


class WindowParameters(NamedTuple):
    """The hyper-parameters of a convolution along its axes; a transposed one's window slides over its outputs."""

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    mode: str
    flip: tuple[bool, ...]

    @property
    def left_over(self) -> tuple[int, ...]:
        """How many cells at the end no window reaches; a transposed convolution's output padding."""
        padded = (n + b + e for n, b, e in zip(self.ins, self.begin, self.end, strict=True))
        last = zip(self.outs, self.stride, self.kernel, self.dilation, strict=True)
        return tuple(
            n - (o - 1) * s - (k - 1) * d - 1 for n, (o, s, k, d) in zip(padded, last, strict=True)
        )


def window_parameters(layer: Conv | ConvTranspose) -> WindowParameters:
    """Return the hyper-parameters of a layer."""
    ins, outs = layer.in_spatial, layer.out_spatial
    if isinstance(layer, ConvTranspose):
        ins, outs = outs, ins  # the window slides over the outputs
    begin, end = (tuple(pair[i] for pair in layer.padding) for i in (0, 1))
    flip = (layer.flip,) * len(ins)
    return WindowParameters(
        ins, outs, layer.kernel, layer.stride, layer.dilation, begin, end, layer.padding_mode, flip
    )


def windows(n: WindowParameters) -> list[Axis]:
    """Return the axes that these numbers give."""
    sizes = zip(n.ins, n.outs, n.kernel, n.stride, n.dilation, n.begin, n.flip, strict=True)
    return [
        window(n_in, n_out, k, stride=s, dilation=d, begin=begin, mode=n.mode, flip=flip)
        for n_in, n_out, k, s, d, begin, flip in sizes
    ]


def exists(axes: Sequence[Axis]) -> bool:
    """Tell whether all cells that padding copies exist; a window too far out has none."""
    return all(a.cols.min(initial=0) >= 0 and a.cols.max(initial=0) < a.n_cols for a in axes)


def tie_map(layer: Geometry, axes: Sequence[Axis], first: Axis | None = None) -> TieMap:
    """Return the tie map of these axes, the channels' axis changed or as it is."""
    transposed = isinstance(layer, ConvTranspose)
    outs, ins = (
        (layer.in_channels, layer.out_channels)
        if transposed
        else (layer.out_channels, layer.in_channels)
    )
    whole = TieMap((first or channels(outs, ins, layer.groups), *axes))
    return whole.T if transposed else whole


def subsets(n: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield some of n axes, the most first, and the words for them."""
    for size in range(n, 0, -1):
        for some in combinations(range(n), size):
            yield (
                some,
                "all axes"
                if size == n and size > 1
                else f"axis {some[0]}"
                if size == 1
                else f"axes {some}",
            )


def changes(n: WindowParameters, transposed: bool) -> Iterator[Change]:
    """Yield what people put in place of the right numbers, the most common first."""
    for some, which in subsets(len(n.kernel)):
        yield (
            f"the kernel is reversed on {which}",
            {"flip": tuple(f != (i in some) for i, f in enumerate(n.flip))},
        )
    for name in ("dilation", "stride"):
        yield from _steps(n, name)
    yield from _padding(n, transposed)
    for mode in ("zeros", "circular", "reflect", "replicate", "symmetric"):
        if mode != n.mode and any((*n.begin, *n.end)):
            yield f"the padding is taken for {mode}, not for {n.mode}", {"mode": mode}


def _steps(n: WindowParameters, name: str) -> Iterator[Change]:
    """Yield the stride or the dilation forgotten, or taken from another axis."""
    own: tuple[int, ...] = getattr(n, name)
    ones, word = (1,) * len(own), "ignored" if name == "dilation" else "forgotten"
    if own != ones:
        yield f"the {name} is {word}", {name: ones}
    if len(set(own)) == 1:
        if own != ones and len(own) > 1:
            for i in range(len(own)):
                yield f"the {name} is {word} on axis {i}", {name: (*own[:i], 1, *own[i + 1 :])}
        return
    for i, step in enumerate(own):
        others = (*own[:i], 1, *own[i + 1 :])
        if step > 1 and others != ones:
            yield f"the {name} is {word} on axis {i}", {name: others}
        if step > 1:
            yield f"the {name} of axis {i} is used on every axis", {name: (step,) * len(own)}
    yield f"the {name} of the axes is in reverse order", {name: own[::-1]}


def _padding(n: WindowParameters, transposed: bool) -> Iterator[Change]:
    """Yield padding swapped, halved, forgotten, shifted by a cell, or with the cells left over in front."""
    if n.begin != n.end:
        yield "the padding at begin and end is swapped", {"begin": n.end, "end": n.begin}
    if any(n.left_over):
        what = "output_padding is" if transposed else "the cells left over are"
        moved = tuple(b - over for b, over in zip(n.begin, n.left_over, strict=True))
        yield f"{what} put in front: everything is shifted by it", {"begin": moved}
    if any(n.begin):
        yield (
            "the padding is not cropped: everything is shifted by it",
            {"begin": (0,) * len(n.begin)},
        )
    if len(set(n.begin)) > 1:
        yield (
            "the padding of the axes is in reverse order",
            {"begin": n.begin[::-1], "end": n.end[::-1]},
        )
    for step, word in ((1, "more"), (-1, "less")):
        if all(b + step >= 0 for b in n.begin):
            begin = tuple(b + step for b in n.begin)
            yield f"one cell of padding {word} at the begin of every axis", {"begin": begin}
        for i, b in enumerate(n.begin):
            if len(n.begin) > 1 and b + step >= 0:
                begin = (*n.begin[:i], b + step, *n.begin[i + 1 :])
                yield f"one cell of padding {word} at the begin of axis {i}", {"begin": begin}
    for more, word in ((0, "smaller"), (1, "larger")):
        halves = tuple((b + e + more) // 2 for b, e in zip(n.begin, n.end, strict=True))
        if len(n.begin) > 1 and halves not in (n.begin, n.end):
            yield (
                f"the padding is split into halves, the {word} one at the begin",
                {"begin": halves},
            )
