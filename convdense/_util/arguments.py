"""Arguments: turn what came into what is needed, or say which argument, what came, what to do."""

import operator
import os
from collections.abc import Mapping, Sequence
from math import prod
from numbers import Number, Real
from secrets import randbits
from typing import Any

import numpy as np
import numpy.typing as npt

from convdense._util.foreign_objects import said, to_numpy, what_to_write
from convdense._util.layout_hints import how_to_fit

Array = npt.NDArray[Any]
Sizes = int | Sequence[int]
Seed = int | np.random.SeedSequence | None


def complain(name: str, got: object, needs: str, do: str = "") -> str:
    """Return the one form every message of this library has.

    Examples
    --------
    >>> complain("stride", 0, "an integer of at least 1", "use stride=1 to visit every position")
    'stride: got 0; needs an integer of at least 1; use stride=1 to visit every position'
    """
    return f"{name}: got {got}; needs {needs}" + (f"; {do}" if do else "")


def complain_of(name: str, value: object, needs: str, do: str = "") -> str:
    """Return the message about what is no layer or implementation; a foreign one's way in, too."""
    place = "implementation" if name == "implementation" else "layer"
    return complain(name, said(value), needs, what_to_write(value, place) or do)


def install(extra: str) -> str:
    """Return what to do where an optional package is missing: how convdense is installed.

    Examples
    --------
    >>> install("torch")
    "run pip install '.[torch]' in a clone of convdense"
    """
    return f"run pip install '.[{extra}]' in a clone of convdense"


def require(holds: bool, message: str) -> None:
    """Raise TypeError with this message unless something holds that an annotation promises.

    A type checker believes annotations, and takes such a check written out for unreachable.
    """
    if not holds:
        raise TypeError(message)


def is_integer(value: object) -> bool:
    """Tell whether value is an integer of Python, NumPy or PyTorch; True and False are not."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # of a 0-d tensor or array
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_sequence(value: object) -> bool:
    """Tell whether value is a sequence or an array with an axis; text is not."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def integer(value: Any, name: str, least: int | None) -> int:
    """Return value as an int of at least `least`; None: any."""
    if not is_integer(value):
        needs = "an integer" if least is None else f"an integer of at least {least}"
        raise TypeError(complain(name, said(value), needs))
    if least is not None and value < least:
        raise ValueError(complain(name, said(value), f"an integer of at least {least}"))
    return operator.index(value)


def per_axis(value: Any, name: str, axes: int, least: int) -> tuple[int, ...]:
    """Return one integer per axis: an int is repeated, a sequence must have one entry per axis."""
    if is_integer(value):
        return (integer(value, name, least),) * axes
    needs = f"an integer, or a sequence of {axes} (one per axis)"
    if not is_sequence(value):
        raise TypeError(complain(name, said(value), needs))
    if len(value) != axes:
        do = f"the layer has {axes} axes beside the channels: in_shape is (channels, *axes)"
        raise ValueError(complain(name, said(value), needs, do))
    return tuple(integer(v, name, least) for v in value)


