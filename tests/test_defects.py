"""Planted defects: one line of the library rewritten wrongly is refused, rewritten rightly is
accepted.

A row names a function, a piece of its source, a wrong and a right replacement, and the layer that
tells them apart. Nothing else changes, so every check is seen to fail on the smallest mistake, and
to accept its nearest right neighbour."""

import inspect
import textwrap
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest

import convdense as cd
from convdense.direct import conv as direct_conv
from convdense.direct import conv_loops
from convdense.layers import blocked_sums, tied_dense
from convdense.structure import axis, csr_assembly, kronecker, progressions, tie_map, weight_order
from convdense.structure._tie import tie


class Defect(NamedTuple):
    id: str
    function: Any
    source: str
    wrong: str
    right: str
    layer: Any
    judge: Any


def certified(layer) -> bool:
    return bool(cd.certify(layer, seed=1))


def edge_by_edge(layer):
    """Whether it is certified when every edge's gradient is computed by itself."""
    with mock.patch.object(kronecker, "few_edges", return_value=False):
        return certified(layer)


def as_the_loops(layer) -> bool:
    """Fast direct convolution against the loops, on integers."""
    rng = np.random.default_rng(1)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    x, w, b, dy = (rng.integers(-9, 9, shape, endpoint=True) for shape in shapes)
    fast = cd.convolve(layer, x, w, b), *cd.convolve_backward(layer, x, w, dy)
    loops = conv_loops.forward(layer, x, w, b), *conv_loops.backward(layer, x, w, dy)
    return all(np.array_equal(f, s) for f, s in zip(fast, loops, strict=True))


def checked_complex(layer) -> bool:
    rng = np.random.default_rng(1)
    shapes = ((2, *layer.in_shape), layer.weight_shape, layer.bias_shape, (2, *layer.out_shape))
    return bool(cd.check(layer, *(rng.normal(size=s) + 1j * rng.normal(size=s) for s in shapes)))


def steps_add_up(layer) -> bool:
    """gradient_steps against backward, on integers."""
    rng = np.random.default_rng(1)
    x, dy = (rng.integers(-9, 9, (2, *shape)) for shape in (layer.in_shape, layer.out_shape))
    tied = cd.TiedDense(layer, rng.integers(-9, 9, layer.weight_shape))
    return np.array_equal(tied.gradient_steps(x, dy).tied, tied.backward(x, dy).dw)


def edges_agree(layer) -> bool:
    """Row, column and copies against the list of all entries."""
    ties = tie(layer)
    listed = np.stack(ties.entries()[:3], axis=1)  # (entries, 3): row, column, index
    kinds = ((ties.row, ties.shape[0]), (ties.column, ties.shape[1]), (ties.copies, ties.n_weights))
    return all(
        np.array_equal(np.stack(part(k)[:3], axis=1), listed[listed[:, kind] == k])
        for kind, (part, n) in enumerate(kinds)
        for k in range(n)
    )


SKEW = cd.Conv((2, 5, 7), 3, (3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2))
GROUPS = cd.Conv((4, 4, 3), 6, 2, groups=2, padding=1)
FLIPPED = cd.Conv((2, 4, 5), 2, (3, 2), flip=True)
SQUARE = cd.Conv((2, 4, 4), 2, 3, padding=1)
UP = cd.ConvTranspose((2, 3, 4), 3, (3, 2), stride=2, padding=((1, 0), (0, 1)), groups=1)
LOCAL = cd.LocallyConnected((2, 4, 5), 2, (2, 3))
DILATED = cd.Conv((1, 6, 5), 2, (4, 3), stride=(2, 1), padding=2, input_dilation=(5, 3))


def padded(mode, amount=2):
    return cd.Conv((1, 4, 5), 2, 3, padding=amount, padding_mode=mode)


