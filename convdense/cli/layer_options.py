"""The options of the command line that describe a layer: a convolution or a pool.

An option that a geometry knows is passed on under its name, so a new one is added in `add_layer` or
`add_pool` alone.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from convdense._util.arguments import Array, complain, shaped
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    Geometry,
    LocallyConnected,
    LpPool,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
)
from convdense.geometry.base import option_defaults

_DEFAULTS = option_defaults(ConvTranspose) | option_defaults(Conv)
_POOLS: dict[str, type[Pool]]
_POOLS = {"max": MaxPool, "avg": AvgPool, "sum": SumPool, "min": MinPool, "lp": LpPool}
# option -> what it is if not given, and the pools that take it
_POOL_OPTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "pool": (None, tuple(_POOLS)),
    "ceil_mode": (False, tuple(_POOLS)),
    "output_size": (None, tuple(_POOLS)),
    "count_include_pad": (None, ("avg",)),
    "divisor_override": (None, ("avg",)),
    "p": (None, ("lp",)),
}
_OF_POOLS = ("kernel", "stride", "dilation", "padding", *_POOL_OPTIONS)


def add_layer(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the options of a convolution."""
    group = parser.add_argument_group(
        "layer", "one number for all axes, or one per axis joined by x"
    )
    sample = "one sample, such as 3x32x32"
    group.add_argument("--input", type=_sizes, required=required, metavar="CxHxW", help=sample)
    group.add_argument("--kernel", type=_sizes, required=required, metavar="KxK")
    group.add_argument("--out-channels", type=int, default=1, metavar="N")
    group.add_argument(
        "--stride", type=_sizes, metavar="S", help="default: 1, of a pool its kernel"
    )
    _add_with_default(group, "dilation", type=_sizes, metavar="D")
    forms = "1, 1x2, 0:1x2:3 (begin:end), valid, same, same_lower, full; a crop: --padding=-1:0"
    _add_with_default(group, "padding", type=_padding, metavar="P", help=forms)
    modes = "zeros, circular, reflect, ...; one per axis: circular,zeros"
    _add_with_default(group, "padding_mode", type=_words, metavar="MODE", help=modes)
    held = "what cells of mode zeros hold instead"
    _add_with_default(group, "padding_value", type=float, metavar="C", help=held)
    zeros_between = "zeros between the input's cells: every D-th is one"
    _add_with_default(group, "input_dilation", type=_sizes, metavar="D", help=zeros_between)
    _add_with_default(group, "groups", type=int, metavar="G")
    group.add_argument(
        "--flip", action="store_true", help="textbook convolution: the kernel reversed"
    )
    _add_with_default(group, "output_padding", type=_sizes, metavar="P", help="with --transposed")

    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--transposed", action="store_true", help="a transposed convolution")
    kind.add_argument("--locally-connected", action="store_true", help="the same mask without ties")

    # where add_pool adds none
    parser.set_defaults(**{name: default for name, (default, _) in _POOL_OPTIONS.items()})


def _add_with_default(group: argparse._ArgumentGroup, name: str, **told: Any) -> None:
    """Add an option whose default is that of the geometry."""
    group.add_argument(option(name), default=_DEFAULTS[name], **told)


def add_pool(parser: argparse.ArgumentParser, kinds: Sequence[str] = tuple(_POOLS)) -> None:
    """Add the options of these kinds of pools."""
    group = parser.add_argument_group(
        "pool", "with --input, --kernel, --stride, --padding and --dilation"
    )
    group.add_argument("--pool", choices=kinds, help="a pool instead of a convolution")
    group.add_argument(
        "--ceil-mode", action="store_true", help="a last window that runs over the end"
    )
    if "avg" in kinds:
        group.add_argument(
            "--count-include-pad", action=argparse.BooleanOptionalAction, help="avg: default yes"
        )
        divide = "avg: divide by N instead"
        group.add_argument("--divisor-override", type=int, metavar="N", help=divide)
    if "lp" in kinds:
        group.add_argument("--p", type=float, metavar="P", help="lp: the power")
        adaptive = "instead of a kernel: so many outputs (adaptive); 1 is global"
        group.add_argument("--output-size", type=_sizes, metavar="NxM", help=adaptive)


