"""The command `show`: the matrix of a small layer in letters, in colour in a terminal."""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping

from convdense._util.arguments import complain
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, convolution
from convdense.display.palette import channels, ink
from convdense.structure._tie import tie
from convdense.structure.letter_grid import Grid, Paint

SHOW_LIMIT = 4_096  # cells, and entries: 64 outputs of 64 inputs
# red, green and blue of the colours 16 to 231, in xterm and what followed it
STEPS = (0, 95, 135, 175, 215, 255)


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add the options of `show`."""
    add_layer(parser)
    when = "default: auto, in a terminal unless NO_COLOR is set"
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help=when)
    parser.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the layer, and its matrix in letters."""
    print(in_letters(arguments))
    return HELD


def in_letters(arguments: argparse.Namespace) -> str:
    """Return the layer, and its matrix in letters."""
    layer = convolution(arguments)
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
    longest, width = max(map(len, text.splitlines())), shutil.get_terminal_size().columns
    if in_terminal and longest > width:
        got, needs = (
            f"lines of {longest} characters",
            f"at most {width}, the width of this terminal",
        )
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
    r"""Return a function that paints a text.

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
            # the nearest of a cube of 6 x 6 x 6 colours, which begins at number 16
            r, g, b = _nearest_step(red), _nearest_step(green), _nearest_step(blue)
            code = f"5;{16 + 36 * r + 6 * g + b}"
            background = f"#{STEPS[r]:02X}{STEPS[g]:02X}{STEPS[b]:02X}"
        letters = 16 if ink(background) == "#000000" else 231  # the black and the white of the cube
        return f"\x1b[48;{code};38;5;{letters}m{text}\x1b[0m"

    return painted


def _nearest_step(part: int) -> int:
    return min(range(len(STEPS)), key=lambda n: abs(STEPS[n] - part))
