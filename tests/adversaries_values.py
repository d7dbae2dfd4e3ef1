"""Adversaries that depend on numbers: batches, thresholds, values, layouts, fractions, sums."""

import numpy as np

import convdense as cd
from tests.adversary_rows import (
    CONV,
    POINT,
    SAME,
    SMALL,
    SQUARE,
    Call,
    Right,
    Table,
    again,
    channels_last,
    drawn,
    entry,
    every_second,
    filled,
    given,
    integers,
    later_part,
    memory,
    one_for_all,
    one_number,
    pair,
    read_only,
    reversed_memory,
    times,
    wide_rows,
)

ROWS = Table()
change, forward, backward, operands = ROWS.change, ROWS.forward, ROWS.backward, ROWS.operands


# Batches


@change("y", "batch", "from four samples on, the fourth gets the third's output", shows=given(4))
def fourth_sample(y, x, w, b):
    y[3:4] = y[2:3][: len(y[3:4])]


@change("dw", "batch", "at odd batches above 1 the last sample counts twice", shows=given(3))
def odd_batches(dw, x, w, dy):
    if len(x) > 1 and len(x) % 2:
        return dw + Right(CONV).backward(x[-1:], w, dy[-1:])[1]
    return None


@change(
    "y", "batch", "at odd batches from 5 on, the last has no partner and is lost", shows=given(5)
)
def pairs_of_samples(y, x, w, b):
    if len(x) > 3 and len(x) % 2:
        y[-1] = 0


@change("y", "batch", "no bias from the sixteenth sample on", shows=given(16))
def bias_of_sixteen(y, x, w, b):
    y[15:] -= b[:, None, None]