def add_weights_layout(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how the axes of the weights in a file are ordered."""
    keras = "axes of the weights; HWIO: (*kernel, in, out), as Keras saves them; default: OIHW"
    parser.add_argument("--weights-layout", choices=("OIHW", "HWIO"), default="OIHW", help=keras)


def weights_of(layer: Geometry, array: Array, layout: str) -> Array:
    """Return weights that came in a layout in the order that they have here."""
    shape = layer.weight_shape
    if layout == "OIHW":
        return shaped(array, "--weights", shape, layer)
    if isinstance(layer, LocallyConnected):
        needs = "OIHW with --locally-connected, whose kernels differ from place to place"
        raise ValueError(complain("--weights-layout", layout, needs))
    in_keras = (*shape[2:], shape[1], shape[0])
    if array.shape == shape != in_keras:
        got = f"{layout} beside weights of shape {shape}"
        raise ValueError(complain("--weights-layout", got, f"{in_keras} for that", "leave it out"))
    keras = shaped(array, "--weights", in_keras, layer)
    return keras.transpose(-1, -2, *range(keras.ndim - 2))


@cache
def layer_defaults() -> dict[str, Any]:
    """Return the options of a layer, apart from its input, with what they are if not given."""
    parser = argparse.ArgumentParser()
    add_layer(parser, required=False)
    add_pool(parser)
    given = vars(parser.parse_args([]))
    return {name: default for name, default in given.items() if name != "input"}


def _sizes(text: str) -> int | tuple[int, ...]:
    """Read 3 or 3x32x32."""
    try:
        numbers = tuple(int(part) for part in text.split("x"))
    except ValueError:
        refusal = f"{text!r} is not a number, or numbers joined by x such as 3x32x32"
        raise argparse.ArgumentTypeError(refusal) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _words(text: str) -> str | tuple[str, ...]:
    """Read zeros or circular,zeros."""
    return tuple(text.split(",")) if "," in text else text


def _padding(text: str) -> str | int | tuple[int | tuple[int, ...], ...]:
    """Read 1, 1x2, 0:1x2:3, or a word."""
    if text[:1].isalpha():
        return text
    try:
        parts = [tuple(int(n) for n in part.split(":")) for part in text.split("x")]
    except ValueError:
        refusal = f"{text!r} is not like 1, 1x2, 0:1x2:3 (begin:end) or same"
        raise argparse.ArgumentTypeError(refusal) from None

    per_axis = tuple(part[0] if len(part) == 1 else part for part in parts)
    only = per_axis[0]
    if len(per_axis) == 1 and isinstance(only, int):
        return only
    return per_axis


def given_layer_options(arguments: argparse.Namespace) -> list[str]:
    """Return the names of a layer's options, beside its input, that are not at their default."""
    defaults = layer_defaults().items()
    return [name for name, default in defaults if getattr(arguments, name) != default]


def pool_or_layer(arguments: argparse.Namespace) -> Geometry | Pool:
    """Return the convolution, or with --pool the pool, that the options describe."""
    if arguments.pool is not None:
        return _pool(arguments)
    for name in given_layer_options(arguments):
        if name in _POOL_OPTIONS:
            needs = f"--pool {', '.join(_POOL_OPTIONS[name][1])} beside it"
            raise ValueError(complain(option(name), "a convolution", needs))
    return convolution(arguments)


def convolution(arguments: argparse.Namespace) -> Geometry:
    """Return the convolution that the options describe."""
    shape = _shape(arguments)
    kind: type[Conv | ConvTranspose | LocallyConnected] = Conv
    if arguments.transposed:
        kind = ConvTranspose
    elif arguments.locally_connected:
        kind = LocallyConnected

    for name in given_layer_options(arguments):
        if name in _DEFAULTS and name not in option_defaults(kind):
            flag = "--transposed" if arguments.transposed else "--locally-connected"
            needs = f"{_DEFAULTS[name]} with {flag}"
            if name == "output_padding":
                needs = "--transposed beside it"
            raise ValueError(complain(option(name), getattr(arguments, name), needs))
    return kind(shape, arguments.out_channels, **_options_of(kind, arguments))


def _pool(arguments: argparse.Namespace) -> Pool:
    shape = _shape(arguments)
    for name in given_layer_options(arguments):
        if name not in _OF_POOLS:
            got, do = f"--pool {arguments.pool} beside it", "leave one of the two out"
            raise ValueError(complain(option(name), got, "a convolution", do))
        if name in _POOL_OPTIONS and arguments.pool not in _POOL_OPTIONS[name][1]:
            needs = f"--pool {', '.join(_POOL_OPTIONS[name][1])}"
            raise ValueError(complain(option(name), f"--pool {arguments.pool}", needs))
    kind = _POOLS[arguments.pool]
    options = _options_of(kind, arguments)
    if arguments.output_size is not None:
        options["output"] = arguments.output_size
    if arguments.pool == "lp":
        options["p"] = arguments.p
    return kind(shape, **options)


def _options_of(kind: type[Geometry | Pool], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the kernel and those options of a geometry's signature that the command line sets."""
    known = layer_defaults()  # `output` is an option of pools, and here --output-size
    names = [name for name in option_defaults(kind) if name in known]
    said = {name: getattr(arguments, name) for name in ["kernel", *names]}
    return {name: value for name, value in said.items() if value is not None}


def _shape(arguments: argparse.Namespace) -> tuple[int, ...]:
    for name, example in (("input", "3x32x32"), ("kernel", "3x3")):
        is_adaptive = name == "kernel" and arguments.output_size is not None
        if getattr(arguments, name) is None and not is_adaptive:
            needs = f"a size, such as --{name} {example}"
            raise ValueError(complain(f"--{name}", "nothing", needs, "or use --claims"))
    sample = arguments.input
    if isinstance(sample, int):
        return (sample,)
    first, *others = sample
    if len(others) > 1 and first > others[-1] and others[-1] in (1, 3, 4):
        read = f"read as {first} channels of {'x'.join(map(str, others))}"
        meant = "x".join(map(str, (others[-1], first, *others[:-1])))
        print(f"convdense: note: --input is {read}; channels first is {meant}", file=sys.stderr)
    return tuple(sample)


def option(name: str) -> str:
    """Return a name of the parsed arguments as it is typed."""
    return "--" + name.replace("_", "-")
