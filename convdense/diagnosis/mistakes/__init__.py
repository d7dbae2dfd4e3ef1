"""The catalogue of mistakes: what a layer would compute if one thing were got wrong.

* `catalogue`: all mistakes of structure, in order
* `mistake`: one mistake, and what it gives
* `observations`: what was returned beside what was expected, and whether a mistake fits
* `geometry`: stride, padding, dilation, kernel reversed
* `windows`: entries left out, wrapped or tiled wrongly
* `weights`: weights in another order
* `single_kernel`: the kernel of one pair of channels
* `sums`: sign, factor, mean for sum
* `overwriting`: = for +=
* `bias`: the bias and its gradient
* `layout`: right values elsewhere, or in another size
* `fitted_constants`: mistakes with a constant, which is solved for
* `missing_outputs`: outputs that a sum misses
* `pools`: pools
* `pool_windows`: windows of pools
* `padded_pools`: pools on a padded copy
"""
