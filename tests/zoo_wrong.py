"""The wrong half of the zoo: each holds a mistake that someone has made, a few hold two."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from scipy import ndimage, signal

from convdense import AvgPool, Conv, ConvTranspose, MaxPool, SumPool
from tests import zoo_right as zoo
from tests.zoo_right import Loops, Member, PoolLoops, StridedMax, Taps, UpStamps, pad, plus_bias

_WRONG: list[Member] = []


def wrong(story: str, quantities: str, *layers: Any) -> Callable[[type], type]:
    def register(kind: type) -> type:
        _WRONG.append(
            Member(zoo.words(kind.__name__), layers, kind, tuple(quantities.split()), story)
        )
        return kind

    return register


# Convolutions: the kernel and its axes


@wrong(
    "The kernel is not flipped when dx is computed by a full correlation.",
    "dx",
    zoo.PLAIN,
    zoo.PADDED,
    zoo.STRIDED,
)
class KernelFlippedInDx(Taps):
    def dx(self, x, w, dy):
        return super().dx(x, np.flip(w, (2, 3)), dy)


@wrong("dx reverses the kernel's columns only.", "dx", zoo.PADDED, Conv((2, 5, 4), 3, (3, 1)))
class LastAxisFlippedInDx(Taps):
    def dx(self, x, w, dy):
        return super().dx(x, w[..., ::-1], dy)


@wrong(
    "The option flip is read by nobody: always a cross-correlation.",
    "y dx dw",
    zoo.FLIPPED,
    zoo.PADDED,
)
class FlipIgnored(Taps):
    def at(self, tap):
        return (..., *tap)


@wrong("dw comes out reversed along its rows.", "dw", zoo.PADDED, Conv((2, 5, 6), 3, (1, 3)))
class DwRowsReversed(Taps):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy)[:, :, ::-1]


@wrong("dw has the kernel's rows and columns swapped.", "dw", zoo.SQUARE_KERNEL, zoo.REFLECT_ONE)
class DwAxesTransposed(Taps):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy).swapaxes(2, 3)


@wrong("The input and output channels of the weights are swapped.", "y dx dw", zoo.SQUARE_CHANNELS)
class WeightsReadInputChannelFirst(Taps):
    def y(self, x, w):
        return super().y(x, w.swapaxes(0, 1))

    def dx(self, x, w, dy):
        return super().dx(x, w.swapaxes(0, 1), dy)

    def dw(self, x, w, dy):
        return super().dw(x, w, dy).swapaxes(0, 1)


@wrong("dx multiplies by the kernel matrix instead of its transpose.", "dx", zoo.SQUARE_CHANNELS)
class ChannelMatrixNotTransposedInDx(Taps):
    def dx(self, x, w, dy):
        return super().dx(x, w.swapaxes(0, 1), dy)


@wrong(
    "The weight between one pair of channels is taken from its mirror image in dx.",
    "dx",
    zoo.SQUARE_CHANNELS,
)
class OneChannelPairMirroredInDx(Taps):
    def dx(self, x, w, dy):
        w = w.copy()
        w[0, 2] = w[2, 0]
        return super().dx(x, w, dy)


# Groups


@wrong(
    "Every group reads the channels of the first one.",
    "y dx dw",
    zoo.GROUPED,
    zoo.DEPTHWISE,
    zoo.PLAIN,
)
class GroupOffsetIgnored(Loops):
    def edges(self):
        for (o, _, k), *rest in super().edges():
            yield (o, k, k), *rest


@wrong(
    "Input channels are dealt to the groups in turn.",
    "y dx dw",
    zoo.GROUPED,
    zoo.MIXED,
    zoo.DEPTHWISE,
)
class GroupsInterleaved(Taps):
    def split(self, cells):
        if cells.shape[1] != self.layer.in_channels:
            return super().split(cells)
        return cells.reshape(len(cells), -1, self.layer.groups, np.prod(cells.shape[2:])).swapaxes(
            1, 2
        )

    def dx(self, x, w, dy):
        g = self.layer.groups
        dx = super().dx(x, w, dy)
        return dx.reshape(len(x), g, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


@wrong(
    "Depthwise with a multiplier: output o belongs to input o % channels.", "y dx dw", zoo.DEPTHWISE
)
class MultiplierRunsOutside(Loops):
    def edges(self):
        for (o, _, k), *rest in super().edges():
            yield (o, o % self.layer.in_channels, k), *rest


# Stride, dilation, padding


@wrong("dx spreads dy with stride 1.", "dx", zoo.STRIDED, zoo.LINE, zoo.PADDED)
class StrideForgottenInDx(Taps):
    def dx(self, x, w, dy):
        rim = np.zeros_like(self.pad(x))
        for tap in self.taps():
            start = [t * d for t, d in zip(tap, self.layer.dilation, strict=True)]
            target = rim[
                (..., *(slice(i, i + n) for i, n in zip(start, dy.shape[2:], strict=True)))
            ]
            target += np.einsum("goc,ngop->ngcp", self.part(w, tap), self.split(dy)).reshape(
                target.shape
            )
        return self.unpad(rim)


@wrong("The first axis' stride is used on both.", "y dx dw", zoo.UNEVEN_STRIDE, zoo.PADDED)
class FirstStrideOnEveryAxis(Taps):
    def view(self, tap):
        s = self.layer.stride[0]
        numbers = zip(tap, self.layer.out_spatial, self.layer.dilation, strict=True)
        return (..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, d in numbers))


class Undilated(Taps):
    def view(self, tap):
        numbers = zip(tap, self.layer.out_spatial, self.layer.stride, strict=True)
        return (..., *(slice(t, t + (n - 1) * s + 1, s) for t, n, s in numbers))


@wrong("Dilation is read but not used.", "y dx dw", zoo.DILATED, zoo.MIXED, zoo.PADDED)
class DilationIgnored(Undilated):
    pass


@wrong("dw looks at neighbouring pixels, as if dilation were 1.", "dw", zoo.DILATED, zoo.PADDED)
class DilationIgnoredInDw(Taps):
    def dw(self, x, w, dy):
        return Undilated(self.layer).dw(x, w, dy)


@wrong(
    "The padding at the beginning is one cell too large, at the end one too small.",
    "y dx dw",
    zoo.EVEN_PADS,
)
class PaddingOffByOne(Taps):
    def pad(self, x):
        return np.roll(super().pad(x), 1, axis=-1)

    def unpad(self, padded):
        return super().unpad(np.roll(padded, -1, axis=-1))


@wrong(
    "Begin and end of the padding are swapped.", "y dx dw", zoo.PADDED, zoo.STRIDED, zoo.EVEN_PADS
)
class BeginAndEndSwapped(Taps):
    def pad(self, x):
        return np.pad(x, ((0, 0), (0, 0), *(pair[::-1] for pair in self.layer.padding)))

    def unpad(self, padded):
        cut = zip(padded.shape[2:], self.layer.padding, strict=True)
        return padded[(..., *(slice(e, n - b) for n, (b, e) in cut))]


@wrong(
    "dx is cut to size at its end only, the begin padding still in it.",
    "dx",
    zoo.PADDED,
    zoo.STRIDED,
    zoo.PLAIN,
)
class DxKeepsTheBeginRim(Taps):
    def unpad(self, padded):
        return padded[(..., *(slice(n) for n in self.layer.in_spatial))]


@wrong("dx comes back in the padded size.", "dx", zoo.EVEN_PADS, zoo.PLAIN)
class DxNotCropped(Taps):
    def unpad(self, padded):
        return padded


@wrong(
    "Crops dx by [p:-p], which is empty where p is 0 (a wrong shape there).",
    "dx",
    zoo.EVEN_PADS,
    zoo.PLAIN,
)
class CropEmptyWithoutPadding(Taps):
    def unpad(self, padded):
        (p, _), (q, _) = self.layer.padding
        return padded[:, :, p:-p, q:-q]


@wrong(
    "Padded with zeros, whatever the padding mode.",
    "y dx dw",
    zoo.CIRCULAR,
    zoo.REPLICATE,
    zoo.PADDED,
)
class PaddingModeIgnored(Taps):
    def pad(self, x):
        return np.pad(x, ((0, 0), (0, 0), *self.layer.padding))

    def unpad(self, padded):
        return padded[
            (
                ...,
                *(
                    slice(b, b + n)
                    for n, (b, _) in zip(self.layer.in_spatial, self.layer.padding, strict=True)
                ),
            )
        ]


@wrong(
    "The gradient of the padded cells is thrown away, right for zeros only.",
    "dx",
    zoo.CIRCULAR,
    zoo.REFLECT,
    zoo.PADDED,
)
class RimDroppedInEveryMode(Taps):
    unpad = PaddingModeIgnored.unpad


@wrong(
    "`dx[source] += rim` by fancy index: of cells copied several times the last counts.",
    "dx",
    zoo.REPLICATE,
    zoo.CIRCULAR,
)
class RimAddedOncePerCell(Taps):
    def unpad(self, padded):
        dx = np.zeros((*padded.shape[:2], np.prod(self.layer.in_spatial)), padded.dtype)
        dx[..., zoo.sources(self.layer).ravel()] += padded.reshape(*padded.shape[:2], -1)
        return dx.reshape(*padded.shape[:2], *self.layer.in_spatial)


@wrong(
    "Reflects with the edge cell repeated: NumPy's symmetric.",
    "y dx dw",
    zoo.REFLECT,
    zoo.REFLECT_ONE,
    zoo.SYMMETRIC,
)
class ReflectRepeatsTheEdge(Taps):
    def __init__(self, layer):
        options = {"stride": layer.stride, "padding": layer.padding, "padding_mode": "symmetric"}
        super().__init__(Conv(layer.in_shape, layer.out_channels, layer.kernel, **options))


# Sums


@wrong(
    "dx is assigned instead of added: the last tap wins.",
    "dx",
    zoo.PLAIN,
    zoo.STRIDED,
    Conv((2, 6, 4), 3, 2, stride=2),
)
class DxAssignedInsteadOfAdded(Taps):
    def dx(self, x, w, dy):
        rim = np.zeros_like(self.pad(x))
        for tap in self.taps():
            target = rim[self.view(tap)]
            target[...] = np.einsum("goc,ngop->ngcp", self.part(w, tap), self.split(dy)).reshape(
                target.shape
            )
        return self.unpad(rim)


@wrong("dw is averaged over the batch; db is not.", "dw", zoo.PADDED, zoo.LINE)
class DwAveragedOverTheBatch(Taps):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy) / len(x)


@wrong(
    "dw and db are averaged over the output pixels.",
    "dw db",
    zoo.PADDED,
    Conv((2, 3, 2), 3, (3, 2)),
)
class DwAndDbAveragedOverPixels(Taps):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy) / dy[0, 0].size

    def db(self, dy):
        return dy.mean(axis=tuple(range(2, dy.ndim))).sum(axis=0)


@wrong("Every gradient is divided by the batch size.", "dx dw db", zoo.STRIDED, zoo.GROUPED)
class EverythingDividedByTheBatch(Taps):
    def backward(self, x, w, dy):
        return super().backward(x, w, dy / len(x))


@wrong("The bias gradient is not summed over the pixels (a wrong shape).", "db", zoo.PADDED)
class DbNotSummedOverPixels(Taps):
    def db(self, dy):
        return dy.sum(axis=0)


@wrong("The bias gradient is averaged over batch and pixels.", "db", zoo.PADDED, zoo.VOLUME)
class DbAveraged(Taps):
    def db(self, dy):
        return dy.mean(axis=(0, *range(2, dy.ndim)))


@wrong("The bias gradient is that of the first sample.", "db", zoo.STRIDED, zoo.LINE)
class DbOfTheFirstSample(Taps):
    def db(self, dy):
        return super().db(dy[:1])


@wrong(
    "One number is the bias gradient of every channel.",
    "db",
    zoo.PADDED,
    Conv((2, 5, 6), 1, (3, 2)),
)
class DbSummedOverChannels(Taps):
    def db(self, dy):
        return np.full(dy.shape[1], dy.sum())


@wrong("The bias is added for the first sample only.", "y", zoo.PADDED, zoo.LINE)
class BiasOfTheFirstSampleOnly(Taps):
    def forward(self, x, w, b=None):
        y = self.y(x, w)
        if b is not None:
            y[0] = plus_bias(y[:1], b)[0]
        return y


@wrong(
    "The bias broadcasts along the columns, which happen to be as many as channels.",
    "y",
    Conv((2, 5, 4), 3, (3, 2)),
)
class BiasAlongTheLastAxis(Taps):
    def forward(self, x, w, b=None):
        return self.y(x, w) + (0 if b is None else b)


@wrong("The weights' gradient has the sign of a descent step.", "dw", zoo.PADDED, zoo.GROUPED)
class DwSignLost(Taps):
    def dw(self, x, w, dy):
        return -super().dw(x, w, dy)


@wrong("A 2 from the squared error is still in dx.", "dx", zoo.PADDED, zoo.CIRCULAR)
class DxDoubled(Taps):
    def dx(self, x, w, dy):
        return 2 * super().dx(x, w, dy)


@wrong(
    "Half of everything: the 1/2 of the loss is in the backward pass.",
    "dx dw db",
    zoo.STRIDED,
    zoo.VOLUME,
)
class EverythingHalved(Taps):
    def backward(self, x, w, dy):
        return tuple(g / 2 for g in super().backward(x, w, dy))


@wrong(
    "dw multiplies the sum of the inputs by the sum of dy.",
    "dw",
    zoo.PLAIN,
    zoo.PADDED,
    Conv((2, 3, 4), 3, (3, 4)),
)
class ProductOfSumsInDw(Taps):
    def dw(self, x, w, dy):
        pixels, padded, dw = tuple(range(2, x.ndim)), self.pad(x), np.zeros_like(w)
        for tap in self.taps():
            dw[self.at(tap)] = dy.sum(axis=pixels).T @ padded[self.view(tap)].sum(axis=pixels)
        return dw


@wrong("The loop over taps starts at 1 in forward.", "y", zoo.PADDED, zoo.LINE)
class FirstTapLostInForward(Taps):
    def y(self, x, w):
        w = w.copy()
        w[self.at((0,) * len(self.layer.kernel))] = 0
        return super().y(x, w)


@wrong("dx leaves out the kernel's last column.", "dx", zoo.STRIDED, zoo.VOLUME)
class LastColumnOfTapsLostInDx(Taps):
    def taps(self):
        return (tap for tap in super().taps() if tap[-1] < self.layer.kernel[-1] - 1)

    def y(self, x, w):
        return Taps(self.layer).y(x, w)

    def dw(self, x, w, dy):
        return Taps(self.layer).dw(x, w, dy)


# Local, tiny, and wrong for some samples or numbers only


@wrong("The last output row is never computed.", "y", zoo.PADDED, zoo.GROUPED)
class LastOutputRowLost(Taps):
    def y(self, x, w):
        y = super().y(x, w)
        y[:, :, -1] = 0
        return y


@wrong(
    "The last corner of the last channel holds its left neighbour.",
    "y",
    zoo.SQUARE_KERNEL,
    zoo.STRIDED,
)
class OneCornerCopiedFromItsNeighbour(Taps):
    def y(self, x, w):
        y = super().y(x, w)
        y[:, -1, -1, -1] = y[:, -1, -1, -2]
        return y


@wrong("The gradient of one weight misses the last output.", "dw", zoo.PADDED, zoo.DILATED)
class OneWeightMissesOneProduct(Taps):
    def dw(self, x, w, dy):
        padded, dw = self.pad(x), super().dw(x, w, dy)
        dw[-1, 0, 0, 0] -= (padded[self.view((0, 0))][:, 0, -1, -1] * dy[:, -1, -1, -1]).sum()
        return dw


@wrong("All samples but the first get the gradient of the first.", "dx", zoo.PADDED, zoo.LINE)
class DxOfTheFirstSampleForAll(Taps):
    def dx(self, x, w, dy):
        return super().dx(x, w, np.broadcast_to(dy[:1], dy.shape))


@wrong("From the second sample on, outputs are shifted by one column.", "y", zoo.PLAIN, zoo.DILATED)
class LaterSamplesShifted(Taps):
    def y(self, x, w):
        y = super().y(x, w)
        y[1:] = np.roll(y[1:], 1, axis=-1)
        return y


@wrong("One weight's gradient is too large by 1e-4.", "dw", zoo.PADDED, zoo.GROUPED)
class OneWeightTooLargeByALittle(Taps):
    def dw(self, x, w, dy):
        dw = super().dw(x, w, dy)
        dw[1, 0, 1, 0] *= 1 + 1e-4
        return dw


@wrong("One output is too small by 1e-4.", "y", zoo.STRIDED, zoo.CIRCULAR)
class OneOutputTooSmallByALittle(Taps):
    def y(self, x, w):
        y = super().y(x, w)
        y[:, 1, 0, 1] *= 1 - 1e-4
        return y


@wrong("dw carries the weight decay of the optimiser.", "dw", zoo.PADDED, zoo.GROUPED)
class WeightDecayInDw(Taps):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy) + 1e-3 * w


@wrong("dx is clipped to [-10, 10], a leftover of a training run.", "dx", zoo.PADDED, zoo.STRIDED)
class DxClipped(Taps):
    def dx(self, x, w, dy):
        return np.clip(super().dx(x, w, dy), -10, 10)


@wrong(
    "The activation sits inside forward, and backward does not know it.", "y", zoo.PADDED, zoo.LINE
)
class ReluInsideForward(Taps):
    def forward(self, x, w, b=None):
        return np.maximum(super().forward(x, w, b), 0)


@wrong("dx uses the weights after their update.", "dx", zoo.PADDED, zoo.STRIDED)
class WeightsUpdatedBeforeDx(Taps):
    def backward(self, x, w, dy):
        dw = self.dw(x, w, dy)
        w = w - 0.125 * dw
        return self.dx(x, w, dy), dw, self.db(dy)


# Two mistakes at once


@wrong(
    "The kernel is flipped in dx, and dw is averaged over the batch.",
    "dx dw",
    zoo.PADDED,
    zoo.STRIDED,
)
class FlippedDxAndMeanDw(KernelFlippedInDx):
    def dw(self, x, w, dy):
        return super().dw(x, w, dy) / len(x)


@wrong(
    "dw is reversed along both axes, and has the wrong sign.", "dw", zoo.PADDED, zoo.SQUARE_KERNEL
)
class DwReversedAndNegative(Taps):
    def dw(self, x, w, dy):
        return -super().dw(x, w, dy)[:, :, ::-1, ::-1]


@wrong(
    "Begin and end of the padding are swapped, and dx is doubled.",
    "y dx dw",
    zoo.PADDED,
    zoo.STRIDED,
)
class PaddingSwappedAndDxDoubled(BeginAndEndSwapped):
    def dx(self, x, w, dy):
        return 2 * super().dx(x, w, dy)


# Convolutions written from scratch


@wrong(
    "col2im by `dx[indices] += columns`: repeated indices are added once.",
    "dx",
    *zoo.FLAT_CONV,
    Conv((2, 6, 4), 3, 2, stride=2),
)
class Col2imLosesRepeats:
    def __init__(self, layer):
        self.layer, self.indices = layer, zoo.im2col_indices(layer)

    def forward(self, x, w, b=None):
        columns = pad(self.layer, x)[:, *self.indices]
        return plus_bias(
            (w.reshape(len(w), -1) @ columns).reshape(len(x), *self.layer.out_shape), b
        )

    def backward(self, x, w, dy):
        padded, rows = pad(self.layer, x), dy.reshape(*dy.shape[:2], -1)
        dw = np.einsum("nop,nkp->ok", rows, padded[:, *self.indices]).reshape(w.shape)
        rim = np.zeros_like(padded)
        rim[:, *self.indices] += w.reshape(len(w), -1).T @ rows
        ((top, _), (left, _)), (height, width) = self.layer.padding, x.shape[2:]
        return rim[:, :, top : top + height, left : left + width], dw, rows.sum(axis=(0, 2))


@wrong(
    "The columns of all samples form one matrix, cut up sample by sample "
    "though it is pixel by pixel.",
    "y dx dw",
    zoo.PLAIN,
    zoo.PADDED,
)
class Im2colMixesSamplesAndPixels:
    def __init__(self, layer):
        self.layer, self.indices = layer, zoo.im2col_indices(layer)

    def columns(self, x):
        columns = pad(self.layer, x)[:, *self.indices]  # (batch, weights, pixels)
        return columns.transpose(1, 2, 0).reshape(columns.shape[1], -1)

    def forward(self, x, w, b=None):
        y = w.reshape(len(w), -1) @ self.columns(x)
        return plus_bias(y.reshape(len(w), len(x), *self.layer.out_spatial).swapaxes(0, 1), b)

    def backward(self, x, w, dy):
        padded, rows = pad(self.layer, x), dy.swapaxes(0, 1).reshape(len(w), -1)
        columns = (w.reshape(len(w), -1).T @ rows).reshape(w[0].size, -1, len(x)).transpose(2, 0, 1)
        rim = np.zeros_like(padded)
        np.add.at(rim, (slice(None), *self.indices), columns)
        return (
            zoo.fold(self.layer, rim),
            (rows @ self.columns(x).T).reshape(w.shape),
            rows.sum(axis=1),
        )


@wrong(
    "Columns are ordered rows, columns, channels, but the weights channels first.",
    "y dx dw",
    zoo.PLAIN,
    Conv((1, 5, 6), 3, (2, 3)),
)
class Im2colColumnsChannelsLast:
    def __init__(self, layer):
        self.layer = layer

    def columns(self, x):
        (kh, kw), (oh, ow) = self.layer.kernel, self.layer.out_spatial
        return np.stack(
            [
                x[:, :, i : i + kh, j : j + kw].transpose(0, 2, 3, 1).reshape(len(x), -1)
                for i in range(oh)
                for j in range(ow)
            ],
            1,
        )

    def forward(self, x, w, b=None):
        y = self.columns(x) @ w.reshape(len(w), -1).T
        return plus_bias(y.swapaxes(1, 2).reshape(len(x), *self.layer.out_shape), b)

    def backward(self, x, w, dy):
        (kh, kw), (oh, ow) = self.layer.kernel, self.layer.out_spatial
        rows, dx = dy.reshape(*dy.shape[:2], -1), np.zeros_like(x)
        columns = (rows.swapaxes(1, 2) @ w.reshape(len(w), -1)).reshape(len(x), oh, ow, kh, kw, -1)
        for i, j in product(range(oh), range(ow)):
            dx[:, :, i : i + kh, j : j + kw] += columns[:, i, j].transpose(0, 3, 1, 2)
        return dx, (rows @ self.columns(x)).sum(axis=0).reshape(w.shape), rows.sum(axis=(0, 2))


@wrong("The pixels of y are laid out column by column.", "y", zoo.PLAIN, zoo.STRIDED)
class Im2colOutputTransposed:
    def __init__(self, layer):
        self.layer, self.indices = layer, zoo.im2col_indices(layer)

    def forward(self, x, w, b=None):
        (oh, ow), padded = self.layer.out_spatial, pad(self.layer, x)
        y = (w.reshape(len(w), -1) @ padded[:, *self.indices]).reshape(len(x), len(w), ow, oh)
        return plus_bias(y.swapaxes(2, 3), b)

    def backward(self, x, w, dy):
        padded, rows = pad(self.layer, x), dy.reshape(*dy.shape[:2], -1)
        rim = np.zeros_like(padded)
        np.add.at(rim, (slice(None), *self.indices), w.reshape(len(w), -1).T @ rows)
        dw = np.einsum("nop,nkp->ok", rows, padded[:, *self.indices]).reshape(w.shape)
        return zoo.fold(self.layer, rim), dw, rows.sum(axis=(0, 2))


@wrong(
    "`same` by kernel // 2 on both sides: right for odd kernels only.",
    "y dx dw",
    zoo.SAME_EVEN,
    zoo.SAME_ODD,
)
class SameByHalfTheKernel:
    def __init__(self, layer):
        self.layer = layer
        self.before = [k // 2 for k in layer.kernel]

    def padded(self, x):
        return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in self.before)))

    def forward(self, x, w, b=None):
        height, width = x.shape[2:]
        seen = sliding_window_view(self.padded(x), self.layer.kernel, axis=(2, 3))[
            :, :, :height, :width
        ]
        return plus_bias(
            np.tensordot(seen, w, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2), b
        )

    def backward(self, x, w, dy):
        (height, width), (p, q) = x.shape[2:], self.before
        padded, dw = self.padded(x), np.zeros_like(w)
        rim = np.zeros_like(padded)
        for a, b in product(*map(range, self.layer.kernel)):
            dw[:, :, a, b] = np.einsum(
                "noij,ncij->oc", dy, padded[:, :, a : a + height, b : b + width]
            )
            rim[:, :, a : a + height, b : b + width] += np.einsum(
                "oc,noij->ncij", w[:, :, a, b], dy
            )
        return rim[:, :, p : p + height, q : q + width], dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "The scatter checks the last output but not the first: index -1 wraps around.",
    "y dx dw",
    zoo.PADDED,
    zoo.PLAIN,
    zoo.STRIDED,
)
class ScatterWrapsAtNegativeIndices:
    def __init__(self, layer):
        self.layer = layer

    def stamps(self):
        (h, w), (oh, ow), (sh, sw) = (
            self.layer.in_spatial,
            self.layer.out_spatial,
            self.layer.stride,
        )
        (top, _), (left, _) = self.layer.padding
        for i, j, a, b in product(range(h), range(w), *map(range, self.layer.kernel)):
            if (i + top - a) % sh == 0 and (j + left - b) % sw == 0:
                r, q = (i + top - a) // sh, (j + left - b) // sw
                if r < oh and q < ow:
                    yield i, j, a, b, r, q

    def forward(self, x, w, b=None):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j, a, c, r, q in self.stamps():
            y[:, :, r, q] += x[:, :, i, j] @ w[:, :, a, c].T
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i, j, a, c, r, q in self.stamps():
            dx[:, :, i, j] += dy[:, :, r, q] @ w[:, :, a, c]
            dw[:, :, a, c] += dy[:, :, r, q].T @ x[:, :, i, j]
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "The scatter forward overwrites what other pixels left.",
    "y",
    zoo.PLAIN,
    zoo.PADDED,
    Conv((2, 5, 6), 3, 1),
)
class ScatterOverwrites:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        (oh, ow), ((top, _), (left, _)) = self.layer.out_spatial, self.layer.padding
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j, a, c in product(
            *map(range, self.layer.in_spatial), *map(range, self.layer.kernel)
        ):
            r, q = i + top - a, j + left - c
            if 0 <= r < oh and 0 <= q < ow:
                y[:, :, r, q] = x[:, :, i, j] @ w[:, :, a, c].T
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        (height, width), ((top, bottom), (left, right)) = x.shape[2:], self.layer.padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        rim, dw = np.zeros_like(padded), np.zeros_like(w)
        for i, j in product(*map(range, self.layer.out_spatial)):
            window = np.s_[:, :, i : i + w.shape[2], j : j + w.shape[3]]
            rim[window] += np.tensordot(dy[:, :, i, j], w, 1)
            dw += np.tensordot(dy[:, :, i, j], padded[window], (0, 0))
        return rim[:, :, top : top + height, left : left + width], dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "dx is a full correlation of dy with its begin and end rims swapped.",
    "dx",
    zoo.PADDED,
    zoo.SAME_ODD,
    zoo.PLAIN,
)
class FullCorrelationRimsSwapped:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        seen = zoo.windows(pad(self.layer, x), self.layer)
        return plus_bias(np.einsum("ncijab,ocab->noij", seen, w), b)

    def backward(self, x, w, dy):
        rims = [
            (k - 1 - e, k - 1 - b)
            for k, (b, e) in zip(self.layer.kernel, self.layer.padding, strict=True)
        ]
        wide = np.pad(dy, ((0, 0), (0, 0), *rims))
        seen = sliding_window_view(wide, self.layer.kernel, axis=(2, 3))
        dx = np.einsum("noijab,ocab->ncij", seen, w[:, :, ::-1, ::-1])
        dw = np.einsum("ncijab,noij->ocab", zoo.windows(pad(self.layer, x), self.layer), dy)
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "dw correlates x with dy as its kernel, not spread out by the stride.",
    "dw",
    zoo.STRIDED,
    zoo.UNEVEN_STRIDE,
    zoo.PADDED,
)
class DyNotSpreadInDw:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        (sh, sw), padded = self.layer.stride, pad(self.layer, x)
        seen = sliding_window_view(padded, self.layer.kernel, axis=(2, 3))[:, :, ::sh, ::sw]
        return plus_bias(np.einsum("ncijab,ocab->noij", seen, w), b)

    def backward(self, x, w, dy):
        (kh, kw), padded = self.layer.kernel, pad(self.layer, x)
        seen = sliding_window_view(padded, dy.shape[2:], axis=(2, 3))[:, :, :kh, :kw]
        wide = zoo.spread(dy, self.layer.stride)
        rim = np.zeros_like(padded)
        for a, b in product(range(kh), range(kw)):
            rim[:, :, a : a + wide.shape[2], b : b + wide.shape[3]] += np.einsum(
                "oc,noij->ncij", w[:, :, a, b], wide
            )
        return (
            zoo.fold(self.layer, rim),
            np.einsum("ncabij,noij->ocab", seen, dy),
            dy.sum(axis=(0, 2, 3)),
        )


@wrong(
    "dx of a strided layer comes out too short, and the leftover rows are put in front.",
    "dx",
    zoo.STRIDED,
    zoo.PLAIN,
)
class LeftoverRowsPutInFront:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        return plus_bias(
            np.einsum("ncijab,ocab->noij", zoo.windows(pad(self.layer, x), self.layer), w), b
        )

    def backward(self, x, w, dy):
        (top, _), (left, _) = self.layer.padding
        kh, kw = self.layer.kernel
        wide = np.pad(
            zoo.spread(dy, self.layer.stride), ((0, 0), (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1))
        )
        seen = sliding_window_view(wide, (kh, kw), axis=(2, 3))
        full = np.einsum("noijab,ocab->ncij", seen, w[:, :, ::-1, ::-1])
        over = [
            n + sum(p) - m
            for n, p, m in zip(x.shape[2:], self.layer.padding, full.shape[2:], strict=True)
        ]
        full = np.pad(full, ((0, 0), (0, 0), *((n, 0) for n in over)))
        dw = np.einsum("ncijab,noij->ocab", zoo.windows(pad(self.layer, x), self.layer), dy)
        return (
            full[:, :, top : top + x.shape[2], left : left + x.shape[3]],
            dw,
            dy.sum(axis=(0, 2, 3)),
        )


@wrong(
    "dx ends where the last window ends: leftover rows are missing (a wrong shape).",
    "dx",
    Conv((2, 8, 6), 3, (3, 2), stride=(2, 3)),
    zoo.PLAIN,
)
class LeftoverRowsMissing:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        (kh, kw), (sh, sw) = self.layer.kernel, self.layer.stride
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j in product(*map(range, self.layer.out_spatial)):
            y[:, :, i, j] = np.tensordot(
                x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw], w, ((1, 2, 3), (1, 2, 3))
            )
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        (kh, kw), (sh, sw), (oh, ow) = self.layer.kernel, self.layer.stride, self.layer.out_spatial
        dx, dw = (
            np.zeros((*x.shape[:2], (oh - 1) * sh + kh, (ow - 1) * sw + kw), x.dtype),
            np.zeros_like(w),
        )
        for i, j in product(range(oh), range(ow)):
            window = np.s_[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            dx[window] += np.tensordot(dy[:, :, i, j], w, 1)
            dw += np.tensordot(dy[:, :, i, j], x[window], (0, 0))
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "The FFT has the input's length, which makes the zero padding circular (rounded to integers).",
    "y dx dw",
    zoo.SQUARE_KERNEL,
    zoo.EVEN_PADS,
)
class FourierWrapsAround:
    def __init__(self, layer):
        self.layer = layer

    def spectra(self, x, w):
        return np.fft.fft2(x), np.fft.fft2(w, s=x.shape[2:])

    def forward(self, x, w, b=None):
        (top, _), (left, _), (oh, ow) = *self.layer.padding, self.layer.out_spatial
        X, W = self.spectra(x, w)
        y = np.fft.ifft2(np.einsum("nchw,ochw->nohw", X, W.conj())).real
        rows, columns = (np.arange(oh) - top) % x.shape[2], (np.arange(ow) - left) % x.shape[3]
        return plus_bias(np.rint(y[:, :, rows[:, None], columns]), b)

    def backward(self, x, w, dy):
        (top, _), (left, _), (oh, ow) = *self.layer.padding, self.layer.out_spatial
        X, W = self.spectra(x, w)
        placed = np.zeros((*dy.shape[:2], *x.shape[2:]), dy.dtype)
        rows, columns = (np.arange(oh) - top) % x.shape[2], (np.arange(ow) - left) % x.shape[3]
        np.add.at(placed, (slice(None), slice(None), rows[:, None], columns), dy)
        D = np.fft.fft2(placed)
        dx = np.fft.ifft2(np.einsum("nohw,ochw->nchw", D, W)).real
        dw = np.fft.ifft2(np.einsum("nohw,nchw->ochw", D.conj(), X)).real
        return np.rint(dx), np.rint(dw[:, :, : w.shape[2], : w.shape[3]]), dy.sum(axis=(0, 2, 3))


@wrong(
    "In dw the spectrum of dy is not conjugated (y and dx are right; rounded to integers).",
    "dw",
    zoo.PLAIN,
    zoo.PADDED,
)
class FourierDwNotConjugated:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        padded = pad(self.layer, x)
        X, W = np.fft.rfft2(padded), np.fft.rfft2(w, s=padded.shape[2:])
        y = np.fft.irfft2(np.einsum("nchw,ochw->nohw", X, W.conj()), s=padded.shape[2:])
        oh, ow = self.layer.out_spatial
        return plus_bias(np.rint(y[:, :, :oh, :ow]), b)

    def backward(self, x, w, dy):
        padded = pad(self.layer, x)
        X, W, D = (np.fft.rfft2(a, s=padded.shape[2:]) for a in (padded, w, dy))
        rim = np.fft.irfft2(np.einsum("nohw,ochw->nchw", D, W), s=padded.shape[2:])
        dw = np.fft.irfft2(np.einsum("nohw,nchw->ochw", D, X), s=padded.shape[2:])
        return (
            zoo.fold(self.layer, np.rint(rim)),
            np.rint(dw[:, :, : w.shape[2], : w.shape[3]]),
            dy.sum(axis=(0, 2, 3)),
        )


@wrong(
    "Tiles of the Winograd form cover an even number of rows: an odd last one stays 0.",
    "y",
    Conv((2, 5, 6), 3, 3),
    Conv((2, 6, 6), 3, 3),
)
class WinogradLosesTheOddRow(zoo.Winograd):
    def forward(self, x, w, b=None):
        y, rows = super().forward(x, w), self.layer.out_spatial[0]
        y[:, :, rows - rows % 2 :] = 0
        return plus_bias(y, b)


@wrong(
    "One sign of the Winograd kernel transform is wrong.",
    "y dx dw",
    Conv((2, 5, 6), 3, 3),
    zoo.SQUARE_KERNEL,
)
class WinogradSignInTheKernelTransform(zoo.Winograd):
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, -0.5], [0, 0, 1]], np.float32)


@wrong(
    "scipy.signal.convolve2d instead of correlate2d, consistently in forward and dw.",
    "y dw",
    zoo.PLAIN,
    zoo.PADDED,
)
class Convolve2dForCorrelate2d:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        padded, y = pad(self.layer, x), np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            y[n, o] += signal.convolve2d(padded[n, c], w[o, c], mode="valid")
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded, dw = pad(self.layer, x), np.zeros_like(w)
        rim = np.zeros_like(padded)
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            dw[o, c] += signal.convolve2d(padded[n, c], dy[n, o], mode="valid")
            rim[n, c] += signal.convolve2d(dy[n, o], w[o, c], mode="full")
        return zoo.fold(self.layer, rim), dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "mode='same' of scipy.signal centres an even kernel one cell earlier.",
    "y",
    zoo.SAME_EVEN,
    zoo.SAME_ODD,
)
class ScipySameForEvenKernels:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            y[n, o] += signal.correlate(x[n, c], w[o, c], mode="same", method="direct")
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        ((top, bottom), (left, right)), dx, dw = (
            self.layer.padding,
            np.zeros_like(x),
            np.zeros_like(w),
        )
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            full = signal.convolve(dy[n, o], w[o, c], "full", "direct")
            dx[n, c] += full[top : top + x.shape[2], left : left + x.shape[3]]
            dw[o, c] += signal.correlate(padded[n, c], dy[n, o], "valid", "direct")
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "scipy.ndimage's mode 'reflect' is NumPy's 'symmetric' ('mirror' was meant).",
    "y dx dw",
    zoo.REFLECT_ONE,
)
class NdimageReflectIsSymmetric:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        y = [
            [
                sum(ndimage.correlate(c, k, mode="reflect") for c, k in zip(s, o, strict=True))
                for o in w
            ]
            for s in x
        ]
        return plus_bias(np.array(y), b)

    def backward(self, x, w, dy):
        padded = np.pad(x, ((0, 0), (0, 0), *self.layer.padding), mode="symmetric")
        seen = sliding_window_view(padded, self.layer.kernel, axis=(2, 3))
        rim = np.zeros_like(padded)
        for i, j in product(*map(range, dy.shape[2:])):
            rim[:, :, i : i + 3, j : j + 3] += np.tensordot(dy[:, :, i, j], w, 1)
        rim[:, :, 1] += rim[:, :, 0]
        rim[:, :, -2] += rim[:, :, -1]
        rim[:, :, :, 1] += rim[:, :, :, 0]
        rim[:, :, :, -2] += rim[:, :, :, -1]
        return (
            rim[:, :, 1:-1, 1:-1],
            np.einsum("ncijab,noij->ocab", seen, dy),
            dy.sum(axis=(0, 2, 3)),
        )


@wrong(
    "The dense gradient is projected onto tied matrices: copies are averaged, not summed.",
    "dw",
    zoo.PLAIN,
    zoo.REPLICATE,
    Conv((2, 3, 4), 3, (3, 4)),
)
class CopiesAveraged:
    def __init__(self, layer):
        self.layer, (self.rows, self.columns, self.weights) = layer, zoo.matrix_entries(layer)

    def matrix(self, w):
        A = np.zeros((np.prod(self.layer.out_shape), np.prod(self.layer.in_shape)), w.dtype)
        np.add.at(A, (self.rows, self.columns), w.ravel()[self.weights])
        return A

    def forward(self, x, w, b=None):
        return plus_bias(
            (x.reshape(len(x), -1) @ self.matrix(w).T).reshape(len(x), *self.layer.out_shape), b
        )

    def backward(self, x, w, dy):
        flat = dy.reshape(len(dy), -1)
        G = flat.T @ x.reshape(len(x), -1)
        total = np.bincount(self.weights, G[self.rows, self.columns], w.size)
        dw = (total / np.maximum(np.bincount(self.weights, minlength=w.size), 1)).astype(w.dtype)
        return (flat @ self.matrix(w)).reshape(x.shape), dw.reshape(w.shape), zoo.bias_gradient(dy)


@wrong(
    "A cell of the matrix holds one weight; "
    "with replicated borders it should hold the sum of several.",
    "y dx",
    zoo.REPLICATE,
    zoo.REFLECT,
    zoo.PADDED,
)
class OneWeightPerMatrixCell:
    def __init__(self, layer):
        self.layer, (self.rows, self.columns, self.weights) = layer, zoo.matrix_entries(layer)

    def matrix(self, w):
        A = np.zeros((np.prod(self.layer.out_shape), np.prod(self.layer.in_shape)), w.dtype)
        A[self.rows, self.columns] = w.ravel()[self.weights]
        return A

    def forward(self, x, w, b=None):
        return plus_bias(
            (x.reshape(len(x), -1) @ self.matrix(w).T).reshape(len(x), *self.layer.out_shape), b
        )

    def backward(self, x, w, dy):
        flat, dw = dy.reshape(len(dy), -1), np.zeros(w.size, w.dtype)
        G = flat.T @ x.reshape(len(x), -1)
        np.add.at(dw, self.weights, G[self.rows, self.columns])
        return (flat @ self.matrix(w)).reshape(x.shape), dw.reshape(w.shape), zoo.bias_gradient(dy)


@wrong(
    "Taps are shifts by np.roll, which brings the far side in where zeros belong.",
    "y dx dw",
    zoo.SAME_ODD,
)
class RollInsteadOfPadding:
    def __init__(self, layer):
        self.layer = layer

    def shifts(self):
        (top, _), (left, _) = self.layer.padding
        for a, b in product(*map(range, self.layer.kernel)):
            yield a, b, (top - a, left - b)

    def forward(self, x, w, b=None):
        y = sum(
            np.einsum("oc,ncij->noij", w[:, :, a, c], np.roll(x, s, (2, 3)))
            for a, c, s in self.shifts()
        )
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for a, b, (i, j) in self.shifts():
            dx += np.roll(np.einsum("oc,noij->ncij", w[:, :, a, b], dy), (-i, -j), (2, 3))
            dw[:, :, a, b] = np.einsum("noij,ncij->oc", dy, np.roll(x, (i, j), (2, 3)))
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "Weights are reshaped, not transposed, to (rows, columns, in, out).",
    "y dx dw",
    zoo.PLAIN,
    zoo.STRIDED,
)
class WeightsReshapedToChannelsLast:
    def __init__(self, layer):
        self.layer = layer

    def cells(self, padded):
        (oh, ow), (sh, sw) = self.layer.out_spatial, self.layer.stride
        for a, b in product(*map(range, self.layer.kernel)):
            yield a, b, padded[:, a : a + (oh - 1) * sh + 1 : sh, b : b + (ow - 1) * sw + 1 : sw]

    def hwio(self, w):
        return w.reshape(*w.shape[2:], w.shape[1], w.shape[0])

    def forward(self, x, w, b=None):
        padded, kernel = pad(self.layer, x).transpose(0, 2, 3, 1), self.hwio(w)
        y = sum(cells @ kernel[a, c] for a, c, cells in self.cells(padded))
        return (y if b is None else y + b).transpose(0, 3, 1, 2)

    def backward(self, x, w, dy):
        padded, kernel, dy = (
            pad(self.layer, x).transpose(0, 2, 3, 1),
            self.hwio(w),
            dy.transpose(0, 2, 3, 1),
        )
        rim, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
        for a, b, cells in self.cells(rim):
            np.add(cells, dy @ kernel[a, b].T, out=cells)
        for a, b, cells in self.cells(padded):
            dkernel[a, b] = np.tensordot(cells, dy, ((0, 1, 2), (0, 1, 2)))
        return (
            zoo.fold(self.layer, rim.transpose(0, 3, 1, 2)),
            dkernel.reshape(w.shape),
            dy.sum(axis=(0, 1, 2)),
        )


@wrong(
    "The student's loops: dw of a tap is (sum of its inputs) times (sum of dy), sample by sample.",
    "dw",
    zoo.PLAIN,
    Conv((2, 3, 4), 3, (3, 4)),
)
class LoopsWithSumsMultiplied:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        (oh, ow), (kh, kw) = self.layer.out_spatial, self.layer.kernel
        y = np.zeros((len(x), len(w), oh, ow), x.dtype)
        for n, o, i, j in product(range(len(x)), range(len(w)), range(oh), range(ow)):
            y[n, o, i, j] = (x[n, :, i : i + kh, j : j + kw] * w[o]).sum() + (
                0 if b is None else b[o]
            )
        return y

    def backward(self, x, w, dy):
        (oh, ow), (kh, kw) = self.layer.out_spatial, self.layer.kernel
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for n, o in product(range(len(x)), range(len(w))):
            for i, j in product(range(oh), range(ow)):
                dx[n, :, i : i + kh, j : j + kw] += w[o] * dy[n, o, i, j]
            for a, b in product(range(kh), range(kw)):
                dw[o, :, a, b] += x[n, :, a : a + oh, b : b + ow].sum(axis=(1, 2)) * dy[n, o].sum()
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "einsum over windows: channels are split as (place, group) where (group, place) was meant.",
    "y dx dw",
    zoo.GROUPED,
    zoo.PADDED,
)
class EinsumSplitsChannelsTheOtherWay:
    def __init__(self, layer):
        self.layer, self.groups = layer, layer.groups

    def kernel(self, w):
        return w.reshape(self.groups, -1, *w.shape[1:])

    def dealt(self, cells):
        return cells.reshape(len(cells), -1, self.groups, *cells.shape[2:])

    def forward(self, x, w, b=None):
        seen = self.dealt(zoo.windows(pad(self.layer, x), self.layer))
        y = np.einsum("ncgijab,gocab->ngoij", seen, self.kernel(w))
        return plus_bias(y.reshape(len(x), *self.layer.out_shape), b)

    def backward(self, x, w, dy):
        padded, outs = pad(self.layer, x), dy.reshape(len(dy), self.groups, -1, *dy.shape[2:])
        dw = np.einsum("ncgijab,ngoij->gocab", self.dealt(zoo.windows(padded, self.layer)), outs)
        rim, (oh, ow) = np.zeros_like(padded), dy.shape[2:]
        for a, b in product(*map(range, self.layer.kernel)):
            part = np.einsum("goc,ngoij->ncgij", self.kernel(w)[..., a, b], outs)
            rim[:, :, a : a + oh, b : b + ow] += part.reshape(*rim.shape[:2], oh, ow)
        return zoo.fold(self.layer, rim), dw.reshape(w.shape), dy.sum(axis=(0, 2, 3))


@wrong(
    "TensorFlow's SAME ported with the extra cell in front.",
    "y dx dw",
    zoo.SAME_EVEN,
    zoo.SAME_ODD,
    Conv((2, 6, 8), 3, 3, stride=2, padding="same"),
)
class SameWithTheExtraCellInFront:
    def __init__(self, layer):
        self.layer = layer
        numbers = zip(layer.in_spatial, layer.out_spatial, layer.kernel, layer.stride, strict=True)
        totals = [max((o - 1) * s + k - n, 0) for n, o, k, s in numbers]
        self.pads = [(t - t // 2, t // 2) for t in totals]

    def forward(self, x, w, b=None):
        (sh, sw), padded = self.layer.stride, np.pad(x, ((0, 0), (0, 0), *self.pads))
        seen = sliding_window_view(padded, self.layer.kernel, axis=(2, 3))[:, :, ::sh, ::sw]
        return plus_bias(np.einsum("ncijab,ocab->noij", seen, w), b)

    def backward(self, x, w, dy):
        padded, (sh, sw), (kh, kw) = (
            np.pad(x, ((0, 0), (0, 0), *self.pads)),
            self.layer.stride,
            self.layer.kernel,
        )
        rim, dw = np.zeros_like(padded), np.zeros_like(w)
        for i, j in product(*map(range, dy.shape[2:])):
            window = np.s_[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            rim[window] += np.einsum("no,ocab->ncab", dy[:, :, i, j], w)
            dw += np.einsum("no,ncab->ocab", dy[:, :, i, j], padded[window])
        (top, _), (left, _) = self.pads
        return (
            rim[:, :, top : top + x.shape[2], left : left + x.shape[3]],
            dw,
            dy.sum(axis=(0, 2, 3)),
        )


@wrong("Sample after sample, and dw is overwritten by each.", "dw", zoo.PLAIN, zoo.PADDED)
class DwOfTheLastSample:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        out = []
        for padded in pad(self.layer, x):
            seen = sliding_window_view(padded, self.layer.kernel, axis=(1, 2))
            out.append(np.tensordot(w, seen, ((1, 2, 3), (0, 3, 4))))
        return plus_bias(np.array(out), b)

    def backward(self, x, w, dy):
        (top, _), (left, _), (oh, ow) = *self.layer.padding, self.layer.out_spatial
        (height, width), dx, db = x.shape[2:], np.zeros_like(x), np.zeros(len(w), dy.dtype)
        for n, padded in enumerate(pad(self.layer, x)):
            rim, dw = np.zeros_like(padded), np.zeros_like(w)
            for a, c in product(*map(range, self.layer.kernel)):
                rim[:, a : a + oh, c : c + ow] += np.tensordot(w[:, :, a, c].T, dy[n], 1)
                dw[:, :, a, c] += np.tensordot(
                    dy[n], padded[:, a : a + oh, c : c + ow], ((1, 2), (1, 2))
                )
            dx[n] = rim[:, top : top + height, left : left + width]
            db += dy[n].sum(axis=(1, 2))
        return dx, dw, db


@wrong(
    "Within a group dx is assigned, so that only the last output channel hands back its gradient.",
    "dx",
    zoo.GROUPED,
)
class GroupedDxOfTheLastOutput:
    def __init__(self, layer):
        self.layer = layer

    def blocks(self, w):
        outs = len(w) // self.layer.groups
        for o in range(len(w)):
            first = o // outs * w.shape[1]
            yield o, slice(first, first + w.shape[1])

    def forward(self, x, w, b=None):
        seen, y = (
            zoo.windows(pad(self.layer, x), self.layer),
            np.zeros((len(x), *self.layer.out_shape), x.dtype),
        )
        for o, block in self.blocks(w):
            y[:, o] = np.einsum("ncijab,cab->nij", seen[:, block], w[o])
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        padded = pad(self.layer, x)
        seen, total, dw = zoo.windows(padded, self.layer), np.zeros_like(padded), np.zeros_like(w)
        for o, block in self.blocks(w):
            dw[o] = np.einsum("ncijab,nij->cab", seen[:, block], dy[:, o])
            rim = np.zeros_like(padded[:, block])
            for i, j in product(*map(range, self.layer.out_spatial)):
                rim[:, :, i : i + w.shape[2], j : j + w.shape[3]] += (
                    dy[:, o, i, j, None, None, None] * w[o]
                )
            total[:, block] = rim
        return zoo.fold(self.layer, total), dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "Stride by subsampling; backward undoes it by repeating dy instead of zeros.",
    "dx dw",
    zoo.STRIDED,
    zoo.UNEVEN_STRIDE,
    zoo.PADDED,
)
class StrideUndoneByRepeating:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        (sh, sw), padded = self.layer.stride, pad(self.layer, x)
        dense = sliding_window_view(padded, self.layer.kernel, axis=(2, 3))
        return plus_bias(np.einsum("ncijab,ocab->noij", dense, w)[:, :, ::sh, ::sw], b)

    def backward(self, x, w, dy):
        (sh, sw), padded = self.layer.stride, pad(self.layer, x)
        dense = sliding_window_view(padded, self.layer.kernel, axis=(2, 3))
        rows, columns = dense.shape[2:4]
        ddense = np.zeros((*dy.shape[:2], rows, columns), dy.dtype)
        repeated = dy.repeat(sh, axis=2).repeat(sw, axis=3)[:, :, :rows, :columns]
        ddense[:, :, : repeated.shape[2], : repeated.shape[3]] = repeated
        rim = np.zeros_like(padded)
        for a, b in product(*map(range, self.layer.kernel)):
            rim[:, :, a : a + rows, b : b + columns] += np.einsum(
                "oc,noij->ncij", w[:, :, a, b], ddense
            )
        return (
            zoo.fold(self.layer, rim),
            np.einsum("ncijab,noij->ocab", dense, ddense),
            dy.sum(axis=(0, 2, 3)),
        )


@wrong(
    "np.correlate(dy, x) for np.correlate(x, dy): NumPy swaps the two, and dw comes out reversed.",
    "dw",
    Conv((2, 9), 3, 4, padding=((2, 1),)),
    Conv((2, 7), 3, 1),
)
class NumpyCorrelateSwapsItsArguments:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b=None):
        padded, y = pad(self.layer, x), np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            y[n, o] += np.correlate(padded[n, c], w[o, c], "valid")
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        ((begin, _),), padded = self.layer.padding, pad(self.layer, x)
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for n, o, c in product(range(len(x)), *map(range, w.shape[:2])):
            dw[o, c] += np.correlate(dy[n, o], padded[n, c], "valid")
            dx[n, c] += np.convolve(dy[n, o], w[o, c], "full")[begin : begin + x.shape[2]]
        return dx, dw, dy.sum(axis=(0, 2))


@wrong(
    "A volume as slices convolved in the plane; "
    "dx puts the slices back without the depth's begin padding.",
    "dx",
    zoo.VOLUME,
    Conv((2, 4, 3, 4), 3, (2, 2, 3)),
)
class VolumeSlicesPutBackUnshifted:
    def __init__(self, layer):
        self.layer = layer

    def planes(self):
        (begin, _), depth = self.layer.padding[0], self.layer.in_spatial[0]
        for z, t in product(range(self.layer.out_spatial[0]), range(self.layer.kernel[0])):
            at = z * self.layer.stride[0] + t - begin
            if 0 <= at < depth:
                yield z, t, at

    def seen(self, plane):
        (sh, sw), kernel = self.layer.stride[1:], self.layer.kernel[1:]
        padded = np.pad(plane, ((0, 0), (0, 0), *self.layer.padding[1:]))
        return sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::sh, ::sw]

    def forward(self, x, w, b=None):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for z, t, at in self.planes():
            y[:, :, z] += np.einsum("ncijab,ocab->noij", self.seen(x[:, :, at]), w[:, :, t])
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        (_, (top, bottom), (left, right)), (_, sh, sw) = self.layer.padding, self.layer.stride
        (depth, height, width), (_, kh, kw) = x.shape[2:], self.layer.kernel
        rim, dw = (
            np.zeros((*x.shape[:3], top + height + bottom, left + width + right), x.dtype),
            np.zeros_like(w),
        )
        for z, t, at in self.planes():
            dw[:, :, t] += np.einsum("ncijab,noij->ocab", self.seen(x[:, :, at]), dy[:, :, z])
            back = z * self.layer.stride[0] + t
            for i, j in product(*map(range, dy.shape[3:])):
                if back < depth:
                    window = np.s_[:, :, back, i * sh : i * sh + kh, j * sw : j * sw + kw]
                    rim[window] += np.tensordot(dy[:, :, z, i, j], w[:, :, t], 1)
        return rim[..., top : top + height, left : left + width], dw, dy.sum(axis=(0, 2, 3, 4))


@wrong(
    "Indices are clamped to the image where zeros belong: right for padding_mode='replicate' only.",
    "y dx dw",
    zoo.PADDED,
    zoo.REPLICATE,
    zoo.PLAIN,
)
class IndicesClamped:
    def __init__(self, layer):
        self.layer = layer

    def cells(self):
        (h, v), (oh, ow), (sh, sw) = (
            self.layer.in_spatial,
            self.layer.out_spatial,
            self.layer.stride,
        )
        (top, _), (left, _) = self.layer.padding
        for a, b in product(*map(range, self.layer.kernel)):
            rows, columns = np.arange(oh) * sh + a - top, np.arange(ow) * sw + b - left
            yield a, b, rows.clip(0, h - 1)[:, None], columns.clip(0, v - 1)

    def forward(self, x, w, b=None):
        y = sum(
            np.einsum("oc,ncij->noij", w[:, :, a, c], x[:, :, i, j]) for a, c, i, j in self.cells()
        )
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for a, b, i, j in self.cells():
            np.add.at(
                dx, (slice(None), slice(None), i, j), np.einsum("oc,noij->ncij", w[:, :, a, b], dy)
            )
            dw[:, :, a, b] = np.einsum("noij,ncij->oc", dy, x[:, :, i, j])
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "A kernel on flat memory steps from row to row of the input by the output's width.",
    "y dx dw",
    zoo.PLAIN,
    Conv((2, 5, 6), 3, (3, 1)),
)
class RowPitchOfTheOutput:
    def __init__(self, layer):
        self.layer = layer
        (h, v), (oh, ow), self.taps = (
            layer.in_spatial,
            layer.out_spatial,
            list(product(*map(range, layer.kernel))),
        )
        i, j = np.divmod(np.arange(oh * ow), ow)
        c = np.arange(layer.in_channels)[:, None] * h * v
        self.addresses = [c + (i + a) * ow + j + b for a, b in self.taps]

    def forward(self, x, w, b=None):
        memory, y = (
            x.reshape(len(x), -1),
            np.zeros((len(x), len(w), *self.layer.out_spatial), x.dtype),
        )
        for (a, c), address in zip(self.taps, self.addresses, strict=True):
            y += (w[:, :, a, c] @ memory[:, address]).reshape(y.shape)
        return plus_bias(y, b)

    def backward(self, x, w, dy):
        memory, rows = x.reshape(len(x), -1), dy.reshape(*dy.shape[:2], -1)
        dmemory, dw = np.zeros_like(memory), np.zeros_like(w)
        for (a, b), address in zip(self.taps, self.addresses, strict=True):
            np.add.at(dmemory, (slice(None), address), w[:, :, a, b].T @ rows)
            dw[:, :, a, b] = np.einsum("nop,ncp->oc", rows, memory[:, address])
        return dmemory.reshape(x.shape), dw, rows.sum(axis=(0, 2))


@wrong(
    "dw runs over the pixels of the batch in blocks of 8, and what is left over is lost "
    "(nothing at some batch sizes).",
    "dw",
    Conv((2, 5, 6), 3, (3, 2)),
    zoo.STRIDED,
    zoo.PLAIN,
)
class DwLosesTheLastBlock:
    def __init__(self, layer):
        self.layer, self.indices = layer, zoo.im2col_indices(layer)

    def forward(self, x, w, b=None):
        columns = pad(self.layer, x)[:, *self.indices]
        return plus_bias(
            (w.reshape(len(w), -1) @ columns).reshape(len(x), *self.layer.out_shape), b
        )

    def backward(self, x, w, dy):
        padded = pad(self.layer, x)
        columns = padded[:, *self.indices].swapaxes(0, 1).reshape(w[0].size, -1)
        rows, dw = dy.swapaxes(0, 1).reshape(len(w), -1), np.zeros((len(w), w[0].size), w.dtype)
        for block in range(rows.shape[1] // 8):
            at = slice(8 * block, 8 * block + 8)
            dw += rows[:, at] @ columns[:, at].T
        rim = np.zeros_like(padded)
        np.add.at(
            rim,
            (slice(None), *self.indices),
            w.reshape(len(w), -1).T @ dy.reshape(len(dy), len(w), -1),
        )
        return zoo.fold(self.layer, rim), dw.reshape(w.shape), rows.sum(axis=1)


class TorchLossForgetsDy(zoo.TorchFunctional):
    def backward(self, x, w, dy):
        return super().backward(x, w, np.ones_like(dy))


class TorchBeginPadsOnBothSides:
    def __init__(self, layer):
        self.layer = layer

    def convolve(self, x, w, b):
        import torch

        begins = tuple(begin for begin, _ in self.layer.padding)
        return torch.nn.functional.conv2d(x, w, b, self.layer.stride, begins, self.layer.dilation)

    def forward(self, x, w, b=None):
        return (
            self.convolve(*zoo.tensors(x, w), None if b is None else zoo.tensors(b)[0])
            .detach()
            .numpy()
        )

    def backward(self, x, w, dy):
        x, w, b = zoo.tensors(x, w, np.zeros(len(w), w.dtype))
        y = self.convolve(x, w, b)
        rows, columns = (min(m, n) for m, n in zip(y.shape[2:], dy.shape[2:], strict=True))
        (y[..., :rows, :columns] * zoo.tensors(dy)[0][..., :rows, :columns]).sum().backward()
        return x.grad.numpy(), w.grad.numpy(), dy.sum(axis=(0, 2, 3))


if zoo.HAS_TORCH:
    wrong("Autograd of y.sum(): dy is forgotten.", "dx dw db", zoo.PADDED, zoo.LINE)(
        TorchLossForgetsDy
    )
    wrong(
        "The begin padding is given to conv2d, for both sides (a wrong shape of y).",
        "y dx dw",
        zoo.PADDED,
        zoo.EVEN_PADS,
    )(TorchBeginPadsOnBothSides)


# Transposed convolutions


@wrong("output_padding is added in front.", "y dx dw", zoo.UP, zoo.UP_LINE, zoo.UP_PLAIN)
class OutputPaddingInFront(UpStamps):
    def view(self, tap):
        index = super().view(tap)[1:]
        moved = zip(index, self.layer.output_padding, strict=True)
        return (..., *(slice(s.start + e, s.stop + e, s.step) for s, e in moved))


@wrong("The crop's begin and end are swapped.", "y dx dw", zoo.UP, zoo.UP_DILATED, zoo.UP_PLAIN)
class CropsSwapped(UpStamps):
    def crop(self, full):
        pairs = zip(full.shape[2:], self.layer.padding, strict=True)
        return full[(..., *(slice(e, n - b) for n, (b, e) in pairs))]

    def uncrop(self, dy):
        return np.pad(dy, ((0, 0), (0, 0), *(pair[::-1] for pair in self.layer.padding)))


@wrong("The weights are read as (out, in), as a convolution has them.", "y dx dw", zoo.UP_SQUARE)
class UpWeightsOutputChannelFirst(UpStamps):
    def y(self, x, w):
        return super().y(x, w.swapaxes(0, 1))

    def dx(self, x, w, dy):
        return super().dx(x, w.swapaxes(0, 1), dy)

    def dw(self, x, w, dy):
        return super().dw(x, w, dy).swapaxes(0, 1)


@wrong("Where stamps overlap the last one stays.", "y", zoo.UP_PLAIN, zoo.UP_GROUPED, zoo.UP)
class StampsOverwrite(UpStamps):
    def y(self, x, w):
        full = np.zeros((len(x), self.layer.out_channels, *self.full_shape()), x.dtype)
        for tap in self.taps():
            target = full[self.view(tap)]
            target[...] = np.einsum("gco,ngcp->ngop", self.part(w, tap), self.split(x)).reshape(
                target.shape
            )
        return self.crop(full)


@wrong(
    "dx correlates with the turned kernel, as a convolution's dx does.",
    "dx",
    zoo.UP_PLAIN,
    zoo.UP_DILATED,
)
class UpDxWithTurnedKernel(UpStamps):
    def dx(self, x, w, dy):
        return super().dx(x, w[:, :, ::-1, ::-1], dy)


@wrong("The output channels of the groups are interleaved.", "y", zoo.UP_GROUPED, zoo.UP_PLAIN)
class UpGroupsInterleaved(UpStamps):
    def y(self, x, w):
        y = super().y(x, w)
        return (
            y.reshape(len(x), self.layer.groups, -1, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape)
        )


@wrong(
    "The bias is missing on the rows that output_padding adds, in y as in db.",
    "y db",
    zoo.UP,
    zoo.UP_PLAIN,
)
class NoBiasOnOutputPadding(UpStamps):
    def inner(self, y):
        return y[
            (
                ...,
                *(
                    slice(n - e)
                    for n, e in zip(y.shape[2:], self.layer.output_padding, strict=True)
                ),
            )
        ]

    def forward(self, x, w, b=None):
        y = self.y(x, w)
        if b is not None:
            self.inner(y)[...] += b.reshape(-1, 1, 1)
        return y

    def db(self, dy):
        return super().db(self.inner(dy))


@wrong(
    "dw comes out with a bit too little in one tap (1e-4), and db is doubled.",
    "dw db",
    zoo.UP,
    zoo.UP_GROUPED,
)
class UpTinyDwAndDoubleDb(UpStamps):
    def dw(self, x, w, dy):
        dw = super().dw(x, w, dy)
        dw[0, 1, -1, 0] *= 1 - 1e-4
        return dw

    def db(self, dy):
        return 2 * super().db(dy)


@wrong(
    "Zero insertion, then a correlation whose kernel is not turned.", "y dw", zoo.UP_PLAIN, zoo.UP
)
class UpKernelNotTurned:
    def __init__(self, layer):
        self.layer = layer

    def seen(self, x):
        (kh, kw), (sh, sw), (eh, ew) = (
            self.layer.kernel,
            self.layer.stride,
            self.layer.output_padding,
        )
        (n, c, h, v), ((top, bottom), (left, right)) = x.shape, self.layer.padding
        wide = np.zeros((n, c, (h - 1) * sh + 1, (v - 1) * sw + 1), x.dtype)
        wide[:, :, ::sh, ::sw] = x
        wide = np.pad(wide, ((0, 0), (0, 0), (kh - 1, kh - 1 + eh), (kw - 1, kw - 1 + ew)))
        return sliding_window_view(
            wide[:, :, top : wide.shape[2] - bottom, left : wide.shape[3] - right],
            (kh, kw),
            axis=(2, 3),
        )

    def forward(self, x, w, b=None):
        return plus_bias(np.einsum("ncijab,coab->noij", self.seen(x), w), b)

    def backward(self, x, w, dy):
        (kh, kw), (sh, sw) = self.layer.kernel, self.layer.stride
        full, dx = np.pad(dy, ((0, 0), (0, 0), *self.layer.padding)), np.zeros_like(x)
        for i, j in product(*map(range, x.shape[2:])):
            window = full[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            dx[:, :, i, j] = np.einsum("noab,coab->nc", window, w)
        return dx, np.einsum("ncijab,noij->coab", self.seen(x), dy), dy.sum(axis=(0, 2, 3))


@wrong(
    "Pixels are repeated, not followed by zeros, before the correlation.",
    "y dx dw",
    ConvTranspose((2, 4, 3), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1))),
    zoo.UP_PLAIN,
)
class UpRepeatsPixels:
    def __init__(self, layer):
        self.layer = layer

    def repeated(self, x):
        (sh, sw), (h, v) = self.layer.stride, x.shape[2:]
        return x.repeat(sh, axis=2).repeat(sw, axis=3)[:, :, : (h - 1) * sh + 1, : (v - 1) * sw + 1]

    def forward(self, x, w, b=None):
        wide, ((top, bottom), (left, right)) = self.repeated(x), self.layer.padding
        full = np.zeros(
            (
                len(x),
                w.shape[1],
                *(n + k - 1 for n, k in zip(wide.shape[2:], w.shape[2:], strict=True)),
            ),
            x.dtype,
        )
        for a, c in product(*map(range, self.layer.kernel)):
            full[:, :, a : a + wide.shape[2], c : c + wide.shape[3]] += np.einsum(
                "co,ncij->noij", w[:, :, a, c], wide
            )
        return plus_bias(full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right], b)

    def backward(self, x, w, dy):
        full, wide, (sh, sw) = (
            np.pad(dy, ((0, 0), (0, 0), *self.layer.padding)),
            self.repeated(x),
            self.layer.stride,
        )
        back, dw = np.zeros_like(wide), np.zeros_like(w)
        for a, b in product(*map(range, self.layer.kernel)):
            cells = full[:, :, a : a + wide.shape[2], b : b + wide.shape[3]]
            back += np.einsum("co,noij->ncij", w[:, :, a, b], cells)
            dw[:, :, a, b] = np.einsum("ncij,noij->co", wide, cells)
        starts = np.arange(0, back.shape[2], sh), np.arange(0, back.shape[3], sw)
        dx = np.add.reduceat(np.add.reduceat(back, starts[0], axis=2), starts[1], axis=3)
        return dx, dw, dy.sum(axis=(0, 2, 3))


@wrong(
    "Kernel equal to stride as a pixel shuffle whose row and column phases are swapped.",
    "y dx dw",
    ConvTranspose((2, 3, 4), 3, 2, stride=2),
)
class PixelShuffleSwapsThePhases:
    def __init__(self, layer):
        self.layer, (self.factor, _) = layer, layer.stride

    def forward(self, x, w, b=None):
        r, (n, _, h, v) = self.factor, x.shape
        phases = np.einsum("coab,ncij->noabij", w, x)
        return plus_bias(phases.transpose(0, 1, 4, 3, 5, 2).reshape(n, w.shape[1], h * r, v * r), b)

    def backward(self, x, w, dy):
        r, (n, _, h, v) = self.factor, x.shape
        phases = dy.reshape(n, w.shape[1], h, r, v, r).transpose(0, 1, 5, 3, 2, 4)
        dx = np.einsum("coab,noabij->ncij", w, phases)
        return dx, np.einsum("noabij,ncij->coab", phases, x), dy.sum(axis=(0, 2, 3))


# Max pools


@wrong(
    "Absent cells are zeros, which win over negative inputs.",
    "y dx",
    zoo.MAX_PADDED,
    zoo.MAX_DILATED,
    zoo.MAX,
)
class MaxPaddedWithZeros(StridedMax):
    def __init__(self, layer):
        super().__init__(layer)
        self.begin = [b for b, _ in layer.padding]

    def seen(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads))
        return zoo.strided_windows(self.layer, padded).reshape(
            *x.shape[:2], *self.layer.out_spatial, -1
        )

    def backward(self, x, dy):
        (top, bottom), (left, right) = self.pads
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads))
        rim = np.zeros_like(padded)
        n, c, i, j = np.indices(dy.shape)
        a, b = np.unravel_index(self.seen(x).argmax(axis=-1), self.layer.kernel)
        (sh, sw), (dh, dw) = self.layer.stride, self.layer.dilation
        np.add.at(rim, (n, c, i * sh + a * dh, j * sw + b * dw), dy)
        return rim[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]


@wrong(
    "Padded by repeating the edge: y is right, but gradients won by a copy are cropped away.",
    "dx",
    zoo.MAX_PADDED,
    zoo.MAX,
)
class MaxPaddedWithTheEdge:
    def __init__(self, layer):
        self.layer = layer

    def windows(self, padded):
        (kh, kw), (sh, sw) = self.layer.kernel, self.layer.stride
        for i, j in product(*map(range, self.layer.out_spatial)):
            yield i, j, padded[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]

    def padded(self, x):
        return np.pad(x, ((0, 0), (0, 0), *self.layer.padding), mode="edge")

    def forward(self, x):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j, window in self.windows(self.padded(x)):
            y[:, :, i, j] = window.max(axis=(2, 3))
        return y

    def backward(self, x, dy):
        padded, kw = self.padded(x), self.layer.kernel[1]
        rim = np.zeros_like(padded)
        n, c = np.indices(x.shape[:2])
        for (i, j, window), (_, _, target) in zip(
            self.windows(padded), self.windows(rim), strict=True
        ):
            at = window.reshape(*x.shape[:2], -1).argmax(axis=-1)
            np.add.at(target, (n, c, at // kw, at % kw), dy[:, :, i, j])
        (top, _), (left, _) = self.layer.padding
        return rim[:, :, top : top + x.shape[2], left : left + x.shape[3]]


@wrong(
    "max as (x + y + |x - y|) / 2, over padding with -inf: not a number at the border.",
    "y",
    zoo.MAX_PADDED,
    zoo.MAX,
)
class MaxFormulaMeetsInfinity(zoo.RunningMax):
    def forward(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=-np.inf)
        first, *others = self.views()
        y = padded[first]
        with np.errstate(invalid="ignore"):
            for view in others:
                y = (y + padded[view] + abs(y - padded[view])) / 2
        return y

    def backward(self, x, dy):
        return StridedMax(self.layer).backward(x, dy)


@wrong(
    "Every cell that equals the maximum gets the whole gradient.",
    "dx",
    zoo.MAX,
    zoo.MAX_PADDED,
    zoo.MAX_PARTS,
)
class MaxGradientToAllTies(PoolLoops):
    def shares(self, cells, counts):
        return cells == cells.max(axis=-1, keepdims=True)


@wrong(
    "A mask x == repeat(y): all ties get the gradient, and windows must tile.", "dx", zoo.MAX_TILES
)
class TiledMaxWithAMask:
    def __init__(self, layer):
        self.kernel = layer.kernel

    def tiles(self, x):
        (kh, kw), (n, c, h, v) = self.kernel, x.shape
        return x.reshape(n, c, h // kh, kh, v // kw, kw)

    def forward(self, x):
        return self.tiles(x).max(axis=(3, 5))

    def backward(self, x, dy):
        y, (kh, kw) = self.forward(x), self.kernel
        mask = x == y.repeat(kh, axis=2).repeat(kw, axis=3)
        return mask * dy.repeat(kh, axis=2).repeat(kw, axis=3)


@wrong("Ties share the gradient evenly.", "dx", zoo.MAX, zoo.MAX_CEIL)
class MaxGradientSplitAmongTies(PoolLoops):
    def shares(self, cells, counts):
        best = cells == cells.max(axis=-1, keepdims=True)
        return best / best.sum(axis=-1, keepdims=True)


@wrong("At a tie the last cell wins.", "dx", zoo.MAX, zoo.MAX_DILATED)
class MaxGradientToTheLastTie(PoolLoops):
    def winner(self, cells):
        return cells.shape[-1] - 1 - cells[..., ::-1].argmax(axis=-1)


@wrong(
    "The window is scanned column by column, so another tie comes first.",
    "dx",
    zoo.MAX,
    MaxPool((2, 6, 7), (3, 1)),
)
class MaxScansColumnsFirst(PoolLoops):
    def winner(self, cells):
        kh, kw = self.layer.kernel
        best = (
            cells.reshape(*cells.shape[:-1], kh, kw)
            .swapaxes(-1, -2)
            .reshape(cells.shape)
            .argmax(axis=-1)
        )
        return best % kh * kw + best // kh


@wrong(
    "Where windows overlap, dx is assigned instead of added.",
    "dx",
    zoo.MAX,
    zoo.MAX_LINE,
    zoo.MAX_TILES,
)
class MaxAssignedWhereWindowsOverlap(PoolLoops):
    def backward(self, x, dy):
        dx = np.zeros_like(x)
        for at, where, counts in self.windows():
            cells = x[:, :, *where]
            shares = self.shares(cells.reshape(*x.shape[:2], -1), counts) * dy[:, :, *at][..., None]
            dx[:, :, *where] = np.where(
                shares.reshape(cells.shape) != 0, shares.reshape(cells.shape), dx[:, :, *where]
            )
        return dx


@wrong(
    "Every gradient is counted twice, once with the rows and once with the columns.",
    "dx",
    zoo.MAX_TILES,
    zoo.MAX_PADDED,
)
class MaxGradientCountedTwice(PoolLoops):
    def backward(self, x, dy):
        return 2 * super().backward(x, dy)


@wrong(
    "The winner's index is decoded with the window's height for its width.",
    "dx",
    MaxPool((2, 7, 6), (2, 3), stride=(2, 1)),
    MaxPool((2, 7, 6), (3, 3), stride=(2, 1)),
)
class MaxIndexDecodedWithTheHeight:
    def __init__(self, layer):
        self.layer = layer

    def seen(self, x):
        (sh, sw), (kh, kw) = self.layer.stride, self.layer.kernel
        return sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::sh, ::sw].reshape(
            *x.shape[:2], *self.layer.out_spatial, -1
        )

    def forward(self, x):
        return self.seen(x).max(axis=-1)

    def backward(self, x, dy):
        (sh, sw), (kh, _) = self.layer.stride, self.layer.kernel
        a, b = np.divmod(self.seen(x).argmax(axis=-1), kh)
        n, c, i, j = np.indices(dy.shape)
        dx = np.zeros_like(x)
        np.add.at(dx, (n, c, i * sh + a, j * sw + b), dy)
        return dx


@wrong("The largest absolute value is taken.", "y dx", zoo.MAX, zoo.MAX_CEIL)
class MaxOfAbsoluteValues(PoolLoops):
    def winner(self, cells):
        return np.abs(cells).argmax(axis=-1)

    def reduce(self, cells, counts):
        return np.take_along_axis(cells, self.winner(cells)[..., None], -1)[..., 0]


@wrong(
    "The last window of ceil_mode, which runs over the end, stays 0.", "y dx", zoo.MAX_CEIL, zoo.MAX
)
class CeilModeWindowMissing(PoolLoops):
    def windows(self):
        for at, where, counts in super().windows():
            ends = [
                i * s + k for i, s, k in zip(at, self.layer.stride, self.layer.kernel, strict=True)
            ]
            if all(e <= n for e, n in zip(ends, self.layer.in_spatial, strict=True)):
                yield at, where, counts


@wrong(
    "Leftover columns belong to the last window.", "y dx", MaxPool((2, 5, 7), (2, 3)), zoo.MAX_TILES
)
class LeftoverInTheLastWindow(PoolLoops):
    def span(self, axis, o):
        cells, _ = super().span(axis, o)
        if o == self.layer.out_spatial[axis] - 1:
            cells = list(range(cells[0], self.layer.in_spatial[axis]))
        return cells, len(cells)


@wrong(
    "Windows by as_strided, and the dilation is not in the strides.",
    "y dx",
    MaxPool((2, 7, 6), (2, 3), dilation=(3, 2)),
    zoo.MAX,
)
class MaxDilationIgnored:
    def __init__(self, layer):
        self.layer = layer

    def seen(self, x):
        (sh, sw), (n, c, i, j) = self.layer.stride, x.strides
        shape = (*x.shape[:2], *self.layer.out_spatial, *self.layer.kernel)
        view = as_strided(x, shape, (n, c, i * sh, j * sw, i, j), writeable=False)
        return view.reshape(*shape[:4], -1)

    def forward(self, x):
        return self.seen(x).max(axis=-1)

    def backward(self, x, dy):
        (sh, sw), (_, kw), dx = self.layer.stride, self.layer.kernel, np.zeros_like(x)
        winner = self.seen(x).argmax(axis=-1)
        for n, c, i, j in np.ndindex(dy.shape):
            a, b = divmod(winner[n, c, i, j], kw)
            dx[n, c, i * sh + a, j * sw + b] += dy[n, c, i, j]
        return dx


@wrong(
    "Tiles by reshape, after cutting off what is left over: dx has the cut size (a wrong shape).",
    "dx",
    MaxPool((2, 5, 7), (2, 3)),
    zoo.MAX_TILES,
)
class TiledMaxReturnsTheCutSize:
    def __init__(self, layer):
        self.layer = layer

    def tiles(self, x):
        (kh, kw), (oh, ow) = self.layer.kernel, self.layer.out_spatial
        cut = x[:, :, : oh * kh, : ow * kw].reshape(*x.shape[:2], oh, kh, ow, kw)
        return cut.transpose(0, 1, 2, 4, 3, 5).reshape(*x.shape[:2], oh, ow, kh * kw)

    def forward(self, x):
        return self.tiles(x).max(axis=-1)

    def backward(self, x, dy):
        (kh, kw), (oh, ow) = self.layer.kernel, self.layer.out_spatial
        won = np.arange(kh * kw) == self.tiles(x).argmax(axis=-1)[..., None]
        tiles = (won * dy[..., None]).reshape(*x.shape[:2], oh, ow, kh, kw)
        return tiles.transpose(0, 1, 2, 4, 3, 5).reshape(*x.shape[:2], oh * kh, ow * kw)


# Average and sum pools


@wrong(
    "Adaptive windows end at floor, not ceil: they never overlap.",
    "y dx",
    zoo.AVG_PARTS,
    AvgPool((2, 6, 4), output=(3, 2)),
)
class PartsEndAtFloor(PoolLoops):
    def span(self, axis, o):
        n, m = self.layer.in_spatial[axis], self.layer.output[axis]
        cells = list(range(o * n // m, (o + 1) * n // m))
        return cells, len(cells)


@wrong(
    "Borders are divided by the whole window, whatever count_include_pad says.",
    "y dx",
    zoo.AVG_INSIDE,
    zoo.AVG_PADDED,
)
class PaddingAlwaysCounted(PoolLoops):
    def divisor(self, counts):
        return int(np.prod(self.layer.kernel))


@wrong(
    "Padded cells never count, whatever count_include_pad says.",
    "y dx",
    zoo.AVG_PADDED,
    zoo.AVG_INSIDE,
)
class PaddingNeverCounted(PoolLoops):
    def span(self, axis, o):
        cells, _ = super().span(axis, o)
        return cells, len(cells)


@wrong(
    "With ceil_mode the divisor counts cells beyond the padding.",
    "y dx",
    zoo.AVG_CEIL,
    zoo.AVG_PADDED,
)
class CeilModeCountsBeyondThePadding(PoolLoops):
    def span(self, axis, o):
        cells, count = super().span(axis, o)
        return cells, self.layer.kernel[axis] if self.layer.ceil_mode else count


@wrong(
    "dx divides by the whole window where y divides by the cells inside.",
    "dx",
    zoo.AVG_INSIDE,
    zoo.AVG,
)
class WholeWindowDivisorInDx(PoolLoops):
    def backward_divisor(self, counts):
        return int(np.prod(self.layer.kernel))


@wrong("dx of the average is not divided.", "dx", zoo.AVG, zoo.AVG_INSIDE)
class AverageDxNotDivided(PoolLoops):
    def backward_divisor(self, counts):
        return 1


@wrong("divisor_override is ignored.", "y dx", zoo.AVG_OVERRIDE, zoo.AVG)
class DivisorOverrideIgnored(PoolLoops):
    def divisor(self, counts):
        return int(np.prod(counts))


@wrong(
    "The mean is over nonzero cells, as if every zero were padding.", "y", zoo.AVG, zoo.AVG_PADDED
)
class MeanOverNonzeroCells(PoolLoops):
    def reduce(self, cells, counts):
        return cells.sum(axis=-1) / np.maximum((cells != 0).sum(axis=-1), 1)


@wrong("One corner of the average is too large by 1e-4.", "y", zoo.AVG_PADDED, zoo.AVG_TILES)
class AverageCornerTooLargeByALittle(PoolLoops):
    def forward(self, x):
        y = super().forward(x)
        y[:, :, -1, -1] *= 1 + 1e-4
        return y


@wrong(
    "Backward repeats dy over tiles, though windows overlap or leave rows over.",
    "dx",
    zoo.AVG,
    zoo.AVG_TILES,
)
class AverageBackwardByRepeat:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        (kh, kw), (sh, sw) = self.layer.kernel, self.layer.stride
        return sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::sh, ::sw].sum(axis=(4, 5)) / (
            kh * kw
        )

    def backward(self, x, dy):
        (kh, kw), (height, width) = self.layer.kernel, x.shape[2:]
        dx, tiled = (
            np.zeros_like(x),
            (dy / (kh * kw)).repeat(kh, axis=2).repeat(kw, axis=3)[:, :, :height, :width],
        )
        dx[:, :, : tiled.shape[2], : tiled.shape[3]] = tiled
        return dx


@wrong(
    "Cumulative sums without the leading zero: every window misses its first row and column.",
    "y",
    SumPool((2, 6, 7), (3, 2), stride=(2, 1)),
    AvgPool((2, 6, 7), (3, 2)),
)
class CumulativeSumsOffByOne:
    def __init__(self, layer):
        self.layer = layer
        self.divisor = int(np.prod(layer.kernel)) if isinstance(layer, AvgPool) else 1

    def forward(self, x):
        (kh, kw), (sh, sw), (oh, ow) = self.layer.kernel, self.layer.stride, self.layer.out_spatial
        table = x.cumsum(axis=2).cumsum(axis=3)
        i, j = np.arange(oh)[:, None] * sh, np.arange(ow)[None] * sw
        ends = (
            table[:, :, i + kh - 1, j + kw - 1]
            - table[:, :, i, j + kw - 1]
            - table[:, :, i + kh - 1, j]
        )
        return (ends + table[:, :, i, j]) / self.divisor

    def backward(self, x, dy):
        (kh, kw), (sh, sw), (oh, ow) = self.layer.kernel, self.layer.stride, self.layer.out_spatial
        dx = np.zeros_like(x)
        for a, b in product(range(kh), range(kw)):
            dx[:, :, a : a + (oh - 1) * sh + 1 : sh, b : b + (ow - 1) * sw + 1 : sw] += (
                dy / self.divisor
            )
        return dx


@wrong(
    "Written as a mean: the sum pool divides by its window in y and in dx.",
    "y dx",
    zoo.SUM,
    zoo.SUM_TILES,
)
class SumPoolAverages:
    def __init__(self, layer):
        self.layer = layer

    def windows(self):
        (top, _), (left, _) = self.layer.padding
        (kh, kw), (sh, sw) = self.layer.kernel, self.layer.stride
        for i, j in product(*map(range, self.layer.out_spatial)):
            r, q = i * sh - top, j * sw - left
            yield i, j, np.s_[:, :, max(r, 0) : r + kh, max(q, 0) : q + kw]

    def forward(self, x):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for i, j, window in self.windows():
            y[:, :, i, j] = x[window].mean(axis=(2, 3))
        return y

    def backward(self, x, dy):
        dx = np.zeros_like(x)
        for i, j, window in self.windows():
            dx[window] += dy[:, :, i, j, None, None] / x[0, 0][window[2:]].size
        return dx


@wrong(
    "Overlapping windows of the sum pool overwrite each other in dx.", "dx", zoo.SUM, zoo.SUM_TILES
)
class SumPoolDxOverwritten(PoolLoops):
    def backward(self, x, dy):
        dx = np.zeros_like(x)
        for at, where, _ in self.windows():
            dx[:, :, *where] = dy[:, :, *at][..., None, None]
        return dx


@wrong("The window's last column is left out of the sum.", "y", zoo.SUM, zoo.SUM_TILES)
class SumPoolLosesAColumn(PoolLoops):
    def forward(self, x):
        y = np.zeros((len(x), *self.layer.out_shape), x.dtype)
        for at, where, _ in self.windows():
            y[:, :, *at] = x[:, :, *where][..., :-1].sum(axis=(2, 3))
        return y


WRONG = tuple(_WRONG)
