"""A network: layers one after the other, forward and backward, and its two other forms."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from convdense._util.arguments import Array, batched, complain, is_integer, numeric
from convdense._util.files import as_path, read_arrays, save_arrays
from convdense.display.tables import aligned, table
from convdense.geometry import Layer, paired_operands
from convdense.layers.base import Runs, floating, is_ready, pulled
from convdense.layers.dense_form import Affine, DenseLayers, Step, dense_steps, named
from convdense.layers.direct_form import direct_counterpart
from convdense.layers.error_bounds import (
    ParameterBounds,
    Slope,
    Value,
    backward_error,
    backward_errors,
    forward_error,
    forward_errors,
    integer_unit,
    magnitudes,
)
from convdense.layers.plain_form import Plain, layer_to_plain

HEADER = ("", "layer", "output", "dense layers", "free weights", "edges", "held at zero")


class Parameters(dict[str, Array]):
    """Arrays by name; to change one is to make another network."""

    def __setitem__(self, *_: object) -> None:
        """Refuse: the network would not see it."""
        needs = "the arrays that the network has"
        raise TypeError(complain("parameters", "another", needs, "write net.with_parameters(...)"))

    if not TYPE_CHECKING:  # each has a signature of its own, and all are refused alike
        __delitem__ = __ior__ = __setitem__
        clear = pop = popitem = setdefault = update = __setitem__

    def __call__(self) -> None:
        """Refuse: a network's parameters are no method."""
        do = "write net.parameters.values() or .items()"
        raise TypeError(complain("parameters", "a call", "no (): it is a mapping", do))


