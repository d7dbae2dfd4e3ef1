"""Implementations by others: no right one is refused, every wrong one is.

`python tests/zoo.py` prints the table.
"""

import pytest

from convdense import certify
from convdense.verdicts import findings
from tests.zoo import is_refused, method
from tests.zoo_members import LOOSE, RIGHT, WRONG, differing

pytestmark = pytest.mark.few_calls


@pytest.mark.parametrize("member", [m for m in RIGHT if m.name in LOOSE], ids=lambda m: m.name)
def test_what_rounds_is_not_refused(member):
    assert not any(is_refused(member, layer) for layer in member.layers)


@pytest.mark.parametrize("member", [m for m in RIGHT if m.name not in LOOSE], ids=lambda m: m.name)
@pytest.mark.thinned(2)
def test_a_right_implementation_is_certified(member):
    for layer in member.layers:
        assert certify(layer, member.make(layer), method=method(layer)).require().exact


def test_a_fast_transform_is_right_normwise_at_least():
    member = next(m for m in RIGHT if m.name == "fourier convolve")
    found = {
        f.verdict
        for layer in member.layers
        for f in certify(layer, member.make(layer), method="random").findings
    }
    assert found <= set(findings.GRADES) - {findings.UNDECIDED}
    assert found != {findings.EQUAL}


def test_sums_in_single_precision_are_right_in_structure_and_wrong_in_precision():
    member = next(m for m in RIGHT if m.name == "single precision")
    for layer in member.layers:
        certificate = certify(layer, member.make(layer), method="random", seed=1)
        assert not certificate
        assert certificate.exact
        assert {p.verdict for p in certificate.precision} == {findings.WRONG}
        assert all(21 < p.bits < 27 for p in certificate.precision)
        assert "as in float32" in str(certificate)


@pytest.mark.parametrize("member", WRONG, ids=lambda m: m.name)
@pytest.mark.thinned(3)
def test_a_wrong_implementation_is_refused(member):
    assert all(is_refused(member, layer) for layer in member.layers if differing(member, layer))
