"""The command `explain`: a small layer written out as a dense layer, equation by equation."""

import argparse
import json

from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, convolution
from convdense.structure._equations import equations
from convdense.structure._tie import tie


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the options of `explain`."""
    add_layer(parser)
    parser.add_argument(
        "--no-bias", action="store_true", help="leave the bias out of the equations"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--latex", action="store_true", help="print the equations alone, in LaTeX")
    parser.epilog = "example: convdense explain --input 1x3 --kernel 2 --no-bias"
    parser.set_defaults(run=run_explain)


def run_explain(arguments: argparse.Namespace) -> int:
    """Print the shapes and the equations of a layer."""
    layer = convolution(arguments)
    bias = None if arguments.no_bias else "b"
    text = equations(layer, bias=bias, format="latex" if arguments.latex else "text")
    if arguments.latex:
        print(text)
        return HELD

    ties = tie(layer)
    rows, cols = ties.shape
    zero = rows * cols - ties.mask().nnz
    if arguments.json:
        facts = {
            "outputs": rows,
            "inputs": cols,
            "weights": ties.n_weights,
            "entries": ties.n_entries,
            "zeros": zero,
        }
        print(json.dumps({"layer": layer.to_dict(), **facts, "equations": text.splitlines()}))
        return HELD

    print(f"{layer!r}: {layer.in_shape} -> {layer.out_shape}")
    print(
        f"as a dense layer: {rows} x {cols} = {rows * cols} edges, {zero} held at zero, "
        f"{ties.n_weights} weights in {ties.n_entries} places\n"
    )
    print(text)
    return HELD
