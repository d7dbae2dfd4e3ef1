"""Strides and groups: gradients that are right only with stride 1, or with one group."""

from math import ceil, gcd

import numpy as np

import convdense as cd
from tests.museum.exhibit import GONE, Exhibit, exhibit
from tests.museum.kernels import Direct, by_group, gather, positions, scatter

EXHIBITS: list[Exhibit] = []


@exhibit(
    "ml-explore/mlx",
    3800,
    cd.Conv((4, 7, 6), 4, 3, stride=2, padding=1, groups=4),
    "dx off by 500 to 5,600 % on the GPU wherever groups > 1 meets stride > 1, right on the CPU; "
    "gradients exploded in training",
    "depthwise, kernel 3, stride 2, as in the reported model; 4 channels of 7 x 6. How that kernel "
    "reads the weights is inferred from its strides",
    dx=f"group & other|across|all|every|dense|mixed|{GONE}",
)
class DenseKernelForGroups(Direct):
    """The gradient of a grouped, strided layer is handed to a kernel that knows no groups."""

    def dx(self, x, w, dy):
        if self.fixed:
            return super().dx(x, w, dy)
        # the weights of a group, channels last, read as if a tap had those of all groups
        each = np.moveaxis(w.reshape(self.groups, -1, *w.shape[1:]), 1, -1)
        each = each.reshape(len(x[0]), -1, each.shape[-1])  # in, taps, out of a group
        taps, out = each.shape[1], len(w)
        start = np.arange(len(each) * taps)[:, None] * each.shape[-1]
        dense = each.ravel()[(start + np.arange(out)) % each.size]  # in * taps, out
        columns = (dense @ dy.reshape(len(dy), out, -1)).reshape(len(x), len(each), taps, -1)
        return scatter(columns.swapaxes(2, 3), self.all_cells("dx"), x.shape[2:]).reshape(x.shape)


@exhibit(
    "ROCm/rocm-libraries",
    7732,
    cd.Conv((2, 7, 8), 3, 3, stride=2, padding=1),
    "a fast path for one group returned dx with slices of zeros, silently, where the stride "
    "exceeds the dilation",
    "one group, 2-D, stride above 1, as reported; sizes are ours",
    dx=f"tap|phase|weight|slice|kernel & only|first|zero|{GONE}",
)
class FirstSubGemmOnly(Direct):
    """A strided dx falls into one product for each remainder of the taps: the first is run."""

    def cells(self, axis, of):
        cells = super().cells(axis, of)
        if of == "dx" and not self.fixed:
            step = self.layer.stride[axis] // gcd(
                self.layer.stride[axis], self.layer.dilation[axis]
            )
            cells[:, np.arange(cells.shape[1]) % step > 0] = -1
        return cells


@exhibit(
    "ROCm/MIOpen",
    575,
    cd.Conv((2, 14, 4), 3, (7, 1), stride=(3, 1)),
    "a solver of the input gradient computes wrong numbers with strides 3 and 5",
    "7 x 1 on 14 rows, stride 3, as reported; 4 columns and few channels. What a tap too many "
    "reads is a guess: the next filter's first",
    dx=f"tap|weight|slice & another|wrong|{GONE}",
)
class SliceOfTaps(Direct):
    """How many taps share a remainder by the stride is wrong where it does not divide them."""

    def dx(self, x, w, dy):
        (size, _), (step, _), rows = self.layer.kernel, self.layer.stride, self.layer.out_spatial[0]
        flat, dx = w.ravel(), np.zeros_like(x)
        for remainder in range(step):
            taps, most = [], ceil(size / step)
            if self.fixed:
                number = ceil((size - remainder) / step)
            else:
                number = most if (remainder + 1) * most <= size else size % most
            taps = remainder + step * np.arange(number)
            # filter by filter; what lies past the last tap is the next filter's first
            start = np.arange(len(w) * len(x[0]))[:, None] * size
            part = flat[(start + taps) % flat.size].reshape(len(w), -1)
            columns = part.T @ dy.reshape(len(dy), len(w), -1)
            columns = columns.reshape(len(x), len(x[0]), number, -1).swapaxes(2, 3)
            cells = np.arange(rows)[:, None] * step + taps, self.cells(1, "dx")
            dx += scatter(columns, cells, x.shape[2:]).reshape(x.shape)
        return dx


@exhibit(
    "iree-org/iree-turbine",
    1223,
    cd.Conv((2, 9, 8), 3, (2, 3), stride=2),
    "a generated kernel of the weight gradient was built with the two options exchanged",
    "stride 2, dilation 1; the pull request names no sizes",
    dw="stride & dilation",
)
class StrideForDilation(Direct):
    """The constructor of the weight gradient takes stride for dilation and the reverse."""

    def cells(self, axis, of):
        layer = self.layer
        step, gap = layer.stride[axis], layer.dilation[axis]
        if of == "dw" and not self.fixed:
            step, gap = gap, step
        places = layer.out_spatial[axis], layer.kernel[axis]
        return positions(*places, step, gap, self.begin(axis))


