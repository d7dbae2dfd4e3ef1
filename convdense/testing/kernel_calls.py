"""How `gate` calls a kernel; and functions that the kernel replaced, which are put back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from convdense.geometry import Implementation
from convdense.implementations.evaluators import Functions

WATCHED = "builtins", "time", "numpy", "numpy.testing"
# of PyTorch what compares: when it compiles, it replaces others itself
OF_TORCH = "allclose", "isclose", "equal"


def called(inner: Functions, run: Callable[..., Any], *, bias: bool) -> Implementation:
    """Return f(x, w, b), without bias f(x, w), of a pool f(x), and backward, as `run` calls them.

    ``run(function, *operands)``. Without bias, b is not handed over, and db is None.
    """
    forward, backward, *_ = inner

    def y(x: Any, *weights: Any) -> Any:
        return run(forward, x, *weights[: 1 + bias])

    def gradients(x: Any, *rest: Any) -> Any:
        results = run(backward, x, *rest)
        return results if bias or len(rest) == 1 else (*results, None)  # a pool has no w

    return y if backward is None else (y, gradients)


def not_arrays(result: Any) -> list[str]:
    """Return the types of results that may compute their numbers only when they are read.

    Examples
    --------
    >>> not_arrays(np.ones(2)), not_arrays(([1.0], None, range(2)))
    ([], ['range'])
    """
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return [type(part).__name__ for part in parts if not _is_array(part)]


def _is_array(value: object) -> bool:
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return type(value) in (torch.Tensor, torch.nn.Parameter) and not vars(value)
    of_jax = type(value).__module__.partition(".")[0] in ("jax", "jaxlib")
    is_numpy = isinstance(value, (np.ndarray, np.generic))
    return of_jax or is_numpy or type(value) in (list, float, type(None))


@contextmanager
def put_back() -> Iterator[list[str]]:
    """Put back, at the end, functions that were replaced meanwhile; the list gets their names.

    Those of NumPy, the built-ins, the clock and this package, methods among them.

    Examples
    --------
    >>> with put_back() as replaced:
    ...     np.allclose = lambda *_: True
    >>> replaced, np.allclose(0, 1)
    (['numpy.allclose'], False)
    """
    before = [(place, dict(vars(place))) for place in _places()]
    torch = sys.modules.get("torch")
    before += [] if torch is None else [(torch, {name: vars(torch)[name] for name in OF_TORCH})]
    replaced: list[str] = []
    try:
        yield replaced
    finally:
        for place, names in before:
            now = dict(vars(place))
            new = set(now) - set(names) if isinstance(place, type) else set()
            for name in [name for name in new if callable(now[name])]:
                delattr(place, name)
                replaced.append(f"{place.__name__}.{name}")
            for name, value in names.items():
                if callable(value) and now.get(name) is not value:
                    setattr(place, name, value)
                    replaced.append(f"{place.__name__}.{name}")


def _places() -> list[Any]:
    """Return the modules that are watched, and the classes of this package."""
    own = [module for name, module in sys.modules.items() if name.partition(".")[0] == "convdense"]
    found = {value for module in own for value in vars(module).values() if isinstance(value, type)}
    of_own = [kind for kind in found if kind.__module__.partition(".")[0] == "convdense"]
    return [*(sys.modules[name] for name in WATCHED), *own, *of_own]
