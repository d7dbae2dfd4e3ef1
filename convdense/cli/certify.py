"""The command `certify`: a layer, the user's code for it, or a certificate read from a file."""

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from convdense._util.arguments import complain
from convdense._util.float_formats import FORMATS, INTEGERS
from convdense.certificates import READERS, Certificate, NetworkCertificate, certify
from convdense.cli.claims import run_claims
from convdense.cli.exit_status import FAILED, HELD
from convdense.cli.import_object import implementation, users_code
from convdense.cli.layer_options import (
    add_layer,
    add_pool,
    given_layer_options,
    option,
    pool_or_layer,
)
from convdense.geometry.protocols import Implementation
from convdense.implementations.evaluators import DENSE, DENSE_NETWORK

AnyCertificate = Certificate | NetworkCertificate

# The options of the function `certify`, by name, and what argparse is told of each.
# What is given is passed on under its name, so an option is added here and nowhere else.
CERTIFY_OPTIONS: dict[str, dict[str, Any]] = {
    "dtype": {
        "choices": tuple(FORMATS),
        "help": "default: float64; halves, integers: --implementation",
    },
    "accumulator": {"choices": INTEGERS, "help": "of integers: the dtype of their sums"},
    "batch": {"type": int, "metavar": "N", "help": "default: 2"},
    "error": {
        "type": float,
        "metavar": "P",
        "help": "error probability, at most; default: 2**-64",
    },
    "method": {"choices": ("auto", "random", "exhaustive"), "help": "default: auto"},
    "seed": {"type": int, "metavar": "N", "help": "default: fresh entropy, recorded"},
    "shapes": {"choices": ("near",), "help": "try --implementation on other shapes, too"},
    "nonfinite": {"action": "store_true", "help": "report what NaN and infinity reach in it"},
    "threads": {"action": "store_true", "help": "run it in two threads at once, too"},
    "time_limit": {"type": float, "metavar": "S", "help": "seconds; default: no limit"},
    "gradgrad": {"action": "store_true", "help": "judge its double_backward, too"},
}

