"""convdense.testing: right implementations pass; the mistake of a wrong one is named."""

import sys
import unittest

import numpy as np
import pytest

from convdense import (
    AvgPool,
    Conv,
    ConvTranspose,
    LocallyConnected,
    LpPool,
    MaxPool,
    MinPool,
    certify,
    check,
    convolve,
    convolve_backward,
    diagnose,
    testing,
    tie,
)
from convdense.direct import pool_loops
from convdense.geometry import ChannelScale, Pool
from convdense.testing import (
    assert_backward_matches_dense,
    cases,
    channels_last,
    check_runner,
    conv_checks,
    from_cache,
    only_options,
    parametrize_with_conv_checks,
    without_bias,
)
from convdense.testing.case_table import KINDS
from tests import zoo_right as right
from tests.test_public_api import undocumented
from tests.zoo_members import WRONG

pytestmark = pytest.mark.few_calls

pytest_plugins = ["pytester"]

POOLS = ("sum", "avg", "max", "min")
CONV = Conv((2, 5, 6), 3, (2, 3), stride=(2, 1), padding=((1, 0), (0, 2)))
POOL = MaxPool((2, 5, 6), (3, 2), stride=(2, 1))


class Direct:
    """Right on every layer: the library's own direct forms, as a user's code."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, *w_and_b):
        if isinstance(self.layer, Pool):
            return pool_loops.forward(self.layer, x)
        return convolve(self.layer, x, *w_and_b)

    def backward(self, x, *rest):
        if isinstance(self.layer, Pool):
            return pool_loops.backward(self.layer, x, *rest)
        return convolve_backward(self.layer, x, *rest)


class Reversed(Direct):
    """dw with the kernel reversed on all axes."""

    def backward(self, x, w, dy):
        dx, dw, db = super().backward(x, w, dy)
        return dx, np.flip(dw, tuple(range(2, dw.ndim))), db


def failures(checks, first_only=False):
    """Return {name: message} of the checks that fail."""
    failed = {}
    for check_ in checks:
        try:
            check_()
        except AssertionError as error:
            failed[check_.name] = str(error)
            if first_only:
                break
    return failed


# the table


def test_names_are_unique_readable_and_start_with_their_kind():
    names = [case.name for case in cases(KINDS)]
    assert len(names) == len(set(names))
    assert all(
        name.startswith(f"{case.kind}-") for name, case in zip(names, cases(KINDS), strict=True)
    )
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


def test_the_names_do_not_change():
    """People write these into expected_failed_checks: a name may be added, none may go."""
    assert [case.name for case in cases("local")] == [
        f"local-{name}" for name in ("plain", "strided", "dilated", "grouped", "circular", "1d")
    ]
    some = (
        "conv-plain conv-strided-unevenly conv-padded-asymmetrically conv-depthwise-multiplied "
        "conv-one-sample transposed-output-padded avg-padding-not-counted "
        "max-tiles-leave-rows-over min-ceil sum-global"
    )
    assert set(some.split()) <= {case.name for case in cases(KINDS)}


def options_met(layers, name):
    return {getattr(layer, name) for layer in layers}


def test_the_table_meets_every_option():
    layers = [case.layer for case in cases("conv")]
    assert options_met(layers, "padding_mode") == {
        "zeros",
        "circular",
        "reflect",
        "replicate",
        "symmetric",
    }
    assert {True, False} == options_met(layers, "flip")
    assert {1, 2, 3} == options_met(layers, "groups")
    assert {len(layer.in_spatial) for layer in layers} == {1, 2, 3}
    assert {case.batch for case in cases("conv")} == {1, 2, 3}
    assert any(layer.out_spatial == (1, 1) for layer in layers)
    assert any(
        any(k > n for k, n in zip(la.kernel, la.in_spatial, strict=True)) for la in layers
    )  # but for padding
    assert any(any(s > k for s, k in zip(la.stride, la.kernel, strict=True)) for la in layers)
    assert any(
        (tie(la).counts().inputs == 0).any() for la in layers
    )  # cells that no window reaches
    assert any(
        any(extra)
        for extra in options_met([c.layer for c in cases("transposed")], "output_padding")
    )
    pools = [case.layer for case in cases(POOLS)]
    assert options_met(pools, "ceil_mode") == {True, False}
    assert options_met((case.layer for case in cases("avg")), "count_include_pad") == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_small_and_asymmetric(kind):
    layers = [case.layer for case in cases(kind)]
    assert kind in POOLS or all(tie(layer).n_entries <= 2_000 for layer in layers)
    flat = [la for la in layers if len(la.in_spatial) == 2]
    assert all(la.in_spatial[0] != la.in_spatial[1] for la in flat)
    assert all(la.in_shape[0] > 1 for la in layers) or kind == "conv"
    assert sum(la.in_shape[0] == 1 for la in layers) <= 1  # "one-channel"


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(
        ValueError, match=r"^kind: got 'pool'; needs one of 'conv', 'transposed', 'local', 'sum', "
    ):
        cases(["conv", "pool"])


# right implementations pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thinned(3)
def test_a_right_implementation_passes_every_check(kind):
    checks = list(conv_checks(Direct, kinds=kind))
    assert {check_.case for check_ in checks} == set(cases(kind))
    assert failures(checks) == {}
    assert {c.quantity for c in checks} == {"forward", "dx", "behaviour"} | (
        set() if kind in POOLS else {"dw", "db"}
    )


@pytest.mark.parametrize(
    ("make", "kinds"),
    [(right.Taps, "conv"), (right.UpStamps, "transposed"), (right.StridedMax, "max")],
)
@pytest.mark.thinned(3)
def test_right_implementations_of_others_pass(make, kinds):
    def able(layer):
        if len(layer.in_spatial) != 2 and make is right.StridedMax:
            raise NotImplementedError("two axes alone")
        if isinstance(layer, Pool) and layer.output is not None:
            raise NotImplementedError("adaptive pooling")
        return make(layer)

    skipped = 0
    for check_ in conv_checks(able, kinds=kinds):
        try:
            check_()
        except unittest.SkipTest:
            skipped += 1
    assert skipped == (12 if make is right.StridedMax else 0)


def test_float32_is_judged_in_float32():
    class Narrow(right.Taps):
        def forward(self, x, w, b=None):
            assert x.dtype == np.float32
            return super().forward(x, w, b)

    assert failures(conv_checks(Narrow, dtype="float32")) == {}
    message = failures(conv_checks(right.SinglePrecision), first_only=True)["conv-plain-forward"]
    assert message.splitlines()[-1].endswith(": its sums are rounded as in float32")


# wrong ones do not, and the mistake is named

KINDS_OF = {
    "Conv": "conv",
    "ConvTranspose": "transposed",
    "MaxPool": "max",
    "AvgPool": "avg",
    "SumPool": "sum",
}
NAMED = {  # a member of the zoo -> a part of what is said of it
    "kernel flipped in dx": "the kernel is reversed on all axes",
    "last axis flipped in dx": "the kernel is reversed on axis 1",
    "flip ignored": "the kernel is reversed on all axes",
    "dw axes transposed": "axes 0 and 1 of the kernel are transposed",
    "channel matrix not transposed in dx": "input and output channels of the kernel are swapped",
    "groups interleaved": "the input channels of the groups are interleaved",
    "stride forgotten in dx": "the stride is forgotten",
    "dilation ignored in dw": "the dilation is ignored",
    "begin and end swapped": "the padding at begin and end is swapped",
    "padding mode ignored": "the padding is taken for zeros, not for",
    "dx assigned instead of added": "= where += is needed",
    "dw averaged over the batch": "the mean over the batch is taken for the sum",
    "db averaged": "the mean",
    "dw sign lost": "sign",
    "dx doubled": "it is multiplied by 2",
    "crops swapped": "the padding at begin and end is swapped",
    "up weights output channel first": "input and output channels of the kernel are swapped",
    "max gradient split among ties": "where several cells are largest, they share the gradient",
    "max assigned where windows overlap": "= where += is needed",
    "padding always counted": "cells of the padding are counted in the divisor",
    "sum pool averages": "an average is taken for the sum",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.thinned(3)
def test_a_wrong_implementation_fails_and_its_mistake_is_named(name):
    assert any(NAMED[name] in message for message in failing(name))


RARE = (  # what one or two of the geometries tell from right ones
    "flip ignored",
    "one weight per matrix cell",
    "up groups interleaved",
    "volume slices put back unshifted",
    "divisor override ignored",
    "parts end at floor",
)


@pytest.mark.parametrize("name", RARE)
@pytest.mark.thinned(3)
def test_what_shows_in_few_geometries_is_found(name, monkeypatch):
    monkeypatch.setattr(check_runner, "diagnosis", lambda *_: "")
    assert next(failing(name))


def failing(name):
    """Yield what is said of a member of the zoo, on the layers on which it runs.

    Where it cannot run at all, that would show nothing here.
    """
    (member,) = (m for m in WRONG if m.name == name)
    for check_ in conv_checks(member.make, kinds=KINDS_OF[type(member.layers[0]).__name__]):
        try:
            if {"raised", "wrong shape"}.isdisjoint(
                f.verdict for f in check_.results.certificate.findings
            ):
                check_()
        except AssertionError as error:
            yield str(error)
        except (TypeError, ValueError, IndexError):
            continue


# what a check is


def test_a_failure_shows_name_certificate_and_diagnosis():
    (message,) = failures(c for c in conv_checks(Reversed) if c.name == "conv-strided-dw").values()
    layer = next(case.layer for case in cases() if case.name == "conv-strided")
    first, _, rest = message.partition("\n\n")
    assert first == "conv-strided-dw: dw is not that of the tied dense layer"
    lines = rest.splitlines()
    assert lines[0].startswith("does not hold: dw wrong at ")
    assert lines[1] == f"{layer!r}: Reversed against direct convolution"
    assert [line.split(",")[0].split() for line in lines[2:6]] == [
        ["y", "equal"],
        ["dx", "equal"],
        ["dw", "wrong"],
        ["db", "equal"],
    ]
    assert rest.endswith(f"\n\n{diagnose(layer, Reversed(layer), seed=0)}")
    assert "\n\ndw: the kernel is reversed on all axes\n  first at output (0, 0, 0)" in rest


def test_only_the_wrong_quantity_fails(monkeypatch):
    monkeypatch.setattr(check_runner, "diagnosis", lambda *_: "")
    failed = failures(conv_checks(Reversed))
    assert {name.rpartition("-")[2] for name in failed} == {"dw"}
    assert "conv-kernel-1-dw" not in failed  # there a kernel reversed is the kernel


def test_an_implementation_is_made_and_run_once_for_all_its_checks():
    made, ran = [], []

    class Counted(Direct):
        def __init__(self, layer):
            made.append(layer)
            super().__init__(layer)

        def forward(self, x, w, b):
            ran.append(x.shape)
            return super().forward(x, w, b)

    checks = list(conv_checks(Counted))
    assert made == []  # not before it is asked for
    for check_ in checks[:5]:
        check_()
    assert made == [checks[0].case.layer]
    assert 0 < len(ran) <= 200


def test_an_option_that_is_not_implemented_is_skipped_with_its_reason():
    def make(layer):
        if layer.groups > 1:
            raise NotImplementedError("no groups")
        return Direct(layer)

    (grouped,) = (c for c in conv_checks(make) if c.name == "conv-grouped-dx")
    with pytest.raises(unittest.SkipTest, match=r"^conv-grouped: no groups$"):
        grouped()


def test_a_db_of_none_is_skipped():
    def make(layer):
        return without_bias(
            (
                lambda x, w: convolve(layer, x, w),
                lambda x, w, dy: convolve_backward(layer, x, w, dy)[:2],
            )
        )

    checks = {check_.name: check_ for check_ in conv_checks(make)}
    checks["conv-plain-dw"]()
    with pytest.raises(
        unittest.SkipTest, match=r"^conv-plain-db: db is None, so there is nothing to judge$"
    ):
        checks["conv-plain-db"]()


def test_other_errors_of_make_are_left_as_they_are():
    with pytest.raises(ZeroDivisionError):
        next(conv_checks(lambda layer: 1 / 0))()
    with pytest.raises(
        TypeError, match=r"^make: got None from make\(Conv.*\); needs an implementation; return it$"
    ):
        next(conv_checks(lambda layer: None))()
    with pytest.raises(TypeError, match=r"^implementation: got 3; needs an object with forward"):
        next(conv_checks(lambda layer: 3))()


def test_an_exception_inside_the_implementation_is_a_failure():
    class Broken(Direct):
        def forward(self, x, w, b):
            raise IndexError("too many")

    message = failures(conv_checks(Broken), first_only=True)["conv-plain-forward"]
    assert "y   raised; IndexError: too many" in message


def test_the_checks_run_under_unittest(monkeypatch):
    monkeypatch.setattr(
        check_runner, "diagnosis", lambda *_: ""
    )  # it takes a while, and is not what is tested here

    class Case(unittest.TestCase):
        def test_mine(self):
            for check_ in conv_checks(Reversed, kinds="local"):
                with self.subTest(check_.name):
                    check_()

        def test_none(self):
            def make(layer):
                raise NotImplementedError

            for check_ in conv_checks(make, kinds="local"):
                with self.subTest(check_.name):
                    check_()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert len(result.failures) == len(cases("local"))
    assert len(result.skipped) == 5 * len(cases("local"))
    assert result.errors == []


# pytest

QUIET = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
MODULE = """
import numpy as np
from convdense import convolve, convolve_backward
from convdense.testing import parametrize_with_conv_checks

