# ruff: noqa: E501  (the lines are as they were typed)
"""First lines that newcomers of eight backgrounds type, and what comes of each.

`code` or `command`, and what it gives: `value`, that of its last expression; `says`, a pattern of
the message; neither: it runs. `needs` is what has to be installed. A reader who had never seen this
library wrote the lines.
"""

LINES = [
    {
        "user": "PyTorch",
        "title": "torch's positional order Conv2d(3, 8, 3)",
        "code": """
conv = cd.Conv(3, 8, 3)
""",
        "says": (
            "in_shape: got 3; needs a tuple \\(channels, \\*axes\\), such as \\(3, 32, "
            "32\\); write \\(3, \\*sizes\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "cd.Conv2d does not exist",
        "code": """
conv = cd.Conv2d(3, 16, kernel_size=3, padding=1)
""",
        "says": (
            "write Conv\\(in_shape, \\.\\.\\.\\), of any number of axes: in_shape is \\(c"
            "hannels, \\*sizes\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "cd.nn.Conv2d",
        "code": """
layer = cd.nn.Conv2d(1, 4, 3)
""",
        "says": "write Conv\\(in_shape, out_channels, kernel\\)",
    },
    {
        "user": "PyTorch",
        "title": "functional conv2d",
        "needs": ["torch"],
        "code": """
import torch
x = torch.ones(1, 1, 4, 4)
w = torch.ones(1, 1, 3, 3)
y = cd.functional.conv2d(x, w, padding=1)
y
""",
        "says": "write convolve\\(Conv\\(in_shape, out_channels, kernel\\), x, w, b\\)",
    },
    {
        "user": "PyTorch",
        "title": "all keywords of nn.Conv2d",
        "code": """
conv = cd.Conv(in_channels=3, out_channels=8, kernel_size=3, stride=2, padding=1, bias=False)
""",
        "says": (
            "write in_shape=\\(in_channels, \\*sizes\\), .*; write kernel=3; hand b in"
            " with the weights"
        ),
    },
    {
        "user": "PyTorch",
        "title": "kernel_size= next to a right in_shape",
        "code": """
conv = cd.Conv((3, 8, 8), 4, kernel_size=3)
conv.out_shape
""",
        "says": "write kernel=3",
    },
    {
        "user": "PyTorch",
        "title": "parameter handed straight to conv_matrix",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(3, 8, 3)
A = cd.conv_matrix(m.weight, (3, 16, 16))
A.shape
""",
        "value": "(1568, 768)",
    },
    {
        "user": "PyTorch",
        "title": "the module instead of its weight",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(1, 1, 2)
A = cd.conv_matrix(m, (1, 4, 4))
A.shape
""",
        "says": "w: got Conv2d; .* such as module\\.weight",
    },
    {
        "user": "PyTorch",
        "title": "batched in_shape with the N in front",
        "needs": ["torch"],
        "code": """
import torch
x = torch.randn(8, 3, 10, 10, generator=torch.Generator().manual_seed(0))
w = torch.ones(4, 3, 3, 3)
A = cd.conv_matrix(w, x.shape)
A.shape
""",
        "says": "in_shape is one sample: leave its batch out",
    },
    {
        "user": "PyTorch",
        "title": "image without channel axis",
        "code": """
conv = cd.Conv((28, 28), 6, (5, 5))
conv.out_shape
""",
        "says": "in_shape is \\(channels, \\*axes\\)",
    },
    {
        "user": "PyTorch",
        "title": "padding='same'",
        "code": """
conv = cd.Conv((3, 32, 32), 8, 3, padding='same')
conv.out_shape
""",
        "value": "(8, 32, 32)",
    },
    {
        "user": "PyTorch",
        "title": "padding='same' with even kernel",
        "code": """
w = [[[1., 2.]]]
A = cd.conv_matrix(w, (1, 3), padding='same')
A.toarray()
""",
        "value": "[[1., 2., 0.], [0., 1., 2.], [0., 0., 1.]]",
    },
    {
        "user": "PyTorch",
        "title": "padding='same' with stride 2",
        "code": """
conv = cd.Conv((3, 32, 32), 8, 3, stride=2, padding='same')
""",
    },
    {
        "user": "PyTorch",
        "title": "F.pad order (left, right, top, bottom)",
        "code": """
conv = cd.Conv((1, 6, 8), 1, 3, padding=(2, 0, 1, 1))
conv.out_shape
""",
        "says": "write \\(\\(1, 1\\), \\(2, 0\\)\\) for those of F\\.pad",
    },
    {
        "user": "PyTorch",
        "title": "stride as a tuple, dilation as int",
        "code": """
conv = cd.Conv((3, 32, 32), 8, (3, 3), stride=(2, 2), padding=(1, 1), dilation=1)
conv.out_shape
""",
        "value": "(8, 16, 16)",
    },
    {
        "user": "PyTorch",
        "title": "torch.Size and tensors as geometry",
        "needs": ["torch"],
        "code": """
import torch
x = torch.zeros(1, 3, 12, 12)
conv = cd.Conv(x[0].shape, torch.tensor(4), torch.Size([3, 3]))
conv.out_shape
""",
        "value": "(4, 10, 10)",
    },
    {
        "user": "PyTorch",
        "title": "the tensor itself as in_shape",
        "needs": ["torch"],
        "code": """
import torch
x = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0))
conv = cd.Conv(x, 4, 3)
""",
        "says": (
            "in_shape: got Tensor of shape \\(3, 12, 12\\); needs a tuple \\(channels,"
            " \\*axes\\), such as \\(3, 32, 32\\); write tuple\\(x\\.shape\\), of one samp"
            "le x"
        ),
    },
    {
        "user": "PyTorch",
        "title": "x that requires grad goes through convolve",
        "needs": ["torch"],
        "code": """
import torch
x = torch.ones(1, 1, 3, 3, requires_grad=True)
w = torch.nn.Parameter(torch.tensor([[[[1., 2.], [3., 4.]]]]))
conv = cd.Conv((1, 3, 3), 1, 2)
y = cd.convolve(conv, x, w, None)
y
""",
        "value": "[[[[10., 10.], [10., 10.]]]]",
    },
    {
        "user": "PyTorch",
        "title": "bfloat16 weights",
        "needs": ["torch"],
        "code": """
import torch
w = torch.ones(2, 1, 3, 3, dtype=torch.bfloat16)
A = cd.conv_matrix(w, (1, 5, 5))
A.sum()
""",
        "value": "162.0",
    },
    {
        "user": "PyTorch",
        "title": "half precision weights",
        "needs": ["torch"],
        "code": """
import torch
w = torch.nn.Conv2d(1, 1, 3, bias=False).half().weight
y = cd.convolve(cd.Conv((1, 5, 5), 1, 3), torch.ones(1, 1, 5, 5).half(), w, None)
y.shape
""",
        "says": (
            "x: got dtype float16; needs .*float32.*; convert it first, e\\.g\\. with"
            " \\.astype\\(float\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "certify handed an nn.Conv2d",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(3, 4, 3, padding=1)
report = cd.certify(m)
print(report)
""",
        "says": (
            "write layer_of\\(module, in_shape\\), or for a verdict certify_module\\(m"
            "odule, in_shape\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "certify with module as implementation",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(3, 4, 3, padding=1)
report = cd.certify(cd.Conv((3, 8, 8), 4, 3, padding=1), m)
print(report)
""",
        "says": "write implementation\\(module\\)",
    },
    {
        "user": "PyTorch",
        "title": "certify with F.conv2d as implementation",
        "needs": ["torch"],
        "code": """
import torch.nn.functional as F
report = cd.certify(cd.Conv((3, 6, 6), 4, 3, padding=1), F.conv2d)
print(report)
""",
        "says": (
            "a pair of such functions; write \\(forward, backward\\); torch: .*implem"
            "entation\\(forward\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "certify with a torch Generator as seed",
        "needs": ["torch"],
        "code": """
import torch
g = torch.Generator().manual_seed(42)
report = cd.certify(cd.Conv((2, 5, 5), 3, 3), seed=g)
print(report)
""",
        "says": "seed: got Generator; needs an integer",
    },
    {
        "user": "PyTorch",
        "title": "certify_module without in_shape",
        "needs": ["torch"],
        "code": """
import torch
from convdense.adapters.torch import certify_module
m = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
certify_module(m)
""",
        "says": "certify_module: got no 'in_shape'; needs module, in_shape in this order",
    },
    {
        "user": "PyTorch",
        "title": "certify_module with batch in the shape",
        "needs": ["torch"],
        "code": """
import torch
from convdense.adapters.torch import certify_module
m = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
r = certify_module(m, (1, 3, 16, 16))
print(r)
""",
        "says": "leave the batch out: \\(3, 16, 16\\)",
    },
    {
        "user": "PyTorch",
        "title": "certify_module on a Sequential",
        "needs": ["torch"],
        "code": """
import torch
from torch import nn
from convdense.adapters.torch import certify_module
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
certify_module(net, (1, 8, 8))
""",
        "says": "write certify_model\\(model, x\\)",
    },
    {
        "user": "PyTorch",
        "title": "certify_model with a shape instead of a tensor",
        "needs": ["torch"],
        "code": """
import torch
from torch import nn
from convdense.adapters.torch import certify_model
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
certify_model(net, (1, 8, 8))
""",
        "says": "write torch\\.zeros\\(batch, channels, \\*sizes\\)",
    },
    {
        "user": "PyTorch",
        "title": "nn.Sequential handed to cd.network",
        "needs": ["torch"],
        "code": """
from torch import nn
net = cd.network(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)))
""",
        "says": (
            "layer 0: got Sequential.*; write network\\(\\*layers\\); write layer_of\\("
            "module, in_shape\\), or for a verdict certify_module\\(module, in_shape\\"
            ")"
        ),
    },
    {
        "user": "PyTorch",
        "title": "mixture of nn modules and cd layers",
        "needs": ["torch"],
        "code": """
from torch import nn
net = cd.network(cd.Conv((1, 8, 8), 4, 3), nn.ReLU(), nn.Flatten(), cd.Linear(144, 10))
""",
        "says": (
            "layer 1: got ReLU\\(\\); .*; write cd\\.ReLU; write layer_of\\(module, in_"
            "shape\\), or for a verdict certify_module\\(module, in_shape\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "layers in a list",
        "code": """
layers = [cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.Flatten(), cd.Linear(144, 10)]
net = cd.network(layers)
""",
        "says": "; write network\\(\\*layers\\)$",
    },
    {
        "user": "PyTorch",
        "title": "forward of a network by calling it",
        "code": """
import numpy as np
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.Flatten(), cd.Linear(144, 10), seed=0)
y = net(np.zeros((2, 1, 8, 8)))
y.shape
""",
        "value": "(2, 10)",
    },
    {
        "user": "PyTorch",
        "title": "len(net), net[0], iterate",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.Flatten(), cd.Linear(144, 10))
print(net[0])
for layer in net:
    print(layer)
len(net)
""",
        "value": "4",
    },
    {
        "user": "PyTorch",
        "title": "net.parameters() and state_dict()",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.Flatten(), cd.Linear(144, 10))
n = sum(p.size for p in net.parameters())
n
""",
        "says": "write net\\.parameters\\.values\\(\\)",
    },
    {
        "user": "PyTorch",
        "title": "wrong number of features after Flatten",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.Flatten(), cd.Linear(256, 10))
""",
        "says": "needs \\(144,\\)",
    },
    {
        "user": "PyTorch",
        "title": "calling the layer like a module",
        "needs": ["torch"],
        "code": """
import torch
layer = cd.Conv((1, 5, 5), 2, 3)
y = layer(torch.randn(1, 1, 5, 5))
""",
        "says": "write TiedDense\\(layer, w, b\\)\\(x\\)",
    },
    {
        "user": "PyTorch",
        "title": "conv.weight",
        "code": """
conv = cd.Conv((3, 8, 8), 4, 3)
print(conv.weight.shape)
""",
        "says": "write layer\\.weight_shape: this holds none",
    },
    {
        "user": "PyTorch",
        "title": "TiedDense without weights",
        "code": """
layer = cd.TiedDense(cd.Conv((1, 5, 5), 2, 3))
""",
        "says": "got no 'w'; needs layer, w, b in this order",
    },
    {
        "user": "PyTorch",
        "title": "TiedDense from nn.Conv2d's state, forward",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(1, 1, 2)
torch.nn.init.constant_(m.weight, 0.5)
torch.nn.init.constant_(m.bias, 1.)
layer = cd.TiedDense(cd.Conv((1, 3, 3), 1, 2), m.weight.data, m.bias.data)
y = layer.forward(torch.ones(1, 1, 3, 3))
y
""",
        "value": "[[[[3., 3.], [3., 3.]]]]",
    },
    {
        "user": "PyTorch",
        "title": "TiedDense(x) without .forward",
        "code": """
import numpy as np
layer = cd.TiedDense(cd.Conv((1, 3, 3), 1, 2), np.ones((1, 1, 2, 2)), np.zeros(1))
y = layer(np.ones((1, 1, 3, 3)))
y.shape
""",
        "value": "(1, 1, 2, 2)",
    },
    {
        "user": "PyTorch",
        "title": "backward with the gradient only",
        "code": """
import numpy as np
layer = cd.TiedDense(cd.Conv((1, 3, 3), 1, 2), np.ones((1, 1, 2, 2)), np.zeros(1))
y = layer.forward(np.ones((1, 1, 3, 3)))
layer.backward(np.ones_like(y))
""",
        "says": "got no 'dy'; needs x, dy in this order",
    },
    {
        "user": "PyTorch",
        "title": "backward with x and dy swapped",
        "code": """
import numpy as np
layer = cd.TiedDense(cd.Conv((1, 3, 3), 1, 2), np.ones((1, 1, 2, 2)), np.zeros(1))
x = np.ones((1, 1, 3, 3))
layer.backward(np.ones((1, 1, 2, 2)), x)
""",
        "says": (
            "x and dy: got \\(1, 2, 2\\) and \\(1, 3, 3\\); needs \\(1, 3, 3\\) and \\(1, "
            "2, 2\\); swap the two"
        ),
    },
    {
        "user": "PyTorch",
        "title": "single unbatched image, torch style (C, H, W)",
        "needs": ["torch"],
        "code": """
import torch
conv = cd.Conv((1, 3, 3), 1, 2)
y = cd.convolve(conv, torch.arange(9.).reshape(1, 3, 3), torch.ones(1, 1, 2, 2), None)
y
""",
        "value": "[[[8., 12.], [20., 24.]]]",
    },
    {
        "user": "PyTorch",
        "title": "bias left out",
        "code": """
import numpy as np
conv = cd.Conv((1, 4, 4), 2, 3, padding=1)
y = cd.convolve(conv, np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)))
y.shape
""",
        "value": "(1, 2, 4, 4)",
    },
    {
        "user": "PyTorch",
        "title": "bias=False into convolve",
        "code": """
import numpy as np
conv = cd.Conv((1, 4, 4), 2, 3)
y = cd.convolve(conv, np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)), bias=False)
""",
        "says": "write b=None",
    },
    {
        "user": "PyTorch",
        "title": "grouped weight in the ungrouped shape",
        "code": """
import numpy as np
conv = cd.Conv((4, 6, 6), 8, 3, groups=2)
y = cd.convolve(conv, np.ones((1, 4, 6, 6)), np.ones((8, 4, 3, 3)), None)
""",
        "says": "needs \\(8, 2, 3, 3\\)",
    },
    {
        "user": "PyTorch",
        "title": "groups that do not divide",
        "code": """
cd.Conv((3, 6, 6), 8, 3, groups=2)
""",
        "says": "needs a divisor of the 3 channels",
    },
    {
        "user": "PyTorch",
        "title": "padding_mode circular",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([[[1., 2., 3.]]]), (1, 4), padding=1, padding_mode='circular')
A.toarray()
""",
        "value": "[[2., 3., 0., 1.], [1., 2., 3., 0.], [0., 1., 2., 3.], [3., 0., 1., 2.]]",
    },
    {
        "user": "PyTorch",
        "title": "padding_mode reflect on rows",
        "code": """
import numpy as np
conv = cd.Conv((1, 4), 1, 3, padding=1, padding_mode='reflect')
y = cd.convolve(conv, np.array([[[1., 2., 3., 4.]]]), np.ones((1, 1, 3)), None)
y
""",
        "value": "[[[5., 6., 9., 10.]]]",
    },
    {
        "user": "PyTorch",
        "title": "ConvTranspose with torch's numbers",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)
up = cd.ConvTranspose((4, 5, 5), 2, 3, stride=2, padding=1, output_padding=1)
y = cd.convolve(up, torch.ones(1, 4, 5, 5), m.weight, m.bias)
y.shape
""",
        "value": "(1, 2, 10, 10)",
    },
    {
        "user": "PyTorch",
        "title": "ConvTranspose handed weights in Conv order",
        "code": """
import numpy as np
up = cd.ConvTranspose((4, 5, 5), 2, 3, stride=2)
y = cd.convolve(up, np.ones((1, 4, 5, 5)), np.ones((2, 4, 3, 3)), None)
""",
        "says": "needs \\(4, 2, 3, 3\\).*write np\\.moveaxis\\(w, 0, 1\\)",
    },
    {
        "user": "PyTorch",
        "title": "cd.MaxPool2d(2, 2)",
        "code": """
pool = cd.MaxPool2d(2, 2)
""",
        "says": (
            "write MaxPool\\(in_shape, \\.\\.\\.\\), of any number of axes: in_shape is "
            "\\(channels, \\*sizes\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "MaxPool(2) only",
        "code": """
pool = cd.MaxPool(2)
""",
        "says": (
            "needs a tuple \\(channels, \\*axes\\), such as \\(3, 32, 32\\); write \\(2, "
            "\\*sizes\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "MaxPool default stride",
        "code": """
pool = cd.MaxPool((8, 28, 28), 2)
pool.out_shape
""",
        "value": "(8, 14, 14)",
    },
    {
        "user": "PyTorch",
        "title": "ceil_mode and return_indices",
        "code": """
pool = cd.MaxPool((1, 5, 5), 2, stride=2, ceil_mode=True, return_indices=True)
pool.out_shape
""",
        "says": "dense_pool\\(pool\\)\\.indices\\(x\\)",
    },
    {
        "user": "PyTorch",
        "title": "AvgPool count_include_pad=False",
        "code": """
pool = cd.AvgPool((1, 4, 4), 3, stride=1, padding=1, count_include_pad=False)
pool.out_shape
""",
        "value": "(1, 4, 4)",
    },
    {
        "user": "PyTorch",
        "title": "divisor_override",
        "code": """
pool = cd.AvgPool((1, 4, 4), 2, divisor_override=1)
""",
    },
    {
        "user": "PyTorch",
        "title": "adaptive pool",
        "code": """
pool = cd.AdaptiveAvgPool2d((1, 1))
""",
        "says": "write AvgPool\\(in_shape, output=1\\)",
    },
    {
        "user": "PyTorch",
        "title": "LPPool2d argument order",
        "code": """
pool = cd.LpPool(2, (1, 4, 4), 2)
""",
        "says": "needs in_shape, kernel in this order, then p=",
    },
    {
        "user": "PyTorch",
        "title": "dense_pool of an nn.AvgPool2d",
        "needs": ["torch"],
        "code": """
import torch
A = cd.dense_pool(torch.nn.AvgPool2d(2))
""",
        "says": (
            "write layer_of\\(module, in_shape\\), or for a verdict certify_module\\(m"
            "odule, in_shape\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "Linear with bias keyword",
        "code": """
fc = cd.Linear(144, 10, bias=True)
fc
""",
        "says": "hand b in with the weights: Dense\\(w, b\\)",
    },
    {
        "user": "PyTorch",
        "title": "batch_norm as a layer class",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.BatchNorm2d(4), cd.ReLU())
""",
        "says": "write batch_norm\\(in_shape",
    },
    {
        "user": "PyTorch",
        "title": "Flatten with start_dim",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.Flatten(start_dim=1), cd.Linear(144, 10))
len(net)
""",
        "says": "start_dim: got 1; .*leave it out",
    },
    {
        "user": "PyTorch",
        "title": "to cuda",
        "needs": ["torch"],
        "code": """
import torch
layer = cd.TiedDense(cd.Conv((1, 5, 5), 2, 3), torch.ones(2, 1, 3, 3), torch.zeros(2)).to('cpu').eval()
""",
        "says": "write nothing: all is NumPy's here",
    },
    {
        "user": "PyTorch",
        "title": "channels_last strided tensor",
        "needs": ["torch"],
        "code": """
import torch
x = torch.arange(18.).reshape(1, 2, 3, 3).to(memory_format=torch.channels_last)
w = torch.ones(1, 2, 2, 2)
y = cd.convolve(cd.Conv((2, 3, 3), 1, 2), x, w, None)
y
""",
        "value": "[[[[52., 60.], [76., 84.]]]]",
    },
    {
        "user": "PyTorch",
        "title": "torch tensor @ on the matrix",
        "needs": ["torch"],
        "code": """
import torch
A = cd.conv_matrix(torch.tensor([[[[1., 2.], [3., 4.]]]]), (1, 3, 3))
y = A @ torch.ones(9).numpy()
y
""",
        "value": "[10., 10., 10., 10.]",
    },
    {
        "user": "PyTorch",
        "title": "deepcopy and pickle of a layer",
        "code": """
import copy, pickle
conv = cd.Conv((3, 8, 8), 4, 3, padding=1)
a = copy.deepcopy(conv)
b = pickle.loads(pickle.dumps(conv))
(a == conv, b == conv, hash(b) == hash(conv))
""",
        "value": "(True, True, True)",
    },
    {
        "user": "PyTorch",
        "title": "layer_of then matrix",
        "needs": ["torch"],
        "code": """
import torch
from convdense.adapters.torch import layer_of
m = torch.nn.Conv1d(1, 1, 3, stride=2, bias=False)
conv = layer_of(m, (1, 7))
A = cd.tie(conv).matrix(m.weight)
A.shape
""",
        "value": "(3, 7)",
    },
    {
        "user": "PyTorch",
        "title": "tie of an nn.Conv2d",
        "needs": ["torch"],
        "code": """
import torch
T = cd.tie(torch.nn.Conv2d(1, 2, 3))
""",
        "says": (
            "write layer_of\\(module, in_shape\\), or for a verdict certify_module\\(m"
            "odule, in_shape\\)"
        ),
    },
    {
        "user": "PyTorch",
        "title": "recover an nn.Conv2d as function",
        "needs": ["torch"],
        "code": """
import torch
m = torch.nn.Conv2d(1, 1, 3, padding=1)
print(cd.recover(m, (1, 6, 6)))
""",
        "says": (
            "write lambda x: module\\(torch\\.as_tensor\\(x\\)\\)\\.detach\\(\\)\\.numpy\\(\\)"
            ", dtype='float32'"
        ),
    },
    {
        "user": "Keras",
        "title": "Conv2D name and filters",
        "code": """
layer = cd.Conv2D(32, (3, 3), activation='relu', input_shape=(28, 28, 1))
""",
        "says": (
            "write Conv\\(in_shape, \\.\\.\\.\\), of any number of axes: in_shape is \\(c"
            "hannels, \\*sizes\\)"
        ),
    },
    {
        "user": "Keras",
        "title": "channels-last in_shape, silent",
        "code": """
conv = cd.Conv((28, 28, 1), 32, (3, 3))
""",
        "says": "in_shape is \\(channels, \\*axes\\), channels first",
    },
    {
        "user": "Keras",
        "title": "strides= and filters=",
        "code": """
conv = cd.Conv((3, 32, 32), filters=16, kernel_size=(3, 3), strides=(2, 2), padding='valid')
conv.out_shape
""",
        "says": "write out_channels=16; write kernel=\\(3, 3\\); write stride=\\(2, 2\\)",
    },
    {
        "user": "Keras",
        "title": "padding='valid'",
        "code": """
conv = cd.Conv((3, 32, 32), 16, 3, padding='valid')
conv.out_shape
""",
        "value": "(16, 30, 30)",
    },
    {
        "user": "Keras",
        "title": "padding='SAME' upper case, TF",
        "code": """
conv = cd.Conv((3, 32, 32), 16, 3, stride=1, padding='SAME')
conv.out_shape
""",
        "says": "write 'same'$",
    },
    {
        "user": "Keras",
        "title": "data_format",
        "code": """
conv = cd.Conv((28, 28, 1), 8, 3, data_format='channels_last')
""",
        "says": "np\\.moveaxis\\(x, -1, 1\\)",
    },
    {
        "user": "Keras",
        "title": "HWIO kernel into conv_matrix",
        "code": """
import numpy as np
kernel = np.ones((3, 3, 1, 8))            # layer.get_weights()[0]
A = cd.conv_matrix(kernel, (1, 10, 10))
A.shape
""",
        "says": "write weights='HWIO'",
    },
    {
        "user": "Keras",
        "title": "NHWC batch into convolve",
        "code": """
import numpy as np
x = np.zeros((2, 28, 28, 1), 'float32')
w = np.ones((4, 1, 3, 3), 'float32')
y = cd.convolve(cd.Conv((1, 28, 28), 4, 3), x, w, np.zeros(4))
""",
        "says": "write np\\.moveaxis\\(x, -1, 1\\)",
    },
    {
        "user": "Keras",
        "title": "NHWC square ambiguity",
        "code": """
import numpy as np
x = np.arange(27.).reshape(1, 3, 3, 3)     # NHWC in the person's mind
w = np.ones((1, 3, 2, 2))
y = cd.convolve(cd.Conv((3, 3, 3), 1, 2), x, w)
y.shape
""",
        "value": "(1, 1, 2, 2)",
    },
    {
        "user": "Keras",
        "title": "activation in Conv",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3, activation='relu'), cd.Flatten(), cd.Linear(144, 10))
""",
        "says": "write network\\(layer, ReLU\\(\\)\\)",
    },
    {
        "user": "Keras",
        "title": "cd.Dense(10)",
        "code": """
net = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.Flatten(), cd.Dense(10, activation='softmax'))
""",
        "says": "write Linear\\(in_features, out_features\\)",
    },
    {
        "user": "Keras",
        "title": "Linear with units only",
        "code": """
fc = cd.Linear(10)
""",
        "says": "got no 'out_features'",
    },
    {
        "user": "Keras",
        "title": "Sequential and model.add",
        "code": """
model = cd.Sequential()
model.add(cd.Conv((1, 8, 8), 4, 3))
""",
        "says": "write network\\(\\*layers\\)",
    },
    {
        "user": "Keras",
        "title": "model.summary()",
        "code": """
model = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.ReLU(), cd.MaxPool((4, 6, 6), 2), cd.Flatten(), cd.Linear(36, 10))
model.summary()
""",
        "says": "write print\\(layer\\)",
    },
    {
        "user": "Keras",
        "title": "model.predict",
        "code": """
import numpy as np
model = cd.network(cd.Conv((1, 8, 8), 4, 3), cd.Flatten(), cd.Linear(144, 10))
p = model.predict(np.zeros((5, 1, 8, 8)))
p.shape
""",
        "says": "write layer\\.forward\\(x\\)",
    },
    {
        "user": "Keras",
        "title": "MaxPooling2D pool_size",
        "code": """
pool = cd.MaxPool((4, 6, 6), pool_size=(2, 2), strides=2)
pool.out_shape
""",
        "says": "write kernel=\\(2, 2\\); write stride=2",
    },
    {
        "user": "Keras",
        "title": "GlobalAveragePooling2D",
        "code": """
gap = cd.GlobalAveragePooling2D()
""",
        "says": "write AvgPool\\(in_shape, output=1\\)",
    },
    {
        "user": "Keras",
        "title": "DepthwiseConv2D depth_multiplier",
        "code": """
conv = cd.Conv((4, 8, 8), 8, 3, depth_multiplier=2)
""",
        "says": "write groups=in_channels",
    },
    {
        "user": "Keras",
        "title": "Dense weights after a channels-last Flatten",
        "code": """
import numpy as np
x = np.arange(8.).reshape(1, 2, 2, 2)
net = cd.network(cd.Flatten())
y = net.forward(x)
y
""",
        "says": "needs Flatten\\(in_shape=\\.\\.\\.\\)",
    },
    {
        "user": "Keras",
        "title": "LocallyConnected2D with keras words",
        "code": """
lc = cd.LocallyConnected2D(4, 3, implementation=1)
""",
        "says": (
            "write LocallyConnected\\(in_shape, \\.\\.\\.\\), of any number of axes: in_"
            "shape is \\(channels, \\*sizes\\)"
        ),
    },
    {
        "user": "Keras",
        "title": "LocallyConnected, shared weights passed",
        "code": """
import numpy as np
lc = cd.LocallyConnected((1, 4, 4), 2, 3)
y = cd.convolve(lc, np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)), None)
""",
        "says": "needs \\(2, 1, 2, 2, 3, 3\\)",
    },
    {
        "user": "Keras",
        "title": "dilation_rate",
        "code": """
