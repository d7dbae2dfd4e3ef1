"""certify_model: every convolution and pool that really runs, as it runs; and double backward."""

from types import SimpleNamespace

import numpy as np
import pytest

import convdense as cd
from convdense.verdicts.findings import EQUAL, Finding

torch = pytest.importorskip("torch", reason="PyTorch, which this adapter is for, is not installed")

from torch.nn.utils import prune  # noqa: E402  (after the skip)

from convdense.adapters.torch import (  # noqa: E402  (after the skip)
    certify_model,
    certify_module,
    implementation,
)

pytestmark = pytest.mark.few_calls

nn, F = torch.nn, torch.nn.functional
IMAGE = torch.zeros(1, 2, 8, 7)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Runs(nn.Module):
    """A model of one function, with parts."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def judged(function, x=IMAGE, options=None, **parts):
    return certify_model(Runs(function, **parts), x, seed=0, **(options or {}))


def layers(report):
    return {name: certificate.layer for name, certificate in report.certificates.items()}


W1, W2, W3 = torch.zeros(4, 2, 3), torch.zeros(4, 2, 3, 2), torch.zeros(4, 2, 2, 1, 2)
UP = torch.zeros(2, 3, 2, 3)
FUNCTIONS = [
    ("conv1d", lambda x: F.conv1d(x[0], W1, stride=2), cd.Conv((2, 7), 4, 3, stride=2)),
    ("conv2d", lambda x: F.conv2d(input=x, weight=W2, padding=(1, 0), dilation=2),
     cd.Conv((2, 8, 7), 4, (3, 2), padding=(1, 0), dilation=2)),
    ("conv2d", lambda x: torch.conv2d(x, W2[..., :1], None, 1, "same"),
     cd.Conv((2, 8, 7), 4, (3, 1), padding="same")),
    ("conv2d", lambda x: F.conv2d(x, torch.zeros(4, 1, 3, 2), torch.zeros(4), 2, 1, 1, 2),
     cd.Conv((2, 8, 7), 4, (3, 2), stride=2, padding=1, groups=2)),
    ("conv2d", lambda x: torch.ops.aten.conv2d.default(x, W2, None, [2, 1]),
     cd.Conv((2, 8, 7), 4, (3, 2), stride=(2, 1))),
    ("conv3d", lambda x: F.conv3d(x.reshape(1, 2, 4, 2, 7), W3),
     cd.Conv((2, 4, 2, 7), 4, (2, 1, 2))),
    ("conv_transpose2d", lambda x: F.conv_transpose2d(x, UP, None, 2, 1, 1),
     cd.ConvTranspose((2, 8, 7), 3, (2, 3), stride=2, padding=1, output_padding=1)),
    ("conv_transpose2d", lambda x: F.conv_transpose2d(x, UP[:, :2], groups=2, dilation=2),
     cd.ConvTranspose((2, 8, 7), 4, (2, 3), groups=2, dilation=2)),
    ("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1),
     cd.MaxPool((2, 8, 7), 3, stride=2, padding=1)),
    ("max_pool2d", lambda x: F.max_pool2d(x, 2, return_indices=True)[0], cd.MaxPool((2, 8, 7), 2)),
    ("max_pool2d", lambda x: torch.max_pool2d(x, (2, 3), [], 0, 1, True),
     cd.MaxPool((2, 8, 7), (2, 3), ceil_mode=True)),
    ("max_pool1d", lambda x: F.max_pool1d(x[0], 3, dilation=2), cd.MaxPool((2, 7), 3, dilation=2)),
    ("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1, True, False, 5),
     cd.AvgPool((2, 8, 7), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False,
                divisor_override=5)),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (None, 3)),
     cd.AvgPool((2, 8, 7), output=(8, 3))),
    ("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, 2), cd.MaxPool((2, 8, 7), output=2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "run", "layer"), FUNCTIONS)
@pytest.mark.thinned(3)
def test_functions_are_judged_at_their_real_arguments(name, run, layer):
    x = IMAGE if name[-2] != "1" or "conv" not in name else IMAGE[:, :, 0][None]
    if name == "max_pool1d":
        x = IMAGE[:, :, 0][None]
    report = judged(lambda _, given: run(given), x)
    assert layers(report) == {f"model: {name}": layer}
    assert report.require().certificates[f"model: {name}"].evaluator == name
    assert report.skipped == {}


def test_a_function_is_named_by_the_module_that_calls_it_and_equal_calls_share_a_certificate():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, 2, 3, 3))
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x):
            return F.relu(
                self.conv(F.conv2d(F.conv2d(x, self.w, None, 1, 1), self.w, None, 1, 2, 2))
            )

    report = certify_model(nn.Sequential(Block(), nn.ReLU(), Block(), nn.ReLU()), IMAGE)
    assert [*report.certificates] == [
        "0: conv2d (2, 8, 7) -> (2, 8, 7)", "0: conv2d (2, 8, 7) -> (2, 8, 7)'", "0.conv",
        "2: conv2d (2, 8, 7) -> (2, 8, 7)", "2: conv2d (2, 8, 7) -> (2, 8, 7)'", "2.conv",
    ]  # fmt: skip
    assert len(set(map(id, report.certificates.values()))) == 3
    rows = str(report).splitlines()
    assert rows[4].startswith("0.conv, 2.conv  ")
    assert rows[-1].split() == [
        "1,",
        "3",
        "ReLU",
        "x",
        "2:",
        *["neither", "a", "convolution", "nor", "a", "pool", "of", "torch.nn"],
    ]
    assert "6 of 6 judged hold, 2 not judged, 0 never called" in rows


def test_many_names_are_shortened():
    model = nn.Sequential(*(part for _ in range(9) for part in (nn.Conv2d(2, 2, 1), nn.ReLU())))
    text = str(certify_model(model, IMAGE))
    assert "\n0, 2, 4, 6, 8, 4 more  Conv(" in text
    assert "1, 3, 5, 7, 9, 4 more  ReLU x 9: neither" in text


def test_dtype_and_memory_format_are_those_in_which_the_model_runs():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))
    for dtype in ("float32", "float64", "bfloat16"):
        report = certify_model(model.to(getattr(torch, dtype)), IMAGE.to(getattr(torch, dtype)))
        assert {c.dtype for c in report.certificates.values()} == {dtype}
    report = certify_model(model.float(), IMAGE, dtype="float64")
    assert {c.dtype for c in report.certificates.values()} == {"float64"}

    class Autocast(nn.Sequential):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    report = certify_model(Autocast(nn.Conv2d(2, 3, 3)), IMAGE)
    assert report.certificates["0"].dtype == "bfloat16"
    whole = judged(lambda _, x: F.max_pool2d(x, 2), IMAGE.to(torch.int64))
    assert whole.skipped["model: max_pool2d"].startswith("max_pool2d: dtype: got 'int64'")


def wrong_kernel(is_wrong):
    """Register a kernel of PyTorch's convolution that is wrong for some x, while it is open."""
    library = torch.library.Library("aten", "IMPL")
    wrong = {"count": 0}

    def pool(x, kernel, stride, padding=(0, 0), ceil_mode=False, include=True, divisor=None):
        y = torch.mean(x.unfold(2, 2, 2).unfold(3, 2, 2), (-2, -1))
        wrong["count"] += is_wrong(x)
        return y + is_wrong(x)

    library.impl("avg_pool2d", pool, "CPU")
    return library, wrong


