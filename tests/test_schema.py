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
from convdense.sweeps import sweep
from convdense.verdicts.schema import SCHEMA, upgraded, with_schema

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


def test_the_files_of_every_schema_are_there():
    assert [written(schema, "certificate").get("schema", 1) for schema in range(1, SCHEMA + 1)] == [
        1,
        2,
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
    assert json.loads(again) == written(SCHEMA, name)
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


def test_every_verdict_is_written_with_its_schema():
    conv = cd.Conv((1, 3), 1, kernel=2)
    verdicts = (
        cd.certify(conv),
        cd.certify(cd.MaxPool((1, 4), kernel=2)),
        cd.check(conv, np.ones((1, 3)), np.ones((1, 1, 2))),
        sweep(every=50_000, workers=1),
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
