"""The tests as a proof: ``@pytest.mark.claim(id, ...)`` says which claims of the table a test
supports.

A run ends with one row per claim it met. A full run, the configured folders and nothing left out
but the cases that `tests/thinned.py` leaves out, has a row for every claim, and fails where a claim
has no passing test or a failing one. What was judged, and how surely, comes from the evidence that
tests record: ``record_property(JUDGED, (claim, geometries, error, trials))``."""

import importlib
import inspect
import os
from dataclasses import dataclass, field
from math import ceil, inf, log2

import pytest

from convdense._util.arguments import complain
from convdense.certificates import clock
from convdense.claims import claims
from convdense.display.tables import aligned
from tests.benchmark import BROWSER
from tests.few_calls import few_calls
from tests.pages import Explored
from tests.thinned import is_thinned_out, thin

os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported, by PyTorch as well

CARRIED, JUDGED = (
    "claims",
    "judged",
)  # properties of a test: plain data that travels with its report
LEFT_OUT = (
    "keyword",
    "markexpr",
    "deselect",
    "ignore",
    "ignore_glob",
    "lf",
    "setuponly",
    "collectonly",
)
HEADER = [
    "claim",
    "tests",
    "geometries",
    "exhaustive or random",
    "error at most",
    "verdict",
    "sentence",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with few_calls(item):
        return (yield)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # one table, not one per process
        config.pluginmanager.register(Table(config), "table-of-claims")


def pytest_collection_modifyitems(config, items):
    known = [claim.id for claim in claims.CLAIMS]
    for item in items:
        carried = {name: None for mark in item.iter_markers("claim") for name in mark.args or ("",)}
        for name in carried:
            if name not in known:
                message = complain("claim", repr(name), "one of " + ", ".join(known))
                raise pytest.UsageError(f"{item.nodeid}: {message}")
        if carried:
            item.user_properties.append((CARRIED, tuple(carried)))
    thin(config, items)


@dataclass
class Support:
    """What one claim has: tests that carry it, and the evidence they recorded."""

    outcomes: dict[str, bool] = field(
        default_factory=dict
    )  # of every test: passed, in all its phases
    judged: dict[tuple, bool] = field(
        default_factory=dict
    )  # (test, place, geometries, error, trials): in a passed one

    @property
    def failed(self):
        return sum(not passed for passed in self.outcomes.values())

    @property
    def verdict(self):
        return "WRONG" if self.failed else "holds" if self.outcomes else "no test"

    @property
    def tests(self):
        n = len(self.outcomes)
        return f"{self.failed} FAILED of {n}" if self.failed else f"{n} passed"

    def row(self, claim):
        good = [judged[2:] for judged, passed in self.judged.items() if passed]
        numbers = {
            "exhaustive": sum(n for n, error, trials in good if not error and not trials),
            "random": sum(n for n, error, trials in good if error or trials),
            "FAILED": sum(judged[2] for judged, passed in self.judged.items() if not passed),
        }
        how = ", ".join(f"{n} {name}" for name, n in numbers.items() if n)
        judged = str(sum(numbers.values()) or "none")
        return [claim.id, self.tests, judged, how, self.error(good), self.verdict, claim.sentence]

    def error(self, good):
        """Return the largest probability that a check was fooled.

        Exact trials come without one, so count them.
        """
        errors, trials = (
            [error for _, error, trials in good if not trials],
            sum(trials for *_, trials in good),
        )
        parts = [f"2^{ceil(log2(max(errors)))}" if max(errors) else "0"] if errors else []
        return ", ".join(parts + ([f"unknown for {trials} exact trials"] if trials else []))


class Table:
    """Gathers the reports of a run and prints the table.

    It fails a full run that leaves a claim without support.
    """

    def __init__(self, config):
        self.config = config
        self.support = {claim.id: Support() for claim in claims.CLAIMS}
        self.full = config.args_source is config.ArgsSource.TESTPATHS
        self.full &= not any(getattr(config.option, name, None) for name in LEFT_OUT)

    def pytest_deselected(self, items):
        self.full &= all(map(is_thinned_out, items))

    def pytest_runtest_logreport(self, report):
        passed = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
        if not passed and not report.failed:
            return  # skipped, expected to fail, or a phase that says nothing by itself
        for place, (name, value) in enumerate(report.user_properties):
            if name == CARRIED:
                for carried in value:
                    self.support[carried].outcomes[report.nodeid] = (
                        passed  # a broken teardown comes after the call
                    )
            elif name == JUDGED:
                carried, *evidence = value
                self.support[carried].judged[(report.nodeid, place, *evidence)] = passed

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        self.full &= whole and not session.shouldstop and not session.shouldfail
        if self.full and self.unsupported():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        rows = [
            self.support[c.id].row(c)
            for c in claims.CLAIMS
            if self.full or self.support[c.id].outcomes
        ]
        if rows:
            terminalreporter.section("claims")
            terminalreporter.write_line(aligned(HEADER, rows))
        if self.full and self.unsupported():
            needs = complain(
                "claims", ", ".join(self.unsupported()), "a passing test each, and no failing one"
            )
            terminalreporter.write_line(needs, red=True)

    def unsupported(self):
        return [name for name, support in self.support.items() if support.verdict != "holds"]


@pytest.fixture(autouse=True)
def a_diagnosis_is_not_stopped(monkeypatch):
    """Let a diagnosis try all there is, however busy the machine; only a limit given stops it."""
    module = importlib.import_module("convdense.diagnosis._diagnose")
    usual = inspect.signature(module.diagnose).parameters["time_limit"].default

    def limited_time(seconds):
        return inf if seconds == usual else clock.limited_time(seconds)

    monkeypatch.setattr(module, "limited_time", limited_time)


@pytest.fixture(scope="module")
def browser():
    """Return headless Chromium; where it is not installed its tests are skipped, if they may be."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if sync_playwright is None or BROWSER is None:
        missing = pytest.fail if os.environ.get("CONVDENSE_BROWSER") == "required" else pytest.skip
        missing("no browser: install Chromium, and pip install '.[browser]'")
    with sync_playwright() as tools:
        chrome = tools.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"]
        )  # CI runs as root
        yield chrome
        chrome.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a way to open a page.

    At the end nothing may have been asked for, and nothing complained of.
    """
    opened = []

    def open_page(page, **options):
        size = {"width": 1300, "height": 1500}  # everything in view
        context = browser.new_context(**({"viewport": size, "reduced_motion": "reduce"} | options))
        path = page.save(tmp_path / f"{len(opened)}.html")
        opened.append((context, Explored(context.new_page(), path.as_uri())))
        return opened[-1][1]

    yield open_page
    for context, explored in opened:
        context.close()
        assert explored.complaints == []
        assert [url for url in explored.requests if not url.startswith("data:")] == [explored.url]
