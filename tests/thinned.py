"""Fewer cases of a large family of tests, and fewer examples of a property.

``@pytest.mark.thinned(n)`` runs one case in n of every parametrised test, the same ones every time:
those whose parameters have the least checksums. ``CONVDENSE_CALLS=all`` runs all cases and
examples, and so does asking for cases by name, with ``-k`` or a node id.
"""

from collections import defaultdict
from math import ceil
from zlib import crc32

import pytest

from tests.few_calls import is_everything_tried

THINNED_OUT = pytest.StashKey[bool]()


def thin(config, items):
    """Deselect the cases that are not chosen, and note on each that this is why."""
    if is_everything_tried() or _is_by_name(config):
        return
    for item in _not_chosen(items):
        item.stash[THINNED_OUT] = True
    left_out = [item for item in items if is_thinned_out(item)]
    items[:] = [item for item in items if not is_thinned_out(item)]
    config.hook.pytest_deselected(items=left_out)


def is_thinned_out(item):
    return item.stash.get(THINNED_OUT, False)


def examples(count):
    """Return how many examples of a property to run by default: half of these."""
    return count if is_everything_tried() else count // 2


def in_two_rounds(run, parts, find_short):
    """Run a property on every part, and once more on each if that leaves an option short.

    ``run(part, number)`` draws other examples for another number, ``find_short()`` returns what was
    drawn too rarely; so does this in the end. If everything is tried there are two rounds always.
    """
    for number, part in enumerate(parts):
        run(part, number)
    if find_short() or is_everything_tried():
        for number, part in enumerate(parts, len(parts)):
            run(part, number)
    return find_short()


def _is_by_name(config):
    return bool(config.option.keyword) or any("::" in argument for argument in config.args)


def _not_chosen(items):
    families = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and item.get_closest_marker("thinned"):
            families[item.parent, item.originalname].append(item)
    return [item for family in families.values() for item in _not_chosen_of(family)]


def _not_chosen_of(family):
    (n,) = family[0].get_closest_marker("thinned").args
    by_checksum = sorted(family, key=lambda item: crc32(item.callspec.id.encode()))
    return by_checksum[ceil(len(family) / n) :]
