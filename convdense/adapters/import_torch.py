"""PyTorch itself, or one line that says how to get it: the other modules take it from here."""

from convdense._util.arguments import complain, install

try:
    import torch
except ModuleNotFoundError as _error:
    if _error.name != "torch":  # it is there, but broken: its own words say more
        raise
    needs = "PyTorch 2.0 or newer"
    raise ImportError(
        complain("torch", "no module of this name", needs, install("torch"))
    ) from None

__all__ = ["torch"]
