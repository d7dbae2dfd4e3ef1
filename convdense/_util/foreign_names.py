"""Names of other libraries, and what to write here: of arguments, and of what `convdense` has not.

A callable that is `explained` says so where arguments do not fit it.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from convdense._util.arguments import complain

P = ParamSpec("P")
T = TypeVar("T")
_AXES = "channels come first here: np.moveaxis(x, -1, 1) of a batch, (x, -1, 0) of a sample"


# Where a callable has the argument on the left: what others call it, and what to write, which is
# our name and the value that came if it is empty. The first row that fits counts.
_ARGUMENTS = (
    ("kernel", "kernel_size kernel_shape window_shape pool_size filter_size ksize", ""),
    ("stride", "strides window_strides", ""),
    ("dilation", "dilations dilation_rate rhs_dilation", ""),
    ("input_dilation", "lhs_dilation", ""),
    ("padding", "pads", "write padding=((begin, end), ...), a pair for each axis"),
    ("padding", "auto_pad", 'write padding="same" for SAME_UPPER, or "same_lower"'),
    ("padding", "mode boundary", 'write padding="valid", "same" or "full", or padding_mode='),
    ("padding_value", "fillvalue constant_values", ""),
    ("groups", "group feature_group_count num_groups", ""),
    ("out_channels", "filters num_filters features", ""),
    ("out_features", "units features out_channels", ""),
    ("in_features", "in_channels in_shape input_shape", ""),
    ("in_shape", "in_channels", "write in_shape=(in_channels, *sizes), such as (3, 32, 32)"),
    ("in_shape", "input_shape", ""),
    ("output", "output_size", ""),
    ("b", "bias use_bias", ""),
    ("in_shape", "bias use_bias", "hand b in with the weights: TiedDense(conv, w, b)"),
    ("in_features", "bias use_bias", "hand b in with the weights: Dense(w, b)"),
    ("w", "weight weights kernel filter filters", ""),
    ("x", "input inputs", ""),
    ("dy", "grad_output dout", ""),
    ("p", "norm_type", ""),
    ("slope", "negative_slope alpha", ""),
    ("seed", "random_state rng key", ""),
    ("in_shape", "data_format layout dimension_numbers", _AXES),
    ("x", "data_format layout dimension_numbers", _AXES),
    ("in_shape", "return_indices inplace", "leave it out: no layer here has it"),
    ("in_shape", "activation", "write network(layer, ReLU())"),
)
# What is no attribute of `convdense`, without its axes -> what to write.
_ATTRIBUTES = {
    "conv": "convolve(Conv(in_shape, out_channels, kernel), x, w, b)",
    "conv_transpose": "convolve(ConvTranspose(in_shape, out_channels, kernel), x, w, b)",
    "MaxPooling max_pool": "MaxPool(in_shape, kernel), which dense_pool(pool) runs",
    "AveragePooling avg_pool": "AvgPool(in_shape, kernel), which dense_pool(pool) runs",
    "AdaptiveMaxPool GlobalMaxPooling": "MaxPool(in_shape, output=n), where 1 is global",
    "AdaptiveAvgPool GlobalAveragePooling": "AvgPool(in_shape, output=n), where 1 is global",
    "DepthwiseConv": "Conv(in_shape, out_channels, kernel, groups=in_channels)",
    "BatchNorm BatchNormalization": "batch_norm(in_shape, mean, var, weight, bias)",
    "relu": "ReLU()",
    "Sequential Model": "network(*layers)",
    "nn functional layers": "convdense.Conv and what else is in dir(convdense)",
    "convmtx convmtx2 convolution_matrix toeplitz im2col unfold": "conv_matrix(w, in_shape)",
}


def explained(function: Callable[P, T]) -> Callable[P, T]:
    """Return the same callable, which says what to write where arguments do not fit it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TypeError:
            message = _misfit(function, args, kwargs)
            if not message:  # it was raised inside
                raise
        raise TypeError(message)

    return call


def explain_init(kind: type[T]) -> type[T]:
    """Let a class say what to write where arguments do not fit its ``__init__``."""
    setattr(kind, "__init__", explained(vars(kind)["__init__"]))  # noqa: B010  (not to type checkers)
    return kind


def no_attribute(name: str, own: Sequence[str]) -> str:
    """Return the message about a name that `convdense` has not; `own` are those that it has."""
    without_axes = re.sub(r"_?[123][dD]", "", name)
    texts = [text for names, text in _ATTRIBUTES.items() if {name, without_axes} & {*names.split()}]
    if without_axes in own:
        texts = [f"{without_axes}, for any number of axes"]
    return f"module 'convdense' has no attribute {name!r}" + "".join(f"; write {t}" for t in texts)


def _misfit(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Return the message about arguments that do not fit; "" where they do."""
    call = signature(function)
    try:
        call.bind(*args, **kwargs)
    except TypeError as error:
        got = re.sub("missing a required .*argument:", "no", str(error))
    else:
        return ""
    title = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
    parameters = [p for p in call.parameters.values() if p.name != "self"]
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for name in [name for name in kwargs if name not in names]:
        do = _what_to_write(name, kwargs[name], names)
        return complain(name, _brief(kwargs[name]), f"an argument of {title}", do)
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [f"{name}=" for name in names if name not in places]
    by_name = f", then {', '.join(others)}" if others else ""
    return complain(title, got, f"{', '.join(places)} in this order{by_name}")


def _what_to_write(name: str, value: object, names: Sequence[str]) -> str:
    """Return what to write for an argument that a callable with these names has not."""
    for own, foreign, do in _ARGUMENTS:
        if own in names and name in foreign.split():
            return do or f"write {own}={_brief(value)}"
    close = get_close_matches(name, names, 1)
    return f"write {close[0]}={_brief(value)}" if close else f"it has {', '.join(names)}"


def _brief(value: object) -> str:
    """Return a value as it is written, if that is short."""
    is_plain = isinstance(value, (int, float, str, tuple, list))
    return repr(value) if is_plain and len(repr(value)) <= 60 else "..."
