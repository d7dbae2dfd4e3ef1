"""The command `demo`: a student's question asked and answered, in numbers and in pictures.

First the student's two layers, then a photograph through a dense layer, then figures and a page.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.certificates import certify
from convdense.checks import check
from convdense.claims import student_question
from convdense.claims.claims import CLAIMS, Verdict, judge_claims, of_quantities
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = """\
A student asked how backpropagation works in a convolution. A convolution layer is a dense layer
whose weights are tied and many of them held at zero: can plain dense backpropagation do it?
"""

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
    parser.epilog = "example: convdense demo -o pictures"
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    return HELD if present(arguments.output) else FAILED


def present(folder: Path, say: Callable[[str], None] = print) -> bool:
    """Ask, answer in three parts, write the pictures, and return whether every claim held."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(complain("folder", f"{folder}, which is a file", "the name of a folder"))
    folder.mkdir(parents=True, exist_ok=True)  # what cannot be made is refused before any work

    say(QUESTION)
    settled = the_question(say)
    held = the_photograph(say)
    the_pictures(folder, say)
    say("\nEvery claim held." if settled and held else "\nNOT every claim held: see the table.")
    return settled and held


def the_question(say: Callable[[str], None]) -> bool:
    """Print the student's two layers, the formula as written, and integers that settle it."""
    say(
        "1. The student's layers: input i (3x3), filter w (2x2) -> o (2x2), "
        "filter v (2x2) -> z; cost C = (z - y)^2\n"
    )
    say(equations(student_question.FIRST, bias=None))
    say("\nand the second layer\n")
    say(equations(student_question.SECOND, input="o", weight="v", output="z", bias=None))

    right, crossed = student_question.products()
    say(
        "\nSo dC/do_j = v_j * 2(z - y), a list with one entry per output, "
        "and for the shared weight w1:\n"
    )
    say("  as written  dC/dw1 = 2(z - y) * (i1 + i2 + i4 + i5) * (v1 + v2 + v3 + v4)   16 products")
    say(f"  right       dC/dw1 = 2(z - y) * ({' + '.join(right)})   {len(right)} products")
    cross_terms = ", ".join(crossed)
    say(f"  the other {len(crossed)} are cross terms of edges that do not exist: {cross_terms}\n")

    case = student_question.example()
    truth = student_question.central_difference(case, "w")
    dw, _ = student_question.backpropagated(case)
    written = student_question.as_written(case)
    columns = zip(truth.ravel(), dw.ravel(), written.ravel(), strict=True)
    rows = [[f"dC/dw{k}", *map(str, numbers)] for k, numbers in enumerate(columns, start=1)]
    say(
        "On integers C is quadratic in each weight, so a central difference with step 1 is exact:\n"
    )
    say(aligned(["", "(C(w+1) - C(w-1)) / 2", "tied dense layers", "as written"], rows))

    settled = np.array_equal(dw, truth) and not np.array_equal(written, truth)
    if settled:
        say(
            "\nYes: dense backpropagation, the entries of each weight added up, gives the gradient;"
            "\nthe formula as written does not."
        )
    return settled


def photograph() -> Array:
    """Return matplotlib's sample photograph as floats from 0 to 1, shape (3, height, width)."""
    from matplotlib import cbook, image  # noqa: PLC0415  (0.2 s, only here)

    # given a path, imread opens and closes the file
    path = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    pixels = image.imread(path)  # (height, width, 3), uint8
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0) / 255.0)


def the_photograph(say: Callable[[str], None]) -> bool:
    """Run a photograph through a convolution both ways, judge every claim, and print the table."""
    x = photograph()
    conv = Conv(x.shape, out_channels=3, kernel=3, stride=2, padding=1)
    # one output channel per filter; a colour counts as much as it adds to the luminance
    w = np.multiply.outer(FILTERS, LUMINANCE).transpose(0, 3, 1, 2)  # (filters, colours, 3, 3)
    b = np.array([0.0, 0.5, 0.5])  # where an edge filter finds nothing, 0.5 is a medium grey
    tied = TiedDense(conv, w, b)
    dy = tied.forward(x)  # the upstream gradient of the cost |y|^2 / 2

    rows, cols = tied.ties.shape
    entries = tied.ties.n_entries
    share_at_zero = 1 - entries / (rows * cols)
    say(f"\n2. A photograph, {x.shape[2]} x {x.shape[1]} pixels in 3 colours, through {conv}")
    say(
        f"as a dense layer of {rows:,} x {cols:,} edges, "
        f"of which {share_at_zero:.4%} are held at zero and"
    )
    say(
        f"{entries:,} carry one of {w.size} weights; "
        "and as a direct convolution, forward and backward\n"
    )

    # the first four claims, y, dx, dw and db of the same convolutions, are judged on the photograph
    others = [claim for claim in CLAIMS if claim.layers != CLAIMS[0].layers]
    verdicts = [*_on_photograph(conv, (x, w, b, dy)), *judge_claims(others)]
    network_evidence = the_network(x, say)
    for number, verdict in enumerate(verdicts):
        if verdict.claim.id == "network":
            evidence = (network_evidence, *verdict.evidence)
            verdicts[number] = replace(verdict, evidence=evidence)

    say("")
    say(claims_table(verdicts))
    say("\nThe difference shown is the one that takes the largest share of its own bound.")
    return all(verdict.held for verdict in verdicts)


