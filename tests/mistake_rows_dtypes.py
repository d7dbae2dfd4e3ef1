"""Mistakes in narrow numbers: half precision, rounding, integers, quantised code."""

import numpy as np

import convdense as cd
from tests.mistake_rows_base import Table, pair, plain

TABLE = Table()
SIGNAL = cd.Conv((2, 6), out_channels=2, kernel=3)
IMAGE = cd.Conv((2, 4, 4), out_channels=2, kernel=(2, 3))
SAME = cd.Conv((2, 5), out_channels=2, kernel=3, padding=1)
LONG = cd.Conv((8, 4), out_channels=2, kernel=2)

FLOAT16 = (("float16",), ("half precision",))
SATURATES = (("saturat",), ("clip",))
INT8 = {"dtype": "int8"}


def convolved(x, w, b, dtype):
    """Return a convolution of signals with sums of a dtype."""
    x, w = x.astype(dtype), w.astype(dtype)
    n = x.shape[2] - w.shape[2] + 1
    y = np.zeros((len(x), len(w), n), dtype) + b.astype(dtype)[:, None]
    for c, k in np.ndindex(*w.shape[1:]):
        y += w[:, c, k][:, None] * x[:, None, c, k : k + n]
    return y


def gradients(x, w, dy, dtype):
    """Return dx, dw, db of signals with sums of a dtype."""
    x, w, dy = x.astype(dtype), w.astype(dtype), dy.astype(dtype)
    n = dy.shape[2]
    dx, dw = np.zeros(x.shape, dtype), np.zeros(w.shape, dtype)
    for o, c, k in np.ndindex(*w.shape):
        dx[:, c, k : k + n] += w[o, c, k] * dy[:, o]
        dw[o, c, k] = (x[:, c, k : k + n] * dy[:, o]).sum(dtype=dtype)
    return dx, dw, dy.sum(axis=(0, 2), dtype=dtype)


def signals(forward=None, backward=None, dtype="i4"):
    """Return an implementation of SIGNAL, or of a layer like it, by loops in a dtype."""
    return pair(
        forward or (lambda x, w, b: convolved(x, w, b, dtype)),
        backward or (lambda x, w, dy: gradients(x, w, dy, dtype)),
    )


# Sums in half precision


@TABLE.y(SIGNAL, *FLOAT16)
def float16_accumulation_forward(x, w, b):
    with np.errstate(over="ignore", invalid="ignore"):
        return convolved(x, w, b, "f2").astype(x.dtype)


@TABLE.dw(SIGNAL, *FLOAT16)
def float16_accumulation_in_dw(x, w, dy):
    with np.errstate(over="ignore", invalid="ignore"):
        return gradients(x, w, dy, "f2")[1].astype(x.dtype)


