"""The matrix and its products on a cluster, as Dask's own tasks.

All that a worker holds is the result of a task, so that Dask makes it again where the worker is
lost. The client is the user's, and stays open.
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from operator import matmul
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from convdense._util.arguments import Array, complain, install, integer, shaped
from convdense._util.executors import NEEDS, in_one_line
from convdense._util.foreign_objects import said
from convdense.structure.csr_assembly import result_dtype, row_slices
from convdense.structure.tie_map import TieMap

try:
    import dask
    import dask.array as da
    from dask.delayed import delayed
    from dask.utils import parse_bytes
    from distributed import Client
except ModuleNotFoundError as _error:
    if _error.name not in ("dask", "distributed"):  # they are there, but broken
        raise
    _got = f"no module of the name {_error.name}"
    raise ImportError(complain("dask", _got, "dask and distributed", install("dask"))) from None

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["matrix", "operator"]

STORED = 1 << 26  # bytes of a matrix, at most, that a thread of a worker stores


def matrix(ties: TieMap, w: npt.ArrayLike, chunks: int | str = "auto") -> da.Array:
    """Return the dense layer's matrix as a Dask array, its blocks of rows CSR arrays.

    Parameters
    ----------
    ties : TieMap
    w : array of its weight_shape
    chunks : int or str
        The rows of a block, or its most bytes, such as "64 MiB". "auto": as Dask is configured.

    Raises
    ------
    TypeError, ValueError
        If w or chunks are something else, or a row has more bytes.

    Examples
    --------
    >>> A = matrix(TieMap.from_index([[0, 1], [1, -1], [0, 0]]), [5, 7], chunks=2)
    >>> A.chunks, A.compute().toarray().tolist()
    (((2, 1), (2,)), [[5, 7], [7, 0], [5, 5]])
    >>> A.map_blocks(lambda block: block @ [1, 10], dtype=int, drop_axis=1).compute()
    array([75,  7, 55])
    """
    weights = shaped(w, "w", ties.weight_shape, ties).copy()  # later changes change nothing
    dtype = result_dtype(ties.axes, weights)
    rows, columns = ties.shape
    if isinstance(chunks, str):
        size = _bytes(dask.config.get("array.chunk-size") if chunks == "auto" else chunks)
        parts = row_slices(ties.axes, dtype, size, "chunks")
        heights = tuple(part.stop - part.start for part in parts)
    else:
        height = integer(chunks, "chunks", 1)
        heights = tuple(min(height, rows - first) for first in range(0, rows, height))
    heights = heights or (0,)  # of a map without outputs
    of_all = {"ties": delayed(ties.linear), "w": delayed(weights)}  # once in the graph
    empty = sp.csr_array((0, 0), dtype=dtype)
    blocks: da.Array = da.map_blocks(  # type: ignore[no-untyped-call]  # Dask has few types
        _block, chunks=(heights, (columns,)), dtype=dtype, meta=empty, **of_all
    )
    return blocks


def operator(ties: TieMap, w: npt.ArrayLike, client: Client) -> "LinearOperator":
    """Return the matrix as a `scipy.sparse.linalg.LinearOperator` whose rows lie on a cluster.

    Each thread of a worker holds the operator of its rows, which stores at most 64 MiB of a matrix.
    A product sends x and brings y back; an adjoint one is summed on the workers, in an order that
    stays.

    Parameters
    ----------
    ties : TieMap
    w : array of its weight_shape
        Sent once.
    client : dask.distributed.Client

    Raises
    ------
    TypeError
        If client is none.
    RuntimeError
        If it is closed, or the cluster cannot go on: in one line, here and from a product.

    Examples
    --------
    >>> with Client(processes=False, dashboard_address=":0") as client:
    ...     A = operator(TieMap.from_index([[0, 1], [1, -1], [0, 0]]), [5, 7], client)
    ...     A @ [1, 10], A.H @ [1, 0, 0]
    (array([75,  7, 55]), array([5, 7]))
    """
    from scipy.sparse.linalg import LinearOperator  # noqa: PLC0415  (0.1 s, only here)

    if not isinstance(client, Client):
        raise TypeError(complain("client", said(client), "a dask.distributed.Client"))
    weights = shaped(w, "w", ties.weight_shape, ties).copy()
    _run(client, client.wait_for_workers, 1)
    threads = _run(client, client.nthreads)
    places = [worker for worker, n in threads.items() for _ in range(n)]
    slices = _slices(ties.out_shape, len(places))

    def submit(function: Callable[..., Any], *arguments: Any, **where: Any) -> Any:
        return _run(client, client.submit, function, *arguments, pure=False, **where)

    def each(function: Callable[..., Any], *lists: list[Any]) -> list[Any]:
        """Submit one task for each slice, to its place or, once that is gone, to any."""
        where = [{"workers": [place], "allow_other_workers": True} for place in places]
        return [submit(function, *items, **at) for *items, at in zip(*lists, where, strict=False)]

    # tasks, and not scattered: what is scattered is not made again
    common = [submit(np.asarray, weights)] * len(slices)
    held = each(_operator, [ties.linear] * len(slices), common, slices)

    def times(x: Array) -> Array:
        products = each(matmul, held, [submit(np.asarray, x)] * len(slices))
        return np.concatenate(_run(client, client.gather, products))

    def adjoint_times(y: Array) -> Array:
        sums = each(_adjoint_times, held, [y[part] for part in slices])
        while len(sums) > 1:  # neighbours, then their neighbours
            odd = sums[len(sums) // 2 * 2 :]
            sums = [submit(np.add, *two) for two in zip(sums[::2], sums[1::2], strict=False)] + odd
        return np.asarray(_run(client, client.gather, sums[0]))

    dtype = result_dtype(ties.axes, weights)
    two = {"rmatvec": adjoint_times, "rmatmat": adjoint_times}
    return LinearOperator(ties.shape, matvec=times, matmat=times, dtype=dtype, **two)


def _run(client: Client, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function of a client; what goes wrong becomes one line."""
    if client.status != "running":
        do = "open another, and make the operator again"
        raise RuntimeError(complain("client", f"one that is {client.status}", NEEDS, do))
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}):
        return in_one_line("client", function, *arguments, **options)


def _bytes(text: str) -> int:
    try:
        return int(parse_bytes(text))
    except ValueError:
        needs = 'rows, such as 1000, or bytes, such as "64 MiB"'
        raise ValueError(complain("chunks", repr(text), needs)) from None


def _slices(shape: tuple[int, ...], parts: int) -> list[slice]:
    """Return so many slices of rows, of whole channels or image rows if there are as many."""
    if not prod(shape):
        return [slice(0, 0)]
    steps = [prod(shape[i:]) for i in range(1, len(shape) + 1)]  # the last is one row
    step = next((n for n in steps if prod(shape) // n >= parts), 1)
    whole = prod(shape) // step
    parts = min(parts, whole)
    return [slice(*ends) for ends in pairwise(whole * i // parts * step for i in range(parts + 1))]


def _block(ties: TieMap, w: Array, block_info: Any) -> sp.csr_array:
    (start, stop), _ = block_info[None]["array-location"]
    return ties.rows(start, stop).matrix(w)


def _operator(ties: TieMap, w: Array, rows: slice) -> "LinearOperator":
    return ties.rows(rows.start, rows.stop).operator(w, max_bytes=STORED)


def _adjoint_times(rows: "LinearOperator", y: Array) -> Array:
    return np.asarray(rows.H @ y)
