"""float16 and bfloat16: PyTorch's kernels are decided right, a lost weight is never certified."""

import math

import numpy as np
import pytest

import convdense as cd
from convdense._util.float_formats import rounded_to
from convdense.certificates.integer_ranges import (
    Ranges,
    exact_ranges,
    longest_sums,
    rounded_away,
)
from convdense.certificates.rounding_explainer import bits_per_trial
from convdense.structure._tie import tie

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.few_calls
HALF = "float16", "bfloat16"
# ResNet-18's kinds, with fewer pixels and some with fewer channels
RESNET = [
    cd.Conv((3, 24, 24), 32, 7, stride=2, padding=3),
    cd.Conv((64, 9, 9), 64, 3, padding=1),
    cd.Conv((64, 10, 10), 128, 3, stride=2, padding=1),
    cd.Conv((64, 10, 10), 128, 1, stride=2),
    cd.Conv((256, 4, 4), 32, 3, padding=1),
    cd.Conv((512, 3, 3), 16, 3, padding=1),
]
SMALL = cd.Conv((64, 6, 6), 2, 3)  # 577 terms: no bound for sums in the format itself
on_dtypes = pytest.mark.parametrize("dtype", HALF)


def of_torch(layer, dtype, spoil=None):
    from convdense.adapters.torch import implementation

    def conv(x, w, b):
        if spoil is not None:
            keep = torch.ones_like(w)
            keep.view(-1)[w.numel() // 2] = spoil
            w = w * keep
        padding = tuple(begin for begin, _ in layer.padding)
        return torch.nn.functional.conv2d(x, w, b, stride=layer.stride, padding=padding)

    return implementation(conv, dtype=dtype)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("layer", RESNET, ids=repr)
@pytest.mark.thinned(3)
def test_pytorchs_kernels_are_decided_right(layer, dtype):
    certificate = cd.certify(layer, of_torch(layer, dtype), dtype=dtype, batch=1, seed=0)
    assert certificate.require()
    assert certificate.error < 2**-6


@pytest.mark.parametrize("spoil", [0.0, 0.75, 1.25])
@pytest.mark.parametrize(
    "layer",
    [SMALL, cd.Conv((3, 9, 8), 4, 3)],
    ids=repr,
)
@on_dtypes
@pytest.mark.thinned(3)
def test_one_weight_missing_or_off_by_a_quarter_is_not_certified(layer, dtype, spoil):
    certificate = cd.certify(layer, of_torch(layer, dtype, spoil), dtype=dtype, batch=1, seed=0)
    assert not certificate
    assert not certificate["y"].holds
    if spoil == 0 and dtype == "float16":
        assert certificate.refuted


class Summed:
    """Sums in float32, split into parts that are rounded to the format: PyTorch's other way."""

    def __init__(self, layer, dtype, parts):
        self.layer, self.dtype, self.parts = layer, dtype, parts

    def forward(self, x, w, b):
        each = -(-x.shape[1] // self.parts)
        total = np.zeros((len(x), *self.layer.out_shape))
        for c in range(0, x.shape[1], each):
            kept = np.zeros_like(x, np.float64)
            kept[:, c : c + each] = x[:, c : c + each]
            part = cd.convolve(self.layer, kept, w.astype(np.float64))
            total = rounded_to(total + rounded_to(part, self.dtype), self.dtype).astype(float)
        return rounded_to(total + b.astype(float)[:, None, None], self.dtype)

    def backward(self, x, w, dy):
        exact = cd.convolve_backward(self.layer, *(a.astype(np.float64) for a in (x, w, dy)))
        return tuple(rounded_to(a, self.dtype) for a in exact)


@on_dtypes
def test_sums_that_are_rounded_twice_are_never_called_wrong(dtype):
    mine = Summed(SMALL, dtype, parts=2)
    certificate = cd.certify(SMALL, mine, dtype=dtype, seed=0)
    assert not certificate.refuted
    assert cd.certify(SMALL, Summed(SMALL, dtype, parts=1), dtype=dtype, seed=0)


@on_dtypes
def test_far_beyond_the_stated_accumulator_is_wrong(dtype):
    mine = Summed(SMALL, dtype, parts=1)
    mine.backward = Summed(SMALL, dtype, parts=1).backward
    forward = mine.forward
    mine.forward = lambda x, w, b: rounded_to(1.5 * forward(x, w, b).astype(float), dtype)
    assert cd.certify(SMALL, mine, dtype=dtype, seed=0).refuted


@on_dtypes
@pytest.mark.parametrize("layer", [*RESNET, SMALL, cd.Conv((64, 56, 56), 64, 3, padding=1)])
def test_sums_are_exact_in_float32_and_a_trial_tells_something(layer, dtype):
    ranges, terms = exact_ranges(layer, dtype, 1), longest_sums(tie(layer), 1)
    assert max(ranges) <= 2**8
    assert max(terms.values()) * max(ranges) ** 2 <= 2**24
    rounded = rounded_away(tie(layer), 1, dtype, ranges)
    assert 0 <= rounded < 0.5
    assert 16 * bits_per_trial(min(ranges), rounded=rounded) > 6


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_share_of_rounded_entries_is_below_what_is_claimed(m):
    """Of many draws: y of 144 and 145 terms, dw and db of 49, beside Chebyshev's bound."""
    layer, rng = cd.Conv((16, 9, 9), 1, 3), np.random.default_rng(0)
    ranges = Ranges(m, m, m, m)
    claimed = rounded_away(tie(layer), 1, "bfloat16", ranges)
    beyond = []
    for _ in range(30):
        x, w = (rng.integers(-m, m, s, endpoint=True) for s in ((1, 16, 9, 9), layer.weight_shape))
        beyond.append(np.abs(cd.convolve(layer, x, w)) > 2**8)
    assert np.mean(beyond) <= max(claimed, 1e-9)
    assert (claimed == 0) == (145 * m * m <= 2**8)


def test_what_a_trial_misses_is_by_brute_force_below_the_claim():
    """A lost product x w, in sums of 40 terms rounded to 4 bits: passed, or the sum was large."""
    rng, m, bits = np.random.default_rng(1), 2, 4
    x, w = (rng.integers(-m, m, (20_000, 40), endpoint=True) for _ in range(2))
    total = (x * w).sum(axis=1)
    lost = total - x[:, 0] * w[:, 0]

    def rounded(a):
        _, e = np.frexp(a.astype(float))
        step = np.maximum(1.0, np.ldexp(1.0, e - bits))
        return np.rint(a / step) * step

    missed = np.mean(rounded(total) == rounded(lost))
    v = m * (m + 1) / 3
    claimed = 2.0 ** -bits_per_trial(m, rounded=min(1.0, 40 * v * v / 4.0**bits))
    assert missed <= claimed
    assert math.isclose(bits_per_trial(2, rounded=0.1), -math.log2(0.5))
