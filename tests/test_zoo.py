"""Implementations by others: no right one is refused, every wrong one is; `python tests/zoo.py` prints the table."""

import pytest

from convdense import certify
from convdense.checks import report
from tests.zoo import is_refused
from tests.zoo_members import LOOSE, RIGHT, WRONG, differing


@pytest.mark.parametrize("member", RIGHT, ids=lambda m: m.name)
def test_a_right_implementation_is_not_refused(member):
    assert not any(is_refused(member, layer) for layer in member.layers)


@pytest.mark.parametrize("member", [m for m in RIGHT if m.name not in LOOSE], ids=lambda m: m.name)
def test_a_right_implementation_is_certified(member):
    assert all(certify(layer, member.make(layer)).require().exact for layer in member.layers)


def test_a_fast_transform_is_right_normwise_at_least():
    member = next(m for m in RIGHT if m.name == "fourier convolve")
    found = {f.verdict for layer in member.layers for f in certify(layer, member.make(layer), method="random").findings}
    assert found <= set(report.GRADES) - {report.UNDECIDED}
    assert found != {report.EQUAL}


def test_sums_in_single_precision_are_right_in_structure_and_wrong_in_precision():
    member = next(m for m in RIGHT if m.name == "single precision")
    for layer in member.layers:
        certificate = certify(layer, member.make(layer), method="random")
        assert not certificate
        assert certificate.exact
        assert {p.verdict for p in certificate.precision} == {report.WRONG}
        assert all(21 < p.bits < 26 for p in certificate.precision)
        assert "as in float32" in str(certificate)


@pytest.mark.parametrize("member", WRONG, ids=lambda m: m.name)
def test_a_wrong_implementation_is_refused(member):
    assert all(is_refused(member, layer) for layer in member.layers if differing(member, layer))
