"""Adversaries of geometry, and of pools: windows, borders, taps, channels, winners, divisors."""

import numpy as np

import convdense as cd
from tests.adversary_rows import (
    AVG,
    CONV,
    EDGED,
    MAX,
    OVERLAP,
    SAME,
    SQUARE,
    Call,
    Right,
    Table,
    again,
    channels_last,
    convolve,
    convolve_backward,
    drawn,
    entry,
    filled,
    given,
    integers,
    memory,
    pair,
    read_only,
    times,
)

ROWS = Table()
change, forward, backward, operands = ROWS.change, ROWS.forward, ROWS.backward, ROWS.operands

# Geometry: another layer of the same shapes

GEOMETRY = "geometry"


def mistaken(name, sentence, layer, other, parts="y dx dw"):
    """Register what computes some of its results as another layer does."""

    def function(right):
        def forward(*three):
            return convolve(other if "y" in parts else right.layer, *three)

        def backward(*three):
            wrong = dict(zip(("dx", "dw", "db"), convolve_backward(other, *three), strict=True))
            results = dict(zip(("dx", "dw", "db"), right.backward(*three), strict=True))
            results.update({part: wrong[part] for part in parts.split() if part != "y"})
            return tuple(results.values())

        return pair(forward, backward)

    ROWS.build(GEOMETRY, sentence, layer, name=name)(function)


def conv(*args, **options):
    return cd.Conv(*args, **options)


PAD = conv((1, 3, 4), 2, 2, padding=((0, 1), (0, 1)))
PAD_FRONT = conv((1, 3, 4), 2, 2, padding=((1, 0), (1, 0)))
CIRCULAR, REFLECT, REPLICATE, SYMMETRIC, ZEROS = (
    conv((1, 4), 1, 3, padding=1, padding_mode=mode)
    for mode in ("circular", "reflect", "replicate", "symmetric", "zeros")
)
REFLECT_TWO, SYMMETRIC_TWO, REPLICATE_TWO = (
    conv((1, 5), 1, 3, padding=2, padding_mode=mode)
    for mode in ("reflect", "symmetric", "replicate")
)
ONES_AROUND = conv((1, 3), 1, 3, padding=1, padding_value=1.5)
UNPADDED_VALUE = conv((1, 3), 1, 3, padding=1)
WIDE_TAPS = conv((1, 7), 1, 3, dilation=2)
CLOSE_TAPS = conv((1, 7), 1, 3, padding=((-1, -1),))
BY_TWO = conv((1, 6), 2, 2, stride=2)
LATE_START = conv((1, 6), 2, 2, stride=2, padding=((-1, 1),))
REMAINDER = conv((1, 4, 6), 1, 3, stride=2)
MIXED_STRIDE = conv((1, 5, 3), 1, (3, 2), stride=(2, 1))
GROUPS = conv((4, 3, 4), 4, 2, groups=2)
DEPTHWISE = conv((2, 2, 3), 4, 2, groups=2)
FLIP, NO_FLIP = conv((2, 3, 3), 1, 2, flip=True), conv((2, 3, 3), 1, 2)
HOLES = conv((1, 3, 2), 1, 2, input_dilation=2)
CUT = conv((1, 4, 4), 1, 2, padding=-1)
UP = cd.ConvTranspose((1, 2, 3), 2, kernel=3, stride=2, padding=1, output_padding=1)
TRANSPOSED = cd.ConvTranspose((2, 2, 3), 2, kernel=2)
GROUPED_UP = cd.ConvTranspose((4, 2, 2), 4, kernel=2, groups=2)
SOLID = conv((1, 2, 2, 3), 1, 2)
LINE = conv((1, 5), 1, 3, padding=1)
LOCAL = cd.LocallyConnected((1, 3, 3), 1, 2)
LINEAR = cd.Linear(3, 3)

