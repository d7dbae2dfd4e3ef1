"""JAX's functions: its convolutions with their options, `jax.vjp`, Pallas kernels, bfloat16."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import convdense as cd

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install '.[jax]'")

from jax import lax  # noqa: E402  (after the skip)
from jax import numpy as jnp  # noqa: E402  (after the skip)
from jax.experimental import pallas as pl  # noqa: E402  (after the skip)

from convdense.adapters.arrays import implementation  # noqa: E402  (after the skip)
from convdense.certificates import implementation_review  # noqa: E402  (after the skip)

pytestmark = pytest.mark.few_calls


@pytest.fixture(autouse=True)
def not_asked_whether_it_is_bilinear(monkeypatch):
    """What is wrong would be run another forty times, compiled for other shapes."""
    monkeypatch.setattr(implementation_review, "bilinear", lambda _t, _m, finding, _s: finding)


def conv_of(stride=(1, 1), padding=((0, 0), (0, 0)), last=False, **options):
    """Return `jax.lax.conv_general_dilated` with these options as a function of x, w and b."""
    numbers = ("NHWC", "OIHW", "NHWC") if last else ("NCHW", "OIHW", "NCHW")

    def function(x, w, b):
        y = lax.conv_general_dilated(x, w, stride, padding, dimension_numbers=numbers, **options)
        return y + (b if last else b[:, None, None])

    return function


def transposed(x, w, b):
    """Return a transposed convolution of stride 2: the kernel is flipped, (in, out) exchanged."""
    flipped = jnp.flip(w, (2, 3)).swapaxes(0, 1)
    return conv_of(padding=((2, 2), (1, 1)), lhs_dilation=(2, 2))(x, flipped, b)


X = (4, 5, 6)
STRIDED = {"stride": (2, 1), "padding": ((1, 2), (0, 1))}
GROUPED = {"rhs_dilation": (1, 2), "feature_group_count": 2}
# the layer, jax's function that it is, one with a defect, and the dtype
OPTIONS = {
    "strides and pairs of padding": (
        cd.Conv(X, 3, (3, 2), **STRIDED),
        conv_of(**STRIDED),
        conv_of(stride=(2, 1), padding=((2, 1), (0, 1))),
        "float32",
    ),
    "dilated input": (
        cd.Conv(X, 3, (3, 2), input_dilation=2),
        conv_of(lhs_dilation=(2, 2)),
        lambda x, w, b: conv_of(lhs_dilation=(2, 2))(x, jnp.flip(w, (2, 3)), b),
        "float64",
    ),
    "transposed": (
        cd.ConvTranspose(X, 3, (3, 2), stride=2),
        transposed,
        lambda x, w, b: transposed(x, jnp.flip(w, 3), b),
        "int32",
    ),
    "dilated kernel, groups": (
        cd.Conv(X, 6, (3, 2), dilation=(1, 2), groups=2),
        conv_of(**GROUPED),
        lambda x, w, b: conv_of(**GROUPED)(jnp.flip(x, 1), w, b),
        "bfloat16",
    ),
    "channels last": (
        cd.Conv(X, 2, (3, 2)),
        conv_of(last=True),
        lambda x, w, b: conv_of(last=True)(jnp.flip(x, 1), w, b),
        "float32",
    ),
}


def judged(layer, function, backward=None, *, dtype="float32", **options):
    """Return a certificate of compiled functions; an integer's sums are in its own dtype."""
    kept = dtype if dtype == "bfloat16" else None
    backward = backward and jax.jit(backward)
    mine = implementation(jax.jit(function), backward, to="jax", dtype=kept, **options)
    sums = {"accumulator": dtype} if dtype.startswith("int") else {}
    more = {"method": "random", "error": 2**-20, "seed": 0} | sums
    return cd.certify(layer, mine, dtype=dtype, **more)


def refused(certificate):
    return {finding.name for finding in certificate.findings if finding.refuted}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_of_a_convolution_is_right_and_seen_where_it_is_wrong(name):
    layer, right, wrong, dtype = OPTIONS[name]
    layout = {"layout": "NHWC"} if name == "channels last" else {}
    certificate = judged(layer, right, dtype=dtype, **layout).require()
    quantities = ["y"] if dtype == "int32" else ["y", "dx", "dw", "db"]
    assert [finding.name for finding in certificate.findings] == quantities
    assert refused(judged(layer, wrong, dtype=dtype, **layout)) >= {"y"}


