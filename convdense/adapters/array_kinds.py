"""NumPy's arrays as those of other libraries, with the same strides where they have any; and back.

A row of `KINDS` is a library. It is imported when the first of its arrays is made.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import (
    Array,
    as_array,
    complain,
    install,
    integer,
    is_sequence,
    numeric,
)
from convdense._util.float_formats import FORMATS

if TYPE_CHECKING:
    import torch

WIDE = ("float64", "complex128", "int64", "uint64")  # what JAX has where x64 is enabled


class Kind(NamedTuple):
    """A library: how it makes an array of one of NumPy's, and what else is its own.

    `there` has the array, the name that messages give it, and how; `back` undoes it. `session` is
    what calls run in, given the dtype's word; `vjp(f, operands, dy)` the gradients of f, or None;
    `compiles`: anew for every shape.
    """

    there: Callable[[Array, str, "How"], Any]
    back: Callable[[Any], Array]
    session: Callable[[str], AbstractContextManager[Any]] = lambda _word: nullcontext()
    vjp: Callable[[Callable[..., Any], tuple[Any, ...], Any], Any] | None = None
    compiles: bool = False


class How(NamedTuple):
    """What arrays are turned into: their common dtype, the word for another, and a device."""

    common: np.dtype[Any]
    word: str
    device: str | None


def library(name: str) -> Any:
    """Return a library, or refuse in one line that says how to get it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, but broken: its own words say more
            raise
    do = "install the CuPy of your CUDA" if name == "cupy" else install("jax")
    raise ImportError(complain(name, "no module of this name", f"{name}, to make arrays", do))


def checked_bias(bias: bool | Sequence[int]) -> bool | tuple[int, ...]:
    """Return whether b is handed in, or its shape."""
    if isinstance(bias, bool):
        return bias
    if not is_sequence(bias):
        raise TypeError(complain("bias", repr(bias), "True, False, or the shape of b"))
    return tuple(integer(size, "bias", 1) for size in bias)


def numbers(
    given: Mapping[str, npt.ArrayLike | None], *, integers: bool
) -> tuple[dict[str, Array], np.dtype[Any]]:
    """Return arrays, those that are not None, and their common dtype.

    That is float64 for integers, unless they are to stay.
    """
    arrays = {name: _numbers(value, name) for name, value in given.items() if value is not None}
    common = np.result_type(*arrays.values())
    return arrays, common if integers or common.kind in "fc" else np.dtype(np.float64)


def _numbers(value: npt.ArrayLike, name: str) -> Array:
    """Return an array of numbers that libraries have; anything else is refused."""
    array = as_array(value, name)
    if array.dtype != np.float16:
        array = numeric(array, name)
    if array.dtype.kind not in "iu" and array.dtype.name not in FORMATS:
        needs = "integers, float16, float32, float64, complex64 or complex128"
        raise TypeError(complain(name, f"dtype {array.dtype}", needs))
    return array


def steps_of(array: Array) -> tuple[Array, list[int]]:
    """Return an array and its strides in bytes, all of whole cells."""
    if any(stride % array.itemsize for stride in array.strides):  # a field of a record
        array = np.array(array)
    # along an axis of one cell no stride is ever used: NumPy may have any there
    pairs = zip(array.shape, array.strides, strict=True)
    return array, [step if n > 1 else abs(step) for n, step in pairs]


def memory_of(array: Array, steps: list[int]) -> tuple[Array, list[int], int]:
    """Return the memory of an array, and in cells the strides, none below 0, and the offset."""
    strides = [step // array.itemsize for step in steps]
    span = sum((n - 1) * stride for n, stride in zip(array.shape, strides, strict=True)) + 1
    memory, offset = np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,)), 0
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner.flags.forc and owner.dtype == array.dtype:  # as in torch, a view may have an offset
        start = (array.ctypes.data - owner.ctypes.data) // array.itemsize
        offset = min(start, span)  # of no more than must be copied anyway
        memory = owner.ravel("K")[start - offset : start + span]
    return memory, strides, offset