mistaken("padding_in_front", "the odd padding goes in front", PAD, PAD_FRONT)
mistaken("padding_in_front_of_dx", "the odd padding goes in front in dx", PAD, PAD_FRONT, "dx")
mistaken("padding_in_front_of_dw", "the odd padding goes in front in dw", PAD, PAD_FRONT, "dw")
mistaken("zeros_for_circular", "circular padding is zeros", CIRCULAR, ZEROS)
mistaken("circular_not_added_back", "of circular padding nothing comes back", CIRCULAR, ZEROS, "dx")
mistaken("reflect_not_in_dw", "dw knows zero padding alone", REFLECT, ZEROS, "dw")
mistaken("reflect_for_symmetric", "the edge is not repeated", SYMMETRIC_TWO, REFLECT_TWO)
mistaken(
    "symmetric_for_replicate", "only the second padded cell differs", REPLICATE_TWO, SYMMETRIC_TWO
)
mistaken(
    "replicate_in_dx", "dx of symmetric padding as of replicate", SYMMETRIC_TWO, REPLICATE_TWO, "dx"
)
mistaken("circular_for_replicate", "dx goes to the other side", REPLICATE, CIRCULAR, "dx")
mistaken("padding_value_in_dw", "the padding's value is 0 in dw", ONES_AROUND, UNPADDED_VALUE, "dw")
mistaken("padding_value_in_y", "the padding's value is 0 in y", ONES_AROUND, UNPADDED_VALUE, "y")
mistaken("dilation_forgotten", "no dilation, centred", WIDE_TAPS, CLOSE_TAPS)
mistaken("dilation_forgotten_in_dx", "no dilation in dx, centred", WIDE_TAPS, CLOSE_TAPS, "dx")
mistaken("strides_start_late", "strided windows start one cell late", BY_TWO, LATE_START)
mistaken("flip_forgotten", "flip is forgotten", FLIP, NO_FLIP)
mistaken("flip_forgotten_in_dw", "flip is forgotten in dw", FLIP, NO_FLIP, "dw")
mistaken("flip_in_dx", "flipped in dx", NO_FLIP, FLIP, "dx")


@change("dw", GEOMETRY, "the kernel is flipped in dw alone")
def dw_flipped(dw, x, w, dy):
    return dw[..., ::-1, ::-1].copy()


@change("dw", GEOMETRY, "channels of dw are transposed, which shows no shape", SQUARE)
def dw_transposed(dw, x, w, dy):
    return dw.swapaxes(0, 1).copy()


@change("dw", GEOMETRY, "axes of the kernel are swapped in dw", SQUARE)
def dw_axes_swapped(dw, x, w, dy):
    return dw.swapaxes(2, 3).copy()


@operands("b", GEOMETRY, "w's channels are not swapped for dx", SQUARE)
def dx_channels(x, w, dy):
    return x, w.swapaxes(0, 1), dy


@operands("b", GEOMETRY, "the kernel's axes are swapped for dx", SQUARE)
def dx_axes(x, w, dy):
    return x, w.swapaxes(2, 3), dy


@change("dx", GEOMETRY, "the last column of dx is lost", SAME)
def last_column_lost(dx, x, w, dy):
    dx[..., -1] = 0


@change("y", GEOMETRY, "one corner of y misses its padding's share", SAME)
def corner(y, x, w, b):
    y[:, 0, -1, -1] -= w[0, 0, 0, 0] * x[:, 0, -2, -2]


@change("dx", GEOMETRY, "one corner of dx alone", SAME)
def corner_of_padded_dx(dx, x, w, dy):
    dx[:, -1, -1, 0] = 0


@change("y", GEOMETRY, "the last tap along the rows is read one cell early", WIDE_TAPS)
def last_tap(y, x, w, b):
    y[:, 0] += w[0, 0, -1] * (x[:, 0, 3:6] - x[:, 0, 4:7])


@change("dw", GEOMETRY, "of a dilated kernel the last tap's gradient is one cell early", WIDE_TAPS)
def last_tap_of_dw(dw, x, w, dy):
    dw[0, 0, -1] = (x[:, 0, 3:6] * dy[:, 0]).sum()


@change(
    "dx", GEOMETRY, "cells that the stride leaves over get their neighbour's gradient", REMAINDER
)
def remainder(dx, x, w, dy):
    dx[..., -1] = dx[..., -2]


@change("y", GEOMETRY, "strides of both axes are swapped in the last row", MIXED_STRIDE)
def strides_swapped(y, x, w, b):
    y[:, 0, -1] = y[:, 0, -1, ::-1].copy()


@operands("f", GEOMETRY, "the groups of channels are in the other order", GROUPS)
def groups_reversed(x, w, b):
    return np.concatenate([x[:, 2:], x[:, :2]], axis=1), w, b


