"""The convolutions and pools that a model really runs: calls of modules, and of functions.

A function mode of PyTorch sees the functions, hooks the modules that they run in, and a dispatch
mode what neither of the two sees, such as what TorchScript runs.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

from convdense.adapters.compiled_models import is_wrapper
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

_CONV_OR_POOL = re.compile("conv(?!ert)|pool")  # in the name of a function


class Seen(NamedTuple):
    """What a call was seen with: of one sample its input and output, their dtype and format."""

    in_shape: tuple[int, ...] | None  # None of what is no tensor
    out_shape: tuple[int, ...] | None
    dtype: str
    layout: str  # "NCHW" or "channels_last"

    @classmethod
    def of(cls, x: object, y: object, axes: int) -> "Seen":
        """Return what there is to see of an input and an output."""
        tensors = [t if isinstance(t, torch.Tensor) else None for t in (x, y)]
        of_input, of_output = (None if t is None else tuple(t.shape[-axes - 1 :]) for t in tensors)
        # under autocast the input has another dtype than the sums
        dtypes = [str(t.dtype).removeprefix("torch.") for t in tensors[::-1] if t is not None]
        layout = "NCHW"
        if isinstance(x, torch.Tensor) and x.ndim == axes + 2 and not x.is_contiguous():
            is_last = x.movedim(1, -1).is_contiguous()
            layout = "channels_last" if is_last else layout
        return cls(of_input, of_output, dtypes[0] if dtypes else "float64", layout)


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module that can be read, and the calls that were made inside it."""

    owner: str
    module: torch.nn.Module
    seen: Seen
    one_argument: bool
    inside: tuple["Call", ...]

    @property
    def label(self) -> str:
        """What a report calls it."""
        return self.owner

    @property
    def is_stock(self) -> bool:
        """Whether it runs the code of `torch.nn` alone, no forward, hook or weight of another."""
        module = self.module
        own = (
            *(module._forward_pre_hooks, module._forward_hooks),
            *(module._backward_pre_hooks, module._backward_hooks),
        )
        is_of_torch = type(module).__module__.startswith("torch.nn.modules.")
        return is_of_torch and "forward" not in vars(module) and not any(own)

    @property
    def key(self) -> object:
        """What equal calls have in common: the layer, and in which form it ran."""
        own = getattr(self.module, "return_indices", False), *dict(self.module.named_parameters())
        try:
            layer = read(self.module, self.seen.in_shape)
        except (TypeError, ValueError):
            layer = None
        alike = (type(self.module), repr(layer)) if layer and self.is_stock else id(self.module)
        return alike, own, self.seen, self.one_argument


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function that convolves or pools, with options that can be read."""

    owner: str
    function: Callable[..., Any]
    name: str
    options: dict[str, Any]
    weight_shape: tuple[int, ...] | None
    bias: bool
    seen: Seen
    inside: tuple["Call", ...] = ()

    @property
    def label(self) -> str:
        """What a report calls it."""
        return f"{self.owner}: {self.name}"

    @property
    def key(self) -> object:
        """What equal calls have in common."""
        return self.name, str(self.options), self.weight_shape, self.bias, self.seen

    @property
    def layer(self) -> TorchLayer:
        """The layer that its options and the shapes of its operands say."""
        assert self.seen.in_shape is not None
        name, _ = FUNCTIONS[self.name]
        said = dict(self.options)
        if self.weight_shape is not None:  # (out, in, *kernel), transposed (in, out, *kernel)
            transposed = name == "ConvTranspose"
            out_channels = self.weight_shape[transposed]
            if transposed:
                out_channels *= said.get("groups", 1)
            said |= {"out_channels": out_channels, "kernel_size": self.weight_shape[2:]}
        return layer_of_kind(KINDS[name], SimpleNamespace(**said), self.seen.in_shape)

    @property
    def __name__(self) -> str:
        """What a certificate calls it."""
        return self.name

    def __call__(
        self, x: torch.Tensor, w: torch.Tensor | None = None, b: torch.Tensor | None = None
    ) -> Any:
        """Call the same function with the same options."""
        returned = self.function(*((x,) if w is None else (x, w, b)), **self.options)
        return returned[0] if isinstance(returned, tuple) else returned  # a pool and its indices


@dataclass(frozen=True)
class UnreadCall:
    """One call of what convolves or pools and cannot be read, and why."""

    owner: str
    reason: str


ReadCall = ModuleCall | FunctionCall
Call = ReadCall | UnreadCall
T = TypeVar("T")


class Recorder(torch.overrides.TorchFunctionMode):
    """Keeps the calls of a model's convolutions and pools, in order, while it is entered.

    Attributes
    ----------
    calls : list of Call
        Those inside a module that can be read are in its own call.
    called : set of module
    """

    def __init__(self, names: Mapping[torch.nn.Module, str]) -> None:
        super().__init__()
        self.names = names
        self.calls: list[Call] = []
        self.called: set[torch.nn.Module] = set()
        self._frames: list[tuple[str, list[Call]]] = [("model", self.calls)]
        self._within = False  # a function that is kept already

    def __torch_function__(
        self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run a function; keep the call if it convolves or pools."""
        kwargs = kwargs or {}
        if self._within or not _CONV_OR_POOL.search(_name(function)):
            return function(*args, **kwargs)
        returned = self._run(function, args, kwargs)
        owner, calls = self._frames[-1]
        calls.append(_function_call(owner, function, args, kwargs, returned))
        return returned

    def operation(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation of PyTorch's core; keep one that no function was seen to call."""
        if self._within or not _CONV_OR_POOL.search(_name(operation)):
            return operation(*args, **kwargs)
        owner, calls = self._frames[-1]
        reason = f"{_name(operation)} in TorchScript or another code that is not Python"
        calls.append(UnreadCall(owner, f"{reason}; hand in what it was made from"))
        return self._run(operation, args, kwargs)

    def _run(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a function; what it calls itself is not kept."""
        self._within = True
        try:
            return function(*args, **kwargs)
        finally:
            self._within = False

    def unread(self, calls: Sequence[Call]) -> dict[str, str]:
        """Return why what was called is not judged, by name: what no such layer is, too."""
        reasons: dict[str, list[str]] = {}
        for call in calls:
            if isinstance(call, UnreadCall) and call.reason not in reasons.get(call.owner, ()):
                reasons.setdefault(call.owner, []).append(call.reason)
        owners = {call.owner for call in calls}
        for module, name in self.names.items():
            if module in self.called and name not in owners and is_leaf(module):
                reasons[name] = ["neither a convolution nor a pool of torch.nn"]
        return {
            name: f"{type(module).__name__}: {'; '.join(reasons[name])}"
            for module, name in self.names.items()
            if name in reasons
        }

    @property
    def not_called(self) -> tuple[str, ...]:
        """The layers that were not called."""
        layers = (module for module in self.names if can_be_read(module) or is_leaf(module))
        return tuple(self.names[module] for module in layers if module not in self.called)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is called within; calls of modules too."""
        handles = []
        try:
            for module in self.names:
                before = module.register_forward_pre_hook(self._enter, prepend=True)
                after = module.register_forward_hook(self._leave, with_kwargs=True)
                handles += [before, after]
            with self, _Operations(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: torch.nn.Module, _args: Any) -> None:
        name = self.names[module]
        self.called.add(module)
        self._frames.append((name, [] if can_be_read(module) else self._frames[-1][1]))

    def _leave(self, module: torch.nn.Module, args: Any, kwargs: Any, output: object) -> None:
        name, inside = self.names[module], []
        found = None
        while found != name:  # a call that raised has left its own frame behind
            found, inside = self._frames.pop()
        if not can_be_read(module):
            return
        _, axes = kind_of(module)
        given = (*args, *kwargs.values())
        x = next((value for value in given if isinstance(value, torch.Tensor)), None)
        y = output[0] if isinstance(output, tuple) and output else output
        seen = Seen.of(x, y, axes)
        call = ModuleCall(name, module, seen, len(given) == 1, tuple(inside))
        self._frames[-1][1].append(call)


class _Operations(torch.utils._python_dispatch.TorchDispatchMode):
    """Hands every operation of PyTorch's core over to a recorder."""

    supports_higher_order_operators = True

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(
        self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.recorder.operation(operation, args, kwargs or {})


def _name(function: Any) -> str:
    """Return the name of a function, or of an operator such as conv2d.default."""
    return str(getattr(function, "__name__", "")).partition(".")[0]


def _function_call(
    owner: str, function: Any, args: Any, kwargs: dict[str, Any], returned: Any
) -> FunctionCall | UnreadCall:
    """Return a call with its options by name, or why it cannot be read."""
    name = _name(function).removesuffix("_with_indices")
    if name not in FUNCTIONS:
        unknown = f"{name} is a function that is not read here"
        return UnreadCall(owner, SIGNED_POWERS if name.startswith("lp_pool") else unknown)
    kind, axes = FUNCTIONS[name]
    options = dict(zip(KINDS[kind].arguments, args, strict=False)) | kwargs
    x, w, b = (options.pop(operand, None) for operand in ("input", "weight", "bias"))
    if not isinstance(x, torch.Tensor):
        return UnreadCall(owner, f"{name} of {type(x).__name__}, no tensor")
    y = returned[0] if isinstance(returned, tuple) else returned
    weight_shape = None if w is None else tuple(w.shape)
    seen = Seen.of(x, y, axes)
    return FunctionCall(owner, function, name, options, weight_shape, b is not None, seen)


def with_shapes(entries: Iterable[tuple[ReadCall, T]]) -> Iterator[tuple[str, T]]:
    """Yield a name for each different call: its label, with shapes where that has several."""
    calls: dict[str, dict[object, tuple[ReadCall, T]]] = {}
    for call, entry in entries:
        calls.setdefault(call.label, {}).setdefault(call.key, (call, entry))
    names: Counter[str] = Counter()
    for label, different in calls.items():
        for call, entry in different.values():
            shapes = f" {call.seen.in_shape} -> {call.seen.out_shape}" if len(different) > 1 else ""
            name = label + shapes
            names[name] += 1  # more than one: the same shapes, and other options
            yield name if names[name] == 1 else f"{name} ({names[name]})", entry


def named_modules(model: torch.nn.Module) -> dict[torch.nn.Module, str]:
    """Return the parts of a model that run in Python, each with its name."""
    names = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or is_wrapper(module):
            continue
        names[module] = ".".join(part for part in name.split(".") if part != "_orig_mod") or "model"
    return names


def is_leaf(module: torch.nn.Module) -> bool:
    """Tell whether a module has no parts."""
    return not list(module.children())


def can_be_read(module: torch.nn.Module) -> bool:
    """Tell whether a module is of a kind that can be read."""
    try:
        kind_of(module)
    except TypeError:
        return False
    return True