conv = cd.Conv((1, 9, 9), 1, 3, dilation_rate=2)
conv.out_shape
""",
        "says": "write dilation=2",
    },
    {
        "user": "Keras",
        "title": "causal padding in 1-D",
        "code": """
conv = cd.Conv((1, 5), 1, 3, padding='causal')
conv.out_shape
""",
        "says": "write padding=\\(\\(n, 0\\),\\), n = dilation \\* \\(kernel - 1\\)",
    },
    {
        "user": "Keras",
        "title": "Conv2DTranspose same with stride 2",
        "code": """
up = cd.ConvTranspose((4, 7, 7), 2, 3, stride=2, padding='same')
up.out_shape
""",
        "value": "(2, 14, 14)",
    },
    {
        "user": "Keras",
        "title": "input_shape keyword",
        "code": """
conv = cd.Conv(input_shape=(3, 8, 8), out_channels=4, kernel=3)
conv.out_shape
""",
        "says": "write in_shape=\\(3, 8, 8\\)",
    },
    {
        "user": "Keras",
        "title": "None for the batch in the shape",
        "code": """
conv = cd.Conv((None, 3, 8, 8), 4, 3)
""",
        "says": (
            "got \\(None, 3, 8, 8\\).*; write the size of every axis, and leave the batch out"
        ),
    },
    {
        "user": "Keras",
        "title": "None for unknown image size",
        "code": """
