"""PyTorch's layers and whole models, certified.

A module's hyper-parameters are read, and the module is run, with autograd for its backward, as an
implementation of the layer that they describe.

TF32 is left as the session has it: with ``torch.backends.cudnn.allow_tf32``, the default, a GPU
rounds the float32 operands of a convolution to 11 bits, and a certificate in float32 refuses it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from convdense._util.arguments import complain, is_integer
from convdense._util.float_formats import HALF, INTEGERS, spelled
from convdense._util.foreign_names import explained
from convdense.adapters.import_torch import torch
from convdense.adapters.model_report import ModelReport
from convdense.adapters.torch_geometry import (
    SIGNED_POWERS,
    TorchLayer,
    check_out_shape,
    kind_of,
    layer_of,
    read,
)
from convdense.adapters.torch_implementation import Implementation, implementation
from convdense.certificates import Certificate, NetworkCertificate, certify
from convdense.geometry import Conv, Pool
from convdense.verdicts.comparison import Raised
from convdense.verdicts.findings import RAISED

__all__ = ["ModelReport", "certify_model", "certify_module", "implementation", "layer_of"]

# Of one sample, input and output; None for what is no tensor, or for a layer that cannot be read.
Shapes = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
Calls = dict[str, dict[Shapes, bool]]  # layer's name -> shapes -> whether it got one argument only
# A field of the report ("certificates", "failed" or "skipped"), and the layer's entry in it.
Outcome = tuple[str, Certificate | NetworkCertificate | str]


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
    holds...: y, dx, dw, db equal; every pair of basis vectors tried: a proof if bilinear
    Conv((1, 5), out_channels=2, kernel=2, dilation=2): Conv1d against direct convolution
      y   equal
      dx  equal
      dw  equal
      db  equal
    compared: every pair of basis vectors, ...
    """
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
    """Certify every convolution and pool of a model, at the shapes at which the model calls them.

    Parameters
    ----------
    model : torch.nn.Module
        It is run once, in eval mode and without gradients, and left as it was.
    example_input : tensor, or tuple of arguments
        What the model is called with.
    device : str
        Where the layers are judged; the model itself stays where it is.
    **options
        As for `certify`; error and method are for convolutions, pools have neither.

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

    _check_called(model, example_input)
    # wrong options are refused here, on a layer of one weight, not once per layer of the model
    smallest = implementation(
        torch.nn.Conv1d(1, 1, 1), device=device, dtype=_half_precision(options)
    )
    certify(Conv((1, 1), 1, kernel=1), smallest, **options)

    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    # every part that can be judged, and every leaf, so that the report says why it was skipped
    layers = {
        name or "model": part
        for name, part in model.named_modules()
        if _can_be_read(part) or not list(part.children())
    }
    fields: dict[str, dict[str, Any]] = {"certificates": {}, "failed": {}, "skipped": {}}
    with _in_eval_mode(model):
        calls = _recorded_calls(model, layers, arguments)
        to_judge = [(name, shapes) for name in layers for shapes in calls[name]]
        for name, shapes in tqdm(
            to_judge, desc="layers", file=sys.stderr, disable=None, leave=False
        ):
            # one that is called at several shapes has an entry for each
            suffix = f" {shapes[0]} -> {shapes[1]}" if len(calls[name]) > 1 else ""
            one_argument = calls[name][shapes]
            field, entry = _judged(
                layers[name], shapes, one_argument=one_argument, device=device, options=options
            )
            fields[field][name + suffix] = entry
    return ModelReport(**fields, not_called=tuple(name for name in layers if not calls[name]))


def _check_called(model: object, example_input: object) -> None:
    """Refuse what is no model, and an array in place of a tensor."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(complain("model", repr(model), "a torch.nn.Module"))
    needs = "a tensor, or a tuple of what the model takes"
    if isinstance(example_input, np.ndarray):
        raise TypeError(complain("example_input", "a NumPy array", needs, "use torch.from_numpy"))
    if isinstance(example_input, (tuple, list)) and all(map(is_integer, example_input)):
        got, do = f"the shape {tuple(example_input)}", "write torch.zeros(batch, channels, *sizes)"
        raise TypeError(complain("example_input", got, needs, do))


