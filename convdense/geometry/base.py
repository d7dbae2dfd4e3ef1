"""What every layer with a window has: shapes, stride, dilation, groups, and a repr that reads like the call."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from inspect import signature
from typing import Any

from convdense._util.arguments import complain, integer, is_integer, is_sequence, per_axis
from convdense.display.tables import facts
from convdense.geometry.padding import Pairs


@cache
def option_defaults(kind: Any) -> dict[str, Any]:
    """Return the options of a geometry with their defaults, read from its signature: they stand
    nowhere else.

    Examples
    --------
    >>> from convdense import ConvTranspose
    >>> option_defaults(ConvTranspose)["output_padding"]
    0
    """
    defaults: dict[str, Any] = {}
    for base in reversed(
        kind.__mro__
    ):  # a pool of its own kind hands what it does not know on to Pool
        if "__init__" in vars(base) and base is not object:
            parameters = signature(vars(base)["__init__"]).parameters.values()
            defaults |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults


class Hyperparameters:
    """Frozen hyper-parameters of a layer: as plain data, and as the call that makes it."""

    in_shape: Any  # a field, or a property, of every kind

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data; `layer_from_dict` reads it back."""
        return {"type": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]  # dataclasses all

    def __repr__(self) -> str:
        """Return the call that makes this layer; options at their defaults are left out."""
        values = {f.name: shortest(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]  # every geometry is a dataclass
        shown = [repr(self.in_shape)]
        shown += [
            f"{k}={v!r}"
            for k, v in values.items()
            if k != "in_shape" and v != self._default(k, values)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Return the call, the shapes that follow from it, and every option, as a table for a notebook."""
        names = ("in_shape", "out_shape", "weight_shape", "bias_shape")
        shapes = {name: getattr(self, name) for name in names if hasattr(self, name)}
        options = {k: shortest(v) for k, v in self.to_dict().items() if k not in (*shapes, "type")}
        return facts(repr(self), shapes | options)

    def _default(self, name: str, values: dict[str, Any]) -> Any:  # noqa: ARG002  (a pool's stride is its kernel)
        kind: Any = type(self)
        return option_defaults(kind).get(name)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone: sizes that were computed meanwhile are no part of a pickle or a copy."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # every geometry is one

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the one moment a frozen dataclass is written


@dataclass(frozen=True, init=False, repr=False)
class Geometry(Hyperparameters, ABC):
    """What every layer with a sliding window has; the concrete classes say how sizes and weights follow."""

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
        self, in_shape: Any, out_channels: Any, groups: Any, flip: Any, **per_position: Any
    ) -> None:
        """Check and set what every kind has; `per_position` holds kernel, stride and dilation."""
        shape = sample_shape(in_shape)
        self._set(in_shape=shape, flip=flag(flip, "flip"))
        self._set(out_channels=integer(out_channels, "out_channels", 1))
        self._set(groups=integer(groups, "groups", 1))
        self._set(
            **{
                name: per_axis(value, name, len(shape) - 1, 1)
                for name, value in per_position.items()
            }
        )
        for name, channels in (("in_shape", shape[0]), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(
                    complain(
                        "groups", self.groups, f"a divisor of the {channels} channels of {name}"
                    )
                )


def sample_shape(value: Any) -> tuple[int, ...]:
    """Return the shape of one sample, (channels, *axes) with at least one axis."""
    if not is_sequence(value):
        raise TypeError(
            complain("in_shape", repr(value), "a tuple (channels, *axes), such as (3, 32, 32)")
        )
    if len(value) < 2:
        needs = "(channels, *axes) with at least one axis, such as (3, 32, 32)"
        raise ValueError(complain("in_shape", repr(value), needs))
    return tuple(integer(n, "in_shape", 1) for n in value)


def flag(value: Any, name: str) -> bool:
    """Return value if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(complain(name, repr(value), "True or False"))
    return value


def shortest(value: Any) -> Any:
    """Return one number for a tuple whose entries are all equal: (3, 3) as 3, ((1, 1), (1, 1)) as 1."""
    if not isinstance(value, tuple):
        return value
    entries = [shortest(v) for v in value]
    return (
        entries[0]
        if entries.count(entries[0]) == len(entries) and is_integer(entries[0])
        else tuple(entries)
    )
