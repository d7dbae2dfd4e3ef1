# %% [markdown]
# # Find the bug in this backward pass
#
# A convolution that someone wrote: forward is right, training goes down, and yet the backward pass
# is wrong. Where?

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np

import convdense as cd
from convdense import plots

conv = cd.Conv((1, 3, 4), out_channels=1, kernel=(2, 3), padding=((0, 0), (1, 0)))
padding = ((0, 0), (0, 0), (0, 0), (1, 0))


class Mine:
    def windows(self, x):  # (batch, in, rows, columns, 2, 3)
        return np.lib.stride_tricks.sliding_window_view(np.pad(x, padding), (2, 3), axis=(2, 3))

    def forward(self, x, w, b):
        return np.einsum("ncijkl,ockl->noij", self.windows(x), w) + b[:, None, None]

    def backward(self, x, w, dy):
        dx = np.zeros_like(np.pad(x, padding))
        for i, j in np.ndindex(
            dy.shape[2:]
        ):  # every output pixel hands its gradient on to its window
            dx[:, :, i : i + 2, j : j + 3] = np.einsum("no,ockl->nckl", dy[:, :, i, j], w)
        dw = np.einsum("ncijkl,noij->ockl", self.windows(x), dy)
        return dx[..., 1:], dw, dy.sum(axis=(0, 2, 3))


# %% [markdown]
# The verdict, exactly and on integers: `dx` is wrong, everything else is right.

# %%
certificate = cd.certify(conv, Mine(), seed=0)
print(certificate)

# %% [markdown]
# The mistake, named: of every mistake that people make, which one gives these very numbers?

# %%
diagnosis = cd.diagnose(conv, Mine())
print(diagnosis)

# %% [markdown]
# And shown. `dx` is a linear function of `dy`, so it is a dense layer, whatever the code looks
# like: `recover` finds its matrix by a few calls. It should be the convolution's matrix,
# transposed.

# %%
w = np.array([[[[1.0, 2, 3], [4, 5, 6]]]])
x = np.zeros((1, *conv.in_shape))


def input_gradient(dy):
    return Mine().backward(np.repeat(x, len(dy), axis=0), w, dy)[0]


expected = cd.TiedDense(cd.tie(conv).T, w)
found = cd.recover(input_gradient, conv.out_shape)
print(found)
print(found.compare(expected))

# %% [markdown]
# Every pixel that lies in several windows keeps the gradient of the last of them alone: `=` stands
# where `+=` is needed. Rows are pixels of `dx`, columns pixels of `dy`; every missing entry is a
# gradient that was overwritten.

# %%
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure = plots.difference(expected, found)
figure.savefig(pictures / "find_the_bug.png", dpi=110)

# %% [markdown]
# Repaired by one character, it is proven.


# %%
class Repaired(Mine):
    def backward(self, x, w, dy):
        _, dw, db = super().backward(x, w, dy)
        dx = np.zeros_like(np.pad(x, padding))
        for i, j in np.ndindex(dy.shape[2:]):
            dx[:, :, i : i + 2, j : j + 3] += np.einsum("no,ockl->nckl", dy[:, :, i, j], w)
        return dx[..., 1:], dw, db


assert [f.name for f in certificate.findings if f.refuted] == ["dx"]
assert "= where += is needed" in str(diagnosis)
difference = found.compare(expected)
assert (len(difference.missing), len(difference.extra), len(difference.wrong)) == (20, 0, 0)
assert cd.certify(conv, Repaired(), seed=0).require().exact
figure
