"""The geometries that a user's code is tested on: small, asymmetric, with every option."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from convdense._util.arguments import choice
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    LocallyConnected,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
)

_Layer = Conv | ConvTranspose | LocallyConnected | Pool
_Table = dict[str, _Layer]  # what is special about a layer, in a word or two -> the layer

# Equal axes hide swapped ones, one channel hides the order of channels, equal paddings hide which
# is which. So no layer has these, except one that is there for it, as its name says. The arguments
# without a name are in_shape, out_channels and kernel.
_CONV: _Table = {
    "plain": Conv((2, 5, 6), 3, (2, 3)),
    "one-channel": Conv((1, 4, 5), 1, (2, 3)),
    "square-kernel": Conv((2, 5, 7), 3, 3),  # only here do swapped kernel axes keep the shapes
    "square-channels": Conv((3, 5, 4), 3, (2, 3)),  # and here swapped channels
    "kernel-1": Conv((3, 4, 5), 2, 1),
    "kernel-1-strided": Conv((3, 5, 6), 2, 1, stride=(2, 3)),
    "kernel-a-column": Conv((2, 5, 4), 3, (3, 1)),
    "kernel-a-row": Conv((2, 5, 4), 3, (1, 3)),
    "kernel-covers-input": Conv((2, 3, 4), 3, (3, 4)),
    "kernel-beyond-input": Conv((2, 2, 3), 3, (4, 5), padding=((1, 2), (2, 1))),
    "strided": Conv((2, 7, 9), 3, (3, 2), stride=2),
    "strided-unevenly": Conv((2, 6, 7), 3, (2, 3), stride=(1, 2)),
    "stride-leaves-rows-over": Conv((2, 8, 9), 3, (3, 2), stride=(3, 4), padding=((0, 1), (2, 0))),
    "stride-beyond-kernel": Conv((2, 7, 8), 3, (2, 1), stride=(3, 2), padding=1),
    "dilated": Conv((2, 7, 8), 3, (3, 2), dilation=2),
    "dilated-unevenly": Conv((2, 7, 6), 3, (3, 2), dilation=(2, 3), padding=((2, 1), (1, 0))),
    "dilated-strided": Conv(
        (2, 9, 8), 3, (2, 3), stride=(2, 1), dilation=(1, 2), padding=((1, 0), (0, 1))
    ),
    "padded": Conv((2, 5, 4), 3, (3, 2), padding=1),
    "padded-square-kernel": Conv((2, 5, 6), 3, 3, padding=1),
    "padded-unevenly": Conv((2, 4, 5), 3, (3, 2), padding=(1, 2)),
    "padded-asymmetrically": Conv((2, 5, 4), 3, (3, 2), padding=((1, 2), (0, 1))),
    "padded-beyond-kernel": Conv((2, 3, 4), 3, (1, 2), padding=((2, 1), (0, 3))),
    "padded-strided": Conv((2, 7, 8), 3, 3, stride=2, padding=1),
    "same": Conv((2, 5, 6), 3, (3, 5), padding="same"),
    "same-even-kernel": Conv((2, 5, 6), 3, (2, 4), padding="same"),
    "same-strided": Conv((2, 6, 7), 3, (3, 2), stride=(2, 3), padding="same"),
    "full": Conv((2, 3, 4), 3, (3, 2), padding="full"),
    "grouped": Conv((4, 5, 4), 6, (2, 3), groups=2, padding=((1, 0), (1, 2))),
    "depthwise": Conv((3, 5, 4), 3, (3, 2), groups=3, padding=1),
    "depthwise-multiplied": Conv((3, 5, 4), 6, (3, 2), groups=3, padding=((1, 0), (0, 1))),
    "flipped": Conv((2, 5, 6), 3, (3, 2), padding=((0, 1), (1, 1)), flip=True),
    "circular": Conv((2, 5, 4), 3, (3, 2), padding=((2, 1), (1, 2)), padding_mode="circular"),
    "reflect": Conv((2, 5, 4), 3, (3, 2), padding=((2, 1), (0, 1)), padding_mode="reflect"),
    "replicate": Conv(
        (2, 3, 4), 3, (3, 2), stride=(2, 1), padding=((2, 4), (1, 0)), padding_mode="replicate"
    ),
    "symmetric": Conv((2, 4, 5), 3, (3, 2), padding=((2, 1), (1, 2)), padding_mode="symmetric"),
    "1d": Conv((2, 7), 3, 3, padding=1),
    "1d-mixed": Conv((2, 11), 3, 4, stride=2, dilation=2, padding=((3, 1),)),
    "3d": Conv((2, 3, 4, 5), 3, (2, 1, 3), padding=1),
    "3d-mixed": Conv(
        (2, 4, 3, 6),
        3,
        (2, 3, 2),
        stride=(1, 1, 2),
        dilation=(2, 1, 1),
        padding=((1, 0), (0, 1), (2, 1)),
    ),
    "mixed": Conv(
        (4, 9, 8), 6, (3, 2), stride=(2, 1), dilation=(1, 3), groups=2, padding=((1, 0), (2, 1))
    ),
}
_TRANSPOSED: _Table = {
    "plain": ConvTranspose((2, 4, 3), 3, (2, 3)),
    "square-kernel": ConvTranspose((2, 3, 4), 3, 3),
    "square-channels": ConvTranspose((3, 4, 3), 3, (3, 2), stride=(1, 2), padding=((1, 0), (0, 0))),
    "kernel-1": ConvTranspose((2, 3, 4), 3, 1),
    "tiles": ConvTranspose((2, 3, 4), 3, 2, stride=2),
    "strided": ConvTranspose((2, 3, 4), 3, (3, 2), stride=2),
    "strided-unevenly": ConvTranspose((2, 4, 3), 3, (3, 2), stride=(2, 3)),
    "padded": ConvTranspose((2, 4, 5), 3, 3, padding=1),
    "padded-asymmetrically": ConvTranspose(
        (2, 4, 3), 3, (3, 4), stride=2, padding=((1, 0), (1, 2))
    ),
    "output-padded": ConvTranspose((2, 4, 3), 3, 3, stride=2, padding=1, output_padding=1),
    "output-padded-unevenly": ConvTranspose(
        (2, 4, 3), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)), output_padding=(1, 2)
    ),
    "same": ConvTranspose((2, 4, 3), 3, (3, 4), stride=2, padding="same"),
    "dilated": ConvTranspose(
        (2, 4, 3), 3, (3, 2), stride=2, dilation=(1, 3), padding=((1, 2), (1, 0))
    ),
    "grouped": ConvTranspose(
        (4, 3, 4), 6, (3, 2), stride=(1, 2), groups=2, padding=((0, 1), (1, 0))
    ),
    "flipped": ConvTranspose(
        (2, 3, 4), 3, (2, 3), stride=(2, 1), padding=((0, 1), (1, 1)), flip=True
    ),
    "1d": ConvTranspose((2, 5), 3, 4, stride=3, padding=((1, 2),), output_padding=1),
    "3d": ConvTranspose(
        (2, 2, 3, 2), 3, (2, 3, 1), stride=(2, 1, 2), padding=((0, 1), (1, 0), (0, 0))
    ),
}
_LOCAL: _Table = {
    "plain": LocallyConnected((2, 5, 6), 3, (2, 3)),
    "strided": LocallyConnected((2, 5, 6), 3, (3, 2), stride=(2, 3), padding=((1, 0), (0, 2))),
    "dilated": LocallyConnected((2, 6, 5), 3, (3, 2), dilation=(2, 3), padding=((0, 1), (1, 0))),
    "grouped": LocallyConnected((4, 4, 3), 6, (2, 3), groups=2, padding=((0, 1), (1, 0))),
    "circular": LocallyConnected(
        (2, 4, 5), 3, (3, 2), padding=((1, 2), (0, 1)), padding_mode="circular"
    ),
    "1d": LocallyConnected((2, 7), 3, 3, stride=2),
}
# The arguments of a pool: every kind of pool is made with each of them.
_WINDOWS: dict[str, dict[str, Any]] = {
    "tiles": {"in_shape": (2, 4, 6), "kernel": (2, 3)},
    "square-tiles": {"in_shape": (3, 4, 6), "kernel": 2},
    "tiles-leave-rows-over": {"in_shape": (2, 5, 8), "kernel": (2, 3)},
    "overlapping": {"in_shape": (2, 6, 7), "kernel": (3, 2), "stride": (2, 1)},
    "apart": {"in_shape": (2, 7, 6), "kernel": (2, 1), "stride": (3, 2)},
    "kernel-covers-input": {"in_shape": (2, 3, 4), "kernel": (3, 4)},
    "padded": {"in_shape": (2, 5, 6), "kernel": 3, "stride": 2, "padding": 1},
    "padded-asymmetrically": {
        "in_shape": (2, 5, 6),
        "kernel": (3, 2),
        "stride": (2, 1),
        "padding": ((1, 2), (0, 1)),
    },
    "ceil": {
        "in_shape": (2, 6, 8),
        "kernel": (3, 2),
        "stride": (2, 3),
        "padding": (1, 0),
        "ceil_mode": True,
    },
    "dilated": {
        "in_shape": (2, 7, 6),
        "kernel": (2, 3),
        "stride": (2, 1),
        "dilation": (3, 2),
        "padding": (1, 1),
    },
    # adaptive pools: the input in so many parts, windows of different sizes
    "parts": {"in_shape": (2, 7, 5), "output": (3, 2)},
    "global": {"in_shape": (3, 4, 5), "output": 1},
    "1d": {"in_shape": (2, 9), "kernel": 3, "stride": 2},
    "3d": {"in_shape": (2, 4, 3, 5), "kernel": (2, 1, 3), "stride": (1, 2, 2)},
}
_AVERAGES: _Table = {
    "padding-not-counted": AvgPool(
        (2, 5, 6), (3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), count_include_pad=False
    ),
    "padding-not-counted-ceil": AvgPool(
        (2, 6, 8), (3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True, count_include_pad=False
    ),
    "divisor": AvgPool((2, 5, 6), (3, 2), stride=(1, 2), divisor_override=7),
    "negative-divisor": AvgPool((2, 5, 6), (2, 3), stride=(2, 1), divisor_override=-2),
}
_POOLS: dict[str, Callable[..., Pool]] = {
    "sum": SumPool,
    "avg": AvgPool,
    "max": MaxPool,
    "min": MinPool,
}
_TABLES: dict[str, _Table] = {"conv": _CONV, "transposed": _TRANSPOSED, "local": _LOCAL}
for _kind, _pool in _POOLS.items():
    _TABLES[_kind] = {special: _pool(**arguments) for special, arguments in _WINDOWS.items()}
_TABLES["avg"] |= _AVERAGES

# kind -> the first layer of its table comes again, under these names, with so many samples
_BATCHES = {
    "conv": {"one-sample": 1, "three-samples": 3},
    "transposed": {"one-sample": 1},
    "max": {"one-sample": 1},
}
KINDS = tuple(_TABLES)


@dataclass(frozen=True)
class Case:
    """One geometry of the table.

    Attributes
    ----------
    kind : str
        "conv", "transposed", "local", "sum", "avg", "max" or "min".
    name : str
        The kind and what is special about it, such as "conv-strided-unevenly"; it does not change.
    layer : geometry
    batch : int
        Samples to test it on.

    Examples
    --------
    >>> case = cases("max")[0]
    >>> case.name, case.layer, case.quantities
    ('max-tiles', MaxPool((2, 4, 6), kernel=(2, 3)), ('forward', 'dx', 'behaviour'))
    """

    kind: str
    name: str
    layer: _Layer
    batch: int = 2

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is checked on it: "forward", "dx", with weights "dw" and "db", and "behaviour".

        The last is what the code does with zeros, batches and strides.
        """
        if self.kind in _POOLS:
            return "forward", "dx", "behaviour"
        return "forward", "dx", "dw", "db", "behaviour"


