"""The convolutions and pools that a model really runs: calls of modules, and of functions.

A function mode of PyTorch sees functions, hooks the modules around them, and a dispatch mode what
neither sees, such as TorchScript.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from convdense.adapters.import_torch import torch
from convdense.adapters.torch_geometry import (
    FUNCTIONS,
    KINDS,
    SIGNED_POWERS,
    TorchLayer,
    kind_of,
    layer_of_kind,
    read,
)

_OPERANDS = ("input", "weight", "bias", "stride", "padding")
_ARGUMENTS = {  # of functions, in order; those of pools are a module's
    "Conv": (*_OPERANDS, "dilation", "groups"),
    "ConvTranspose": (*_OPERANDS, "output_padding", "groups", "dilation"),
}
_KNOWN = "aten", "prim", "prims", "profiler"  # operators of PyTorch itself
_CONV_OR_POOL = re.compile("conv(?!ert)|pool")  # in the name of a function


@dataclass(frozen=True)
class Call:
    """One call of a module that can be read, or of a function; `unread` says why it cannot be."""

    owner: str  # the name of the module, or of the one that calls the function
    source: Any  # the module or the function
    name: str  # of its class, or its own
    unread: str = ""
    options: dict[str, Any] = field(default_factory=dict)  # of a function, operands apart
    weight_shape: tuple[int, ...] | None = None
    bias: bool = False
    in_shape: tuple[int, ...] | None = None  # of one sample; None of what is no tensor
    out_shape: tuple[int, ...] | None = None
    dtype: str = "float64"
    layout: str = "NCHW"  # or "channels_last"
    one_argument: bool = True
    inside: tuple["Call", ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: of a function its name, as pickle finds few."""
        name = name_of(self.source)
        is_named = getattr(torch.nn.functional, name, None) is self.source
        return vars(self) | ({"source": name} if is_named else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        source = state["source"]
        found = getattr(torch.nn.functional, source) if isinstance(source, str) else source
        vars(self).update(state, source=found)

    @property
    def label(self) -> str:
        """What a report calls it."""
        return self.owner if self.is_module else f"{self.owner}: {self.name}"

    @property
    def is_module(self) -> bool:
        """Whether a module is called."""
        return isinstance(self.source, torch.nn.Module)

    @property
    def is_stock(self) -> bool:
        """Whether a module runs PyTorch's code alone, without a forward or hooks of another."""
        kept = vars(self.source)
        hooks = any(value for name, value in kept.items() if name.endswith("_hooks"))
        is_of_torch = type(self.source).__module__.startswith("torch.nn.modules.")
        return is_of_torch and not hooks and "forward" not in kept

    @property
    def key(self) -> str:
        """What equal calls have in common."""
        form = self.in_shape, self.out_shape, self.dtype, self.layout, self.one_argument
        if not self.is_module:
            return str((self.name, self.options, self.weight_shape, self.bias, form))
        alike = str(id(self.source))
        if self.is_stock:
            given = {k: v for k, v in vars(self.source).items() if not k.startswith("_")}
            alike = str((type(self.source), given, [*dict(self.source.named_parameters())]))
        return str((alike, form))

    @property
    def layer(self) -> TorchLayer:
        """The layer that its numbers say."""
        if self.is_module:
            return read(self.source, self.in_shape)
        kind, _ = FUNCTIONS[self.name]
        said = dict(self.options)
        if self.weight_shape is not None:  # (out, in, *kernel), transposed (in, out, *kernel)
            transposed = kind == "ConvTranspose"
            groups = said.get("groups", 1) if transposed else 1
            out_channels = self.weight_shape[transposed] * groups
            said |= {"out_channels": out_channels, "kernel_size": self.weight_shape[2:]}
        return layer_of_kind(KINDS[kind], SimpleNamespace(**said), self.in_shape or ())

    @property
    def code(self) -> Any:
        """The module, or the function with its options."""
        if self.is_module:
            return self.source
        code: Any = partial(self.source, **self.options)
        code.__name__, code.return_indices = self.name, True
        return code


class Recorder(torch.overrides.TorchFunctionMode):
    """Keeps the calls of convolutions and pools in a model, and which of its parts were called."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []  # those within a module that can be read are in its own call
        self.called: set[str] = set()
        self.parts: dict[str, torch.nn.Module] = {}
        for name, part in model.named_modules():
            # what scripts are made of takes no hooks, and what is compiled runs what it wraps
            if not isinstance(part, torch.jit.ScriptModule) and not is_wrapper(part):
                plain = [word for word in name.split(".") if word != "_orig_mod"]
                self.parts[".".join(plain) or "model"] = part
        # of the modules that run: name, calls inside, and what it was called with
        self._frames: list[tuple[str, list[Call], tuple[Any, ...]]] = [("model", self.calls, ())]
        self._within = False  # a function that is kept

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function; keep the call if it convolves or pools."""
        kwargs = kwargs or {}
        if self._within or not _CONV_OR_POOL.search(name_of(function)):
            return function(*args, **kwargs)
        self._within = True
        try:
            returned = function(*args, **kwargs)
        finally:
            self._within = False
        owner, calls, _ = self._frames[-1]
        calls.append(_function_call(owner, function, args, kwargs, returned))
        return returned

    def operation(self, name: str) -> None:
        """Keep an operation of PyTorch's core that no function was seen to call."""
        if not self._within:
            owner, calls, _ = self._frames[-1]
            why = "in TorchScript or a custom operator, where no function is seen"
            calls.append(Call(owner, None, name, unread=f"{name} {why}"))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is called within, by modules, functions and PyTorch's core."""
        handles = []
        try:
            for name, part in self.parts.items():
                enter, leave = self._hooks(name)
                first = {"prepend": True, "with_kwargs": True}  # before a hook that pads
                handles.append(part.register_forward_pre_hook(enter, **first))
                handles.append(part.register_forward_hook(leave))
            make: Any = _Operations
            operations = make()
            operations.tell = self.operation
            with self, operations:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _hooks(self, name: str) -> Any:
        def enter(part: torch.nn.Module, args: Any, kwargs: Any) -> None:
            self.called.add(name)
            calls = [] if can_be_read(part) else self._frames[-1][1]
            self._frames.append((name, calls, (*args, *kwargs.values())))

        def leave(part: torch.nn.Module, _: Any, output: Any) -> None:
            found, inside, given = self._frames.pop()
            while found != name:  # a call that raised has left its own frame behind
                found, inside, given = self._frames.pop()
            if can_be_read(part):
                seen = _seen(next(iter(given), None), output, kind_of(part)[1])
                seen |= {"one_argument": len(given) == 1, "inside": tuple(inside)}
                self._frames[-1][1].append(Call(name, part, type(part).__name__, **seen))

        return enter, leave


_DispatchMode = torch.utils._python_dispatch.TorchDispatchMode


class _Operations(_DispatchMode):  # type: ignore[no-untyped-call]  # its class hook has no types
    """Tells a recorder the operations of PyTorch's core."""

    supports_higher_order_operators = True
    tell: Callable[[str], None]

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_known = getattr(function, "namespace", "aten") in _KNOWN
        if is_known and not _CONV_OR_POOL.search(name_of(function)):
            return function(*args, **(kwargs or {}))
        self.tell(name_of(function))
        with torch._C.DisableTorchFunction():  # an operation is called like a function
            return function(*args, **(kwargs or {}))


def name_of(function: Any) -> str:
    """Return the name of a function, or of an operator such as conv2d.default."""
    return str(getattr(function, "__name__", "")).partition(".")[0]


def _function_call(owner: str, function: Any, args: Any, kwargs: Any, returned: Any) -> Call:
    """Return a call with its options by name, or why it cannot be read."""
    name = name_of(function).removesuffix("_with_indices")
    if name not in FUNCTIONS:
        why = SIGNED_POWERS if "lp_pool" in name else f"{name} is a function that is not read here"
        return Call(owner, function, name, unread=why)
    kind, axes = FUNCTIONS[name]
    arguments = _ARGUMENTS.get(kind, ("input", *KINDS[kind].attributes, "return_indices"))
    options = dict(zip(arguments, args, strict=False)) | kwargs
    x, w, b = (options.pop(operand, None) for operand in ("input", "weight", "bias"))
    weight_shape = None if w is None else tuple(w.shape)
    seen = _seen(x, returned, axes)
    return Call(owner, function, name, "", options, weight_shape, b is not None, **seen)


def _seen(x: Any, y: Any, axes: int) -> dict[str, Any]:
    """Return what a call shows: shapes of one sample, dtype and memory format."""
    y = y[0] if isinstance(y, tuple) and y else y
    seen: dict[str, Any] = {}
    for name, tensor in (("in_shape", x), ("out_shape", y)):
        if isinstance(tensor, torch.Tensor):
            seen[name] = tuple(tensor.shape[-axes - 1 :])
            # that of the output counts: under autocast the input has another
            seen["dtype"] = str(tensor.dtype).removeprefix("torch.")
    if "in_shape" in seen and x.ndim == axes + 2 and not x.is_contiguous():
        seen["layout"] = "channels_last" if x.movedim(1, -1).is_contiguous() else "NCHW"
    return seen


def is_wrapper(module: torch.nn.Module) -> bool:
    """Tell whether a module is what torch.compile wraps around another."""
    return type(module).__module__.startswith("torch._dynamo.")


def can_be_read(module: torch.nn.Module) -> bool:
    """Tell whether a module is of a kind that can be read."""
    try:
        return bool(kind_of(module))
    except TypeError:
        return False
