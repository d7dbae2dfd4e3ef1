"""convdense certify on pools and on the user's own code: what is made, printed and refused."""

import json
import os
import signal
import subprocess
import sys

import pytest

from convdense import AvgPool, Conv, MaxPool, MinPool, SumPool, certify, convolve, convolve_backward
from convdense.cli._main import main
from tests.test_cli import ENVIRONMENT

LAYER = "--input 2x4x5 --kernel 2x3 --out-channels 3 --padding 1"
CONV = Conv((2, 4, 5), 3, kernel=(2, 3), padding=1)
NEEDS = (
    "an object with forward and backward, a pair of functions, forward alone, "
    "or a class or function of the layer that returns one"
)
MODULE = '''
import numpy as np
from convdense import Conv, convolve, convolve_backward
from convdense.direct.pool_loops import backward as pool_backward, forward as pool_forward
from convdense.geometry import Pool

print("imported")
CONV = Conv((2, 4, 5), 3, kernel=(2, 3), padding=1)


class Mine:
    """Right."""

    def __init__(self, layer):
        if not isinstance(layer, Pool) and layer.groups > 1:
            raise NotImplementedError("no groups\\nand more")
        self.layer = layer

    def forward(self, x, *rest):
        print("running")
        run = pool_forward if isinstance(self.layer, Pool) else convolve
        return run(self.layer, x, *rest)

    def backward(self, x, *rest):
        back = pool_backward if isinstance(self.layer, Pool) else convolve_backward
        return back(self.layer, x, *rest)


class Mean(Mine):
    """db is a mean."""

    def backward(self, x, w, dy):
        dx, dw, db = super().backward(x, w, dy)
        return dx, dw, db / len(x)


class Last(Mine):
    """Channels last."""

    def forward(self, x, *rest):
        return np.moveaxis(super().forward(np.moveaxis(x, -1, 1), *rest), 1, -1)

    def backward(self, x, *rest):
        *w, dy = rest
        found = super().backward(np.moveaxis(x, -1, 1), *w, np.moveaxis(dy, -1, 1))
        return (np.moveaxis(found[0], 1, -1), *found[1:]) if w else np.moveaxis(found, 1, -1)


class Space:
    class Inner:
        kind = Mine


def make(layer):
    return Mine(layer)


def forward(x, w, b):
    return convolve(CONV, x, w, b)


def backward(x, w, dy):
    return convolve_backward(CONV, x, w, dy)


def two(layer):
    return forward, lambda x, w, dy: backward(x, w, dy)[:2]


ready = Mine(CONV)
pair = (forward, backward)
listed = [forward, backward]
number = 3


def nothing(layer):
    pass


def leaves(layer):
    raise SystemExit(3)
'''


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run one command line in a folder that holds mylayers.py.

    Return exit status, stdout and stderr.
    """
    (tmp_path / "mylayers.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    known, path = set(sys.modules), list(sys.path)

    def run(line, *paths):
        try:
            status = main([*line.split(), *map(str, paths)])
        except SystemExit as stop:
            status = stop.code
        assert sys.path == path  # as it was
        return status, *capsys.readouterr()

    yield run
    for name in set(sys.modules) - known:  # another test has another folder
        if not name.startswith(("convdense", "numpy", "scipy")):
            del sys.modules[name]


def mine(name):
    return f"certify {LAYER} --implementation mylayers:{name}"


# pools

POOLS = {
    "--pool max --input 2x5x6 --kernel 3x2 --stride 2x1 --padding 1:0x0:1": MaxPool(
        (2, 5, 6), (3, 2), stride=(2, 1), padding=((1, 0), (0, 1))
    ),
    "--pool max --input 2x5 --kernel 2 --stride 1": MaxPool((2, 5), 2, stride=1),
    "--pool avg --input 2x4x6 --kernel 2x3": AvgPool((2, 4, 6), (2, 3)),
    (
        "--pool avg --input 1x6x8 --kernel 3x2 --stride 2x3 --padding 1x0 "
        "--ceil-mode --no-count-include-pad"
    ): AvgPool(
        (1, 6, 8), (3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True, count_include_pad=False
    ),
    "--pool avg --input 1x6 --kernel 3 --padding 1 --count-include-pad": AvgPool(
        (1, 6), 3, padding=1
    ),
    "--pool sum --input 2x7 --kernel 3 --dilation 2 --padding 1": SumPool(
        (2, 7), 3, dilation=2, padding=1
    ),
    "--pool min --input 1x4x5 --kernel 2 --padding same": MinPool((1, 4, 5), 2, padding="same"),
}


@pytest.mark.parametrize(("options", "layer"), POOLS.items(), ids=POOLS)
def test_a_pool_is_certified(run, options, layer):
    assert run(f"certify {options} --seed 3") == (0, f"{certify(layer, seed=3)}\n", "")
    status, out, _ = run(f"certify {options} --seed 3 --implementation mylayers:Mine")
    assert (status, out.splitlines()[1]) == (0, f"{layer!r}: Mine against direct pooling")
    assert out.startswith("holds: y, dx equal; ")
    status, out, _ = run(f"certify {options} --seed 3 --implementation mylayers:Last --layout NHWC")
    assert (status, out.splitlines()[1]) == (0, f"{layer!r}: Last against direct pooling")


# implementations


@pytest.mark.parametrize("name", ["Mine", "make", "ready", "pair", "listed", "Space.Inner.kind"])
def test_a_right_implementation_holds(run, name):
    status, out, err = run(f"{mine(name)} --seed 4 --method random")
    evaluator = {"pair": "forward", "listed": "forward"}.get(name, "Mine")
    pair = (
        (lambda x, w, b: convolve(CONV, x, w, b)),
        (lambda x, w, dy: convolve_backward(CONV, x, w, dy)),
    )
    text = str(certify(CONV, pair, seed=4, method="random")).replace(
        "implementation against", f"{evaluator} against"
    )
    assert (status, out) == (0, f"{text}\n")
    assert set(err.split()) <= {"imported", "running"}  # what it prints is kept off stdout


def test_a_wrong_implementation_is_diagnosed_and_gives_status_1(run):
    status, out, _ = run(f"{mine('Mean')} --seed 4 --method random")
    certificate, _, said = out.partition("\n\n")
    words = "db: the mean over the batch is taken for the sum\n  already wrong for 1 channel of "
    assert (status, said.startswith(words)) == (1, True)
    first, head, y, *_ = certificate.splitlines()
    assert first.startswith("does not hold: db wrong at ")
    assert (head, y) == (f"{CONV!r}: Mean against direct convolution", "  y   equal")


def test_json_holds_the_diagnosis_and_nothing_else_is_printed(run):
    status, out, _ = run(f"{mine('Mean')} --json")
    data = json.loads(out)
    assert (status, data["holds"], data["evaluator"]) == (1, False, "Mean")
    words, smallest = data["diagnosis"]
    assert words == "db: the mean over the batch is taken for the sum"
    assert smallest.startswith("  already wrong for 1 channel of ")
    status, out, _ = run(f"{mine('Mine')} --json")
    assert (status, "diagnosis" in json.loads(out)) == (0, False)


def test_channels_last(run):
    assert run(f"{mine('Last')} --layout NHWC")[0] == 0
    assert run(f"{mine('Mine')} --layout NCHW")[0] == 0
    status, out, _ = run(f"{mine('Mine')} --layout NHWC")
    assert (status, out.count(" raised")) == (1, 10)  # in the certificate and the diagnosis


def test_an_implementation_that_the_options_of_certify_reach(run):
    data = json.loads(
        run(
            f"{mine('Mine')} --dtype float32 --batch 1 --error 0.01 --method random --seed 5 --json"
        )[1]
    )
    assert {name: data[name] for name in ("dtype", "batch", "asked", "method", "seed")} == {
        "dtype": "float32",
        "batch": 1,
        "asked": 0.01,
        "method": "random",
        "seed": 5,
    }


def test_gradgrad_needs_a_double_backward(run):
    status, out, err = run(f"{mine('Mine')} --gradgrad")
    assert (status, out) == (2, "")
    assert "needs an object with double_backward(x, w, dy, v, u), for gradgrad=True" in err


FORM = (
    "needs module:object, such as mylayers:Conv; write the module as `import` takes it, "
    "without slashes or .py"
)
UNUSABLE = {  # module:object -> the line on stderr, after "convdense: --implementation: got "
    "mylayers": f"'mylayers'; {FORM}",
    ":Mine": f"':Mine'; {FORM}",
    "mylayers:": f"'mylayers:'; {FORM}",
    "mylayers:Mine()": f"'mylayers:Mine()'; {FORM}",
    "./mylayers:Mine": f"'./mylayers:Mine'; {FORM}",
    "mylayers.py:Mine": (
        "'mylayers.py:Mine'; needs a module 'mylayers.py' in the current directory, or installed; "
        "leave .py out"
    ),
    "yourlayers:Mine": (
        "'yourlayers:Mine'; needs a module 'yourlayers' in the current directory, or installed; "
        "change to its directory; this is {folder}"
    ),
    "your.layers:Mine": (
        "'your.layers:Mine'; needs a module 'your' in the current directory, or installed; "
        "change to its directory; this is {folder}"
    ),
    "mylayers:mine": (
        "'mylayers:mine'; needs a name in module mylayers, which has no 'mine'; did you mean 'Mine'"
    ),
    "mylayers:Space.Outer": "'mylayers:Space.Outer'; needs a name in Space, which has no 'Outer'",
    "lazy:x": (
        "'lazy:x', whose 'x' raised KeyError: 'x' (lazy.py:2); "
        "needs a name in module lazy that can be read"
    ),
    "mylayers:qqqq": "'mylayers:qqqq'; needs a name in module mylayers, which has no 'qqqq'",
    "mylayers:number": f"'mylayers:number', of type int; needs {NEEDS}",
    "mylayers:nothing": f"'mylayers:nothing', which returned one of type NoneType; needs {NEEDS}",
    "mylayers:leaves": (
        "'mylayers:leaves', which raised SystemExit: 3 (mylayers.py:81) when called with "
        f"{CONV!r}; needs {NEEDS}"
    ),
    "divides:x": (
        "'divides:x', whose import raised ZeroDivisionError: division by zero (divides.py:3); "
        "needs a module that can be imported"
    ),
    "calls:x": "'calls:x', whose import raised ZeroDivisionError: division by zero (divides.py:3); "
    "needs a module that can be imported",
    "cannot:x": "'cannot:x', whose import raised SyntaxError: invalid syntax (cannot.py:2); "
    "needs a module that can be imported",
    "lacks:x": (
        "'lacks:x', whose import raised ModuleNotFoundError: No module named 'no_such_thing' "
        "(lacks.py:1); needs a module that can be imported"
    ),
    "leaves:x": (
        "'leaves:x', whose import raised SystemExit: 3 (leaves.py:1); "
        "needs a module that can be imported"
    ),
    "folds:x": (
        "'folds:x', whose import raised ValueError: one (folds.py:1); "
        "needs a module that can be imported"
    ),
}
FILES = {
    "divides": "x = 1\n\nx / 0\n",
    "calls": "import divides\n",
    "cannot": "x = 1\ndef f(:\n",
    "lacks": "import no_such_thing\n",
    "leaves": "raise SystemExit(3)\n",
    "lazy": "def __getattr__(name):\n    return {}[name]\n",
    "folds": "raise ValueError('one\\ntwo')\n",
}


@pytest.mark.parametrize(("reference", "line"), UNUSABLE.items(), ids=UNUSABLE)
def test_what_cannot_be_used_is_refused_in_one_line(run, tmp_path, reference, line):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    status, out, err = run(f"certify {LAYER} --implementation {reference}")
    said = [part for part in err.splitlines() if part != "imported"]
    assert (status, out) == (2, "")
    assert said == ["convdense: --implementation: got " + line.replace("{folder}", str(tmp_path))]


def test_a_layer_that_is_not_implemented_is_said_so(run):
    status, out, err = run(
        "certify --input 4x5 --kernel 2 --groups 2 --out-channels 2 --implementation mylayers:Mine"
    )
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == (
        "convdense: --implementation: got 'mylayers:Mine', which raised NotImplementedError: "
        "no groups (mylayers.py:16) when called with "
        "Conv((4, 5), out_channels=2, kernel=2, groups=2); needs a layer that it implements"
    )


def test_a_backward_of_two_results_is_refused_in_one_line(run):
    status, out, err = run(mine("two"))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("convdense: backward: got tuple; needs three results")


OPTIONS = {  # line -> the line on stderr, after "convdense: "
    f"certify {LAYER} --layout NHWC": (
        "--layout: got NHWC; needs --implementation module:object beside it"
    ),
    "certify --claims --implementation a:b": "certify: got --claims and --implementation; "
    "needs --input beside --implementation",
    "certify --claims --layout NHWC": (
        "certify: got --claims and --layout; needs --input beside --layout"
    ),
    "certify --implementation mylayers:Mine": (
        "--input: got nothing; needs a size, such as --input 3x32x32; or use --claims"
    ),
    f"certify {LAYER} --ceil-mode": (
        "--ceil-mode: got a convolution; needs --pool max, avg, sum, min, lp beside it"
    ),
    f"certify {LAYER} --no-count-include-pad": (
        "--count-include-pad: got a convolution; needs --pool avg beside it"
    ),
    "certify --input 2x4 --kernel 2 --pool max --count-include-pad": (
        "--count-include-pad: got --pool max; needs --pool avg"
    ),
    "certify --input 2x4 --kernel 2 --pool max --out-channels 2": (
        "--out-channels: got --pool max beside it; needs a convolution; leave one of the two out"
    ),
    "certify --input 2x4 --kernel 2 --pool max --flip": (
        "--flip: got --pool max beside it; needs a convolution; leave one of the two out"
    ),
    "certify --rerun proof.json --pool max": (
        "certify: got --rerun and --pool; needs --input beside --pool"
    ),
    "certify --input 2x4 --kernel 2 --pool max --padding 2": (
        "padding: got (2, 2); needs less than the window's 2 cells on axis 0; "
        "such a window would hold nothing but padding, and give -infinity"
    ),
}


@pytest.mark.parametrize(("line", "said"), OPTIONS.items(), ids=OPTIONS)
def test_options_that_do_not_go_together_are_refused(run, line, said):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert err.replace("imported\n", "") == f"convdense: {said}\n"


# run again


def record(run, tmp_path, line):
    path = tmp_path / "verdict.json"
    path.write_text(run(f"{line} --json")[1], encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["Mine", "Mean"])
def test_a_certificate_of_an_implementation_is_run_again(run, tmp_path, name):
    path = record(run, tmp_path, f"{mine(name)} --seed 8 --method random")
    status, out, err = run(f"certify --json --implementation mylayers:{name} --rerun", path)
    assert (status, out) == (int(name == "Mean"), path.read_text(encoding="utf-8"))
    assert "note" not in err
    pool = record(
        run,
        tmp_path,
        "certify --pool avg --input 2x5 --kernel 2 --seed 8 --implementation mylayers:Mine",
    )
    assert run("certify --implementation mylayers:Mine --rerun", pool)[0] == 0
    last = record(run, tmp_path, f"{mine('Last')} --layout NHWC --seed 8")
    assert run("certify --implementation mylayers:Last --layout NHWC --rerun", last)[0] == 0


def test_code_that_was_mended_is_noted(run, tmp_path):
    path = record(run, tmp_path, f"{mine('Mean')} --seed 8 --method random")
    status, _, err = run("certify --implementation mylayers:Mine --rerun", path)
    assert status == 0
    assert [line for line in err.splitlines() if "note" in line] == [
        "convdense: note: the file is a certificate of 'Mean', this is one of 'Mine'",
        "convdense: note: the file records another result than its own trials give now",
    ]


def test_a_certificate_of_an_implementation_is_refused_without_it(run, tmp_path):
    path = record(run, tmp_path, mine("Mine"))
    assert run("certify --rerun", path) == (
        2,
        "",
        f"convdense: --rerun: got {path}, a certificate of 'Mine'; "
        "needs the implementation, which no file can hold; add --implementation module:object\n",
    )


def test_a_certificate_of_the_dense_layer_is_refused_with_an_implementation(run, tmp_path):
    path = record(run, tmp_path, f"certify {LAYER}")
    status, out, err = run("certify --implementation mylayers:Mine --rerun", path)
    assert (status, out) == (2, "")
    assert err == (
        f"convdense: --rerun: got {path}, a certificate of 'tied dense layer'; "
        "needs a certificate of an implementation, with --implementation; "
        "leave --implementation out, or the file, and describe the layer\n"
    )


@pytest.mark.parametrize("name", ["mylayers:Mine", "mylayers", "os:system"])
def test_nothing_that_a_file_names_is_imported(run, tmp_path, name):
    path = record(run, tmp_path, mine("Mine"))
    data = json.loads(path.read_text(encoding="utf-8"))
    del sys.modules["mylayers"]
    named = {"evaluator": name, "implementation": name, "layer": {**data["layer"], "type": name}}
    for changed in (
        {"evaluator": name},
        {"implementation": name},
        named,
        {"kind": name},
        {"reference": name},
    ):
        path.write_text(json.dumps(data | changed), encoding="utf-8")
        status, out, err = run("certify --rerun", path)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "mylayers" not in sys.modules


def test_an_edited_certificate_of_an_implementation_is_refused(run, tmp_path):
    path = record(run, tmp_path, f"{mine('Mine')} --method random --seed 1")
    data = json.loads(path.read_text(encoding="utf-8"))
    for changed in (
        {"trials": 1},
        {"dtype": "int8"},
        {"kind": "report"},
        {"reference": "another"},
        {"layer": 3},
    ):
        path.write_text(json.dumps(data | changed), encoding="utf-8")
        status, out, err = run("certify --implementation mylayers:Mine --rerun", path)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith("convdense: ")
        assert "needs" in err.splitlines()[-1]


def raising(kind):
    """A module whose forward raises so."""
    return (
        MODULE
        + f"""

