"""The command `show`: the matrix of a small layer in letters, in colour in a terminal."""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping

from convdense._util.arguments import complain
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, add_pool, pool_or_layer
from convdense.display.palette import channels, ink
from convdense.structure._tie import tie
from convdense.structure.letter_grid import Grid, Paint

SHOW_LIMIT = 4_096  # cells, and entries: 64 outputs of 64 inputs
# The colours 16 to 231 of xterm are a cube: red, green and blue have one of these levels each.
LEVELS = (0, 95, 135, 175, 215, 255)


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add the options of `show`."""
    add_layer(parser)
    add_pool(parser, ("sum",))
    when = "default: auto, in a terminal unless NO_COLOR is set"
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help=when)
    parser.epilog = "example: convdense show --input 1x4x4 --kernel 3x3 --padding same"
    parser.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the layer, and its matrix in letters."""
    print(in_letters(arguments))
    return HELD  # showing a layer judges nothing


def in_letters(arguments: argparse.Namespace) -> str:
    """Return the layer, and its matrix in letters."""
    layer = pool_or_layer(arguments)
    ties = tie(layer)
    rows, cols = ties.shape
    if max(rows * cols, ties.n_entries) > SHOW_LIMIT:
        got = f"{rows:,} x {cols:,} cells, {ties.n_entries:,} entries"
        needs = f"at most {SHOW_LIMIT:,} of each to be shown in letters"
        do = "look at convdense.plots.density(layer), or show a smaller layer of the same kind"
        raise ValueError(complain("layer", got, needs, do))

    grid = Grid.of(ties)
    text = grid.text()
    in_terminal = sys.stdout is not None and sys.stdout.isatty()
    longest = max(map(len, text.splitlines()))  # before it is painted: escape codes take no room
    width = shutil.get_terminal_size().columns
    if in_terminal and longest > width:
        got = f"lines of {longest} characters"
        needs = f"at most {width}, the width of this terminal"
        raise ValueError(complain("layer", got, needs, "widen it, or add | less -S"))

    in_colour = arguments.color == "always"
    if arguments.color == "auto":
        in_colour = coloured(os.environ, in_terminal)
    if in_colour:
        text = grid.text(painter(os.environ))
    return f"{layer!r}: {layer.in_shape} -> {layer.out_shape}\n{text}"


def coloured(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Tell whether to print in colour where the user does not say.

    As https://no-color.org asks, and as Python's tracebacks do.

    Examples
    --------
    >>> coloured({"TERM": "xterm"}, is_terminal=True)
    True
    >>> coloured({"TERM": "xterm", "NO_COLOR": "1"}, is_terminal=True)
    False
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    # old Windows consoles have no TERM
    return is_terminal and environment.get("TERM", "dumb") != "dumb"


def painter(environment: Mapping[str, str]) -> Paint:
    r"""Return a function that paints a background under a text, by escape codes.

    In all colours where COLORTERM says that the terminal has them, else in the 256 of xterm.

    Examples
    --------
    >>> painter({"COLORTERM": "truecolor"})("a", "#CC6677"), painter({})("a", "#CC6677")
    ('\x1b[48;2;204;102;119;38;5;16ma\x1b[0m', '\x1b[48;5;168;38;5;16ma\x1b[0m')
    """
    exact = environment.get("COLORTERM") in ("truecolor", "24bit")

    def painted(text: str, background: str) -> str:
        red, green, blue = channels(background)
        code = f"2;{red};{green};{blue}"
        if not exact:
            # the nearest of the cube, by its number: 36 r + 6 g + b from 16 on
            r, g, b = map(_nearest_level, (red, green, blue))
            code = f"5;{16 + 36 * r + 6 * g + b}"
            background = f"#{LEVELS[r]:02X}{LEVELS[g]:02X}{LEVELS[b]:02X}"
        black_or_white = 16 if ink(background) == "#000000" else 231  # the ends of the cube
        # 48 sets the background, 38 the letters: to "2;red;green;blue" or to "5;number"; 0 ends it
        return f"\x1b[48;{code};38;5;{black_or_white}m{text}\x1b[0m"

    return painted


def _nearest_level(part: int) -> int:
    """Return which of the levels is nearest to a part of a colour, 0 to 255."""
    return min(range(len(LEVELS)), key=lambda n: abs(LEVELS[n] - part))
