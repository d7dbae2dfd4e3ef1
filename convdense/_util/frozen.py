"""Frozen objects stay frozen in copies and pickles, and NumPy does not take them for arrays."""

from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from convdense._util.arguments import complain


def freeze(value: object) -> None:
    """Make an array read-only in place, or those of a CSR array; leave all else as it is."""
    parts = [value]
    if isinstance(value, sp.csr_array):
        parts = [value.data, value.indices, value.indptr]
    for part in parts:
        if isinstance(part, np.ndarray):
            part.setflags(write=False)


class Frozen:
    """A frozen dataclass: a copy or pickle has its fields, read-only, and nothing computed."""

    use_instead: ClassVar[str] = ""  # what to type where an array is needed

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone, for a pickle or a copy: what was computed is left out."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the fields of a pickle or a copy, whose arrays NumPy has made writable."""
        for value in state.values():
            freeze(value)
        vars(self).update(state)

    def __array__(self, *_: object, **__: object) -> None:
        """Refuse: NumPy would make one object of it."""
        raise TypeError(complain("array", repr(self), "numbers", self.use_instead))