class Silent(Exception):
    def __str__(self):
        raise ValueError("no text")


class Own(BaseException):
    pass


class Leaves(Mine):
    def forward(self, x, *rest):
        raise {kind}
"""
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("SystemExit(0)", "SystemExit: 0"),
        ("GeneratorExit", "GeneratorExit: "),
        ("KeyboardInterrupt", "KeyboardInterrupt: "),
        ("Own('gone')", "Own: gone"),
        ("Silent", "Silent: (its text raises too: Silent)"),
    ],
)
def test_whatever_the_code_raises_itself_is_a_verdict(run, tmp_path, kind, said):
    (tmp_path / "mylayers.py").write_text(raising(kind), encoding="utf-8")
    status, out, err = run(f"{mine('Leaves')} --json")
    y, *_ = json.loads(out)["findings"]
    assert (status, y["verdict"], y["note"]) == (1, "raised", said)
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", ["SystemExit(0)", "GeneratorExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("place", ["import", "attribute", "call"])
def test_code_that_ends_the_program_before_it_is_judged_is_refused(run, tmp_path, place, kind):
    module = {
        "import": f"raise {kind}",
        "attribute": f"def __getattr__(name):\n    raise {kind}",
        "call": f"def made(layer):\n    raise {kind}",
    }[place]
    (tmp_path / "mylayers.py").write_text(module, encoding="utf-8")
    status, out, err = run(mine("made"))
    assert (status, out) == (2, "")
    assert f"raised {kind.partition('(')[0]}: " in err


def test_ctrl_c_in_the_middle_of_the_code_is_no_verdict():
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)
        return 0.0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            certify(CONV, (interrupted, backward_of_conv))
    finally:
        signal.signal(signal.SIGINT, before)


def backward_of_conv(x, w, dy):
    return convolve_backward(CONV, x, w, dy)


# as a program

LOUD = """
import atexit, ctypes, os, subprocess, sys

