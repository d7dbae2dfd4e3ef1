"""A network: layers one after the other, forward and backward, and the same network seen two other ways."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from convdense._util.arguments import Array, batched, complain, numeric
from convdense._util.files import as_path, read_arrays, save_arrays
from convdense.display.tables import aligned, table
from convdense.geometry import paired_operands
from convdense.layers.base import floating, is_ready, pulled
from convdense.layers.dense_form import Affine, Step, dense_steps, named
from convdense.layers.direct_form import direct_counterpart

HEADER = ("", "layer", "output", "dense layers", "free weights", "edges", "held at zero")


@dataclass(frozen=True, eq=False, repr=False)
class Network:
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
    >>> net = network(Conv((1, 4), out_channels=2, kernel=3, padding=1), ReLU(), MaxPool((2, 4), kernel=2), seed=0)
    >>> sorted(net.parameters), net.in_shape, net.out_shape
    (['0.b', '0.w'], (1, 4), (2, 2))
    >>> x = np.array([[[1.0, 2, 3, 4]]])
    >>> dx, gradients = net.backward(x, dy=np.ones((1, 2, 2)))
    >>> dx.shape, gradients["0.w"].shape
    ((1, 1, 4), (2, 1, 3))
    >>> np.array_equal(net.direct().forward(x), net.forward(x))
    True
    """

    layers: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError(complain("layers", "none", "at least one layer"))
        for i, layer in enumerate(self.layers):
            if not is_ready(layer):
                needs = "a ready layer: forward(x), backward(x, dy), and the shapes in_shape and out_shape, known"
                raise ValueError(
                    complain(
                        f"layer {i}", repr(layer), needs, "use network(...), which makes it ready"
                    )
                )
        for i, (before, layer) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            _fit(i, before, layer)

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
        """Weights and biases by name: "0.w" is the weight array of layer 0, "2.1.b" the bias of layer 1 in layer 2."""
        named = {
            f"{i}.{name}": a
            for i, layer in enumerate(self.layers)
            for name, a in _parameters(layer).items()
        }
        return MappingProxyType(named)

    def with_parameters(self, parameters: Mapping[str, Any]) -> "Network":
        """Return the same network with other parameters: all of them, by the same names, of the
        same shapes.

        Raises
        ------
        ValueError
            For names that are missing or unknown, and for other shapes.
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(
                complain("parameters", type(parameters).__name__, "a mapping, such as {'0.w': ...}")
            )
        _match(parameters, self.parameters)
        parts: list[dict[str, Any]] = [{} for _ in self.layers]
        for key, value in parameters.items():
            i, _, name = key.partition(".")
            parts[int(i)][name] = value
        return Network(
            tuple(_with(layer, part) for layer, part in zip(self.layers, parts, strict=True))
        )

    def trace(self, x: Any) -> Iterator[Array]:
        """Yield x, with its batch axis and as floats, and then what leaves each layer."""
        x = floating(batched(x, "x", self.in_shape, self)[0])
        yield x
        for i, layer in enumerate(self.layers):
            y = layer.forward(x)
            if np.shape(y) != (len(x), *layer.out_shape):
                needs = f"{(len(x), *layer.out_shape)}, its batch and out_shape"
                raise ValueError(
                    complain(f"layer {i}, {layer!r}", f"an output of shape {np.shape(y)}", needs)
                )
            x = y
            yield x

    def forward(self, x: Any) -> Array:
        """Return y, shape (batch, *out_shape), for x of shape (batch, *in_shape) or of one sample."""
        had_batch = batched(x, "x", self.in_shape, self)[1]
        y = x
        for y in self.trace(x):  # noqa: B007  (the last one is wanted, the others are forgotten)
            pass
        return np.asarray(y if had_batch else y[0])

    def backward(self, x: Any, dy: Any) -> tuple[Array, dict[str, Array]]:
        """Return dx and the gradients by the names of the parameters, summed over the batch."""
        x, dy, had_batch = paired_operands(self, x, dy)
        dx, gradients = self.pull_back(list(self.trace(x)), dy)
        return dx if had_batch else dx[0], gradients

    def pull_back(self, values: list[Array], dy: Array) -> tuple[Array, dict[str, Array]]:
        """Return what `backward` does, for what `trace` yielded: plain backpropagation, one layer after the other."""
        gradients: dict[str, Array] = {}
        dy = floating(dy)
        for i, x in reversed(list(enumerate(values[:-1]))):
            dy, own = pulled(self.layers[i], x, dy)
            gradients = {**{f"{i}.{name}": g for name, g in own.items()}, **gradients}
        return dy, gradients

    def dense_layers(self) -> list[Step]:
        """Return the dense layers ``Affine(W, b)``, absolute values and divisions that this network
        is, in order.

        They take flattened samples, (batch, features), one step after the other.

        Raises
        ------
        TypeError
            For a layer that is not made of these, such as an LpPool with p = 2.
        """
        return dense_steps(self, self._dtype)

    def direct(self) -> "Network":
        """Return the same parameters run by direct convolution and argmax pooling, without a matrix."""
        return Network(tuple(map(direct_counterpart, self.layers)))

    def save(self, path: Path | str) -> None:
        """Write the parameters to an .npz file, without pickle; one that cannot be finished leaves the old file."""
        save_arrays(as_path(path), self.parameters)

    def load(self, path: Path | str) -> "Network":
        """Return the same network with the parameters of a file that `save` wrote.

        Raises
        ------
        ValueError
            For a file that is none, and for names, shapes or dtypes that do not fit.
        """
        arrays, own = read_arrays(as_path(path)), self.parameters
        _match(arrays, own)
        for name, array in arrays.items():
            if array.dtype != own[name].dtype:
                fits = array.dtype.name in ("float64", "float32") and array.dtype.isnative
                do = (
                    f'make the network with dtype="{array.dtype}"'
                    if fits
                    else "save the parameters of a network"
                )
                raise ValueError(
                    complain(name, f"dtype {array.dtype}", f"{own[name].dtype}, as here", do)
                )
        return self.with_parameters(arrays)

    def _rows(self) -> list[list[str]]:
        return [
            [str(i), repr(layer), *_summary(layer, self._dtype)]
            for i, layer in enumerate(self.layers)
        ]

    @property
    def _dtype(self) -> Any:
        return (
            np.result_type(*(a.dtype for a in self.parameters.values()))
            if self.parameters
            else np.dtype("float64")
        )

    def __str__(self) -> str:
        """Return a table: per layer its dense layers, their edges and zeros, and the free weights."""
        return aligned(HEADER, self._rows())

    def _repr_html_(self) -> str:
        """Return the same table for a notebook."""
        return table(self._rows(), HEADER, repr(self))

    def __repr__(self) -> str:
        """Return the number of layers and the shapes."""
        return f"Network({len(self.layers)} layers, {self.in_shape} -> {self.out_shape})"


@dense_steps.register
def _(layer: Network, dtype: Any = "float64") -> list[Step]:
    return [
        step
        for i, part in enumerate(layer.layers)
        for step in named(dense_steps(part, dtype), str(i))
    ]


@direct_counterpart.register
def _(layer: Network) -> Network:
    return layer.direct()


def _fit(i: int, before: Any, layer: Any) -> None:
    """Refuse a layer i + 1 that does not take what layer i gives, naming both."""
    gives, takes = tuple(before.out_shape), tuple(layer.in_shape)
    if gives != takes:
        do = (
            "put a Flatten() between them" if prod(gives) == prod(takes) and len(takes) == 1 else ""
        )
        needs = f"{gives}, which layer {i}, {before!r}, gives"
        raise ValueError(
            complain(f"layer {i + 1}, {layer!r}", f"an input of shape {takes}", needs, do)
        )


def _parameters(layer: Any) -> Mapping[str, Array]:
    """Return a layer's own parameters by name: none, w and b, or those of a network."""
    own = getattr(layer, "parameters", None)
    if own is not None:
        return dict(own)
    return {
        name: getattr(layer, name) for name in ("w", "b") if getattr(layer, name, None) is not None
    }


