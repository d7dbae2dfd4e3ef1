"""The small-scope sweep: it counts every geometry, and sees a defect that few of them meet."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import convdense
from convdense import Conv, ConvTranspose, LocallyConnected
from convdense.claims.claims import CLAIMS
from convdense.cli import _main
from convdense.cli import claims as cli_claims
from convdense.direct import conv as direct_conv
from convdense.geometry.padding import MODES
from convdense.layers import tied_dense
from convdense.structure import axis
from convdense.sweeps import _sweep, all_basis_pairs
from convdense.sweeps._sweep import Sweep
from convdense.sweeps.all_basis_pairs import judge_pairs
from convdense.sweeps.scope import FAMILIES, Family, Scope, count, geometries
from convdense.verdicts.findings import EQUAL
from tests.conftest import JUDGED
from tests.few_calls import is_everything_tried

# Primes: no number of the scope is skipped in step with them.
THINNED = 1009 if is_everything_tried() else 2003
FEW = Family("a few", Scope(axes=1, input=4, kernel=2, stride=3, dilation=2, padding=1))
FEW_TRANSPOSED = FEW._replace(name="a few, transposed", kind=ConvTranspose)


@pytest.mark.claim("forward", "dx", "dw", "db", "transposed")
def test_one_geometry_in_many_is_equal_on_every_pair(record_property):
    result = _sweep.sweep(every=THINNED, workers=1)
    for id, transposed in (
        ("forward", False),
        ("dx", False),
        ("dw", False),
        ("db", False),
        ("transposed", True),
    ):
        judged = sum(
            f.geometries for f in result.families if ("transposed" in f.family) == transposed
        )
        record_property(JUDGED, (id, judged, 0.0, 0))  # every pair, no draws and no trials
    assert result, str(result)
    assert result.geometries == sum(-(-count(family) // THINNED) for family in FAMILIES)
    assert (result.failed, result.failures, result.every, result.processes) == (0, (), THINNED, 1)


# what is swept


def sizes(family, mode):
    """Return how many numbers of one axis are valid in a mode, and how many pad nothing."""
    _, n, k, s, d, p, *_ = family.scope
    copies = {"circular": lambda n: n, "reflect": lambda n: n - 1, "symmetric": lambda n: n}.get(
        mode, lambda n: p
    )
    padded = plain = 0
    for size, kernel, dilation, begin, end in product(
        *(range(1, m + 1) for m in (n, k, d)), range(p + 1), range(p + 1)
    ):
        fits = dilation * (kernel - 1) + 1 <= size + begin + end and max(begin, end) <= copies(size)
        padded, plain = padded + s * fits, plain + s * (fits and begin == end == 0)
    return padded, plain


@pytest.mark.parametrize(
    ("family", "expected"), [(FAMILIES[0], 14_094), (FAMILIES[1], 102_784)], ids=["1-D", "2-D"]
)
def test_every_geometry_is_counted_once(family, expected):
    axes = family.scope.axes
    zeros, plain = sizes(family, "zeros")
    others = sum(sizes(family, mode)[0] ** axes - plain**axes for mode in MODES[1:])
    assert count(family) == zeros**axes + others == expected


def test_the_guide_says_how_many_there_are():
    words = (Path(__file__).parents[1] / "docs/guide.md").read_text(encoding="utf-8").split()
    line, plane, *others = map(count, FAMILIES)
    for n in (line, plane, sum(others), line + plane + sum(others)):
        assert f"{n:,}" in words


def expected_modes(family):
    if family.mixed:
        others = MODES[1:]
        return {("zeros", mode) for mode in others} | {(mode, "zeros") for mode in others}
    if family.kind is ConvTranspose or family.padding_value or family.scope.input_dilation > 1:
        return {"zeros"}
    return set(MODES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_holds_no_geometry_twice_and_reaches_its_limits(family):
    some = list(geometries(family, every=1 if count(family) < 5_000 else 7))
    assert len(set(some)) == len(some)
    for name, most in family.scope._asdict().items():
        if name not in ("axes", "input", "padding", "crop"):
            assert max(max(getattr(layer, name, (0,))) for layer in some) == most
    assert {n for layer in some for n in layer.in_spatial} == set(range(1, family.scope.input + 1))
    pads = {pair for layer in some for pair in layer.padding}
    assert pads == set(product(range(-family.scope.crop, family.scope.padding + 1), repeat=2))
    assert {layer.padding_mode for layer in some} == expected_modes(family)
    assert {layer.padding_value for layer in some} == {family.padding_value}
    assert all(
        layer.out_shape[0] == family.out_channels and layer.groups == family.groups
        for layer in some
    )


def test_a_plane_has_every_geometry_that_the_constructor_takes():
    family = Family("a plane", Scope(axes=2, input=2, kernel=2, stride=1, dilation=1, padding=1))
    taken, pads = set(), list(product(range(2), repeat=2))
    for a, b, k, m, p, q, mode in product((1, 2), (1, 2), (1, 2), (1, 2), pads, pads, MODES):
        if mode == "zeros" or any(p + q):
            try:
                taken.add(Conv((1, a, b), 1, kernel=(k, m), padding=(p, q), padding_mode=mode))
            except ValueError:
                continue
    assert set(geometries(family)) == taken


def test_each_nth_is_taken_from_every_family(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW, FEW_TRANSPOSED))
    result = _sweep.sweep(every=10**6, workers=1)
    assert [family.geometries for family in result.families] == [1, 1]
    assert result.pairs == 2 * all_basis_pairs.basis_pairs(Conv((1, 1), 1, kernel=1)) == 6


# what the judge of one layer evaluates


OTHERS = [
    Conv((2, 3), 3, kernel=2, stride=2, padding=1, padding_mode="circular"),
    Conv((4, 2, 3), 2, kernel=(1, 2), groups=2, flip=True),
    ConvTranspose((2, 3), 3, kernel=2, stride=2, padding=1, output_padding=1),
    LocallyConnected((1, 2, 3), 2, kernel=2, padding=1, padding_mode="replicate"),
]


@pytest.mark.parametrize("layer", OTHERS, ids=repr)
def test_a_layer_is_judged_on_each_of_its_basis_pairs(layer):
    assert judge_pairs(layer) is None
    units = all_basis_pairs._units(layer)
    inputs, outputs, weights, biases = (len(a) for a in (units.x, units.dy, units.w, units.b))
    for evaluator in (all_basis_pairs._dense, all_basis_pairs._direct):
        y, dx, dw, db, drawn = evaluator(layer, units)
        assert y.shape == (weights + biases, inputs, *layer.out_shape)
        assert dx.shape == (weights, outputs, *layer.in_shape)
        assert dw.shape == (inputs, outputs, *layer.weight_shape)
        assert db.shape == (outputs, *layer.bias_shape)
        assert len(drawn) == 4
    assert (
        all_basis_pairs.basis_pairs(layer)
        == weights * inputs + weights * outputs + inputs * outputs
    )
    for unit in units[:4]:
        flat = unit.reshape(len(unit), -1)
        assert (
            np.count_nonzero(flat) == len(np.unique(flat[flat != 0])) == len(flat) == flat.shape[1]
        )


def test_the_weight_gradient_alone_is_that_of_the_backward_pass():
    for layer in OTHERS:
        x, w, _, dy = all_basis_pairs._units(layer).drawn
        expected = direct_conv.convolve_backward(layer, x, w, dy).dw
        assert np.array_equal(direct_conv.weight_gradient(layer, x, dy), expected)


@pytest.mark.parametrize("quantity", range(5))
def test_each_quantity_is_compared(quantity, monkeypatch):
    right = all_basis_pairs._dense

    def wrong(layer, units):
        results = list(right(layer, units))
        part = results[quantity]
        results[quantity] = (
            (*part[:3], part[3] + 1)
            if quantity == 4
            else part + (np.arange(part.size) == 3).reshape(part.shape)
        )
        return all_basis_pairs.PairResults(*results)

    monkeypatch.setattr(all_basis_pairs, "_dense", wrong)
    finding = judge_pairs(OTHERS[0])
    assert finding.name == ["y", "dx", "dw", "db", "db"][quantity]
    assert not finding.holds


def test_an_evaluator_that_writes_to_an_operand_or_raises_is_a_verdict(monkeypatch):
    monkeypatch.setattr(all_basis_pairs, "convolve", lambda layer, x, w, b=None: x.__imul__(0))
    finding = judge_pairs(OTHERS[0])
    assert (finding.verdict, finding.note) == ("raised", "ValueError: output array is read-only")


# planted defects that only a few geometries meet


def window_if(meets, _right=axis.window, **changed):
    """Return a window that is wrong where its options meet a condition."""

    def window(n_in, n_out, kernel, **options):
        if not meets(options):
            return _right(n_in, n_out, kernel, **options)
        return _right(
            n_in,
            n_out,
            kernel,
            **{n: change(options[n]) for n, change in changed.items()},
            **{n: value for n, value in options.items() if n not in changed},
        )

    return window


def tap_lost(n_in, n_out, kernel, _right=axis.window, **options):
    whole = _right(n_in, n_out, kernel, **options)
    return whole.take(whole.taps != 1) if options.get("mode") == "reflect" else whole


def rim_dropped(layer, padded, sizes, _right=direct_conv._unpad):
    if layer.padding_mode != "symmetric":
        return _right(layer, padded, sizes)
    cut = (slice(begin, begin + n) for n, (begin, _) in zip(sizes, layer.padding, strict=True))
    return padded[(..., *cut)]


def doubled_where_dilated(layer, x, dy, _right=direct_conv.weight_gradient):
    return _right(layer, x, dy) * (2 if layer.dilation == (2,) else 1)


def clipped(tied, x, _right=tied_dense.TiedDense.forward):
    return np.maximum(_right(tied, x), -30)


def stamped_elsewhere(layer, taps, small, w, _right=direct_conv._stamp):
    full = _right(layer, taps, small, w)
    return (
        np.roll(full, 1, axis=-1)
        if isinstance(layer, ConvTranspose) and layer.stride == (3,)
        else full
    )


# Name -> what is replaced, by what, the quantity that is wrong, and what all that fail share
DEFECTS = {
    "a wrong offset": (
        "structure._tie.window",
        window_if(lambda o: o["begin"] == 1, begin=lambda n: n - 1),
        "y",
        "padding=",
    ),
    "wrong only for stride 3": (
        "structure._tie.window",
        window_if(lambda o: o["stride"] == 3, stride=lambda _: 2),
        "y",
        "stride=3",
    ),
    "a tap lost in one mode": ("structure._tie.window", tap_lost, "y", "'reflect'"),
    "a rim lost in one mode": ("direct.conv._unpad", rim_dropped, "dx", "'symmetric'"),
    "dw doubled where dilated": (
        "sweeps.all_basis_pairs.weight_gradient",
        doubled_where_dilated,
        "dw",
        "dilation=2",
    ),
    "clipped below": ("layers.tied_dense.TiedDense.forward", clipped, "y", "Conv"),
    "transposed, stride 3": ("direct.conv._stamp", stamped_elsewhere, "y", "ConvTranspose"),
}


@pytest.mark.parametrize(("target", "defect", "quantity", "common"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_that_few_geometries_meet_is_seen(monkeypatch, target, defect, quantity, common):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW, FEW_TRANSPOSED))
    monkeypatch.setattr(f"convdense.{target}", defect)
    result = _sweep.sweep(every=23, workers=1)
    assert not result
    assert 0 < result.failed < result.geometries
    assert len(result.failures) == min(result.failed, _sweep.SHOWN)
    assert {failure.finding.name for failure in result.failures} == {quantity}
    assert all(common in failure.layer for failure in result.failures)
    assert f"NOT equal on {result.failed} of them" in str(result)
    assert str(result.failures[0]) in str(result)


# the result


def test_the_result_is_said_in_words_and_in_json(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW,))
    monkeypatch.setattr(all_basis_pairs, "TiedDense", None)
    failed = _sweep.sweep(every=97, workers=1)
    data = json.loads(json.dumps(failed.to_dict()))
    assert (data["kind"], data["holds"], data["failed"]) == ("sweep", False, failed.geometries)
    assert data["failures"][0]["layer"] == "Conv((1, 1), out_channels=1, kernel=1)"
    assert data["failures"][0]["finding"]["verdict"] == "raised"
    assert data["families"] == [
        {
            "family": "a few",
            "scope": "input 4, kernel 2, stride 3, dilation 2, padding 1",
            "geometries": failed.geometries,
            "pairs": failed.pairs,
            "failed": failed.failed,
        }
    ]
    held = replace(
        failed,
        families=tuple(replace(f, failed=0) for f in failed.families),
        failures=(),
        every=1,
        seconds=61.4,
    )
    assert held
    assert "every geometry of a small scope" in str(held)
    assert str(held).endswith("all equal bit for bit; 61 s on 1 process")
    assert isinstance(held, Sweep)
    assert EQUAL not in {f.finding.verdict for f in failed.failures}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"every": 0}, "every: got 0; needs an integer of at least 1"),
        ({"every": 1, "workers": 0}, "workers: got 0; needs an integer of at least 1"),
    ],
)
def test_what_cannot_be_swept_is_refused(arguments, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        _sweep.sweep(**arguments)


def test_processes_give_what_one_process_gives():
    alone, together = (_sweep.sweep(every=30_000, workers=n) for n in (1, 2))
    assert together.processes == 2
    assert replace(together, processes=1, seconds=alone.seconds) == alone


INTERRUPTED = """
from convdense.sweeps import _sweep

