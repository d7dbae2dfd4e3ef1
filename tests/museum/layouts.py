"""Layouts: code that reads memory, and takes it for what it is not.

Here the numbers are right on plain arrays: what `certify` must name are the operands.
"""

from math import prod

import numpy as np

import convdense as cd
from tests.museum.exhibit import Exhibit, exhibit
from tests.museum.kernels import (
    Direct,
    Transposed,
    Windows,
    buffer,
    in_memory,
    is_channels_last,
    positions,
)

EXHIBITS: list[Exhibit] = []


@exhibit(
    "huggingface/candle",
    3736,
    cd.Conv((2, 3, 4), 3, 1),
    "outputs and gradients of a 1 x 1 kernel that is a slice of a larger one are wrong; of its "
    "contiguous copy they are right (found while #3735 was looked into)",
    "a sliced pointwise kernel, as reported; sizes are ours",
    behaviour="slice",
)
class OffsetOfTheOriginal(Direct):
    """A kernel that is not contiguous is copied; the copy is read from the original's offset."""

    def copy(self, w):
        if self.fixed or w.flags.c_contiguous:
            return w
        start = buffer(w)[1]
        return w.ravel()[(start + np.arange(w.size)) % w.size].reshape(w.shape)

    def y(self, x, w):
        return super().y(x, self.copy(w))

    def dx(self, x, w, dy):
        return super().dx(x, self.copy(w), dy)


@exhibit(
    "fla-org/flash-linear-attention",
    871,
    cd.Conv((3, 6), 3, 4, padding=((3, 0),), groups=3),
    "all gradients of a short causal convolution are wrong, silently, where the three of query, "
    "key and value come from one concatenation",
    "causal, width 4, depthwise, as that layer is; 6 steps, 3 channels",
    behaviour="slice|strided",
)
class StridesOfTheGradientAssumed(Direct):
    """The kernel reads dy with the strides of a contiguous array."""

    def backward(self, x, w, dy):
        return super().backward(x, w, dy if self.fixed else in_memory(dy))


@exhibit(
    "pytorch/pytorch",
    180984,
    cd.Conv((2, 3, 4), 2, 1),
    "conv2d on one half of the channels of a channels_last tensor is off by 0.3; with contiguous() "
    "it is right",
    "a pointwise kernel on a slice of channels, as reported; 2 channels on 3 x 4, not 1 on 1 x 2",
    behaviour="slice",
)
class SliceOfChannelsLast(Direct):
    """Channels that lie side by side are taken for all there are: the pixels for packed."""

    def y(self, x, w):
        if not self.fixed and is_channels_last(x):
            cells, start = buffer(x)
            packed = cells[(start + np.arange(x.size)) % cells.size]
            x = np.moveaxis(packed.reshape(len(x), *x.shape[2:], x.shape[1]), -1, 1)
        return super().y(x, w)


@exhibit(
    "pytorch/executorch",
    22951,
    cd.Conv((4, 6, 5), 4, 3, padding=1, groups=4),
    "MobileNetV3 gives a logit of 3094 where 8.146 is right; export and run raise nothing",
    "a depthwise 3 x 3 as in the issue's listing; 4 channels of 6 x 5, not 8 of 16 x 16",
    inference=True,
    behaviour="channels last|transposed",
)
class StridesNeverRead(Direct):
    """Sizes are read, strides are not: what lies as NHWC is taken for NCHW."""

    def y(self, x, w):
        return super().y(x, w) if self.fixed else super().y(in_memory(x), in_memory(w))


@exhibit(
    "pytorch/pytorch",
    174345,
    cd.AvgPool((3, 4, 6), 2),
    "avg_pool2d of a channels_last tensor that starts inside its storage is wrong",
    "kernel 2, as reported; 3 channels of 4 x 6, not 64 of 8 x 8. How it comes about is a guess",
    behaviour="channels last & slice|offset",
)
class OffsetForgotten(Windows):
    """With channels last, memory is read from its beginning, whatever the offset of the view."""

    def forward(self, x):
        if not self.fixed and is_channels_last(x):
            cells, _ = buffer(x)
            packed = cells[np.arange(x.size) % cells.size]
            x = np.moveaxis(packed.reshape(len(x), *x.shape[2:], x.shape[1]), -1, 1)
        return super().forward(x)


@exhibit(
    "pytorch/pytorch",
    188344,
    cd.AvgPool((2, 5, 6), 3, stride=2, padding=1),
    "the gradient of avg_pool2d is wrong for channels_last inputs with padding; its test never "
    "handed the padding on",
    "kernel 3, padding 1, channels last, as reported; sizes are ours",
    behaviour="channels last",
)
class PaddingForgottenForChannelsLast(Windows):
    """In the kernel for channels last a pixel's index is not moved by the padding."""

    def backward(self, x, dy):
        self.is_wrong = not self.fixed and is_channels_last(x)
        return super().backward(x, dy)

    def cells(self, axis, of):
        if of == "dx" and self.is_wrong:
            layer = self.layer
            places = layer.out_spatial[axis], layer.kernel[axis]
            return positions(*places, layer.stride[axis])
        return super().cells(axis, of)

    def divisors(self, of):
        return prod(self.layer.kernel)  # count_include_pad, no ceil_mode


@exhibit(
    "pytorch/pytorch",
    67829,
    cd.ConvTranspose((2, 2, 3, 2), 2, (2, 1, 2), stride=(1, 2, 1)),
    "the backward pass of conv_transpose3d is wrong when the gradient it gets is a view",
    "3-D, as reported; the pull request names no sizes",
    behaviour="strided|slice|transposed",
)
class GradientTakenForContiguous(Transposed):
    """The output gradient is read by its pointer, as if it were contiguous."""

    def backward(self, x, w, dy):
        return super().backward(x, w, dy if self.fixed else in_memory(dy))
