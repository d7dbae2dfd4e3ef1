"""Right implementations, which must not be blamed: other orders, formulas, containers, manners.

`RIGHT` must be accepted. `NORMWISE` holds what is right as a whole and not in every entry, by
transforms and by sums that cancel: it must not be refuted.
"""

import math
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.sparse

import convdense as cd
from tests.adversary_rows import (
    AVG,
    CONV,
    MAX,
    OVERLAP,
    POINT,
    SAME,
    SMALL,
    Table,
    pair,
)

RIGHT, NORMWISE = Table(), Table()
forward, backward, change = RIGHT.forward, RIGHT.backward, RIGHT.change
implementation = RIGHT.build

STRIDED = cd.Conv((1, 4, 6), out_channels=2, kernel=(2, 3), stride=(1, 2), padding=1)
DILATED = cd.Conv((1, 7), out_channels=2, kernel=3, dilation=2)
LINE = cd.Conv((1, 6), out_channels=1, kernel=3)
GROUPS = cd.Conv((4, 3, 4), out_channels=4, kernel=2, groups=2)
DEPTHWISE = cd.Conv((3, 3, 4), out_channels=3, kernel=2, groups=3)
CIRCULAR = cd.Conv((1, 8, 7), out_channels=1, kernel=3, padding=1, padding_mode="circular")
REFLECT = cd.Conv((1, 8, 7), out_channels=1, kernel=3, padding=1, padding_mode="reflect")
SOLID = cd.Conv((1, 2, 2, 3), out_channels=1, kernel=2)
UP = cd.ConvTranspose((2, 2, 3), out_channels=3, kernel=3, stride=2, padding=1)
LOCAL = cd.LocallyConnected((1, 3, 3), out_channels=1, kernel=2)
LINEAR = cd.Linear(4, out_features=3)


def padded(layer, x):
    return np.pad(x, [(0, 0), (0, 0), *layer.padding])


def windows(layer, x):
    """Return every window, (batch, in, *outputs, *kernel), of a layer with zero padding."""
    spans = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True)]
    axes = tuple(range(2, x.ndim))
    views = np.lib.stride_tricks.sliding_window_view(padded(layer, x), spans, axis=axes)
    starts = [slice(None, None, s) for s in layer.stride]
    return views[(..., *starts, *(slice(None, None, d) for d in layer.dilation))]


def with_bias(y, b):
    return y + b.reshape(-1, *[1] * (y.ndim - 2))


def indices(layer):
    """Yield (output place, tap, input place) of two axes, for whatever lies inside."""
    for out in np.ndindex(*layer.out_spatial):
        for tap in np.ndindex(*layer.kernel):
            numbers = zip(out, tap, layer.stride, layer.dilation, layer.padding, strict=True)
            place = tuple(o * s + t * d - pads[0] for o, t, s, d, pads in numbers)
            if all(0 <= p < n for p, n in zip(place, layer.in_spatial, strict=True)):
                yield out, tap, place


# Convolution, forward


@forward("loops", "outputs first, one number at a time")
def loops(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for n, o in np.ndindex(y.shape[:2]):
        for out, tap, place in indices(right.layer):
            for c in range(x.shape[1]):
                y[(n, o, *out)] += w[(o, c, *tap)] * x[(n, c, *place)]
        y[n, o] += b[o]
    return y


@forward("loops", "in reverse order, bias first", SMALL)
def loops_reversed(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape)) + b[:, None, None]
    for out, tap, place in reversed(list(indices(right.layer))):
        y[(..., *out)] += np.einsum("oc,nc->no", w[(..., *tap)], x[(..., *place)])
    return y


