"""The table of claims at the end of a run: on a tiny project with two claims."""

import pytest

from convdense.claims import claims
from convdense.claims.claims import Claim
from tests.conftest import HEADER, Support

QUICK = (
    "-p",
    "no:hypothesispytest",
)  # it imports all of hypothesis at the end of every run, to say nothing
EVEN = Claim("even", "Two is an even number.", "2 with 1 + 1", (), lambda layer: None)
ODD = Claim("odd", "Three is an odd number.", "3 with 2 + 1", (), lambda layer: None)
TINY = {
    "conftest": "from tests.conftest import pytest_collection_modifyitems, pytest_configure",
    "test_first": """
        import pytest
        @pytest.mark.claim("even")
        def test_even(record_property):
            record_property("judged", ("even", 3, 0.0, 0))
            record_property("judged", ("even", 2, 2**-65.5, 0))
    """,
    "test_second": """
        import pytest
        pytestmark = pytest.mark.claim("odd")
        def test_odd(record_property):
            record_property("judged", ("odd", 1, 0.0, 12))
        @pytest.mark.claim("even")
        def test_both():
            pass
        def test_skipped():
            pytest.skip("not here")
        @pytest.mark.xfail(reason="known", strict=True)
        def test_known():
            assert False
        @pytest.mark.xfail(reason="less known", strict=False)
        def test_less_known():
            pass
    """,
    "test_third": """
        def test_nothing():
            '''No claim.

            >>> 1 + 1
            2
            '''
    """,
}
NO_CLAIM = "def test_odd(): pass"
SKIPPED = "import pytest\n@pytest.mark.claim('odd')\ndef test_odd(): pytest.skip('not here')"
EXPECTED = (
    "import pytest\n@pytest.mark.claim('odd')\n@pytest.mark.xfail(strict=False)\ndef test_odd(): {}"
)
FAILING = {
    "call": "def test_failing(): assert False",
    "setup": "@pytest.fixture\ndef broken(): raise RuntimeError\ndef test_failing(broken): pass",
    "teardown": (
        "@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError\n"
        "def test_failing(broken): pass"
    ),
    "strict": "@pytest.mark.xfail(strict=True)\ndef test_failing(): pass",
}
BLAMED = "claims: got odd; needs a passing test each, and no failing one"


