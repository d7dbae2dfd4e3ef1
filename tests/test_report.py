"""What a verdict says and keeps: truth values, texts, and data that reads back the same."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from convdense import (
    Certificate,
    Conv,
    ConvTranspose,
    LocallyConnected,
    Report,
    TiedDense,
    TieMap,
    certify,
    check,
    convolve,
    convolve_backward,
)
from convdense.verdicts import Finding
from convdense.verdicts.comparison import compare
from convdense.verdicts.findings import array_from_dict, array_to_dict

INF, NAN = float("inf"), float("nan")
CONV = Conv((2, 4), 3, kernel=2, padding=((1, 0),))
LAYERS = [
    CONV,
    Conv(
        (2, 3, 4),
        2,
        kernel=(2, 3),
        stride=(1, 2),
        padding=((0, 1), (2, 0)),
        padding_mode="replicate",
        flip=True,
    ),
    ConvTranspose((2, 2, 3), 4, kernel=(2, 3), stride=2, groups=2, output_padding=(0, 1)),
    LocallyConnected((1, 3, 4), 2, kernel=(2, 3)),
]
FINDINGS = {
    "equal": (compare("y", [1, -2], [1, -2]), "y   equal"),
    "within rounding": (
        compare(
            "dx",
            np.array([[1.0, 2.0], [3.0, -4.5]]),
            np.array([[1.0, 2.25], [3.0, -4.0]]),
            np.full((2, 2), 0.75),
        ),
        "dx  within rounding, worst at (1, 1): got -4.5, expected -4.0 ± 0.75 (0.67 of the bound)",
    ),
    "the largest share, not the largest difference": (
        compare("dx", np.array([10.0, 2.5]), np.array([11.0, 2.0]), np.array([4.0, 1.0])),
        "dx  within rounding, worst at (1,): got 2.5, expected 2.0 ± 1 (0.5 of the bound)",
    ),
    "wrong by a bound": (
        compare("dw", np.array([[2.0, -3.5]]), np.array([[2.0, 3.5]]), np.array([[1.0, 1e-15]])),
        "dw  wrong, worst at (0, 1): got -3.5, expected 3.5 ± 1e-15 (7e+15 of the bound)",
    ),
    "just within a bound": (
        compare("dw", np.array([2.0]), np.array([3.5]), np.array([1.5])),
        "dw  within rounding, worst at (0,): got 2.0, expected 3.5 ± 1.5 (1 of the bound)",
    ),
    "just beyond a bound": (
        compare("dw", np.array([2.0]), np.array([3.5]), np.array([1.25])),
        "dw  wrong, worst at (0,): got 2.0, expected 3.5 ± 1.2 (1.2 of the bound)",
    ),
    "wrong where equality was asked": (
        compare("dw", [[4, 7], [3, 1]], [[4, 7], [5, 1]]),
        "dw  wrong, worst at (1, 0): got 3, expected 5 ± 0",
    ),
    "wrong where the bound is zero": (
        compare("db", np.array([0.0, 1e-300]), np.zeros(2), np.zeros(2)),
        "db  wrong, worst at (1,): got 1e-300, expected 0.0 ± 0",
    ),
    "wrong shape": (
        compare("y", np.zeros((2, 3)), np.zeros((2, 4)), np.ones((2, 4))),
        "y   wrong shape; (2, 3) where (2, 4) is needed",
    ),
    "NaN is wrong": (
        compare("y", np.array([1.0, NAN]), np.array([1.0, 2.0]), np.ones(2)),
        "y   wrong, worst at (1,): got nan, expected 2.0 ± 1 (inf of the bound)",
    ),
    "wrong outweighs undecided": (
        compare("y", np.array([1.0, 5.0]), np.array([2.0, 2.0]), np.array([INF, 1.0])),
        "y   wrong, worst at (1,): got 5.0, expected 2.0 ± 1 (3 of the bound)",
    ),
    "undecided": (
        compare("y", np.array([[5.0, 1.5]]), np.array([[3.0, 1.0]]), np.array([[INF, INF]])),
        "y   undecided, worst at (0, 0): got 5.0, expected 3.0, no bound; "
        "2 entries are too long or may overflow",
    ),
}
on_findings = pytest.mark.parametrize(("finding", "text"), FINDINGS.values(), ids=FINDINGS)
on_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def reals(layer, dtype="float64", seed=0, batch=(2,)):
    rng = np.random.default_rng(seed)
    shapes = (
        (*batch, *layer.in_shape),
        layer.weight_shape,
        layer.bias_shape,
        (*batch, *layer.out_shape),
    )
    part = lambda shape: rng.normal(size=shape)  # noqa: E731  (one line)
    return tuple(
        (part(s) + (1j * part(s) if np.dtype(dtype).kind == "c" else 0)).astype(dtype)
        for s in shapes
    )


def integers(layer, seed=0):
    return tuple((10 * a).astype(np.int64) for a in reals(layer, seed=seed))


def mine(layer, dw=1, y=0):
    """Return an implementation, right unless dw is scaled or y shifted."""

    def backward(x, w, dy):
        dx, gradient, db = convolve_backward(layer, x, w, dy)
        return dx, gradient * dw, db

    return (lambda x, w, b: convolve(layer, x, w, b) + y), backward


def wrong(layer):
    return check(layer, *reals(layer), implementation=mine(layer, dw=-1))


def through_json(kind, judgement):
    return kind.from_dict(json.loads(json.dumps(judgement.to_dict(), allow_nan=False)))


@on_findings
def test_a_finding_says(finding, text):
    assert str(finding) == text


@on_findings
def test_a_finding_reads_back_equal(finding, text):
    assert through_json(Finding, finding) == finding
    assert str(through_json(Finding, finding)) == text


def test_a_finding_with_nothing_but_infinities_and_nan_in_it_reads_back():
    finding = Finding("dx", "undecided", (0, 3), "nan", "-inf", INF, INF, "no bound")
    assert through_json(Finding, finding) == finding
    back = through_json(Finding, Finding("dx", "wrong", (1,), difference=NAN, bound=-0.0))
    assert np.isnan(back.difference)
    assert str(back.bound) == "-0.0"


def test_shares_are_difference_over_bound():
    shares = [
        Finding("y", "", difference=d, bound=b).share
        for d, b in [(0.0, 0.0), (1.0, 0.0), (3.0, 4.0), (2.0, INF)]
    ]
    assert shares == [0.0, INF, 0.75, 0.0]


def test_an_undecided_finding_names_an_entry_without_a_bound():
    got, expected = np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 4.0])
    finding = compare("y", got, expected, np.array([1.0, 1.0, INF]))
    assert (finding.verdict, finding.at, finding.bound) == ("undecided", (2,), INF)
    finding = compare("y", np.add(got, [0, 0.5, 0]), expected, np.array([1.0, 1.0, INF]))
    assert (finding.verdict, finding.at, finding.bound) == ("undecided", (2,), INF)


def test_an_undecided_finding_says_nothing_of_nan():
    finding = compare("y", np.array([INF, 1.0]), np.array([-INF, 1.0]), np.array([INF, 1.0]))
    assert finding.verdict == "undecided"
    assert "nan" not in str(finding)


def test_a_difference_too_small_for_float64_is_still_a_difference():
    for got, expected in [(2**60, 2**60 + 1), (-(2**62) - 1, -(2**62))]:
        assert compare("y", np.array([got, 5]), np.array([expected, 5])).verdict == "wrong"


def test_integers_are_compared_without_wrapping_round():
    finding = compare("y", np.array([-128], np.int8), np.array([127], np.int8))
    assert (finding.verdict, finding.difference) == ("wrong", 255)


TRUTHS = [  # verdicts, truth, exact
    (("equal", "equal"), True, True),
    (("equal", "within rounding"), True, False),
    (("within rounding", "within rounding"), True, False),
    (("equal", "undecided"), False, False),
    (("wrong", "equal"), False, False),
    (("within rounding", "wrong"), False, False),
]


@pytest.mark.parametrize(
    ("verdicts", "true", "exact"), TRUTHS, ids=[" and ".join(v) for v, *_ in TRUTHS]
)
def test_a_report_is_true_if_all_its_findings_are_and_exact_if_all_are_equal(verdicts, true, exact):
    findings = tuple(map(Finding, ("y", "dx"), verdicts))
    report = Report(CONV, findings, "mine", "direct convolution", {"x": np.ones(1)})
    assert (bool(report), report.exact) == (true, exact)
    if true:
        assert report.require() is report
    else:
        with pytest.raises(AssertionError) as error:
            report.require()
        assert str(error.value) == str(report)
        assert all(str(finding) in str(report) for finding in findings)


def test_findings_are_found_by_name_and_a_wrong_name_is_refused():
    report = check(CONV, *reals(CONV))
    assert [report[name].name for name in ("y", "dx", "dw", "db")] == ["y", "dx", "dw", "db"]
    with pytest.raises(KeyError) as error:
        report["dv"]
    assert error.value.args == ("name: got 'dv'; needs one of y, dx, dw, db",)


def test_a_report_says():
    x = np.array([[1, -2, 3]])
    w = np.array([[[2, 5]]])
    dy = np.array([[4, -1]])
    layer = Conv((1, 3), 1, kernel=2)
    report = check(layer, x, w, None, dy, implementation=mine(layer, dw=-1))
    assert str(report).splitlines() == [
        "does not hold: dw wrong at (0, 0, 0)",
        "Conv((1, 3), out_channels=1, kernel=2): implementation against direct convolution",
        "  y   equal",
        "  dx  equal",
        "  dw  wrong, worst at (0, 0, 0): got -6, expected 6 ± 0",
        "this data, in int64: equality",
    ]


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [("int32", "equality")]
    + [(d, "at most gamma_N (|W| |x| + |b|)") for d in ("float32", "complex128")],
)
def test_a_report_names_its_dtype_and_rule(dtype, rule):
    assert check(CONV, *(a.astype(dtype) for a in reals(CONV))).how.startswith(
        f"this data, in {dtype}: {rule}"
    )


def test_a_certificate_says_how_sure_it_is():
    proof = certify(Conv((1, 3), 1, kernel=2), dtype="float32")
    assert str(proof).splitlines() == [
        "holds: y, dx, dw, db equal; every pair of basis vectors tried: a proof if bilinear",
        "Conv((1, 3), out_channels=1, kernel=2): tied dense layer against direct convolution",
        *("  y   equal", "  dx  equal", "  dw  equal", "  db  equal"),
        "compared: every pair of basis vectors, and random integers of both signs, 48 calls in "
        f"float32, batch 2; seed {proof.seed}",
        f"a relative error below 2^{int(np.ceil(np.log2(proof.resolution)))} in one product can "
        "pass",
        "assumed: up to rounding y is bilinear in x and w plus linear in b, dx bilinear in w and "
        "dy, dw in x and dy, db linear in dy; then it is a proof for all real inputs of this shape",
    ]
    drawn = certify(LAYERS[1], method="random", seed=7, batch=3)
    assert drawn.sentence == (
        "holds: y, dx, dw, db equal; a wrong one passes with probability below "
        f"2^{int(np.floor(np.log2(drawn.error))) + 1}"
    )
    assert drawn.how == (
        f"compared: {drawn.trials} random trials on integers in float64, batch 3; seed 7\n"
        f"a relative error below 2^{int(np.ceil(np.log2(drawn.resolution)))} in one product can "
        "pass\nassumed: up to rounding the outputs are polynomials of degree at most 2 in the "
        "operands, and the seed is random"
    )


def judgements():
    for layer in LAYERS:
        yield Report, check(layer, *reals(layer))
        yield Report, check(layer, *integers(layer))
        yield Report, wrong(layer)
        yield Certificate, certify(layer, method="random")
        yield (
            Certificate,
            certify(layer, mine(layer, y=1.0), method="random", seed=3, dtype="float32"),
        )
    yield Report, check(CONV, *reals(CONV, "complex64"))
    yield Report, check(CONV, *reals(CONV, "float32", batch=()))
    yield Report, check(CONV, *reals(CONV)[:2])
    yield Report, check(CONV, *reals(CONV), implementation=mine(CONV, dw=NAN))
    yield Report, check(CONV, *reals(CONV), implementation=mine(CONV, y=INF))
    yield Certificate, certify(CONV)


JUDGEMENTS = list(judgements())
on_judgements = pytest.mark.parametrize(
    ("kind", "judgement"),
    JUDGEMENTS,
    ids=[f"{j.layer!r} {', '.join(f.verdict for f in j.findings)}" for _, j in JUDGEMENTS],
)


@on_judgements
def test_plain_data_reads_back_as_an_equal_object(kind, judgement):
    back = through_json(kind, judgement)
    assert back == judgement
    assert (str(back), bool(back), back.exact, hash(back)) == (
        str(judgement),
        bool(judgement),
        judgement.exact,
        hash(judgement),
    )
    assert back.to_dict() == judgement.to_dict()


@on_judgements
def test_equality_of_judgements_sees_a_changed_verdict(kind, judgement):
    data = judgement.to_dict()
    verdict = data["findings"][0]["verdict"]
    data["findings"][0]["verdict"] = "wrong" if verdict != "wrong" else "equal"
    assert kind.from_dict(data) != judgement


@pytest.mark.parametrize(
    "judgement", [j for kind, j in JUDGEMENTS if kind is Report], ids=lambda j: repr(j.layer)
)
def test_the_operands_come_back_byte_for_byte(judgement):
    back = through_json(Report, judgement)
    assert list(back.operands) == list(judgement.operands) == ["x", "w", "b", "dy"]
    for name, array in judgement.operands.items():
        got = back.operands[name]
        if array is None:
            assert got is None
        else:
            assert (got.dtype, got.shape, got.tobytes()) == (
                array.dtype,
                array.shape,
                array.tobytes(),
            )


ARRAYS = [
    np.array([[NAN, INF, -INF], [-0.0, 5e-324, 1e308]]),
    np.array([NAN, 1.0], np.float32),
    np.array([2**63 - 1, -(2**63)]),
    np.array([complex(NAN, -0.0), complex(-INF, 1e-310)]),
    np.arange(12, dtype=">i2").reshape(3, 4),
    np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[::2],
    np.array(3.5),
    np.zeros((2, 0, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype} {a.shape}")
def test_any_array_survives_json_byte_for_byte(array):
    back = array_from_dict(json.loads(json.dumps(array_to_dict(array), allow_nan=False)))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@on_layers
def test_a_rerun_gives_the_same(layer):
    report = check(layer, *reals(layer))
    assert report.rerun() == report
    assert through_json(Report, report).rerun() == report
    bad = wrong(layer)
    assert bad.rerun(mine(layer, dw=-1)) == bad
    assert bad.rerun(mine(layer)).exact
    certificate = certify(layer, method="random")
    assert certificate.rerun() == certificate
    assert through_json(Certificate, certificate).rerun() == certificate
    refused = certify(layer, mine(layer, dw=2), method="random")
    assert refused.rerun(mine(layer, dw=2)) == refused


@pytest.mark.parametrize(
    "verb",
    [certify, lambda layer, m: check(layer, *reals(layer), implementation=m)],
    ids=["certify", "check"],
)
def test_a_verdict_on_an_implementation_does_not_become_true_by_rerunning_it_without(verb):
    refused = verb(CONV, mine(CONV, dw=2))
    assert not refused
    try:
        again = refused.rerun()
    except TypeError:  # saying that the implementation is missing
        return
    assert not again


def test_a_rerun_of_one_sample_stays_one_sample():
    report = check(CONV, *reals(CONV, batch=()))
    assert report.operands["x"].shape == CONV.in_shape
    assert report.rerun() == report


def test_what_was_not_given_is_not_judged():
    x, w, b, dy = reals(CONV)
    judged = lambda *given: [f.name for f in check(CONV, *given).findings]  # noqa: E731  (one line)
    assert judged(x, w) == ["y"]
    assert judged(x, w, b) == ["y"]
    assert judged(x, w, None, dy) == ["y", "dx", "dw"]
    assert judged(x, w, b, dy) == ["y", "dx", "dw", "db"]


def test_everything_is_frozen():
    report = check(CONV, *reals(CONV))
    certificate = certify(CONV)
    finding = Finding("y", "equal")
    for thing, field in [
        (report, "findings"),
        (report, "operands"),
        (certificate, "error"),
        (finding, "verdict"),
    ]:
        with pytest.raises(FrozenInstanceError):
            setattr(thing, field, None)


def test_a_report_keeps_the_data_it_judged_when_they_change_afterwards():
    x, w, b, dy = reals(CONV)
    report = check(CONV, x, w, b, dy)
    before = report.to_dict()
    for array in (x, w, b, dy):
        array[...] = 1
    assert report.to_dict() == before
    assert report.rerun() == report


def test_verdicts_about_a_tie_map_are_plain_data_too():
    ties = TieMap.from_index([[0, 1, -1], [-1, 0, 1]], coefficient=[[1, -1, 0], [0, 1, -1]])
    x, w, b, dy = reals(ties)
    pair = (
        lambda x, w, b: TiedDense(ties, w, b).forward(x),
        lambda x, w, dy: TiedDense(ties, w, np.zeros(ties.bias_shape)).backward(x, dy),
    )
    for kind, judgement in [
        (Report, check(ties, x, w, b, dy, implementation=pair)),
        (Certificate, certify(ties, pair)),
    ]:
        assert str(through_json(kind, judgement)) == str(judgement)


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
@pytest.mark.parametrize("name", ["x", "w", "b", "dy"])
def test_data_that_are_not_finite_are_refused_by_name_and_position(name, value):
    operands = dict(zip(("x", "w", "b", "dy"), reals(CONV), strict=True))
    operands[name].flat[-1] = value
    at = tuple(n - 1 for n in operands[name].shape)
    text = f"{name}: got {value} at {at}; needs finite numbers; remove NaN and infinity first"
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the text is compared as a whole)
        check(CONV, **operands)
    assert str(error.value) == text