conv = cd.Conv((3, None, None), 4, 3)
""",
        "says": "; write the size of every axis, and leave the batch out",
    },
    {
        "user": "Keras",
        "title": "get_weights",
        "code": """
conv = cd.Conv((3, 8, 8), 4, 3)
w, b = conv.get_weights()
""",
        "says": "write TiedDense\\(layer, w, b\\)",
    },
    {
        "user": "JAX",
        "title": "jax arrays straight in",
        "needs": ["jax"],
        "code": """
import jax.numpy as jnp
x = jnp.ones((1, 1, 3, 3))
w = jnp.array([[[[1., 2.], [3., 4.]]]])
y = cd.convolve(cd.Conv((1, 3, 3), 1, 2), x, w, jnp.zeros(1))
y
""",
        "value": "[[[[10., 10.], [10., 10.]]]]",
    },
    {
        "user": "JAX",
        "title": "lax's words: window_strides",
        "code": """
conv = cd.Conv((3, 8, 8), 4, (3, 3), window_strides=(2, 2), padding='VALID')
conv.out_shape
""",
        "says": "write stride=\\(2, 2\\)",
    },
    {
        "user": "JAX",
        "title": "rhs_dilation and feature_group_count",
        "code": """
conv = cd.Conv((4, 9, 9), 8, (3, 3), rhs_dilation=(2, 2), feature_group_count=2)
conv.out_shape
""",
        "says": "write dilation=\\(2, 2\\); write groups=2",
    },
    {
        "user": "JAX",
        "title": "lhs_dilation",
        "code": """
