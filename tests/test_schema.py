"""The JSON of verdicts: numbered, and what older schemas wrote still reads and runs again."""

import json
from pathlib import Path

import numpy as np
import pytest

import convdense as cd
from convdense.certificates import Certificate, NetworkCertificate
from convdense.checks import Report
from convdense.cli import main
from convdense.sweeps import sweep
from convdense.verdicts.schema import SCHEMA, numbered, upgraded

OLD = Path(__file__).parent / "schema_1"  # as the commit before schema 2 wrote them
KINDS = {"certificate": Certificate, "network_certificate": NetworkCertificate, "report": Report}
OLD_WORDS = ("road", "twin", "kink", '"by"', '"ties"')


def old(name):
    return json.loads((OLD / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", KINDS)
def test_what_schema_1_wrote_reads_and_runs_again(name):
    assert any(word in json.dumps(old(name)) for word in OLD_WORDS)
    recorded = KINDS[name].from_dict(old(name))
    again = recorded.rerun()
    assert recorded
    assert (again.evaluator, again.findings, again.compared) == (
        recorded.evaluator,
        recorded.findings,
        recorded.compared,
    )
    written = json.dumps(recorded.to_dict())
    assert json.loads(written)["schema"] == SCHEMA
    assert [word for word in OLD_WORDS if word in written] == []
    assert KINDS[name].from_dict(json.loads(written)).to_dict() == recorded.to_dict()


@pytest.mark.parametrize("name", ["certificate", "network_certificate"])
def test_the_command_line_runs_a_file_of_schema_1_again(name, capsys):
    assert main(["certify", "--rerun", str(OLD / f"{name}.json"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["schema"], err) == (SCHEMA, "")


def test_every_verdict_is_written_with_its_schema():
    conv = cd.Conv((1, 3), 1, kernel=2)
    verdicts = (
        cd.certify(conv),
        cd.certify(cd.MaxPool((1, 4), kernel=2)),
        cd.check(conv, np.ones((1, 3)), np.ones((1, 1, 2))),
        sweep(every=50_000, workers=1),
    )
    assert [verdict.to_dict()["schema"] for verdict in verdicts] == [SCHEMA] * 4


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, "2", 1.0, True, None])
def test_another_schema_is_refused(schema, tmp_path, capsys):
    data = old("certificate") | {"schema": schema}
    with pytest.raises(ValueError, match=rf"^schema: got {schema!r}; needs 1 to {SCHEMA}; read it with the version"):
        Certificate.from_dict(data)
    (tmp_path / "c.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["certify", "--rerun", str(tmp_path / "c.json")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"needs 1 to {SCHEMA}" in err


def test_words_are_mapped_at_any_depth_and_those_of_today_are_left():
    pool = {"type": "dense_pool", "ties": "split"}
    data = {"road": "r", "by": "direct twin", "layer": {"layers": [pool, {"type": "TieMap", "ties": 3, "by": 1}]}}
    assert upgraded(data) == {
        "evaluator": "r",
        "reference": "direct counterpart",
        "layer": {"layers": [{"type": "dense_pool", "tie_break": "split"}, {"type": "TieMap", "ties": 3, "by": 1}]},
    }
    assert upgraded(numbered(data)) == data
