"""What runs a layer or a user's code: forward(x, w, b) and backward(x, w, dy), whatever is inside.

* `evaluators`: y, dx, dw, db by the tied dense layer, by direct convolution, or by the user's code
* `compare_calls`: two evaluators run and compared
* `pool_calls`: the same for pools
* `call_contract`: batches, results kept, operands changed in place, the same call twice
* `array_views`: strided, transposed, reversed and broadcast arrays
* `special_values`: zeros, one sign, equal cells; what NaN and infinity reach
* `scaled_calls`: operands times powers of two
* `signatures`: other signatures wrapped
* `layouts`: channels last
"""