@change("dw", GEOMETRY, "the groups of dw are in the other order", GROUPS)
def groups_of_dw(dw, x, w, dy):
    return np.concatenate([dw[2:], dw[:2]])


@change("dx", GEOMETRY, "dx of the second group is that of the first", GROUPS)
def second_group(dx, x, w, dy):
    dx[:, 2:] = dx[:, :2]


@operands("fb", GEOMETRY, "channels are interleaved and not grouped", GROUPS)
def interleaved(x, w, third):
    return x, w[[0, 2, 1, 3]], third


@operands("f", GEOMETRY, "multiplier and channel of a depthwise kernel are swapped", DEPTHWISE)
def multipliers(x, w, b):
    return x, w.reshape(2, 2, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape), b


@change("dx", GEOMETRY, "between the cells of a dilated input dx is taken one later", HOLES)
def holes(dx, x, w, dy):
    dx[..., 1:, :] = dx[..., :-1, :].copy()


@change("dx", GEOMETRY, "cells cut away get a gradient", CUT)
def cut_away(dx, x, w, dy):
    dx[..., 0, :] += dy.sum()


@change("y", GEOMETRY, "what output_padding adds is left at the bias", UP)
def output_padding(y, x, w, b):
    y[..., -1, :] = b[:, None]


@change("y", GEOMETRY, "output_padding cells come first", UP)
def output_padding_first(y, x, w, b):
    return np.roll(y, 1, axis=3)


@operands("f", GEOMETRY, "the kernel of a transposed layer is flipped", TRANSPOSED)
def transposed_flipped(x, w, b):
    return x, w[..., ::-1, ::-1], b


@operands("fb", GEOMETRY, "a transposed layer's channels are swapped", TRANSPOSED)
def transposed_channels(x, w, third):
    return x, w.swapaxes(0, 1), third


@change("dw", GEOMETRY, "a transposed layer's dw is that of a convolution", TRANSPOSED)
def transposed_dw(dw, x, w, dy):
    return dw[..., ::-1, ::-1].copy()


@change("dx", GEOMETRY, "groups of a transposed layer in the other order in dx", GROUPED_UP)
def transposed_groups(dx, x, w, dy):
    return np.roll(dx, 2, axis=1)


@operands("f", GEOMETRY, "depth and rows are swapped in the kernel", SOLID)
def depth_and_rows(x, w, b):
    return x, w.swapaxes(2, 3), b


@change("dx", GEOMETRY, "three axes: the last plane gets nothing", SOLID)
def last_plane(dx, x, w, dy):
    dx[:, :, -1] = 0


@change("y", GEOMETRY, "one axis: circular where it should be zero", LINE)
def line_is_circular(y, x, w, b):
    y[..., 0] += np.einsum("oc,nc->no", w[..., 0], x[..., -1])


@operands("f", GEOMETRY, "a local kernel's places are transposed", LOCAL)
def local_places(x, w, b):
    return x, w.swapaxes(2, 3), b


@change("dw", GEOMETRY, "a local layer's dw is tied", LOCAL)
def local_tied(dw, x, w, dy):
    return dw * 0 + dw.mean(axis=(2, 3), keepdims=True)


@operands("f", GEOMETRY, "a linear layer's matrix is transposed", LINEAR)
def linear_transposed(x, w, b):
    return x, w.T, b


@operands("b", GEOMETRY, "a linear layer's dx multiplies by the transposed", LINEAR)
def linear_dx(x, w, dy):
    return x, w.T, dy


@change("dw", GEOMETRY, "a linear layer's dw is transposed", LINEAR)
def linear_dw(dw, x, w, dy):
    return dw.T.copy()


@change("dw", GEOMETRY, "copies of a weight are set and not added: the last window alone")
def last_window(dw, x, w, dy):
    return np.einsum("no,ncij->ocij", dy[:, :, -1, -1], x[:, :, -2:, -2:])


@change("dx", GEOMETRY, "where windows overlap, the last one counts", CONV)
def overlaps(dx, x, w, dy):
    dx[...] = 0
    for i, j in np.ndindex(dy.shape[2:]):
        dx[:, :, i : i + 2, j : j + 2] = np.einsum("no,ocij->ncij", dy[:, :, i, j], w)


MANY = cd.Conv((65, 1), out_channels=1, kernel=1)
LONG = cd.Conv((1, 34), out_channels=1, kernel=3)
MANY_OUT = cd.Conv((1, 1), out_channels=66, kernel=1)


