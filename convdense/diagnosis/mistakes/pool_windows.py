"""Windows got wrong: the cells that a pool would take if some were left out, or its numbers were not heeded."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

from convdense.geometry import Pool

Cell = tuple[Any, ...]
Choose = Callable[
    [Cell, list[Cell]], list[Cell]
]  # of a window's place and cells, those it is given instead


def choices(pool: Pool) -> Iterator[tuple[str, Choose]]:
    """Yield windows of other cells: some left out, the dilation ignored, leftover cells taken in."""
    axes = tuple(range(len(pool.in_spatial)))
    for some in dict.fromkeys([*((axis,) for axis in axes), axes]):
        which = f"axis {some[0]}" if len(some) == 1 else "all axes"
        yield (
            f"the last cells of the windows along {which} are left out",
            partial(_inner, some, max),
        )
        yield (
            f"the first cells of the windows along {which} are left out",
            partial(_inner, some, min),
        )
    if pool.kernel is None:
        yield "parts end at floor, not at ceil: they never overlap", partial(_floored, pool)
        return
    if max(pool.dilation) > 1:
        yield "the dilation is ignored", partial(_undilated, pool)
    yield "leftover cells belong to the last window", partial(_greedy, pool)


def _inner(
    axes: tuple[int, ...], edge: Callable[..., int], _: Cell, cells: list[Cell]
) -> list[Cell]:
    edges = {axis: edge(cell[axis] for cell in cells) for axis in axes}
    return [cell for cell in cells if all(cell[axis] != value for axis, value in edges.items())]


def _floored(pool: Pool, at: Cell, _: list[Cell]) -> list[Cell]:
    sizes = zip(at, pool.in_spatial, pool.out_spatial, strict=True)
    return list(product(*(range(o * n // m, (o + 1) * n // m) for o, n, m in sizes)))


def _undilated(pool: Pool, at: Cell, _: list[Cell]) -> list[Cell]:
    sizes = zip(at, pool.stride, pool.kernel or (), pool.padding, pool.in_spatial, strict=True)
    return list(
        product(
            *(
                [i for i in range(o * s - b, o * s - b + k) if 0 <= i < n]
                for o, s, k, (b, _), n in sizes
            )
        )
    )


def _greedy(pool: Pool, at: Cell, cells: list[Cell]) -> list[Cell]:
    axes = []
    for axis, (o, m, n) in enumerate(zip(at, pool.out_spatial, pool.in_spatial, strict=True)):
        own = sorted({cell[axis] for cell in cells})
        axes.append([*own, *range(own[-1] + 1, n)] if o == m - 1 else own)
    return list(product(*axes))