def number(value: Any, name: str, needs: str) -> float:
    """Return value as a float if it is a real number; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(complain(name, said(value), needs))
    return float(value)


def shape_or_none(value: Any, name: str) -> tuple[int, ...] | None:
    """Return the shape of one sample, or None where it is not known yet."""
    if value is None:
        return None
    if not is_sequence(value) or len(value) < 1:
        needs = "a tuple of sizes, such as (3, 32, 32), or None"
        raise TypeError(complain(name, said(value), needs))
    return tuple(integer(n, name, 1) for n in value)


def choice(
    value: Any, name: str, allowed: Sequence[str], others: Mapping[str, str] | None = None
) -> str:
    """Return value if it is one of the allowed words; `others` says what to do with other words."""
    if not isinstance(value, str) or value not in allowed:
        word = str(value).lower()
        do = f"write {word!r}" if word in allowed else (others or {}).get(word, "")
        raise ValueError(complain(name, said(value), f"one of {', '.join(map(repr, allowed))}", do))
    return str(value)


def as_array(value: Any, name: str) -> Array:
    """Return value as an array of whatever it holds, wherever it lies.

    No autograd passes through; bfloat16, which NumPy does not have, comes in float32. What is no
    array is refused with what to write in its place.
    """
    # as most are, but not in the bfloat16 of ml_dtypes: the rest takes longer than small sums
    if type(value) is np.ndarray and value.dtype.kind != "V":
        return value
    instead = getattr(type(value), "_use_instead", None)  # of what is `Frozen`
    if instead is not None:
        raise TypeError(complain(name, repr(value), "numbers", instead))
    if value is None:
        raise TypeError(complain(name, "None", "an array", f"{name} was forgotten"))
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(complain(name, "masked cells", "a number in each", "use .filled(0)"))
    array = why = None
    try:
        array = to_numpy(value)
    # in another library's words
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        why = error
        if isinstance(error, ValueError) and is_sequence(value):
            needs = "an array, all rows of one length"
            raise ValueError(complain(name, "rows of different lengths", needs)) from None
    is_number = isinstance(value, (np.ndarray, Number))  # an integer of many digits is an object
    if array is None or (array.dtype == object and array.ndim == 0 and not is_number):
        do = what_to_write(value, "array", name)
        raise TypeError(complain(name, type(value).__name__, "an array of numbers", do)) from why
    return np.asarray(array)


def numeric(value: Any, name: str) -> Array:
    """Return value as an array of integers, floats or complex numbers.

    Raises
    ------
    TypeError
        For text, objects, booleans and float16, which SciPy's sparse matrices cannot hold.
    """
    array = as_array(value, name)
    if array.dtype.kind not in "iufc" or array.dtype == np.float16:
        needs = "an array of integers, float32, float64, complex64 or complex128"
        do = "convert it first, e.g. with .astype(float)"
        raise TypeError(complain(name, f"dtype {array.dtype}", needs, do))
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))  # SciPy wants native bytes


def finite(array: Array, name: str, do: str = "remove NaN and infinity first") -> Array:
    """Return array if no entry is NaN or infinite; a check of sums means nothing otherwise."""
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0]
        at = tuple(int(i) for i in first)
        raise ValueError(complain(name, f"{array[at]} at {at}", "finite numbers", do))
    return array


def shaped(value: Any, name: str, shape: tuple[int, ...], of: object) -> Array:
    """Return value as a numeric array of exactly this shape."""
    array = numeric(value, name)
    if array.shape != shape:
        do = how_to_fit(name, array.shape, shape)
        raise ValueError(complain(name, f"shape {array.shape}", f"{shape}, for {of!r}", do))
    return array


def batched(value: Any, name: str, shape: tuple[int, ...], of: object) -> tuple[Array, bool]:
    """Return value with a batch axis in front, and whether it came with one."""
    array = numeric(value, name)
    if array.shape == shape:
        return array[None], False
    if array.shape[1:] == shape and array.ndim == len(shape) + 1:
        return array, True
    with_batch = "(batch, " + ", ".join(map(str, shape)) + ")"
    needs = f"{shape} or {with_batch}, for {of!r}"
    do = how_to_fit(name, array.shape, shape, batch=True)
    raise ValueError(complain(name, f"shape {array.shape}", needs, do))


def unravelled(flat: int | np.integer[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the position of a flattened one, as plain integers."""
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def position(value: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return one position in an array of this shape, given flattened or as one integer per axis."""
    if is_integer(value):
        if not 0 <= value < prod(shape):
            needs = f"0 to {prod(shape) - 1}, a flattened position in {shape}"
            raise ValueError(complain(name, repr(value), needs))
        return unravelled(value, shape)
    at = tuple(value) if is_sequence(value) else ()
    within = [is_integer(i) and 0 <= i < n for i, n in zip(at, shape, strict=False)]
    if len(at) != len(shape) or not all(within):
        needs = f"an integer, or {len(shape)} integers within {shape}"
        raise ValueError(complain(name, repr(value), needs))
    return tuple(int(i) for i in at)


def seed_or_none(value: Any) -> int | None:
    """Return a seed as an int, which can be recorded; None, for a fresh one, stays None."""
    if isinstance(value, np.random.SeedSequence) and is_integer(value.entropy):
        alike = np.random.SeedSequence(value.entropy)  # what the integer alone makes
        same = (value.spawn_key, value.pool_size) == (alike.spawn_key, alike.pool_size)
        value = value.entropy if same else value
    if value is None or isinstance(value, (Real, str)):
        return None if value is None else integer(value, "seed", 0)
    needs = "an integer of at least 0, or an unspawned np.random.SeedSequence of one"
    do = "anything else could not be recorded; draw one: int(rng.integers(2**63))"
    raise TypeError(complain("seed", type(value).__name__, needs, do))


def drawn(seed: int | None, bits: int = 64) -> int:
    """Return a seed, or a fresh one of so many bits."""
    return randbits(bits) if seed is None else seed


def physical_memory() -> int | None:
    """Return the bytes of physical memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def require_memory(name: str, needed: int, do: str) -> None:
    """Refuse what is larger than the physical memory, before anything of it is allocated."""
    limit = physical_memory()
    if limit is not None and needed > limit:
        needs = f"at most {limit:,}, the physical memory"
        raise MemoryError(complain(name, f"about {needed:,} bytes", needs, do))


def first_line(error: object) -> str:
    """Return the first line of an error's text, for a message of one line.

    Examples
    --------
    >>> first_line(ValueError("too long\\nsecond line"))
    'too long'
    """
    try:
        return str(error).partition("\n")[0]
    except (Exception, SystemExit):
        # a user's own class of errors: what happened must not be lost for want of its text
        return f"(its text raises too: {type(error).__name__})"