libc = ctypes.CDLL(None)


class Loud(Mine):
    def forward(self, x, *rest):
        os.write(1, b"written\\n")
        print("printed", file=sys.__stdout__)
        libc.puts(b"put")
        return super().forward(x, *rest)


subprocess.run([sys.executable, "-c", "print('a child')"])
atexit.register(print, "at the end")
"""


@pytest.mark.skipif(os.name == "nt", reason="C's library is another there")
def test_json_stays_json_whatever_the_code_writes(tmp_path):
    (tmp_path / "mylayers.py").write_text(MODULE + LOUD, encoding="utf-8")
    line = [sys.executable, "-m", "convdense", *mine("Loud").split(), "--json"]
    buffered = ENVIRONMENT | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        line, cwd=tmp_path, env=buffered, capture_output=True, text=True, check=False, timeout=60
    )
    assert json.loads(done.stdout)["holds"]
    assert done.returncode == 0
    for word in ("written", "printed", "put", "a child", "at the end"):
        assert word in done.stderr.splitlines()


def test_the_program_imports_from_the_current_directory(tmp_path):
    (tmp_path / "mylayers.py").write_text(MODULE, encoding="utf-8")
    line = [
        sys.executable,
        "-P",
        "-m",
        "convdense",
        *mine("Mean").split(),
    ]  # -P: as the installed script starts
    done = subprocess.run(
        line, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\n\ndb: the mean over the batch is taken for the sum\n" in done.stdout