def the_network(x: Array, say: Callable[[str], None]) -> Evidence:
    """Run the photograph through a whole network both ways, in whole numbers and in floats."""
    whole = np.round(255 * x)
    conv = Conv(x.shape, out_channels=3, kernel=3, stride=2, padding=1)
    # the filters in whole numbers: the largest tap of each is 16, and of ten parts of luminance
    # red has 3, green 6 and blue 1
    largest = np.abs(FILTERS).max(axis=(1, 2), keepdims=True)  # (filters, 1, 1)
    taps = np.round(16 * np.array(FILTERS) / largest)  # (filters, 3, 3)
    shares = np.round(10 * np.array(LUMINANCE))  # (colours,)
    w = np.multiply.outer(taps, shares).transpose(0, 3, 1, 2)  # (filters, colours, 3, 3)
    tied = TiedDense(conv, w, np.array([0.0, 8, 8]))

    pool = MaxPool(conv.out_shape, kernel=2)
    # 8 x 8 are 64 cells, a power of two: every division is exact
    size = min(8, *pool.out_shape[1:])
    average = AvgPool(pool.out_shape, kernel=size)
    features = prod(average.out_shape)
    v = np.random.default_rng(0).integers(-3, 4, (10, features)).astype(float)
    net = network(tied, ReLU(), pool, average, Flatten(), Dense(v, np.zeros(10)))

    dy = np.arange(-4.0, 6)  # a whole number for each of the ten outputs
    say("The same photograph through a whole network, as dense layers and |x|:\n")
    say(str(net))
    return _compare_both_ways(net, whole, dy, say)


def _compare_both_ways(net: Network, x: Array, dy: Array, say: Callable[[str], None]) -> Evidence:
    """Compare a network with its direct counterpart: bit for bit, and in floats by its bounds.

    x and dy are whole numbers; their quotients by 255 and 7 are floats that need rounding.
    """
    exact = agree(net, x, dy)
    bits = bit_budget(net, x[None], dy[None])  # that the longest sum needs; float64 has 53
    said = "equal" if exact else "NOT EQUAL"
    say(f"\nin whole numbers from 0 to 255, {bits} bits of 53, both ways are {said} bit for bit;")

    report = check(net, x / 255, dy=dy / 7)
    say("in floats from 0 to 1, with their derived bounds:\n")
    for finding in report.findings:
        say(f"  {finding}")
    if any(finding.verdict == UNDECIDED for finding in report.findings):
        say(
            "\nWhere flat patches tie, the winner and with it the gradient depend on rounding: "
            "that is left undecided."
        )

    nothing_wrong = all(finding.verdict != WRONG for finding in report.findings)
    difference, bound = on_floats(report, ["y"])
    held = exact and nothing_wrong and bits <= 53
    return Evidence(net, exact=held, difference=difference, bound=bound, trials=1)


def _on_photograph(conv: Conv, operands: tuple[Array, Array, Array, Array]) -> Iterator[Verdict]:
    """Judge the claims about y, dx, dw and db on the photograph instead of the table's layers."""
    certificate = certify(conv)
    report = check(conv, *operands)
    for claim, name in zip(CLAIMS[:4], ("y", "dx", "dw", "db"), strict=True):
        on_this_layer = replace(claim, layers=(conv,))
        yield Verdict(on_this_layer, (of_quantities([name], certificate, report),))


# heading -> what stands below it
CLAIM_COLUMNS: dict[str, Callable[[Verdict], str]] = {
    "claim": lambda verdict: verdict.claim.id,
    "compared": lambda verdict: verdict.claim.compared,
    "largest difference": lambda verdict: f"{verdict.worst.difference:.2g}",
    "derived bound": lambda verdict: f"{verdict.worst.bound:.2g}",
    "exact on integers": lambda verdict: "yes" if verdict.exact else "NO",
    "how sure": lambda verdict: verdict.sure,
}


def claims_table(verdicts: list[Verdict]) -> str:
    """Return the table of claims as text, a verdict a row."""
    rows = [[cell(verdict) for cell in CLAIM_COLUMNS.values()] for verdict in verdicts]
    return aligned(list(CLAIM_COLUMNS), rows)


def the_pictures(folder: Path, say: Callable[[str], None]) -> None:
    """Draw the student's first layer, in parts and as a whole, and write a page to explore it."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (only here and in the plots)

    from convdense import plots  # noqa: PLC0415  (it imports matplotlib)
    from convdense.explorer import explore  # noqa: PLC0415  (only here)

    layer = student_question.FIRST
    first, i, do = _first_layer_and_its_gradient()
    steps = first.gradient_steps(i, do)
    pictures: dict[str, Callable[[Axes], Axes]] = {
        "matrix": lambda ax: plots.matrix(layer, ax),
        "mask": lambda ax: plots.mask(layer, ax),
        "dense_gradient": lambda ax: plots.gradient(layer, steps.dense, masked=False, ax=ax),
        "masked_gradient": lambda ax: plots.gradient(layer, steps.masked, masked=True, ax=ax),
        "tied_gradient": lambda ax: plots.tied(layer, steps.tied, ax),
    }
    for name, draw in pictures.items():
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        draw(figure.subplots())
        figure.savefig(folder / f"{name}.png", dpi=150)
    plots.gradient_steps(first, i, do).savefig(folder / "gradient_steps.png", dpi=150)

    names = ", ".join(f"{name}.png" for name in pictures)
    say(f"\n3. Pictures of the question's first layer, in {folder}: {names},")
    say(
        "gradient_steps.png, the whole argument in one figure, "
        "and a page to point at, to be opened in a browser:"
    )
    page = explore(first, i, do, title="The question's first layer")
    say(str(page.save(folder / "explore.html")))


def _first_layer_and_its_gradient() -> tuple[TiedDense, Array, Array]:
    """Return the student's first layer, its input i, and the dC/do that comes back to it."""
    case = student_question.example()
    first = TiedDense(student_question.FIRST, case.w)
    second = TiedDense(student_question.SECOND, case.v)
    o = first.forward(case.i)
    z = second.forward(o)
    do = second.backward(o, 2 * (z - case.y)).dx
    return first, case.i, do