@forward("loops", "taps outside, with padding and stride", STRIDED)
def taps_outside(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for out, tap, place in sorted(indices(right.layer), key=lambda three: three[1]):
        y[(..., *out)] += x[(..., *place)] @ w[(..., *tap)].T
    return with_bias(y, b)


@forward("loops", "every input is scattered to its outputs", DILATED)
def scattered(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for out, tap, place in sorted(indices(right.layer), key=lambda three: three[2]):
        y[(..., *out)] += x[(..., *place)] @ w[(..., *tap)].T
    return with_bias(y, b)


@forward("matrix", "im2col and one product")
def im2col(right, x, w, b):
    views = windows(right.layer, x)  # (batch, in, rows, columns, 2, 2)
    columns = views.transpose(0, 2, 3, 1, 4, 5).reshape(-1, w[0].size)
    y = columns @ w.reshape(len(w), -1).T + b
    return y.reshape(len(x), *right.layer.out_spatial, len(w)).transpose(0, 3, 1, 2)


@forward("matrix", "im2row, tensordot", STRIDED)
def im2row(right, x, w, b):
    y = np.tensordot(windows(right.layer, x), w, axes=([1, 4, 5], [1, 2, 3]))
    return with_bias(np.moveaxis(y, -1, 1), b)


@forward("matrix", "einsum")
def by_einsum(right, x, w, b):
    return with_bias(np.einsum("ncijkl,ockl->noij", windows(right.layer, x), w), b)


@forward("matrix", "einsum, optimised", SAME)
def by_optimised_einsum(right, x, w, b):
    y = np.einsum("ncijkl,ockl->noij", windows(right.layer, x), w, optimize=True)
    return with_bias(y, b)


@forward("matrix", "as_strided with the array's own strides", SMALL)
def own_strides(right, x, w, b):
    n, c, rows, columns = x.strides
    shape = (*x.shape[:2], *right.layer.out_spatial, *right.layer.kernel)
    strides = (n, c, rows, columns, rows, columns)
    views = np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)
    return with_bias(np.einsum("ncijkl,ockl->noij", views, w), b)


@forward("matrix", "a dense matrix, of basis vectors", SMALL)
def dense_matrix(right, x, w, b):
    basis = np.eye(x[0].size if len(x) else 9).reshape(-1, *right.layer.in_shape)
    matrix = right.forward(basis, w, 0 * b).reshape(len(basis), -1)
    return with_bias((x.reshape(len(x), -1) @ matrix).reshape(-1, *right.layer.out_shape), b)


@forward("matrix", "a sparse matrix", SMALL)
def sparse_matrix(right, x, w, b):
    rows, columns, entries = [], [], []
    for out, tap, place in indices(right.layer):
        rows.append(np.ravel_multi_index(out, right.layer.out_spatial))
        columns.append(np.ravel_multi_index(place, right.layer.in_spatial))
        entries.append(w[(0, 0, *tap)])
    shape = math.prod(right.layer.out_shape), math.prod(right.layer.in_shape)
    matrix = scipy.sparse.coo_array((entries, (rows, columns)), shape=shape).tocsr()
    return with_bias((matrix @ x.reshape(len(x), -1).T).T.reshape(-1, *right.layer.out_shape), b)


@forward("matrix", "a Toeplitz matrix", LINE)
def toeplitz(right, x, w, b):
    row = np.concatenate([w[0, 0], np.zeros(3)])
    matrix = scipy.linalg.toeplitz([row[0], 0, 0, 0], row)
    return (x[:, 0] @ matrix.T)[:, None] + b[0]


@forward("matrix", "each sample by itself, stacked")
def each_sample(right, x, w, b):
    flat = w.reshape(len(w), -1)
    y = np.empty((len(x), *right.layer.out_shape))
    for n, sample in enumerate(x):
        columns = windows(right.layer, sample[None])[0].transpose(0, 3, 4, 1, 2)
        y[n] = (flat @ columns.reshape(flat.shape[1], -1)).reshape(y.shape[1:])
    return with_bias(y, b)


@forward("library", "scipy.signal.correlate, direct")
def scipy_correlate(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for n, o, c in np.ndindex(len(x), len(w), x.shape[1]):
        y[n, o] += scipy.signal.correlate(x[n, c], w[o, c], mode="valid", method="direct")
    return with_bias(y, b)


@forward("library", "scipy.signal.convolve2d with the kernel turned", SMALL)
def scipy_convolve2d(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for n in range(len(x)):
        y[n, 0] = scipy.signal.convolve2d(x[n, 0], w[0, 0, ::-1, ::-1], mode="valid")
    return with_bias(y, b)


@forward("library", "np.correlate", LINE)
def numpy_correlate(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for n in range(len(x)):
        y[n, 0] = np.correlate(x[n, 0], w[0, 0], mode="valid")
    return with_bias(y, b)


@forward("library", "np.convolve", LINE)
def numpy_convolve(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for n in range(len(x)):
        y[n, 0] = np.convolve(x[n, 0], w[0, 0, ::-1], mode="valid")
    return with_bias(y, b)


def products(layer, x, w, b):
    """Yield (place of an output, its products and bias)."""
    views = windows(layer, x)
    for n, o in np.ndindex(len(x), len(w)):
        for out in np.ndindex(*layer.out_spatial):
            yield (n, o, *out), views[(n, slice(None), *out)].ravel(), w[o].ravel(), b[o]


def by_products(total):
    def function(right, x, w, b):
        y = np.empty((len(x), *right.layer.out_shape))
        for place, cells, weights, bias in products(right.layer, x, w, b):
            y[place] = total(cells, weights, bias)
        return y

    return function


def kahan(cells, weights, bias):
    total = lost = 0.0
    for term in [*(cells * weights), bias]:
        reduced = term - lost
        new = total + reduced
        lost = (new - total) - reduced
        total = new
    return total


def pairwise(cells, weights, bias):
    terms = [*(cells * weights), bias]
    while len(terms) > 1:
        terms = [sum(terms[i : i + 2]) for i in range(0, len(terms), 2)]
    return terms[0]


def exact(cells, weights, bias):
    numbers = [*cells, *weights, bias]
    if not np.isfinite(numbers).all():
        return float(cells @ weights + bias)
    terms = zip(map(Fraction, cells), map(Fraction, weights), strict=True)
    try:
        return float(sum((c * v for c, v in terms), Fraction(float(bias))))
    except OverflowError:
        return float(cells @ weights + bias)


def ascending(cells, weights, bias):
    terms = [*(cells * weights), bias]
    return sum(sorted(terms, key=abs))


def compensated(cells, weights, bias):
    return math.fsum([*(cells * weights), bias])


for name, total, layer in (
    ("by_kahan", kahan, CONV),
    ("by_pairs", pairwise, CONV),
    ("by_fractions", exact, SMALL),
    ("by_size", ascending, CONV),
    ("by_fsum", compensated, CONV),
):
    RIGHT.forward("sums", f"sums {name.replace('_', ' ')}", layer, name=name)(by_products(total))


@forward("sums", "in long double, rounded once")
def in_long_double(right, x, w, b):
    return right.forward(*(a.astype(np.longdouble) for a in (x, w, b))).astype(float)


@implementation("sums", "forward and backward in long double, rounded once", STRIDED)
def all_in_long_double(right):
    def wide(function):
        def call(*three):
            results = function(*(a.astype(np.longdouble) for a in three))
            if isinstance(results, tuple):
                return tuple(result.astype(float) for result in results)
            return results.astype(float)

        return call

    return pair(wide(right.forward), wide(right.backward))


@implementation("sums", "in another order in every call", CONV)
def other_order_each_time(right):
    rng = np.random.default_rng()

    def forward(x, w, b):
        y = np.zeros((len(x), *right.layer.out_shape))
        for place, cells, weights, bias in products(right.layer, x, w, b):
            terms = np.append(cells * weights, bias)
            y[place] = sum(rng.permutation(terms))
        return y

    return pair(forward, right.backward)


@forward("sums", "in blocks of three products", CONV)
def in_blocks(right, x, w, b):
    flat, views = w.reshape(len(w), -1), windows(right.layer, x)
    columns = views.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), flat.shape[1], -1)
    y = 0
    for start in range(0, flat.shape[1], 3):
        y = y + flat[:, start : start + 3] @ columns[:, start : start + 3]
    return with_bias(y.reshape(len(x), *right.layer.out_shape), b)


@forward("geometry", "padded further than needed, then cropped", SAME)
def cropped(right, x, w, b):
    wide = np.pad(x, [(0, 0), (0, 0), (3, 3), (3, 3)])
    layer = cd.Conv((2, *wide.shape[2:]), out_channels=2, kernel=3)
    y = np.einsum("ncijkl,ockl->noij", windows(layer, wide), w)
    return with_bias(y[..., 2:-2, 2:-2], b)


@forward("geometry", "every window, then every second", STRIDED)
def subsampled(right, x, w, b):
    spans = np.lib.stride_tricks.sliding_window_view(padded(right.layer, x), (2, 3), axis=(2, 3))
    return with_bias(np.einsum("ncijkl,ockl->noij", spans, w)[..., ::2], b)


@forward("geometry", "a dilated kernel filled with zeros", DILATED)
def zeros_between(right, x, w, b):
    filled = np.zeros((*w.shape[:2], 5))
    filled[..., ::2] = w
    spans = np.lib.stride_tricks.sliding_window_view(x, 5, axis=2)
    return with_bias(np.einsum("ncik,ock->noi", spans, filled), b)


@forward("geometry", "group by group, joined", GROUPS)
def group_by_group(right, x, w, b):
    views = windows(right.layer, x)
    parts = [np.einsum("ncijkl,ockl->noij", views[:, g : g + 2], w[g : g + 2]) for g in (0, 2)]
    return with_bias(np.concatenate(parts, axis=1), b)


@forward("geometry", "groups as zeros in a dense kernel", GROUPS)
def groups_as_zeros(right, x, w, b):
    dense = np.zeros((4, 4, 2, 2))
    dense[:2, :2], dense[2:, 2:] = w[:2], w[2:]
    return with_bias(np.einsum("ncijkl,ockl->noij", windows(right.layer, x), dense), b)


@forward("geometry", "depthwise by multiplication", DEPTHWISE)
def depthwise(right, x, w, b):
    y = 0
    for i, j in np.ndindex(2, 2):
        y = y + w[:, 0, i, j][:, None, None] * x[..., i : i + 2, j : j + 3]
    return with_bias(y, b)


@forward("geometry", "circular by np.roll", CIRCULAR)
def rolled(right, x, w, b):
    y = 0 * x
    for i, j in np.ndindex(3, 3):
        y = y + w[0, 0, i, j] * np.roll(x, (1 - i, 1 - j), axis=(2, 3))
    return with_bias(y, b)


@forward("geometry", "reflected by np.pad", REFLECT)
def reflected(right, x, w, b):
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect")
    spans = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    return with_bias(np.einsum("ncijkl,ockl->noij", spans, w), b)


@forward("geometry", "reflected by indices", REFLECT)
def reflected_by_indices(right, x, w, b):
    wide = x[:, :, [1, *range(8), 6]][..., [1, *range(7), 5]]
    spans = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    return with_bias((spans * w[0, 0]).sum(axis=(-1, -2)), b)


@forward("geometry", "a kernel of 1 by a product of matrices", POINT)
def point_by_matmul(right, x, w, b):
    return with_bias((w[:, :, 0, 0] @ x.reshape(len(x), 1, 6)).reshape(x.shape), b)


@forward("geometry", "three axes by einsum", SOLID)
def three_axes(right, x, w, b):
    return with_bias(np.einsum("ncijkxyz,ocxyz->noijk", windows(right.layer, x), w), b)


@forward("geometry", "transposed by zeros between the cells", UP)
def zero_insertion(right, x, w, b):
    spread = np.zeros((len(x), 2, 3, 5))
    spread[..., ::2, ::2] = x
    wide = np.pad(spread, [(0, 0), (0, 0), (1, 1), (1, 1)])
    spans = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    return with_bias(np.einsum("ncijkl,cokl->noij", spans, w[..., ::-1, ::-1]), b)


@forward("geometry", "transposed by stamping the kernel", UP)
def stamped(right, x, w, b):
    full = np.zeros((len(x), 3, 5, 7))
    for i, j in np.ndindex(2, 3):
        full[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum(
            "nc,cokl->nokl", x[:, :, i, j], w
        )
    return with_bias(full[..., 1:-1, 1:-1], b)


@forward("geometry", "a local layer by loops", LOCAL)
def local_loops(right, x, w, b):
    y = np.zeros((len(x), *right.layer.out_shape))
    for i, j in np.ndindex(2, 2):
        y[:, 0, i, j] = (w[0, 0, i, j] * x[:, 0, i : i + 2, j : j + 2]).sum(axis=(1, 2))
    return y + b


@forward("geometry", "a linear layer by loops", LINEAR)
def linear_loops(right, x, w, b):
    y = np.zeros((len(x), 3)) + b
    for i in range(4):
        y += x[:, i : i + 1] * w[:, i]
    return y


# Backward


@backward("gradients", "dx is gathered: a full correlation with the turned kernel")
def gathered(right, x, w, dy):
    _, dw, db = right.backward(x, w, dy)
    wide = np.pad(dy, [(0, 0), (0, 0), (1, 1), (1, 1)])
    spans = np.lib.stride_tricks.sliding_window_view(wide, (2, 2), axis=(2, 3))
    return np.einsum("noijkl,ockl->ncij", spans, w[..., ::-1, ::-1]), dw, db


@backward("gradients", "dx is scattered, window by window", STRIDED)
def scattered_windows(right, x, w, dy):
    _, dw, db = right.backward(x, w, dy)
    wide = np.zeros((len(x), 1, 6, 8))
    for i, j in np.ndindex(dy.shape[2:]):
        wide[:, :, i : i + 2, 2 * j : 2 * j + 3] += np.einsum("no,ockl->nckl", dy[..., i, j], w)
    return wide[..., 1:-1, 1:-1], dw, db


@backward("gradients", "dx by np.add.at", SMALL)
def added_at(right, x, w, dy):
    _, dw, db = right.backward(x, w, dy)
    dx = np.zeros(x.shape)
    outs, taps, places = (np.array(part).T for part in zip(*indices(right.layer), strict=True))
    samples = np.arange(len(x))[:, None]
    terms = dy[samples, 0, outs[0], outs[1]] * w[0, 0, taps[0], taps[1]]
    np.add.at(dx, (samples, 0, places[0], places[1]), terms)
    return dx, dw, db


@backward("gradients", "dw by np.bincount", SMALL)
def counted(right, x, w, dy):
    dx, _, db = right.backward(x, w, dy)
    outs, taps, places = (np.array(part).T for part in zip(*indices(right.layer), strict=True))
    terms = (dy[:, 0, outs[0], outs[1]] * x[:, 0, places[0], places[1]]).sum(axis=0)
    return dx, np.bincount(2 * taps[0] + taps[1], terms, 4).reshape(w.shape), db


@backward("gradients", "one number at a time")
def backward_loops(right, x, w, dy):
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for n, o, c in np.ndindex(len(x), len(w), x.shape[1]):
        for out, tap, place in indices(right.layer):
            dx[(n, c, *place)] += w[(o, c, *tap)] * dy[(n, o, *out)]
            dw[(o, c, *tap)] += x[(n, c, *place)] * dy[(n, o, *out)]
    return dx, dw, dy.sum(axis=(0, 2, 3))


@backward("gradients", "dw sample by sample, last first")
def dw_by_samples(right, x, w, dy):
    dx, _, db = right.backward(x, w, dy)
    dw = np.zeros(w.shape)
    for n in reversed(range(len(x))):
        dw += np.einsum("cijkl,oij->ockl", windows(right.layer, x[n : n + 1])[0], dy[n])
    return dx, dw, db


@backward("gradients", "dw by a product of matrices", SAME)
def dw_by_matmul(right, x, w, dy):
    dx, _, db = right.backward(x, w, dy)
    columns = windows(right.layer, x).transpose(1, 4, 5, 0, 2, 3).reshape(18, -1)
    return dx, (dy.swapaxes(0, 1).reshape(2, -1) @ columns.T).reshape(w.shape), db


@backward("gradients", "db by a product with ones")
def db_by_ones(right, x, w, dy):
    dx, dw, _ = right.backward(x, w, dy)
    flat = dy.swapaxes(0, 1).reshape(dy.shape[1], -1)
    return dx, dw, flat @ np.ones(flat.shape[1])


@backward("gradients", "db by fsum")
def db_by_fsum(right, x, w, dy):
    dx, dw, _ = right.backward(x, w, dy)
    return dx, dw, np.array([math.fsum(dy[:, o].ravel()) for o in range(dy.shape[1])])


@backward("gradients", "dx and dw from the forward of basis vectors", SMALL)
def adjoint(right, x, w, dy):
    inputs = np.eye(x[0].size if len(x) else 9).reshape(-1, *right.layer.in_shape)
    matrix = right.forward(inputs, w, np.zeros(1)).reshape(len(inputs), -1)
    dx = (dy.reshape(len(dy), -1) @ matrix.T).reshape(x.shape)
    weights = np.eye(w.size).reshape(-1, *w.shape)
    dw = np.array([(right.forward(x, each, np.zeros(1)) * dy).sum() for each in weights])
    return dx, dw.reshape(w.shape), dy.sum(axis=(0, 2, 3))


@backward("gradients", "of a transposed layer: a convolution", UP)
def backward_of_transposed(right, x, w, dy):
    wide = np.pad(dy, [(0, 0), (0, 0), (1, 1), (1, 1)])
    spans = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))[..., ::2, ::2, :, :]
    dx = np.einsum("noijkl,cokl->ncij", spans, w)
    return dx, np.einsum("noijkl,ncij->cokl", spans, x), dy.sum(axis=(0, 2, 3))


@backward("gradients", "of groups, one by one", GROUPS)
def backward_of_groups(right, x, w, dy):
    _, _, db = right.backward(x, w, dy)
    dx, dw, views = np.zeros(x.shape), np.zeros(w.shape), windows(right.layer, x)
    for g in (0, 2):
        part = slice(g, g + 2)
        dw[part] = np.einsum("ncijkl,noij->ockl", views[:, part], dy[:, part])
        for i, j in np.ndindex(2, 2):
            height, width = slice(i, i + 2), slice(j, j + 3)
            dx[:, part, height, width] += np.einsum("noij,oc->ncij", dy[:, part], w[part, :, i, j])
    return dx, dw, db


@backward("gradients", "of a linear layer, by outer products", LINEAR)
def outer_products(right, x, w, dy):
    return dy @ w, np.einsum("no,ni->oi", dy, x), np.add.reduce(dy, axis=0)


# Containers and manners

MANNERS = "manners"


@implementation(MANNERS, "nested lists")
def lists(right):
    return pair(
        lambda *three: right.forward(*three).tolist() if len(three[0]) else right.forward(*three),
        lambda *three: [
            result.tolist() if result.size else result for result in right.backward(*three)
        ],
    )


@change("y", MANNERS, "a read-only result")
def read_only_result(y, x, w, b):
    y.flags.writeable = False


@change("dx", MANNERS, "a result in Fortran order", SAME)
def fortran_result(dx, x, w, dy):
    return np.asfortranarray(dx)


@change("y", MANNERS, "a view into a larger array of its own", STRIDED)
def view_of_its_own(y, x, w, b):
    large = np.full((*y.shape[:-1], y.shape[-1] + 2), 9.0)
    large[..., 1:-1] = y
    return large[..., 1:-1]


@change("dw", MANNERS, "a view with negative strides")
def reversed_result(dw, x, w, dy):
    return np.ascontiguousarray(dw[..., ::-1])[..., ::-1]


@change("db", MANNERS, "a list of floats", SMALL)
def list_of_floats(db, x, w, dy):
    return [float(number) for number in db]


@implementation(MANNERS, "gradients as a list", SMALL)
def list_of_gradients(right):
    return pair(right.forward, lambda *three: list(right.backward(*three)))


Gradients = namedtuple("Gradients", "dx dw db")


@implementation(MANNERS, "gradients as a named tuple", STRIDED)
def named_gradients(right):
    return pair(right.forward, lambda *three: Gradients(*right.backward(*three)))


@implementation(MANNERS, "copies all operands first")
def copies(right):
    return pair(
        lambda *three: right.forward(*(a.copy() for a in three)),
        lambda *three: right.backward(*(a.copy() for a in three)),
    )


@implementation(MANNERS, "writes to copies of its operands", SMALL)
def writes_to_copies(right):
    def forward(x, w, b):
        x = x.copy()
        y = right.forward(x, w, b)
        x[...] = 0
        return y

    return pair(forward, right.backward)


@implementation(MANNERS, "raises on a batch of 0")
def needs_a_sample(right):
    def some(function):
        def call(x, *more):
            if not len(x):
                raise ValueError("an empty batch")
            return function(x, *more)

        return call

    return pair(some(right.forward), some(right.backward))


@implementation(MANNERS, "raises on arrays that are not contiguous", STRIDED)
def needs_contiguous(right):
    def contiguous(function):
        def call(*three):
            if not all(a.flags.c_contiguous for a in three):
                raise ValueError("not contiguous")
            return function(*three)

        return call

    return pair(contiguous(right.forward), contiguous(right.backward))


@implementation(MANNERS, "raises on negative strides and read-only arrays", SMALL)
def needs_positive_strides(right):
    def positive(function):
        def call(*three):
            if any(stride < 0 for a in three for stride in a.strides):
                raise ValueError("negative strides")
            if not all(a.flags.writeable for a in three):
                raise ValueError("read-only")
            return function(*three)

        return call

    return pair(positive(right.forward), positive(right.backward))


@implementation(MANNERS, "a result kept by the contents of the operands")
def kept_by_contents(right):
    kept = {}

    def forward(*three):
        key = tuple((a.shape, a.tobytes()) for a in three)
        return kept.setdefault(key, right.forward(*three)).copy()

    return pair(forward, right.backward)


@implementation(MANNERS, "buffers of its own, results copied")
def copied_buffers(right):
    buffers = {}

    def forward(x, w, b):
        y = right.forward(x, w, b)
        buffer = buffers.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer.copy()

    return pair(forward, right.backward)


@implementation(MANNERS, "forward saves x, backward uses it if it is the same array and numbers")
def saved_and_checked(right):
    saved = []

    def forward(x, w, b):
        saved[:] = [x.copy()]
        return right.forward(x, w, b)

    def backward(x, w, dy):
        same = saved and saved[0].shape == x.shape and (saved[0] == x).all()
        return right.backward(saved[0] if same else x, w, dy)

    return pair(forward, backward)


@implementation(MANNERS, "chunks of four samples, and the remainder")
def chunks(right):
    def forward(x, w, b):
        parts = [right.forward(x[i : i + 4], w, b) for i in range(0, max(1, len(x)), 4)]
        return np.concatenate(parts)

    def backward(x, w, dy):
        starts = range(0, max(1, len(x)), 4)
        parts = [right.backward(x[i : i + 4], w, dy[i : i + 4]) for i in starts]
        dx, dw, db = zip(*parts, strict=True)
        return np.concatenate(dx), sum(dw), sum(db)

    return pair(forward, backward)


@implementation(MANNERS, "samples in a pool of threads", SMALL)
def threads(right):
    def forward(x, w, b):
        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(lambda i: right.forward(x[i : i + 1], w, b), range(len(x))))
        return np.concatenate([np.zeros((0, *right.layer.out_shape)), *parts])

    return pair(forward, right.backward)


@implementation(MANNERS, "channels last inside", STRIDED)
def channels_last_inside(right):
    def forward(x, w, b):
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return right.forward(np.moveaxis(last, -1, 1), w, b)

    return pair(forward, right.backward)


class Layer:
    """A layer as a class with state that counts its calls and keeps its last gradient."""

    def __init__(self, right):
        self.right, self.calls, self.grad = right, 0, None

    def forward(self, x, w, b):
        self.calls += 1
        return self.right.forward(x, w, b)

    def backward(self, x, w, dy):
        dx, self.grad, db = self.right.backward(x, w, dy)
        return dx, self.grad.copy(), db


@implementation(MANNERS, "an object with state")
def with_state(right):
    return Layer(right)


@implementation(MANNERS, "float32 code, judged in float32", dtype="float32")
def in_float32(right):
    def narrow(function):
        def call(*three):
            assert {a.dtype for a in three} == {np.dtype(np.float32)}
            return function(*three)

        return call

    return pair(narrow(right.forward), narrow(right.backward))


@forward(MANNERS, "einsum, judged in float32", STRIDED, dtype="float32")
def einsum_in_float32(right, x, w, b):
    return with_bias(np.einsum("ncijkl,ockl->noij", windows(right.layer, x), w), b)


@forward(MANNERS, "float64 inside, judged in float32", dtype="float32")
def float64_inside(right, x, w, b):
    y = right.forward(x.astype(float), w.astype(float), b.astype(float))
    with np.errstate(over="ignore"):
        return y.astype(np.float32)


# Pools

POOLS = "pools"
MIN = cd.MinPool((1, 4, 4), kernel=2)
MEAN3 = cd.AvgPool((1, 6), kernel=3)
SUM = cd.SumPool((1, 4, 4), kernel=2)
GLOBAL = cd.MaxPool((2, 3, 3), output=1)
UNEVEN = cd.MaxPool((1, 5), output=3)
PADDED = cd.AvgPool((1, 4, 4), kernel=3, stride=1, padding=1)
NORM = cd.LpPool((1, 4, 4), kernel=2, p=2)


def quarters(x):
    """Return the windows of kernel 2, (batch, channels, 2, 2, 4)."""
    views = x.reshape(*x.shape[:2], 2, 2, 2, 2).swapaxes(3, 4)
    return views.reshape(*x.shape[:2], 2, 2, 4)


def put_back(cells):
    batch, channels = cells.shape[:2]
    views = cells.reshape(batch, channels, 2, 2, 2, 2).swapaxes(3, 4)
    return views.reshape(batch, channels, 4, 4)


@forward(POOLS, "max by sliding windows", MAX)
def max_by_windows(right, x):
    views = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))[..., ::2, ::2, :, :]
    return views.max(axis=(-1, -2))


