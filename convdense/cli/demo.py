"""The demo: the student's question settled, a photograph through a dense layer, and pictures of a small one."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.certificates import certify
from convdense.checks import check
from convdense.claims import student_question
from convdense.claims.claims import CLAIMS, Claim, Verdict, judge_claims, of_quantities
from convdense.claims.evidence import Evidence, agree, on_floats
from convdense.cli.exit_status import FAILED, HELD
from convdense.display.tables import aligned
from convdense.geometry import AvgPool, Conv, MaxPool
from convdense.layers.activations import ReLU
from convdense.layers.dense import Dense
from convdense.layers.flatten import Flatten
from convdense.layers.tied_dense import TiedDense
from convdense.networks.builder import network
from convdense.networks.network import Network
from convdense.rounding.magnitude_sums import bit_budget
from convdense.structure._equations import equations
from convdense.verdicts.findings import UNDECIDED, WRONG

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
FILTERS = (  # blur, vertical edges, horizontal edges (Sobel)
    ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
)


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the options of `demo`."""
    folder = Path("convdense-demo")
    parser.add_argument(
        "-o", "--output", type=Path, default=folder, help=f"folder for pictures; default: {folder}"
    )
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    return HELD if present(arguments.output) else FAILED


def present(folder: Path, say: Callable[[str], None] = print) -> bool:
    """Run all three parts, write the pictures into the folder, and return whether every claim held."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(complain("folder", f"{folder}, which is a file", "the name of a folder"))
    folder.mkdir(
        parents=True, exist_ok=True
    )  # a folder that cannot be made is refused before any work
    settled = the_question(say)
    held = the_photograph(say)
    the_pictures(folder, say)
    say("\nEvery claim held." if settled and held else "\nNOT every claim held: see the table.")
    return settled and held


def the_question(say: Callable[[str], None]) -> bool:
    """Print the student's two layers, the formula as written beside the right one, and integers that settle it."""
    case = student_question.example()
    say(
        "1. The question: input i (3x3), filter w (2x2) -> o (2x2), filter v (2x2) -> z; cost C = (z - y)^2\n"
    )
    say(equations(student_question.FIRST, bias=None))
    say("\nand the second layer\n")
    say(equations(student_question.SECOND, input="o", weight="v", output="z", bias=None))
    right, crossed = student_question.products()
    say(
        "\nSo dC/do_j = v_j * 2(z - y), a list with one entry per output, and for the shared weight w1:\n"
    )
    say("  as written  dC/dw1 = 2(z - y) * (i1 + i2 + i4 + i5) * (v1 + v2 + v3 + v4)   16 products")
    say(f"  right       dC/dw1 = 2(z - y) * ({' + '.join(right)})   {len(right)} products")
    say(
        f"  the other {len(crossed)} are cross terms of edges that do not exist: {', '.join(crossed)}\n"
    )
    truth, (dw, _) = (
        student_question.central_difference(case, "w"),
        student_question.backpropagated(case),
    )
    written = student_question.as_written(case)
    rows = [
        [f"dC/dw{k + 1}", str(truth.ravel()[k]), str(dw.ravel()[k]), str(written.ravel()[k])]
        for k in range(dw.size)
    ]
    say(
        "On integers C is quadratic in each weight, so a central difference with step 1 is exact:\n"
    )
    say(aligned(["", "(C(w+1) - C(w-1)) / 2", "tied dense layers", "as written"], rows))
    return np.array_equal(dw, truth) and not np.array_equal(written, truth)


def photograph() -> Array:
    """Return matplotlib's sample photograph as floats from 0 to 1, shape (3, height, width)."""
    from matplotlib import cbook, image  # noqa: PLC0415  (0.2 s, only here)

    path = str(
        cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    )  # imread opens and closes the file
    pixels = image.imread(path)  # (height, width, 3), uint8
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0) / 255.0)


def the_photograph(say: Callable[[str], None]) -> bool:
    """Run a convolution over a photograph as a dense layer and directly, judge every claim, and print the table."""
    x = photograph()
    conv = Conv(x.shape, out_channels=3, kernel=3, stride=2, padding=1)
    w = np.array(
        [[np.multiply(share, taps) for share in LUMINANCE] for taps in FILTERS]
    )  # (3, 3, 3, 3)
    b = np.array([0.0, 0.5, 0.5])
    tied = TiedDense(conv, w, b)
    dy = tied.forward(x)  # the upstream gradient of the cost |y|^2 / 2
    rows, cols = tied.ties.shape
    share = 1 - tied.ties.n_entries / (rows * cols)
    say(f"\n2. A photograph, {x.shape[2]} x {x.shape[1]} pixels in 3 colours, through {conv}")
    say(f"as a dense layer of {rows:,} x {cols:,} edges, of which {share:.4%} are held at zero and")
    say(
        f"{tied.ties.n_entries:,} carry one of {w.size} weights; and as a direct convolution, forward and backward\n"
    )
    verdicts = [
        *_on_photograph(conv, (x, w, b, dy)),
        *judge_claims(c for c in CLAIMS if c.layers != CLAIMS[0].layers),
    ]
    through = the_network(x, say)
    verdicts = [
        replace(v, evidence=(through, *v.evidence)) if v.claim.id == "network" else v
        for v in verdicts
    ]
    say("")
    say(claims_table(verdicts))
    say("\nThe difference shown is the one that takes the largest share of its own bound.")
    return all(v.held for v in verdicts)


