"""Models that torch.compile compiled: their layers run eagerly, and both outputs compared."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from math import inf

from convdense.adapters.import_torch import torch


def is_compiled(module: torch.nn.Module) -> bool:
    """Tell whether a module runs compiled code, by torch.compile(module) or module.compile()."""
    return getattr(module, "_compiled_call_impl", None) is not None or is_wrapper(module)


def is_wrapper(module: torch.nn.Module) -> bool:
    """Tell whether a module is what torch.compile wraps around another."""
    return type(module).__module__.startswith("torch._dynamo.")


def eager() -> AbstractContextManager[object]:
    """Return a context in which compiled code runs as the Python that it was compiled from."""
    set_stance = getattr(torch.compiler, "set_stance", None)  # of PyTorch 2.6
    if set_stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = set_stance("force_eager")
    return stance


def compared(compiled: object, plain: object) -> tuple[str, str]:
    """Return whether two outputs of floats agree in half of their digits, and what to say of it.

    "failed" or "skipped", the fields of a report.
    """
    share, allowed = 0.0, 0.0
    for got, due in zip_longest(_floats(compiled), _floats(plain)):
        if got is None or due is None or got.shape != due.shape:
            return "failed", "its output has another structure than that of its eager layers"
        allowed = float(torch.finfo(due.dtype).eps ** 0.5)
        share = max(share, _share(got, due))
        if not share <= allowed:
            break
    text = f"its output on the example differs from theirs by {share:.1e} of the largest number"
    if share <= allowed:
        return "skipped", f"its eager layers were judged; {text}, at most {allowed:.1e}: no proof"
    return "failed", f"not what its eager layers compute: {text}, more than {allowed:.1e}"


def _share(got: torch.Tensor, due: torch.Tensor) -> float:
    """Return the largest difference of two tensors, as a share of the largest number."""
    differs = (got != due) & ~(got.isnan() & due.isnan())
    if not differs.any():
        return 0.0
    difference = float((got - due)[differs].abs().max())
    largest = float(due[due.isfinite()].abs().max()) if due.isfinite().any() else 0.0
    share = difference / largest if largest else inf
    return share if share >= 0 else inf  # NaN, where one of them is


def _floats(output: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of floats in an output, however deep."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point() or output.is_complex():
            yield output
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from _floats(part)
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _floats(part)
