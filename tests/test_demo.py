"""The demo, run once as it is: what it says and draws, and when it admits a failure."""

import math
import os
import re
import struct
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import convdense
from convdense import TiedDense, TieMap
from convdense.claims import student_question
from convdense.claims.claims import CLAIMS, Evidence
from convdense.cli import demo as module
from convdense.cli._main import main
from convdense.cli.demo import photograph, present, the_photograph, the_question
from convdense.explorer import explore
from convdense.structure._equations import equations
from tests.test_equations import THE_QUESTION

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(convdense.__file__).parents[1])}
PICTURES = [
    "dense_gradient.png",
    "mask.png",
    "masked_gradient.png",
    "matrix.png",
    "tied_gradient.png",
]
ARGUMENT, PAGE = "gradient_steps.png", "explore.html"
FILES = sorted([*PICTURES, ARGUMENT, PAGE])
ON_PHOTOGRAPH = ["forward", "dx", "dw", "db"]
CROSS_TERMS = [
    "i1 v2",
    "i1 v3",
    "i1 v4",
    "i2 v1",
    "i2 v3",
    "i2 v4",
    "i4 v1",
    "i4 v2",
    "i4 v4",
    "i5 v1",
    "i5 v2",
    "i5 v3",
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run the whole demo; return what it returned, what it said, and where it drew."""
    folder, said = tmp_path_factory.mktemp("demo") / "not there yet", []
    return present(folder, said.append), "\n".join(said), folder


@pytest.fixture
def quick(monkeypatch):
    """A photograph of a few pixels and claims already judged, so that the demo takes no time."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "photograph", lambda: rng.uniform(size=(3, 6, 5)))
    verdicts = {}

    def judge(claims):
        for claim in claims:
            held = convdense.claims.claims.Verdict(
                claim, tuple(Evidence(layer, True) for layer in claim.layers)
            )
            yield verdicts.get(claim.id, held)

    monkeypatch.setattr(module, "judge_claims", judge)
    return verdicts


def table(said):
    """Return the rows of the table of claims as {id: {column: cell}}."""
    lines = said.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("claim "))
    rules = lines[start + 1]
    edges = [
        n for n in range(len(rules)) if rules[n] == "-" and (n == 0 or rules[n - 1] == " ")
    ] + [None]
    cut = lambda line: [line[a:b].strip() for a, b in pairwise(edges)]  # noqa: E731  (one line)
    rows = {}
    for line in lines[start + 2 :]:
        if not line:
            break
        rows[cut(line)[0]] = dict(zip(cut(lines[start]), cut(line), strict=True))
    return rows