conv = cd.Conv((4, 5, 5), 2, (3, 3), lhs_dilation=(2, 2), padding=((2, 2), (2, 2)))
""",
        "says": "write input_dilation=\\(2, 2\\)",
    },
    {
        "user": "JAX",
        "title": "padding as low/high pairs",
        "code": """
conv = cd.Conv((1, 6, 8), 1, (3, 3), padding=[(1, 1), (2, 0)])
conv.out_shape
""",
        "value": "(1, 6, 8)",
    },
    {
        "user": "JAX",
        "title": "SAME with stride 2, TF/lax rule",
        "code": """
conv = cd.Conv((1, 6), 1, 3, stride=2, padding='SAME')
conv.out_shape
""",
        "says": "write 'same'$",
    },
    {
        "user": "JAX",
        "title": "lhs, rhs order in convolve",
        "needs": ["jax"],
        "code": """
import jax.numpy as jnp
x, w = jnp.ones((1, 1, 4, 4)), jnp.ones((2, 1, 3, 3))
y = cd.convolve(x, w, cd.Conv((1, 4, 4), 2, 3))
""",
        "says": "layer: got ArrayImpl of shape \\(1, 1, 4, 4\\); .*a layer comes first",
    },
    {
        "user": "JAX",
        "title": "PRNGKey as seed of a network",
        "needs": ["jax"],
        "code": """
