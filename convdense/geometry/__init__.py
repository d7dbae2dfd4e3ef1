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

from convdense.geometry.base import Geometry as Geometry
from convdense.geometry.conv import Conv as Conv
from convdense.geometry.conv import LocallyConnected as LocallyConnected
from convdense.geometry.conv import Windowed as Windowed
from convdense.geometry.conv_transpose import ConvTranspose as ConvTranspose
from convdense.geometry.from_dict import known as known
from convdense.geometry.from_dict import layer_from_dict as layer_from_dict
from convdense.geometry.linear import ChannelScale as ChannelScale
from convdense.geometry.linear import Linear as Linear
from convdense.geometry.operands import backward_operands as backward_operands
from convdense.geometry.operands import forward_operands as forward_operands
from convdense.geometry.operands import paired_operands as paired_operands
from convdense.geometry.operands import paired_samples as paired_samples
from convdense.geometry.operands import require_cells as require_cells
from convdense.geometry.operands import samples as samples
from convdense.geometry.pool import AvgPool as AvgPool
from convdense.geometry.pool import LpPool as LpPool
from convdense.geometry.pool import MaxPool as MaxPool
from convdense.geometry.pool import MinPool as MinPool
from convdense.geometry.pool import Pool as Pool
from convdense.geometry.pool import SumPool as SumPool
from convdense.geometry.protocols import HasForward as HasForward
from convdense.geometry.protocols import HasShapes as HasShapes
from convdense.geometry.protocols import HasWeightShapes as HasWeightShapes
from convdense.geometry.protocols import Implementation as Implementation
from convdense.geometry.protocols import Layer as Layer
