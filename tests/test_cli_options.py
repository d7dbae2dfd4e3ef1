"""The command line: options spelt out, pools, Keras' kernels, hints, an example in every help."""

import json
import shlex

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import mmread

from convdense import (
    AvgPool,
    Conv,
    ConvTranspose,
    LpPool,
    MaxPool,
    SumPool,
    certify,
    dense_pool,
    tie,
)
from convdense.cli import _main, demo
from convdense.cli._main import COMMANDS, main


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run one command line in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        try:
            status = main(line.split())
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


# Options spelt out

UNKNOWN = {  # line -> the end of the last line on stderr
    "certify --pool avg --input 2x7 --kernel 2 --output 7": (
        "unrecognized arguments: --output 7; did you mean --output-padding or --output-size"
    ),
    "show --input 1x3x3 --kernel 2 --output 1": (
        "unrecognized arguments: --output 1; did you mean --output-padding"
    ),
    "show --input 1x3x3 --kernel 2 --strid=2": (
        "unrecognized arguments: --strid=2; did you mean --stride"
    ),
    "explain --input 1x3x3 --kernel 2 --stides 2": (
        "unrecognized arguments: --stides 2; did you mean --stride"
    ),
    "matrix --input 1x3x3 --kernel 2 --weights w.npy -o W.npz --max 3": (
        "unrecognized arguments: --max 3; did you mean --max-bytes"
    ),
    "explore --input 1x3x3 --kernel 2 -o page.html --titel x": (
        "unrecognized arguments: --titel x; did you mean --title"
    ),
    "demo --out folder": "unrecognized arguments: --out folder; did you mean --output",
    "show --input 1x3x3 --kernel 2 --verbose": "unrecognized arguments: --verbose",
    "show --input 1x3x3 --kernel 2 letters": "unrecognized arguments: letters",
}


