"""PyTorch's modules and functions as implementations on NumPy arrays; autograd is the backward."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, choice, complain, first_line
from convdense._util.float_formats import FORMATS, INTEGERS, spelled
from convdense._util.threads import openmp_alone
from convdense.adapters.array_kinds import How, checked_bias, numbers, output, to_torch
from convdense.adapters.import_torch import torch
from convdense.adapters.torch_geometry import buffers, not_lazy, one_tensor, read, said
from convdense.direct import pool_loops
from convdense.geometry import MaxPool
from convdense.geometry.base import flag

SMALL = 1 << 15  # numbers up to which torch gives elementwise work to one thread (its grain size)


@dataclass(frozen=True)
class Implementation:
    """A module or a function as an implementation on NumPy arrays; `implementation` makes one."""

    function: Callable[..., Any]
    bias: bool | tuple[int, ...]
    layout: str
    device: str
    dtype: str | None = None
    interpreted: bool = False

    @property
    def __name__(self) -> str:
        """What a certificate calls it."""
        named = None if isinstance(self.function, torch.nn.Module) else self.function
        own = getattr(named, "__name__", None)
        return str(own or type(self.function).__name__)

    def forward(
        self, x: npt.ArrayLike, w: npt.ArrayLike | None = None, b: npt.ArrayLike | None = None
    ) -> Array:
        """Return y."""
        with torch.inference_mode(False), torch.no_grad():
            operands = self._operands(x=x, w=w, b=b)
            with _threads(operands):
                return output(self._call(**operands))

    def backward(self, x: npt.ArrayLike, *w_and_dy: Any) -> Any:
        """Return dx, dw and db (None where there is no bias), or without a w dx alone."""
        *weights, dy = w_and_dy
        if self.dtype in INTEGERS:  # autograd knows none: nothing to judge
            return None, None, None
        w = weights[0] if weights else None
        with torch.inference_mode(False), torch.enable_grad():
            operands = self._operands(x=x, w=w, dy=dy)
            upstream = operands.pop("dy")
            if weights and self._takes_bias:  # no gradient depends on its values
                zeros = torch.zeros(self._bias_shape(operands["w"], upstream))
                operands["b"] = zeros.to(upstream)
            with _threads(operands):
                y = self._differentiable(operands, upstream)
                gradients = _gradients(y, operands.values(), self._laid_out(upstream))
            results = [*map(output, gradients)]
        if not weights:
            return results[0]
        return (*results, *[None] * (3 - len(results)))

    def double_backward(self, x: Any, w: Any, dy: Any, v: Any, u: Any) -> list[Array]:
        """Return the gradients of <dx, v> by w and by dy, and those of <dw, u> by x and by dy."""
        with torch.inference_mode(False), torch.enable_grad():
            operands = self._operands(x=x, w=w, dy=dy, v=v, u=u)
            of_dx, of_dw = operands.pop("v"), operands.pop("u")
            upstream = operands.pop("dy").requires_grad_()
            y = self._differentiable(operands, upstream)
            x_leaf, w_leaf = operands.values()
            dx, dw = _gradients(y, (x_leaf, w_leaf), self._laid_out(upstream), create_graph=True)
            by_w_and_dy = _gradients(dx, (w_leaf, upstream), of_dx, retain_graph=True)
            by_x_and_dy = _gradients(dw, (x_leaf, upstream), of_dw)
            return [*map(output, (*by_w_and_dy, *by_x_and_dy))]

    def _differentiable(self, operands: dict[str, Any], upstream: torch.Tensor) -> torch.Tensor:
        """Return y with its graph; the operands become leaves."""
        for operand in operands.values():
            operand.requires_grad_()
        # copies, because autograd refuses to let a leaf be written to in place
        y = self._call(**{name: _copied(leaf) for name, leaf in operands.items()})
        if y.shape != upstream.shape:
            got = f"shape {tuple(upstream.shape)}"
            raise ValueError(complain("dy", got, f"{tuple(y.shape)}, that of y"))
        if not y.requires_grad:
            got = f"a tensor without a gradient from {self.__name__}"
            raise ValueError(complain("output", got, "operations that autograd can follow"))
        return y

    def _laid_out(self, picture: torch.Tensor) -> torch.Tensor:
        """Return a contiguous x or dy with the channels last in memory, if that is the layout."""
        if self.layout == "NCHW" or not picture.is_contiguous():
            return picture
        return picture.movedim(1, -1).contiguous().movedim(-1, 1)

    def _call(
        self, x: torch.Tensor, w: torch.Tensor | None = None, b: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Call it; a bias it does not take is added to what it returns."""
        takes_bias = self._takes_bias
        own_bias = b if takes_bias else None
        x = self._laid_out(x)
        if self.layout == "NHWC":
            x = x.movedim(1, -1)
        elif w is not None:
            w = self._laid_out(w)

        if isinstance(self.function, torch.nn.Module):
            returned = self._call_module(self.function, x, w, own_bias)
        elif w is None:
            returned = self.function(x)
        else:
            returned = self.function(x, w, own_bias)

        y = one_tensor(returned, self.function)
        if self.layout == "NHWC":
            y = y.movedim(-1, 1)
        if b is None or w is None or takes_bias:
            return y
        return y + b.reshape(*b.shape, *[1] * (y.ndim - 1 - b.ndim))  # (out,) -> (out, 1, ..., 1)

    @staticmethod
    def _call_module(
        module: torch.nn.Module, x: torch.Tensor, w: torch.Tensor | None, b: torch.Tensor | None
    ) -> object:
        """Call a module with these weights in place of its own, and its buffers copied."""
        own = dict(module.named_parameters())
        if "weight" in own and w is None:
            raise ValueError(complain("w", "None", f"weights, for {said(module)}"))
        if "weight" not in own and w is not None:
            got = f"shape {tuple(w.shape)}"
            raise ValueError(complain("w", got, f"none, for {said(module)}"))

        given = buffers(module, x.device)
        if w is not None:
            given["weight"] = w
        if "bias" in own:
            given["bias"] = torch.zeros(own["bias"].shape).to(x) if b is None else b
        called: object = torch.func.functional_call(module, given, (x,))
        if getattr(module, "return_indices", False):
            _check_indices(module, called, x)
        return called

    @property
    def _takes_bias(self) -> bool:
        is_module = isinstance(self.function, torch.nn.Module)
        return self.bias is not False and (not is_module or self._own_bias is not None)

    @property
    def _own_bias(self) -> torch.nn.Parameter | None:
        if not isinstance(self.function, torch.nn.Module):
            return None
        return dict(self.function.named_parameters()).get("bias")

    def _bias_shape(self, w: torch.Tensor, dy: torch.Tensor) -> tuple[int, ...]:
        own = self._own_bias
        if own is not None:
            return tuple(own.shape)
        if not isinstance(self.bias, bool):
            return self.bias
        # one per channel: dy is (batch, out, *axes) or (out, *axes), w is (out, in, *axes)
        return (dy.shape[1 - w.ndim],)

    def _operands(self, **given: npt.ArrayLike | None) -> dict[str, torch.Tensor]:
        """Return tensors of one dtype, those that are not None."""
        arrays, common = numbers(given, integers=self.dtype in INTEGERS)
        how = How(common, self.dtype or common.name, self.device)
        return {name: to_torch(array, name, how) for name, array in arrays.items()}


