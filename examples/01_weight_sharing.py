# %% [markdown]
# # Weight sharing in a plain fully connected layer
#
# Two edges of an ordinary dense layer may carry *the same* weight, and some edges may be held at
# zero. Backpropagation needs nothing new for that: treat every edge as its own weight, then add up
# the gradients of the edges that share one.

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import convdense as cd
from convdense import plots

# Three inputs, two outputs. The numbers say which weight sits at which edge; -1 holds an edge at
# zero.
index = np.array([[0, 1, -1], [-1, 0, 1]])
ties = cd.TieMap.from_index(index)
w = np.array([2, -3])
layer = cd.TiedDense(ties, w)
print(layer.matrix.toarray())  # two weights in four places

# %% [markdown]
# The same numbers in an ordinary `Dense` layer, which has six independent weights and knows nothing
# of ties:

# %%
dense = cd.Dense(layer.matrix.toarray())
x, dy = np.array([[1, 4, -2]]), np.array([[5, -1]])
assert np.array_equal(dense.forward(x), layer.forward(x))

every_edge = dense.backward(x, dy).dw  # (2, 3): one gradient per edge
print(every_edge)

# %% [markdown]
# Weight 0 sits at edges (0, 0) and (1, 1), so its gradient is the sum of those two entries; weight
# 1 sits at (0, 1) and (1, 2). What was held at zero stays zero, and its gradient is thrown away.
# That is all.

# %%
by_hand = np.array([every_edge[0, 0] + every_edge[1, 1], every_edge[0, 1] + every_edge[1, 2]])
tied = layer.backward(x, dy).dw
print(by_hand, tied)
assert np.array_equal(by_hand, tied)

# %% [markdown]
# This little layer *is* a convolution: a kernel of two weights that slides over three inputs.
# Larger ones only have more copies of each weight.

# %%
conv = cd.Conv((1, 3), out_channels=1, kernel=2)
assert np.array_equal(cd.tie(conv).matrix(w.reshape(1, 1, 2)).toarray(), layer.matrix.toarray())
print(cd.equations(conv, bias=None))

# %%
figure = Figure(figsize=(8, 2.6), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1, 2))
plots.matrix(ties, left)
plots.matrix(cd.Conv((1, 6), out_channels=1, kernel=2), right)
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "weight_sharing.png", dpi=110)

# A convolution of any size, forward and backward, is such a layer: decided exactly, not to a
# tolerance.
assert cd.certify(cd.Conv((3, 7, 5), out_channels=4, kernel=(3, 2), stride=2, padding=1)).exact
figure
