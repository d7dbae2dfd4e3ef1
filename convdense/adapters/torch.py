"""PyTorch's layers and whole models, certified.

A module's hyper-parameters are read, and the module is run, with autograd for its backward, as an
implementation of the layer that they describe.

TF32 is left as the session has it: with ``torch.backends.cudnn.allow_tf32``, the default, a GPU
rounds the float32 operands of a convolution to 11 bits, and a certificate in float32 refuses it.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import BoundArguments, signature
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import complain, is_integer
from convdense._util.float_formats import HALF, spelled
from convdense._util.foreign_names import explained
from convdense.adapters.compiled_models import compared, eager, is_compiled
from convdense.adapters.import_torch import torch
from convdense.adapters.model_calls import (
    Call,
    ModuleCall,
    ReadCall,
    Recorder,
    UnreadCall,
    named_modules,
    with_shapes,
)
from convdense.adapters.model_report import ModelReport
from convdense.adapters.torch_geometry import (
    TorchLayer,
    check_out_shape,
    kind_of,
    layer_of,
    not_eager,
    read,
    said,
)
from convdense.adapters.torch_implementation import Implementation, implementation
from convdense.certificates import Certificate, NetworkCertificate, certify
from convdense.geometry import Conv, Pool
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import RAISED

__all__ = ["ModelReport", "certify_model", "certify_module", "implementation", "layer_of"]


class Outcome(NamedTuple):
    """What became of a call: a field of the report, and the entry in it.

    `follow` says that the calls inside a module are judged in its place, `listed` that the module
    has an entry all the same.
    """

    field: str  # "certificates", "failed" or "skipped"
    entry: Certificate | NetworkCertificate | str
    follow: bool = False
    listed: bool = True


@explained
def certify_module(
    module: torch.nn.Module, in_shape: Sequence[int], *, device: str = "cpu", **options: Any
) -> Certificate | NetworkCertificate:
    """Decide exactly whether a module computes the layer that its own numbers describe.

    Parameters
    ----------
    module, in_shape
        As for `layer_of`.
    device : str
        Where to run it.
    **options
        As for `certify`.

    Examples
    --------
    >>> print(certify_module(torch.nn.Conv1d(1, 2, 2, dilation=2), (1, 5)))  # doctest: +ELLIPSIS
    Conv((1, 5), out_channels=2, kernel=2, dilation=2): Conv1d against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
      right as well: batch 1, read-only, ...
    ...
    """
    if not_eager(module):
        kind_of(module)  # it raises, and says what to do
    mine = implementation(module, device=device, dtype=_half_precision(options))
    layer = layer_of(module, in_shape)
    return certify(layer, mine, **options)


@explained
def certify_model(
    model: torch.nn.Module,
    example_input: torch.Tensor | tuple[Any, ...],
    *,
    device: str = "cpu",
    **options: Any,
) -> ModelReport:
    """Certify every convolution and pool that a model runs, as it runs it.

    Calls of modules and of functions (`torch.nn.functional`) are seen, each with its shapes,
    options, dtype and memory format. Equal ones are judged once. Where the numbers of a module do
    not say what it computes, because its weights are made of others or its class has a forward of
    its own, the calls inside it are judged.

    Parameters
    ----------
    model : torch.nn.Module
        It is run once, in eval mode and without gradients, and left as it was. Of a compiled one
        the eager layers are judged, and both outputs are compared: it is run twice.
    example_input : tensor, tuple of arguments, or dict of arguments by name
        What the model is called with.
    device : str
        Where the layers are judged; the model itself stays where it is.
    **options
        As for `certify`; dtype is by default that in which the model runs a layer. error, method
        and gradgrad are for convolutions, pools have none of them.

    Returns
    -------
    ModelReport

    Examples
    --------
    >>> nn = torch.nn
    >>> model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> report = certify_model(model, torch.zeros(1, 2, 6, 6))
    >>> bool(report), report.skipped
    (True, {'1': 'ReLU: neither a convolution nor a pool of torch.nn'})
    """
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    arguments = _arguments(model, example_input)
    # wrong options are refused here, on a layer of one weight, not once per layer of the model
    smallest = implementation(
        torch.nn.Conv1d(1, 1, 1), device=device, dtype=_half_precision(options)
    )
    certify(Conv((1, 1), 1, kernel=1), smallest, **options)

    names = named_modules(model)
    compiled = [type(part).__name__ for part in model.modules() if is_compiled(part)]
    recorder = Recorder(names)
    fields: dict[str, dict[str, Any]] = {"certificates": {}, "failed": {}, "skipped": {}}
    with _in_eval_mode(model):
        as_it_runs = _run(model, arguments) if compiled else None
        with eager(), recorder.watching():
            output = _run(model, arguments)
        if compiled:
            field, text = compared(as_it_runs, output)
            fields[field][f"compiled: {compiled[0]}"] = text

        outcomes: dict[object, Outcome] = {}

        def judge(call: ReadCall) -> Outcome:
            if call.key not in outcomes:
                outcomes[call.key] = _judged(call, device, options)
            return outcomes[call.key]

        unique = {call.key: call for call in recorder.calls if not isinstance(call, UnreadCall)}
        bar = {"desc": "layers", "file": sys.stderr, "disable": None, "leave": False}
        with eager():
            for call in tqdm(list(unique.values()), **bar):
                judge(call)
            calls = list(_all_calls(recorder.calls, judge))
    read_calls = [call for call in calls if not isinstance(call, UnreadCall)]
    entries = [(call, judge(call)) for call in read_calls if judge(call).listed or not call.inside]
    for name, outcome in with_shapes(entries):
        fields[outcome.field][name] = outcome.entry
    fields["skipped"] |= recorder.unread(calls)
    return ModelReport(**fields, not_called=recorder.not_called)


def _run(model: torch.nn.Module, arguments: BoundArguments) -> object:
    """Run a model without gradients; random numbers are the same each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return model(*arguments.args, **arguments.kwargs)


