"""The JSON of verdicts: numbered, and what older schemas wrote still reads and runs again."""

import json
from pathlib import Path

import numpy as np
import pytest

import convdense as cd
from convdense.adapters.model_report import ModelReport
from convdense.certificates import Certificate, NetworkCertificate
from convdense.checks import Report
from convdense.cli import main
from convdense.sweeps import _sweep, sweep
from convdense.verdicts.schema import SCHEMA, upgraded, with_schema
from tests.test_sweep import FEW

KINDS = {
    "certificate": Certificate,
    "network_certificate": NetworkCertificate,
    "report": Report,
    "model_report": ModelReport,
}
OLD_WORDS = ("road", "twin", "kink", '"by"', '"ties"')


def written(schema, name):
    """Return a file as a version with that schema wrote it: these are never written anew."""
    path = Path(__file__).parent / f"schema_{schema}" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def with_rules(data, schema):
    """Return data in which every certificate says that it was judged by the rules of a schema."""
    if isinstance(data, list):
        return [with_rules(part, schema) for part in data]
    if not isinstance(data, dict):
        return data
    return {k: schema if k == "rules" else with_rules(v, schema) for k, v in data.items()}


class Mine:
    """What the files on an implementation are about."""

    layer = cd.Conv((1, 3, 3), 1, kernel=2)

    def forward(self, x, w, b):
        return cd.convolve(self.layer, x, w, b)

    def backward(self, x, w, dy):
        return cd.convolve_backward(self.layer, x, w, dy)


MINE = Mine()


def test_an_old_file_is_judged_by_the_rules_of_today_and_says_which_changed(tmp_path, capsys):
    recorded = Certificate.from_dict(written(2, "implementation"))
    assert (recorded.seed, recorded.rules, recorded.rerun_of) == (0, 2, None)
    assert "compared: random reals" not in str(recorded)  # not all of them were
    again = recorded.rerun(Mine())
    assert (bool(again), again.rules, again.rerun_of) == (True, SCHEMA, 2)
    lines = str(again).splitlines()
    assert "recorded under schema 2: reals were compared in 12 entries, now all" in lines
    assert "compared: random reals, all entries" in str(again)
    assert Certificate.from_dict(json.loads(json.dumps(again.to_dict()))) == again

    path = Path(__file__).parent / "schema_2/implementation.json"
    mine = ["--implementation", "tests.test_schema:MINE"]
    assert main(["certify", "--rerun", str(path), *mine]) == 0
    out, err = capsys.readouterr()
    assert "recorded under schema 2: " in out
    assert err == ""


def test_a_file_whose_rules_are_those_of_today_repeats_and_says_nothing_of_rules():
    recorded = Certificate.from_dict(written(SCHEMA, "implementation"))
    assert recorded.rerun(Mine()) == recorded
    assert "recorded under" not in str(recorded.rerun(Mine()))


def test_rules_alone_are_no_reason_to_call_a_file_edited():
    old = written(2, "implementation") | {"trials": 12, "error": 2.0**-70}
    assert Certificate.from_dict(old).rerun(Mine()).trials == 170
    edited = written(SCHEMA, "implementation") | {"trials": 12}
    with pytest.raises(ValueError, match=r"got 12 trials, .* was it edited"):
        Certificate.from_dict(edited).rerun(Mine())


def test_what_rounded_so_much_that_nothing_was_bounded_no_longer_holds():
    old = written(2, "implementation") | {"method": "random", "seed": 3, "error": 1.0}
    recorded = Certificate.from_dict(old)
    assert not recorded
    assert not recorded.refuted
    assert recorded.sentence == "undecided: no probability is below 1"


def test_the_files_of_every_schema_are_there():
    assert [written(schema, "certificate").get("schema", 1) for schema in range(1, SCHEMA + 1)] == [
        1,
        2,
        3,
        4,
    ]
    assert any(word in json.dumps(written(1, name)) for name in KINDS for word in OLD_WORDS)


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
@pytest.mark.parametrize("name", KINDS)
def test_what_any_schema_wrote_reads(name, schema):
    recorded = KINDS[name].from_dict(written(schema, name))
    assert recorded
    again = json.dumps(recorded.to_dict())
    assert json.loads(again)["schema"] == SCHEMA
    assert [word for word in OLD_WORDS if word in again] == []
    assert with_rules(json.loads(again), SCHEMA) == written(SCHEMA, name)
    assert json.dumps(KINDS[name].from_dict(json.loads(again)).to_dict()) == again


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
@pytest.mark.parametrize("name", ["certificate", "network_certificate", "report"])
def test_what_any_schema_wrote_runs_again(name, schema):
    recorded = KINDS[name].from_dict(written(schema, name))
    again = recorded.rerun()
    assert (again.evaluator, again.compared) == (recorded.evaluator, recorded.compared)
    assert again.findings == recorded.findings


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
@pytest.mark.parametrize("name", ["certificate", "network_certificate"])
def test_the_command_line_runs_a_file_of_any_schema_again(name, schema, capsys):
    assert (
        main(
            [
                "certify",
                "--rerun",
                str(Path(__file__).parent / f"schema_{schema}/{name}.json"),
                "--json",
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert (json.loads(out)["schema"], err) == (SCHEMA, "")


def test_every_verdict_is_written_with_its_schema(monkeypatch):
    monkeypatch.setattr(_sweep, "FAMILIES", (FEW,))
    conv = cd.Conv((1, 3), 1, kernel=2)
    verdicts = (
        cd.certify(conv),
        cd.certify(cd.MaxPool((1, 4), kernel=2)),
        cd.check(conv, np.ones((1, 3)), np.ones((1, 1, 2))),
        sweep(every=100, workers=1),
        ModelReport({"stem": cd.certify(conv)}, {}, {}, ()),
    )
    assert [verdict.to_dict()["schema"] for verdict in verdicts] == [SCHEMA] * 5


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, "2", 1.0, True, None])
def test_another_schema_is_refused(schema, tmp_path, capsys):
    data = written(1, "certificate") | {"schema": schema}
    with pytest.raises(
        ValueError, match=rf"^schema: got {schema!r}; needs 1 to {SCHEMA}; read it with the version"
    ):
        Certificate.from_dict(data)
    (tmp_path / "c.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["certify", "--rerun", str(tmp_path / "c.json")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"needs 1 to {SCHEMA}" in err


def test_words_are_mapped_at_any_depth_and_those_of_today_are_left():
    pool = {"type": "dense_pool", "ties": "split"}
    note = "dx of layer 2; 3 entries {} a {}".format
    old_note = note("hang on", "kink whose side rounding may change")
    new_note = note("pass", "non-differentiable point whose branch rounding may flip")
    layer = {"layers": [pool, {"type": "TieMap", "ties": 3, "by": 1}]}
    data = {
        "road": "My direct twin",
        "by": "direct twin",
        "layer": layer,
        "findings": [{"note": old_note}],
    }
    assert upgraded(data) == {
        "evaluator": "My direct twin",  # a name of the user's
        "reference": "direct counterpart",
        "layer": {
            "layers": [
                {"type": "dense_pool", "tie_break": "split"},
                {"type": "TieMap", "ties": 3, "by": 1},
            ]
        },
        "findings": [{"note": new_note}],
    }
    assert upgraded(with_schema(data)) == data