def joined(head, more):
    return head.replace("\n        ", "\n").strip() + "\n" + more


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the tiny project, some of its files changed.

    Return the exit status, the rows of the table, and all lines.
    """
    monkeypatch.setattr(claims, "CLAIMS", (EVEN, ODD))
    pytester.makeini(
        "[pytest]\ntestpaths = .\naddopts = --strict-markers --doctest-modules\n"
        "markers = claim: claims\n"
    )

    def run(*arguments, cache=False, **changed):
        pytester.makepyfile(**(TINY | changed))
        result = pytester.runpytest_inprocess(
            *QUICK, *([] if cache else ["-p", "no:cacheprovider"]), *arguments
        )
        lines = [line.rstrip() for line in result.outlines]
        header = next((line for line in lines if line.split()[:3] == HEADER[:3]), None)
        starts = [header.index(name) for name in HEADER] if header else []
        rows = {}
        for line in lines if header else []:
            if line.split()[:1] in (["even"], ["odd"]):
                cells = [
                    line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)
                ]
                rows[cells[0]] = cells[1:]
        return result.ret, rows, "\n".join([*lines, *result.errlines])

    return run


HELD = {
    "even": ["2 passed", "5", "3 exhaustive, 2 random", "2^-65", "holds", EVEN.sentence],
    "odd": ["2 passed", "1", "1 random", "unknown for 12 exact trials", "holds", ODD.sentence],
}


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-x",), ("-rA",)], ids=" ".join)
def test_a_full_run_ends_with_one_row_per_claim(run, arguments):
    status, rows, text = run(*arguments)
    assert status == pytest.ExitCode.OK
    assert rows == HELD
    assert " claims " in text
    assert "claims: got" not in text


@pytest.mark.parametrize(
    "without",
    [NO_CLAIM, SKIPPED, EXPECTED.format("assert False"), EXPECTED.format("pass")],
    ids=range(4),
)
def test_a_claim_without_a_passing_test_fails_a_full_run_and_is_named(run, without):
    """Without any test, with a skipped one, or where all that was expected was a failure.

    Whether such a test fails as expected or passes unexpectedly is no matter.
    """
    status, rows, text = run(test_second=without)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert " failed" not in text  # no test did: it is the table that fails the run
    assert rows["odd"] == ["0 passed", "none", "", "", "no test", ODD.sentence]
    assert rows["even"][-2] == "holds"
    assert BLAMED in text


@pytest.mark.parametrize("phase", FAILING)
def test_a_failing_test_shows_in_full_and_partial_runs(run, phase):
    text = joined(TINY["test_second"], FAILING[phase])
    for arguments, blamed in (((), True), (("test_second.py",), False)):
        status, rows, lines = run(*arguments, test_second=text)
        assert status == pytest.ExitCode.TESTS_FAILED
        assert rows["odd"] == [
            "1 FAILED of 3",
            "1",
            "1 random",
            "unknown for 12 exact trials",
            "WRONG",
            ODD.sentence,
        ]
        assert rows["even"][-2] == "holds"
        assert (BLAMED in lines) is blamed


def test_evidence_of_a_failing_test_vouches_for_nothing(run):
    text = TINY["test_second"].replace("12))", "12))\n            assert False")
    _, rows, _ = run(test_second=text)
    assert rows["odd"] == ["1 FAILED of 2", "1", "1 FAILED", "", "WRONG", ODD.sentence]


@pytest.mark.parametrize(
    "arguments",
    [
        ["test_first.py"],
        ["test_first.py::test_even"],
        ["-k", "even"],
        ["-m", "claim", "-k", "even"],
        ["--deselect", "test_second.py"],
        ["--ignore", "test_second.py"],
        ["--ignore-glob", "*second*"],
    ],
    ids=" ".join,
)
def test_a_partial_run_shows_the_claims_it_met_and_fails_for_no_other(run, arguments):
    status, rows, text = run(*arguments)
    assert status == pytest.ExitCode.OK
    assert set(rows) == {"even"}
    assert "claims: got" not in text


@pytest.mark.parametrize("again", ["--lf", "--sw"])
def test_a_run_of_what_failed_last_is_partial(run, again):
    run(again, cache=True, test_third="def test_nothing(): assert False")
    status, rows, text = run(again, cache=True, test_third="def test_nothing():  assert  True")
    assert (status, rows) == (pytest.ExitCode.OK, {})
    assert "claims: got" not in text


def test_a_run_from_another_folder_is_partial(run, pytester, monkeypatch):
    pytester.mkdir("inner").joinpath("test_inner.py").write_text("def test_inner(): pass")
    monkeypatch.chdir("inner")
    result = pytester.runpytest_inprocess(
        *QUICK, "-p", "no:cacheprovider", "--rootdir", "..", "-c", "../tox.ini"
    )
    assert result.ret == pytest.ExitCode.OK
    assert "claims: got" not in result.stdout.str()


def test_a_run_that_meets_no_claim_shows_no_table(run):
    status, rows, text = run("test_third.py")
    assert (status, rows) == (pytest.ExitCode.OK, {})
    assert " claims " not in text


@pytest.mark.parametrize(
    ("arguments", "changed", "status"),
    [
        (["-x"], "def test_bad(): assert False", pytest.ExitCode.TESTS_FAILED),
        (["--maxfail=1"], "def test_bad(): assert False", pytest.ExitCode.TESTS_FAILED),
        ([], "import no_such_module", pytest.ExitCode.INTERRUPTED),
        ([], "import pytest\ndef test_bad(): pytest.exit('enough')", pytest.ExitCode.INTERRUPTED),
    ],
    ids=["-x", "--maxfail", "collection", "exit"],
)
def test_an_aborted_run_blames_no_claim(run, arguments, changed, status):
    got, _, text = run(*arguments, test_first=changed)
    assert got == status
    assert "claims: got" not in text


@pytest.mark.parametrize("option", ["--collect-only", "--setup-only", "--setup-plan"])
def test_running_nothing_shows_and_fails_nothing(run, option):
    status, rows, text = run(
        option, test_second=NO_CLAIM, test_third=NO_CLAIM
    )  # pytest cannot plan doctests
    assert (status, rows) == (pytest.ExitCode.OK, {})
    assert " claims " not in text


@pytest.mark.parametrize("ids", ["'evn'", "'odd', 'evn'", "", "id='odd'"])
@pytest.mark.parametrize("option", ["-q", "--collect-only"])
def test_an_unknown_claim_is_an_error_at_collection(run, option, ids):
    status, _, text = run(
        option, test_third=f"import pytest\n@pytest.mark.claim({ids})\ndef test_bad(): pass"
    )
    assert status == pytest.ExitCode.USAGE_ERROR
    unknown = "evn" if "evn" in ids else ""
    assert (
        f"ERROR: test_third.py::test_bad: claim: got '{unknown}'; needs one of even, odd"
        in text.splitlines()
    )


def support(*evidence):
    """Return what a claim has whose one test passed, and recorded this."""
    return Support({"t": True}, {("t", i, *one): True for i, one in enumerate(evidence)}).row(ODD)[
        2:5
    ]


def test_evidence_states_its_own_probability():
    assert support((4, 0.0, 0)) == ["4", "4 exhaustive", "0"]
    assert support((4, 2**-70, 0), (1, 2**-66, 0)) == ["5", "5 random", "2^-66"]
    assert support((1, 0.0, 0), (1, 0.0, 12)) == [
        "2",
        "1 exhaustive, 1 random",
        "0, unknown for 12 exact trials",
    ]
    assert support() == ["none", "", ""]