def make(layer):
    if layer.padding_mode == "circular":
        raise NotImplementedError("circular padding")
    def backward(x, w, dy):
        dx, dw, db = convolve_backward(layer, x, w, dy)
        return dx, dw, db / {divisor}
    return (lambda x, w, b: convolve(layer, x, w, b)), backward

@parametrize_with_conv_checks(make, kinds={kinds!r}, expected_failed_checks={expected!r})
def test_mine(check):
    check()
"""


@pytest.fixture
def run(pytester, monkeypatch):
    def run(divisor, expected=None, *options):
        if "-k" not in options:
            monkeypatch.setattr(check_runner, "diagnosis", lambda *_: "")
        pytester.makepyfile(MODULE.format(divisor=divisor, kinds="local", expected=expected))
        return pytester.runpytest_inprocess(*QUIET, *options)

    return run


def test_pytest_runs_each_check_under_its_name(run):
    result = run(1, None, "-v", "-rs")
    result.assert_outcomes(passed=25, skipped=5)
    result.stdout.fnmatch_lines(
        ["*::test_mine[[]local-plain-forward[]] PASSED*", "*local-circular: circular padding*"]
    )


def test_a_failing_check_fails_the_test_and_shows_the_mistake(run):
    result = run("len(x)", None, "-k", "local-plain")
    result.assert_outcomes(passed=4, failed=1, deselected=25)
    result.stdout.fnmatch_lines(
        ["*local-plain-db: db is not*", "*db: the mean over the batch is taken for the sum*"]
    )
    result.stdout.no_fnmatch_line(
        "*conv_checks.py*raise AssertionError*"
    )  # the line of the test is shown


def test_expected_failures_are_strict(run):
    reason = {
        f"local-{name}-db": "mean, not sum"
        for name in ("plain", "strided", "dilated", "grouped", "1d")
    }
    run("len(x)", reason).assert_outcomes(passed=20, xfailed=5, skipped=5)
    result = run(1, reason, "-rf")
    result.assert_outcomes(passed=20, failed=5, skipped=5)
    result.stdout.fnmatch_lines(["*XPASS(strict)*mean, not sum*"])


def test_a_skipped_check_is_skipped_though_it_is_expected_to_fail(run):
    run(1, {"local-circular-dx": "not yet"}).assert_outcomes(passed=25, skipped=5)


def test_an_expected_failure_is_no_excuse_for_another_error(pytester):
    pytester.makepyfile(
        "from convdense.testing import parametrize_with_conv_checks\n"
        "@parametrize_with_conv_checks(lambda layer: 1 / 0, "
        "expected_failed_checks={'conv-plain-dx': 'r'})\n"
        "def test_mine(check):\n    check()\n"
    )
    pytester.runpytest_inprocess(*QUIET, "-k", "conv-plain-dx").assert_outcomes(
        failed=1, deselected=5 * len(cases()) - 1
    )


def test_without_pytest_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError) as refusal:
        parametrize_with_conv_checks(Direct)
    assert str(refusal.value) == (
        "pytest: got no module of this name; needs pytest 8 or newer; "
        "run pip install '.[test]' in a clone of convdense, or use conv_checks, which needs none"
    )
    assert failures(conv_checks(Direct, kinds="local")) == {}


# assert_backward_matches_dense


def operands(layer, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (3, *layer.in_shape), layer.weight_shape, layer.bias_shape, (3, *layer.out_shape)
    return tuple(rng.normal(size=shape) for shape in shapes)


@pytest.mark.parametrize(
    "layer", [CONV, POOL, AvgPool((2, 5, 6), 2), LocallyConnected((2, 3), 3, 2)], ids=repr
)
def test_a_right_implementation_is_accepted_without_data(layer):
    assert_backward_matches_dense(layer, Direct(layer))
    assert_backward_matches_dense(layer, Direct(layer), dtype="float32", batch=1, seed=3)


def test_without_data_the_certificate_and_the_mistake_are_told():
    with pytest.raises(AssertionError) as failure:
        assert_backward_matches_dense(CONV, Reversed(CONV), seed=5, method="random")
    certificate = certify(CONV, Reversed(CONV), seed=5, method="random")
    assert str(failure.value) == f"{certificate}\n\n{diagnose(CONV, Reversed(CONV), seed=0)}"
    assert "dw: the kernel is reversed on all axes" in str(failure.value)


def test_data_is_judged_by_its_bound():
    x, w, b, dy = operands(CONV)
    for given in ((x, w, b, dy), (x, w, None, dy), (x, w), (x.astype(np.float32), w, b, dy)):
        assert_backward_matches_dense(CONV, Direct(CONV), *given)
    with pytest.raises(AssertionError) as failure:
        assert_backward_matches_dense(CONV, Reversed(CONV), x, w, b, dy)
    report = check(CONV, x, w, b, dy, implementation=Reversed(CONV))
    assert str(failure.value) == f"{report}\n\n{diagnose(CONV, Reversed(CONV), seed=0)}"


def test_an_error_in_this_data_alone_is_said_to_be_one():
    data = operands(CONV)

    class Haunted(Direct):
        def forward(self, x, w, b):
            return super().forward(x, w, b) + np.array_equal(x, data[0])

    assert_backward_matches_dense(CONV, Haunted(CONV))
    with pytest.raises(
        AssertionError,
        match=r"\n\nnothing is wrong on small integers: it rounds more than its arrays",
    ):
        assert_backward_matches_dense(CONV, Haunted(CONV), *data)


def test_a_batch_of_one_that_raises_is_a_restriction():
    class Deviation(Direct):
        def forward(self, x, w, b):
            if len(x) == 1:
                raise ZeroDivisionError("one sample")
            return super().forward(x, w, b)

    failed = [check_.name for check_ in list(conv_checks(Deviation))[:5] if _fails(check_)]
    assert failed == []  # a restriction, which the certificate names
    certificate = certify(CONV, Deviation(CONV), method="random")
    assert "refused: batch 1 (y: ZeroDivisionError: one sample)" in str(certificate.require())


def _fails(check_):
    try:
        check_()
    except AssertionError:
        return True
    return False


def test_a_layer_without_diagnosis_is_judged_all_the_same(monkeypatch):
    scale = ChannelScale((2, 3))
    wrong = (lambda x, w, b: 2 * x), lambda x, w, dy: (x, w, None)
    with pytest.raises(AssertionError, match=r"\n\nnot diagnosed: layer: got ChannelScale"):
        assert_backward_matches_dense(scale, wrong)
    monkeypatch.setattr("convdense.testing.assertions.diagnose", lambda *_, **__: 1 / 0)
    with pytest.raises(
        AssertionError, match=r"dw  wrong(.|\n)*\n\nnot diagnosed: division by zero$"
    ):
        assert_backward_matches_dense(CONV, Reversed(CONV))


# wrappers


class Last:
    """Channels last, around the library's own forms."""

    def __init__(self, layer, hwio=False):
        self.inner, self.hwio = Direct(layer), hwio

    def forward(self, x, *weights):
        return np.moveaxis(self.inner.forward(np.moveaxis(x, -1, 1), *self.kernel(weights)), 1, -1)

    def backward(self, x, *rest):
        *w, dy = rest
        found = self.inner.backward(np.moveaxis(x, -1, 1), *self.kernel(w), np.moveaxis(dy, -1, 1))
        if not w:
            return np.moveaxis(found, 1, -1)
        dx, dw, db = found
        return np.moveaxis(dx, 1, -1), np.moveaxis(dw, (1, 0), (-2, -1)) if self.hwio else dw, db

    def kernel(self, weights):
        return (
            [np.moveaxis(weights[0], (-2, -1), (1, 0)), *weights[1:]]
            if self.hwio and weights
            else weights
        )