def _all_calls(calls: Iterable[Call], judge: Callable[[ReadCall], Outcome]) -> Iterator[Call]:
    """Yield all calls, and those inside a module that are judged in its place."""
    for call in calls:
        yield call
        if isinstance(call, ModuleCall) and judge(call).follow:
            yield from _all_calls(call.inside, judge)


def _arguments(model: object, example_input: object) -> BoundArguments:
    """Return what to call a model with; refuse what is no model, and what it does not take."""
    do = not_eager(model)
    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(complain("model", said(model), "an eager torch.nn.Module", do))
    _check_example(model, example_input)
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    takes = signature(model.forward)
    try:
        return takes.bind(*arguments)
    except TypeError:
        if isinstance(example_input, dict):
            with suppress(TypeError):
                return takes.bind(**example_input)
        got, needs = type(example_input).__name__, f"what forward takes: {takes}"
        do = "write a tuple of arguments, or a dict of arguments by name"
        raise TypeError(complain("example_input", got, needs, do)) from None


def _check_example(model: torch.nn.Module, example_input: object) -> None:
    """Refuse an array or a shape in place of a tensor, and one that is not where a model is."""
    needs = "a tensor, or a tuple of what the model takes"
    if isinstance(example_input, np.ndarray):
        raise TypeError(complain("example_input", "a NumPy array", needs, "use torch.from_numpy"))
    if isinstance(example_input, (tuple, list)) and all(map(is_integer, example_input)):
        got, do = f"the shape {tuple(example_input)}", "write torch.zeros(batch, channels, *sizes)"
        raise TypeError(complain("example_input", got, needs, do))
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    if on_meta and isinstance(example_input, torch.Tensor) and not example_input.is_meta:
        got, needs = f"a tensor on {example_input.device}", "one on meta, as the model is"
        raise ValueError(complain("example_input", got, needs, 'write example_input.to("meta")'))


