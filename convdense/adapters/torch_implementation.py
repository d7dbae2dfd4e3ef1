"""PyTorch's modules and functions as implementations on NumPy arrays, their backward by autograd."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convdense._util.arguments import Array, choice, complain, integer, is_sequence, numeric
from convdense._util.float_formats import FORMATS
from convdense.adapters.import_torch import torch
from convdense.adapters.torch_geometry import buffers, not_lazy, one_tensor, said


@dataclass(frozen=True)
class Implementation:
    """A module or a function as an implementation on NumPy arrays; `implementation` makes one."""

    function: Callable[..., Any]
    bias: Any
    layout: str
    device: str
    dtype: str | None = None

    @property
    def __name__(self) -> str:
        """What a certificate calls it."""
        own = (
            None
            if isinstance(self.function, torch.nn.Module)
            else getattr(self.function, "__name__", None)
        )
        return str(own or type(self.function).__name__)

    def forward(self, x: Any, w: Any = None, b: Any = None) -> Array:
        """Return y."""
        with torch.inference_mode(False), torch.no_grad():
            return _array(self._call(**self._operands(x=x, w=w, b=b)))

    def backward(self, x: Any, *w_and_dy: Any) -> Any:
        """Return dx, dw and db (None where there is no bias), or without a w dx alone."""
        *weights, dy = w_and_dy
        with torch.inference_mode(False), torch.enable_grad():
            given = self._operands(x=x, w=weights[0] if weights else None, dy=dy)
            upstream = given.pop("dy")
            if weights and self._takes_bias:
                given["b"] = torch.zeros(self._bias_shape(given["w"], upstream)).to(upstream)
            leaves = [tensor.requires_grad_() for tensor in given.values()]
            y = self._call(
                **{name: leaf.clone() for name, leaf in given.items()}
            )  # may be written to in place
            if y.shape != upstream.shape:
                raise ValueError(
                    complain("dy", f"shape {tuple(upstream.shape)}", f"{tuple(y.shape)}, that of y")
                )
            if not y.requires_grad:
                needs = "operations that autograd can follow"
                raise ValueError(
                    complain("output", f"a tensor without a gradient from {self.__name__}", needs)
                )
            found = torch.autograd.grad(y, leaves, upstream, allow_unused=True)
            zeros = (torch.zeros_like(leaf) for leaf in leaves)
            results = [
                _array(zero if g is None else g) for g, zero in zip(found, zeros, strict=True)
            ]
        return (*results, *[None] * (3 - len(results))) if weights else results[0]

    def _call(self, x: Any, w: Any = None, b: Any = None) -> Any:
        """Call it; a bias it does not take is added to what it returns."""
        inner = b if self._takes_bias else None
        x = x.movedim(1, -1).contiguous() if self.layout == "NHWC" else x
        if isinstance(self.function, torch.nn.Module):
            y = self._module(self.function, x, w, inner)
        else:
            y = self.function(x) if w is None else self.function(x, w, inner)
        y = one_tensor(y, self.function)
        y = y.movedim(-1, 1) if self.layout == "NHWC" else y
        return y if b is None or inner is b else y + b.reshape(-1, *[1] * (w.ndim - 2))

    def _module(self, module: Any, x: Any, w: Any, b: Any) -> Any:
        own = dict(module.named_parameters())
        if ("weight" in own) != (w is not None):
            got = "None" if w is None else f"shape {tuple(w.shape)}"
            raise ValueError(
                complain("w", got, f"{'weights' if w is None else 'none'}, for {said(module)}")
            )
        given = buffers(module, x.device) | ({} if w is None else {"weight": w})
        if "bias" in own:
            given["bias"] = torch.zeros(own["bias"].shape).to(x) if b is None else b
        return torch.func.functional_call(module, given, (x,))

    @property
    def _takes_bias(self) -> bool:
        if self.bias is False or not isinstance(self.function, torch.nn.Module):
            return self.bias is not False
        return _bias(self.function) is not None

    def _bias_shape(self, w: Any, dy: Any) -> Any:
        own = _bias(self.function) if isinstance(self.function, torch.nn.Module) else None
        if own is not None or self.bias is not True:
            return self.bias if own is None else own.shape
        return (dy.shape[1 - w.ndim],)  # one per channel, with or without a batch axis

    def _operands(self, **given: Any) -> dict[str, Any]:
        """Return tensors of one dtype, those that are not None."""
        arrays = {name: _real(value, name) for name, value in given.items() if value is not None}
        common = np.result_type(*arrays.values())
        dtype = common if common.kind == "f" else np.dtype(np.float64)
        own = None if self.dtype is None else getattr(torch, self.dtype)
        tensors = {
            n: torch.from_numpy(_plain(a.astype(dtype, copy=False))) for n, a in arrays.items()
        }
        return {name: tensor.to(device=self.device, dtype=own) for name, tensor in tensors.items()}


def _bias(module: Any) -> Any:
    return dict(module.named_parameters()).get("bias")


def _real(value: Any, name: str) -> Array:
    array = np.asarray(value)
    array = array if array.dtype == np.float16 else numeric(array, name)
    if array.dtype.kind not in "iu" and array.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(
            complain(
                name, f"dtype {array.dtype}", "real numbers: integers, float16, float32 or float64"
            )
        )
    return array


def _plain(array: Array) -> Array:
    """Return an array as torch takes it: writable, in C order, no stride negative, along axes of one cell neither."""
    forward = all(stride > 0 for stride in array.strides)
    return (
        np.require(array, None, ["C", "W"])
        if forward
        else np.array(array, order="C").reshape(array.shape)
    )


def _array(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


def _replaceable(module: Any) -> None:
    """Refuse a module with numbers that would not be replaced by the weights it is given."""
    not_lazy(module)
    own = [name for name, _ in module.named_parameters()]
    if others := ", ".join(name for name in own if name not in ("weight", "bias")):
        got = f"{others} of {said(module)}"
        raise ValueError(
            complain("parameters", got, "none but weight and bias, which are replaced")
        )
    for name in ("weight", "bias"):
        if name not in own and isinstance(getattr(module, name, None), torch.Tensor):
            raise ValueError(
                complain(
                    name, f"a tensor that is no parameter of {said(module)}", "a torch.nn.Parameter"
                )
            )


def implementation(
    module_or_function: Any,
    *,
    bias: bool | Sequence[int] = True,
    layout: str = "NCHW",
    device: str = "cpu",
    dtype: str | None = None,
) -> Implementation:
    """Return a module or a function as an implementation, which `certify` and `check` take.

    Parameters
    ----------
    module_or_function : torch.nn.Module, or function f(x, w, b) of torch tensors, for a pool f(x)
        A module is run with the weights it is given in place of its own, and left as it was.
    bias : bool or tuple of int
        False: b is never handed in but added to the output, and db is None, as for a module that
        has no bias. A function whose b is not one number per channel needs the shape of b.
    layout : {"NCHW", "NHWC"}
        "NHWC" for what takes and returns channels last, on any number of axes, always with a batch
        axis. Weights, and the arrays that come and go here, stay in this library's order.
    device : str
        Where to run it, such as "cuda".
    dtype : {"bfloat16", "float16", "float32", "float64"}, or None for that of the arrays
        What tensors are turned into; NumPy has no bfloat16, whose numbers come and go in float32
        arrays.

    Returns
    -------
    object with forward(x, w, b) and backward(x, w, dy), for a pool forward(x) and backward(x, dy)
        On real NumPy arrays: float32 stays float32, integers become float64.

    Examples
    --------
    >>> mine = implementation(lambda x, w, b: torch.nn.functional.conv1d(x, w, b, stride=2))
    >>> x, w, dy = np.arange(10.0).reshape(1, 2, 5), np.ones((1, 2, 1)), np.ones((1, 1, 3))
    >>> mine.forward(x, w, np.array([0.5]))
    array([[[ 5.5,  9.5, 13.5]]])
    >>> dx, dw, db = mine.backward(x, w, dy)
    >>> dw.ravel(), db
    (array([ 6., 21.]), array([3.]))
    """
    if not callable(module_or_function):
        needs = "a torch.nn.Module, or a function f(x, w, b) of torch tensors (for a pool f(x))"
        raise TypeError(complain("module_or_function", repr(module_or_function), needs))
    if isinstance(module_or_function, torch.nn.Module):
        _replaceable(module_or_function)
    if not isinstance(bias, bool):
        if not is_sequence(bias):
            raise TypeError(complain("bias", repr(bias), "True, False, or the shape of b"))
        bias = tuple(integer(n, "bias", 1) for n in bias)
    choice(layout, "layout", ("NCHW", "NHWC"))
    if dtype is not None:
        choice(dtype, "dtype", tuple(FORMATS))
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:
        got = f"{device!r} ({str(error).partition(chr(10))[0]})"
        raise ValueError(
            complain("device", got, "a device that torch finds here", 'use device="cpu"')
        ) from None
    return Implementation(module_or_function, bias, layout, device, dtype)
