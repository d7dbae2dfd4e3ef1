"""Everything the README shows is run. `python -m tests.test_readme` writes what its code prints now."""

import contextlib
import io
import re
import shlex
from functools import lru_cache
from pathlib import Path

from convdense.claims.claims import judge_claims
from convdense.cli._main import main
from convdense.display.tables import markdown

README = Path(__file__).parent.parent / "README.md"
PROGRAM = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
TRANSCRIPT = re.compile(r"```console\n\$ convdense (.*?)\n(.*?)```", re.DOTALL)
TABLE = re.compile(r"(<!-- claims: .*? -->\n).*?(<!-- /claims -->)", re.DOTALL)


def printed(run, *arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(*arguments)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@lru_cache  # three tests read it, and nothing changes it between them
def claims_table() -> str:
    header = ["claim", "what is compared", "exact on integers", "how sure"]
    rows = [
        [v.claim.sentence, v.claim.compared, "yes" if v.exact else "NO", v.sure]
        for v in judge_claims()
    ]
    return markdown(header, rows) + "\n"


def as_run(text: str) -> str:
    """Return the README with every output replaced by what its code prints now."""
    text = PROGRAM.sub(
        lambda m: f"```python\n{m[1]}```\n\n```text\n{printed(exec, m[1], {})}```", text
    )
    text = TRANSCRIPT.sub(
        lambda m: f"```console\n$ convdense {m[1]}\n{printed(main, shlex.split(m[1]))}```", text
    )
    return TABLE.sub(lambda m: f"{m[1]}\n{claims_table()}\n{m[2]}", text)


def test_the_readme_shows_what_its_code_prints():
    text = README.read_text(encoding="utf-8")
    assert len(PROGRAM.findall(text)) >= 1
    assert len(TRANSCRIPT.findall(text)) >= 1
    assert len(TABLE.findall(text)) == 1
    assert as_run(text) == text, "run `python -m tests.test_readme` and read the difference"


def test_a_readme_that_shows_something_else_is_refused():
    text = README.read_text(encoding="utf-8")
    for true, false in (
        ("[0 1 2 0 3 4 0 0 0]", "[0 1 2 0 3 5 0 0 0]"),
        ("o1 = w1 i1", "o1 = w2 i1"),
    ):
        assert true in text
        assert as_run(text.replace(true, false, 1)) != text.replace(true, false, 1)


def test_pictures_and_files_the_readme_names_exist():
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) >= 2
    assert [link for link in links if not (README.parent / link).exists()] == []


UNPUBLISHED = re.compile(r"pip install (-\S+ )*['\"]?convdense\b")


def test_nobody_is_told_to_install_a_package_that_is_not_published():
    folder = README.parent
    files = [
        README,
        *(p for name in ("convdense", "examples", "tests") for p in (folder / name).rglob("*.py")),
    ]
    assert [str(p) for p in files if UNPUBLISHED.search(p.read_text(encoding="utf-8"))] == []
    published = "convdense" + "[torch]"  # in two halves, so that this file does not say it
    assert UNPUBLISHED.search(f"pip install '{published}'")
    assert not UNPUBLISHED.search("pip install '.[torch]' in a clone of convdense")


if __name__ == "__main__":
    README.write_text(as_run(README.read_text(encoding="utf-8")), encoding="utf-8")
