"""A window that slides over the padded input: the convolution, and the locally connected layer.

The second has the same window and no shared weights: every place has a kernel of its own.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convdense._util.arguments import Sizes, complain
from convdense.geometry import padding as pad
from convdense.geometry.base import Geometry
from convdense.geometry.padding import Modes, Padding


@dataclass(frozen=True, init=False, repr=False)
class Windowed(Geometry, ABC):
    """A window that slides over the padded input: what Conv and LocallyConnected share."""

    padding_mode: Modes
    padding_value: float
    input_dilation: tuple[int, ...]

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
        padding_mode: str | Sequence[str] = "zeros",
        padding_value: float = 0,
        input_dilation: Sizes = 1,
        flip: bool = False,
    ) -> None:
        self._set_common(
            in_shape,
            out_channels,
            groups,
            flip,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            input_dilation=input_dilation,
        )
        pairs = pad.resolve(
            padding, self._dilated(), self.kernel, self.stride, self.dilation, crops=True
        )
        modes = pad.check_modes(padding_mode, pairs, self._dilated())
        self._set(padding=pairs, padding_mode=modes)
        self._set(padding_value=pad.check_value(padding_value, self.padding_modes))
        self._check_input_dilation()
        self._check_windows()

    def _dilated(self) -> list[int]:
        """Return the cells of each axis of the input, with the zeros that its dilation puts in."""
        sizes = zip(self.in_spatial, self.input_dilation, strict=True)
        return [pad.dilated(n, d) for n, d in sizes]

    def _check_input_dilation(self) -> None:
        """Refuse what no library joins with zeros between the cells: it would have two meanings."""
        if max(self.input_dilation) == 1:
            return
        name = "padding_mode" if set(self.padding_modes) != {"zeros"} else "padding_value"
        if getattr(self, name) not in ("zeros", 0):
            got = f"{self.input_dilation} beside {name}={getattr(self, name)!r}"
            raise ValueError(complain("input_dilation", got, "1 there, or padding with zeros"))

    def _check_windows(self) -> None:
        """Refuse a window that is longer than the padded input, unless the axis is empty."""
        numbers = zip(
            self.in_spatial, self._dilated(), self.padding, self.kernel, self.dilation, strict=True
        )
        for axis, (n, cells, pair, k, d) in enumerate(numbers):
            window = pad.effective(k, d)
            if n and window > cells + sum(pair):
                got = f"{k} with dilation {d}, a window of {window} cells, on axis {axis}"
                room = f"{cells} and padding {pair}"
                needs = f"a window of at most {cells + sum(pair)} cells there: {room}"
                do = "use a smaller kernel or more padding"
                if self.in_shape[-1] < min(self.in_shape[:-1]):  # Keras' order
                    do += "; in_shape is (channels, *axes), channels first"
                raise ValueError(complain("kernel", got, needs, do))

    @cached_property
    def padding_modes(self) -> tuple[str, ...]:
        """The padding mode of every axis."""
        modes = self.padding_mode
        return (modes,) * len(self.kernel) if isinstance(modes, str) else modes

    @cached_property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis.

        ``floor((size + begin + end - effective kernel) / stride) + 1``: Dumoulin & Visin, *A guide
        to convolution arithmetic for deep learning*, relation 6, with dilation. Of an empty axis
        without room for a window it is 0.
        """
        numbers = zip(
            self._dilated(), self.padding, self.kernel, self.dilation, self.stride, strict=True
        )
        return tuple(
            max(0, (n + sum(pair) - pad.effective(k, d)) // s + 1) for n, pair, k, d, s in numbers
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data; what few layers have is left out of the others."""
        data = super().to_dict()
        rare = {"padding_value": 0, "input_dilation": (1,) * len(self.kernel)}
        return {name: value for name, value in data.items() if value != rare.get(name)}


@dataclass(frozen=True, init=False, repr=False)
class Conv(Windowed):
    """The hyper-parameters of a convolution; it holds no weights.

    It is a cross-correlation, as in every deep-learning library; ``flip=True`` gives the textbook's
    convolution.

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
    padding : int, one per axis, a (begin, end) pair per axis, or a word
        Cells added around the input; the words are "valid", "same", "same_lower" and "full". A
        number below 0 takes cells away, before others are added.
    groups : int
        Blocks of channels that do not see each other; as many as channels is depthwise.
    padding_mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}, or one per axis
        What the added cells hold: ``("circular", "zeros")`` is a cylinder.
    padding_value : float
        What they hold in place of 0, along axes of mode "zeros". The layer is then affine: what
        this adds to an output joins its bias.
    input_dilation : int or one int per axis
        Distance between the input's cells, with zeros between them: JAX's ``lhs_dilation``.
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

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (out_channels, in_channels / groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)


@dataclass(frozen=True, init=False, repr=False)
class LocallyConnected(Windowed):
    """The hyper-parameters of a convolution whose weights are not tied.

    It has the same mask, and every window has its own kernel. With zero padding, weights that would
    meet padded cells have no edge.

    Parameters
    ----------
    in_shape, out_channels, kernel, stride, padding, dilation, groups, padding_mode, padding_value,
    input_dilation, flip
        As for `Conv`.

    Examples
    --------
    >>> layer = LocallyConnected((1, 5, 5), out_channels=2, kernel=3)
    >>> layer.weight_shape, layer.bias_shape
    ((2, 1, 3, 3, 3, 3), (2, 3, 3))
    """

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: (out_channels, in_channels / groups, *out_spatial, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.out_spatial, *self.kernel)

    @cached_property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output."""
        return self.out_shape