@pytest.mark.parametrize(
    ("kinds", "weights"),
    [("conv", "HWIO"), ("transposed", "OIHW"), ("transposed", "HWIO"), ("max", "OIHW")],
)
@pytest.mark.thinned(3)
def test_channels_last_on_any_number_of_axes(kinds, weights):
    assert (
        failures(
            conv_checks(
                lambda la: channels_last(Last(la, weights == "HWIO"), weights=weights), kinds=kinds
            )
        )
        == {}
    )


def test_channels_last_of_the_wrong_order_is_refused():
    assert not certify(CONV, Last(CONV))
    assert not certify(CONV, channels_last(Direct(CONV)))
    assert not certify(CONV, channels_last(Last(CONV), weights="HWIO"))


def test_what_is_handed_over_channels_last_is_contiguous_and_named_as_before():
    seen = []

    class Watched(Last):
        def backward(self, *arrays):
            seen.extend(a.flags.c_contiguous for a in arrays)
            return super().backward(*arrays)

    certificate = certify(CONV, channels_last(Watched(CONV, True), weights="HWIO"), method="random")
    assert certificate.evaluator == "Watched"
    assert seen
    assert all(seen)


@pytest.mark.parametrize(("which", "quantities"), [(0, "y dw"), (1, "y dx"), (2, "dx dw db")])
def test_what_is_written_in_place_is_seen_through_channels_last(which, quantities):
    class Writing(Last):
        def forward(self, x, w, b):
            y = super().forward(x, w, b)
            (x, w, b)[which][...] *= 2
            return y

        def backward(self, x, w, dy):
            found = super().backward(x, w, dy)
            (x, w, dy)[which][...] *= 2
            return found

    certificate = certify(CONV, channels_last(Writing(CONV, True), weights="HWIO"), method="random")
    changed = {f.name for f in certificate.findings if f.verdict == "changed its input"}
    assert set(quantities.split()) - {"y"} <= changed


