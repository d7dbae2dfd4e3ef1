# %% [markdown]
# # Your own layer
#
# You have written a convolution or a pool, with a backward pass. Is it right, and if not, what is
# wrong? `certify` and `diagnose` take an object with `forward(x, w, b)` and `backward(x, w, dy) ->
# (dx, dw, db)`, or two such functions. Most code has another signature. Here is each common one,
# and the few lines that wrap it.

# %%
# %matplotlib inline
import importlib.util
from collections import Counter
from functools import partial
from pathlib import Path
from unittest import SkipTest

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import convdense as cd
from convdense.testing import (
    cases,
    channels_last,
    conv_checks,
    from_cache,
    only_options,
    without_bias,
)

conv = cd.Conv(
    (3, 7, 6), out_channels=4, kernel=(3, 2), stride=2, padding=1
)  # asymmetric: equal sizes hide mistakes

# %% [markdown]
# ## Two functions and a cache
#
# The signature of a well-known course: `forward(x, w, b, conv_param) -> (out, cache)`,
# `backward(dout, cache)`.


# %%
def conv_forward_naive(x, w, b, conv_param):
    s, p = conv_param["stride"], conv_param["pad"]
    (N, _, H, W), (F, _, HH, WW) = x.shape, w.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    out = np.zeros((N, F, 1 + (H + 2 * p - HH) // s, 1 + (W + 2 * p - WW) // s))
    for i, j in np.ndindex(out.shape[2:]):
        window = x_pad[:, None, :, i * s : i * s + HH, j * s : j * s + WW]  # (N, 1, C, HH, WW)
        out[:, :, i, j] = (window * w).sum(axis=(2, 3, 4)) + b
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, _, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    (_, _, HH, WW), (_, _, H, W) = w.shape, x.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dx_pad, dw = np.zeros_like(x_pad), np.zeros_like(w)
    for i, j in np.ndindex(dout.shape[2:]):
        here = (..., slice(i * s, i * s + HH), slice(j * s, j * s + WW))
        dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], x_pad[here])
        dx_pad[here] += np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
    return dx_pad[:, :, p : p + H, p : p + W], dw, dout.sum(axis=(0, 2, 3))


def course(layer, backward=conv_backward_naive):
    stride, pad = only_options(
        layer, "stride", "padding", axes=2
    )  # NotImplementedError for what it has no option for
    forward = partial(conv_forward_naive, conv_param={"stride": stride, "pad": pad})
    return from_cache(layer, forward, backward)


print(cd.certify(conv, course(conv), seed=0).require())

# %% [markdown]
# ## What a student wrote
#
# Two lines are wrong: `=` where `+=` is needed, and a mean where the gradient is a sum. No
# tolerance hides them, and `diagnose` says which they are.


# %%
def students_backward(dout, cache):
    x, w, _, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    (_, _, HH, WW), (_, _, H, W) = w.shape, x.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dx_pad, dw = np.zeros_like(x_pad), np.zeros_like(w)
    for i, j in np.ndindex(dout.shape[2:]):
        here = (..., slice(i * s, i * s + HH), slice(j * s, j * s + WW))
        dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], x_pad[here])
        dx_pad[here] = np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
    return dx_pad[:, :, p : p + H, p : p + W], dw, dout.sum(axis=(2, 3)).mean(axis=0)


diagnosis = cd.diagnose(conv, course(conv, students_backward))
print(diagnosis)
assert diagnosis["dx"].sentence.startswith("= where += is needed")
assert diagnosis["db"].sentence == "the mean over the batch is taken for the sum"
assert {e.name for e in diagnosis.explanations} == {"dx", "db"}  # and dw is right

# %% [markdown]
# ## No bias, and another order of the arguments
#
# `without_bias` adds the bias, so that the rest can be judged; `db` is then not judged. An order is
# a lambda.


# %%
def correlate(kernel, image):
    return cd.convolve(conv, image, kernel)  # stands for your code


def correlate_backward(upstream, kernel, image):
    dx, dw, _ = cd.convolve_backward(conv, image, kernel, upstream)
    return dw, dx


mine = without_bias(
    (
        lambda x, w: correlate(w, x),
        lambda x, w, dy: correlate_backward(dy, w, x)[::-1],
    )  # (dw, dx) turned round
)
assert [f.name for f in cd.certify(conv, mine).require().findings] == ["y", "dx", "dw"]

# %% [markdown]
# ## A class that holds its weights
#
# Hand the weights over, run `forward` again so that its cache is of this call, and read the
# gradients off.


# %%
class ConvLayer:
    def __init__(self, weight, bias, stride, pad):
        self.weight, self.bias, self.param = weight, bias, {"stride": stride, "pad": pad}

    def forward(self, x):
        out, self.cache = conv_forward_naive(x, self.weight, self.bias, self.param)
        return out

    def backward(self, dout):
        dx, self.grad_weight, self.grad_bias = conv_backward_naive(dout, self.cache)
        return dx


class Stateless:
    def __init__(self, layer):
        self.inner = ConvLayer(None, None, *only_options(layer, "stride", "padding", axes=2))
        self.no_bias = np.zeros(layer.bias_shape)

    def forward(self, x, w, b):
        self.inner.weight, self.inner.bias = w, b
        return self.inner.forward(x)

    def backward(self, x, w, dy):
        self.forward(x, w, self.no_bias)  # no gradient depends on the bias
        return self.inner.backward(dy), self.inner.grad_weight, self.inner.grad_bias


cd.certify(conv, Stateless(conv)).require()

