"""Implementations by others: no right one is refused, every wrong one is; `python -m tests.zoo` prints the table."""

import pytest

from tests.zoo import certified
from tests.zoo_members import LOOSE, RIGHT, WRONG, differing


@pytest.mark.parametrize("member", [m for m in RIGHT if m.name not in LOOSE], ids=lambda m: m.name)
def test_a_right_implementation_is_certified(member):
    assert all(certified(member, layer) for layer in member.layers)


@pytest.mark.parametrize("member", [m for m in RIGHT if m.name in LOOSE], ids=lambda m: m.name)
def test_what_rounds_is_not_exact(member):
    assert not all(certified(member, layer) for layer in member.layers)


@pytest.mark.parametrize("member", WRONG, ids=lambda m: m.name)
def test_a_wrong_implementation_is_refused(member):
    assert not all(certified(member, layer) for layer in member.layers if differing(member, layer))