def test_results_that_are_no_pictures_are_told_as_such():
    nothing = channels_last((lambda x, w, b: None, lambda x, w, dy: (None, w, 3.0)))
    said = {f.name: str(f) for f in certify(CONV, nothing, method="random").findings}
    assert said["y"] == "y   wrong shape; None where an array is needed"
    assert said["dx"] == "dx  wrong shape; None where an array is needed"
    assert said["db"] == "db  wrong shape; () where (3,) is needed"
    short = channels_last((lambda x, w, b: x[0, 0], lambda x, w, dy: (x, w)))
    with pytest.raises(TypeError, match=r"^backward: got tuple; needs three results"):
        certify(CONV, short)


def cached(layer):
    def forward(x, w, b):
        assert b.shape == layer.bias_shape
        return convolve(layer, x, w, b), (x, w, b)

    def backward(dy, cache):
        x, w, _ = cache
        return convolve_backward(layer, x, w, dy)

    return forward, backward


def test_a_cache_is_handed_on():
    for kinds in ("conv", "transposed", "local"):
        assert (
            failures(conv_checks(lambda layer: from_cache(layer, *cached(layer)), kinds=kinds))
            == {}
        )
    assert certify(CONV, from_cache(CONV, *cached(CONV))).evaluator == "forward"


