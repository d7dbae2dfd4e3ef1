"""Tables: as aligned text, as Markdown, and as HTML for notebooks (all text escaped, all style inline)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from convdense.display.palette import ink

TABLE = "border-collapse:collapse;width:auto;margin:0 0 0.5em 0"
CAPTION = "padding:0.3em 0"  # no <caption>: it would be broken into lines as narrow as the table
CELL = "text-align:left;vertical-align:top;padding:0.2em 0.7em"
ESCAPED = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
)  # as html.escape


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
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = (header, ["-" * width for width in widths], *rows)
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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
    """One cell of a table: its text, its background (#RRGGBB, the letters follow), and another style."""

    text: str
    background: str = ""
    style: str = CELL


def table(
    rows: Iterable[Iterable[str | Cell]], header: Iterable[str | Cell] = (), caption: str = ""
) -> str:
    """Return a table, the caption above it; the first cell of a row is its heading.

    Examples
    --------
    >>> print(table([["y", "equal"]]).replace(CELL, "...").replace(TABLE, "..."))
    <table style="..."><tbody><tr><th scope="row" style="...">y</th><td style="...">equal</td></tr></tbody></table>
    """
    above = f'<div style="{CAPTION}">{caption.translate(ESCAPED)}</div>' if caption else ""
    head = "".join(_cell(cell, 'th scope="col"') for cell in header)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(f"<tr>{_row(*row)}</tr>" for row in rows)
    return f'{above}<table style="{TABLE}">{head}<tbody>{body}</tbody></table>'


def facts(caption: str, values: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    return table(([name, str(value)] for name, value in values.items()), caption=caption)


def preformatted(text: str) -> str:
    """Return text as it stands, line by line."""
    return f'<pre style="color:inherit;background:none;white-space:pre-wrap">{text.translate(ESCAPED)}</pre>'


class AsText:
    """A result that a notebook shows as its text."""

    def _repr_html_(self) -> str:
        """Return the same as `str` for a notebook."""
        return preformatted(str(self))


def _row(first: str | Cell, *others: str | Cell) -> str:
    return _cell(first, 'th scope="row"') + "".join(_cell(cell, "td") for cell in others)


def _cell(cell: str | Cell, tag: str) -> str:
    text, background, style = Cell(cell) if isinstance(cell, str) else cell
    colours = f";background:{background};color:{ink(background)}" if background else ""
    return f'<{tag} style="{style}{colours}">{text.translate(ESCAPED)}</{tag[:2]}>'