# %% [markdown]
# ## Channels last, weights (kh, kw, in, out)
#
# As in Keras. `channels_last` hands every array over in that order, and takes the results back.


# %%
def keras_like(layer):
    (sh, sw), (kh, kw), pads = layer.stride, layer.kernel, ((0, 0), *layer.padding, (0, 0))

    def windows(padded):
        views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        return views[:, ::sh, ::sw]  # (n, oh, ow, in, kh, kw)

    def forward(x, w, b):
        return np.einsum("nijchw,hwco->nijo", windows(np.pad(x, pads)), w) + b

    def backward(x, w, dy):
        padded = np.pad(x, pads)
        dw, rim = np.einsum("nijchw,nijo->hwco", windows(padded), dy), np.zeros_like(padded)
        for h, v in np.ndindex(kh, kw):
            rows, columns = (
                slice(t, t + s * n, s) for t, s, n in ((h, sh, dy.shape[1]), (v, sw, dy.shape[2]))
            )
            rim[:, rows, columns] += dy @ w[h, v].T
        (top, _), (left, _) = layer.padding
        return rim[:, top : top + x.shape[1], left : left + x.shape[2]], dw, dy.sum(axis=(0, 1, 2))

    return channels_last((forward, backward), weights="HWIO")


cd.certify(conv, keras_like(conv)).require()

# %% [markdown]
# ## A function with autograd
#
# PyTorch's own backward pass, or one of yours in a `torch.autograd.Function`; whole models:
# `certify_model`.

# %%
if importlib.util.find_spec("torch") is not None:
    import torch

    from convdense.adapters.torch import implementation

    mine = implementation(lambda x, w, b: torch.nn.functional.conv2d(x, w, b, stride=2, padding=1))
    cd.certify(conv, mine, method="random").require()

# %% [markdown]
# ## A pool with a cache


# %%
def pool_forward(x, pool_param):
    h, v, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    views = np.lib.stride_tricks.sliding_window_view(x, (h, v), axis=(2, 3))[:, :, ::s, ::s]
    flat = views.reshape(*views.shape[:4], -1)  # (n, c, oh, ow, h * v)
    return flat.max(axis=-1), (x.shape, flat.argmax(axis=-1), pool_param)


def pool_backward(dout, cache):
    shape, winner, pool_param = cache
    dx = np.zeros(shape)
    n, c, i, j = np.indices(dout.shape)
    row, column = np.divmod(winner, pool_param["pool_width"])
    np.add.at(dx, (n, c, i * pool_param["stride"] + row, j * pool_param["stride"] + column), dout)
    return dx


pool = cd.MaxPool((3, 7, 8), kernel=(3, 2), stride=2)
param = {"pool_height": 3, "pool_width": 2, "stride": 2}
print(
    cd.certify(
        pool, from_cache(pool, partial(pool_forward, pool_param=param), pool_backward), seed=0
    ).require()
)

# %% [markdown]
# ## A whole test suite
#
# One geometry can hide a mistake: where windows do not overlap nothing is added up, and `=` is as
# good as `+=`. `convdense.testing` has a table of small, asymmetric geometries. In a test file:
#
#     from convdense.testing import parametrize_with_conv_checks
#
#     @parametrize_with_conv_checks(course, expected_failed_checks={"conv-padded-dx": "not yet"})
#     def test_my_layer(check):
#         check()
#
# On the command line, for one layer:
#
#     convdense certify --input 3x7x6 --kernel 3x2 --out-channels 4 --implementation mylayers:course
#
# And without pytest, as here, a loop:

# %%
count = Counter()
for check in conv_checks(course):
    try:
        check()
        count["passed"] += 1
    except SkipTest:
        count["not implemented"] += 1
print(dict(count))

# %% [markdown]
# The student's backward pass on the same table. `dx` is right on two geometries, `db` on one: never
# test only those.

# %%
shown, verdicts = [], []
for case in cases("conv"):
    try:
        certificate = cd.certify(
            case.layer, course(case.layer, students_backward), batch=case.batch, method="random"
        )
    except NotImplementedError:
        continue
    shown.append(case.name.removeprefix("conv-"))
    verdicts.append([certificate[name].holds for name in ("y", "dx", "dw", "db")])
held = dict(zip(shown, verdicts, strict=True))

figure = Figure(figsize=(7, 3.2), layout="constrained")
axes = figure.subplots()
axes.pcolormesh(
    np.transpose(verdicts),
    cmap=ListedColormap(["#cc6677", "#88ccee"]),
    vmin=0,
    vmax=1,
    edgecolors="white",
)
axes.set_xticks(np.arange(len(shown)) + 0.5, shown, rotation=45, ha="right")
axes.set_yticks(np.arange(4) + 0.5, ["forward", "dx", "dw", "db"])
axes.invert_yaxis()
for row, column in np.argwhere(~np.transpose(verdicts)):
    axes.text(column + 0.5, row + 0.5, "wrong", ha="center", va="center", fontsize=6)
axes.set_title("One backward pass with = for += and a mean for a sum: where it shows")
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "your_own_layer.png", dpi=110)

assert count["passed"] == 5 * len(shown)  # y, dx, dw, db and behaviour, wherever it has the options
dx_right = [name for name, row in held.items() if row[1]]
assert dx_right == ["kernel-1", "kernel-covers-input"]  # there no cell is in two windows
assert not any(
    row[3] for name, row in held.items() if name != "one-sample"
)  # the mean of one is its sum
assert all(row[0] and row[2] for row in verdicts)
figure
