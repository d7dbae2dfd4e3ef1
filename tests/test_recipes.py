"""The recipes of CONTRIBUTING.md: the files they name exist, and are no more than the limit."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LIMITS = {
    "An activation": 4,
    "A layer with weights": 4,
    "A pooling kind": 8,
    "A padding mode": 4,
    "A dtype of implementations": 3,
    "An option of certify": 3,  # two, and one for the command line
}
HEAD = re.compile(r"^### (.+): (\d+) files, at most (\d+)$", re.MULTILINE)


def recipes(text):
    """Return {name: (files it says it touches, limit it says, text)} of the section Recipes."""
    section = text.partition("\n## Recipes\n")[2].partition("\n## ")[0]
    _, *parts = HEAD.split(section)
    found = zip(*[iter(parts)] * 4, strict=True)
    return {name: (int(said), int(limit), body) for name, said, limit, body in found}


def wrong(name, said, limit, body):
    """Return what is wrong with one recipe."""
    complaints = [
        f"{name}: no {path}"
        for path in re.findall(r"`((?:convdense|tests|docs)/[^`]*)`", body)
        if not (ROOT / path).exists()
    ]
    steps = re.findall(r"^(\d+)\. `(convdense/[^`]*)`: ", body, re.MULTILINE)
    numbered = re.findall(r"^\d+\.", body, re.MULTILINE)
    if [int(n) for n, _ in steps] != list(range(1, len(numbered) + 1)):
        complaints.append(f"{name}: steps that are not numbered or name no file of the package")
    if len({path for _, path in steps}) != said:
        complaints.append(f"{name}: says {said} files and names {len(steps)}")
    if limit != LIMITS[name] or said > limit:
        complaints.append(f"{name}: {said} files, at most {limit}; the limit is {LIMITS[name]}")
    if not re.search(r"^Tests: .*`tests/", body, re.MULTILINE):
        complaints.append(f"{name}: no tests")
    return complaints


def test_every_kind_of_change_has_a_recipe():
    assert set(recipes(CONTRIBUTING)) == set(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_a_recipe_names_files_that_exist_and_no_more_than_it_may(name):
    assert wrong(name, *recipes(CONTRIBUTING)[name]) == []


@pytest.mark.parametrize(
    ("right", "planted", "complaint"),
    [
        ("`convdense/structure/axis.py`", "`convdense/structure/axes.py`", "no convdense/"),
        ("`tests/strategies.py`", "`tests/strategy.py`", "no tests/strategy.py"),
        ("4. `convdense/testing", "5. `convdense/testing", "not numbered"),
        ("4. `convdense/testing/case_table.py`", "4. a case table", "name no file"),
        ("mode: 4 files, at most 4", "mode: 3 files, at most 4", "says 3 files and names 4"),
        ("mode: 4 files, at most 4", "mode: 4 files, at most 5", "the limit is 4"),
        ("Tests: `MODES`", "`MODES`", "no tests"),
    ],
)
def test_a_recipe_that_is_wrong_is_seen(right, planted, complaint):
    assert right in CONTRIBUTING
    found = recipes(CONTRIBUTING.replace(right, planted))["A padding mode"]
    assert any(complaint in said for said in wrong("A padding mode", *found))
