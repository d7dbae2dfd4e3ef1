"""The certify command: a layer, the user's implementation of it, or a certificate read from a file and run again."""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from convdense._util.arguments import complain
from convdense._util.float_formats import FORMATS
from convdense.certificates import READERS, Certificate, NetworkCertificate, certify
from convdense.cli.claims import run_claims
from convdense.cli.exit_status import FAILED, HELD
from convdense.cli.import_object import implementation, users_code
from convdense.cli.layer_options import add_layer, add_pool, layer_defaults, pool_or_layer
from convdense.implementations.evaluators import DENSE, DENSE_NETWORK

AnyCertificate = Certificate | NetworkCertificate


def add_certify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `certify`: a layer, the user's implementation of it, other things to judge, and how sure."""
    add_layer(parser, required=False)
    add_pool(parser)
    own = parser.add_argument_group("your own code")
    text = "an object with forward and backward, two functions, or a class or function of the layer that makes one"
    own.add_argument("--implementation", metavar="MODULE:OBJECT", help=f"judge this: {text}")
    own.add_argument(
        "--layout", choices=("NCHW", "NHWC"), help="NHWC: hand x, y, dx and dy over channels last"
    )
    parser.add_argument(
        "--claims", action="store_true", help="judge the table of claims instead of one layer"
    )
    every = "with --claims: then every geometry of a small scope, minutes"
    parser.add_argument("--all", action="store_true", help=every)
    parser.add_argument(
        "--rerun", type=Path, metavar="FILE", help="repeat a certificate that --json wrote"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    how = parser.add_argument_group("how sure", "with --input", argument_default=argparse.SUPPRESS)
    how.add_argument(
        "--dtype", choices=tuple(FORMATS), help="default: float64; halves with --implementation"
    )
    how.add_argument("--batch", type=int, metavar="N", help="default: 2")
    how.add_argument(
        "--error", type=float, metavar="P", help="error probability, at most; default: 2**-64"
    )
    how.add_argument("--method", choices=("auto", "random", "exhaustive"), help="default: auto")
    how.add_argument("--seed", type=int, metavar="N", help="default: fresh entropy, recorded")
    parser.set_defaults(run=run_certify)


def run_certify(arguments: argparse.Namespace) -> int:
    """Print the certificate that is asked for, or the table of claims, and the mistakes of an implementation."""
    chosen = [name for name in ("claims", "rerun", "input") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise ValueError(
            complain("certify", " and ".join(f"--{name}" for name in chosen), "one of them")
        )
    if arguments.all and not arguments.claims:
        raise ValueError(complain("certify", "--all", "--claims beside --all"))
    options = {
        n: getattr(arguments, n)
        for n in ("dtype", "batch", "error", "method", "seed")
        if n in arguments
    }
    unread = [
        *options,
        *(n for n, default in layer_defaults().items() if getattr(arguments, n) != default),
    ]
    if arguments.claims:
        unread += [name for name in ("implementation", "layout") if getattr(arguments, name)]
    if unread and (arguments.claims or arguments.rerun):
        other = unread[0].replace("_", "-")
        raise ValueError(
            complain("certify", f"--{chosen[0]} and --{other}", f"--input beside --{other}")
        )
    if arguments.claims:
        return run_claims(arguments.json, arguments.all)
    certificate, mistakes = _certified(arguments, options)
    if arguments.json:
        print(
            json.dumps(
                certificate.to_dict() | ({"diagnosis": mistakes.splitlines()} if mistakes else {})
            )
        )
    else:
        print(f"{certificate}\n\n{mistakes}" if mistakes else certificate)
    return HELD if certificate else FAILED


def _certified(
    arguments: argparse.Namespace, options: dict[str, Any]
) -> tuple[AnyCertificate, str]:
    """Return the certificate that is asked for, and for an implementation that it refuses the diagnosis."""
    reference, layout = arguments.implementation, arguments.layout
    if layout is not None and reference is None:
        raise ValueError(complain("--layout", layout, "--implementation module:object beside it"))
    with nullcontext() if reference is None else users_code():
        if arguments.rerun is not None:
            certificate, mine = _rerun(arguments.rerun, reference, layout)
        else:
            layer = pool_or_layer(arguments)
            mine = None if reference is None else implementation(reference, layer, layout)
            certificate = certify(layer, mine, **options)
        if mine is None or certificate:
            return certificate, ""
        from convdense.testing.assertions import diagnosis  # noqa: PLC0415  (only here is there something to name)

        return certificate, diagnosis(certificate.layer, mine)


def _rerun(path: Path, reference: str | None, layout: str | None) -> tuple[AnyCertificate, Any]:
    """Read a certificate and repeat it; nothing that the file names is imported."""
    recorded, data = _read(path)
    own, of = (
        recorded.evaluator in (DENSE, DENSE_NETWORK),
        f"{path}, a certificate of {recorded.evaluator!r}",
    )
    if own and reference is not None:
        do = "leave --implementation out, or the file, and describe the layer"
        raise ValueError(
            complain("--rerun", of, "a certificate of an implementation, with --implementation", do)
        )
    if not own and reference is None:
        do = "add --implementation module:object"
        raise ValueError(complain("--rerun", of, "the implementation, which no file can hold", do))
    if reference is None:
        try:
            mine, again = None, recorded.rerun()
        except (
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise ValueError(_no_certificate(path, error)) from None
    else:
        mine = implementation(reference, recorded.layer, layout)
        again = recorded.rerun(mine)
        if recorded.evaluator != again.evaluator:
            _note(
                f"the file is a certificate of {recorded.evaluator!r}, this is one of {again.evaluator!r}"
            )
    if getattr(recorded, "reference", None) != getattr(again, "reference", None):
        raise ValueError(_no_certificate(path, f"{recorded.compared}, not {again.compared}"))
    if recorded.findings != again.findings or data.get("holds") != bool(again):
        _note("the file records another result than its own trials give now")
    return again, mine


def _read(path: Path) -> tuple[AnyCertificate, dict[str, Any]]:
    """Return the certificate of a file; whatever else the file holds is refused in one line."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        recorded: AnyCertificate = READERS.get(data.get("kind"), Certificate).from_dict(data)
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(_no_certificate(path, error)) from None
    if data.get("kind") not in READERS:
        raise ValueError(_no_certificate(path, f"kind {data.get('kind')!r}"))
    return recorded, data


def _no_certificate(path: Path, why: object) -> str:
    said = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else why
    return complain(
        "--rerun", f"{path} ({said})", "a certificate as `convdense certify --json` writes it"
    )


def _note(text: str) -> None:
    print(f"convdense: note: {text}", file=sys.stderr)
