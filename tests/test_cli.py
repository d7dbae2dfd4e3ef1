"""The command line: what it prints where, and with which exit status."""

import json
import os
import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
import pytest

import convdense
from convdense import (
    Certificate,
    Conv,
    ConvTranspose,
    LocallyConnected,
    TieMap,
    certify,
    check,
    convolve,
    convolve_backward,
    equations,
    tie,
)
from convdense.claims import student_question
from convdense.claims.claims import CLAIMS, Evidence, Verdict, judge_claims
from convdense.cli import _main
from convdense.cli import claims as cli_claims
from convdense.cli._main import main
from convdense.cli.demo import claims_table
from convdense.cli.layer_options import layer_defaults

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(convdense.__file__).parents[1]),
    "PYTHONWARNINGS": "default",
}
SMALL = "--input 1x3x3 --kernel 2"

LAYERS = {  # options -> the layer they describe
    SMALL: Conv((1, 3, 3), 1, kernel=2),
    "--input 2x7 --kernel 3 --out-channels 3 --stride 2 --dilation 2 --padding 2:1": Conv(
        (2, 7), 3, kernel=3, stride=2, dilation=2, padding=((2, 1),)
    ),
    "--input 2x4x5 --kernel 3x2 --stride 1x2 --padding 1x2": Conv(
        (2, 4, 5), 1, kernel=(3, 2), stride=(1, 2), padding=(1, 2)
    ),
    "--input 2x4x5 --kernel 2 --padding 0:1x2:3": Conv(
        (2, 4, 5), 1, kernel=2, padding=((0, 1), (2, 3))
    ),
    "--input 1x4x5 --kernel 2 --padding 1x2:0": Conv(
        (1, 4, 5), 1, kernel=2, padding=((1, 1), (2, 0))
    ),
    "--input 1x4x5 --kernel 2 --padding 2": Conv((1, 4, 5), 1, kernel=2, padding=2),
    **{
        f"--input 1x4x5 --kernel 2x4 --padding {word}": Conv(
            (1, 4, 5), 1, kernel=(2, 4), padding=word
        )
        for word in ("valid", "same", "same_lower", "full")
    },
    **{
        f"--input 1x3x4 --kernel 2 --padding 1 --padding-mode {mode}": Conv(
            (1, 3, 4), 1, kernel=2, padding=1, padding_mode=mode
        )
        for mode in ("circular", "reflect", "replicate", "symmetric")
    },
    "--input 4x3x2 --kernel 2x1 --groups 2 --out-channels 6 --flip": Conv(
        (4, 3, 2), 6, kernel=(2, 1), groups=2, flip=True
    ),
    "--input 2x2x3 --kernel 2x3 --stride 3x2 --transposed --output-padding 1x0": ConvTranspose(
        (2, 2, 3), 1, kernel=(2, 3), stride=(3, 2), output_padding=(1, 0)
    ),
    "--input 1x3x4 --kernel 2 --padding=-1:1x2 --padding-mode circular,zeros": Conv(
        (1, 3, 4), 1, 2, padding=((-1, 1), (2, 2)), padding_mode=("circular", "zeros")
    ),
    "--input 1x3x4 --kernel 2 --padding 1 --padding-value 2.5": Conv(
        (1, 3, 4), 1, 2, padding=1, padding_value=2.5
    ),
    "--input 1x3x4 --kernel 2 --input-dilation 1x3": Conv((1, 3, 4), 1, 2, input_dilation=(1, 3)),
    "--input 2x3 --kernel 3 --padding 1 --transposed": ConvTranspose(
        (2, 3), 1, kernel=3, padding=1
    ),
    "--input 1x3x4 --kernel 2x3 --locally-connected --out-channels 2": LocallyConnected(
        (1, 3, 4), 2, kernel=(2, 3)
    ),
    "--input 1x2x2x3 --kernel 1x2x2": Conv((1, 2, 2, 3), 1, kernel=(1, 2, 2)),
}
on_layers = pytest.mark.parametrize(("options", "layer"), LAYERS.items(), ids=LAYERS)


