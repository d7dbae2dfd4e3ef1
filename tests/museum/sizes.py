"""Sizes: right up to a limit, or where a block divides the size."""

import numpy as np

import convdense as cd
from tests.museum.exhibit import GONE, Exhibit, exhibit
from tests.museum.kernels import Direct, Windows, positions

EXHIBITS: list[Exhibit] = []


@exhibit(
    "pytorch/pytorch",
    129207,
    cd.Conv((1, 3), 5, 3, padding=1),
    "Conv1d to 65,537 channels: the first channel is wrong and the last is zero; up to 65,536 all "
    "are right",
    "3 cells, kernel 3, padding 1, as reported; 5 channels with an index below 4, not 65,537 below "
    "65,536. How the first came to its numbers is a guess: from the last one",
    inference=True,
    y=f"channel & last|first|zero|wrap|overwrit|beyond|{GONE}",
)
class ChannelIndexWraps(Direct):
    """The index of an output channel is kept modulo a limit."""

    limit = 4

    def forward(self, x, w, b=None):
        right = super().forward(x, w, b)
        if self.fixed:
            return right
        y = np.zeros_like(right)
        for channel in range(y.shape[1]):
            y[:, channel % self.limit] = right[:, channel]
        return y


@exhibit(
    "NervanaSystems/neon",
    361,
    cd.Conv((1, 3, 4, 3), 2, 2),
    "Conv3D is wrong for more than 32 samples unless 32 divides their number",
    "batches above 32, as reported; which numbers come out is a guess: zeros",
    inference=True,
    behaviour="batch 33|batch 65",
)
class LastPartOfTheBatch(Direct):
    """After blocks of 32 samples the rest of the batch is left out."""

    def forward(self, x, w, b=None):
        y = super().forward(x, w, b)
        if len(x) > 32 and not self.fixed:
            y[len(x) // 32 * 32 :] = 0
        return y


@exhibit(
    "Tencent/ncnn",
    220,
    cd.MaxPool((2, 6, 7), 2, stride=2),
    "2 x 2 max pooling with stride 2 is wrong where the width is odd",
    "an odd width, as reported; sizes are ours",
    inference=True,
    y="row|line|width|odd|left over|leftover|column & start|shift|offset|cell|early|drift|one",
)
class OddWidth(Windows):
    """After a row of windows the pointer moves on by a row, and not past the leftover cell."""

    def forward(self, x):
        if self.fixed or self.layer.kernel != (2, 2):
            return super().forward(x)
        (rows, columns), width = self.layer.out_spatial, x.shape[3]
        start = np.arange(rows)[:, None] * (2 * columns + width) + 2 * np.arange(columns)
        corners = start[..., None] + [0, 1, width, width + 1]
        return x.reshape(*x.shape[:2], -1)[:, :, corners].max(axis=-1)


@exhibit(
    "Tencent/ncnn",
    1283,
    cd.Conv((2, 14, 14), 3, 3, stride=2, padding="same"),
    "one pixel of each output channel is wrong, number 40 of 49",
    "14 x 14 to 7 x 7, kernel 3, stride 2, SAME, as reported; 2 to 3 channels, not 20 to 42. What "
    "stood there is a guess: its neighbour's number",
    inference=True,
    y="one|single|5, 5)|40 & pixel|output|position|cell|place",
)
class OneWrongPixel(Direct):
    """Where the blocks of 8 outputs end, one is not computed."""

    def forward(self, x, w, b=None):
        y = super().forward(x, w, b)
        if not self.fixed:
            flat = y.reshape(*y.shape[:2], -1)
            if self.layer.kernel == (3, 3) and self.layer.stride == (2, 2):
                flat[:, :, -9] = flat[:, :, -10]
        return y


@exhibit(
    "ARM-software/ComputeLibrary",
    78,
    cd.Conv((1, 4, 4), 1, 2),
    "with an even kernel the right border column of the output is wrong",
    "4 x 4, kernel 2, as reported; what stands there is a guess: the last tap reads 0",
    inference=True,
    y="last|right|border|edge & column|tap|output",
)
class EvenKernelAtTheBorder(Direct):
    """An even kernel reaches one cell less far to the right."""

    def cells(self, axis, of):
        cells = super().cells(axis, of)
        if not self.fixed and self.layer.kernel[axis] % 2 == 0 and axis == 1:
            cells[-1, -1] = -1
        return cells


@exhibit(
    "adam-dziedzic/winograd",
    1,
    cd.Conv((2, 10, 10), 3, 3),
    "F(4 x 4, 3 x 3) is wrong where the input is larger than one tile of 6; F(2 x 2, 3 x 3) is "
    "right",
    "10 x 10: two tiles an axis. A tile is summed directly here, not by transforms",
    inference=True,
    y="tile|block|winograd",
)
class StepOfTheTiles(Direct):
    """The input tiles are r - 1 cells apart, not as many as an output tile is long."""

    tile = 4

    def cells(self, axis, of):
        size = self.layer.kernel[axis]
        if size != 3:  # not computed in tiles
            return super().cells(axis, of)
        outputs = np.arange(self.layer.out_spatial[axis])
        step = self.tile if self.fixed else size - 1
        start = outputs // self.tile * step + outputs % self.tile
        return start[:, None] + positions(1, size)
