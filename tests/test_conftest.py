"""The table of claims at the end of a run: on a tiny project with two claims."""

import pytest

from convdense.checks import claims
from tests.conftest import HEADER, Support

TINY = {
    "conftest.py": "from tests.conftest import pytest_collection_modifyitems, pytest_configure",
    "test_first.py": """
        import pytest
        @pytest.mark.claim("forward")
        def test_forward(record_property):
            record_property("judged", ("forward", 3, 0.0, 0))
            record_property("judged", ("forward", 2, 2**-65.5, 0))
    """,
    "test_second.py": """
        import pytest
        pytestmark = pytest.mark.claim("dx")
        def test_dx(record_property):
            record_property("judged", ("dx", 1, 0.0, 12))
        @pytest.mark.claim("forward")
        def test_both():
            pass
        def test_skipped():
            pytest.skip("not here")
    """,
    "test_third.py": "def test_nothing(): pass",
}
FAILING = "\n        def test_failing(): assert False\n"
PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # the latter takes a second to say nothing
BROKEN_SETUP = """
        @pytest.fixture
        def broken(): raise RuntimeError
        def test_failing(broken): pass
"""
BROKEN_TEARDOWN = """
        @pytest.fixture
        def broken():
            yield
            raise RuntimeError
        def test_failing(broken): pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the tiny project, some of its files changed; return the exit status, the rows of the table, and all lines."""
    monkeypatch.setattr(claims, "CLAIMS", claims.CLAIMS[:2])
    pytester.makeini("[pytest]\ntestpaths = .\naddopts = --strict-markers\n")

    def run(*arguments, **changed):
        files = TINY | {f"{name}.py": text for name, text in changed.items()}
        pytester.makepyfile(**{name.removesuffix(".py"): text for name, text in files.items() if text})
        result = pytester.runpytest_inprocess(*PLAIN, *arguments)
        lines = [line.rstrip() for line in result.outlines]
        words = [line.split() for line in lines]
        rows = {w[0]: w[1:] for w in words if w and w[0] in ("forward", "dx") and len(w) > 4}
        return result.ret, rows, "\n".join([*lines, *result.errlines])

    return run


HELD = {
    "forward": ["2", "0", "5", "3", "exhaustive,", "2", "random", "2^-65", "held"],
    "dx": ["2", "0", "1", "1", "exact", "trials", "held"],
}


def test_a_full_run_ends_with_one_row_per_claim(run):
    status, rows, text = run()
    assert status == pytest.ExitCode.OK
    assert rows == HELD
    assert f"{HEADER[0]} " in text
    assert "claims: got" not in text


def test_a_claim_without_a_passing_test_fails_a_full_run(run):
    status, rows, text = run(test_second="def test_dx(): pass")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert rows["dx"] == ["0", "0", "0", "NO", "PASSING", "TEST"]
    assert "claims: got dx; needs a passing test each, and no failing one" in text


def test_a_skipped_test_supports_nothing(run):
    skipped = "import pytest\n@pytest.mark.claim('dx')\ndef test_dx(): pytest.skip('not here')"
    status, rows, _ = run(test_second=skipped)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert rows["dx"][:2] == ["0", "0"]


@pytest.mark.parametrize("more", [FAILING, BROKEN_SETUP, BROKEN_TEARDOWN], ids=["call", "setup", "teardown"])
def test_a_failing_test_shows_in_full_and_partial_runs(run, more):
    text = TINY["test_second.py"] + more
    for arguments in ((), ("test_second.py",)):
        status, rows, _ = run(*arguments, test_second=text)
        assert status == pytest.ExitCode.TESTS_FAILED
        assert rows["dx"][1] == "1"
        assert rows["dx"][-1] == "FAILED"


@pytest.mark.parametrize(
    "arguments",
    [
        ["test_first.py"],
        ["test_first.py::test_forward"],
        ["-k", "forward"],
        ["-m", "claim", "-k", "forward"],
        ["--deselect", "test_second.py"],
        ["--ignore", "test_second.py"],
    ],
    ids=" ".join,
)
def test_a_partial_run_shows_the_claims_it_met_and_fails_for_no_other(run, arguments):
    status, rows, text = run(*arguments)
    assert status == pytest.ExitCode.OK
    assert set(rows) == {"forward"}
    assert "claims: got" not in text


def test_a_run_that_meets_no_claim_shows_no_table(run):
    status, rows, text = run("test_third.py")
    assert (status, rows) == (pytest.ExitCode.OK, {})
    assert " claims " not in text


def test_an_aborted_run_blames_no_claim(run):
    status, _, text = run("-x", test_first="def test_bad(): assert False")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "claims: got" not in text


def test_collecting_alone_shows_and_fails_nothing(run):
    status, rows, text = run("--collect-only", test_second="def test_dx(): pass")
    assert (status, rows) == (pytest.ExitCode.OK, {})
    assert " claims " not in text


@pytest.mark.parametrize("ids", ["'forwards'", "'dx', 'forwards'", ""])
def test_an_unknown_claim_is_an_error_at_collection(run, ids):
    bad = f"import pytest\n@pytest.mark.claim({ids})\ndef test_bad(): pass"
    status, _, text = run(test_third=bad)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"claim: got '{'forwards' if ids else ''}'; needs one of forward, dx" in text


def test_evidence_of_one_kind_states_its_own_probability():
    assert Support(1, 0, [(4, 0.0, 0)]).row("dx") == ["dx", "1", "0", "4", "4 exhaustive", "0", "held"]
    assert Support(1, 0, [(4, 2**-70, 0), (1, 2**-66, 0)]).row("dx")[4:6] == ["5 random", "2^-66"]
    assert Support(1).row("dx")[3:] == ["0", "", "", "held"]
    assert Support(1, 0, [(1, 0.0, 0), (1, 0.0, 12)]).row("dx")[4:6] == ["1 exhaustive, 1 exact trials", ""]
