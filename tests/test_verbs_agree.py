"""No two verbs contradict each other: certify, certify of the dense form, check and diagnose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convdense as cd

pytestmark = pytest.mark.few_calls

DTYPES = ("float32", "float64")
FEW = settings(max_examples=10, deadline=None, derandomize=True)


@st.composite
def pools(draw):
    kind = draw(st.sampled_from([cd.MaxPool, cd.MinPool, cd.SumPool, cd.AvgPool, cd.LpPool]))
    shape = (draw(st.integers(1, 2)), draw(st.integers(3, 6)), draw(st.integers(3, 5)))
    options = {"p": draw(st.sampled_from([1, 2, 2.5, 3]))} if kind is cd.LpPool else {}
    if draw(st.booleans()):
        return kind(shape, output=(draw(st.integers(1, 3)), 2), **options)
    return kind(
        shape,
        kernel=(draw(st.integers(2, 3)), draw(st.integers(1, 3))),
        stride=draw(st.integers(1, 2)),
        padding=((draw(st.integers(0, 1)), 1), (0, 0)),
        ceil_mode=draw(st.booleans()),
        **options,
    )


def distinct(pool, dtype, seed):
    """Return x without ties, and dy."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(2 * int(np.prod(pool.in_shape))).astype(dtype) - 7
    return x.reshape(2, *pool.in_shape), rng.normal(size=(2, *pool.out_shape)).astype(dtype)


@FEW
@given(pool=pools(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 5))
def test_all_verbs_agree_on_the_dense_form_of_a_pool(pool, dtype, seed):
    dense = cd.dense_pool(pool)
    pair = dense.forward, dense.backward
    assert cd.certify(pool, pair, dtype=dtype, seed=seed).require()
    x, dy = distinct(pool, dtype, seed)
    assert cd.check(pool, x, dy=dy, implementation=pair).require()
    assert cd.check(pool, x, dy=dy).require()
    if not isinstance(pool, cd.LpPool):  # which diagnose does not take, and certify only with code
        assert cd.certify(pool, dtype=dtype, seed=seed).require()
        assert cd.diagnose(pool, pair, seed=seed).explanations == ()


@pytest.mark.parametrize("dtype", ["bfloat16", *DTYPES])
@pytest.mark.parametrize("kind", [cd.MaxPool, cd.MinPool])
def test_a_tournament_is_exact_on_every_number_drawn(kind, dtype):
    pool = kind((2, 6, 7), kernel=3, stride=2, padding=1)
    dense = cd.dense_pool(pool)
    for seed in range(2):
        certificate = cd.certify(pool, (dense.forward, dense.backward), dtype=dtype, seed=seed)
        assert certificate.exact, str(certificate)


@pytest.mark.parametrize("kind", [cd.MaxPool, cd.MinPool])
def test_all_verbs_agree_that_a_split_tie_goes_elsewhere(kind):
    pool = kind((1, 5, 6), kernel=2, stride=1)
    dense = cd.dense_pool(pool, tie_break="split")
    pair = dense.forward, dense.backward
    certificate = cd.certify(pool, pair, seed=0)
    assert (certificate["y"].verdict, certificate["dx"].verdict) == ("equal", "wrong")
    assert [e.name for e in cd.diagnose(pool, pair, seed=0).explanations] == ["dx"]
    x, dy = distinct(pool, "float64", 0)
    assert cd.check(pool, x, dy=dy, implementation=pair)
    assert not cd.check(pool, 0 * x, dy=dy, implementation=pair)


@st.composite
def layers(draw):
    kind = draw(st.sampled_from([cd.Conv, cd.ConvTranspose, cd.LocallyConnected]))
    groups = draw(st.sampled_from([1, 2])) if kind is not cd.LocallyConnected else 1
    options = {"groups": groups, "padding": draw(st.integers(0, 1))} if groups > 1 else {}
    if kind is cd.Conv:
        modes = ["zeros", "replicate", "circular", "reflect"]
        options |= {"padding": 1, "padding_mode": draw(st.sampled_from(modes))}
    return kind(
        (2, draw(st.integers(3, 5)), draw(st.integers(3, 4))),
        2 * draw(st.integers(1, 2)),
        kernel=(draw(st.integers(1, 3)), 2),
        stride=draw(st.integers(1, 2)),
        **options,
    )


def as_implementation(layer, spoil=0.0):
    """Return the tied dense layer as an implementation, one weight spoilt."""

    def tied(w):
        w = w.copy()
        w.flat[-1] *= 1 - spoil
        return w

    def forward(x, w, b):
        return cd.TiedDense(layer, tied(w), b).forward(x)

    def backward(x, w, dy):
        return cd.TiedDense(layer, tied(w), np.zeros(layer.bias_shape, w.dtype)).backward(x, dy)

    return forward, backward


@settings(FEW, max_examples=6)
@given(
    layer=layers(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 5),
    spoil=st.sampled_from([0.0, 0.0, 0.25, 1.0]),
)
def test_all_verbs_agree_on_the_dense_form_of_a_layer(layer, dtype, seed, spoil):
    mine, rng = as_implementation(layer, spoil), np.random.default_rng(seed)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    operands = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    certificate = cd.certify(layer, mine, dtype=dtype, method="random", seed=seed)
    report = cd.check(layer, *operands, implementation=mine)
    diagnosis = cd.diagnose(layer, mine, seed=seed)
    # (a stride may leave the last tap without an input: then nothing was spoilt)
    spoilt = {e.name for e in diagnosis.explanations}
    assert bool(certificate) == bool(report) == (not spoilt)
    assert {f.name for f in certificate.findings if f.refuted} == spoilt
    assert {f.name for f in report.findings if f.refuted} == spoilt
    if not spoil:
        assert not spoilt
        assert certificate.exact
        assert cd.certify(layer, dtype=dtype, method="random", seed=seed)
