"""Frozen objects stay frozen in copies and pickles, and NumPy does not take them for arrays."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import Array, complain
from convdense._util.foreign_names import explain, no_member


def _arrays(value: object) -> list[Array]:
    """Return the arrays that a value is or, of a CSR array, consists of."""
    parts = (
        [value.data, value.indices, value.indptr] if isinstance(value, sp.csr_array) else [value]
    )
    return [part for part in parts if isinstance(part, np.ndarray)]


def freeze(value: object) -> None:
    """Make an array read-only in place, or those of a CSR array; leave all else as it is."""
    for part in _arrays(value):
        part.setflags(write=False)


def is_frozen(value: object) -> bool:
    """Tell whether a value has arrays, and none that can be written to."""
    arrays = _arrays(value)
    return bool(arrays) and not any(part.flags.writeable for part in arrays)


class Frozen:
    """A frozen object, as its copies and pickles are; they hold nothing that can be computed."""

    _use_instead: ClassVar[str] = ""  # what to type where an array is needed

    __array_ufunc__ = None  # so that == beside NumPy's numbers is Python's

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("convdense."):
            explain(cls)

    if not TYPE_CHECKING:  # so that a type checker sees an attribute that does not exist

        def __getattr__(self, name: str) -> Any:
            """Refuse what other libraries have with what to write; all else as Python does."""
            is_property = hasattr(type(self), name)  # which has raised
            if is_property or not (message := no_member(self, name)):
                return self.__getattribute__(name)
            raise AttributeError(message, name=name, obj=self)

        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            """Refuse: NumPy would make one object of it; where that is asked for, return it."""
            if dtype is None or np.dtype(dtype) != object:
                raise TypeError(complain("array", repr(self), "numbers", self._use_instead))
            one = np.empty((), object)
            one[()] = self
            return one

    def __getstate__(self) -> tuple[dict[str, Any], list[str]]:
        """Return what a pickle or a copy holds, and the names of what is read-only in it.

        Not what `cached_property` keeps.
        """
        kind = type(self)
        held = {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(kind, name, 0), cached_property)
        }
        return held, [name for name, value in held.items() if is_frozen(value)]

    def __setstate__(self, state: tuple[dict[str, Any], list[str]]) -> None:
        """Take what a pickle or a copy holds, whose arrays NumPy has made writable."""
        held, read_only = state
        for name in read_only:
            freeze(held[name])
        vars(self).update(held)
