"""The command `explore`: a page on which the edges, pixels and weights can be pointed at."""

import argparse
from pathlib import Path

from convdense._util.arguments import Array
from convdense._util.files import read_array
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, add_weights_layout, convolution, weights_of
from convdense.geometry import Geometry
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
    add_weights_layout(parser)
    parser.add_argument(
        "--x", type=Path, metavar="X.npy", help="one input sample; default: small integers"
    )
    parser.add_argument(
        "--dy", type=Path, metavar="DY.npy", help="its upstream gradient; default: small integers"
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page; default: the layer")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.epilog = "example: convdense explore --input 1x5x5 --kernel 3x3 -o page.html"
    parser.set_defaults(run=run_explore)


def run_explore(arguments: argparse.Namespace) -> int:
    """Write the page, open it if asked, and say where it lies."""
    from convdense.explorer import explore  # noqa: PLC0415  (only here)

    layer = convolution(arguments)
    w = _array(arguments.weights, "weights")
    x, dy = _array(arguments.x, "x"), _array(arguments.dy, "dy")
    shown: Geometry | TiedDense = layer
    if w is not None:
        shown = TiedDense(layer, weights_of(layer, w, arguments.weights_layout))
    page = explore(shown, x, dy, title=arguments.title)
    write = page.open if arguments.open else page.save
    saved = write(arguments.output)
    print(f"{saved}: {len(page.html.encode()):,} bytes; open it in a browser")
    return HELD


def _array(path: Path | None, name: str) -> Array | None:
    return None if path is None else read_array(path, name)