@forward(POOLS, "max by reshaping", MAX)
def max_by_reshape(right, x):
    return x.reshape(*x.shape[:2], 2, 2, 2, 2).max(axis=(3, 5))


@forward(POOLS, "max, cell by cell", MAX)
def max_by_loops(right, x):
    y = np.empty((*x.shape[:2], 2, 2))
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = max(x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel())
    return y


@forward(POOLS, "max by np.maximum, tap by tap", MAX)
def max_by_taps(right, x):
    rows = np.maximum(x[..., ::2, :], x[..., 1::2, :])
    return np.maximum(rows[..., ::2], rows[..., 1::2])


@forward(POOLS, "max by reduceat", MAX)
def max_by_reduceat(right, x):
    return np.maximum.reduceat(np.maximum.reduceat(x, [0, 2], axis=2), [0, 2], axis=3)


@forward(POOLS, "max by sorting", MAX)
def max_by_sorting(right, x):
    return np.sort(quarters(x), axis=-1)[..., -1]


@forward(POOLS, "max with a border of -inf", OVERLAP)
def max_with_border(right, x):
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3)).max(axis=(-1, -2))


@implementation(POOLS, "max by argmax and put_along_axis", MAX)
def max_by_argmax(right):
    def forward(x):
        views = quarters(x)
        return np.take_along_axis(views, views.argmax(-1)[..., None], -1)[..., 0]

    def backward(x, dy):
        views = quarters(x)
        cells = np.zeros_like(views)
        np.put_along_axis(cells, views.argmax(-1)[..., None], dy[..., None], -1)
        return put_back(cells)

    return pair(forward, backward)


