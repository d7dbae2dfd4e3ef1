"""Forward alone: a function, or an object without a backward; y is judged, and nothing else."""

import json
from functools import partial
from unittest import SkipTest

import numpy as np
import pytest

import convdense as cd
from convdense.certificates import Certificate, NetworkCertificate
from convdense.cli._main import main
from convdense.direct import pool_loops
from convdense.testing import (
    assert_backward_matches_dense,
    channels_last,
    conv_checks,
    from_cache,
    without_bias,
)

pytestmark = pytest.mark.few_calls

CONV = cd.Conv((2, 3, 4), out_channels=3, kernel=(2, 3), padding=1)
SMALL = cd.Conv((1, 3, 3), out_channels=1, kernel=2)
POOL = cd.MaxPool((1, 4, 4), kernel=2)
GRADIENTS = ("dx", "dw", "db", "dy")


def right(x, w, b):
    return cd.convolve(CONV, x, w, b)


def wrong(x, w, b):
    return cd.convolve(CONV, x, w[..., ::-1], b)


class Object:
    def forward(self, x, w, b):
        return right(x, w, b)


class Called:
    def __call__(self, x, w, b):
        return right(x, w, b)


class NoneForBackward(Object):
    backward = None


def says_y_alone(text):
    return "forward alone" in text and not any(name in text for name in GRADIENTS)


FORMS = [
    right,
    Object(),
    Called(),
    NoneForBackward(),
    partial(cd.convolve, CONV),
    lambda x, w, b: 1 * right(x, w, b),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_every_form_is_certified_and_y_alone_is_spoken_of(form):
    method = "auto" if form is right else "random"
    certificate = cd.certify(CONV, form, method=method, seed=0)
    assert certificate
    assert certificate.forward_alone
    assert [finding.name for finding in certificate.findings] == ["y"]
    assert [measured.name for measured in certificate.precision] == ["y"]
    assert "zero dy" not in [finding.name for finding in certificate.behaviour]
    text = str(certificate).replace("zero strides along the first axis of x, dy", "")
    assert says_y_alone(text)
    assert "forward alone was given: no gradient was judged" in str(certificate)
    assert "holds: y equal; " in repr(certificate)


def test_a_wrong_forward_is_refused_and_named():
    for method in ("auto", "random"):
        certificate = cd.certify(CONV, wrong, method=method, seed=0)
        assert not certificate
        assert certificate.refuted
        assert certificate["y"].verdict == "wrong"
        assert "does not hold: y wrong at " in repr(certificate)
        assert "forward alone was given: no gradient was judged" in str(certificate)
    found = cd.diagnose(CONV, wrong, seed=0)
    assert not found
    assert found.forward_alone
    assert str(found).splitlines()[0] == "y: the kernel is reversed on axis 1"
    assert str(found).endswith("\nforward alone was given")
    assert repr(found).endswith("y: the kernel is reversed on axis 1; forward alone was given)")


def test_what_is_right_is_diagnosed_as_y_alone():
    found = cd.diagnose(CONV, right, seed=0)
    assert found
    assert str(found) == f"{CONV!r}: nothing is wrong\nforward alone was given"
    both = cd.diagnose(CONV, (right, partial(cd.convolve_backward, CONV)), seed=0)
    assert str(both) == f"{CONV!r}: nothing is wrong"


def test_the_calls_for_dw_are_left_out():
    calls = []

    def counted(x, w, b):
        calls.append(len(x))
        return cd.convolve(SMALL, x, w, b)

    alone = cd.certify(SMALL, counted, method="exhaustive")
    pair = cd.certify(SMALL, (counted, partial(cd.convolve_backward, SMALL)), method="exhaustive")
    assert alone.trials == 4 + 1 + 1 + 20
    assert pair.trials == alone.trials + (2 * 4) * (2 * 9)


@pytest.mark.parametrize("layer", [CONV, POOL], ids=["conv", "pool"])
def test_json_and_rerun(layer):
    mine = right if layer is CONV else partial(pool_loops.forward, POOL)
    certificate = cd.certify(layer, mine, seed=3)
    kind = Certificate if layer is CONV else NetworkCertificate
    read = kind.from_dict(json.loads(json.dumps(certificate.to_dict())))
    assert read == certificate
    assert read.forward_alone
    assert read.rerun(mine) == certificate
    with pytest.raises(TypeError, match=r"implementation: got None; needs .*forward alone"):
        read.rerun()


def test_check_judges_y_with_and_without_dy():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, *CONV.in_shape)), rng.normal(size=CONV.weight_shape), np.ones(3)
    dy = np.ones((2, *CONV.out_shape))
    for upstream in (None, dy):
        report = cd.check(CONV, x, w, b, upstream, implementation=right)
        assert report
        assert report.forward_alone
        assert [finding.name for finding in report.findings] == ["y"]
        assert says_y_alone(str(report))
        assert cd.Report.from_dict(report.to_dict()).rerun(right) == report
        assert not cd.check(CONV, x, w, b, upstream, implementation=wrong)


