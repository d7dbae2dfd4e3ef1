"""Tables: as aligned text, as Markdown, and as HTML for notebooks.

In HTML all text is escaped and all style is inline: a notebook has no style sheet of ours.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from convdense.display.palette import ink

TABLE = "border-collapse:collapse;width:auto;margin:0 0 0.5em 0"
CAPTION = "padding:0.3em 0"  # no <caption>: it would be broken into lines as narrow as the table
CELL = "text-align:left;vertical-align:top;padding:0.2em 0.7em"
LINES = f"{CELL};font-family:monospace;white-space:pre-wrap"  # of a text of several lines
# as html.escape
ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows in columns as wide as their widest cell.

    Examples
    --------
    >>> print(aligned(["claim", "exact"], [["forward", "yes"], ["dx", "yes"]]))
    claim    exact
    -------  -----
    forward  yes
    dx       yes
    """
    columns = zip(header, *rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    rules = ["-" * width for width in widths]
    lines = []
    for row in (header, rules, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a Markdown table.

    Examples
    --------
    >>> print(markdown(["claim", "exact"], [["forward", "yes"]]))
    | claim | exact |
    |---|---|
    | forward | yes |
    """
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (header, *rows)]
    first, *rest = (f"| {' | '.join(line)} |" for line in cells)
    return "\n".join([first, "|" + "---|" * len(header), *rest])


class Cell(NamedTuple):
    """One cell of a table: its text, its background (#RRGGBB), and another style.

    The letters become black or white, whichever is read better on the background.
    """

    text: str
    background: str = ""
    style: str = CELL


def table(
    rows: Iterable[Iterable[str | Cell]], header: Iterable[str | Cell] = (), caption: str = ""
) -> str:
    """Return a table, the caption above it; the first cell of a row is its heading.

    Examples
    --------
    >>> bare = table([["y", "equal"]]).replace(f' style="{CELL}"', "")
    >>> print(bare.replace(f' style="{TABLE}"', ""))
    <table><tbody><tr><th scope="row">y</th><td>equal</td></tr></tbody></table>
    """
    above = f'<div style="{CAPTION}">{caption.translate(ESCAPED)}</div>' if caption else ""
    headings = "".join(_cell(cell, 'th scope="col"') for cell in header)
    head = f"<thead><tr>{headings}</tr></thead>" if headings else ""
    body = "".join(f"<tr>{_row(*row)}</tr>" for row in rows)
    return f'{above}<table style="{TABLE}">{head}<tbody>{body}</tbody></table>'


def facts(caption: str, values: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    return table(([name, str(value)] for name, value in values.items()), caption=caption)


def preformatted(text: str) -> str:
    """Return text as it stands, line by line."""
    style = "color:inherit;background:none;white-space:pre-wrap;word-break:normal"
    return f'<pre style="{style}">{text.translate(ESCAPED)}</pre>'


class Rows(NamedTuple):
    """A table before it is written: its rows, and the names of its columns."""

    rows: Sequence[Sequence[str]]
    header: Sequence[str]


class InParts(ABC):
    """A result made of sentences and tables, which text and a notebook show alike."""

    @abstractmethod
    def _parts(self) -> Sequence[str | Rows]:
        """Return the sentences and tables, from the top."""

    def __str__(self) -> str:
        """Return the parts, an empty line between them."""
        parts = self._parts()
        return "\n\n".join(p if isinstance(p, str) else aligned(p.header, p.rows) for p in parts)

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        parts = self._parts()
        return "".join(preformatted(p) if isinstance(p, str) else table(*p) for p in parts)


def _row(first: str | Cell, *others: str | Cell) -> str:
    return _cell(first, 'th scope="row"') + "".join(_cell(cell, "td") for cell in others)


def _cell(cell: str | Cell, tag: str) -> str:
    text, background, style = Cell(cell) if isinstance(cell, str) else cell
    if background:
        style += f";background:{background};color:{ink(background)}"
    name = tag.split(maxsplit=1)[0]  # th or td, without attributes
    return f'<{tag} style="{style}">{text.translate(ESCAPED)}</{name}>'