@dataclass(frozen=True, eq=False, repr=False)
class Network(Runs):
    """Layers one after the other; made by `network`, and frozen: new parameters make a new network.

    Parameters
    ----------
    layers : tuple
        Ready layers. A layer of your own has ``in_shape`` and ``out_shape``, ``forward(x)`` for a
        batch of samples, and ``backward(x, dy)``, which returns dx, or (dx, dw, db) if it has
        ``w``, ``b`` and ``with_weights(w, b)``.

    Raises
    ------
    ValueError
        For no layers, and for layers that do not fit together, named by position.

    Examples
    --------
    >>> from convdense import Conv, MaxPool, ReLU, network
    >>> conv, pool = Conv((1, 4), out_channels=2, kernel=3, padding=1), MaxPool((2, 4), kernel=2)
    >>> net = network(conv, ReLU(), pool, seed=0)
    >>> sorted(net.parameters), net.in_shape, net.out_shape
    (['0.b', '0.w'], (1, 4), (2, 2))
    >>> x = np.array([[[1.0, 2, 3, 4]]])
    >>> dx, gradients = net.backward(x, dy=np.ones((1, 2, 2)))
    >>> dx.shape, gradients["0.w"].shape
    ((1, 1, 4), (2, 1, 3))
    >>> np.array_equal(net.direct().forward(x), net.forward(x))
    True
    """

    _use_instead = "net.parameters are its arrays, and net.dense_layers() has its matrices"
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError(complain("layers", "none", "at least one layer"))
        for i, layer in enumerate(self.layers):
            if not is_ready(layer):
                shapes = "and the shapes in_shape and out_shape, known"
                needs = f"a ready layer: forward(x), backward(x, dy), {shapes}"
                do = "use network(...), which makes it ready"
                raise ValueError(complain(f"layer {i}", repr(layer), needs, do))
        for i, (before, layer) in enumerate(pairwise(self.layers)):
            _check_fit(i, before, layer)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, at: int) -> Layer: ...
    @overload
    def __getitem__(self, at: slice) -> "Network": ...
    def __getitem__(self, at: int | slice) -> "Layer | Network":
        """Return one layer, or those of a slice as a network."""
        if isinstance(at, slice):
            return Network(self.layers[at])
        if is_integer(at) and -len(self) <= at < len(self):
            return self.layers[at]
        kind = IndexError if is_integer(at) else TypeError
        needs = f"an integer from {-len(self)} to {len(self) - 1}, or a slice"
        raise kind(complain("layer", repr(at), needs, "net.parameters has arrays by name"))

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return tuple(self.layers[0].in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return tuple(self.layers[-1].out_shape)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Weights and biases by name.

        "0.w" is the weight array of layer 0, "2.1.b" the bias of layer 1 in layer 2.
        """
        by_name: dict[str, Array] = {}
        for i, layer in enumerate(self.layers):
            own = _own_parameters(layer)
            by_name.update({f"{i}.{name}": array for name, array in own.items()})
        return Parameters(by_name)

    def with_parameters(self, parameters: Mapping[str, npt.ArrayLike]) -> "Network":
        """Return the same network with other parameters, by the same names, of the same shapes.

        Raises
        ------
        ValueError
            For names that are missing or unknown, and for other shapes.
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(
                complain("parameters", type(parameters).__name__, "a mapping, such as {'0.w': ...}")
            )
        _check_match(parameters, self.parameters)
        of_layers: list[dict[str, npt.ArrayLike]] = [{} for _ in self.layers]
        for key, value in parameters.items():
            i, _, name = key.partition(".")  # of "2.1.b" layer 2, a network, gets "1.b"
            of_layers[int(i)][name] = value
        pairs = zip(self.layers, of_layers, strict=True)
        return Network(tuple(_with_own_parameters(layer, own) for layer, own in pairs))

    def trace(self, x: npt.ArrayLike) -> Iterator[Array]:
        """Yield x, with its batch axis and as floats, and then what leaves each layer."""
        batch, _ = batched(x, "x", self.in_shape, self)
        value = floating(batch)
        yield value
        for i, layer in enumerate(self.layers):
            y = layer.forward(value)
            shape = (len(value), *layer.out_shape)
            if np.shape(y) != shape:
                got = f"an output of shape {np.shape(y)}"
                needs = f"{shape}, its batch and out_shape"
                raise ValueError(complain(f"layer {i}, {layer!r}", got, needs))
            value = y
            yield value

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return y, (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        _, had_batch = batched(x, "x", self.in_shape, self)
        (y,) = deque(self.trace(x), maxlen=1)  # the last one; the others are forgotten on the way
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: npt.ArrayLike, dy: npt.ArrayLike) -> tuple[Array, dict[str, Array]]:
        """Return dx and the gradients by the names of the parameters, summed over the batch."""
        x, dy, had_batch = paired_operands(self, x, dy)
        dx, gradients = self.pull_back(list(self.trace(x)), dy)
        return dx if had_batch else dx[0], gradients

    def pull_back(self, values: list[Array], dy: Array) -> tuple[Array, dict[str, Array]]:
        """Return what `backward` does, layer by layer from the last.

        `values` is what `trace` yields: x, and the output of each layer, all with a batch axis.
        """
        gradients: dict[str, Array] = {}
        dy = floating(dy)
        for i, x in reversed(list(enumerate(values[:-1]))):
            # the layer's dx is the dy of the layer before it
            dy, own = pulled(self.layers[i], x, dy)
            of_layer = {f"{i}.{name}": gradient for name, gradient in own.items()}
            gradients = {**of_layer, **gradients}  # in the order of `parameters`
        return dy, gradients

    def dense_layers(self) -> DenseLayers:
        """Return the dense layers, absolute values and divisions that this network is, in order.

        A dense layer is ``Affine(W, b)``. They take flattened samples, (batch, features), one step
        after the other.

        Raises
        ------
        TypeError
            For a layer that is not made of these, such as an LpPool with p = 2.
        """
        return DenseLayers(dense_steps(self, self._dtype))

    def direct(self) -> "Network":
        """Return the same parameters run by direct convolution and argmax pooling."""
        return Network(tuple(map(direct_counterpart, self.layers)))

    def save(self, path: Path | str) -> None:
        """Write the parameters to an .npz file, without pickle.

        One that cannot be finished leaves the old file.
        """
        save_arrays(as_path(path), self.parameters)

    def load(self, path: Path | str) -> "Network":
        """Return the same network with the parameters of a file that `save` wrote.

        Raises
        ------
        ValueError
            For a file that is not an .npz, and for names, shapes or dtypes that do not fit.
        """
        arrays, own = read_arrays(as_path(path)), self.parameters
        _check_match(arrays, own)
        for name, array in arrays.items():
            if array.dtype == own[name].dtype:
                continue
            do = "save the parameters of a network"
            # a network can be made in these two dtypes alone
            if array.dtype.name in ("float64", "float32") and array.dtype.isnative:
                do = f'make the network with dtype="{array.dtype}"'
            needs = f"{own[name].dtype}, as here"
            raise ValueError(complain(name, f"dtype {array.dtype}", needs, do))
        return self.with_parameters(arrays)

    def _rows(self) -> list[list[str]]:
        """Return the lines of the table, one for each layer."""
        return [
            [str(i), repr(layer), *_summary(layer, self._dtype)]
            for i, layer in enumerate(self.layers)
        ]

    @property
    def _dtype(self) -> np.dtype:
        """The dtype that can hold all parameters; float64 if there are none."""
        dtypes = [array.dtype for array in self.parameters.values()]
        return np.result_type(*dtypes) if dtypes else np.dtype("float64")

    def __str__(self) -> str:
        """Return a table: for each layer its dense layers, edges and zeros, and its weights."""
        return aligned(HEADER, self._rows())

    def _repr_html_(self) -> str:
        return table(self._rows(), HEADER, repr(self))

    def __repr__(self) -> str:
        return f"Network({len(self.layers)} layers, {self.in_shape} -> {self.out_shape})"


def _check_fit(i: int, before: Layer, layer: Layer) -> None:
    """Refuse a layer i + 1 that does not take what layer i gives, naming both."""
    gives, takes = tuple(before.out_shape), tuple(layer.in_shape)
    if gives != takes:
        flattens = len(takes) == 1 and prod(gives) == prod(takes)
        do = "put a Flatten() between them" if flattens else ""
        got = f"an input of shape {takes}"
        needs = f"{gives}, which layer {i}, {before!r}, gives"
        raise ValueError(complain(f"layer {i + 1}, {layer!r}", got, needs, do))


def _own_parameters(layer: Layer) -> Mapping[str, Array]:
    """Return a layer's own parameters by name: none, w and b, or those of a network."""
    own = getattr(layer, "parameters", None)
    if own is not None:
        return dict(own)
    arrays = {name: getattr(layer, name, None) for name in ("w", "b")}
    return {name: array for name, array in arrays.items() if array is not None}


def _with_own_parameters(layer: Layer, parameters: dict[str, npt.ArrayLike]) -> Layer:
    """Return a layer with other parameters, by the names that `_own_parameters` gives."""
    if not parameters:
        return layer
    by_name = getattr(layer, "with_parameters", None)
    if by_name is not None:
        updated: Layer = by_name(parameters)
        return updated
    with_weights = getattr(layer, "with_weights", None)
    if with_weights is None:
        needs = "a layer with with_weights(w, b), to be given new ones"
        raise TypeError(complain("layer", repr(layer), needs))
    reweighted: Layer = with_weights(**parameters)
    return reweighted


def _check_match(new: Mapping[str, npt.ArrayLike], own: Mapping[str, Array]) -> None:
    """Refuse parameters whose names or shapes are not those of a network."""
    missing = sorted(set(own) - set(new))
    unknown = sorted(set(new) - set(own))
    if missing or unknown:
        complaints = [f"no {name!r}" for name in missing]
        complaints += [f"{name!r}, which is unknown" for name in unknown]
        needs = ", ".join(map(repr, own)) or "none"
        raise ValueError(complain("parameters", ", ".join(complaints), needs))
    for name, array in own.items():
        shape = numeric(new[name], name).shape
        if shape != array.shape:
            raise ValueError(complain(name, f"shape {shape}", f"{array.shape}, as here"))


def _summary(layer: Layer, dtype: np.dtype) -> list[str]:
    """Return the cells of one line of the table."""
    shape = str(tuple(layer.out_shape))
    free = f"{sum(array.size for array in _own_parameters(layer).values()):,}"
    try:
        steps = dense_steps(layer, dtype)
    except TypeError:  # it is not made of matrices and |x|
        return [shape, "-", free, "-", "-"]
    matrices = [step.W for step in steps if isinstance(step, Affine)]
    if not matrices:
        return [shape, "0", free, "0", ""]
    cells = sum(prod(W.shape) for W in matrices)
    edges = sum(W.nnz for W in matrices)
    sizes = ["{} x {}".format(*W.shape) for W in matrices]
    shown = sizes if len(sizes) <= 2 else [*sizes[:2], "..."]
    return [
        shape,
        f"{len(matrices)}: {', '.join(shown)}",
        free,
        f"{edges:,}",
        f"{1 - edges / cells:.4%}" if cells else "",
    ]


# What every kind of layer registers. A network is a layer too: it asks its layers one by one.


@dense_steps.register
def _(layer: Network, dtype: npt.DTypeLike = "float64") -> list[Step]:
    steps: list[Step] = []
    for i, part in enumerate(layer.layers):
        steps += named(dense_steps(part, dtype), str(i))  # "w" of layer 2 becomes "2.w"
    return steps


direct_counterpart.register(Network, lambda layer: layer.direct())
# all |w|, to be run on |x|
magnitudes.register(Network, lambda layer: Network(tuple(map(magnitudes, layer.layers))))


@integer_unit.register
def _(layer: Network, leaving: int = 1) -> int:
    for part in reversed(layer.layers):
        leaving = integer_unit(part, leaving)
    return leaving


@forward_error.register
def _(layer: Network, x: Value) -> Value:
    *_, y = forward_errors(layer.layers, x)  # x and every output, each with its rounding error
    return y


@backward_error.register
def _(layer: Network, x: Value, dy: Slope) -> tuple[Slope, ParameterBounds]:
    return backward_errors(layer.layers, forward_errors(layer.layers, x), dy)


@layer_to_plain.register
def _(layer: Network) -> Plain:
    return {"type": "Network", "layers": [layer_to_plain(part) for part in layer.layers]}
