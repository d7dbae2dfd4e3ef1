"""A depthwise causal conv1d in Triton, forward and backward, and a backward with a defect.

y[n, t, d] = sum over k of w[d, k] x[n, t - K + 1 + k, d] + b[d], on arrays (batch, time, channels).
The kernels run compiled, on CUDA tensors of PyTorch, or by Triton's interpreter on NumPy's arrays,
where ``TRITON_INTERPRET=1`` is set when this file is imported.
"""

import numpy as np
import triton
import triton.language as tl

ROWS = 16  # places in time, of all samples one after the other, that a program takes at once
LANES = 4  # channels


@triton.jit
def forward_kernel(
    x, w, b, y, x_n, x_t, x_d, w_d, w_k, rows, length, channels,
    K: tl.constexpr, SUMS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Write y, which is contiguous."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    d = (tl.program_id(1) * LANES + tl.arange(0, LANES)).to(tl.int64)[None, :]
    t = row % length
    inside = (row < rows) & (d < channels)
    place = x + row // length * x_n + d * x_d
    total = tl.load(b + d + row * 0, inside, 0).to(SUMS)
    for k in tl.static_range(K):
        at = t - (K - 1 - k)
        picture = tl.load(place + at * x_t, inside & (at >= 0), 0).to(SUMS)
        total += picture * tl.load(w + d * w_d + k * w_k, d < channels, 0).to(SUMS)
    tl.store(y + row * channels + d, total.to(y.dtype.element_ty), inside)


@triton.jit
def dx_kernel(
    w, dy, dx, w_d, w_k, dy_n, dy_t, dy_d, rows, length, channels,
    K: tl.constexpr, SUMS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Write dx, which is contiguous."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    d = (tl.program_id(1) * LANES + tl.arange(0, LANES)).to(tl.int64)[None, :]
    t = row % length
    inside = (row < rows) & (d < channels)
    place = dy + row // length * dy_n + d * dy_d
    total = tl.full((ROWS, LANES), 0, SUMS)
    for k in tl.static_range(K):
        at = t + (K - 1 - k)
        upstream = tl.load(place + at * dy_t, inside & (at < length), 0).to(SUMS)
        total += upstream * tl.load(w + d * w_d + k * w_k, d < channels, 0).to(SUMS)
    tl.store(dx + row * channels + d, total.to(dx.dtype.element_ty), inside)


@triton.jit
def dw_kernel(
    x, dy, parts, x_n, x_t, x_d, dy_n, dy_t, dy_d, rows, length, channels,
    K: tl.constexpr, SUMS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Write parts of dw and, as the last tap, of db: (K + 1, rows, channels)."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    d = (tl.program_id(1) * LANES + tl.arange(0, LANES)).to(tl.int64)[None, :]
    t = row % length
    inside = (row < rows) & (d < channels)
    n = row // length
    upstream = tl.load(dy + n * dy_n + t * dy_t + d * dy_d, inside, 0).to(SUMS)
    place = x + n * x_n + d * x_d
    part = parts + row * channels + d
    for k in tl.static_range(K):
        at = t - (K - 1 - k)
        picture = tl.load(place + at * x_t, inside & (at >= 0), 0).to(SUMS)
        tl.store(part + k * rows * channels, upstream * picture, inside)
    tl.store(part + K * rows * channels, upstream, inside)


class Pointer:
    """What Triton's interpreter asks of a tensor, of a NumPy array: it is on the host already."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype.name

    def data_ptr(self):
        return self.array.ctypes.data

    def new_empty(self, *_, **__):
        return self

    def nothing(self, *_):
        return self

    untyped_storage = cpu = copy_ = set_ = storage_offset = size = stride = nothing


def pointer(array):
    return Pointer(array) if isinstance(array, np.ndarray) else array


def strides(array):
    """Return strides in cells; below 0 there are none, as in PyTorch."""
    if not isinstance(array, np.ndarray):
        return array.stride()
    if min(array.strides, default=0) < 0:
        raise ValueError("negative strides are not supported")
    return tuple(stride // array.itemsize for stride in array.strides)


def new(like, shape):
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def blocks(n, size):
    return -(-n // size)


def launch(kernel, arrays, numbers, x, w):
    """Run a kernel on all rows and channels of x."""
    batch, length, channels = x.shape
    sums = tl.float64 if "float64" in str(x.dtype) else tl.float32
    grid = blocks(batch * length, ROWS), blocks(channels, LANES)
    kernel[grid](
        *map(pointer, arrays), *numbers, batch * length, length, channels,
        K=w.shape[2], SUMS=sums, ROWS=ROWS, LANES=LANES,
    )  # fmt: skip


def forward(x, w, b):
    """Return y for x (batch, time, channels), w (channels, 1, K) and b (channels,)."""
    y = new(x, x.shape)
    w_d, _, w_k = strides(w)
    b = np.ascontiguousarray(b) if isinstance(b, np.ndarray) else b.contiguous()
    launch(forward_kernel, (x, w, b, y), (*strides(x), w_d, w_k), x, w)
    return y


def gradients(x, w, dy, dy_strides):
    batch, length, channels = x.shape
    dx = new(x, x.shape)
    in_sums = x[:0] if x.itemsize >= 4 else x[:0].float()  # half precision is summed in float32
    parts = new(in_sums, (w.shape[2] + 1, batch * length, channels))
    w_d, _, w_k = strides(w)
    launch(dx_kernel, (w, dy, dx), (w_d, w_k, *dy_strides), x, w)
    launch(dw_kernel, (x, dy, parts), (*strides(x), *dy_strides), x, w)
    dw = parts.sum(1)
    dw = dw if in_sums.dtype == x.dtype else dw.to(x.dtype)
    return dx, dw[:-1].T[:, None], dw[-1]


def backward(x, w, dy):
    """Return dx, dw and db."""
    return gradients(x, w, dy, strides(dy))


def backward_of_contiguous(x, w, dy):
    """Return the gradients where dy is contiguous, and takes it for that where it is not.

    As flash-linear-attention did before its pull request 871.
    """
    strides(dy)
    _, length, channels = dy.shape
    return gradients(x, w, dy, (length * channels, channels, 1))
