"""What has another name or place now: the old one works for one release, and warns."""

import warnings
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
_UNTIL_WHEN = "the old name goes with the next release"


def renamed_attribute(value: T, old: str, new: str) -> T:
    """Return the value of an attribute which has another name now, with a warning.

    To be called by the property of the old name.
    """
    _warn(f".{old} is called .{new} now; {_UNTIL_WHEN}")
    return value


def moved_name(module: str, name: str, moved: dict[str, str]) -> Any:
    """Return what another module has now, with a warning.

    To be called by the ``__getattr__`` of the module where the name was.
    """
    if name not in moved:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name} is {moved[name]}.{name} now; {_UNTIL_WHEN}")
    return getattr(import_module(moved[name]), name)


def _warn(message: str) -> None:
    """Warn of the line of the user that asks for an old name.

    Stack level 1 is this function, 2 the one that calls it, 3 the property or ``__getattr__`` that
    has the old name, and 4 the user's line.
    """
    warnings.warn(message, DeprecationWarning, stacklevel=4)
