"""The command line: its commands. Results on stdout, notes on stderr, exit status 0, 1 or 2."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

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

    arguments = _parser().parse_args(argv)
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
        prog="convdense", description="Convolution layers as dense layers."
    )
    parser.add_argument("--version", action="version", version=f"convdense {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (does, add_options) in COMMANDS.items():
        add_options(commands.add_parser(name, help=does))
    return parser
