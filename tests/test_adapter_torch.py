"""PyTorch's modules, by autograd: right ones are certified, wrong ones refused; so are models."""

import copy
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convdense as cd
from convdense.verdicts.findings import CHANGED, EQUAL, WRONG

torch = pytest.importorskip("torch", reason="PyTorch, which this adapter is for, is not installed")

from convdense.adapters import (  # noqa: E402  (after the skip)
    import_torch,
    model_report,
    torch_geometry,
    torch_implementation,
)
from convdense.adapters import torch as adapter  # noqa: E402  (after the skip)
from convdense.adapters.torch import (  # noqa: E402  (after the skip)
    ModelReport,
    certify_model,
    certify_module,
    implementation,
    layer_of,
)

pytestmark = pytest.mark.few_calls

nn, F = torch.nn, torch.nn.functional
ROOT = Path(cd.__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Random modules, never square: the numbers they are made from, the module, and the shape of a
# sample

FAMILIES = ("Conv", "ConvTranspose", "AvgPool", "MaxPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
SIZES = (9, 6, 7)


def numbers(family, axes, rng):
    """Return random keyword arguments of a module."""

    def some(low, high):
        return tuple(rng.randint(low, high) for _ in range(axes))

    kernel = some(1, 3)
    stride = some(1, 3)
    dilation = some(1, 2)
    if family.startswith("Adaptive"):
        sizes = (
            (1, 2, 4, 5) if axes == 1 else (None, 1, 2, 4, 5)
        )  # torch's AdaptiveAvgPool1d takes no None
        return {"output_size": tuple(rng.choice(sizes) for _ in range(axes))}
    if family.endswith("Pool"):
        padding = tuple(rng.randint(0, k // 2) for k in kernel)
        shared = {"kernel_size": kernel, "stride": rng.choice((None, stride)), "padding": padding}
        shared["ceil_mode"] = rng.random() < 0.5
        if family == "MaxPool":
            return {**shared, "dilation": dilation}
        divisor = {"divisor_override": rng.choice((None, 3))} if axes > 1 else {}
        return {**shared, "count_include_pad": rng.random() < 0.5, **divisor}
    channels = {
        "in_channels": 4,
        "out_channels": 6,
        "groups": rng.choice((1, 2)),
        "bias": rng.random() < 0.7,
    }
    shared = {**channels, "kernel_size": kernel, "dilation": dilation}
    if family == "ConvTranspose":
        extra = tuple(rng.randrange(max(pair)) for pair in zip(stride, dilation, strict=True))
        return {**shared, "stride": stride, "padding": some(0, 1), "output_padding": extra}
    padding = rng.choice(("same", "valid", some(0, 2)))
    mode = rng.choice(("zeros", "reflect", "replicate", "circular"))
    return {
        **shared,
        "stride": 1 if padding == "same" else stride,
        "padding": padding,
        "padding_mode": mode,
    }


def drawn(family, axes, number):
    """Return the same numbers, module and shape for the same arguments."""
    rng = random.Random(f"{family}{axes}{number}")
    given = numbers(family, axes, rng)
    return given, getattr(nn, f"{family}{axes}d")(**given), (4, *SIZES[:axes])


RANDOM = [
    (family, axes, number) for family in FAMILIES for axes in (1, 2, 3) for number in range(3)
]
THEIRS = {"kernel_size": "kernel", "output_size": "output"}


def misread(given, layer):
    """Return which of torch's numbers the layer has otherwise."""
    wrong = []
    for name, value in given.items():
        if name in ("in_channels", "bias"):
            continue
        due = value
        if name == "output_size":
            due = tuple(
                n if size is None else size
                for n, size in zip(layer.in_shape[1:], value, strict=True)
            )
        if name == "padding" and value == "valid":
            due = (0,) * len(layer.kernel)
        if name == "padding" and value == "same":  # torch's odd cell goes to the end
            totals = [d * (k - 1) for k, d in zip(layer.kernel, layer.dilation, strict=True)]
            due = tuple((total // 2, total - total // 2) for total in totals)
        elif name == "padding":
            due = tuple((n, n) for n in due)
        if name == "stride":
            due = (
                layer.kernel
                if value is None
                else (value,) * len(layer.kernel)
                if value == 1
                else value
            )
        if getattr(layer, THEIRS.get(name, name)) != due:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize(("family", "axes", "number"), RANDOM)
@pytest.mark.thinned(3)
def test_numbers_read_back_are_those_torch_computes_with(family, axes, number):
    given, module, shape = drawn(family, axes, number)
    layer = layer_of(module, shape)
    assert type(layer).__name__ == family.removeprefix("Adaptive")
    assert misread(given, layer) == []
    assert layer.out_shape == tuple(module(torch.zeros(2, *shape)).shape[1:])
    certificate = cd.certify(
        layer, implementation(module), method="auto", dtype=("float64", "float32")[number % 2]
    )
    assert certificate.exact, str(certificate)
    assert {f.name for f in certificate.findings} == quantities(module)


def quantities(module):
    """Return what there is to judge of a module."""
    own = {name for name, _ in module.named_parameters()}
    return {"y", "dx"} | {{"weight": "dw", "bias": "db"}[name] for name in own}


@pytest.mark.parametrize(
    "name", ["kernel", "stride", "padding", "dilation", "groups", "padding_mode", "out_channels"]
)
def test_a_number_misread_is_seen(name):
    given = {
        "in_channels": 4,
        "out_channels": 6,
        "kernel_size": (2, 3),
        "stride": (2, 1),
        "padding": (1, 2),
    }
    given |= {"dilation": (1, 2), "groups": 2, "padding_mode": "reflect"}
    layer = layer_of(nn.Conv2d(**given), (4, 9, 6))
    assert misread(given, layer) == []
    object.__setattr__(layer, name, (3, 2) if name == "kernel" else "another")
    theirs = {ours: name for name, ours in THEIRS.items()}
    assert misread(given, layer) == [theirs.get(name, name)]


def test_torchs_shorthands():
    assert layer_of(nn.MaxPool2d((3,), stride=(2,)), (1, 9, 8)) == cd.MaxPool(
        (1, 9, 8), 3, stride=2
    )
    pool = nn.AvgPool2d((3, 2))
    pool.stride = None
    assert layer_of(pool, (1, 9, 8)) == cd.AvgPool((1, 9, 8), (3, 2))
    assert layer_of(nn.AdaptiveMaxPool2d(2), (1, 9, 8)) == cd.MaxPool((1, 9, 8), output=2)
    assert layer_of(nn.AdaptiveMaxPool1d(4), (3, 9)) == cd.MaxPool((3, 9), output=4)
    lazy = nn.LazyConv2d(3, 2)
    lazy(torch.zeros(1, 2, 5, 4))
    assert layer_of(lazy, (2, 5, 4)) == cd.Conv((2, 5, 4), 3, kernel=2)


# Modules and functions with a defect, each beside its right neighbour


class Flips(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.flip(2, 3), self.bias)


class FlipsOneAxis(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.flip(3), self.bias)


class IgnoresDilation(nn.Conv2d):
    def forward(self, x):
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return y[:, :, :-2, :-1]  # what dilation (2, 2) would leave


class IgnoresMode(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class IgnoresBias(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight, None)


class SlightlyOff(nn.Conv2d):
    def forward(self, x):
        scale = torch.ones_like(self.weight)
        scale[1, 0, 2, 1] += 1e-4
        return self._conv_forward(x, self.weight * scale, self.bias)


class NoWeightGradient(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.detach(), self.bias)


class WritesToInput(nn.Conv2d):
    def forward(self, x):
        y = super().forward(x.clone())
        x.zero_()
        return y


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


class WrongUpsampling(nn.ConvTranspose2d):
    def forward(self, x):
        return super().forward(x).flip(2)


class NeverPads(nn.MaxPool2d):
    def forward(self, x):
        return F.max_pool2d(F.pad(x, (1, 1, 1, 1)), self.kernel_size, self.stride)  # zeros that win


class DividesByAll(nn.AvgPool2d):
    def forward(self, x):
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, count_include_pad=True)


CONV = {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "padding": (1, 1), "groups": 2}
DILATED, CIRCULAR = {**CONV, "dilation": (2, 2)}, {**CONV, "padding_mode": "circular"}
AVERAGE = {"kernel_size": (3, 2), "stride": 2, "padding": 1, "count_include_pad": False}
DEFECTS = [
    (Flips, nn.Conv2d, CONV, {"y", "dx", "dw"}),
    (FlipsOneAxis, nn.Conv2d, CONV, {"y", "dx", "dw"}),
    (IgnoresMode, nn.Conv2d, CIRCULAR, {"y", "dx", "dw"}),
    (IgnoresBias, nn.Conv2d, CONV, {"y", "db"}),
    (SlightlyOff, nn.Conv2d, CONV, {"y", "dx", "dw"}),
    (NoWeightGradient, nn.Conv2d, CONV, {"dw"}),
    (WritesToInput, nn.Conv2d, CONV, {"y", "dw"}),
    (WrongBackward, nn.Conv2d, CONV, {"dx"}),
    (WrongUpsampling, nn.ConvTranspose2d, CONV, {"y", "dx", "dw"}),
    (NeverPads, nn.MaxPool2d, {"kernel_size": (3, 2), "stride": 2, "padding": 1}, {"y", "dx"}),
    (DividesByAll, nn.AvgPool2d, AVERAGE, {"y", "dx"}),
]


def refused(certificate):
    """Return which quantities are wrong; whatever is not, is equal."""
    assert {f.verdict for f in certificate.findings} <= {EQUAL, WRONG, CHANGED}
    return {f.name for f in certificate.findings if not f.holds}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("wrong", "right", "given", "seen"), DEFECTS, ids=[row[0].__name__ for row in DEFECTS]
)
@pytest.mark.thinned(2)
def test_a_wrong_module_is_refused_and_its_right_neighbour_holds(wrong, right, given, seen, dtype):
    certificate = certify_module(wrong(**given), (4, 9, 6), dtype=dtype)
    assert refused(certificate) == seen
    assert certificate.evaluator == wrong.__name__
    assert certify_module(right(**given), (4, 9, 6), dtype=dtype).require().exact


def test_a_module_whose_dilation_is_ignored_is_refused():
    given = {**CONV, "dilation": (2, 2), "padding": (2, 1)}
    assert refused(certify_module(IgnoresDilation(**given), (4, 9, 6))) == {"y", "dx", "dw"}
    assert certify_module(nn.Conv2d(**given), (4, 9, 6)).exact


def functions():
    """Return layers with a right and a wrong function of tensors for each."""
    x = (4, 9, 6)
    strided = cd.Conv(x, 6, (3, 2), stride=(2, 1), groups=2)
    up = cd.ConvTranspose(x, 6, (3, 2), stride=2, groups=2)
    average, largest = (
        cd.AvgPool(x, (3, 2), stride=2, padding=1),
        cd.MaxPool(x, (3, 2), stride=2, padding=1),
    )
    swapped = (
        lambda t, w, b: F.conv2d(t, w, b, stride=(1, 2), groups=2)[:, :, :4].repeat(1, 1, 1, 2)[
            ..., :5
        ],
    )
    return [
        ("conv", strided, lambda t, w, b: F.conv2d(t, w, b, (2, 1), groups=2), swapped[0]),
        ("up", up, lambda t, w, b: F.conv_transpose2d(t, w, b, 2, groups=2),
         lambda t, w, b: F.conv_transpose2d(t, w.roll(1, 0), b, 2, groups=2)),
        ("average", average, lambda t: F.avg_pool2d(t, (3, 2), 2, 1),
         lambda t: F.avg_pool2d(t, (3, 2), 2, 1, count_include_pad=False)),
        ("largest", largest, lambda t: F.max_pool2d(t, (3, 2), 2, 1),
         lambda t: -F.max_pool2d(-t, (3, 2), 2, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "right", "wrong"), [f[1:] for f in functions()], ids=[f[0] for f in functions()]
)
def test_functions_of_tensors(layer, right, wrong):
    assert cd.certify(layer, implementation(right)).require().exact
    assert {"y", "dx"} <= refused(cd.certify(layer, implementation(wrong)))
    assert cd.certify(layer, implementation(right)).evaluator == "implementation"


@pytest.mark.parametrize(
    ("layer", "right", "wrong"), [f[1:] for f in functions()], ids=[f[0] for f in functions()]
)
def test_channels_last(layer, right, wrong):
    """The same functions as channels last hold where that is said, and only there."""

    def last(function):
        return lambda t, *wb: function(t.movedim(-1, 1), *wb).movedim(1, -1)

    assert cd.certify(layer, implementation(last(right), layout="NHWC")).require().exact
    assert "y" in refused(cd.certify(layer, implementation(last(wrong), layout="NHWC")))
    for mine in (implementation(last(right)), implementation(right, layout="NHWC")):
        certificate = cd.certify(layer, mine)
        assert {f.verdict for f in certificate.findings} & {"raised", "wrong shape"}
        assert not certificate


class ChannelsLast(nn.Conv1d):
    def forward(self, x):
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


@pytest.mark.parametrize("bias", [True, False])
def test_a_module_with_channels_last(bias):
    layer = cd.Conv((2, 7), 3, kernel=3, stride=2)
    module = ChannelsLast(2, 3, 3, stride=2, bias=bias)
    certificate = cd.certify(layer, implementation(module, layout="NHWC")).require()
    assert len(certificate.findings) == 3 + bias


def test_a_bias_of_another_shape():
    layer = cd.LocallyConnected((2, 5), 3, kernel=2)

    def local(x, w, b):
        return torch.einsum("nclk,oclk->nol", x.unfold(2, 2, 1), w) + b

    assert cd.certify(layer, implementation(local, bias=layer.bias_shape)).require().exact
    wrong = implementation(lambda x, w, b: local(x, w, b.flip(1)), bias=layer.bias_shape)
    assert refused(cd.certify(layer, wrong)) == {"y", "db"}


# Arrays in, arrays out

RNG = np.random.default_rng(7)
X, W, B, DY = (
    RNG.standard_normal(shape) for shape in ((2, 4, 9, 6), (6, 2, 3, 2), (6,), (2, 6, 9, 7))
)
LAYER = cd.Conv((4, 9, 6), 6, (3, 2), padding=1, groups=2)


def conv(**changed):
    return nn.Conv2d(**{**CONV, **changed})


@pytest.mark.parametrize(
    "dtypes", [("f4", "f4", "f4"), ("f8", "f4", "f8"), ("i4", "i8", "u1"), ("i4", "f4", "f8")]
)
def test_dtypes(dtypes):
    x, w = (10 * X).astype(dtypes[0]), (10 * W).astype(dtypes[1])
    due = "f8" if np.result_type(x, w).kind in "iu" else np.result_type(x, w)
    mine = implementation(conv().half())  # its own dtype plays no part
    y, gradients = mine.forward(x, w, B.astype(x.dtype)), mine.backward(x, w, DY.astype(x.dtype))
    assert {a.dtype for a in (y, *gradients)} == {np.dtype(due)}
    exact = np.float64 if due == "f8" else x.dtype
    expected = cd.convolve(LAYER, x.astype(exact), w.astype(exact), B.astype(x.dtype).astype(exact))
    assert np.allclose(y, expected, rtol=1e-4)


def test_read_only_strided_and_single_samples():
    mine = implementation(conv())
    y, gradients = mine.forward(X, W, B), mine.backward(X, W, DY)
    frozen = X.copy()
    frozen.setflags(write=False)
    wide = np.zeros((2, 4, 9, 12))
    wide[..., ::2] = X
    for x in (frozen, np.asfortranarray(X), wide[..., ::2], X.astype(">f8")):
        assert np.array_equal(mine.forward(x, W, B), y)
        assert all(
            np.array_equal(*pair) for pair in zip(mine.backward(x, W, DY), gradients, strict=True)
        )
    for own in (mine, implementation(lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2))):
        assert np.allclose(own.forward(X[0], W, B), y[0])
        alone = own.backward(X[0], W, DY[0])
        assert [g.shape for g in alone] == [X[0].shape, W.shape, B.shape]
        assert np.allclose(alone[0], gradients[0][0])


def test_without_a_bias():
    with_bias, without = implementation(conv()), implementation(conv(bias=False))
    assert np.array_equal(with_bias.forward(X, W, None), without.forward(X, W, None))
    assert np.allclose(without.forward(X, W, B), with_bias.forward(X, W, B))
    assert without.backward(X, W, DY)[2] is None
    assert implementation(conv(), bias=False).backward(X, W, DY)[2] is None
    assert np.allclose(
        implementation(conv(), bias=False).forward(X, W, B), with_bias.forward(X, W, B)
    )
    function = implementation(lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2))
    assert np.array_equal(function.forward(X, W), with_bias.forward(X, W))
    assert np.allclose(function.backward(X, W, DY)[2], DY.sum((0, 2, 3)))


def test_a_bias_that_is_never_handed_in_is_not_judged():
    certificate = cd.certify(
        LAYER, implementation(lambda x, w, b: F.conv2d(x, w, None, padding=1, groups=2), bias=False)
    )
    assert [f.name for f in certificate.require().findings] == ["y", "dx", "dw"]
    asked_for = implementation(lambda x, w, b: F.conv2d(x, w, None, padding=1, groups=2))
    assert refused(cd.certify(LAYER, asked_for)) == {"y", "db"}


def test_check_takes_an_implementation_too():
    assert cd.check(LAYER, X, W, B, DY, implementation=implementation(conv()))
    assert not cd.check(LAYER, X, W, B, DY, implementation=implementation(SlightlyOff(**CONV)))


def test_an_axis_of_one_cell_may_run_backwards():
    """NumPy calls such an array contiguous; torch refuses it."""
    x, w = np.ones((2, 2, 4, 5)), np.ones((3, 2, 1, 1))[..., ::-1]
    assert min(w.strides) < 0
    assert (implementation(nn.Conv2d(2, 3, 1)).forward(x, w, None) == 2).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_within_rounding_and_a_wrong_module_is_not(dtype):
    def module(kind):
        return kind(3, 4, (3, 2), stride=(2, 1), padding=1)

    certificate = certify_module(module(nn.Conv2d), (3, 9, 8), dtype=dtype, seed=0).require()
    assert certificate.exact  # on integers whose sums are exact in so few bits
    assert certificate.error <= 2**-64
    assert 6 < min(p.bits for p in certificate.precision) < 16
    assert certify_module(module(Reversed), (3, 9, 8), dtype=dtype, seed=0).refuted
    assert certify_module(nn.MaxPool2d(2), (3, 8, 8), dtype=dtype, seed=0).require().exact
    assert certify_model(
        nn.Sequential(module(nn.Conv2d), nn.MaxPool2d(2)), torch.zeros(1, 3, 9, 8), dtype=dtype
    )
    with pytest.raises(ValueError, match="dtype: got 'int4'; needs one of"):
        implementation(module(nn.Conv2d), dtype="int4")


class Reversed(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.flip(2, 3), self.bias)


def test_gradients_do_not_need_a_mode():
    mine = implementation(conv())
    due = mine.backward(X, W, DY)
    with torch.inference_mode():
        assert all(np.array_equal(*pair) for pair in zip(mine.backward(X, W, DY), due, strict=True))
    with torch.no_grad():
        assert all(np.array_equal(*pair) for pair in zip(mine.backward(X, W, DY), due, strict=True))


# What is left of a module and a model: everything


class Counts(nn.Conv2d):
    def __init__(self, **given):
        super().__init__(**given)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def state(model):
    """Return all that may not change."""
    hooks = [
        len(d)
        for m in model.modules()
        for d in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)
    ]
    kwargs = [len(m._forward_hooks_with_kwargs) for m in model.modules()]
    arrays = {
        name: (id(t), t.dtype, t.detach().numpy().tobytes())
        for name, t in model.state_dict(keep_vars=True).items()
    }
    grads = [
        (p.requires_grad, None if p.grad is None else p.grad.numpy().tobytes())
        for p in model.parameters()
    ]
    return arrays, grads, [m.training for m in model.modules()], hooks, kwargs


def spoil(model, how):
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    if how == "weight":
        with torch.no_grad():
            first.weight[0, 0, 0, 0] += 1
    if how == "grad":
        first.weight.grad = torch.zeros_like(first.weight)
    if how == "mode":
        first.training = not first.training
    if how == "hook":
        first.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("how", ["weight", "grad", "mode", "hook"])
def test_what_is_changed_is_seen(how):
    model = small()
    before = state(model)
    assert state(model) == before
    spoil(model, how)
    assert state(model) != before


@pytest.mark.parametrize("kind", [nn.Conv2d, Counts])
def test_a_module_stays_as_it_was(kind):
    module = kind(**CONV)
    module.weight.grad = torch.ones_like(module.weight)
    seen = []
    module.register_forward_hook(lambda *_: seen.append(1))
    before = state(module)
    assert certify_module(module, (4, 9, 6))
    assert state(module) == before
    assert seen  # it is judged as it is called: hooks run


# Models


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(8, 5)
        self.spare = nn.Conv2d(1, 1, 1)
        self.again = self.act  # a second name of the same
        self.fails = False

    def forward(self, x):
        x = self.pool(self.act(self.norm(self.stem(x))))
        x = self.again(self.down(self.down(x)))
        if self.fails:
            raise RuntimeError("as planned")
        return self.head(self.flat(self.gap(x)))


def small():
    torch.manual_seed(0)
    return Small()


EXAMPLE = torch.arange(2 * 3 * 17 * 14.0).reshape(2, 3, 17, 14)
TABLE = """\
name                         layer                                                                     dtype    y      dx     dw     db     error probability
---------------------------  ------------------------------------------------------------------------  -------  -----  -----  -----  -----  -----------------
stem                         Conv((3, 17, 14), out_channels=8, kernel=3, padding=1)                    float32  equal  equal  equal  equal  2^-67
pool                         MaxPool((8, 17, 14), kernel=3, stride=2, padding=1)                       float32  equal  equal  -      -      none (15 trials)
down (8, 9, 7) -> (8, 5, 4)  Conv((8, 9, 7), out_channels=8, kernel=3, stride=2, padding=1, groups=2)  float32  equal  equal  equal  -      2^-65
down (8, 5, 4) -> (8, 3, 2)  Conv((8, 5, 4), out_channels=8, kernel=3, stride=2, padding=1, groups=2)  float32  equal  equal  equal  -      2^-65
gap                          AvgPool((8, 3, 2), output=1)                                              float32  equal  equal  -      -      none (12 trials)

5 of 5 judged hold, 4 not judged, 1 never called

not judged  why
----------  ---------------------------------------------------------
norm        BatchNorm2d: neither a convolution nor a pool of torch.nn
act         ReLU: neither a convolution nor a pool of torch.nn
flat        Flatten: neither a convolution nor a pool of torch.nn
head        Linear: neither a convolution nor a pool of torch.nn

never called: spare"""  # noqa: E501  (the table as it is printed)


@pytest.fixture(scope="module")
def report():
    return certify_model(small(), EXAMPLE)


def test_the_table_of_a_model(report):
    assert bool(report)
    assert str(report) == TABLE
    assert report.require() is report


def test_a_model_stays_as_it_was():
    model = small()
    model.head.eval()  # frozen, within a model in training whose norm would change its statistics
    model.head.weight.requires_grad_(False)
    model.stem.weight.grad = torch.ones_like(model.stem.weight)
    model.pool.register_forward_hook(lambda *_: None)
    before = state(model)
    assert certify_model(model, (EXAMPLE,))
    assert state(model) == before


@pytest.mark.parametrize("how", ["model", "certificate", "argument"])
def test_a_model_stays_as_it_was_when_something_raises(how, monkeypatch):
    model = small()
    model.head.eval()
    before = state(model)
    model.fails = how == "model"
    if how == "certificate":
        monkeypatch.setattr(adapter, "check_out_shape", lambda *_: 1 / 0)
    with pytest.raises((RuntimeError, ZeroDivisionError, TypeError)):
        certify_model(model, (EXAMPLE, 1) if how == "argument" else EXAMPLE)
    assert state(model) == before
    model.fails = False
    monkeypatch.undo()
    assert certify_model(model, EXAMPLE)


def test_a_model_runs_once_in_eval_mode_and_without_gradients():
    seen = []

    class Watches(Small):
        def forward(self, x):
            seen.append((torch.is_grad_enabled(), self.training, self.norm.training))
            return super().forward(x)

    assert certify_model(Watches(), EXAMPLE)
    assert seen == [(False, False, False)]


def test_a_model_with_a_wrong_layer_is_refused():
    model = small()
    wrong = NoWeightGradient(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
    wrong.weight = model.down.weight
    model.down = wrong
    found = certify_model(model, EXAMPLE)
    assert not found
    assert [name for name, c in found.certificates.items() if not c] == list(found.certificates)[
        2:4
    ]
    assert "3 of 5 judged hold, 4 not judged" in str(found)
    assert "\ndown (8, 9, 7) -> (8, 5, 4): dw  wrong, worst at (" in str(found)
    with pytest.raises(AssertionError, match=r"^name .*layer"):
        found.require()


def test_a_module_that_is_not_what_its_numbers_say_is_listed_and_its_calls_are_judged():
    model = small()
    model.down = Flips(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
    found = certify_model(model, EXAMPLE)
    assert [name for name in found.certificates if "down" in name] == [
        "down: conv2d (8, 9, 7) -> (8, 5, 4)",
        "down: conv2d (8, 5, 4) -> (8, 3, 2)",
    ]
    assert found.skipped["down (8, 9, 7) -> (8, 5, 4)"].startswith(
        "Flips: by a forward or hooks of its own no Conv((8, 9, 7), out_channels=8, kernel=3, "
        "stride=2, padding=1, groups=2): y wrong, worst at ("
    )


class Smaller(nn.Conv2d):
    def forward(self, x):
        return super().forward(x)[:, :, 1:]


class Picky(nn.Conv2d):
    def forward(self, x):
        if len(x) > 1:
            raise RuntimeError("no batches\nat all")
        return super().forward(x)


class Never(nn.Conv2d):
    def forward(self, x):
        if x.any():
            raise RuntimeError("no numbers\nat all")
        return super().forward(x)


def test_a_layer_for_one_sample_is_judged_there():
    report = certify_model(nn.Sequential(Picky(3, 2, 3)), torch.zeros(1, 3, 6, 6), seed=0)
    certificate = report.certificates["0"].require()
    assert certificate.batch == 1
    assert "refused: batch 2, 3" in str(certificate)


class NoGradient(nn.MaxPool2d):
    def forward(self, x):
        return super().forward(x.detach())


FAILED = [
    (Never(3, 2, 3), "Never: raises RuntimeError: no numbers"),
    (NoGradient(2),
     "NoGradient: raises ValueError: output: got a tensor without a gradient from NoGradient; "
     "needs operations that autograd can follow"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "reason"), FAILED, ids=[type(row[0]).__name__ for row in FAILED])
def test_a_layer_that_fails_is_no_layer_that_was_skipped(layer, reason):
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), layer)
    found = certify_model(model, torch.zeros(1, 3, 6, 6))
    assert (found.failed, found.skipped, bool(found)) == ({"1": reason}, {}, False)
    assert f"\n1       {reason}" in str(found)
    assert "1 of 2 judged hold" in str(found)
    right = {Never: nn.Conv2d(3, 2, 3), NoGradient: nn.MaxPool2d(2)}[type(layer)]
    assert certify_model(nn.Sequential(nn.Conv2d(3, 3, 1), right), torch.zeros(1, 3, 6, 6))


class Upsamples(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 3, stride=2)

    def forward(self, x):
        return (
            self.up(x),
            self.up(x, output_size=(10, 12)),
            self.up(x, output_size=(9, 11)),
            self.up(input=x[0]),
        )


SIGNED = (
    "cd.LpPool is no LPPool: PyTorch sums x^p with the signs that an odd p leaves, and scales up a "
    "window that runs over the end"
)


def skipped_models():
    """Return layers that cannot be judged, a sample and the reason."""
    frozen = nn.Conv2d(3, 2, 3)
    weight = frozen.weight.detach()
    del frozen.weight
    frozen.register_buffer("weight", weight)
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3))
    parts = "parametrizations.weight.original0, parametrizations.weight.original1"
    return [
        (normed,
         f"ParametrizedConv2d: parameters: got {parts} of ParametrizedConv2d; "
         "needs none but weight and bias, which are replaced"),
        (frozen,
         "Conv2d: weight: got a tensor that is no parameter of "
         "Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1)); needs a torch.nn.Parameter"),
        (nn.LPPool2d(2, 2), f"LPPool2d: {SIGNED}"),
    ]  # fmt: skip


def test_a_layer_that_cannot_be_judged_is_listed_with_the_reason():
    layer, reason = skipped_models()[-1]
    found = certify_model(nn.ModuleDict({"odd": layer})["odd"], torch.zeros(1, 3, 6, 6))
    assert found.skipped["model"] == reason
    assert not found.certificates
    assert not found  # nothing was judged: that is no proof


@pytest.mark.parametrize(("layer", "reason"), skipped_models()[:-1])
def test_weights_that_cannot_be_replaced_are_refused_alone_and_judged_in_a_model(layer, reason):
    with pytest.raises(ValueError, match="needs") as found:
        certify_module(layer, (3, 6, 6))
    assert f"{type(layer).__name__}: {found.value}" == reason
    report = certify_model(nn.Sequential(layer), torch.zeros(1, 3, 6, 6))
    assert report.require().certificates["0: conv2d"].layer == cd.Conv((3, 6, 6), 2, 3)


def test_a_layer_called_with_another_size_is_judged_by_its_call():
    found = certify_model(Upsamples(), torch.zeros(1, 2, 4, 5))
    up = cd.ConvTranspose((2, 4, 5), 3, 3, stride=2)
    larger = cd.ConvTranspose((2, 4, 5), 3, 3, stride=2, output_padding=1)
    assert {name: c.layer for name, c in found.require().certificates.items()} == {
        "up": up,  # with a batch, without one, by keyword
        "up: conv_transpose2d (2, 4, 5) -> (3, 10, 12)": larger,
        "up: conv_transpose2d (2, 4, 5) -> (3, 9, 11)": up,
    }
    assert found.skipped == {}


def test_sums_too_long_for_the_dtype_are_skipped_with_the_reason():
    model = nn.Sequential(nn.Conv2d(1, 1, 2), nn.AvgPool2d((67, 71)))
    found = certify_model(model, torch.zeros(1, 1, 68, 72), dtype="float32", batch=1)
    assert list(found.certificates) == ["0"]
    assert found.skipped["1"].startswith("AvgPool2d: layer: got sums of ")
    assert bool(found)


def test_options_reach_every_layer_that_has_them():
    found = certify_model(
        small(), EXAMPLE, dtype="float32", batch=1, seed=3, error=2**-20, method="random"
    )
    assert len(found.certificates) == 5  # pools too, which have neither error nor method
    assert {(c.dtype, c.batch, c.seed) for c in found.certificates.values()} == {("float32", 1, 3)}
    assert found.certificates["stem"].asked == 2**-20


def test_a_report_as_plain_data(report):
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["holds"] is True
    assert ModelReport.from_dict(plain) == report
    assert str(ModelReport.from_dict(plain)) == TABLE
    plain["certificates"]["stem"]["findings"][0]["verdict"] = WRONG
    assert not ModelReport.from_dict(plain)


def test_a_report_is_frozen_and_shows_a_proof(report):
    with pytest.raises(AttributeError):
        report.skipped = {}
    proven = certify_model(nn.Conv1d(1, 2, 2), torch.zeros(1, 5))
    assert str(proven).splitlines()[2].split()[-1] == "0"
    assert str(proven).endswith("1 of 1 judged hold, 0 not judged, 0 never called")


def test_progress_goes_to_stderr_at_a_terminal(monkeypatch):
    import tqdm

    seen = []

    def bar(layers, **options):
        seen.append((options.pop("total"), options))
        return layers

    monkeypatch.setattr(tqdm, "tqdm", bar)
    certify_model(small(), EXAMPLE)
    (count, options), = seen  # fmt: skip
    assert count == 5
    assert options["file"] is sys.stderr
    assert options["disable"] is None  # only on a terminal


# Refusals, word for word: what came, and the nearest right call

KINDS = (
    "a Conv, ConvTranspose, AvgPool, MaxPool, AdaptiveAvgPool or AdaptiveMaxPool "
    "of 1, 2 or 3 axes, from torch.nn"
)
POOL = nn.MaxPool2d(2)
META = nn.Conv2d(3, 2, 3, device="meta")
POOL_TEXT = "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
TEXT = "Conv2d(4, 6, kernel_size=(3, 2), stride=(1, 1), padding=(1, 1), groups=2)"


def changed(**attributes):
    module = conv()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def read(module=None, in_shape=(4, 9, 6)):
    return layer_of(conv() if module is None else module, in_shape)


def make(module_or_function=nn.Identity(), **options):  # noqa: B008  (never changed)
    return implementation(module_or_function, **options)


def run(x=X, w=W, b=B, module=None):
    return implementation(conv() if module is None else module).forward(x, w, b)


def run_pool(x=X, *w):
    return implementation(POOL).forward(x, *w)


def back(x=X, w=W, dy=DY):
    return implementation(conv()).backward(x, w, dy)


def model_of(model=POOL, example_input=EXAMPLE, **options):
    return certify_model(model, example_input, **options)


def pair(x, w, b):
    return x, w


class Raises(nn.MaxPool2d):
    def forward(self, x):
        raise KeyError("first\nsecond")


class OtherIndices(nn.MaxPool2d):
    def forward(self, x):
        y, indices = super().forward(x)
        return y, indices.flip(-1)


class FewerIndices(nn.MaxPool2d):
    def forward(self, x):
        y, indices = super().forward(x)
        return y, indices[..., 1:]


def pool_run(module):
    return implementation(module).forward(np.array([[[[0.0, 2, 2, 1], [1, 0, 0, 1]]]]))


class Gives(nn.MaxPool2d):
    def forward(self, x):
        return [x]


REFUSED = [
    (read, {"module": nn.Linear(2, 3)}, TypeError,
     f"module: got Linear(in_features=2, out_features=3, bias=True); needs {KINDS}"),
    (read, {"module": nn.LPPool2d(2, 2)}, TypeError,
     "module: got LPPool2d(norm_type=2, kernel_size=2, stride=None, ceil_mode=False); "
     f"needs {KINDS}; {SIGNED}"),
    (read, {"module": small()}, TypeError, f"module: got Small; needs {KINDS}"),
    (read, {"module": 3}, TypeError, f"module: got 3; needs {KINDS}"),
    (read, {"module": nn.LazyConv2d(3, 2)}, ValueError,
     "module: got LazyConv2d(0, 3, kernel_size=(2, 2), stride=(1, 1)); "
     "needs one that knows its channels; run it once"),
    (read, {"in_shape": (4, 9)}, ValueError,
     f"in_shape: got (4, 9); needs (channels, *axes) with 2 axes, for {TEXT}"),
    (read, {"in_shape": (3, 9, 6)}, ValueError,
     f"in_shape: got (3, 9, 6); needs 4 channels, for {TEXT}"),
    (read, {"in_shape": 4}, TypeError,
     "in_shape: got 4; needs a tuple (channels, *axes), such as (3, 32, 32); "
     "write (4, *sizes): the sizes of x belong to it"),
    (read, {"module": changed(kernel_size=(2, 2))}, ValueError,
     "weight: got shape (6, 2, 3, 2); needs (6, 2, 2, 2), for "
     "Conv((4, 9, 6), out_channels=6, kernel=2, padding=1, groups=2), "
     f"which {TEXT.replace('(3, 2)', '(2, 2)', 1)} says"),
    (read, {"module": changed(bias=nn.Parameter(torch.zeros(1)))}, ValueError,
     "bias: got shape (1,); needs (6,), for "
     f"Conv((4, 9, 6), out_channels=6, kernel=(3, 2), padding=1, groups=2), which {TEXT} says"),
    (read, {"module": Raises(2)}, ValueError,
     f"module: got KeyError from {POOL_TEXT.replace('MaxPool2d', 'Raises')}: 'first\\nsecond'; "
     "needs one that takes (4, 9, 6)"),
    (read, {"module": nn.MaxPool2d(3, padding=2)}, ValueError,
     "module: got RuntimeError from MaxPool2d(kernel_size=3, stride=3, padding=2, dilation=1, "
     "ceil_mode=False): pad should be at most half of effective kernel size, but got pad=2, "
     "kernel_size=3 and dilation=1; needs one that takes (4, 9, 6)"),
    (read, {"module": Gives(2)}, TypeError,
     f"output: got list from {POOL_TEXT.replace('MaxPool2d', 'Gives')}; needs one tensor"),
    (read, {"module": Smaller(4, 2, 3)}, ValueError,
     "module: got outputs (2, 6, 4) of Smaller(4, 2, kernel_size=(3, 3), stride=(1, 1)); "
     "needs (2, 7, 4), for Conv((4, 9, 6), out_channels=2, kernel=3)"),
    (read, {"module": nn.Conv2d(4, 6, 12)}, ValueError,
     "kernel: got 12 with dilation 1, a window of 12 cells, on axis 0; "
     "needs a window of at most 9 cells there: 9 and padding (0, 0); "
     "use a smaller kernel or more padding"),
    (make, {"module_or_function": 3}, TypeError,
     "module_or_function: got 3; needs a torch.nn.Module, or a function f(x, w, b) "
     "of torch tensors (for a pool f(x))"),
    (make, {"module_or_function": nn.LazyConv2d(3, 2)}, ValueError,
     "module: got LazyConv2d(0, 3, kernel_size=(2, 2), stride=(1, 1)); "
     "needs one that knows its channels; run it once"),
    (make, {"module_or_function": small()}, ValueError,
     "parameters: got stem.weight, stem.bias, norm.weight, norm.bias, down.weight, head.weight, "
     "head.bias, spare.weight, spare.bias of Small; needs none but weight and bias, "
     "which are replaced; write certify_model(model, x) for a whole model"),
    (make, {"module_or_function": skipped_models()[1][0]}, ValueError,
     "weight: got a tensor that is no parameter of "
     "Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1)); needs a torch.nn.Parameter"),
    (make, {"bias": 3}, TypeError, "bias: got 3; needs True, False, or the shape of b"),
    (make, {"bias": (0,)}, ValueError, "bias: got 0; needs an integer of at least 1"),
    (make, {"layout": "NWHC"}, ValueError,
     "layout: got 'NWHC'; needs one of 'NCHW', 'NHWC', 'channels_last'"),
    (make, {"device": "meta"}, ValueError,
     "device: got 'meta' (Cannot copy out of meta tensor; no data!); "
     "needs a device that torch finds here; "
     'use device="cpu"'),
    (run, {"x": X > 0}, TypeError,
     "x: got dtype bool; needs an array of integers, float32, float64, complex64 or complex128; "
     "convert it first, e.g. with .astype(float)"),
    (run, {"w": W.astype(np.clongdouble)}, TypeError,
     f"w: got dtype {np.dtype(np.clongdouble)}; needs integers, float16, float32, float64, "
     "complex64 or complex128"),
    (run, {"w": None, "b": None}, ValueError, f"w: got None; needs weights, for {TEXT}"),
    (run, {"module": pair}, TypeError, "output: got tuple from pair; needs one tensor"),
    (pool_run, {"module": OtherIndices(2, return_indices=True)}, ValueError,
     "indices: got 2 at (0, 0, 0, 0); needs 1, the first of the largest cells of its window"),
    (pool_run, {"module": FewerIndices(2, return_indices=True)}, ValueError,
     "indices: got shape (1, 1, 1, 1); needs shape (1, 1, 1, 2)"),
    (back, {"dy": DY[:, :, :, 1:]}, ValueError,
     "dy: got shape (2, 6, 9, 6); needs (2, 6, 9, 7), that of y"),
    (model_of, {"model": META}, ValueError,
     "example_input: got a tensor; needs one on meta, as the model; "
     'write example_input.to("meta")'),
    (model_of, {"example_input": (EXAMPLE, 1)}, TypeError,
     "example_input: got tuple; needs what forward takes, (input: torch.Tensor), as a tuple, "
     "or a dict of arguments by name"),
    (run, {"x": X[::-1]}, ValueError,
     "x: got strides (-1728, 432, 48, 8); needs none below 0, which torch does not have; "
     "copy it: np.ascontiguousarray(x)"),
    (model_of, {"model": len}, TypeError,
     "model: got <built-in function len>; needs a torch.nn.Module"),
    (model_of, {"example_input": X}, TypeError,
     "example_input: got a NumPy array; needs a tensor, or a tuple of what the model takes; "
     "use torch.from_numpy"),
    (model_of, {"example_input": (1, 2, 8, 8)}, TypeError,
     "example_input: got the shape (1, 2, 8, 8); needs a tensor, or a tuple of what the model "
     "takes; write torch.zeros(batch, channels, *sizes)"),
    (model_of, {"dtype": "int4"}, ValueError,
     "dtype: got 'int4'; needs one of 'float32', 'float64', 'complex64', 'complex128', 'float16', "
     "'bfloat16', 'int8', 'int16', 'int32', 'int64', 'uint8'"),
    (model_of, {"device": "meta"}, ValueError,
     "device: got 'meta' (Cannot copy out of meta tensor; no data!); "
     "needs a device that torch finds here; "
     'use device="cpu"'),
    (model_of, {"error": 2}, ValueError,
     "error: got 2; needs a probability between 0 and 1, such as 2**-64"),
]  # fmt: skip


def refusal(call, bad):
    with pytest.raises((TypeError, ValueError)) as found:
        call(**bad)
    return found.type, str(found.value)


@pytest.mark.parametrize(
    ("call", "bad", "error", "message"), REFUSED, ids=[row[3][:50] for row in REFUSED]
)
def test_refused_word_for_word(call, bad, error, message):
    assert refusal(call, bad) == (error, message)


@pytest.mark.parametrize("call", [read, make, run, run_pool, back, model_of])
def test_the_nearest_right_call_is_accepted(call):
    call()


def test_weights_for_a_pool_are_refused():
    with pytest.raises(
        ValueError, match=rf"^w: got shape \(6, 2, 3, 2\); needs none, for {POOL_TEXT[:9]}"
    ):
        run_pool(X, W)


@pytest.mark.parametrize("module", [torch_geometry, torch_implementation, adapter])
def test_every_complaint_is_met(module, monkeypatch):
    """No call of `complain` in these modules is without a row above."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    met = set()
    right = module.complain

    def listening(*arguments):
        met.add(sys._getframe(1).f_lineno)
        return right(*arguments)

    monkeypatch.setattr(module, "complain", listening)
    for call, bad, *_ in REFUSED:
        refusal(call, bad)
    for fails in (
        lambda: run_pool(X, W),
        lambda: implementation(NoGradient(2)).backward(X, X[..., :4, :3]),
    ):
        with pytest.raises(ValueError, match="needs"):
            fails()
    lines = {i for i, line in enumerate(source.splitlines(), 1) if "complain(" in line}
    assert lines - met == set()


# Without PyTorch

BLOCKED = "import sys; sys.modules['torch'] = None; "
WITHOUT = (
    "ImportError: torch: got no module of this name; needs PyTorch 2.0 or newer; "
    "run pip install '.[torch]' in a clone of convdense"
)


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_without_pytorch_one_line_says_what_to_install():
    code = (
        "try:\n    import convdense.adapters.{}\n"
        "except ImportError as e:\n    print('ImportError:', e)\n"
    )
    loop = "".join(
        code.format(name)
        for name in ("torch", "torch_implementation", "torch_geometry", "model_calls")
    )
    found = python(f"{BLOCKED}\nimport convdense\n{loop}")
    assert (found.stdout.splitlines(), found.stderr) == ([WITHOUT] * 4, "")


def test_a_broken_pytorch_speaks_for_itself(tmp_path):
    (tmp_path / "torch.py").write_text("import no_such_library\n", encoding="utf-8")
    found = python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import convdense.adapters.torch"
    )
    assert found.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_library'"


def test_without_pytorch_the_doctests_are_skipped():
    options = ["--doctest-modules", "convdense/adapters", "-q", "-p", "no:cacheprovider"]
    options.append("--ignore=convdense/adapters/dask.py")  # it does not ask for PyTorch
    found = python(f"{BLOCKED}import pytest; sys.exit(pytest.main({options}))")
    assert (found.returncode, found.stdout.splitlines()[-1].split(" in ")[0]) == (
        0,
        "2 passed, 5 skipped",  # `arrays` needs no PyTorch
    )


def test_the_report_needs_no_pytorch():
    assert "torch" not in vars(model_report)
    assert import_torch.torch is torch


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("tf32", [True, False])
def test_on_cuda(tf32, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    module = nn.Conv2d(64, 64, 3, stride=2, padding=1).cuda()
    before = copy.deepcopy(module.state_dict())
    assert certify_module(module, (64, 20, 18), device="cuda").exact
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert refused(
        certify_module(Flips(64, 64, 3, stride=2, padding=1), (64, 20, 18), device="cuda")
    ) >= {"y", "dw"}
    single = certify_module(module, (64, 20, 18), device="cuda", dtype="float32")
    assert bool(single) is not (tf32 and torch.cuda.get_device_capability() >= (8, 0)), str(single)
    assert certify_model(small().cuda(), EXAMPLE.cuda(), device="cuda")
