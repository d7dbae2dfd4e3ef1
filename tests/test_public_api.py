"""The public names are a list; adding one is a decision and changes this test. Each is documented with an example."""

import doctest
import inspect
import re
from types import ModuleType

import pytest

import convdense

EXPECTED = [
    "AvgPool",
    "Certificate",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "LocallyConnected",
    "LpPool",
    "MaxPool",
    "MinPool",
    "Network",
    "ReLU",
    "Report",
    "Residual",
    "SumPool",
    "TieMap",
    "TiedDense",
    "batch_norm",
    "certify",
    "check",
    "conv_matrix",
    "convolve",
    "convolve_backward",
    "dense_pool",
    "diagnose",
    "equations",
    "network",
    "recover",
    "tie",
]
SECTION = re.compile(r"^Examples\n-+$(.*)", re.MULTILINE | re.DOTALL)


def difference(names, expected):
    """Return which names are missing and which are extra."""
    return {"missing": sorted(set(expected) - set(names)), "extra": sorted(set(names) - set(expected))}


def undocumented(docstring):
    """Return what a docstring lacks, or ""."""
    text = inspect.cleandoc(docstring or "")
    if not text:
        return "a docstring"
    section = SECTION.search(text)
    if section is None:
        return "an Examples section"
    return "" if doctest.DocTestParser().get_examples(section[1]) else "an example that runs"


def test_public_names():
    assert difference(convdense.__all__, EXPECTED) == {"missing": [], "extra": []}
    assert sorted(convdense.__all__) == sorted(EXPECTED)  # nothing twice


def test_nothing_public_is_unlisted():
    """What `import convdense` shows without an underscore is in the list; submodules aside."""
    names = {*vars(convdense), *dir(convdense)}  # dir names those too that are imported when asked for
    shown = [n for n in names if not n.startswith("_") and not isinstance(getattr(convdense, n), ModuleType)]
    assert difference(shown, EXPECTED) == {"missing": [], "extra": []}


@pytest.mark.parametrize("name", EXPECTED)
def test_public_name_is_documented_with_an_example(name):
    public = getattr(convdense, name)
    assert callable(public)
    assert undocumented(public.__doc__) == ""


def test_missing_and_extra_names_are_seen():
    assert difference(["a", "x"], ["a", "b"]) == {"missing": ["b"], "extra": ["x"]}


EXAMPLE = "Examples\n    --------\n    >>> 1\n    1\n"


@pytest.mark.parametrize(
    ("docstring", "lacks"),
    [
        (None, "a docstring"),
        ("  \n", "a docstring"),
        ("Point(x: int, y: int)", "an Examples section"),  # what a dataclass writes by itself
        ("Do.\n\n    >>> 1\n    1\n", "an Examples section"),
        ("Do.\n\n    Examples\n    --------\n    Run it.\n", "an example that runs"),
        (f"Do.\n\n    {EXAMPLE}", ""),
    ],
    ids=repr,
)
def test_an_undocumented_name_is_seen(docstring, lacks):
    assert undocumented(docstring) == lacks
