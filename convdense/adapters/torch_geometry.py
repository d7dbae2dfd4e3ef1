"""The hyper-parameters of PyTorch's layers, read from a module and compared with what it computes.

`KINDS` says how each kind is read: a new kind is a new entry.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from convdense._util.arguments import complain, first_line
from convdense._util.foreign_names import explained
from convdense.adapters.import_torch import torch
from convdense.geometry import AvgPool, Conv, ConvTranspose, MaxPool
from convdense.geometry.base import sample_shape

TorchLayer = Conv | ConvTranspose | AvgPool | MaxPool


class Kind(NamedTuple):
    """How modules of one kind are read: what they become here, and the attributes that say it."""

    layer: Callable[..., TorchLayer]
    attributes: tuple[str, ...]  # a module without one, such as AvgPool1d, has its default


_WINDOW = ("kernel_size", "stride", "padding")
_CONV = ("out_channels", *_WINDOW, "dilation", "groups")
KINDS = {
    "Conv": Kind(Conv, (*_CONV, "padding_mode")),
    "ConvTranspose": Kind(ConvTranspose, (*_CONV, "output_padding")),
    "AvgPool": Kind(AvgPool, (*_WINDOW, "ceil_mode", "count_include_pad", "divisor_override")),
    "MaxPool": Kind(MaxPool, (*_WINDOW, "dilation", "ceil_mode")),
    "AdaptiveAvgPool": Kind(AvgPool, ("output_size",)),
    "AdaptiveMaxPool": Kind(MaxPool, ("output_size",)),
}
_RENAMED = {"kernel_size": "kernel", "output_size": "output"}  # attributes with another name here
SIGNED_POWERS = (
    "cd.LpPool is no LPPool: PyTorch sums x^p with the signs that an odd p leaves, and scales up a "
    "window that runs over the end"
)
_CLASSES = {  # of torch.nn, such as Conv2d: ("Conv", 2)
    getattr(torch.nn, f"{name}{axes}d"): (name, axes) for name in KINDS for axes in (1, 2, 3)
}
FUNCTIONS = {  # such as conv_transpose2d: ("ConvTranspose", 2)
    re.sub("(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): found for kind, found in _CLASSES.items()
}
# a class of torch, by the module that it is from -> what to do with it
_NOT_EAGER = {
    "torch._dynamo.": "write module._orig_mod, or implementation(f) of a compiled f(x, w, b)",
    "torch.jit.": "hand in what was scripted or traced, or write implementation(f) of f(x, w, b)",
    "torch.export.": "write certify_model(program.module(), x)",
    "torch.ao.nn.": "write certify_model(model, x): it quantises, and the calls inside are judged",
}


@explained
def layer_of(module: torch.nn.Module, in_shape: Sequence[int]) -> TorchLayer:
    """Return the hyper-parameters of a module of ``torch.nn`` for one sample of this shape.

    Parameters
    ----------
    module : torch.nn.Module
        A Conv, ConvTranspose, AvgPool, MaxPool, AdaptiveAvgPool or AdaptiveMaxPool of 1, 2 or 3
        axes. It is run once, on zeros, to see that its outputs have the size its numbers promise.
    in_shape : tuple of int
        One sample: ``(channels, *axes)``.

    Returns
    -------
    Conv, ConvTranspose, AvgPool or MaxPool

    Raises
    ------
    TypeError, ValueError
        For anything else, and for what these numbers do not say.

    Examples
    --------
    >>> layer_of(torch.nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2), (4, 9, 8))
    Conv((4, 9, 8), out_channels=6, kernel=(3, 2), stride=2, padding=1, groups=2)
    >>> layer_of(torch.nn.AdaptiveAvgPool2d((None, 3)), (4, 9, 8))
    AvgPool((4, 9, 8), output=(9, 3))
    """
    layer = read(module, in_shape)
    weight = getattr(module, "weight", None)
    like_weight = {} if weight is None else {"dtype": weight.dtype, "device": weight.device}
    try:
        with torch.no_grad():
            zeros = torch.zeros(1, *layer.in_shape, **like_weight)
            y = torch.func.functional_call(module, buffers(module), (zeros,))
    except Exception as error:
        got = f"{type(error).__name__} from {said(module)}: {first_line(error)}"
        raise ValueError(complain("module", got, f"one that takes {layer.in_shape}")) from error
    check_out_shape(module, layer, one_tensor(y, module).shape[1:])
    return layer


def read(module: torch.nn.Module, in_shape: Sequence[int] | None) -> TorchLayer:
    """Return the hyper-parameters of a module, which what it computes may yet contradict."""
    name, axes = kind_of(module)
    shape = sample_shape(in_shape)
    _check_readable(module, shape, axes)

    layer = layer_of_kind(KINDS[name], module, shape)
    if "kernel_size" in KINDS[name].attributes:  # what an adaptive pool computes says enough
        _check_weights(module, layer)
    return layer


def layer_of_kind(kind: Kind, source: object, shape: tuple[int, ...]) -> TorchLayer:
    """Return the layer that the attributes of a module say, or those of anything that has them."""
    options = {
        _RENAMED.get(attribute, attribute): _option(source, attribute, shape[1:])
        for attribute in kind.attributes
        if hasattr(source, attribute)
    }
    return kind.layer(shape, **options)


def kind_of(module: torch.nn.Module) -> tuple[str, int]:
    """Return the kind and the number of axes of a module of `torch.nn`, or of a subclass."""
    do = not_eager(module)
    for torch_class, found in _CLASSES.items():
        if isinstance(module, torch_class) and not do:
            return found
    *names, last = KINDS
    needs = f"a {', '.join(names)} or {last} of 1, 2 or 3 axes, from torch.nn"
    if type(module).__name__.startswith("LPPool"):
        do = SIGNED_POWERS
    raise TypeError(complain("module", said(module), needs, do))


def not_eager(module: object) -> str:
    """Return what to do with what was compiled, exported or quantised; "" for anything else."""
    modules = " ".join(f" {kind.__module__}." for kind in type(module).__mro__)
    return next((do for package, do in _NOT_EAGER.items() if f" {package}" in modules), "")


def _check_readable(module: torch.nn.Module, shape: tuple[int, ...], axes: int) -> None:
    """Refuse a shape that is none of this module."""
    not_lazy(module)
    if len(shape) != axes + 1:
        needs = f"(channels, *axes) with {axes} axes, for {said(module)}"
        do = f"leave the batch out: {shape[1:]}" if len(shape) > axes + 1 else ""
        raise ValueError(complain("in_shape", shape, needs, do))
    channels = getattr(module, "in_channels", shape[0])
    if channels != shape[0]:
        raise ValueError(complain("in_shape", shape, f"{channels} channels, for {said(module)}"))


def _option(source: object, attribute: str, in_spatial: tuple[int, ...]) -> Any:
    """Return an attribute as the option that it is here."""
    value = getattr(source, attribute)
    listed = isinstance(value, (tuple, list))
    if attribute == "output_size":  # None along an axis: as many positions as the input has
        sizes = value if listed else [value] * len(in_spatial)
        pairs = zip(in_spatial, sizes, strict=True)
        return tuple(n if size is None else size for n, size in pairs)
    if listed and len(value) == 1:  # torch takes a tuple of one for every axis
        return value[0]
    return None if listed and not value else value  # and an empty stride for that of the kernel


def _check_weights(module: torch.nn.Module, layer: TorchLayer) -> None:
    """Refuse a module whose own weights have another shape than its numbers say."""
    for name in ("weight", "bias"):
        own = getattr(module, name, None)
        wanted = getattr(layer, f"{name}_shape", None)
        if own is not None and tuple(own.shape) != wanted:
            needs = f"{wanted}, for {layer!r}, which {said(module)} says"
            raise ValueError(complain(name, f"shape {tuple(own.shape)}", needs))


def said(value: object) -> str:
    """Return how a message names a module or a function: in one line."""
    text = repr(value)
    if isinstance(value, torch.nn.Module):
        return text if "\n" not in text else type(value).__name__
    return str(getattr(value, "__name__", text))


def not_lazy(module: torch.nn.Module) -> None:
    """Refuse a module that learns its channels from the first input."""
    lazy = getattr(module, "has_uninitialized_params", None)
    if lazy is not None and lazy():
        needs = "one that knows its channels"
        raise ValueError(complain("module", said(module), needs, "run it once"))


def check_out_shape(module: object, layer: TorchLayer, got: Sequence[int]) -> None:
    """Refuse a module whose outputs have another size than its numbers say."""
    if tuple(got) != layer.out_shape:
        outputs = f"outputs {tuple(got)} of {said(module)}"
        hooks = [*getattr(module, "_forward_pre_hooks", ()), *getattr(module, "_forward_hooks", ())]
        do = "its hooks run as well: take them off, or write certify_model(model, x)"
        needs = f"{layer.out_shape}, for {layer!r}"
        raise ValueError(complain("module", outputs, needs, do if hooks else ""))


def one_tensor(value: object, source: object) -> torch.Tensor:
    """Return what a module or function gave if it is a tensor; of a pool and its indices y."""
    if getattr(source, "return_indices", False) and isinstance(value, tuple):
        value = value[0]
    if not isinstance(value, torch.Tensor):
        got = f"{type(value).__name__} from {said(source)}"
        raise TypeError(complain("output", got, "one tensor"))
    return value


def buffers(module: torch.nn.Module, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Return copies of a module's buffers, for a call that may write to them."""
    return {
        name: buffer.detach().clone().to(device=device) for name, buffer in module.named_buffers()
    }