def the_network(x: Array, say: Callable[[str], None]) -> Evidence:
    """Run the photograph through a whole network both ways: in whole numbers exactly, and in floats within bounds."""
    whole = np.round(255 * x)
    conv = Conv(x.shape, out_channels=3, kernel=3, stride=2, padding=1)
    taps = np.round(16 * np.array(FILTERS) / np.abs(FILTERS).max(axis=(1, 2), keepdims=True))
    w = np.multiply.outer(taps, np.round(10 * np.array(LUMINANCE))).transpose(
        0, 3, 1, 2
    )  # (3, colours, 3, 3)
    pool = MaxPool(conv.out_shape, kernel=2)
    size = min(
        8, *pool.out_shape[1:]
    )  # 8 x 8 are 64 cells, a power of two: every division is exact
    average = AvgPool(pool.out_shape, kernel=size)
    features = prod(average.out_shape)
    v = np.random.default_rng(0).integers(-3, 4, (10, features)).astype(float)
    net = network(
        TiedDense(conv, w, np.array([0.0, 8, 8])),
        ReLU(),
        pool,
        average,
        Flatten(),
        Dense(v, np.zeros(10)),
    )
    dy = np.arange(-4.0, 6)
    say("The same photograph through a whole network, as dense layers and |x|:\n")
    say(str(net))
    return _compare_both_ways(net, whole, dy, say)


def _compare_both_ways(net: Network, x: Array, dy: Array, say: Callable[[str], None]) -> Evidence:
    """Compare a network with its direct counterpart: whole numbers bit for bit, scaled to floats by its bounds."""
    exact, bits = agree(net, x, dy), bit_budget(net, x[None], dy[None])
    report = check(net, x / 255, dy=dy / 7)
    undecided = sum(finding.verdict == UNDECIDED for finding in report.findings)
    said = "equal" if exact else "NOT EQUAL"
    say(f"\nin whole numbers from 0 to 255, {bits} bits of 53, both ways are {said} bit for bit;")
    say("in floats from 0 to 1, with their derived bounds:\n")
    for finding in report.findings:
        say(f"  {finding}")
    if undecided:
        say(
            "\nWhere flat patches tie, the winner and with it the gradient depend on rounding: that is left undecided."
        )
    wrong = [finding.name for finding in report.findings if finding.verdict == WRONG]
    difference, bound = on_floats(report, ["y"])
    return Evidence(net, exact and not wrong and bits <= 53, 0.0, difference, bound, trials=1)


def _on_photograph(conv: Conv, operands: tuple[Any, ...]) -> Iterator[Verdict]:
    """Judge the claims about y, dx, dw and db on the photograph instead of the table's layers."""
    certificate, report = certify(conv), check(conv, *operands)
    for claim, name in zip(CLAIMS, ("y", "dx", "dw", "db"), strict=False):
        here = Claim(claim.id, claim.sentence, claim.compared, (conv,), claim.judge)
        yield Verdict(here, (of_quantities([name], certificate, report),))


def claims_table(verdicts: list[Verdict]) -> str:
    """Return the table: claim, what was compared with what, largest difference, its bound, exact on integers."""
    header = [
        "claim",
        "compared",
        "largest difference",
        "derived bound",
        "exact on integers",
        "how sure",
    ]
    rows = [
        [
            v.claim.id,
            v.claim.compared,
            f"{v.worst.difference:.2g}",
            f"{v.worst.bound:.2g}",
            "yes" if v.exact else "NO",
            v.sure,
        ]
        for v in verdicts
    ]
    return aligned(header, rows)


def the_pictures(folder: Path, say: Callable[[str], None]) -> None:
    """Draw the student's first layer, the argument in one figure and its parts, and write a page to explore it."""
    from matplotlib.axes import Axes  # noqa: PLC0415  (only the demo and the plots need matplotlib)
    from matplotlib.figure import Figure  # noqa: PLC0415  (as above)

    from convdense import plots  # noqa: PLC0415  (it imports matplotlib)
    from convdense.explorer import explore  # noqa: PLC0415  (only here)

    case = student_question.example()
    first, second = (
        TiedDense(student_question.FIRST, case.w),
        TiedDense(student_question.SECOND, case.v),
    )
    o = first.forward(case.i)
    do = second.backward(o, 2 * (second.forward(o) - case.y)).dx
    steps = first.gradient_steps(case.i, do)
    pictures: dict[str, Callable[[Axes], Axes]] = {
        "matrix": lambda ax: plots.matrix(student_question.FIRST, ax),
        "mask": lambda ax: plots.mask(student_question.FIRST, ax),
        "dense_gradient": lambda ax: plots.gradient(
            student_question.FIRST, steps.dense, masked=False, ax=ax
        ),
        "masked_gradient": lambda ax: plots.gradient(
            student_question.FIRST, steps.masked, masked=True, ax=ax
        ),
        "tied_gradient": lambda ax: plots.tied(student_question.FIRST, steps.tied, ax),
    }
    for name, draw in pictures.items():
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        draw(figure.subplots())
        figure.savefig(folder / f"{name}.png", dpi=150)
    plots.gradient_steps(first, case.i, do).savefig(folder / "gradient_steps.png", dpi=150)
    say(
        f"\n3. Pictures of the question's first layer, in {folder}: {', '.join(f'{n}.png' for n in pictures)},"
    )
    say(
        "gradient_steps.png, the whole argument in one figure, and a page to point at, to be opened in a browser:"
    )
    say(
        str(
            explore(first, case.i, do, title="The question's first layer").save(
                folder / "explore.html"
            )
        )
    )
