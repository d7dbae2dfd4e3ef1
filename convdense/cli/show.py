"""The command `show`: the matrix of a small layer in letters, in colour where the terminal has it."""

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
STEPS = (
    0,
    95,
    135,
    175,
    215,
    255,
)  # red, green and blue of the colours 16 to 231, in xterm and what followed it


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
    ties, in_terminal = tie(layer), sys.stdout is not None and sys.stdout.isatty()
    rows, cols = ties.shape
    if max(rows * cols, ties.n_entries) > SHOW_LIMIT:
        got = f"{rows:,} x {cols:,} cells, {ties.n_entries:,} entries"
        do = "look at convdense.plots.density(layer), or show a smaller layer of the same kind"
        raise ValueError(
            complain("layer", got, f"at most {SHOW_LIMIT:,} of each to be shown in letters", do)
        )
    grid = Grid.of(ties)
    needed, width = max(map(len, grid.text().splitlines())), shutil.get_terminal_size().columns
    if in_terminal and needed > width:
        needs = f"at most {width}, the width of this terminal"
        raise ValueError(
            complain("layer", f"lines of {needed} characters", needs, "widen it, or add | less -S")
        )
    wanted = arguments.color == "always" or (
        arguments.color == "auto" and coloured(os.environ, in_terminal)
    )
    text = grid.text(painter(os.environ)) if wanted else grid.text()
    return f"{layer!r}: {layer.in_shape} -> {layer.out_shape}\n{text}"


def coloured(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Tell whether to print in colour where it is not said: what https://no-color.org and Python's
    tracebacks do.

    Examples
    --------
    >>> coloured({"TERM": "xterm"}, is_terminal=True), coloured({"TERM": "xterm", "NO_COLOR": "1"}, is_terminal=True)
    (True, False)
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return (
        is_terminal and environment.get("TERM", "dumb") != "dumb"
    )  # old Windows consoles have no TERM


def painter(environment: Mapping[str, str]) -> Paint:
    r"""Return a function that paints a text: in all colours where COLORTERM says so, else in the
    256 of xterm.

    Examples
    --------
    >>> painter({"COLORTERM": "truecolor"})("a", "#CC6677"), painter({})("a", "#CC6677")
    ('\x1b[48;2;204;102;119;38;5;16ma\x1b[0m', '\x1b[48;5;168;38;5;16ma\x1b[0m')
    """
    exact = environment.get("COLORTERM") in ("truecolor", "24bit")

    def painted(text: str, background: str) -> str:
        parts = channels(background)
        code = "2;{};{};{}".format(*parts)
        if not exact:
            red, green, blue = (min(range(6), key=lambda n: abs(STEPS[n] - part)) for part in parts)
            code = f"5;{16 + 36 * red + 6 * green + blue}"
            background = f"#{STEPS[red]:02X}{STEPS[green]:02X}{STEPS[blue]:02X}"
        return f"\x1b[48;{code};38;5;{16 if ink(background) == '#000000' else 231}m{text}\x1b[0m"

    return painted