@exhibit(
    "pytorch/pytorch",
    51430,
    cd.Conv((4, 6, 5), 6, 3, groups=2),
    "nn.grad.conv2d_weight differs from autograd as soon as groups > 1",
    "groups > 1 is what was reported; sizes are ours",
    dw="channel & group",
)
class GradientRepeatedForGroups(Direct):
    """The output gradient is repeated per channel and cut into groups in another order."""

    def dw(self, x, w, dy):
        if self.fixed:
            return super().dw(x, w, dy)
        channels, out = len(x[0]), len(w)
        met = gather(x, self.all_cells("dw"))  # batch, in, places, taps
        # what the grouped correlation gives: every input channel with the next few gradients
        repeated = np.tile(dy.reshape(len(dy), out, -1), (1, channels // self.groups, 1))
        pairs = by_group(repeated, channels) @ met
        pairs = pairs.sum(axis=0).reshape(channels // self.groups, out, *self.layer.kernel)
        return pairs.swapaxes(0, 1)


@exhibit(
    "pytorch/pytorch",
    50042,
    cd.Conv((8, 6, 6), 8, 3, stride=2, padding=1, groups=8),
    "all ones: the last row of every 3 x 3 weight gradient is 4, 6, 6 where 6, 9, 9 is right; with "
    "23 or 25 channels it is right",
    "6 x 6, kernel 3, stride 2, padding 1, depthwise, as reported; 8 channels, not 24: blocks of 8 "
    "are a guess",
    dw=f"row|height|output|axis|border|edge & last|padding|border|edge|{GONE}",
)
class LastRowTakenForPadding(Direct):
    """With channels in blocks, the last tap skips the last output row as if it met padding."""

    def cells(self, axis, of):
        cells = super().cells(axis, of)
        if of == "dw" and axis == 0 and not self.fixed and self.groups % 8 == 0:
            cells[-1, -1] = -1
        return cells


@exhibit(
    "Kulbear/deep-learning-coursera",
    34,
    cd.Conv((3, 6, 5), 2, 2, stride=2, padding=1),
    "an often copied solution of a course: the backward pass is right with stride 1 alone",
    "kernel 2, stride 2; the pull request names no sizes",
    dx="stride",
    dw="stride",
)
class StrideMissingInBackward(Direct):
    """The window of an output starts at its index, not at its index times the stride."""

    def cells(self, axis, of):
        layer = self.layer
        step = layer.stride[axis] if self.fixed or of == "y" else 1
        places = layer.out_spatial[axis], layer.kernel[axis]
        return positions(*places, step, layer.dilation[axis], self.begin(axis))


@exhibit(
    "iree-org/iree",
    23731,
    cd.Conv((2, 5, 7), 3, (1, 3)),
    "weight gradients of a kernel that is 1 along an axis read the wrong cells of the input",
    "a 1 x 3 kernel; sizes are ours. The axis of size 1 is folded into the sum",
    dw="row|axis|height|offset|position & first|one|only|same",
)
class SecondOffsetForgotten(Direct):
    """Only the first of two summed axes moves the window: the rows of the input stay the first."""

    def cells(self, axis, of):
        cells = super().cells(axis, of)
        if of == "dw" and not self.fixed and self.layer.kernel[axis] == 1:
            cells[:] = cells[0]
        return cells


@exhibit(
    "torch/DEPRECEATED-torch7-distro",
    20,
    cd.Conv((1, 12, 12), 2, 5, stride=2),
    "gradInput is 31 x 31 where the image is 32 x 32",
    "kernel 5, stride 2, as reported; 12 x 12 cells, not 32 x 32",
    dx="shape|size|short|small|left over|leftover|cut|crop",
)
class LeftoverRowDropped(Direct):
    """Cells that no window reaches are missing from dx, which is smaller than the input."""

    def dx(self, x, w, dy):
        dx = super().dx(x, w, dy)
        if self.fixed:
            return dx
        return dx[(..., *(slice(1 + self.all_cells("dx")[a].max()) for a in range(x.ndim - 2)))]


@exhibit(
    "LBANN/lbann",
    1022,
    cd.Conv((2, 5, 6), 3, (3, 2)),
    "kernel gradients on the CPU are wrong since a change; the gradient checks of a test failed",
    "im2col for each sample; the pull request names no sizes",
    dw="last & sample|batch",
)
class ScaledForEverySample(Direct):
    """The gradient is scaled by what is kept, 0, before each sample: the last one remains."""

    def dw(self, x, w, dy):
        dw = np.zeros_like(w)
        for n in range(len(x)):
            kept = dw if self.fixed else 0 * dw
            dw = kept + super().dw(x[n : n + 1], w, dy[n : n + 1])
        return dw