@backward(POOLS, "winners by np.add.at, where windows overlap", OVERLAP)
def winners_added_at(right, x, dy):
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    place = views.reshape(*views.shape[:4], 9).argmax(-1)
    n, c, i, j = np.indices(place.shape)
    dx = np.zeros(wide.shape)
    np.add.at(dx, (n, c, i + place // 3, j + place % 3), dy)
    return dx[..., 1:-1, 1:-1]


@backward(POOLS, "winners, cell by cell", MAX)
def winners_by_loops(right, x, dy):
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dy.shape):
        window = x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        row, column = divmod(int(window.argmax()), 2)
        dx[n, c, 2 * i + row, 2 * j + column] += dy[n, c, i, j]
    return dx


@implementation(POOLS, "a smallest as the largest of -x", MIN)
def negated(right):
    largest = cd.MaxPool((1, 4, 4), kernel=2)
    right_of_largest = type(right)(largest)
    return pair(
        lambda x: -right_of_largest.forward(-x), lambda x, dy: right_of_largest.backward(-x, dy)
    )


@implementation(POOLS, "a global pool by argmax", GLOBAL)
def global_by_argmax(right):
    def backward(x, dy):
        flat = x.reshape(*x.shape[:2], 9)
        one_hot = np.arange(9) == flat.argmax(-1)[..., None]
        return np.where(one_hot, dy[..., 0], 0.0).reshape(x.shape)

    return pair(lambda x: x.max(axis=(2, 3), keepdims=True), backward)


@forward(POOLS, "windows of different size", UNEVEN)
def uneven_windows(right, x):
    parts = x[..., :2], x[..., 1:4], x[..., 3:]
    return np.stack([part.max(axis=-1) for part in parts], axis=-1)


@forward(POOLS, "max as a list", MAX)
def max_as_list(right, x):
    return right.forward(x).tolist() if len(x) else right.forward(x)


@implementation(POOLS, "max, judged in float32", MAX, dtype="float32")
def max_in_float32(right):
    return pair(right.forward, right.backward)


@forward(POOLS, "average by convolution", AVG)
def mean_by_convolution(right, x):
    views = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))[..., ::2, ::2, :, :]
    return np.einsum("ncijkl,kl->ncij", views, np.full((2, 2), 0.25))


