# %% [markdown]
# # The question
#
# A student who understood backpropagation in fully connected networks asked how it works in a
# convolution. The case: input `i1..i9` (3x3), filter `w1..w4` (2x2) gives `o1..o4`; a second 2x2
# filter `v1..v4` gives one number `z`; the cost is `C = (z - y)^2`. What is `dC/dw1`?

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np

import convdense as cd
from convdense import plots
from convdense.claims import student_question

first = cd.Conv((1, 3, 3), out_channels=1, kernel=2)
second = cd.Conv((1, 2, 2), out_channels=1, kernel=2)
print(cd.equations(first, bias=None))
print(cd.equations(second, input="o", weight="v", output="z", bias=None))

# %% [markdown]
# The student wrote `do/dw1 = i1 + i2 + i4 + i5`. But `w1` stands in four equations, one for each
# output, so the derivative is a *list* with one entry per output: `(i1, i2, i4, i5)`. Likewise
# `dC/do` is the list `v_j * 2(z - y)`.
#
# `dC/dw1` is the dot product of the two lists, four products; the product of their sums has
# sixteen, and the other twelve belong to edges that do not exist.

# %%
right, crossed = student_question.products()
print("right:  ", right)
print("crossed:", crossed)

# %% [markdown]
# On integers nobody has to believe anybody: `C` is quadratic in each weight, so `(C(w+1) - C(w-1))
# / 2` *is* the derivative, with no step size and no tolerance.

# %%
case = student_question.example()
truth = student_question.central_difference(case, "w")

layer1, layer2 = (
    cd.TiedDense(first, case.w),
    cd.TiedDense(second, case.v),
)  # two ordinary dense layers, tied and masked
o = layer1.forward(case.i)
z = layer2.forward(o)
back = layer2.backward(o, 2 * (z - case.y))
do = back.dx
steps = layer1.gradient_steps(case.i, do)

print("central difference", truth.ravel())
print("dense backprop    ", steps.tied.ravel())
print("as written        ", student_question.as_written(case).ravel())

# %% [markdown]
# And this is where the four products are: the dense gradient has 36 entries, the mask keeps 16, and
# tying adds them up in 4 groups of 4.

# %%
# Beside this file; a notebook has none and saves where it runs.
pictures = (Path(__file__).parent if "__file__" in globals() else Path()) / "pictures"
pictures.mkdir(exist_ok=True)
figure = plots.gradient_steps(layer1, case.i, do)
figure.savefig(pictures / "gradient_steps.png", dpi=110)

assert (steps.dense.size, cd.tie(first).mask().nnz, steps.tied.size) == (36, 16, 4)
assert np.array_equal(steps.tied, truth)
assert np.array_equal(back.dw, student_question.central_difference(case, "v"))
assert not np.array_equal(student_question.as_written(case), truth)
figure
