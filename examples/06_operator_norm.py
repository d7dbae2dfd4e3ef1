# %% [markdown]
# # Operator norms, done right
#
# The operator norm of a layer is the largest singular value of its matrix. Three numbers go by that
# name: the true one; the one of the *circular* layer, which Fourier transforms give (Sedghi, Gupta
# and Long, 2019); and the norm of the kernel reshaped to (out, in * taps), which most
# `spectral_norm` implementations use and which is another number. `cd.norm_bounds` gives two
# numbers between which the true one lies, with a proof, rounding included.
#
# All of this takes half a minute on two idle cores, some minutes on busy ones, most of it for the
# large layer at the end.

# %%
# %matplotlib inline
import os
import tracemalloc
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from scipy.sparse.linalg import svds

import convdense as cd
from convdense import plots


def true_norm(conv, w, **options):
    """Return the largest singular value of the layer, stored or not."""
    A = cd.tie(conv).operator(w)
    first = (
        np.random.default_rng(0).normal(size=min(A.shape)).astype(A.dtype)
    )  # so that every run prints the same
    return svds(A, k=1, v0=first, return_singular_vectors=False, **options)[0]


def circular_norm(w, sizes):
    """Return that of the circular layer of these sizes: the largest over all frequencies."""
    spectrum = np.fft.fftn(w, sizes, axes=range(2, w.ndim))  # (out, in, *sizes)
    return np.linalg.norm(np.moveaxis(spectrum, (0, 1), (-2, -1)), 2, axis=(-2, -1)).max()


def reshaped_norm(w):
    return np.linalg.norm(w.reshape(len(w), -1), 2)


# %% [markdown]
# Two published filters, to 13 of their published digits.

# %%
line = np.array([[[2.0, 7, -1]]])
square = np.array([[[[2.0, 7, -1], [1, 3, -8], [5, -3, 1]]]])


def layer(*sizes, **options):
    return cd.Conv((1, *sizes), out_channels=1, kernel=3, **options)


circular = {"padding": 1, "padding_mode": "circular"}
norms = {
    "[2, 7, -1], n = 20, circular, by FFT": (circular_norm(line, (20,)), 8.005633637867117),
    "[2, 7, -1], n = 20, circular, by svds": (
        true_norm(layer(20, **circular), line),
        8.005633637867117,
    ),
    "3x3, n = 20, circular, by FFT": (circular_norm(square, (20, 20)), 22.9122134817051),
    "3x3, n = 20, circular, by svds": (
        true_norm(layer(20, 20, **circular), square),
        22.9122134817051,
    ),
    '3x3, n = 20, zero padding, "same"': (
        true_norm(layer(20, 20, padding="same"), square),
        22.727533019959868,
    ),
    '3x3, n = 20, no padding, "valid"': (true_norm(layer(20, 20), square), 22.67943198452078),
    "3x3, reshaped kernel": (reshaped_norm(square), 12.767145334803706),
    "3x3, n = 12, stride 1": (true_norm(layer(12, 12, padding=1), square), 22.286429191708557),
    "3x3, n = 12, stride 2": (
        true_norm(layer(12, 12, padding=1, stride=2), square),
        13.742008925316961,
    ),
    "3x3, n = 12, stride 3": (
        true_norm(layer(12, 12, padding=1, stride=3), square),
        12.767145334803704,
    ),
}
for name, (norm, published) in norms.items():
    print(f"{name:<40}{norm:.13g}")
    assert f"{norm:.13g}" == f"{published:.13g}", name

# %% [markdown]
# The reshaped kernel is not even an upper bound: a layer normalised by it can stretch its input
# almost twice as far. The circular value bounds the zero-padded one from above at stride 1 (padding
# a larger circle with zeros is the same layer), and the true norm comes up to it as the image
# grows.

# %%
sizes = [3, 4, 5, 6, 8, 10, 12, 16, 20, 28, 40]
true = [true_norm(layer(n, n, padding=1), square) for n in sizes]
wide = circular_norm(square, (512, 512))  # over (almost) every frequency
figure = Figure(figsize=(7, 4.2), layout="constrained")
axes = figure.subplots()
axes.axhline(wide, color="0.4", linestyle="--")
axes.text(40, wide + 0.2, "largest over all frequencies", ha="right")
axes.plot(sizes, true, "o-", color="#332288")
axes.text(17, true[-4] - 0.5, "true norm, zero padding (svds)", color="#332288", va="top")
axes.axhline(reshaped_norm(square), color="#882255")
axes.text(40, reshaped_norm(square) + 0.25, "reshaped kernel", color="#882255", ha="right")
axes.set(ylim=(11, 25), xlabel="image size n", ylabel="norm")
axes.set_title("3x3 filter [[2, 7, -1], [1, 3, -8], [5, -3, 1]] on n x n")
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "operator_norm.png", dpi=110)
assert np.all(np.diff(true) > 0)
assert true[-1] < wide
figure

