"""The command line: its commands. Results on stdout, notes on stderr, exit status 0, 1 or 2."""

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from convdense._util.version import __version__
from convdense.cli.certify import add_certify
from convdense.cli.demo import add_demo
from convdense.cli.exit_status import FAILED, UNUSABLE
from convdense.cli.explain import add_explain
from convdense.cli.explore import add_explore
from convdense.cli.matrix import add_matrix
from convdense.cli.show import add_show

# name -> (what it does, in `convdense --help`; what adds its options and what runs it)
COMMANDS = {
    "demo": ("settle the question, run a photograph, draw a small layer", add_demo),
    "explain": ("write a small layer out as a dense layer", add_explain),
    "show": ("print the matrix of a small layer in letters", add_show),
    "explore": ("write a page on which a small layer can be pointed at", add_explore),
    "matrix": ("write the sparse matrix of a layer to a file", add_matrix),
    "certify": ("prove that a layer's dense form, or your code, is the convolution", add_certify),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: everything held; 1: something did not; 2: the arguments cannot be used.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write

    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        _parser().print_help(sys.stderr)
        return UNUSABLE
    arguments, unknown = _parser().parse_known_args(words)
    if unknown:
        _refuse_unknown(next(word for word in words if word in COMMANDS), unknown)
    try:
        status = int(arguments.run(arguments))
        if sys.stdout is not None:  # closed by the shell
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # the reader has left, as `| head` does: nothing more to say, and no traceback at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("convdense: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ValueError, TypeError, OSError, MemoryError, OverflowError) as error:
        print(f"convdense: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convdense",
        description="Convolution layers as dense layers.",
        epilog="example: convdense show --input 1x3x3 --kernel 2x2",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"convdense {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (does, add_options) in COMMANDS.items():
        # allow_abbrev would read --output as --output-padding
        command = commands.add_parser(name, help=does, allow_abbrev=False)
        command.formatter_class = argparse.RawDescriptionHelpFormatter  # an example stays a line
        command._negative_number_matcher = re.compile(r"-\.?\d")  # -1:0 is a value too
        add_options(command)
    return parser


def _refuse_unknown(name: str, unknown: list[str]) -> NoReturn:
    """End with the options of a command that are most like the first that it does not know."""
    parser = argparse.ArgumentParser(prog=f"convdense {name}")
    _, add_options = COMMANDS[name]
    add_options(parser)
    known = list(parser._option_string_actions)
    typed = unknown[0].partition("=")[0]
    near = [word for word in known if word.startswith(typed)] or get_close_matches(typed, known, 1)
    hint = f"; did you mean {' or '.join(near)}" if near else ""
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
