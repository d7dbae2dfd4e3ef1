"""The hyper-parameters of PyTorch's layers: read from a module, and seen to be those it computes with."""

from collections.abc import Sequence
from typing import Any

from convdense._util.arguments import complain
from convdense.adapters.import_torch import torch
from convdense.geometry import AvgPool, Conv, ConvTranspose, MaxPool
from convdense.geometry.base import sample_shape

_FAMILIES: dict[str, Any] = {
    "Conv": Conv,
    "ConvTranspose": ConvTranspose,
    "AvgPool": AvgPool,
    "MaxPool": MaxPool,
    "AdaptiveAvgPool": AvgPool,
    "AdaptiveMaxPool": MaxPool,
}
_KINDS = {getattr(torch.nn, f"{name}{n}d"): (name, n) for name in _FAMILIES for n in (1, 2, 3)}
_TAKES = {
    "Conv": ("stride", "padding", "dilation", "groups", "padding_mode"),
    "ConvTranspose": ("stride", "padding", "dilation", "groups", "output_padding"),
    "AvgPool": ("stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "MaxPool": ("stride", "padding", "dilation", "ceil_mode"),
}


def layer_of(module: Any, in_shape: Sequence[int]) -> Any:
    """Return the hyper-parameters of a module of ``torch.nn`` for one sample of this shape.

    Parameters
    ----------
    module : Conv, ConvTranspose, AvgPool, MaxPool, AdaptiveAvgPool or AdaptiveMaxPool of 1, 2 or 3
    axes
        It is run once, on zeros, to see that its outputs have the size its numbers promise.
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
    like = getattr(module, "weight", None)
    options = {} if like is None else {"dtype": like.dtype, "device": like.device}
    try:
        with torch.no_grad():
            y = torch.func.functional_call(
                module, buffers(module), (torch.zeros(1, *layer.in_shape, **options),)
            )
    except Exception as error:
        text = f"{type(error).__name__} from {said(module)}: {str(error).partition(chr(10))[0]}"
        raise ValueError(complain("module", text, f"one that takes {layer.in_shape}")) from error
    promised(module, layer, one_tensor(y, module).shape[1:])
    return layer


def read(module: Any, in_shape: Any) -> Any:
    """Return the hyper-parameters of a module, which may yet be contradicted by what it computes."""
    family, axes = kind_of(module)
    shape = sample_shape(in_shape)
    not_lazy(module)
    if len(shape) != axes + 1:
        raise ValueError(
            complain("in_shape", shape, f"(channels, *axes) with {axes} axes, for {said(module)}")
        )
    if getattr(module, "in_channels", shape[0]) != shape[0]:
        raise ValueError(
            complain("in_shape", shape, f"{module.in_channels} channels, for {said(module)}")
        )
    if getattr(module, "return_indices", False):
        raise ValueError(
            complain("return_indices", True, "False", "positions are no output of a layer")
        )
    if family.startswith("Adaptive"):
        given = module.output_size
        sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,) * axes
        output = tuple(
            n if size is None else size for n, size in zip(shape[1:], sizes, strict=True)
        )
        return _FAMILIES[family](shape, output=output)
    options = {
        name: _number(getattr(module, name)) for name in _TAKES[family] if hasattr(module, name)
    }
    if hasattr(module, "out_channels"):
        options["out_channels"] = module.out_channels
    layer = _FAMILIES[family](shape, kernel=_number(module.kernel_size), **options)
    for name in ("weight", "bias"):
        own, due = getattr(module, name, None), getattr(layer, f"{name}_shape", None)
        if own is not None and tuple(own.shape) != due:
            raise ValueError(
                complain(
                    name,
                    f"shape {tuple(own.shape)}",
                    f"{due}, for {layer!r}, which {said(module)} says",
                )
            )
    return layer


def kind_of(module: Any) -> tuple[str, int]:
    """Return the family and the axes of a module of `torch.nn`, or of a subclass."""
    for kind, found in _KINDS.items():
        if isinstance(module, kind):
            return found
    *names, last = _FAMILIES
    needs = f"a {', '.join(names)} or {last} of 1, 2 or 3 axes, from torch.nn"
    raise TypeError(complain("module", said(module), needs))


def _number(value: Any) -> Any:
    """Return the one number of a tuple of one, which torch takes for every axis; anything else as it is."""
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


def said(value: Any) -> str:
    """Return how a message names a module or a function: in one line."""
    text = repr(value)
    if isinstance(value, torch.nn.Module):
        return text if "\n" not in text else type(value).__name__
    return str(getattr(value, "__name__", text))


def not_lazy(module: Any) -> None:
    """Refuse a module that learns its channels from the first input."""
    lazy = getattr(module, "has_uninitialized_params", None)
    if lazy is not None and lazy():
        raise ValueError(
            complain("module", said(module), "one that knows its channels", "run it once")
        )


def promised(module: Any, layer: Any, got: Sequence[int]) -> None:
    """Refuse a module whose outputs have another size than its numbers say."""
    if tuple(got) != layer.out_shape:
        raise ValueError(
            complain(
                "module",
                f"outputs {tuple(got)} of {said(module)}",
                f"{layer.out_shape}, for {layer!r}",
            )
        )


def one_tensor(value: Any, source: Any) -> Any:
    """Return what a module or function gave if it is a tensor."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            complain("output", f"{type(value).__name__} from {said(source)}", "one tensor")
        )
    return value


def buffers(module: Any, device: Any = None) -> dict[str, Any]:
    """Return copies of a module's buffers, for a call that may write to them."""
    return {
        name: buffer.detach().clone().to(device=device) for name, buffer in module.named_buffers()
    }
