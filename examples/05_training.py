# %% [markdown]
# # Training is the same training
#
# A small LeNet on real handwritten digits, trained twice from the same start: as tied dense layers
# and |x|, and by direct convolution and argmax pooling. Then without the ties, and without the
# mask: what do they do?

# %%
# %matplotlib inline
import os
import sys
from math import prod
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import convdense as cd
from convdense.training import train

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit(
        "This example needs scikit-learn for its digits: "
        "pip install '.[examples]' in a clone of convdense"
    )

digits = load_digits()  # 1,797 digits of 8 x 8 pixels, offline
x, labels = digits.images[:, None] / 16, digits.target
order = np.random.default_rng(0).permutation(len(x))
train_set, test_set = order[:1347], order[1347:]


def lenet(seed, dtype="float64"):
    return cd.network(
        cd.Conv((1, 8, 8), out_channels=16, kernel=3, padding=1),
        cd.ReLU(),
        cd.MaxPool((16, 8, 8), kernel=2),
        cd.Conv((16, 4, 4), out_channels=32, kernel=3, padding=1),
        cd.ReLU(),
        cd.AvgPool((32, 4, 4), kernel=2),
        cd.Flatten(),
        cd.Linear(128, out_features=10),
        seed=seed,
        dtype=dtype,
    )


def epochs(net, x, first, then, seed):
    """Train with a larger rate, then a smaller one; yield network and loss after each epoch."""
    for count, rate in ((first, 0.05), (then, 0.01)):
        for epoch in train(net, x, labels[train_set], epochs=count, rate=rate, seed=seed):
            net = epoch.network
            yield epoch


def accuracy(net, x, labels):
    return np.mean(net.forward(x).argmax(axis=1) == labels)


# %% [markdown]
# Both networks hold the same parameters and see the same batches; one never builds a matrix, the
# other never slides a window.

# %%
dense = lenet(seed=0)
direct = dense.direct()
print(dense)
start = perf_counter()
losses, differences = [], []
n_fast, n_slow = map(int, os.environ.get("CONVDENSE_EXAMPLE_EPOCHS", "12 6").split())
pairs = zip(
    *(epochs(net, x[train_set], n_fast, n_slow, seed=0) for net in (dense, direct)), strict=True
)
for a, b in tqdm(pairs, total=n_fast + n_slow):
    dense, direct = a.network, b.network
    losses.append((a.loss, b.loss))
    differences.append(
        max(np.abs(p - direct.parameters[name]).max() for name, p in dense.parameters.items())
    )
head = f"{'epoch':>5}  {'loss, dense layers':>18}  {'loss, direct':>18}"
print(f"\n{head}  largest parameter difference")
for i, ((first, second), difference) in enumerate(zip(losses, differences, strict=True)):
    print(f"{i + 1:>5}  {first:>18.15f}  {second:>18.15f}  {difference:.1e}")
scores = [accuracy(net, x[test_set], labels[test_set]) for net in (dense, direct)]
print(f"test accuracy {scores[0]:.2%} and {scores[1]:.2%}; {perf_counter() - start:.0f} s")

# %% [markdown]
# A convolution is a dense layer with two constraints. *Untied*: the same mask, every edge its own
# weight. *Unmasked*: every edge free. Both start as exactly the same function. The digits they are
# tested on come centred, as in training, and shifted by one pixel.


# %%
class Reshape:
    """Flattened features back to channels and pixels: a network takes anything with these four."""

    def __init__(self, in_shape, out_shape):
        self.in_shape, self.out_shape = in_shape, out_shape

    def forward(self, x):
        return x.reshape(len(x), *self.out_shape)

    def backward(self, x, dy):
        return dy.reshape(x.shape)


def untied(net):
    """Return the network with the convolutions' masks but no ties: a kernel for every window."""

    def local(tied):
        conv = tied.layer
        layer = cd.LocallyConnected(
            conv.in_shape, conv.out_channels, conv.kernel, padding=conv.padding
        )
        w = np.broadcast_to(
            tied.w[:, :, None, None], layer.weight_shape
        )  # (out, in, *out_axes, *kernel)
        return cd.TiedDense(layer, w, np.broadcast_to(tied.b[:, None, None], layer.bias_shape))

    return cd.network(
        *(local(layer) if isinstance(layer, cd.TiedDense) else layer for layer in net.layers)
    )


