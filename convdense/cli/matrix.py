"""The command `matrix`: the sparse matrix of a layer, written to a file."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scipy.sparse import csr_array

from convdense._util.arguments import complain
from convdense._util.files import check_output, read_array, save_matrix
from convdense.cli.exit_status import HELD
from convdense.cli.layer_options import (
    add_layer,
    add_pool,
    add_weights_layout,
    pool_or_layer,
    weights_of,
)
from convdense.geometry import Geometry, Pool
from convdense.layers.pooling import dense_pool
from convdense.structure._tie import tie


def add_matrix(parser: argparse.ArgumentParser) -> None:
    """Add the options of `matrix`."""
    add_layer(parser)
    add_pool(parser, ("avg", "sum"))
    weights = "an array of the weight shape; a pool has none"
    parser.add_argument("--weights", type=Path, metavar="W.npy", help=weights)
    add_weights_layout(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="W.npz or W.mtx"
    )
    parser.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help="refuse a larger matrix; default: physical memory",
    )
    parser.epilog = "example: convdense matrix --input 3x9x8 --kernel 3x3 --weights w.npy -o W.npz"
    parser.set_defaults(run=run_matrix)


def run_matrix(arguments: argparse.Namespace) -> int:
    """Write the matrix to a file, whole or not at all, and say what it holds."""
    check_output(arguments.output)
    layer = pool_or_layer(arguments)
    matrix = _matrix(layer, arguments)
    with _removing_what_is_half_written():
        save_matrix(arguments.output, matrix)

    rows, cols = matrix.shape
    print(f"{arguments.output}: {rows:,} x {cols:,}, {matrix.nnz:,} entries, {matrix.dtype}")
    return HELD


def _matrix(layer: Geometry | Pool, arguments: argparse.Namespace) -> csr_array:
    """Return the matrix of a pool, or of a convolution with the weights of a file."""
    if isinstance(layer, Pool):
        if arguments.weights is not None:
            raise ValueError(complain("--weights", arguments.weights, "none with --pool"))
        return dense_pool(layer).matrix()
    if arguments.weights is None:
        needs = f"a file of {layer.weight_shape}, as numpy.save writes it"
        raise ValueError(complain("--weights", "nothing", needs))
    weights = weights_of(layer, read_array(arguments.weights), arguments.weights_layout)
    return tie(layer).matrix(weights, max_bytes=arguments.max_bytes)


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
