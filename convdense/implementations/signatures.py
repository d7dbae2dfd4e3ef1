"""Wrappers: code with other signatures as forward(x, w, b) and backward(x, w, dy)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from convdense._util.arguments import Array, complain
from convdense.geometry import HasWeightShapes, Implementation, Pool
from convdense.implementations.evaluators import Functions, functions

NO_BIAS = (
    "an object with forward(x, w) and backward(x, w, dy) -> (dx, dw), or a pair of such functions"
)


@dataclass(frozen=True)
class Wrapper(ABC):
    """Two functions with other signatures, and their name; None for a backward of forward alone."""

    inner: Functions

    @property
    def __name__(self) -> str:
        """What a certificate calls it."""
        return self.inner.name

    @property
    def compiles(self) -> bool:
        """Whether what is wrapped is compiled anew for every shape."""
        return self.inner.compiles

    @property
    def interpreted(self) -> bool:
        """Whether an interpreter runs what is wrapped."""
        return self.inner.interpreted

    @property
    def backward(self) -> Any:
        """Backward of x, w and dy, for a pool of x and dy; None where forward alone is wrapped."""
        backward = self.inner.backward
        return None if backward is None else partial(self._backward, backward)

    @abstractmethod
    def _backward(self, backward: Callable[..., Any], x: Array, *rest: Any) -> Any:
        """Return the gradients, which `backward` gives in another way."""


@dataclass(frozen=True)
class FromCache(Wrapper):
    """Two functions, the first of which keeps a cache for the second; `from_cache` makes one."""

    layer: HasWeightShapes | Pool
    bias: bool

    def forward(self, x: Array, *weights: Any) -> Any:
        """Return y of x, w and b; for a pool of x."""
        y, _ = _check_two(self.inner.forward(x, *weights), "forward", "y and the cache")
        return y

    def _backward(self, backward: Callable[..., Any], x: Array, *rest: Any) -> Any:
        *weights, dy = rest
        if weights and self.bias and not isinstance(self.layer, Pool):
            # of zeros: no gradient depends on its values
            weights.append(np.zeros(self.layer.bias_shape, weights[0].dtype))
        _, cache = _check_two(self.inner.forward(x, *weights), "forward", "y and the cache")
        return backward(dy, cache)


@dataclass(frozen=True)
class WithoutBias(Wrapper):
    """An implementation that knows no bias, None for db; `without_bias` makes one."""

    def forward(self, x: Array, w: Array, b: Array | None = None) -> Any:
        """Return y, with the bias added."""
        y = np.asarray(self.inner.forward(x, w))
        if b is None:
            return y
        return y + b.reshape(*b.shape, *[1] * (y.ndim - 1 - b.ndim))  # (out,) -> (out, 1, ..., 1)

    def _backward(self, backward: Callable[..., Any], x: Array, *w_and_dy: Any) -> Any:
        dx, dw = _check_two(backward(x, *w_and_dy), "backward", "dx and dw")
        return dx, dw, None


def _check_two(results: Any, name: str, what: str) -> Any:
    """Return what a function gave if it is two results."""
    several = isinstance(results, (tuple, list))
    if not several or len(results) != 2:
        got = f"{len(results)} results" if several else type(results).__name__
        raise TypeError(complain(name, got, f"two results: {what}"))
    return results


def from_cache(
    layer: HasWeightShapes | Pool,
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    bias: bool = True,
) -> FromCache | WithoutBias:
    """Return two functions that share a cache, as courses have them, as an implementation.

    Parameters
    ----------
    layer : geometry
        Its bias_shape is that of the b which is handed in where backward is asked for.
    forward : function (x, w, b) -> (y, cache), for a pool x -> (y, cache)
    backward : function (dy, cache) -> (dx, dw, db), for a pool (dy, cache) -> dx; None: y is judged
    bias : bool
        False: forward takes (x, w) and backward returns (dx, dw).

    Returns
    -------
    object with forward(x, w, b) and backward(x, w, dy), for a pool forward(x) and backward(x, dy)

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> def forward(x, w, b):
    ...     return np.einsum("oi,nip->nop", w[..., 0], x) + b[:, None], (x, w)
    >>> def backward(dy, cache):
    ...     x, w = cache
    ...     dw = np.einsum("nop,nip->oi", dy, x)
    ...     return np.einsum("oi,nop->nip", w[..., 0], dy), dw[..., None], dy.sum(axis=(0, 2))
    >>> conv = Conv((2, 5), out_channels=3, kernel=1)
    >>> bool(certify(conv, from_cache(conv, forward, backward)))
    True
    """
    given: dict[str, object] = {"forward": forward, "backward": backward}
    for name, function in given.items():
        if not callable(function) and (function is not None or name == "forward"):
            raise TypeError(complain(name, repr(function), "a function"))
    named = getattr(forward, "func", forward)  # of a functools.partial its function
    name = str(getattr(named, "__name__", type(named).__name__))
    cached = FromCache(Functions(forward, backward, name), layer, bias)
    return cached if bias else without_bias(cached)


def without_bias(implementation: Implementation) -> WithoutBias:
    """Return an implementation that knows no bias as one that does.

    b is added to its output, and db is not judged.

    Parameters
    ----------
    implementation : object with forward and backward, two such functions, or forward alone
        ``forward(x, w) -> y`` and ``backward(x, w, dy) -> (dx, dw)``. One on arrays with the
        channels last is wrapped in `channels_last` first.

    Examples
    --------
    >>> from convdense import Conv, certify
    >>> def forward(x, w):
    ...     return np.einsum("oi,nip->nop", w[..., 0], x)
    >>> def backward(x, w, dy):
    ...     dw = np.einsum("nop,nip->oi", dy, x)
    ...     return np.einsum("oi,nop->nip", w[..., 0], dy), dw[..., None]
    >>> mine = without_bias((forward, backward))
    >>> certificate = certify(Conv((2, 5), out_channels=3, kernel=1), mine)
    >>> [finding.name for finding in certificate.findings], bool(certificate)
    (['y', 'dx', 'dw'], True)
    """
    return WithoutBias(functions(implementation, NO_BIAS))