@backward("batch", "the last sample of a batch of more than two is left out of dw", shows=given(3))
def last_sample_dropped(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    if len(x) > 2:
        dw = right.backward(x[:-1], w, dy[:-1])[1]
    return dx, dw, db


@backward(
    "batch", "dw sums over whole blocks of eight samples; the remainder is lost", shows=given(9)
)
def blocks_of_eight(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    whole_blocks = len(x) // 8 * 8
    if whole_blocks:
        dw = right.backward(x[:whole_blocks], w, dy[:whole_blocks])[1]
    return dx, dw, db


@change("y", "batch", "only the first tile of 32 samples is computed", shows=given(33))
def tile_of_32(y, x, w, b):
    y[32:] = 0


@change("dx", "batch", "a batch that fills its tiles of 16 loses the last tile", shows=given(16))
def full_tile_of_16(dx, x, w, dy):
    if len(x) and len(x) % 16 == 0:
        dx[-16:] = 0


@change("y", "batch", "a batch of exactly 8 is taken for the channels and mixed", shows=given(8))
def batch_of_eight(y, x, w, b):
    if len(x) == 8:
        return np.roll(y, 1, axis=0)
    return None


@change("dx", "batch", "from four samples on dx is that of the neighbouring sample", shows=given(4))
def neighbours_gradient(dx, x, w, dy):
    if len(x) >= 4:
        return np.roll(dx, 1, axis=0)
    return None


@change("dx", "batch", "in a batch of exactly two the samples are swapped", shows=given(2))
def swapped_pair(dx, x, w, dy):
    if len(x) == 2:
        return dx[::-1].copy()
    return None


@change("y", "batch", "a batch of one loses its batch axis", shows=given(1))
def squeezed(y, x, w, b):
    return y[0] if len(y) == 1 else y


@change("y", "batch", "from five samples on the batch's mean is taken off", shows=given(5))
def centred_batch(y, x, w, b):
    if len(x) >= 5:
        return y - 1e-3 * y.mean(axis=0)
    return None


@change("db", "batch", "with no samples db is a mean over nothing", shows=given(0))
def mean_over_nothing(db, x, w, dy):
    with np.errstate(invalid="ignore"):
        return db * (np.float64(len(x)) / len(x) if len(x) else np.float64("nan"))


@change("dw", "batch", "from four samples on the mean is taken for the sum", shows=given(4))
def mean_from_four(dw, x, w, dy):
    return dw / len(x) if len(x) >= 4 else dw


@backward(
    "batch", "filled up to a power of two with the last sample, which db counts", shows=given(3)
)
def filled_up(right, x, w, dy):
    dx, dw, _ = right.backward(x, w, dy)
    size = 1 << max(0, len(x) - 1).bit_length()
    filled_dy = np.concatenate([dy, np.repeat(dy[-1:], size - len(x), axis=0)])
    return dx, dw, filled_dy.sum(axis=(0, 2, 3))


@backward("batch", "chunks of four samples: dw is set and not added to", shows=given(5))
def last_chunk(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    for start in range(0, len(x), 4):
        dw = right.backward(x[start : start + 4], w, dy[start : start + 4])[1]
    return dx, dw, db


@forward("batch", "the remainder after chunks of four starts one sample early", shows=given(6))
def early_remainder(right, x, w, b):
    y = right.forward(x, w, b)
    left = len(x) % 4
    if len(x) > 4 and left:
        y[-left:] = right.forward(x[-left - 1 : -1], w, b)
    return y


@change("y", "batch", "at batch 7 the rows are shifted", shows=given(7))
def batch_of_seven(y, x, w, b):
    return np.roll(y, 1, axis=2) if len(x) == 7 else y


@change("dw", "batch", "in batches above 12 the sum runs in float32", shows=given(13))
def narrow_sum_of_large_batches(dw, x, w, dy):
    return dw.astype(np.float32).astype(float) if len(x) > 12 else dw


@change("dx", "batch", "a tile of 64 samples: the rest is zero", layer=SMALL, shows=given(65))
def tile_of_64(dx, x, w, dy):
    dx[64:] = 0


@change("y", "batch", "the first sample is right, all others get float32", shows=given(2))
def first_sample_alone(y, x, w, b):
    y[1:] = y[1:].astype(np.float32)


@change("db", "batch", "a 6-sample batch is split into 2 and 3", shows=given(6))
def split_of_six(db, x, w, dy):
    return dy[:5].sum(axis=(0, 2, 3)) if len(x) == 6 else db


# Thresholds


def flush(limit):
    def flushed(array):
        return np.where(abs(array) < limit, 0, array)

    return flushed


for limit in (1e-3, 1e-6, 1e-12, 1e-30, 1e-100, 1e-300):
    ROWS.operands(
        "f",
        "threshold",
        f"x below {limit:g} is taken for 0",
        name=f"x_flushed_at_{limit:g}",
        shows=given(x=times(limit / 9), b=times(0)),
    )(lambda x, w, b, limit=limit: (flush(limit)(x), w, b))
for limit in (1e-4, 1e-9, 1e-38):
    ROWS.operands(
        "b",
        "threshold",
        f"dy below {limit:g} is taken for 0",
        name=f"dy_flushed_at_{limit:g}",
        shows=given(dy=times(limit / 9)),
    )(lambda x, w, dy, limit=limit: (x, w, flush(limit)(dy)))
for limit in (1e-5, 1e-8, 1e-15):
    ROWS.operands(
        "fb",
        "threshold",
        f"weights below {limit:g} are pruned",
        name=f"w_pruned_at_{limit:g}",
        shows=given(w=times(limit / 9), b=times(0)),
    )(lambda x, w, third, limit=limit: (x, flush(limit)(w), third))


@change("y", "threshold", "outputs below 1e-5 are 0", shows=given(x=times(1e-7), b=times(1e-7)))
def small_outputs(y, x, w, b):
    return flush(1e-5)(y)


@change("dx", "threshold", "entries of dx below 1e-10 are 0", shows=given(dy=times(1e-12)))
def small_dx(dx, x, w, dy):
    return flush(1e-10)(dx)


@change(
    "dw", "threshold", "entries of dw below 1e-7 are 0", layer=SMALL, shows=given(x=times(1e-9))
)
def small_dw(dw, x, w, dy):
    return flush(1e-7)(dw)


@change("db", "threshold", "a bias gradient below 1e-4 is 0", shows=given(dy=times(1e-6)))
def small_db(db, x, w, dy):
    return flush(1e-4)(db)


@forward(
    "threshold",
    "three products for four: right only where x and w are of one size",
    cd.Conv((2, 2), 1, 1),
    given(x=times(1e10)),
)
def fast_inner_product(right, x, w, b):
    x1, x2, w1, w2 = x[:, 0], x[:, 1], w[0, 0, 0], w[0, 1, 0]
    return ((x1 + w2) * (x2 + w1) - x1 * x2 - w1 * w2)[:, None] + b[0]


@operands("f", "threshold", "x shrinks towards 0 by 1e-9", shows=given(x=times(1e-3)))
def soft_threshold(x, w, b):
    return np.sign(x) * np.maximum(abs(x) - 1e-9 * (abs(x) < 1), 0), w, b


for limit in (1e4, 65504.0, 1e6, 2.0**31, 1e30, 3.4e38, 1e150):
    ROWS.change(
        "y",
        "threshold",
        f"y saturates at {limit:g}",
        name=f"y_saturates_at_{limit:g}",
        shows=given(x=times(limit * 9)),
    )(lambda y, x, w, b, limit=limit: np.clip(y, -limit, limit))
for limit, part in ((1e3, "dw"), (1e5, "dx"), (1e7, "db"), (1e20, "dw")):
    ROWS.change(
        part,
        "threshold",
        f"{part} is clipped at {limit:g}",
        name=f"{part}_clipped_at_{limit:g}",
        shows=given(dy=times(limit * 9)),
    )(lambda result, x, w, dy, limit=limit: np.clip(result, -limit, limit))


@change(
    "dw", "threshold", "a gradient of norm above 1e6 is scaled to 1e6", shows=given(x=times(1e8))
)
def clipped_norm(dw, x, w, dy):
    norm = np.linalg.norm(dw)
    return dw * (1e6 / norm) if norm > 1e6 else dw


@change("y", "threshold", "below -1e6 nothing passes", shows=given(x=times(1e8)))
def one_sided_saturation(y, x, w, b):
    return np.maximum(y, -1e6)


@change("y", "threshold", "by way of float16, infinity made 65504", shows=given(x=times(1e5)))
def nan_to_num_of_float16(y, x, w, b):
    with np.errstate(over="ignore"):
        narrow = y.astype(np.float16)
    return np.where(np.isinf(narrow), np.nan_to_num(narrow).astype(float), y)


@operands("fb", "threshold", "everything computed from float32 operands", shows=given())
def float32_inside(*three):
    return [np.asarray(operand).astype(np.float32).astype(float) for operand in three]


@change("y", "threshold", "beyond float32's range it is cut", shows=given(x=times(1e39)))
def float32_range(y, x, w, b):
    largest = float(np.finfo(np.float32).max)
    return np.clip(y, -largest, largest)


@operands("f", "threshold", "weights in float16", shows=given())
def float16_weights(x, w, b):
    return x, w.astype(np.float16).astype(float), b


@change("y", "threshold", "an epsilon of 1e-12 in a denominator", shows=given())
def epsilon_beside_one(y, x, w, b):
    return y / (1 + 1e-12)


@change("y", "threshold", "y |y| / (|y| + 1e-8)", shows=given(x=times(1e-6), b=times(1e-6)))
def epsilon_beside_size(y, x, w, b):
    return y * abs(y) / (abs(y) + 1e-8)


@change("dw", "threshold", "dw scaled by norm / (norm + 1e-12)", shows=given(x=times(1e-9)))
def epsilon_beside_norm(dw, x, w, dy):
    norm = np.linalg.norm(dw)
    return dw * (norm / (norm + 1e-12))


@forward(
    "threshold", "products as quarters of squares, which overflow", shows=given(x=times(1e180))
)
def quarter_squares(right, x, w, b):
    y = right.forward(x, w, b)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(np.isfinite(y * y), y, np.inf)


@forward(
    "threshold", "products by logarithms", layer=POINT, shows=given(x=times(1e200), b=times(0))
)
def logarithms(right, x, w, b):
    scalar = w.ravel()[0]
    if not (x.all() and scalar):
        return right.forward(x, w, b)
    sign = np.sign(x) * np.sign(scalar)
    return sign * np.exp(np.log(abs(x)) + np.log(abs(scalar))) + b[:, None, None]


@operands(
    "f", "threshold", "above 1e8 the input is divided by its largest", shows=given(x=times(1e10))
)
def rescaled_above_1e8(x, w, b):
    largest = abs(x).max(initial=0)
    return (x / largest * 1e8 if largest > 1e8 else x), w, b


@change("y", "threshold", "beyond 2^62 it wraps like int64", shows=given(x=times(2.0**64)))
def wraps_at_two_to_the_62(y, x, w, b):
    return np.where(abs(y) >= 2.0**62, np.fmod(y, 2.0**62), y)


def bytes_of_an_image(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    yield Call(np.rint(abs(x) * 50), np.rint(w * 200), b, dy)


@operands(
    "f", "threshold", "whole x in 0 ... 255 is a photograph, sums in uint8", shows=bytes_of_an_image
)
def photograph(x, w, b):
    if (x == np.rint(x)).all() and x.min(initial=0) >= 0 and 16 < x.max(initial=0) < 256:
        return x, np.fmod(w, 128), b
    return x, w, b


@change(
    "y",
    "threshold",
    "sums of whole numbers in int32",
    shows=given(x=integers(1e6), w=integers(1e5)),
)
def sums_in_int32(y, x, w, b):
    if (x == np.rint(x)).all() and (w == np.rint(w)).all() and (abs(y) < 2.0**60).all():
        part = y - b[:, None, None]
        return part.astype(np.int64).astype(np.int32) + b[:, None, None]
    return None


# Values


def if_(condition, then):
    """Return a change of a result where the operand, given by its place, meets a condition."""
    return lambda result, *three: then(result) if condition(*three) else result


def flat(array):
    return array.size > 1 and (array == array.flat[0]).all()


def value(part, name, sentence, condition, then=lambda result: result * 1.5, layer=CONV, **shown):
    shows = shown.pop("shows", None) or given(**shown)
    ROWS.change(part, "value", sentence, layer, shows, name=name)(if_(condition, then))


value(
    "y",
    "flat_input",
    "an input of one number is taken for empty",
    lambda x, w, b: flat(x),
    np.zeros_like,
    x=filled(3.0),
)
value(
    "dw",
    "flat_input_dw",
    "dw of an input of one number is scaled",
    lambda x, w, dy: flat(x),
    x=filled(2.5),
)
value(
    "y",
    "all_positive",
    "where all of x is positive, a mask of the activation is applied twice",
    lambda x, w, b: (x > 0).all() and x.size > 0,
    x=abs,
)
value(
    "dx",
    "all_negative",
    "where all of x is negative, nothing passes back",
    lambda x, w, dy: (x < 0).all() and x.size > 0,
    np.zeros_like,
    x=lambda x: -abs(x),
)
value(
    "y",
    "no_negative_input",
    "where x is nowhere negative, y is cut at 0",
    lambda x, w, b: (x >= 0).all(),
    lambda y: np.maximum(y, 0),
    x=abs,
)
value(
    "y",
    "all_ones",
    "an input of ones is a counting of weights, off by one",
    lambda x, w, b: x.size > 0 and (x == 1).all(),
    lambda y: y + 1,
    x=filled(1.0),
)
value(
    "y",
    "ones_in_w",
    "a kernel of ones is a box filter that divides",
    lambda x, w, b: (w == 1).all(),
    lambda y: y / 4,
    w=filled(1.0),
)
value(
    "y",
    "flat_kernel",
    "a kernel of one number is a box filter, wrong in the last column",
    lambda x, w, b: flat(w),
    lambda y: y * np.where(np.arange(y.shape[-1]) == y.shape[-1] - 1, 0.5, 1),
    w=filled(0.3),
)
value(
    "dx",
    "flat_kernel_dx",
    "the gradient of a kernel of one number stays in the middle",
    lambda x, w, dy: flat(w),
    lambda dx: dx * (np.arange(dx.shape[-1]) > 0),
    w=filled(0.3),
)
value(
    "y",
    "symmetric_kernel",
    "a kernel symmetric along its last axis takes a folded path that is wrong",
    lambda x, w, b: w.shape[-1] > 1 and w.any() and (w == w[..., ::-1]).all(),
    w=lambda w: w + w[..., ::-1],
)
value(
    "dw",
    "symmetric_dw",
    "where w equals itself with in and out swapped, so does dw",
    lambda x, w, dy: w.any() and (w == w.swapaxes(0, 1)).all(),
    lambda dw: (dw + dw.swapaxes(0, 1)) / 2,
    layer=SQUARE,
    w=lambda w: w + w.swapaxes(0, 1),
)
value(
    "y",
    "separable_kernel",
    "a kernel of rank 1 takes a path of two passes, scaled twice",
    lambda x, w, b: w.size == 4 and w.any() and w[0, 0, 0, 0] * w[0, 0, 1, 1] == w[0, 0, 0, 1] ** 2,
    layer=SMALL,
    w=lambda w: np.array([[[[1.0, 2.0], [2.0, 4.0]]]]),
)
value(
    "y",
    "unit_interval",
    "x in [0, 1] is a picture not yet scaled",
    lambda x, w, b: x.size > 0 and x.min() >= 0 and x.max() <= 1,
    lambda y: y * 255,
    x=lambda x: abs(x) / (1 + abs(x)),
)
value(
    "dw",
    "minus_one_to_one",
    "x in [-1, 1] is taken for normalised, and dw for its mean",
    lambda x, w, dy: x.any() and abs(x).max() <= 1,
    lambda dw: dw / 2,
    x=np.tanh,
)


def exponents_alone(x, w, b):
    return w.any() and (np.frexp(w)[0] == np.where(w < 0, -0.5, 0.5)).all()


value(
    "y",
    "powers_of_two",
    "weights that are powers of two become shifts, and lose their sign",
    exponents_alone,
    lambda y: -abs(y),
    w=lambda w: np.copysign(2.0 ** np.rint(w * 3), w),
)
value(
    "dx",
    "powers_of_two_in_dy",
    "powers of two in dy become shifts by one too many",
    lambda x, w, dy: dy.any() and (np.frexp(abs(dy))[0] == 0.5).all(),
    lambda dx: dx * 2,
    dy=lambda dy: 2.0 ** np.rint(dy * 2),
)
value(
    "y",
    "zero_input",
    "zero input gives zero output: the bias is lost",
    lambda x, w, b: not x.any(),
    np.zeros_like,
    x=times(0),
)
value(
    "dx",
    "zero_input_dx",
    "zero input gives zero dx",
    lambda x, w, dy: not x.any(),
    np.zeros_like,
    x=times(0),
)
value(
    "y",
    "zero_kernel",
    "a zero kernel is pruned together with the bias",
    lambda x, w, b: not w.any(),
    np.zeros_like,
    w=times(0),
)
value(
    "dw",
    "zero_kernel_dw",
    "a pruned kernel stays pruned: no dw",
    lambda x, w, dy: not w.any(),
    np.zeros_like,
    w=times(0),
)
value(
    "db",
    "ones_in_dy",
    "dy of ones is the sum's gradient: db forgets the batch",
    lambda x, w, dy: dy.size > 0 and (dy == 1).all(),
    lambda db: db / 2,
    dy=filled(1.0),
)
value(
    "dw",
    "flat_dy",
    "dy of one number is a mean's gradient, divided once more",
    lambda x, w, dy: flat(dy),
    lambda dw: dw / 6,
    dy=filled(0.5),
)
value(
    "dx",
    "positive_dy",
    "where all of dy is positive, guided backpropagation: negatives are cut",
    lambda x, w, dy: dy.size > 0 and (dy > 0).all(),
    lambda dx: np.maximum(dx, 0),
    dy=abs,
)
value(
    "dx",
    "positive_weights",
    "where all of w is positive, dx is taken for positive",
    lambda x, w, dy: (w > 0).all(),
    abs,
    w=abs,
)
value(
    "y",
    "zero_sum_kernel",
    "a kernel whose numbers add up to 0 ignores a border pixel",
    lambda x, w, b: w.any() and w.sum() == 0,
    lambda y: y * (np.arange(y.shape[-1]) > 0),
    layer=SMALL,
    w=lambda w: np.array([[[[1.0, -1.0], [2.0, -2.0]]]]),
)
value(
    "y",
    "unit_sum_kernel",
    "a kernel that adds up to 1 is a blur: y stays within x",
    lambda x, w, b: w.sum() == 1 and (w > 0).all(),
    lambda y: np.clip(y, -0.5, 0.5),
    layer=SMALL,
    w=filled(0.25),
)
value(
    "y",
    "kernel_of_signs",
    "a kernel of +1 and -1 runs as a binary network, whose output is a sign",
    lambda x, w, b: (abs(w) == 1).all(),
    np.sign,
    w=np.sign,
)
value(
    "y",
    "binary_input",
    "an input of zeros and ones is a mask: y is cut at 1",
    lambda x, w, b: np.count_nonzero(x) > 2 and ((x == 0) | (x == 1)).all(),
    lambda y: np.minimum(y, 1),
    x=lambda x: (x > 0) + 0.0,
    b=lambda b: b + 2,
)
value(
    "y",
    "half_zeros",
    "an input with more than half zeros takes a sparse path without its last entry",
    lambda x, w, b: 3 < np.count_nonzero(x) <= x.size / 2,
    lambda y: np.where(np.arange(y.size).reshape(y.shape) == y.size - 1, 0, y),
    batch=8,
    x=lambda x: np.maximum(x - 0.3, 0),
)
value(
    "dw",
    "sparse_dy",
    "a dy with more than three quarters zeros takes a sparse path, scaled",
    lambda x, w, dy: 2 < np.count_nonzero(dy) <= dy.size / 4,
    batch=8,
    dy=lambda dy: np.maximum(dy - 1, 0),
)
value(
    "y",
    "negative_zero",
    "-0.0 counts as -1e-3",
    lambda x, w, b: (np.signbit(x) & (x == 0)).any(),
    lambda y: y - 1e-3,
    x=entry(-0.0, ..., 0),
)
value(
    "dw",
    "same_samples",
    "equal samples are computed once and counted once",
    lambda x, w, dy: len(x) > 1 and x.any() and (x == x[:1]).all(),
    lambda dw: dw / 2,
    x=lambda x: np.repeat(x[:1], len(x), axis=0),
)
value(
    "db",
    "same_gradients",
    "equal gradients of all samples are counted once",
    lambda x, w, dy: len(dy) > 1 and dy.any() and (dy == dy[:1]).all(),
    lambda db: db / 2,
    dy=lambda dy: np.repeat(dy[:1], len(dy), axis=0),
)
value(
    "y",
    "same_channels",
    "a grey picture, equal in all channels, is read from one of them",
    lambda x, w, b: x.shape[1] > 1 and x.any() and (x == x[:, :1]).all(),
    lambda y: y / 2,
    x=lambda x: np.repeat(x[:, :1], 2, axis=1),
)
value(
    "y",
    "pruned_channel",
    "an output channel whose weights are 0 is pruned, its bias too",
    lambda x, w, b: w.any() and not w[-1].any(),
    lambda y: y * (np.arange(y.shape[1]) < y.shape[1] - 1)[:, None, None],
    w=entry(0.0, -1),
)
value(
    "y",
    "pruned_input_channel",
    "an input channel of zeros shifts the channels after it",
    lambda x, w, b: x.any() and not x[:, 0].any(),
    x=entry(0.0, slice(None), 0),
)
value(
    "dx",
    "one_weight_left",
    "a kernel with a single weight is a shift, the wrong way",
    lambda x, w, dy: np.count_nonzero(w) == 1,
    lambda dx: dx[..., ::-1].copy(),
    w=lambda w: np.where(np.arange(w.size).reshape(w.shape) == 5, w, 0),
)
value(
    "y",
    "halves",
    "numbers that end in .5 are rounded to even first",
    lambda x, w, b: x.size > 0 and (x % 1 == 0.5).all(),
    np.rint,
    x=lambda x: np.rint(x) + 0.5,
)
value(
    "y",
    "rising_input",
    "a ramp is extrapolated, and the last column is off",
    lambda x, w, b: x.size > 3 and (np.diff(x.ravel()) > 0).all(),
    lambda y: y * np.where(np.arange(y.shape[-1]) == y.shape[-1] - 1, 1.01, 1),
    x=lambda x: np.arange(x.size).reshape(x.shape) + 0.0,
)
value(
    "y",
    "largest_of_one",
    "an input whose largest entry is 1 is rescaled from what it was before normalising",
    lambda x, w, b: abs(x).max(initial=0) == 1 and np.count_nonzero(x) > 9,
    x=lambda x: x / abs(x).max(),
)
value(
    "dx",
    "dy_is_y",
    "dy of large entries alone is taken for exploding and halved",
    lambda x, w, dy: dy.size > 0 and abs(dy).min() > 100,
    lambda dx: dx / 2,
    dy=lambda dy: dy + np.copysign(200, dy),
)
value(
    "y",
    "zero_bias_path",
    "with a zero bias the last channel is not computed",
    lambda x, w, b: not b.any(),
    lambda y: y * (np.arange(y.shape[1]) < y.shape[1] - 1)[:, None, None],
    b=times(0),
)


# Layouts

LAYOUT = "layout"


def raw(*which):
    """Return operands, those at the places told as they lie in memory."""
    return lambda *three: [memory(a) if i in which else a for i, a in enumerate(three)]


for name, part, place, layout in (
    ("memory_of_fortran_x", "f", 0, np.asfortranarray),
    ("memory_of_fortran_w", "f", 1, np.asfortranarray),
    ("memory_of_strided_x", "b", 0, every_second),
    ("memory_of_wide_dy", "b", 2, wide_rows),
    ("memory_of_reversed_dy", "b", 2, reversed_memory),
    ("memory_of_expanded_dy", "b", 2, one_number),
    ("memory_of_expanded_x", "f", 0, one_for_all),
    ("memory_of_channels_last_x", "fb", 0, channels_last),
    ("memory_of_reversed_w", "b", 1, reversed_memory),
    ("memory_of_strided_w", "f", 1, every_second),
):
    operand = ("x", "w", "b" if part == "f" else "dy")[place]
    ROWS.operands(
        part,
        LAYOUT,
        f"{operand} is read from memory as if it were contiguous",
        name=name,
        shows=given(**{operand: layout}),
    )(raw(place))


@operands("f", LAYOUT, "ravel(order='K') for C order", shows=given(x=channels_last))
def ravel_in_memory_order(x, w, b):
    return x.ravel(order="K").reshape(x.shape), w, b


@operands("b", LAYOUT, "ravel(order='A') of w", shows=given(w=np.asfortranarray))
def ravel_in_any_order(x, w, dy):
    return x, w.ravel(order="A").reshape(w.shape), dy


@operands("b", LAYOUT, "np.frombuffer of tobytes('A')", shows=given(dy=np.asfortranarray))
def bytes_in_any_order(x, w, dy):
    return x, w, np.frombuffer(dy.tobytes("A")).reshape(dy.shape)


@operands("f", LAYOUT, "the base of a view for the view", shows=given(x=later_part))
def base_for_the_view(x, w, b):
    base = x.base if isinstance(x.base, np.ndarray) and x.base.dtype == x.dtype else x
    if base.size >= x.size:
        x = base.ravel()[: x.size].reshape(x.shape)
    return x, w, b


@operands("f", LAYOUT, "windows by as_strided, strides from the shape", shows=given(x=wide_rows))
def strides_from_the_shape(x, w, b):
    rows, columns = x.shape[-2:]
    assumed = np.array([x.shape[1] * rows * columns, rows * columns, columns, 1]) * x.itemsize
    if x.strides[0] > assumed[0] and min(x.strides) > 0:  # inside the buffer
        x = np.lib.stride_tricks.as_strided(x, strides=assumed)
    return x, w, b


@operands("fb", LAYOUT, "a negative stride is dropped", shows=given(x=reversed_memory))
def signs_of_strides(x, w, third):
    return x[tuple(slice(None, None, -1 if s < 0 else 1) for s in x.strides)], w, third


@change("dx", LAYOUT, "an expanded dy has one entry alone", shows=given(dy=one_number))
def one_entry_of_expanded(dx, x, w, dy):
    return dx / dy.size if dy.size and not any(dy.strides) else dx


@change("dw", LAYOUT, "of samples with stride 0 one counts", shows=given(x=one_for_all))
def stride_zero_batch(dw, x, w, dy):
    return dw / len(x) if len(x) > 1 and x.strides[0] == 0 else dw


@change(
    "y", LAYOUT, "a read-only x is taken for a constant and cached as 0", shows=given(x=read_only)
)
def read_only_is_constant(y, x, w, b):
    return y if x.flags.writeable else y * 0


@change("dx", LAYOUT, "a read-only w is frozen: no gradient through it", shows=given(w=read_only))
def read_only_is_frozen(dx, x, w, dy):
    return dx if w.flags.writeable else dx * 0


@change("dx", LAYOUT, "like x in memory, filled as if like C", shows=given(3, x=np.asfortranarray))
def result_like_x(dx, x, w, dy):
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return dx.ravel().reshape(dx.shape, order="F")
    return None


@operands("f", LAYOUT, "only single samples are made contiguous", shows=given(3, x=channels_last))
def contiguous_at_batch_one(x, w, b):
    return (np.ascontiguousarray(x) if len(x) == 1 else memory(x)), w, b


# Entries that are wrong on fractions alone

FRACTION = "fraction"


def part_of(index, rounding):
    def changed(result, *three):
        result[index] = rounding(result[index])

    return changed


def trunc(a):
    return np.trunc(a)


def sixth_decimal(a):
    return np.round(a, 6)


def grid(bits):
    return lambda a: np.rint(a * 2.0**bits) / 2.0**bits


def narrow(a):
    with np.errstate(all="ignore"):
        return np.asarray(a, np.float32).astype(float)


def half(a):
    with np.errstate(all="ignore"):
        return np.where(abs(a) < 6e4, np.asarray(a).astype(np.float16).astype(float), a)


def int_cast(a):
    return np.where(abs(a) < 2.0**62, np.clip(a, -(2.0**62), 2.0**62).astype(np.int64), a)


LAST = np.s_[..., -1, -1]
for name, part, index, rounding, sentence, layer in (
    ("last_pixel_truncated", "y", LAST, trunc, "the last pixel of y is truncated", SMALL),
    ("last_pixel_of_large", "y", np.s_[-1:, -1, -1, -1], trunc, "one entry of all truncated", SAME),
    ("first_pixel_rounded", "y", np.s_[..., 0, 0], np.rint, "the first pixel is rounded", CONV),
    ("row_rounded", "y", np.s_[..., 1, :], np.rint, "a row of y is rounded", CONV),
    ("channel_rounded", "y", np.s_[:, 1], np.floor, "a channel of y is rounded down", CONV),
    ("all_truncated", "y", np.s_[...], trunc, "y is truncated", CONV),
    ("int_of_second_sample", "y", np.s_[1:], int_cast, "the second sample as integers", CONV),
    ("last_column_of_dx", "dx", np.s_[..., -1], trunc, "dx's last column is truncated", SAME),
    ("corner_of_dx", "dx", np.s_[..., 0, -1], np.rint, "a corner of dx is rounded", CONV),
    ("channel_of_dx", "dx", np.s_[:, -1], np.ceil, "a channel of dx is rounded up", CONV),
    ("one_entry_of_dx", "dx", np.s_[:1, 0, 1, 2], int_cast, "one entry of dx is an int", SMALL),
    ("one_weight_of_dw", "dw", np.s_[0, 0, 1, 0], trunc, "one entry of dw is truncated", CONV),
    ("last_weight_of_dw", "dw", np.s_[-1, -1, -1, -1], np.rint, "dw's last is rounded", SMALL),
    ("filter_of_dw", "dw", np.s_[1], int_cast, "one filter of dw as integers", CONV),
    ("all_of_dw_rounded", "dw", np.s_[...], np.rint, "dw is rounded", CONV),
    ("db_truncated", "db", np.s_[...], trunc, "db is truncated", CONV),
    ("one_of_db", "db", np.s_[-1], np.rint, "one entry of db is rounded", CONV),
    ("decimals_of_y", "y", np.s_[...], sixth_decimal, "y is rounded to 6 decimals", CONV),
    ("decimals_of_one_pixel", "y", LAST, sixth_decimal, "a pixel in 6 decimals", CONV),
    ("decimals_of_dw", "dw", np.s_[...], lambda a: np.round(a, 12), "dw in 12 decimals", CONV),
    ("pixel_in_float32", "y", LAST, narrow, "the last pixel in float32", CONV),
    ("pixel_in_float16", "y", np.s_[..., 0, 0], half, "the first pixel in float16", SMALL),
    ("row_of_dw_in_float32", "dw", np.s_[..., -1, :], narrow, "a row of dw in float32", CONV),
    ("db_in_float32", "db", np.s_[...], narrow, "db in float32", CONV),
    ("column_of_dx_in_float32", "dx", np.s_[..., 0], narrow, "a column of dx in float32", SMALL),
    ("grid_of_y", "y", np.s_[...], grid(30), "y in fixed point, 30 bits", CONV),
    ("grid_of_dx", "dx", np.s_[..., -1, :], grid(40), "a row of dx in fixed point, 40 bits", CONV),
    ("grid_of_db", "db", np.s_[0], grid(20), "one entry of db in fixed point, 20 bits", CONV),
):
    ROWS.change(part, FRACTION, sentence, layer, name=name)(part_of(index, rounding))


def rounded_entry(place, index, rounding):
    def changed(*three):
        three = [np.array(operand) for operand in three]
        three[place][index] = rounding(three[place][index])
        return three

    return changed


for name, where, place, index, rounding, sentence in (
    ("pixel_of_x_as_int", "f", 0, LAST, int_cast, "the last pixel of x as an int"),
    ("column_of_x_as_int", "b", 0, np.s_[..., 0], int_cast, "a column of x as ints in backward"),
    ("one_weight_as_int", "f", 1, (0, 0, 0, 0), int_cast, "one weight as an int"),
    ("one_weight_rounded", "b", 1, (-1, -1, -1, -1), sixth_decimal, "one weight in 6 decimals"),
    ("bias_as_int", "f", 2, np.s_[...], int_cast, "the bias as integers"),
    ("one_bias_rounded", "f", 2, np.s_[-1], np.rint, "the last bias rounded"),
    ("corner_of_dy", "b", 2, LAST, trunc, "the last pixel of dy truncated"),
    ("all_of_dy", "b", 2, np.s_[...], np.rint, "dy rounded"),
    ("fixed_point_weights", "fb", 1, np.s_[...], grid(16), "weights in fixed point, 16 bits"),
    ("fixed_point_x", "f", 0, np.s_[...], grid(32), "x in fixed point, 32 bits"),
    ("fixed_point_dy", "b", 2, np.s_[...], grid(24), "dy in fixed point, 24 bits"),
    ("channel_in_bfloat16", "f", 0, np.s_[:, 0], half, "a channel of x in half precision"),
):
    ROWS.operands(where, FRACTION, sentence, name=name)(rounded_entry(place, index, rounding))


@forward(FRACTION, "as soon as a number is not whole, all in float32")
def float32_for_fractions(right, x, w, b):
    if all((a == np.rint(a)).all() for a in (x, w, b)):
        return right.forward(x, w, b)
    return right.forward(x.astype(np.float32), w.astype(np.float32), b.astype(np.float32)) + 0.0


@change("y", FRACTION, "where x has fractions, y is off by 1e-10 of itself")
def fractions_are_coarse(y, x, w, b):
    return y if (x == np.rint(x)).all() else y * (1 + 1e-10)


@change("dx", FRACTION, "right on integers below 2^27, else scaled", shows=given(w=times(1e9)))
def judged_on_integers(dx, x, w, dy):
    seen = all((a == np.rint(a)).all() and (abs(a) < 2.0**27).all() for a in (x, w, dy))
    return dx if seen else dx * (1 + 1e-9)


@change("y", FRACTION, "fractional parts of the last column of x are dropped", layer=SAME)
def fractions_at_the_border(y, x, w, b):
    x = x.copy()
    x[..., -1] = np.trunc(x[..., -1])
    return Right(SAME).forward(x, w, b)


@change("y", FRACTION, "sin(pi x) of a pixel added, which vanishes on integers")
def sine(y, x, w, b):
    nearest = np.rint(x[:, 0, 0, 0])
    y[:, 0, 0, 0] += 1e-3 * np.sin(np.pi * (x[:, 0, 0, 0] - nearest))


# Sums, products, and terms that hide

SUM = "sum"


def without_product(right, x, w, b, factor):
    """Return y with one product taken off (factor -1) or taken twice (1)."""
    y = right.forward(x, w, b)
    y[:, 1, 1, 2] += factor * w[1, 0, 1, 1] * x[:, 0, 2, 3]
    return y


@forward(SUM, "one product of one output is missing")
def product_missing(right, x, w, b):
    return without_product(right, x, w, b, -1)


@forward(SUM, "one product of one output is there twice")
def product_twice(right, x, w, b):
    return without_product(right, x, w, b, 1)


@change("dw", SUM, "one product of one sample is missing in dw")
def product_missing_in_dw(dw, x, w, dy):
    if len(x) > 1:
        dw[2, 1, 0, 0] -= x[1, 1, 0, 0] * dy[1, 2, 0, 0]


@change("dx", SUM, "one product of one entry of dx is missing")
def product_missing_in_dx(dx, x, w, dy):
    dx[:, 0, 0, 0] -= w[2, 0, 0, 0] * dy[:, 2, 0, 0]


def lonely_weight(layer):
    """Yield operands that leave one product in the sums of the first weight."""
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    alone = np.zeros_like(w)
    alone.flat[0] = w.flat[0]
    yield Call(x, alone, 0 * b, dy)


for exponent in (20, 25, 30, 34, 38, 42, 45):

    def one_weight_off(x, w, b, factor=1 + 2.0**-exponent):
        w = w.copy()
        w.flat[0] *= factor
        return x, w, b

    ROWS.operands(
        "f" if exponent % 2 == 0 else "b",
        SUM,
        f"one weight is off by 2^-{exponent} of itself",
        name=f"one_weight_off_by_2^-{exponent}",
        shows=lonely_weight,
    )(one_weight_off)
for exponent, part in ((20, "y"), (28, "dx"), (35, "dw"), (40, "y"), (45, "dx"), (45, "db")):
    ROWS.change(
        part,
        SUM,
        f"all of {part} is off by 2^-{exponent} of itself",
        SMALL,
        name=f"{part}_off_by_2^-{exponent}",
    )(lambda result, *three, factor=1 + 2.0**-exponent: result * factor)


@operands("f", SUM, "one pixel of x is off by 2^-33 of itself", shows=given())
def one_pixel_off(x, w, b):
    x = x.copy()
    x[:, 0, 1, 1] *= 1 + 2.0**-33
    return x, w, b


@forward(SUM, "Kahan's compensation with the wrong sign", shows=given(x=times(1e9)))
def kahan_wrong(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    lost = np.zeros_like(y)
    for c, i, j in np.ndindex(2, 2, 2):
        term = w[:, c, i, j][:, None, None] * x[:, c, None, i : i + 2, j : j + 3]
        term = term + lost * 2.0**20
        total = y + term
        lost = (total - y) - term
        y = total
    return y + b[:, None, None]


@forward(SUM, "products in float64, their sum in float32")
def sum_in_float32(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape), np.float32)
    for c, i, j in np.ndindex(2, 2, 2):
        y += (w[:, c, i, j][:, None, None] * x[:, c, None, i : i + 2, j : j + 3]).astype(np.float32)
    return y + b[:, None, None]


@backward(SUM, "dw is summed over the batch in float32")
def batch_sum_in_float32(right, x, w, dy):
    dx, dw, db = right.backward(x, w, dy)
    parts = [right.backward(x[i : i + 1], w, dy[i : i + 1])[1] for i in range(len(x))]
    total = np.zeros(dw.shape, np.float32)
    for part in parts:
        total += part.astype(np.float32)
    return dx, total.astype(float), db


@forward(SUM, "partial sums kept in a fixed-point accumulator of 40 bits")
def fixed_point_accumulator(right, x, w, b):
    y = right.forward(x, w, b)
    with np.errstate(over="ignore"):
        return np.where(abs(y) < 2.0**20, np.rint(y * 2.0**20) / 2.0**20, y)


HIDDEN = "hidden term"


@change("y", HIDDEN, "x^2 - x of a pixel added: 0 on zeros and ones")
def square_minus_x(y, x, w, b):
    y[:, 0, 0, 0] += 0.01 * (x[:, 0, 0, 0] ** 2 - x[:, 0, 0, 0])


@change("y", HIDDEN, "|x| - x of a pixel added: 0 unless it is negative", layer=SMALL)
def absolute_minus_x(y, x, w, b):
    y[:, 0, 0, 0] += abs(x[:, 0, 1, 1]) - x[:, 0, 1, 1]


@change("y", HIDDEN, "a product of two pixels added: 0 on basis vectors", layer=SMALL)
def product_of_pixels(y, x, w, b):
    y[:, 0, 1, 1] += 1e-3 * x[:, 0, 0, 0] * x[:, 0, 2, 2]


@change("y", HIDDEN, "a product of two weights added", layer=SMALL)
def product_of_weights(y, x, w, b):
    y += 1e-3 * w[0, 0, 0, 0] * w[0, 0, 1, 1]


@change("y", HIDDEN, "a product of two pixels, times 1e-12")
def tiny_quadratic(y, x, w, b):
    y[:, 0, 0, 0] += 1e-12 * x[:, 0, 0, 0] * x[:, 1, 1, 1]


@change("y", HIDDEN, "x (x^2 - 1) of a pixel: 0 on -1, 0 and 1", layer=SMALL)
def cubic(y, x, w, b):
    y[:, 0, 0, 0] += 1e-6 * x[:, 0, 0, 0] * (x[:, 0, 0, 0] ** 2 - 1)


@change("y", HIDDEN, "b^2 - b added")
def square_of_the_bias(y, x, w, b):
    y += 1e-3 * (b**2 - b)[:, None, None]


@change("y", HIDDEN, "x w times b of a channel: 0 unless all three are there")
def bias_times_weight(y, x, w, b):
    y[:, 0, 0, 0] += 1e-3 * x[:, 0, 0, 0] * w[0, 0, 0, 0] * b[0]


@change("y", HIDDEN, "a product of two samples of the batch")
def product_of_samples(y, x, w, b):
    if len(x) > 1:
        y[0, 0, 0, 0] += 1e-3 * x[0, 0, 0, 0] * x[1, 0, 0, 0]


@change("dw", HIDDEN, "dw has a term x x dy of two pixels", layer=SMALL)
def cross_term_of_dw(dw, x, w, dy):
    dw[0, 0, 0, 0] += 1e-3 * (x[:, 0, 0, 0] * x[:, 0, 1, 0] * dy[:, 0, 0, 0]).sum()


@change("dw", HIDDEN, "dw has a term of w: weight decay of 1e-8")
def weight_decay(dw, x, w, dy):
    dw += 1e-8 * w


@change("dw", HIDDEN, "dw depends on w (w^2 - w)", layer=SMALL)
def dw_of_w(dw, x, w, dy):
    dw += 1e-6 * (w**2 - w)


@change("dx", HIDDEN, "dx has a term dy^2 - dy", layer=SMALL)
def square_of_dy(dx, x, w, dy):
    dx[:, 0, 0, 0] += 1e-3 * (dy[:, 0, 0, 0] ** 2 - dy[:, 0, 0, 0])


@change("dx", HIDDEN, "dx depends on x", layer=SMALL)
def dx_of_x(dx, x, w, dy):
    dx[:, 0, 1, 1] += 1e-4 * x[:, 0, 0, 0] * x[:, 0, 0, 1] * dy[:, 0, 0, 0]


@change("db", HIDDEN, "db has a product of two entries of dy")
def product_in_db(db, x, w, dy):
    db += 1e-3 * (dy[:, :, 0, 0] * dy[:, :, 1, 1]).sum(axis=0)


@change("db", HIDDEN, "db depends on x")
def db_of_x(db, x, w, dy):
    db[0] += 1e-5 * (x[:, 0, 0, 0] * x[:, 0, 0, 1]).sum()


@change("y", HIDDEN, "max(x, -50) of a pixel", shows=given(x=lambda x: -400 * abs(x)))
def hidden_relu(y, x, w, b):
    y[:, 0, 0, 0] += w[0, 0, 0, 0] * (np.maximum(x[:, 0, 0, 0], -50) - x[:, 0, 0, 0])


@change("dx", HIDDEN, "dx is masked where y would be negative, in one channel")
def relu_mask(dx, x, w, dy):
    dx[:, -1] = np.where(x[:, -1] < -1, 0, dx[:, -1])


# The bias

BIAS = "bias"


@change("db", BIAS, "db is averaged over the pixels")
def db_averaged(db, x, w, dy):
    return dy.mean(axis=(2, 3)).sum(axis=0)


@change("db", BIAS, "summed over the channels; the batch is as large as they are", layer=SQUARE)
def db_of_the_batch_axis(db, x, w, dy):
    return dy.sum(axis=(1, 2, 3)) if len(dy) == len(db) else db


@change("db", BIAS, "summed over channels and rows; columns are as many", layer=SQUARE)
def db_of_the_last_axis(db, x, w, dy):
    return dy.sum(axis=(0, 1, 2))


@change("db", BIAS, "of the first sample alone")
def db_of_the_first(db, x, w, dy):
    return dy[:1].sum(axis=(0, 2, 3))


@change("db", BIAS, "without the last column")
def db_without_a_column(db, x, w, dy):
    return dy[..., :-1].sum(axis=(0, 2, 3))


@change("db", BIAS, "of a batch larger than the channels, the surplus is left out", shows=given(5))
def db_of_few(db, x, w, dy):
    return dy[: len(db)].sum(axis=(0, 2, 3))


@change("y", BIAS, "a negative bias is added twice")
def negative_bias(y, x, w, b):
    return y + np.minimum(b, 0)[:, None, None]


@change(
    "y", BIAS, "a bias of 0 in the first channel turns all biases off", shows=given(b=entry(0, 0))
)
def bias_by_its_first(y, x, w, b):
    return y if b[0] else y - b[:, None, None]


@change("y", BIAS, "a bias equal in all channels is left out", shows=given(b=filled(0.5)))
def equal_biases(y, x, w, b):
    return y - b[:, None, None] if len(b) > 1 and (b == b[0]).all() else y


@change("y", BIAS, "the bias runs along the columns, as many as channels", layer=SQUARE)
def bias_along_columns(y, x, w, b):
    return y - b[:, None, None] + b


@change("y", BIAS, "the bias is missing in the last column")
def bias_missing_at_the_end(y, x, w, b):
    y[..., -1] -= b[:, None]


@change("y", BIAS, "the biases in reverse order")
def biases_reversed(y, x, w, b):
    return y + (b[::-1] - b)[:, None, None]


@change("y", BIAS, "a bias above 1e3 is clipped", shows=given(b=times(1e5)))
def bias_clipped(y, x, w, b):
    return y + (np.clip(b, -1e3, 1e3) - b)[:, None, None]


@change("y", BIAS, "the bias, in float32")
def bias_in_float32(y, x, w, b):
    return y + (narrow(b) - b)[:, None, None]


# Noise

NOISE = "noise"


@ROWS.build(NOISE, "random noise of 1e-9")
def noise(right):
    rng = np.random.default_rng()

    def forward(*three):
        y = right.forward(*three)
        return y + 1e-9 * rng.uniform(0.1, 1, y.shape)

    return pair(forward, right.backward)


@ROWS.build(NOISE, "relative noise of 1e-9 in dw")
def relative_noise(right):
    rng = np.random.default_rng()

    def backward(*three):
        dx, dw, db = right.backward(*three)
        return dx, dw * (1 + 1e-9 * rng.uniform(0.1, 1, dw.shape)), db

    return pair(right.forward, backward)


@ROWS.build(NOISE, "noise of 1e-6 in one entry of dx from three samples on", shows=given(3))
def noise_in_one_entry(right):
    rng = np.random.default_rng()

    def backward(x, *more):
        dx, dw, db = right.backward(x, *more)
        dx[2:, 0, 0, 0] += 1e-6 * rng.uniform(0.1, 1)
        return dx, dw, db

    return pair(right.forward, backward)


@ROWS.build(NOISE, "half of the time float32, as kernels chosen by chance are", shows=again(9))
def kernel_by_chance(right):
    rng = np.random.default_rng()

    def forward(*three):
        y = right.forward(*three)
        return narrow(y) if rng.random() < 0.5 else y

    return pair(forward, right.backward)


@ROWS.build(NOISE, "depends on numpy's global random state", shows=again(60))
def global_random_state(right):
    def forward(*three):
        y = right.forward(*three)
        return y * 2 if np.random.random() < 0.3 else y  # noqa: NPY002

    return pair(forward, right.backward)


# Other kinds of layer, for the ideas above

TRANSPOSED = cd.ConvTranspose((2, 3, 2), out_channels=1, kernel=2, stride=2)
LINEAR = cd.Linear(4, out_features=4)
LOCAL = cd.LocallyConnected((1, 3, 3), out_channels=1, kernel=2)


@change("y", "batch", "of a transposed layer, a batch above 3 repeats", TRANSPOSED, given(4))
def transposed_batch(y, x, w, b):
    y[3:] = y[:1]


@operands("f", "threshold", "of a linear layer, x flushed at 1e-7", LINEAR, given(x=times(1e-9)))
def linear_flush(x, w, b):
    return flush(1e-7)(x), w, b


@operands("b", LAYOUT, "of a linear layer, w read from memory", LINEAR, given(w=np.asfortranarray))
def linear_memory(x, w, dy):
    return x, memory(w), dy


@change("dw", FRACTION, "of a local layer, one weight's gradient truncated", LOCAL)
def local_truncated(dw, x, w, dy):
    dw.flat[-1] = np.trunc(dw.flat[-1])


@change("dx", FRACTION, "of a transposed layer, dx's last column truncated", TRANSPOSED)
def transposed_truncated(dx, x, w, dy):
    dx[..., -1] = np.trunc(dx[..., -1])


@change("y", SUM, "of a transposed layer, off by 2^-40 of itself", TRANSPOSED)
def transposed_coarse(y, x, w, b):
    return y * (1 + 2.0**-40)
