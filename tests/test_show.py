"""The command `show`: what it prints, in which colours, and what is too large for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convdense
from convdense import Conv, ConvTranspose, LocallyConnected, tie
from convdense.cli._main import main
from convdense.cli.show import LEVELS, SHOW_LIMIT, coloured, painter
from convdense.display.palette import COLOURS, contrast, mixed
from convdense.structure.letter_grid import Grid

LAYERS = {
    "--input 1x3x3 --kernel 2x2": Conv((1, 3, 3), 1, kernel=2),
    "--input 2x4 --kernel 3 --out-channels 2 --groups 2": Conv((2, 4), 2, kernel=3, groups=2),
    "--input 1x2 --kernel 3 --padding 1 --padding-mode reflect": Conv(
        (1, 2), 1, kernel=3, padding=1, padding_mode="reflect"
    ),
    "--input 1x2x2 --kernel 2 --transposed": ConvTranspose((1, 2, 2), 1, kernel=2),
    "--input 1x2x3 --kernel 2 --locally-connected": LocallyConnected((1, 2, 3), 1, kernel=2),
}
SMALL = "--input 1x3x3 --kernel 2"
PAINTED = re.compile(r"\x1b\[48;(?:5;(\d+)|2;(\d+);(\d+);(\d+));38;5;(16|231)m([^\x1b]+)\x1b\[0m")
INKS = {"16": "#000000", "231": "#FFFFFF"}  # of the 256 colours


@pytest.fixture
def run(capsys, monkeypatch):
    """Run one command line here, in this environment; return exit status, stdout and stderr."""

    def run(line, **environment):
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            status = main(line.split())
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def bare(text):
    """Return painted text without its paint.

    What is painted beyond the last letter of a line goes, too.
    """
    return re.sub(r" +$", "", PAINTED.sub(lambda match: match[6], text), flags=re.MULTILINE)


def displayed(match):
    """Return the colour that a terminal shows behind a painted text, and that of the letters."""
    number, *parts, ink, _ = match.groups()
    if number is not None:
        at = int(number) - 16
        parts = LEVELS[at // 36], LEVELS[at // 6 % 6], LEVELS[at % 6]
    return "#{:02X}{:02X}{:02X}".format(*map(int, parts)), INKS[ink]


@pytest.mark.parametrize(("options", "layer"), LAYERS.items(), ids=LAYERS)
def test_the_layer_and_its_matrix_in_letters(run, options, layer):
    status, out, err = run(f"show {options}", TERM="xterm", COLORTERM="truecolor")
    head = f"{layer!r}: {layer.in_shape} -> {layer.out_shape}\n"
    assert (status, out, err) == (0, head + Grid.of(tie(layer)).text() + "\n", "")


@pytest.mark.parametrize("depth", ["truecolor", "24bit", "", "yes"])
@pytest.mark.parametrize(("options", "layer"), LAYERS.items(), ids=LAYERS)
def test_colour_changes_no_letter(run, options, layer, depth):
    plain = run(f"show {options}")[1]
    status, out, err = run(f"show {options} --color always", COLORTERM=depth)
    assert (status, err) == (0, "")
    assert bare(out) == plain != out
    grid, shown = Grid.of(tie(layer)), [displayed(match) for match in PAINTED.finditer(out)]
    exact = [mixed([COLOURS[k % 9] for k, _ in held]) for _, held in sorted(grid.held.items())]
    if depth in ("truecolor", "24bit"):
        assert [behind for behind, _ in shown] == exact
    assert len(shown) == len(grid.held)
    assert min(contrast(*pair) for pair in shown) >= 4.5


def test_nine_colours_stay_nine_in_the_256_of_xterm():
    paint = painter({})
    shown = {displayed(PAINTED.fullmatch(paint("a", colour)))[0] for colour in COLOURS}
    assert len(shown) == len(COLOURS)


def test_any_mixture_can_be_read_in_the_256_of_xterm():
    paint = painter({})
    some = [
        f"#{red:02X}{green:02X}{blue:02X}"
        for red in LEVELS
        for green in range(0, 256, 15)
        for blue in (60, 120, 240)
    ]
    assert (
        min(contrast(*displayed(PAINTED.fullmatch(paint("a", colour)))) for colour in some) >= 4.5
    )
    assert (
        displayed(PAINTED.fullmatch(paint("a", "#5FAFFF")))[0] == "#5FAFFF"
    )  # one of them stays as it is


TERMINAL = {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        (TERMINAL, True, True),
        (TERMINAL, False, False),
        ({}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "linux"}, True, True),
        ({**TERMINAL, "NO_COLOR": "1"}, True, False),
        ({**TERMINAL, "NO_COLOR": "0"}, True, False),  # whatever it holds
        ({**TERMINAL, "NO_COLOR": ""}, True, True),  # "when present and not an empty string"
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({**TERMINAL, "FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
    ids=str,
)
def test_when_there_is_colour(environment, is_terminal, expected):
    assert coloured(environment, is_terminal) is expected


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ("", {"TERM": "xterm"}, False),  # no terminal: a file, a pipe
        ("--color auto", {"FORCE_COLOR": "1"}, True),
        ("--color never", {"FORCE_COLOR": "1"}, False),
        (
            "--color always",
            {"NO_COLOR": "1", "TERM": "dumb"},
            True,
        ),  # who asks by an option means it
    ],
)
def test_the_option_goes_before_the_environment(run, options, environment, expected):
    assert ("\x1b" in run(f"show {SMALL} {options}", **environment)[1]) is expected


def in_a_terminal(*arguments, **environment):
    """Return what the program writes into a pseudo-terminal, and its exit status."""
    own = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    path = str(Path(convdense.__file__).parents[1])
    leader, follower = pytest.importorskip("pty").openpty()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "convdense", "show", *arguments],
            env={
                **own,
                "PYTHONPATH": path,
                "TERM": "xterm-256color",
                "COLUMNS": "80",
                **environment,
            },
            stdout=follower,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        os.write(follower, b"\x04")  # so that there is something to read in any case
        return (
            ran.returncode,
            os.read(leader, 1 << 16).decode().replace("\r\n", "\n").rstrip("\x04"),
            ran.stderr,
        )
    finally:
        os.close(leader)
        os.close(follower)


def width(layer):
    return max(map(len, Grid.of(tie(layer)).text().splitlines()))


def test_a_terminal_as_wide_as_the_lines_gets_colour(run):
    status, out, err = in_a_terminal(
        *SMALL.split(), COLUMNS=str(width(LAYERS["--input 1x3x3 --kernel 2x2"]))
    )
    assert (status, err) == (0, "")
    assert len(PAINTED.findall(out)) == 16
    assert bare(out) == run(f"show {SMALL}")[1]


def test_lines_wider_than_the_terminal_are_refused():
    needed = width(Conv((1, 6, 6), 1, kernel=3))
    status, out, err = in_a_terminal(
        *["--input", "1x6x6", "--kernel", "3"], COLUMNS=str(needed - 1), NO_COLOR="1"
    )
    assert (status, out) == (2, "")
    assert err == (
        f"convdense: layer: got lines of {needed} characters; "
        f"needs at most {needed - 1}, the width of this terminal; widen it, or add | less -S\n"
    )


def test_a_file_may_have_lines_of_any_width(run):
    status, out, _ = run("show --input 1x6x6 --kernel 3", COLUMNS="20")
    assert status == 0
    assert len(out.splitlines()[1]) > 120


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ("--input 1x65 --kernel 1 --padding 0:0", "65 x 65 cells, 65 entries"),
        ("--input 3x32x32 --kernel 3 --padding 1", "1,024 x 3,072 cells, 26,508 entries"),
        (
            "--input 1x1 --kernel 4097 --padding 0:4096 --padding-mode replicate",
            "1 x 1 cells, 4,097 entries",
        ),
    ],
)
def test_a_layer_too_large_is_refused_before_it_is_written_out(run, options, got, monkeypatch):
    monkeypatch.setattr(convdense.TieMap, "entries", lambda ties: pytest.fail("written out"))
    needs = f"needs at most {SHOW_LIMIT:,} of each to be shown in letters"
    do = "look at convdense.plots.density(layer), or show a smaller layer of the same kind"
    assert run(f"show {options}") == (2, "", f"convdense: layer: got {got}; {needs}; {do}\n")


def test_as_many_cells_as_the_limit(run):
    assert SHOW_LIMIT == 64 * 64
    status, out, _ = run("show --input 1x64 --kernel 1")
    assert (status, len(out.splitlines())) == (0, 66)
