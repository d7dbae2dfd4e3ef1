"""What runs a layer or a user's code: forward(x, w, b) and backward(x, w, dy), whatever is inside.

* `evaluators`: y, dx, dw, db by the tied dense layer, by direct convolution, or by the user's code
* `compare_calls`: two evaluators run and compared
* `pool_calls`: the same for pools
* `call_contract`: zeros, batches, strided and read-only arrays, the same call twice
* `signatures`: other signatures wrapped
* `layouts`: channels last
"""
