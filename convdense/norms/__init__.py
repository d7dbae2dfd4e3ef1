"""Operator norms as bounds: what the largest singular value of a layer's matrix lies between.

* `_norm_bounds`: norm_bounds, NormBounds
* `layer_matrix`: the matrix, its size and its roundings, and the lower bound
* `gram_matrix`: upper bounds from the Gram matrix, dense or banded
* `symbol`: upper bounds from the symbol of a convolution, and from its taps
* `definite`: the largest eigenvalue of a Hermitian matrix, bounded by a factorisation
"""
