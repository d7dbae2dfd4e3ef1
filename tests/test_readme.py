"""Everything that README and guide show is run.

`python -m tests.test_readme` writes what their code prints now.
"""

import contextlib
import io
import re
import shlex
from functools import lru_cache
from pathlib import Path

import pytest

import convdense as cd
from convdense import plots
from convdense.claims.claims import CLAIMS, judge_claims
from convdense.cli._main import _parser, main
from convdense.display.tables import markdown

ROOT = Path(__file__).parent.parent
README, GUIDE = ROOT / "README.md", ROOT / "docs" / "guide.md"
PAGES = pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.stem)
PROGRAM = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
TRANSCRIPT = re.compile(r"```console\n\$ convdense (.*?)\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"^\.venv/bin/convdense (.*)$", re.MULTILINE)
TABLE = re.compile(r"(<!-- claims( of [a-z ]+)?: .*? -->\n).*?(<!-- /claims -->)", re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def printed(run, *arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(*arguments)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@lru_cache  # several tests read a page, and its code prints the same for each of them
def of_program(text: str) -> str:
    return printed(exec, text, {})


@lru_cache  # as above
def of_command(line: str) -> str:
    return printed(main, shlex.split(line))


@lru_cache  # as above
def verdicts() -> dict:
    return {verdict.claim.id: verdict for verdict in judge_claims()}


def claims_table(some: str | None) -> str:
    """Return the whole table, or a short one of some claims: " of forward dx dw"."""
    if some is None:
        header = ["claim", "what is compared", "exact on integers", "how sure"]
        rows = [
            [v.claim.sentence, v.claim.compared, "yes" if v.exact else "NO", v.sure]
            for v in verdicts().values()
        ]
    else:
        header = ["claim", "how sure"]
        chosen = [verdicts()[name] for name in some.removeprefix(" of ").split()]
        rows = [[v.claim.sentence, v.sure if v.exact else "NO"] for v in chosen]
    return markdown(header, rows) + "\n"


def as_run(text: str) -> str:
    """Return a page with every output replaced by what its code prints now."""
    text = PROGRAM.sub(lambda m: f"```python\n{m[1]}```\n\n```text\n{of_program(m[1])}```", text)
    text = TRANSCRIPT.sub(lambda m: f"```console\n$ convdense {m[1]}\n{of_command(m[1])}```", text)
    return TABLE.sub(lambda m: f"{m[1]}\n{claims_table(m[2])}\n{m[3]}", text)


@PAGES
def test_a_page_shows_what_its_code_prints(page):
    text = page.read_text(encoding="utf-8")
    assert len(PROGRAM.findall(text)) >= 1
    assert len(TRANSCRIPT.findall(text)) >= 1
    assert len(TABLE.findall(text)) == 1
    assert as_run(text) == text, "run `python -m tests.test_readme` and read the difference"


@PAGES
def test_no_code_stands_there_that_is_not_run(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("```python") == len(PROGRAM.findall(text))
    assert text.count("```console") == len(TRANSCRIPT.findall(text))


@pytest.mark.parametrize(
    ("page", "true", "false"),
    [
        (README, "[0 1 2 0 3 4 0 0 0]", "[0 1 2 0 3 5 0 0 0]"),
        (README, "o1 a  b  .", "o1 a  .  b"),
        (README, "error at most 2^-66", "error at most 2^-67"),
        (GUIDE, "dw: the mean", "dw: the sum"),
        (GUIDE, "o1 = w1 i1", "o1 = w2 i1"),
        (GUIDE, "error at most 2^-66", "error at most 2^-67"),
    ],
)
def test_a_page_that_shows_something_else_is_refused(page, true, false):
    text = page.read_text(encoding="utf-8")
    assert true in text
    assert as_run(text.replace(true, false, 1)) != text.replace(true, false, 1)


def test_the_guide_has_every_claim_and_the_readme_some():
    guide, readme = (page.read_text(encoding="utf-8") for page in (GUIDE, README))
    sentences = [claim.sentence.replace("|", r"\|") for claim in CLAIMS]
    assert [sentence for sentence in sentences if sentence not in guide] == []
    assert sum(sentence in readme for sentence in sentences) >= 5


@PAGES
def test_the_command_lines_of_a_page_are_understood(page):
    for line in SHELL.findall(page.read_text(encoding="utf-8")):
        _parser().parse_args(shlex.split(line))


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    kept = [
        re.sub(r"[^\w\- ]", "", heading.lower())
        for heading in HEADING.findall(page.read_text(encoding="utf-8"))
    ]
    return {heading.replace(" ", "-") for heading in kept}


@PAGES
def test_pictures_files_and_headings_that_a_page_names_exist(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert len(links) >= 2
    for link in links:
        name, _, heading = link.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), link
        assert not heading or heading in anchors(there), link


def test_the_readme_is_read_in_three_minutes():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    prose = re.sub(r"```.*?```|<!--.*?-->|\]\([^)]+\)", "", text, flags=re.DOTALL)
    assert len(prose.split()) < 900


NAMES = {"cd": cd, "ties": cd.TieMap, "net": cd.Network, "plots": plots}
USED = re.compile(r"(?<![\w.])(cd|ties|net|plots)\.([A-Za-z_]+)")


@PAGES
def test_every_name_that_a_page_uses_exists(page):
    used = USED.findall(page.read_text(encoding="utf-8"))
    assert len(used) >= 5
    assert [pair for pair in used if not hasattr(NAMES[pair[0]], pair[1])] == []


UNPUBLISHED = re.compile(r"pip install (-\S+ )*['\"]?convdense\b")


def test_nobody_is_told_to_install_a_package_that_is_not_published():
    files = [
        README,
        GUIDE,
        *(p for name in ("convdense", "examples", "tests") for p in (ROOT / name).rglob("*.py")),
    ]
    assert [str(p) for p in files if UNPUBLISHED.search(p.read_text(encoding="utf-8"))] == []
    published = "convdense" + "[torch]"  # in two halves, so that this file does not say it
    assert UNPUBLISHED.search(f"pip install '{published}'")
    assert not UNPUBLISHED.search("pip install '.[torch]' in a clone of convdense")


if __name__ == "__main__":
    for path in (README, GUIDE):
        path.write_text(as_run(path.read_text(encoding="utf-8")), encoding="utf-8")
