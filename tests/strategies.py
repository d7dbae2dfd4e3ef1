"""Random valid layers for hypothesis, and integers of both signs to run them on.

The layers are built so that none is thrown away.
"""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from convdense import Conv, ConvTranspose, LocallyConnected

KINDS = (Conv, ConvTranspose, LocallyConnected)
FORMS = ("int", "per axis", "pairs", "valid", "same", "same_lower", "full")
MODES = ("zeros", "circular", "reflect", "replicate", "symmetric")

_AXES = (1, 1, 2, 2, 3, 3, 4)
# Axes -> the largest kernel, padding, cells beyond the shortest possible input, and channels per
# group.
_LARGEST = {1: (4, 3, 5, 3), 2: (3, 2, 2, 2), 3: (2, 1, 2, 2), 4: (2, 1, 1, 1)}
_BEYOND_PAD = {
    "circular": 0,
    "reflect": 1,
    "symmetric": 0,
}  # cells an axis needs beyond its larger pad


class Call(NamedTuple):
    """One call of a layer's class, as a user would type it."""

    kind: type
    in_shape: tuple[int, ...]
    out_channels: int
    kernel: Any
    options: dict[str, Any]
    form: str  # how the padding is said, one of FORMS

    def layer(self):
        return self.kind(self.in_shape, self.out_channels, self.kernel, **self.options)

    def __repr__(self):
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.kind.__name__}({self.in_shape}, {self.out_channels}, {self.kernel}{options})"


@st.composite
def calls(draw, kinds=KINDS, max_axes=3, forms=FORMS, modes=MODES, min_axes=1):
    """Draw the numbers of every axis first, then an input that is long enough for them."""
    kind = draw(st.sampled_from(kinds))
    axes = draw(st.sampled_from([n for n in _AXES if min_axes <= n <= max_axes]))
    largest_kernel, largest_pad, slack, channels = _LARGEST[axes]
    kernel, stride, dilation = (
        _per_axis(draw, axes, 1, high) for high in (largest_kernel, 3, 3 if axes == 1 else 2)
    )
    windows = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    form = draw(st.sampled_from(forms))
    padding, pairs = _padding(draw, form, windows, largest_pad)
    options = {"stride": shortest(stride), "padding": padding, "dilation": shortest(dilation)}
    if kind is ConvTranspose:
        limits = [
            1 if "same" in form else max(numbers) for numbers in zip(stride, dilation, strict=True)
        ]
        extra = tuple(draw(st.integers(0, limit - 1)) for limit in limits)
        if any(extra):
            options["output_padding"] = shortest(extra)
        least = map(_least_transposed, pairs, windows, stride, extra)
    else:
        options["padding_mode"] = draw(st.sampled_from(modes))
        least = [
            _least(pair, window, options["padding_mode"])
            for pair, window in zip(pairs, windows, strict=True)
        ]
    spatial = (n + draw(st.integers(0, slack)) for n in least)
    groups = draw(st.integers(1, 3))
    ins = draw(st.integers(1, channels))
    outs = draw(st.integers(1, channels))
    options |= {"groups": groups, "flip": draw(st.booleans())}
    return Call(kind, (groups * ins, *spatial), groups * outs, shortest(kernel), options, form)


def layers(kinds=KINDS, max_axes=3, forms=FORMS, modes=MODES):
    """Return a strategy of layers of these kinds.

    They have up to `max_axes` axes (at most 4) beside the channels.
    """
    return calls(kinds, max_axes, forms, modes).map(Call.layer)


seeds = st.integers(0, 2**32 - 1)


def signed_integers(seed, shape, magnitude, dtype=np.float64):
    """Return integers without 0 up to `magnitude`, of both signs if there are two.

    Complex ones have two such parts.
    """
    rng = np.random.default_rng(seed)  # a generator is taken as it is
    if np.dtype(dtype).kind == "c":
        return (
            signed_integers(rng, shape, magnitude) + 1j * signed_integers(rng, shape, magnitude)
        ).astype(dtype)
    values = rng.integers(1, magnitude, shape, endpoint=True) * rng.choice((-1, 1), shape)
    if (values > 0).all() or (values < 0).all():
        values.flat[0] *= -1
    return values.astype(dtype)


def integers_for(layer, seed, batch=2, magnitude=9, dtype=np.float64):
    """Return x, w, b and dy for a layer, all integers.

    They are small enough that no sum of products is ever rounded.
    """
    rng = np.random.default_rng(seed)
    shapes = (
        (batch, *layer.in_shape),
        layer.weight_shape,
        layer.bias_shape,
        (batch, *layer.out_shape),
    )
    return tuple(signed_integers(rng, shape, magnitude, dtype) for shape in shapes)


def shortest(values):
    """Return one number for a tuple whose entries are all equal, as people write it."""
    return values[0] if len(set(values)) == 1 else values


def _per_axis(draw, axes, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(axes))


def _padding(draw, form, windows, largest):
    """Return the padding argument and, per axis, the most cells it adds at begin and end."""
    axes = len(windows)
    if form == "int":
        pad = draw(st.integers(0, largest))
        return pad, [(pad, pad)] * axes
    if form == "per axis":
        pads = _per_axis(draw, axes, 0, largest)
        return pads, [(pad, pad) for pad in pads]
    if form == "pairs":
        pairs = tuple(
            (draw(st.integers(0, largest)), draw(st.integers(0, largest))) for _ in windows
        )
        return pairs, pairs
    cells = {"valid": lambda _: 0, "full": lambda window: window - 1}.get(
        form, lambda window: window // 2
    )
    return form, [(cells(window), cells(window)) for window in windows]


def _least(pair, window, mode):
    """Return the shortest input the window fits into, with the cells its padding copies."""
    supply = max(pair) + _BEYOND_PAD[mode] if mode in _BEYOND_PAD else 1
    return max(1, window - sum(pair), supply)


def _least_transposed(pair, window, stride, extra):
    """Return the shortest input whose output keeps a cell when both ends are cropped."""
    return max(1, 1 - (window + extra - sum(pair) - 1) // stride)
