"""The types of what is handed around: anything with shapes, a layer that runs, a user's code.

A function names the least that it needs. So a layer of one's own fits wherever its attributes do,
without a base class.
"""

from collections.abc import Callable
from typing import Any, Protocol


class HasShapes(Protocol):
    """Anything that says what its input and output look like: a pool, a geometry, a tie map."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""


class HasWeightShapes(HasShapes, Protocol):
    """Anything that says what all its arrays look like: a geometry or a tie map."""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array."""


class Layer(HasShapes, Protocol):
    """A layer that runs, with its parameters inside: forward and backward, on batches."""

    def forward(self, x: Any) -> Any:
        """Return y, shape (batch, *out_shape), for x of shape (batch, *in_shape)."""

    def backward(self, x: Any, dy: Any) -> Any:
        """Return dx, or (dx, dw, db), or (dx, gradients by name), for dy of the shape of y."""


class HasForward(Protocol):
    """A user's code as an object; without ``backward(x, w, dy) -> (dx, dw, db)`` y is judged.

    Of a pool that is ``backward(x, dy) -> dx``.
    """

    @property
    def forward(self) -> Callable[..., Any]:
        """``forward(x, w, b) -> y``; of a pool, ``forward(x) -> y``."""


# A user's code: an object with both, or the two functions; or forward alone, either way.
Implementation = HasForward | Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]]