_SUM = "steps * dilation - begin"
_CELLS = "cells = rows * stride + start"
_COLS = "rows, rows // outs * ins,"
_SLICE = "slice(t * d, t * d + (n - 1) * s + 1 if n else t * d, s)"
DEFECTS = [
    # One axis
    Defect("begin added", axis.window, _SUM, "steps * dilation + begin", "dilation * steps - begin", SKEW, certified),
    Defect("padding off by one", axis.window, _SUM, f"{_SUM} + 1", f"{_SUM} + 0", SQUARE, certified),
    Defect("stride forgotten", axis.window, _CELLS, "cells = rows + start", "cells = stride * rows + start", SKEW, certified),
    Defect("dilation ignored", axis.window, _SUM, "steps - begin", "dilation * steps - begin", SKEW, certified),
    Defect("flip ignored", axis.window, "kernel - 1 - steps if flip else steps", "steps", "(kernel - 1) - steps if flip else steps", FLIPPED, certified),
    Defect("always flipped", axis.window, "kernel - 1 - steps if flip else steps", "kernel - 1 - steps", "steps if not flip else kernel - steps - 1", SKEW, certified),
    Defect("first cell lost", axis._edges, "np.array([0, n])", "np.array([1, n])", "np.array((0, n))", SKEW, certified),
    Defect("last cell lost", axis._edges, "np.array([0, n])", "np.array([0, n - 1])", "np.array((0, n))", SKEW, certified),
    Defect("border terms lost", axis._edges, 'if mode == "zeros":', "if True:", 'if not mode != "zeros":', padded("replicate"), certified),
    Defect("residue of another stride", axis.window, "inverse = pow(stride // common, -1, period)", "inverse = 1", "inverse = pow(stride // common, -1, period) + period", DILATED, certified),
    Defect("first output of a residue too late", axis.window, "(residue - lowest) % period", "(residue - lowest) % period + period // 2", "(residue - lowest + period) % period", DILATED, certified),
    Defect("an edge too late", axis._edges, "turns * n, 1 - n)", "turns * n - 1, 1 - n)", "n * turns, 1 - n)", padded("symmetric"), certified),
    Defect("circular as replicate", axis._source, "np.mod(cells, n)", "cells.clip(0, n - 1)", "np.remainder(cells, n)", padded("circular"), certified),
    Defect("replicate as circular", axis._source, "cells.clip(0, n - 1)", "np.mod(cells, n)", "np.minimum(np.maximum(cells, 0), n - 1)", padded("replicate"), certified),
    Defect("reflect repeats the far edge", axis._source, "(n - 1) - np.abs((n - 1) - mirrored)", "np.minimum(mirrored, n - 1)", "n - 1 - np.abs(n - 1 - mirrored)", padded("reflect"), certified),
    Defect("symmetric as reflect", axis._source, "-1 - cells", "-cells", "-(1 + cells)", padded("symmetric"), certified),
    Defect("group offset ignored", axis.channels, _COLS, "rows, 0 * rows,", "rows, ins * (rows // outs),", GROUPS, certified),
    Defect("groups interleaved", axis.channels, _COLS, "rows, rows % groups * ins,", "rows, ins * (rows // outs),", GROUPS, certified),
    Defect("weights of another output", axis.channels, "rows * ins, rows * ins)", "rows[::-1] * ins, rows * ins)", "ins * rows, ins * rows)", SKEW, certified),
    Defect("positions and taps swapped", axis.untied, "row * n + tap", "tap * axis.n_rows + row", "tap + n * row", LOCAL, certified),
    Defect("bias of another output", axis.spread, "diagonal(n_out, shared)", "diagonal(n_out, shared).mapped(lambda row, col, tap: (row, col, -tap)).moved(0, 0, 0 if shared else n_out - 1)", "diagonal(n_out, shared=shared)", LOCAL, certified),
    # The tie map
    Defect("transposed taps reversed", progressions.Axis.T.func, "(col, row, tap)", "(col, row, tap[::-1])", "(col, row, tap[:])", UP, certified),
    Defect("columns in the wrong order", kronecker.expand, "kron([a.cols for", "kron([a.cols[::-1] for", "kron([a.cols[:] for", SKEW, certified),
    Defect("a slab lost", kronecker.slabs, "range(0, sizes[cut], step)", "range(step, sizes[cut], step)", "range(0, sizes[cut] + 0, step)", cd.Conv((3, 32, 32), 40, 5), certified),
    Defect("weights at the wrong entries", csr_assembly.assemble_by_entries, "weights[entries.index]", "weights[entries.index[::-1]]", "weights.take(entries.index)", SKEW, certified),
    Defect("begin and end crop swapped", cd.structure._tie.window_parameters, "begin, end = zip", "end, begin = zip", "[begin, end] = zip", UP, certified),
    Defect("begin and end padding swapped", cd.structure._tie.window_parameters, "begin, end = zip", "end, begin = zip", "[begin, end] = zip", SKEW, certified),
    Defect("copies of another weight", weight_order.WeightOrder.tap_of, "unravel_index(k,", "unravel_index((k + 1) % prod(self.shape),", "unravel_index(k % prod(self.shape),", LOCAL, edges_agree),
    Defect("rows for columns", tie_map.TieMap.column, "_at(COL, at)", "_at(COL - 1, at)", "_at(COL - 0, at)", SQUARE, edges_agree),
    # Layers
    Defect("bias lost", tied_dense.TiedDense.forward, "y = y + ", "y = y + 0 * ", "y = 1 * y + ", SKEW, certified),
    Defect("not transposed", blocked_sums.adjoint_product, "return np.asarray(matrix.conj(copy=False).T @ dy)\n", "return np.asarray(matrix.conj(copy=False) @ dy)\n", "return np.asarray(matrix.T.conj() @ dy)\n", SQUARE, certified),
    Defect("not conjugated", blocked_sums.adjoint_product, "return np.asarray(matrix.conj(copy=False).T @ dy)\n", "return np.asarray(matrix.T @ dy)\n", "return np.asarray(matrix.T.conj() @ dy)\n", SKEW, checked_complex),
    Defect("x not conjugated", tie_map.TieMap.add_edges, ".conj()  # (batch", "  # (batch", ".conjugate()  # (batch", SKEW, checked_complex),
    Defect("= for +=", kronecker.add_edges, "_add_up(total, slab.index, scaled(each, slab.coefficient))", "total[slab.index] = each", "np.add.at(total, slab.index, each)", SKEW, edge_by_edge),
    Defect("first sample only", kronecker.add_edges, "np.take(x, slab.col, axis=1)", "np.take(x, slab.col, axis=1) * (np.arange(len(x)) == 0)[:, None]", "np.take(x, slab.col, axis=1) * (np.arange(len(x)) >= 0)[:, None]", SKEW, edge_by_edge),
    Defect("all edges: = for +=", kronecker.add_all_edges, "_add_up(total, slab.index, scaled(each, slab.coefficient))", "total[slab.index] = each", "np.add.at(total, slab.index, each)", SKEW, certified),
    Defect("all edges: first sample only", kronecker.add_all_edges, "product(dy.T, x)", "product(dy[:1].T, x[:1])", "product(dy[:].T, x)", SKEW, certified),
    Defect("all edges: rows and columns exchanged", kronecker.add_all_edges, "slab.row * dense.shape[1] + slab.col", "(slab.col * dense.shape[0] + slab.row)", "slab.col + dense.shape[1] * slab.row", SKEW, certified),
    Defect("mean for sum over copies", tie_map.TieMap.add_edges, "with_padding(total.astype(sum_dtype)", "with_padding((total / self.counts().weights.ravel()).astype(sum_dtype)", "with_padding((+total).astype(sum_dtype)", SKEW, certified),
    Defect("bias gradient averaged", tied_dense.TiedDense.backward, "np.ones((len(x), 1), dy.dtype)", "np.ones((len(x), 1), dy.dtype) / len(x)", "np.full((len(x), 1), 1, dy.dtype)", SKEW, certified),
    Defect("steps with = for +=", tied_dense.TiedDense.gradient_steps, "np.add.at(tied, entries.index, terms)", "tied[entries.index] = terms", "np.add.at(tied, entries.index, +terms)", SKEW, steps_add_up),
    # Direct, fast
    Defect("taps one cell late", direct_conv._taps, _SLICE, "slice(t * d + 1, t * d + 1 + (n - 1) * s + 1, s)", "slice(d * t, 1 + t * d + (n - 1) * s, s)", cd.Conv((1, 9, 6), 1, 2, stride=3), certified),
    Defect("stamp overwrites", direct_conv._stamp, "target += part", "target[...] = part", "target[...] = target + part", SKEW, certified),
    Defect("kernel not transposed", direct_conv._stamp, "kernel.swapaxes(1, 2) @", "kernel @", "kernel.transpose(0, 2, 1) @", SQUARE, certified),
    Defect("mean over the batch", direct_conv._taps_gradient, ".sum(axis=0, dtype=dw.dtype)", ".mean(axis=0, dtype=dw.dtype)", ".sum(axis=0)", SKEW, certified),
    Defect("rim overwrites", direct_conv._unpad, "core[source[i]] += cells[i]", "core[source[i]] = cells[i]", "core[source[i]] = core[source[i]] + cells[i]", padded("reflect"), certified),
    Defect("rim lost", direct_conv._unpad, 'if mode != "zeros" and begin + end:', "if False:", 'if mode != "zeros":', padded("circular"), certified),
    Defect("dx not cropped where it begins", direct_conv._unpad, "cells[begin : begin + left]", "cells[end : end + left]", "cells[begin:][:left]", SKEW, certified),
    Defect("bias gradient not summed over the batch", cd.convolve_backward, "dy.sum(axis=(0, *shared), dtype=dy.dtype)", "dy[:1].sum(axis=(0, *shared), dtype=dy.dtype)", "dy.sum(axis=(*shared, 0), dtype=dy.dtype)", SKEW, certified),
    # Direct, loops
    Defect("loops: group offset ignored", conv_loops._channel_pairs, "group * ins + inp", "inp", "inp + ins * group", GROUPS, as_the_loops),
    Defect("loops: stride forgotten", conv_loops._tap_cells, "p * s + t * d for", "p + t * d for", "t * d + p * s for", SKEW, as_the_loops),
    Defect("loops: = for +=", conv_loops.backward, "dkernel[k] += (x", "dkernel[k] = (x", "dkernel[k] = dkernel[k] + (x", SKEW, as_the_loops),
    Defect("loops: not cropped", conv_loops._transposed, "i - begin for", "i for", "-begin + i for", UP, as_the_loops),
    Defect("loops: kernel not flipped", conv_loops.flipped, "if layer.flip else w", "if False else w", "if layer.flip is True else w", FLIPPED, as_the_loops),
]  # fmt: skip