def _threads(operands: dict[str, torch.Tensor]) -> AbstractContextManager[None]:
    """Return what holds torch to one thread where operands are too small to be shared by two."""
    size = sum(operand.numel() for operand in operands.values())
    return openmp_alone() if size < SMALL else nullcontext()


class _Copy(torch.autograd.Function):
    """A copy with the very strides and offset of a tensor, which a clone need not have."""

    @staticmethod
    def forward(_context: Any, leaf: torch.Tensor) -> torch.Tensor:
        storage: Any = leaf.untyped_storage()
        copied = torch.empty(0, dtype=leaf.dtype, device=leaf.device)
        return copied.set_(storage.clone(), leaf.storage_offset(), leaf.shape, leaf.stride())

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def _copied(leaf: torch.Tensor) -> torch.Tensor:
    """Return a copy with the very strides and offset; of a plain tensor, in less time."""
    is_plain = leaf.is_contiguous() and leaf.storage_offset() == 0
    clone = leaf.clone() if is_plain else leaf
    if is_plain and clone.stride() == leaf.stride():
        return clone
    copy: Any = _Copy.apply
    copied: torch.Tensor = copy(leaf)
    return copied


class _Loss(torch.autograd.Function):
    """A number whose gradient by y is dy: torch imports sympy to look at a gradient it is given."""

    @staticmethod
    def forward(context: Any, y: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        context.dy = dy  # itself, for it keeps its strides
        return y.real.new_zeros(())  # of complex numbers a real one, too

    @staticmethod
    def backward(context: Any, _one: torch.Tensor) -> tuple[torch.Tensor, None]:
        return context.dy, None


def _gradients(y: torch.Tensor, leaves: Any, dy: torch.Tensor, **options: bool) -> Any:
    """Return the gradient by each leaf, of zeros where y does not depend on it."""
    leaves = list(leaves)
    if options:  # by dy as well
        found = torch.autograd.grad(y, leaves, dy, allow_unused=True, **options)
    else:
        loss: Any = _Loss.apply
        found = torch.autograd.grad(loss(y, dy), leaves, allow_unused=True)
    pairs = zip(leaves, found, strict=True)
    return [torch.zeros_like(leaf) if got is None else got for leaf, got in pairs]


def _check_indices(module: torch.nn.Module, returned: object, x: torch.Tensor) -> None:
    """Refuse a max pool whose indices are not those of the cells that win its windows."""
    pool = read(module, x.shape[1:])
    assert isinstance(pool, MaxPool)  # the one kind with return_indices
    got = output(one_tensor(returned[-1] if isinstance(returned, tuple) else None, module))
    expected = pool_loops.indices(pool, output(x))
    if got.shape != expected.shape:
        raise ValueError(complain("indices", f"shape {got.shape}", f"shape {expected.shape}"))
    for place in map(tuple, np.argwhere(got != expected)[:1].tolist()):
        needs = f"{expected[place]}, the first of the largest cells of its window"
        raise ValueError(complain("indices", f"{got[place]} at {place}", needs))


def _check_replaceable(module: torch.nn.Module) -> None:
    """Refuse a module with numbers that would not be replaced by the weights it is given."""
    not_lazy(module)
    own = [name for name, _ in module.named_parameters()]
    others = ", ".join(name for name in own if name not in ("weight", "bias"))
    if others:
        got, needs = f"{others} of {said(module)}", "none but weight and bias, which are replaced"
        is_one = hasattr(module, "weight")
        do = "" if is_one else "write certify_model(model, x) for a whole model"
        raise ValueError(complain("parameters", got, needs, do))
    for name in ("weight", "bias"):
        if name not in own and isinstance(getattr(module, name, None), torch.Tensor):
            got = f"a tensor that is no parameter of {said(module)}"
            raise ValueError(complain(name, got, "a torch.nn.Parameter"))


def implementation(
    module_or_function: torch.nn.Module | Callable[..., Any],
    *,
    bias: bool | Sequence[int] = True,
    layout: str = "NCHW",
    device: str = "cpu",
    dtype: str | None = None,
    interpreted: bool = False,
) -> Implementation:
    """Return a module or a function as an implementation, which `certify` and `check` take.

    Parameters
    ----------
    module_or_function : torch.nn.Module, or function f(x, w, b) of torch tensors, for a pool f(x)
        A module is run with the weights it is given in place of its own, and left as it was.
    bias : bool or tuple of int
        False: b is never handed in but added to the output, and db is None, as for a module that
        has no bias. A function whose b is not one number per channel needs the shape of b.
    layout : {"NCHW", "NHWC", "channels_last"}
        "NHWC" for what takes and returns channels last, on any number of axes, always with a batch
        axis. Weights, and the arrays that come and go here, stay in this library's order.
        "channels_last" is torch's memory format. Arrays that are not contiguous keep their strides.
    device : str
        Where to run it, such as "cuda".
    dtype : str, or None for that of the arrays
        What tensors are turned into, "float16", "complex64" ...; NumPy has no bfloat16, whose
        numbers come and go in float32 arrays. With dtypes of integers gradients are None.
    interpreted : bool
        True where an interpreter runs its kernels, as with TRITON_INTERPRET=1: a certificate says
        so.

    Returns
    -------
    object with forward(x, w, b) and backward(x, w, dy), for a pool forward(x) and backward(x, dy)
        On NumPy arrays: float32 and complex64 stay, integers become float64 if dtype is None. It
        has double_backward(x, w, dy, v, u) as well, which ``certify(..., gradgrad=True)`` judges.

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
        _check_replaceable(module_or_function)
    bias = checked_bias(bias)
    choice(layout, "layout", ("NCHW", "NHWC", "channels_last"))
    if dtype is not None:
        known = tuple(name for name in FORMATS if hasattr(torch, name))
        dtype = choice(spelled(dtype), "dtype", known)
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:
        got = f"{device!r} ({first_line(error)})"
        needs = "a device that torch finds here"
        raise ValueError(complain("device", got, needs, 'use device="cpu"')) from None
    return Implementation(
        module_or_function, bias, layout, device, dtype, flag(interpreted, "interpreted")
    )
