# %% [markdown]
# # Pooling is dense layers and |x|
#
# Average pooling is a dense layer whose weights are fixed. Max pooling is not linear, but `max(x,
# y) = (x + y + |x - y|) / 2`: a dense layer, absolute values, and a dense layer. Here are their
# matrices.

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np

import convdense as cd
from convdense import plots
from convdense.layers.dense_form import Absolute, Affine, dense_steps

average = cd.dense_pool(cd.AvgPool((1, 4), kernel=2, stride=1, padding=1, count_include_pad=False))
print(average.matrix().toarray())  # a window over the edge has fewer cells, and another divisor

# %% [markdown]
# A tournament: each pair of neighbours gives half its sum and half its difference; |.| is taken of
# the differences; sum plus |difference| is the larger one. Levels repeat until every window has one
# cell left.

# %%
pool = cd.MaxPool((1, 2, 4), kernel=2)
layer = cd.dense_pool(pool)
x = np.array([[[3, 1, -2, -2], [0, 3, -5, -2]]])
value = x.reshape(1, -1).astype(float)
print("x", value[0])
for step in dense_steps(layer):
    value = step.forward(value)
    if isinstance(step, Affine):
        print(f"\nW =\n{step.W.toarray()}\nW x = {value[0]}")
    elif isinstance(step, Absolute):
        print(f"\n|x| on {np.flatnonzero(step.mask)}: {value[0]}")
assert np.array_equal(value.ravel(), layer.forward(x).ravel())
assert layer.forward(x).ravel().tolist() == [3, -2]

# %% [markdown]
# Backward is plain backpropagation through these layers: transposed matrices, and signs where |.|
# was taken. With slope +1 at |0| the first of several largest cells takes the gradient, as in the
# frameworks; with slope 0 they share.

# %%
dy = np.array([[[10.0, 20.0]]])
first, split = layer.backward(x, dy), cd.dense_pool(pool, tie_break="split").backward(x, dy)
print(first)
print(split)
assert first.tolist() == [[[10, 0, 20, 0], [0, 0, 0, 0]]]
assert split.sum() == first.sum()

# %% [markdown]
# Absent cells are dropped, never filled with 0 or -inf: windows at the edge are simply smaller, and
# a cell without a partner goes on to the next level.

# %%
ragged = cd.dense_pool(cd.MaxPool((1, 5), kernel=3, stride=2, padding=1))
print(ragged.forward(-1.0 - np.arange(5)[None]))
assert cd.certify(ragged.pool).exact

# %% [markdown]
# The whole tournament in one picture: below each matrix stands what enters it, beside it what
# leaves it, |.| taken.

# %%
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure = plots.pooling(pool, x)
figure.savefig(pictures / "pooling.png", dpi=110)

assert cd.certify(pool).require().exact
figure
