"""Frozen objects stay frozen in copies and pickles, and NumPy does not take them for arrays."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import complain
from convdense._util.foreign_names import explain, no_member


def freeze(value: object) -> None:
    """Make an array read-only in place, or those of a CSR array; leave all else as it is."""
    parts = [value]
    if isinstance(value, sp.csr_array):
        parts = [value.data, value.indices, value.indptr]
    for part in parts:
        if isinstance(part, np.ndarray):
            part.setflags(write=False)


class Frozen:
    """A frozen object, as its copies and pickles are; they hold nothing that can be computed."""

    use_instead: ClassVar[str] = ""  # what to type where an array is needed

    def __init_subclass__(cls) -> None:
        explain(cls)

    if not TYPE_CHECKING:  # so that a type checker sees an attribute that does not exist

        def __getattr__(self, name: str) -> Any:
            """Refuse what other libraries have with what to write; all else as Python does."""
            is_property = hasattr(type(self), name)  # which has raised
            if is_property or not (message := no_member(self, name)):
                return self.__getattribute__(name)
            raise AttributeError(message, name=name, obj=self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy holds: not what `cached_property` keeps."""
        kind = type(self)
        attributes = vars(self).items()
        return {k: v for k, v in attributes if not isinstance(getattr(kind, k, 0), cached_property)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a pickle or a copy holds, whose arrays NumPy has made writable."""
        for value in state.values():
            freeze(value)
        vars(self).update(state)

    def __array__(self, *_: object, **__: object) -> None:
        """Refuse: NumPy would make one object of it."""
        raise TypeError(complain("array", repr(self), "numbers", self.use_instead))
