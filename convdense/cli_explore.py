"""The command `explore`: a page on which every edge, pixel and weight of a layer can be pointed at."""

import argparse
from pathlib import Path

from convdense.cli_layer import add_layer, convolution


def add_explore(parser: argparse.ArgumentParser) -> None:
    """Add the options of `explore`."""
    add_layer(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE.html", help="the page")
    parser.add_argument("--title", metavar="TEXT", help="heading of the page; default: the layer")
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def write_page(arguments: argparse.Namespace) -> None:
    """Write the page, open it if asked, and say where it lies."""
    from convdense.explorer import explore  # noqa: PLC0415  (only here)

    page = explore(convolution(arguments), title=arguments.title)
    saved = (page.open if arguments.open else page.save)(arguments.output)
    print(f"{saved}: {len(page.html.encode()):,} bytes; open it in a browser")
