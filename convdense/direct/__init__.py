"""Direct convolution and pooling, the second way to every number; it imports the geometry alone.

* `conv_loops`: convolution in plain loops, the definition
* `conv`: convolve, convolve_backward: fast
* `pool_loops`: pooling in plain loops, the definition
* `pool`: pooling, fast
"""
