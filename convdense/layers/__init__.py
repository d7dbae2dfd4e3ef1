"""Layers that run, forward and backward side by side; each registers its own operations.

* `base`: gradients by name, pools as layers, arrays on their way in and out
* `blocked_sums`: products with a stored matrix, long sums in float32 cut into blocks
* `dense_form`: dense_steps: a layer as matrices, |x| and divisions; and these steps
* `direct_form`: direct_counterpart: the same parameters by direct convolution and argmax pooling
* `error_bounds`: magnitudes, forward_error, backward_error: what rounding may do to a layer
* `weighted_bounds`: the same for layers with weights
* `plain_form`: layer_to_plain, plain_to_layer: a layer as JSON can hold it
* `dense`: Dense
* `tied_dense`: TiedDense
* `constant`: a dense layer without free weights
* `activations`: Abs, ReLU, LeakyReLU
* `flatten`: Flatten
* `_batch_norm`: batch_norm at inference
* `strided_sums`: dense layers along one axis, as sums of strided slices, block by block
* `max_pool_tournament`: max and min pooling as pairwise maxima
* `power_errors`: what rounding may do to a power average
* `pooling`: dense_pool; sum, average and power-average pooling
"""
