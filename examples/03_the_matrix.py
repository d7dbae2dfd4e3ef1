# %% [markdown]
# # The matrix
#
# A convolution as a matrix: who sits where, which block is which, and what stride, padding and
# groups do to it.

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import convdense as cd
from convdense import plots
from convdense.claims.toeplitz import block_circulant, block_toeplitz

conv = cd.Conv((1, 4, 5), out_channels=1, kernel=(3, 2), padding=((1, 1), (0, 1)))
ties = cd.tie(conv)
w = np.arange(1, 7).reshape(conv.weight_shape)
A = ties.matrix(w)
print(ties)
print(A.toarray())

# %% [markdown]
# One row is one output: the window, spread over the flattened input. One weight has many copies.

# %%
row = ties.row((0, 1, 2))  # channel 0, row 1, column 2
print("output (0, 1, 2) reads inputs", row.col, "through weights", row.index)
copies = ties.copies((0, 0, 1, 0))
print(
    "weight (0, 0, 1, 0) sits at", list(zip(copies.row.tolist(), copies.col.tolist(), strict=True))
)
assert len(copies.row) == ties.counts().weights[0, 0, 1, 0]

# %% [markdown]
# A block belongs to one row of outputs and one row of inputs. With stride 1 and zero padding the
# blocks repeat along the diagonals, and so do the entries within a block: the matrix is *doubly
# block Toeplitz*. With circular padding it is block circulant. SciPy, which knows nothing of
# convolutions here, puts together the same matrices.

# %%
print(ties.block((0, 1), (0, 1)).matrix(w).toarray())
assert np.array_equal(
    ties.block((0, 1), (0, 1)).matrix(w).toarray(), ties.block((0, 2), (0, 2)).matrix(w).toarray()
)
assert np.array_equal(A.toarray(), block_toeplitz(conv, w))

circular = cd.Conv(
    (1, 4, 5), out_channels=1, kernel=(3, 2), padding="same", padding_mode="circular"
)
assert np.array_equal(cd.tie(circular).matrix(w).toarray(), block_circulant(circular, w))

# %% [markdown]
# Where padding copies cells, two taps of one output can read the same input: one cell then holds
# *several* weights, and its value is their sum. So "the weight at (row, column)" need not be one
# weight.

# %%
edge = cd.Conv((1, 3), out_channels=1, kernel=3, padding=1, padding_mode="replicate")
print(cd.equations(edge, bias=None))
first = cd.tie(edge).row(0)
assert first.col.tolist() == [0, 0, 1]  # o1 = w1 i1 + w2 i1 + w3 i2

# %%
figure = Figure(figsize=(11, 7.5), layout="constrained")
(a, b), (c, d) = figure.subplots(2, 2)
plots.matrix(conv, a).set_title("3x2 kernel on 4x5, padded: doubly block Toeplitz")
plots.matrix(circular, b).set_title("the same, circular: block circulant")
plots.matrix(cd.Conv((2, 4, 4), out_channels=2, kernel=2, stride=2, groups=2), c).set_title(
    "two groups, stride 2"
)
plots.matrix(edge, d).set_title("replicate padding: cells with two weights")
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "the_matrix.png", dpi=110)

# %% [markdown]
# The same, moving: the kernel slides over the input while its row of the matrix lights up;
# backward, every output adds its share to the gradients of the weights. And one output pixel four
# times: window, kernel, pixel, row.

# %%
sliding = plots.animate(cd.Conv((1, 5, 5), out_channels=1, kernel=3))
sliding.save(pictures / "sliding.gif")
anatomy = plots.anatomy(conv, output=(0, 1, 2))
anatomy.savefig(pictures / "anatomy.png", dpi=110)
anatomy

# %% [markdown]
# All of it is one claim, decided exactly; and the four matrices once more.

# %%
assert cd.certify(conv).exact
figure