# %% [markdown]
# What each of them says of some layers with random weights, for whose norm there is a proof: of
# `spectral_norm` (PyTorch's works on the reshaped kernel: pytorch#13505, #99149) neither side of
# the truth is sure, nor is it of the circular layer where the padding is another one or the kernel
# takes steps. Of 20 x 20 cells and 3 channels a Cholesky factorisation of u^2 I - A^T A proves that
# u is above the norm.

# %%
rng = np.random.default_rng(1)
columns = ("lower", "upper", "circular", "reshaped")
print(f"{'3 -> 3 channels, 3x3, 20 x 20':<36}" + "".join(f"{name:>10}" for name in columns))
said = {}
for name, options in {
    "zero padding": {"padding": 1},
    "no padding": {},
    "circular": circular,
    "reflect": {"padding": 1, "padding_mode": "reflect"},
    "replicate, 4 cells, dilation 4": {"padding": 4, "padding_mode": "replicate", "dilation": 4},
    "stride 2": {"padding": 1, "stride": 2},
    "depthwise": {"padding": 1, "groups": 3},
}.items():
    conv = cd.Conv((3, 20, 20), out_channels=3, kernel=3, **options)
    v = rng.normal(size=conv.weight_shape) + 0.5
    bounds = cd.norm_bounds(conv, v)
    dense = v if conv.groups == 1 else v * np.eye(3)[:, :, None, None]  # 0 between groups
    said[name] = (*bounds, circular_norm(dense, (20, 20)), reshaped_norm(v))
    print(f"{name:<36}" + "".join(f"{number:10.4f}" for number in said[name]))
    assert bounds.upper < (1 + 1e-8) * bounds.lower

assert all(reshaped < 0.9 * lower for lower, _, _, reshaped in said.values())
assert said["circular"][0] * (1 - 1e-12) <= said["circular"][2] <= said["circular"][1] * (1 + 1e-12)
assert said["reflect"][2] < said["reflect"][0]  # too low
assert said["stride 2"][2] > 1.2 * said["stride 2"][1]  # far too high

# %% [markdown]
# A layer whose matrix does not fit: 64 to 64 channels at 224 x 224 has 1.8 * 10^9 entries, 14.7 GB.
# Its norm needs no matrix: the upper bound is the largest norm of the symbol, the channels' matrix
# at one frequency. And its matrix can be gone through block by block. The weights are
# multiples of 1/64, so the sums are exact.

# %%
n = int(os.environ.get("CONVDENSE_EXAMPLE_SIZE", "224"))
large = cd.Conv((64, n, n), out_channels=64, kernel=3, padding=1)
ties = cd.tie(large)
rng = np.random.default_rng(0)
w = (rng.integers(-4, 12, large.weight_shape) / 64).astype(np.float32)
tracemalloc.start()
start = perf_counter()
print(f"{large!r}: {ties.n_entries:,} entries")
bounds = cd.norm_bounds(large, w)
print(f"  true norm, at least          {bounds.lower:.2f}   in {perf_counter() - start:.1f} s")
print(f"  and at most                  {bounds.upper:.2f}   by the {bounds.how}")
print(f"  reshaped kernel              {reshaped_norm(w):.2f}")

start = perf_counter()
x = rng.integers(-4, 4, ties.shape[1]).astype(np.float32)
total, y = 0.0, np.empty(ties.shape[0], np.float32)
for rows, block in ties.blocks(w, max_bytes=1 << 28):
    total += block.data.sum(dtype=np.float64)
    y[rows] = block @ x
print(f"  sum of all entries           {total}   in {perf_counter() - start:.1f} s")
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
print(f"  peak memory                  {peak / 1e9:.2f} GB")

# %% [markdown]
# Nobody can draw so many entries one by one. Every one of them is counted, in bins that follow the
# channels; grey is zero. Two places are drawn cell by cell.

# %%
density = plots.density(large)
density.savefig(pictures / "large_layer.png")

# %% [markdown]
# The same sum from the multiplicities alone (each weight times its number of copies), and the same
# product without the matrix: to the last bit.

# %%
assert bounds.lower > 2 * reshaped_norm(w)
assert bounds.upper < 1.05 * bounds.lower
assert total == (ties.counts().weights * w.astype(np.float64)).sum()
assert np.array_equal(y, ties.operator(w) @ x)
assert peak < 2e9
density
