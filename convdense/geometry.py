"""Geometry: the numbers of a layer (sizes, stride, padding, groups), without weights and without indices.

The conventions of the whole library, said once: batch first, channels first; "convolution" means
cross-correlation, as in every deep-learning library, and ``flip=True`` gives the textbook one; weights are
``(out, in / groups, *kernel)``, for a transposed convolution ``(in, out / groups, *kernel)``, for a locally
connected layer ``(out, in / groups, *out_axes, *kernel)``; ``"same"`` puts the extra cell at the end
(TensorFlow's SAME, ONNX's SAME_UPPER), ``"same_lower"`` at the beginning.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np

from convdense import padding as pad
from convdense.arguments import Array, Sizes, batched, complain, integer, is_integer, per_axis, shaped
from convdense.padding import Padding, Pairs


class Shapes(Protocol):
    """Anything that says what its arrays look like: a geometry or a tie map."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""


@dataclass(frozen=True, init=False, repr=False)
class Geometry(ABC):
    """What every layer with a sliding window has; the concrete classes say how sizes and weights follow."""

    in_shape: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    flip: bool

    @property
    @abstractmethod
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis."""

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""

    @property
    @abstractmethod
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return self.in_shape[0]

    @property
    def in_spatial(self) -> tuple[int, ...]:
        """Input positions along each axis."""
        return self.in_shape[1:]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: (out_channels, *out_spatial)."""
        return (self.out_channels, *self.out_spatial)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data; `layer_from_dict` reads it back."""
        return {"type": type(self).__name__, **asdict(self)}

    def __repr__(self) -> str:
        """Return the call that makes this layer; options at their defaults are left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        shown = [repr(values.pop("in_shape"))]
        shown += [f"{name}={_shortest(v)!r}" for name, v in values.items() if _shortest(v) != _DEFAULTS.get(name)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the one moment a frozen dataclass is written

    def _set_common(
        self, in_shape: Any, out_channels: Any, kernel: Any, stride: Any, dilation: Any, groups: Any, flip: Any
    ) -> None:
        shape = _in_shape(in_shape)
        axes = len(shape) - 1
        if not isinstance(flip, bool):
            raise TypeError(complain("flip", repr(flip), "True or False"))
        self._set(in_shape=shape, out_channels=integer(out_channels, "out_channels", 1), flip=flip)
        self._set(kernel=per_axis(kernel, "kernel", axes, 1), stride=per_axis(stride, "stride", axes, 1))
        self._set(dilation=per_axis(dilation, "dilation", axes, 1), groups=integer(groups, "groups", 1))
        for name, channels in (("in_shape", shape[0]), ("out_channels", self.out_channels)):
            if channels % self.groups:
                needs = f"a divisor of the {channels} channels of {name}"
                raise ValueError(complain("groups", self.groups, needs))


@dataclass(frozen=True, init=False, repr=False)
class Windowed(Geometry, ABC):
    """A window that slides over the padded input: what Conv and LocallyConnected share."""

    padding_mode: str

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        kernel: Sizes,
        *,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        flip: bool = False,
    ) -> None:
        self._set_common(in_shape, out_channels, kernel, stride, dilation, groups, flip)
        pairs = pad.resolve(padding, self.in_spatial, self.kernel, self.stride, self.dilation)
        self._set(padding=pairs, padding_mode=pad.check_mode(padding_mode, pairs, self.in_spatial))
        for axis, (n, pair, k, d) in enumerate(
            zip(self.in_spatial, pairs, self.kernel, self.dilation, strict=True)
        ):
            if pad.effective(k, d) > n + sum(pair):
                got = f"{k} with dilation {d}, a window of {pad.effective(k, d)} cells, on axis {axis}"
                needs = f"a window of at most {n + sum(pair)} cells there: {n} and padding {pair}"
                raise ValueError(complain("kernel", got, needs, "use a smaller kernel or more padding"))

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis: ``floor((size + begin + end - effective kernel) / stride) + 1``.

        Dumoulin & Visin, *A guide to convolution arithmetic for deep learning*, relation 6, with dilation.
        """
        numbers = zip(self.in_spatial, self.padding, self.kernel, self.dilation, self.stride, strict=True)
        return tuple((n + sum(pair) - pad.effective(k, d)) // s + 1 for n, pair, k, d, s in numbers)


class Conv(Windowed):
    """The numbers of a convolution (cross-correlation; ``flip=True`` for the textbook one). It holds no weights.

    Parameters
    ----------
    in_shape : tuple of int
        One sample: ``(channels, *axes)`` with one or more axes.
    out_channels : int
        Number of output channels.
    kernel : int or one int per axis
        Size of the window.
    stride, dilation : int or one int per axis
        Step of the window; distance between its taps.
    padding : int, one per axis, a (begin, end) pair per axis, or "valid", "same", "same_lower", "full"
        Cells added around the input.
    groups : int
        Blocks of channels that do not see each other; as many as channels is depthwise.
    padding_mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}
        What the added cells hold.
    flip : bool
        Reverse the kernel along every axis.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.

    Examples
    --------
    >>> conv = Conv((3, 32, 32), out_channels=8, kernel=3, stride=2, padding=1)
    >>> conv
    Conv((3, 32, 32), out_channels=8, kernel=3, stride=2, padding=1)
    >>> conv.out_shape, conv.weight_shape
    ((8, 16, 16), (8, 3, 3, 3))
    """

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (out_channels, in_channels / groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output channel."""
        return (self.out_channels,)