def test_x64_is_enabled_for_a_call_in_64_bits_and_no_longer():
    seen = []

    def function(x, w, b):
        seen.append((x.dtype.name, jax.config.jax_enable_x64))
        return x

    mine = implementation(function, to="jax")
    x, w, b = np.ones((1, 1, 2)), np.ones((1, 1, 1)), np.ones(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype, wide in (("f8", True), ("f4", False), ("i8", True), ("i4", False)):
            assert mine.forward(*(a.astype(dtype) for a in (x, w, b))).dtype == dtype
            assert seen.pop() == (np.dtype(dtype).name, wide)
    assert not jax.config.jax_enable_x64
    assert implementation(function, to="jax", dtype="bfloat16").forward(x, w, b).dtype == "f4"
    assert seen == [("bfloat16", False)]


def test_gradients_of_complex_numbers_are_those_of_pytorch():
    layer = cd.Conv((2, 5), 3, 2)

    def function(x, w, b):
        return lax.conv_general_dilated(x, w, (1,), "VALID") + b[:, None]

    x, w, b, dy = ((1 + 2j) * np.ones(s, "c8") for s in ((1, 2, 5), (3, 2, 2), 3, (1, 3, 4)))
    dw = implementation(function, to="jax").backward(x, w, dy)[1]
    assert np.array_equal(dw, cd.convolve_backward(layer, x, w, dy).dw)
    assert not np.array_equal(dw, dw.conj() * 0 + jax.vjp(function, x, w, b)[1](jnp.array(dy))[1])


def test_sums_of_bfloat16_may_be_wider():
    def function(x, w, b):
        return lax.conv_general_dilated(x, w, (1,), "VALID", preferred_element_type=jnp.float32)

    x, w, dy = (np.ones(shape, "f4") for shape in ((1, 2, 5), (3, 2, 2), (1, 3, 4)))
    dx, dw, db = implementation(function, to="jax", dtype="bfloat16").backward(x, w, dy)
    right = cd.convolve_backward(cd.Conv((2, 5), 3, 2), x, w, dy)
    assert np.array_equal(dx, right.dx)
    assert np.array_equal(dw, right.dw)
    assert not db.any()  # it is not read


def doubled(function):
    """Return a function whose gradient by its first operand is twice what it should be."""
    wrong = jax.custom_vjp(function)

    def backward(operands, dy):
        dx, *rest = jax.vjp(function, *operands)[1](dy)
        return (2 * dx, *rest)

    wrong.defvjp(lambda *operands: (function(*operands), operands), backward)
    return wrong


def test_a_wrong_derivative_is_refused_and_a_pool_has_its_own():
    layer, right, *_ = OPTIONS["strides and pairs of padding"]
    assert refused(judged(layer, doubled(right))) == {"dx"}
    pool = cd.MaxPool((2, 5, 4), (3, 2), stride=2)

    def largest(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 2), "VALID")

    def certified(function):
        return cd.certify(pool, implementation(function, to="jax"), dtype="float32", seed=0)

    assert certified(largest).require().exact
    assert refused(certified(lambda x: -largest(-x))) >= {"y"}


def test_a_bias_that_is_not_taken_or_of_another_shape():
    layer = cd.LocallyConnected((2, 5), 3, kernel=2)
    shapes = (2, 2, 5), layer.weight_shape, layer.bias_shape, (2, 3, 4)
    x, w, b, dy = (np.arange(np.prod(shape), dtype="f4").reshape(shape) for shape in shapes)
    seen = []

    def local(x, w, b):
        seen.append(b)
        patches = jnp.stack([x[..., :-1], x[..., 1:]], -1)
        return jnp.einsum("nclk,oclk->nol", patches, w) + (0 if b is None else b)

    mine = implementation(local, to="jax", bias=layer.bias_shape)
    dx, dw, db = mine.backward(x, w, dy)
    assert np.array_equal(db, dy.sum(0))
    alone = implementation(local, to="jax", bias=False)
    seen.clear()
    assert np.array_equal(alone.forward(x, w, b), mine.forward(x, w, b))
    gradients = alone.backward(x, w, dy)
    assert gradients[2] is None
    assert all(map(np.array_equal, gradients[:2], (dx, dw)))
    assert sum(b is None for b in seen) == 2


# A Pallas kernel, in interpret mode: a convolution of one axis, a sample at a time


def pallas_conv(x, w, b, sample=lambda n: (n, 0, 0)):
    (batch, channels, length), (out, _, taps) = x.shape, w.shape
    cells = length - taps + 1

    def kernel(x_ref, w_ref, b_ref, y_ref):
        y = jnp.zeros((out, cells), x_ref.dtype) + b_ref[:][:, None]
        for k in range(taps):
            y += w_ref[:, :, k] @ x_ref[0, :, k : k + cells]
        y_ref[0] = y

    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((batch, out, cells), x.dtype),
        grid=(batch,),
        in_specs=[
            pl.BlockSpec((1, channels, length), sample),
            pl.BlockSpec(w.shape, lambda n: (0, 0, 0)),
            pl.BlockSpec(b.shape, lambda n: (0,)),
        ],
        out_specs=pl.BlockSpec((1, out, cells), lambda n: (n, 0, 0)),
        interpret=True,
    )(x, w, b)


def pallas_backward(x, w, dy):
    """Return the gradients of a kernel of two weights."""
    parts = jnp.einsum("nol,ock->nckl", dy, w)
    dx = jnp.pad(parts[:, :, 0], ((0, 0), (0, 0), (0, 1)))
    dx += jnp.pad(parts[:, :, 1], ((0, 0), (0, 0), (1, 0)))
    windows = jnp.stack([x[..., :-1], x[..., 1:]], -1)
    return dx, jnp.einsum("nclk,nol->ock", windows, dy), dy.sum((0, 2))


INTERPRETED = "run by an interpreter: this judges the source, not what a compiler makes of it"


def test_a_pallas_kernel_is_judged_and_its_interpreter_named():
    layer = cd.Conv((2, 5), 3, kernel=2)
    certificate = judged(layer, pallas_conv, pallas_backward, interpreted=True).require()
    assert INTERPRETED in str(certificate).splitlines()
    assert certificate.evaluator == "pallas_conv"
    # compiled for every shape: not tried on every batch
    assert [f.name for f in certificate.behaviour if f.name.startswith("batch")] == ["batch 2"]

    def first_sample_alone(x, w, b):
        return pallas_conv(x, w, b, sample=lambda n: (0, 0, 0))

    found = judged(layer, first_sample_alone, interpreted=True, backward=pallas_backward)
    assert refused(found) == {"y"}
    assert INTERPRETED in str(found).splitlines()


def test_the_guide_shows_what_its_code_prints(capsys):
    text = (Path(cd.__file__).parents[1] / "docs/guide.md").read_text(encoding="utf-8")
    code = re.search(r"## Arrays of other libraries\n.*?```py\n(.*?)```", text, re.DOTALL)[1]
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# -> (.*)$", code, re.MULTILINE)