@pytest.mark.parametrize(("line", "text"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_option_that_is_unknown_or_abbreviated_is_refused_with_the_nearest(run, line, text):
    status, out, err = run(line)
    *usage, last = err.splitlines()
    command = line.split()[0]
    assert (status, out) == (2, "")
    assert usage[0].startswith(f"usage: convdense {command}")
    assert last == f"convdense {command}: error: {text}"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_example_in_every_help_runs(run, name, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "present", lambda folder: folder.name == "pictures")
    np.save("w.npy", np.ones((1, 3, 3, 3)))
    _, out, _ = run(f"{name} --help")
    examples = [line for line in out.splitlines() if line.startswith("example: ")]
    assert len(examples) == 1
    program, *line = shlex.split(examples[0].removeprefix("example: "))
    assert (program, line[0]) == ("convdense", name or "show")
    status, out, err = run(" ".join(line))
    assert (status, err) == (0, "")


# Pools

POOLS = {
    "--pool avg --input 2x7x5 --output-size 3x2": AvgPool((2, 7, 5), output=(3, 2)),
    "--pool max --input 2x7x5 --output-size 1": MaxPool((2, 7, 5), output=1),
    "--pool avg --input 2x7 --kernel 3 --divisor-override -2": AvgPool(
        (2, 7), 3, divisor_override=-2
    ),
    "--pool sum --input 1x3 --kernel 2 --padding 3": SumPool((1, 3), 2, padding=3),
    "--pool lp --p 1 --input 1x4 --kernel 2": LpPool((1, 4), 2, p=1.0),
}


@pytest.mark.parametrize(("options", "pool"), POOLS.items(), ids=POOLS)
def test_every_option_of_a_pool_is_certified(run, options, pool):
    assert run(f"certify {options} --seed 3") == (0, f"{certify(pool, seed=3)}\n", "")
    status, out, _ = run(f"certify {options} --seed 3 --json")
    assert (status, json.loads(out)["layer"]["type"]) == (0, type(pool).__name__)


REFUSED = {  # line -> the line on stderr, after "convdense: "
    "certify --input 2x7 --kernel 2 --pool max --divisor-override 3": (
        "--divisor-override: got --pool max; needs --pool avg"
    ),
    "certify --input 2x7 --kernel 2 --pool avg --p 2": "--p: got --pool avg; needs --pool lp",
    "certify --input 2x7 --kernel 2 --p 2": "--p: got a convolution; needs --pool lp beside it",
    "certify --input 2x7 --kernel 2 --pool lp": "p: got None; needs a finite number of at least 1",
    "certify --input 2x7 --kernel 2 --output-size 2": (
        "--output-size: got a convolution; needs --pool max, avg, sum, min, lp beside it"
    ),
    "certify --input 2x7 --pool avg --output-size 2 --kernel 2": (
        "kernel: got 2 and output=2; needs a kernel, or output=n for n windows an axis; give one"
    ),
    "certify --input 2x7 --pool avg": (
        "--kernel: got nothing; needs a size, such as --kernel 3x3; or use --claims"
    ),
    "certify --claims --output-size 2": (
        "certify: got --claims and --output-size; needs --input beside --output-size"
    ),
    "certify --input 2x7 --kernel 2 --pool avg --divisor-override 0": (
        "divisor_override: got 0; needs an integer other than 0"
    ),
    "matrix --input 2x7 --kernel 2 -o W.npz": (
        "--weights: got nothing; needs a file of (1, 2, 2), as numpy.save writes it"
    ),
    "matrix --input 2x7 --kernel 2 --pool sum --weights w.npy -o W.npz": (
        "--weights: got w.npy; needs none with --pool"
    ),
    "show --input 2x4 --kernel 2 --pool sum --padding-mode circular": (
        "--padding-mode: got --pool sum beside it; needs a convolution; leave one of the two out"
    ),
    "certify --pool max --input 1x4 --kernel 2 --padding -1:0": (
        "padding: got -1; needs an integer of at least 0"
    ),
    "matrix --input 2x3x3 --kernel 2 --weights w.npy --weights-layout HWIO -o W.npz": (
        "--weights-layout: got HWIO beside weights of shape (1, 2, 2, 2); needs (2, 2, 2, 1) for "
        "that; leave it out"
    ),
    "matrix --input 2x3x3 --kernel 2 --locally-connected --weights w.npy --weights-layout HWIO "
    "-o W.npz": (
        "--weights-layout: got HWIO; "
        "needs OIHW with --locally-connected, whose kernels differ from place to place"
    ),
    "show --input 1x4 --kernel 2 --transposed --padding-mode circular": (
        "--padding-mode: got circular; needs zeros with --transposed"
    ),
}


@pytest.mark.parametrize(("line", "said"), REFUSED.items(), ids=REFUSED)
def test_what_does_not_go_together_is_refused(run, line, said):
    np.save("w.npy", np.ones((1, 2, 2, 2)))
    assert run(line) == (2, "", f"convdense: {said}\n")


def test_the_matrix_of_a_sum_and_of_an_average_needs_no_weights(run):
    for kind, options in ((SumPool, "sum"), (AvgPool, "avg --no-count-include-pad")):
        line = f"matrix --input 2x5 --kernel 3 --stride 1 --padding 1 -o M.mtx --pool {options}"
        status, out, err = run(line)
        assert (status, err) == (0, "")
        assert out == "M.mtx: 10 x 10, 26 entries, float64\n"
        more = {"count_include_pad": False} if kind is AvgPool else {}
        pool = kind((2, 5), 3, stride=1, padding=1, **more)
        found = sp.csr_array(mmread("M.mtx"))
        assert np.array_equal(found.toarray(), dense_pool(pool).matrix().toarray())


def test_a_sum_pool_is_shown_with_its_one_weight(run):
    status, out, err = run("show --input 1x4 --kernel 2 --pool sum")
    assert (status, err) == (0, "")
    assert out == (
        "SumPool((1, 4), kernel=2): (1, 4) -> (1, 2)\n"
        "   i1 i2 i3 i4\no1 a  a  .  .\no2 .  .  a  a\n"
    )


# Keras' kernels


@pytest.mark.parametrize(
    ("flag", "layer"),
    [("", Conv((2, 4, 5), 3, (2, 3))), (" --transposed", ConvTranspose((2, 4, 5), 3, (2, 3)))],
)
def test_a_kernel_as_keras_saves_it(run, flag, layer):
    w = np.arange(float(np.prod(layer.weight_shape))).reshape(layer.weight_shape)
    np.save("keras.npy", np.ascontiguousarray(w.transpose(2, 3, 1, 0)))  # (rows, columns, ., .)
    line = f"--input 2x4x5 --kernel 2x3 --out-channels 3{flag} --weights keras.npy"
    status, _, err = run(f"matrix {line} --weights-layout HWIO -o W.npz")
    assert (status, err) == (0, "")
    assert np.array_equal(sp.load_npz("W.npz").toarray(), tie(layer).matrix(w).toarray())
    np.save("keras.npy", w)
    assert run(f"explore {line} -o ours.html")[0] == 0
    np.save("keras.npy", np.ascontiguousarray(w.transpose(2, 3, 1, 0)))
    assert run(f"explore {line} --weights-layout HWIO -o keras.html")[0] == 0
    with open("ours.html", encoding="utf-8") as ours, open("keras.html", encoding="utf-8") as keras:
        assert ours.read() == keras.read()


# Hints


@pytest.mark.parametrize(
    ("sample", "note"),
    [
        ("8x6x3", "read as 8 channels of 6x3; channels first is 3x8x6"),
        ("8x6x1", "read as 8 channels of 6x1; channels first is 1x8x6"),
        ("8x6x5x4", "read as 8 channels of 6x5x4; channels first is 4x8x6x5"),
        ("3x8x6", ""),
        ("8x6x5", ""),
        ("8x3", ""),
        ("3x3x3", ""),
    ],
)
def test_channels_last_are_hinted_at_and_the_result_stays(run, sample, note):
    status, out, err = run(f"certify --input {sample} --kernel 1 --method random --error 0.5")
    assert status == 0
    layer = Conv(tuple(map(int, sample.split("x"))), 1, 1)
    assert out.splitlines()[1].startswith(f"{layer!r}: tied dense layer")
    assert err == (f"convdense: note: --input is {note}\n" if note else "")


def test_modes_per_axis_and_values_that_begin_with_a_minus_are_read(run):
    parsed = _main._parser().parse_args(
        [
            "show",
            "--input",
            "1x4x4",
            "--kernel",
            "2",
            "--padding",
            "-1:0x1",
            "--padding-mode",
            "circular,zeros",
        ]
    )
    assert parsed.padding == ((-1, 0), 1)
    assert parsed.padding_mode == ("circular", "zeros")
