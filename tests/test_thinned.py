"""Thinned families of tests: which cases run, and that nothing is lost for good."""

from zlib import crc32

import pytest

from convdense.claims import claims
from tests.test_claims_summary import EVEN, QUICK
from tests.thinned import examples

CONFTEST = "from tests.conftest import pytest_collection_modifyitems, pytest_configure"
FAMILIES = """
    import pytest
    pytestmark = pytest.mark.thinned(1000)

    @pytest.mark.thinned(3)
    @pytest.mark.parametrize("case", range(40))
    def test_many(case):
        pass

    @pytest.mark.parametrize("case", range(40))
    def test_few(case):
        pass

    @pytest.mark.thinned(1)
    @pytest.mark.parametrize("case", range(5))
    def test_whole(case):
        pass

    @pytest.mark.claim("even")
    def test_alone():
        pass
"""


def with_least_checksums(n):
    return sorted(sorted(range(40), key=lambda case: crc32(str(case).encode()))[:n])


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the families; return the result and the ids of the tests that passed."""
    monkeypatch.setattr(claims, "CLAIMS", (EVEN,))
    monkeypatch.delenv("CONVDENSE_CALLS", raising=False)
    pytester.makeini(
        "[pytest]\ntestpaths = .\naddopts = --strict-markers -rA\n"
        "markers =\n claim: claims\n thinned: families\n"
    )
    pytester.makepyfile(conftest=CONFTEST, test_families=FAMILIES)

    def run(*arguments):
        result = pytester.runpytest_inprocess(*QUICK, "-p", "no:cacheprovider", *arguments)
        starts = "PASSED test_families.py::"
        passed = [line[len(starts) :] for line in result.outlines if line.startswith(starts)]
        return result, passed

    return run


def cases_of(name, passed):
    return [int(test[len(name) + 1 : -1]) for test in passed if test.startswith(f"{name}[")]


def test_one_in_n_runs_by_the_checksum_of_its_parameters_and_one_at_least(run):
    result, passed = run()
    assert cases_of("test_many", passed) == with_least_checksums(14)
    assert cases_of("test_few", passed) == with_least_checksums(1)
    assert cases_of("test_whole", passed) == [0, 1, 2, 3, 4]
    assert "test_alone" in passed
    result.assert_outcomes(passed=14 + 1 + 5 + 1, deselected=26 + 39)


def test_a_run_whose_families_were_thinned_is_still_full(run, pytester):
    """It has to have a passing test for every claim, and fails if it has none."""
    result, _ = run()
    assert result.ret == pytest.ExitCode.OK
    assert " holds " in result.stdout.str()
    pytester.makepyfile(test_families=FAMILIES.replace('@pytest.mark.claim("even")', ""))
    result, passed = run()
    assert "test_alone" in passed
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "claims: got even; needs a passing test each" in result.stdout.str()


def test_all_cases_run_with_the_variable_or_asked_for_by_name(run, monkeypatch):
    everything = list(range(40))
    _, passed = run("-k", "test_few")
    assert cases_of("test_few", passed) == everything
    _, passed = run("test_families.py::test_few")
    assert cases_of("test_few", passed) == everything
    monkeypatch.setenv("CONVDENSE_CALLS", "all")
    result, passed = run()
    assert cases_of("test_many", passed) == cases_of("test_few", passed) == everything
    result.assert_outcomes(passed=86, deselected=0)


def test_half_of_the_examples_run_and_all_with_the_variable(monkeypatch):
    monkeypatch.delenv("CONVDENSE_CALLS", raising=False)
    assert examples(50) == 25
    monkeypatch.setenv("CONVDENSE_CALLS", "all")
    assert examples(50) == 50
