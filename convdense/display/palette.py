"""The colours of weights, told apart with every common colour blindness.

Letters stand beside them always.
"""

from collections.abc import Sequence

# Paul Tol's "muted", https://sronpersonalpages.nl/~pault
# beyond nine, letters alone tell weights apart
COLOURS = (
    "#CC6677",
    "#332288",
    "#DDCC77",
    "#117733",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)
MASKED = "#DDDDDD"  # its "pale grey", for what is not there


def colour(k: int) -> str:
    """Return the colour of weight k, counted from 0.

    Examples
    --------
    >>> colour(0), colour(9) == colour(0)
    ('#CC6677', True)
    """
    return COLOURS[k % len(COLOURS)]


def mixed(colours: Sequence[str]) -> str:
    """Return the mean of colours: of a cell that holds several weights.

    Examples
    --------
    >>> mixed(["#FF0000", "#0000FF"]), mixed(["#CC6677"])
    ('#800080', '#CC6677')
    """
    parts = zip(*map(channels, colours), strict=True)
    return "#" + "".join(f"{int(sum(part) / len(part) + 0.5):02X}" for part in parts)


def channels(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of #RRGGBB, from 0 to 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def luminance(colour: str) -> float:
    """Return the relative luminance of #RRGGBB, from 0 to 1 (WCAG 2.2)."""
    shares = [c / 255 for c in channels(colour)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2); text needs 4.5.

    Examples
    --------
    >>> round(contrast("#000000", "#FFFFFF"))
    21
    """
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def ink(background: str) -> str:
    """Return black or white, whichever stands out more on a colour.

    On any colour the better of the two has a contrast of at least 4.5.

    Examples
    --------
    >>> ink("#DDCC77"), ink("#332288")
    ('#000000', '#FFFFFF')
    """
    return max(("#000000", "#FFFFFF"), key=lambda text: contrast(text, background))