def is_last(x):
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


@pytest.mark.few_calls(False)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("defect", ["float32", "channels_last"])
def test_a_kernel_that_only_the_model_runs_is_judged(defect):
    """Wrong for float32, or channels last, alone: the backward is not touched."""
    wrong = {"float32": lambda x: x.dtype == torch.float32, "channels_last": is_last}[defect]
    library, _ = wrong_kernel(wrong)
    try:
        x = torch.zeros(1, 2, 8, 6)
        plain = certify_model(nn.AvgPool2d(2), x.double() if defect == "float32" else x)
        given = x if defect == "float32" else x.contiguous(memory_format=torch.channels_last)
        report = certify_model(nn.AvgPool2d(2), given)
    finally:
        library._destroy()
    # what is not channels last is tried on such arrays as well
    assert bool(plain) == (defect == "float32")
    assert report.certificates["model"]["y"].refuted
    assert certify_model(nn.AvgPool2d(2), given)


# Modules whose numbers do not say what they compute: small copies of well-known ones


class SamePadding(nn.Conv2d):  # as timm's Conv2dSame
    def forward(self, x):
        x = F.pad(x, (0, 1, 1, 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class MaxPoolSame(nn.MaxPool2d):
    def forward(self, x):
        x = F.pad(x, (0, 1, 0, 1), value=-float("inf"))
        return F.max_pool2d(x, self.kernel_size, self.stride, (0, 0), self.dilation)


class Causal(nn.Conv1d):
    def forward(self, x):
        return super().forward(F.pad(x, (self.kernel_size[0] - 1, 0)))


class Crops(nn.Conv1d):
    def forward(self, x):
        return super().forward(x)[..., : -self.padding[0]]


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, w / (w.std() + 1e-5), self.bias)


class Scaled(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight * 0.5, self.bias)


def hooked():
    conv = nn.Conv2d(2, 3, 3)
    conv.register_forward_pre_hook(lambda _, x: F.pad(x[0], (1, 1, 1, 1)))
    return conv


def pruned():
    return prune.l1_unstructured(nn.Conv2d(2, 3, 3), "weight", 0.5)


def frozen():
    conv = nn.Conv2d(2, 3, 3)
    weight = conv.weight.detach()
    del conv.weight
    conv.register_buffer("weight", weight)
    return conv


norms = nn.utils.parametrizations
SEQUENCE = torch.zeros(1, 2, 9)
OWN = [  # module, what it is called with, what runs in it, and whether it is listed itself
    (SamePadding(2, 3, 3, stride=2), IMAGE, cd.Conv((2, 11, 8), 3, 3, stride=2), True),
    (MaxPoolSame(2, stride=1), IMAGE, cd.MaxPool((2, 9, 8), 2, stride=1), True),
    (Causal(2, 3, 3), SEQUENCE, cd.Conv((2, 11), 3, 3), True),
    (Crops(2, 3, 3, padding=2), SEQUENCE, cd.Conv((2, 9), 3, 3, padding=2), True),
    (Standardised(2, 3, 3), IMAGE, cd.Conv((2, 8, 7), 3, 3), True),
    (Scaled(2, 3, 3), IMAGE, cd.Conv((2, 8, 7), 3, 3), True),
    (hooked(), IMAGE, cd.Conv((2, 10, 9), 3, 3), True),
    (pruned(), IMAGE, cd.Conv((2, 8, 7), 3, 3), False),
    (frozen(), IMAGE, cd.Conv((2, 8, 7), 3, 3), False),
    (norms.weight_norm(nn.Conv2d(2, 3, 3)), IMAGE, cd.Conv((2, 8, 7), 3, 3), False),
    (norms.spectral_norm(nn.Conv2d(2, 3, 3)), IMAGE, cd.Conv((2, 8, 7), 3, 3), False),
    (nn.utils.weight_norm(nn.Conv2d(2, 3, 3)), IMAGE, cd.Conv((2, 8, 7), 3, 3), False),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("module", "x", "layer", "listed"), OWN)
@pytest.mark.thinned(3)
def test_what_is_not_what_its_numbers_say_gives_no_false_alarm(module, x, layer, listed):
    report = certify_model(nn.Sequential(module, nn.Identity()), x, seed=0).require()
    (name, certificate), = report.certificates.items()  # fmt: skip
    assert (name, certificate.layer) == (f"0: {certificate.evaluator}", layer)
    assert ("0" in report.skipped) == listed
    if listed:
        assert report.skipped["0"].startswith(f"{type(module).__name__}: ")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return 2 * dy


class WrongBackward(nn.Conv2d):
    def forward(self, x):
        return super().forward(Doubled.apply(x))


def test_a_forward_of_its_own_that_is_right_and_whose_backward_is_wrong_is_refused():
    report = certify_model(nn.Sequential(WrongBackward(2, 3, 3)), IMAGE, seed=0)
    assert [f.name for f in report.certificates["0"].findings if f.refuted] == ["dx"]
    assert not report
    assert "\n0: dx  wrong" in str(report)


class Fine(nn.Conv2d):
    def forward(self, x):
        return super().forward(x)


def test_a_forward_of_its_own_that_is_what_its_numbers_say_is_judged_as_the_module():
    report = certify_model(nn.Sequential(Fine(2, 3, 3)), IMAGE).require()
    assert [*report.certificates] == ["0"]
    assert report.certificates["0"].evaluator == "Fine"


def test_a_row_that_fails_says_why():
    class Forgets(nn.Conv2d):
        def forward(self, x):
            if len(x) == 3:
                return super().forward(0 * x)
            return super().forward(x)

    report = certify_model(nn.Sequential(Forgets(2, 3, 3)), IMAGE, seed=0)
    assert not report
    assert "0 of 1 judged hold" in str(report)
    assert "\n0: batch 3 wrong, worst at " in str(report)


# What runs where no function is seen


def test_what_torchscript_runs_is_listed():
    scripted = torch.jit.script(nn.Conv2d(2, 3, 3))
    report = judged(lambda self, x: F.max_pool2d(self.inner(x), 2), inner=scripted)
    assert [*report.certificates] == ["model: max_pool2d"]
    assert report.skipped == {
        "model": "Runs: convolution in TorchScript or a custom operator, where no function is seen"
    }
    assert (
        judged(lambda self, x: F.max_pool2d(self.inner(x), 2), inner=nn.Conv2d(2, 3, 3)).skipped
        == {}
    )


def test_functions_that_are_not_read_are_listed():
    report = judged(lambda _, x: F.fractional_max_pool2d(F.lp_pool2d(x, 3, 2), 2, output_size=2))
    assert report.skipped["model"].startswith("Runs: cd.LpPool is no LPPool: ")
    assert report.skipped["model"].endswith(
        "; fractional_max_pool2d is a function that is not read here"
    )


@pytest.mark.parametrize("name", ["stem", "my_conv"])
def test_a_custom_operator_is_listed(name):
    @torch.library.custom_op(f"convdense_test::{name}", mutates_args=())
    def operator(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, w, padding=2)

    why = {
        "stem": "stem in TorchScript or a custom operator, where no function is seen",
        "my_conv": "my_conv is a function that is not read here",
    }
    assert judged(lambda _, x: operator(x, W2)).skipped == {"model": f"Runs: {why[name]}"}


def test_a_module_that_raises_and_is_caught_leaves_the_names_right():
    class Raises(nn.Module):
        def forward(self, x):
            raise ValueError

    def run(self, x):
        try:
            self.bad(x)
        except ValueError:
            x = F.conv2d(x, W2)
        return x

    report = certify_model(nn.Sequential(Runs(run, bad=Raises())), IMAGE)
    assert next(iter(report.certificates)).endswith(": conv2d")


# Compiled models


def doubling(graph, _):
    return lambda *given: tuple(2 * y for y in graph(*given))


@pytest.fixture
def dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("how", ["whole", "part", "in place"])
@pytest.mark.parametrize("backend", ["eager", doubling])
@pytest.mark.thinned(3)
def test_a_compiled_model_is_judged_eagerly_and_compared(how, backend):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))
    if how == "whole":
        model = torch.compile(model, backend=backend)
    elif how == "part":
        model[0] = torch.compile(model[0], backend=backend)
    else:
        model = Runs(lambda self, x: self.one(self.zero(x)), zero=model[0], one=model[1])
        model.compile(backend=backend)
    report = certify_model(model, torch.randn(2, 2, 8, 7), seed=0)
    assert [*report.certificates] == (["zero", "one"] if how == "in place" else ["0", "1"])
    (name, text), = (report.failed or report.skipped).items()  # fmt: skip
    assert name == f"compiled: {'Runs' if how == 'in place' else 'OptimizedModule'}"
    assert bool(report) is (backend == "eager")
    assert text == (
        "its eager layers were judged; on the example its output is theirs, in half of the digits"
        if backend == "eager"
        else "on the example its output is not its eager layers'"
    )


