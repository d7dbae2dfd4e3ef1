"""What `certify` would hold in memory, counted before anything is built."""

from collections.abc import Iterator
from math import ceil, prod

from convdense._util.arguments import complain, physical_memory
from convdense.geometry import HasShapes, Pool
from convdense.layers.base import AnyShape, OfPool
from convdense.layers.dense import Dense
from convdense.layers.tied_dense import TiedDense
from convdense.networks.network import Network
from convdense.networks.residual import ResidualSum
from convdense.structure.tie_map import TieMap

BYTES = 8  # of a number in float64
PER_ENTRY = 3  # numbers that a stored entry of a matrix comes to: itself and its indices, twice


def refuse_too_large(numbers: int, *, stored: bool) -> None:
    """Refuse as many numbers as do not fit into memory, those of stored matrices among them."""
    size = BYTES * numbers
    memory = physical_memory()
    if memory is not None and size > memory:
        what = "matrices, operands and results" if stored else "operands and results"
        got = f"{what} of {size / 1e9:,.1f} GB"
        needs = f"at most the physical memory, {memory / 1e9:,.1f} GB"
        do = "certify a smaller copy: fewer cells, the same numbers"
        raise MemoryError(complain("layer", got, needs, do))


def numbers_of_layer(ties: TieMap, batch: int, *, stored: bool) -> int:
    """Return the operands and results of a trial, both ways, and a matrix where one is stored."""
    operands = batch * (prod(ties.in_shape) + prod(ties.out_shape)) + ties.n_weights
    return 4 * operands + stored * PER_ENTRY * ties.n_entries


def numbers_of_network(layer: HasShapes, batch: int, *, stored: bool) -> int:
    """Return the same for a pool or a whole network, all of whose layers are held at once."""
    return sum(
        _samples_of_part(part, batch) + stored * _entries_of_part(part, batch)
        for part in _parts(layer)
    )


def _parts(layer: HasShapes) -> Iterator[HasShapes]:
    """Yield the layers that a network consists of, those of its residual branches among them."""
    if isinstance(layer, (Network, ResidualSum)):
        inner = layer.layers if isinstance(layer, Network) else (layer.inner,)
        for part in inner:
            yield from _parts(part)
    else:
        yield layer.pool if isinstance(layer, OfPool) else layer


def _samples_of_part(part: HasShapes | AnyShape, batch: int) -> int:
    if isinstance(part, AnyShape):  # as many come out as go in
        return 8 * batch * prod(part.in_shape) if part.in_shape is not None else 0
    return 4 * batch * (prod(part.in_shape) + prod(part.out_shape))


def _entries_of_part(part: HasShapes | AnyShape, batch: int) -> int:
    if isinstance(part, TiedDense):
        return PER_ENTRY * part.ties.n_entries
    if isinstance(part, Dense):
        return PER_ENTRY * prod(part.in_shape) * prod(part.out_shape)
    if isinstance(part, Pool):  # a tournament: every cell of a window goes through an |x|
        most = (ceil(n / m) + 1 for n, m in zip(part.in_spatial, part.out_spatial, strict=True))
        window = prod(part.kernel or most)
        return (4 * batch + 2 * PER_ENTRY) * window * prod(part.out_shape)
    return 0