@forward(POOLS, "average by np.mean", AVG)
def mean_by_mean(right, x):
    return quarters(x).mean(axis=-1)


@backward(POOLS, "average's dx by np.kron", AVG)
def mean_by_kron(right, x, dy):
    return np.kron(dy / 4, np.ones((1, 1, 2, 2)))


@backward(POOLS, "average's dx by repeating", AVG)
def mean_by_repeat(right, x, dy):
    return dy.repeat(2, axis=2).repeat(2, axis=3) / 4


@implementation(POOLS, "a third by multiplication", MEAN3)
def reciprocal(right):
    third = 1 / 3
    return pair(
        lambda x: x.reshape(*x.shape[:2], 2, 3).sum(-1) * third,
        lambda x, dy: (dy * third).repeat(3, axis=-1),
    )


@implementation(POOLS, "each cell divided before it is added", MEAN3)
def divided_first(right):
    return pair(lambda x: (x.reshape(*x.shape[:2], 2, 3) / 3).sum(-1), right.backward)


@forward(POOLS, "average with padding, by loops", PADDED)
def mean_by_loops(right, x):
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    y = np.zeros(x.shape)
    for i, j in np.ndindex(3, 3):
        y += wide[..., i : i + 4, j : j + 4]
    return y / 9


@implementation(POOLS, "sums, by fsum", SUM)
def sum_by_fsum(right):
    def forward(x):
        y = np.empty((*x.shape[:2], 2, 2))
        for place in np.ndindex(y.shape):
            y[place] = math.fsum(quarters(x)[place])
        return y

    return pair(forward, lambda x, dy: dy.repeat(2, axis=2).repeat(2, axis=3))


