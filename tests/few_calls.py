"""Fewer calls of an implementation in a certificate, for tests about something else.

Each such test tries an eighth of the batches, layouts and values, by its name another eighth;
``CONVDENSE_CALLS=all`` tries all of them everywhere.
"""

import os
from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock
from zlib import crc32

from convdense.certificates import behaviour_trials, pool_certificate
from convdense.implementations import array_views, special_values
from convdense.implementations.call_contract import Bench
from convdense.verdicts.findings import WRONG

PARTS = 8


@contextmanager
def as_on_large_layers():
    """Try all that is tried on a large layer, which saves half of the time."""
    on_all = behaviour_trials._try_all

    def few(trial, *more):
        return on_all(trial._replace(is_large=True), *more)

    with mock.patch.object(behaviour_trials, "_try_all", few):
        yield


@contextmanager
def a_part(name):
    """Try a part of what is tried on a large layer."""
    turn = crc32(name.encode()) % PARTS
    small, large = behaviour_trials.BATCHES[:4], behaviour_trials.BATCHES[4:]
    tables = (special_values, "KINDS"), (array_views, "VIEWS")
    with ExitStack() as patches:
        for module, table in tables:
            rows = list(getattr(module, table).items())[turn::PARTS]
            patches.enter_context(mock.patch.object(module, table, dict(rows)))
        for module in (behaviour_trials, pool_certificate):
            sizes = (*small, *large[turn::PARTS])
            patches.enter_context(mock.patch.object(module, "BATCHES", sizes))
        # of what is compiled for each, the batch that is asked for alone
        patches.enter_context(mock.patch.object(behaviour_trials, "COMPILED_BATCHES", ()))
        patches.enter_context(as_on_large_layers())
        yield


@contextmanager
def until_wrong():
    """End a certificate at the first of its trials that is wrong, by raising `RefusedError`."""
    tried = Bench.tried

    def trial(*what, **more):
        finding = tried(*what, **more)
        if finding.verdict == WRONG:
            raise RefusedError(finding)
        return finding

    with mock.patch.object(Bench, "tried", trial):
        yield


class RefusedError(Exception):
    """A certificate that would not hold, for this finding."""


def few_calls(item):
    """Return a context of few calls for a test that is marked so, not with False."""
    mark = item.get_closest_marker("few_calls")
    is_marked = mark is not None and mark.args != (False,)
    return a_part(item.nodeid) if is_marked and not is_everything_tried() else nullcontext()


def is_everything_tried():
    return os.environ.get("CONVDENSE_CALLS") == "all"
