"""What every folder uses and that knows nothing of convolutions.

* `arguments`: validate an argument, or say what came, what is needed and what to do
* `executors`: calls that an executor runs, in order
* `files`: atomic writes; .npy, .npz and .mtx
* `threads`: BLAS held to one thread, work spread over ours
* `float_formats`: every dtype of floats: bits, unit roundoff, the dtype that holds them
* `foreign_names`: what other libraries call arguments and layers, and what to write here
* `foreign_objects`: tensors, modules and sparse matrices: their numbers, or what to write instead
* `layout_hints`: the call that brings an array into our order of axes
* `frozen`: frozen objects, which stay so in copies and pickles
* `threads`: BLAS held to one thread, and parts of large work on threads of ours
* `version`: the version, in one place
"""
