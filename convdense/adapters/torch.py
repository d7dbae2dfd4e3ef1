"""PyTorch's layers: hyper-parameters read, run through autograd as implementations, and certified,
whole models too.

TF32 is left as the session has it: with ``torch.backends.cudnn.allow_tf32``, the default, a GPU
rounds the float32 operands of a convolution to 11 bits, and a certificate in float32 refuses it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from convdense._util.arguments import complain
from convdense._util.float_formats import HALF
from convdense.adapters.import_torch import torch
from convdense.adapters.model_report import ModelReport
from convdense.adapters.torch_geometry import kind_of, layer_of, promised, read
from convdense.adapters.torch_implementation import implementation
from convdense.certificates import Certificate, NetworkCertificate, certify
from convdense.geometry import Conv, Pool
from convdense.verdicts.findings import RAISED

__all__ = ["ModelReport", "certify_model", "certify_module", "implementation", "layer_of"]

Called = dict[
    str, dict[tuple[Any, Any], bool]
]  # name -> (in_shape, out_shape) -> whether with one argument alone


def certify_module(
    module: Any, in_shape: Sequence[int], *, device: str = "cpu", **options: Any
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
    mine, layer = (
        implementation(module, device=device, dtype=_half(options)),
        layer_of(module, in_shape),
    )
    certificate: Certificate | NetworkCertificate = certify(layer, mine, **options)
    return certificate


def certify_model(
    model: Any, example_input: Any, *, device: str = "cpu", **options: Any
) -> ModelReport:
    """Certify every convolution and pool of a model, at the shapes at which the model really calls
    them.

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
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    >>> report = certify_model(model, torch.zeros(1, 2, 6, 6))
    >>> bool(report), report.skipped
    (True, {'1': 'ReLU: neither a convolution nor a pool of torch.nn'})
    """
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    if not isinstance(model, torch.nn.Module):
        raise TypeError(complain("model", repr(model), "a torch.nn.Module"))
    if isinstance(example_input, np.ndarray):
        needs = "a tensor, or a tuple of what the model takes"
        raise TypeError(complain("example_input", "a NumPy array", needs, "use torch.from_numpy"))
    one = implementation(torch.nn.Conv1d(1, 1, 1), device=device, dtype=_half(options))
    certify(
        Conv((1, 1), 1, kernel=1), one, **options
    )  # wrong options are refused here, not once per layer
    leaves = {
        name or "model": m
        for name, m in model.named_modules()
        if _understood(m) or not list(m.children())
    }
    with _at_rest(model):
        called = _record(
            model, leaves, example_input if isinstance(example_input, tuple) else (example_input,)
        )
        shapes = [(name, *shape) for name in leaves for shape in called[name]]
        found: dict[str, dict[str, Any]] = {"certificates": {}, "failed": {}, "skipped": {}}
        for name, in_shape, out_shape in tqdm(
            shapes, desc="layers", file=sys.stderr, disable=None, leave=False
        ):
            several = f" {in_shape} -> {out_shape}" if len(called[name]) > 1 else ""
            alone = called[name][in_shape, out_shape]
            kind, result = _judged(
                leaves[name], in_shape, out_shape, alone=alone, device=device, options=options
            )
            found[kind][name + several] = result
    return ModelReport(**found, not_called=tuple(name for name in leaves if not called[name]))


def _understood(module: Any) -> bool:
    try:
        kind_of(module)
    except TypeError:
        return False
    return True


@contextmanager
def _at_rest(model: Any) -> Iterator[None]:
    """Put a model and all its parts in eval mode, and back in the mode each was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False  # not .eval(), which models write anew
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _record(model: Any, leaves: dict[str, Any], arguments: tuple[Any, ...]) -> Called:
    """Run a model and return at which shapes its leaves were called; those without a window at none in particular."""
    called: Called = {name: {} for name in leaves}
    handles = []

    def watch(name: str, module: Any) -> Any:
        axes = kind_of(module)[1] if _understood(module) else None

        def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            shapes: tuple[Any, Any] = (None, None)
            given = (*args, *kwargs.values())
            if axes is not None:
                first = next((a for a in given if isinstance(a, torch.Tensor)), None)
                shapes = (_sample(first, axes), _sample(output, axes))
            called[name].setdefault(shapes, len(given) == 1)

        return note

    try:
        for name, module in leaves.items():
            handles.append(module.register_forward_hook(watch(name, module), with_kwargs=True))
        with torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _sample(tensor: Any, axes: int) -> tuple[int, ...] | None:
    return tuple(tensor.shape[-axes - 1 :]) if isinstance(tensor, torch.Tensor) else None


def _half(options: dict[str, Any]) -> str | None:
    """Return the dtype that tensors are turned into, where arrays cannot tell."""
    return options["dtype"] if options.get("dtype") in HALF else None


class _Counted:
    """An implementation that counts its calls: what is refused before the first one is no fault of its own."""

    def __init__(self, mine: Any) -> None:
        self.mine, self.calls, self.__name__ = mine, 0, mine.__name__

    def forward(self, *operands: Any) -> Any:
        self.calls += 1
        return self.mine.forward(*operands)

    def backward(self, *operands: Any) -> Any:
        return self.mine.backward(*operands)


def _judged(
    module: Any, in_shape: Any, out_shape: Any, *, alone: bool, device: str, options: dict[str, Any]
) -> tuple[str, Any]:
    """Return what became of a layer, and its certificate or the reason why there is none."""
    kind = type(module).__name__
    if not _understood(module):
        return "skipped", f"{kind}: neither a convolution nor a pool of torch.nn"
    try:
        layer, mine = (
            read(module, in_shape),
            _Counted(implementation(module, device=device, dtype=_half(options))),
        )
    except (TypeError, ValueError) as error:
        return "skipped", f"{kind}: {error}"
    try:
        promised(module, layer, out_shape)
    except ValueError as error:  # with an argument more, such as output_size, it may be right
        return ("failed" if alone else "skipped"), f"{kind}: {error}"
    if isinstance(layer, Pool):
        options = {
            name: value for name, value in options.items() if name not in ("error", "method")
        }
    try:
        certificate = certify(layer, mine, **options)
        raised = [finding.note for finding in certificate.findings if finding.verdict == RAISED]
        return (
            ("failed", f"{kind}: raises {raised[0]}") if raised else ("certificates", certificate)
        )
    except Exception as error:
        if mine.calls:
            return (
                "failed",
                f"{kind}: raises {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            )
        return "skipped", f"{kind}: {error}"
