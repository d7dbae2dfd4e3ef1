"""Every example runs from start to end, asserts something at the end, and leaves its pictures."""

import ast
import runpy
import shutil
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example(example, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CONVDENSE_EXAMPLE_SIZE", "56")  # the large layer of 06, a little smaller
    monkeypatch.setenv("CONVDENSE_EXAMPLE_SEEDS", "1")  # of 05, instead of five
    runpy.run_path(str(shutil.copy(example, tmp_path)), run_name="__main__")
    assert capsys.readouterr().out
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert pictures
    kept = example.parent / "pictures"
    assert [p.name for p in pictures if not (kept / p.name).exists()] == [], (
        "commit the example's pictures"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example_ends_in_an_assertion(example):
    assert isinstance(ast.parse(example.read_text(encoding="utf-8")).body[-1], ast.Assert)