# What reading or repeating a file raises if it was not written by `certify --json`.
MALFORMED = (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


def add_certify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `certify`: a layer, the user's code for it, other tasks, and how sure."""
    add_layer(parser, required=False)
    add_pool(parser)

    own = parser.add_argument_group("your own code")
    own.add_argument(
        "--implementation",
        metavar="MODULE:OBJECT",
        help="judge this: an object with forward and backward, two functions, forward alone, "
        "or a class or function of the layer that makes one",
    )
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

    # SUPPRESS: what is not given is no attribute, and `certify` takes its own default
    how = parser.add_argument_group("how sure", "with --input", argument_default=argparse.SUPPRESS)
    for name, told in CERTIFY_OPTIONS.items():
        how.add_argument(option(name), **told)
    parser.epilog = (
        "example: convdense certify --input 3x9x8 --kernel 3 --stride 2 --padding 1:0x1:2"
    )
    parser.set_defaults(run=run_certify)


def run_certify(arguments: argparse.Namespace) -> int:
    """Print the certificate that is asked for and what it shows, or the table of claims."""
    options = {name: getattr(arguments, name) for name in CERTIFY_OPTIONS if name in arguments}
    _refuse_what_is_not_read(arguments, options)
    if arguments.claims:
        return run_claims(arguments.json, arguments.all)

    certificate, mistakes = _certified(arguments, options)
    if arguments.json:
        facts = certificate.to_dict()
        if mistakes:
            facts["diagnosis"] = mistakes.splitlines()
        print(json.dumps(facts))
    else:
        print(f"{certificate}\n\n{mistakes}" if mistakes else certificate)
    return HELD if certificate else FAILED


def _refuse_what_is_not_read(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    """Refuse two tasks at once, and options that the task would not read."""
    tasks = [name for name in ("claims", "rerun", "input") if getattr(arguments, name)]
    if len(tasks) > 1:
        together = " and ".join(map(option, tasks))
        raise ValueError(complain("certify", together, "one of them"))
    if arguments.all and not arguments.claims:
        raise ValueError(complain("certify", "--all", "--claims beside --all"))
    if not arguments.claims and not arguments.rerun:
        return  # a layer is described, and reads all options

    unread = [*options, *given_layer_options(arguments)]
    if arguments.claims:
        unread += [name for name in ("implementation", "layout") if getattr(arguments, name)]
    if unread:
        task, other = option(tasks[0]), option(unread[0])
        raise ValueError(complain("certify", f"{task} and {other}", f"--input beside {other}"))


def _certified(
    arguments: argparse.Namespace, options: dict[str, Any]
) -> tuple[AnyCertificate, str]:
    """Return the certificate, and the diagnosis of an implementation that it refuses."""
    reference, layout = arguments.implementation, arguments.layout
    if layout is not None and reference is None:
        raise ValueError(complain("--layout", layout, "--implementation module:object beside it"))

    surroundings: AbstractContextManager[None] = nullcontext()
    if reference is not None:
        surroundings = users_code()
    with surroundings:
        if arguments.rerun is not None:
            certificate, mine = _rerun(arguments.rerun, reference, layout)
        else:
            layer = pool_or_layer(arguments)
            mine = None if reference is None else implementation(reference, layer, layout)
            certificate = certify(layer, mine, **options)
        if mine is None or certificate:
            return certificate, ""

        from convdense.testing.assertions import diagnosis  # noqa: PLC0415  (only here is there something to name)

        return certificate, diagnosis(certificate.layer, mine, certificate.dtype)


def _rerun(
    path: Path, reference: str | None, layout: str | None
) -> tuple[AnyCertificate, Implementation | None]:
    """Read a certificate and repeat it; nothing that the file names is imported."""
    recorded, data = _read(path)
    _refuse_other_code(path, recorded, reference)

    if reference is None:
        mine = None
        try:
            again = recorded.rerun()
        except MALFORMED as error:
            raise ValueError(_no_certificate(path, error)) from None
    else:
        mine = implementation(reference, recorded.layer, layout)
        again = recorded.rerun(mine)
        if recorded.evaluator != again.evaluator:
            then, now = recorded.evaluator, again.evaluator
            _note(f"the file is a certificate of {then!r}, this is one of {now!r}")

    if getattr(recorded, "reference", None) != getattr(again, "reference", None):
        raise ValueError(_no_certificate(path, f"{recorded.compared}, not {again.compared}"))
    if recorded.findings != again.findings or data.get("holds") != bool(again):
        _note("the file records another result than its own trials give now")
    return again, mine


def _refuse_other_code(path: Path, recorded: AnyCertificate, reference: str | None) -> None:
    """Refuse a user's code beside a certificate of ours, and a certificate of theirs without it."""
    ours = recorded.evaluator in (DENSE, DENSE_NETWORK)
    got = f"{path}, a certificate of {recorded.evaluator!r}"
    if ours and reference is not None:
        needs = "a certificate of an implementation, with --implementation"
        do = "leave --implementation out, or the file, and describe the layer"
        raise ValueError(complain("--rerun", got, needs, do))
    if not ours and reference is None:
        needs = "the implementation, which no file can hold"
        raise ValueError(complain("--rerun", got, needs, "add --implementation module:object"))


def _read(path: Path) -> tuple[AnyCertificate, dict[str, Any]]:
    """Return the certificate of a file; whatever else the file holds is refused in one line."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        recorded: AnyCertificate = READERS.get(data.get("kind"), Certificate).from_dict(data)
    except MALFORMED as error:
        raise ValueError(_no_certificate(path, error)) from None
    if data.get("kind") not in READERS:
        raise ValueError(_no_certificate(path, f"kind {data.get('kind')!r}"))
    return recorded, data


def _no_certificate(path: Path, why: object) -> str:
    said = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else why
    needs = "a certificate as `convdense certify --json` writes it"
    return complain("--rerun", f"{path} ({said})", needs)


def _note(text: str) -> None:
    print(f"convdense: note: {text}", file=sys.stderr)
