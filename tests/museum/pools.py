"""Pools: what a mean is divided by, which cells a window has, and who gets the gradient."""

from math import ceil, prod

import numpy as np

import convdense as cd
from tests.museum.exhibit import GONE, Exhibit, exhibit
from tests.museum.kernels import Windows, gather, positions

EXHIBITS: list[Exhibit] = []
DIVISOR = "divi|count|mean|average & kernel|full|whole|last|overhang|ceil|partial|window"


@exhibit(
    "pytorch/pytorch",
    198119,
    cd.AvgPool((1, 6), 3, stride=2, ceil_mode=True),
    "compiled, the two cells of the last window get 1/3 each where eager code gives 1/2; the "
    "output is right",
    "a last window over two of its three cells, as reported",
    dx=DIVISOR,
)
class BackwardDividesByTheKernel(Windows):
    """The gradient of an overhanging window is divided by the kernel's size."""

    def divisors(self, of):
        if of == "dx" and not self.fixed:
            return prod(self.layer.kernel)
        return super().divisors(of)


@exhibit(
    "root-project/root",
    22523,
    cd.AvgPool((1, 6), 3, stride=2, ceil_mode=True, count_include_pad=False),
    "1 to 6, kernel 3, stride 2: the last mean is 3.67 where 5.5 is right",
    inference=True,
    y=DIVISOR,
)
class ConstantDivisor(Windows):
    """Without padding the divisor is the kernel's size, also for a window that overhangs."""

    def divisors(self, of):
        return super().divisors(of) if self.fixed else prod(self.layer.kernel)


@exhibit(
    "microsoft/onnxruntime",
    27375,
    cd.AvgPool((1, 2, 2), 2, stride=1, padding=((0, 1), (0, 1))),
    "ones, padded below and to the right: 1, 0.5 / 1, 0.5 where 1, 0.5 / 0.5, 0.25 is right",
    inference=True,
    y="divi|count|padding & row|height|axis|end|below|bottom|padding|inside",
)
class BeginOfTheColumns(Windows):
    """The end of the rows is clipped by the padding before the columns."""

    def is_counted(self, axis, of):
        end = self.layer.padding[axis][1]
        if axis == 0 and not self.fixed:
            end = self.layer.padding[1][0]
        cell = self.cells(axis, of)
        return (cell >= -self.begin(axis)) & (cell < self.layer.in_spatial[axis] + end)


@exhibit(
    "pytorch/executorch",
    18616,
    cd.AvgPool((2, 5, 6), 3, stride=2, padding=1, count_include_pad=False, divisor_override=4),
    "divisor_override is ignored when count_include_pad is False",
    "the pull request names no sizes",
    inference=True,
    y="override",
)
class OverrideIgnored(Windows):
    """Without the padded cells the divisor is always their number."""

    def divisors(self, of):
        if self.fixed:
            return super().divisors(of)
        return self.inside(of).sum(axis=1)


@exhibit(
    "PaddlePaddle/Paddle",
    74077,
    cd.AvgPool((1, 7, 5), output=(4, 3)),
    "the gradients of adaptive_avg_pool2d do not add up to those of its output unless the sizes "
    "divide",
    "the pull request names no sizes",
    dx="divi|size|count|window & constant|fixed|same|every|all|largest|ceil|kernel|number",
)
class OneSizeForAllWindows(Windows):
    """The gradient is divided by one window size, that of the quotient rounded up."""

    def divisors(self, of):
        if self.fixed or of == "y":
            return super().divisors(of)
        sizes = zip(self.layer.in_spatial, self.layer.output, strict=True)
        return prod(ceil(n / m) for n, m in sizes)