@operands("f", GEOMETRY, "above 64 channels the rest is not read", MANY)
def rest_of_the_channels(x, w, b):
    x = x.copy()
    x[:, 64:] = 0
    return x, w, b


@change("y", GEOMETRY, "above 32 pixels the rest gets the bias alone", LONG)
def rest_of_the_pixels(y, x, w, b):
    y[..., 31:] = b[:, None]


@change("dw", GEOMETRY, "above 64 outputs dw is 0", MANY_OUT)
def rest_of_the_outputs(dw, x, w, dy):
    dw[64:] = 0


@change("dx", GEOMETRY, "above 64 channels dx repeats the first", MANY)
def rest_of_dx(dx, x, w, dy):
    dx[:, 64:] = dx[:, :1]


# Max pools

MAXIMUM = "max pool"
ROW = cd.MaxPool((1, 6), kernel=3)
SLIDING = cd.MaxPool((1, 6), kernel=3, stride=1)
MIN = cd.MinPool((1, 4, 4), kernel=2)
TALL = cd.MaxPool((1, 4, 6), kernel=(2, 3))
CEIL = cd.MaxPool((1, 5, 5), kernel=2, ceil_mode=True)
SPREAD = cd.MaxPool((1, 5), kernel=2, dilation=2, stride=1)
UNEVEN = cd.MaxPool((1, 5), output=3)
GLOBAL = cd.MaxPool((2, 3, 3), output=1)


