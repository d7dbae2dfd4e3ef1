"""PyTorch as the outside judge: outputs and gradients of random layers, bit for bit, in float64 and float32."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import convdense as cd
from convdense import Conv, ConvTranspose
from tests.strategies import MODES, calls, integers_for, seeds

torch = pytest.importorskip("torch", reason="PyTorch, the outside judge of outputs and gradients, is not installed")

THEIR_MODES = tuple(mode for mode in MODES if mode != "symmetric")  # PyTorch has no such padding
AT_LEAST = 10  # how often every option listed below must have been judged


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Layers this small are slower on several threads, and much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def convolution(layer, x, w, b):
    """Return PyTorch's output of a convolution; it pads both sides alike, so other pads are added beforehand."""
    pads = layer.padding
    if any(begin != end for begin, end in pads):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = torch.nn.functional.pad(x, [n for pair in reversed(pads) for n in pair], mode=mode)
        pads = [(0, 0)] * len(pads)
    kind = getattr(torch.nn, f"Conv{len(pads)}d")
    module = kind(
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        stride=layer.stride,
        padding=tuple(begin for begin, _ in pads),
        dilation=layer.dilation,
        groups=layer.groups,
        padding_mode=layer.padding_mode,
        device="meta",  # its own weights are never used
    )
    return torch.func.functional_call(module, {"weight": w, "bias": b}, (x,))


def transposed_convolution(layer, x, w, b):
    """Return PyTorch's output of a transposed convolution; it crops both sides alike, others are cropped afterwards."""
    function = getattr(torch.nn.functional, f"conv_transpose{len(layer.kernel)}d")
    shared = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    if all(begin == end for begin, end in layer.padding):
        crop = tuple(begin for begin, _ in layer.padding)
        return function(x, w, b, padding=crop, output_padding=layer.output_padding, **shared)
    ends = zip(reversed(layer.padding), reversed(layer.output_padding), strict=True)
    y = torch.nn.functional.pad(function(x, w, **shared), [n for (begin, end), e in ends for n in (-begin, e - end)])
    return y + b.reshape(-1, *[1] * len(layer.kernel))


def judged(layer, x, w, b, dy):
    """Return PyTorch's y, dx, dw and db."""
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, w, b)]
    theirs, kernel, bias = leaves
    if layer.flip:
        kernel = kernel.flip(tuple(range(2, kernel.ndim)))
    forward = transposed_convolution if isinstance(layer, ConvTranspose) else convolution
    y = forward(layer, theirs, kernel, bias)
    y.backward(torch.tensor(dy))
    return [v.detach().numpy() for v in (y, *(leaf.grad for leaf in leaves))]


def disagreements(layer, numbers):
    """Return what differs from PyTorch, shape, dtype and every bit, on either road."""
    x, w, b, dy = numbers
    tied = cd.TiedDense(layer, w, b)
    roads = {
        "tied": (tied.forward(x), *tied.backward(x, dy)),
        "fast": (cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)),
    }
    expected = judged(layer, x, w, b, dy)
    return [
        f"{name} of {road} in {x.dtype}"
        for road, results in roads.items()
        for name, got, theirs in zip(("y", "dx", "dw", "db"), results, expected, strict=True)
        if got.dtype != theirs.dtype or not np.array_equal(got, theirs)
    ]


def judge(kind, examples):
    """Judge this many random layers of one kind, the same ones every time; return how often each option was used."""
    used = Counter()

    @settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(calls(kinds=(kind,), modes=THEIR_MODES), seeds)
    def agrees(call, seed):
        layer = call.layer()
        used.update([f"{len(layer.kernel)} axes", f"padding: {call.form}"])
        used[f"padding_mode: {layer.padding_mode}"] += sum(map(sum, layer.padding)) > 0
        for dtype in (np.float64, np.float32):
            assert disagreements(layer, integers_for(layer, seed, dtype=dtype)) == []

    agrees()
    return used


def seldom(used, *options):
    return {option: used[option] for option in options if used[option] < AT_LEAST}


def test_convolution():
    used = judge(Conv, examples=250)
    assert seldom(used, *(f"{n} axes" for n in (1, 2, 3)), *(f"padding_mode: {mode}" for mode in THEIR_MODES)) == {}


def test_transposed_convolution():
    used = judge(ConvTranspose, examples=200)
    assert seldom(used, *(f"{n} axes" for n in (1, 2, 3)), "padding: pairs", "padding: same") == {}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", THEIR_MODES)
@pytest.mark.parametrize("dilation", [(1, 1, 1), (3, 1, 2), (1, 3, 1)], ids=str)
@pytest.mark.parametrize("kernel", [(2, 3, 4), (4, 2, 3), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_same_is_pytorchs(axes, kernel, dilation, mode):
    """PyTorch's own "same", which knows stride 1 only: an odd cell goes to the end."""
    options = {"dilation": dilation[:axes], "groups": 2, "padding": "same", "padding_mode": mode}
    layer = Conv((4, 7, 8, 9)[: axes + 1], 6, kernel[:axes], **options)
    module = getattr(torch.nn, f"Conv{axes}d")(4, 6, kernel[:axes], **options, device="meta")
    x, w, b, _ = integers_for(layer, seed=axes)
    parameters = {"weight": torch.tensor(w), "bias": torch.tensor(b)}
    theirs = torch.func.functional_call(module, parameters, (torch.tensor(x),))
    assert np.array_equal(cd.TiedDense(layer, w, b).forward(x), theirs.numpy())
