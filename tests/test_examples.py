"""Every example runs, asserts what it says, leaves its pictures, and ends in its figure."""

import ast
import runpy
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
LONG = ("05_training",)  # it trains for a minute


def end(example):
    """Return the body of a program without its last statement, and its last two statements."""
    tree = ast.parse(example.read_text(encoding="utf-8"))
    *_, before, last = tree.body
    return ast.Module(tree.body[:-1], tree.type_ignores), before, last


def leaves_its_pictures(example, folder):
    """Assert that there are pictures in the folder, all of them kept beside the example."""
    pictures = sorted((folder / "pictures").iterdir())
    assert pictures
    kept = example.parent / "pictures"
    assert [p.name for p in pictures if not (kept / p.name).exists()] == [], (
        "commit the example's pictures"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example(example, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CONVDENSE_EXAMPLE_SIZE", "16")  # of the large layer of 06, instead of 224
    monkeypatch.setenv("CONVDENSE_EXAMPLE_SEEDS", "1")  # of 05, instead of five
    monkeypatch.setenv("CONVDENSE_EXAMPLE_EPOCHS", "8 4")  # of 05, instead of 12 and 6
    runpy.run_path(str(shutil.copy(example, tmp_path)), run_name="__main__")
    assert capsys.readouterr().out
    leaves_its_pictures(example, tmp_path)


@pytest.mark.parametrize(
    "example", [p for p in EXAMPLES if p.stem not in LONG], ids=lambda p: p.stem
)
@pytest.mark.thinned(3)
def test_a_notebook_which_has_no_file_shows_the_figure(example, tmp_path, monkeypatch):
    monkeypatch.setenv("CONVDENSE_EXAMPLE_SIZE", "16")
    monkeypatch.chdir(tmp_path)
    program, _, last = end(example)
    names = {"__name__": "__main__"}
    exec(compile(program, example.name, "exec"), names)
    shown = eval(compile(ast.Expression(last.value), example.name, "eval"), names)
    assert isinstance(shown, Figure)
    leaves_its_pictures(example, tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example_ends_in_an_assertion_and_its_figure(example):
    _, before, last = end(example)
    assert isinstance(before, ast.Assert)
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Name)


def test_all_examples_find_the_place_of_their_pictures_alike():
    """So that what is not run as a notebook, for its length, would find it too."""
    lines = [
        [line for line in path.read_text(encoding="utf-8").splitlines() if "__file__" in line]
        for path in EXAMPLES
    ]
    assert all(len(found) == 1 for found in lines)
    assert len({found[0] for found in lines}) == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_no_text_stands_where_a_notebook_takes_it_for_the_title_of_a_cell(example):
    heads = [
        line.strip()
        for line in example.read_text(encoding="utf-8").splitlines()
        if line.startswith("# %%")
    ]
    assert set(heads) == {"# %%", "# %% [markdown]"}
