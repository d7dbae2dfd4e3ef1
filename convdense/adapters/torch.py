"""PyTorch's layers and whole models, certified.

A module's hyper-parameters are read, and the module is run, with autograd for its backward, as an
implementation of the layer that they describe.

TF32 is left as the session has it: with ``torch.backends.cudnn.allow_tf32``, the default, a GPU
rounds the float32 operands of a convolution to 11 bits, and a certificate in float32 refuses it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from inspect import BoundArguments, signature
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from convdense._util.arguments import complain, is_integer
from convdense._util.executors import executor_or_none, in_order
from convdense._util.float_formats import HALF, INTEGERS, spelled
from convdense._util.foreign_names import explained
from convdense.adapters.import_torch import torch
from convdense.adapters.model_calls import Call, Recorder, can_be_read, is_wrapper
from convdense.adapters.model_report import ModelReport
from convdense.adapters.torch_geometry import check_out_shape, kind_of, layer_of, not_eager
from convdense.adapters.torch_implementation import implementation
from convdense.certificates import Certificate, NetworkCertificate, certify
from convdense.geometry import Conv, Pool
from convdense.verdicts.findings import RAISED

__all__ = ["ModelReport", "certify_model", "certify_module", "implementation", "layer_of"]


class Outcome(NamedTuple):
    """What became of a call: a field of the report, and the entry in it."""

    field: str  # "certificates", "failed" or "skipped"
    entry: Certificate | NetworkCertificate | str
    follow: bool = False  # whether the calls inside the module are judged in its place
    listed: bool = True  # whether it has an entry even then


@explained
def certify_module(
    module: torch.nn.Module, in_shape: Sequence[int], *, device: str = "cpu", **options: Any
) -> Certificate | NetworkCertificate:
    """Decide exactly whether a module computes the layer that its own numbers describe.

    Negative strides, which torch does not have, are refused: a right module holds with that
    restriction.

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
    holds, with restrictions: all 4 quantities; every pair of basis vectors tried: a proof ...
    Conv((1, 5), out_channels=2, kernel=2, dilation=2): Conv1d against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    compared: every pair of basis vectors, ...
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
    executor: Executor | None = None,
    **options: Any,
) -> ModelReport:
    """Certify every convolution and pool that a model runs, as it runs it.

    Modules and functions (`torch.nn.functional`) are judged at the shapes, options, dtype and
    memory format of their calls, equal ones once. Where the numbers of a module do not say what it
    computes, for its weights are made of others or its forward is its own, the calls inside are.

    Parameters
    ----------
    model : torch.nn.Module
        It is run once, in eval mode and without gradients, and left as it was. A compiled one is
        run once more: its eager layers are judged, and the outputs compared.
    example_input : tensor, tuple of arguments, or dict
        What the model is called with. A dict holds arguments by name, if its keys are names of
        arguments; else it is the one argument.
    device : str
        Where the layers are judged; the model itself stays where it is.
    executor : concurrent.futures.Executor or None
        What judges them, as for `sweeps.sweep`: processes, or the machines of a Dask cluster.
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
    executor_or_none(executor)
    arguments = _arguments(model, example_input)
    # wrong options are refused here, on a layer of one weight, not once per layer of the model
    module, dtype = torch.nn.Conv1d(1, 1, 1), _half_precision(options)
    smallest = implementation(module, device=device, dtype=dtype)
    certify(Conv((1, 1), 1, kernel=1), smallest, **options)

    recorder = Recorder(model)

    def run() -> object:  # the random numbers are the same each time
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return model(*arguments.args, **arguments.kwargs)

    with _in_eval_mode(model):
        in_place = "_compiled_call_impl"  # by module.compile()
        compiled = [m for m in model.modules() if is_wrapper(m) or getattr(m, in_place, None)]
        as_it_runs = run() if compiled else None
        # as the Python that it was compiled from; the function is of PyTorch 2.6
        eager = getattr(torch.compiler, "set_stance", nullcontext)
        with eager("force_eager") if compiled else nullcontext():
            with recorder.watching():
                output = run()
            judge = partial(_judged, device=device, options=options)
            calls, outcomes = _all_judged(recorder.calls, judge, executor)
            entries = _entries(recorder, calls, outcomes)
    if compiled:
        entries[f"compiled: {type(compiled[0]).__name__}"] = _compared(as_it_runs, output)
    fields: dict[str, dict[str, Any]] = {"certificates": {}, "failed": {}, "skipped": {}}
    for name, outcome in entries.items():
        fields[outcome.field][name] = outcome.entry
    not_called = (n for n, p in recorder.parts.items() if n not in recorder.called and _is_layer(p))
    return ModelReport(**fields, not_called=tuple(not_called))


def _all_judged(
    calls: list[Call], judge: Callable[[Call], Outcome], executor: Executor | None
) -> tuple[list[Call], dict[str, Outcome]]:
    """Return all calls, those inside others that are to be judged too, and what became of each key.

    They are judged in rounds: those inside after those around them.
    """
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    progress = {"desc": "layers", "file": sys.stderr, "disable": None, "leave": False}
    every = list(calls)
    outcomes: dict[str, Outcome] = {}
    while calls:
        readable = [call for call in calls if not call.unread]
        new = {call.key: call for call in readable if call.key not in outcomes}
        found = in_order(executor, judge, new.values()) if executor else map(judge, new.values())
        outcomes |= zip(new, tqdm(found, total=len(new), **progress), strict=True)
        calls = [part for call in readable if outcomes[call.key].follow for part in call.inside]
        every += calls
    return every, outcomes


def _entries(
    recorder: Recorder, calls: list[Call], outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Return what became of every call, and of what neither convolves nor pools, by its name."""
    labelled: dict[str, dict[str, Call]] = {}
    unread: dict[str, dict[str, None]] = {}
    for call in calls:
        if call.unread:
            unread.setdefault(call.owner, {})[call.unread] = None
        elif outcomes[call.key].listed or not call.inside:
            labelled.setdefault(call.label, {}).setdefault(call.key, call)

    entries: dict[str, Outcome] = {}
    for label, different in labelled.items():
        for call in different.values():
            name = label + (f" {call.in_shape} -> {call.out_shape}" if len(different) > 1 else "")
            while name in entries:  # of the same shapes, with other options
                name += "'"
            entries[name] = outcomes[call.key]
    owners = {call.owner for call in calls}
    for name, part in recorder.parts.items():
        reasons = [*unread.get(name, {})]
        if name in recorder.called - owners and _is_layer(part):
            reasons = ["neither a convolution nor a pool of torch.nn"]
        if reasons:
            entries[name] = Outcome("skipped", f"{type(part).__name__}: {'; '.join(reasons)}")
    return entries


