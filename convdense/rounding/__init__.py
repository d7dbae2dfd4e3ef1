"""Floating-point error analysis: what rounding may do, derived and never chosen.

* `sum_bounds`: gamma_n bounds of one layer, entry by entry
* `normwise_bounds`: bounds of FFT and Winograd
* `pool_bounds`: bounds of pools, and their windows as a table
* `fixed_network`: bits and bounds of a network with its parameters, as of a pool
* `magnitude_sums`: how many bits integers need in a network
"""
