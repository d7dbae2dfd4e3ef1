"""The page: what the exhibits are, and what was stored of the last whole run."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from convdense.display.tables import markdown
from tests.museum.exhibit import Exhibit
from tests.museum.judges import (
    ATOL,
    CAUGHT,
    GATE,
    GATE_TOLERANCE,
    NOT_APPLICABLE,
    NOT_NAMED,
    OTHERWISE,
    PASSED,
    RIGHTLY,
    RTOL,
    Row,
)

KINDS = ("strided", "transposed", "padding", "taps", "pools", "sizes", "layouts", "others")
PAGE = Path(__file__).parents[2] / "docs" / "museum.md"
STORED = Path(__file__).with_name("results.json")
JUDGES = {
    "gradcheck": "`torch.autograd.gradcheck`",
    "one_draw": "one draw",
    "gate": "a gate of five shapes",
}
HEADER = ("bug", "what users saw", "layer", "`certify`", "named", "gradcheck / one draw / gate")


def exhibits() -> list[Exhibit]:
    return [e for kind in KINDS for e in import_module(f"tests.museum.{kind}").EXHIBITS]


def stored() -> list[Row]:
    return [Row(**row) for row in json.loads(STORED.read_text(encoding="utf-8"))]


def store(rows: Sequence[Row]) -> None:
    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
    STORED.write_text(text + "\n", encoding="utf-8")


def page(shown: Sequence[Exhibit], rows: Sequence[Row]) -> str:
    """Return the page; an exhibit without a row, or a row without an exhibit, is a KeyError."""
    by_name = {row.name: row for row in rows}
    pairs = [(exhibit, by_name.pop(exhibit.name)) for exhibit in shown]
    if by_name:
        raise KeyError(f"no exhibit of {', '.join(by_name)}")
    parts = [introduction(), counted(pairs), how_to_read(), unnamed(pairs)]
    for kind in KINDS:
        of_kind = [pair for pair in pairs if pair[0].kind == kind]
        if of_kind:
            parts.append(of_one_kind(kind, of_kind))
    return "\n\n".join(parts) + "\n"


def introduction() -> str:
    return """# The museum: real bugs, before and after

Bugs of convolution and pooling code that were reported in public. Each was rebuilt, in our own
words and in NumPy, from what the report says and what its fix changed: once as it was before, once
as it is after. This page is written by `python -m tests.museum` (some minutes; it needs PyTorch);
the exhibits are in [tests/museum](../tests/museum)."""


def counts(pairs: Sequence[tuple[Exhibit, Row]]) -> list[tuple[str, int]]:
    """Return what the page counts, in order."""
    rows = [row for _, row in pairs]
    named = Counter(row.named for row in rows)
    of_operands = [e.name for e, r in pairs if "behaviour" in e.expected and r.named == RIGHTLY]
    counted = [
        ("bugs", len(rows)),
        ("before: refused by `certify`", sum(r.before == "refused" for r in rows)),
        ("after: certified", sum(r.after == "holds" for r in rows)),
        ("named rightly", named[RIGHTLY]),
        ("of these, wrong on some operands alone, which `certify` names", len(of_operands)),
        ("named otherwise", named[OTHERWISE]),
        ("not named", named[NOT_NAMED]),
    ]
    for attribute, judge in JUDGES.items():
        said = Counter(getattr(row, attribute).partition(":")[0] for row in rows)
        counted.append((f"before: caught by {judge}", said[CAUGHT]))
        counted.append((f"before: passed by {judge}", said[PASSED]))
        none = said[NOT_APPLICABLE.rstrip(": ")]
        counted += [(f"{judge} not applicable", none)] if none else []
    return counted


def counted(pairs: Sequence[tuple[Exhibit, Row]]) -> str:
    return markdown(("counted", ""), [(what, str(n)) for what, n in counts(pairs)])


def how_to_read() -> str:
    sizes, kernels = (", ".join(str(row[i]) for row in GATE) for i in (0, 1))
    most = max(batch for *_, batch in GATE)
    return f"""* *certify*: what is refused of the code before. The code after is certified, unless
  it is said.
* *named*: what `diagnose` says of each quantity that is wrong. Where the code is wrong for some
  operands alone (views in memory, large batches), `certify` names these.
* *rightly*: it has the words that a right name must have, which were written from the report and
  stand with the exhibit (`expected`). *otherwise*: something else was said, which may be true and
  say less.
* *gradcheck*: PyTorch's, slow mode, on this layer in float64. Of inference code there is no
  backward pass to check.
* *one draw*: `allclose` (rtol {RTOL:g}, atol {ATOL:g}) of output and gradients with direct
  convolution, on normal deviates, two samples, on the very geometry that shows the bug.
* *gate*: the output alone (rtol = atol = {GATE_TOLERANCE:g}) of five plain layers of the same
  kind, even and square, as in public gates of generated kernels: {sizes} cells an axis,
  kernels {kernels}, stride 1 (a pool's kernel), no padding, no groups, up to {most} samples.
* *layer*: with what is other than in the report. Where a bug needs a size that is too large, the
  limit is smaller here."""


def unnamed(pairs: Sequence[tuple[Exhibit, Row]]) -> str:
    rows = [
        (link(exhibit), exhibit.title, row.named, quoted(row.said))
        for exhibit, row in pairs
        if row.named != RIGHTLY
    ]
    text = "## What is not named rightly"
    if not rows:
        return f"{text}\n\nNothing."
    return f"{text}\n\n" + markdown(("bug", "what was wrong", "named", "what was said"), rows)


def of_one_kind(kind: str, pairs: Sequence[tuple[Exhibit, Row]]) -> str:
    heading, _, more = (import_module(f"tests.museum.{kind}").__doc__ or "").strip().partition("\n")
    title, _, rest = heading.partition(":")
    rest = rest.strip().rstrip(".")
    sentence = f"{rest[:1].upper()}{rest[1:]}. {' '.join(more.split())}".strip(". ") + "."
    rows = [row_of(exhibit, row) for exhibit, row in pairs]
    return (
        f"## {title.rstrip('.')}\n\n" + (f"{sentence}\n\n" if rest else "") + markdown(HEADER, rows)
    )


def row_of(exhibit: Exhibit, row: Row) -> tuple[str, ...]:
    certificate = row.sentence.removeprefix("does not hold: ")
    after = "" if row.after == "holds" else f"; AFTER {row.after}"
    said = quoted(row.said)
    return (
        f"{link(exhibit)}: {exhibit.title}",
        exhibit.saw,
        f"`{exhibit.layer}`"
        + (f", {exhibit.dtype}" if exhibit.dtype != "float64" else "")
        + f"; {exhibit.geometry}",
        f"{row.before}: {certificate}{after}",
        f"{row.named}" + (f": {said}" if said else ""),
        " / ".join((row.gradcheck, row.one_draw, row.gate)),
    )


def link(exhibit: Exhibit) -> str:
    address = f"https://github.com/{exhibit.project}/issues/{exhibit.number}"
    return f"[{exhibit.name}]({address})"


def quoted(said: dict[str, str]) -> str:
    """Return "y, dx: sentence; dw: another" of {quantity: sentence}, without what is empty."""
    together: dict[str, list[str]] = {}
    for quantity, sentence in said.items():
        if sentence:
            together.setdefault(sentence, []).append(quantity)
    parts = []
    for sentence, quantities in together.items():
        of = ", ".join(q for q in quantities if q != "behaviour")
        parts.append(f"{of}: {sentence}" if of else sentence)
    return "; ".join(parts)