def _is_layer(part: torch.nn.Module) -> bool:
    """Tell whether a part of a model is to be in the report."""
    return can_be_read(part) or not list(part.children())


def _compared(compiled: object, eager: object) -> Outcome:
    """Return whether two outputs agree in half of the digits of their largest number."""
    leaves = (torch.utils._pytree.tree_flatten(output)[0] for output in (compiled, eager))
    for got, due in zip_longest(*leaves):
        if isinstance(due, torch.Tensor) and due.is_floating_point():
            allowed = torch.finfo(due.dtype).eps ** 0.5 * float(due.nan_to_num(0, 0, 0).abs().max())
            if got.shape != due.shape or not torch.allclose(got, due, 0, allowed, equal_nan=True):
                return Outcome("failed", "on the example its output is not its eager layers'")
    same = "on the example its output is theirs, in half of the digits"
    return Outcome("skipped", f"its eager layers were judged; {same}")


def _arguments(model: object, example_input: object) -> BoundArguments:
    """Return what to call a model with; refuse what is no model, and what it does not take."""
    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(complain("model", repr(model), "a torch.nn.Module", not_eager(model)))
    needs = "a tensor, or a tuple of what the model takes"
    if isinstance(example_input, np.ndarray):
        raise TypeError(complain("example_input", "a NumPy array", needs, "use torch.from_numpy"))
    if isinstance(example_input, (tuple, list)) and all(map(is_integer, example_input)):
        got, do = f"the shape {tuple(example_input)}", "write torch.zeros(batch, channels, *sizes)"
        raise TypeError(complain("example_input", got, needs, do))
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    if on_meta and isinstance(example_input, torch.Tensor) and not example_input.is_meta:
        do = 'write example_input.to("meta")'
        raise ValueError(complain("example_input", "a tensor", "one on meta, as the model", do))

    takes = signature(model.forward)
    if isinstance(example_input, dict):
        with suppress(TypeError):
            return takes.bind(**example_input)
    positional = example_input if isinstance(example_input, tuple) else (example_input,)
    with suppress(TypeError):
        return takes.bind(*positional)
    needs = f"what forward takes, {takes}, as a tuple, or a dict of arguments by name"
    raise TypeError(complain("example_input", type(example_input).__name__, needs))


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
    return str(word) if word in (*HALF, *INTEGERS) else None


def _judged(call: Call, device: str, options: dict[str, Any]) -> Outcome:
    """Return what became of a call: its certificate, or the reason why there is none.

    Of a module that is not what its numbers say, the calls inside are judged.
    """
    options = {"dtype": call.dtype} | options
    bias, name = call.is_module or call.bias, call.name
    how: dict[str, Any] = {"device": device, "layout": call.layout}
    if not call.one_argument:
        text = f"{name}: called with several arguments"
        return Outcome("skipped", text, follow=True, listed=False)
    try:
        layer = call.layer
        mine = implementation(call.code, bias=bias, dtype=_half_precision(options), **how)
    except (TypeError, ValueError) as error:
        return Outcome("skipped", f"{name}: {error}", follow=True, listed=False)
    own = call.is_module and not call.is_stock
    try:
        if call.out_shape is not None:  # of a layer that gives no tensor, `certify` says so
            check_out_shape(call.code, layer, call.out_shape)
    except ValueError as error:  # hooks or a forward of its own may rightly have led to it
        return Outcome("skipped" if own else "failed", f"{name}: {error}", follow=own)

    if isinstance(layer, Pool):  # `certify` refuses these for a pool
        options = {k: v for k, v in options.items() if k not in ("error", "method", "gradgrad")}
    try:
        certificate = certify(layer, mine, **options)
    except (TypeError, ValueError, MemoryError) as error:  # what it raises itself is a finding
        return Outcome("skipped", f"{name}: {error}")
    return _weighed(call, certificate)


def _weighed(call: Call, certificate: Certificate | NetworkCertificate) -> Outcome:
    """Return the certificate, unless a module raised, or is not what its numbers say."""
    raised = [finding.note for finding in certificate.findings if finding.verdict == RAISED]
    if raised:
        return Outcome("failed", f"{call.name}: raises {raised[0]}")
    y = certificate["y"]
    if call.is_module and not call.is_stock and y.refuted and call.inside:
        why = f"y {y.verdict}, {y.worst or y.note}; the calls inside it are judged"
        text = f"{call.name}: by a forward or hooks of its own no {certificate.layer!r}: {why}"
        return Outcome("skipped", text, follow=True)
    return Outcome("certificates", certificate)
