"""Functions on arrays of JAX, PyTorch, Numba, CuPy and others as implementations.

What `certify` and the other verbs hand over comes to them as arrays of their library, and what
they return comes back. Where only forward is given, `jax.vjp` and PyTorch's autograd are backward.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, as_array, choice, complain
from convdense._util.float_formats import FORMATS, spelled
from convdense.adapters.array_kinds import (
    KINDS,
    How,
    Kind,
    checked_bias,
    numbers,
    output,
    to_numpy,
)
from convdense.geometry import HasForward
from convdense.geometry.base import flag
from convdense.implementations.evaluators import functions
from convdense.implementations.layouts import NEEDS, ChannelsLast
from convdense.implementations.signatures import without_bias

__all__ = ["implementation"]


@dataclass(frozen=True)
class Implementation:
    """Functions on arrays of a library as an implementation; `implementation` makes one."""

    functions: tuple[Callable[..., Any], Callable[..., Any] | None]
    kind: Kind
    bias: bool | tuple[int, ...]
    layout: str
    device: str | None
    dtype: str | None
    interpreted: bool

    @property
    def __name__(self) -> str:
        """What a certificate calls it."""
        named = getattr(self.functions[0], "func", self.functions[0])  # of a functools.partial
        return str(getattr(named, "__name__", type(named).__name__))

    @property
    def compiles(self) -> bool:
        """Whether it is compiled anew for every shape."""
        return self.kind.compiles

    def forward(
        self, x: npt.ArrayLike, w: npt.ArrayLike | None = None, b: npt.ArrayLike | None = None
    ) -> Any:
        """Return y."""
        return self._run(self._call, x=x, w=w, b=b)

    @property
    def backward(self) -> Callable[..., Any] | None:
        """Backward of x, w and dy, for a pool of x and dy; None of forward alone."""
        given = self.functions[1] is not None
        return self._backward if given else self._gradients if self.kind.vjp else None

    def _backward(self, x: npt.ArrayLike, *w_and_dy: Any) -> Any:
        """Return what the user's backward gives."""
        *weights, dy = w_and_dy
        results = self._run(self._call_backward, x=x, w=weights[0] if weights else None, dy=dy)
        return results[:2] if self.bias is False and isinstance(results, tuple) else results

    def _gradients(self, x: npt.ArrayLike, *w_and_dy: Any) -> Any:
        """Return the gradients of forward: dx, dw and db, or for a pool dx alone."""
        *weights, dy = w_and_dy
        if not weights:
            return self._run(self._differentiate, dy=dy, x=x)[0]
        b = None if self.bias is False else self._zeros(as_array(dy, "dy"), weights[0])
        return self._run(self._differentiate, dy=dy, x=x, w=weights[0], b=b)

    def _zeros(self, dy: Array, w: Any) -> Array:
        """Return a bias, on whose values no gradient depends; one per channel if no shape is given.

        dy is (batch, out, *axes), or with the channels last; w is (out, in, *axes).
        """
        channels = dy.shape[-1 if self.layout == "NHWC" else 1 - np.ndim(w)]
        return np.zeros((channels,) if isinstance(self.bias, bool) else self.bias, dy.dtype)

    def _run(self, function: Callable[..., Any], **given: npt.ArrayLike | None) -> Any:
        """Call a function on the library's arrays, and bring its results back."""
        arrays, common = numbers(given, integers=True)
        how = How(common, self.dtype or common.name, self.device)
        with self.kind.session(how.word):
            handed = [self.kind.there(array, name, how) for name, array in arrays.items()]
            return self._brought(function(*handed))

    def _brought(self, results: Any) -> Any:
        """Return a result as an array, or each of several."""
        if isinstance(results, tuple):
            return tuple(map(self._brought, results))
        return None if results is None else self.kind.back(results)

    def _call(self, x: Any, w: Any = None, b: Any = None) -> Any:
        return self.functions[0](x) if w is None else self.functions[0](x, w, b)

    def _call_backward(self, *given: Any) -> Any:
        assert self.functions[1] is not None
        results = self.functions[1](*given)
        return tuple(results) if isinstance(results, list) and len(given) == 3 else results

    def _differentiate(self, dy: Any, *operands: Any) -> Any:
        assert self.kind.vjp is not None
        return self.kind.vjp(self._call, operands, dy)


