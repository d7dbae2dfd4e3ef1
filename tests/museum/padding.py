"""Padding: how much of it, on which side and along which axis."""

import numpy as np

import convdense as cd
from tests.museum.exhibit import Exhibit, exhibit
from tests.museum.kernels import Direct, positions

EXHIBITS: list[Exhibit] = []
SIDE = "padding|same & side|begin|end|shift|exchanged|swapped|lower|upper|symmetric|both|equal"


@exhibit(
    "vtjeng/MIPVerify.jl",
    23,
    cd.Conv((2, 6, 6), 1, 3, stride=2, padding="same"),
    "SAME differs from TensorFlow's with stride 2: there the padding is 0 above and 1 below",
    inference=True,
    y=SIDE,
)
class SameOnBothSides(Direct):
    """The padding of SAME is taken to be the same at both ends."""

    def begin(self, axis):
        begin, end = self.layer.padding[axis]
        return begin if self.fixed else (begin + end + 1) // 2


@exhibit(
    "webmachinelearning/webnn-polyfill",
    57,
    cd.Conv((2, 5, 6), 3, (2, 4), padding="same"),
    "'same-upper' is not aligned with its definition: the additional cell is at the beginning",
    "the issue names no sizes: even kernels",
    inference=True,
    y=SIDE,
)
class AdditionalCellFirst(Direct):
    """Of an odd number of padded cells the beginning gets the larger part."""

    def begin(self, axis):
        total = sum(self.layer.padding[axis])
        return total // 2 if self.fixed else total - total // 2


@exhibit(
    "root-project/root",
    21793,
    cd.Conv((2, 8, 7), 2, 5, stride=3, padding="same"),
    "generated code with auto_pad is wrong for any but trivial cases",
    "the pull request names the formulas; sizes are ours",
    inference=True,
    y="padding|same & kernel|half|size|stride|side|begin|end|shift",
)
class HalfTheKernel(Direct):
    """SAME pads half a kernel, whatever the input's size and the stride."""

    def begin(self, axis):
        begin, end = self.layer.padding[axis]
        return begin if self.fixed or begin == end == 0 else self.layer.kernel[axis] // 2


@exhibit(
    "ROCm/AMDMIGraphX",
    2407,
    cd.Conv((3, 6, 7), 2, 3, padding=(1, 2)),
    "two ways to compile a convolution disagree when the padding is not equal in all dimensions: "
    "0.99 and 1.84 at the first output already",
    "padding 1 and 2, kernel 3, as reported; 6 x 7 cells, not 50 x 50. The cause is a guess: every "
    "axis begins with the first number",
    inference=True,
    y="padding & axis|axes|row|column|exchanged|swapped|first|other|begin|shift",
)
class OnePaddingForAllAxes(Direct):
    """The first axis's padding is used along every axis."""

    def begin(self, axis):
        return self.layer.padding[axis if self.fixed else 0][0]


@exhibit(
    "pytorch/pytorch",
    37844,
    cd.Conv((2, 7, 5), 1, 3, padding=(0, 1), padding_mode="circular"),
    "padding (0, 1) in circular mode pads the rows: the output is 20 x 8 where 18 x 10 is right",
    "kernel 3, padding (0, 1), circular, as reported; 7 x 5 cells, not 20 x 10",
    inference=True,
    y="padding & axis|axes|exchanged|swapped|reverse|order",
)
class CircularAlongTheOtherAxis(Direct):
    """The list of paddings, last axis first, is handed over in the order of the axes."""

    def y(self, x, w):
        amounts = [pair[0] for pair in self.layer.padding]
        amounts = amounts if self.fixed else amounts[::-1]
        for axis, amount in enumerate(amounts, 2):
            around = np.arange(-amount, x.shape[axis] + amount) % x.shape[axis]
            x = x.take(around, axis=axis)
        size = self.layer.kernel[0]
        rows, columns = (n - size + 1 for n in x.shape[2:])
        y = np.zeros((len(x), len(w), rows, columns), x.dtype)
        for i, j in np.ndindex(*self.layer.kernel):
            part = x[:, :, i : i + rows, j : j + columns].reshape(len(x), x.shape[1], -1)
            y += (w[:, :, i, j] @ part).reshape(y.shape)
        return y


@exhibit(
    "jefkine/zeta-learn",
    4,
    cd.Conv((2, 6, 7), 2, 3, stride=(1, 2), padding="same"),
    "a reader found the stride of the columns in the padding of the rows",
    "the issue names the line alone; sizes are ours, with two strides",
    inference=True,
    y="padding & stride|axis|axes|row|height|width|column|begin|shift",
)
class StrideOfTheWidth(Direct):
    """The padding above is computed with the stride along the width."""

    def begin(self, axis):
        layer = self.layer
        step = layer.stride[axis if self.fixed else 1]
        rest = (layer.out_spatial[axis] - 1) * step + layer.kernel[axis] - layer.in_spatial[axis]
        return max(rest, 0) // 2


@exhibit(
    "KonduitAI/deeplearning4j",
    90,
    cd.Conv((2, 7), 3, 3, padding=((2, 0),)),
    "a gradient check of a causal convolution: the analytic gradient of each step is the numeric "
    "one of the step before",
    "causal, as reported; 7 steps and kernel 3 are ours",
    dx="padding|crop|cell|position|offset & one|begin|side|shift",
)
class CausalGradientOffByOne(Direct):
    """dx is cropped one cell too early."""

    def cells(self, axis, of):
        layer = self.layer
        begin = self.begin(axis) - (of == "dx" and not self.fixed)
        return positions(layer.out_spatial[axis], layer.kernel[axis], begin=begin)
