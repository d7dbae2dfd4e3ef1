"""Layers that run, forward and backward side by side; layers register their own dense and direct
form.

* `base`: gradients by name, pools as layers, arrays on their way in and out
* `dense_form`: dense_steps: a layer as matrices, |x| and divisions; and these steps
* `direct_form`: direct_counterpart: the same parameters by direct convolution and argmax pooling
* `dense`: Dense, TiedDense
* `constant`: a dense layer without free weights
* `activations`: Abs, ReLU, LeakyReLU
* `flatten`: Flatten
* `_batch_norm`: batch_norm at inference
* `max_pool_tournament`: max and min pooling as pairwise maxima
* `pooling`: dense_pool; sum, average and power-average pooling
"""
