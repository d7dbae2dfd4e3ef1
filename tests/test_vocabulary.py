"""Words that were retired stay retired: numerical analysis or deep learning has another for each."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = {  # a pattern -> what is said instead
    r"\b[Rr]oads?\b|_roads?\b|\broad_": "evaluator, or two ways",
    r"\b[Tt]wins?\b|_twins?\b": "direct counterpart",
    r"\b[Kk]inks?\b": "non-differentiable point",
    r"\bhangs?\b|\bhanging\b": "undecided, depends on",
    r"\b[Ss]lips?\b": "mistake in the sums: ResultMistake",
    r"\b[Ss]omebod\w+": "the user's",
    r"\bSeen\b|\bseen\.(values|right|name|part)\b": "Observations: returned, expected",
    r"\bTold\b": "NamedMistake",
    r"\bclass Numbers\b": "Hyperparameters, AxisParameters, WindowParameters",
    r"\bbehind (it|the (input|others|matrix|window))\b": "after, past",
    r"\bwhole\(": "integer_unit",
    r"\bsecond_look\b|\bshrunken\b": "review_implementation, small_copy",
}
KEEP_OLD_WORDS = ("CHANGELOG.md", "schema.py", "test_schema.py", "test_vocabulary.py")  # of what older versions said
PLACES = ("*.md", "convdense/**/*.py", "convdense/**/*.js", "convdense/**/*.html", "examples/*.py", "tests/*.py")
FILES = [
    path
    for place in PLACES
    for path in sorted(ROOT.glob(place))
    if path.name not in KEEP_OLD_WORDS and not path.name.startswith("zoo_")  # the zoo speaks as its authors do
]


def retired(text):
    """Return every retired word of a text with what is said instead."""
    return [(found[0], instead) for word, instead in RETIRED.items() for found in re.finditer(word, text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_used(path):
    assert retired(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        *("two roads", "direct_road(layer)", "its direct twin", "a kink", "it hangs on", "Slip = 1", "Somebody's"),
        *(
            "seen.right",
            "Told = str",
            "class Numbers(NamedTuple)",
            "the matrix behind it",
            "whole(net)",
            "second_look(x)",
        ),
    ],
)
def test_a_retired_word_is_found(text):
    assert retired(text)


@pytest.mark.parametrize(
    "text",
    [
        "broad",
        "between",
        "change",
        "whole numbers",
        "Seen_to fail",
        "it was seen.",
        "numbers",
        "behind `a`",
        "slipstream",
    ],
)
def test_its_nearest_neighbour_is_not(text):
    assert retired(text) == []
