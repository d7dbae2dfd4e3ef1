"""Transposed convolution: the window stamps the output, which is then cropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from convdense._util.arguments import Sizes, choice, complain, per_axis
from convdense.geometry import padding as pad
from convdense.geometry.base import Geometry
from convdense.geometry.padding import Padding, Pairs


@dataclass(frozen=True, init=False, repr=False)
class ConvTranspose(Geometry):
    """The hyper-parameters of a transposed convolution: the dense layer of a `Conv`, transposed.

    ``ConvTranspose(padding=p)`` is the transpose of the ``Conv(padding=p)`` that leads from its
    output to its input, so padding *crops* the output.

    Parameters
    ----------
    in_shape, out_channels, kernel, stride, dilation, groups, flip
        As for `Conv`.
    padding : as for `Conv`
        Cells cropped from the output; "same" gives ``size * stride`` outputs. A number below 0
        adds cells.
    output_padding : int or one int per axis
        Cells added at the end of the output. With "same" it follows from the sizes.

    Examples
    --------
    >>> up = ConvTranspose((8, 16, 16), 3, kernel=3, stride=2, padding=1, output_padding=1)
    >>> up.out_shape, up.weight_shape
    ((3, 32, 32), (8, 3, 3, 3))
    """

    output_padding: tuple[int, ...]
    padding_mode: ClassVar[str] = "zeros"
    padding_value: ClassVar[int] = 0

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
        self._set_common(
            in_shape, out_channels, groups, flip, kernel=kernel, stride=stride, dilation=dilation
        )
        extra = per_axis(output_padding, "output_padding", len(self.kernel), 0)
        if isinstance(padding, str) and padding.startswith("same"):
            pairs, extra = self._same(choice(padding, "padding", pad.WORDS, pad.OTHER_WORDS), extra)
        else:
            pairs = pad.resolve(
                padding, self.in_spatial, self.kernel, self.stride, self.dilation, crops=True
            )
        self._set(padding=pairs, output_padding=extra)
        sizes = zip(self.in_spatial, self.out_spatial, strict=True)
        if any(n and n_out < 1 for n, n_out in sizes):  # of an empty axis nothing may be left
            needs = "less cropping than the full output has cells"
            do = f"as it stands out_spatial={self.out_spatial}"
            raise ValueError(complain("padding", pairs, needs, do))

    def _same(self, word: str, extra: tuple[int, ...]) -> tuple[Pairs, tuple[int, ...]]:
        """Return the crops and output_padding that give size * stride outputs."""
        if any(extra):
            needs = f"0 with padding={word!r}, where it follows from kernel and stride"
            raise ValueError(complain("output_padding", extra, needs))
        windows = [pad.effective(k, d) for k, d in zip(self.kernel, self.dilation, strict=True)]
        # Uncropped there are (size - 1) stride + window outputs: window - stride more than wanted.
        surplus = [window - s for window, s in zip(windows, self.stride, strict=True)]
        crops = tuple(pad.split(max(n, 0), word) for n in surplus)
        missing = tuple(max(-n, 0) for n in surplus)
        return crops, missing

    @property
    def padding_modes(self) -> tuple[str, ...]:
        """The padding mode of every axis: that of the convolution it is the transpose of."""
        return (self.padding_mode,) * len(self.kernel)

    @property
    def input_dilation(self) -> tuple[int, ...]:
        """That of the convolution it is the transpose of: none, its stride does this here."""
        return (1,) * len(self.kernel)

    @cached_property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis.

        ``(size - 1) * stride - begin - end + effective kernel + output_padding``: Dumoulin & Visin,
        *A guide to convolution arithmetic for deep learning*, relation 14, with dilation. Of an
        empty axis, at least 0.
        """
        numbers = zip(
            self.in_spatial,
            self.padding,
            self.kernel,
            self.dilation,
            self.stride,
            self.output_padding,
            strict=True,
        )
        sizes = [
            (n - 1) * s - sum(pair) + pad.effective(k, d) + e for n, pair, k, d, s, e in numbers
        ]
        return tuple(
            size if n else max(0, size) for n, size in zip(self.in_spatial, sizes, strict=True)
        )

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array: (in_channels, out_channels / groups, *kernel)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel)