def numpy_dtype(word: str) -> np.dtype[Any]:
    """Return the dtype of a word; that of bfloat16, which NumPy has not, is of ml_dtypes."""
    return np.dtype(library("ml_dtypes").bfloat16 if word == "bfloat16" else word)


def to_numpy(array: Array, _name: str, how: How) -> Array:
    """Return the very array, or a copy in another dtype with the same strides, in cells."""
    dtype = numpy_dtype(how.word)
    if array.dtype == dtype:
        return array
    copy: Array = strided(array, dtype, np)
    copy.flags.writeable = array.flags.writeable
    return copy


def strided(array: Array, dtype: np.dtype[Any], numpy_like: Any) -> Any:
    """Return a copy of an array's memory, of NumPy or CuPy, seen with the same strides."""
    if not array.size:
        return numpy_like.asarray(array.astype(dtype))
    turn = tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)
    memory, strides, offset = memory_of(*steps_of(array[turn]))
    cells = numpy_like.asarray(memory.astype(dtype))[offset:]
    places = [stride * dtype.itemsize for stride in strides]
    return numpy_like.lib.stride_tricks.as_strided(cells, array.shape, places)[turn]


def to_jax(array: Array, _name: str, how: How) -> Any:
    """Return JAX's array: a copy, and without strides, for it has none."""
    jax = library("jax")
    copy = jax.numpy.array(array.astype(numpy_dtype(how.word), copy=False))
    return copy if how.device is None else jax.device_put(copy, jax.devices(how.device)[0])


def x64(word: str) -> AbstractContextManager[Any]:
    """Enable JAX's wide dtypes where one is asked for: they change defaults in the user's code."""
    return library("jax").enable_x64(True) if word in WIDE else nullcontext()


def vjp_of_jax(function: Callable[..., Any], operands: tuple[Any, ...], dy: Any) -> Any:
    """Return the gradient by each operand, None of integers.

    Of complex numbers it is W^H dy, where `jax.vjp` has W^T dy.
    """
    jax = library("jax")
    y, pull = jax.vjp(function, *operands)
    if not jax.numpy.issubdtype(y.dtype, jax.numpy.inexact):
        return (None,) * len(operands)
    return tuple(gradient.conj() for gradient in pull(dy.astype(y.dtype).conj()))


def to_torch(array: Array, name: str, how: How) -> "torch.Tensor":
    """Return a tensor with the strides of an array, on its memory where nothing is converted."""
    from convdense.adapters.import_torch import torch  # noqa: PLC0415  (only where it is asked for)

    dtype = how.common
    to: Any = {"device": how.device, "dtype": getattr(torch, how.word)}
    if not array.size:
        return torch.from_numpy(np.zeros(array.shape, dtype)).to(**to)
    plain = array.flags
    if plain.owndata and plain.c_contiguous and plain.writeable and array.dtype == dtype:
        return torch.from_numpy(array).to(**to)
    array, steps = steps_of(array)
    if min(steps, default=0) < 0:
        got, needs = f"strides {array.strides}", "none below 0, which torch does not have"
        raise ValueError(complain(name, got, needs, f"copy it: np.ascontiguousarray({name})"))
    memory, strides, offset = memory_of(array, steps)
    if not memory.flags.writeable:
        memory = memory.copy()
    tensor = torch.from_numpy(memory.astype(dtype, copy=False)).to(**to)
    return tensor.as_strided(array.shape, strides, offset)


def output(result: Any) -> Array:
    """Return a result as an array; NumPy has no bfloat16, which float32 holds exactly."""
    return as_array(result, "output")


def from_cupy(result: Any) -> Array:
    """Return a result of CuPy as an array."""
    return output(result.get() if hasattr(result, "get") else result)


KINDS = {
    "numpy": Kind(to_numpy, output),
    "numba": Kind(to_numpy, output),
    "jax": Kind(to_jax, output, x64, vjp_of_jax, compiles=True),
    "torch": Kind(to_torch, output),
    "cupy": Kind(lambda a, _, how: strided(a, numpy_dtype(how.word), library("cupy")), from_cupy),
}