def read_png(path):
    """Return width, height and pixels of a PNG file, as raw bytes; every chunk is checked."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (
            zlib.crc32(kind + content),
        )
        chunks.append((kind, content))
        at += 12 + length
    assert (chunks[0][0], chunks[-1]) == (b"IHDR", (b"IEND", b""))
    width, height = struct.unpack(">II", chunks[0][1][:8])
    return (
        width,
        height,
        zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT")),
    )


def test_everything_held(ran):
    held, said, _ = ran
    assert held is True
    assert "Every claim held." in said.splitlines()
    assert "NOT" not in said


def test_the_question_stands_first_and_is_answered_below(ran):
    asked, first, photo = (ran[1].index(words) for words in ("can plain dense", "\n1. ", "\n2. "))
    assert ran[1].startswith("A student asked how backpropagation works in a convolution. ")
    assert ran[1].count("?") == 1
    assert asked < ran[1].index("?") < first < ran[1].index("\nYes: ") < photo


def test_the_equations_of_both_layers_are_written_out(ran):
    assert THE_QUESTION in ran[1]
    assert (
        equations(student_question.SECOND, input="o", weight="v", output="z", bias=None) in ran[1]
    )


def test_the_formula_as_written_stands_beside_the_right_one(ran):
    lines = ran[1].splitlines()
    assert (
        "  as written  dC/dw1 = 2(z - y) * (i1 + i2 + i4 + i5) * (v1 + v2 + v3 + v4)   16 products"
        in lines
    )
    assert "  right       dC/dw1 = 2(z - y) * (i1 v1 + i2 v2 + i4 v3 + i5 v4)   4 products" in lines
    others = next(line for line in lines if line.startswith("  the other "))
    head, terms = others.split(": ")
    assert head == "  the other 12 are cross terms of edges that do not exist"
    assert terms.split(", ") == CROSS_TERMS


@pytest.mark.claim("question")
def test_integers_settle_it(ran):
    i, w, v, y = (np.ravel(part).tolist() for part in student_question.example())
    met = [
        [0, 1, 3, 4],
        [1, 2, 4, 5],
        [3, 4, 6, 7],
        [4, 5, 7, 8],
    ]  # the inputs of each output; of each weight, too
    z = sum(v[j] * sum(w[k] * i[met[j][k]] for k in range(4)) for j in range(4))
    right = [2 * (z - y[0]) * sum(v[j] * i[met[j][k]] for j in range(4)) for k in range(4)]
    written = [2 * (z - y[0]) * sum(i[n] for n in met[k]) * sum(v) for k in range(4)]
    rows = [line.split() for line in ran[1].splitlines() if line.startswith("dC/dw")]
    assert rows == [
        [f"dC/dw{k + 1}", str(right[k]), str(right[k]), str(written[k])] for k in range(4)
    ]
    assert right != written


def test_the_photograph_is_a_dense_layer_of_this_size(ran):
    x = photograph()
    assert (x.shape, x.dtype, x.flags.c_contiguous) == ((3, 600, 512), np.float64, True)
    assert 0 <= x.min() < 0.01
    assert 0.99 < x.max() <= 1
    rows, cols = 3 * 300 * 256, 3 * 600 * 512
    entries = (
        3 * 3 * (3 * 300 - 1) * (3 * 256 - 1)
    )  # stride 2, padding 1: one tap a side meets the border
    assert "512 x 600 pixels in 3 colours" in ran[1]
    assert (
        f"{rows:,} x {cols:,} edges, of which {1 - entries / (rows * cols):.4%} are held at zero"
        in ran[1]
    )
    assert f"{entries:,} carry one of 81 weights" in ran[1]


def test_every_claim_has_a_row_and_held(ran):
    rows = table(ran[1])
    assert list(rows) == [claim.id for claim in CLAIMS]
    for claim in CLAIMS:
        row = rows[claim.id]
        assert row["exact on integers"] == "yes"
        assert row["compared"] == claim.compared
        assert float(row["largest difference"]) <= float(row["derived bound"])
        layers = (
            1 if claim.id in ON_PHOTOGRAPH else len(claim.layers) + (claim.id == "network")
        )  # on both
        assert sum(map(int, re.findall(r"on (\d+) layer", row["how sure"]))) == layers
    assert all(0 < float(rows[name]["derived bound"]) < math.inf for name in ON_PHOTOGRAPH)


def test_on_the_photograph_rounding_is_seen(ran):
    """A difference of exactly 0 everywhere would mean that one way was compared with itself."""
    assert any(float(table(ran[1])[name]["largest difference"]) > 0 for name in ON_PHOTOGRAPH)


def test_pictures_are_drawn_a_page_is_written_and_all_are_named(ran):
    _, said, folder = ran
    assert sorted(path.name for path in folder.iterdir()) == FILES
    last = said[said.index("\n3. ") :]
    assert str(folder) in last.splitlines()[1]
    assert all(name in last for name in FILES)


def test_the_page_is_of_the_questions_first_layer_with_its_numbers(ran):
    case = student_question.example()
    first, second = (
        TiedDense(student_question.FIRST, case.w),
        TiedDense(student_question.SECOND, case.v),
    )
    o = first.forward(case.i)
    dy = second.backward(o, 2 * (second.forward(o) - case.y)).dx
    page = explore(first, case.i, dy, title="The question's first layer")
    assert (ran[2] / PAGE).read_text(encoding="utf-8") == page.html


@pytest.mark.parametrize("name", [*PICTURES, ARGUMENT])
def test_a_picture_is_a_sound_png_of_reasonable_size(ran, name):
    width, height, pixels = read_png(ran[2] / name)
    assert 400 <= height < width <= 4_000
    assert len(pixels) == height * (1 + 4 * width)  # a filter byte a line, four channels
    assert 1_000 < (ran[2] / name).stat().st_size < 200_000


def test_the_pictures_differ(ran):
    assert len({read_png(ran[2] / name)[2] for name in PICTURES}) == len(PICTURES)


@pytest.mark.parametrize("name", [claim.id for claim in CLAIMS if claim.id not in ON_PHOTOGRAPH])
def test_a_broken_claim_is_admitted(quick, name):
    claim, said = next(claim for claim in CLAIMS if claim.id == name), []
    bad = Evidence(claim.layers[-1], False)
    quick[name] = convdense.claims.claims.Verdict(
        claim, (*(Evidence(layer, True) for layer in claim.layers[:-1]), bad)
    )
    assert the_photograph(said.append) is False
    exact = {row: cells["exact on integers"] for row, cells in table("\n".join(said)).items()}
    assert exact == {claim.id: "NO" if claim.id == name else "yes" for claim in CLAIMS}


@pytest.mark.parametrize("part", ["the_question", "the_photograph"])
def test_the_demo_fails_if_one_of_its_parts_does(quick, monkeypatch, tmp_path, part):
    monkeypatch.setattr(module, part, lambda say: False)
    monkeypatch.setattr(module, "the_pictures", lambda folder, say: None)
    said = []
    assert present(tmp_path, said.append) is False
    assert "NOT every claim held: see the table." in said[-1]
    assert "Every claim held." not in "\n".join(said).splitlines()


@pytest.mark.parametrize("factor", [-1, 1 + 2**-20])
def test_a_defect_seen_on_the_photograph_is_admitted(quick, monkeypatch, factor):
    right, said, broken = TieMap.add_edges, [], {"dw", "db"}
    monkeypatch.setattr(TieMap, "add_edges", lambda *a: factor * right(*a))
    assert the_photograph(said.append) is False
    rows = table("\n".join(said))
    assert {n for n in ON_PHOTOGRAPH if rows[n]["exact on integers"] == "NO"} == broken
    assert {
        n
        for n in ON_PHOTOGRAPH
        if float(rows[n]["largest difference"]) > float(rows[n]["derived bound"])
    } == broken


def test_a_difference_beyond_its_bound_is_admitted_though_integers_agree(quick, monkeypatch):
    monkeypatch.setattr(
        module,
        "of_quantities",
        lambda names, certificate, report: Evidence(None, True, 0.0, 2.0, 1.0),
    )
    assert the_photograph(lambda text: None) is False


@pytest.mark.parametrize(
    "written",
    [student_question.backpropagated, lambda case: (student_question.as_written(case), None)],
)
def test_the_question_is_settled_only_if_the_right_formula_is_right_and_the_written_one_wrong(
    monkeypatch, written
):
    said = []
    assert the_question(said.append) is True
    assert said.pop().startswith("\nYes: ")
    if written is student_question.backpropagated:
        monkeypatch.setattr(student_question, "as_written", lambda case: written(case)[0])
    else:
        monkeypatch.setattr(student_question, "backpropagated", written)
    assert the_question(said.append) is False
    assert "Yes" not in said[-1]


def test_through_the_command_line(quick, tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "a" / "pictures")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert list(table(out)) == [claim.id for claim in CLAIMS]
    assert sorted(path.name for path in (tmp_path / "a" / "pictures").iterdir()) == FILES


def test_through_the_command_line_a_broken_claim_gives_status_1(
    quick, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(module, "the_pictures", lambda folder, say: None)
    quick["steps"] = convdense.claims.claims.Verdict(
        CLAIMS[4], (Evidence(CLAIMS[4].layers[0], False),)
    )
    assert CLAIMS[4].id == "steps"
    assert main(["demo", "-o", str(tmp_path)]) == 1
    assert "NOT every claim held" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_refused_in_one_line_before_anything_is_run(
    quick, tmp_path, capsys
):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["demo", "--output", str(tmp_path / "file")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("convdense: ")
    assert err.count("\n") == 1
    assert str(tmp_path / "file") in err


PROGRAM = """
import sys
from convdense.cli import _main
from convdense.cli import demo
photograph = demo.photograph()
demo.photograph = lambda: photograph[:, 200:209, 200:207]
demo.judge_claims = lambda claims: [claims_judged(c) for c in claims if c.id == "question"]
from convdense.claims.claims import judge_claims
claims_judged = lambda claim: next(iter(judge_claims([claim])))
status = _main.main(["demo", "-o", sys.argv[1]])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules, status, file=sys.stderr)
"""


def test_pyplot_is_never_imported(tmp_path):
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "p")]
    ran = subprocess.run(
        arguments, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr == "True False 0\n"
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == FILES


def test_a_file_in_the_place_of_the_folder_is_refused_in_words(tmp_path, capsys):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    assert main(["demo", "-o", str(tmp_path / "taken")]) == 2
    got = f"{tmp_path / 'taken'}, which is a file"
    words = f"convdense: folder: got {got}; needs the name of a folder\n"
    assert capsys.readouterr() == ("", words)
