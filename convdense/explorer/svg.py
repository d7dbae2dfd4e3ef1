"""The drawings of the page, as SVG: the matrix, and sheets of input, weights and output."""

from collections.abc import Sequence
from math import prod

from convdense.display.labels import blocks, letter, numbered
from convdense.display.palette import COLOURS, colour, ink
from convdense.display.plane_layout import sheet
from convdense.structure.letter_grid import Held, fill, mark
from convdense.structure.tie_map import TieMap

UNIT = 20  # SVG units per cell: text of a tenth of a unit is not drawn everywhere
READABLE = 15  # pixels a cell needs for its name
# Pixels that a drawing may take before its cells shrink.
MATRIX_WIDTH, SHEET_WIDTH, SHEET_HEIGHT = 1120, 260, 340
LARGEST_CELL, LARGEST_PIXEL = 30, 34  # pixels: of the matrix, of a sheet
NAMED, MANY = 2_000, 3_000  # pixels that get names; cells that all fade when some light up
LONG, WIDTH = 2, 25  # letters that fit a cell at full size; units of a longer text together


def drawings(ties: TieMap, held: dict[tuple[int, int], Held]) -> dict[str, str]:
    """Return the four drawings by name; `held` says what the cells of the matrix hold."""
    rows, cols = ties.shape
    letters = [letter(k) for k in range(ties.n_weights)]
    kinds = [_colour_class(colour(k)) for k in range(ties.n_weights)]
    return {
        "matrix": _matrix(ties, held),
        "input": _sheet("input", ties.in_shape, numbered("i", cols), ["p"] * cols),
        "kernel": _sheet("kernel", ties.weight_shape, letters, kinds),
        "output": _sheet("output", ties.out_shape, numbered("o", rows), ["p"] * rows),
    }


def _sheet(name: str, shape: Sequence[int], names: list[str], kinds: list[str]) -> str:
    """Draw an array, a square per pixel, in C order, named where there is room."""
    laid = sheet(shape)
    size = max(2.0, min(LARGEST_PIXEL, SHEET_WIDTH / laid.width, SHEET_HEIGHT / laid.height))
    at = list(zip(laid.x.tolist(), laid.y.tolist(), strict=True))
    squares = [
        f'<path class="{kind}" d="{_square(x, y)}"/>'
        for (x, y), kind in zip(at, kinds, strict=True)
    ]
    texts = []
    if size >= READABLE:
        texts = [
            f'<text class="{kind}" {_middle(x, y)}>{text}</text>'
            for (x, y), kind, text in zip(at, kinds, names, strict=True)
        ]
    box = (-2, -2, UNIT * laid.width + 4, UNIT * laid.height + 4)  # room for a frame
    return _svg(name, box, size, f"<g>{''.join(squares)}</g><g>{''.join(texts)}</g>")


def _matrix(ties: TieMap, held: dict[tuple[int, int], Held]) -> str:
    """Draw the matrix: one grey rectangle, its non-zero cells, and lines between the blocks."""
    rows, cols = ties.shape
    size = max(1.0, min(LARGEST_CELL, MATRIX_WIDTH / cols))
    readable = size >= READABLE
    named = rows + cols <= NAMED  # hidden while cells are too small, shown when they grow

    looks = [(cell, _colour_class(fill(entries)), mark(entries)) for cell, entries in held.items()]
    squares = [f'<path class="{kind}" d="{_square(col, row)}"/>' for (row, col), kind, _ in looks]
    letters = []
    if readable:
        letters = [
            f'<text class="{kind}{_size_class(text)}" {_middle(col, row)}>{text}</text>'
            for (row, col), kind, text in looks
        ]
    parts = [
        f'<rect id="ground" width="{UNIT * cols}" height="{UNIT * rows}"/>',
        f'<g id="cells">{"".join(squares)}</g>',
        '<g id="bands"><rect id="across"/><rect id="down"/></g>',
        _lines(ties),
        f'<g id="letters">{"".join(letters)}</g>',
        '<g id="numbers"></g><rect id="cursor"/>',
        _names(ties) if named else "",
    ]

    left = 2 * UNIT if named else 2
    top = (1 + len(blocks(ties.in_shape))) * UNIT if named else 2
    box = (-left, -top, UNIT * cols + left + 2, UNIT * rows + top + 2)
    kinds = []
    if not readable:
        kinds.append("fine")
    if len(held) > MANY:
        kinds.append("many")
    return _svg("matrix", box, size, "".join(parts), " ".join(kinds))


