"""Pooling: a window that sums, averages or takes the largest; it holds no weights."""

from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from convdense._util.arguments import Array, Sizes, complain, is_integer, per_axis
from convdense.geometry import padding as pad
from convdense.geometry.base import Hyperparameters, flag, option_defaults, sample_shape
from convdense.geometry.padding import Padding, Pairs

SLIDING = ("kernel", "stride", "padding", "dilation", "ceil_mode")  # options of a sliding window


@dataclass(frozen=True, init=False, repr=False)
class Pool(Hyperparameters, ABC):
    """What every pool has: a window for each output.

    It slides, or it divides each axis into `output` parts.

    Parameters
    ----------
    in_shape : tuple of int
        One sample: ``(channels, *axes)``; channels do not see each other. Along an axis of 0 cells
        there are no outputs, where no window fits.
    kernel : int, one int per axis, or None with `output`
        Size of the window.
    stride : int, one int per axis, or None
        Step of the window; None: the kernel, so that windows tile the input.
    padding : int, one per axis, a (begin, end) pair per axis, or "valid", "same", "same_lower",
    "full"
        Absent cells around the input. A window without a cell gives 0 (as in JAX), and is refused
        where it would give no number: a largest, a smallest, a mean over the cells inside.
    dilation : int or one int per axis
        Distance between the window's taps.
    ceil_mode : bool
        Add a last window that runs over the end, if it starts inside the input or the padding
        before it.
    output : int or one int per axis
        Instead of a kernel: the number of outputs (adaptive pooling; 1 is global). Window i of an
        axis of n cells goes from ``floor(i n / output)`` to ``ceil((i + 1) n / output)``, as in
        PyTorch.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what is needed.
    """

    extremum: ClassVar[int] = 0  # +1: the largest of a window, -1: the smallest, 0: a sum over it
    divides: ClassVar[bool] = False  # whether the sum is divided by `divisor`
    takes_roots: ClassVar[bool] = False  # then integers give no exact numbers

    in_shape: tuple[int, ...]
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    ceil_mode: bool
    output: tuple[int, ...] | None

    def __init__(
        self,
        in_shape: Sequence[int],
        kernel: Sizes | None = None,
        *,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        output: Sizes | None = None,
    ) -> None:
        shape = sample_shape(in_shape)
        axes = len(shape) - 1
        self._set(in_shape=shape, ceil_mode=flag(ceil_mode, "ceil_mode"), kernel=None, output=None)
        if (kernel is None) == (output is None):
            got = "neither" if kernel is None else f"{kernel!r} and output={output!r}"
            needs = "a kernel, or output=n for n windows an axis"
            raise ValueError(complain("kernel", got, needs, "give one"))

        if output is not None:
            options = {"padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
            self._set_parts(output, axes, stride=stride, **options)
            return

        window = per_axis(kernel, "kernel", axes, 1)
        self._set(kernel=window, dilation=per_axis(dilation, "dilation", axes, 1))
        self._set(stride=window if stride is None else per_axis(stride, "stride", axes, 1))
        self._set(padding=pad.resolve(padding, shape[1:], window, self.stride, self.dilation))
        self._check_windows()

    def _set_parts(self, output: Sizes, axes: int, **options: object) -> None:
        """Set adaptive windows, which leave nothing else to choose."""
        for name, value in options.items():
            default = option_defaults(Pool)[name]
            if value not in (default, "valid" if name == "padding" else default):
                needs = "to be left out with output=, where the windows follow from the sizes"
                raise ValueError(complain(name, repr(value), needs))
        self._set(output=per_axis(output, "output", axes, 1))
        self._set(stride=(1,) * axes, padding=((0, 0),) * axes, dilation=(1,) * axes)
        nothing = self._of_no_cells(padded=0)
        if nothing and 0 in self.in_spatial:
            axis, do = self.in_spatial.index(0), f"a window without a cell gives {nothing}"
            raise ValueError(complain("in_shape", self.in_shape, f"a cell on axis {axis}", do))

    def _of_no_cells(self, padded: int) -> str:
        """Return what a window without a cell would give, or nothing where that is 0."""
        if self.extremum:
            return "-infinity" if self.extremum > 0 else "infinity"
        return "" if self.divisor(inside=0, padded=padded) else "0/0"

    def _check_windows(self) -> None:
        """Refuse a kernel that fits nowhere, and windows without a cell where these give no 0."""
        nothing = self._of_no_cells(padded=1)  # a window has a cell of the input or its padding
        for axis, (n, pair, k, s, d) in enumerate(self.numbers()):
            window, size = pad.effective(k, d), n + sum(pair)
            if nothing and max(pair) >= window:
                needs = f"less than the window's {window} cells on axis {axis}"
                do = f"such a window would hold nothing but padding, and give {nothing}"
                raise ValueError(complain("padding", pair, needs, do))

            outputs = self.out_spatial[axis]
            if outputs < 1 and n > 0:
                got, room = f"{k} with dilation {d}", f"{n} and padding {pair}"
                if self.ceil_mode:  # (size - window) / stride, rounded up, is at least 0
                    size, room = size + s - 1, f"{n}, padding {pair} and {s - 1} past the end"
                needs = f"a window of at most {size} cells on axis {axis}: {room}"
                raise ValueError(complain("kernel", got, needs, "use a smaller kernel"))

            for i in range(outputs if nothing else 0):
                # The window's cells are first + t d for the taps t = 0 ... k - 1; 0 to n - 1 exist.
                first = i * s - pair[0]
                first_tap = max(0, -(first // d))  # the first one with a cell of at least 0
                last_tap = min(k - 1, (n - 1 - first) // d)  # the last one with a cell below n
                if first_tap > last_tap:
                    where = f"whose window {i} on axis {axis} meets no cell of the input"
                    got = f"{k} with dilation {d}, {where}"
                    needs = "windows with a cell in each"
                    do = f"pad or dilate less: one without a cell gives {nothing}"
                    raise ValueError(complain("kernel", got, needs, do))

    def numbers(self) -> Iterator[tuple[int, tuple[int, int], int, int, int]]:
        """Yield size, padding, kernel, stride and dilation of every axis of a sliding window."""
        kernel = self.kernel or ()
        return zip(self.in_spatial, self.padding, kernel, self.stride, self.dilation, strict=True)

    def divisor(self, inside: int, padded: int) -> int:  # noqa: ARG002  (averages use both)
        """Return what an output is divided by, whose window has so many cells.

        `inside` counts the cells of the input, `padded` those of the padding too.
        """
        return 1

    @cached_property
    def in_spatial(self) -> tuple[int, ...]:
        """Input positions along each axis."""
        return self.in_shape[1:]

    @cached_property
    def out_spatial(self) -> tuple[int, ...]:
        """Output positions along each axis.

        ``floor((size + begin + end - window) / stride) + 1``. With `ceil_mode` the ceiling, and one
        less where the last window would start past the input (PyTorch, ONNX).
        """
        if self.output is not None:
            return self.output
        return tuple(
            self._outputs(n, pair, pad.effective(k, d), s) for n, pair, k, s, d in self.numbers()
        )

    def _outputs(self, n: int, pair: tuple[int, int], window: int, stride: int) -> int:
        room = n + sum(pair) - window  # how far the first window can move
        if not self.ceil_mode:
            return max(0, room // stride + 1)
        outputs = -(-room // stride) + 1  # the division is rounded up
        last_start = (outputs - 1) * stride
        starts_past_the_input = last_start >= n + pair[0]
        return max(0, outputs - 1 if starts_past_the_input else outputs)

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample: (channels, *out_spatial)."""
        return (self.in_shape[0], *self.out_spatial)

    def to_dict(self) -> dict[str, Any]:
        """Return the pool as plain data: its kernel and options, or with `output` that alone."""
        data = super().to_dict()
        follows = ("output",) if self.output is None else SLIDING
        return {name: value for name, value in data.items() if name not in follows}

    def _default(self, name: str, values: dict[str, Any]) -> Any:
        if name == "stride":
            return 1 if values["kernel"] is None else values["kernel"]
        return super()._default(name, values)


@dataclass(frozen=True, init=False, repr=False)
class SumPool(Pool):
    """The hyper-parameters of sum pooling: a convolution of each channel with a kernel of ones.

    Examples
    --------
    >>> SumPool((8, 16, 16), kernel=2).out_shape
    (8, 8, 8)
    """


@dataclass(frozen=True, init=False, repr=False)
class MaxPool(Pool):
    """The hyper-parameters of max pooling; absent cells never win.

    Examples
    --------
    >>> MaxPool((8, 15, 15), kernel=3, stride=2, padding=1)
    MaxPool((8, 15, 15), kernel=3, stride=2, padding=1)
    >>> MaxPool((8, 15, 15), output=1).out_shape  # global
    (8, 1, 1)
    """

    extremum = 1


@dataclass(frozen=True, init=False, repr=False)
class MinPool(Pool):
    """The hyper-parameters of min pooling; absent cells never win.

    Examples
    --------
    >>> MinPool((8, 16, 16), kernel=2).out_shape
    (8, 8, 8)
    """

    extremum = -1


@dataclass(frozen=True, init=False, repr=False)
class AvgPool(Pool):
    """The hyper-parameters of average pooling: sum pooling, then one division per output.

    Parameters
    ----------
    in_shape, kernel, stride, padding, dilation, ceil_mode, output
        As for `Pool`.
    count_include_pad : bool
        Count padded cells in the divisor; cells beyond the padding, under a window that runs over,
        never count.
    divisor_override : int or None
        Divide by this number instead, which may be negative and not 0.

    Examples
    --------
    >>> AvgPool((8, 15, 15), kernel=3, stride=2, padding=1, count_include_pad=False).out_shape
    (8, 8, 8)
    """

    divides = True

    count_include_pad: bool
    divisor_override: int | None

    def __init__(
        self,
        in_shape: Sequence[int],
        kernel: Sizes | None = None,
        *,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        output: Sizes | None = None,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._set(count_include_pad=flag(count_include_pad, "count_include_pad"))
        if divisor_override is not None:
            wrong = complain("divisor_override", repr(divisor_override), "an integer other than 0")
            if not is_integer(divisor_override):
                raise TypeError(wrong)
            if divisor_override == 0:
                raise ValueError(wrong)
            divisor_override = int(divisor_override)
        self._set(divisor_override=divisor_override)
        super().__init__(
            in_shape,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            output=output,
        )

    def divisor(self, inside: int, padded: int) -> int:
        """Return what an average is divided by."""
        if self.divisor_override is not None:
            return self.divisor_override
        return padded if self.count_include_pad else inside


@dataclass(frozen=True, init=False, repr=False)
class LpPool(Pool):
    """The hyper-parameters of power-average pooling, ``(sum |x|^p)^(1/p)``; absent cells count 0.

    Parameters
    ----------
    in_shape, kernel, stride, padding, dilation, ceil_mode, output
        As for `Pool`.
    p : float
        The power, at least 1 and finite.

    Notes
    -----
    ONNX's convention. PyTorch's ``lp_pool`` sums ``x^p`` with the signs that an odd p leaves, and
    takes a window that `ceil_mode` lets run over the end for a part of a whole one: it multiplies
    its sum by the cells of the kernel over those that are there.

    Examples
    --------
    >>> LpPool((8, 16, 16), kernel=2, p=2)
    LpPool((8, 16, 16), kernel=2, p=2)
    """

    takes_roots = True

    p: float

    def __init__(
        self,
        in_shape: Sequence[int],
        kernel: Sizes | None = None,
        *,
        p: float,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        output: Sizes | None = None,
    ) -> None:
        needs = "a finite number of at least 1"
        if isinstance(p, bool) or not isinstance(p, (int, float)):
            raise TypeError(complain("p", repr(p), needs))
        if not (isfinite(p) and p >= 1):
            raise ValueError(complain("p", p, needs, "the limit p = inf is max |x|"))
        self._set(p=p)
        super().__init__(
            in_shape,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            output=output,
        )

    def scale(self, largest: Array) -> Array:
        """Return what the cells of windows are divided by, so that no power of them overflows.

        `largest` has the largest ``|x|`` of each window. A power of two next to it, with which
        nothing is rounded, or where p is so large that 2^p overflows, the largest itself.
        """
        if self.p <= 64:
            _, exponent = np.frexp(largest)  # largest = [0.5, 1) 2^exponent
            return np.asarray(np.ldexp(largest.dtype.type(1), exponent - 1))
        return np.where((largest > 0) & np.isfinite(largest), largest, largest.dtype.type(1))


def same_windows(kind: type[Pool], pool: Pool, **options: Any) -> Pool:
    """Return the pool of another kind with the windows of this one, and options of its own."""
    names = ("output",) if pool.kernel is None else SLIDING
    return kind(pool.in_shape, **{name: getattr(pool, name) for name in names}, **options)