@pytest.fixture
def run(capsys):
    """Run one command line here; return exit status, stdout and stderr."""

    def run(line, *paths):
        try:
            status = main([*line.split(), *map(str, paths)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def program(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "convdense", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


def plain(value):
    """Return what JSON makes of a value: lists for tuples."""
    return json.loads(json.dumps(value))


# explain


@on_layers
def test_explain_counts_edges_and_writes_the_equations(run, options, layer):
    status, out, err = run(f"explain {options}")
    ties = tie(layer)
    (rows, cols), nonzero = (
        ties.shape,
        len(set(zip(*(a.tolist() for a in ties.entries()[:2]), strict=True))),
    )
    assert (status, err) == (0, "")
    assert out == (
        f"{layer!r}: {layer.in_shape} -> {layer.out_shape}\n"
        f"as a dense layer: {rows} x {cols} = {rows * cols} edges, "
        f"{rows * cols - nonzero} held at zero, {ties.n_weights} weights in {ties.n_entries} "
        f"places\n\n{equations(layer)}\n"
    )


@on_layers
def test_explain_prints_nothing_but_json_if_asked(run, options, layer):
    status, out, err = run(f"explain {options} --no-bias --json")
    data = json.loads(out)
    rows, cols = tie(layer).shape
    assert (status, err) == (0, "")
    assert data == {
        "layer": plain(layer.to_dict()),
        "outputs": rows,
        "inputs": cols,
        "weights": tie(layer).n_weights,
        "entries": tie(layer).n_entries,
        "zeros": int((tie(layer).mask().toarray() == 0).sum()),
        "equations": equations(layer, bias=None).splitlines(),
    }


@on_layers
def test_explain_prints_nothing_but_latex_if_asked(run, options, layer):
    assert run(f"explain {options} --latex") == (0, equations(layer, format="latex") + "\n", "")
    without = equations(layer, bias=None, format="latex")
    assert run(f"explain {options} --no-bias --latex") == (0, without + "\n", "")


def test_explain_prints_one_of_json_and_latex(run):
    status, out, err = run(f"explain {SMALL} --json --latex")
    assert (status, out) == (2, "")
    assert err.endswith("error: argument --latex: not allowed with argument --json\n")


def test_explain_leaves_the_bias_out_if_asked(run):
    assert "b1" in run(f"explain {SMALL}")[1]
    _, out, _ = run(f"explain {SMALL} --no-bias")
    assert "b1" not in out
    assert out.endswith("\n" + equations(LAYERS[SMALL], bias=None) + "\n")


# certify


@on_layers
def test_certify_prints_the_certificate_of_this_layer(run, options, layer):
    status, out, err = run(f"certify {options} --method random --seed 5")
    assert (status, err) == (0, "")
    assert out == f"{certify(layer, method='random', seed=5)}\n"


@on_layers
def test_certify_prints_nothing_but_json_if_asked(run, options, layer):
    status, out, err = run(f"certify {options} --method random --seed 6 --json")
    assert (status, err) == (0, "")
    assert json.loads(out) == plain(certify(layer, method="random", seed=6).to_dict())


def test_certify_takes_its_options_from_the_line(run):
    line = (
        f"certify {SMALL} --dtype float32 --batch 3 --error 0.001 --method random --seed 7 --json"
    )
    data = json.loads(run(line)[1])
    assert {name: data[name] for name in ("dtype", "batch", "asked", "method", "seed")} == {
        "dtype": "float32",
        "batch": 3,
        "asked": 0.001,
        "method": "random",
        "seed": 7,
    }
    assert Certificate.from_dict(data) == certify(
        LAYERS[SMALL], dtype="float32", batch=3, error=0.001, method="random", seed=7
    )
    proof = json.loads(run(f"certify {SMALL} --json --seed 8")[1])
    assert (proof["method"], proof["error"], proof["seed"]) == ("exhaustive", 0.0, 8)


def test_a_certificate_is_run_again_from_its_file(run, tmp_path):
    for n, options in enumerate(
        ["--method random", "--method random --dtype float32 --batch 1", "--method exhaustive"]
    ):
        path = tmp_path / f"{n}.json"
        path.write_text(run(f"certify {SMALL} --json {options}")[1], encoding="utf-8")
        status, out, err = run("certify --json --rerun", path)
        assert (status, err) == (0, "")
        assert out == path.read_text(encoding="utf-8")
        assert run("certify --rerun", path)[1] == f"{Certificate.from_dict(json.loads(out))}\n"


def test_a_result_that_was_edited_is_noted_and_another_kind_of_file_refused(run, tmp_path):
    path, whole = tmp_path / "proof.json", json.loads(run(f"certify {SMALL} --json")[1])
    path.write_text(json.dumps({**whole, "holds": False}), encoding="utf-8")
    status, _, err = run("certify --rerun", path)
    assert (status, err) == (
        0,
        "convdense: note: the file records another result than its own trials give now\n",
    )
    for other in ({"kind": "report"}, {"reference": "another"}):
        path.write_text(json.dumps({**whole, **other}), encoding="utf-8")
        status, out, err = run("certify --rerun", path)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_every_layer_option_is_known_to_the_check_of_options_not_read():
    given = vars(_main._parser().parse_args(["certify"]))
    assert given | layer_defaults() == given
    others = {"input", "claims", "all", "rerun", "json", "run", "implementation", "layout"}
    assert set(given) - set(layer_defaults()) == others


def test_a_claim_that_fails_without_a_bound_is_still_json(run, monkeypatch):
    failed = Verdict(CLAIMS[0], (Evidence("layer", True, 0.0, inf, 0.0),))
    monkeypatch.setattr(cli_claims, "judge_claims", lambda bar: [failed])
    status, out, _ = run("certify --claims --json")
    assert status == 1
    constants = []
    assert json.loads(out, parse_constant=constants.append)[0]["layers"][0]["difference"] == "inf"
    assert constants == []


def test_a_defect_gives_status_1(run, monkeypatch, tmp_path):
    path = tmp_path / "certificate.json"
    path.write_text(run(f"certify {SMALL} --json --method random")[1], encoding="utf-8")
    right = TieMap.add_edges
    monkeypatch.setattr(TieMap, "add_edges", lambda ties, x, dy: -right(ties, x, dy))
    status, out, err = run(f"certify {SMALL}")
    assert (status, err) == (1, "")
    assert [line.split(",")[0].split() for line in out.splitlines()[2:6]] == [
        ["y", "equal"],
        ["dx", "equal"],
        ["dw", "wrong"],
        ["db", "wrong"],
    ]
    status, out, _ = run(f"certify {SMALL} --json")
    assert (status, json.loads(out)["holds"]) == (1, False)
    assert run("certify --rerun", path)[0] == 1


def test_a_certificate_of_a_users_wrong_code_does_not_hold_when_run_again_without_it(run, tmp_path):
    layer = LAYERS[SMALL]
    wrong = (
        (lambda x, w, b: -convolve(layer, x, w, b)),
        (lambda x, w, dy: convolve_backward(layer, x, w, dy)),
    )
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(certify(layer, wrong).to_dict()), encoding="utf-8")
    assert run("certify --rerun", path)[0] != 0


# certify --claims


def test_the_claims_are_printed_as_a_table(run, monkeypatch):
    some = [claim for claim in CLAIMS if claim.id in ("toeplitz", "circulant", "question")]
    monkeypatch.setattr("convdense.cli.claims.CLAIMS", some)
    status, out, err = run("certify --claims")
    assert (status, err) == (0, "")
    assert out == claims_table(list(judge_claims(some))) + "\n"
    header, line, *rows = out.splitlines()
    assert header.split("  ")[0] == "claim"
    assert set(line) == {"-", " "}
    assert [row.split()[0] for row in rows] == [claim.id for claim in some]
    assert all(row[header.index("exact") :].startswith("yes ") for row in rows)


def test_the_claims_are_printed_as_json(run, monkeypatch):
    monkeypatch.setattr(
        "convdense.claims.claims.certify", partial(certify, method="random")
    )  # sooner than proofs
    status, out, err = run("certify --claims --json")
    assert (status, err) == (0, "")
    data = json.loads(out)
    for row, claim in zip(data, CLAIMS, strict=True):
        assert (row["id"], row["sentence"], row["compared"]) == (
            claim.id,
            claim.sentence,
            claim.compared,
        )
        assert row["held"] is row["exact"] is True
        assert [e["layer"] for e in row["layers"]] == [repr(layer) for layer in claim.layers]
        assert all(
            e["exact"] and e["error"] <= 2**-64 and e["difference"] <= e["bound"]
            for e in row["layers"]
        )


@pytest.mark.parametrize("as_json", ["", "--json"])
def test_a_claim_that_fails_gives_status_1(run, monkeypatch, as_json):
    monkeypatch.setattr(
        "convdense.cli.claims.CLAIMS",
        [claim for claim in CLAIMS if claim.id in ("question", "circulant")],
    )
    right = student_question.backpropagated
    monkeypatch.setattr(
        student_question, "backpropagated", lambda case: tuple(2 * g for g in right(case))
    )
    status, out, _ = run(f"certify --claims {as_json}")
    assert status == 1
    if as_json:
        assert {row["id"]: row["held"] for row in json.loads(out)} == {
            "circulant": True,
            "question": False,
        }
    else:
        assert {row.split()[0]: " NO " in row for row in out.splitlines()[2:]} == {
            "circulant": False,
            "question": True,
        }


# what cannot be used


REFUSED = {  # line -> how the one line on stderr begins, after "convdense: "
    "explain --input 3 --kernel 3": "in_shape: got (3,); needs (channels, *axes)",
    "explain --input 0x3 --kernel 3": "in_shape: got 0; needs an integer of at least 1",
    "explain --input 1x3x3 --kernel 4": "kernel: got 4 with dilation 1",
    "explain --input 1x3x3 --kernel 2x2x2": (
        "kernel: got (2, 2, 2); needs an integer, or a sequence of 2"
    ),
    "explain --input 3x8x8 --kernel 3 --out-channels 4": (
        "layer: got 3,888 terms; needs at most 2,000"
    ),
    "explain --input 1x100000000000000000 --kernel 1": "",
    f"explain {SMALL} --out-channels 0": "out_channels: got 0; needs",
    f"explain {SMALL} --stride 0": "stride: got 0; needs",
    f"explain {SMALL} --dilation -1": "dilation: got -1; needs",
    f"explain {SMALL} --dilation 2x3": "kernel: got 2 with dilation 3",
    f"explain {SMALL} --groups 2": "groups: got 2; needs a divisor of the 1 channels of in_shape",
    f"explain {SMALL} --padding=-4:0x0": (
        "padding: got (-4, 0); needs to take away at most the 3 cells"
    ),
    f"explain {SMALL} --padding circular": (
        "padding: got 'circular'; needs one of 'valid', 'same', 'same_lower'"
    ),
    f"explain {SMALL} --padding 1x2x3": "padding: got (1, 2, 3); needs",
    f"explain {SMALL} --padding 1:2": "padding: got ((1, 2),); needs",
    f"explain {SMALL} --padding 1:2:3x1": "padding: got (1, 2, 3); needs",
    f"explain {SMALL} --padding 4 --padding-mode reflect": (
        "padding: got (4, 4); needs at most 2 on axis 0"
    ),
    f"explain {SMALL} --padding-mode mirror": (
        "padding_mode: got 'mirror'; needs one of 'zeros', 'circular'"
    ),
    f"explain {SMALL} --transposed --padding-mode circular": (
        "--padding-mode: got circular; needs zeros with"
    ),
    f"explain {SMALL} --output-padding 1": "--output-padding: got 1; needs --transposed beside it",
    f"explain {SMALL} --output-padding 1x1 --locally-connected": (
        "--output-padding: got (1, 1); needs --transposed"
    ),
    f"explain {SMALL} --transposed --padding-value 3": (
        "--padding-value: got 3.0; needs 0 with --transposed"
    ),
    f"explain {SMALL} --input-dilation 2 --padding-value 3": (
        "input_dilation: got (2, 2) beside padding_value=3; needs 1 there"
    ),
    f"explain {SMALL} --transposed --padding 3": (
        "padding: got ((3, 3), (3, 3)); needs less cropping"
    ),
    "certify": "--input: got nothing; needs a size",
    "certify --input 1x3x3": "--kernel: got nothing; needs a size",
    "certify --kernel 3": "--input: got nothing; needs a size",
    f"certify {SMALL} --error 0": "error: got 0.0; needs a probability between 0 and 1",
    f"certify {SMALL} --error 2": "error: got 2.0; needs a probability between 0 and 1",
    f"certify {SMALL} --error nan": "error: got nan; needs a probability between 0 and 1",
    f"certify {SMALL} --batch 0": "batch: got 0; needs an integer of at least 1",
    f"certify {SMALL} --method random --seed -1": "seed: got -1; needs an integer of at least 0",
    "certify --input 1x318 --kernel 2 --method exhaustive --batch 1": (
        "layer: got 100,830 basis pairs; "
    ),
}


@pytest.mark.parametrize(("line", "start"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(run, line, start):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert err.startswith(f"convdense: {start}")
    assert err.count("\n") == 1
    assert err.endswith("\n")


UNREADABLE = {  # line -> what the last line on stderr, after the usage, says
    "prove": "invalid choice: 'prove'",
    "explain": "the following arguments are required: --input, --kernel",
    "explain --input 1x3x3": "the following arguments are required: --kernel",
    "explain --input axb --kernel 2": (
        "--input: 'axb' is not a number, or numbers joined by x such as 3x32x32"
    ),
    "explain --input 1x3x --kernel 2": "--input: '1x3x' is not a number",
    "explain --input 1.5x3 --kernel 2": "--input: '1.5x3' is not a number",
    f"explain {SMALL} --stride two": "--stride: 'two' is not a number",
    f"explain {SMALL} --padding 1:": (
        "--padding: '1:' is not like 1, 1x2, 0:1x2:3 (begin:end) or same"
    ),
    f"explain {SMALL} --padding 1xx2": "--padding: '1xx2' is not like 1",
    f"explain {SMALL} --padding 1xsame": "--padding: '1xsame' is not like 1",
    f"explain {SMALL} --out-channels many": "--out-channels: invalid int value: 'many'",
    f"explain {SMALL} --transposed --locally-connected": "not allowed with argument",
    f"explain {SMALL} --verbose": "unrecognized arguments: --verbose",
    f"certify {SMALL} --method proof": "--method: invalid choice: 'proof'",
    f"certify {SMALL} --error small": "--error: invalid float value: 'small'",
    f"certify {SMALL} --batch 1.5": "--batch: invalid int value: '1.5'",
    "certify --rerun": "--rerun: expected one argument",
}


@pytest.mark.parametrize(("line", "text"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused_below_the_usage(run, line, text):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    *usage, last = err.splitlines()
    assert usage[0].startswith("usage: convdense")
    assert last.startswith("convdense")
    assert text in last.split("error: ", 1)[1]


def test_without_a_command_it_says_what_there_is(run):
    status, out, err = run("")
    assert (status, out) == (2, "")
    assert err.startswith("usage: convdense")
    assert all(f"    {name} " in err for name in ("demo", "explain", "show", "matrix", "certify"))


def files():
    proof = certify(LAYERS[SMALL], method="random").to_dict()
    rng = np.random.default_rng(0)
    report = check(
        LAYERS[SMALL], rng.normal(size=(1, 3, 3)), rng.normal(size=(1, 1, 2, 2))
    ).to_dict()
    return {
        "empty": "",
        "no JSON": "certificate",
        "no certificate": "[]",
        "nothing in it": "{}",
        "a number": "3",
        "a report": json.dumps(report),
        "an unknown layer": json.dumps({**proof, "layer": {**proof["layer"], "type": "Dense"}}),
        "a layer that cannot be": json.dumps(
            {**proof, "layer": {**proof["layer"], "kernel": [9, 9]}}
        ),
        "an unknown dtype": json.dumps({**proof, "dtype": "int8"}),
        "a batch of none": json.dumps({**proof, "batch": 0}),
        "an error of text": json.dumps({**proof, "asked": "small"}),
        "a seed of text": json.dumps({**proof, "seed": "seven"}),
        "ranges of something else": json.dumps({**proof, "ranges": {"z": 1}}),
        "a certificate cut off": json.dumps(proof)[:200],
        "not text": b"\xff\xfe\x00",
    }


@pytest.mark.parametrize("name", files())
def test_a_file_that_is_no_certificate_is_refused_in_one_line(run, tmp_path, name):
    content, path = files()[name], tmp_path / "file.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, err = run("certify --rerun", path)
    assert (status, out) == (2, "")
    assert err.startswith("convdense: ")
    assert (err.count("\n"), err[-1]) == (1, "\n")
    assert "needs" in err


def test_a_file_that_cannot_be_opened_is_named(run, tmp_path):
    for path in (tmp_path / "missing.json", tmp_path):
        status, out, err = run("certify --rerun", path)
        assert (status, out) == (2, "")
        assert str(path) in err
        assert err.count("\n") == 1


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"convdense {convdense.__version__}\n", "")


@pytest.mark.parametrize("command", ["", "demo ", "explain ", "explore ", "certify "])
def test_help_is_printed_on_stdout(run, command):
    status, out, err = run(f"{command}--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: convdense {command}")


# as a program


def test_the_program_prints_and_exits_as_main_does():
    good = program("certify", *SMALL.split(), "--json", "--seed", "1")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout) == plain(certify(LAYERS[SMALL], seed=1).to_dict())
    bad = program("explain", "--input", "1x3x3", "--kernel", "9")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("convdense: kernel: got 9")
    assert bad.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes break differently there")
@pytest.mark.parametrize(
    ("line", "lines_read"),
    [("explain --input 1x1001 --kernel 2", 1), (f"certify {SMALL} --json", 0), ("--help", 0)],
    ids=["explain | head -1", "certify | head -0", "help | head -0"],
)
def test_a_reader_that_leaves_early_sees_no_traceback(line, lines_read):
    command = [sys.executable, "-m", "convdense", *line.split()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes) as process:
        first = [process.stdout.readline() for _ in range(lines_read)]
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) in (0, 1)
    assert all(first)


@pytest.mark.skipif(os.name == "nt", reason="no file descriptors to close there")
def test_a_closed_stdout_gives_no_traceback():
    command = [sys.executable, "-m", "convdense", "explain", *SMALL.split()]
    process = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in process.stderr
    assert process.stderr.count("\n") <= 1


@pytest.mark.parametrize(
    ("line", "got"),
    [
        ("certify --claims --input 1x3x3", "--claims and --input"),
        ("certify --claims --rerun proof.json", "--claims and --rerun"),
        ("certify --rerun proof.json --seed 1", "--rerun and --seed"),
        ("certify --rerun proof.json --error 0.5", "--rerun and --error"),
        ("certify --claims --dtype float32", "--claims and --dtype"),
        ("certify --claims --kernel 3", "--claims and --kernel"),
        ("certify --claims --stride 2", "--claims and --stride"),
        ("certify --claims --locally-connected", "--claims and --locally-connected"),
        ("certify --rerun proof.json --all", "--all"),
        ("certify --rerun proof.json --padding-mode reflect", "--rerun and --padding-mode"),
    ],
)
def test_options_that_would_not_be_read_are_refused(run, line, got):
    status, out, err = run(line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"convdense: certify: got {got}; needs ")
