"""The command `matrix`: the sparse matrix of a layer, written to a file."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convdense._util.arguments import shaped
from convdense._util.files import check_output, read_array, save_matrix
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import add_layer, convolution
from convdense.structure._tie import tie


def add_matrix(parser: argparse.ArgumentParser) -> None:
    """Add the options of `matrix`."""
    add_layer(parser)
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="W.npy", help="an array of the weight shape"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="W.npz or W.mtx"
    )
    parser.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help="refuse a larger matrix; default: physical memory",
    )
    parser.set_defaults(run=run_matrix)


def run_matrix(arguments: argparse.Namespace) -> int:
    """Write the matrix to a file, whole or not at all, and say what it holds."""
    check_output(arguments.output)
    layer = convolution(arguments)
    weights = shaped(read_array(arguments.weights), "--weights", layer.weight_shape, layer)
    matrix = tie(layer).matrix(weights, max_bytes=arguments.max_bytes)
    with _removing_what_is_half_written():
        save_matrix(arguments.output, matrix)

    rows, cols = matrix.shape
    print(f"{arguments.output}: {rows:,} x {cols:,}, {matrix.nnz:,} entries, {matrix.dtype}")
    return HELD


@contextmanager
def _removing_what_is_half_written() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program like an exception, so that no half file stays."""
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return

    # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda n, _: sys.exit(128 + n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