def windows_of(pool, x, fill):
    """Return every window's cells, (batch, channels, *outputs, cells), padding filled."""
    begin, end = np.transpose(pool.padding)
    reach = [
        k * d + s * n
        for k, d, s, n in zip(
            pool.kernel, pool.dilation, pool.stride, pool.out_spatial, strict=True
        )
    ]
    pads = [(b, max(e, r)) for b, e, r in zip(begin, end, reach, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    taps = []
    for tap in np.ndindex(*pool.kernel):
        at = zip(tap, pool.dilation, pool.stride, pool.out_spatial, strict=True)
        taps.append(padded[(..., *(slice(t * d, t * d + s * n, s) for t, d, s, n in at))])
    return np.stack(taps, axis=-1)


def given_to(pool, x, dy, share):
    """Return dx of a share, (batch, channels, *outputs, cells), of every output's gradient."""
    numbers = np.arange(1, 1 + np.prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    cells = windows_of(pool, numbers, 0)[0, 0]
    dx = np.zeros((*x.shape[:2], 1 + numbers.size))
    for index in np.ndindex(cells.shape):
        dx[:, :, cells[index]] += share[(..., *index)] * dy[(..., *index[:-1])]
    return dx[:, :, 1:].reshape(x.shape)


def winners(pool, x, ties="first"):
    """Return the share of every cell of every window in its output."""
    windows = windows_of(pool, x, -np.inf)
    best = windows == windows.max(axis=-1, keepdims=True)
    if ties == "all":
        return best.astype(float)
    if ties == "split":
        return best / best.sum(axis=-1, keepdims=True)
    places = best.argmax(axis=-1)
    if ties == "last":
        places = best.shape[-1] - 1 - best[..., ::-1].argmax(axis=-1)
    return np.arange(best.shape[-1]) == places[..., None]


def tied(layer):
    x, w, b, dy = drawn(layer, 2, np.random.default_rng(3))
    yield Call(np.rint(x), w, b, dy)


def padded_with(name, fill, factor, layer=OVERLAP):
    def function(right, x):
        return np.maximum(windows_of(right.layer, x, fill).max(axis=-1), fill)

    shows = given(x=lambda x: -abs(x) * factor)
    ROWS.forward(MAXIMUM, f"padding is {fill:g} and wins", layer, shows, name=name)(function)


padded_with("padded_with_zeros", 0.0, 1)
padded_with("padded_with_minus_one", -1.0, 9)
padded_with("padded_with_-1e4", -1e4, 1e6)
padded_with("padded_with_-1e9", -1e9, 1e11)
padded_with("padded_with_-1e30", -1e30, 1e32)
padded_with("padded_with_float32_lowest", -3.4e38, 1e40)
padded_with("running_maximum_from_0", 0.0, 1, MAX)
padded_with("running_maximum_from_-99", -99.0, 1e3, MAX)
padded_with("running_maximum_from_-1e100", -1e100, 1e102, MAX)

for ties, sentence in (
    ("last", "the last of equal cells takes the gradient"),
    ("all", "every one of equal cells takes the whole gradient"),
    ("split", "equal cells share the gradient"),
):
    for layer, where in ((MAX, ""), (ROW, "_in_a_row"), (OVERLAP, "_where_windows_overlap")):

        def share(right, x, dy, ties=ties):
            return given_to(right.layer, x, dy, winners(right.layer, x, ties))

        ROWS.backward(MAXIMUM, sentence, layer, tied, name=f"ties_{ties}{where}")(share)


@change("dx", MAXIMUM, "an image of zeros gives no gradient", MAX, given(x=times(0)))
def zero_image(dx, x, dy):
    return dx * x.any(axis=(1, 2, 3), keepdims=True) if len(x) else dx


@change("dx", MAXIMUM, "a window of zeros gives no gradient, as after ReLU", MAX, given(x=times(0)))
def zero_windows(dx, x, dy):
    return np.where(x == 0, 0, dx)


@backward(MAXIMUM, "a flat window gives its gradient to the last", MAX, given(x=filled(3.0)))
def flat_windows(right, x, dy):
    windows = windows_of(right.layer, x, -np.inf)
    flat = (windows == windows[..., :1]).all(axis=-1)[..., None]
    first, last = (winners(right.layer, x, ties) for ties in ("first", "last"))
    return given_to(right.layer, x, dy, np.where(flat, last, first))


@backward(MAXIMUM, "ties are split, between exactly two", MAX, tied)
def two_share(right, x, dy):
    split = winners(right.layer, x, "split")
    two = (split > 0).sum(axis=-1, keepdims=True) == 2
    return given_to(right.layer, x, dy, np.where(two, split, winners(right.layer, x)))


@backward(
    MAXIMUM, "0.0 wins over -0.0 that comes first", MAX, given(x=lambda x: np.where(x < 0, -0.0, 0))
)
def signed_zeros(right, x, dy):
    ranked = np.where((x == 0) & np.signbit(x), -5e-324, x)
    return right.backward(ranked, dy)


@forward(MAXIMUM, "the maximum as (a + b + |a - b|) / 2 in float32", MAX)
def halves_in_float32(right, x):
    return right.forward(x.astype(np.float32)).astype(float)


@backward(MAXIMUM, "winners are sought in float32", MAX, given(x=lambda x: 1 + x * 1e-9))
def winners_in_float32(right, x, dy):
    return right.backward(x.astype(np.float32).astype(float), dy)


@backward(MAXIMUM, "winners are sought in float16", MAX, given(x=lambda x: 1 + x * 1e-4))
def winners_in_float16(right, x, dy):
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float16).astype(float)
    return right.backward(np.where(np.isinf(narrow), x, narrow), dy)


@backward(MAXIMUM, "winners are sought among integers", MAX)
def winners_of_integers(right, x, dy):
    return right.backward(np.trunc(x), dy)


@backward(
    MAXIMUM, "cells within 1e-8 of the largest count as tied", MAX, given(x=lambda x: x * 1e-9)
)
def nearly_tied(right, x, dy):
    windows = windows_of(right.layer, x, -np.inf)
    close = windows >= windows.max(axis=-1, keepdims=True) - 1e-8
    return given_to(right.layer, x, dy, np.arange(4) == close.argmax(axis=-1)[..., None])


@backward(MAXIMUM, "the winner by comparison with y, in any window", OVERLAP, tied)
def winners_by_value(right, x, dy):
    return given_to(right.layer, x, dy, winners(right.layer, x, "all"))


@forward(MAXIMUM, "the largest by size, |x|", MAX)
def largest_by_size(right, x):
    windows = windows_of(right.layer, x, 0)
    return np.take_along_axis(windows, abs(windows).argmax(-1)[..., None], -1)[..., 0]


@forward(MAXIMUM, "a smooth maximum of temperature 1e-3", MAX)
def smooth_maximum(right, x):
    y = right.forward(x)
    windows = windows_of(right.layer, x, 0)
    return y + 1e-3 * np.log(np.exp((windows - y[..., None]) * 1e3).sum(axis=-1))


@change("dx", MAXIMUM, "overlapping windows: set and not added", SLIDING)
def set_not_added(dx, x, dy):
    dx[...] = 0
    for n, c, i in np.ndindex(dy.shape):
        dx[n, c, i + x[n, c, i : i + 3].argmax()] = dy[n, c, i]


@backward(MAXIMUM, "the winner's column is counted with the other side's width", TALL)
def other_width(right, x, dy):
    share = winners(right.layer, x)
    swapped = share.reshape(*share.shape[:-1], 3, 2).swapaxes(-1, -2)
    return given_to(right.layer, x, dy, swapped.reshape(share.shape))


@backward(MAXIMUM, "ties go to the first down the columns", TALL, tied)
def first_down_the_columns(right, x, dy):
    windows = windows_of(right.layer, x, -np.inf)
    by_column = windows.reshape(*windows.shape[:-1], 2, 3).swapaxes(-1, -2)
    place = by_column.reshape(windows.shape).argmax(-1)
    return given_to(right.layer, x, dy, np.arange(6) == (place % 2 * 3 + place // 2)[..., None])


@change("y", MAXIMUM, "the window that runs over the end is 0", CEIL)
def ceil_is_zero(y, x):
    y[..., -1] = 0


@change("dx", MAXIMUM, "the window that runs over the end gives nothing back", CEIL)
def ceil_gives_nothing(dx, x, dy):
    dx[..., -1] = 0


@change("y", MAXIMUM, "the window that runs over the end takes 0 for the cells there", CEIL)
def ceil_with_zeros(y, x):
    y[..., -1, -1] = np.maximum(y[..., -1, -1], 0)


@forward(MAXIMUM, "dilation is forgotten", SPREAD)
def pool_dilation(right, x):
    return np.maximum(x[..., :3], x[..., 1:4])


@forward(MAXIMUM, "windows of uneven size start too late", UNEVEN, given(x=entry(9.0, ..., 1)))
def uneven_starts(right, x):
    return np.stack([x[..., :2].max(-1), x[..., 2:4].max(-1), x[..., 3:].max(-1)], axis=-1)


@change(
    "y", MAXIMUM, "a global pool misses the last pixel", GLOBAL, given(x=entry(9.0, ..., -1, -1))
)
def global_misses_the_last(y, x):
    return x.reshape(*x.shape[:2], -1)[..., :-1].max(-1).reshape(y.shape)


@change("y", MAXIMUM, "the smallest is that of |x|", MIN)
def smallest_by_size(y, x):
    return windows_of(MIN, abs(x), np.inf).min(-1)


@forward(MAXIMUM, "a smallest that starts from 0", MIN, given(x=abs))
def smallest_from_zero(right, x):
    return np.minimum(right.forward(x), 0)


@backward(MAXIMUM, "the last of the smallest takes the gradient", MIN, tied)
def last_smallest(right, x, dy):
    return given_to(MIN, x, dy, winners(MIN, -x, "last"))


@change("dx", MAXIMUM, "negative gradients do not pass", MAX)
def negative_gradients(dx, x, dy):
    return np.maximum(dx, 0)


@change("dx", MAXIMUM, "winners that are negative get nothing", MAX, given(x=lambda x: -abs(x)))
def negative_winners(dx, x, dy):
    return np.where(x < 0, 0, dx)


@change("dx", MAXIMUM, "from batch 4 on, winners of the first sample for all", MAX, given(4))
def winners_of_the_first(dx, x, dy):
    if len(x) >= 4:
        return Right(MAX).backward(np.repeat(x[:1], len(x), axis=0), dy)
    return None


@change("y", MAXIMUM, "above 1e7 it saturates", MAX, given(x=times(1e9)))
def pool_saturates(y, x):
    return np.minimum(y, 1e7)


@operands("f", MAXIMUM, "below 1e-20 all cells are 0", MAX, given(x=times(1e-22)))
def pool_flushes(x):
    return (np.where(abs(x) < 1e-20, 0, x),)


@change("y", MAXIMUM, "the last pixel is truncated", MAX)
def pool_truncates(y, x):
    y[..., -1, -1] = np.trunc(y[..., -1, -1])


@change("dx", MAXIMUM, "the last column of dx is rounded", OVERLAP)
def pool_rounds_dx(dx, x, dy):
    dx[..., -1] = np.rint(dx[..., -1])


@operands("b", MAXIMUM, "x is read from memory as if contiguous", MAX, given(3, x=channels_last))
def pool_reads_memory(x, dy):
    return memory(x), dy


@operands("b", MAXIMUM, "dy is read from memory as if contiguous", MAX, given(dy=np.asfortranarray))
def pool_reads_memory_of_dy(x, dy):
    return x, memory(dy)


@change("dx", MAXIMUM, "a read-only x has no gradient", MAX, given(x=read_only))
def pool_read_only(dx, x, dy):
    return dx if x.flags.writeable else dx * 0


@change(
    "dx",
    MAXIMUM,
    "an input of one sign takes a fast path that ignores the last row",
    MAX,
    given(x=abs),
)
def pool_of_one_sign(dx, x, dy):
    if x.size and (x > 0).all():
        dx[..., -1, :] = 0


@change("y", MAXIMUM, "a rising input is taken from the wrong end", ROW, given(x=np.sort))
def pool_of_rising(y, x):
    return y[..., ::-1].copy() if x.size and (np.diff(x) > 0).all() else y


@change("dx", MAXIMUM, "dy of ones counts windows, and forgets one", OVERLAP, given(dy=filled(1.0)))
def pool_counts(dx, x, dy):
    return np.minimum(dx, 1) if dy.size and (dy == 1).all() else dx


# Average, sum and power pools

MEAN = "average"
PADDED = cd.AvgPool((1, 4, 4), kernel=3, stride=1, padding=1)
CEILED = cd.AvgPool((1, 5, 5), kernel=2, stride=2, ceil_mode=True)
OVERRIDDEN = cd.AvgPool((1, 4, 4), kernel=2, divisor_override=-3)
UNEVEN_MEAN = cd.AvgPool((1, 5), output=3)
SUM = cd.SumPool((1, 4, 4), kernel=2)
CUBES = cd.LpPool((1, 4, 4), kernel=2, p=3)
SQUARES = cd.LpPool((1, 4, 4), kernel=2, p=2)


def other_pool(name, sentence, layer, other, parts="fb"):
    def function(right):
        wrong = Right(other)
        chosen = [wrong if part in parts else right for part in "fb"]
        return pair(chosen[0].forward, chosen[1].backward)

    ROWS.build(MEAN, sentence, layer, name=name)(function)


def same(layer, **options):
    kept = {name: getattr(layer, name) for name in ("kernel", "stride", "padding", "ceil_mode")}
    return type(layer)(layer.in_shape, **{**kept, **options})


other_pool(
    "padding_left_out", "padding does not count", PADDED, same(PADDED, count_include_pad=False)
)
other_pool("padding_counted", "padding counts", EDGED, same(EDGED, count_include_pad=True))
other_pool(
    "padding_counted_back", "padding counts, in dx", EDGED, same(EDGED, count_include_pad=True), "b"
)
other_pool("overrun_counted", "cells over the end count", CEILED, same(CEILED, divisor_override=4))
other_pool(
    "override_forgotten", "the divisor is forgotten", OVERRIDDEN, cd.AvgPool((1, 4, 4), kernel=2)
)
other_pool(
    "override_unsigned", "its sign is lost", OVERRIDDEN, same(OVERRIDDEN, divisor_override=3)
)
other_pool(
    "override_in_dx",
    "its sign is lost in dx",
    OVERRIDDEN,
    same(OVERRIDDEN, divisor_override=3),
    "b",
)
other_pool("sum_for_mean", "dx is not divided", AVG, cd.SumPool((2, 4, 4), kernel=2), "b")
other_pool("mean_for_sum", "the mean for the sum", SUM, cd.AvgPool((1, 4, 4), kernel=2))
other_pool("mean_for_sum_in_dx", "dx is divided", SUM, cd.AvgPool((1, 4, 4), kernel=2), "b")
other_pool("squares_for_cubes", "the power is always 2", CUBES, SQUARES)
other_pool("squares_for_cubes_in_dx", "the power is always 2 in dx", CUBES, SQUARES, "b")


@change("y", MEAN, "at one corner the padding counts", EDGED)
def corner_divisor(y, x):
    y[..., -1, -1] *= 4 / 9


@change("dx", MEAN, "at one corner dx counts the padding", EDGED)
def corner_divisor_of_dx(dx, x, dy):
    dx[..., 0, 0] = dy[..., 0, 0] / 9


@forward(MEAN, "the mean is divided as integers", AVG)
def floor_division(right, x):
    return 4 * right.forward(x) // 4


@forward(MEAN, "the mean of whole numbers is whole", AVG, given(x=integers()))
def whole_means(right, x):
    y = right.forward(x)
    return np.trunc(y) if (x == np.rint(x)).all() else y


@change("y", MEAN, "the mean in float32", AVG)
def mean_in_float32(y, x):
    return y.astype(np.float32).astype(float)


@change("y", MEAN, "a third is 0.333333", cd.AvgPool((1, 6), kernel=3))
def third(y, x):
    return y * 3 * 0.333333


@change("y", MEAN, "a third, from float32", cd.AvgPool((1, 6), kernel=3))
def third_from_float32(y, x):
    return y * 3 * float(np.float32(1) / np.float32(3))


@change("dx", MEAN, "a third of dy, from float32, in the last window", cd.AvgPool((1, 6), kernel=3))
def third_of_dy(dx, x, dy):
    dx[..., 3:] *= 3 * float(np.float32(1) / np.float32(3))


@change("y", MEAN, "one pixel counts twice", AVG)
def pixel_twice(y, x):
    y[:, 0, 0, 0] += x[:, 0, 0, 0] / 4


@change("dx", MEAN, "an all-zero dy is a mistake: 1e-3", AVG, given(dy=times(0)))
def mean_of_zero_dy(dx, x, dy):
    return dx + 1e-3 * (dy.size > 0 and not dy.any())


@change("dx", MEAN, "dx depends on x", AVG)
def mean_of_x(dx, x, dy):
    return dx + 1e-5 * x


@change("y", MEAN, "an epsilon in the divisor", EDGED)
def divisor_epsilon(y, x):
    return y / (1 + 1e-11)


@change("y", MEAN, "saturates at 1e5", AVG, given(x=times(1e7)))
def mean_saturates(y, x):
    return np.clip(y, -1e5, 1e5)


@change("y", MEAN, "flushed at 1e-9", AVG, given(x=times(1e-11)))
def mean_flushed(y, x):
    return np.where(abs(y) < 1e-9, 0, y)


@operands("f", MEAN, "negative inputs are cut", PADDED)
def mean_of_positive(x):
    return (np.maximum(x, 0),)


@change("y", MEAN, "windows of different size are divided by one size", UNEVEN_MEAN)
def uneven_divisor(y, x):
    y[..., 1] *= 2 / 3 * 3 / 2 * 1.5


@change("dx", MEAN, "the cell shared by uneven windows gets one share", UNEVEN_MEAN)
def uneven_share(dx, x, dy):
    dx[..., 1] = dy[..., 0] / 2


@change("y", MEAN, "from batch 9 on off by a sample", AVG, given(9))
def mean_of_nine(y, x):
    return np.roll(y, 1, axis=0) if len(x) >= 9 else y


@operands("f", MEAN, "x from memory as if contiguous", AVG, given(3, x=np.asfortranarray))
def mean_of_memory(x):
    return (memory(x),)


@change("y", MEAN, "1e-12 is added before the root is taken", SQUARES, given(x=times(1e-5)))
def root_epsilon(y, x):
    return np.sqrt(y**2 + 1e-12)


@forward(MEAN, "an odd power keeps its sign", CUBES)
def signed_power(right, x):
    return np.cbrt((windows_of(CUBES, x, 0) ** 3).sum(-1))


@change("dx", MEAN, "the slope at 0 is NaN", SQUARES, given(x=times(0)))
def slope_of_zero(dx, x, dy):
    return np.where((x == 0) & (dx == 0) & (dy.size > 0), np.nan, dx) if not x.any() else dx


@change("dx", MEAN, "the slope's sign is lost", CUBES)
def slope_unsigned(dx, x, dy):
    return dx * np.where(x < 0, -1, 1)


@change("y", MEAN, "a root by float32", SQUARES)
def root_in_float32(y, x):
    return y.astype(np.float32).astype(float)


@ROWS.build(MEAN, "a pool's y is one buffer", AVG, again(2))
def mean_buffer(right):
    buffers = {}

    def forward(x):
        y = right.forward(x)
        buffer = buffers.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer

    return pair(forward, right.backward)