import jax
net = cd.network(cd.Conv((1, 6, 6), 2, 3), cd.Flatten(), cd.Linear(32, 4), seed=jax.random.PRNGKey(0))
""",
        "says": "seed: got .*needs an integer",
    },
    {
        "user": "JAX",
        "title": "jnp.bfloat16 for certify",
        "needs": ["jax"],
        "code": """
import jax.numpy as jnp
r = cd.certify(cd.Conv((1, 6, 6), 2, 3), dtype=jnp.bfloat16)
print(r)
""",
        "says": "needs one of 'float32', 'float64'",
    },
    {
        "user": "JAX",
        "title": "certify lax.conv_general_dilated",
        "needs": ["jax"],
        "code": """
import numpy as np
from jax import lax
conv = cd.Conv((2, 6, 6), 3, 3, stride=2, padding=1)
f = lambda x, w: lax.conv_general_dilated(x, w, (2, 2), [(1, 1), (1, 1)])
str(cd.certify(conv, f, dtype='float32')['y'])
""",
        "value": "'y   raised; TypeError: <lambda>() takes 2 positional arguments but 3 were given'",
    },
    {
        "user": "JAX",
        "title": "jit around convolve",
        "needs": ["jax"],
        "code": """
import jax, jax.numpy as jnp
conv = cd.Conv((1, 4, 4), 1, 3)
f = jax.jit(lambda x, w: cd.convolve(conv, x, w))
f(jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 3, 3)))
""",
        "says": "call it outside of jit",
    },
    {
        "user": "JAX",
        "title": "Flax's nn.Conv(features=, kernel_size=)",
        "code": """
conv = cd.Conv(features=4, kernel_size=(3, 3), padding='CIRCULAR')
""",
        "says": "write out_channels=4; write kernel=\\(3, 3\\)",
    },
    {
        "user": "JAX",
        "title": "matrix to jax BCOO or dense",
        "needs": ["jax"],
        "code": """
import jax.numpy as jnp
A = jnp.asarray(cd.conv_matrix(jnp.array([[[1., 2.]]]), (1, 3)).toarray())
(A @ jnp.array([1., 1., 1.])).tolist()
""",
        "value": "[3., 3.]",
    },
    {
        "user": "SciPy",
        "title": "convolution_matrix(a, n, mode='full')",
        "code": """
A = cd.conv_matrix([1, 2, 3], 4, mode='full')
A.toarray()
""",
        "says": 'write padding="valid", "same" or "full"',
    },
    {
        "user": "SciPy",
        "title": "convolution_matrix name",
        "code": """
A = cd.convolution_matrix([1, 2, 3], 4, mode='valid')
""",
        "says": "write conv_matrix\\(w, in_shape\\)",
    },
    {
        "user": "SciPy",
        "title": "1-D kernel and int length",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([1., 2., 3.]), 4)
A.toarray()
""",
        "says": "give w\\[None, None\\] and in_shape \\(1, \\*sizes\\)",
    },
    {
        "user": "SciPy",
        "title": "channels right, matrix of a 2x2 kernel",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([[[[1, 2], [3, 4]]]]), (1, 3, 3))
A.toarray()
""",
        "value": (
            "[[1,2,0,3,4,0,0,0,0],[0,1,2,0,3,4,0,0,0],[0,0,0,1,2,0,3,4,0],[0,0,0,0,1,2,0,3,4]]"
        ),
    },
    {
        "user": "SciPy",
        "title": "default agrees with signal.correlate",
        "code": """
import numpy as np
from scipy import signal
k = np.array([[1., 2.], [3., 4.]])
x = np.arange(9.).reshape(3, 3)
y = cd.convolve(cd.Conv((1, 3, 3), 1, (2, 2)), x[None, None], k[None, None])
np.allclose(np.asarray(y)[0, 0], signal.correlate(x, k, mode='valid'))
""",
        "value": "True",
    },
    {
        "user": "SciPy",
        "title": "convolve(x, k) as in scipy.signal",
        "code": """
import numpy as np
y = cd.convolve(np.arange(9.).reshape(3, 3), np.ones((2, 2)), mode='valid')
""",
        "says": "it has layer, x, w, b",
    },
    {
        "user": "SciPy",
        "title": "boundary='symm', fillvalue=0",
        "code": """
conv = cd.Conv((1, 4, 4), 1, 3, mode='same', boundary='wrap', fillvalue=0)
""",
        "says": "write padding_value=0",
    },
    {
        "user": "SciPy",
        "title": "boundary symm word as padding_mode",
        "code": """
conv = cd.Conv((1, 4, 4), 1, 3, padding=1, padding_mode='symm')
""",
        "says": "write 'symmetric'",
    },
    {
        "user": "SciPy",
        "title": "ndimage mode 'nearest'",
        "code": """
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3)), (1, 3), padding=1, padding_mode='nearest')
A.toarray()
""",
        "says": "write 'replicate'",
    },
    {
        "user": "SciPy",
        "title": "ndimage mode 'mirror'",
        "code": """
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3)), (1, 3), padding=1, padding_mode='mirror')
A.toarray()
""",
        "says": "write 'reflect'",
    },
    {
        "user": "SciPy",
        "title": "ndimage 'constant' with cval",
        "code": """
conv = cd.Conv((1, 4, 4), 1, 3, padding=1, padding_mode='constant', cval=0.0)
conv.out_shape
""",
        "says": "write padding_value=0.0",
    },
    {
        "user": "SciPy",
        "title": "mode positional after shape",
        "code": """
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3)), (1, 5), 'same')
A.shape
""",
        "says": "then stride=, padding=",
    },
    {
        "user": "SciPy",
        "title": "padding='full'",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([[[1., 2.]]]), (1, 3), padding='full', flip=True)
A.toarray()
""",
        "value": "[[1., 0., 0.], [2., 1., 0.], [0., 2., 1.], [0., 0., 2.]]",
    },
    {
        "user": "SciPy",
        "title": "lsqr deconvolution with the operator",
        "code": """
import numpy as np
from scipy.sparse.linalg import lsqr
conv = cd.Conv((1, 5), 1, 3, padding=1)
op = cd.tie(conv).operator(np.array([[[0., 1., 0.]]]))
x = lsqr(op, np.arange(5.))[0]
np.round(x, 6).tolist()
""",
        "value": "[0., 1., 2., 3., 4.]",
    },
    {
        "user": "SciPy",
        "title": "operator: .H, .T, matvec, rmatvec, dtype",
        "code": """
import numpy as np
op = cd.tie(cd.Conv((1, 3), 1, 2)).operator(np.array([[[1., 2.]]]))
(op.shape, op.matvec(np.ones(3)).tolist(), op.rmatvec(np.ones(2)).tolist(), (op.T @ np.ones(2)).tolist())
""",
        "value": "((2, 3), [3., 3.], [1., 3., 2.], [1., 3., 2.])",
    },
    {
        "user": "SciPy",
        "title": "tie of a kernel",
        "code": """
import numpy as np
T = cd.tie(np.ones((1, 1, 3, 3)))
""",
        "says": ("layer: got ndarray of shape \\(1, 1, 3, 3\\); .*a layer comes first: write Conv"),
    },
    {
        "user": "SciPy",
        "title": "TieMap.matrix without w",
        "code": """
A = cd.tie(cd.Conv((1, 4, 4), 1, 3)).matrix()
""",
        "says": "got no 'w'; needs w in this order",
    },
    {
        "user": "SciPy",
        "title": "sparse kernel",
        "code": """
import numpy as np
import scipy.sparse as sp
w = sp.csr_array(np.array([[0., 1.], [1., 0.]]))
A = cd.conv_matrix(w, (1, 3, 3))
""",
        "says": "write w\\.toarray\\(\\)",
    },
    {
        "user": "SciPy",
        "title": "normal matrix A.T @ A",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([[[1., 2.]]]), (1, 3))
