"""Every adversary is wrong and refused, every right implementation accepted.

What no finite test can see is named in the certificate.
"""

import copy
import re
from contextlib import nullcontext

import numpy as np
import pytest

import convdense as cd
from tests.adversaries import ADVERSARIES, KIND, NORMWISE, RIGHT, UNSEEN
from tests.adversary_rows import Call, called, drawn, expected, fault, faults, restored
from tests.few_calls import RefusedError, as_on_large_layers, until_wrong

SEED = 20


def rows(table):
    return pytest.mark.parametrize("row", table, ids=lambda row: row.name)


def judged(layer, row):
    """Return a certificate; of a pool with powers and roots, the check of the row's own data."""
    implementation = row.make(layer)
    if getattr(layer, "takes_roots", False):
        call = next(row.shows(layer))
        return cd.check(layer, call.x, dy=call.dy, implementation=implementation)
    return cd.certify(layer, implementation, dtype=row.dtype, seed=SEED)


def certified(row, few=False):
    """Return whether an implementation is accepted, whether it is refuted, and the text."""
    layer = copy.deepcopy(row.layer)
    with restored(), as_on_large_layers() if few else nullcontext():
        try:
            certificate = judged(layer, row)
        except (SystemExit, GeneratorExit, KeyboardInterrupt) as raised:
            certificate = None
            said = f"{type(raised).__name__} came out of certify"
        except RefusedError:
            raise
        except Exception as raised:
            if row.kind != "cheat":
                raise
            # it broke Python itself: then certify may end, but not in a certificate
            return False, True, repr(raised)
    if certificate is None:
        pytest.fail(said)
    return bool(certificate), certificate.refuted, str(certificate)


def test_the_table():
    names = [row.name for row in (*ADVERSARIES, *UNSEEN, *RIGHT, *NORMWISE)]
    assert len(set(names)) == len(names)
    assert len(ADVERSARIES) >= 150
    assert len(RIGHT) >= 60
    assert {row.kind for row in UNSEEN} == set(KIND)


def assert_it_is_wrong(row):
    with restored():
        found = faults(row)
    assert found
    if row.kind != "raises":  # wrong for what its sentence says, and not by an accident
        assert not [said for said in found if re.search("Error|Warning", said)]


@rows(ADVERSARIES)
@pytest.mark.thinned(4)
def test_it_is_wrong_and_refused(row):
    assert_it_is_wrong(row)
    try:
        with until_wrong():
            accepted, _, text = certified(row, few=True)
            if accepted:  # what few calls refute, all do
                accepted, _, text = certified(row)
    except RefusedError:
        return
    assert not accepted, f"{row.sentence}, on {row.layer}, is certified:\n{text}"


@rows(UNSEEN)
@pytest.mark.thinned(3)
def test_it_is_wrong_and_a_certificate_names_what_cannot_be_seen(row):
    assert_it_is_wrong(row)
    _, _, text = certified(row, few=True)
    assert re.search(KIND[row.kind], text), f"no sentence about {row.kind}:\n{text}"


@rows([*RIGHT, *NORMWISE])
def test_it_is_right(row):
    """By the bounds of this module, on reals and on whole numbers, at batches 1 to 5."""
    layer = row.layer
    implementation = row.make(copy.deepcopy(layer))
    coarse = 2.0**29 if row.dtype == "float32" else 1
    coarse *= 2.0**10 if row in NORMWISE else 1
    for batch in (1, 2, 3, 5, 2):
        rng = np.random.default_rng(batch)
        for scale in (1, 64):
            operands = [np.asarray(a * scale, row.dtype) for a in drawn(layer, batch, rng)]
            call = Call(*(np.rint(a) if scale > 1 else a for a in operands))
            results = called(layer, implementation, call)
            for name, (right, bound) in expected(layer, call).items():
                spread = abs(right).max() * 2.0**-50 if row in NORMWISE else 0
                said = fault(results[name], right, bound * coarse + spread)
                assert said is None, f"{name} {said}"


@pytest.mark.few_calls
@rows(RIGHT)
@pytest.mark.thinned(3)
def test_it_is_accepted(row):
    accepted, _, text = certified(row, few=row.kind in ("matrix", "geometry", "gradients"))
    assert accepted, f"{row.sentence}, on {row.layer}, is blamed:\n{text}"


@rows(NORMWISE)
def test_it_is_not_refuted(row):
    _, refuted, text = certified(row)
    assert not refuted, f"{row.sentence}, on {row.layer}, is refuted:\n{text}"
