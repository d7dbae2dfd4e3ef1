"""A window that slides over the padded input: the convolution, and the locally connected layer.

The second has the same window and no shared weights: every place has a kernel of its own.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from convdense._util.arguments import Sizes, complain
from convdense.geometry import padding as pad
from convdense.geometry.base import Geometry
from convdense.geometry.padding import Padding


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
        self._set_common(
            in_shape, out_channels, groups, flip, kernel=kernel, stride=stride, dilation=dilation
        )
        pairs = pad.resolve(padding, self.in_spatial, self.kernel, self.stride, self.dilation)
        self._set(padding=pairs, padding_mode=pad.check_mode(padding_mode, pairs, self.in_spatial))
        self._check_windows()

    def _check_windows(self) -> None:
        """Refuse a window that is longer than the padded input."""
        numbers = zip(self.in_spatial, self.padding, self.kernel, self.dilation, strict=True)
        for axis, (n, pair, k, d) in enumerate(numbers):
            window = pad.effective(k, d)
            if window > n + sum(pair):
                got = f"{k} with dilation {d}, a window of {window} cells, on axis {axis}"
                needs = f"a window of at most {n + sum(pair)} cells there: {n} and padding {pair}"
                do = "use a smaller kernel or more padding"
                raise ValueError(complain("kernel", got, needs, do))

    @cached_property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis.

        ``floor((size + begin + end - effective kernel) / stride) + 1``: Dumoulin & Visin, *A guide
        to convolution arithmetic for deep learning*, relation 6, with dilation.
        """
        numbers = zip(
            self.in_spatial, self.padding, self.kernel, self.dilation, self.stride, strict=True
        )
        return tuple((n + sum(pair) - pad.effective(k, d)) // s + 1 for n, pair, k, d, s in numbers)


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
        Cells added around the input; the words are "valid", "same", "same_lower" and "full".
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
    in_shape, out_channels, kernel, stride, padding, dilation, groups, padding_mode, flip
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
