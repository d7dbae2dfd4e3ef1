"""Retired words stay retired: numerical analysis or deep learning has another for each."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = {  # a pattern -> what is said instead
    r"(?i)(?<![a-z])roads?(?![a-z])": "evaluator, or two ways",
    r"(?i)(?<![a-z])twins?(?![a-z])|Twin": "direct counterpart",
    r"(?i)(?<![a-z])kinks?(?![a-z])": "non-differentiable point",
    r"\b(hangs?|hanging|hung)\b": "undecided, depends on",
    r"(?i)(?<![a-z])slips?(?![a-z])": "mistake in the sums: ResultMistake",
    r"\b[Ss]omebod\w+": "the user's",
    r"\b(ahead|back)(\(layer|\.register)": "forward_error, backward_error",
    r"\bsizes\.register": "magnitudes",
    r"\bSeen\b|\bseen\.(values|right|name|part)\b": "Observations: returned, expected",
    r"\bTold\b": "NamedMistake",
    r"\bclass Numbers\b": "Hyperparameters, AxisParameters, WindowParameters",
    r"\bbehind (it|the (input|others|matrix|window))\b": "after, past",
    r"\bwhole\(": "integer_unit",
    r"\bsecond_look\b|\bshrunken\b": "review_implementation, small_copy",
}
# What still works under its old name, and warns: the property, and the line that hands it on
OLD_NAMES = re.compile(r" *def (road|by|ties)\(self\).*\n|.*\brenamed_attribute\(.*\n")
KEEP_OLD_WORDS = (
    "CHANGELOG.md",
    "schema.py",
    "test_schema.py",
    "test_public_api.py",
    "test_vocabulary.py",
)
PLACES = (
    "*.md",
    "docs/*.md",
    "*.toml",
    "convdense/**/*.py",
    "convdense/**/*.js",
    "convdense/**/*.css",
    "convdense/**/*.html",
)
PLACES += ("examples/*.py", "tests/*.py")
FILES = [
    path
    for place in PLACES
    for path in sorted(ROOT.glob(place))
    if path.name not in KEEP_OLD_WORDS
    and not path.name.startswith("zoo_")  # the zoo speaks as its authors do
]
RIGHT = [
    "broad",
    "roadside",
    "between",
    "change",
    "whole numbers",
    "it was seen.",
    "numbers",
    "behind `a`",
    "slipstream",
]
WRONG = [
    "two roads",
    "direct_road(layer)",
    "its direct twin",
    "DIRECT_TWIN",
    "DirectTwin",
    "a kink",
    "it hung on",
]
WRONG += [
    "Slip = 1",
    "Somebody's",
    "seen.right",
    "Told = str",
    "class Numbers(ABC)",
    "the matrix behind it",
]
WRONG += ["whole(net)", "second_look(x)", "@ahead.register", "sizes.register"]


def retired(text):
    """Return every retired word of a text with what is said instead."""
    said = OLD_NAMES.sub("", text)
    return [
        (found[0], instead)
        for word, instead in RETIRED.items()
        for found in re.finditer(word, said)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_used(path):
    assert retired(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", WRONG)
def test_a_retired_word_is_found(text):
    assert retired(text)


@pytest.mark.parametrize("text", RIGHT)
def test_its_nearest_neighbour_is_not(text):
    assert retired(text) == []


def test_every_pattern_finds_something():
    assert [word for word in RETIRED if not any(re.search(word, text) for text in WRONG)] == []