(A.T @ A).toarray()
""",
        "value": "[[1., 2., 0.], [2., 5., 2.], [0., 2., 4.]]",
    },
    {
        "user": "SciPy",
        "title": "format argument",
        "code": """
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3)), (1, 5), format='csc')
""",
        "says": "write conv_matrix\\(\\.\\.\\.\\)\\.tocsc\\(\\)",
    },
    {
        "user": "SciPy",
        "title": "matrix without in_shape",
        "code": """
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3, 3)))
""",
        "says": "in_shape: got None; needs a tuple",
    },
    {
        "user": "SciPy",
        "title": "weights and shape exchanged",
        "code": """
import numpy as np
A = cd.conv_matrix((1, 8, 8), np.ones((1, 1, 3, 3)))
""",
        "says": (
            "needs a tuple \\(channels, \\*axes\\), such as \\(3, 32, 32\\); write tuple"
            "\\(x\\.shape\\), of one sample x"
        ),
    },
    {
        "user": "SciPy",
        "title": "the image instead of its shape",
        "code": """
import numpy as np
img = np.random.default_rng(0).normal(size=(8, 8))
A = cd.conv_matrix(np.ones((3, 3)) / 9, img)
""",
        "says": (
            "needs a tuple \\(channels, \\*axes\\), such as \\(3, 32, 32\\); write tuple"
            "\\(x\\.shape\\), of one sample x"
        ),
    },
    {
        "user": "NumPy",
        "title": "nested list kernel",
        "code": """
A = cd.conv_matrix([[[1, 0, -1]]], (1, 5))
A.toarray()
""",
        "value": "[[1, 0, -1, 0, 0], [0, 1, 0, -1, 0], [0, 0, 1, 0, -1]]",
    },
    {
        "user": "NumPy",
        "title": "ragged nested list",
        "code": """
A = cd.conv_matrix([[[1, 2], [3]]], (1, 5, 5))
""",
        "says": "rows of different lengths",
    },
    {
        "user": "NumPy",
        "title": "bool kernel",
        "code": """
import numpy as np
foot = np.ones((1, 1, 2, 2), dtype=bool)
y = cd.convolve(cd.Conv((1, 3, 3), 1, 2), np.ones((1, 1, 3, 3)), foot)
y
""",
        "says": "w: got dtype bool; .*\\.astype\\(float\\)",
    },
    {
        "user": "NumPy",
        "title": "string array from a CSV",
        "code": """
import numpy as np
w = np.array([[['1', '0', '-1']]])
A = cd.conv_matrix(w, (1, 5))
""",
        "says": "w: got dtype <U2; .*\\.astype\\(float\\)",
    },
    {
        "user": "NumPy",
        "title": "masked array with missing pixels",
        "code": """
import numpy as np
x = np.ma.masked_less(np.array([[[1., -99., 3., 4.]]]), 0)
y = cd.convolve(cd.Conv((1, 4), 1, 2), x, np.ones((1, 1, 2)))
""",
        "says": "use \\.filled\\(0\\)",
    },
    {
        "user": "NumPy",
        "title": "NaN in x",
        "code": """
import numpy as np
x = np.array([[[1., np.nan, 3., 4.]]])
y = cd.convolve(cd.Conv((1, 4), 1, 2), x, np.ones((1, 1, 2)))
np.isnan(y).tolist()
""",
        "value": "[[[True, True, False]]]",
    },
    {
        "user": "NumPy",
        "title": "Fortran-ordered x",
        "code": """
import numpy as np
x = np.asfortranarray(np.arange(9.).reshape(1, 1, 3, 3))
y = cd.convolve(cd.Conv((1, 3, 3), 1, 2), x, np.ones((1, 1, 2, 2)))
y
""",
        "value": "[[[[8., 12.], [20., 24.]]]]",
    },
    {
        "user": "NumPy",
        "title": "np.pad word 'edge'",
        "code": """
import numpy as np
conv = cd.Conv((1, 3), 1, 3, padding=1, padding_mode='edge')
y = cd.convolve(conv, np.array([[[1., 2., 3.]]]), np.ones((1, 1, 3)))
y
""",
        "says": "write 'replicate'",
    },
    {
        "user": "NumPy",
        "title": "np.pad word 'wrap'",
        "code": """
import numpy as np
conv = cd.Conv((1, 3), 1, 3, padding=1, padding_mode='wrap')
y = cd.convolve(conv, np.array([[[1., 2., 4.]]]), np.array([[[1., 0., 0.]]]))
y
""",
        "says": "write 'circular'",
    },
    {
        "user": "NumPy",
        "title": "np.pad word 'symmetric'",
        "code": """
import numpy as np
conv = cd.Conv((1, 3), 1, 5, padding=2, padding_mode='symmetric')
y = cd.convolve(conv, np.array([[[1., 2., 4.]]]), np.ones((1, 1, 5)))
y
""",
        "value": "[[[10., 12., 13.]]]",
    },
    {
        "user": "NumPy",
        "title": "np.pad widths including the channel axis",
        "code": """
conv = cd.Conv((3, 8, 8), 4, 3, padding=((0, 0), (1, 1), (1, 1)))
conv.out_shape
""",
        "says": "leave out what is for batch or channels",
    },
    {
        "user": "NumPy",
        "title": "numpy integers and arrays as geometry",
        "code": """
import numpy as np
conv = cd.Conv(np.array([3, 8, 8]), np.int64(4), np.array([3, 3]), stride=np.int32(1))
conv.out_shape
""",
        "value": "(4, 6, 6)",
    },
    {
        "user": "NumPy",
        "title": "float sizes from a division",
        "code": """
conv = cd.Conv((3, 16 / 2, 16 / 2), 4, 3)
""",
        "says": "in_shape: got 8.0; needs an integer",
    },
    {
        "user": "NumPy",
        "title": "np.random.Generator as seed",
        "code": """
import numpy as np
rng = np.random.default_rng(0)
net = cd.network(cd.Conv((1, 6, 6), 2, 3), cd.Flatten(), cd.Linear(32, 4), seed=rng)
net
""",
        "says": "int\\(rng\\.integers",
    },
    {
        "user": "NumPy",
        "title": "flat x from a design matrix",
        "code": """
import numpy as np
X = np.arange(18.).reshape(2, 9)            # samples x pixels
y = cd.convolve(cd.Conv((1, 3, 3), 1, 2), X, np.ones((1, 1, 2, 2)))
""",
        "says": "write np\\.reshape\\(x, \\(-1, 1, 3, 3\\)\\)",
    },
    {
        "user": "NumPy",
        "title": "x without channel axis in convolve",
        "code": """
import numpy as np
y = cd.convolve(cd.Conv((1, 3, 3), 1, 2), np.ones((3, 3)), np.ones((1, 1, 2, 2)))
""",
        "says": "write np\\.reshape\\(x, \\(1, 3, 3\\)\\)",
    },
    {
        "user": "NumPy",
        "title": "scalar bias",
        "code": """