@forward(POOLS, "a norm by np.hypot", NORM)
def norm_by_hypot(right, x):
    return np.hypot.reduce(quarters(x), axis=-1)


# Right as a whole: transforms, and sums that cancel

TRANSFORM = "transform"


@NORMWISE.forward(TRANSFORM, "by fast Fourier transform")
def fft(right, x, w, b):
    sizes = x.shape[2:]
    product = np.einsum("ncij,ocij->noij", np.fft.rfft2(x), np.conj(np.fft.rfft2(w, sizes)))
    rows, columns = right.layer.out_spatial
    return with_bias(np.fft.irfft2(product, sizes)[..., :rows, :columns], b)


@NORMWISE.forward(TRANSFORM, "by fast Fourier transform, a small layer", SMALL)
def fft_of_small(right, x, w, b):
    product = np.fft.fft2(x) * np.conj(np.fft.fft2(w, (3, 3)))[:, 0]
    return with_bias(np.fft.ifft2(product).real[..., :2, :2], b)


@NORMWISE.forward(TRANSFORM, "scipy.signal.fftconvolve", SMALL)
def fftconvolve(right, x, w, b):
    return with_bias(scipy.signal.fftconvolve(x, w[..., ::-1, ::-1], "valid", axes=(2, 3)), b)


