"""The tests as a proof: ``@pytest.mark.claim(id, ...)`` says which claims of the table a test supports.

A run ends with one row per claim it met. A full run, the configured folders and nothing deselected, has a row for every
claim, and fails where a claim has no passing test or a failing one. What was judged, and how surely, comes from the
evidence that tests record: ``record_property(JUDGED, (claim, geometries, error, trials))``.
"""

from dataclasses import dataclass, field
from math import ceil, log2

import pytest

from convdense.arguments import complain
from convdense.checks import claims
from convdense.tables import aligned

CARRIED, JUDGED = "claims", "judged"  # properties of a test: they travel with its report, from other processes too
SELECTIONS = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "collectonly")
HEADER = ["claim", "passed", "failed", "geometries", "how", "error at most", "verdict"]


def pytest_configure(config):
    config.addinivalue_line("markers", "claim(*ids): the claims of convdense.checks.claims that a test supports")
    if not hasattr(config, "workerinput"):  # one table, not one per process
        config.pluginmanager.register(Table(config), "table-of-claims")


def pytest_collection_modifyitems(items):
    known = [claim.id for claim in claims.CLAIMS]
    for item in items:
        carried = {id: None for mark in item.iter_markers("claim") for id in mark.args or ("",)}
        for id in carried:
            if id not in known:
                raise pytest.UsageError(f"{item.nodeid}: {complain('claim', repr(id), 'one of ' + ', '.join(known))}")
        if carried:
            item.user_properties.append((CARRIED, tuple(carried)))


@dataclass
class Support:
    """What one claim has: tests that carry it, and the evidence they recorded."""

    passed: int = 0
    failed: int = 0
    judged: list = field(default_factory=list)  # (geometries, error probability, exact trials)

    @property
    def held(self):
        return self.passed > 0 and not self.failed

    def row(self, id):
        verdict = "held" if self.held else "FAILED" if self.failed else "NO PASSING TEST"
        errors = [error for _, error, _ in self.judged if error]
        total = sum(n for n, _, _ in self.judged)
        kinds = {
            "exhaustive": sum(n for n, error, trials in self.judged if not error and not trials),
            "random": sum(n for n, error, _ in self.judged if error),
            "exact trials": sum(n for n, _, trials in self.judged if trials),
        }
        how = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
        largest = f"2^{ceil(log2(max(errors)))}" if errors else "0" if total == kinds["exhaustive"] > 0 else ""
        return [id, str(self.passed), str(self.failed), str(total), how, largest, verdict]


class Table:
    """Gathers the reports of a run, prints the table, and fails a full run that leaves a claim without support."""

    def __init__(self, config):
        self.config = config
        self.support = {claim.id: Support() for claim in claims.CLAIMS}
        self.full = config.args_source is config.ArgsSource.TESTPATHS
        self.full &= not any(getattr(config.option, name, None) for name in SELECTIONS)

    def pytest_deselected(self, items):
        self.full &= not items

    def pytest_runtest_logreport(self, report):
        passed = report.passed and report.when == "call"
        for name, value in report.user_properties:
            if name == CARRIED:
                for id in value:
                    self.support[id].passed += passed
                    self.support[id].failed += report.failed
            elif name == JUDGED and passed:
                id, *evidence = value
                self.support[id].judged.append(tuple(evidence))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        self.full &= not (session.shouldstop or session.shouldfail)
        if self.full and exitstatus == pytest.ExitCode.OK and self.without_support():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        rows = [s.row(id) for id, s in self.support.items() if not self.config.option.collectonly]
        rows = [row for row in rows if self.full or row[1:3] != ["0", "0"]]
        if rows:
            terminalreporter.section("claims")
            terminalreporter.write_line(aligned(HEADER, rows))
        if self.full and self.without_support():
            needs = complain("claims", ", ".join(self.without_support()), "a passing test each, and no failing one")
            terminalreporter.write_line(needs, red=True)

    def without_support(self):
        return [id for id, s in self.support.items() if not s.held]
