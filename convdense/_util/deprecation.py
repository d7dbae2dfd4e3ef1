"""What has another name or place now: the old one works for one release, and warns."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What README and examples of version 0.1's first days import, and where it is now.
MOVED = {
    "convdense.checks.claims": "convdense.claims.claims",
    "convdense.checks.question": "convdense.claims.student_question",
    "convdense.checks.sweep": "convdense.sweeps",
    "convdense.checks.toeplitz": "convdense.claims.toeplitz",
    "convdense.dense_steps": "convdense.layers.dense_form",
    "convdense.losses": "convdense.training.losses",
    "convdense.optimize": "convdense.training.optimizers",
}


def renamed_argument(old: str, new: str, value: Any, current: Any) -> Any:
    """Return the value given under the old name of an argument, with a warning; the current one if none was.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     renamed_argument("ties", "tie_break", "split", "first")
    'split'
    >>> print(said[0].message)
    ties= is called tie_break= now; the old name goes with the next release
    """
    if value is None:
        return current
    _warn(f"{old}= is called {new}= now; the old name goes with the next release", stacklevel=4)
    return value


def _warn(message: str, stacklevel: int) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)


class MovedModules(MetaPathFinder, Loader):
    """Finds modules under the names they had: each a module that hands every name on and warns.

    Parameters
    ----------
    moved : dict of str to str
        Full old name -> full new name.
    """

    def __init__(self, moved: dict[str, str]) -> None:
        self.moved = moved

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return a spec for a module that has moved, None for any other."""
        return ModuleSpec(fullname, self) if fullname in self.moved else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module that hands on the names of the one that is there now."""
        new = self.moved[spec.name]
        # the import system's own frames are not counted: this points at the import statement
        _warn(f"{spec.name} is {new} now; the old name goes with the next release", stacklevel=3)
        module, there = ModuleType(spec.name, f"Moved to {new}."), import_module(new)
        module.__getattr__ = lambda name: getattr(there, name)  # type: ignore[method-assign]  # PEP 562
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is nothing to run."""


def find_moved_modules() -> None:
    """Let the modules of `MOVED` be imported under their old names as well."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules(MOVED))  # the last to be asked: only for what no other finds
