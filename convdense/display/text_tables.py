"""Tables as text: aligned for a terminal, or as Markdown."""

from collections.abc import Sequence


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
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


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