def to_bfloat16(array, rounding):
    """Return float32 numbers rounded to the 16 upper bits."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    if rounding == "half to even":
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    elif rounding == "half away":
        bits = bits + np.uint32(0x8000)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


# Means and sums rounded to whole numbers, as in quantised layers


def half_away(array):
    return np.sign(array) * np.floor(abs(array) + 0.5)


MEANS = cd.AvgPool((2, 5), kernel=2, stride=1)


@TABLE.y(MEANS, ("half", "away"), ("half", "up"))
def mean_rounded_half_away_from_zero(x):
    return half_away((x[:, :, :-1] + x[:, :, 1:]) / 2)


@TABLE.y(MEANS, ("half", "even"), ("round", "integer"), ("round", "whole"))
def mean_rounded_half_to_even(x):
    return np.rint((x[:, :, :-1] + x[:, :, 1:]) / 2)


@TABLE.y(MEANS, ("round", "down"), ("floor",), ("integer division",))
def mean_by_integer_division(x):
    return (x[:, :, :-1] + x[:, :, 1:]) // 2


@TABLE.y(SIGNAL, ("half", "away"), ("half", "up"))
def sums_rounded_half_away_to_fours(x, w, b):
    return half_away(convolved(x, w, b, "f8") / 4) * 4


# Quantised code


def quantised(y_scale, bias_scale):
    """Return code that quantises by powers of two, and scales its sums back."""
    scale_x, scale_w = 1 / 4, 1 / 8

    def forward(x, w, b):
        sums = convolved(x / scale_x, w / scale_w, np.zeros(2), "f8")
        scale = scale_x * scale_w
        return (sums * scale**y_scale) + b[:, None] * scale**bias_scale

    return pair(forward, plain(SIGNAL).backward)


TWICE = (("scale", "twice"), ("multiplied by 0.03125",), ("multiplied by 1/32",))
BIAS = (("bias", "scale"), ("bias", "multiplied"), ("bias", "0.03125"), ("bias", "1/32"))
TABLE.made(SIGNAL, name="scale applied twice", y=TWICE)(lambda: quantised(2, 0))
TABLE.made(SIGNAL, name="bias scaled with the sums", y=BIAS)(lambda: quantised(1, 1))
TABLE.made(SIGNAL, name="right scales")(lambda: quantised(1, 0))


@TABLE.made(SIGNAL, y=(("int8",), ("wrap",), ("overflow",)), options=INT8)
def int8_products_wrap():
    def forward(x, w, b):
        y = np.zeros((len(x), 2, 4), np.int32) + b[:, None]
        with np.errstate(over="ignore"):
            for c, k in np.ndindex(2, 3):
                product = w[:, c, k][:, None] * x[:, None, c, k : k + 4]
                y += product
        return y

    return signals(forward)


@TABLE.made(SIGNAL, y=SATURATES, options=INT8)
def int32_sums_saturate_to_int8():
    return signals(lambda x, w, b: convolved(x, w, b, "i4").clip(-128, 127))


@TABLE.made(SIGNAL, dw=SATURATES, options=INT8)
def dw_saturates_to_int16():
    def backward(x, w, dy):
        dx, dw, db = gradients(x, w, dy, "i4")
        return dx, dw.clip(-(2**15), 2**15 - 1), db

    return signals(backward=backward)


@TABLE.made(SIGNAL, y=SATURATES, options={"dtype": "int8", "accumulator": "int8"})
def saturates_where_int8_wraps():
    def forward(x, w, b):
        return convolved(x, w, b, "i4").clip(-128, 127).astype(np.int8)

    return signals(forward, dtype="i1")


@TABLE.made(SAME, y=(("constant",), ("zero point",), ("-128",)), options=INT8)
def padded_with_0_for_the_zero_point():
    def forward(x, w, b):
        unsigned = np.pad(x.astype("i4") + 128, ((0, 0), (0, 0), (1, 1)))
        return convolved(unsigned - 128, w, b, "i4")

    return forward


@TABLE.made(SIGNAL, y=(("zero point",), ("constant",), ("128",)), options=INT8)
def zero_point_not_subtracted():
    return lambda x, w, b: convolved(x.astype("i4") + 128, w, b, "i4")


@TABLE.made(SIGNAL, y=(("int8",), ("sign",)), options={"dtype": "uint8"})
def unsigned_read_as_signed():
    return lambda x, w, b: convolved(x.astype(np.int8), w, b, "i4")


@TABLE.made(LONG, y=(("float32",), ("single precision",)), options={"dtype": "int16"})
def int16_sums_in_float32():
    return lambda x, w, b: convolved(x, w, b, "f4").astype("i4")


@TABLE.made(SIGNAL, behaviour=("wrong dtype",), options=INT8)
def int8_returns_floats():
    return signals(lambda x, w, b: convolved(x, w, b, "f8"))


# Their nearest right relatives


@TABLE.made(SIGNAL, options=INT8)
def right_int8():
    return signals()


@TABLE.made(SIGNAL, options={"dtype": "int8", "accumulator": "int8"})
def right_int8_that_wraps():
    return signals(dtype="i1")


@TABLE.made(SAME, options=INT8)
def right_zero_point():
    def forward(x, w, b):
        unsigned = np.pad(x.astype("i4") + 128, ((0, 0), (0, 0), (1, 1)), constant_values=128)
        sums = convolved(unsigned, w, b, "i4")
        return sums - 128 * w.astype("i4").sum(axis=(1, 2))[:, None]

    return forward


@TABLE.made(LONG, options={"dtype": "float16"})
def right_float16_accumulates_in_float32():
    return lambda x, w, b: convolved(x, w, b, "f4").astype(np.float16)


BFLOAT16 = {"dtype": "bfloat16"}


for rounding in ("half to even", "half away", "down"):
    name = f"right bfloat16, rounded {rounding}"
    TABLE.made(LONG, name=name, options=BFLOAT16, rounds=rounding != "half to even")(
        lambda rounding=rounding: lambda x, w, b: to_bfloat16(convolved(x, w, b, "f4"), rounding)
    )


@TABLE.made(LONG, options={"dtype": "float16"}, rounds=True)
def right_float16_accumulates_in_float16():
    return lambda x, w, b: convolved(x, w, b, "f2")


@TABLE.made(LONG, options={"dtype": "int16"})
def right_int16_in_float64():
    return lambda x, w, b: convolved(x, w, b, "f8").astype("i4")
