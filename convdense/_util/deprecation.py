"""What has another name or place now: the old one works for one release, and warns."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

from convdense._util.arguments import complain

# What README and examples of version 0.1's first days import, and where it is now.
MOVED = {
    "convdense.checks.claims": "convdense.claims.claims",
    "convdense.checks.question": "convdense.claims.student_question",
    "convdense.checks.sweep": "convdense.sweeps._sweep",
    "convdense.checks.toeplitz": "convdense.claims.toeplitz",
    "convdense.dense_steps": "convdense.layers.dense_form",
    "convdense.losses": "convdense.training.losses",
    "convdense.rounding.network_bounds": "convdense.layers.error_bounds",
    "convdense.optimize": "convdense.training.optimizers",
}
T = TypeVar("T")
UNSET: Any = object()  # an argument that was not given
_UNTIL_WHEN = "the old name goes with the next release"


def renamed_argument(old: str, new: str, under_old: Any, under_new: Any, default: Any) -> Any:
    """Return what was given under an argument's old name, with a warning, else under its new name.

    For a function that takes both: the old one is `UNSET` and the new one `default` if left out.

    Raises
    ------
    TypeError
        Where both names are given.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     renamed_argument("ties", "tie_break", "split", "first", "first")
    'split'
    >>> print(said[0].message)
    ties= is called tie_break= now; the old name goes with the next release
    """
    if under_old is UNSET:
        return under_new
    if under_new != default:
        got = f"{under_old!r} beside {new}={under_new!r}"
        raise TypeError(complain(old, got, "one of them", f"leave {old}= out"))
    _warn(f"{old}= is called {new}= now; {_UNTIL_WHEN}", stacklevel=4)
    return under_old


def renamed_attribute(value: T, old: str, new: str) -> T:
    """Return the value of an attribute which has another name now, with a warning.

    To be called by the property of the old name.
    """
    _warn(f".{old} is called .{new} now; {_UNTIL_WHEN}", stacklevel=4)
    return value


def moved_name(module: str, name: str, moved: dict[str, str]) -> Any:
    """Return what another module has now, with a warning.

    To be called by the ``__getattr__`` of the module where the name was.
    """
    if name not in moved:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name} is {moved[name]}.{name} now; {_UNTIL_WHEN}", stacklevel=4)
    return getattr(import_module(moved[name]), name)


def _warn(message: str, stacklevel: int) -> None:
    """Warn of the line of the user that asks for an old name.

    Stack level 1 is this function, 2 the one that calls it, 3 the function, property or
    ``__getattr__`` that has the old name, and 4 the user's line.
    """
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)


class MovedModules(MetaPathFinder, Loader):
    """Finds modules under the names they had: each hands on the names of the new one, and warns.

    Parameters
    ----------
    moved : dict of str to str
        Full old name -> full new name.
    """

    def __init__(self, moved: dict[str, str]) -> None:
        self.moved = moved

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        """Return a spec for a module that has moved, None for any other."""
        return ModuleSpec(fullname, self) if fullname in self.moved else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module that hands on the names of the one that is there now."""
        new = self.moved[spec.name]
        # 3, not 4: frames of the import system do not count, so it is the import statement
        _warn(f"{spec.name} is {new} now; {_UNTIL_WHEN}", stacklevel=3)
        module = ModuleType(spec.name, f"Moved to {new}.")
        members = vars(import_module(new))
        # private names can still be imported one by one, but `import *` leaves them out
        handed_on = {name: value for name, value in members.items() if not name.startswith("__")}
        public = [name for name in handed_on if not name.startswith("_")]
        vars(module).update(handed_on, __all__=public)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is nothing to run."""


def find_moved_modules() -> None:
    """Let the modules of `MOVED` be imported under their old names as well; once is enough."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules(MOVED))  # asked last: only for what no other finds
