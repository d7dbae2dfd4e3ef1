"""The mistakes in a layer's structure, in the order in which they are tried."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from convdense._util.arguments import Array
from convdense.diagnosis.mistakes.geometry import Change, changes, exists, windows
from convdense.diagnosis.mistakes.mistake import Mistake
from convdense.diagnosis.mistakes.weights import weight_mistakes
from convdense.diagnosis.mistakes.windows import window_mistakes, winograd_mistakes
from convdense.geometry import Conv, ConvTranspose, Geometry
from convdense.structure._tie import (
    WindowParameters,
    tie,
    tie_map,
    window_channels,
    window_parameters,
)
from convdense.structure.axis import channels
from convdense.structure.progressions import Axis
from convdense.structure.tie_map import TieMap


def mistakes(layer: Any) -> Iterator[Mistake]:
    """Yield the right layer first, then one mistake after the other."""
    right = tie(layer)
    yield Mistake("", right)
    if isinstance(layer, (Conv, ConvTranspose)):
        for sentence, ties in wrong_tie_maps(layer):
            yield Mistake(sentence, ties)
        for sentence, axes in winograd_mistakes(window_parameters(layer)):
            yield Mistake(sentence, tie_map(layer, axes))
    if any(axis.coefficients is not None for axis in right.axes):
        plain = tuple(replace(axis, coefficients=None) for axis in right.axes)
        yield Mistake("the coefficients are ignored", replace(right, axes=plain))
    for sentence, read, write in weight_mistakes(
        right.weight_shape, len(getattr(layer, "kernel", ()))
    ):
        yield Mistake(sentence, right, read, write)


def wrong_tie_maps(layer: Conv | ConvTranspose) -> Iterator[tuple[str, TieMap]]:
    """Yield the tie map with one of the numbers, the groups or the windows got wrong."""
    n = window_parameters(layer)
    transposed = isinstance(layer, ConvTranspose)
    if layer.padding_value:
        right, number = tie(layer), layer.padding_value
        yield f"the padding holds 0, not {number}", right.linear
        for other in (-number, number - 1, number + 1, 1, -1, 2 * number):
            if other not in (0, number):
                sentence = f"the padding holds {other}, not {number}"
                yield sentence, replace(right, padding_value=other)
    for sentence, changed in possible_changes(n, transposed):
        yield sentence, tie_map(layer, windows(n._replace(**changed)))
    for sentence, axis in wrong_groups(layer):
        yield sentence, tie_map(layer, windows(n), axis)
    for sentence, axes in window_mistakes(n, transposed):
        yield sentence, tie_map(layer, axes)


def possible_changes(
    n: WindowParameters, transposed: bool, *, rare: bool = True
) -> Iterator[Change]:
    """Yield the changes of a layer's numbers after which all cells that padding copies exist."""
    for sentence, changed in changes(n, transposed, rare=rare):
        if exists(windows(n._replace(**changed))):
            yield sentence, changed


def wrong_groups(layer: Geometry) -> Iterator[tuple[str, Axis]]:
    """Yield the channels' axis with the groups got wrong."""
    groups = layer.groups
    outs, ins = window_channels(layer)
    if groups == 1:
        yield from _under_the_other_index(outs, ins)
        return
    outs_of_group, ins_of_group = outs // groups, ins // groups
    right = channels(outs, ins, groups)

    everywhere = np.indices((outs, ins)).reshape(2, -1)
    taps = everywhere[0] * ins_of_group + everywhere[1] % ins_of_group
    ignored = Axis.of(*everywhere, taps, outs, ins, (outs, ins_of_group))
    yield "the groups are ignored: every output channel meets all input channels", ignored
    first = right.taps % (outs_of_group * ins_of_group)
    yield "every group uses the weights of the first group", right.with_entries(taps=first)

    of_rows, of_cols = "output", "input"
    if isinstance(layer, ConvTranspose):  # its window slides over its outputs
        of_rows, of_cols = of_cols, of_rows
    backwards = (groups - 1 - right.rows // outs_of_group) * outs_of_group
    turned = right.with_entries(rows=backwards + right.rows % outs_of_group)
    yield "the groups are in reverse order: they are put together backwards", turned

    if outs_of_group > 1:
        last_of_group = right.rows % outs_of_group == outs_of_group - 1
        yield f"within a group only the last {of_rows} channel counts", right.take(last_of_group)
    if ins_of_group < ins:
        sentence = "the groups' offset is ignored: all groups meet the first one's channels"
        yield sentence, right.with_entries(cols=right.cols % ins_of_group)
    if ins_of_group > 1:
        sentence = f"the {of_cols} channels of the groups are interleaved"
        yield sentence, right.with_entries(cols=_interleaved(ins, groups)[right.cols])
    if outs_of_group > 1:
        rows = _interleaved(outs, groups)[right.rows]
        yield f"the {of_rows} channels of the groups are interleaved", right.with_entries(rows=rows)
        # Here each output keeps its own weights, numbered (output, input of the group).
        taps = rows * ins_of_group + right.taps % ins_of_group
        sentence = f"{of_rows} channel o belongs to group o mod groups: groups are interleaved"
        yield sentence, right.with_entries(rows=rows, taps=taps)


def _under_the_other_index(outs: int, ins: int) -> Iterator[tuple[str, Axis]]:
    """Yield dx written under the index of the output channel: there several inputs' add up."""
    if ins == 1:
        return
    rows, of_weights = np.indices((outs, ins)).reshape(2, -1)
    inside = rows < ins
    rows, of_weights = rows[inside], of_weights[inside]
    axis = Axis.of(rows, rows, rows * ins + of_weights, outs, ins, (outs, ins))
    yield "the index of the output channel stands for that of the input channel", axis


def _interleaved(n: int, groups: int) -> Array:
    """Return the channels group by group if channel c belongs to group c mod groups.

    Examples
    --------
    >>> _interleaved(6, 2)
    array([0, 2, 4, 1, 3, 5])
    """
    return np.arange(n).reshape(n // groups, groups).T.ravel()