import numpy as np
y = cd.convolve(cd.Conv((1, 2), 1, 1), np.array([[[1., 2.]]]), np.array([[[2.]]]), 0.5)
y
""",
        "says": "write np\\.full\\(\\(1,\\), b\\)",
    },
    {
        "user": "NumPy",
        "title": "kernel bigger than image",
        "code": """
cd.Conv((1, 2, 2), 1, 3)
""",
        "says": "use a smaller kernel or more padding$",
    },
    {
        "user": "NumPy",
        "title": "backward by hand in 1-D",
        "code": """
import numpy as np
conv = cd.Conv((1, 3), 1, 2)
x = np.array([[[1., 2., 3.]]]); w = np.array([[[10., 100.]]]); dy = np.ones((1, 1, 2))
g = cd.convolve_backward(conv, x, w, dy)
[np.asarray(a).ravel().tolist() for a in g]
""",
    },
    {
        "user": "NumPy",
        "title": "check with nothing but the layer",
        "code": """
cd.check(cd.Conv((1, 5, 5), 2, 3))
""",
        "says": "needs layer, x, w, b, dy",
    },
    {
        "user": "NumPy",
        "title": "certify an implementation that is wrong",
        "code": """
import numpy as np
r = cd.certify(cd.Conv((1, 5, 5), 2, 3), lambda x, w, b: np.zeros((len(x), 2, 3, 3)))
assert not r and r.forward_alone
""",
    },
    {
        "user": "NumPy",
        "title": "equations printed",
        "code": """
print(cd.equations(cd.Conv((1, 3), 1, 2)))
""",
    },
    {
        "user": "NumPy",
        "title": "equations of the kernel",
        "code": """
import numpy as np
print(cd.equations(np.ones((1, 1, 2, 2)), (1, 3, 3)))
""",
        "says": "a layer comes first",
    },
    {
        "user": "NumPy",
        "title": "recover with int shape",
        "code": """
import numpy as np
r = cd.recover(lambda x: np.cumsum(x), 5)
print(r)
""",
        "says": "in_shape: got 5; needs a tuple of sizes",
    },
    {
        "user": "NumPy",
        "title": "printing a layer",
        "code": """
conv = cd.Conv((3, 32, 32), 8, 3, padding=1)
s = repr(conv)
'3' in s and '32' in s and 'Conv' in s and '0x' not in s
""",
        "value": "True",
    },
    {
        "user": "NumPy",
        "title": "plot of the csr matrix",
        "needs": ["matplotlib"],
        "code": """
import matplotlib
matplotlib.use('Agg')
import numpy as np
A = cd.conv_matrix(np.ones((1, 1, 3, 3)), (1, 5, 5))
cd.plots.matrix(A)
""",
        "says": "layer: got csr_array of shape \\(9, 25\\); .*a layer comes first",
    },
    {
        "user": "NumPy",
        "title": "cd.plot / conv.plot()",
        "needs": ["matplotlib"],
        "code": """
import matplotlib
matplotlib.use('Agg')
cd.plot(cd.Conv((1, 5, 5), 1, 3))
""",
        "says": "write plots\\.matrix\\(layer\\)",
    },
    {
        "user": "NumPy",
        "title": "MaxPool called on an array",
        "code": """
import numpy as np
y = cd.MaxPool(np.arange(16.).reshape(1, 4, 4), 2)
""",
        "says": (
            "needs a tuple \\(channels, \\*axes\\), such as \\(3, 32, 32\\); write tuple"
            "\\(x\\.shape\\), of one sample x"
        ),
    },
    {
        "user": "NumPy",
        "title": "apply a pool",
        "code": """
import numpy as np
pool = cd.MaxPool((1, 4, 4), 2)
y = cd.network(pool).forward(np.arange(16.).reshape(1, 1, 4, 4))
y
""",
        "value": "[[[[5., 7.], [13., 15.]]]]",
    },
    {
        "user": "NumPy",
        "title": "dense_pool of an average",
        "code": """
M = cd.dense_pool(cd.AvgPool((1, 4), 2))
M
""",
    },
    {
        "user": "NumPy",
        "title": "Conv in the place of a pool",
        "code": """
cd.dense_pool(cd.Conv((1, 4, 4), 1, 2))
""",
        "says": "tie\\(layer\\) is for convolutions",
    },
    {
        "user": "pandas",
        "title": "DataFrame as kernel",
        "needs": ["pandas"],
        "code": """
import pandas as pd
k = pd.DataFrame([[1., 2.], [3., 4.]])
A = cd.conv_matrix(k, (1, 3, 3))
A.shape
""",
        "says": "give w\\[None, None\\]",
    },
    {
        "user": "pandas",
        "title": "Series as signal, moving average",
        "needs": ["pandas"],
        "code": """
import pandas as pd
s = pd.Series([1., 2., 3., 4., 5.], index=pd.date_range('2024-01-01', periods=5))
y = cd.convolve(cd.Conv((1, len(s)), 1, 3), s, [[[1 / 3, 1 / 3, 1 / 3]]])
""",
        "says": "write np\\.reshape\\(x, \\(1, 5\\)\\)",
    },
    {
        "user": "pandas",
        "title": "Matrix into a DataFrame",
        "needs": ["pandas"],
        "code": """
import pandas as pd
A = cd.conv_matrix([[[1., 2.]]], (1, 3))
pd.DataFrame.sparse.from_spmatrix(A).shape
""",
        "value": "(2, 3)",
    },
    {
        "user": "pandas",
        "title": "DataFrame with a missing value",
        "needs": ["pandas"],
        "code": """
import pandas as pd
k = pd.DataFrame([[1, None], [3, 4]])
A = cd.conv_matrix(k.to_numpy()[None, None], (1, 3, 3))
""",
    },
    {
        "user": "MATLAB",
        "title": "convmtx2(H, m, n)",
        "code": """
import numpy as np
H = np.array([[1., 2.], [3., 4.]])
T = cd.convmtx2(H, 3, 3)
""",
        "says": "write conv_matrix\\(w, in_shape\\)",
    },
    {
        "user": "MATLAB",
        "title": "shape 'full' as conv2 takes it",
        "code": """
import numpy as np
T = cd.conv_matrix(np.array([[[[1., 2.], [3., 4.]]]]), (1, 3, 3), shape='full')
""",
        "says": 'padding="valid", "same" or "full"',
    },
    {
        "user": "MATLAB",
        "title": "[m n] list with a full matrix, right",
        "code": """
import numpy as np
T = cd.conv_matrix(np.array([[[[1., 2.], [3., 4.]]]]), [1, 3, 3], padding=1, flip=True)
T.shape
""",
        "value": "(16, 9)",
    },
    {
        "user": "MATLAB",
        "title": "column vector x",
        "code": """
import numpy as np
A = cd.conv_matrix(np.array([[[1., 2.]]]), (1, 3))
x = np.array([[1.], [1.], [1.]])
A @ x
""",
        "value": "[[3.], [3.]]",
    },
    {
        "user": "MATLAB",
        "title": "1-based layer index",
        "code": """
net = cd.network(cd.Conv((1, 6, 6), 2, 3), cd.ReLU())
first = net[1]
last = net[2]
""",
        "says": "needs an integer from -2 to 1",
    },
    {
        "user": "MATLAB",
        "title": "convolution2dLayer(3, 8, 'Padding', 'same')",
        "code": """
layer = cd.Conv(3, 8, 'Padding', 'same')
""",
        "says": "needs in_shape, out_channels, kernel in this order",
    },
    {
        "user": "MATLAB",
        "title": "capitalised keywords",
        "code": """
conv = cd.Conv((3, 8, 8), 4, 3, Stride=2, Padding=1)
conv.out_shape
""",
        "says": "write stride=2; write padding=1",
    },
    {
        "user": "MATLAB",
        "title": "H x W x C x N array",
        "code": """