def test_pools():
    mine = partial(pool_loops.forward, POOL)
    certificate = cd.certify(POOL, mine, seed=0)
    assert certificate
    assert [finding.name for finding in certificate.findings] == ["y"]
    assert says_y_alone(str(certificate))
    assert cd.diagnose(POOL, mine, seed=0)
    x = np.ones((1, 1, 4, 4))
    assert cd.check(POOL, x, dy=np.ones((1, 1, 2, 2)), implementation=mine)
    first = lambda x: x[:, :, ::2, ::2]  # noqa: E731
    assert not cd.certify(POOL, first, seed=0)
    assert not cd.diagnose(POOL, first, seed=0)


def test_wrappers():
    last = channels_last(lambda x, w, b: np.moveaxis(right(np.moveaxis(x, -1, 1), w, b), 1, -1))
    cached = from_cache(CONV, lambda x, w, b: (right(x, w, b), None))
    no_bias = without_bias(lambda x, w: cd.convolve(CONV, x, w))
    both = from_cache(CONV, lambda x, w: (cd.convolve(CONV, x, w), 0), bias=False)
    for wrapper in (last, cached, no_bias, both):
        assert wrapper.backward is None
        certificate = cd.certify(CONV, wrapper, method="random", seed=0)
        assert certificate
        assert certificate.forward_alone
        assert certificate.evaluator.count("forward alone") == 1
        assert cd.diagnose(CONV, wrapper, seed=0).forward_alone
    assert not cd.certify(CONV, without_bias(lambda x, w: wrong(x, w, None)), method="random")


def test_the_table_of_geometries():
    def make(layer):
        return partial(cd.convolve, layer)

    checks = [check for check in conv_checks(make) if check.case.name == "conv-strided"]
    skipped = []
    for check in checks:
        try:
            check()
        except SkipTest as reason:
            skipped.append(str(reason))
    assert {check.quantity for check in checks} == {"forward", "dx", "dw", "db", "behaviour"}
    assert skipped == [
        f"conv-strided-{name}: forward alone was given, so there is nothing to judge"
        for name in ("dx", "dw", "db")
    ]
    assert_backward_matches_dense(CONV, right)
    with pytest.raises(AssertionError, match="forward alone was given"):
        assert_backward_matches_dense(CONV, wrong)


def test_a_backward_that_raises_is_a_backward():
    class Lazy(Object):
        def backward(self, x, w, dy):
            raise NotImplementedError("later")

    certificate = cd.certify(CONV, Lazy(), seed=0)
    assert not certificate.forward_alone
    assert certificate["dx"].verdict == "raised"
    assert certificate["dx"].note == "NotImplementedError: later"


REFUSED = [Object, (right, None), [right], (right,), 3, "right", {"forward": right}]


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: type(given).__name__)
def test_what_is_no_forward_is_refused_as_before(given):
    with pytest.raises(TypeError, match=r"^implementation: got .*; needs an object with forward"):
        cd.certify(CONV, given)


def test_modules_and_functions_of_torch_keep_their_hints():
    torch = pytest.importorskip("torch")
    module = torch.nn.Conv2d(2, 3, (2, 3))
    for given in (module, torch.nn.functional.conv2d):
        with pytest.raises(TypeError, match=r"write .*implementation\("):
            cd.certify(CONV, given)


MODULE = """
from functools import partial
import numpy as np
from convdense import MaxPool, Conv, convolve
from convdense.direct import pool_loops

CONV = Conv((2, 3, 4), out_channels=3, kernel=(2, 3), padding=1)
POOL = MaxPool((1, 4, 4), kernel=2)


def right(x, w, b):
    return convolve(CONV, x, w, b)


def wrong(x, w, b):
    return convolve(CONV, x, w[..., ::-1], b)


def breaks(x, w, b):
    raise KeyError("x")


def make(layer):
    return partial(convolve, layer)


def pool(x):
    return pool_loops.forward(POOL, x)


def zeros(x):
    return 0 * x[:, :, ::2, ::2]


class Object:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, w, b):
        return convolve(self.layer, x, w, b)


ready = Object(CONV)
"""
LAYER = "certify --input 2x3x4 --kernel 2x3 --out-channels 3 --padding 1"
OF_POOL = "certify --pool max --input 1x4x4 --kernel 2"
LINES = [
    (LAYER, "right", 0),
    (LAYER, "wrong", 1),
    (LAYER, "breaks", 1),
    (LAYER, "make", 0),
    (LAYER, "Object", 0),
    (LAYER, "ready", 0),
    (OF_POOL, "pool", 0),
    (OF_POOL, "zeros", 1),
]


@pytest.mark.parametrize(("line", "name", "status"), LINES, ids=[name for _, name, _ in LINES])
def test_the_command_line(line, name, status, capsys, monkeypatch, tmp_path):
    (tmp_path / "forwards_alone.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([*line.split(), "--implementation", f"forwards_alone:{name}"]) == status
    out, _ = capsys.readouterr()
    assert "(forward alone) against direct" in out
    assert ("raised; KeyError: 'x'" in out) == (name == "breaks")
    monkeypatch.delitem(__import__("sys").modules, "forwards_alone")