def implementation(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    to: str | Callable[[Array], Any],
    bias: bool | Sequence[int] = True,
    layout: str = "NCHW",
    device: str | None = None,
    dtype: str | None = None,
    interpreted: bool = False,
) -> HasForward:
    """Return functions on a library's arrays as an implementation, which `certify` takes.

    Parameters
    ----------
    forward : function f(x, w, b) of that library's arrays, for a pool f(x)
    backward : function f(x, w, dy) -> (dx, dw, db or None), for a pool f(x, dy) -> dx; or None
        None: the gradients of forward, by `jax.vjp` or PyTorch's autograd; of others y is judged.
    to : {"numpy", "numba", "jax", "torch", "cupy"}, or function of a NumPy array
        What arrays are turned into. Strides are kept, but by JAX, which has none; Numba's kernels
        take NumPy's arrays. Another library's function makes its arrays, and ``__array__`` or
        ``__dlpack__`` brings results back. JAX's x64 is enabled for a call in 64 bits.
    bias : bool or tuple of int
        False: b comes as None and is added to y, and db is not judged. Where b is not one number
        per channel, `jax.vjp` and autograd need its shape.
    layout : {"NCHW", "NHWC"}
        "NHWC" for functions on arrays with the channels last. Weights stay in this library's order.
        For autograd also "channels_last", PyTorch's memory format.
    device : str or None
        Where to run it, such as "cuda": of PyTorch and JAX.
    dtype : str, or None for that of the arrays
        "bfloat16", ..., as for `certify`. NumPy has no bfloat16: its numbers come and go in float32
        arrays, and are handed on in the dtype of ml_dtypes, to PyTorch in its own.
    interpreted : bool
        True where an interpreter runs the kernels, as Pallas with ``interpret=True`` or Triton with
        ``TRITON_INTERPRET=1``: a certificate then says that it judges the source, not the compiler.

    Returns
    -------
    object with forward(x, w, b) and backward(x, w, dy), for a pool forward(x) and backward(x, dy)
        On NumPy arrays. Code of JAX says that it is compiled for every shape.

    Raises
    ------
    ImportError
        If the library is not there, in one line.

    Examples
    --------
    >>> def forward(x, w, b):  # (batch, cells, in), (out, in, 1), (out,)
    ...     return x @ w[..., 0].T + b
    >>> mine = implementation(forward, to="numpy", layout="NHWC")
    >>> mine.forward(np.ones((1, 2, 3)), np.ones((1, 2, 1)), np.ones(1))
    array([[[3., 3., 3.]]])
    """
    given = {"forward": forward, "backward": backward}
    for name, function in given.items():
        if not callable(function) and (name == "forward" or function is not None):
            raise TypeError(complain(name, repr(function), "a function"))
    if callable(to):
        make = to
        kind = Kind(lambda array, name, how: make(to_numpy(array, name, how)), output)
    else:
        kind = KINDS[choice(to, "to", tuple(KINDS))]
    if dtype is not None:
        dtype = choice(spelled(dtype), "dtype", tuple(FORMATS))
    if to == "torch" and backward is None:
        from convdense.adapters.torch_implementation import (  # noqa: PLC0415  (it needs PyTorch)
            implementation as differentiated,
        )

        how: dict[str, Any] = {"bias": bias, "layout": layout, "device": device or "cpu"}
        return differentiated(forward, **how, dtype=dtype, interpreted=interpreted)
    choice(layout, "layout", ("NCHW", "NHWC"))
    if device is not None and to not in ("torch", "jax"):
        raise ValueError(complain("device", repr(device), f"None, for {to!r}"))
    rest = layout, device, dtype, flag(interpreted, "interpreted")
    mine: HasForward = Implementation((forward, backward), kind, checked_bias(bias), *rest)
    if layout == "NHWC":  # views are handed on as views, for their strides
        mine = ChannelsLast(functions(mine, NEEDS), "OIHW", views=True)
    return without_bias(mine) if bias is False else mine