class Bar:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, n): print("begun", flush=True)

if __name__ == "__main__":
    _sweep._bar = lambda total: Bar()
    _sweep.FAMILIES = _sweep.FAMILIES[1:2]  # more than a hundred thousand geometries: minutes
    try:
        _sweep.sweep(workers=2)
    except KeyboardInterrupt:
        print("ended")
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a group of processes differently there")
def test_ctrl_c_ends_every_process_at_once():
    environment = {**os.environ, "PYTHONPATH": str(Path(convdense.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # also below nohup, which has the signal ignored
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", heard + INTERRUPTED]
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out.splitlines()[-1] == "ended"
    assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="signals are other things there")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_processes_end_with_their_parent(name):
    """An orphan would hold standard output open, and whoever reads it would wait for ever."""
    environment = {**os.environ, "PYTHONPATH": str(Path(convdense.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(getattr(signal, name))  # the parent alone
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


# on the command line


@pytest.fixture
def swept(monkeypatch):
    monkeypatch.setattr(cli_claims, "CLAIMS", [claim for claim in CLAIMS if claim.id == "toeplitz"])
    monkeypatch.setattr(
        _sweep, "sweep", lambda _right=_sweep.sweep: _right(every=40_000, workers=1)
    )
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW,))


def test_the_claims_are_followed_by_the_sweep(swept, capsys, monkeypatch):
    assert _main.main(["certify", "--claims", "--all"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("claim ")
    assert "1 geometries, 3 pairs of basis vectors, all equal bit for bit" in out
    assert err == ""
    assert _main.main(["certify", "--claims", "--all", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [claim["id"] for claim in data["claims"]] == ["toeplitz"]
    assert (data["sweep"]["geometries"], data["sweep"]["holds"]) == (1, True)
    monkeypatch.setattr(all_basis_pairs, "TiedDense", None)
    assert _main.main(["certify", "--claims", "--all"]) == 1
    assert _main.main(["certify", "--claims", "--all", "--json"]) == 1
    assert _main.main(["certify", "--claims"]) == 0


def test_all_is_refused_without_claims(capsys):
    assert _main.main(["certify", "--input", "1x3", "--kernel", "2", "--all"]) == 2
    assert capsys.readouterr().err == "convdense: certify: got --all; needs --claims beside --all\n"
