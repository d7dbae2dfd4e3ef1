"""The table of claims: each holds on every layer, and every judge fails where it should."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest

from convdense import (
    Conv,
    Dense,
    LocallyConnected,
    TiedDense,
    TieMap,
    certify,
    check,
    convolve,
    convolve_backward,
    tie,
)
from convdense.claims import claims, student_question, toeplitz
from convdense.claims.claims import CLAIMS, Claim, Evidence, Verdict, judge_claims
from convdense.claims.toeplitz import block_circulant, block_toeplitz
from convdense.direct import conv as direct_conv
from convdense.layers import activations, max_pool_tournament, pooling
from convdense.networks import network, residual
from convdense.structure import axis
from convdense.verdicts import Finding
from tests.conftest import JUDGED

BY_ID = {claim.id: claim for claim in CLAIMS}
PAIRS = [(claim, layer) for claim in CLAIMS for layer in claim.layers]
CASES = [student_question.draw(np.random.default_rng(seed), 100) for seed in range(8)]


@pytest.fixture(autouse=True)
def judged_afresh(request):
    """Forget what a planted defect, or its absence, made of a layer."""
    planted = "monkeypatch" in request.fixturenames
    if planted:
        claims._judged.cache_clear()
    yield
    if planted:
        claims._judged.cache_clear()


def first_broken(name):
    """Return the first layer on which a claim does not hold, or None."""
    return next((layer for layer in BY_ID[name].layers if not BY_ID[name].judge(layer).held), None)


@pytest.mark.parametrize(
    ("claim", "layer"),
    [
        pytest.param(c, layer, id=f"{c.id}-{layer!r}", marks=pytest.mark.claim(c.id))
        for c, layer in PAIRS
    ],
)
def test_the_claim_holds(claim, layer, record_property):
    evidence = claim.judge(layer)
    record_property(JUDGED, (claim.id, 1, evidence.error, evidence.trials))
    assert evidence.held
    assert evidence.layer == layer
    assert evidence.exact
    assert evidence.error <= 2**-64
    assert evidence.difference <= evidence.bound


def test_claims_have_a_name_of_their_own_a_sentence_and_layers():
    assert len(BY_ID) == len(CLAIMS)
    assert len({claim.sentence for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.sentence.endswith(".")
        assert len(claim.sentence.split()) > 5
        assert " with " in claim.compared
        assert len(set(claim.layers)) == len(claim.layers) > 0


def test_the_layers_leave_no_easy_case_alone():
    everything = {
        layer
        for _, layer in PAIRS
        if hasattr(layer, "padding_mode") or hasattr(layer, "output_padding")
    }
    kinds = Counter(type(layer).__name__ for layer in everything)
    assert min(kinds[name] for name in ("Conv", "ConvTranspose", "LocallyConnected")) >= 3
    assert {layer.padding_mode for layer in everything} >= {
        "zeros",
        "circular",
        "reflect",
        "replicate",
    }
    for kind in ("Conv", "ConvTranspose"):
        mine = [layer for layer in everything if type(layer).__name__ == kind]
        assert {len(layer.kernel) for layer in mine} == {1, 2, 3}
        assert {layer.flip for layer in mine} == {True, False}
        assert (
            max(max(layer.stride) for layer in mine)
            > 1
            < max(max(layer.dilation) for layer in mine)
        )
        assert any(
            len(set(layer.in_spatial)) > 1 and 1 < layer.groups < layer.in_channels
            for layer in mine
        )


def test_the_table_is_judged_in_order_and_in_part(monkeypatch):
    some = [BY_ID["question"], BY_ID["circulant"]]
    verdicts = list(judge_claims(some))
    assert [verdict.claim for verdict in verdicts] == some
    assert [[e.layer for e in verdict.evidence] for verdict in verdicts] == [
        list(claim.layers) for claim in some
    ]
    monkeypatch.setattr(claims, "CLAIMS", (BY_ID["circulant"], BY_ID["toeplitz"]))
    assert [verdict.claim.id for verdict in judge_claims()] == ["circulant", "toeplitz"]


def verdict_of(*evidence):
    return Verdict(Claim("c", "s.", "a with b", (), lambda layer: None), evidence)


def test_a_verdict_holds_if_all_its_evidence_does():
    good, inexact = Evidence("a", True, 2**-70, 1.0, 2.0), Evidence("b", False, 2**-70, 0.5, 2.0)
    beyond, proof = Evidence("c", True, 0.0, 3.0, 2.0), Evidence("d", True)
    assert [e.held for e in (good, inexact, beyond, proof)] == [True, False, False, True]
    assert (verdict_of(good, proof).held, verdict_of(good, proof).exact) == (True, True)
    assert (verdict_of(good, inexact).held, verdict_of(good, inexact).exact) == (False, False)
    assert (verdict_of(good, beyond).held, verdict_of(good, beyond).exact) == (False, True)
    assert verdict_of(good, beyond, inexact).worst is beyond
    assert verdict_of(proof, inexact, good).worst is good
    assert verdict_of(good, Evidence("e", True, 0.0, 1e-300, 0.0)).worst.layer == "e"


def test_a_verdict_says_how_sure_it_is():
    proof, drawn = Evidence("a", True), Evidence("b", True, 2**-70)
    assert verdict_of(proof).sure == "proof on 1 layer"
    assert (
        verdict_of(proof, proof, drawn).sure == "proof on 2 layers; error at most 2^-70 on 1 layer"
    )
    assert verdict_of(drawn, drawn).sure == "error at most 2^-70 on 2 layers"


def report_on(layer, dx):
    """Return a certificate that is true and a report on an implementation with this dx."""
    rng = np.random.default_rng(0)
    x, w, b, dy = (
        rng.normal(size=s)
        for s in (layer.in_shape, layer.weight_shape, layer.bias_shape, layer.out_shape)
    )

    def forward(x, w, b):
        return convolve(layer, x, w, b)

    def backward(x, w, dy):
        gradients = convolve_backward(layer, x, w, dy)
        return (dx(gradients.dx), *gradients[1:])

    return certify(layer), check(layer, x, w, b, dy, implementation=(forward, backward))


def test_evidence_takes_the_worst_of_its_quantities_and_both_verdicts():
    layer = student_question.FIRST
    certificate, report = report_on(layer, dx=lambda dx: np.nextafter(dx, np.inf))
    evidence = claims.of_quantities(("y", "dx"), certificate, report)
    assert evidence == Evidence(layer, True, 0.0, report["dx"].difference, report["dx"].bound)
    assert 0 < evidence.difference <= evidence.bound
    assert evidence.held
    assert not claims.of_quantities(("y", "dx"), *report_on(layer, dx=lambda dx: -dx)).held
    refused = certify(
        layer, (lambda x, w, b: 0, lambda x, w, dy: convolve_backward(layer, x, w, dy))
    )
    assert not claims.of_quantities(("y",), refused, report).held
    assert claims.of_quantities(("dw",), refused, report).held


def test_a_wrong_shape_holds_nothing():
    assert not claims.of_quantities(
        ("y", "dx"), *report_on(student_question.FIRST, dx=lambda dx: dx[..., :-1])
    ).held


def test_what_is_undecided_holds_nothing():
    certificate, report = report_on(student_question.FIRST, dx=lambda dx: dx)
    undecided = replace(
        report, findings=(Finding("dx", "undecided", (0, 0, 0), "1.0", "2.0", 1.0, float("inf")),)
    )
    assert not claims.of_quantities(("dx",), certificate, undecided).held


# planted defects: what would a judge say if this step of the library were wrong?


def last_tap_lost(*sizes, _window=axis.window, **options):
    whole = _window(*sizes, **options)
    return whole.take(whole.taps < whole.n_taps - 1)


def taps_reversed(*sizes, _window=axis.window, **options):
    whole = _window(*sizes, **options)
    return whole.with_entries(taps=whole.n_taps - 1 - whole.taps)


def mean_of_the_copies(ties, x, dy, _add=TieMap.add_edges):
    return _add(ties, x, dy) / np.maximum(1, ties.counts().weights).reshape(ties.weight_shape)


def padded_with_zeros(layer, cells):
    return np.pad(cells, [(0, 0), (0, 0), *layer.padding])


def rim_dropped(layer, padded, sizes):
    cut = (slice(begin, begin + n) for n, (begin, _) in zip(sizes, layer.padding, strict=True))
    return padded[(..., *cut)]


def shifted_by_one(layer, padded, sizes, _unpad=direct_conv._unpad):
    return np.roll(_unpad(layer, padded, sizes), 1, axis=-1)


def kernel_reversed(layer, taps, small, w, _stamp=direct_conv._stamp):
    return _stamp(layer, taps, small, w[..., ::-1])


def channels_reversed(n_out, shared, _spread=axis.spread):
    whole = _spread(n_out, shared)
    return whole if shared else whole.with_entries(rows=whole.rows[::-1])


def rows_confused(whole, _untied=axis.untied):
    taps = (whole.n_rows - 1 - whole.rows) * whole.n_taps + whole.taps
    return _untied(whole).with_entries(taps=taps)


def doubled(dense, x, dy, _backward=Dense.backward):
    return _backward(dense, x, 2 * dy)


def product_of_sums(case, _right=student_question.backpropagated):
    return student_question.as_written(case), _right(case)[1]


def rows_rolled(*arguments, _whole, **named):
    return np.roll(_whole(*arguments, **named), 1, axis=0)


def divisors_doubled(pool, _right=pooling.divisors):
    return 2 * _right(pool)


def division_forgotten(layer, x, dy, _right=pooling.SumDivide.backward):
    return _right(replace(layer, divisors=None), x, dy)


def last_of_several(layer, x, _right=activations.Abs.slopes):
    return _right(replace(layer, slope_at_zero=-layer.slope_at_zero), x)


def a_cell_lost(windows, sign, _right=max_pool_tournament._levels):
    first, *rest = _right(windows, sign)
    return [first._replace(halves=first.halves.take(slice(0, -1))), *rest]


def one_at_zero(layer, x, dy):
    return np.where(x >= 0, dy, layer.slope * dy)


def size_forgotten(layer, x):
    return (1 + layer.slope) / 2 * x


def identity_twice(layer, x, _right=residual.ResidualSum.forward):
    return _right(layer, x) + x


def gradients_exchanged(net, values, dy, _right=network.Network.pull_back):
    dx, gradients = _right(net, values, dy)
    same = [
        name for name, g in gradients.items() if g.shape == next(iter(gradients.values())).shape
    ]
    return dx, {**gradients, **dict(zip(same, [-gradients[name] for name in same], strict=True))}


toeplitz_rolled = partial(rows_rolled, _whole=toeplitz._toeplitz)
circulant_rolled = partial(rows_rolled, _whole=toeplitz._circulant)

DEFECTS = [  # the claim that must fail, one that must still hold, what is replaced, by what
    ("forward", "dx", "direct.conv._pad", padded_with_zeros),
    ("forward", None, "structure._tie.window", last_tap_lost),
    ("dx", None, "structure._tie.window", last_tap_lost),
    ("dx", None, "structure._tie.window", taps_reversed),
    ("dx", "forward", "direct.conv._unpad", rim_dropped),
    ("dx", "dw", "direct.conv._unpad", shifted_by_one),
    ("dw", "forward", "structure.tie_map.TieMap.add_edges", mean_of_the_copies),
    ("dw", "dx", "direct.conv._pad", padded_with_zeros),
    ("db", "local", "structure.tie_map.TieMap.add_edges", mean_of_the_copies),
    ("db", "dw", "structure.tie_map.spread", channels_reversed),
    ("steps", "dx", "structure.tie_map.TieMap.add_edges", mean_of_the_copies),
    ("steps", "dw", "layers.dense.Dense.backward", doubled),
    ("second", None, "structure._tie.window", taps_reversed),
    ("second", "dx", "direct.conv._pad", padded_with_zeros),
    ("second", None, "structure._tie.untied", rows_confused),
    ("transposed", "forward", "direct.conv._unpad", shifted_by_one),
    ("transposed", "forward", "direct.conv._stamp", kernel_reversed),
    ("local", "dw", "direct.conv._stamp", kernel_reversed),
    ("local", "dw", "structure._tie.untied", rows_confused),
    ("toeplitz", None, "structure._tie.window", taps_reversed),
    ("toeplitz", "circulant", "claims.toeplitz._toeplitz", toeplitz_rolled),
    ("circulant", None, "structure._tie.window", last_tap_lost),
    ("circulant", "toeplitz", "claims.toeplitz._circulant", circulant_rolled),
    ("average", "max", "layers.pooling.divisors", divisors_doubled),
    ("average", "max", "layers.pooling.SumDivide.backward", division_forgotten),
    ("max", "average", "layers.activations.Abs.slopes", last_of_several),
    ("max", "relu", "layers.max_pool_tournament._levels", a_cell_lost),
    ("relu", "max", "layers.activations.LeakyReLU.backward", one_at_zero),
    ("relu", "max", "layers.activations.LeakyReLU.forward", size_forgotten),
    ("network", "max", "layers.dense.Dense.backward", doubled),
    ("network", "average", "networks.residual.ResidualSum.forward", identity_twice),
    ("network", "dw", "networks.network.Network.pull_back", gradients_exchanged),
    ("question", "dx", "structure.tie_map.TieMap.add_edges", mean_of_the_copies),
    ("question", "forward", "claims.student_question.backpropagated", product_of_sums),
]


@pytest.mark.parametrize(
    ("name", "other", "target", "defect"),
    [pytest.param(*d, id=f"{d[0]} fails, {d[2]}", marks=pytest.mark.claim(d[0])) for d in DEFECTS],
)
@pytest.mark.thinned(2)
def test_a_planted_defect_makes_its_claim_fail(monkeypatch, name, other, target, defect):
    monkeypatch.setattr(
        claims, "certify", partial(certify, method="random")
    )  # sooner done than proofs
    with monkeypatch.context() as planted:
        planted.setattr(f"convdense.{target}", defect)
        broken = first_broken(name)
        assert broken is not None
        assert other is None or first_broken(other) is None
    claims._judged.cache_clear()
    assert BY_ID[name].judge(broken).held


def test_every_claim_is_seen_to_fail():
    assert {name for name, *_ in DEFECTS} == set(BY_ID)


# the question


def named(pairs):
    return sorted(f"i{i} v{v}" for i, v in pairs)


COPIES = [
    [1, 2, 4, 5],
    [2, 3, 5, 6],
    [4, 5, 7, 8],
    [5, 6, 8, 9],
]  # the inputs that w1, ..., w4 meet, one per output


@pytest.mark.claim("question")
@pytest.mark.parametrize("k", range(4))
def test_of_sixteen_products_four_are_edges(k):
    right, crossed = student_question.products(k)
    assert right == [f"i{i} v{j}" for j, i in enumerate(COPIES[k], start=1)]
    assert sorted(crossed) == named(
        set(product(COPIES[k], range(1, 5))) - set(zip(COPIES[k], range(1, 5), strict=True))
    )
    assert len(crossed) == 12


@pytest.mark.claim("question")
def test_the_products_of_the_first_weight_are_the_ones_in_the_answer():
    right, crossed = student_question.products()
    assert right == ["i1 v1", "i2 v2", "i4 v3", "i5 v4"]
    assert crossed == (
        [
            "i1 v2",
            "i1 v3",
            "i1 v4",
            "i2 v1",
            "i2 v3",
            "i2 v4",
            "i4 v1",
            "i4 v2",
            "i4 v4",
            "i5 v1",
            "i5 v2",
            "i5 v3",
        ]
    )


def loops(case):
    """Return C, dC/dw and dC/dv of the question in Python integers, from its words alone."""
    i, w, v = (np.ravel(a).tolist() for a in (case.i, case.w, case.v))
    met = [
        [COPIES[k][j] - 1 for k in range(4)] for j in range(4)
    ]  # the inputs of each output, in the order of w
    o = [sum(w[k] * i[met[j][k]] for k in range(4)) for j in range(4)]
    back = 2 * (sum(a * b for a, b in zip(v, o, strict=True)) - case.y)
    return (
        back**2 // 4,
        [back * sum(v[j] * i[met[j][k]] for j in range(4)) for k in range(4)],
        [back * a for a in o],
    )


@pytest.mark.claim("question")
@pytest.mark.parametrize(
    "case",
    [student_question.example(), *CASES],
    ids=["example", *(f"seed {s}" for s in range(len(CASES)))],
)
def test_backpropagation_central_differences_and_plain_integers_agree(case):
    cost, dw, dv = loops(case)
    assert student_question.cost(case) == cost
    for by_layers, name, expected in zip(
        student_question.backpropagated(case), "wv", (dw, dv), strict=True
    ):
        assert by_layers.shape == (1, 1, 2, 2)
        assert by_layers.ravel().tolist() == expected
        assert student_question.central_difference(case, name).ravel().tolist() == expected


@pytest.mark.claim("question")
@pytest.mark.parametrize(
    "case",
    [student_question.example(), *CASES],
    ids=["example", *(f"seed {s}" for s in range(len(CASES)))],
)
def test_the_gradient_as_written_is_another_number(case):
    written, (dw, _) = student_question.as_written(case), student_question.backpropagated(case)
    assert (written != dw).all()
    i, v = case.i.ravel(), case.v.sum()
    z = (
        TiedDense(student_question.SECOND, case.v)
        .forward(TiedDense(student_question.FIRST, case.w).forward(case.i))
        .item()
    )
    assert written.ravel().tolist() == [
        int(sum(i[n - 1] for n in met) * v * 2 * (z - case.y)) for met in COPIES
    ]


def test_the_example_is_as_its_docstring_says():
    case = student_question.example()
    assert student_question.cost(case) == (77 - 76) ** 2
    assert min(case.i.min(), case.w.min(), case.v.min()) < 0


def test_drawn_cases_stay_within_their_size_and_reach_both_signs():
    rng = np.random.default_rng(5)
    for case in (student_question.draw(rng, 3) for _ in range(50)):
        values = np.concatenate([np.ravel(part) for part in case])
        assert set(values.tolist()) <= set(range(-3, 4))
    assert {-3, 3} <= {
        int(v)
        for s in range(20)
        for v in student_question.draw(np.random.default_rng(s), 3).i.ravel()
    }


def test_the_question_is_judged_by_the_error_probability_of_its_degree():
    right, error = student_question.judge(trials=3, m=50, seed=1)
    assert right
    assert error == (5 / 101) ** 3
    assert student_question.judge()[1] <= 2**-64


def test_the_question_is_not_settled_where_the_written_formula_is_right(monkeypatch):
    monkeypatch.setattr(
        student_question, "as_written", lambda case: student_question.backpropagated(case)[0]
    )
    assert student_question.judge(seed=0)[0] is False


# the matrix a second way

D2L = [
    [1, 2, 0, 3, 4, 0, 0, 0, 0],
    [0, 1, 2, 0, 3, 4, 0, 0, 0],
    [0, 0, 0, 1, 2, 0, 3, 4, 0],
    [0, 0, 0, 0, 1, 2, 0, 3, 4],
]


@pytest.mark.claim("toeplitz")
def test_dive_into_deep_learning_writes_this_matrix():
    """Dive into Deep Learning, section "Transposed Convolution"."""
    assert block_toeplitz(student_question.FIRST, np.array([[[[1, 2], [3, 4]]]])).tolist() == D2L


@pytest.mark.claim("toeplitz")
def test_a_block_toeplitz_matrix_written_by_hand():
    layer = Conv(
        (1, 3), 2, kernel=2, padding=((1, 2),), dilation=2
    )  # the padded input: 0 i1 i2 i3 0 0
    by_hand = [
        [0, 5, 0],
        [-3, 0, 5],
        [0, -3, 0],
        [0, 0, -3],
        [0, 7, 0],
        [4, 0, 7],
        [0, 4, 0],
        [0, 0, 4],
    ]
    assert block_toeplitz(layer, np.array([[[-3, 5]], [[4, 7]]])).tolist() == by_hand


@pytest.mark.claim("circulant")
def test_a_block_circulant_matrix_written_by_hand():
    layer = Conv((1, 2, 3), 1, kernel=2, padding=((0, 1), (1, 0)), padding_mode="circular")
    by_hand = [
        *([2, 0, 1, 4, 0, 3], [1, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]),
        *([4, 0, 3, 2, 0, 1], [3, 4, 0, 1, 2, 0], [0, 3, 4, 0, 1, 2]),
    ]
    assert block_circulant(layer, np.array([[[[1, 2], [3, 4]]]])).tolist() == by_hand


@pytest.mark.claim("circulant")
def test_taps_that_meet_in_a_small_circle_are_added():
    layer = Conv((1, 2), 1, kernel=3, padding=1, padding_mode="circular")
    assert block_circulant(layer, np.array([[[1, 10, 100]]])).tolist() == [[10, 101], [101, 10]]


SECOND_WAY = [
    (block_toeplitz, Conv((2, 3), 4, kernel=2, groups=2, padding=((3, 0),), flip=True)),
    (block_toeplitz, Conv((2, 3, 4), 3, kernel=(3, 2), padding=((2, 0), (0, 1)), dilation=(1, 3))),
    (block_toeplitz, Conv((3, 2, 3, 2), 1, kernel=(1, 2, 2), padding=(1, 0, 2), flip=True)),
    (
        block_circulant,
        Conv((2, 5), 3, kernel=4, padding="same", padding_mode="circular", flip=True),
    ),
    (
        block_circulant,
        Conv((4, 3, 4), 2, kernel=2, padding="same_lower", padding_mode="circular", groups=2),
    ),
    (
        block_circulant,
        Conv((1, 2, 3, 2), 2, kernel=(2, 3, 1), padding="same", padding_mode="circular"),
    ),
]


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        pytest.param(
            build,
            layer,
            id=repr(layer),
            marks=pytest.mark.claim(build.__name__.removeprefix("block_")),
        )
        for build, layer in SECOND_WAY
    ],
)
def test_the_second_way_gives_the_matrix_of_the_tie_map(build, layer):
    w = np.random.default_rng(0).integers(-1000, 1000, layer.weight_shape)
    assert np.array_equal(build(layer, w), tie(layer).matrix(w).toarray())


REFUSED = [
    *(
        (block_toeplitz, Conv((1, 5, 4), 1, kernel=2, **o))
        for o in ({"stride": (1, 2)}, {"stride": 2})
    ),
    *(
        (block_toeplitz, Conv((1, 5, 4), 1, kernel=2, padding=1, padding_mode=m))
        for m in ("circular", "reflect", "replicate", "symmetric")
    ),
    (
        block_circulant,
        Conv((1, 5, 4), 1, kernel=3, padding=1, stride=(2, 1), padding_mode="circular"),
    ),
    (block_circulant, Conv((1, 5, 4), 1, kernel=3, padding=2, padding_mode="circular")),
    *(
        (block_circulant, Conv((1, 5, 4), 1, kernel=3, padding=1, padding_mode=m))
        for m in ("zeros", "reflect", "replicate", "symmetric")
    ),
]
NEEDS = {
    block_toeplitz: "stride 1 and zero padding for a block Toeplitz matrix",
    block_circulant: "stride 1 and circular padding to the same size for a block circulant matrix",
}


@pytest.mark.parametrize(
    ("build", "layer"), REFUSED, ids=[f"{build.__name__} {layer!r}" for build, layer in REFUSED]
)
def test_a_matrix_that_is_not_of_this_form_is_refused(build, layer):
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        build(layer, np.ones(layer.weight_shape, int))
    assert str(error.value) == f"conv: got {layer!r}; needs {NEEDS[build]}"


@pytest.mark.claim("local")
def test_the_mask_of_an_untied_layer_is_that_of_its_convolution():
    for layer in claims.LOCAL:
        options = {
            name: getattr(layer, name)
            for name in ("kernel", "stride", "padding", "dilation", "groups")
        }
        conv = Conv(layer.in_shape, layer.out_channels, padding_mode=layer.padding_mode, **options)
        assert isinstance(layer, LocallyConnected)
        assert np.array_equal(tie(layer).mask().toarray(), tie(conv).mask().toarray())
        assert set(tie(layer).counts().weights.ravel().tolist()) <= {0, 1}


@pytest.mark.parametrize("lost", ["mask", "ties"])
def test_an_untied_layer_must_have_the_mask_and_no_ties(lost, monkeypatch):
    """Right gradients are not enough where the mask is another, or a weight sits in two places."""
    layer, real = LocallyConnected((1, 3), 1, kernel=2), claims.tie

    class Other:
        def __init__(self, ties):
            self.ties = ties

        def mask(self):
            return self.ties.mask() if lost != "mask" else self.ties.T.mask().T * 0

        def counts(self):
            return (
                self.ties.counts() if lost != "ties" else real(Conv((1, 3), 1, kernel=2)).counts()
            )

    assert claims._untied(layer).exact
    monkeypatch.setattr(claims, "tie", lambda one: Other(real(one)) if one is layer else real(one))
    assert not claims._untied(layer).exact