def test_a_pool_with_a_cache():
    def make(layer):
        def forward(x):
            return pool_loops.forward(layer, x), x

        return from_cache(layer, forward, lambda dy, x: pool_loops.backward(layer, x, dy))

    assert failures(conv_checks(make, kinds="avg")) == {}


def test_a_cache_and_no_bias_channels_last():
    def make(layer):
        inner = Last(layer)

        def forward(x, w):
            return inner.forward(x, w, None), (x, w)

        def backward(dy, cache):
            return inner.backward(*cache, dy)[:2]

        return without_bias(
            channels_last((lambda x, w: forward(x, w)[0], lambda x, w, dy: backward(dy, (x, w))))
        )

    checks = [check_ for check_ in conv_checks(make) if check_.quantity != "db"]
    assert failures(checks) == {}

    def forward(x, w):
        return convolve(CONV, x, w), (x, w)

    mine = from_cache(
        CONV, forward, lambda dy, cache: convolve_backward(CONV, *cache, dy)[:2], bias=False
    )
    certificate = certify(CONV, mine)
    assert certificate.exact
    assert [f.name for f in certificate.findings] == ["y", "dx", "dw"]
    assert certificate.evaluator == "forward"


def test_a_wrong_number_of_results_is_told():
    mine = from_cache(CONV, lambda x, w, b: convolve(CONV, x, w, b), lambda dy, cache: None)
    said = str(certify(CONV, mine)["y"])
    assert said == "y   raised; TypeError: forward: got ndarray; needs two results: y and the cache"
    mine = without_bias(Direct(CONV))
    mine = without_bias((lambda x, w: convolve(CONV, x, w), Direct(CONV).backward))
    said = str(certify(CONV, mine)["dx"])
    assert said == "dx  raised; TypeError: backward: got 3 results; needs two results: dx and dw"