def _with(layer: Any, parameters: dict[str, Any]) -> Any:
    if not parameters:
        return layer
    if hasattr(layer, "with_parameters"):
        return layer.with_parameters(parameters)
    if not hasattr(layer, "with_weights"):
        needs = "a layer with with_weights(w, b), to be given new ones"
        raise TypeError(complain("layer", repr(layer), needs))
    return layer.with_weights(**parameters)


def _match(new: Mapping[str, Any], own: Mapping[str, Array]) -> None:
    """Refuse parameters whose names or shapes are not those of a network."""
    missing, unknown = sorted(set(own) - set(new)), sorted(set(new) - set(own))
    if missing or unknown:
        got = ", ".join(
            [
                *(f"no {name!r}" for name in missing),
                *(f"{name!r}, which is unknown" for name in unknown),
            ]
        )
        raise ValueError(complain("parameters", got, ", ".join(map(repr, own)) or "none"))
    for name, array in own.items():
        shape = numeric(new[name], name).shape
        if shape != array.shape:
            raise ValueError(complain(name, f"shape {shape}", f"{array.shape}, as here"))


def _summary(layer: Any, dtype: Any) -> list[str]:
    """Return the cells of one line of the table; a layer that is not made of matrices and |x| has none to show."""
    shape, free = (
        str(tuple(layer.out_shape)),
        f"{sum(a.size for a in _parameters(layer).values()):,}",
    )
    try:
        matrices = [step.W for step in dense_steps(layer, dtype) if isinstance(step, Affine)]
    except TypeError:
        return [shape, "-", free, "-", "-"]
    cells, edges = sum(prod(W.shape) for W in matrices), sum(W.nnz for W in matrices)
    shapes = ", ".join("{} x {}".format(*W.shape) for W in matrices[:2]) + (
        ", ..." if len(matrices) > 2 else ""
    )
    counted = f"{len(matrices)}: {shapes}" if matrices else "0"
    return [shape, counted, free, f"{edges:,}", f"{1 - edges / cells:.4%}" if cells else ""]
