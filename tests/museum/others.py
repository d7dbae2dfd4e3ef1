"""Others: integers, half precision, complex numbers and the bias."""

import numpy as np

import convdense as cd
from tests.museum.exhibit import GONE, Exhibit, exhibit
from tests.museum.kernels import Direct, plus, positions

EXHIBITS: list[Exhibit] = []


@exhibit(
    "Tencent/ncnn",
    717,
    cd.Conv((2, 5, 6), 2, 3),
    "a reader saw that the products of a 3 x 3 kernel are added up in 16 bits",
    "3 x 3, stride 1, as reported; sizes are ours",
    dtype="int8",
    inference=True,
    y="int16|16 bit|overflow|wrap|accumulat",
)
class SixteenBitSums(Direct):
    """The nine products of an input channel are added in int16, and only then in int32."""

    def y(self, x, w):
        if self.fixed or self.layer.kernel != (3, 3):
            return super().y(x, w)
        taps = 9
        met = self.columns(x.astype(np.int16), "y").reshape(len(x), x.shape[1], taps, -1)
        y = np.zeros((len(x), len(w), met.shape[-1]), np.int32)
        for channel in range(x.shape[1]):
            y += w[:, channel].reshape(len(w), taps).astype(np.int16) @ met[:, channel]
        return y.reshape(len(x), *self.layer.out_shape)


@exhibit(
    "alibaba/MNN",
    155,
    cd.Conv((2, 8, 7), 3, (3, 2), dilation=(1, 2)),
    "int8 convolutions with two dilations are wrong",
    "the dilations differ, as reported; sizes are ours",
    dtype="int8",
    inference=True,
    y="dilation & axis|column|row|other|both|exchanged|swapped",
)
class DilationOfTheColumns(Direct):
    """The columns' dilation is used for the rows as well."""

    def cells(self, axis, of):
        layer = self.layer
        gap = layer.dilation[axis if self.fixed else 1]
        return positions(layer.out_spatial[axis], layer.kernel[axis], dilation=gap)


@exhibit(
    "pytorch/pytorch",
    163347,
    cd.Conv((1, 2, 2), 1, 2),
    "2 x 2 ones and a kernel of ones give 1 in bfloat16, where 4 is right",
    "as reported; which of the products is left is a guess: the first",
    dtype="bfloat16",
    inference=True,
    y=f"tap|weight|product|term & one|first|only|single|{GONE}",
)
class OneProductOfFour(Direct):
    """Of the products of a window one is taken."""

    def y(self, x, w):
        if self.fixed:
            return super().y(x, w)
        first = np.zeros_like(w)
        first[:, :, 0, 0] = w[:, :, 0, 0]
        return super().y(x, first)


@exhibit(
    "pytorch/pytorch",
    68048,
    cd.Conv((1, 40, 40), 2, 3, stride=2, padding=1),
    "the gradient of a bias is 256 in bfloat16, where 1600 ones are added",
    "kernel 3, stride 2, padding 1, as reported; 40 x 40 cells, so 400 ones, not 1600",
    dtype="bfloat16",
    db="bfloat16|precision|round|accumulat",
)
class SumKeptInBfloat16(Direct):
    """The bias's gradient is added up in bfloat16, where 256 + 1 is 256."""

    def db(self, dy):
        if self.fixed:
            return super().db(dy)
        of_samples = np.zeros(dy.shape[:2], np.float32)
        for numbers in np.moveaxis(dy.reshape(*dy.shape[:2], -1), -1, 0):
            of_samples = to_bfloat16(of_samples + numbers)
        total = np.zeros(dy.shape[1], np.float32)
        for numbers in of_samples:
            total = to_bfloat16(total + numbers)
        return total.astype(dy.dtype)


def to_bfloat16(array):
    """Round float32 to the nearest bfloat16, ties to even."""
    bits = np.asarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


class OfParts(Direct):
    """A complex convolution made of four real ones."""

    def parts(self, x, w):
        return (super(OfParts, self).y(a, b) for a in (x.real, x.imag) for b in (w.real, w.imag))


@exhibit(
    "shahules786/mayavoz",
    44,
    cd.Conv((2, 4, 5), 2, (3, 2)),
    "a reader compared the imaginary part with the formula of the paper",
    "the issue names no sizes",
    dtype="complex128",
    inference=True,
    y="imaginary|conjugat & sign|minus|negat|conjugat|turned",
)
class SignOfTheImaginaryPart(OfParts):
    """The imaginary part is real times imaginary minus imaginary times real."""

    def y(self, x, w):
        rr, ri, ir, ii = self.parts(x, w)
        return rr - ii + 1j * (ri + ir if self.fixed else ri - ir)


@exhibit(
    "huyanxin/DeepComplexCRN",
    26,
    cd.Conv((2, 4, 5), 2, (3, 2)),
    "the bias of a complex convolution is not that of the formula, as its author confirms",
    "the issue names no sizes",
    dtype="complex128",
    inference=True,
    y="bias",
)
class BiasInEachPart(OfParts):
    """Each of the real convolutions adds its own bias: b_r - b_i and b_r + b_i."""

    def forward(self, x, w, b=None):
        rr, ri, ir, ii = self.parts(x, w)
        y = rr - ii + 1j * (ri + ir)
        if b is not None and not self.fixed:
            b = (b.real - b.imag) + 1j * (b.real + b.imag)
        return plus(y, b)


@exhibit(
    "kraiskil/onnx2c",
    7,
    cd.Conv((2, 4, 5), 3, 2),
    "generated code is wrong with several maps; a reader found the wrong letter in an index",
    "several maps; the issue names no sizes",
    inference=True,
    y="bias",
)
class BiasOfTheSample(Direct):
    """The bias is indexed by the sample, not by the channel."""

    def forward(self, x, w, b=None):
        if self.fixed or b is None:
            return super().forward(x, w, b)
        y = self.y(x, w)
        return y + b[np.arange(len(y)) % len(b), None, None, None]
