"""PyTorch as the outside judge, bit for bit, in float64 and float32."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as first_seed

import convdense as cd
from convdense import Conv, ConvTranspose
from tests.strategies import FORMS, MODES, calls, integers_for, seeds

torch = pytest.importorskip(
    "torch", reason="PyTorch, the outside judge of outputs and gradients, is not installed"
)

THEIR_MODES = tuple(mode for mode in MODES if mode != "symmetric")  # PyTorch has no such padding
AT_LEAST = 3  # padded layers among twenty


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Layers this small are slower on several threads, and much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def convolution(layer, x, w, b):
    """Return PyTorch's output of a convolution.

    It pads both sides alike, so other pads are added beforehand.
    """
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
    """Return PyTorch's output of a transposed convolution.

    It crops both sides alike, others are cropped afterwards.
    """
    function = getattr(torch.nn.functional, f"conv_transpose{len(layer.kernel)}d")
    shared = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    if all(begin == end for begin, end in layer.padding):
        crop = tuple(begin for begin, _ in layer.padding)
        return function(x, w, b, padding=crop, output_padding=layer.output_padding, **shared)
    ends = zip(reversed(layer.padding), reversed(layer.output_padding), strict=True)
    y = torch.nn.functional.pad(
        function(x, w, **shared), [n for (begin, end), e in ends for n in (-begin, e - end)]
    )
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
    """Return what differs from PyTorch, shape, dtype and every bit, either way."""
    x, w, b, dy = numbers
    tied = cd.TiedDense(layer, w, b)
    evaluators = {
        "tied": (tied.forward(x), *tied.backward(x, dy)),
        "fast": (cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)),
    }
    expected = judged(layer, x, w, b, dy)
    return [
        f"{name} of {evaluator} in {x.dtype}"
        for evaluator, results in evaluators.items()
        for name, got, theirs in zip(("y", "dx", "dw", "db"), results, expected, strict=True)
        if got.dtype != theirs.dtype or not np.array_equal(got, theirs)
    ]


def judge(examples, number, axes, **options):
    """Judge this many random layers; return how many of them are padded.

    They are the same ones for the same number.
    """
    padded = []

    @first_seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(calls(min_axes=axes, max_axes=axes, **options), seeds)
    def agrees(call, seed):
        layer = call.layer()
        padded.append(sum(map(sum, layer.padding)) > 0)
        for dtype in (np.float64, np.float32):
            assert disagreements(layer, integers_for(layer, seed, dtype=dtype)) == []

    agrees()
    return sum(padded)


@pytest.mark.claim("forward", "dx", "dw", "db")
@pytest.mark.parametrize("mode", THEIR_MODES)
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.thinned(3)
def test_convolution(axes, mode):
    assert judge(20, THEIR_MODES.index(mode), axes, kinds=(Conv,), modes=(mode,)) >= AT_LEAST


@pytest.mark.claim("transposed")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.thinned(3)
def test_transposed_convolution(axes, form):
    padded = judge(10, FORMS.index(form), axes, kinds=(ConvTranspose,), forms=(form,))
    assert (padded > 0) is (form != "valid")


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