# What cannot be judged, in a clear line


def conv():
    return nn.Conv2d(2, 3, 3)


def qat():
    module = conv()
    module.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    return torch.ao.nn.qat.Conv2d.from_float(module)


REFUSED = [
    (lambda: torch.compile(conv(), backend="eager"),
     "write module._orig_mod, or implementation(f) of a compiled f(x, w, b)"),
    (lambda: torch.jit.script(conv()),
     "hand in what was scripted or traced, or write implementation(f) of f(x, w, b)"),
    (lambda: torch.jit.trace(conv(), IMAGE),
     "hand in what was scripted or traced, or write implementation(f) of f(x, w, b)"),
    (lambda: torch.export.export(conv(), (IMAGE,)), "write certify_model(program.module(), x)"),
    (qat, "write certify_model(model, x): it quantises, and the calls inside are judged"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "do"), REFUSED)
def test_a_module_that_is_not_eager_is_refused_with_what_to_do(make, do):
    with pytest.raises(TypeError, match=r"^module: got ") as found:
        certify_module(make(), (2, 8, 7))
    assert str(found.value).endswith(f"of 1, 2 or 3 axes, from torch.nn; {do}")
    assert "\n" not in str(found.value)
    assert certify_module(conv(), (2, 8, 7))


def test_a_hook_that_pads_is_named():
    with pytest.raises(ValueError, match=r"its hooks run as well: take them off, or write"):
        certify_module(hooked(), (2, 8, 7))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models_that_are_not_eager():
    for model, do in (
        (torch.jit.script(nn.Sequential(conv())), "hand in what was scripted or traced, or write"),
        (
            torch.export.export(nn.Sequential(conv()), (IMAGE,)),
            "write certify_model(program.module(), x)",
        ),
    ):
        with pytest.raises(TypeError, match=r"^model: got ") as found:
            certify_model(model, IMAGE)
        assert do in str(found.value)
    exported = torch.export.export(nn.Sequential(conv(), nn.MaxPool2d(2)), (IMAGE,)).module()
    assert [*layers(certify_model(exported, IMAGE)).values()] == [
        cd.Conv((2, 8, 7), 3, 3), cd.MaxPool((3, 6, 5), 2)
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_quantisation_aware_model_is_judged_by_its_calls():
    assert layers(certify_model(nn.Sequential(qat()), IMAGE).require()) == {
        "0: conv2d": cd.Conv((2, 8, 7), 3, 3)
    }


class KeywordOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, *, pixels):
        return self.conv(pixels)


