"""Small scopes: every geometry whose numbers stay below stated limits, listed family by family."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from convdense.geometry import Conv, ConvTranspose
from convdense.geometry.padding import MODES


class Scope(NamedTuple):
    """How many axes a layer has, and the largest value of each number of an axis.

    Each number takes all values from 1 on; output padding from 0 on, padding from as many cells
    below 0 as may be cropped. Padding is that of one side, and both sides vary independently.
    Transposed layers alone have output padding, the others alone a dilated input.
    """

    axes: int
    input: int
    kernel: int
    stride: int
    dilation: int
    padding: int
    output_padding: int = 0
    crop: int = 0
    input_dilation: int = 1

    def __str__(self) -> str:
        """Return the limits in words; those that few scopes have, only where they do."""
        limits = dict(zip(self._fields[1:], self[1:], strict=True))
        for name in ("output_padding", "crop", "input_dilation"):
            if limits[name] == self._field_defaults[name]:
                del limits[name]
        return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in limits.items())


class Family(NamedTuple):
    """A kind of layer, its channels, and the scope that its geometries fill."""

    name: str
    scope: Scope
    kind: type[Conv] | type[ConvTranspose] = Conv
    in_channels: int = 1
    out_channels: int = 1
    groups: int = 1
    flip: bool = False
    padding_value: int = 0  # that of the cells of padding of zeros
    mixed: bool = False  # whether the padding modes of the axes differ, where they may


class AxisParameters(NamedTuple):
    """The numbers of one axis."""

    input: int
    kernel: int
    stride: int
    dilation: int
    padding: tuple[int, int]
    output_padding: int
    input_dilation: int


_SHORT = Scope(axes=1, input=5, kernel=3, stride=2, dilation=2, padding=2)
_SMALL = Scope(axes=2, input=3, kernel=2, stride=2, dilation=1, padding=1)
_TINY = Scope(axes=2, input=2, kernel=2, stride=2, dilation=1, padding=1)
FAMILIES = (
    Family("1-D", Scope(axes=1, input=7, kernel=4, stride=3, dilation=3, padding=3)),
    Family("2-D", Scope(axes=2, input=4, kernel=3, stride=2, dilation=2, padding=1)),
    Family("1-D, flipped", _SHORT, flip=True),
    Family("2-D, flipped", _SMALL, flip=True),
    Family("1-D, 2 channels", _SHORT, in_channels=2, out_channels=2),
    Family("1-D, 2 -> 3 channels", _SHORT, in_channels=2, out_channels=3),
    Family("2-D, 2 -> 3 channels", _TINY, in_channels=2, out_channels=3),
    Family(
        "1-D, 4 -> 6 channels in 2 groups",
        _SHORT._replace(padding=1),
        in_channels=4,
        out_channels=6,
        groups=2,
    ),
    Family("2-D, 2 -> 4 channels in 2 groups", _TINY, in_channels=2, out_channels=4, groups=2),
    Family("1-D, transposed", _SHORT._replace(output_padding=1), ConvTranspose),
    Family("2-D, transposed", _SMALL._replace(output_padding=1), ConvTranspose),
    Family("1-D, transposed, 2 -> 3 channels, flipped", _SHORT, ConvTranspose, 2, 3, flip=True),
    Family("1-D, cropped", _SHORT._replace(input=4, crop=1)),
    Family("1-D, cropped, of a dilated input", _SHORT._replace(crop=1, input_dilation=3)),
    Family("2-D, of a dilated input", _TINY._replace(crop=1, input_dilation=2)),
    Family("1-D, transposed, cropped below 0", _SHORT._replace(crop=2), ConvTranspose),
    Family("1-D, padded with 3", _SHORT, padding_value=3),
    Family("2-D, padded with -2, 2 -> 2 channels", _TINY, Conv, 2, 2, padding_value=-2),
    Family("2-D, modes that differ, padded with 2", _TINY, padding_value=2, mixed=True),
)


def count(family: Family) -> int:
    """Return how many geometries a family has.

    Examples
    --------
    >>> count(Family("a few", Scope(1, input=3, kernel=2, stride=1, dilation=1, padding=0)))
    5
    """
    return sum(1 for _ in _combinations(family))


def geometries(family: Family, every: int = 1) -> Iterator[Conv | ConvTranspose]:
    """Yield every valid geometry of a family, or each n-th of them.

    Where nothing is padded the padding modes are the same layer, and counted once.

    Examples
    --------
    >>> few = Family("a few", Scope(1, input=3, kernel=2, stride=1, dilation=1, padding=0))
    >>> for conv in geometries(few, every=2):
    ...     print(conv)
    Conv((1, 1), out_channels=1, kernel=1)
    Conv((1, 2), out_channels=1, kernel=2)
    Conv((1, 3), out_channels=1, kernel=2)
    """
    for i, (modes, axes) in enumerate(_combinations(family)):
        if i % every == 0:
            yield _layer(family, modes, axes)


def _combinations(family: Family) -> Iterator[tuple[tuple[str, ...], tuple[AxisParameters, ...]]]:
    """Yield padding mode and numbers of every axis; valid axes make a valid layer."""
    for modes in _modes(family):
        for axes in product(*(_valid_axes(family.scope, family.kind, mode) for mode in modes)):
            is_padded = any(any(axis.padding) for axis in axes)
            if is_padded or set(modes) == {"zeros"}:
                yield modes, axes


def _modes(family: Family) -> list[tuple[str, ...]]:
    """Return the padding modes of the axes: one for all, or in a mixed family those that differ."""
    n = family.scope.axes
    if family.mixed:
        each = product(MODES, repeat=n)
        return [modes for modes in each if len(set(modes)) > 1 and "zeros" in modes]
    copied = family.kind is Conv and not family.padding_value and family.scope.input_dilation == 1
    return [(mode,) * n for mode in (MODES if copied else ("zeros",))]


@lru_cache  # `count` and `geometries` both ask, and families of other channels
def _valid_axes(
    scope: Scope, kind: type[Conv] | type[ConvTranspose], mode: str
) -> tuple[AxisParameters, ...]:
    """Return the numbers of one axis that make a layer, found by making layers of one axis."""
    family = Family("of one channel", scope, kind)
    from_one = (scope.input, scope.kernel, scope.stride, scope.dilation)
    ranges = [range(1, most + 1) for most in from_one]
    ranges += [range(-scope.crop, scope.padding + 1)] * 2  # padding at begin and end
    ranges += [range(scope.output_padding + 1), range(1, scope.input_dilation + 1)]
    found = []
    for size, kernel, stride, dilation, begin, end, extra, step in product(*ranges):
        axis = AxisParameters(size, kernel, stride, dilation, (begin, end), extra, step)
        try:
            _layer(family, (mode,), (axis,))
        except ValueError:
            # The kernel is larger than the padded input; or padding would copy more cells than
            # there are; or the padding of a transposed layer crops its whole output.
            continue
        found.append(axis)
    return tuple(found)


def _layer(
    family: Family, modes: tuple[str, ...], axes: tuple[AxisParameters, ...]
) -> Conv | ConvTranspose:
    """Return the layer of a family that has these axes."""
    sizes, *per_axis = zip(*axes, strict=True)  # for each field, its numbers along all axes
    names = AxisParameters._fields[1:]
    options: dict[str, Any] = dict(zip(names, per_axis, strict=True))
    options |= {"groups": family.groups, "flip": family.flip}
    shape = (family.in_channels, *sizes)
    if family.kind is ConvTranspose:
        del options["input_dilation"]  # 1: `ConvTranspose` has none
        return ConvTranspose(shape, family.out_channels, **options)
    del options["output_padding"]  # 0: `Conv` has none
    if "zeros" in modes:
        options["padding_value"] = family.padding_value
    return Conv(shape, family.out_channels, **options, padding_mode=modes)