@contextmanager
def _in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put a model and all its parts in eval mode, and back in the mode each was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False  # not .eval(), which models may override
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _half_precision(options: dict[str, Any]) -> str | None:
    """Return the dtype option if it is bfloat16 or float16: what tensors are turned into.

    Otherwise they keep the dtype of the arrays, which for bfloat16 NumPy does not have.
    """
    word = spelled(options.get("dtype"))
    return str(word) if word in HALF else None


class _Counted:
    """An implementation that counts its calls.

    `certify` also raises where it refuses a layer; before the first call, that is no fault of the
    implementation.
    """

    def __init__(self, mine: Implementation) -> None:
        self.mine = mine
        self.calls = 0
        self.__name__ = mine.__name__

    def forward(self, *operands: Any) -> Any:
        self.calls += 1
        return self.mine.forward(*operands)

    def backward(self, *operands: Any) -> Any:
        return self.mine.backward(*operands)

    def double_backward(self, *operands: Any) -> Any:
        return self.mine.double_backward(*operands)


def _judged(call: ReadCall, device: str, options: dict[str, Any]) -> Outcome:
    """Return what became of a call: its certificate, or the reason why there is none."""
    options = {"dtype": call.seen.dtype} | options
    how = {"device": device, "layout": call.seen.layout, "dtype": _half_precision(options)}
    if isinstance(call, ModuleCall):
        return _judged_module(call, how, options)
    try:
        layer = call.layer
        mine = _Counted(implementation(call, bias=call.bias, **how))
    except (TypeError, ValueError) as error:
        return Outcome("skipped", f"{call.name}: {error}")
    return _certified(call, layer, mine, options)


def _judged_module(call: ModuleCall, how: dict[str, Any], options: dict[str, Any]) -> Outcome:
    """Return what became of a module; if it is not what its numbers say, its calls are judged."""
    kind = type(call.module).__name__
    if not call.one_argument:
        text = f"{kind}: called with several arguments"
        return Outcome("skipped", text, follow=True, listed=False)
    try:
        layer = read(call.module, call.seen.in_shape)
        mine = _Counted(implementation(call.module, **how))
    except (TypeError, ValueError) as error:
        return Outcome("skipped", f"{kind}: {error}", follow=True, listed=False)

    outcome = _certified(call, layer, mine, options)
    if call.is_stock or not call.inside:
        return outcome
    if outcome.field == "certificates" and not isinstance(outcome.entry, str):
        y = outcome.entry["y"]
        if not y.refuted:
            return outcome
        why = f"its own forward, hooks or weights make it no {layer!r}: y {y.verdict}, {y.worst or y.note}"
        return Outcome("skipped", f"{kind}: {why}; the calls inside are judged", follow=True)
    return outcome


def _certified(
    call: ReadCall, layer: TorchLayer, mine: _Counted, options: dict[str, Any]
) -> Outcome:
    """Certify a layer; it fails if it raises, and is skipped if it is refused before it is run."""
    is_module = isinstance(call, ModuleCall)
    source, kind = (call.module, type(call.module).__name__) if is_module else (call, call.name)
    if isinstance(layer, Pool):  # `certify` refuses these for a pool
        options = {k: v for k, v in options.items() if k not in ("error", "method", "gradgrad")}
    try:
        if call.seen.out_shape is not None:  # of a layer that gives no tensor, `certify` says so
            check_out_shape(source, layer, call.seen.out_shape)
    except ValueError as error:
        # code of its own, such as a hook, may rightly have led to another shape
        own = is_module and not call.is_stock
        return Outcome("skipped" if own else "failed", f"{kind}: {error}", follow=own)
    try:
        certificate = certify(layer, mine, **options)
    except Exception as error:
        if mine.calls:
            return Outcome("failed", f"{kind}: raises {Raised(error)}")
        return Outcome("skipped", f"{kind}: {error}")

    raised = [finding.note for finding in certificate.findings if finding.verdict == RAISED]
    if raised:
        return Outcome("failed", f"{kind}: raises {raised[0]}")
    return Outcome("certificates", certificate)
