"""The command line: demo, explain, matrix, certify. Results on stdout, notes on stderr, exit status 0, 1 or 2."""

import argparse
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

from convdense import __version__
from convdense.arguments import complain, shaped
from convdense.checks import Certificate, NetworkCertificate, certify
from convdense.checks.claims import CLAIMS, Verdict, judge_claims
from convdense.demo import claims_table, demo
from convdense.equations import equations
from convdense.files import check_output, read_weights, save_matrix
from convdense.geometry import Conv, ConvTranspose, Geometry, LocallyConnected
from convdense.ties import tie

HELD, FAILED, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 everything held, 1 something did not, 2 unusable arguments."""
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
    show.add_argument("-o", "--output", type=Path, default=Path("convdense-demo"), help="folder for the pictures")
    show.set_defaults(run=_demo)

    explain = commands.add_parser("explain", help="write a small layer out as a dense layer")
    _add_layer(explain)
    explain.add_argument("--no-bias", action="store_true", help="leave the bias out of the equations")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)

    store = commands.add_parser("matrix", help="write the sparse matrix of a layer to a file")
    _add_layer(store)
    store.add_argument("--weights", type=Path, required=True, metavar="W.npy", help="an array of the weight shape")
    store.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="W.npz or W.mtx")
    store.add_argument("--max-bytes", type=int, metavar="N", help="refuse a larger matrix; default: physical memory")
    store.set_defaults(run=_matrix)

    prove = commands.add_parser("certify", help="prove that a layer's dense form is the direct convolution")
    _add_layer(prove, required=False)
    prove.add_argument("--claims", action="store_true", help="judge the table of claims instead of one layer")
    prove.add_argument("--rerun", type=Path, metavar="FILE", help="repeat a certificate that --json wrote")
    prove.add_argument("--json", action="store_true", help="print JSON")
    how = prove.add_argument_group("how sure", "with --input", argument_default=argparse.SUPPRESS)
    how.add_argument("--dtype", choices=("float64", "float32"), help="default: float64")
    how.add_argument("--batch", type=int, metavar="N", help="default: 2")
    how.add_argument("--error", type=float, metavar="P", help="error probability, at most; default: 2**-64")
    how.add_argument("--method", choices=("auto", "random", "exhaustive"), help="default: auto")
    how.add_argument("--seed", type=int, metavar="N", help="default: fresh entropy, recorded")
    prove.set_defaults(run=_certify)
    return parser


_LAYER_DEFAULTS = {
    "kernel": None,
    "out_channels": 1,
    "stride": 1,
    "dilation": 1,
    "padding": 0,
    "padding_mode": "zeros",
    "groups": 1,
    "flip": False,
    "output_padding": 0,
    "transposed": False,
    "locally_connected": False,
}


def _add_layer(parser: argparse.ArgumentParser, required: bool = True) -> None:
    group = parser.add_argument_group("layer", "one number for all axes, or one per axis joined by x")
    group.add_argument("--input", type=_sizes, required=required, metavar="CxHxW", help="one sample, such as 3x32x32")
    group.add_argument("--kernel", type=_sizes, required=required, metavar="KxK")
    group.add_argument("--out-channels", type=int, default=1, metavar="N")
    group.add_argument("--stride", type=_sizes, default=1, metavar="S")
    group.add_argument("--dilation", type=_sizes, default=1, metavar="D")
    group.add_argument(
        "--padding",
        type=_padding,
        default=0,
        metavar="P",
        help="1, 1x2, 0:1x2:3 (begin:end), valid, same, same_lower, full",
    )
    group.add_argument("--padding-mode", default="zeros", metavar="MODE", help="zeros, circular, reflect, ...")
    group.add_argument("--groups", type=int, default=1, metavar="G")
    group.add_argument("--flip", action="store_true", help="textbook convolution: the kernel reversed")
    group.add_argument("--output-padding", type=_sizes, default=0, metavar="P", help="with --transposed")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--transposed", action="store_true", help="a transposed convolution")
    kind.add_argument("--locally-connected", action="store_true", help="the same mask without ties")


def _sizes(text: str) -> int | tuple[int, ...]:
    """Read 3 or 3x32x32."""
    try:
        numbers = tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, or numbers joined by x such as 3x32x32") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _padding(text: str) -> Any:
    """Read 1, 1x2, 0:1x2:3, or a word."""
    if not text[:1].isdigit():
        return text
    try:
        parts = [tuple(int(n) for n in part.split(":")) for part in text.split("x")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1, 1x2, 0:1x2:3 (begin:end) or same") from None
    if len(parts) == 1 and len(parts[0]) == 1:
        return parts[0][0]
    return tuple(part[0] if len(part) == 1 else part for part in parts)


def _layer(arguments: argparse.Namespace) -> Geometry:
    for name, example in (("input", "3x32x32"), ("kernel", "3x3")):
        if getattr(arguments, name) is None:
            raise ValueError(complain(f"--{name}", "nothing", f"a size, such as --{name} {example}", "or use --claims"))
    sample = arguments.input
    options = {name: getattr(arguments, name) for name in ("kernel", "stride", "padding", "dilation", "groups", "flip")}
    shape = (sample,) if isinstance(sample, int) else sample
    if arguments.transposed:
        if arguments.padding_mode != "zeros":
            raise ValueError(complain("--padding-mode", arguments.padding_mode, "zeros with --transposed"))
        return ConvTranspose(shape, arguments.out_channels, output_padding=arguments.output_padding, **options)
    if arguments.output_padding != 0:
        raise ValueError(complain("--output-padding", arguments.output_padding, "--transposed beside it"))
    kind = LocallyConnected if arguments.locally_connected else Conv
    return kind(shape, arguments.out_channels, padding_mode=arguments.padding_mode, **options)


def _demo(arguments: argparse.Namespace) -> int:
    return HELD if demo(arguments.output) else FAILED


def _explain(arguments: argparse.Namespace) -> int:
    layer = _layer(arguments)
    ties = tie(layer)
    rows, cols = ties.shape
    text = equations(layer, bias=None if arguments.no_bias else "b")
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


def _matrix(arguments: argparse.Namespace) -> int:
    check_output(arguments.output)
    layer, weights = _layer(arguments), read_weights(arguments.weights)
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
    options = {n: getattr(arguments, n) for n in ("dtype", "batch", "error", "method", "seed") if n in arguments}
    unread = [*options, *(n for n, default in _LAYER_DEFAULTS.items() if getattr(arguments, n) != default)]
    if unread and (arguments.claims or arguments.rerun):
        other = unread[0].replace("_", "-")
        raise ValueError(complain("certify", f"--{chosen[0]} and --{other}", f"--input beside --{other}"))
    if arguments.claims:
        return _claims(arguments.json)
    certificate = _rerun(arguments.rerun) if arguments.rerun is not None else certify(_layer(arguments), **options)
    print(json.dumps(certificate.to_dict()) if arguments.json else certificate)
    return HELD if certificate else FAILED


_KINDS: dict[Any, Any] = {"certificate": Certificate, "network certificate": NetworkCertificate}


def _rerun(path: Path) -> Certificate | NetworkCertificate:
    """Read a certificate and repeat it; whatever else the file holds is refused in one line."""
    needs = "a certificate as `convdense certify --json` writes it"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        recorded = _KINDS.get(data.get("kind"), Certificate).from_dict(data)
        again: Certificate | NetworkCertificate = recorded.rerun()
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(complain("--rerun", f"{path} ({type(error).__name__}: {error})", needs)) from None
    if data.get("kind") not in _KINDS or recorded.compared != again.compared:
        raise ValueError(complain("--rerun", f"{path} of kind {data.get('kind')!r}, {recorded.compared}", needs))
    if recorded.findings != again.findings or data.get("holds") != bool(again):
        print("convdense: note: the file records another result than its own trials give now", file=sys.stderr)
    return again


def _claims(as_json: bool) -> int:
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    bar = tqdm(CLAIMS, desc="claims", file=sys.stderr, disable=None, leave=False)
    verdicts = list(judge_claims(bar))
    if as_json:
        print(json.dumps([_plain(v) for v in verdicts]))
    else:
        print(claims_table(verdicts))
    return HELD if all(v.held for v in verdicts) else FAILED


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
