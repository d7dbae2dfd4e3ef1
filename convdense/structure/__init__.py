"""Which weight sits where in the dense layer, and the matrix made of it.

* `progressions`: the entries of one axis, held so that a long axis costs no more than a short one
* `axis`: one axis as entries (row, column, tap): stride, dilation, padding, mode and flip become
  indices here
* `kronecker`: the entries of a Kronecker product of axes
* `weight_order`: the order of a weight array against the order of taps
* `row_runs`: rows that share a pattern, found on a few of them; taps that coincide, merged
* `csr_assembly`: tie map -> CSR matrix, at the speed of memory
* `_data_matrix`: the matrix of the inputs, which the weights are multiplied with; another order
* `sliding`: an axis as windows that are all alike, over padded cells
* `window_families`: rows that one small dense product serves, and what that costs
* `window_products`: their products and gradient, in parts of the size of a cache
* `linear_operator`: products and gradient without a stored matrix
* `submatrix`: any range of rows, again as a product of axes
* `map_shapes`: the shapes of a tie map
* `tie_map`: TieMap
* `_tie`: tie: geometry -> TieMap
* `_conv_matrix`: conv_matrix, the matrix in one call
* `letter_grid`: a small matrix in letters
* `_equations`: equations as text and LaTeX
"""