def cases(kind: str | Sequence[str] = "conv") -> tuple[Case, ...]:
    """Return the table of geometries of one kind of layer, or of several.

    Parameters
    ----------
    kind : {"conv", "transposed", "local", "sum", "avg", "max", "min"}, or several of them

    Returns
    -------
    tuple of Case
        Small ones, at most 2,000 products a sample, and asymmetric: non-square inputs and kernels,
        more than one channel, different padding at the beginning and the end, rows left over by the
        stride, and every option.

    Examples
    --------
    >>> table = {case.name: case.layer for case in cases("conv")}
    >>> table["conv-strided-unevenly"]
    Conv((2, 6, 7), out_channels=3, kernel=(2, 3), stride=(1, 2))
    >>> sorted({case.layer.padding_mode for case in cases("conv")})
    ['circular', 'reflect', 'replicate', 'symmetric', 'zeros']
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    tables = [_cases_of_kind(choice(name, "kind", KINDS)) for name in kinds]
    return tuple(case for table in tables for case in table)


def _cases_of_kind(kind: str) -> list[Case]:
    """Return every geometry of a kind, and the first once more on batches of other sizes."""
    table = [Case(kind, f"{kind}-{name}", layer) for name, layer in _TABLES[kind].items()]
    first = table[0].layer
    for name, batch in _BATCHES.get(kind, {}).items():
        table.append(Case(kind, f"{kind}-{name}", first, batch))
    return table