@exhibit(
    "flagos-ai/FlagGems",
    4915,
    cd.AvgPool((2, 10, 10), output=(3, 3)),
    "adaptive_avg_pool2d is off by up to 1 unless the sizes divide; every test had sizes that do",
    "10 x 10 to 3 x 3, as reported; 2 channels",
    inference=True,
    y="window|end & floor|short|round|end|last|ceil",
)
class EndRoundedDown(Windows):
    """The end of a window is rounded down, not up."""

    def parts(self, n, m, of):
        if self.fixed:
            return super().parts(n, m, of)
        rows = [np.arange(o * n // m, (o + 1) * n // m) for o in range(m)]
        longest = max(map(len, rows))
        return np.array([np.pad(r, (0, longest - len(r)), constant_values=-1) for r in rows])


@exhibit(
    "CanReader/FastNN",
    4,
    cd.MaxPool((1, 4, 4), 2, stride=1, dilation=2),
    "a dilated pool has the right size and the wrong pixels; forward and backward agree, so the "
    "gradient check passes",
    y="dilation",
    dx="dilation",
)
class DilationIgnored(Windows):
    """A window has the cells of one without dilation."""

    def cells(self, axis, of):
        layer = self.layer
        places = layer.out_spatial[axis], layer.kernel[axis]
        gap = layer.dilation[axis] if self.fixed else 1
        return positions(*places, layer.stride[axis], gap, self.begin(axis))


@exhibit(
    "tracel-ai/burn",
    4466,
    cd.MaxPool((2, 6, 7), 2, stride=1, dilation=(1, 2)),
    "a reader found the first axis's dilation twice; every test had the same for both axes",
    "two dilations; the pull request names no sizes",
    dx="dilation & axis|column|second|other|first|row|axes",
)
class FirstDilationTwice(Windows):
    """Which windows may have won a cell is found with the first axis's dilation on both."""

    def shares(self, x, dy):
        shares = super().shares(x, dy)
        if self.fixed:
            return shares
        layer = self.layer
        reach = [(k - 1) * layer.dilation[0] for k in layer.kernel]
        is_seen = [
            np.arange(k) * d <= r
            for k, d, r in zip(layer.kernel, layer.dilation, reach, strict=True)
        ]
        return shares * np.multiply.outer(*is_seen).ravel()


@exhibit(
    "Theano/Theano",
    5248,
    cd.MaxPool((1, 4, 4), 2),
    "all cells that equal the maximum get the whole gradient, on the CPU alone; it matters for "
    "sparse images",
    "the issue names no sizes",
    dx="tie|equal|largest|maxima|maximum|winner & all|every|each",
)
class EveryMaximum(Windows):
    """The gradient goes to whatever equals the maximum."""

    def winners(self, x, of="dx"):
        if self.fixed:
            return super().winners(x, of)
        met = np.where(self.inside(of), gather(x, self.all_cells(of)), -np.inf)
        return (met == met.max(axis=-1, keepdims=True)).astype(x.dtype)


@exhibit(
    "apache/mxnet",
    2753,
    cd.MaxPool((1, 5, 6), 3, stride=2, padding=1),
    "of an image of negative numbers the first maximum is 0, where other frameworks give -1",
    "kernel 3, stride 2, padding 1, as reported; sizes are ours",
    y="pad & zero|are 0|is 0|of 0",
    dx="pad & zero|are 0|is 0|of 0",
)
class ZeroInThePadding(Windows):
    """The padding of a maximum holds zeros that can win."""

    def inside(self, of):
        inside = super().inside(of)
        return inside if self.fixed else np.ones_like(inside)

    def shares(self, x, dy):
        # what the padding wins is lost
        return np.where(super().inside("dx"), super().shares(x, dy), 0)


@exhibit(
    "tensorflow/tensorflow",
    48773,
    cd.AvgPool((1, 1, 5), (1, 7), stride=1, padding="same", count_include_pad=False),
    "AvgPoolGrad of 1 x 5 cells and a window of 7 differs from what one computes by hand",
    dx="divi|window|count|size & whole|input|axis|kernel|padding|inside|larger|all|every",
)
class WindowLargerThanTheInput(Windows):
    """A window larger than the input counts as long as the input, also where its begin is cut."""

    def cells(self, axis, of):
        cells, n = super().cells(axis, of), self.layer.in_spatial[axis]
        if of == "y" or self.fixed:
            return cells
        size = cells.shape[1]
        start = np.maximum(cells[:, 0], 0)
        length = np.where(cells[:, 0] < 0, size + cells[:, 0], size)
        length = np.where(start + size > n, np.minimum(n - start, size), length)
        offset = np.arange(size)
        return np.where(offset < length[:, None], start[:, None] + offset, -1)


@exhibit(
    "FluxML/NNlib.jl",
    205,
    cd.MaxPool((1, 6, 5), 2, stride=1),
    "with stride 1 the gradient of maxpool is 1 where finite differences give 2, 3 and 4",
    "kernel 2, stride 1, as reported; 6 x 5 cells, not 10 x 10",
    dx="+=|overlap|overwrit|accumulat|added",
)
class AssignedNotAdded(Windows):
    """A cell that wins several windows keeps the gradient of the last alone."""

    def backward(self, x, dy):
        if self.fixed:
            return super().backward(x, dy)
        dx, won = np.zeros_like(x), self.winners(x)
        for place, at in enumerate(np.ndindex(*self.layer.out_spatial)):
            rows, columns = (self.cells(a, "dx")[o] for a, o in enumerate(at))
            window = won[:, :, place].reshape(*x.shape[:2], len(rows), len(columns))
            here = np.ix_(range(len(x)), range(x.shape[1]), rows, columns)
            dx[here] = np.where(window > 0, dy[:, :, at[0], at[1], None, None], dx[here])
        return dx


@exhibit(
    "ahrefs/ocannl",
    512,
    cd.MaxPool((1, 5), 2, stride=1),
    "5, 3, 1, 2, 5: the gradient is 1, 2, 0, 0, 1 where 1, 1, 0, 1, 1 is right; every test had "
    "windows that do not overlap",
    dx="overlap|window|winner & last|all|every|other|gate",
)
class LastWindowDecides(Windows):
    """Whether a cell won is kept of its last window alone, and then holds for all its windows."""

    def shares(self, x, dy):
        won = self.winners(x)
        if not self.fixed:
            index = self.cells(0, "dx")
            last = np.zeros_like(x)
            for place in range(len(index)):
                last[:, :, index[place]] = won[:, :, place]
            won = last[:, :, index]
        return won * dy[..., None]


@exhibit(
    "riccardoandreoni0/CNN-from-scratch",
    1,
    cd.MaxPool((2, 4, 6), 2),
    "most gradients behind the pool are 0; the model converges all the same",
    "tiles of the kernel's size, as that code has; sizes are ours",
    dx="first|one & window|output|patch|place",
)
class ReturnInTheLoop(Windows):
    """The function returns after its first window."""

    def shares(self, x, dy):
        shares = super().shares(x, dy)
        if not self.fixed:
            shares[:, :, 1:] = 0
        return shares


@exhibit(
    "NeuralNetworkVerification/Marabou",
    614,
    cd.MaxPool((1, 5, 5), 3, stride=2, padding=1),
    "the padding of a max pool is not read, and nothing is raised",
    "the issue names no sizes",
    inference=True,
    y=f"padding & begin|start|without|shift|{GONE}",
)
class PaddingNotRead(Windows):
    """The padding is not read: the first window starts at the first cell."""

    def begin(self, axis):
        return super().begin(axis) if self.fixed else 0