class LocallyConnected(Windowed):
    """The numbers of a convolution whose weights are not tied: the same mask, every edge its own weight.

    Parameters
    ----------
    in_shape, out_channels, kernel, stride, padding, dilation, groups, padding_mode, flip
        As for `Conv`.

    Examples
    --------
    >>> layer = LocallyConnected((1, 5, 5), out_channels=2, kernel=3)
    >>> layer.weight_shape, layer.bias_shape
    ((2, 1, 3, 3, 3, 3), (2, 3, 3))
    """

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (out_channels, in_channels / groups, *out_spatial, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.out_spatial, *self.kernel)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output."""
        return self.out_shape


@dataclass(frozen=True, init=False, repr=False)
class ConvTranspose(Geometry):
    """The numbers of a transposed convolution: the dense layer of a `Conv`, transposed.

    ``ConvTranspose(padding=p)`` is the transpose of the ``Conv(padding=p)`` that leads from its output to its input,
    so padding *crops* the output.

    Parameters
    ----------
    in_shape, out_channels, kernel, stride, dilation, groups, flip
        As for `Conv`.
    padding : as for `Conv`
        Cells cropped from the output; "same" gives ``size * stride`` outputs.
    output_padding : int or one int per axis
        Cells added at the end of the output, fewer than stride or dilation. With "same" it follows from the sizes.

    Examples
    --------
    >>> up = ConvTranspose((8, 16, 16), out_channels=3, kernel=3, stride=2, padding=1, output_padding=1)
    >>> up.out_shape, up.weight_shape
    ((3, 32, 32), (8, 3, 3, 3))
    """

    output_padding: tuple[int, ...]
    padding_mode: ClassVar[str] = "zeros"

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        kernel: Sizes,
        *,
        stride: Sizes = 1,
        padding: Padding = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        flip: bool = False,
    ) -> None:
        self._set_common(in_shape, out_channels, kernel, stride, dilation, groups, flip)
        extra = per_axis(output_padding, "output_padding", len(self.kernel), 0)
        if padding in ("same", "same_lower"):
            pairs, extra = self._same(str(padding), extra)
        else:
            pairs = pad.resolve(padding, self.in_spatial, self.kernel, self.stride, self.dilation)
        self._set(padding=pairs, output_padding=extra)
        for axis, (e, s, d) in enumerate(zip(extra, self.stride, self.dilation, strict=True)):
            if e >= max(s, d):
                needs = f"less than {max(s, d)} on axis {axis}, the larger of stride {s} and dilation {d}"
                raise ValueError(complain("output_padding", e, needs))
        if min(self.out_spatial) < 1:
            needs = "less cropping than the full output has cells"
            raise ValueError(complain("padding", pairs, needs, f"as it stands out_spatial={self.out_spatial}"))

    def _same(self, word: str, extra: tuple[int, ...]) -> tuple[Pairs, tuple[int, ...]]:
        """Return the crops and output_padding that give size * stride outputs."""
        if any(extra):
            needs = f"0 with padding={word!r}, where it follows from kernel and stride"
            raise ValueError(complain("output_padding", extra, needs))
        windows = [pad.effective(k, d) for k, d in zip(self.kernel, self.dilation, strict=True)]
        surplus = [e - s for e, s in zip(windows, self.stride, strict=True)]
        return tuple(pad.split(max(n, 0), word) for n in surplus), tuple(max(-n, 0) for n in surplus)

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions: ``(size - 1) * stride - begin - end + effective kernel + output_padding``.

        Dumoulin & Visin, *A guide to convolution arithmetic for deep learning*, relation 14, with dilation.
        """
        numbers = zip(
            self.in_spatial, self.padding, self.kernel, self.dilation, self.stride, self.output_padding, strict=True
        )
        return tuple((n - 1) * s - sum(pair) + pad.effective(k, d) + e for n, pair, k, d, s, e in numbers)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (in_channels, out_channels / groups, *kernel)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output channel."""
        return (self.out_channels,)


_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "flip": False, "padding_mode": "zeros",
             "output_padding": 0}
_KINDS: dict[str, type[Geometry]] = {kind.__name__: kind for kind in (Conv, LocallyConnected, ConvTranspose)}


def layer_from_dict(data: dict[str, Any]) -> Geometry:
    """Return the layer that `Geometry.to_dict` wrote; only the kinds of this module are known, nothing is imported.

    Examples
    --------
    >>> layer_from_dict(Conv((1, 5), out_channels=2, kernel=3).to_dict())
    Conv((1, 5), out_channels=2, kernel=3)
    """
    values = dict(data)
    kind = values.pop("type", None)
    if kind not in _KINDS:
        raise ValueError(complain("type", repr(kind), "one of " + ", ".join(map(repr, _KINDS))))
    return _KINDS[kind](**values)


def _in_shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise TypeError(complain("in_shape", repr(value), "a tuple (channels, *axes), such as (3, 32, 32)"))
    if len(value) < 2:
        needs = "(channels, *axes) with at least one axis, such as (3, 32, 32)"
        raise ValueError(complain("in_shape", repr(value), needs))
    return tuple(integer(n, "in_shape", 1) for n in value)


def _shortest(value: Any) -> Any:
    """Write one number for a tuple whose entries are all equal: (3, 3) as 3, ((1, 1), (1, 1)) as 1."""
    if not isinstance(value, tuple):
        return value
    entries = [_shortest(v) for v in value]
    return entries[0] if entries.count(entries[0]) == len(entries) and is_integer(entries[0]) else tuple(entries)


def forward_operands(layer: Shapes, x: Any, w: Any, b: Any) -> tuple[Array, Array, Array | None, bool]:
    """Return x (with a batch axis), w and b, checked against the layer, and whether x came with a batch axis."""
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    bias = None if b is None else shaped(b, "b", layer.bias_shape, layer)
    return batch, shaped(w, "w", layer.weight_shape, layer), bias, had_batch


def backward_operands(layer: Shapes, x: Any, w: Any, dy: Any) -> tuple[Array, Array, Array, bool]:
    """Return x and dy (with a batch axis) and w, checked against the layer, and whether x came with a batch axis."""
    batch, had_batch = batched(x, "x", layer.in_shape, layer)
    upstream, dy_had_batch = batched(dy, "dy", layer.out_shape, layer)
    if (len(upstream), dy_had_batch) != (len(batch), had_batch):
        need = (*((len(batch),) if had_batch else ()), *layer.out_shape)
        raise ValueError(complain("dy", f"shape {np.shape(dy)}", f"{need}, the batch of x", "give both the same batch"))
    return batch, shaped(w, "w", layer.weight_shape, layer), upstream, had_batch
