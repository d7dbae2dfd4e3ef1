"""The hyper-parameters of a layer (sizes, stride, padding, groups): no weights, no index arrays.

The conventions of the whole library, said once: batch first, channels first; "convolution" means
cross-correlation, as in every deep-learning library, and ``flip=True`` gives the textbook one;
weights are ``(out, in / groups, *kernel)``, for a transposed convolution ``(in, out / groups,
*kernel)``, for a locally connected layer ``(out, in / groups, *out_axes, *kernel)``; ``"same"``
puts the extra cell at the end (TensorFlow's SAME, ONNX's SAME_UPPER), ``"same_lower"`` at the
beginning.

* `base`: shapes, repr, plain data, defaults
* `conv`: Conv, LocallyConnected
* `conv_transpose`: ConvTranspose
* `linear`: Linear, ChannelScale, and whatever else has weights and no window
* `operands`: the arrays of one call, checked against the shapes of a layer
* `protocols`: the types of what is handed around: shapes, a layer that runs, a user's code
* `padding`: padding values and padding modes
* `pool`: every kind of pool
* `from_dict`: class name -> class, for reading back from plain data
"""

from convdense.geometry.base import Geometry
from convdense.geometry.conv import Conv, LocallyConnected, Windowed
from convdense.geometry.conv_transpose import ConvTranspose
from convdense.geometry.from_dict import known, layer_from_dict
from convdense.geometry.linear import ChannelScale, Linear
from convdense.geometry.operands import (
    backward_operands,
    forward_operands,
    paired_operands,
    paired_samples,
    require_cells,
    samples,
)
from convdense.geometry.pool import AvgPool, LpPool, MaxPool, MinPool, Pool, SumPool
from convdense.geometry.protocols import (
    HasForward,
    HasShapes,
    HasWeightShapes,
    Implementation,
    Layer,
)

__all__ = [
    "AvgPool",
    "ChannelScale",
    "Conv",
    "ConvTranspose",
    "Geometry",
    "HasForward",
    "HasShapes",
    "HasWeightShapes",
    "Implementation",
    "Layer",
    "Linear",
    "LocallyConnected",
    "LpPool",
    "MaxPool",
    "MinPool",
    "Pool",
    "SumPool",
    "Windowed",
    "backward_operands",
    "forward_operands",
    "known",
    "layer_from_dict",
    "paired_operands",
    "paired_samples",
    "require_cells",
    "samples",
]
