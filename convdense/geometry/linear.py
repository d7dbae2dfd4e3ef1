"""Layers without a window: the fully connected one, and a scale and a shift for each channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from convdense._util.arguments import complain, integer, is_sequence
from convdense.geometry.base import Hyperparameters


@dataclass(frozen=True, init=False, repr=False)
class Linear(Hyperparameters):
    """The hyper-parameters of a fully connected layer, as PyTorch calls it; it holds no weights.

    Parameters
    ----------
    in_features, out_features : int

    Examples
    --------
    >>> layer = Linear(128, out_features=10)
    >>> layer.in_shape, layer.out_shape, layer.weight_shape, layer.bias_shape
    ((128,), (10,), (10, 128), (10,))
    """

    in_features: int
    out_features: int

    def __init__(self, in_features: int, out_features: int) -> None:
        self._set(in_features=integer(in_features, "in_features", least=1))
        self._set(out_features=integer(out_features, "out_features", least=1))

    @cached_property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return (self.in_features,)

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return (self.out_features,)

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (out_features, in_features)."""
        return (self.out_features, self.in_features)

    @cached_property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output."""
        return (self.out_features,)

    def __repr__(self) -> str:
        return f"Linear({self.in_features}, out_features={self.out_features})"


@dataclass(frozen=True, init=False, repr=False)
class ChannelScale(Hyperparameters):
    """The hyper-parameters of a scale and a shift per channel, ``y_c = w_c x_c + b_c``.

    That is batch normalization once its statistics are fixed. As a dense layer it is diagonal, and
    its weights are tied within each channel.

    Parameters
    ----------
    in_shape : tuple of int
        One sample: ``(channels, *axes)``, or ``(features,)``.

    Examples
    --------
    >>> layer = ChannelScale((3, 8, 8))
    >>> layer.out_shape, layer.weight_shape, layer.bias_shape
    ((3, 8, 8), (3,), (3,))
    """

    in_shape: tuple[int, ...]

    def __init__(self, in_shape: Sequence[int]) -> None:
        if not is_sequence(in_shape):
            needs = "a tuple (channels, *axes) or (features,), such as (3, 32, 32)"
            raise TypeError(complain("in_shape", repr(in_shape), needs))
        if len(in_shape) < 1:
            raise ValueError(
                complain("in_shape", repr(in_shape), "(channels, *axes) or (features,)")
            )
        self._set(in_shape=tuple(integer(n, "in_shape", least=1) for n in in_shape))

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: that of the input."""
        return self.in_shape

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: one per channel."""
        return self.in_shape[:1]

    @cached_property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per channel."""
        return self.in_shape[:1]
