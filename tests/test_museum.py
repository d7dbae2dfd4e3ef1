"""The museum: public bugs are refused, their fixes are not, and the page says what was run.

`python -m tests.museum` judges all of them, and writes the page.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.few_calls import RefusedError, until_wrong
from tests.museum import judges
from tests.museum.exhibit import words
from tests.museum.judges import NOT_NAMED, OTHERWISE, RIGHTLY
from tests.museum.table import PAGE, counts, exhibits, page, stored

EXHIBITS = exhibits()
ROWS = {row.name: row for row in stored()}
PARTS = 6  # every sixth is judged anew here
SAMPLE = EXHIBITS[1::PARTS]


def shown(some):
    return pytest.mark.parametrize("exhibit", some, ids=lambda exhibit: exhibit.name)


# What stands there


def test_it_is_large_enough_and_every_bug_is_refused_and_most_are_named():
    said = dict(counts([(exhibit, ROWS[exhibit.name]) for exhibit in EXHIBITS]))
    assert said["bugs"] >= 40
    assert said["before: refused by `certify`"] >= 38
    assert said["after: certified"] == said["bugs"]
    assert said["named rightly"] >= 30


def test_every_exhibit_has_a_reference_and_says_what_users_saw():
    names = [exhibit.name for exhibit in EXHIBITS]
    assert len(set(names)) == len(names)
    for exhibit in EXHIBITS:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", exhibit.name)
        assert min(map(len, (exhibit.title, exhibit.saw, exhibit.geometry))) > 9
        assert set(exhibit.expected) <= {"y", "dx", "dw", "db", "behaviour"}
        for groups in exhibit.expected.values():
            assert groups
            assert all(word for group in groups for word in group)


def test_the_page_is_what_was_stored():
    text = PAGE.read_text(encoding="utf-8")
    assert page(EXHIBITS, list(ROWS.values())) == text, "run `python -m tests.museum`"


def test_what_was_stored_is_scored_by_what_an_exhibit_expects_now():
    for exhibit in EXHIBITS:
        row = ROWS[exhibit.name]
        assert judges.scored(exhibit.expected, row.said) == row.named, exhibit.name


@pytest.mark.parametrize(
    "change",
    [{"before": "holds"}, {"after": "refused"}, {"named": NOT_NAMED}, {"gate": "caught"}],
    ids=str,
)
def test_a_page_of_other_rows_is_another(change):
    first, *rest = ROWS.values()
    other = replace(first, **{**change, "gate": change.get("gate", "unknown")})
    assert page(EXHIBITS, [other, *rest]) != PAGE.read_text(encoding="utf-8")


def test_rows_without_an_exhibit_and_exhibits_without_a_row_are_refused():
    with pytest.raises(KeyError):
        page(EXHIBITS, list(ROWS.values())[1:])
    with pytest.raises(KeyError):
        page(EXHIBITS[1:], list(ROWS.values()))


# What is wrong is wrong, and what is right is right


def results(exhibit, which):
    """Return what comes out on small whole numbers, and these: full of ties, x mostly negative."""
    operands = judges.drawn(exhibit.layer, 3, exhibit.dtype)
    if exhibit.dtype == "float64":
        operands = [np.rint(a) for a in operands]
        operands[0] -= 2
    if exhibit.dtype == "bfloat16":
        operands = [np.ones_like(a) for a in operands]
    return judges.returned(getattr(exhibit, which)(exhibit.layer), operands), operands


@shown(EXHIBITS)
def test_the_code_after_the_fix_is_right(exhibit):
    got, operands = results(exhibit, "after")
    for mine, right in zip(got, judges.right(exhibit.layer, operands), strict=False):
        np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-12)


@shown([exhibit for exhibit in EXHIBITS if "behaviour" not in exhibit.expected])
def test_the_code_before_it_is_wrong_where_it_is_expected(exhibit):
    got, operands = results(exhibit, "before")
    pairs = zip(("y", "dx", "dw", "db"), got, judges.right(exhibit.layer, operands), strict=False)
    wrong = {name for name, mine, right in pairs if not judges.is_close(mine, right, 0, 1e-9)}
    assert wrong == set(exhibit.expected)


# Judged anew


@pytest.mark.few_calls
@shown(SAMPLE)
def test_before_is_refused_and_after_is_not(exhibit):
    after = judges.certified(exhibit, "after")
    assert judges.verdict(after) == ROWS[exhibit.name].after == "holds"
    if "behaviour" in exhibit.expected:  # a part of the layouts and batches might not show it
        return
    try:
        with until_wrong():
            refused = judges.certified(exhibit, "before").refuted
    except RefusedError:
        refused = True
    assert refused


@shown([exhibit for exhibit in SAMPLE if "behaviour" not in exhibit.expected])
def test_what_was_named_rightly_still_is(exhibit):
    said = judges.names(exhibit, None)
    if ROWS[exhibit.name].named == RIGHTLY:
        assert judges.scored(exhibit.expected, said) == RIGHTLY


def test_code_that_is_wrong_for_views_alone_is_refused_and_the_views_are_named():
    exhibit = next(e for e in EXHIBITS if e.name == "huggingface/candle#3736")
    certificate = judges.certified(exhibit, "before")
    assert certificate.refuted
    assert judges.scored(exhibit.expected, judges.names(exhibit, certificate)) == RIGHTLY


def test_names_are_scored_by_what_they_must_say():
    expected = {"dx": words("stride & dilation|dilated")}
    assert judges.scored(expected, {"dx": "Stride and dilation are exchanged"}) == RIGHTLY
    assert judges.scored(expected, {"dx": "the stride is forgotten"}) == OTHERWISE
    assert judges.scored(expected, {"dx": ""}) == NOT_NAMED
    both = expected | {"dw": words("sign")}
    assert judges.scored(both, {"dx": "dilated by the stride", "dw": ""}) == NOT_NAMED


# What stands beside


def test_the_others_pass_what_they_do_not_look_at():
    by_name = {exhibit.name: exhibit for exhibit in EXHIBITS}
    of_views = by_name["fla-org/flash-linear-attention#871"]
    assert judges.by_one_draw(of_views) == judges.by_gate(of_views) == judges.PASSED
    of_dx = by_name["pytorch/pytorch#63314"]
    assert judges.by_one_draw(of_dx) == judges.CAUGHT
    assert judges.by_gate(of_dx) == judges.PASSED
    reversed_taps = by_name["NVlabs/WarpConvNet#1"]
    assert judges.by_gate(reversed_taps) == judges.CAUGHT
    after = replace(reversed_taps, before=reversed_taps.after)
    assert judges.by_one_draw(after) == judges.by_gate(after) == judges.PASSED


def test_gradcheck_compares_a_backward_pass_with_its_own_forward_pass():
    pytest.importorskip("torch")
    by_name = {exhibit.name: exhibit for exhibit in EXHIBITS}
    assert judges.by_gradcheck(by_name["pytorch/pytorch#63314"]) == judges.CAUGHT
    assert judges.by_gradcheck(by_name["CanReader/FastNN#4"]) == judges.PASSED
    assert judges.by_gradcheck(by_name["ggml-org/ggml#1448"]).startswith(judges.NOT_APPLICABLE)