def _lines(ties: TieMap) -> str:
    """Draw thin lines between rows of pixels, thick ones between channels or slices of a volume."""
    rows, cols = ties.shape
    outer = -2 if len(ties.in_shape) > 3 else 1  # what is one slice, or one channel
    drawn = []
    for name, first in (("thin", -1), ("thick", outer)):
        down, right = prod(ties.out_shape[first:]), prod(ties.in_shape[first:])
        across = [f"M0 {UNIT * k}h{UNIT * cols}" for k in range(0, rows + 1, down)]
        along = [f"M{UNIT * k} 0v{UNIT * rows}" for k in range(0, cols + 1, right)]
        drawn.append(f'<path class="{name}" d="{"".join(across + along)}"/>')
    return "".join(drawn)


def _names(ties: TieMap) -> str:
    """Name the pixels on both sides, and above them the rows of the input they belong to."""
    rows, cols = ties.shape
    outputs = [_text(-UNIT, UNIT * k + 10, name) for k, name in enumerate(numbered("o", rows))]
    inputs = [_text(UNIT * k + 10, -10, name) for k, name in enumerate(numbered("i", cols))]
    groups = [  # over their columns, the outer ones higher
        _text(UNIT * (k + 0.5) * width, -30 - UNIT * level, f"{kind} {k % n + 1}")
        for level, (kind, width, n) in enumerate(blocks(ties.in_shape))
        for k in range(cols // width)
    ]
    return f'<g class="names">{"".join((*outputs, *inputs, *groups))}</g>'


def _svg(name: str, box: tuple[float, ...], size: float, inside: str, kind: str = "sheet") -> str:
    """Return an SVG whose cells are `size` pixels wide; the script makes it a thing to point at."""
    width, height = (round(units * size / UNIT, 1) for units in box[2:])
    view = " ".join(f"{units:g}" for units in box)
    return (
        f'<svg id="{name}" class="{kind}" viewBox="{view}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-labelledby="{name}-caption">{inside}</svg>'
    )


def rules(held: dict[tuple[int, int], Held]) -> str:
    """Return the style of the drawings: a class per colour, and one per length of long letters.

    Letters are black or white, whichever stands out more on the colour.
    """
    mixtures = {fill(entries) for entries in held.values()} - set(COLOURS)
    colours = {_colour_class(look): look for look in (*COLOURS, *sorted(mixtures))}
    looks = [
        f".{kind} {{ fill: {look}; }} text.{kind} {{ fill: {ink(look)}; }}"
        for kind, look in colours.items()
    ]
    lengths = {len(mark(entries)) for entries in held.values()}
    sizes = [f".t{n} {{ font-size: {WIDTH / n:.1f}px; }}" for n in sorted(lengths) if n > LONG]
    return "\n".join(looks + sizes) + "\n"


def _colour_class(look: str) -> str:
    """Return the class of a colour: of the palette, or a mixture."""
    return f"c{COLOURS.index(look)}" if look in COLOURS else f"m{look[1:]}"


def _size_class(text: str) -> str:
    """Return the class of the size of a text that is too long for large letters."""
    return f" t{len(text)}" if len(text) > LONG else ""


def _square(x: int, y: int) -> str:
    return f"M{UNIT * x} {UNIT * y}h{UNIT}v{UNIT}h-{UNIT}z"


def _middle(x: int, y: int) -> str:
    return f'x="{UNIT * x + UNIT // 2}" y="{UNIT * y + UNIT // 2}"'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}">{text}</text>'
