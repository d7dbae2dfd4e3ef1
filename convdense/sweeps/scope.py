"""Small scopes: every geometry whose numbers stay below stated limits, listed family by family."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from convdense.geometry import Conv, ConvTranspose
from convdense.geometry.padding import MODES


class Scope(NamedTuple):
    """How many axes a layer has, and the largest value of each number of an axis.

    Each number takes all values from 1 on; padding and output padding from 0 on. Padding is that
    of one side, and both sides vary independently. Transposed layers alone have output padding.
    """

    axes: int
    input: int
    kernel: int
    stride: int
    dilation: int
    padding: int
    output_padding: int = 0

    def __str__(self) -> str:
        """Return the limits in words."""
        limits = dict(zip(self._fields[1:], self[1:], strict=True))
        if not self.output_padding:
            del limits["output_padding"]
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


class AxisParameters(NamedTuple):
    """The numbers of one axis."""

    input: int
    kernel: int
    stride: int
    dilation: int
    padding: tuple[int, int]
    output_padding: int


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
    for i, (mode, axes) in enumerate(_combinations(family)):
        if i % every == 0:
            yield _layer(family, mode, axes)


def _combinations(family: Family) -> Iterator[tuple[str, tuple[AxisParameters, ...]]]:
    """Yield padding mode and the numbers of every axis; valid axes make a valid layer."""
    modes = MODES if family.kind is Conv else ("zeros",)
    for mode in modes:
        for axes in product(_valid_axes(family, mode), repeat=family.scope.axes):
            is_padded = any(sum(axis.padding) for axis in axes)
            if is_padded or mode == "zeros":
                yield mode, axes


@lru_cache  # `count` and `geometries` both ask
def _valid_axes(family: Family, mode: str) -> tuple[AxisParameters, ...]:
    """Return the numbers of one axis that make a layer, found by making layers of one axis."""
    scope = family.scope
    from_one = (scope.input, scope.kernel, scope.stride, scope.dilation)
    from_zero = (scope.padding, scope.padding, scope.output_padding)  # padding at begin and end
    ranges = [range(1, most + 1) for most in from_one]
    ranges += [range(most + 1) for most in from_zero]
    found = []
    for size, kernel, stride, dilation, begin, end, extra in product(*ranges):
        axis = AxisParameters(size, kernel, stride, dilation, (begin, end), extra)
        try:
            _layer(family, mode, (axis,))
        except ValueError:
            # The kernel is larger than the padded input; or padding would copy more cells than
            # there are; or the padding of a transposed layer crops its whole output.
            continue
        found.append(axis)
    return tuple(found)


def _layer(family: Family, mode: str, axes: tuple[AxisParameters, ...]) -> Conv | ConvTranspose:
    """Return the layer of a family that has these axes."""
    sizes, *per_axis = zip(*axes, strict=True)  # for each field, its numbers along all axes
    names = AxisParameters._fields[1:]
    options: dict[str, Any] = dict(zip(names, per_axis, strict=True))
    options |= {"groups": family.groups, "flip": family.flip}
    shape = (family.in_channels, *sizes)
    if family.kind is ConvTranspose:
        return ConvTranspose(shape, family.out_channels, **options)
    del options["output_padding"]  # 0: `Conv` has none
    return Conv(shape, family.out_channels, **options, padding_mode=mode)
