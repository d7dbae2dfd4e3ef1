"""Names of other libraries, and what to write here: of arguments, of attributes, of `convdense`.

A callable that is `explained` says so where arguments do not fit it.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import isfunction, signature
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
    ("padding", "auto_pad", 'write padding="same" for SAME_UPPER, or "same_lower"; NOTSET is 0'),
    ("padding", "mode boundary", 'write padding="valid", "same" or "full", or padding_mode='),
    ("padding", "shape", 'write in_shape=, or of a result padding="valid", "same" or "full"'),
    ("padding_value", "fillvalue constant_values cval", ""),
    ("output_padding", "output_shape output_size", "write output_padding=, what an end lacks"),
    ("groups", "depth_multiplier", "write groups=in_channels, and the product as out_channels"),
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
    ("ceil_mode", "return_indices", "leave it out: dense_pool(pool).indices(x) has them"),
    ("in_shape", "inplace storage_order", "leave it out: no layer here has it"),
    ("layout", "start_dim end_dim axis", "leave it out: the batch stays an axis"),
    ("max_bytes", "padding_value input_dilation", "write tie(Conv(...)).matrix(w)"),
    ("max_bytes", "format", "write conv_matrix(...).tocsc(), or .toarray()"),
    ("in_shape", "activation", "write network(layer, ReLU())"),
    ("w", "activation units", "write Linear(in_features, out_features), and ReLU() after it"),
)
# What an object has not -> what to write, where it has the attribute on the left. Before these come
# the rows of `_ARGUMENTS` that rename.
_MEMBERS = (
    ("parameters", "state_dict get_weights weights weight w", "net.parameters, arrays by name"),
    ("parameters", "load_state_dict set_weights", "net.with_parameters(arrays_by_name)"),
    ("parameters", "fit compile", "train(net, x, labels), of convdense.training"),
    ("w", "parameters state_dict get_weights", "layer.w and layer.b"),
    ("forward", "predict apply call", "layer.forward(x)"),
    ("weight_shape", "weight w bias b", "layer.weight_shape: this holds none, TiedDense does"),
    ("weight_shape", "get_weights parameters forward backward predict", "TiedDense(layer, w, b)"),
    ("weight_shape", "toarray todense to_dense matrix", "tie(layer).matrix(w)"),
    ("ceil_mode", "forward backward predict indices", "dense_pool(pool), which runs"),
    ("out_shape", "output_shape shape", "layer.out_shape"),
    ("in_shape", "summary", "print(layer)"),
    ("in_shape", "to cpu cuda numpy detach eval train double", "nothing: all is NumPy's here"),
)
# What is no attribute of `convdense`, without its axes -> what to write.
_ATTRIBUTES = {
    "conv convolve correlate functional": "convolve(Conv(in_shape, out_channels, kernel), x, w, b)",
    "conv_transpose": "convolve(ConvTranspose(in_shape, out_channels, kernel), x, w, b)",
    "MaxPooling max_pool": "MaxPool(in_shape, kernel), which dense_pool(pool) runs",
    "AveragePooling avg_pool": "AvgPool(in_shape, kernel), which dense_pool(pool) runs",
    "AdaptiveMaxPool GlobalMaxPool GlobalMaxPooling": "MaxPool(in_shape, output=1)",
    "AdaptiveAvgPool GlobalAveragePool GlobalAveragePooling": "AvgPool(in_shape, output=1)",
    "DepthwiseConv": "Conv(in_shape, out_channels, kernel, groups=in_channels)",
    "BatchNorm BatchNormalization": "batch_norm(in_shape, mean, var, weight, bias), a layer",
    "Gemm": "Linear(in_features, out_features), its weights (out, in)",
    "plot": "plots.matrix(layer)",
    "adapters": "import convdense.adapters.torch",
    "relu": "ReLU()",
    "Sequential Model": "network(*layers)",
    "nn layers": "Conv(in_shape, out_channels, kernel) or what else is in dir(convdense)",
    "convmtx convmtx2 convolution_matrix toeplitz": "conv_matrix(w, in_shape)",
    "im2col unfold Unfold": "tie(conv).data_matrix(x), which multiplies the weights",
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


def explain(kind: type[T]) -> type[T]:
    """Let a class say what to write where arguments do not fit ``__init__`` or a public method."""
    for name, method in [*vars(kind).items()]:
        is_open = name == "__init__" or not name.startswith("_")
        if isfunction(method) and is_open and not hasattr(method, "__wrapped__"):
            setattr(kind, name, explained(method))  # not to type checkers
    return kind


def no_member(thing: object, name: str) -> str:
    """Return the message about a foreign attribute that an object of ours has not, or ""."""
    renamed = [(own, names, f"its .{own}") for own, names, do in _ARGUMENTS if not do]
    for own, names, text in (*renamed, *_MEMBERS):
        if name in names.split() and (own in vars(thing) or hasattr(type(thing), own)):
            return f"{type(thing).__name__!r} object has no attribute {name!r}; write {text}"
    return ""


def named_here(name: str, own: Sequence[str]) -> str:
    """Return what to write for a name of another library, or ""; `own` are the names there are."""
    without_axes = re.sub(r"_?[123][dD]", "", name)
    texts = [text for names, text in _ATTRIBUTES.items() if {name, without_axes} & {*names.split()}]
    if without_axes in own and name[0].isupper():
        axes = "(in_shape, ...), of any number of axes: in_shape is (channels, *sizes)"
        texts = [f"cd.{name}" if without_axes == name else without_axes + axes]
    return "".join(f"; write {text}" for text in texts)


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
    strangers = [name for name in kwargs if name not in names]
    for name in strangers[:1]:
        does = [_what_to_write(stranger, kwargs[stranger], names) for stranger in strangers]
        return complain(name, _brief(kwargs[name]), f"an argument of {title}", "; ".join(does))
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [f"{name}=" for name in names if name not in places]
    by_name = f", then {', '.join(others)}" if others else ""
    return complain(title, got, f"{', '.join(places)} in this order{by_name}")


def _what_to_write(name: str, value: object, names: Sequence[str]) -> str:
    """Return what to write for an argument that a callable with these names has not."""
    for own, foreign, do in _ARGUMENTS:
        if own in names and name.lower() in foreign.split():
            value = None if own == "b" and value is False else value
            return do or f"write {own}={_brief(value)}"
    close = get_close_matches(name.lower(), names, 1)
    return f"write {close[0]}={_brief(value)}" if close else f"it has {', '.join(names)}"


def _brief(value: object) -> str:
    """Return a value as it is written, if that is short."""
    is_plain = isinstance(value, (int, float, str, tuple, list, type(None)))
    return repr(value) if is_plain and len(repr(value)) <= 60 else "..."