import numpy as np
x = np.zeros((8, 8, 3, 5))
y = cd.convolve(cd.Conv((3, 8, 8), 4, 3), x, np.ones((4, 3, 3, 3)))
""",
        "says": "write np\\.moveaxis\\(x, \\(-1, -2\\), \\(0, 1\\)\\)",
    },
    {
        "user": "MATLAB",
        "title": "kernel h x w x in x out",
        "code": """
import numpy as np
w = np.ones((3, 3, 2, 4))
y = cd.convolve(cd.Conv((2, 8, 8), 4, 3), np.ones((1, 2, 8, 8)), w)
""",
        "says": "write np\\.moveaxis\\(w, \\(-1, -2\\), \\(0, 1\\)\\)",
    },
    {
        "user": "MATLAB",
        "title": "difference matrix and its nonzeros",
        "code": """
A = cd.conv_matrix([[[1., -1.]]], (1, 4))
(A.nnz, A.toarray().tolist())
""",
        "value": "(6, [[1., -1., 0., 0.], [0., 1., -1., 0.], [0., 0., 1., -1.]])",
    },
    {
        "user": "MATLAB",
        "title": "zero in the kernel and nnz",
        "code": """
A = cd.conv_matrix([[[1., 0., -1.]]], (1, 4))
A.toarray()
""",
        "value": "[[1., 0., -1., 0.], [0., 1., 0., -1.]]",
    },
    {
        "user": "MATLAB",
        "title": "mldivide: solve A x = y",
        "code": """
import numpy as np
from scipy.sparse.linalg import spsolve
A = cd.conv_matrix(np.array([[[0., 2., 0.]]]), (1, 3), padding=1)
x = spsolve(A.tocsc(), np.array([2., 4., 6.]))
x
""",
        "value": "[1., 2., 3.]",
    },
    {
        "user": "ONNX",
        "title": "node attributes as keywords",
        "code": """
attrs = dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], group=1)
conv = cd.Conv((3, 8, 8), 4, **attrs)
conv.out_shape
""",
        "says": (
            "write kernel=\\[3, 3\\]; write stride=\\[2, 2\\]; write padding=.*; write "
            "dilation=\\[1, 1\\]; write groups=1"
        ),
    },
    {
        "user": "ONNX",
        "title": "pads in ONNX order",
        "code": """
conv = cd.Conv((1, 6, 8), 1, 3, padding=[1, 2, 1, 0])
conv.out_shape
""",
        "says": "\\(\\(1, 1\\), \\(2, 0\\)\\) for those of ONNX",
    },
    {
        "user": "ONNX",
        "title": "auto_pad SAME_UPPER",
        "code": """
conv = cd.Conv((1, 5, 5), 1, 2, auto_pad='SAME_UPPER')
conv.out_shape
""",
        "says": 'write padding="same" for SAME_UPPER',
    },
    {
        "user": "ONNX",
        "title": "SAME_LOWER as padding word",
        "code": """
A = cd.conv_matrix([[[1., 2.]]], (1, 3), padding='SAME_LOWER')
A.toarray()
""",
        "says": "write 'same_lower'",
    },
    {
        "user": "ONNX",
        "title": "auto_pad NOTSET beside pads",
        "code": """
conv = cd.Conv((1, 5, 5), 1, 3, auto_pad='NOTSET', pads=[0, 0, 0, 0])
conv.out_shape
""",
        "says": "NOTSET is 0",
    },
    {
        "user": "ONNX",
        "title": "group=",
        "code": """
conv = cd.Conv((4, 6, 6), 4, 3, group=4)
conv.out_shape
""",
        "says": "write groups=4",
    },
    {
        "user": "ONNX",
        "title": "X, W, B as keywords",
        "code": """
import numpy as np
conv = cd.Conv((1, 3, 3), 1, 2)
y = cd.convolve(conv, X=np.ones((1, 1, 3, 3)), W=np.ones((1, 1, 2, 2)), B=np.zeros(1))
""",
        "says": "write x=\\.\\.\\.; write w=\\.\\.\\.; write b=",
    },
    {
        "user": "ONNX",
        "title": "MaxPool with ceil_mode=1 and storage_order",
        "code": """
pool = cd.MaxPool((1, 5, 5), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, storage_order=0)
""",
        "says": "write kernel=\\[2, 2\\]; write stride=\\[2, 2\\]; leave it out",
    },
    {
        "user": "ONNX",
        "title": "AveragePool count_include_pad as 0/1",
        "code": """
import numpy as np
pool = cd.AvgPool((1, 3), 3, stride=1, padding=1, count_include_pad=0)
y = cd.network(pool).forward(np.array([[[2., 4., 6.]]]))
y
""",
        "says": "needs True or False",
    },
    {
        "user": "ONNX",
        "title": "ConvTranspose output_shape",
        "code": """
up = cd.ConvTranspose((1, 3, 3), 1, 3, stride=2, output_shape=[8, 8])
""",
        "says": "write output_padding=",
    },
    {
        "user": "ONNX",
        "title": "GlobalAveragePool",
        "code": """
g = cd.GlobalAveragePool((4, 7, 7))
""",
        "says": "write AvgPool\\(in_shape, output=1\\)",
    },
    {
        "user": "ONNX",
        "title": "Gemm with transB weights",
        "code": """
fc = cd.Gemm(144, 10, transB=1)
""",
        "says": "write Linear\\(in_features",
    },
    {
        "user": "ONNX",
        "title": "in_shape with a symbolic batch",
        "code": """
conv = cd.Conv(('N', 3, 8, 8), 4, 3)
""",
        "says": "; write the size of every axis, and leave the batch out",
    },
    {
        "user": "ONNX",
        "title": "Flatten(axis=1)",
        "code": """
f = cd.Flatten(axis=1)
""",
        "says": "leave it out",
    },
    {
        "user": "PyTorch",
        "title": "CLI: kernel as a single number",
        "command": "convdense show --input 1x5x5 --kernel 3",
        "says": "a  b  c",
    },
    {
        "user": "PyTorch",
        "title": "CLI: torch words",
        "command": (
            "convdense show --input 3x8x8 --kernel_size 3x3 --in_channels 3 --out_channels 4"
        ),
        "says": "--kernel",
    },
    {
        "user": "PyTorch",
        "title": "CLI: commas",
        "command": "convdense matrix --input 1,4,4 --kernel 3,3",
        "says": "joined by x such as 3x32x32",
    },
    {
        "user": "PyTorch",
        "title": "CLI: batch in the input",
        "command": "convdense certify --input 16x3x8x8 --kernel 3x3",
        "says": "in_shape is \\(channels, \\*axes\\)",
    },
    {
        "user": "Keras",
        "title": "CLI: channels last with 'same'",
        "command": "convdense show --input 28x28x1 --kernel 3x3 --padding same",
        "says": "channels first is 1x28x28",
    },
    {
        "user": "Keras",
        "title": "CLI: --strides",
        "command": "convdense show --input 1x8x8 --kernel 3x3 --strides 2",
        "says": "did you mean --stride",
    },
    {
        "user": "ONNX",
        "title": "CLI: --pads",
        "command": "convdense show --input 1x8x8 --kernel 3x3 --pads 1,1,1,1",
        "says": "did you mean --padding",
    },
    {
        "user": "NumPy",
        "title": "CLI: no command",
        "command": "convdense",
        "says": "(?s)explain .*certify .*example: convdense show --input 1x3x3",
    },
    {
        "user": "NumPy",
        "title": "CLI: input with spaces and brackets",
        "command": "convdense matrix --input '(1, 4, 4)' --kernel '(3, 3)'",
        "says": "joined by x",
    },
    {
        "user": "NumPy",
        "title": "CLI: weights from a file",
        "command": "convdense matrix --input 1x3x3 --kernel 2x2 --weights W.npy",
        "says": "-o/--output",
    },
    {
        "user": "MATLAB",
        "title": "CLI: two-number input",
        "command": "convdense show --input 5x5 --kernel 3x3",
        "says": "in_shape is \\(channels, \\*axes\\)",
    },
    {
        "user": "Keras",
        "title": "CLI: pool 'average'",
        "command": "convdense show --input 1x4x4 --kernel 2x2 --pool average",
        "says": "choose from",
    },
]
