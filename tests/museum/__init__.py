"""Public bugs of convolution and pooling code, rebuilt, before and after their fixes.

`python -m tests.museum` judges them all and writes `docs/museum.md`.

* `exhibit`: what an exhibit is, and how a class becomes one
* `kernels`: right kernels in NumPy, of which an exhibit changes a step
* `judges`: what certify, diagnose, gradcheck, one draw and a gate say of one
* `table`: the page, from the exhibits and what was stored of a run
* `strided`, `transposed`, `padding`, `taps`, `pools`, `sizes`, `layouts`, `others`: the exhibits
"""