# only_options


@pytest.mark.parametrize(
    ("layer", "names", "values"),
    [
        (Conv((2, 8, 9), 3, (3, 2), stride=2, padding=1), ("stride", "padding"), (2, 1)),
        (Conv((2, 8, 9), 3, 3, dilation=2), ("dilation", "kernel"), (2, 3)),
        (Conv((4, 8), 6, 3, groups=2, flip=True), ("flip", "groups"), (True, 2)),
        (ConvTranspose((2, 4, 5), 3, 3, stride=2, output_padding=1), ("stride", "output_padding"),
         (2, 1)),
        (MaxPool((2, 4, 6), 2), (), ()),
        (MaxPool((2, 4, 6), (2, 3)), (), ()),
        (MaxPool((2, 4, 6), 2, stride=1), ("kernel", "stride"), (2, 1)),
        (AvgPool((2, 4, 6), 2, count_include_pad=False), ("count_include_pad",), (False,)),
        (MaxPool((2, 4, 6), output=2), ("output",), (2,)),
    ],
)  # fmt: skip
def test_options_that_there_are_come_as_one_number(layer, names, values):
    assert only_options(layer, *names) == values


@pytest.mark.parametrize(
    ("layer", "names", "message"),
    [
        (Conv((2, 8, 9), 3, 2, stride=(1, 2)), ("stride",),
         "stride: got (1, 2); needs one number for all axes"),
        (Conv((2, 8, 9), 3, 2, stride=2), (), "stride: got 2; needs 1, for want of this option"),
        (Conv((2, 8, 9), 3, 2, padding=((1, 0), (1, 0))), ("padding",),
         "padding: got ((1, 0), (1, 0)); needs one"),
        (Conv((2, 8, 9), 3, 2, padding=1, padding_mode="reflect"), ("padding",),
         "padding_mode: got reflect; needs 'z"),
        (Conv((2, 8, 9), 3, (2, 3)), ("kernel",), "kernel: got (2, 3); needs one number"),
        (MaxPool((2, 4, 6), 2, stride=1), (), "stride: got 1; needs 2, for want of this option"),
        (MaxPool((2, 4, 6), 2, ceil_mode=True), (), "ceil_mode: got True; needs False, for want"),
        (MaxPool((2, 4, 6), output=1), (), "output: got 1; needs None, for want"),
        (LpPool((2, 4, 6), 2, p=3), ("dilation", "kernel", "p"), ""),
    ],
)  # fmt: skip
def test_other_options_are_not_implemented(layer, names, message):
    if not message:
        assert only_options(layer, *names[:2]) == (1, 2)
        return
    with pytest.raises(NotImplementedError) as refusal:
        only_options(layer, *names)
    assert str(refusal.value).startswith(message)


def test_another_number_of_axes_is_not_implemented():
    assert only_options(Conv((2, 8, 9), 3, 2), axes=2) == ()
    with pytest.raises(NotImplementedError, match=r"^axes: got 1; needs 2$"):
        only_options(Conv((2, 8), 3, 2), axes=2)


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_is_documented_with_an_example(name):
    assert undocumented(getattr(testing, name).__doc__) == ""


def test_min_pools_are_in_the_table():
    assert all(isinstance(case.layer, MinPool) for case in cases("min"))


@pytest.mark.parametrize("shift", [0, 1])
def test_without_bias_a_bias_for_every_output_is_added_where_it_belongs(shift):
    layer = LocallyConnected((2, 4, 5), out_channels=3, kernel=(2, 3))

    def forward(x, w):
        return np.roll(convolve(layer, x, w), shift, axis=-1)

    def backward(x, w, dy):
        return convolve_backward(layer, x, w, np.roll(dy, -shift, axis=-1))[:2]

    assert bool(certify(layer, without_bias((forward, backward)))) == (shift == 0)
