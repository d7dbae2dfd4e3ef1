"""recover: the matrix of a black box.

* `_recover`: recover
* `recovered_layer`: Recovered: matrix, bias, ties, where it is not affine
* `matrix_difference`: entries missing, extra, or with another weight
"""
