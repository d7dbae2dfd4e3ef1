"""The command `explore`: a page on which every edge, pixel and weight of a layer can be pointed at."""

import argparse
from pathlib import Path

from convdense._util.files import read_array
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, convolution
from convdense.layers.tied_dense import TiedDense


def add_explore(parser: argparse.ArgumentParser) -> None:
    """Add the options of `explore`."""
    add_layer(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PAGE.html", help="the page"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="W.npy",
        help="values of the weights, an array of their shape",
    )
    parser.add_argument(
        "--x", type=Path, metavar="X.npy", help="one input sample; default: small integers"
    )
    parser.add_argument(
        "--dy", type=Path, metavar="DY.npy", help="its upstream gradient; default: small integers"
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page; default: the layer")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.set_defaults(run=run_explore)


def run_explore(arguments: argparse.Namespace) -> int:
    """Write the page, open it if asked, and say where it lies."""
    from convdense.explorer import explore  # noqa: PLC0415  (only here)

    layer = convolution(arguments)
    w, x, dy = (
        None if path is None else read_array(path, name)
        for name, path in (("weights", arguments.weights), ("x", arguments.x), ("dy", arguments.dy))
    )
    page = explore(layer if w is None else TiedDense(layer, w), x, dy, title=arguments.title)
    saved = (page.open if arguments.open else page.save)(arguments.output)
    print(f"{saved}: {len(page.html.encode()):,} bytes; open it in a browser")
    return HELD