@NORMWISE.backward(TRANSFORM, "dw by Fourier transform over batch and pixels", SMALL)
def fft_of_dw(right, x, w, dy):
    dx, _, db = right.backward(x, w, dy)
    if not len(x):
        return dx, 0 * w, db
    product = np.fft.fft2(x) * np.conj(np.fft.fft2(dy, (3, 3)))
    return dx, np.fft.ifft2(product).real[..., :2, :2].sum(axis=0)[None], db


@NORMWISE.forward(TRANSFORM, "Winograd's F(2, 3)", cd.Conv((1, 4), out_channels=1, kernel=3))
def winograd(right, x, w, b):
    d, g = x[:, 0].T, w[0, 0]
    m1, m4 = (d[0] - d[2]) * g[0], (d[1] - d[3]) * g[2]
    m2 = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / 2)
    m3 = (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / 2)
    return np.stack([m1 + m2 + m3, m2 - m3 - m4], axis=-1)[:, None] + b[0]


def strassen_product(a, b):
    """Return the product of two matrices with even sides, by seven products of their blocks."""
    (a11, a12), (a21, a22) = (np.hsplit(rows, 2) for rows in np.vsplit(a, 2))
    (b11, b12), (b21, b22) = (np.hsplit(rows, 2) for rows in np.vsplit(b, 2))
    m1, m2 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11
    m3, m4 = a11 @ (b12 - b22), a22 @ (b21 - b11)
    m5, m6 = (a11 + a12) @ b22, (a21 - a11) @ (b11 + b12)
    m7 = (a12 - a22) @ (b21 + b22)
    return np.block([[m1 + m4 - m5 + m7, m3 + m5], [m2 + m4, m1 - m2 + m3 + m6]])


@NORMWISE.forward(TRANSFORM, "im2col and Strassen's product", cd.Conv((2, 3, 5), 2, kernel=2))
def strassen(right, x, w, b):
    columns = windows(right.layer, x).transpose(1, 4, 5, 0, 2, 3).reshape(8, -1)
    y = strassen_product(w.reshape(2, 8), columns).reshape(2, len(x), 2, 4)
    return with_bias(y.swapaxes(0, 1), b)


@NORMWISE.forward(TRANSFORM, "averages by running sums", MEAN3)
def running_sums(right, x):
    total = np.cumsum(x, axis=-1)
    return np.stack([total[..., 2], total[..., 5] - total[..., 2]], axis=-1) / 3


@NORMWISE.forward(TRANSFORM, "max as (a + b + |a - b|) / 2", MAX)
def tournament(right, x):
    cells = quarters(x)
    while cells.shape[-1] > 1:
        a, b = cells[..., ::2], cells[..., 1::2]
        cells = (a + b + abs(a - b)) / 2
    return cells[..., 0]
