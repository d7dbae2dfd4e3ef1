"""Transposed convolutions: padding is a crop, and stride works on the other side."""

from math import prod

import numpy as np

import convdense as cd
from tests.museum.exhibit import GONE, Exhibit, exhibit
from tests.museum.kernels import Transposed, by_group, positions

EXHIBITS: list[Exhibit] = []


@exhibit(
    "huggingface/candle",
    2337,
    cd.ConvTranspose((2, 3, 5), 3, (3, 5), stride=2),
    "training with stride 2 ended in a shape mismatch in the backward pass",
    "stride 2, dilation 1, as reported; the kernel is as large as the input, so that shapes agree "
    "and nothing is raised",
    dx="stride & dilation",
)
class StrideForDilation(Transposed):
    """The convolution that gives dx takes the stride for the dilation and the reverse."""

    def cells(self, axis, of):
        layer = self.layer
        step, gap = layer.stride[axis], layer.dilation[axis]
        if of == "dx" and not self.fixed:
            step, gap = gap, step
        places = layer.in_spatial[axis], layer.kernel[axis]
        return positions(*places, step, gap, self.begin(axis))


@exhibit(
    "pytorch/pytorch",
    63314,
    cd.ConvTranspose((1, 1, 2), 1, 1, stride=2),
    "dy = 1.5, 0, 0.7: the second dx is made of 0, not of 0.7; on a GPU it is right",
    dx="stride",
)
class PointwiseIsNotAlwaysAMatrixProduct(Transposed):
    """With kernel 1 the output gradient is multiplied as it lies, whatever the stride."""

    def dx(self, x, w, dy):
        if self.fixed or prod(self.layer.kernel) > 1:
            return super().dx(x, w, dy)
        cells, out = prod(x.shape[2:]), dy.shape[1]
        flat = dy.reshape(len(dy), -1)[:, : out * cells].reshape(len(dy), out, cells)
        return (w.reshape(len(w), out) @ flat).reshape(x.shape)


@exhibit(
    "microsoft/onnxruntime",
    9370,
    cd.ConvTranspose((2, 3, 3), 1, 3, stride=2, padding="same_lower"),
    "ConvTranspose with auto_pad does the opposite of the definition where the padding is odd",
    "2 x 3 x 3, kernel 3, stride 2, as in #11927 on the same code",
    inference=True,
    y="padding|crop|same & side|begin|end|lower|upper|shift|exchanged|swapped",
)
class UpperForLower(Transposed):
    """SAME_LOWER puts the odd cell of the padding to the end, SAME_UPPER to the beginning."""

    def begin(self, axis):
        begin, end = self.layer.padding[axis]
        return begin if self.fixed else end


@exhibit(
    "llvm/torch-mlir",
    4650,
    cd.ConvTranspose((2, 3, 4), 3, 3, stride=2, padding=1, output_padding=1),
    "lowered transposed convolutions are wrong whenever output_padding is not 0",
    "the pull request names no sizes",
    inference=True,
    y="output_padding|output padding|crop|padding & symmetric|both|side|begin|end|half|split|shift",
)
class SymmetricCrop(Transposed):
    """What padding and output_padding leave to crop is cut off half at each end."""

    def begin(self, axis):
        padding = super().begin(axis)
        return padding if self.fixed else (2 * padding - self.layer.output_padding[axis]) // 2


@exhibit(
    "llvm/torch-mlir",
    4423,
    cd.ConvTranspose((2, 4, 3), 2, 2, stride=2, padding=1),
    "where the padding crops, the output is cut out from its first cell on",
    "the pull request names no sizes",
    inference=True,
    y=f"padding|crop & begin|shift|side|start|{GONE}",
)
class CropFromZero(Transposed):
    """The crop starts at cell 0, not at the padding."""

    def begin(self, axis):
        return super().begin(axis) if self.fixed else 0


@exhibit(
    "Samsung/TICO",
    420,
    cd.ConvTranspose((2, 3, 4), 3, 3, stride=2, padding=1),
    "converted models give other numbers than PyTorch, of the same shape",
    "the issue names no sizes",
    inference=True,
    y="padding & input|crop|added|instead|sign",
)
class PaddingOfTheInput(Transposed):
    """The padding is added to the input as for a convolution, not cropped from the output."""

    def begin(self, axis):
        padding = super().begin(axis)
        return padding if self.fixed else -padding * self.layer.stride[axis]


@exhibit(
    "keras-team/keras",
    22876,
    cd.ConvTranspose((3, 4, 4), 2, 3, stride=2, padding="same"),
    "Conv2DTranspose with padding 'same' sums to 16.1 on one backend and to 44.6 on the two "
    "others; shapes agree, so no test saw it",
    "kernel 3, stride 2, as reported; 4 x 4 cells, not 16 x 16",
    y="padding|crop|pixel|cell & shift|begin|side|end|one",
    dx="padding|crop|pixel|cell & shift|begin|side|end|one",
    dw="padding|crop|pixel|cell & shift|begin|side|end|one",
)
class ShiftedByOnePixel(Transposed):
    """The odd cell is cropped at the beginning, where the other backends crop the end."""

    def begin(self, axis):
        begin, end = self.layer.padding[axis]
        return begin if self.fixed else max(begin, end)


@exhibit(
    "ggml-org/ggml",
    1448,
    cd.ConvTranspose((2, 3, 4), 3, 2, stride=2),
    "the first sample is right, all others are zero; the shape is right",
    "the issue names no sizes",
    inference=True,
    y="first & sample|batch",
)
class FirstSampleOnly(Transposed):
    """No loop runs over the batch."""

    def y(self, x, w):
        if self.fixed:
            return super().y(x, w)
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        y[:1] = super().y(x[:1], w)
        return y

    def forward(self, x, w, b=None):
        y = super().forward(x, w, b)
        if not self.fixed:
            y[1:] = 0
        return y


@exhibit(
    "uxlfoundation/oneDNN",
    352,
    cd.ConvTranspose((8, 1, 1), 8, 1, groups=2),
    "the eight maps of two groups come out in turn: first of each group, second of each, ...",
    inference=True,
    y="output & channel|group & interleave|order|turn|mixed|permuted|exchanged|swapped|dealt",
)
class GroupsInterleaved(Transposed):
    """The output channels of the groups are laid crosswise instead of one group after the other."""

    def y(self, x, w):
        y = super().y(x, w)
        if self.fixed:
            return y
        return by_group(y, self.groups).swapaxes(1, 2).reshape(y.shape)


@exhibit(
    "llvm/torch-mlir",
    2026,
    cd.ConvTranspose((2, 3, 4), 3, 3, stride=2, padding=1, output_padding=1),
    "the cells that output_padding adds are zero, where PyTorch has numbers",
    "the pull request names no sizes",
    inference=True,
    y=f"output_padding|output padding & zero|empty|not computed|{GONE}",
)
class OutputPaddingOfZeros(Transposed):
    """output_padding appends zeros to what is already cropped."""

    def y(self, x, w):
        y = super().y(x, w)
        if not self.fixed:
            for axis, more in enumerate(self.layer.output_padding, 2):
                y[(slice(None),) * axis + (slice(y.shape[axis] - more, None),)] = 0
        return y