class TakesDict(KeywordOnly):
    def forward(self, batch):
        return self.conv(batch["pixels"])


def test_arguments_by_name():
    assert certify_model(KeywordOnly(), {"pixels": IMAGE})
    assert certify_model(TakesDict(), {"pixels": IMAGE})
    with pytest.raises(TypeError) as found:
        certify_model(KeywordOnly(), IMAGE)
    assert str(found.value) == (
        "example_input: got Tensor; needs what forward takes, (*, pixels), as a tuple, "
        "or a dict of arguments by name"
    )


def test_models_without_numbers():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, device="meta"), nn.MaxPool2d(2))
    assert len(certify_model(model, IMAGE.to("meta")).require().certificates) == 2
    with pytest.raises(ValueError, match="example_input") as found:
        certify_model(model, IMAGE)
    assert str(found.value) == (
        "example_input: got a tensor; needs one on meta, as the model; "
        'write example_input.to("meta")'
    )


# Double backward

LAYERS = [
    (cd.Conv((2, 6, 5), 4, (3, 2), stride=2, padding=1, groups=2),
     nn.Conv2d(2, 4, (3, 2), 2, 1, groups=2)),
    (cd.Conv((2, 6, 5), 3, 2, padding=1, padding_mode="circular"),
     nn.Conv2d(2, 3, 2, padding=1, padding_mode="circular", bias=False)),
    (cd.ConvTranspose((2, 6), 3, 3, stride=2), nn.ConvTranspose1d(2, 3, 3, stride=2)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("layer", "module"), LAYERS)
@pytest.mark.thinned(2)
def test_double_backward_of_right_modules(layer, module, dtype):
    options = {"method": "random", "seed": 0, "dtype": dtype}
    certificate = certify_module(module, layer.in_shape, gradgrad=True, **options).require()
    assert certificate.behaviour[0] == Finding("double backward", EQUAL)
    assert "double backward" in str(certificate)
    again = type(certificate).from_dict(certificate.to_dict()).rerun(implementation(module))
    assert again.behaviour[0].name == "double backward"
    without = certify_module(module, layer.in_shape, **options)
    assert "double backward" in str(without).partition("not tried: ")[2]
    assert "double backward" not in str(without).partition("not tried: ")[0]


def test_double_backward_where_numbers_are_in_the_padding():
    layer = cd.Conv((2, 6), 3, 3, padding=1, padding_value=2)
    code = implementation(lambda x, w, b: F.conv1d(F.pad(x, (1, 1), value=2), w, b))
    assert (
        cd.certify(layer, code, gradgrad=True, seed=0, method="random").require().behaviour[0].holds
    )


class Own(torch.autograd.Function):
    """A convolution with a backward of its own, and a defect in what is differentiated twice."""

    @staticmethod
    def forward(ctx, x, w, defect):
        ctx.save_for_backward(x, w)
        ctx.defect = defect
        return F.conv1d(x, w)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        other = {"w": w.detach(), "x": w}[ctx.defect] if ctx.defect in ("w", "x") else w
        dx = F.conv_transpose1d(dy.detach() if ctx.defect == "dy" else dy, other)
        data = x.detach() if ctx.defect == "x" else x
        dw = torch.einsum("ncqk,noq->ock", data.unfold(2, w.shape[2], 1), dy)
        return dx, dw, None


class Once(Own):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        return Own.backward(ctx, dy)


@pytest.mark.parametrize("defect", ["", "w", "x", "dy", "once"])
def test_a_wrong_double_backward_is_seen(defect):
    layer = cd.Conv((2, 6), 3, 3)
    kind = Once if defect == "once" else Own

    def code(x, w, b):
        y = kind.apply(x, w, defect)
        return y if b is None else y + b[:, None]

    certificate = cd.certify(layer, implementation(code), gradgrad=True, seed=0, method="random")
    assert cd.certify(
        layer, implementation(code), seed=0, method="random"
    )  # the first derivatives are right
    twice = certificate.behaviour[0]
    assert bool(certificate) is (defect == "")
    due = {"": "equal", "w": "wrong", "x": "wrong", "dy": "wrong", "once": "wrong"}[defect]
    assert (twice.name, twice.verdict) == ("double backward", due)
    notes = {"w": "<dx, v> by w: ", "x": "<dw, u> by x: ", "dy": "<dx, v> by dy: "}
    assert twice.note.startswith(notes.get(defect, ""))


def test_double_backward_is_refused_where_there_is_none():
    layer = cd.Conv((2, 6), 3, 3)
    with pytest.raises(TypeError, match="implementation") as found:
        cd.certify(layer, (lambda x, w, b: x, lambda x, w, dy: x), gradgrad=True)
    assert "needs an object with double_backward(x, w, dy, v, u), for gradgrad=True" in str(
        found.value
    )
    with pytest.raises(ValueError, match="gradgrad: got True; needs an implementation"):
        cd.certify(layer, gradgrad=True)
    with pytest.raises(
        ValueError, match="gradgrad: got True in bfloat16; needs float32 or float64"
    ):
        certify_module(nn.Conv1d(2, 3, 3), (2, 6), gradgrad=True, dtype="bfloat16")
    with pytest.raises(TypeError, match="gradgrad: got 3"):
        certify_module(nn.Conv1d(2, 3, 3), (2, 6), gradgrad=3)
    with pytest.raises(ValueError, match="gradgrad: got True; needs False for a pool"):
        certify_module(nn.MaxPool1d(2), (2, 6), gradgrad=True)


@pytest.mark.parametrize(
    ("returned", "said"), [(None, "NoneType"), ((1, 2), "tuple"), ({"dw": 1}, "dict")]
)
def test_double_backward_that_returns_something_else(returned, said):
    layer = cd.Conv((2, 6), 3, 3)
    mine = implementation(nn.Conv1d(2, 3, 3))
    code = SimpleNamespace(
        forward=mine.forward, backward=mine.backward, double_backward=lambda *_: returned
    )
    twice = cd.certify(layer, code, gradgrad=True, seed=0, method="random").behaviour[0]
    assert (twice.verdict, twice.note) == ("wrong shape", f"{said} where four are needed")


def test_a_dict_holds_arguments_by_name():
    assert certify_model(nn.Conv2d(2, 3, 3), {"input": IMAGE})

    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)

        def forward(self, batch):
            return self.conv(batch["image"])

    assert certify_model(Takes(), {"image": IMAGE})


def test_double_backward_of_models():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))
    report = certify_model(model, IMAGE, gradgrad=True).require()
    assert report.certificates["0"].behaviour[0].name == "double backward"
    assert np.isfinite(report.certificates["0"].error)
