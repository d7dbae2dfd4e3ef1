"""The options of the command line that describe a layer: a convolution or a pool."""

import argparse
from functools import cache
from typing import Any

from convdense._util.arguments import complain
from convdense.geometry import (
    AvgPool,
    Conv,
    ConvTranspose,
    Geometry,
    LocallyConnected,
    MaxPool,
    MinPool,
    Pool,
    SumPool,
)
from convdense.geometry.base import option_defaults

_DEFAULTS = option_defaults(ConvTranspose) | option_defaults(Conv)
_OF_POOLS = ("kernel", "stride", "dilation", "padding", "pool", "ceil_mode", "count_include_pad")
_POOLS: dict[str, type[Pool]] = {"max": MaxPool, "avg": AvgPool, "sum": SumPool, "min": MinPool}


def add_layer(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the options of a convolution."""
    group = parser.add_argument_group(
        "layer", "one number for all axes, or one per axis joined by x"
    )
    group.add_argument(
        "--input",
        type=_sizes,
        required=required,
        metavar="CxHxW",
        help="one sample, such as 3x32x32",
    )
    group.add_argument("--kernel", type=_sizes, required=required, metavar="KxK")
    group.add_argument("--out-channels", type=int, default=1, metavar="N")
    group.add_argument(
        "--stride", type=_sizes, metavar="S", help="default: 1, of a pool its kernel"
    )
    group.add_argument("--dilation", type=_sizes, default=_DEFAULTS["dilation"], metavar="D")
    group.add_argument(
        "--padding",
        type=_padding,
        default=_DEFAULTS["padding"],
        metavar="P",
        help="1, 1x2, 0:1x2:3 (begin:end), valid, same, same_lower, full",
    )
    mode = _DEFAULTS["padding_mode"]
    group.add_argument(
        "--padding-mode", default=mode, metavar="MODE", help="zeros, circular, reflect, ..."
    )
    group.add_argument("--groups", type=int, default=_DEFAULTS["groups"], metavar="G")
    group.add_argument(
        "--flip", action="store_true", help="textbook convolution: the kernel reversed"
    )
    extra = _DEFAULTS["output_padding"]
    group.add_argument(
        "--output-padding", type=_sizes, default=extra, metavar="P", help="with --transposed"
    )
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--transposed", action="store_true", help="a transposed convolution")
    kind.add_argument("--locally-connected", action="store_true", help="the same mask without ties")
    parser.set_defaults(
        pool=None, ceil_mode=False, count_include_pad=None
    )  # where add_pool adds none


def add_pool(parser: argparse.ArgumentParser) -> None:
    """Add the options of a pool."""
    group = parser.add_argument_group(
        "pool", "with --input, --kernel, --stride, --padding and --dilation"
    )
    group.add_argument("--pool", choices=tuple(_POOLS), help="a pool instead of a convolution")
    group.add_argument(
        "--ceil-mode", action="store_true", help="a last window that runs over the end"
    )
    group.add_argument(
        "--count-include-pad", action=argparse.BooleanOptionalAction, help="avg: default yes"
    )


@cache
def layer_defaults() -> dict[str, Any]:
    """Return every option that describes a layer, apart from its input, as it is when it is not given."""
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
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number, or numbers joined by x such as 3x32x32"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _padding(text: str) -> Any:
    """Read 1, 1x2, 0:1x2:3, or a word."""
    if text[:1].isalpha():
        return text
    try:
        parts = [tuple(int(n) for n in part.split(":")) for part in text.split("x")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like 1, 1x2, 0:1x2:3 (begin:end) or same"
        ) from None
    if len(parts) == 1 and len(parts[0]) == 1:
        return parts[0][0]
    return tuple(part[0] if len(part) == 1 else part for part in parts)


def pool_or_layer(arguments: argparse.Namespace) -> Geometry | Pool:
    """Return the convolution, or with --pool the pool, that the options describe."""
    if arguments.pool is not None:
        return _pool(arguments)
    for name in ("ceil_mode", "count_include_pad"):
        if getattr(arguments, name) != layer_defaults()[name]:
            needs = (
                "--pool avg beside it"
                if name == "count_include_pad"
                else "--pool max, avg, sum or min beside it"
            )
            raise ValueError(complain(option(name), "a convolution", needs))
    return convolution(arguments)


def convolution(arguments: argparse.Namespace) -> Geometry:
    """Return the convolution that the options describe."""
    shape = _shape(arguments)
    options = {
        name: getattr(arguments, name)
        for name in ("kernel", "padding", "dilation", "groups", "flip")
    }
    options["stride"] = 1 if arguments.stride is None else arguments.stride
    if arguments.transposed:
        if arguments.padding_mode != "zeros":
            raise ValueError(
                complain("--padding-mode", arguments.padding_mode, "zeros with --transposed")
            )
        return ConvTranspose(
            shape, arguments.out_channels, output_padding=arguments.output_padding, **options
        )
    if arguments.output_padding != 0:
        raise ValueError(
            complain("--output-padding", arguments.output_padding, "--transposed beside it")
        )
    kind = LocallyConnected if arguments.locally_connected else Conv
    return kind(shape, arguments.out_channels, padding_mode=arguments.padding_mode, **options)


def _pool(arguments: argparse.Namespace) -> Pool:
    shape = _shape(arguments)
    for name, default in layer_defaults().items():
        if name not in _OF_POOLS and getattr(arguments, name) != default:
            got = f"--pool {arguments.pool} beside it"
            raise ValueError(
                complain(option(name), got, "a convolution", "leave one of the two out")
            )
    options = {
        name: getattr(arguments, name)
        for name in ("kernel", "stride", "padding", "dilation", "ceil_mode")
    }
    if arguments.count_include_pad is not None:
        if arguments.pool != "avg":
            raise ValueError(
                complain("--count-include-pad", f"--pool {arguments.pool}", "--pool avg")
            )
        options["count_include_pad"] = arguments.count_include_pad
    return _POOLS[arguments.pool](shape, **options)


def _shape(arguments: argparse.Namespace) -> tuple[int, ...]:
    for name, example in (("input", "3x32x32"), ("kernel", "3x3")):
        if getattr(arguments, name) is None:
            raise ValueError(
                complain(
                    f"--{name}", "nothing", f"a size, such as --{name} {example}", "or use --claims"
                )
            )
    sample = arguments.input
    return (sample,) if isinstance(sample, int) else tuple(sample)


def option(name: str) -> str:
    """Return a name of the parsed arguments as it is typed."""
    return "--" + name.replace("_", "-")
