"""Which weight sits where in the dense layer, and the matrix made of it.

* `axis`: one axis as entries (row, column, tap): stride, dilation, padding, mode and flip become
  indices here
* `kronecker`: the entries of a Kronecker product of axes
* `weight_order`: the order of a weight array against the order of taps
* `row_runs`: rows that share a pattern; taps that coincide, merged
* `csr_assembly`: tie map -> CSR matrix, at the speed of memory
* `_data_matrix`: the matrix of the inputs, which the weights are multiplied with; another order
* `linear_operator`: products and gradient without a stored matrix
* `tie_map`: TieMap
* `_tie`: tie: geometry -> TieMap
* `_conv_matrix`: conv_matrix, the matrix in one call
* `letter_grid`: a small matrix in letters
* `_equations`: equations as text and LaTeX
"""