def unmasked(net):
    """Return the network with the convolutions as ordinary dense layers, zeros free to grow."""
    layers = []
    for layer in net.layers:
        if isinstance(layer, cd.TiedDense):
            bias = np.repeat(layer.b, prod(layer.out_shape[1:]))
            dense = cd.Dense(layer.matrix.toarray(), bias)
            layers += [cd.Flatten(layer.in_shape), dense, Reshape(dense.out_shape, layer.out_shape)]
        else:
            layers.append(layer)
    return cd.network(*layers)


def shifted(x):
    """Return x moved by one pixel in each of four directions, zeros moving in."""
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return np.concatenate(
        [wide[:, :, r : r + 8, c : c + 8] for r, c in ((0, 1), (2, 1), (1, 0), (1, 2))]
    )


seeds = range(int(os.environ.get("CONVDENSE_EXAMPLE_SEEDS", "5")))
small = x.astype(np.float32)
kinds = {"tied": lambda net: net, "untied": untied, "unmasked": unmasked}
found = {name: [] for name in kinds}
sizes = {}
for seed, (name, kind) in tqdm([(seed, kind) for seed in seeds for kind in kinds.items()]):
    net = kind(lenet(seed, "float32"))
    sizes[name] = sum(p.size for p in net.parameters.values())
    *_, last = epochs(net, small[train_set], n_fast // 2, n_slow // 3, seed)
    centred = accuracy(last.network, small[test_set], labels[test_set])
    found[name].append(
        (centred, accuracy(last.network, shifted(small[test_set]), np.tile(labels[test_set], 4)))
    )

head = f"{len(seeds)} seeds, mean and range   parameters  {'centred':<23}"
print(f"\n{head}  shifted by a pixel")
for name, pairs in found.items():
    columns = [f"{np.mean(v):.1%} ({min(v):.1%} to {max(v):.1%})" for v in zip(*pairs, strict=True)]
    print(f"{name:<26} {sizes[name]:>11,}  {columns[0]}  {columns[1]}")

# %%
figure = Figure(figsize=(12, 4), layout="constrained")
a, b, c = figure.subplots(1, 3)
numbers = range(1, len(losses) + 1)
a.plot(
    numbers,
    [first for first, _ in losses],
    "-",
    color="#332288",
    lw=4,
    alpha=0.4,
    label="tied dense layers and |x|",
)
a.plot(
    numbers,
    [second for _, second in losses],
    "--",
    color="#882255",
    label="direct convolution, argmax pooling",
)
a.set(title="the same loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
a.legend(fontsize=8)
b.semilogy(numbers, differences, "o-", color="#117733")
b.set(title="largest difference between parameters", xlabel="epoch", ylim=(1e-17, 1e-10))
b.axhline(np.finfo(float).eps, color="0.5", linestyle=":")
b.text(
    len(differences),
    1.2 * np.finfo(float).eps,
    "spacing of floats at 1",
    ha="right",
    va="bottom",
    fontsize=8,
)
for i, pairs in enumerate(found.values()):
    for j, (values, colour) in enumerate(
        zip(zip(*pairs, strict=True), ("#332288", "#CC6677"), strict=True)
    ):
        c.plot([i + 0.2 * j - 0.1] * len(values), values, "o", color=colour, alpha=0.6)
        c.text(
            i + 0.2 * j - 0.05, np.mean(values), f"{np.mean(values):.0%}", fontsize=8, va="center"
        )
c.set_xticks(
    range(len(kinds)), [f"{name}\n{sizes[name]:,}\nparameters" for name in kinds], fontsize=8
)
c.set(title="test accuracy, one dot a seed", xlim=(-0.5, 2.7))
c.plot([], [], "o", color="#332288", label="centred, as in training")
c.plot([], [], "o", color="#CC6677", label="shifted by a pixel")
c.legend(fontsize=8, loc="center")
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "training.png", dpi=110)

# No bound is derived through 400 steps: this says that what was seen, 1e-15, is not just one
# machine's.
assert max(differences) < 1e-10
assert min(scores) >= 0.97
figure