def rewritten(function, source: str, replacement: str):
    """Return the code of the function with one piece of its source replaced; it must stand there exactly once."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(source) == 1, (
        f"{function.__qualname__} no longer says {source!r} once: update the table"
    )
    text = "\n".join(
        line for line in text.replace(source, replacement).splitlines() if not line.startswith("@")
    )
    names: dict[str, Any] = {}
    exec(
        compile(text, f"<{function.__qualname__} rewritten>", "exec"),
        dict(function.__globals__),
        names,
    )
    return names[function.__name__].__code__


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.id)
def test_a_planted_defect_is_refused_and_its_right_neighbour_accepted(defect, monkeypatch):
    plant(
        defect.function,
        defect.source,
        defect.wrong,
        defect.right,
        monkeypatch,
        lambda: defect.judge(defect.layer),
    )


def plant(function, source: str, wrong: str, right: str, monkeypatch, holds) -> None:
    """Require that what holds does not with the wrong replacement of the source, and does with the right one."""
    assert holds()
    inner = inspect.unwrap(function)  # without what says how it is called
    codes = rewritten(inner, source, wrong), rewritten(inner, source, right)
    now = inner.__code__
    assert (now.co_code, now.co_consts) != (codes[0].co_code, codes[0].co_consts)
    for code, expected in zip(codes, (False, True), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(inner, "__code__", code)
            forget(function)
            assert bool(holds()) is expected
    forget(function)


def forget(function):
    """Empty the cache of a function that has one."""
    getattr(function, "cache_clear", lambda: None)()


def test_defects_are_planted_in_every_floor_of_the_chain():
    where = {d.function.__module__ for d in DEFECTS}
    assert {
        "convdense.structure.axis",
        "convdense.structure.tie_map",
        "convdense.layers.tied_dense",
        "convdense.direct.conv_loops",
        "convdense.direct.conv",
    } <= where
    assert len(DEFECTS) >= 20
