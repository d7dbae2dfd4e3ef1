"""What all hyper-parameters have: shapes, plain data, and a repr that reads like the call."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from convdense._util.arguments import Sizes, complain, integer, is_integer, is_sequence, per_axis
from convdense._util.foreign_objects import said
from convdense._util.frozen import Frozen
from convdense.display.tables import facts
from convdense.geometry.padding import Pairs


@cache
def option_defaults(kind: "type[Hyperparameters]") -> dict[str, Any]:
    """Return the options of a geometry with their defaults: they stand in its signature alone.

    Examples
    --------
    >>> from convdense import ConvTranspose
    >>> option_defaults(ConvTranspose)["output_padding"]
    0
    """
    parameters = signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@dataclass(frozen=True, init=False, repr=False)
class Hyperparameters(Frozen):
    """Frozen hyper-parameters of a layer: as plain data, and as the call that makes it."""

    _use_instead = "cd.tie(layer).matrix(w) is a layer's matrix, cd.conv_matrix(pool) a pool's"

    if TYPE_CHECKING:  # a field of most kinds, and of some a property that follows from others

        @property
        def in_shape(self) -> tuple[int, ...]:
            """Shape of one input sample."""

        @property
        def out_shape(self) -> tuple[int, ...]:
            """Shape of one output sample."""

    if not TYPE_CHECKING:  # to a type checker it is no function

        def __call__(self, *_: object, **__: object) -> None:
            """Refuse: it holds no weights."""
            do = "write TiedDense(layer, w, b)(x) or convolve(layer, x, w, b), dense_pool(pool)(x)"
            raise TypeError(complain("layer", f"{self!r}, called", "a layer with weights", do))

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data; `layer_from_dict` reads it back."""
        return {"type": type(self).__name__, **asdict(self)}

    def __repr__(self) -> str:
        """Return the call that makes this layer; options at their defaults are left out."""
        values = {f.name: shortest(getattr(self, f.name)) for f in fields(self)}
        values.pop("in_shape", None)
        options = [f"{k}={v!r}" for k, v in values.items() if v != self._default(k, values)]
        return f"{type(self).__name__}({', '.join([repr(self.in_shape), *options])})"

    def _repr_html_(self) -> str:
        """Return the call, the shapes that follow from it, and every option, as an HTML table."""
        names = ("in_shape", "out_shape", "weight_shape", "bias_shape")
        shapes = {name: getattr(self, name) for name in names if hasattr(self, name)}
        options = {k: shortest(v) for k, v in self.to_dict().items() if k not in (*shapes, "type")}
        return facts(repr(self), shapes | options)

    # A pool looks at the values: its stride is its kernel.
    def _default(self, name: str, values: dict[str, Any]) -> Any:  # noqa: ARG002
        """Return an option's default, which may depend on the values of others."""
        kind: Any = type(self)  # a class can be hashed, whatever mypy makes of its __hash__
        return option_defaults(kind).get(name)

    def _set(self, **values: Any) -> None:
        """Set attributes while the layer is being made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the one moment a frozen dataclass is written


@dataclass(frozen=True, init=False, repr=False)
class Geometry(Hyperparameters, ABC):
    """What every layer with a sliding window has; each kind says how sizes and weights follow."""

    in_shape: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    flip: bool

    @property
    @abstractmethod
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis."""

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight array."""

    @cached_property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias array: one per output channel."""
        return (self.out_channels,)

    @cached_property
    def in_channels(self) -> int:
        """Number of input channels."""
        return self.in_shape[0]

    @cached_property
    def in_spatial(self) -> tuple[int, ...]:
        """Input positions along each axis."""
        return self.in_shape[1:]

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: (out_channels, *out_spatial)."""
        return (self.out_channels, *self.out_spatial)

    def _set_common(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        groups: int,
        flip: bool,
        **per_position: Sizes,
    ) -> None:
        """Check and set what every kind has; `per_position` holds kernel, stride and dilation."""
        shape = sample_shape(in_shape)
        axes = len(shape) - 1
        self._set(in_shape=shape, flip=flag(flip, "flip"))
        self._set(out_channels=integer(out_channels, "out_channels", 1))
        self._set(groups=integer(groups, "groups", 1))
        for name, value in per_position.items():
            self._set(**{name: per_axis(value, name, axes, 1)})

        for name, channels in (("in_shape", shape[0]), ("out_channels", self.out_channels)):
            if channels % self.groups:
                needs = f"a divisor of the {channels} channels of {name}"
                raise ValueError(complain("groups", self.groups, needs))


def sample_shape(value: Any) -> tuple[int, ...]:
    """Return the shape of one sample, (channels, *axes) with at least one axis."""
    if getattr(value, "ndim", 1) > 1 or not is_sequence(value):
        needs = "a tuple (channels, *axes), such as (3, 32, 32)"
        do = f"write ({value}, *sizes): the sizes of x belong to it" if is_integer(value) else ""
        do = "write tuple(x.shape), of one sample x" if getattr(value, "ndim", 0) > 1 else do
        raise TypeError(complain("in_shape", said(value), needs, do))
    if len(value) < 2:
        needs = "(channels, *axes) with at least one axis, such as (3, 32, 32)"
        raise ValueError(complain("in_shape", repr(value), needs))
    if any(n is None or isinstance(n, str) for n in value):
        do = "write the size of every axis, and leave the batch out"
        raise TypeError(complain("in_shape", tuple(value), "integers", do))
    channels, *axes = value
    # an axis may be empty, as NumPy has it; a layer without a channel would have no weights
    return integer(channels, "in_shape", 1), *(integer(n, "in_shape", 0) for n in axes)


def flag(value: Any, name: str) -> bool:
    """Return value if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(complain(name, repr(value), "True or False"))
    return value


def shortest(value: Any) -> Any:
    """Return one number for a tuple of equal ones: (3, 3) as 3, ((1, 1), (1, 1)) as 1."""
    if not isinstance(value, tuple):
        return value
    entries = [shortest(v) for v in value]
    all_equal = entries.count(entries[0]) == len(entries)
    return entries[0] if all_equal and is_integer(entries[0]) else tuple(entries)
