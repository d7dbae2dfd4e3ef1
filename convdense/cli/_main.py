"""The command line: its commands. Results on stdout, notes on stderr, exit status 0, 1 or 2."""

import argparse
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from convdense._util.arguments import complain, shaped
from convdense._util.files import check_output, read_array, save_matrix
from convdense._util.version import __version__
from convdense.claims.claims import CLAIMS, Verdict, judge_claims
from convdense.cli.certify import add_certify, certified
from convdense.cli.demo import claims_table, demo
from convdense.cli.explore import add_explore, write_page
from convdense.cli.layer_options import LAYER_DEFAULTS, add_layer, convolution
from convdense.cli.show import add_show, in_letters
from convdense.structure._equations import equations
from convdense.structure._tie import tie

HELD, FAILED, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 everything held, 1 something did not, 2 unusable arguments."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write
    arguments = _parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        if sys.stdout is not None:  # closed by the shell
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has left, as `| head` does: nothing more to say, and no traceback at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("convdense: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ValueError, TypeError, OSError, MemoryError, OverflowError) as error:
        print(f"convdense: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convdense", description="Convolution layers as dense layers.")
    parser.add_argument("--version", action="version", version=f"convdense {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("demo", help="settle the question, run a photograph, draw a small layer")
    show.add_argument(
        "-o", "--output", type=Path, default=Path("convdense-demo"), help="folder for pictures; default: convdense-demo"
    )
    show.set_defaults(run=_demo)

    explain = commands.add_parser("explain", help="write a small layer out as a dense layer")
    add_layer(explain)
    explain.add_argument("--no-bias", action="store_true", help="leave the bias out of the equations")
    form = explain.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--latex", action="store_true", help="print the equations alone, in LaTeX")
    explain.set_defaults(run=_explain)

    letters = commands.add_parser("show", help="print the matrix of a small layer in letters")
    add_show(letters)
    letters.set_defaults(run=_show)

    page = commands.add_parser("explore", help="write a page on which a small layer can be pointed at")
    add_explore(page)
    page.set_defaults(run=_explore)

    store = commands.add_parser("matrix", help="write the sparse matrix of a layer to a file")
    add_layer(store)
    store.add_argument("--weights", type=Path, required=True, metavar="W.npy", help="an array of the weight shape")
    store.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="W.npz or W.mtx")
    store.add_argument("--max-bytes", type=int, metavar="N", help="refuse a larger matrix; default: physical memory")
    store.set_defaults(run=_matrix)

    prove = commands.add_parser("certify", help="prove that a layer's dense form, or your code, is the convolution")
    add_certify(prove)
    prove.set_defaults(run=_certify)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    return HELD if demo(arguments.output) else FAILED


def _explain(arguments: argparse.Namespace) -> int:
    layer = convolution(arguments)
    ties = tie(layer)
    rows, cols = ties.shape
    text = equations(layer, bias=None if arguments.no_bias else "b", format="latex" if arguments.latex else "text")
    if arguments.latex:
        print(text)
        return HELD
    zero = rows * cols - ties.mask().nnz
    if arguments.json:
        facts = {"outputs": rows, "inputs": cols, "weights": ties.n_weights, "entries": ties.n_entries, "zeros": zero}
        print(json.dumps({"layer": layer.to_dict(), **facts, "equations": text.splitlines()}))
        return HELD
    print(f"{layer!r}: {layer.in_shape} -> {layer.out_shape}")
    print(
        f"as a dense layer: {rows} x {cols} = {rows * cols} edges, {zero} held at zero, "
        f"{ties.n_weights} weights in {ties.n_entries} places\n"
    )
    print(text)
    return HELD


def _show(arguments: argparse.Namespace) -> int:
    print(in_letters(arguments))
    return HELD


def _explore(arguments: argparse.Namespace) -> int:
    write_page(arguments)
    return HELD


def _matrix(arguments: argparse.Namespace) -> int:
    check_output(arguments.output)
    layer, weights = convolution(arguments), read_array(arguments.weights)
    matrix = tie(layer).matrix(shaped(weights, "--weights", layer.weight_shape, layer), max_bytes=arguments.max_bytes)
    with _unwinding():
        save_matrix(arguments.output, matrix)
    print(f"{arguments.output}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} entries, {matrix.dtype}")
    return HELD


@contextmanager
def _unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program like an exception, so that what is half written is removed."""
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda n, _: sys.exit(128 + n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _certify(arguments: argparse.Namespace) -> int:
    chosen = [name for name in ("claims", "rerun", "input") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise ValueError(complain("certify", " and ".join(f"--{name}" for name in chosen), "one of them"))
    if arguments.all and not arguments.claims:
        raise ValueError(complain("certify", "--all", "--claims beside --all"))
    options = {n: getattr(arguments, n) for n in ("dtype", "batch", "error", "method", "seed") if n in arguments}
    unread = [*options, *(n for n, default in LAYER_DEFAULTS.items() if getattr(arguments, n) != default)]
    if arguments.claims:
        unread += [name for name in ("implementation", "layout") if getattr(arguments, name)]
    if unread and (arguments.claims or arguments.rerun):
        other = unread[0].replace("_", "-")
        raise ValueError(complain("certify", f"--{chosen[0]} and --{other}", f"--input beside --{other}"))
    if arguments.claims:
        return _claims(arguments.json, arguments.all)
    certificate, mistakes = certified(arguments, options)
    if arguments.json:
        print(json.dumps(certificate.to_dict() | ({"diagnosis": mistakes.splitlines()} if mistakes else {})))
    else:
        print(f"{certificate}\n\n{mistakes}" if mistakes else certificate)
    return HELD if certificate else FAILED


def _claims(as_json: bool, swept: bool) -> int:
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    from convdense.sweeps._sweep import sweep  # noqa: PLC0415  (it imports multiprocessing)

    bar = tqdm(CLAIMS, desc="claims", file=sys.stderr, disable=None, leave=False)
    verdicts = list(judge_claims(bar))
    if not as_json:
        print(claims_table(verdicts), flush=True)
    small = sweep() if swept else None
    plain = [_plain(v) for v in verdicts]
    if as_json:
        print(json.dumps(plain if small is None else {"claims": plain, "sweep": small.to_dict()}))
    elif small is not None:
        print(f"\n{small}")
    return HELD if all(v.held for v in verdicts) and (small is None or small) else FAILED


def _plain(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    evidence = [
        {
            "layer": repr(e.layer),
            "exact": e.exact,
            "error": e.error,
            "trials": e.trials,
            **{n: v if isfinite(v) else repr(v) for n, v in (("difference", e.difference), ("bound", e.bound))},
        }
        for e in verdict.evidence
    ]
    facts = {"id": claim.id, "sentence": claim.sentence, "compared": claim.compared, "held": verdict.held}
    return {**facts, "exact": verdict.exact, "sure": verdict.sure, "layers": evidence}