def _can_be_read(module: torch.nn.Module) -> bool:
    """Tell whether a module is of a kind that can be read."""
    try:
        kind_of(module)
    except TypeError:
        return False
    return True


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


def _recorded_calls(
    model: torch.nn.Module, layers: Mapping[str, torch.nn.Module], arguments: tuple[Any, ...]
) -> Calls:
    """Run a model and return the shapes at which its layers were called.

    A layer that cannot be read is called at (None, None), whatever its shapes are.
    """
    calls: Calls = {name: {} for name in layers}

    def recorder(name: str, layer: torch.nn.Module) -> Callable[..., None]:
        n_axes = None
        if _can_be_read(layer):
            _, n_axes = kind_of(layer)

        def record(
            _layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
        ) -> None:
            given = (*args, *kwargs.values())
            shapes: Shapes = (None, None)
            if n_axes is not None:
                tensors = [value for value in given if isinstance(value, torch.Tensor)]
                first = tensors[0] if tensors else None
                shapes = (_shape_of_sample(first, n_axes), _shape_of_sample(output, n_axes))
            calls[name].setdefault(shapes, len(given) == 1)  # the first call at these shapes counts

        return record

    handles = []
    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_hook(recorder(name, layer), with_kwargs=True))
        with torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _shape_of_sample(tensor: object, n_axes: int) -> tuple[int, ...] | None:
    """Return a tensor's shape without the batch axis, if it has one; None of what is no tensor."""
    return tuple(tensor.shape[-n_axes - 1 :]) if isinstance(tensor, torch.Tensor) else None


def _half_precision(options: dict[str, Any]) -> str | None:
    """Return the dtype option if it is bfloat16 or float16: what tensors are turned into.

    Otherwise they keep the dtype of the arrays, which for bfloat16 NumPy does not have.
    """
    word = spelled(options.get("dtype"))
    return str(word) if word in (*HALF, *INTEGERS) else None


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


def _judged(
    module: torch.nn.Module,
    shapes: Shapes,
    *,
    one_argument: bool,
    device: str,
    options: dict[str, Any],
) -> Outcome:
    """Return what became of a layer, and its certificate or the reason why there is none."""
    kind = type(module).__name__
    in_shape, out_shape = shapes
    if not _can_be_read(module):
        unknown = "neither a convolution nor a pool of torch.nn"
        return "skipped", f"{kind}: {SIGNED_POWERS if kind.startswith('LPPool') else unknown}"
    try:
        layer = read(module, in_shape)
        mine = _Counted(implementation(module, device=device, dtype=_half_precision(options)))
    except (TypeError, ValueError) as error:
        return "skipped", f"{kind}: {error}"
    try:
        if out_shape is not None:  # of a layer that gives no tensor, `certify` says so
            check_out_shape(module, layer, out_shape)
    except ValueError as error:
        # a second argument, such as output_size, may rightly have led to another shape
        return "failed" if one_argument else "skipped", f"{kind}: {error}"
    return _certified(kind, layer, mine, options)


def _certified(kind: str, layer: TorchLayer, mine: _Counted, options: dict[str, Any]) -> Outcome:
    """Certify a layer; it fails if it raises, and is skipped if it is refused before it is run."""
    if isinstance(layer, Pool):  # `certify` refuses these two for a pool
        options = {k: v for k, v in options.items() if k not in ("error", "method")}
    try:
        certificate = certify(layer, mine, **options)
    except Exception as error:
        if mine.calls:
            return "failed", f"{kind}: raises {Raised(error)}"
        return "skipped", f"{kind}: {error}"

    raised = [finding.note for finding in certificate.findings if finding.verdict == RAISED]
    if raised:
        return "failed", f"{kind}: raises {raised[0]}"
    return "certificates", certificate
